//! Streams as commands: XADD for each entry, XSETID for the figures, XGROUP CREATE for each group, and
//! for each of its consumers XCLAIM of what is pending with it, or XGROUP CREATECONSUMER.
//!
//! Counts that commands have raised beyond what they take are written as the largest that they do.
//!
//! As in Redis that loses the times at which consumers were seen, and what is pending of entries that
//! were deleted: no command can say so. The RDB form loses nothing.

use super::command;
use crate::ds::stream::save::{ConsumerHead, Figures, GroupHead, Node};
use crate::ds::stream::{Pending, StreamId};
use crate::resp::request::{argc, bulk};

/// The text of an id.
fn text(id: StreamId) -> String {
    id.to_string()
}

/// The text of a count: commands read it as a signed number.
fn count(number: u64) -> String {
    number.min(i64::MAX as u64).to_string()
}

pub(super) fn node(out: &mut Vec<u8>, key: &[u8], node: &Node<'_>) {
    for entry in node.entries() {
        let fields = entry.fields();
        argc(out, 3 + 2 * fields.len());
        bulk(out, b"XADD");
        bulk(out, key);
        bulk(out, text(entry.id).as_bytes());
        let mut digits = itoa::Buffer::new();
        for (field, value) in fields {
            bulk(out, field.bytes(&mut digits));
            bulk(out, value.bytes(&mut digits));
        }
    }
}

pub(super) fn figures(out: &mut Vec<u8>, key: &[u8], figures: &Figures) {
    if figures.len == 0 {
        // An empty stream, by an entry that is trimmed at once.
        command(out, &[b"XADD", key, b"MAXLEN", b"0", b"0-1", b"x", b"y"]);
    }
    let (last, max_deleted) = (text(figures.last_id), text(figures.max_deleted_id));
    let added = count(figures.entries_added);
    command(
        out,
        &[
            b"XSETID",
            key,
            last.as_bytes(),
            b"ENTRIESADDED",
            added.as_bytes(),
            b"MAXDELETEDID",
            max_deleted.as_bytes(),
        ],
    );
}

pub(super) fn group(out: &mut Vec<u8>, key: &[u8], group: &GroupHead<'_>) {
    let last = text(group.last_id);
    let read = group.entries_read.map_or("-1".to_owned(), count);
    command(
        out,
        &[
            b"XGROUP",
            b"CREATE",
            key,
            group.name,
            last.as_bytes(),
            b"ENTRIESREAD",
            read.as_bytes(),
        ],
    );
}

pub(super) fn consumer(out: &mut Vec<u8>, key: &[u8], group: &[u8], consumer: &ConsumerHead<'_>) {
    // The first claim creates one that has something.
    if consumer.pending == 0 {
        let name = consumer.name;
        command(out, &[b"XGROUP", b"CREATECONSUMER", key, group, name]);
    }
}

pub(super) fn pending_with(
    out: &mut Vec<u8>,
    key: &[u8],
    (group, name): (&[u8], &[u8]),
    some: &[(StreamId, Pending)],
) {
    for (id, pending) in some {
        let (at_ms, deliveries) = (pending.delivered_at_ms, pending.deliveries);
        command(
            out,
            &[
                b"XCLAIM",
                key,
                group,
                name,
                b"0",
                text(*id).as_bytes(),
                b"TIME",
                at_ms.to_string().as_bytes(),
                b"RETRYCOUNT",
                count(deliveries).as_bytes(),
                b"JUSTID",
                b"FORCE",
            ],
        );
    }
}
