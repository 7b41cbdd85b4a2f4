//! How many nodes Redis's radix tree has. Kivi has no such tree; XINFO STREAM tells the number.
//!
//! Keys are ids of sixteen bytes, big endian. Wherever keys part there is a node with a byte for each
//! branch. What they have in common up to there, and behind the byte of a branch, is a node of its
//! own. Where a key ends there is one more.
//!
//! The number is kept as keys come and go: what one key adds depends only on the keys around it, and on those
//! around all that begin as it does ([`Around`]). [`nodes_of`] counts all, to check that.

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
        nodes += way_nodes(depth, path.last().copied());
    }
    // The root is there without keys, too.
    nodes.max(1)
}

/// How many bytes a key has in common with the one of its neighbours that is more like it; `None` without any.
pub(super) fn shared_bytes(
    key: StreamId,
    before: Option<StreamId>,
    after: Option<StreamId>,
) -> Option<u32> {
    [before, after]
        .into_iter()
        .flatten()
        .map(|other| common_bytes(key, other))
        .max()
}

/// The first and the last of all ids that have so many bytes in common with one; less than all.
pub(super) fn alike(id: StreamId, bytes: u32) -> (StreamId, StreamId) {
    let rest = u128::MAX >> (8 * bytes);
    let number = u128::from(id.ms) << 64 | u128::from(id.seq);
    let id = |number: u128| StreamId::new((number >> 64) as u64, number as u64);
    (id(number & !rest), id(number | rest))
}

/// Keys around those that have [`shared_bytes`] in common with one which is not among them.
pub(super) struct Around {
    /// The last key before those that are [`alike`].
    pub(super) before: Option<StreamId>,
    /// The first and the last of these.
    pub(super) alike: (StreamId, StreamId),
    /// The first key behind them.
    pub(super) after: Option<StreamId>,
}

/// How many nodes more the tree has with this key than without; at least one.
pub(super) fn growth(key: StreamId, shared: u32, around: &Around) -> usize {
    let leaf = edge_nodes(KEY_BYTES - shared);
    let below = common_bytes(around.alike.0, around.alike.1);
    if below == shared {
        // They part here already.
        return leaf;
    }
    let above = shared_bytes(key, around.before, around.after);
    let split = way_nodes(shared, above) + edge_nodes(below - shared);
    split + leaf - way_nodes(below, above)
}

/// The nodes that lead from the branch above, or the root, to what is there at a depth, and that itself.
fn way_nodes(depth: u32, above: Option<u32>) -> usize {
    match (above, depth) {
        (Some(above), _) => edge_nodes(depth - above),
        (None, 0) => 1,
        (None, _) => 2,
    }
}

/// The nodes of a tree of one key.
pub(super) const ONE_KEY: usize = 2;

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
