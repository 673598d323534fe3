//! Numbers as devices write them, as exact text: no digit is lost and none is made up, so no floating point.

use std::borrow::Cow;

use crate::node::location::leading_digits;

/// A number of more digits than this, leading and trailing zeros included, is none. A double, however small and
/// exactly written, has at most 1,075. What an exponent of a few bytes grows to must have a limit.
const DIGITS_MAX: usize = 1_100;

/// What a text that is refused is not, for people.
pub const DECIMAL: &str = "decimal number of at most 1100 digits";
const _: () = assert!(DIGITS_MAX == 1_100); // as the text says

/// A decimal number, its digits as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal<'a> {
    /// Whether a minus stood before it.
    pub is_negative: bool,
    /// Its digits before the point, without leading zeros: empty for 0.
    pub whole: Cow<'a, str>,
    /// Its digits after the point.
    pub fraction: Cow<'a, str>,
}

impl<'a> Decimal<'a> {
    /// Reads a plain decimal: an optional sign, digits, perhaps a point and digits.
    pub fn plain(text: &'a str) -> Option<Decimal<'a>> {
        let bytes = text.as_bytes();
        let first = *bytes.first()?;
        let start = usize::from(matches!(first, b'-' | b'+'));
        let point = start + leading_digits(&bytes[start..]);
        let (fraction, digits) = match bytes.get(point) {
            None => ("", point - start),
            Some(b'.') => (&text[point + 1..], bytes.len() - start - 1),
            Some(_) => return None,
        };
        let is_ended = point == bytes.len()
            || (!fraction.is_empty() && leading_digits(fraction.as_bytes()) == fraction.len());
        if point == start || !is_ended || digits > DIGITS_MAX {
            return None;
        }
        let mut whole = &text[start..point];
        while let Some(after_zero) = whole.strip_prefix('0') {
            whole = after_zero;
        }
        Some(Decimal {
            is_negative: first == b'-',
            whole: whole.into(),
            fraction: fraction.into(),
        })
    }

    /// Reads a number of JSON: a plain decimal, perhaps with an exponent, which is expanded.
    pub fn parse(text: &'a str) -> Option<Decimal<'a>> {
        let plain = Decimal::plain(text);
        if plain.is_some() {
            return plain;
        }
        let (mantissa, exponent) = text.split_once(['e', 'E'])?;
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let is_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let places: i32 = is_digits.then(|| exponent.parse().ok())??;
        Decimal::plain(mantissa)?.shifted(places)
    }

    /// The same times ten to the power of `places`. `None` if that has too many digits.
    pub fn shifted(self, places: i32) -> Option<Decimal<'a>> {
        let count = usize::try_from(places.unsigned_abs()).ok()?;
        if count > DIGITS_MAX {
            return None;
        }
        let (whole, fraction) = match places < 0 {
            true => {
                let whole = format!("{}{}", "0".repeat(count), self.whole);
                let (whole, moved) = whole.split_at(whole.len() - count);
                (whole.to_owned(), format!("{moved}{}", self.fraction))
            }
            false => {
                let fraction = format!("{}{}", self.fraction, "0".repeat(count));
                let (moved, fraction) = fraction.split_at(count);
                // What was only put there to be moved, or to move past, says nothing.
                let fraction = &fraction[..self.fraction.len().saturating_sub(count)];
                (format!("{}{moved}", self.whole), fraction.to_owned())
            }
        };
        let whole = whole.trim_start_matches('0').to_owned();
        (whole.len() + fraction.len() <= DIGITS_MAX).then_some(Decimal {
            whole: whole.into(),
            fraction: fraction.into(),
            ..self
        })
    }

    /// The same, apart from the text in which it was written.
    pub fn into_owned(self) -> Decimal<'static> {
        Decimal {
            is_negative: self.is_negative,
            whole: self.whole.into_owned().into(),
            fraction: self.fraction.into_owned().into(),
        }
    }

    /// Appends it as ISO 6709 writes degrees: a sign, `whole` digits at least, and the fraction if there is one.
    pub fn write_degrees(&self, out: &mut Vec<u8>, whole: usize) {
        out.push(if self.is_negative { b'-' } else { b'+' });
        self.write_magnitude(out, whole);
    }

    /// Appends it without its sign: `whole` digits at least, and the fraction if there is one.
    pub fn write_magnitude(&self, out: &mut Vec<u8>, whole: usize) {
        for _ in self.whole.len()..whole {
            out.push(b'0');
        }
        out.extend_from_slice(self.whole.as_bytes());
        if !self.fraction.is_empty() {
            out.push(b'.');
            out.extend_from_slice(self.fraction.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_degrees() {
        for (text, want) in [
            ("27.5916", Some("+27.5916")),
            ("-0.5", Some("-00.5")),
            ("0", Some("+00")),
            ("-0", Some("-00")),
            ("007", Some("+07")),
            ("118.40", Some("+118.40")),
            ("1e-05", Some("+00.00001")),
            ("-1.50e1", Some("-15.0")),
            ("1.5E+2", Some("+150")),
            ("2750e-2", Some("+27.50")),
            ("1e1100", None),
            ("1e-1101", None),
            ("1e-99999999999", None),
            ("1e", None),
            ("1e1.5", None),
            ("1,5", None),
            ("1.", None),
            (".5", None),
            ("", None),
            ("-", None),
            ("NaN", None),
            ("1_0", None),
            ("+-1", None),
            ("1e+-1", None),
        ] {
            assert_eq!(degrees(text).as_deref(), want, "{text}");
        }
        assert_eq!(Decimal::plain("1e1"), None);
    }

    fn degrees(text: &str) -> Option<String> {
        let mut degrees = Vec::new();
        Decimal::parse(text)?.write_degrees(&mut degrees, 2);
        Some(String::from_utf8(degrees).expect("ASCII"))
    }

    #[test]
    fn numbers_of_many_digits() {
        let small = |zeros: usize| format!("0.{}1", "0".repeat(zeros));
        let written = |zeros: usize| Some(format!("+0{}", small(zeros)));
        assert_eq!(degrees("1e-100"), written(99));
        assert_eq!(degrees("1e-1100"), written(1_099));
        assert_eq!(degrees(&small(99)), written(99));
        assert_eq!(degrees(&small(1_098)), written(1_098));
        assert_eq!(degrees(&small(1_099)), None);
        let least = format!("{:.1074}", f64::from_bits(1));
        assert_eq!(degrees(&least), Some(format!("+0{least}")));
    }
}
