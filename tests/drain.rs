//! The way in and the way out: a server that starts waits until it knows what its neighbours know, and one that
//! is told to stop leaves nobody without what it was owed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use rustix::process::Signal;

#[path = "support/stub_twitter.rs"]
mod stub_twitter;
mod support;
#[path = "support/wire.rs"]
mod wire;

use stub_twitter::{Answer, StubTwitter};
use support::{Client, Herd, PATIENCE, free_addresses, wait_until};
use wire::{FakeNeighbour, Proxy};

const ALONE: &[(&str, &[&str])] = &[("Ann", &[])];
const PAIR: &[(&str, &[&str])] = &[("Ann", &["Bob"]), ("Bob", &[])];

/// What is answered to a request for `path`.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("somebody listens there");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it is read");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it is answered");
    answer
}

#[test]
fn a_server_that_starts_answers_nothing_that_its_neighbour_knows_to_be_old() {
    let mut herd = Herd::with_http(PAIR);
    let proxy = Proxy::to(herd.member("Ann").servers);
    // Each finds the other only through the proxy, or not at all.
    let text = herd.topology_text();
    let nowhere = free_addresses(1)[0];
    let bob_address = herd.member("Bob").servers;
    let of_ann = text.replace(&bob_address.to_string(), &nowhere.to_string());
    let ann_address = herd.member("Ann").servers;
    let of_bob = text.replace(&ann_address.to_string(), &proxy.address.to_string());
    let topology = |name: &str, text: &str| {
        let path = herd.directory.path().join(format!("{name}.txt"));
        std::fs::write(&path, text).expect("the directory is ours");
        path
    };
    let (of_ann, of_bob) = (topology("Ann", &of_ann), topology("Bob", &of_bob));
    let (ann, bob) = (herd.command_with("Ann", &of_ann), || of_bob.clone());
    herd.start_with("Ann", ann);
    let command = herd.command_with("Bob", &bob());
    herd.start_with("Bob", command);
    herd.wait_for_link("Bob", "Ann");
    let old = herd.ask("Ann", "IAMAT kiwi +00+000 1");
    herd.wait_for_at("Bob", "kiwi", &old);
    herd.process("Bob").signal(Signal::TERM);
    assert!(herd.process("Bob").wait().success());
    let new = herd.ask("Ann", "IAMAT kiwi +01+001 2");
    proxy.back().hold(true); // Bob is heard, and hears nothing
    let command = herd.command_with("Bob", &bob());
    herd.start_with("Bob", command);
    let mut client = herd.client("Bob");
    client.say("WHATSAT kiwi 1 0");
    let http = herd.http("Bob");
    let ready = get(http, "/readyz");
    assert!(ready.starts_with("HTTP/1.1 503 "), "{ready}");
    assert!(ready.contains("catching up with the neighbours"), "{ready}");
    assert!(get(http, "/livez").starts_with("HTTP/1.1 200 "));
    proxy.heal();
    assert_eq!(client.line(), new, "not what it knew before");
    wait_until("it is ready", || {
        get(http, "/readyz").starts_with("HTTP/1.1 200 ")
    });
    // Nor does it wait for one that is away.
    herd.kill("Ann");
    herd.process("Bob").signal(Signal::TERM);
    assert!(herd.process("Bob").wait().success());
    let started = Instant::now();
    let command = herd.command_with("Bob", &bob());
    herd.start_with("Bob", command);
    assert_eq!(herd.at("Bob", "kiwi"), Some(new));
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "not ten seconds"
    );
}

/// Reports to Ann; gives the AT lines.
fn reports(client: &mut Client, count: usize) -> Vec<String> {
    let lines: String = (0..count)
        .map(|n| format!("IAMAT client-{n} +00+000 1\n"))
        .collect();
    client.send(lines.as_bytes());
    (0..count).map(|_| client.line()).collect()
}

#[test]
fn what_a_neighbour_has_not_been_sent_leaves_before_the_end() {
    const REPORTS: usize = 60_000; // more than kernels and buffers take
    let mut herd = Herd::new(PAIR);
    herd.start_arguing("Ann", &["--drain", "60s"]);
    assert_eq!(herd.ask("Ann", "no command"), "? no command"); // or she would wait for Bob's mark
    let address = herd.member("Ann").servers;
    let (mut bob, _) = FakeNeighbour::introduced(address, ("Bob", "Ann"), 0xb0b, 1, None);
    let mut client = herd.client("Ann");
    let told = reports(&mut client, REPORTS);
    herd.process("Ann").signal(Signal::TERM);
    client.expect_end();
    assert!(
        TcpStream::connect(herd.member("Ann").clients).is_err(),
        "nobody is let in"
    );
    let heard = bob.rest(); // only now does it read
    let at: Vec<_> = heard
        .iter()
        .filter(|line| line.starts_with("AT "))
        .collect();
    assert_eq!(at.len(), told.len());
    assert!(at.iter().zip(&told).all(|(heard, told)| *heard == told));
    let last = heard.iter().rev().find(|line| line.starts_with("MARK "));
    assert_eq!(
        last,
        Some(&format!("MARK {REPORTS}")),
        "so that nothing is sent again"
    );
    assert_eq!(herd.process("Ann").wait().code(), Some(0));
}

#[test]
fn a_neighbour_that_does_not_read_and_a_twitter_that_does_not_answer_hold_up_no_stop() {
    let twitter = StubTwitter::start(|_| Answer::Never);
    let mut herd = Herd::with_http(PAIR);
    herd.twitter_url = twitter.url();
    herd.start_arguing("Ann", &["--drain", "2s"]);
    assert_eq!(herd.ask("Ann", "no command"), "? no command"); // or she would wait for Bob's mark
    let address = herd.member("Ann").servers;
    let (_bob, _) = FakeNeighbour::introduced(address, ("Bob", "Ann"), 0xb0b, 1, None);
    let mut client = herd.client("Ann");
    let told = reports(&mut client, 60_000);
    client.say("WHATSAT client-7 1 1");
    wait_until("Twitter is asked", || !twitter.requests().is_empty());
    let http = herd.http("Ann");
    let since = Instant::now();
    herd.process("Ann").signal(Signal::TERM);
    wait_until("it is not ready", || {
        get(http, "/readyz").contains("draining")
    });
    assert_eq!(client.line(), told[7], "it was under way");
    assert!(client.line().contains("the server stops"));
    client.expect_end();
    assert_eq!(herd.process("Ann").wait().code(), Some(0));
    let took = since.elapsed();
    assert!(
        took >= Duration::from_secs(2) && took < Duration::from_secs(9),
        "{took:?}"
    );
}

#[test]
fn a_stop_with_nothing_left_to_do_takes_no_time() {
    let mut herd = Herd::started(PAIR);
    let mut client = herd.client("Ann");
    reports(&mut client, 10);
    let since = Instant::now();
    herd.process("Ann").signal(Signal::TERM);
    client.expect_end();
    assert_eq!(herd.process("Ann").wait().code(), Some(0));
    assert!(
        since.elapsed() < Duration::from_secs(4),
        "not the five of --drain"
    );
}

/// sd_notify(3), as systemd hears it.
#[test]
fn systemd_is_told_of_each_state() {
    let mut herd = Herd::new(ALONE);
    let path = herd.directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("the directory is ours");
    socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let hear = || {
        let mut bytes = [0; 4096];
        let length = socket.recv(&mut bytes).expect("it tells in time");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let path = path.to_str().expect("it is text").to_owned();
    herd.environment.push(("NOTIFY_SOCKET".to_owned(), path));
    herd.start("Ann");
    assert_eq!(hear(), "READY=1\nSTATUS=serving");
    for (text, status) in [(None, "reloaded "), (Some("Ann"), "not reloaded, ")] {
        if let Some(text) = text {
            std::fs::write(herd.topology(), text).expect("the directory is ours");
        }
        herd.process("Ann").signal(Signal::HUP);
        let reloading = hear();
        let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
        let micros = micros.and_then(|micros| micros.parse::<u64>().ok());
        assert!(
            micros.is_some_and(|micros| micros > 1_000_000),
            "{reloading}"
        );
        let ready = hear();
        assert!(
            ready.starts_with(&format!("READY=1\nSTATUS={status}")),
            "{ready}"
        );
    }
    herd.process("Ann").signal(Signal::TERM);
    assert_eq!(hear(), "STOPPING=1\nSTATUS=draining");
    assert_eq!(herd.process("Ann").wait().code(), Some(0));
}

#[test]
fn systemd_is_not_told_of_a_start_before_clients_are_served() {
    let mut herd = Herd::new(PAIR);
    let path = herd.directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("the directory is ours");
    socket.set_nonblocking(true).expect("it can");
    let path = path.to_str().expect("it is text").to_owned();
    herd.environment.push(("NOTIFY_SOCKET".to_owned(), path));
    // One that answers no dial keeps the server waiting, ...
    let silent = TcpListener::bind(herd.member("Bob").servers).expect("it is free");
    herd.start("Ann");
    // ... and meanwhile a log is rotated.
    herd.process("Ann").signal(Signal::HUP);
    let process = herd.process("Ann");
    let mut bytes = [0; 4096];
    wait_until("Ann has reloaded", || {
        process.said().contains(": reloaded ")
    });
    assert!(!process.said().contains("ready: "), "it still waits");
    let told = socket.recv(&mut bytes);
    assert!(told.is_err(), "{:?}", String::from_utf8_lossy(&bytes));
    drop(silent);
    wait_until("systemd hears of the start", || {
        let told = socket.recv(&mut bytes);
        told.is_ok_and(|length| bytes[..length].starts_with(b"READY=1\nSTATUS=serving"))
    });
}
