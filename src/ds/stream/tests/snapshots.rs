//! Snapshots under changes: what is handed out is what was there in the moment.

use super::save::StreamHeir;
use super::*;
use crate::ds::collection::Element;

/// Elements as texts; nodes as listpacks.
fn text(element: Element<'_>) -> String {
    match element {
        Element::Node(node) => {
            let mut bytes = Vec::new();
            node.write_listpack(&mut bytes);
            format!("{} {bytes:?}", node.master_id())
        }
        other => format!("{other:?}"),
    }
}

fn all(stream: &Stream) -> Vec<String> {
    let mut all = Vec::new();
    stream.for_each_element(&mut |element| all.push(text(element)));
    all
}

fn filled(rng: &mut Rng) -> Pair {
    let mut pair = Pair::default();
    let limits = Limits {
        node_max_bytes: 300,
        node_max_entries: 10,
    };
    for _ in 0..rng.index(1500) {
        one_change(&mut pair, rng, &limits);
    }
    pair
}

fn walk_on(stream: &mut Stream, budget: usize, got: &mut Vec<String>) -> bool {
    stream.save_slice(budget, &mut |element| got.push(text(element)))
}

#[test]
fn a_snapshot_is_the_moment_it_began_in() {
    let mut rng = Rng::from_seed(8);
    for _ in 0..25 {
        let mut pair = filled(&mut rng);
        for _ in 0..2 {
            let wanted = all(&pair.stream);
            let heir = pair.stream.begin_save();
            assert!(pair.stream.is_saved_for(&heir));
            let mut got = Vec::new();
            let budget = 1 + rng.index(4);
            while walk_on(&mut pair.stream, budget, &mut got) {
                for _ in 0..rng.index(40) {
                    let limits = random_limits(&mut rng);
                    one_change(&mut pair, &mut rng, &limits);
                }
            }
            assert!(!pair.stream.is_saved_for(&heir));
            assert!(got == wanted);
            pair.check(&mut rng);
        }
    }
}

#[test]
fn a_slice_is_no_larger_than_it_may_be() {
    let mut rng = Rng::from_seed(9);
    let mut pair = filled(&mut rng);
    let _heir = pair.stream.begin_save();
    let (mut got, mut more) = (Vec::new(), true);
    while more {
        let mut nodes = 0;
        more = pair.stream.save_slice(3, &mut |element| {
            nodes += usize::from(matches!(element, Element::Node(_)));
            got.push(text(element));
        });
        assert!(nodes <= 3);
    }
    assert!(got == all(&pair.stream));
}

#[test]
fn a_dropped_stream_is_walked_to_its_end() {
    let mut rng = Rng::from_seed(10);
    for _ in 0..20 {
        let mut pair = filled(&mut rng);
        let wanted = all(&pair.stream);
        let heir: StreamHeir = pair.stream.begin_save();
        let mut got = Vec::new();
        let mut more = true;
        for _ in 0..rng.index(20) {
            more = more && walk_on(&mut pair.stream, 2, &mut got);
            let limits = random_limits(&mut rng);
            one_change(&mut pair, &mut rng, &limits);
        }
        drop(pair);
        let rest = heir.lock().take();
        assert_eq!(rest.is_some(), more);
        if let Some(mut rest) = rest {
            while walk_on(&mut rest, 3, &mut got) {}
        }
        assert!(got == wanted);
        assert!(heir.lock().is_none());
    }
}

#[test]
fn a_walk_that_was_given_up_is_left_nothing() {
    let mut pair = filled(&mut Rng::from_seed(11));
    drop(pair.stream.begin_save());
    let copy = pair.clone();
    drop(pair);
    assert!(copy.stream.saving.is_none());
    copy.check(&mut Rng::from_seed(12));
}
