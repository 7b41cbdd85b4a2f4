//! CONFIG SET has somebody listen elsewhere: the way to whoever does it, the request, and the answer.
//!
//! Whoever asks is a client's command and waits; whoever does it is a task of the main thread's, which owns the
//! sockets ([`Inbox`]). Where it listened before it listens again when the new place cannot be had.

use std::sync::mpsc::SyncSender;

use tokio::sync::mpsc;

use crate::config::Config;

/// A request to listen elsewhere; `what` says who shall.
pub(super) struct Change<W> {
    pub(super) what: W,
    before: Config,
    after: Config,
    answer: SyncSender<Result<(), String>>,
}

/// The way to whoever listens.
pub(super) struct Way<W>(mpsc::UnboundedSender<Change<W>>);

/// What comes that way.
pub(super) type Inbox<W> = mpsc::UnboundedReceiver<Change<W>>;

/// A way, and its end.
pub(super) fn way<W>() -> (Way<W>, Inbox<W>) {
    let (way, inbox) = mpsc::unbounded_channel();
    (Way(way), inbox)
}

impl<W> Way<W> {
    /// Has somebody listen where the configuration says; waits until it does.
    pub(super) fn ask(&self, what: W, before: &Config, after: &Config) -> Result<(), String> {
        let gone = || "the server is stopping".to_owned();
        let (answer, result) = std::sync::mpsc::sync_channel(1);
        let change = Change {
            what,
            before: before.clone(),
            after: after.clone(),
            answer,
        };
        self.0.send(change).map_err(|_| gone())?;
        result.recv().map_err(|_| gone())?.map_err(|error| {
            tracing::warn!("{error}");
            "Unable to listen on this port".to_owned()
        })
    }
}

impl<W> Change<W> {
    /// Listens at the new place, or at the former one if that is impossible, and answers. `place` is what the log
    /// calls it.
    pub(super) fn make(self, place: &str, listen: impl Fn(&Config) -> anyhow::Result<()>) {
        let result = listen(&self.after).map_err(|error| error.to_string());
        if result.is_err()
            && let Err(error) = listen(&self.before)
        {
            tracing::error!("{place} cannot be bound again: {error}");
        }
        let _ = self.answer.send(result);
    }
}
