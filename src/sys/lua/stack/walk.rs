//! Walks over tables whose keys and values are mostly numbers and strings.

use mlua_sys::lua51 as ffi;

use super::{Plain, Raise, Stack};

impl Stack<'_> {
    /// [`Stack::for_each`] with what key and value are, if they are numbers or strings.
    #[inline]
    pub fn for_each_plain(
        &mut self,
        table: i32,
        mut visit: impl FnMut(&mut Stack<'_>, Option<Plain<'_>>, Option<Plain<'_>>) -> Result<(), Raise>,
    ) -> Result<(), Raise> {
        let at = self.table(table);
        self.push_nil();
        let changes = self.extra().changes;
        let value = self.top() + 1;
        self.room();
        // SAFETY: a table, room for a key and a value, which stays; the key on top is nil or was the
        // table's last one, since nothing was changed.
        while unsafe { ffi::lua_next(self.raw, at) } != 0 {
            let floor = std::mem::replace(&mut self.floor, value);
            // SAFETY: key and value are there. Their bytes stay while they are on the stack, below the
            // floor of the only way to change it.
            let visited = unsafe {
                let (key, value) = (plain_at(self.raw, value - 1), plain_at(self.raw, value));
                visit(self, key, value)
            };
            self.floor = floor;
            visited?;
            if self.extra().changes != changes {
                return Err(self.error("a table was changed while it was walked"));
            }
            // SAFETY: the key was there before `visit`, which could not take it away.
            unsafe { ffi::lua_settop(self.raw, value - 1) };
        }
        Ok(())
    }
}

/// Most values of a table that [`Stack::is_list`] looks at.
const LIST_MAX: usize = 8;

impl Stack<'_> {
    /// Whether a table has only the values 1, 2, ... and no others. A long one, or one with some more, may be
    /// taken for one that has others.
    #[inline]
    pub fn is_list(&mut self, table: i32) -> bool {
        let len = self.len(table);
        if len > LIST_MAX {
            return false;
        }
        // That nothing comes behind the last one would not be enough: numbers may stand behind names.
        let mut count = 0;
        let is_all = self.number_keys(table, |key| {
            count += 1;
            key == count as f64
        });
        is_all && count == len
    }
}

/// A string or a number, as it is.
///
/// # Safety
/// There is a value at this index, and its bytes are used only while it stays there.
#[inline]
unsafe fn plain_at<'v>(raw: *mut ffi::lua_State, at: i32) -> Option<Plain<'v>> {
    // SAFETY: a valid index, and the functions of the type that was found.
    unsafe {
        match ffi::lua_type(raw, at) {
            ffi::LUA_TSTRING => {
                let mut len = 0;
                let bytes = ffi::lua_tolstring(raw, at, &mut len);
                Some(Plain::String(std::slice::from_raw_parts(bytes.cast(), len)))
            }
            ffi::LUA_TNUMBER => Some(Plain::Number(ffi::lua_tonumber(raw, at))),
            _ => None,
        }
    }
}
