//! Lines in any pieces, and replies in order.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use rustix::net::sockopt;

use crate::stub_twitter::{Answer, StubTwitter};
use crate::support::reference::{WORD_OF_RESETS, promised};
use crate::support::{Client, wait_until};
use crate::{
    At, KIWI, LINE_BYTES_MAX, assert_bytes, blake, blake_asking, expect_numbered_nonsense,
    logged_at, noise, numbered_nonsense, write_until_blocked,
};

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
