//! What one client of one server may rely on: lines and their replies, exact times, what is copied
//! back, order, bounded memory, the log, signals, the command line.
//!
//! Each test has a server of its own, a real process on a real socket.

mod bounds;
mod command_line;
mod commands;
mod log;
mod order;
mod recency;
mod stopping;
#[path = "../support/stub_twitter.rs"]
mod stub_twitter;
#[path = "../support/mod.rs"]
mod support;

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stub_twitter::StubTwitter;
use support::{Client, Herd, PATIENCE, client_of, wait_until};

const KIWI: &str = "IAMAT kiwi.cs.ucla.edu +27.5916+086.5640 1353118103.108893381";

/// The longest line that can be a command.
const LINE_BYTES_MAX: usize = 65_536;

fn blake() -> Herd {
    Herd::started(&[("Blake", &[])])
}

/// Blake, asking this Twitter.
fn blake_asking(twitter: &StubTwitter) -> Herd {
    let mut herd = Herd::new(&[("Blake", &[])]);
    herd.twitter_url = twitter.url();
    herd.start_all();
    herd
}

/// The AT line of `client` in Blake's log, once it is there: it may not have left yet.
fn logged_at(herd: &Herd, client: &str) -> String {
    let mut found = None;
    wait_until(&format!("an AT line of {client} is logged"), || {
        let log = herd.log("Blake");
        let replies = log.lines().filter_map(|line| line.split_once(" AT Blake "));
        let mut fields = replies.map(|(_, fields)| format!("AT Blake {fields}"));
        found = fields.find(|at| client_of(at) == client);
        found.is_some()
    });
    found.expect("waited for")
}

fn shown(bytes: &[u8]) -> String {
    let shown = bytes.escape_ascii().to_string();
    match shown.char_indices().nth(300) {
        None => shown,
        Some((at, _)) => format!("{}... ({} bytes)", &shown[..at], bytes.len()),
    }
}

/// Says a line that is no command, which comes back.
fn assert_copied(client: &mut Client, line: &str) {
    client.say(line);
    let want = format!("? {line}");
    assert_bytes(client.line().as_bytes(), want.as_bytes(), "the copy");
}

fn assert_bytes(got: &[u8], want: &[u8], what: &str) {
    assert!(
        got == want,
        "{what}\n got: {}\nwant: {}",
        shown(got),
        shown(want)
    );
}

/// The clock, in nanoseconds.
fn clock() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("it is after 1970").as_nanos() as i128
}

/// A client's time for the moment `nanos`.
fn time_text(nanos: i128) -> String {
    format!(
        "{}.{:09}",
        nanos.div_euclid(1_000_000_000),
        nanos.rem_euclid(1_000_000_000)
    )
}

/// Reads `[sign]digits[.digits]` in nanoseconds.
fn nanos(text: &str) -> i128 {
    let magnitude = text.trim_start_matches(['+', '-']);
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
    let value: i128 = format!("{whole}{fraction:0<9}").parse().expect("digits");
    if text.starts_with('-') { -value } else { value }
}

/// An AT line, taken apart.
#[derive(Clone, Debug)]
struct At {
    line: String,
    client: String,
    location: String,
    time: String,
    difference: String,
}

impl At {
    fn read(line: &str) -> At {
        let fields: Vec<_> = line.split(' ').collect();
        let [at, server, difference, client, location, time] = fields[..] else {
            panic!("not six fields, single spaces between them: {line}");
        };
        assert_eq!((at, server), ("AT", "Blake"), "{line}");
        let (sign, magnitude) = difference.split_at(1);
        let (seconds, decimals) = magnitude.split_once('.').unwrap_or((magnitude, ""));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let canonical = seconds == "0" || !seconds.starts_with('0');
        let exact = digits(seconds) && digits(decimals) && decimals.len() == 9 && canonical;
        let signed = sign == "+" || (sign == "-" && nanos(difference) != 0);
        assert!(signed && exact, "not an exact difference: {line}");
        At {
            line: line.to_owned(),
            client: client.to_owned(),
            location: location.to_owned(),
            time: time.to_owned(),
            difference: difference.to_owned(),
        }
    }

    fn receipt(&self) -> i128 {
        nanos(&self.difference) + nanos(&self.time)
    }

    /// What records are ordered by, the servers being the same.
    fn recency(&self) -> (i128, i128, &str, &str) {
        let effective = nanos(&self.time).min(self.receipt());
        (effective, self.receipt(), &self.location, &self.time)
    }
}

/// Bytes that are never LF and that do not repeat at any power of two.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        match (state >> 32) as u8 {
            b'\n' => b'\r',
            byte => byte,
        }
    };
    (0..bytes).map(next).collect()
}

/// Commands with numbered client-ids of some 4 KiB.
fn numbered(number: usize) -> String {
    format!("IAMAT {number}{} +00+000 1\n", "-".repeat(4000))
}

/// Writes what `text` makes of 0, 1, 2 and so on until the server has long taken none. Gives how many
/// it has begun, and what is left of the last one.
fn write_until_blocked(
    stream: &mut TcpStream,
    limit_bytes: usize,
    text: impl Fn(usize) -> String,
) -> (usize, Vec<u8>) {
    let timeout = Duration::from_millis(300);
    stream
        .set_write_timeout(Some(timeout))
        .expect("it is not zero");
    let mut written = 0;
    for number in 0.. {
        let line = text(number).into_bytes();
        let (mut done, mut blocked) = (0, 0);
        while done < line.len() {
            match stream.write(&line[done..]) {
                Ok(n) => {
                    (done, blocked) = (done + n, 0);
                    written += n;
                    assert!(written < limit_bytes, "{written} bytes and it reads on");
                }
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    blocked += 1;
                    if blocked == 4 {
                        stream
                            .set_write_timeout(Some(PATIENCE))
                            .expect("it is not zero");
                        return (number + 1, line[done..].to_vec());
                    }
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => panic!("after {written} bytes: {e}"),
            }
        }
    }
    unreachable!("the loop has no end");
}

/// A thousand short lines that are no commands, numbered.
fn numbered_nonsense(number: usize) -> String {
    (0..1_000)
        .map(|line| format!("{number}.{line}\n"))
        .collect()
}

fn expect_numbered_nonsense(client: &mut Client, count: usize) {
    for line in (0..count)
        .map(numbered_nonsense)
        .collect::<String>()
        .lines()
    {
        assert_eq!(client.line(), format!("? {line}"));
    }
}
