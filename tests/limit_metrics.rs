//! Each limit against strangers has a metric, and it moves when the limit is reached (contract, section 8).

#[path = "support/http.rs"]
mod http;
#[path = "support/keys.rs"]
mod keys;
#[path = "support/stub_twitter.rs"]
mod stub_twitter;
mod support;
#[path = "support/wire.rs"]
mod wire;

use std::io::Write;
use std::net::TcpStream;

use http::get;
use keys::give_key;
use stub_twitter::{Answer, StubTwitter};
use support::{Herd, wait_until};
use wire::FakeNeighbour;

const ALONE: &[(&str, &[&str])] = &[("Ann", &[])];
const PAIR: &[(&str, &[&str])] = &[("Ann", &["Bob"]), ("Bob", &[])];

/// The value of a sample of Ann's metrics, which is there from the start.
fn metric(herd: &Herd, sample: &str) -> u64 {
    let text = get(herd.http("Ann"), "/metrics").text();
    let mut values = text.lines().filter_map(|line| line.strip_prefix(sample));
    let value = values.find_map(|value| value.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no {sample} in {text}"))
}

fn reached(limit: &str) -> String {
    format!("herd_limit_reached_total{{limit=\"{limit}\"}}")
}

/// Ann, of these servers, with none of these samples moved.
fn ann_with(links: &[(&str, &[&str])], arguments: &[&str], samples: &[&str]) -> Herd {
    let mut herd = Herd::with_http(links);
    herd.start_arguing("Ann", arguments);
    for sample in samples {
        assert_eq!(metric(&herd, sample), 0, "{sample}");
    }
    herd
}

fn wait_for(herd: &Herd, sample: &str, count: u64) {
    wait_until(sample, || metric(herd, sample) == count);
}

#[test]
fn more_clients_than_there_may_be() {
    let sample = reached("connections");
    let herd = ann_with(ALONE, &["--max-connections", "1"], &[&sample]);
    let mut first = herd.client("Ann");
    first.say("WHERE");
    first.line();
    let mut second = herd.client("Ann");
    assert!(second.line().starts_with("{\"error\":"));
    wait_for(&herd, &sample, 1);
}

#[test]
fn a_silent_client() {
    let idle = reached("idle_timeout");
    let herd = ann_with(ALONE, &["--idle-timeout", "1s"], &[&idle]);
    herd.client("Ann").expect_end();
    wait_for(&herd, &idle, 1);
}

#[test]
fn a_line_without_an_end() {
    let line = reached("line_timeout");
    let herd = ann_with(ALONE, &["--line-timeout", "1s"], &[&line]);
    let mut dribbling = herd.client("Ann");
    dribbling.send(b"IAMAT");
    dribbling.expect_end();
    wait_for(&herd, &line, 1);
}

#[test]
fn more_questions_than_may_wait() {
    let (twitter, gate) = StubTwitter::gated(|_| Answer::ok("{}"));
    let (refused, gave_way) = (reached("questions"), reached("questions_gave_way"));
    let mut herd = Herd::with_http(ALONE);
    herd.twitter_url = twitter.url();
    herd.start("Ann");
    let mut greedy: Vec<_> = (0..64).map(|_| herd.client("Ann")).collect();
    for (number, client) in greedy.iter_mut().enumerate() {
        client.say("IAMAT kiwi +00+000 1");
        client.line();
        for radius in 0..16 {
            client.say(&format!("WHATSAT kiwi {}.{} 1", number + 1, radius + 1));
        }
    }
    wait_for(&herd, "herd_messages_total{kind=\"question\"}", 64 * 16);
    assert_eq!((metric(&herd, &refused), metric(&herd, &gave_way)), (0, 0));
    let mut honest = herd.client("Ann");
    honest.say("WHATSAT kiwi 200 1");
    wait_for(&herd, &gave_way, 1);
    assert_eq!(metric(&herd, &refused), 0, "whoever asks little is not");
    gate.open();
    honest.line();
}

#[test]
fn a_stranger_at_the_server_port_and_a_neighbour_that_says_bye() {
    let (strangers, byes) = (
        reached("neighbours"),
        "herd_link_refusals_total{neighbour=\"Bob\"}",
    );
    let herd = ann_with(PAIR, &[], &[&strangers, byes]);
    let address = herd.member("Ann").servers;
    FakeNeighbour::dial(address).say("HELLO herd/1 Eve Ann 0000000000000001 1 - 0");
    wait_for(&herd, &strangers, 1);
    let (mut bob, _) = FakeNeighbour::introduced(address, ("Bob", "Ann"), 0xb0b, 1, None);
    wait_for(&herd, "herd_link_up{neighbour=\"Bob\"}", 1);
    bob.say("BYE for a test");
    wait_for(&herd, byes, 1);
}

#[test]
fn reports_of_a_neighbour_that_are_turned_away() {
    let refused = |reason| format!("herd_neighbour_reports_refused_total{{reason=\"{reason}\"}}");
    let (ahead, made_room) = (refused("too_far_ahead"), refused("made_room"));
    let arguments = ["--trust-clock", "--max-table-bytes", "1M"];
    let herd = ann_with(PAIR, &arguments, &[&ahead, &made_room]);
    let address = herd.member("Ann").servers;
    let (mut bob, _) = FakeNeighbour::introduced(address, ("Bob", "Ann"), 0xb0b, 1, None);
    bob.say("AT Bob +0.000000000 kiwi +00+000 99999999999");
    wait_for(&herd, &ahead, 1);
    for client in 0..8_000 {
        bob.say(&format!("AT Bob +0.000000000 c{client} +00+000 {client}"));
    }
    bob.say("AT Bob +0.000000000 c0 +00+000 0");
    wait_for(&herd, &made_room, 1);
    assert_eq!(metric(&herd, &ahead), 1);
    assert!(metric(&herd, "herd_evictions_total") > 1_000);
}

#[test]
fn a_handshake_that_comes_to_nothing() {
    let failed = "herd_tls_handshakes_failed_total";
    let mut herd = Herd::with_http(ALONE);
    give_key(&mut herd, "Ann");
    herd.start("Ann");
    assert_eq!(metric(&herd, failed), 0);
    let mut stranger = TcpStream::connect(herd.member("Ann").servers).expect("it listens");
    let no_client_hello = b"\x16\x03\x01\x00\x02\x01\x00";
    stranger.write_all(no_client_hello).expect("it reads");
    wait_for(&herd, failed, 1);
}
