//! `cjson.encode`.

use std::cell::Cell;

use smallvec::SmallVec;

use super::{
    ENCODE_DEPTH_MAX, ENCODE_INVALID, INVALID_NULL, INVALID_ON, PRECISION, SPARSE_CONVERT,
    SPARSE_RATIO, SPARSE_SAFE, TEXT_BYTES_MAX,
};
use crate::sys::lua::{Cells, Kind, Raise, Stack};
use crate::util::c_num::fmt_g;
use crate::util::num::fmt_i64;

/// Room for texts that is kept for the next one, bytes.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// So much may be written between two looks at the limits.
const STEP_BYTES: usize = 64 << 10;

thread_local! {
    /// Room for the next text.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// `cjson.encode(value)`
pub(super) fn encode(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    if stack.top() != 1 {
        return Err(stack.argument_error(1, "expected 1 argument"));
    }
    let mut encoder = Encoder {
        settings: super::settings(stack),
        out: ROOM.take(),
        open: SmallVec::new(),
        look_at: STEP_BYTES,
    };
    encoder.out.clear();
    let done = encoder.value(stack);
    if done.is_ok() {
        stack.push_string(&encoder.out);
    }
    if encoder.out.capacity() <= KEPT_BYTES_MAX {
        ROOM.set(encoder.out);
    }
    done.map(|()| 1)
}

/// A table that is being written; it is on Lua's stack.
enum Open {
    /// Below its value that is being written.
    Array { at: i32, len: i32 },
    /// Below the key and the value that are being written.
    Object { is_empty: bool },
}

struct Encoder {
    settings: Cells,
    out: Vec<u8>,
    open: SmallVec<[Open; 16]>,
    /// With so much written the limits are looked at.
    look_at: usize,
}

impl Encoder {
    /// Writes the value on top of the stack.
    fn value(&mut self, stack: &mut Stack<'_>) -> Result<(), Raise> {
        loop {
            self.begin(stack)?;
            if self.out.len() >= self.look_at {
                self.check_size(stack)?;
            }
            // Until there is another value on top.
            loop {
                let Some(open) = self.open.last_mut() else {
                    return Ok(());
                };
                let has_more = match open {
                    Open::Array { at, len } => {
                        if *at > 0 {
                            stack.pop(1);
                        }
                        let has_more = *at < *len;
                        if has_more {
                            if *at > 0 {
                                self.out.push(b',');
                            }
                            *at += 1;
                            stack.raw_get_index(-1, *at);
                        }
                        has_more
                    }
                    Open::Object { .. } => self.member(stack)?,
                };
                if has_more {
                    break;
                }
                self.out.push(match self.open.pop() {
                    Some(Open::Array { .. }) => b']',
                    _ => b'}',
                });
            }
        }
    }

    /// Writes the value on top, or the beginning of a table.
    #[inline]
    fn begin(&mut self, stack: &mut Stack<'_>) -> Result<(), Raise> {
        match stack.kind(-1) {
            Kind::String => self.string(stack, -1),
            Kind::Number => self.number(stack, -1),
            Kind::Boolean => {
                let text: &[u8] = if stack.is_true(-1) { b"true" } else { b"false" };
                self.out.extend_from_slice(text);
                Ok(())
            }
            Kind::Table => self.table(stack),
            // There is one light userdata only.
            Kind::Nil | Kind::Light => {
                self.out.extend_from_slice(b"null");
                Ok(())
            }
            _ => Err(refuse(stack, -1, "type not supported")),
        }
    }

    fn table(&mut self, stack: &mut Stack<'_>) -> Result<(), Raise> {
        let depth = self.open.len() + 1;
        if depth > self.settings[ENCODE_DEPTH_MAX] as usize || !stack.has_room(3) {
            // The error needs room itself.
            stack.set_top(1);
            let text = format!("Cannot serialise, excessive nesting ({depth})");
            return Err(stack.error(text));
        }
        let (begin, open) = match self.array_len(stack)? {
            len @ 1.. => (b'[', Open::Array { at: 0, len }),
            _ => {
                stack.push_nil();
                (b'{', Open::Object { is_empty: true })
            }
        };
        self.out.push(begin);
        self.open.push(open);
        Ok(())
    }

    /// The length of the table on top if it is an array, else something that is not positive.
    fn array_len(&mut self, stack: &mut Stack<'_>) -> Result<i32, Raise> {
        let (mut max, mut items) = (0i32, 0i32);
        let is_array = stack.number_keys(-1, |key| {
            let fits = key >= 1.0 && key.floor() == key;
            if fits && key > f64::from(max) {
                // What C makes of a number that is too large.
                max = match key <= f64::from(i32::MAX) {
                    true => key as i32,
                    false => i32::MIN,
                };
            }
            items = items.wrapping_add(1);
            fits
        });
        if !is_array {
            return Ok(-1);
        }
        let ratio = self.settings[SPARSE_RATIO];
        if ratio > 0 && max > items.wrapping_mul(ratio) && max > self.settings[SPARSE_SAFE] {
            if self.settings[SPARSE_CONVERT] == 0 {
                return Err(refuse(stack, -1, "excessively sparse array"));
            }
            return Ok(-1);
        }
        Ok(max)
    }

    /// Takes the value of the last member off the stack and puts that of the next one there, whose key is
    /// written. False if there is none.
    #[inline]
    fn member(&mut self, stack: &mut Stack<'_>) -> Result<bool, Raise> {
        let is_first = match self.open.last_mut() {
            Some(Open::Object { is_empty }) => std::mem::replace(is_empty, false),
            _ => false,
        };
        if !is_first {
            stack.pop(1);
        }
        if !stack.next(-2)? {
            return Ok(false);
        }
        if !is_first {
            self.out.push(b',');
        }
        match stack.kind(-2) {
            Kind::String => {
                self.string(stack, -2)?;
                self.out.push(b':');
            }
            Kind::Number => {
                self.out.push(b'"');
                self.number(stack, -2)?;
                self.out.extend_from_slice(b"\":");
            }
            _ => return Err(refuse(stack, -2, "table key must be a number or string")),
        }
        Ok(true)
    }

    #[inline]
    fn number(&mut self, stack: &mut Stack<'_>, index: i32) -> Result<(), Raise> {
        const WHOLE_MAX: f64 = (1u64 << 53) as f64;
        let number = stack.number(index).unwrap_or_default();
        let precision = self.settings[PRECISION];
        // Written at once: a whole number that has not too many digits, and is not -0.
        if number.abs() < WHOLE_MAX {
            let whole = number as i64;
            let fits = precision >= 14 && whole.unsigned_abs() < 100_000_000_000_000;
            if fits && whole as f64 == number && (whole != 0 || number.is_sign_positive()) {
                fmt_i64(whole, &mut self.out);
                return Ok(());
            }
        } else if !number.is_finite() {
            let is_null = self.settings[ENCODE_INVALID] == INVALID_NULL;
            let text = match number {
                _ if is_null => "null",
                _ if self.settings[ENCODE_INVALID] != INVALID_ON => {
                    return Err(refuse(stack, index, "must not be NaN or Inf"));
                }
                _ if number.is_nan() => "nan",
                _ if number < 0.0 => "-inf",
                _ => "inf",
            };
            self.out.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        fmt_g(number, precision as usize, &mut self.out);
        Ok(())
    }

    #[inline]
    fn string(&mut self, stack: &mut Stack<'_>, index: i32) -> Result<(), Raise> {
        let bytes = stack.string(index).unwrap_or_default();
        if bytes.len() <= STEP_BYTES {
            escape(bytes, &mut self.out);
            return Ok(());
        }
        let done = stack.with_string(index, |stack, bytes| {
            self.out.push(b'"');
            for part in bytes.chunks(STEP_BYTES) {
                escape_part(part, &mut self.out);
                self.check_size(stack)?;
            }
            self.out.push(b'"');
            Ok(())
        });
        done.unwrap_or(Ok(()))
    }

    /// An error if the text has become too long, or the script shall end.
    #[cold]
    fn check_size(&mut self, stack: &mut Stack<'_>) -> Result<(), Raise> {
        let len = self.out.len();
        stack.spend(STEP_BYTES)?;
        self.look_at = len + STEP_BYTES;
        // More than any interpreter may have.
        stack.allow(if len > TEXT_BYTES_MAX {
            usize::MAX
        } else {
            len
        })
    }
}

/// Why a value cannot be written.
#[cold]
fn refuse(stack: &mut Stack<'_>, index: i32, reason: &str) -> Raise {
    let kind = stack.kind(index).name();
    stack.error(format!("Cannot serialise {kind}: {reason}"))
}

/// Writes a string with its quotes.
#[inline]
fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    escape_part(bytes, out);
    out.push(b'"');
}

fn escape_part(mut bytes: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = plain_len(bytes) {
        out.extend_from_slice(&bytes[..at]);
        push_escape(bytes[at], out);
        bytes = &bytes[at + 1..];
    }
    out.extend_from_slice(bytes);
}

/// Where the first byte is that has an escape.
#[inline]
fn plain_len(bytes: &[u8]) -> Option<usize> {
    const LANES: usize = 16;
    let mut at = 0;
    // Without a branch in it, so that it becomes a few instructions for all lanes.
    for lanes in bytes.chunks_exact(LANES) {
        let found = lanes
            .iter()
            .fold(false, |found, &byte| found | has_escape(byte));
        if found {
            break;
        }
        at += LANES;
    }
    let rest = bytes[at..].iter().position(|&byte| has_escape(byte))?;
    Some(at + rest)
}

#[inline]
fn has_escape(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\') | (byte == b'/') | (byte == 0x7f)
}

fn push_escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' | b'/' => byte,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
            return;
        }
    };
    out.push(b'\\');
    out.push(short);
}
