//! Replies to Lua values and back.
//!
//! A command's reply is read where it was written (`push_reply`): what is no string, number or array in
//! Lua's sense becomes a table with one field that says what it is (`ok`, `err`, `double`, `map`, `set`,
//! `big_number`, `verbatim_string`). The same tables are what a script returns to answer such things
//! (`reply`). How numbers become arguments of commands is here, too (`push_argument`).
//!
//! Invariants: what a script returns is walked with the stack of Lua only, which bounds the depth as in
//! Valkey, and never runs any code of the script; what it writes is bounded ([`REPLY_BYTES_MAX`],
//! [`REPLY_VALUES_MAX`]), since a table that contains another one twice doubles with every level.

use memchr::memchr;

use super::sandbox;
use super::vm::Failure;
use crate::resp::write::{Deferred, Mark, ReplyWriter};
use crate::spec::CmdError;
use crate::sys::lua::{Kind, Place, Plain, Raise, Ref, Stack};
use crate::util::num;

/// Longest reply of a script, bytes.
pub const REPLY_BYTES_MAX: usize = 1 << 30;
/// Most values in the reply of a script; few in tests, which are to end soon.
pub const REPLY_VALUES_MAX: usize = if cfg!(test) { 1 << 17 } else { 1 << 25 };
/// Values that Lua has room for on the stack of one call (`LUAI_MAXCSTACK`).
const STACK_VALUES_MAX: i32 = 8000;
/// Deepest reply of a command that is read.
const DEPTH_MAX: u32 = 100;

/// Names that are asked for with every value, kept so that they need not be hashed.
pub(super) struct Names {
    pub(super) keys: Ref,
    pub(super) argv: Ref,
    err: Ref,
    ok: Ref,
    double: Ref,
    big_number: Ref,
    verbatim_string: Ref,
    map: Ref,
    set: Ref,
    format: Ref,
    string: Ref,
    ignore: Ref,
}

impl Names {
    pub(super) fn new(stack: &mut Stack<'_>) -> Names {
        let mut keep = |name: &str| {
            stack.push_string(name);
            stack.keep()
        };
        Names {
            keys: keep("KEYS"),
            argv: keep("ARGV"),
            err: keep("err"),
            ok: keep("ok"),
            double: keep("double"),
            big_number: keep("big_number"),
            verbatim_string: keep("verbatim_string"),
            map: keep("map"),
            set: keep("set"),
            format: keep("format"),
            string: keep("string"),
            ignore: keep("ignore_error_stats_update"),
        }
    }
}

/// Text as C sees it: until its first NUL.
pub(super) fn until_nul(text: &[u8]) -> &[u8] {
    memchr(0, text).map_or(text, |end| &text[..end])
}

/// Pushes an array of strings.
pub(super) fn push_strings<'a>(
    stack: &mut Stack<'_>,
    strings: impl ExactSizeIterator<Item = &'a [u8]>,
) -> Result<(), Raise> {
    stack.push_table(strings.len(), 0);
    for (at, string) in (1..).zip(strings) {
        stack.push_string(string);
        stack.raw_set_index(-2, at)?;
    }
    Ok(())
}

// --- arguments of commands --------------------------------------------------------------------------

/// Appends a string or a number as the argument of a command.
#[inline]
pub(super) fn push_argument(value: Plain<'_>, out: &mut Vec<u8>) {
    match value {
        Plain::String(bytes) => out.extend_from_slice(bytes),
        Plain::Number(number) => push_number(number, out),
    }
}

/// Appends a number: all digits of whole ones, else the shortest that reads back the same.
fn push_number(number: f64, out: &mut Vec<u8>) {
    if number == 0.0 {
        return out.push(b'0');
    }
    if number.is_nan() && number.is_sign_negative() {
        out.push(b'-');
    }
    num::fmt_double(number, out);
}

// --- replies of commands to values ------------------------------------------------------------------

/// Pushes a command's reply, as the writer holds it.
pub(super) fn push_reply(stack: &mut Stack<'_>, names: &Names, bytes: &[u8]) -> Result<(), Raise> {
    let mut reader = Reader { bytes, at: 0 };
    reader.value(stack, names, 0)
}

/// Reads replies that [`ReplyWriter`] has written.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// The line that begins here, without its end.
    #[inline]
    fn line(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let len = memchr(b'\r', rest).unwrap_or(rest.len());
        self.at += len + 2;
        &rest[..len]
    }

    /// The bytes that a length has announced.
    #[inline]
    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let bytes = rest.get(..len).unwrap_or(rest);
        self.at += bytes.len() + 2;
        bytes
    }

    #[inline]
    fn integer(&mut self) -> i64 {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let is_negative = rest.first() == Some(&b'-');
        let digits = rest.get(usize::from(is_negative)..).unwrap_or_default();
        // As the negative number, of which there is one more.
        let (mut number, mut len) = (0i64, 0);
        for digit in digits.iter().map(|byte| byte.wrapping_sub(b'0')) {
            if digit > 9 {
                break;
            }
            number = number.wrapping_mul(10).wrapping_sub(digit.into());
            len += 1;
        }
        self.at += usize::from(is_negative) + len + 2;
        match is_negative {
            true => number,
            false => number.wrapping_neg(),
        }
    }

    /// A length; `None` if there is no value.
    #[inline]
    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.integer()).ok()
    }

    /// Pushes the value that begins here.
    fn value(&mut self, stack: &mut Stack<'_>, names: &Names, depth: u32) -> Result<(), Raise> {
        let Some(&kind) = self.bytes.get(self.at) else {
            return Err(stack.error("a reply has no end"));
        };
        self.at += 1;
        match kind {
            b'$' => match self.length() {
                Some(len) => stack.push_string(self.bytes(len)),
                None => stack.push_bool(false),
            },
            b':' => stack.push_number(self.integer() as f64),
            b'+' => {
                let text = self.line();
                push_field(stack, &names.ok, |stack| stack.push_string(text))?;
            }
            b'-' => {
                let text = self.line();
                push_error(stack, names, text)?;
            }
            b'_' => {
                self.line();
                stack.push_nil();
            }
            b'#' => {
                let is_true = self.line() == b"t";
                stack.push_bool(is_true);
            }
            b',' => {
                let number = double(self.line());
                push_field(stack, &names.double, |stack| stack.push_number(number))?;
            }
            b'(' => {
                let digits = self.line();
                push_field(stack, &names.big_number, |stack| stack.push_string(digits))?;
            }
            b'=' => {
                let len = self.length().unwrap_or_default();
                push_verbatim(stack, names, self.bytes(len))?;
            }
            _ => self.aggregate(kind, stack, names, depth)?,
        }
        Ok(())
    }

    fn aggregate(
        &mut self,
        kind: u8,
        stack: &mut Stack<'_>,
        names: &Names,
        depth: u32,
    ) -> Result<(), Raise> {
        if depth >= DEPTH_MAX {
            return Err(stack.error("a reply is nested too deep"));
        }
        stack.reserve(8)?;
        let Some(len) = self.length() else {
            stack.push_bool(false);
            return Ok(());
        };
        match kind {
            b'*' | b'>' => {
                stack.push_table(len, 0);
                for at in 1..=i32::try_from(len).unwrap_or(i32::MAX) {
                    self.value(stack, names, depth + 1)?;
                    stack.raw_set_index(-2, at)?;
                }
                Ok(())
            }
            b'%' | b'~' => {
                let is_map = kind == b'%';
                stack.push_table(0, 1);
                stack.push_ref(if is_map { &names.map } else { &names.set });
                stack.push_table(0, len);
                for _ in 0..len {
                    self.value(stack, names, depth + 1)?;
                    match is_map {
                        true => self.value(stack, names, depth + 1)?,
                        false => stack.push_bool(true),
                    }
                    stack.raw_set(-3)?;
                }
                stack.raw_set(-3)
            }
            b'|' => {
                for _ in 0..len.saturating_mul(2) {
                    self.value(stack, names, depth + 1)?;
                    stack.pop(1);
                }
                self.value(stack, names, depth + 1)
            }
            _ => Err(stack.error("a reply of no kind that is known")),
        }
    }
}

/// A double's text in a reply.
fn double(text: &[u8]) -> f64 {
    let text = std::str::from_utf8(text).unwrap_or_default();
    text.parse().unwrap_or(f64::NAN)
}

/// Pushes a table with one field.
#[inline]
fn push_field(
    stack: &mut Stack<'_>,
    name: &Ref,
    value: impl FnOnce(&mut Stack<'_>),
) -> Result<(), Raise> {
    stack.push_table(0, 1);
    stack.push_ref(name);
    value(stack);
    stack.raw_set(-3)
}

fn push_verbatim(stack: &mut Stack<'_>, names: &Names, bytes: &[u8]) -> Result<(), Raise> {
    let (format, text) = bytes.split_at_checked(4).unwrap_or((b"", bytes));
    stack.push_table(0, 1);
    stack.push_ref(&names.verbatim_string);
    stack.push_table(0, 2);
    stack.push_ref(&names.string);
    stack.push_string(text);
    stack.raw_set(-3)?;
    stack.push_ref(&names.format);
    stack.push_string(&format[..format.len().min(3)]);
    stack.raw_set(-3)?;
    stack.raw_set(-3)
}

/// Pushes the error of a command, as a table.
pub(super) fn push_error(stack: &mut Stack<'_>, names: &Names, text: &[u8]) -> Result<(), Raise> {
    let mut text = coded(text);
    // As in the reply that the command would have written.
    let line_ends = text.iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n'));
    line_ends.for_each(|byte| *byte = b' ');
    stack.push_table(0, 2);
    stack.push_ref(&names.err);
    stack.push_string(text);
    stack.raw_set(-3)?;
    stack.push_ref(&names.ignore);
    stack.push_bool(true);
    stack.raw_set(-3)
}

/// An error's text with a code in front: a single word is none. Line ends around the rest vanish, others
/// become spaces, as in a reply.
pub(super) fn coded(text: &[u8]) -> Vec<u8> {
    let text = until_nul(text);
    match memchr(b' ', text) {
        None => [b"ERR ", text].concat(),
        Some(end) => {
            let (code, rest) = (&text[..end], &text[end + 1..]);
            [code, b" ", trim_line_ends(rest)].concat()
        }
    }
}

/// The text without line ends at its ends.
pub(super) fn trim_line_ends(text: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b'\r' | b'\n');
    let Some(first) = text.iter().position(is_text) else {
        return &[];
    };
    let last = text.iter().rposition(is_text).unwrap_or(first);
    &text[first..=last]
}

// --- values to replies ------------------------------------------------------------------------------

/// Writes the value on top of the stack as a reply, and takes it. `on_error` is told the texts of the
/// errors in it, and whether they were counted before.
pub(super) fn reply(
    stack: &mut Stack<'_>,
    names: &Names,
    is_resp3: bool,
    out: &mut ReplyWriter,
    on_error: &mut dyn FnMut(&[u8], bool),
) {
    let mut answer = Answer {
        names,
        is_resp3,
        start: out.mark(),
        out,
        on_error,
        open: Vec::new(),
        values: 0,
        bytes: 0,
    };
    if !answer.all(stack) {
        let start = answer.start;
        out.truncate(start);
        let text = b"ERR The reply of the script is too large";
        out.error(text);
        on_error(text, false);
    }
}

/// A reply as it is written.
struct Answer<'a> {
    names: &'a Names,
    is_resp3: bool,
    start: Mark,
    out: &'a mut ReplyWriter,
    on_error: &'a mut dyn FnMut(&[u8], bool),
    /// Tables that are being walked, the outermost first.
    open: Vec<Open>,
    values: usize,
    bytes: usize,
}

/// A table that is being walked. On the stack it is the table, for maps and sets with the table inside
/// it that has the entries, and the key of the last entry.
struct Open {
    kind: OpenKind,
    deferred: Deferred,
    count: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OpenKind {
    Array,
    /// A map, whose last key was written, but not the value.
    MapValue,
    Map,
    Set,
}

impl Answer<'_> {
    /// Writes the value on top of the stack and all that it contains; false if that is too much.
    fn all(&mut self, stack: &mut Stack<'_>) -> bool {
        loop {
            self.values += 1;
            if self.values > REPLY_VALUES_MAX || self.bytes > REPLY_BYTES_MAX {
                return false;
            }
            self.value(stack);
            loop {
                let Some(open) = self.open.last_mut() else {
                    return true;
                };
                if open.step(stack) {
                    break;
                }
                if let Some(open) = self.open.pop() {
                    self.out.set_deferred(open.deferred, open.count);
                }
            }
        }
    }

    /// Writes the value on top of the stack and takes it; a table that contains values is opened instead,
    /// and stays.
    fn value(&mut self, stack: &mut Stack<'_>) {
        if stack.top() + 4 > STACK_VALUES_MAX {
            self.error(b"ERR reached lua stack limit", false);
            return stack.pop(1);
        }
        match stack.kind(-1) {
            Kind::String => {
                let bytes = stack.string(-1).unwrap_or_default();
                self.bytes += bytes.len() + 16;
                if self.bytes <= REPLY_BYTES_MAX {
                    self.out.bulk(bytes);
                }
            }
            Kind::Boolean => match (self.is_resp3, stack.is_true(-1)) {
                (true, is_true) => self.out.boolean(is_true),
                (false, true) => self.out.integer(1),
                (false, false) => self.out.null(),
            },
            Kind::Number => {
                let number = stack.number(-1).unwrap_or_default();
                self.out.integer(integer(number));
            }
            Kind::Table => return self.table(stack),
            _ => self.out.null(),
        }
        stack.pop(1);
    }

    fn error(&mut self, text: &[u8], is_counted: bool) {
        self.bytes += text.len();
        self.out.error(text);
        (self.on_error)(text, is_counted);
    }

    /// Pushes a field of the table on top; false, and nothing, if it is of another kind.
    #[inline]
    fn push_field(stack: &mut Stack<'_>, name: &Ref, kind: Kind) -> bool {
        stack.push_ref(name);
        stack.raw_get(-2);
        let is_there = stack.kind(-1) == kind;
        if !is_there {
            stack.pop(1);
        }
        is_there
    }

    /// A table says by one of its fields what it is; else it is an array.
    fn table(&mut self, stack: &mut Stack<'_>) {
        let names = self.names;
        let table = stack.top();
        if stack.is_list(-1) {
            let deferred = self.out.deferred_array();
            return self.open(OpenKind::Array, deferred);
        }
        if Self::push_field(stack, &names.err, Kind::String) {
            let text = until_nul(stack.string(-1).unwrap_or_default()).to_vec();
            stack.pop(1);
            let is_counted = is_counted(stack, names);
            self.error(&text, is_counted);
        } else if Self::push_field(stack, &names.ok, Kind::String) {
            let text = until_nul(stack.string(-1).unwrap_or_default());
            self.bytes += text.len();
            self.out.simple_bytes(text);
        } else if Self::push_field(stack, &names.double, Kind::Number) {
            self.out.double(stack.number(-1).unwrap_or_default());
        } else if Self::push_field(stack, &names.big_number, Kind::String) {
            let digits = until_nul(stack.string(-1).unwrap_or_default());
            self.bytes += digits.len();
            self.big_number(digits);
        } else if self.verbatim(stack) {
        } else if Self::push_field(stack, &names.map, Kind::Table) {
            stack.push_nil();
            let deferred = self.out.deferred_map();
            return self.open(OpenKind::Map, deferred);
        } else if Self::push_field(stack, &names.set, Kind::Table) {
            stack.push_nil();
            let deferred = self.out.deferred_set();
            return self.open(OpenKind::Set, deferred);
        } else {
            let deferred = self.out.deferred_array();
            return self.open(OpenKind::Array, deferred);
        }
        stack.set_top(table - 1);
    }

    fn open(&mut self, kind: OpenKind, deferred: Deferred) {
        self.bytes += 16;
        self.open.push(Open {
            kind,
            deferred,
            count: 0,
        });
    }

    /// Line ends become spaces, also where the number is a bulk string.
    fn big_number(&mut self, digits: &[u8]) {
        match memchr::memchr2(b'\r', b'\n', digits) {
            None => self.out.big_number(digits),
            Some(_) => {
                let is_end = |&byte: &u8| matches!(byte, b'\r' | b'\n');
                let clean = |byte: &u8| if is_end(byte) { b' ' } else { *byte };
                let digits: Vec<u8> = digits.iter().map(clean).collect();
                self.out.big_number(&digits);
            }
        }
    }

    /// A text with its format, if the table on top has one.
    fn verbatim(&mut self, stack: &mut Stack<'_>) -> bool {
        let table = stack.top();
        let is_there = Self::push_field(stack, &self.names.verbatim_string, Kind::Table)
            && Self::push_field(stack, &self.names.format, Kind::String)
            && {
                stack.push_ref(&self.names.string);
                stack.raw_get(-3);
                stack.kind(-1) == Kind::String
            };
        if is_there {
            let mut letters = [b' '; 3];
            let format = until_nul(stack.string(-2).unwrap_or_default());
            for (letter, &byte) in letters.iter_mut().zip(format) {
                // What would end a line, or is no text, can't be part of a reply's header.
                *letter = if byte.is_ascii_graphic() { byte } else { b' ' };
            }
            let text = stack.string(-1).unwrap_or_default();
            self.bytes += text.len() + 16;
            if self.bytes <= REPLY_BYTES_MAX {
                let format = std::str::from_utf8(&letters).unwrap_or("txt");
                self.out.verbatim(format, text);
            }
        }
        stack.set_top(table);
        is_there
    }
}

impl Open {
    /// Pushes what is to be written next; false, and everything of the table is dropped, if that was all.
    fn step(&mut self, stack: &mut Stack<'_>) -> bool {
        match self.kind {
            OpenKind::Array => {
                let at = i32::try_from(self.count + 1).unwrap_or(i32::MAX);
                stack.raw_get_index(-1, at);
                if stack.kind(-1) == Kind::Nil {
                    stack.pop(2);
                    return false;
                }
                self.count += 1;
            }
            OpenKind::MapValue => self.kind = OpenKind::Map,
            OpenKind::Map | OpenKind::Set => {
                // There is a key, and nothing is changed meanwhile: this can't fail.
                if stack.next(-2) != Ok(true) {
                    stack.pop(2);
                    return false;
                }
                self.count += 1;
                if self.kind == OpenKind::Set {
                    stack.pop(1);
                    stack.push_value(-1);
                } else {
                    stack.push_value(-2);
                    self.kind = OpenKind::MapValue;
                }
            }
        }
        true
    }
}

/// A number without its fraction, as C converts it on x86: what is none is the least.
fn integer(number: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    match (-LIMIT..LIMIT).contains(&number) {
        true => number as i64,
        false => i64::MIN,
    }
}

// --- errors of scripts ------------------------------------------------------------------------------

/// Whether the table on top is an error that was counted when its command failed.
fn is_counted(stack: &mut Stack<'_>, names: &Names) -> bool {
    stack.push_ref(&names.ignore);
    stack.raw_get(-2);
    let is_counted = stack.kind(-1) == Kind::Boolean && stack.is_true(-1);
    stack.pop(1);
    is_counted
}

/// What an error says: the value on top, which stays.
pub(super) fn error_text(stack: &mut Stack<'_>) -> Vec<u8> {
    if stack.kind(-1) != Kind::Table {
        return [b"ERR ", until_nul(&text_of(stack))].concat();
    }
    stack.push_string("err");
    let has_text = stack.get(-2).is_ok() && stack.make_string(-1);
    let text = match stack.string(-1) {
        Some(text) if has_text => until_nul(text).to_vec(),
        _ => b"ERR unknown error".to_vec(),
    };
    stack.pop(1);
    text
}

/// A value as `tostring` shows it, if it is no table.
fn text_of(stack: &mut Stack<'_>) -> Vec<u8> {
    match stack.kind(-1) {
        Kind::String | Kind::Number => {
            stack.push_value(-1);
            stack.make_string(-1);
            let text = stack.string(-1).unwrap_or_default().to_vec();
            stack.pop(1);
            text
        }
        Kind::Boolean if stack.is_true(-1) => b"true".to_vec(),
        Kind::Boolean => b"false".to_vec(),
        Kind::None | Kind::Nil => b"nil".to_vec(),
        Kind::Light => b"userdata: (nil)".to_vec(),
        kind => format!("{}: {:#x}", kind.name(), stack.identity(-1)).into_bytes(),
    }
}

/// Where an error was raised that the function has been called with which runs now.
pub(super) fn place(stack: &Stack<'_>) -> Option<Place> {
    match stack.place(1) {
        Some(place) if place.is_native => stack.place(2),
        place => place,
    }
}

/// What a script fails with by the error on top of the stack, which stays: its text, and where it was
/// raised. To be called by the function that Lua calls with the error.
pub(super) fn failure(stack: &mut Stack<'_>, names: &Names) -> Failure {
    let is_table = stack.kind(-1) == Kind::Table;
    if is_table && sandbox::is_front(stack, -1) {
        // Valkey notes the place in the table, which fails.
        const TEXT: &str = "ERR err_handler_def:10: Attempt to modify a readonly table script: \
                            on @err_handler_def:10.";
        return Failure {
            error: CmdError::text(TEXT),
            is_counted: false,
        };
    }
    let is_counted = is_table && is_counted(stack, names);
    let mut text = error_text(stack);
    if let Some(place) = place(stack) {
        text.extend_from_slice(b" script: on ");
        text.extend_from_slice(&place.source);
        text.extend_from_slice(format!(":{}.", place.line).as_bytes());
    }
    Failure {
        error: CmdError::owned(text),
        is_counted,
    }
}

#[cfg(test)]
mod tests;
