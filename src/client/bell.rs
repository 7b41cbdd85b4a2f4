//! How clients that have got something into their inbox are woken.
//!
//! Waking a task of another thread costs a system call, so whoever posts rings the worker's [`Bell`],
//! and one task there ([`Bell::answer`]) wakes all connections that have something: one wake-up from
//! outside for all of them.
//!
//! **Groups.** Every message is one write to each subscriber, and that write is nearly all that a
//! message costs. So while messages come in a fast stream, to the same clients again and again, they
//! are handed over in groups: the bell is answered when the clients that have rung have got [`GROUP`]
//! things each, or after [`HOLD_MAX`]. Whether there is such a stream can't be known in advance: a
//! publisher may be waiting for the answer to what is held back. So a hold is tried now and then, when
//! the bell is rung all the time; as soon as one ends before the group is full there are no more of
//! them for a while, for longer each time in a row. A message that comes alone never waits; at worst
//! one of [`PROBE_MAX`] does.
//!
//! A client that sends something itself gets what it has at once, in front of the reply.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::{Registry, Shared};

/// Things for each client that are worth one wake-up.
const GROUP: usize = 8;
/// How long a group is waited for.
const HOLD_MAX: Duration = Duration::from_millis(1);
/// Longest time that a bell which is rung all the time is silent.
const STREAM_GAP: Duration = Duration::from_millis(2);
/// Answers of such a bell before a hold is tried: after one that was good, and after many that were
/// not.
const PROBE_MIN: u32 = 64;
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
    fn ring(&self, clients: &mut Vec<Arc<Shared>>, puts: usize) {
        let mut rung = self.rung.lock();
        rung.clients.append(clients);
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
        loop {
            let is_holding = holds.begin(Instant::now());
            self.rung.lock().is_holding = is_holding;
            let mut deadline = pin!(async {
                match is_holding {
                    true => tokio::time::sleep(HOLD_MAX).await,
                    false => std::future::pending().await,
                }
            });
            let is_due = poll_fn(|cx| match self.poll_due(cx) {
                Poll::Ready(()) => Poll::Ready(true),
                Poll::Pending => deadline.as_mut().poll(cx).map(|()| false),
            });
            let is_due = is_due.await;
            holds.end(is_due, Instant::now());
            let clients = {
                let mut rung = self.rung.lock();
                rung.puts = 0;
                rung.is_told = false;
                std::mem::take(&mut rung.clients)
            };
            clients.iter().for_each(|client| client.wake());
            // The others have their turn before the bell is looked at again.
            tokio::task::yield_now().await;
        }
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
    is_holding: bool,
    /// Since when the bell is waited for.
    begun_at: Option<Instant>,
    /// Answers in a row, one soon after the other.
    streak: u32,
    /// How many of them it takes for a hold.
    probe_after: u32,
}

impl Default for Holds {
    fn default() -> Holds {
        Holds {
            is_holding: false,
            begun_at: None,
            streak: 0,
            probe_after: PROBE_MIN,
        }
    }
}

impl Holds {
    /// Whether the bell is held until a group is full.
    fn begin(&mut self, now: Instant) -> bool {
        self.begun_at = Some(now);
        self.is_holding = self.streak >= self.probe_after;
        self.is_holding
    }

    /// The bell is answered: `is_due` because it was time, else because the hold was over.
    fn end(&mut self, is_due: bool, now: Instant) {
        let since = self.begun_at;
        if self.is_holding {
            match is_due {
                true => self.probe_after = PROBE_MIN,
                false => {
                    self.probe_after = (self.probe_after * 2).min(PROBE_MAX);
                    self.streak = 0;
                }
            }
        } else if since.is_some_and(|since| now.saturating_duration_since(since) < STREAM_GAP) {
            self.streak += 1;
        } else {
            self.streak = 0;
        }
    }
}

/// Clients to be woken, by worker, and how many things were put into inboxes there.
#[derive(Default)]
pub(super) struct Woken(SmallVec<[(usize, Vec<Arc<Shared>>, usize); 4]>);

impl Woken {
    /// Notes that a client has got something; `is_news` unless it had something before.
    #[inline]
    pub(super) fn add(&mut self, worker: usize, client: &Arc<Shared>, is_news: bool) {
        let at = match self.0.iter().position(|(other, ..)| *other == worker) {
            Some(at) => at,
            None => {
                self.0.push((worker, Vec::new(), 0));
                self.0.len() - 1
            }
        };
        let (_, clients, puts) = &mut self.0[at];
        *puts += 1;
        if is_news {
            clients.push(client.clone());
        }
    }

    /// Rings their bells.
    pub(super) fn ring(self, registry: &Registry) {
        for (worker, mut clients, puts) in self.0 {
            match registry.bell(worker) {
                Some(bell) => bell.ring(&mut clients, puts),
                None => clients.iter().for_each(|client| client.wake()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers `count` times, `gap` apart; how many of them were holds.
    fn answers(
        holds: &mut Holds,
        now: &mut Instant,
        gap: Duration,
        count: u32,
        is_due: bool,
    ) -> u32 {
        let mut held = 0;
        for _ in 0..count {
            held += holds.begin(*now) as u32;
            *now += gap;
            holds.end(is_due || !holds.is_holding, *now);
        }
        held
    }

    #[test]
    fn only_streams_are_held() {
        let (mut holds, mut now) = (Holds::default(), Instant::now());
        let fast = Duration::from_micros(50);
        let slow = STREAM_GAP * 2;
        assert_eq!(answers(&mut holds, &mut now, slow, 10_000, true), 0);
        assert_eq!(answers(&mut holds, &mut now, fast, PROBE_MIN, true), 0);
        // Good ones go on.
        assert_eq!(answers(&mut holds, &mut now, fast, 1000, true), 1000);
        // The first bad one ends them.
        assert_eq!(answers(&mut holds, &mut now, fast, PROBE_MIN, false), 1);
        let rare = answers(&mut holds, &mut now, fast, 100_000, false);
        assert!((8..15).contains(&rare), "{rare}");
        let rare = answers(&mut holds, &mut now, fast, 4 * PROBE_MAX, false);
        assert!((3..=4).contains(&rare), "{rare}");
    }
}
