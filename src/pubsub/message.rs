//! A message on its way: encoded once for each form in which it is sent.
//!
//! A large one is copied once, whatever the number of forms and subscribers: the text is shared, and
//! only what stands before it is encoded for each form.

use std::sync::Arc;

use crate::client::inbox::Push;
use crate::resp::write::{ReplyWriter, SHARED_BYTES_MIN};

/// Bytes of an element's length and line ends, as a rule; and what the writer wants to have room for.
const ELEMENT_BYTES: usize = 8;
const ROOM_BYTES: usize = 32;

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
        let text_bytes = if self.is_large() { 0 } else { self.text.len() };
        let word_bytes: usize = words.iter().map(|word| word.len() + ELEMENT_BYTES).sum();
        let mut out = ReplyWriter::with_capacity(word_bytes + text_bytes + ROOM_BYTES);
        // Without its first byte, which is the protocol's.
        out.raw(match words.len() {
            2 => b"3\r\n",
            _ => b"4\r\n",
        });
        words.iter().for_each(|word| out.bulk(word));
        let text = match self.is_large() {
            true => Some(self.share()),
            false => {
                out.bulk(self.text);
                None
            }
        };
        let head = Arc::new(out.into_bytes());
        Push::Message { head, text }
    }
}
