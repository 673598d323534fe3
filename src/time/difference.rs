//! How far two moments are apart, exact to the nanosecond, and its text in an `AT` line.
//!
//! `Timestamp::since` makes one. It knows no clock.

use std::time::Duration;

use super::digits::{
    DECIMAL_DIGITS_MAX, FRACTION_DIGITS_MAX, NANOS_PER_SECOND, SECONDS_DIGITS_MAX, decimal_before,
    digits, nine_digits,
};

/// The difference of two moments, exact to the nanosecond.
///
/// Kept as whole seconds rounded down and the nanoseconds above them, so -0.25 s is (-1, 750000000).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    pub(super) seconds: i64,
    pub(super) nanos: u32,
}

impl Difference {
    /// Its seconds, rounded down.
    pub fn whole_seconds(self) -> i64 {
        self.seconds
    }

    /// How long it is, whichever of the two was earlier.
    pub fn magnitude(self) -> Duration {
        let nanos = Duration::from_nanos(self.nanos.into());
        match u64::try_from(self.seconds) {
            Ok(seconds) => Duration::from_secs(seconds) + nanos,
            Err(_) => Duration::from_secs(self.seconds.unsigned_abs()) - nanos,
        }
    }

    /// Its seconds, as near as floating point comes: for people and graphs.
    pub fn as_secs_f64(self) -> f64 {
        self.seconds as f64 + f64::from(self.nanos) * 1e-9
    }

    /// Appends the text of an `AT` line: a sign always, seconds, a point, nine decimals.
    pub fn write(self, out: &mut Vec<u8>) {
        let (sign, seconds, nanos) = match (self.seconds < 0, self.nanos) {
            (false, nanos) => (b'+', self.seconds.unsigned_abs(), nanos),
            (true, 0) => (b'-', self.seconds.unsigned_abs(), 0),
            (true, nanos) => (
                b'-',
                (self.seconds + 1).unsigned_abs(),
                NANOS_PER_SECOND - nanos,
            ),
        };
        // Composed from its end, and appended at once: it is part of every reply. More is copied than there
        // is, since to copy a length that the compiler knows takes no call.
        const BYTES_MAX: usize = 1 + DECIMAL_DIGITS_MAX + 1 + FRACTION_DIGITS_MAX;
        let mut text = [0; 2 * BYTES_MAX];
        let point = DECIMAL_DIGITS_MAX + 1;
        text[point + 1..BYTES_MAX].copy_from_slice(&nine_digits(nanos));
        text[point] = b'.';
        let start = decimal_before(&mut text[..point], seconds) - 1;
        text[start] = sign;
        let copied: &[u8; BYTES_MAX] = text[start..].first_chunk().expect("as much is behind it");
        out.extend_from_slice(copied);
        out.truncate(out.len() - start);
    }

    /// Reads what [`Difference::write`] writes, and nothing else: no leading zeros, no `-0`.
    ///
    /// One value has one text, so that servers which agree on a record agree on its bytes.
    pub fn parse(text: &[u8]) -> Option<Difference> {
        let (&sign, magnitude) = text.split_first()?;
        let point = magnitude.len().checked_sub(FRACTION_DIGITS_MAX + 1)?;
        let (whole, fraction) = (&magnitude[..point], &magnitude[point + 1..]);
        let canonical = whole == b"0" || whole.first().is_some_and(|&first| first != b'0');
        if magnitude[point] != b'.' || whole.len() > SECONDS_DIGITS_MAX || !canonical {
            return None;
        }
        let seconds = digits(whole)? as i64;
        let nanos = digits(fraction)? as u32;
        match sign {
            b'+' => Some(Difference { seconds, nanos }),
            b'-' if seconds == 0 && nanos == 0 => None,
            b'-' if nanos == 0 => Some(Difference {
                seconds: -seconds,
                nanos,
            }),
            b'-' => Some(Difference {
                seconds: -seconds - 1,
                nanos: NANOS_PER_SECOND - nanos,
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_has_one_text_only() {
        for other in [
            "0.000000000",
            "-0.000000000",
            "+00.000000000",
            "+01.000000000",
            "+1.00000000",
            "+1.0000000000",
            "+.000000000",
            "+1",
            "+1,000000000",
            "+1.00000000a",
            "+1000000000000000000.000000000",
            "",
            "+",
            "++1.000000000",
        ] {
            assert_eq!(Difference::parse(other.as_bytes()), None, "{other:?}");
        }
    }
}
