//! Tests of what is accepted as a node: real ones, and each way in which one can be wrong.

use super::*;
use crate::ds::listpack::from_elements;
use crate::util::rng::Rng;

const MASTER: StreamId = StreamId::new(5, 3);

/// The listpack of these elements; `|` only divides them for the eye.
fn listpack_of(elements: &str) -> Vec<u8> {
    let elements = elements.split_whitespace().filter(|word| *word != "|");
    from_elements(elements.map(str::as_bytes))
}

fn shown(node: &CheckedNode<'_>) -> String {
    let mut lines = Vec::new();
    for entry in node.entries() {
        let deleted = if entry.is_deleted { "deleted " } else { "" };
        let fields = entry.fields().map(|(name, value)| {
            let (name, value) = (name.to_vec(), value.to_vec());
            format!("{}={}", name.escape_ascii(), value.escape_ascii())
        });
        let fields: Vec<String> = fields.collect();
        assert_eq!(entry.len(), fields.len() as u64);
        lines.push(format!("{deleted}{} {}", entry.id, fields.join(" ")));
    }
    lines.join(", ")
}

fn refused(elements: &str) -> Refused {
    let bytes = listpack_of(elements);
    match CheckedNode::new(MASTER, &bytes) {
        Ok(node) => panic!("{elements} is {}", shown(&node)),
        Err(refused) => refused,
    }
}

#[test]
fn a_node_is_its_entries() {
    let bytes = listpack_of(
        "3 1 | 2 a b 0 | 2 0 0 1 2 5 | 3 0 1 x 7 5 | 0 4 -3 1 other value 6 | 2 4 18446 3 4 5",
    );
    let node = CheckedNode::new(MASTER, &bytes).unwrap();
    assert_eq!(
        shown(&node),
        "5-3 a=1 b=2, deleted 5-4 a=x b=7, 9-0 other=value, 9-18449 a=3 b=4"
    );
    assert_eq!((node.len(), node.master()), (3, MASTER));
    assert_eq!(node.first_id(), MASTER);
    assert_eq!(node.last_id(), StreamId::new(9, 18_449));
    let names: Vec<Vec<u8>> = node.master_fields().map(|name| name.to_vec()).collect();
    assert_eq!(names, [b"a", b"b"]);
    assert_eq!(node.listpack().bytes(), bytes);
}

#[test]
fn ids_wrap_where_redis_lets_them() {
    // As far apart as ids can be: the differences are not those of signed numbers.
    let bytes = listpack_of("2 0 | 1 f 0 | 2 0 0 v 4 | 2 -2 1 v 4");
    let master = StreamId::new(1, u64::MAX);
    let node = CheckedNode::new(master, &bytes).unwrap();
    assert_eq!(node.last_id(), StreamId::new(u64::MAX, 0));
}

#[test]
fn deleted_entries_out_of_order_are_left_out() {
    let bytes = listpack_of("2 1 | 1 f 0 | 2 0 0 v 4 | 3 9 0 v 4 | 2 1 0 w 4");
    let node = CheckedNode::new(MASTER, &bytes).unwrap();
    assert_eq!(shown(&node), "5-3 f=v, 6-3 f=w");
    assert_eq!(node.last_kept_id(), node.last_id());
    let bytes = listpack_of("1 2 | 1 f 0 | 3 0 0 v 4 | 2 1 0 w 4 | 3 2 0 w 4");
    let node = CheckedNode::new(MASTER, &bytes).unwrap();
    assert_eq!(shown(&node), "deleted 5-3 f=v, 6-3 f=w, deleted 7-3 f=w");
    let kept = (node.first_kept_id(), node.last_kept_id());
    assert_eq!(kept, (MASTER, StreamId::new(7, 3)));
}

#[test]
fn what_is_wrong_is_refused() {
    for (elements, reason) in [
        ("", EMPTY),
        ("1", NOT_WHOLE),
        ("0 0 1 f 0", EMPTY),
        ("0 1 1 f 0 | 3 0 0 v 4", EMPTY),
        // The master entry.
        ("1 0 2 f 0 | 2 0 0 v 4", NOT_WHOLE),
        ("1 0 1 f 1 | 2 0 0 v 4", NOT_WHOLE),
        ("1 0 -1 0 | 2 0 0 v 4", NOT_WHOLE),
        ("1 0 9223372036854775807 f 0 | 2 0 0 v 4", NOT_WHOLE),
        ("1 0 x f 0 | 2 0 0 v 4", NOT_WHOLE),
        // Counts of entries.
        ("2 0 1 f 0 | 2 0 0 v 4", WRONG_COUNTS),
        ("1 1 1 f 0 | 2 0 0 v 4", WRONG_COUNTS),
        ("0 1 1 f 0 | 2 0 0 v 4", WRONG_COUNTS),
        ("-1 2 1 f 0 | 2 0 0 v 4", NOT_WHOLE),
        ("1 0 1 f 0 | 2 0 0 v 4 | 2 0 1 v 4", WRONG_COUNTS),
        // Entries.
        ("1 0 1 f 0 | 4 0 0 v 4", NOT_WHOLE),
        ("1 0 1 f 0 | -1 0 0 v 4", NOT_WHOLE),
        ("1 0 1 f 0 | x 0 0 v 4", NOT_WHOLE),
        ("1 0 1 f 0 | 2 x 0 v 4", NOT_WHOLE),
        ("1 0 1 f 0 | 2 0 0 v 5", NOT_WHOLE),
        ("1 0 1 f 0 | 2 0 0 v", NOT_WHOLE),
        ("1 0 1 f 0 | 2 0 0", NOT_WHOLE),
        ("1 0 1 f 0 | 2", NOT_WHOLE),
        ("1 0 1 f 0 | 2 0 0 v 4 rest", NOT_WHOLE),
        ("1 0 1 f 0 | 0 0 0 2 a b c 6", NOT_WHOLE),
        ("1 0 1 f 0 | 0 0 0 0 4", NOT_WHOLE),
        ("1 0 1 f 0 | 0 0 0 -1 2", NOT_WHOLE),
        ("1 0 1 f 0 | 0 0 0 9223372036854775807 a b 6", NOT_WHOLE),
        ("1 0 0 0 | 2 0 0 3", NOT_WHOLE),
        // Ids.
        ("1 0 1 f 0 | 2 0 -1 v 4", NOT_ASCENDING),
        ("1 0 1 f 0 | 2 -1 0 v 4", NOT_ASCENDING),
        ("2 0 1 f 0 | 2 0 0 v 4 | 2 0 0 v 4", NOT_ASCENDING),
        ("2 0 1 f 0 | 2 1 0 v 4 | 2 0 9 v 4", NOT_ASCENDING),
    ] {
        assert_eq!(refused(elements), reason, "{elements}");
    }
    assert_eq!(CheckedNode::new(MASTER, b"").err(), Some(NOT_WHOLE));
    assert_eq!(CheckedNode::new(MASTER, b"\xFF").err(), Some(NOT_WHOLE));
}

#[test]
fn damaged_bytes_are_refused_or_read_whole() {
    let mut rng = Rng::from_seed(21);
    let good = listpack_of("2 1 | 2 a b 0 | 2 0 0 1 2 5 | 3 0 1 x 7 5 | 0 4 -3 1 other value 6");
    let mut accepted = 0;
    for at in 0..good.len() {
        for _ in 0..200 {
            let mut bytes = good.clone();
            bytes[at] = rng.next_u64() as u8;
            if rng.below(3) == 0 {
                bytes[rng.index(good.len())] = rng.next_u64() as u8;
            }
            if let Ok(node) = CheckedNode::new(MASTER, &bytes) {
                let entries: Vec<CheckedEntry<'_>> = node.entries().collect();
                let live = entries.iter().filter(|entry| !entry.is_deleted);
                assert_eq!(live.count() as u64, node.len());
                let fields = entries.iter().map(|entry| entry.fields().count() as u64);
                let expected = entries.iter().map(CheckedEntry::len);
                assert!(fields.eq(expected));
                assert!(entries.is_sorted_by(|a, b| a.id < b.id));
                accepted += 1;
            }
        }
    }
    assert!(accepted > 100, "{accepted}");
}
