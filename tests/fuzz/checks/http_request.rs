//! What the stand-in for Twitter is sent: heads, token forms, questions. Whatever it is, it is
//! answered by HTTP, with JSON, and does not hang on how TCP has chopped it.

use std::sync::OnceLock;
use std::time::Duration;

use herd::input::Input;
use herd::lines::{Lines, Piece};
use herd::standin::content;
use herd::standin::http::{
    BODY_BYTES_MAX, HEAD_BYTES_MAX, Head, Method, Request, Step, write_response,
};
use herd::standin::tweets::{Tweet, synthetic};
use herd::twitter::answer::one_line;
use serde::de::IgnoredAny;

/// When all are answered, in seconds since 1970.
const DATE: i64 = 1_353_118_103;

/// Sends `bytes` on one connection.
pub fn check(bytes: &[u8]) {
    let whole = requests(bytes, bytes.len().max(1));
    let chopped = requests(bytes, 1 + bytes.len() % 7);
    assert_eq!(whole, chopped, "it hangs on how the bytes come");
    for (step, body) in &whole {
        match step {
            Step::Request(request) => check_answer(request, body),
            Step::Refuse { status, .. } => assert!((400..600).contains(status)),
            Step::More => panic!("that is no step to be told of"),
        }
    }
}

/// The requests in `bytes`, with their bodies, up to the first that is refused.
fn requests(bytes: &[u8], chunk_bytes: usize) -> Vec<(Step, Vec<u8>)> {
    let mut steps = Vec::new();
    let (mut lines, mut input, mut head) = (Lines::default(), Input::default(), Head::default());
    let mut waiting: Option<Request> = None;
    for mut chunk in bytes.chunks(chunk_bytes) {
        loop {
            if let Some(request) = waiting.take() {
                input.push(std::mem::take(&mut chunk));
                match input.as_bytes().get(..request.body_bytes) {
                    Some(body) => {
                        let body = body.to_vec();
                        input.consume(body.len());
                        steps.push((Step::Request(request), body));
                    }
                    None => {
                        waiting = Some(request);
                        break;
                    }
                }
                continue;
            }
            let step = match lines.next_buffered(&mut input, &mut chunk, HEAD_BYTES_MAX) {
                None => break,
                Some(Piece::Line(line)) => head.push_line(&line),
                Some(Piece::Overlong { .. }) => head.line_too_long(),
            };
            match step {
                Step::More => {}
                Step::Request(request) if request.body_bytes > 0 => waiting = Some(request),
                Step::Request(_) => steps.push((step, Vec::new())),
                Step::Refuse { .. } => {
                    assert!(head.is_empty(), "what was refused is kept");
                    steps.push((step, Vec::new()));
                    return steps;
                }
            }
        }
    }
    steps
}

fn check_answer(request: &Request, body: &[u8]) {
    assert!(request.path.starts_with('/') && !request.path.contains('?'));
    let visible = |text: &str| !text.contains(|c: char| c.is_ascii_control() || c == ' ');
    assert!(visible(&request.path) && visible(&request.query));
    assert!(request.body_bytes <= BODY_BYTES_MAX && request.body_bytes == body.len());
    assert!(body.is_empty() || request.method == Method::Post);
    let (status, json) = content(tweets(), request, body, || Duration::ZERO);
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
fn check_response(request: &Request, status: u16, json: &str) {
    let head_only = request.method == Method::Head;
    let mut bytes = Vec::new();
    write_response(
        &mut bytes,
        status,
        &[],
        json,
        request.keep_alive,
        head_only,
        DATE,
    );
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
