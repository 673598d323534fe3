//! How a server is, over HTTP: `/v1/status` and `/metrics` (contract, section 7).

#[path = "support/http.rs"]
mod http;
mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use http::{Http, get, post};
use rustix::process::Signal;
use serde_json::Value;
use support::ports::free_address;
use support::{Herd, Process, wait_until};

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
    assert_eq!(after["messages"]["report"], 3);
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
        ("herd_http_responses_total{code=\"400\"}", 1.0),
        ("herd_connections_made_total{role=\"client\"}", 1.0),
        ("herd_link_up{neighbour=\"Bryant\"}", 1.0),
        ("herd_link_sessions_total{neighbour=\"Bryant\"}", 1.0),
        ("herd_journal_ok", 1.0),
        ("herd_log_ok", 1.0),
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

/// `herd status`: exit code, standard output and standard error.
fn herd_status(topology: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herd"));
    command
        .arg("status")
        .arg("--topology")
        .arg(topology)
        .args(arguments);
    let output = command.output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it is text");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn herd_status_shows_all_servers_and_fails_unless_all_are_ready() {
    let mut herd = started(FIVE);
    herd.ask("Blake", "IAMAT kiwi +27.5916+086.5640 1");
    wait_until("all are ready and have heard of it", || {
        let (code, table, said) = herd_status(&herd.topology(), &[]);
        assert_eq!(said, "");
        let rows: Vec<_> = table.lines().skip(1).collect();
        assert_eq!(rows.len(), 5, "{table}");
        for (row, (name, _)) in rows.iter().zip(FIVE) {
            assert!(row.starts_with(name), "{table}");
        }
        let is_row = |row: &&str| {
            let cells: Vec<_> = row.split_ascii_whitespace().collect();
            cells[1] == "ready" && cells[5] == "1" && row.contains(" up")
        };
        code == Some(0) && rows.iter().all(is_row)
    });
    let (code, json, _) = herd_status(&herd.topology(), &["--json"]);
    let json: Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(code, Some(0));
    assert_eq!(json["servers"][4]["status"]["name"], "Metta");
    let links = |states: [&str; 5]| {
        let ends = [
            "Blake Bryant",
            "Blake Howard",
            "Bryant Gasol",
            "Bryant Metta",
            "Gasol Howard",
        ];
        let lines = ends.iter().zip(states);
        let lines = lines.map(|(ends, state)| format!("{ends} {state}\n"));
        lines.collect::<String>()
    };
    let (code, said, _) = herd_status(&herd.topology(), &["--links"]);
    assert_eq!((code, said), (Some(0), links(["up"; 5])));
    herd.kill("Gasol");
    wait_until("its neighbours miss Gasol", || {
        let (code, said, _) = herd_status(&herd.topology(), &["--links"]);
        code == Some(1) && said == links(["up", "up", "down", "up", "down"])
    });
    let (code, table, _) = herd_status(&herd.topology(), &[]);
    assert_eq!(code, Some(1), "{table}");
    let gasol = table.lines().find(|row| row.starts_with("Gasol"));
    assert!(gasol.is_some_and(|row| row.contains("down: ")), "{table}");

    let mut watching = Command::new(env!("CARGO_BIN_EXE_herd"));
    watching
        .args(["status", "--watch", "--topology"])
        .arg(herd.topology());
    let mut watching = watching.stdout(Stdio::piped()).spawn().expect("it runs");
    let mut shown = Vec::new();
    let mut stdout = watching.stdout.take().expect("it is piped");
    while shown.windows(3).filter(|bytes| bytes == b"\x1b[J").count() < 2 {
        let mut bytes = [0; 4096];
        let read = stdout.read(&mut bytes).expect("it is open");
        assert!(read > 0, "it goes on");
        shown.extend_from_slice(&bytes[..read]);
    }
    drop(stdout);
    assert_eq!(
        watching.wait().expect("it ends").code(),
        Some(1),
        "nobody reads it any longer"
    );

    let nowhere = herd.topology().with_file_name("nowhere.txt");
    let (code, table, said) = herd_status(&nowhere, &[]);
    assert_eq!((code, &table[..]), (Some(2), ""));
    assert!(said.contains("cannot read the topology"), "{said}");
}

/// A file beside the topology that only its owner may read.
fn private_file(herd: &Herd, name: &str, text: &str) -> String {
    let path = herd.topology().with_file_name(name);
    fs::write(&path, text).expect("the directory is ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
    path.to_str().expect("a path of text").to_owned()
}

#[test]
fn tokens_are_shown_to_servers_that_want_them() {
    let mut herd = Herd::with_http(TWO);
    let tokens = private_file(&herd, "tokens", "operator secret-1\nphones secret-2\n");
    for name in ["Blake", "Bryant"] {
        herd.start_arguing(name, &["--http-tokens", &tokens]);
    }
    let (code, table, _) = herd_status(&herd.topology(), &[]);
    assert_eq!(code, Some(1));
    assert!(table.contains("down: it answers 401"), "{table}");
    wait_until("both are ready", || {
        herd_status(&herd.topology(), &["--http-tokens", &tokens]).0 == Some(0)
    });
    for target in ["/v1/status", "/v1/herd", "/metrics"] {
        assert_eq!(get(herd.http("Blake"), target).status, 401, "{target}");
    }
    let mut http = Http::connect(herd.http("Blake"));
    let reply = http.ask("GET", "/v1/herd", "Authorization: Bearer secret-2\r\n", b"");
    let both = reply.json();
    for server in both["servers"].as_array().expect("an array") {
        assert_eq!(
            server["error"],
            Value::Null,
            "the asker's token is passed on"
        );
    }
}

/// Two servers that offer HTTPS and are ready, and the files of their certificate and its key.
fn offering_https() -> (Herd, [String; 2]) {
    let mut herd = Herd::with_http(TWO);
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]);
    let made = made.expect("the name is valid");
    let certificate = private_file(&herd, "certificate.pem", &made.cert.pem());
    let key = private_file(&herd, "key.pem", &made.signing_key.serialize_pem());
    for name in ["Blake", "Bryant"] {
        herd.start_arguing(name, &["--tls-cert", &certificate, "--tls-key", &key]);
    }
    wait_until("both are ready", || {
        herd_status(&herd.topology(), &["--ca", &certificate]).0 == Some(0)
    });
    (herd, [certificate, key])
}

#[test]
fn servers_that_offer_https_are_asked_by_it() {
    let (herd, [certificate, key]) = offering_https();
    let (code, table, _) = herd_status(&herd.topology(), &[]);
    assert_eq!(code, Some(1), "plain HTTP is not spoken there: {table}");
    let (code, _, said) = herd_status(&herd.topology(), &["--ca", &key]);
    assert_eq!(code, Some(2));
    assert!(said.contains("holds no certificate"), "{said}");
    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]);
    let other = other.expect("the name is valid").cert.pem();
    let other = private_file(&herd, "other.pem", &other);
    let (code, table, _) = herd_status(&herd.topology(), &["--ca", &other]);
    assert_eq!(
        code,
        Some(1),
        "whoever shows another certificate is not asked: {table}"
    );

    let (_, json, _) = herd_status(&herd.topology(), &["--json", "--ca", &certificate]);
    let all: Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(all["servers"][1]["status"]["name"], "Bryant");
}

#[test]
#[ignore = "needs curl (apt-get install curl)"]
fn a_server_that_offers_https_asks_the_others_by_it() {
    let (herd, [certificate, _]) = offering_https();
    let url = format!("https://{}/v1/herd", herd.http("Blake"));
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--cacert", &certificate, &url]);
    let output = curl.output();
    let output = output.expect("this test needs curl (apt-get install curl)");
    let all: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    for server in all["servers"].as_array().expect("an array") {
        assert_eq!(server["error"], Value::Null, "{server}");
        assert_eq!(server["status"]["name"], server["name"]);
    }
}

#[test]
fn a_status_names_the_connections_that_say_most() {
    let herd = started(TWO);
    let mut quiet = herd.client("Blake");
    let mut busy = herd.client("Blake");
    quiet.say("IAMAT kiwi +00+000 1");
    quiet.line();
    let mut name = String::new();
    wait_until("who says much comes before who asks for the status", || {
        for _ in 0..2_000 {
            busy.say("IAMAT lime +00+000 1");
            busy.line();
        }
        let first = status(&herd, "Blake")["busiest_connections"][0].clone();
        let peer = first["peer"].as_str().unwrap_or_default();
        assert!(peer.starts_with("127.0.0.1:"), "{first}");
        name = first["connection"].as_str().unwrap_or_default().to_owned();
        name.starts_with('c') && first["bytes_per_second"].as_u64() > Some(2_000)
    });
    let opened = format!(" + {name} 127.0.0.1:");
    assert!(herd.log("Blake").contains(&opened), "{name}");
    let busy_there = format!("\nbusy: Blake {name} from 127.0.0.1:");
    wait_until("it is named at the terminal", || {
        for _ in 0..2_000 {
            busy.say("IAMAT lime +00+000 1");
            busy.line();
        }
        let (_, said, _) = herd_status(&herd.topology(), &[]);
        said.contains(&busy_there)
    });
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
