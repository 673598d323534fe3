//! What the contract says of reports, told once more from its words: an independent judge.
//!
//! It reads `AT` lines by itself, reckons in whole nanoseconds as plain integers, and has an order
//! of its own. It must never use `Location`, `Table` or `Timestamp`: what both get wrong in the
//! same way would go unseen.

use std::collections::BTreeMap;

/// Nanoseconds of a second.
pub const SECOND: i128 = 1_000_000_000;

/// The place of a report among those about its client: the greater, the more recent.
///
/// > Records are ordered by their effective time: the client's time or the time of receipt,
/// > whichever is earlier. The latest effective time wins; ties fall to the latest time of
/// > receipt, then to the server's name, then to the location, then to the time's digits, the
/// > greater by bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    effective: i128,
    receipt: i128,
    server: Vec<u8>,
    location: Vec<u8>,
    digits: Vec<u8>,
}

/// The fields of an `AT` line after `AT`: server, difference, client, location, time.
fn fields(line: &[u8]) -> [&[u8]; 5] {
    let mut fields = line.split(|&byte| byte == b' ');
    let first_seven = [(); 7].map(|()| fields.next());
    match first_seven {
        [
            Some(b"AT"),
            Some(server),
            Some(difference),
            Some(client),
            Some(location),
            Some(time),
            None,
        ] => [server, difference, client, location, time],
        _ => panic!("no AT line: {}", line.escape_ascii()),
    }
}

/// Whom an `AT` line is about.
pub fn client(line: &[u8]) -> &[u8] {
    fields(line)[2]
}

/// Where its client was.
pub fn location(line: &[u8]) -> &[u8] {
    fields(line)[3]
}

/// Where an `AT` line stands among those about the same client.
pub fn rank(line: &[u8]) -> Rank {
    let [server, difference, _, location, digits] = fields(line);
    let time = nanos(digits);
    let difference = match difference.split_first() {
        Some((b'+', magnitude)) => nanos(magnitude),
        Some((b'-', magnitude)) => -nanos(magnitude),
        _ => panic!("a difference without sign: {}", line.escape_ascii()),
    };
    let receipt = time + difference;
    Rank {
        effective: if time < receipt { time } else { receipt },
        receipt,
        server: server.to_vec(),
        location: location.to_vec(),
        digits: digits.to_vec(),
    }
}

/// A decimal number of seconds, in nanoseconds.
pub fn nanos(text: &[u8]) -> i128 {
    let text = std::str::from_utf8(text).expect("digits");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    assert!(fraction.len() <= 9, "{text}");
    let number = |digits: &str| i128::from(digits.parse::<u64>().expect("digits"));
    number(whole) * SECOND + number(fraction) * 10_i128.pow(9 - fraction.len() as u32)
}

/// The reply that `server` owes a client for its IAMAT when its clock shows `wall` nanoseconds.
pub fn reply(server: &str, wall: i128, client: &[u8], location: &str, digits: &str) -> Vec<u8> {
    let difference = wall - nanos(digits.as_bytes());
    let sign = if difference < 0 { '-' } else { '+' };
    let size = difference.unsigned_abs();
    let (seconds, rest) = (size / SECOND as u128, size % SECOND as u128);
    let head = format!("AT {server} {sign}{seconds}.{rest:09} ");
    let tail = format!(" {location} {digits}");
    [head.as_bytes(), client, tail.as_bytes()].concat()
}

/// What one server has heard, from its clients and over its links, and so what it must hold.
///
/// Of each client it keeps the reports that were the most recent when they came, each with the
/// place of its record on the disk: when the disk loses its end, what is to be held goes back too.
#[derive(Debug, Default)]
pub struct Heard(BTreeMap<Vec<u8>, Vec<Report>>);

/// The number of its record, its rank, and its line.
type Report = (u64, Rank, Vec<u8>);

impl Heard {
    /// Notes a report whose record is the disk's record number `place`.
    pub fn hear(&mut self, line: &[u8], place: u64) {
        let rank = rank(line);
        let reports = self.0.entry(client(line).to_vec()).or_default();
        if reports.last().is_none_or(|(_, best, _)| *best < rank) {
            reports.push((place, rank, line.to_vec()));
        }
    }

    /// The record of `client` that must be held.
    pub fn must_hold(&self, client: &[u8]) -> Option<&[u8]> {
        let (_, _, line) = self.0.get(client)?.last()?;
        Some(line)
    }

    /// Those of whom something must be held.
    pub fn clients(&self) -> impl Iterator<Item = &[u8]> {
        let known = self.0.iter().filter(|(_, reports)| !reports.is_empty());
        known.map(|(client, _)| &client[..])
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.clients().count()
    }

    /// Forgets what was heard after the disk's record number `place`: it was lost.
    pub fn lose_after(&mut self, place: u64) {
        for reports in self.0.values_mut() {
            reports.retain(|(at, ..)| *at <= place);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }
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
