//! Streams: nodes, figures, groups with what is pending, consumers.
//!
//! | | |
//! |---|---|
//! | number of nodes; each | its id, a string of 16 bytes, and its listpack, a string |
//! | figures | lengths: entries, last id, first id, highest deleted id, entries ever added |
//! | number of groups; each | name, last id, entries read (all bits set if not known) |
//! | number of pending entries; each | id of 16 bytes, time of 8 bytes, number of deliveries |
//! | number of consumers; each | name, when it was seen, when it was active (-1 for never; only in the newest form), number of entries pending with it, their ids |
//!
//! An id is two lengths among the figures, and two numbers, big endian, where it has 16 bytes. Times
//! are little endian.

use super::text;
use crate::ds::stream::save::{ConsumerHead, Figures, GroupHead, Node};
use crate::ds::stream::{Pending, StreamId};
use crate::persist::rdb::format::{NEVER_ACTIVE, NOT_COUNTED};

/// An id as two lengths.
fn id(out: &mut Vec<u8>, id: StreamId) {
    text::length(out, id.ms);
    text::length(out, id.seq);
}

/// An id as its bytes.
fn id_bytes(id: StreamId) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&id.ms.to_be_bytes());
    bytes[8..].copy_from_slice(&id.seq.to_be_bytes());
    bytes
}

fn time(out: &mut Vec<u8>, at_ms: i64) {
    out.extend_from_slice(&at_ms.to_le_bytes());
}

fn unix_ms(at_ms: u64) -> i64 {
    i64::try_from(at_ms).unwrap_or(i64::MAX)
}

pub(super) fn node(out: &mut Vec<u8>, node: &Node<'_>, compress: bool) {
    text::raw(out, &id_bytes(node.master_id()), false);
    let mut listpack = Vec::new();
    node.write_listpack(&mut listpack);
    text::raw(out, &listpack, compress);
}

pub(super) fn figures(out: &mut Vec<u8>, figures: &Figures) {
    text::length(out, figures.len);
    id(out, figures.last_id);
    id(out, figures.first_id);
    id(out, figures.max_deleted_id);
    text::length(out, figures.entries_added);
    text::length(out, figures.groups as u64);
}

/// A group up to the number of its pending entries.
pub(super) fn group(out: &mut Vec<u8>, group: &GroupHead<'_>, compress: bool) {
    text::string(out, group.name, compress);
    id(out, group.last_id);
    text::length(out, group.entries_read.unwrap_or(NOT_COUNTED));
    text::length(out, group.pending as u64);
}

pub(super) fn pending(out: &mut Vec<u8>, id: StreamId, pending: &Pending) {
    out.extend_from_slice(&id_bytes(id));
    time(out, unix_ms(pending.delivered_at_ms));
    text::length(out, pending.deliveries);
}

/// A consumer, up to the number of ids that are pending with it; `active` if the form has that time.
pub(super) fn consumer(
    out: &mut Vec<u8>,
    consumer: &ConsumerHead<'_>,
    active: bool,
    compress: bool,
) {
    text::string(out, consumer.name, compress);
    time(out, unix_ms(consumer.seen_at_ms));
    if active {
        time(out, consumer.active_at_ms.map_or(NEVER_ACTIVE, unix_ms));
    }
    text::length(out, consumer.pending as u64);
}

/// Some of the ids that are pending with a consumer.
pub(super) fn pending_with(out: &mut Vec<u8>, some: &[(StreamId, Pending)]) {
    for (id, _) in some {
        out.extend_from_slice(&id_bytes(*id));
    }
}
