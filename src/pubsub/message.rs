//! A message on its way: encoded once for each form in which it is sent.
//!
//! A large one is copied once, whatever the number of forms and subscribers: the text is shared, and
//! only what stands before it is encoded for each form.

use std::sync::Arc;

use crate::client::inbox::Push;
use crate::resp::write::{ReplyWriter, SHARED_BYTES_MIN};

/// See the module's text.
pub(super) struct Message<'m> {
    text: &'m [u8],
    shared: Option<Arc<Vec<u8>>>,
}

impl<'m> Message<'m> {
    /// Nothing is copied yet.
    pub(super) fn new(text: &'m [u8]) -> Message<'m> {
        Message { text, shared: None }
    }

    /// Whether its text is shared by all who get it.
    pub(super) fn is_large(&self) -> bool {
        self.text.len() >= SHARED_BYTES_MIN
    }

    /// Copies the text of a large one.
    pub(super) fn share(&mut self) -> Arc<Vec<u8>> {
        let text = self.text;
        let shared = self.shared.get_or_insert_with(|| Arc::new(text.to_vec()));
        shared.clone()
    }

    /// The message behind these words.
    pub(super) fn encode(&mut self, words: &[&[u8]]) -> Push {
        let mut out = ReplyWriter::new();
        out.array(words.len() + 1);
        words.iter().for_each(|word| out.bulk(word));
        let text = match self.is_large() {
            true => Some(self.share()),
            false => {
                out.bulk(self.text);
                None
            }
        };
        // Without the first byte, which is the protocol's.
        let head = Arc::new(out.to_vec().split_off(1));
        Push::Message { head, text }
    }
}
