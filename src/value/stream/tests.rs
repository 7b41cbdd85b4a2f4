//! Tests of ids as they are read and written.

use super::*;

fn id(ms: u64, seq: u64) -> StreamId {
    StreamId::new(ms, seq)
}

#[test]
fn ids_are_read_as_c_reads_them() {
    let long = [&[b'0'; 125][..], b"-7"].concat();
    let too_long = [&[b'0'; 126][..], b"-7"].concat();
    let cases: &[(&[u8], Option<StreamId>)] = &[
        (b"1-2", Some(id(1, 2))),
        (b"1", Some(id(1, 9))),
        (b"007-+1", Some(id(7, 1))),
        (b"  +8-01", Some(id(8, 1))),
        (
            b"18446744073709551615-18446744073709551615",
            Some(StreamId::MAX),
        ),
        (b"18446744073709551616-1", None),
        (b"1-18446744073709551616", None),
        (b"7--0", Some(id(7, 0))),
        (b"7--1", None),
        (b"7- -9", Some(id(7, u64::MAX - 8))),
        (b"7- -+9", None),
        (b"7- -99999999999999999999", None),
        (b"7-1\0junk", Some(id(7, 1))),
        (b"", None),
        (b"-", None),
        (b"+", None),
        (b"-1", None),
        (b"1-", None),
        (b"1-1-1", None),
        (b"1-*", None),
        (b"7 ", None),
        (b"x", None),
        (&long, Some(id(0, 7))),
        (&too_long, None),
    ];
    for (text, expected) in cases {
        assert_eq!(parse_id(text, 9), *expected, "{}", text.escape_ascii());
    }
}

#[test]
fn new_ids_are_above_the_last() {
    let last = id(5, 7);
    let after = |text: &str, now_ms| NewId::parse(text.as_bytes()).unwrap().after(last, now_ms);
    assert_eq!(after("*", 6), Some(id(6, 0)));
    assert_eq!(after("*", 5), Some(id(5, 8)));
    assert_eq!(after("*", 1), Some(id(5, 8)));
    assert_eq!(after("5-*", 1), Some(id(5, 8)));
    assert_eq!(after("6-*", 1), Some(id(6, 0)));
    assert_eq!(after("4-*", 9), None);
    assert_eq!(after("5-7", 9), None);
    assert_eq!(after("5-8", 9), Some(id(5, 8)));
    assert_eq!(after("6", 9), Some(id(6, 0)));
    let last_of_ms = id(5, u64::MAX);
    assert_eq!(NewId::Now.after(last_of_ms, 5), Some(id(6, 0)));
    assert_eq!(NewId::NextOf(5).after(last_of_ms, 5), None);
    assert_eq!(NewId::Now.after(StreamId::MAX, 5), None);
    assert_eq!(NewId::parse(b"*\0x"), Some(NewId::Now));
    for bad in ["", "-*", "*-*", "5-*x", "x-*", "**", "$", "+"] {
        assert_eq!(NewId::parse(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn ends_of_ranges() {
    let bound = |text: &str| Bound::parse(text.as_bytes(), 9);
    assert_eq!(bound("-"), Some(Bound::Inclusive(StreamId::MIN)));
    assert_eq!(bound("+"), Some(Bound::Inclusive(StreamId::MAX)));
    assert_eq!(bound("3"), Some(Bound::Inclusive(id(3, 9))));
    assert_eq!(bound("(3-1"), Some(Bound::Exclusive(id(3, 1))));
    for bad in ["(", "(-", "(+", "((1", "$", "x"] {
        assert_eq!(bound(bad), None, "{bad}");
    }
}

#[test]
fn ids_are_written() {
    for each in [StreamId::MIN, id(1, 20), StreamId::MAX] {
        assert_eq!(IdText::new(each).as_bytes(), each.to_string().as_bytes());
    }
}
