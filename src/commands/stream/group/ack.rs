//! XACK and XACKDEL: entries were processed.

use super::{Ids, counted_mut, strict_id};
use crate::commands::stream::references;
use crate::commands::{CmdResult, Ctx, Next};
use crate::db::notice::EventClass;
use crate::ds::stream::{Deleted, References, Stream};
use crate::value::stream::{StreamId, stream_mut};

/// `XACK key group id [id ...]`
pub(super) fn xack(ctx: &mut Ctx<'_>) -> CmdResult {
    let (key, name) = (ctx.args.bytes()?, ctx.args.bytes()?);
    let mut acked = 0;
    if let Some(mut found) = counted_mut(&mut ctx.db, key)? {
        let mut slot = found.slot_mut();
        let groups = stream_mut(&mut slot).map(Stream::groups_mut);
        if let Some(group) = groups.and_then(|groups| groups.get_mut(name)) {
            // All are read before the first one counts.
            let ids = ctx.args.rest();
            let ids = ids.iter().map(|id| strict_id(id, 0));
            let ids = ids.collect::<Result<Ids, _>>()?;
            acked = ids.into_iter().filter(|&id| group.ack(id)).count();
        }
        found.add_untold_changes(acked as u64);
    }
    ctx.out.integer(acked as i64);
    Ok(Next::Done)
}

/// What XACKDEL answers for an id.
#[derive(Clone, Copy)]
enum Outcome {
    /// It was not pending in the group.
    NotPending = -1,
    /// It is no longer pending, and its entry is gone.
    Deleted = 1,
    /// It is no longer pending, but somebody else needs its entry.
    Kept = 2,
}

/// `XACKDEL key group [KEEPREF | DELREF | ACKED] IDS numids id [id ...]`
pub(super) fn xackdel(ctx: &mut Ctx<'_>) -> CmdResult {
    let (key, name) = (ctx.args.bytes()?, ctx.args.bytes()?);
    let found = counted_mut(&mut ctx.db, key)?;
    let (references, ids) = references::ids(&mut ctx.args)?;
    ctx.out.array(ids.len());
    let Some(mut found) = found else {
        ids.iter().for_each(|_| ctx.out.integer(-1));
        return Ok(Next::Done);
    };
    let (mut acked, mut deleted) = (0, 0);
    let mut slot = found.slot_mut();
    if let Some(stream) = stream_mut(&mut slot) {
        for &id in &ids {
            let (outcome, is_gone) = ack_and_delete(stream, name, id, references);
            acked += !matches!(outcome, Outcome::NotPending) as u64;
            deleted += is_gone as u64;
            ctx.out.integer(outcome as i64);
        }
    }
    match deleted {
        0 => found.add_untold_changes(acked),
        _ => {
            found.add_changes(acked);
            found.notify(EventClass::STREAM, "xdel");
        }
    }
    Ok(Next::Done)
}

/// Takes an id out of what is pending in a group, then its entry out of the stream; whether that one
/// was still there, besides.
fn ack_and_delete(
    stream: &mut Stream,
    group: &[u8],
    id: StreamId,
    references: References,
) -> (Outcome, bool) {
    let group = stream.groups_mut().get_mut(group);
    if !group.is_some_and(|group| group.ack(id)) {
        return (Outcome::NotPending, false);
    }
    match stream.delete(id, references) {
        Deleted::Yes => (Outcome::Deleted, true),
        Deleted::Kept => (Outcome::Kept, false),
        Deleted::NotFound => {
            if references == References::Delete {
                stream.groups_mut().iter_mut().for_each(|group| {
                    group.ack(id);
                });
            }
            (Outcome::Deleted, false)
        }
    }
}
