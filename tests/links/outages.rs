//! Links and neighbours that come, go and come back.

use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::reference::{WORD_OF_REFUSALS, promised};
use crate::support::{FIVE, Herd, wait_until};
use crate::wired::{PAIR, Wired, link_records, report, start_with_topology, topology_with};
use crate::{NAMES, fill};

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
    wait_until("Bob says that he cannot reach Ann", || {
        said(&mut herd).contains("cannot reach Ann")
    });
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(1_500) {
        herd.ask("Bob", "IAMAT kiwi +00+000 0");
    }
    let times = said(&mut herd).matches("cannot reach").count();
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
    let why = format!("the neighbour said BYE {reason}");
    let unreached = format!("Ann: cannot reach Bob at {address}: {why}. Still trying.\n");
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
