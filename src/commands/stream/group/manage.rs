//! XGROUP: groups and consumers are created, moved and taken away.

use super::{bad_subcommand, is, no_group, strict_id};
use crate::commands::{CmdResult, Ctx, Next, typed_mut, typed_or_create};
use crate::db::notice::EventClass;
use crate::db::{Access, KeyMut};
use crate::ds::stream::{Entries, Stream, StreamId};
use crate::spec::args::c_str;
use crate::spec::{Args, CmdError};
use crate::value::Type;
use crate::value::stream::{self, stream, stream_mut};

const NO_KEY: CmdError = CmdError::text(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use \
     the MKSTREAM option to create an empty stream automatically.",
);

/// The options of CREATE and SETID.
#[derive(Default)]
struct Options {
    /// MKSTREAM
    creates_stream: bool,
    /// ENTRIESREAD
    entries_read: Option<u64>,
}

impl Options {
    /// Reads all arguments that are left; `may_create` is true for CREATE.
    fn parse(args: &mut Args<'_>, may_create: bool) -> Result<Options, CmdError> {
        const NEGATIVE: CmdError =
            CmdError::text("ERR value for ENTRIESREAD must be positive or -1");
        let mut options = Options::default();
        while let Some(option) = args.option() {
            if may_create && is(option, "MKSTREAM") {
                options.creates_stream = true;
            } else if is(option, "ENTRIESREAD") && !args.is_empty() {
                options.entries_read = match args.int()? {
                    -1 => None,
                    read => Some(u64::try_from(read).map_err(|_| NEGATIVE)?),
                };
            } else {
                return Err(bad_subcommand(args));
            }
        }
        Ok(options)
    }
}

/// An id, or `$` for the last one.
fn id_or_last(arg: &[u8], entries: Option<&Entries>) -> Result<StreamId, CmdError> {
    match c_str(arg) {
        b"$" => Ok(entries.map(Entries::last_id).unwrap_or_default()),
        _ => strict_id(arg, 0),
    }
}

/// The stream of a key that has to be there.
fn existing<'d>(db: &'d mut Access<'_>, key: &[u8]) -> Result<KeyMut<'d>, CmdError> {
    typed_mut(db, key, Type::Stream)?.ok_or(NO_KEY)
}

/// `XGROUP CREATE key group <id | $> [MKSTREAM] [ENTRIESREAD entries-read]`
pub(super) fn create(ctx: &mut Ctx<'_>) -> CmdResult {
    const EXISTS: CmdError = CmdError::text("BUSYGROUP Consumer Group name already exists");
    // All options once; Redis counts when it has found the key.
    const CREATE_ARGS_MAX: usize = 8;
    let (key, name, id) = (ctx.args.bytes()?, ctx.args.bytes()?, ctx.args.bytes()?);
    let options = Options::parse(&mut ctx.args, true)?;
    let found = typed_mut(&mut ctx.db, key, Type::Stream)?;
    if found.is_none() && !options.creates_stream {
        return Err(NO_KEY);
    }
    if ctx.args.argv().len() > CREATE_ARGS_MAX {
        return Err(bad_subcommand(&ctx.args));
    }
    let stream = found.as_ref().and_then(|it| stream(it.entry().value()));
    let id = id_or_last(id, stream.map(Stream::entries))?;
    drop(found);
    let (enc, value) = stream::new_value(Stream::new());
    ctx.db.set_counting(false);
    let mut found = typed_or_create(&mut ctx.db, key, Type::Stream, enc, value)?;
    if found.is_new() {
        found.touch();
    }
    let mut slot = found.slot_mut();
    let groups = stream_mut(&mut slot).map(Stream::groups_mut);
    let created = groups.and_then(|groups| groups.create(name, id, options.entries_read));
    if created.is_none() {
        return Err(EXISTS);
    }
    found.add_untold_changes(1);
    found.notify(EventClass::STREAM, "xgroup-create");
    ctx.out.ok();
    Ok(Next::Done)
}

/// `XGROUP SETID key group <id | $> [ENTRIESREAD entries-read]`
pub(super) fn setid(ctx: &mut Ctx<'_>) -> CmdResult {
    const SETID_ARGS_MAX: usize = 7;
    let (key, name, id) = (ctx.args.bytes()?, ctx.args.bytes()?, ctx.args.bytes()?);
    let options = Options::parse(&mut ctx.args, false)?;
    let mut found = existing(&mut ctx.db, key)?;
    let mut slot = found.slot_mut();
    let (entries, groups) = stream_mut(&mut slot).ok_or(NO_KEY)?.split_mut();
    let group = groups.get_mut(name).ok_or_else(|| no_group(key, name))?;
    if ctx.args.argv().len() > SETID_ARGS_MAX {
        return Err(bad_subcommand(&ctx.args));
    }
    // Only here Redis takes the ends for ids.
    group.last_id = match c_str(id) {
        b"-" => StreamId::MIN,
        b"+" => StreamId::MAX,
        _ => id_or_last(id, Some(entries))?,
    };
    group.entries_read = options.entries_read;
    found.add_untold_changes(1);
    found.notify(EventClass::STREAM, "xgroup-setid");
    ctx.out.ok();
    Ok(Next::Done)
}

/// XGROUP DESTROY key group
pub(super) fn destroy(ctx: &mut Ctx<'_>) -> CmdResult {
    let (key, name) = (ctx.args.bytes()?, ctx.args.bytes()?);
    let mut found = existing(&mut ctx.db, key)?;
    let mut slot = found.slot_mut();
    let groups = stream_mut(&mut slot).map(Stream::groups_mut);
    let is_destroyed = groups.is_some_and(|groups| groups.destroy(name));
    if is_destroyed {
        found.add_untold_changes(1);
        found.notify(EventClass::STREAM, "xgroup-destroy");
        // Its consumers that wait are told.
        found.signal_ready();
    }
    ctx.out.integer(is_destroyed.into());
    Ok(Next::Done)
}

/// XGROUP CREATECONSUMER key group consumer
pub(super) fn createconsumer(ctx: &mut Ctx<'_>) -> CmdResult {
    let (key, name, consumer) = (ctx.args.bytes()?, ctx.args.bytes()?, ctx.args.bytes()?);
    let now_ms = ctx.clock_ms();
    let mut found = existing(&mut ctx.db, key)?;
    let mut slot = found.slot_mut();
    let groups = stream_mut(&mut slot).ok_or(NO_KEY)?.groups_mut();
    let group = groups.get_mut(name).ok_or_else(|| no_group(key, name))?;
    let is_new = group.consumer_id(consumer).is_none();
    if is_new {
        group.create_consumer(consumer, now_ms);
        found.add_untold_changes(1);
        found.notify(EventClass::STREAM, "xgroup-createconsumer");
    }
    ctx.out.integer(is_new.into());
    Ok(Next::Done)
}

/// XGROUP DELCONSUMER key group consumer
pub(super) fn delconsumer(ctx: &mut Ctx<'_>) -> CmdResult {
    let (key, name, consumer) = (ctx.args.bytes()?, ctx.args.bytes()?, ctx.args.bytes()?);
    let mut found = existing(&mut ctx.db, key)?;
    let mut slot = found.slot_mut();
    let groups = stream_mut(&mut slot).ok_or(NO_KEY)?.groups_mut();
    let group = groups.get_mut(name).ok_or_else(|| no_group(key, name))?;
    let pending = group
        .consumer_id(consumer)
        .map(|id| group.delete_consumer(id));
    if pending.is_some() {
        found.add_untold_changes(1);
        found.notify(EventClass::STREAM, "xgroup-delconsumer");
    }
    ctx.out.integer(pending.unwrap_or(0) as i64);
    Ok(Next::Done)
}

/// XGROUP HELP
pub(super) fn help(ctx: &mut Ctx<'_>) -> CmdResult {
    crate::commands::help(
        ctx,
        "XGROUP",
        &[
            "CREATE <key> <groupname> <id|$> [option]",
            "    Create a group of consumers, which begins behind this id. Options are:",
            "    * MKSTREAM",
            "      Create the stream, empty, unless it is there.",
            "    * ENTRIESREAD entries_read",
            "      How many entries the group counts as read (used by the log).",
            "CREATECONSUMER <key> <groupname> <consumer>",
            "    Create a consumer in a group.",
            "DELCONSUMER <key> <groupname> <consumer>",
            "    Delete a consumer with all that is pending with it.",
            "DESTROY <key> <groupname>",
            "    Destroy a group.",
            "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
            "    Say up to which id a group has read, and how many entries that were.",
        ],
    )
}
