//! Each API of Twitter, asked by a server over real HTTP: the requests, who is let in by what, and
//! that no credential is ever seen where it does not belong.
//!
//! Twitter is a stub on a real socket that does as the test says.

use std::fs;
use std::os::unix::fs::PermissionsExt;

#[path = "support/asking.rs"]
mod asking;
#[path = "support/stub_twitter.rs"]
mod stub_twitter;
mod support;

use asking::{PATHS, TOKEN, argue, ask, blake, error_text, located, origin, set, with_token};
use stub_twitter::{Answer, Request, StubTwitter};
use support::{Herd, Process, wait_until};

/// What a server shows who it is with; it must be seen nowhere.
const KEY: &str = "hush:key";
const SECRET: &str = "hush/secret";

fn with_key(mut herd: Herd) -> Herd {
    set(&mut herd, "TWITTER_KEY", KEY);
    set(&mut herd, "TWITTER_SECRET", SECRET);
    herd
}

/// All that a server has shown: its log, its words, its command line.
fn shown(herd: &mut Herd) -> String {
    let log = herd.settled_log("Blake");
    let process = herd.process("Blake");
    let command_line = fs::read(format!("/proc/{}/cmdline", process.pid()));
    let command_line = command_line.expect("it runs");
    format!("{log}{}{}", process.said(), command_line.escape_ascii())
}

// ---- the requests

#[test]
fn each_api_is_asked_in_its_own_way() {
    const TEN: &str = "point_radius:[-118.445127 34.06893 5.5km]";
    let cases: [(&str, &[(&str, &str)]); 3] = [
        (
            "1.0",
            &[
                ("q", ""),
                ("geocode", "34.06893,-118.445127,5.5km"),
                ("rpp", "3"),
            ],
        ),
        (
            "1.1",
            &[
                ("q", ""),
                ("geocode", "34.06893,-118.445127,5.5km"),
                ("count", "3"),
            ],
        ),
        (
            "2",
            &[
                ("query", TEN),
                ("max_results", "10"),
                ("tweet.fields", "author_id,created_at,geo,lang"),
                ("expansions", "author_id,geo.place_id"),
                ("user.fields", "location,name,username"),
                ("place.fields", "country_code,full_name,geo,place_type"),
            ],
        ),
    ];
    for (api, parameters) in cases {
        let twitter = StubTwitter::start(|_| Answer::ok("{}"));
        let mut herd = with_token(blake(api, &origin(twitter.address)));
        herd.start_all();
        let mut client = located(&herd, "+34.068930-118.445127");
        assert_eq!(ask(&mut client, "5.50", 3), "{}");
        let request = twitter.requests().pop().expect("it was asked");
        let (path, query) = request.target().split_once('?').expect("a query");
        let wanted_path = PATHS.iter().find(|(name, _)| *name == api);
        assert_eq!(Some(path), wanted_path.map(|(_, path)| *path));
        assert_eq!(query.split('&').count(), parameters.len(), "{query}");
        for (name, value) in parameters {
            assert_eq!(request.parameters(name), [*value], "{query}");
        }
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%&=,".contains(&byte);
        assert!(query.bytes().all(legal), "{query}");
        // The Search API 1.0 knew no accounts: it is not told who asks.
        let bearer = format!("Bearer {TOKEN}");
        let wanted = (api != "1.0").then_some(bearer.as_str());
        assert_eq!(request.header("authorization"), wanted, "{api}");
    }
}

#[test]
fn a_radius_that_api_2_does_not_take_is_answered_without_asking() {
    let twitter = StubTwitter::start(|_| Answer::ok("{}"));
    let mut herd = with_token(blake("2", &origin(twitter.address)));
    herd.start_all();
    let mut client = located(&herd, "+00+000");
    for radius in [
        "40.2336",
        "41",
        "100",
        "99999999999999999999999999999999999999",
    ] {
        let error = error_text(&ask(&mut client, radius, 1));
        assert!(error.contains("below 25 mi"), "{error}");
    }
    assert_eq!(twitter.requests().len(), 0, "nobody is asked");
    assert_eq!(ask(&mut client, "40.2335", 1), "{}");
    assert_eq!(twitter.requests().len(), 1);
}

// ---- who is let in

#[test]
fn a_key_and_its_secret_are_given_for_one_token_by_all_questions() {
    let twitter = StubTwitter::start(|request| match request.line.as_str() {
        "POST /oauth2/token HTTP/1.1" => {
            Answer::ok("{\"token_type\":\"bearer\",\"access_token\":\"AAAAhush2\"}")
        }
        _ => Answer::ok("{\"statuses\":[]}"),
    });
    for (api, wanted) in [("1.1", "/1.1/search"), ("2", "/2/tweets/search")] {
        let before = twitter.requests().len();
        let mut herd = with_key(blake(api, &origin(twitter.address)));
        herd.start_all();
        drop(located(&herd, "+00+000"));
        let mut clients: Vec<_> = (1..9)
            .map(|number| (number, herd.client("Blake")))
            .collect();
        for (number, client) in &mut clients {
            client.say(&format!("WHATSAT k {number} 1"));
        }
        for (_, client) in &mut clients {
            client.line();
            assert_eq!(client.line(), "{\"statuses\":[]}");
        }
        let requests = twitter.requests().split_off(before);
        let is_token = |request: &&Request| request.line.starts_with("POST ");
        let (tokens, searches): (Vec<_>, Vec<_>) = requests.iter().partition(is_token);
        assert_eq!(tokens.len(), 1, "one token for all: {tokens:?}");
        // base64 of hush%3Akey:hush%2Fsecret
        let basic = "Basic aHVzaCUzQWtleTpodXNoJTJGc2VjcmV0";
        assert_eq!(tokens[0].header("authorization"), Some(basic));
        assert_eq!(tokens[0].body, "grant_type=client_credentials");
        let form = "application/x-www-form-urlencoded;charset=UTF-8";
        assert_eq!(tokens[0].header("content-type"), Some(form));
        assert_eq!(searches.len(), 8);
        for request in searches {
            assert!(request.target().starts_with(wanted), "{request:?}");
            assert_eq!(request.header("authorization"), Some("Bearer AAAAhush2"));
        }
        assert!(!shown(&mut herd).contains("hush"), "{}", shown(&mut herd));
    }
}

#[test]
fn a_token_that_twitter_has_withdrawn_is_obtained_anew() {
    const REFUSED: &str = "{\"errors\":[{\"code\":89,\"message\":\"Invalid or expired token.\"}]}";
    let twitter = StubTwitter::start(|request| {
        let number = request.number;
        match request.header("authorization") {
            Some(basic) if basic.starts_with("Basic ") => Answer::ok(format!(
                "{{\"token_type\":\"bearer\",\"access_token\":\"AAAA{number}\"}}"
            )),
            Some("Bearer AAAA0") if number < 2 => Answer::ok("{\"well\":1}"),
            Some("Bearer AAAA0") => Answer::Full(401, REFUSED.into()),
            Some("Bearer AAAA3") => Answer::ok("{\"well\":2}"),
            other => panic!("{other:?} in request {number}"),
        }
    });
    let mut herd = with_key(blake("1.1", &origin(twitter.address)));
    herd.start_all();
    let mut client = located(&herd, "+00+000");
    assert_eq!(ask(&mut client, "1", 1), "{\"well\":1}");
    assert_eq!(ask(&mut client, "2", 1), REFUSED);
    assert_eq!(ask(&mut client, "3", 1), "{\"well\":2}");
    let said = shown(&mut herd);
    assert!(!said.contains("refuses the credentials"), "{said}");
}

#[test]
fn what_twitter_says_instead_of_a_token_is_an_answer_or_an_error() {
    const ERROR: &str =
        "{\"errors\":[{\"code\":99,\"message\":\"Unable to verify your credentials\"}]}";
    for (answer, want) in [
        (Answer::Full(403, ERROR.into()), Ok(ERROR)),
        (
            Answer::Full(503, b"<html>".to_vec()),
            Err("(HTTP status 503) is not JSON"),
        ),
        (
            Answer::ok("{\"token_type\":\"hush\"}"),
            Err("no bearer token"),
        ),
        (
            Answer::ok("{\"access_token\":\"hush\"}"),
            Err("no bearer token"),
        ),
        (
            Answer::ok("{\"token_type\":\"bearer\",\"access_token\":\"hush\\r\\nX: 1\"}"),
            Err("no bearer token"),
        ),
        (Answer::ok("hush"), Err("no bearer token")),
        (Answer::ok("x".repeat(100_000)), Err("over 65536 bytes")),
    ] {
        let twitter = StubTwitter::start(move |_| answer.clone());
        let mut herd = with_key(blake("2", &origin(twitter.address)));
        herd.start_all();
        let line = ask(&mut located(&herd, "+00+000"), "1", 1);
        match want {
            Ok(want) => {
                assert_eq!(line, want);
                let process = herd.process("Blake");
                wait_until("the operator hears that the key is wrong", || {
                    let words = "Twitter refuses the credentials (HTTP status 403)";
                    process.said().contains(words)
                });
            }
            Err(want) => assert!(error_text(&line).contains(want), "{line}"),
        }
        assert!(!line.contains("hush"), "{line}");
        assert_eq!(twitter.requests().len(), 1, "no search without a token");
    }
}

// ---- no credential where it does not belong

#[test]
fn no_redirect_carries_the_token_elsewhere() {
    let elsewhere = StubTwitter::start(|_| Answer::ok("{\"elsewhere\":1}"));
    for target in [origin(elsewhere.address), "/1.1/elsewhere".to_owned()] {
        for status in [301, 302, 303, 307, 308] {
            let location = target.clone();
            let twitter =
                StubTwitter::start(move |_| Answer::with(status, &[("Location", &location)], ""));
            for herd in [with_token, with_key] {
                let mut herd = herd(blake("1.1", &origin(twitter.address)));
                herd.start_all();
                let line = ask(&mut located(&herd, "+00+000"), "1", 1);
                assert!(error_text(&line).contains("a redirect ("), "{line}");
            }
            assert_eq!(twitter.requests().len(), 2, "{status}");
        }
    }
    assert_eq!(elsewhere.requests().len(), 0);
}

#[test]
fn what_would_give_a_credential_away_or_is_missing_is_refused_at_start() {
    let loopback = "http://127.0.0.1:9";
    let private = |text: &str, mode: u32| {
        let (text, mode) = (text.to_owned(), mode);
        move |herd: &mut Herd| {
            let path = herd.directory.path().join("credentials");
            fs::write(&path, &text).expect("the directory is ours");
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(&path, permissions).expect("it is ours");
            let path = path.display().to_string();
            argue(herd, "--twitter-credentials", &path);
        }
    };
    type Change = Box<dyn Fn(&mut Herd)>;
    let token: fn(&mut Herd) = |herd| set(herd, "TWITTER_BEARER_TOKEN", TOKEN);
    let cases: Vec<(&str, &str, Change, &str)> = vec![
        (
            "1.1",
            loopback,
            Box::new(|_| {}),
            "set TWITTER_BEARER_TOKEN",
        ),
        ("2", loopback, Box::new(|_| {}), "set TWITTER_BEARER_TOKEN"),
        ("2", "http://198.51.100.7", Box::new(token), "by https only"),
        (
            "1.1",
            "http://localhost.example",
            Box::new(token),
            "by https only",
        ),
        (
            "1.1",
            "http://127.0.0.1@example.com",
            Box::new(token),
            "do not belong",
        ),
        (
            "2",
            "https://hush:hush@example.com",
            Box::new(token),
            "do not belong",
        ),
        (
            "2",
            loopback,
            Box::new(|herd| set(herd, "TWITTER_KEY", KEY)),
            "TWITTER_KEY has no TWITTER_SECRET",
        ),
        (
            "2",
            loopback,
            Box::new(|herd| set(herd, "TWITTER_BEARER_TOKEN", "hush hush")),
            "not of visible ASCII",
        ),
        (
            "2",
            loopback,
            Box::new(private("TWITTER_BEARER_TOKEN=hush", 0o644)),
            "chmod 600",
        ),
        (
            "2",
            loopback,
            Box::new(private("hush", 0o600)),
            "line 1 is none of",
        ),
        ("2", loopback, Box::new(private("", 0o600)), "wanted are"),
        (
            "1.0",
            loopback,
            Box::new(private("", 0o600)),
            "1.0 takes none",
        ),
        (
            "2",
            "https://example.com",
            Box::new(|herd| {
                set(herd, "TWITTER_BEARER_TOKEN", TOKEN);
                set(herd, "SSL_CERT_FILE", "/nowhere/roots.pem");
            }),
            "SSL_CERT_FILE /nowhere/roots.pem",
        ),
        (
            "1.0",
            "https://example.com",
            Box::new(|herd| {
                let topology = herd.topology().display().to_string();
                set(herd, "SSL_CERT_FILE", &topology);
            }),
            "it holds no certificate",
        ),
    ];
    for (api, origin, change, want) in cases {
        let mut herd = blake(api, origin);
        change(&mut herd);
        let stderr = herd.directory.path().join("try.err");
        let mut process = Process::start(herd.command("Blake"), stderr);
        let status = process.wait();
        let said = process.said();
        assert_eq!(status.code(), Some(2), "{want}: {said}");
        assert_eq!(said.lines().count(), 1, "{want}: {said}");
        assert!(said.contains(want), "{want}: {said}");
        assert!(!said.contains("hush"), "{said}");
        assert_eq!(herd.log("Blake"), "", "nothing was begun");
    }
}

#[test]
fn a_private_file_of_credentials_goes_before_the_environment() {
    let twitter = StubTwitter::start(|request| match request.number {
        0 => Answer::Full(401, b"{\"errors\":[]}".to_vec()),
        _ => Answer::Reset,
    });
    let mut herd = blake("2", &origin(twitter.address));
    set(&mut herd, "TWITTER_BEARER_TOKEN", "hush-of-the-environment");
    let path = herd.directory.path().join("credentials");
    fs::write(&path, "# ours\nTWITTER_BEARER_TOKEN=hush-of-the-file\n").expect("it is ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let path = path.display().to_string();
    argue(&mut herd, "--twitter-credentials", &path);
    herd.start_all();
    let mut client = located(&herd, "+00+000");
    assert_eq!(ask(&mut client, "1", 1), "{\"errors\":[]}");
    let request = twitter.requests().pop().expect("it was asked");
    assert_eq!(
        request.header("authorization"),
        Some("Bearer hush-of-the-file")
    );
    error_text(&ask(&mut client, "2", 1));
    assert!(!shown(&mut herd).contains("hush"), "{}", shown(&mut herd));
}
