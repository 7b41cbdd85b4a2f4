//! The metrics port's part of CONFIG SET.

use std::sync::Arc;

use crate::http::{self, Portal};

use super::elsewhere::Inbox;

/// Has the portal listen elsewhere when CONFIG SET asks for it.
pub(super) async fn follow(portal: Arc<Portal>, mut inbox: Inbox<()>) {
    while let Some(change) = inbox.recv().await {
        portal.stop().await;
        change.make("The metrics port", |config| {
            Ok(http::bind(config).and_then(|bound| portal.listen(bound))?)
        });
    }
}
