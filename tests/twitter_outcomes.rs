//! Whatever Twitter does, whichever API it speaks: the table of docs/TWITTER.md, a test for each column.
//!
//! Twitter is a stub on a real socket; for one column TLS stands before it.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[path = "support/asking.rs"]
mod asking;
#[path = "support/https.rs"]
mod https;
#[path = "support/stub_twitter.rs"]
mod stub_twitter;
mod support;

use asking::{answer, ask, begin, blake, error_text, located, origin, set, with_token};
use https::Https;
use stub_twitter::{Answer, Request, StubTwitter};
use support::{Client, Herd};

/// The longest body that is passed on.
const BODY_BYTES_MAX: usize = 4 << 20;

/// How an API writes its answers.
#[derive(Clone, Copy)]
struct Dialect {
    api: &'static str,
    /// The member that holds the tweets, and what follows it.
    results: &'static str,
    rest: &'static str,
    /// An answer without tweets, as the API gives it.
    empty: &'static str,
    /// An error, and its status.
    error: (u16, &'static str),
    /// Too many questions, and the field that says for how long.
    limited: (u16, &'static str, &'static str),
}

const V1_0: Dialect = Dialect {
    api: "1.0",
    results: "results",
    rest: "\"max_id\":269615983645177881,\"query\":\"\"",
    empty: "{\"results\":[],\"max_id\":0,\"query\":\"\"}",
    error: (403, "{\"error\":\"You must enter a query.\"}"),
    limited: (420, "Retry-After", "{\"error\":\"Enhance your calm.\"}"),
};

const V1_1: Dialect = Dialect {
    api: "1.1",
    results: "statuses",
    rest: "\"search_metadata\":{\"count\":12,\"statuses\":[1,2,3,4]}",
    empty: "{\"statuses\":[],\"search_metadata\":{\"count\":0}}",
    error: (
        400,
        "{\"errors\":[{\"code\":25,\"message\":\"Query parameters are missing.\"}]}",
    ),
    limited: (
        429,
        "x-rate-limit-reset",
        "{\"errors\":[{\"code\":88,\"message\":\"Rate limit exceeded\"}]}",
    ),
};

const V2: Dialect = Dialect {
    api: "2",
    results: "data",
    rest: "\"includes\":{\"users\":[1,2,3,4],\"data\":[1,2,3]},\"meta\":{\"result_count\":12}",
    empty: "{\"meta\":{\"result_count\":0}}",
    error: (
        400,
        "{\"errors\":[{\"message\":\"no\"}],\"title\":\"Invalid Request\"}",
    ),
    limited: (
        429,
        "x-rate-limit-reset",
        "{\"title\":\"Too Many Requests\",\"status\":429}",
    ),
};

/// What a client gets instead of the answer.
#[derive(Debug)]
enum Want {
    /// This line.
    Line(String),
    /// An error with these words.
    Error(&'static str),
}

/// A row: what it is called, the bound, what Twitter does, and what the client gets.
type Row = (&'static str, usize, Answer, Want);

/// The rows that are answered at once.
fn rows(dialect: &Dialect) -> Vec<Row> {
    let Dialect { results, rest, .. } = dialect;
    let tweet =
        |number: usize| format!("{{\"id\":{number},\"t\":\"[\\\\\\\"]\\u00e9\",\"x\":[1 , 2]}}");
    let body = |count: usize, line_break: &str| {
        let tweets: Vec<String> = (0..count).map(tweet).collect();
        let tweets = tweets.join(&format!("{line_break} ,"));
        format!("{{{line_break}\"{results}\":[{tweets}],{rest}}}{line_break}")
    };
    let (status, error) = dialect.error;
    let huge = format!("{{\"{results}\":\"{}\"}}", "x".repeat(BODY_BYTES_MAX));
    let truncated = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"data\":[]}";
    let line = |text: &str| Want::Line(text.to_owned());
    vec![
        (
            "ok",
            2,
            Answer::ok(body(2, "\r\n")),
            Want::Line(body(2, "")),
        ),
        ("empty", 2, Answer::ok(dialect.empty), line(dialect.empty)),
        (
            "surplus",
            2,
            Answer::ok(body(12, "\n")),
            Want::Line(body(2, "")),
        ),
        (
            "none wanted",
            0,
            Answer::ok(body(12, "")),
            Want::Line(body(0, "")),
        ),
        (
            "error JSON",
            2,
            Answer::Full(status, format!("{error}\n").into()),
            line(error),
        ),
        (
            "garbage",
            2,
            Answer::ok("<html>It works!"),
            Want::Error("is not JSON"),
        ),
        (
            "garbage, failed",
            2,
            Answer::Full(503, b"<html>".to_vec()),
            Want::Error("503) is not JSON"),
        ),
        (
            "no HTTP",
            2,
            Answer::Raw(b"SSH-2.0\r\n\r\n".to_vec()),
            Want::Error("cannot be had"),
        ),
        (
            "truncated",
            2,
            Answer::Raw(truncated.to_vec()),
            Want::Error("cannot be had"),
        ),
        (
            "cut short",
            2,
            Answer::ok(&dialect.empty[..9]),
            Want::Error("is not JSON"),
        ),
        ("reset", 2, Answer::Reset, Want::Error("cannot be had")),
        (
            "huge",
            2,
            Answer::ok(huge),
            Want::Error("over 4194304 bytes"),
        ),
    ]
}

/// Radii by which the stub knows what is asked beside the rows.
const HANGS: &str = "20";
const DRIPS: &str = "21";
const LIMITED: &str = "22";

/// How long Twitter wants to be left alone.
const PAUSE_SECONDS: u64 = 600;

fn too_many(dialect: &Dialect) -> Answer {
    let (status, field, body) = dialect.limited;
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since.expect("it is past 1970").as_secs();
    let until = match field {
        "Retry-After" => PAUSE_SECONDS,
        _ => now + PAUSE_SECONDS,
    };
    Answer::with(status, &[(field, &until.to_string())], body)
}

/// The radius that a request asks for, in kilometres.
fn radius(request: &Request) -> String {
    let place = [request.parameters("geocode"), request.parameters("query")].concat();
    let place = place.concat();
    let radius = place.rsplit([',', ' ']).next().unwrap_or_default();
    let radius = radius.trim_end_matches(']').strip_suffix("km");
    radius
        .unwrap_or_else(|| panic!("no radius: {}", request.line))
        .to_owned()
}

fn stub(dialect: Dialect) -> StubTwitter {
    let rows = rows(&dialect);
    StubTwitter::start(move |request| match radius(request).as_str() {
        HANGS => Answer::Never,
        DRIPS => Answer::Drip(Duration::from_millis(50)),
        LIMITED => too_many(&dialect),
        number => {
            let number: usize = number.parse().expect("the rows are numbered from 1");
            rows[number - 1].2.clone()
        }
    })
}

/// Turns a server through all rows; `herd` asks `twitter`.
fn every_outcome(dialect: Dialect, mut herd: Herd, twitter: &StubTwitter) {
    herd.start_all();
    let mut client = located(&herd, "+00+000");
    for (number, (what, bound, _, want)) in (1..).zip(rows(&dialect)) {
        let what = format!("{}, {what}", dialect.api);
        let began = Instant::now();
        let line = ask(&mut client, &format!("{number}"), bound);
        let took = began.elapsed();
        assert!(took < Duration::from_secs(8), "{what}: {took:?}, {line}");
        match want {
            Want::Line(want) => assert_eq!(line, want, "{what}"),
            Want::Error(words) => assert!(error_text(&line).contains(words), "{what}: {line}"),
        }
    }
    let mut slow = [HANGS, DRIPS].map(|radius| {
        let mut client = herd.client("Blake");
        begin(&mut client, radius, 1);
        client
    });
    // Neither slows who is asking for something else.
    let began = Instant::now();
    assert!(ask(&mut client, "1", 2).starts_with('{'));
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
    for client in &mut slow {
        let error = error_text(&answer(client));
        assert!(error.contains("answer"), "{}: {error}", dialect.api);
        assert!(began.elapsed() > Duration::from_secs(8), "{error}");
    }
    rate_limited(&dialect, &mut client, twitter);
}

fn rate_limited(dialect: &Dialect, client: &mut Client, twitter: &StubTwitter) {
    let (_, _, body) = dialect.limited;
    assert_eq!(
        ask(client, LIMITED, 1),
        body,
        "what Twitter says is passed on"
    );
    let before = twitter.requests().len();
    for radius in [LIMITED, "1", "2"] {
        let error = error_text(&ask(client, radius, 1));
        let seconds = error.rsplit_once("(for ").and_then(|(_, rest)| {
            let (seconds, _) = rest.split_once(" s)")?;
            seconds.parse().ok()
        });
        let seconds: u64 = seconds.unwrap_or_else(|| panic!("not for how long: {error}"));
        let range = PAUSE_SECONDS - 60..=PAUSE_SECONDS + 1;
        assert!(range.contains(&seconds), "{error}");
        assert!(error.contains("no more questions until 20"), "{error}");
    }
    assert_eq!(
        twitter.requests().len(),
        before,
        "nobody is asked meanwhile"
    );
}

#[test]
fn every_outcome_of_api_1_0() {
    let twitter = stub(V1_0);
    every_outcome(V1_0, blake("1.0", &origin(twitter.address)), &twitter);
}

#[test]
fn every_outcome_of_api_1_1() {
    let twitter = stub(V1_1);
    let herd = with_token(blake("1.1", &origin(twitter.address)));
    every_outcome(V1_1, herd, &twitter);
}

#[test]
fn every_outcome_of_api_2() {
    let twitter = stub(V2);
    let herd = with_token(blake("2", &origin(twitter.address)));
    every_outcome(V2, herd, &twitter);
}

/// Lets `herd` trust what `https` shows.
fn trusting(mut herd: Herd, https: &Https) -> Herd {
    let path = herd.directory.path().join("roots.pem");
    std::fs::write(&path, &https.certificate).expect("the directory is ours");
    set(&mut herd, "SSL_CERT_FILE", &path.display().to_string());
    herd
}

#[test]
fn every_outcome_of_api_2_over_https() {
    let twitter = stub(V2);
    let https = Https::before(twitter.address);
    let herd = with_token(blake(
        "2",
        &format!("https://localhost:{}", https.address.port()),
    ));
    every_outcome(V2, trusting(herd, &https), &twitter);
}

#[test]
fn a_certificate_that_does_not_prove_who_twitter_is_gets_no_token() {
    let twitter = stub(V2);
    let (https, other) = (
        Https::before(twitter.address),
        Https::before(twitter.address),
    );
    let at = |host: &str| {
        with_token(blake(
            "2",
            &format!("https://{host}:{}", https.address.port()),
        ))
    };
    let cases = [
        ("signed by nobody known", at("localhost")),
        ("signed by another", trusting(at("localhost"), &other)),
        ("of another name", trusting(at("127.0.0.1"), &https)),
    ];
    let cases = cases.map(|(what, mut herd)| {
        thread::spawn(move || {
            herd.start_all();
            let line = ask(&mut located(&herd, "+00+000"), "1", 1);
            assert!(error_text(&line).contains("certificate"), "{what}: {line}");
        })
    });
    for case in cases {
        case.join().expect("as the case says");
    }
    assert_eq!(twitter.requests().len(), 0, "nothing was said to it");
}

#[test]
fn no_proxy_lies_between_this_machine_and_itself() {
    let (twitter, proxy) = (stub(V1_0), stub(V1_0));
    let mut herd = blake("1.0", &origin(twitter.address));
    for name in ["http_proxy", "HTTP_PROXY", "ALL_PROXY"] {
        set(&mut herd, name, &origin(proxy.address));
    }
    herd.start_all();
    assert_eq!(ask(&mut located(&herd, "+00+000"), "2", 1), V1_0.empty);
    assert_eq!(proxy.requests().len(), 0);
}

#[test]
fn elsewhere_is_asked_by_way_of_the_proxy_of_the_environment() {
    let proxy = StubTwitter::start(|_| Answer::Full(403, Vec::new()));
    let mut herd = with_token(blake("2", "https://api.example.com"));
    set(&mut herd, "HTTPS_PROXY", &origin(proxy.address));
    herd.start_all();
    error_text(&ask(&mut located(&herd, "+00+000"), "1", 1));
    let requests = proxy.requests();
    assert!(!requests.is_empty());
    for request in requests {
        assert_eq!(request.line, "CONNECT api.example.com:443 HTTP/1.1");
        assert_eq!(
            request.header("authorization"),
            None,
            "the proxy is told no token"
        );
    }
}
