//! Bytes to requests, one after the other: the codec of a connection.
//!
//! It holds no bytes, only how far it has looked into what has come and is not handled. What it gives
//! borrows from those bytes and depends on them alone, never on how TCP has chopped them.

use std::time::{Duration, Instant};

use super::body::Body;
use super::line::Scan;
use super::parse::{common_head, head_len, parse};
use super::refusal::Refusal;
use super::request::Request;

/// A request must be whole so long after its first byte; then it is refused with 408.
pub const REQUEST_MAX: Duration = Duration::from_secs(10);

/// A connection on which no request has begun for so long is closed.
pub const KEEP_ALIVE_MAX: Duration = Duration::from_secs(75);

/// What its owner is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Wait for more bytes.
    More,
    /// Send [`CONTINUE`](super::CONTINUE), behind the responses before it: the client waits for that. Then ask
    /// again.
    Continue,
    /// Answer this. Then ask again, unless the response is the last.
    Request(Request<'a>),
    /// Answer with an error and close.
    Refuse(Refusal),
}

/// What its owner is to do about a client that takes too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// Answer with an error and close.
    Refuse(Refusal),
    /// Close: nothing was asked.
    Close,
}

/// How far a connection's input has been read.
#[derive(Debug, Default)]
pub struct Codec {
    part: Part,
    /// When the first byte of a request that is not whole had come.
    began: Option<Instant>,
    /// Since when the client may begin the next request. Not set while it waits for us.
    idle_since: Option<Instant>,
}

#[derive(Debug)]
enum Part {
    /// A request's head.
    Head(Scan),
    /// The body behind a head of so many bytes.
    Body(usize, Body),
    /// Nothing any more: the last request has come, or one was refused.
    Ended,
}

impl Default for Part {
    fn default() -> Part {
        Part::Head(Scan::default())
    }
}

impl Codec {
    /// The next step. `bytes` are all that were read by `now` and not handled; those that are handled with this
    /// step are taken off their front.
    pub fn next<'a>(&mut self, bytes: &mut &'a [u8], now: Instant) -> Step<'a> {
        if matches!(self.part, Part::Head(Scan { start: 0, .. })) {
            // RFC 9112 section 2.2: left over from an old client's last request.
            while let Some(rest) = bytes.strip_prefix(b"\r\n") {
                *bytes = rest;
                *self = Codec {
                    idle_since: self.idle_since,
                    ..Codec::default()
                };
            }
        }
        if matches!(self.part, Part::Ended) || bytes.is_empty() {
            *bytes = &[];
            return Step::More;
        }
        self.began.get_or_insert(now);
        let step = match self.advance(bytes) {
            Ok(step) => step,
            Err(refusal) => Step::Refuse(refusal),
        };
        match &step {
            Step::More | Step::Continue => return step,
            Step::Request(request) if request.manner.keep_alive => self.part = Part::default(),
            Step::Request(_) | Step::Refuse(_) => {
                self.part = Part::Ended;
                *bytes = &[];
            }
        }
        (self.began, self.idle_since) = (None, None);
        step
    }

    fn advance<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Step<'a>, Refusal> {
        let mut request = None;
        if let Part::Head(scan) = &mut self.part {
            let common = if scan.has_begun() {
                None
            } else {
                common_head(bytes)
            };
            let (length, head) = match common {
                Some(found) => found,
                None => match head_len(scan, bytes)? {
                    Some(length) => (length, parse(&bytes[..length])?),
                    None => return Ok(Step::More),
                },
            };
            self.part = Part::Body(length, Body::new(head.framing));
            if head.expects_continue {
                return Ok(Step::Continue);
            }
            request = Some(head.request);
        }
        let Part::Body(head, body) = &mut self.part else {
            return Ok(Step::More);
        };
        let (head, behind) = bytes.split_at(*head);
        let Some(length) = body.find_end(behind)? else {
            return Ok(Step::More);
        };
        // The head is read once more if its body came later: so nothing of it is held meanwhile.
        let mut request = match request {
            Some(request) => request,
            None => parse(head)?.request,
        };
        request.body = body.content(behind);
        *bytes = &behind[length..];
        Ok(Step::Request(request))
    }

    /// Reads nothing any more: what the client says from now on is thrown away.
    pub fn end(&mut self) {
        self.part = Part::Ended;
        (self.began, self.idle_since) = (None, None);
    }

    /// Notes that the client may begin the next request from `now` on: the connection was made, or all has been
    /// answered.
    pub fn idle_from(&mut self, now: Instant) {
        self.idle_since = Some(now);
    }

    /// When its owner is to ask whether the client takes too long. `None` while the client waits for us.
    pub fn deadline(&self) -> Option<Instant> {
        let request = self.began.map(|began| began + REQUEST_MAX);
        request.or(self.idle_since.map(|since| since + KEEP_ALIVE_MAX))
    }

    /// What to do about a client that has taken too long, if it has. Nothing it says is read any more then.
    pub fn time_out(&mut self, now: Instant) -> Option<Timeout> {
        self.deadline().filter(|deadline| *deadline <= now)?;
        self.part = Part::Ended;
        self.idle_since = None;
        Some(match self.began.take() {
            Some(_) => {
                let message = "The request took too long to come.";
                Timeout::Refuse(Refusal::new(408, message))
            }
            None => Timeout::Close,
        })
    }
}
