//! Spans of time, as operators write and read them.
//!
//! The command line parses with it, and messages for people are worded with it. Whole seconds only.

use std::time::Duration;

use super::digits::{SECONDS_DIGITS_MAX, digits};

/// The longest span of time an operator may set: 100 years.
const SPAN_SECONDS_MAX: u64 = 36_525 * 24 * 60 * 60;

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

/// A span of time in a unit that fits, rounded to the nearest, for people.
pub fn rough_span(span: Duration) -> String {
    let half = Duration::from_millis(500);
    let seconds = span.saturating_add(half).as_secs();
    let nearest = |unit| seconds.saturating_add(unit / 2) / unit;
    match seconds {
        172_800.. => format!("{} days", nearest(86_400)),
        7_200.. => format!("{} hours", nearest(3_600)),
        _ => format!("{seconds} seconds"),
    }
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
            (8_999, "2 hours"),
            (9_000, "3 hours"),
            (172_799, "48 hours"),
            (172_800, "2 days"),
            (14 * 86_400 - 1, "14 days"),
            (14 * 86_400 + 5, "14 days"),
        ] {
            let span = Duration::from_secs(seconds);
            assert_eq!(rough_span(span), want);
            let slightly_less = span - Duration::from_nanos(1);
            assert_eq!(rough_span(slightly_less), want);
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
        fn noise_never_panics(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse_span(&String::from_utf8_lossy(&text));
        }
    }
}
