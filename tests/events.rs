//! Followers of the changes over HTTP (contract, section 7: `/v1/events`), over real sockets.

#[path = "support/http.rs"]
mod http;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use http::{Block, Events, Http, get};
use rustix::process::Signal;
use support::{Herd, wait_until};

const TWO: &[(&str, &[&str])] = &[("Blake", &["Bryant"]), ("Bryant", &[])];

fn two() -> Herd {
    let mut herd = Herd::with_http(TWO);
    herd.start_all();
    herd
}

fn report(herd: &Herd, name: &str, client: &str, time: u32) {
    let at = herd.ask(name, &format!("IAMAT {client} +00+000 {time}"));
    assert!(at.starts_with("AT "), "{at}");
}

fn at(client: &str, time: u32) -> (String, String) {
    (client.to_owned(), time.to_string())
}

#[test]
fn each_change_comes_as_an_event_wherever_it_was_reported() {
    let herd = two();
    report(&herd, "Blake", "before", 1);
    let mut events = Events::follow(herd.http("Blake"), "", "");
    report(&herd, "Blake", "a", 2);
    assert_eq!(events.location(), at("a", 2));
    report(&herd, "Bryant", "b", 3);
    let (kind, data) = events.event();
    assert_eq!(kind, "location");
    assert_eq!(data, get(herd.http("Blake"), "/v1/clients/b").json());
    report(&herd, "Blake", "b", 2); // it loses, and is no change
    report(&herd, "Blake", "a", 5);
    assert_eq!(events.location(), at("a", 5));
    assert!(events.last_id.ends_with("-4"), "{}", events.last_id);
}

#[test]
fn a_client_resumes_where_it_was_cut_off_also_after_a_restart() {
    let mut herd = two();
    let address = herd.http("Blake");
    let mut events = Events::follow(address, "", "");
    let begun = events.last_id.clone();
    for time in 1..=3 {
        report(&herd, "Blake", "a", time);
        assert_eq!(events.location(), at("a", time));
    }
    let id = events.last_id.clone();
    drop(events);
    report(&herd, "Blake", "b", 1);
    report(&herd, "Blake", "a", 4);
    report(&herd, "Blake", "b", 2);
    let mut events = Events::resume(address, &id);
    assert_eq!(events.location(), at("a", 4));
    assert_eq!(
        events.location(),
        at("b", 2),
        "of each client the latest, once"
    );
    let id = events.last_id.clone();
    report(&herd, "Blake", "c", 1);

    herd.kill("Blake");
    report(&herd, "Bryant", "d", 1);
    herd.start("Blake");
    let mut events = Events::resume(address, &id);
    assert_eq!(events.location(), at("c", 1));
    assert_eq!(events.location(), at("d", 1));
    assert_ne!(events.last_id[..16], id[..16], "another incarnation");
    let again = events.last_id.clone();
    herd.kill("Blake");
    herd.start("Blake");
    let mut events = Events::resume(address, &again);
    report(&herd, "Blake", "e", 1);
    assert_eq!(events.location(), at("e", 1));

    // Also who was told of nothing yet, two restarts ago.
    let mut events = Events::resume(address, &begun);
    let clients = ["a", "b", "c", "d", "e"];
    assert_eq!(clients.map(|_| events.location().0), clients);
}

#[test]
fn an_id_that_cannot_be_followed_is_told_and_everything_comes() {
    let herd = two();
    let address = herd.http("Blake");
    report(&herd, "Blake", "a", 1);
    report(&herd, "Blake", "b", 1);
    let own = Events::follow(address, "", "").last_id;
    let ahead = format!("{}-99", &own[..16]);
    for id in ["0123456789abcdef-1", "nonsense", &ahead, &own[..16], "-1"] {
        let mut events = Events::open(address, "?from=start", &format!("Last-Event-ID: {id}\r\n"));
        events.expect("reset");
        assert!(events.last_id.ends_with("-0"), "{}", events.last_id);
        assert_eq!(events.location(), at("a", 1));
        assert_eq!(events.location(), at("b", 1));
        events.expect("live");
        report(&herd, "Blake", "b", 1);
    }
}

#[test]
fn from_the_start_everything_comes_then_what_changes() {
    let herd = two();
    let address = herd.http("Blake");
    let mut events = Events::follow(address, "?from=start", "");
    events.expect("live"); // nothing is known
    let mut client = herd.client("Blake");
    for number in 0..5_000 {
        client.say(&format!("IAMAT c{number} +00+000 1"));
    }
    (0..5_000).for_each(|_| assert!(client.line().starts_with("AT ")));
    let mut events = Events::follow(address, "?from=start", "");
    for number in 0..2_000 {
        assert_eq!(events.location().0, format!("c{number}"));
    }
    // Last-Event-ID wins, as browsers send it that are cut off: they are still told when all has come.
    let again = |events: &Events| {
        let id = format!("Last-Event-ID: {}\r\n", events.last_id);
        Events::follow(address, "?from=start", &id)
    };
    let mut events = again(&events);
    for number in 2_000..5_000 {
        assert_eq!(events.location().0, format!("c{number}"));
    }
    let mut before_live = again(&events);
    before_live.expect("live");
    events.expect("live");
    report(&herd, "Blake", "d", 1);
    for events in [&mut events, &mut before_live] {
        assert_eq!(events.location(), at("d", 1));
    }
    assert_eq!(get(address, "/v1/events?from=yesterday").status, 400);
}

#[test]
fn a_reader_that_is_slow_holds_nobody_up_and_sees_the_latest() {
    let mut herd = two();
    let address = herd.http("Blake");
    let mut slow: Vec<_> = (0..20).map(|_| Events::follow(address, "", "")).collect();
    let before = herd.process("Blake").resident_bytes();
    let mut client = herd.client("Blake");
    const CLIENTS: u32 = 100;
    const ROUNDS: u32 = 1_000;
    for time in 1..=ROUNDS {
        let lines = (0..CLIENTS).map(|number| format!("IAMAT c{number} +00+000 {time}\n"));
        client.send(lines.collect::<String>().as_bytes());
        (0..CLIENTS).for_each(|_| assert!(client.line().starts_with("AT ")));
    }
    let grown = herd
        .process("Blake")
        .resident_bytes()
        .saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes");
    for events in &mut slow {
        let (mut seen, mut latest) = (0, 0);
        while latest < CLIENTS {
            let (_, time) = events.location();
            latest += u32::from(time == ROUNDS.to_string());
            seen += 1;
        }
        assert!(seen < CLIENTS * ROUNDS, "it has missed what was superseded");
    }
}

#[test]
fn a_silent_stream_has_a_comment_within_15_seconds() {
    let herd = two();
    let mut events = Events::follow(herd.http("Blake"), "", "");
    let began = Instant::now();
    assert_eq!(events.next(), Some(Block::Comment));
    let took = began.elapsed();
    assert!(took > Duration::from_secs(5), "{took:?}");
    assert!(took < Duration::from_secs(25), "{took:?}");
    report(&herd, "Blake", "a", 1);
    assert_eq!(events.location(), at("a", 1));
}

#[test]
fn what_has_expired_is_not_told() {
    let mut herd = Herd::with_http(&[("Blake", &[])]);
    herd.start_arguing("Blake", &["--forget-after", "1h"]);
    report(&herd, "Blake", "old", 1);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    report(
        &herd,
        "Blake",
        "new",
        u32::try_from(now).expect("before 2106"),
    );
    let mut events = Events::follow(herd.http("Blake"), "?from=start", "");
    assert_eq!(events.location().0, "new");
    events.expect("live");
}

#[test]
fn old_clients_and_head_requests_have_their_manner() {
    let herd = two();
    let mut http = Http::connect(herd.http("Blake"));
    http.send("HEAD", "/v1/events", "", b"");
    assert_eq!(http.head().status, 200);
    assert_eq!(http.get("/livez").status, 200, "no body came");
    let mut old = Http::connect(herd.http("Blake"));
    old.client.send(b"GET /v1/events HTTP/1.0\r\n\r\n");
    let head = old.head();
    assert_eq!((head.status, head.field("transfer-encoding")), (200, None));
    assert_eq!(old.client.line(), "retry: 1000");
    report(&herd, "Blake", "a", 1);
    wait_until("the event comes", || old.client.line() == "event: location");
}

#[test]
fn what_a_follower_says_is_not_heard_and_its_stream_ends_well_with_the_server() {
    let mut herd = two();
    let mut http = Http::connect(herd.http("Blake"));
    http.send("GET", "/v1/events", "", b"");
    assert_eq!(http.head().status, 200);
    http.send(
        "POST",
        "/v1/clients/x",
        "",
        b"{\"latitude\":1,\"longitude\":1}",
    );
    let mut events = Events::follow(herd.http("Blake"), "", "");
    report(&herd, "Blake", "a", 1);
    assert_eq!(events.location(), at("a", 1));
    assert_eq!(herd.at("Blake", "x"), None);
    herd.process("Blake").signal(Signal::TERM);
    assert_eq!(events.next(), None, "the last chunk has come");
    assert!(herd.process("Blake").wait().success());
}

#[test]
fn a_token_that_is_taken_out_follows_no_longer() {
    let mut herd = Herd::with_http(TWO);
    let tokens = herd.directory.path().join("tokens");
    fs::write(&tokens, "ann secret-of-ann\nbob secret-of-bob\n").expect("ours");
    fs::set_permissions(&tokens, PermissionsExt::from_mode(0o600)).expect("ours");
    let path = tokens.to_str().expect("text").to_owned();
    herd.start_arguing("Blake", &["--http-tokens", &path]);
    let field = "Authorization: Bearer secret-of-bob\r\n";
    let mut events = Events::follow(herd.http("Blake"), "", field);
    fs::write(&tokens, "ann secret-of-ann\n").expect("ours");
    herd.process("Blake").signal(Signal::HUP);
    while let Some(block) = events.next() {
        assert!(matches!(block, Block::Comment), "no change comes");
    }
    let mut http = Http::connect(herd.http("Blake"));
    assert_eq!(http.ask("GET", "/v1/events", field, b"").status, 401);
}
