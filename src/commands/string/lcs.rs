//! LCS: the longest common subsequence of two values.

use std::sync::Arc;

use super::string_value;
use crate::commands::{CmdResult, Ctx, Next};
use crate::db::{Access, Lookup};
use crate::ds::entry::ValueRef;
use crate::resp::write::ReplyWriter;
use crate::spec::CmdError;
use crate::value::string::lcs::{self, Lcs, Refused};
use crate::value::string::{self, OutOfMemory};

const NO_STRINGS: CmdError = CmdError::text("ERR The specified keys must contain string values");
const LEN_AND_IDX: CmdError =
    CmdError::text("ERR If you want both the length and indexes, please just use IDX.");
const TOO_LONG: CmdError = CmdError::text("ERR String too long for LCS");
const OVER_LIMIT: CmdError =
    CmdError::text("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
const NO_MEMORY: CmdError =
    CmdError::text("ERR Insufficient memory, failed allocating transient memory for LCS");

#[derive(Default)]
struct Options {
    len: bool,
    idx: bool,
    with_match_len: bool,
    match_len_min: usize,
}

pub(super) fn lcs(ctx: &mut Ctx<'_>) -> CmdResult {
    let (a_key, b_key) = (ctx.args.bytes()?, ctx.args.bytes()?);
    let (a, b) = (text(&mut ctx.db, a_key), text(&mut ctx.db, b_key));
    let (a, b) = (a.ok_or(NO_STRINGS)?, b.ok_or(NO_STRINGS)?);
    let options = Options::parse(ctx)?;
    lcs::admit(a.len(), b.len(), ctx.config.proto_max_bulk_len).map_err(
        |refused| match refused {
            Refused::TooLong => TOO_LONG,
            Refused::OverLimit => OVER_LIMIT,
        },
    )?;
    let no_memory = |_: OutOfMemory| NO_MEMORY;
    if options.len {
        ctx.out.integer(lcs::len(&a, &b).map_err(no_memory)? as i64);
        return Ok(Next::Done);
    }
    let lcs = Lcs::new(&a, &b).map_err(no_memory)?;
    if options.idx {
        reply_matches(ctx.out, &lcs, &options);
    } else {
        ctx.out.bulk(&lcs.text());
    }
    Ok(Next::Done)
}

impl Options {
    fn parse(ctx: &mut Ctx<'_>) -> Result<Options, CmdError> {
        let mut options = Options::default();
        while !ctx.args.is_empty() {
            if ctx.args.take("LEN") {
                options.len = true;
            } else if ctx.args.take("IDX") {
                options.idx = true;
            } else if ctx.args.take("WITHMATCHLEN") {
                options.with_match_len = true;
            } else if ctx.args.take("MINMATCHLEN") {
                let least = ctx.args.int()?.max(0);
                options.match_len_min = usize::try_from(least).unwrap_or(usize::MAX);
            } else {
                return Err(CmdError::Syntax);
            }
        }
        if options.len && options.idx {
            return Err(LEN_AND_IDX);
        }
        Ok(options)
    }
}

fn reply_matches(out: &mut ReplyWriter, lcs: &Lcs<'_>, options: &Options) {
    out.map(2);
    out.bulk(b"matches");
    let matches = out.deferred_array();
    let mut count = 0;
    for found in lcs.matches() {
        if found.len < options.match_len_min {
            continue;
        }
        count += 1;
        out.array(if options.with_match_len { 3 } else { 2 });
        for start in [found.a_start, found.b_start] {
            out.array(2);
            out.integer(start as i64);
            out.integer((start + found.len - 1) as i64);
        }
        if options.with_match_len {
            out.integer(found.len as i64);
        }
    }
    out.set_deferred(matches, count);
    out.bulk(b"len");
    out.integer(lcs.len() as i64);
}

/// The value of a key, empty if it is not there; `None` if it is no string. Held apart from its
/// entry, since only one entry can be looked at at a time.
fn text(db: &mut Access<'_>, key: &[u8]) -> Option<Arc<Vec<u8>>> {
    let Some(entry) = db.find(key, Lookup::Read) else {
        return Some(Arc::default());
    };
    Some(match string_value(entry).ok()? {
        ValueRef::Shared(shared) => shared.clone(),
        value => {
            let mut digits = itoa::Buffer::new();
            Arc::new(string::bytes(value, &mut digits).to_vec())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resp3_has_a_map() {
        let mut out = ReplyWriter::new();
        out.set_resp3(true);
        let lcs = Lcs::new(b"ohmytext", b"mynewtext").unwrap();
        let options = Options {
            with_match_len: true,
            match_len_min: 3,
            ..Options::default()
        };
        reply_matches(&mut out, &lcs, &options);
        let expected = "%2 $7 matches *1 *3 *2 :4 :7 *2 :5 :8 :4 $3 len :6 ";
        assert_eq!(out.to_vec(), expected.replace(' ', "\r\n").into_bytes());
    }
}
