//! Patterns that clients have subscribed to.
//!
//! They stand under what a channel must begin with to match: the bytes before the first special one.
//! So a message is compared with the patterns only that its channel's beginnings lead to, one lookup
//! for each length of beginning that there is, however many patterns there are.
//!
//! A message looks for its patterns while none can come or go, but by as many threads as there are;
//! only those whose message matches any go one after the other, which gives all subscribers of
//! patterns the same order.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;

use crate::client::{ClientId, Registry, Shared};
use crate::ds::footprint;
use crate::util::check::{Checked, holds};
use crate::util::glob::glob_match;

use super::channels::NameHash;
use super::message::Message;
use super::subscribers::Subscribers;

/// See the module's text.
#[derive(Default)]
pub(super) struct Patterns {
    known: RwLock<Known>,
    /// Held while messages are posted.
    order: Mutex<()>,
    count: AtomicUsize,
}

type Alike = BTreeMap<Arc<[u8]>, Subscribers>;

#[derive(Default)]
struct Known {
    by_beginning: HashMap<Box<[u8]>, Alike, NameHash>,
    /// How many beginnings there are of each length.
    lengths: BTreeMap<usize, usize>,
}

impl Known {
    /// The patterns with this one's beginning.
    fn alike(&mut self, pattern: &[u8]) -> &mut Alike {
        let beginning = beginning_of(pattern);
        if !self.by_beginning.contains_key(beginning) {
            *self.lengths.entry(beginning.len()).or_default() += 1;
        }
        self.by_beginning.entry(beginning.into()).or_default()
    }

    /// Forgets a beginning that no pattern has any more.
    fn forget(&mut self, pattern: &[u8]) {
        let beginning = beginning_of(pattern);
        self.by_beginning.remove(beginning);
        if let Some(count) = self.lengths.get_mut(&beginning.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&beginning.len());
            }
        }
    }

    /// Those that a channel matches.
    fn matching<'k>(
        &'k self,
        channel: &'k [u8],
    ) -> impl Iterator<Item = (&'k Arc<[u8]>, &'k Subscribers)> {
        let lengths = self.lengths.range(..=channel.len());
        let alike = lengths.filter_map(|(&length, _)| self.by_beginning.get(&channel[..length]));
        let matches = |(pattern, _): &(&Arc<[u8]>, _)| glob_match(pattern, channel, false);
        alike.flatten().filter(matches)
    }
}

/// What a channel must begin with to match a pattern.
fn beginning_of(pattern: &[u8]) -> &[u8] {
    let is_special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
    let end = pattern.iter().position(is_special);
    &pattern[..end.unwrap_or(pattern.len())]
}

impl Patterns {
    /// Adds a client that has not subscribed to the pattern; the pattern to be shared.
    pub(super) fn add(&self, pattern: &[u8], client: &Arc<Shared>) -> Arc<[u8]> {
        let mut known = self.known.write();
        let alike = known.alike(pattern);
        if let Some((name, _)) = alike.get_key_value(pattern) {
            let name = name.clone();
            alike.entry(name.clone()).or_default().add(client);
            return name;
        }
        let name: Arc<[u8]> = pattern.into();
        alike.entry(name.clone()).or_default().add(client);
        self.count.fetch_add(1, Ordering::SeqCst);
        name
    }

    /// Takes a client out.
    pub(super) fn remove(&self, pattern: &[u8], id: ClientId) {
        let mut known = self.known.write();
        let alike = known.alike(pattern);
        if let Some(subscribers) = alike.get_mut(pattern)
            && subscribers.remove(id)
        {
            alike.remove(pattern);
            self.count.fetch_sub(1, Ordering::SeqCst);
        }
        if alike.is_empty() {
            known.forget(pattern);
        }
    }

    /// Memory of the tables but for the patterns, which are counted with the clients, about, bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let known = self.known.read();
        let beginnings = known.by_beginning.len();
        let alike = self.len().div_ceil(beginnings.max(1));
        let capacity = known.by_beginning.capacity();
        footprint::hash_table_bytes(capacity, size_of::<(Box<[u8]>, Alike)>())
            + beginnings * footprint::btree_bytes(alike, size_of::<(Arc<[u8]>, Subscribers)>())
    }

    /// Calls `visit` with each pattern and each of its subscribers.
    pub(super) fn for_each_subscription(&self, mut visit: impl FnMut(&[u8], &Shared)) {
        let known = self.known.read();
        for (name, subscribers) in known.by_beginning.values().flatten() {
            subscribers.iter().for_each(|client| visit(name, client));
        }
    }

    /// Whether beginnings and patterns are those that are there, and counted.
    pub(super) fn check(&self) -> Checked {
        let known = self.known.read();
        let (mut count, mut lengths) = (0, BTreeMap::new());
        for (beginning, alike) in &known.by_beginning {
            *lengths.entry(beginning.len()).or_insert(0) += 1;
            count += alike.len();
            let shown = beginning.escape_ascii();
            holds!(!alike.is_empty(), "no pattern begins with {shown}");
            let mut names = alike.keys();
            let is_so = names.all(|name| beginning_of(name) == &**beginning);
            holds!(is_so, "a pattern does not begin with {shown}");
            let mut subscribers = alike.values();
            let is_so = subscribers.all(|subscribers| !subscribers.is_empty());
            holds!(is_so, "nobody has subscribed to a pattern");
        }
        let said = self.len();
        holds!(
            count == said && lengths == known.lengths,
            "{said} patterns with beginnings of {:?} are {count} with {lengths:?}",
            known.lengths
        );
        Ok(())
    }

    /// Number of patterns.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// True without any.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sends a message to all who have subscribed to a pattern that matches; how many
    /// subscriptions these are.
    #[cold]
    pub(super) fn publish(
        &self,
        clients: &Registry,
        channel: &[u8],
        message: &mut Message<'_>,
    ) -> usize {
        let known = self.known.read();
        let matching: SmallVec<[_; 8]> = known.matching(channel).collect();
        if matching.is_empty() {
            return 0;
        }
        let pushes: SmallVec<[_; 8]> = matching
            .iter()
            .map(|(pattern, _)| message.encode(&[b"pmessage", pattern, channel]))
            .collect();
        let _order = self.order.lock();
        let posts = matching.iter().zip(&pushes);
        posts
            .map(|((_, subscribers), push)| clients.post_all(subscribers, push))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Endpoint;

    #[test]
    fn beginnings_lead_to_what_comparing_with_all_finds() {
        let patterns: [&[u8]; 16] = [
            b"*", b"", b"a", b"ab", b"abc", b"a*", b"ab*", b"a?c", b"[a]bc", b"\\abc", b"*c",
            b"abc*", b"abcd", b"b*", b"a[b]*", b"a\\bc",
        ];
        let endpoint = Endpoint::local("");
        let client = Registry::default().connect(endpoint, -1, 0);
        let table = Patterns::default();
        for (at, pattern) in patterns.iter().enumerate() {
            table.add(pattern, &client);
            assert_eq!(table.len(), at + 1);
        }
        for channel in [&b""[..], b"a", b"ab", b"abc", b"abcd", b"b", b"*", b"a*"] {
            let known = table.known.read();
            let mut found: Vec<&[u8]> = known.matching(channel).map(|(name, _)| &**name).collect();
            let mut wanted = patterns.to_vec();
            wanted.retain(|pattern| glob_match(pattern, channel, false));
            found.sort();
            wanted.sort();
            assert_eq!(found, wanted, "{channel:?}");
        }
        patterns
            .iter()
            .for_each(|name| table.remove(name, client.id));
        let known = table.known.read();
        assert!(table.is_empty() && known.by_beginning.is_empty() && known.lengths.is_empty());
    }
}
