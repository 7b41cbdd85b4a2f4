//! The kernels against a model that goes register by register, and the fast paths against their twins.

use super::*;
use crate::util::rng::Rng;

/// Registers as a HyperLogLog of some size has them; `spread` values, the lower the more frequent.
fn random(rng: &mut Rng, lowest: u8, spread: u64) -> Box<Registers> {
    let mut registers = Box::new([0; REGISTERS]);
    for register in registers.iter_mut() {
        let above = (rng.next_u64() >> 1).leading_zeros() as u64 % spread;
        *register = (u64::from(lowest) + above).min(VALUES as u64 - 1) as u8;
    }
    registers
}

fn model_pack(registers: &Registers) -> Box<Packed> {
    let mut packed = Box::new([0; PACKED_BYTES]);
    for (index, register) in registers.iter().enumerate() {
        for bit in 0..REGISTER_BITS {
            let at = index * REGISTER_BITS + bit;
            packed[at / 8] |= (register >> bit & 1) << (at % 8);
        }
    }
    packed
}

fn model_histogram(registers: &Registers) -> Histogram {
    std::array::from_fn(|value| {
        let same = registers.iter().filter(|&&r| usize::from(r) == value);
        same.count() as u32
    })
}

fn cases() -> Vec<Box<Registers>> {
    let mut rng = Rng::from_seed(7);
    let mut cases = vec![
        Box::new([0; REGISTERS]),
        Box::new([63; REGISTERS]),
        Box::new([17; REGISTERS]),
        Box::new(std::array::from_fn(|index| (index % VALUES) as u8)),
    ];
    for (lowest, spread) in [(0, 3), (0, 20), (5, 30), (40, 64), (60, 64)] {
        cases.push(random(&mut rng, lowest, spread));
    }
    let mut uniform = Box::new([0; REGISTERS]);
    uniform.fill_with(|| (rng.next_u64() % VALUES as u64) as u8);
    cases.push(uniform);
    cases
}

#[test]
fn packing_and_counting_are_as_register_by_register() {
    for registers in cases() {
        let model = model_pack(&registers);
        let mut packed = Box::new([0xAA; PACKED_BYTES]);
        scalar::pack(&registers, &mut packed);
        assert!(packed == model);
        packed.fill(0x55);
        pack(&registers, &mut packed);
        assert!(packed == model);

        let counts = model_histogram(&registers);
        assert_eq!(scalar::histogram(&registers), counts);
        assert_eq!(histogram(&registers), counts);
        for (index, &register) in registers.iter().enumerate() {
            assert_eq!(get(&packed, index), register);
        }
    }
}

#[test]
fn the_larger_registers_stay() {
    let cases = cases();
    for a in &cases {
        for b in &cases {
            let model: Vec<u8> = a.iter().zip(b.iter()).map(|(a, b)| *a.max(b)).collect();
            let packed = model_pack(b);
            let mut raised = a.clone();
            raise(&mut raised, &packed);
            assert!(raised[..] == model[..]);
            let mut raised = a.clone();
            scalar::raise(&mut raised, &packed);
            assert!(raised[..] == model[..]);
        }
    }
}

#[test]
fn one_register_is_raised_without_its_neighbours() {
    let mut rng = Rng::from_seed(11);
    let mut registers = random(&mut rng, 0, 40);
    let mut packed = model_pack(&registers);
    let last = [(REGISTERS - 1, 63), (0, 63), (REGISTERS - 2, 1)];
    let random = (0..4000).map(|_| {
        let index = rng.next_u64() as usize % REGISTERS;
        (index, (rng.next_u64() % VALUES as u64) as u8)
    });
    for (index, value) in last.into_iter().chain(random.collect::<Vec<_>>()) {
        let is_larger = value > registers[index];
        assert_eq!(raise_one(&mut packed, index, value), is_larger);
        registers[index] = registers[index].max(value);
        assert_eq!(get(&packed, index), registers[index]);
    }
    assert!(packed == model_pack(&registers));
}

#[test]
fn the_faster_paths_can_be_turned_off() {
    let registers = &cases()[5];
    set_simd(false);
    let slow = histogram(registers);
    set_simd(true);
    assert_eq!(slow, histogram(registers));
}
