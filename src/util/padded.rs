//! What threads write on cache lines of its own, so that it does not slow down those that read or write its
//! neighbours. Two lines of 64 bytes, since processors fetch them in pairs.
//!
//! For a word that many threads write all the time beside words that all of them read (`benches/locks.rs`
//! measures what a neighbour costs them). What is written seldom needs none.

/// A value alone on its cache lines.
#[repr(align(128))]
#[derive(Default, Debug)]
pub struct Padded<T>(pub T);

impl<T> std::ops::Deref for Padded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn neighbours_do_not_share_a_line() {
        assert_eq!(size_of::<Padded<AtomicU64>>(), 128);
        let both = [Padded(AtomicU64::new(0)), Padded(AtomicU64::new(0))];
        assert_eq!(
            (&raw const both[1]).addr() - (&raw const both[0]).addr(),
            128
        );
    }
}
