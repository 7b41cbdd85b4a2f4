//! Replies: [`ReplyWriter`] encodes what a handler answers and holds it until it is written.
//!
//! This is the only place that knows RESP2 from RESP3: a handler says `map`, `null`, `double`, and
//! a client that never said HELLO 3 gets the older form.
//!
//! Nearly all output is one byte buffer, written by one `write`. Pieces that do not lie in it are
//! kept beside it, each with the position in the buffer that it comes before:
//! - large values ([`ReplyWriter::bulk_shared`]) are written from where they lie;
//! - the length of a large aggregate that was only known at its end ([`ReplyWriter::set_deferred`]).
//!
//! Invariants:
//! - No reply can contain another one: line texts lose CR, LF and NUL, whoever supplied them.
//! - `buf[head..]` and `pieces` are pending; positions of pieces are sorted, and at least `head`.
//! - `front_sent` counts the bytes already written of the first piece, whose position is `head` then.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use memchr::memchr3;

use crate::util::num::fmt_double;

/// From this length on [`ReplyWriter::bulk_shared`] does not copy, bytes.
pub const SHARED_BYTES_MIN: usize = 16 << 10;
/// From this length on the content of a deferred aggregate is not moved to make room for its header.
const MOVE_BYTES_MAX: usize = 16 << 10;
/// Written bytes are dropped from the front of the buffer when there are this many, and they are
/// at least half of it.
const COMPACT_BYTES_MIN: usize = 16 << 10;
/// What [`ReplyWriter::clear`] keeps of the buffer, bytes.
const KEEP_BYTES_MAX: usize = 64 << 10;
/// Longest header: a bulk string of 20 digits.
const HEADER_BYTES_MAX: usize = 32;

/// The replies of one connection that have not been written yet.
#[derive(Debug, Default)]
pub struct ReplyWriter {
    buf: Vec<u8>,
    /// Bytes of `buf` already written.
    head: usize,
    pieces: VecDeque<Piece>,
    /// Bytes of all pieces, those already written of the first one included.
    piece_bytes: usize,
    front_sent: usize,
    is_resp3: bool,
}

/// Bytes that come before `buf[at]`.
#[derive(Debug)]
struct Piece {
    at: usize,
    data: PieceData,
}

#[derive(Debug)]
enum PieceData {
    Shared(Arc<Vec<u8>>),
    Header(Header),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match &self.data {
            PieceData::Shared(bytes) => bytes,
            PieceData::Header(header) => header.as_slice(),
        }
    }
}

/// A place to return to, see [`ReplyWriter::truncate`]. Good until the next `advance`, `clear` or `take`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    at: usize,
    pieces: usize,
}

/// An aggregate whose length is told by [`ReplyWriter::set_deferred`]. Close the innermost first.
#[must_use = "without its header the reply is broken"]
#[derive(Debug)]
pub struct Deferred {
    mark: Mark,
    kind: Aggregate,
}

#[derive(Clone, Copy, Debug)]
enum Aggregate {
    Array,
    Map,
    Set,
    Push,
}

impl ReplyWriter {
    /// An empty writer for RESP2, without memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        ReplyWriter {
            buf: Vec::with_capacity(bytes),
            ..ReplyWriter::default()
        }
    }

    /// Chooses the protocol of the replies from now on (HELLO).
    #[inline]
    pub fn set_resp3(&mut self, on: bool) {
        self.is_resp3 = on;
    }

    /// Replies are RESP3.
    #[inline]
    pub fn is_resp3(&self) -> bool {
        self.is_resp3
    }

    /// A status: `+text`.
    pub fn simple(&mut self, text: &str) {
        self.simple_bytes(text.as_bytes());
    }

    /// A status that need not be UTF-8 (from a script).
    pub fn simple_bytes(&mut self, text: &[u8]) {
        self.line(b'+', text);
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.buf.extend_from_slice(b"+OK\r\n");
    }

    /// An error. `text` is all of it, the code first and no dash: `ERR no such key`.
    /// CR, LF and NUL become spaces, line ends at the end of it vanish.
    pub fn error(&mut self, text: &[u8]) {
        self.line(b'-', &text[..line_end(text)]);
    }

    /// `:n`.
    #[inline]
    pub fn integer(&mut self, n: i64) {
        match usize::try_from(n) {
            Ok(n) if n < SMALL => self.small(b':', n),
            _ => {
                self.buf.push(b':');
                self.buf
                    .extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
                self.buf.extend_from_slice(b"\r\n");
            }
        }
    }

    /// A bulk string: any bytes.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.buf.reserve(bytes.len() + HEADER_BYTES_MAX + 2);
        self.length(b'$', bytes.len());
        self.buf.extend_from_slice(bytes);
        self.buf.extend_from_slice(b"\r\n");
    }

    /// A bulk string that is not copied when it has [`SHARED_BYTES_MIN`] bytes or more. The bytes
    /// live until they are written.
    pub fn bulk_shared(&mut self, bytes: Arc<Vec<u8>>) {
        if bytes.len() < SHARED_BYTES_MIN {
            return self.bulk(&bytes);
        }
        self.length(b'$', bytes.len());
        self.piece_bytes += bytes.len();
        self.pieces.push_back(Piece {
            at: self.buf.len(),
            data: PieceData::Shared(bytes),
        });
        self.buf.extend_from_slice(b"\r\n");
    }

    /// Bytes that are RESP already; not copied when there are [`SHARED_BYTES_MIN`] or more.
    pub fn raw_shared(&mut self, bytes: Arc<Vec<u8>>) {
        if bytes.len() < SHARED_BYTES_MIN {
            return self.raw(&bytes);
        }
        self.piece_bytes += bytes.len();
        self.pieces.push_back(Piece {
            at: self.buf.len(),
            data: PieceData::Shared(bytes),
        });
    }

    /// An integer as a bulk string.
    pub fn bulk_int(&mut self, n: i64) {
        self.bulk(itoa::Buffer::new().format(n).as_bytes());
    }

    /// No value: `$-1`, in RESP3 `_`.
    #[inline]
    pub fn null(&mut self) {
        self.buf
            .extend_from_slice(if self.is_resp3 { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// No array: `*-1`, in RESP3 `_`.
    pub fn null_array(&mut self) {
        self.buf
            .extend_from_slice(if self.is_resp3 { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// The next `n` replies are an array.
    pub fn array(&mut self, n: usize) {
        self.aggregate(Aggregate::Array, n);
    }

    /// The next `n` pairs of replies are a map; in RESP2 an array of `2n`.
    pub fn map(&mut self, n: usize) {
        self.aggregate(Aggregate::Map, n);
    }

    /// The next `n` replies are a set; in RESP2 an array.
    pub fn set(&mut self, n: usize) {
        self.aggregate(Aggregate::Set, n);
    }

    /// The next `n` replies are an out-of-band message; in RESP2 an array.
    pub fn push(&mut self, n: usize) {
        self.aggregate(Aggregate::Push, n);
    }

    /// The next `n` pairs describe the reply that follows them. In RESP2 there are no attributes:
    /// then nothing is written and the answer is false, and the pairs must not be written either.
    pub fn attribute(&mut self, n: usize) -> bool {
        if self.is_resp3 {
            self.length(b'|', n);
        }
        self.is_resp3
    }

    /// A floating point number; in RESP2 its digits as a bulk string.
    pub fn double(&mut self, x: f64) {
        let start = self.buf.len();
        if self.is_resp3 {
            self.buf.push(b',');
            fmt_double(x, &mut self.buf);
        } else {
            // The digits first, because their number comes before them.
            fmt_double(x, &mut self.buf);
            let digits = self.buf.len() - start;
            self.length(b'$', digits);
            self.buf[start..].rotate_left(digits);
        }
        self.buf.extend_from_slice(b"\r\n");
    }

    /// A floating point number whose digits were chosen elsewhere (GEOPOS); in RESP2 a bulk string.
    pub fn double_text(&mut self, digits: &[u8]) {
        if self.is_resp3 {
            self.line(b',', digits)
        } else {
            self.bulk(digits)
        }
    }

    /// `#t` or `#f`; in RESP2 `:1` or `:0`.
    pub fn boolean(&mut self, b: bool) {
        let text: &[u8; 4] = match (self.is_resp3, b) {
            (true, true) => b"#t\r\n",
            (true, false) => b"#f\r\n",
            (false, true) => b":1\r\n",
            (false, false) => b":0\r\n",
        };
        self.buf.extend_from_slice(text);
    }

    /// Text with its format, three letters (`txt`, `mkd`); in RESP2 a bulk string.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        if !self.is_resp3 {
            return self.bulk(text);
        }
        debug_assert_eq!(format.len(), 3, "a verbatim format has three letters");
        let mut letters = [b' '; 3];
        for (letter, byte) in letters.iter_mut().zip(format.bytes()) {
            *letter = byte;
        }
        self.length(b'=', text.len() + 4);
        self.buf.extend_from_slice(&letters);
        self.buf.push(b':');
        self.buf.extend_from_slice(text);
        self.buf.extend_from_slice(b"\r\n");
    }

    /// An integer of any size, as digits; in RESP2 a bulk string.
    pub fn big_number(&mut self, digits: &[u8]) {
        if self.is_resp3 {
            self.line(b'(', digits)
        } else {
            self.bulk(digits)
        }
    }

    /// Opens an array whose length [`ReplyWriter::set_deferred`] tells.
    pub fn deferred_array(&mut self) -> Deferred {
        Deferred {
            mark: self.mark(),
            kind: Aggregate::Array,
        }
    }

    /// Opens a map whose number of pairs [`ReplyWriter::set_deferred`] tells.
    pub fn deferred_map(&mut self) -> Deferred {
        Deferred {
            mark: self.mark(),
            kind: Aggregate::Map,
        }
    }

    /// Opens a set whose length [`ReplyWriter::set_deferred`] tells.
    pub fn deferred_set(&mut self) -> Deferred {
        Deferred {
            mark: self.mark(),
            kind: Aggregate::Set,
        }
    }

    /// Closes the innermost open aggregate: it has `n` elements, a map `n` pairs.
    pub fn set_deferred(&mut self, deferred: Deferred, n: usize) {
        let Deferred { mark, kind } = deferred;
        let (prefix, n) = self.aggregate_header(kind, n);
        self.put_before(mark, Header::new(prefix, n));
    }

    /// A number as a bulk string, before everything that was written since `mark`: the cursor of SCAN, which
    /// is known at the end of its step.
    pub fn number_before(&mut self, mark: Mark, n: u64) {
        self.put_before(mark, Header::bulk(n));
    }

    fn put_before(&mut self, mark: Mark, header: Header) {
        // Pieces are in order of output, so those from the mark's count on come behind it, also
        // when they are at the mark's very position: the header goes before them.
        if self.buf.len() - mark.at < MOVE_BYTES_MAX {
            self.buf.extend_from_slice(header.as_slice());
            self.buf[mark.at..].rotate_right(usize::from(header.len));
            for piece in self.pieces.range_mut(mark.pieces..) {
                piece.at += usize::from(header.len);
            }
        } else {
            self.piece_bytes += usize::from(header.len);
            self.pieces.insert(
                mark.pieces,
                Piece {
                    at: mark.at,
                    data: PieceData::Header(header),
                },
            );
        }
    }

    /// Bytes that are RESP already, in this writer's protocol.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    /// Here, to return to.
    #[inline]
    pub fn mark(&self) -> Mark {
        Mark {
            at: self.buf.len(),
            pieces: self.pieces.len(),
        }
    }

    /// Forgets everything since `mark`: a handler that fails leaves no half reply.
    pub fn truncate(&mut self, mark: Mark) {
        for piece in self.pieces.drain(mark.pieces.min(self.pieces.len())..) {
            self.piece_bytes -= piece.bytes().len();
        }
        if self.pieces.is_empty() {
            self.front_sent = 0;
        }
        self.buf.truncate(mark.at.max(self.head));
    }

    /// Bytes written since `mark`.
    pub fn len_since(&self, mark: Mark) -> usize {
        let pieces = self.pieces.range(mark.pieces.min(self.pieces.len())..);
        self.buf.len().saturating_sub(mark.at) + pieces.map(|p| p.bytes().len()).sum::<usize>()
    }

    /// At least as much as [`ReplyWriter::len_since`], which needs no look at each piece.
    #[inline]
    pub fn len_since_max(&self, mark: Mark) -> usize {
        self.buf.len().saturating_sub(mark.at) + self.piece_bytes
    }

    /// The code of the error that was written at `mark`; `None` if something else was.
    pub fn error_code_at(&self, mark: Mark) -> Option<&[u8]> {
        let text = self.buf.get(mark.at..)?.strip_prefix(b"-")?;
        text.split(|byte| matches!(byte, b' ' | b'\r')).next()
    }

    /// Pending bytes, shared ones included.
    #[inline]
    pub fn len(&self) -> usize {
        self.buf.len() - self.head + self.piece_bytes - self.front_sent
    }

    /// Nothing is pending.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.head == self.buf.len() && self.pieces.is_empty()
    }

    /// Forgets everything pending; gives unusually large memory back, keeps the protocol.
    #[inline]
    pub fn clear(&mut self) {
        self.buf.clear();
        self.head = 0;
        self.piece_bytes = 0;
        self.front_sent = 0;
        if !self.pieces.is_empty() || self.buf.capacity() > KEEP_BYTES_MAX {
            self.clear_large();
        }
    }

    #[cold]
    fn clear_large(&mut self) {
        self.pieces.clear();
        self.shrink(KEEP_BYTES_MAX);
    }

    /// Everything pending, when it lies in one piece, as it nearly always does.
    #[inline]
    pub fn as_contiguous(&self) -> Option<&[u8]> {
        self.pieces.is_empty().then(|| &self.buf[self.head..])
    }

    /// Appends up to `max` pending pieces to `out`, in order, for `writev`.
    pub fn io_slices<'a>(&'a self, out: &mut Vec<IoSlice<'a>>, max: usize) {
        out.extend(self.chunks().take(max).map(IoSlice::new));
    }

    /// The pending bytes, in order, in non-empty chunks.
    fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let mut at = self.head;
        let mut sent = self.front_sent;
        let before_pieces = self.pieces.iter().flat_map(move |piece| {
            let between = &self.buf[at..piece.at];
            at = piece.at;
            [between, &piece.bytes()[std::mem::take(&mut sent)..]]
        });
        let last = self.pieces.back().map_or(self.head, |piece| piece.at);
        before_pieces
            .chain([&self.buf[last..]])
            .filter(|chunk| !chunk.is_empty())
    }

    /// The first `n` pending bytes have been written.
    #[inline]
    pub fn advance(&mut self, n: usize) {
        debug_assert!(n <= self.len(), "more written than pending");
        match self.pieces.is_empty() && n == self.buf.len() - self.head {
            true => self.clear(),
            false => self.advance_some(n),
        }
    }

    fn advance_some(&mut self, mut n: usize) {
        while let Some(piece) = self.pieces.front() {
            let between = piece.at - self.head;
            let left = piece.bytes().len() - self.front_sent;
            if n < between {
                break;
            }
            self.head = piece.at;
            n -= between;
            if n < left {
                self.front_sent += n;
                return;
            }
            n -= left;
            self.piece_bytes -= left + self.front_sent;
            self.front_sent = 0;
            self.pieces.pop_front();
        }
        self.head += n.min(self.buf.len() - self.head);
        if self.is_empty() {
            self.clear();
        } else if self.head >= COMPACT_BYTES_MIN && self.head >= self.buf.len() / 2 {
            self.compact();
        }
    }

    /// Drops the written front of the buffer.
    fn compact(&mut self) {
        self.buf.drain(..self.head);
        for piece in &mut self.pieces {
            piece.at -= self.head;
        }
        self.head = 0;
    }

    /// Moves everything pending into a writer of its own, of the same protocol; this one is empty then.
    pub fn take(&mut self) -> ReplyWriter {
        let is_resp3 = self.is_resp3;
        std::mem::replace(
            self,
            ReplyWriter {
                is_resp3,
                ..ReplyWriter::default()
            },
        )
    }

    /// Moves everything pending in `other` behind what is pending here. Neither protocol changes.
    pub fn append(&mut self, other: &mut ReplyWriter) {
        if self.is_empty() {
            let is_resp3 = self.is_resp3;
            *self = other.take();
            self.is_resp3 = is_resp3;
            return;
        }
        let mut from = other.head;
        if other.front_sent > 0 {
            // A piece is whole or not at all, so the rest of a begun one is copied.
            if let Some(piece) = other.pieces.pop_front() {
                self.buf
                    .extend_from_slice(&piece.bytes()[other.front_sent..]);
                from = piece.at;
            }
        }
        let offset = self.buf.len();
        self.buf.extend_from_slice(&other.buf[from..]);
        for mut piece in other.pieces.drain(..) {
            piece.at = piece.at - from + offset;
            self.piece_bytes += piece.bytes().len();
            self.pieces.push_back(piece);
        }
        other.clear();
    }

    /// Gives buffer memory beyond `keep` bytes back, when nothing is pending.
    pub fn shrink(&mut self, keep: usize) {
        if self.is_empty() && self.buf.capacity() > keep {
            self.buf = Vec::new();
            self.head = 0;
            self.pieces = VecDeque::new();
        }
    }

    /// Memory that the pending replies hold, shared values included, bytes.
    pub fn memory_bytes(&self) -> usize {
        self.buf.capacity() + self.pieces.capacity() * size_of::<Piece>() + self.piece_bytes
    }

    /// What of that are values which somebody else has, too: the keyspace, mostly.
    pub fn lent_bytes(&self) -> usize {
        let lent = self.pieces.iter().filter_map(|piece| match &piece.data {
            PieceData::Shared(bytes) if Arc::strong_count(bytes) > 1 => Some(bytes.len()),
            _ => None,
        });
        lent.sum()
    }

    /// A copy of everything pending.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len());
        self.chunks().for_each(|chunk| all.extend_from_slice(chunk));
        all
    }

    /// Everything pending.
    pub fn into_bytes(self) -> Vec<u8> {
        match self.pieces.is_empty() && self.head == 0 {
            true => self.buf,
            false => self.to_vec(),
        }
    }

    fn aggregate_header(&self, kind: Aggregate, n: usize) -> (u8, usize) {
        match (self.is_resp3, kind) {
            (_, Aggregate::Array) | (false, Aggregate::Set | Aggregate::Push) => (b'*', n),
            (false, Aggregate::Map) => (b'*', n.saturating_mul(2)),
            (true, Aggregate::Map) => (b'%', n),
            (true, Aggregate::Set) => (b'~', n),
            (true, Aggregate::Push) => (b'>', n),
        }
    }

    fn aggregate(&mut self, kind: Aggregate, n: usize) {
        let (prefix, n) = self.aggregate_header(kind, n);
        self.length(prefix, n);
    }

    #[inline]
    fn length(&mut self, prefix: u8, n: usize) {
        if n < SMALL {
            self.small(prefix, n);
        } else {
            self.buf
                .extend_from_slice(Header::new(prefix, n).as_slice());
        }
    }

    /// A line of a small number: a store of fixed size, cut to its length.
    #[inline]
    fn small(&mut self, prefix: u8, n: usize) {
        let (mut line, len) = SMALL_LINES[n];
        line[0] = prefix;
        let end = self.buf.len() + usize::from(len);
        self.buf.extend_from_slice(&line);
        self.buf.truncate(end);
    }

    fn line(&mut self, prefix: u8, text: &[u8]) {
        self.buf.reserve(text.len() + 3);
        self.buf.push(prefix);
        push_line_text(&mut self.buf, text);
        self.buf.extend_from_slice(b"\r\n");
    }
}

/// Appends `text` without what would end its line.
fn push_line_text(buf: &mut Vec<u8>, text: &[u8]) {
    if memchr3(b'\r', b'\n', 0, text).is_none() {
        return buf.extend_from_slice(text);
    }
    buf.extend(text.iter().map(|&b| line_byte(b)));
}

fn line_byte(byte: u8) -> u8 {
    if matches!(byte, b'\r' | b'\n' | 0) {
        b' '
    } else {
        byte
    }
}

/// The length of `text` without the line ends that it ends with.
fn line_end(text: &[u8]) -> usize {
    text.iter()
        .rposition(|b| !matches!(b, b'\r' | b'\n'))
        .map_or(0, |last| last + 1)
}

/// A length line, or a number.
#[derive(Clone, Copy, Debug)]
struct Header {
    bytes: [u8; HEADER_BYTES_MAX],
    len: u8,
}

impl Header {
    fn new(prefix: u8, n: usize) -> Self {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(n).as_bytes();
        let mut bytes = [0; HEADER_BYTES_MAX];
        bytes[0] = prefix;
        bytes[1..=digits.len()].copy_from_slice(digits);
        bytes[digits.len() + 1..digits.len() + 3].copy_from_slice(b"\r\n");
        Self {
            bytes,
            len: digits.len() as u8 + 3,
        }
    }

    /// A number as a bulk string.
    fn bulk(n: u64) -> Self {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(n).as_bytes();
        let mut header = Self::new(b'$', digits.len());
        let start = usize::from(header.len);
        let end = start + digits.len();
        header.bytes[start..end].copy_from_slice(digits);
        header.bytes[end..end + 2].copy_from_slice(b"\r\n");
        header.len = end as u8 + 2;
        header
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Numbers below this have their line in [`SMALL_LINES`].
const SMALL: usize = 1000;

/// `?n\r\n` of every small number, and its length; the first byte is set by the user.
static SMALL_LINES: [([u8; 7], u8); SMALL] = small_lines();

const fn small_lines() -> [([u8; 7], u8); SMALL] {
    let mut lines = [([0; 7], 0); SMALL];
    let mut n = 0;
    while n < SMALL {
        let digits = if n < 10 {
            1
        } else if n < 100 {
            2
        } else {
            3
        };
        let mut line = [0; 7];
        let mut rest = n;
        let mut at = digits;
        while at > 0 {
            line[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            at -= 1;
        }
        line[digits + 1] = b'\r';
        line[digits + 2] = b'\n';
        lines[n] = (line, digits as u8 + 3);
        n += 1;
    }
    lines
}

#[cfg(test)]
mod tests;
