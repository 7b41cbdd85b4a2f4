//! Streams of all three forms, and each way in which one can be wrong.

use super::corpus::{Case, case, length, listpack_of, text};
use super::*;
use crate::persist::rdb::format::{NEVER_ACTIVE, NOT_COUNTED, kind};

const FORMS: [(u8, u16); 3] = [
    (kind::STREAM_LISTPACKS, 9),
    (kind::STREAM_LISTPACKS_2, 10),
    (kind::STREAM_LISTPACKS_3, 11),
];

fn number(number: u64) -> Vec<u8> {
    match usize::try_from(number) {
        Ok(small) if small < 16_384 => length(small),
        _ => [&[0x81][..], &number.to_be_bytes()].concat(),
    }
}

fn id_bytes(ms: u64, seq: u64) -> Vec<u8> {
    [ms.to_be_bytes(), seq.to_be_bytes()].concat()
}

fn two(ms: u64, seq: u64) -> Vec<u8> {
    [number(ms), number(seq)].concat()
}

fn node(ms: u64, seq: u64, elements: &str) -> Vec<u8> {
    let elements: Vec<&str> = elements.split_whitespace().collect();
    [text(&id_bytes(ms, seq)), text(&listpack_of(&elements))].concat()
}

/// A consumer with the ids, all of one millisecond, that are pending with it.
#[derive(Clone)]
struct SomeConsumer {
    name: &'static str,
    seen_at_ms: i64,
    active_at_ms: i64,
    pending: Vec<u64>,
}

/// A group with what is pending in it: id, time, deliveries.
#[derive(Clone)]
struct SomeGroup {
    name: &'static str,
    last_id: (u64, u64),
    entries_read: u64,
    pending: Vec<(u64, i64, u64)>,
    consumers: Vec<SomeConsumer>,
}

/// Parts of a stream, to be changed by tests. Pending ids are those of millisecond 7.
#[derive(Clone)]
struct Parts {
    nodes: Vec<Vec<u8>>,
    len: u64,
    last_id: (u64, u64),
    first_id: (u64, u64),
    max_deleted_id: (u64, u64),
    entries_added: u64,
    groups: Vec<SomeGroup>,
}

impl Parts {
    fn new() -> Parts {
        let consumer = |name, active_at_ms, pending| SomeConsumer {
            name,
            seen_at_ms: NOW_MS as i64,
            active_at_ms,
            pending,
        };
        let consumers = vec![
            consumer("12", NOW_MS as i64 - 3, vec![1, 9]),
            consumer("idle", NEVER_ACTIVE, vec![]),
            consumer("late", 5, vec![2]),
        ];
        let group = SomeGroup {
            name: "group",
            last_id: (7, 9),
            entries_read: 4,
            pending: vec![(1, 1000, 1), (2, NOW_MS as i64, 3), (9, 0, 1 << 40)],
            consumers,
        };
        let no_consumers = SomeGroup {
            name: "-1",
            last_id: (0, 0),
            entries_read: NOT_COUNTED,
            pending: vec![],
            consumers: vec![],
        };
        Parts {
            nodes: vec![
                node(
                    7,
                    1,
                    "2 1 2 a b 0 2 0 0 1 2 5 3 0 1 x y 5 0 0 2 1 other z 6",
                ),
                node(8, 0, "1 0 1 f 0 2 0 0 v 4"),
            ],
            len: 3,
            last_id: (8, 5),
            first_id: (7, 1),
            max_deleted_id: (8, 5),
            entries_added: 70,
            groups: vec![group, no_consumers],
        }
    }

    fn body(&self, type_: u8) -> Vec<u8> {
        let mut body = [length(self.nodes.len()), self.nodes.concat()].concat();
        body.extend(number(self.len));
        body.extend(two(self.last_id.0, self.last_id.1));
        if type_ != kind::STREAM_LISTPACKS {
            body.extend(two(self.first_id.0, self.first_id.1));
            body.extend(two(self.max_deleted_id.0, self.max_deleted_id.1));
            body.extend(number(self.entries_added));
        }
        body.extend(length(self.groups.len()));
        for group in &self.groups {
            body.extend(text(group.name.as_bytes()));
            body.extend(two(group.last_id.0, group.last_id.1));
            if type_ != kind::STREAM_LISTPACKS {
                body.extend(number(group.entries_read));
            }
            body.extend(length(group.pending.len()));
            for (seq, at_ms, deliveries) in &group.pending {
                body.extend(id_bytes(7, *seq));
                body.extend(at_ms.to_le_bytes());
                body.extend(number(*deliveries));
            }
            body.extend(length(group.consumers.len()));
            for consumer in &group.consumers {
                body.extend(text(consumer.name.as_bytes()));
                body.extend(consumer.seen_at_ms.to_le_bytes());
                if type_ == kind::STREAM_LISTPACKS_3 {
                    body.extend(consumer.active_at_ms.to_le_bytes());
                }
                body.extend(length(consumer.pending.len()));
                for seq in &consumer.pending {
                    body.extend(id_bytes(7, *seq));
                }
            }
        }
        body
    }
}

fn lines(type_: u8) -> Vec<String> {
    let (deleted, added) = match type_ {
        kind::STREAM_LISTPACKS => ("0-0", 3),
        _ => ("8-5", 70),
    };
    // What the oldest form does not say is estimated, as Redis does.
    let read = match type_ {
        kind::STREAM_LISTPACKS => ["Some(0)", "None"],
        _ => ["None", "Some(4)"],
    };
    let active = match type_ {
        kind::STREAM_LISTPACKS_3 => ["Some(1699999999997)", "None", "Some(5)"],
        _ => ["Some(1700000000000)"; 3],
    };
    [
        "7-1 a=1 b=2",
        "7-3 other=z",
        "8-0 f=v",
        &format!("len 3 first 7-1 last 8-5 deleted {deleted} added {added} groups 2"),
        &format!("group -1 last 0-0 read {} pending 0", read[0]),
        "consumers 0",
        &format!("group group last 7-9 read {} pending 3", read[1]),
        "pending 7-1 at 1000 times 1",
        "pending 7-2 at 1700000000000 times 3",
        "pending 7-9 at 0 times 1099511627776",
        "consumers 3",
        &format!("consumer 12 seen 1700000000000 active {} has 2", active[0]),
        "7-1",
        "7-9",
        &format!(
            "consumer idle seen 1700000000000 active {} has 0",
            active[1]
        ),
        &format!(
            "consumer late seen 1700000000000 active {} has 1",
            active[2]
        ),
        "7-2",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// One stream of each form; an empty one.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = FORMS
        .iter()
        .map(|&(type_, version)| {
            let content = Content::Stream(lines(type_));
            let body = Parts::new().body(type_);
            case("stream", version, type_, body, content, "stream")
        })
        .collect();
    let empty = "len 0 first 0-0 last 5-0 deleted 5-0 added 1 groups 0";
    let body = [0, 0, 5, 0, 0, 0, 5, 0, 1, 0].to_vec();
    let content = Content::Stream(vec![empty.to_owned()]);
    let type_ = kind::STREAM_LISTPACKS_2;
    cases.push(case("empty stream", 10, type_, body, content, "stream"));
    cases
}

/// Why a stream is refused, in both of the newer forms.
fn refused(change: impl Fn(&mut Parts)) -> String {
    let mut parts = Parts::new();
    change(&mut parts);
    let mut message = String::new();
    for (type_, version) in &FORMS[1..] {
        match restored(*type_, &parts.body(*type_), *version, &options()) {
            Err(RestoreError::Bad(fault)) => message = fault.message,
            Err(other) => panic!("{other:?}"),
            Ok(entry) => panic!("{:?}", content(entry.view())),
        }
    }
    message
}

#[test]
fn nodes_are_checked() {
    let is = |change: &dyn Fn(&mut Parts), reason: &str| assert_eq!(refused(change), reason);
    let not_in_order = "stream: nodes are not in order";
    is(&|parts| parts.nodes.swap(0, 1), not_in_order);
    is(
        &|parts| parts.nodes[1] = parts.nodes[0].clone(),
        not_in_order,
    );
    let within = node(7, 2, "1 0 1 f 0 2 0 0 v 4");
    is(&|parts| parts.nodes[1] = within.clone(), not_in_order);
    let key = "Stream node key entry is not the size of a stream ID";
    is(
        &|parts| parts.nodes[0] = [text(b"short"), text(b"x")].concat(),
        key,
    );
    // As an integer: no string of sixteen bytes.
    is(
        &|parts| parts.nodes[0] = [&[0xC0, 1][..], &text(b"x")].concat(),
        key,
    );
    is(
        &|parts| parts.nodes[0] = [text(&id_bytes(7, 1)), text(b"")].concat(),
        "Stream listpack integrity check failed.",
    );
}

#[test]
fn entries_are_checked() {
    for (elements, reason) in [
        ("", "a node ends too early"),
        ("1", "a node ends too early"),
        ("0 0 1 f 0", "a node without entries"),
        // The master entry.
        (
            "1 0 2 f 0 2 0 0 v 4",
            "the master entry does not end with 0",
        ),
        (
            "1 0 1 f 1 2 0 0 v 4",
            "the master entry does not end with 0",
        ),
        ("1 0 -1 0 2 0 0 v 4", "a node has a count below 0"),
        (
            "1 0 9223372036854775807 f 0 2 0 0 v 4",
            "a node ends too early",
        ),
        ("1 0 x f 0 2 0 0 v 4", "a node has a text for a number"),
        // Counts of entries.
        ("2 0 1 f 0 2 0 0 v 4", "a node's counts are wrong"),
        ("1 1 1 f 0 2 0 0 v 4", "a node's counts are wrong"),
        ("0 1 1 f 0 2 0 0 v 4", "a node's counts are wrong"),
        ("-1 2 1 f 0 2 0 0 v 4", "a node has a count below 0"),
        ("1 0 1 f 0 2 0 0 v 4 2 0 1 v 4", "a node's counts are wrong"),
        // Entries.
        ("1 0 1 f 0 4 0 0 v 4", "an entry has unknown flags"),
        ("1 0 1 f 0 -1 0 0 v 4", "an entry has unknown flags"),
        ("1 0 1 f 0 x 0 0 v 4", "a node has a text for a number"),
        ("1 0 1 f 0 2 x 0 v 4", "a node has a text for a number"),
        (
            "1 0 1 f 0 2 0 0 v 5",
            "an entry has a wrong number of elements",
        ),
        ("1 0 1 f 0 2 0 0 v", "a node ends too early"),
        ("1 0 1 f 0 2 0 0", "a node ends too early"),
        ("1 0 1 f 0 2", "a node ends too early"),
        ("1 0 1 f 0 2 0 0 v 4 rest", "a node has a text for a number"),
        ("1 0 1 f 0 0 0 0 2 a b c 6", "a node ends too early"),
        ("1 0 1 f 0 0 0 0 0 4", "an entry has no fields"),
        ("1 0 1 f 0 0 0 0 -1 2", "a node has a count below 0"),
        (
            "1 0 1 f 0 0 0 0 9223372036854775807 a b 6",
            "a node ends too early",
        ),
        ("1 0 0 0 2 0 0 3", "an entry has no fields"),
        // Ids.
        ("1 0 1 f 0 2 0 -1 v 4", "ids do not ascend"),
        ("1 0 1 f 0 2 -1 0 v 4", "ids do not ascend"),
        ("2 0 1 f 0 2 0 0 v 4 2 0 0 v 4", "ids do not ascend"),
        ("2 0 1 f 0 2 1 0 v 4 2 0 9 v 4", "ids do not ascend"),
    ] {
        let reason_found = refused(|parts| parts.nodes[0] = node(7, 1, elements));
        assert_eq!(reason_found, format!("stream: {reason}"), "{elements}");
    }
}

#[test]
fn figures_are_checked() {
    let is = |change: &dyn Fn(&mut Parts), reason: &str| assert_eq!(refused(change), reason);
    let inconsistent = "Stream length inconsistent with rax entries";
    for len in [0, 2, 4, u64::MAX] {
        is(&|parts| parts.len = len, inconsistent);
    }
    is(&|parts| parts.nodes.clear(), inconsistent);
    is(
        &|parts| parts.last_id = (7, 99),
        "Stream with an entry after its last ID",
    );
    is(
        &|parts| parts.max_deleted_id = (8, 6),
        "Stream with a deleted ID after its last ID",
    );
    let added = "Stream with an invalid number of entries added";
    for number in [0, 2] {
        is(&|parts| parts.entries_added = number, added);
    }
    // The first id follows from the entries.
    let mut parts = Parts::new();
    parts.first_id = (3, 3);
    let type_ = kind::STREAM_LISTPACKS_3;
    let entry = restored(type_, &parts.body(type_), 11, &options()).unwrap();
    assert_eq!(content(entry.view()), Content::Stream(lines(type_)));
}

#[test]
fn groups_are_checked() {
    let is = |change: &dyn Fn(&mut SomeGroup), reason: &str| {
        let reason_found = refused(|parts| change(&mut parts.groups[0]));
        assert_eq!(reason_found, reason);
    };
    is(
        &|group| group.name = "-1",
        "Duplicated consumer group name -1",
    );
    let twice = "Duplicated global PEL entry loading stream consumer group";
    is(&|group| group.pending[1].0 = 1, twice);
    is(&|group| group.pending.swap(0, 1), twice);
    let before = "Stream with a time before 1970";
    is(&|group| group.pending[0].1 = -1, before);
    is(&|group| group.consumers[1].seen_at_ms = -1, before);
    is(
        &|group| group.consumers[1].name = "12",
        "Duplicate stream consumer detected",
    );
    is(
        &|group| group.consumers[1].pending = vec![3],
        "Consumer entry not found in group global PEL",
    );
    let owned = "Duplicated consumer PEL entry loading a stream consumer group";
    is(&|group| group.consumers[1].pending = vec![9], owned);
    is(&|group| group.consumers[2].pending = vec![2, 2], owned);
    let unowned = "A NACK in the global PEL of a stream consumer group has no consumer";
    is(&|group| group.consumers[2].pending = vec![], unowned);
    is(&|group| group.consumers.clear(), unowned);
}

#[test]
fn times_of_activity_are_checked() {
    let mut parts = Parts::new();
    parts.groups[0].consumers[1].active_at_ms = -2;
    let type_ = kind::STREAM_LISTPACKS_3;
    let result = restored(type_, &parts.body(type_), 11, &options());
    let Err(RestoreError::Bad(fault)) = result else {
        panic!("{result:?}");
    };
    assert_eq!(fault.message, "Stream with a time before 1970");
}

/// Node by node: with a walk over all of them for each it would take hours.
#[test]
fn nodes_without_entries_are_passed_over_once() {
    let mut parts = Parts::new();
    let dead = (1..=300_000).map(|ms| node(ms, 0, "0 1 1 f 0 3 0 0 v 4"));
    parts.nodes = dead.collect();
    parts.nodes.push(node(400_000, 0, "1 0 1 f 0 2 0 0 v 4"));
    (parts.len, parts.last_id) = (1, (500_000, 0));
    (parts.max_deleted_id, parts.entries_added) = ((300_000, 0), 300_001);
    parts.groups = Vec::new();
    let type_ = kind::STREAM_LISTPACKS_3;
    let entry = restored(type_, &parts.body(type_), 11, &options()).unwrap();
    let Content::Stream(lines) = content(entry.view()) else {
        panic!("no stream");
    };
    assert!(
        lines.iter().any(|line| line.contains("400000-0")),
        "{lines:?}"
    );
}

#[test]
fn the_largest_numbers_are_read() {
    let mut parts = Parts::new();
    parts.nodes = vec![node(u64::MAX, u64::MAX, "1 0 1 f 0 2 0 0 v 4")];
    parts.len = 1;
    parts.last_id = (u64::MAX, u64::MAX);
    parts.max_deleted_id = parts.last_id;
    parts.entries_added = u64::MAX;
    let group = &mut parts.groups[0];
    group.last_id = parts.last_id;
    group.entries_read = u64::MAX - 1;
    group.pending[2] = (u64::MAX, i64::MAX, u64::MAX);
    group.consumers[0].pending[1] = u64::MAX;
    group.consumers[0].seen_at_ms = i64::MAX;
    for (type_, version) in &FORMS[1..] {
        let entry = restored(*type_, &parts.body(*type_), *version, &options()).unwrap();
        let Content::Stream(lines) = content(entry.view()) else {
            panic!("no stream");
        };
        let all = lines.join("\n");
        assert!(all.contains("added 18446744073709551615"), "{all}");
        assert!(all.contains("times 18446744073709551615"), "{all}");
        assert!(all.contains("seen 9223372036854775807"), "{all}");
    }
}
