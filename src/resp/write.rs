//! Skeleton (signatures are final; bodies follow).
use std::fmt;
use std::io::IoSlice;
use std::sync::Arc;

/// Replies of one connection, encoded, waiting to be written.
#[derive(Default)]
pub struct ReplyWriter {
    resp3: bool,
    buf: Vec<u8>,
}
/// A place to return to with `truncate`. Valid until the next `advance` or `clear`.
#[derive(Clone, Copy, Debug)]
pub struct Mark {}
/// An aggregate whose length is told later. Close them innermost first.
#[must_use]
#[derive(Debug)]
pub struct Deferred {}

#[allow(unused_variables)]
impl ReplyWriter {
    /// RESP2, empty, no memory.
    pub fn new() -> Self {
        Self::default()
    }
    /// HELLO 2 / 3.
    pub fn set_resp3(&mut self, on: bool) {
        self.resp3 = on;
    }
    /// HELLO 3 was said.
    pub fn is_resp3(&self) -> bool {
        self.resp3
    }
    /// `+text`.
    pub fn simple(&mut self, text: &str) {}
    /// `+OK`.
    pub fn ok(&mut self) {}
    /// `-text`: whole text, code first, no dash: `b"ERR no such key"`.
    pub fn error(&mut self, text: &[u8]) {}
    /// As `error`: `w.error_fmt(format_args!("ERR unknown command '{}'", x))`; any `Display`.
    pub fn error_fmt(&mut self, text: impl fmt::Display) {}
    /// `:n`.
    pub fn integer(&mut self, n: i64) {}
    /// `$len bytes`.
    pub fn bulk(&mut self, bytes: &[u8]) {}
    /// A bulk that is written from where it lies when it is large (16 KiB).
    pub fn bulk_shared(&mut self, bytes: Arc<Vec<u8>>) {}
    /// An integer as bulk string.
    pub fn bulk_int(&mut self, n: i64) {}
    /// `$-1` or `_`.
    pub fn null(&mut self) {}
    /// `*-1` or `_`.
    pub fn null_array(&mut self) {}
    /// `*n`.
    pub fn array(&mut self, n: usize) {}
    /// `%n`, in RESP2 an array of 2n.
    pub fn map(&mut self, n: usize) {}
    /// `~n`, in RESP2 an array.
    pub fn set(&mut self, n: usize) {}
    /// `>n`, in RESP2 an array.
    pub fn push(&mut self, n: usize) {}
    /// `|n`; returns false and writes nothing in RESP2 (write no members then).
    pub fn attribute(&mut self, n: usize) -> bool {
        self.resp3
    }
    /// `,x`, in RESP2 a bulk.
    pub fn double(&mut self, x: f64) {}
    /// `#t`/`#f`, in RESP2 `:1`/`:0`.
    pub fn boolean(&mut self, b: bool) {}
    /// `=len fmt:text`, in RESP2 a bulk. `format` has three letters.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {}
    /// `(digits`, in RESP2 a bulk.
    pub fn big_number(&mut self, digits: &[u8]) {}
    /// An array whose length `set_deferred` tells.
    pub fn deferred_array(&mut self) -> Deferred {
        Deferred {}
    }
    /// A map whose number of pairs `set_deferred` tells.
    pub fn deferred_map(&mut self) -> Deferred {
        Deferred {}
    }
    /// A set whose length `set_deferred` tells.
    pub fn deferred_set(&mut self) -> Deferred {
        Deferred {}
    }
    /// A push whose length `set_deferred` tells.
    pub fn deferred_push(&mut self) -> Deferred {
        Deferred {}
    }
    /// Closes the innermost open aggregate: `n` elements (pairs for a map).
    pub fn set_deferred(&mut self, deferred: Deferred, n: usize) {}
    /// Bytes that are RESP already.
    pub fn raw(&mut self, bytes: &[u8]) {}
    /// Here.
    pub fn mark(&self) -> Mark {
        Mark {}
    }
    /// Forgets everything written since `mark`.
    pub fn truncate(&mut self, mark: Mark) {}
    /// Bytes written since `mark`.
    pub fn len_since(&self, mark: Mark) -> usize {
        0
    }
    /// Bytes pending, shared ones included.
    pub fn len(&self) -> usize {
        0
    }
    /// Nothing pending.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Forgets everything; keeps the (bounded) buffer and the protocol version.
    pub fn clear(&mut self) {}
    /// All pending bytes, when they lie in one piece (nearly always: one `write`).
    pub fn as_contiguous(&self) -> Option<&[u8]> {
        Some(&self.buf)
    }
    /// Appends the pending pieces in order, at most `max` of them, for `writev`.
    pub fn io_slices<'a>(&'a self, out: &mut Vec<IoSlice<'a>>, max: usize) {}
    /// `n` pending bytes have been written.
    pub fn advance(&mut self, n: usize) {}
    /// Moves everything pending into a writer of its own (same protocol version); this one is left empty.
    pub fn take(&mut self) -> ReplyWriter {
        std::mem::take(self)
    }
    /// Moves everything pending in `other` behind what is pending here.
    pub fn append(&mut self, other: &mut ReplyWriter) {}
    /// Gives memory beyond `keep` bytes back when nothing is pending.
    pub fn shrink(&mut self, keep: usize) {}
    /// Bytes of memory held, shared ones included (client-output-buffer-limit, CLIENT LIST omem).
    pub fn memory_bytes(&self) -> usize {
        0
    }
    /// A copy of everything pending (tests, scripts).
    pub fn to_vec(&self) -> Vec<u8> {
        Vec::new()
    }
}
