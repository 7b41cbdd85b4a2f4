//! The sorted set against a model, in many shapes; members byte by byte.

use std::collections::{BTreeMap, HashMap};

use super::leaf::LEAF_MEMBERS;
use super::member::order;
use super::*;
use crate::ds::hash::HashFunction;
use crate::ds::mover::Mover;
use crate::util::rng::Rng;

fn key_hash() -> KeyHash {
    KeyHash::with_seed(HashFunction::Fast, 7)
}

/// Scores that are stored in all forms.
const SCORES: &[f64] = &[
    0.0,
    -0.0,
    1.0,
    -1.0,
    32767.0,
    32768.0,
    -32768.0,
    -32769.0,
    2147483647.0,
    2147483648.0,
    -2147483648.0,
    -2147483649.0,
    36028797018963967.0,
    36028797018963968.0,
    -36028797018963968.0,
    -36028797018963976.0,
    9007199254740993.0,
    1e17,
    0.5,
    -0.5,
    0.1,
    -0.1,
    2.72,
    99.99,
    1234567.891,
    16777215.9,
    16777216.1,
    0.00390625,
    0.0039062,
    1e-300,
    5e-324,
    -5e-324,
    2.2250738585072014e-308,
    1e300,
    f64::MAX,
    f64::MIN,
    f64::INFINITY,
    f64::NEG_INFINITY,
];

fn random_score(rng: &mut Rng) -> f64 {
    match rng.below(8) {
        0 => SCORES[rng.index(SCORES.len())],
        1 => f64::from(rng.next_u64() as i16),
        2 => f64::from(rng.next_u64() as i32),
        3 => (rng.next_u64() as i64) as f64,
        4 => rng.unit_f64(),
        5 => rng.unit_f64() * 1e6 - 5e5,
        6 => rng.below(4) as f64,
        _ => loop {
            let score = f64::from_bits(rng.next_u64());
            if !score.is_nan() {
                break score;
            }
        },
    }
}

#[test]
fn members_keep_what_they_are_given() {
    let mut rng = Rng::from_seed(1);
    for len in [
        0, 1, 2, 5, 6, 7, 8, 15, 16, 27, 28, 29, 255, 256, 257, 65535, 65536, 70000,
    ] {
        let member: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
        let scores = SCORES.iter().copied();
        for score in scores.chain((0..200).map(|_| random_score(&mut Rng::from_seed(len as u64)))) {
            let mut scored = ScoredMember::new(&member, score);
            assert_eq!(scored.view().member(), member);
            assert_eq!(scored.view().score().to_bits(), score.to_bits());
            let bytes = scored.view().alloc_bytes();
            assert!(bytes >= len + 3 && bytes.is_multiple_of(8));
            for _ in 0..3 {
                let other = random_score(&mut rng);
                let moved = ScoredMember::new(&member, other).view().alloc_bytes() != bytes;
                assert_eq!(scored.view_mut().try_set_score(other), !moved);
                let expected = if moved { scored.view().score() } else { other };
                assert_eq!(scored.view().score().to_bits(), expected.to_bits());
                assert_eq!(scored.view().member(), member);
                assert_eq!(scored.view().alloc_bytes(), bytes);
            }
        }
    }
}

#[test]
fn members_of_16_bytes_take_24() {
    for score in [
        0.0,
        7.0,
        -1e9,
        1_700_000_000_123.0,
        1_700_000_000_123_456.0,
        0.1,
        -0.25,
        99.99,
        1234567.891,
        16e6 + 0.1,
        0.004,
    ] {
        let scored = ScoredMember::new(b"member:000000042", score);
        assert_eq!(scored.view().alloc_bytes(), 24, "{score}");
        assert_eq!(scored.view().score(), score);
    }
}

#[test]
fn order_numbers_order_as_scores_do() {
    let mut rng = Rng::from_seed(2);
    for _ in 0..20_000 {
        let (a, b) = (random_score(&mut rng), random_score(&mut rng));
        assert_eq!(Some(order(a).cmp(&order(b))), a.partial_cmp(&b), "{a} {b}");
    }
    assert_eq!(order(0.0), order(-0.0));
}

/// What a sorted set is in few words.
#[derive(Default)]
struct Model {
    scores: BTreeMap<Vec<u8>, f64>,
    order: BTreeMap<(u64, Vec<u8>), f64>,
}

impl Model {
    fn put(&mut self, member: &[u8], score: f64) {
        self.remove(member);
        self.scores.insert(member.to_vec(), score);
        self.order.insert((order(score), member.to_vec()), score);
    }

    fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let score = self.scores.remove(member)?;
        self.order.remove(&(order(score), member.to_vec()));
        Some(score)
    }

    fn sorted(&self) -> Vec<(&[u8], f64)> {
        let members = self.order.iter();
        members
            .map(|((_, member), &score)| (&member[..], score))
            .collect()
    }
}

fn put(set: &mut Zset, member: &[u8], score: f64) {
    let hash = set.hash(member);
    match set.find(hash, member) {
        Some(slot) => set.set_score(slot, score),
        None => set.insert(hash, member, score),
    }
}

fn pair(member: MemberRef<'_>) -> (&[u8], f64) {
    (member.member(), member.score())
}

/// Compares everything that can be asked.
fn compare(set: &Zset, model: &Model, rng: &mut Rng) {
    let sorted = model.sorted();
    let len = sorted.len();
    assert_eq!(set.check(), Ok(()));
    assert_eq!(set.len(), len);
    assert!(
        set.range(0, usize::MAX)
            .map(pair)
            .eq(sorted.iter().copied())
    );
    let places = sorted.iter().enumerate().map(|(at, pair)| (pair.0, at));
    let places: HashMap<&[u8], usize> = places.collect();
    let back = set.range_back(len.wrapping_sub(1), usize::MAX);
    assert!(back.map(pair).eq(sorted.iter().rev().copied()));
    for _ in 0..30 {
        let rank = rng.index(len + 2);
        let count = [0, 1, 2, 7, 100, 1000, usize::MAX][rng.index(7)];
        let expected = sorted.iter().copied().skip(rank).take(count);
        assert!(
            set.range(rank, count).map(pair).eq(expected),
            "{rank} {count}"
        );
        let expected = match rank < len {
            true => &sorted[..=rank],
            false => &[],
        };
        let expected = expected.iter().rev().copied().take(count);
        assert!(set.range_back(rank, count).map(pair).eq(expected));

        let score = match len {
            0 => random_score(rng),
            _ if rng.below(3) == 0 => random_score(rng),
            _ => sorted[rng.index(len)].1,
        };
        let below = sorted.partition_point(|pair| pair.1 < score);
        assert_eq!(set.rank_of_score(score, false), below);
        let through = sorted.partition_point(|pair| pair.1 <= score);
        assert_eq!(set.rank_of_score(score, true), through);
        if let Some(&(member, score)) = sorted.get(rank) {
            assert_eq!(set.rank(member), Some((rank, score)));
            assert_eq!(set.score(member).map(f64::to_bits), Some(score.to_bits()));
            // Any predicate that holds up to some place will do.
            assert_eq!(set.rank_by(|member| places[member] < rank), rank);
        }
    }
    let mut all: Vec<_> = set.iter().map(pair).collect();
    all.sort_by(|a, b| order(a.1).cmp(&order(b.1)).then(a.0.cmp(b.0)));
    assert_eq!(all, sorted);
    assert_eq!(set.rank(b"no such member"), None);
}

/// Runs random operations with scores of one kind.
fn model_test(seed: u64, members: u64, steps: usize, score: impl Fn(&mut Rng, u64) -> f64) {
    let mut rng = Rng::from_seed(seed);
    let mut set = Zset::new(key_hash());
    let mut model = Model::default();
    let mut phase = 0;
    for step in 0..steps {
        if step % (steps / 10) == 0 {
            compare(&set, &model, &mut rng);
            phase += 1;
        }
        if rng.below(300) == 0 {
            // A few steps from somewhere on, in the table or in the tree.
            let mut cursor = rng.next_u64() & !0x1FFFF;
            for _ in 0..rng.index(8) {
                cursor = set.relocate(cursor, &mut Mover::of_all());
            }
        }
        let number = rng.below(members);
        let member = match number % 10 {
            0 => format!("{number:0>40}"),
            _ => number.to_string(),
        };
        let member = member.as_bytes();
        // Growing in odd phases, shrinking in even ones.
        let grows = rng.below(10) < if phase % 2 == 1 { 8 } else { 2 };
        if grows {
            let new = match (model.scores.get(member), rng.below(2)) {
                // A small step, which often leaves the member in its place.
                (Some(&score), 0) if score.is_finite() => score + rng.below(3) as f64 - 1.0,
                _ => score(&mut rng, number),
            };
            let old = model.scores.get(member).copied();
            put(&mut set, member, new);
            // Equal scores are not written, so the zero keeps its sign.
            if old != Some(new) {
                model.put(member, new);
            }
        } else if rng.below(200) == 0 {
            let rank = rng.index(model.order.len() + 1);
            let count = [1, 10, 100, 300][rng.index(4)];
            let expected: Vec<(Vec<u8>, f64)> = {
                let sorted = model.order.iter().skip(rank).take(count);
                sorted
                    .map(|((_, member), &score)| (member.clone(), score))
                    .collect()
            };
            let mut gone = Vec::new();
            let removed = set.remove_range(rank, count, |member| {
                gone.push((member.member().to_vec(), member.score()));
            });
            assert_eq!(removed, expected.len());
            assert_eq!(gone, expected);
            gone.iter().for_each(|(member, _)| {
                model.remove(member);
            });
        } else {
            assert_eq!(set.remove(member), model.remove(member));
        }
    }
    compare(&set, &model, &mut rng);
    let mut mover = Mover::of_all();
    let mut cursor = set.relocate(0, &mut mover);
    while cursor != 0 {
        cursor = set.relocate(cursor, &mut mover);
    }
    let leaves = set.tree.check().unwrap() as u64;
    assert!(mover.moved >= set.len() as u64 + leaves);
    compare(&set, &model, &mut rng);
    let copy = set.duplicate();
    compare(&copy, &model, &mut rng);
    let len = set.len();
    assert_eq!(set.remove_range(0, usize::MAX, |_| {}), len);
    compare(&set, &Model::default(), &mut rng);
    compare(&copy, &model, &mut rng);
}

#[test]
fn as_the_model_with_scores_of_all_kinds() {
    model_test(3, 20_000, 60_000, |rng, _| random_score(rng));
}

#[test]
fn as_the_model_with_one_score() {
    model_test(4, 20_000, 40_000, |_, _| 1.0);
}

#[test]
fn as_the_model_with_few_scores() {
    model_test(5, 20_000, 40_000, |rng, _| rng.below(5) as f64);
}

#[test]
fn as_the_model_with_scores_in_clusters() {
    model_test(6, 20_000, 40_000, |rng, _| {
        let cluster = [0.0, 1e-9, 1e15, -1e15, f64::INFINITY][rng.index(5)];
        cluster + rng.below(1000) as f64 * 1e-12
    });
}

#[test]
fn as_the_model_with_scores_by_member() {
    model_test(7, 20_000, 40_000, |_, number| number as f64);
}

#[test]
fn as_the_model_while_small() {
    for seed in 0..40 {
        model_test(100 + seed, 3 * LEAF_MEMBERS as u64, 1000, |rng, _| {
            random_score(rng)
        });
    }
}

#[test]
fn growing_at_an_end_fills_leaves() {
    for direction in [1.0, -1.0] {
        let mut set = Zset::new(key_hash());
        for number in 0..20_000 {
            let member = number.to_string();
            set.insert(
                set.hash(member.as_bytes()),
                member.as_bytes(),
                direction * number as f64,
            );
        }
        assert_eq!(
            set.tree.check().unwrap(),
            20_000usize.div_ceil(LEAF_MEMBERS)
        );
    }
}

#[test]
fn random_growth_fills_leaves_to_four_fifths() {
    let mut rng = Rng::from_seed(8);
    let mut set = Zset::new(key_hash());
    for number in 0..60_000 {
        let member = number.to_string();
        let hash = set.hash(member.as_bytes());
        set.insert(hash, member.as_bytes(), rng.unit_f64());
        if number % 10_000 == 9_999 {
            let fill = (number + 1) * 100 / (set.tree.check().unwrap() * LEAF_MEMBERS);
            assert!((75..=95).contains(&fill), "{fill} % at {number}");
        }
    }
}

#[test]
fn a_set_that_shrinks_gives_its_nodes_back() {
    let mut rng = Rng::from_seed(9);
    let mut set = Zset::new(key_hash());
    let mut members: Vec<String> = (0..30_000).map(|number| number.to_string()).collect();
    for member in &members {
        set.insert(
            set.hash(member.as_bytes()),
            member.as_bytes(),
            rng.unit_f64(),
        );
    }
    rng.shuffle(&mut members);
    while let Some(member) = members.pop() {
        assert!(set.remove(member.as_bytes()).is_some());
        if members.len().is_multiple_of(1000) {
            let least = members.len() / LEAF_MEMBERS;
            assert!(set.tree.check().unwrap() <= least * 3 + 1);
        }
    }
    assert_eq!(set.tree.memory_bytes(), 0);
}

#[test]
fn popping_and_pushing_like_a_queue() {
    let mut set = Zset::new(key_hash());
    let mut model = Model::default();
    for number in 0..30_000u32 {
        let member = number.to_string();
        put(&mut set, member.as_bytes(), f64::from(number));
        model.put(member.as_bytes(), f64::from(number));
        if set.len() > 1000 {
            let rank = if number % 3 == 0 { set.len() - 1 } else { 0 };
            let mut popped = Vec::new();
            set.remove_range(rank, 1, |member| popped.extend_from_slice(member.member()));
            assert!(model.remove(&popped).is_some());
        }
    }
    compare(&set, &model, &mut Rng::from_seed(10));
}

#[test]
fn builders_put_in_order() {
    let mut rng = Rng::from_seed(11);
    for len in [0u64, 1, 55, 56, 57, 200, 5000, 30_000] {
        let mut builder = Builder::new(key_hash());
        let mut model = Model::default();
        for _ in 0..len {
            let member = rng.below(len).to_string();
            let score = random_score(&mut rng);
            let old = model.scores.get(member.as_bytes()).copied();
            builder.put(member.as_bytes(), |found| {
                assert_eq!(found, old);
                score
            });
            model.put(member.as_bytes(), score);
            if rng.below(10) == 0 {
                let member = rng.below(len).to_string();
                builder.remove(member.as_bytes());
                model.remove(member.as_bytes());
            }
        }
        assert_eq!(builder.len(), model.scores.len());
        let mut set = builder.finish();
        compare(&set, &model, &mut rng);
        for number in 0..len / 2 {
            let member = number.to_string();
            put(&mut set, member.as_bytes(), 0.5);
            model.put(member.as_bytes(), 0.5);
        }
        compare(&set, &model, &mut rng);
    }
}

#[test]
fn memory_is_what_was_promised() {
    let mut rng = Rng::from_seed(12);
    let mut set = Zset::new(key_hash());
    for number in 0..100_000 {
        let member = format!("member:{number:09}");
        let hash = set.hash(member.as_bytes());
        set.insert(hash, member.as_bytes(), rng.unit_f64() * 1e6);
    }
    let exact = set.alloc_bytes(0);
    assert!(exact / set.len() <= 50, "{} bytes", exact / set.len());
    assert!(set.alloc_bytes(100).abs_diff(exact) < exact / 20);
    let mut small = Zset::new(key_hash());
    assert_eq!(small.alloc_bytes(0), 0);
    small.insert(small.hash(b"a"), b"a", 1.0);
    assert!(small.alloc_bytes(5) >= 16 + 512);
}

#[test]
fn scanning_finds_every_member_once() {
    let mut set = Zset::new(key_hash());
    for number in 0..5000u32 {
        put(&mut set, number.to_string().as_bytes(), f64::from(number));
    }
    let mut found = Vec::new();
    let mut cursor = 0;
    loop {
        cursor = set.scan(cursor, 10, |member| found.push(member.score()));
        if cursor == 0 {
            break;
        }
    }
    found.sort_by(f64::total_cmp);
    assert!(found.into_iter().eq((0..5000).map(f64::from)));
}

#[test]
fn leaves_and_inner_nodes_have_round_sizes() {
    assert_eq!(size_of::<leaf::Leaf>(), 512);
    assert!(size_of::<node::Inner>() <= 2048);
}
