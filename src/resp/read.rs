//! Skeleton (signatures are final; bodies follow).
use std::fmt;

/// A reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `+`
    Simple(Vec<u8>),
    /// `-` or `!`: whole text, code first.
    Error(Vec<u8>),
    /// `:`
    Int(i64),
    /// `$`
    Bulk(Vec<u8>),
    /// `$-1`, `*-1`, `_`
    Null,
    /// `*`
    Array(Vec<Reply>),
    /// `%`
    Map(Vec<(Reply, Reply)>),
    /// `~`
    Set(Vec<Reply>),
    /// `>`
    Push(Vec<Reply>),
    /// `,`
    Double(f64),
    /// `#`
    Bool(bool),
    /// `=`
    Verbatim {
        /// `txt`, `mkd`
        format: [u8; 3],
        /// Text.
        text: Vec<u8>,
    },
    /// `(`
    BigNumber(Vec<u8>),
    /// `|`, with the reply that it precedes.
    Attribute(Vec<(Reply, Reply)>, Box<Reply>),
}
/// Bounds of a reply.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimits {
    /// Nesting.
    pub max_depth: usize,
    /// Longest bulk, bytes.
    pub max_bulk_bytes: u64,
    /// Longest simple string, error, number; bytes.
    pub max_line_bytes: usize,
    /// Most elements of one reply, nested ones included.
    pub max_elements: u64,
}
/// A reply that is not RESP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// First byte of no type.
    UnknownType(u8),
}
impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
impl std::error::Error for ReadError {}
/// Incremental reader: `feed` bytes, take replies.
#[derive(Default)]
pub struct ReplyReader {}
impl ReplyReader {
    /// Default limits.
    pub fn new() -> Self {
        Self::default()
    }
    /// Own limits.
    pub fn with_limits(limits: ReadLimits) -> Self {
        let _ = limits;
        Self::default()
    }
    /// Bytes from the peer.
    pub fn feed(&mut self, bytes: &[u8]) {
        let _ = bytes;
    }
    /// The next whole reply, if it is there.
    pub fn next_reply(&mut self) -> Result<Option<Reply>, ReadError> {
        Ok(None)
    }
    /// Hands over the bytes not yet parsed (a raw payload follows, e.g. an RDB file).
    pub fn take_rest(&mut self) -> Vec<u8> {
        Vec::new()
    }
}
