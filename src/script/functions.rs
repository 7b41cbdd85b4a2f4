//! Libraries of functions.

use std::sync::Arc;

use super::{Proof, ScriptFlags};

/// A library as FUNCTION LOAD has taken it.
#[derive(Debug)]
pub struct Library {
    /// Its number: no two that were ever loaded have the same.
    pub id: u64,
    /// `name=` of its shebang.
    pub name: Arc<str>,
    /// The whole source, shebang included.
    pub source: Arc<[u8]>,
    /// What it has registered.
    pub functions: Vec<Function>,
    /// Its functions keep nothing between calls, so that every interpreter may have its own.
    pub is_stateless: bool,
}

/// A function of a library.
#[derive(Debug)]
pub struct Function {
    /// Its name, unique among all libraries.
    pub name: Arc<str>,
    /// Its description.
    pub description: Option<Arc<str>>,
    /// Its flags.
    pub flags: ScriptFlags,
    /// What can be told of it before it runs.
    pub proof: Proof,
}

/// All libraries.
#[derive(Default)]
pub struct Libraries {}
