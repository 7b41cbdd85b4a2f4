//! `cmsgpack`: MessagePack, as Redis's `lua-cmsgpack 0.4.0` has it.
//!
//! The same values become the same bytes, and the other way round: integers as short as can be, other
//! numbers as floats if these are exact, a table whose keys are 1 to n as an array (so is an empty one),
//! any other as a map in the order of `pairs`, tables nested 16 deep and whatever MessagePack has no
//! word for as nil. Also the stack of a C function, which limits how much and how deeply is packed or
//! unpacked there, is counted as it is there, so that the limits and their texts are the same.
//!
//! Two things show in `pairs` and `#`, and so in what is packed again: tables that are unpacked must grow
//! as they grow there. Maps get no room ahead. Arrays do, as much as they would come to have, but not
//! those with nils inside (`Unpacker::forget_room`).
//!
//! Nothing here recurses by what is unpacked, and packing is as deep as its limit. What is packed has
//! to fit into the interpreter's memory: tables that hold one another many times over end there.
//!
//! Source: <https://github.com/msgpack/msgpack/blob/master/spec.md>.

use std::cell::Cell;

use crate::sys::lua::{Kind, Plain, Raise, Stack};

mod unpack;

#[cfg(test)]
mod tests;

use unpack::Unpacker;

/// Depth at which a table is packed as nil.
const NESTING_MAX: u32 = 16;
/// Values that the stack of a C function takes (`LUAI_MAXCSTACK`).
const STACK_MAX: usize = 8000;
/// Largest buffer that is kept for the next call, bytes.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// Pushes the table.
pub fn open(stack: &mut Stack<'_>) {
    stack.push_table(0, 0);
    for (name, function) in [
        ("pack", pack as crate::sys::lua::Function),
        ("unpack", unpack_all),
        ("unpack_one", unpack_one),
        ("unpack_limit", unpack_limit),
    ] {
        stack.push_function(function);
        stack.raw_set_name(-2, name).expect("a name");
    }
    for (name, text) in [
        ("_NAME", "cmsgpack"),
        ("_VERSION", "lua-cmsgpack 0.4.0"),
        ("_COPYRIGHT", "Copyright (C) 2012, Redis Ltd."),
        ("_DESCRIPTION", "MessagePack C implementation for Lua"),
    ] {
        stack.push_string(text);
        stack.raw_set_name(-2, name).expect("a name");
    }
}

// --- packing ----------------------------------------------------------------------------------------

thread_local! {
    /// What the last call has packed into: memory for the next.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// `cmsgpack.pack(...)`: all arguments, one behind the other.
fn pack(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let count = stack.top();
    if count == 0 {
        return Err(stack.argument_error(0, "MessagePack pack needs input."));
    }
    let arguments = count as usize;
    if 2 * arguments > STACK_MAX {
        return Err(stack.argument_error(0, "Too many arguments for MessagePack pack."));
    }
    let mut out = BUFFER.take();
    out.clear();
    let mut packer = Packer {
        bytes_max: stack.memory_left_bytes(),
        out,
    };
    let mut packed = Ok(());
    for index in 1..=count {
        // There each argument is copied to the top, where what it has become stays.
        packed = packer.value(stack, index, 0, arguments + index as usize);
        if packed.is_err() {
            break;
        }
    }
    if packed.is_ok() {
        stack.push_string(&packer.out);
    }
    if packer.out.capacity() <= KEPT_BYTES_MAX {
        BUFFER.set(packer.out);
    }
    packed.map(|()| 1)
}

struct Packer {
    out: Vec<u8>,
    /// More does not fit into the interpreter.
    bytes_max: usize,
}

impl Packer {
    /// Packs the value at this index. `taken` is how many values the stack would have there.
    fn value(
        &mut self,
        stack: &mut Stack<'_>,
        index: i32,
        level: u32,
        taken: usize,
    ) -> Result<(), Raise> {
        match stack.plain(index) {
            Some(Plain::Number(number)) => self.number(number),
            Some(Plain::String(bytes)) if bytes.len() <= self.bytes_max => self.string(bytes),
            Some(Plain::String(_)) => return Err(no_memory(stack)),
            None => return self.other(stack, index, level, taken),
        }
        self.check(stack)
    }

    /// The same, where it is known what is at this index if it is a number or a string.
    #[inline]
    fn plain_or(
        &mut self,
        stack: &mut Stack<'_>,
        plain: Option<Plain<'_>>,
        index: i32,
        level: u32,
        taken: usize,
    ) -> Result<(), Raise> {
        match plain {
            Some(Plain::Number(number)) => self.number(number),
            Some(Plain::String(bytes)) if bytes.len() <= self.bytes_max => self.string(bytes),
            Some(Plain::String(_)) => return Err(no_memory(stack)),
            None => return self.other(stack, index, level, taken),
        }
        self.check(stack)
    }

    /// The same of what is neither a number nor a string.
    fn other(
        &mut self,
        stack: &mut Stack<'_>,
        index: i32,
        level: u32,
        taken: usize,
    ) -> Result<(), Raise> {
        match stack.kind(index) {
            Kind::Boolean => self.out.push(0xc2 + u8::from(stack.is_true(index))),
            Kind::Table if level < NESTING_MAX => self.table(stack, index, level, taken)?,
            _ => self.out.push(0xc0),
        }
        self.check(stack)
    }

    #[inline]
    fn check(&self, stack: &mut Stack<'_>) -> Result<(), Raise> {
        match self.out.len() > self.bytes_max {
            true => Err(no_memory(stack)),
            false => Ok(()),
        }
    }

    fn number(&mut self, number: f64) {
        const BOUND: f64 = 9_223_372_036_854_775_808.0;
        if (-BOUND..BOUND).contains(&number) && number as i64 as f64 == number {
            return self.integer(number as i64);
        }
        let short = number as f32;
        match f64::from(short) == number {
            true => self.headed(0xca, short.to_be_bytes()),
            false => self.headed(0xcb, number.to_be_bytes()),
        }
    }

    fn integer(&mut self, n: i64) {
        match n {
            -32..=127 => self.out.push(n as u8),
            128..=0xff => self.headed(0xcc, [n as u8]),
            0x100..=0xffff => self.headed(0xcd, (n as u16).to_be_bytes()),
            0x1_0000..=0xffff_ffff => self.headed(0xce, (n as u32).to_be_bytes()),
            0x1_0000_0000.. => self.headed(0xcf, n.to_be_bytes()),
            -0x80..=-33 => self.headed(0xd0, [n as u8]),
            -0x8000..=-0x81 => self.headed(0xd1, (n as u16).to_be_bytes()),
            -0x8000_0000..=-0x8001 => self.headed(0xd2, (n as u32).to_be_bytes()),
            _ => self.headed(0xd3, n.to_be_bytes()),
        }
    }

    #[inline]
    fn headed<const N: usize>(&mut self, head: u8, bytes: [u8; N]) {
        let mut whole = [0; 9];
        whole[0] = head;
        whole[1..=N].copy_from_slice(&bytes);
        self.out.extend_from_slice(&whole[..=N]);
    }

    fn string(&mut self, bytes: &[u8]) {
        let len = bytes.len();
        match len {
            0..=31 => self.out.push(0xa0 | len as u8),
            32..=0xff => self.headed(0xd9, [len as u8]),
            0x100..=0xffff => self.headed(0xda, (len as u16).to_be_bytes()),
            _ => self.headed(0xdb, (len as u32).to_be_bytes()),
        }
        self.out.extend_from_slice(bytes);
    }

    /// An array, as long as all goes well: its keys come in order and are as many as its length says.
    fn table(
        &mut self,
        stack: &mut Stack<'_>,
        index: i32,
        level: u32,
        taken: usize,
    ) -> Result<(), Raise> {
        if taken + 2 > STACK_MAX {
            return Err(overflow(stack, "table_is_an_array"));
        }
        let (start, top) = (self.out.len(), stack.top());
        let len = stack.len(index);
        self.array_header(len);
        let mut count = 0;
        let mut is_other = false;
        let walked = stack.for_each_plain(index, |stack, key, value| {
            if key != Some(Plain::Number((count + 1) as f64)) {
                is_other = true;
                return Err(Raise);
            }
            count += 1;
            self.plain_or(stack, value, top + 2, level + 1, taken + 1)
        });
        if walked.is_ok() && count == len {
            return Ok(());
        }
        if walked.is_err() {
            if !is_other {
                return walked;
            }
            stack.set_top(top);
        }
        self.out.truncate(start);
        match is_array(stack, index)? {
            true => self.array(stack, index, level, taken),
            false => self.map(stack, index, level, taken),
        }
    }

    /// An array whose keys come in some other order.
    fn array(
        &mut self,
        stack: &mut Stack<'_>,
        index: i32,
        level: u32,
        taken: usize,
    ) -> Result<(), Raise> {
        let len = stack.len(index);
        self.array_header(len);
        for i in 1..=len {
            stack.raw_get_index(index, i as i32);
            let at = stack.top();
            self.value(stack, at, level + 1, taken + 1)?;
            stack.pop(1);
        }
        Ok(())
    }

    fn array_header(&mut self, len: usize) {
        match len {
            0..=15 => self.out.push(0x90 | len as u8),
            16..=0xffff => self.headed(0xdc, (len as u16).to_be_bytes()),
            _ => self.headed(0xdd, (len as u32).to_be_bytes()),
        }
    }

    fn map(
        &mut self,
        stack: &mut Stack<'_>,
        index: i32,
        level: u32,
        taken: usize,
    ) -> Result<(), Raise> {
        if taken + 3 > STACK_MAX {
            return Err(overflow(stack, "mp_encode_lua_table_as_map"));
        }
        // How many entries there are is known behind the last one. Few is most likely.
        let (start, top) = (self.out.len(), stack.top());
        self.out.push(0);
        let mut count: usize = 0;
        stack.for_each_plain(index, |stack, key, value| {
            count += 1;
            self.plain_or(stack, key, top + 1, level + 1, taken + 3)?;
            self.plain_or(stack, value, top + 2, level + 1, taken + 2)
        })?;
        match count {
            0..=15 => self.out[start] = 0x80 | count as u8,
            16..=0xffff => {
                self.out[start] = 0xde;
                let count = (count as u16).to_be_bytes();
                self.out.splice(start + 1..start + 1, count);
            }
            _ => {
                self.out[start] = 0xdf;
                let count = (count as u32).to_be_bytes();
                self.out.splice(start + 1..start + 1, count);
            }
        }
        Ok(())
    }
}

/// Whether the keys of a table are 1 to n, in whatever order.
fn is_array(stack: &mut Stack<'_>, index: i32) -> Result<bool, Raise> {
    let top = stack.top();
    let (mut count, mut max) = (0.0, 0.0);
    let mut is_other = false;
    let walked = stack.for_each(index, |stack| match stack.number(-2) {
        Some(key) if key > 0.0 && key <= f64::from(i32::MAX) && key.trunc() == key => {
            count += 1.0;
            max = f64::max(max, key);
            Ok(())
        }
        _ => {
            is_other = true;
            Err(Raise)
        }
    });
    match walked {
        Err(Raise) if is_other => {
            stack.set_top(top);
            Ok(false)
        }
        walked => walked.map(|()| count == max),
    }
}

// --- unpacking --------------------------------------------------------------------------------------

/// `cmsgpack.unpack(bytes)`: all values.
fn unpack_all(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    unpack(stack, 0, 0)
}

/// `cmsgpack.unpack_one(bytes [, offset])`: where the next value begins (-1: nowhere), and the value.
fn unpack_one(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let offset = optional_integer(stack, 2)?;
    stack.set_top(stack.top().min(1));
    unpack(stack, 1, offset)
}

/// `cmsgpack.unpack_limit(bytes, limit [, offset])`: the same with up to so many values.
fn unpack_limit(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let limit = integer(stack, 2)?;
    let offset = optional_integer(stack, 3)?;
    stack.set_top(stack.top().min(1));
    unpack(stack, limit, offset)
}

fn unpack(stack: &mut Stack<'_>, limit: i64, offset: i64) -> Result<i32, Raise> {
    if !stack.make_string(1) {
        return Err(stack.type_error(1, "string"));
    }
    let len = stack.len(1);
    if limit < 0 || offset < 0 {
        // The text promises the limit and shows the length.
        return Err(stack.error(format!(
            "Invalid request to unpack with offset of {} and limit of {}.",
            offset as i32, len as i32,
        )));
    }
    if offset > len as i64 {
        return Err(stack.error(format!(
            "Start offset {} greater than input length {}.",
            offset as i32, len as i32,
        )));
    }
    let is_all = limit == 0 && offset == 0;
    let limit = match is_all {
        true => i64::from(i32::MAX),
        false => limit,
    };
    let before = stack.top();
    let unpacked = stack.with_string(1, |stack, bytes| {
        let mut unpacker = Unpacker::new(bytes, offset as usize);
        let mut count = 0;
        while !unpacker.is_at_end() && count < limit {
            unpacker.value(stack)?;
            count += 1;
        }
        Ok(unpacker.next_offset())
    });
    let next = unpacked.unwrap_or(Ok(None))?;
    if !is_all {
        if stack.top() as usize + 1 > STACK_MAX {
            return Err(overflow(stack, "mp_unpack_full"));
        }
        stack.push_number(next.map_or(-1.0, |next| next as f64));
        if stack.top() > before + 1 {
            stack.insert(before + 1);
        }
    }
    Ok(stack.top() - before)
}

/// An integer that is an argument (`luaL_checkinteger`).
fn integer(stack: &mut Stack<'_>, index: i32) -> Result<i64, Raise> {
    match stack.to_number(index) {
        // What processors make of numbers that are too large.
        Some(number) if !(-9.3e18..9.2e18).contains(&number) => Ok(i64::MIN),
        Some(number) => Ok(number as i64),
        None => Err(stack.type_error(index, "number")),
    }
}

/// The same; 0 if it is not given (`luaL_optinteger`).
fn optional_integer(stack: &mut Stack<'_>, index: i32) -> Result<i64, Raise> {
    match stack.kind(index) {
        Kind::None | Kind::Nil => Ok(0),
        _ => integer(stack, index),
    }
}

// --- errors -----------------------------------------------------------------------------------------

/// A C function there would have no room on its stack (`luaL_checkstack`).
#[cold]
fn overflow(stack: &mut Stack<'_>, function: &str) -> Raise {
    stack.error(format!("stack overflow (in function {function})"))
}

#[cold]
fn no_memory(stack: &mut Stack<'_>) -> Raise {
    stack.push_string("not enough memory");
    Raise
}
