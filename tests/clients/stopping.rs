//! SIGTERM and SIGINT, with and without replies under way.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::stub_twitter::{Answer, StubTwitter};
use crate::support::{Herd, wait_until};
use crate::{At, KIWI, blake, blake_asking, logged_at, numbered, shown, write_until_blocked};

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
