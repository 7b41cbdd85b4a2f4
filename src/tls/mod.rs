//! What TLS is spoken with: certificate, key, ciphers, whom to trust. No sockets: those are `net::tls`.
//!
//! A [`Context`] is everything a handshake needs, made from the `tls-*` directives and the files that they name, and
//! never changed. [`Tls`] holds the one that new connections get; to reload is to make another and to put it there if
//! that has worked. Connections keep theirs, so nobody is dropped; sessions to be resumed live in a context, so none
//! outlasts the certificates it was made under.
//!
//! - `pem`: certificates and keys from files, whatever their wrapping;
//! - `ciphers`: OpenSSL's names and lists of ciphers;
//! - `clients`: which certificates of clients are accepted;
//! - `identity`: which user a client's certificate names;
//! - `sessions`: sessions kept for resumption;
//! - `probe`: the other side, for `--ping`.
//!
//! Invariants: what cannot be honoured is an error with a reason that names file and directive, and leaves the context
//! as it was; secrets are in no error.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::config::Config;

mod ciphers;
mod clients;
mod context;
mod identity;
pub mod pem;
mod probe;
mod sessions;

pub use context::{CertificateFacts, Context, NotConfigured};
pub use identity::{identities, may_be_user};
pub use probe::probe;

use context::Materials;

/// What a reload has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reloaded {
    /// The files are what they were.
    Unchanged,
    /// New connections get the new ones.
    Changed,
}

/// The server's TLS. See the module's text.
#[derive(Default)]
pub struct Tls {
    context: RwLock<Option<Arc<Context>>>,
}

impl Tls {
    /// What a new connection is given; none as long as TLS is not configured.
    pub fn context(&self) -> Option<Arc<Context>> {
        self.context.read().clone()
    }

    /// Makes a context of these directives and their files, for all who connect from now on. Two at a time
    /// could undo each other's; who changes or reads the configuration meanwhile keeps others off.
    pub fn configure(&self, config: &Config) -> Result<(), NotConfigured> {
        let materials = Materials::read(config)?;
        self.replace(Context::new(config, materials)?);
        Ok(())
    }

    /// The same, if the files have changed since the last time.
    pub fn reload(&self, config: &Config) -> Result<Reloaded, NotConfigured> {
        let materials = Materials::read(config)?;
        let now = self.context();
        if now.is_some_and(|now| now.is_of(&materials)) {
            return Ok(Reloaded::Unchanged);
        }
        self.replace(Context::new(config, materials)?);
        Ok(Reloaded::Changed)
    }

    /// TLS is spoken no longer.
    pub fn clear(&self) {
        *self.context.write() = None;
    }

    fn replace(&self, context: Context) {
        *self.context.write() = Some(Arc::new(context));
    }
}

#[cfg(test)]
mod tests;
