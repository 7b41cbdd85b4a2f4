//! Searches of positions: whatever the area, points that are found are within it, a compact sorted set and
//! a large one give the same ones in the same order, a limit leaves the first of them, and sorting leaves
//! the nearest or farthest.
//!
//! The input is numbers: the shape's kind and eight bytes for each of its numbers, then points near the
//! centre (two bytes, how far east and north), or scores of eight bytes.
#![no_main]

use kivi::ds::entry::{Entry, Meta};
use kivi::ds::hash::{HashFunction, KeyHash};
use kivi::value::geo::{Area, Found, Order, Position, Shape, search, sort};
use kivi::value::zset::{Member, NewZset, ZsetRef};
use kivi::value::{Limits, Type};
use kivi_fuzz::Input;
use libfuzzer_sys::fuzz_target;

/// Any number that a request can have: no NaN.
fn number(input: &mut Input<'_>) -> f64 {
    let mut bytes = [0; 8];
    bytes.iter_mut().for_each(|byte| *byte = input.byte());
    let number = f64::from_le_bytes(bytes);
    if number.is_nan() { 0.5 } else { number }
}

fn position(input: &mut Input<'_>) -> Position {
    let (longitude, latitude) = (number(input), number(input));
    Position {
        longitude,
        latitude,
    }
    .on_map()
}

fn area(input: &mut Input<'_>) -> Area {
    let kind = input.byte();
    let centre = position(input);
    let mut length = || number(input).abs();
    let shape = match kind % 3 {
        0 => Shape::Circle { radius: length() },
        1 => Shape::Box {
            width: length(),
            height: length(),
        },
        _ => {
            let corners = 3 + usize::from(kind >> 2) % 5;
            return Area::of_polygon((0..corners).map(|_| position(input)).collect());
        }
    };
    let unit_m = [1.0, 1000.0, 0.3048, 1609.34][usize::from(kind >> 2) % 4];
    Area {
        centre,
        shape,
        unit_m,
    }
}

fn scores(input: &mut Input<'_>, centre: Position) -> Vec<f64> {
    let mut scores = Vec::new();
    while !input.0.is_empty() && scores.len() < 400 {
        let kind = input.byte();
        if kind < 16 {
            scores.push(number(input));
            continue;
        }
        let size = 10f64.powi(i32::from(kind % 8) - 5);
        let mut near = |middle: f64| middle + f64::from(input.byte() as i8) * size / 100.0;
        let (longitude, latitude) = (near(centre.longitude), near(centre.latitude));
        scores.push(
            Position {
                longitude,
                latitude,
            }
            .on_map()
            .score(),
        );
    }
    scores.sort_by(f64::total_cmp);
    scores
}

/// What is found: members and how far they are.
fn found(zset: ZsetRef<'_>, area: &Area, limit: usize) -> Vec<(Vec<u8>, f64)> {
    let found = search(zset, area, limit);
    for point in &found {
        assert_eq!(
            area.distance_within_m(point.position),
            Some(point.distance_m),
            "{area:?}"
        );
        let text = point.position.text();
        assert!(text.is_ascii());
    }
    found.iter().map(shown).collect()
}

fn shown(point: &Found<'_>) -> (Vec<u8>, f64) {
    let mut digits = Default::default();
    (point.member.bytes(&mut digits).to_vec(), point.distance_m)
}

fn with_zset<R>(scores: &[f64], entries_max: u64, look: impl FnOnce(ZsetRef<'_>) -> R) -> R {
    let names: Vec<String> = (0..scores.len()).map(|at| format!("m{at:03}")).collect();
    let members = names.iter().map(|name| Member::from(name.as_bytes()));
    let limits = Limits {
        zset_max_listpack_entries: entries_max,
        ..Limits::default()
    };
    let key_hash = KeyHash::with_seed(HashFunction::Fast, 7);
    let scored = members.zip(scores.iter().copied());
    let zset = NewZset::of(scored, names.len(), 4, &limits, key_hash);
    let entry = zset.store(|enc, value| {
        let meta = Meta {
            type_: Type::Zset as u8,
            enc: enc as u8,
            lru: 0,
        };
        Entry::new(b"key", meta, value, None)
    });
    look(ZsetRef::of(entry.view()))
}

fn check_order(zset: ZsetRef<'_>, area: &Area, wanted: usize) {
    let all = search(zset, area, 0);
    for order in [Order::Ascending, Order::Descending] {
        let mut sorted = all.clone();
        let wanted = wanted.min(all.len());
        sort(&mut sorted, order, wanted);
        assert_eq!(sorted.len(), wanted);
        let mut expected: Vec<f64> = all.iter().map(|point| point.distance_m).collect();
        expected.sort_by(f64::total_cmp);
        if order == Order::Descending {
            expected.reverse();
        }
        let distances: Vec<f64> = sorted.iter().map(|point| point.distance_m).collect();
        assert_eq!(distances, expected[..wanted]);
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let area = area(&mut input);
    let limit = input.below(8);
    let scores = scores(&mut input, area.centre);
    if scores.is_empty() {
        return;
    }
    let large = with_zset(&scores, 0, |zset| {
        check_order(zset, &area, limit + 1);
        [found(zset, &area, 0), found(zset, &area, limit)]
    });
    let compact = with_zset(&scores, 1000, |zset| {
        [found(zset, &area, 0), found(zset, &area, limit)]
    });
    assert_eq!(large, compact, "{area:?}");
    let kept = if limit == 0 {
        large[0].len()
    } else {
        limit.min(large[0].len())
    };
    assert_eq!(large[0][..kept], large[1]);
});
