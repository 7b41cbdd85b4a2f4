//! BITFIELD and BITFIELD_RO: integers of any width, anywhere in a value.
//!
//! All operations are read before the first is done. A value grows once, to where the last bit lies
//! that any of them writes, also if that one fails; those that only read neither create nor grow it.

use smallvec::SmallVec;

use super::{Changing, checked_offset, is, value_to_change};
use crate::commands::{CmdResult, Ctx, Next, typed};
use crate::db::notice::EventClass;
use crate::ds::buf::Buf;
use crate::resp::parse::Argv;
use crate::resp::write::ReplyWriter;
use crate::spec::args::c_str;
use crate::spec::{Args, CmdError, KeyFlags};
use crate::util::num;
use crate::value::bitfield::{Field, Overflow};
use crate::value::{Type, string};

use super::{FETCH, FETCH_UPDATE, NOT_OFFSET};

/// What is done with a field.
#[derive(Clone, Copy)]
enum Action {
    Get,
    Set(i64),
    Incrby(i64),
}

/// One operation.
#[derive(Clone, Copy)]
struct Operation {
    field: Field,
    offset: u64,
    action: Action,
    overflow: Overflow,
}

/// All of a request.
struct Operations {
    all: SmallVec<[Operation; 4]>,
    /// Where the last bit is that one of them writes; `None` if all only read.
    last_written: Option<u64>,
}

/// What a request does with its key: without operations that write it only reads. What cannot be read
/// counts as writing.
pub(super) fn key_flags(argv: Argv<'_>) -> KeyFlags {
    let mut words = argv.iter().skip(2);
    while let Some(word) = words.next() {
        let behind = words.len();
        if is(word, "GET") && behind >= 2 {
            words.nth(1);
        } else if is(word, "OVERFLOW") && behind >= 1 {
            words.next();
        } else {
            return FETCH_UPDATE;
        }
    }
    FETCH
}

impl Operations {
    fn parse(args: &mut Args<'_>, bytes_max: u64) -> Result<Operations, CmdError> {
        let mut operations = Operations {
            all: SmallVec::new(),
            last_written: None,
        };
        let mut overflow = Overflow::default();
        while let Some(word) = args.option() {
            let behind = args.remaining();
            if is(word, "GET") && behind >= 2 {
                let (field, offset) = place(args, bytes_max)?;
                operations.all.push(Operation {
                    field,
                    offset,
                    action: Action::Get,
                    overflow,
                });
            } else if (is(word, "SET") || is(word, "INCRBY")) && behind >= 3 {
                let (field, offset) = place(args, bytes_max)?;
                let number = args.int()?;
                let action = match is(word, "SET") {
                    true => Action::Set(number),
                    false => Action::Incrby(number),
                };
                let last_bit = Some(offset + u64::from(field.width()) - 1);
                operations.last_written = operations.last_written.max(last_bit);
                operations.all.push(Operation {
                    field,
                    offset,
                    action,
                    overflow,
                });
            } else if is(word, "OVERFLOW") && behind >= 1 {
                overflow = self::overflow(args.bytes()?)?;
            } else {
                return Err(CmdError::Syntax);
            }
        }
        Ok(operations)
    }
}

fn overflow(word: &[u8]) -> Result<Overflow, CmdError> {
    const UNKNOWN: CmdError = CmdError::text("ERR Invalid OVERFLOW type specified");
    if is(word, "WRAP") {
        Ok(Overflow::Wrap)
    } else if is(word, "SAT") {
        Ok(Overflow::Sat)
    } else if is(word, "FAIL") {
        Ok(Overflow::Fail)
    } else {
        Err(UNKNOWN)
    }
}

/// The next two arguments: which field, and where it begins.
fn place(args: &mut Args<'_>, bytes_max: u64) -> Result<(Field, u64), CmdError> {
    const NO_FIELD: CmdError = CmdError::text(
        "ERR Invalid bitfield type. Use something like i16 u8. \
         Note that u64 is not supported but i64 is.",
    );
    let field = field(args.bytes()?).ok_or(NO_FIELD)?;
    let text = args.bytes()?;
    let offset = match text.strip_prefix(b"#") {
        None => num::parse_i64(text).ok_or(NOT_OFFSET)?,
        // So many fields on. Redis multiplies 64 bits by 64 and keeps 64, so do we.
        Some(text) => {
            let number = num::parse_i64(text).ok_or(NOT_OFFSET)?;
            number.wrapping_mul(field.width().into())
        }
    };
    Ok((field, checked_offset(offset, bytes_max)?))
}

/// `u8`, `i64`
fn field(text: &[u8]) -> Option<Field> {
    let (sign, width) = c_str(text).split_first()?;
    let signed = match sign {
        b'i' => true,
        b'u' => false,
        _ => return None,
    };
    Field::new(signed, num::parse_i64(width)?)
}

/// `BITFIELD key [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value |
/// INCRBY encoding offset increment> ...]`
pub(super) fn bitfield(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let bytes_max = ctx.value_bytes_max();
    let operations = Operations::parse(&mut ctx.args, bytes_max)?;
    let Some(last_bit) = operations.last_written else {
        return read(ctx, key, &operations.all);
    };
    let Changing {
        mut found,
        has_grown,
    } = value_to_change(&mut ctx.db, key, last_bit)?;
    ctx.out.array(operations.all.len());
    let mut slot = found.slot_mut();
    let bitmap = slot.bytes_mut();
    let mut changes = 0;
    for operation in &operations.all {
        changes += u64::from(run(operation, bitmap, has_grown, ctx.out));
    }
    if changes > 0 {
        found.add_changes(changes);
        found.notify(EventClass::STRING, "setbit");
    } else if has_grown {
        drop(found);
        // Redis counts no change, and a log that lacks it makes another keyspace.
        ctx.db.effects.force_propagation();
    }
    Ok(Next::Done)
}

/// Does one operation and answers it; whether it counts as a change. Whatever is written to a value
/// that has grown does.
fn run(operation: &Operation, bitmap: &mut [u8], has_grown: bool, out: &mut ReplyWriter) -> bool {
    let Operation {
        field,
        offset,
        action,
        overflow,
    } = *operation;
    let old = field.get(bitmap, offset);
    let (new, reply) = match action {
        Action::Get => {
            out.integer(old);
            return false;
        }
        Action::Set(value) => {
            let new = field.fitted(value, overflow);
            (new, old)
        }
        Action::Incrby(increment) => {
            let new = field.sum(old, increment, overflow);
            (new, new.unwrap_or_default())
        }
    };
    let Some(new) = new else {
        out.null();
        return false;
    };
    out.integer(reply);
    field.set(bitmap, offset, new);
    has_grown || new != old
}

/// `BITFIELD_RO key [GET encoding offset [GET encoding offset ...]]`
pub(super) fn bitfield_ro(ctx: &mut Ctx<'_>) -> CmdResult {
    const WRITES: CmdError = CmdError::text("ERR BITFIELD_RO only supports the GET subcommand");
    let key = ctx.args.bytes()?;
    let bytes_max = ctx.value_bytes_max();
    let operations = Operations::parse(&mut ctx.args, bytes_max)?;
    if operations.last_written.is_some() {
        return Err(WRITES);
    }
    read(ctx, key, &operations.all)
}

fn read(ctx: &mut Ctx<'_>, key: &[u8], operations: &[Operation]) -> CmdResult {
    let mut digits = itoa::Buffer::new();
    let bitmap = match typed(&mut ctx.db, key, Type::String)? {
        Some(entry) => string::bytes(entry.value(), &mut digits),
        None => &[],
    };
    ctx.out.array(operations.len());
    for operation in operations {
        ctx.out
            .integer(operation.field.get(bitmap, operation.offset));
    }
    Ok(Next::Done)
}
