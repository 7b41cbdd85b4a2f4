//! What a client wants to be told of keys (CLIENT TRACKING), as its owner and as others see it.
//!
//! The owner's side decides with each command whether its keys are remembered; it is in
//! [`Client`](super::Client), since every command asks it. What those who tell must know, and what CLIENT LIST
//! shows, is in [`Shared`](super::Shared). Who tracks what is `tracking`'s and `db::listen`'s.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use crate::spec::flags::bit_set;

use super::ClientId;

bit_set! {
    /// Options of CLIENT TRACKING, and what became of them.
    Mode: u8 {
        /// It tracks keys.
        ON = 0;
        /// Keys with certain prefixes, whether it has read them or not.
        BCAST = 1;
        /// Only keys of commands that follow CLIENT CACHING YES.
        OPTIN = 2;
        /// Not the keys of commands that follow CLIENT CACHING NO.
        OPTOUT = 3;
        /// Not what it changes itself.
        NOLOOP = 4;
        /// The client that was to be told has gone.
        BROKEN_REDIRECT = 5;
    }
}

/// See the module's text: the part that others see.
#[derive(Default, Debug)]
pub struct SharedTracking {
    mode: AtomicU8,
    redirect: AtomicU64,
    prefix_bytes: AtomicUsize,
}

impl SharedTracking {
    /// Its options.
    pub fn mode(&self) -> Mode {
        Mode(self.mode.load(Ordering::Acquire))
    }

    /// The client that is told instead of it; 0 for none.
    pub fn redirect(&self) -> ClientId {
        self.redirect.load(Ordering::Acquire)
    }

    /// What CLIENT GETREDIR says: -1 without tracking.
    pub fn getredir(&self) -> i64 {
        match self.mode().has(Mode::ON) {
            true => self.redirect() as i64,
            false => -1,
        }
    }

    /// It asks for this from now on.
    pub fn set(&self, mode: Mode, redirect: ClientId) {
        self.redirect.store(redirect, Ordering::Release);
        self.mode.store(mode.0, Ordering::Release);
    }

    /// The client that was to be told has gone.
    pub fn note_broken(&self) {
        self.mode
            .fetch_or(Mode::BROKEN_REDIRECT.0, Ordering::AcqRel);
    }

    /// Memory that its prefixes take, bytes.
    pub fn memory_bytes(&self) -> usize {
        self.prefix_bytes.load(Ordering::Relaxed)
    }
}

/// Whose keys are remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Remembers {
    /// No command's.
    #[default]
    None,
    /// All commands'.
    All,
    /// Those that follow CLIENT CACHING YES.
    OptIn,
    /// Those that do not follow CLIENT CACHING NO.
    OptOut,
}

/// See the module's text: the part of the client's owner.
#[derive(Default, Debug)]
pub struct OwnTracking {
    remembers: Remembers,
    caching: bool,
    prefixes: BTreeSet<Box<[u8]>>,
}

/// Memory of a prefix besides its bytes, bytes.
const PREFIX_BYTES: usize = 64;

impl OwnTracking {
    /// Keys of commands may have to be remembered: what every command asks.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.remembers != Remembers::None
    }

    /// The keys of the command that runs are to be remembered.
    pub fn remembers(&self) -> bool {
        match self.remembers {
            Remembers::None => false,
            Remembers::All => true,
            Remembers::OptIn => self.caching,
            Remembers::OptOut => !self.caching,
        }
    }

    /// CLIENT CACHING holds for the command that runs.
    pub fn is_caching(&self) -> bool {
        self.caching
    }

    /// CLIENT CACHING, for the next command.
    pub fn set_caching(&mut self, caching: bool) {
        self.caching = caching;
    }

    /// The prefixes that it tracks.
    pub fn prefixes(&self) -> &BTreeSet<Box<[u8]>> {
        &self.prefixes
    }

    /// Follows what others see; `prefixes` come to those that are there.
    pub fn follow(&mut self, shared: &SharedTracking, prefixes: &[&[u8]]) {
        let mode = shared.mode();
        self.remembers = match mode {
            _ if !mode.has(Mode::ON) || mode.has(Mode::BCAST) => Remembers::None,
            _ if mode.has(Mode::OPTIN) => Remembers::OptIn,
            _ if mode.has(Mode::OPTOUT) => Remembers::OptOut,
            _ => Remembers::All,
        };
        if !mode.has(Mode::ON) {
            self.caching = false;
            self.prefixes.clear();
        }
        self.prefixes
            .extend(prefixes.iter().map(|&prefix| prefix.into()));
        let sizes = self
            .prefixes
            .iter()
            .map(|prefix| prefix.len() + PREFIX_BYTES);
        shared.prefix_bytes.store(sizes.sum(), Ordering::Relaxed);
    }
}
