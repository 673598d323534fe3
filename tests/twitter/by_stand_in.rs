//! The stand-in, asked by a server and by hand.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::stand_in::StandIn;
use crate::stub_twitter::{Answer, StubTwitter, response};
use crate::{blake_asking_at, error_text, shown};

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
