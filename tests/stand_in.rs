//! `herd twitter` as all three of Twitter's APIs: asked by a server, and by hand where HTTP itself
//! is the question. What it is without options, `tests/twitter` says.

use std::fs;
use std::io::{Read, Write};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

#[path = "support/asking.rs"]
mod asking;
#[path = "support/stand_in.rs"]
mod stand_in;
mod support;

use asking::{ask, blake, error_text, located, origin, set};
use serde_json::Value;
use stand_in::StandIn;
use support::reference::HERD;
use support::{Herd, Process, wait_until};

/// Where there are many tweets.
const UCLA: &str = "+34.068930-118.445127";

/// The APIs, and the members in which tweets and errors are.
const APIS: [(&str, &str, &str); 3] = [
    ("1.0", "results", "error"),
    ("1.1", "statuses", "errors"),
    ("2", "data", "title"),
];

fn with_token(mut herd: Herd) -> Herd {
    set(&mut herd, "TWITTER_BEARER_TOKEN", "stand-in-of-the-test");
    herd
}

fn with_key(mut herd: Herd) -> Herd {
    set(&mut herd, "TWITTER_KEY", "stand-in-key");
    set(&mut herd, "TWITTER_SECRET", "stand-in-secret");
    herd
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))
}

#[test]
fn each_api_gives_tweets_to_a_server_that_has_a_token_or_a_key() {
    let stand_in = StandIn::started();
    for (api, results, _) in APIS {
        for credentials in [with_token, with_key] {
            let mut herd = credentials(blake(api, &origin(stand_in.address)));
            herd.start_all();
            let mut client = located(&herd, UCLA);
            for bound in [0, 3, 25, 100] {
                let line = ask(&mut client, "5", bound);
                let answer = parsed(&line);
                let tweets = answer[results].as_array().map(Vec::len);
                assert_eq!(tweets, Some(bound), "API {api}: {line}");
            }
            client.say("IAMAT k +00-030 2");
            client.line();
            let line = ask(&mut client, "5", 100);
            let answer = parsed(&line);
            let tweets = answer.get(results).and_then(Value::as_array);
            assert!(tweets.is_none_or(Vec::is_empty), "API {api}: {line}");
            assert!(answer.get("error").is_none(), "API {api}: {line}");
        }
    }
}

#[test]
fn a_token_or_key_of_the_real_twitter_is_refused_and_the_client_is_told() {
    let stand_in = StandIn::started();
    for (api, _, error) in &APIS[1..] {
        let mut token = blake(api, &origin(stand_in.address));
        set(&mut token, "TWITTER_BEARER_TOKEN", "AAAAreal");
        let mut key = blake(api, &origin(stand_in.address));
        set(&mut key, "TWITTER_KEY", "real");
        set(&mut key, "TWITTER_SECRET", "real");
        for (mut herd, code) in [(token, 89), (key, 99)] {
            herd.start_all();
            let answer = parsed(&ask(&mut located(&herd, UCLA), "5", 1));
            match (*error, code) {
                ("title", 89) => assert_eq!(answer["status"], 401, "{answer}"),
                _ => assert_eq!(answer["errors"][0]["code"], code, "{answer}"),
            }
        }
    }
}

#[test]
fn a_form_has_a_body_and_the_next_request_follows_it() {
    let stand_in = StandIn::started();
    let form = "grant_type=client_credentials";
    // base64 of stand-in-key:stand-in-secret
    let head = format!(
        "POST /oauth2/token HTTP/1.1\r\nHost: h\r\n\
         Authorization: Basic c3RhbmQtaW4ta2V5OnN0YW5kLWluLXNlY3JldA==\r\n\
         Content-Length: {}\r\n\r\n",
        form.len()
    );
    let search = "GET /2/tweets/search/recent?query=Everest HTTP/1.1\r\nHost: h\r\n\
        Authorization: Bearer stand-in-token\r\nConnection: close\r\n\r\n";
    let text = format!("{head}{form}{head}{form}{search}");
    for chop in [1, 7, text.len()] {
        let mut stream = stand_in.connect();
        for piece in text.as_bytes().chunks(chop) {
            stream.write_all(piece).expect("it reads");
        }
        let mut answers = String::new();
        stream
            .read_to_string(&mut answers)
            .expect("it closes at last");
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
        let token = "{\"token_type\":\"bearer\",\"access_token\":\"stand-in-token\"}";
        assert_eq!(answers.matches(token).count(), 2, "{answers}");
        assert!(answers.contains("{\"data\":[{\"id\":\""), "{answers}");
    }
    for (request, status) in [
        (
            "POST /oauth2/token HTTP/1.0\r\nContent-Length: 1048577\r\n\r\n",
            "413",
        ),
        ("POST /oauth2/token HTTP/1.0\r\n\r\n", "403"),
        (
            "POST /2/tweets/search/recent HTTP/1.1\r\nHost: h\r\n\r\n",
            "405",
        ),
        ("GET /oauth2/token HTTP/1.0\r\n\r\n", "404"),
        (
            "GET /2/tweets/search/recent?query=a HTTP/1.0\r\n\r\n",
            "401",
        ),
    ] {
        let answer = stand_in.exchange(request);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}: {answer}"
        );
    }
}

#[test]
fn requests_that_come_together_are_answered_in_order() {
    // The first waits, so that the others are there before it is answered.
    let stand_in = StandIn::started_with(&["--fault", "delay=0.2"]);
    let form = "POST /oauth2/token HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\
        Authorization: Basic c3RhbmQtaW4ta2V5OnN0YW5kLWluLXNlY3JldA==\r\n\
        Transfer-Encoding: chunked\r\n\r\n\
        b;a=b\r\ngrant_type=\r\n12\r\nclient_credentials\r\n0\r\n\r\n";
    let get = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\n{more}\r\n");
    let text = get("/search.json?q=a", "")
        + form
        + &get("/nowhere", "Content-Length: 3\r\n")
        + "GET"
        + &get("/2/tweets/search/recent", "Connection: close\r\n")
        + &get("/after/the/last", "");
    let answers = stand_in.exchange(&text);
    let lines = answers.split("HTTP/1.1 ").skip(1);
    let statuses: Vec<_> = lines.filter_map(|answer| answer.get(..3)).collect();
    assert_eq!(statuses, ["200", "100", "200", "404", "401"], "{answers}");
}

#[test]
fn what_two_readers_could_read_in_two_ways_is_refused_and_is_the_last() {
    let stand_in = StandIn::started();
    let smuggled = "GET /search.json?q=smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (fields, body, status) in [
        ("Content-Length: 4\r\nContent-Length: 0\r\n", "", "400"),
        (
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
            "400",
        ),
        ("Content-Length : 4\r\n", "abcd", "400"),
        ("A: b\r\n Content-Length: 4\r\n", "", "400"),
        ("A: b\nContent-Length: 4\r\n", "abcd", "400"),
        ("A: b\rContent-Length: 4\r\n", "abcd", "400"),
        (chunked, "1\nx\r\n0\r\n\r\n", "400"),
        (chunked, "-1\r\n", "400"),
        ("Transfer-Encoding: chunked, identity\r\n", "", "501"),
    ] {
        let head = format!("GET /search.json?q=a HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let answers = stand_in.exchange(&format!("{head}{body}{smuggled}"));
        let want = format!("HTTP/1.1 {status} ");
        assert!(answers.starts_with(&want), "{fields}{body}: {answers}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
        assert!(answers.contains("\r\nConnection: close\r\n"), "{answers}");
    }
}

#[test]
fn who_does_not_end_a_request_is_told_and_closed() {
    let stand_in = StandIn::started();
    let cases = [
        "GET /search.json",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n",
    ];
    thread::scope(|scope| {
        for text in cases {
            let stand_in = &stand_in;
            scope.spawn(move || {
                let answer = stand_in.exchange(text);
                assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
            });
        }
    });
}

#[test]
fn what_can_be_made_to_go_wrong() {
    let faults = [
        ("reset", "cannot be had"),
        ("garbage", "(HTTP status 200) is not JSON"),
        ("truncated", "cannot be had"),
        ("huge", "over 4194304 bytes"),
        ("drip=0.05", "answer"),
        ("delay=60", "answer"),
    ];
    let cases = faults.into_iter().zip(APIS.into_iter().cycle());
    let cases = cases.map(|((fault, words), (api, _, _))| {
        thread::spawn(move || {
            let stand_in = StandIn::started_with(&["--fault", fault]);
            let mut herd = with_token(blake(api, &origin(stand_in.address)));
            herd.start_all();
            let line = ask(&mut located(&herd, UCLA), "5", 100);
            assert!(error_text(&line).contains(words), "{fault}: {line}");
        })
    });
    for case in cases.collect::<Vec<_>>() {
        case.join().expect("as the fault says");
    }
    for (api, results, error) in APIS {
        let slow = ["--fault", "delay=0.2", "--fault", "drip=0.00001"];
        let stand_in = StandIn::started_with(&slow);
        let mut herd = with_token(blake(api, &origin(stand_in.address)));
        herd.start_all();
        let began = Instant::now();
        let answer = parsed(&ask(&mut located(&herd, UCLA), "5", 1));
        assert!(answer[results].is_array(), "{answer}");
        assert!(began.elapsed() > Duration::from_millis(190));

        let failing = StandIn::started_with(&["--fault", "status=503"]);
        let mut herd = with_token(blake(api, &origin(failing.address)));
        herd.start_all();
        let answer = parsed(&ask(&mut located(&herd, UCLA), "5", 1));
        assert!(answer.get(error).is_some(), "{answer}");
    }
}

#[test]
fn so_many_requests_in_so_many_seconds() {
    for (api, results, error) in APIS {
        let stand_in = StandIn::started_with(&["--fault", "limit=2/3"]);
        let mut herd = with_token(blake(api, &origin(stand_in.address)));
        herd.start_all();
        let mut client = located(&herd, UCLA);
        let answers = ["4", "5", "6", "7"].map(|radius| ask(&mut client, radius, 1));
        assert!(parsed(&answers[0])[results].is_array(), "{answers:?}");
        assert!(parsed(&answers[1])[results].is_array(), "{answers:?}");
        assert!(parsed(&answers[2]).get(error).is_some(), "{answers:?}");
        assert!(
            error_text(&answers[3]).contains("no more questions until"),
            "{answers:?}"
        );
        wait_until("the next window begins", || {
            parsed(&ask(&mut client, "5", 1))[results].is_array()
        });
    }
    let stand_in = StandIn::started_with(&["--fault", "limit=1/900"]);
    let ask = |path: &str| stand_in.exchange(&format!("GET {path} HTTP/1.0\r\n\r\n"));
    let first = ask("/1.1/search/tweets.json?q=a");
    assert!(first.starts_with("HTTP/1.1 401 "), "{first}");
    assert!(first.contains("x-rate-limit-remaining: 0\r\n"), "{first}");
    for (path, fields) in [
        ("/search.json?q=a", ["HTTP/1.1 420 ", "Retry-After: "]),
        (
            "/2/tweets/search/recent",
            ["HTTP/1.1 429 ", "x-rate-limit-reset: "],
        ),
        (
            "/1.1/search/tweets.json?q=a",
            ["HTTP/1.1 429 ", "x-rate-limit-limit: 1\r\n"],
        ),
    ] {
        let answer = ask(path);
        for field in fields {
            assert!(answer.contains(field), "{path}: {answer}");
        }
    }
}

#[test]
fn tweets_of_ones_own_are_found_by_every_api() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("tweets.jsonl");
    let tweets = "{\"text\":\"one < two\",\"latitude\":10,\"longitude\":20,\"from_user\":\"kiwi\"}\n\
        \n{\"text\":\"far away\",\"geo\":{\"coordinates\":[-10,-20]}}\r\n";
    fs::write(&path, tweets).expect("the directory is ours");
    let stand_in = StandIn::started_with(&["--tweets", &path.display().to_string()]);
    for (api, results, _) in APIS {
        let mut herd = with_token(blake(api, &origin(stand_in.address)));
        herd.start_all();
        let answer = parsed(&ask(&mut located(&herd, "+10.01+020.01"), "5", 100));
        let found = answer[results].as_array().map(Vec::len);
        assert_eq!(found, Some(1), "{answer}");
        assert_eq!(answer[results][0]["text"], "one &lt; two", "{answer}");
    }
}

#[test]
fn of_a_file_as_people_have_them_what_has_a_position_is_taken() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("tweets.jsonl");
    let mut text = String::new();
    for id in 1..=60 {
        text += &match id {
            12 => "HTTP 420 Enhance Your Calm\n".to_owned(),
            30 | 60 => format!(
                "{{\"id\":{id},\"text\":\"cut {id} \\ud83d\",\"coordinates\":\
                 {{\"type\":\"Point\",\"coordinates\":[20,10]}}}}\n"
            ),
            _ => format!("{{\"id\":{id},\"text\":\"a\",\"coordinates\":null,\"geo\":null}}\n"),
        };
    }
    fs::write(&path, text).expect("the directory is ours");
    let path = path.display().to_string();
    let stand_in = StandIn::started_with(&["--tweets", &path]);
    let said = stand_in.process.said();
    let counts = "tweets taken: 2, lines skipped: 58; no position: 57, first line 1; \
        no JSON: 1, first line 12";
    let told = format!("twitter: {path}: {counts}\n");
    assert!(said.starts_with(&told), "{said}");
    for (api, results, _) in APIS {
        let mut herd = with_token(blake(api, &origin(stand_in.address)));
        herd.start_all();
        let answer = parsed(&ask(&mut located(&herd, "+10.01+020.01"), "5", 100));
        let found = answer[results].as_array().expect("tweets").iter();
        let texts: Vec<_> = found.map(|tweet| tweet["text"].clone()).collect();
        assert_eq!(texts, ["cut 60 \u{fffd}", "cut 30 \u{fffd}"], "{answer}");
    }
}

#[test]
fn what_it_cannot_start_with_is_said_in_one_line() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let wrong = directory.path().join("wrong");
    fs::write(&wrong, "{\"text\":\"a\"}\n").expect("the directory is ours");
    let wrong = wrong.display().to_string();
    for (arguments, want) in [
        (
            ["--tweets", "/nowhere/tweets"],
            "cannot read the tweets /nowhere/tweets",
        ),
        (
            ["--tweets", &wrong],
            "there is none; tweets taken: 0, lines skipped: 1; no position: 1, first line 1\n",
        ),
        (["--fault", "fire"], "known are delay=SECONDS"),
        (["--fault", "delay=0"], "known are delay=SECONDS"),
    ] {
        let mut command = Command::new(HERD);
        command
            .args(["twitter", "--listen", "127.0.0.1:0"])
            .args(arguments);
        let mut process = Process::start(command, directory.path().join("err"));
        let status = process.wait();
        let said = process.said();
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(said.contains(want), "{said}");
    }
}
