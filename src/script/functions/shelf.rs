//! An interpreter with the libraries that it has loaded.

use std::collections::HashMap;
use std::time::Duration;

use super::{Found, Library, Registry, load};
use crate::script::vm::{Code, Settings};
use crate::script::{Proof, ScriptFlags, Vm};
use crate::spec::CmdError;

/// For how long a library may run that was loaded before, on another interpreter.
const AGAIN_MAX: Duration = Duration::from_secs(10);

/// Places for functions that were called lately; a power of two.
const RECENT: usize = 64;

/// See the module's text.
pub struct Shelf {
    /// The interpreter.
    pub vm: Vm,
    /// What each library has registered, in its order.
    loaded: HashMap<u64, Vec<Code>>,
    /// That of the registry which this follows.
    epoch: u64,
    /// Functions that were called lately, by how their names were written; each has one place that it can
    /// be at.
    recent: Box<[Option<Called>]>,
}

/// A function that was called.
struct Called {
    name: Box<[u8]>,
    ready: Ready,
}

/// A function that is ready to be run here.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// What [`Shelf::vm`] runs.
    pub code: Code,
    /// Its flags.
    pub flags: ScriptFlags,
    /// What can be told of it before it runs.
    pub proof: Proof,
}

/// Where a name can be in [`Shelf::recent`].
#[inline]
fn place(name: &[u8]) -> usize {
    let mix = |sum: usize, byte: &u8| sum.wrapping_mul(31).wrapping_add(usize::from(*byte));
    name.iter().fold(name.len(), mix) % RECENT
}

impl Shelf {
    /// An interpreter for functions, without any.
    pub fn new(settings: &Settings) -> Shelf {
        Shelf {
            vm: Vm::new(settings),
            loaded: HashMap::new(),
            epoch: 0,
            recent: (0..RECENT).map(|_| None).collect(),
        }
    }

    /// A function that was noted before, while libraries are what they were.
    #[inline]
    pub fn recent(&self, epoch: u64, name: &[u8]) -> Option<Ready> {
        let called = self.recent[place(name)].as_ref()?;
        (self.epoch == epoch && *called.name == *name).then_some(called.ready)
    }

    /// Notes a function that is ready, for [`Shelf::recent`].
    pub fn note(&mut self, name: &[u8], ready: Ready) {
        let place = place(name);
        let name = name.into();
        self.recent[place] = Some(Called { name, ready });
    }

    /// Forgets what is no more. A registry that is older than the last one that was followed has nothing
    /// to tell.
    #[inline]
    pub fn follow(&mut self, epoch: u64, registry: &Registry) {
        if self.epoch < epoch {
            self.epoch = epoch;
            self.sweep(registry);
        }
    }

    #[cold]
    fn sweep(&mut self, registry: &Registry) {
        self.recent.fill_with(|| None);
        let vm = &mut self.vm;
        self.loaded.retain(|&id, codes| {
            let stays = registry.has(id);
            if !stays {
                codes.drain(..).for_each(|code| vm.forget(code));
            }
            stays
        });
    }

    /// A function, to be run by [`Shelf::vm`]; its library is loaded if it is not yet.
    ///
    /// # Errors
    /// When it cannot be loaded here, for want of memory or time.
    #[inline]
    pub fn function(&mut self, found: &Found) -> Result<Code, CmdError> {
        match self.loaded.get(&found.library.id) {
            Some(codes) => Ok(codes[found.index]),
            None => self.load(&found.library, found.index),
        }
    }

    #[cold]
    fn load(&mut self, library: &Library, index: usize) -> Result<Code, CmdError> {
        let registered = load::run(&mut self.vm, &library.source, AGAIN_MAX)?;
        let codes: Vec<Code> = registered.iter().map(|each| each.code).collect();
        let names = library
            .functions
            .iter()
            .map(|function| function.name.as_bytes());
        if !names.eq(registered.iter().map(|each| &*each.name)) {
            codes.into_iter().for_each(|code| self.vm.forget(code));
            let name = &library.name;
            let text = format!("ERR Library '{name}' has registered other functions than before");
            return Err(CmdError::owned(text));
        }
        let code = codes[index];
        self.loaded.insert(library.id, codes);
        Ok(code)
    }

    /// How many libraries it has.
    #[cfg(test)]
    pub(super) fn libraries(&self) -> usize {
        self.loaded.len()
    }

    /// Keeps what a library has registered.
    pub(super) fn keep(&mut self, id: u64, codes: Vec<Code>) {
        self.loaded.insert(id, codes);
    }

    /// Forgets a library.
    pub(super) fn forget(&mut self, id: u64) {
        for code in self.loaded.remove(&id).unwrap_or_default() {
            self.vm.forget(code);
        }
    }
}
