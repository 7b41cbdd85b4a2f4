//! Skeleton (signatures are final; bodies follow).
use std::fmt;

/// What a client may send. One value per server, plus `authenticated` per connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most arguments of one multibulk request.
    pub max_args: u32,
    /// `proto-max-bulk-len`, bytes.
    pub max_bulk_bytes: u64,
    /// Longest inline line or length line, bytes.
    pub max_inline_bytes: usize,
    /// False: at most 10 arguments of 16 KiB, and one command per `parse`.
    pub authenticated: bool,
}
impl Default for Limits {
    fn default() -> Self {
        Self {
            max_args: 1 << 20,
            max_bulk_bytes: 512 << 20,
            max_inline_bytes: 65536,
            authenticated: true,
        }
    }
}
/// A piece of the bytes that an [`Argv`] refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// Bytes.
    pub len: u32,
}
/// The arguments of one command: spans over the bytes they point into.
#[derive(Clone, Copy)]
pub struct Argv<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}
impl<'a> Argv<'a> {
    /// Spans must lie within `bytes`.
    pub fn new(bytes: &'a [u8], spans: &'a [Span]) -> Self {
        Self { bytes, spans }
    }
    /// Number of arguments, the command name included.
    pub fn len(&self) -> usize {
        self.spans.len()
    }
    /// No argument at all (never in a parsed batch).
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
    /// Argument `i`.
    pub fn get(&self, i: usize) -> Option<&'a [u8]> {
        let s = self.spans.get(i)?;
        self.bytes
            .get(s.start as usize..s.start as usize + s.len as usize)
    }
    /// All arguments in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.bytes;
        self.spans
            .iter()
            .map(move |s| &bytes[s.start as usize..s.start as usize + s.len as usize])
    }
    /// The arguments from `first` on (empty when there are fewer).
    pub fn from(&self, first: usize) -> Argv<'a> {
        Argv {
            bytes: self.bytes,
            spans: self.spans.get(first..).unwrap_or(&[]),
        }
    }
    /// Bytes the spans point into.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
    /// Spans.
    pub fn spans(&self) -> &'a [Span] {
        self.spans
    }
}
impl std::ops::Index<usize> for Argv<'_> {
    type Output = [u8];
    fn index(&self, i: usize) -> &[u8] {
        let s = self.spans[i];
        &self.bytes[s.start as usize..s.start as usize + s.len as usize]
    }
}
/// Commands parsed from one buffer; reused, so that parsing allocates nothing.
#[derive(Default)]
pub struct Batch {
    args: Vec<Span>,
    consumed: usize,
}
impl Batch {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }
    /// Commands.
    pub fn len(&self) -> usize {
        0
    }
    /// No command.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Forget the commands, keep (bounded) memory. `parse` does it by itself.
    pub fn clear(&mut self) {}
    /// Arguments of command `i`; `buf` is the buffer that was given to `parse`.
    pub fn argv<'a>(&'a self, i: usize, buf: &'a [u8]) -> Argv<'a> {
        let _ = i;
        Argv::new(buf, &self.args)
    }
    /// Bytes of the wire up to the end of command `i`, from the start of the buffer.
    pub fn end(&self, i: usize) -> usize {
        i
    }
    /// Bytes of command `i` on the wire.
    pub fn wire_bytes(&self, i: usize) -> usize {
        i
    }
    /// Bytes of the buffer used up by complete commands (also when `parse` returned an error).
    pub fn consumed(&self) -> usize {
        self.consumed
    }
}
/// What follows the last complete command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing: every byte was consumed.
    Empty,
    /// More commands may be there: `max_cmds` was reached. Call `parse` with the rest of the buffer.
    More,
    /// The beginning of a command. At least `missing` more bytes are needed (>= 1).
    Incomplete {
        /// Bytes still to come at least.
        missing: usize,
    },
}
/// Result of `parse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of complete commands (and skipped empty ones): drop them before the next `parse`.
    pub consumed: usize,
    /// What comes after them.
    pub tail: Tail,
}
impl Progress {
    /// How much a buffer that holds `held` bytes of the tail should be able to take more: what is
    /// missing, but never more than the larger of 64 KiB and what has arrived.
    pub fn reserve_bytes(&self, held: usize) -> usize {
        match self.tail {
            Tail::Incomplete { missing } => missing.min(held.max(64 << 10)),
            Tail::Empty | Tail::More => 0,
        }
    }
}
/// A broken request. The connection gets `-ERR {self}\r\n` and is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// `*x`.
    InvalidMultibulkLength,
}
impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: invalid multibulk length")
    }
}
impl std::error::Error for ProtocolError {}
/// Parser state of one connection (16 bytes when idle).
///
/// Contract: byte 0 of `buf` is the byte after the last `consumed` one; bytes seen before stay.
#[derive(Default)]
pub struct Parser {}
impl Parser {
    /// Start of a connection.
    pub fn new() -> Self {
        Self::default()
    }
    /// Clears `batch`, then parses at most `max_cmds` commands into it. On an error the batch holds
    /// the commands before it.
    pub fn parse(
        &mut self,
        buf: &[u8],
        limits: &Limits,
        max_cmds: usize,
        batch: &mut Batch,
    ) -> Result<Progress, ProtocolError> {
        let _ = (buf, limits, max_cmds);
        batch.clear();
        Ok(Progress {
            consumed: 0,
            tail: Tail::Empty,
        })
    }
    /// Nothing is remembered: the connection is between two commands.
    pub fn is_idle(&self) -> bool {
        true
    }
}
