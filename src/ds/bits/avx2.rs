//! The forms for x86 processors with AVX2.
//!
//! Counting follows Harley and Seal as described by Mula, Kurz and Lemire ("Faster population counts
//! using AVX2 instructions", 2016): sixteen vectors are added up bit by bit, as if each of their bits
//! were a column, so that only one in sixteen has its bits counted by looking nibbles up.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi8, _mm256_add_epi64, _mm256_and_si256, _mm256_extract_epi64,
    _mm256_loadu_si256, _mm256_or_si256, _mm256_sad_epu8, _mm256_set1_epi8, _mm256_setr_epi8,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi64, _mm256_srli_epi16,
    _mm256_xor_si256,
};

use super::{Op, plain};

/// Bytes of a vector.
const VECTOR_BYTES: usize = 32;
/// Vectors that are added up before bits are counted.
const VECTORS: usize = 16;

/// Whether the processor has what is used here.
#[inline]
pub(super) fn is_there() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt")
}

#[target_feature(enable = "avx2,popcnt")]
pub(super) fn find_other(bytes: &[u8], skip: u8) -> Option<usize> {
    plain::find_other(bytes, skip)
}

#[target_feature(enable = "avx2,popcnt")]
pub(super) fn combine(op: Op, sources: &[&[u8]], len: usize, out: &mut Vec<u8>) {
    plain::combine(op, sources, len, out);
}

#[target_feature(enable = "avx2,popcnt")]
pub(super) fn count(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<{ VECTOR_BYTES * VECTORS }>();
    // Few bytes are done sooner by counting words.
    if blocks.is_empty() {
        return plain::count(bytes);
    }
    let zero = _mm256_setzero_si256();
    // What the columns hold: sums[0] counts ones, sums[1] twos, up to eights.
    let mut sums = [zero; 4];
    let mut sixteens = zero;
    for block in blocks {
        let (vectors, _) = block.as_chunks::<VECTOR_BYTES>();
        let sixteen = add_sixteen(&mut sums, vectors);
        sixteens = _mm256_add_epi64(sixteens, count_vector(sixteen));
    }
    let mut total = _mm256_slli_epi64::<4>(sixteens);
    let [ones, twos, fours, eights] = sums.map(|sum| count_vector(sum));
    total = _mm256_add_epi64(total, _mm256_slli_epi64::<3>(eights));
    total = _mm256_add_epi64(total, _mm256_slli_epi64::<2>(fours));
    total = _mm256_add_epi64(total, _mm256_slli_epi64::<1>(twos));
    total = _mm256_add_epi64(total, ones);
    let parts = [
        _mm256_extract_epi64::<0>(total),
        _mm256_extract_epi64::<1>(total),
        _mm256_extract_epi64::<2>(total),
        _mm256_extract_epi64::<3>(total),
    ];
    parts.iter().sum::<i64>() as u64 + plain::count(rest)
}

/// Adds sixteen vectors to the columns; what is carried out of them counts sixteen each.
#[inline]
#[target_feature(enable = "avx2,popcnt")]
fn add_sixteen(sums: &mut [__m256i; 4], vectors: &[[u8; VECTOR_BYTES]]) -> __m256i {
    let (left, right) = vectors.split_at(8);
    let (left, right) = (add_eight(sums, left), add_eight(sums, right));
    add(&mut sums[3], left, right)
}

#[inline]
#[target_feature(enable = "avx2,popcnt")]
fn add_eight(sums: &mut [__m256i; 4], vectors: &[[u8; VECTOR_BYTES]]) -> __m256i {
    let (left, right) = vectors.split_at(4);
    let (left, right) = (add_four(sums, left), add_four(sums, right));
    add(&mut sums[2], left, right)
}

#[inline]
#[target_feature(enable = "avx2,popcnt")]
fn add_four(sums: &mut [__m256i; 4], vectors: &[[u8; VECTOR_BYTES]]) -> __m256i {
    let left = add(&mut sums[0], load(&vectors[0]), load(&vectors[1]));
    let right = add(&mut sums[0], load(&vectors[2]), load(&vectors[3]));
    add(&mut sums[1], left, right)
}

/// Adds two vectors to a column; what is carried out of it.
#[inline]
#[target_feature(enable = "avx2,popcnt")]
fn add(sum: &mut __m256i, left: __m256i, right: __m256i) -> __m256i {
    let different = _mm256_xor_si256(*sum, left);
    let both = _mm256_and_si256(*sum, left);
    let carry = _mm256_or_si256(both, _mm256_and_si256(different, right));
    *sum = _mm256_xor_si256(different, right);
    carry
}

#[inline]
#[target_feature(enable = "avx2,popcnt")]
fn load(bytes: &[u8; VECTOR_BYTES]) -> __m256i {
    // SAFETY: there are as many bytes as are read, and they need not be aligned.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// The bits of a vector, counted in four parts.
#[inline]
#[target_feature(enable = "avx2,popcnt")]
fn count_vector(vector: __m256i) -> __m256i {
    let bits_of_nibbles = _mm256_setr_epi8(
        0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3,
        3, 4,
    );
    let nibble = _mm256_set1_epi8(0x0F);
    let low = _mm256_and_si256(vector, nibble);
    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(vector), nibble);
    let low_bits = _mm256_shuffle_epi8(bits_of_nibbles, low);
    let high_bits = _mm256_shuffle_epi8(bits_of_nibbles, high);
    let bits = _mm256_add_epi8(low_bits, high_bits);
    _mm256_sad_epu8(bits, _mm256_setzero_si256())
}
