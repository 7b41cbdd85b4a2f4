//! The format byte by byte, and random edits against a `BTreeSet`.

use std::collections::BTreeSet;

use super::*;
use crate::util::rng::Rng;

fn values(bytes: &[u8]) -> Vec<i64> {
    Intset::new(bytes).iter().collect()
}

fn set_of(values: &[i64]) -> Vec<u8> {
    let mut bytes = EMPTY.to_vec();
    for &value in values {
        insert(&mut bytes, value);
    }
    bytes
}

#[test]
fn the_bytes_are_those_of_redis() {
    // As DUMP of Valkey 9.1.2 shows them.
    assert_eq!(
        set_of(&[3, 1, 2]),
        [2, 0, 0, 0, 3, 0, 0, 0, 1, 0, 2, 0, 3, 0]
    );
    assert_eq!(
        set_of(&[-1, 65535]),
        [
            4, 0, 0, 0, 2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0
        ]
    );
    let mut wide = set_of(&[1, i64::MIN]);
    assert_eq!(wide[..8], [8, 0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(wide[8..16], i64::MIN.to_le_bytes());
    assert!(remove(&mut wide, i64::MIN));
    // The width stays.
    assert_eq!(wide, [8, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn widths_change_at_their_borders() {
    for (value, width) in [
        (0, 2),
        (i16::MAX.into(), 2),
        (i16::MIN.into(), 2),
        (i64::from(i16::MAX) + 1, 4),
        (i64::from(i16::MIN) - 1, 4),
        (i32::MAX.into(), 4),
        (i32::MIN.into(), 4),
        (i64::from(i32::MAX) + 1, 8),
        (i64::from(i32::MIN) - 1, 8),
        (i64::MAX, 8),
        (i64::MIN, 8),
    ] {
        let mut bytes = set_of(&[-7, 7]);
        assert!(insert(&mut bytes, value), "{value}");
        assert_eq!(bytes[0], width, "{value}");
        assert_eq!(from_sorted([value].into_iter())[0], width, "{value}");
        let mut model = vec![-7, 7, value];
        model.sort_unstable();
        assert_eq!(values(&bytes), model);
        assert!(validate(&bytes));
        assert!(!insert(&mut bytes, value));
        assert!(Intset::new(&bytes).contains(value));
        // A value that is too wide for a narrower set is not mistaken for its low bytes.
        let narrow = set_of(&[value as i16 as i64]);
        assert_eq!(Intset::new(&narrow).contains(value), width == 2);
        assert!(!remove(&mut { narrow }, value) || width == 2);
    }
}

#[test]
fn an_empty_set_answers_everything() {
    let mut bytes = EMPTY.to_vec();
    let set = Intset::new(&bytes);
    assert!(set.is_empty() && validate(&bytes));
    assert_eq!(set.iter().len(), 0);
    assert_eq!((set.min(), set.max(), set.get(0)), (None, None, None));
    assert_eq!(set.find(1), Err(0));
    assert_eq!(set.random(|_| 0), None);
    assert_eq!(set.iter().next_back(), None);
    assert!(!remove(&mut bytes, 1));
    assert_eq!(from_sorted([].into_iter()), EMPTY);
}

#[test]
fn edits_follow_a_model() {
    let mut rng = Rng::from_seed(1);
    for round in 0..60 {
        let bits = [4, 10, 17, 34, 64][round % 5];
        let mut bytes = EMPTY.to_vec();
        let mut model = BTreeSet::new();
        for _ in 0..300 {
            let value = (rng.next_u64() as i64) >> (64 - bits);
            if rng.below(3) > 0 {
                assert_eq!(insert(&mut bytes, value), model.insert(value));
            } else if rng.below(2) == 0 || model.is_empty() {
                assert_eq!(remove(&mut bytes, value), model.remove(&value));
            } else {
                let index = rng.index(model.len());
                let value = *model.iter().nth(index).expect("it is there");
                assert_eq!(Intset::new(&bytes).get(index), Some(value));
                remove_at(&mut bytes, index);
                model.remove(&value);
            }
            assert!(validate(&bytes));
            let set = Intset::new(&bytes);
            assert_eq!(set.len(), model.len());
            assert!(set.iter().eq(model.iter().copied()));
            assert_eq!((set.min(), set.max()), {
                (model.first().copied(), model.last().copied())
            });
            assert_eq!(set.contains(value), model.contains(&value));
        }
        let set = Intset::new(&bytes);
        assert!(set.iter().rev().eq(model.iter().rev().copied()));
        assert_eq!(set.iter().len(), model.len());
        let again = from_sorted(model.iter().copied().collect::<Vec<_>>().into_iter());
        assert_eq!(values(&again), values(&bytes));
    }
}

#[test]
fn every_element_is_drawn() {
    let bytes = set_of(&[5, -3, 100_000]);
    let mut rng = Rng::from_seed(2);
    let drawn: BTreeSet<i64> = (0..100)
        .filter_map(|_| Intset::new(&bytes).random(|len| rng.index(len)))
        .collect();
    assert_eq!(drawn, BTreeSet::from([-3, 5, 100_000]));
}

#[test]
fn what_is_not_a_set_is_refused() {
    let good = set_of(&[1, 2, 70_000]);
    assert!(validate(&good));
    for end in 0..good.len() {
        assert!(!validate(&good[..end]), "{end}");
    }
    let broken = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    // Width, length, order, an element twice.
    for bytes in [
        broken(0, 2),
        broken(0, 3),
        broken(0, 0),
        broken(1, 1),
        broken(4, 2),
        broken(7, 1),
        broken(8, 9),
        broken(8, 2),
        broken(19, 0x80),
    ] {
        assert!(!validate(&bytes), "{bytes:?}");
    }
    // A length whose product with the width wraps.
    let wraps = [8, 0, 0, 0, 0, 0, 0, 0x20];
    assert!(!validate(&wraps));
}

#[test]
fn reading_nonsense_stays_inside() {
    let mut rng = Rng::from_seed(3);
    for _ in 0..2_000 {
        let mut bytes = vec![0; HEADER_BYTES + rng.index(40)];
        rng.fill(&mut bytes);
        let set = Intset::new(&bytes);
        assert_eq!(set.iter().count(), set.len());
        let _ = (set.min(), set.max(), set.find(5), set.get(set.len()));
        let _ = validate(&bytes);
    }
}
