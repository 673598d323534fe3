//! The limits that an operator sets, and those that keep some clients from harming others: what is
//! full is said, and who was there first is served on.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use herd::connection_id::ConnectionId;
use herd::journal::files::Files;
use herd::journal::{self, Journal, Recovered};
use herd::node::effects::LinkId;
use herd::node::protocol::Incarnation;
use herd::node::{Node, Seeds};
use herd::time::{Now, Timestamp};
use herd::topology::Topology;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, connect, socket_with, sockopt,
};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

#[path = "support/effects.rs"]
mod effects;
#[path = "support/stub_twitter.rs"]
mod stub_twitter;
mod support;
#[path = "support/wire.rs"]
mod wire;

use effects::{Effect, Recorder};
use stub_twitter::{Answer, StubTwitter};
use support::reference::HERD;
use support::{Client, Herd, Process, wait_until};
use tempfile::TempDir;
use wire::FakeNeighbour;

const ALONE: &[(&str, &[&str])] = &[("Ann", &[])];
const PAIR: &[(&str, &[&str])] = &[("Ann", &["Bob"]), ("Bob", &[])];

fn alone_with(arguments: &[&str]) -> Herd {
    let mut herd = Herd::new(ALONE);
    herd.start_arguing("Ann", arguments);
    herd
}

/// Records of `name`'s log in which `words` stand.
fn logged(herd: &Herd, name: &str, words: &str) -> usize {
    let log = herd.log(name);
    log.lines().filter(|record| record.contains(words)).count()
}

/// The same of what has happened by now: it is written behind.
fn logged_by_now(herd: &Herd, name: &str, words: &str) -> usize {
    let log = herd.settled_log(name);
    log.lines().filter(|record| record.contains(words)).count()
}

/// The time now as a client writes it, less `ago` seconds.
fn seconds_ago(ago: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("the clock is set");
    format!("{}.{:09}", now.as_secs() - ago, now.subsec_nanos())
}

/// Waits until the server has closed the connection, and gives what it said before.
fn end_of(mut stream: TcpStream) -> String {
    let mut said = String::new();
    stream
        .read_to_string(&mut said)
        .expect("it closes in time, and does not reset");
    said
}

// ---- --max-connections

#[test]
fn a_client_too_many_is_told_so_and_those_who_are_there_are_served() {
    let mut herd = Herd::new(PAIR);
    herd.start_arguing("Ann", &["--max-connections", "3"]);
    let mut clients: Vec<_> = (0..3).map(|_| herd.client("Ann")).collect();
    for client in &mut clients {
        client.say("IAMAT kiwi +00+000 1");
        assert!(client.line().starts_with("AT Ann "));
    }
    for round in 0..50 {
        let mut surplus = herd.client("Ann");
        let _ = surplus.stream.write_all(b"IAMAT emu +00+000 1\n"); // it may be closed by then
        let told = String::from_utf8(surplus.rest()).expect("text");
        assert_eq!(
            told, "{\"error\":\"Ann has 3 clients and takes no more, try another server\"}\n",
            "client {round} too many"
        );
        clients[round % 3].say("WHERE");
        assert_eq!(clients[round % 3].line(), "? WHERE");
    }
    wait_until("the log has them dropped", || {
        logged(&herd, "Ann", "refused: too many clients") == 50
    });
    assert_eq!(logged(&herd, "Ann", "IAMAT emu"), 0, "it was not read");
    assert_eq!(logged(&herd, "Ann", "has 3 clients and takes no"), 50);
    let said = herd.process("Ann").said();
    let full = |line: &&str| line.contains("3 are connected, all that may be");
    assert_eq!(
        said.lines().filter(full).count(),
        1,
        "once a minute: {said}"
    );
    herd.start("Bob"); // servers are no clients
    herd.wait_for_link("Ann", "Bob");
    clients.pop();
    wait_until("there is room for another", || {
        let mut next = herd.client("Ann");
        let _ = next.stream.write_all(b"WHERE\n");
        next.line_bytes().as_deref() == Some(b"? WHERE")
    });
}

#[test]
fn who_has_said_its_last_and_waits_for_an_answer_takes_a_place() {
    let (twitter, gate) = StubTwitter::gated(|_| Answer::ok("{}"));
    let mut herd = Herd::new(ALONE);
    herd.twitter_url = twitter.url();
    herd.start_arguing("Ann", &["--max-connections", "1"]);
    let mut client = herd.client("Ann");
    client.send(b"IAMAT kiwi +00+000 1\nWHATSAT kiwi 1 1\ntail");
    let at = client.line();
    twitter.wait_for_requests(1);
    client.end();
    wait_until("its end has been read", || {
        logged(&herd, "Ann", "? tail") == 1
    });
    let refused = "{\"error\":\"Ann has 1 clients and takes no more, try another server\"}";
    assert_eq!(herd.client("Ann").line(), refused);
    gate.open();
    for line in [&*at, "{}", "? tail"] {
        assert_eq!(client.line(), line);
    }
    client.expect_end();
    wait_until("there is room for another", || {
        let mut next = herd.client("Ann");
        let _ = next.stream.write_all(b"WHERE\n");
        next.line_bytes().as_deref() == Some(b"? WHERE")
    });
}

#[test]
fn who_leaves_before_another_comes_makes_room_for_it() {
    let herd = alone_with(&["--max-connections", "1"]);
    for round in 0..300 {
        let mut client = herd.client("Ann");
        client.say("WHERE");
        assert_eq!(client.line(), "? WHERE", "client {round}");
        client.end();
        client.expect_end(); // the server has seen it leave
    }
}

/// Starts Ann with 80 descriptors at most.
fn start_with_few_descriptors(herd: &mut Herd, arguments: &str) {
    let usual = herd.command("Ann");
    let mut command = Command::new("bash");
    let script = format!("ulimit -n 80; exec \"$@\" {arguments}");
    command
        .args(["-c", &script, "bash"])
        .arg(usual.get_program());
    command.args(usual.get_args());
    herd.start_with("Ann", command);
}

#[test]
fn more_clients_than_descriptors_are_not_promised() {
    let mut herd = Herd::new(ALONE);
    start_with_few_descriptors(&mut herd, "--max-connections 1000");
    let said = herd.process("Ann").said();
    let want =
        "1000 clients may connect, but the limit of files (ulimit -n) allows only 40 at once";
    assert!(said.contains(want), "{said}");
}

#[test]
fn strangers_at_the_server_port_keep_no_client_out() {
    let mut herd = Herd::new(PAIR);
    start_with_few_descriptors(&mut herd, "");
    let address = herd.member("Ann").servers;
    let connect = || TcpStream::connect(address).expect("the kernel takes it");
    let _strangers: Vec<_> = (0..200).map(|_| connect()).collect();
    wait_until("as many are in as may be", || {
        herd.process("Ann").said().contains("24 are open, the most")
    });
    let _clients: Vec<_> = (0..14)
        .map(|_| {
            let mut client = herd.client("Ann");
            client.say("WHERE");
            assert_eq!(client.line(), "? WHERE");
            client
        })
        .collect();
    herd.start("Bob"); // who is dialled, whoever waits at the port
    herd.wait_for_link("Ann", "Bob");
}

#[test]
fn senseless_limits_are_refused() {
    for (option, value) in [
        ("--max-connections", "0"),
        ("--max-connections", "-1"),
        ("--max-connections", "many"),
        ("--idle-timeout", "0"),
        ("--idle-timeout", "5 minutes"),
        ("--line-timeout", "0"),
        ("--line-timeout", "soon"),
        ("--forget-after", "0s"),
        ("--forget-after", "-1"),
    ] {
        let argument = format!("{option}={value}");
        let output = Command::new(HERD)
            .args(["serve", "Ann", &argument])
            .output();
        let output = output.expect("it can be started");
        assert_eq!(output.status.code(), Some(2), "{argument}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(option), "{argument}: {said}");
    }
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

// ---- clients that do not read

/// A client whose kernel takes little before it has read.
fn narrow_client(herd: &Herd) -> Client {
    let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
    let fd: OwnedFd = socket_with(family, kind, SocketFlags::CLOEXEC, None).expect("a socket");
    sockopt::set_socket_recv_buffer_size(&fd, 4096).expect("it is not connected yet");
    connect(&fd, &herd.member("Ann").clients).expect("Ann listens");
    Client::over(TcpStream::from(fd))
}

#[test]
fn answers_that_nobody_reads_are_bounded_and_who_reads_gets_his() {
    // 4 MiB are owed to each, less what kernels take, which may be 2 MiB.
    const ANSWER_BYTES: usize = (4 << 20) - 2;
    const READERS_SLOW: usize = 500;
    let answer = format!("\"{}\"", "x".repeat(ANSWER_BYTES));
    let body = answer.clone();
    let twitter = StubTwitter::start(move |_| Answer::ok(body.clone()));
    let mut herd = Herd::new(ALONE);
    herd.twitter_url = twitter.url();
    herd.start("Ann");
    herd.ask("Ann", "IAMAT kiwi +00+000 1");
    let mut slow = Vec::new();
    while logged(&herd, "Ann", "256 MiB of output were pending for all") == 0 {
        assert!(slow.len() < READERS_SLOW, "{} owed answers", slow.len());
        let mut client = narrow_client(&herd);
        client.say("WHATSAT kiwi 1 1");
        assert!(client.line().starts_with("AT Ann "));
        client.stream.peek(&mut [0]).expect("its answer has come");
        slow.push(client);
    }
    assert!(slow.len() > 60, "{} were too many", slow.len());
    for _ in 0..10 {
        let mut reader = herd.client("Ann");
        reader.say("WHATSAT kiwi 1 1");
        assert!(reader.line().starts_with("AT Ann "));
        assert!(reader.line() == answer, "who reads gets it whole");
    }
    let many = slow.len();
    let answers = slow.iter_mut().filter_map(Client::line_bytes);
    let whole = answers.filter(|line| line == answer.as_bytes()).count();
    assert!(whole < many, "some are closed");
    assert!(whole >= many / 2, "{whole} of {many} are not");
    let said = herd.process("Ann").said();
    let told = "connections that do not read, or have the largest backlog, are closed";
    assert_eq!(said.matches(told).count(), 1, "{said}");
}

#[test]
fn for_who_was_reset_with_questions_left_nothing_is_asked() {
    let twitter = StubTwitter::start(|_| Answer::Never);
    let mut herd = Herd::new(ALONE);
    herd.twitter_url = twitter.url();
    herd.start("Ann");
    let mut client = herd.client("Ann");
    client.say("IAMAT kiwi +00+000 1");
    client.stream.peek(&mut [0]).expect("it is answered");
    // What it leaves unread resets the connection, behind a thousand questions that have arrived.
    herd.process("Ann").signal(Signal::STOP);
    let stat = format!("/proc/{}/stat", herd.process("Ann").pid());
    wait_until("it stands still", || {
        fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T "))
    });
    let lines = (0..1_000).map(|radius| format!("WHATSAT kiwi {radius} 1\n"));
    client.send(lines.collect::<String>().as_bytes()); // at once: what waits to be sent is not
    drop(client);
    herd.process("Ann").signal(Signal::CONT);
    wait_until("it is given up", || {
        logged(&herd, "Ann", "reset before its lines were handled") == 1
    });
    let asked = logged(&herd, "Ann", "WHATSAT kiwi");
    assert!(asked <= 16, "{asked} questions were taken up");
}

// ---- lines that do not end

#[test]
#[ignore = "needs 5,500 open files (ulimit -Hn)"]
fn lines_without_an_end_are_bounded_and_who_ends_his_is_answered() {
    // More than the 256 MiB that may be kept, in lines that are just not too long.
    const UNFINISHED: usize = 4_500;
    const LINE_BYTES: usize = 65_000;
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("as much as one may");
    assert!(
        maximum.is_none_or(|most| most >= UNFINISHED as u64 + 1_000),
        "this test needs 5,500 open files (ulimit -Hn): {maximum:?} are allowed"
    );
    let mut herd = alone_with(&[]);
    let mut slow = herd.client("Ann");
    slow.send(b"IAMAT kiwi +00+000 ");
    let mut crowd = Vec::new();
    for _ in 0..UNFINISHED {
        let mut client = herd.client("Ann");
        let _ = client.stream.write_all(&[b'x'; LINE_BYTES]); // it may be closed by then
        crowd.push(client);
    }
    wait_until("some are given up", || {
        logged(
            &herd,
            "Ann",
            "over 256 MiB of unhandled input were buffered",
        ) > 0
    });
    slow.say("1");
    assert!(slow.line().starts_with("AT Ann "));
    let given_up = logged_by_now(
        &herd,
        "Ann",
        "over 256 MiB of unhandled input were buffered",
    );
    assert!(given_up < UNFINISHED / 4, "{given_up} were too many");
    let said = "connections with the most unhandled input are closed";
    wait_until("Ann says so", || herd.process("Ann").said().contains(said));
}

#[test]
fn a_client_that_never_stops_talking_does_not_keep_others_waiting() {
    let herd = alone_with(&[]);
    let mut talker = herd.client("Ann");
    let mut hearer = talker.stream.try_clone().expect("a second handle");
    let talking = thread::spawn(move || {
        let lines = "WHERE am I\n".repeat(10_000);
        while talker.stream.write_all(lines.as_bytes()).is_ok() {}
    });
    let hearing = thread::spawn(move || {
        let mut bytes = vec![0; 1 << 20];
        while hearer.read(&mut bytes).is_ok_and(|n| n > 0) {}
    });
    let mut client = herd.client("Ann");
    for _ in 0..50 {
        let since = Instant::now();
        client.say("WHERE");
        assert_eq!(client.line(), "? WHERE");
        let took = since.elapsed();
        assert!(took < Duration::from_secs(2), "others waited {took:?}");
    }
    assert!(!talking.is_finished(), "it talks still");
    drop(herd); // Ann is killed, so they come to an end
    talking.join().expect("it does not panic");
    hearing.join().expect("it does not panic");
}

/// A herd in which Ann runs, and Bob, who has presented himself to her.
fn ann_and_bob() -> (Herd, FakeNeighbour) {
    let mut herd = Herd::new(PAIR);
    herd.start("Ann");
    let address = herd.member("Ann").servers;
    let (bob, _) = FakeNeighbour::introduced(address, ("Bob", "Ann"), 0xb0b, 1, None);
    (herd, bob)
}

#[test]
fn a_link_is_not_one_of_many_clients() {
    const LINE: &str = "IAMAT kiwi +27.5916+086.5640 1353118103.108893381\n";
    const CLIENTS: usize = 200;
    const CLIENT_BYTES: usize = 48 * 1024;
    const LINK_BYTES: usize = 60 * 1024; // less than a link may have read in a turn
    let (mut herd, mut bob) = ann_and_bob();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| herd.client("Ann")).collect();
    wait_until("all are there", || logged(&herd, "Ann", " + c") == CLIENTS);
    // While Ann is stopped all have something to say, so that she finds it all at once.
    herd.process("Ann").signal(Signal::STOP);
    for client in &mut clients {
        client.send(LINE.repeat(CLIENT_BYTES / LINE.len()).as_bytes());
    }
    let mut said = String::new();
    let mut count = 0;
    while said.len() < LINK_BYTES {
        count += 1;
        said += &format!("AT Bob +0.000000000 bobs{count} +00+000 1\n");
    }
    bob.send(said.as_bytes());
    herd.process("Ann").signal(Signal::CONT);
    let last = format!(" bobs{count} ");
    wait_until("all of Bob's are there", || logged(&herd, "Ann", &last) > 0);
    let log = herd.log("Ann");
    let before = log.lines().take_while(|record| !record.contains(&last));
    let before = before.filter(|record| record.contains(" < c")).count();
    let bytes = before * LINE.len();
    // In two turns the clients have 4 MiB read; sharing alike, Bob's would take six.
    assert!(bytes <= 4 << 20, "{bytes} bytes of clients came before");
}

#[test]
fn a_neighbour_in_the_middle_of_a_line_is_not_dead() {
    let (herd, mut bob) = ann_and_bob();
    let at = "AT Bob +0.000000000 kiwi +00+000 1";
    let (most, rest) = at.split_at(24);
    let until = Instant::now() + Duration::from_secs(11); // a silence may last 8
    for byte in most.bytes() {
        bob.send(&[byte]);
        thread::sleep(Duration::from_millis(500));
    }
    assert!(Instant::now() > until, "that was too fast");
    bob.say(rest);
    herd.wait_for_at("Ann", "kiwi", at);
    assert!(!herd.log("Ann").contains("nothing heard"));
}

#[test]
fn of_two_servers_of_one_name_one_is_linked_and_the_other_told_why_not() {
    let mut herd = Herd::new(PAIR);
    herd.start("Ann");
    let address = herd.member("Ann").servers;
    let comes = |life, serial| {
        let mut bob = FakeNeighbour::dial(address);
        bob.hello(("Bob", "Ann"), life, serial, None);
        bob
    };
    let mut linked = comes(0xb0b1, 1);
    linked.expect_hello();
    for (life, serial) in [(0xb0b2, 1), (0xb0b1, 2), (0xb0b2, 3)] {
        linked.say("MARK 0"); // it lives
        let refusal = "BYE the link is up and was heard from within the last 3 seconds";
        assert_eq!(comes(life, serial).rest(), [refusal]);
    }
    let at = herd.ask("Ann", "IAMAT kiwi +00+000 1");
    assert_eq!(linked.news(), at);
    let told = "was refused at the server port: the link is up and was heard from";
    wait_until("the operator hears of it", || {
        herd.process("Ann").said().contains(told)
    });
    drop(linked);
    let mut serial = 6;
    wait_until("it takes the place of the one that has gone", || {
        serial += 1;
        comes(0xb0b1, serial).line().starts_with("HELLO ")
    });
}

// ---- the way out

#[test]
fn at_a_stop_nobody_is_left_without_a_word() {
    const ANSWER_BYTES: usize = (4 << 20) - 2;
    let answer = format!("\"{}\"", "y".repeat(ANSWER_BYTES));
    let twitter = StubTwitter::start(move |request| {
        match request.parameters("geocode").concat().ends_with(",2km") {
            true => Answer::ok(answer.clone()),
            false => Answer::Never,
        }
    });
    let mut herd = Herd::new(PAIR);
    herd.twitter_url = twitter.url();
    herd.start("Ann");
    herd.start("Bob");
    herd.wait_for_link("Ann", "Bob");
    let mut waiting = herd.client("Ann");
    waiting.say("IAMAT kiwi +00+000 1");
    let at = waiting.line();
    waiting.say("WHATSAT kiwi 1 1");
    twitter.wait_for_requests(1);
    let mut slow = narrow_client(&herd);
    slow.say("WHATSAT kiwi 2 1");
    slow.stream.peek(&mut [0]).expect("it is answered");
    twitter.wait_for_requests(2);
    wait_until("the slow one is owed its answer", || {
        logged(&herd, "Ann", "yy\\... ") == 1
    });
    let mut ann = herd.member_mut("Ann").process.take().expect("it runs");
    ann.signal(Signal::TERM);
    assert_eq!(waiting.line(), at);
    assert_eq!(waiting.line(), "{\"error\":\"the server stops\"}");
    waiting.expect_end();
    assert!(ann.wait().success());
    for (words, times) in [
        ("Z + c", 2),
        ("Z - c", 2),
        ("the server stops, and it took nothing more", 1),
        (":Bob the server stops", 1),
    ] {
        assert_eq!(logged(&herd, "Ann", words), times, "{words}");
    }
    assert!(ann.said().contains("link to Bob is down: the server stops"));
    wait_until("Bob has seen it go in peace", || {
        logged(&herd, "Bob", ":Ann closed by the neighbour") == 1
    });
}

// ---- a standard error that is not read

/// A pipe at `path`, and its end that nobody reads.
fn unread_pipe(path: &Path) -> File {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    // Opened for both it waits for no writer, and never ends.
    let pipe = File::options().read(true).write(true).open(path);
    pipe.expect("it is ours")
}

#[test]
fn a_standard_error_that_nobody_reads_stops_nobody() {
    // So many neighbours that what is told of each is never too often.
    let names = Vec::from_iter((0..40).map(|number| format!("Bob{number}")));
    let names = Vec::from_iter(names.iter().map(String::as_str));
    let nobody: &[&str] = &[];
    let mut links = vec![("Ann", &names[..])];
    links.extend(names.iter().map(|name| (*name, nobody)));
    let mut herd = Herd::new(&links);
    let path = herd.directory.path().join("unread");
    let pipe = unread_pipe(&path);
    let process = Process::start(herd.command("Ann"), path);
    herd.member_mut("Ann").process = Some(process);
    let address = herd.member("Ann").clients;
    wait_until("Ann listens", || TcpStream::connect(address).is_ok());
    let mut hellos = 0;
    let mut come_and_go = |herd: &Herd, reason: &str| {
        hellos += 1;
        let address = herd.member("Ann").servers;
        let from_to = (names[hellos as usize % names.len()], "Ann");
        let (mut bob, _) = FakeNeighbour::introduced(address, from_to, 0xb0b, hellos, None);
        bob.say(&format!("BYE {reason}"));
        bob.rest();
    };
    // More than a pipe holds and than may wait.
    let long = "x".repeat(200);
    for _ in 0..20 * names.len() {
        come_and_go(&herd, &long);
    }
    assert_eq!(herd.ask("Ann", "WHERE"), "? WHERE");
    // Who reads at last is told that some is missing.
    let reading = thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = String::new();
        while !line.contains(" lines before this were lost") {
            line.clear();
            lines.read_line(&mut line).expect("it is text");
        }
        lines // an end of a pipe nobody reads
    });
    wait_until("the loss is told", || {
        come_and_go(&herd, "soon back");
        reading.is_finished()
    });
    let _unread = reading.join().expect("it does not panic");
    for _ in 0..20 * names.len() {
        come_and_go(&herd, &long);
    }
    let ann = herd.process("Ann");
    ann.signal(Signal::TERM);
    assert!(ann.wait().success());
}

#[test]
fn a_start_that_fails_ends_though_nobody_reads_why() {
    let herd = Herd::new(ALONE);
    let path = herd.directory.path().join("unread");
    let _pipe = unread_pipe(&path);
    let mut full = File::options();
    let full = full
        .write(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32);
    let mut full = full.open(&path).expect("it is ours");
    while full.write(b"x").is_ok() {}
    fs::remove_file(herd.topology()).expect("it is ours");
    let mut process = Process::start(herd.command("Ann"), path);
    assert_eq!(process.wait().code(), Some(2));
}

// ---- --forget-after

#[test]
fn a_location_is_forgotten_by_all_and_comes_back_from_nowhere() {
    const SPAN: &[&str] = &["--forget-after", "3s"];
    let mut herd = Herd::new(PAIR);
    herd.start_arguing("Ann", SPAN);
    herd.start_arguing("Bob", SPAN);
    herd.wait_for_link("Ann", "Bob");
    let old = herd.ask("Ann", &format!("IAMAT old +00+000 {}", seconds_ago(4)));
    assert!(old.starts_with("AT Ann +4.0"), "answered as usual: {old}");
    let kiwi = herd.ask("Ann", &format!("IAMAT kiwi +00+000 {}", seconds_ago(0)));
    herd.wait_for_at("Bob", "kiwi", &kiwi);
    assert_eq!(logged_by_now(&herd, "Bob", " old "), 0, "it was no news");
    for name in ["Ann", "Bob"] {
        assert_eq!(herd.ask(name, "WHATSAT old 1 0"), "? WHATSAT old 1 0");
        wait_until("kiwi is forgotten", || herd.at(name, "kiwi").is_none());
        assert_eq!(herd.ask(name, "WHATSAT kiwi 1 0"), "? WHATSAT kiwi 1 0");
    }
    // Neither its own journal nor a neighbour that keeps everything brings it back.
    herd.kill("Ann");
    herd.kill("Bob");
    herd.start("Bob");
    assert_eq!(
        herd.at("Bob", "kiwi").as_deref(),
        Some(&kiwi[..]),
        "it keeps all"
    );
    for has_a_journal in [true, false] {
        if !has_a_journal {
            herd.kill("Ann");
            fs::remove_dir_all(herd.journal_path("Ann")).expect("it is there");
        }
        fs::remove_file(herd.log_path("Ann")).expect("it is there");
        herd.start_arguing("Ann", SPAN);
        herd.wait_for_link("Ann", "Bob");
        wait_until("Bob has told Ann", || {
            logged(&herd, "Ann", "Bob AT ") > 0 && logged(&herd, "Ann", "Bob MARK") > 0
        });
        assert!(logged(&herd, "Ann", " kiwi ") > 0, "she was told");
        assert_eq!(herd.at("Ann", "kiwi"), None);
    }
    let now = herd.ask("Ann", &format!("IAMAT kiwi +00+000 {}", seconds_ago(0)));
    assert!(now.starts_with("AT Ann "));
    herd.wait_for_at("Bob", "kiwi", &now);
}

#[test]
fn a_client_whose_clock_is_ahead_is_forgotten_by_the_time_of_receipt() {
    let herd = alone_with(&["--forget-after", "2s"]);
    let at = herd.ask("Ann", "IAMAT ahead +00+000 99999999999");
    assert_eq!(herd.at("Ann", "ahead"), Some(at));
    wait_until("it is forgotten", || herd.at("Ann", "ahead").is_none());
}

#[test]
fn a_journal_from_before_is_forgotten_too_when_the_option_comes() {
    let mut herd = Herd::new(ALONE);
    herd.start("Ann");
    let at = herd.ask("Ann", "IAMAT kiwi +00+000 1");
    assert_eq!(herd.at("Ann", "kiwi"), Some(at.clone()));
    herd.kill("Ann");
    herd.start_arguing("Ann", &["--forget-after", "7d"]);
    let said = herd.process("Ann").said();
    assert!(said.contains("Ann: forgets after 7 d\n"), "{said}");
    assert_eq!(herd.at("Ann", "kiwi"), None);
    herd.ask("Ann", &format!("IAMAT emu +00+000 {}", seconds_ago(0)));
    herd.kill("Ann");
    herd.start("Ann");
    assert_eq!(
        herd.at("Ann", "kiwi"),
        Some(at),
        "and is known again without"
    );
}

#[test]
fn what_is_known_again_is_told_to_neighbours_that_were_not_told_before() {
    let mut herd = Herd::new(PAIR);
    herd.start_arguing("Ann", &["--forget-after", "1s"]);
    let at = herd.ask("Ann", "IAMAT kiwi +00+000 99999999999");
    wait_until("kiwi is forgotten", || herd.at("Ann", "kiwi").is_none());
    // Nothing is left to be told to Bob, so he has all of Ann's changes.
    herd.start("Bob");
    herd.wait_for_link("Ann", "Bob");
    wait_until("Bob has Ann's mark", || {
        logged(&herd, "Bob", "Ann MARK 1") > 0
    });
    assert_eq!(herd.at("Bob", "kiwi"), None);
    herd.kill("Ann");
    herd.start("Ann");
    assert_eq!(herd.at("Ann", "kiwi").as_ref(), Some(&at));
    herd.wait_for_at("Bob", "kiwi", &at);
}

// ---- the same with a node alone, whose clock the test sets

const SPAN_S: u64 = 100;

const SOLO: &str = "Ann localhost:1 localhost:2\n";
const BESIDE_BOB: &str = "Ann localhost:1 localhost:2 Bob\nBob localhost:3 localhost:4\n";

/// A server as a node, with its journal in a folder of its own.
struct Solo {
    node: Node,
    effects: Recorder,
    journal: Journal<Files>,
    recovered: Recovered,
    now: Now,
    clients: u64,
}

/// A folder for a journal that no server has used.
fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

impl Solo {
    /// An incarnation that begins with what the journal in `folder` holds.
    fn start(incarnation: u64, folder: &TempDir, now: Now, forgets: bool) -> Solo {
        Solo::start_in(SOLO, incarnation, folder, now, forgets)
    }

    fn start_in(
        topology: &str,
        incarnation: u64,
        folder: &TempDir,
        now: Now,
        forgets: bool,
    ) -> Solo {
        let topology = Topology::parse(topology.as_bytes()).expect("it is one");
        let member = topology.member("Ann").expect("it is there");
        let seeds = Seeds {
            incarnation: Incarnation(incarnation),
            hash_keys: (1, 2),
            jitter: 3,
        };
        let mut node = Node::new(member, &topology, seeds, now);
        if forgets {
            node.forget_after(Duration::from_secs(SPAN_S), now);
        }
        // The thread of the one before may still have the lock.
        let mut files = None;
        wait_until("the journal is free", || {
            files = Files::new(folder.path().to_owned(), false, |_, _| ()).ok();
            files.is_some()
        });
        let files = files.expect("it is free");
        let options = journal::Options::default();
        let opened = Journal::open(files, options, &mut node, now, |_, _| ());
        let (journal, recovered) = opened.expect("it can be used");
        Solo {
            node,
            effects: Recorder::default(),
            journal,
            recovered,
            now,
            clients: 0,
        }
    }

    /// Ends a turn: the journal has what it has brought, and the effects are given.
    fn end_turn(&mut self) -> VecDeque<Effect> {
        self.journal.set_now(self.now);
        let effects = self.effects.take();
        for effect in &effects {
            match effect {
                Effect::Changed(number, line) => self.journal.change(*number, line),
                Effect::Known(neighbour, known) => self.journal.known(neighbour, *known),
                Effect::Marked(neighbour, number) => self.journal.marked(neighbour, *number),
                _ => {}
            }
        }
        self.journal.commit();
        effects
    }

    /// A client says a line; gives the reply.
    fn say(&mut self, line: &str) -> String {
        self.clients += 1;
        let serial = self.clients;
        let client = ConnectionId { serial, slot: 0 };
        let read = self.node.read_client_line(line.as_bytes());
        self.end_turn();
        self.node
            .handle_client_line(client, read, self.now, &mut self.effects);
        let mut reply = String::new();
        for effect in self.end_turn() {
            if let Effect::Reply(_, line) | Effect::Reserve(_, _, line) = effect {
                reply = String::from_utf8_lossy(&line).into_owned();
            }
        }
        reply
    }

    /// A line comes in from a neighbour.
    fn hear(&mut self, neighbour: ConnectionId, line: &str) {
        let read = self.node.read_link_line(line.as_bytes());
        self.node
            .handle_link_line(neighbour, read, self.now, &mut self.effects);
    }

    /// The locations that a neighbour is told now.
    fn tell(&mut self, neighbour: ConnectionId) -> Vec<String> {
        self.end_turn();
        self.node
            .handle_room(neighbour, 1_000, self.now, &mut self.effects);
        let mut told = Vec::new();
        for effect in self.end_turn() {
            if let Effect::Send { line, .. } = effect {
                told.push(String::from_utf8_lossy(&line).into_owned());
            }
        }
        told.retain(|line| line.starts_with("AT "));
        told
    }

    /// The clock has been set back; says whether what had expired may be news again.
    fn set_back(&mut self) -> bool {
        self.end_turn();
        self.node.handle_clock(self.now, &mut self.effects)
    }

    /// The connections that were aborted since.
    fn aborted(&mut self) -> Vec<ConnectionId> {
        let aborted = |effect| match effect {
            Effect::Abort(connection, _) => Some(connection),
            _ => None,
        };
        self.end_turn().into_iter().filter_map(aborted).collect()
    }

    /// Lets time pass, doing what is due.
    fn pass(&mut self, time: Duration) {
        let until = self.now.mono + time;
        while let Some(at) = self.node.poll_timeout().filter(|&at| at <= until) {
            self.step_to(at);
            self.node.handle_timeout(self.now, &mut self.effects);
        }
        self.step_to(until);
    }

    fn step_to(&mut self, at: Instant) {
        let step = at.saturating_duration_since(self.now.mono);
        let wall = self.now.wall;
        let nanos = u64::from(wall.nanos()) + u64::from(step.subsec_nanos());
        let seconds = step.as_secs() + nanos / 1_000_000_000;
        let seconds = wall.seconds() + i64::try_from(seconds).expect("a test is short");
        self.now.wall = Timestamp::new(seconds, (nanos % 1_000_000_000) as u32);
        self.now.mono += step;
    }

    fn seconds(&self) -> i64 {
        self.now.wall.seconds()
    }

    /// What it would send to a neighbour that knows nothing, with numbers.
    fn feed(&self) -> Vec<(u64, String)> {
        let changes = self.node.table().changes_after(0);
        let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
        changes
            .map(|change| (change.number, text(change.line)))
            .collect()
    }
}

fn start() -> Now {
    Now {
        mono: Instant::now(),
        wall: Timestamp::new(1_353_118_103, 0),
    }
}

#[test]
fn a_record_expires_to_the_nanosecond_and_its_memory_is_given_back_in_time() {
    let mut solo = Solo::start(1, &folder(), start(), true);
    let time = solo.seconds();
    for client in 0..30_000 {
        solo.say(&format!("IAMAT c{client} +00+000 {time}"));
    }
    solo.pass(Duration::from_secs(SPAN_S));
    assert!(solo.say("WHATSAT c7 1 0").starts_with("AT "), "just not");
    solo.step_to(solo.now.mono + Duration::from_nanos(1));
    assert_eq!(solo.say("WHATSAT c7 1 0"), "? WHATSAT c7 1 0");
    assert_eq!(
        solo.node.table().len(),
        30_000,
        "the sweep may take its time"
    );
    let (mut calls, since) = (0, solo.now.mono);
    while !solo.node.table().is_empty() {
        let before = solo.node.table().len();
        let at = solo.node.poll_timeout().expect("the sweep goes on");
        solo.step_to(at);
        solo.node.handle_timeout(solo.now, &mut solo.effects);
        assert!(before - solo.node.table().len() <= 1024, "a small piece");
        calls += 1;
        assert!(calls < 100, "it gets done");
    }
    let took = solo.now.mono - since;
    assert!(took <= Duration::from_secs(SPAN_S) / 16, "{took:?}");
    assert!(solo.feed().is_empty());
}

#[test]
fn what_a_neighbour_tells_and_is_told_is_judged_by_the_time_as_it_is_then() {
    let mut solo = Solo::start_in(BESIDE_BOB, 1, &folder(), start(), true);
    let bob = ConnectionId { serial: 0, slot: 0 };
    let nothing: [String; 0] = [];
    solo.node.handle_accepted(bob, solo.now);
    solo.hear(bob, "HELLO herd/1 Bob Ann 00000000000000b0 1 - 0");
    let at = solo.say(&format!("IAMAT kiwi +00+000 {}", solo.seconds()));
    assert_eq!(solo.tell(bob), [at]);
    solo.say(&format!("IAMAT emu +00+000 {}", solo.seconds()));
    solo.step_to(solo.now.mono + Duration::from_nanos(SPAN_S * 1_000_000_000 + 1));
    assert_eq!(solo.tell(bob), nothing, "it has just expired");
    solo.say(&format!("IAMAT moa +00+000 {}", solo.seconds()));
    let time = solo.seconds() - SPAN_S as i64 + 1;
    solo.step_to(solo.now.mono + Duration::from_secs(1));
    let end = solo.node.table().end();
    let at = format!("AT Bob +0.000000000 rhea +00+000 {time}");
    solo.hear(bob, &at);
    assert_eq!(
        solo.node.table().end(),
        end,
        "it comes a nanosecond too late"
    );
    solo.hear(bob, &format!("{at}.000000001"));
    assert_eq!(solo.node.table().end(), end + 1);
}

#[test]
fn a_restart_goes_on_with_the_numbers_of_the_time_before_whatever_has_expired_since() {
    let folder = folder();
    let mut solo = Solo::start(1, &folder, start(), true);
    for step in 0..400 {
        let (client, time) = (step * 7 % 40, solo.seconds());
        // Some are old when they come, some too old.
        let age = [0, 1, 30, 99, 101, 500][step % 6];
        solo.say(&format!("IAMAT c{client} +00+000 {}", time - age));
        solo.pass(Duration::from_millis(1_300 * (step as u64 % 5)));
    }
    solo.node.handle_timeout(solo.now, &mut solo.effects);
    let (end, feed, now) = (solo.node.table().end(), solo.feed(), solo.now);
    assert!((200..400).contains(&end), "some were news, some not: {end}");
    drop(solo);
    let mut next = Solo::start(2, &folder, now, true);
    assert!(next.recovered.is_sure);
    next.node.handle_timeout(next.now, &mut next.effects);
    assert_eq!((next.node.table().end(), next.feed()), (end, feed));
    next.say(&format!("IAMAT old +00+000 {}", next.seconds() - 200));
    let at = next.say(&format!("IAMAT c1 +00+000 {}", next.seconds()));
    let end = end + 1;
    assert_eq!(next.feed().last(), Some(&(end, at)));
    drop(next);
    // One that forgets nothing cannot be sure: what had expired was not told, and is known again.
    let mut keeps = Solo::start(3, &folder, now, false);
    assert!(!keeps.recovered.is_sure);
    assert_eq!(keeps.node.table().len(), 40, "all that the segments have");
    let at = keeps.say(&format!("IAMAT old +00+000 {}", keeps.seconds() - 200));
    assert_eq!(keeps.feed().last().map(|(_, line)| line), Some(&at));
}

#[test]
fn what_was_refused_as_expired_is_asked_for_again_when_the_clock_is_set_back() {
    let mut solo = Solo::start_in(BESIDE_BOB, 1, &folder(), start(), true);
    let right = solo.now.wall;
    let hour = Timestamp::new(right.seconds() + 3_600, 0);
    solo.now.wall = hour;
    let hello = "HELLO herd/1 Bob Ann 00000000000000b0";
    let bob = |serial| ConnectionId { serial, slot: 0 };
    solo.node.handle_accepted(bob(1), solo.now);
    solo.hear(bob(1), &format!("{hello} 1 - 0"));
    let at = format!("AT Bob +0.000000000 kiwi +00+000 {}", right.seconds());
    solo.hear(bob(1), &at);
    solo.hear(bob(1), "MARK 1");
    assert!(solo.node.table().is_empty(), "an hour ago is too long ago");
    let claim = |solo: &Solo| {
        let (_, known, _) = solo.node.neighbours_known().next().expect("Bob");
        known.map(|mark| mark.number)
    };
    assert_eq!(claim(&solo), Some(1));
    // A little back is no matter: nothing was refused that would not be now.
    solo.now.wall = Timestamp::new(hour.seconds() - 1, 0);
    assert!(!solo.set_back());
    assert_eq!((claim(&solo), solo.node.peers().count()), (Some(1), 1));
    solo.now.wall = right;
    assert!(solo.set_back());
    assert_eq!(claim(&solo), None);
    assert_eq!(solo.aborted(), [bob(1)]);
    solo.node
        .handle_peer_lost(bob(1), "given up", solo.now, &mut solo.effects);
    solo.node.handle_accepted(bob(2), solo.now);
    solo.hear(bob(2), &format!("{hello} 2 - 0"));
    solo.hear(bob(2), &at);
    assert_eq!(solo.feed(), [(1, at)]);
    // What may have been refused before this counts still if the clock is set back further.
    solo.now.wall = Timestamp::new(right.seconds() - 1, 0);
    assert!(solo.set_back());
}

#[test]
fn a_hello_that_was_said_before_the_clock_was_set_back_asks_for_too_little() {
    let mut solo = Solo::start_in(BESIDE_BOB, 1, &folder(), start(), true);
    let (right, link) = (solo.now.wall, LinkId::nth(0));
    let bob = |serial| ConnectionId { serial, slot: 0 };
    let hello = "HELLO herd/1 Bob Ann 00000000000000b0";
    // Her clock is an hour ahead: what she is told she refuses, and it is marked.
    solo.now.wall = Timestamp::new(right.seconds() + 3_600, 0);
    solo.node
        .handle_connected(link, bob(1), solo.now, &mut solo.effects);
    solo.hear(bob(1), &format!("{hello} 1 - 0"));
    let at = format!("AT Bob +0.000000000 kiwi +00+000 {}", right.seconds());
    solo.hear(bob(1), &at);
    solo.hear(bob(1), "MARK 1");
    solo.node
        .handle_peer_lost(bob(1), "gone", solo.now, &mut solo.effects);
    // She has said in a new hello that she has it, and Bob has not answered.
    solo.node
        .handle_connected(link, bob(2), solo.now, &mut solo.effects);
    solo.now.wall = right;
    assert!(solo.set_back());
    assert_eq!(solo.aborted(), [bob(2)]);
    solo.hear(bob(2), &format!("{hello} 2 - 0"));
    solo.hear(bob(2), "MARK 1");
    solo.node
        .handle_peer_lost(bob(2), "gone", solo.now, &mut solo.effects);
    let (_, known, _) = solo.node.neighbours_known().next().expect("Bob");
    assert_eq!(known, None, "he goes on from there: it counts for nothing");
    solo.pass(Duration::from_secs(1));
    solo.node
        .handle_connected(link, bob(3), solo.now, &mut solo.effects);
    solo.hear(bob(3), &format!("{hello} 3 - 0"));
    solo.hear(bob(3), &at);
    assert_eq!(solo.feed(), [(1, at)]);
}

#[test]
fn what_is_alive_when_the_clock_has_been_set_back_is_not_forgotten_by_the_time_before() {
    let mut solo = Solo::start_in(BESIDE_BOB, 1, &folder(), start(), true);
    let right = solo.now.wall;
    let at = solo.say(&format!("IAMAT kiwi +00+000 {}", right.seconds()));
    solo.now.wall = Timestamp::new(right.seconds() + 3_600, 0);
    solo.say("a turn at that time");
    solo.now.wall = Timestamp::new(right.seconds() + 1, 0);
    assert!(!solo.set_back(), "nothing is lost");
    let bob = ConnectionId { serial: 0, slot: 0 };
    solo.node.handle_accepted(bob, solo.now);
    solo.hear(bob, "HELLO herd/1 Bob Ann 00000000000000b0 1 - 0");
    assert_eq!(solo.tell(bob), [at]);
}

#[test]
fn what_had_expired_at_a_start_does_not_live_again_when_the_clock_is_set_back() {
    let (folder, start) = (folder(), start());
    let bob = ConnectionId { serial: 0, slot: 0 };
    let mut first = Solo::start(1, &folder, start, true);
    let at = first.say(&format!("IAMAT kiwi +00+000 {}", first.seconds()));
    drop(first);
    let later = |seconds: i64| Now {
        wall: Timestamp::new(start.wall.seconds() + seconds, 0),
        ..start
    };
    // The clock is an hour ahead, and the second incarnation's marks tell Bob that he has all there is.
    drop(Solo::start_in(BESIDE_BOB, 2, &folder, later(3_600), true));
    let mut third = Solo::start_in(BESIDE_BOB, 3, &folder, later(3_601), true);
    let emu = third.say(&format!("IAMAT emu +00+000 {}", third.seconds()));
    third.now = later(3_600 + 1 - SPAN_S as i64);
    third.set_back();
    third.now = later(10);
    third.set_back();
    assert_eq!(third.feed(), [(2, emu.clone())]);
    assert_eq!(third.say("WHATSAT kiwi 1 0"), "? WHATSAT kiwi 1 0");
    third.node.handle_accepted(bob, third.now);
    let hello = "HELLO herd/1 Bob Ann 00000000000000b0 1 0000000000000002 1";
    third.hear(bob, hello);
    assert_eq!(third.tell(bob), [emu]);
    // Whoever has it tells it anew, and from then on it is there like any other.
    third.hear(bob, &at);
    third.now = later(20);
    third.say("a turn");
    third.now = later(3_600);
    third.say("a turn");
    third.now = later(15);
    third.set_back();
    assert!(third.say("WHATSAT kiwi 1 0").starts_with(&at));
}

#[test]
fn a_neighbour_that_asks_for_everything_gets_also_what_it_has_told_itself() {
    let mut solo = Solo::start_in(BESIDE_BOB, 1, &folder(), start(), false);
    let bob = |serial| ConnectionId { serial, slot: 0 };
    let at = "AT Bob +0.000000000 kiwi +00+000 1";
    for (serial, claim, told) in [
        (1, "- 0", &[][..]),
        (2, "0000000000000001 1", &[]), // it has all of ours
        (3, "- 0", &[at]),              // it may have lost what was its own too
    ] {
        let hello = format!("HELLO herd/1 Bob Ann 00000000000000b0 {serial} {claim}");
        solo.node.handle_accepted(bob(serial), solo.now);
        solo.hear(bob(serial), &hello);
        solo.hear(bob(serial), at);
        assert_eq!(solo.tell(bob(serial)), told, "after {hello}");
        solo.node
            .handle_peer_lost(bob(serial), "gone", solo.now, &mut solo.effects);
    }
}
