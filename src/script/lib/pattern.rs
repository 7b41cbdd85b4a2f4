//! Patterns of strings: `string.find`, `match`, `gmatch`, `gsub` as Lua 5.1 has them, with the same results
//! and errors.
//!
//! `Matcher` walks the pattern as it is written, and goes back to try something else where it does not
//! match. What that may cost is bounded: it nests `NESTED_MAX` deep, and says how much it has worked
//! ([`Stack::spend`]), so that a pattern that needs exponential time can be ended from outside. Results
//! stay within the memory that scripts may have.
//!
//! A pattern ends at its first NUL, as it does in Lua 5.1.

use smallvec::SmallVec;

use super::arguments::{int_or, integer, is_given};
use crate::sys::lua::{Function, Kind, Raise, Stack};

/// The functions, to be set in `string`.
pub const FUNCTIONS: [(&str, Function); 4] = [
    ("find", find),
    ("gmatch", gmatch),
    ("gsub", gsub),
    ("match", match_),
];

/// Most captures of a pattern.
const CAPTURES_MAX: usize = 32;
/// Most attempts within attempts. Each item of a pattern that repeats, and each capture, begins one.
const NESTED_MAX: u32 = 200;
/// Steps after which [`Stack::spend`] is told.
const STEPS: usize = 4096;

/// Up to here a text is searched without thinking about it first.
const SHORT_BYTES: usize = 256;
/// Bytes of a result that need no memory of their own.
const RESULT_BYTES: usize = 512;

/// What is special in a pattern.
const SPECIALS: &[u8] = b"^$*+?.([%-";

// --- the functions --------------------------------------------------------------------------------------

fn find(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    search(stack, true)
}

fn match_(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    search(stack, false)
}

fn search(stack: &mut Stack<'_>, is_find: bool) -> Result<i32, Raise> {
    stack.string_argument(1)?;
    stack.string_argument(2)?;
    let begin = match is_given(stack, 3) {
        true => integer(stack, 3)?,
        false => 1,
    };
    let is_plain = is_find && stack.is_true(4);
    with_strings(stack, 1, 2, |stack, source, pattern| {
        let begin = match begin {
            1.. => begin - 1,
            0 => 0,
            _ => begin.saturating_add(source.len() as i64),
        };
        let begin = (begin.max(0) as usize).min(source.len());
        let ended = until_nul(pattern);
        if is_plain || is_find && !ended.iter().any(|byte| SPECIALS.contains(byte)) {
            return find_plain(stack, source, pattern, begin);
        }
        let (ended, is_anchored) = match ended {
            [b'^', rest @ ..] => (rest, true),
            _ => (ended, false),
        };
        let mut matcher = Matcher::new(stack, source, ended);
        let Some((from, to)) = matcher.find(begin, is_anchored)? else {
            matcher.stack.push_nil();
            return Ok(1);
        };
        if !is_find {
            return matcher.push_captures(Some((from, to)));
        }
        matcher.stack.push_number(from as f64 + 1.0);
        matcher.stack.push_number(to as f64);
        Ok(matcher.push_captures(None)? + 2)
    })
}

fn find_plain(
    stack: &mut Stack<'_>,
    source: &[u8],
    wanted: &[u8],
    begin: usize,
) -> Result<i32, Raise> {
    stack.spend(source.len() / 64)?;
    match find_bytes(&source[begin..], wanted) {
        None => {
            stack.push_nil();
            Ok(1)
        }
        Some(at) => {
            let at = begin + at;
            stack.push_number(at as f64 + 1.0);
            stack.push_number((at + wanted.len()) as f64);
            Ok(2)
        }
    }
}

/// Where a text first is in another.
fn find_bytes(text: &[u8], wanted: &[u8]) -> Option<usize> {
    if text.len() > SHORT_BYTES || wanted.is_empty() {
        return memchr::memmem::find(text, wanted);
    }
    let mut from = 0;
    while let Some(skipped) = memchr::memchr(wanted[0], text.get(from..)?) {
        from += skipped;
        if text[from..].starts_with(wanted) {
            return Some(from);
        }
        from += 1;
    }
    None
}

fn gmatch(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    stack.string_argument(1)?;
    stack.string_argument(2)?;
    stack.set_top(2);
    stack.push_number(0.0);
    stack.push_closure(gmatch_next, 3);
    Ok(1)
}

/// What [`gmatch`] returns: its upvalues are the string, the pattern, and where to go on.
fn gmatch_next(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    stack.set_top(0);
    for number in 1..=3 {
        stack.push_upvalue(number);
    }
    let begin = stack.number(3).unwrap_or_default() as usize;
    with_strings(stack, 1, 2, |stack, source, pattern| {
        if begin > source.len() {
            return Ok(0);
        }
        let mut matcher = Matcher::new(stack, source, until_nul(pattern));
        let Some((from, to)) = matcher.find(begin, false)? else {
            return Ok(0);
        };
        let next = match from == to {
            true => to + 1,
            false => to,
        };
        matcher.stack.push_number(next as f64);
        matcher.stack.replace_upvalue(3);
        matcher.push_captures(Some((from, to)))
    })
}

fn gsub(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    stack.string_argument(1)?;
    stack.string_argument(2)?;
    let kind = stack.kind(3);
    let most = int_or(stack, 4, (stack.len(1) as i32).wrapping_add(1))?;
    match kind {
        Kind::Number | Kind::String => {
            stack.make_string(3);
            let done = stack.with_string(3, |stack, text| substitute(stack, By::Text(text), most));
            done.unwrap_or(Ok(0))
        }
        Kind::Function => substitute(stack, By::Function, most),
        Kind::Table => substitute(stack, By::Table, most),
        _ => Err(stack.argument_error(3, "string/function/table expected")),
    }
}

/// What [`gsub`] replaces matches by: its third argument.
#[derive(Clone, Copy)]
enum By<'a> {
    /// A text in which `%1` stands for the first capture.
    Text(&'a [u8]),
    /// What a function returns for the captures.
    Function,
    /// What a table has for the first capture.
    Table,
}

fn substitute(stack: &mut Stack<'_>, by: By<'_>, most: i32) -> Result<i32, Raise> {
    with_strings(stack, 1, 2, |stack, source, pattern| {
        let (pattern, is_anchored) = match until_nul(pattern) {
            [b'^', rest @ ..] => (rest, true),
            rest => (rest, false),
        };
        let mut result = SmallVec::<[u8; RESULT_BYTES]>::new();
        let mut matcher = Matcher::new(stack, source, pattern);
        // `at`: where the next match is looked for. `copied`: what is before is in the result.
        let (mut count, mut at, mut copied) = (0, 0, 0);
        while count < most {
            let Some((from, to)) = matcher.find(at, is_anchored)? else {
                break;
            };
            count += 1;
            result.extend_from_slice(&source[copied..from]);
            matcher.replace(by, (from, to), &mut result)?;
            matcher.stack.allow(result.len())?;
            copied = to;
            // If nothing was matched, the byte that follows stays.
            at = to + usize::from(from == to);
            if is_anchored || at > source.len() {
                break;
            }
        }
        if count == 0 {
            matcher.stack.push_value(1);
        } else {
            result.extend_from_slice(&source[copied..]);
            matcher.stack.push_string(&result);
        }
        matcher.stack.push_number(f64::from(count));
        Ok(2)
    })
}

/// Does `work` with two arguments that are strings.
fn with_strings(
    stack: &mut Stack<'_>,
    one: i32,
    other: i32,
    work: impl FnOnce(&mut Stack<'_>, &[u8], &[u8]) -> Result<i32, Raise>,
) -> Result<i32, Raise> {
    let done = stack.with_string(one, |stack, one| {
        stack.with_string(other, |stack, other| work(stack, one, other))
    });
    match done {
        Some(Some(done)) => done,
        _ => Err(stack.error("a string expected")),
    }
}

fn until_nul(pattern: &[u8]) -> &[u8] {
    let end = memchr::memchr(0, pattern).unwrap_or(pattern.len());
    &pattern[..end]
}

// --- classes of bytes -----------------------------------------------------------------------------------

const ALPHA: u16 = 1;
const CONTROL: u16 = 1 << 1;
const DIGIT: u16 = 1 << 2;
const LOWER: u16 = 1 << 3;
const PUNCTUATION: u16 = 1 << 4;
const SPACE: u16 = 1 << 5;
const UPPER: u16 = 1 << 6;
const HEX: u16 = 1 << 7;
const ZERO: u16 = 1 << 8;

/// The classes of each byte.
static CLASSES: [u16; 256] = classes();

const fn classes() -> [u16; 256] {
    let mut classes = [0; 256];
    let mut byte = 0_usize;
    while byte < 128 {
        let char = byte as u8;
        classes[byte] = (char.is_ascii_alphabetic() as u16 * ALPHA)
            | (char.is_ascii_control() as u16 * CONTROL)
            | (char.is_ascii_digit() as u16 * DIGIT)
            | (char.is_ascii_lowercase() as u16 * LOWER)
            | (char.is_ascii_punctuation() as u16 * PUNCTUATION)
            | ((char == b' ' || (char >= b'\t' && char <= b'\r')) as u16 * SPACE)
            | (char.is_ascii_uppercase() as u16 * UPPER)
            | (char.is_ascii_hexdigit() as u16 * HEX)
            | ((char == 0) as u16 * ZERO);
        byte += 1;
    }
    classes
}

/// What one byte is matched by.
#[derive(Clone, Copy)]
enum Single {
    /// `.`
    Any,
    /// The byte itself.
    Byte(u8),
    /// A class: one of these, or none of these.
    Class(u16, bool),
    /// `[...]`: where it begins, and where its `]` is.
    Set(usize, usize),
}

/// What a letter behind `%` stands for.
fn class(letter: u8) -> Single {
    let mask = match letter.to_ascii_lowercase() {
        b'a' => ALPHA,
        b'c' => CONTROL,
        b'd' => DIGIT,
        b'l' => LOWER,
        b'p' => PUNCTUATION,
        b's' => SPACE,
        b'u' => UPPER,
        b'w' => ALPHA | DIGIT,
        b'x' => HEX,
        b'z' => ZERO,
        _ => return Single::Byte(letter),
    };
    Single::Class(mask, letter.is_ascii_lowercase())
}

// --- matching -------------------------------------------------------------------------------------------

/// A part of the string that was asked for.
#[derive(Clone, Copy)]
enum Capture {
    /// It has no end yet.
    Open(usize),
    /// `()`
    Position(usize),
    /// From, to.
    Closed(usize, usize),
}

/// What came of an item.
enum Item {
    /// So far so good: where to go on in the string and in the pattern.
    GoOn(usize, usize),
    /// All the rest was tried: where it ends, if it matches.
    Ended(Option<usize>),
}

/// A pattern on its way through a string.
struct Matcher<'m, 's> {
    stack: &'m mut Stack<'s>,
    source: &'m [u8],
    pattern: &'m [u8],
    captures: SmallVec<[Capture; 4]>,
    nested: u32,
    steps: usize,
}

impl<'m, 's> Matcher<'m, 's> {
    fn new(stack: &'m mut Stack<'s>, source: &'m [u8], pattern: &'m [u8]) -> Self {
        Matcher {
            stack,
            source,
            pattern,
            captures: SmallVec::new(),
            nested: 0,
            steps: 0,
        }
    }

    /// The first match that begins here, or if it is not anchored behind it: from, to.
    fn find(&mut self, begin: usize, is_anchored: bool) -> Result<Option<(usize, usize)>, Raise> {
        let (first, wanted) = match is_anchored {
            true => (None, None),
            false => (self.literal(0), self.required()?),
        };
        let mut found = None;
        let mut from = begin;
        while from <= self.source.len() {
            if let Some(byte) = first {
                match memchr::memchr(byte, &self.source[from..]) {
                    Some(skipped) => from += skipped,
                    None => break,
                }
            }
            if let Some(wanted) = wanted {
                // Only where the first byte matches is it worth while to begin.
                let ahead = &self.source[from..];
                match ahead.iter().position(|&byte| self.is_single(wanted, byte)) {
                    Some(skipped) => from += skipped,
                    None => {
                        from = self.source.len();
                        break;
                    }
                }
            }
            self.captures.clear();
            if let Some(to) = self.match_at(from, 0)? {
                found = Some((from, to));
                break;
            }
            if is_anchored {
                break;
            }
            from += 1;
        }
        let spent = self.steps + (from.min(self.source.len()) - begin) / 16;
        self.steps = 0;
        self.stack.spend(spent)?;
        Ok(found)
    }

    /// The byte that has to come next if the item here is to match.
    #[inline]
    fn literal(&self, item: usize) -> Option<u8> {
        let byte = *self.pattern.get(item)?;
        if matches!(byte, b'(' | b')' | b'%' | b'.' | b'[' | b'$') {
            return None;
        }
        match self.pattern.get(item + 1) {
            Some(b'*' | b'?' | b'-') => None,
            _ => Some(byte),
        }
    }

    /// What the first byte of a match is matched by, if a match has one, and it is no literal.
    #[inline]
    fn required(&mut self) -> Result<Option<Single>, Raise> {
        let mut item = 0;
        if self.pattern.first() == Some(&b'(') && self.pattern.get(1) != Some(&b')') {
            item = 1;
        }
        match (self.pattern.get(item), self.pattern.get(item + 1)) {
            (Some(b'['), _) => {}
            (Some(b'%'), Some(letter)) if letter.is_ascii_alphabetic() => {
                if matches!(letter, b'b' | b'f') {
                    return Ok(None);
                }
            }
            _ => return Ok(None),
        }
        let (single, end) = self.single(item)?;
        match self.pattern.get(end) {
            Some(b'*' | b'?' | b'-') => Ok(None),
            _ => Ok(Some(single)),
        }
    }

    #[inline]
    fn step(&mut self, steps: usize) -> Result<(), Raise> {
        self.steps += steps;
        if self.steps >= STEPS {
            let steps = std::mem::take(&mut self.steps);
            return self.stack.spend(steps);
        }
        Ok(())
    }

    /// Tries to match from here in the string, and from there in the pattern, below what is tried now.
    fn match_below(&mut self, at: usize, item: usize) -> Result<Option<usize>, Raise> {
        if self.nested >= NESTED_MAX {
            return Err(self.stack.error("pattern too complex"));
        }
        self.nested += 1;
        let matched = self.match_at(at, item)?;
        self.nested -= 1;
        Ok(matched)
    }

    /// Where a match ends that begins here in the string, and there in the pattern.
    fn match_at(&mut self, mut at: usize, mut item: usize) -> Result<Option<usize>, Raise> {
        loop {
            self.step(1)?;
            let Some(&byte) = self.pattern.get(item) else {
                return Ok(Some(at));
            };
            let next = match (byte, self.pattern.get(item + 1)) {
                (b'(', _) => return self.open_capture(at, item + 1),
                (b')', _) => return self.close_capture(at, item + 1),
                (b'$', None) => return Ok((at == self.source.len()).then_some(at)),
                (b'%', Some(b'b')) => self.balance(at, item + 2)?.map(|at| (at, item + 4)),
                (b'%', Some(b'f')) => self.frontier(at, item + 2)?.map(|item| (at, item)),
                (b'%', Some(&digit @ b'0'..=b'9')) => {
                    self.again(at, digit)?.map(|at| (at, item + 2))
                }
                _ => match self.item(at, item)? {
                    Item::GoOn(at, item) => Some((at, item)),
                    Item::Ended(ended) => return Ok(ended),
                },
            };
            match next {
                Some(next) => (at, item) = next,
                None => return Ok(None),
            }
        }
    }

    /// An item that matches one byte, with how often that may be.
    #[inline]
    fn item(&mut self, at: usize, item: usize) -> Result<Item, Raise> {
        let (single, end) = self.single(item)?;
        let is_match = match self.source.get(at) {
            Some(&byte) => self.is_single(single, byte),
            None => false,
        };
        match self.pattern.get(end) {
            Some(b'?') => {
                if is_match && let Some(to) = self.match_below(at + 1, end + 1)? {
                    return Ok(Item::Ended(Some(to)));
                }
                Ok(Item::GoOn(at, end + 1))
            }
            Some(b'*') => self.most(single, at, at, end + 1).map(Item::Ended),
            Some(b'+') => match is_match {
                true => self.most(single, at + 1, at + 1, end + 1).map(Item::Ended),
                false => Ok(Item::Ended(None)),
            },
            Some(b'-') => self.least(single, at, end + 1).map(Item::Ended),
            _ => match is_match {
                true => Ok(Item::GoOn(at + 1, end)),
                false => Ok(Item::Ended(None)),
            },
        }
    }

    /// What matches one byte, and where it ends in the pattern.
    #[inline]
    fn single(&mut self, item: usize) -> Result<(Single, usize), Raise> {
        match self.pattern[item] {
            b'%' => match self.pattern.get(item + 1) {
                Some(&letter) => Ok((class(letter), item + 2)),
                None => Err(self.stack.error("malformed pattern (ends with '%')")),
            },
            b'[' => {
                let close = self.set_end(item)?;
                Ok((Single::Set(item, close), close + 1))
            }
            b'.' => Ok((Single::Any, item + 1)),
            byte => Ok((Single::Byte(byte), item + 1)),
        }
    }

    /// Where the `]` of a set is.
    fn set_end(&mut self, open: usize) -> Result<usize, Raise> {
        let mut at = open + 1;
        if self.pattern.get(at) == Some(&b'^') {
            at += 1;
        }
        loop {
            match self.pattern.get(at) {
                None => return Err(self.stack.error("malformed pattern (missing ']')")),
                Some(b'%') if at + 1 < self.pattern.len() => at += 2,
                Some(_) => at += 1,
            }
            if self.pattern.get(at) == Some(&b']') {
                return Ok(at);
            }
        }
    }

    #[inline]
    fn is_single(&self, single: Single, byte: u8) -> bool {
        match single {
            Single::Any => true,
            Single::Byte(wanted) => wanted == byte,
            Single::Class(mask, is_wanted) => (CLASSES[usize::from(byte)] & mask != 0) == is_wanted,
            Single::Set(open, close) => self.is_in_set(open, close, byte),
        }
    }

    fn is_in_set(&self, open: usize, close: usize, byte: u8) -> bool {
        let (is_wanted, mut at) = match self.pattern[open + 1] {
            b'^' => (false, open + 2),
            _ => (true, open + 1),
        };
        while at < close {
            let member = self.pattern[at];
            if member == b'%' {
                at += 1;
                if self.is_single(class(self.pattern[at]), byte) {
                    return is_wanted;
                }
            } else if self.pattern[at + 1] == b'-' && at + 2 < close {
                at += 2;
                if (member..=self.pattern[at]).contains(&byte) {
                    return is_wanted;
                }
            } else if member == byte {
                return is_wanted;
            }
            at += 1;
        }
        !is_wanted
    }

    /// As many as match, fewer if the rest does not match then, but none before `least`.
    fn most(
        &mut self,
        single: Single,
        least: usize,
        at: usize,
        rest: usize,
    ) -> Result<Option<usize>, Raise> {
        let ahead = &self.source[at..];
        let count = match single {
            Single::Any => ahead.len(),
            Single::Byte(wanted) => ahead.iter().take_while(|&&byte| byte == wanted).count(),
            Single::Class(mask, is_wanted) => ahead
                .iter()
                .take_while(|&&byte| (CLASSES[usize::from(byte)] & mask != 0) == is_wanted)
                .count(),
            Single::Set(open, close) => ahead
                .iter()
                .take_while(|&&byte| self.is_in_set(open, close, byte))
                .count(),
        };
        let weight = match single {
            Single::Set(open, close) => 1 + (close - open) / 8,
            _ => 1,
        };
        self.step(count.saturating_mul(weight) / 8)?;
        let mut to = at + count;
        if rest == self.pattern.len() {
            return Ok(Some(to));
        }
        let next = self.literal(rest);
        loop {
            if let Some(next) = next {
                // Only where the rest begins as it must can it match.
                let end = (to + 1).min(self.source.len());
                match memchr::memrchr(next, &self.source[least.min(end)..end]) {
                    Some(place) => to = least + place,
                    None => return Ok(None),
                }
            }
            if let Some(matched) = self.match_below(to, rest)? {
                return Ok(Some(matched));
            }
            if to == least {
                return Ok(None);
            }
            to -= 1;
        }
    }

    /// As few as match so that the rest does.
    fn least(
        &mut self,
        single: Single,
        mut at: usize,
        rest: usize,
    ) -> Result<Option<usize>, Raise> {
        loop {
            if let Some(to) = self.match_below(at, rest)? {
                return Ok(Some(to));
            }
            match self.source.get(at) {
                Some(&byte) if self.is_single(single, byte) => at += 1,
                _ => return Ok(None),
            }
        }
    }

    fn open_capture(&mut self, at: usize, item: usize) -> Result<Option<usize>, Raise> {
        if self.captures.len() >= CAPTURES_MAX {
            return Err(self.stack.error("too many captures"));
        }
        let (capture, item) = match self.pattern.get(item) {
            Some(b')') => (Capture::Position(at), item + 1),
            _ => (Capture::Open(at), item),
        };
        self.captures.push(capture);
        let matched = self.match_below(at, item)?;
        if matched.is_none() {
            self.captures.pop();
        }
        Ok(matched)
    }

    fn close_capture(&mut self, at: usize, item: usize) -> Result<Option<usize>, Raise> {
        let open = self
            .captures
            .iter()
            .rposition(|capture| matches!(capture, Capture::Open(_)));
        let Some(open) = open else {
            return Err(self.stack.error("invalid pattern capture"));
        };
        let capture = self.captures[open];
        if let Capture::Open(from) = capture {
            self.captures[open] = Capture::Closed(from, at);
        }
        let matched = self.match_below(at, item)?;
        if matched.is_none() {
            self.captures[open] = capture;
        }
        Ok(matched)
    }

    /// `%b()`: where the text ends that is closed as often as it is opened.
    fn balance(&mut self, at: usize, item: usize) -> Result<Option<usize>, Raise> {
        let (Some(&open), Some(&close)) = (self.pattern.get(item), self.pattern.get(item + 1))
        else {
            return Err(self.stack.error("unbalanced pattern"));
        };
        if self.source.get(at).copied().unwrap_or(0) != open {
            return Ok(None);
        }
        let mut depth = 1_usize;
        for (place, &byte) in self.source.iter().enumerate().skip(at + 1) {
            if byte == close {
                depth -= 1;
                if depth == 0 {
                    self.step((place - at) / 8)?;
                    return Ok(Some(place + 1));
                }
            } else if byte == open {
                depth += 1;
            }
        }
        self.step((self.source.len() - at) / 8)?;
        Ok(None)
    }

    /// `%f[]`: where the set ends in the pattern, if what is before is not in it, and what follows is.
    fn frontier(&mut self, at: usize, item: usize) -> Result<Option<usize>, Raise> {
        if self.pattern.get(item) != Some(&b'[') {
            return Err(self.stack.error("missing '[' after '%f' in pattern"));
        }
        let close = self.set_end(item)?;
        let before = match at {
            0 => 0,
            _ => self.source[at - 1],
        };
        let here = self.source.get(at).copied().unwrap_or(0);
        let is_frontier = !self.is_in_set(item, close, before) && self.is_in_set(item, close, here);
        Ok(is_frontier.then_some(close + 1))
    }

    /// `%1`: where the text of a capture ends if it comes again here.
    fn again(&mut self, at: usize, digit: u8) -> Result<Option<usize>, Raise> {
        let number = usize::from(digit).wrapping_sub(usize::from(b'1'));
        match self.captures.get(number) {
            None | Some(Capture::Open(_)) => Err(self.stack.error("invalid capture index")),
            Some(Capture::Position(_)) => Ok(None),
            Some(&Capture::Closed(from, to)) => {
                self.step((to - from) / 16)?;
                let is_again = self.source[at..].starts_with(&self.source[from..to]);
                Ok(is_again.then_some(at + to - from))
            }
        }
    }

    // --- results ----------------------------------------------------------------------------------------

    /// Pushes one capture; of a match without any, the whole.
    fn push_capture(&mut self, number: usize, whole: (usize, usize)) -> Result<(), Raise> {
        let (from, to) = match self.captures.get(number) {
            None if number == 0 => whole,
            None => return Err(self.stack.error("invalid capture index")),
            Some(Capture::Open(_)) => return Err(self.stack.error("unfinished capture")),
            Some(&Capture::Position(at)) => {
                self.stack.push_number(at as f64 + 1.0);
                return Ok(());
            }
            Some(&Capture::Closed(from, to)) => (from, to),
        };
        self.stack.push_string(&self.source[from..to]);
        Ok(())
    }

    /// Pushes all captures, or `whole` if there are none; how many values that are.
    fn push_captures(&mut self, whole: Option<(usize, usize)>) -> Result<i32, Raise> {
        let count = match (self.captures.len(), whole) {
            (0, Some(_)) => 1,
            (captured, _) => captured,
        };
        for number in 0..count {
            self.push_capture(number, whole.unwrap_or_default())?;
        }
        Ok(count as i32)
    }

    /// Adds what a match is replaced by.
    fn replace(
        &mut self,
        by: By<'_>,
        whole: (usize, usize),
        result: &mut SmallVec<[u8; RESULT_BYTES]>,
    ) -> Result<(), Raise> {
        let top = self.stack.top();
        match by {
            By::Text(text) => return self.replace_by_text(text, whole, result),
            By::Function => {
                self.stack.push_value(3);
                let count = self.push_captures(Some(whole))?;
                self.stack.call(count, 1, None).map_err(|_| Raise)?;
            }
            By::Table => {
                self.push_capture(0, whole)?;
                self.stack.get(3)?;
            }
        }
        if !self.stack.is_true(-1) {
            result.extend_from_slice(&self.source[whole.0..whole.1]);
        } else if self.stack.make_string(-1) {
            result.extend_from_slice(self.stack.string(-1).unwrap_or_default());
        } else {
            let kind = self.stack.kind(-1).name();
            let text = format!("invalid replacement value (a {kind})");
            return Err(self.stack.error(text));
        }
        self.stack.set_top(top);
        Ok(())
    }

    /// Adds a text, with captures put in for `%1` and the like.
    fn replace_by_text(
        &mut self,
        text: &[u8],
        whole: (usize, usize),
        result: &mut SmallVec<[u8; RESULT_BYTES]>,
    ) -> Result<(), Raise> {
        let mut rest = text;
        while let Some(escape) = memchr::memchr(b'%', rest) {
            result.extend_from_slice(&rest[..escape]);
            // Behind the last byte of a text there is a NUL to Lua.
            let letter = rest.get(escape + 1).copied().unwrap_or(0);
            rest = rest.get(escape + 2..).unwrap_or_default();
            match letter {
                b'0' => result.extend_from_slice(&self.source[whole.0..whole.1]),
                b'1'..=b'9' => {
                    self.push_capture(usize::from(letter - b'1'), whole)?;
                    self.stack.make_string(-1);
                    result.extend_from_slice(self.stack.string(-1).unwrap_or_default());
                    self.stack.pop(1);
                }
                _ => result.push(letter),
            }
        }
        result.extend_from_slice(rest);
        Ok(())
    }
}
