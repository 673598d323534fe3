//! Reads what clients say. Pure.
//!
//! `Node` is the caller. The grammar is the assignment's. `invalid` says why a line is no command.

use super::fields::{fields, find_space};
use super::location::Position;
use crate::time::Timestamp;

/// The longest line a client may say, LF not counted. A longer one is copied back as it comes.
pub const LINE_BYTES_MAX: usize = 65_536;

/// The most tweets a client may ask for.
pub const BOUND_MAX: u8 = 100;

/// What a client may say. Anything else is answered `? ` and a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `IAMAT <client-id> <location> <time>`: here I am.
    IAmAt(IAmAt<'a>),
    /// `WHATSAT <client-id> <radius-km> <bound>`: what is tweeted round that client?
    WhatsAt(WhatsAt<'a>),
}

/// A client's report of its location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IAmAt<'a> {
    /// The client's name.
    pub client: &'a [u8],
    /// Where it is.
    pub position: Position<'a>,
    /// When it was there, by its own clock.
    pub time: Timestamp,
    /// The time as it was written.
    pub time_text: &'a [u8],
    /// Client, position and time as they came, with the space before them: an `AT` line copies them at once.
    /// Empty unless single spaces separate them.
    pub joined: &'a [u8],
}

/// A client's question for tweets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WhatsAt<'a> {
    /// The client asked about.
    pub client: &'a [u8],
    /// The radius in kilometres, checked, as written.
    pub radius_km: &'a [u8],
    /// How many tweets at most, up to [`BOUND_MAX`].
    pub bound: u8,
}

impl<'a> Command<'a> {
    /// The client that it names.
    pub fn client(&self) -> &'a [u8] {
        match self {
            Command::IAmAt(report) => report.client,
            Command::WhatsAt(question) => question.client,
        }
    }

    /// Reads a line, without its LF. `None` if it is no command.
    #[inline(always)]
    pub fn parse(line: &'a [u8]) -> Option<Command<'a>> {
        match IAmAt::parse_common(line) {
            Some(report) => Some(Command::IAmAt(report)),
            None => Command::parse_any(line),
        }
    }

    fn parse_any(line: &'a [u8]) -> Option<Command<'a>> {
        let mut fields = fields(line);
        let command = fields.next()?;
        let operands = [fields.next()?, fields.next()?, fields.next()?];
        if fields.next().is_some() {
            return None;
        }
        match (command, operands) {
            (b"IAMAT", [client, position, time_text]) => Some(Command::IAmAt(IAmAt {
                client,
                position: Position::parse(position)?,
                time: Timestamp::parse(time_text)?,
                time_text,
                joined: &[],
            })),
            (b"WHATSAT", [client, radius_km, bound]) => Some(Command::WhatsAt(WhatsAt {
                client,
                radius_km: is_radius(radius_km).then_some(radius_km)?,
                bound: parse_bound(bound)?,
            })),
            _ => None,
        }
    }
}

impl<'a> IAmAt<'a> {
    /// Reads a report as most clients write it: single spaces, none at the beginning, at most a CR at
    /// the end. `None` for others.
    #[inline(always)]
    fn parse_common(line: &'a [u8]) -> Option<IAmAt<'a>> {
        let line = match line.split_last() {
            Some((b'\r', line)) => line,
            _ => line,
        };
        let joined = line.strip_prefix(b"IAMAT")?;
        let rest = joined.strip_prefix(b" ")?;
        let (client, rest) = rest.split_at(find_space(rest));
        let rest = rest.strip_prefix(b" ")?;
        let (position, rest) = Position::take(rest)?;
        let time_text = rest.strip_prefix(b" ")?;
        Some(IAmAt {
            client: (!client.is_empty()).then_some(client)?,
            position,
            time: Timestamp::parse(time_text)?,
            time_text,
            joined,
        })
    }
}

/// Digits, then perhaps a point and digits.
fn is_radius(text: &[u8]) -> bool {
    let is_digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    match memchr::memchr(b'.', text) {
        None => is_digits(text),
        Some(point) => is_digits(&text[..point]) && is_digits(&text[point + 1..]),
    }
}

/// Digits only, 0 to 100; zeros in front do not count.
fn parse_bound(text: &[u8]) -> Option<u8> {
    let mut value: u32 = 0;
    for &byte in text {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = (value * 10 + u32::from(byte - b'0')).min(1_000); // "many" stays "too many"
    }
    u8::try_from(value).ok().filter(|&bound| bound <= BOUND_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        let position = Position::parse(b"+27.5916+086.5640").expect("the assignment's");
        let iamat = IAmAt {
            client: b"kiwi.cs.ucla.edu",
            position,
            time: Timestamp::new(1_353_118_103, 108_893_381),
            time_text: b"1353118103.108893381",
            joined: b" kiwi.cs.ucla.edu +27.5916+086.5640 1353118103.108893381",
        };
        let spaced = IAmAt {
            joined: b"",
            ..iamat
        };
        let whatsat = |radius_km, bound| {
            Command::WhatsAt(WhatsAt {
                client: b"kiwi",
                radius_km,
                bound,
            })
        };
        for (line, want) in [
            (
                &b"IAMAT kiwi.cs.ucla.edu +27.5916+086.5640 1353118103.108893381"[..],
                Some(Command::IAmAt(iamat)),
            ),
            (
                b"\x0b\tIAMAT \x0c kiwi.cs.ucla.edu\r+27.5916+086.5640  1353118103.108893381 \r",
                Some(Command::IAmAt(spaced)),
            ),
            (
                b"IAMAT kiwi.cs.ucla.edu +27.5916+086.5640 1353118103.108893381\r",
                Some(Command::IAmAt(iamat)),
            ),
            (
                b"IAMAT kiwi.cs.ucla.edu +27.5916+086.5640 1353118103.108893381 ",
                Some(Command::IAmAt(spaced)),
            ),
            (b"IAMAT  +27.5916+086.5640 1", None),
            (b"IAMAT kiwi  +27.5916+086.5640", None),
            (b"WHATSAT kiwi 100 2", Some(whatsat(b"100", 2))),
            (b" WHATSAT kiwi 0.5 100 \r", Some(whatsat(b"0.5", 100))),
            (
                b"WHATSAT kiwi 00 000000000000100",
                Some(whatsat(b"00", 100)),
            ),
            (b"WHATSAT kiwi 100 101", None),
            (b"WHATSAT kiwi 100 4294967297", None),
            (b"WHATSAT kiwi 100 +2", None),
            (b"WHATSAT kiwi 100 2.0", None),
            (b"WHATSAT kiwi 100. 2", None),
            (b"WHATSAT kiwi .5 2", None),
            (b"WHATSAT kiwi 1e2 2", None),
            (b"WHATSAT kiwi -1 2", None),
            (b"WHATSAT kiwi 100", None),
            (b"WHATSAT kiwi 100 2 3", None),
            (b"IAMAT kiwi +27.5916+086.5640", None),
            (b"IAMAT kiwi +27.5916+086.5640 1 2", None),
            (b"IAMAT kiwi +27.5916+086.5640 1e9", None),
            (b"IAMAT kiwi +27.5916 086.5640 1", None),
            (b"iamat kiwi +27.5916+086.5640 1", None),
            (b"AT Blake +0.563873386 kiwi +27.5916+086.5640 1", None),
            (b"", None),
            (b" ", None),
            (b"IAMAT\xa0kiwi +27.5916+086.5640 1", None), // a Latin-1 space is no white space
        ] {
            assert_eq!(
                Command::parse(line),
                want,
                "line: {:?}",
                line.escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn any_other_byte_may_name_a_client() {
        for byte in 0..=u8::MAX {
            let line = [b"IAMAT ", &[byte][..], b" +00+000 1"].concat();
            let space = [b' ', b'\t', b'\r', b'\n', 0x0c, 0x0b].contains(&byte);
            let client = match Command::parse(&line) {
                Some(Command::IAmAt(report)) => Some(report.client),
                _ => None,
            };
            assert_eq!(client, (!space).then_some(&[byte][..]), "byte {byte:#04x}");
        }
    }
}
