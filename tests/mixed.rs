//! Herds of several languages: any server may be the Twisted one, and nobody else notices.
//!
//! `HERD_TWISTED` names the Python that has Twisted; without it there is nothing to be mixed with: all of it is
//! `#[ignore]`d. `HERD_MIXED` is the command of another reference implementation, which then stands
//! in Twisted's place: `HERD_MIXED="node tests/reference/node/herd.js"`.

#[path = "support/http.rs"]
mod http;
mod support;
#[path = "support/wire.rs"]
mod wire;
#[path = "support/wired.rs"]
mod wired;

use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

use http::Http;
use rustix::process::Signal;
use support::reference::ServerCommand;
use support::{FIVE, Herd, client_of, wait_until};
use wired::{PAIR, Wired, crossings, floods, report, report_a_thousand};

const NAMES: [&str; 5] = ["Blake", "Bryant", "Gasol", "Howard", "Metta"];

/// The Twisted herd, or who stands in its place.
fn twisted() -> ServerCommand {
    let other = env::var("HERD_MIXED").unwrap_or_default();
    if !other.trim().is_empty() {
        return ServerCommand::parse(&other);
    }
    let python = env::var("HERD_TWISTED").unwrap_or_default();
    assert!(
        !python.trim().is_empty(),
        "this test needs a Python with Twisted: tests/reference/twisted/venv.sh DIR; HERD_TWISTED=DIR/bin/python"
    );
    let words = format!("{python} tests/reference/twisted/herd.py");
    ServerCommand::parse(&words)
}

/// A herd of which `of_reference` are run by `reference` and the others by herd, none of them
/// started yet.
fn mixed(links: &[(&str, &[&str])], of_reference: &[&str], reference: &ServerCommand) -> Herd {
    let mut herd = Herd::with_http(links); // which the others pass over
    for member in &mut herd.members {
        member.server = match of_reference.contains(&member.name.as_str()) {
            true => reference.clone(),
            false => ServerCommand::herd(),
        };
    }
    herd
}

/// Reports a client of its own at each server, and waits until all hold all of them.
fn report_everywhere(herd: &Herd, prefix: &str) {
    let odd = "\u{e9}\\x41\u{1}";
    let reported = NAMES.map(|name| {
        let client = format!("{prefix}{odd}{name}");
        let at = herd.ask(name, &format!("IAMAT {client} +27.5916-086.5640/ 1.50"));
        assert!(at.starts_with(&format!("AT {name} +")), "{at}");
        (client, at)
    });
    for (client, at) in &reported {
        for name in NAMES {
            herd.wait_for_at(name, client, at);
        }
    }
}

#[test]
#[ignore = "needs a Python with Twisted (tests/reference/twisted/venv.sh DIR; HERD_TWISTED=DIR/bin/python)"]
fn each_of_the_five_may_be_the_twisted_one() {
    let twisted = twisted();
    for name in NAMES {
        let mut herd = mixed(FIVE, &[name], &twisted);
        herd.start_all();
        report_everywhere(&herd, "before");
        wait_until("six messages an update", || floods(&herd, '>') >= 5 * 6);
        assert_eq!(floods(&herd, '>'), 5 * 6, "{name}: six messages an update");
        // It goes and comes back with nothing in its memory; then a neighbour does, with its journal.
        let neighbour = herd.member(name).neighbours[0].clone();
        for killed in [name, &neighbour] {
            herd.kill(killed);
            let other = NAMES.into_iter().find(|other| *other != killed);
            let other = other.expect("there are five");
            let missed = format!("missed-by-{killed}");
            let missed_at = herd.ask(other, &format!("IAMAT {missed} +00+000 1"));
            let moved = format!("IAMAT before\u{e9}\\x41\u{1}{killed} +01+001 2");
            let moved_at = herd.ask(other, &moved);
            herd.start_all();
            for who in NAMES {
                herd.wait_for_at(who, &missed, &missed_at);
                let client = moved.split(' ').nth(1).expect("a client");
                herd.wait_for_at(who, client, &moved_at);
            }
        }
        report_everywhere(&herd, "after");
    }
}

#[test]
#[ignore = "needs a Python with Twisted (tests/reference/twisted/venv.sh DIR; HERD_TWISTED=DIR/bin/python)"]
fn every_link_of_a_herd_may_be_between_two_languages() {
    let twisted = twisted();
    // The links of the five have two sides: Blake, Gasol, Metta and Bryant, Howard.
    for of_reference in [&["Blake", "Gasol", "Metta"][..], &["Bryant", "Howard"]] {
        let mut herd = mixed(FIVE, of_reference, &twisted);
        herd.start_all();
        for round in 1..=5 {
            let heard_by = NAMES[round % 5];
            let at = herd.ask(heard_by, &format!("IAMAT kiwi +00+000 {round}"));
            for name in NAMES {
                herd.wait_for_at(name, "kiwi", &at);
            }
            wait_until("six messages each were sent and heard", || {
                floods(&herd, '>') >= 6 * round && floods(&herd, '<') >= 6 * round
            });
            let flooded = (floods(&herd, '>'), floods(&herd, '<'));
            assert_eq!(flooded, (6 * round, 6 * round), "{of_reference:?}");
        }
        for name in NAMES {
            herd.process(name).signal(Signal::TERM);
            let status = herd.process(name).wait();
            assert_eq!(status.code(), Some(0), "{name}: {status}");
        }
    }
}

#[test]
#[ignore = "needs a Python with Twisted (tests/reference/twisted/venv.sh DIR; HERD_TWISTED=DIR/bin/python)"]
fn who_is_erased_is_unknown_to_all_languages_and_late_reports_lose() {
    let twisted = twisted();
    // Metta's only neighbour is Bryant. Whoever erases, the line crosses both ways between two languages.
    for (of_reference, erases) in [
        (&["Blake", "Gasol", "Metta"][..], "Howard"),
        (&["Bryant", "Howard"], "Metta"),
    ] {
        let mut herd = mixed(FIVE, of_reference, &twisted);
        herd.start_all();
        let away = of_reference[0];
        let kiwi = herd.ask("Bryant", "IAMAT kiwi +27.5916+086.5640 1353118103");
        let moa = herd.ask("Metta", "IAMAT moa +00+000 1");
        for name in NAMES {
            herd.wait_for_at(name, "kiwi", &kiwi);
            herd.wait_for_at(name, "moa", &moa);
        }
        let reply = Http::connect(herd.http(erases)).ask("DELETE", "/v1/clients/kiwi", "", b"");
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(!reply.text().contains("whose version"), "{}", reply.text());
        let is_unknown =
            |herd: &Herd, name: &str| herd.ask(name, "WHATSAT kiwi 10 5") == "? WHATSAT kiwi 10 5";
        for name in NAMES {
            wait_until("it is erased", || is_unknown(&herd, name));
        }
        // Late reports lose, whoever hears them; the next of another client shows that all is said.
        for name in NAMES {
            let at = herd.ask(name, "IAMAT kiwi +01+001 1353118104");
            assert!(at.starts_with(&format!("AT {name} +")), "{at}");
            let after = herd.ask(name, &format!("IAMAT after{name} +01+001 1"));
            for other in NAMES {
                herd.wait_for_at(other, &format!("after{name}"), &after);
                assert!(is_unknown(&herd, other), "{other}: what {name} heard");
            }
        }
        // One that comes back with nothing in its memory is told.
        herd.kill(away);
        herd.start_all();
        herd.wait_for_at(away, "moa", &moa);
        wait_until("it is told again", || is_unknown(&herd, away));
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("after 1970").as_secs();
        let anew = herd.ask(away, &format!("IAMAT kiwi +02+002 {}", now + 1));
        for name in NAMES {
            herd.wait_for_at(name, "kiwi", &anew);
        }
    }
}

#[test]
#[ignore = "needs a Python with Twisted (tests/reference/twisted/venv.sh DIR; HERD_TWISTED=DIR/bin/python)"]
fn after_a_cut_between_two_languages_only_what_changed_is_sent() {
    let twisted = twisted();
    for of_reference in ["Ann", "Bob"] {
        let wired = Wired::between(mixed(PAIR, &[of_reference], &twisted));
        wired.heal();
        wired.wait_until_up();
        let herd = &wired.herd;
        for name in ["Ann", "Bob"] {
            let line = |n| format!("IAMAT {name}{n} +00+000 1");
            report(herd, name, &(0..1_000).map(line).collect::<Vec<_>>());
        }
        wait_until("both tables have crossed", || {
            wired.crossed() == (1_000, 1_000)
        });
        wired.wait_until_marked();
        let before = wired.crossed();
        wired.cut();
        let moved = wired.move_some(2);
        wired.heal_and_settle(&moved);
        let after = wired.crossed();
        let crossed = (after.0 - before.0, after.1 - before.1);
        assert_eq!(
            crossed,
            (20, 20),
            "{of_reference} on Twisted: of 1,000 each"
        );
    }
}

#[test]
#[ignore = "needs a Python with Twisted (tests/reference/twisted/venv.sh DIR; HERD_TWISTED=DIR/bin/python)"]
fn a_herd_that_restarts_beside_a_twisted_neighbour_goes_on_where_it_was() {
    let twisted = twisted();
    let mut herd = mixed(PAIR, &["Bob"], &twisted);
    herd.start_all();
    report_a_thousand(&herd);
    herd.kill("Ann");
    let before = crossings(&herd);
    let missed = herd.ask("Bob", "IAMAT missed +00+000 1");
    herd.start("Ann");
    herd.wait_for_at("Ann", "missed", &missed);
    let last = herd.ask("Ann", "IAMAT last +00+000 1");
    herd.wait_for_at("Bob", "last", &last);
    // Each in two logs.
    assert_eq!(crossings(&herd) - before, 2 * 2, "of 1,000");
}

#[test]
#[ignore = "needs a Python with Twisted (tests/reference/twisted/venv.sh DIR; HERD_TWISTED=DIR/bin/python)"]
fn one_that_takes_the_place_of_another_is_brought_up_to_date_by_its_neighbours() {
    let twisted = twisted();
    for signal in [Signal::TERM, Signal::KILL] {
        let mut herd = mixed(PAIR, &[], &twisted);
        herd.start_all();
        let mut acknowledged = Vec::new();
        // Twice herd comes back to its journal of the time before the other.
        let herd_itself = ServerCommand::herd();
        let successors = [&twisted, &herd_itself, &twisted, &herd_itself];
        for (round, server) in successors.into_iter().enumerate() {
            let line =
                |n| format!("IAMAT {round}x{n}\u{e9}\u{7f} +27.5916+086.5640 1353118103.{n}");
            acknowledged.extend(report(&herd, "Ann", &(0..50).map(line).collect::<Vec<_>>()));
            acknowledged.push(herd.ask("Ann", &format!("IAMAT moves +00+000 {round}")));
            herd.wait_for_all(&["Bob"], &acknowledged[acknowledged.len() - 51..]);
            herd.process("Ann").signal(signal);
            herd.process("Ann").wait();
            acknowledged.push(herd.ask("Bob", &format!("IAMAT missed{round} +00+000 1")));
            // Only its last report is known of who has moved.
            let moved =
                |at: &String| client_of(at) == "moves" && !at.ends_with(&format!(" {round}"));
            acknowledged.retain(|at| !moved(at));
            herd.member_mut("Ann").server = server.clone();
            herd.member_mut("Ann").process = None;
            herd.start_all();
            herd.wait_for_all(&["Ann"], &acknowledged);
        }
    }
}

#[test]
#[ignore = "needs a Python with Twisted (tests/reference/twisted/venv.sh DIR; HERD_TWISTED=DIR/bin/python)"]
fn servers_of_a_living_herd_are_replaced_one_after_the_other_there_and_back() {
    let twisted = twisted();
    let mut herd = mixed(FIVE, &NAMES, &twisted);
    herd.start_all();
    report_everywhere(&herd, "old");
    let mut reported = Vec::new();
    for (round, server) in [ServerCommand::herd(), twisted].into_iter().enumerate() {
        for name in NAMES {
            herd.process(name).signal(Signal::TERM);
            herd.process(name).wait();
            let other = NAMES.into_iter().find(|other| *other != name);
            let other = other.expect("there are five");
            let client = format!("without-{name}{round}");
            let at = herd.ask(other, &format!("IAMAT {client} +00+000 1"));
            reported.push((client, at));
            herd.member_mut(name).server = server.clone();
            herd.member_mut(name).process = None;
            herd.start_all();
            for (client, at) in &reported {
                herd.wait_for_at(name, client, at);
            }
        }
        report_everywhere(&herd, &format!("new{round}"));
    }
    for (client, at) in &reported {
        for name in NAMES {
            herd.wait_for_at(name, client, at);
        }
    }
}
