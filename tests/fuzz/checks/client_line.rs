//! What a client says: every line is answered, by the letter of the contract.

use std::sync::Arc;
use std::time::Duration;

use herd::connection_id::ReplyId;
use herd::lines::{Lines, Piece};
use herd::node::Node;
use herd::node::command::{Command, IAmAt, LINE_BYTES_MAX, WhatsAt};
use herd::node::protocol::{LINK_LINE_BYTES_MAX, LinkLine, TweetQuery, parse_at};
use herd::node::questions::QuestionId;
use herd::time::{Now, Timestamp};
use herd::twitter::api::{Api, URL_BYTES_MAX};

use super::effects::{Effect, Recorder};
use super::model::{CLIENT, Model, bryant, nanos, start};

/// Says `bytes` to a server, as a client that gets each answer of Twitter at once.
pub fn check(bytes: &[u8]) {
    check_parsing(bytes); // also what has an LF in it, which is white space
    let mut now = start();
    let mut node = bryant(1, now);
    let mut model = Model::default();
    let (mut lines, mut rest) = (Lines::default(), bytes);
    while let Some(piece) = lines.next(rest, LINE_BYTES_MAX) {
        rest = &rest[piece.input_len()..];
        let Piece::Line(line) = piece else { continue };
        check_parsing(line);
        let mut effects = Recorder::default();
        node.handle_client_line(CLIENT, node.read_client_line(line), now, &mut effects);
        check_replies(&mut node, effects, &mut model, line, now);
        now.wall = Timestamp::new(now.wall.seconds() + 1, now.wall.nanos() / 2);
        now.mono += Duration::from_secs(1);
    }
    model.assert_is(node.table());
    node.check_invariants();
}

fn check_replies(node: &mut Node, mut effects: Recorder, model: &mut Model, line: &[u8], now: Now) {
    let (replies, owed, asked) = replies(&mut effects);
    let [reply] = &replies[..] else {
        panic!("{} replies to {}", replies.len(), line.escape_ascii());
    };
    let (want, asks) = match fields(line)[..] {
        [b"IAMAT", client, position, time] if is_position(position) && is_time(time) => {
            let at = at_line(now, client, position, time);
            assert_is_at(&at);
            model.hear(&at);
            (at, false)
        }
        [b"WHATSAT", client, radius, bound] if is_radius(radius) && is_bound(bound) => {
            match model.line(client) {
                Some(at) => (at.to_vec(), true),
                None => ([b"? ", line].concat(), false),
            }
        }
        _ => ([b"? ", line].concat(), false),
    };
    let escaped = |bytes: &[u8]| bytes.escape_ascii().to_string();
    assert_eq!(escaped(reply), escaped(&want));
    assert_eq!(node.waits_for(CLIENT), usize::from(asks));
    assert_eq!((owed.is_some(), asked.is_some()), (asks, asks));
    if let Some((reply, (question, query))) = owed.zip(asked) {
        check_query(&query);
        let json: Arc<[u8]> = Arc::from(&b"{}"[..]);
        node.handle_answer(question, &json, &mut effects);
        assert_eq!(effects.take(), [Effect::Answer(CLIENT, reply, json)]);
    }
}

/// A question, and what is asked.
type Asked = (QuestionId, TweetQuery);

/// What the server says, which reply it has reserved, and what it asks of Twitter.
fn replies(effects: &mut Recorder) -> (Vec<Vec<u8>>, Option<ReplyId>, Option<Asked>) {
    let (mut replies, mut reserved, mut asked) = (Vec::new(), None, None);
    for effect in effects.take() {
        match effect {
            Effect::Reply(CLIENT, line) => replies.push(line),
            Effect::Reserve(CLIENT, reply, line) => {
                replies.push(line);
                assert_eq!(reserved.replace(reply), None, "two answers for one line");
            }
            Effect::Ask(question, query, _) => {
                let before = asked.replace((question, query));
                assert_eq!(before, None, "two questions for one line");
            }
            Effect::Changed(..) | Effect::Tell(_) | Effect::Lose(CLIENT, _) => {}
            other => panic!("nobody wanted {other:?}"),
        }
    }
    (replies, reserved, asked)
}

/// What is found in a line is what stands there.
fn check_parsing(line: &[u8]) {
    match (Command::parse(line), &fields(line)[..]) {
        (
            Some(Command::IAmAt(IAmAt {
                client,
                position,
                time,
                time_text,
                ..
            })),
            fields,
        ) => {
            assert_eq!(fields, [b"IAMAT", client, position.text(), time_text]);
            assert!(is_position(position.text()) && is_time(time_text));
            let read = i128::from(time.seconds()) * 1_000_000_000 + i128::from(time.nanos());
            assert_eq!(read, nanos(time_text));
        }
        (
            Some(Command::WhatsAt(WhatsAt {
                client,
                radius_km,
                bound,
            })),
            [command, name, radius, text],
        ) => {
            assert_eq!([*command, *name, *radius], [b"WHATSAT", client, radius_km]);
            assert!(is_radius(radius) && is_bound(text));
            assert_eq!(trim_zeros(text), bound.to_string().trim_start_matches('0'));
        }
        (Some(command), _) => panic!("{command:?} in {}", line.escape_ascii()),
        (None, [b"IAMAT", _, position, time]) => {
            assert!(!is_position(position) || !is_time(time));
        }
        (None, [b"WHATSAT", _, radius, bound]) => assert!(!is_radius(radius) || !is_bound(bound)),
        (None, _) => {}
    }
}

/// The answer to a report, with the difference from 128-bit integers.
fn at_line(now: Now, client: &[u8], position: &[u8], time: &[u8]) -> Vec<u8> {
    let wall = i128::from(now.wall.seconds()) * 1_000_000_000 + i128::from(now.wall.nanos());
    let difference = wall - nanos(time);
    let (sign, size) = (if difference < 0 { '-' } else { '+' }, difference.abs());
    let (seconds, nanos) = (size / 1_000_000_000, size % 1_000_000_000);
    let head = format!("AT Bryant {sign}{seconds}.{nanos:09}");
    [head.as_bytes(), client, position, time].join(&b' ')
}

/// Whatever a server answers its neighbours understand.
fn assert_is_at(line: &[u8]) {
    assert!(line.len() <= LINK_LINE_BYTES_MAX);
    let location = parse_at(line).expect("what is answered can be passed on");
    assert_eq!(LinkLine::parse(line), Ok(LinkLine::At(location)));
}

/// Every API is asked by an address that HTTP knows as one, and that is not too long.
fn check_query(query: &TweetQuery) {
    let numbers = [&query.latitude, &query.longitude, &query.radius_km];
    for number in numbers {
        let plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
        assert!(number.bytes().all(plain), "{number}");
        number.parse::<f64>().expect("a plain decimal");
    }
    let digits: usize = numbers.map(String::len).iter().sum();
    let is_long = digits > URL_BYTES_MAX - 100; // the rest of 1.0 and 1.1 is short
    for api in [Api::V1_0, Api::V1_1, Api::V2] {
        match api.search_url("http://h/", query) {
            Ok(url) => {
                assert!(url.bytes().all(|byte| byte.is_ascii_graphic()), "{url}");
                assert!(url.len() <= URL_BYTES_MAX, "{} bytes", url.len());
            }
            Err(why) => assert!(api == Api::V2 || is_long, "{why}"),
        }
    }
}

fn fields(line: &[u8]) -> Vec<&[u8]> {
    let fields = line.split(|byte| b" \t\n\x0b\x0c\r".contains(byte));
    fields.filter(|field| !field.is_empty()).collect()
}

fn trim_zeros(text: &[u8]) -> &str {
    let text = std::str::from_utf8(text).expect("digits");
    text.trim_start_matches('0')
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Digits, and perhaps a point and digits, in two parts.
fn decimal(text: &str) -> Option<(&str, &str)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    (is_digits(whole) && is_digits(fraction)).then_some((whole, fraction))
}

fn is_position(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    let text = text.strip_suffix('/').unwrap_or(text);
    let signs: Vec<_> = text.match_indices(['+', '-']).map(|(at, _)| at).collect();
    let [0, second] = signs[..] else { return false };
    let within = |text: &str, width, limit: u32| {
        decimal(text).is_some_and(|(whole, fraction)| {
            let degrees: Option<u32> = whole.parse().ok().filter(|_| whole.len() == width);
            let beyond = u32::from(fraction.bytes().any(|digit| digit != b'0'));
            degrees.is_some_and(|degrees| degrees + beyond <= limit)
        })
    };
    within(&text[1..second], 2, 90) && within(&text[second + 1..], 3, 180)
}

fn is_time(text: &[u8]) -> bool {
    let parts = std::str::from_utf8(text).ok().and_then(decimal);
    parts.is_some_and(|(whole, fraction)| whole.len() <= 18 && fraction.len() <= 9)
}

fn is_radius(text: &[u8]) -> bool {
    std::str::from_utf8(text).ok().and_then(decimal).is_some()
}

fn is_bound(text: &[u8]) -> bool {
    let digits = std::str::from_utf8(text).is_ok_and(is_digits);
    digits
        && (trim_zeros(text).is_empty()
            || trim_zeros(text)
                .parse()
                .is_ok_and(|bound: u32| bound <= 100))
}
