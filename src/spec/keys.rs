//! Key positions as data: one evaluator for shard locks, ACL, COMMAND GETKEYS and prefetch.
//!
//! A spec says where the search begins and how the keys follow (Redis's key specifications:
//! <https://valkey.io/topics/key-specs/>). Every number that comes from a client is checked: a
//! request whose specs lead outside of it gives [`BadKeys`], never a panic.

use super::flags::bit_set;
use crate::resp::parse::Argv;
use crate::util::num;

bit_set! {
    /// What a command does with the keys of a spec.
    KeyFlags: u16 {
        /// Reads the value, changes nothing.
        RO = 0;
        /// Reads and changes.
        RW = 1;
        /// Overwrites without reading.
        OW = 2;
        /// Removes.
        RM = 3;
        /// Returns user data of it.
        ACCESS = 4;
        /// Changes user data of it.
        UPDATE = 5;
        /// Adds data and removes none.
        INSERT = 6;
        /// May remove data.
        DELETE = 7;
        /// Not a key, but treated as one for routing.
        NOT_KEY = 8;
        /// The spec may miss keys.
        INCOMPLETE = 9;
        /// The flags depend on the arguments.
        VARIABLE_FLAGS = 10;
    }
}

impl KeyFlags {
    /// Names as COMMAND INFO and GETKEYSANDFLAGS give them, in their order.
    pub const NAMES: &[(KeyFlags, &str)] = &[
        (KeyFlags::RO, "RO"),
        (KeyFlags::RW, "RW"),
        (KeyFlags::OW, "OW"),
        (KeyFlags::RM, "RM"),
        (KeyFlags::ACCESS, "access"),
        (KeyFlags::UPDATE, "update"),
        (KeyFlags::INSERT, "insert"),
        (KeyFlags::DELETE, "delete"),
        (KeyFlags::NOT_KEY, "not_key"),
        (KeyFlags::INCOMPLETE, "incomplete"),
        (KeyFlags::VARIABLE_FLAGS, "variable_flags"),
    ];
}

/// Where the search for keys begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begin {
    /// At this argument (the name is argument 0).
    Index(u16),
    /// Behind the first argument that is this word, in any case, searched from an argument on.
    Keyword {
        /// The word.
        keyword: &'static str,
        /// Where the search for it begins; negative: backwards, counted from the end.
        from: i16,
    },
    /// No rule says it; see [`KeySpec::unknown`].
    Unknown,
}

/// How keys follow from where the search began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Find {
    /// From the beginning to `last` (relative; negative: counted from the end), every `step`th
    /// argument.
    Range {
        /// Last key relative to the first; -1 is the last argument.
        last: i32,
        /// Distance between keys.
        step: u16,
        /// If not 0, only so many times fewer arguments than there are belong to the keys, and a
        /// negative `last` counts from the end of those: 2 for half of them.
        limit: u16,
    },
    /// The number of keys is itself an argument.
    Keynum {
        /// Where the number is, relative to the beginning.
        num: u16,
        /// The first key, relative to the beginning.
        first: u16,
        /// Distance between keys.
        step: u16,
    },
    /// No rule says it; see [`KeySpec::unknown`].
    Unknown,
}

/// Finds the key of an unknown spec, or the first one behind a keyword, in a request: its position.
pub type Finder = fn(Argv<'_>) -> Option<usize>;

/// One key specification.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// What happens to the keys.
    pub flags: KeyFlags,
    /// Where the search begins.
    pub begin: Begin,
    /// How the keys follow.
    pub find: Find,
    /// A remark that COMMAND INFO shows.
    pub notes: &'static str,
    /// What happens to the keys of one request, when that depends on its arguments; see
    /// [`KeySpec::varying`].
    pub varying: Option<fn(Argv<'_>) -> KeyFlags>,
    /// How the key of an unknown spec, or the first one behind a keyword, is found.
    pub finder: Option<Finder>,
}

impl KeySpec {
    /// One key at argument `index`.
    pub const fn at(index: u16, flags: KeyFlags) -> KeySpec {
        KeySpec::range(index, 0, 1, flags)
    }

    /// Keys from argument `index` to `last` (relative; negative: from the end), every `step`th.
    pub const fn range(index: u16, last: i32, step: u16, flags: KeyFlags) -> KeySpec {
        KeySpec {
            flags,
            begin: Begin::Index(index),
            find: Find::Range {
                last,
                step,
                limit: 0,
            },
            notes: "",
            varying: None,
            finder: None,
        }
    }

    /// As many keys as argument `index` says, beginning `first` behind it.
    pub const fn keynum(index: u16, first: u16, step: u16, flags: KeyFlags) -> KeySpec {
        KeySpec {
            flags,
            begin: Begin::Index(index),
            find: Find::Keynum {
                num: 0,
                first,
                step,
            },
            notes: "",
            varying: None,
            finder: None,
        }
    }

    /// A key that no rule finds: the code of `finder` does, or nobody, when it does not stand in the
    /// request at all (SORT's patterns).
    pub const fn unknown(finder: Option<Finder>, flags: KeyFlags) -> KeySpec {
        KeySpec {
            flags,
            begin: Begin::Unknown,
            find: Find::Unknown,
            notes: "",
            varying: None,
            finder,
        }
    }

    /// One key behind the word `keyword`, which is searched from argument `from` on. The finder says
    /// where it is in a request, since commands do not take every such word for it.
    pub const fn keyword(
        keyword: &'static str,
        from: i16,
        finder: Finder,
        flags: KeyFlags,
    ) -> KeySpec {
        KeySpec {
            begin: Begin::Keyword { keyword, from },
            find: Find::Range {
                last: 0,
                step: 1,
                limit: 0,
            },
            ..KeySpec::unknown(Some(finder), flags)
        }
    }

    /// Keys in the first half of what follows a word (XREAD's STREAMS); see [`KeySpec::keyword`].
    pub const fn halves(
        keyword: &'static str,
        from: i16,
        finder: Finder,
        flags: KeyFlags,
    ) -> KeySpec {
        KeySpec {
            begin: Begin::Keyword { keyword, from },
            find: Find::Range {
                last: -1,
                step: 1,
                limit: 2,
            },
            ..KeySpec::unknown(Some(finder), flags)
        }
    }

    /// Adds a remark.
    pub const fn notes(mut self, notes: &'static str) -> KeySpec {
        self.notes = notes;
        self
    }

    /// Says that `flags` decides what happens to the keys of a request; the spec's own flags tell
    /// the worst.
    pub const fn varying(mut self, flags: fn(Argv<'_>) -> KeyFlags) -> KeySpec {
        self.flags = self.flags.and(KeyFlags::VARIABLE_FLAGS);
        self.varying = Some(flags);
        self
    }

    /// False for what only looks like a key (a sharded channel).
    pub const fn is_key(&self) -> bool {
        !self.flags.has(KeyFlags::NOT_KEY)
    }

    /// What a request does with the keys of this spec.
    pub fn flags_in(&self, argv: Argv<'_>) -> KeyFlags {
        match self.varying {
            Some(flags) => flags(argv),
            None => self.flags,
        }
    }
}

/// The specs lead outside of the request: a wrong number of keys, say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadKeys;

/// Calls `found(position, spec)` for every key of the request, in the order of the specs.
pub fn for_each_key(
    specs: &'static [KeySpec],
    argv: Argv<'_>,
    mut found: impl FnMut(usize, &'static KeySpec),
) -> Result<(), BadKeys> {
    for spec in specs {
        let begin = match spec.begin {
            Begin::Index(begin) => Some(begin as usize),
            _ => spec.finder.and_then(|finder| finder(argv)),
        };
        let Some(begin) = begin else { continue };
        let (first, last, step) = match spec.find {
            Find::Unknown => (begin, begin, 1),
            Find::Range { last, step, limit } => {
                let end = match limit {
                    0 => argv.len(),
                    limit => begin + argv.len().saturating_sub(begin) / limit as usize,
                };
                let last = match last {
                    0.. => begin + last as usize,
                    _ => end
                        .checked_sub(last.unsigned_abs() as usize)
                        .ok_or(BadKeys)?,
                };
                (begin, last, step as usize)
            }
            Find::Keynum { num, first, step } => {
                let number = argv.get(begin + num as usize).ok_or(BadKeys)?;
                let number = num::parse_i64(number).and_then(|n| usize::try_from(n).ok());
                let number = number.filter(|&n| n > 0).ok_or(BadKeys)?;
                let first = begin + first as usize;
                let last = (number - 1)
                    .checked_mul(step as usize)
                    .and_then(|n| n.checked_add(first));
                (first, last.ok_or(BadKeys)?, step as usize)
            }
        };
        if last < first || last >= argv.len() {
            return Err(BadKeys);
        }
        for position in (first..=last).step_by(step) {
            found(position, spec);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::parse::Span;

    fn keys(specs: &'static [KeySpec], argv: &[&str]) -> Result<Vec<usize>, BadKeys> {
        let mut bytes = Vec::new();
        let mut spans = Vec::new();
        for arg in argv {
            spans.push(Span {
                start: bytes.len() as u32,
                len: arg.len() as u32,
            });
            bytes.extend_from_slice(arg.as_bytes());
        }
        let mut found = Vec::new();
        let argv = Argv::new(&bytes, &spans);
        for_each_key(specs, argv, |position, _| found.push(position)).map(|()| found)
    }

    #[test]
    fn ranges_count_from_both_ends() {
        const DEL: &[KeySpec] = &[KeySpec::range(1, -1, 1, KeyFlags::RM)];
        const MSET: &[KeySpec] = &[KeySpec::range(1, -1, 2, KeyFlags::OW)];
        assert_eq!(keys(DEL, &["del", "a", "b"]), Ok(vec![1, 2]));
        assert_eq!(keys(MSET, &["mset", "a", "1", "b", "2"]), Ok(vec![1, 3]));
        assert_eq!(keys(DEL, &["del"]), Err(BadKeys));
    }

    #[test]
    fn keys_may_be_half_of_what_follows_a_word() {
        let behind = |argv: Argv<'_>| {
            let at = argv.iter().position(|arg| arg == b"STREAMS");
            Some(at.map_or(argv.len(), |at| at + 1))
        };
        static READ: std::sync::OnceLock<[KeySpec; 1]> = std::sync::OnceLock::new();
        let read = READ.get_or_init(|| [KeySpec::halves("STREAMS", 1, behind, KeyFlags::RO)]);
        let cases: &[(&str, Result<Vec<usize>, BadKeys>)] = &[
            ("x STREAMS a 0", Ok(vec![2])),
            ("x COUNT 1 STREAMS a b 0 0", Ok(vec![4, 5])),
            ("x STREAMS a b 0", Ok(vec![2])),
            ("x STREAMS a", Err(BadKeys)),
            ("x STREAMS", Err(BadKeys)),
            ("x a 0", Err(BadKeys)),
        ];
        for (line, expected) in cases {
            let argv: Vec<&str> = line.split(' ').collect();
            assert_eq!(&keys(read, &argv), expected, "{line}");
        }
    }

    #[test]
    fn numbers_of_keys_that_lie_are_refused() {
        const MSETEX: &[KeySpec] = &[KeySpec::keynum(1, 1, 2, KeyFlags::OW)];
        assert_eq!(
            keys(MSETEX, &["msetex", "2", "a", "1", "b", "2"]),
            Ok(vec![2, 4])
        );
        for number in [
            "0",
            "-1",
            "3",
            "x",
            "9223372036854775807",
            "18446744073709551616",
        ] {
            assert_eq!(
                keys(MSETEX, &["msetex", number, "a", "1", "b", "2"]),
                Err(BadKeys),
                "{number}"
            );
        }
    }
}
