//! What commands mean to clients that cache (CLIENT TRACKING): keys that are read are remembered,
//! and those who track prefixes are told of a batch's changes.
//!
//! To those a batch of commands is one change: before its replies can be seen each prefix gets one
//! message with all its keys ([`Exec::tell_cached`]). The limit of remembered keys
//! (`tracking-table-max-keys`) is kept there, too, when no shard is held any more.

use std::cell::RefCell;

use smallvec::SmallVec;

use crate::commands::Ctx;
use crate::db::Access;
use crate::db::notice::Afterwards;
use crate::resp::parse::Argv;
use crate::server::Server;
use crate::spec::{Flags, keys};
use crate::tracking::Change;
use crate::util::rng::Rng;

use super::{Exec, Moment};

/// Keys of others that a batch makes untracked at most, besides as many as it has read, if there are
/// too many.
const EVICTED_MAX: usize = 100;

/// What a batch of commands means to clients that cache.
#[derive(Default)]
pub(super) struct Cached {
    /// Keys that it has changed, for those who track prefixes.
    changes: Vec<Change>,
    /// Keys that it has read and that are remembered.
    remembered: usize,
}

impl Cached {
    /// Adds what another command means.
    pub(super) fn join(&mut self, mut other: Cached) {
        self.changes.append(&mut other.changes);
        self.remembered += other.remembered;
    }
}

thread_local! {
    static RNG: RefCell<Rng> = RefCell::new(Rng::from_os());
}

/// Takes from a command's effects what is told when it has ended.
#[inline]
pub(super) fn note(server: &Server, moment: &mut Moment, afterwards: Afterwards) {
    if !afterwards.is_empty() {
        note_some(server, moment, afterwards);
    }
}

#[cold]
fn note_some(server: &Server, moment: &mut Moment, afterwards: Afterwards) {
    let age = server.tracking.age();
    let changes = afterwards.changed.into_iter();
    let changes = changes.map(|changed| Change { changed, age });
    moment.cached.changes.extend(changes);
    if !afterwards.own.is_empty() {
        server.tracking.tell_own(afterwards.own);
    }
}

impl Exec {
    /// Remembers that the client keeps copies of the keys that its command has read, whatever became
    /// of it. Their shards are held.
    #[cold]
    #[inline(never)]
    pub(super) fn remember(&self, ctx: &mut Ctx<'_>, argv: Argv<'_>, moment: &mut Moment) {
        // Scripts have no shards yet; what they read is remembered by their commands.
        let is_script = ctx.command.row.flags.has(Flags::RUNS_SCRIPT);
        if is_script || !ctx.client.tracking.remembers() {
            return;
        }
        let mut found: SmallVec<[usize; 8]> = SmallVec::new();
        let specs = ctx.command.row.keys;
        if keys::for_each_key(specs, argv, |at, _| found.push(at)).is_err() {
            // Nothing was locked, and nothing read.
            return;
        }
        let keys = found.iter().map(|at| &argv[*at]);
        self.remember_keys(&mut ctx.db, ctx.client.shared.id, keys, moment);
    }

    /// Remembers that a client keeps copies of these keys. Their shards are held.
    pub(super) fn remember_keys<'k>(
        &self,
        db: &mut Access<'_>,
        client_id: u64,
        keys: impl Iterator<Item = &'k [u8]>,
        moment: &mut Moment,
    ) {
        let tracking = &self.server.tracking;
        for key in keys {
            db.track(key, client_id, |id| tracking.is_gone(id));
            moment.cached.remembered += 1;
        }
    }

    /// Tells those who cache what a batch has done so far; true if anybody was told anything. To be
    /// called before its replies are sent; nothing is held.
    #[inline]
    pub fn tell_cached(&self, moment: &mut Moment) -> bool {
        let cached = &mut moment.cached;
        if cached.changes.is_empty() && cached.remembered == 0 {
            return false;
        }
        self.tell_some(std::mem::take(cached));
        true
    }

    #[cold]
    fn tell_some(&self, cached: Cached) {
        if !cached.changes.is_empty() {
            self.server.tracking.broadcast(&cached.changes);
        }
        let keys_max = self.config().tracking_table_max_keys;
        if cached.remembered > 0 && keys_max > 0 {
            let budget = cached.remembered.saturating_add(EVICTED_MAX);
            let keyspace = &self.server.keyspace;
            RNG.with_borrow_mut(|rng| keyspace.limit_tracked(keys_max, budget, rng));
        }
    }
}
