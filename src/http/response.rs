//! Responses to bytes: whole, or as they come.

use chrono::DateTime;

use super::request::Manner;
use crate::time::write_decimal;

/// What is sent before the response to a client that waits for it with its body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A response, without its body.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The status, from 200 on.
    pub status: u16,
    /// The `Content-Type` of the body; empty if there is none.
    pub content_type: &'a str,
    /// More fields.
    pub fields: &'a [(&'a str, String)],
    /// When it is made; empty if the clock is beyond what can be written.
    pub date: &'a str,
}

/// The `Date` of responses, composed once a second.
#[derive(Debug, Default)]
pub struct Date {
    /// The second of which `text` is, since 1970-01-01 UTC.
    second: Option<i64>,
    text: String,
}

impl Date {
    /// That of a response which is made so many seconds after 1970-01-01 UTC.
    pub fn at(&mut self, second: i64) -> &str {
        if self.second != Some(second) {
            self.second = Some(second);
            self.text = imf_fixdate(second).unwrap_or_default();
        }
        &self.text
    }
}

/// How the end of a body that is sent as it comes is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// An empty chunk.
    Chunk,
    /// The connection's.
    Close,
    /// There is no body.
    Head,
}

/// A response of which the body is sent as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream(End);

impl Response<'_> {
    /// Appends a response with this whole body to `out`.
    pub fn write(&self, out: &mut Vec<u8>, body: &[u8], manner: Manner) {
        if self.write_head(out, body.len(), manner) {
            out.extend_from_slice(body);
        }
    }

    /// Appends the head of a response to `out` of which the body has so many bytes. Gives whether the body is to
    /// follow.
    pub fn write_head(&self, out: &mut Vec<u8>, body_bytes: usize, manner: Manner) -> bool {
        let has_body = may_have_body(self.status);
        self.begin_head(out);
        if has_body {
            out.extend_from_slice(b"\r\nContent-Length: ");
            write_decimal(out, body_bytes as u64);
        }
        self.end_head(out, manner);
        has_body && !manner.head_only
    }

    /// Appends the head of a response to `out` of which the body is sent as it comes. After it the owner
    /// closes the connection unless [`Stream::keeps_alive`].
    pub fn write_stream(&self, out: &mut Vec<u8>, manner: Manner) -> Stream {
        let stream = match manner {
            _ if !may_have_body(self.status) => Stream(End::Head),
            Manner {
                head_only: true, ..
            } => Stream(End::Head),
            Manner { chunks: true, .. } => Stream(End::Chunk),
            Manner { chunks: false, .. } => Stream(End::Close),
        };
        self.begin_head(out);
        if manner.chunks && may_have_body(self.status) {
            out.extend_from_slice(b"\r\nTransfer-Encoding: chunked");
        }
        let keep_alive = manner.keep_alive && stream.keeps_alive();
        self.end_head(
            out,
            Manner {
                keep_alive,
                ..manner
            },
        );
        stream
    }

    /// Appends what stands before the field that says where the body ends.
    fn begin_head(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/1.1 ");
        write_decimal(out, self.status.into());
        out.push(b' ');
        out.extend_from_slice(reason(self.status).as_bytes());
        if !self.date.is_empty() {
            out.extend_from_slice(b"\r\nDate: ");
            out.extend_from_slice(self.date.as_bytes());
        }
        if !self.content_type.is_empty() {
            out.extend_from_slice(b"\r\nContent-Type: ");
            out.extend_from_slice(self.content_type.as_bytes());
        }
    }

    /// Appends what stands behind it.
    fn end_head(&self, out: &mut Vec<u8>, manner: Manner) {
        for (name, value) in self.fields {
            // Nobody who is quoted in a value shall end it early and write a field of their own.
            let value: String = value.chars().filter(|c| !c.is_control()).collect();
            for part in ["\r\n", name, ": ", &value] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        // RFC 9112 section 9.3: HTTP/1.1 keeps a connection unless it is told of a close, HTTP/1.0 if it is told so.
        out.extend_from_slice(match (manner.keep_alive, manner.chunks) {
            (true, true) => b"\r\n\r\n",
            (true, false) => b"\r\nConnection: keep-alive\r\n\r\n",
            (false, _) => b"\r\nConnection: close\r\n\r\n",
        });
    }
}

impl Stream {
    /// Appends a part of the body to `out`.
    pub fn write(self, out: &mut Vec<u8>, bytes: &[u8]) {
        match self.0 {
            End::Chunk if !bytes.is_empty() => {
                out.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
                out.extend_from_slice(bytes);
                out.extend_from_slice(b"\r\n");
            }
            End::Close => out.extend_from_slice(bytes),
            End::Chunk | End::Head => {} // an empty chunk would be the last
        }
    }

    /// Appends the end of the body to `out`.
    pub fn end(self, out: &mut Vec<u8>) {
        match self.0 {
            End::Chunk => out.extend_from_slice(b"0\r\n\r\n"),
            End::Close | End::Head => {}
        }
    }

    /// Whether the end of the body is known before the connection's.
    pub fn keeps_alive(self) -> bool {
        self.0 != End::Close
    }
}

/// RFC 9110 sections 15.3.5 and 15.4.5: these have none, nor a length.
const fn may_have_body(status: u16) -> bool {
    !matches!(status, 204 | 304)
}

/// RFC 9110 section 5.6.7; `None` beyond the years that can be written so.
fn imf_fixdate(seconds: i64) -> Option<String> {
    const YEAR_10000: i64 = 253_402_300_800;
    let date = DateTime::from_timestamp(seconds, 0).filter(|_| (0..YEAR_10000).contains(&seconds));
    date.map(|date| date.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
}

/// The reason phrase; empty, as RFC 9112 section 4 allows, for a status that is not used here.
pub const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        420 => "Enhance Your Calm", // Twitter's own, for too many questions
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
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

    const DATE: i64 = 1_353_118_103;
    const FIRST: &str = "HTTP/1.1 200 OK\r\nDate: Sat, 17 Nov 2012 02:08:23 GMT\r\n";

    /// How a request is to be answered, by what it is.
    fn manner(keep_alive: bool, head_only: bool, chunks: bool) -> Manner {
        Manner {
            keep_alive,
            head_only,
            chunks,
        }
    }

    fn response<'a>(status: u16, fields: &'a [(&'a str, String)], date: &'a str) -> Response<'a> {
        Response {
            status,
            content_type: "text/plain",
            fields,
            date,
        }
    }

    #[test]
    fn whole_responses() {
        let fields = [("X", "1\r\nSet-Cookie: a\n\r\n\0b".to_owned())];
        let mut date = Date::default();
        assert_eq!(date.at(i64::MAX), "", "it has no year of four digits");
        let ok = response(200, &fields, date.at(DATE));
        let head = format!(
            "{FIRST}Content-Type: text/plain\r\nContent-Length: 2\r\nX: 1Set-Cookie: ab\r\n"
        );
        let no_length =
            "HTTP/1.1 204 No Content\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n";
        for (response, manner, want) in [
            (ok, manner(true, false, true), format!("{head}\r\né")),
            (
                ok,
                manner(true, false, false),
                format!("{head}Connection: keep-alive\r\n\r\né"),
            ),
            (
                ok,
                manner(false, true, false),
                format!("{head}Connection: close\r\n\r\n"),
            ),
            (
                response(204, &[], ""),
                manner(false, false, true),
                no_length.to_owned(),
            ),
        ] {
            let mut out = Vec::new();
            response.write(&mut out, "é".as_bytes(), manner);
            assert_eq!(String::from_utf8_lossy(&out), want);
        }
    }

    #[test]
    fn responses_as_they_come() {
        let head = format!("{FIRST}Content-Type: text/plain\r\n");
        let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
        let closing = format!("{head}Connection: close\r\n\r\n");
        for (manner, want) in [
            (
                manner(true, false, true),
                format!("{chunked}a\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\n"),
            ),
            (manner(true, true, true), chunked.clone()),
            (manner(true, false, false), format!("{closing}0123456789x")),
        ] {
            let mut out = Vec::new();
            let stream =
                response(200, &[], Date::default().at(DATE)).write_stream(&mut out, manner);
            for part in ["0123456789", "", "x"] {
                stream.write(&mut out, part.as_bytes());
            }
            stream.end(&mut out);
            assert_eq!(String::from_utf8_lossy(&out), want);
            assert_eq!(stream.keeps_alive(), manner.chunks);
        }
    }
}
