//! Functions of `string` that are ours: those with patterns, and `rep`, whose result is refused before it is
//! made.

use crate::script::lib::arguments::int;
use crate::script::lib::pattern;
use crate::sys::lua::{Raise, Stack};

use super::set_functions;

pub(super) fn open(stack: &mut Stack<'_>, library: i32) {
    set_functions(stack, library, &pattern::FUNCTIONS);
    set_functions(stack, library, &[("rep", rep)]);
}

fn rep(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    stack.string_argument(1)?;
    let count = int(stack, 2)?.max(0) as usize;
    let bytes = stack.len(1).saturating_mul(count);
    stack.allow(bytes)?;
    stack.spend(bytes / 64)?;
    let repeated = stack.string(1).unwrap_or_default().repeat(match bytes {
        0 => 0,
        _ => count,
    });
    stack.push_string(repeated);
    Ok(1)
}
