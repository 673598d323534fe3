//! Where a client was, when, and who heard it: what everything else carries about; and which of two is the
//! newer.
//!
//! `protocol` reads and writes it, `table` keeps it. Pure: bytes in, values out.

use std::cmp::Ordering;

use crate::time::{Difference, Timestamp};

/// A position in decimal degrees (ISO 6709, Annex H without altitude), checked, in its own text.
///
/// The text is kept because replies copy it verbatim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position<'a> {
    text: &'a [u8],
    /// Where the longitude's sign stands.
    longitude_at: usize,
}

impl<'a> Position<'a> {
    /// Reads `±DD[.d…]±DDD[.d…][/]`, latitude within ±90, longitude within ±180.
    pub fn parse(text: &'a [u8]) -> Option<Position<'a>> {
        let (position, rest) = Position::take(text)?;
        rest.is_empty().then_some(position)
    }

    /// Reads the position that `text` begins with, and gives what follows it. Inlined, since it is on the path
    /// of every message.
    #[inline(always)]
    pub fn take(text: &'a [u8]) -> Option<(Position<'a>, &'a [u8])> {
        let rest = after_degrees::<3>(text, 90)?;
        let longitude_at = text.len() - rest.len();
        let rest = after_degrees::<4>(rest, 180)?;
        let rest = rest.strip_prefix(b"/").unwrap_or(rest);
        let text = &text[..text.len() - rest.len()];
        Some((Position { text, longitude_at }, rest))
    }

    /// The text as it came.
    pub fn text(self) -> &'a [u8] {
        self.text
    }

    /// The latitude as it is written, without what ends the position.
    pub fn latitude(self) -> &'a [u8] {
        &self.text[..self.longitude_at]
    }

    /// The longitude as it is written, without what ends the position.
    pub fn longitude(self) -> &'a [u8] {
        let longitude = &self.text[self.longitude_at..];
        longitude.strip_suffix(b"/").unwrap_or(longitude)
    }
}

/// What follows a number of degrees: a sign and digits, together exactly `HEAD` bytes, and an optional
/// fraction. `None` if `text` does not begin with such a number, or with one above `limit`.
#[inline]
fn after_degrees<const HEAD: usize>(text: &[u8], limit: u32) -> Option<&[u8]> {
    let (head, rest) = text.split_first_chunk::<HEAD>()?;
    let (mut degrees, mut is_strange) = (0, head[0] != b'+' && head[0] != b'-');
    for byte in &head[1..] {
        let digit = byte.wrapping_sub(b'0');
        is_strange |= digit > 9;
        degrees = degrees * 10 + u32::from(digit);
    }
    if is_strange || degrees > limit {
        return None;
    }
    let Some((b'.', after)) = rest.split_first() else {
        return Some(rest);
    };
    let (fraction, rest) = after.split_at(leading_digits(after));
    let is_within = degrees < limit || fraction.iter().all(|&digit| digit == b'0');
    (is_within && !fraction.is_empty()).then_some(rest)
}

/// How many digits `text` begins with: eight bytes at a time, then one by one.
#[inline]
pub fn leading_digits(text: &[u8]) -> usize {
    let mut count = 0;
    while let Some(eight) = text[count..].first_chunk() {
        match first_other(*eight) {
            Some(digits) => return count + digits,
            None => count += 8,
        }
    }
    while count < text.len() && text[count].is_ascii_digit() {
        count += 1;
    }
    count
}

/// The first of eight bytes that is no digit.
#[inline]
fn first_other(eight: [u8; 8]) -> Option<usize> {
    const EACH: u64 = u64::MAX / 255;
    let values = u64::from_le_bytes(eight) ^ (EACH * u64::from(b'0'));
    // A byte above 9 has its highest bit set, by itself or by the addition. A carry comes only from a
    // byte that has, so the lowest that is marked is always right.
    let others = (values | values.wrapping_add(EACH * (0x7f - 9))) & (EACH * 0x80);
    (others != 0).then(|| others.trailing_zeros() as usize / 8)
}

/// A checked decimal without `+`, leading zeros, or zeros that end a fraction: `86.564` for `+086.5640`.
///
/// `text` is an optional sign, digits, and perhaps a point and digits. The value is unchanged;
/// only `-0` becomes `0`.
pub fn plain_decimal(text: &[u8]) -> String {
    let mut plain = Vec::with_capacity(text.len());
    write_plain_decimal(&mut plain, text);
    plain.shrink_to_fit(); // it may wait long for an answer
    String::from_utf8(plain).expect("digits are text")
}

/// Appends what [`plain_decimal`] gives.
pub fn write_plain_decimal(out: &mut Vec<u8>, text: &[u8]) {
    let (negative, magnitude) = match text.split_first() {
        Some((b'-', magnitude)) => (true, magnitude),
        Some((b'+', magnitude)) => (false, magnitude),
        _ => (false, text),
    };
    let point = magnitude.iter().position(|&byte| byte == b'.');
    let point = point.unwrap_or(magnitude.len());
    let (mut whole, mut fraction) = magnitude.split_at(point);
    while let Some(rest) = whole.strip_prefix(b"0") {
        whole = rest;
    }
    while let [rest @ .., b'0' | b'.'] = fraction {
        fraction = rest;
    }
    if negative && !(whole.is_empty() && fraction.is_empty()) {
        out.push(b'-');
    }
    out.extend_from_slice(if whole.is_empty() { b"0" } else { whole });
    out.extend_from_slice(fraction);
}

/// One report of a client's location, as the `AT` line that carries it.
///
/// Everything is borrowed from that line, which is canonical: one report has one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location<'a> {
    /// The whole `AT` line, without its LF.
    pub line: &'a [u8],
    /// The server that heard it from the client.
    pub server: &'a [u8],
    /// That server's time of receipt less the client's time.
    pub difference: Difference,
    /// The client's name.
    pub client: &'a [u8],
    /// Where the client was.
    pub position: Position<'a>,
    /// The client's time.
    pub time: Timestamp,
    /// The client's time as the client wrote it.
    pub time_text: &'a [u8],
}

impl Location<'_> {
    /// When the server that heard it received it.
    pub fn receipt(&self) -> Timestamp {
        self.time.plus(self.difference)
    }

    /// The client's time or the time of receipt, whichever is earlier, so that one report from a
    /// clock set in the future cannot freeze a client for ever.
    pub fn effective(&self) -> Timestamp {
        self.time.min(self.receipt())
    }

    /// Which of two reports about one client is the more recent: the same answer on every server.
    ///
    /// The latest effective time; then the latest receipt; then the greater by bytes of server,
    /// location and the time's digits. `Equal` only for two copies of one line.
    pub fn recency(&self, other: &Location<'_>) -> Ordering {
        (self.effective(), self.receipt())
            .cmp(&(other.effective(), other.receipt()))
            .then_with(|| self.server.cmp(other.server))
            .then_with(|| self.position.text().cmp(other.position.text()))
            .then_with(|| self.time_text.cmp(other.time_text))
    }
}

/// The erasure of a client, as the `ERASED` line that carries it. What was reported of the client up to `time`
/// is forgotten, and is not taken in again, wherever it comes from.
///
/// `time` is its effective time. It wins over a report with the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erasure<'a> {
    /// The whole `ERASED` line, without its LF.
    pub line: &'a [u8],
    /// The server that was asked to erase the client.
    pub server: &'a [u8],
    /// The client's name.
    pub client: &'a [u8],
    /// Up to which time reports are erased.
    pub time: Timestamp,
}

/// What is told of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update<'a> {
    /// Where it was.
    Report(Location<'a>),
    /// That it is erased.
    Erasure(Erasure<'a>),
}

impl<'a> Update<'a> {
    /// The client's name.
    pub fn client(&self) -> &'a [u8] {
        match self {
            Update::Report(location) => location.client,
            Update::Erasure(erasure) => erasure.client,
        }
    }

    /// The line that carries it.
    pub fn line(&self) -> &'a [u8] {
        match self {
            Update::Report(location) => location.line,
            Update::Erasure(erasure) => erasure.line,
        }
    }
}

impl Erasure<'_> {
    /// Which of two erasures of one client is the more recent: the later, then the greater server by bytes.
    /// `Equal` only for two copies of one line.
    pub fn recency(&self, other: &Erasure<'_>) -> Ordering {
        (self.time, self.server).cmp(&(other.time, other.server))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::protocol::parse_at;
    use proptest::prelude::*;

    #[test]
    fn positions() {
        for (text, want) in [
            ("+27.5916+086.5640", Some(("27.5916", "86.564"))),
            ("+34.068930-118.445127", Some(("34.06893", "-118.445127"))),
            ("+00+000", Some(("0", "0"))),
            ("-00.0-000.00/", Some(("0", "0"))),
            ("-00.50+007.0/", Some(("-0.5", "7"))),
            ("+90-180", Some(("90", "-180"))),
            ("-90.000+180.0", Some(("-90", "180"))),
            ("+90.0000001+000", None),
            ("+00+180.0000001", None),
            ("+91+000", None),
            ("+00+181", None),
            ("+00+999", None),
            ("27+086", None),
            ("+27", None),
            ("+27+86", None),   // longitude has three digits
            ("+027+086", None), // latitude has two
            ("+27.+086", None),
            ("+27+086.", None),
            ("+27.5916+086.5640//", None),
            ("+27.5916+086.5640/ ", None),
            ("+27.59.16+086", None),
            ("+27,5+086", None),
            ("+27+086+8848", None), // no altitude
            ("++7+086", None),
            ("/", None),
            ("+", None),
            ("", None),
        ] {
            let position = Position::parse(text.as_bytes());
            let got = position.map(|p| [p.latitude(), p.longitude()].map(plain_decimal));
            let got = got.as_ref().map(|[lat, lon]| (lat.as_str(), lon.as_str()));
            assert_eq!(got, want, "position: {text:?}");
            assert!(position.is_none_or(|p| p.text() == text.as_bytes()));
        }
    }

    #[test]
    fn plain_decimals() {
        for (text, want) in [
            ("100", "100"),
            ("007.50", "7.5"),
            ("0.0", "0"),
            ("000", "0"),
            ("0.05", "0.05"),
            ("1000.0", "1000"),
        ] {
            assert_eq!(plain_decimal(text.as_bytes()), want);
        }
    }

    /// Rising recency, each line against each: every clause of the order decides once.
    #[test]
    fn recency_is_the_contracts_order() {
        let rising = [
            "AT B +0.000000000 c +00+000 10",
            "AT B +0.000000001 c +00+000 10", // later receipt, same effective time
            "AT B +1.000000000 c +00+000 10",
            "AT C +1.000000000 c +00+000 10",
            "AT C +1.000000000 c +01+000 10",
            "AT C +1.000000000 c +01+000 10.0",
            "AT A +0.000000000 c +00+000 11",
            // Reported from the future: what counts is when it was received.
            "AT A -88.000000000 c +00+000 100",
            "AT A +0.000000000 c +00+000 12.1",
        ];
        for (i, a) in rising.iter().enumerate() {
            for (j, b) in rising.iter().enumerate() {
                let a = parse_at(a.as_bytes()).expect("a line of the table");
                let b = parse_at(b.as_bytes()).expect("a line of the table");
                assert_eq!(a.recency(&b), i.cmp(&j), "{i} against {j}");
            }
        }
    }

    proptest! {
        #[test]
        fn digits_are_counted_as_one_by_one(text in "[0-9]{0,30}[ -~]{0,9}") {
            let other = text.bytes().position(|byte| !byte.is_ascii_digit());
            prop_assert_eq!(leading_digits(text.as_bytes()), other.unwrap_or(text.len()));
        }

        #[test]
        fn a_position_is_accepted_exactly_when_its_number_is(lat in "[+-][0-9]{1,3}(\\.[0-9]{0,3})?", lon in "[+-][0-9]{2,4}(\\.[0-9]{0,3})?") {
            let text = format!("{lat}{lon}");
            let width = |s: &str| s[1..].split('.').next().map_or(0, str::len);
            let within = |s: &str, limit: f64| s.parse::<f64>().is_ok_and(|v| v.abs() <= limit) && !s.ends_with('.');
            let want = width(&lat) == 2 && width(&lon) == 3 && within(&lat, 90.0) && within(&lon, 180.0);
            prop_assert_eq!(Position::parse(text.as_bytes()).is_some(), want);
        }
    }
}
