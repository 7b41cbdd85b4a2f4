//! The registers of a HyperLogLog, many at once: packed into six bits each and unpacked again, the
//! larger ones of two, how often each value occurs.
//!
//! Redis's dense form packs registers without gaps, the first one into the low bits of the first
//! byte: three bytes hold four registers. Whatever looks at all of them unpacks them first, into a
//! byte each, where sixteen or thirty-two are compared in one step.
//!
//! Invariants: each AVX2 path (`hll/avx2.rs`) has its twin here, which gives the same bits and is
//! what other processors run; a register is below [`VALUES`], since six bits hold no more.
//!
//! To add a kernel: the twin here, a faster one beside it, and a line in the test that compares them.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod avx2;

#[cfg(test)]
mod tests;

/// Registers of a HyperLogLog.
pub const REGISTERS: usize = 1 << 14;
/// Bits of a packed register.
pub const REGISTER_BITS: usize = 6;
/// Values that a register can have.
pub const VALUES: usize = 1 << REGISTER_BITS;
/// Bytes of all registers, packed.
pub const PACKED_BYTES: usize = REGISTERS * REGISTER_BITS / 8;

/// All registers, a byte each.
pub type Registers = [u8; REGISTERS];
/// All registers, packed.
pub type Packed = [u8; PACKED_BYTES];
/// How many registers have each value.
pub type Histogram = [u32; VALUES];

/// Whether the faster paths may be taken (PFDEBUG SIMD).
static SIMD: AtomicBool = AtomicBool::new(true);

/// Has the whole process take the faster paths, where the processor has them, or their twins.
pub fn set_simd(on: bool) {
    SIMD.store(on, Relaxed);
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline]
fn has_avx2() -> bool {
    SIMD.load(Relaxed) && std::arch::is_x86_feature_detected!("avx2")
}

/// Raises each register to the packed one's value, if that is larger.
pub fn raise(registers: &mut Registers, packed: &Packed) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if has_avx2() {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::raise(registers, packed) };
    }
    scalar::raise(registers, packed);
}

/// Packs all registers.
pub fn pack(registers: &Registers, packed: &mut Packed) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if has_avx2() {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::pack(registers, packed) };
    }
    scalar::pack(registers, packed);
}

/// Counts how often each value occurs. Registers are below [`VALUES`].
pub fn histogram(registers: &Registers) -> Histogram {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if has_avx2() {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::histogram(registers) };
    }
    scalar::histogram(registers)
}

/// The value of one packed register.
#[inline]
pub fn get(packed: &Packed, index: usize) -> u8 {
    let (at, shift) = place(index);
    let high = packed.get(at + 1).copied().unwrap_or_default();
    let bits = u16::from_le_bytes([packed[at], high]);
    (bits >> shift) as u8 & (VALUES - 1) as u8
}

/// Raises one packed register to `value`; false if it was there already.
#[inline]
pub fn raise_one(packed: &mut Packed, index: usize, value: u8) -> bool {
    let (at, shift) = place(index);
    let mask = (VALUES - 1) as u16;
    let high = packed.get(at + 1).copied().unwrap_or_default();
    let bits = u16::from_le_bytes([packed[at], high]);
    if bits >> shift & mask >= u16::from(value) {
        return false;
    }
    let [low, high] = (bits & !(mask << shift) | u16::from(value) << shift).to_le_bytes();
    packed[at] = low;
    // The last register ends with the last byte.
    if let Some(byte) = packed.get_mut(at + 1) {
        *byte = high;
    }
    true
}

/// The byte in which a register begins, and at which bit.
#[inline]
fn place(index: usize) -> (usize, usize) {
    let bit = index % REGISTERS * REGISTER_BITS;
    (bit / 8, bit % 8)
}

/// The twins: eight registers at a time, in a word.
mod scalar {
    use super::{Histogram, Packed, Registers, VALUES};

    /// Registers that are treated together, one to each byte of a word.
    const STEP: usize = 8;
    /// Their bytes when they are packed.
    const STEP_BYTES: usize = 6;

    pub(super) fn raise(registers: &mut Registers, packed: &Packed) {
        let (steps, _) = registers.as_chunks_mut::<STEP>();
        let (packed, _) = packed.as_chunks::<STEP_BYTES>();
        for (registers, packed) in steps.iter_mut().zip(packed) {
            *registers = max(u64::from_le_bytes(*registers), spread(packed)).to_le_bytes();
        }
    }

    /// The larger ones of eight pairs of registers.
    #[inline]
    fn max(a: u64, b: u64) -> u64 {
        const TOPS: u64 = 0x8080_8080_8080_8080;
        // A register leaves the top bit free: it stays set where nothing had to be borrowed from it.
        let not_less = (((a | TOPS) - b) & TOPS) >> 7;
        let mask = not_less * 0xFF;
        a & mask | b & !mask
    }

    pub(super) fn pack(registers: &Registers, packed: &mut Packed) {
        pack_some(registers, packed);
    }

    /// Packs as many registers as there are, a multiple of eight.
    #[inline]
    pub(super) fn pack_some(registers: &[u8], packed: &mut [u8]) {
        let (steps, _) = registers.as_chunks::<STEP>();
        let (packed, _) = packed.as_chunks_mut::<STEP_BYTES>();
        for (registers, packed) in steps.iter().zip(packed) {
            *packed = gather(registers);
        }
    }

    pub(super) fn histogram(registers: &Registers) -> Histogram {
        // Four of them: most registers have one of a few values, and a count that has just been
        // written would have to be waited for.
        let mut parts = [[0; VALUES]; 4];
        for four in registers.chunks_exact(4) {
            for (part, &register) in parts.iter_mut().zip(four) {
                part[usize::from(register) % VALUES] += 1;
            }
        }
        std::array::from_fn(|value| parts.iter().map(|part| part[value]).sum())
    }

    /// Six bytes as eight registers, the first one lowest: halves move apart, then their halves, then theirs.
    #[inline]
    fn spread(packed: &[u8; STEP_BYTES]) -> u64 {
        let [a, b, c, d, e, f] = *packed;
        let all = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        let halves = all & 0x00FF_FFFF | (all & 0xFFFF_FF00_0000) << 8;
        let quarters = halves & 0x0000_0FFF_0000_0FFF | (halves & 0x00FF_F000_00FF_F000) << 4;
        quarters & 0x003F_003F_003F_003F | (quarters & 0x0FC0_0FC0_0FC0_0FC0) << 2
    }

    /// The other way round.
    #[inline]
    fn gather(registers: &[u8; STEP]) -> [u8; STEP_BYTES] {
        let eighths = u64::from_le_bytes(*registers);
        let quarters = eighths & 0x003F_003F_003F_003F | (eighths & 0x3F00_3F00_3F00_3F00) >> 2;
        let halves = quarters & 0x0000_0FFF_0000_0FFF | (quarters & 0x0FFF_0000_0FFF_0000) >> 4;
        let all = halves & 0x00FF_FFFF | (halves & 0x00FF_FFFF_0000_0000) >> 8;
        let [a, b, c, d, e, f, ..] = all.to_le_bytes();
        [a, b, c, d, e, f]
    }
}
