//! How many nodes Redis's radix tree has. Kivi has no such tree; XINFO STREAM tells the number.
//!
//! Keys are ids of sixteen bytes, big endian. Wherever keys part there is a node with a byte for each
//! branch. What they have in common up to there, and behind the byte of a branch, is a node of its
//! own. Where a key ends there is one more.

use super::StreamId;

/// How deep keys go, bytes.
const KEY_BYTES: u32 = 16;

/// How many nodes the tree of these keys has, which ascend.
pub(super) fn nodes_of(keys: impl Iterator<Item = StreamId>) -> usize {
    let mut nodes = 0;
    // The depths of the ends of the common parts that lead to the last key, and its own.
    let mut path: Vec<u32> = Vec::with_capacity(KEY_BYTES as usize + 1);
    let mut last: Option<StreamId> = None;
    for key in keys {
        if let Some(last) = last {
            let common = common_bytes(last, key);
            while let Some(depth) = path.pop_if(|depth| *depth > common) {
                let above = path.last().map_or(common, |&above| above.max(common));
                nodes += edge_nodes(depth - above);
            }
            if path.last() != Some(&common) {
                path.push(common);
            }
        }
        path.push(KEY_BYTES);
        last = Some(key);
    }
    while let Some(depth) = path.pop() {
        nodes += match (path.last(), depth) {
            (Some(above), _) => edge_nodes(depth - above),
            (None, 0) => 1,
            (None, _) => 2,
        };
    }
    // The root is there without keys, too.
    nodes.max(1)
}

/// The nodes of a branch with so many bytes, the first of which stands in the node above.
fn edge_nodes(bytes: u32) -> usize {
    if bytes > 1 { 2 } else { 1 }
}

fn common_bytes(a: StreamId, b: StreamId) -> u32 {
    match (a.ms ^ b.ms).leading_zeros() {
        64 => 8 + (a.seq ^ b.seq).leading_zeros() / 8,
        bits => bits / 8,
    }
}
