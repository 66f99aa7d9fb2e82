//! Timestamps and dates, read from their text.
//!
//! The forms are those of docs/decode-outcomes.md; the calendar is the proleptic Gregorian one.

use crate::job::TimestampStyle;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// `2025-01-31` → days since 1970-01-01.
pub(crate) fn parse_date(text: &[u8]) -> Option<i32> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let year = two(*y1, *y2)? * 100 + two(*y3, *y4)?;
    let (month, day) = (two(*m1, *m2)?, two(*d1, *d2)?);
    (day >= 1 && day <= days_in_month(year, month)?).then(|| days(year, month, day))
}

/// `2025-01-31T23:59:59.999Z` → microseconds since 1970-01-01T00:00:00.
///
/// `zoned` texts end in `Z` or an offset such as `+01:00`, others in neither. Digits after the seconds
/// beyond `precision` are dropped.
pub(crate) fn parse_timestamp(
    text: &[u8],
    style: TimestampStyle,
    precision: u8,
    zoned: bool,
) -> Option<i64> {
    let (date, rest) = text.split_first_chunk::<10>()?;
    timestamp(parse_date(date)?, rest, style, precision, zoned)
}

fn timestamp(
    days: i32,
    rest: &[u8],
    style: TimestampStyle,
    precision: u8,
    zoned: bool,
) -> Option<i64> {
    let ([separator, h1, h2, b':', m1, m2, b':', s1, s2], rest) = rest.split_first_chunk::<9>()?
    else {
        return None;
    };
    let expected = match style {
        TimestampStyle::Iso8601 => b'T',
        TimestampStyle::Sql => b' ',
    };
    let (hour, minute, second) = (two(*h1, *h2)?, two(*m1, *m2)?, two(*s1, *s2)?);
    if *separator != expected || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (micros, rest) = fraction(rest, precision)?;
    let offset = match (rest, zoned) {
        ([], false) | ([b'Z'], true) => 0,
        (offset, true) => offset_seconds(offset)?,
        _ => return None,
    };
    let of_day = i64::from(hour * 3600 + minute * 60 + second);
    let seconds = i64::from(days) * SECONDS_PER_DAY + of_day - offset;
    Some(seconds * MICROS_PER_SECOND + micros)
}

/// `.999` → microseconds, and what follows.
fn fraction(text: &[u8], precision: u8) -> Option<(i64, &[u8])> {
    let Some((b'.', digits)) = text.split_first() else { return Some((0, text)) };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 || count > 9 {
        return None;
    }
    let (digits, rest) = digits.split_at_checked(count)?;
    let kept = digits.iter().take(usize::from(precision));
    let (value, unit) = kept.fold((0, MICROS_PER_SECOND), |(value, unit), digit| {
        (value * 10 + i64::from(digit - b'0'), unit / 10)
    });
    Some((value * unit, rest))
}

/// `+01:00` → seconds east of UTC.
fn offset_seconds(text: &[u8]) -> Option<i64> {
    let [sign, h1, h2, b':', m1, m2] = text else { return None };
    let (hours, minutes) = (two(*h1, *h2)?, two(*m1, *m2)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = i64::from(hours * 3600 + minutes * 60);
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

fn two(tens: u8, ones: u8) -> Option<u32> {
    (tens.is_ascii_digit() && ones.is_ascii_digit())
        .then(|| u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
}

fn days_in_month(year: u32, month: u32) -> Option<u32> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    Some(match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    })
}

/// Days since 1970-01-01 of a date that exists; years begin in March, so that leap days come last.
fn days(year: u32, month: u32, day: u32) -> i32 {
    // Shifted by 400 years, a whole cycle, so that nothing is negative before the end.
    let (year, month) = if month > 2 { (year + 400, month - 3) } else { (year + 399, month + 9) };
    let in_year = (153 * month + 2) / 5 + day - 1;
    let total = year * 365 + year / 4 - year / 100 + year / 400 + in_year;
    total.cast_signed() - (719_468 + 146_097)
}

/// Remembers the last day, because neighbours in a stream share it.
#[derive(Debug, Default)]
pub(super) struct DayCache {
    text: [u8; 10],
    days: i32,
}

impl DayCache {
    /// [`parse_timestamp`], faster when the day is the last one's.
    pub(super) fn timestamp(
        &mut self,
        text: &[u8],
        style: TimestampStyle,
        precision: u8,
        zoned: bool,
    ) -> Option<i64> {
        let (date, rest) = text.split_first_chunk::<10>()?;
        if *date != self.text {
            self.days = parse_date(date)?;
            self.text = *date;
        }
        timestamp(self.days, rest, style, precision, zoned)
    }
}

#[cfg(test)]
mod tests {
    use super::{parse_date, parse_timestamp};
    use crate::job::TimestampStyle::{Iso8601, Sql};

    #[track_caller]
    fn check(text: &str, expected: Option<i64>) {
        assert_eq!(parse_timestamp(text.as_bytes(), Iso8601, 3, true), expected, "{text}");
    }

    #[test]
    fn instants_are_read_with_their_offset() {
        check("1970-01-01T00:00:00Z", Some(0));
        check("1970-01-01T00:00:00.001Z", Some(1000));
        check("2025-11-23T20:41:07.123Z", Some(1_763_930_467_123_000));
        check("2025-11-23T21:41:07.123+01:00", Some(1_763_930_467_123_000));
        check("2025-11-23T15:11:07.123-05:30", Some(1_763_930_467_123_000));
        check("1969-12-31T23:59:59.999Z", Some(-1000));
        check("0000-01-01T00:00:00Z", Some(-62_167_219_200_000_000));
        check("9999-12-31T23:59:59.999Z", Some(253_402_300_799_999_000));
        check("2024-02-29T00:00:00Z", Some(1_709_164_800_000_000));
    }

    #[test]
    fn digits_beyond_the_precision_are_dropped() {
        check("1970-01-01T00:00:00.9999Z", Some(999_000));
        check("1970-01-01T00:00:00.999999999Z", Some(999_000));
        check("1970-01-01T00:00:00.9Z", Some(900_000));
        assert_eq!(
            parse_timestamp(b"1970-01-01T00:00:00.1234567Z", Iso8601, 6, true),
            Some(123_456)
        );
        assert_eq!(parse_timestamp(b"1970-01-01T00:00:00.9Z", Iso8601, 0, true), Some(0));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "Z",
            "1970-01-01",
            "1970-01-01T00:00:00",
            "1970-01-01 00:00:00Z",
            "1970-01-01t00:00:00Z",
            "1970-01-01T00:00:00z",
            "1970-01-01T00:00Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T23:60:00Z",
            "1970-01-01T23:59:60Z",
            "1970-13-01T00:00:00Z",
            "1970-00-01T00:00:00Z",
            "1970-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "1970-01-32T00:00:00Z",
            "1970-01-00T00:00:00Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00.1234567890Z",
            "1970-01-01T00:00:00+1:00",
            "1970-01-01T00:00:00+0100",
            "1970-01-01T00:00:00+24:00",
            "1970-01-01T00:00:00+01:60",
            "1970-01-01T00:00:00ZZ",
            " 1970-01-01T00:00:00Z",
            "+1970-01-01T00:00:00Z",
            "19700-01-01T00:00:00Z",
            "1970-1-01T00:00:00Z",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn local_times_have_no_zone() {
        assert_eq!(parse_timestamp(b"1970-01-01 00:00:01", Sql, 6, false), Some(1_000_000));
        assert_eq!(parse_timestamp(b"1970-01-01 00:00:01Z", Sql, 6, false), None);
        assert_eq!(parse_timestamp(b"1970-01-01T00:00:01", Sql, 6, false), None);
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut expected = parse_date(b"0000-01-01");
        assert_eq!(expected, Some(-719_528));
        for year in 0..10_000 {
            for month in 1..=12 {
                for day in 1..=31 {
                    let text = format!("{year:04}-{month:02}-{day:02}");
                    if let Some(days) = parse_date(text.as_bytes()) {
                        assert_eq!(Some(days), expected, "{text}");
                        expected = Some(days + 1);
                    }
                }
            }
        }
        assert_eq!(expected, Some(2_932_897));
    }
}
