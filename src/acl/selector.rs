//! One set of permissions: commands, keys, channels and databases that go together. A user has one of
//! its own, the root, and those that stand in parentheses in its rules.
//!
//! A selector is what rules say, kept so that it can be told again; `compiled` is what is asked.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::{IndexMap, IndexSet};

use crate::spec::{AclCategories, KeyFlags};

use super::catalog::Catalog;
use super::rules::RuleError;

/// First arguments of a selector: each is looked for among all of them.
const FIRST_ARGS_MAX: usize = 1024;

/// What may be done with the keys that match a pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Access(u8);

impl Access {
    /// Nothing of the value: to know that a key is there.
    pub const NONE: Access = Access(0);
    /// `%R~`: values may be read.
    pub const READ: Access = Access(1);
    /// `%W~`: values may be changed.
    pub const WRITE: Access = Access(2);
    /// `~`: both.
    pub const ALL: Access = Access(3);
    /// How many there are.
    pub const COUNT: usize = 4;

    /// What a command needs that does this to a key.
    #[inline]
    pub fn needed_by(flags: KeyFlags) -> Access {
        const CHANGES: KeyFlags = KeyFlags::INSERT.and(KeyFlags::DELETE).and(KeyFlags::UPDATE);
        let read = flags.has(KeyFlags::ACCESS) as u8;
        let write = flags.any(CHANGES) as u8;
        Access(read | write << 1)
    }

    /// Both together.
    pub const fn and(self, other: Access) -> Access {
        Access(self.0 | other.0)
    }

    /// Whether this is enough for that.
    pub const fn has(self, other: Access) -> bool {
        self.0 & other.0 == other.0
    }

    /// As the index of a table with [`Access::COUNT`] places.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A set of commands: a bit for each number. Past the words, all bits are `rest`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CommandSet {
    words: Vec<u64>,
    rest: bool,
}

impl CommandSet {
    fn fill(&mut self, value: bool) {
        self.words.clear();
        self.rest = value;
    }

    fn set(&mut self, id: u16, value: bool) {
        let (word, bit) = (usize::from(id) / 64, 1u64 << (id % 64));
        if word >= self.words.len() {
            let rest = if self.rest { u64::MAX } else { 0 };
            self.words.resize(word + 1, rest);
        }
        match value {
            true => self.words[word] |= bit,
            false => self.words[word] &= !bit,
        }
    }

    /// Whether a command is one of them.
    pub fn has(&self, id: u16) -> bool {
        let word = self.words.get(usize::from(id) / 64);
        word.map_or(self.rest, |word| word >> (id % 64) & 1 != 0)
    }

    /// Whether every command is.
    pub fn is_all(&self) -> bool {
        self.rest && self.words.iter().all(|&word| word == u64::MAX)
    }
}

/// See the module's text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selector {
    /// `allkeys`.
    pub all_keys: bool,
    /// `~pattern`, in the order in which they came, and what may be done with such keys.
    pub keys: IndexMap<Box<[u8]>, Access>,
    /// `allchannels`.
    pub all_channels: bool,
    /// `&pattern`.
    pub channels: IndexSet<Box<[u8]>>,
    /// `alldbs`.
    pub all_dbs: bool,
    /// `db=`.
    pub dbs: BTreeSet<u32>,
    /// Commands that may be called with any arguments.
    pub commands: CommandSet,
    /// `+command|argument`: by the command's number, first arguments with which it may be called.
    pub first_args: BTreeMap<u16, Vec<Box<[u8]>>>,
    /// Rules about commands since the last `+@all` or `-@all`, as they are told again: allowed or not,
    /// and what.
    rules: Vec<(bool, Vec<u8>)>,
    /// How many first arguments there are.
    first_args_count: usize,
}

impl Selector {
    /// Nothing is allowed but any database, and any channel if that is the default.
    pub fn new(all_channels: bool) -> Selector {
        Selector {
            all_keys: false,
            keys: IndexMap::new(),
            all_channels,
            channels: IndexSet::new(),
            all_dbs: true,
            dbs: BTreeSet::new(),
            commands: CommandSet::default(),
            first_args: BTreeMap::new(),
            rules: Vec::new(),
            first_args_count: 0,
        }
    }

    /// Everything is allowed.
    pub fn unrestricted() -> Selector {
        let mut selector = Selector::new(true);
        selector.all_keys = true;
        selector.all_commands(true);
        selector
    }

    /// Whether nothing is forbidden.
    pub fn is_unrestricted(&self) -> bool {
        self.all_keys && self.all_channels && self.all_dbs && self.commands.is_all()
    }

    /// `allkeys` and `resetkeys`.
    pub fn set_all_keys(&mut self, all: bool) {
        self.all_keys = all;
        self.keys.clear();
    }

    /// `~pattern` and its like.
    pub fn add_keys(&mut self, pattern: &[u8], access: Access) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::AllKeysAlready);
        }
        let known = self.keys.entry(pattern.into()).or_default();
        *known = known.and(access);
        Ok(())
    }

    /// `allchannels` and `resetchannels`.
    pub fn set_all_channels(&mut self, all: bool) {
        self.all_channels = all;
        self.channels.clear();
    }

    /// `&pattern`.
    pub fn add_channels(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::AllChannelsAlready);
        }
        self.channels.insert(pattern.into());
        Ok(())
    }

    /// `alldbs` and `resetdbs`.
    pub fn set_all_dbs(&mut self, all: bool) {
        self.all_dbs = all;
        self.dbs.clear();
    }

    /// `db=`: these and no others.
    pub fn set_dbs(&mut self, dbs: BTreeSet<u32>) {
        self.all_dbs = false;
        self.dbs = dbs;
    }

    /// `+@all` and `-@all`.
    pub fn all_commands(&mut self, allow: bool) {
        self.commands.fill(allow);
        self.first_args.clear();
        self.first_args_count = 0;
        self.rules.clear();
    }

    /// `+command` and `-command`; of a container, its subcommands, too.
    pub fn command(&mut self, id: u16, allow: bool, catalog: &Catalog) {
        self.set_command(id, allow, catalog);
        if let Some(entry) = catalog.entry(id) {
            self.add_rule(allow, entry.full_name.as_bytes());
        }
    }

    fn set_command(&mut self, id: u16, allow: bool, catalog: &Catalog) {
        self.commands.set(id, allow);
        let gone = self.first_args.remove(&id);
        self.first_args_count -= gone.map_or(0, |gone| gone.len());
        let subcommands = catalog.entry(id).map(|entry| &entry.subcommands[..]);
        for &subcommand in subcommands.unwrap_or_default() {
            self.commands.set(subcommand, allow);
        }
    }

    /// `+@category` and `-@category`, the name with its `@`.
    pub fn category(
        &mut self,
        name: &[u8],
        category: AclCategories,
        allow: bool,
        catalog: &Catalog,
    ) {
        self.add_rule(allow, name);
        for (id, entry) in catalog.entries() {
            if entry.categories.has(category) {
                self.set_command(id, allow, catalog);
            }
        }
    }

    /// `+command|argument` of a command without subcommands.
    pub fn first_arg(&mut self, id: u16, argument: &[u8], rule: &[u8]) -> Result<(), RuleError> {
        let allowed = self.first_args.entry(id).or_default();
        if !allowed
            .iter()
            .any(|known| known.eq_ignore_ascii_case(argument))
        {
            if self.first_args_count == FIRST_ARGS_MAX {
                return Err(RuleError::TooMany);
            }
            self.first_args_count += 1;
            allowed.push(argument.into());
        }
        self.add_rule(true, rule);
        Ok(())
    }

    /// What no longer counts is not told again: the same rule, and those about a part of it.
    fn add_rule(&mut self, allow: bool, rule: &[u8]) {
        let rule = rule.to_ascii_lowercase();
        self.rules.retain(|(_, known)| {
            let rest = known.strip_prefix(&rule[..]);
            !rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'|')
        });
        self.rules.push((allow, rule));
    }

    /// The rules about commands, told again.
    pub fn commands_text(&self) -> Vec<u8> {
        let mut text = match self.commands.rest {
            true => b"+@all".to_vec(),
            false => b"-@all".to_vec(),
        };
        for (allow, rule) in &self.rules {
            text.extend_from_slice(if *allow { b" +" } else { b" -" });
            text.extend_from_slice(rule);
        }
        text
    }

    /// The rules about keys.
    pub fn keys_text(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let words = self.keys.iter().map(|(pattern, &access)| {
            let sign: &[u8] = match access {
                Access::READ => b"%R~",
                Access::WRITE => b"%W~",
                _ => b"~",
            };
            [sign, pattern].concat()
        });
        words.collect::<Vec<_>>().join(&b' ')
    }

    /// The rules about channels.
    pub fn channels_text(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let words = self.channels.iter().map(|known| [b"&", &**known].concat());
        words.collect::<Vec<_>>().join(&b' ')
    }

    /// The rules about databases.
    pub fn dbs_text(&self) -> Vec<u8> {
        if self.all_dbs {
            return b"alldbs".to_vec();
        }
        if self.dbs.is_empty() {
            return Vec::new();
        }
        let numbers: Vec<String> = self.dbs.iter().map(u32::to_string).collect();
        format!("db={}", numbers.join(",")).into_bytes()
    }

    /// All of it, as ACL LIST shows it.
    pub fn describe(&self) -> Vec<u8> {
        let mut words = Vec::new();
        if self.all_keys || !self.keys.is_empty() {
            words.push(self.keys_text());
        }
        if !self.all_channels {
            words.push(b"resetchannels".to_vec());
        }
        if self.all_channels || !self.channels.is_empty() {
            words.push(self.channels_text());
        }
        match (self.all_dbs, self.dbs.is_empty()) {
            (true, _) => {}
            (false, true) => words.push(b"resetdbs".to_vec()),
            (false, false) => words.push(self.dbs_text()),
        }
        words.push(self.commands_text());
        words.join(&b' ')
    }
}
