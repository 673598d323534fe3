//! The records of the log: how one is written, and what a restart reads out of it. Pure.
//!
//! ```text
//! 2012-11-17T02:08:23.672266766Z < c7 IAMAT kiwi.cs.ucla.edu +27.5916+086.5640 1353118103.108893381
//! 2012-11-17T02:08:23.672266766Z > c7 AT Blake +0.563373385 kiwi.cs.ucla.edu +27.5916+086.5640 …
//! 2012-11-17T02:08:23.672266766Z > s2:Bryant AT Blake +0.563373385 kiwi.cs.ucla.edu …
//! └ time, UTC ─────────────────┘ │ └ connection
//!                                └ direction
//! ```
//!
//! `Turn` and `Checkpoint` write them, `Replay` reads them, and the simulation does both. The README describes the format for everybody.

use chrono::{DateTime, Datelike};

use super::note;
use crate::node::protocol::{LINK_LINE_BYTES_MAX, parse_number};
use crate::node::recall::Recalled;
use crate::time::{Timestamp, write_decimal, write_nanos};
use crate::topology::ServerName;

/// Lines longer than this are not logged whole, but for `AT` lines: those are the memory.
pub const WHOLE_BYTES_MAX: usize = 64 * 1024;

/// So much of a longer line is logged.
pub const BEGINNING_BYTES: usize = 1024;

/// The longest record there can be: every byte of the longest `AT` line escaped.
pub const RECORD_BYTES_MAX: usize = 4 * LINK_LINE_BYTES_MAX + 256;

/// Stands where something was left out. No escape of [`write_escaped`] begins like it.
pub const ELLIPSIS: &[u8] = b"\\...";

/// Ends a record of which only the beginning was written.
pub const TORN: &[u8] = b"\\... torn";

/// What a record tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// `<`: a line that came in.
    In,
    /// `>`: a line that went out.
    Out,
    /// `+`: a connection opened; the text is the peer's address.
    Opened,
    /// `-`: a connection dropped; the text is the reason.
    Dropped,
    /// `*`: a note of the server's own.
    Note,
    /// `=`: a location of the table, written again because the log lacks it.
    Held,
}

impl Direction {
    fn from_byte(byte: u8) -> Option<Direction> {
        Some(match byte {
            b'<' => Direction::In,
            b'>' => Direction::Out,
            b'+' => Direction::Opened,
            b'-' => Direction::Dropped,
            b'*' => Direction::Note,
            b'=' => Direction::Held,
            _ => return None,
        })
    }

    fn as_byte(self) -> u8 {
        match self {
            Direction::In => b'<',
            Direction::Out => b'>',
            Direction::Opened => b'+',
            Direction::Dropped => b'-',
            Direction::Note => b'*',
            Direction::Held => b'=',
        }
    }
}

/// Which connection a record is about. The numbers are those of the process, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label<'a> {
    /// `c7`: a client's.
    Client(u64),
    /// `s7`: one to or from the server port; `s7:Bryant` once the neighbour is known.
    Server(u64, Option<&'a ServerName>),
    /// `#7`: none; the location is the feed's change of this number.
    Number(u64),
    /// `-`: none.
    None,
}

/// How records begin: the time of a turn as text, made anew only as far as it has changed, and the
/// label of the last record, which most often is the next one's too.
#[derive(Debug, Default)]
pub struct Stamp {
    /// Time, direction, label, with a space after each.
    text: Vec<u8>,
    second: Option<i64>,
    /// How long the time is.
    time_bytes: usize,
    /// Whose label stands in `text`, if it is a connection's.
    label: Option<(Whose, u64)>,
}

/// What kind of connection a label names. No two of a kind have one serial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Client,
    Stranger,
    /// Who is once known is known for good.
    Neighbour,
}

impl Stamp {
    /// Sets the time.
    pub fn set(&mut self, wall: Timestamp) {
        if self.second != Some(wall.seconds()) {
            // A clock that is set has a year of four digits; another date would be no stamp.
            let date = DateTime::from_timestamp(wall.seconds(), 0);
            let date = date.filter(|date| (0..=9999).contains(&date.year()));
            let date = date.unwrap_or_default();
            self.text = date.format("%Y-%m-%dT%H:%M:%S.").to_string().into_bytes();
            self.second = Some(wall.seconds());
        } else {
            self.text.truncate(self.time_bytes - "000000000Z".len());
        }
        write_nanos(&mut self.text, wall.nanos());
        self.text.push(b'Z');
        self.time_bytes = self.text.len();
        self.label = None;
    }

    /// Appends everything of a record up to its text.
    pub fn write_head(&mut self, out: &mut Vec<u8>, direction: Direction, label: Label<'_>) {
        let whose = match label {
            Label::Client(serial) => Some((Whose::Client, serial)),
            Label::Server(serial, None) => Some((Whose::Stranger, serial)),
            Label::Server(serial, Some(_)) => Some((Whose::Neighbour, serial)),
            Label::Number(_) | Label::None => None,
        };
        if whose.is_none() || self.label != whose {
            self.text.truncate(self.time_bytes);
            self.text.extend_from_slice(b" ? ");
            write_label(&mut self.text, label);
            self.label = whose;
        }
        self.text[self.time_bytes + 1] = direction.as_byte();
        out.extend_from_slice(&self.text);
    }
}

fn write_label(out: &mut Vec<u8>, label: Label<'_>) {
    match label {
        Label::Client(serial) => {
            out.push(b'c');
            write_decimal(out, serial);
        }
        Label::Server(serial, neighbour) => {
            out.push(b's');
            write_decimal(out, serial);
            if let Some(name) = neighbour {
                out.push(b':');
                out.extend_from_slice(name.as_bytes());
            }
        }
        Label::Number(number) => {
            out.push(b'#');
            write_decimal(out, number);
        }
        Label::None => out.push(b'-'),
    }
    out.push(b' ');
}

/// Appends the text of a line: whole, or its beginning and its length.
pub fn write_text(out: &mut Vec<u8>, line: &[u8]) {
    if line.len() <= WHOLE_BYTES_MAX || line.starts_with(b"AT ") {
        write_escaped(out, line);
    } else {
        write_escaped(out, &line[..BEGINNING_BYTES]);
        write_length(out, line.len() as u64);
    }
    out.push(b'\n');
}

/// Appends what stands for the rest of a line of `bytes` bytes.
pub fn write_length(out: &mut Vec<u8>, bytes: u64) {
    out.extend_from_slice(ELLIPSIS);
    out.push(b' ');
    write_decimal(out, bytes);
    out.extend_from_slice(b" bytes");
}

/// Appends `bytes`, a backslash as `\\` and what is not printable ASCII as `\xHH`.
pub fn write_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    if is_plain(bytes) {
        out.extend_from_slice(bytes);
        return;
    }
    for &byte in bytes {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            _ if is_printable(byte) => out.push(byte),
            _ => {
                let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
                out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
}

/// Whether it is printable ASCII, as every byte of a record is.
fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

/// Whether nothing need be escaped.
fn is_plain(bytes: &[u8]) -> bool {
    all(bytes, |byte| is_printable(byte) && byte != b'\\')
}

/// Whether all are good. This is on every line's path, so it is done many bytes at a time: without an
/// early exit among them, and the last ones with some before them once more.
fn all(bytes: &[u8], is_good: impl Fn(u8) -> bool) -> bool {
    let all = |bytes: &[u8]| bytes.iter().fold(true, |all, &byte| all & is_good(byte));
    let (chunks, _) = bytes.as_chunks::<32>();
    match bytes.last_chunk::<32>() {
        None => all(bytes),
        Some(last) => chunks.iter().all(|chunk| all(chunk)) && all(last),
    }
}

/// Takes back what [`write_escaped`] did, in place: no text becomes longer. `None` where a backslash
/// begins no escape, as in an [`ELLIPSIS`].
fn unescape(text: &mut [u8]) -> Option<&[u8]> {
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

/// What a line of a log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A record.
    Record {
        /// Its time.
        stamp: &'a [u8; STAMP_BYTES],
        /// What a restart learns from it, if anything.
        recalled: Option<Recalled<'a>>,
    },
    /// The beginning of a record: the last that its life wrote, so that nothing is missing before it.
    Torn {
        /// Its time, if so much of it was written.
        stamp: Option<&'a [u8; STAMP_BYTES]>,
    },
    /// Something else. One record at least was lost here: where the power failed, some file systems leave
    /// zeros, or what was there before.
    Hole,
}

impl<'a> Line<'a> {
    /// What a restart learns from it.
    pub fn recalled(self) -> Option<Recalled<'a>> {
        match self {
            Line::Record { recalled, .. } => recalled,
            Line::Torn { .. } => None,
            Line::Hole => Some(Recalled::Hole),
        }
    }
}

/// Reads a line of a log, without its LF. A record's text is unescaped in place.
pub fn read(line: &mut [u8]) -> Line<'_> {
    let is_plain = is_plain(line);
    let is_text = is_plain || all(line, is_printable);
    if is_text && !is_plain && line.ends_with(TORN) {
        // Or a client said so: that would be believed as little. But after zeros nobody knows what it ends.
        let stamp = line.first_chunk().filter(|stamp| is_stamp(stamp));
        return Line::Torn { stamp };
    }
    match line.split_first_chunk_mut() {
        Some((stamp, rest)) if is_text && is_stamp(stamp) => Line::Record {
            stamp,
            recalled: recall(stamp, rest, is_plain),
        },
        _ => Line::Hole,
    }
}

/// Whether the end of a log, without LF, is the beginning of a record. Otherwise, once a mark that it is
/// torn has been put behind it, it is read as a [`Line::Hole`].
pub fn is_torn(end: &[u8]) -> bool {
    let is_short = end.len() + TORN.len() <= RECORD_BYTES_MAX;
    is_short && all(end, is_printable)
}

/// What a restart learns from a record, if anything.
///
/// `AT` lines are believed in our replies to clients, in what neighbours told us and we told them,
/// and where they were written again. What a *client* or a stranger sent is never believed,
/// whatever it looks like.
fn recall<'a>(
    stamp: &'a [u8; STAMP_BYTES],
    rest: &'a mut [u8],
    is_plain: bool,
) -> Option<Recalled<'a>> {
    let (&mut [b' ', direction, b' '], rest) = rest.split_first_chunk_mut()? else {
        return None;
    };
    let space = memchr::memchr(b' ', rest)?;
    let (label, text) = rest.split_at_mut(space);
    let (label, text) = (&*label, &mut text[1..]);
    let direction = Direction::from_byte(direction)?;
    let neighbour = match label {
        [b's', rest @ ..] => memchr::memchr(b':', rest).map(|colon| &rest[colon + 1..]),
        _ => None,
    };
    let is_at = text.starts_with(b"AT ");
    match (direction, neighbour) {
        (Direction::Out, None) if is_at && label.first() == Some(&b'c') => {}
        (Direction::In | Direction::Out, Some(_)) | (Direction::Held, None) if is_at => {}
        (Direction::In, Some(_)) if text.starts_with(b"HELLO ") || text.starts_with(b"MARK ") => {}
        (Direction::Note, None) if label == b"-" => {}
        _ => return None,
    }
    let line = if is_plain { text } else { unescape(text)? };
    if direction == Direction::Note {
        return note::parse(line);
    }
    Some(match (neighbour, label) {
        (Some(name), _) if !is_at => Recalled::Neighbour { name, line },
        (_, [b'#', number @ ..]) => Recalled::Held {
            number: parse_number(number)?,
            line,
        },
        _ => Recalled::At { line, stamp },
    })
}

/// The length of a record's time.
pub const STAMP_BYTES: usize = b"0000-00-00T00:00:00.000000000Z".len();

/// Whether a record begins as records do: what was broken off or spoilt does not.
fn is_stamp(time: &[u8; STAMP_BYTES]) -> bool {
    const FORM: &[u8; STAMP_BYTES] = b"0000-00-00T00:00:00.000000000Z";
    let mut strange = false;
    // Without an early exit, so that it is done many bytes at a time: this is on every record's path.
    for (&byte, &form) in time.iter().zip(FORM) {
        let above = if form == b'0' { 9 } else { 0 };
        strange |= byte.wrapping_sub(form) > above;
    }
    !strange
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(direction: Direction, label: Label<'_>, text: &[u8]) -> Vec<u8> {
        let mut stamp = Stamp::default();
        stamp.set(Timestamp::new(1_353_118_103, 672_266_766));
        let mut out = Vec::new();
        stamp.write_head(&mut out, direction, label);
        write_text(&mut out, text);
        out
    }

    fn text(record: &[u8]) -> &str {
        std::str::from_utf8(record).expect("a record is ASCII")
    }

    #[test]
    fn what_ends_as_torn_is_not_believed_but_for_its_time() {
        const STAMP: &str = "2012-11-17T02:08:23.672266766Z";
        for (line, timed) in [
            (format!("{STAMP} < c1 a client says \\... torn"), true),
            (
                format!("{STAMP} > c1 AT Ann +0.000000000 kiwi +00+000 1\\... torn"),
                true,
            ),
            (format!("{STAMP}\\... torn"), true),
            (format!("{}\\... torn", &STAMP[..29]), false),
            (
                "and something that is long enough \\... torn".to_owned(),
                false,
            ),
            ("\\... torn".to_owned(), false),
        ] {
            let mut bytes = line.clone().into_bytes();
            let stamp = timed.then_some(STAMP.as_bytes());
            match read(&mut bytes) {
                Line::Torn { stamp: found } => {
                    assert_eq!(found.map(<[u8; _]>::as_slice), stamp, "{line}");
                }
                other => panic!("{line}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_clock_without_a_year_of_four_digits_still_writes_what_is_read() {
        let (year_0, year_10000) = (-62_167_219_200, 253_402_300_800);
        for (seconds, begins) in [
            (year_0 - 1, "1970-01-01T00:00:00."),
            (year_0, "0000-01-01T00:00:00."),
            (year_10000 - 1, "9999-12-31T23:59:59."),
            (year_10000, "1970-01-01T00:00:00."),
            (269_846_467_200, "1970-01-01T00:00:00."),
            (i64::MIN, "1970-01-01T00:00:00."),
            (i64::MAX, "1970-01-01T00:00:00."),
        ] {
            let (mut stamp, mut out) = (Stamp::default(), Vec::new());
            stamp.set(Timestamp::new(seconds, 5));
            stamp.write_head(&mut out, Direction::Out, Label::Client(1));
            write_text(&mut out, b"AT Ann +0.000000000 kiwi +00+000 1");
            assert!(text(&out).starts_with(begins), "{seconds}: {}", text(&out));
            out.pop();
            let recalled = read(&mut out).recalled();
            assert!(matches!(recalled, Some(Recalled::At { .. })), "{seconds}");
        }
    }

    #[test]
    fn records() {
        let bryant = ServerName::parse(b"Bryant").expect("a name");
        for (direction, label, line, want) in [
            (
                Direction::In,
                Label::Client(7),
                &b"IAMAT x"[..],
                "< c7 IAMAT x",
            ),
            (Direction::Out, Label::Server(2, None), b"BYE", "> s2 BYE"),
            (
                Direction::Opened,
                Label::Server(12, Some(&bryant)),
                b"127.0.0.1:1",
                "+ s12:Bryant 127.0.0.1:1",
            ),
            (Direction::Dropped, Label::Client(7), b"", "- c7 "),
            (Direction::Note, Label::None, b"started", "* - started"),
            (
                Direction::In,
                Label::Client(1),
                b"a\r\0\x7f\xff\\x41 \\",
                "< c1 a\\x0d\\x00\\x7f\\xff\\\\x41 \\\\",
            ),
        ] {
            let want = format!("2012-11-17T02:08:23.672266766Z {want}\n");
            assert_eq!(text(&record(direction, label, line)), want);
        }
    }

    #[test]
    fn a_stamp_is_made_anew_each_second() {
        let mut stamp = Stamp::default();
        for (seconds, nanos, want) in [
            (0, 0, "1970-01-01T00:00:00.000000000Z"),
            (0, 5, "1970-01-01T00:00:00.000000005Z"),
            (951_782_400, 999_999_999, "2000-02-29T00:00:00.999999999Z"),
            (0, 7, "1970-01-01T00:00:00.000000007Z"),
        ] {
            stamp.set(Timestamp::new(seconds, nanos));
            assert_eq!(text(&stamp.text), want);
        }
    }

    #[test]
    fn of_a_long_line_the_beginning_and_the_length_are_logged() {
        let long = [b"z".repeat(70_000), b"y".to_vec()].concat();
        let record = record(Direction::In, Label::Client(1), &long);
        let shown = text(&record);
        assert!(shown.ends_with("zzz\\... 70001 bytes\n"), "{}", shown.len());
        assert_eq!(shown.matches('z').count(), BEGINNING_BYTES);
    }

    /// `record` ends with LF, as the log's do.
    fn assert_recalls(record: &[u8], want: Option<Recalled<'_>>) {
        let mut bytes = record.to_vec();
        bytes.pop();
        assert_eq!(read(&mut bytes).recalled(), want, "{}", text(record));
    }

    #[test]
    fn only_what_is_vouched_for_is_replayed() {
        let bryant = ServerName::parse(b"Bryant").expect("a name");
        let at = b"AT Blake +0.000000000 a\\b\xff +00+000 1";
        let link = Label::Server(2, Some(&bryant));
        for (direction, label, vouched) in [
            (Direction::Out, Label::Client(7), true),
            (Direction::In, link, true),
            (Direction::Out, link, true),
            (Direction::Held, Label::None, true),
            (Direction::In, Label::Client(7), false), // a client may say what it likes
            (Direction::In, Label::Server(2, None), false), // so may a stranger
            (Direction::Note, Label::None, false),
        ] {
            let record = record(direction, label, at);
            let (line, stamp) = (&at[..], &b"2012-11-17T02:08:23.672266766Z"[..]);
            let want = vouched.then_some(Recalled::At { line, stamp });
            assert_recalls(&record, want);
        }
        for record in [
            "2012\\... torn",
            "2012-11-17T02:08:23.672266766Z > c1 AT Blake +0.000000000 \\\\... torn",
            "\\... to\\... torn",
            "2012-11-17T02:08:23.672266766Z > c1 ? AT Blake +0.000000000 a +00+000 1",
            "2012-11-17T02:08:23.672266766Z > c1 AT Blake +0.000000000 a +00+0\\... torn",
            "2012-11-17T02:08:23.672266766Z > c1 AT Blake \\x4 a +00+000 1",
            "2012-11-17T02:08:23.672266766Z >> c1 AT Blake +0.000000000 a +00+000 1",
            "2012-11-17T02:08:23.672266766Z * - started, incarnation 00000000000000ff at 0, 4\\... torn",
        ] {
            assert_recalls(format!("{record}\n").as_bytes(), None);
        }
    }

    #[test]
    fn where_something_else_stands_there_was_a_record() {
        let zeros = "\0".repeat(4096);
        for line in [
            "",
            "2012 > c1",
            "2012-11-17T02:08:23.67226676Z > c1 AT Blake +0.000000000 a +00+000 1",
            "x > c1 AT Blake +0.000000000 a +00+000 1",
            "2012-11-17T02:08:23.672266766Z > c1 AT Blake +0.000000000 \t +00+000 1",
            "2012-11-17T02:08:23.672266766Z < c1 a client's \\\\... torn\0",
            "\0\0\0\0 < c1 a client's \\\\... torn",
            "\0\0\0\0 started, incarnation 00000000000000ff at 0, 4\\... torn",
            &format!("2012-11-17T02:08:23.672266766Z > c1 AT {zeros}00 1"),
            &format!("{zeros}2012-11-17T02:08:23.672266766Z < s1:Bryant MARK 7"),
        ] {
            assert_recalls(format!("{line}\n").as_bytes(), Some(Recalled::Hole));
        }
    }

    #[test]
    fn notes_marks_and_what_was_held_are_recalled() {
        let bryant = ServerName::parse(b"Bryant").expect("a name");
        let link = Label::Server(2, Some(&bryant));
        let mark = Recalled::Neighbour {
            name: b"Bryant",
            line: b"MARK 7",
        };
        let gap: &[u8] = b"gap: 5 records";
        let at: &[u8] = b"AT Blake +0.000000000 a +00+000 1";
        let held = Recalled::Held {
            number: 9,
            line: at,
        };
        for (direction, label, line, want) in [
            (Direction::Note, Label::None, gap, Some(Recalled::Gap)),
            (Direction::Note, Label::Client(1), gap, None),
            (Direction::Held, Label::Number(9), at, Some(held)),
            (
                Direction::Held,
                Label::None,
                at,
                Some(Recalled::At {
                    line: at,
                    stamp: b"2012-11-17T02:08:23.672266766Z",
                }),
            ),
            (Direction::Held, Label::Number(9), b"MARK 7", None),
            (Direction::In, link, b"MARK 7", Some(mark)),
            (Direction::Out, link, b"MARK 7", None),
            (Direction::In, Label::Server(2, None), b"MARK 7", None),
            (Direction::In, Label::Client(2), b"MARK 7", None),
        ] {
            assert_recalls(&record(direction, label, line), want);
        }
    }

    proptest! {
        #[test]
        fn escapes_are_unambiguous_and_printable(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut escaped = Vec::new();
            write_escaped(&mut escaped, &bytes);
            prop_assert!(escaped.iter().all(|byte| (b' '..=b'~').contains(byte)));
            prop_assert_eq!(unescape(&mut escaped), Some(&bytes[..]));
        }

        #[test]
        fn noise_never_panics(record in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = read(&mut record.clone());
            let head = b"2012-11-17T02:08:23.672266766Z > c1 AT ";
            let _ = read(&mut [head, &record[..]].concat());
        }
    }
}
