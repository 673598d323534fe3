//! When Twitter is asked again, when it is not, and when it need not be: retries, rate limits, the
//! circuit breaker, the cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[path = "support/asking.rs"]
mod asking;
#[path = "support/stub_twitter.rs"]
mod stub_twitter;
mod support;

use asking::{answer, argue, ask, begin, blake, error_text, located, origin, set, with_token};
use stub_twitter::{Answer, StubTwitter};
use support::{Client, Herd, free_addresses, wait_until};

fn started(mut herd: Herd) -> (Herd, Client) {
    herd.start_all();
    let client = located(&herd, "+00+000");
    (herd, client)
}

/// What the operator was told of Twitter: that it stopped and that it went on, and no more.
fn told_of_twitter(herd: &mut Herd) -> [String; 2] {
    let process = herd.process("Blake");
    wait_until("the operator hears that Twitter answers", || {
        process.said().contains("Twitter answers again\n")
    });
    let said = process.said();
    let told = said.lines().filter(|line| line.contains("Twitter"));
    let told: Vec<_> = told.map(str::to_owned).collect();
    told.try_into().expect("two lines")
}

// ---- retries

#[test]
fn a_connection_that_is_lost_before_the_answer_is_tried_once_more() {
    for (api, losses, want) in [("1.0", 1, Some(2)), ("2", 1, Some(2)), ("1.1", 2, None)] {
        let twitter = StubTwitter::start(move |request| match request.number < losses {
            true => Answer::Reset,
            false => Answer::ok("{\"well\":1}"),
        });
        let herd = with_token(blake(api, &origin(twitter.address)));
        let (_herd, mut client) = started(herd);
        let line = ask(&mut client, "1", 1);
        match want {
            Some(_) => assert_eq!(line, "{\"well\":1}", "API {api}"),
            None => drop(error_text(&line)),
        }
        assert_eq!(twitter.requests().len(), 2, "once, and no more: API {api}");
    }
}

#[test]
fn neither_an_error_nor_the_question_for_a_token_is_tried_again() {
    let twitter = StubTwitter::start(|_| Answer::Full(503, b"{}".to_vec()));
    let (_herd, mut client) = started(with_token(blake("2", &origin(twitter.address))));
    assert_eq!(ask(&mut client, "1", 1), "{}");
    assert_eq!(twitter.requests().len(), 1);

    let twitter = StubTwitter::start(|_| Answer::Reset);
    let mut herd = blake("2", &origin(twitter.address));
    set(&mut herd, "TWITTER_KEY", "key");
    set(&mut herd, "TWITTER_SECRET", "secret");
    let (_herd, mut client) = started(herd);
    error_text(&ask(&mut client, "1", 1));
    assert_eq!(
        twitter.requests().len(),
        1,
        "a POST is not for us to repeat"
    );
}

// ---- rate limits

#[test]
fn twitter_is_asked_again_when_it_said_and_not_before() {
    let twitter = StubTwitter::start(|request| match request.number {
        0 => Answer::with(429, &[("Retry-After", "2")], "{\"errors\":[]}"),
        _ => Answer::ok("{\"well\":1}"),
    });
    let (mut herd, mut client) = started(with_token(blake("1.1", &origin(twitter.address))));
    assert_eq!(ask(&mut client, "1", 1), "{\"errors\":[]}");
    let told = Instant::now();
    wait_until("Twitter is asked again", || {
        let line = ask(&mut client, "1", 1);
        let asked = twitter.requests().len() > 1;
        match asked {
            true => assert_eq!(line, "{\"well\":1}"),
            false => assert!(
                error_text(&line).contains("no more questions until"),
                "{line}"
            ),
        }
        asked
    });
    let waited = told.elapsed();
    assert!(waited > Duration::from_millis(1_900), "only {waited:?}");
    let [stopped, resumed] = told_of_twitter(&mut herd);
    let begins = "Blake: Twitter is not asked for now: it takes no more questions until ";
    assert!(stopped.starts_with(begins), "{stopped}");
    assert_eq!(resumed, "Blake: Twitter answers again");
}

#[test]
fn a_rate_limit_counts_whatever_its_words() {
    for answer in [
        Answer::with(429, &[("Retry-After", "600")], "<html>"),
        Answer::Raw(b"HTTP/1.1 420\r\nRetry-After: 600\r\nContent-Length: 9\r\n\r\n{".to_vec()),
    ] {
        let twitter = StubTwitter::start(move |_| answer.clone());
        let (_herd, mut client) = started(with_token(blake("2", &origin(twitter.address))));
        let first = error_text(&ask(&mut client, "1", 1));
        assert!(first.contains("cannot be had"), "{first}");
        let second = error_text(&ask(&mut client, "1", 1));
        assert!(second.contains("no more questions until"), "{second}");
        assert_eq!(twitter.requests().len(), 1);
    }
}

#[test]
fn questions_that_wait_for_their_turn_are_told_at_once_when_twitter_wants_a_pause() {
    let (twitter, gate) = StubTwitter::gated(|_| {
        Answer::with(420, &[("Retry-After", "600")], "{\"error\":\"calm\"}")
    });
    let (herd, _client) = started(blake("1.0", &origin(twitter.address)));
    let mut clients: Vec<_> = (0..40).map(|_| herd.client("Blake")).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        begin(client, &number.to_string(), 1);
    }
    twitter.wait_for_requests(8);
    gate.open();
    let lines: Vec<_> = clients.iter_mut().map(answer).collect();
    let asked = lines.iter().filter(|line| line.contains("calm")).count();
    let told = lines
        .iter()
        .filter(|line| line.contains("no more questions"))
        .count();
    assert_eq!(asked + told, 40, "{lines:#?}");
    assert_eq!(twitter.requests().len(), asked);
    assert!(asked < 16, "those under way, and few more: {asked}");
}

#[test]
fn too_many_questions_without_a_time_is_passed_on_and_asked_again() {
    let twitter = StubTwitter::start(|_| Answer::Full(429, b"{\"errors\":[1]}".to_vec()));
    let (_herd, mut client) = started(with_token(blake("2", &origin(twitter.address))));
    for number in 0..4 {
        assert_eq!(
            ask(&mut client, "1", 1),
            "{\"errors\":[1]}",
            "question {number}"
        );
    }
    assert_eq!(twitter.requests().len(), 4);
    // Then it is as one that is down.
    wait_until("it is left alone for a while", || {
        ask(&mut client, "1", 1).contains("times in a row")
    });
}

// ---- the breaker

#[test]
fn a_twitter_that_is_gone_is_tried_now_and_then_and_found_when_it_is_back() {
    let address = free_addresses(1)[0];
    let (mut herd, mut client) = started(blake("1.0", &origin(address)));
    wait_until("the breaker opens", || {
        let error = error_text(&ask(&mut client, "1", 1));
        assert!(!error.contains("in time"), "{error}");
        error.contains("times in a row; it is asked again in")
    });
    let twitter = StubTwitter::start_at(address, |_| Answer::ok("{\"well\":1}"));
    wait_until("Twitter is found again", || {
        ask(&mut client, "1", 1) == "{\"well\":1}"
    });
    for _ in 0..9 {
        assert_eq!(ask(&mut client, "1", 1), "{\"well\":1}");
    }
    assert_eq!(twitter.requests().len(), 10);
    let [stopped, resumed] = told_of_twitter(&mut herd);
    let begins = "Blake: Twitter is not asked for now: it could not be reached 5 times in a row, \
        the last time: ";
    assert!(stopped.starts_with(begins), "{stopped}");
    assert_eq!(resumed, "Blake: Twitter answers again");
}

#[test]
fn a_twitter_that_hangs_costs_one_client_at_a_time_its_patience_and_the_others_none() {
    let well = Arc::new(AtomicBool::new(false));
    let is_well = Arc::clone(&well);
    let twitter = StubTwitter::start(move |_| match is_well.load(Ordering::Relaxed) {
        true => Answer::ok("{\"well\":1}"),
        false => Answer::Never,
    });
    let (herd, mut client) = started(blake("1.0", &origin(twitter.address)));
    let mut first: Vec<_> = (0..5).map(|_| herd.client("Blake")).collect();
    for (number, client) in first.iter_mut().enumerate() {
        let radius = format!("{}", 20 + number);
        begin(client, &radius, 1);
    }
    for client in &mut first {
        error_text(&answer(client));
    }
    // Those answers are the node's, which has deadlines too; what the workers found out may come a
    // little later.
    let mut probes = Vec::new();
    wait_until("one question tries, the others are told at once", || {
        let mut probe = herd.client("Blake");
        probe.send(b"WHERE\nWHATSAT k 5 1\n");
        assert_eq!(probe.line(), "? WHERE"); // so it has asked, too
        probes.push(probe);
        error_text(&ask(&mut client, "2", 1)).contains("another question is trying it")
    });
    for number in 100..120 {
        let began = Instant::now();
        error_text(&ask(&mut client, &number.to_string(), 1));
        let took = began.elapsed();
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
    for request in twitter.requests() {
        let place = request.parameters("geocode").concat();
        assert!(!place.contains(",1"), "it is asked all the same: {place}");
    }
    well.store(true, Ordering::Relaxed);
    wait_until("Twitter is found again", || {
        ask(&mut client, "3", 1) == "{\"well\":1}"
    });
}

/// What does not ask Twitter must not say that it is there.
#[test]
fn a_question_that_is_too_long_does_not_hold_the_breaker_closed() {
    let (mut herd, mut client) = started(blake("1.0", &origin(free_addresses(1)[0])));
    let long = "9".repeat(65_500);
    wait_until("the breaker opens", || {
        error_text(&ask(&mut client, &long, 1));
        error_text(&ask(&mut client, "1", 1)).contains("times in a row")
    });
    for _ in 0..4 {
        let error = error_text(&ask(&mut client, &long, 1));
        assert!(error.contains("an address of at most"), "{error}");
    }
    let process = herd.process("Blake");
    wait_until("the operator hears that Twitter is gone", || {
        process
            .said()
            .contains("could not be reached 5 times in a row")
    });
    let said = process.said();
    assert!(!said.contains("answers again"), "{said}");
}

/// Somebody else who answers is not Twitter.
#[test]
fn neither_a_proxy_nor_one_who_speaks_no_http_is_a_twitter_that_answers() {
    let stub = StubTwitter::start(|request| match request.line.starts_with("CONNECT ") {
        true => Answer::Full(502, Vec::new()),
        false => Answer::Raw(b"SSH-2.0\r\n\r\n".to_vec()),
    });
    let mut behind = with_token(blake("2", "https://api.example.com"));
    set(&mut behind, "HTTPS_PROXY", &origin(stub.address));
    for (herd, why) in [
        (behind, "CONNECT proxy failed"),
        (blake("1.0", &origin(stub.address)), "protocol: "),
    ] {
        let (_herd, mut client) = started(herd);
        for number in 0..5 {
            let error = error_text(&ask(&mut client, "1", 1));
            assert!(error.contains(why), "question {number}: {error}");
        }
        wait_until("it is left alone for a while", || {
            error_text(&ask(&mut client, "1", 1)).contains("times in a row")
        });
    }
}

// ---- the cache

#[test]
fn an_answer_serves_those_who_ask_the_same_if_that_is_wanted() {
    for (seconds, requests) in [(None, 6), (Some("3600"), 4)] {
        let twitter = StubTwitter::start(|request| {
            let number = request.number;
            match request.parameters("rpp").concat().as_str() {
                "9" => Answer::Full(500, format!("{{\"error\":\"{number}\"}}").into()),
                _ => Answer::ok(format!("{{\"answer\":{number}}}")),
            }
        });
        let mut herd = blake("1.0", &origin(twitter.address));
        if let Some(seconds) = seconds {
            argue(&mut herd, "--twitter-cache", seconds);
        }
        let (herd, mut client) = started(herd);
        let first = ask(&mut client, "1", 1);
        assert_eq!(first, "{\"answer\":0}");
        // Another client, and another spelling of the same.
        let mut other = herd.client("Blake");
        for radius in ["1", "01.0"] {
            let line = ask(&mut other, radius, 1);
            assert_eq!(line == first, seconds.is_some(), "{seconds:?}: {line}");
        }
        let another = ask(&mut client, "1", 2);
        assert_ne!(another, first, "it asks for something else");
        // An error is no answer to keep.
        assert_ne!(ask(&mut client, "1", 9), ask(&mut client, "1", 9));
        assert_eq!(twitter.requests().len(), requests, "{seconds:?}");
    }
}

// ---- length

/// The longest address that is asked.
const URL_BYTES_MAX: usize = 8_000;

#[test]
fn a_long_question_is_asked_and_a_long_head_is_read() {
    let x = "x".repeat(30_000);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: {x}\r\n\r\n");
    let long = Answer::Raw((head + "{}").into_bytes());
    let twitter = StubTwitter::start(move |_| long.clone());
    let (_herd, mut client) = started(blake("1.0", &origin(twitter.address)));
    let address = |latitude: &str, radius: &str| {
        let url = twitter.url();
        format!("{url}?q=&geocode={latitude}%2C0%2C{radius}km&rpp=2")
    };
    let room = URL_BYTES_MAX - address("0.", "7").len();
    for (digits, is_asked) in [(room, true), (room + 1, false), (65_500, false)] {
        let digits = "1".repeat(digits);
        let before = twitter.requests().len();
        client.say(&format!("IAMAT k +00.{digits}+000 2"));
        assert!(client.line().starts_with("AT Blake +"));
        let line = ask(&mut client, "7", 2);
        let requests = twitter.requests();
        match &requests[before..] {
            [request] if is_asked => {
                assert_eq!(line, "{}");
                let target = format!("{}{}", origin(twitter.address), request.target());
                assert_eq!(target, address(&format!("0.{digits}"), "7"));
                assert_eq!(target.len(), URL_BYTES_MAX);
            }
            [] if !is_asked => {
                let error = error_text(&line);
                assert!(
                    error.contains("an address of at most 8000 bytes"),
                    "{error}"
                );
            }
            other => panic!("{} digits, {} requests: {line}", digits.len(), other.len()),
        }
    }
}

/// What Twitter names may be another port of this machine, which nobody but this machine is to reach.
#[test]
fn no_redirect_is_followed_and_its_body_is_no_answer() {
    let elsewhere = StubTwitter::start(|_| Answer::ok("{\"secret\":1}"));
    for target in [origin(elsewhere.address), "/elsewhere".to_owned()] {
        for status in [300, 301, 302, 303, 307, 308] {
            let location = target.clone();
            let twitter = StubTwitter::start(move |_| {
                Answer::with(status, &[("Location", &location)], "{\"well\":1}")
            });
            let (_herd, mut client) = started(blake("1.0", &origin(twitter.address)));
            let line = ask(&mut client, "1", 1);
            let why = format!("its answer is a redirect (HTTP status {status}), which is not");
            assert!(error_text(&line).contains(&why), "{line}");
            assert_eq!(twitter.requests().len(), 1);
        }
    }
    assert_eq!(elsewhere.requests().len(), 0);
}
