//! The notes of the log that matter to a restart, written and read side by side. Pure.
//!
//! ```text
//! gap: 12 records could not be written before this one
//! started, incarnation 00000000000000ff at 42, 40 clients known, forgets after 7200s
//! forgets after 7200s
//! checkpoint of 40 records begins
//! life 00000000000000fe up to 40
//! checkpoint, incarnation 00000000000000ff at 42, 40 records
//! neighbour Bryant, incarnation 0123456789abcdef, known 0123456789abcdef 17
//! ```
//!
//! The last three end a checkpoint: they are what its records do not say.

use std::time::Duration;

use crate::node::protocol::{Incarnation, Mark, parse_number};
use crate::node::recall::Recalled;
use crate::time::parse_span;
use crate::topology::ServerName;

/// How the note begins that stands where records are missing.
pub const GAP: &str = "gap: ";

/// A life begins, that knows `clients` clients, when the feed has come to `end`. In it locations are forgotten
/// so long after their time, if they are. One record, so that none can be torn off between.
pub fn started(
    incarnation: Incarnation,
    end: u64,
    clients: usize,
    forgets_after: Option<Duration>,
) -> String {
    let mut note = format!("started, incarnation {incarnation} at {end}, {clients} clients known");
    if let Some(after) = forgets_after {
        note += ", ";
        note += &forgets(after);
    }
    note
}

/// In the life that wrote the checkpoint that ends here, or that goes on after a gap, locations are forgotten
/// `after` their time.
pub fn forgets(after: Duration) -> String {
    format!("forgets after {}s", after.as_secs())
}

/// A checkpoint begins, of about so many records.
pub fn begins(records: usize) -> String {
    format!("checkpoint of {records} records begins")
}

/// An earlier life came to `end`.
pub fn life(incarnation: Incarnation, end: u64) -> String {
    format!("life {incarnation} up to {end}")
}

/// A checkpoint of `records` records ends here; the life that wrote it had come to `end`.
pub fn checkpoint(incarnation: Incarnation, end: u64, records: u64) -> String {
    format!("checkpoint, incarnation {incarnation} at {end}, {records} records")
}

/// What is known of a neighbour: which life of it was heard last, and how much of its feed.
pub fn neighbour(name: &ServerName, life: Option<Incarnation>, known: Option<Mark>) -> String {
    let life = life.map_or("-".to_owned(), |life| life.to_string());
    let name = name.as_str();
    match known {
        None => format!("neighbour {name}, incarnation {life}, known - 0"),
        Some(Mark {
            incarnation,
            number,
        }) => format!("neighbour {name}, incarnation {life}, known {incarnation} {number}"),
    }
}

/// Reads a note. Most say nothing to a restart.
pub fn parse(text: &[u8]) -> Option<Recalled<'_>> {
    if text.starts_with(GAP.as_bytes()) {
        return Some(Recalled::Gap);
    }
    let fields: Vec<_> = text.splitn(8, |&byte| byte == b' ').collect();
    Some(match fields[..] {
        [
            b"started,",
            b"incarnation",
            incarnation,
            b"at",
            end,
            _,
            b"clients",
            known,
        ] => Recalled::Started {
            incarnation: Incarnation::parse(incarnation)?,
            end: parse_counted(end)?,
            forgets_after: match known.strip_prefix(b"known, forgets after ") {
                None => None,
                Some(after) => Some(parse_after(after)?),
            },
        },
        [b"forgets", b"after", after] => Recalled::Forgets(parse_after(after)?),
        [b"checkpoint", b"of", records, b"records", b"begins"] => {
            Recalled::Expect(parse_number(records)?)
        }
        [b"life", incarnation, b"up", b"to", end] => Recalled::Life {
            incarnation: Incarnation::parse(incarnation)?,
            end: parse_number(end)?,
        },
        [
            b"checkpoint,",
            b"incarnation",
            incarnation,
            b"at",
            end,
            records,
            b"records",
        ] => Recalled::Checkpoint {
            incarnation: Incarnation::parse(incarnation)?,
            end: parse_counted(end)?,
            records: parse_number(records)?,
        },
        [
            b"neighbour",
            name,
            b"incarnation",
            life,
            b"known",
            incarnation,
            number,
        ] => Recalled::Known {
            name: name.strip_suffix(b",")?,
            life: parse_life(life.strip_suffix(b",")?)?,
            known: match (parse_life(incarnation)?, parse_number(number)?) {
                (None, _) => None,
                (Some(incarnation), number) => Some(Mark {
                    incarnation,
                    number,
                }),
            },
        },
        _ => return None,
    })
}

fn parse_after(field: &[u8]) -> Option<Duration> {
    parse_span(std::str::from_utf8(field).ok()?).ok()
}

fn parse_counted(field: &[u8]) -> Option<u64> {
    parse_number(field.strip_suffix(b",")?)
}

/// `-` stands for none.
fn parse_life(field: &[u8]) -> Option<Option<Incarnation>> {
    match field {
        b"-" => Some(None),
        _ => Incarnation::parse(field).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Incarnation = Incarnation(1);

    #[test]
    fn notes_are_read_as_they_were_written() {
        let name = ServerName::parse(b"Bryant").expect("a name");
        let known = Some(Mark {
            incarnation: ONE,
            number: 17,
        });
        let about = |life, known| Recalled::Known {
            name: b"Bryant",
            life,
            known,
        };
        for (note, want) in [
            (format!("{GAP}12 records"), Recalled::Gap),
            (
                forgets(Duration::from_secs(90)),
                Recalled::Forgets(Duration::from_secs(90)),
            ),
            (
                started(ONE, 42, 40, None),
                Recalled::Started {
                    incarnation: ONE,
                    end: 42,
                    forgets_after: None,
                },
            ),
            (
                started(ONE, 42, 40, Some(Duration::from_secs(90))),
                Recalled::Started {
                    incarnation: ONE,
                    end: 42,
                    forgets_after: Some(Duration::from_secs(90)),
                },
            ),
            (begins(40), Recalled::Expect(40)),
            (
                life(ONE, 42),
                Recalled::Life {
                    incarnation: ONE,
                    end: 42,
                },
            ),
            (
                checkpoint(ONE, 42, 40),
                Recalled::Checkpoint {
                    incarnation: ONE,
                    end: 42,
                    records: 40,
                },
            ),
            (neighbour(&name, Some(ONE), known), about(Some(ONE), known)),
            (neighbour(&name, Some(ONE), None), about(Some(ONE), None)),
            (neighbour(&name, None, known), about(None, known)),
        ] {
            assert_eq!(parse(note.as_bytes()), Some(want), "{note}");
        }
    }

    #[test]
    fn what_is_no_such_note_says_nothing() {
        for note in [
            "",
            "stopped",
            "started",
            "started, incarnation 1 at 42, 40 clients known",
            "started, incarnation 0000000000000001 at 42",
            "started, incarnation 0000000000000001 at x, 40 clients known",
            "started, incarnation 0000000000000001 at 42, 40 clients known, forgets after x",
            "life 0000000000000001 up to",
            "life 0000000000000001 up to -1",
            "checkpoint, incarnation 0000000000000001 at 42, 40",
            "checkpoint, incarnation 0000000000000001 at 42, 40 records and more",
            "neighbour Bryant incarnation 0000000000000001, known - 0",
            "neighbour Bryant, incarnation 0000000000000001, known 1 0",
        ] {
            assert_eq!(parse(note.as_bytes()), None, "{note}");
        }
    }
}
