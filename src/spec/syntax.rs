//! The notation in which a row writes down its arguments, and its parser.
//!
//! COMMAND DOCS describes each argument of a command: name, type, token, whether it is optional,
//! and so on, nested. A row says the same in one line of text, much as the documentation of Redis
//! prints a command, and this module turns the line into [`Argument`]s. It is read when somebody
//! asks for the documentation; a test reads all rows.
//!
//! ```text
//! arguments = argument, separated by spaces
//! argument  = [ TOKEN "=" ] name [ kind ] suffixes
//!           | TOKEN suffixes                    a word sent as it is (pure-token), named in lower case
//!           | name "=" TOKEN suffixes           the same with a name of its own
//! kind      = (nothing)                         string
//!           | ":" type                          key, integer, double, pattern, unix-time, string
//!           | "#" number                        key, of the key spec with that index
//!           | "(" argument { "|" argument } ")" oneof: exactly one of them
//!           | "{" arguments "}"                 block: all of them, in this order
//! suffixes, in any order:
//!             "?"        optional
//!             "*"        multiple: may be repeated
//!             "+"        multiple_token: the token is repeated, too
//!             "@" 7.0.0  since this version
//!             "!" 7.0.0  deprecated since this version
//!             "#" number the key spec that Valkey gives for what is no key (`numfields:integer#0`)
//!             '"' text '"'  shown as this text instead of the name
//!             "`" text "`"  what it is for, where the command's summary does not say it
//! ```
//!
//! A TOKEN is a word of upper-case letters, or anything in single quotes (`'*'`, `'='`). Examples:
//! `key#0 value condition(NX|XX)? GET?@6.2.0`, `data{key#0 value}*`, `MATCH=pattern:pattern?`,
//! `id-auto='*'`.
//!
//! To add a fact about arguments: a suffix here, and its field in the reply of `commands::command`.

use std::fmt;

/// What an argument is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Any bytes.
    String,
    /// A signed integer.
    Integer,
    /// A floating point number.
    Double,
    /// A key; the index of its key spec when it has one.
    Key(Option<u16>),
    /// A glob.
    Pattern,
    /// Seconds or milliseconds since 1970.
    UnixTime,
    /// A word that is sent as it is.
    PureToken,
    /// One of several arguments.
    OneOf,
    /// Several arguments in order.
    Block,
}

impl Kind {
    /// The name that COMMAND DOCS shows.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Double => "double",
            Kind::Key(_) => "key",
            Kind::Pattern => "pattern",
            Kind::UnixTime => "unix-time",
            Kind::PureToken => "pure-token",
            Kind::OneOf => "oneof",
            Kind::Block => "block",
        }
    }
}

/// One argument of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// The index of a key spec although it is no key.
    pub key_spec: Option<u16>,
    /// What is shown for it; none for [`Kind::OneOf`] and [`Kind::Block`], whose parts are shown.
    pub display: Option<String>,
    /// The word in front of it, or that it consists of.
    pub token: Option<&'static str>,
    /// What it is for.
    pub summary: Option<&'static str>,
    /// The version that introduced it, when that is later than the command.
    pub since: Option<&'static str>,
    /// The version from which it is deprecated.
    pub deprecated_since: Option<&'static str>,
    /// It may be left out.
    pub optional: bool,
    /// It may be repeated.
    pub multiple: bool,
    /// When it is repeated, so is its token.
    pub multiple_token: bool,
    /// Parts of a oneof or block.
    pub arguments: Vec<Argument>,
}

/// A row's syntax that does not follow the notation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadSyntax {
    /// Offset into the text.
    pub at: usize,
    /// What was expected there.
    pub expected: &'static str,
}

impl fmt::Display for BadSyntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} expected at offset {}", self.expected, self.at)
    }
}

/// Deepest nesting of a oneof or block.
const DEPTH_MAX: usize = 8;

/// The arguments that `text` describes; see the module's text for the notation.
pub fn parse(text: &'static str) -> Result<Vec<Argument>, BadSyntax> {
    let mut cursor = Cursor { text, at: 0 };
    let arguments = cursor.sequence(0)?;
    match cursor.peek() {
        None => Ok(arguments),
        Some(_) => Err(cursor.wants("an argument")),
    }
}

struct Cursor {
    text: &'static str,
    at: usize,
}

/// A word of the notation, and whether it can only be a token.
struct Word {
    text: &'static str,
    is_token: bool,
}

impl Cursor {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn wants(&self, expected: &'static str) -> BadSyntax {
        BadSyntax {
            at: self.at,
            expected,
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let hit = self.peek() == Some(byte);
        self.at += hit as usize;
        hit
    }

    /// Bytes as long as `fits`; an error when there are none.
    fn run(
        &mut self,
        expected: &'static str,
        fits: impl Fn(u8) -> bool,
    ) -> Result<&'static str, BadSyntax> {
        let rest = &self.text.as_bytes()[self.at..];
        let len = rest.iter().take_while(|&&byte| fits(byte)).count();
        let found = self.text.get(self.at..self.at + len);
        match found.filter(|found| !found.is_empty()) {
            Some(found) => {
                self.at += len;
                Ok(found)
            }
            None => Err(self.wants(expected)),
        }
    }

    /// Text up to a closing quote, which is consumed; the opening one was.
    fn quoted(&mut self, quote: u8) -> Result<&'static str, BadSyntax> {
        let text = self.run("text in quotes", |byte| byte != quote)?;
        match self.take(quote) {
            true => Ok(text),
            false => Err(self.wants("a closing quote")),
        }
    }

    fn word(&mut self) -> Result<Word, BadSyntax> {
        if self.take(b'\'') {
            return Ok(Word {
                text: self.quoted(b'\'')?,
                is_token: true,
            });
        }
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte);
        let text = self.run("a name or a token", is_word)?;
        let is_token = !text.bytes().any(|byte| byte.is_ascii_lowercase());
        Ok(Word { text, is_token })
    }

    fn version(&mut self) -> Result<&'static str, BadSyntax> {
        self.run("a version", |byte| byte.is_ascii_digit() || byte == b'.')
    }

    fn index(&mut self) -> Result<u16, BadSyntax> {
        let digits = self.run("a number", |byte| byte.is_ascii_digit())?;
        digits.parse().map_err(|_| self.wants("a smaller number"))
    }

    fn sequence(&mut self, depth: usize) -> Result<Vec<Argument>, BadSyntax> {
        let mut arguments = Vec::new();
        loop {
            while self.take(b' ') {}
            if matches!(self.peek(), None | Some(b'}')) {
                return Ok(arguments);
            }
            arguments.push(self.argument(depth)?);
            if !matches!(self.peek(), None | Some(b' ' | b'}')) {
                return Err(self.wants("a space"));
            }
        }
    }

    fn argument(&mut self, depth: usize) -> Result<Argument, BadSyntax> {
        if depth > DEPTH_MAX {
            return Err(self.wants("less nesting"));
        }
        let first = self.word()?;
        let (name, token) = match self.take(b'=') {
            false if first.is_token => (None, Some(first.text)),
            false => (Some(first.text), None),
            true => {
                let second = self.word()?;
                match (first.is_token, second.is_token) {
                    (true, false) => (Some(second.text), Some(first.text)),
                    (false, true) => {
                        return self.finish(first.text.into(), Kind::PureToken, Some(second.text));
                    }
                    _ => return Err(self.wants("a token and a name")),
                }
            }
        };
        let Some(name) = name else {
            let name = token.unwrap_or_default().to_ascii_lowercase();
            return self.finish(name, Kind::PureToken, token);
        };
        let (kind, parts) = self.kind(depth)?;
        let mut argument = self.finish(name.into(), kind, token)?;
        argument.arguments = parts;
        Ok(argument)
    }

    fn kind(&mut self, depth: usize) -> Result<(Kind, Vec<Argument>), BadSyntax> {
        if self.take(b'(') {
            let mut parts = vec![self.argument(depth + 1)?];
            while self.take(b'|') {
                parts.push(self.argument(depth + 1)?);
            }
            return match self.take(b')') {
                true => Ok((Kind::OneOf, parts)),
                false => Err(self.wants("| or )")),
            };
        }
        if self.take(b'{') {
            let parts = self.sequence(depth + 1)?;
            return match self.take(b'}') {
                true => Ok((Kind::Block, parts)),
                false => Err(self.wants("}")),
            };
        }
        if self.take(b'#') {
            return Ok((Kind::Key(Some(self.index()?)), Vec::new()));
        }
        if !self.take(b':') {
            return Ok((Kind::String, Vec::new()));
        }
        let is_type = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
        let kind = match self.run("a type", is_type)? {
            "string" => Kind::String,
            "integer" => Kind::Integer,
            "double" => Kind::Double,
            "key" => Kind::Key(None),
            "pattern" => Kind::Pattern,
            "unix-time" => Kind::UnixTime,
            _ => return Err(self.wants("a known type")),
        };
        Ok((kind, Vec::new()))
    }

    /// Reads the suffixes.
    fn finish(
        &mut self,
        name: String,
        kind: Kind,
        token: Option<&'static str>,
    ) -> Result<Argument, BadSyntax> {
        let display = match kind {
            Kind::OneOf | Kind::Block => None,
            _ => Some(name.clone()),
        };
        let mut argument = Argument {
            name,
            kind,
            key_spec: None,
            display,
            token,
            summary: None,
            since: None,
            deprecated_since: None,
            optional: false,
            multiple: false,
            multiple_token: false,
            arguments: Vec::new(),
        };
        loop {
            match self.peek() {
                Some(b'?') => argument.optional = true,
                Some(b'*') => argument.multiple = true,
                Some(b'+') => (argument.multiple, argument.multiple_token) = (true, true),
                Some(b'@') => {
                    self.at += 1;
                    argument.since = Some(self.version()?);
                    continue;
                }
                Some(b'!') => {
                    self.at += 1;
                    argument.deprecated_since = Some(self.version()?);
                    continue;
                }
                Some(b'#') => {
                    self.at += 1;
                    argument.key_spec = Some(self.index()?);
                    continue;
                }
                Some(b'"') => {
                    self.at += 1;
                    argument.display = Some(self.quoted(b'"')?.into());
                    continue;
                }
                Some(b'`') => {
                    self.at += 1;
                    argument.summary = Some(self.quoted(b'`')?);
                    continue;
                }
                _ => return Ok(argument),
            }
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An argument as a compact text that shows every field that is set.
    fn show(argument: &Argument) -> String {
        let mut text = format!("{}:{}", argument.name, argument.kind.name());
        if let Kind::Key(Some(index)) = argument.kind {
            text += &format!(" spec={index}");
        }
        if let Some(index) = argument.key_spec {
            text += &format!(" spec={index}");
        }
        if let Some(display) = argument
            .display
            .as_ref()
            .filter(|shown| **shown != argument.name)
        {
            text += &format!(" display={display}");
        }
        let texts = [
            ("token", argument.token),
            ("summary", argument.summary),
            ("since", argument.since),
            ("deprecated", argument.deprecated_since),
        ];
        for (name, value) in texts {
            text += &value
                .map(|value| format!(" {name}={value}"))
                .unwrap_or_default();
        }
        let flags = [
            ("optional", argument.optional),
            ("multiple", argument.multiple),
            ("multiple_token", argument.multiple_token),
        ];
        for (name, _) in flags.iter().filter(|(_, set)| *set) {
            text += &format!(" {name}");
        }
        if !argument.arguments.is_empty() {
            let parts: Vec<String> = argument.arguments.iter().map(show).collect();
            text += &format!(" [{}]", parts.join(", "));
        }
        text
    }

    fn shown(text: &'static str) -> String {
        match parse(text) {
            Ok(arguments) => arguments.iter().map(show).collect::<Vec<_>>().join("; "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn plain_arguments() {
        assert_eq!(shown(""), "");
        assert_eq!(shown("key#0 value"), "key:key spec=0; value:string");
        assert_eq!(shown("key:key n:integer"), "key:key; n:integer");
        assert_eq!(shown("a:double b:pattern c:unix-time d:string"), {
            "a:double; b:pattern; c:unix-time; d:string"
        });
    }

    #[test]
    fn tokens_and_names() {
        assert_eq!(shown("GET"), "get:pure-token token=GET");
        assert_eq!(shown("LIB-NAME=name"), "name:string token=LIB-NAME");
        assert_eq!(
            shown("COUNT=count:integer?"),
            "count:integer token=COUNT optional"
        );
        assert_eq!(shown("auto-id='*'"), "auto-id:pure-token token=*");
        assert_eq!(shown("max=MAX?"), "max:pure-token token=MAX optional");
        assert_eq!(shown("'='=exact"), "exact:string token==");
    }

    #[test]
    fn suffixes_in_any_order() {
        assert_eq!(
            shown(r#"addr?@8.1.0"ip:port""#),
            "addr:string display=ip:port since=8.1.0 optional"
        );
        assert_eq!(
            shown(r#"addr"ip:port"!2.8.12*@1.0.0"#),
            "addr:string display=ip:port since=1.0.0 deprecated=2.8.12 multiple"
        );
        assert_eq!(
            shown("IFEQ=old@8.1.0`Only then.`"),
            "old:string token=IFEQ summary=Only then. since=8.1.0"
        );
        assert_eq!(shown("n:integer?#1"), "n:integer spec=1 optional");
        assert_eq!(shown("GET=pattern:pattern+?"), {
            "pattern:pattern token=GET optional multiple multiple_token"
        });
    }

    #[test]
    fn nesting() {
        assert_eq!(
            shown("data{key#0 value}* when(NX|EX=seconds:integer@2.6.12|ab{c D})?"),
            "data:block multiple [key:key spec=0, value:string]; \
             when:oneof optional [nx:pure-token token=NX, seconds:integer token=EX since=2.6.12, \
             ab:block [c:string, d:pure-token token=D]]"
        );
        assert_eq!(shown("TYPE=kind(A|B)"), {
            "kind:oneof token=TYPE [a:pure-token token=A, b:pure-token token=B]"
        });
    }

    #[test]
    fn what_does_not_follow_the_notation_is_told() {
        for (text, error) in [
            ("key#", "a number expected at offset 4"),
            ("key#99999", "a smaller number expected at offset 9"),
            ("a:sting", "a known type expected at offset 7"),
            ("a(", "a name or a token expected at offset 2"),
            ("a(b", "| or ) expected at offset 3"),
            ("a{b", "} expected at offset 3"),
            ("a}", "an argument expected at offset 1"),
            ("a@x", "a version expected at offset 2"),
            ("a\"b", "a closing quote expected at offset 3"),
            ("''", "text in quotes expected at offset 1"),
            ("a=b", "a token and a name expected at offset 3"),
            ("A=B", "a token and a name expected at offset 3"),
            ("a$b", "a space expected at offset 1"),
            ("a:integer:integer", "a space expected at offset 9"),
            (
                "a(b(c(d(e(f(g(h(i(j(k))))))))))",
                "less nesting expected at offset 18",
            ),
        ] {
            assert_eq!(shown(text), error, "{text}");
        }
    }
}
