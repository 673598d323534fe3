//! `herd status`, and what a server says of the whole herd over HTTPS.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::http::{Http, get};
use crate::support::{Herd, wait_until};
use crate::{FIVE, TWO, started, status};

/// `herd status`: exit code, standard output and standard error.
pub fn herd_status(topology: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
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
    assert!(table.contains("down: it wants a token"), "{table}");
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
    assert!(table.contains("down: it speaks HTTPS"), "{table}");
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
    assert!(
        table.contains("down: its certificate is not trusted"),
        "{table}"
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
