//! String values and the longest common subsequence, against plain models of both.

use std::sync::Arc;

use super::lcs::{self, Lcs, Match, Refused};
use super::*;
use crate::ds::entry::{Entry, Meta};

/// A small deterministic generator.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % bound.max(1)
    }

    fn bytes(&mut self, len: usize, alphabet: usize) -> Vec<u8> {
        (0..len)
            .map(|_| b'a' + self.below(alphabet) as u8)
            .collect()
    }
}

#[test]
fn only_canonical_integers_are_stored_as_such() {
    for text in [
        "0",
        "-1",
        "7",
        "9223372036854775807",
        "-9223372036854775808",
    ] {
        assert_eq!(
            canonical_int(text.as_bytes())
                .map(|int| int.to_string())
                .as_deref(),
            Some(text)
        );
    }
    for text in [
        "",
        "-",
        "-0",
        "+1",
        "01",
        " 1",
        "1 ",
        "1.0",
        "9223372036854775808",
        "1\0",
    ] {
        assert_eq!(canonical_int(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn values_of_all_kinds_read_alike() {
    let shared = Arc::new(b"-42".to_vec());
    for value in [
        ValueRef::Int(-42),
        ValueRef::Bytes(b"-42"),
        ValueRef::Shared(&shared),
    ] {
        assert_eq!(bytes(value, &mut itoa::Buffer::new()), b"-42");
        assert_eq!(len(value), 3);
        assert!(eq(value, b"-42") && !eq(value, b"-42 "));
        assert_eq!(int(value), Some(-42));
        assert_eq!(float(value), Some(LongDouble::from(-42)));
    }
    assert_eq!(int(ValueRef::Bytes(b"1.5")), None);
    assert_eq!(float(ValueRef::Bytes(b"x")), None);
}

#[test]
fn a_range_is_always_inside() {
    let bounds = [
        i64::MIN,
        i64::MIN + 1,
        -11,
        -10,
        -9,
        -2,
        -1,
        0,
        1,
        5,
        9,
        10,
        11,
        i64::MAX,
    ];
    for len in [0usize, 1, 10] {
        for start in bounds {
            for end in bounds {
                let range = range(len, start, end);
                assert!(range.start <= range.end && range.end <= len);
                // The same with numbers that cannot overflow.
                let clamp = |bound: i64| {
                    let from_end = i128::from(bound) + if bound < 0 { len as i128 } else { 0 };
                    from_end.max(0)
                };
                let (first, last) = (clamp(start), clamp(end).min(len as i128 - 1));
                let none = first > last || (start < 0 && end < 0 && start > end);
                let expected = if none { 0 } else { last - first + 1 };
                assert_eq!(range.len() as i128, expected, "{len} {start} {end}");
                assert!(none || range.start as i128 == first);
            }
        }
    }
}

#[test]
fn an_expiry_takes_room_from_an_embedded_value() {
    assert_eq!(encoding(1, 112, false), Encoding::Embstr);
    assert_eq!(encoding(1, 113, false), Encoding::Raw);
    assert_eq!(encoding(1, 104, true), Encoding::Embstr);
    assert_eq!(encoding(1, 105, true), Encoding::Raw);
    assert_eq!(encoding(31, 82, false), Encoding::Embstr);
    assert_eq!(encoding(32, 80, false), Encoding::Raw);
    assert_eq!(encoding_with_expire(1, 104), Encoding::Embstr);
    assert_eq!(encoding_with_expire(1, 105), Encoding::Raw);
    assert_eq!(encoding_with_expire(107, 0), Encoding::Raw);
    assert_eq!(encoding_with_expire(108, 3), Encoding::Embstr);
    assert_eq!(encoding(usize::MAX, usize::MAX, true), Encoding::Raw);
}

fn entry(value: NewValue<'_>) -> Entry {
    Entry::new(b"key", Meta::default(), value, None)
}

#[test]
fn writing_at_an_offset_is_the_same_in_place_and_moved() {
    let mut random = Random(7);
    for round in 0..2000 {
        let size = [10, 300, 5000, 20_000][random.below(4)];
        let old_len = random.below(size);
        let old = random.bytes(old_len, 26);
        let offset = random.below(old_len + 50);
        let patch_len = random.below(size) + 1;
        let patch = random.bytes(patch_len, 10);
        let mut expected = old.clone();
        expected.resize(old.len().max(offset + patch.len()), 0);
        expected[offset..offset + patch.len()].copy_from_slice(&patch);

        let mut scratch = Scratch::new();
        let moved = spliced(ValueRef::Bytes(&old), offset, &patch, &mut scratch).unwrap();
        let moved = entry(moved);
        assert!(eq(moved.view().value(), &expected), "round {round}");

        let mut inline = entry(NewValue::Bytes(&old));
        let mut shared = entry(NewValue::Shared(Arc::new(old.clone())));
        for (entry, is_shared) in [(&mut inline, false), (&mut shared, true)] {
            let done = write_in_place(&mut entry.view_mut(), offset, &patch).unwrap();
            if done {
                assert!(eq(entry.view().value(), &expected), "round {round}");
                assert_eq!(entry.view().enc(), Encoding::Raw as u8);
            } else {
                assert!(eq(entry.view().value(), &old) && !is_shared);
            }
        }
    }
}

#[test]
fn what_cannot_be_is_refused_and_nothing_changes() {
    let mut scratch = Scratch::new();
    for offset in [usize::MAX, usize::MAX / 2] {
        let value = ValueRef::Bytes(b"v");
        assert!(spliced(value, offset, b"xy", &mut scratch).is_err());
        let mut shared = entry(NewValue::Shared(Arc::new(b"v".to_vec())));
        assert_eq!(
            write_in_place(&mut shared.view_mut(), offset, b"xy"),
            Err(OutOfMemory)
        );
        assert!(eq(shared.view().value(), b"v"));
    }
}

#[test]
fn a_buffer_that_someone_holds_is_not_touched() {
    let held = Arc::new(b"value".to_vec());
    let mut shared = entry(NewValue::Shared(held.clone()));
    assert_eq!(write_in_place(&mut shared.view_mut(), 0, b"V"), Ok(false));
    assert_eq!(write_in_place(&mut shared.view_mut(), 5, b"s"), Ok(false));
    drop(held);
    assert_eq!(write_in_place(&mut shared.view_mut(), 5, b"s"), Ok(true));
    assert!(eq(shared.view().value(), b"values"));
}

/// The textbook table, read back as Redis reads it: the runs from the end, and the length.
fn model(a: &[u8], b: &[u8]) -> (Vec<Match>, usize) {
    let mut table = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            table[i][j] = match a[i - 1] == b[j - 1] {
                true => table[i - 1][j - 1] + 1,
                false => table[i - 1][j].max(table[i][j - 1]),
            };
        }
    }
    let (mut i, mut j, mut runs) = (a.len(), b.len(), Vec::new());
    while i > 0 && j > 0 {
        let mut len = 0;
        while i > 0 && j > 0 && a[i - 1] == b[j - 1] {
            (i, j, len) = (i - 1, j - 1, len + 1);
        }
        if len > 0 {
            let (a_start, b_start) = (i, j);
            runs.push(Match {
                a_start,
                b_start,
                len,
            });
        } else if table[i - 1][j] > table[i][j - 1] {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    (runs, table[a.len()][b.len()])
}

#[test]
fn lcs_is_the_one_of_the_textbook() {
    let mut random = Random(42);
    for round in 0..600 {
        let size = [3, 20, 70, 200][round % 4];
        let alphabet = 1 + random.below([2, 4, 26][round % 3]);
        let (a_len, b_len) = (random.below(size), random.below(size));
        let (a, b) = (random.bytes(a_len, alphabet), random.bytes(b_len, alphabet));
        let (runs, length) = model(&a, &b);
        let lcs = Lcs::new(&a, &b).unwrap();
        assert_eq!(lcs.len(), length);
        assert_eq!(lcs.is_empty(), length == 0);
        assert_eq!(lcs::len(&a, &b), Ok(length));
        assert!(lcs.matches().eq(runs.iter().copied()), "{a:?} {b:?}");
        let text: Vec<u8> = runs
            .iter()
            .rev()
            .flat_map(|run| a[run.a_start..run.a_start + run.len].iter().copied())
            .collect();
        assert_eq!(lcs.text(), text);
    }
}

#[test]
fn lcs_takes_all_byte_values_and_word_boundaries() {
    let all: Vec<u8> = (0..=255).collect();
    let reversed: Vec<u8> = all.iter().rev().copied().collect();
    assert_eq!(Lcs::new(&all, &all).unwrap().text(), all);
    assert_eq!(lcs::len(&all, &reversed), Ok(1));
    for len in [63, 64, 65, 127, 128, 129, 1000] {
        let a = vec![b'x'; len];
        let b = [&a[..], b"y"].concat();
        assert_eq!(Lcs::new(&a, &b).unwrap().text(), a);
        assert_eq!(Lcs::new(&b, &a).unwrap().text(), a);
    }
}

#[test]
fn lcs_has_redis_limits() {
    assert_eq!(lcs::admit(511, 511, 1 << 20), Ok(()));
    assert_eq!(lcs::admit(511, 512, 1 << 20), Err(Refused::OverLimit));
    assert_eq!(lcs::admit(0, 0, 4), Ok(()));
    assert_eq!(lcs::admit(0, 0, 3), Err(Refused::OverLimit));
    assert_eq!(
        lcs::admit(u32::MAX as usize - 1, 0, u64::MAX),
        Err(Refused::TooLong)
    );
    assert_eq!(lcs::admit(0, usize::MAX, u64::MAX), Err(Refused::TooLong));
    let most = u32::MAX as usize - 2;
    assert_eq!(lcs::admit(most, most, u64::MAX), Err(Refused::OverLimit));
    assert_eq!(lcs::admit(most, 1, u64::MAX), Ok(()));
}
