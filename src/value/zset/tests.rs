//! Sorted sets of both encodings against `BTreeMap`, with limits that force conversions.

use std::collections::BTreeMap;

use super::algebra::{self, Aggregate, Input, Outcome, Source};
use super::*;
use crate::ds::entry::{Entry, Meta};
use crate::ds::hash::HashFunction;
use crate::ds::listpack;
use crate::ds::table::{self, Table};
use crate::util::rng::Rng;
use crate::value::set::NewSet;

type Model = BTreeMap<Vec<u8>, f64>;

fn key_hash() -> KeyHash {
    KeyHash::with_seed(HashFunction::Fast, 1)
}

fn limits(entries: u64, value: u64) -> Limits {
    Limits {
        zset_max_listpack_entries: entries,
        zset_max_listpack_value: value,
        ..Limits::default()
    }
}

/// A key with a sorted set in a table, as the keyspace has it.
struct Key {
    table: Table<Entry>,
    slot: table::Slot,
}

impl Key {
    fn new(enc: Encoding, value: NewValue<'_>) -> Self {
        let meta = Meta {
            type_: 3,
            enc: enc as u8,
            lru: 0,
        };
        let mut table = Table::new(0, key_hash());
        let entry = Entry::new(b"key", meta, value, None);
        let slot = table.insert(key_hash().hash(b"key"), entry);
        Self { table, slot }
    }

    fn of(members: &Model, limits: &Limits) -> Self {
        let (enc, value) = empty(0, 0, limits, key_hash());
        let mut key = Key::new(enc, value);
        for (member, &score) in members {
            let added = key.set(limits).add(member, score, AddOptions::default());
            assert_eq!(added, Ok(Added::New(score)));
        }
        key
    }

    fn get(&self) -> ZsetRef<'_> {
        ZsetRef::of(self.table.get(self.slot))
    }

    fn set<'a>(&'a mut self, limits: &'a Limits) -> ZsetMut<'a> {
        ZsetMut::new(EntrySlot::new(&mut self.table, self.slot), limits)
    }

    fn encoding(&self) -> Encoding {
        let enc = Encoding::from_nibble(self.table.get(self.slot).enc());
        let is_large = matches!(self.get(), ZsetRef::Large(_));
        assert_eq!(is_large, enc == Encoding::Skiplist);
        enc
    }
}

fn sorted(model: &Model) -> Vec<(Vec<u8>, f64)> {
    let mut pairs: Vec<(Vec<u8>, f64)> = model.iter().map(|(m, &s)| (m.clone(), s)).collect();
    pairs.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap().then(a.0.cmp(&b.0)));
    pairs
}

fn owned((member, score): (Member<'_>, f64)) -> (Vec<u8>, f64) {
    (member.to_vec(), score)
}

/// A member out of a few, integers and others, some of them long.
fn any_member(rng: &mut Rng) -> Vec<u8> {
    match rng.below(8) {
        0 => ((rng.next_u64() as i64) >> rng.below(64))
            .to_string()
            .into(),
        1 => vec![b'x'; rng.index(30)],
        2 => format!("0{}", rng.below(9)).into(),
        3..=5 => format!("m{}", rng.below(60)).into(),
        _ => rng.below(40).to_string().into(),
    }
}

fn any_score(rng: &mut Rng) -> f64 {
    match rng.below(8) {
        0 => [f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e300, 5e18][rng.index(5)],
        1 => rng.unit_f64(),
        2 => (rng.next_u64() as i64 >> rng.below(60)) as f64,
        _ => rng.below(10) as f64,
    }
}

/// Compares everything that can be asked.
fn compare_all(zset: ZsetRef<'_>, model: &Model, rng: &mut Rng) {
    let pairs = sorted(model);
    let len = pairs.len();
    if let ZsetRef::Compact(list) = zset {
        assert_eq!(compact::check(list), Ok(()));
    }
    assert_eq!((zset.len(), zset.is_empty()), (len, len == 0));
    assert!(
        zset.range(0, usize::MAX)
            .map(owned)
            .eq(pairs.iter().cloned())
    );
    let mut all: Model = BTreeMap::new();
    zset.iter().map(owned).for_each(|(member, score)| {
        assert!(all.insert(member, score).is_none());
    });
    assert_eq!(&all, model);
    for _ in 0..4 {
        let rank = rng.index(len + 2);
        let count = [0, 1, 3, 1000][rng.index(4)];
        let expected = pairs.iter().skip(rank).take(count).cloned();
        assert!(zset.range(rank, count).map(owned).eq(expected));
        let before = if rank < len { rank + 1 } else { 0 };
        let expected = pairs[..before].iter().rev().take(count).cloned();
        assert!(zset.range_back(rank, count).map(owned).eq(expected));
        if let Some((member, score)) = pairs.get(rank) {
            assert_eq!(zset.rank(member), Some((rank, *score)));
        }
        let member = any_member(rng);
        assert_eq!(zset.score(&member), model.get(&member).copied());
        assert_eq!(zset.rank(&member).is_some(), model.contains_key(&member));
        let range = ScoreRange {
            min: any_score(rng),
            min_is_exclusive: rng.below(2) == 0,
            max: any_score(rng),
            max_is_exclusive: rng.below(2) == 0,
        };
        let inside = |score: f64| {
            (score > range.min || !range.min_is_exclusive && score == range.min)
                && (score < range.max || !range.max_is_exclusive && score == range.max)
        };
        let span = zset.score_span(&range);
        let expected = pairs.iter().filter(|pair| inside(pair.1)).cloned();
        assert!(zset.range(span.start, span.len()).map(owned).eq(expected));
    }
}

/// ZADD by its definition.
fn add_to_model(
    model: &mut Model,
    member: &[u8],
    score: f64,
    options: AddOptions,
) -> Result<Added, NotANumber> {
    let old = model.get(member).copied();
    match old {
        None if options.only_old => return Ok(Added::Nothing),
        Some(_) if options.only_new => return Ok(Added::Nothing),
        _ => {}
    }
    let new = match old {
        Some(old) if options.increment => old + score,
        _ => score,
    };
    if new.is_nan() {
        return Err(NotANumber);
    }
    if let Some(old) = old {
        if options.only_greater && new <= old || options.only_less && new >= old {
            return Ok(Added::Nothing);
        }
        if new == old {
            return Ok(Added::Same(new));
        }
    }
    model.insert(member.to_vec(), new);
    Ok(match old {
        None => Added::New(new),
        Some(_) => Added::Changed(new),
    })
}

#[test]
fn changes_follow_a_model_through_both_encodings() {
    let mut rng = Rng::from_seed(1);
    let mut seen = [0, 0];
    for round in 0..60 {
        let limits = limits([0, 5, 30, 300][round % 4], [8, 25, 64][round % 3]);
        let mut key = Key::of(&Model::new(), &limits);
        let mut model = Model::new();
        let mut is_large = false;
        for step in 0..150 {
            let member = any_member(&mut rng);
            match rng.below(10) {
                0 => {
                    let removed = key.set(&limits).remove(&member);
                    assert_eq!(removed, model.remove(&member).is_some());
                }
                1 if !model.is_empty() => {
                    let pairs = sorted(&model);
                    let start = rng.index(pairs.len());
                    let end = (start + rng.index(4)).min(pairs.len());
                    key.set(&limits).remove_range(start..end);
                    pairs[start..end].iter().for_each(|(member, _)| {
                        model.remove(member);
                    });
                }
                _ => {
                    let options = AddOptions {
                        only_new: rng.below(8) == 0,
                        only_old: rng.below(8) == 0,
                        only_greater: rng.below(8) == 0,
                        only_less: rng.below(8) == 0,
                        increment: rng.below(4) == 0,
                    };
                    let score = any_score(&mut rng);
                    let len = model.len();
                    let added = key.set(&limits).add(&member, score, options);
                    assert_eq!(added, add_to_model(&mut model, &member, score, options));
                    is_large |= model.len() > len && exceeds(&limits, model.len(), member.len());
                }
            }
            assert_eq!(key.encoding() == Encoding::Skiplist, is_large);
            seen[is_large as usize] += 1;
            if step % 10 == 0 {
                compare_all(key.get(), &model, &mut rng);
            }
        }
        compare_all(key.get(), &model, &mut rng);
    }
    assert!(seen.iter().all(|&steps| steps > 1000), "{seen:?}");
}

#[test]
fn what_is_expected_chooses_the_encoding() {
    let limits = limits(4, 8);
    for (count, longest, enc) in [
        (4, 8, Encoding::Listpack),
        (5, 8, Encoding::Skiplist),
        (4, 9, Encoding::Skiplist),
    ] {
        assert_eq!(empty(count, longest, &limits, key_hash()).0, enc);
        let model = Model::from([(b"a".to_vec(), 1.0), (b"7".to_vec(), 2.0)]);
        let mut key = Key::of(&model, &limits);
        key.set(&limits).expect(count, longest);
        assert_eq!(key.encoding(), enc);
        compare_all(key.get(), &model, &mut Rng::from_seed(2));
    }
}

#[test]
fn lex_ranges_are_ranges_of_bytes() {
    let mut rng = Rng::from_seed(3);
    for entries in [0, 1000] {
        let model: Model = (0..60).map(|_| (any_member(&mut rng), 7.0)).collect();
        let key = Key::of(&model, &limits(entries, 64));
        let members: Vec<&Vec<u8>> = model.keys().collect();
        for _ in 0..2000 {
            let (min, max) = (any_member(&mut rng), any_member(&mut rng));
            let range = LexRange {
                min: match rng.below(6) {
                    0 => LexBound::Lowest,
                    1 => LexBound::Highest,
                    2 | 3 => LexBound::Inclusive(&min),
                    _ => LexBound::Exclusive(&min),
                },
                max: match rng.below(6) {
                    0 => LexBound::Lowest,
                    1 => LexBound::Highest,
                    2 | 3 => LexBound::Inclusive(&max),
                    _ => LexBound::Exclusive(&max),
                },
            };
            let above = |member: &[u8]| match range.min {
                LexBound::Lowest => true,
                LexBound::Highest => false,
                LexBound::Inclusive(min) => member >= min,
                LexBound::Exclusive(min) => member > min,
            };
            let below = |member: &[u8]| match range.max {
                LexBound::Lowest => false,
                LexBound::Highest => true,
                LexBound::Inclusive(max) => member <= max,
                LexBound::Exclusive(max) => member < max,
            };
            let inside = members.iter().filter(|&&m| above(m) && below(m)).count();
            for back in [false, true] {
                let span = key.get().lex_span(&range, back);
                assert_eq!(span.len(), inside, "{range:?}");
                assert!(members[span].iter().all(|m| above(m) && below(m)));
            }
        }
    }
}

#[test]
fn listpacks_hold_scores_as_valkey_writes_them() {
    let limits = Limits::default();
    let mut key = Key::of(&Model::new(), &limits);
    let scores = [
        (&b"-0"[..], -0.0, Member::Int(0)),
        (b"0", 0.5, Member::Bytes(b"0.5")),
        (b"m", 3.0, Member::Int(3)),
        (b"big", 4503599627370497.0, Member::Int(4503599627370497)),
        (b"bigger", 1e17, Member::Int(100_000_000_000_000_000)),
        (b"huge", 5e18, Member::Bytes(b"5e+18")),
        (b"z", f64::INFINITY, Member::Bytes(b"inf")),
    ];
    for (member, score, _) in scores.into_iter().rev() {
        let added = key.set(&limits).add(member, score, AddOptions::default());
        assert_eq!(added, Ok(Added::New(score)));
    }
    let bytes = key
        .table
        .get(key.slot)
        .value()
        .as_bytes()
        .expect("few members");
    let elements: Vec<Member<'_>> = listpack::Iter::over_entries(&bytes[EMPTY_BYTES..]).collect();
    for (at, (member, _, score)) in scores.into_iter().enumerate() {
        assert_eq!(elements[2 * at], Member::from(member));
        assert_eq!(elements[2 * at + 1], score);
    }
    // Which is a listpack but for the header.
    let whole = listpack::from_entries(&bytes[EMPTY_BYTES..], elements.len());
    assert!(listpack::validate(&whole));
}

#[test]
fn scans_meet_every_member() {
    for (entries, len) in [(1000, 100), (0, 3000)] {
        let members = (0..len).map(|number: u32| (number.to_string().into(), f64::from(number)));
        let model: Model = members.collect();
        let key = Key::of(&model, &limits(entries, 64));
        let (mut found, mut cursor, mut steps) = (Model::new(), 0, 0);
        loop {
            cursor = key.get().scan(cursor, 10, |member, score| {
                assert!(found.insert(member.to_vec(), score).is_none());
            });
            steps += 1;
            if cursor == 0 {
                break;
            }
            assert!(cursor >> 48 == 0);
        }
        assert_eq!(found, model);
        assert_eq!(steps > 50, entries == 0);
        // Such a cursor is never handed out; it is beyond the end of a table.
        let mut beyond = 0;
        assert_eq!(key.get().scan(u64::MAX, 10, |_, _| beyond += 1), 0);
        assert_eq!(beyond == 0, entries == 0);
    }
}

fn outcome(outcome: Outcome<'_>, limits: &Limits) -> Vec<(Vec<u8>, f64)> {
    let mut pairs = Vec::new();
    outcome.for_each(|member, score| pairs.push((member.to_vec(), score)));
    assert_eq!(
        (outcome.len(), outcome.is_empty()),
        (pairs.len(), pairs.is_empty())
    );
    let longest = pairs.iter().map(|(member, _)| member.len()).max();
    let is_large = exceeds(limits, pairs.len(), longest.unwrap_or_default());
    let new = outcome.into_new(limits, key_hash());
    assert_eq!(new.encoding() == Encoding::Skiplist, is_large);
    let key = new.store(Key::new);
    let model: Model = pairs.iter().cloned().collect();
    compare_all(key.get(), &model, &mut Rng::from_seed(4));
    pairs
}

#[test]
fn algebra_is_what_it_says() {
    let mut rng = Rng::from_seed(5);
    for round in 0..200 {
        let limits = limits([0, 10, 1000][round % 3], [8, 64][round % 2]);
        let models: Vec<Model> = (0..1 + rng.below(4))
            .map(|_| {
                let len = [0, 3, 40][rng.index(3)];
                let pairs = (0..len).map(|_| (any_member(&mut rng), any_score(&mut rng)));
                pairs.collect()
            })
            .collect();
        let keys: Vec<Key> = models.iter().map(|model| Key::of(model, &limits)).collect();
        let weights: Vec<f64> = keys.iter().map(|_| rng.below(4) as f64 - 1.0).collect();
        let sources: Vec<Source<'_>> = keys
            .iter()
            .map(|key| match key.get() {
                zset if zset.is_empty() && round % 2 == 0 => {
                    assert!(Source::Zset(zset).is_empty());
                    Source::Nothing
                }
                zset => Source::Zset(zset),
            })
            .collect();
        let mut order: Vec<usize> = (0..models.len()).collect();
        order.sort_by_key(|&at| models[at].len());
        let how = [Aggregate::Sum, Aggregate::Min, Aggregate::Max][round % 3];
        let number = |score: f64| if score.is_nan() { 0.0 } else { score };
        let aggregate = |scores: Vec<f64>| {
            let scores = scores.into_iter();
            scores.reduce(|a, b| match how {
                Aggregate::Sum => number(a + b),
                Aggregate::Min => a.min(b),
                Aggregate::Max => a.max(b),
            })
        };
        let scores = |member: &Vec<u8>| -> Vec<f64> {
            let found = order.iter().filter_map(|&at| {
                let score = models[at].get(member)?;
                Some(number(weights[at] * score))
            });
            found.collect()
        };
        let all: Vec<&Vec<u8>> = models.iter().flat_map(|model| model.keys()).collect();
        let inputs = || -> Vec<Input<'_>> {
            let weighted = sources.iter().zip(&weights);
            let input = |(&source, &weight)| Input { source, weight };
            weighted.map(input).collect()
        };
        let union: Model = all
            .iter()
            .map(|&m| (m.clone(), aggregate(scores(m)).unwrap()))
            .collect();
        let result = outcome(algebra::union(&mut inputs(), how, key_hash()), &limits);
        assert_eq!(result, sorted(&union));

        let is_common = |m: &Vec<u8>| models.iter().all(|model| model.contains_key(m));
        let common: Model = union
            .clone()
            .into_iter()
            .filter(|(m, _)| is_common(m))
            .collect();
        let result = outcome(algebra::intersection(&mut inputs(), how), &limits);
        assert_eq!(result, sorted(&common));
        for most in [1, 3, usize::MAX] {
            let len = algebra::intersection_len(&mut sources.clone(), most);
            assert_eq!(len, common.len().min(most));
        }

        let is_only_first = |m: &Vec<u8>| !models[1..].iter().any(|model| model.contains_key(m));
        let first = models[0].clone().into_iter();
        let first: Model = first.filter(|(m, _)| is_only_first(m)).collect();
        let result = outcome(algebra::difference(&sources, key_hash()), &limits);
        assert_eq!(result, sorted(&first));
    }
}

#[test]
fn differences_are_taken_either_way() {
    let limits = limits(0, 64);
    let model = |range: std::ops::Range<u32>| -> Model {
        range
            .map(|number| (number.to_string().into(), f64::from(number)))
            .collect()
    };
    // Few of many: looked up. Many small ones off a large one: struck off.
    let large = Key::of(&model(0..500), &limits);
    let small = Key::of(&model(100..110), &limits);
    let (large, small) = (Source::Zset(large.get()), Source::Zset(small.get()));
    let left = outcome(
        algebra::difference(&[large, small, small, small], key_hash()),
        &limits,
    );
    assert_eq!(left.len(), 490);
    assert!(outcome(algebra::difference(&[small, large], key_hash()), &limits).is_empty());
    assert!(outcome(algebra::difference(&[], key_hash()), &limits).is_empty());
}

#[test]
fn members_of_sets_count_as_one() {
    let limits = Limits::default();
    let mut set = NewSet::new(Encoding::Intset, key_hash());
    for member in ["1", "2", "3"] {
        set.push(Member::from(member.as_bytes()), &limits);
    }
    let zset = Key::of(
        &Model::from([(b"2".to_vec(), 5.0), (b"x".to_vec(), 0.5)]),
        &limits,
    );
    let set = Source::Set(set.get());
    let inputs = |weight| {
        [
            Input {
                source: set,
                weight,
            },
            Input {
                source: Source::Zset(zset.get()),
                weight: 1.0,
            },
        ]
    };
    let pair = |member: &str, score| (member.as_bytes().to_vec(), score);
    let union = algebra::union(&mut inputs(2.0), Aggregate::Sum, key_hash());
    let expected = [
        pair("x", 0.5),
        pair("1", 2.0),
        pair("3", 2.0),
        pair("2", 7.0),
    ];
    assert_eq!(outcome(union, &limits), expected);
    let common = algebra::intersection(&mut inputs(1.0), Aggregate::Min);
    assert_eq!(outcome(common, &limits), [pair("2", 1.0)]);
    let rest = algebra::difference(&[set, Source::Zset(zset.get())], key_hash());
    assert_eq!(outcome(rest, &limits), [pair("1", 1.0), pair("3", 1.0)]);
}
