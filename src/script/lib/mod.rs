//! Libraries that scripts find loaded. Each has `pub fn open(stack: &mut Stack<'_>)`, which pushes its
//! table; what it does is Redis's, with limits on depth and sizes.

pub mod arguments;
pub mod bit;
pub mod cjson;
pub mod cmsgpack;
pub mod pattern;
pub mod structs;
