//! An interpreter with the libraries that it has loaded.

use std::collections::HashMap;
use std::time::Duration;

use super::{Found, Library, Registry, load};
use crate::script::Vm;
use crate::script::vm::{Code, Settings};
use crate::spec::CmdError;

/// For how long a library may run that was loaded before, on another interpreter.
const AGAIN_MAX: Duration = Duration::from_secs(10);

/// See the module's text.
pub struct Shelf {
    /// The interpreter.
    pub vm: Vm,
    /// What each library has registered, in its order.
    loaded: HashMap<u64, Vec<Code>>,
    /// That of the registry which this follows.
    epoch: u64,
}

impl Shelf {
    /// An interpreter for functions, without any.
    pub fn new(settings: &Settings) -> Shelf {
        Shelf {
            vm: Vm::new(settings),
            loaded: HashMap::new(),
            epoch: 0,
        }
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
