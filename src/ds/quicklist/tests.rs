//! Quicklists against a deque, with every fill rule and compress depth.

use std::collections::VecDeque;

use super::*;
use crate::ds::mover::Mover;
use crate::util::rng::Rng;

type Model = VecDeque<Vec<u8>>;

fn new(fill: i32, depth: u32) -> Quicklist {
    let empty = Listpack::new(&listpack::EMPTY);
    Quicklist::from_listpack(empty, Fill::new(fill), depth)
}

fn texts(list: &Quicklist, end: End) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let first = match end {
        End::Tail => 0,
        End::Head => list.len().saturating_sub(1),
    };
    list.walk(first, end, |value| {
        all.push(value.to_vec());
        ControlFlow::<()>::Continue(())
    });
    all
}

fn counts(list: &Quicklist) -> Vec<usize> {
    list.nodes.iter().map(Node::count).collect()
}

/// The invariants hold, and the list reads as the model.
#[track_caller]
fn check(list: &Quicklist, model: &Model) {
    assert_eq!(list.len(), model.len());
    assert_eq!(list.is_empty(), model.is_empty());
    assert!(texts(list, End::Tail).iter().eq(model));
    assert!(texts(list, End::Head).iter().eq(model.iter().rev()));
    assert_eq!(list.check(), Ok(()));
}

fn random_text(rng: &mut Rng) -> Vec<u8> {
    match rng.below(40) {
        0 => vec![b'L'; 5000 + rng.index(30_000)],
        1 => vec![b'm'; rng.index(3000)],
        2..10 => rng.below(1000).to_string().into(),
        10..20 => b"same".to_vec(),
        _ => format!("element:{:06}", rng.below(1_000_000)).into(),
    }
}

fn one_change(rng: &mut Rng, list: &mut Quicklist, model: &mut Model) {
    let text = random_text(rng);
    let end = if rng.below(2) == 0 {
        End::Head
    } else {
        End::Tail
    };
    let index = rng.index(model.len().max(1));
    match rng.below(20) {
        0..7 => {
            for _ in 0..rng.index(8) {
                let text = random_text(rng);
                list.push(end, text[..].into());
                match end {
                    End::Head => model.push_front(text),
                    End::Tail => model.push_back(text),
                }
            }
        }
        7..9 => {
            let count = rng.index(12);
            let mut popped = Vec::new();
            list.pop(end, count, |value| popped.push(value.to_vec()));
            let wanted: Vec<Vec<u8>> = (0..count)
                .map_while(|_| match end {
                    End::Head => model.pop_front(),
                    End::Tail => model.pop_back(),
                })
                .collect();
            assert_eq!(popped, wanted);
        }
        9..12 if !model.is_empty() => {
            list.set(index, text[..].into());
            model[index] = text;
        }
        12..16 if !model.is_empty() => {
            let after = rng.below(2) == 0;
            list.insert(index, after, text[..].into());
            model.insert(index + usize::from(after), text);
        }
        16..18 => {
            let to = (index + rng.index(20)).min(model.len());
            list.remove_range(index..to + rng.index(2) * 1000 * usize::from(to == model.len()));
            model.drain(index.min(to)..to);
        }
        18 => {
            let count = if rng.below(2) == 0 {
                usize::MAX
            } else {
                rng.index(4)
            };
            let mut hits: Vec<usize> = (0..model.len()).filter(|&at| model[at] == text).collect();
            if end == End::Tail {
                hits.reverse();
            }
            hits.truncate(count);
            assert_eq!(list.remove_equal(&text, count, end), hits.len());
            let mut at = 0;
            model.retain(|_| {
                at += 1;
                !hits.contains(&(at - 1))
            });
        }
        _ if rng.below(2) == 0 => {
            let cursor = rng.below(list.nodes.len() as u64 + 2);
            list.relocate(cursor, &mut Mover::of_all());
        }
        _ => {
            let copy = list.clone();
            check(&copy, model);
            *list = copy;
        }
    }
}

#[test]
fn changes_are_those_of_a_deque() {
    let mut rng = Rng::from_seed(1);
    for fill in [-1, -2, -5, 0, 1, 2, 5, 40, i32::MAX, i32::MIN] {
        for depth in [0, 1, 2, 5, u32::MAX] {
            let (mut list, mut model) = (new(fill, depth), Model::new());
            for _ in 0..150 {
                one_change(&mut rng, &mut list, &mut model);
                check(&list, &model);
            }
        }
    }
}

#[test]
fn nodes_are_filled_to_their_limit() {
    let count_of = |fill: i32, len: usize, end: End| {
        let mut list = new(fill, 0);
        for _ in 0..1000 {
            list.push(end, Value::Bytes(&vec![b'x'; len]));
        }
        let mut counts = counts(&list);
        if end == End::Head {
            counts.reverse();
        }
        counts
    };
    for end in [End::Head, End::Tail] {
        // As Valkey 9.1.2 does: 4096 bytes hold header, end and elements of 22 bytes, of which the
        // last was assumed to take 28.
        assert_eq!(count_of(-1, 20, end)[..5], [185; 5]);
        assert_eq!(count_of(3, 20, end)[..5], [3; 5]);
        assert_eq!(count_of(0, 20, end)[..5], [1; 5]);
        assert_eq!(count_of(-7, 20, end), [1000]);
        // Nodes that count elements hold no more than 8 KB either.
        assert_eq!(count_of(1000, 4000, end)[..5], [2; 5]);
    }
}

#[test]
fn large_elements_stand_alone() {
    for (fill, large) in [(-1, 4097), (-2, 8193), (-5, 65_537), (7, 8193)] {
        let mut list = new(fill, 0);
        list.push(End::Tail, Value::Bytes(&vec![b'a'; large - 1]));
        list.push(End::Tail, Value::Bytes(&vec![b'b'; large]));
        list.push(End::Tail, Value::Bytes(b"c"));
        list.push(End::Head, Value::Bytes(&vec![b'd'; large]));
        let plain: Vec<bool> = list.nodes.iter().map(Node::is_plain).collect();
        assert_eq!(plain, [true, false, true, false], "{fill}");
        // Replaced by a small one, and that by a large one again.
        list.set(2, Value::Bytes(b"e"));
        list.set(3, Value::Bytes(&vec![b'f'; large]));
        list.set(0, Value::Bytes(&vec![b'g'; large + 1]));
        let plain: Vec<bool> = list.nodes.iter().map(Node::is_plain).collect();
        assert_eq!(plain, [true, false, false, true], "{fill}");
        let first_bytes: Vec<u8> = texts(&list, End::Tail).iter().map(|text| text[0]).collect();
        assert_eq!(first_bytes, b"gaef");
    }
}

#[test]
fn full_nodes_are_split_and_merged() {
    let mut list = new(4, 0);
    for text in 0..12 {
        list.push(End::Tail, Value::Int(text));
    }
    assert_eq!(counts(&list), [4, 4, 4]);
    // Between two full nodes: a node of its own. At an edge beside room: there.
    list.insert(3, true, Value::Int(100));
    assert_eq!(counts(&list), [4, 1, 4, 4]);
    list.insert(3, true, Value::Int(101));
    list.insert(6, false, Value::Int(102));
    assert_eq!(counts(&list), [4, 3, 4, 4]);
    // In the middle of a full one: it is split, and its parts join their neighbours if they fit.
    list.insert(8, true, Value::Int(103));
    assert_eq!(counts(&list), [4, 3, 2, 3, 4]);
    list.remove_range(1..6);
    assert_eq!(counts(&list), [1, 1, 2, 3, 4]);
    list.insert(9, false, Value::Int(104));
    assert_eq!(counts(&list), [1, 1, 2, 3, 3, 2]);
    // A large one takes its place: the node is split around it, and the rest joins.
    let mut list = new(4, 0);
    (0..8).for_each(|text| list.push(End::Tail, Value::Int(text)));
    list.remove_range(0..3);
    assert_eq!(counts(&list), [1, 4]);
    list.set(2, Value::Bytes(&[b'x'; 9000]));
    assert_eq!(counts(&list), [2, 1, 2]);
}

#[test]
fn inner_nodes_are_compressed() {
    let mut list = new(-1, 2);
    let mut model = Model::new();
    for number in 0..3000 {
        let text = format!("element:{:08}", number % 50).into_bytes();
        list.push(End::Tail, text[..].into());
        model.push_back(text);
    }
    let closed =
        |list: &Quicklist| -> Vec<bool> { list.nodes.iter().map(Node::is_closed).collect() };
    let count = list.nodes.len();
    assert!(count > 10);
    let wanted: Vec<bool> = (0..count).map(|at| at >= 2 && at < count - 2).collect();
    assert_eq!(closed(&list), wanted);
    let open = new_uncompressed(&model);
    assert!(list.alloc_bytes(0) * 2 < open.alloc_bytes(0));
    // Reading changes nothing, changes close what they open.
    check(&list, &model);
    assert_eq!(closed(&list), wanted);
    list.set(1500, Value::Bytes(b"set"));
    list.insert(1500, true, Value::Bytes(b"inserted"));
    assert_eq!(list.remove_equal(b"element:00000007", 10, End::Tail), 10);
    let count = list.nodes.len();
    let wanted: Vec<bool> = (0..count).map(|at| at >= 2 && at < count - 2).collect();
    assert_eq!(closed(&list), wanted);
    // What cannot be compressed is left alone.
    let mut rng = Rng::from_seed(5);
    let mut noise = new(-1, 1);
    for _ in 0..400 {
        let mut text = [0; 40];
        rng.fill(&mut text);
        noise.push(End::Head, Value::Bytes(&text));
    }
    assert!(closed(&noise).iter().all(|closed| !closed));
}

fn new_uncompressed(model: &Model) -> Quicklist {
    let mut list = new(-1, 0);
    model
        .iter()
        .for_each(|text| list.push(End::Tail, text[..].into()));
    list
}

#[test]
fn short_lists_are_listpacks_again() {
    for (fill, at_most) in [(-1, 92), (10, 5), (1, 0), (0, 0)] {
        let fill = Fill::new(fill);
        let mut list = Quicklist::from_listpack(Listpack::new(&listpack::EMPTY), fill, 0);
        (0..100).for_each(|_| list.push(End::Tail, Value::Bytes(&[b'x'; 20])));
        let mut len = list.len();
        while len > 0 && list.as_small_listpack(fill).is_none() {
            list.pop(End::Head, 1, |_| {});
            len = list.len();
        }
        assert_eq!(len, at_most, "{fill:?}");
    }
    let fill = Fill::new(-1);
    let mut plain = new(-1, 0);
    plain.push(End::Tail, Value::Bytes(&[b'x'; 5000]));
    assert!(plain.as_small_listpack(fill).is_none());
}

#[test]
fn ends_move_nothing_and_inner_nodes_keep_no_room() {
    for end in [End::Head, End::Tail] {
        let mut list = new(-2, 0);
        for number in 0..200_000 {
            list.push(end, Value::Int(number));
        }
        let nodes = list.nodes.len();
        let used: usize = list.nodes.iter().map(Node::listpack_bytes).sum();
        let held: usize = list.nodes.iter().map(Node::alloc_bytes).sum();
        assert!(
            held < used + used / 100 + 2 * 8192,
            "{held} for {used} in {nodes}"
        );
    }
    // A queue that is always nearly full slides, and does not grow.
    let mut list = new(-2, 0);
    for number in 0..300 {
        list.push(End::Tail, Value::Int(number));
    }
    for number in 300..100_000 {
        list.push(End::Tail, Value::Int(number));
        let mut popped = 0;
        list.pop(End::Head, 1, |value| popped = value.int().unwrap_or(0));
        assert_eq!(popped, number - 300);
    }
    assert!(list.nodes.len() <= 2);
    assert!(list.alloc_bytes(0) < 3 * 8192);
}

#[test]
fn memory_is_estimated_from_samples() {
    let mut list = new(-2, 0);
    (0..50_000).for_each(|number| list.push(End::Tail, Value::Int(number)));
    let (all, some) = (list.alloc_bytes(0), list.alloc_bytes(5));
    assert!(all > 50_000 * 4);
    assert!(some.abs_diff(all) < all / 10, "{some} for {all}");
    assert_eq!(list.alloc_bytes(usize::MAX), all);
    assert!(new(-2, 0).alloc_bytes(0) < 100);
}

/// The elements that a walk hands out.
fn note(seen: &mut Vec<Vec<u8>>, node: crate::ds::collection::Element<'_>) {
    match node {
        crate::ds::collection::Element::Listpack(bytes) => {
            assert!(listpack::validate(bytes));
            seen.extend(Listpack::new(bytes).iter().map(|value| value.to_vec()));
        }
        crate::ds::collection::Element::Plain(text) => seen.push(text.to_vec()),
        other => panic!("{other:?} in a list"),
    }
}

#[test]
fn a_snapshot_is_what_was_there() {
    let mut rng = Rng::from_seed(5);
    let (mut ended, mut inherited) = (0, 0);
    for round in 0..300 {
        let (fill, depth) = ([2, 5, -1, 40][round % 4], [0, 2][round / 4 % 2]);
        let (mut list, mut model) = (new(fill, depth), Model::new());
        for _ in 0..rng.index(60) {
            one_change(&mut rng, &mut list, &mut model);
        }
        for _ in 0..2 {
            let mut expected: Vec<Vec<u8>> = model.iter().cloned().collect();
            let mut seen = Vec::new();
            let heir = list.begin_save();
            while list.save_slice(rng.index(4), &mut |node| note(&mut seen, node)) {
                for _ in 0..rng.index(4) {
                    one_change(&mut rng, &mut list, &mut model);
                    check(&list, &model);
                }
                // One of the changes is that a copy takes the list's place.
                if !list.is_saved_for(&heir) {
                    let mut rest = heir.lock().take().expect("the list was left to it");
                    while rest.save_slice(3, &mut |node| note(&mut seen, node)) {}
                    rest.end_save();
                    inherited += 1;
                    break;
                }
            }
            assert_eq!(seen.len(), expected.len());
            assert!(seen == std::mem::take(&mut expected));
            list.end_save();
            ended += 1;
            assert!(list.nodes.iter().all(|node| node.number == 0));
        }
    }
    assert!(ended > 500 && inherited > 20, "{ended} {inherited}");
}
