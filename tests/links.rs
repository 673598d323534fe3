//! What a herd promises between its servers: locations flood, once each way and verbatim; links
//! come back and resume where they were; who stops, stalls or talks nonsense harms nobody else.
//!
//! Some tests put proxies between two servers, or are a neighbour themselves: `support/wire.rs`.

mod support;
#[path = "support/wire.rs"]
mod wire;
#[path = "support/wired.rs"]
mod wired;

use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::reference::{HERD, LIVE_SESSION, MEMORY, WORD_OF_REFUSALS, promised};
use support::{Client, FIVE, Herd, Process, free_addresses, wait_until};
use wire::{FakeNeighbour, Hello};
use wired::{PAIR, Wired, crossings, floods, link_records, report, report_a_thousand};
use wired::{start_with_topology, topology_with};

const NAMES: [&str; 5] = ["Blake", "Bryant", "Gasol", "Howard", "Metta"];

// ---- what the tests share

/// A herd in which Ann runs, and Bob and Cid are for the test to be.
fn ann_alone() -> Herd {
    let mut herd = Herd::new(&[("Ann", &["Bob", "Cid"]), ("Bob", &[]), ("Cid", &[])]);
    herd.start("Ann");
    herd
}

/// Bob as Ann knows him.
fn bob(herd: &Herd, incarnation: u64, serial: u64, known: Option<(&str, u64)>) -> (Bob, Hello) {
    let address = herd.member("Ann").servers;
    FakeNeighbour::introduced(address, ("Bob", "Ann"), incarnation, serial, known)
}

/// Bob is no real server.
type Bob = FakeNeighbour;

/// Cid, likewise.
fn cid(herd: &Herd) -> FakeNeighbour {
    let address = herd.member("Ann").servers;
    FakeNeighbour::introduced(address, ("Cid", "Ann"), 0xc1d, 1, None).0
}

/// Reports `count` clients with names of some 400 bytes. Gives the last reply.
fn fill(herd: &Herd, name: &str, prefix: &str, count: usize) -> String {
    let pad = "x".repeat(400);
    let line = |n| format!("IAMAT {prefix}{n}.{pad} +00+000 1");
    let mut replies = report(herd, name, &(0..count).map(line).collect::<Vec<_>>());
    replies.pop().expect("some were reported")
}

// ---- flooding

#[test]
fn an_update_at_any_server_arrives_at_all_others_verbatim() {
    let herd = Herd::started(FIVE);
    for (index, heard_by) in NAMES.iter().enumerate() {
        let client = format!("client{index}.cs.ucla.edu");
        let at = herd.ask(heard_by, &format!("IAMAT {client} +27.5916-086.5640/ 1.50"));
        assert!(at.starts_with(&format!("AT {heard_by} +")), "{at}");
        assert!(
            at.ends_with(&format!(" {client} +27.5916-086.5640/ 1.50")),
            "{at}"
        );
        for name in NAMES {
            herd.wait_for_at(name, &client, &at);
        }
    }
}

#[test]
fn an_update_costs_exactly_six_messages() {
    let herd = Herd::started(FIVE);
    for round in 1..=10 {
        let heard_by = NAMES[round % 5];
        herd.ask(
            heard_by,
            &format!("IAMAT kiwi +27.5916+086.5640 {}", 100 + round),
        );
        wait_until(
            &format!("round {round}: 6 messages each were sent and heard"),
            || floods(&herd, '>') >= 6 * round && floods(&herd, '<') >= 6 * round,
        );
        // One too many would at the latest be there in the next round.
        let (sent, heard) = (floods(&herd, '>'), floods(&herd, '<'));
        assert_eq!(
            (sent, heard),
            (6 * round, 6 * round),
            "sent and heard after {round} updates"
        );
    }
}

#[test]
fn updates_from_all_sides_in_any_order_end_in_one_record_everywhere() {
    let herd = Herd::started(FIVE);
    let clients: Vec<String> = (0..10).map(|n| format!("client{n}")).collect();
    thread::scope(|scope| {
        for (index, name) in NAMES.into_iter().enumerate() {
            let (herd, clients) = (&herd, &clients);
            scope.spawn(move || {
                let time = |turn: usize| match index % 2 {
                    0 => 1_000 + turn,
                    _ => 1_200 - turn,
                };
                let line = |turn| {
                    let client = &clients[turn % 10];
                    format!(
                        "IAMAT {client} +0{index}.{turn:03}+000.{turn:03} {}.{index}",
                        time(turn)
                    )
                };
                for turns in (0..200).collect::<Vec<usize>>().chunks(20) {
                    let lines: Vec<String> = turns.iter().copied().map(line).collect();
                    report(herd, name, &lines);
                }
            });
        }
    });
    for client in &clients {
        let mut held = Vec::new();
        wait_until(&format!("all hold one record of {client}"), || {
            held = NAMES.map(|name| herd.at(name, client)).to_vec();
            held.iter().all(|at| at.is_some() && *at == held[0])
        });
        // Odd servers began at 1200 with client0, even ones ended at 1199 with client9.
        let number: usize = client[6..].parse().expect("a digit");
        let rising = (0..200).filter(|turn| turn % 10 == number).max();
        let falling = (0..200).filter(|turn| turn % 10 == number).min();
        let latest = (
            format!("{}.4", 1_000 + rising.expect("some")),
            format!("{}.3", 1_200 - falling.expect("some")),
        );
        let latest = latest.0.max(latest.1);
        let at = held[0].as_deref().unwrap_or_default();
        assert!(
            at.ends_with(&format!(" {latest}")),
            "{client}: {at}, but the latest was at {latest}"
        );
    }
}

#[test]
fn tweets_never_cross_a_link() {
    let mut herd = Herd::new(FIVE);
    let address = free_addresses(1)[0];
    let mut command = Command::new(HERD);
    command.args(["twitter", "--listen", &address.to_string()]);
    let twitter = Process::start(command, herd.directory.path().join("twitter.err"));
    wait_until("the stand-in listens", || {
        twitter.said().contains("listening")
    });
    herd.twitter_url = format!("http://{address}/search.json");
    herd.start_all();
    let at = herd.ask("Blake", "IAMAT kiwi +34.0689-118.4452 1");
    for name in NAMES {
        herd.wait_for_at(name, "kiwi", &at);
        let mut client = herd.client(name);
        client.say("WHATSAT kiwi 100 10");
        assert_eq!(client.line(), at, "from {name}");
        let json = client.line();
        assert!(json.contains("\"results\""), "from {name}: {json}");
    }
    for member in &herd.members {
        let log = herd.settled_log(&member.name);
        assert!(
            log.contains("\"results\""),
            "{} logs its answers",
            member.name
        );
        for neighbour in &member.neighbours {
            for direction in ['<', '>'] {
                for record in link_records(&log, direction, neighbour) {
                    let word = record.split(' ').next().unwrap_or_default();
                    assert!(
                        ["HELLO", "AT", "MARK", "BYE"].contains(&word) && !record.contains('{'),
                        "{} {direction} {neighbour}: {record}",
                        member.name
                    );
                }
            }
        }
    }
}

#[test]
fn huge_lines_and_any_byte_cross_links_intact() {
    let herd = Herd::started(&[("Ann", &["Bob"]), ("Bob", &["Cid"]), ("Cid", &[])]);
    let longest = 65_536 - "IAMAT  +00+000 1".len();
    let some = |bytes: usize| -> Vec<u8> { (0x80..=0xff_u8).cycle().take(bytes).collect() };
    let odd: Vec<u8> = (0..=0x7f_u8)
        .filter(|byte| !b" \t\r\n\x0b\x0c".contains(byte))
        .collect();
    for client in [some(65_000), some(longest), some(128), odd, vec![0]] {
        let shown = client.len();
        let mut ann = herd.client("Ann");
        ann.send(&[b"IAMAT ", &client[..], b" +00+000 1\n"].concat());
        let at = ann.line_bytes().expect("a reply");
        let end = [b" ", &client[..], b" +00+000 1"].concat();
        assert!(
            at.starts_with(b"AT Ann +") && at.ends_with(&end),
            "{shown} bytes: {}",
            at[..at.len().min(200)].escape_ascii()
        );
        let whats = [b"WHATSAT ", &client[..], b" 1 0\n"].concat();
        for name in ["Bob", "Cid"] {
            wait_until(&format!("{name} holds a client of {shown} bytes"), || {
                let mut other = herd.client(name);
                other.send(&whats);
                other.line_bytes().expect("a reply") == at
            });
        }
    }
}

// ---- links that come, go and come back

#[test]
fn a_neighbour_killed_and_restarted_learns_what_it_missed() {
    let mut herd = Herd::started(FIVE);
    let before = herd.ask("Metta", "IAMAT before +00+000 1");
    herd.wait_for_at("Blake", "before", &before);
    for (round, name) in ["Metta", "Bryant", "Blake"].into_iter().enumerate() {
        herd.kill(name);
        let other = if name == "Blake" { "Howard" } else { "Blake" };
        let missed = herd.ask(other, &format!("IAMAT missed{round} +00+000 1"));
        let moved = herd.ask(other, &format!("IAMAT before +01+001 {}", 10 + round));
        herd.start_all();
        for who in NAMES {
            herd.wait_for_at(who, &format!("missed{round}"), &missed);
            herd.wait_for_at(who, "before", &moved);
        }
    }
}

#[test]
fn a_link_is_up_soon_after_both_ends_are() {
    let mut herd = Herd::started(PAIR);
    for (killed, other) in [("Ann", "Bob"), ("Bob", "Ann"), ("Ann", "Bob")] {
        herd.kill(killed);
        wait_until("the other says so", || !herd.link_is_up(other, killed));
        // Down for a while, in which the other serves on and its attempts grow rare.
        let since = Instant::now();
        while since.elapsed() < Duration::from_millis(1_500) {
            herd.ask(other, "IAMAT kiwi +00+000 1");
        }
        herd.start(killed);
        let since = Instant::now();
        herd.wait_for_link(killed, other);
        herd.wait_for_link(other, killed);
        let took = since.elapsed();
        println!("{killed} restarted: the link was up after {took:?}");
        assert!(
            took < Duration::from_secs(3),
            "{took:?} after {killed} came back; 1 s is promised on an idle machine"
        );
    }
}

#[test]
fn a_server_that_was_down_at_the_start_joins_when_it_appears() {
    let mut herd = Herd::new(PAIR);
    herd.start("Bob");
    let at = herd.ask("Bob", "IAMAT kiwi +00+000 1");
    let said = |herd: &mut Herd| herd.process("Bob").said();
    wait_until("Bob says that Ann cannot be reached", || {
        said(&mut herd).contains("Ann cannot be reached")
    });
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(1_500) {
        herd.ask("Bob", "IAMAT kiwi +00+000 0");
    }
    let times = said(&mut herd).matches("cannot be reached").count();
    assert_eq!(times, 1, "once is enough: {}", said(&mut herd));
    herd.start("Ann");
    herd.wait_for_link("Bob", "Ann");
    herd.wait_for_link("Ann", "Bob");
    herd.wait_for_at("Ann", "kiwi", &at);
}

#[test]
fn a_link_that_one_side_does_not_name_is_told_to_both_operators() {
    if !promised(&WORD_OF_REFUSALS) {
        return;
    }
    let mut herd = Herd::new(PAIR);
    let apart = topology_with(&herd, &[]).replace(" Bob\n", "\n");
    let apart = apart.replace(" Ann\n", "\n");
    start_with_topology(&mut herd, "Bob", &apart);
    herd.start("Ann");
    let address = herd.member("Bob").servers;
    let reason = "a HELLO from no neighbour of ours";
    let unreached = format!("Bob cannot be reached at {address}, trying on: ");
    let unreached = format!("Ann: {unreached}the neighbour said BYE {reason}\n");
    wait_until("Ann says why", || {
        herd.process("Ann").said().contains(&unreached)
    });
    wait_until(
        "there were several refusals: they are told once a minute",
        || herd.log("Bob").matches("HELLO herd/1 Ann Bob").count() > 1,
    );
    let said = herd.process("Bob").said();
    let told: Vec<_> = said.lines().filter(|l| l.contains("refused")).collect();
    let [told] = told[..] else {
        panic!("once is enough: {said}")
    };
    assert!(told.starts_with("Bob: Ann from 127.0.0.1:"), "{told}");
    assert!(
        told.ends_with(&format!(" was refused at the server port: {reason}")),
        "{told}"
    );
}

#[test]
fn dials_that_cross_are_no_refusals_to_speak_of() {
    let mut herd = Herd::started(FIVE);
    let at = herd.ask("Blake", "IAMAT kiwi +00+000 1");
    herd.wait_for_at("Metta", "kiwi", &at);
    for name in NAMES {
        let said = herd.process(name).said();
        assert!(!said.contains("was refused at"), "{said}");
    }
}

#[test]
fn after_a_cut_only_what_changed_is_sent() {
    let wired = Wired::started();
    let herd = &wired.herd;
    for name in ["Ann", "Bob"] {
        let line = |n| format!("IAMAT {name}{n} +27.5916+086.5640 1");
        report(herd, name, &(0..2_000).map(line).collect::<Vec<_>>());
    }
    wait_until("both tables have crossed", || {
        wired.crossed() == (2_000, 2_000)
    });
    for round in 1..=3 {
        wired.wait_until_marked();
        let before = wired.crossed();
        wired.cut();
        let moved = wired.move_some(1 + round);
        wired.heal_and_settle(&moved);
        let after = wired.crossed();
        let crossed = (after.0 - before.0, after.1 - before.1);
        assert!(
            crossed.0 <= 20 + 5 && crossed.1 <= 20 + 5,
            "round {round}: 20 changes each way, but {crossed:?} AT lines crossed of a table of 4000"
        );
    }
}

#[test]
fn a_link_that_swallows_everything_is_noticed_and_comes_back_in_step() {
    let wired = Wired::started();
    let herd = &wired.herd;
    wired.to_ann.blackhole();
    wired.to_bob.blackhole();
    let since = Instant::now();
    let mut down = [None; 2];
    wait_until("both say that the link is down", || {
        for (down, (name, other)) in down.iter_mut().zip([("Ann", "Bob"), ("Bob", "Ann")]) {
            if down.is_none() && !herd.link_is_up(name, other) {
                *down = Some(since.elapsed());
            }
        }
        down.iter().all(Option::is_some)
    });
    println!("Ann and Bob noticed after {down:?}");
    for (name, took) in [("Ann", down[0]), ("Bob", down[1])] {
        let took = took.expect("waited for");
        assert!(
            took < Duration::from_secs(15),
            "{name} noticed after {took:?}, 15 s are promised"
        );
    }
    let one = herd.ask("Ann", "IAMAT one +00+000 1");
    let two = herd.ask("Bob", "IAMAT two +00+000 1");
    wired.heal();
    wired.wait_until_up();
    herd.wait_for_at("Bob", "one", &one);
    herd.wait_for_at("Ann", "two", &two);
}

#[test]
fn a_link_that_swallows_one_direction_is_noticed_and_comes_back_in_step() {
    let wired = Wired::started();
    let herd = &wired.herd;
    // What Ann says is swallowed; she hears Bob well.
    wired.to_bob.there().hold(true);
    wired.to_ann.back().hold(true);
    let since = Instant::now();
    wait_until("Bob says that the link is down", || {
        !herd.link_is_up("Bob", "Ann")
    });
    let took = since.elapsed();
    println!("Bob noticed after {took:?}");
    assert!(
        took < Duration::from_secs(15),
        "Bob noticed after {took:?}, 15 s are promised"
    );
    let one = herd.ask("Ann", "IAMAT one +00+000 1");
    let two = herd.ask("Bob", "IAMAT two +00+000 1");
    wired.heal();
    herd.wait_for_at("Bob", "one", &one);
    herd.wait_for_at("Ann", "two", &two);
    wired.wait_until_up();
}

#[test]
fn heartbeats_keep_an_idle_link_up_and_are_not_logged() {
    let wired = Wired::started();
    let herd = &wired.herd;
    let at = herd.ask("Ann", "IAMAT kiwi +00+000 1");
    herd.wait_for_at("Bob", "kiwi", &at);
    wired.wait_until_marked();
    let records = || {
        let count = |name: &str, other: &str| {
            let log = herd.settled_log(name);
            link_records(&log, '<', other).len() + link_records(&log, '>', other).len()
        };
        (count("Ann", "Bob"), count("Bob", "Ann"))
    };
    let (logged, bytes) = (records(), wired.bytes());
    let mut beats = (0, 0);
    let mut last = bytes;
    wait_until("three heartbeats have crossed each way", || {
        let now = wired.bytes();
        beats.0 += u32::from(now.0 > last.0);
        beats.1 += u32::from(now.1 > last.1);
        last = now;
        beats.0 >= 3 && beats.1 >= 3
    });
    assert_eq!(
        records(),
        logged,
        "link records before and after three heartbeats:\n{}",
        herd.log("Ann")
    );
    assert!(!wired.is_down());
}

#[test]
fn a_link_comes_up_though_only_one_side_can_reach_the_other() {
    // A port where nobody listens, and one where somebody accepts and stays silent.
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let silent = silent.local_addr().map(|address| (silent, address));
    let (_silent, silent) = silent.expect("it is bound");
    let nobody: SocketAddr = "127.0.0.1:9".parse().expect("an address");
    thread::scope(|scope| {
        for (misled, other) in [("Ann", "Bob"), ("Bob", "Ann")] {
            for wrong in [nobody, silent] {
                scope.spawn(move || {
                    let mut herd = Herd::new(PAIR);
                    let text = topology_with(&herd, &[(other, wrong)]);
                    start_with_topology(&mut herd, misled, &text);
                    herd.start(other);
                    let since = Instant::now();
                    herd.wait_for_link(misled, other);
                    herd.wait_for_link(other, misled);
                    println!("{misled} dials {wrong}: up after {:?}", since.elapsed());
                    let one = herd.ask(misled, "IAMAT one +00+000 1");
                    let two = herd.ask(other, "IAMAT two +00+000 1");
                    herd.wait_for_at(other, "one", &one);
                    herd.wait_for_at(misled, "two", &two);
                });
            }
        }
    });
}

#[test]
fn neighbours_may_be_given_by_host_name() {
    let mut herd = Herd::new(PAIR);
    for (name, other) in [("Ann", "Bob"), ("Bob", "Ann")] {
        let there = herd.member(other).servers;
        let text = topology_with(&herd, &[]);
        let text = text.replace(&there.to_string(), &format!("LocalHost:{}", there.port()));
        start_with_topology(&mut herd, name, &text);
    }
    herd.wait_for_link("Ann", "Bob");
    herd.wait_for_link("Bob", "Ann");
    let at = herd.ask("Ann", "IAMAT kiwi +00+000 1");
    herd.wait_for_at("Bob", "kiwi", &at);
}

#[test]
fn two_servers_with_large_tables_of_their_own_meet_and_keep_one_connection() {
    let mut wired = Wired::apart();
    let of_ann = fill(&wired.herd, "Ann", "a", 6_000);
    let of_bob = fill(&wired.herd, "Bob", "b", 6_000);
    wired.heal();
    wired.herd.wait_for_all(&["Ann"], &[of_bob]);
    wired.herd.wait_for_all(&["Bob"], &[of_ann]);
    for name in ["Ann", "Bob"] {
        let said = wired.herd.process(name).said();
        assert!(!said.contains(" is down"), "{name}: {said}");
    }
}

// ---- who stops, stalls or is slow

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
    let herd = &mut ann_alone();
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

// ---- what comes to the server port

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
        "AT Bob +0.000000000  kiwi +00+000 1",
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

// ---- hello, incarnations and marks

#[test]
fn a_newer_hello_replaces_a_silent_link_and_an_older_one_is_refused() {
    let herd = ann_alone();
    let address = herd.member("Ann").servers;
    // The session that stands was heard from a moment ago: that must be over.
    let replaced = |incarnation, mut serial| {
        let mut taken = None;
        wait_until("the link is silent, and a newer hello is taken", || {
            serial += 1;
            let mut next = FakeNeighbour::dial(address);
            next.hello(("Bob", "Ann"), incarnation, serial, None);
            taken = next.line().starts_with("HELLO ").then_some(next);
            taken.is_some()
        });
        (taken.expect("it was waited for"), serial)
    };
    let (mut first, _) = bob(&herd, 0xb0b, 5, None);
    let (mut second, serial) = replaced(0xb0b, 5);
    let rest = first.rest();
    assert!(
        rest.iter().all(|line| line.starts_with("MARK ")),
        "the first connection ends: {rest:?}"
    );
    for late in [5, serial] {
        let mut stale = FakeNeighbour::dial(address);
        stale.hello(("Bob", "Ann"), 0xb0b, late, None);
        let rest = stale.rest();
        assert!(
            rest.len() == 1 && rest[0].starts_with("BYE "),
            "serial {late} after {serial}: {rest:?}"
        );
    }
    let at = herd.ask("Ann", "IAMAT kiwi +00+000 1");
    assert_eq!(second.news(), at, "the second connection carries the link");
    // A new life counts its hellos from the beginning.
    let (mut third, _) = replaced(0xb0b2, 0);
    assert_eq!(third.news(), at, "a new life takes over, and hears all");
    second.rest();
}

#[test]
fn a_stranger_with_a_neighbours_name_does_not_end_the_neighbours_session() {
    if !promised(&LIVE_SESSION) {
        return;
    }
    let herd = Herd::started(&[("Blake", &["Bryant"]), ("Bryant", &[])]);
    let at = herd.ask("Blake", "IAMAT kiwi +00+000 1");
    herd.wait_for_at("Bryant", "kiwi", &at);
    let until = Instant::now() + Duration::from_secs(4); // longer than a session may be silent
    for serial in 1.. {
        let mut stranger = FakeNeighbour::dial(herd.member("Blake").servers);
        stranger.hello(("Bryant", "Blake"), 0xbad + serial % 2, serial, None);
        let rest = stranger.rest();
        assert!(
            rest.len() == 1 && rest[0].starts_with("BYE the link is up"),
            "it is told nothing: {rest:?}"
        );
        if Instant::now() > until {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let at = herd.ask("Blake", "IAMAT kiwi +00+000 2");
    herd.wait_for_at("Bryant", "kiwi", &at);
    let log = herd.settled_log("Blake");
    let opened = |line: &&str| line.contains(":Bryant HELLO herd/1 Blake Bryant");
    assert_eq!(log.lines().filter(opened).count(), 1, "one session: {log}");
}

#[test]
fn a_neighbour_with_its_mark_gets_only_what_is_new() {
    let herd = ann_alone();
    let (mut bob1, hello) = bob(&herd, 0xb0b, 1, None);
    assert_eq!(
        (hello.known_incarnation.as_str(), hello.known_number),
        ("-", 0),
        "Ann has nothing of Bob's yet: {}",
        hello.line
    );
    let old = herd.ask("Ann", "IAMAT old +00+000 1");
    assert_eq!(bob1.news(), old);
    let mark = bob1.mark_above(0);
    bob1.say("AT Bob +0.000000000 told +00+000 1");
    bob1.say("MARK 41");
    herd.wait_for_at("Ann", "told", "AT Bob +0.000000000 told +00+000 1");
    drop(bob1);
    let new = herd.ask("Ann", "IAMAT new +00+000 1");
    let known = Some((hello.incarnation.as_str(), mark));
    let (mut bob2, again) = bob(&herd, 0xb0b, 2, known);
    assert_eq!(bob2.news(), new, "neither what it has nor what it told");
    assert_eq!(again.incarnation, hello.incarnation, "one life of Ann's");
    assert!(again.serial > hello.serial, "{hello:?} {again:?}");
    assert_eq!(
        (again.known_incarnation.as_str(), again.known_number),
        ("0000000000000b0b", 41),
        "Ann goes on from Bob's mark: {}",
        again.line
    );
    drop(bob2);
    // A mark of another life of Ann's, or one from her future, is worth nothing.
    for (serial, known) in [
        (3, ("00000000000000aa", mark)),
        (4, (hello.incarnation.as_str(), u64::MAX)),
    ] {
        let (mut bob, _) = bob(&herd, 0xb0b, serial, Some(known));
        let news = [bob.news(), bob.news()];
        assert_eq!(
            news,
            [old.clone(), new.clone()],
            "everything but what Bob told"
        );
    }
}

#[test]
fn a_cr_before_the_lf_is_white_space_whoever_dials() {
    let mut herd = ann_alone();
    let at = "AT Bob +0.000000000 kiwi +00+000 5";
    // Bob dials, and a load balancer or telnet ends his lines.
    let mut dialling = FakeNeighbour::dial(herd.member("Ann").servers);
    dialling.send(b"HELLO herd/1 Bob Ann 0000000000000b0b 1 - 0\r\n");
    dialling.expect_hello();
    dialling.send(format!("{at}\r\nMARK 7\r\n").as_bytes());
    herd.wait_for_at("Ann", "kiwi", at);
    assert_eq!(
        cid(&herd).news(),
        at,
        "it floods on as it would have come without"
    );
    let logged = format!(":Bob {at}\\x0d");
    wait_until("the log has the line as it came", || {
        herd.log("Ann").lines().any(|line| line.ends_with(&logged))
    });
    // Nothing of it was senseless, and the mark was understood.
    let newer = herd.ask("Ann", "IAMAT newer +00+000 6");
    assert_eq!(dialling.news(), newer);
    drop(dialling);
    let (_, hello) = bob(&herd, 0xb0b, 2, None);
    let known = (&*hello.known_incarnation, hello.known_number);
    assert_eq!(known, ("0000000000000b0b", 7), "{}", hello.line);
    // Bob is dialled.
    herd.kill("Ann");
    let listener = TcpListener::bind(herd.member("Bob").servers).expect("it is free");
    herd.start("Ann");
    let mut dialled = FakeNeighbour::accept(&listener);
    dialled.expect_hello();
    dialled.send(b"HELLO herd/1 Bob Ann 0000000000000b0c 1 - 0\r\n");
    let told = "AT Bob +0.000000000 emu +00+000 5";
    dialled.send(format!("{told}\r\nBYE so long\r\n").as_bytes());
    herd.wait_for_at("Ann", "emu", told);
    wait_until("the log has the reason without CR", || {
        let log = herd.log("Ann");
        log.lines()
            .any(|line| line.contains(" - s") && line.ends_with("so long"))
    });
}

#[test]
fn a_neighbour_in_a_new_life_gets_everything_even_what_it_told() {
    let herd = ann_alone();
    let (mut bob1, hello) = bob(&herd, 0xb0b, 7, None);
    let told = "AT Bob +0.000000000 told +00+000 1";
    bob1.say(told);
    bob1.say("MARK 9");
    herd.wait_for_at("Ann", "told", told);
    let own = herd.ask("Ann", "IAMAT own +00+000 1");
    assert_eq!(bob1.news(), own);
    drop(bob1);
    let (mut bob2, again) = bob(&herd, 0xb0b2, 1, None);
    assert_eq!([bob2.news(), bob2.news()], [told.to_owned(), own]);
    assert_eq!(hello.incarnation, again.incarnation);
}

#[test]
fn what_a_neighbour_tells_floods_on_but_not_back() {
    let herd = ann_alone();
    let mut cid = cid(&herd);
    let (mut bob, _) = bob(&herd, 0xb0b, 1, None);
    for round in 1..=3 {
        let told = format!("AT Somebody +0.000000000 kiwi +00+000 {round}");
        bob.say(&told);
        assert_eq!(cid.news(), told, "to Cid");
        let own = herd.ask("Ann", &format!("IAMAT own +00+000 {round}"));
        assert_eq!(bob.news(), own, "to Bob, and not his own words before it");
        assert_eq!(cid.news(), own, "to Cid");
    }
}

#[test]
fn a_report_that_loses_goes_no_further() {
    let herd = ann_alone();
    let mut cid = cid(&herd);
    let (mut bob, _) = bob(&herd, 0xb0b, 1, None);
    let held = herd.ask("Ann", "IAMAT kiwi +00+000 1000");
    assert_eq!((bob.news(), cid.news()), (held.clone(), held.clone()));
    // Older, the same again, tied in time but smaller, from the future but received before.
    bob.say("AT Bob +0.000000000 kiwi +01+001 999");
    bob.say(&held);
    bob.say("AT Bob +0.000000000 kiwi +01+001 1000");
    bob.say("AT Bob -8000.000000001 kiwi +01+001 9000");
    let lost = herd.ask("Ann", "IAMAT kiwi +02+002 998.5");
    assert!(
        lost.ends_with(" kiwi +02+002 998.5"),
        "answered as usual: {lost}"
    );
    bob.say("AT Bob +0.000000000 other +00+000 1");
    assert_eq!(
        cid.news(),
        "AT Bob +0.000000000 other +00+000 1",
        "nothing of what lost comes before it"
    );
    let end = herd.ask("Ann", "IAMAT end +00+000 1");
    assert_eq!(bob.news(), end, "nor does any of it come back");
    assert_eq!(herd.at("Ann", "kiwi").as_deref(), Some(held.as_str()));
}

#[test]
fn what_a_neighbour_has_said_after_its_last_lf_counts_for_nothing() {
    let herd = ann_alone();
    // A report that is cut off within its time is another report.
    let whole = "AT Bob +0.000000000 kiwi +00+000 1";
    let cut = "AT Bob +0.000000000 cut +00+000 15";
    let (mut bob, _) = bob(&herd, 0xb0b, 1, None);
    bob.send(format!("{whole}\n{cut}").as_bytes());
    bob.stream
        .shutdown(Shutdown::Write)
        .expect("it is connected");
    bob.rest();
    herd.wait_for_at("Ann", "kiwi", whole);
    let note = format!(":Bob {} bytes after the last LF were discarded", cut.len());
    wait_until("the log says so", || {
        let log = herd.log("Ann");
        log.lines()
            .any(|line| line.contains(" * s") && line.ends_with(&note))
    });
    assert_eq!(herd.at("Ann", "cut"), None);
}

#[test]
fn what_a_refused_or_closing_neighbour_says_counts_for_nothing() {
    let herd = ann_alone();
    let (mut bob1, _) = bob(&herd, 0xb0b, 1, None);
    bob1.send(
        b"AT Bob +0.000000000 good +00+000 1\n\
          nonsense\n\
          AT Bob +0.000000000 bad +00+000 1\n",
    );
    bob1.rest();
    let (mut bob2, _) = bob(&herd, 0xb0b, 2, None);
    bob2.send(b"BYE so long\nAT Bob +0.000000000 bad +00+000 1\n");
    bob2.rest();
    herd.wait_for_at("Ann", "good", "AT Bob +0.000000000 good +00+000 1");
    assert_eq!(herd.at("Ann", "bad"), None);
    herd.wait_for_record("Ann", "so long");
}

#[test]
fn a_client_is_no_neighbour() {
    let herd = ann_alone();
    let mut client = Client::connect(herd.member("Ann").clients);
    for line in [
        "HELLO herd/1 Bob Ann 0000000000000b0b 1 - 0",
        "AT Bob +0.000000000 victim +00+000 1",
        "MARK 1",
        "BYE bye",
    ] {
        client.say(line);
        assert_eq!(client.line(), format!("? {line}"));
    }
    assert_eq!(herd.at("Ann", "victim"), None);
}
