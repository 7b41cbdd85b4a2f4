//! PFDEBUG: how a HyperLogLog is stored.

use super::{Form, RAW, checked, hll};
use crate::commands::{self, CmdResult, Ctx, Next, c_text, typed_mut};
use crate::db::KeyMut;
use crate::ds::hll::set_simd;
use crate::spec::CmdError;
use crate::value::Type;

const NO_KEY: CmdError = CmdError::text("ERR The specified key does not exist");
const NOT_SPARSE: CmdError = CmdError::text("ERR HLL encoding is not sparse");
const ON_OR_OFF: CmdError = CmdError::text("ERR Argument must be ON or OFF");

/// `PFDEBUG DECODE|ENCODING|GETREG|TODENSE key`, `PFDEBUG SIMD ON|OFF`
pub(super) fn pfdebug(ctx: &mut Ctx<'_>) -> CmdResult {
    let subcommand = ctx.args.bytes()?;
    let key = ctx.args.bytes()?;
    let is = |word: &str| commands::is(subcommand, word);
    if is("simd") {
        return simd(ctx, key);
    }
    let mut found = typed_mut(&mut ctx.db, key, Type::String)?.ok_or(NO_KEY)?;
    checked(found.entry().value())?;
    found.slot_mut().set_enc(RAW);
    let (bytes, form) = checked(found.entry().value())?;
    let mut has_changed = false;
    if is("getreg") {
        has_changed = make_dense(&mut found)?;
        let (bytes, _) = checked(found.entry().value())?;
        let registers = hll::registers(bytes);
        ctx.out.array(registers.len());
        for register in registers {
            ctx.out.integer(i64::from(register));
        }
    } else if is("decode") {
        match form {
            Form::Dense => return Err(NOT_SPARSE),
            Form::Sparse => ctx.out.bulk(hll::describe(bytes).as_bytes()),
        }
    } else if is("encoding") {
        ctx.out.simple(match form {
            Form::Dense => "dense",
            Form::Sparse => "sparse",
        });
    } else if is("todense") {
        has_changed = make_dense(&mut found)?;
        ctx.out.integer(i64::from(has_changed));
    } else {
        let text = [
            b"ERR Unknown PFDEBUG subcommand '",
            c_text(subcommand),
            b"'",
        ];
        return Err(CmdError::owned(text.concat()));
    }
    drop(found);
    // Logged, but as in Valkey nobody who watches the key is told: it means what it meant.
    ctx.db.effects.changes += u64::from(has_changed);
    Ok(Next::Done)
}

/// Makes a sparse value dense; false if it was.
fn make_dense(found: &mut KeyMut<'_>) -> Result<bool, CmdError> {
    let is_sparse = checked(found.entry().value())?.1 == Form::Sparse;
    if is_sparse {
        let mut value = found.slot_mut();
        hll::make_dense(&mut value)?;
    }
    Ok(is_sparse)
}

/// `PFDEBUG SIMD ON|OFF`
fn simd(ctx: &mut Ctx<'_>, word: &[u8]) -> CmdResult {
    let is = |known: &str| commands::is(word, known);
    let on = match (is("on"), is("off")) {
        (true, _) => true,
        (_, true) => false,
        _ => return Err(ON_OR_OFF),
    };
    set_simd(on);
    ctx.out.simple(if on { "enabled" } else { "disabled" });
    Ok(Next::Done)
}
