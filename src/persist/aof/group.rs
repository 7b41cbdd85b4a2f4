//! How the log is written with `appendfsync always`: in groups, over reserved room.
//!
//! To sync a file that has become longer, a file system has to write its own books, too; to sync what
//! was written over blocks that are there, only these blocks. (Measured on ext4: 2.5 ms against 0.1
//! ms.) So room is reserved ahead, filled with `#`, the last byte a newline: an annotation, which
//! Redis and its tools skip, so the file is a valid log at any moment. It is synced before the first
//! group is written over it: else a power failure might leave a part of both. It is cut off when the file is
//! closed; after a crash it is found and cut off before the file is used again ([`end_of_log`]).
//!
//! A power failure may leave any of the blocks of an unfinished write on the disk. Each group, which
//! is what one sync serves, therefore begins with an annotation that has its length and checksum:
//! `#KV:CRC64:LENGTH`. A group that is not whole was never confirmed, and is cut off. So there are no two of them: each is written
//! when the one before is synced.
//!
//! Of a torn group the first blocks may be missing, and look like the end of room behind which Redis has
//! gone on. What tells them apart is where the newline stands: it begins a sector there, and room never
//! ends so.

use std::io;

use crate::persist::disk::{DiskFile, read_full};
use crate::persist::rdb::format::crc64;

/// An annotation that says nothing. The newline of room stands behind a `#`, so it is none.
const FILLER: &[u8] = b"# \n";
/// How a group begins.
pub(super) const MARK: &[u8] = b"#KV:";
/// Length of a group's first line: the mark, 16 digits, a colon, 8 digits, CR LF.
pub(super) const HEAD_BYTES: usize = 31;
/// Least room that is reserved at a time.
const RESERVE_BYTES_MIN: usize = match cfg!(test) {
    // So that tests come to its end.
    true => 2 << 10,
    false => 1 << 20,
};
/// What it is mostly filled with: not made anew each time, or `used_memory` would jump by so much.
static PADDING: [u8; RESERVE_BYTES_MIN + 1] = {
    let mut padding = [b'#'; RESERVE_BYTES_MIN + 1];
    padding[RESERVE_BYTES_MIN] = b'\n';
    padding
};
/// What a power failure leaves whole: at the beginning of one no room has its newline.
pub(super) const SECTOR_BYTES: u64 = match cfg!(test) {
    // As with the disk of the tests.
    true => 32,
    false => 512,
};
/// How much of an annotation Redis reads at a time.
const ANNOTATION_PIECE_BYTES: u64 = 1023;
/// How much of a file is looked at together, from its end.
const PIECE_BYTES: u64 = 64 << 10;

/// The line in front of a group; `None` for one that is too long for that.
pub(super) fn head(group: &[u8]) -> Option<Vec<u8>> {
    let len = u32::try_from(group.len()).ok()?;
    Some(format!("#KV:{:016x}:{len:08x}\r\n", crc64(0, group)).into_bytes())
}

/// What a group's first line says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    crc: u64,
    /// Bytes of the group behind the line.
    pub len: usize,
}

impl Head {
    /// Reads a line of [`HEAD_BYTES`] bytes.
    pub fn parse(line: &[u8]) -> Option<Head> {
        let line = line.strip_prefix(MARK)?.strip_suffix(b"\r\n")?;
        let (crc, len) = (line.get(..16)?, line.get(17..25)?);
        let digits = |text: &[u8]| {
            let text = std::str::from_utf8(text).ok()?;
            u64::from_str_radix(text, 16).ok()
        };
        let is_whole = line.len() == 25 && line[16] == b':';
        let head = Head {
            crc: digits(crc)?,
            len: usize::try_from(digits(len)?).ok()?,
        };
        is_whole.then_some(head)
    }

    /// Whether these are the group's bytes.
    pub fn fits(&self, group: &[u8]) -> bool {
        group.len() == self.len && crc64(0, group) == self.crc
    }
}

/// Whether a whole group begins somewhere in `bytes`.
pub(super) fn has_group(bytes: &[u8]) -> bool {
    memchr::memmem::find_iter(bytes, MARK).any(|at| {
        let head = bytes.get(at..at + HEAD_BYTES).and_then(Head::parse);
        head.is_some_and(|head| {
            let start = at + HEAD_BYTES;
            let end = start.saturating_add(head.len);
            bytes.get(start..end).is_some_and(|group| head.fits(group))
        })
    })
}

/// Reserves room in `file`, whose log ends at `len` and which is reserved up to `reserved`, for
/// `bytes` more; up to where it is reserved then.
///
/// # Errors
/// When there is no room; a part of it may have been reserved. The disk has none for the log either,
/// and the write that follows will say so.
pub(super) fn reserve(
    file: &dyn DiskFile,
    len: u64,
    reserved: u64,
    bytes: usize,
) -> io::Result<u64> {
    // Behind the log something has to stay: a single newline would not be an annotation. And perhaps
    // the group is filled up.
    let needed = len + bytes as u64 + FILLER.len() as u64 + 2;
    if needed <= reserved {
        return Ok(reserved);
    }
    // The newline at the old end is written over.
    let from = reserved.saturating_sub(1).max(len);
    let mut room = (RESERVE_BYTES_MIN as u64).max(needed - from);
    if (from + room - 1).is_multiple_of(SECTOR_BYTES) {
        room += 1;
    }
    let room = usize::try_from(room).map_err(io::Error::other)?;
    let mut larger = Vec::new();
    let padding = match PADDING.len().checked_sub(room) {
        Some(start) => &PADDING[start..],
        None => {
            larger.resize(room, b'#');
            larger[room - 1] = b'\n';
            &larger
        }
    };
    file.reserve(from, padding)?;
    Ok(from + room as u64)
}

/// Makes a group that is written at `len`, its first line not counted, some bytes longer if Redis would
/// stumble over the rest of the room behind it: it reads annotations in pieces, each of which has to
/// begin with `#`.
pub(super) fn fill_up(group: &mut Vec<u8>, len: u64, reserved: u64) {
    let end = len + (HEAD_BYTES + group.len()) as u64;
    let marks = reserved.saturating_sub(end + 1);
    if marks > 0 && marks.is_multiple_of(ANNOTATION_PIECE_BYTES) {
        group.extend_from_slice(FILLER);
    }
}

/// Where the log in a file ends: before the room that a crash has left behind it.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn end_of_log(file: &dyn DiskFile) -> io::Result<u64> {
    let len = file.stat_len()?;
    if len == 0 {
        return Ok(len);
    }
    let mut end = match read_exactly(file, len - 1, &mut [0])? {
        b"\n" => len - 1,
        // The crash came while it was reserved.
        b"#" => len,
        _ => return Ok(len),
    };
    while end > 0 {
        let mut piece = vec![0; PIECE_BYTES.min(end) as usize];
        let start = end - piece.len() as u64;
        let piece = read_exactly(file, start, &mut piece)?;
        match piece.iter().rposition(|byte| *byte != b'#') {
            Some(last) => {
                end = start + last as u64 + 1;
                break;
            }
            None => end = start,
        }
    }
    // A newline alone belongs to the log.
    Ok(if end == len - 1 { len } else { end })
}

fn read_exactly<'b>(
    file: &dyn DiskFile,
    offset: u64,
    buffer: &'b mut [u8],
) -> io::Result<&'b [u8]> {
    if read_full(file, buffer, offset)? < buffer.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(buffer)
}

#[cfg(test)]
mod tests;
