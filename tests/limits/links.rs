//! Links, which the limits of clients do not touch.

use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use rustix::process::Signal;

use crate::support::{Herd, wait_until};
use crate::wire::FakeNeighbour;
use crate::{PAIR, logged};

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
fn white_space_on_a_link_is_as_free_as_on_the_client_port() {
    let mut herd = Herd::new(PAIR);
    herd.start("Ann");
    let mut bob = FakeNeighbour::dial(herd.member("Ann").servers);
    bob.send(b"\tHELLO  herd/1 Bob\x0bAnn 0000000000000b0b 1 - 0 \r\r\n");
    bob.expect_hello();
    bob.send(b" AT\tBob  +0.000000000 kiwi +00+000 1 \r\nMARK  7 \n");
    let at = "AT Bob +0.000000000 kiwi +00+000 1";
    herd.wait_for_at("Ann", "kiwi", at);
    let next = herd.ask("Ann", "IAMAT moa +00+000 1");
    assert_eq!(bob.news(), next, "it is still linked");
}

#[test]
fn what_a_neighbour_had_begun_to_say_before_a_reset_is_discarded_and_that_is_logged() {
    let (herd, mut bob) = ann_and_bob();
    bob.send(b"AT Bob +0.000000000 kiwi +00+000 1\nAT Bob +0.0");
    herd.wait_for_at("Ann", "kiwi", "AT Bob +0.000000000 kiwi +00+000 1");
    sockopt::set_socket_linger(&bob.stream, Some(Duration::ZERO)).expect("it is a socket");
    drop(bob);
    let note = ":Bob reset, 11 bytes that came before were discarded";
    wait_until("the log says so", || logged(&herd, "Ann", note) == 1);
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
