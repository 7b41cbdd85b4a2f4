//! Scripting as a whole, through a session.

mod weaknesses;
