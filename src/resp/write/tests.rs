//! The writer against literal bytes in both protocols, and its buffer against a plain vector.

use super::*;

fn both(write: impl Fn(&mut ReplyWriter)) -> [String; 2] {
    [false, true].map(|resp3| {
        let mut w = ReplyWriter::new();
        w.set_resp3(resp3);
        write(&mut w);
        assert_eq!(w.len(), w.to_vec().len());
        String::from_utf8(w.to_vec()).expect("the test writes text")
    })
}

#[track_caller]
fn is(write: impl Fn(&mut ReplyWriter), resp2: &str, resp3: &str) {
    assert_eq!(both(write), [resp2, resp3]);
}

#[track_caller]
fn is_same(write: impl Fn(&mut ReplyWriter), text: &str) {
    is(write, text, text);
}

#[test]
fn every_type_in_both_protocols() {
    is_same(|w| w.ok(), "+OK\r\n");
    is_same(|w| w.simple("QUEUED"), "+QUEUED\r\n");
    is_same(|w| w.error(b"ERR no"), "-ERR no\r\n");
    is_same(|w| w.bulk(b""), "$0\r\n\r\n");
    is_same(|w| w.bulk(b"a\r\nb"), "$4\r\na\r\nb\r\n");
    is_same(|w| w.bulk_int(-42), "$3\r\n-42\r\n");
    is(|w| w.null(), "$-1\r\n", "_\r\n");
    is(|w| w.null_array(), "*-1\r\n", "_\r\n");
    is_same(|w| w.array(3), "*3\r\n");
    is(|w| w.map(3), "*6\r\n", "%3\r\n");
    is(|w| w.set(3), "*3\r\n", "~3\r\n");
    is(|w| w.push(3), "*3\r\n", ">3\r\n");
    is(|w| w.boolean(true), ":1\r\n", "#t\r\n");
    is(|w| w.boolean(false), ":0\r\n", "#f\r\n");
    is(
        |w| w.verbatim("txt", b"a\nb"),
        "$3\r\na\nb\r\n",
        "=7\r\ntxt:a\nb\r\n",
    );
    is(
        |w| w.big_number(b"123456789012345678901"),
        "$21\r\n123456789012345678901\r\n",
        "(123456789012345678901\r\n",
    );
    is(|w| w.double_text(b"13.5"), "$4\r\n13.5\r\n", ",13.5\r\n");
    is_same(|w| w.raw(b":1\r\n:2\r\n"), ":1\r\n:2\r\n");
    is(
        |w| {
            if w.attribute(1) {
                w.bulk(b"ttl");
                w.integer(7);
            }
            w.ok();
        },
        "+OK\r\n",
        "|1\r\n$3\r\nttl\r\n:7\r\n+OK\r\n",
    );
}

#[test]
fn doubles_are_valkeys() {
    for (x, text) in [
        (3.0, "3"),
        (0.1, "0.1"),
        (-1.5, "-1.5"),
        (1e17, "100000000000000000"),
        (1e20, "1e+20"),
        (1e21, "1e+21"),
        (1e-5, "0.00001"),
        (1e-7, "1e-7"),
        (0.00001234, "1.234e-5"),
        (12345.678901234567, "1.2345678901234567e+4"),
        (5e-324, "5e-324"),
        (4611686018427387904.0, "4611686018427387904"),
        (9.2e18, "9.2e+18"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (-0.0, "-0"),
        (0.0, "0"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (f64::NAN, "nan"),
        (-f64::NAN, "nan"),
    ] {
        is(
            |w| w.double(x),
            &format!("${}\r\n{text}\r\n", text.len()),
            &format!(",{text}\r\n"),
        );
    }
}

#[test]
fn numbers_and_lengths_around_the_table() {
    for n in [0, 1, 9, 10, 42, 99, 100, 999, 1000, 1001, 65536, i64::MAX] {
        is_same(|w| w.integer(n), &format!(":{n}\r\n"));
        is_same(|w| w.integer(-n), &format!(":{}\r\n", -n));
    }
    is_same(|w| w.integer(i64::MIN), ":-9223372036854775808\r\n");
    for n in [0, 9, 10, 99, 100, 999, 1000, 12345] {
        let bytes = vec![b'x'; n];
        is_same(
            |w| w.bulk(&bytes),
            &format!("${n}\r\n{}\r\n", "x".repeat(n)),
        );
        is_same(|w| w.array(n), &format!("*{n}\r\n"));
    }
    is_same(|w| w.array(usize::MAX), &format!("*{}\r\n", usize::MAX));
    is(
        |w| w.map(usize::MAX),
        &format!("*{}\r\n", usize::MAX),
        &format!("%{}\r\n", usize::MAX),
    );
}

#[test]
fn lines_cannot_be_split() {
    is_same(|w| w.simple("a\r\n$1\r\n\0b"), "+a  $1   b\r\n");
    is_same(|w| w.error(b"ERR a\r\n-b\0c"), "-ERR a  -b c\r\n");
    is_same(|w| w.error(b"My Err\r\n\r\n"), "-My Err\r\n");
    is_same(|w| w.error(b"\r\nx "), "-  x \r\n");
    is_same(|w| w.error(b"\n\r"), "-\r\n");
    is_same(|w| w.error(b"ERR a\r\nb\0 \r\n"), "-ERR a  b  \r\n");
    is_same(|w| w.error(b""), "-\r\n");
    is(|w| w.big_number(b"1\r\n2"), "$4\r\n1\r\n2\r\n", "(1  2\r\n");
    let mut w = ReplyWriter::new();
    w.error(b"ERR \xff");
    assert_eq!(w.to_vec(), b"-ERR \xff\r\n");
}

#[test]
fn deferred_lengths() {
    let nested = |w: &mut ReplyWriter| {
        w.integer(7);
        let outer = w.deferred_array();
        let empty = w.deferred_set();
        w.set_deferred(empty, 0);
        let map = w.deferred_map();
        for i in 0..12 {
            w.integer(i);
            w.bulk(b"v");
        }
        w.set_deferred(map, 12);
        let set = w.deferred_set();
        w.null();
        w.set_deferred(set, 1);
        w.set_deferred(outer, 3);
        w.ok();
    };
    let pairs: String = (0..12).map(|i| format!(":{i}\r\n$1\r\nv\r\n")).collect();
    is(
        nested,
        &format!(":7\r\n*3\r\n*0\r\n*24\r\n{pairs}*1\r\n$-1\r\n+OK\r\n"),
        &format!(":7\r\n*3\r\n~0\r\n%12\r\n{pairs}~1\r\n_\r\n+OK\r\n"),
    );
}

#[test]
fn a_cursor_comes_before_its_elements() {
    for (cursor, bytes) in [
        (0, 3),
        (u64::MAX, MOVE_BYTES_MAX),
        (1 << 47, SHARED_BYTES_MIN),
    ] {
        let mut w = ReplyWriter::new();
        w.integer(1);
        w.array(2);
        let (start, elements) = (w.mark(), w.deferred_array());
        let long = vec![b'x'; bytes];
        w.bulk(b"a");
        w.bulk_shared(Arc::new(long.clone()));
        w.bulk(&long);
        w.set_deferred(elements, 3);
        w.number_before(start, cursor);
        w.integer(2);
        let digits = cursor.to_string();
        let (count, long) = (digits.len(), String::from_utf8(long).unwrap());
        let element = format!("${bytes}\r\n{long}\r\n");
        let want = format!(
            ":1\r\n*2\r\n${count}\r\n{digits}\r\n*3\r\n$1\r\na\r\n{element}{element}:2\r\n"
        );
        assert!(w.to_vec() == want.as_bytes(), "{cursor}");
    }
}

#[test]
fn large_deferred_aggregates_are_not_moved() {
    let bulk = vec![b'x'; 1000];
    let mut w = ReplyWriter::new();
    w.ok();
    let outer = w.deferred_array();
    let inner = w.deferred_array();
    (0..50).for_each(|_| w.bulk(&bulk));
    w.bulk_shared(shared(SHARED_BYTES_MIN, b's'));
    w.set_deferred(inner, 51);
    let second = w.deferred_array();
    w.integer(1);
    w.set_deferred(second, 1);
    w.set_deferred(outer, 2);
    w.ok();
    assert_eq!(w.pieces.len(), 3);
    assert!(w.as_contiguous().is_none());
    let mut expected = b"+OK\r\n*2\r\n*51\r\n".to_vec();
    for _ in 0..50 {
        expected.extend_from_slice(b"$1000\r\n");
        expected.extend_from_slice(&bulk);
        expected.extend_from_slice(b"\r\n");
    }
    expected.extend_from_slice(b"$16384\r\n");
    expected.extend_from_slice(&vec![b's'; 16384]);
    expected.extend_from_slice(b"\r\n*1\r\n:1\r\n+OK\r\n");
    assert_eq!(w.to_vec(), expected);
    assert_eq!(w.len(), expected.len());
}

#[test]
fn shared_values_move_with_their_aggregate() {
    let mut w = ReplyWriter::new();
    let outer = w.deferred_array();
    w.integer(1);
    let inner = w.deferred_array();
    w.bulk_shared(shared(SHARED_BYTES_MIN, b's'));
    w.set_deferred(inner, 1);
    w.bulk_shared(shared(SHARED_BYTES_MIN, b't'));
    w.set_deferred(outer, 3);
    let (s, t) = ("s".repeat(SHARED_BYTES_MIN), "t".repeat(SHARED_BYTES_MIN));
    let expected = format!("*3\r\n:1\r\n*1\r\n$16384\r\n{s}\r\n$16384\r\n{t}\r\n");
    assert_eq!(w.to_vec(), expected.as_bytes());
}

fn shared(len: usize, byte: u8) -> Arc<Vec<u8>> {
    Arc::new(vec![byte; len])
}

#[test]
fn large_values_are_not_copied() {
    let value = shared(SHARED_BYTES_MIN, b'v');
    let mut w = ReplyWriter::new();
    w.bulk_shared(shared(SHARED_BYTES_MIN - 1, b'u'));
    assert!(
        w.as_contiguous().is_some(),
        "below the threshold it is copied"
    );
    w.clear();
    w.bulk_shared(Arc::clone(&value));
    assert_eq!(Arc::strong_count(&value), 2);
    let mut slices = Vec::new();
    w.io_slices(&mut slices, 8);
    assert_eq!(slices.len(), 3);
    assert!(std::ptr::eq(slices[1].as_ptr(), value.as_ptr()));
    slices.clear();
    w.io_slices(&mut slices, 2);
    assert_eq!(slices.len(), 2);
    assert!(w.memory_bytes() >= SHARED_BYTES_MIN);
    w.advance(w.len());
    assert_eq!(
        (Arc::strong_count(&value), w.len(), w.is_empty()),
        (1, 0, true)
    );
}

/// A writer with two shared values, a large deferred array, and text around them.
fn rich() -> ReplyWriter {
    let mut w = ReplyWriter::new();
    w.bulk(b"first");
    w.bulk_shared(shared(SHARED_BYTES_MIN, b'a'));
    let array = w.deferred_array();
    w.bulk(&[b'm'; MOVE_BYTES_MAX]);
    w.bulk_shared(shared(SHARED_BYTES_MIN + 7, b'b'));
    w.set_deferred(array, 2);
    w.bulk_shared(shared(SHARED_BYTES_MIN, b'c'));
    w.ok();
    w
}

#[test]
fn any_partial_write_leaves_the_rest() {
    let all = rich().to_vec();
    for n in
        (0..=all.len()).filter(|n| n % 251 == 0 || n % SHARED_BYTES_MIN < 64 || *n + 99 > all.len())
    {
        let mut w = rich();
        w.advance(n);
        assert_eq!(w.len(), all.len() - n, "after {n}");
        assert_eq!(w.to_vec(), all[n..], "after {n}");
        w.integer(12345);
        w.bulk_shared(shared(SHARED_BYTES_MIN, b'd'));
        let mark = w.mark();
        w.bulk_shared(shared(SHARED_BYTES_MIN, b'e'));
        assert_eq!(w.len_since(mark), SHARED_BYTES_MIN + 10);
        w.truncate(mark);
        assert_eq!(w.len_since(mark), 0);
        assert_eq!(w.len(), all.len() - n + 8 + SHARED_BYTES_MIN + 10);
        let mut rest = all[n..].to_vec();
        rest.extend_from_slice(b":12345\r\n$16384\r\n");
        rest.extend_from_slice(&[b'd'; SHARED_BYTES_MIN]);
        rest.extend_from_slice(b"\r\n");
        assert_eq!(w.to_vec(), rest, "after {n}");
        w.advance(rest.len());
        assert!(w.is_empty() && w.pieces.is_empty() && w.piece_bytes == 0);
    }
}

#[test]
fn written_in_steps_of_any_size() {
    let all = rich().to_vec();
    for step in [1usize, 2, 3, 7, 100, 4096, 16384, 16385, 60000] {
        let mut w = rich();
        let mut written = Vec::new();
        while !w.is_empty() {
            let n = {
                let mut slices = Vec::new();
                w.io_slices(&mut slices, 2);
                let flat: Vec<u8> = slices
                    .iter()
                    .flat_map(|s| s.iter().copied())
                    .take(step)
                    .collect();
                written.extend_from_slice(&flat);
                flat.len()
            };
            assert!(n > 0);
            w.advance(n);
            assert_eq!(w.len(), all.len() - written.len());
        }
        assert_eq!(written, all, "steps of {step}");
    }
}

#[test]
fn a_slow_reader_does_not_grow_the_buffer() {
    let mut w = ReplyWriter::new();
    w.bulk(&[b'x'; 100_000]);
    for _ in 0..10_000 {
        w.bulk(&[b'x'; 990]);
        w.advance(998);
    }
    assert!(w.buf.capacity() < 1 << 20, "{}", w.buf.capacity());
    assert_eq!(w.len(), 100_011);
}

#[test]
fn a_failed_handler_leaves_nothing() {
    let mut w = ReplyWriter::new();
    w.integer(1);
    let mark = w.mark();
    let open = w.deferred_array();
    w.bulk_shared(shared(20_000, b'x'));
    w.bulk(b"half");
    drop(open);
    w.truncate(mark);
    w.error(b"ERR no");
    assert_eq!(w.as_contiguous(), Some(&b":1\r\n-ERR no\r\n"[..]));
    assert_eq!((w.len(), w.piece_bytes), (13, 0));
}

#[test]
fn pending_replies_move() {
    let mut w = rich();
    w.set_resp3(true);
    let all = w.to_vec();
    let mut taken = w.take();
    assert!(w.is_empty() && w.is_resp3() && taken.is_resp3());
    for n in [0, 3, 11, 19, 25, 20_000, all.len() - 1] {
        let mut to = ReplyWriter::new();
        to.ok();
        to.advance(1);
        let mut from = rich();
        from.advance(n);
        to.append(&mut from);
        assert_eq!((from.is_empty(), from.len()), (true, 0));
        assert_eq!(to.to_vec(), [b"OK\r\n", &all[n..]].concat(), "after {n}");
        assert_eq!(to.len(), to.to_vec().len());
        to.advance(4 + (all.len() - n) / 2);
        assert_eq!(to.to_vec(), all[n + (all.len() - n) / 2..]);
    }
    w.append(&mut taken);
    assert_eq!(w.to_vec(), all);
    w.append(&mut ReplyWriter::new());
    assert_eq!(w.to_vec(), all);
}

#[test]
fn memory_is_given_back() {
    let mut w = ReplyWriter::new();
    assert_eq!(w.memory_bytes(), 0);
    w.bulk(&vec![0; 1 << 20]);
    w.shrink(0);
    assert!(w.memory_bytes() > 1 << 20, "what is pending stays");
    w.advance(w.len());
    assert!(w.memory_bytes() <= KEEP_BYTES_MAX);
    w.bulk(&[0; 1000]);
    w.clear();
    assert!(w.buf.capacity() >= 1000, "a usual buffer is kept");
    w.shrink(0);
    assert_eq!(w.memory_bytes(), 0);
}

/// Random operations on a writer and on a vector.
#[test]
fn the_buffer_is_a_queue_of_bytes() {
    let mut state = 7u64;
    let mut random = move |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 20) as usize % n
    };
    let mut w = ReplyWriter::new();
    let mut model: Vec<u8> = Vec::new();
    for round in 0..4000 {
        match random(10) {
            0..=2 => {
                w.integer(round);
                model.extend_from_slice(format!(":{round}\r\n").as_bytes());
            }
            3 | 4 => {
                let len = 1 + random(40_000);
                w.bulk_shared(shared(len, round as u8));
                model.extend_from_slice(format!("${len}\r\n").as_bytes());
                model.extend_from_slice(&vec![round as u8; len]);
                model.extend_from_slice(b"\r\n");
            }
            5 => {
                let len = random(30_000);
                let open = w.deferred_array();
                let inner = w.deferred_array();
                w.bulk(&vec![b'd'; len]);
                w.set_deferred(inner, 1);
                w.set_deferred(open, 1);
                model.extend_from_slice(format!("*1\r\n*1\r\n${len}\r\n").as_bytes());
                model.extend_from_slice(&vec![b'd'; len]);
                model.extend_from_slice(b"\r\n");
            }
            6 => {
                let mark = w.mark();
                w.bulk(&vec![b't'; random(50)]);
                w.bulk_shared(shared(random(30_000), b't'));
                w.truncate(mark);
            }
            _ => {
                let n = random(model.len().min(70_000) + 1);
                w.advance(n);
                model.drain(..n);
            }
        }
        assert_eq!(w.len(), model.len());
        assert_eq!(w.is_empty(), model.is_empty());
        if round % 16 == 0 {
            assert_eq!(w.to_vec(), model);
        }
    }
}
