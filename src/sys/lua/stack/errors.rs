//! Errors with the texts of Lua's auxiliary library, and arguments as it checks them.

use super::{Kind, Raise, Stack};

impl Stack<'_> {
    /// An error whose text begins with the line of the script that has called (`luaL_error`).
    #[cold]
    pub fn error(&mut self, text: impl AsRef<[u8]>) -> Raise {
        let mut whole = Vec::new();
        if let Some((source, line)) = self.location(1)
            && line > 0
        {
            whole.extend_from_slice(&source);
            whole.extend_from_slice(format!(":{line}: ").as_bytes());
        }
        whole.extend_from_slice(text.as_ref());
        self.room_for_error();
        self.push_string(whole);
        Raise
    }

    /// An error about an argument (`luaL_argerror`): `bad argument #1 to 'encode' (...)`.
    #[cold]
    pub fn argument_error(&mut self, argument: i32, text: impl AsRef<[u8]>) -> Raise {
        let mut whole = match (self.called_as(0), self.location(0)) {
            (None, None) => format!("bad argument #{argument}").into_bytes(),
            (None, Some(_)) => format!("bad argument #{argument} to '?'").into_bytes(),
            (Some((name, is_method)), _) => match argument - i32::from(is_method) {
                0 if is_method => [&b"calling '"[..], &name, b"' on bad self"].concat(),
                argument => {
                    let argument = format!("bad argument #{argument} to '");
                    [argument.as_bytes(), &name, b"'"].concat()
                }
            },
        };
        whole.extend_from_slice(b" (");
        whole.extend_from_slice(text.as_ref());
        whole.push(b')');
        self.error(whole)
    }

    /// A number as an argument, or a string that looks like one (`luaL_checknumber`).
    #[inline]
    pub fn number_argument(&mut self, argument: i32) -> Result<f64, Raise> {
        match self.to_number(argument) {
            Some(number) => Ok(number),
            None => Err(self.type_error(argument, "number")),
        }
    }

    /// Makes sure that an argument is a string; a number becomes one (`luaL_checklstring`).
    #[inline]
    pub fn string_argument(&mut self, argument: i32) -> Result<(), Raise> {
        match self.kind(argument) != Kind::None && self.make_string(argument) {
            true => Ok(()),
            false => Err(self.type_error(argument, "string")),
        }
    }

    /// An error about the type of an argument (`luaL_typerror`).
    #[cold]
    pub fn type_error(&mut self, argument: i32, expected: &str) -> Raise {
        let got = self.kind(argument).name();
        self.argument_error(argument, format!("{expected} expected, got {got}"))
    }
}
