//! The users, and whom a client is logged in as.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard, RwLock};
use sha2::{Digest, Sha256};

use crate::util::padded::Padded;

use super::log::Log;
use super::request::{Denial, Request};
use super::rights::Rights;
use super::rules::{self, RulesError, World, has_spaces};

/// The user that a connection begins as.
pub const DEFAULT_USER: &str = "default";

/// SHA-256 of a password.
pub type PasswordHash = [u8; 32];

/// The hash under which a password is kept.
pub fn hash_password(password: &[u8]) -> PasswordHash {
    Sha256::digest(password).into()
}

/// A user. See the module's text.
pub struct User {
    /// Its name.
    pub name: Box<[u8]>,
    rights: RwLock<Arc<Rights>>,
    /// How often it has changed. Every command of its clients reads it, beside a lock that is written.
    version: Padded<AtomicU64>,
    /// It was deleted: whoever is logged in as it has to go.
    is_deleted: AtomicBool,
}

impl User {
    /// A user with these rights.
    pub fn new(name: &[u8], rights: Rights) -> User {
        User {
            name: name.into(),
            rights: RwLock::new(Arc::new(rights)),
            version: Padded::default(),
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

    fn delete(&self) {
        self.is_deleted.store(true, Ordering::Relaxed);
        self.version.fetch_add(1, Ordering::Release);
    }
}

/// Who a client is, with a copy of what it may do.
#[derive(Clone)]
pub struct Login {
    /// The user.
    pub user: Arc<User>,
    rights: Arc<Rights>,
    /// As its rights say, without a look at them.
    is_unrestricted: bool,
    version: u64,
}

impl Login {
    /// As this user.
    pub fn new(user: Arc<User>) -> Login {
        let version = user.version.load(Ordering::Acquire);
        let rights = user.rights();
        Login {
            user,
            is_unrestricted: rights.is_unrestricted(),
            rights,
            version,
        }
    }

    /// Whether a request may run, as of the last [`Login::renew`]; else what is lacking.
    #[inline]
    pub fn check<H>(&self, request: &Request<'_, H>) -> Result<(), Denial> {
        match self.is_unrestricted {
            true => Ok(()),
            false => self.rights.check(request),
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
        if self.has_moved() {
            *self = Login::new(self.user.clone());
        }
    }
}

/// A user whose rights have changed: with those that it had, or one that is gone.
pub enum Changed {
    /// Now they are others.
    Rights(Arc<User>, Arc<Rights>),
    /// It was deleted.
    Deleted(Arc<User>),
}

/// The user `default` before and after `requirepass` was set.
pub struct NewPassword {
    before: Arc<Rights>,
    after: Arc<Rights>,
}

/// All users.
pub struct Acl {
    users: RwLock<BTreeMap<Vec<u8>, Arc<User>>>,
    default: Arc<User>,
    /// Held by who changes users: what is read of them to be changed is still so then.
    changes: Mutex<()>,
    /// What was denied.
    pub log: Log,
}

impl Default for Acl {
    fn default() -> Acl {
        let default = Arc::new(User::new(DEFAULT_USER.as_bytes(), Rights::unrestricted()));
        let users = [(DEFAULT_USER.into(), default.clone())];
        Acl {
            users: RwLock::new(users.into()),
            default,
            changes: Mutex::new(()),
            log: Log::default(),
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

    /// All users, by name.
    pub fn users(&self) -> Vec<Arc<User>> {
        self.users.read().values().cloned().collect()
    }

    /// Whether a connection has to log in before it may do anything.
    pub fn must_log_in(&self) -> bool {
        let rights = self.default.rights.read();
        !rights.nopass || !rights.is_enabled
    }

    /// `requirepass`: the only password of the user `default`; empty: it needs none. What has changed.
    pub fn set_default_password(&self, password: &[u8]) -> NewPassword {
        let _turn = self.changes.lock();
        let before = self.default.rights();
        let mut rights = (*before).clone();
        rights.set_password(password);
        self.default.set_rights(rights);
        NewPassword {
            before,
            after: self.default.rights(),
        }
    }

    /// The user `default` is as before this, unless somebody else has changed it since.
    pub fn undo_default_password(&self, changed: NewPassword) {
        let _turn = self.changes.lock();
        if Arc::ptr_eq(&self.default.rights(), &changed.after) {
            self.default.set_rights((*changed.before).clone());
        }
    }

    /// The user, if the password is right; as fast for a name that does not exist.
    pub fn log_in(&self, name: &[u8], password: &[u8]) -> Option<Arc<User>> {
        let user = self.user(name);
        let rights = user.as_ref().unwrap_or(&self.default).rights();
        let accepted = rights.accepts(password);
        user.filter(|_| accepted)
    }

    /// ACL SETUSER: all rules or none; a user that is not there is made. What has changed.
    pub fn set_user(
        &self,
        name: &[u8],
        rules: &[&[u8]],
        world: World<'_>,
    ) -> Result<Vec<Changed>, RulesError> {
        let _turn = self.changes.lock();
        let Some(user) = self.user(name) else {
            let rights = rules::apply(&Rights::new_user(world), rules, world)?;
            let user = Arc::new(User::new(name, rights));
            self.users.write().insert(name.to_vec(), user);
            return Ok(Vec::new());
        };
        let before = user.rights();
        user.set_rights(rules::apply(&before, rules, world)?);
        Ok(vec![Changed::Rights(user, before)])
    }

    /// The users of the configuration: for each its name, and its rules. The error is what is wrong.
    pub fn set_configured_users(
        &self,
        lines: &[Vec<Vec<u8>>],
        world: World<'_>,
    ) -> Result<(), Vec<u8>> {
        let mut users = BTreeMap::new();
        for line in lines {
            let Some((name, rules)) = line.split_first() else {
                continue;
            };
            if has_spaces(name) {
                return Err(b"Spaces not allowed in ACL usernames".to_vec());
            }
            let rules: Vec<&[u8]> = rules.iter().map(Vec::as_slice).collect();
            let rights = rules::apply(&Rights::new_user(world), &rules, world);
            let rights = rights.map_err(|error| error.in_configuration(name))?;
            if users.insert(name.clone(), rights).is_some() {
                let text = b"Duplicate user found. A user can only be defined once in config files";
                return Err([b"Error in user declaration '", &name[..], b"': ", text].concat());
            }
        }
        // The user `default` is as `requirepass` made it, unless it is named.
        users
            .entry(DEFAULT_USER.into())
            .or_insert_with(|| (*self.default.rights()).clone());
        self.replace_users(users);
        Ok(())
    }

    /// ACL DELUSER: the user that is gone, if there was one. `default` stays.
    pub fn delete_user(&self, name: &[u8]) -> Option<Arc<User>> {
        let _turn = self.changes.lock();
        if name == DEFAULT_USER.as_bytes() {
            return None;
        }
        let user = self.users.write().remove(name)?;
        user.delete();
        Some(user)
    }

    /// These users and no others. Who was there before stays the same user with other rights; without a
    /// `default` among them that one gets everything.
    pub(super) fn replace_users(&self, mut rights: BTreeMap<Vec<u8>, Rights>) -> Vec<Changed> {
        let _turn = self.changes.lock();
        let mut changed = Vec::new();
        let default = rights.remove(DEFAULT_USER.as_bytes());
        let default = default.unwrap_or_else(Rights::unrestricted);
        let mut users = BTreeMap::from([(DEFAULT_USER.into(), self.default.clone())]);
        let before = self.users.read().clone();
        let mut change = |user: &Arc<User>, rights: Rights| {
            let before = user.rights();
            if *before != rights {
                user.set_rights(rights);
                changed.push(Changed::Rights(user.clone(), before));
            }
        };
        change(&self.default, default);
        for (name, rights) in rights {
            let user = match before.get(&name) {
                Some(user) => {
                    change(user, rights);
                    user.clone()
                }
                None => Arc::new(User::new(&name, rights)),
            };
            users.insert(name, user);
        }
        let gone = before.iter().filter(|(name, _)| !users.contains_key(*name));
        let gone: Vec<Arc<User>> = gone.map(|(_, user)| user.clone()).collect();
        *self.users.write() = users;
        for user in gone {
            user.delete();
            changed.push(Changed::Deleted(user));
        }
        changed
    }

    /// Keeps others from changing users meanwhile.
    pub(super) fn no_changes(&self) -> MutexGuard<'_, ()> {
        self.changes.lock()
    }
}
