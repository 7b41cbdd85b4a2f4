//! Prefixes of keys, and who tracks them.
//!
//! In order, so that the prefixes of a key are found by steps to the left: each step looks at the
//! greatest prefix that is not behind what is left of the key. It either is a prefix of the key, or
//! says how much of the key the next one can have at most. So a change costs by the prefixes that it
//! concerns, not by those that there are.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::client::{ClientId, Shared};

/// See the module's text.
#[derive(Default)]
pub(super) struct Prefixes {
    groups: BTreeMap<Box<[u8]>, Group>,
    /// Prefixes that went away since [`Prefixes::has_lost_many`] said so.
    lost: usize,
}

/// Those who track a prefix.
pub(super) struct Group {
    /// How many prefixes had been made before it.
    pub(super) made: u64,
    members: BTreeMap<ClientId, Arc<Shared>>,
}

impl Prefixes {
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Adds a client to a prefix; true if the prefix was not there. `made`: see [`Group::made`].
    pub(super) fn join(&mut self, prefix: &[u8], client: &Arc<Shared>, made: u64) -> bool {
        let before = self.groups.len();
        let group = self.groups.entry(prefix.into()).or_insert_with(|| Group {
            made,
            members: BTreeMap::new(),
        });
        group.members.insert(client.id, client.clone());
        self.groups.len() > before
    }

    /// Takes a client from a prefix, and the prefix away with the last one.
    pub(super) fn leave(&mut self, prefix: &[u8], client: ClientId) {
        if let Some(group) = self.groups.get_mut(prefix) {
            group.members.remove(&client);
            if group.members.is_empty() {
                self.groups.remove(prefix);
                self.lost += 1;
            }
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &[u8]> {
        self.groups.keys().map(|prefix| &**prefix)
    }

    /// Whether at least as many have gone as are there: then a filter of them is worth its making.
    pub(super) fn has_lost_many(&mut self) -> bool {
        let has = self.lost > 0 && self.lost >= self.groups.len();
        if has {
            self.lost = 0;
        }
        has
    }

    /// Those who track a prefix.
    pub(super) fn members(&self, prefix: &[u8]) -> impl Iterator<Item = &Arc<Shared>> {
        let groups = self.groups.get(prefix).into_iter();
        groups.flat_map(|group| group.members.values())
    }

    /// The prefixes that a key has, the longest first.
    pub(super) fn of<'p>(&'p self, key: &[u8]) -> impl Iterator<Item = (&'p [u8], &'p Group)> {
        let mut bound = Some(Bound::Included(key));
        std::iter::from_fn(move || {
            loop {
                let upper = bound.take()?;
                let mut earlier = self.groups.range::<[u8], _>((Bound::Unbounded, upper));
                let (prefix, group) = earlier.next_back()?;
                let common = key.iter().zip(prefix).take_while(|(a, b)| a == b).count();
                if common == prefix.len() {
                    // What is left are prefixes of this one.
                    bound = Some(Bound::Excluded(&key[..common]));
                    return Some((&**prefix, group));
                }
                bound = Some(Bound::Included(&key[..common]));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Endpoint, Registry};
    use crate::util::rng::Rng;

    #[test]
    fn the_prefixes_of_a_key_are_all_found() {
        let endpoint = Endpoint::local("");
        let client = Registry::default().connect(endpoint, -1, 0);
        let mut rng = Rng::from_seed(1);
        let mut word = |len_max: u64| -> Vec<u8> {
            let len = rng.below(len_max + 1);
            (0..len)
                .map(|_| [0, b'a', 255][rng.below(3) as usize])
                .collect()
        };
        for _ in 0..200 {
            let mut prefixes = Prefixes::default();
            let mut words: Vec<Vec<u8>> = (0..12).map(|_| word(5)).collect();
            words.iter().for_each(|prefix| {
                prefixes.join(prefix, &client, 0);
            });
            words.sort();
            words.dedup();
            words.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
            for _ in 0..20 {
                let key = word(7);
                let expected: Vec<&[u8]> = words
                    .iter()
                    .filter(|prefix| key.starts_with(prefix))
                    .map(|prefix| &**prefix)
                    .collect();
                let found: Vec<&[u8]> = prefixes.of(&key).map(|(prefix, _)| prefix).collect();
                assert_eq!(found, expected, "{key:?} in {words:?}");
            }
        }
    }

    #[test]
    fn a_prefix_goes_with_its_last_client() {
        let clients = Registry::default();
        let connect = || {
            let endpoint = Endpoint::local("");
            clients.connect(endpoint, -1, 0)
        };
        let (a, b) = (connect(), connect());
        let mut prefixes = Prefixes::default();
        assert!(prefixes.join(b"k", &a, 0));
        assert!(!prefixes.join(b"k", &b, 1));
        assert_eq!(prefixes.members(b"k").count(), 2);
        prefixes.leave(b"k", a.id);
        prefixes.leave(b"k", a.id);
        assert_eq!(prefixes.len(), 1);
        prefixes.leave(b"k", b.id);
        assert!(prefixes.is_empty());
    }
}
