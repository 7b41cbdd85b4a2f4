//! How far a group has read: the counter that it keeps of the entries which it has read, and its lag,
//! the number of entries that it has still to read.
//!
//! An entry's place among all that were ever added is known for certain at the ends of the stream:
//! the last one is the `entries_added`-th, and the first one that is left follows all that are gone,
//! unless one was deleted in the middle. In between nothing can be told but by a counter that has
//! been kept entry by entry. Deleted entries ahead of a group (of which only the highest id is known)
//! make its counter worthless, since nobody knows how many there are. All of it as in Valkey 9.1: what
//! cannot be known is `None`.
//!
//! Trimming counts nothing as deleted: it takes entries from the beginning, so places stay known.

use crate::ds::stream::{Entries, Group, StreamId};

/// How many entries were added up to the one with this id, itself included; of an id that no entry
/// has, up to where it would be.
pub fn entries_read_at(entries: &Entries, id: StreamId) -> Option<u64> {
    let added = entries.entries_added();
    let (first, last) = (entries.first_id(), entries.last_id());
    let deleted = entries.max_deleted_id();
    if added == 0 || entries.is_empty() && id <= last {
        return Some(added);
    }
    if id != StreamId::MIN && id < deleted {
        return None;
    }
    if id == last {
        return Some(added);
    }
    if id > last || deleted != StreamId::MIN && deleted >= first {
        return None;
    }
    let before_first = added.wrapping_sub(entries.len());
    if id < first {
        return Some(before_first);
    }
    (id == first).then(|| before_first.wrapping_add(1))
}

/// Whether an entry with this id or a later one was deleted, and could be missed by a counter.
fn has_deleted_from(entries: &Entries, id: StreamId) -> bool {
    let deleted = entries.max_deleted_id();
    !entries.is_empty() && deleted != StreamId::MIN && id <= deleted
}

/// How many entries a group has still to read. Below 0 if its counter was set beyond what was added.
pub fn lag(entries: &Entries, group: &Group) -> Option<i64> {
    let added = entries.entries_added();
    if added == 0 {
        return Some(0);
    }
    let counted = group.entries_read;
    let read = match counted.filter(|_| !has_deleted_from(entries, group.last_id)) {
        Some(read) => read,
        None => entries_read_at(entries, group.last_id)?,
    };
    Some(added.wrapping_sub(read) as i64)
}

/// Moves a group on to an entry that is being delivered to it, and keeps its counter. An entry that
/// it has passed already changes nothing; false then.
pub fn advance(entries: &Entries, group: &mut Group, id: StreamId) -> bool {
    if id <= group.last_id {
        return false;
    }
    let is_among = group.last_id >= entries.first_id();
    group.entries_read = match group.entries_read {
        Some(read) if is_among && !has_deleted_from(entries, group.last_id) => {
            Some(read.wrapping_add(1))
        }
        counted if entries.entries_added() == 0 => counted,
        _ => entries_read_at(entries, id),
    };
    group.last_id = id;
    true
}

#[cfg(test)]
mod tests;
