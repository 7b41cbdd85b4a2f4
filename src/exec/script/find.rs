//! Which script a request names, and what is known of it before it runs.
//!
//! A worker keeps what it has for scripts ([`Desk`]): its interpreters, and the scripts that it has run
//! lately, so that the usual case asks nobody else.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::commands::{CommandTable, Registered, ScriptCall};
use crate::config::Config;
use crate::resp::parse::Argv;
use crate::script::functions::{Libraries, Library, NO_FUNCTION, Proven, Ready, Registry, Shelf};
use crate::script::proof::{self, Facts};
use crate::script::vm::{Code, Use, Vm};
use crate::script::{Proof, Recent, Script, ScriptFlags, Scripts, cache, functions, shebang};
use crate::server::functions::settings;
use crate::spec::{CmdError, Flags, ScriptCode};
use crate::sys::tsc;

use super::super::{Exec, admit};

/// What the memory of an interpreter may change by before all are told, bytes.
const TOLD_BYTES: u64 = 16 << 10;

const NO_SCRIPT: CmdError = CmdError::text("NOSCRIPT No matching script.");
/// Only in a transaction: elsewhere such a script is refused before.
const NOT_ALLOWED_OOM: CmdError = CmdError::text(
    "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'",
);
const NOT_READ_ONLY: CmdError =
    CmdError::text("ERR Can not execute a script with write flag using *_ro command.");

/// A script that was found and can run.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) code: Code,
    pub(super) flags: ScriptFlags,
    pub(super) proof: Proof,
    /// It may keep something between calls, so it cannot begin again.
    pub(super) keeps_state: bool,
}

impl Found {
    fn of(function: Ready, keeps_state: bool) -> Found {
        Found {
            code: function.code,
            flags: function.flags,
            proof: function.proof,
            keeps_state,
        }
    }
}

/// See the module's text.
#[derive(Default)]
pub(in crate::exec) struct Desk {
    /// Made for the first script; taken out while one runs.
    scripts: RefCell<Option<Box<Vm>>>,
    recent: RefCell<Recent>,
    /// The same for functions, which it also finds.
    functions: RefCell<Option<Box<Shelf>>>,
    /// Memory of the two interpreters, as all were told, bytes.
    told_bytes: Cell<u64>,
    told_functions_bytes: Cell<u64>,
}

/// The libraries as of an epoch.
struct Known {
    epoch: u64,
    registry: Arc<Registry>,
}

impl Known {
    #[cold]
    fn now(libraries: &Libraries) -> Known {
        let epoch = libraries.epoch();
        let registry = libraries.current();
        Known { epoch, registry }
    }
}

impl Desk {
    /// The worker ends.
    pub(in crate::exec) fn close(&self, scripts: &Scripts) {
        tell_bytes(&self.told_bytes, &scripts.vm_bytes, 0);
        tell_bytes(&self.told_functions_bytes, &scripts.functions_vm_bytes, 0);
    }
}

/// Tells all what an interpreter takes by now, if that has changed much.
#[inline]
fn tell_bytes(told: &Cell<u64>, total: &AtomicU64, bytes: u64) {
    let before = told.get();
    if bytes.abs_diff(before) >= TOLD_BYTES || bytes == 0 {
        told.set(bytes);
        total.fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
    }
}

impl Exec {
    /// Finds the script that a request names, or what is wrong with it, and does `work` with it and the
    /// interpreter that it is in. `None` when somebody else has that, which cannot be if all shards are
    /// held (`has_all`).
    pub(super) fn with_script<R>(
        &self,
        config: &Config,
        argv: Argv<'_>,
        call: ScriptCall,
        has_all: bool,
        work: impl FnOnce(Result<Found, CmdError>, &mut Vm) -> R,
    ) -> Option<R> {
        if call.code == ScriptCode::Function {
            return self.with_function(config, argv, call, has_all, work);
        }
        let desk = &self.desk;
        let vm = desk.scripts.borrow_mut().take();
        let mut vm = vm.unwrap_or_else(|| Box::new(Vm::new(&settings(config, Use::Scripts))));
        let found = match call.code {
            ScriptCode::Source => self.find_source(&mut vm, &argv[1]),
            _ => self.find_sha(&mut vm, &argv[1]),
        };
        let found = found.and_then(|found| self.may_run(found, call, config));
        let result = work(found, &mut vm);
        tell_bytes(
            &desk.told_bytes,
            &self.server.scripts.vm_bytes,
            vm.used_bytes(),
        );
        *desk.scripts.borrow_mut() = Some(vm);
        Some(result)
    }

    /// [`Exec::with_script`] of a function.
    fn with_function<R>(
        &self,
        config: &Config,
        argv: Argv<'_>,
        call: ScriptCall,
        has_all: bool,
        work: impl FnOnce(Result<Found, CmdError>, &mut Vm) -> R,
    ) -> Option<R> {
        let (desk, scripts) = (&self.desk, &self.server.scripts);
        let (libraries, name) = (&scripts.libraries, &argv[1]);
        let mut own = desk.functions.borrow_mut().take();
        let recent = own.as_ref();
        let recent = recent.and_then(|own| own.recent(libraries.epoch(), name));
        let found = match recent {
            Some(ready) => Ok(Found::of(ready, false)),
            None => {
                let known = Known::now(libraries);
                match known.registry.function(name) {
                    Some(found) if !self.proven(found).is_stateless => {
                        *desk.functions.borrow_mut() = own;
                        return self.at_home(config, (&known, found), call, has_all, work);
                    }
                    Some(found) => {
                        let own = own.get_or_insert_with(|| new_shelf(config));
                        let ready = self.ready(own, &known, found);
                        ready.map(|ready| {
                            own.note(name, ready);
                            Found::of(ready, false)
                        })
                    }
                    None => Err(NO_FUNCTION),
                }
            }
        };
        let found = found.and_then(|found| self.may_run(found, call, config));
        let shelf = own.get_or_insert_with(|| new_shelf(config));
        let result = work(found, &mut shelf.vm);
        let (told, total) = (&desk.told_functions_bytes, &scripts.functions_vm_bytes);
        tell_bytes(told, total, shelf.vm.used_bytes());
        *desk.functions.borrow_mut() = own;
        Some(result)
    }

    /// [`Exec::with_script`] of a function that may keep something.
    #[cold]
    fn at_home<R>(
        &self,
        config: &Config,
        (known, found): (&Known, &functions::Found),
        call: ScriptCall,
        has_all: bool,
        work: impl FnOnce(Result<Found, CmdError>, &mut Vm) -> R,
    ) -> Option<R> {
        let libraries = &self.server.scripts.libraries;
        // Who has everything may wait: whoever has it without will not get everything.
        let mut home = match has_all {
            true => libraries.home.lock(),
            false => libraries.home.try_lock()?,
        };
        let shelf = home.get_or_insert_with(|| new_shelf(config));
        let ready = self.ready(shelf, known, found);
        let found = ready.map(|ready| Found::of(ready, true));
        let found = found.and_then(|found| self.may_run(found, call, config));
        let result = work(found, &mut shelf.vm);
        libraries.note_home_bytes(shelf);
        Some(result)
    }

    /// A function in an interpreter.
    #[cold]
    fn ready(
        &self,
        shelf: &mut Shelf,
        known: &Known,
        found: &functions::Found,
    ) -> Result<Ready, CmdError> {
        shelf.follow(known.epoch, &known.registry);
        let proofs = &self.proven(found).functions;
        Ok(Ready {
            code: shelf.function(found)?,
            flags: found.function().flags,
            proof: proofs.get(found.index).copied().unwrap_or_default(),
        })
    }

    /// What can be told of the library of a function.
    #[inline]
    fn proven<'f>(&self, found: &'f functions::Found) -> &'f Proven {
        found.library.proven(|library| self.prove_library(library))
    }

    /// What can be told of a library before its functions run.
    #[cold]
    fn prove_library(&self, library: &Library) -> Proven {
        let facts = |name: &[u8], second: Option<&[u8]>| facts(&self.table, name, second);
        let proven = proof::analyse_library(&library.source, &facts);
        let functions = library
            .functions
            .iter()
            .map(|function| proven.function(&function.name));
        Proven {
            is_stateless: proven.is_stateless,
            functions: functions.collect(),
        }
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
            keeps_state: false,
        })
    }

    /// What can be told of a script before it runs.
    #[cold]
    fn prove(&self, script: &Script) -> Proof {
        proof::analyse(&script.source, &|name, second| {
            facts(&self.table, name, second)
        })
    }

    /// Whether a script may run that says itself what it does.
    fn may_run(&self, found: Found, call: ScriptCall, config: &Config) -> Result<Found, CmdError> {
        if found.flags.is_legacy || found.flags.no_writes {
            return Ok(found);
        }
        if let Some(error) = admit::writes_refused(&self.server, config) {
            return Err(error);
        }
        if call.is_read_only {
            return Err(NOT_READ_ONLY);
        }
        match !found.flags.allow_oom && self.memory.was_out(&self.server) {
            true => Err(NOT_ALLOWED_OOM),
            false => Ok(found),
        }
    }

    /// The flags by which a command is judged that runs a script: those of its row, unless the script
    /// says of itself what it does.
    #[cold]
    pub(in crate::exec) fn flags_by_script(&self, command: &Registered, argv: Argv<'_>) -> Flags {
        let (own, scripts) = (command.row.flags, &self.server.scripts);
        let found = match command.row.script {
            None => None,
            Some(ScriptCode::Source) => shebang::script(&argv[1]).ok().map(|(flags, _)| flags),
            Some(ScriptCode::Sha) => {
                let script = cache::parse_sha(&argv[1]).and_then(|sha| scripts.cache.by_sha(&sha));
                script.map(|script| script.flags)
            }
            Some(ScriptCode::Function) => {
                let libraries = scripts.libraries.current();
                let found = libraries.function(&argv[1]);
                found.map(|found| found.function().flags)
            }
        };
        match found {
            Some(flags) if !flags.is_legacy => flags.of_command(own),
            _ => own,
        }
    }
}

#[cold]
fn new_shelf(config: &Config) -> Box<Shelf> {
    Box::new(Shelf::new(&settings(config, Use::Functions)))
}

/// What is known of the command that a script names with one literal, or two.
pub(super) fn facts(table: &CommandTable, name: &[u8], second: Option<&[u8]>) -> Option<Facts> {
    let command = table.get(name)?;
    let command = match command.subcommands.is_empty() {
        true => command,
        false => command.subcommand(second?)?,
    };
    Some(Facts::of(command.row))
}
