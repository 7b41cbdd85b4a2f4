//! Scripts by their SHA1.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::{Proof, ScriptFlags};

/// A script of EVAL or SCRIPT LOAD.
#[derive(Debug)]
pub struct Script {
    /// Its number: no two that were ever made have the same.
    pub id: u64,
    /// 40 hexadecimal digits.
    pub sha: [u8; 40],
    /// The whole source, shebang included.
    pub source: Arc<[u8]>,
    /// By its shebang.
    pub flags: ScriptFlags,
    /// What can be told of it before it runs.
    pub proof: Proof,
    /// When it last ran, for eviction.
    pub used_at: AtomicU64,
}

/// See the module's text.
#[derive(Default)]
pub struct Cache {}
