//! Why a client's line is no valid command, for the log; and lines of another protocol.
//!
//! `Node` asks only when `Command::parse` has refused a line, so this may take its time. Pure.

use super::command::{BOUND_MAX, LINE_BYTES_MAX};
use super::fields::fields;
use super::location::Position;
use crate::time::Timestamp;

const _: () = assert!(BOUND_MAX == 100 && LINE_BYTES_MAX == 65_536); // as the texts say

/// What is wrong with a request of HTTP.
pub const HTTP_REQUEST: &str = "an HTTP request, on the port of the line protocol";

/// What is wrong with a line that is longer than any may be.
pub const OVERLONG: &str = "the line is longer than 65536 bytes";

/// So many of a line's last bytes tell [`ends_as_http_request`] enough: ` HTTP/1.1`, CR, and some more
/// white space.
pub const END_BYTES: usize = 16;

/// What is wrong with a line that is no command.
pub fn reason(line: &[u8]) -> &'static str {
    let mut fields = fields(line);
    let Some(command) = fields.next() else {
        return "the line is blank";
    };
    let operands: Vec<_> = fields.take(4).collect();
    match (command, operands.as_slice()) {
        (b"IAMAT", [_, position, time]) => reason_of_report(position, time),
        (b"IAMAT", _) => "IAMAT has three operands: client, location, time",
        (b"WHATSAT", [_, radius, bound]) => reason_of_question(radius, bound),
        (b"WHATSAT", _) => "WHATSAT has three operands: client, radius in km, bound",
        (b"AT" | b"ERASED" | b"HELLO" | b"MARK" | b"CLOCK" | b"BYE", _) => {
            "a line between servers, on the client port"
        }
        _ if is_http_request(line) => HTTP_REQUEST,
        _ => "the command is neither IAMAT nor WHATSAT",
    }
}

fn reason_of_report(position: &[u8], time: &[u8]) -> &'static str {
    if Position::parse(position).is_none() {
        return reason_of_position(position);
    }
    match Timestamp::parse(time) {
        None => {
            "the time is not POSIX seconds: 1 to 18 digits, then perhaps a point and 1 to 9 digits"
        }
        Some(_) => OVERLONG,
    }
}

/// What is wrong with a position that [`Position::parse`] refuses.
fn reason_of_position(text: &[u8]) -> &'static str {
    let is_sign = |byte: &u8| matches!(byte, b'+' | b'-');
    if !text.first().is_some_and(is_sign) {
        return "the latitude has no sign";
    }
    let Some(second) = text[1..].iter().position(is_sign) else {
        return "the longitude has no sign";
    };
    let (latitude, longitude) = text.split_at(second + 1);
    let longitude = longitude.strip_suffix(b"/").unwrap_or(longitude);
    let whole = |text: &[u8]| text[1..].iter().take_while(|b| b.is_ascii_digit()).count();
    let is_decimal = |text: &[u8]| match text[1 + whole(text)..].split_first() {
        None => true,
        Some((b'.', fraction)) => {
            !fraction.is_empty() && fraction.iter().all(|byte| byte.is_ascii_digit())
        }
        Some(_) => false,
    };
    if !is_decimal(latitude) || !is_decimal(longitude) {
        return "the location is not two decimal numbers, each with its sign";
    }
    match (whole(latitude), whole(longitude)) {
        (2, 3) => "the latitude is beyond 90 degrees, or the longitude beyond 180",
        (2, _) => "the longitude needs three digits before the point",
        _ => "the latitude needs two digits before the point",
    }
}

fn reason_of_question(radius: &[u8], bound: &[u8]) -> &'static str {
    let is_decimal = |text: &[u8]| text.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    if !is_decimal(radius) || !radius.first().is_some_and(u8::is_ascii_digit) {
        return "the radius is not a decimal number of kilometres without a sign";
    }
    match bound.iter().all(u8::is_ascii_digit) {
        false => "the bound is not a whole number",
        true if radius.ends_with(b".") || radius.iter().filter(|b| **b == b'.').count() > 1 => {
            "the radius is not a decimal number of kilometres without a sign"
        }
        true => "the bound is over 100",
    }
}

/// Whether a line is the request line of HTTP/1 (RFC 9112, section 3): method, target, version. A
/// browser that was made to send it by somebody's web page must not report locations with what follows.
pub fn is_http_request(line: &[u8]) -> bool {
    let mut fields = fields(line);
    let (method, _target, version) = (fields.next(), fields.next(), fields.next());
    let is_method = method.is_some_and(|method| method.iter().all(is_token_byte));
    is_method && version.is_some_and(is_http_version) && fields.next().is_none()
}

/// Whether a method may have this byte: those of a token (RFC 9110, section 5.6.2).
fn is_token_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// Whether a line that is too long to be buffered ends as the request line of HTTP/1 does. `end` is its
/// last [`END_BYTES`] bytes. A web page chooses the target, and may choose a long one.
pub fn ends_as_http_request(end: &[u8]) -> bool {
    fields(end).last().is_some_and(is_http_version)
}

fn is_http_version(field: &[u8]) -> bool {
    matches!(field.strip_prefix(b"HTTP/1."), Some([b'0'..=b'9']))
}

#[cfg(test)]
mod tests {
    use super::super::command::Command;
    use super::*;

    #[test]
    fn each_refusal_has_its_reason() {
        for (line, part) in [
            ("", "blank"),
            (" \t\r", "blank"),
            (
                "IAMAT u -52.089440-16.393853 1",
                "longitude needs three digits",
            ),
            (
                "IAMAT u -5.089440-016.393853 1",
                "latitude needs two digits",
            ),
            ("IAMAT u +052+016 1", "latitude needs two digits"),
            ("IAMAT u 52.0+016 1", "latitude has no sign"),
            ("IAMAT u +52.0,016 1", "longitude has no sign"),
            ("IAMAT u +52,5+016 1", "two decimal numbers"),
            ("IAMAT u +52.+016 1", "two decimal numbers"),
            ("IAMAT u +52.0+016+8848/ 1", "two decimal numbers"),
            ("IAMAT u +91+000 1", "beyond 90"),
            ("IAMAT u +00+181 1", "beyond 180"),
            ("IAMAT u +00+000 1e9", "POSIX seconds"),
            ("IAMAT u +00+000 -1", "POSIX seconds"),
            ("IAMAT u +00+000", "three operands"),
            ("IAMAT u v +00+000 1", "three operands"),
            ("WHATSAT u 1", "three operands"),
            ("WHATSAT u +1 1", "the radius"),
            ("WHATSAT u 1. 1", "the radius"),
            ("WHATSAT u 1.2.3 1", "the radius"),
            ("WHATSAT u .5 1", "the radius"),
            ("WHATSAT u 1 101", "over 100"),
            ("WHATSAT u 1 1.0", "not a whole number"),
            ("AT Blake +0.000000000 u +00+000 1", "between servers"),
            ("MARK 1", "between servers"),
            ("CLOCK 1.000000000", "between servers"),
            ("ERASED Blake u 1.000000000", "between servers"),
            ("GET / HTTP/1.1\r", "an HTTP request"),
            ("iamat u +00+000 1", "neither"),
        ] {
            assert_eq!(
                Command::parse(line.as_bytes()),
                None,
                "{line:?} is a command"
            );
            let reason = reason(line.as_bytes());
            assert!(reason.contains(part), "{line:?}: {reason}");
        }
    }

    #[test]
    fn a_request_line_has_three_fields_and_a_version() {
        for (line, want) in [
            (&b"GET / HTTP/1.1"[..], true),
            (b"POST /x?y=z HTTP/1.0\r", true),
            (b"OPTIONS * HTTP/1.1\r", true),
            (b"get  /\tHTTP/1.1", true),
            (b"GET /", false),
            (b"GET / HTTP/1.1 x", false),
            (b"GET / HTTP/2", false),
            (b"GET / HTTP/1.", false),
            (b"GET / HTTP/1.12", false),
            (b"IAMAT HTTP/1.1", false),
            (b"M-SEARCH * HTTP/1.1", true),
            (b"VERSION-CONTROL / HTTP/1.1", true),
            (b"1!#$%&'*+-.^_`|~ / HTTP/1.1", true),
            (b"GET: / HTTP/1.1", false),
            (b"(GET) / HTTP/1.1", false),
            (b"\xff / HTTP/1.1", false),
            (b"", false),
        ] {
            assert_eq!(is_http_request(line), want, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn the_end_of_a_long_request_line_is_its_version() {
        for (end, want) in [
            (&b"aaaaaaa HTTP/1.1"[..], true),
            (b"aaaaaa HTTP/1.0\r", true),
            (b"aaaa\tHTTP/1.1 \r\r", true),
            (b"aaaaaaa HTTP/2.0", false),
            (b"aaaaaa HTTP/1.12", false),
            (b"aaaaaaaaHTTP/1.1", false),
            (b"aaaaaa HTTP/1.1x", false),
            (b"aaa HTTP/1.1 x\r ", false),
            (b"                ", false),
        ] {
            assert_eq!(end.len(), END_BYTES);
            let shown = end.escape_ascii();
            assert_eq!(ends_as_http_request(end), want, "{shown}");
        }
    }
}
