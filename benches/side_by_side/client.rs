//! A small blocking RESP2 client: one connection, requests written as they are, replies read whole.
//!
//! It is the instrument of the measurements that `valkey-benchmark` cannot make, so it stays thin:
//! one buffer each way, no allocation per request, `TCP_NODELAY`, and a limit on every wait.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::replies::Scanner;

/// The longest wait for one reply. Far above any stall that is measured here.
const REPLY_LIMIT: Duration = Duration::from_secs(30);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Batches of a fill that may be unanswered at a time: while the server works on one, the next is
/// there already, and more would only add up to larger batches. Their replies (some bytes per
/// command) fit into any socket buffer, so neither side can block the other for good.
const WINDOW: usize = 2;

/// A connection to a server on loopback.
pub(crate) struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    /// Bytes received; those before `read_at` are used up.
    received: Vec<u8>,
    read_at: usize,
}

/// A reply, as far as the measurements need it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// `+` and `$`.
    Text(Vec<u8>),
    /// `:`
    Int(i64),
    /// `$-1` and `*-1`
    Nil,
    /// `*`
    Array(Vec<Reply>),
}

impl Client {
    /// Connects to `port` of 127.0.0.1.
    pub(crate) fn connect(port: u16) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_LIMIT))?;
        stream.set_write_timeout(Some(REPLY_LIMIT))?;
        Ok(Self {
            stream,
            request: Vec::new(),
            received: Vec::new(),
            read_at: 0,
        })
    }

    /// Sends one command and returns its reply; an error reply is an error.
    pub(crate) fn call(&mut self, words: &[&[u8]]) -> Result<Reply> {
        self.request.clear();
        encode(&mut self.request, words);
        self.stream.write_all(&self.request)?;
        self.reply()
            .with_context(|| format!("{}", words[0].escape_ascii()))
    }

    /// Sends several commands at once and returns their replies.
    pub(crate) fn pipeline(&mut self, commands: &[&[&[u8]]]) -> Result<Vec<Reply>> {
        self.request.clear();
        for words in commands {
            encode(&mut self.request, words);
        }
        self.stream.write_all(&self.request)?;
        commands.iter().map(|_| self.reply()).collect()
    }

    /// Sends `request` (one command, encoded) and awaits its reply, which must not be
    /// nil or an error. This is the timed step of the latency probe.
    pub(crate) fn probe(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request)?;
        match self.reply()? {
            Reply::Text(_) => Ok(()),
            other => bail!("the probed key is gone: {other:?}"),
        }
    }

    /// Runs one writing command per number of `range` at full speed, in batches of `batch`: up to
    /// `WINDOW` batches are on their way before the oldest one's replies are awaited, so the server
    /// always has work. No reply may be an error.
    pub(crate) fn fill(
        &mut self,
        range: Range<u64>,
        batch: u64,
        mut command: impl FnMut(&mut Vec<u8>, u64),
    ) -> Result<()> {
        let mut next = range.start;
        let mut on_their_way = VecDeque::with_capacity(WINDOW);
        while next < range.end || !on_their_way.is_empty() {
            if next < range.end && on_their_way.len() < WINDOW {
                let end = range.end.min(next + batch);
                self.request.clear();
                (next..end).for_each(|number| command(&mut self.request, number));
                self.stream.write_all(&self.request)?;
                on_their_way.push_back(end - next);
                next = end;
            } else if let Some(count) = on_their_way.pop_front() {
                self.expect_replies(count)?;
            }
        }
        Ok(())
    }

    /// Sends the commands that `write` encodes and awaits nothing.
    pub(crate) fn send(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        self.request.clear();
        write(&mut self.request);
        Ok(self.stream.write_all(&self.request)?)
    }

    /// Awaits `count` replies to GETs; `found` becomes which of them are not nil.
    pub(crate) fn look_up(&mut self, count: usize, found: &mut Vec<bool>) -> Result<()> {
        found.clear();
        while found.len() < count {
            let unread = &self.received[self.read_at..];
            let Some(end) = unread.iter().position(|&b| b == b'\n') else {
                self.receive()?;
                continue;
            };
            let line = unread[..end].strip_suffix(b"\r").unwrap_or(&unread[..end]);
            let whole = match line {
                b"$-1" => end + 1,
                [b'$', length @ ..] => {
                    let length: usize = std::str::from_utf8(length)?.parse()?;
                    end + 1 + length + 2
                }
                _ => bail!("not a reply to GET: {}", line.escape_ascii()),
            };
            found.push(line != b"$-1");
            while self.received.len() - self.read_at < whole {
                self.receive()?;
            }
            self.read_at += whole;
        }
        Ok(())
    }

    /// Awaits the replies of a batch; an error among them is an error.
    pub(crate) fn expect_replies(&mut self, count: u64) -> Result<()> {
        let mut replies = Scanner::default();
        loop {
            // All that has come belongs to this batch or, behind it, to the next.
            let unread = &self.received[self.read_at..];
            self.read_at += replies
                .feed_until(unread, count)
                .context("a fill was refused")?;
            if replies.complete == count {
                return Ok(());
            }
            self.receive()?;
        }
    }

    /// `DBSIZE`.
    pub(crate) fn dbsize(&mut self) -> Result<u64> {
        match self.call(&[b"DBSIZE"])? {
            Reply::Int(keys) => Ok(keys.try_into()?),
            other => bail!("DBSIZE answered {other:?}"),
        }
    }

    /// A number of `INFO section`.
    pub(crate) fn info(&mut self, section: &str, field: &str) -> Result<u64> {
        let reply = self.call(&[b"INFO", section.as_bytes()])?;
        info_field(&reply, field)
    }

    /// A word of `INFO section`.
    pub(crate) fn info_word(&mut self, section: &str, field: &str) -> Result<String> {
        let reply = self.call(&[b"INFO", section.as_bytes()])?;
        info_word(&reply, field)
    }

    /// An error unless the server holds exactly `keys` keys.
    pub(crate) fn expect_keys(&mut self, keys: u64) -> Result<()> {
        let found = self.dbsize()?;
        ensure!(
            found == keys,
            "the server holds {found} keys after a fill of {keys}"
        );
        Ok(())
    }

    fn reply(&mut self) -> Result<Reply> {
        let line = self.line()?;
        let (kind, rest) = line.split_first().context("an empty reply line")?;
        let number = || -> Result<i64> { Ok(std::str::from_utf8(rest)?.parse()?) };
        Ok(match kind {
            b'+' => Reply::Text(rest.to_vec()),
            b'-' => bail!("error reply: {}", rest.escape_ascii()),
            b':' => Reply::Int(number()?),
            b'$' => match usize::try_from(number()?) {
                Ok(length) => Reply::Text(self.bytes(length)?),
                Err(_) => Reply::Nil,
            },
            b'*' => match usize::try_from(number()?) {
                Ok(count) => Reply::Array((0..count).map(|_| self.reply()).collect::<Result<_>>()?),
                Err(_) => Reply::Nil,
            },
            _ => bail!("not a RESP2 reply: {}", line.escape_ascii()),
        })
    }

    /// The bytes up to the next CR LF.
    fn line(&mut self) -> Result<Vec<u8>> {
        loop {
            let unread = &self.received[self.read_at..];
            if let Some(length) = unread.windows(2).position(|pair| pair == b"\r\n") {
                let line = unread[..length].to_vec();
                self.read_at += length + 2;
                return Ok(line);
            }
            self.receive()?;
        }
    }

    /// `length` bytes and their CR LF.
    fn bytes(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.received.len() - self.read_at < length + 2 {
            self.receive()?;
        }
        let bytes = self.received[self.read_at..self.read_at + length].to_vec();
        self.read_at += length + 2;
        Ok(bytes)
    }

    fn receive(&mut self) -> Result<()> {
        self.received.drain(..self.read_at);
        self.read_at = 0;
        let mut chunk = [0; 16 * 1024];
        let count = self.stream.read(&mut chunk)?;
        ensure!(count > 0, "the server closed the connection");
        self.received.extend_from_slice(&chunk[..count]);
        Ok(())
    }
}

/// A number out of an INFO reply.
pub(crate) fn info_field(reply: &Reply, field: &str) -> Result<u64> {
    let value = info_word(reply, field)?;
    value
        .parse()
        .with_context(|| format!("INFO: {field}:{value}"))
}

fn info_word(reply: &Reply, field: &str) -> Result<String> {
    let Reply::Text(text) = reply else {
        bail!("INFO answered {reply:?}")
    };
    let text = String::from_utf8_lossy(text);
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let value = value.with_context(|| format!("INFO has no {field}"))?;
    Ok(value.trim().to_string())
}

/// Appends a command in RESP.
pub(crate) fn encode(out: &mut Vec<u8>, words: &[&[u8]]) {
    encode_head(out, words.len());
    for word in words {
        encode_word(out, word);
    }
}

/// Appends the beginning of a command of `words` words.
pub(crate) fn encode_head(out: &mut Vec<u8>, words: usize) {
    let mut digits = itoa::Buffer::new();
    out.push(b'*');
    out.extend_from_slice(digits.format(words).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends a word of a command; where its bytes begin.
pub(crate) fn encode_word(out: &mut Vec<u8>, word: &[u8]) -> usize {
    let mut digits = itoa::Buffer::new();
    out.push(b'$');
    out.extend_from_slice(digits.format(word.len()).as_bytes());
    out.extend_from_slice(b"\r\n");
    let begin = out.len();
    out.extend_from_slice(word);
    out.extend_from_slice(b"\r\n");
    begin
}

/// `prefix` and twelve digits, as `valkey-benchmark -r` names its keys.
pub(crate) fn numbered(prefix: &[u8; 4], number: u64) -> [u8; 16] {
    let mut key = [b'0'; 16];
    key[..4].copy_from_slice(prefix);
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(number).as_bytes();
    key[16 - digits.len()..].copy_from_slice(digits);
    key
}
