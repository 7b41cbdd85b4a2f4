//! The types of values and their encodings: what a value *means*, without keys, clock or protocol.
//!
//! `ds::entry` stores two opaque nibbles per entry, type and encoding; their meaning is here. To add a type: a variant of
//! [`Type`], its encodings in [`Encoding`], and a file beside `string.rs`.

pub mod string;

/// The type of a value, as TYPE names it. The number is the entry's type nibble.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Type {
    /// A byte string, or an integer that reads as one.
    String = 0,
}

impl Type {
    /// The type of an entry's nibble.
    pub const fn from_nibble(nibble: u8) -> Type {
        debug_assert!(nibble == Type::String as u8);
        Type::String
    }

    /// The name that TYPE and SCAN TYPE use.
    pub const fn name(self) -> &'static str {
        match self {
            Type::String => "string",
        }
    }
}

/// How a value is stored, as OBJECT ENCODING names it. The number is the entry's encoding nibble.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Encoding {
    /// A 64-bit integer.
    Int = 0,
    /// A short string.
    Embstr = 1,
    /// A long string, or one that was changed in place.
    Raw = 2,
}

impl Encoding {
    /// The encoding of an entry's nibble.
    pub const fn from_nibble(nibble: u8) -> Encoding {
        match nibble {
            0 => Encoding::Int,
            1 => Encoding::Embstr,
            _ => Encoding::Raw,
        }
    }

    /// The name that OBJECT ENCODING gives.
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Int => "int",
            Encoding::Embstr => "embstr",
            Encoding::Raw => "raw",
        }
    }
}
