//! What a server offers over HTTP (contract, section 7), over real sockets.

#[path = "support/http.rs"]
mod http;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use http::{Http, get, post};
use rustix::process::Signal;
use support::{Client, Herd, wait_until};

const ONE: &[(&str, &[&str])] = &[("Blake", &[])];
const TWO: &[(&str, &[&str])] = &[("Blake", &["Bryant"]), ("Bryant", &[])];

fn one() -> Herd {
    let mut herd = Herd::with_http(ONE);
    herd.start_all();
    herd
}

/// What `time` less the receipt's was is not known to a test: the JSON of an `AT` line.
fn json_of(at: &str) -> serde_json::Value {
    let fields: Vec<_> = at.split(' ').collect();
    let [_, server, difference, client, position, time] = fields[..] else {
        panic!("no AT line: {at}");
    };
    serde_json::json!({
        "client": client, "position": position, "time": time, "server": server, "difference": difference,
    })
}

fn assert_is(location: &serde_json::Value, at: &str) {
    for (name, value) in json_of(at).as_object().expect("an object") {
        assert_eq!(&location[name], value, "{location} is not {at}");
    }
}

#[test]
fn health_is_answered_whatever_the_host_says() {
    let herd = one();
    let address = herd.http("Blake");
    for (target, want) in [
        ("/livez", "{\"status\":\"ok\"}"),
        ("/readyz", "{\"status\":\"ok\"}"),
        ("/healthz", "{\"status\":\"ok\"}"),
    ] {
        wait_until("it is ready", || get(address, target).status == 200);
        let mut http = Http::connect(address);
        http.client
            .send(format!("GET {target} HTTP/1.1\r\nHost: evil.example\r\n\r\n").as_bytes());
        let reply = http.reply();
        assert_eq!((reply.status, &reply.text()[..]), (200, want));
        assert_eq!(reply.field("content-type"), Some("application/json"));
    }
    assert_eq!(post(address, "/livez", "").status, 405);
}

#[test]
fn a_location_is_asked_for_and_reported() {
    let mut herd = Herd::with_http(TWO);
    herd.start_all();
    let (blake, bryant) = (herd.http("Blake"), herd.http("Bryant"));
    let reply = get(blake, "/v1/clients/kiwi");
    assert_eq!(reply.status, 404);
    assert!(reply.json()["error"].is_string());

    // As a line: seen over HTTP, also at the neighbour.
    let at = herd.ask("Blake", "IAMAT kiwi +27.5916+086.5640 1353118103.108893381");
    let reply = get(blake, "/v1/clients/kiwi");
    assert_eq!(reply.status, 200);
    assert_is(&reply.json(), &at);
    let text = reply.text();
    let numbers = r#""latitude":27.5916,"longitude":86.564,"position":"+27.5916+086.5640""#;
    assert!(text.contains(numbers), "{text}");
    assert!(text.starts_with(r#"{"client":"kiwi","latitude""#), "{text}");
    wait_until("it is flooded", || {
        get(bryant, "/v1/clients/kiwi").status == 200
    });
    assert_is(&get(bryant, "/v1/clients/kiwi").json(), &at);

    // Over HTTP: seen as a line, also at the neighbour.
    let body = r#"{"latitude":-0.5,"longitude":118.25,"time":1353118104.000000001}"#;
    let reply = post(blake, "/v1/clients/kiwi", body);
    assert_eq!(reply.status, 200);
    let location = reply.json();
    assert_eq!(location["accepted"], true);
    let at = herd.at("Blake", "kiwi").expect("it is known");
    assert!(
        at.ends_with(" kiwi -00.5+118.25 1353118104.000000001"),
        "{at}"
    );
    assert_is(&location, &at);
    herd.wait_for_at("Bryant", "kiwi", &at);

    // A report that loses is answered with the location that stands.
    let body = r#"{"position":"+01+001","time":1353118104}"#;
    let reply = post(blake, "/v1/clients/kiwi", body);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["accepted"], false);
    assert_is(&reply.json(), &at);
    assert_eq!(herd.at("Blake", "kiwi"), Some(at));
}

#[test]
fn a_report_without_a_time_has_that_of_its_receipt() {
    let herd = one();
    let reply = post(
        herd.http("Blake"),
        "/v1/clients/a",
        r#"{"latitude":1e-05,"longitude":"180"}"#,
    );
    assert_eq!(reply.status, 200, "{}", reply.text());
    let location = reply.json();
    assert_eq!(location["position"], "+00.00001+180");
    assert_eq!(location["difference"], "+0.000000000");
}

#[test]
fn names_are_bytes() {
    let herd = one();
    let address = herd.http("Blake");
    let body = r#"{"latitude":1,"longitude":2,"time":1}"#;
    for (path, shown, encoded, raw) in [
        ("a%2Fb", "a/b", None, &b"a/b"[..]),
        ("%FF%22x", "\u{fffd}\"x", Some("%FF%22x"), b"\xff\"x"),
        ("caf%C3%A9", "caf\u{e9}", None, "caf\u{e9}".as_bytes()),
    ] {
        let reply = post(address, &format!("/v1/clients/{path}"), body);
        assert_eq!(reply.status, 200, "{}", reply.text());
        for location in [
            reply.json(),
            get(address, &format!("/v1/clients/{path}")).json(),
        ] {
            assert_eq!(location["client"], shown);
            assert_eq!(
                location.get("client_encoded").and_then(|e| e.as_str()),
                encoded
            );
        }
        let mut client = herd.client("Blake");
        client.send(&[b"WHATSAT ", raw, b" 1 0\n"].concat());
        assert!(client.line_bytes().expect("a reply").starts_with(b"AT "));
    }
    for path in ["a%20b", "a%0Ab", "%0D"] {
        let reply = post(address, &format!("/v1/clients/{path}"), body);
        assert_eq!(reply.status, 400, "{path}");
        assert!(reply.text().contains("white space"), "{}", reply.text());
    }
    for path in ["", "%", "a/b", "%zz"] {
        assert_eq!(
            get(address, &format!("/v1/clients/{path}")).status,
            404,
            "{path}"
        );
    }
}

#[test]
fn a_wrong_report_is_told_what_is_wrong_and_changes_nothing() {
    let herd = one();
    let mut http = Http::connect(herd.http("Blake"));
    for (body, words) in [
        ("", "no JSON object"),
        ("{}", "latitude"),
        (r#"{"latitude":1,"longitude":2,"time":-1}"#, "time"),
        (r#"{"latitude":"1,5","longitude":2}"#, "latitude"),
        (r#"{"latitude":91,"longitude":2}"#, "90"),
        (
            r#"{"position":"+01+002 3\nIAMAT b +00+000 1"}"#,
            "white space",
        ),
    ] {
        let reply = http.post("/v1/clients/a", body);
        assert_eq!(reply.status, 400, "{body}");
        let error = reply.json()["error"].as_str().expect("a text").to_owned();
        assert!(error.contains(words), "{body}: {error}");
    }
    let reply = http.ask("POST", "/v1/clients/a", "Content-Encoding: gzip\r\n", b"x");
    assert_eq!(reply.status, 415);
    assert_eq!(herd.at("Blake", "a"), None);
    assert_eq!(herd.at("Blake", "b"), None);
}

#[test]
fn what_is_not_there_and_how_it_may_not_be_asked_for() {
    let herd = one();
    let mut http = Http::connect(herd.http("Blake"));
    assert_eq!(http.get("/nothing").status, 404);
    let reply = http.ask("PUT", "/v1/clients/a", "", b"{}");
    assert_eq!(reply.status, 405);
    assert!(reply.field("allow").expect("Allow").contains("POST"));
    http.send("HEAD", "/livez", "", b"");
    let head = http.head();
    assert_eq!(
        (head.status, head.field("content-length")),
        (200, Some("15"))
    );
    assert_eq!(http.get("/livez").status, 200, "no body came");
}

#[test]
fn without_tokens_another_site_is_refused() {
    let herd = one();
    let address = herd.http("Blake");
    for (host, origin, want) in [
        ("localhost", "", 404),
        ("127.0.0.1:1", "Origin: http://127.0.0.1:1\r\n", 404),
        ("evil.example", "", 403),
        ("localhost:1", "Origin: http://localhost:2\r\n", 403),
        ("localhost", "Origin: null\r\n", 403),
    ] {
        let mut http = Http::connect(address);
        let request = format!("GET /v1/clients/a HTTP/1.1\r\nHost: {host}\r\n{origin}\r\n");
        http.client.send(request.as_bytes());
        assert_eq!(http.reply().status, want, "{host} {origin}");
    }
    let mut http = Http::connect(address);
    http.client.send(b"GET /v1/clients/a HTTP/1.0\r\n\r\n");
    assert_eq!(http.reply().status, 404);
    http.client.expect_end();
}

#[test]
fn with_tokens_one_is_wanted_and_none_is_logged() {
    let mut herd = Herd::with_http(ONE);
    let tokens = herd.directory.path().join("tokens");
    fs::write(&tokens, "# who\nann secret-of-ann\nbob secret-of-bob\n").expect("ours");
    fs::set_permissions(&tokens, PermissionsExt::from_mode(0o600)).expect("ours");
    let path = tokens.to_str().expect("text").to_owned();
    herd.start_arguing("Blake", &["--http-tokens", &path]);
    let mut http = Http::connect(herd.http("Blake"));
    assert_eq!(http.get("/livez").status, 200);
    for (field, want) in [
        ("", 401),
        ("Authorization: Bearer secret-of-bo\r\n", 401),
        ("Authorization: Bearer secret-of-bob\r\n", 404),
        ("Authorization: Basic YW55Om9uZQ==\r\n", 401),
        ("Authorization: Basic YW55OnNlY3JldC1vZi1hbm4=\r\n", 404), // any:secret-of-ann
    ] {
        let reply = http.ask("GET", "/v1/clients/a?token=secret-of-ann", field, b"");
        assert_eq!(reply.status, want, "{field}");
        assert_eq!(reply.field("www-authenticate").is_some(), want == 401);
    }
    herd.wait_for_record("Blake", "> h1 404");
    let log = herd.log("Blake");
    assert!(log.contains("< h1 GET /v1/clients/a?token=***\n"), "{log}");
    assert!(!log.contains("secret-of"), "{log}");
}

#[test]
fn a_start_that_would_be_open_to_all_is_refused() {
    let mut herd = Herd::with_http(ONE);
    let http = herd.http("Blake");
    let path = herd.topology();
    let text = herd.topology_text();
    fs::write(
        &path,
        text.replace(&http.to_string(), &format!("0.0.0.0:{}", http.port())),
    )
    .expect("ours");
    let refused = herd.command("Blake").output().expect("it runs");
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("--http-tokens"), "{said}");

    let tokens = herd.directory.path().join("tokens");
    fs::write(&tokens, "ann secret-of-ann\n").expect("ours");
    let path = tokens.to_str().expect("text").to_owned();
    fs::set_permissions(&tokens, PermissionsExt::from_mode(0o644)).expect("ours");
    let mut command = herd.command("Blake");
    let refused = command
        .args(["--http-tokens", &path])
        .output()
        .expect("it runs");
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("chmod 600"), "{said}");

    fs::set_permissions(&tokens, PermissionsExt::from_mode(0o600)).expect("ours");
    herd.start_arguing("Blake", &["--http-tokens", &path]);
    assert_eq!(get(http, "/v1/clients/a").status, 401);
}

#[test]
fn pipelined_requests_are_answered_in_order_whatever_each_says() {
    let herd = one();
    let mut http = Http::connect(herd.http("Blake"));
    let mut all = Vec::new();
    for number in 0..200 {
        let body = format!("{{\"latitude\":1,\"longitude\":2,\"time\":{number}}}");
        let report = format!(
            "POST /v1/clients/c{number} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        all.extend(report.into_bytes());
        all.extend(
            format!("GET /v1/clients/c{number} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes(),
        );
        all.extend(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    for chunk in all.chunks(1_000) {
        http.client.send(chunk);
    }
    for number in 0..200 {
        for want in [200, 200, 404] {
            let reply = http.reply();
            assert_eq!(reply.status, want);
            if want == 200 {
                assert_eq!(reply.json()["client"], format!("c{number}"));
            }
        }
    }
}

#[test]
fn bodies_come_in_chunks_and_after_a_continue() {
    let herd = one();
    let mut http = Http::connect(herd.http("Blake"));
    let body = r#"{"latitude":1,"longitude":2,"time":7}"#;
    let (one, two) = body.split_at(9);
    let chunked = format!(
        "POST /v1/clients/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n",
        one.len(),
        two.len()
    );
    http.client.send(chunked.as_bytes());
    assert_eq!(http.reply().status, 200);
    let head = format!(
        "POST /v1/clients/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    http.client.send(head.as_bytes());
    assert_eq!(http.head().status, 100);
    http.client.send(body.as_bytes());
    assert_eq!(http.reply().status, 200);
}

#[test]
fn a_request_that_does_not_come_to_its_end_is_answered_408() {
    let herd = one();
    let mut slow = Http::connect(herd.http("Blake"));
    slow.client.send(b"GET /livez HTTP/1.1\r\nHost:");
    let began = Instant::now();
    assert_eq!(slow.reply().status, 408);
    slow.client.expect_end();
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(9), "{took:?}");
}

#[test]
fn a_half_closed_connection_gets_its_replies() {
    let herd = one();
    let mut http = Http::connect(herd.http("Blake"));
    http.send("GET", "/livez", "", b"");
    http.send("GET", "/nothing", "", b"");
    http.client.end();
    assert_eq!(http.reply().status, 200);
    assert_eq!(http.reply().status, 404);
    http.client.expect_end();
}

#[test]
fn reports_and_requests_are_in_the_log_and_restored_from_it() {
    let mut herd = one();
    let body = r#"{"latitude":1,"longitude":2,"time":7.5}"#;
    assert_eq!(
        post(herd.http("Blake"), "/v1/clients/a?x=1", body).status,
        200
    );
    assert_eq!(post(herd.http("Blake"), "/v1/clients/b", "").status, 400);
    herd.wait_for_record("Blake", "> h2 400 Bad Request");
    let log = herd.log("Blake");
    assert!(!log.contains("> h1 200"), "the AT line says it: {log}");
    let at = herd.at("Blake", "a").expect("it is known");
    for want in [
        "< h1 POST /v1/clients/a?x=1\n".to_owned(),
        "< h1 IAMAT a +01+002 7.5\n".to_owned(),
        format!("> h1 {at}\n"),
    ] {
        assert!(log.contains(&want), "{want} is not in {log}");
    }
    herd.kill("Blake");
    fs::remove_dir_all(&herd.data_dir).expect("ours");
    let mut restore = std::process::Command::new(env!("CARGO_BIN_EXE_herd"));
    restore.arg("restore").arg(herd.log_path("Blake"));
    restore
        .args(["--name", "Blake", "--data-dir"])
        .arg(&herd.data_dir);
    assert!(restore.output().expect("it runs").status.success());
    herd.start("Blake");
    assert_eq!(herd.at("Blake", "a"), Some(at));
}

#[test]
fn what_was_acknowledged_is_known_after_a_kill() {
    let mut herd = one();
    let mut http = Http::connect(herd.http("Blake"));
    for number in 0..50 {
        let body = format!("{{\"latitude\":1,\"longitude\":2,\"time\":{number}}}");
        assert_eq!(
            http.post(&format!("/v1/clients/c{number}"), &body).status,
            200
        );
    }
    herd.kill("Blake");
    herd.start("Blake");
    for number in 0..50 {
        assert_eq!(
            get(herd.http("Blake"), &format!("/v1/clients/c{number}")).status,
            200
        );
    }
}

#[test]
fn connections_beyond_the_limit_are_answered_503_and_lines_are_counted_apart() {
    let mut herd = Herd::with_http(ONE);
    herd.start_arguing("Blake", &["--max-connections", "2"]);
    let address = herd.http("Blake");
    let mut lines = [herd.client("Blake"), herd.client("Blake")];
    let mut kept = [Http::connect(address), Http::connect(address)];
    for http in &mut kept {
        assert_eq!(http.get("/livez").status, 200);
    }
    let mut over = Http::connect(address);
    let reply = over.reply();
    assert_eq!(reply.status, 503);
    assert!(reply.text().contains("Blake"), "{}", reply.text());
    over.client.expect_end();
    let process = herd.process("Blake");
    wait_until("the operator is told of whom there are too many", || {
        let said = process.said();
        said.contains(": HTTP clients are refused: 2 are connected")
    });
    for client in &mut lines {
        client.say("x");
        assert_eq!(client.line(), "? x");
    }
    drop(kept);
    wait_until("there is room again", || {
        get(address, "/livez").status == 200
    });
}

#[test]
fn while_it_drains_health_is_answered_and_nothing_else() {
    let mut herd = Herd::with_http(ONE);
    herd.twitter_url = format!("http://{}/search.json", support::free_addresses(1)[0]);
    let silent =
        std::net::TcpListener::bind(herd.twitter_url[7..].split('/').next().expect("an address"));
    let _silent = silent.expect("a free port"); // it never answers
    herd.start_all();
    herd.ask("Blake", "IAMAT a +00+000 1");
    let address = herd.http("Blake");
    let mut asking = herd.client("Blake");
    asking.say("WHATSAT a 1 1"); // it is owed a reply, so the server stays for a while
    herd.wait_for_record("Blake", "WHATSAT a 1 1");
    herd.process("Blake").signal(Signal::TERM);
    wait_until("it is not ready", || get(address, "/readyz").status == 503);
    let reply = get(address, "/readyz");
    assert_eq!(reply.json()["reasons"], serde_json::json!(["draining"]));
    assert_eq!(get(address, "/livez").status, 200);
    let reply = post(address, "/v1/clients/b", r#"{"latitude":1,"longitude":2}"#);
    assert_eq!(reply.status, 503);
    assert!(asking.line().starts_with("AT "));
    assert!(herd.process("Blake").wait().success());
}

#[test]
fn a_server_that_catches_up_with_a_neighbour_is_not_ready() {
    let mut herd = Herd::with_http(TWO);
    herd.start("Blake");
    let address = herd.http("Blake");
    // Nobody is there: that is no reason.
    wait_until("it is ready", || get(address, "/readyz").status == 200);
    herd.kill("Blake");
    herd.start("Blake");
    let mut bryant = Client::connect(herd.member("Blake").servers);
    bryant.say("HELLO herd/1 Bryant Blake 00000000000000ff 1 - 0");
    assert!(bryant.line().starts_with("HELLO "));
    bryant.say("AT Bryant +0.000000000 a +00+000 1");
    bryant.say("MARK 1000000");
    wait_until("it has the location", || herd.at("Blake", "a").is_some());
    let reply = get(address, "/readyz");
    assert_eq!(reply.status, 503);
    let want = serde_json::json!(["catching up with the neighbours"]);
    assert_eq!(reply.json()["reasons"], want);
    bryant.say("MARK 1000001");
    wait_until("it is ready", || get(address, "/readyz").status == 200);
}
