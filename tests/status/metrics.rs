//! `/metrics`, as Prometheus reads it, and the alerts.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::http::{Http, get};
use crate::support::ports::free_address;
use crate::support::{Herd, Process, wait_until};
use crate::{FIVE, TWO, metric, started};

#[test]
fn limits_of_time_are_counted() {
    let mut herd = Herd::with_http(&TWO[1..]);
    herd.start_arguing("Bryant", &["--line-timeout", "1", "--idle-timeout", "2"]);
    let mut slow = herd.client("Bryant");
    slow.send(b"IAMAT begun");
    let silent = herd.client("Bryant");
    for (limit, mut client) in [("line_timeout", slow), ("idle_timeout", silent)] {
        client.expect_end();
        let sample = format!("herd_limit_reached_total{{limit=\"{limit}\"}}");
        assert_eq!(metric(&herd, "Bryant", &sample), Some(1.0), "{limit}");
    }
}

/// What promtool says of `input`.
fn promtool(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new("promtool");
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn();
    let mut child = child.expect("this test needs promtool (apt-get install prometheus)");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn assert_well(output: &Output) {
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy);
    assert!(output.status.success(), "{said:?}");
}

const ALERTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/alerts.yml");

#[test]
fn alerts_ask_for_metrics_that_there_are() {
    let herd = started(TWO);
    let reply = get(herd.http("Blake"), "/metrics");
    let media = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(reply.field("content-type"), Some(media));
    let alerts = fs::read_to_string(ALERTS).expect("it is text");
    let metrics = reply.text();
    for name in alerts.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_') {
        if name.starts_with("herd_") {
            let known = metrics.contains(&format!("# TYPE {} ", name.trim_end_matches("_bucket")));
            assert!(known, "an alert asks for {name}");
        }
    }
}

#[test]
#[ignore = "needs promtool (apt-get install prometheus)"]
fn prometheus_checker_finds_nothing_wrong_with_metrics_and_alerts() {
    let herd = started(TWO);
    let metrics = get(herd.http("Blake"), "/metrics").text();
    let output = promtool(&["check", "metrics"], &metrics);
    assert_well(&output);
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_well(&promtool(&["check", "rules", ALERTS], ""));
}

#[test]
#[ignore = "needs prometheus (apt-get install prometheus)"]
fn a_real_prometheus_scrapes_five_servers() {
    let version = Command::new("prometheus").arg("--version").output();
    version.expect("this test needs prometheus (apt-get install prometheus)");
    let herd = started(FIVE);
    let directory = tempfile::tempdir().expect("a directory");
    let targets: Vec<_> = FIVE
        .iter()
        .map(|(name, _)| format!("'{}'", herd.http(name)))
        .collect();
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: herd\n  static_configs:\n  - targets: [{}]\n",
        targets.join(", ")
    );
    let file = directory.path().join("prometheus.yml");
    fs::write(&file, config).expect("the directory is ours");
    let address = free_address();
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            directory.path().join("data").display()
        ))
        .arg(format!("--web.listen-address={address}"));
    let _prometheus = Process::start(command, directory.path().join("stderr"));
    let count = |query: &str| {
        let stream = std::net::TcpStream::connect(address).ok()?;
        drop(stream);
        let mut http = Http::connect(address);
        http.send("GET", &format!("/api/v1/query?query={query}"), "", b"");
        let head = http.head();
        let length = head.field("content-length")?.parse().ok()?;
        let body = http.client.bytes(length);
        let body: Value = serde_json::from_slice(&body).ok()?;
        let value = body["data"]["result"][0]["value"][1].as_str()?;
        value.parse::<f64>().ok()
    };
    for (query, want) in [
        ("sum(up)", 5.0),
        ("sum(herd_link_up)", 10.0),
        ("count(herd_info)", 5.0),
    ] {
        wait_until(query, || count(query) == Some(want));
    }
}
