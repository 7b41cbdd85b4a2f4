//! The metrics port's part of the start and of CONFIG SET.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use tokio::sync::mpsc;

use crate::config::Config;
use crate::http::{self, Portal};

/// A request to listen elsewhere, and where the answer goes.
struct Change {
    before: Config,
    after: Config,
    answer: SyncSender<Result<(), String>>,
}

/// The way to whoever changes where the portal listens.
#[derive(Clone)]
pub(super) struct Changes(mpsc::UnboundedSender<Change>);

/// What comes that way.
pub(super) struct Inbox(mpsc::UnboundedReceiver<Change>);

/// A way, and its end.
pub(super) fn changes() -> (Changes, Inbox) {
    let (changes, inbox) = mpsc::unbounded_channel();
    (Changes(changes), Inbox(inbox))
}

impl Changes {
    /// Has the portal listen where the configuration says; waits until it does.
    pub(super) fn ask(&self, before: &Config, after: &Config) -> Result<(), String> {
        let gone = || "the server is stopping".to_owned();
        let (answer, result) = std::sync::mpsc::sync_channel(1);
        let change = Change {
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

/// Listens elsewhere when CONFIG SET asks for it; where it was before when that fails.
pub(super) async fn follow(portal: Arc<Portal>, mut inbox: Inbox) {
    while let Some(change) = inbox.0.recv().await {
        portal.stop().await;
        let listen = |config: &Config| {
            let listened = http::bind(config).and_then(|bound| portal.listen(bound));
            listened.map_err(|error| error.to_string())
        };
        let result = listen(&change.after);
        if result.is_err()
            && let Err(error) = listen(&change.before)
        {
            tracing::error!("The metrics port cannot be bound again: {error}");
        }
        let _ = change.answer.send(result);
    }
}
