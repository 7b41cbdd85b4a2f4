//! Where functions stand, errors with the texts of Lua's auxiliary library, and arguments as it checks
//! them.

use std::ffi::CStr;
use std::mem::MaybeUninit;

use mlua_sys::lua51 as ffi;

use super::{Kind, Raise, Stack};

/// Where a function stands, see [`Stack::place`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The name of its source, as it was loaded (`@user_script`); `=[C]` if it is none of Lua's.
    pub source: Vec<u8>,
    /// The line; -1 if it is none of Lua's.
    pub line: i32,
    /// It is none of Lua's.
    pub is_native: bool,
}

impl Stack<'_> {
    /// Whether it is a function that is none of Lua's.
    pub fn is_native(&self, index: i32) -> bool {
        let at = self.find(index);
        // SAFETY: a valid index.
        at != 0 && unsafe { ffi::lua_iscfunction(self.raw, at) } != 0
    }

    /// Where the function `level` calls up stands by now: its source's short name and line (`-1` if it is
    /// none of Lua's). `None` if there are not that many.
    pub fn location(&self, level: i32) -> Option<(Vec<u8>, i32)> {
        let debug = self.debug(level, c"Sl")?;
        // SAFETY: filled in by Lua, and ended by a NUL.
        let source = unsafe { CStr::from_ptr(debug.short_src.as_ptr()) };
        Some((source.to_bytes().to_vec(), debug.currentline))
    }

    /// The name by which the function `level` calls up was called, if that is known, and whether as a
    /// method.
    pub fn called_as(&self, level: i32) -> Option<(Vec<u8>, bool)> {
        let debug = self.debug(level, c"n")?;
        if debug.name.is_null() {
            return None;
        }
        // SAFETY: texts that Lua has, ended by a NUL, copied at once.
        unsafe {
            let is_method = CStr::from_ptr(debug.namewhat).to_bytes() == b"method";
            Some((CStr::from_ptr(debug.name).to_bytes().to_vec(), is_method))
        }
    }

    /// Where the function `level` calls up stands by now, with the whole name of its source. `None` if
    /// there are not that many.
    pub fn place(&self, level: i32) -> Option<Place> {
        let debug = self.debug(level, c"Sl")?;
        // SAFETY: texts that Lua has, ended by a NUL, copied at once.
        unsafe {
            Some(Place {
                source: CStr::from_ptr(debug.source).to_bytes().to_vec(),
                line: debug.currentline,
                is_native: CStr::from_ptr(debug.what).to_bytes() == b"C",
            })
        }
    }

    fn debug(&self, level: i32, what: &CStr) -> Option<ffi::lua_Debug> {
        let mut debug = MaybeUninit::<ffi::lua_Debug>::zeroed();
        // SAFETY: zeros are a valid `lua_Debug`; Lua fills in what is asked for.
        unsafe {
            if level < 0 || ffi::lua_getstack(self.raw, level, debug.as_mut_ptr()) == 0 {
                return None;
            }
            ffi::lua_getinfo(self.raw, what.as_ptr(), debug.as_mut_ptr());
            Some(debug.assume_init())
        }
    }

    /// An error whose text begins with the line of the script that has called (`luaL_error`).
    #[cold]
    pub fn error(&mut self, text: impl AsRef<[u8]>) -> Raise {
        let mut whole = Vec::new();
        if let Some((source, line)) = self.location(1)
            && line > 0
        {
            whole.extend_from_slice(&source);
            whole.extend_from_slice(format!(":{line}: ").as_bytes());
        }
        whole.extend_from_slice(text.as_ref());
        self.room_for_error();
        self.push_string(whole);
        Raise
    }

    /// An error about an argument (`luaL_argerror`): `bad argument #1 to 'encode' (...)`.
    #[cold]
    pub fn argument_error(&mut self, argument: i32, text: impl AsRef<[u8]>) -> Raise {
        let mut whole = match (self.called_as(0), self.location(0)) {
            (None, None) => format!("bad argument #{argument}").into_bytes(),
            (None, Some(_)) => format!("bad argument #{argument} to '?'").into_bytes(),
            (Some((name, is_method)), _) => match argument - i32::from(is_method) {
                0 if is_method => [&b"calling '"[..], &name, b"' on bad self"].concat(),
                argument => {
                    let argument = format!("bad argument #{argument} to '");
                    [argument.as_bytes(), &name, b"'"].concat()
                }
            },
        };
        whole.extend_from_slice(b" (");
        whole.extend_from_slice(text.as_ref());
        whole.push(b')');
        self.error(whole)
    }

    /// A number as an argument, or a string that looks like one (`luaL_checknumber`).
    #[inline]
    pub fn number_argument(&mut self, argument: i32) -> Result<f64, Raise> {
        match self.to_number(argument) {
            Some(number) => Ok(number),
            None => Err(self.type_error(argument, "number")),
        }
    }

    /// Makes sure that an argument is a string; a number becomes one (`luaL_checklstring`).
    #[inline]
    pub fn string_argument(&mut self, argument: i32) -> Result<(), Raise> {
        match self.kind(argument) != Kind::None && self.make_string(argument) {
            true => Ok(()),
            false => Err(self.type_error(argument, "string")),
        }
    }

    /// An error about the type of an argument (`luaL_typerror`).
    #[cold]
    pub fn type_error(&mut self, argument: i32, expected: &str) -> Raise {
        let got = self.kind(argument).name();
        self.argument_error(argument, format!("{expected} expected, got {got}"))
    }

    /// An error if a value of this size is too large. To be asked where a script makes much of little.
    pub fn allow(&mut self, bytes: usize) -> Result<(), Raise> {
        match bytes <= self.memory_left_bytes() {
            true => Ok(()),
            false => {
                self.room_for_error();
                self.push_string("not enough memory");
                Err(Raise)
            }
        }
    }

    /// An error if more memory is in use than may be: what a function pushes is not refused. All of the
    /// stack that is the function's is dropped then.
    #[inline]
    pub fn within_limit(&mut self) -> Result<(), Raise> {
        match self.extra().memory.is_exceeded() {
            false => Ok(()),
            true => self.collect_or_fail(),
        }
    }

    #[cold]
    fn collect_or_fail(&mut self) -> Result<(), Raise> {
        self.collect_garbage();
        if !self.extra().memory.is_exceeded() {
            return Ok(());
        }
        self.set_top(self.floor);
        self.push_string("not enough memory");
        Err(Raise)
    }
}
