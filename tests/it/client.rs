//! A small blocking RESP client: bytes out, the raw bytes of one reply in, and its parsed form.
//!
//! Tests compare raw bytes wherever they can, because clients depend on the exact reply type; the
//! parsed form serves the assertions that cannot be exact (order, time). It knows RESP2 and RESP3
//! and trusts nothing: a malformed reply is a panic with the bytes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// One parsed reply.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reply {
    /// `+`
    Status(Vec<u8>),
    /// `-`
    Error(Vec<u8>),
    /// `:`
    Int(i64),
    /// `$`
    Bulk(Vec<u8>),
    /// `$-1`, `*-1` or `_`
    Nil,
    /// `*`
    Array(Vec<Reply>),
    /// `%`, keys and values in turn
    Map(Vec<Reply>),
    /// `~`
    Set(Vec<Reply>),
    /// `>`
    Push(Vec<Reply>),
    /// `,` as text
    Double(Vec<u8>),
    /// `#`
    Bool(bool),
    /// `(` as text
    BigNumber(Vec<u8>),
    /// `=`, with its `txt:` prefix
    Verbatim(Vec<u8>),
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text =
            |f: &mut std::fmt::Formatter<'_>, mark, bytes| write!(f, "{mark}{}", show(bytes));
        match self {
            Reply::Status(bytes) => text(f, "+", bytes),
            Reply::Error(bytes) => text(f, "-", bytes),
            Reply::Bulk(bytes) => write!(f, "\"{}\"", show(bytes)),
            Reply::Verbatim(bytes) => text(f, "=", bytes),
            Reply::Double(bytes) => text(f, ",", bytes),
            Reply::BigNumber(bytes) => text(f, "(", bytes),
            Reply::Int(number) => write!(f, ":{number}"),
            Reply::Bool(value) => write!(f, "#{value}"),
            Reply::Nil => write!(f, "nil"),
            Reply::Array(items) => write!(f, "*{items:?}"),
            Reply::Map(items) => write!(f, "%{items:?}"),
            Reply::Set(items) => write!(f, "~{items:?}"),
            Reply::Push(items) => write!(f, ">{items:?}"),
        }
    }
}

/// The raw bytes of a reply, readable in messages.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Raw(pub(crate) Vec<u8>);

impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", show(&self.0))
    }
}

impl std::ops::Deref for Raw {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq<[u8]> for Raw {
    fn eq(&self, other: &[u8]) -> bool {
        self.0 == other
    }
}

impl PartialEq<&[u8]> for Raw {
    fn eq(&self, other: &&[u8]) -> bool {
        self.0 == *other
    }
}

impl<const N: usize> PartialEq<&[u8; N]> for Raw {
    fn eq(&self, other: &&[u8; N]) -> bool {
        self.0 == *other
    }
}

impl Reply {
    /// The bytes of a status, bulk or verbatim reply; panics on others.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Reply::Status(b) | Reply::Bulk(b) | Reply::Double(b) => b,
            Reply::Verbatim(b) => &b[4..],
            other => panic!("not a string: {other:?}"),
        }
    }

    /// The text of [`Reply::bytes`].
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// The number of an integer reply; panics on others.
    pub(crate) fn int(&self) -> i64 {
        match self {
            Reply::Int(n) => *n,
            other => panic!("not an integer: {other:?}"),
        }
    }

    /// The elements of an array, set, map or push; panics on others.
    pub(crate) fn items(&self) -> &[Reply] {
        match self {
            Reply::Array(v) | Reply::Map(v) | Reply::Set(v) | Reply::Push(v) => v,
            other => panic!("not an aggregate: {other:?}"),
        }
    }

    /// Whether it is an error.
    pub(crate) fn is_error(&self) -> bool {
        matches!(self, Reply::Error(_))
    }
}

pub(crate) trait Stream: Read + Write + Send {
    fn set_read_timeout(&self, wait: Duration) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn set_read_timeout(&self, wait: Duration) -> io::Result<()> {
        TcpStream::set_read_timeout(self, Some(wait))
    }
}

impl Stream for UnixStream {
    fn set_read_timeout(&self, wait: Duration) -> io::Result<()> {
        UnixStream::set_read_timeout(self, Some(wait))
    }
}

/// A blocking connection.
pub(crate) struct Client {
    stream: Box<dyn Stream>,
    /// Bytes that were received and not yet given out, from `start` on.
    buffer: Vec<u8>,
    start: usize,
}

/// No reply may take longer; a test that waits for silence sets its own.
const TIMEOUT: Duration = Duration::from_secs(30);

impl Client {
    /// Connects by TCP.
    pub(crate) fn tcp(address: impl ToSocketAddrs) -> io::Result<Client> {
        Client::tcp_with_timeout(address, TIMEOUT)
    }

    /// Connects by TCP with a read timeout of its own.
    pub(crate) fn tcp_with_timeout(
        address: impl ToSocketAddrs,
        wait: Duration,
    ) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(wait))?;
        stream.set_write_timeout(Some(wait))?;
        Ok(Client {
            stream: Box::new(stream),
            buffer: Vec::new(),
            start: 0,
        })
    }

    /// Over a connection that somebody else has opened.
    pub(crate) fn over(stream: Box<dyn Stream>) -> Client {
        Client {
            stream,
            buffer: Vec::new(),
            start: 0,
        }
    }

    /// Connects by Unix socket.
    pub(crate) fn unix(path: &Path) -> io::Result<Client> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Client {
            stream: Box::new(stream),
            buffer: Vec::new(),
            start: 0,
        })
    }

    /// How long to wait for a reply from now on.
    pub(crate) fn set_read_timeout(&mut self, wait: Duration) {
        self.stream
            .set_read_timeout(wait)
            .expect("a timeout above zero");
    }

    /// Sends raw bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("sending");
    }

    /// Sends raw bytes, or tells why not.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends one command and gives back the parsed reply.
    pub(crate) fn cmd<A: AsRef<[u8]>>(&mut self, argv: &[A]) -> Reply {
        self.send(&encode(argv));
        self.read().1
    }

    /// A field of INFO; panics where there is none.
    pub(crate) fn info(&mut self, section: &str, field: &str) -> String {
        let text = self.cmd(&["INFO", section]).text();
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let value = value.unwrap_or_else(|| panic!("INFO {section} has no {field}:\n{text}"));
        value.trim_end().to_owned()
    }

    /// A field of INFO that is a whole number.
    pub(crate) fn info_number(&mut self, section: &str, field: &str) -> u64 {
        let value = self.info(section, field);
        value
            .parse()
            .unwrap_or_else(|_| panic!("INFO {section}: {field} is {value:?}"))
    }

    /// All keys of the selected database, sorted.
    pub(crate) fn keys(&mut self) -> Vec<String> {
        let keys = self.cmd(&["KEYS", "*"]);
        let mut keys: Vec<String> = keys.items().iter().map(Reply::text).collect();
        keys.sort();
        keys
    }

    /// Sends one command and gives back the raw reply.
    pub(crate) fn raw<A: AsRef<[u8]>>(&mut self, argv: &[A]) -> Raw {
        self.try_raw(argv).expect("a reply")
    }

    /// [`Client::raw`] that tells an error of the connection.
    pub(crate) fn try_raw<A: AsRef<[u8]>>(&mut self, argv: &[A]) -> io::Result<Raw> {
        self.try_send(&encode(argv))?;
        self.try_read().map(|(raw, _)| raw)
    }

    /// Reads one reply.
    pub(crate) fn read(&mut self) -> (Raw, Reply) {
        self.try_read().expect("a reply")
    }

    /// Reads one reply, or tells why there is none.
    pub(crate) fn try_read(&mut self) -> io::Result<(Raw, Reply)> {
        loop {
            if let Some((reply, length)) = parse(&self.buffer[self.start..]) {
                let raw = self.buffer[self.start..self.start + length].to_vec();
                self.start += length;
                if self.start == self.buffer.len() {
                    self.buffer.clear();
                    self.start = 0;
                }
                return Ok((Raw(raw), reply));
            }
            self.fill()?;
        }
    }

    /// Everything up to the server's end of the connection. A timeout means it stayed open: an error.
    pub(crate) fn read_to_close(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.fill() {
                Ok(()) => {}
                Err(e) if is_close(&e) => return Ok(self.buffer.split_off(self.start)),
                Err(e) => return Err(e),
            }
        }
    }

    /// Everything before `end`, which is what the server sends last; `end` itself is taken off.
    pub(crate) fn read_until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        while !self.buffer[self.start..].ends_with(end) {
            self.fill()?;
        }
        let mut all = self.buffer.split_off(self.start);
        self.buffer.clear();
        self.start = 0;
        all.truncate(all.len() - end.len());
        Ok(all)
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 65536];
        let count = loop {
            match self.stream.read(&mut chunk) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if count == 0 {
            return Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                "connection closed",
            ));
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(&chunk[..count]);
        Ok(())
    }
}

/// Whether the error means that the peer closed the connection.
pub(crate) fn is_close(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        UnexpectedEof | ConnectionReset | BrokenPipe | ConnectionAborted
    )
}

/// A command as RESP.
pub(crate) fn encode<A: AsRef<[u8]>>(argv: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", argv.len()).into_bytes();
    for arg in argv {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// The first reply in `bytes` and its length, or `None` when it is not whole yet.
pub(crate) fn parse(bytes: &[u8]) -> Option<(Reply, usize)> {
    let line_end = bytes.windows(2).position(|w| w == b"\r\n")?;
    let kind = bytes[0];
    let line = &bytes[1..line_end];
    let next = line_end + 2;
    let number = || -> i64 {
        let text = String::from_utf8_lossy(line);
        text.parse()
            .unwrap_or_else(|_| panic!("bad number in reply {:?}", show(bytes)))
    };
    let simple = |reply| Some((reply, next));
    match kind {
        b'+' => simple(Reply::Status(line.to_vec())),
        b'-' => simple(Reply::Error(line.to_vec())),
        b':' => simple(Reply::Int(number())),
        b',' => simple(Reply::Double(line.to_vec())),
        b'(' => simple(Reply::BigNumber(line.to_vec())),
        b'#' => simple(Reply::Bool(line == b"t")),
        b'_' => simple(Reply::Nil),
        b'$' | b'=' => {
            let Ok(length) = usize::try_from(number()) else {
                return simple(Reply::Nil);
            };
            let body = bytes.get(next..next + length + 2)?;
            assert!(
                body.ends_with(b"\r\n"),
                "bulk without its end: {:?}",
                show(bytes)
            );
            let body = body[..length].to_vec();
            let reply = if kind == b'$' {
                Reply::Bulk(body)
            } else {
                Reply::Verbatim(body)
            };
            Some((reply, next + length + 2))
        }
        b'*' | b'%' | b'~' | b'>' => aggregate(kind, number(), bytes, next),
        _ => panic!("not a reply: {:?}", show(&bytes[..bytes.len().min(200)])),
    }
}

fn aggregate(kind: u8, count: i64, bytes: &[u8], mut next: usize) -> Option<(Reply, usize)> {
    let Ok(count) = usize::try_from(count) else {
        return Some((Reply::Nil, next));
    };
    let count = if kind == b'%' { count * 2 } else { count };
    let mut items = Vec::new();
    for _ in 0..count {
        let (item, length) = parse(&bytes[next..])?;
        items.push(item);
        next += length;
    }
    let reply = match kind {
        b'*' => Reply::Array(items),
        b'%' => Reply::Map(items),
        b'~' => Reply::Set(items),
        _ => Reply::Push(items),
    };
    Some((reply, next))
}

/// Bytes as readable text, shortened in the middle.
pub(crate) fn show(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    if text.len() <= 600 {
        return text;
    }
    format!(
        "{}...({} bytes)...{}",
        &text[..400],
        bytes.len(),
        &text[text.len() - 100..]
    )
}

/// A command as readable text.
pub(crate) fn show_command<A: AsRef<[u8]>>(argv: &[A]) -> String {
    let words: Vec<String> = argv
        .iter()
        .map(|a| format!("\"{}\"", show(a.as_ref())))
        .collect();
    words.join(" ")
}
