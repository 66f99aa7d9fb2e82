//! The instant of an event. Only arithmetic: the clock belongs to the caller.

const DAY_MS: i64 = 86_400_000;
/// `0000-01-01T00:00:00.000Z`.
const MIN_MS: i64 = -719_528 * DAY_MS;
/// `9999-12-31T23:59:59.999Z`.
const MAX_MS: i64 = 2_932_897 * DAY_MS - 1;

/// Milliseconds since 1970 in UTC, within the four-digit years of RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventTime(i64);

impl EventTime {
    /// The instant `millis` after the epoch; instants outside the years 0 to
    /// 9999 have no RFC 3339 form and become the nearest that has one.
    pub const fn from_millis(millis: i64) -> Self {
        if millis < MIN_MS {
            Self(MIN_MS)
        } else if millis > MAX_MS {
            Self(MAX_MS)
        } else {
            Self(millis)
        }
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// The instant as calendar fields.
    pub(crate) const fn civil(self) -> Civil {
        let (year, month, day) = civil_date(self.0.div_euclid(DAY_MS));
        let millis = self.0.rem_euclid(DAY_MS);
        Civil {
            year,
            month,
            day,
            hour: (millis / 3_600_000).unsigned_abs(),
            minute: (millis / 60_000 % 60).unsigned_abs(),
            second: (millis / 1_000 % 60).unsigned_abs(),
            millis: (millis % 1_000).unsigned_abs(),
        }
    }
}

/// A UTC instant taken apart for printing.
pub(crate) struct Civil {
    pub(crate) year: u64,
    pub(crate) month: u64,
    pub(crate) day: u64,
    pub(crate) hour: u64,
    pub(crate) minute: u64,
    pub(crate) second: u64,
    pub(crate) millis: u64,
}

/// Year, month and day of a day counted from 1970-01-01.
///
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms",
/// `civil_from_days`: years begin in March, so that the leap day comes last.
const fn civil_date(days: i64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year.unsigned_abs(), month.unsigned_abs(), day.unsigned_abs())
}
