//! XDEL, XDELEX and XSETID: what changes a stream in the middle, or what it remembers.

use smallvec::SmallVec;

use super::{is, references, strict_id};
use crate::commands::{CmdResult, Ctx, Next, typed_mut};
use crate::db::notice::EventClass;
use crate::ds::stream::{Deleted, References, Stream};
use crate::spec::{Args, CmdError};
use crate::value::Type;
use crate::value::stream::{StreamId, stream_mut};

/// `XDEL key id [id ...]`
pub(super) fn xdel(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let mut deleted = 0;
    if let Some(mut found) = typed_mut(&mut ctx.db, key, Type::Stream)? {
        // All are read before the first one goes.
        let ids = ctx.args.rest();
        let ids = ids.iter().map(|id| strict_id(id, 0));
        let ids: SmallVec<[StreamId; 8]> = ids.collect::<Result<_, _>>()?;
        let mut slot = found.slot_mut();
        let stream = stream_mut(&mut slot).ok_or(CmdError::WrongType)?;
        for id in ids {
            deleted += (stream.delete(id, References::Keep) == Deleted::Yes) as u64;
        }
        if deleted > 0 {
            found.add_changes(deleted);
            found.notify(EventClass::STREAM, "xdel");
        }
    }
    ctx.out.integer(deleted as i64);
    Ok(Next::Done)
}

/// `XDELEX key [KEEPREF | DELREF | ACKED] IDS numids id [id ...]`
pub(super) fn xdelex(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let (references, ids) = references::ids(&mut ctx.args)?;
    let found = typed_mut(&mut ctx.db, key, Type::Stream)?;
    ctx.out.array(ids.len());
    let Some(mut found) = found else {
        ids.iter().for_each(|_| ctx.out.integer(-1));
        return Ok(Next::Done);
    };
    let (mut deleted, mut forgotten) = (0, 0);
    let mut slot = found.slot_mut();
    let stream = stream_mut(&mut slot).ok_or(CmdError::WrongType)?;
    for id in ids {
        let outcome = delete(stream, id, references, &mut forgotten);
        deleted += (outcome == Deleted::Yes) as u64;
        ctx.out.integer(match outcome {
            Deleted::NotFound => -1,
            Deleted::Yes => 1,
            Deleted::Kept => 2,
        });
    }
    if deleted > 0 {
        found.add_changes(deleted);
        found.notify(EventClass::STREAM, "xdel");
    } else {
        found.add_untold_changes(forgotten);
    }
    Ok(Next::Done)
}

/// Deletes an entry. References to one that has gone already, that were removed, are counted.
fn delete(
    stream: &mut Stream,
    id: StreamId,
    references: References,
    forgotten: &mut u64,
) -> Deleted {
    // Without a group nobody has acknowledged anything, says Redis's documentation.
    if references == References::Acked && stream.groups().is_empty() {
        return match stream.entries().contains(id) {
            true => Deleted::Kept,
            false => Deleted::NotFound,
        };
    }
    let outcome = stream.delete(id, references);
    if outcome == Deleted::NotFound && references == References::Delete {
        let groups = stream.groups_mut().iter_mut();
        *forgotten += groups.map(|group| group.ack(id) as u64).sum::<u64>();
    }
    outcome
}

/// What XSETID sets besides the last id.
#[derive(Default)]
struct Figures {
    entries_added: Option<u64>,
    max_deleted_id: Option<StreamId>,
}

impl Figures {
    /// Reads all arguments that are left; `last` is the id to set.
    fn parse(args: &mut Args<'_>, last: StreamId) -> Result<Figures, CmdError> {
        const BELOW_GIVEN: CmdError = CmdError::text(
            "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
        );
        const NEGATIVE: CmdError = CmdError::text("ERR entries_added must be positive");
        let mut figures = Figures::default();
        while let Some(option) = args.option() {
            if is(option, "ENTRIESADDED") && !args.is_empty() {
                let added = u64::try_from(args.int()?).map_err(|_| NEGATIVE)?;
                figures.entries_added = Some(added);
            } else if is(option, "MAXDELETEDID") && !args.is_empty() {
                let deleted = strict_id(args.bytes()?, 0)?;
                if last < deleted {
                    return Err(BELOW_GIVEN);
                }
                figures.max_deleted_id = Some(deleted);
            } else {
                return Err(CmdError::Syntax);
            }
        }
        Ok(figures)
    }

    /// Refuses what would contradict the entries that are there.
    fn check(&self, last: StreamId, stream: &Stream) -> Result<(), CmdError> {
        const BELOW_TOP: CmdError = CmdError::text(
            "ERR The ID specified in XSETID is smaller than the target stream top item",
        );
        const BELOW_LEN: CmdError = CmdError::text(
            "ERR The entries_added specified in XSETID is smaller than the target stream length",
        );
        const BELOW_DELETED: CmdError = CmdError::text(
            "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
        );
        let entries = stream.entries();
        if last < entries.max_deleted_id() {
            return Err(BELOW_DELETED);
        }
        let top = entries.range_back(StreamId::MIN, StreamId::MAX).next();
        if top.is_some_and(|top| last < top.id) {
            return Err(BELOW_TOP);
        }
        if top.is_some()
            && self
                .entries_added
                .is_some_and(|added| added < entries.len())
        {
            return Err(BELOW_LEN);
        }
        Ok(())
    }
}

/// `XSETID key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]`
pub(super) fn xsetid(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let last = strict_id(ctx.args.bytes()?, 0)?;
    let figures = Figures::parse(&mut ctx.args, last)?;
    let found = typed_mut(&mut ctx.db, key, Type::Stream)?;
    let mut found = found.ok_or(CmdError::NoSuchKey)?;
    let mut slot = found.slot_mut();
    let stream = stream_mut(&mut slot).ok_or(CmdError::WrongType)?;
    figures.check(last, stream)?;
    let entries = stream.entries_mut();
    entries.set_last_id(last);
    if let Some(added) = figures.entries_added {
        entries.set_entries_added(added);
    }
    if let Some(deleted) = figures.max_deleted_id.filter(|&id| id != StreamId::MIN) {
        entries.set_max_deleted_id(deleted);
    }
    found.add_untold_changes(1);
    found.notify(EventClass::STREAM, "xsetid");
    ctx.out.ok();
    Ok(Next::Done)
}
