//! What a user may do: whether it may log in and with which passwords, and its selectors.
//!
//! Rights never change once they are made: rules make others of them (`rules`). What an unrestricted
//! user asks costs one branch; what others ask goes through `compiled`, and only a no is looked into.

use subtle::ConstantTimeEq;

use crate::spec::keys::for_each_key;
use crate::spec::{Channels, Databases};
use crate::util::glob::glob_match;
use crate::util::num;

use super::compiled::Compiled;
use super::rules::World;
use super::selector::{Access, Selector};
use super::{Denial, PasswordHash, Request, hash_password};

/// See the module's text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rights {
    /// `on`: it may log in.
    pub is_enabled: bool,
    /// `nopass`: any password will do.
    pub nopass: bool,
    /// Any of these will do.
    pub passwords: Vec<PasswordHash>,
    /// Everything is allowed: nothing has to be looked at.
    is_unrestricted: bool,
    /// The first one is the root.
    pub(super) selectors: Vec<Selector>,
    compiled: Compiled,
    /// How many databases there are.
    databases: u32,
}

impl Rights {
    /// The user `default` as Redis has it at first: everything, without a password.
    pub fn unrestricted() -> Rights {
        Rights {
            is_enabled: true,
            nopass: true,
            passwords: Vec::new(),
            is_unrestricted: true,
            selectors: vec![Selector::unrestricted()],
            compiled: Compiled::default(),
            databases: 0,
        }
    }

    /// The same with the only password that it has; with none if that is empty.
    pub fn with_password(password: &[u8]) -> Rights {
        let mut rights = Rights::unrestricted();
        rights.set_password(password);
        rights
    }

    /// Makes this the only password; any will do if it is empty.
    pub fn set_password(&mut self, password: &[u8]) {
        self.nopass = password.is_empty();
        self.passwords = match password.is_empty() {
            true => Vec::new(),
            false => vec![hash_password(password)],
        };
    }

    /// A user that was not there: nothing.
    pub fn new_user(world: World<'_>) -> Rights {
        Rights {
            is_enabled: false,
            nopass: false,
            passwords: Vec::new(),
            is_unrestricted: false,
            selectors: vec![Selector::new(world.all_channels)],
            compiled: Compiled::default(),
            databases: world.databases,
        }
    }

    /// Brings what is asked up to what the selectors say.
    pub(super) fn compile(&mut self, world: World<'_>) {
        self.databases = world.databases;
        self.is_unrestricted = self.selectors.iter().any(Selector::is_unrestricted);
        self.compiled = match self.is_unrestricted {
            true => Compiled::default(),
            false => Compiled::new(&self.selectors, world.catalog, world.databases),
        };
    }

    /// Whether everything is allowed.
    #[inline]
    pub fn is_unrestricted(&self) -> bool {
        self.is_unrestricted
    }

    /// The selector of the rules that stand in no parentheses.
    pub fn root(&self) -> &Selector {
        &self.selectors[0]
    }

    pub(super) fn root_mut(&mut self) -> &mut Selector {
        &mut self.selectors[0]
    }

    /// The selectors of the rules in parentheses.
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors[1..]
    }

    /// Whether a password lets the user in, in a time that does not tell which.
    pub fn accepts(&self, password: &[u8]) -> bool {
        let given = hash_password(password);
        let is_one = |is_one, hash: &PasswordHash| is_one | bool::from(hash.ct_eq(&given));
        let is_one = self.passwords.iter().fold(false, is_one);
        self.is_enabled & (self.nopass | is_one)
    }

    /// Whether a request may run; else what is lacking.
    #[inline]
    pub fn check<H>(&self, request: &Request<'_, H>) -> Result<(), Denial> {
        match self.is_unrestricted {
            true => Ok(()),
            false => self.check_restricted(request),
        }
    }

    #[inline(never)]
    fn check_restricted<H>(&self, request: &Request<'_, H>) -> Result<(), Denial> {
        match self.compiled.allows(request) {
            true => Ok(()),
            false => self.explain(request),
        }
    }

    /// Asks one selector after the other. Of several reasons the one is told that came closest: that of
    /// a selector which lacks a key rather than the command; of several keys, the last one.
    #[cold]
    fn explain<H>(&self, request: &Request<'_, H>) -> Result<(), Denial> {
        let mut closest = Denial::Database(0);
        for selector in &self.selectors {
            match self.ask(selector, request) {
                Ok(()) => return Ok(()),
                Err(denial) if denial.closeness() > closest.closeness() => closest = denial,
                Err(_) => {}
            }
        }
        Err(closest)
    }

    /// What [`Rights::check`] has to amount to.
    #[cfg(test)]
    pub(super) fn check_one_by_one<H>(&self, request: &Request<'_, H>) -> Result<(), Denial> {
        match self.is_unrestricted {
            true => Ok(()),
            false => self.explain(request),
        }
    }

    /// Whether this selector alone allows a request.
    fn ask<H>(&self, selector: &Selector, request: &Request<'_, H>) -> Result<(), Denial> {
        self.ask_databases(selector, request)?;
        let row = request.row;
        if !row.flags.has(crate::spec::Flags::NO_AUTH) && !may_run(selector, request) {
            return Err(Denial::Command);
        }
        if !selector.all_keys {
            ask_keys(selector, request)?;
        }
        if !selector.all_channels {
            let is_pattern = row.channels == Channels::Patterns;
            for at in row.channels.positions(request.argv.len()) {
                if !may_use_channel(selector, &request.argv[at], is_pattern) {
                    return Err(Denial::Channel(at));
                }
            }
        }
        Ok(())
    }

    fn ask_databases<H>(
        &self,
        selector: &Selector,
        request: &Request<'_, H>,
    ) -> Result<(), Denial> {
        if selector.all_dbs {
            return Ok(());
        }
        if matches!(request.row.databases, Databases::All)
            && !(0..self.databases).all(|db| selector.dbs.contains(&db))
        {
            return Err(Denial::Database(0));
        }
        for (at, db) in named_databases(request, self.databases) {
            if !selector.dbs.contains(&db) {
                return Err(Denial::Database(at));
            }
        }
        match request.row.uses_current_database() && !selector.dbs.contains(&request.db.0) {
            true => Err(Denial::Database(0)),
            false => Ok(()),
        }
    }

    /// Whether a selector allows a request and every key to be read: what SORT's patterns need, whose
    /// keys stand in no request.
    pub fn check_unrestricted<H>(&self, request: &Request<'_, H>) -> bool {
        self.is_unrestricted
            || self.selectors.iter().any(|selector| {
                let any = selector.keys.get(&b"*"[..]);
                let reads_all = selector.all_keys || any.is_some_and(|any| any.has(Access::READ));
                reads_all && self.ask(selector, request).is_ok()
            })
    }

    /// Whether some selector lets a key of a database be read.
    pub fn may_read(&self, key: &[u8], db: crate::db::DbIndex) -> bool {
        self.is_unrestricted
            || self.selectors.iter().any(|selector| {
                (selector.all_dbs || selector.dbs.contains(&db.0))
                    && (selector.all_keys || may_touch(selector, key, Access::READ))
            })
    }

    /// Whether some selector has this channel; a pattern only if it is the same.
    pub fn keeps_channel(&self, name: &[u8], is_pattern: bool) -> bool {
        self.selectors
            .iter()
            .any(|selector| selector.all_channels || may_use_channel(selector, name, is_pattern))
    }

    /// Whether there may be channels that these rights had before and have no longer.
    pub fn has_lost_channels(before: &Rights, now: &Rights) -> bool {
        let has_all = |rights: &Rights| rights.selectors.iter().any(|one| one.all_channels);
        if has_all(now) {
            return false;
        }
        let still = |pattern: &[u8]| {
            let mut selectors = now.selectors.iter();
            selectors.any(|one| one.channels.contains(pattern))
        };
        let mut channels = before.selectors.iter().flat_map(|one| &one.channels);
        has_all(before) || channels.any(|pattern| !still(pattern))
    }
}

/// The arguments that name databases: where, and which; none if one of them names none that there is.
pub(super) fn named_databases<H>(request: &Request<'_, H>, databases: u32) -> Vec<(usize, u32)> {
    let named = match request.row.databases {
        Databases::Current | Databases::All => return Vec::new(),
        Databases::Named(positions) => positions.to_vec(),
        Databases::Also(find) => find(request.argv),
    };
    let named = named.into_iter().map(|at| {
        let number = request.argv.get(at).and_then(num::parse_i64)?;
        let db = u32::try_from(number).ok().filter(|db| *db < databases)?;
        Some((at, db))
    });
    named.collect::<Option<_>>().unwrap_or_default()
}

fn may_run<H>(selector: &Selector, request: &Request<'_, H>) -> bool {
    if selector.commands.has(request.command) {
        return true;
    }
    let first = selector.first_args.get(&request.command);
    match (first, request.argv.get(1)) {
        (Some(allowed), Some(first)) => allowed.iter().any(|arg| arg.eq_ignore_ascii_case(first)),
        _ => false,
    }
}

fn ask_keys<H>(selector: &Selector, request: &Request<'_, H>) -> Result<(), Denial> {
    let argv = request.argv;
    let mut denied = None;
    // As far as they lead somewhere, as when they are locked.
    let _ = for_each_key(request.row.keys, argv, |at, spec| {
        let needed = Access::needed_by(spec.flags_in(argv));
        if denied.is_none() && spec.is_key() && !may_touch(selector, &argv[at], needed) {
            denied = Some(at);
        }
    });
    denied.map_or(Ok(()), |at| Err(Denial::Key(at)))
}

fn may_touch(selector: &Selector, key: &[u8], needed: Access) -> bool {
    selector
        .keys
        .iter()
        .any(|(pattern, access)| access.has(needed) && glob_match(pattern, key, false))
}

fn may_use_channel(selector: &Selector, channel: &[u8], is_pattern: bool) -> bool {
    match is_pattern {
        true => selector.channels.contains(channel),
        false => {
            let mut known = selector.channels.iter();
            known.any(|known| glob_match(known, channel, false))
        }
    }
}
