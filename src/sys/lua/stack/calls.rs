//! What Lua calls: functions of ours, and the hook that counts; and how the host is reached from there.
//!
//! Lua raises by `longjmp`, so nothing that has anything to drop may be on these frames when it does.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mlua_sys::lua51 as ffi;

use super::{Function, ROOM, Raise, Stack};
use crate::sys::lua::protected::STEPS;
use crate::sys::lua::{Extra, Host, extra_of};

/// Free places that Lua gives each function, however many its arguments (`LUA_MINSTACK`); more cannot be
/// asked for when these are very many.
const LEAST_ROOM: c_int = 20;

/// Most values that the stack of a function has where Lua asks (`LUAI_MAXCSTACK`); arguments may be more.
const VALUES_MAX: c_int = 8000;
/// Arguments that a function of ours which is not a wide one is given at most: what is behind them, it would not
/// look at.
const ARGUMENTS_MAX: c_int = VALUES_MAX - ROOM;

/// Runs a Rust function that Lua has called, with what has to be so meanwhile.
///
/// # Safety
/// `raw` is what Lua gave a function of an interpreter of ours. `is_wide`: Lua has just called it, so that
/// there are `LEAST_ROOM` places, and it makes do with them.
unsafe fn enter(
    raw: *mut ffi::lua_State,
    is_wide: bool,
    floor: impl FnOnce(&Stack<'_>) -> c_int,
    work: impl FnOnce(&mut Stack<'_>, *mut Extra) -> Result<i32, Raise>,
) -> Option<c_int> {
    // SAFETY: asked for by the caller; during the call the stack is the function's.
    let (extra, mut stack) = unsafe {
        let extra = extra_of(raw);
        (extra, Stack::new(raw, extra))
    };
    // SAFETY: `extra` lives as long as the interpreter.
    let held = unsafe { (*extra).memory.hold(false) };
    stack.floor = floor(&stack);
    // SAFETY: checks by itself.
    let has_room = unsafe { ffi::lua_checkstack(raw, ROOM) } != 0;
    stack.sure = match has_room {
        true => stack.top() + ROOM,
        // Not asked for: that is refused while there are more values than Lua counts up to.
        false if is_wide => stack.top() + LEAST_ROOM,
        false => 0,
    };
    let done = match has_room || is_wide {
        true => match catch_unwind(AssertUnwindSafe(|| work(&mut stack, extra))) {
            Ok(done) => done,
            Err(panic) => {
                stack.extra().panic = Some(panic);
                // SAFETY: the place below the limit of the stack that Lua keeps.
                unsafe { ffi::lua_pushnil(raw) };
                Err(Raise)
            }
        },
        // Memory that is refused: the error's text takes the place of the arguments.
        // The hook does not come here: it has asked before.
        false => {
            stack.set_top(0);
            stack.push_string("stack overflow");
            Err(Raise)
        }
    };
    // SAFETY: as above.
    unsafe { (*extra).memory.hold(held) };
    match done {
        Ok(results) => {
            assert!(results >= 0 && results <= stack.top());
            Some(results)
        }
        Err(Raise) => {
            assert!(stack.top() > 0, "an error has a value");
            None
        }
    }
}

/// What [`Stack::push_function`] makes Lua call.
pub(super) unsafe extern "C-unwind" fn call_function(raw: *mut ffi::lua_State) -> c_int {
    // SAFETY: what Lua gave; nothing is on this frame.
    unsafe { call_upvalue(raw, false) }
}

/// What [`Stack::push_wide_function`] makes Lua call.
pub(super) unsafe extern "C-unwind" fn call_wide(raw: *mut ffi::lua_State) -> c_int {
    // SAFETY: as above.
    unsafe { call_upvalue(raw, true) }
}

/// # Safety
/// As for [`enter`], with a [`Function`] as the first upvalue.
#[inline]
unsafe fn call_upvalue(raw: *mut ffi::lua_State, is_wide: bool) -> c_int {
    // SAFETY: the upvalue was made of a `Function`; when `enter` has returned no frame is left that
    // has anything to drop.
    unsafe {
        let function = ffi::lua_touserdata(raw, ffi::lua_upvalueindex(1));
        let function = std::mem::transmute::<*mut std::ffi::c_void, Function>(function);
        let call = |stack: &mut Stack<'_>, _| {
            stack.is_function = true;
            let results = function(stack)?;
            stack.within_limit()?;
            Ok(results)
        };
        if !is_wide && ffi::lua_gettop(raw) > ARGUMENTS_MAX {
            ffi::lua_settop(raw, ARGUMENTS_MAX);
        }
        match enter(raw, is_wide, |_| 0, call) {
            Some(results) => results,
            None => ffi::lua_error(raw),
        }
    }
}

/// What [`Stack::push_host_function`] makes Lua call.
pub(super) unsafe extern "C-unwind" fn call_host(raw: *mut ffi::lua_State) -> c_int {
    // SAFETY: as for `call_function`; the upvalue was made of a u32.
    unsafe {
        let number = ffi::lua_tonumber(raw, ffi::lua_upvalueindex(1)) as u32;
        let call = |stack: &mut Stack<'_>, extra| {
            with_host(extra, |host| match host {
                Some(host) => host.call(number, stack),
                None => Err(stack.error("this function is only for scripts that run")),
            })
        };
        match enter(raw, true, |_| 0, call) {
            Some(results) => results,
            None => ffi::lua_error(raw),
        }
    }
}

/// The hook that counts instructions.
pub(in crate::sys::lua) unsafe extern "C-unwind" fn on_count(
    raw: *mut ffi::lua_State,
    _: *mut ffi::lua_Debug,
) {
    // SAFETY: as for `call_function`. The values of the function that was interrupted are below the
    // floor.
    unsafe {
        let tick = |stack: &mut Stack<'_>, extra| {
            with_host(extra, |host| match host {
                Some(host) => host.tick(stack).map(|()| 0),
                None => Ok(0),
            })
        };
        let extra = extra_of(raw);
        let ticks = (*extra).tick;
        // Memory that is refused would be taken for a full stack, for ever.
        let held = (*extra).memory.hold(false);
        let has_room = ffi::lua_checkstack(raw, ROOM) != 0;
        (*extra).memory.hold(held);
        if !has_room {
            // The function is about to pass very many values on: it is asked behind that.
            ffi::lua_sethook(raw, Some(on_count), ffi::LUA_MASKCOUNT, 1);
            return;
        }
        match enter(raw, false, |stack| stack.top(), tick) {
            Some(_) => {
                if ffi::lua_gethookcount(raw) != ticks {
                    ffi::lua_sethook(raw, Some(on_count), ffi::LUA_MASKCOUNT, ticks);
                }
            }
            None => {
                (*extra).steps = STEPS;
                ffi::lua_sethook(raw, Some(on_count), ffi::LUA_MASKCOUNT, 1);
                ffi::lua_error(raw)
            }
        }
    }
}

/// Lends the host, who is not reached a second time meanwhile.
///
/// # Safety
/// `extra` is an interpreter's.
pub(in crate::sys::lua) unsafe fn with_host<R>(
    extra: *mut Extra,
    work: impl FnOnce(Option<&mut dyn Host>) -> R,
) -> R {
    // SAFETY: the pointer is there only while the host is borrowed by `State::with_host`, and taken out
    // while it is used.
    unsafe {
        let host = (*extra).host.take();
        let result = work(host.map(|host| &mut *host.as_ptr()));
        (*extra).host = host;
        result
    }
}
