//! Numbers as devices write them, as exact text: no digit is lost and none is made up, so no floating point.

/// A number of more digits than this, leading and trailing zeros included, is none.
const DIGITS_MAX: usize = 64;

/// A decimal number, its digits as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// Whether a minus stood before it.
    pub is_negative: bool,
    /// Its digits before the point, without leading zeros: empty for 0.
    pub whole: String,
    /// Its digits after the point.
    pub fraction: String,
}

impl Decimal {
    /// Reads a plain decimal: an optional sign, digits, perhaps a point and digits.
    pub fn plain(text: &str) -> Option<Decimal> {
        let (is_negative, magnitude) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, fraction) = match magnitude.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (magnitude, ""),
        };
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let fits = whole.len() + fraction.len() <= DIGITS_MAX;
        (fits && !whole.is_empty() && is_digits(whole) && is_digits(fraction)).then(|| Decimal {
            is_negative,
            whole: whole.trim_start_matches('0').to_owned(),
            fraction: fraction.to_owned(),
        })
    }

    /// Reads a number of JSON: a plain decimal, perhaps with an exponent, which is expanded.
    pub fn parse(text: &str) -> Option<Decimal> {
        let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else {
            return Decimal::plain(text);
        };
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let is_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let places: i32 = is_digits.then(|| exponent.parse().ok())??;
        Decimal::plain(mantissa)?.shifted(places)
    }

    /// The same times ten to the power of `places`. `None` if that has too many digits.
    pub fn shifted(self, places: i32) -> Option<Decimal> {
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
            whole,
            fraction,
            ..self
        })
    }

    /// As ISO 6709 writes degrees: a sign, `whole` digits at least, and the fraction if there is one.
    pub fn degrees(&self, whole: usize) -> String {
        let sign = if self.is_negative { '-' } else { '+' };
        let mut text = format!("{sign}{:0>whole$}", self.whole);
        if !self.fraction.is_empty() {
            text += &format!(".{}", self.fraction);
        }
        text
    }
}

/// The position of ISO 6709 at these degrees: what an `IAMAT` line says of it, whose rules it has yet to pass.
pub fn position(latitude: &Decimal, longitude: &Decimal) -> String {
    latitude.degrees(2) + &longitude.degrees(3)
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
            ("1e400", None),
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
            (
                "0.00000000000000000000000000000000000000000000000000000000000000001",
                None,
            ),
        ] {
            let degrees = Decimal::parse(text).map(|number| number.degrees(2));
            assert_eq!(degrees.as_deref(), want, "{text}");
        }
        assert_eq!(Decimal::plain("1e1"), None);
    }
}
