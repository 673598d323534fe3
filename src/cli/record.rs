//! The log's records, read again for `restore`. Pure.
//!
//! `log::record` writes them. Logs of the time when the log was the memory are read too: those had
//! records of the table (`= #42 AT ...`).

use std::borrow::Cow;

use crate::node::protocol::{is_erased, parse_number};
use crate::time::Timestamp;

/// How long the time of a record is.
const TIME_BYTES: usize = b"2012-11-17T02:08:23.672266766Z".len();

/// What a line of a log is.
#[derive(Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A record of an `AT` or `ERASED` line that the server itself said, or a neighbour.
    Update(Cow<'a, [u8]>),
    /// Another record.
    Other,
    /// No record: torn, corrupt, or of another file.
    Foreign,
}

impl Record<'_> {
    /// Reads a line of a log, without its LF.
    pub fn read(line: &[u8]) -> Record<'_> {
        read(line).unwrap_or(Record::Foreign)
    }
}

fn read(line: &[u8]) -> Option<Record<'_>> {
    let (time, rest) = line.split_at_checked(TIME_BYTES)?;
    Timestamp::parse_utc(time)?;
    let ([b' ', direction, b' '], rest) = rest.split_first_chunk()? else {
        return None;
    };
    let (label, text) = rest.split_at(memchr::memchr(b' ', rest)?);
    let text = &text[1..];
    let is_record = b"<>+-*=".contains(direction) && text.iter().all(|b| matches!(b, b' '..=b'~'));
    is_record.then_some(())?;
    Some(match is_update(text) && is_believed(*direction, label) {
        true => Record::Update(unescape(text)?),
        false => Record::Other,
    })
}

fn is_update(text: &[u8]) -> bool {
    text.starts_with(b"AT ") || is_erased(text)
}

/// Whether what a record says of a location is true: our replies to clients, what neighbours were told and
/// said, and the table. What a client or a stranger sent may be anything.
fn is_believed(direction: u8, label: &[u8]) -> bool {
    let is_neighbour = label.starts_with(b"s") && label.contains(&b':');
    match (direction, label) {
        (b'>', [b'c' | b'h', serial @ ..]) => parse_number(serial).is_some(),
        (b'<' | b'>', _) => is_neighbour,
        (b'=', [b'#', number @ ..]) => parse_number(number).is_some(),
        _ => false,
    }
}

/// The bytes of which `\\` and `\xHH` are the escapes. `None` where a backslash begins no escape, as where
/// something was left out.
fn unescape(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(first) = memchr::memchr(b'\\', text) else {
        return Some(Cow::Borrowed(text));
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (plain, mut rest) = text.split_at(first);
    let mut bytes = plain.to_vec();
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = match (byte, after) {
            (b'\\', [b'\\', after @ ..]) => (b'\\', after),
            (b'\\', [b'x', high, low, after @ ..]) => {
                ((digit(*high)? * 16 + digit(*low)?) as u8, after)
            }
            (b'\\', _) => return None,
            plain => plain,
        };
        bytes.push(byte);
        rest = after;
    }
    Some(Cow::Owned(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::record::{Direction, Header, Label, is_plain, write_line};
    use crate::topology::ServerName;
    use proptest::prelude::*;

    const TIME: &str = "2012-11-17T02:08:23.672266766Z";

    #[test]
    fn what_the_server_or_a_neighbour_said_is_believed() {
        for (label, is_believed) in [
            ("> c7", true),
            ("> h7", true),
            ("< h7", false),
            ("< s7:Bryant", true),
            ("> s7:Bryant", true),
            ("= #42", true),
            ("< c7", false),
            ("< s7", false),
            ("> s7", false),
            ("* -", false),
            ("+ c7", false),
            ("- s7:Bryant", false),
            ("= c7", false),
            ("> c7:Bryant", false),
        ] {
            for text in ["AT Blake", "ERASED Blake"] {
                let line = format!("{TIME} {label} {text}");
                let want = match is_believed {
                    true => Record::Update(text.as_bytes().into()),
                    false => Record::Other,
                };
                assert_eq!(Record::read(line.as_bytes()), want, "{line}");
            }
        }
    }

    #[test]
    fn what_is_no_record_is_foreign() {
        for (line, want) in [
            (format!("{TIME} > c7 ? AT Blake"), Record::Other),
            (format!("{TIME} * - stopped"), Record::Other),
            (format!("{TIME} + c7 "), Record::Other),
            (format!("{TIME} + c7"), Record::Foreign),
            (format!("{TIME} > c7 AT Blake\\... torn"), Record::Foreign),
            (format!("{TIME} > c7 AT Blake \\x4"), Record::Foreign),
            (format!("{TIME} > c7 AT Blake \\xfg"), Record::Foreign),
            (format!("{TIME} > c7 AT Blake \\"), Record::Foreign),
            (format!("{TIME} > c7 AT Blake \0"), Record::Foreign),
            (format!("{TIME} > c7 AT Blake\r"), Record::Foreign),
            (format!("{TIME} ! c7 AT Blake"), Record::Foreign),
            (format!(" {TIME} > c7 AT Blake"), Record::Foreign),
            (format!("{TIME}> c7 AT Blake"), Record::Foreign),
            (TIME.replace("11", "13") + " > c7 AT Blake", Record::Foreign),
            ("AT Blake".to_owned(), Record::Foreign),
            (String::new(), Record::Foreign),
        ] {
            assert_eq!(Record::read(line.as_bytes()), want, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn what_the_log_writes_is_read(rest: Vec<u8>, cut: prop::sample::Index) {
            let at = [b"AT ", &rest[..]].concat();
            let bryant = ServerName::parse(b"Bryant").expect("a name");
            let mut header = Header::default();
            let mut record = Vec::new();
            record.extend(header.of(Direction::In, Label::Server(7, Some(&bryant))));
            write_line(&mut record, &at, is_plain(&at));
            prop_assert_eq!(record.pop(), Some(b'\n'));
            prop_assert_eq!(Record::read(&record), Record::Update(at.into()));
            let _ = Record::read(&record[..cut.index(record.len())]); // it does not panic
        }
    }
}
