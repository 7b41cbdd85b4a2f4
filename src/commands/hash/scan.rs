//! HSCAN: the fields of a hash a few at a time; of a short one all at once.

use super::{find, reply};
use crate::commands::scan::{COUNT_DEFAULT, matches, parse_cursor};
use crate::commands::{CmdResult, Ctx, Next};
use crate::resp::write::ReplyWriter;
use crate::spec::args::c_str;
use crate::spec::{Args, CmdError};
use crate::value::hash::text;

/// What follows the cursor.
struct Options<'a> {
    pattern: Option<&'a [u8]>,
    count: usize,
    values: bool,
}

impl<'a> Options<'a> {
    fn parse(args: &mut Args<'a>) -> Result<Options<'a>, CmdError> {
        let mut options = Options {
            pattern: None,
            count: COUNT_DEFAULT,
            values: true,
        };
        while let Some(option) = args.option() {
            let option = c_str(option);
            let has_value = !args.is_empty();
            if has_value && option.eq_ignore_ascii_case(b"COUNT") {
                let count = args.int_in(1, i64::MAX, CmdError::Syntax)?;
                options.count = usize::try_from(count).unwrap_or(usize::MAX);
            } else if has_value && option.eq_ignore_ascii_case(b"MATCH") {
                options.pattern = Some(args.bytes()?);
            } else if option.eq_ignore_ascii_case(b"NOVALUES") {
                options.values = false;
            } else if option.eq_ignore_ascii_case(b"NOSCORES") {
                return Err(CmdError::text(
                    "ERR NOSCORES option can only be used in ZSCAN",
                ));
            } else {
                return Err(CmdError::Syntax);
            }
        }
        Ok(options)
    }
}

/// HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]
pub(super) fn hscan(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let cursor = parse_cursor(ctx.args.bytes()?).ok_or(CmdError::InvalidCursor)?;
    // The key is looked at before the options: without one they are not even read.
    let Some(hash) = find(&mut ctx.db, key)? else {
        ctx.out.array(2);
        ctx.out.bulk(b"0");
        ctx.out.array(0);
        return Ok(Next::Done);
    };
    let options = Options::parse(&mut ctx.args)?;
    // The next cursor precedes the fields in the reply, but is known only after them.
    let mut fields = ReplyWriter::new();
    let array = fields.deferred_array();
    let mut len = 0;
    let next = hash.scan(cursor, options.count, |(field, value)| {
        let accepted = options
            .pattern
            .is_none_or(|pattern| matches(pattern, &text(field)));
        if accepted {
            reply(&mut fields, field);
            len += 1;
            if options.values {
                reply(&mut fields, value);
                len += 1;
            }
        }
    });
    fields.set_deferred(array, len);
    ctx.out.array(2);
    ctx.out.bulk(itoa::Buffer::new().format(next).as_bytes());
    ctx.out.append(&mut fields);
    Ok(Next::Done)
}
