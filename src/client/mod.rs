//! Clients: what the server knows of each connection.
//!
//! A connection owns its [`Client`]; what others may see of it (CLIENT LIST, CLIENT KILL, INFO) is
//! in [`Shared`], written with relaxed atomics by its owner and found by others through the
//! [`Registry`], by id, never by reference into the connection. Someone who wants something of a
//! connection raises a [`Signal`] and wakes it; the connection looks at its signals whenever it is
//! polled.
//!
//! To add a field to CLIENT LIST: a field here, its text in `commands::client`.

pub mod bell;
pub mod inbox;
pub mod memory;
pub mod pause;
pub mod subscriptions;
pub mod tracking;
pub mod transaction;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;

use crate::acl::{Acl, DEFAULT_USER, Login, Rights, User};
use crate::db::{DbIndex, Outcome, Request, Waiter};
use crate::ds::footprint::block_bytes;
use crate::resp::parse::Argv;
use crate::resp::write::ReplyWriter;
use crate::sys::sync;

use bell::Bell;
use inbox::{Inbox, OutputClass, OutputLimits};
use memory::{ClientMemory, Counted};
use subscriptions::{Subject, Subscriptions};
use tracking::{OwnTracking, SharedTracking};
use transaction::{Figures, Transaction};

/// A client's number: unique for the life of the server, ascending.
pub type ClientId = u64;

/// What a connection may be asked to do (a bit set in [`Shared`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Signal {
    /// Close, as soon as what was answered is written.
    Kill = 1,
    /// Move to the worker that was chosen for it.
    Move = 2,
    /// Take what is in the inbox.
    Inbox = 4,
}

/// Which replies a client gets (CLIENT REPLY).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReplyMode {
    /// All.
    #[default]
    On,
    /// None.
    Off,
    /// Not the one of the next command.
    SkipNext,
    /// Not the one of the command that runs; then all again.
    Skip,
}

/// The connection's own side.
pub struct Client {
    /// What others see.
    pub shared: Arc<Shared>,
    /// The selected database.
    pub db: DbIndex,
    /// Who it is, and what it may do.
    pub login: Login,
    /// AUTH succeeded, or none was needed.
    pub authenticated: bool,
    /// CLIENT REPLY.
    pub reply: ReplyMode,
    /// The script that it is about to run has begun, and has to begin again with everything, as it takes long.
    pub script_takes_long: bool,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// CLIENT IMPORT-SOURCE: while data is imported (`import-mode`), it sees keys that have expired.
    pub is_import_source: bool,
    /// MONITOR: it is shown all commands, and counts as a replica, which must not touch keys.
    pub is_monitor: bool,
    /// Its commands may wait; not so inside of a transaction or a script.
    pub may_block: bool,
    /// How long it waits for what it is told: it has given many wrong passwords.
    pub penalty: Duration,
    /// The name that it has tried to log in with last, until the audit log takes it.
    pub tried_login: Cell<Option<Box<[u8]>>>,
    /// Between MULTI and its end: commands are queued.
    pub in_multi: bool,
    /// Its last transaction came to nothing, because others were faster: it lets them pass.
    pub has_lost: bool,
    /// What it has queued and watches; none before its first MULTI or WATCH.
    pub(crate) transaction: Option<Box<Transaction>>,
    /// What it has subscribed to; none without a subscription.
    pub subscriptions: Option<Box<Subscriptions>>,
    /// CLIENT TRACKING.
    pub tracking: OwnTracking,
    /// What is done elsewhere for its last command.
    pub chore: Option<Box<Underway>>,
}

/// A command that is not over yet, though it has run.
pub struct Underway {
    /// Its number.
    pub command: u16,
    /// The request.
    pub request: Request,
    /// When it began, in ticks of `sys::tsc`.
    pub began: u64,
}

impl Underway {
    /// A command that began at this tick.
    pub fn new(command: u16, argv: Argv<'_>, began: u64) -> Underway {
        Underway {
            command,
            request: Request::new(argv),
            began,
        }
    }
}

impl Client {
    /// A fresh client of the default user.
    pub fn new(shared: Arc<Shared>, acl: &Acl) -> Client {
        let user = acl.default_user().clone();
        *shared.user.lock() = Some(user.clone());
        let authenticated = !acl.must_log_in();
        shared.authenticated.store(authenticated, Ordering::Relaxed);
        Client::logged_in(shared, Login::new(user), authenticated)
    }

    /// A client that may do everything, and has no user that anybody could change: replays a log.
    pub fn internal(shared: Arc<Shared>) -> Client {
        let user = User::new(DEFAULT_USER.as_bytes(), Rights::unrestricted());
        Client::logged_in(shared, Login::new(Arc::new(user)), true)
    }

    /// Acts for a client whose connection waits: as the user that this one is now.
    pub fn on_behalf(shared: Arc<Shared>, acl: &Acl) -> Client {
        let user = shared.user().unwrap_or_else(|| acl.default_user().clone());
        Client::logged_in(shared, Login::new(user), true)
    }

    /// What stands in for a client while that is elsewhere.
    pub fn stand_in(of: &Client) -> Client {
        Client::logged_in(of.shared.clone(), of.login.clone(), of.authenticated)
    }

    fn logged_in(shared: Arc<Shared>, login: Login, authenticated: bool) -> Client {
        Client {
            shared,
            db: DbIndex::default(),
            login,
            authenticated,
            reply: ReplyMode::On,
            script_takes_long: false,
            no_touch: false,
            is_import_source: false,
            is_monitor: false,
            may_block: true,
            penalty: Duration::ZERO,
            tried_login: Cell::default(),
            in_multi: false,
            has_lost: false,
            transaction: None,
            subscriptions: None,
            tracking: OwnTracking::default(),
            chore: None,
        }
    }

    /// Whether it gets the reply of the command that has run.
    pub fn is_heard(&self) -> bool {
        matches!(self.reply, ReplyMode::On | ReplyMode::SkipNext)
    }

    /// SELECT.
    pub fn select(&mut self, db: DbIndex) {
        self.db = db;
        self.shared.db.store(db.0, Ordering::Relaxed);
    }

    /// Becomes this user, and has proved it or not.
    pub fn log_in(&mut self, user: Arc<User>, authenticated: bool) {
        *self.shared.user.lock() = Some(user.clone());
        self.login = Login::new(user);
        self.authenticated = authenticated;
        self.shared
            .authenticated
            .store(authenticated, Ordering::Relaxed);
        // Who has deleted it meanwhile did not find this client among those to be cut off.
        if self.login.user.is_deleted() {
            self.shared.raise(Signal::Kill);
        }
    }

    /// CLIENT NO-TOUCH.
    pub fn set_no_touch(&mut self, no_touch: bool) {
        self.no_touch = no_touch;
        self.shared.no_touch.store(no_touch, Ordering::Relaxed);
    }

    /// CLIENT IMPORT-SOURCE.
    pub fn set_import_source(&mut self, on: bool) {
        self.is_import_source = on;
        self.shared.is_import_source.store(on, Ordering::Relaxed);
    }

    /// MONITOR begins or ends.
    pub fn set_monitor(&mut self, on: bool) {
        self.is_monitor = on;
        self.shared.is_monitor.store(on, Ordering::Relaxed);
    }

    /// CLIENT REPLY.
    pub fn set_reply(&mut self, mode: ReplyMode) {
        self.reply = mode;
        let is_silent = mode == ReplyMode::Off;
        self.shared.is_silent.store(is_silent, Ordering::Relaxed);
    }

    /// Counts a command that has run.
    #[inline]
    pub fn ran(&self) {
        add_as_owner(&self.shared.commands, 1);
    }

    /// Counts commands that a script of it has run.
    pub fn ran_times(&self, commands: u64) {
        add_as_owner(&self.shared.commands, commands);
    }

    /// Counts bytes that were read from it.
    #[inline]
    pub fn sent(&self, bytes: u64) {
        add_as_owner(&self.shared.net_in_bytes, bytes);
    }

    /// See [`Shared::wrote`].
    #[inline]
    pub fn wrote(&self, bytes: u64) {
        self.shared.wrote(bytes);
    }
}

/// Adds to a counter that only the caller writes: without the price of a locked instruction.
#[inline]
fn add_as_owner(counter: &AtomicU64, n: u64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(n),
        Ordering::Relaxed,
    );
}

/// Names that a client gave itself.
#[derive(Clone, Default, Debug)]
pub struct Names {
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub lib_name: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub lib_ver: Vec<u8>,
}

/// How a connection came in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Peer, as CLIENT LIST shows it (`127.0.0.1:50000`; a unix socket: its path with `:0`).
    pub addr: String,
    /// Own side.
    pub laddr: String,
    /// Loopback or unix socket: what `protected-mode` and `enable-debug-command local` call local.
    pub local: bool,
    /// A unix socket.
    pub unix: bool,
}

impl Endpoint {
    /// A local client without a socket of its own; both sides are shown as `addr`.
    pub fn local(addr: &str) -> Endpoint {
        Endpoint {
            addr: addr.into(),
            laddr: addr.into(),
            local: true,
            unix: false,
        }
    }
}

/// What everyone may see of a client.
pub struct Shared {
    /// Its number.
    pub id: ClientId,
    /// Where it comes from.
    pub endpoint: Endpoint,
    /// When it connected, Unix ms.
    pub created_at_ms: u64,
    /// Names it gave itself.
    pub names: Mutex<Names>,
    /// File descriptor, -1 for none.
    pub fd: AtomicI32,
    /// Selected database.
    pub db: AtomicU32,
    /// 2 or 3.
    pub resp: AtomicU8,
    /// Number of the last command in the command table, plus one; 0 for none yet.
    pub last_command: AtomicU16,
    /// When it last sent something, Unix ms.
    pub last_interaction_ms: AtomicU64,
    /// Bytes read from it.
    pub net_in_bytes: AtomicU64,
    /// Bytes written to it.
    pub net_out_bytes: AtomicU64,
    /// Commands run for it.
    pub commands: AtomicU64,
    /// Bytes of an unfinished request.
    pub query_buffer_bytes: AtomicUsize,
    /// Memory of that buffer.
    pub query_buffer_capacity: AtomicUsize,
    /// Bytes of replies not yet written.
    pub output_bytes: AtomicUsize,
    /// Memory that holds them.
    pub output_memory_bytes: AtomicUsize,
    /// What of that is also the memory of somebody else.
    pub output_lent_bytes: AtomicUsize,
    /// Memory of what the connection itself consists of, whatever it holds.
    pub connection_bytes: AtomicUsize,
    /// Memory of its TLS session, and of what that holds.
    pub tls_bytes: AtomicUsize,
    /// CLIENT NO-EVICT.
    pub no_evict: AtomicBool,
    /// CLIENT NO-TOUCH.
    pub no_touch: AtomicBool,
    /// CLIENT IMPORT-SOURCE.
    pub is_import_source: AtomicBool,
    /// CLIENT CAPA REDIRECT.
    pub can_redirect: AtomicBool,
    /// MONITOR.
    pub is_monitor: AtomicBool,
    /// CLIENT REPLY OFF, or SKIP for the next command: what MONITOR shows is a reply, too.
    pub is_silent: AtomicBool,
    /// Waits for CLIENT UNPAUSE.
    pub paused: AtomicBool,
    /// Waits for the server in another way, for what it has asked for or until others are served.
    pub is_attended: AtomicBool,
    /// It has logged in, or did not have to when it came.
    pub authenticated: AtomicBool,
    /// Since when it has not, Unix ms, as far as somebody has looked.
    pub stranger_since_ms: AtomicU64,
    /// When the last bytes came of a request that is unfinished, Unix ms; 0: none is.
    pub unfinished_since_ms: AtomicU64,
    /// The worker that it lives on.
    pub worker: AtomicUsize,
    /// The worker that it shall move to ([`Signal::Move`]).
    pub move_to: AtomicUsize,
    /// Bytes that wait in its inbox.
    pub inbox_bytes: AtomicUsize,
    /// Channels, patterns and sharded channels that it has subscribed to.
    pub subscriptions: [AtomicU32; 3],
    /// Memory that these take.
    pub subscription_bytes: AtomicUsize,
    /// CLIENT TRACKING.
    pub tracking: SharedTracking,
    /// Since when its output is above the soft limit, Unix ms; 0: it is not.
    pub soft_limit_since_ms: AtomicU64,
    /// Its transaction; not set before its first MULTI or WATCH.
    pub transaction: OnceLock<Arc<Figures>>,
    /// What it takes, for `maxmemory-clients`.
    counted: Mutex<Counted>,
    /// What it waits for in a blocking command.
    waiter: sync::Mutex<Option<Arc<Waiter>>>,
    /// Who it is; `None` until it is served.
    user: Mutex<Option<Arc<User>>>,
    inbox: sync::Mutex<Inbox>,
    signals: sync::AtomicU8,
    waker: sync::Mutex<Option<Waker>>,
}

impl Shared {
    /// Who the client is; `None` until it is served.
    pub fn user(&self) -> Option<Arc<User>> {
        self.user.lock().clone()
    }

    /// Whether the client is this user.
    pub fn is_user(&self, user: &Arc<User>) -> bool {
        let own = self.user.lock();
        own.as_ref().is_some_and(|own| Arc::ptr_eq(own, user))
    }

    /// True while it has subscribed to anything.
    pub fn is_subscriber(&self) -> bool {
        let mut counts = self.subscriptions.iter();
        counts.any(|count| count.load(Ordering::Relaxed) > 0)
    }

    /// How much it has subscribed to, of one kind.
    pub fn subscription_count(&self, subject: Subject) -> u32 {
        self.subscriptions[subject as usize].load(Ordering::Relaxed)
    }

    /// Bytes that were not sent yet: replies and what is in the inbox.
    pub fn waiting_bytes(&self) -> u64 {
        let inbox_bytes = self.inbox_bytes.load(Ordering::Relaxed);
        (self.output_bytes.load(Ordering::Relaxed) + inbox_bytes) as u64
    }

    /// Its class for `client-output-buffer-limit`.
    pub fn output_class(&self) -> OutputClass {
        match self.is_subscriber() {
            true => OutputClass::PubSub,
            false => OutputClass::Normal,
        }
    }

    /// True while it waits in a blocking command.
    pub fn is_blocked(&self) -> bool {
        self.waiter.lock().is_some()
    }

    /// What it waits for in a blocking command.
    pub fn waiter(&self) -> Option<Arc<Waiter>> {
        self.waiter.lock().clone()
    }

    /// It waits from now on, or no longer.
    pub fn set_waiter(&self, waiter: Option<Arc<Waiter>>) {
        *self.waiter.lock() = waiter;
    }

    /// CLIENT UNBLOCK: ends its wait; false if it does not wait.
    pub fn unblock(&self, outcome: Outcome) -> bool {
        let waiter = self.waiter.lock().clone();
        waiter.is_some_and(|waiter| waiter.decide(outcome))
    }

    /// Shows what waits to be written: its bytes, and the memory that holds them.
    pub fn note_output(&self, bytes: usize, memory_bytes: usize) {
        self.output_bytes.store(bytes, Ordering::Relaxed);
        self.output_memory_bytes
            .store(memory_bytes, Ordering::Relaxed);
        self.output_lent_bytes.store(0, Ordering::Relaxed);
    }

    /// As [`Shared::note_output`], of replies that wait.
    pub fn note_pending(&self, pending: &ReplyWriter) {
        self.note_output(pending.len(), pending.memory_bytes());
        self.output_lent_bytes
            .store(pending.lent_bytes(), Ordering::Relaxed);
    }

    /// Bytes of the arguments of the command that it is blocked in.
    pub fn blocked_argv_bytes(&self) -> usize {
        let waiter = self.waiter.lock();
        waiter
            .as_ref()
            .map_or(0, |waiter| waiter.waiting.request.bytes())
    }

    /// As [`Shared::memory_bytes`], but for what would not come back if the client went.
    pub fn own_memory_bytes(&self) -> usize {
        let lent_bytes = self.output_lent_bytes.load(Ordering::Relaxed);
        self.memory_bytes().saturating_sub(lent_bytes)
    }

    /// Memory that the client takes: the connection, its buffers, and what is known of it here,
    /// bytes.
    pub fn memory_bytes(&self) -> usize {
        let names = self.names.lock();
        let texts = [&names.name, &names.lib_name, &names.lib_ver].map(Vec::capacity);
        let ends = [&self.endpoint.addr, &self.endpoint.laddr].map(String::capacity);
        let texts = texts.into_iter().chain(ends).map(block_bytes);
        let buffers = block_bytes(self.query_buffer_capacity.load(Ordering::Relaxed))
            + self.output_memory_bytes.load(Ordering::Relaxed)
            + self.inbox_bytes.load(Ordering::Relaxed)
            + self.subscription_bytes.load(Ordering::Relaxed)
            + self.tracking.memory_bytes();
        let connection =
            self.connection_bytes.load(Ordering::Relaxed) + self.tls_bytes.load(Ordering::Relaxed);
        let transaction = self.transaction.get().map_or(0, |seen| seen.memory_bytes());
        let waiter = self.waiter.lock();
        let waiting = waiter
            .as_ref()
            .map_or(0, |waiter| waiter.waiting.memory_bytes());
        SHARED_BYTES + connection + transaction + waiting + buffers + texts.sum::<usize>()
    }

    /// True when any signal is raised: one load, made whenever the connection is polled.
    #[inline]
    pub fn signalled(&self) -> bool {
        self.signals.load(Ordering::Acquire) != 0
    }

    /// True when this signal is raised.
    pub fn has(&self, signal: Signal) -> bool {
        self.signals.load(Ordering::Acquire) & signal as u8 != 0
    }

    /// Raises a signal; true if it was not raised before. The connection sees it when it is polled.
    fn set(&self, signal: Signal) -> bool {
        self.signals.fetch_or(signal as u8, Ordering::AcqRel) & signal as u8 == 0
    }

    /// Raises a signal and wakes the connection.
    pub fn raise(&self, signal: Signal) {
        self.set(signal);
        self.wake();
    }

    /// Counts bytes that were written to it. For the worker that has the connection.
    #[inline]
    pub fn wrote(&self, bytes: u64) {
        add_as_owner(&self.net_out_bytes, bytes);
    }

    /// Has the connection polled.
    pub fn wake(&self) {
        if let Some(waker) = &*self.waker.lock() {
            waker.wake_by_ref();
        }
    }

    /// Takes a signal back.
    pub fn lower(&self, signal: Signal) {
        self.signals.fetch_and(!(signal as u8), Ordering::AcqRel);
    }

    /// The task that runs the connection. Set once by it, before it looks at its signals.
    pub fn set_waker(&self, waker: Waker) {
        *self.waker.lock() = Some(waker);
    }
}

/// Memory of a [`Shared`] with what counts its owners, and its place among all clients, bytes.
const SHARED_BYTES: usize =
    block_bytes(2 * size_of::<usize>() + size_of::<Shared>()) + 3 * size_of::<usize>();

/// All connected clients.
#[derive(Default)]
pub struct Registry {
    next_id: AtomicU64,
    connected: Mutex<BTreeMap<ClientId, Arc<Shared>>>,
    /// The last client of the last [`Registry::next_round`].
    round_at: AtomicU64,
    /// How much may wait for a client.
    pub output_limits: OutputLimits,
    /// Clients that were cut off because too much waited for them.
    pub output_disconnections: AtomicU64,
    /// How much memory all take together.
    pub memory: ClientMemory,
    /// One for each worker, set when they start.
    bells: OnceLock<Box<[Bell]>>,
}

impl Registry {
    /// Makes a bell for each of `workers` workers.
    pub fn hang_bells(&self, workers: usize) {
        let _ = self
            .bells
            .set((0..workers).map(|_| Bell::default()).collect());
    }

    /// CONFIG RESETSTAT.
    pub fn reset_stats(&self) {
        self.output_disconnections.store(0, Ordering::Relaxed);
        self.memory.evicted.store(0, Ordering::Relaxed);
    }

    /// A worker's bell.
    pub fn bell(&self, worker: usize) -> Option<&Bell> {
        self.bells.get()?.get(worker)
    }

    /// Makes a client that others can find. `fd` is -1 for one without a socket.
    pub fn connect(&self, endpoint: Endpoint, fd: i32, now_ms: u64) -> Arc<Shared> {
        let shared = Arc::new(Shared {
            id: self.next_id.fetch_add(1, Ordering::Relaxed) + 1,
            endpoint,
            created_at_ms: now_ms,
            names: Mutex::default(),
            fd: AtomicI32::new(fd),
            db: AtomicU32::new(0),
            resp: AtomicU8::new(2),
            last_command: AtomicU16::new(0),
            last_interaction_ms: AtomicU64::new(now_ms),
            net_in_bytes: AtomicU64::new(0),
            net_out_bytes: AtomicU64::new(0),
            commands: AtomicU64::new(0),
            query_buffer_bytes: AtomicUsize::new(0),
            query_buffer_capacity: AtomicUsize::new(0),
            output_bytes: AtomicUsize::new(0),
            output_memory_bytes: AtomicUsize::new(0),
            output_lent_bytes: AtomicUsize::new(0),
            connection_bytes: AtomicUsize::new(0),
            tls_bytes: AtomicUsize::new(0),
            no_evict: AtomicBool::new(false),
            no_touch: AtomicBool::new(false),
            is_import_source: AtomicBool::new(false),
            can_redirect: AtomicBool::new(false),
            is_monitor: AtomicBool::new(false),
            is_silent: AtomicBool::new(false),
            counted: Mutex::default(),
            paused: AtomicBool::new(false),
            is_attended: AtomicBool::new(false),
            user: Mutex::default(),
            authenticated: AtomicBool::new(false),
            stranger_since_ms: AtomicU64::new(now_ms),
            unfinished_since_ms: AtomicU64::new(0),
            worker: AtomicUsize::new(0),
            move_to: AtomicUsize::new(0),
            inbox_bytes: AtomicUsize::new(0),
            subscriptions: Default::default(),
            subscription_bytes: AtomicUsize::new(0),
            tracking: SharedTracking::default(),
            soft_limit_since_ms: AtomicU64::new(0),
            transaction: OnceLock::new(),
            inbox: sync::Mutex::default(),
            waiter: sync::Mutex::new(None),
            signals: sync::AtomicU8::new(0),
            waker: sync::Mutex::new(None),
        });
        self.connected.lock().insert(shared.id, shared.clone());
        shared
    }

    /// Forgets a client whose connection has ended.
    pub fn disconnect(&self, id: ClientId) {
        let gone = self.connected.lock().remove(&id);
        if let Some(client) = gone {
            self.no_longer_counted(&client);
        }
    }

    /// A client by its number.
    pub fn get(&self, id: ClientId) -> Option<Arc<Shared>> {
        self.connected.lock().get(&id).cloned()
    }

    /// All clients in the order of their numbers.
    pub fn all(&self) -> Vec<Arc<Shared>> {
        self.connected.lock().values().cloned().collect()
    }

    /// Calls `visit` with every client in the order of their numbers, while nobody can come or go:
    /// for short work.
    pub fn for_each(&self, mut visit: impl FnMut(&Shared)) {
        self.connected
            .lock()
            .values()
            .for_each(|shared| visit(shared));
    }

    /// The next `most` clients, round and round: what is to be done for each of them now and then
    /// is spread over time.
    pub fn next_round(&self, most: usize) -> Vec<Arc<Shared>> {
        let after = self.round_at.load(Ordering::Relaxed);
        let connected = self.connected.lock();
        let later = connected.range((Bound::Excluded(after), Bound::Unbounded));
        let earlier = connected.range(..=after);
        let round: Vec<_> = later
            .chain(earlier)
            .take(most)
            .map(|(_, shared)| shared.clone())
            .collect();
        if let Some(last) = round.last() {
            self.round_at.store(last.id, Ordering::Relaxed);
        }
        round
    }

    /// Number of clients.
    pub fn len(&self) -> usize {
        self.connected.lock().len()
    }

    /// True when nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
