//! The `kivi-server` binary.
fn main() {}
