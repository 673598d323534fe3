//! What a server asks of Twitter, what it makes of the answer, and how little a Twitter that is
//! slow, broken or gone matters to everybody else; then the stand-in, asked by a server and by hand.
//!
//! Twitter is a stub on a real socket that does as the test says.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde_json::Value;

#[path = "support/stand_in.rs"]
mod stand_in;
#[path = "support/stub_twitter.rs"]
mod stub_twitter;
mod support;

use stand_in::StandIn;
use stub_twitter::{Answer, Gate, Request, StubTwitter, response};
use support::reference::{WORD_OF_REFUSALS, promised};
use support::{Client, FIVE, Herd, Process, free_addresses, wait_until};

/// The longest body that is passed on.
const BODY_BYTES_MAX: usize = 4 << 20;

/// The most questions that may wait for Twitter at the same time.
const QUESTIONS_MAX: usize = 1024;

/// The most of them that may be of one client.
const OF_ONE_CLIENT_MAX: usize = 16;

/// The most that Twitter is asked at the same time.
const REQUESTS_MAX: usize = 8;

/// More questions than any sensible server asks at once.
const MANY: usize = 64;

/// Blake, asking at `url`.
fn blake_asking_at(url: &str) -> Herd {
    let mut herd = Herd::new(&[("Blake", &[])]);
    herd.twitter_url = url.to_owned();
    herd.start_all();
    herd
}

fn blake_asking(twitter: &StubTwitter) -> Herd {
    blake_asking_at(&twitter.url())
}

/// A client whose location, `k` at +00+000, Blake knows.
fn located(herd: &Herd) -> Client {
    let mut client = herd.client("Blake");
    client.say("IAMAT k +00+000 1");
    let at = client.line();
    assert!(at.starts_with("AT Blake +"), "{at}");
    client
}

/// Asks for tweets round `k`; gives the line of JSON.
fn ask(client: &mut Client, radius_km: &str, bound: usize) -> String {
    client.say(&format!("WHATSAT k {radius_km} {bound}"));
    answer(client)
}

/// The radius that a request asks for, as a number: the tests number their questions by it.
fn radius(request: &Request) -> usize {
    let geocode = request.parameters("geocode").concat();
    let radius = geocode.rsplit(',').next().unwrap_or_default();
    let number = radius.strip_suffix("km").and_then(|km| km.parse().ok());
    number.unwrap_or_else(|| panic!("no radius: {}", request.line))
}

/// The text of an error that stands instead of an answer: one valid object, one member.
fn error_text(line: &str) -> String {
    let json: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let members = json.as_object().map(|object| object.len());
    let error = json["error"].as_str();
    let error = error.unwrap_or_else(|| panic!("no error: {line}"));
    assert_eq!(members, Some(1), "{line}");
    assert!(!error.is_empty(), "{line}");
    error.to_owned()
}

/// A Twitter that says which radius it was asked for, once the gate of that radius is open: those below
/// `count` have one.
fn gated_by_radius(count: usize) -> (StubTwitter, Vec<Gate>) {
    let gates = Vec::from_iter((0..count).map(|_| Gate::closed()));
    let held = gates.clone();
    let twitter = StubTwitter::start(move |request| {
        let radius = radius(request);
        let answer = Answer::ok(format!("{{\"radius\":{radius}}}"));
        match held.get(radius) {
            Some(gate) => answer.after(gate),
            None => answer,
        }
    });
    (twitter, gates)
}

/// Waits until Blake's log has an answer of [`gated_by_radius`], whether or not it has left.
fn wait_for_answer(herd: &Herd, radius: usize) {
    let record = format!(" {{\"radius\":{radius}}}\n");
    herd.wait_for_record("Blake", &record);
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(400) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}... ({} bytes)", &text[..at], text.len()),
    }
}

fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = limit.maximum.map_or(8192, |most| most.min(8192));
    if limit.current.is_some_and(|current| current < raised) {
        let current = Some(raised);
        let maximum = limit.maximum;
        setrlimit(Resource::Nofile, Rlimit { current, maximum }).expect("it is allowed");
    }
}

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

// ---- waiting

/// So many clients that wait for an answer, having asked at once: the radius of each is its number.
fn all_waiting(herd: &Herd, count: usize) -> Vec<Client> {
    let mut clients: Vec<_> = (0..count).map(|_| herd.client("Blake")).collect();
    for (radius_km, client) in clients.iter_mut().enumerate() {
        client.say(&format!("WHATSAT k {radius_km} 1"));
    }
    (0..count).for_each(|radius_km| wait_until_asked(herd, radius_km));
    clients
}

/// Waits until Blake has taken up a question of this radius.
fn wait_until_asked(herd: &Herd, radius_km: usize) {
    let record = format!(" WHATSAT k {radius_km} 1\n");
    herd.wait_for_record("Blake", &record);
}

/// Reads both lines of an answer; gives the line of JSON.
fn answer(client: &mut Client) -> String {
    let at = client.line();
    assert!(at.starts_with("AT Blake +"), "{at}");
    client.line()
}

#[test]
fn a_twitter_that_hangs_or_drips_is_given_up_after_ten_seconds_and_slows_nobody_else() {
    let gate = Gate::closed();
    let held = gate.clone();
    let twitter = StubTwitter::start(move |request| match radius(request) {
        1000 => Answer::ok("{\"well\":1}"),
        number => match number % 3 {
            0 => Answer::Never,
            1 => Answer::Drip(Duration::from_millis(50)),
            _ => Answer::ok("{\"too\":\"late\"}").after(&held),
        },
    });
    let herd = blake_asking(&twitter);
    let mut witness = located(&herd);
    let mut several = herd.client("Blake");
    let asked = Instant::now();
    // The time of each is its own: what waits behind another does not wait for longer.
    several.send(b"WHATSAT k 1002 1\nWHATSAT k 1005 1\n");
    let several = thread::spawn(move || {
        for _ in 0..2 {
            error_text(&answer(&mut several));
        }
        asked.elapsed()
    });
    // Most of these wait for others to be asked before them, which counts.
    let clients = all_waiting(&herd, MANY);
    let answers: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            thread::spawn(move || {
                let line = answer(&mut client);
                (asked.elapsed(), line, client)
            })
        })
        .collect();
    let mut slowest = Duration::ZERO;
    while answers.iter().any(|answer| !answer.is_finished()) {
        let began = Instant::now();
        witness.say("IAMAT witness +00+000 1");
        witness.line();
        assert!(herd.ask("Blake", "no command").starts_with("? "));
        slowest = slowest.max(began.elapsed());
        thread::sleep(Duration::from_millis(20)); // a client, not a flood
    }
    assert!(
        slowest < Duration::from_secs(2),
        "another client waited {slowest:?}"
    );
    let took = several.join().expect("its lines come in time");
    let range = Duration::from_secs(9)..Duration::from_secs(20);
    assert!(range.contains(&took), "two of one client took {took:?}");
    let mut late = Vec::new();
    for (number, answer) in answers.into_iter().enumerate() {
        let (took, line, client) = answer.join().expect("a line comes in time");
        error_text(&line);
        assert!(range.contains(&took), "question {number} took {took:?}");
        late.push(client);
    }
    // What comes too late goes nowhere, and Twitter can be asked again.
    gate.open();
    for client in late.iter_mut().take(12) {
        assert_eq!(ask(client, "1000", 1), "{\"well\":1}");
    }
}

#[test]
fn identical_questions_in_flight_share_one_request_and_different_ones_do_not() {
    let (twitter, gate) = StubTwitter::gated(|request| {
        let geocode = request.parameters("geocode").concat();
        let rpp = request.parameters("rpp").concat();
        Answer::ok(format!("{{\"asked\":\"{geocode} {rpp}\"}}"))
    });
    let herd = blake_asking(&twitter);
    let mut client = herd.client("Blake");
    for (name, location) in [
        ("k", "+00+000"),
        ("same", "-00.0+000.0/"),
        ("other", "+01+000"),
    ] {
        client.say(&format!("IAMAT {name} {location} 1"));
        client.line();
    }
    let questions = [
        ("WHATSAT k 1 1", "0,0,1km 1"),
        ("WHATSAT k 1 1", "0,0,1km 1"),
        ("WHATSAT k 1.0 01", "0,0,1km 1"),
        ("WHATSAT same 01 1", "0,0,1km 1"),
        ("WHATSAT other 1 1", "1,0,1km 1"),
        ("WHATSAT k 1 2", "0,0,1km 2"),
        ("WHATSAT k 1.5 1", "0,0,1.5km 1"),
    ];
    for (round, requests) in [(0, 4), (1, 8)] {
        let mut clients: Vec<_> = questions.iter().map(|_| herd.client("Blake")).collect();
        for ((question, _), client) in questions.iter().zip(&mut clients) {
            client.say(question);
        }
        if round == 0 {
            twitter.wait_for_requests(requests);
            wait_until("all have been taken up", || {
                herd.log("Blake").matches(" WHATSAT ").count() == questions.len()
            });
            gate.open();
        }
        for ((question, want), client) in questions.iter().zip(&mut clients) {
            let want = format!("{{\"asked\":\"{want}\"}}");
            assert_eq!(answer(client), want, "{question}");
        }
        let lines = twitter.requests();
        let lines: Vec<_> = lines.iter().map(|request| &request.line).collect();
        if round == 0 {
            assert_eq!(lines.len(), requests, "{lines:#?}");
        } else {
            // Now answers come at once, so that fewer are in flight together; none is an old one.
            assert!(lines.len() >= requests, "an old answer: {lines:#?}");
        }
    }
}

#[test]
fn with_1024_questions_waiting_the_surplus_is_answered_at_once_with_an_error() {
    raise_descriptors();
    let (twitter, gate) = StubTwitter::gated(|request| {
        let radius = radius(request);
        Answer::ok(format!("{{\"radius\":{radius}}}"))
    });
    let mut herd = blake_asking(&twitter);
    drop(located(&herd));
    let count = QUESTIONS_MAX + 10;
    let mut clients: Vec<_> = (0..count).map(|_| herd.client("Blake")).collect();
    for (number, client) in clients[..QUESTIONS_MAX].iter_mut().enumerate() {
        client.say(&format!("WHATSAT k {number} 1"));
    }
    wait_until("all have been taken up", || {
        herd.log("Blake").matches(" WHATSAT ").count() == QUESTIONS_MAX
    });
    for (surplus, client) in clients[QUESTIONS_MAX..].iter_mut().enumerate() {
        let number = QUESTIONS_MAX + surplus;
        let asked = Instant::now();
        let line = ask(client, &number.to_string(), 1);
        let took = asked.elapsed();
        error_text(&line);
        assert!(took < Duration::from_secs(3), "it took {took:?}: {line}");
        client.say("no command");
        assert_eq!(client.line(), "? no command", "the connection stays");
    }
    // Who waits has such an error too, and in its turn.
    let waiting = &mut clients[QUESTIONS_MAX - 1];
    waiting.say("WHATSAT k 3000 1");
    wait_until("the surplus question is refused", || {
        let log = herd.log("Blake");
        let asked = log.lines().find(|line| line.ends_with(" WHATSAT k 3000 1"));
        let label = asked.and_then(|line| line.split(' ').nth(2));
        label.is_some_and(|label| log.contains(&format!(" > {label} {{\"error\":")))
    });
    gate.open();
    for (number, client) in clients[..QUESTIONS_MAX].iter_mut().enumerate() {
        let line = answer(client);
        assert_eq!(line, format!("{{\"radius\":{number}}}"), "it did wait");
    }
    error_text(&answer(&mut clients[QUESTIONS_MAX - 1]));
    let client = &mut clients[count - 1];
    assert_eq!(
        ask(client, "2000", 1),
        "{\"radius\":2000}",
        "there is room again"
    );
    if promised(&WORD_OF_REFUSALS) {
        let said = herd.process("Blake").said();
        let text = "Blake: questions are refused: 1024 wait for Twitter, all that may\n";
        assert_eq!(said.matches(text).count(), 1, "once is enough: {said}");
    }
}

// ---- several questions of one client

#[test]
fn a_report_behind_a_question_is_known_everywhere_before_the_answer() {
    let (twitter, gate) = StubTwitter::gated(|_| Answer::ok("{}"));
    let mut herd = Herd::new(FIVE);
    herd.twitter_url = twitter.url();
    herd.start_all();
    let mut client = located(&herd);
    client.send(b"WHATSAT k 1 1\nIAMAT late +01+001 1\nno command\n");
    twitter.wait_for_requests(1);
    // A question to Metta would wait for Twitter too.
    wait_until("Metta has heard of it", || {
        herd.log("Metta").contains(" late +01+001 1\n")
    });
    gate.open();
    assert_eq!(answer(&mut client), "{}");
    let late = client.line();
    herd.wait_for_record("Metta", &format!(" {late}\n"));
    assert_eq!(client.line(), "? no command");
}

#[test]
fn questions_of_one_client_are_asked_side_by_side_and_answered_in_order() {
    let (twitter, gates) = gated_by_radius(REQUESTS_MAX);
    let herd = blake_asking(&twitter);
    let mut client = located(&herd);
    let lines = (0..REQUESTS_MAX).map(|n| format!("WHATSAT k {n} 1\nbehind {n}\n"));
    client.send(lines.collect::<String>().as_bytes());
    twitter.wait_for_requests(REQUESTS_MAX);
    wait_until("all that is behind them is handled", || {
        let last = format!(" ? behind {}\n", REQUESTS_MAX - 1);
        herd.log("Blake").contains(&last)
    });
    for (radius, gate) in gates.iter().enumerate().rev() {
        gate.open();
        wait_for_answer(&herd, radius);
    }
    for number in 0..REQUESTS_MAX {
        assert_eq!(answer(&mut client), format!("{{\"radius\":{number}}}"));
        assert_eq!(client.line(), format!("? behind {number}"));
    }
}

#[test]
fn a_client_may_have_sixteen_questions_waiting() {
    for first_is_answered in [true, false] {
        let (twitter, gates) = gated_by_radius(OF_ONE_CLIENT_MAX);
        let mut herd = Herd::new(&[("Blake", &["Bryant"]), ("Bryant", &[])]);
        herd.twitter_url = twitter.url();
        herd.start_all();
        let mut client = located(&herd);
        let line = |radius| format!("WHATSAT k {radius} 1\n");
        let questions = (0..OF_ONE_CLIENT_MAX).map(line).collect::<String>();
        client.send((questions + "IAMAT next +01+001 1\n").as_bytes());
        twitter.wait_for_requests(REQUESTS_MAX);
        let last = format!(" WHATSAT k {} 1\n", OF_ONE_CLIENT_MAX - 1);
        wait_until("the sixteenth is taken up", || {
            herd.log("Blake").contains(&last)
        });
        // Bryant hears what Blake takes in, in its order.
        herd.ask("Blake", "IAMAT witness +00+000 1");
        let heard = |name: &str| herd.log("Bryant").contains(&format!(" {name} +0"));
        wait_until("Bryant hears of the witness", || heard("witness"));
        let heard_of = herd.settled_log("Bryant");
        assert!(
            !heard_of.contains(" next +0"),
            "the seventeenth line was taken up"
        );
        let mut asked = twitter
            .requests()
            .into_iter()
            .map(|request| radius(&request));
        let answered = asked.find(|&radius| (radius == 0) == first_is_answered);
        let answered = answered.expect("the first has been asked, and others");
        gates[answered].open();
        wait_for_answer(&herd, answered);
        wait_until("Bryant hears of the next", || heard("next"));
        gates.iter().for_each(Gate::open);
        for radius in 0..OF_ONE_CLIENT_MAX {
            assert_eq!(answer(&mut client), format!("{{\"radius\":{radius}}}"));
        }
        let at = client.line();
        assert!(at.ends_with(" next +01+001 1"), "{at}");
    }
}

#[test]
fn a_client_that_has_gone_takes_its_unstarted_question_with_it() {
    let (twitter, gate) = StubTwitter::gated(|_| Answer::ok("{}"));
    let mut herd = blake_asking(&twitter);
    let mut witness = located(&herd);
    let mut clients = all_waiting(&herd, MANY);
    {
        // A socket that is closed with a reply unread resets the connection.
        let mut gone = herd.client("Blake");
        gone.send(b"no command\nWHATSAT k 1000 1\n");
        gone.stream.peek(&mut [0]).expect("the copy comes");
        wait_until_asked(&herd, 1000);
    }
    wait_until("the log has it dropped", || {
        let log = herd.log("Blake");
        log.lines().any(|line| line.split(' ').nth(1) == Some("-"))
    });
    gate.open();
    for client in &mut clients {
        assert_eq!(answer(client), "{}");
    }
    assert_eq!(ask(&mut witness, "2000", 1), "{}");
    let asked: Vec<_> = twitter.requests().iter().map(radius).collect();
    assert_eq!(asked.len(), MANY + 1, "{asked:?}");
    assert!(!asked.contains(&1000), "{asked:?}");
    assert!(herd.process("Blake").is_running());
}

// ---- the stand-in

/// Reads one response with a Content-Length: status, head, body.
fn read_response(stream: &mut TcpStream) -> (u16, String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a whole head");
        head.extend(byte);
    }
    let head = String::from_utf8(head).expect("text");
    let (status, length) = status_and_length(&head);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a whole body");
    (status, head, String::from_utf8(body).expect("UTF-8"))
}

fn status_and_length(head: &str) -> (u16, usize) {
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let length = name.eq_ignore_ascii_case("content-length");
        length.then(|| value.trim().parse().expect("a number"))
    });
    (
        status.unwrap_or_else(|| panic!("no status: {head}")),
        length.unwrap_or_else(|| panic!("no Content-Length: {head}")),
    )
}

/// Great-circle distance in kilometres, by the haversine.
fn distance_km(from: (f64, f64), to: (f64, f64)) -> f64 {
    let half = |a: f64, b: f64| ((b - a).to_radians() / 2.0).sin().powi(2);
    let cosines = from.0.to_radians().cos() * to.0.to_radians().cos();
    let square = half(from.0, to.0) + cosines * half(from.1, to.1);
    2.0 * 6371.0 * square.sqrt().min(1.0).asin()
}

#[test]
fn the_stand_in_answers_a_server_with_tweets_within_the_radius() {
    let stand_in = StandIn::started();
    let herd = blake_asking_at(&format!("http://{}/search.json", stand_in.address));
    let mut client = herd.client("Blake");
    let mut with_place = 0;
    for (location, place) in [
        ("+34.068930-118.445127", (34.068930, -118.445127)),
        ("+27.5916+086.5640", (27.5916, 86.564)),
        ("+51.5074-000.1278", (51.5074, -0.1278)),
        ("+40.7128-074.0060", (40.7128, -74.006)),
        ("+35.6762+139.6503", (35.6762, 139.6503)),
        ("-90+180", (-90.0, 180.0)),
    ] {
        client.say(&format!("IAMAT at{location} {location} 1"));
        let at = client.line();
        let mut fewer = 0;
        for (radius_km, bound) in [
            ("10", 100),
            ("100", 100),
            ("1000", 100),
            ("20000", 100),
            ("20000", 5),
            ("20000", 0),
        ] {
            client.say(&format!("WHATSAT at{location} {radius_km} {bound}"));
            assert_eq!(client.line(), at);
            let line = client.line();
            let json: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
            let results = json["results"].as_array();
            let results = results.unwrap_or_else(|| panic!("no results: {line}"));
            assert!(results.len() <= bound, "{} of {bound}", results.len());
            if bound == 100 {
                assert!(
                    results.len() >= fewer,
                    "a wider circle has no fewer: {line}"
                );
                fewer = results.len();
            }
            for result in results {
                let at = |index: usize| result["geo"]["coordinates"][index].as_f64();
                if let (Some(latitude), Some(longitude)) = (at(0), at(1)) {
                    with_place += 1;
                    let distance = distance_km(place, (latitude, longitude));
                    let radius: f64 = radius_km.parse().expect("a number");
                    assert!(
                        distance <= radius * 1.01 + 0.01,
                        "{distance} km from {location}, within {radius_km}: {result}"
                    );
                }
            }
        }
        assert!(fewer > 0, "the whole earth has tweets");
    }
    assert!(with_place > 0, "some tweets say where they were sent");
}

#[test]
fn the_stand_in_answers_pipelined_requests_in_order_on_one_connection() {
    let stand_in = StandIn::started();
    let mut stream = stand_in.connect();
    let request = |rpp: usize| {
        format!("GET /search.json?q=&geocode=0%2C0%2C20000km&rpp={rpp} HTTP/1.1\r\nHost: h\r\n\r\n")
    };
    let both = format!("{}{}", request(3), request(7));
    stream.write_all(both.as_bytes()).expect("it reads");
    for count in [3, 7] {
        let (status, head, body) = read_response(&mut stream);
        assert_eq!(status, 200, "{head}");
        let json: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body}"));
        let results = json["results"].as_array().map(Vec::len);
        assert_eq!(results, Some(count), "{body}");
    }
    stream.write_all(request(2).as_bytes()).expect("it is kept");
    assert_eq!(read_response(&mut stream).0, 200);
    // A request in pieces, and one after the client's end.
    for byte in request(1).as_bytes() {
        stream.write_all(&[*byte]).expect("it reads");
    }
    assert_eq!(read_response(&mut stream).0, 200);
    stream.write_all(request(1).as_bytes()).expect("it reads");
    stream
        .shutdown(std::net::Shutdown::Write)
        .expect("it is connected");
    assert_eq!(read_response(&mut stream).0, 200);
    assert_eq!(stream.read(&mut [0]).expect("it closes"), 0);
}

#[test]
fn the_stand_in_refuses_as_http_does_and_says_why_in_json() {
    let stand_in = StandIn::started();
    let long = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(100_000));
    for (request, want) in [
        (
            "GET /elsewhere HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            &[404][..],
        ),
        ("GET / HTTP/1.0\r\n\r\n", &[404]),
        ("GET /search.json HTTP/1.0\r\n\r\n", &[400, 403]),
        (
            "GET /search.json?q=&geocode=91,0,1km HTTP/1.0\r\n\r\n",
            &[400, 403],
        ),
        (
            "GET /search.json?q=&geocode=nonsense HTTP/1.0\r\n\r\n",
            &[400, 403],
        ),
        (
            "GET /search.json?q=&geocode=0,0,1km&rpp=x HTTP/1.0\r\n\r\n",
            &[200, 400, 403],
        ),
        (
            "POST /search.json HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx",
            &[405, 413],
        ),
        ("GET /search.json?q=x HTTP/1.1\r\n\r\n", &[400]),
        ("GET /search.json?q=x HTTP/2.0\r\nHost: h\r\n\r\n", &[505]),
        ("nonsense\r\n\r\n", &[400]),
        ("\x16\x03\x01\x02\n\n", &[400]),
        (&long, &[414]),
    ] {
        let response = stand_in.exchange(request);
        let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
        let (status, length) = status_and_length(head);
        let request = shown(request);
        assert!(want.contains(&status), "{request:?}: {response}");
        assert_eq!(length, body.len(), "{request:?}: {response}");
        if status != 200 {
            error_text(body);
        }
    }
    let target = "/search.json?q=&geocode=0,0,20000km";
    let get = stand_in.exchange(&format!("GET {target} HTTP/1.0\r\n\r\n"));
    let head = stand_in.exchange(&format!("HEAD {target} HTTP/1.0\r\n\r\n"));
    let (get_head, body) = get.split_once("\r\n\r\n").expect("a head");
    assert_eq!(status_and_length(get_head), (200, body.len()));
    assert!(head.ends_with("\r\n\r\n"), "HEAD has no body: {head}");
    let (status, length) = status_and_length(&head);
    assert_eq!(status, 200, "{head}");
    assert!(length.abs_diff(body.len()) < 20, "as GET's: {head}"); // but for how long it took
}

#[test]
fn the_stand_in_ends_with_status_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut stand_in = StandIn::started();
        let mut stream = stand_in.connect();
        let request = "GET /search.json?q=&geocode=0,0,1km HTTP/1.1\r\nHost: h\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("it reads");
        assert_eq!(read_response(&mut stream).0, 200);
        let told = Instant::now();
        stand_in.process.signal(signal);
        let status = stand_in.process.wait();
        let took = told.elapsed();
        assert_eq!(status.code(), Some(0), "{signal:?}: {status}");
        assert!(took < Duration::from_secs(5), "{signal:?} took {took:?}");
    }
}

#[test]
fn the_stub_itself_is_understood_by_hand() {
    let twitter = StubTwitter::start(|request| Answer::ok(request.parameters("a").concat()));
    let mut stream = TcpStream::connect(twitter.address).expect("it listens");
    let request = b"GET /search.json?a=b%2Cc HTTP/1.1\r\nHost: h\r\n\r\n";
    stream.write_all(request).expect("it reads");
    let (status, _, body) = read_response(&mut stream);
    assert_eq!((status, body.as_str()), (200, "b,c"));
    assert!(response(200, b"{}").ends_with(b"\r\n\r\n{}"));
}
