//! How each system is told that a client has moved, and what it answers when it is right.
//!
//! In every dialect a message is a text of fixed length in which the same digits vary: the client,
//! both fractions of its position and, where it is told, the time. So all systems get the same
//! points of the same clients in the same order. An answer is one line, or a response of HTTP.

use std::ops::Range;

use memchr::memmem;

use super::digits::read_number;
use super::process::SOLO;

/// A way to say where a client is.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    /// What is said, with zeros where it varies.
    pub message: &'static [u8],
    pub answer: Answer,
    /// Said once on each new connection, unanswered.
    pub greeting: &'static [u8],
}

/// What the right answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The message itself.
    Echo,
    /// The `AT` line, heard by the server of that name.
    At(&'static str),
    /// RESP's `:1` or `:0`: one member was added, or none, since it was known.
    Count,
    /// RESP's `+OK`.
    Ok,
    /// HTTP's 200 with the location that was reported, accepted.
    Accepted,
    /// HTTP's 200 with nothing.
    Empty,
    /// There is none; that the message has arrived is seen elsewhere.
    None,
}

/// herd and the reference implementations. The `AT` line from a server with a name of four letters has 80 bytes.
const IAMAT: &[u8] = b"IAMAT client-00000000 +34.000000-118.000000 0000000000.000000000\n";

/// What an `AT` line repeats of it: ` <client-id> <location> <time>` and the end of the line.
pub const IAMAT_TAIL: Range<usize> = 5..65;

pub const HERD: Dialect = Dialect::new(IAMAT, Answer::At(SOLO));
/// The first of a herd of several.
pub const HERD_A: Dialect = Dialect::new(IAMAT, Answer::At("A"));
pub const ECHO: Dialect = Dialect::new(IAMAT, Answer::Echo);

/// herd over HTTP, as a program of one's own reports: JSON.
pub const HTTP_JSON: Dialect = Dialect::new(
    b"POST /v1/clients/client-00000000 HTTP/1.1\r\nHost: localhost\r\nUser-Agent: versus/1.0\r\n\
      Content-Type: application/json\r\nContent-Length: 74\r\n\r\n\
      {\"latitude\":34.000000,\"longitude\":-118.000000,\"time\":0000000000.000000000}",
    Answer::Accepted,
);

/// As OsmAnd reports: a query.
pub const HTTP_QUERY: Dialect = Dialect::new(
    b"GET /osmand?id=client-00000000&lat=34.000000&lon=-118.000000&timestamp=0000000000.000000000 \
      HTTP/1.1\r\nHost: localhost\r\nUser-Agent: versus/1.0\r\n\r\n",
    Answer::Empty,
);

/// As Traccar Client reports: a form.
pub const HTTP_FORM: Dialect = Dialect::new(
    b"POST /osmand HTTP/1.1\r\nHost: localhost\r\nUser-Agent: versus/1.0\r\n\
      Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 79\r\n\r\n\
      id=client-00000000&lat=34.000000&lon=-118.000000&timestamp=0000000000.000000000",
    Answer::Empty,
);

/// One sorted set of all clients, by the hash of their positions. The time has no place in it.
pub const REDIS_GEOADD: Dialect = Dialect::new(
    b"*5\r\n$6\r\nGEOADD\r\n$4\r\nherd\r\n$11\r\n-118.000000\r\n$9\r\n34.000000\r\n$15\r\nclient-00000000\r\n",
    Answer::Count,
);

/// A key for each client, whose value is what an `IAMAT` says of it.
pub const REDIS_SET: Dialect = Dialect::new(
    b"*3\r\n$3\r\nSET\r\n$15\r\nclient-00000000\r\n$42\r\n+34.000000-118.000000 0000000000.000000000\r\n",
    Answer::Ok,
);

/// A key for each client, whose value is the `AT` line that herd keeps, without its end.
pub const REDIS_SET_AT: Dialect = Dialect::new(
    b"*3\r\n$3\r\nSET\r\n$15\r\nclient-00000000\r\n$79\r\nAT Solo +0.000000000 client-00000000 \
      +34.000000-118.000000 0000000000.000000000\r\n",
    Answer::Ok,
);

/// What every connection to NATS says first.
pub const NATS_CONNECT: &[u8] = b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";

/// A message under the one subject of the flood, with what an `IAMAT` says. It is not answered.
pub const NATS_PUB: Dialect = Dialect {
    message: b"PUB flood 58\r\nclient-00000000 +34.000000-118.000000 0000000000.000000000\r\n",
    answer: Answer::None,
    greeting: NATS_CONNECT,
};

impl Dialect {
    const fn new(message: &'static [u8], answer: Answer) -> Dialect {
        Dialect {
            message,
            answer,
            greeting: b"",
        }
    }

    /// Where the message varies.
    pub fn gaps(&self) -> Gaps {
        let find = |text: &str| memmem::find(self.message, text.as_bytes());
        let gap = |text: &str, digits: usize| {
            let end = find(text).expect("every dialect has it") + text.len();
            end - digits..end
        };
        let clients: Vec<usize> = memmem::find_iter(self.message, "client-00000000").collect();
        Gaps {
            client: gap("client-00000000", 8),
            client_again: clients.get(1).map(|&at| at + 7..at + 15),
            latitude: gap("34.000000", 6),
            longitude: gap("118.000000", 6),
            time: find("0000000000.000000000").map(|at| at..at + 20),
        }
    }

    /// Where it says what floods: `client-00000000 +34.000000-118.000000 0000000000.000000000`, if
    /// it says that in one piece.
    pub fn update(&self) -> Option<Range<usize>> {
        let update = b"client-00000000 +34.000000-118.000000 0000000000.000000000";
        memmem::find(self.message, update).map(|at| at..at + update.len())
    }
}

/// Where the digits are that vary.
#[derive(Clone, Debug)]
pub struct Gaps {
    pub client: Range<usize>,
    /// Where the message names the client twice.
    pub client_again: Option<Range<usize>>,
    pub latitude: Range<usize>,
    pub longitude: Range<usize>,
    pub time: Option<Range<usize>>,
}

impl Answer {
    /// How long the answer is with which `bytes` begin; `None` if its end has not come.
    pub fn len(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Answer::Echo | Answer::At(_) | Answer::Count | Answer::Ok | Answer::None => {
                memchr::memchr(b'\n', bytes).map(|end| end + 1)
            }
            Answer::Accepted | Answer::Empty => {
                let length = b"\r\nContent-Length: ";
                let head = memmem::find(bytes, b"\r\n\r\n")? + 4;
                let digits = &bytes[memmem::find(&bytes[..head], length)? + length.len()..];
                let digits = &digits[..memchr::memchr(b'\r', digits)?];
                let whole = head + read_number(digits)? as usize;
                (whole <= bytes.len()).then_some(whole)
            }
        }
    }

    /// Whether `reply`, whole, is the right answer to the message `sent`.
    pub fn is_right(self, sent: &[u8], reply: &[u8]) -> bool {
        match self {
            Answer::Echo => reply == sent,
            Answer::At(server) => is_at(server, reply, &sent[IAMAT_TAIL]),
            Answer::Count => matches!(reply, b":0\r\n" | b":1\r\n"),
            Answer::Ok => reply == b"+OK\r\n",
            Answer::Accepted => {
                let time = sent.strip_suffix(b"}").and_then(<[u8]>::last_chunk::<20>);
                let has_time = time.is_some_and(|time| memmem::find(reply, time).is_some());
                has_time && is_200(reply) && reply.ends_with(b",\"accepted\":true}")
            }
            Answer::Empty => is_200(reply) && reply.ends_with(b"\r\n\r\n"),
            Answer::None => false,
        }
    }
}

fn is_200(reply: &[u8]) -> bool {
    reply.starts_with(b"HTTP/1.1 200 ")
}

/// Whether this is an `AT` line of that server's with that tail.
pub fn is_at(server: &str, line: &[u8], tail: &[u8]) -> bool {
    line.strip_suffix(tail).is_some_and(|start| {
        let difference = start.strip_prefix(b"AT ");
        let difference = difference.and_then(|rest| rest.strip_prefix(server.as_bytes()));
        let difference = difference.and_then(|rest| rest.strip_prefix(b" "));
        matches!(difference, Some([b'+' | b'-', digits @ ..]) if digits.len() >= 11)
    })
}
