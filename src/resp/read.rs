//! The client's side: [`ReplyReader`] turns the bytes of a server into [`Reply`] values.
//!
//! Used where speed is not what matters: `--ping`, scripts that read a command's answer, tests, the
//! benchmark, the link to a primary. Both protocols are read at once; their types do not overlap.
//!
//! The reader keeps unfinished arrays on a stack of its own, so a reply that arrives in many pieces
//! is parsed once, and nesting is bounded by a limit and not by the thread's stack.
//!
//! Invariants: what was parsed is never parsed again; memory grows with the bytes that arrived,
//! never with an announced length; after an error the reader answers the same error for ever.

use std::fmt;

use memchr::memchr;

use crate::resp::ReplyWriter;
use crate::util::num;

/// One reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `+text`
    Simple(Vec<u8>),
    /// `-text` or `!n text`: the code first.
    Error(Vec<u8>),
    /// `:n`
    Int(i64),
    /// `$n bytes`
    Bulk(Vec<u8>),
    /// `$-1` or `_`
    Null,
    /// `*-1`
    NullArray,
    /// `*n`
    Array(Vec<Reply>),
    /// `%n`
    Map(Vec<(Reply, Reply)>),
    /// `~n`
    Set(Vec<Reply>),
    /// `>n`: out of band.
    Push(Vec<Reply>),
    /// `,x`
    Double(f64),
    /// `#t` or `#f`
    Bool(bool),
    /// `=n fmt:text`
    Verbatim {
        /// Three letters: `txt`, `mkd`.
        format: [u8; 3],
        /// The text itself.
        text: Vec<u8>,
    },
    /// `(digits`
    BigNumber(Vec<u8>),
    /// `|n`: pairs, and the reply that they describe.
    Attribute(Vec<(Reply, Reply)>, Box<Reply>),
}

impl Reply {
    /// Reads the reply that `bytes` begin with, and how long it is; `None` when it is not whole.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Reply, usize)>, ReadError> {
        let mut reader = ReplyReader::new();
        reader.feed(bytes);
        let reply = reader.next_reply()?;
        Ok(reply.map(|reply| (reply, bytes.len() - reader.unread_bytes())))
    }

    /// Reads all replies in `bytes`, which must end with a whole one.
    pub fn parse_all(bytes: &[u8]) -> Result<Vec<Reply>, ReadError> {
        let mut reader = ReplyReader::new();
        reader.feed(bytes);
        let mut replies = Vec::new();
        while let Some(reply) = reader.next_reply()? {
            replies.push(reply);
        }
        if reader.is_between_replies() {
            Ok(replies)
        } else {
            Err(ReadError::Truncated)
        }
    }

    /// Writes it in the protocol of `out`, as a handler would.
    pub fn write(&self, out: &mut ReplyWriter) {
        match self {
            Reply::Simple(text) => out.simple_bytes(text),
            Reply::Error(text) => out.error(text),
            Reply::Int(n) => out.integer(*n),
            Reply::Bulk(bytes) => out.bulk(bytes),
            Reply::Null => out.null(),
            Reply::NullArray => out.null_array(),
            Reply::Array(items) => write_all(out, items, ReplyWriter::array),
            Reply::Set(items) => write_all(out, items, ReplyWriter::set),
            Reply::Push(items) => write_all(out, items, ReplyWriter::push),
            Reply::Map(pairs) => {
                out.map(pairs.len());
                write_pairs(out, pairs);
            }
            Reply::Double(x) => out.double(*x),
            Reply::Bool(b) => out.boolean(*b),
            Reply::Verbatim { format, text } => {
                out.verbatim(std::str::from_utf8(format).unwrap_or("txt"), text);
            }
            Reply::BigNumber(digits) => out.big_number(digits),
            Reply::Attribute(pairs, reply) => {
                if out.attribute(pairs.len()) {
                    write_pairs(out, pairs);
                }
                reply.write(out);
            }
        }
    }
}

fn write_all(out: &mut ReplyWriter, items: &[Reply], header: impl Fn(&mut ReplyWriter, usize)) {
    header(out, items.len());
    items.iter().for_each(|item| item.write(out));
}

fn write_pairs(out: &mut ReplyWriter, pairs: &[(Reply, Reply)]) {
    for (key, value) in pairs {
        key.write(out);
        value.write(out);
    }
}

/// Short and unambiguous, for tests and logs: `+OK`, `-ERR no`, `:1`, `$foo`, `_`, `*-1`, `,1.5`, `#t`,
/// `=txt:foo`, `(123`, `[$a, :1]`, `{$a: :1}`, `~[$a]`, `>[$a]`, `|{$a: :1} +OK`.
/// Bytes that are not printable ASCII are escaped (`\r`, `\xff`).
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Simple(text) => write!(f, "+{}", Text(text)),
            Reply::Error(text) => write!(f, "-{}", Text(text)),
            Reply::Int(n) => write!(f, ":{n}"),
            Reply::Bulk(bytes) => write!(f, "${}", Text(bytes)),
            Reply::Null => f.write_str("_"),
            Reply::NullArray => f.write_str("*-1"),
            Reply::Array(items) => show_list(f, "[", items),
            Reply::Set(items) => show_list(f, "~[", items),
            Reply::Push(items) => show_list(f, ">[", items),
            Reply::Map(pairs) => show_pairs(f, "{", pairs),
            Reply::Double(x) => {
                let mut digits = Vec::new();
                num::fmt_double(*x, &mut digits);
                write!(f, ",{}", Text(&digits))
            }
            Reply::Bool(b) => f.write_str(if *b { "#t" } else { "#f" }),
            Reply::Verbatim { format, text } => write!(f, "={}:{}", Text(format), Text(text)),
            Reply::BigNumber(digits) => write!(f, "({}", Text(digits)),
            Reply::Attribute(pairs, reply) => {
                show_pairs(f, "|{", pairs)?;
                write!(f, " {reply}")
            }
        }
    }
}

/// Bytes as text; quotes stay as they are, unlike with `escape_ascii`.
struct Text<'a>(&'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&byte| match byte {
            b'\'' | b'"' => write!(f, "{}", char::from(byte)),
            _ => write!(f, "{}", byte.escape_ascii()),
        })
    }
}

fn show_list(f: &mut fmt::Formatter<'_>, open: &str, items: &[Reply]) -> fmt::Result {
    f.write_str(open)?;
    for (i, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if i > 0 { ", " } else { "" })?;
    }
    f.write_str("]")
}

fn show_pairs(f: &mut fmt::Formatter<'_>, open: &str, pairs: &[(Reply, Reply)]) -> fmt::Result {
    f.write_str(open)?;
    for (i, (key, value)) in pairs.iter().enumerate() {
        write!(f, "{}{key}: {value}", if i > 0 { ", " } else { "" })?;
    }
    f.write_str("}")
}

/// What a server may send.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimits {
    /// Deepest nesting of aggregates (default 128).
    pub max_depth: usize,
    /// Longest bulk, bytes (default 512 MiB).
    pub max_bulk_bytes: u64,
    /// Longest line: status, error, number; bytes (default 64 KiB).
    pub max_line_bytes: usize,
    /// Most elements of one whole reply, nested ones included (default 2^24).
    pub max_elements: u64,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            max_depth: 128,
            max_bulk_bytes: 512 << 20,
            max_line_bytes: 64 << 10,
            max_elements: 1 << 24,
        }
    }
}

/// The bytes are not RESP, or more than the limits allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// A reply starts with a byte that is no type.
    UnknownType(u8),
    /// A length that is not a number, or negative where that means nothing.
    BadLength,
    /// The text of a number, boolean, null or verbatim string is none.
    BadValue(u8),
    /// A line or a bulk does not end with CR LF.
    MissingCrlf,
    /// A line is longer than [`ReadLimits::max_line_bytes`].
    LineTooLong,
    /// A bulk is longer than [`ReadLimits::max_bulk_bytes`].
    BulkTooLong,
    /// More elements than [`ReadLimits::max_elements`].
    TooManyElements,
    /// Nested deeper than [`ReadLimits::max_depth`].
    TooDeep,
    /// The bytes end within a reply (only from [`Reply::parse_all`]).
    Truncated,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bad reply: ")?;
        match self {
            Self::UnknownType(byte) => write!(f, "unknown type '{}'", byte.escape_ascii()),
            Self::BadLength => f.write_str("invalid length"),
            Self::BadValue(byte) => write!(f, "invalid value of type '{}'", byte.escape_ascii()),
            Self::MissingCrlf => f.write_str("CR LF expected"),
            Self::LineTooLong => f.write_str("line too long"),
            Self::BulkTooLong => f.write_str("bulk string too long"),
            Self::TooManyElements => f.write_str("too many elements"),
            Self::TooDeep => f.write_str("nested too deeply"),
            Self::Truncated => f.write_str("it is cut short"),
        }
    }
}

impl std::error::Error for ReadError {}

/// Takes bytes as they come, gives whole replies.
#[derive(Debug, Default)]
pub struct ReplyReader {
    limits: ReadLimits,
    buf: Vec<u8>,
    /// Parsed bytes of `buf`.
    at: usize,
    /// Bytes after `at` that are known not to hold the end of a line.
    searched: usize,
    open: Vec<Open>,
    /// Elements of the current reply, those announced included.
    elements: u64,
    failed: Option<ReadError>,
}

/// An aggregate that is not complete.
#[derive(Debug)]
struct Open {
    kind: Kind,
    missing: u64,
    items: Vec<Reply>,
}

#[derive(Debug)]
enum Kind {
    Array,
    Map,
    Set,
    Push,
    Attribute,
    /// The reply that an attribute describes.
    Described(Vec<(Reply, Reply)>),
}

/// One step of the parser.
enum Token {
    Value(Reply),
    Open(Kind, u64),
}

impl ReplyReader {
    /// A reader with the default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// A reader with limits of its own.
    pub fn with_limits(limits: ReadLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Takes bytes of the server.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.at > 0 && self.at >= self.buf.len() / 2 {
            self.buf.drain(..self.at);
            self.at = 0;
        }
        self.buf.extend_from_slice(bytes);
    }

    /// The next whole reply; `None` when more bytes are needed.
    pub fn next_reply(&mut self) -> Result<Option<Reply>, ReadError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let next = self.parse();
        if let Err(error) = next {
            self.failed = Some(error);
            self.open = Vec::new();
        }
        next
    }

    /// Bytes that were fed and are not part of a reply yet.
    pub fn unread_bytes(&self) -> usize {
        self.buf.len() - self.at
    }

    /// No reply has begun: everything fed has been answered.
    pub fn is_between_replies(&self) -> bool {
        self.open.is_empty() && self.unread_bytes() == 0
    }

    /// Hands over the bytes not parsed yet: something else than replies follows, such as an RDB file.
    pub fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.buf.split_off(self.at);
        *self = Self::with_limits(self.limits);
        rest
    }

    fn parse(&mut self) -> Result<Option<Reply>, ReadError> {
        while let Some(token) = self.token()? {
            let mut done = match token {
                Token::Value(reply) => reply,
                Token::Open(kind, missing) => {
                    if self.open.len() >= self.limits.max_depth {
                        return Err(ReadError::TooDeep);
                    }
                    self.elements = self.elements.saturating_add(missing);
                    if self.elements > self.limits.max_elements {
                        return Err(ReadError::TooManyElements);
                    }
                    let open = Open {
                        kind,
                        missing,
                        items: Vec::new(),
                    };
                    match open.close() {
                        Ok(reply) => reply,
                        Err(open) => {
                            self.open.push(open);
                            continue;
                        }
                    }
                }
            };
            // A value may be the last one of several aggregates at once.
            loop {
                let Some(mut open) = self.open.pop() else {
                    self.elements = 0;
                    return Ok(Some(done));
                };
                open.items.push(done);
                open.missing -= 1;
                match open.close() {
                    Ok(reply) => done = reply,
                    Err(open) => {
                        self.open.push(open);
                        break;
                    }
                }
            }
        }
        Ok(None)
    }

    /// Parses one value or the header of one aggregate; `None` when it is not whole.
    fn token(&mut self) -> Result<Option<Token>, ReadError> {
        let Some(end) = self.line_end()? else {
            return Ok(None);
        };
        let kind = self.buf[self.at];
        let line = &self.buf[self.at + 1..end];
        let after = end + 2;
        let bad = ReadError::BadValue(kind);
        let token = match kind {
            b'+' => Token::Value(Reply::Simple(line.to_vec())),
            b'-' => Token::Value(Reply::Error(line.to_vec())),
            b':' => Token::Value(Reply::Int(parse_integer(line).ok_or(bad)?)),
            b'_' if line.is_empty() => Token::Value(Reply::Null),
            b'#' => Token::Value(Reply::Bool(match line {
                b"t" => true,
                b"f" => false,
                _ => return Err(bad),
            })),
            b',' => Token::Value(Reply::Double(parse_double(line).ok_or(bad)?)),
            b'(' => Token::Value(Reply::BigNumber(
                parse_big_number(line).ok_or(bad)?.to_vec(),
            )),
            b'$' | b'!' | b'=' => return self.bulk(kind, end),
            b'*' if line == b"-1" => Token::Value(Reply::NullArray),
            b'*' => Token::Open(Kind::Array, parse_length(line)?),
            b'~' => Token::Open(Kind::Set, parse_length(line)?),
            b'>' => Token::Open(Kind::Push, parse_length(line)?),
            b'%' => Token::Open(Kind::Map, parse_length(line)?.saturating_mul(2)),
            b'|' => Token::Open(Kind::Attribute, parse_length(line)?.saturating_mul(2)),
            b'_' => return Err(bad),
            _ => return Err(ReadError::UnknownType(kind)),
        };
        self.at = after;
        self.searched = 0;
        Ok(Some(token))
    }

    /// Parses the bulk whose length line ends at `end`.
    fn bulk(&mut self, kind: u8, end: usize) -> Result<Option<Token>, ReadError> {
        let line = &self.buf[self.at + 1..end];
        let data = end + 2;
        if kind == b'$' && line == b"-1" {
            self.at = data;
            self.searched = 0;
            return Ok(Some(Token::Value(Reply::Null)));
        }
        let len = parse_length(line)?;
        if len > self.limits.max_bulk_bytes {
            return Err(ReadError::BulkTooLong);
        }
        let len = usize::try_from(len).map_err(|_| ReadError::BulkTooLong)?;
        let rest = &self.buf[data..];
        if rest.len() < len || rest.len() - len < 2 {
            return Ok(None);
        }
        let bytes = &rest[..len];
        if rest[len..len + 2] != *b"\r\n" {
            return Err(ReadError::MissingCrlf);
        }
        let reply = match (kind, bytes) {
            (b'$', _) => Reply::Bulk(bytes.to_vec()),
            (b'!', _) => Reply::Error(bytes.to_vec()),
            (_, [a, b, c, b':', text @ ..]) => Reply::Verbatim {
                format: [*a, *b, *c],
                text: text.to_vec(),
            },
            _ => return Err(ReadError::BadValue(kind)),
        };
        self.at = data + len + 2;
        self.searched = 0;
        Ok(Some(Token::Value(reply)))
    }

    /// Position of the CR that ends the current line; `None` when its LF has not come yet.
    fn line_end(&mut self) -> Result<Option<usize>, ReadError> {
        let line = &self.buf[self.at..];
        let Some(&kind) = line.first() else {
            return Ok(None);
        };
        if !b"+-:$*_#,(!=%~>|".contains(&kind) {
            return Err(ReadError::UnknownType(kind));
        }
        let from = self.searched.min(line.len());
        let found = memchr(b'\r', &line[from..]).map(|found| from + found);
        if found.unwrap_or(line.len()) > self.limits.max_line_bytes {
            return Err(ReadError::LineTooLong);
        }
        match found {
            Some(cr) => match line.get(cr + 1) {
                Some(b'\n') => Ok(Some(self.at + cr)),
                Some(_) => Err(ReadError::MissingCrlf),
                None => {
                    self.searched = cr;
                    Ok(None)
                }
            },
            None => {
                self.searched = line.len();
                Ok(None)
            }
        }
    }
}

impl Open {
    /// The finished reply, or itself when something is missing.
    fn close(mut self) -> Result<Reply, Open> {
        if self.missing > 0 {
            return Err(self);
        }
        Ok(match self.kind {
            Kind::Array => Reply::Array(self.items),
            Kind::Set => Reply::Set(self.items),
            Kind::Push => Reply::Push(self.items),
            Kind::Map => Reply::Map(pairs(self.items)),
            Kind::Attribute => {
                let kind = Kind::Described(pairs(self.items));
                return Err(Open {
                    kind,
                    missing: 1,
                    items: Vec::new(),
                });
            }
            Kind::Described(pairs) => match self.items.pop() {
                Some(reply) => Reply::Attribute(pairs, Box::new(reply)),
                None => {
                    return Err(Open {
                        kind: Kind::Described(pairs),
                        missing: 1,
                        items: self.items,
                    });
                }
            },
        })
    }
}

fn pairs(items: Vec<Reply>) -> Vec<(Reply, Reply)> {
    let mut pairs = Vec::with_capacity(items.len() / 2);
    let mut items = items.into_iter();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        pairs.push((key, value));
    }
    pairs
}

fn parse_length(line: &[u8]) -> Result<u64, ReadError> {
    num::parse_i64(line)
        .and_then(|n| u64::try_from(n).ok())
        .ok_or(ReadError::BadLength)
}

/// RESP allows a plus sign.
fn parse_integer(line: &[u8]) -> Option<i64> {
    match line {
        [b'+', digits @ ..] if digits.first() != Some(&b'-') => num::parse_i64(digits),
        _ => num::parse_i64(line),
    }
}

fn parse_double(line: &[u8]) -> Option<f64> {
    match line {
        b"nan" | b"-nan" => Some(f64::NAN),
        _ => num::parse_f64(line),
    }
}

fn parse_big_number(line: &[u8]) -> Option<&[u8]> {
    let digits = match line {
        [b'-' | b'+', digits @ ..] => digits,
        digits => digits,
    };
    (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit)).then_some(line)
}

#[cfg(test)]
mod tests;
