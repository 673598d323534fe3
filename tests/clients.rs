//! What one client of one server may rely on: lines and their replies, exact times, what is copied
//! back, order, bounded memory, the log, signals, the command line.
//!
//! Each test has a server of its own, a real process on a real socket.

use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Output, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::net::sockopt;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

#[path = "support/stub_twitter.rs"]
mod stub_twitter;
mod support;

use stub_twitter::{Answer, StubTwitter};
use support::reference::{ONE_PROCESS, ServerCommand, WORD_OF_MISTAKES, WORD_OF_RESETS, promised};
use support::{Client, Herd, PATIENCE, client_of, free_addresses, wait_until};

const KIWI: &str = "IAMAT kiwi.cs.ucla.edu +27.5916+086.5640 1353118103.108893381";

/// The longest line that can be a command.
const LINE_BYTES_MAX: usize = 65_536;

/// So much may be owed to a client before no more of its lines are handled.
const OUTPUT_BYTES_MAX: usize = 256 << 10;

/// So much more memory than before a server may take for clients that behave badly.
const MEMORY_BYTES: u64 = 40 << 20;

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

/// Checks that a client has been sent nothing that it has not read.
fn assert_nothing_has_come(client: &Client) {
    client.stream.set_nonblocking(true).expect("it is a socket");
    let arrived = client.stream.peek(&mut [0]).map_err(|error| error.kind());
    assert_eq!(arrived, Err(ErrorKind::WouldBlock));
    client
        .stream
        .set_nonblocking(false)
        .expect("it is a socket");
}

fn shown(bytes: &[u8]) -> String {
    let shown = bytes.escape_ascii().to_string();
    match shown.char_indices().nth(300) {
        None => shown,
        Some((at, _)) => format!("{}... ({} bytes)", &shown[..at], bytes.len()),
    }
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

// ---- IAMAT, and what is no command

#[test]
fn iamat_is_answered_with_the_time_of_receipt_less_the_clients_time_to_the_nanosecond() {
    let herd = blake();
    let mut client = herd.client("Blake");
    let now = time_text(clock());
    for (name, location, time) in [
        (
            "kiwi.cs.ucla.edu",
            "+27.5916+086.5640",
            "1353118103.108893381",
        ),
        ("kiwi.cs.ucla.edu", "+34.068930-118.445127", now.as_str()),
        ("a", "-90-180/", "0"),
        ("a", "+90.000+180.0", "0.000000001"),
        ("a", "-00.0-000.00", "000000000000000001.5"),
        ("a", "+00+000", "4102444800.25"),
        ("a", "+00+000", "9999999999.999999999"),
        ("a", "+00+000", "999999999999999999"),
        ("a", "+00+000", "999999999999999999.999999999"),
        ("a", "+00+000", "123456789012345678.000000001"),
        ("IAMAT", "+00+000", "1"),
    ] {
        let before = clock();
        client.say(&format!("IAMAT {name} {location} {time}"));
        let reply = client.line();
        let after = clock();
        let at = At::read(&reply);
        assert_eq!(
            (&*at.client, &*at.location, &*at.time),
            (name, location, time),
            "copied verbatim: {reply}"
        );
        let receipt = at.receipt();
        assert!(
            (before..=after).contains(&receipt),
            "{reply}: difference + time = {receipt}, received between {before} and {after}"
        );
    }
}

#[test]
fn fields_are_separated_by_any_white_space_of_the_six_kinds_but_lf() {
    let herd = blake();
    let mut client = herd.client("Blake");
    client.say(KIWI);
    client.line();
    for space in [
        " ",
        "\t",
        "\r",
        "\x0c",
        "\x0b",
        "  ",
        " \t\r\x0c\x0b",
        "\r\r\r",
    ] {
        for (before, after) in [("", ""), (space, ""), ("", space), (space, space)] {
            let fields = ["IAMAT", "c", "+00+000", "1"].join(space);
            let line = format!("{before}{fields}{after}");
            client.say(&line);
            let at = At::read(&client.line());
            let got = (&*at.client, &*at.location, &*at.time);
            assert_eq!(got, ("c", "+00+000", "1"), "line: {line:?}");
            let fields = ["WHATSAT", "c", "0.5", "007"].join(space);
            client.say(&format!("{before}{fields}{after}"));
            assert_eq!(client.line(), at.line, "line: {line:?}");
            let json = client.line();
            assert!(json.starts_with("{\"error\":"), "{json}");
        }
    }
    client.send(b"IAMAT crlf +00+000 1\r\nWHATSAT crlf 1 1\r\nnonsense\r\n");
    let at = At::read(&client.line());
    assert_eq!((&*at.client, &*at.time), ("crlf", "1"));
    assert_eq!(client.line(), at.line);
    client.line();
    assert_eq!(client.line(), "? nonsense\r", "copied with its CR");
}

#[test]
fn what_is_no_command_is_answered_with_a_question_mark_and_an_exact_copy() {
    let herd = blake();
    let mut client = herd.client("Blake");
    client.say("IAMAT k +00+000 1");
    let at = client.line();
    let long_time = format!("IAMAT k +00+000 {}", "1".repeat(19));
    for line in [
        "",
        " ",
        "\r",
        " \t\r\x0c\x0b ",
        "IAMAT",
        "WHATSAT",
        "IAMAT k",
        "IAMAT k +00+000",
        "IAMAT k +00+000 1 1",
        "IAMAT  k   +00+000 \t 1  1\r",
        "iamat k +00+000 1",
        "IAMAT\u{a0}k +00+000 1",
        "IAMATk +00+000 1",
        "\"IAMAT\" k +00+000 1",
        "AT Blake +0.563873386 k +27.5916+086.5640 1353118103.108893381",
        "HELLO herd/1 Bryant Blake 0123456789abcdef 1 - 0",
        "MARK 1",
        "BYE now",
        "? IAMAT k",
        "GET / HTTP/2",
        "GET / HTTP/1.",
        "GET / x HTTP/1.1",
        "GET /HTTP/1.1",
        "IAMAT k HTTP/1.1x",
        // locations
        "IAMAT k 00+000 1",
        "IAMAT k +00000 1",
        "IAMAT k +0+000 1",
        "IAMAT k +000+000 1",
        "IAMAT k +00+00 1",
        "IAMAT k +00+0000 1",
        "IAMAT k +00.+000 1",
        "IAMAT k +00+000. 1",
        "IAMAT k +.5+000.5 1",
        "IAMAT k +90.0000000000000000001+000 1",
        "IAMAT k -90.1+000 1",
        "IAMAT k +91+000 1",
        "IAMAT k +00+180.0000000000000000001 1",
        "IAMAT k +00-181 1",
        "IAMAT k +00+999 1",
        "IAMAT k +00+000// 1",
        "IAMAT k /+00+000 1",
        "IAMAT k +00+000+0 1",
        "IAMAT k +00+000+8848/ 1",
        "IAMAT k +00,0+000 1",
        "IAMAT k +00.0e1+000 1",
        "IAMAT k \u{2212}00+000 1",
        "IAMAT k +\u{0660}0+000 1",
        // times
        "IAMAT k +00+000 -1",
        "IAMAT k +00+000 +1",
        "IAMAT k +00+000 1.",
        "IAMAT k +00+000 .1",
        "IAMAT k +00+000 .",
        "IAMAT k +00+000 1.2.3",
        "IAMAT k +00+000 1e9",
        "IAMAT k +00+000 0x10",
        "IAMAT k +00+000 1,5",
        "IAMAT k +00+000 nan",
        "IAMAT k +00+000 1.0000000000",
        &long_time,
        "IAMAT k +00+000 \u{0661}",
        // questions
        "WHATSAT k",
        "WHATSAT k 1",
        "WHATSAT k 1 1 1",
        "WHATSAT k 1 101",
        "WHATSAT k 1 1000",
        "WHATSAT k 1 18446744073709551617",
        "WHATSAT k 1 -1",
        "WHATSAT k 1 +1",
        "WHATSAT k 1 1.0",
        "WHATSAT k 1 ten",
        "WHATSAT k -1 1",
        "WHATSAT k +1 1",
        "WHATSAT k 1. 1",
        "WHATSAT k .5 1",
        "WHATSAT k 1.2.3 1",
        "WHATSAT k 1e2 1",
        "WHATSAT k 1km 1",
        "WHATSAT k inf 1",
        "WHATSAT stranger 1 1",
        "WHATSAT K 1 1",
        "WHATSAT k. 1 1",
        "whatsat k 1 1",
    ] {
        client.say(line);
        let reply = client.line_bytes().expect("the server stays");
        assert_bytes(&reply, format!("? {line}").as_bytes(), "the copy");
    }
    client.say("WHATSAT k 1 1");
    assert_eq!(client.line(), at, "none of these has changed anything");
}

#[test]
fn every_byte_but_lf_may_stand_in_a_client_id_or_is_copied_back() {
    let herd = blake();
    let mut client = herd.client("Blake");
    let white = b" \t\r\x0b\x0c";
    for byte in (0..=u8::MAX).filter(|&byte| byte != b'\n') {
        let id = [b'x', byte, b'y'];
        let iamat = [b"IAMAT ", &id[..], b" +00+000 1"].concat();
        let invalid = [&[byte][..], b"no\x00command\xff", &id[..]].concat();
        let whatsat = [b"WHATSAT ", &id[..], b" 1 0"].concat();
        for line in [&iamat, &invalid, &whatsat] {
            client.send(line);
            client.send(b"\n");
        }
        let what = format!("byte {byte:#04x}");
        let mut reply = || client.line_bytes().expect("the server stays");
        let first = reply();
        let copy = |line: &[u8]| [b"? ", line].concat();
        if white.contains(&byte) {
            assert_bytes(&first, &copy(&iamat), &what);
        } else {
            let end = [b" ", &id[..], b" +00+000 1"].concat();
            let whole = first.starts_with(b"AT Blake +") && first.ends_with(&end);
            assert!(whole, "{what}: {}", shown(&first));
        }
        assert_bytes(&reply(), &copy(&invalid), &what);
        if white.contains(&byte) {
            assert_bytes(&reply(), &copy(&whatsat), &what);
        } else {
            assert_bytes(&reply(), &first, &what);
            assert!(reply().starts_with(b"{\"error\":"), "{what}");
        }
    }
}

#[test]
fn of_a_request_of_http_only_the_first_line_is_answered_and_nothing_is_obeyed() {
    let herd = blake();
    // As curl sends it, and a browser that somebody's page has made to; such a page chooses the target.
    for target in [1, 70_000, 200_000].map(|bytes| "/".repeat(bytes)) {
        for (version, line_end, reports) in [
            ("HTTP/1.1", "\r\n", 1),
            ("HTTP/1.1", "\r\n", 2_000),
            ("HTTP/1.0", "\n", 1),
        ] {
            let mut client = herd.client("Blake");
            let first = format!("POST {target} {version}{}", line_end.trim_end_matches('\n'));
            let body = "IAMAT evil +34.0689-118.4451 1\n".repeat(reports);
            let length = body.len();
            let text = format!(
                "{first}\nHost: 127.0.0.1{line_end}Content-Length: {length}{line_end}{line_end}{body}"
            );
            client.send(text.as_bytes());
            let reply = client.rest();
            assert_bytes(&reply, format!("? {first}\n").as_bytes(), "and the end");
        }
    }
    // The same in pieces: what is kept of a long line is its end, however it comes.
    let mut client = herd.client("Blake");
    let target = "/".repeat(2 * LINE_BYTES_MAX);
    client.send(format!("GET {target}").as_bytes());
    let mut copied = vec![0; 2 + LINE_BYTES_MAX];
    client.stream.read_exact(&mut copied).expect("a copy comes");
    for byte in b" HTTP/1.1\r\nIAMAT evil +00+000 1\n" {
        let _ = client.stream.write_all(&[*byte]); // it closes in the middle
    }
    let copy = client.line_bytes().expect("the copy");
    assert!(copy.ends_with(b"/ HTTP/1.1\r"), "{}", shown(&copy));
    assert_eq!(client.line_bytes(), None, "and the end");
    assert_eq!(herd.at("Blake", "evil"), None);
    wait_until("the log says why", || {
        let log = herd.log("Blake");
        let dropped = log.lines().filter(|line| line.contains(" - c"));
        dropped
            .filter(|line| line.contains("an HTTP request"))
            .count()
            == 10
    });
    // A long line that is none.
    let mut client = herd.client("Blake");
    for end in [" HTTP/2.0", "HTTP/1.1", " HTTP/1.1 x", " HTTP/1.12"] {
        let line = format!("GET {target}{end}");
        client.say(&line);
        assert_bytes(
            client.line().as_bytes(),
            format!("? {line}").as_bytes(),
            "the copy",
        );
    }
    client.say(KIWI);
    At::read(&client.line());
}

#[test]
fn a_request_of_http_waits_for_its_answer_behind_a_question() {
    let (twitter, gate) = StubTwitter::gated(|_| Answer::ok("{}"));
    let herd = blake_asking(&twitter);
    let mut client = herd.client("Blake");
    client.send(b"IAMAT a +00+000 1\nWHATSAT a 1 1\nGET / HTTP/1.1\r\nIAMAT evil +00+000 1\n");
    let at = client.line();
    twitter.wait_for_requests(1);
    gate.open();
    let want = format!("{at}\n{{}}\n? GET / HTTP/1.1\r\n");
    assert_bytes(&client.rest(), want.as_bytes(), "and the end");
    assert_eq!(herd.at("Blake", "evil"), None);
}

// ---- chopping and order

#[test]
fn lines_may_come_one_byte_at_a_time() {
    let herd = blake();
    let mut client = herd.client("Blake");
    let text = "IAMAT a +00+000 1\r\nnonsense\n\nIAMAT b +01+001 2\nWHATSAT a 1 0\n";
    for byte in text.as_bytes() {
        client.send(&[*byte]);
    }
    let a = At::read(&client.line());
    assert_eq!(a.client, "a");
    assert_eq!(client.line(), "? nonsense");
    assert_eq!(client.line(), "? ");
    assert_eq!(At::read(&client.line()).client, "b");
    assert_eq!(client.line(), a.line);
}

#[test]
fn ten_thousand_commands_may_come_in_one_write_and_are_answered_in_order() {
    let herd = blake();
    let mut client = herd.client("Blake");
    let mut text = String::new();
    for number in 0..10_000 {
        let _ = match number % 3 {
            0 => writeln!(text, "IAMAT c{number} +00+000 1"),
            1 => writeln!(text, "IAMAT\tc{number}  +00+000\t1\r"),
            _ => writeln!(text, "c{number} is no command"),
        };
    }
    let mut writer = client.stream.try_clone().expect("a second handle");
    let writing = thread::spawn(move || writer.write_all(text.as_bytes()));
    for number in 0..10_000 {
        let reply = client.line();
        if number % 3 == 2 {
            assert_eq!(reply, format!("? c{number} is no command"));
        } else {
            assert_eq!(At::read(&reply).client, format!("c{number}"));
        }
    }
    let written = writing.join().expect("it does not panic");
    written.expect("the server reads all of it");
}

#[test]
fn replies_wait_in_order_behind_a_question_that_waits_for_twitter() {
    let (twitter, gate) = StubTwitter::gated(|request| {
        let geocode = request.parameters("geocode").concat();
        Answer::ok(format!("{{\"at\":\"{geocode}\"}}"))
    });
    let herd = blake_asking(&twitter);
    let mut client = herd.client("Blake");
    client.say("IAMAT a +00+000 1");
    let a = client.line();
    client.send(b"WHATSAT a 1 1\nIAMAT b +00+000 1\nno command\nWHATSAT a 2 1\nWHATSAT b 3 1\nx\n");
    twitter.wait_for_requests(3);
    // What is behind the question is done before it.
    let b = logged_at(&herd, "b");
    assert_nothing_has_come(&client);
    gate.open();
    assert_eq!(client.line(), a, "the first line waits for the second");
    assert_eq!(client.line(), "{\"at\":\"0,0,1km\"}");
    let reply = client.line();
    assert_eq!(reply, b);
    assert_eq!(client.line(), "? no command");
    assert_eq!(client.line(), a);
    assert_eq!(client.line(), "{\"at\":\"0,0,2km\"}");
    assert_eq!(client.line(), reply);
    assert_eq!(client.line(), "{\"at\":\"0,0,3km\"}");
    assert_eq!(client.line(), "? x");
}

/// What one read gives that has room for all, as a client does that reads once and is done.
fn read_once(client: &mut Client) -> String {
    let mut room = vec![0; 1_000_000];
    let count = client.stream.read(&mut room).expect("a reply comes");
    String::from_utf8(room[..count].to_vec()).expect("text")
}

#[test]
fn who_reads_once_after_a_question_has_both_lines() {
    let long = format!("[\"{}\"]", "x".repeat(20_000));
    let body = long.clone();
    let twitter = StubTwitter::start(move |request| {
        let is_long = request.parameters("rpp").concat() == "2";
        Answer::ok(if is_long { &*body } else { "{}" })
    });
    let herd = blake_asking(&twitter);
    let at = herd.ask("Blake", "IAMAT a +00+000 1");
    for (question, json) in [("WHATSAT a 1 1", "{}"), ("WHATSAT a 1 2", &*long)] {
        for _ in 0..20 {
            let mut client = herd.client("Blake");
            client.say(question); // the first goes to Twitter, the others find its answer
            assert!(read_once(&mut client) == format!("{at}\n{json}\n"));
        }
    }
    // What is answered before it is a reply of its own, what is behind it too.
    let mut client = herd.client("Blake");
    client.send(b"x\nWHATSAT a 3 1\ny\n");
    assert_eq!(client.line(), "? x");
    assert_eq!(client.line(), at);
    assert_eq!((client.line(), client.line()), ("{}".into(), "? y".into()));
}

#[test]
fn a_client_that_half_closes_is_sent_all_it_is_owed() {
    let (twitter, gate) = StubTwitter::gated(|_| Answer::ok("{\"results\":[]}"));
    let herd = blake_asking(&twitter);
    // Half-closed in one go, and only once the question waits; with lines behind the question.
    let early = {
        let mut client = herd.client("Blake");
        client.send(b"IAMAT a +00+000 1\nWHATSAT a 1 1\nlast\nWHATSAT a 2 1\n");
        client.end();
        client
    };
    let late = {
        let mut client = herd.client("Blake");
        client.send(b"IAMAT b +00+000 1\nWHATSAT b 3 1\nlast\n");
        twitter.wait_for_requests(3);
        client.end();
        client
    };
    gate.open();
    for (mut client, replies) in [(early, 6), (late, 4)] {
        let rest = String::from_utf8(client.rest()).expect("text");
        let lines: Vec<_> = rest.lines().collect();
        let at = At::read(lines[0]).line;
        let want = [
            &at,
            &at,
            "{\"results\":[]}",
            "? last",
            &at,
            "{\"results\":[]}",
        ];
        assert_eq!(lines, want[..replies], "all of it, then the end");
        assert!(rest.ends_with('\n'), "{rest:?}");
    }
}

#[test]
fn the_end_of_what_a_client_says_ends_its_last_line() {
    let herd = blake();
    let is_at = |name: &'static str| move |reply: &str| At::read(reply).client == name;
    let copied = |reply: &'static str| move |got: &str| got == reply;
    type Expect = Box<dyn Fn(&str) -> bool>;
    let cases: [(&[&str], Vec<Expect>); 9] = [
        (&["IAMAT a +00+000 1"], vec![Box::new(is_at("a"))]),
        (&["IAMAT b +00", "+000 1"], vec![Box::new(is_at("b"))]),
        (&["IAMAT c +00+000 1\r"], vec![Box::new(is_at("c"))]),
        (
            &["x\n", "IAMAT d +00+000 1 "],
            vec![Box::new(copied("? x")), Box::new(is_at("d"))],
        ),
        (
            &["IAMAT kiwi +12-118"],
            vec![Box::new(copied("? IAMAT kiwi +12-118"))],
        ),
        (&["x\r"], vec![Box::new(copied("? x\r"))]),
        (
            &["x\n", "\r"],
            vec![Box::new(copied("? x")), Box::new(copied("? \r"))],
        ),
        (&["x\n"], vec![Box::new(copied("? x"))]),
        (&[], vec![]),
    ];
    for (pieces, replies) in cases {
        let mut client = herd.client("Blake");
        for piece in pieces {
            client.send(piece.as_bytes());
            // Once somebody else has been answered, it has been read by itself.
            assert_eq!(herd.ask("Blake", "WHERE"), "? WHERE");
        }
        client.end();
        let rest = String::from_utf8(client.rest()).expect("text");
        let got: Vec<_> = rest.split_terminator('\n').collect();
        let as_expected =
            got.len() == replies.len() && got.iter().zip(&replies).all(|(got, expect)| expect(got));
        assert!(as_expected, "{pieces:?}: {rest:?}");
        assert!(rest.is_empty() || rest.ends_with('\n'), "{rest:?}");
    }
    // All in one segment, its end included.
    let mut client = herd.client("Blake");
    client.send(b"x\nIAMAT e +00+000 1");
    client.end();
    let rest = String::from_utf8(client.rest()).expect("text");
    let (first, last) = rest.split_once('\n').expect("two lines");
    assert_eq!((first, &*At::read(last.trim_end()).client), ("? x", "e"));
}

#[test]
fn a_last_line_without_lf_waits_its_turn() {
    let (twitter, gate) = StubTwitter::gated(|_| Answer::ok("{}"));
    let herd = blake_asking(&twitter);
    let at = herd.ask("Blake", "IAMAT a +00+000 1");
    // Behind a question that waits, as a question, and behind more of them than a client may ask.
    let mut behind = herd.client("Blake");
    behind.send(b"WHATSAT a 1 1\nlast");
    behind.end();
    let mut question = herd.client("Blake");
    question.send(b"WHATSAT a 1 1");
    question.end();
    let mut paused = herd.client("Blake");
    paused.send("WHATSAT a 1 1\n".repeat(40).as_bytes());
    paused.send(b"last");
    paused.end();
    twitter.wait_for_requests(1);
    assert_eq!(herd.ask("Blake", "WHERE"), "? WHERE");
    gate.open();
    let answer = format!("{at}\n{{}}\n");
    for (mut client, answers, last) in [
        (behind, 1, "? last\n"),
        (question, 1, ""),
        (paused, 40, "? last\n"),
    ] {
        let want = answer.repeat(answers) + last;
        assert_bytes(&client.rest(), want.as_bytes(), "all of it, then the end");
    }
}

#[test]
fn a_last_line_without_lf_is_not_lost_by_a_client_that_reads_late() {
    let herd = blake();
    let mut client = herd.client("Blake");
    let (count, left) = write_until_blocked(&mut client.stream, 96 << 20, numbered_nonsense);
    let mut writer = client.stream.try_clone().expect("a second handle");
    let writing = thread::spawn(move || {
        writer.write_all(&left)?;
        writer.write_all(b"last")?;
        writer.shutdown(Shutdown::Write)
    });
    expect_numbered_nonsense(&mut client, count);
    assert_bytes(&client.rest(), b"? last\n", "the rest");
    let written = writing.join().expect("it does not panic");
    written.expect("the server reads all of it");
}

#[test]
fn a_last_line_without_lf_may_be_as_long_as_any() {
    let herd = blake();
    for length in [
        LINE_BYTES_MAX - 1,
        LINE_BYTES_MAX,
        LINE_BYTES_MAX + 1,
        1 << 20,
    ] {
        let mut client = herd.client("Blake");
        let line = noise(length);
        client.send(&line);
        client.end();
        let want = [b"? ", &line[..], b"\n"].concat();
        assert_bytes(&client.rest(), &want, "the copy");
    }
    let padded = format!("{KIWI}{}", " ".repeat(LINE_BYTES_MAX - KIWI.len()));
    let mut client = herd.client("Blake");
    client.send(padded.as_bytes());
    client.end();
    let at = At::read(&client.line());
    assert_eq!(at.client, "kiwi.cs.ucla.edu");
    // In the log it has its end too.
    wait_until("the lengths are logged", || {
        let log = herd.log("Blake");
        let length = format!("{} bytes", 1 << 20);
        log.contains(&length) && log.contains(&format!("{} bytes", (1 << 20) + 2))
    });
}

#[test]
fn what_a_client_said_last_before_a_reset_is_discarded_unless_it_had_ended_it() {
    if !promised(&WORD_OF_RESETS) {
        return;
    }
    let herd = blake();
    let dropped = || {
        let log = herd.log("Blake");
        let is_drop = |line: &&str| line.split(' ').nth(1) == Some("-");
        log.lines().filter(is_drop).count()
    };
    for (name, said_before, ends) in [
        ("a", "", false),
        ("b", "no command\n", false),
        ("c", "no command\n", true),
    ] {
        let mut client = herd.client("Blake");
        client.send(format!("{said_before}IAMAT {name} +00+000 1").as_bytes());
        if !said_before.is_empty() {
            client.stream.peek(&mut [0]).expect("a reply comes");
        }
        let before = dropped();
        if ends {
            client.end();
        }
        sockopt::set_socket_linger(&client.stream, Some(Duration::ZERO)).expect("it is a socket");
        drop(client);
        wait_until("it is logged as dropped", || dropped() > before);
        assert_eq!(herd.at("Blake", name).is_some(), ends, "{name}");
    }
}

// ---- long lines, bounded memory

#[test]
fn a_line_of_65536_bytes_may_be_a_command_and_a_longer_one_is_copied() {
    let herd = blake();
    let mut client = herd.client("Blake");
    let command = |bytes: usize, end: &str| {
        let rest = "IAMAT  +27.5916+086.5640 1353118103.108893381".len() + end.len();
        let id = "k".repeat(bytes - rest);
        format!("IAMAT {id} +27.5916+086.5640 1353118103.108893381{end}")
    };
    for end in ["", "\r"] {
        let longest = command(LINE_BYTES_MAX, end);
        assert_eq!(longest.len(), LINE_BYTES_MAX);
        client.say(&longest);
        let at = client.line();
        let tail = longest
            .trim_end()
            .strip_prefix("IAMAT")
            .expect("it begins so");
        let whole = at.starts_with("AT Blake +") && at.ends_with(tail);
        assert!(whole, "the whole AT line: {}", shown(at.as_bytes()));
        let id = longest.split(' ').nth(1).expect("a client-id");
        client.say(&format!("WHATSAT {id} 1 0"));
        assert_bytes(client.line().as_bytes(), at.as_bytes(), "the stored line");
        client.line();
        for line in [
            command(LINE_BYTES_MAX + 1, end),
            command(3 * LINE_BYTES_MAX, end),
            "n".repeat(LINE_BYTES_MAX),
            "n".repeat(LINE_BYTES_MAX + 1),
        ] {
            client.say(&line);
            let reply = client.line();
            let want = format!("? {line}");
            assert_bytes(reply.as_bytes(), want.as_bytes(), "the copy");
        }
    }
    client.say("IAMAT k +00+000 1");
    assert_eq!(At::read(&client.line()).client, "k", "after all this");
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

/// Reads exactly `want`, in pieces; `watch` is called now and then.
fn expect_stream(stream: &mut TcpStream, want: &[u8], mut watch: impl FnMut()) {
    let mut bytes = vec![0; 1 << 20];
    for piece in want.chunks(bytes.len()) {
        let got = &mut bytes[..piece.len()];
        stream.read_exact(got).expect("the reply goes on");
        assert_bytes(got, piece, "a piece of the reply");
        watch();
    }
}

#[test]
fn a_line_of_64_mib_is_copied_back_whole_in_bounded_memory() {
    let mut herd = blake();
    let mut client = herd.client("Blake");
    client.say(KIWI);
    let at = client.line();
    let before = herd.process("Blake").resident_bytes();
    let line = noise((64 << 20) + 12_345);
    let mut writer = client.stream.try_clone().expect("a second handle");
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2 {
                writer.write_all(&line).expect("the server reads on");
                writer.write_all(b"\n").expect("the server reads on");
            }
            let last = b"WHATSAT kiwi.cs.ucla.edu 1 1\n";
            writer.write_all(last).expect("the server reads on");
        });
        for _ in 0..2 {
            let mut most = 0;
            let process = herd.process("Blake");
            expect_stream(&mut client.stream, b"? ", || ());
            expect_stream(&mut client.stream, &line, || {
                most = most.max(process.resident_bytes());
            });
            expect_stream(&mut client.stream, b"\n", || ());
            assert!(
                most < before + MEMORY_BYTES,
                "{most} bytes of memory, {before} before"
            );
        }
        assert_eq!(client.line(), at, "a command after it is one again");
    });
    let log = herd.settled_log("Blake");
    assert!(log.len() < 1 << 20, "{} bytes of log", log.len());
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

fn expect_numbered(client: &mut Client, count: usize) {
    for number in 0..count {
        let reply = client.line();
        let tail = numbered(number);
        let tail = tail.trim_end().strip_prefix("IAMAT").expect("it begins so");
        let whole = reply.starts_with("AT Blake +") && reply.ends_with(tail);
        assert!(whole, "reply {number}: {}", shown(reply.as_bytes()));
    }
}

#[test]
fn a_client_that_never_reads_is_not_read_from_for_ever_and_loses_nothing() {
    let mut herd = blake();
    let mut client = herd.client("Blake");
    let before = herd.process("Blake").resident_bytes();
    let (count, left) = write_until_blocked(&mut client.stream, 96 << 20, numbered);
    let held = herd.process("Blake").resident_bytes();
    // The table has the locations, of course; the replies must not be there as well.
    let table = 2 * (count * numbered(0).len()) as u64;
    assert!(
        held < before + table + MEMORY_BYTES,
        "{held} bytes of memory, {before} before, {count} lines"
    );
    let asked = Instant::now();
    assert!(herd.ask("Blake", KIWI).starts_with("AT Blake +"));
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(5), "others waited for {took:?}");
    let mut writer = client.stream.try_clone().expect("a second handle");
    let writing = thread::spawn(move || {
        let written = writer.write_all(&left);
        written.and_then(|()| writer.shutdown(Shutdown::Write))
    });
    expect_numbered(&mut client, count);
    let written = writing.join().expect("it does not panic");
    written.expect("the server reads the rest");
    client.expect_end();
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

#[test]
fn what_is_kept_back_behind_a_question_is_bounded_and_nothing_of_it_is_lost() {
    type Text = fn(usize) -> String;
    type Expect = fn(&mut Client, usize);
    // Tens of thousands of short lines leave a collector more to find.
    let kinds: [(Text, Expect, u64); 2] = [
        (numbered, expect_numbered, 8 << 20),
        (numbered_nonsense, expect_numbered_nonsense, MEMORY_BYTES),
    ];
    for (text, expect, most) in kinds {
        let (twitter, gate) = StubTwitter::gated(|_| Answer::ok("{}"));
        let mut herd = blake_asking(&twitter);
        let mut client = herd.client("Blake");
        client.say("IAMAT a +00+000 1");
        let at = client.line();
        let before = herd.process("Blake").resident_bytes();
        client.say("WHATSAT a 1 1");
        twitter.wait_for_requests(1);
        let logged = herd.settled_log("Blake").len();
        let (count, left) = write_until_blocked(&mut client.stream, 64 << 20, text);
        let during = herd.process("Blake").resident_bytes();
        assert!(
            during < before + most,
            "{during} bytes of memory, {before} before"
        );
        // The replies that it has made: more than would be if it waited, and no more than may be.
        let log = herd.settled_log("Blake");
        let replies = log[logged..]
            .lines()
            .filter_map(|line| line.split_once(" > c1 "));
        let kept: usize = replies.map(|(_, reply)| reply.len() + 1).sum();
        let range = OUTPUT_BYTES_MAX / 2..OUTPUT_BYTES_MAX + 2 * LINE_BYTES_MAX;
        assert!(range.contains(&kept), "{kept} bytes of replies are owed");
        gate.open();
        assert_eq!(client.line(), at);
        assert_eq!(client.line(), "{}");
        let mut writer = client.stream.try_clone().expect("a second handle");
        let writing = thread::spawn(move || writer.write_all(&left));
        expect(&mut client, count);
        let written = writing.join().expect("it does not panic");
        written.expect("the server reads the rest");
    }
}

#[test]
fn the_copy_of_a_long_line_waits_behind_a_question_too() {
    let (twitter, gate) = StubTwitter::gated(|_| Answer::ok("{}"));
    let herd = blake_asking(&twitter);
    let mut client = herd.client("Blake");
    client.send(b"IAMAT a +00+000 1\nWHATSAT a 1 1\n");
    let at = client.line();
    let line = noise((2 << 20) + 12_345); // more than may be kept
    let mut writer = client.stream.try_clone().expect("a second handle");
    thread::scope(|scope| {
        scope.spawn(|| {
            writer.write_all(&line).expect("the server reads on");
            let last = b"\nWHATSAT a 2 1\n";
            writer.write_all(last).expect("the server reads on");
        });
        wait_until("the copy has begun", || {
            herd.log("Blake").contains(" > c1 ? ")
        });
        gate.open();
        assert_eq!(client.line(), at);
        assert_eq!(client.line(), "{}");
        let copy = client.line_bytes().expect("the copy");
        assert_bytes(&copy, &[b"? ", &line[..]].concat(), "the copy");
        assert_eq!(client.line(), at);
        assert_eq!(client.line(), "{}");
    });
}

// ---- many clients, and those that vanish

#[test]
fn clients_that_vanish_harm_nobody() {
    let (twitter, gate) = StubTwitter::gated(|_| Answer::ok("{}"));
    let mut herd = blake_asking(&twitter);
    let mut witness = herd.client("Blake");
    witness.say("IAMAT a +00+000 1");
    let at = witness.line();
    for round in 0..20 {
        // With unread replies in its buffer, a socket that is closed resets the connection.
        let mut client = herd.client("Blake");
        match round % 4 {
            0 => client.say("IAMAT b +00+000 1"),
            1 => client.send(b"no command\nIAMAT half"),
            2 => client.send(&[b'x'; 3 * LINE_BYTES_MAX]),
            _ => client.send(b"no command\nWHATSAT a 7 1\n"),
        }
        let arrived = client.stream.peek(&mut [0]).expect("a reply comes");
        assert_eq!(arrived, 1);
        drop(client);
    }
    wait_until("the log has all of them dropped", || {
        let log = herd.log("Blake");
        let dropped = log
            .lines()
            .filter(|line| line.split(' ').nth(1) == Some("-"));
        dropped.count() == 20
    });
    witness.say("WHATSAT a 7 1");
    gate.open();
    assert_eq!(witness.line(), at);
    assert_eq!(witness.line(), "{}");
    assert!(herd.process("Blake").is_running());
}

#[test]
fn a_thousand_clients_at_once_are_served() {
    let limit = getrlimit(Resource::Nofile);
    let raised = limit.maximum.map_or(8192, |most| most.min(8192));
    if limit.current.is_some_and(|current| current < raised) {
        let current = Some(raised);
        let maximum = limit.maximum;
        setrlimit(Resource::Nofile, Rlimit { current, maximum }).expect("it is allowed");
    }
    let herd = blake();
    let mut clients: Vec<_> = (0..1000).map(|_| herd.client("Blake")).collect();
    for round in 0..2 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.say(&format!("IAMAT c{number} +00+000 {round}"));
        }
        for (number, client) in clients.iter_mut().enumerate().rev() {
            let at = At::read(&client.line());
            assert_eq!(at.client, format!("c{number}"));
        }
    }
    for client in &mut clients {
        client.end();
    }
    for client in &mut clients {
        client.expect_end();
    }
}

// ---- the most recent location

#[test]
fn an_older_report_is_answered_as_usual_and_changes_nothing() {
    let herd = blake();
    let mut client = herd.client("Blake");
    let mut report = |location: &str, time: &str| {
        client.say(&format!("IAMAT k {location} {time}"));
        let at = At::read(&client.line());
        assert_eq!((&*at.location, &*at.time), (location, time));
        at.line
    };
    let at = report("+10+010", "1000000000.5");
    report("+20+020", "1000000000.499999999");
    report("+90+180", "0");
    assert_eq!(herd.at("Blake", "k"), Some(at));
    let newer = report("-90-180", "1000000000.500000001");
    assert_eq!(herd.at("Blake", "k"), Some(newer));
}

#[test]
fn a_clock_set_in_the_future_does_not_freeze_a_client() {
    let herd = blake();
    let future = herd.ask("Blake", "IAMAT k +10+010 4102444800");
    let farther = herd.ask("Blake", "IAMAT k +20+020 999999999999999999");
    assert!(At::read(&future).difference.starts_with('-'), "{future}");
    assert_eq!(
        herd.at("Blake", "k").as_deref(),
        Some(&*farther),
        "both count when they were received, so the second wins"
    );
    let now = format!("IAMAT k -30-030 {}", time_text(clock()));
    let now = herd.ask("Blake", &now);
    assert_eq!(herd.at("Blake", "k"), Some(now), "the clock was put right");
    herd.ask("Blake", "IAMAT k +10+010 1353118103");
    let again = herd.ask("Blake", "IAMAT k +10+010 4102444800.1");
    assert_eq!(herd.at("Blake", "k"), Some(again));
}

#[test]
fn of_reports_with_one_time_the_later_received_wins_then_the_greater_location_then_digits() {
    let herd = blake();
    // Received apart: the later one wins, though its location and its digits are smaller.
    herd.ask("Blake", "IAMAT apart +20+020 100.00");
    let later = herd.ask("Blake", "IAMAT apart +10+010 100");
    assert_eq!(herd.at("Blake", "apart"), Some(later));
    // Received in one piece they have, as a rule, one time of receipt. The rule is the same.
    let locations = ["+10+010", "+20+020", "-20-020", "+10+010/", "+10.0+010"];
    let far = time_text(clock() + 3_600_000_000_000);
    let times = [
        "100",
        "100.0",
        "100.00",
        "99.999999999",
        &far,
        "100.000000000",
    ];
    let mut client = herd.client("Blake");
    for round in 0..40 {
        let mut batch = String::new();
        let times = if round % 4 == 0 {
            &times[..]
        } else {
            &times[..3]
        };
        for step in 0..8 {
            let location = locations[(round * 7 + step * 3 + round / 5) % locations.len()];
            let time = times[(round + step * 5 + round / 6) % times.len()];
            let _ = writeln!(batch, "IAMAT k{round} {location} {time}");
        }
        let _ = writeln!(batch, "WHATSAT k{round} 1 0");
        client.send(batch.as_bytes());
        let reports: Vec<_> = (0..8).map(|_| At::read(&client.line())).collect();
        let got = client.line();
        client.line();
        let mut best = &reports[0];
        for report in &reports {
            if report.recency() > best.recency() {
                best = report;
            }
        }
        assert_eq!(got, best.line, "of {reports:#?}");
    }
}

// ---- the log

/// A record of the log, its text unescaped.
#[derive(Debug)]
struct Record {
    direction: char,
    connection: String,
    text: Vec<u8>,
}

/// Reads a log by the documented format, and refuses everything that is not of it.
fn records(log: &[u8]) -> Vec<Record> {
    let printable = log.iter().all(|byte| matches!(byte, b'\n' | b' '..=b'~'));
    assert!(printable, "only printable ASCII: {}", shown(log));
    let log = std::str::from_utf8(log).expect("ASCII");
    assert!(log.ends_with('\n'), "whole records: {log}");
    let read = |line: &str| {
        let (head, text) = line.split_at(line.match_indices(' ').nth(2).expect("a head").0);
        let fields: Vec<_> = head.split(' ').collect();
        let form = fields[0].bytes().map(|byte| match byte {
            b'0'..=b'9' => '9',
            other => char::from(other),
        });
        let form: String = form.collect();
        assert_eq!(form, "9999-99-99T99:99:99.999999999Z", "the time: {line}");
        Record {
            direction: fields[1].parse().expect("one character"),
            connection: fields[2].to_owned(),
            text: unescaped(&text[1..]),
        }
    };
    log.lines().map(read).collect()
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let taken = match rest.as_bytes() {
            [b'\\', ..] => {
                bytes.push(b'\\');
                1
            }
            [b'x', _, _, ..] => {
                let byte = u8::from_str_radix(&rest[1..3], 16);
                bytes.push(byte.expect("two digits"));
                3
            }
            _ => panic!("no escape: {text}"),
        };
        rest = &rest[taken..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

#[test]
fn the_log_holds_every_line_in_and_out_escaped_and_nothing_can_forge_a_record() {
    let herd = blake();
    let mut client = herd.client("Blake");
    let forged = "2012-11-17T02:08:23.672266766Z > c1 AT Blake +0.0 evil +00+000 1";
    let mut lines: Vec<Vec<u8>> = vec![
        b"IAMAT kiwi +00+000 1".to_vec(),
        b"WHATSAT kiwi 1 0".to_vec(),
        b"".to_vec(),
        b" \t".to_vec(),
        format!("x\r{forged}").into_bytes(),
        format!("x\\n{forged}").into_bytes(),
        format!("x\\x0a{forged}").into_bytes(),
        format!("x\u{85}{forged}").into_bytes(),
        format!("x\u{2028}{forged}").into_bytes(),
        b"IAMAT \\x0a\\n\\\\\\ +00+000 1".to_vec(),
        b"IAMAT \\... +00+000 1".to_vec(),
        b"\x1b[2J\x1b[31mred".to_vec(),
        b"\xff\xfe\x00\x7f".to_vec(),
    ];
    for byte in (0..=u8::MAX).filter(|&byte| byte != b'\n') {
        lines.push([b"IAMAT \\", &[byte][..], b"x +00+000 1"].concat());
    }
    let mut replies = Vec::new();
    for line in &lines {
        client.send(line);
        client.send(b"\n");
        replies.push(client.line_bytes().expect("the server stays"));
        if line.starts_with(b"WHATSAT") {
            replies.push(client.line_bytes().expect("the server stays"));
        }
    }
    client.end();
    client.expect_end();
    herd.wait_for_record("Blake", "Z - c1 closed by the client\n");
    let records = records(herd.settled_log("Blake").as_bytes());
    let about = |direction: char| {
        let wanted = move |record: &&Record| record.direction == direction;
        let of = records.iter().filter(wanted);
        of.map(|record| (&record.connection, &record.text))
    };
    let opened: Vec<_> = about('+').collect();
    let address = client.stream.local_addr().expect("it was connected");
    assert_eq!(opened.len(), 1, "{opened:?}");
    let (name, text) = opened[0];
    assert_eq!(text, address.to_string().as_bytes());
    assert_eq!(about('-').count(), 1);
    for (direction, want) in [('<', &lines), ('>', &replies)] {
        let got: Vec<_> = about(direction).collect();
        assert_eq!(got.len(), want.len(), "records {direction}: {got:?}");
        for ((connection, got), want) in got.into_iter().zip(want) {
            assert_bytes(got, want, &format!("a record {direction}"));
            assert_eq!(connection, name);
        }
    }
}

#[test]
fn of_a_line_over_64_kib_the_log_has_the_beginning_and_the_length() {
    let herd = blake();
    let mut client = herd.client("Blake");
    for (bytes, byte) in [(LINE_BYTES_MAX + 1, "a"), (1_000_003, "b")] {
        client.say(&byte.repeat(bytes));
        client.line();
        let log = herd.settled_log("Blake");
        for (direction, length, beginning) in [
            ('<', bytes, byte.repeat(100)),
            ('>', bytes + 2, format!("? {}", byte.repeat(98))),
        ] {
            let begins = format!(" {direction} c1 {beginning}");
            let told = format!("{length} bytes");
            let records = || {
                let side = format!(" {direction} c1 ");
                log.lines().filter(move |line| line.contains(&side))
            };
            assert!(records().any(|line| line.contains(&begins)), "{begins}");
            assert!(records().any(|line| line.ends_with(&told)), "{told}: {log}");
        }
        let most = log.lines().map(str::len).max();
        assert!(most < Some(8 * 1024), "a record of {most:?} bytes");
    }
}

#[test]
fn the_log_says_why_a_line_is_invalid() {
    if !promised(&WORD_OF_MISTAKES) {
        return;
    }
    let herd = blake();
    let (mut client, mut other) = (herd.client("Blake"), herd.client("Blake"));
    let long = "x".repeat(LINE_BYTES_MAX + 1);
    // The first is what phones print as {lat:+.6f}{lon:+.6f}.
    let lines = [
        "IAMAT u -52.089440-16.393853 1",
        "IAMAT u -52.089440-016.393853 1e9",
        "WHATSAT stranger 1 1",
        "WHATSAT u 1 1000",
        "WHERE is u",
        "",
        &long,
    ];
    for line in lines {
        client.say(line);
        assert_bytes(
            client.line().as_bytes(),
            format!("? {line}").as_bytes(),
            "the copy",
        );
        client.say(KIWI);
        At::read(&client.line());
        other.say(KIWI);
        At::read(&other.line());
    }
    client.end();
    client.expect_end();
    let port = client.stream.local_addr().expect("it was connected").port();
    let opened = format!("127.0.0.1:{port}");
    let mut log = String::new();
    wait_until("the log has all of it", || {
        log = herd.log("Blake");
        log.lines().any(|line| line.contains(" - c"))
    });
    let record = log.lines().find(|line| line.ends_with(&opened));
    let label = record.and_then(|line| line.split(' ').nth(2)).expect(&log);
    let reasons: Vec<_> = log
        .lines()
        .filter_map(|line| line.split_once(" * "))
        .filter_map(|(_, note)| note.strip_prefix(label)?.strip_prefix(" invalid: "))
        .collect();
    assert_eq!(
        reasons.len(),
        lines.len(),
        "one for each, of its connection: {log:.9000}"
    );
    for (index, reason) in reasons.iter().enumerate() {
        assert!(
            reason.len() > 5 && !reasons[..index].contains(reason),
            "{reasons:?}"
        );
    }
    assert_eq!(
        log.matches(" invalid: ").count(),
        lines.len(),
        "and of no other: {log:.9000}"
    );
}

// ---- the way out

#[test]
fn sigterm_and_sigint_end_a_server_that_owes_nothing_at_once_with_status_0() {
    for signal in [Signal::TERM, Signal::INT] {
        for what in ["no client", "a client that closes too", "one that does not"] {
            let mut herd = blake();
            let mut client = herd.client("Blake");
            client.say(KIWI);
            client.line();
            if what == "no client" {
                client.end();
                client.expect_end();
            }
            let told = Instant::now();
            herd.process("Blake").signal(signal);
            client.expect_end();
            let kept = (what == "one that does not").then_some(client);
            let status = herd.process("Blake").wait();
            let took = told.elapsed();
            drop(kept);
            assert_eq!(status.code(), Some(0), "{signal:?}, {what}: {status}");
            let most = Duration::from_secs(4);
            assert!(took < most, "{signal:?}, {what}: it took {took:?}");
        }
    }
}

#[test]
fn a_server_with_neighbours_stops_at_once_too() {
    let mut herd = Herd::started(&[("Blake", &["Bryant"]), ("Bryant", &[])]);
    for name in ["Blake", "Bryant"] {
        let told = Instant::now();
        herd.process(name).signal(Signal::TERM);
        let status = herd.process(name).wait();
        let took = told.elapsed();
        assert_eq!(status.code(), Some(0), "{name}: {status}");
        assert!(took < Duration::from_secs(4), "{name}: it took {took:?}");
    }
}

#[test]
fn replies_under_way_still_leave_when_the_server_is_told_to_stop() {
    for signal in [Signal::TERM, Signal::INT] {
        let (twitter, gate) = StubTwitter::gated(|_| Answer::ok("{\"late\":1}"));
        let mut herd = blake_asking(&twitter);
        let mut client = herd.client("Blake");
        client.send(b"IAMAT a +00+000 1\nWHATSAT a 1 1\n");
        let at = client.line();
        twitter.wait_for_requests(1);
        herd.process("Blake").signal(signal);
        let address = herd.member("Blake").clients;
        wait_until("it listens no longer", || {
            TcpStream::connect(address).is_err()
        });
        gate.open();
        assert_eq!(client.line(), at, "{signal:?}");
        assert_eq!(client.line(), "{\"late\":1}", "{signal:?}");
        client.expect_end();
        let status = herd.process("Blake").wait();
        assert_eq!(status.code(), Some(0), "{signal:?}: {status}");
    }
}

#[test]
fn replies_that_a_slow_client_has_not_taken_yet_leave_whole_when_the_server_stops() {
    let mut herd = blake();
    let mut client = herd.client("Blake");
    write_until_blocked(&mut client.stream, 96 << 20, numbered);
    herd.process("Blake").signal(Signal::TERM);
    let address = herd.member("Blake").clients;
    wait_until("it listens no longer", || {
        TcpStream::connect(address).is_err()
    });
    let mut count = 0;
    loop {
        match client.line_bytes() {
            None => break,
            Some(reply) => {
                let tail = numbered(count);
                let tail = tail.trim_end().strip_prefix("IAMAT").expect("it begins so");
                let whole = reply.starts_with(b"AT Blake +") && reply.ends_with(tail.as_bytes());
                assert!(whole, "reply {count}: {}", shown(&reply));
                count += 1;
            }
        }
    }
    let status = herd.process("Blake").wait();
    assert_eq!(status.code(), Some(0), "{status}");
    let log = herd.log("Blake");
    let logged = log
        .lines()
        .filter(|line| line.contains(" > c1 AT "))
        .count();
    assert_eq!(count, logged, "what was taken in was answered");
}

#[test]
fn a_twitter_that_hangs_holds_a_stopping_server_for_five_seconds_at_most() {
    let twitter = StubTwitter::start(|_| Answer::Never);
    let mut herd = blake_asking(&twitter);
    let mut client = herd.client("Blake");
    client.send(b"IAMAT a +00+000 1\nWHATSAT a 1 1\nbehind it\nWHATSAT a 2 1\nIAMAT b +00+000 1\n");
    let at = client.line();
    twitter.wait_for_requests(2);
    logged_at(&herd, "b"); // so all of it has been handled
    let told = Instant::now();
    herd.process("Blake").signal(Signal::TERM);
    let stops = "{\"error\":\"the server stops\"}";
    assert_eq!(client.line(), at);
    assert_eq!(client.line(), stops);
    assert_eq!(client.line(), "? behind it");
    assert_eq!(client.line(), at);
    assert_eq!(client.line(), stops);
    assert_eq!(At::read(&client.line()).client, "b");
    client.expect_end();
    let status = herd.process("Blake").wait();
    let took = told.elapsed();
    assert_eq!(status.code(), Some(0), "{status}");
    let range = Duration::from_secs(4)..Duration::from_secs(9);
    assert!(range.contains(&took), "it took {took:?}");
}

// ---- the command line

/// Runs the server under test; what is not about `serve` is herd's alone.
fn run(arguments: &[&str], directory: &Path) -> Output {
    let program = match arguments.first() {
        Some(&"serve") => ServerCommand::under_test(),
        _ => ServerCommand::herd(),
    };
    let mut child = program
        .command()
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    let until = Instant::now() + PATIENCE;
    while child.try_wait().expect("it is our child").is_none() {
        if Instant::now() > until {
            let _ = child.kill();
            let _ = child.wait();
            panic!("herd {arguments:?} does not end");
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("it has ended")
}

/// Expects one line on standard error with all `words`, nothing on standard output, status 2.
fn assert_refused(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "one line: {said}");
    assert!(said.ends_with('\n'), "{said:?}");
    for word in words {
        assert!(said.contains(word), "no {word:?} in {said:?}");
    }
    assert!(output.stdout.is_empty(), "{:?}", output.stdout);
}

#[test]
fn a_bad_topology_is_refused_with_file_and_line() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("herd.txt");
    for (text, line, words) in [
        ("Blake", 1, "Blake"),
        ("# herd\n\nBlake 127.0.0.1:1", 3, "Blake"),
        ("Blake 127.0.0.1:1 127.0.0.1:2 Howard", 1, "Howard"),
        ("Blake 127.0.0.1:1 127.0.0.1:2 Blake", 1, "neighbour"),
        (
            "Blake 127.0.0.1:1 127.0.0.1:2\nBlake 127.0.0.1:3 127.0.0.1:4",
            2,
            "Blake",
        ),
        (
            "Blake 127.0.0.1:1 127.0.0.1:2\nHoward 127.0.0.1:3 127.0.0.1:1",
            2,
            "127.0.0.1:1",
        ),
        ("Blake 127.0.0.1:1 127.0.0.1:1", 1, "127.0.0.1:1"),
        ("Blake 127.0.0.1 127.0.0.1:2", 1, "127.0.0.1"),
        ("Blake 127.0.0.1:0 127.0.0.1:2", 1, "127.0.0.1:0"),
        ("Blake 127.0.0.1:65536 127.0.0.1:2", 1, "65536"),
        ("Blake Bryant 127.0.0.1:1 127.0.0.1:2", 1, "Bryant"),
        ("Bl.ake 127.0.0.1:1 127.0.0.1:2", 1, "Bl.ake"),
    ] {
        fs::write(&file, text).expect("the directory is ours");
        let output = run(
            &["serve", "Blake", "--topology", "herd.txt"],
            directory.path(),
        );
        assert_refused(&output, &[&format!("herd.txt:{line}: "), words]);
    }
    fs::write(&file, "# nobody yet\n").expect("the directory is ours");
    let output = run(
        &["serve", "Blake", "--topology", "herd.txt"],
        directory.path(),
    );
    assert_refused(&output, &["herd.txt names no server"]);
    fs::write(&file, b"\n\xff\xfe\n").expect("the directory is ours");
    let output = run(
        &["serve", "Blake", "--topology", "herd.txt"],
        directory.path(),
    );
    assert_refused(&output, &["herd.txt:2: "]);
    assert!(
        !directory.path().join("logs").exists() && !directory.path().join("data").exists(),
        "a server that does not start leaves nothing behind"
    );
}

#[test]
fn a_missing_file_and_an_unknown_name_are_refused_in_one_line() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let [first, second] = free_addresses(2)[..] else {
        panic!("two were wanted");
    };
    let topology = directory.path().join("topology.txt");
    fs::write(&topology, format!("Blake {first} {second}\n")).expect("the directory is ours");
    for (arguments, words) in [
        (
            &["serve", "Blake", "--topology", "nowhere.txt"][..],
            "nowhere.txt",
        ),
        (&["serve", "Blake", "--topology", "."], "."),
        (&["serve", "Howard"], "Howard"),
        (&["serve", "blake"], "blake"),
        (&["serve", ""], "topology.txt"),
        (&["serve", "Bla\nke"], "topology.txt"),
    ] {
        assert_refused(&run(arguments, directory.path()), &[words]);
    }
}

#[test]
fn an_address_or_a_journal_in_use_is_refused_in_one_line() {
    let mut herd = blake();
    let clients = herd.member("Blake").clients.to_string();
    let directory = herd.directory.path().to_owned();
    // The whole server twice; then only its client address, its server address, its journal.
    let again = run(&["serve", "Blake"], &directory);
    assert_refused(&again, &[&clients]);
    let [free, other] = free_addresses(2)[..] else {
        panic!("two were wanted");
    };
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let taken = taken.local_addr().map(|address| (taken, address));
    let (_taken, taken) = taken.expect("it is bound");
    let files = (
        "Blake",
        format!("Blake {free} {other}\n"),
        "data/Blake: another process uses it".to_owned(),
    );
    let files = promised(&ONE_PROCESS).then_some(files);
    let addresses = [
        ("One", format!("One {taken} {free}\n"), taken.to_string()),
        ("One", format!("One {free} {taken}\n"), taken.to_string()),
    ];
    for (name, topology, word) in addresses.into_iter().chain(files) {
        fs::write(directory.join("other.txt"), topology).expect("the directory is ours");
        let output = run(&["serve", name, "--topology", "other.txt"], &directory);
        assert_refused(&output, &[&word]);
    }
    let output = run(&["twitter", "--listen", &taken.to_string()], &directory);
    assert_refused(&output, &[&taken.to_string()]);
    assert!(
        herd.process("Blake").is_running(),
        "the first one serves on"
    );
    assert!(herd.ask("Blake", KIWI).starts_with("AT Blake +"));
}

#[test]
fn an_address_is_free_again_as_soon_as_its_server_has_stopped() {
    let mut herd = blake();
    for signal in [Signal::TERM, Signal::KILL] {
        let mut client = herd.client("Blake");
        client.say(KIWI);
        client.line();
        herd.process("Blake").signal(signal);
        herd.process("Blake").wait();
        herd.start("Blake");
    }
    assert!(herd.ask("Blake", KIWI).starts_with("AT Blake +"));
}

#[test]
fn help_and_version_say_what_there_is() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let version = concat!("herd ", env!("CARGO_PKG_VERSION"), "\n");
    for (arguments, words) in [
        (&["--version"][..], &[version][..]),
        (&["--help"], &["serve", "twitter", "Usage: herd"]),
        (
            &["serve", "--help"],
            &[
                "--topology",
                "--data-dir",
                "--log-dir",
                "--twitter-url",
                "topology.txt",
            ],
        ),
        (&["twitter", "--help"], &["--listen", "127.0.0.1:12599"]),
    ] {
        let output = run(arguments, directory.path());
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}: {output:?}");
        for word in words {
            assert!(said.contains(word), "{arguments:?}, no {word:?}: {said}");
        }
    }
    for arguments in [&[][..], &["serve"], &["herd"], &["serve", "a", "--nope"]] {
        let output = run(arguments, directory.path());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}: it says why");
    }
}

#[test]
fn every_connection_that_was_opened_is_dropped_in_the_log_of_a_server_that_stopped() {
    for clients in [1, 3] {
        let mut herd = blake();
        let clients: Vec<_> = (0..clients).map(|_| herd.client("Blake")).collect();
        let count = clients.len();
        wait_until("all are in the log", || {
            herd.log("Blake").matches(" + c").count() >= count
        });
        herd.process("Blake").signal(Signal::TERM);
        for mut client in clients {
            client.expect_end();
        }
        herd.process("Blake").wait();
        let log = herd.log("Blake");
        let (opened, dropped) = (log.matches(" + c").count(), log.matches(" - c").count());
        assert_eq!(opened, dropped, "{log}");
    }
}

#[test]
fn what_a_client_had_said_before_it_vanished_is_taken_in() {
    let herd = blake();
    let mut client = herd.client("Blake");
    client.say("IAMAT first +00+000 1");
    let line = |n| format!("IAMAT c{n} +00+000 1\n");
    let lines: String = (0..2_000).map(line).collect();
    client.send(lines.as_bytes());
    drop(client); // with replies unread: the kernel resets the connection
    wait_until("the last line was handled", || {
        herd.at("Blake", "c1999").is_some()
    });
}
