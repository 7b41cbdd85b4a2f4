//! Local time of day, for log lines, and dates.

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

/// Year, month and day, so many days after 1 January 1970 (by the usual arithmetic of eras of 400 years, which
/// begin in March).
pub fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
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
