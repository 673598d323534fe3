//! A server on each of five hosts: cables are unplugged, swallow or lose what they carry, a host
//! loses its power. Everything heals, and what was acknowledged is known everywhere.
//!
//! The hosts are network namespaces; a machine that does not allow those skips all of it, and says so.

#[path = "support/hosts.rs"]
mod hosts;
mod support;

use std::thread;
use std::time::{Duration, Instant};

use hosts::{Hosts, Poor};
use support::reference::say;
use support::{FIVE, wait_until};

/// How soon a link is up after its way is open: 1 s is promised on an idle machine.
const SOON: Duration = Duration::from_secs(3);

/// How soon silence is noticed: 15 s are promised.
const NOTICED: Duration = Duration::from_secs(15);

/// After this long a kernel that still repeats the SYN of a first dial, ever more rarely, would not
/// do so again for longer than [`SOON`].
const RARELY: Duration = Duration::from_secs(12);

/// Lets attempts grow rare, while `name` serves on.
fn serve_on(hosts: &Hosts, name: &str) {
    let since = Instant::now();
    let mut client = hosts.client(name);
    while since.elapsed() < RARELY {
        client.say("IAMAT meanwhile +00+000 1");
        assert!(client.line().starts_with("AT "));
        thread::sleep(Duration::from_millis(50));
    }
}

/// Asserts that all links are up [`SOON`] after `since`.
fn all_up_since(hosts: &Hosts, since: Instant) {
    hosts.wait_for_links();
    let took = since.elapsed();
    println!("all links were up after {took:?}");
    assert!(took < SOON, "the links were up only after {took:?}");
}

#[test]
fn a_cable_unplugged_is_noticed_and_heals_when_plugged_in() {
    let Some(hosts) = Hosts::started(FIVE) else {
        return;
    };
    let before = hosts.ask("Metta", "IAMAT before +00+000 1");
    hosts.wait_for_at_everywhere(&before);
    hosts.plug("Bryant", "Metta", false); // Metta's only one
    let since = Instant::now();
    hosts.wait_until_down("Bryant", "Metta");
    let took = since.elapsed();
    assert!(took < NOTICED, "it was noticed only after {took:?}");
    serve_on(&hosts, "Metta");
    let here = hosts.ask("Blake", "IAMAT here +27.5916+086.5640 1");
    let there = hosts.ask("Metta", "IAMAT there +34.068930-118.445127 1");
    let moved = hosts.ask("Metta", "IAMAT before +01+001 2");
    for name in ["Bryant", "Gasol", "Howard"] {
        hosts.wait_for_at(name, &here);
    }
    let unheard = hosts.ask("Metta", "WHATSAT here 1 0");
    assert_eq!(unheard, "? WHATSAT here 1 0", "the cable is out");
    hosts.plug("Bryant", "Metta", true);
    all_up_since(&hosts, Instant::now());
    for at in [here, there, moved] {
        hosts.wait_for_at_everywhere(&at);
    }
}

#[test]
fn a_cable_out_for_a_moment_loses_nothing() {
    let Some(hosts) = Hosts::started(FIVE) else {
        return;
    };
    let mut told = Vec::new();
    for round in 0..5 {
        for (one, other) in [
            ("Blake", "Howard"),
            ("Bryant", "Metta"),
            ("Bryant", "Gasol"),
        ] {
            hosts.plug(one, other, false);
            for name in [one, other] {
                told.push(hosts.ask(name, &format!("IAMAT {name}{other}{round} +00+000 1")));
            }
            hosts.plug(one, other, true);
        }
    }
    told.iter().for_each(|at| hosts.wait_for_at_everywhere(at));
    hosts.wait_for_links();
}

#[test]
fn a_cable_that_swallows_one_direction_is_gone_round_and_heals() {
    let Some(hosts) = Hosts::started(FIVE) else {
        return;
    };
    hosts.swallow("Blake", "Bryant");
    let since = Instant::now();
    // There is only the way by Howard and Gasol to Bryant and Metta.
    let round_about = hosts.ask("Blake", "IAMAT roundabout +00+000 1");
    hosts.wait_for_at_everywhere(&round_about);
    // Bryant hears nothing and hangs up, which Blake hears.
    hosts.wait_until_down("Blake", "Bryant");
    let took = since.elapsed();
    assert!(took < NOTICED, "it was noticed only after {took:?}");
    serve_on(&hosts, "Blake");
    let one = hosts.ask("Bryant", "IAMAT one +00+000 1");
    let two = hosts.ask("Blake", "IAMAT two +00+000 1");
    hosts.wait_for_at_everywhere(&one);
    hosts.wait_for_at_everywhere(&two);
    hosts.swallow_no_more("Blake", "Bryant");
    all_up_since(&hosts, Instant::now());
}

#[test]
fn late_and_lossy_cables_carry_everything_and_stay_up() {
    let Some(hosts) = Hosts::started(FIVE) else {
        return;
    };
    let poor = match hosts.make_poor() {
        Ok(Poor::Netem) => Poor::Netem,
        Ok(Poor::Tbf) => {
            say("hosts: no netem in this kernel; the cables are slow and drop what is too much");
            Poor::Tbf
        }
        Err(why) => {
            say(&format!("hosts: late and lossy cables skipped: {why}"));
            return;
        }
    };
    let mut last = Vec::new();
    for name in ["Metta", "Howard"] {
        let mut client = hosts.client(name);
        for number in 0..2_000 {
            client.say(&format!("IAMAT {name}{number} +27.5916+086.5640 1"));
        }
        last.extend((0..2_000).map(|_| client.line()));
    }
    let since = Instant::now();
    last.iter()
        .step_by(99)
        .for_each(|at| hosts.wait_for_at_everywhere(at));
    let dropped = hosts.dropped();
    println!(
        "{poor:?}: {dropped} packets dropped; 4,000 reports were everywhere after {:?}",
        since.elapsed()
    );
    assert!(dropped > 0, "no packet was lost");
    for (name, others) in FIVE {
        for other in *others {
            for (one, other) in [(name, other), (other, name)] {
                let said = hosts
                    .herd
                    .member(one)
                    .process
                    .as_ref()
                    .expect("it runs")
                    .said();
                let down = format!("link to {other} is down");
                assert!(!said.contains(&down), "a poor cable is no dead one: {said}");
            }
        }
    }
}

#[test]
fn a_host_that_loses_its_power_comes_back_knowing_everything() {
    let Some(mut hosts) = Hosts::started(FIVE) else {
        return;
    };
    let before = hosts.ask("Bryant", "IAMAT before +00+000 1");
    hosts.wait_for_at_everywhere(&before);
    for noticed in [false, true] {
        // Not even flooded, perhaps; but acknowledged.
        let last_word = hosts.ask("Bryant", &format!("IAMAT word{noticed} +00+000 1"));
        hosts.power_off("Bryant");
        let at_metta = hosts.ask("Metta", &format!("IAMAT metta{noticed} +00+000 1"));
        let at_blake = hosts.ask("Blake", &format!("IAMAT blake{noticed} +00+000 1"));
        if noticed {
            for other in ["Blake", "Gasol", "Metta"] {
                wait_until(&format!("{other} has noticed"), || {
                    !hosts.herd.link_is_up(other, "Bryant")
                });
            }
        }
        hosts.power_on("Bryant");
        let since = Instant::now();
        hosts.start("Bryant");
        all_up_since(&hosts, since);
        for at in [&before, &last_word, &at_metta, &at_blake] {
            hosts.wait_for_at_everywhere(at);
        }
    }
}
