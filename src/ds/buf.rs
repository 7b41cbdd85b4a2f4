//! Bytes that can be edited in place: what the compact encodings are written over.
//!
//! A listpack or an intset lies either in a buffer of its own (`Vec<u8>`) or inside a key's entry
//! ([`EntrySlot`](crate::ds::entry::EntrySlot)). Their edits are the same: put some bytes in the
//! place of others. To edit another kind of storage, implement [`Buf`] for it.

/// Bytes of a cache line.
const LINE_BYTES: usize = 64;

/// Bytes that can grow and shrink anywhere.
pub trait Buf {
    /// All bytes.
    fn bytes(&self) -> &[u8];

    /// All bytes, to be changed without a change of length.
    fn bytes_mut(&mut self) -> &mut [u8];

    /// Puts `insert` in the place of the `remove` bytes at `at`. Panics if they are not all there.
    fn splice(&mut self, at: usize, remove: usize, insert: &[u8]);
}

impl Buf for Vec<u8> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }

    fn splice(&mut self, at: usize, remove: usize, insert: &[u8]) {
        let tail = at + remove;
        let old_len = self.len();
        assert!(tail <= old_len, "{tail} beyond {old_len}");
        if insert.len() > remove {
            self.resize(old_len + insert.len() - remove, 0);
        }
        self.copy_within(tail..old_len, at + insert.len());
        self[at..at + insert.len()].copy_from_slice(insert);
        self.truncate(old_len - remove + insert.len());
    }
}

/// Asks for all cache lines of `bytes`, which a walk would ask for one after the other.
#[inline]
pub fn prefetch(bytes: &[u8]) {
    for line in bytes.chunks(LINE_BYTES) {
        crate::ds::table::prefetch(line.as_ptr());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splices_as_std_does() {
        for at in 0..6 {
            for remove in 0..6 - at {
                for insert in [&b""[..], b"x", b"long enough to grow"] {
                    let mut ours = b"abcdef".to_vec();
                    let mut model = ours.clone();
                    Buf::splice(&mut ours, at, remove, insert);
                    model.splice(at..at + remove, insert.iter().copied());
                    assert_eq!(ours, model);
                }
            }
        }
    }
}
