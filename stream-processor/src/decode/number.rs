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
/// Digits, with a point or without, that surely fit into 64 bits.
const SHORT_BYTES: usize = 18;
/// Up to here every integer is a 64-bit float exactly.
const MANTISSA_MAX: u64 = 1 << f64::MANTISSA_DIGITS;
/// These are 64-bit floats exactly; a short number has no more digits after the point.
const POWERS_OF_TEN: [f64; SHORT_BYTES + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18,
];

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
#[inline]
pub(super) fn double(text: &str) -> Option<f64> {
    match short(text.as_bytes()) {
        Some(Short { negative, digits, fraction }) if digits <= MANTISSA_MAX => {
            // Both numbers are floats exactly, so their quotient is the nearest one (Clinger 1990).
            let power = POWERS_OF_TEN.get(usize::from(fraction))?;
            let magnitude = digits as f64 / power;
            Some(if negative { -magnitude } else { magnitude })
        }
        _ => text.parse().ok().filter(|value: &f64| value.is_finite()),
    }
}

/// The nearest 32-bit float, unless it is infinite.
pub(super) fn float(text: &str) -> Option<f32> {
    text.parse().ok().filter(|value: &f32| value.is_finite())
}

/// `text`, a number, as `unscaled / 10^scale`, rounded half up (away from zero).
///
/// `None` when it has more than `precision` digits. Reads digits only, so neither the length of the
/// text nor the size of an exponent costs more than one pass over it.
pub(super) fn decimal(text: &str, precision: u8, scale: u8) -> Option<i128> {
    if let Some(Short { negative, digits, fraction }) = short(text.as_bytes())
        && let Some(missing) = scale.checked_sub(fraction)
        && let Some(factor) = 10_i128.checked_pow(u32::from(missing))
    {
        let magnitude = i128::from(digits).checked_mul(factor)?;
        return within(if negative { -magnitude } else { magnitude }, precision);
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

/// A number of few digits and without an exponent.
struct Short {
    negative: bool,
    /// All its digits, as if there were no point.
    digits: u64,
    /// How many of them stand after the point.
    fraction: u8,
}

#[inline]
fn short(text: &[u8]) -> Option<Short> {
    let (negative, rest) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, text),
    };
    if rest.len() > SHORT_BYTES {
        return None;
    }
    let mut digits = 0_u64;
    let mut fraction: u8 = 0;
    let mut counted: u8 = 0;
    for byte in rest {
        match byte {
            b'0'..=b'9' => {
                digits = digits * 10 + u64::from(byte - b'0');
                fraction += counted;
            }
            b'.' => counted = 1,
            _ => return None,
        }
    }
    Some(Short { negative, digits, fraction })
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

    use super::{decimal, double, scan};

    #[track_caller]
    fn check(text: &str, expected: Option<i128>) {
        let number = scan(text.as_bytes(), 0).unwrap();
        assert_eq!(number.end, text.len(), "{text} is one number");
        assert_eq!(decimal(text, 12, 2), expected, "{text} as DECIMAL(12, 2)");
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
    fn floats_are_the_nearest_ones() {
        let mut digits = 1_u64;
        for step in 0..200_000_u64 {
            digits = digits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step | 1);
            let kept = digits >> (step % 60);
            let text = kept.to_string();
            let point = usize::try_from(step).unwrap() % text.len();
            let (before, after) = text.split_at(point.max(1));
            let sign = if step % 3 == 0 { "-" } else { "" };
            let after = if after.is_empty() { "0" } else { after };
            let text = format!("{sign}{before}.{after}");
            let expected: f64 = text.parse().unwrap();
            assert_eq!(double(&text).unwrap().to_bits(), expected.to_bits(), "{text}");
        }
        assert_eq!(double("-0.0").unwrap().to_bits(), (-0.0_f64).to_bits());
        assert_eq!(double("9007199254740993"), Some(9_007_199_254_740_992.0));
        assert_eq!(double("1e309"), None);
    }

    #[test]
    fn only_json_numbers_are_numbers() {
        for text in ["", "-", "+1", "01x", ".5", "1.", "1.e5", "1e", "1e+", "-a", "NaN"] {
            let whole = scan(text.as_bytes(), 0).is_some_and(|number| number.end == text.len());
            assert!(!whole, "{text}");
        }
    }
}
