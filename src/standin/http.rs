//! As much HTTP/1.1 as the stand-in for Twitter needs: request heads in, responses out.
//!
//! `standin::mod`, the stand-in's event loop, is the only caller: it feeds a [`Head`] the lines
//! that its reactor cut from a connection, answers each [`Request`] with [`write_response`], and
//! closes after a [`Step::Refuse`]. This room knows no socket and no clock (the date of a response
//! is an argument), and nothing of tweets. The rules are those of RFC 9110 and RFC 9112.

use chrono::DateTime;
use httparse::{EMPTY_HEADER, Header, Status};

/// A longer request line is refused with 414; RFC 9112 section 3 asks for at least 8,000.
pub const REQUEST_LINE_BYTES_MAX: usize = 8 * 1024;

/// A longer head, all its lines counted, is refused with 431.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// A head of more header fields is refused with 431.
pub const HEADERS_MAX: usize = 64;

const _: () = assert!(REQUEST_LINE_BYTES_MAX < HEAD_BYTES_MAX);

/// A longer body is refused with 413: the one form that is sent here has 29 bytes.
pub const BODY_BYTES_MAX: usize = 4 * 1024;

/// What the stand-in is asked to do; any other method is refused with 405.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Answer.
    Get,
    /// Answer without the body.
    Head,
    /// Take a form; the only method that may have a body.
    Post,
}

/// A request whose head is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// GET, HEAD or POST.
    pub method: Method,
    /// The path of the target, beginning with `/`, still percent-encoded.
    pub path: String,
    /// What follows the target's first `?`, still percent-encoded; empty if there is none.
    pub query: String,
    /// The first `Authorization` field, if it is text.
    pub authorization: Option<String>,
    /// So many bytes of body follow the head, at most [`BODY_BYTES_MAX`].
    pub body_bytes: usize,
    /// Whether the connection may carry another request after the response.
    pub keep_alive: bool,
}

/// What the caller is to do after a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Wait for the next line.
    More,
    /// Answer this, once its body has come; then the next head begins.
    Request(Request),
    /// Answer with an error and close: what follows cannot be told apart from a body.
    Refuse {
        /// The status of the response.
        status: u16,
        /// What is wrong, for the body of the response.
        message: &'static str,
    },
}

const fn refuse(status: u16, message: &'static str) -> Step {
    Step::Refuse { status, message }
}

/// The head of the request that is arriving on one connection; holds at most
/// [`HEAD_BYTES_MAX`] bytes, and none between two requests.
#[derive(Debug, Default)]
pub struct Head {
    bytes: Vec<u8>,
}

impl Head {
    /// Whether nothing of a request has come yet, so that closing now loses nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes the next line, without its LF; a CR at its end may be left on.
    ///
    /// Nothing is parsed until the head is complete: a head that drips in costs one pass.
    pub fn push_line(&mut self, line: &[u8]) -> Step {
        let is_blank = matches!(line, b"" | b"\r");
        if is_blank && self.bytes.is_empty() {
            return Step::More; // RFC 9112 section 2.2: left over from an old client's last request
        }
        let fits = if self.bytes.is_empty() {
            line.len() <= REQUEST_LINE_BYTES_MAX
        } else {
            self.bytes.len() + line.len() < HEAD_BYTES_MAX
        };
        if !fits {
            return self.line_too_long();
        }
        self.bytes.extend_from_slice(line);
        self.bytes.push(b'\n');
        if !is_blank {
            return Step::More;
        }
        let bytes = std::mem::take(&mut self.bytes);
        match parse(&bytes) {
            Ok(request) => Step::Request(request),
            Err(refusal) => refusal,
        }
    }

    /// What to do about a line of which the caller gave up waiting for the end.
    pub fn line_too_long(&mut self) -> Step {
        let is_request_line = self.bytes.is_empty();
        self.bytes = Vec::new();
        if is_request_line {
            refuse(414, "The request line is too long.")
        } else {
            refuse(431, "The request head is too large.")
        }
    }
}

/// Reads a head that ends in its blank line.
fn parse(bytes: &[u8]) -> Result<Request, Step> {
    let malformed = refuse(400, "This is not an HTTP/1.1 request.");
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    match head.parse(bytes) {
        // Fewer bytes than there are would mean a line with an LF in it: request smuggling.
        Ok(Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return Err(malformed),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(refuse(431, "The request has too many header fields."));
        }
        Err(httparse::Error::Version) if names_some_version(bytes) => {
            return Err(refuse(505, "Only HTTP/1.0 and HTTP/1.1 are spoken here."));
        }
        Err(_) => return Err(malformed),
    }
    let (Some(method), Some(target), Some(minor)) = (head.method, head.path, head.version) else {
        return Err(malformed);
    };
    let method = match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        _ => return Err(refuse(405, "Only GET and HEAD are answered here.")),
    };
    let body_bytes = body_bytes(method, head.headers)?;
    let hosts = values(head.headers, "host").count();
    if hosts > 1 || (hosts == 0 && minor == 1) {
        return Err(refuse(400, "HTTP/1.1 requires one Host header field.")); // RFC 9112, 3.2
    }
    let Some((path, query)) = path_and_query(target) else {
        return Err(refuse(
            400,
            "The request target is neither a path nor http.",
        ));
    };
    let has_option = |option: &str| {
        values(head.headers, "connection")
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|token| token.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
    };
    Ok(Request {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        authorization: values(head.headers, "authorization")
            .next()
            .and_then(|value| std::str::from_utf8(value).ok())
            .map(str::to_owned),
        body_bytes,
        keep_alive: !has_option("close") && (minor == 1 || has_option("keep-alive")),
    })
}

/// Whether the request line ends in a well-formed HTTP version, whichever (RFC 9112 section 2.3).
fn names_some_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or(bytes);
    let version = line.trim_ascii_end().rsplit(|byte| *byte == b' ').next();
    matches!(version, Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
        if major.is_ascii_digit() && minor.is_ascii_digit())
}

/// The length of the body. Refuses one whose end could not be told, or that is not for `method`.
fn body_bytes(method: Method, headers: &[Header<'_>]) -> Result<usize, Step> {
    const TOO_LARGE: Step = refuse(413, "A request with such a body is not answered here.");
    if values(headers, "transfer-encoding").next().is_some() {
        return Err(TOO_LARGE);
    }
    let mut length = None;
    for value in values(headers, "content-length") {
        let value = std::str::from_utf8(value.trim_ascii()).unwrap_or_default();
        if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refuse(400, "Content-Length is not a number."));
        }
        let value = value.parse().unwrap_or(usize::MAX);
        if length.is_some_and(|known| known != value) {
            return Err(refuse(400, "Content-Length has two values.")); // RFC 9112, 6.3
        }
        length = Some(value);
    }
    match (method, length.unwrap_or(0)) {
        (_, 0) => Ok(0),
        (Method::Post, length) if length <= BODY_BYTES_MAX => Ok(length),
        _ => Err(TOO_LARGE),
    }
}

fn values<'a>(headers: &'a [Header<'a>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value)
}

/// Splits a target in origin form or, as proxies get it, in absolute form (RFC 9112 section 3.2).
fn path_and_query(target: &str) -> Option<(&str, &str)> {
    const SCHEME: &str = "http://";
    let rest = match target.get(..SCHEME.len()) {
        _ if target.starts_with('/') => target,
        Some(scheme) if scheme.eq_ignore_ascii_case(SCHEME) => {
            let authority_and_path = &target[SCHEME.len()..];
            let end = authority_and_path.find(['/', '?']);
            &authority_and_path[end.unwrap_or(authority_and_path.len())..]
        }
        _ => return None,
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    Some((if path.is_empty() { "/" } else { path }, query))
}

/// Appends a response with a JSON body to `out`.
///
/// `head_only` leaves the body away but gives its length, as an answer to HEAD must (RFC 9110
/// section 9.3.2). `date` is the time of the response in seconds since 1970-01-01 UTC. A 405
/// carries the `Allow` field that RFC 9110 section 15.5.6 requires; `fields` are further ones.
pub fn write_response(
    out: &mut Vec<u8>,
    status: u16,
    fields: &[(&str, String)],
    body: &str,
    keep_alive: bool,
    head_only: bool,
    date: i64,
) {
    let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status));
    if let Some(date) = imf_fixdate(date) {
        head.push_str(&format!("Date: {date}\r\n"));
    }
    head.push_str("Content-Type: application/json;charset=utf-8\r\n");
    head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    if status == 405 {
        head.push_str("Allow: GET, HEAD\r\n");
    }
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    // HTTP/1.1 needs to be told of a close only, an HTTP/1.0 client that asked also of the rest.
    head.push_str(match keep_alive {
        true => "Connection: keep-alive\r\n\r\n",
        false => "Connection: close\r\n\r\n",
    });
    out.extend_from_slice(head.as_bytes());
    if !head_only {
        out.extend_from_slice(body.as_bytes());
    }
}

/// RFC 9110 section 5.6.7; `None` beyond the years that can be written so.
fn imf_fixdate(seconds: i64) -> Option<String> {
    const YEAR_10000: i64 = 253_402_300_800;
    let date = DateTime::from_timestamp(seconds, 0).filter(|_| (0..YEAR_10000).contains(&seconds));
    date.map(|date| date.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
}

/// The reason phrase; empty, as RFC 9112 section 4 allows, for a status that is not used here.
pub(super) const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        420 => "Enhance Your Calm", // Twitter's own, for too many questions
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds whole lines, as the reactor would; the last step is the one that counts.
    fn feed(text: &[u8]) -> Step {
        let mut head = Head::default();
        let mut last = Step::More;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            if let Some(line) = line.strip_suffix(b"\n") {
                last = head.push_line(line);
            }
        }
        last
    }

    fn request(method: Method, path: &str, query: &str, keep_alive: bool) -> Step {
        Step::Request(Request {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            authorization: None,
            body_bytes: 0,
            keep_alive,
        })
    }

    #[test]
    fn requests() {
        use Method::{Get, Head};
        for (text, want) in [
            (
                "GET /a?q=&x=%20 HTTP/1.1\r\nHost: h\r\n\r\n",
                request(Get, "/a", "q=&x=%20", true),
            ),
            ("HEAD / HTTP/1.1\nhOST:\n\n", request(Head, "/", "", true)),
            (
                "\r\n\n\r\nGET /? HTTP/1.1\r\nHost: h\r\n\r\n",
                request(Get, "/", "", true),
            ),
            (
                "GET /a??b=? HTTP/1.1\r\nHost: h\r\nConnection: x, CLOSE\r\n\r\n",
                request(Get, "/a", "?b=?", false),
            ),
            ("GET / HTTP/1.0\r\n\r\n", request(Get, "/", "", false)),
            (
                "GET / HTTP/1.0\r\nconnection: a\r\nConnection: Keep-Alive\r\n\r\n",
                request(Get, "/", "", true),
            ),
            (
                "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, close\r\n\r\n",
                request(Get, "/", "", false),
            ),
            (
                "GET HTTP://host:80/a/b?c HTTP/1.1\r\nHost: h\r\n\r\n",
                request(Get, "/a/b", "c", true),
            ),
            (
                "GET http://host?c HTTP/1.1\r\nHost: h\r\n\r\n",
                request(Get, "/", "c", true),
            ),
            (
                "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 00\r\n\r\n",
                request(Get, "/", "", true),
            ),
        ] {
            assert_eq!(feed(text.as_bytes()), want, "request: {text:?}");
        }
    }

    #[test]
    fn forms_and_who_sends_them() {
        let text = "POST /oauth2/token HTTP/1.1\r\nHost: h\r\nauthorization: Basic eDp5\r\n\
            Content-Length: 29\r\nContent-Length: 29\r\n\r\n";
        let Step::Request(request) = feed(text.as_bytes()) else {
            panic!("it is a request");
        };
        assert_eq!((request.method, request.body_bytes), (Method::Post, 29));
        assert_eq!(request.authorization.as_deref(), Some("Basic eDp5"));
    }

    #[test]
    fn refusals() {
        let many = "A: b\r\n".repeat(HEADERS_MAX);
        let long = "x".repeat(REQUEST_LINE_BYTES_MAX);
        for (text, want) in [
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into(), 400),
            ("GET /\r\n\r\n".into(), 400),
            ("IAMAT kiwi +27.5916+086.5640 1\r\n\r\n".into(), 400),
            ("GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n".into(), 400),
            ("GET / HTTP/1.1\r\nHost : h\r\n\r\n".into(), 400),
            ("GET * HTTP/1.1\r\nHost: h\r\n\r\n".into(), 400),
            ("GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n".into(), 400),
            ("PUT / HTTP/1.1\r\nHost: h\r\n\r\n".into(), 405),
            (
                "POST / HTTP/1.0\r\nContent-Length: 4097\r\n\r\n".into(),
                413,
            ),
            (
                "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
                413,
            ),
            (
                "POST / HTTP/1.0\r\nContent-Length: 99999999999999999999\r\n\r\n".into(),
                413,
            ),
            (
                "POST / HTTP/1.0\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".into(),
                400,
            ),
            ("get / HTTP/1.1\r\nHost: h\r\n\r\n".into(), 405),
            ("GET / HTTP/1.0\r\nContent-Length: 1\r\n\r\n".into(), 413),
            ("GET / HTTP/1.0\r\nContent-Length: -0\r\n\r\n".into(), 400),
            ("GET / HTTP/1.0\r\nTransfer-Encoding: x\r\n\r\n".into(), 413),
            ("GET / HTTP/2.0\r\nHost: h\r\n\r\n".into(), 505),
            ("PRI * HTTP/2.0\r\n\r\n".into(), 505),
            ("GET / HTTP/11\r\n\r\n".into(), 400),
            ("GET / SMTP/1.1\r\n\r\n".into(), 400),
            (format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n"), 431),
            (format!("GET /{long} HTTP/1.1\r\n"), 414),
            (format!("GET / HTTP/1.1\r\nA: {long}\r\nB: {long}\r\n"), 431),
        ] {
            let step = feed(text.as_bytes());
            let Step::Refuse { status, .. } = step else {
                panic!("{step:?} for {text:?}");
            };
            assert_eq!(status, want, "request: {text:?}");
        }
    }

    #[test]
    fn a_request_line_and_a_head_just_within_their_limits() {
        let mut head = Head::default();
        let path = "/".repeat(REQUEST_LINE_BYTES_MAX - "GET  HTTP/1.0".len());
        let line = format!("GET {path} HTTP/1.0");
        assert_eq!(head.push_line(line.as_bytes()), Step::More);
        let left = HEAD_BYTES_MAX - REQUEST_LINE_BYTES_MAX - "\nA:\n\n".len();
        let header = format!("A:{}", "b".repeat(left));
        assert_eq!(head.push_line(header.as_bytes()), Step::More);
        assert_eq!(head.push_line(b""), request(Method::Get, &path, "", false));
        assert!(head.is_empty());
        assert!(matches!(
            head.line_too_long(),
            Step::Refuse { status: 414, .. }
        ));
    }

    #[test]
    fn every_prefix_of_a_head_wants_more() {
        let text = b"\r\nGET /search.json?q=a HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(feed(&text[..end]), Step::More, "prefix of {end} bytes");
        }
        assert!(matches!(feed(text), Step::Request(_)));
    }

    #[test]
    fn requests_follow_each_other_on_one_connection() {
        let mut head = Head::default();
        for path in ["/a", "/b", "/c"] {
            let line = format!("GET {path} HTTP/1.1\r");
            assert_eq!(head.push_line(line.as_bytes()), Step::More);
            assert_eq!(head.push_line(b"Host: h\r"), Step::More);
            assert_eq!(head.push_line(b"\r"), request(Method::Get, path, "", true));
        }
    }

    #[test]
    fn responses() {
        let mut out = Vec::new();
        let fields = [("X", "1".to_owned())];
        write_response(
            &mut out,
            200,
            &fields,
            "{\"a\":\"é\"}",
            true,
            false,
            1_353_118_103,
        );
        let want = "HTTP/1.1 200 OK\r\nDate: Sat, 17 Nov 2012 02:08:23 GMT\r\n\
            Content-Type: application/json;charset=utf-8\r\nContent-Length: 10\r\n\
            X: 1\r\nConnection: keep-alive\r\n\r\n{\"a\":\"é\"}";
        assert_eq!(String::from_utf8_lossy(&out), want);
        out.clear();
        write_response(&mut out, 405, &[], "{}", false, true, i64::MAX);
        let want = "HTTP/1.1 405 Method Not Allowed\r\n\
            Content-Type: application/json;charset=utf-8\r\nContent-Length: 2\r\n\
            Allow: GET, HEAD\r\nConnection: close\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&out), want);
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic_and_memory_stays_bounded(
            lines in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..200),
                    "(GET|HEAD|POST|PUT) [ -~é]{0,20} HTTP/[0-9.]{1,4}\r?".prop_map(String::into_bytes),
                    "(Host|Content-Length|Connection|X): ?[ -~]{0,20}\r?"
                        .prop_map(String::into_bytes),
                    Just(b"\r".to_vec()),
                    (0..HEAD_BYTES_MAX * 2).prop_map(|length| vec![b'a'; length]),
                ],
                0..40,
            ),
        ) {
            let mut head = Head::default();
            for line in &lines {
                head.push_line(line);
                prop_assert!(head.bytes.len() <= HEAD_BYTES_MAX);
            }
        }
    }
}
