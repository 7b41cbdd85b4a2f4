//! The format against a model that keeps registers apart, and against bytes that nobody has made.

use super::*;
use crate::util::rng::Rng;

const BYTES_MAX: u64 = 3000;

fn new() -> Vec<u8> {
    EMPTY.to_vec()
}

/// Adds a place as a client's element would.
fn add_place(value: &mut Vec<u8>, place: Place, bytes_max: u64) -> Result<bool, Corrupt> {
    add(value, place, bytes_max, &mut { Mark::START })
}

fn registers_of(value: &[u8]) -> Box<Registers> {
    let mut registers = Box::new([0; REGISTERS]);
    merge(&mut registers, value).unwrap();
    registers
}

/// A place with ranks as they are: half of them 1, a quarter 2, ...
fn random_place(rng: &mut Rng) -> Place {
    Place::of(&rng.next_u64().to_le_bytes())
}

#[test]
fn places_are_those_of_redis() {
    // What PFDEBUG DECODE of Valkey shows of each element alone.
    let known: [(&[u8], usize, u8); 3] = [(b"a", 12711, 2), (b"x", 16374, 2), (b"", 5938, 2)];
    for (element, index, rank) in known {
        let place = Place { index, rank };
        assert_eq!(Place::of(element), place);
    }
}

#[test]
fn both_forms_keep_what_a_model_keeps() {
    let mut rng = Rng::from_seed(3);
    for bytes_max in [0, 17, 60, 600, BYTES_MAX, 1 << 20] {
        let (mut value, mut dense) = (new(), new());
        make_dense(&mut dense).unwrap();
        let mut model = Box::new([0; REGISTERS]);
        for step in 0..6000 {
            let mut place = random_place(&mut rng);
            if rng.below(3) == 0 {
                // Neighbours, so that runs meet.
                place.index = place.index % 40 + 8000;
            }
            let is_higher = model[place.index] < place.rank;
            model[place.index] = model[place.index].max(place.rank);
            assert_eq!(add_place(&mut value, place, bytes_max), Ok(is_higher));
            assert_eq!(add_place(&mut dense, place, bytes_max), Ok(is_higher));
            if step % 500 == 0 || step == 5999 {
                assert!(registers_of(&value) == model);
                assert!(registers_of(&dense) == model);
                assert_eq!(count(&value), count(&dense));
                assert_eq!(count(&value), Ok(count_registers(&model)));
            }
            if form(&value) == Ok(Form::Sparse) {
                assert!(value.len() as u64 <= bytes_max.max(EMPTY.len() as u64));
            }
        }
    }
}

#[test]
fn a_rank_that_no_run_can_say_makes_dense() {
    let mut value = new();
    let place = |rank| Place { index: 77, rank };
    assert_eq!(add_place(&mut value, place(32), BYTES_MAX), Ok(true));
    assert_eq!(form(&value), Ok(Form::Sparse));
    assert_eq!(add_place(&mut value, place(33), BYTES_MAX), Ok(true));
    assert_eq!(form(&value), Ok(Form::Dense));
    assert_eq!(registers_of(&value)[77], 33);
    assert_eq!(registers(&value)[..], registers_of(&value)[..]);
}

#[test]
fn a_mark_changes_nothing_but_the_time() {
    let mut rng = Rng::from_seed(5);
    for round in 0..20 {
        let mut value = new();
        for _ in 0..rng.below(700) {
            add_place(&mut value, random_place(&mut rng), 1 << 20).unwrap();
        }
        let (mut marked, mut mark) = (value.clone(), Mark::START);
        let mut index = 0;
        while index < REGISTERS {
            let rank = random_place(&mut rng).rank.min(32);
            let place = Place { index, rank };
            let raised = add(&mut marked, place, 1 << 20, &mut mark);
            assert_eq!(raised, add_place(&mut value, place, 1 << 20));
            // Sometimes the same register again.
            index += rng.below([5, 12, 40, 200, 900][round % 5]) as usize;
        }
        assert_eq!(marked, value, "round {round}");
    }
}

#[test]
fn runs_are_passed_over_as_they_are_read() {
    let mut rng = Rng::from_seed(9);
    for _ in 0..300 {
        // All kinds of runs, mostly of one byte, and none of them long.
        let mut value = new();
        value.truncate(HEADER_BYTES);
        let mut model = Vec::new();
        while model.len() < REGISTERS {
            let byte = match rng.below(40) {
                0 => 0x40,
                1..20 => rng.below(64) as u8,
                _ => 0x80 | rng.below(128) as u8,
            };
            value.push(byte);
            let (len, rank) = match byte {
                0x40 => {
                    value.push(byte);
                    (usize::from(byte) + 1, 0)
                }
                0..0x40 => (usize::from(byte) + 1, 0),
                _ => (usize::from(byte & 3) + 1, (byte >> 2 & 31) + 1),
            };
            model.resize(model.len() + len, rank);
        }
        for _ in 0..40 {
            let index = rng.below(REGISTERS as u64) as usize;
            let rank = model[index];
            let mut copy = value.clone();
            let lower = Place {
                index,
                rank: rank.max(1),
            };
            assert_eq!(add_place(&mut copy, lower, 1 << 20), Ok(rank == 0));
            if rank > 0 {
                assert_eq!(copy, value);
            }
        }
    }
}

#[test]
fn estimates_are_within_their_error() {
    let mut rng = Rng::from_seed(1);
    let (mut value, mut added) = (new(), 0);
    for wanted in [1, 2, 5, 10, 100, 1000, 5000, 20_000, 100_000] {
        while added < wanted {
            added += 1;
            add_place(&mut value, random_place(&mut rng), BYTES_MAX).unwrap();
        }
        let is = count(&value).unwrap();
        let max = (wanted as f64 * 0.03).ceil();
        assert!(is.abs_diff(wanted) as f64 <= max, "{is} of {wanted}");
    }
}

#[test]
fn estimates_at_the_ends() {
    assert_eq!(count(&EMPTY), Ok(0));
    assert_eq!(stored_estimate(&EMPTY), Some(0));
    // Infinity is what Redis makes of registers beyond the highest rank.
    assert_eq!(count_registers(&[63; REGISTERS]), 1 << 63);
    assert_eq!(count_registers(&[51; REGISTERS]), 1 << 63);
    assert_eq!(count_registers(&[0; REGISTERS]), 0);
    let mut value = EMPTY;
    store_estimate(&mut value, 0x0102_0304_0506_0708);
    assert_eq!(value[8..16], [8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(stored_estimate(&value), Some(0x0102_0304_0506_0708));
    forget_estimate(&mut value);
    assert_eq!(stored_estimate(&value), None);
    assert_eq!(value[15], 0x81);
}

#[test]
fn headers_are_checked() {
    assert_eq!(form(&EMPTY), Ok(Form::Sparse));
    assert_eq!(form(&EMPTY[..HEADER_BYTES]), Ok(Form::Sparse));
    assert_eq!(form(&EMPTY[..HEADER_BYTES - 1]), Err(NotHyperLogLog));
    assert_eq!(form(b""), Err(NotHyperLogLog));
    let mut value = new();
    value[4] = 2;
    assert_eq!(form(&value), Err(NotHyperLogLog));
    for (len, is) in [
        (DENSE_BYTES - 1, Err(NotHyperLogLog)),
        (DENSE_BYTES, Ok(Form::Dense)),
        (DENSE_BYTES + 1, Err(NotHyperLogLog)),
    ] {
        value[4] = 0;
        value.resize(len, 0);
        assert_eq!(form(&value), is);
    }
}

/// Every operation on a value that a client may have written: within bounds, and either it works or it
/// says that the value is corrupt.
fn try_all(value: &[u8], rng: &mut Rng) {
    if form(value).is_err() {
        return;
    }
    let mut registers = Box::new([0; REGISTERS]);
    let merged = merge(&mut registers, value);
    assert_eq!(count(value).is_ok(), merged.is_ok());
    assert_eq!(make_dense(&mut value.to_vec()).is_ok(), merged.is_ok());
    if form(value) == Ok(Form::Sparse) {
        describe(value);
    }
    let mut changed = value.to_vec();
    for _ in 0..20 {
        let place = random_place(rng);
        let added = add_place(&mut changed, place, rng.below(4000));
        if merged.is_ok() {
            if added.is_err() {
                // Half a run at the end can be read, but not replaced.
                assert!(changed.last().is_some_and(|last| last >> 6 == 1));
                return;
            }
            let is_higher = registers[place.index] < place.rank;
            registers[place.index] = registers[place.index].max(place.rank);
            assert_eq!(added, Ok(is_higher));
            assert!(registers_of(&changed) == registers);
        }
    }
}

#[test]
fn values_that_nobody_has_made() {
    let mut rng = Rng::from_seed(13);
    for _ in 0..400 {
        let mut value = new();
        for _ in 0..rng.below(60) {
            add_place(&mut value, random_place(&mut rng), 1 << 20).unwrap();
        }
        for _ in 0..rng.below(4) {
            let at = HEADER_BYTES + rng.below((value.len() - HEADER_BYTES) as u64) as usize;
            match rng.below(3) {
                0 => value[at] = rng.next_u64() as u8,
                1 => value.insert(at, rng.next_u64() as u8),
                _ if value.len() > HEADER_BYTES + 1 => drop(value.remove(at)),
                _ => {}
            }
        }
        try_all(&value, &mut rng);
        value.truncate(HEADER_BYTES);
        try_all(&value, &mut rng);
        for _ in 0..rng.below(40) {
            value.push(rng.next_u64() as u8);
        }
        try_all(&value, &mut rng);
    }
}

#[test]
fn the_selftest_passes() {
    assert_eq!(selftest(), Ok(()));
}
