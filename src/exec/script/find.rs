//! Which script a request names, and what is known of it before it runs.
//!
//! A worker keeps what it has for scripts ([`Desk`]): its interpreters, and the scripts that it has run
//! lately, so that the usual case asks nobody else.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::commands::{ScriptCall, ScriptCode};
use crate::config::Config;
use crate::resp::parse::Argv;
use crate::script::vm::{Code, Settings, Use, Vm};
use crate::script::{Proof, Recent, Script, ScriptFlags, Scripts, cache};
use crate::server::{KIVI_VERSION, REDIS_VERSION};
use crate::spec::CmdError;
use crate::sys::tsc;

use super::super::{Exec, admit};

/// What the memory of an interpreter may change by before all are told, bytes.
const TOLD_BYTES: u64 = 16 << 10;

const NO_SCRIPT: CmdError = CmdError::text("NOSCRIPT No matching script.");
const NOT_READ_ONLY: CmdError =
    CmdError::text("ERR Can not execute a script with write flag using *_ro command.");

/// A script that was found and can run.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) code: Code,
    pub(super) flags: ScriptFlags,
    pub(super) proof: Proof,
}

/// See the module's text.
#[derive(Default)]
pub(in crate::exec) struct Desk {
    /// Made for the first script; taken out while one runs.
    scripts: RefCell<Option<Box<Vm>>>,
    recent: RefCell<Recent>,
    /// Memory of the interpreters, as all were told, bytes.
    told_bytes: Cell<u64>,
}

impl Desk {
    /// Tells all what the interpreters take by now, if that has changed much.
    fn tell_bytes(&self, scripts: &Scripts, bytes: u64) {
        let told = self.told_bytes.get();
        if bytes.abs_diff(told) >= TOLD_BYTES || bytes == 0 {
            self.told_bytes.set(bytes);
            let total = &scripts.vm_bytes;
            total.fetch_add(bytes.wrapping_sub(told), Ordering::Relaxed);
        }
    }

    /// The worker ends.
    pub(in crate::exec) fn close(&self, scripts: &Scripts) {
        self.tell_bytes(scripts, 0);
    }
}

impl Exec {
    /// Finds the script that a request names, or what is wrong with it, and does `work` with it and the
    /// interpreter that it is in.
    pub(super) fn with_script<R>(
        &self,
        config: &Config,
        argv: Argv<'_>,
        call: ScriptCall,
        work: impl FnOnce(Result<Found, CmdError>, &mut Vm) -> R,
    ) -> R {
        let vm = self.desk.scripts.borrow_mut().take();
        let mut vm = vm.unwrap_or_else(|| Box::new(new_vm(config, Use::Scripts)));
        let found = match call.code {
            ScriptCode::Source => self.find_source(&mut vm, &argv[1]),
            ScriptCode::Sha => self.find_sha(&mut vm, &argv[1]),
            ScriptCode::Function => Err(CmdError::text("ERR Function not found")),
        };
        let found = found.and_then(|found| self.may_run(found, call, config));
        let result = work(found, &mut vm);
        self.desk.tell_bytes(&self.server.scripts, vm.used_bytes());
        *self.desk.scripts.borrow_mut() = Some(vm);
        result
    }

    /// The script with this source, which is kept from now on.
    fn find_source(&self, vm: &mut Vm, source: &[u8]) -> Result<Found, CmdError> {
        let (cache, tick) = (&self.server.scripts.cache, tsc::ticks());
        if let Some(script) = self.desk.recent.borrow_mut().by_source(cache, source, tick) {
            return self.known(vm, script);
        }
        let script = Arc::new(Script::new(source)?);
        vm.script(&script, cache.flushes())?;
        self.known(vm, &cache.evaluate(script, tick))
    }

    /// The script with this SHA1.
    fn find_sha(&self, vm: &mut Vm, sha: &[u8]) -> Result<Found, CmdError> {
        let (cache, tick) = (&self.server.scripts.cache, tsc::ticks());
        let sha = cache::parse_sha(sha).ok_or(NO_SCRIPT)?;
        match self.desk.recent.borrow_mut().by_sha(cache, &sha, tick) {
            Some(script) => self.known(vm, script),
            None => Err(NO_SCRIPT),
        }
    }

    /// What is known of a script.
    #[inline]
    fn known(&self, vm: &mut Vm, script: &Script) -> Result<Found, CmdError> {
        Ok(Found {
            code: vm.script(script, self.server.scripts.cache.flushes())?,
            flags: script.flags,
            proof: *script.proof.get_or_init(|| self.prove(script)),
        })
    }

    /// What can be told of a script before it runs.
    #[cold]
    fn prove(&self, script: &Script) -> Proof {
        let _ = script;
        Proof::default()
    }

    /// Whether a script may run that says itself what it does.
    fn may_run(&self, found: Found, call: ScriptCall, config: &Config) -> Result<Found, CmdError> {
        if found.flags.is_legacy || found.flags.no_writes {
            return Ok(found);
        }
        if let Some(error) = admit::writes_refused(&self.server, config) {
            return Err(error);
        }
        match call.is_read_only {
            true => Err(NOT_READ_ONLY),
            false => Ok(found),
        }
    }
}

#[cold]
fn new_vm(config: &Config, used_for: Use) -> Vm {
    Vm::new(&Settings {
        used_for,
        memory_limit_bytes: config.lua_memory_limit_bytes,
        has_insecure_api: config.lua_enable_insecure_api,
        redis_version: REDIS_VERSION,
        kivi_version: KIVI_VERSION,
    })
}
