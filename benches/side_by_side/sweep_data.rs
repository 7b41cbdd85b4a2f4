//! What the workloads of the sweep meet: keys of every type and encoding, written once into each server.
//!
//! A part is a command that is repeated for so many keys and elements; its key begins with a prefix of
//! its own. Commands of the workloads name that prefix, which says what they need and how many keys and
//! elements there are to choose from. All parts together are some two million keys; nothing that is
//! measured makes them grow without bounds, so they are written once and any workload may come next.
//!
//! To add data: a line in `parts`.

use anyhow::{Context, Result, ensure};

use crate::client::{Reply, encode_head, encode_word, numbered};
use crate::data::FIRST_INTEGER;
use crate::load::Random;
use crate::options::Options;
use crate::scripts;
use crate::server::Server;

/// Commands per batch of a fill; of large values fewer.
const BATCH: u64 = 50;
const BATCH_BYTES: usize = 1 << 20;
/// Half of the elements of a key of middling size: what one has in common with every other.
const OVERLAP: u64 = 250;

/// A command and how often it is repeated to write the keys of one prefix.
///
/// Places in it: `%k` the key's number and `%e` the element's in twelve digits, `%o` the same, other
/// ones for half of the keys, `%f` the element's in six, `%i` an integer of eight digits, `%s` a pseudo-random score of six, `%x` and `%y` a pseudo-random
/// position on earth, `%v` the value, `%n` the element's number plus one, without leading zeros.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// What its keys begin with, or else a word of the commands that need it.
    pub(crate) prefix: &'static str,
    pub(crate) keys: u64,
    /// Per key.
    pub(crate) elements: u64,
    command: &'static str,
    /// Bytes of `%v`.
    bytes: usize,
}

/// A part whose values have 16 B.
fn part(prefix: &'static str, keys: u64, elements: u64, command: &'static str) -> Part {
    Part {
        prefix,
        keys: keys.max(1),
        elements: elements.max(1),
        command,
        bytes: 16,
    }
}

/// Everything that a workload may ask for.
pub(crate) fn parts(options: &Options) -> Vec<Part> {
    let of = |prefix, bytes, keys: u64, command| Part {
        bytes,
        ..part(prefix, keys, 1, command)
    };
    let (many, some) = (options.keys, (options.keys / 20).max(20));
    let few = (options.keys / 1000).max(20);
    let large = options.elements;
    let hash = "HSET %p%k f:%f %v";
    let list = "RPUSH %p%k item:%f";
    let set = "SADD %p%k mem:%e";
    let zset = "ZADD %p%k %s mem:%e";
    vec![
        part("str:", many, 1, "SET %p%k %v"),
        part("num:", some, 1, "SET %p%k 10"),
        part("flt:", some, 1, "SET %p%k 10.5"),
        part("ttl:", some, 1, "SET %p%k %v EX 100000"),
        of("kib:", 1 << 10, 10 * few, "SET %p%k %v"),
        of("k16:", 16 << 10, few, "SET %p%k %v"),
        of("mib:", 1 << 20, 20, "SET %p%k %v"),
        // Listpacks, then a table.
        part("hsh:", some, 10, hash),
        part("hct:", some, 10, "HSET %p%k f:%f 10"),
        part("hxp:", few, 10, hash),
        part(
            "hmd:",
            few,
            100,
            "HSET %p%k f:%f 0123456789012345678901234567890123456789\
            0123456789012345678901234567890123456789",
        ),
        part("HSH:", 1, large, "HSET %p%k f:%e %v"),
        Part {
            elements: 10,
            ..of("hkb:", 1 << 10, few, hash)
        },
        // One listpack, a few of them, many.
        part("lst:", some, 10, list),
        part("lmd:", few, 1000, list),
        part("LST:", 1, large, list),
        Part {
            elements: 10,
            ..of("lkb:", 1 << 10, few, "RPUSH %p%k %v")
        },
        // Listpacks, integers, tables.
        part("set:", some, 10, set),
        part("int:", some, 10, "SADD %p%k %i"),
        part("smd:", few, 500, "SADD %p%k mem:%o"),
        part("SET:", 1, large, set),
        part("spp:", 1, large / 10, set),
        part("zst:", some, 10, zset),
        part("zmd:", few, 500, "ZADD %p%k %s mem:%o"),
        part("zpp:", few, 500, zset),
        part("ZST:", 1, large, zset),
        part("stm:", few, 100, "XADD %p%k %n user 10001 action clicked"),
        part(
            "STM:",
            1,
            large / 10,
            "XADD %p%k %n user 10001 action clicked",
        ),
        part("grp:", 1000, 1, "XGROUP CREATE %p%k g $ MKSTREAM"),
        part("bit:", 1, 1, "SETBIT %p%k 8388607 1"),
        part("b16:", 100, 1, "SETBIT %p%k 131071 1"),
        part("hll:", 100, 3000, "PFADD %p%k mem:%e"),
        part("hls:", few, 10, "PFADD %p%k mem:%e"),
        part("geo:", 1, large / 10, "GEOADD %p%k %x %y mem:%e"),
        part("wat:", 1000, 1, "SET %p%k %v"),
        part("EVALSHA", 1, 1, "SCRIPT LOAD %R"),
        part("FCALL", 1, 1, "FUNCTION LOAD REPLACE %F"),
    ]
}

impl Part {
    /// Writes it all.
    pub(crate) fn write(&self, server: &Server) -> Result<()> {
        let words: Vec<Vec<Piece>> = self.command.split(' ').map(|w| self.pieces(w)).collect();
        let mut client = server.connect()?;
        let batch = (BATCH_BYTES / self.bytes).clamp(1, BATCH as usize) as u64;
        let mut word = Vec::new();
        client
            .fill(0..self.keys * self.elements, batch, |out, number| {
                encode_head(out, words.len());
                for pieces in &words {
                    word.clear();
                    for piece in pieces {
                        piece.write(&mut word, number / self.elements, number % self.elements);
                    }
                    encode_word(out, &word);
                }
            })
            .with_context(|| format!("filling {}", self.prefix))?;
        if self.command.contains("%k") {
            for number in [0, self.keys / 2, self.keys - 1] {
                let digits = &numbered(b"....", number)[4..];
                let key = [self.prefix.as_bytes(), digits].concat();
                let found = client.call(&[b"EXISTS", &key])?;
                ensure!(found == Reply::Int(1), "{} is missing", key.escape_ascii());
            }
        }
        Ok(())
    }

    fn pieces(&self, word: &str) -> Vec<Piece> {
        let mut split = word.split('%');
        let text = |text: &str| Piece::Text(text.as_bytes().to_vec());
        let mut pieces = vec![text(split.next().unwrap_or_default())];
        for rest in split {
            let letter = rest.as_bytes().first().copied().unwrap_or_default();
            pieces.push(match letter {
                b'p' => text(self.prefix),
                b'v' => Piece::Text(vec![b'v'; self.bytes]),
                b'R' => text(scripts::RELEASE),
                b'F' => text(scripts::LIBRARY),
                letter => Piece::Number(letter),
            });
            pieces.push(text(rest.get(1..).unwrap_or_default()));
        }
        pieces
    }
}

/// A stretch of a word.
enum Piece {
    Text(Vec<u8>),
    /// A number by its letter.
    Number(u8),
}

impl Piece {
    fn write(&self, out: &mut Vec<u8>, key: u64, element: u64) {
        let letter = match self {
            Self::Text(text) => return out.extend_from_slice(text),
            Self::Number(letter) => letter,
        };
        // The same for every server and every run.
        let random = Random(key << 32 | element).next();
        let mut digits = itoa::Buffer::new();
        match letter {
            b'k' => out.extend_from_slice(&numbered(b"....", key)[4..]),
            b'e' => out.extend_from_slice(&numbered(b"....", element)[4..]),
            b'o' => {
                let shifted = element + key % 2 * OVERLAP;
                out.extend_from_slice(&numbered(b"....", shifted)[4..]);
            }
            b'f' => out.extend_from_slice(&numbered(b"....", element % 1_000_000)[10..]),
            b'i' => out.extend_from_slice(digits.format(FIRST_INTEGER + element).as_bytes()),
            b'n' => out.extend_from_slice(digits.format(element + 1).as_bytes()),
            b's' => {
                let score = 100_000 + random % 900_000;
                out.extend_from_slice(digits.format(score).as_bytes());
            }
            b'x' => out.extend_from_slice(degrees(random >> 32, 360.0).as_bytes()),
            b'y' => out.extend_from_slice(degrees(random & 0xFFFF_FFFF, 170.0).as_bytes()),
            _ => out.push(b'?'),
        }
    }
}

/// A place in `-reach / 2 .. reach / 2`.
fn degrees(bits: u64, reach: f64) -> String {
    format!("{:.6}", (bits as f64 / f64::from(u32::MAX) - 0.5) * reach)
}
