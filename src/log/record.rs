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
//! `Buffer` composes records of these parts. The README describes the format for everybody.

use chrono::{DateTime, Datelike};

use crate::time::{Timestamp, nine_digits, write_decimal};
use crate::topology::{NAME_BYTES_MAX, ServerName};

/// Stands where something was left out. No escape of [`write_escaped`] begins like it.
pub const ELLIPSIS: &[u8] = b"\\...";

/// Ends a record of which only the beginning was written.
pub const TORN: &[u8] = b"\\... torn\n";

/// The length of a record's time.
const TIME_BYTES: usize = b"2012-11-17T02:08:23.672266766Z".len();

/// Where the parts of a header begin.
const NANOS_AT: usize = b"2012-11-17T02:08:23.".len();
const DIRECTION_AT: usize = TIME_BYTES + 1;
const LABEL_AT: usize = TIME_BYTES + 3;

/// Room for the longest header: a label has a serial of 20 digits and a name.
pub const HEADER_BYTES_MAX: usize = 128;
const _: () = assert!(LABEL_AT + "s: ".len() + 20 + NAME_BYTES_MAX <= HEADER_BYTES_MAX);

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
    /// `-`: none.
    None,
}

impl Label<'_> {
    /// The label without the name, which never changes once it is known.
    fn key(self) -> LabelKey {
        match self {
            Label::Client(serial) => LabelKey::Client(serial),
            Label::Server(serial, name) => LabelKey::Server(serial, name.is_some()),
            Label::None => LabelKey::None,
        }
    }

    fn write(self, out: &mut Vec<u8>) {
        match self {
            Label::Client(serial) => {
                out.push(b'c');
                write_decimal(out, serial);
            }
            Label::Server(serial, name) => {
                out.push(b's');
                write_decimal(out, serial);
                if let Some(name) = name {
                    out.push(b':');
                    out.extend_from_slice(name.as_bytes());
                }
            }
            Label::None => out.push(b'-'),
        }
        out.push(b' ');
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LabelKey {
    Client(u64),
    Server(u64, bool),
    None,
}

/// How records begin: time, direction and label, with a space after each. It is kept from one record
/// to the next, and only what differs is composed anew.
#[derive(Debug)]
pub struct Header {
    bytes: [u8; HEADER_BYTES_MAX],
    len: usize,
    second: Option<i64>,
    label: Option<LabelKey>,
    scratch: Vec<u8>,
}

impl Default for Header {
    fn default() -> Header {
        Header {
            bytes: [b' '; HEADER_BYTES_MAX],
            len: LABEL_AT,
            second: None,
            label: None,
            scratch: Vec::with_capacity(HEADER_BYTES_MAX),
        }
    }
}

impl Header {
    /// Sets the time of the records that follow.
    pub fn set_time(&mut self, wall: Timestamp) {
        if self.second != Some(wall.seconds()) {
            // A clock that is set has a year of four digits; another would break the format.
            let date = DateTime::from_timestamp(wall.seconds(), 0);
            let date = date.filter(|date| (0..=9999).contains(&date.year()));
            let date = date.unwrap_or_default();
            let text = date.format("%Y-%m-%dT%H:%M:%S.").to_string();
            self.bytes[..NANOS_AT].copy_from_slice(text.as_bytes());
            self.bytes[TIME_BYTES - 1] = b'Z';
            self.second = Some(wall.seconds());
        }
        self.bytes[NANOS_AT..TIME_BYTES - 1].copy_from_slice(&nine_digits(wall.nanos()));
    }

    /// Sets what the next record is about. Gives the header with what follows it in memory, and how
    /// many bytes of that are the header: the caller copies a whole number of words, which is faster.
    #[inline]
    pub fn of(
        &mut self,
        direction: Direction,
        label: Label<'_>,
    ) -> (&[u8; HEADER_BYTES_MAX], usize) {
        if self.label != Some(label.key()) {
            self.set_label(label);
        }
        self.bytes[DIRECTION_AT] = direction as u8;
        (&self.bytes, self.len)
    }

    fn set_label(&mut self, label: Label<'_>) {
        self.scratch.clear();
        label.write(&mut self.scratch);
        self.len = LABEL_AT + self.scratch.len();
        self.bytes[LABEL_AT..self.len].copy_from_slice(&self.scratch);
        self.label = Some(label.key());
    }
}

/// Whether a byte stands for itself in a record: printable ASCII and no backslash.
#[inline]
pub fn is_plain(byte: u8) -> bool {
    byte.wrapping_sub(b' ') <= b'~' - b' ' && byte != b'\\'
}

/// Writes `bytes` to the beginning of `room`: a backslash as `\\`, what is not printable ASCII as
/// `\xHH`. Says how many bytes it has written, which is at most four for one.
pub fn write_escaped(room: &mut [u8], bytes: &[u8]) -> usize {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut len = 0;
    for &byte in bytes {
        let (escaped, count) = match byte {
            b'\\' => (*b"\\\\  ", 2),
            _ if is_plain(byte) => ([byte; 4], 1),
            _ => {
                let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
                ([b'\\', b'x', DIGITS[high], DIGITS[low]], 4)
            }
        };
        room[len..len + count].copy_from_slice(&escaped[..count]);
        len += count;
    }
    len
}

/// Takes back what [`write_escaped`] did, in place: no text becomes longer. `None` where a backslash
/// begins no escape, as in an [`ELLIPSIS`].
pub fn unescape(text: &mut [u8]) -> Option<&[u8]> {
    let Some(first) = memchr::memchr(b'\\', text) else {
        return Some(text);
    };
    let (mut from, mut to) = (first, first);
    while let Some(&byte) = text.get(from) {
        let (byte, taken) = match (byte, &text[from + 1..]) {
            (b'\\', [b'\\', ..]) => (b'\\', 2),
            (b'\\', [b'x', high, low, ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                ((digit(high)? * 16 + digit(low)?) as u8, 4)
            }
            (b'\\', _) => return None,
            (byte, _) => (byte, 1),
        };
        text[to] = byte;
        (from, to) = (from + taken, to + 1);
    }
    Some(&text[..to])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(header: &mut Header, direction: Direction, label: Label<'_>) -> String {
        let (bytes, len) = header.of(direction, label);
        String::from_utf8(bytes[..len].to_vec()).expect("a header is ASCII")
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

    proptest! {
        #[test]
        fn escapes_are_unambiguous_and_printable(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut room = vec![0; 4 * bytes.len()];
            let len = write_escaped(&mut room, &bytes);
            let escaped = &mut room[..len];
            prop_assert!(escaped.iter().all(|byte| (b' '..=b'~').contains(byte)));
            prop_assert_eq!(escaped == bytes, bytes.iter().all(|&byte| is_plain(byte)));
            prop_assert_eq!(unescape(escaped), Some(&bytes[..]));
        }

        #[test]
        fn noise_is_unescaped_or_refused(mut text in "[x\\\\0-9a-g.]{0,20}".prop_map(String::into_bytes)) {
            let before = text.clone();
            if let Some(bytes) = unescape(&mut text) {
                let mut room = vec![0; 4 * bytes.len()];
                let len = write_escaped(&mut room, bytes);
                // What stands for a byte may also have been written otherwise, `\x41` for `A`.
                prop_assert!(len <= before.len());
            }
        }
    }
}
