//! From MessagePack to values, one after the other, without recursion.

use super::STACK_MAX;
use crate::sys::lua::{Kind, Raise, Stack};

/// Reads values from bytes, see [`super`].
pub(super) struct Unpacker<'b> {
    bytes: &'b [u8],
    at: usize,
    /// Tables that are being filled, from the outermost; each is on the stack.
    open: Vec<Open>,
    /// Places in arrays for which there may be room ahead: lengths that lie have no more of them
    /// than there are bytes.
    room: usize,
    /// Values that the stack would have there.
    taken: usize,
}

/// A table that is being filled.
struct Open {
    /// Its place on the stack.
    table: i32,
    /// Elements (of a map: entries) that are missing, the one that is being read included.
    left: u32,
    /// Of an array, the place of the element that is being read.
    index: i32,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// An array; whether it was given room.
    Array { has_room: bool },
    /// A map whose key is being read.
    Key,
    /// A map whose key is on the stack, and whose value is being read.
    Value,
}

/// What stands on the stack behind [`Unpacker::begin`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begun {
    Nil,
    /// Another value that is whole.
    Whole,
    /// A table that has to be filled.
    Table,
}

/// What the first bytes of a value say.
enum Head {
    Number(f64),
    Nil,
    Boolean(bool),
    String(usize),
    Array(u32),
    Map(u32),
}

impl<'b> Unpacker<'b> {
    pub(super) fn new(bytes: &'b [u8], at: usize) -> Unpacker<'b> {
        Unpacker {
            bytes,
            at,
            open: Vec::new(),
            room: bytes.len(),
            taken: 0,
        }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Where the next value begins, if there is one.
    pub(super) fn next_offset(&self) -> Option<usize> {
        (!self.is_at_end()).then_some(self.at)
    }

    /// Pushes the next value.
    pub(super) fn value(&mut self, stack: &mut Stack<'_>) -> Result<(), Raise> {
        self.taken = stack.top() as usize;
        loop {
            let begun = match self.begin(stack) {
                Ok(begun) => begun,
                Err(text) => return Err(stack.error(text)),
            };
            if begun != Begun::Table && self.finish(stack, begun == Begun::Nil)? {
                return Ok(());
            }
        }
    }

    /// Pushes a value, or a table that has to be filled.
    #[inline]
    fn begin(&mut self, stack: &mut Stack<'_>) -> Result<Begun, &'static str> {
        if self.is_at_end() {
            return Err(MISSING);
        }
        if self.taken + 1 > STACK_MAX {
            return Err("stack overflow (too many return values at once; \
                        use unpack_one or unpack_limit instead.)");
        }
        let head = self.head()?;
        self.taken += 1;
        match head {
            Head::Number(number) => stack.push_number(number),
            Head::Nil => {
                stack.push_nil();
                return Ok(Begun::Nil);
            }
            Head::Boolean(value) => stack.push_bool(value),
            Head::String(len) => stack.push_string(self.take(len)?),
            Head::Array(len) => {
                if self.taken + 1 > STACK_MAX {
                    return Err("stack overflow (in function mp_decode_to_lua_array)");
                }
                let room = (len as usize)
                    .min(self.bytes.len() - self.at)
                    .min(self.room);
                self.room -= room;
                let room = if room == 0 {
                    0
                } else {
                    room.next_power_of_two()
                };
                stack.push_table(room, 0);
                // There the index of the element is on the stack, too.
                self.taken += 1;
                return Ok(self.has_opened(stack, len, What::Array { has_room: room > 0 }));
            }
            Head::Map(len) => {
                stack.push_table(0, 0);
                return Ok(self.has_opened(stack, len, What::Key));
            }
        }
        Ok(Begun::Whole)
    }

    /// A table is on the stack; it is whole if it is empty.
    fn has_opened(&mut self, stack: &Stack<'_>, len: u32, what: What) -> Begun {
        if len == 0 {
            if what != What::Key {
                self.taken -= 1;
            }
            return Begun::Whole;
        }
        self.open.push(Open {
            table: stack.top(),
            left: len,
            index: 1,
            what,
        });
        Begun::Table
    }

    /// The value on top is whole: puts it where it belongs, and so on with what that makes whole. Whether
    /// what is on top then is all.
    #[inline]
    fn finish(&mut self, stack: &mut Stack<'_>, is_nil: bool) -> Result<bool, Raise> {
        let mut is_nil = is_nil;
        while let Some(open) = self.open.last_mut() {
            match open.what {
                What::Array { has_room } => {
                    if has_room && is_nil {
                        open.what = What::Array { has_room: false };
                        forget_room(stack, open.table, open.index)?;
                    }
                    stack.raw_set_index(open.table, open.index)?;
                    open.index = open.index.wrapping_add(1);
                    self.taken -= 1;
                }
                What::Key => {
                    open.what = What::Value;
                    return Ok(false);
                }
                What::Value => {
                    let unfit = match stack.kind(-2) {
                        Kind::Nil => Some("table index is nil"),
                        Kind::Number if stack.number(-2).is_some_and(f64::is_nan) => {
                            Some("table index is NaN")
                        }
                        _ => None,
                    };
                    if let Some(text) = unfit {
                        // Lua's own errors do not say where a function of C's has stood.
                        stack.pop(1);
                        stack.push_string(text);
                        return Err(Raise);
                    }
                    stack.raw_set(open.table)?;
                    open.what = What::Key;
                    self.taken -= 2;
                }
            }
            open.left -= 1;
            if open.left > 0 {
                return Ok(false);
            }
            if open.what != What::Key {
                self.taken -= 1;
            }
            self.open.pop();
            is_nil = false;
        }
        Ok(true)
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'b [u8], &'static str> {
        match self.bytes[self.at..].split_at_checked(len) {
            Some((taken, _)) => {
                self.at += len;
                Ok(taken)
            }
            None => Err(MISSING),
        }
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let bytes = self.take(N)?;
        Ok(*bytes.first_chunk().expect("as many were taken"))
    }

    fn head(&mut self) -> Result<Head, &'static str> {
        let first = self.fixed::<1>()?[0];
        Ok(match first {
            0..=0x7f => Head::Number(f64::from(first)),
            0x80..=0x8f => Head::Map(u32::from(first & 0xf)),
            0x90..=0x9f => Head::Array(u32::from(first & 0xf)),
            0xa0..=0xbf => Head::String(usize::from(first & 0x1f)),
            0xc0 => Head::Nil,
            0xc2 | 0xc3 => Head::Boolean(first == 0xc3),
            0xca => Head::Number(f64::from(f32::from_be_bytes(self.fixed()?))),
            0xcb => Head::Number(f64::from_be_bytes(self.fixed()?)),
            0xcc => Head::Number(f64::from(u8::from_be_bytes(self.fixed()?))),
            0xcd => Head::Number(f64::from(u16::from_be_bytes(self.fixed()?))),
            0xce => Head::Number(f64::from(u32::from_be_bytes(self.fixed()?))),
            // Lua's integers are signed there.
            0xcf | 0xd3 => Head::Number(i64::from_be_bytes(self.fixed()?) as f64),
            0xd0 => Head::Number(f64::from(i8::from_be_bytes(self.fixed()?))),
            0xd1 => Head::Number(f64::from(i16::from_be_bytes(self.fixed()?))),
            0xd2 => Head::Number(f64::from(i32::from_be_bytes(self.fixed()?))),
            0xd9 => Head::String(usize::from(u8::from_be_bytes(self.fixed()?))),
            0xda => Head::String(usize::from(u16::from_be_bytes(self.fixed()?))),
            0xdb => Head::String(u32::from_be_bytes(self.fixed()?) as usize),
            0xdc => Head::Array(u32::from(u16::from_be_bytes(self.fixed()?))),
            0xdd => Head::Array(u32::from_be_bytes(self.fixed()?)),
            0xde => Head::Map(u32::from(u16::from_be_bytes(self.fixed()?))),
            0xdf => Head::Map(u32::from_be_bytes(self.fixed()?)),
            0xe0.. => Head::Number(f64::from(first as i8)),
            _ => return Err("Bad data format in input."),
        })
    }
}

const MISSING: &str = "Missing bytes in input.";

/// Replaces an array that was given room by one that has grown to have the elements before `index`:
/// with a nil behind them, how far `#` looks depends on it. The nil is on top, and stays.
fn forget_room(stack: &mut Stack<'_>, table: i32, index: i32) -> Result<(), Raise> {
    stack.push_table(0, 0);
    let grown = stack.top();
    for i in 1..index {
        stack.raw_get_index(table, i);
        stack.raw_set_index(grown, i)?;
    }
    stack.replace(table);
    Ok(())
}
