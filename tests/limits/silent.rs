//! Clients that say nothing, or not all of a line.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::SendFlags;

use crate::stub_twitter::{Answer, StubTwitter};
use crate::support::{Herd, wait_until};
use crate::{ALONE, PAIR, alone_with, logged, logged_by_now, narrow_client};

/// Waits until the server has closed the connection, and gives what it said before.
fn end_of(mut stream: TcpStream) -> String {
    let mut said = String::new();
    stream
        .read_to_string(&mut said)
        .expect("it closes in time, and does not reset");
    said
}

// ---- silent clients

#[test]
fn a_silent_client_is_closed_and_nobody_else() {
    let (twitter, gate) = StubTwitter::gated(|_| Answer::ok("{}"));
    let mut herd = Herd::new(PAIR);
    herd.twitter_url = twitter.url();
    herd.start_arguing("Ann", &["--idle-timeout", "1s"]);
    herd.start_arguing("Bob", &["--idle-timeout", "1s"]);
    let mut talking = herd.client("Ann");
    let mut waiting = herd.client("Ann");
    waiting.say("IAMAT kiwi +00+000 1");
    let at = waiting.line();
    // In two pieces: once somebody else has been answered, the first has been read by itself.
    waiting.send(b"WHATSAT kiwi ");
    talking.say("WHERE");
    assert_eq!(talking.line(), "? WHERE");
    waiting.send(b"1 1\n");
    let silent = herd.client("Ann");
    let mut half = herd.client("Ann");
    half.send(b"IAMAT half a li");
    let since = Instant::now();
    let silent = thread::spawn(move || (end_of(silent.stream), since.elapsed()));
    let half = thread::spawn(move || end_of(half.stream));
    while !(silent.is_finished() && half.is_finished()) {
        talking.say("WHERE");
        assert_eq!(talking.line(), "? WHERE");
        thread::sleep(Duration::from_millis(20)); // it talks, but does not shout
    }
    let (said, closed_after) = silent.join().expect("it is closed");
    assert_eq!(said, "");
    assert!(closed_after >= Duration::from_secs(1), "{closed_after:?}");
    assert_eq!(half.join().expect("it is closed"), "");
    gate.open();
    assert_eq!(waiting.line(), at, "who waits for Twitter is not silent");
    assert_eq!(waiting.line(), "{}");
    assert_eq!(logged_by_now(&herd, "Ann", "silent for 1 seconds"), 2);
    herd.wait_for_link("Ann", "Bob");
    assert_eq!(logged_by_now(&herd, "Ann", "link to Bob is down"), 0);
}

/// They are never silent, so they would keep all others out for ever.
#[test]
fn who_drips_a_line_without_end_makes_room_for_others() {
    let (twitter, gate) = StubTwitter::gated(|_| Answer::ok("{}"));
    let mut herd = Herd::new(ALONE);
    herd.twitter_url = twitter.url();
    let limits = [
        "--max-connections",
        "4",
        "--line-timeout",
        "2s",
        "--idle-timeout",
        "60s",
    ];
    herd.start_arguing("Ann", &limits);
    let mut well = herd.client("Ann"); // its lines end, and what waits for us is not late
    well.say("IAMAT kiwi +00+000 1");
    let at = well.line();
    well.send("WHATSAT kiwi 1 1\n".repeat(16).as_bytes());
    well.send(b"WHER");
    let since = Instant::now();
    let dripping = [&b"IAMAT kiwi"[..], b"? ", &[b'x'; 70_000]].map(|beginning| {
        let mut stream = herd.client("Ann").stream;
        thread::spawn(move || {
            stream.write_all(beginning).expect("it is open");
            while stream.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(100));
            }
            since.elapsed()
        })
    });
    wait_until("there is room for another", || {
        let mut next = herd.client("Ann");
        let _ = next.stream.write_all(b"WHERE\n");
        next.line_bytes().as_deref() == Some(b"? WHERE")
    });
    for dripping in dripping {
        let closed_after = dripping.join().expect("it was closed");
        assert!(closed_after >= Duration::from_secs(2), "{closed_after:?}");
    }
    gate.open();
    well.send(b"E\n");
    for _ in 0..16 {
        assert_eq!([well.line(), well.line()], [at.clone(), "{}".to_owned()]);
    }
    assert_eq!(well.line(), "? WHERE");
    let reason = "a line did not come to its end within 2 s";
    assert_eq!(logged_by_now(&herd, "Ann", reason), 3);
}

/// 64 connections hold all questions; they are let have none that another lacks.
#[test]
fn who_asks_twitter_most_gives_way_to_who_asks_little() {
    let (twitter, gate) = StubTwitter::gated(|_| Answer::ok("{\"well\":1}"));
    let mut herd = Herd::new(ALONE);
    herd.twitter_url = twitter.url();
    herd.start("Ann");
    let mut greedy: Vec<_> = (0..64).map(|_| herd.client("Ann")).collect();
    for (number, client) in greedy.iter_mut().enumerate() {
        client.say("IAMAT kiwi +00+000 1");
        assert!(client.line().starts_with("AT Ann "));
        for radius in 0..16 {
            client.say(&format!("WHATSAT kiwi {}.{} 1", number + 1, radius + 1));
        }
    }
    wait_until("all questions are open", || {
        logged(&herd, "Ann", " > c") > 64 * 17 || logged(&herd, "Ann", "WHATSAT") >= 64 * 16
    });
    let mut honest = herd.client("Ann");
    honest.say("WHATSAT kiwi 200 1");
    let since = Instant::now();
    let waiting = thread::spawn(move || {
        assert!(honest.line().starts_with("AT Ann "));
        honest.line()
    });
    wait_until("one has given way", || {
        logged(&herd, "Ann", "too many questions are waiting for Twitter") == 1
    });
    assert!(
        since.elapsed() < Duration::from_secs(8),
        "before any is given up"
    );
    gate.open();
    assert_eq!(waiting.join().expect("it is answered"), "{\"well\":1}");
}

#[test]
fn a_line_that_came_in_two_pieces_leaves_nothing_behind() {
    const CLIENTS: u64 = 200;
    const HALF: usize = 30_000;
    let mut herd = alone_with(&["--log", "off"]); // the log has a queue of its own
    let mut other = herd.client("Ann");
    let mut say_in_two = |herd: &Herd| {
        let mut client = herd.client("Ann");
        for piece in [vec![b'x'; HALF], vec![b'y'; HALF]] {
            client.send(&piece);
            other.say("WHERE");
            assert_eq!(other.line(), "? WHERE"); // so what was sent before has been read
        }
        client.send(b"\n");
        assert_eq!(client.line().len(), 2 + 2 * HALF);
        client
    };
    drop(say_in_two(&herd)); // what serves all is there from now on
    let before = herd.process("Ann").resident_bytes();
    let clients: Vec<_> = (0..CLIENTS).map(|_| say_in_two(&herd)).collect();
    let grown = herd.process("Ann").resident_bytes().saturating_sub(before);
    assert!(grown < CLIENTS * HALF as u64 / 2, "{grown} bytes");
    drop(clients);
}

#[test]
fn a_client_that_is_owed_something_is_not_silent() {
    let mut herd = alone_with(&["--idle-timeout", "1"]);
    let mut slow = narrow_client(&herd);
    let line = [b"? ", &[b'x'; 60_000][..], b"\n"].concat();
    let mut writer = slow.stream.try_clone().expect("a second handle");
    let lines = line[2..].repeat(200); // more than kernels take
    let writing = thread::spawn(move || writer.write_all(&lines));
    let silent = herd.client("Ann");
    assert_eq!(end_of(silent.stream), "");
    for _ in 0..200 {
        assert_eq!(slow.line_bytes().as_deref(), Some(&line[..line.len() - 1]));
    }
    let written = writing.join().expect("it does not panic");
    written.expect("all was read");
    assert_eq!(logged_by_now(&herd, "Ann", "silent for"), 1);
    assert!(herd.process("Ann").is_running());
}

#[test]
fn the_kernel_asks_whether_silent_clients_are_there() {
    let herd = alone_with(&[]);
    let mut client = herd.client("Ann");
    client.say("WHERE");
    assert_eq!(client.line(), "? WHERE");
    // proc(5): the fields of a socket are its two ends and state, then `timer:when` in 1/100 s;
    // timer 2 is keepalive, 1 still waits for an acknowledgement.
    let near = format!(":{:04X}", herd.member("Ann").clients.port());
    let far = client.stream.local_addr().expect("it is connected").port();
    let far = format!(":{far:04X}");
    wait_until("a keepalive timer of at most 120 s", || {
        let sockets = fs::read_to_string("/proc/net/tcp").expect("this is Linux");
        sockets.lines().any(|socket| {
            let fields: Vec<_> = socket.split_whitespace().collect();
            let ends = fields[1].ends_with(&near) && fields[2].ends_with(&far);
            let timer = ends.then(|| fields[5].strip_prefix("02:")).flatten();
            timer.is_some_and(|when| u64::from_str_radix(when, 16).is_ok_and(|at| at <= 12_000))
        })
    });
}

// ---- what TCP can do beside sending bytes

#[test]
fn tcp_urgent_data_is_a_byte_of_its_line_and_delays_nothing() {
    let herd = alone_with(&[]);
    let mut other = herd.client("Ann");
    let pieces: [(&[u8], SendFlags); 3] = [
        (b"IAMAT u +34", SendFlags::empty()),
        (b"!", SendFlags::OOB),
        (b".0689-118.4451 1\n", SendFlags::empty()),
    ];
    // At once, and each after what came before has been read.
    for slowly in [false, true] {
        for _ in 0..50 {
            let mut client = herd.client("Ann");
            for (piece, flags) in pieces {
                let sent = rustix::net::send(&client.stream, piece, flags);
                assert_eq!(sent, Ok(piece.len()));
                if slowly {
                    other.say("WHERE");
                    assert_eq!(other.line(), "? WHERE");
                }
            }
            assert_eq!(client.line(), "? IAMAT u +34!.0689-118.4451 1");
            client.say("the next");
            assert_eq!(client.line(), "? the next");
        }
    }
}
