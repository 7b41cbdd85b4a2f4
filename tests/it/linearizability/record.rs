//! Episodes: some clients work on a few keys at the same time, and what each has sent and got is
//! written down with the times.
//!
//! All times are of one clock of this process. A request is invoked before its bytes are handed to
//! the socket, and has returned when its reply was taken from there: whatever the server does with it
//! lies between.

use std::sync::Barrier;
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::checker::{Event, Verdict, check};
use super::generate::{Source, THEMES, Theme};
use super::spec::{Call, Redis, Request, Words, on_the_wire};
use crate::client::{Client, Reply, encode};
use crate::generate::Rng;

/// What one client has done.
pub(crate) type History = Vec<Event<Call>>;

/// An episode's size.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) clients: usize,
    /// Batches that each client sends.
    pub(crate) batches: usize,
}

/// By how much the server's clock may differ: it counts whole milliseconds.
const SLACK_MS: u64 = 1;

/// How many there are of everything in the usual test.
pub(crate) const USUAL: Size = Size {
    clients: 4,
    batches: 24,
};

/// An episode, which is the same for the same number as far as the server lets it.
pub(crate) struct Episode {
    pub(crate) seed: u64,
    pub(crate) theme: &'static Theme,
    size: Size,
    /// When it began.
    began: Instant,
    /// The clients' histories so far.
    parts: Vec<History>,
}

impl Episode {
    /// One about what the number says.
    pub(crate) fn new(seed: u64, size: Size) -> Episode {
        Episode::about(&THEMES[seed as usize % THEMES.len()], seed, size)
    }

    /// One about a certain thing.
    pub(crate) fn about(theme: &'static Theme, seed: u64, size: Size) -> Episode {
        Episode {
            seed,
            theme,
            size,
            began: Instant::now(),
            parts: (0..size.clients).map(|_| History::new()).collect(),
        }
    }

    /// Runs all clients to their end, or to that of their connections; who is to be called when they
    /// have done half of it.
    pub(crate) fn run(
        &mut self,
        connect: &(dyn Fn() -> Client + Sync),
        at_half: impl FnOnce() + Send,
    ) {
        let (size, seed, theme, began) = (self.size, self.seed, self.theme, self.began);
        let barrier = Barrier::new(size.clients);
        let half = Barrier::new(2);
        let round = self.parts.iter().map(Vec::len).sum::<usize>();
        thread::scope(|scope| {
            let threads: Vec<_> = (0..size.clients)
                .map(|client| {
                    let (barrier, half) = (&barrier, &half);
                    scope.spawn(move || {
                        let mut player = Player {
                            client,
                            connection: connect(),
                            began,
                            history: History::new(),
                        };
                        let rng = Rng::new(seed << 20 | (round as u64) << 8 | client as u64);
                        let prefix = format!("e{seed}");
                        let mut source = Source::new(theme, prefix, client, rng);
                        if round > 0 {
                            source.written_from(1000);
                        }
                        barrier.wait();
                        for batch in 0..size.batches {
                            if client == 0 && batch == size.batches / 2 {
                                half.wait();
                            }
                            if player.play(&mut source).is_err() {
                                if client == 0 && batch < size.batches / 2 {
                                    half.wait();
                                }
                                break;
                            }
                        }
                        player.history
                    })
                })
                .collect();
            scope.spawn(|| {
                half.wait();
                at_half();
            });
            for (part, thread) in self.parts.iter_mut().zip(threads) {
                let history = thread.join().expect("a client's own checks hold");
                let from = part.len();
                part.extend(history.into_iter().map(|mut event| {
                    event.behind = event.behind.map(|before| before + from);
                    event
                }));
            }
        });
    }

    /// The whole history.
    pub(crate) fn history(&self) -> History {
        let mut all = History::new();
        for part in &self.parts {
            let from = all.len();
            all.extend(part.iter().cloned().map(|mut event| {
                event.behind = event.behind.map(|before| before + from);
                event
            }));
        }
        all
    }

    /// Whether what was seen can have been.
    pub(crate) fn verdict(&self) -> Verdict {
        match check::<Redis>(&self.history()) {
            Verdict::Refused(why) => Verdict::Refused(format!(
                "episode {} ({}): {why}",
                self.seed, self.theme.name
            )),
            other => other,
        }
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("it is later than 1970").as_millis() as u64
}

/// A client that writes down what it does.
struct Player {
    client: usize,
    connection: Client,
    began: Instant,
    history: History,
}

impl Player {
    fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// Sends the next batch and takes its replies.
    fn play(&mut self, source: &mut Source<'_>) -> std::io::Result<()> {
        if let Some((key, commands)) = source.guarded() {
            return self.guarded(key, commands);
        }
        self.send(source.batch(unix_ms())).map(|_| ())
    }

    /// Sends requests at once; their replies. If the connection breaks, those whose replies did not
    /// come stay open.
    fn send(&mut self, requests: Vec<Request>) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        for request in &requests {
            match request {
                Request::Command(words) => bytes.extend(encode(&on_the_wire(words))),
                Request::Transaction(commands) | Request::Guarded(_, _, commands) => {
                    bytes.extend(encode(&["MULTI"]));
                    commands
                        .iter()
                        .for_each(|words| bytes.extend(encode(&on_the_wire(words))));
                    bytes.extend(encode(&["EXEC"]));
                }
            }
        }
        let first = self.history.len();
        let from_ms = unix_ms();
        let invoked_ns = self.now_ns();
        for (at, request) in requests.into_iter().enumerate() {
            self.history.push(Event {
                client: self.client,
                op: Call {
                    request,
                    reply: None,
                    between_ms: (from_ms - SLACK_MS, u64::MAX),
                },
                invoked_ns,
                returned_ns: u64::MAX,
                behind: (at > 0).then(|| first + at - 1),
            });
        }
        self.connection.try_send(&bytes)?;
        for at in first..self.history.len() {
            let reply = self.reply_to(at)?;
            let event = &mut self.history[at];
            event.op.reply = Some(reply);
            event.op.between_ms.1 = unix_ms() + SLACK_MS;
            event.returned_ns = self.began.elapsed().as_nanos() as u64;
        }
        Ok(())
    }

    /// The reply of a request, for which that of EXEC stands if it is a transaction.
    fn reply_to(&mut self, at: usize) -> std::io::Result<Reply> {
        let queued = match &self.history[at].op.request {
            Request::Transaction(commands) | Request::Guarded(_, _, commands) => commands.len(),
            _ => return Ok(self.connection.try_read()?.1),
        };
        assert_eq!(self.connection.try_read()?.1, Reply::Status(b"OK".to_vec()));
        for _ in 0..queued {
            let reply = self.connection.try_read()?.1;
            assert_eq!(reply, Reply::Status(b"QUEUED".to_vec()));
        }
        Ok(self.connection.try_read()?.1)
    }

    /// A transaction that is carried out if a key still has the text that it has now.
    fn guarded(&mut self, key: Vec<u8>, commands: Vec<Words>) -> std::io::Result<()> {
        self.connection.try_send(&encode(&[b"WATCH", &key[..]]))?;
        self.connection.try_read()?;
        self.send(vec![Request::Command(vec![b"GET".to_vec(), key.clone()])])?;
        let seen = match &self.history[self.history.len() - 1].op.reply {
            Some(Reply::Bulk(text)) => Some(text.clone()),
            Some(Reply::Nil) => None,
            // Another type: nothing to be guarded.
            _ => {
                self.connection.try_send(&encode(&["UNWATCH"]))?;
                return self.connection.try_read().map(|_| ());
            }
        };
        self.send(vec![Request::Guarded(key, seen, commands)])
    }
}
