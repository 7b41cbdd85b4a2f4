//! `struct`: packed binary data, as Roberto Ierusalimschy's library 0.2 has it.
//!
//! A format is a C string of options: `b` `B` `h` `H` `l` `L` `i`n `I`n (integers of 1, 2, 8 and n bytes, signed
//! and not), `f` `d` (floats), `x` (a byte of padding), `c`n (n bytes of a string; 0: all of it, or as many as the
//! number before says), `s` (a string that ends with a NUL), `<` `>` (order of bytes), `!`n (largest alignment),
//! and spaces.
//!
//! Integers longer than 8 bytes are zeros beyond; sizes that the data does not have are errors before
//! anything is taken. What is packed is limited by the interpreter's memory.
//!
//! Source: <http://www.inf.puc-rio.br/~roberto/struct/>.

use std::cell::Cell;

use crate::sys::lua::{Function, Kind, Raise, Stack};
use crate::util::c_num::{c_i64, c_u64};

/// Largest integer, bytes.
const INTEGER_BYTES_MAX: usize = 32;
/// What `!` alone says.
const ALIGN: usize = 8;
/// Room for what is packed that is kept for the next time, bytes.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// Pushes the library.
pub fn open(stack: &mut Stack<'_>) {
    const FUNCTIONS: &[(&str, Function)] = &[("pack", pack), ("unpack", unpack), ("size", size)];
    super::push_library(stack, FUNCTIONS, |stack, name, function| match name {
        "pack" => stack.push_wide_function(function),
        _ => stack.push_function(function),
    });
}

/// A format, and what holds where it has come to.
struct Format<'f> {
    rest: &'f [u8],
    is_big: bool,
    align: usize,
}

/// An option with its size, as far as that is known.
#[derive(Clone, Copy)]
struct Item {
    option: u8,
    size: usize,
}

impl<'f> Format<'f> {
    fn new(format: &'f [u8]) -> Format<'f> {
        Format {
            rest: super::c_string(format),
            is_big: false,
            align: 1,
        }
    }

    fn next(&mut self, stack: &mut Stack<'_>) -> Result<Option<Item>, Raise> {
        let Some((&option, rest)) = self.rest.split_first() else {
            return Ok(None);
        };
        self.rest = rest;
        let size = match option {
            b'B' | b'b' | b'x' => 1,
            b'H' | b'h' => 2,
            b'f' => 4,
            b'L' | b'l' | b'd' => 8,
            b'c' => self.number(stack, 1)?,
            b'i' | b'I' => {
                let size = self.number(stack, 4)?;
                if size > INTEGER_BYTES_MAX {
                    return Err(stack.error(format!(
                        "integral size {size} is larger than limit of {INTEGER_BYTES_MAX}"
                    )));
                }
                size
            }
            _ => 0,
        };
        Ok(Some(Item { option, size }))
    }

    /// The number that follows, or this one.
    fn number(&mut self, stack: &mut Stack<'_>, default: usize) -> Result<usize, Raise> {
        let len = self
            .rest
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if len == 0 {
            return Ok(default);
        }
        let (digits, rest) = self.rest.split_at(len);
        self.rest = rest;
        let value = digits.iter().try_fold(0i32, |value, digit| {
            value.checked_mul(10)?.checked_add(i32::from(digit - b'0'))
        });
        match value {
            Some(value) => Ok(value as usize),
            None => Err(stack.error("integral size overflow")),
        }
    }

    /// How many bytes there are before an item that would begin at `at`.
    fn padding(&self, at: usize, item: Item) -> usize {
        if item.size == 0 || item.option == b'c' {
            return 0;
        }
        // Sizes that are no powers of two are aligned as C's arithmetic has it.
        let size = item.size.min(self.align);
        let mask = size - 1;
        size.wrapping_sub(at & mask) & mask
    }

    /// An option that is no item.
    fn control(&mut self, stack: &mut Stack<'_>, option: u8) -> Result<(), Raise> {
        match option {
            b' ' => {}
            b'>' => self.is_big = true,
            b'<' => self.is_big = false,
            b'!' => {
                let align = self.number(stack, ALIGN)?;
                if !align.is_power_of_two() {
                    let text = format!("alignment {align} is not a power of 2");
                    return Err(stack.error(text));
                }
                self.align = align;
            }
            _ => {
                let text = [b"invalid format option '", &[option][..], b"'"].concat();
                return Err(stack.argument_error(1, text));
            }
        }
        Ok(())
    }
}

thread_local! {
    /// Room for what is packed next.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Does `work` with the format, which is the first argument.
fn with_format(
    stack: &mut Stack<'_>,
    work: impl FnOnce(&mut Stack<'_>, Format<'_>) -> Result<i32, Raise>,
) -> Result<i32, Raise> {
    stack.string_argument(1)?;
    let done = stack.with_string(1, |stack, format| work(stack, Format::new(format)));
    done.unwrap_or(Ok(0))
}

/// `struct.pack(format, ...)`
fn pack(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    // What is missing is nil.
    stack.push_nil();
    with_format(stack, |stack, mut format| {
        let mut out = ROOM.take();
        out.clear();
        let done = pack_all(stack, &mut format, &mut out);
        if done.is_ok() {
            stack.push_string(&out);
        }
        if out.capacity() <= KEPT_BYTES_MAX {
            ROOM.set(out);
        }
        done.map(|()| 1)
    })
}

fn pack_all(
    stack: &mut Stack<'_>,
    format: &mut Format<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Raise> {
    let mut argument = 2;
    while let Some(item) = format.next(stack)? {
        out.resize(out.len() + format.padding(out.len(), item), 0);
        match item.option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'i' | b'I' => {
                let number = stack.number_argument(argument)?;
                push_integer(out, number, item.size, format.is_big);
            }
            b'f' => {
                let number = stack.number_argument(argument)? as f32;
                push_ordered(out, number.to_le_bytes(), format.is_big);
            }
            b'd' => {
                let number = stack.number_argument(argument)?;
                push_ordered(out, number.to_le_bytes(), format.is_big);
            }
            b'c' | b's' => push_string(stack, out, argument, item)?,
            b'x' => {
                out.push(0);
                continue;
            }
            option => {
                format.control(stack, option)?;
                continue;
            }
        }
        argument += 1;
    }
    stack.allow(out.len())
}

#[inline]
fn push_integer(out: &mut Vec<u8>, number: f64, size: usize, is_big: bool) {
    let bits = match number < 0.0 {
        true => c_i64(number) as u64,
        false => c_u64(number),
    };
    let mut bytes = [0; INTEGER_BYTES_MAX];
    bytes[..8].copy_from_slice(&bits.to_le_bytes());
    let bytes = &mut bytes[..size];
    if is_big {
        bytes.reverse();
    }
    out.extend_from_slice(bytes);
}

#[inline]
fn push_ordered<const N: usize>(out: &mut Vec<u8>, mut bytes: [u8; N], is_big: bool) {
    if is_big {
        bytes.reverse();
    }
    out.extend_from_slice(&bytes);
}

fn push_string(
    stack: &mut Stack<'_>,
    out: &mut Vec<u8>,
    argument: i32,
    item: Item,
) -> Result<(), Raise> {
    let is_string = stack.kind(argument) == Kind::String;
    if !is_string {
        // A number as a string, without changing what is there.
        if stack.number(argument).is_none() {
            return Err(stack.type_error(argument, "string"));
        }
        stack.push_value(argument);
        stack.make_string(-1);
    }
    let at = if is_string { argument } else { -1 };
    let bytes = stack.string(at).unwrap_or_default();
    let len = if item.size == 0 {
        bytes.len()
    } else {
        item.size
    };
    let Some(bytes) = bytes.get(..len) else {
        // The number is that of the next argument, as C's library has it.
        return Err(stack.argument_error(argument + 1, "string too short"));
    };
    out.extend_from_slice(bytes);
    if item.option == b's' {
        out.push(0);
    }
    if !is_string {
        stack.pop(1);
    }
    Ok(())
}

/// `struct.unpack(format, data, offset)`
fn unpack(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    stack.string_argument(1)?;
    stack.string_argument(2)?;
    let offset = match stack.kind(3) {
        Kind::None | Kind::Nil => 1,
        _ => c_i64(stack.number_argument(3)?) as usize,
    };
    if offset == 0 {
        return Err(stack.argument_error(3, "offset must be 1 or greater"));
    }
    with_format(stack, |stack, mut format| {
        let done = stack.with_string(2, |stack, data| {
            let mut reader = Reader {
                data,
                at: offset - 1,
                results: 0,
            };
            while let Some(item) = format.next(stack)? {
                reader.item(stack, &mut format, item)?;
            }
            // A negative offset stays one while nothing is taken.
            stack.push_number(reader.at.wrapping_add(1) as i64 as f64);
            Ok(reader.results + 1)
        });
        done.unwrap_or(Ok(0))
    })
}

/// Data that is unpacked onto the stack.
struct Reader<'d> {
    data: &'d [u8],
    /// May be behind the end, until something is taken.
    at: usize,
    /// Values on top of the stack.
    results: i32,
}

impl<'d> Reader<'d> {
    fn item(
        &mut self,
        stack: &mut Stack<'_>,
        format: &mut Format<'_>,
        item: Item,
    ) -> Result<(), Raise> {
        self.at = self.at.wrapping_add(format.padding(self.at, item));
        let mut bytes = self.bytes(stack, item.size)?;
        if !stack.has_room(2) {
            // The error needs room itself.
            stack.pop(self.results);
            return Err(stack.error("stack overflow (too many results)"));
        }
        match item.option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'i' | b'I' => {
                let is_signed = item.option.is_ascii_lowercase();
                stack.push_number(integer(bytes, is_signed, format.is_big));
            }
            b'f' => {
                let number = f32::from_le_bytes(ordered(bytes, format.is_big));
                stack.push_number(f64::from(number));
            }
            b'd' => {
                let number = f64::from_le_bytes(ordered(bytes, format.is_big));
                stack.push_number(number);
            }
            b'c' => {
                if item.size == 0 {
                    bytes = self.counted(stack)?;
                }
                stack.push_string(bytes);
            }
            b's' => {
                let rest = &self.data[self.at..];
                let Some(end) = memchr::memchr(0, rest) else {
                    return Err(stack.error("unfinished string in data"));
                };
                stack.push_string(&rest[..end]);
                bytes = &rest[..end + 1];
            }
            option => {
                if option != b'x' {
                    format.control(stack, option)?;
                }
                self.at += bytes.len();
                return Ok(());
            }
        }
        self.at += bytes.len();
        self.results += 1;
        Ok(())
    }

    /// So many bytes from here, which the data must have.
    fn bytes(&self, stack: &mut Stack<'_>, size: usize) -> Result<&'d [u8], Raise> {
        let rest = self.data.get(self.at..);
        match rest.and_then(|rest| rest.get(..size)) {
            Some(bytes) => Ok(bytes),
            None => Err(stack.argument_error(2, "data string too short")),
        }
    }

    /// As many bytes as the last result says, which is taken back.
    fn counted(&mut self, stack: &mut Stack<'_>) -> Result<&'d [u8], Raise> {
        let size = match self.results {
            0 => None,
            _ => stack.to_number(-1),
        };
        let Some(size) = size else {
            return Err(stack.error("format 'c0' needs a previous size"));
        };
        stack.pop(1);
        self.results -= 1;
        self.bytes(stack, c_u64(size) as usize)
    }
}

/// An integer of these bytes. C's library moves bits out of a long; where it asks for the sign of one that
/// has other sizes, the processor takes the distance modulo 64.
fn integer(bytes: &[u8], is_signed: bool, is_big: bool) -> f64 {
    let add = |value: u64, &byte: &u8| value << 8 | u64::from(byte);
    let value = match is_big {
        true => bytes.iter().fold(0, add),
        false => bytes.iter().rev().fold(0, add),
    };
    if !is_signed {
        return value as f64;
    }
    let distance = (bytes.len() as u32 * 8).wrapping_sub(1);
    let mask = u64::MAX.wrapping_shl(distance);
    let value = match value & mask {
        0 => value,
        _ => value | mask,
    };
    value as i64 as f64
}

/// Bytes of a float in order, the lowest first.
fn ordered<const N: usize>(bytes: &[u8], is_big: bool) -> [u8; N] {
    let mut ordered = [0; N];
    ordered.copy_from_slice(bytes);
    if is_big {
        ordered.reverse();
    }
    ordered
}

/// `struct.size(format)`
fn size(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    with_format(stack, |stack, mut format| {
        let mut at = 0usize;
        while let Some(item) = format.next(stack)? {
            at = at.saturating_add(format.padding(at, item));
            let refusal = match item {
                Item { option: b's', .. } => Some("option 's' has no fixed size"),
                Item {
                    option: b'c',
                    size: 0,
                } => Some("option 'c0' has no fixed size"),
                _ => None,
            };
            if let Some(text) = refusal {
                return Err(stack.argument_error(1, text));
            }
            if !item.option.is_ascii_alphanumeric() {
                format.control(stack, item.option)?;
            }
            at = at.saturating_add(item.size);
        }
        stack.push_number(at as f64);
        Ok(1)
    })
}
