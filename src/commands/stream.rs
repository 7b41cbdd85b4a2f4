//! Stream commands: the rows of the family but for those of consumer groups, and what the files of
//! the family share.
//!
//! XADD is in `stream/add.rs`, the options of trimming and XTRIM in `stream/trim.rs`, XDEL, XDELEX and
//! XSETID in `stream/edit.rs`, ranges in `stream/range.rs`, XREAD and XREADGROUP in `stream/read.rs`;
//! the commands of consumer groups below `stream/group.rs`, XINFO in `stream/info.rs`. What a stream is
//! and how it is stored is `ds::stream`'s, what an id looks like `value::stream`'s; here are keys,
//! options and replies.
//!
//! Invariants: fields go from the stream straight into the reply; what is added to a stream wakes those
//! who wait for it, also if the key was there (`KeyMut::signal_ready`).

use super::{Command, command, is, typed};
use crate::db::Access;
use crate::ds::listpack::Value;
use crate::ds::stream::{Entry, Stream};
use crate::resp::write::ReplyWriter;
use crate::spec::{AclCategories, CmdError, Flags, Group, KeyFlags, KeySpec};
use crate::value::Type;
use crate::value::stream::{self, Bound, IdText, StreamId};

mod add;
mod edit;
mod group;
mod info;
mod range;
mod read;
mod references;
mod trim;

#[cfg(test)]
mod tests;

pub use group::COMMANDS as GROUP_COMMANDS;

/// Reads.
const READ: Flags = Flags::READONLY;
/// Writes and needs no memory.
const WRITE: Flags = Flags::WRITE;
/// Writes, and may need memory.
const STORE: Flags = Flags::WRITE.and(Flags::DENYOOM);
/// Waits for entries if there are none.
const WAIT: Flags = Flags::BLOCKING.and(Flags::MOVABLEKEYS);

/// Looks at the value, but shows nothing of it.
const LOOK: KeyFlags = KeyFlags::RO;
/// Reads entries for the client.
const FETCH: KeyFlags = KeyFlags::RO.and(KeyFlags::ACCESS);
/// Takes entries out.
const REMOVE: KeyFlags = KeyFlags::RW.and(KeyFlags::DELETE);
/// Changes the stream.
const UPDATE: KeyFlags = KeyFlags::RW.and(KeyFlags::UPDATE);

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    command("xadd", -5, STORE.and(Flags::FAST), add::xadd)
        .acl(AclCategories::STREAM)
        .keys(&[KeySpec::at(1, UPDATE)
            .notes("UPDATE instead of INSERT because of the optional trimming feature")])
        .tips(&["nondeterministic_output"])
        .docs(
            Group::Stream,
            "5.0.0",
            "O(1), and O(N) for trimming, where N is the number of entries that go.",
            "Appends an entry to a stream, which is created if it is not there.",
        )
        .syntax(
            "key#0 NOMKSTREAM?@6.2.0 trim{strategy(MAXLEN|MINID@6.2.0) \
             operator(equal='='|approximately='~')? threshold LIMIT=count:integer?@6.2.0}? \
             id-selector(auto-id='*'|id) data{field value}*",
        ),
    command("xdel", -3, WRITE.and(Flags::FAST), edit::xdel)
        .acl(AclCategories::STREAM)
        .keys(&[KeySpec::at(1, REMOVE)])
        .docs(
            Group::Stream,
            "5.0.0",
            "O(1) for each id.",
            "Deletes entries from a stream, and tells how many it had.",
        )
        .syntax("key#0 id*"),
    command("xdelex", -5, WRITE.and(Flags::FAST), edit::xdelex)
        .acl(AclCategories::STREAM)
        .keys(&[KeySpec::at(1, REMOVE)])
        .docs(
            Group::Stream,
            "8.2.0",
            "O(1) for each id.",
            "Deletes entries from a stream; options tell what becomes of those that are pending \
             in groups.",
        )
        .syntax("key#0 condition(KEEPREF|DELREF|ACKED)? IDS=ids{numids:integer id*}"),
    command("xlen", 2, READ.and(Flags::FAST), range::xlen)
        .acl(AclCategories::STREAM)
        .keys(&[KeySpec::at(1, LOOK)])
        .docs(
            Group::Stream,
            "5.0.0",
            "O(1)",
            "Counts the entries of a stream.",
        )
        .syntax("key#0"),
    command("xrange", -4, READ, range::xrange)
        .acl(AclCategories::STREAM)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::Stream,
            "5.0.0",
            "O(N) where N is the number of entries that are returned.",
            "Returns the entries whose ids are in a range.",
        )
        .syntax("key#0 start end COUNT=count:integer?"),
    command("xread", -4, READ.and(WAIT), read::xread)
        .acl(AclCategories::STREAM)
        .keys(&[KeySpec::halves("STREAMS", 1, read::xread_streams, FETCH)])
        .docs(
            Group::Stream,
            "5.0.0",
            "O(N) for each stream, where N is the number of entries that are returned. Who adds \
             an entry spends O(M) on M clients that wait for it.",
            "Returns the entries of several streams that are above given ids; on request waits \
             for one if there is none.",
        )
        .syntax("COUNT=count:integer? BLOCK=milliseconds:integer? STREAMS=streams{key#0* id*}"),
    command("xreadgroup", -7, WRITE.and(WAIT), read::xreadgroup)
        .acl(AclCategories::STREAM)
        .keys(&[KeySpec::halves(
            "STREAMS",
            4,
            read::xreadgroup_streams,
            FETCH,
        )])
        .docs(
            Group::Stream,
            "5.0.0",
            "O(N) for each stream, where N is the number of entries that are returned. Who adds \
             an entry spends O(M) on M clients that wait for it.",
            "Returns entries that no consumer of a group has got yet, or those that one has got \
             and not acknowledged; on request waits for one if there is none.",
        )
        .syntax(
            "GROUP=group-block{group consumer} COUNT=count:integer? \
             BLOCK=milliseconds:integer? NOACK? STREAMS=streams{key#0* id*}",
        ),
    command("xrevrange", -4, READ, range::xrevrange)
        .acl(AclCategories::STREAM)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::Stream,
            "5.0.0",
            "O(N) where N is the number of entries that are returned.",
            "Returns the entries whose ids are in a range, from the last to the first.",
        )
        .syntax("key#0 end start COUNT=count:integer?"),
    command("xsetid", -3, STORE.and(Flags::FAST), edit::xsetid)
        .acl(AclCategories::STREAM)
        .keys(&[KeySpec::at(1, UPDATE)])
        .docs(
            Group::Stream,
            "5.0.0",
            "O(1)",
            "Sets the id that those of new entries must be above; made for the server's own logs.",
        )
        .syntax(
            "key#0 last-id ENTRIESADDED=entries-added:integer?@7.0.0 \
             MAXDELETEDID=max-deleted-id?@7.0.0",
        ),
    command("xtrim", -4, WRITE, trim::xtrim)
        .acl(AclCategories::STREAM)
        .keys(&[KeySpec::at(1, REMOVE)])
        .tips(&["nondeterministic_output"])
        .docs(
            Group::Stream,
            "5.0.0",
            "O(N) where N is the number of entries that go, mostly whole nodes at once.",
            "Deletes entries from the beginning of a stream.",
        )
        .syntax(
            "key#0 trim{strategy(MAXLEN|MINID@6.2.0) operator(equal='='|approximately='~')? \
             threshold LIMIT=count:integer?@6.2.0}",
        ),
];

/// What is no id.
const INVALID_ID: CmdError =
    CmdError::text("ERR Invalid stream ID specified as stream command argument");

/// The stream of a key to be read.
#[inline]
fn find<'d>(db: &'d mut Access<'_>, key: &[u8]) -> Result<Option<&'d Stream>, CmdError> {
    let found = typed(db, key, Type::Stream)?;
    Ok(found.and_then(|entry| stream::stream(entry.value())))
}

/// An argument as an id; one without a second number has `seq`.
#[inline]
fn strict_id(arg: &[u8], seq: u64) -> Result<StreamId, CmdError> {
    stream::parse_id(arg, seq).ok_or(INVALID_ID)
}

/// An argument as the first id of a range.
fn interval_start(arg: &[u8]) -> Result<StreamId, CmdError> {
    const NONE: CmdError = CmdError::text("ERR invalid start ID for the interval");
    match Bound::parse(arg, 0).ok_or(INVALID_ID)? {
        Bound::Inclusive(id) => Ok(id),
        Bound::Exclusive(id) => id.next().ok_or(NONE),
    }
}

/// An argument as the last id of a range.
fn interval_end(arg: &[u8]) -> Result<StreamId, CmdError> {
    const NONE: CmdError = CmdError::text("ERR invalid end ID for the interval");
    match Bound::parse(arg, u64::MAX).ok_or(INVALID_ID)? {
        Bound::Inclusive(id) => Ok(id),
        Bound::Exclusive(id) => id.prev().ok_or(NONE),
    }
}

/// Answers an id.
#[inline]
fn reply_id(out: &mut ReplyWriter, id: StreamId) {
    out.bulk(IdText::new(id).as_bytes());
}

/// Answers an entry: its id, then its fields with their values.
#[inline]
fn reply_entry(out: &mut ReplyWriter, entry: &Entry<'_>) {
    out.array(2);
    reply_id(out, entry.id);
    let fields = entry.fields();
    out.array(2 * fields.len());
    for (field, value) in fields {
        reply_value(out, field);
        reply_value(out, value);
    }
}

#[inline]
fn reply_value(out: &mut ReplyWriter, value: Value<'_>) {
    match value {
        Value::Bytes(bytes) => out.bulk(bytes),
        Value::Int(int) => out.bulk_int(int),
    }
}
