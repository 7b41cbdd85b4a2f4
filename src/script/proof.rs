//! What can be told of a script before it runs.

/// See the module's text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Proof {
    /// Its calls name only keys that were declared, and it ends after few steps: the shards of its
    /// declared keys are all that it needs.
    pub is_bounded: bool,
    /// It calls only commands that read.
    pub reads_only: bool,
}
