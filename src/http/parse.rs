//! A request's head: where it ends, and what it says.
//!
//! `codec` is the only caller.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use httparse::{Header, Status};

use super::body::{BODY_BYTES_MAX, Framing};
use super::line::Scan;
use super::refusal::Refusal;
use super::request::{Manner, Method, Request};

/// A longer head, all its lines counted, is refused with 431, one whose first line alone is longer with 414.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// A head of more header fields is refused with 431.
pub const HEADERS_MAX: usize = 64;

const LINE_TOO_LONG: Refusal = Refusal::new(414, "The request line is too long.");
const HEAD_TOO_LARGE: Refusal = Refusal::new(431, "The request head is too large.");
const MALFORMED: Refusal = Refusal::new(400, "This is not an HTTP/1.1 request.");

/// Looks on for the end of the head with which `bytes` begin. Gives its length, the blank line included.
pub fn head_len(scan: &mut Scan, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
    loop {
        let (most, too_long) = match scan.start {
            0 => (HEAD_BYTES_MAX, LINE_TOO_LONG),
            start => ((HEAD_BYTES_MAX - 2).saturating_sub(start), HEAD_TOO_LARGE),
        };
        match scan.next(bytes, most, too_long)? {
            None => return Ok(None),
            Some(b"") if scan.start > HEAD_BYTES_MAX => return Err(HEAD_TOO_LARGE),
            Some(b"") => return Ok(Some(scan.start)),
            Some(_) => {}
        }
    }
}

/// The head with which `bytes` begin and its length, if it is as nearly all are: whole, not too long, and not to be
/// refused. `None` for others: [`head_len`] and [`parse`] tell why.
pub fn common_head(bytes: &[u8]) -> Option<(usize, Head<'_>)> {
    let bytes = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    let (length, head) = parse_beginning(bytes).ok()?;
    // What is read so has no CR without LF. But a bare LF was taken for the end of a line. All pairs are looked at,
    // so that it can be done to many at a time.
    let pairs = bytes[..length].iter().zip(&bytes[1..length]);
    let has_bare = pairs.fold(bytes[0] == b'\n', |any, (&one, &next)| {
        any | ((one != b'\r') & (next == b'\n'))
    });
    (!has_bare).then_some((length, head))
}

/// A head, read.
#[derive(Debug)]
pub struct Head<'a> {
    /// The request, without its body.
    pub request: Request<'a>,
    /// How the body comes.
    pub framing: Framing,
    /// Whether the client waits to be told that it may send the body.
    pub expects_continue: bool,
}

/// Reads a head that is whole.
pub fn parse(bytes: &[u8]) -> Result<Head<'_>, Refusal> {
    match parse_beginning(bytes)? {
        (length, head) if length == bytes.len() => Ok(head),
        _ => Err(MALFORMED),
    }
}

/// Reads the head with which `bytes` begin. Gives its length, too.
fn parse_beginning(bytes: &[u8]) -> Result<(usize, Head<'_>), Refusal> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut []);
    let length = match head.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Err(MALFORMED),
        Err(httparse::Error::TooManyHeaders) => {
            let message = "The request has too many header fields.";
            return Err(Refusal::new(431, message));
        }
        Err(httparse::Error::Version) if names_other_version(bytes) => {
            let message = "Only HTTP/1.0 and HTTP/1.1 are spoken here.";
            return Err(Refusal::new(505, message));
        }
        Err(_) => return Err(MALFORMED),
    };
    let (Some(method), Some(target), Some(minor)) = (head.method, head.path, head.version) else {
        return Err(MALFORMED);
    };
    let (is_1_1, headers) = (minor == 1, &*head.headers);
    let framing = framing(headers, is_1_1)?;
    let expects_continue = expects_continue(headers, is_1_1)?;
    let target = split_target(target)?;
    let named = host(headers, is_1_1)?;
    let method = Method::named(method);
    let fields = headers.iter();
    let request = Request {
        method,
        path: target.path,
        query: target.query,
        host: target.authority.or(named),
        fields: fields.map(|field| (field.name, field.value)).collect(),
        body: Cow::Borrowed(&[]),
        manner: Manner {
            keep_alive: keeps_alive(headers, is_1_1),
            head_only: method == Method::Head,
            chunks: is_1_1,
        },
    };
    let expects_continue = expects_continue && framing != Framing::Length(0);
    let head = Head {
        request,
        framing,
        expects_continue,
    };
    Ok((length, head))
}

/// Whether the request line is well-formed but for its HTTP version, which is not one of ours (RFC 9112
/// section 2.3).
fn names_other_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or(bytes);
    let parts: Vec<_> = line.split(|byte| *byte == b' ').collect();
    matches!(parts[..], [_, _, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]]
        if major.is_ascii_digit() && minor.is_ascii_digit() && !matches!((major, minor), (b'1', b'0' | b'1')))
}

fn values<'a>(headers: &[Header<'a>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    let named = headers.iter();
    let named = named.filter(move |header| header.name.eq_ignore_ascii_case(name));
    named.map(|header| header.value.trim_ascii())
}

/// The members of the lists that fields of this name are.
fn members<'a>(headers: &[Header<'a>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    let lists = values(headers, name);
    lists.flat_map(|list| list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii))
}

/// How the body comes (RFC 9112 section 6.3); what two readers could understand in two ways is refused.
fn framing(headers: &[Header<'_>], is_1_1: bool) -> Result<Framing, Refusal> {
    let mut lengths = values(headers, "content-length");
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err(Refusal::new(400, "There are two Content-Length fields."));
    }
    let codings: Vec<_> = members(headers, "transfer-encoding").collect();
    match (length, codings.is_empty()) {
        (Some(_), false) => {
            let message = "There are Content-Length and Transfer-Encoding.";
            return Err(Refusal::new(400, message));
        }
        (None, true) => return Ok(Framing::Length(0)),
        (Some(length), true) => return content_length(length).map(Framing::Length),
        (None, false) => {}
    }
    let is_chunked = |coding: &&[u8]| coding.eq_ignore_ascii_case(b"chunked");
    match codings[..] {
        _ if !is_1_1 => Err(Refusal::new(400, "HTTP/1.0 knows no Transfer-Encoding.")),
        [coding] if is_chunked(&coding) => Ok(Framing::Chunked),
        _ if codings.iter().all(|one| one.is_empty() || is_chunked(one)) => {
            let message = "Transfer-Encoding is not chunked, once.";
            Err(Refusal::new(400, message))
        }
        _ => {
            let message = "No transfer coding but chunked is known here.";
            Err(Refusal::new(501, message))
        }
    }
}

fn content_length(digits: &[u8]) -> Result<usize, Refusal> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::new(400, "Content-Length is not a number."));
    }
    // A number that is too large stays so, however long it is.
    let length = digits.iter().fold(0, |length, digit| {
        (length * 10 + usize::from(digit - b'0')).min(BODY_BYTES_MAX + 1)
    });
    match length <= BODY_BYTES_MAX {
        true => Ok(length),
        false => Err(Refusal::new(413, "The body is too large.")),
    }
}

fn expects_continue(headers: &[Header<'_>], is_1_1: bool) -> Result<bool, Refusal> {
    let mut expected = members(headers, "expect").filter(|_| is_1_1).peekable();
    let expects = expected.peek().is_some();
    match expected.all(|one| one.eq_ignore_ascii_case(b"100-continue")) {
        true => Ok(expects),
        false => Err(Refusal::new(
            417,
            "Nothing but 100-continue is expected here.",
        )),
    }
}

fn keeps_alive(headers: &[Header<'_>], is_1_1: bool) -> bool {
    let has = |option: &str| {
        members(headers, "connection").any(|one| one.eq_ignore_ascii_case(option.as_bytes()))
    };
    !has("close") && (is_1_1 || has("keep-alive"))
}

/// The `Host` field, of which HTTP/1.1 has one (RFC 9112 section 3.2).
fn host<'a>(headers: &[Header<'a>], is_1_1: bool) -> Result<Option<&'a str>, Refusal> {
    let mut hosts = values(headers, "host");
    match (hosts.next(), hosts.next()) {
        (None, _) if !is_1_1 => Ok(None),
        (Some(host), None) => match std::str::from_utf8(host) {
            Ok(host) if is_authority(host) => Ok(Some(host)),
            _ => Err(Refusal::new(400, "Host is not a host with a port.")),
        },
        _ => Err(Refusal::new(
            400,
            "HTTP/1.1 requires one Host header field.",
        )),
    }
}

/// Whether it has only bytes of a host with a port (RFC 3986 section 3.2.2).
fn is_authority(text: &str) -> bool {
    let is_mark = |byte| {
        matches!(
            byte,
            b'-' | b'.' | b'_' | b'~' | b':' | b'[' | b']' | b'%' | b'!' | b'$'
                ..=b'+' | b';' | b'='
        )
    };
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || is_mark(byte))
}

#[derive(Debug)]
struct Target<'a> {
    authority: Option<&'a str>,
    path: &'a str,
    query: &'a str,
}

/// Splits a target in origin form or, as proxies get it, in absolute form (RFC 9112 section 3.2).
fn split_target(target: &str) -> Result<Target<'_>, Refusal> {
    const NEITHER: Refusal = Refusal::new(400, "The request target is neither a path nor http.");
    let is_http =
        |scheme: &str| scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let (authority, rest) = match target.starts_with('/') {
        true => (None, target),
        false => match target.split_once("://") {
            Some((scheme, rest)) if is_http(scheme) => {
                let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
                (Some(authority), rest)
            }
            _ => return Err(NEITHER),
        },
    };
    let is_host = |host: &str| !host.is_empty() && is_authority(host);
    if memchr::memchr(b'#', rest.as_bytes()).is_some() || !authority.is_none_or(is_host) {
        return Err(NEITHER);
    }
    let (path, query) = match memchr::memchr(b'?', rest.as_bytes()) {
        None => (rest, ""),
        Some(at) => (&rest[..at], &rest[at + 1..]),
    };
    let path = if path.is_empty() { "/" } else { path };
    Ok(Target {
        authority,
        path,
        query,
    })
}
