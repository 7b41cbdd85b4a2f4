//! XADD.

use super::{INVALID_ID, reply_id, trim};
use crate::commands::{CmdResult, Ctx, Next, typed_mut, typed_or_create_with};
use crate::db::notice::EventClass;
use crate::ds::stream::Stream;
use crate::resp::parse::Argv;
use crate::spec::CmdError;
use crate::value::Type;
use crate::value::stream::{self, IdText, NewId, StreamId};

/// Most bytes that an entry's fields and values may have together: those of a node of Redis's.
const ENTRY_BYTES_MAX: usize = 1 << 30;

const ZERO: CmdError = CmdError::text("ERR The ID specified in XADD must be greater than 0-0");
const EXHAUSTED: CmdError =
    CmdError::text("ERR The stream has exhausted the last possible ID, unable to add more items");
const NOT_ABOVE: CmdError = CmdError::text(
    "ERR The ID specified in XADD is equal or smaller than the target stream top item",
);
const TOO_LARGE: CmdError = CmdError::text("ERR Elements are too large to be stored");

/// What XADD is asked for.
struct Request {
    options: trim::Options,
    id: NewId,
    /// Where the id stands; fields follow.
    id_at: usize,
}

impl Request {
    #[inline]
    fn parse(argv: Argv<'_>) -> Result<Request, CmdError> {
        let mut options = trim::Options::default();
        let mut at = 2;
        let id = loop {
            let Some(arg) = argv.get(at) else {
                // Options only.
                break None;
            };
            // No option begins like an id.
            if !matches!(arg.first(), Some(b'*' | b'0'..=b'9')) {
                if super::is(arg, "NOMKSTREAM") {
                    options.only_old = true;
                    at += 1;
                    continue;
                }
                if let Some(next) = options.take(argv, at)? {
                    at = next;
                    continue;
                }
            }
            break Some(NewId::parse(arg).ok_or(INVALID_ID)?);
        };
        Ok(Request {
            options,
            id: id.unwrap_or(NewId::Now),
            id_at: at,
        })
    }
}

/// `XADD key [NOMKSTREAM] [KEEPREF | DELREF | ACKED] [<MAXLEN | MINID> [= | ~] threshold
/// [LIMIT count]] <* | id> field value [field value ...]`
pub(super) fn xadd(ctx: &mut Ctx<'_>) -> CmdResult {
    let argv = ctx.args.argv();
    let key = ctx.args.bytes()?;
    let Request { options, id, id_at } = Request::parse(argv)?;
    let trimming = options.finish(ctx.config, ctx.db.is_replaying())?;
    let references = options.references.unwrap_or_default();
    let fields = argv.from(id_at + 1).iter();
    if fields.len() < 2 || !fields.len().is_multiple_of(2) {
        return Err(CmdError::WrongArity(ctx.command.full_name.clone().into()));
    }
    if id == NewId::Is(StreamId::MIN) {
        return Err(ZERO);
    }
    if fields.clone().map(<[u8]>::len).sum::<usize>() > ENTRY_BYTES_MAX {
        return Err(TOO_LARGE);
    }
    let limits = ctx.config.stream_limits();
    let now_ms = ctx.clock_ms();
    let mut found = if options.only_old {
        let Some(found) = typed_mut(&mut ctx.db, key, Type::Stream)? else {
            ctx.out.null();
            return Ok(Next::Done);
        };
        found
    } else {
        typed_or_create_with(&mut ctx.db, key, Type::Stream, || {
            stream::new_value(Stream::new())
        })?
    };
    let mut slot = found.slot_mut();
    let stream = stream::stream_mut(&mut slot).ok_or(CmdError::WrongType)?;
    let last = stream.entries().last_id();
    if last == StreamId::MAX {
        return Err(EXHAUSTED);
    }
    let added = id.after(last, now_ms).ok_or(NOT_ABOVE)?;
    stream.entries_mut().append(added, fields, &limits);
    let (mut trimmed, mut logged_trim) = (0, None);
    if let Some(trimming) = trimming {
        trimmed = stream.trim(trimming.trim, references);
        logged_trim = trimming.logged_as(stream.entries(), references);
    }
    found.add_changes(1);
    found.notify(EventClass::STREAM, "xadd");
    if trimmed > 0 {
        found.notify(EventClass::STREAM, "xtrim");
    }
    found.signal_ready();
    drop(found);
    if ctx.db.is_logged() && (logged_trim.is_some() || !matches!(id, NewId::Is(_))) {
        let text = IdText::new(added);
        let args = argv.iter().enumerate().map(|(at, arg)| match at {
            _ if at == id_at && !matches!(id, NewId::Is(_)) => text.as_bytes(),
            _ => match &logged_trim {
                Some(logged) => logged.arg(at).unwrap_or(arg),
                None => arg,
            },
        });
        ctx.db.propagate_as(args);
    }
    reply_id(ctx.out, added);
    Ok(Next::Done)
}
