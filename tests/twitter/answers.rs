//! What is asked, and what becomes of each answer.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::stub_twitter::{Answer, StubTwitter};
use crate::support::{Herd, Process, free_addresses, wait_until};
use crate::{ask, blake_asking, blake_asking_at, error_text, located, radius, shown};

/// The longest body that is passed on.
const BODY_BYTES_MAX: usize = 4 << 20;

// ---- the request

#[test]
fn the_request_is_that_of_search_1_0() {
    let twitter = StubTwitter::start(|_| Answer::ok("{}"));
    let herd = blake_asking(&twitter);
    let mut client = herd.client("Blake");
    let zeros = "0".repeat(5_000);
    for (number, (location, radius, bound, geocode, rpp)) in [
        ("+27.5916+086.5640", "100", "2", "27.5916,86.564,100km", "2"),
        (
            "+34.068930-118.445127/",
            "0100.50",
            "005",
            "34.06893,-118.445127,100.5km",
            "5",
        ),
        ("-00.50-007.000", "0.5", "100", "-0.5,-7,0.5km", "100"),
        ("-00-000.0", "000", "0", "0,0,0km", "0"),
        ("-90.000+180", "20000.0", "1", "-90,180,20000km", "1"),
        ("+00+000", "1", &zeros, "0,0,1km", "0"), // Python has a limit on digits
        (
            "+00.00000000000000000000000000001+000",
            "0.00000000000000000000000000000001",
            "1",
            "0.00000000000000000000000000001,0,0.00000000000000000000000000000001km",
            "1",
        ),
        (
            "+00+000",
            "123456789012345678901234567890",
            "1",
            "0,0,123456789012345678901234567890km",
            "1",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        client.say(&format!("IAMAT c{number} {location} 1"));
        client.line();
        client.say(&format!("WHATSAT c{number} {radius} {bound}"));
        client.line();
        assert_eq!(client.line(), "{}");
        let request = twitter.requests().pop().expect("it was asked");
        assert_eq!(request.number, number, "one request a question");
        let target = request.target();
        assert_eq!(request.line, format!("GET {target} HTTP/1.1"));
        assert!(target.starts_with("/search.json?"), "{target}");
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%&=/?,+".contains(&byte);
        assert!(target.bytes().all(legal), "{target}");
        assert_eq!(target.split('&').count(), 3, "{target}");
        assert_eq!(request.parameters("q").concat(), "", "{target}");
        assert_eq!(request.parameters("geocode"), [geocode], "{target}");
        assert_eq!(request.parameters("rpp"), [rpp], "{target}");
        let agent = request.header("user-agent").unwrap_or_default();
        assert!(agent.starts_with("herd"), "it says who asks: {agent}");
        let host = twitter.address.to_string();
        assert_eq!(request.header("host"), Some(&*host));
    }
}

#[test]
fn the_search_address_may_have_another_path_and_a_query_of_its_own() {
    let twitter = StubTwitter::start(|_| Answer::ok("{}"));
    for (suffix, start) in [
        ("", "/?q="),
        ("/", "/?q="),
        ("/1/s%C3%A9arch", "/1/s%C3%A9arch?q="),
        (
            "/search.json?lang=en&key=a%20b",
            "/search.json?lang=en&key=a%20b&q=",
        ),
    ] {
        let herd = blake_asking_at(&format!("http://{}{suffix}", twitter.address));
        assert_eq!(ask(&mut located(&herd), "3", 4), "{}");
        let request = twitter.requests().pop().expect("it was asked");
        let target = request.target();
        assert!(target.starts_with(start), "{suffix}: {target}");
        assert_eq!(request.parameters("geocode"), ["0,0,3km"], "{target}");
        assert_eq!(request.parameters("rpp"), ["4"], "{target}");
    }
}

// ---- the answer

#[test]
fn the_answer_is_passed_on_byte_for_byte_on_one_line() {
    let deep = format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000));
    let with_break = |json: &str| format!("\r\n {json}\n\n");
    let bodies: Vec<(u16, String)> = [
        "{}",
        "[]",
        "null",
        "-0",
        "\"text\"",
        "{\"results\":[],\"max_id\":1e400,\"page\":-0.0,\"a\":0.10000000000000000000000001}",
        "{\"id\":123456789012345678901234567890,\"x\":1E+2,\"y\":1e-9999}",
        "{\"z\":1,\"a\":2,\"z\":3,\"\":{\"b\":[true , false,\tnull]}}",
        "{\"text\":\"\\u00e9\\/\\\\\\\"\\b\\f\\n\\r\\t\\ud83d\\ude00 \\u000a\"}",
        "{\"text\":\"\u{e9} \u{2028}\u{2029}\u{85}\u{a0}\u{7f} \u{1f600} e\u{301}\"}",
        "{ \"spaces\" :\t[ 1 ,\t2 ] }  ",
        "{\"a\":\"AT Blake +0.0 k +00+000 1\",\"b\":\"{\\\"error\\\":\\\"no\\\"}\"}",
        "{\"error\":\"sent with 200\"}",
        &deep,
    ]
    .into_iter()
    .map(|body| (200, body.to_owned()))
    .chain([
        (200, with_break("{\"a\"\r\n:\n[1,\n\r2]\r,\"b\":\"\\n\"}")),
        (200, with_break("[\n\t{\n\t\t\"k\": 1\n\t}\n]")),
        (200, format!("\"{}\"", "x".repeat(BODY_BYTES_MAX - 2))),
    ])
    // What Twitter itself says of an error is passed on too.
    .chain(
        [400, 401, 403, 404, 406, 410, 420, 429, 500, 502, 503].map(|status| {
            let body = format!("{{\"error\":\"{status}\",\"request\":\"\\/search.json\"}}\n");
            (status, body)
        }),
    )
    .collect();
    let sent = bodies.clone();
    let twitter = StubTwitter::start(move |request| {
        let (status, body) = &sent[radius(request)];
        Answer::Full(*status, body.clone().into_bytes())
    });
    let herd = blake_asking(&twitter);
    let mut client = located(&herd);
    for (number, (status, body)) in bodies.iter().enumerate() {
        let got = ask(&mut client, &number.to_string(), 100);
        let want = body.replace(['\r', '\n'], "");
        assert!(
            got == want,
            "{status}\n got: {}\nwant: {}",
            shown(&got),
            shown(&want)
        );
    }
}

#[test]
fn an_answer_may_come_in_any_of_https_ways() {
    let body = "{\"results\":[1],\n\"page\":1}";
    let mut chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    for piece in [&body[..1], &body[1..9], &body[9..]] {
        let _ = write!(chunked, "{:x};ext=1\r\n{piece}\r\n", piece.len());
    }
    let length = body.len();
    let answers = [
        format!("{chunked}0\r\n\r\n").into_bytes(),
        format!("{chunked}0\r\nTrailer: 1\r\n\r\n").into_bytes(),
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}").into_bytes(),
        format!("HTTP/1.0 200 OK\r\n\r\n{body}").into_bytes(),
        format!(
            "HTTP/1.1 200\r\nContent-Length: {length}\r\ncontent-type: text/plain\r\n\r\n{body}"
        )
        .into_bytes(),
        format!("HTTP/1.1 420 Enhance Your Calm\r\nRetry-After: 9\r\n\r\n{body}").into_bytes(),
    ];
    let sent = answers.clone();
    let twitter = StubTwitter::start(move |request| Answer::Raw(sent[radius(request)].clone()));
    let herd = blake_asking(&twitter);
    let mut client = located(&herd);
    for (number, answer) in answers.iter().enumerate() {
        let got = ask(&mut client, &number.to_string(), 100);
        let sent = String::from_utf8_lossy(answer);
        assert_eq!(got, "{\"results\":[1],\"page\":1}", "{sent}");
    }
}

#[test]
fn results_beyond_the_bound_are_dropped_and_nothing_else() {
    let cases = [
        (
            "{\"results\":[1,2,3],\"page\":1}",
            3,
            "{\"results\":[1,2,3],\"page\":1}",
        ),
        (
            "{\"results\":[1,2,3],\"page\":1}",
            2,
            "{\"results\":[1,2],\"page\":1}",
        ),
        (
            "{\"results\":[1,2,3],\"page\":1}",
            0,
            "{\"results\":[],\"page\":1}",
        ),
        (
            "{\"a\":[1,2],\"results\":[[1,2],{\"x\":[3,4]},5]}",
            2,
            "{\"a\":[1,2],\"results\":[[1,2],{\"x\":[3,4]}]}",
        ),
        (
            "{\"results\":[\"],[\",\"\\\"]\",\"}\"],\"z\":\"]\"}",
            1,
            "{\"results\":[\"],[\"],\"z\":\"]\"}",
        ),
        (
            "{\"x\":{\"results\":[1,2]},\"results\":[1,2]}",
            1,
            "{\"x\":{\"results\":[1,2]},\"results\":[1]}",
        ),
        ("{\"r\\u0065sults\":[1,2]}", 1, "{\"r\\u0065sults\":[1]}"),
        (
            "{\"results\":{\"1\":1,\"2\":2},\"n\":[1,2]}",
            1,
            "{\"results\":{\"1\":1,\"2\":2},\"n\":[1,2]}",
        ),
        (
            "[{\"results\":[1,2]},{},3]",
            1,
            "[{\"results\":[1,2]},{},3]",
        ),
        ("{\"results\":\n[1\n,2\n,3\n]\n}", 1, "{\"results\":[1]}"),
        (
            "{\"error\":\"no\",\"results\":[1,2]}",
            1,
            "{\"error\":\"no\",\"results\":[1]}",
        ),
    ];
    let twitter = StubTwitter::start(move |request| Answer::ok(cases[radius(request)].0));
    let herd = blake_asking(&twitter);
    let mut client = located(&herd);
    for (number, (body, bound, want)) in cases.iter().enumerate() {
        let got = ask(&mut client, &number.to_string(), *bound);
        assert_eq!(got, *want, "{bound} of {body}");
    }
}

#[test]
fn a_twitter_that_cannot_be_had_is_one_line_of_error_and_no_trouble_afterwards() {
    let redirect = |to: &str| {
        let head = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
        Answer::Raw(head.into_bytes())
    };
    let truncated = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"results\":[]}";
    let broken_chunk = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n5";
    let long_header = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n{{}}", "x".repeat(1 << 20));
    let cases = [
        ("500 without JSON", Answer::Full(500, b"<html>".to_vec())),
        ("404 without a body", Answer::Full(404, Vec::new())),
        (
            "304",
            Answer::Raw(b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec()),
        ),
        ("200 without JSON", Answer::ok("It works!")),
        ("an empty body", Answer::ok("")),
        ("white space", Answer::ok(" \r\n")),
        ("two values", Answer::ok("{} {}")),
        ("JSON cut off", Answer::ok("{\"results\":[")),
        ("an LF in a string", Answer::ok("{\"a\":\"1\n2\"}")),
        ("a single quote", Answer::ok("{'a':1}")),
        ("not UTF-8", Answer::ok(b"{\"a\":\"\xff\xfe\"}".to_vec())),
        ("UTF-16", Answer::ok(b"\xff\xfe{\0}\0".to_vec())),
        ("Latin-1", Answer::ok(b"{\"a\":\"caf\xe9\"}".to_vec())),
        (
            "over 4 MiB",
            Answer::ok(format!("\"{}\"", "x".repeat(BODY_BYTES_MAX - 1))),
        ),
        (
            "far over 4 MiB",
            Answer::ok(format!("\"{}\"", "x".repeat(8 * BODY_BYTES_MAX))),
        ),
        ("truncated", Answer::Raw(truncated.to_vec())),
        ("a chunk cut off", Answer::Raw(broken_chunk.to_vec())),
        ("reset", Answer::Reset),
        ("closed", Answer::Raw(Vec::new())),
        (
            "garbage",
            Answer::Raw(b"\x00\xffSSH-2.0\r\n\r\n\r\n".to_vec()),
        ),
        (
            "a line of another protocol",
            Answer::Raw(b"220 ready\r\n".to_vec()),
        ),
        (
            "half a head",
            Answer::Raw(b"HTTP/1.1 200 OK\r\nContent".to_vec()),
        ),
        ("an endless header", Answer::Raw(long_header.into_bytes())),
        ("a redirect without end", redirect("/search.json?again")),
        ("a redirect to nowhere", redirect("http://127.0.0.1:9/")),
        ("a redirect to nonsense", redirect("::::")),
    ];
    let again = redirect("/search.json?again");
    let sent = cases.clone();
    let twitter = StubTwitter::start(move |request| {
        if request.target().contains("again") {
            return again.clone();
        }
        match sent.get(radius(request)) {
            Some((_, answer)) => answer.clone(),
            None => Answer::ok("{\"well\":1}"),
        }
    });
    let herd = blake_asking(&twitter);
    let mut client = located(&herd);
    for (number, (what, _)) in cases.iter().enumerate() {
        let asked = Instant::now();
        let line = ask(&mut client, &number.to_string(), 100);
        let took = asked.elapsed();
        let parsed = std::panic::catch_unwind(|| error_text(&line));
        assert!(parsed.is_ok(), "{what}: {}", shown(&line));
        assert!(took < Duration::from_secs(8), "{what}: it took {took:?}");
        let well = ask(&mut client, "1000", 1);
        assert_eq!(well, "{\"well\":1}", "the next question after: {what}");
    }
}

#[test]
fn nobody_at_the_address_or_no_address_at_all_is_one_line_of_error() {
    let nobody = free_addresses(1)[0];
    for url in [
        format!("http://{nobody}/search.json"),
        "http://".to_owned(),
        "ftp://127.0.0.1/search.json".to_owned(),
        "127.0.0.1:9".to_owned(),
    ] {
        let mut herd = Herd::new(&[("Blake", &[])]);
        herd.twitter_url = url.clone();
        let stderr = herd.directory.path().join("try.err");
        let mut process = Process::start(herd.command("Blake"), stderr);
        wait_until("it serves or refuses to start", || {
            !process.is_running() || process.said().contains("clients on")
        });
        if !process.is_running() {
            let said = process.said();
            assert_eq!(process.wait().code(), Some(2), "{url}: {said}");
            assert_eq!(said.lines().count(), 1, "{url}: {said}");
            continue; // as good a way to say so
        }
        let mut client = located(&herd);
        error_text(&ask(&mut client, "1", 1));
        error_text(&ask(&mut client, "1", 1));
    }
}

#[test]
fn a_kept_connection_that_twitter_has_closed_is_no_error() {
    let twitter = StubTwitter::start(|_| Answer::FullThenClose(200, b"{}".to_vec()));
    let herd = blake_asking(&twitter);
    let mut client = located(&herd);
    for question in 0..30 {
        twitter.wait_for_closed(question);
        assert_eq!(ask(&mut client, "1", 1), "{}", "question {question}");
    }
}
