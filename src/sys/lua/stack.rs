//! The stack of one call into or out of Lua, see [`super`].
//!
//! Indexes are Lua's: 1 is the lowest value of the call, -1 the topmost. One that names no value is
//! [`Kind::None`] to what asks, and a panic to what takes a value: a fault of ours, never of a script.

use std::ffi::{CStr, c_char, c_int};
use std::marker::PhantomData;
use std::panic::resume_unwind;

use mlua_sys::lua51 as ffi;

use super::{Extra, SOURCE_BYTES_MAX, Tie};

mod calls;
mod cells;
mod errors;
mod walk;

use calls::{call_function, call_host, call_wide};

pub(super) use calls::{on_count, with_host};
pub use cells::Cells;
pub use errors::Place;

/// Free places that a function finds at least, as many as it may use without [`Stack::reserve`].
const ROOM: c_int = 64;
/// Most entries that a new table gets room for at once.
const TABLE_HINT_MAX: usize = 1 << 16;
/// Most values that a function has for itself.
const UPVALUES_MAX: c_int = 16;

/// A function for scripts: its arguments are the values on the stack; how many values on top of it
/// are its results.
pub type Function = fn(&mut Stack<'_>) -> Result<i32, Raise>;

/// A function has failed: the value on top of the stack is the error.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Raise;

/// Why a protected call failed; the error's value is on top of the stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallError {
    /// An error was raised.
    Runtime,
    /// More memory was wanted than the interpreter may have.
    Memory,
    /// The error handler failed, too.
    Handler,
}

/// What a value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// There is no value.
    None,
    /// `nil`
    Nil,
    /// `true` or `false`
    Boolean,
    /// A number that Lua takes for a pointer; there is only [`Stack::push_null`]'s.
    Light,
    /// A double.
    Number,
    /// Bytes.
    String,
    /// A table.
    Table,
    /// A function.
    Function,
    /// Memory of C's.
    Userdata,
    /// A coroutine.
    Thread,
}

impl Kind {
    /// Its name in error texts (`luaL_typename`).
    pub fn name(self) -> &'static str {
        match self {
            Kind::None => "no value",
            Kind::Nil => "nil",
            Kind::Boolean => "boolean",
            Kind::Light | Kind::Userdata => "userdata",
            Kind::Number => "number",
            Kind::String => "string",
            Kind::Table => "table",
            Kind::Function => "function",
            Kind::Thread => "thread",
        }
    }
}

/// What [`Stack::plain`] finds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Plain<'s> {
    /// The bytes of a string.
    String(&'s [u8]),
    /// A number that is one.
    Number(f64),
}

/// A value kept in the interpreter's registry until [`Stack::forget`] is told of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Ref(c_int);

/// See the module's text.
pub struct Stack<'s> {
    pub(super) raw: *mut ffi::lua_State,
    pub(super) extra: *mut Extra,
    /// What is at or below may not be removed or replaced.
    pub(super) floor: c_int,
    /// Up to so many values there is room without asking.
    pub(super) sure: c_int,
    /// It is that of a Rust function that Lua has called: there are upvalues.
    pub(super) is_function: bool,
    pub(super) tie: Tie<'s>,
}

impl Stack<'_> {
    /// # Safety
    /// The interpreter of `raw` has this `extra`, lives as long as the result, and nobody else uses it
    /// meanwhile.
    pub(super) unsafe fn new<'s>(raw: *mut ffi::lua_State, extra: *mut Extra) -> Stack<'s> {
        Stack {
            raw,
            extra,
            floor: 0,
            sure: 0,
            is_function: false,
            tie: PhantomData,
        }
    }

    pub(super) fn extra(&mut self) -> &mut Extra {
        // SAFETY: see `new`; the reference ends before Lua, or anybody else, can use it.
        unsafe { &mut *self.extra }
    }

    // --- places -------------------------------------------------------------------------------------

    /// Number of values.
    #[inline]
    pub fn top(&self) -> i32 {
        // SAFETY: cannot fail.
        unsafe { ffi::lua_gettop(self.raw) }
    }

    /// The index counted from below, 0 if there is no such value.
    #[inline]
    fn find(&self, index: i32) -> c_int {
        absolute(index, self.top())
    }

    /// Lua's number for what a value is.
    #[inline]
    fn raw_type(&self, index: i32) -> c_int {
        // Lua says itself that there is none so far up.
        if index > 0 || (index < 0 && index >= -self.top()) {
            // SAFETY: an index that is valid, or above all.
            return unsafe { ffi::lua_type(self.raw, index) };
        }
        ffi::LUA_TNONE
    }

    /// The index counted from below of a value that is there.
    #[inline]
    pub fn at(&self, index: i32) -> i32 {
        let at = self.find(index);
        assert!(at != 0, "no value {index} on a Lua stack");
        at
    }

    /// The index of a value that may be changed.
    #[inline]
    fn at_own(&self, index: i32) -> c_int {
        let at = self.at(index);
        assert!(at > self.floor, "value {index} of a Lua stack is in use");
        at
    }

    /// Makes sure that so many values can be pushed; an error (`stack overflow`) if that is too many.
    pub fn reserve(&mut self, count: usize) -> Result<(), Raise> {
        let count = c_int::try_from(count).unwrap_or(c_int::MAX / 2);
        // SAFETY: checks by itself.
        match unsafe { ffi::lua_checkstack(self.raw, count.saturating_add(4)) } {
            0 => Err(self.error("stack overflow")),
            _ => Ok(()),
        }
    }

    /// Makes sure that so many values can be pushed; false if that is too many. Where exact numbers are
    /// to be as with C's libraries; else [`Stack::reserve`].
    #[inline]
    pub fn has_room(&mut self, count: u8) -> bool {
        // SAFETY: checks by itself.
        unsafe { ffi::lua_checkstack(self.raw, c_int::from(count)) != 0 }
    }

    /// Room for one value.
    #[inline]
    pub(super) fn room(&mut self) {
        let top = self.top();
        self.room_above(top);
    }

    /// Room for one value above so many, which are all.
    #[inline]
    pub(super) fn room_above(&mut self, top: c_int) {
        if top >= self.sure {
            self.make_sure(top);
        }
    }

    #[cold]
    fn make_sure(&mut self, top: c_int) {
        // SAFETY: checks by itself; what there is room for stays so during a call.
        let count = [ROOM, 1]
            .into_iter()
            .find(|&count| unsafe { ffi::lua_checkstack(self.raw, count) } != 0);
        self.sure = top + count.expect("a Lua stack is full: reserve");
    }

    /// Room for an error's value, which takes the place of the topmost value if the stack is full.
    #[cold]
    fn room_for_error(&mut self) {
        if !self.has_room(1) {
            // Whoever raises the floor leaves room above it.
            self.pop(1);
        }
    }

    /// Has the stack end with value `top` (0 for none).
    pub fn set_top(&mut self, top: i32) {
        assert!(top >= self.floor && top <= self.top(), "values to drop");
        // SAFETY: the stack has that many values.
        unsafe { ffi::lua_settop(self.raw, top) };
    }

    /// Drops values from the top.
    #[inline]
    pub fn pop(&mut self, count: i32) {
        assert!(count >= 0 && self.top() - self.floor >= count);
        // SAFETY: the stack has that many values.
        unsafe { ffi::lua_settop(self.raw, -1 - count) };
    }

    /// Removes one value; those above move down.
    pub fn remove(&mut self, index: i32) {
        let at = self.at_own(index);
        // SAFETY: a valid index.
        unsafe { ffi::lua_remove(self.raw, at) };
    }

    /// Moves the topmost value to this place; those above move up.
    pub fn insert(&mut self, index: i32) {
        let at = self.at_own(index);
        // SAFETY: a valid index.
        unsafe { ffi::lua_insert(self.raw, at) };
    }

    /// Moves the topmost value to this place instead of what is there.
    pub fn replace(&mut self, index: i32) {
        let at = self.at_own(index);
        // SAFETY: a valid index.
        unsafe { ffi::lua_replace(self.raw, at) };
    }

    // --- what values are ----------------------------------------------------------------------------

    /// What a value is.
    #[inline]
    pub fn kind(&self, index: i32) -> Kind {
        match self.raw_type(index) {
            ffi::LUA_TNONE => Kind::None,
            ffi::LUA_TNIL => Kind::Nil,
            ffi::LUA_TBOOLEAN => Kind::Boolean,
            ffi::LUA_TLIGHTUSERDATA => Kind::Light,
            ffi::LUA_TNUMBER => Kind::Number,
            ffi::LUA_TSTRING => Kind::String,
            ffi::LUA_TTABLE => Kind::Table,
            ffi::LUA_TFUNCTION => Kind::Function,
            ffi::LUA_TTHREAD => Kind::Thread,
            _ => Kind::Userdata,
        }
    }

    /// A string or a number, as it is.
    #[inline]
    pub fn plain(&self, index: i32) -> Option<Plain<'_>> {
        let at = self.find(index);
        if at == 0 {
            return None;
        }
        // SAFETY: a valid index, and the functions of the type that was found. A string's bytes stay
        // while it is on the stack, which only changes through `&mut self`.
        unsafe {
            match ffi::lua_type(self.raw, at) {
                ffi::LUA_TSTRING => {
                    let mut len = 0;
                    let bytes = ffi::lua_tolstring(self.raw, at, &mut len);
                    Some(Plain::String(std::slice::from_raw_parts(bytes.cast(), len)))
                }
                ffi::LUA_TNUMBER => Some(Plain::Number(ffi::lua_tonumber(self.raw, at))),
                _ => None,
            }
        }
    }

    /// Whether Lua takes it for true: all but `nil` and `false`.
    pub fn is_true(&self, index: i32) -> bool {
        let at = self.find(index);
        // SAFETY: a valid index.
        at != 0 && unsafe { ffi::lua_toboolean(self.raw, at) } != 0
    }

    /// A number that is one; a string that looks like one is not.
    #[inline]
    pub fn number(&self, index: i32) -> Option<f64> {
        match self.raw_type(index) {
            // SAFETY: a valid index of a number, which is not converted.
            ffi::LUA_TNUMBER => Some(unsafe { ffi::lua_tonumber(self.raw, index) }),
            _ => None,
        }
    }

    /// A number, or a string that Lua takes for one.
    #[inline]
    pub fn to_number(&self, index: i32) -> Option<f64> {
        let is_number = match self.raw_type(index) {
            ffi::LUA_TNUMBER => true,
            // SAFETY: a valid index; nothing is changed.
            ffi::LUA_TSTRING => unsafe { ffi::lua_isnumber(self.raw, index) != 0 },
            _ => false,
        };
        // SAFETY: as above.
        is_number.then(|| unsafe { ffi::lua_tonumber(self.raw, index) })
    }

    /// The bytes of a string; see [`Stack::with_string`] to go on working with the stack.
    #[inline]
    pub fn string(&self, index: i32) -> Option<&[u8]> {
        if self.raw_type(index) != ffi::LUA_TSTRING {
            return None;
        }
        let mut len = 0;
        // SAFETY: a valid index of a string. Its bytes stay while it is on the stack, which only
        // changes through `&mut self`.
        unsafe {
            let bytes = ffi::lua_tolstring(self.raw, index, &mut len);
            Some(std::slice::from_raw_parts(bytes.cast(), len))
        }
    }

    /// Does `work` with the bytes of a string; what is on the stack by now stays there meanwhile.
    /// `None` if it is no string.
    pub fn with_string<R>(
        &mut self,
        index: i32,
        work: impl FnOnce(&mut Stack<'_>, &[u8]) -> R,
    ) -> Option<R> {
        if !self.has_room(1) {
            // An error would take the place of a value, perhaps of this one.
            let bytes = self.string(index)?.to_vec();
            return Some(work(self, &bytes));
        }
        let bytes: *const [u8] = self.string(index)?;
        let mut inner = Stack {
            floor: self.top(),
            ..*self
        };
        // SAFETY: the string stays on the stack, below the floor of the only way to change it.
        Some(work(&mut inner, unsafe { &*bytes }))
    }

    /// Makes a number a string, as Lua does (`%.14g`); false if it is neither.
    pub fn make_string(&mut self, index: i32) -> bool {
        match self.kind(index) {
            Kind::String => true,
            Kind::Number => {
                let at = self.at_own(index);
                // SAFETY: a valid index of a number; memory is not refused now.
                unsafe { ffi::lua_tolstring(self.raw, at, std::ptr::null_mut()) };
                true
            }
            _ => false,
        }
    }

    /// The length of a string; of a table, what `#` gives.
    pub fn len(&self, index: i32) -> usize {
        match self.kind(index) {
            // SAFETY: a valid index.
            Kind::String | Kind::Table => unsafe { ffi::lua_objlen(self.raw, self.at(index)) },
            _ => 0,
        }
    }

    /// Whether two values are the same, without asking them.
    pub fn is_same(&self, one: i32, other: i32) -> bool {
        let (one, other) = (self.find(one), self.find(other));
        // SAFETY: valid indexes.
        one != 0 && other != 0 && unsafe { ffi::lua_rawequal(self.raw, one, other) } != 0
    }

    /// A number that tells values apart which are not numbers, strings or booleans; 0 for these.
    pub fn identity(&self, index: i32) -> usize {
        let at = self.find(index);
        if at == 0 {
            return 0;
        }
        // SAFETY: a valid index.
        unsafe { ffi::lua_topointer(self.raw, at) }.addr()
    }

    // --- new values ---------------------------------------------------------------------------------

    /// Pushes `nil`.
    #[inline]
    pub fn push_nil(&mut self) {
        self.room();
        // SAFETY: there is room.
        unsafe { ffi::lua_pushnil(self.raw) };
    }

    /// Pushes a boolean.
    #[inline]
    pub fn push_bool(&mut self, value: bool) {
        self.room();
        // SAFETY: there is room.
        unsafe { ffi::lua_pushboolean(self.raw, value as c_int) };
    }

    /// Pushes a number.
    #[inline]
    pub fn push_number(&mut self, value: f64) {
        self.room();
        // SAFETY: there is room.
        unsafe { ffi::lua_pushnumber(self.raw, value) };
    }

    /// Pushes a string.
    #[inline]
    pub fn push_string(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.room();
        // SAFETY: there is room; the bytes are copied, and memory is not refused now.
        unsafe { ffi::lua_pushlstring_(self.raw, bytes.as_ptr().cast(), bytes.len()) };
    }

    /// Pushes what `cjson.null` is: a userdata that no other is equal to.
    pub fn push_null(&mut self) {
        self.room();
        // SAFETY: there is room.
        unsafe { ffi::lua_pushlightuserdata(self.raw, std::ptr::null_mut()) };
    }

    /// Pushes a value that no script can have: a key for what only Rust shall find.
    pub fn push_hidden(&mut self, number: u8) {
        self.room();
        let address = std::ptr::without_provenance_mut(1 + usize::from(number));
        // SAFETY: there is room.
        unsafe { ffi::lua_pushlightuserdata(self.raw, address) };
    }

    /// Pushes the table of what is kept in the interpreter and no script finds. Its keys that are numbers
    /// belong to [`Stack::keep`].
    pub fn push_registry(&mut self) {
        self.room();
        // SAFETY: there is room, and a pseudo-index is a valid one.
        unsafe { ffi::lua_pushvalue(self.raw, ffi::LUA_REGISTRYINDEX) };
    }

    /// Pushes a copy of a value.
    #[inline]
    pub fn push_value(&mut self, index: i32) {
        let at = self.at(index);
        self.room();
        // SAFETY: there is room, and a value.
        unsafe { ffi::lua_pushvalue(self.raw, at) };
    }

    /// Pushes an empty table with room for so many values in order, and others.
    #[inline]
    pub fn push_table(&mut self, array: usize, rest: usize) {
        self.room();
        let (array, rest) = (array.min(TABLE_HINT_MAX), rest.min(TABLE_HINT_MAX));
        // SAFETY: there is room, and the sizes are none at which Lua raises.
        unsafe { ffi::lua_createtable(self.raw, array as c_int, rest as c_int) };
    }

    /// Pushes the table of globals.
    pub fn push_globals(&mut self) {
        self.room();
        // SAFETY: there is room, and a pseudo-index is a valid one.
        unsafe { ffi::lua_pushvalue(self.raw, ffi::LUA_GLOBALSINDEX) };
    }

    /// Makes the table on top that of globals for what is loaded from now on; takes it from the stack.
    pub fn replace_globals(&mut self) {
        assert!(self.kind(-1) == Kind::Table && self.top() > self.floor);
        // SAFETY: a table is on top.
        unsafe { ffi::lua_replace(self.raw, ffi::LUA_GLOBALSINDEX) };
    }

    /// Pushes a function for scripts.
    pub fn push_function(&mut self, function: Function) {
        self.push_closure(function, 0);
    }

    /// Makes so many values on top those that a new function has for itself ([`Stack::push_upvalue`]), and
    /// pushes the function instead.
    pub fn push_closure(&mut self, function: Function, upvalues: i32) {
        self.push_called(call_function, function, upvalues);
    }

    /// Pushes a function for scripts that takes any number of arguments: it may find no more than
    /// 20 places free. Others are not given those above the 7,936th then: they look at a few, or at
    /// whether there are too many.
    pub fn push_wide_function(&mut self, function: Function) {
        self.push_called(call_wide, function, 0);
    }

    fn push_called(&mut self, caller: ffi::lua_CFunction, function: Function, upvalues: i32) {
        assert!((0..=UPVALUES_MAX).contains(&upvalues) && self.top() >= self.floor + upvalues);
        self.room();
        // SAFETY: there is room, and there are the values; the caller takes back what is given it here.
        unsafe {
            ffi::lua_pushlightuserdata(self.raw, function as *mut std::ffi::c_void);
            ffi::lua_insert(self.raw, -1 - upvalues);
            ffi::lua_pushcclosure(self.raw, caller, 1 + upvalues);
        }
    }

    /// Pushes a value that the function which runs has for itself, counted from 1.
    pub fn push_upvalue(&mut self, number: i32) {
        let at = self.upvalue(number);
        self.room();
        // SAFETY: there is room, and such an upvalue.
        unsafe { ffi::lua_pushvalue(self.raw, at) };
    }

    /// Moves the value on top to where the function which runs has one for itself.
    pub fn replace_upvalue(&mut self, number: i32) {
        let at = self.upvalue(number);
        assert!(self.top() > self.floor);
        // SAFETY: a value, and there is such an upvalue.
        unsafe { ffi::lua_replace(self.raw, at) };
    }

    fn upvalue(&self, number: i32) -> c_int {
        assert!(self.is_function && (1..=UPVALUES_MAX).contains(&number));
        // The first one is the Rust function's address.
        let at = ffi::lua_upvalueindex(1 + number);
        // SAFETY: a C function runs, which has upvalues or not.
        assert!(unsafe { ffi::lua_type(self.raw, at) } != ffi::LUA_TNONE);
        at
    }

    /// Pushes a function for scripts that calls the [`Host`](super::Host) with this number.
    pub fn push_host_function(&mut self, number: u32) {
        self.room();
        // SAFETY: there is room; `call_host` takes back what is given it here.
        unsafe {
            ffi::lua_pushnumber(self.raw, f64::from(number));
            ffi::lua_pushcclosure(self.raw, call_host, 1);
        }
    }

    // --- tables -------------------------------------------------------------------------------------

    /// Index of a table.
    #[inline]
    pub(super) fn table(&self, index: i32) -> c_int {
        self.table_below(index, self.top())
    }

    /// Index of a table on a stack of so many values.
    #[inline]
    pub(super) fn table_below(&self, index: i32, top: c_int) -> c_int {
        let at = absolute(index, top);
        // SAFETY: a valid index, if any.
        let is_table = at != 0 && unsafe { ffi::lua_type(self.raw, at) } == ffi::LUA_TTABLE;
        assert!(is_table, "a table at {index}");
        at
    }

    /// Replaces the key on top by its value in a table, `nil` if there is none. Asks no metatable.
    #[inline]
    pub fn raw_get(&mut self, table: i32) {
        let top = self.top();
        let at = self.table_below(table, top);
        assert!(top > self.floor);
        // SAFETY: a table, and a key on top.
        unsafe { ffi::lua_rawget_(self.raw, at) };
    }

    /// Pushes the value of a name in a table.
    pub fn raw_get_name(&mut self, table: i32, name: impl AsRef<[u8]>) {
        let at = self.table(table);
        self.push_string(name);
        self.raw_get(at);
    }

    /// Pushes a value of the array in a table.
    #[inline]
    pub fn raw_get_index(&mut self, table: i32, index: i32) {
        let top = self.top();
        let at = self.table_below(table, top);
        self.room_above(top);
        // SAFETY: a table, and room.
        unsafe { ffi::lua_rawgeti_(self.raw, at, index) };
    }

    /// Sets a value in a table: the key below the top, the value on top; takes both. An error if the key
    /// is `nil` or NaN, or memory has come to its limit.
    #[inline]
    pub fn raw_set(&mut self, table: i32) -> Result<(), Raise> {
        let top = self.top();
        let at = self.table_below(table, top);
        assert!(top > self.floor + 1);
        // SAFETY: a valid index.
        match unsafe { ffi::lua_type(self.raw, -2) } {
            ffi::LUA_TNIL => return Err(self.error("table index is nil")),
            ffi::LUA_TNUMBER if self.number(-2).is_some_and(f64::is_nan) => {
                return Err(self.error("table index is NaN"));
            }
            _ => {}
        }
        self.may_grow()?;
        // SAFETY: a table, a key that is allowed, and a value. Lua raises when a table needs more than
        // 2^26 entries outside of its array, of 40 bytes each; what becomes an entry was one before, or a
        // value in an array of which half is empty, 32 bytes: 57 million at most while memory is below
        // `MEMORY_BYTES_MAX`.
        unsafe { ffi::lua_rawset(self.raw, at) };
        Ok(())
    }

    /// Sets the value of a name in a table to what is on top; takes it.
    pub fn raw_set_name(&mut self, table: i32, name: impl AsRef<[u8]>) -> Result<(), Raise> {
        let at = self.table(table);
        self.push_string(name);
        self.insert(-2);
        self.raw_set(at)
    }

    /// Sets a value of the array in a table to what is on top; takes it.
    #[inline]
    pub fn raw_set_index(&mut self, table: i32, index: i32) -> Result<(), Raise> {
        let top = self.top();
        let at = self.table_below(table, top);
        assert!(top > self.floor);
        self.may_grow()?;
        // SAFETY: a table and a value; as for `raw_set`.
        unsafe { ffi::lua_rawseti_(self.raw, at, index) };
        Ok(())
    }

    #[inline]
    fn may_grow(&mut self) -> Result<(), Raise> {
        let extra = self.extra();
        extra.changes += 1;
        match extra.memory.is_exceeded() {
            true => {
                self.room_for_error();
                self.push_string("not enough memory");
                Err(Raise)
            }
            false => Ok(()),
        }
    }

    /// Calls `visit` for each entry of a table, with the key at -2 and the value at -1, which stay. Ends
    /// with what `visit` fails with, and if a table was changed meanwhile.
    pub fn for_each(
        &mut self,
        table: i32,
        mut visit: impl FnMut(&mut Stack<'_>) -> Result<(), Raise>,
    ) -> Result<(), Raise> {
        let at = self.table(table);
        self.push_nil();
        let changes = self.extra().changes;
        loop {
            self.room();
            // SAFETY: a table; the key on top is nil or was its last one, since nothing was changed.
            if unsafe { ffi::lua_next(self.raw, at) } == 0 {
                return Ok(());
            }
            let value = self.top();
            let floor = std::mem::replace(&mut self.floor, value);
            let visited = visit(self);
            self.floor = floor;
            visited?;
            if self.extra().changes != changes {
                return Err(self.error("a table was changed while it was walked"));
            }
            self.set_top(value - 1);
        }
    }

    /// Calls `visit` for each key of a table, while they are numbers and it says true; false if not all
    /// were visited. Whether a table is an array is told in no time by this.
    pub fn number_keys(&mut self, table: i32, mut visit: impl FnMut(f64) -> bool) -> bool {
        let at = self.table(table);
        assert!(self.has_room(2));
        // SAFETY: a table, room for a key and a value, and keys that it has: `visit` cannot reach it.
        unsafe {
            ffi::lua_pushnil(self.raw);
            while ffi::lua_next(self.raw, at) != 0 {
                let is_number = ffi::lua_type(self.raw, -2) == ffi::LUA_TNUMBER;
                if !is_number || !visit(ffi::lua_tonumber(self.raw, -2)) {
                    ffi::lua_settop(self.raw, -3);
                    return false;
                }
                ffi::lua_settop(self.raw, -2);
            }
        }
        true
    }

    /// Pushes a value's metatable; false, and nothing, if it has none.
    pub fn push_metatable(&mut self, index: i32) -> bool {
        let at = self.at(index);
        self.room();
        // SAFETY: a value, and room.
        unsafe { ffi::lua_getmetatable(self.raw, at) != 0 }
    }

    /// Makes the table (or `nil`) on top the metatable of a value; takes it. One of a string is that of
    /// all strings.
    pub fn set_metatable(&mut self, index: i32) {
        let at = self.at(index);
        assert!(matches!(self.kind(-1), Kind::Table | Kind::Nil) && self.top() > self.floor);
        self.extra().changes += 1;
        // SAFETY: a value, and a table or nil on top.
        unsafe { ffi::lua_setmetatable(self.raw, at) };
    }

    /// Makes the table on top the environment of a function; takes it.
    pub fn set_environment(&mut self, function: i32) {
        let at = self.at(function);
        assert!(self.kind(function) == Kind::Function && self.kind(-1) == Kind::Table);
        // SAFETY: a function, and a table on top.
        unsafe { ffi::lua_setfenv(self.raw, at) };
    }

    // --- values that stay ---------------------------------------------------------------------------

    /// Keeps the value on top, and takes it from the stack.
    pub fn keep(&mut self) -> Ref {
        assert!(self.top() > self.floor);
        // SAFETY: a value; the registry is a table that is never as large as Lua raises at.
        Ref(unsafe { ffi::luaL_ref(self.raw, ffi::LUA_REGISTRYINDEX) })
    }

    /// Pushes a value that was kept.
    #[inline]
    pub fn push_ref(&mut self, kept: &Ref) {
        self.room();
        // SAFETY: room; whatever the number, some value is pushed.
        unsafe { ffi::lua_rawgeti_(self.raw, ffi::LUA_REGISTRYINDEX, kept.0) };
    }

    /// Ends the keeping of a value.
    pub fn forget(&mut self, kept: Ref) {
        // SAFETY: a number from `luaL_ref`.
        unsafe { ffi::luaL_unref(self.raw, ffi::LUA_REGISTRYINDEX, kept.0) };
    }

    // --- code ---------------------------------------------------------------------------------------

    /// Compiles a source, and pushes it as a function, or the error's text. `name` is shown in errors, see
    /// `lua_load` (`@user_script`).
    pub fn load(&mut self, source: &[u8], name: &CStr) -> Result<(), Raise> {
        self.room();
        if source.first() == Some(&ffi::LUA_SIGNATURE[0]) {
            // What the compiler says to this byte where it does not stand for compiled code.
            return self.load(b" \x1b", name);
        }
        if source.len() > SOURCE_BYTES_MAX {
            self.push_string("not enough memory");
            return Err(Raise);
        }
        // SAFETY: the source and its name are read now; nothing is collected meanwhile, since the
        // compiler of 5.1.5 does not hold on to all that it makes.
        let status = unsafe {
            ffi::lua_gc(self.raw, ffi::LUA_GCSTOP, 0);
            let (bytes, len) = (source.as_ptr().cast::<c_char>(), source.len());
            let held = (*self.extra).memory.hold(true);
            let status = ffi::luaL_loadbuffer(self.raw, bytes, len, name.as_ptr());
            (*self.extra).memory.hold(held);
            ffi::lua_gc(self.raw, ffi::LUA_GCRESTART, 0);
            status
        };
        match status {
            ffi::LUA_OK => Ok(()),
            _ => Err(Raise),
        }
    }

    /// Calls the function below so many arguments on top; takes them, and pushes so many results (all of
    /// them: -1), or the error's value. `handler` is the index of a function that is given the error
    /// first. While it runs the memory limit holds.
    pub fn call(
        &mut self,
        arguments: i32,
        results: i32,
        handler: Option<i32>,
    ) -> Result<(), CallError> {
        assert!(arguments >= 0 && self.top() > self.floor + arguments);
        let handler = handler.map_or(0, |handler| self.at(handler));
        if results > 0 {
            // SAFETY: checks by itself.
            assert!(unsafe { ffi::lua_checkstack(self.raw, results) } != 0);
        }
        self.extra().changes += 1;
        // SAFETY: a function (or what raises an error when it is called) and its arguments are on top.
        let status = unsafe {
            let held = (*self.extra).memory.hold(true);
            let status = ffi::lua_pcall(self.raw, arguments, results.max(-1), handler);
            (*self.extra).memory.hold(held);
            status
        };
        if let Some(panic) = self.extra().panic.take() {
            resume_unwind(panic);
        }
        match status {
            ffi::LUA_OK => Ok(()),
            ffi::LUA_ERRMEM => Err(CallError::Memory),
            ffi::LUA_ERRERR => Err(CallError::Handler),
            _ => Err(CallError::Runtime),
        }
    }
}

/// An index counted from below on a stack of so many values, 0 if there is no such value.
#[inline]
fn absolute(index: i32, top: c_int) -> c_int {
    match index {
        1.. if index <= top => index,
        ..=-1 if index >= -top => top + index + 1,
        _ => 0,
    }
}
