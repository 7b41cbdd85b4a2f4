//! Writes JSON. Bytes that are no UTF-8 are shown as Redis's tools show them: `\xff`.

use std::fmt::{Display, Write as _};

/// A text of JSON that is being written.
#[derive(Default)]
pub(super) struct Json {
    text: String,
    /// Something stands before in the same object or array.
    has_before: bool,
}

impl Json {
    /// An object that is the whole text.
    pub(super) fn object(write: impl FnOnce(&mut Json)) -> String {
        let mut json = Json::default();
        json.enclosed(['{', '}'], write);
        json.text
    }

    fn enclosed(&mut self, [open, close]: [char; 2], write: impl FnOnce(&mut Json)) {
        self.text.push(open);
        self.has_before = false;
        write(self);
        self.text.push(close);
        self.has_before = true;
    }

    /// The name of a member, whose value comes next.
    fn name(&mut self, name: &str) {
        self.separate();
        self.quoted(name.as_bytes());
        self.text.push(':');
        self.has_before = false;
    }

    fn separate(&mut self) {
        if std::mem::replace(&mut self.has_before, true) {
            self.text.push(',');
        }
    }

    /// A member with a text.
    pub(super) fn string(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        self.item_string(value);
    }

    /// A member with a number that is finite, or a boolean.
    pub(super) fn plain(&mut self, name: &str, value: impl Display) {
        self.name(name);
        self.item_plain(value);
    }

    /// A member with a number, or null.
    pub(super) fn plain_or_null(&mut self, name: &str, value: Option<impl Display>) {
        match value {
            Some(value) => self.plain(name, value),
            None => self.plain(name, "null"),
        }
    }

    /// A member that is an object.
    pub(super) fn member(&mut self, name: &str, write: impl FnOnce(&mut Json)) {
        self.name(name);
        self.enclosed(['{', '}'], write);
    }

    /// A member that is an array.
    pub(super) fn array(&mut self, name: &str, write: impl FnOnce(&mut Json)) {
        self.name(name);
        self.enclosed(['[', ']'], write);
    }

    /// An element that is an object.
    pub(super) fn item(&mut self, write: impl FnOnce(&mut Json)) {
        self.separate();
        self.enclosed(['{', '}'], write);
    }

    /// An element that is a number or a boolean.
    pub(super) fn item_plain(&mut self, value: impl Display) {
        self.separate();
        // Writing into a string cannot fail.
        let _ = write!(self.text, "{value}");
    }

    /// An element that is a text.
    pub(super) fn item_string(&mut self, value: &[u8]) {
        self.separate();
        self.quoted(value);
    }

    fn quoted(&mut self, value: &[u8]) {
        self.text.push('"');
        for chunk in value.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '"' | '\\' => self.text.extend(['\\', c]),
                    '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                        let _ = write!(self.text, "\\u{:04x}", c as u32);
                    }
                    c => self.text.push(c),
                }
            }
            for byte in chunk.invalid() {
                let _ = write!(self.text, "\\\\x{byte:02x}");
            }
        }
        self.text.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_json() {
        let text = Json::object(|json| {
            json.string("a\"", b"\x00\xff\\\"\xc3\xa4\n\xe2\x80\xa8</script>");
            json.plain("n", 1.5);
            json.plain_or_null("none", None::<u8>);
            json.member("o", |json| json.plain("t", true));
            json.array("list", |json| {
                json.item(|_| {});
                json.item_plain(2);
                json.item_string(b"x");
            });
            json.array("empty", |_| {});
            json.plain("last", 0);
        });
        let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            parsed,
            serde_json::json!({
                "a\"": "\0\\xff\\\"ä\n\u{2028}</script>", "n": 1.5, "none": null,
                "o": {"t": true}, "list": [{}, 2, "x"], "empty": [], "last": 0,
            })
        );
    }
}
