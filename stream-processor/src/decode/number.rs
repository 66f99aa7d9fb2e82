//! Numbers, read from their text.

/// A JSON number: where it ends, and what it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number {
    /// After its last character.
    pub(super) end: usize,
    /// Whether it has neither fraction nor exponent.
    pub(super) integer: bool,
    /// Whether it has an exponent.
    pub(super) exponent: bool,
}

/// Digits, sign and point up to which a number without an exponent surely is a finite float.
const FINITE_BYTES: usize = 300;
/// Digits that surely fit into 64 bits.
const SHORT_BYTES: usize = 18;

/// Reads a number that begins at `at`.
#[inline]
pub(super) fn scan(bytes: &[u8], at: usize) -> Option<Number> {
    let whole = if bytes.get(at) == Some(&b'-') { at + 1 } else { at };
    let mut end = match bytes.get(whole)? {
        b'0' => whole + 1,
        b'1'..=b'9' => digits(bytes, whole + 1),
        _ => return None,
    };
    let mut number = Number { end, integer: true, exponent: false };
    if bytes.get(end) == Some(&b'.') {
        let fraction = end + 1;
        end = digits(bytes, fraction);
        if end == fraction {
            return None;
        }
        number = Number { end, integer: false, exponent: false };
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        let exponent = match bytes.get(end + 1) {
            Some(b'+' | b'-') => end + 2,
            _ => end + 1,
        };
        end = digits(bytes, exponent);
        if end == exponent {
            return None;
        }
        number = Number { end, integer: false, exponent: true };
    }
    Some(number)
}

#[inline]
fn digits(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(b'0'..=b'9') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Whether `text`, a number, is a finite 64-bit float; cheap for the usual ones.
#[inline]
pub(super) fn is_finite(text: &str, number: Number) -> bool {
    (!number.exponent && text.len() < FINITE_BYTES) || double(text).is_some()
}

/// The nearest 64-bit float, unless it is infinite.
pub(super) fn double(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// The nearest 32-bit float, unless it is infinite.
pub(super) fn float(text: &str) -> Option<f32> {
    text.parse().ok().filter(|value: &f32| value.is_finite())
}

/// `text`, a number, as `unscaled / 10^scale`, rounded half up (away from zero).
///
/// `None` when it has more than `precision` digits. Reads digits only, so neither the length of the
/// text nor the size of an exponent costs more than one pass over it.
pub(super) fn decimal(text: &str, number: Number, precision: u8, scale: u8) -> Option<i128> {
    if !number.exponent
        && text.len() <= SHORT_BYTES
        && let Some(unscaled) = short(text.as_bytes(), scale)
    {
        return within(unscaled, precision);
    }
    let (mantissa, exponent) = match text.find(['e', 'E']).and_then(|e| text.split_at_checked(e)) {
        Some((mantissa, exponent)) => (mantissa, saturating(exponent.get(1..).unwrap_or_default())),
        None => (text, 0),
    };
    let fraction = mantissa.find('.').map_or(0, |point| mantissa.len() - point - 1);
    let digits = || {
        let bytes = mantissa.bytes().filter(u8::is_ascii_digit);
        bytes.skip_while(|digit| *digit == b'0').map(|digit| u32::from(digit - b'0'))
    };
    let count = i64::try_from(digits().count()).ok()?;
    if count == 0 {
        return Some(0);
    }
    // The number is its digits times ten to the power of `shift`, counted in units of the scale.
    let shift =
        exponent.saturating_sub(i64::try_from(fraction).ok()?).saturating_add(i64::from(scale));
    let kept = count.saturating_add(shift);
    if kept > i64::from(precision) {
        return None;
    }
    let Ok(kept) = usize::try_from(kept) else { return Some(0) };
    let padded = digits().chain(std::iter::repeat(0));
    let magnitude = padded.take(kept).fold(0_i128, |sum, digit| sum * 10 + i128::from(digit));
    let carry = digits().nth(kept).is_some_and(|digit| digit >= 5);
    let magnitude = magnitude + i128::from(carry);
    within(if text.starts_with('-') { -magnitude } else { magnitude }, precision)
}

/// A number of few digits, none of them beyond the scale.
#[inline]
fn short(text: &[u8], scale: u8) -> Option<i128> {
    let (negative, digits) = match text.split_first() {
        Some((b'-', digits)) => (true, digits),
        _ => (false, text),
    };
    let mut unscaled = 0_i64;
    let mut fraction: Option<u8> = None;
    for byte in digits {
        if *byte == b'.' {
            fraction = Some(0);
        } else {
            unscaled = unscaled * 10 + i64::from(byte - b'0');
            fraction = fraction.map(|count| count + 1);
        }
    }
    let missing = scale.checked_sub(fraction.unwrap_or(0))?;
    let unscaled = i128::from(unscaled).checked_mul(10_i128.checked_pow(u32::from(missing))?)?;
    Some(if negative { -unscaled } else { unscaled })
}

#[inline]
fn within(unscaled: i128, precision: u8) -> Option<i128> {
    let limit = 10_u128.checked_pow(u32::from(precision))?;
    (unscaled.unsigned_abs() < limit).then_some(unscaled)
}

/// An exponent; so large that no difference shows, it stops growing.
fn saturating(text: &str) -> i64 {
    const ENOUGH: i64 = i64::MAX / 100;
    let magnitude = text.bytes().filter(u8::is_ascii_digit).fold(0_i64, |sum, digit| {
        if sum > ENOUGH { sum } else { sum * 10 + i64::from(digit - b'0') }
    });
    if text.starts_with('-') { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{decimal, scan};

    #[track_caller]
    fn check(text: &str, expected: Option<i128>) {
        let number = scan(text.as_bytes(), 0).unwrap();
        assert_eq!(number.end, text.len(), "{text} is one number");
        assert_eq!(decimal(text, number, 12, 2), expected, "{text} as DECIMAL(12, 2)");
    }

    #[test]
    fn decimals_are_read_digit_by_digit() {
        check("0", Some(0));
        check("-0", Some(0));
        check("12.5", Some(1250));
        check("0.1", Some(10));
        check("-19.99", Some(-1999));
        check("1e2", Some(10000));
        check("1.5E+1", Some(1500));
        check("123e-4", Some(1));
        check("0.00000000000000000000000000000000000000000000005", Some(0));
    }

    #[test]
    fn halves_round_away_from_zero() {
        check("0.005", Some(1));
        check("-0.005", Some(-1));
        check("0.00499999999999999999999999999999999999999", Some(0));
        check("2.675", Some(268));
        check("0.5e-2", Some(1));
        check("0.5e-3", Some(0));
        check("5e-3", Some(1));
    }

    #[test]
    fn what_needs_more_digits_is_out_of_range() {
        check("9999999999.99", Some(999_999_999_999));
        check("9999999999.994", Some(999_999_999_999));
        check("9999999999.995", None);
        check("10000000000", None);
        check("-10000000000.00", None);
        check("1e10", None);
        check("1e400", None);
        check("1e99999999999999999999999", None);
        check("1e-99999999999999999999999", Some(0));
        check("0e99999999999999999999999", Some(0));
        check(&"9".repeat(5000), None);
        check(&format!("{}e-5000", "9".repeat(5000)), Some(100));
    }

    #[test]
    fn only_json_numbers_are_numbers() {
        for text in ["", "-", "+1", "01x", ".5", "1.", "1.e5", "1e", "1e+", "-a", "NaN"] {
            let whole = scan(text.as_bytes(), 0).is_some_and(|number| number.end == text.len());
            assert!(!whole, "{text}");
        }
    }
}
