//! The lines that carry what is known of a client, read and ordered by the contract's words.
//!
//! They are read by themselves here: times are whole nanoseconds as plain integers, and the order is one of its own.
//! Nothing here may use `Location`, `Table` or `Timestamp`, which it judges.

use std::cmp::Ordering;

use memchr::memchr_iter;

/// Nanoseconds of a second.
pub const SECOND: i128 = 1_000_000_000;

/// The place of a report among those about its client: the greater, the more recent.
///
/// > Records are ordered by their effective time: the client's time or the time of receipt,
/// > whichever is earlier. The latest effective time wins; ties fall to the latest time of
/// > receipt, then to the server's name, then to the location, then to the time's digits, the
/// > greater by bytes.
///
/// > An erasure wins over every earlier report, and over one with the same effective time.
#[derive(Clone, Copy, Debug)]
pub struct Rank<'l> {
    pub times: Times,
    pub line: &'l [u8],
}

/// What decides first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Times {
    pub effective: i128,
    pub is_erasure: bool,
    pub receipt: i128,
}

impl<'l> Rank<'l> {
    /// The time by which it is judged, in nanoseconds.
    pub fn effective(&self) -> i128 {
        self.times.effective
    }

    /// What decides where the times do not.
    fn rest(&self) -> [&'l [u8]; 3] {
        if is_erased(self.line) {
            return [erased_fields(self.line)[0], b"", b""];
        }
        let [server, _, _, location, digits] = fields(self.line);
        [server, location, digits]
    }
}

impl Ord for Rank<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_time = self.times.cmp(&other.times);
        by_time.then_with(|| match self.line == other.line {
            true => Ordering::Equal,
            false => self.rest().cmp(&other.rest()),
        })
    }
}

impl PartialOrd for Rank<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Rank<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Rank<'_> {}

/// The fields of an `AT` line after `AT`: server, difference, client, location, time.
fn fields(line: &[u8]) -> [&[u8]; 5] {
    let mut spaces = memchr_iter(b' ', line);
    let first_five = [(); 5].map(|()| spaces.next());
    match (first_five, spaces.next()) {
        ([Some(a), Some(b), Some(c), Some(d), Some(e)], None) if line[..a] == *b"AT" => [
            &line[a + 1..b],
            &line[b + 1..c],
            &line[c + 1..d],
            &line[d + 1..e],
            &line[e + 1..],
        ],
        _ => panic!("no AT line: {}", line.escape_ascii()),
    }
}

/// Whether a line of a link carries what is known of a client.
pub fn is_record(line: &[u8]) -> bool {
    line.starts_with(b"AT ") || is_erased(line)
}

/// Whether a line says that a client is erased.
pub fn is_erased(line: &[u8]) -> bool {
    line.starts_with(b"ERASED ")
}

/// The fields of an `ERASED` line after `ERASED`: server, client, time.
fn erased_fields(line: &[u8]) -> [&[u8]; 3] {
    let fields: Vec<_> = line.split(|&byte| byte == b' ').collect();
    match fields[..] {
        [b"ERASED", server, client, time] => [server, client, time],
        _ => panic!("no ERASED line: {}", line.escape_ascii()),
    }
}

/// Whom an `AT` or `ERASED` line is about.
pub fn client(line: &[u8]) -> &[u8] {
    match is_erased(line) {
        true => erased_fields(line)[1],
        false => fields(line)[2],
    }
}

/// Where its client was.
pub fn location(line: &[u8]) -> &[u8] {
    fields(line)[3]
}

/// The line with which `server` erases a client.
pub fn erased(server: &str, client: &[u8], time: i128) -> Vec<u8> {
    let (seconds, nanos) = (time / SECOND, time % SECOND);
    let tail = format!(" {seconds}.{nanos:09}");
    [b"ERASED ", server.as_bytes(), b" ", client, tail.as_bytes()].concat()
}

/// Where an `AT` or `ERASED` line stands among those about the same client.
pub fn rank(line: &[u8]) -> Rank<'_> {
    if is_erased(line) {
        let time = nanos(erased_fields(line)[2]);
        let times = Times {
            effective: time,
            is_erasure: true,
            receipt: time,
        };
        return Rank { times, line };
    }
    let [_, difference, _, _, digits] = fields(line);
    let time = nanos(digits);
    let difference = match difference.split_first() {
        Some((b'+', magnitude)) => nanos(magnitude),
        Some((b'-', magnitude)) => -nanos(magnitude),
        _ => panic!("a difference without sign: {}", line.escape_ascii()),
    };
    let receipt = time + difference;
    let effective = if time < receipt { time } else { receipt };
    let times = Times {
        effective,
        is_erasure: false,
        receipt,
    };
    Rank { times, line }
}

/// A decimal number of seconds, in nanoseconds.
pub fn nanos(text: &[u8]) -> i128 {
    let point = text.iter().position(|&byte| byte == b'.');
    let (whole, fraction) = match point {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &b"0"[..]),
    };
    let shown = text.escape_ascii();
    assert!(fraction.len() <= 9, "{shown}");
    let number = |digits: &[u8]| {
        assert!(!digits.is_empty(), "no digits: {shown}");
        digits.iter().fold(0_u64, |number, byte| {
            assert!(byte.is_ascii_digit(), "no digit: {shown}");
            let number = number.checked_mul(10).expect("a number of 64 bits");
            number + u64::from(byte - b'0')
        })
    };
    let fraction = number(fraction) * 10_u64.pow(9 - fraction.len() as u32);
    i128::from(number(whole)) * SECOND + i128::from(fraction)
}

/// The reply that `server` owes a client for its IAMAT when its clock shows `wall` nanoseconds.
pub fn reply(server: &str, wall: i128, client: &[u8], location: &str, digits: &str) -> Vec<u8> {
    let difference = wall - nanos(digits.as_bytes());
    let sign = if difference < 0 { '-' } else { '+' };
    let size = difference.unsigned_abs();
    let (seconds, rest) = (size / SECOND as u128, size % SECOND as u128);
    let seconds = u64::try_from(seconds).expect("a difference of seconds of 18 digits");
    let head = format!("AT {server} {sign}{seconds}.{:09} ", rest as u32);
    [
        head.as_bytes(),
        client,
        b" ",
        location.as_bytes(),
        b" ",
        digits.as_bytes(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_clause_of_the_contract_decides_once() {
        let rising = [
            "AT B +0.000000000 c +00+000 10",
            "AT B +0.000000001 c +00+000 10",
            "AT B +1.000000000 c +00+000 10",
            "AT C +1.000000000 c +00+000 10",
            "AT C +1.000000000 c +01+000 10",
            "AT C +1.000000000 c +01+000 10.0",
            "AT A +0.000000000 c +00+000 11",
            "AT A -88.000000000 c +00+000 100", // received at 12
            "AT A +0.000000000 c +00+000 12.1",
            "AT Z +9.000000000 c +90+000 12.2",
            "ERASED A c 12.200000000",
            "ERASED B c 12.200000000",
            "AT A +0.000000000 c +00+000 12.21",
        ];
        let ranks: Vec<_> = rising.iter().map(|line| rank(line.as_bytes())).collect();
        assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:#?}");
    }

    #[test]
    fn replies_are_exact() {
        let line = reply("B", 9_500_000_000, b"c", "+00+000", "10.000000001");
        assert_eq!(line, b"AT B -0.500000001 c +00+000 10.000000001");
        assert_eq!(
            reply("B", 7 * SECOND, b"c", "+00+000", "7"),
            b"AT B +0.000000000 c +00+000 7"
        );
    }
}
