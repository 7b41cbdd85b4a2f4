//! How clients that have got something into their inbox are woken.
//!
//! Waking a task of another thread costs a system call, so whoever posts rings the worker's [`Bell`],
//! and one task there ([`Bell::answer`]) wakes all connections that have something: one wake-up from
//! outside for all of them.
//!
//! **Groups.** Every message is one write to each subscriber, and that write is nearly all that a
//! message costs. So while messages come in a fast stream, to the same clients again and again, they
//! are handed over in groups: the bell is answered when the clients that have rung have got `GROUP`
//! things each, or after `HOLD_MAX`. Whether there is such a stream can't be known in advance: a
//! publisher may be waiting for the answer to what is held back. So a hold is tried now and then, when
//! the bell is rung all the time; if it brings less than `GROUP_MIN` things, the next one is tried
//! much later, and ever later while that goes on. A message that comes alone never waits, and of those
//! that come one by one but fast, one in `PROBE_MAX` does.
//!
//! A client that sends something itself gets what it has at once, in front of the reply.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;

use crate::sys::sync::Mutex;
use crate::sys::tsc;

use super::{Registry, Shared};

/// Things for each client that make a group: more than a batch of messages usually has.
const GROUP: usize = 24;
/// How many at least make a hold worth its time.
const GROUP_MIN: usize = 4;
/// How long a group is waited for.
const HOLD_MAX: Duration = Duration::from_millis(1);
/// Longest time between two answers of a bell that is rung all the time, and for each client that
/// was woken by the first.
const STREAM_GAP_US: u64 = 2000;
const CLIENT_GAP_US: u64 = 10;
/// Answers of such a bell before a hold is tried: at first, after many good ones, and after many
/// others.
const PROBE_FIRST: u32 = 64;
const PROBE_MIN: u32 = 16;
const PROBE_MAX: u32 = 16 << 10;

/// Clients of one worker that have got something, and the task that wakes them.
#[derive(Default)]
pub struct Bell {
    rung: Mutex<Rung>,
}

#[derive(Default)]
struct Rung {
    clients: Vec<Arc<Shared>>,
    /// How many things were put into their inboxes.
    puts: usize,
    /// A group is waited for.
    is_holding: bool,
    /// The task knows that it has to do something.
    is_told: bool,
    task: Option<Waker>,
}

impl Rung {
    fn is_due(&self) -> bool {
        let is_rung = !self.clients.is_empty();
        is_rung && (!self.is_holding || self.puts >= GROUP * self.clients.len())
    }
}

impl Bell {
    /// Wakes `clients`, now or soon; `puts` things were put into inboxes of this worker's clients.
    pub(super) fn ring(&self, clients: impl IntoIterator<Item = Arc<Shared>>, puts: usize) {
        let mut rung = self.rung.lock();
        rung.clients.extend(clients);
        rung.puts += puts;
        if rung.is_told || !rung.is_due() {
            return;
        }
        rung.is_told = true;
        let task = rung.task.clone();
        drop(rung);
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Wakes those who have got something, for ever: the task of one worker.
    pub async fn answer(&self) {
        let mut holds = Holds::default();
        let mut clients = Vec::new();
        // One for all holds: a timer that is only put off costs nothing.
        let mut deadline = pin!(tokio::time::sleep(HOLD_MAX));
        loop {
            let is_holding = holds.is_due();
            let is_rung = {
                let mut rung = self.rung.lock();
                rung.is_holding = is_holding;
                rung.is_due()
            };
            if is_rung || is_holding {
                // Those who were woken have their turn first; what they need is no part of the hold.
                tokio::task::yield_now().await;
            }
            if is_holding {
                deadline.as_mut().reset(Instant::now() + HOLD_MAX);
            }
            poll_fn(|cx| match self.poll_due(cx) {
                Poll::Pending if is_holding => deadline.as_mut().poll(cx),
                due => due,
            })
            .await;
            let puts = self.take(&mut clients);
            holds.answered(tsc::ticks(), clients.len(), puts);
            for client in clients.drain(..) {
                client.wake();
            }
        }
    }

    /// Takes all that have rung; how many things they have got.
    fn take(&self, clients: &mut Vec<Arc<Shared>>) -> usize {
        let mut rung = self.rung.lock();
        rung.is_told = false;
        std::mem::swap(&mut rung.clients, clients);
        std::mem::take(&mut rung.puts)
    }

    fn poll_due(&self, cx: &Context<'_>) -> Poll<()> {
        let mut rung = self.rung.lock();
        if rung.is_due() {
            return Poll::Ready(());
        }
        rung.is_told = false;
        if !rung
            .task
            .as_ref()
            .is_some_and(|task| task.will_wake(cx.waker()))
        {
            rung.task = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// When a worker waits for groups.
struct Holds {
    /// The last answer, in ticks, and how many it has woken.
    answered_at: u64,
    woken: u64,
    /// Answers in a row, one soon after the other; those to many clients count for more.
    streak: u32,
    /// How many of them it takes for a hold.
    probe_after: u32,
}

impl Default for Holds {
    fn default() -> Holds {
        Holds {
            answered_at: 0,
            woken: 0,
            streak: 0,
            probe_after: PROBE_FIRST,
        }
    }
}

impl Holds {
    /// Whether the next answer waits for a group.
    fn is_due(&self) -> bool {
        self.streak >= self.probe_after
    }

    /// The bell was answered at this moment, in ticks: so many clients had got so many things.
    fn answered(&mut self, now: u64, clients: usize, puts: usize) {
        let gap_us = tsc::ticks_to_us(now.saturating_sub(self.answered_at));
        let is_stream = gap_us < STREAM_GAP_US + CLIENT_GAP_US * self.woken;
        self.answered_at = now;
        self.woken = clients as u64;
        if !self.is_due() {
            // The more of them, the more a group saves.
            let weight = 1 + clients as u32 / 16;
            self.streak = if is_stream { self.streak + weight } else { 0 };
        } else if clients > 0 && puts >= clients * GROUP_MIN {
            self.probe_after = (self.probe_after / 2).max(PROBE_MIN);
        } else {
            self.probe_after = (self.probe_after * 4).min(PROBE_MAX);
            self.streak = 0;
        }
    }
}

/// What one worker's clients have got.
struct Post {
    worker: usize,
    /// Those that had nothing before.
    clients: Vec<Arc<Shared>>,
    /// Things that were put into inboxes.
    puts: usize,
}

/// What clients have got, by worker.
#[derive(Default)]
pub(super) struct Posts(SmallVec<[Post; 4]>);

impl Posts {
    /// Notes that a client has got something; `is_news` unless it had something before.
    #[inline]
    pub(super) fn add(&mut self, client: &Arc<Shared>, is_news: bool) {
        let worker = client.worker.load(Ordering::Relaxed);
        let at = match self.0.iter().position(|post| post.worker == worker) {
            Some(at) => at,
            None => {
                self.0.push(Post {
                    worker,
                    clients: Vec::new(),
                    puts: 0,
                });
                self.0.len() - 1
            }
        };
        let post = &mut self.0[at];
        post.puts += 1;
        if is_news {
            post.clients.push(client.clone());
        }
    }

    /// Rings the bells.
    pub(super) fn ring(self, registry: &Registry) {
        for post in self.0 {
            match registry.bell(post.worker) {
                Some(bell) => bell.ring(post.clients, post.puts),
                None => post.clients.iter().for_each(|client| client.wake()),
            }
        }
    }
}

#[cfg(all(test, feature = "model"))]
mod model;
#[cfg(test)]
mod tests {
    use super::*;

    /// Answers the bell `count` times, `gap_us` apart: one client has got `puts` things if there was
    /// a hold, else one; how many holds there were.
    fn holds_of(holds: &mut Holds, gap_us: u64, count: u32, puts: usize) -> u32 {
        let mut held = 0;
        for _ in 0..count {
            let is_held = holds.is_due();
            held += is_held as u32;
            let now = holds.answered_at + tsc::ns_to_ticks(gap_us * 1000);
            holds.answered(now, 1, if is_held { puts } else { 1 });
        }
        held
    }

    #[test]
    fn only_streams_are_held() {
        let mut holds = Holds::default();
        assert_eq!(holds_of(&mut holds, 2 * STREAM_GAP_US, 10_000, GROUP), 0);
        assert_eq!(holds_of(&mut holds, 50, PROBE_FIRST, GROUP), 0);
        // Good ones go on.
        assert_eq!(holds_of(&mut holds, 50, 1000, GROUP), 1000);
        assert_eq!(holds_of(&mut holds, 50, 1000, GROUP_MIN), 1000);
        // A bad one interrupts them, many in a row end them.
        assert_eq!(holds_of(&mut holds, 50, PROBE_MIN * 4, 1), 1);
        let rare = holds_of(&mut holds, 50, 100_000, 1);
        assert!((5..15).contains(&rare), "{rare}");
        let rare = holds_of(&mut holds, 50, 4 * PROBE_MAX, 1);
        assert!((3..=4).contains(&rare), "{rare}");
    }

    #[test]
    fn many_subscribers_take_long_to_serve() {
        let mut holds = Holds::default();
        let gap = tsc::ns_to_ticks(5_000_000);
        for _ in 0..3 {
            assert!(!holds.is_due());
            holds.answered(holds.answered_at + gap, 1000, 1000);
        }
        assert!(holds.is_due());
    }

    #[test]
    fn a_bell_is_due_when_a_group_is_there() {
        let registry = Registry::default();
        let endpoint = crate::client::Endpoint::local("");
        let client = registry.connect(endpoint, -1, 0);
        let bell = Bell::default();
        let is_due = || bell.rung.lock().is_due();
        bell.ring([client.clone()], 1);
        assert!(is_due());
        let mut clients = Vec::new();
        assert_eq!((bell.take(&mut clients), clients.len()), (1, 1));
        assert!(!is_due());
        bell.rung.lock().is_holding = true;
        bell.ring([client.clone(), client], GROUP);
        assert!(!is_due());
        bell.ring([], GROUP - 1);
        assert!(!is_due());
        bell.ring([], 1);
        assert!(is_due());
    }
}
