//! A moment in POSIX time: its text as clients write it and as the log does, and its arithmetic.
//!
//! Seconds and nanoseconds are integers. Only [`Timestamp::system`] asks a clock.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::NaiveDate;

use super::difference::Difference;
use super::digits::{
    FRACTION_DIGITS_MAX, NANOS_PER_SECOND, SECONDS_DIGITS_MAX, digits, eight_digits, write_decimal,
    write_nanos,
};

// The sum of any time and any difference that a line can carry stays far inside an `i64`.
const _: () = assert!(10_i64.pow(SECONDS_DIGITS_MAX as u32) < i64::MAX / 4);

/// A moment in POSIX time: seconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
}

impl Timestamp {
    /// Before every other moment.
    pub const MIN: Timestamp = Timestamp::new(i64::MIN, 0);

    /// After every other moment.
    pub const MAX: Timestamp = Timestamp::new(i64::MAX, NANOS_PER_SECOND - 1);

    /// The moment `seconds` and `nanos` (below 1,000,000,000) after the epoch.
    pub const fn new(seconds: i64, nanos: u32) -> Timestamp {
        assert!(nanos < NANOS_PER_SECOND);
        Timestamp { seconds, nanos }
    }

    /// The system's clock. A clock set before 1970 reads as the epoch.
    pub fn system() -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX / 4);
        Timestamp::new(seconds, since.subsec_nanos())
    }

    /// Reads a client's time: 1 to 18 digits, then perhaps a point and 1 to 9 digits.
    #[inline]
    pub fn parse(text: &[u8]) -> Option<Timestamp> {
        if let Some(time) = Timestamp::parse_common(text) {
            return Some(time);
        }
        Timestamp::parse_any(text)
    }

    fn parse_any(text: &[u8]) -> Option<Timestamp> {
        let (whole, fraction) = match memchr::memchr(b'.', text) {
            Some(point) => (&text[..point], Some(&text[point + 1..])),
            None => (text, None),
        };
        if whole.len() > SECONDS_DIGITS_MAX {
            return None;
        }
        let seconds = digits(whole)? as i64;
        let nanos = match fraction {
            None => 0,
            Some(fraction) if fraction.len() > FRACTION_DIGITS_MAX => return None,
            Some(fraction) => {
                let scale = 10_u64.pow((FRACTION_DIGITS_MAX - fraction.len()) as u32);
                (digits(fraction)? * scale) as u32
            }
        };
        Some(Timestamp { seconds, nanos })
    }

    /// Reads a time from 2001 to 2286 with nine decimals, as most clients write it; `None` for others.
    /// This is on the path of every message.
    #[inline]
    fn parse_common(text: &[u8]) -> Option<Timestamp> {
        let text: &[u8; 20] = text.try_into().ok()?;
        let (seconds_high, rest) = text.split_first_chunk()?;
        let (&[tens, units, point, first], nanos_low) = rest.split_first_chunk()?;
        let (seconds_high, is_strange_before) = eight_digits(*seconds_high);
        let (nanos_low, is_strange_after) = eight_digits(*nanos_low.first_chunk()?);
        let [tens, units, first] = [tens, units, first].map(|byte| byte.wrapping_sub(b'0'));
        // All asked at once: almost all texts are digits.
        let is_strange = (tens > 9) | (units > 9) | (first > 9) | (point != b'.');
        if is_strange | is_strange_before | is_strange_after {
            return None;
        }
        let low = u64::from(tens) * 10 + u64::from(units);
        Some(Timestamp {
            seconds: (seconds_high * 100 + low) as i64,
            nanos: u32::from(first) * 100_000_000 + nanos_low as u32,
        })
    }

    /// Reads a time as the log writes it: `2012-11-17T02:08:23.672266766Z`.
    pub fn parse_utc(text: &[u8]) -> Option<Timestamp> {
        let text = text.strip_suffix(b"Z")?;
        let field = |range: Range<usize>, before: &[u8]| {
            let at = range.start - before.len();
            (text.get(at..range.start)? == before).then_some(())?;
            u32::try_from(digits(text.get(range)?)?).ok()
        };
        let (month, day) = (field(5..7, b"-")?, field(8..10, b"-")?);
        let date = NaiveDate::from_ymd_opt(field(0..4, b"")? as i32, month, day)?;
        let (hour, minute, second) = (
            field(11..13, b"T")?,
            field(14..16, b":")?,
            field(17..19, b":")?,
        );
        let moment = date.and_hms_nano_opt(hour, minute, second, field(20..29, b".")?)?;
        (text.len() == 29).then(|| {
            let moment = moment.and_utc();
            Timestamp::new(moment.timestamp(), moment.timestamp_subsec_nanos())
        })
    }

    /// Whole seconds since the epoch, rounded down.
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds past [`Timestamp::seconds`], below 1,000,000,000.
    pub fn nanos(self) -> u32 {
        self.nanos
    }

    /// This moment as seen from `earlier`: negative when `earlier` is in fact later.
    pub fn since(self, earlier: Timestamp) -> Difference {
        let (seconds, nanos) = if self.nanos >= earlier.nanos {
            (self.seconds - earlier.seconds, self.nanos - earlier.nanos)
        } else {
            (
                self.seconds - earlier.seconds - 1,
                self.nanos + NANOS_PER_SECOND - earlier.nanos,
            )
        };
        Difference { seconds, nanos }
    }

    /// The moment `duration` before this one.
    pub fn minus(self, duration: Duration) -> Timestamp {
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        let borrow = i64::from(self.nanos < duration.subsec_nanos());
        let nanos = self.nanos + NANOS_PER_SECOND - duration.subsec_nanos();
        Timestamp {
            seconds: self.seconds.saturating_sub(seconds).saturating_sub(borrow),
            nanos: nanos % NANOS_PER_SECOND,
        }
    }

    /// The moment `duration` after this one.
    pub fn later(self, duration: Duration) -> Timestamp {
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        let nanos = self.nanos + duration.subsec_nanos();
        let carry = i64::from(nanos >= NANOS_PER_SECOND);
        Timestamp {
            seconds: self.seconds.saturating_add(seconds).saturating_add(carry),
            nanos: nanos % NANOS_PER_SECOND,
        }
    }

    /// Appends it as seconds, a point and nine decimals, as [`Timestamp::parse`] reads it. What is before
    /// 1970 is written as 1970.
    pub fn write(self, out: &mut Vec<u8>) {
        write_decimal(out, u64::try_from(self.seconds).unwrap_or(0));
        out.push(b'.');
        write_nanos(out, self.nanos);
    }

    /// The moment `difference` after this one.
    pub fn plus(self, difference: Difference) -> Timestamp {
        let nanos = self.nanos + difference.nanos;
        let carry = i64::from(nanos >= NANOS_PER_SECOND);
        Timestamp {
            seconds: self.seconds + difference.seconds + carry,
            nanos: nanos % NANOS_PER_SECOND,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_difference_is_as_long_either_way() {
        let (a, b) = (
            Timestamp::new(10, 250_000_000),
            Timestamp::new(7, 500_000_000),
        );
        let want = Duration::from_millis(2_750);
        assert_eq!(
            (a.since(b).magnitude(), b.since(a).magnitude()),
            (want, want)
        );
        assert_eq!(b.later(want), a);
    }

    fn text(difference: Difference) -> String {
        let mut out = Vec::new();
        difference.write(&mut out);
        String::from_utf8(out).expect("digits are ASCII")
    }

    #[test]
    fn times_as_clients_write_them() {
        for (input, want) in [
            ("0", Some((0, 0))),
            ("1353118103.108893381", Some((1_353_118_103, 108_893_381))),
            ("1353118103.1", Some((1_353_118_103, 100_000_000))),
            ("007.000000001", Some((7, 1))),
            (
                "999999999999999999.999999999",
                Some((999_999_999_999_999_999, 999_999_999)),
            ),
            ("1000000000000000000", None), // nineteen digits
            ("1.0000000000", None),        // ten decimals
            ("", None),
            (".", None),
            ("1.", None),
            (".5", None),
            ("+1", None),
            ("-1", None),
            ("1e9", None),
            ("1.2.3", None),
            ("1,5", None),
            ("\u{661}", None), // an Arabic digit is no digit here
        ] {
            let want = want.map(|(seconds, nanos)| Timestamp::new(seconds, nanos));
            assert_eq!(Timestamp::parse(input.as_bytes()), want, "time: {input:?}");
        }
    }

    #[test]
    fn differences_are_signed_and_have_nine_decimals() {
        let at = Timestamp::new;
        for (later, earlier, want) in [
            (
                at(1_353_118_103, 672_266_766),
                at(1_353_118_103, 108_893_381),
                "+0.563373385",
            ),
            (at(5, 0), at(8, 0), "-3.000000000"),
            (at(5, 7), at(5, 7), "+0.000000000"),
            (at(5, 0), at(5, 1), "-0.000000001"),
            (at(5, 0), at(6, 1), "-1.000000001"),
            (at(6, 1), at(5, 2), "+0.999999999"),
            (
                at(0, 0),
                at(999_999_999_999_999_999, 999_999_999),
                "-999999999999999999.999999999",
            ),
        ] {
            let difference = later.since(earlier);
            assert_eq!(text(difference), want);
            assert_eq!(earlier.plus(difference), later, "{want}");
            assert_eq!(Difference::parse(want.as_bytes()), Some(difference));
        }
    }

    #[test]
    fn times_as_the_log_writes_them() {
        for (input, want) in [
            ("1970-01-01T00:00:00.000000000Z", Some((0, 0))),
            (
                "2012-11-17T02:08:23.672266766Z",
                Some((1_353_118_103, 672_266_766)),
            ),
            (
                "2000-02-29T00:00:00.999999999Z",
                Some((951_782_400, 999_999_999)),
            ),
            ("2001-02-29T00:00:00.999999999Z", None),
            ("2012-13-17T02:08:23.672266766Z", None),
            ("2012-11-17T02:08:23.67226676Z", None),
            ("2012-11-17T02:08:23.6722667660Z", None),
            ("2012-11-17 02:08:23.672266766Z", None),
            ("2012-11-17T02:08:23.672266766", None),
            ("2012-11-1\u{661}T02:08:23.672266766Z", None),
            ("", None),
            ("Z", None),
        ] {
            let want = want.map(|(seconds, nanos)| Timestamp::new(seconds, nanos));
            assert_eq!(Timestamp::parse_utc(input.as_bytes()), want, "{input:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_away_comes_back(seconds in 0..1_u64 << 40, nanos in 0..NANOS_PER_SECOND, less in 0..1_u64 << 40, less_nanos in 0..NANOS_PER_SECOND) {
            let moment = Timestamp::new(seconds as i64, nanos);
            let earlier = moment.minus(Duration::new(less, less_nanos));
            let back = Difference { seconds: less as i64, nanos: less_nanos };
            prop_assert_eq!(earlier.plus(back), moment);
            prop_assert!(Timestamp::MIN.minus(Duration::new(less, less_nanos)) < moment);
        }

        #[test]
        fn differences_round_trip(a in 0..1_u64 << 59, an in 0..NANOS_PER_SECOND, b in 0..1_u64 << 59, bn in 0..NANOS_PER_SECOND) {
            let (a, b) = (Timestamp::new(a as i64, an), Timestamp::new(b as i64, bn));
            let difference = a.since(b);
            prop_assert_eq!(b.plus(difference), a);
            prop_assert_eq!(Difference::parse(text(difference).as_bytes()), Some(difference));
            // The same arithmetic in one wide integer, as a second opinion.
            let wide = |t: Timestamp| i128::from(t.seconds()) * 1_000_000_000 + i128::from(t.nanos());
            let nanos = wide(a) - wide(b);
            let want = format!(
                "{}{}.{:09}",
                if nanos < 0 { '-' } else { '+' },
                nanos.unsigned_abs() / 1_000_000_000,
                nanos.unsigned_abs() % 1_000_000_000
            );
            prop_assert_eq!(text(difference), want);
        }

        #[test]
        fn noise_never_panics(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Timestamp::parse(&text);
            let _ = Difference::parse(&text);
            let _ = Timestamp::parse_utc(&text);
        }
    }
}
