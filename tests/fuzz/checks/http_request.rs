//! What the stand-in for Twitter is sent, or any HTTP port: heads, bodies, chunks, questions. Whatever it is, it
//! does not hang on how TCP has chopped it, no request is taken from bytes that could be read in another way,
//! and each is answered by HTTP, with JSON.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use herd::http::{BODY_BYTES_MAX, Codec, Date, HEAD_BYTES_MAX, Method, Request, Response, Step};
use herd::standin::content;
use herd::standin::tweets::{Tweet, synthetic};
use herd::twitter::answer::one_line;
use serde::de::IgnoredAny;

/// When all are answered, in seconds since 1970.
const DATE: i64 = 1_353_118_103;

/// Sends `bytes` on one connection.
pub fn check(bytes: &[u8]) {
    let whole = requests(bytes, bytes.len().max(1));
    let chopped = requests(bytes, 1 + bytes.len() % 7);
    assert_eq!(
        steps(&whole),
        steps(&chopped),
        "it hangs on how the bytes come"
    );
    let mut is_over = false;
    for (step, raw) in &whole {
        assert!(!is_over, "something comes after the last");
        match step {
            Step::Request(request) => {
                check_raw(request, raw);
                check_answer(request);
                is_over = !request.manner.keep_alive;
            }
            Step::Refuse(refusal) => {
                assert!((400..600).contains(&refusal.status));
                is_over = true;
            }
            Step::Continue => {}
            Step::More => panic!("that is no step to be told of"),
        }
    }
}

/// Without the bytes.
fn steps<'a>(all: &[(Step<'a>, &[u8])]) -> Vec<Step<'a>> {
    all.iter().map(|(step, _)| step.clone()).collect()
}

/// What comes of `bytes`, `chunk_bytes` at a time; with each request its own bytes, as far as it was read from
/// them alone.
fn requests(bytes: &[u8], chunk_bytes: usize) -> Vec<(Step<'_>, &[u8])> {
    let (mut codec, mut steps) = (Codec::default(), Vec::new());
    let (now, mut handled, mut come) = (Instant::now(), 0, 0);
    while come < bytes.len() {
        come = bytes.len().min(come + chunk_bytes);
        loop {
            let mut rest = &bytes[handled..come];
            assert!(rest.len() <= HEAD_BYTES_MAX + 3 * BODY_BYTES_MAX);
            let step = codec.next(&mut rest, now);
            let began = std::mem::replace(&mut handled, come - rest.len());
            match &step {
                Step::More => break,
                Step::Request(request) if !request.manner.keep_alive => {
                    steps.push((step, &bytes[began..])); // and whatever comes behind it
                }
                _ => steps.push((step, &bytes[began..handled])),
            }
        }
    }
    steps
}

/// Another reader, who knows nothing but that CRLF ends a line, sees the same request in its bytes.
fn check_raw(request: &Request<'_>, raw: &[u8]) {
    let mut raw = raw;
    while let Some(rest) = raw.strip_prefix(b"\r\n") {
        raw = rest;
    }
    let end = memchr::memmem::find(raw, b"\r\n\r\n").expect("a head ends");
    let (head, behind) = (&raw[..end + 2], &raw[end + 4..]);
    assert!(head.len() + 2 <= HEAD_BYTES_MAX);
    let lines: Vec<_> = split_lines(head).skip(1).collect();
    let (mut lengths, mut codings) = (Vec::new(), 0);
    for line in &lines {
        assert!(!line.contains(&b'\r') && !line.contains(&b'\n') && !line.contains(&0));
        let colon = memchr::memchr(b':', line).expect("a field has a colon");
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        assert!(!name.is_empty() && !name.iter().any(|byte| byte.is_ascii_whitespace()));
        match name.to_ascii_lowercase().as_slice() {
            b"content-length" => lengths.push(
                std::str::from_utf8(value)
                    .expect("digits")
                    .parse()
                    .expect("a number"),
            ),
            b"transfer-encoding" => {
                assert!(value.eq_ignore_ascii_case(b"chunked"));
                codings += 1;
            }
            _ => {}
        }
    }
    assert_eq!(lines.len(), request.fields.len());
    assert!(lengths.len() + codings <= 1, "two lengths");
    let is_last = !request.manner.keep_alive;
    let (body, after) = match codings {
        0 => behind.split_at(lengths.first().copied().unwrap_or(0)),
        _ => check_chunks(&request.body, behind),
    };
    assert!(request.body.len() <= BODY_BYTES_MAX);
    assert!(codings > 0 || *body == *request.body);
    assert!(is_last || after.is_empty(), "bytes are left over");
}

/// Finds `body` in chunks; gives what was read, and what comes behind the trailer.
fn check_chunks<'a>(mut body: &[u8], raw: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    let mut rest = raw;
    loop {
        let end = memchr::memmem::find(rest, b"\r\n").expect("a size ends");
        let line = String::from_utf8_lossy(&rest[..end]);
        let digits = line.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(digits, 16).expect("hexadecimal");
        rest = &rest[end + 2..];
        if size == 0 {
            break;
        }
        let (chunk, behind) = rest.split_at(size);
        body = body.strip_prefix(chunk).expect("the chunk is in the body");
        rest = behind.strip_prefix(b"\r\n").expect("a chunk ends");
    }
    assert!(body.is_empty());
    loop {
        let end = memchr::memmem::find(rest, b"\r\n").expect("a line ends");
        rest = &rest[end + 2..];
        if end == 0 {
            return (&raw[..raw.len() - rest.len()], rest);
        }
    }
}

/// The lines of bytes that end in CRLF.
fn split_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let end = memchr::memmem::find(rest, b"\r\n")?;
        let line = &rest[..end];
        rest = &rest[end + 2..];
        Some(line)
    })
}

fn check_answer(request: &Request<'_>) {
    assert!(request.path.starts_with('/') && !request.path.contains('?'));
    let visible = |text: &str| !text.contains(|c: char| c.is_ascii_control() || c == ' ');
    assert!(visible(request.path) && visible(request.query));
    let (status, json) = content(tweets(), request, || Duration::ZERO);
    assert!((200..600).contains(&status));
    serde_json::from_str::<IgnoredAny>(&json).expect("what is answered is JSON");
    let line = one_line(json.as_bytes(), "results", 100).expect("it is JSON");
    assert_eq!(
        line.escape_ascii().to_string(),
        json.as_bytes().escape_ascii().to_string()
    );
    check_response(request, status, &json);
}

/// Another reader of HTTP finds in the response what was put there.
fn check_response(request: &Request<'_>, status: u16, json: &str) {
    let head_only = request.method == Method::Head;
    let (mut bytes, mut date) = (Vec::new(), Date::default());
    let response = Response {
        status,
        content_type: "application/json",
        fields: &[],
        date: date.at(DATE),
    };
    response.write(&mut bytes, json.as_bytes(), request.manner);
    let end = memchr::memmem::find(&bytes, b"\r\n\r\n").expect("a head ends") + 4;
    let head = std::str::from_utf8(&bytes[..end]).expect("a head is text");
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    assert!(
        head.contains(&format!("\r\nContent-Length: {}\r\n", json.len())),
        "{head}"
    );
    let body = if head_only { "" } else { json };
    assert_eq!(&bytes[end..], body.as_bytes());
}

/// Few enough that a search costs little, and from all over the world.
fn tweets() -> &'static [Tweet] {
    static TWEETS: OnceLock<Vec<Tweet>> = OnceLock::new();
    TWEETS.get_or_init(|| synthetic().into_iter().step_by(100).collect())
}
