//! Streams of all three forms: 15 of Redis 5, 19 of Redis 7.0, which has all figures, 21 of Redis 7.2,
//! which has also the times at which consumers were active.
//!
//! `encode::stream` shows the form. Everything in it that follows from something else has to fit to
//! that: entries are in order and as many as is said, no figure is below what is there, what is
//! pending is pending with exactly one consumer. Counts may be any numbers: commands take them up to
//! the largest signed one, and count on from there.

use super::Result;
use super::reader::Reader;
use super::value::{Head, Loaded, Values, checked_listpack};
use crate::ds::stream::{ConsumerId, Entries, Group, Pending, Stream, StreamId};
use crate::persist::rdb::format::{NEVER_ACTIVE, NOT_COUNTED, kind};
use crate::value::Type;
use crate::value::stream::{self, lag};

const ID_BYTES: usize = 16;

/// A pending entry whose consumer is not known yet.
struct Unowned {
    id: StreamId,
    delivered_at_ms: u64,
    deliveries: u64,
    consumer: Option<ConsumerId>,
}

impl Values<'_> {
    pub(super) fn stream(
        &self,
        reader: &mut Reader<'_>,
        type_: u8,
        head: &Head<'_>,
    ) -> Result<Loaded> {
        let mut stream = Stream::new();
        nodes(reader, stream.entries_mut())?;
        figures(reader, type_, stream.entries_mut())?;
        for _ in 0..reader.length()? {
            group(reader, type_, &mut stream)?;
        }
        let (enc, value) = stream::new_value(stream);
        Ok(head.entry(Type::Stream, enc, value))
    }
}

fn nodes(reader: &mut Reader<'_>, entries: &mut Entries) -> Result<()> {
    let mut above = StreamId::MIN;
    for _ in 0..reader.length()? {
        let mut key = Vec::new();
        reader.string_into(&mut key)?;
        let Ok(key) = <[u8; ID_BYTES]>::try_from(&key[..]) else {
            let message = "Stream node key entry is not the size of a stream ID";
            return Err(reader.corrupt(message));
        };
        let text = reader.string()?;
        let mut digits = itoa::Buffer::new();
        let list = checked_listpack(text.bytes(&mut digits));
        let list = list.ok_or("Stream listpack integrity check failed.");
        let pushed = list.and_then(|list| entries.push_listpack(&mut above, id_of(key), list));
        pushed.map_err(|reason| reader.corrupt(reason))?;
    }
    Ok(())
}

fn figures(reader: &mut Reader<'_>, type_: u8, entries: &mut Entries) -> Result<()> {
    let len = reader.length()?;
    if len != entries.len() {
        return Err(reader.corrupt("Stream length inconsistent with rax entries"));
    }
    let last_id = id(reader)?;
    let last_entry = entries.range_back(StreamId::MIN, StreamId::MAX).next();
    if last_entry.is_some_and(|last| last.id > last_id) {
        return Err(reader.corrupt("Stream with an entry after its last ID"));
    }
    let (mut max_deleted_id, mut added) = (StreamId::MIN, len);
    if type_ != kind::STREAM_LISTPACKS {
        // The first id is what the entries say.
        id(reader)?;
        max_deleted_id = id(reader)?;
        added = reader.length()?;
    }
    if max_deleted_id > last_id {
        return Err(reader.corrupt("Stream with a deleted ID after its last ID"));
    }
    if added < len {
        return Err(reader.corrupt("Stream with an invalid number of entries added"));
    }
    entries.set_last_id(last_id);
    entries.set_max_deleted_id(max_deleted_id);
    entries.set_entries_added(added);
    Ok(())
}

fn group(reader: &mut Reader<'_>, type_: u8, stream: &mut Stream) -> Result<()> {
    let mut name = Vec::new();
    reader.string_into(&mut name)?;
    let last_id = id(reader)?;
    let entries_read = match type_ {
        kind::STREAM_LISTPACKS => lag::entries_read_at(stream.entries(), last_id),
        _ => match reader.length()? {
            NOT_COUNTED => None,
            read => Some(read),
        },
    };
    let Some(group) = stream.groups_mut().create(&name, last_id, entries_read) else {
        let message = format!("Duplicated consumer group name {}", name.escape_ascii());
        return Err(reader.corrupt(message));
    };
    let mut pending = unowned(reader)?;
    for _ in 0..reader.length()? {
        consumer(reader, type_, group, &mut pending)?;
    }
    for entry in pending {
        let Some(consumer) = entry.consumer else {
            let message = "A NACK in the global PEL of a stream consumer group has no consumer";
            return Err(reader.corrupt(message));
        };
        let pending = Pending {
            consumer,
            delivered_at_ms: entry.delivered_at_ms,
            deliveries: entry.deliveries,
        };
        group.set_pending(entry.id, pending);
    }
    Ok(())
}

/// What is pending in a group.
fn unowned(reader: &mut Reader<'_>) -> Result<Vec<Unowned>> {
    let mut pending: Vec<Unowned> = Vec::new();
    for _ in 0..reader.length()? {
        let id = id_of(reader.array()?);
        if pending.last().is_some_and(|last| last.id >= id) {
            let message = "Duplicated global PEL entry loading stream consumer group";
            return Err(reader.corrupt(message));
        }
        let delivered_at_ms = time(reader)?;
        let deliveries = reader.length()?;
        pending.push(Unowned {
            id,
            delivered_at_ms,
            deliveries,
            consumer: None,
        });
    }
    Ok(pending)
}

/// A consumer, which gets its part of what is pending.
fn consumer(
    reader: &mut Reader<'_>,
    type_: u8,
    group: &mut Group,
    pending: &mut [Unowned],
) -> Result<()> {
    let mut name = Vec::new();
    reader.string_into(&mut name)?;
    if group.consumer_id(&name).is_some() {
        return Err(reader.corrupt("Duplicate stream consumer detected"));
    }
    let seen_at_ms = time(reader)?;
    let active_at_ms = match type_ {
        kind::STREAM_LISTPACKS_3 => match reader.milliseconds()? {
            NEVER_ACTIVE => None,
            at_ms => Some(unix_ms(reader, at_ms)?),
        },
        // Nothing better is known.
        _ => Some(seen_at_ms),
    };
    let consumer = group.create_consumer(&name, seen_at_ms);
    group.consumer_mut(consumer).active_at_ms = active_at_ms;
    for _ in 0..reader.length()? {
        let id = id_of(reader.array()?);
        let Ok(at) = pending.binary_search_by_key(&id, |entry| entry.id) else {
            return Err(reader.corrupt("Consumer entry not found in group global PEL"));
        };
        if pending[at].consumer.replace(consumer).is_some() {
            let message = "Duplicated consumer PEL entry loading a stream consumer group";
            return Err(reader.corrupt(message));
        }
    }
    Ok(())
}

/// An id of two lengths.
fn id(reader: &mut Reader<'_>) -> Result<StreamId> {
    Ok(StreamId::new(reader.length()?, reader.length()?))
}

/// An id of sixteen bytes.
fn id_of(bytes: [u8; ID_BYTES]) -> StreamId {
    let number = u128::from_be_bytes(bytes);
    StreamId::new((number >> 64) as u64, number as u64)
}

fn time(reader: &mut Reader<'_>) -> Result<u64> {
    let at_ms = reader.milliseconds()?;
    unix_ms(reader, at_ms)
}

fn unix_ms(reader: &Reader<'_>, at_ms: i64) -> Result<u64> {
    u64::try_from(at_ms).map_err(|_| reader.corrupt("Stream with a time before 1970"))
}
