//! PFSELFTEST: registers are kept as they are set, both forms say the same, and estimates are as
//! good as they are said to be.

use super::{DENSE_BYTES, EMPTY, Form, HEADER_BYTES, Mark, Place, REGISTERS};
use crate::ds::hll::{self, PACKED_BYTES, VALUES};
use crate::util::rng::Rng;

/// How often all registers are set at random.
const ROUNDS: usize = if cfg!(debug_assertions) { 10 } else { 100 };
/// Elements that are added in all; fewer where code is slow.
const ELEMENTS: u64 = if cfg!(debug_assertions) {
    100_000
} else {
    1_000_000
};
/// Bytes of a sparse value in the test.
const SPARSE_BYTES_MAX: u64 = 3000;
/// As long as there are this many elements the sparse form is compared: it becomes dense by itself.
const COMPARED_MAX: u64 = 10_000;

/// Tests the machine; what was wrong.
pub fn selftest() -> Result<(), String> {
    let mut rng = Rng::from_os();
    registers(&mut rng)?;
    estimates(&mut rng)
}

fn registers(rng: &mut Rng) -> Result<(), String> {
    for _ in 0..ROUNDS {
        let mut wanted = [0; REGISTERS];
        wanted.fill_with(|| rng.below(VALUES as u64) as u8);
        let mut packed = [0; PACKED_BYTES];
        for (index, &value) in wanted.iter().enumerate() {
            hll::raise_one(&mut packed, index, value);
        }
        let mut together = [0; PACKED_BYTES];
        hll::pack(&wanted, &mut together);
        let mut unpacked = [0; REGISTERS];
        hll::raise(&mut unpacked, &together);
        for (index, &value) in wanted.iter().enumerate() {
            let is = hll::get(&packed, index);
            for is in [is, unpacked[index]] {
                if is != value {
                    return Err(format!("Register {index} should be {value} but is {is}"));
                }
            }
        }
    }
    Ok(())
}

fn estimates(rng: &mut Rng) -> Result<(), String> {
    let (mut dense, mut sparse) = (EMPTY.to_vec(), EMPTY.to_vec());
    super::make_dense(&mut dense).map_err(|_| "empty is corrupt")?;
    let seed = rng.next_u64();
    let relative_error = 1.04 / (REGISTERS as f64).sqrt();
    let mut checkpoint = 1;
    for added in 1..=ELEMENTS {
        let element = Place::of(&(added ^ seed).to_le_bytes());
        let add = |value: &mut Vec<u8>| {
            let (max, mut mark) = (SPARSE_BYTES_MAX, Mark::START);
            super::add(value, element, max, &mut mark).map_err(|_| "it has become corrupt")
        };
        let raised = add(&mut dense)?;
        if added <= COMPARED_MAX && add(&mut sparse)? != raised {
            return Err("dense/sparse disagree".to_owned());
        }
        if added != checkpoint {
            continue;
        }
        let count = |value: &[u8]| super::count(value).unwrap_or(u64::MAX);
        let is = count(&dense);
        if added <= COMPARED_MAX && count(&sparse) != is {
            return Err("dense/sparse disagree".to_owned());
        }
        // Few elements are counted nearly exactly, but two may have met in one register.
        let max = (6.0 * relative_error * added as f64).ceil().max(1.0) as u64;
        if is.abs_diff(added) > max {
            let off = is as i64 - added as i64;
            return Err(format!("Too big error. card:{added} abserr:{off}"));
        }
        checkpoint *= 10;
    }
    let is_sparse = super::form(&sparse) == Ok(Form::Sparse);
    if is_sparse || dense.len() != DENSE_BYTES || sparse[HEADER_BYTES..].len() != PACKED_BYTES {
        return Err("sparse did not become dense".to_owned());
    }
    Ok(())
}
