//! `--max-table-bytes`: whatever clients are called and however many they are, memory stays within its limit,
//! and the location that has not changed for longest makes room (contract, section 8).

#[path = "support/http.rs"]
mod http;
mod support;

use std::io::Write;
use std::net::Shutdown;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use http::get;
use support::{Herd, wait_until};

const ALONE: &[(&str, &[&str])] = &[("Ann", &[])];
const RING: &[(&str, &[&str])] = &[("Ann", &["Bob", "Cid"]), ("Bob", &["Cid"]), ("Cid", &[])];

const MEBIBYTE: u64 = 1 << 20;

/// Of memory, beside the table: buffers of connections and of the journal, what the allocator keeps, and a
/// sixteenth of the table.
const OTHER_BYTES: u64 = 24 * MEBIBYTE;

fn metric(herd: &Herd, name: &str, sample: &str) -> u64 {
    let text = get(herd.http(name), "/metrics").text();
    let mut values = text.lines().filter_map(|line| line.strip_prefix(sample));
    let value = values.find_map(|value| value.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no {sample} in {text}"))
}

fn seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("the clock is set").as_secs()
}

/// Lets each of these clients report, one after the other, and reads the replies; `watch` is called now and then.
fn flood(herd: &Herd, name: &str, clients: impl Iterator<Item = String> + Send, watch: impl Fn()) {
    let mut client = herd.client(name);
    let mut writer = client.stream.try_clone().expect("a second handle");
    let (count, time) = (AtomicUsize::new(0), seconds());
    thread::scope(|scope| {
        let count = &count;
        scope.spawn(move || {
            for name in clients {
                let line = format!("IAMAT {name} +00+000 {time}\n");
                writer
                    .write_all(line.as_bytes())
                    .expect("the server reads on");
                count.fetch_add(1, Ordering::Relaxed);
            }
            writer.shutdown(Shutdown::Write).expect("it is open");
        });
        let mut replies = 0;
        while let Some(reply) = client.line_bytes() {
            assert!(reply.starts_with(b"AT "), "{}", reply.escape_ascii());
            replies += 1;
            if replies % 500 == 0 {
                watch();
            }
        }
        assert_eq!(replies, count.load(Ordering::Relaxed));
    });
}

#[test]
fn memory_stays_within_its_limit_whatever_clients_are_called() {
    const LIMIT: u64 = 8 * MEBIBYTE;
    let mut herd = Herd::with_http(ALONE);
    let arguments = ["--max-table-bytes", "8M", "--log", "off"];
    herd.start_arguing("Ann", &arguments);
    let said = herd.process("Ann").said();
    let want = "Ann: keeps clients' locations in 8.0 MiB at most (--max-table-bytes)\n";
    assert!(said.contains(want), "{said}");
    let before = herd.process("Ann").resident_bytes();
    let pid = herd.process("Ann").pid();
    let within = |herd: &Herd| {
        let table = metric(herd, "Ann", "herd_table_bytes");
        assert!(table <= LIMIT, "the table takes {table} bytes");
        let memory = metric(herd, "Ann", "herd_memory_bytes");
        let most = before + LIMIT + OTHER_BYTES;
        assert!(
            memory < most,
            "{memory} bytes of memory in {pid}, {before} before"
        );
    };
    let long = |client| format!("{client}{}", "x".repeat(60_000));
    let short = |client| format!("client{client}");
    flood(&herd, "Ann", (0..100_000).map(short), || within(&herd));
    assert_eq!(metric(&herd, "Ann", "herd_table_limit_bytes"), LIMIT);
    let full = metric(&herd, "Ann", "herd_locations");
    assert!(full > 45_000, "{full} clients have room");
    flood(&herd, "Ann", (0..500).map(long), || within(&herd));
    let few = metric(&herd, "Ann", "herd_locations");
    assert!(
        (60..80).contains(&few),
        "{few} long names have room, in half of it"
    );
    flood(&herd, "Ann", (100_000..200_000).map(short), || {
        within(&herd)
    });
    within(&herd);

    // The allocator may keep the memory of the long names.
    let full = metric(&herd, "Ann", "herd_locations");
    assert!((30_000..60_000).contains(&full), "{full} clients have room");
    let updates = metric(&herd, "Ann", "herd_updates_total");
    assert_eq!(updates, 200_500);
    let evicted = metric(&herd, "Ann", "herd_evictions_total");
    assert_eq!(
        evicted,
        updates - full,
        "each that is not there has made room"
    );
    let first = 200_000 - full;
    let known = |herd: &Herd, client| herd.at("Ann", &short(client)).is_some();
    for client in [first, 199_999] {
        assert!(
            known(&herd, client),
            "client{client} is among the latest {full}"
        );
    }
    for client in [0, first - 1] {
        assert!(!known(&herd, client), "client{client} has made room");
    }
    let said = herd.process("Ann").said();
    assert_eq!(
        said.matches("make room").count(),
        1,
        "once a minute: {said}"
    );

    for (limit, least) in [("8M", full - 100), ("1M", 3_500)] {
        herd.kill("Ann");
        herd.start_arguing("Ann", &["--max-table-bytes", limit, "--log", "off"]);
        within(&herd);
        let held = metric(&herd, "Ann", "herd_locations");
        assert!(
            (least..=full).contains(&held),
            "{held} clients after a restart with {limit}"
        );
        assert!(
            known(&herd, 199_999),
            "the latest survive a restart with {limit}"
        );
        assert!(!known(&herd, 199_999 - held), "none but the latest");
        let at = herd.ask("Ann", &format!("IAMAT kiwi +00+000 {}", seconds()));
        assert_eq!(herd.at("Ann", "kiwi"), Some(at));
    }
    assert!(metric(&herd, "Ann", "herd_table_bytes") <= MEBIBYTE);
}

#[test]
fn servers_without_room_for_each_others_clients_come_to_rest() {
    const EACH: u64 = 20_000;
    let mut herd = Herd::with_http(RING);
    for (name, limit) in [("Ann", "1M"), ("Bob", "2M"), ("Cid", "1M")] {
        herd.start_arguing(name, &["--max-table-bytes", limit, "--log", "off"]);
    }
    for (name, neighbour) in [("Ann", "Bob"), ("Bob", "Cid"), ("Cid", "Ann")] {
        herd.wait_for_link(name, neighbour);
    }
    thread::scope(|scope| {
        for name in ["Ann", "Bob", "Cid"] {
            let clients = (0..EACH).map(move |client| format!("{name}{client}"));
            let herd = &herd;
            scope.spawn(move || flood(herd, name, clients, || ()));
        }
    });
    // A ring that sends records round for ever has a backlog for ever.
    wait_until("all links are quiet", || {
        RING.iter().all(|(name, _)| {
            let status = get(herd.http(name), "/v1/status").json();
            let links = status["links"].as_array().expect("an array");
            let is_quiet =
                |link: &serde_json::Value| link["lag_changes"] == 0 && link["state"] == "up";
            links.iter().all(is_quiet)
        })
    });
    let at = herd.ask("Ann", &format!("IAMAT kiwi +00+000 {}", seconds() + 1));
    for (name, _) in RING {
        herd.wait_for_at(name, "kiwi", &at); // it comes after all that was on its way
        let updates = metric(&herd, name, "herd_updates_total");
        assert!(
            updates <= 3 * EACH + 1,
            "{name} has taken some in twice: {updates}"
        );
        let evicted = metric(&herd, name, "herd_evictions_total");
        let held = metric(&herd, name, "herd_locations");
        assert_eq!(updates - evicted, held, "{name}");
    }
}

#[test]
fn an_event_tells_of_no_location_that_made_room() {
    let mut herd = Herd::with_http(ALONE);
    herd.start_arguing("Ann", &["--max-table-bytes", "1M", "--log", "off"]);
    flood(
        &herd,
        "Ann",
        (0..8_000).map(|client| format!("c{client}")),
        || (),
    );
    let held = metric(&herd, "Ann", "herd_locations");
    assert!(held < 7_000, "{held} have room");
    let mut events = http::Events::follow(herd.http("Ann"), "?from=start", "");
    for client in 8_000 - held..8_000 {
        assert_eq!(events.location().0, format!("c{client}"));
    }
    events.expect("live");
}

#[test]
fn without_the_option_it_is_half_of_the_memory_there_is() {
    let mut herd = Herd::with_http(ALONE);
    herd.start("Ann");
    let said = herd.process("Ann").said();
    assert!(
        said.contains(" at most (half of the memory there is)\n"),
        "{said}"
    );
    let machine = support::text("/proc/meminfo".as_ref());
    let total = machine
        .split_whitespace()
        .nth(1)
        .expect("MemTotal is the first");
    let total: u64 = total.parse().expect("a number of kB");
    let limit = metric(&herd, "Ann", "herd_table_limit_bytes");
    assert!(
        (MEBIBYTE..=total * 1024 / 2).contains(&limit),
        "{limit} of {total} kB"
    );
}
