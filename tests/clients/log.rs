//! What the log says of clients.

use rustix::process::Signal;

use crate::support::reference::{WORD_OF_MISTAKES, promised};
use crate::support::wait_until;
use crate::{At, KIWI, LINE_BYTES_MAX, assert_bytes, assert_copied, blake, shown};

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
        assert_copied(&mut client, line);
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
