//! The options that SET, GETEX and MSETEX share, and the expiry times of the whole family.
//!
//! The words are read first, all of them: a syntax error anywhere wins over a bad number. Of two
//! options of one kind only the same word may be repeated, and then the last one counts; IFEQ may
//! not be repeated.
//!
//! To add an option: its field in [`Allowed`] and [`Options`], its word in [`Options::parse`].

use crate::spec::{Args, CmdError};
use crate::util::{ascii, num};

/// Which options a command takes beside EX, PX, EXAT and PXAT.
pub(super) struct Allowed {
    keepttl: bool,
    persist: bool,
    nx_xx: bool,
    ifeq_get: bool,
}

/// Options of SET.
pub(super) const SET: Allowed = Allowed {
    keepttl: true,
    persist: false,
    nx_xx: true,
    ifeq_get: true,
};

/// Options of GETEX.
pub(super) const GETEX: Allowed = Allowed {
    keepttl: false,
    persist: true,
    nx_xx: false,
    ifeq_get: false,
};

/// Options of MSETEX.
pub(super) const MSETEX: Allowed = Allowed {
    keepttl: true,
    persist: false,
    nx_xx: true,
    ifeq_get: false,
};

/// Options as they were given.
pub(super) struct Options<'a> {
    pub(super) condition: Condition<'a>,
    pub(super) expiry: Expiry<'a>,
    /// Answer the old value.
    pub(super) get: bool,
}

/// When a write is to happen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition<'a> {
    Always,
    /// The key must not be there.
    Nx,
    /// The key must be there.
    Xx,
    /// The key must be there and its value this one.
    IfEq(&'a [u8]),
}

/// What is to become of the expiry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry<'a> {
    /// Nothing was said.
    Unsaid,
    Keep,
    Persist,
    /// A time, not yet read as a number.
    At(Unit, &'a [u8]),
}

/// How an expiry time is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Seconds from now.
    Ex,
    /// Milliseconds from now.
    Px,
    /// Unix time in seconds.
    ExAt,
    /// Unix time in milliseconds.
    PxAt,
}

impl<'a> Options<'a> {
    /// Reads all remaining arguments.
    pub(super) fn parse(args: &mut Args<'a>, allowed: &Allowed) -> Result<Options<'a>, CmdError> {
        let mut options = Options {
            condition: Condition::Always,
            expiry: Expiry::Unsaid,
            get: false,
        };
        while let Some(word) = args.option() {
            let mut buffer = [0; 8];
            match ascii::lower_into(word, &mut buffer) {
                Some(b"nx") if allowed.nx_xx => options.only(Condition::Nx)?,
                Some(b"xx") if allowed.nx_xx => options.only(Condition::Xx)?,
                Some(b"ifeq") if allowed.ifeq_get && options.condition == Condition::Always => {
                    options.condition = Condition::IfEq(args.bytes()?);
                }
                Some(b"get") if allowed.ifeq_get => options.get = true,
                Some(b"keepttl") if allowed.keepttl => options.expire(Expiry::Keep)?,
                Some(b"persist") if allowed.persist => options.expire(Expiry::Persist)?,
                Some(b"ex") => options.expire(Expiry::At(Unit::Ex, args.bytes()?))?,
                Some(b"px") => options.expire(Expiry::At(Unit::Px, args.bytes()?))?,
                Some(b"exat") => options.expire(Expiry::At(Unit::ExAt, args.bytes()?))?,
                Some(b"pxat") => options.expire(Expiry::At(Unit::PxAt, args.bytes()?))?,
                _ => return Err(CmdError::Syntax),
            }
        }
        Ok(options)
    }

    /// The expiry time that was given, Unix milliseconds. `command` is the name for the error.
    pub(super) fn expire_at_ms(
        &self,
        now_ms: u64,
        command: &'static str,
    ) -> Result<Option<u64>, CmdError> {
        match self.expiry {
            Expiry::At(unit, time) => expire_at_ms(time, unit, now_ms, command).map(Some),
            _ => Ok(None),
        }
    }

    fn only(&mut self, condition: Condition<'a>) -> Result<(), CmdError> {
        if self.condition != Condition::Always && self.condition != condition {
            return Err(CmdError::Syntax);
        }
        self.condition = condition;
        Ok(())
    }

    fn expire(&mut self, expiry: Expiry<'a>) -> Result<(), CmdError> {
        let same = match (self.expiry, expiry) {
            (Expiry::Unsaid, _) => true,
            (Expiry::At(before, _), Expiry::At(unit, _)) => before == unit,
            (before, now) => before == now,
        };
        if !same {
            return Err(CmdError::Syntax);
        }
        self.expiry = expiry;
        Ok(())
    }
}

/// An expiry time as a client writes it, in Unix milliseconds; at least 1, and possibly past.
pub(super) fn expire_at_ms(
    time: &[u8],
    unit: Unit,
    now_ms: u64,
    command: &'static str,
) -> Result<u64, CmdError> {
    let time = num::parse_i64(time).ok_or(CmdError::NotInteger)?;
    let time_ms = match unit {
        Unit::Ex | Unit::ExAt => time.checked_mul(1000),
        Unit::Px | Unit::PxAt => Some(time),
    };
    let at_ms = match unit {
        Unit::Ex | Unit::Px => time_ms.and_then(|time_ms| time_ms.checked_add_unsigned(now_ms)),
        Unit::ExAt | Unit::PxAt => time_ms,
    };
    // A relative time that is not positive would pass as a point in time otherwise.
    at_ms
        .filter(|_| time > 0)
        .and_then(|at_ms| u64::try_from(at_ms).ok())
        .ok_or(CmdError::InvalidExpire(command.into()))
}
