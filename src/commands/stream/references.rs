//! What becomes of pending entries when their entries are deleted: the words KEEPREF, DELREF and
//! ACKED, which Redis 8.2 added, and the list of ids behind IDS.

use smallvec::SmallVec;

use super::{is, strict_id};
use crate::ds::stream::References;
use crate::spec::args::c_str;
use crate::spec::{Args, CmdError};
use crate::value::stream::StreamId;

/// The policy that a word names.
pub(super) fn policy(word: &[u8]) -> Option<References> {
    let word = c_str(word);
    let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
    if is(b"KEEPREF") {
        Some(References::Keep)
    } else if is(b"DELREF") {
        Some(References::Delete)
    } else if is(b"ACKED") {
        Some(References::Acked)
    } else {
        None
    }
}

/// `[KEEPREF | DELREF | ACKED] IDS numids id [id ...]`: reads all arguments that are left.
pub(super) fn ids(args: &mut Args<'_>) -> Result<(References, SmallVec<[StreamId; 8]>), CmdError> {
    const NOT_POSITIVE: CmdError = CmdError::text("ERR Number of IDs must be a positive integer");
    const NOT_THERE: CmdError =
        CmdError::text("ERR The `numids` parameter must match the number of arguments");
    let (mut references, mut ids) = (None, SmallVec::new());
    while let Some(word) = args.option() {
        if let Some(policy) = policy(word) {
            if references.replace(policy).is_some() {
                return Err(CmdError::Syntax);
            }
        } else if is(word, "IDS") && ids.is_empty() {
            let count = match args.int().map_err(|_| NOT_POSITIVE)? {
                count @ 1.. => usize::try_from(count).unwrap_or(usize::MAX),
                _ => return Err(NOT_POSITIVE),
            };
            let words = args.many(count).map_err(|_| NOT_THERE)?;
            for word in words.iter() {
                ids.push(strict_id(word, 0)?);
            }
        } else {
            return Err(CmdError::Syntax);
        }
    }
    match ids.is_empty() {
        true => Err(CmdError::Syntax),
        false => Ok((references.unwrap_or_default(), ids)),
    }
}
