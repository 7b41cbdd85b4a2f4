//! What stands behind the name of a line, as text. Most of it is integers: these go a shorter way than
//! through `fmt`, which would be a third of INFO's work.

use std::fmt::{self, Write as _};
use std::path;

use memchr::memchr2;

/// See the module's text.
pub(super) trait Figure {
    /// Writes it to the end of the text. It holds no line end.
    fn write(self, text: &mut String);
}

macro_rules! integers {
    ($($integer:ty)*) => {
        $(impl Figure for $integer {
            fn write(self, text: &mut String) {
                text.push_str(itoa::Buffer::new().format(self));
            }
        })*
    };
}

integers!(u8 u16 u32 u64 usize i8 i32 i64 u128);

/// A value that somebody has chosen (a path, for instance) begins no line of its own.
fn without_line_ends(text: &mut String, from: usize) {
    if memchr2(b'\r', b'\n', &text.as_bytes()[from..]).is_some() {
        let value = text.split_off(from);
        text.push_str(&value.replace(['\r', '\n'], "_"));
    }
}

impl Figure for &str {
    fn write(self, text: &mut String) {
        let from = text.len();
        text.push_str(self);
        without_line_ends(text, from);
    }
}

impl Figure for &String {
    fn write(self, text: &mut String) {
        self.as_str().write(text);
    }
}

impl Figure for String {
    fn write(self, text: &mut String) {
        self.as_str().write(text);
    }
}

impl Figure for path::Display<'_> {
    fn write(self, text: &mut String) {
        format_args!("{self}").write(text);
    }
}

impl Figure for fmt::Arguments<'_> {
    fn write(self, text: &mut String) {
        let from = text.len();
        // Writing into a string cannot fail.
        let _ = text.write_fmt(self);
        without_line_ends(text, from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_begins_a_line() {
        let mut text = "name\r\n".to_owned();
        "a\r\nb".write(&mut text);
        String::from("c\n").write(&mut text);
        format_args!("{}\r{}", 1, 2).write(&mut text);
        path::Path::new("/\n").display().write(&mut text);
        (-7i64).write(&mut text);
        assert_eq!(text, "name\r\na__bc_1_2/_-7");
    }
}
