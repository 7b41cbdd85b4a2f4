//! Words of Lua 5.1. What is no word ends the analysis.

use std::borrow::Cow;

/// A word.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Token<'a> {
    /// A name or a keyword.
    Word(&'a [u8]),
    /// A literal string: its bytes.
    String(Cow<'a, [u8]>),
    /// A number, if it is a small integer: which.
    Number(Option<i64>),
    /// Anything else, by its characters.
    Sign(&'static str),
    /// There are no more.
    End,
}

/// Signs, longer ones before those that they begin with.
const SIGNS: [&str; 26] = [
    "...", "..", "==", "~=", "<=", ">=", "+", "-", "*", "/", "%", "^", "#", "<", ">", "=", "(",
    ")", "{", "}", "[", "]", ";", ":", ",", ".",
];

/// Reads a source word by word.
pub(super) struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lexer<'a> {
    /// The first line is left out if it is a shebang, as it is when a script is compiled.
    pub(super) fn new(source: &'a [u8]) -> Lexer<'a> {
        let at = match source.starts_with(b"#!") {
            true => memchr::memchr(b'\n', source).unwrap_or(source.len()),
            false => 0,
        };
        Lexer { bytes: source, at }
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// The next word.
    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blanks()?;
        let rest = &self.bytes[self.at..];
        let Some(&first) = rest.first() else {
            return Some(Token::End);
        };
        match first {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let is_inside = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
                let len = rest.iter().take_while(|byte| is_inside(byte)).count();
                self.at += len;
                Some(Token::Word(&rest[..len]))
            }
            b'0'..=b'9' => self.number(),
            b'.' if self.peek(1).is_ascii_digit() => self.number(),
            b'"' | b'\'' => self.string(first),
            b'[' if matches!(self.peek(1), b'[' | b'=') => self.long_bracket().map(Token::String),
            _ => {
                let sign = SIGNS
                    .iter()
                    .find(|sign| rest.starts_with(sign.as_bytes()))?;
                self.at += sign.len();
                Some(Token::Sign(sign))
            }
        }
    }

    fn skip_blanks(&mut self) -> Option<()> {
        loop {
            match self.peek(0) {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => self.at += 1,
                b'-' if self.peek(1) == b'-' => {
                    self.at += 2;
                    if self.peek(0) == b'[' && self.is_long_bracket() {
                        self.long_bracket()?;
                        continue;
                    }
                    // A line of Lua's ends with either, and a byte 0 ends nothing.
                    let rest = &self.bytes[self.at..];
                    self.at += memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                }
                _ => return Some(()),
            }
        }
    }

    /// Digits as Lua takes them together; what they are is looked at only for plain integers.
    fn number(&mut self) -> Option<Token<'a>> {
        let start = self.at;
        while self.peek(0).is_ascii_digit() || self.peek(0) == b'.' {
            self.at += 1;
        }
        if matches!(self.peek(0), b'e' | b'E') {
            self.at += 1 + usize::from(matches!(self.peek(1), b'+' | b'-'));
        }
        while self.peek(0).is_ascii_alphanumeric() || self.peek(0) == b'_' {
            self.at += 1;
        }
        let digits = &self.bytes[start..self.at];
        let is_plain = digits.len() < 10 && digits.iter().all(u8::is_ascii_digit);
        Some(Token::Number(is_plain.then(|| {
            digits
                .iter()
                .fold(0, |n, digit| n * 10 + i64::from(digit - b'0'))
        })))
    }

    fn string(&mut self, quote: u8) -> Option<Token<'a>> {
        self.at += 1;
        let start = self.at;
        let plain = self.bytes[start..]
            .iter()
            .position(|&byte| byte == quote || matches!(byte, b'\\' | b'\n' | b'\r'))?;
        if self.bytes[start + plain] == quote {
            self.at += plain + 1;
            return Some(Token::String(Cow::Borrowed(
                &self.bytes[start..start + plain],
            )));
        }
        let mut out = Vec::new();
        loop {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            match byte {
                b'\n' | b'\r' => return None,
                b'\\' => out.push(self.escape()?),
                _ if byte == quote => return Some(Token::String(Cow::Owned(out))),
                _ => out.push(byte),
            }
        }
    }

    fn escape(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(match byte {
            b'a' => 0x07,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            b'\n' | b'\r' => {
                // Two different ones are one end of a line.
                if matches!(self.peek(0), b'\n' | b'\r') && self.peek(0) != byte {
                    self.at += 1;
                }
                b'\n'
            }
            b'0'..=b'9' => {
                let mut code = u32::from(byte - b'0');
                for _ in 0..2 {
                    if !self.peek(0).is_ascii_digit() {
                        break;
                    }
                    code = code * 10 + u32::from(self.peek(0) - b'0');
                    self.at += 1;
                }
                u8::try_from(code).ok()?
            }
            _ => byte,
        })
    }

    /// Whether what begins here is `[[`, or `[=[` with any number of `=`.
    fn is_long_bracket(&self) -> bool {
        let rest = &self.bytes[self.at + 1..];
        let level = rest.iter().take_while(|&&byte| byte == b'=').count();
        rest.get(level) == Some(&b'[')
    }

    /// What stands between long brackets.
    fn long_bracket(&mut self) -> Option<Cow<'a, [u8]>> {
        if !self.is_long_bracket() {
            return None;
        }
        let rest = &self.bytes[self.at + 1..];
        let level = rest.iter().take_while(|&&byte| byte == b'=').count();
        let start = self.at + 1 + level + 1;
        let end = [&b"]"[..], &vec![b'='; level], b"]"].concat();
        let len = memchr::memmem::find(&self.bytes[start..], &end)?;
        self.at = start + len + end.len();
        let text = &self.bytes[start..start + len];
        // Ends of lines become `\n`, the first is left out: only plain text is understood here.
        match memchr::memchr2(b'\n', b'\r', text) {
            None => Some(Cow::Borrowed(text)),
            Some(_) => Some(Cow::Owned(lines(text))),
        }
    }
}

/// Text between long brackets as Lua has it.
fn lines(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        if !matches!(byte, b'\n' | b'\r') {
            out.push(byte);
            continue;
        }
        let is_first = at == 1;
        if text
            .get(at)
            .is_some_and(|&next| matches!(next, b'\n' | b'\r') && next != byte)
        {
            at += 1;
        }
        if !is_first {
            out.push(b'\n');
        }
    }
    out
}
