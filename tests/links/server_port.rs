//! What strangers and neighbours may say at the server port.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{FIVE, Herd, wait_until};
use crate::wire::FakeNeighbour;
use crate::{ann_alone, bob};

#[test]
fn a_silent_connection_to_the_server_port_is_refused_after_five_seconds() {
    let herd = ann_alone();
    let address = herd.member("Ann").servers;
    let mut silent = FakeNeighbour::dial(address);
    let mut dribbling = FakeNeighbour::dial(address);
    dribbling.send(b"HEL");
    let since = Instant::now();
    thread::scope(|scope| {
        for (what, fake) in [("silent", &mut silent), ("dribbling", &mut dribbling)] {
            scope.spawn(move || {
                let rest = fake.rest();
                let took = since.elapsed();
                assert!(
                    (4..10).contains(&took.as_secs()),
                    "the {what} one was refused after {took:?}: {rest:?}"
                );
            });
        }
    });
    wait_until("the log says so of both", || {
        let log = herd.log("Ann");
        let refused = |line: &&str| line.contains(" - s") && line.contains("no HELLO within 5");
        log.lines().filter(refused).count() == 2
    });
}

#[test]
fn impostors_on_the_server_port_are_refused_with_a_reason_in_the_log() {
    let herd = Herd::started(FIVE);
    let endless = vec![b'x'; 1 << 20];
    let impostors: [(&str, &[u8]); 16] = [
        (
            "an unknown name",
            b"HELLO herd/1 Nobody Blake 00000000000000ff 1 - 0\n",
        ),
        (
            "no neighbour of Blake",
            b"HELLO herd/1 Metta Blake 00000000000000ff 1 - 0\n",
        ),
        (
            "Blake himself",
            b"HELLO herd/1 Blake Blake 00000000000000ff 1 - 0\n",
        ),
        (
            "to somebody else",
            b"HELLO herd/1 Bryant Gasol 00000000000000ff 1 - 0\n",
        ),
        (
            "another version",
            b"HELLO herd/2 Bryant Blake 00000000000000ff 1 - 0\n",
        ),
        (
            "too few fields",
            b"HELLO herd/1 Bryant Blake 00000000000000ff 1\n",
        ),
        ("a bad incarnation", b"HELLO herd/1 Bryant Blake zz 1 - 0\n"),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: blake\r\n\r\n"),
        (
            "binary",
            b"\x16\x03\x01\x02\x00\x01\x00\xff\xfe\x00\n\x80\n",
        ),
        ("an endless line", &endless),
        (
            "AT before HELLO",
            b"AT Evil +0.000000000 victim +00+000 999\n",
        ),
        ("MARK before HELLO", b"MARK 1\n"),
        ("a client", b"IAMAT victim +00+000 999\n"),
        ("a client that asks", b"WHATSAT victim 1 1\n"),
        ("a blank line", b"\n"),
        (
            "no HELLO but BYE, then AT",
            b"BYE bye\nAT Evil +0.000000000 victim +00+000 999\n",
        ),
    ];
    for (what, bytes) in impostors {
        let ended = || {
            let log = herd.log("Blake");
            let ended = |line: &&str| {
                let mut fields = line.splitn(4, ' ').skip(1);
                fields.next() == Some("-")
                    && fields.next().is_some_and(|label| !label.contains(':'))
                    && fields.next().is_some_and(|reason| reason.len() > 5)
            };
            log.lines()
                .filter(ended)
                .filter(|l| l.contains(" - s"))
                .count()
        };
        let before = ended();
        let mut fake = FakeNeighbour::dial(herd.member("Blake").servers);
        fake.try_send(bytes);
        let since = Instant::now();
        let said = fake.rest();
        assert!(
            since.elapsed() < Duration::from_secs(4),
            "{what}: refused after {:?}",
            since.elapsed()
        );
        assert!(
            said.iter().all(|line| line.starts_with("BYE ")),
            "{what}: Blake says {said:?}"
        );
        wait_until(
            &format!("the log has the end of '{what}' and a reason"),
            || ended() > before,
        );
    }
    // The herd has taken no harm, and no word of theirs.
    assert_eq!(herd.at("Blake", "victim"), None);
    for name in ["Bryant", "Howard"] {
        assert!(herd.link_is_up("Blake", name), "the link to {name}");
    }
    let at = herd.ask("Metta", "IAMAT kiwi +00+000 1");
    herd.wait_for_at("Blake", "kiwi", &at);
}

#[test]
fn a_senseless_line_ends_the_connection_and_the_link_is_made_anew_at_once() {
    let herd = ann_alone();
    let long = "x".repeat(70_000);
    let lines = [
        "AT",
        "AT Bob",
        "AT Bob +0.000000000 kiwi +00+000",
        "AT Bob 0.000000000 kiwi +00+000 1",
        "AT Bob +0.000000000 kiwi +97+000 1",
        "AT B/b +0.000000000 kiwi +00+000 1",
        "MARK",
        "MARK -1",
        "MARK 1 2",
        "MARK 99999999999999999999",
        "HELLO herd/1 Bob Ann 0000000000000b0b 999 - 0",
        "IAMAT kiwi +00+000 1",
        "garbage \x01\x02",
        "",
        &long,
    ];
    for (serial, line) in (1..).zip(lines) {
        let shown: String = line.chars().take(60).collect();
        let since = Instant::now();
        let (mut bob, _) = bob(&herd, 0xb0b, serial, None);
        assert!(
            since.elapsed() < Duration::from_secs(2),
            "before '{shown}': taken again only after {:?}",
            since.elapsed()
        );
        wait_until("Ann says that the link is up", || {
            herd.link_is_up("Ann", "Bob")
        });
        let ends = || {
            let log = herd.log("Ann");
            let end = |line: &&str| {
                line.split(' ').nth(1) == Some("-") && line.contains(":Bob refused: ")
            };
            log.lines().filter(end).count() as u64
        };
        let before = ends();
        bob.try_send(format!("{line}\n").as_bytes());
        let rest = bob.rest();
        let last = rest.last().map(String::as_str).unwrap_or_default();
        assert!(last.starts_with("BYE "), "after '{shown}': {rest:?}");
        wait_until(&format!("the log has a reason for '{shown}'"), || {
            ends() == before + 1
        });
        wait_until("Ann says that the link is down", || {
            !herd.link_is_up("Ann", "Bob")
        });
    }
    let (mut bob, _) = bob(&herd, 0xb0b, 1_000, None);
    bob.say("AT Bob +0.000000000 kiwi +00+000 1");
    herd.wait_for_at("Ann", "kiwi", "AT Bob +0.000000000 kiwi +00+000 1");
}

#[test]
fn a_server_whose_neighbour_talks_nonsense_dials_it_anew() {
    let mut herd = Herd::new(&[("Ann", &["Bob"]), ("Bob", &[])]);
    let listener = TcpListener::bind(herd.member("Bob").servers).expect("it is free");
    herd.start("Ann");
    for (serial, nonsense) in (1..).zip(["garbage", "AT x", "MARK -1", "HTTP/1.1 400 Bad Request"])
    {
        let mut bob = FakeNeighbour::accept(&listener);
        let hello = bob.expect_hello();
        assert!(hello.line.starts_with("HELLO herd/1 Ann Bob "), "{hello:?}");
        if serial % 2 == 0 {
            bob.hello(("Bob", "Ann"), 0xb0b, serial, None);
        }
        bob.say(nonsense);
        let since = Instant::now();
        let rest = bob.rest();
        let last = rest.last().map(String::as_str).unwrap_or_default();
        assert!(last.starts_with("BYE "), "after {nonsense}: {rest:?}");
        let mut next = FakeNeighbour::accept(&listener);
        next.expect_hello();
        assert!(
            since.elapsed() < Duration::from_secs(2),
            "dialled again after {:?}",
            since.elapsed()
        );
        drop(next);
    }
}
