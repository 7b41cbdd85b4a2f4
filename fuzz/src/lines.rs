//! Inputs as people write them: a command a line, quoted as redis-cli has it, so that a corpus can be read
//! and a crash be tried by hand; and how such inputs are changed, as text or by lines and words.
//!
//! A line that begins with `@` is for the target, see [`Line`].

use kivi::commands::CommandTable;
use kivi::util::ascii;
use kivi::util::num;
use kivi::util::rng::Rng;
use libfuzzer_sys::fuzzer_mutate;

use crate::{put, words};

/// What a line asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    /// `GET key`: a command.
    Command(Vec<Vec<u8>>),
    /// `@2`: what follows is another client's.
    Client(usize),
    /// `@+500`: so many milliseconds pass.
    Pass(u64),
    /// `@reload`: the keyspace is written as a file and loaded again.
    Reload,
    /// `@expire`: what is due is deleted.
    Expire,
}

/// The lines of an input; what is none is passed over.
pub fn lines(input: &[u8]) -> impl Iterator<Item = Line> {
    input.split(|&byte| byte == b'\n').filter_map(line)
}

fn line(text: &[u8]) -> Option<Line> {
    if let Some(rest) = text.strip_prefix(b"@") {
        return match rest {
            b"reload" => Some(Line::Reload),
            b"expire" => Some(Line::Expire),
            [b'+', ms @ ..] => num::parse_u64(ms).map(|ms| Line::Pass(ms % 100_000_000)),
            number => num::parse_u64(number).map(|number| Line::Client(number as usize)),
        };
    }
    let words: Vec<Vec<u8>> = ascii::split_args(text)?
        .iter()
        .map(|word| word.to_vec())
        .collect();
    (!words.is_empty()).then_some(Line::Command(words))
}

/// The words of a line as text again.
pub fn text(words: &[Vec<u8>]) -> Vec<u8> {
    let mut text = Vec::new();
    for (at, word) in words.iter().enumerate() {
        if at > 0 {
            text.push(b' ');
        }
        let plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"'\\".contains(byte);
        match !word.is_empty() && word.iter().all(plain) {
            true => text.extend_from_slice(word),
            false => ascii::repr_arg(word, &mut text),
        }
    }
    text
}

/// A changed input, in place of the one in the first `size` bytes of `data`; how long it is. One time in
/// three libFuzzer changes bytes; else lines and words are changed.
pub fn mutate(
    table: &CommandTable,
    families: &[&str],
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
) -> usize {
    let mut rng = Rng::from_seed(seed.into());
    if rng.below(3) == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let mut lines: Vec<Vec<u8>> = match size {
        0 => Vec::new(),
        _ => data[..size]
            .split(|&byte| byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect(),
    };
    for _ in 0..1 + rng.below(4) {
        change_lines(table, families, &mut lines, &mut rng);
    }
    put(data, max_size, lines.join(&b'\n'))
}

fn change_lines(table: &CommandTable, families: &[&str], lines: &mut Vec<Vec<u8>>, rng: &mut Rng) {
    let at = rng.index(lines.len() + 1);
    let is_line = at < lines.len();
    match rng.below(16) {
        0 if is_line => drop(lines.remove(at)),
        1 if is_line => {
            let copy = lines[rng.index(lines.len())].clone();
            lines.insert(at, copy);
        }
        2 if is_line => {
            let other = rng.index(lines.len());
            lines.swap(at, other);
        }
        3 => {
            let aside = words::aside(rng);
            lines.insert(at, aside.into());
        }
        4..9 if is_line => {
            if let Some(mut words) = ascii::split_args(&lines[at]).map(owned) {
                change_words(&mut words, lines, rng);
                lines[at] = text(&words);
            }
        }
        _ => lines.insert(at, text(&words::request(table, families, rng))),
    }
}

fn owned(words: ascii::Words) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.to_vec()).collect()
}

fn change_words(words: &mut Vec<Vec<u8>>, lines: &[Vec<u8>], rng: &mut Rng) {
    let at = rng.index(words.len() + 1);
    let is_word = at < words.len();
    match rng.below(8) {
        0 if is_word => drop(words.remove(at)),
        1 if is_word => {
            let copy = words[rng.index(words.len())].clone();
            words.insert(at, copy);
        }
        2 if is_word => {
            let other = rng.index(words.len());
            words.swap(at, other);
        }
        3 => words.insert(at, words::any(rng)),
        4 if is_word => {
            // One that another line has: the same key, mostly.
            let other = ascii::split_args(&lines[rng.index(lines.len())]).map(owned);
            let other = other.unwrap_or_default();
            if !other.is_empty() {
                words[at] = other[rng.index(other.len())].clone();
            }
        }
        5 if is_word => words.truncate(at + 1),
        _ if is_word => words[at] = words::any(rng),
        _ => {}
    }
}
