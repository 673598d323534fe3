//! Tweets over HTTP (contract, section 7: `/v1/clients/ID/tweets`), with a Twitter that does as the test says.

#[path = "support/http.rs"]
mod http;
#[path = "support/stub_twitter.rs"]
mod stub_twitter;
mod support;

use http::{Http, get};
use stub_twitter::{Answer, Gate, StubTwitter};
use support::{Herd, wait_until};

fn blake_asking(twitter: &StubTwitter) -> Herd {
    let mut herd = Herd::with_http(&[("Blake", &[])]);
    herd.twitter_url = twitter.url();
    herd.start_all();
    let at = herd.ask("Blake", "IAMAT k +27.5916+086.5640 1");
    assert!(at.starts_with("AT "), "{at}");
    herd
}

#[test]
fn tweets_come_as_twitter_sent_them_beside_the_location() {
    let twitter = StubTwitter::start(|_| Answer::ok("{\"results\": [ {\"id\":1.50} ]}\n"));
    let herd = blake_asking(&twitter);
    let address = herd.http("Blake");
    let reply = get(address, "/v1/clients/k/tweets");
    assert_eq!(reply.status, 200);
    let location = get(address, "/v1/clients/k").text();
    let want =
        format!("{{\"location\":{location},\"tweets\":{{\"results\": [ {{\"id\":1.50}} ]}}}}");
    assert_eq!(reply.text(), want);
    let asked = &twitter.requests()[0];
    assert_eq!(asked.parameters("geocode"), ["27.5916,86.564,10km"]);
    assert_eq!(asked.parameters("rpp"), ["15"]);
    assert_eq!(
        get(address, "/v1/clients/k/tweets?radius=0.5&limit=100").status,
        200
    );
    let asked = &twitter.requests()[1];
    assert_eq!(asked.parameters("geocode"), ["27.5916,86.564,0.5km"]);
    assert_eq!(asked.parameters("rpp"), ["100"]);
    assert_eq!(get(address, "/v1/clients/nobody/tweets").status, 404);
    for query in ["limit=101", "radius=-1", "radius=1%202", "limit=", "size=1"] {
        let reply = get(address, &format!("/v1/clients/k/tweets?{query}"));
        assert_eq!(reply.status, 400, "{query}");
        assert!(reply.json()["error"].is_string());
    }
    assert_eq!(twitter.requests().len(), 2);
}

#[test]
fn an_error_is_502_whoever_made_it() {
    let twitter = StubTwitter::start(|request| match request.parameters("rpp")[0].as_str() {
        "1" => Answer::with(403, &[], "{\"error\":\"not for you\"}"),
        "2" => Answer::with(420, &[], "{\"error\":\"calm\",\"request\":\"/x\"}"),
        _ => Answer::with(500, &[], "<html>"),
    });
    let herd = blake_asking(&twitter);
    let ask = |limit| {
        get(
            herd.http("Blake"),
            &format!("/v1/clients/k/tweets?limit={limit}"),
        )
    };
    let reply = ask(1);
    assert_eq!(
        (reply.status, &reply.text()[..]),
        (502, "{\"error\":\"not for you\"}")
    );
    let reply = ask(2);
    let want = "{\"error\":{\"error\":\"calm\",\"request\":\"/x\"}}";
    assert_eq!((reply.status, &reply.text()[..]), (502, want));
    let reply = ask(3);
    assert_eq!(reply.status, 502);
    assert!(
        reply.json()["error"]
            .as_str()
            .expect("a text")
            .contains("Twitter")
    );
}

#[test]
fn responses_keep_the_order_of_their_requests() {
    let gate = Gate::closed();
    let held = gate.clone();
    let twitter = StubTwitter::start(move |request| match request.parameters("rpp")[0].as_str() {
        "1" => Answer::ok("{\"results\":[1]}").after(&held),
        _ => Answer::ok("{\"results\":[2]}"),
    });
    let herd = blake_asking(&twitter);
    let mut http = Http::connect(herd.http("Blake"));
    http.send("GET", "/v1/clients/k/tweets?limit=1", "", b"");
    http.send("GET", "/v1/clients/k/tweets?limit=2", "", b"");
    http.send("GET", "/livez", "", b"");
    http.send(
        "GET",
        "/v1/clients/k/tweets?limit=3",
        "Connection: close\r\n",
        b"",
    );
    twitter.wait_for_requests(3);
    assert_eq!(
        get(herd.http("Blake"), "/livez").status,
        200,
        "others do not wait"
    );
    gate.open();
    assert!(http.reply().text().contains("\"results\":[1]"));
    assert!(http.reply().text().contains("\"results\":[2]"));
    assert_eq!(http.reply().text(), "{\"status\":\"ok\"}");
    assert!(http.reply().text().contains("\"results\":[2]"));
    http.client.expect_end();
}

#[test]
fn a_long_answer_is_shared_by_all_who_asked_for_it() {
    const CONNECTIONS: usize = 15;
    const EACH: usize = 16; // as many questions as a connection may have waiting
    const PATH: &str = "/v1/clients/k/tweets";
    let tweets = format!("{{\"results\":[\"{}\"]}}", "x".repeat(1 << 20));
    let gate = Gate::closed();
    let (held, sent) = (gate.clone(), tweets.clone());
    let twitter = StubTwitter::start(move |_| Answer::ok(&*sent).after(&held));
    let mut herd = blake_asking(&twitter);
    let address = herd.http("Blake");
    let want = format!(
        "{{\"location\":{},\"tweets\":{tweets}}}",
        get(address, "/v1/clients/k").text()
    );
    let before = herd.process("Blake").resident_bytes();
    let mut all: Vec<_> = (0..CONNECTIONS).map(|_| Http::connect(address)).collect();
    for http in &mut all {
        http.send("HEAD", PATH, "", b"");
        (1..EACH).for_each(|_| http.send("GET", PATH, "", b""));
    }
    wait_until("all have asked", || {
        herd.log("Blake").matches(&format!("{PATH}\n")).count() == CONNECTIONS * EACH
    });
    gate.open();
    let length = want.len().to_string();
    for (number, http) in all.iter_mut().enumerate() {
        let head = http.head();
        assert_eq!(
            (head.status, head.field("content-length")),
            (200, Some(&length[..]))
        );
        assert!(http.reply().text() == want, "the first answer");
        if number == 0 {
            // Nearly all the others wait to be read: 200 MiB, were they copies.
            let grown = herd
                .process("Blake")
                .resident_bytes()
                .saturating_sub(before);
            assert!(grown < 32 << 20, "{grown} bytes");
        }
    }
    assert!(all[0].reply().text() == want, "a later answer");
    assert_eq!(twitter.requests().len(), 1);
}

#[test]
fn a_client_that_leaves_takes_its_question_along() {
    let gate = Gate::closed();
    let held = gate.clone();
    let twitter = StubTwitter::start(move |_| Answer::ok("{\"results\":[]}").after(&held));
    let herd = blake_asking(&twitter);
    for _ in 0..40 {
        let mut http = Http::connect(herd.http("Blake"));
        http.send("GET", "/v1/clients/k/tweets", "", b"");
        http.send("GET", "/v1/clients/k/tweets?limit=1", "", b"");
    }
    gate.open();
    assert_eq!(get(herd.http("Blake"), "/v1/clients/k/tweets").status, 200);
}
