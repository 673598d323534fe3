//! The lines that servers say to each other, and to clients in reply: each read and written side by side.
//!
//! `Node` and `Links` are the callers. Pure: no line here knows which connection it came by.
//! docs/LINKS.md describes the lines of links; `command` reads what clients say.

use std::fmt;
use std::sync::Arc;

use super::command::{IAmAt, LINE_BYTES_MAX};
use super::fields::find_space;
use super::location::{Erasure, Location, Position, Update, plain_decimal};
use crate::time::{Difference, SECONDS_DIGITS_MAX, Timestamp, digits, write_decimal};
use crate::topology::ServerName;

/// The longest line a neighbour may say, LF not counted.
///
/// An `AT` line is an `IAMAT` line with `IAMAT` replaced by `AT`, a name and a difference, so the
/// longest one is somewhat longer than the longest `IAMAT`.
pub const LINK_LINE_BYTES_MAX: usize = LINE_BYTES_MAX + 128;

/// The version of the link protocol, as `HELLO` gives it.
const LINK_VERSION: &str = "herd/1";

/// The minor version of this program: which lines it understands.
pub const MINOR: u64 = 2;

/// A `HELLO`'s serial is the number of the hello plus so many times the speaker's minor version. A program that
/// knows of no minor versions takes the whole for a number, which rises as before.
const SERIALS_PER_MINOR: u64 = 1_000_000_000_000_000;

/// What is asked of Twitter: numbers in plain decimal, so that equal questions are equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TweetQuery {
    /// Degrees, north positive.
    pub latitude: String,
    /// Degrees, east positive.
    pub longitude: String,
    /// Kilometres.
    pub radius_km: String,
    /// Results at most, up to 100.
    pub bound: u8,
}

impl TweetQuery {
    /// The question for tweets within `radius_km` of `position`.
    pub fn new(position: Position<'_>, radius_km: &[u8], bound: u8) -> TweetQuery {
        TweetQuery {
            latitude: plain_decimal(position.latitude()),
            longitude: plain_decimal(position.longitude()),
            radius_km: plain_decimal(radius_km),
            bound,
        }
    }
}

/// How every `AT` line begins that `server` makes: `AT <server> `.
pub fn at_prefix(server: &ServerName) -> Vec<u8> {
    format!("AT {server} ").into_bytes()
}

/// Completes `AT <server> <difference> <client-id> <location> <time>`, without LF: what a server made of a
/// client's report. `line` is the server's [`at_prefix`].
#[inline(always)]
pub fn write_at(line: &mut Vec<u8>, difference: Difference, report: &IAmAt<'_>) {
    difference.write(line);
    if !report.joined.is_empty() {
        return line.extend_from_slice(report.joined);
    }
    for field in [report.client, report.position.text(), report.time_text] {
        line.push(b' ');
        line.extend_from_slice(field);
    }
}

/// Reads exactly what [`write_at`] writes: single spaces, canonical numbers. `None` otherwise.
pub fn parse_at(line: &[u8]) -> Option<Location<'_>> {
    let mut rest = line.strip_prefix(b"AT ")?;
    let mut field = || {
        let (field, after) = rest.split_at(find_space(rest));
        rest = after.strip_prefix(b" ")?;
        Some(field)
    };
    let (server, difference, client) = (field()?, field()?, field()?);
    let (position, time_text) = (field()?, rest);
    // No longer than an IAMAT can be, so that whatever one server takes in all can pass on.
    let iamat_bytes = b"IAMAT   ".len() + client.len() + position.len() + time_text.len();
    let short = iamat_bytes <= LINE_BYTES_MAX;
    (!client.is_empty() && short && ServerName::is_valid(server)).then_some(())?;
    Some(Location {
        line,
        server,
        difference: Difference::parse(difference)?,
        client,
        position: Position::parse(position)?,
        time: Timestamp::parse(time_text)?,
        time_text,
    })
}

/// How every line begins that says that a client is erased.
const ERASED: &[u8] = b"ERASED ";

/// Whether a record is that of an erasure. Otherwise it is an `AT` line.
#[inline]
pub fn is_erased(line: &[u8]) -> bool {
    line.starts_with(ERASED)
}

/// The line `ERASED <server> <client-id> <time>`, without LF.
pub fn erased_line(server: &ServerName, client: &[u8], time: Timestamp) -> Vec<u8> {
    let mut line = [ERASED, server.as_bytes(), b" ", client, b" "].concat();
    time.write(&mut line);
    line
}

/// Reads exactly what [`erased_line`] gives. `None` otherwise.
pub fn parse_erased(line: &[u8]) -> Option<Erasure<'_>> {
    let rest = line.strip_prefix(ERASED)?;
    let (server, rest) = rest.split_at(find_space(rest));
    let rest = rest.strip_prefix(b" ")?;
    let (client, rest) = rest.split_at(find_space(rest));
    let time_text = rest.strip_prefix(b" ")?;
    let time = Timestamp::parse(time_text)?;
    let mut canonical = Vec::new();
    time.write(&mut canonical);
    // No longer than in an IAMAT, as in an AT line.
    let is_short = b"IAMAT  +00+000 1".len() + client.len() <= LINE_BYTES_MAX;
    let is_one = !client.is_empty() && is_short && ServerName::is_valid(server);
    (is_one && time_text == canonical).then_some(Erasure {
        line,
        server,
        client,
        time,
    })
}

/// Reads a record: an `AT` line or an `ERASED` line.
#[inline]
pub fn parse_update(line: &[u8]) -> Option<Update<'_>> {
    match is_erased(line) {
        false => parse_at(line).map(Update::Report),
        true => parse_erased(line).map(Update::Erasure),
    }
}

/// Names one incarnation of a server's changefeed: each start of the server begins a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Incarnation {
    /// Reads 16 lower-case hexadecimal digits.
    pub fn parse(text: &[u8]) -> Option<Incarnation> {
        let lower = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 16 || !text.iter().all(lower) {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        u64::from_str_radix(text, 16).ok().map(Incarnation)
    }
}

/// How far a server has followed another's feed: everything up to `number` of one incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Whose feed: the incarnation in which the number was given.
    pub incarnation: Incarnation,
    /// The last change that is known to have arrived.
    pub number: u64,
}

/// What neighbours say to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkLine<'a> {
    /// `HELLO herd/1 <from> <to> <incarnation> <serial> <known incarnation|-> <known number>`.
    Hello(Hello),
    /// `AT …`: a change.
    At(Location<'a>),
    /// `ERASED …`: a change, too.
    Erased(Erasure<'a>),
    /// `MARK <number>`: all changes of mine up to this number are before this line.
    Mark(u64),
    /// `CLOCK <time>`: what the speaker's clock shows.
    Clock(Timestamp),
    /// `BYE <reason>`: the last line of a connection that its sender ends.
    Bye(&'a [u8]),
}

/// The first line each side says on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Who speaks.
    pub from: ServerName,
    /// Whom it believes to speak to.
    pub to: ServerName,
    /// The speaker's incarnation.
    pub incarnation: Incarnation,
    /// Counts the speaker's hellos in this incarnation, so that a late one is known to be late. It says
    /// the minor version, too.
    pub serial: u64,
    /// What the speaker has of the listener's feed; `None` is nothing.
    pub known: Option<Mark>,
}

impl Hello {
    /// The serial of the hello with this number, of this program's minor version.
    pub fn serial(number: u64) -> u64 {
        MINOR * SERIALS_PER_MINOR + number
    }

    /// Whether the speaker understands `CLOCK`.
    pub fn knows_clocks(&self) -> bool {
        self.serial / SERIALS_PER_MINOR >= 1
    }

    /// Whether the speaker understands `ERASED`.
    pub fn knows_erasures(&self) -> bool {
        self.serial / SERIALS_PER_MINOR >= 2
    }

    /// Appends the line, without LF.
    pub fn write(&self, line: &mut Vec<u8>) {
        let Hello {
            from,
            to,
            incarnation,
            serial,
            known,
        } = self;
        let known = match known {
            Some(mark) => format!("{} {}", mark.incarnation, mark.number),
            None => "- 0".to_owned(),
        };
        let text = format!("HELLO {LINK_VERSION} {from} {to} {incarnation} {serial} {known}");
        line.extend_from_slice(text.as_bytes());
    }
}

/// Appends `MARK <number>`, without LF.
pub fn write_mark(line: &mut Vec<u8>, number: u64) {
    line.extend_from_slice(b"MARK ");
    write_decimal(line, number);
}

/// Appends `CLOCK <time>`, without LF.
pub fn write_clock(line: &mut Vec<u8>, time: Timestamp) {
    line.extend_from_slice(b"CLOCK ");
    time.write(line);
}

impl<'a> LinkLine<'a> {
    /// Reads a line of a link, without its LF. A CR before that is white space, as on the client port.
    ///
    /// # Errors
    /// What is wrong with it, for the log and for the neighbour.
    pub fn parse(line: &'a [u8]) -> Result<LinkLine<'a>, &'static str> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let end = memchr::memchr(b' ', line).unwrap_or(line.len());
        let rest = line.get(end + 1..).unwrap_or_default();
        match &line[..end] {
            b"AT" => match parse_at(line) {
                Some(location) => Ok(LinkLine::At(location)),
                None => Err("a malformed AT line"),
            },
            b"ERASED" => match parse_erased(line) {
                Some(erasure) => Ok(LinkLine::Erased(erasure)),
                None => Err("a malformed ERASED line"),
            },
            b"MARK" => match parse_number(rest) {
                Some(number) => Ok(LinkLine::Mark(number)),
                None => Err("a malformed MARK line"),
            },
            b"CLOCK" => match Timestamp::parse(rest) {
                Some(time) => Ok(LinkLine::Clock(time)),
                None => Err("a malformed CLOCK line"),
            },
            b"HELLO" => parse_hello(rest).map(LinkLine::Hello),
            b"BYE" => Ok(LinkLine::Bye(rest)),
            _ => Err("a line that is none of HELLO, AT, ERASED, MARK, CLOCK, BYE"),
        }
    }
}

fn parse_hello(operands: &[u8]) -> Result<Hello, &'static str> {
    let mut fields = operands.split(|&byte| byte == b' ');
    if fields.next() != Some(LINK_VERSION.as_bytes()) {
        return Err("a HELLO of another version than herd/1");
    }
    let hello = (|| {
        let hello = Hello {
            from: ServerName::parse(fields.next()?)?,
            to: ServerName::parse(fields.next()?)?,
            incarnation: Incarnation::parse(fields.next()?)?,
            serial: parse_number(fields.next()?)?,
            known: match (fields.next()?, parse_number(fields.next()?)?) {
                (b"-", _) => None,
                (incarnation, number) => Some(Mark {
                    incarnation: Incarnation::parse(incarnation)?,
                    number,
                }),
            },
        };
        fields.next().is_none().then_some(hello)
    })();
    hello.ok_or("a malformed HELLO line")
}

/// Decimal digits that fit a `u64`.
pub fn parse_number(text: &[u8]) -> Option<u64> {
    if text.len() <= SECONDS_DIGITS_MAX {
        return digits(text); // almost all are so short
    }
    let is_number = text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| is_number)?;
    text.parse().ok()
}

/// A line of JSON in the shape of Twitter's own errors.
pub fn error_json(message: &str) -> Arc<[u8]> {
    let text = serde_json::Value::from(message);
    format!("{{\"error\":{text}}}").into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::super::command::Command;
    use super::super::fields::is_space;
    use super::*;
    use proptest::prelude::*;

    const EXAMPLE: &[u8] =
        b"AT Blake +0.563873386 kiwi.cs.ucla.edu +27.5916+086.5640 1353118103.108893381";

    #[test]
    fn numbers() {
        for (text, want) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("12345678", Some(12_345_678)),
            ("999999999999999999", Some(999_999_999_999_999_999)),
            ("18446744073709551615", Some(u64::MAX)),
            ("000000000018446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1234567x", None),
            ("000000000000000000x", None),
        ] {
            assert_eq!(parse_number(text.as_bytes()), want, "{text:?}");
        }
    }

    #[test]
    fn an_at_line_is_read_only_as_it_is_written() {
        let location = parse_at(EXAMPLE).expect("the assignment's example");
        assert_eq!(location.server, b"Blake");
        assert_eq!(location.client, b"kiwi.cs.ucla.edu");
        for line in [
            "AT Blake +0.563873386 kiwi +27.5916+086.5640",
            "AT Blake +0.563873386 kiwi +27.5916+086.5640 1 ",
            " AT Blake +0.563873386 kiwi +27.5916+086.5640 1",
            "AT Blake  +0.563873386 kiwi +27.5916+086.5640 1",
            "AT Blake +0.563873386 kiwi +27.5916+086.5640 1\r",
            "AT Blake +0.563873386 ki\twi +27.5916+086.5640 1",
            "AT Blake +0.563873386  +27.5916+086.5640 1",
            "AT Blake 0.563873386 kiwi +27.5916+086.5640 1",
            "AT Blake -0.000000000 kiwi +27.5916+086.5640 1",
            "AT Bl@ke +0.563873386 kiwi +27.5916+086.5640 1",
            "AT Blake +0.563873386 kiwi +97.5916+086.5640 1",
            "AT",
            "",
        ] {
            assert_eq!(parse_at(line.as_bytes()), None, "line: {line:?}");
        }
    }

    #[test]
    fn what_no_iamat_could_have_said_is_no_at_line() {
        let line = |bytes| format!("AT Blake +0.000000000 {} +00+000 1", "x".repeat(bytes));
        let longest = LINE_BYTES_MAX - "IAMAT  +00+000 1".len();
        assert!(parse_at(line(longest).as_bytes()).is_some());
        assert!(parse_at(line(longest + 1).as_bytes()).is_none());
    }

    #[test]
    fn link_lines() {
        let hello = "HELLO herd/1 Blake Bryant 00000000000000ff 7 0123456789abcdef 42";
        let Ok(LinkLine::Hello(parsed)) = LinkLine::parse(hello.as_bytes()) else {
            panic!("{hello}");
        };
        let known = Some(Mark {
            incarnation: Incarnation(0x0123_4567_89ab_cdef),
            number: 42,
        });
        assert_eq!((parsed.serial, parsed.known), (7, known));
        assert!(matches!(LinkLine::parse(EXAMPLE), Ok(LinkLine::At(_))));
        assert_eq!(LinkLine::parse(b"MARK 42"), Ok(LinkLine::Mark(42)));
        let time = Timestamp::new(1_353_118_103, 7);
        let mut clock = Vec::new();
        write_clock(&mut clock, time);
        assert_eq!(clock, b"CLOCK 1353118103.000000007");
        assert_eq!(LinkLine::parse(&clock), Ok(LinkLine::Clock(time)));
        assert_eq!(
            LinkLine::parse(b"BYE so long"),
            Ok(LinkLine::Bye(b"so long"))
        );
        for (line, reason) in [
            (
                "HELLO herd/2 Blake Bryant 00000000000000ff 7 - 0",
                "version",
            ),
            ("HELLO herd/1 Blake Bryant ff 7 - 0", "malformed HELLO"),
            (
                "HELLO herd/1 Blake Bryant 00000000000000FF 7 - 0",
                "malformed HELLO",
            ),
            (
                "HELLO herd/1 Bl,ke Bryant 00000000000000ff 7 - 0",
                "malformed HELLO",
            ),
            (
                "HELLO herd/1 Blake Bryant 00000000000000ff 7 -",
                "malformed HELLO",
            ),
            (
                "HELLO herd/1 Blake Bryant 00000000000000ff 7 - 0 x",
                "malformed HELLO",
            ),
            ("HELLO", "version"),
            ("CLOCK", "malformed CLOCK"),
            ("CLOCK -1", "malformed CLOCK"),
            ("CLOCK 1 2", "malformed CLOCK"),
            ("MARK", "malformed MARK"),
            ("MARK -1", "malformed MARK"),
            ("MARK +1", "malformed MARK"),
            ("MARK 18446744073709551616", "malformed MARK"),
            ("AT Blake", "malformed AT"),
            ("ERASED", "malformed ERASED"),
            ("ERASED Blake kiwi", "malformed ERASED"),
            ("ERASED Blake kiwi 1", "malformed ERASED"), // not as it is written
            ("ERASED Blake kiwi 01.000000000", "malformed ERASED"),
            ("ERASED Blake kiwi -1.000000000", "malformed ERASED"),
            ("ERASED Blake kiwi 1.000000000 ", "malformed ERASED"),
            ("ERASED Blake  kiwi 1.000000000", "malformed ERASED"),
            ("ERASED Blake  1.000000000", "malformed ERASED"),
            ("ERASED Bl,ke kiwi 1.000000000", "malformed ERASED"),
            ("IAMAT kiwi +27.5916+086.5640 1", "none of"),
            ("", "none of"),
        ] {
            let error = LinkLine::parse(line.as_bytes()).expect_err(line);
            assert!(error.contains(reason), "{line:?}: {error}");
        }
    }

    #[test]
    fn the_minor_version_stands_before_the_last_15_digits_of_the_serial() {
        for (serial, clocks, erasures) in [
            (0, false, false),
            (999_999_999_999_999, false, false),
            (1_000_000_000_000_000, true, false),
            (2_000_000_000_000_000, true, true),
            (Hello::serial(7), true, true),
            (u64::MAX, true, true),
        ] {
            let hello = format!("HELLO herd/1 A B 00000000000000ff {serial} - 0");
            let Ok(LinkLine::Hello(hello)) = LinkLine::parse(hello.as_bytes()) else {
                panic!("{hello}");
            };
            let knows = (hello.knows_clocks(), hello.knows_erasures());
            assert_eq!(knows, (clocks, erasures), "{serial}");
        }
    }

    fn client() -> impl Strategy<Value = Vec<u8>> {
        let byte = any::<u8>().prop_filter("no white space", |&byte| !is_space(byte));
        proptest::collection::vec(byte, 1..40)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            name in "[A-Za-z0-9_-]{1,64}",
            client in client(),
            position in "[+-][0-8][0-9](\\.[0-9]{1,8})?[+-][01][0-7][0-9](\\.[0-9]{1,8})?/?",
            time_text in "[0-9]{1,18}(\\.[0-9]{1,9})?",
            receipt in (0..1_i64 << 40, 0..1_000_000_000_u32),
        ) {
            let iamat = [b"IAMAT ", &client[..], b" ", position.as_bytes(), b" ", time_text.as_bytes()].concat();
            let Some(Command::IAmAt(report)) = Command::parse(&iamat) else {
                panic!("a valid line was not read");
            };
            let server = ServerName::parse(name.as_bytes()).expect("the pattern makes names");
            let difference = Timestamp::new(receipt.0, receipt.1).since(report.time);
            let mut line = at_prefix(&server);
            write_at(&mut line, difference, &report);
            let location = parse_at(&line).expect("what is written can be read");
            prop_assert_eq!(location.receipt(), Timestamp::new(receipt.0, receipt.1));
            prop_assert_eq!((location.client, location.difference), (report.client, difference));
            prop_assert!(line.len() <= iamat.len() + LINK_LINE_BYTES_MAX - LINE_BYTES_MAX);
        }

        #[test]
        fn erasures_round_trip(name in "[A-Za-z0-9_-]{1,64}", client in client(), time in (0..1_i64 << 59, 0..1_000_000_000_u32)) {
            let server = ServerName::parse(name.as_bytes()).expect("the pattern makes names");
            let time = Timestamp::new(time.0.min(999_999_999_999_999_999), time.1);
            let line = erased_line(&server, &client, time);
            prop_assert!(is_erased(&line));
            let Ok(LinkLine::Erased(erasure)) = LinkLine::parse(&line) else {
                panic!("{}", line.escape_ascii());
            };
            let want = Erasure { line: &line, server: name.as_bytes(), client: &client, time };
            prop_assert_eq!(erasure, want);
        }

        #[test]
        fn hellos_round_trip(from in "[a-z]{1,9}", to in "[a-z]{1,9}", incarnation: u64, serial: u64, known: Option<(u64, u64)>) {
            let name = |text: &str| ServerName::parse(text.as_bytes()).expect("the pattern makes names");
            let known = known.map(|(incarnation, number)| Mark { incarnation: Incarnation(incarnation), number });
            let hello = Hello { from: name(&from), to: name(&to), incarnation: Incarnation(incarnation), serial, known };
            let mut line = Vec::new();
            hello.write(&mut line);
            prop_assert_eq!(LinkLine::parse(&line), Ok(LinkLine::Hello(hello)));
        }

        #[test]
        fn noise_never_panics(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Command::parse(&line);
            let _ = LinkLine::parse(&line);
            let _ = LinkLine::parse(&[b"HELLO herd/1 ", &line[..]].concat());
            let _ = parse_at(&[b"AT ", &line[..]].concat());
            let _ = parse_erased(&[b"ERASED ", &line[..]].concat());
        }
    }
}
