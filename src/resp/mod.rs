//! RESP, the wire protocol of Redis: requests in, replies out, replies in again (client side).
//!
//! - [`parse`]: bytes of a connection -> a [`Batch`] of commands, argument spans into the read buffer.
//! - [`mod@write`]: [`ReplyWriter`], the only place that knows RESP2 from RESP3.
//! - [`request`]: requests, written: for logs of writes.
//! - [`read`]: [`ReplyReader`], replies of another server, for `--ping`, tests, benchmarks, replication.
//!
//! Nothing here knows a command, a socket or a clock. Every byte may come from an attacker: nothing
//! panics, and nothing is allocated by a size that a peer merely announced.

pub mod parse;
pub mod read;
pub mod request;
pub mod write;

pub use parse::{Argv, Batch, Limits, Parser, Progress, ProtocolError, Span, Tail};
pub use read::{ReadError, ReadLimits, Reply, ReplyReader};
pub use write::{Deferred, Mark, ReplyWriter};
