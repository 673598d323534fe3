//! Servers that have run out of descriptors.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::reference::{PLACE_IN_THE_BACKLOG, promised};
use crate::support::{Client, Herd, limited};
use crate::{ALONE, PAIR};

/// Starts Ann, alone, by a command made from her usual one.
fn ann_with(herd: &mut Herd, limit: &str) {
    let command = limited(&herd.command("Ann"), limit);
    herd.start_with("Ann", command);
}

/// Opens `count` connections, each of which reports a client of its own.
fn crowd(herd: &Herd, count: usize) -> Vec<Client> {
    let connect = |n| {
        let mut client = Client::connect(herd.member("Ann").clients);
        client.say(&format!("IAMAT crowd{n} +00+000 1"));
        client
    };
    (0..count).map(connect).collect()
}

#[test]
fn without_descriptors_those_who_are_in_are_served_and_others_when_some_leave() {
    if !promised(&PLACE_IN_THE_BACKLOG) {
        return;
    }
    let mut herd = Herd::new(PAIR);
    ann_with(&mut herd, "ulimit -n 80");
    let mut early: Vec<Client> = (0..5).map(|_| herd.client("Ann")).collect();
    for (n, client) in early.iter_mut().enumerate() {
        client.say(&format!("IAMAT early{n} +00+000 1"));
        assert!(client.line().starts_with("AT Ann "));
    }
    let crowd = crowd(&herd, 120);
    for (n, client) in early.iter_mut().enumerate() {
        let since = Instant::now();
        client.say(&format!("IAMAT early{n} +00+000 2"));
        assert!(client.line().starts_with("AT Ann "));
        let took = since.elapsed();
        assert!(took < Duration::from_secs(2), "early{n} waited {took:?}");
    }
    herd.start("Bob");
    herd.wait_for_link("Ann", "Bob");
    herd.wait_for_link("Bob", "Ann");
    // They came in this order and are let in in this order, as others leave.
    for (n, mut client) in crowd.into_iter().enumerate() {
        let at = client.line();
        assert!(at.contains(&format!(" crowd{n} ")), "crowd{n} got: {at}");
    }
    for (n, client) in early.iter_mut().enumerate() {
        client.say(&format!("IAMAT early{n} +00+000 3"));
        assert!(client.line().starts_with("AT Ann "));
    }
    let last = herd.at("Ann", "crowd119").expect("it was acknowledged");
    herd.wait_for_at("Bob", "crowd119", &last);
    assert!(herd.process("Ann").is_running());
}

#[test]
fn a_server_that_lets_nobody_in_for_want_of_descriptors_says_so() {
    let mut herd = Herd::new(ALONE);
    ann_with(&mut herd, "ulimit -n 80");
    let before = herd.process("Ann").said();
    let _crowd = crowd(&herd, 120);
    let until = Instant::now() + Duration::from_secs(10);
    while herd.process("Ann").said() == before {
        assert!(
            Instant::now() < until,
            "120 clients want in, at most 80 descriptors: not a word but {before}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn with_few_descriptors_a_server_serves_clients_besides_its_link() {
    let mut herd = Herd::new(PAIR);
    ann_with(&mut herd, "ulimit -n 64");
    herd.start("Bob");
    herd.wait_for_link("Ann", "Bob");
    let mut client = herd.client("Ann");
    let patience = Some(Duration::from_secs(10));
    client.stream.set_read_timeout(patience).expect("not zero");
    client.say("IAMAT kiwi +00+000 1");
    assert!(client.line().starts_with("AT Ann "));
}
