//! Requests: the bytes of a connection become a [`Batch`] of commands, in place.
//!
//! An argument is a [`Span`] of the read buffer: nothing is copied, and once the batch has grown to
//! its working size nothing is allocated. Only inline commands (`SET k "a b"`) are unescaped into a
//! side buffer of the batch, because their bytes do not lie in the read buffer; [`Argv`] hides that.
//!
//! A request may arrive in any number of pieces. Between two calls the [`Parser`] remembers
//! - nothing, when few arguments are known yet: parsing them again costs less than an allocation;
//! - the spans found so far, when there are many, so that no request is read quadratically often;
//! - up to where a line has been searched for its end.
//!
//! Invariants:
//! - The caller drops the consumed bytes before the next call: an unfinished command starts at byte 0.
//! - The commands, their order and the error depend on the bytes only, never on how they were cut.
//! - Memory grows with the bytes that arrived, never with a number that a client announced.
//! - Positions are 32 bits: one command has at most `u32::MAX` bytes on the wire, whatever
//!   `proto-max-bulk-len` says ([`ProtocolError::TooBigRequest`]).
//!
//! What is accepted, and the error texts, are those of Valkey 9.1.

use std::fmt;

use memchr::{memchr, memchr2};

use crate::util::ascii::unescape;

/// Most arguments of a client that has not authenticated itself.
const UNAUTHENTICATED_ARGS_MAX: i64 = 10;
/// Longest argument of a client that has not authenticated itself, bytes.
const UNAUTHENTICATED_BULK_BYTES_MAX: u64 = 16 << 10;
/// From this many arguments on an unfinished command is remembered instead of parsed again.
const REMEMBER_ARGS_MIN: usize = 16;
/// From this many bytes on an unfinished line is remembered instead of searched again.
const REMEMBER_LINE_BYTES_MIN: usize = 64;
/// How a client that tries TLS begins: a record of a handshake, version 3.x.
const TLS_HANDSHAKE: &[u8] = &[22, 3];
/// What a cleared batch may keep: arguments, commands, bytes of inline commands.
const KEEP_ARGS_MAX: usize = 8 << 10;
const KEEP_CMDS_MAX: usize = 2 << 10;
const KEEP_SIDE_BYTES_MAX: usize = 64 << 10;

/// What a client may send.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most arguments of one request, the command name included (default: `i32::MAX`, as Valkey's).
    pub max_args: u32,
    /// `proto-max-bulk-len`: longest argument, bytes (default 512 MiB). `u64::MAX` for a primary.
    pub max_bulk_bytes: u64,
    /// Longest line: inline command or length, bytes (default 64 KiB).
    pub max_inline_bytes: usize,
    /// False: at most 10 arguments of at most 16 KiB, and one command per call, because that
    /// command may be the AUTH that lifts these limits for the next one.
    pub authenticated: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_args: i32::MAX.unsigned_abs(),
            max_bulk_bytes: 512 << 20,
            max_inline_bytes: 64 << 10,
            authenticated: true,
        }
    }
}

/// A piece of the bytes that an [`Argv`] refers to. (Its layout is what `sys::crash` reads.)
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Position of the first byte.
    pub start: u32,
    /// Bytes.
    pub len: u32,
}

impl Span {
    #[inline]
    fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..][..self.len as usize]
    }
}

/// The arguments of one command, its name first: spans and the bytes they lie in.
#[derive(Clone, Copy)]
pub struct Argv<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Argv<'a> {
    /// Arguments that come from elsewhere than a parser; the spans must lie within `bytes`.
    pub fn new(bytes: &'a [u8], spans: &'a [Span]) -> Self {
        debug_assert!(
            spans
                .iter()
                .all(|s| s.start as usize + s.len as usize <= bytes.len()),
            "a span outside its bytes"
        );
        Self { bytes, spans }
    }

    /// Number of arguments, the command name included.
    #[inline]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// No argument at all; never so for a command of a batch.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Argument `i`.
    #[inline]
    pub fn get(&self, i: usize) -> Option<&'a [u8]> {
        self.spans.get(i).map(|s| s.of(self.bytes))
    }

    /// At least as many bytes as the request had in the protocol, without a look at each argument.
    #[inline]
    pub fn wire_bytes_max(&self) -> usize {
        // A length line and the end of an argument.
        const LINE_BYTES_MAX: usize = 16;
        let (Some(first), Some(last)) = (self.spans.first(), self.spans.last()) else {
            return 0;
        };
        let end = last.start as usize + last.len as usize;
        end.saturating_sub(first.start as usize) + (self.spans.len() + 1) * LINE_BYTES_MAX
    }

    /// All arguments in order.
    pub fn iter(
        &self,
    ) -> impl ExactSizeIterator<Item = &'a [u8]> + DoubleEndedIterator + Clone + use<'a> {
        let bytes = self.bytes;
        self.spans.iter().map(move |s| s.of(bytes))
    }

    /// The arguments from number `first` on; none when there are not so many.
    pub fn from(&self, first: usize) -> Argv<'a> {
        Argv {
            bytes: self.bytes,
            spans: self.spans.get(first..).unwrap_or(&[]),
        }
    }

    /// The bytes that the spans lie in.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where the arguments lie in [`Argv::bytes`].
    pub fn spans(&self) -> &'a [Span] {
        self.spans
    }
}

/// Panics when there is no argument `i`: for positions that the arity guarantees.
impl std::ops::Index<usize> for Argv<'_> {
    type Output = [u8];

    #[inline]
    fn index(&self, i: usize) -> &[u8] {
        self.spans[i].of(self.bytes)
    }
}

impl fmt::Debug for Argv<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|arg| arg.escape_ascii().to_string()))
            .finish()
    }
}

#[derive(Clone, Copy, Debug)]
struct Cmd {
    first_arg: u32,
    argc: u32,
    /// Where the command ends in the read buffer.
    end: u32,
    /// The arguments lie in the side buffer.
    is_inline: bool,
}

/// The commands found by one call of [`Parser::parse`]. Meant to be reused.
#[derive(Debug, Default)]
pub struct Batch {
    args: Vec<Span>,
    cmds: Vec<Cmd>,
    /// Unescaped arguments of inline commands.
    side: Vec<u8>,
    consumed: usize,
}

impl Batch {
    /// An empty batch without memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of commands.
    #[inline]
    pub fn len(&self) -> usize {
        self.cmds.len()
    }

    /// No command was complete.
    pub fn is_empty(&self) -> bool {
        self.cmds.is_empty()
    }

    /// Forgets the commands and gives unusually large memory back. [`Parser::parse`] clears by itself.
    #[inline]
    pub fn clear(&mut self) {
        reset(&mut self.args, KEEP_ARGS_MAX);
        reset(&mut self.cmds, KEEP_CMDS_MAX);
        reset(&mut self.side, KEEP_SIDE_BYTES_MAX);
        self.consumed = 0;
    }

    /// The arguments of command `i`. `buf` is the buffer that [`Parser::parse`] was given.
    #[inline]
    pub fn argv<'a>(&'a self, i: usize, buf: &'a [u8]) -> Argv<'a> {
        let cmd = &self.cmds[i];
        let spans = &self.args[cmd.first_arg as usize..][..cmd.argc as usize];
        Argv {
            bytes: if cmd.is_inline { &self.side } else { buf },
            spans,
        }
    }

    /// Where command `i` ends in the buffer: everything before is done with once it has run.
    #[inline]
    pub fn end(&self, i: usize) -> usize {
        self.cmds[i].end as usize
    }

    /// Bytes of the buffer taken by complete and by empty commands; valid after an error, too.
    pub fn consumed(&self) -> usize {
        self.consumed
    }

    #[inline]
    fn push(&mut self, first_arg: usize, end: usize, is_inline: bool) {
        self.cmds.push(Cmd {
            first_arg: first_arg as u32,
            argc: (self.args.len() - first_arg) as u32,
            end: end as u32,
            is_inline,
        });
    }
}

#[inline]
fn reset<T>(items: &mut Vec<T>, keep_max: usize) {
    items.clear();
    if items.capacity() > keep_max {
        *items = Vec::new();
    }
}

/// What follows the last complete command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing: every byte was consumed.
    Empty,
    /// Perhaps more commands. Run these, drop the consumed bytes, then parse what is left at once.
    More,
    /// The beginning of a command.
    Incomplete {
        /// How many bytes are still to come, at least (1 or more).
        missing: usize,
    },
}

/// How far [`Parser::parse`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of complete (and of skipped, empty) commands, to be dropped before the next call.
    pub consumed: usize,
    /// What comes after them.
    pub tail: Tail,
}

/// A broken request. The client is answered [`ProtocolError::error_text`], then disconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// `*x`, `*01`, or more arguments than [`Limits::max_args`].
    InvalidMultibulkLength,
    /// `$x`, `$-1`, or more bytes than [`Limits::max_bulk_bytes`].
    InvalidBulkLength,
    /// An argument starts with this byte.
    ExpectedBulk(u8),
    /// CR or the end of an argument without what belongs there.
    InvalidCrlf,
    /// A `*` line that does not end.
    TooBigMultibulkCount,
    /// A `$` line that does not end.
    TooBigBulkCount,
    /// An inline command that does not end.
    TooBigInline,
    /// An inline command ends within quotes.
    UnbalancedQuotes,
    /// More than 10 arguments before authentication.
    UnauthenticatedMultibulkLength,
    /// An argument of more than 16 KiB before authentication.
    UnauthenticatedBulkLength,
    /// More than `u32::MAX` bytes in one command (Kivi's own limit).
    TooBigRequest,
    /// A TLS handshake: it would look like the beginning of a long inline command.
    Tls,
}

impl ProtocolError {
    /// The error reply, for [`ReplyWriter::error`](crate::resp::ReplyWriter::error).
    pub fn error_text(&self) -> Vec<u8> {
        let mut text = format!("ERR {self}").into_bytes();
        if let Self::ExpectedBulk(byte) = *self {
            // The byte itself, which need not be a character.
            text.truncate(text.iter().rposition(|&b| b == b',').unwrap_or(0));
            text.extend_from_slice(b", got '");
            text.extend_from_slice(&[byte, b'\'']);
        }
        text
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        f.write_str(match self {
            Self::InvalidMultibulkLength => "invalid multibulk length",
            Self::InvalidBulkLength => "invalid bulk length",
            Self::ExpectedBulk(byte) => {
                return write!(f, "expected '$', got '{}'", char::from(*byte));
            }
            Self::InvalidCrlf => "invalid CRLF in request",
            Self::TooBigMultibulkCount => "too big mbulk count string",
            Self::TooBigBulkCount => "too big bulk count string",
            Self::TooBigInline => "too big inline request",
            Self::UnbalancedQuotes => "unbalanced quotes in request",
            Self::UnauthenticatedMultibulkLength => "unauthenticated multibulk length",
            Self::UnauthenticatedBulkLength => "unauthenticated bulk length",
            Self::TooBigRequest => "too big request",
            Self::Tls => "this port does not speak TLS",
        })
    }
}

impl std::error::Error for ProtocolError {}

/// The parser of one connection: 16 bytes, and more only within a request of many arguments.
#[derive(Debug, Default)]
pub struct Parser {
    /// The unfinished command at the start of the buffer, when it is worth remembering.
    partial: Option<Box<Partial>>,
    /// Bytes already searched of the line that starts where parsing will resume.
    searched: u32,
}

#[derive(Debug)]
struct Partial {
    args: Vec<Span>,
    at: usize,
    missing_args: u32,
}

/// Where a step stopped.
enum Step {
    /// The command ends here (it may be an empty one).
    Done(usize),
    /// `missing` bytes at least are to come; `at` is where to resume.
    Incomplete {
        missing: usize,
        at: usize,
        missing_args: u32,
        searched: usize,
    },
}

impl Parser {
    /// The start of a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Clears `batch` and parses up to `max_cmds` commands into it (at least one is tried).
    ///
    /// `buf` starts with the first byte not consumed yet, and holds all that were there before.
    /// Empty commands (`*0`, `*-1`, blank lines) are consumed silently. On an error the batch holds
    /// the commands before it: run them, then answer the error and close.
    pub fn parse(
        &mut self,
        buf: &[u8],
        limits: &Limits,
        max_cmds: usize,
        batch: &mut Batch,
    ) -> Result<Progress, ProtocolError> {
        batch.clear();
        let window = &buf[..buf.len().min(u32::MAX as usize)];
        let max_cmds = if limits.authenticated {
            max_cmds.max(1)
        } else {
            1
        };
        let tail = loop {
            let start = batch.consumed;
            if start == window.len() {
                break if start == buf.len() {
                    Tail::Empty
                } else {
                    Tail::More
                };
            }
            if batch.cmds.len() == max_cmds {
                break Tail::More;
            }
            let first_arg = batch.args.len();
            let resumed = self.partial.is_some();
            match self.step(window, start, limits, batch)? {
                Step::Done(end) => {
                    if batch.args.len() > first_arg {
                        batch.push(first_arg, end, window[start] != b'*');
                    }
                    batch.consumed = end;
                }
                Step::Incomplete {
                    missing,
                    at,
                    missing_args,
                    searched,
                } => {
                    if window.len() < buf.len() {
                        if start > 0 {
                            break Tail::More;
                        }
                        return Err(ProtocolError::TooBigRequest);
                    }
                    self.remember(
                        batch,
                        first_arg,
                        start,
                        resumed,
                        (at, missing_args, searched),
                    );
                    break Tail::Incomplete { missing };
                }
            }
        };
        Ok(Progress {
            consumed: batch.consumed,
            tail,
        })
    }

    /// Memory held for an unfinished command, bytes.
    #[cfg(any(test, fuzzing))]
    pub fn memory_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            size_of::<Partial>() + partial.args.capacity() * size_of::<Span>()
        })
    }

    /// Parses the command at `start`, or goes on with it.
    #[inline]
    fn step(
        &mut self,
        buf: &[u8],
        start: usize,
        limits: &Limits,
        batch: &mut Batch,
    ) -> Result<Step, ProtocolError> {
        let searched = std::mem::take(&mut self.searched) as usize;
        if let Some(partial) = self.partial.take() {
            // The unfinished command is the first of its buffer, so the batch is still empty.
            batch.args = partial.args;
            return bulks(
                buf,
                0,
                partial.at,
                partial.missing_args,
                searched,
                limits,
                batch,
            );
        }
        if buf[start] != b'*' {
            if buf[start..].starts_with(TLS_HANDSHAKE) {
                return Err(ProtocolError::Tls);
            }
            return inline(buf, start, searched, limits, batch);
        }
        let (argc, at) = match short_length(buf, start + 1) {
            Some(found) => found,
            None => {
                let too_big = ProtocolError::TooBigMultibulkCount;
                let line = match find_line(buf, start, searched, limits, b'\r', too_big)? {
                    Line::Ends(end) => end,
                    Line::Open(searched) => return Ok(open_line(start, 0, searched)),
                };
                match length(buf, start, line)? {
                    Some(argc) => (argc, line + 2),
                    None => return Err(ProtocolError::InvalidMultibulkLength),
                }
            }
        };
        if argc > i64::from(limits.max_args) {
            return Err(ProtocolError::InvalidMultibulkLength);
        }
        if argc > UNAUTHENTICATED_ARGS_MAX && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedMultibulkLength);
        }
        // Not positive: an empty command.
        let missing_args = u32::try_from(argc).unwrap_or(0);
        bulks(buf, start, at, missing_args, 0, limits, batch)
    }

    /// Keeps what is known of the unfinished command that starts at `start`, if it is worth it.
    /// Its spans stay in the batch, where no command refers to them.
    fn remember(
        &mut self,
        batch: &mut Batch,
        first_arg: usize,
        start: usize,
        resumed: bool,
        (at, missing_args, searched): (usize, u32, usize),
    ) {
        let known_args = batch.args.len() - first_arg;
        if at == start {
            self.searched = searched as u32;
        } else if known_args >= REMEMBER_ARGS_MIN || searched >= REMEMBER_LINE_BYTES_MIN {
            let args = if resumed {
                // Nothing is copied from the second piece on: the vector changes hands.
                std::mem::take(&mut batch.args)
            } else {
                let relative = |span: &Span| Span {
                    start: span.start - start as u32,
                    ..*span
                };
                batch.args[first_arg..].iter().map(relative).collect()
            };
            self.partial = Some(Box::new(Partial {
                args,
                at: at - start,
                missing_args,
            }));
            self.searched = searched as u32;
        }
    }
}

/// Parses arguments from `at` on for as long as they are there in full and nothing is wrong with them, as nearly all
/// are; where the next one begins, and how many are missing then.
#[inline]
fn plain_bulks(
    buf: &[u8],
    mut at: usize,
    mut missing_args: u32,
    limits: &Limits,
    batch: &mut Batch,
) -> (usize, u32) {
    let most_bytes = match limits.authenticated {
        true => limits.max_bulk_bytes,
        false => limits.max_bulk_bytes.min(UNAUTHENTICATED_BULK_BYTES_MAX),
    };
    while missing_args > 0
        && buf.get(at) == Some(&b'$')
        && let Some((len, data)) = short_length(buf, at + 1)
    {
        let end = data + len as usize;
        let is_whole = matches!(buf.get(end..), Some([b'\r', b'\n', ..]));
        if !is_whole || len as u64 > most_bytes || end > u32::MAX as usize {
            break;
        }
        batch.args.push(Span {
            start: data as u32,
            len: len as u32,
        });
        at = end + 2;
        missing_args -= 1;
    }
    (at, missing_args)
}

/// Parses `missing_args` arguments from `at` on, of the command that starts at `start`.
#[inline]
fn bulks(
    buf: &[u8],
    start: usize,
    mut at: usize,
    mut missing_args: u32,
    mut searched: usize,
    limits: &Limits,
    batch: &mut Batch,
) -> Result<Step, ProtocolError> {
    let from = at;
    (at, missing_args) = plain_bulks(buf, at, missing_args, limits, batch);
    if at != from {
        searched = 0;
    }
    while missing_args > 0 {
        let short = match buf.get(at) {
            Some(b'$') => short_length(buf, at + 1),
            _ => None,
        };
        let (len, data) = match short {
            Some(found) => found,
            None => {
                let too_big = ProtocolError::TooBigBulkCount;
                let line = match find_line(buf, at, searched, limits, b'\r', too_big)? {
                    Line::Ends(end) => end,
                    Line::Open(searched) => return Ok(open_line(at, missing_args, searched)),
                };
                if buf[at] != b'$' {
                    return Err(ProtocolError::ExpectedBulk(buf[at]));
                }
                match length(buf, at, line)? {
                    Some(len) => (len, line + 2),
                    None => return Err(ProtocolError::InvalidBulkLength),
                }
            }
        };
        searched = 0;
        let len = u64::try_from(len).map_err(|_| ProtocolError::InvalidBulkLength)?;
        if len > limits.max_bulk_bytes {
            return Err(ProtocolError::InvalidBulkLength);
        }
        if len > UNAUTHENTICATED_BULK_BYTES_MAX && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        // At most i64::MAX plus a little: no overflow.
        let end = data as u64 + len + 2;
        if end - start as u64 > u64::from(u32::MAX) {
            return Err(ProtocolError::TooBigRequest);
        }
        let end = end as usize;
        if end > buf.len() {
            return Ok(Step::Incomplete {
                missing: end - buf.len(),
                at,
                missing_args,
                searched: 0,
            });
        }
        if buf[end - 2..end] != *b"\r\n" {
            return Err(ProtocolError::InvalidCrlf);
        }
        batch.args.push(Span {
            start: data as u32,
            len: len as u32,
        });
        at = end;
        missing_args -= 1;
    }
    Ok(Step::Done(at))
}

/// The common length line: up to nine digits. Anything else is left to [`length`].
#[inline]
fn short_length(buf: &[u8], at: usize) -> Option<(i64, usize)> {
    let line = buf.get(at..)?;
    // One digit: most commands have fewer than ten arguments.
    if let [digit @ b'0'..=b'9', b'\r', b'\n', ..] = *line {
        return Some((i64::from(digit - b'0'), at + 3));
    }
    // Two: most keys and values have fewer than a hundred bytes.
    if let [tens @ b'1'..=b'9', ones @ b'0'..=b'9', b'\r', b'\n', ..] = *line {
        return Some((i64::from(tens - b'0') * 10 + i64::from(ones - b'0'), at + 4));
    }
    let mut value = 0u32;
    let mut digits = 0;
    while digits < 9 {
        match line.get(digits) {
            Some(digit @ b'0'..=b'9') => value = value * 10 + u32::from(digit - b'0'),
            _ => break,
        }
        digits += 1;
    }
    if digits == 0 || line[0] == b'0' || line.get(digits..digits + 2)? != b"\r\n" {
        return None;
    }
    Some((i64::from(value), at + digits + 2))
}

/// The number of the length line from `at` to its CR at `line`; `None`: not a number.
fn length(buf: &[u8], at: usize, line: usize) -> Result<Option<i64>, ProtocolError> {
    if buf[line + 1] != b'\n' {
        return Err(ProtocolError::InvalidCrlf);
    }
    Ok(strict_number(&buf[at + 1..line]))
}

/// An integer in its only spelling: no plus, no leading zero, no `-0`.
fn strict_number(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        b"0" if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut value = 0i64;
    for &byte in digits {
        let digit = i64::from(byte.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?;
        value = if negative {
            value.checked_sub(digit)?
        } else {
            value.checked_add(digit)?
        };
    }
    Some(value)
}

enum Line {
    /// Position of the byte that ends it; when that is a CR, one more byte is there.
    Ends(usize),
    /// Not there yet; so many bytes of the line need not be searched again.
    Open(usize),
}

/// Searches the end of the line that starts at `at`, whose first `searched` bytes are known.
/// A line longer than the limit is `too_big`, however it arrives.
fn find_line(
    buf: &[u8],
    at: usize,
    searched: usize,
    limits: &Limits,
    end: u8,
    too_big: ProtocolError,
) -> Result<Line, ProtocolError> {
    let line = &buf[at.min(buf.len())..];
    let line = &line[..line.len().min(limits.max_inline_bytes.saturating_add(1))];
    let from = searched.min(line.len());
    match memchr(end, &line[from..]) {
        Some(found) if end == b'\r' && at + from + found + 1 == buf.len() => {
            Ok(Line::Open(from + found))
        }
        Some(found) => Ok(Line::Ends(at + from + found)),
        None if line.len() > limits.max_inline_bytes => Err(too_big),
        None => Ok(Line::Open(line.len())),
    }
}

fn open_line(at: usize, missing_args: u32, searched: usize) -> Step {
    Step::Incomplete {
        missing: 1,
        at,
        missing_args,
        searched,
    }
}

/// Parses the inline command at `start`.
fn inline(
    buf: &[u8],
    start: usize,
    searched: usize,
    limits: &Limits,
    batch: &mut Batch,
) -> Result<Step, ProtocolError> {
    let too_big = ProtocolError::TooBigInline;
    let end = match find_line(buf, start, searched, limits, b'\n', too_big)? {
        Line::Ends(end) => end,
        Line::Open(searched) => return Ok(open_line(start, 0, searched)),
    };
    let first_arg = batch.args.len();
    let side_bytes = batch.side.len();
    let line = &buf[start..end];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if split_words(line, &mut batch.side, &mut batch.args).is_none() {
        batch.args.truncate(first_arg);
        batch.side.truncate(side_bytes);
        return Err(ProtocolError::UnbalancedQuotes);
    }
    Ok(Step::Done(end + 1))
}

/// Splits an inline command as `redis-cli` does: words are separated by white space, quotes may
/// stand anywhere in a word. `None` when a quote is not closed.
fn split_words(line: &[u8], side: &mut Vec<u8>, args: &mut Vec<Span>) -> Option<()> {
    let mut rest = line;
    loop {
        let blank = rest
            .iter()
            .take_while(|&&b| b.is_ascii_whitespace() || b == 0x0b)
            .count();
        rest = &rest[blank..];
        if rest.is_empty() {
            return Some(());
        }
        let start = side.len();
        rest = read_word(rest, side)?;
        args.push(Span {
            start: start as u32,
            len: (side.len() - start) as u32,
        });
    }
}

/// Unescapes the word that `text` begins with; answers what follows it.
fn read_word<'a>(mut text: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let plain = text
            .iter()
            .position(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n' | b'"' | b'\''))
            .unwrap_or(text.len());
        word.extend_from_slice(&text[..plain]);
        text = match &text[plain..] {
            [b'"', quoted @ ..] => read_double_quoted(quoted, word)?,
            [b'\'', quoted @ ..] => read_single_quoted(quoted, word)?,
            after => return Some(after),
        };
    }
}

fn read_double_quoted<'a>(mut text: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let plain = memchr2(b'"', b'\\', text)?;
        word.extend_from_slice(&text[..plain]);
        text = match &text[plain..] {
            [b'"', after @ ..] => return Some(after),
            // An escape needs something behind it: in `"a\"` the second quote closes.
            escape if escape.len() > 2 => {
                let (byte, len) = unescape(escape)?;
                word.push(byte);
                &escape[len..]
            }
            after => {
                word.push(b'\\');
                &after[1..]
            }
        };
    }
}

fn read_single_quoted<'a>(mut text: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let plain = memchr2(b'\'', b'\\', text)?;
        word.extend_from_slice(&text[..plain]);
        text = match &text[plain..] {
            [b'\'', after @ ..] => return Some(after),
            [b'\\', b'\'', after @ ..] if !after.is_empty() => {
                word.push(b'\'');
                after
            }
            after => {
                word.push(b'\\');
                &after[1..]
            }
        };
    }
}

#[cfg(test)]
mod tests;
