//! Sets of every encoding against `BTreeSet`, with limits that force conversions.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::algebra;
use super::*;
use crate::ds::hash::HashFunction;

type Model = BTreeSet<Vec<u8>>;
type Visit<'v> = dyn FnMut(Member<'_>) + 'v;

fn key_hash() -> KeyHash {
    KeyHash::with_seed(HashFunction::Fast, 1)
}

/// A key with a set in a table, as the keyspace has it.
struct Key {
    table: Table<Entry>,
    slot: table::Slot,
}

impl Key {
    fn new(enc: Encoding) -> Self {
        let meta = Meta {
            type_: 2,
            enc: enc as u8,
            lru: 0,
        };
        let mut table = Table::new(0, key_hash());
        let entry = Entry::new(b"key", meta, empty(enc, key_hash()), None);
        let slot = table.insert(key_hash().hash(b"key"), entry);
        Self { table, slot }
    }

    fn get(&self) -> SetRef<'_> {
        SetRef::of(self.table.get(self.slot))
    }

    fn set(&mut self) -> SetMut<'_> {
        SetMut::of(EntrySlot::new(&mut self.table, self.slot))
    }
}

fn limits(intset: u64, entries: u64, value: u64) -> Limits {
    Limits {
        set_max_intset_entries: intset,
        set_max_listpack_entries: entries,
        set_max_listpack_value: value,
        ..Limits::default()
    }
}

fn texts(set: SetRef<'_>) -> Model {
    let members: Vec<Vec<u8>> = set.iter().map(Member::to_vec).collect();
    let model: Model = members.iter().cloned().collect();
    assert_eq!(members.len(), model.len(), "a member twice");
    assert_eq!(members.len(), set.len());
    model
}

/// A member out of a few, integers and others, some of them long.
fn any_member(rng: &mut Rng) -> Vec<u8> {
    match rng.below(8) {
        0 => rng.next_u64().to_string().into_bytes(),
        1 => format!("{}", (rng.next_u64() as i64) >> rng.below(64)).into_bytes(),
        2 => vec![b'x'; rng.index(90)],
        3 => format!("0{}", rng.below(9)).into_bytes(),
        4 | 5 => format!("m{}", rng.below(60)).into_bytes(),
        _ => rng.below(40).to_string().into_bytes(),
    }
}

fn int_member(rng: &mut Rng) -> Vec<u8> {
    (rng.below(200) as i64 - 100).to_string().into_bytes()
}

#[test]
fn changes_follow_a_model_through_all_encodings() {
    let mut rng = Rng::from_seed(1);
    let mut seen = BTreeSet::new();
    for round in 0..120 {
        let limits = limits(rng.below(40), rng.below(40), rng.below(80));
        let start = [Encoding::Intset, Encoding::Listpack, Encoding::Hashtable][round % 3];
        let mut key = Key::new(start);
        let mut model = Model::new();
        let only_ints = rng.below(3) == 0;
        for _ in 0..rng.below(400) {
            let member = match only_ints {
                true => int_member(&mut rng),
                false => any_member(&mut rng),
            };
            match rng.below(8) {
                0..5 => {
                    let added = key.set().add(&member, &limits);
                    assert_eq!(added, model.insert(member.clone()));
                    assert!(key.get().contains(&member));
                }
                5..7 => assert_eq!(key.set().remove(&member), model.remove(&member)),
                _ => {
                    let count = rng.index(4);
                    let mut popped = Vec::new();
                    key.set()
                        .pop(count, &mut rng, |member| popped.push(member.to_vec()));
                    assert_eq!(popped.len(), count.min(model.len()));
                    assert!(popped.iter().all(|member| model.remove(member)));
                }
            }
            assert_eq!(key.get().contains(&member), model.contains(&member));
            assert_eq!(key.get().len(), model.len());
            seen.insert(key.get().encoding() as u8);
        }
        assert_eq!(texts(key.get()), model);
    }
    assert_eq!(seen.len(), 3);
}

#[test]
fn encodings_change_when_a_limit_is_passed() {
    let defaults = Limits::default();
    let encoding = |members: &[&str], limits: &Limits| {
        let mut key = Key::new(initial(members[0].as_bytes(), members.len(), limits));
        for member in members {
            key.set().add(member.as_bytes(), limits);
        }
        key.get().encoding()
    };
    let ints: Vec<String> = (0..513).map(|int| int.to_string()).collect();
    let ints: Vec<&str> = ints.iter().map(String::as_str).collect();
    let words: Vec<String> = (0..129).map(|word| format!("w{word}")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let long = "l".repeat(65);
    use Encoding::{Hashtable, Intset, Listpack};

    assert_eq!(encoding(&ints[..512], &defaults), Intset);
    assert_eq!(encoding(&ints, &defaults), Hashtable);
    assert_eq!(encoding(&words[..128], &defaults), Listpack);
    assert_eq!(encoding(&words, &defaults), Hashtable);
    assert_eq!(encoding(&[&long[..64]], &defaults), Listpack);
    assert_eq!(encoding(&[&long], &defaults), Hashtable);
    assert_eq!(encoding(&["01"], &defaults), Listpack);
    // An intset goes the shortest way that its new member leaves open.
    let with_word = |count: usize| [&ints[..count], &["w"]].concat();
    assert_eq!(encoding(&with_word(127), &defaults), Listpack);
    assert_eq!(encoding(&with_word(128), &defaults), Hashtable);
    assert_eq!(encoding(&["1", &long], &defaults), Hashtable);
    assert_eq!(encoding(&["-12345", "w"], &limits(9, 9, 6)), Listpack);
    assert_eq!(encoding(&["-12345", "w"], &limits(9, 9, 5)), Hashtable);
    assert_eq!(encoding(&["123456", "w"], &limits(9, 9, 5)), Hashtable);
    // The first member and the number of members choose where it starts.
    assert_eq!(encoding(&["1", "2", "3"], &limits(2, 9, 9)), Listpack);
    assert_eq!(encoding(&["1", "2", "3"], &limits(2, 2, 9)), Hashtable);
    assert_eq!(encoding(&["1"], &limits(0, 0, 0)), Hashtable);
}

#[test]
fn a_set_that_might_outgrow_its_encoding_becomes_a_table() {
    for (members, limits) in [(["1", "2"], limits(3, 0, 9)), (["a", "b"], limits(0, 3, 9))] {
        let mut key = Key::new(initial(members[0].as_bytes(), 2, &limits));
        let members = members.map(str::as_bytes);
        assert_eq!(key.set().add_all(members.into_iter(), &limits), 2);
        let compact = key.get().encoding();
        key.set().expect(3, &limits);
        assert_eq!(key.get().encoding(), compact);
        key.set().expect(4, &limits);
        assert_eq!(key.get().encoding(), Encoding::Hashtable);
        assert_eq!(texts(key.get()), members.map(<[u8]>::to_vec).into());
    }
}

#[test]
fn many_members_are_added_and_found_at_once() {
    let limits = Limits::default();
    let words: Vec<Vec<u8>> = (0..5_000)
        .map(|n| format!("w{}", n / 2).into_bytes())
        .collect();
    for start in [0, 100, 4_999] {
        let mut key = Key::new(Encoding::Listpack);
        let members = words.iter().map(Vec::as_slice);
        let first = key.set().add_all(members.clone().take(start), &limits);
        let second = key.set().add_all(members.clone().skip(start), &limits);
        assert_eq!(first + second, 2_500);
        let mut found = Vec::new();
        let asked = [&b"w0"[..], b"nothing", b"w2499", b"w2500"];
        key.get()
            .contains_each(asked.into_iter().cycle().take(40), |one| found.push(one));
        assert_eq!(found, [true, false, true, false].repeat(10));
    }
}

#[test]
fn compact_sets_move_out_of_the_entry_and_back() {
    // Longer than what an entry holds inline.
    let limits = limits(1 << 20, 1 << 20, 1 << 20);
    for enc in [Encoding::Intset, Encoding::Listpack] {
        let mut key = Key::new(enc);
        let members: Vec<Vec<u8>> = (0..6_000).map(|n| (n * 7_919).to_string().into()).collect();
        key.set()
            .add_all(members.iter().map(Vec::as_slice).rev(), &limits);
        assert_eq!(key.get().encoding(), enc);
        assert_eq!(texts(key.get()), members.iter().cloned().collect());
        for member in &members[3..] {
            assert!(key.set().remove(member));
        }
        assert_eq!(texts(key.get()), members[..3].iter().cloned().collect());
    }
    // An intset of that length becomes such a listpack.
    let mut key = Key::new(Encoding::Intset);
    let ints: Vec<Vec<u8>> = (0..9_000).map(|n| n.to_string().into()).collect();
    key.set().add_all(ints.iter().map(Vec::as_slice), &limits);
    key.set().add(b"word", &limits);
    assert_eq!(key.get().encoding(), Encoding::Listpack);
    assert_eq!(key.get().len(), 9_001);
}

#[test]
fn a_listpack_keeps_the_order_of_addition() {
    let limits = Limits::default();
    let mut key = Key::new(Encoding::Intset);
    let members = ["3", "1", "2", "b", "a", "0"].map(str::as_bytes);
    key.set().add_all(members.into_iter(), &limits);
    let order: Vec<Vec<u8>> = key.get().iter().map(Member::to_vec).collect();
    assert_eq!(order.join(&b' '), b"1 2 3 b a 0");
}

/// A set of each encoding with these members, where there is one.
fn in_each_encoding(members: &Model) -> Vec<NewSet> {
    let roomy = limits(1 << 20, 1 << 20, 1 << 20);
    let fill = |enc| {
        let mut set = NewSet::new(enc, key_hash());
        for member in members {
            assert!(set.add(member, &roomy));
            assert!(!set.add(member, &roomy));
        }
        set
    };
    let mut sets = vec![fill(Encoding::Hashtable), fill(Encoding::Listpack)];
    let ints = fill(Encoding::Intset);
    if ints.get().encoding() == Encoding::Intset {
        sets.push(ints);
    }
    sets
}

#[test]
fn algebra_follows_a_model() {
    let mut rng = Rng::from_seed(2);
    for round in 0..150 {
        let (mut sets, mut models) = (Vec::new(), Vec::new());
        for _ in 0..1 + rng.below(5) {
            let len = [5, 40, 300, 3_000][rng.index(if round % 10 == 0 { 4 } else { 3 })];
            let only_ints = rng.below(3) == 0;
            let members = (0..rng.below(len)).map(|_| match only_ints {
                true => (rng.below(len) as i64 - 3).to_string().into_bytes(),
                false if rng.below(2) == 0 => format!("m{}", rng.below(len)).into_bytes(),
                false => rng.below(len).to_string().into_bytes(),
            });
            let model: Model = members.collect();
            let mut forms = in_each_encoding(&model);
            sets.push(forms.swap_remove(rng.index(forms.len())));
            models.push(model);
        }
        let sets: Vec<SetRef<'_>> = sets.iter().map(NewSet::get).collect();
        let collected = |each: &mut dyn FnMut(&mut Visit<'_>)| {
            let mut members = Vec::new();
            each(&mut |member| members.push(member.to_vec()));
            let model: Model = members.iter().cloned().collect();
            assert_eq!(members.len(), model.len(), "a member twice");
            model
        };
        let (first, others) = (&models[0], &models[1..]);
        let in_all = |member: &&Vec<u8>| others.iter().all(|other| other.contains(*member));
        let in_none = |member: &&Vec<u8>| !others.iter().any(|other| other.contains(*member));

        let inter: Model = first.iter().filter(in_all).cloned().collect();
        let visit_all = |visit: &mut Visit<'_>| {
            let _ = algebra::intersect(&sets, |member| {
                visit(member);
                ControlFlow::Continue(())
            });
        };
        assert_eq!(collected(&mut { visit_all }), inter);
        let diff: Model = first.iter().filter(in_none).cloned().collect();
        let found = collected(&mut |visit| algebra::difference(sets[0], &sets[1..], visit));
        assert_eq!(found, diff);
        let union: Model = models.iter().flatten().cloned().collect();
        let found = collected(&mut |visit| algebra::union(&sets, key_hash(), visit));
        assert_eq!(found, union);

        let limits = limits(rng.below(600), rng.below(200), rng.below(80));
        let stored = algebra::intersect_stored(&sets, &limits, key_hash());
        assert_eq!(texts(stored.get()), inter);
        let stored = algebra::difference_stored(sets[0], &sets[1..], &limits, key_hash());
        assert_eq!(texts(stored.get()), diff);
        let stored = algebra::union_stored(&sets, &limits, key_hash());
        assert_eq!(texts(stored.get()), union);
    }
}

#[test]
fn an_intersection_ends_when_it_is_told() {
    let model: Model = (0..100).map(|n| format!("m{n}").into_bytes()).collect();
    for set in in_each_encoding(&model) {
        for sets in [&[set.get()][..], &[set.get(), set.get()]] {
            let mut count = 0;
            let flow = algebra::intersect(sets, |_| {
                count += 1;
                match count {
                    20 => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                }
            });
            assert_eq!((flow, count), (ControlFlow::Break(()), 20));
        }
    }
}

#[test]
fn a_result_of_integers_becomes_an_intset_only_if_it_is_short() {
    let ints: Model = (0..20).map(|n| (n * 5).to_string().into_bytes()).collect();
    for set in in_each_encoding(&ints) {
        let sets = [set.get(), set.get()];
        let stored = algebra::intersect_stored(&sets, &limits(20, 99, 99), key_hash());
        assert_eq!(stored.get().encoding(), Encoding::Intset);
        assert_eq!(texts(stored.get()), ints);
        let stored = algebra::intersect_stored(&sets, &limits(19, 99, 99), key_hash());
        assert_ne!(stored.get().encoding(), Encoding::Intset);
        assert_eq!(texts(stored.get()), ints);
    }
}

#[test]
fn samples_and_splits_take_every_member_equally_often() {
    let model: Model = (0..40).map(|n| n.to_string().into_bytes()).collect();
    let mut rng = Rng::from_seed(3);
    for set in in_each_encoding(&model) {
        let set = set.get();
        for count in [1, 5, 13, 20, 39] {
            let mut taken = vec![0usize; 40];
            let rounds = 40_000 / count;
            for round in 0..rounds {
                let mut sample = BTreeSet::new();
                let mut note = |member: Member<'_>| {
                    let int = member.int().expect("an integer") as usize;
                    taken[int] += 1;
                    assert!(sample.insert(int), "{int} twice");
                };
                let limits = Limits::default();
                match round % 2 {
                    0 => set.sample(count, &mut rng, note),
                    _ => match set.split(count, &limits, &mut rng, &mut note) {
                        Some(rest) => {
                            assert_eq!(rest.get().len(), 40 - count);
                            let rest = texts(rest.get());
                            assert!(rest.iter().all(|member| {
                                let int = num::parse_i64(member).expect("an integer");
                                !sample.contains(&(int as usize))
                            }));
                        }
                        None => set.sample(count, &mut rng, note),
                    },
                }
                assert_eq!(sample.len(), count);
            }
            // 1,000 on the average; five standard deviations are 160.
            let fair = (840..1_160).contains(taken.iter().min().expect("some"))
                && (840..1_160).contains(taken.iter().max().expect("some"));
            assert!(fair, "{:?} {count}: {taken:?}", set.encoding());
        }
        let mut all = BTreeSet::new();
        set.sample(99, &mut rng, |member| {
            all.insert(member.to_vec());
        });
        assert_eq!(all, model);
        let drawn: BTreeSet<Vec<u8>> = (0..2_000)
            .filter_map(|_| Some(set.random(&mut rng)?.to_vec()))
            .collect();
        assert_eq!(drawn, model);
    }
}

#[test]
fn what_is_left_of_a_table_is_a_new_set() {
    let model: Model = (0..600).map(|n| n.to_string().into_bytes()).collect();
    let mut rng = Rng::from_seed(4);
    let table = in_each_encoding(&model).swap_remove(0);
    let defaults = Limits::default();
    let split = |count: usize, rng: &mut Rng| {
        let rest = table.get().split(count, &defaults, rng, |_| {})?;
        Some((rest.get().len(), rest.get().encoding()))
    };
    assert_eq!(split(200, &mut rng), None);
    assert_eq!(split(201, &mut rng), Some((399, Encoding::Hashtable)));
    // Only if a fifth of what is taken is left, it may be compact.
    assert_eq!(split(499, &mut rng), Some((101, Encoding::Hashtable)));
    assert_eq!(split(500, &mut rng), Some((100, Encoding::Listpack)));
    assert_eq!(split(599, &mut rng), Some((1, Encoding::Listpack)));
    let few = Limits {
        set_max_listpack_entries: 99,
        ..defaults
    };
    let rest = table.get().split(500, &few, &mut rng, |_| {});
    let encoding = rest.map(|rest| rest.get().encoding());
    assert_eq!(encoding, Some(Encoding::Hashtable));
}

#[test]
fn a_scan_meets_every_member_once() {
    let model: Model = (0..2_000).map(|n| n.to_string().into_bytes()).collect();
    for set in in_each_encoding(&model) {
        let (mut cursor, mut steps, mut members) = (0, 0, Vec::new());
        loop {
            cursor = set
                .get()
                .scan(cursor, 10, |member| members.push(member.to_vec()));
            steps += 1;
            assert_eq!(cursor >> 48, 0, "a cursor that scripts can count with");
            if cursor == 0 {
                break;
            }
        }
        let is_table = set.get().encoding() == Encoding::Hashtable;
        assert_eq!(steps > 50, is_table);
        assert_eq!(members.len(), 2_000);
        assert_eq!(members.into_iter().collect::<Model>(), model);
        let mut far = 0;
        assert_eq!(set.get().scan(1 << 48, 10, |_| far += 1), 0);
        assert_eq!(far, if is_table { 0 } else { 2_000 });
    }
}
