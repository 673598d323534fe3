//! `--forget-after`, by its herd.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::{Herd, wait_until};
use crate::{ALONE, PAIR, alone_with, logged, logged_by_now};

/// The time now as a client writes it, less `ago` seconds.
fn seconds_ago(ago: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("the clock is set");
    format!("{}.{:09}", now.as_secs() - ago, now.subsec_nanos())
}

#[test]
fn a_location_is_forgotten_by_all_and_comes_back_from_nowhere() {
    const SPAN: &[&str] = &["--forget-after", "3s"];
    let mut herd = Herd::new(PAIR);
    herd.start_arguing("Ann", SPAN);
    herd.start_arguing("Bob", SPAN);
    herd.wait_for_link("Ann", "Bob");
    let old = herd.ask("Ann", &format!("IAMAT old +00+000 {}", seconds_ago(4)));
    assert!(old.starts_with("AT Ann +4.0"), "answered as usual: {old}");
    let kiwi = herd.ask("Ann", &format!("IAMAT kiwi +00+000 {}", seconds_ago(0)));
    herd.wait_for_at("Bob", "kiwi", &kiwi);
    assert_eq!(logged_by_now(&herd, "Bob", " old "), 0, "it was no news");
    for name in ["Ann", "Bob"] {
        assert_eq!(herd.ask(name, "WHATSAT old 1 0"), "? WHATSAT old 1 0");
        wait_until("kiwi is forgotten", || herd.at(name, "kiwi").is_none());
        assert_eq!(herd.ask(name, "WHATSAT kiwi 1 0"), "? WHATSAT kiwi 1 0");
    }
    // Neither its own journal nor a neighbour that keeps everything brings it back.
    herd.kill("Ann");
    herd.kill("Bob");
    herd.start("Bob");
    assert_eq!(
        herd.at("Bob", "kiwi").as_deref(),
        Some(&kiwi[..]),
        "it keeps all"
    );
    for has_a_journal in [true, false] {
        if !has_a_journal {
            herd.kill("Ann");
            fs::remove_dir_all(herd.journal_path("Ann")).expect("it is there");
        }
        fs::remove_file(herd.log_path("Ann")).expect("it is there");
        herd.start_arguing("Ann", SPAN);
        herd.wait_for_link("Ann", "Bob");
        wait_until("Bob has told Ann", || {
            logged(&herd, "Ann", "Bob AT ") > 0 && logged(&herd, "Ann", "Bob MARK") > 0
        });
        assert!(logged(&herd, "Ann", " kiwi ") > 0, "she was told");
        assert_eq!(herd.at("Ann", "kiwi"), None);
    }
    let now = herd.ask("Ann", &format!("IAMAT kiwi +00+000 {}", seconds_ago(0)));
    assert!(now.starts_with("AT Ann "));
    herd.wait_for_at("Bob", "kiwi", &now);
}

#[test]
fn a_client_whose_clock_is_ahead_is_forgotten_by_the_time_of_receipt() {
    let herd = alone_with(&["--forget-after", "2s"]);
    let at = herd.ask("Ann", "IAMAT ahead +00+000 99999999999");
    assert_eq!(herd.at("Ann", "ahead"), Some(at));
    wait_until("it is forgotten", || herd.at("Ann", "ahead").is_none());
}

#[test]
fn a_journal_from_before_is_forgotten_too_when_the_option_comes() {
    let mut herd = Herd::new(ALONE);
    herd.start("Ann");
    let at = herd.ask("Ann", "IAMAT kiwi +00+000 1");
    assert_eq!(herd.at("Ann", "kiwi"), Some(at.clone()));
    herd.kill("Ann");
    herd.start_arguing("Ann", &["--forget-after", "7d"]);
    let said = herd.process("Ann").said();
    assert!(said.contains("Ann: forgets after 7 d\n"), "{said}");
    assert_eq!(herd.at("Ann", "kiwi"), None);
    herd.ask("Ann", &format!("IAMAT emu +00+000 {}", seconds_ago(0)));
    herd.kill("Ann");
    herd.start("Ann");
    assert_eq!(
        herd.at("Ann", "kiwi"),
        Some(at),
        "and is known again without"
    );
}

#[test]
fn what_is_known_again_is_told_to_neighbours_that_were_not_told_before() {
    let mut herd = Herd::new(PAIR);
    herd.start_arguing("Ann", &["--forget-after", "1s"]);
    let at = herd.ask("Ann", "IAMAT kiwi +00+000 99999999999");
    wait_until("kiwi is forgotten", || herd.at("Ann", "kiwi").is_none());
    // Nothing is left to be told to Bob, so he has all of Ann's changes.
    herd.start("Bob");
    herd.wait_for_link("Ann", "Bob");
    wait_until("Bob has Ann's mark", || {
        logged(&herd, "Bob", "Ann MARK 1") > 0
    });
    assert_eq!(herd.at("Bob", "kiwi"), None);
    herd.kill("Ann");
    herd.start("Ann");
    assert_eq!(herd.at("Ann", "kiwi").as_ref(), Some(&at));
    herd.wait_for_at("Bob", "kiwi", &at);
}
