//! Requests that are none, or that two readers could read in two ways: each is refused, and ends its connection
//! (contract, section 7), over real sockets.

#[path = "support/http.rs"]
mod http;
mod support;

use http::Http;
use support::Herd;

fn one() -> Herd {
    let mut herd = Herd::with_http(&[("Blake", &[])]);
    herd.start_all();
    herd
}

#[test]
fn a_malformed_request_is_refused_and_ends_the_connection() {
    let herd = one();
    for (request, want) in [
        ("GET /livez HTTP/1.1\nHost: localhost\n\n", 400),
        ("GET /livez HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        (
            "GET /livez HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n",
            400,
        ),
        (
            "POST /v1/clients/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            400,
        ),
        (
            "POST /v1/clients/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
            400,
        ),
        (
            "POST /v1/clients/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1048577\r\n\r\n",
            413,
        ),
        ("GET /livez HTTP/1.1\r\n\r\n", 400),
        (
            "IAMAT kiwi +27.5916+086.5640 1353118103.108893381\r\n\r\n",
            400,
        ),
    ] {
        let mut http = Http::connect(herd.http("Blake"));
        http.client.send(request.as_bytes());
        http.client
            .send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let reply = http.reply();
        assert_eq!(reply.status, want, "{request}");
        assert_eq!(reply.field("connection"), Some("close"));
        http.client.expect_end();
    }
    let mut http = Http::connect(herd.http("Blake"));
    let long = "x".repeat(16 * 1024);
    http.client
        .send(format!("GET / HTTP/1.1\r\nHost: h\r\nX: {long}\r\n\r\n").as_bytes());
    assert_eq!(http.reply().status, 431);
}

/// Requests in which another reader, say a proxy before the server, could see the next request where the server does
/// not (RFC 9112 section 11.2).
#[test]
fn no_request_is_smuggled_in_another() {
    let herd = one();
    let inner = r#"{"latitude":1,"longitude":2}"#;
    let smuggled = format!(
        "POST /v1/clients/smuggled HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{inner}",
        inner.len()
    );
    let post = |fields: &str, body: &str| {
        format!(
            "POST /v1/clients/a HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n{body}{smuggled}"
        )
    };
    let chunks = |body: &str| post("Transfer-Encoding: chunked", body);
    let length = format!("Content-Length: {}", smuggled.len());
    for (request, want) in [
        // Two lengths, alike or not, in two fields or in one.
        (post(&format!("Content-Length: 0\r\n{length}"), ""), 400),
        (post(&format!("{length}\r\nContent-Length: 0"), ""), 400),
        (post(&format!("{length}\r\n{length}"), ""), 400),
        (post("Content-Length: 0, 0", ""), 400),
        // A length that is none.
        (post("Content-Length: +0", ""), 400),
        (post("Content-Length: -0", ""), 400),
        (post("Content-Length: 0x0", ""), 400),
        (post("Content-Length: 0 0", ""), 400),
        (post("Content-Length:", ""), 400),
        // A length and chunks, in either order and however they are written.
        (
            post(
                &format!("{length}\r\nTransfer-Encoding: chunked"),
                "0\r\n\r\n",
            ),
            400,
        ),
        (
            post(
                &format!("Transfer-Encoding: chunked\r\n{length}"),
                "0\r\n\r\n",
            ),
            400,
        ),
        (
            post(
                "Transfer-Encoding: chunked\r\nContent-length: 4",
                "0\r\n\r\n",
            ),
            400,
        ),
        (post("Transfer-Encoding:\r\nContent-Length: 0", ""), 400),
        (
            post(&format!("{length}\r\nTransfer-Encoding: identity"), ""),
            400,
        ),
        // Codings that some take for chunks and some do not.
        (
            post(
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                "0\r\n\r\n",
            ),
            400,
        ),
        (
            post("Transfer-Encoding: chunked, chunked", "0\r\n\r\n"),
            400,
        ),
        (
            post("Transfer-Encoding: chunked, identity", "0\r\n\r\n"),
            501,
        ),
        (post("Transfer-Encoding: xchunked", "0\r\n\r\n"), 501),
        (post("Transfer-Encoding: \"chunked\"", "0\r\n\r\n"), 501),
        (post("Transfer-Encoding: chunked\x0b", "0\r\n\r\n"), 400),
        (post("Transfer-Encoding: chunked\0", "0\r\n\r\n"), 400),
        // Names that end elsewhere than at the colon, and lines that go on.
        (post("Transfer-Encoding : chunked", "0\r\n\r\n"), 400),
        (post("Transfer-Encoding\t: chunked", "0\r\n\r\n"), 400),
        (post("Content-Length : 0", ""), 400),
        (post("Content Length: 0", ""), 400),
        (
            post("X: y\r\n Transfer-Encoding: chunked", "0\r\n\r\n"),
            400,
        ),
        (post("Transfer-Encoding:\r\n chunked", "0\r\n\r\n"), 400),
        (post("Content-Length:\r\n\t0", ""), 400),
        (post(" Content-Length: 0", ""), 400),
        // Lines that end with LF or CR alone.
        (post("X: y\nTransfer-Encoding: chunked", "0\r\n\r\n"), 400),
        (post("X: y\rTransfer-Encoding: chunked", "0\r\n\r\n"), 400),
        (post("X: y\n", ""), 400),
        (post("X: y\r\r\n", ""), 400),
        // Chunks of no size, of two, with another end, and fields behind them that are none.
        (chunks("0x0\r\n\r\n"), 400),
        (chunks("+0\r\n\r\n"), 400),
        (chunks(" 0\r\n\r\n"), 400),
        (chunks("0 \r\n\r\n"), 400),
        (chunks("0\n\n"), 400),
        (chunks("0;a\nb\r\n\r\n"), 400),
        (chunks("1\r\nxy\r\n0\r\n\r\n"), 400),
        (chunks("1\r\nx\n0\r\n\r\n"), 400),
        (chunks("0\r\nX : y\r\n\r\n"), 400),
        (chunks("0\r\nX: y\n\r\n"), 400),
        (chunks("100000000000000000\r\n\r\n"), 413),
        // Hosts.
        (post("Host: localhost\r\nContent-Length: 0", ""), 400),
    ] {
        let mut http = Http::connect(herd.http("Blake"));
        http.client.send(request.as_bytes());
        let reply = http.reply();
        assert_eq!(reply.status, want, "{request:?}");
        assert_eq!(reply.field("connection"), Some("close"), "{request:?}");
        http.client.expect_end();
    }
    // HTTP/1.0 knows no chunks.
    let mut http = Http::connect(herd.http("Blake"));
    let old = chunks("0\r\n\r\n").replacen("HTTP/1.1", "HTTP/1.0", 1);
    http.client.send(old.as_bytes());
    assert_eq!(http.reply().status, 400);
    http.client.expect_end();
    let mut http = Http::connect(herd.http("Blake"));
    assert_eq!(http.get("/v1/clients/smuggled").status, 404);
    http.client.send(smuggled.as_bytes());
    assert_eq!(http.reply().status, 200, "it would have been taken");
}
