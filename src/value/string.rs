//! String values.
