//! Freeing large things away from the commands that drop them.
//!
//! A thread of its own receives whole tables (FLUSHALL) and large values that were deleted or replaced, and drops them.
//! It starts with the first piece of work. Kivi always frees large things here: the `lazyfree-*` directives have nothing
//! left to choose but FLUSHALL's default.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};

use crate::ds::entry::Entry;
use crate::ds::table::Table;

/// Values of more elements than this are freed in the background. To hand over a smaller one costs more than to free it.
const LAZYFREE_ELEMENTS_MIN: usize = 64;

/// Whether an entry that has left the keyspace is to be freed in the background.
#[inline]
pub(super) fn is_large(entry: &Entry) -> bool {
    let collection = entry.view().value().as_collection();
    collection.is_some_and(|collection| collection.len() > LAZYFREE_ELEMENTS_MIN)
}

/// What is to be freed.
enum Work {
    Tables(Vec<Table<Entry>>),
    Values(Vec<Entry>),
    Other(u64, Box<dyn Any + Send>),
}

/// See the module's text.
#[derive(Default)]
pub struct LazyFree {
    thread: OnceLock<mpsc::Sender<Work>>,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    pending: AtomicU64,
    freed: AtomicU64,
}

impl LazyFree {
    /// Drops `tables` in the background.
    pub fn free(&self, tables: Vec<Table<Entry>>) {
        let objects: u64 = tables.iter().map(|table| table.len() as u64).sum();
        if objects == 0 {
            return;
        }
        self.send(objects, Work::Tables(tables));
    }

    /// Drops values in the background.
    pub fn free_values(&self, values: Vec<Entry>) {
        if !values.is_empty() {
            self.send(values.len() as u64, Work::Values(values));
        }
    }

    /// Drops in the background what is no value; it counts as so many objects.
    pub fn free_other(&self, objects: u64, what: Box<dyn Any + Send>) {
        self.send(objects, Work::Other(objects, what));
    }

    fn send(&self, objects: u64, work: Work) {
        self.counters.pending.fetch_add(objects, Ordering::Relaxed);
        // A send fails only when the thread could not be started: then all is dropped right here.
        if self.thread.get_or_init(|| self.start()).send(work).is_err() {
            self.counters.done(objects);
        }
    }

    /// Keys still to be freed.
    pub fn pending(&self) -> u64 {
        self.counters.pending.load(Ordering::Relaxed)
    }

    /// Keys freed since the last [`LazyFree::reset_stats`].
    pub fn freed(&self) -> u64 {
        self.counters.freed.load(Ordering::Relaxed)
    }

    /// CONFIG RESETSTAT.
    pub fn reset_stats(&self) {
        self.counters.freed.store(0, Ordering::Relaxed);
    }

    fn start(&self) -> mpsc::Sender<Work> {
        let (sender, receiver) = mpsc::channel::<Work>();
        let counters = self.counters.clone();
        let work = move || {
            for work in receiver {
                match work {
                    Work::Tables(tables) => tables.into_iter().for_each(|table| {
                        let objects = table.len() as u64;
                        drop(table);
                        counters.done(objects);
                    }),
                    Work::Values(values) => values.into_iter().for_each(|value| {
                        drop(value);
                        counters.done(1);
                    }),
                    Work::Other(objects, what) => {
                        drop(what);
                        counters.done(objects);
                    }
                }
            }
        };
        let started = std::thread::Builder::new()
            .name("kivi-lazyfree".into())
            .spawn(work);
        if let Err(error) = started {
            tracing::warn!("no thread for lazy freeing, large values are freed at once: {error}");
        }
        sender
    }
}

impl Counters {
    fn done(&self, objects: u64) {
        self.pending.fetch_sub(objects, Ordering::Relaxed);
        self.freed.fetch_add(objects, Ordering::Relaxed);
    }
}
