//! Clocks that are wrong: what becomes of reports, and what the operator hears. docs/LINKS.md has the rule.

#[path = "support/preload.rs"]
mod preload;
#[path = "support/set_clock.rs"]
mod set_clock;
mod support;
#[path = "support/wire.rs"]
mod wire;

use std::time::{SystemTime, UNIX_EPOCH};

use set_clock::Clock;
use support::{FIVE, Herd, wait_until};
use wire::FakeNeighbour;

const YEAR: i64 = 365 * 24 * 60 * 60;

/// Others than Blake.
const OTHERS: [&str; 4] = ["Bryant", "Gasol", "Howard", "Metta"];

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("it is after 1970").as_secs() as i64
}

/// A client's report of where it is, and what it is answered.
fn report(herd: &Herd, server: &str, client: &str, place: &str, time: i64) -> String {
    let reply = herd.ask(server, &format!("IAMAT {client} {place} {time}"));
    assert!(reply.starts_with(&format!("AT {server} ")), "{reply}");
    reply
}

fn wait_for_words(herd: &mut Herd, server: &str, words: &str) {
    let process = herd.process(server);
    wait_until(&format!("{server} says: {words}"), || {
        process.said().contains(words)
    });
}

#[test]
fn a_server_ten_years_ahead_and_a_phone_twenty_years_ahead_freeze_no_client() {
    let mut herd = Herd::new(FIVE);
    let clock = Clock::new(&herd);
    clock.set(10 * YEAR);
    clock.start(&mut herd, "Blake", &[]);
    herd.start_all();
    wait_for_words(&mut herd, "Blake", "days ahead of those of");
    wait_for_words(&mut herd, "Bryant", "days ahead of that of Bryant");
    let frozen = report(&herd, "Blake", "kiwi", "+27+086", now() + 20 * YEAR);
    assert_eq!(herd.at("Blake", "kiwi"), Some(frozen));
    // What was said after it over the same links has come everywhere, and it has not.
    let other = report(&herd, "Bryant", "emu", "+01+001", now());
    herd.wait_for_at("Blake", "emu", &other);
    for other in OTHERS {
        assert_eq!(herd.at(other, "kiwi"), None, "{other}");
    }
    let honest = report(&herd, "Bryant", "kiwi", "+28+087", now());
    herd.wait_for_all(&OTHERS, std::slice::from_ref(&honest));
    // Not in Blake, which has the wrong clock, until it is set right; then also what Blake has heard before.
    clock.set(0);
    herd.wait_for_at("Blake", "kiwi", &honest);
    wait_for_words(&mut herd, "Blake", "the clock is trusted again");
    wait_for_words(
        &mut herd,
        "Bryant",
        "the clock of Blake is near enough again",
    );
    let next = report(&herd, "Blake", "kiwi", "+29+088", now() + 1);
    herd.wait_for_all(&["Blake"], std::slice::from_ref(&next));
    herd.wait_for_all(&OTHERS, &[next]);
}

#[test]
fn a_machine_that_boots_in_1970_forgets_nothing_and_says_so() {
    let mut herd = Herd::new(&[("Ann", &["Bob"]), ("Bob", &[])]);
    let clock = Clock::new(&herd);
    herd.arguments = ["--forget-after", "1h"].map(str::to_owned).to_vec();
    clock.start(&mut herd, "Ann", &[]);
    let held = report(&herd, "Ann", "kiwi", "+27+086", now());
    herd.kill("Ann");
    clock.set(-now());
    clock.start(&mut herd, "Ann", &[]);
    wait_for_words(&mut herd, "Ann", "days behind the last time in the journal");
    assert_eq!(herd.at("Ann", "kiwi"), Some(held.clone()));
    herd.start("Bob");
    wait_for_words(&mut herd, "Bob", "days ahead of those of 1 of 1 neighbours");
    herd.wait_for_at("Bob", "kiwi", &held);
    // By Ann's clock this is of 1970: it is answered, and loses.
    report(&herd, "Ann", "kiwi", "+00+000", now());
    assert_eq!(herd.at("Ann", "kiwi"), Some(held));
    clock.set(0);
    wait_for_words(&mut herd, "Ann", "the clock is trusted again");
    wait_for_words(&mut herd, "Bob", "the clock is trusted again");
    let next = report(&herd, "Ann", "kiwi", "+28+087", now() + 1);
    herd.wait_for_at("Bob", "kiwi", &next);
}

#[test]
fn a_lone_server_trusts_its_clock_again_once_that_is_not_behind_the_journal() {
    let mut herd = Herd::new(&[("Ann", &[])]);
    let clock = Clock::new(&herd);
    clock.start(&mut herd, "Ann", &[]);
    let held = report(&herd, "Ann", "kiwi", "+27+086", now());
    herd.kill("Ann");
    clock.set(-13); // and so, for three seconds, behind by more than the ten
    clock.start(&mut herd, "Ann", &["--clock-skew", "10s"]);
    wait_for_words(&mut herd, "Ann", "behind the last time in the journal");
    wait_for_words(&mut herd, "Ann", "the clock is trusted again");
    assert_eq!(herd.at("Ann", "kiwi"), Some(held));
}

#[test]
fn the_operators_word_is_believed() {
    let mut herd = Herd::new(&[("Ann", &["Bob"]), ("Bob", &[])]);
    let clock = Clock::new(&herd);
    clock.set(YEAR);
    clock.start(&mut herd, "Ann", &[]);
    herd.start_arguing("Bob", &["--trust-clock"]);
    wait_for_words(&mut herd, "Bob", "days ahead of that of Bob");
    let refused = report(&herd, "Ann", "kiwi", "+27+086", now() + YEAR);
    let emu = report(&herd, "Ann", "emu", "+27+086", now());
    herd.wait_for_at("Bob", "emu", &emu);
    assert_eq!(herd.at("Bob", "kiwi"), None);
    assert_eq!(herd.at("Ann", "kiwi"), Some(refused));
    assert!(!herd.process("Bob").said().contains("not ready"));
}

#[test]
fn a_neighbour_is_told_the_clock_only_if_it_understands() {
    let mut herd = Herd::new(&[("Ann", &["Bob"]), ("Bob", &[])]);
    herd.start("Ann");
    assert_eq!(herd.ask("Ann", "no command"), "? no command"); // or she would wait for Bob's mark
    let address = herd.member("Ann").servers;
    let (mut old, _) = FakeNeighbour::introduced(address, ("Bob", "Ann"), 0xb0, 1, None);
    report(&herd, "Ann", "kiwi", "+27+086", now());
    loop {
        let line = old.line();
        if line.starts_with("AT Ann ") {
            break;
        }
        assert!(line.starts_with("MARK "), "it would not understand: {line}");
    }
    old.say(&format!("CLOCK {}.000000000", now()));
    let rest = old.rest();
    let last = rest.last().map(String::as_str);
    assert_eq!(last, Some("BYE a CLOCK of one that has not announced it"));
    let minor_1 = 1_000_000_000_000_001;
    let (mut new, hello) = FakeNeighbour::introduced(address, ("Bob", "Ann"), 0xb0, minor_1, None);
    assert!(hello.serial > minor_1, "{hello:?}");
    let clock = new.line();
    let time = clock
        .strip_prefix("CLOCK ")
        .and_then(|time| time.split('.').next());
    let time: i64 = time.expect(&clock).parse().expect(&clock);
    assert!((now() - time).abs() < 60, "{clock}");
    assert!(new.line().starts_with("AT Ann "));
}
