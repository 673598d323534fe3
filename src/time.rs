//! Exact time: POSIX timestamps, their differences, their text, and the two clocks of a turn.
//!
//! Everybody uses this room; it knows nobody. Times are whole seconds and nanoseconds, never
//! floating point: an `f64` cannot hold `1353118103.108893381`.

use std::ops::Range;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::NaiveDate;

const NANOS_PER_SECOND: u32 = 1_000_000_000;

/// The most digits the seconds of a client's time may have.
pub const SECONDS_DIGITS_MAX: usize = 18;

/// The most digits the fraction of a client's time may have: nanoseconds.
pub const FRACTION_DIGITS_MAX: usize = 9;

/// The longest span of time an operator may set: 100 years.
const SPAN_SECONDS_MAX: u64 = 36_525 * 24 * 60 * 60;

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

/// The difference of two moments, exact to the nanosecond.
///
/// Kept as whole seconds rounded down and the nanoseconds above them, so -0.25 s is (-1, 750000000).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    seconds: i64,
    nanos: u32,
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

/// The two clocks, read once a turn: all that happens in a turn happens at once.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For timers: never goes back.
    pub mono: Instant,
    /// For what `AT` reports: the time of receipt. May jump when the clock is set.
    pub wall: Timestamp,
}

impl Now {
    /// Reads both clocks.
    pub fn read() -> Now {
        Now {
            mono: Instant::now(),
            wall: Timestamp::system(),
        }
    }

    /// The same moment by a clock that is never set back by `slack` or less, but stands still instead
    /// until the other has caught up. `before` is the moment before, by the same clock.
    pub fn without_small_steps_back(self, before: Now, slack: Duration) -> Now {
        let steps_back = self.wall < before.wall && self.wall >= before.wall.minus(slack);
        let wall = if steps_back { before.wall } else { self.wall };
        Now { wall, ..self }
    }

    /// The moment `duration` from now, for timers.
    pub fn after(self, duration: Duration) -> Instant {
        self.mono + duration
    }
}

/// Reads a span of time as an operator writes it: whole seconds, or a whole number with `s`, `m`,
/// `h` or `d`. Not zero, and at most 100 years.
///
/// # Errors
/// Says what is wanted.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let number = text.trim_end_matches(['s', 'm', 'h', 'd']);
    let unit = match &text[number.len()..] {
        "" | "s" => Some(1),
        "m" => Some(60),
        "h" => Some(60 * 60),
        "d" => Some(24 * 60 * 60),
        _ => None,
    };
    let number = number.as_bytes();
    let number = (number.len() <= SECONDS_DIGITS_MAX).then(|| digits(number));
    let seconds = unit.zip(number.flatten());
    let seconds = seconds.and_then(|(unit, number)| number.checked_mul(unit));
    match seconds {
        Some(seconds @ 1..=SPAN_SECONDS_MAX) => Ok(Duration::from_secs(seconds)),
        Some(_) => Err("between 1 second and 100 years, please".to_owned()),
        None => {
            Err("seconds are wanted, or a number with s, m, h or d: 90, 90s, 5m, 2h, 7d".to_owned())
        }
    }
}

/// Writes a span of whole seconds for an operator, in the greatest unit that leaves no rest.
pub fn span_text(span: Duration) -> String {
    let seconds = span.as_secs();
    let units = [(24 * 60 * 60, "d"), (60 * 60, "h"), (60, "min"), (1, "s")];
    let whole = |(length, _): &&(u64, &str)| seconds.is_multiple_of(*length);
    let (length, unit) = units.iter().find(whole).expect("each is whole in seconds");
    format!("{} {unit}", seconds / length)
}

/// A number of seconds in a unit that fits, for people.
pub fn rough_span(seconds: u64) -> String {
    match seconds {
        172_800.. => format!("{} days", seconds / 86_400),
        7_200.. => format!("{} hours", seconds / 3_600),
        _ => format!("{seconds} seconds"),
    }
}

/// `u64::MAX` has so many digits.
const DECIMAL_DIGITS_MAX: usize = 20;

/// Appends `value` in decimal.
pub fn write_decimal(out: &mut Vec<u8>, value: u64) {
    let mut text = [0; DECIMAL_DIGITS_MAX];
    let start = decimal_before(&mut text, value);
    out.extend_from_slice(&text[start..]);
}

/// Writes `value` in decimal to the end of `text`; says where it begins there.
#[inline(always)]
pub fn decimal_before(text: &mut [u8], mut value: u64) -> usize {
    let mut start = text.len();
    if value >= 100_000_000 {
        // Eight digits at once: the age of a client's clock has nine or ten.
        start -= 8;
        let low = (value % 100_000_000) as u32;
        text[start..start + 8].copy_from_slice(&eight_digits_of(low));
        value /= 100_000_000;
    }
    while value >= 100 {
        start -= 2;
        text[start..start + 2].copy_from_slice(&two_digits((value % 100) as u32));
        value /= 100;
    }
    if value >= 10 {
        start -= 2;
        text[start..start + 2].copy_from_slice(&two_digits(value as u32));
    } else {
        start -= 1;
        text[start] = b'0' + value as u8;
    }
    start
}

/// Appends `nanos`, below 1,000,000,000, as exactly nine digits.
pub fn write_nanos(out: &mut Vec<u8>, nanos: u32) {
    out.extend_from_slice(&nine_digits(nanos));
}

/// `nanos`, below 1,000,000,000, as exactly nine digits.
pub fn nine_digits(nanos: u32) -> [u8; FRACTION_DIGITS_MAX] {
    debug_assert!(nanos < NANOS_PER_SECOND);
    let mut text = [0; FRACTION_DIGITS_MAX];
    text[0] = b'0' + (nanos / 100_000_000) as u8;
    text[1..].copy_from_slice(&eight_digits_of(nanos % 100_000_000));
    text
}

/// `value`, below 100,000,000, as exactly eight digits: [`eight_digits`] the other way round, the whole
/// parted to fours, fours to pairs, pairs to digits, each with one multiplication for all.
fn eight_digits_of(value: u32) -> [u8; 8] {
    debug_assert!(value < 100_000_000);
    let (high, low) = (u64::from(value / 10_000), u64::from(value % 10_000));
    let fours = high | low << 32;
    // Below 10,000 a division by 100 is a multiplication by 5,243 and a shift by 19 bits; below 100 one
    // by 10 is a multiplication by 103 and a shift by 10 bits.
    let hundreds = ((fours * 5_243) >> 19) & 0x0000_007f_0000_007f;
    let pairs = hundreds | (fours - hundreds * 100) << 16;
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    let digits = tens | (pairs - tens * 10) << 8;
    (digits | (u64::MAX / 255 * u64::from(b'0'))).to_le_bytes()
}

/// The digits of a number below 100: two at a time halves the divisions, and these functions
/// write most numbers of every message.
fn two_digits(value: u32) -> [u8; 2] {
    [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8]
}

/// Reads 1 to 18 decimal digits; `None` for anything else.
pub(crate) fn digits(text: &[u8]) -> Option<u64> {
    debug_assert!(text.len() <= SECONDS_DIGITS_MAX, "the caller bounds it");
    let (mut value, mut strange) = (0_u64, text.is_empty());
    let (eights, rest) = text.as_chunks::<8>();
    for eight in eights {
        let (digits, is_strange) = eight_digits(*eight);
        value = value.wrapping_mul(100_000_000).wrapping_add(digits);
        strange |= is_strange;
    }
    for &byte in rest {
        let digit = byte.wrapping_sub(b'0');
        strange |= digit > 9; // asked once at the end: almost all texts are digits
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
    }
    (!strange).then_some(value)
}

/// Reads eight digits at once, neighbours joined to pairs, pairs to fours, fours to the whole, each
/// in one multiplication (after Lemire, "Quickly parsing eight digits", 2018). Says whether any of
/// them is none.
fn eight_digits(text: [u8; 8]) -> (u64, bool) {
    const EACH: u64 = u64::MAX / 255;
    // The first digit is in the lowest byte.
    let values = u64::from_le_bytes(text) ^ (EACH * u64::from(b'0'));
    // A byte above 9 has its highest bit set, by itself or by the addition; a carry into the next
    // byte comes only from one that has.
    let strange = (values | values.wrapping_add(EACH * (0x7f - 9))) & (EACH * 0x80) != 0;
    let pairs = (values.wrapping_mul(1 + (10 << 8)) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(1 + (100 << 16)) >> 16) & 0x0000_ffff_0000_ffff;
    let whole = fours.wrapping_mul(1 + (10_000 << 32)) >> 32;
    (whole, strange)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_span_is_told_in_a_unit_that_fits() {
        for (seconds, want) in [
            (2, "2 seconds"),
            (7_199, "7199 seconds"),
            (7_200, "2 hours"),
            (172_799, "47 hours"),
            (14 * 86_400 + 5, "14 days"),
        ] {
            assert_eq!(rough_span(seconds), want);
        }
    }

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
    fn a_clock_that_steps_back_a_little_stands_still_until_it_has_caught_up() {
        let (mono, slack) = (Instant::now(), Duration::from_secs(1));
        let at = |(seconds, nanos)| Now {
            mono,
            wall: Timestamp::new(seconds, nanos),
        };
        let mut now = at((10, 0));
        for (shown, taken) in [
            ((10, 5), (10, 5)),
            ((10, 4), (10, 5)), // a little back
            ((10, 3), (10, 5)),
            ((10, 6), (10, 6)),
            ((9, 6), (10, 6)), // just a little
            ((9, 900_000_000), (10, 6)),
            ((9, 5), (9, 5)), // so much that it is taken for what it is
            ((9, 4), (9, 5)),
            ((50, 0), (50, 0)),
            ((10, 0), (10, 0)),
        ] {
            let shown = at(shown);
            now = shown.without_small_steps_back(now, slack);
            assert_eq!(now.wall, at(taken).wall, "{:?}", shown.wall);
        }
        // However many little steps there are, it is never wrong by more than the slack.
        for step in 1..1_000 {
            let shown = at((10, 0)).wall.minus(step * Duration::from_millis(10));
            now = Now { mono, wall: shown }.without_small_steps_back(now, slack);
            assert!(now.wall >= shown && now.wall.minus(slack) <= shown);
        }
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

    #[test]
    fn spans_as_operators_write_them() {
        for (input, want) in [
            ("1", Some(1)),
            ("90", Some(90)),
            ("90s", Some(90)),
            ("5m", Some(300)),
            ("2h", Some(7_200)),
            ("7d", Some(604_800)),
            ("36525d", Some(SPAN_SECONDS_MAX)),
            ("36526d", None),
            ("0", None),
            ("0h", None),
            ("", None),
            ("s", None),
            ("5ms", None),
            ("5 m", None),
            ("-5", None),
            ("+5", None),
            ("1.5h", None),
            ("5M", None),
            ("999999999999999999d", None),
            ("9999999999999999999", None),
        ] {
            let want = want.map(Duration::from_secs);
            assert_eq!(parse_span(input).ok(), want, "{input:?}");
        }
    }

    #[test]
    fn spans_are_told_in_the_unit_that_leaves_no_rest() {
        for (input, want) in [
            ("7", "7 s"),
            ("90s", "90 s"),
            ("120", "2 min"),
            ("90m", "90 min"),
            ("24h", "1 d"),
            ("36525d", "36525 d"),
        ] {
            let span = parse_span(input).expect("it is one");
            assert_eq!(span_text(span), want);
        }
    }

    proptest! {
        #[test]
        fn eight_digits_at_once_are_those_one_by_one(value in 0..100_000_000_u32) {
            let text = format!("{value:08}");
            prop_assert_eq!(&eight_digits_of(value), text.as_bytes());
            prop_assert_eq!(digits(text.as_bytes()), Some(u64::from(value)));
        }

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
        fn numbers_are_written_as_std_writes_them(value: u64, digits in 0..20_u32, nanos in 0..NANOS_PER_SECOND) {
            let value = value / 10_u64.pow(digits.min(19)); // of every length
            let mut out = Vec::new();
            write_decimal(&mut out, value);
            out.push(b' ');
            write_nanos(&mut out, nanos);
            prop_assert_eq!(out, format!("{value} {nanos:09}").into_bytes());
        }

        #[test]
        fn noise_never_panics(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Timestamp::parse(&text);
            let _ = Difference::parse(&text);
            let _ = Timestamp::parse_utc(&text);
            let _ = parse_span(&String::from_utf8_lossy(&text));
        }
    }
}
