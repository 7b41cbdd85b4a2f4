//! BITOP: values put together bit by bit.

use std::sync::Arc;

use smallvec::SmallVec;

use super::is;
use crate::commands::{CmdResult, Ctx, Next};
use crate::db::notice::EventClass;
use crate::db::{Access, Expire, Lookup};
use crate::ds::bits::{self, Op};
use crate::ds::entry::{NewValue, SHARED_MIN};
use crate::resp::parse::Argv;
use crate::spec::CmdError;
use crate::value::string::{self, OutOfMemory};
use crate::value::{Encoding, Type};

/// Several values: few on the stack.
type Sources<T> = SmallVec<[T; 8]>;

/// The operations, by the words that a client sends.
const OPS: [(&str, Op); 8] = [
    ("AND", Op::And),
    ("OR", Op::Or),
    ("XOR", Op::Xor),
    ("NOT", Op::Not),
    ("DIFF", Op::Diff),
    ("DIFF1", Op::Diff1),
    ("ANDOR", Op::AndOr),
    ("ONE", Op::One),
];

/// `BITOP <AND | OR | XOR | NOT | DIFF | DIFF1 | ANDOR | ONE> destkey key [key ...]`
pub(super) fn bitop(ctx: &mut Ctx<'_>) -> CmdResult {
    const NOT_ONE: CmdError =
        CmdError::text("ERR BITOP NOT must be called with a single source key.");
    let word = ctx.args.bytes()?;
    let known = OPS.iter().find(|(name, _)| is(word, name));
    let &(name, op) = known.ok_or(CmdError::Syntax)?;
    let destination = ctx.args.bytes()?;
    let keys = ctx.args.rest();
    match op {
        Op::Not if keys.len() != 1 => return Err(NOT_ONE),
        Op::Diff | Op::Diff1 | Op::AndOr if keys.len() < 2 => {
            return Err(CmdError::owned(format!(
                "ERR BITOP {name} must be called with at least two source keys."
            )));
        }
        _ => {}
    }
    let result = result(&mut ctx.db, op, keys)?;
    let len = result.len();
    store(&mut ctx.db, destination, result);
    ctx.out.integer(len as i64);
    Ok(Next::Done)
}

/// It is whole before the destination is written, which may be one of the sources.
fn result(db: &mut Access<'_>, op: Op, keys: Argv<'_>) -> Result<Vec<u8>, CmdError> {
    let found = db.find_all(keys.iter(), Lookup::Read, &[Type::String])?;
    // Integers are printed where they stay until the end.
    let mut digits: Sources<itoa::Buffer> = SmallVec::new();
    digits.resize_with(found.len(), itoa::Buffer::new);
    let texts = found.iter().zip(&mut digits);
    let sources: Sources<&[u8]> = texts
        .map(|(entry, digits)| match entry {
            Some(entry) => string::bytes(entry.value(), digits),
            None => &[],
        })
        .collect();
    let mut result = Vec::new();
    bits::combine(op, &sources, &mut result).map_err(OutOfMemory::from)?;
    Ok(result)
}

fn store(db: &mut Access<'_>, destination: &[u8], result: Vec<u8>) {
    if result.is_empty() {
        db.remove(destination);
        return;
    }
    let (type_, enc) = (Type::String as u8, Encoding::Raw as u8);
    match result.len() {
        SHARED_MIN.. => {
            let value = NewValue::Shared(Arc::new(result));
            db.set(destination, type_, enc, value, Expire::Never);
        }
        _ => {
            let value = NewValue::Bytes(&result);
            db.set(destination, type_, enc, value, Expire::Never);
        }
    }
    db.notify(EventClass::STRING, "set", destination);
}
