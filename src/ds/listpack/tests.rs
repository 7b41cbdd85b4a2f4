//! Listpacks against Valkey's bytes, against a vector, and against bytes that are none.

use super::*;
use crate::util::rng::Rng;

/// Elements as Valkey 9.1.2 wrote them into DUMP: text and bytes.
const ENTRIES: &[(&str, &[u8])] = &[
    ("0", b"\x00\x01"),
    ("127", b"\x7f\x01"),
    ("128", b"\xc0\x80\x02"),
    ("-1", b"\xdf\xff\x02"),
    ("4095", b"\xcf\xff\x02"),
    ("4096", b"\xf1\x00\x10\x03"),
    ("-4096", b"\xd0\x00\x02"),
    ("-4097", b"\xf1\xff\xef\x03"),
    ("32767", b"\xf1\xff\x7f\x03"),
    ("32768", b"\xf2\x00\x80\x00\x04"),
    ("-32768", b"\xf1\x00\x80\x03"),
    ("-32769", b"\xf2\xff\x7f\xff\x04"),
    ("8388607", b"\xf2\xff\xff\x7f\x04"),
    ("8388608", b"\xf3\x00\x00\x80\x00\x05"),
    ("-8388608", b"\xf2\x00\x00\x80\x04"),
    ("-8388609", b"\xf3\xff\xff\x7f\xff\x05"),
    ("2147483647", b"\xf3\xff\xff\xff\x7f\x05"),
    ("2147483648", b"\xf4\x00\x00\x00\x80\x00\x00\x00\x00\x09"),
    ("-2147483648", b"\xf3\x00\x00\x00\x80\x05"),
    ("-2147483649", b"\xf4\xff\xff\xff\x7f\xff\xff\xff\xff\x09"),
    (
        "9223372036854775807",
        b"\xf4\xff\xff\xff\xff\xff\xff\xff\x7f\x09",
    ),
    (
        "-9223372036854775808",
        b"\xf4\x00\x00\x00\x00\x00\x00\x00\x80\x09",
    ),
    ("9223372036854775808", b"\x939223372036854775808\x14"),
    ("-0", b"\x82-0\x03"),
    ("01", b"\x8201\x03"),
    ("", b"\x80\x01"),
    ("a", b"\x81a\x02"),
];

/// Lengths of strings with heads and back lengths as Valkey 9.1.2 wrote them.
const STRINGS: &[(usize, &[u8], &[u8])] = &[
    (63, b"\xbf", b"\x40"),
    (64, b"\xe0\x40", b"\x42"),
    (124, b"\xe0\x7c", b"\x7e"),
    (125, b"\xe0\x7d", b"\x7f"),
    (126, b"\xe0\x7e", b"\x01\x80"),
    (127, b"\xe0\x7f", b"\x01\x81"),
    (4095, b"\xef\xff", b"\x20\x81"),
    (4096, b"\xf0\x00\x10\x00\x00", b"\x20\x85"),
    (16_377, b"\xf0\xf9\x3f\x00\x00", b"\x7f\xfe"),
    (16_378, b"\xf0\xfa\x3f\x00\x00", b"\x7f\xff"),
    (16_379, b"\xf0\xfb\x3f\x00\x00", b"\x01\x80\x80"),
];

/// Texts around every boundary of the encodings.
fn boundary_texts() -> Vec<Vec<u8>> {
    let mut texts: Vec<Vec<u8>> = ENTRIES
        .iter()
        .map(|(text, _)| text.as_bytes().to_vec())
        .collect();
    texts.extend(STRINGS.iter().map(|&(len, _, _)| vec![b'x'; len]));
    texts
}

fn texts(list: &[u8]) -> Vec<Vec<u8>> {
    Listpack::new(list).iter().map(Value::to_vec).collect()
}

/// The listpack is valid, and reads as the model in every way.
#[track_caller]
fn check(list: &[u8], model: &[Vec<u8>]) {
    assert!(validate(list), "{list:?}");
    assert_eq!(texts(list), model);
    let view = Listpack::new(list);
    assert_eq!(view.len(), model.len());
    assert_eq!(view.is_empty(), model.is_empty());
    let backwards: Vec<Vec<u8>> = view.iter().rev().map(Value::to_vec).collect();
    assert!(backwards.iter().eq(model.iter().rev()));
    assert_eq!(count_entries(view.entries()), Some(model.len()));
}

#[test]
fn elements_have_valkeys_bytes() {
    for &(text, bytes) in ENTRIES {
        let list = from_elements([text.as_bytes()]);
        assert_eq!(&list[HEADER_BYTES..list.len() - 1], bytes, "{text}");
        check(&list, &[text.into()]);
        assert_eq!(
            Value::from(text.as_bytes()).entry_len(),
            bytes.len(),
            "{text}"
        );
    }
    for &(len, head, back) in STRINGS {
        let text = vec![b'x'; len];
        let list = from_elements([&text[..]]);
        let wanted = [head, &text, back].concat();
        assert_eq!(&list[HEADER_BYTES..list.len() - 1], wanted, "{len}");
        assert_eq!(Value::from(&text[..]).entry_len(), wanted.len(), "{len}");
        check(&list, &[text]);
    }
    let list = from_elements([&b"hello"[..], b"1024"]);
    assert_eq!(list, b"\x11\0\0\0\x02\0\x85hello\x06\xc4\0\x02\xff");
}

#[test]
fn back_lengths_of_very_long_elements() {
    for (len, back) in [
        (2_097_150, &b"\x7f\xff\xfe"[..]),
        (2_097_151, b"\x7f\xff\xff"),
        (2_097_152, b"\x01\x80\x80\x80"),
        (268_435_454, b"\x7f\xff\xff\xfe"),
        (268_435_455, b"\x7f\xff\xff\xff"),
        (268_435_456, b"\x01\x80\x80\x80\x80"),
    ] {
        assert_eq!(back_len(len).as_slice(), back);
    }
    let long = vec![7; 2_097_151 - 5];
    let list = from_elements([b"a", &long[..], b"b"]);
    check(&list, &[b"a".to_vec(), long, b"b".to_vec()]);
}

#[test]
fn values_are_their_texts() {
    for text in boundary_texts() {
        let value = Value::from(&text[..]);
        assert_eq!(value.len_bytes(), text.len());
        assert_eq!(value.int(), num::parse_i64(&text));
        assert_eq!(value.bytes(&mut itoa::Buffer::new()), text);
        for other in boundary_texts() {
            let is_equal = text == other;
            assert_eq!(value.eq_bytes(&other), is_equal);
            assert_eq!(Needle::new(&other).is(value), is_equal);
        }
    }
}

#[test]
fn every_element_is_found_and_reached() {
    let model = boundary_texts();
    let list = from_elements(model.iter().map(|text| &text[..]));
    let view = Listpack::new(&list);
    let mut at = view.first();
    for (index, text) in model.iter().enumerate() {
        let place = at.unwrap();
        assert_eq!(view.seek(index as i64), at);
        assert_eq!(view.seek(index as i64 - model.len() as i64), at);
        assert_eq!(view.find(HEADER_BYTES, text, 0), at, "{text:?}");
        assert_eq!(view.value(place).to_vec(), *text);
        at = view.next(place);
        match at {
            Some(next) => assert_eq!(view.prev(next), Some(place)),
            None => assert_eq!(view.last(), Some(place)),
        }
    }
    assert_eq!(at, None);
    assert_eq!(view.prev(HEADER_BYTES), None);
    let len = model.len() as i64;
    for outside in [len, -len - 1, i64::MAX, i64::MIN, i64::MIN + 1] {
        assert_eq!(view.seek(outside), None);
    }
    for absent in [&b"1"[..], b"-2", b"b", b"xx", &[b'x'; 65], &[b'x'; 5000]] {
        assert_eq!(view.find(HEADER_BYTES, absent, 0), None);
    }
    assert_eq!(view.find(view.end(), b"a", 0), None);
    assert_eq!(Listpack::new(&EMPTY).find(HEADER_BYTES, b"", 0), None);
    assert_eq!(Listpack::new(&EMPTY).seek(0), None);
    assert_eq!(Listpack::new(&EMPTY).seek(-1), None);
}

#[test]
fn find_passes_over_what_is_to_be_skipped() {
    let list = from_elements([&b"f"[..], b"v", b"v", b"f", b"7", b"v", b"v", b"7"]);
    let view = Listpack::new(&list);
    let found = |needle: &[u8], skip| view.find(HEADER_BYTES, needle, skip);
    assert_eq!(found(b"v", 0), view.seek(1));
    assert_eq!(found(b"v", 1), view.seek(2));
    assert_eq!(found(b"f", 1), view.seek(0));
    assert_eq!(found(b"7", 1), view.seek(4));
    assert_eq!(found(b"7", 6), view.seek(7));
    assert_eq!(found(b"f", 2), view.seek(0));
    let second = view.seek(1).unwrap();
    assert_eq!(view.find(second, b"f", 1), view.seek(3));
}

#[test]
fn texts_that_others_stored_in_another_way_are_found() {
    // The text 12 as a string, and 5 in 64 bits.
    let list = b"\x16\0\0\0\x02\0\x8212\x03\xf4\x05\0\0\0\0\0\0\0\x09\xff";
    let list = [&[list.len() as u8], &list[1..]].concat();
    check(&list, &[b"12".to_vec(), b"5".to_vec()]);
    let view = Listpack::new(&list);
    assert_eq!(view.find(HEADER_BYTES, b"12", 0), view.first());
    assert_eq!(view.find(HEADER_BYTES, b"5", 0), view.last());
}

#[test]
fn what_redis_writes_otherwise_is_read() {
    for len in [16_383 - 5, 2_097_151 - 5] {
        let model = [b"a".to_vec(), vec![b'x'; len], b"b".to_vec()];
        let mut list = from_elements(model.iter().map(|text| &text[..]));
        let at = Listpack::new(&list).seek(2).unwrap();
        let back = redis_back_len(back_len(len + 5));
        list.splice(at - back.len() + 1..at, back.as_slice().iter().copied());
        let list_len = list.len() as u32;
        list[..4].copy_from_slice(&list_len.to_le_bytes());
        check(&list, &model);
        assert_eq!(
            Listpack::new(&list).find(HEADER_BYTES, b"b", 1),
            Some(at + 1)
        );
        replace(&mut list, HEADER_BYTES, b"c");
        assert_eq!(delete(&mut list, HEADER_BYTES, 2), 2);
        check(&list, &[b"b".to_vec()]);
    }
    // Not where Redis has no such byte.
    let list = b"\x0b\0\0\0\x01\0\x81a\0\x02\xff";
    assert!(!validate(list));
}

fn random_text(rng: &mut Rng) -> Vec<u8> {
    match rng.below(10) {
        0 => Vec::new(),
        1..4 => (rng.next_u64() as i64 >> rng.below(64)).to_string().into(),
        4..6 => vec![b'a' + rng.below(3) as u8],
        6..8 => vec![b'k'; rng.index(70)],
        8 => vec![b'l'; rng.index(300)],
        _ => vec![b'm'; rng.index(5000)],
    }
}

fn one_edit(rng: &mut Rng, list: &mut Vec<u8>, model: &mut Vec<Vec<u8>>) {
    let text = random_text(rng);
    let index = rng.index(model.len() + 1);
    let place = |list: &[u8]| {
        let view = Listpack::new(list);
        view.seek(index as i64).unwrap_or(view.end())
    };
    let at = place(list);
    let more: Vec<Vec<u8>> = (0..rng.index(4)).map(|_| random_text(rng)).collect();
    match rng.below(9) {
        0 => {
            append(list, &text[..]);
            model.push(text);
        }
        1 => {
            insert(list, HEADER_BYTES, &text[..]);
            model.insert(0, text);
        }
        2 => {
            insert(list, at, &text[..]);
            model.insert(index, text);
        }
        3 if index < model.len() => {
            replace(list, at, &text[..]);
            model[index] = text;
        }
        4 => {
            let count = rng.index(4);
            let removed = model.drain(index..(index + count).min(model.len())).count();
            assert_eq!(delete(list, at, count), removed);
        }
        5 => {
            append_all(list, more.iter().map(|text| &text[..]));
            model.extend(more);
        }
        6 => {
            let count = rng.index(3);
            let end = (index + count).min(model.len());
            let removed = splice(list, at, count, more.iter().map(|text| &text[..]));
            assert_eq!(removed, model.splice(index..end, more).count());
        }
        7 => {
            let (count, from_end) = (rng.index(4), rng.below(2) == 0);
            let mut hits: Vec<usize> = (0..model.len()).filter(|&at| model[at] == text).collect();
            if from_end {
                hits.reverse();
            }
            hits.truncate(count);
            assert_eq!(remove_equal(list, &text, count, from_end), hits.len());
            let mut at = 0;
            model.retain(|_| {
                at += 1;
                !hits.contains(&(at - 1))
            });
        }
        _ if model.len() > 20 => {
            let to = Listpack::new(list).seek(10).unwrap();
            remove_span(list, HEADER_BYTES..to, 10);
            model.drain(..10);
        }
        _ => {}
    }
}

#[test]
fn edits_are_those_of_a_vector() {
    let mut rng = Rng::from_seed(1);
    for _ in 0..20 {
        let (mut list, mut model) = (EMPTY.to_vec(), Vec::new());
        for _ in 0..300 {
            one_edit(&mut rng, &mut list, &mut model);
            check(&list, &model);
            let again = from_elements(model.iter().map(|text| &text[..]));
            assert_eq!(list, again);
            assert_eq!(
                from_entries(Listpack::new(&list).entries(), model.len()),
                list
            );
        }
    }
}

#[test]
fn more_elements_than_the_header_counts() {
    let mut list = from_elements((0..65_534).map(|_| Value::Int(1)));
    assert_eq!(list[4..6], [0xFE, 0xFF]);
    append(&mut list, 2);
    assert_eq!(list[4..6], [0xFF, 0xFF]);
    append(&mut list, 3);
    let view = Listpack::new(&list);
    assert!(validate(&list));
    assert_eq!(view.len(), 65_536);
    assert_eq!(
        view.seek(65_535).map(|at| view.value(at)),
        Some(Value::Int(3))
    );
    assert_eq!(view.seek(-65_536), view.first());
    assert_eq!(view.seek(65_536), None);
    assert_eq!(view.seek(-65_537), None);
    // A count that was lost is not found again.
    assert_eq!(delete(&mut list, HEADER_BYTES, 10), 10);
    assert_eq!(list[4..6], [0xFF, 0xFF]);
    assert_eq!(Listpack::new(&list).len(), 65_526);
    assert!(validate(&list));
}

#[test]
fn what_is_not_a_listpack_is_refused() {
    let texts: Vec<Vec<u8>> = boundary_texts()
        .into_iter()
        .filter(|text| text.len() < 200)
        .collect();
    let list = from_elements(texts.iter().map(|text| &text[..]));
    for len in 0..list.len() {
        assert!(!validate(&list[..len]), "cut at {len}");
        // Also when the header agrees.
        if len > HEADER_BYTES {
            let mut cut = list[..len].to_vec();
            cut[..4].copy_from_slice(&(len as u32).to_le_bytes());
            cut[len - 1] = END;
            assert!(!validate(&cut), "cut at {len}");
        }
    }
    for (name, bytes) in [
        ("no end", &b"\x09\0\0\0\x01\0\x01\x01\x00"[..]),
        ("wrong count", b"\x09\0\0\0\x02\0\x01\x01\xff"),
        ("wrong length", b"\x0a\0\0\0\x01\0\x01\x01\xff"),
        ("wrong back length", b"\x09\0\0\0\x01\0\x01\x02\xff"),
        ("back length too long", b"\x0a\0\0\0\x01\0\x01\x00\x81\xff"),
        ("unknown head", b"\x09\0\0\0\x01\0\xf5\x01\xff"),
        ("end inside", b"\x0b\0\0\0\x02\0\x01\x01\xff\x01\xff"),
        (
            "endless string",
            b"\x0d\0\0\0\x01\0\xf0\xff\xff\xff\xff\x05\xff",
        ),
    ] {
        assert!(!validate(bytes), "{name}");
    }
    assert!(validate(b"\x09\0\0\0\x01\0\x01\x01\xff"));
    assert!(validate(b"\x09\0\0\0\xff\xff\x01\x01\xff"));
}

#[test]
fn changed_bytes_are_refused_or_can_be_read() {
    let mut rng = Rng::from_seed(2);
    let texts: Vec<Vec<u8>> = boundary_texts()
        .into_iter()
        .filter(|text| text.len() < 200)
        .collect();
    let list = from_elements(texts.iter().map(|text| &text[..]));
    for _ in 0..20_000 {
        let mut changed = list.clone();
        for _ in 0..=rng.index(3) {
            let at = rng.index(changed.len());
            changed[at] = match rng.below(3) {
                0 => rng.next_u64() as u8,
                1 => changed[at].wrapping_add(1),
                _ => changed[at] ^ 1 << rng.below(8),
            };
        }
        if validate(&changed) {
            let view = Listpack::new(&changed);
            assert_eq!(view.iter().count(), view.len());
            assert_eq!(view.iter().rev().count(), view.len());
            assert_eq!(view.find(HEADER_BYTES, b"not there", 0), None);
        }
    }
}
