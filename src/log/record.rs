//! The format of the log's records, for people and for `herd restore`. Pure.
//!
//! ```text
//! 2012-11-17T02:08:23.672266766Z < c7 IAMAT kiwi.cs.ucla.edu +27.5916+086.5640 1353118103.108893381
//! 2012-11-17T02:08:23.672266766Z > c7 AT Blake +0.563373385 kiwi.cs.ucla.edu +27.5916+086.5640 …
//! 2012-11-17T02:08:23.672266766Z > s2:Bryant AT Blake +0.563373385 kiwi.cs.ucla.edu …
//! └ time, UTC ─────────────────┘ │ └ connection
//!                                └ direction
//! ```
//!
//! `Log` composes records of these parts. docs/LOG.md describes the format for everybody.

use std::fmt;

use chrono::{DateTime, Datelike};

use crate::time::{Timestamp, nine_digits, write_decimal};
use crate::topology::ServerName;

/// Stands where something was left out. No escape of [`write_escaped`] begins like it.
const ELLIPSIS: &[u8] = b"\\...";

/// Lines longer than this are not logged whole, but for `AT` lines: those can be restored.
const WHOLE_BYTES_MAX: usize = 64 * 1024;

/// So much of a longer line is logged.
const BEGINNING_BYTES: usize = 1024;

/// Where the parts of a header begin.
const HEADER: &[u8] = b"1970-01-01T00:00:00.000000000Z ? ";
const NANOS_AT: usize = HEADER.len() - 13;
const DIRECTION_AT: usize = HEADER.len() - 2;

/// What a record tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// A line that came in.
    In = b'<',
    /// A line that went out.
    Out = b'>',
    /// A connection opened; the text is the peer's address.
    Opened = b'+',
    /// A connection dropped; the text is the reason.
    Dropped = b'-',
    /// A note of the server's own.
    Note = b'*',
}

/// Which connection a record is about. The numbers are those of the process, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label<'a> {
    /// `c7`: a client's.
    Client(u64),
    /// `s7`: one to or from the server port; `s7:Bryant` once the neighbour is known.
    Server(u64, Option<&'a ServerName>),
    /// `h7`: one to the HTTP port.
    Http(u64),
    /// `-`: none.
    None,
}

impl Label<'_> {
    /// What tells labels apart: a neighbour, once known, never changes.
    #[inline]
    fn key(self) -> (u8, u64) {
        match self {
            Label::Client(serial) => (b'c', serial),
            Label::Server(serial, None) => (b's', serial),
            Label::Server(serial, Some(_)) => (b'S', serial),
            Label::Http(serial) => (b'h', serial),
            Label::None => (b'-', 0),
        }
    }

    fn write_to(self, out: &mut Vec<u8>) {
        let (letter, serial) = self.key();
        out.push(letter.to_ascii_lowercase());
        if self != Label::None {
            write_decimal(out, serial);
        }
        if let Label::Server(_, Some(name)) = self {
            out.push(b':');
            out.extend_from_slice(name.as_bytes());
        }
    }
}

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write_to(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// How records begin. Most often only the direction differs from the record before.
#[derive(Debug)]
pub struct Header {
    text: Vec<u8>,
    second: i64,
    label: (u8, u64),
}

impl Default for Header {
    fn default() -> Header {
        Header {
            text: HEADER.to_vec(),
            second: 0,
            label: (0, 0),
        }
    }
}

impl Header {
    /// Sets the time of the records that follow.
    pub fn set_time(&mut self, wall: Timestamp) {
        if self.second != wall.seconds() {
            // A clock that is set has a year of four digits; another would break the format.
            let date = DateTime::from_timestamp(wall.seconds(), 0);
            let date = date.filter(|date| (0..=9999).contains(&date.year()));
            let text = date.unwrap_or_default().format("%Y-%m-%dT%H:%M:%S.");
            self.text[..NANOS_AT].copy_from_slice(text.to_string().as_bytes());
            self.second = wall.seconds();
        }
        self.text[NANOS_AT..][..9].copy_from_slice(&nine_digits(wall.nanos()));
    }

    /// The header of the next record.
    #[inline]
    pub fn of(&mut self, direction: Direction, label: Label<'_>) -> &[u8] {
        if self.label != label.key() {
            self.set_label(label);
        }
        self.text[DIRECTION_AT] = direction as u8;
        &self.text
    }

    fn set_label(&mut self, label: Label<'_>) {
        self.label = label.key();
        self.text.truncate(HEADER.len());
        label.write_to(&mut self.text);
        self.text.push(b' ');
    }
}

/// Whether a line tells of a client's location or erasure, for `herd restore`.
fn is_told(line: &[u8]) -> bool {
    line.starts_with(b"AT ") || line.starts_with(b"ERASED ")
}

/// Appends a line and ends its record. Of a long one only the beginning and the length are written.
#[inline]
pub fn write_line(out: &mut Vec<u8>, line: &[u8], is_plain: bool) {
    if line.len() > WHOLE_BYTES_MAX && !is_told(line) {
        write_beginning(out, line);
        return write_length(out, line.len() as u64);
    }
    match is_plain {
        true => out.extend_from_slice(line),
        false => write_escaped(out, line),
    }
    out.push(b'\n');
}

/// Appends as much of a line that goes on as is written of it.
pub fn write_beginning(out: &mut Vec<u8>, line: &[u8]) {
    write_escaped(out, &line[..line.len().min(BEGINNING_BYTES)]);
    out.extend_from_slice(ELLIPSIS);
}

/// Appends how long a line is of which there is no more, and ends its record.
pub fn write_length(out: &mut Vec<u8>, bytes: u64) {
    out.extend_from_slice(format!(" {bytes} bytes\n").as_bytes());
}

/// Appends `bytes`, a backslash as `\\` and what is not printable ASCII as `\xHH`.
fn write_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
    for &byte in bytes {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b' '..=b'~' => out.push(byte),
            _ => out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]),
        }
    }
}

/// Whether a line stands for itself in a record: printable ASCII and no backslash.
#[inline]
pub fn is_plain(line: &[u8]) -> bool {
    // Many bytes at a time, without an early exit among them; the last ones with some before them.
    const WORD_BYTES: usize = 32;
    let is_plain = |byte: u8| (byte.wrapping_sub(b' ') <= b'~' - b' ') & (byte != b'\\');
    let all_plain = |word: &[u8]| word.iter().fold(true, |all, &byte| all & is_plain(byte));
    let Some(last) = line.last_chunk::<WORD_BYTES>() else {
        return all_plain(line);
    };
    let (words, _) = line.as_chunks::<WORD_BYTES>();
    words.iter().all(|word| all_plain(word)) && all_plain(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::NAME_BYTES_MAX;
    use proptest::prelude::*;

    fn header(header: &mut Header, direction: Direction, label: Label<'_>) -> String {
        let text = header.of(direction, label).to_vec();
        String::from_utf8(text).expect("a header is ASCII")
    }

    #[test]
    fn a_header_says_when_which_way_and_on_which_connection() {
        let bryant = ServerName::parse(b"Bryant").expect("a name");
        let longest = ServerName::parse(&[b'x'; NAME_BYTES_MAX]).expect("a name");
        let of_longest = format!("> s{}:{longest} ", u64::MAX);
        let mut one = Header::default();
        one.set_time(Timestamp::new(1_353_118_103, 672_266_766));
        for (direction, label, want) in [
            (Direction::In, Label::Client(7), "< c7 "),
            (Direction::Out, Label::Client(7), "> c7 "),
            (Direction::Out, Label::Client(123), "> c123 "),
            (Direction::Out, Label::Server(123, None), "> s123 "),
            (
                Direction::In,
                Label::Server(123, Some(&bryant)),
                "< s123:Bryant ",
            ),
            (
                Direction::Out,
                Label::Server(u64::MAX, Some(&longest)),
                &of_longest,
            ),
            (Direction::Opened, Label::Server(7, None), "+ s7 "),
            (Direction::Dropped, Label::Client(7), "- c7 "),
            (Direction::Note, Label::None, "* - "),
        ] {
            let want = format!("2012-11-17T02:08:23.672266766Z {want}");
            assert_eq!(header(&mut one, direction, label), want);
            let mut fresh = Header::default();
            fresh.set_time(Timestamp::new(1_353_118_103, 672_266_766));
            assert_eq!(header(&mut fresh, direction, label), want);
        }
    }

    #[test]
    fn the_time_is_composed_anew_and_the_label_stays() {
        let mut one = Header::default();
        let (year_0, year_10000) = (-62_167_219_200, 253_402_300_800);
        for (seconds, nanos, want) in [
            (0, 0, "1970-01-01T00:00:00.000000000Z"),
            (0, 5, "1970-01-01T00:00:00.000000005Z"),
            (951_782_400, 999_999_999, "2000-02-29T00:00:00.999999999Z"),
            (0, 7, "1970-01-01T00:00:00.000000007Z"),
            (year_0 - 1, 1, "1970-01-01T00:00:00.000000001Z"), // has no year of four digits
            (year_0, 1, "0000-01-01T00:00:00.000000001Z"),
            (year_10000 - 1, 1, "9999-12-31T23:59:59.000000001Z"),
            (year_10000, 1, "1970-01-01T00:00:00.000000001Z"),
            (i64::MAX, 1, "1970-01-01T00:00:00.000000001Z"),
        ] {
            one.set_time(Timestamp::new(seconds, nanos));
            let text = header(&mut one, Direction::In, Label::Client(7));
            assert_eq!(text, format!("{want} < c7 "));
        }
    }

    fn recorded(line: &[u8]) -> String {
        let mut out = Vec::new();
        write_line(&mut out, line, is_plain(line));
        String::from_utf8(out).expect("a record is ASCII")
    }

    #[test]
    fn a_byte_that_is_not_plain_is_found_wherever_it_stands() {
        for len in 0..100 {
            let mut line = vec![b'x'; len];
            assert!(is_plain(&line));
            for at in 0..len {
                for byte in 0..=255 {
                    line[at] = byte;
                    let want = (b' '..=b'~').contains(&byte) && byte != b'\\';
                    assert_eq!(is_plain(&line), want, "{byte} at {at} of {len}");
                }
                line[at] = b'x';
            }
        }
    }

    #[test]
    fn of_a_long_line_the_beginning_and_the_length_are_written_and_an_at_line_whole() {
        let z = |count| "z".repeat(count);
        for (line, want) in [
            (z(WHOLE_BYTES_MAX), z(WHOLE_BYTES_MAX) + "\n"),
            (z(WHOLE_BYTES_MAX + 1), z(1024) + "\\... 65537 bytes\n"),
            (
                "\n".repeat(70_000),
                "\\x0a".repeat(1024) + "\\... 70000 bytes\n",
            ),
            (
                "AT ".to_owned() + &z(65_600),
                "AT ".to_owned() + &z(65_600) + "\n",
            ),
            (
                "ERASED ".to_owned() + &z(65_600),
                "ERASED ".to_owned() + &z(65_600) + "\n",
            ),
        ] {
            assert_eq!(recorded(line.as_bytes()), want, "a line of {}", line.len());
        }
    }

    proptest! {
        #[test]
        fn no_line_forges_a_record_and_no_two_have_one_text(
            one in "[\\\\x0\\.5c\n\u{7f}\u{ff}]{0,6}",
            other in "[\\\\x0\\.5c\n\u{7f}\u{ff}]{0,6}",
        ) {
            let text = recorded(one.as_bytes());
            let (end, inside) = text.as_bytes().split_last().expect("it has an end");
            prop_assert!(*end == b'\n' && inside.iter().all(|byte| (b' '..=b'~').contains(byte)));
            prop_assert_eq!(text == recorded(other.as_bytes()), one == other);
        }
    }
}
