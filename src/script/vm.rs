//! An interpreter with everything that scripts see.

use super::{Caller, Script};
use crate::resp::parse::Argv;
use crate::resp::write::ReplyWriter;
use crate::spec::CmdError;

/// What an interpreter is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// Scripts of EVAL.
    Scripts,
    /// Functions of libraries.
    Functions,
}

/// Settings
#[derive(Clone, Debug)]
pub struct Settings {
    /// What it is for.
    pub used_for: Use,
    /// Most memory that it may have, bytes (0: as much as there can be).
    pub memory_limit_bytes: u64,
    /// Scripts have `newproxy`, `getfenv` and `setfenv`, too (`lua-enable-insecure-api`).
    pub has_insecure_api: bool,
    /// `redis.REDIS_VERSION`
    pub redis_version: &'static str,
    /// `redis.KIVI_VERSION`
    pub kivi_version: &'static str,
}
/// Code
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Code(u32);

/// Why a script has ended without a result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What the client is told: the whole text.
    pub error: CmdError,
    /// It is the error of a command that the script has called, which was counted when it failed.
    pub is_counted: bool,
}
/// See the module's text.
pub struct Vm;
impl Vm {
    /// x
    pub fn new(_: &Settings) -> Vm { Vm }
    /// x
    pub fn script(&mut self, _: &Script, _epoch: u64) -> Result<Code, CmdError> { Ok(Code(0)) }
    /// x
    pub fn run(&mut self, _: Code, _: Argv<'_>, _: usize, _: &mut dyn Caller) -> Result<(), Failure> { Ok(()) }
    /// x
    pub fn reply(&mut self, out: &mut ReplyWriter, _: &mut dyn FnMut(&[u8], bool)) { out.null() }
    /// x
    pub fn used_bytes(&self) -> u64 { 0 }
}
