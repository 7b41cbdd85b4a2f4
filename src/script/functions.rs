//! Libraries of functions, for FUNCTION and FCALL.
//!
//! [`Libraries`] is the server's. What it has is a [`Registry`] that never changes: whoever looks into it
//! keeps it for as long as he likes, and a change puts another one in its place, and lets
//! [`Libraries::epoch`] grow. Whoever changes it holds all shards, so that changes, their records in the
//! log, and the moment of a snapshot have one order.
//!
//! A function lives in interpreters: a [`Shelf`] is one with the libraries that it has loaded so far. Every
//! worker has its own, for libraries that keep nothing between two calls. A library that does
//! ([`Proven::is_stateless`] is false) is loaded once, into the shelf of [`Libraries::home`], where
//! FUNCTION LOAD runs all of them.
//!
//! - `load`: a source becomes a library. `shelf`: interpreters.
//!
//! Names of functions are one whatever their case, names of libraries are not, as in Valkey. (Valkey
//! crashes over two functions of one library that differ in case only; here the second one is refused.)

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use super::vm::Settings;
use super::{Proof, ScriptFlags};
use crate::spec::CmdError;
use crate::util::ascii::lower_into;

mod load;
mod shelf;
#[cfg(test)]
mod tests;

pub use shelf::{Ready, Shelf};

/// A library as FUNCTION LOAD has taken it.
#[derive(Debug)]
pub struct Library {
    /// Its number: no two that were ever loaded have the same, and later ones have larger ones.
    pub id: u64,
    /// `name=` of its shebang.
    pub name: Arc<str>,
    /// The whole source, shebang included.
    pub source: Arc<[u8]>,
    /// What it has registered, in its order.
    pub functions: Vec<Function>,
    proven: OnceLock<Proven>,
}

/// What can be told of a library before its functions run.
#[derive(Debug, Default)]
pub struct Proven {
    /// Its functions keep nothing between calls, so that every interpreter may have its own.
    pub is_stateless: bool,
    /// Of each function, in their order.
    pub functions: Vec<Proof>,
}

impl Library {
    /// What can be told of it; found out by `prove` when it is first asked for.
    #[inline]
    pub fn proven(&self, prove: impl FnOnce(&Library) -> Proven) -> &Proven {
        self.proven.get_or_init(|| prove(self))
    }
}

/// A function of a library.
#[derive(Debug)]
pub struct Function {
    /// Its name, unique among all libraries.
    pub name: Arc<str>,
    /// Its description.
    pub description: Option<Arc<[u8]>>,
    /// Its flags.
    pub flags: ScriptFlags,
}

/// A function that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The library that has it.
    pub library: Arc<Library>,
    /// Its place in [`Library::functions`].
    pub index: usize,
}

impl Found {
    /// The function.
    pub fn function(&self) -> &Function {
        &self.library.functions[self.index]
    }
}

/// For how long the libraries of a FUNCTION RESTORE may run together while they are loaded.
const RESTORE_MAX: Duration = Duration::from_secs(10);

/// What is answered to a name that no function has.
pub const NO_FUNCTION: CmdError = CmdError::text("ERR Function not found");

/// Names that are longer than this are looked up with an allocation.
const SHORT_NAME_BYTES: usize = 128;

/// The libraries of one moment.
#[derive(Clone, Default, Debug)]
pub struct Registry {
    /// By number, which is the order in which they were loaded.
    libraries: BTreeMap<u64, Arc<Library>>,
    by_name: HashMap<Arc<str>, u64>,
    /// By name in lower case.
    functions: HashMap<Box<[u8]>, Found>,
    bytes: u64,
}

/// The same name as functions are found by.
fn lowered(name: &str) -> Box<[u8]> {
    name.to_ascii_lowercase().into_bytes().into()
}

impl Registry {
    /// All libraries, in the order in which they were loaded.
    pub fn libraries(&self) -> impl ExactSizeIterator<Item = &Arc<Library>> {
        self.libraries.values()
    }

    /// How many functions there are.
    pub fn functions(&self) -> usize {
        self.functions.len()
    }

    /// What sources and names take, bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A library by its name.
    pub fn library(&self, name: &[u8]) -> Option<&Arc<Library>> {
        let name = std::str::from_utf8(name).ok()?;
        self.libraries.get(self.by_name.get(name)?)
    }

    /// Whether this very library is here (still).
    pub fn has(&self, id: u64) -> bool {
        self.libraries.contains_key(&id)
    }

    /// A function by its name, in any case.
    #[inline]
    pub fn function(&self, name: &[u8]) -> Option<&Found> {
        match lower_into(name, &mut [0; SHORT_NAME_BYTES]) {
            Some(name) => self.functions.get(name),
            None => self.functions.get(&*name.to_ascii_lowercase()),
        }
    }

    /// An error if another library than the one with this number has one of these functions.
    fn check_functions(&self, library: &Library, replaced: Option<u64>) -> Result<(), CmdError> {
        for function in &library.functions {
            let found = self.functions.get(&lowered(&function.name));
            if found.is_some_and(|found| Some(found.library.id) != replaced) {
                let name = &function.name;
                return Err(CmdError::owned(format!(
                    "ERR Function {name} already exists"
                )));
            }
        }
        Ok(())
    }

    /// Takes a library whose name and functions are free.
    fn add(&mut self, library: Arc<Library>) {
        self.bytes += bytes_of(&library);
        self.by_name.insert(library.name.clone(), library.id);
        for (index, function) in library.functions.iter().enumerate() {
            let found = Found {
                library: library.clone(),
                index,
            };
            self.functions.insert(lowered(&function.name), found);
        }
        self.libraries.insert(library.id, library);
    }

    fn remove(&mut self, id: u64) {
        let Some(library) = self.libraries.remove(&id) else {
            return;
        };
        self.bytes -= bytes_of(&library);
        self.by_name.remove(&library.name);
        for function in &library.functions {
            self.functions.remove(&lowered(&function.name));
        }
    }
}

/// What a library takes, bytes.
fn bytes_of(library: &Library) -> u64 {
    let place = size_of::<Library>() + 2 * size_of::<(Arc<str>, u64)>();
    let functions = library.functions.iter().map(|function| {
        let description = function.description.as_ref().map_or(0, |text| text.len());
        size_of::<Function>() + size_of::<Found>() + 2 * function.name.len() + description
    });
    (place + library.source.len() + library.name.len() + functions.sum::<usize>()) as u64
}

/// How libraries are loaded.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// What interpreters are made by.
    pub settings: Settings,
    /// For how long a library may run while it is loaded.
    pub limit: Duration,
}

/// How FUNCTION RESTORE deals with what is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RestorePolicy {
    /// It goes.
    Flush,
    /// It stays, and a library of the same name is an error.
    #[default]
    Append,
    /// It stays, but for libraries that come anew.
    Replace,
}

/// All libraries, see the module's text.
#[derive(Default)]
pub struct Libraries {
    current: RwLock<Arc<Registry>>,
    epoch: AtomicU64,
    /// The one interpreter for libraries that keep state, and in which all are loaded at first. Who holds
    /// all shards may wait for it; who does not only tries, and gives it back before he waits for
    /// anything.
    pub home: Mutex<Option<Box<Shelf>>>,
    home_bytes: AtomicU64,
}

impl Libraries {
    /// The libraries that there are now.
    pub fn current(&self) -> Arc<Registry> {
        self.current.read().clone()
    }

    /// What [`Libraries::home`] takes, bytes.
    pub fn home_bytes(&self) -> u64 {
        self.home_bytes.load(Ordering::Relaxed)
    }

    /// The sources of all libraries, in the order in which they were loaded.
    pub fn sources(&self) -> Vec<Arc<[u8]>> {
        let current = self.current();
        current
            .libraries()
            .map(|library| library.source.clone())
            .collect()
    }

    /// Grows with every change: whoever keeps a [`Registry`] compares this one load, which has to come
    /// before that of the registry.
    #[inline]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// FUNCTION LOAD. `replace`: instead of one of the same name.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn load(
        &self,
        source: &[u8],
        replace: bool,
        options: &LoadOptions,
    ) -> Result<Arc<Library>, CmdError> {
        let header = load::header(source)?;
        let former = self.current();
        let replaced = former
            .library(header.name.as_bytes())
            .map(|library| library.id);
        if replaced.is_some() && !replace {
            return Err(already_exists(&header.name));
        }
        let library = self.at_home(options, |home| {
            let library = load::library(home, header, source, options.limit)?;
            let checked = former.check_functions(&library, replaced);
            checked.inspect_err(|_| home.forget(library.id))?;
            Ok::<_, CmdError>(library)
        })?;
        drop(former);
        self.change(|registry| {
            if let Some(replaced) = replaced {
                registry.remove(replaced);
            }
            registry.add(library.clone());
        });
        Ok(library)
    }

    /// FUNCTION RESTORE: loads the libraries with these sources, all or none.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn restore(
        &self,
        sources: &[impl AsRef<[u8]>],
        policy: RestorePolicy,
        options: &LoadOptions,
    ) -> Result<(), CmdError> {
        let mut restored = Registry::default();
        let joined = self.at_home(options, |home| {
            let joined = self.restore_into(&mut restored, home, sources, policy, options.limit);
            if joined.is_err() {
                for library in restored.libraries() {
                    home.forget(library.id);
                }
            }
            joined
        })?;
        self.change(|registry| *registry = joined);
        Ok(())
    }

    fn restore_into(
        &self,
        restored: &mut Registry,
        home: &mut Shelf,
        sources: &[impl AsRef<[u8]>],
        policy: RestorePolicy,
        limit: Duration,
    ) -> Result<Registry, CmdError> {
        let begun = Instant::now();
        for source in sources.iter().map(AsRef::as_ref) {
            let limit = limit.min(RESTORE_MAX.saturating_sub(begun.elapsed()));
            let header = load::header(source)?;
            if restored.library(header.name.as_bytes()).is_some() {
                return Err(already_exists(&header.name));
            }
            let library = load::library(home, header, source, limit)?;
            let checked = restored.check_functions(&library, None);
            checked.inspect_err(|_| home.forget(library.id))?;
            restored.add(library);
        }
        let mut joined = match policy {
            RestorePolicy::Flush => Registry::default(),
            RestorePolicy::Append | RestorePolicy::Replace => (*self.current()).clone(),
        };
        for library in restored.libraries() {
            let same = joined.library(library.name.as_bytes()).map(|same| same.id);
            match same {
                Some(id) if policy == RestorePolicy::Replace => joined.remove(id),
                Some(_) => {
                    let text = format!("ERR Library {} already exists", library.name);
                    return Err(CmdError::owned(text));
                }
                None => {}
            }
        }
        for library in restored.libraries() {
            joined.check_functions(library, None)?;
            joined.add(library.clone());
        }
        Ok(joined)
    }

    /// FUNCTION DELETE; false if there is no such library.
    pub fn delete(&self, name: &[u8]) -> bool {
        let Some(id) = self.current().library(name).map(|library| library.id) else {
            return false;
        };
        self.change(|registry| registry.remove(id));
        true
    }

    /// FUNCTION FLUSH; what there was, for whoever drops it.
    pub fn flush(&self) -> (Arc<Registry>, Option<Box<Shelf>>) {
        let home = self.home.lock().take();
        self.home_bytes.store(0, Ordering::Relaxed);
        let mut former = Arc::default();
        self.change(|registry| former = Arc::new(std::mem::take(registry)));
        (former, home)
    }

    /// Tells what [`Libraries::home`] takes by now.
    pub fn note_home_bytes(&self, home: &Shelf) {
        self.home_bytes
            .store(home.vm.used_bytes(), Ordering::Relaxed);
    }

    fn change(&self, change: impl FnOnce(&mut Registry)) {
        let mut current = self.current.write();
        change(Arc::make_mut(&mut current));
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Does something with the interpreter of [`Libraries::home`].
    fn at_home<R>(&self, options: &LoadOptions, work: impl FnOnce(&mut Shelf) -> R) -> R {
        let mut home = self.home.lock();
        let home = home.get_or_insert_with(|| Box::new(Shelf::new(&options.settings)));
        let (epoch, registry) = (self.epoch(), self.current());
        home.follow(epoch, &registry);
        let result = work(home);
        self.note_home_bytes(home);
        result
    }
}

fn already_exists(name: &str) -> CmdError {
    CmdError::owned(format!("ERR Library '{name}' already exists"))
}
