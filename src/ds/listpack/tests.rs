use super::*;

#[test]
fn basic() {
    let mut lp = EMPTY.to_vec();
    append(&mut lp, b"hello");
    prepend(&mut lp, b"1024");
    assert_eq!(lp, b"\x11\0\0\0\x02\0\xc4\0\x02\x85hello\x06\xff");
    assert!(validate(&lp));
}
