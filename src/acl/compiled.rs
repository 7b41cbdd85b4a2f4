//! A user's selectors as they are asked: one bit for each, so that all of them are asked at once.
//!
//! What a request needs is taken one after another (its command, its databases, each of its keys and
//! channels), and each leaves the bits of those selectors that allow it, too. A bit that is left is a
//! selector that allows all of it. What this says no to is looked at again selector by selector
//! ([`Rights::check`](super::Rights::check)): first arguments, selectors past the last bit, and what to
//! tell of it.
//!
//! Invariant: a yes of this is a yes of some selector alone.

use crate::spec::keys::for_each_key;
use crate::spec::{Channels, Databases};

use super::catalog::Catalog;
use super::patterns::{MASKED_MAX, Mask, Patterns};
use super::selector::{Access, Selector};
use super::{Request, named_databases};

/// See the module's text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Compiled {
    /// By a command's number.
    commands: Box<[Mask]>,
    /// Selectors that allow all databases.
    any_db: Mask,
    /// All selectors do.
    all_any_db: bool,
    /// Others, by the database.
    dbs: Vec<(u32, Mask)>,
    keys: Patterns,
    channels: Patterns,
    /// How many databases there are.
    databases: u32,
}

fn mask_of(selectors: &[Selector], has: impl Fn(&Selector) -> bool) -> Mask {
    let bits = selectors.iter().take(MASKED_MAX).enumerate();
    bits.fold(0, |mask, (at, selector)| {
        mask | (has(selector) as Mask) << at
    })
}

impl Compiled {
    /// What selectors say about the commands of a catalogue.
    pub fn new(selectors: &[Selector], catalog: &Catalog, databases: u32) -> Compiled {
        let masked = || selectors.iter().take(MASKED_MAX).enumerate();
        let commands = catalog.entries().map(|(id, entry)| {
            mask_of(selectors, |selector| {
                entry.no_auth || selector.commands.has(id)
            })
        });
        let mut named: Vec<u32> = selectors
            .iter()
            .flat_map(|selector| selector.dbs.iter().copied())
            .collect();
        named.sort_unstable();
        named.dedup();
        let dbs = named.into_iter().map(|db| {
            let mask = mask_of(selectors, |selector| selector.dbs.contains(&db));
            (db, mask)
        });
        let keys = masked().flat_map(|(at, selector)| {
            let patterns = selector.keys.iter();
            patterns.map(move |(pattern, access)| (at, &**pattern, *access))
        });
        let channels = masked().flat_map(|(at, selector)| {
            let patterns = selector.channels.iter();
            patterns.map(move |pattern| (at, &**pattern, Access::ALL))
        });
        Compiled {
            commands: commands.collect(),
            any_db: mask_of(selectors, |selector| selector.all_dbs),
            all_any_db: selectors.iter().all(|selector| selector.all_dbs),
            dbs: dbs.collect(),
            keys: Patterns::new(mask_of(selectors, |selector| selector.all_keys), keys),
            channels: Patterns::new(
                mask_of(selectors, |selector| selector.all_channels),
                channels,
            ),
            databases,
        }
    }

    /// Whether a selector with a bit allows all of a request.
    #[inline]
    pub fn allows<H>(&self, request: &Request<'_, H>) -> bool {
        let command = self.commands.get(usize::from(request.command));
        let mut left = command.copied().unwrap_or_default();
        if !self.all_any_db {
            left &= self.by_databases(request);
        }
        let row = request.row;
        if left & !self.keys.all != 0 && !row.keys.is_empty() {
            left = self.by_keys(request, left);
        }
        if left & !self.channels.all != 0 && row.channels != Channels::None {
            left = self.by_channels(request, left);
        }
        left != 0
    }

    #[inline]
    fn by_keys<H>(&self, request: &Request<'_, H>, wanted: Mask) -> Mask {
        let argv = request.argv;
        let mut left = wanted;
        // One that is not well-formed has no further keys, but those that were found may be touched
        // (PFMERGE without sources).
        let _ = for_each_key(request.row.keys, argv, |at, spec| {
            if left != 0 && spec.is_key() {
                let needed = Access::needed_by(spec.flags_in(argv));
                left &= self.keys.matching(&argv[at], needed, left);
            }
        });
        left
    }

    fn by_channels<H>(&self, request: &Request<'_, H>, wanted: Mask) -> Mask {
        // Patterns are compared as they are, which needs no speed.
        if request.row.channels == Channels::Patterns {
            return wanted & self.channels.all;
        }
        let positions = request.row.channels.positions(request.argv.len());
        positions.fold(wanted, |left, at| {
            left & self
                .channels
                .matching(&request.argv[at], Access::NONE, left)
        })
    }

    /// Which selectors allow a database.
    #[inline]
    fn of_database(&self, db: u32) -> Mask {
        let named = self.dbs.iter().find(|(named, _)| *named == db);
        self.any_db | named.map_or(0, |(_, mask)| *mask)
    }

    #[inline]
    fn by_databases<H>(&self, request: &Request<'_, H>) -> Mask {
        let current = match request.row.uses_current_database() {
            true => self.of_database(request.db.0),
            false => Mask::MAX,
        };
        match request.row.databases {
            Databases::Current => current,
            _ => current & self.by_named_databases(request),
        }
    }

    #[inline(never)]
    fn by_named_databases<H>(&self, request: &Request<'_, H>) -> Mask {
        let all = match request.row.databases {
            Databases::All => self.databases,
            _ => 0,
        };
        let all = (0..all).fold(Mask::MAX, |left, db| left & self.of_database(db));
        let named = named_databases(request, self.databases);
        let dbs = named.into_iter().map(|(_, db)| db);
        dbs.fold(all, |left, db| left & self.of_database(db))
    }
}
