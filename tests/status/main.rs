//! How a server is, over HTTP: `/v1/status` and `/metrics` (contract, section 7).

mod command;
#[path = "../support/http.rs"]
mod http;
#[path = "../support/keys.rs"]
mod keys;
mod metrics;
mod refused;
#[path = "../support/stub_twitter.rs"]
mod stub_twitter;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use http::{Http, get, post};
use keys::give_key;
use support::{Herd, wait_until};

const FIVE: &[(&str, &[&str])] = &[
    ("Blake", &["Bryant", "Howard"]),
    ("Bryant", &["Gasol", "Metta"]),
    ("Gasol", &["Howard"]),
    ("Howard", &[]),
    ("Metta", &[]),
];

const TWO: &[(&str, &[&str])] = &[("Blake", &["Bryant"]), ("Bryant", &[])];

fn started(links: &[(&str, &[&str])]) -> Herd {
    let mut herd = Herd::with_http(links);
    herd.start_all();
    for (name, neighbours) in links {
        for neighbour in *neighbours {
            herd.wait_for_link(name, neighbour);
        }
    }
    for (name, _) in links {
        wait_until("it has caught up", || {
            get(herd.http(name), "/readyz").status == 200
        });
    }
    herd
}

fn status(herd: &Herd, name: &str) -> Value {
    let reply = get(herd.http(name), "/v1/status");
    assert_eq!(reply.status, 200);
    reply.json()
}

fn link(status: &Value, neighbour: &str) -> Value {
    let links = status["links"].as_array().expect("an array");
    let link = links.iter().find(|link| link["neighbour"] == neighbour);
    link.expect("it is configured").clone()
}

/// The value of a metric, as `name{label="value"}`.
fn metric(herd: &Herd, name: &str, sample: &str) -> Option<f64> {
    let text = get(herd.http(name), "/metrics").text();
    let line = text.lines().find_map(|line| line.strip_prefix(sample))?;
    line.strip_prefix(' ')?.parse().ok()
}

#[test]
fn a_status_says_how_the_server_is() {
    let herd = started(TWO);
    let before = status(&herd, "Blake");
    let mut client = herd.client("Blake");
    for line in [
        "IAMAT kiwi +27.5916+086.5640 1",
        "IAMAT emu +00+000 1",
        "IAMAT emu +01+001 0",
        "nonsense",
    ] {
        client.say(line);
        client.line();
    }
    let body = r#"{"latitude":1,"longitude":2}"#;
    assert_eq!(
        post(herd.http("Blake"), "/v1/clients/lime", body).status,
        200
    );
    let point = get(herd.http("Blake"), "/osmand?id=lime&lat=91&lon=0");
    assert_eq!(point.status, 400);
    // The server may not have seen yet that the connections before were closed.
    let mut after = Value::Null;
    wait_until("there is one connection of each kind", || {
        after = status(&herd, "Blake");
        let by_role = &after["connections_by_role"];
        by_role["client"] == 1 && by_role["http"] == 1
    });
    for (member, want) in [
        ("name", Value::from("Blake")),
        ("version", Value::from(env!("CARGO_PKG_VERSION"))),
        ("ready", Value::from(true)),
        ("reasons", Value::Array(Vec::new())),
        ("locations", Value::from(3)),
        ("updates", Value::from(3)),
    ] {
        assert_eq!(after[member], want, "{member}");
    }
    let links: u64 = ["accepted", "dialled"]
        .iter()
        .filter_map(|role| after["connections_by_role"][role].as_u64())
        .sum();
    assert_eq!(links, 1);
    assert_eq!(after["connections"], 3);
    assert_eq!(after["messages"]["report"], 4);
    assert_eq!(after["reports_outdated"], 1);
    assert_eq!(after["messages"]["invalid"], 1);
    assert!(after["updates_per_second"].as_f64() > Some(0.0));
    assert!(after["messages_per_second"].as_f64() > before["messages_per_second"].as_f64());
    assert!(after["uptime_seconds"].as_f64() >= before["uptime_seconds"].as_f64());
    assert!(after["memory_bytes"].as_u64() > Some(1 << 20));
    assert!(
        after["incarnation"]
            .as_str()
            .is_some_and(|text| text.len() == 16)
    );
    assert_eq!(after["journal"]["state"], "ok");
    assert!(after["journal"]["bytes"].as_u64() > before["journal"]["bytes"].as_u64());
    assert_eq!(after["log"]["state"], "ok");
    assert_eq!(after["twitter"]["state"], "ok");
    let link = link(&after, "Bryant");
    assert_eq!(link["state"], "up");
    assert_eq!(link.get("reason"), None);
    assert_eq!(link["encrypted"], false);
    wait_until("Bryant has told its clock", || {
        let offset = self::link(&status(&herd, "Blake"), "Bryant")["clock_offset_seconds"].as_f64();
        offset.is_some_and(|offset| offset.abs() < 60.0)
    });
    wait_until("Bryant is sent all", || {
        let status = status(&herd, "Blake");
        let link = &status["links"][0];
        link["lag_changes"] == 0 && link["lag_seconds"] == 0.0
    });
    for (sample, want) in [
        ("herd_ready", 1.0),
        ("herd_locations", 3.0),
        ("herd_updates_total", 3.0),
        ("herd_messages_total{kind=\"invalid\"}", 1.0),
        ("herd_points_rejected_total", 1.0),
        ("herd_reports_outdated_total", 1.0),
        ("herd_http_responses_total{code=\"400\"}", 1.0),
        ("herd_connections_made_total{role=\"client\"}", 1.0),
        ("herd_link_up{neighbour=\"Bryant\"}", 1.0),
        ("herd_link_sessions_total{neighbour=\"Bryant\"}", 1.0),
        ("herd_journal_ok", 1.0),
        ("herd_log_ok", 1.0),
        ("herd_log_records_dropped_total", 0.0),
        ("herd_twitter_ok", 1.0),
    ] {
        assert_eq!(metric(&herd, "Blake", sample), Some(want), "{sample}");
    }
    assert_eq!(
        metric(&herd, "Bryant", "herd_neighbour_reports_total"),
        Some(3.0)
    );
    let turns = metric(&herd, "Blake", "herd_turn_duration_seconds_count");
    assert!(turns > Some(5.0));
}

#[test]
fn a_log_that_cannot_be_written_is_told_with_what_it_has_lost() {
    let mut herd = Herd::with_http(TWO);
    let log = herd.log_path("Blake");
    fs::create_dir_all(log.parent().expect("a directory")).expect("the directory is ours");
    symlink("/dev/full", &log).expect("the directory is ours");
    herd.start("Blake");
    let long = "x".repeat(60_000); // some records wait before any is dropped
    wait_until("records are dropped", || {
        herd.ask("Blake", &long);
        metric(&herd, "Blake", "herd_log_records_dropped_total") > Some(0.0)
    });
    assert_eq!(metric(&herd, "Blake", "herd_log_ok"), Some(0.0));
    let log = status(&herd, "Blake")["log"].clone();
    assert_eq!(log["state"], "degraded");
    assert!(log["dropped"].as_u64() > Some(0), "{log}");
}

#[test]
fn a_link_that_is_down_says_since_when_why_and_what_it_lacks() {
    let mut herd = started(TWO);
    assert_eq!(link(&status(&herd, "Blake"), "Bryant")["state"], "up");
    let asked = Instant::now();
    herd.process("Bryant").signal(Signal::KILL);
    wait_until("the link is down", || {
        link(&status(&herd, "Blake"), "Bryant")["state"] == "down"
    });
    assert!(
        asked.elapsed() < Duration::from_secs(3),
        "a page would show it too late"
    );
    for client in ["a", "b", "a"] {
        herd.ask("Blake", &format!("IAMAT {client} +00+000 {}", herd_time()));
    }
    let down = link(&status(&herd, "Blake"), "Bryant");
    assert!(
        down["reason"].as_str().is_some_and(|why| !why.is_empty()),
        "{down}"
    );
    assert_eq!(down["lag_changes"], 2, "a client is sent once: {down}");
    wait_until("the lag grows", || {
        let down = link(&status(&herd, "Blake"), "Bryant");
        down["lag_seconds"].as_f64() > Some(1.0)
    });
    assert_eq!(
        metric(&herd, "Blake", "herd_link_up{neighbour=\"Bryant\"}"),
        Some(0.0)
    );
    assert_eq!(
        status(&herd, "Blake")["ready"],
        true,
        "a neighbour is no reason"
    );
    herd.kill("Bryant");
    herd.start("Bryant");
    wait_until("the link is up", || {
        let up = link(&status(&herd, "Blake"), "Bryant");
        up["state"] == "up" && up["lag_changes"] == 0
    });
    let up = link(&status(&herd, "Blake"), "Bryant");
    assert!(up["since"].as_f64() > down["since"].as_f64());
    let sessions = metric(
        &herd,
        "Blake",
        "herd_link_sessions_total{neighbour=\"Bryant\"}",
    );
    assert!(sessions >= Some(2.0));
}

/// A time that rises from call to call.
fn herd_time() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(1_000);
    COUNT.fetch_add(1, Ordering::Relaxed).to_string()
}

#[test]
fn a_neighbour_that_says_bye_refuses() {
    // Bryant's own topology names no Blake.
    let mut herd = Herd::with_http(TWO);
    let whole = herd.topology_text();
    let alone = whole
        .lines()
        .find(|line| line.starts_with("Bryant "))
        .expect("it is named");
    let alone = alone.replace(" Blake", "");
    let file = herd.topology().with_file_name("alone.txt");
    fs::write(&file, alone + "\n").expect("the directory is ours");
    let command = herd.command_with("Bryant", &file);
    herd.start_with("Bryant", command);
    herd.start("Blake");
    wait_until("Blake is refused", || {
        let link = link(&status(&herd, "Blake"), "Bryant");
        link["state"] == "refused"
            && link["reason"]
                .as_str()
                .is_some_and(|why| why.contains("BYE"))
    });
    assert_eq!(
        metric(&herd, "Blake", "herd_link_refused{neighbour=\"Bryant\"}"),
        Some(1.0)
    );
    wait_until("Bryant counts it", || {
        metric(
            &herd,
            "Bryant",
            "herd_limit_reached_total{limit=\"neighbours\"}",
        ) > Some(0.0)
    });
}

#[test]
fn a_link_that_keys_forbid_says_so() {
    let mut herd = Herd::with_http(TWO);
    give_key(&mut herd, "Blake");
    herd.start("Blake");
    herd.start("Bryant");
    for (name, neighbour) in [("Blake", "Bryant"), ("Bryant", "Blake")] {
        wait_until("the status says why", || {
            let link = link(&status(&herd, name), neighbour);
            link["state"] == "down" && link["reason"] == "one side has a key, and the other none"
        });
    }
}

#[test]
fn the_whole_herd_is_seen_through_any_server() {
    let mut herd = started(FIVE);
    let servers = |herd: &Herd| {
        let reply = get(herd.http("Metta"), "/v1/herd");
        assert_eq!(reply.status, 200);
        reply.json()["servers"]
            .as_array()
            .expect("an array")
            .clone()
    };
    let all = servers(&herd);
    let names: Vec<_> = FIVE.iter().map(|(name, _)| Value::from(*name)).collect();
    let told: Vec<_> = all.iter().map(|server| server["name"].clone()).collect();
    assert_eq!(told, names, "in the order of the topology");
    for server in &all {
        assert_eq!(server["status"]["name"], server["name"]);
        assert_eq!(server["error"], Value::Null);
        let http = herd
            .http(server["name"].as_str().expect("a name"))
            .to_string();
        assert_eq!(server["http"], http.as_str());
    }
    herd.kill("Gasol");
    wait_until("Gasol is seen to be down", || {
        let all = servers(&herd);
        all[2]["status"].is_null() && all[2]["error"].is_string() && all[0]["error"].is_null()
    });
    // However many ask, each has its answer, in order.
    let mut http = Http::connect(herd.http("Blake"));
    for target in ["/v1/herd", "/livez", "/v1/herd"] {
        http.send("GET", target, "", b"");
    }
    for want in ["servers", "status", "servers"] {
        let reply = http.reply();
        assert!(reply.json().get(want).is_some(), "{}", reply.text());
    }
}

#[test]
fn who_asks_for_much_work_at_once_has_one_answer_a_turn() {
    const ASKED: usize = 40;
    let herd = started(TWO);
    let turns = || metric(&herd, "Blake", "herd_turn_duration_seconds_count").expect("it is there");
    let before = turns();
    let mut http = Http::connect(herd.http("Blake"));
    let request = "GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(ASKED);
    http.client.send(request.as_bytes());
    for _ in 0..ASKED {
        assert_eq!(http.reply().json()["name"], "Blake");
    }
    assert!(
        turns() - before >= ASKED as f64,
        "others had no turn between"
    );
}
