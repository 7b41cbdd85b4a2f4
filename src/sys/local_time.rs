//! Local time of day, for log lines.

use std::mem::MaybeUninit;

/// A moment as clocks on the wall show it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalTime {
    /// Year, four digits.
    pub year: i32,
    /// Month, 1 to 12.
    pub month: u32,
    /// Day of the month, 1 to 31.
    pub day: u32,
    /// Hour, 0 to 23.
    pub hour: u32,
    /// Minute.
    pub minute: u32,
    /// Second, 60 in a leap second.
    pub second: u32,
    /// Offset from UTC, seconds, east positive.
    pub offset_secs: i64,
}

/// The local time at `unix_secs`; `None` when the system cannot tell.
pub fn local_time(unix_secs: i64) -> Option<LocalTime> {
    let mut tm = MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are valid for the call; localtime_r writes the whole struct when it returns non-null.
    let tm = unsafe {
        if libc::localtime_r(&unix_secs, tm.as_mut_ptr()).is_null() {
            return None;
        }
        tm.assume_init()
    };
    Some(LocalTime {
        year: tm.tm_year + 1900,
        month: tm.tm_mon as u32 + 1,
        day: tm.tm_mday as u32,
        hour: tm.tm_hour as u32,
        minute: tm.tm_min as u32,
        second: tm.tm_sec as u32,
        offset_secs: tm.tm_gmtoff,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_time_and_its_offset_give_the_moment_back() {
        let noon = local_time(1_700_000_000).unwrap();
        assert_eq!((noon.year, noon.month), (2023, 11));
        let of_day = i64::from(noon.hour * 3600 + noon.minute * 60 + noon.second);
        assert_eq!(
            (of_day - noon.offset_secs).rem_euclid(86_400),
            1_700_000_000 % 86_400
        );
    }
}
