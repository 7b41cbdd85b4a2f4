//! Patterns of several selectors together, made to be matched fast: for a key or channel, which of the
//! selectors have a pattern for it.
//!
//! Most patterns are words, or beginnings (`cache:*`). Both stand in one sorted list, each with the
//! longest other beginning of it as its parent; the last one that is not above the key leads, by its
//! parents, to the longest that the key begins with, and that knows what all shorter ones allow. So
//! their number hardly matters. What remains is matched one by one, in linear time each, and only if
//! its literal beginning is the key's.
//!
//! Invariant: what is found is what `glob_match` says of each pattern, one by one.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use crate::util::glob::{glob_match, is_literal};

use super::selector::Access;

/// A bit for each of the first selectors.
pub type Mask = u16;

/// How many selectors have a bit; others are asked one by one.
pub const MASKED_MAX: usize = Mask::BITS as usize;

/// By what is needed, which selectors allow it.
type ByAccess = [Mask; Access::COUNT];

/// A word or a beginning.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Node {
    /// The first eight bytes as a number that sorts like them.
    head: u64,
    /// Which of its bits are those of bytes.
    head_bits: u64,
    bytes: Box<[u8]>,
    /// The longest other one that is a beginning of this; itself for none.
    parent: u32,
    /// For all that begins with it: what this one and its parents allow.
    begins: ByAccess,
    /// For itself, beyond that.
    equals: ByAccess,
}

impl Node {
    fn new((bytes, [begins, equals]): (&[u8], [ByAccess; 2])) -> Node {
        Node {
            head: head_of(bytes),
            head_bits: match bytes.len() {
                len @ 1..8 => u64::MAX << (64 - 8 * len),
                _ => u64::MAX,
            },
            bytes: bytes.into(),
            parent: 0,
            begins,
            equals,
        }
    }

    /// Whether a text begins with this, whose first bytes are `head`. Short ones need no look at memory.
    #[inline]
    fn begins(&self, text: &[u8], head: u64) -> bool {
        (self.head ^ head) & self.head_bits == 0
            && text.len() >= self.bytes.len()
            && (self.bytes.len() <= 8 || text.starts_with(&self.bytes))
    }
}

/// A pattern that is neither.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Glob {
    pattern: Box<[u8]>,
    /// So many bytes of it stand for themselves.
    literal: usize,
    allows: ByAccess,
}

impl Glob {
    fn new((pattern, allows): (&[u8], ByAccess)) -> Glob {
        let special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
        Glob {
            pattern: pattern.into(),
            literal: pattern.iter().position(special).unwrap_or(pattern.len()),
            allows,
        }
    }
}

/// See the module's text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Patterns {
    /// Selectors that allow everything.
    pub all: Mask,
    /// Sorted by their bytes; none of them is empty.
    nodes: Vec<Node>,
    /// By first byte, where its nodes begin; empty without nodes.
    starts: Vec<u32>,
    /// For what has at least one byte: `%R~*`.
    any: ByAccess,
    /// For what has none.
    empty: ByAccess,
    globs: Vec<Glob>,
}

#[inline]
fn head_of(bytes: &[u8]) -> u64 {
    if let Some(first) = bytes.first_chunk() {
        return u64::from_be_bytes(*first);
    }
    let mut head = [0; 8];
    let len = bytes.len().min(8);
    head[..len].copy_from_slice(&bytes[..len]);
    u64::from_be_bytes(head)
}

fn add(to: &mut ByAccess, selector: usize, access: Access) {
    for (needed, mask) in to.iter_mut().enumerate() {
        if access.index() & needed == needed {
            *mask |= 1 << selector;
        }
    }
}

fn add_all(to: &mut ByAccess, more: &ByAccess) {
    for (mask, more) in to.iter_mut().zip(more) {
        *mask |= more;
    }
}

impl Patterns {
    /// Patterns, each with the number of its selector and what it allows; `all` are those who need none.
    pub fn new<'p>(
        all: Mask,
        patterns: impl Iterator<Item = (usize, &'p [u8], Access)>,
    ) -> Patterns {
        let mut made = Patterns {
            all,
            ..Patterns::default()
        };
        let (mut nodes, mut globs) = (BTreeMap::new(), IndexMap::new());
        for (selector, pattern, access) in patterns {
            let is_star = |byte: &&u8| **byte == b'*';
            let stars = pattern.iter().rev().take_while(is_star).count();
            let beginning = &pattern[..pattern.len() - stars];
            let to: &mut ByAccess = match (is_literal(beginning), beginning) {
                (true, []) if stars > 0 => &mut made.any,
                (true, []) => &mut made.empty,
                (true, _) => {
                    let [begins, equals] = nodes.entry(beginning).or_default();
                    if stars > 0 { begins } else { equals }
                }
                (false, _) => globs.entry(pattern).or_default(),
            };
            add(to, selector, access);
        }
        made.nodes = nodes.into_iter().map(Node::new).collect();
        made.globs = globs.into_iter().map(Glob::new).collect();
        made.link();
        made
    }

    /// Finds the parents, takes over what they allow, and notes where each first byte begins.
    fn link(&mut self) {
        let any = self.any;
        for at in 0..self.nodes.len() {
            let (before, rest) = self.nodes.split_at_mut(at);
            let node = &mut rest[0];
            node.parent = at as u32;
            // In sorted order the longest beginning is the one before, or above that.
            let mut above = at.checked_sub(1);
            while let Some(candidate) = above {
                let parent = &before[candidate];
                if node.bytes.starts_with(&parent.bytes) {
                    node.parent = candidate as u32;
                    break;
                }
                above = (parent.parent as usize != candidate).then_some(parent.parent as usize);
            }
            match node.parent as usize {
                own if own == at => add_all(&mut node.begins, &any),
                parent => add_all(&mut node.begins, &before[parent].begins),
            }
        }
        if !self.nodes.is_empty() {
            let start = |first: usize| {
                let is_below = |node: &Node| usize::from(node.bytes[0]) < first;
                self.nodes.partition_point(is_below) as u32
            };
            self.starts = (0..=256).map(start).collect();
        }
    }

    /// Which of the `wanted` selectors allow what is needed of this key or channel.
    #[inline]
    pub fn matching(&self, text: &[u8], needed: Access, wanted: Mask) -> Mask {
        let mut found = self.all & wanted;
        if found == wanted {
            return found;
        }
        let needed = needed.index();
        let Some(&first) = text.first() else {
            return found | self.empty[needed] & wanted;
        };
        found |= match self.longest(text, first) {
            None => self.any[needed],
            Some(node) if node.bytes.len() == text.len() => {
                node.begins[needed] | node.equals[needed]
            }
            Some(node) => node.begins[needed],
        };
        found &= wanted;
        if found == wanted || self.globs.is_empty() {
            return found;
        }
        found | self.by_globs(text, needed, wanted & !found)
    }

    /// The longest node that the text begins with.
    #[inline]
    fn longest(&self, text: &[u8], first: u8) -> Option<&Node> {
        let start = *self.starts.get(usize::from(first))? as usize;
        let end = self.starts[usize::from(first) + 1] as usize;
        let nodes = &self.nodes[start..end];
        let head = head_of(text);
        let is_not_above = |node: &Node| match node.head.cmp(&head) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => *node.bytes <= *text,
            std::cmp::Ordering::Greater => false,
        };
        let mut at = (start + nodes.partition_point(is_not_above)).checked_sub(1)?;
        if at < start {
            return None;
        }
        loop {
            let node = &self.nodes[at];
            if node.begins(text, head) {
                return Some(node);
            }
            match node.parent as usize {
                parent if parent == at => return None,
                parent => at = parent,
            }
        }
    }

    fn by_globs(&self, text: &[u8], needed: usize, wanted: Mask) -> Mask {
        let mut found = 0;
        for glob in &self.globs {
            let may = glob.allows[needed] & wanted & !found;
            if may != 0
                && text.starts_with(&glob.pattern[..glob.literal])
                && glob_match(&glob.pattern, text, false)
            {
                found |= may;
            }
        }
        found
    }
}
