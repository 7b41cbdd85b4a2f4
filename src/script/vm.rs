//! An interpreter with everything that scripts see.

use crate::sys::lua::State;

/// See the module's text.
pub struct Vm {
    /// The interpreter.
    pub state: State,
}
