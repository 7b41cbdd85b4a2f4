//! The data that loads meet and memory is measured with: so many keys of one kind with so many
//! elements each.
//!
//! Names are those that the loads draw: keys `key:` and twelve digits, members and wide fields
//! likewise, short fields `f:` and six digits. Scores are pseudo-random, so that a sorted set is not
//! filled in order. Every element is written once and a fill is checked by counting.

use anyhow::{Result, ensure};

use crate::client::{Client, Reply, encode_head, encode_word, numbered};
use crate::load::Random;
use crate::server::Server;

/// Elements per command of a fill.
const CHUNK: u64 = 10;
/// Commands per batch of a fill.
const BATCH: u64 = 50;
/// Set members that are integers begin here: eight digits, as their kind says.
pub(crate) const FIRST_INTEGER: u64 = 10_000_000;

/// What a key is and how its elements look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A string of 16 B.
    Text,
    /// Fields of 8 B, values of 10 B.
    Fields,
    /// Fields and values of 16 B.
    WideFields,
    /// Fields of 8 B, small integers.
    Counters,
    /// Fields of 16 B, small integers.
    WideCounters,
    /// A list of 10 B.
    Items,
    /// A set of 16 B.
    Members,
    /// A set of integers of eight digits.
    Integers,
    /// Members of 16 B, integer scores.
    Scored,
    /// Members of 16 B, random fractions as scores.
    Fractions,
}

impl Kind {
    /// The command that adds elements, and the one that counts them.
    fn commands(self) -> (&'static str, &'static str) {
        match self {
            Self::Text => ("SET", "STRLEN"),
            Self::Fields | Self::WideFields | Self::Counters | Self::WideCounters => {
                ("HSET", "HLEN")
            }
            Self::Items => ("RPUSH", "LLEN"),
            Self::Members | Self::Integers => ("SADD", "SCARD"),
            Self::Scored | Self::Fractions => ("ZADD", "ZCARD"),
        }
    }

    /// The command that counts the elements of a key.
    pub(crate) fn count_command(self) -> &'static [u8] {
        self.commands().1.as_bytes()
    }

    /// Words of one element.
    fn words(self) -> usize {
        match self {
            Self::Text | Self::Items | Self::Members | Self::Integers => 1,
            _ => 2,
        }
    }

    /// Appends one element.
    fn element(self, out: &mut Vec<u8>, number: u64) {
        let random = Random(number).next();
        let field = || -> [u8; 8] {
            let wide = numbered(b"f:..", number);
            std::array::from_fn(|i| if i < 2 { wide[i] } else { wide[8 + i] })
        };
        let mut digits = itoa::Buffer::new();
        match self {
            Self::Text => encode_word(out, b"0123456789abcdef"),
            Self::Fields => {
                encode_word(out, &field());
                encode_word(out, b"value-0123")
            }
            Self::WideFields => {
                encode_word(out, &numbered(b"fld:", number));
                encode_word(out, b"value-0123456789")
            }
            Self::Counters => {
                encode_word(out, &field());
                encode_word(out, b"1")
            }
            Self::WideCounters => {
                encode_word(out, &numbered(b"fld:", number));
                encode_word(out, b"1")
            }
            Self::Items => encode_word(out, &item(number)),
            Self::Members => encode_word(out, &numbered(b"mem:", number)),
            Self::Integers => encode_word(out, digits.format(FIRST_INTEGER + number).as_bytes()),
            Self::Scored => {
                encode_word(out, digits.format(random % 1_000_000).as_bytes());
                encode_word(out, &numbered(b"mem:", number))
            }
            Self::Fractions => {
                let score = (random >> 11) as f64 / (1u64 << 53) as f64;
                encode_word(out, score.to_string().as_bytes());
                encode_word(out, &numbered(b"mem:", number))
            }
        };
    }
}

/// A list's element: `item:` and five digits, which repeat.
fn item(number: u64) -> [u8; 10] {
    let wide = numbered(b"....", number % 100_000);
    let mut item = *b"item:00000";
    item[5..].copy_from_slice(&wide[11..]);
    item
}

/// Keys of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Data {
    pub(crate) kind: Kind,
    pub(crate) keys: u64,
    /// Per key.
    pub(crate) elements: u64,
    /// The second half of the keys has other elements: they begin half a key further on, so that a
    /// key of either half has half its elements in common with one of the other.
    pub(crate) overlap: bool,
}

impl Data {
    pub(crate) fn new(kind: Kind, keys: u64, elements: u64) -> Self {
        Self {
            kind,
            keys,
            elements,
            overlap: false,
        }
    }

    /// One key with all the elements.
    pub(crate) fn one(kind: Kind, elements: u64) -> Self {
        Self::new(kind, 1, elements)
    }

    /// The same with the second half of the keys shifted.
    pub(crate) fn overlapping(self) -> Self {
        Self {
            overlap: true,
            ..self
        }
    }

    /// Elements of all keys together.
    pub(crate) fn total(&self) -> u64 {
        self.keys * self.elements
    }

    /// Writes it all into an empty server and checks that it is there.
    pub(crate) fn write(&self, server: &Server) -> Result<()> {
        if self.total() > 0 {
            let commands = self.keys * self.elements.div_ceil(CHUNK);
            let mut client = server.connect()?;
            client.fill(0..commands, BATCH, |out, number| self.command(out, number))?;
        }
        self.check(&mut server.connect()?)
    }

    fn command(&self, out: &mut Vec<u8>, number: u64) {
        let chunks = self.elements.div_ceil(CHUNK);
        let (key, begin) = (number / chunks, number % chunks * CHUNK);
        let end = self.elements.min(begin + CHUNK);
        let shift = match self.overlap && key >= self.keys / 2 {
            true => self.elements / 2,
            false => 0,
        };
        let words = 2 + (end - begin) as usize * self.kind.words();
        encode_head(out, words);
        encode_word(out, self.kind.commands().0.as_bytes());
        encode_word(out, &numbered(b"key:", key));
        (begin..end).for_each(|element| self.kind.element(out, shift + element));
    }

    fn check(&self, client: &mut Client) -> Result<()> {
        if self.total() == 0 {
            return client.expect_keys(0);
        }
        client.expect_keys(self.keys)?;
        let expected = match self.kind {
            // STRLEN counts bytes.
            Kind::Text => 16,
            _ => i64::try_from(self.elements)?,
        };
        for key in [0, self.keys / 2, self.keys - 1] {
            let count = self.kind.count_command();
            let found = client.call(&[count, &numbered(b"key:", key)])?;
            ensure!(
                found == Reply::Int(expected),
                "key {key} of {self:?} has {found:?} elements"
            );
        }
        Ok(())
    }
}

/// Appends the command that adds one element to a key: what fills a single key one by one.
pub(crate) fn add_one(out: &mut Vec<u8>, kind: Kind, key: &[u8], number: u64) {
    encode_head(out, 2 + kind.words());
    encode_word(out, kind.commands().0.as_bytes());
    encode_word(out, key);
    kind.element(out, number);
}
