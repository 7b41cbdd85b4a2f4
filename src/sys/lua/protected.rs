//! What a Rust function does that may run Lua code or raise: in protected calls; and how it lets the host
//! know that it is at work.

use std::ffi::c_int;

use mlua_sys::lua51 as ffi;

use super::stack::{Kind, Raise, Stack, on_count, with_host};

/// Steps of Rust functions between two ticks.
pub(super) const STEPS: u32 = 100_000;

impl Stack<'_> {
    /// The entry of a table behind this key (on top; `nil` for the first): replaces the key by the next one
    /// and pushes its value; or takes it and says false at the end. An error if there is no such key.
    pub fn next(&mut self, table: i32) -> Result<bool, Raise> {
        let top = self.top();
        let at = self.table_below(table, top);
        assert!(top > self.floor);
        self.room_above(top);
        // SAFETY: there is room for a copy of the key, which is replaced by its value.
        let is_known = unsafe {
            ffi::lua_type(self.raw, -1) == ffi::LUA_TNIL || {
                ffi::lua_pushvalue(self.raw, -1);
                ffi::lua_rawget_(self.raw, at);
                let kind = ffi::lua_type(self.raw, -1);
                ffi::lua_settop(self.raw, -2);
                kind != ffi::LUA_TNIL
            }
        };
        if is_known {
            // SAFETY: a table, room, and a key that is in there: nothing is raised.
            return Ok(unsafe { ffi::lua_next(self.raw, at) } != 0);
        }
        // It has been there before its value was taken away; or never, which is an error.
        self.push_value(at);
        self.insert(-2);
        self.protected(next_entry, 2, 2)?;
        let has_more = self.kind(-2) != Kind::Nil;
        if !has_more {
            self.pop(2);
        }
        Ok(has_more)
    }

    /// Replaces the key on top by its value in whatever is at this index, as Lua code would find it.
    pub fn get(&mut self, index: i32) -> Result<(), Raise> {
        self.push_value(index);
        self.insert(-2);
        self.protected(get_entry, 2, 1)
    }

    /// Whether `one < other` as Lua code would find it.
    pub fn is_less(&mut self, one: i32, other: i32) -> Result<bool, Raise> {
        if let (Some(one), Some(other)) = (self.number(one), self.number(other)) {
            return Ok(one < other);
        }
        if let (Some(one), Some(other)) = (self.string(one), self.string(other)) {
            return Ok(one < other);
        }
        let (one, other) = (self.at(one), self.at(other));
        self.push_value(one);
        self.push_value(other);
        self.protected(compare, 2, 1)?;
        let is_less = self.is_true(-1);
        self.pop(1);
        Ok(is_less)
    }

    /// Calls a function of ours with so many arguments from the top.
    fn protected(
        &mut self,
        function: unsafe extern "C-unwind" fn(*mut ffi::lua_State) -> c_int,
        arguments: i32,
        results: i32,
    ) -> Result<(), Raise> {
        self.room();
        // SAFETY: there is room, and there are the arguments, which `call` checks.
        unsafe {
            ffi::lua_pushcclosure(self.raw, function, 0);
            ffi::lua_insert(self.raw, -1 - arguments);
        }
        self.call(arguments, results, None).map_err(|_| Raise)
    }

    /// The function has done so many steps of work. Now and then the host is asked whether it goes on; an
    /// error of his ends the script, see [`Host::tick`](super::Host::tick).
    #[inline]
    pub fn spend(&mut self, steps: usize) -> Result<(), Raise> {
        let extra = self.extra();
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        extra.steps = extra.steps.saturating_add(steps);
        match extra.steps < STEPS {
            true => Ok(()),
            false => self.tick(),
        }
    }

    #[cold]
    fn tick(&mut self) -> Result<(), Raise> {
        self.extra().steps = 0;
        let mut inner = Stack {
            floor: self.top(),
            is_function: false,
            ..*self
        };
        // SAFETY: the interpreter is this stack's.
        let ticked = unsafe {
            with_host(self.extra, |host| match host {
                Some(host) => host.tick(&mut inner),
                None => Ok(()),
            })
        };
        if ticked.is_err() {
            // Whatever catches this error is asked again at its first step.
            self.extra().steps = STEPS;
            // SAFETY: a thread of Lua's, and a hook.
            unsafe { ffi::lua_sethook(self.raw, Some(on_count), ffi::LUA_MASKCOUNT, 1) };
        }
        ticked
    }

    // --- the interpreter ----------------------------------------------------------------------------

    /// A number that belongs to the interpreter.
    pub fn word(&mut self) -> u64 {
        self.extra().word
    }

    /// Changes [`Stack::word`].
    pub fn set_word(&mut self, word: u64) {
        self.extra().word = word;
    }

    /// How many bytes the interpreter may still take.
    pub fn memory_left_bytes(&mut self) -> usize {
        self.extra().memory.left_bytes()
    }

    /// How many bytes the interpreter uses.
    pub fn used_bytes(&mut self) -> usize {
        self.extra().memory.used_bytes() as usize
    }

    /// Collects all garbage.
    pub fn collect_garbage(&mut self) {
        // SAFETY: nothing has a finalizer.
        unsafe { ffi::lua_gc(self.raw, ffi::LUA_GCCOLLECT, 0) };
    }

    /// Collects a bit of the garbage; whether that was the last of it.
    pub fn collect_some_garbage(&mut self, size: i32) -> bool {
        // SAFETY: nothing has a finalizer.
        unsafe { ffi::lua_gc(self.raw, ffi::LUA_GCSTEP, size.clamp(0, 1 << 20)) != 0 }
    }
}

/// `next`, to be called protected.
unsafe extern "C-unwind" fn next_entry(raw: *mut ffi::lua_State) -> c_int {
    // SAFETY: a function of Lua's with a table and a key.
    unsafe {
        match ffi::lua_next(raw, 1) {
            0 => 0,
            _ => 2,
        }
    }
}

/// `value[key]`, to be called protected.
unsafe extern "C-unwind" fn get_entry(raw: *mut ffi::lua_State) -> c_int {
    // SAFETY: a function of Lua's with two arguments.
    unsafe { ffi::lua_gettable_(raw, 1) };
    1
}

/// `one < other`, to be called protected.
unsafe extern "C-unwind" fn compare(raw: *mut ffi::lua_State) -> c_int {
    // SAFETY: a function of Lua's with two arguments.
    unsafe { ffi::lua_pushboolean(raw, ffi::lua_lessthan(raw, 1, 2)) };
    1
}
