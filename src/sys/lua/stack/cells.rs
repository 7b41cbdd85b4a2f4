//! Functions that share numbers, as those of `cjson` share their settings.
//!
//! The numbers are a userdata without a finalizer; scripts do not get to see it, nothing else is a
//! userdata of its size, and any bits are numbers.

use mlua_sys::lua51 as ffi;

use super::Stack;

/// So many.
const CELLS: usize = 12;

/// Numbers that functions share, see [`Stack::push_cells`].
pub type Cells = [i32; CELLS];

impl Stack<'_> {
    /// Pushes numbers that functions can share ([`Stack::push_closure`]). No script must get to see them.
    pub fn push_cells(&mut self, cells: Cells) {
        self.room();
        // SAFETY: there is room; Lua aligns userdata for any number, and this is one of that size, written
        // before anybody reads it.
        unsafe {
            let at = ffi::lua_newuserdata(self.raw, size_of::<Cells>());
            at.cast::<Cells>().write(cells);
        }
    }

    /// What stands in shared numbers, `None` if it is something else.
    pub fn cells(&self, index: i32) -> Option<Cells> {
        // SAFETY: memory of this size was written by `push_cells`, and changes only below.
        Some(unsafe { self.cells_at(index)?.read() })
    }

    /// Changes shared numbers; false if it is something else.
    pub fn set_cells(&mut self, index: i32, cells: Cells) -> bool {
        let Some(at) = self.cells_at(index) else {
            return false;
        };
        // SAFETY: as above; nobody has a reference.
        unsafe { at.write(cells) };
        true
    }

    fn cells_at(&self, index: i32) -> Option<*mut Cells> {
        let at = self.find(index);
        // SAFETY: a valid index; only `push_cells` makes userdata of this size.
        unsafe {
            let is_cells = at != 0
                && ffi::lua_type(self.raw, at) == ffi::LUA_TUSERDATA
                && ffi::lua_objlen(self.raw, at) == size_of::<Cells>();
            is_cells.then(|| ffi::lua_touserdata(self.raw, at).cast())
        }
    }
}
