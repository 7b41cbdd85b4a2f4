//! LZF there and back, against its format, and against nonsense.

use super::*;
use crate::util::rng::Rng;

#[track_caller]
fn round_trip(input: &[u8]) -> usize {
    let mut packed = b"before".to_vec();
    assert!(compress(input, usize::MAX, &mut packed));
    assert!(packed.starts_with(b"before"));
    let packed = packed.split_off(6);
    let mut out = b"before".to_vec();
    assert!(decompress(&packed, input.len(), &mut out));
    assert_eq!(&out[6..], input);
    // No other length will do.
    for len in [input.len() + 1, input.len().wrapping_sub(1)] {
        assert!(!decompress(&packed, len, &mut out), "{len}");
        assert_eq!(out.len(), 6 + input.len());
    }
    packed.len()
}

#[test]
fn the_format_is_as_documented() {
    let mut out = Vec::new();
    assert!(compress(b"abcabcabcx", usize::MAX, &mut out));
    // Three literals, six bytes from three back, one literal.
    assert_eq!(out, b"\x02abc\x80\x02\x00x");
    out.clear();
    assert!(compress(&[b'a'; 300], usize::MAX, &mut out));
    // One literal, 264 bytes from one back, 35 more from where those began.
    assert_eq!(out, [0, b'a', 0xE0, 255, 0, 0xE1, 26, 7]);
}

#[test]
fn what_others_wrote_is_read() {
    let mut out = Vec::new();
    assert!(decompress(
        &[1, 97, 97, 224, 187, 0, 1, 97, 97],
        200,
        &mut out
    ));
    assert_eq!(out, [97; 200]);
    // The farthest distance.
    let mut packed = Vec::new();
    let input: Vec<u8> = (0..DISTANCE_MAX).map(|n| (n * 7 / 3) as u8).collect();
    push_literals(&input, &mut packed);
    packed.extend_from_slice(&[0x20 | 0x1F, 0xFF]);
    out.clear();
    assert!(decompress(&packed, DISTANCE_MAX + 3, &mut out));
    assert_eq!(out[DISTANCE_MAX..], input[..3]);
}

#[test]
fn everything_comes_back() {
    let mut rng = Rng::from_seed(1);
    for round in 0..400 {
        let len = rng.index([2, 70, 600, 40_000][round % 4]);
        let letters = 1 + rng.below([1, 3, 30, 255][round / 4 % 4]);
        let mut input: Vec<u8> = (0..len).map(|_| rng.below(letters) as u8).collect();
        if round % 3 == 0 && len > 10 {
            // Repetitions over long distances.
            let half = len / 2;
            input.copy_within(..half, len - half);
        }
        round_trip(&input);
    }
    assert!(round_trip(&b"element:000001 element:000002 ".repeat(100)) < 120);
}

#[test]
fn nothing_is_written_beyond_the_limit() {
    let mut rng = Rng::from_seed(2);
    let mut noise = vec![0; 1000];
    rng.fill(&mut noise);
    let mut out = vec![1];
    assert!(!compress(&noise, 999, &mut out));
    assert_eq!(out, [1]);
    let full = round_trip(&[7; 1000]);
    assert!(compress(&[7; 1000], full, &mut out));
    assert!(!compress(&[7; 1000], full - 1, &mut out));
    assert_eq!(out.len(), 1 + full);
}

#[test]
fn nonsense_is_refused() {
    let mut rng = Rng::from_seed(3);
    let mut out = Vec::new();
    for round in 0..20_000 {
        let mut input = vec![0; rng.index(40)];
        rng.fill(&mut input);
        if round % 2 == 0 {
            input.iter_mut().for_each(|byte| *byte %= 48);
        }
        let len = rng.index(200);
        let valid = decompress(&input, len, &mut out);
        assert_eq!(out.len(), if valid { len } else { 0 });
        out.clear();
    }
    // A claim that cannot be true allocates nothing.
    assert!(!decompress(&[0xE0, 255, 0], usize::MAX, &mut out));
    assert!(out.capacity() < 1 << 20);
    for cut in [&[0x20][..], &[0xE0], &[0xE0, 1], &[3, 1, 2], &[0x20, 0]] {
        assert!(!decompress(cut, 3, &mut out), "{cut:?}");
    }
}
