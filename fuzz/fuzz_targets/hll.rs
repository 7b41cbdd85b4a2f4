//! HyperLogLogs: any bytes are refused, or every operation on them stays within their bounds, and
//! where they are whole, does what it does to registers kept apart.
//!
//! The first byte chooses the limit of the sparse form, the second how many of the last bytes are
//! elements; the rest is a value (the first bit of the first byte says whether its header is put
//! right).
#![no_main]

use kivi::ds::hll::{self as kernels, REGISTERS, Registers};
use kivi::value::hyperloglog::{self as hll, DENSE_BYTES, EMPTY, Form, HEADER_BYTES, Mark, Place};
use libfuzzer_sys::fuzz_target;

/// The registers of a value, if it is whole.
fn registers(value: &[u8]) -> Option<Box<Registers>> {
    let mut registers = Box::new([0; REGISTERS]);
    hll::merge(&mut registers, value)
        .is_ok()
        .then_some(registers)
}

/// Both forms of a whole value mean the same.
fn agree(value: &[u8], registers: &Registers) {
    let mut dense = value.to_vec();
    hll::make_dense(&mut dense).expect("it is whole");
    assert_eq!(hll::form(&dense), Ok(Form::Dense));
    assert!(hll::registers(&dense) == *registers);
    assert_eq!(hll::count(value), hll::count(&dense));
    assert_eq!(hll::count(value), Ok(hll::count_registers(registers)));
    kernels::set_simd(false);
    assert_eq!(hll::count(value), hll::count(&dense));
    kernels::set_simd(true);
}

fuzz_target!(|data: &[u8]| {
    let [choice, split, data @ ..] = data else {
        return;
    };
    let (value, elements) = data.split_at(data.len() - data.len().min(usize::from(*split)));
    let mut value = value.to_vec();
    if choice & 1 == 1 && value.len() >= HEADER_BYTES {
        value[..HEADER_BYTES].copy_from_slice(&EMPTY[..HEADER_BYTES]);
    }
    let limit = [0, 20, 300, 3000][usize::from(choice >> 1) % 4];
    let Ok(form) = hll::form(&value) else { return };
    let mut model = registers(&value);
    match (&model, form) {
        (Some(model), Form::Sparse) => agree(&value, model),
        (None, _) => {
            assert!(hll::count(&value).is_err());
            assert!(hll::make_dense(&mut value.clone()).is_err());
        }
        _ => {}
    }
    hll::stored_estimate(&value);
    hll::describe(&value);
    hll::forget_estimate(&mut value);

    let (mut marked, mut mark) = (value.clone(), Mark::START);
    let mut places: Vec<Place> = elements.chunks(3).map(Place::of).collect();
    places.sort_by_key(|place| place.index);
    for place in places {
        let raised = hll::add(&mut value, place, limit, &mut { Mark::START });
        if let Some(model) = &mut model {
            if raised.is_err() {
                // Half a run at the end can be read, but not replaced.
                assert!(value.last().is_some_and(|last| last >> 6 == 1));
                return;
            }
            let is_higher = model[place.index] < place.rank;
            model[place.index] = model[place.index].max(place.rank);
            assert_eq!(raised, Ok(is_higher));
            assert_eq!(hll::add(&mut marked, place, limit, &mut mark), raised);
            assert!(marked == value);
        }
    }
    if let Some(model) = model {
        assert!(registers(&value).is_some_and(|is| is == model));
        if hll::form(&value) == Ok(Form::Sparse) {
            agree(&value, &model);
        } else {
            assert_eq!(value.len(), DENSE_BYTES);
        }
    }
});
