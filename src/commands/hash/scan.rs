//! HSCAN: the fields of a hash a few at a time; of a short one all at once.

use super::{find, reply};
use crate::commands::scan::{Options, parse_cursor, reply_step};
use crate::commands::{CmdResult, Ctx, Next};
use crate::spec::CmdError;
use crate::value::Type;
use crate::value::hash::text;

/// `HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]`
pub(super) fn hscan(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let cursor = parse_cursor(ctx.args.bytes()?).ok_or(CmdError::InvalidCursor)?;
    let Ctx { args, db, out, .. } = ctx;
    // The key is looked at before the options: without one they are not even read.
    let Some(hash) = find(db, key)? else {
        reply_step(out, |_| (0, 0));
        return Ok(Next::Done);
    };
    let options = Options::parse(args, Some(Type::Hash))?;
    reply_step(out, |fields| {
        let mut len = 0;
        let next = hash.scan(cursor, options.count, |(field, value)| {
            if !options.matches(&text(field)) {
                return;
            }
            reply(fields, field);
            len += 1;
            if !options.only_names {
                reply(fields, value);
                len += 1;
            }
        });
        (next, len)
    });
    Ok(Next::Done)
}
