//! The bytes of a file or payload, in order: numbers, lengths, strings.
//!
//! The input is read in large blocks; what lies in a block is handed out borrowed from it. The
//! checksum is computed over whole blocks, when they have been read through and are still in the
//! cache. Nothing is allocated for a length before its bytes are there: a long string grows as they
//! arrive, and a compressed one is refused if so few bytes cannot stand for so many.
//!
//! To read another primitive, build it of [`Reader::take`].

use std::io::{self, ErrorKind, Read};

use super::{Fault, FaultKind, Result};
use crate::ds::listpack::Value;
use crate::persist::rdb::format::{crc64, encoding, length};
use crate::util::lzf;

/// Bytes read at once: they stay in the cache until they are decoded and summed up.
const BLOCK_BYTES: usize = 256 * 1024;
/// Strings of at least this many bytes are handed out in a buffer of their own.
const OWNED_BYTES_MIN: usize = 64 * 1024;
/// How an old score begins that is no number's text.
const DOUBLE_NAN: u8 = 253;
const DOUBLE_INFINITE: u8 = 254;
const DOUBLE_NEGATIVE_INFINITE: u8 = 255;

/// See the module's text.
pub(super) struct Reader<'i> {
    input: &'i mut dyn Read,
    buf: Box<[u8]>,
    pos: usize,
    end: usize,
    /// Where in the input `buf` begins.
    offset: u64,
    /// The checksum of everything before `buf[summed]`, if it is wanted.
    crc: Option<u64>,
    summed: usize,
    /// A string that was compressed.
    unpacked: Vec<u8>,
}

/// A string as it was stored.
pub(super) enum Text<'a> {
    Int(i64),
    Bytes(&'a [u8]),
    /// A long one.
    Owned(Vec<u8>),
}

impl Text<'_> {
    /// The text; an integer is printed into `digits`.
    #[inline]
    pub(super) fn bytes<'b>(&'b self, digits: &'b mut itoa::Buffer) -> &'b [u8] {
        match self {
            Text::Int(int) => digits.format(*int).as_bytes(),
            Text::Bytes(bytes) => bytes,
            Text::Owned(bytes) => bytes,
        }
    }

    /// The element of a collection that the text is.
    #[inline]
    pub(super) fn value(&self) -> Value<'_> {
        match self {
            Text::Int(int) => Value::Int(*int),
            Text::Bytes(bytes) => Value::from(*bytes),
            Text::Owned(bytes) => Value::from(&bytes[..]),
        }
    }

    /// The text in a buffer of its own.
    pub(super) fn into_vec(self) -> Vec<u8> {
        match self {
            Text::Int(int) => itoa::Buffer::new().format(int).into(),
            Text::Bytes(bytes) => bytes.to_vec(),
            Text::Owned(bytes) => bytes,
        }
    }
}

/// What stands where a length may stand.
enum Length {
    Plain(u64),
    /// An encoded string of this kind follows.
    Encoded(u8),
}

impl<'i> Reader<'i> {
    /// Reads `input` from its start; `bytes` is how long it is, if that is known to be short.
    pub(super) fn new(input: &'i mut dyn Read, bytes: usize, checksum: bool) -> Self {
        Reader {
            input,
            buf: vec![0; bytes.min(BLOCK_BYTES)].into_boxed_slice(),
            pos: 0,
            end: 0,
            offset: 0,
            crc: checksum.then_some(0),
            summed: 0,
            unpacked: Vec::new(),
        }
    }

    /// How many bytes have been handed out.
    #[inline]
    pub(super) fn offset(&self) -> u64 {
        self.offset.saturating_add(self.pos as u64)
    }

    /// A fault at this place.
    #[cold]
    pub(super) fn fault(&self, kind: FaultKind, message: impl Into<String>) -> Box<Fault> {
        Box::new(Fault {
            offset: self.offset(),
            kind,
            message: message.into(),
        })
    }

    /// What is here is not what it should be.
    #[cold]
    pub(super) fn corrupt(&self, message: impl Into<String>) -> Box<Fault> {
        self.fault(FaultKind::Corrupt, message)
    }

    /// The next `len` bytes, not more than a block has.
    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Result<&[u8]> {
        if self.end - self.pos < len {
            self.fill(len)?;
        }
        let at = self.pos;
        self.pos += len;
        Ok(&self.buf[at..at + len])
    }

    /// The next `N` bytes.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    /// The next byte.
    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// Whether the input is at its end.
    pub(super) fn is_at_end(&mut self) -> Result<bool> {
        match self.fill(1) {
            Ok(()) => Ok(false),
            Err(fault) if fault.kind == FaultKind::Truncated => Ok(true),
            Err(fault) => Err(fault),
        }
    }

    /// Has at least `len` bytes in the buffer.
    #[cold]
    fn fill(&mut self, len: usize) -> Result<()> {
        self.sum_up();
        self.buf.copy_within(self.pos..self.end, 0);
        self.offset = self.offset();
        self.end -= self.pos;
        (self.pos, self.summed) = (0, 0);
        if len > self.buf.len() {
            // Of an input that was said to be shorter: it is.
            return Err(self.truncated());
        }
        while self.end < len {
            match self.input.read(&mut self.buf[self.end..]) {
                Ok(0) => return Err(self.truncated()),
                Ok(more) => self.end = self.buf.len().min(self.end.saturating_add(more)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(&error)),
            }
        }
        Ok(())
    }

    #[cold]
    fn truncated(&self) -> Box<Fault> {
        self.fault(FaultKind::Truncated, "Unexpected EOF reading RDB file")
    }

    #[cold]
    fn failed(&self, error: &io::Error) -> Box<Fault> {
        self.fault(FaultKind::Io, format!("Error reading RDB file: {error}"))
    }

    fn sum_up(&mut self) {
        if let Some(crc) = &mut self.crc {
            *crc = crc64(*crc, &self.buf[self.summed..self.pos]);
            self.summed = self.pos;
        }
    }

    /// The checksum of everything that was handed out, if it was asked for.
    pub(super) fn checksum(&mut self) -> Option<u64> {
        self.sum_up();
        self.crc
    }

    /// A length.
    #[inline]
    pub(super) fn length(&mut self) -> Result<u64> {
        match self.length_or_encoding()? {
            Length::Plain(len) => Ok(len),
            Length::Encoded(_) => Err(self.corrupt("Expected a length, found an encoded string")),
        }
    }

    #[inline]
    fn length_or_encoding(&mut self) -> Result<Length> {
        let first = self.byte()?;
        Ok(match first & length::FORM_MASK {
            length::BITS_6 => Length::Plain(u64::from(first)),
            length::BITS_14 => {
                let high = u64::from(first & !length::FORM_MASK) << 8;
                Length::Plain(high | u64::from(self.byte()?))
            }
            length::ENCODED => Length::Encoded(first & !length::FORM_MASK),
            _ => match first {
                length::BITS_32 => Length::Plain(u32::from_be_bytes(self.array()?).into()),
                length::BITS_64 => Length::Plain(u64::from_be_bytes(self.array()?)),
                _ => {
                    let message = format!("Unknown length encoding {first} in rdbLoadLen()");
                    return Err(self.corrupt(message));
                }
            },
        })
    }

    /// A string.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Text<'_>> {
        match self.length_or_encoding()? {
            Length::Plain(len) if len < OWNED_BYTES_MIN as u64 => {
                Ok(Text::Bytes(self.take(len as usize)?))
            }
            Length::Plain(len) => Ok(Text::Owned(self.long(len)?)),
            Length::Encoded(kind) => self.encoded(kind),
        }
    }

    /// A string, at the end of `out`.
    #[inline]
    pub(super) fn string_into(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let text = self.string()?;
        out.extend_from_slice(text.bytes(&mut itoa::Buffer::new()));
        Ok(())
    }

    fn encoded(&mut self, kind: u8) -> Result<Text<'_>> {
        Ok(match kind {
            encoding::INT8 => Text::Int(i8::from_le_bytes(self.array()?).into()),
            encoding::INT16 => Text::Int(i16::from_le_bytes(self.array()?).into()),
            encoding::INT32 => Text::Int(i32::from_le_bytes(self.array()?).into()),
            encoding::LZF => return self.compressed(),
            _ => {
                let message = format!("Unknown RDB string encoding type {kind}");
                return Err(self.corrupt(message));
            }
        })
    }

    /// Bytes that may be more than a block.
    fn long(&mut self, len: u64) -> Result<Vec<u8>> {
        let Ok(len) = usize::try_from(len) else {
            return Err(self.truncated());
        };
        let mut out: Vec<u8> = Vec::new();
        while out.len() < len {
            if self.pos == self.end {
                self.fill(1)?;
            }
            let more = (len - out.len()).min(self.end - self.pos);
            if out.capacity() - out.len() < more {
                // As much again as is there, but not more than there will be.
                let room = (len - out.len()).min(out.len().max(BLOCK_BYTES).max(more));
                if out.try_reserve_exact(room).is_err() {
                    return Err(self.out_of_memory(len));
                }
            }
            out.extend_from_slice(&self.buf[self.pos..self.pos + more]);
            self.pos += more;
        }
        Ok(out)
    }

    #[cold]
    fn out_of_memory(&self, len: usize) -> Box<Fault> {
        self.corrupt(format!(
            "rdbGenericLoadStringObject failed allocating {len} bytes"
        ))
    }

    fn compressed(&mut self) -> Result<Text<'_>> {
        let (packed_len, len) = (self.length()?, self.length()?);
        let Ok(unpacked_len) = usize::try_from(len) else {
            return Err(self.corrupt("Invalid LZF compressed string"));
        };
        let mut unpacked = std::mem::take(&mut self.unpacked);
        unpacked.clear();
        let valid = if packed_len < OWNED_BYTES_MIN as u64 {
            let packed = self.take(packed_len as usize)?;
            lzf::decompress(packed, unpacked_len, &mut unpacked)
        } else {
            let packed = self.long(packed_len)?;
            lzf::decompress(&packed, unpacked_len, &mut unpacked)
        };
        if !valid {
            return Err(self.corrupt("Invalid LZF compressed string"));
        }
        if unpacked_len >= OWNED_BYTES_MIN {
            return Ok(Text::Owned(unpacked));
        }
        self.unpacked = unpacked;
        Ok(Text::Bytes(&self.unpacked))
    }

    /// A score as Redis wrote it before RDB 8: its text behind one byte of length.
    pub(super) fn double_text(&mut self) -> Result<f64> {
        match self.byte()? {
            DOUBLE_NAN => Ok(f64::NAN),
            DOUBLE_INFINITE => Ok(f64::INFINITY),
            DOUBLE_NEGATIVE_INFINITE => Ok(f64::NEG_INFINITY),
            len => {
                let score = super::score_of_text(self.take(len.into())?);
                score.ok_or_else(|| self.corrupt("Invalid score"))
            }
        }
    }

    /// A score of eight bytes.
    pub(super) fn double(&mut self) -> Result<f64> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    /// A time of eight bytes, Unix ms; negative where the writer's clock said so.
    pub(super) fn milliseconds(&mut self) -> Result<i64> {
        Ok(i64::from_le_bytes(self.array()?))
    }
}
