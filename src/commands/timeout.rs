//! The timeout argument of blocking commands.

use super::Ctx;
use crate::spec::CmdError;
use crate::util::long_double::LongDouble;
use crate::util::num;

const NOT_INTEGER: CmdError = CmdError::text("ERR timeout is not an integer or out of range");
const NOT_FLOAT: CmdError = CmdError::text("ERR timeout is not a float or out of range");
const NEGATIVE: CmdError = CmdError::text("ERR timeout is negative");
const OUT_OF_RANGE: CmdError = CmdError::text("ERR timeout is out of range");

/// When a client that waits so many seconds from now gives up, Unix ms; `None` for never.
pub(super) fn deadline_ms(ctx: &Ctx<'_>, seconds: &[u8]) -> Result<Option<u64>, CmdError> {
    after_ms(ctx, milliseconds(seconds)?)
}

/// When a client that waits so many milliseconds from now gives up, Unix ms; `None` for never.
pub(super) fn deadline_of_ms(ctx: &Ctx<'_>, ms: &[u8]) -> Result<Option<u64>, CmdError> {
    match num::parse_i64(ms).ok_or(NOT_INTEGER)? {
        timeout_ms @ 0.. => after_ms(ctx, timeout_ms),
        _ => Err(NEGATIVE),
    }
}

fn after_ms(ctx: &Ctx<'_>, timeout_ms: i64) -> Result<Option<u64>, CmdError> {
    match timeout_ms {
        0 => Ok(None),
        timeout_ms => {
            let at_ms = i64::try_from(ctx.clock_ms())
                .ok()
                .and_then(|now_ms| now_ms.checked_add(timeout_ms));
            at_ms.map(|at_ms| Some(at_ms as u64)).ok_or(OUT_OF_RANGE)
        }
    }
}

/// Seconds, perhaps with a fraction, as milliseconds, rounded up.
fn milliseconds(seconds: &[u8]) -> Result<i64, CmdError> {
    let value = match num::parse_f64(seconds) {
        Some(value) => value,
        // Redis reads an 80-bit float here, which takes what is too large or too small for a double.
        None => {
            let value = LongDouble::parse(seconds).ok_or(NOT_FLOAT)?;
            let magnitude = match value.to_redis_string().as_slice() {
                b"0" => f64::MIN_POSITIVE,
                _ => f64::MAX,
            };
            magnitude.copysign(if seconds.starts_with(b"-") { -1.0 } else { 1.0 })
        }
    };
    let timeout_ms = (value * 1000.0).ceil();
    if timeout_ms >= i64::MAX as f64 {
        Err(OUT_OF_RANGE)
    } else if timeout_ms < 0.0 {
        Err(NEGATIVE)
    } else {
        Ok(timeout_ms as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up() {
        let cases: &[(&str, Result<i64, CmdError>)] = &[
            ("0", Ok(0)),
            ("-0", Ok(0)),
            ("1", Ok(1000)),
            ("+1.5", Ok(1500)),
            (".0101", Ok(11)),
            ("5.", Ok(5000)),
            ("0x10", Ok(16_000)),
            ("0.0001", Ok(1)),
            ("1e-400", Ok(1)),
            ("-1e-400", Ok(0)),
            ("-0.0009", Ok(0)),
            ("-0.001", Err(NEGATIVE)),
            ("-1", Err(NEGATIVE)),
            ("-inf", Err(NEGATIVE)),
            ("-1e400", Err(NEGATIVE)),
            ("9.2e15", Ok(9_200_000_000_000_000_000)),
            ("9.3e15", Err(OUT_OF_RANGE)),
            ("9223372036854775807", Err(OUT_OF_RANGE)),
            ("inf", Err(OUT_OF_RANGE)),
            ("1e400", Err(OUT_OF_RANGE)),
            ("", Err(NOT_FLOAT)),
            (" 1", Err(NOT_FLOAT)),
            ("1 ", Err(NOT_FLOAT)),
            ("nan", Err(NOT_FLOAT)),
            ("x", Err(NOT_FLOAT)),
        ];
        for (seconds, expected) in cases {
            assert_eq!(&milliseconds(seconds.as_bytes()), expected, "{seconds}");
        }
    }
}
