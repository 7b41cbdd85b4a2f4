//! The kernels with AVX2: thirty-two registers at a time, which are 24 packed bytes.
//!
//! Three bytes with four registers are brought into a lane of 32 bits, where shifts put each register
//! into a byte of its own. Both halves of a vector do that for themselves, since bytes cannot be
//! moved across the middle; the upper half is therefore loaded from eight bytes further on, which
//! ends exactly with the 24 bytes, and takes the last twelve of its sixteen.
//!
//! Invariant: nothing is read or written outside of the arrays; their lengths are constants.

use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm_storeu_si128, _mm256_add_epi64, _mm256_and_si256,
    _mm256_castsi256_si128, _mm256_cmpeq_epi8, _mm256_extracti128_si256, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_max_epu8, _mm256_or_si256, _mm256_sad_epu8,
    _mm256_set_m128i, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_setr_epi8,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi32, _mm256_storeu_si256,
    _mm256_sub_epi8,
};

use super::{Histogram, PACKED_BYTES, Packed, REGISTERS, Registers, VALUES, scalar};

/// Registers of a step.
const STEP: usize = 32;
/// Their bytes when they are packed.
const STEP_BYTES: usize = 24;
/// Steps of all registers.
const STEPS: usize = REGISTERS / STEP;
/// Values that are counted in one pass.
const NEEDLES: usize = 8;
/// Steps after which counts in bytes are added up, so that none overflows.
const STEPS_PER_SUM: usize = 128;

const _: () = assert!(STEPS * STEP_BYTES == PACKED_BYTES && STEPS.is_multiple_of(STEPS_PER_SUM));

/// The registers of a step.
#[inline]
#[target_feature(enable = "avx2")]
fn load(registers: &Registers, step: usize) -> __m256i {
    let at = registers[step * STEP..][..STEP].as_ptr();
    // SAFETY: 32 bytes are there.
    unsafe { _mm256_loadu_si256(at.cast()) }
}

/// Raises each register to the packed one's value, if that is larger.
#[target_feature(enable = "avx2")]
pub(super) fn raise(registers: &mut Registers, packed: &Packed) {
    let triples = _mm256_setr_epi8(
        0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1, // the first twelve of sixteen
        4, 5, 6, -1, 7, 8, 9, -1, 10, 11, 12, -1, 13, 14, 15, -1, // the last twelve
    );
    let masks = [0x3F, 0x3F00, 0x3F_0000, 0x3F00_0000].map(|mask| _mm256_set1_epi32(mask));
    for step in 0..STEPS {
        let from = packed[step * STEP_BYTES..][..STEP_BYTES].as_ptr();
        // SAFETY: 24 bytes are there, of which the first sixteen and the last sixteen are read.
        let bytes = unsafe {
            let low = _mm_loadu_si128(from.cast());
            let high = _mm_loadu_si128(from.add(STEP_BYTES - 16).cast());
            _mm256_set_m128i(high, low)
        };
        let four = _mm256_shuffle_epi8(bytes, triples);
        let first = _mm256_and_si256(four, masks[0]);
        let second = _mm256_and_si256(_mm256_slli_epi32::<2>(four), masks[1]);
        let third = _mm256_and_si256(_mm256_slli_epi32::<4>(four), masks[2]);
        let fourth = _mm256_and_si256(_mm256_slli_epi32::<6>(four), masks[3]);
        let values = _mm256_or_si256(
            _mm256_or_si256(first, second),
            _mm256_or_si256(third, fourth),
        );
        let raised = _mm256_max_epu8(load(registers, step), values);
        let to = registers[step * STEP..][..STEP].as_mut_ptr();
        // SAFETY: 32 bytes are there.
        unsafe { _mm256_storeu_si256(to.cast(), raised) };
    }
}

/// Packs all registers.
#[target_feature(enable = "avx2")]
pub(super) fn pack(registers: &Registers, packed: &mut Packed) {
    let triples = _mm256_setr_epi8(
        0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1, // without every fourth byte
        0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1,
    );
    // A register and 64 times the next, then such a pair and 4096 times the next one.
    let pairs = _mm256_set1_epi16(0x4001);
    let fours = _mm256_set1_epi32(0x1000_0001);
    // Sixteen bytes are written where twelve are meant; what follows overwrites the rest. So the last
    // step is the twin's.
    for step in 0..STEPS - 1 {
        let pair = _mm256_maddubs_epi16(load(registers, step), pairs);
        let four = _mm256_madd_epi16(pair, fours);
        let bytes = _mm256_shuffle_epi8(four, triples);
        let to = packed[step * STEP_BYTES..][..STEP_BYTES + 4].as_mut_ptr();
        // SAFETY: 28 bytes are there: the first sixteen are written, then the last sixteen.
        unsafe {
            _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(bytes));
            let high = _mm256_extracti128_si256::<1>(bytes);
            _mm_storeu_si128(to.add(STEP_BYTES / 2).cast(), high);
        }
    }
    scalar::pack_some(
        &registers[REGISTERS - STEP..],
        &mut packed[PACKED_BYTES - STEP_BYTES..],
    );
}

/// Counts how often each value occurs: some values in each pass, up to the largest one that occurs.
#[target_feature(enable = "avx2")]
pub(super) fn histogram(registers: &Registers) -> Histogram {
    let mut highest = _mm256_setzero_si256();
    for step in 0..STEPS {
        highest = _mm256_max_epu8(highest, load(registers, step));
    }
    let highest = to_bytes(highest).into_iter().max().unwrap_or_default();
    let mut histogram = [0; VALUES];
    for pass in histogram.chunks_exact_mut(NEEDLES).enumerate() {
        let (first, counts) = (pass.0 * NEEDLES, pass.1);
        if first > usize::from(highest) {
            break;
        }
        count(registers, first as u8, counts);
    }
    histogram
}

/// Counts how often each of the values from `first` on occurs.
#[inline]
#[target_feature(enable = "avx2")]
fn count(registers: &Registers, first: u8, counts: &mut [u32]) {
    let zero = _mm256_setzero_si256();
    let mut needles = [zero; NEEDLES];
    for (needle, value) in needles.iter_mut().zip(first..) {
        *needle = _mm256_set1_epi8(value as i8);
    }
    let mut sums = [zero; NEEDLES];
    for from in (0..STEPS).step_by(STEPS_PER_SUM) {
        let mut found = [zero; NEEDLES];
        for step in from..from + STEPS_PER_SUM {
            let registers = load(registers, step);
            for (found, &needle) in found.iter_mut().zip(&needles) {
                // Equal bytes are -1.
                *found = _mm256_sub_epi8(*found, _mm256_cmpeq_epi8(registers, needle));
            }
        }
        for (sum, &found) in sums.iter_mut().zip(&found) {
            *sum = _mm256_add_epi64(*sum, _mm256_sad_epu8(found, zero));
        }
    }
    for (count, &sum) in counts.iter_mut().zip(&sums) {
        // Four words of 64 bits, each below 2^16.
        let words = to_bytes(sum);
        *count = words
            .chunks_exact(8)
            .map(|word| u32::from(u16::from_le_bytes([word[0], word[1]])))
            .sum();
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn to_bytes(vector: __m256i) -> [u8; 32] {
    let mut bytes = [0; 32];
    // SAFETY: 32 bytes are there.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), vector) };
    bytes
}
