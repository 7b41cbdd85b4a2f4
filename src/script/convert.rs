//! Replies to Lua values and back.
