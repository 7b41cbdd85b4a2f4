//! The registry, without commands.
