//! Requests as they come over a connection, and those that are none.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::connection_id::ConnectionId;

/// What comes of `bytes`, `chunk` at a time.
fn steps(bytes: &[u8], chunk: usize) -> Vec<Step<'_>> {
    let (mut codec, mut steps) = (Codec::default(), Vec::new());
    let (now, mut handled, mut come) = (Instant::now(), 0, 0);
    while come < bytes.len() {
        come = bytes.len().min(come + chunk);
        loop {
            let mut rest = &bytes[handled..come];
            let step = codec.next(&mut rest, now);
            handled = come - rest.len();
            match step {
                Step::More => break,
                step => steps.push(step),
            }
        }
    }
    steps
}

/// The only step that comes of `text`, however it is chopped.
fn step(text: &[u8]) -> Step<'_> {
    let mut whole = steps(text, text.len());
    for chunk in [1, 2, 3, 7] {
        assert_eq!(steps(text, chunk), whole, "{}", text.escape_ascii());
    }
    assert_eq!(whole.len(), 1, "{}: {whole:?}", text.escape_ascii());
    whole.remove(0)
}

fn request(text: &str) -> Request<'_> {
    match step(text.as_bytes()) {
        Step::Request(request) => request,
        step => panic!("{step:?} for {text:?}"),
    }
}

#[test]
fn requests() {
    use Method::{Delete, Get, Head, Options, Other, Post, Put};
    for (text, want) in [
        (
            "GET /a?q=&x=%20 HTTP/1.1\r\nHost: h\r\n\r\n",
            (Get, "/a", "q=&x=%20", true),
        ),
        ("HEAD / HTTP/1.1\r\nhOST:\r\n\r\n", (Head, "/", "", true)),
        (
            "\r\n\r\nPOST /? HTTP/1.1\r\nHost: h\r\n\r\n",
            (Post, "/", "", true),
        ),
        (
            "PUT /a??b=? HTTP/1.1\r\nHost: h\r\nConnection: x, CLOSE\r\n\r\n",
            (Put, "/a", "?b=?", false),
        ),
        ("DELETE / HTTP/1.0\r\n\r\n", (Delete, "/", "", false)),
        (
            "OPTIONS / HTTP/1.0\r\nconnection: a\r\nConnection: Keep-Alive\r\n\r\n",
            (Options, "/", "", true),
        ),
        (
            "get / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, close\r\n\r\n",
            (Other, "/", "", false),
        ),
        (
            "GET HTTP://a:80/a/b?c HTTP/1.1\r\nHost: h\r\n\r\n",
            (Get, "/a/b", "c", true),
        ),
        (
            "GET https://a?c HTTP/1.1\r\nHost: h\r\n\r\n",
            (Get, "/", "c", true),
        ),
        (
            "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 00\r\n\r\n",
            (Get, "/", "", true),
        ),
    ] {
        let found = request(text);
        let (path, query) = (found.path, found.query);
        assert_eq!(
            (found.method, path, query, found.manner.keep_alive),
            want,
            "{text:?}"
        );
        assert_eq!(found.manner.head_only, found.method == Head);
        let hosts = [None, Some("h"), Some(""), Some("a"), Some("a:80")];
        assert!(hosts.contains(&found.host), "{text:?}");
        assert_eq!(found.host == Some("a:80"), path == "/a/b", "{text:?}");
    }
    let one = request("GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\na:é \r\n\r\n");
    assert_eq!((one.text("A"), one.values("a").count()), (Some("1"), 2));
}

#[test]
fn bodies() {
    let head = |fields: &str| format!("POST /a HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n");
    let chunked = head("Transfer-encoding: CHUNKED");
    let many = "1\r\nx\r\n".repeat(5_000);
    for (text, body) in [
        (
            head("content-length: 5") + "a\r\n\0b",
            "a\r\n\0b".to_owned(),
        ),
        (chunked.clone() + "0\r\n\r\n", String::new()),
        (
            chunked.clone() + "000a;x=\"y\";z\r\n0123456789\r\n2\r\n\r\n\r\n0\r\n\r\n",
            "0123456789\r\n".into(),
        ),
        (
            chunked.clone() + "1\r\na\r\n1\r\nb\r\n00;\r\nX: y\r\nZ:\r\n\r\n",
            "ab".into(),
        ),
        (chunked.clone() + &many + "0\r\n\r\n", "x".repeat(5_000)),
    ] {
        assert_eq!(*request(&text).body, *body.as_bytes(), "{text:?}");
    }
    let large = "x".repeat(BODY_BYTES_MAX);
    let length = head(&format!("Content-Length: {BODY_BYTES_MAX}"));
    let texts = [
        length + &large,
        format!("{chunked}{BODY_BYTES_MAX:x}\r\n{large}\r\n0\r\n\r\n"),
    ];
    for text in texts {
        let mut steps = steps(text.as_bytes(), 64 * 1024);
        let Some(Step::Request(request)) = steps.pop() else {
            panic!("it is a request");
        };
        assert!(*request.body == *large.as_bytes());
    }
}

#[test]
fn refusals() {
    let many = "A: b\r\n".repeat(HEADERS_MAX);
    let long = "x".repeat(HEAD_BYTES_MAX);
    let get = |fields: &str| format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n");
    let chunks = |body: &str| get("Transfer-Encoding: chunked") + body;
    let tiny = "1\r\nx\r\n".repeat(BODY_BYTES_MAX / 4);
    for (text, want) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (get("Host: h"), 400),
        ("GET /\r\n\r\n".into(), 400),
        ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n".into(), 400),
        ("GET /  HTTP/1.1\r\nHost: h\r\n\r\n".into(), 400),
        (" GET / HTTP/1.1\r\nHost: h\r\n\r\n".into(), 400),
        ("IAMAT kiwi +27.5916+086.5640 1\n".into(), 400),
        ("GET / HTTP/1.1\nHost: h\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: h\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: h\r\n\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: h\rA: b\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: h\r\r\n\r\n".into(), 400),
        ("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n".into(), 400),
        (get(" folded"), 400),
        (get("A:\r\n folded"), 400),
        (get("A: b\r\n\tfolded"), 400),
        (get("A : b"), 400),
        (get("A\t: b"), 400),
        (get(": b"), 400),
        (get("A"), 400),
        (get("A: b\0"), 400),
        (get("A: b\x0b"), 400),
        ("GET * HTTP/1.1\r\nHost: h\r\n\r\n".into(), 400),
        ("GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n".into(), 400),
        ("GET http:///a HTTP/1.1\r\nHost: h\r\n\r\n".into(), 400),
        ("GET http://u@h/a HTTP/1.1\r\nHost: h\r\n\r\n".into(), 400),
        ("GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n".into(), 400),
        ("CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".into(), 400),
        (get("Content-Length: 1\r\nContent-Length: 2"), 400),
        (get("Content-Length: 1\r\nContent-Length: 1"), 400),
        (get("Content-Length: 1, 1"), 400),
        (get("Content-Length: -0"), 400),
        (get("Content-Length: +1"), 400),
        (get("Content-Length: 0x1"), 400),
        (get("Content-Length:"), 400),
        (get("Content-Length: 1\r\nTransfer-Encoding: chunked"), 400),
        (get("Transfer-Encoding: chunked\r\nContent-Length: 0"), 400),
        (get("Transfer-Encoding: chunked, chunked"), 400),
        (
            get("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
            400,
        ),
        (get("Transfer-Encoding:"), 400),
        (
            "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
            400,
        ),
        (get("Transfer-Encoding: gzip, chunked"), 501),
        (get("Transfer-Encoding: xchunked"), 501),
        (get("Transfer-Encoding: chunked;a=b"), 501),
        (get("Content-Length: 1048577"), 413),
        (get("Content-Length: 99999999999999999999999"), 413),
        (get("Expect: a miracle"), 417),
        (chunks("\r\n"), 400),
        (chunks("x\r\n"), 400),
        (chunks("+1\r\n"), 400),
        (chunks("0x1\r\n"), 400),
        (chunks("1 \r\n"), 400),
        (chunks(" 1\r\n"), 400),
        (chunks("1;a\x01\r\n"), 400),
        (chunks("1\n"), 400),
        (chunks("1;a\rb\r\n"), 400),
        (chunks("1\r\nab"), 400),
        (chunks("1\r\na\n"), 400),
        (chunks("1\r\na\rb"), 400),
        (chunks(&format!("1;{}\r\n", "x".repeat(255))), 400),
        (chunks("0\r\nA : b\r\n\r\n"), 400),
        (chunks("0\r\nA: b\r\n c\r\n\r\n"), 400),
        (chunks("0\r\nA: b\n"), 400),
        (chunks("100001\r\n"), 413),
        (chunks("ffffffffffffffffffff\r\n"), 413),
        (chunks(&tiny), 413),
        (chunks(&format!("0\r\nA: {long}\r\n")), 431),
        (chunks(&format!("0\r\n{many}\r\n")), 431),
        ("GET / HTTP/2.0\r\nHost: h\r\n\r\n".into(), 505),
        ("PRI * HTTP/2.0\r\n\r\n".into(), 505),
        ("GET / HTTP/11\r\n\r\n".into(), 400),
        ("GET / SMTP/1.1\r\n\r\n".into(), 400),
        (get(&many), 431),
        (format!("GET /{long} HTTP/1.1\r\n"), 414),
        (format!("GET / HTTP/1.1\r\nA: {long}\r\nB: {long}\r\n"), 431),
    ] {
        // Nothing that comes behind it is taken for a request.
        let behind = text + "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
        let Step::Refuse(refusal) = step(behind.as_bytes()) else {
            panic!("{} is refused", behind.escape_debug());
        };
        assert_eq!(refusal.status, want, "{}", behind.escape_debug());
        assert!(!reason(refusal.status).is_empty());
    }
}

#[test]
fn heads_just_within_their_limits() {
    let line = |bytes: usize| {
        format!(
            "GET /{} HTTP/1.0",
            "a".repeat(bytes - "GET / HTTP/1.0".len())
        )
    };
    let around = "\r\nA:\r\n\r\n".len();
    let most = HEAD_BYTES_MAX - around;
    for (line_bytes, left, status) in [
        (most, 0, None),
        (most - 1, 1, None),
        (100, most - 100, None),
        (100, most - 99, Some(431)),
        (100, most - 98, Some(431)),
        (100, most - 97, Some(431)),
        (most, 1, Some(431)),
        (most + 1, 0, Some(431)),
        (HEAD_BYTES_MAX, 0, Some(431)),
        (HEAD_BYTES_MAX + 1, 0, Some(414)),
    ] {
        let text = format!("{}\r\nA:{}\r\n\r\n", line(line_bytes), "b".repeat(left));
        let found = match step(text.as_bytes()) {
            Step::Refuse(refusal) => Some(refusal.status),
            _ => None,
        };
        assert_eq!(found, status, "{line_bytes} {left}");
    }
}

#[test]
fn requests_follow_each_other_until_the_last() {
    let text = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nGET\
        GET /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nGET\r\n0\r\n\r\n\
        \r\nGET /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n\
        GET /d HTTP/1.1\r\nHost: h\r\n\r\n";
    for chunk in 1..=text.len() {
        let steps = steps(text, chunk);
        let paths = steps.iter().map(|step| match step {
            Step::Request(request) => (request.path, &*request.body),
            step => panic!("{step:?}"),
        });
        let paths: Vec<_> = paths.collect();
        assert_eq!(paths, [("/a", &b"GET"[..]), ("/b", b"GET"), ("/c", b"")]);
    }
}

#[test]
fn who_waits_to_send_the_body_is_told_once() {
    let head = "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\n";
    for (text, told) in [
        (format!("{head}Content-Length: 2\r\n\r\nab"), true),
        (
            format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"),
            true,
        ),
        (format!("{head}Content-Length: 0\r\n\r\n"), false),
        (
            "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na".into(),
            false,
        ),
    ] {
        for chunk in 1..=text.len() {
            let steps = steps(text.as_bytes(), chunk);
            assert_eq!(steps.len(), 1 + usize::from(told), "{text:?}");
            assert_eq!(steps[0] == Step::Continue, told, "{text:?}");
            assert!(matches!(steps.last(), Some(Step::Request(_))), "{text:?}");
        }
    }
    // One that is too large is not sent for.
    let large = format!("{head}Content-Length: {}\r\n\r\n", BODY_BYTES_MAX + 1);
    assert!(matches!(
        step(large.as_bytes()),
        Step::Refuse(Refusal { status: 413, .. })
    ));
}

#[test]
fn a_client_has_so_long_for_a_request_and_so_long_between_two() {
    let start = Instant::now();
    let mut codec = Codec::default();
    assert_eq!(codec.deadline(), None);
    codec.idle_from(start);
    let idle = start + KEEP_ALIVE_MAX;
    let mut early = &b"\r\n"[..];
    assert_eq!(codec.next(&mut early, start + REQUEST_MAX), Step::More);
    assert!(early.is_empty());
    assert_eq!(codec.deadline(), Some(idle), "nothing has begun");
    let mut late = Codec::default();
    late.idle_from(start);
    assert_eq!(late.time_out(idle - Duration::from_nanos(1)), None);
    assert_eq!(late.time_out(idle), Some(Timeout::Close));
    assert_eq!(late.time_out(idle), None);
    let text =
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nxGET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let body = text.len() - "xGET / HTTP/1.1\r\nHost: h\r\n\r\n".len();
    let mut bytes = &text[..body - 2];
    assert_eq!(codec.next(&mut bytes, idle), Step::More);
    let mut bytes = &text[..body];
    let over = idle + REQUEST_MAX;
    assert_eq!(codec.next(&mut bytes, over), Step::More);
    assert_eq!(
        codec.deadline(),
        Some(over),
        "each byte does not begin it anew"
    );
    let mut bytes = &text[..body + 4];
    assert!(matches!(codec.next(&mut bytes, over), Step::Request(_)));
    assert_eq!(codec.deadline(), None, "the client waits for us");
    assert_eq!(codec.next(&mut bytes, over), Step::More);
    let Some(Timeout::Refuse(refusal)) = codec.time_out(over + REQUEST_MAX) else {
        panic!("its time is over");
    };
    assert_eq!(refusal.status, 408);
    let mut bytes = &text[body + 1..];
    assert_eq!(
        codec.next(&mut bytes, over),
        Step::More,
        "it comes too late"
    );
    assert!(bytes.is_empty());
}

#[test]
fn no_deadline_is_missed_though_none_is_taken_back() {
    let start = Instant::now();
    let id = ConnectionId { serial: 1, slot: 1 };
    let second = Duration::from_secs(1);
    for begins in 0..60 {
        // The request begins at some second, and no look is later than the end of its time.
        let mut deadlines = Deadlines::default();
        let (idle, over) = (
            start + KEEP_ALIVE_MAX,
            start + second * begins + REQUEST_MAX,
        );
        deadlines.push(id, Some(idle), start);
        let closed = loop {
            let now = deadlines.next().expect("it is looked at");
            assert_eq!(deadlines.due(now - Duration::from_nanos(1)), None);
            assert_eq!(deadlines.due(now), Some(id));
            let has_begun = now >= start + second * begins;
            let deadline = if has_begun { over } else { idle };
            if deadline <= now {
                break now;
            }
            deadlines.push(id, Some(deadline), now);
        };
        assert_eq!(closed, over);
    }
}

proptest! {
    #[test]
    fn hostile_bytes_give_the_same_however_they_are_chopped(
        lines in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..20),
                "(GET|HEAD|POST|PUT) /[ -~]{0,8} HTTP/1.[012]\r?\n".prop_map(String::into_bytes),
                "(Host|Content-Length|Connection|Expect|Transfer-Encoding|X) ?: ?[ -~]{0,9}\r?\n"
                    .prop_map(String::into_bytes),
                "Content-Length: [0-9]\r\n".prop_map(String::into_bytes),
                "(GET|POST) / HTTP/1.1\r\nHost: h\r\n(Transfer-Encoding: chunked\r\n)?".prop_map(String::into_bytes),
                "[0-3]\r\n[a-c]{0,3}\r\n".prop_map(String::into_bytes),
                Just(b"\r\n".to_vec()),
            ],
            0..20,
        ),
        chunk in 1..9_usize,
    ) {
        let text = lines.concat();
        prop_assert_eq!(steps(&text, chunk), steps(&text, text.len().max(1)));
    }
}
