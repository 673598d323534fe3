//! Herds of two versions: any server may be an older one, and one after the other may be upgraded.
//!
//! `HERD_BEFORE` names the program of 0.1.0, commit 038f7cd; as few have it, all of it is `#[ignore]`d. To have it:
//! `git worktree add DIR 038f7cd && (cd DIR && cargo build)`. Its link protocol knows neither `CLOCK` nor `ERASED`, its
//! topology has no attributes, and its memory is its log.

#[path = "support/http.rs"]
mod http;
mod support;
#[path = "support/wire.rs"]
mod wire;
#[path = "support/wired.rs"]
mod wired;

use std::env;
use std::process::Command;

use http::Http;
use rustix::process::Signal;
use support::reference::ServerCommand;
use support::{FIVE, Herd, free_addresses, wait_until};
use wired::{PAIR, Wired, floods, link_records, report};

const NAMES: [&str; 5] = ["Blake", "Bryant", "Gasol", "Howard", "Metta"];

/// The older program.
fn before() -> ServerCommand {
    let program = env::var("HERD_BEFORE").unwrap_or_default();
    assert!(
        !program.trim().is_empty(),
        "this test needs the herd of 0.1.0: git worktree add DIR 038f7cd && (cd DIR && cargo build); \
         HERD_BEFORE=DIR/target/debug/herd"
    );
    let mut command = ServerCommand::parse(&program);
    command.has_data_dir = false;
    command
}

/// A herd of which `older` are run by the older program, none of them started yet.
fn herd_of(links: &[(&str, &[&str])], older: &[&str], before: &ServerCommand) -> Herd {
    let mut herd = Herd::new(links);
    for member in &mut herd.members {
        member.server = match older.contains(&member.name.as_str()) {
            true => before.clone(),
            false => ServerCommand::herd(),
        };
    }
    herd
}

#[test]
#[ignore = "needs the herd of 0.1.0 (HERD_BEFORE=PROGRAM)"]
fn an_update_floods_over_links_between_versions() {
    let before = before();
    // The links of the five have two sides.
    for older in [&["Blake", "Gasol", "Metta"][..], &["Bryant", "Howard"]] {
        let mut herd = herd_of(FIVE, older, &before);
        herd.start_all();
        for round in 1..=5 {
            let at = herd.ask(NAMES[round % 5], &format!("IAMAT kiwi +00+000 {round}"));
            for name in NAMES {
                herd.wait_for_at(name, "kiwi", &at);
            }
            wait_until("six messages each were sent and heard", || {
                floods(&herd, '>') >= 6 * round && floods(&herd, '<') >= 6 * round
            });
            let flooded = (floods(&herd, '>'), floods(&herd, '<'));
            assert_eq!(flooded, (6 * round, 6 * round), "{older:?}");
        }
    }
}

#[test]
#[ignore = "needs the herd of 0.1.0 (HERD_BEFORE=PROGRAM)"]
fn after_a_cut_between_versions_only_what_changed_is_sent() {
    let before = before();
    for older in ["Ann", "Bob"] {
        let wired = Wired::between(herd_of(PAIR, &[older], &before));
        wired.heal();
        wired.wait_until_up();
        for name in ["Ann", "Bob"] {
            let line = |n| format!("IAMAT {name}{n} +00+000 1");
            report(&wired.herd, name, &(0..300).map(line).collect::<Vec<_>>());
        }
        wait_until("both tables have crossed", || wired.crossed() == (300, 300));
        wired.wait_until_marked();
        let crossed = wired.crossed();
        wired.cut();
        let moved = wired.move_some(2);
        wired.heal_and_settle(&moved);
        let after = wired.crossed();
        let crossed = (after.0 - crossed.0, after.1 - crossed.1);
        assert_eq!(crossed, (20, 20), "{older} is older: of 300 each");
    }
}

#[test]
#[ignore = "needs the herd of 0.1.0 (HERD_BEFORE=PROGRAM)"]
fn one_after_the_other_is_upgraded_and_is_sent_what_it_knew() {
    let before = before();
    let mut herd = herd_of(FIVE, &NAMES, &before);
    herd.start_all();
    let mut reported = Vec::new();
    for (round, name) in NAMES.into_iter().enumerate() {
        let at = herd.ask(name, &format!("IAMAT of-{name} +00+000 1"));
        reported.push((format!("of-{name}"), at));
        herd.wait_for_all(
            &NAMES,
            &reported
                .iter()
                .map(|(_, at)| at.clone())
                .collect::<Vec<_>>(),
        );
        let signal = [Signal::TERM, Signal::KILL][round % 2];
        herd.process(name).signal(signal);
        herd.process(name).wait();
        let other = NAMES[(round + 1) % 5];
        let at = herd.ask(other, &format!("IAMAT without-{name} +00+000 1"));
        reported.push((format!("without-{name}"), at));
        herd.member_mut(name).server = ServerCommand::herd();
        herd.member_mut(name).process = None;
        herd.start_all();
        for (client, at) in &reported {
            for name in NAMES {
                herd.wait_for_at(name, client, at);
            }
        }
    }
    // All at once, from their journals alone.
    for name in NAMES {
        herd.kill(name);
    }
    herd.start_all();
    for (client, at) in &reported {
        for name in NAMES {
            herd.wait_for_at(name, client, at);
        }
    }
}

#[test]
#[ignore = "needs the herd of 0.1.0 (HERD_BEFORE=PROGRAM)"]
fn all_at_once_are_upgraded_with_journals_made_of_their_logs() {
    let before = before();
    let mut herd = herd_of(PAIR, &["Ann", "Bob"], &before);
    herd.start_all();
    let at = ["kiwi", "emu"].map(|client| herd.ask("Ann", &format!("IAMAT {client} +00+000 1")));
    herd.wait_for_all(&["Ann", "Bob"], &at);
    for name in ["Ann", "Bob"] {
        herd.kill(name);
        herd.member_mut(name).server = ServerCommand::herd();
        let mut restore = Command::new(env!("CARGO_BIN_EXE_herd"));
        restore.arg("restore").arg(herd.log_path(name));
        restore
            .args(["--name", name, "--data-dir"])
            .arg(&herd.data_dir);
        let output = restore.output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
    // Bob knows it by himself.
    herd.start("Bob");
    herd.wait_for_all(&["Bob"], &at);
    herd.start("Ann");
    herd.wait_for_all(&["Ann"], &at);
}

#[test]
#[ignore = "needs the herd of 0.1.0 (HERD_BEFORE=PROGRAM)"]
fn an_older_neighbour_is_told_of_no_erasure_and_stays_linked() {
    let before = before();
    let mut herd = herd_of(PAIR, &["Bob"], &before);
    let [http] = free_addresses(1)[..] else {
        unreachable!("one was asked for")
    };
    // The older program knows no attribute: each has a topology of its own.
    let with_http = herd
        .topology_text()
        .replacen(" Bob\n", &format!(" Bob http={http}\n"), 1);
    assert!(with_http.contains("http="), "{with_http}");
    wired::start_with_topology(&mut herd, "Ann", &with_http);
    let text = herd.topology_text();
    wired::start_with_topology(&mut herd, "Bob", &text);
    herd.wait_for_link("Ann", "Bob");
    herd.wait_for_link("Bob", "Ann");
    let at = herd.ask("Ann", "IAMAT kiwi +27.5916+086.5640 1");
    herd.wait_for_at("Bob", "kiwi", &at);
    let erased = Http::connect(http).ask("DELETE", "/v1/clients/kiwi", "", b"");
    assert_eq!(erased.status, 200, "{}", erased.text());
    assert!(
        erased.text().contains("Bob"),
        "he may still hold it: {}",
        erased.text()
    );
    assert_eq!(herd.at("Ann", "kiwi"), None);
    let at = herd.ask("Ann", "IAMAT later +00+000 1");
    herd.wait_for_at("Bob", "later", &at);
    let said = link_records(&herd.log("Ann"), '>', "Bob").join("\n");
    assert!(!said.contains("ERASED"), "{said}");
    assert!(!herd.process("Bob").said().contains("link to Ann is down"));
    // It is erased there too once it is upgraded.
    herd.kill("Bob");
    herd.member_mut("Bob").server = ServerCommand::herd();
    wired::start_with_topology(&mut herd, "Bob", &text);
    wait_until("Bob hears of the erasure", || {
        herd.at("Bob", "kiwi").is_none()
    });
}
