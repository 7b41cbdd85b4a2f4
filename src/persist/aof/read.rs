//! Requests out of a file: large pieces are read, and the requests in them found without copies.
//!
//! [`Scanner::next`] fills a [`Batch`]: the bytes, where the arguments are in them, and where each
//! request ends in the file. A request that is longer than a piece makes the piece grow by what is
//! there, never by what a number in the file claims. The grammar is strict: `*COUNT`, then
//! `$LENGTH` and as many bytes per argument, each line ended by CR LF; lines that begin with `#`
//! (annotations) stand between requests.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::persist::disk::{DiskFile, read_full};
use crate::resp::parse::{Argv, Span};

use super::group::{self, Head};

/// How much is read at a time: it stays in the second-level cache until it is executed.
const PIECE_BYTES: usize = 256 << 10;
/// Redis reads an annotation into a buffer of this size.
const ANNOTATION_BYTES_MAX: usize = 1024;
/// A longer number is none.
const DIGITS_MAX: usize = 18;
/// How many places of a damaged tail are tried.
const CANDIDATES_MAX: usize = 1024;

/// Some requests.
#[derive(Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    args: Vec<Span>,
    requests: Vec<Request>,
}

struct Request {
    /// Its arguments, in `args`.
    args: Range<usize>,
    /// Where it ends in the file.
    end: u64,
}

impl Batch {
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// The arguments of a request.
    pub fn argv(&self, index: usize) -> Argv<'_> {
        let args = self.requests[index].args.clone();
        Argv::new(&self.bytes, &self.args[args])
    }

    /// Where a request ends in the file.
    pub fn end(&self, index: usize) -> u64 {
        self.requests[index].end
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.args.clear();
        self.requests.clear();
    }
}

/// How a file ends.
#[derive(Debug)]
pub(super) enum End {
    /// With a group that is not whole, which begins here.
    TornGroup(u64),
    /// After a request.
    Clean,
    /// Within one; where it begins.
    Torn(u64),
    /// It is no log from here on.
    Bad(u64),
    /// It cannot be read.
    Io(io::Error),
}

/// Why there is no request at a place.
enum Stop {
    /// The bytes end; so many more are needed at least.
    More(usize),
    Bad,
    /// A group is not what its first line says, or that line is none.
    BadGroup,
}

/// Reads one file.
pub(super) struct Scanner {
    file: Arc<dyn DiskFile>,
    /// Length of the log in it.
    len: u64,
    /// A crash has left reserved room behind that.
    is_padded: bool,
    /// Where `rest` begins.
    offset: u64,
    /// What was read and is not a whole request.
    rest: Vec<u8>,
}

impl Scanner {
    pub fn new(file: Arc<dyn DiskFile>, offset: u64) -> io::Result<Scanner> {
        let len = group::end_of_log(&*file)?;
        Ok(Scanner {
            is_padded: file.stat_len()? > len,
            file,
            len,
            offset,
            rest: Vec::new(),
        })
    }

    /// As [`Scanner::new`], as if the file ended at `len`.
    pub fn up_to(file: Arc<dyn DiskFile>, offset: u64, len: u64) -> Scanner {
        Scanner {
            file,
            len,
            is_padded: false,
            offset,
            rest: Vec::new(),
        }
    }

    /// Fills the batch with what comes next: at least one request, or the file ends.
    pub fn next(&mut self, batch: &mut Batch) -> Result<(), End> {
        batch.clear();
        std::mem::swap(&mut batch.bytes, &mut self.rest);
        self.rest.clear();
        loop {
            let (args, requests) = (&mut batch.args, &mut batch.requests);
            let (used, stop) = scan(&batch.bytes, self.offset, args, requests);
            if !batch.requests.is_empty() {
                self.rest.extend_from_slice(&batch.bytes[used..]);
                self.offset += used as u64;
                return Ok(());
            }
            // Annotations.
            batch.bytes.drain(..used);
            self.offset += used as u64;
            let needs = match stop {
                Stop::More(needs) => needs,
                Stop::BadGroup if self.is_padded => return Err(End::TornGroup(self.offset)),
                Stop::Bad | Stop::BadGroup => return Err(End::Bad(self.offset)),
            };
            let read_to = self.offset + batch.bytes.len() as u64;
            let left = self.len.saturating_sub(read_to);
            if left < needs as u64 {
                return Err(match () {
                    () if left == 0 && batch.bytes.is_empty() => End::Clean,
                    () if batch.bytes.starts_with(group::MARK) => End::TornGroup(self.offset),
                    () => End::Torn(self.offset),
                });
            }
            self.read_piece(&mut batch.bytes, left).map_err(End::Io)?;
        }
    }

    /// Reads on: a piece, or as much as is there already, so that a long request is not scanned
    /// from its beginning too often.
    fn read_piece(&self, bytes: &mut Vec<u8>, left: u64) -> io::Result<()> {
        let start = bytes.len();
        let want = PIECE_BYTES.max(start) as u64;
        bytes.resize(start + want.min(left) as usize, 0);
        let new = &mut bytes[start..];
        if read_full(&*self.file, new, self.offset + start as u64)? < new.len() {
            // It became shorter while it was read.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

/// Finds the whole requests in the batch's bytes, which begin at `offset` in the file. Returns how
/// many bytes they take, annotations included, and why there are no more.
fn scan(
    bytes: &[u8],
    offset: u64,
    args: &mut Vec<Span>,
    requests: &mut Vec<Request>,
) -> (usize, Stop) {
    let mut at = 0;
    loop {
        let next = match bytes.get(at) {
            None => return (at, Stop::More(1)),
            Some(b'#') => annotation(bytes, at, offset),
            Some(b'*') => request(bytes, at, args),
            Some(_) => Err(Stop::Bad),
        };
        let is_request = bytes[at] == b'*';
        match next {
            Ok(next) => at = next,
            Err(stop) => {
                let first = requests
                    .last()
                    .map_or(0, |request: &Request| request.args.end);
                args.truncate(first);
                return (at, stop);
            }
        }
        if is_request {
            let first = requests.last().map_or(0, |request| request.args.end);
            requests.push(Request {
                args: first..args.len(),
                end: offset + at as u64,
            });
        }
    }
}

/// Skips reserved room in the middle of a file: its length. Who came after a crash, and is not us, has
/// appended behind all of it, as Redis would. Other room is where something was to be written and
/// never was: also what ends where a sector begins, `group` tells why. It begins at `offset` in the file.
fn room(rest: &[u8], offset: u64) -> Result<usize, Stop> {
    let end = rest.iter().position(|byte| *byte != b'#');
    let end = end.ok_or(Stop::More(1))?;
    if (offset + end as u64).is_multiple_of(group::SECTOR_BYTES) {
        return Err(Stop::BadGroup);
    }
    match (rest[end], rest.get(end + 1)) {
        (b'\n', None) => Err(Stop::More(1)),
        (b'\n', Some(b'*' | b'#')) => Ok(end + 1),
        _ => Err(Stop::BadGroup),
    }
}

/// Skips an annotation; where the next line begins. A group has to be whole. `bytes` begin at `offset`
/// in the file.
fn annotation(bytes: &[u8], at: usize, offset: u64) -> Result<usize, Stop> {
    let rest = &bytes[at..];
    if rest.starts_with(b"##") {
        return room(rest, offset + at as u64).map(|len| at + len);
    }
    // Its second sector was not written.
    if rest.starts_with(b"#K#") || rest.starts_with(b"#KV#") {
        return Err(Stop::BadGroup);
    }
    if rest.len() < group::MARK.len() && group::MARK.starts_with(rest) {
        return Err(Stop::More(1));
    }
    if rest.starts_with(group::MARK) {
        let Some(line) = rest.get(..group::HEAD_BYTES) else {
            return Err(Stop::More(group::HEAD_BYTES - rest.len()));
        };
        let head = Head::parse(line).ok_or(Stop::BadGroup)?;
        let body = &rest[group::HEAD_BYTES..];
        let Some(body) = body.get(..head.len) else {
            return Err(Stop::More(head.len - body.len()));
        };
        return match head.fits(body) {
            true => Ok(at + group::HEAD_BYTES),
            false => Err(Stop::BadGroup),
        };
    }
    let line = &bytes[at..bytes.len().min(at + ANNOTATION_BYTES_MAX)];
    match memchr::memchr(b'\n', line) {
        Some(end) => Ok(at + end + 1),
        None if line.len() < ANNOTATION_BYTES_MAX => Err(Stop::More(1)),
        None => Err(Stop::Bad),
    }
}

/// Reads the request at `at`; where it ends.
fn request(bytes: &[u8], at: usize, args: &mut Vec<Span>) -> Result<usize, Stop> {
    let (count, mut at) = number(bytes, at, b'*')?;
    if count == 0 {
        return Err(Stop::Bad);
    }
    for _ in 0..count {
        let (len, start) = number(bytes, at, b'$')?;
        let end = start.checked_add(len).ok_or(Stop::Bad)?;
        let next = end.checked_add(2).ok_or(Stop::Bad)?;
        if next > bytes.len() {
            return Err(Stop::More(next - bytes.len()));
        }
        if &bytes[end..next] != b"\r\n" {
            return Err(Stop::Bad);
        }
        // A request of 4 GiB is none.
        let start = u32::try_from(start).map_err(|_| Stop::Bad)?;
        let len = u32::try_from(len).map_err(|_| Stop::Bad)?;
        args.push(Span { start, len });
        at = next;
    }
    Ok(at)
}

/// Reads a line of `kind` and a number; where the next line begins.
fn number(bytes: &[u8], at: usize, kind: u8) -> Result<(usize, usize), Stop> {
    match bytes.get(at) {
        None => return Err(Stop::More(1)),
        Some(byte) if *byte != kind => return Err(Stop::Bad),
        Some(_) => {}
    }
    let mut value: usize = 0;
    let mut digits = 0;
    for index in at + 1.. {
        match bytes.get(index) {
            None => return Err(Stop::More(1)),
            Some(digit @ b'0'..=b'9') if digits < DIGITS_MAX => {
                value = value * 10 + usize::from(digit - b'0');
                digits += 1;
            }
            Some(b'\r') if digits > 0 => {
                return match bytes.get(index + 1) {
                    None => Err(Stop::More(1)),
                    Some(b'\n') => Ok((value, index + 2)),
                    Some(_) => Err(Stop::Bad),
                };
            }
            Some(_) => return Err(Stop::Bad),
        }
    }
    Err(Stop::Bad)
}

/// Whether behind the request that `tail` begins with, and that is not complete, there are others
/// up to the end of `tail`, which begins at `offset` in the file.
pub(super) fn has_requests(tail: &[u8], offset: u64) -> bool {
    let starts = memchr::memmem::find_iter(tail, b"\r\n*");
    starts.take(CANDIDATES_MAX).any(|at| {
        let (mut args, mut requests) = (Vec::new(), Vec::new());
        let (_, stop) = scan(
            &tail[at + 2..],
            offset + at as u64 + 2,
            &mut args,
            &mut requests,
        );
        !requests.is_empty() && matches!(stop, Stop::More(_))
    })
}
