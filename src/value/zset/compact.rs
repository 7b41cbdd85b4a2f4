//! The small form of a sorted set: bytes in its key's entry.
//!
//! | bytes | |
//! |---|---|
//! | 2 | number of members, little endian; 65535: unknown, count them |
//! | ... | member, score, member, score, in their order |
//!
//! Members and scores are elements of a listpack as Redis has them; only the listpack's header and
//! its end byte are not kept, which say what the entry knows anyway. Files get them back by
//! `listpack::from_entries`. The 5 bytes that this saves are what lets ten members of 16 bytes with
//! scores of six digits, and their key, fit the size class of 256 bytes instead of that of 320.
//!
//! Places are byte offsets (`at`) of members.

use std::cmp::Ordering;
use std::collections::HashSet;

use smallvec::{Array, SmallVec};

use super::Member;
use crate::ds::buf::Buf;
use crate::ds::listpack::{self, Scratch};
use crate::util::check::{Checked, holds};
use crate::util::num;

/// No members.
pub(super) const EMPTY: [u8; COUNT_BYTES] = [0; COUNT_BYTES];

const COUNT_BYTES: usize = 2;
const COUNT_UNKNOWN: u16 = u16::MAX;
/// Whole scores up to this one are integers; so are all that `num::fmt_double` writes as such.
const WHOLE_MAX: f64 = (1u64 << 62) as f64;
/// Heads of integers of two and three bytes.
const INT_2: u8 = 0xF1;
const INT_3: u8 = 0xF2;
/// Lists of more bytes are brought into the cache before they are walked through...
const PREFETCH_BYTES_MIN: usize = 96;
/// ... as far as this; the processor sees by then where the walk goes.
const PREFETCH_BYTES_MAX: usize = 1024;

/// See the module.
#[derive(Clone, Copy)]
pub struct Compact<'a> {
    bytes: &'a [u8],
}

impl<'a> Compact<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Compact { bytes }
    }

    /// All bytes.
    pub(super) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The listpack that Redis has in its place.
    pub(super) fn to_listpack<A: Array<Item = u8>>(self) -> SmallVec<A> {
        let elements = match self.count() {
            COUNT_UNKNOWN => usize::MAX,
            members => 2 * usize::from(members),
        };
        let (mut listpack, mut head) = (SmallVec::new(), [0; listpack::HEADER_BYTES]);
        let entries = &self.bytes[COUNT_BYTES..];
        for part in listpack::parts_of_entries(entries, elements, &mut head) {
            listpack.extend_from_slice(part);
        }
        listpack
    }

    fn count(self) -> u16 {
        u16::from_le_bytes([self.bytes[0], self.bytes[1]])
    }

    /// Number of members.
    #[inline]
    pub(super) fn len(self) -> usize {
        match self.count() {
            COUNT_UNKNOWN => self.iter_from(COUNT_BYTES, usize::MAX).count(),
            count => usize::from(count),
        }
    }

    fn end(self) -> usize {
        self.bytes.len()
    }

    /// Asks for what a walk is going to read.
    #[inline]
    fn prefetch(self) {
        if self.bytes.len() > PREFETCH_BYTES_MIN {
            let ahead = self.bytes.len().min(PREFETCH_BYTES_MAX);
            crate::ds::buf::prefetch(&self.bytes[..ahead]);
        }
    }

    /// Where a member is.
    #[inline]
    pub(super) fn find(self, member: &[u8]) -> Option<usize> {
        self.prefetch();
        listpack::find_entry(self.bytes, COUNT_BYTES, member, 1)
    }

    /// The member at a place, its score, and the next place.
    #[inline]
    pub(super) fn read(self, at: usize) -> (Member<'a>, f64, usize) {
        let (member, score_at) = listpack::read_entry(self.bytes, at);
        let (element, next) = listpack::read_entry(self.bytes, score_at);
        (member, score_of(element), next)
    }

    /// The score of the member at a place.
    #[inline]
    pub(super) fn score(self, at: usize) -> f64 {
        self.score_and_next(at).0
    }

    /// The place before a place.
    #[inline]
    pub(super) fn prev(self, at: usize) -> Option<usize> {
        (at > COUNT_BYTES).then(|| {
            let score_at = listpack::prev_entry(self.bytes, at);
            listpack::prev_entry(self.bytes, score_at)
        })
    }

    /// How many members are before a place.
    pub(super) fn rank_of(self, at: usize) -> usize {
        let (mut elements, mut before) = (0, COUNT_BYTES);
        while before < at {
            before = listpack::next_entry(self.bytes, before);
            elements += 1;
        }
        elements / 2
    }

    /// The place of the member of a rank, or the end.
    pub(super) fn place(self, rank: usize) -> usize {
        let len = self.len();
        let bytes = self.bytes;
        if rank >= len {
            self.end()
        } else if rank <= len / 2 {
            (0..2 * rank).fold(COUNT_BYTES, |at, _| listpack::next_entry(bytes, at))
        } else {
            let elements = 2 * (len - rank);
            (0..elements).fold(self.end(), |at, _| listpack::prev_entry(bytes, at))
        }
    }

    /// Up to `count` members from a place on.
    #[inline]
    pub(super) fn iter_from(self, at: usize, count: usize) -> Forward<'a> {
        Forward {
            list: self,
            at,
            left: count,
        }
    }

    /// Up to `count` members from the one before a place down.
    pub(super) fn iter_before(self, at: usize, count: usize) -> Backward<'a> {
        Backward {
            list: self,
            at,
            left: count,
        }
    }

    /// The score of the member at a place, and the next place.
    #[inline]
    fn score_and_next(self, at: usize) -> (f64, usize) {
        let score_at = listpack::next_entry(self.bytes, at);
        // Four bytes are read at once of an integer of two or three.
        if let Some(&[head, a, b, c]) = self.bytes.get(score_at..).and_then(<[u8]>::first_chunk) {
            match head {
                INT_2 => return (f64::from(i16::from_le_bytes([a, b])), score_at + 4),
                INT_3 => {
                    return (
                        f64::from(i32::from_le_bytes([0, a, b, c]) >> 8),
                        score_at + 5,
                    );
                }
                _ => {}
            }
        }
        let (element, next) = listpack::read_entry(self.bytes, score_at);
        (score_of(element), next)
    }

    /// How the member at a place, whose score is `found`, orders against another.
    #[inline]
    fn compare(self, at: usize, found: f64, new: (Member<'_>, f64)) -> Ordering {
        match found.partial_cmp(&new.1) {
            Some(order) if order.is_ne() => order,
            // Few scores are equal, so few members are read.
            _ => compare((listpack::read_entry(self.bytes, at).0, found), new),
        }
    }

    /// Where a new member belongs.
    fn place_for(self, member: Member<'_>, score: f64) -> usize {
        let new = (member, score);
        // Scores are often times or counters, which grow.
        if self
            .prev(self.end())
            .is_none_or(|last| self.compare(last, self.score_and_next(last).0, new).is_lt())
        {
            return self.end();
        }
        let mut at = COUNT_BYTES;
        while at < self.end() {
            let (found, next) = self.score_and_next(at);
            if self.compare(at, found, new).is_gt() {
                break;
            }
            at = next;
        }
        at
    }
}

/// Members upwards.
pub struct Forward<'a> {
    list: Compact<'a>,
    at: usize,
    left: usize,
}

impl<'a> Iterator for Forward<'a> {
    type Item = (Member<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<(Member<'a>, f64)> {
        self.left = self.left.checked_sub(1)?;
        if self.at >= self.list.end() {
            return None;
        }
        let (member, score, next) = self.list.read(self.at);
        self.at = next;
        Some((member, score))
    }
}

/// Members downwards.
pub struct Backward<'a> {
    list: Compact<'a>,
    at: usize,
    left: usize,
}

impl<'a> Iterator for Backward<'a> {
    type Item = (Member<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<(Member<'a>, f64)> {
        self.left = self.left.checked_sub(1)?;
        self.at = self.list.prev(self.at)?;
        let (member, score, _) = self.list.read(self.at);
        Some((member, score))
    }
}

/// How two members with their scores order.
#[inline]
pub fn compare(a: (Member<'_>, f64), b: (Member<'_>, f64)) -> Ordering {
    let by_score = a.1.partial_cmp(&b.1).unwrap_or(Ordering::Equal);
    by_score.then_with(|| match (a.0, b.0) {
        (Member::Bytes(a), Member::Bytes(b)) => a.cmp(b),
        (a, b) => {
            let (mut a_digits, mut b_digits) = (itoa::Buffer::new(), itoa::Buffer::new());
            a.bytes(&mut a_digits).cmp(b.bytes(&mut b_digits))
        }
    })
}

/// The score that an element is.
#[inline]
fn score_of(element: Member<'_>) -> f64 {
    match element {
        Member::Int(int) => int as f64,
        // Only what came from a file can be anything else than a float's text.
        Member::Bytes(text) => num::parse_f64(text).unwrap_or_default(),
    }
}

/// Appends the element that a score is.
#[inline]
fn push_score(entries: &mut Scratch, score: f64) {
    if score.fract() == 0.0 && score.abs() <= WHOLE_MAX {
        return listpack::push_entry(entries, Member::Int(score as i64));
    }
    let mut text = Vec::new();
    num::fmt_double(score, &mut text);
    listpack::push_entry(entries, Member::from(&text[..]));
}

/// The two elements of a member.
fn pair(member: Member<'_>, score: f64) -> Scratch {
    let mut entries = Scratch::new();
    listpack::push_entry(&mut entries, member);
    push_score(&mut entries, score);
    entries
}

/// Appends a member that comes after all others.
pub(super) fn push(bytes: &mut Vec<u8>, member: Member<'_>, score: f64) {
    bytes.extend_from_slice(&pair(member, score));
    add_to_count(bytes, 1);
}

/// The set of these raw elements: members and scores, `count` together.
pub(super) fn of_entries(entries: &[u8], count: usize) -> Vec<u8> {
    let mut bytes = EMPTY.to_vec();
    bytes.reserve_exact(entries.len());
    bytes.extend_from_slice(entries);
    add_to_count(&mut bytes, i64::try_from(count / 2).unwrap_or(i64::MAX));
    bytes
}

/// Adds a member that is not there.
pub(super) fn insert(buf: &mut impl Buf, member: &[u8], score: f64) {
    let member = Member::from(member);
    let at = Compact::new(buf.bytes()).place_for(member, score);
    buf.splice(at, 0, &pair(member, score));
    add_to_count(buf.bytes_mut(), 1);
}

/// Removes `count` members from a place on.
pub(super) fn remove(buf: &mut impl Buf, at: usize, count: usize) {
    let bytes = buf.bytes();
    let step = |at: usize| listpack::next_entry(bytes, at);
    let (mut end, mut removed) = (at, 0);
    while removed < count && end < bytes.len() {
        end = step(step(end));
        removed += 1;
    }
    buf.splice(at, end - at, &[]);
    add_to_count(buf.bytes_mut(), -(removed as i64));
}

/// Gives the member at a place another score.
pub(super) fn set_score(buf: &mut impl Buf, at: usize, score: f64) {
    let list = Compact::new(buf.bytes());
    let (member, _, end) = list.read(at);
    let new = (member, score);
    let compared = |at: usize| list.compare(at, list.score(at), new);
    let stays = list.prev(at).is_none_or(|before| compared(before).is_lt())
        && (end == list.end() || compared(end).is_gt());
    let member_len = listpack::next_entry(buf.bytes(), at) - at;
    let mut entry = Scratch::new();
    push_score(&mut entry, score);
    let mut score_at = at + member_len;
    if !stays {
        // The pair goes to its new place first, as it is.
        let to = list.place_for(member, score);
        if to > at {
            buf.bytes_mut()[at..to].rotate_left(end - at);
            score_at = to - (end - at) + member_len;
        } else {
            buf.bytes_mut()[to..end].rotate_right(end - at);
            score_at = to + member_len;
        }
    }
    let old_len = end - at - member_len;
    if entry.len() == old_len {
        buf.bytes_mut()[score_at..score_at + old_len].copy_from_slice(&entry);
    } else {
        buf.splice(score_at, old_len, &entry);
    }
}

/// Keeps the number of members right.
fn add_to_count(bytes: &mut [u8], added: i64) {
    let count = u16::from_le_bytes([bytes[0], bytes[1]]);
    if count != COUNT_UNKNOWN {
        let count = u16::try_from(i64::from(count) + added).unwrap_or(COUNT_UNKNOWN);
        bytes[..COUNT_BYTES].copy_from_slice(&count.to_le_bytes());
    }
}

/// Whether a member of so many bytes can be added: no list becomes longer than Redis's may.
pub(super) fn fits(bytes: usize, more_bytes: usize) -> bool {
    listpack::fits(bytes, more_bytes)
}

/// Whether the bytes are what they should be.
pub(super) fn check(list: Compact<'_>) -> Checked {
    let is_long = list.bytes.len() >= COUNT_BYTES;
    let elements = is_long.then(|| listpack::count_entries(&list.bytes[COUNT_BYTES..]));
    holds!(
        elements.flatten() == Some(2 * list.len()),
        "{elements:?} elements"
    );
    let members: Vec<_> = list.iter_from(COUNT_BYTES, usize::MAX).collect();
    holds!(
        members.is_sorted_by(|&a, &b| compare(a, b).is_lt()),
        "members are not in order"
    );
    let texts = members.iter().map(|(member, _)| member.to_vec());
    let different = texts.collect::<HashSet<_>>().len();
    holds!(different == members.len(), "a member is there twice");
    Ok(())
}
