//! Long lines, clients that do not read, many clients: all in bounded memory.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::stub_twitter::{Answer, StubTwitter};
use crate::support::{Client, raise_descriptors, wait_until};
use crate::{
    At, KIWI, LINE_BYTES_MAX, assert_bytes, blake, blake_asking, expect_numbered_nonsense, noise,
    numbered, numbered_nonsense, shown, write_until_blocked,
};

/// So much may be owed to a client before no more of its lines are handled.
const OUTPUT_BYTES_MAX: usize = 256 << 10;

/// So much more memory than before a server may take for clients that behave badly.
const MEMORY_BYTES: u64 = 40 << 20;

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
    raise_descriptors(2_000);
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
