//! HyperLogLogs: strings in Redis's byte format that estimate how many different elements were
//! added.
//!
//! ```text
//! offset 0  "HYLL"
//!        4  encoding: 0 dense, 1 sparse
//!        5  three bytes that nobody uses
//!        8  the estimate when it was last asked for, 8 bytes, little endian; the top bit says that
//!           registers have changed since
//!       16  registers: dense, 16384 of six bits (`ds::hll`); sparse, runs of equal ones (`sparse`)
//! ```
//!
//! An element's hash chooses a register and a rank, the number of its trailing zeros; the register
//! keeps the highest rank. A value begins sparse and becomes dense for good when a rank does not fit
//! into a run, or when it would exceed `hll-sparse-max-bytes`. The estimate is Ertl's, computed as
//! Redis does, in its order, so that the digits agree.
//!
//! Invariants:
//! - the bytes after each operation are those of Valkey, which may hold the other copy of a value;
//! - whatever a client has written with SET is read within its bounds: a wrong header is
//!   [`NotHyperLogLog`], runs that do not make up all registers are [`Corrupt`] as soon as an
//!   operation looks at all of them.
//!
//! To add an operation: over [`Buf`], so that it works inside a key's entry.

use crate::ds::buf::Buf;
use crate::ds::hll::{self, Histogram, PACKED_BYTES, Packed, REGISTERS, Registers, VALUES};

mod murmur;
mod selftest;
mod sparse;

#[cfg(test)]
mod tests;

pub use selftest::selftest;
pub use sparse::Mark;

/// Bytes before the registers.
pub const HEADER_BYTES: usize = 16;
/// Bytes of a dense value.
pub const DENSE_BYTES: usize = HEADER_BYTES + PACKED_BYTES;
/// A value to which nothing was added: one run of all registers. Its estimate, 0, is known.
pub const EMPTY: [u8; HEADER_BYTES + 2] = *b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0\x7F\xFF";

const MAGIC: &[u8] = b"HYLL";
const ENCODING_AT: usize = 4;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
const ESTIMATE_AT: usize = 8;
/// The byte of the estimate whose top bit says that it is out of date.
const STALE_AT: usize = 15;
const STALE: u8 = 0x80;

/// Bits of a hash that choose the register.
const INDEX_BITS: u32 = REGISTERS.trailing_zeros();
/// Bits of a hash that make the rank.
const RANK_BITS: u32 = 64 - INDEX_BITS;

/// The bytes are no HyperLogLog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotHyperLogLog;

/// The registers are not as they have to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Corrupt;

/// How the registers are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Six bits each.
    Dense,
    /// Runs of equal ones.
    Sparse,
}

/// What an element does: its register, and the least value of it from then on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Below [`REGISTERS`].
    pub index: usize,
    /// 1 to 51.
    pub rank: u8,
}

impl Place {
    /// The place of an element.
    #[inline]
    pub fn of(element: &[u8]) -> Place {
        let hash = murmur::hash(element);
        // A bit beyond the hash ends the zeros.
        let rest = hash >> INDEX_BITS | 1 << RANK_BITS;
        Place {
            index: hash as usize % REGISTERS,
            rank: rest.trailing_zeros() as u8 + 1,
        }
    }
}

/// The form of a value, if it is a HyperLogLog by its header and length.
#[inline]
pub fn form(bytes: &[u8]) -> Result<Form, NotHyperLogLog> {
    if bytes.len() < HEADER_BYTES || !bytes.starts_with(MAGIC) {
        return Err(NotHyperLogLog);
    }
    match bytes[ENCODING_AT] {
        DENSE if bytes.len() == DENSE_BYTES => Ok(Form::Dense),
        SPARSE => Ok(Form::Sparse),
        _ => Err(NotHyperLogLog),
    }
}

/// The estimate that was stored with a value, if nothing was added since.
#[inline]
pub fn stored_estimate(bytes: &[u8]) -> Option<u64> {
    let stored = bytes.get(ESTIMATE_AT..)?.first_chunk()?;
    let is_stale = bytes[STALE_AT] & STALE != 0;
    (!is_stale).then(|| u64::from_le_bytes(*stored))
}

/// Stores an estimate. One with its top bit set cannot be stored: it looks out of date.
#[inline]
pub fn store_estimate(bytes: &mut [u8], estimate: u64) {
    if let Some(at) = bytes
        .get_mut(ESTIMATE_AT..)
        .and_then(|b| b.first_chunk_mut())
    {
        *at = estimate.to_le_bytes();
    }
}

/// Says that the stored estimate is out of date.
#[inline]
pub fn forget_estimate(bytes: &mut [u8]) {
    if let Some(byte) = bytes.get_mut(STALE_AT) {
        *byte |= STALE;
    }
}

/// The packed registers of a dense value; `None` of another one.
#[inline]
fn dense(bytes: &[u8]) -> Option<&Packed> {
    match form(bytes) {
        Ok(Form::Dense) => bytes[HEADER_BYTES..].first_chunk(),
        _ => None,
    }
}

#[inline]
fn dense_mut(bytes: &mut [u8]) -> Option<&mut Packed> {
    match form(bytes) {
        Ok(Form::Dense) => bytes[HEADER_BYTES..].first_chunk_mut(),
        _ => None,
    }
}

/// The runs of a sparse value.
#[inline]
fn runs(bytes: &[u8]) -> &[u8] {
    bytes.get(HEADER_BYTES..).unwrap_or_default()
}

/// Estimates how many different elements were added.
pub fn count(bytes: &[u8]) -> Result<u64, Corrupt> {
    match dense(bytes) {
        Some(packed) => {
            let mut registers = [0; REGISTERS];
            hll::raise(&mut registers, packed);
            Ok(count_registers(&registers))
        }
        None => Ok(estimate(&sparse::histogram(runs(bytes))?)),
    }
}

/// The same for registers that are not packed.
pub fn count_registers(registers: &Registers) -> u64 {
    estimate(&hll::histogram(registers))
}

/// Raises registers to those of a value. If that is corrupt, some may have been raised.
pub fn merge(registers: &mut Registers, bytes: &[u8]) -> Result<(), Corrupt> {
    match dense(bytes) {
        Some(packed) => {
            hll::raise(registers, packed);
            Ok(())
        }
        None => sparse::raise(registers, runs(bytes)),
    }
}

/// Raises the register of a place, from where `mark` says on: [`Mark::START`], or what the same
/// operation said of a lower index, when nothing else has changed the value. A sparse value becomes
/// dense if it has to. Says whether the register was raised, and leaves the stored estimate alone.
#[inline]
pub fn add(
    value: &mut impl Buf,
    place: Place,
    sparse_bytes_max: u64,
    mark: &mut Mark,
) -> Result<bool, Corrupt> {
    if let Some(packed) = dense_mut(value.bytes_mut()) {
        return Ok(hll::raise_one(packed, place.index, place.rank));
    }
    match sparse::raise_one(value, place, sparse_bytes_max, mark)? {
        sparse::Raised::No => Ok(false),
        sparse::Raised::Yes => Ok(true),
        sparse::Raised::NoRoom => {
            make_dense(value)?;
            let packed = dense_mut(value.bytes_mut()).ok_or(Corrupt)?;
            Ok(hll::raise_one(packed, place.index, place.rank))
        }
    }
}

/// Makes a sparse value dense; the header but the form stays.
pub fn make_dense(value: &mut impl Buf) -> Result<(), Corrupt> {
    let mut registers = [0; REGISTERS];
    sparse::raise(&mut registers, runs(value.bytes()))?;
    replace_registers(value, &registers);
    Ok(())
}

/// Makes a value dense, with these registers.
pub fn replace_registers(value: &mut impl Buf, registers: &Registers) {
    if let Some(packed) = dense_mut(value.bytes_mut()) {
        return hll::pack(registers, packed);
    }
    let mut packed = [0; PACKED_BYTES];
    hll::pack(registers, &mut packed);
    let old_bytes = value.bytes().len() - HEADER_BYTES;
    value.splice(HEADER_BYTES, old_bytes, &packed);
    value.bytes_mut()[ENCODING_AT] = DENSE;
}

/// All registers of a dense value; zeros of another one.
pub fn registers(bytes: &[u8]) -> Registers {
    let mut registers = [0; REGISTERS];
    if let Some(packed) = dense(bytes) {
        hll::raise(&mut registers, packed);
    }
    registers
}

/// The runs of a sparse value as text: `z:64` and `Z:16000` for zeros, in one byte and in two,
/// `v:3,2` for two registers that are 3.
pub fn describe(bytes: &[u8]) -> String {
    sparse::describe(runs(bytes))
}

/// Ertl's improved raw estimator (arXiv 1702.01284), every operation in Redis's order.
fn estimate(histogram: &Histogram) -> u64 {
    /// 0.5 / ln 2
    const ALPHA_INFINITY: f64 = 0.721_347_520_444_481_7;
    const HIGHEST: usize = RANK_BITS as usize + 1;
    const { assert!(HIGHEST < VALUES) };

    let m = REGISTERS as f64;
    let mut z = m * tau((m - f64::from(histogram[HIGHEST])) / m);
    for value in (1..HIGHEST).rev() {
        z += f64::from(histogram[value]);
        z *= 0.5;
    }
    z += m * sigma(f64::from(histogram[0]) / m);
    let estimate = (ALPHA_INFINITY * m * m / z).round();
    // What C's llroundl gives for infinity: registers above the highest rank, which only a client
    // can have written, say nothing.
    match estimate < i64::MAX as f64 {
        true => estimate as u64,
        false => i64::MIN as u64,
    }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}
