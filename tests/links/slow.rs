//! Neighbours that stop, stall or are slow.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::reference::{MEMORY, promised};
use crate::support::{self, Herd};
use crate::wired::{PAIR, crossings, report, report_a_thousand};
use crate::{ann_alone, ann_arguing, bob, cid, fill};

#[test]
fn a_stopped_neighbour_delays_nobody_and_catches_up() {
    let mut herd = Herd::started(&[("Ann", &["Bob", "Cid"]), ("Bob", &[]), ("Cid", &[])]);
    herd.ask("Ann", "IAMAT client0 +00+000 1");
    let resident = herd.process("Ann").resident_bytes();
    herd.process("Bob").signal(Signal::STOP);
    let mut client = herd.client("Ann");
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    let mut slowest = Duration::ZERO;
    let mut round = 0;
    // Under load, until Ann has given Bob up and for a while longer.
    let mut down_at = None;
    let until = Instant::now() + support::PATIENCE;
    while down_at.is_none_or(|at: Instant| at.elapsed() < Duration::from_secs(1)) {
        assert!(
            Instant::now() < until,
            "Ann never noticed: {}",
            herd.process("Ann").said()
        );
        for _ in 0..20 {
            round += 1;
            let name = format!("client{}", round % 300);
            let pad = "x".repeat(400);
            let since = Instant::now();
            client.say(&format!("IAMAT {name}.{pad} +00+000 {round}"));
            let at = client.line();
            slowest = slowest.max(since.elapsed());
            last.insert(format!("{name}.{pad}"), at);
        }
        if down_at.is_none() && !herd.link_is_up("Ann", "Bob") {
            down_at = Some(Instant::now());
        }
        thread::sleep(Duration::from_millis(5)); // a steady load, not all the machine has
    }
    println!("{round} updates while Bob stood still, the slowest took {slowest:?}");
    assert!(
        slowest < Duration::from_secs(2),
        "a client of Ann waited {slowest:?}"
    );
    let grown = herd
        .process("Ann")
        .resident_bytes()
        .saturating_sub(resident);
    assert!(grown < 16 << 20, "Ann has grown by {grown} bytes");
    let (name, at) = last.iter().next_back().expect("some");
    herd.wait_for_at("Cid", name, at);
    herd.process("Bob").signal(Signal::CONT);
    for (name, at) in &last {
        herd.wait_for_at("Bob", name, at);
    }
    herd.wait_for_link("Ann", "Bob");
    herd.wait_for_link("Bob", "Ann");
}

#[test]
fn after_a_restart_only_what_changed_is_sent_either_way() {
    if !promised(&MEMORY) {
        return;
    }
    let mut herd = Herd::started(PAIR);
    report_a_thousand(&herd);
    for (round, killed) in ["Bob", "Ann", "Bob"].into_iter().enumerate() {
        let other = if killed == "Ann" { "Bob" } else { "Ann" };
        herd.kill(killed);
        let before = crossings(&herd);
        let line = |n| format!("IAMAT client{n} +00+000 {}", round + 2);
        let replies = report(&herd, other, &(0..10).map(line).collect::<Vec<_>>());
        herd.start(killed);
        for (n, at) in replies.iter().enumerate() {
            herd.wait_for_at(killed, &format!("client{n}"), at);
        }
        herd.wait_for_link(other, killed);
        // What comes after these has been sent by now, too.
        for (at_one, elsewhere) in [(killed, other), (other, killed)] {
            let client = format!("last{round}{at_one}");
            let at = herd.ask(at_one, &format!("IAMAT {client} +00+000 1"));
            herd.wait_for_at(elsewhere, &client, &at);
        }
        // Each in two logs: twelve changes, and those of the last second may be told twice.
        let again = crossings(&herd) - before;
        assert!(again <= 2 * (12 + 12 + 12), "{killed}: {again} of 1,000");
    }
}

#[test]
fn a_neighbour_that_does_not_read_is_heard_all_the_same() {
    let herd = &mut ann_alone();
    let (mut bob, _) = bob(herd, 0xb0b, 1, None);
    // More than kernels hold between two sockets, in short lines, so that Ann's output is full up
    // to a few bytes, and marks and heartbeats soon come on top of it.
    for n in 0..400 {
        let line = |m| format!("IAMAT {:x} +00+000 1", 1_000 * n + m);
        report(herd, "Ann", &(0..1_000).map(line).collect::<Vec<_>>());
        bob.say("MARK 0"); // a slower server needs longer than a silence may last
    }
    let until = Instant::now() + Duration::from_secs(11);
    for n in 0.. {
        let at = format!("AT Bob +0.000000000 bobs{n} +00+000 1");
        bob.say(&at);
        herd.wait_for_at("Ann", &format!("bobs{n}"), &at);
        if Instant::now() > until {
            break;
        }
    }
    assert!(!herd.settled_log("Ann").contains("nothing heard"));
}

#[test]
fn a_neighbour_that_never_reads_costs_bounded_memory_and_then_gets_the_latest_once() {
    let herd = &mut ann_arguing(&["--log", "off"]); // what waits for a slow disk is memory, too
    let mut cid = cid(herd);
    let (mut bob, _) = bob(herd, 0xb0b, 1, None);
    let resident = herd.process("Ann").resident_bytes();
    // More than kernels hold between two sockets: Bob does not read at all, Cid does.
    let (clients, rounds) = (100, 120);
    let pad = "x".repeat(1_000);
    let since = Instant::now();
    for round in 1..=rounds {
        let line = |n| format!("IAMAT client{n}.{pad} +00+000 {round}");
        report(herd, "Ann", &(0..clients).map(line).collect::<Vec<_>>());
        bob.say("MARK 0");
        cid.say("MARK 0"); // the rounds may take longer than a silence may last
        for n in 0..clients {
            let news = cid.news();
            let want = format!(" client{n}.{pad} +00+000 {round}");
            assert!(
                news.ends_with(&want),
                "Cid heard {}, wanted …{}",
                &news[..60],
                &want[..20]
            );
        }
    }
    println!("{rounds} rounds took {:?}", since.elapsed());
    let grown = herd
        .process("Ann")
        .resident_bytes()
        .saturating_sub(resident);
    assert!(
        grown < 8 << 20,
        "Ann has grown by {grown} bytes for a neighbour that does not read"
    );
    let mut finals: BTreeMap<String, u32> = BTreeMap::new();
    let mut heard = 0;
    while finals.len() < clients {
        let news = bob.news();
        heard += 1;
        let fields: Vec<&str> = news.split(' ').collect();
        if fields[5] == rounds.to_string() {
            *finals.entry(fields[3].to_owned()).or_default() += 1;
        }
    }
    // What comes after a new update has been said by now.
    herd.ask("Ann", "IAMAT end +00+000 1");
    let news = bob.news();
    assert!(news.ends_with(" end +00+000 1"), "said again: {news:.80}");
    assert!(
        finals.values().all(|&times| times == 1),
        "each latest once: {:?}",
        finals.values().collect::<Vec<_>>()
    );
    let updates = clients * rounds;
    assert!(
        heard < updates * 3 / 4,
        "Bob heard {heard} of {updates} updates: nothing was skipped"
    );
}

#[test]
fn a_slow_neighbour_that_shows_signs_of_life_is_not_hung_up_on() {
    let mut herd = Herd::new(PAIR);
    herd.start("Ann");
    fill(&herd, "Ann", "a", 15_000);
    let (mut bob, _) = bob(&herd, 0xb0b, 1, None);
    herd.wait_for_link("Ann", "Bob"); // which is told a little later than the hello comes
    // About 80 KB a second, as over a poor line, and a heartbeat every second.
    let since = Instant::now();
    let (mut read, mut beats) = (0, 0);
    while since.elapsed() < Duration::from_secs(10) {
        if read < since.elapsed().as_millis() as usize * 80 {
            let n = bob.sip(8_192);
            assert!(
                n > 0 || herd.link_is_up("Ann", "Bob"),
                "after {:?}, {read} bytes and {beats} heartbeats: {}",
                since.elapsed(),
                herd.process("Ann").said()
            );
            read += n;
        } else {
            thread::sleep(Duration::from_millis(5));
        }
        if beats < since.elapsed().as_secs() {
            beats += 1;
            bob.try_send(b"MARK 0\n");
        }
        assert!(
            herd.link_is_up("Ann", "Bob"),
            "after {:?}, {read} bytes and {beats} heartbeats Ann says: {}",
            since.elapsed(),
            herd.process("Ann").said()
        );
    }
}
