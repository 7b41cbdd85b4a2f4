//! BITCOUNT and BITPOS: a value, or a range of it in bytes or bits.

use std::ops::Range;

use super::is;
use crate::commands::{CmdResult, Ctx, Next, typed};
use crate::ds::bits;
use crate::spec::{Args, CmdError};
use crate::util::num;
use crate::value::{Type, string};

/// What part of a value is looked at.
#[derive(Clone, Copy)]
struct Part {
    start: i64,
    /// The last one; `None` if it was not given.
    end: Option<i64>,
    in_bits: bool,
}

impl Part {
    /// The arguments behind all others; `None` if there are none.
    fn parse(args: &mut Args<'_>) -> Result<Option<Part>, CmdError> {
        if args.is_empty() {
            return Ok(None);
        }
        if args.remaining() > 3 {
            return Err(CmdError::Syntax);
        }
        let start = args.int()?;
        let end = args.option();
        // The unit is looked at before the end.
        let in_bits = args.option().map(unit_is_bit).transpose()?;
        let end = end.map(|end| num::parse_i64(end).ok_or(CmdError::NotInteger));
        let part = Part {
            start,
            end: end.transpose()?,
            in_bits: in_bits.unwrap_or_default(),
        };
        Ok(Some(part))
    }

    /// The bits that it is of a value of `len` bytes. What lies outside of the value is cut off.
    fn bits(self, len: usize) -> Range<u64> {
        let unit_bits = if self.in_bits { 1 } else { 8 };
        let units = len as u64 * 8 / unit_bits;
        let from_start = |at: i64| match u64::try_from(at) {
            Ok(at) => at,
            Err(_) => units.saturating_sub(at.unsigned_abs()),
        };
        let end = self
            .end
            .map_or(units, |end| from_start(end).saturating_add(1));
        let start = from_start(self.start);
        start.min(units) * unit_bits..end.min(units) * unit_bits
    }
}

/// Whether positions are those of bits, not of bytes.
fn unit_is_bit(word: &[u8]) -> Result<bool, CmdError> {
    match is(word, "BIT") {
        false if !is(word, "BYTE") => Err(CmdError::Syntax),
        is_bit => Ok(is_bit),
    }
}

/// `BITCOUNT key [start [end [BYTE | BIT]]]`
pub(super) fn bitcount(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let part = Part::parse(&mut ctx.args)?;
    let mut count = 0;
    if let Some(entry) = typed(&mut ctx.db, key, Type::String)? {
        let mut digits = itoa::Buffer::new();
        let bytes = string::bytes(entry.value(), &mut digits);
        count = match part {
            None => bits::count(bytes),
            // Both are cut off to the first one, which would make a reversed pair look like it.
            Some(Part {
                start,
                end: Some(end),
                ..
            }) if end < start && start < 0 => 0,
            Some(part) => bits::count_in(bytes, part.bits(bytes.len())),
        };
    }
    ctx.out.integer(count as i64);
    Ok(Next::Done)
}

/// `BITPOS key bit [start [end [BYTE | BIT]]]`
pub(super) fn bitpos(ctx: &mut Ctx<'_>) -> CmdResult {
    const NOT_BIT: CmdError = CmdError::text("ERR The bit argument must be 1 or 0.");
    let key = ctx.args.bytes()?;
    let bit = match ctx.args.int()? {
        0 => false,
        1 => true,
        _ => return Err(NOT_BIT),
    };
    let part = Part::parse(&mut ctx.args)?;
    let position = match typed(&mut ctx.db, key, Type::String)? {
        // A key that is not there has zeros wherever one looks.
        None => (!bit).then_some(0),
        Some(entry) => {
            let mut digits = itoa::Buffer::new();
            let bytes = string::bytes(entry.value(), &mut digits);
            position(bytes, bit, part)
        }
    };
    ctx.out.integer(position.map_or(-1, |at| at as i64));
    Ok(Next::Done)
}

fn position(bytes: &[u8], bit: bool, part: Option<Part>) -> Option<u64> {
    let all = bytes.len() as u64 * 8;
    let range = part.map_or(0..all, |part| part.bits(bytes.len()));
    if range.is_empty() {
        return None;
    }
    let found = match range {
        Range { start: 0, end } if end == all => bits::find(bytes, bit),
        range => bits::find_in(bytes, bit, range),
    };
    // Zeros go on behind the value, unless it was said where to stop.
    let goes_on = !bit && part.is_none_or(|part| part.end.is_none());
    found.or_else(|| goes_on.then_some(all))
}
