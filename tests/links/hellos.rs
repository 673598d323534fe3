//! Hellos, incarnations and marks.

use std::net::{Shutdown, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::reference::{LIVE_SESSION, promised};
use crate::support::{Client, Herd, wait_until};
use crate::wire::FakeNeighbour;
use crate::{ann_alone, bob, cid, hang_up};

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
    hang_up(&herd, bob1);
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
    hang_up(&herd, bob2);
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
        hang_up(&herd, bob);
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
    hang_up(&herd, dialling);
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
    hang_up(&herd, bob1);
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
