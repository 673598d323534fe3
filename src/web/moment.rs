//! Times as devices write them, as the POSIX time of an `IAMAT` line: seconds since 1970, never negative, with nine
//! decimals at most.

use std::borrow::Cow;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

use super::decimal::Decimal;
use crate::time::{FRACTION_DIGITS_MAX, Timestamp};

/// Numbers of more digits than this before the point are milliseconds: from 10^11 on.
const SECONDS_DIGITS: usize = 11;

/// That of a receipt, with nine decimals. `None` before 1970.
pub fn of(time: Timestamp) -> Option<Decimal<'static>> {
    let seconds = u64::try_from(time.seconds()).ok()?;
    Some(seconds_and(seconds, format!("{:09}", time.nanos())))
}

fn seconds_and<'a>(seconds: u64, fraction: impl Into<Cow<'a, str>>) -> Decimal<'a> {
    Decimal {
        is_negative: false,
        whole: seconds.to_string().into(),
        fraction: fraction.into(),
    }
}

/// A number of seconds, or from 10^11 on of milliseconds. What is finer than a nanosecond is left away. `None`
/// before 1970.
pub fn of_number(number: Decimal<'_>) -> Option<Decimal<'_>> {
    let is_zero = |digits: &str| digits.bytes().all(|digit| digit == b'0');
    if number.is_negative && !(is_zero(&number.whole) && is_zero(&number.fraction)) {
        return None;
    }
    let mut seconds = match number.whole.len() > SECONDS_DIGITS {
        true => number.shifted(-3)?,
        false => number,
    };
    match &mut seconds.fraction {
        Cow::Borrowed(fraction) => *fraction = to_nanoseconds(fraction),
        Cow::Owned(fraction) => fraction.truncate(FRACTION_DIGITS_MAX),
    }
    Some(seconds)
}

/// A fraction of a second without what is finer than a nanosecond.
fn to_nanoseconds(fraction: &str) -> &str {
    fraction.get(..FRACTION_DIGITS_MAX).unwrap_or(fraction)
}

/// A plain decimal, as [`of_number`], or a date and time of ISO 8601, with a zone or in UTC.
pub fn of_text(text: &str) -> Option<Decimal<'_>> {
    match Decimal::plain(text) {
        Some(number) => of_number(number),
        None => of_iso_8601(text),
    }
}

/// Reads `YYYY-MM-DD`, `T` or a space, `HH:MM` or `HH:MM:SS`, after seconds perhaps a fraction, perhaps `Z`, `±HH:MM`,
/// `±HHMM` or `±HH`.
fn of_iso_8601(text: &str) -> Option<Decimal<'_>> {
    let (date, time) = (text.get(..10)?, text.get(11..)?);
    let is_separated = matches!(text.as_bytes()[10], b'T' | b't' | b' ');
    let zone_at = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let (time, zone) = time.split_at(zone_at);
    let (time, fraction) = match time.split_once('.') {
        None => (time, ""),
        Some((_, "")) => return None,
        Some(parts) => parts,
    };
    let has_seconds = time.len() == "HH:MM:SS".len();
    let is_fraction =
        fraction.bytes().all(|byte| byte.is_ascii_digit()) && (has_seconds || fraction.is_empty());
    (is_separated && is_fraction).then_some(())?;
    let date = date_of(date)?;
    let moment = NaiveDateTime::new(date, time_of(time)?)
        .and_utc()
        .timestamp();
    let seconds = u64::try_from(moment.checked_sub(offset_seconds(zone)?)?).ok()?;
    // Not by way of `of_number`: seconds they are, however many.
    Some(seconds_and(seconds, to_nanoseconds(fraction)))
}

fn number<const DIGITS: usize>(text: &str) -> Option<u32> {
    let is_number = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

fn date_of(text: &str) -> Option<NaiveDate> {
    let mut fields = text.split('-');
    let (year, month, day) = (fields.next()?, fields.next()?, fields.next()?);
    let year = i32::try_from(number::<4>(year)?).ok()?;
    NaiveDate::from_ymd_opt(year, number::<2>(month)?, number::<2>(day)?)
}

fn time_of(text: &str) -> Option<NaiveTime> {
    let mut fields = text.split(':');
    let (hour, minute) = (fields.next()?, fields.next()?);
    let second = fields.next().unwrap_or("00");
    fields.next().is_none().then_some(())?;
    NaiveTime::from_hms_opt(
        number::<2>(hour)?,
        number::<2>(minute)?,
        number::<2>(second)?,
    )
}

/// How far a zone is ahead of UTC.
fn offset_seconds(zone: &str) -> Option<i64> {
    let (sign, digits) = match zone.split_at_checked(1) {
        None => return Some(0),
        Some(("Z" | "z", "")) => return Some(0),
        Some(("+", digits)) => (1, digits),
        Some(("-", digits)) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.len() {
        2 => (digits, "00"),
        4 => digits.split_at_checked(2)?,
        5 => digits.split_once(':')?,
        _ => return None,
    };
    let (hours, minutes) = (number::<2>(hours)?, number::<2>(minutes)?);
    (hours < 24 && minutes < 60).then(|| sign * i64::from(hours * 3_600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(seconds: Decimal<'_>) -> String {
        let mut text = Vec::new();
        seconds.write_magnitude(&mut text, 1);
        String::from_utf8(text).expect("ASCII")
    }

    #[test]
    fn times() {
        for (text, want) in [
            ("1353118103", Some("1353118103")),
            ("1353118103.108893381", Some("1353118103.108893381")),
            ("1353118103.10889338199", Some("1353118103.108893381")),
            ("99999999999", Some("99999999999")),
            ("100000000000", Some("100000000.000")),
            ("1353118103108", Some("1353118103.108")),
            ("1353118103108.893381999", Some("1353118103.108893381")),
            ("0", Some("0")),
            ("-0.0", Some("0.0")),
            ("-1", None),
            ("1353118103,5", None),
            ("2012-11-17T02:08:23Z", Some("1353118103")),
            (
                "2012-11-17T02:08:23.108893381999Z",
                Some("1353118103.108893381"),
            ),
            ("2012-11-17 02:08:23", Some("1353118103")),
            ("2012-11-16T18:08:23-08:00", Some("1353118103")),
            ("2012-11-16T18:08:23.5-0800", Some("1353118103.5")),
            ("2012-11-17T03:08:23+01", Some("1353118103")),
            ("2012-11-17T07:38:23+05:30", Some("1353118103")),
            ("2012-11-17T02:08Z", Some("1353118080")),
            ("2012-11-16 18:08-08:00", Some("1353118080")),
            ("2012-11-17T02:08", Some("1353118080")),
            ("2012-11-17T02:08.5Z", None),
            ("2012-11-17T02:08:Z", None),
            ("2012-11-17T02:60Z", None),
            ("2012-11-17T02Z", None),
            ("2012-02-30T00:00:00Z", None),
            ("2012-11-17T24:00:00Z", None),
            ("2012-11-17T02:08:60Z", None),
            ("2012-11-17T02:08:23,5Z", None),
            ("2012-11-17T02:08:23.Z", None),
            ("2012-11-17T02:08:23.5", Some("1353118103.5")),
            ("2012-11-17T02:08:23+1:00", None),
            ("2012-11-17T02:08:23+24:00", None),
            ("2012-11-17T02:08:23Zulu", None),
            ("1969-12-31T23:59:59Z", None),
            ("2012-11-17", None),
            ("2012-11-1\u{e9}", None),
            ("", None),
            ("now", None),
        ] {
            assert_eq!(of_text(text).map(written).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn a_receipt() {
        let text = |seconds, nanos| of(Timestamp::new(seconds, nanos)).map(written);
        assert_eq!(text(12, 34).as_deref(), Some("12.000000034"));
        assert_eq!(text(-1, 0), None);
    }
}
