//! What [`sync`](super) is in a model: loom's primitives, with the interfaces of those that they
//! stand for.

use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

pub use loom::hint::spin_loop;
pub use loom::sync::MutexGuard;
pub use loom::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, fence};
pub use loom::thread::yield_now;

use super::Ordering;

/// Words of stack for a thread that runs commands; loom's own are too small.
const STACK_WORDS: usize = 128 << 10;
/// Steps of one run: one that has more waits for something that does not come.
const BRANCHES_MAX: usize = 20_000;
/// How long one model is explored, unless it is done before.
const SECS: u64 = 5;
/// After so many runs it is looked whether the time is over.
const RUNS_PER_LOOK: usize = 50;

/// A nap is a chance for others.
pub fn sleep(_: Duration) {
    yield_now();
}

/// As `parking_lot`'s.
#[derive(Default, Debug)]
pub struct Mutex<T: ?Sized>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// A mutex that nobody holds.
    pub fn new(data: T) -> Mutex<T> {
        Mutex(loom::sync::Mutex::new(data))
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("a panic ends the model")
    }

    /// Takes it if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok()
    }
}

/// Loom's, made when it is used first, for it has to be a constant before. That first use has to come
/// before the threads that share it.
#[derive(Default, Debug)]
pub struct AtomicBool {
    first: bool,
    inner: OnceLock<loom::sync::atomic::AtomicBool>,
}

impl AtomicBool {
    /// One of this value.
    pub const fn new(first: bool) -> AtomicBool {
        AtomicBool {
            first,
            inner: OnceLock::new(),
        }
    }

    fn inner(&self) -> &loom::sync::atomic::AtomicBool {
        let make = || loom::sync::atomic::AtomicBool::new(self.first);
        self.inner.get_or_init(make)
    }

    /// Its value.
    pub fn load(&self, order: Ordering) -> bool {
        self.inner().load(order)
    }

    /// Sets it: by an exchange, for loom would let a store come before an exchange that has not read
    /// what it stored, and so be lost to everybody.
    pub fn store(&self, value: bool, order: Ordering) {
        self.inner().swap(value, order);
    }

    /// Sets it; what it was.
    pub fn swap(&self, value: bool, order: Ordering) -> bool {
        self.inner().swap(value, order)
    }
}

/// As tokio's, with what those who notify and those who wait see of each other: its own lock, which
/// loom does not know.
#[derive(Default)]
pub struct Notify {
    inner: tokio::sync::Notify,
    order: Mutex<()>,
}

/// Waits for a [`Notify`].
pub struct Notified<'a> {
    inner: Pin<Box<tokio::sync::futures::Notified<'a>>>,
    order: &'a Mutex<()>,
}

impl Notify {
    /// Waits for the next notification.
    pub fn notified(&self) -> Notified<'_> {
        let _order = self.order.lock();
        Notified {
            inner: Box::pin(self.inner.notified()),
            order: &self.order,
        }
    }

    /// Wakes all who wait.
    pub fn notify_waiters(&self) {
        let _order = self.order.lock();
        self.inner.notify_waiters();
    }
}

impl Notified<'_> {
    /// Waits from now on.
    pub fn enable(mut self: Pin<&mut Self>) -> bool {
        let _order = self.order.lock();
        self.inner.as_mut().enable()
    }
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let _order = self.order.lock();
        self.inner.as_mut().poll(cx)
    }
}

/// A thread of a model, with a stack that commands can run on.
pub fn spawn<T: Send + 'static>(
    run: impl FnOnce() -> T + Send + 'static,
) -> loom::thread::JoinHandle<T> {
    let builder = loom::thread::Builder::new().stack_size(STACK_WORDS);
    builder.spawn(run).expect("loom makes a thread")
}

/// Runs `model` in all interleavings of its threads in which none is interrupted that could have gone
/// on, then in all with one interruption, and so on up to so many, as far as that goes within
/// `KIVI_MODEL_SECS` (5 unless it is set); how many there were. At most four threads, the first one
/// among them.
pub fn explore(interruptions_max: usize, model: impl Fn() + Send + Sync + 'static) -> usize {
    let secs = std::env::var("KIVI_MODEL_SECS").ok();
    let secs = secs.map_or(SECS, |secs| secs.parse().expect("a number of seconds"));
    let began = Instant::now();
    let runs = Arc::new(AtomicUsize::new(0));
    let model = Arc::new(model);
    for interruptions in 0..=interruptions_max {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(interruptions);
        builder.max_branches = BRANCHES_MAX;
        let left = Duration::from_secs(secs).saturating_sub(began.elapsed());
        builder.max_duration = Some(left);
        builder.checkpoint_interval = RUNS_PER_LOOK;
        let (model, counted) = (model.clone(), runs.clone());
        builder.check(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            let model = model.clone();
            let first = spawn(move || model());
            first.join().expect("a panic ends the model");
        });
        let took = began.elapsed();
        let runs = runs.load(Ordering::Relaxed);
        eprintln!("{runs} runs with up to {interruptions} interruptions in {took:.1?}");
        if took.as_secs() >= secs {
            break;
        }
    }
    runs.load(Ordering::Relaxed)
}
