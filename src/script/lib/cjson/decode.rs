//! `cjson.decode`.
//!
//! The text ends at its first NUL, as C's: [`Decoder::byte`] says 0 behind it.

use smallvec::SmallVec;

use super::{DECODE_DEPTH_MAX, DECODE_INVALID};
use crate::sys::lua::{Cells, Raise, Stack};
use crate::util::c_num::strtod;

/// Values that the stack of a C function takes (`LUAI_MAXCSTACK`).
const STACK_MAX: usize = 8000;
/// The values of an array wait on the stack until there are so many, so that its table does not have to
/// grow several times.
const FEW: i32 = 16;
/// Only while the stack has no more values than that: places are needed for what is nested deeply.
const FEW_BELOW: i32 = 1000;
/// So much of a text is read before it is told as work.
const STEP_BYTES: usize = 16 << 10;

/// `cjson.decode(text)`
pub(super) fn decode(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    if stack.top() != 1 {
        return Err(stack.argument_error(1, "expected 1 argument"));
    }
    stack.string_argument(1)?;
    let settings = super::settings(stack);
    let done = stack.with_string(1, |stack, text| {
        if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
            return Err(stack.error("JSON parser does not support UTF-16 or UTF-32"));
        }
        let mut decoder = Decoder {
            text,
            at: 0,
            token_at: 0,
            spent: 0,
            settings,
            open: SmallVec::new(),
            places: 1,
            unescaped: Vec::new(),
        };
        decoder.text(stack)
    });
    done.unwrap_or(Ok(())).map(|()| 1)
}

/// A word of the text.
#[derive(Clone, Copy)]
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    /// These bytes of the text.
    Plain(usize, usize),
    /// What stands in [`Decoder::unescaped`].
    Unescaped,
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Wrong(&'static str),
}

impl Token {
    /// Its name in errors.
    fn name(self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::Plain(..) | Token::Unescaped => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Wrong(what) => what,
        }
    }
}

/// A table that is being read; it is on Lua's stack.
enum Open {
    /// An array with so many values, which are all still on the stack, and no table yet.
    Few(i32),
    /// An array with so many values.
    Array(i32),
    /// Below the key whose value is being read.
    Object,
}

impl Open {
    /// Places on the stack that C's library needs for it.
    fn places(&self) -> usize {
        match self {
            Open::Few(_) | Open::Array(_) => 1,
            Open::Object => 2,
        }
    }
}

struct Decoder<'t> {
    text: &'t [u8],
    at: usize,
    /// Where the last token began, or went wrong.
    token_at: usize,
    /// So much of the text was told as work.
    spent: usize,
    settings: Cells,
    open: SmallVec<[Open; 16]>,
    /// Places on the stack that C's library would have taken.
    places: usize,
    unescaped: Vec<u8>,
}

impl Decoder<'_> {
    /// Reads the whole text and pushes its value.
    fn text(&mut self, stack: &mut Stack<'_>) -> Result<(), Raise> {
        let mut token = self.token();
        loop {
            // A table is not done when it begins, unless it is empty.
            let next = match token {
                Token::ObjectBegin | Token::ArrayBegin => self.begin(stack, token)?,
                _ => {
                    self.scalar(stack, token)?;
                    None
                }
            };
            token = match next {
                Some(token) => token,
                None => match self.close(stack)? {
                    Some(token) => token,
                    None => break,
                },
            };
            if self.at - self.spent >= STEP_BYTES {
                stack.spend(self.at - self.spent)?;
                self.spent = self.at;
            }
        }
        match self.token() {
            Token::End => Ok(()),
            token => Err(self.expected(stack, "the end", token)),
        }
    }

    /// Pushes a value that is no table.
    #[inline]
    fn scalar(&mut self, stack: &mut Stack<'_>, token: Token) -> Result<(), Raise> {
        match token {
            Token::Plain(from, to) => stack.push_string(&self.text[from..to]),
            Token::Unescaped => stack.push_string(&self.unescaped),
            Token::Number(number) => stack.push_number(number),
            Token::Boolean(value) => stack.push_bool(value),
            Token::Null => stack.push_null(),
            _ => return Err(self.expected(stack, "value", token)),
        }
        Ok(())
    }

    /// Pushes a table, and if it is an object its first key. The token of its first value, `None` if
    /// it has none.
    fn begin(&mut self, stack: &mut Stack<'_>, token: Token) -> Result<Option<Token>, Raise> {
        let is_object = matches!(token, Token::ObjectBegin);
        let depth = self.open.len() + 1;
        // For the table, the key and the value.
        let places = self.places + if is_object { 3 } else { 2 };
        let is_too_deep = depth > self.settings[DECODE_DEPTH_MAX] as usize || places > STACK_MAX;
        if is_too_deep || !stack.has_room(3) {
            // The error needs room itself.
            stack.set_top(1);
            return Err(stack.error(format!(
                "Found too many nested data structures ({depth}) at character {}",
                self.at
            )));
        }
        let token = self.token();
        let open = match (is_object, token) {
            (true, Token::ObjectEnd) | (false, Token::ArrayEnd) => {
                stack.push_table(0, 0);
                return Ok(None);
            }
            (true, _) => {
                stack.push_table(0, 0);
                Open::Object
            }
            (false, _) if stack.top() < FEW_BELOW => Open::Few(0),
            (false, _) => {
                stack.push_table(0, 0);
                Open::Array(0)
            }
        };
        self.places += open.places();
        self.open.push(open);
        match is_object {
            true => self.key(stack, token).map(Some),
            false => Ok(Some(token)),
        }
    }

    /// Pushes a key; the token of its value.
    #[inline]
    fn key(&mut self, stack: &mut Stack<'_>, token: Token) -> Result<Token, Raise> {
        match token {
            Token::Plain(from, to) => stack.push_string(&self.text[from..to]),
            Token::Unescaped => stack.push_string(&self.unescaped),
            _ => return Err(self.expected(stack, "object key string", token)),
        }
        match self.token() {
            Token::Colon => Ok(self.token()),
            token => Err(self.expected(stack, "colon", token)),
        }
    }

    /// Puts the value on top where it belongs, and closes what ends with it. The token of the next value,
    /// `None` if this was the outermost one.
    #[inline]
    fn close(&mut self, stack: &mut Stack<'_>) -> Result<Option<Token>, Raise> {
        while let Some(open) = self.open.last_mut() {
            let is_object = match open {
                Open::Few(len) => {
                    *len += 1;
                    if *len == FEW {
                        push_array(stack, FEW)?;
                        *open = Open::Array(FEW);
                    }
                    false
                }
                Open::Array(len) => {
                    *len += 1;
                    stack.raw_set_index(-2, *len)?;
                    false
                }
                Open::Object => {
                    stack.raw_set(-3)?;
                    true
                }
            };
            let token = self.token();
            match (is_object, token) {
                (true, Token::Comma) => {
                    let token = self.token();
                    return self.key(stack, token).map(Some);
                }
                (false, Token::Comma) => return Ok(Some(self.token())),
                (true, Token::ObjectEnd) | (false, Token::ArrayEnd) => {
                    if let Some(open) = self.open.pop() {
                        self.places -= open.places();
                        if let Open::Few(len) = open {
                            push_array(stack, len)?;
                        }
                    }
                }
                (true, _) => return Err(self.expected(stack, "comma or object end", token)),
                (false, _) => return Err(self.expected(stack, "comma or array end", token)),
            }
        }
        Ok(None)
    }

    #[cold]
    fn expected(&self, stack: &mut Stack<'_>, what: &str, found: Token) -> Raise {
        let (found, at) = (found.name(), self.token_at + 1);
        stack.error(format!(
            "Expected {what} but found {found} at character {at}"
        ))
    }

    // --- words --------------------------------------------------------------------------------------

    /// The byte so far ahead, 0 behind the end.
    #[inline]
    fn byte(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// Something is wrong here.
    #[cold]
    fn wrong(&mut self, what: &'static str) -> Token {
        self.token_at = self.at;
        Token::Wrong(what)
    }

    #[inline]
    fn token(&mut self) -> Token {
        while let b' ' | b'\t' | b'\n' | b'\r' = self.byte(0) {
            self.at += 1;
        }
        self.token_at = self.at;
        let token = match self.byte(0) {
            b'"' => return self.string(),
            b'0'..=b'9' | b'-' => return self.number(),
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b',' => Token::Comma,
            b':' => Token::Colon,
            0 => return Token::End,
            _ => return self.name(),
        };
        self.at += 1;
        token
    }

    /// A word of letters, or a number that is none of JSON's.
    fn name(&mut self) -> Token {
        let rest = &self.text[self.at..];
        for (name, token) in [
            ("true", Token::Boolean(true)),
            ("false", Token::Boolean(false)),
            ("null", Token::Null),
        ] {
            if rest.starts_with(name.as_bytes()) {
                self.at += name.len();
                return token;
            }
        }
        let is_number = match rest.first() {
            Some(b'+') => true,
            Some(b'i' | b'I' | b'n' | b'N') => is_inf_or_nan(rest),
            _ => false,
        };
        match is_number && self.settings[DECODE_INVALID] != 0 {
            true => self.any_number(),
            false => self.wrong("invalid token"),
        }
    }

    /// A number; mostly it has few digits, and is exact.
    #[inline]
    fn number(&mut self) -> Token {
        let is_negative = self.byte(0) == b'-';
        let start = self.at + usize::from(is_negative);
        let (whole, whole_len) = digits(&self.text[start..]);
        let is_strict = self.settings[DECODE_INVALID] == 0;
        let mut end = start + whole_len;
        let mut value = whole as f64;
        let mut is_exact = (1..=EXACT_DIGITS).contains(&whole_len);
        if self.text.get(end) == Some(&b'.') {
            let (fraction, fraction_len) = digits(&self.text[end + 1..]);
            end += 1 + fraction_len;
            is_exact &= fraction_len > 0 && whole_len + fraction_len <= EXACT_DIGITS;
            if is_exact {
                // Both are exact, so the quotient is rounded once.
                let scale = POWERS[fraction_len];
                value = (whole * scale + fraction) as f64 / scale as f64;
            }
        }
        let has_more = matches!(self.text.get(end), Some(b'e' | b'E' | b'x' | b'X'));
        let is_padded = whole_len > 1 && self.text[start] == b'0';
        if !is_exact || has_more || (is_strict && is_padded) {
            return self.slow_number();
        }
        self.at = end;
        Token::Number(if is_negative { -value } else { value })
    }

    #[cold]
    fn slow_number(&mut self) -> Token {
        if self.settings[DECODE_INVALID] == 0 && is_invalid_number(&self.text[self.at..]) {
            return self.wrong("invalid number");
        }
        self.any_number()
    }

    /// A number as C reads it.
    #[cold]
    fn any_number(&mut self) -> Token {
        match strtod(&self.text[self.at..]) {
            (_, 0) => self.wrong("invalid number"),
            (number, len) => {
                self.at += len;
                Token::Number(number)
            }
        }
    }

    #[inline]
    fn string(&mut self) -> Token {
        self.at += 1;
        let start = self.at;
        let rest = &self.text[start..];
        let end = plain_len(rest);
        match end {
            Some(len) if rest[len] == b'"' => {
                self.at = start + len + 1;
                Token::Plain(start, start + len)
            }
            _ => self.escaped_string(end.unwrap_or(rest.len())),
        }
    }

    /// A string with something else in it than plain bytes, behind so many of these.
    fn escaped_string(&mut self, plain: usize) -> Token {
        let mut plain = plain;
        self.unescaped.clear();
        loop {
            let rest = &self.text[self.at..];
            self.unescaped.extend_from_slice(&rest[..plain]);
            self.at += plain;
            match self.byte(0) {
                b'"' => {
                    self.at += 1;
                    return Token::Unescaped;
                }
                b'\\' => {
                    if let Err(what) = self.escape() {
                        return self.wrong(what);
                    }
                }
                _ => return self.wrong("unexpected end of string"),
            }
            let rest = &self.text[self.at..];
            let next = plain_len(rest);
            plain = next.unwrap_or(rest.len());
        }
    }

    /// An escape, from its backslash.
    fn escape(&mut self) -> Result<(), &'static str> {
        let byte = match self.byte(1) {
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'b' => 0x08,
            b't' => b'\t',
            b'n' => b'\n',
            b'f' => 0x0c,
            b'r' => b'\r',
            b'u' => {
                let (point, len) = self.code_point().ok_or("invalid unicode escape code")?;
                let mut utf8 = [0; 4];
                let utf8 = point.encode_utf8(&mut utf8);
                self.unescaped.extend_from_slice(utf8.as_bytes());
                self.at += len;
                return Ok(());
            }
            _ => return Err("invalid escape code"),
        };
        self.unescaped.push(byte);
        self.at += 2;
        Ok(())
    }

    /// The code point of an escape, which may take two, and its length.
    fn code_point(&self) -> Option<(char, usize)> {
        let unit = self.hex4(2)?;
        let (point, len) = match unit {
            0xd800..=0xdbff => {
                if self.byte(6) != b'\\' || self.byte(7) != b'u' {
                    return None;
                }
                let low = self.hex4(8)?;
                if !(0xdc00..=0xdfff).contains(&low) {
                    return None;
                }
                (((unit & 0x3ff) << 10 | (low & 0x3ff)) + 0x10000, 12)
            }
            unit => (unit, 6),
        };
        // A second half alone is none.
        Some((char::from_u32(point)?, len))
    }

    fn hex4(&self, ahead: usize) -> Option<u32> {
        (ahead..ahead + 4).try_fold(0, |value, at| {
            Some(value << 4 | char::from(self.byte(at)).to_digit(16)?)
        })
    }
}

/// Puts so many values on top into a table that is as large as it would have become.
fn push_array(stack: &mut Stack<'_>, len: i32) -> Result<(), Raise> {
    let at = stack.top() - len + 1;
    stack.push_table((len as usize).next_power_of_two(), 0);
    stack.insert(at);
    for index in (1..=len).rev() {
        stack.raw_set_index(at, index)?;
    }
    Ok(())
}

/// So many digits are an exact double, also behind a point.
const EXACT_DIGITS: usize = 15;
const POWERS: [u64; EXACT_DIGITS + 1] = {
    let mut powers = [1; EXACT_DIGITS + 1];
    let mut at = 1;
    while at <= EXACT_DIGITS {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// The number that digits at the beginning are, and how many; one that does not fit is not told.
#[inline]
fn digits(text: &[u8]) -> (u64, usize) {
    let mut value = 0u64;
    for (at, byte) in text.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return (value, at);
        }
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
    }
    (value, text.len())
}

/// How many bytes of a string are just themselves: up to a quote, a backslash or a NUL.
#[inline]
fn plain_len(text: &[u8]) -> Option<usize> {
    const LOW: u64 = u64::MAX / 255;
    const HIGH: u64 = LOW << 7;
    let mut at = 0;
    while let Some(&word) = text[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(word);
        // The high bit of each byte that is 0, and maybe of some above one.
        let zeros = |word: u64| word.wrapping_sub(LOW) & !word & HIGH;
        let quotes = zeros(word ^ (LOW * u64::from(b'"')));
        let found = quotes | zeros(word ^ (LOW * u64::from(b'\\'))) | zeros(word);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = text[at..]
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\' | 0))?;
    Some(at + rest)
}

fn is_inf_or_nan(text: &[u8]) -> bool {
    text.get(..3)
        .is_some_and(|word| word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"nan"))
}

/// Whether C would read a number here that is none of JSON's.
fn is_invalid_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    match text {
        [b'0', b'x' | b'X' | b'0'..=b'9', ..] => true,
        _ => is_inf_or_nan(text),
    }
}
