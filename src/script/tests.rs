//! Scripting as a whole, through a session.

mod arguments;
mod weaknesses;
