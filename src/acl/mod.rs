//! Access control: who the users are, and what each of them may do.
//!
//! A [`User`] is a name with [`Rights`] that never change: to change what a user may do is to give it other
//! rights ([`User::set_rights`]). A client holds a [`Login`], a copy of them that it renews when the user's
//! version has moved on, so that asking costs a load and a comparison.
//!
//! Rules are read in `rules`, kept as they will be told again in `selector`, and asked in the form of
//! `compiled`; `file` is the file of users, `log` what was denied.
//!
//! Invariants: the user `default` always exists and is always the same; rights are checked against the keys that
//! `spec::keys` finds, by which execution locks them, too; passwords are kept as hashes only and compared in
//! constant time.

mod catalog;
mod compiled;
mod describe;
mod file;
mod log;
mod patterns;
mod request;
mod rights;
mod rules;
mod selector;
mod users;

#[cfg(test)]
mod tests;

pub use catalog::{Catalog, Entry as CatalogEntry, category};
pub use describe::{describe_user, password_text};
pub use file::FileError;
pub use log::{Context, Entry, Log, Reason, Recorded};
pub use request::{Denial, Request};
pub use rights::Rights;
pub use rules::{RuleError, RulesError, World, has_spaces};
pub use selector::{Access, Selector};
pub use users::{Acl, Changed, DEFAULT_USER, Login, PasswordHash, User, hash_password};

use rights::named_databases;
