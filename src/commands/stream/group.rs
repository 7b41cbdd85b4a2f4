//! The commands of consumer groups: their rows, XINFO's too, and what their files share.
//!
//! XGROUP is in `group/manage.rs`, XACK and XACKDEL in `group/ack.rs`, XPENDING in `group/pending.rs`,
//! XCLAIM and XAUTOCLAIM in `group/claim.rs`, XINFO in `stream/info.rs`; XREADGROUP stands with
//! XREAD. What a group knows is `ds::stream`'s, how far it has read `value::stream::lag`'s.
//!
//! Invariants: what a group knows is no part of the stream to those who watch the key or keep a copy
//! of it, so its changes are counted untold, as in Redis; and where Redis looks a key up as if for
//! reading although it is changed, so does this.

use smallvec::SmallVec;

use super::{info, interval_end, interval_start, is, reply_entry, reply_id, strict_id};
use crate::commands::{Command, c_text, command, container};
use crate::db::{Access, KeyMut};
use crate::ds::stream::Pending;
use crate::spec::{AclCategories, Args, CmdError, Flags, Group as Of, KeyFlags, KeySpec};
use crate::value::Type;
use crate::value::stream::StreamId;

mod ack;
mod claim;
mod manage;
mod pending;

#[cfg(test)]
mod tests;

pub(super) use claim::{log_claim, log_last_id};

/// Writes, in constant or logarithmic time.
const FAST_WRITE: Flags = Flags::WRITE.and(Flags::FAST);
/// Writes, and may need memory.
const STORE: Flags = Flags::WRITE.and(Flags::DENYOOM);
/// HELP.
const HELP: Flags = Flags::LOADING.and(Flags::STALE);

/// Reads for the client.
const FETCH: KeyFlags = KeyFlags::RO.and(KeyFlags::ACCESS);
/// Adds to what is known.
const INSERT: KeyFlags = KeyFlags::RW.and(KeyFlags::INSERT);
/// Changes what is known.
const UPDATE: KeyFlags = KeyFlags::RW.and(KeyFlags::UPDATE);
/// Takes something out.
const REMOVE: KeyFlags = KeyFlags::RW.and(KeyFlags::DELETE);

/// The rows of consumer groups.
pub const COMMANDS: &[Command] = &[
    command("xack", -4, FAST_WRITE, ack::xack)
        .acl(AclCategories::STREAM)
        .keys(&[KeySpec::at(1, UPDATE)])
        .docs(
            Of::Stream,
            "5.0.0",
            "O(1) for each id.",
            "Says that entries were processed: they are no longer pending in a group.",
        )
        .syntax("key#0 group id*"),
    command("xackdel", -6, FAST_WRITE, ack::xackdel)
        .acl(AclCategories::STREAM)
        .keys(&[KeySpec::at(1, UPDATE.and(KeyFlags::DELETE))])
        .docs(
            Of::Stream,
            "8.2.0",
            "O(1) for each id.",
            "Says that entries were processed by a group, and deletes them, or those that no \
             group needs any more.",
        )
        .syntax("key#0 group condition(KEEPREF|DELREF|ACKED)? IDS=ids{numids:integer id*}"),
    command("xautoclaim", -6, FAST_WRITE, claim::xautoclaim)
        .acl(AclCategories::STREAM)
        .keys(&[KeySpec::at(1, REMOVE)])
        .tips(&["nondeterministic_output"])
        .docs(
            Of::Stream,
            "6.2.0",
            "O(1) if COUNT is small.",
            "Hands entries that have been pending for long over to another consumer, as it \
             comes upon them.",
        )
        .syntax("key#0 group consumer min-idle-time start COUNT=count:integer? JUSTID?"),
    command("xclaim", -6, FAST_WRITE, claim::xclaim)
        .acl(AclCategories::STREAM)
        .keys(&[KeySpec::at(1, UPDATE)])
        .tips(&["nondeterministic_output"])
        .docs(
            Of::Stream,
            "5.0.0",
            "O(log N) where N is the number of entries that are pending in the group.",
            "Hands pending entries over to another consumer.",
        )
        .syntax(
            "key#0 group consumer min-idle-time id* IDLE=ms:integer? \
             TIME=unix-time-milliseconds:unix-time? RETRYCOUNT=count:integer? FORCE? JUSTID? \
             LASTID=lastid?",
        ),
    command("xgroup", -2, Flags::NONE, container)
        .docs(
            Of::Stream,
            "5.0.0",
            "Depends on subcommand.",
            "Groups the commands that manage consumer groups.",
        )
        .subcommands(XGROUP),
    command("xinfo", -2, Flags::NONE, container)
        .docs(
            Of::Stream,
            "5.0.0",
            "Depends on subcommand.",
            "Groups the commands that look into streams.",
        )
        .subcommands(XINFO),
    command("xpending", -3, Flags::READONLY, pending::xpending)
        .acl(AclCategories::STREAM)
        .keys(&[KeySpec::at(1, FETCH)])
        .tips(&["nondeterministic_output"])
        .docs(
            Of::Stream,
            "5.0.0",
            "O(N) where N is the number of entries that are returned, or that IDLE passes over; \
             without a range, the number of consumers.",
            "Shows the entries that were delivered to a group and not yet acknowledged.",
        )
        .syntax(
            "key#0 group filters{IDLE=min-idle-time:integer?@6.2.0 start end count:integer \
             consumer?}?",
        ),
];

/// XGROUP's subcommands.
const XGROUP: &[Command] = &[
    command("create", -5, STORE, manage::create)
        .acl(AclCategories::STREAM)
        .keys(&[KeySpec::at(2, INSERT)])
        .docs(Of::Stream, "5.0.0", "O(1)", "Creates a consumer group.")
        .syntax(
            "key#0 group id-selector(id|new-id='$') MKSTREAM? \
             ENTRIESREAD=entriesread:integer\"entries-read\"?",
        ),
    command("createconsumer", 5, STORE, manage::createconsumer)
        .acl(AclCategories::STREAM)
        .keys(&[KeySpec::at(2, INSERT)])
        .docs(
            Of::Stream,
            "6.2.0",
            "O(1)",
            "Creates a consumer in a group.",
        )
        .syntax("key#0 group consumer"),
    command("delconsumer", 5, Flags::WRITE, manage::delconsumer)
        .acl(AclCategories::STREAM)
        .keys(&[KeySpec::at(2, REMOVE)])
        .docs(
            Of::Stream,
            "5.0.0",
            "O(N) where N is the number of entries that are pending with the consumer.",
            "Deletes a consumer of a group, with what is pending with it.",
        )
        .syntax("key#0 group consumer"),
    command("destroy", 4, Flags::WRITE, manage::destroy)
        .acl(AclCategories::STREAM)
        .keys(&[KeySpec::at(2, REMOVE)])
        .docs(
            Of::Stream,
            "5.0.0",
            "O(N) where N is the number of entries that are pending in the group.",
            "Destroys a consumer group.",
        )
        .syntax("key#0 group"),
    command("help", 2, HELP, manage::help)
        .acl(AclCategories::STREAM)
        .docs(
            Of::Stream,
            "5.0.0",
            "O(1)",
            "Explains the subcommands of XGROUP.",
        ),
    command("setid", -5, Flags::WRITE, manage::setid)
        .acl(AclCategories::STREAM)
        .keys(&[KeySpec::at(2, UPDATE)])
        .docs(
            Of::Stream,
            "5.0.0",
            "O(1)",
            "Says up to which entry a group has read.",
        )
        .syntax(
            "key#0 group id-selector(id|new-id='$') \
             ENTRIESREAD=entriesread:integer\"entries-read\"?",
        ),
];

/// XINFO's subcommands.
const XINFO: &[Command] = &[
    command("consumers", 4, Flags::READONLY, info::consumers)
        .acl(AclCategories::STREAM)
        .keys(&[KeySpec::at(2, FETCH)])
        .tips(&["nondeterministic_output"])
        .docs(
            Of::Stream,
            "5.0.0",
            "O(N) where N is the number of consumers.",
            "Shows the consumers of a group.",
        )
        .syntax("key#0 group"),
    command("groups", 3, Flags::READONLY, info::groups)
        .acl(AclCategories::STREAM)
        .keys(&[KeySpec::at(2, FETCH)])
        .docs(
            Of::Stream,
            "5.0.0",
            "O(N) where N is the number of groups.",
            "Shows the consumer groups of a stream.",
        )
        .syntax("key#0"),
    command("help", 2, HELP, info::help)
        .acl(AclCategories::STREAM)
        .docs(
            Of::Stream,
            "5.0.0",
            "O(1)",
            "Explains the subcommands of XINFO.",
        ),
    command("stream", -3, Flags::READONLY, info::stream)
        .acl(AclCategories::STREAM)
        .keys(&[KeySpec::at(2, FETCH)])
        .docs(
            Of::Stream,
            "5.0.0",
            "O(1); with FULL, O(N) where N is the number of entries, pending ones and consumers \
             that are shown.",
            "Shows what is known of a stream.",
        )
        .syntax("key#0 full-block{FULL COUNT=count:integer?}?"),
];

/// Some ids.
type Ids = SmallVec<[StreamId; 8]>;

/// A stream that is there, to be changed, looked up as if for reading; an error if the key has
/// another type.
#[inline]
fn counted_mut<'d>(db: &'d mut Access<'_>, key: &[u8]) -> Result<Option<KeyMut<'d>>, CmdError> {
    let found = db.find_mut_counted(key);
    match found {
        Some(found) if found.entry().type_() != Type::Stream as u8 => Err(CmdError::WrongType),
        found => Ok(found),
    }
}

/// There is no such key, or no such group.
fn no_key_or_group(key: &[u8], group: &[u8]) -> CmdError {
    let (key, group) = (c_text(key), c_text(group));
    let text = [
        b"NOGROUP No such key '",
        key,
        b"' or consumer group '",
        group,
        b"'",
    ];
    CmdError::owned(text.concat())
}

/// There is no such group.
pub(super) fn no_group(key: &[u8], group: &[u8]) -> CmdError {
    let (key, group) = (c_text(key), c_text(group));
    let text = [
        b"NOGROUP No such consumer group '",
        group,
        b"' for key name '",
        key,
        b"'",
    ];
    CmdError::owned(text.concat())
}

/// Options of a subcommand that are not understood.
pub(super) fn bad_subcommand(args: &Args<'_>) -> CmdError {
    const SHOWN_MAX: usize = 128;
    let name = c_text(args.argv().get(1).unwrap_or_default());
    let name = &name[..name.len().min(SHOWN_MAX)];
    let text = [
        b"ERR unknown subcommand or wrong number of arguments for '",
        name,
        b"'. Try ",
        &args.argv()[0].to_ascii_uppercase(),
        b" HELP.",
    ];
    CmdError::owned(text.concat())
}

/// For how long an entry has been pending since it was delivered; below 0 if that is still to come.
fn idle_ms(pending: &Pending, now_ms: u64) -> i64 {
    (now_ms as i64).saturating_sub(pending.delivered_at_ms as i64)
}
