//! Access control: who the users are, and what each of them may do.
//!
//! A [`User`] is a name with [`Rights`] that never change: to change what a user may do is to give it other
//! rights ([`User::set_rights`]). A client holds a [`Login`], a copy of them that it renews when the user's
//! version has moved on, so that asking costs a load and a comparison.
//!
//! Invariants: the user `default` always exists and is always the same; rights are checked against the keys that
//! `spec::keys` finds, by which execution locks them, too; passwords are kept as hashes only and compared in
//! constant time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::db::DbIndex;
use crate::resp::parse::Argv;
use crate::spec::Command;

mod outline;

pub use outline::{Context, Entry, Log, Reason};

/// The user that a connection begins as.
pub const DEFAULT_USER: &str = "default";

/// SHA-256 of a password.
pub type PasswordHash = [u8; 32];

/// The hash under which a password is kept.
pub fn hash_password(password: &[u8]) -> PasswordHash {
    Sha256::digest(password).into()
}

/// What a user may do. See the module's text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rights {
    /// `on`: it may log in.
    pub is_enabled: bool,
    /// `nopass`: any password will do.
    pub nopass: bool,
    /// Any of these will do.
    pub passwords: Vec<PasswordHash>,
    /// Everything is allowed: nothing has to be looked at.
    pub is_unrestricted: bool,
}

impl Rights {
    /// The user `default` as Redis has it at first: everything, without a password.
    pub fn unrestricted() -> Rights {
        Rights {
            is_enabled: true,
            nopass: true,
            passwords: Vec::new(),
            is_unrestricted: true,
        }
    }

    /// Whether a password lets the user in, in a time that does not tell which.
    fn accepts(&self, password: &[u8]) -> bool {
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
    fn check_restricted<H>(&self, _: &Request<'_, H>) -> Result<(), Denial> {
        Err(Denial::Command)
    }
}

/// What is asked about.
pub struct Request<'a, H: 'static> {
    /// The number of the command, or of the subcommand, in the table.
    pub command: u16,
    /// Its row.
    pub row: &'a Command<H>,
    /// The request, names included.
    pub argv: Argv<'a>,
    /// The database that it runs in.
    pub db: DbIndex,
}

/// Why a request may not run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denial {
    /// The command (or subcommand) itself.
    Command,
    /// The key at this argument.
    Key(usize),
    /// The channel at this argument.
    Channel(usize),
    /// The database that this argument names; 0: the one that the client works in.
    Database(usize),
}

/// A user. See the module's text.
pub struct User {
    /// Its name.
    pub name: Box<[u8]>,
    rights: RwLock<Arc<Rights>>,
    version: AtomicU64,
    /// It was deleted: whoever is logged in as it has to go.
    is_deleted: AtomicBool,
}

impl User {
    /// A user with these rights.
    pub fn new(name: &[u8], rights: Rights) -> User {
        User {
            name: name.into(),
            rights: RwLock::new(Arc::new(rights)),
            version: AtomicU64::new(0),
            is_deleted: AtomicBool::new(false),
        }
    }

    /// What it may do now.
    pub fn rights(&self) -> Arc<Rights> {
        self.rights.read().clone()
    }

    /// Gives it other rights; clients that are logged in as it see them with their next command.
    pub fn set_rights(&self, rights: Rights) {
        *self.rights.write() = Arc::new(rights);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Whether it exists no longer.
    pub fn is_deleted(&self) -> bool {
        self.is_deleted.load(Ordering::Relaxed)
    }
}

/// Who a client is, with a copy of what it may do.
#[derive(Clone)]
pub struct Login {
    /// The user.
    pub user: Arc<User>,
    rights: Arc<Rights>,
    version: u64,
}

impl Login {
    /// As this user.
    pub fn new(user: Arc<User>) -> Login {
        let version = user.version.load(Ordering::Acquire);
        let rights = user.rights();
        Login {
            user,
            rights,
            version,
        }
    }

    /// What it may do, as of the last [`Login::renew`].
    #[inline]
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// Whether something has changed since the last [`Login::renew`].
    #[inline]
    pub fn has_moved(&self) -> bool {
        self.version != self.user.version.load(Ordering::Acquire)
    }

    /// Takes over what has changed.
    #[inline]
    pub fn renew(&mut self) {
        if self.version != self.user.version.load(Ordering::Acquire) {
            *self = Login::new(self.user.clone());
        }
    }
}

/// All users.
pub struct Acl {
    /// ACL LOG.
    pub log: outline::Log,
    users: RwLock<BTreeMap<Vec<u8>, Arc<User>>>,
    default: Arc<User>,
}

impl Default for Acl {
    fn default() -> Acl {
        let default = Arc::new(User::new(DEFAULT_USER.as_bytes(), Rights::unrestricted()));
        let users = [(DEFAULT_USER.into(), default.clone())];
        Acl {
            log: outline::Log::default(),
            users: RwLock::new(users.into()),
            default,
        }
    }
}

impl Acl {
    /// The user that a connection begins as.
    pub fn default_user(&self) -> &Arc<User> {
        &self.default
    }

    /// A user by its name.
    pub fn user(&self, name: &[u8]) -> Option<Arc<User>> {
        self.users.read().get(name).cloned()
    }

    /// Whether a connection has to log in before it may do anything.
    pub fn must_log_in(&self) -> bool {
        let rights = self.default.rights.read();
        !rights.nopass || !rights.is_enabled
    }

    /// `requirepass`: the only password of the user `default`; empty: it needs none.
    pub fn set_default_password(&self, password: &[u8]) {
        let mut rights = (*self.default.rights()).clone();
        rights.nopass = password.is_empty();
        rights.passwords = match password.is_empty() {
            true => Vec::new(),
            false => vec![hash_password(password)],
        };
        self.default.set_rights(rights);
    }

    /// The user, if the password is right; as fast for a name that does not exist.
    pub fn log_in(&self, name: &[u8], password: &[u8]) -> Option<Arc<User>> {
        let user = self.user(name);
        let rights = user.as_ref().unwrap_or(&self.default).rights();
        let accepted = rights.accepts(password);
        user.filter(|_| accepted)
    }
}

#[cfg(test)]
mod tests;
