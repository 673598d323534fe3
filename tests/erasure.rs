//! Erasing a client (contract, sections 7 and 8), over real sockets: everywhere, for good, and until it reports anew.

#[path = "support/http.rs"]
mod http;
mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use http::{Events, Http, Reply, get, post};
use serde_json::Value;
use support::{Client, FIVE, Herd, wait_until};

const NAMES: [&str; 5] = ["Blake", "Bryant", "Gasol", "Howard", "Metta"];
const TWO: &[(&str, &[&str])] = &[("Blake", &["Bryant"]), ("Bryant", &[])];

fn started(links: &[(&str, &[&str])]) -> Herd {
    let mut herd = Herd::with_http(links);
    herd.start_all();
    herd
}

fn delete(herd: &Herd, name: &str, client: &str) -> Reply {
    let target = format!("/v1/clients/{client}");
    Http::connect(herd.http(name)).ask("DELETE", &target, "", b"")
}

/// What may still hold it, in the words of an answer.
fn holders(answer: &Value) -> String {
    let holders = answer["may_still_hold"].as_array().expect("a list");
    let holders = holders
        .iter()
        .map(|holder| holder.as_str().expect("a text"));
    holders.collect::<Vec<_>>().join("\n")
}

fn is_known(herd: &Herd, name: &str, client: &str) -> bool {
    let over_http = get(herd.http(name), &format!("/v1/clients/{client}")).status;
    let is_known = over_http == 200;
    assert!(is_known || over_http == 404, "{over_http}");
    is_known
}

fn wait_until_unknown(herd: &Herd, names: &[&str], client: &str) {
    for name in names {
        wait_until("it is erased", || !is_known(herd, name, client));
        let question = format!("WHATSAT {client} 10 5");
        assert_eq!(herd.ask(name, &question), format!("? {question}"));
    }
}

/// Whether a file of a journal has these bytes.
fn has(journal: &Path, bytes: &str) -> bool {
    let files = fs::read_dir(journal).expect("the folder can be read");
    files.flatten().any(|file| {
        let text = fs::read(file.path()).unwrap_or_default(); // it was just removed
        text.windows(bytes.len())
            .any(|some| some == bytes.as_bytes())
    })
}

fn locations(herd: &Herd, name: &str) -> (u64, String) {
    let status = get(herd.http(name), "/v1/status").json();
    let metrics = get(herd.http(name), "/metrics").text();
    let metric = metrics
        .lines()
        .find_map(|line| line.strip_prefix("herd_locations "));
    let metric = metric.expect("there is one").to_owned();
    (status["locations"].as_u64().expect("a number"), metric)
}

#[test]
fn a_client_is_erased_everywhere_and_from_the_disks_until_it_reports_anew() {
    let herd = started(FIVE);
    let first = herd.ask("Gasol", "IAMAT kiwi +27.5916+086.5640 1353118103.108893381");
    let other = herd.ask("Blake", "IAMAT moa +01+001 1");
    for name in NAMES {
        herd.wait_for_at(name, "kiwi", &first);
        herd.wait_for_at(name, "moa", &other);
        assert!(has(&herd.journal_path(name), "+27.5916+086.5640"));
    }
    let reply = delete(&herd, "Metta", "kiwi");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let answer = reply.json();
    assert_eq!(
        (&answer["client"], &answer["erased"]),
        (&"kiwi".into(), &true.into())
    );
    assert_eq!(answer["server"], "Metta");
    let holders = holders(&answer);
    assert!(
        holders.contains("text logs") && holders.contains("journal"),
        "{holders}"
    );
    assert!(!holders.contains("Bryant"), "it was told: {holders}");
    // Nobody knows which servers are away that are not his neighbours.
    assert!(holders.contains("servers that are away, "), "{holders}");
    wait_until_unknown(&herd, &NAMES, "kiwi");
    assert_eq!(
        delete(&herd, "Metta", "kiwi").status,
        404,
        "it is erased already"
    );
    assert_eq!(delete(&herd, "Metta", "nobody").status, 404);
    for name in NAMES {
        assert_eq!(locations(&herd, name), (1, "1".to_owned()));
        wait_until("its disk has forgotten it", || {
            !has(&herd.journal_path(name), "+27.5916+086.5640")
        });
        assert_eq!(herd.at(name, "moa"), Some(other.clone()));
    }
    // What it reported before loses, wherever it comes from, and is answered as usual.
    let late = herd.ask("Howard", "IAMAT kiwi +02+002 1353118104");
    assert!(late.starts_with("AT Howard +"), "{late}");
    let body = r#"{"latitude":3,"longitude":3,"time":1353118105}"#;
    let reply = post(herd.http("Gasol"), "/v1/clients/kiwi", body);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["accepted"], false);
    wait_until_unknown(&herd, &NAMES, "kiwi");
    // What it reports from now on is known.
    let reply = post(
        herd.http("Blake"),
        "/v1/clients/kiwi",
        r#"{"latitude":4,"longitude":4}"#,
    );
    assert_eq!(reply.json()["accepted"], true);
    let anew = herd.at("Blake", "kiwi").expect("it is known");
    for name in NAMES {
        herd.wait_for_at(name, "kiwi", &anew);
        assert_eq!(locations(&herd, name), (2, "2".to_owned()));
    }
}

#[test]
fn a_client_that_is_erased_and_reports_anew_in_one_turn_is_known() {
    let herd = started(TWO);
    let mut http = Http::connect(herd.http("Blake"));
    let target = "/v1/clients/kiwi";
    let host = format!("HTTP/1.1\r\nHost: {}\r\n", herd.http("Blake"));
    let place = |at| {
        let body = format!("{{\"latitude\":{at},\"longitude\":2}}");
        let length = body.len();
        format!("POST {target} {host}Content-Length: {length}\r\n\r\n{body}")
    };
    let erase = format!("DELETE {target} {host}\r\n");
    // The last is the latest, though another would win a tie.
    let all = [place(9), erase, place(5), place(1)].concat();
    http.client.send(all.as_bytes());
    let replies: Vec<_> = (0..4).map(|_| http.reply()).collect();
    for reply in &replies {
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    for reply in [&replies[0], &replies[2], &replies[3]] {
        assert_eq!(reply.json()["accepted"], true, "{}", reply.text());
    }
    assert_eq!(http.get(target).json()["latitude"], 1);
}

#[test]
fn who_was_away_or_is_killed_knows_of_an_erasure_and_nobody_brings_the_client_back() {
    let mut herd = started(TWO);
    let at = herd.ask("Blake", "IAMAT kiwi +27.5916+086.5640 1353118103");
    herd.wait_for_at("Bryant", "kiwi", &at);
    herd.kill("Bryant");
    wait_until("the link is known to be down", || {
        !herd.link_is_up("Blake", "Bryant")
    });
    let answer = delete(&herd, "Blake", "kiwi").json();
    assert!(
        holders(&answer).contains("Bryant, until it is linked again"),
        "{answer}"
    );
    // Killed before any snapshot: the journal has it. Its neighbour comes back meanwhile, alone.
    herd.kill("Blake");
    herd.start("Bryant");
    assert_eq!(
        herd.at("Bryant", "kiwi"),
        Some(at),
        "it has heard nothing else"
    );
    herd.start("Blake");
    assert!(!is_known(&herd, "Blake", "kiwi"));
    wait_until_unknown(&herd, &["Bryant", "Blake"], "kiwi");
    for name in ["Blake", "Bryant"] {
        wait_until("its disk has forgotten it", || {
            !has(&herd.journal_path(name), "+27.5916+086.5640")
        });
    }
    for name in ["Blake", "Bryant"] {
        herd.kill(name);
    }
    herd.start_all();
    wait_until_unknown(&herd, &["Bryant", "Blake"], "kiwi");
}

#[test]
fn followers_are_told_of_an_erasure_also_who_resumes() {
    let mut herd = started(TWO);
    let bryant = herd.http("Bryant");
    let odd = "%FFb";
    let reply = post(
        herd.http("Blake"),
        "/v1/clients/%FFb",
        r#"{"latitude":1,"longitude":1}"#,
    );
    assert_eq!(reply.status, 200);
    let mut events = Events::follow(bryant, "?from=start", "");
    while events.event().0 != "live" {} // perhaps before it has come
    wait_until("it is there", || is_known(&herd, "Bryant", odd));
    let mut resumed = Events::follow(bryant, "", "");
    let id = resumed.last_id.clone();
    assert_eq!(delete(&herd, "Blake", odd).status, 200);
    let (kind, data) = resumed.event();
    assert_eq!(kind, "erased");
    assert_eq!(
        data,
        serde_json::json!({"client": "\u{fffd}b", "client_encoded": odd})
    );
    loop {
        let (kind, _) = events.event();
        if kind == "erased" {
            break;
        }
        assert_eq!(kind, "location");
    }
    herd.kill("Bryant");
    herd.start("Bryant");
    assert_eq!(Events::resume(bryant, &id).event(), (kind, data));
    // Who begins with nothing is not told of what it never knew.
    let mut events = Events::follow(bryant, "?from=start", "");
    events.expect("live");
}

#[test]
fn only_who_may_write_may_erase() {
    let herd = started(&[("Blake", &[])]);
    herd.ask("Blake", "IAMAT kiwi +00+000 1");
    let mut http = Http::connect(herd.http("Blake"));
    let foreign = "Origin: http://evil.example\r\n";
    let reply = http.ask("DELETE", "/v1/clients/kiwi", foreign, b"");
    assert_eq!(reply.status, 403);
    assert!(is_known(&herd, "Blake", "kiwi"));
    let reply = http.ask("DELETE", "/v1/clients/", "", b"");
    assert_eq!(reply.status, 404);
    let reply = http.ask("DELETE", "/v1/clients/kiwi/tweets", "", b"");
    assert_eq!(
        (reply.status, reply.field("allow")),
        (405, Some("GET, HEAD"))
    );
    // Pipelined, each in its turn.
    http.send("GET", "/v1/clients/kiwi", "", b"");
    http.send("DELETE", "/v1/clients/kiwi", "", b"");
    http.send("GET", "/v1/clients/kiwi", "", b"");
    assert_eq!([(); 3].map(|()| http.reply().status), [200, 200, 404]);
}

/// A neighbour of minor version 1, which knows clocks but no erasures, is told of none, and may say none.
#[test]
fn a_neighbour_of_an_older_version_is_not_told() {
    let mut herd = Herd::with_http(TWO);
    herd.start("Blake");
    let servers = herd.member("Blake").servers;
    let mut old = Client::connect(servers);
    old.say("HELLO herd/1 Bryant Blake 00000000000000ff 1000000000000001 - 0");
    assert!(old.line().starts_with("HELLO herd/1 Blake Bryant "));
    let mut said = || {
        loop {
            let line = old.line();
            if !line.starts_with("CLOCK ") && !line.starts_with("MARK ") {
                break line;
            }
        }
    };
    let at = herd.ask("Blake", "IAMAT kiwi +00+000 1");
    assert_eq!(said(), at);
    let answer = delete(&herd, "Blake", "kiwi").json();
    assert!(
        holders(&answer).contains("Bryant, whose version of herd erases nothing"),
        "{answer}"
    );
    let at = herd.ask("Blake", "IAMAT moa +00+000 1");
    assert_eq!(said(), at);
    old.say("ERASED Bryant moa 2.000000000");
    let bye = loop {
        let line = old.line();
        if line.starts_with("BYE ") {
            break line;
        }
    };
    assert_eq!(bye, "BYE an ERASED of one that has not announced it");
    assert!(herd.at("Blake", "moa").is_some());
}

#[test]
fn a_neighbour_that_is_behind_is_named() {
    let mut herd = Herd::with_http(TWO);
    herd.start("Blake");
    let mut slow = Client::connect(herd.member("Blake").servers);
    slow.say("HELLO herd/1 Bryant Blake 00000000000000ff 2000000000000001 - 0");
    assert!(slow.line().starts_with("HELLO herd/1 Blake Bryant "));
    herd.ask("Blake", "IAMAT kiwi +00+000 1");
    let answer = delete(&herd, "Blake", "kiwi").json();
    assert!(!holders(&answer).contains("Bryant"), "{answer}");
    // It reads no more. In the end nobody has room for the next change on its way there.
    let mut client = herd.client("Blake");
    let mut report = |name: &str| {
        client.say(&format!("IAMAT {name} +00+000 1"));
        assert!(client.line().starts_with("AT "));
    };
    let long = "x".repeat(60_000);
    let mut number = 0;
    wait_until("it is behind", || {
        number += 1;
        report(&format!("{long}{number}"));
        let status = get(herd.http("Blake"), "/v1/status").json();
        status["links"][0]["lag_changes"]
            .as_u64()
            .expect("a number")
            > 20
    });
    report("moa");
    let answer = delete(&herd, "Blake", "moa").json();
    let want = "Bryant, which is behind, until it has caught up";
    assert!(holders(&answer).contains(want), "{answer}");
}

fn erase(herd: &Herd, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herd"));
    command.arg("erase").args(arguments);
    command.arg("--topology").arg(herd.topology());
    command.output().expect("the program can be started")
}

#[test]
fn the_command_asks_each_server_until_one_knows_the_client() {
    let mut herd = Herd::with_http(TWO);
    herd.start("Bryant");
    let at = herd.ask("Bryant", "IAMAT ki/wi +00+000 1");
    let output = erase(&herd, &["ki/wi"]); // Blake is down
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text.starts_with("Bryant has erased ki/wi."), "{text}");
    assert!(text.contains("Blake, until it is linked again"), "{text}");
    let output = erase(&herd, &["ki/wi"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        text.starts_with("ki/wi is unknown to Bryant; not asked: Blake: "),
        "{text}"
    );
    herd.kill("Bryant");
    let output = erase(&herd, &["kiwi"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(
        text.starts_with("herd: no server answers, kiwi is not erased: "),
        "{text}"
    );
    let output = erase(&herd, &["kiwi", "--http-tokens", "/nowhere"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    drop(at);
}

#[test]
fn a_client_with_a_long_name_is_erased_too() {
    let herd = started(&[("Blake", &[])]);
    let name = |bytes| "\u{1}".repeat(bytes); // three bytes each in an address
    let (long, too_long) = (name(5_000), name(6_000));
    for client in [&long, &too_long] {
        let at = herd.ask("Blake", &format!("IAMAT {client} +00+000 1"));
        assert!(at.starts_with("AT "), "it is taken");
    }
    let encoded = long.replace('\u{1}', "%01");
    assert!(is_known(&herd, "Blake", &encoded));
    let output = erase(&herd, &[&long]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!is_known(&herd, "Blake", &encoded));
    let output = erase(&herd, &[&too_long]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text.contains("--forget-after"), "{text}");
    let target = format!("/v1/clients/{}", "%01".repeat(6_000));
    assert_eq!(get(herd.http("Blake"), &target).status, 414);
}

#[test]
fn a_restored_journal_has_nothing_of_who_was_erased() {
    let mut herd = started(TWO);
    let at = herd.ask("Blake", "IAMAT kiwi +27.5916+086.5640 1353118103");
    let other = herd.ask("Blake", "IAMAT moa +01+001 1");
    herd.wait_for_at("Bryant", "kiwi", &at);
    assert_eq!(delete(&herd, "Blake", "kiwi").status, 200);
    wait_until_unknown(&herd, &["Bryant"], "kiwi");
    for name in ["Blake", "Bryant"] {
        herd.settled_log(name);
        herd.kill(name);
    }
    // From the log of either, with the records in any order.
    for name in ["Blake", "Bryant"] {
        let log = fs::read_to_string(herd.log_path(name)).expect("a log");
        let mut records: Vec<_> = log.lines().collect();
        records.reverse();
        let path = herd.directory.path().join(format!("{name}.reversed"));
        fs::write(&path, records.join("\n") + "\n").expect("written");
        let data_dir = herd.directory.path().join(format!("from-{name}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_herd"));
        command.arg("restore").arg(&path).args(["--name", "Blake"]);
        let output = command.arg("--data-dir").arg(&data_dir).output();
        let output = output.expect("the program can be started");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            text.starts_with("herd: restored 1 clients to "),
            "{output:?}"
        );
        herd.data_dir = data_dir;
        herd.start("Blake");
        assert_eq!(herd.at("Blake", "moa"), Some(other.clone()));
        wait_until_unknown(&herd, &["Blake"], "kiwi");
        herd.kill("Blake");
    }
}
