//! Both forms on the same bytes, and both against bits looked at one by one.

use super::*;
use crate::util::rng::Rng;

const OPS: [Op; 8] = [
    Op::And,
    Op::Or,
    Op::Xor,
    Op::Not,
    Op::Diff,
    Op::Diff1,
    Op::AndOr,
    Op::One,
];

/// Lengths around everything that is done in steps, and some large ones.
const LENGTHS: [usize; 30] = [
    0, 1, 2, 7, 8, 9, 15, 16, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 513,
    1023, 1024, 1025, 8191, 8192, 8193, 20_000,
];

/// Most of the bytes are zeros, ones, or any, by `kind`.
fn random_bytes(rng: &mut Rng, len: usize, kind: u64) -> Vec<u8> {
    let byte = |rng: &mut Rng| match (kind % 3, rng.below(40)) {
        (0, 1..) => 0,
        (1, 1..) => 0xFF,
        _ => rng.next_u64() as u8,
    };
    (0..len).map(|_| byte(rng)).collect()
}

fn bit(bytes: &[u8], at: u64) -> bool {
    let byte = bytes.get((at / 8) as usize).copied().unwrap_or_default();
    byte >> (7 - at % 8) & 1 == 1
}

/// The forms that this processor runs, by name.
struct Form {
    name: &'static str,
    count: fn(&[u8]) -> u64,
    find_other: fn(&[u8], u8) -> Option<usize>,
    combine: fn(Op, &[&[u8]], usize, &mut Vec<u8>),
}

fn forms() -> Vec<Form> {
    let mut forms = vec![Form {
        name: "plain",
        count: plain::count,
        find_other: plain::find_other,
        combine: plain::combine,
    }];
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if avx2::is_there() {
        forms.push(Form {
            name: "avx2",
            // SAFETY: the processor has AVX2.
            count: |bytes| unsafe { avx2::count(bytes) },
            // SAFETY: the processor has AVX2.
            find_other: |bytes, skip| unsafe { avx2::find_other(bytes, skip) },
            // SAFETY: the processor has AVX2.
            combine: |op, sources, len, out| unsafe { avx2::combine(op, sources, len, out) },
        });
    }
    forms
}

#[test]
fn forms_count_and_find_alike_at_all_alignments() {
    let (mut rng, forms) = (Rng::from_seed(1), forms());
    for (len, kind) in LENGTHS
        .iter()
        .flat_map(|&len| [(len, 0), (len, 1), (len, 2)])
    {
        let all = random_bytes(&mut rng, len + 64, kind);
        for start in 0..64 {
            let bytes = &all[start..start + len];
            let ones: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
            for form in &forms {
                let name = form.name;
                assert_eq!(
                    (form.count)(bytes),
                    u64::from(ones),
                    "{name} {len} at {start}"
                );
                for skip in [0, 0xFF] {
                    let at = bytes.iter().position(|&byte| byte != skip);
                    assert_eq!(
                        (form.find_other)(bytes, skip),
                        at,
                        "{name} {len} at {start}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_only_other_byte_is_found_wherever_it_is() {
    for form in forms() {
        for len in [1, 31, 33, 127, 128, 129, 300] {
            for skip in [0, 0xFF] {
                let mut bytes = vec![skip; len];
                assert_eq!((form.find_other)(&bytes, skip), None, "{} {len}", form.name);
                for at in 0..len {
                    bytes[at] = !skip;
                    assert_eq!((form.find_other)(&bytes, skip), Some(at), "{}", form.name);
                    bytes[at] = skip;
                }
            }
        }
    }
}

/// What `op` makes of single bits.
fn combined(op: Op, bits: &[bool]) -> bool {
    let set = bits.iter().filter(|&&bit| bit).count();
    let (first, others) = (bits[0], set - usize::from(bits[0]));
    match op {
        Op::And => set == bits.len(),
        Op::Or => set > 0,
        Op::Xor => set % 2 == 1,
        Op::Not => !first,
        Op::Diff => first && others == 0,
        Op::Diff1 => !first && others > 0,
        Op::AndOr => first && others > 0,
        Op::One => set == 1,
    }
}

#[test]
fn forms_combine_alike_whatever_the_lengths() {
    let (mut rng, forms) = (Rng::from_seed(2), forms());
    for round in 0..96 {
        let op = OPS[round % OPS.len()];
        let number = match op {
            Op::Not => 1,
            Op::Diff | Op::Diff1 | Op::AndOr => 2 + rng.below(4) as usize,
            _ => 1 + rng.below(5) as usize,
        };
        let sources: Vec<Vec<u8>> = (0..number)
            .map(|_| {
                let len = LENGTHS[rng.below(LENGTHS.len() as u64) as usize];
                let kind = rng.next_u64();
                random_bytes(&mut rng, len, kind)
            })
            .collect();
        // Not where the allocator puts bytes.
        let sources: Vec<&[u8]> = sources
            .iter()
            .map(|bytes| &bytes[(rng.below(9) as usize).min(bytes.len())..])
            .collect();
        let len = sources.iter().map(|source| source.len()).max().unwrap();
        let bit_of = |at| {
            let bits: Vec<bool> = sources.iter().map(|source| bit(source, at)).collect();
            combined(op, &bits)
        };
        for form in &forms {
            let mut out = Vec::new();
            (form.combine)(op, &sources, len, &mut out);
            assert_eq!(out.len(), len);
            let wrong = (0..len as u64 * 8).find(|&at| bit(&out, at) != bit_of(at));
            assert_eq!(wrong, None, "{} {op:?} of {number}", form.name);
        }
    }
}

#[test]
fn results_are_appended() {
    let mut out = b"before".to_vec();
    combine(Op::Or, &[b"\x01", b"\x02\x04"], &mut out).unwrap();
    assert_eq!(&out[..], b"before\x03\x04");
    combine(Op::Or, &[], &mut out).unwrap();
    assert_eq!(&out[..], b"before\x03\x04");
}

#[test]
fn ranges_count_and_find_bit_by_bit() {
    let mut rng = Rng::from_seed(3);
    for round in 0..3000 {
        let len = [1, 2, 3, 9, 40, 700][round % 6];
        let kind = rng.next_u64();
        let bytes = random_bytes(&mut rng, len, kind);
        let total = len as u64 * 8;
        let (a, b) = (rng.below(total + 1), rng.below(total + 1));
        let range = a.min(b)..a.max(b);
        let ones = range.clone().filter(|&at| bit(&bytes, at)).count();
        assert_eq!(count_in(&bytes, range.clone()), ones as u64, "{range:?}");
        for wanted in [false, true] {
            let at = range.clone().find(|&at| bit(&bytes, at) == wanted);
            assert_eq!(find_in(&bytes, wanted, range.clone()), at, "{range:?}");
        }
    }
    assert_eq!(count_in(b"\xff", 0..9), 0, "outside");
    assert_eq!(find_in(b"", true, 0..0), None);
}

#[test]
fn fields_of_all_widths_are_read_and_written() {
    let mut rng = Rng::from_seed(4);
    for width in 1..=64 {
        for offset in 0..80 {
            let mut bytes = random_bytes(&mut rng, 18, 2);
            let before = bytes.clone();
            let value = rng.next_u64() >> (64 - width);
            set(&mut bytes, offset, width, value);
            assert_eq!(get(&bytes, offset, width), value, "{width} at {offset}");
            for at in 0..bytes.len() as u64 * 8 {
                let inside = (offset..offset + u64::from(width)).contains(&at);
                assert!(
                    inside || bit(&bytes, at) == bit(&before, at),
                    "{width} at {offset}"
                );
            }
            // The bits above are no part of it.
            let mut again = before.clone();
            set(
                &mut again,
                offset,
                width,
                value | !(u64::MAX >> (64 - width)),
            );
            assert_eq!(again, bytes);
        }
    }
}

#[test]
fn behind_the_end_are_zeros() {
    assert_eq!(get(b"\xff", 4, 8), 0xF0);
    assert_eq!(get(b"\xff", 4, 64), 0xF << 60);
    assert_eq!(get(b"\xff", 8, 1), 0);
    assert_eq!(get(b"", u64::MAX, 64), 0);
}

#[test]
fn zeros_have_the_room_that_they_should() {
    for (len, capacity) in [(0, 0), (0, 5), (7, 3), (100_000, 200_000)] {
        let mut buffer = zeros(len, capacity).unwrap();
        assert_eq!((buffer.len(), buffer.capacity()), (len, capacity.max(len)));
        assert!(buffer.iter().all(|&byte| byte == 0));
        buffer.push(1);
    }
    assert_eq!(zeros(usize::MAX, 0), None);
    assert_eq!(zeros(isize::MAX as usize, 0), None);
}
