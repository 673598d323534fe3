//! Server-Sent Events: each follower is a cursor in the changefeed, as a link is.
//!
//! `Driver` lets them be visited once a turn, in a ring. A visit writes what changed after the follower's cursor, as
//! far as its output has room, and moves the cursor. So a slow reader costs a number, and sees of each client
//! the latest location; none has a queue.
//!
//! ```text
//!   changefeed  ...  7   8   9  10        a follower at 8 is sent 9 and 10, and is at 10
//!                        ^                id: INCARNATION-10 says so to the client; with it the client
//!                                         resumes, after a cut or a restart of the server
//! ```
//!
//! A write costs far more than what is written, so visits are paced: all followers together take a bounded share
//! of the loop, and the more there are the more each is sent at a time. Pure: time is an argument.

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::location;
use crate::connection_id::ConnectionId;
use crate::http::{Request, Stream};
use crate::node::Node;
use crate::node::location::Update;
use crate::node::protocol::{Incarnation, Mark, is_erased, parse_number, parse_update};
use crate::time::Now;

/// The `Content-Type` of a stream of events.
pub const CONTENT_TYPE: &str = "text/event-stream";

/// The most that a visit queues for a follower, in bytes, and the most that is pending for one.
const VISIT_BYTES_MAX: usize = 32 * 1024;

/// Visits come so long after each other, on average: a thousand followers have each a visit ten times a second.
const VISIT_EVERY: Duration = Duration::from_micros(100);

/// ... and a visit that queues much, so much later for each byte: all followers are sent 50 MB/s at most.
const BYTE_EVERY: Duration = Duration::from_nanos(20);

/// A loop that was busy may make up for so much time at once.
const BURST: Duration = Duration::from_millis(2);

/// When the only followers that are behind take nothing, they are looked at again after so long.
const BLOCKED_RETRY: Duration = Duration::from_millis(100);

/// How often all are looked at whether they have been told anything lately: ...
const COMMENT_LAP: Duration = Duration::from_secs(5);

/// ... who has not for so long is sent a comment, which keeps proxies from closing the connection. So a client
/// hears something each 15 s at least.
const COMMENT_AFTER: Duration = Duration::from_secs(10);

/// So many events stay composed: followers that keep up are all sent the same ...
const COMPOSED_MAX: usize = 1024;

/// ... so many bytes of them: the event of a client with a long name may have 400,000.
const COMPOSED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Where a client wants to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With what changes from now on.
    Now,
    /// With all that is known.
    Start,
    /// After an event.
    Event {
        /// Its id; `None` if it is none of ours.
        mark: Option<Mark>,
        /// Whether the client had begun with all that was known, and may have been cut off before all of it had come.
        from_start: bool,
    },
}

impl From {
    /// What a request says of it. `Last-Event-ID` wins over `?from=start`.
    ///
    /// # Errors
    /// What is wrong with the query.
    pub fn read(request: &Request<'_>) -> Result<From, String> {
        let id = request.values("last-event-id").next();
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            return Ok(From::Event {
                mark: read_id(id),
                from_start: request.query == "from=start",
            });
        }
        match request.query {
            "" => Ok(From::Now),
            "from=start" => Ok(From::Start),
            "from=now" => Ok(From::Now),
            _ => Err("the query may be from=start or from=now".to_owned()),
        }
    }
}

/// `INCARNATION-NUMBER`.
fn read_id(id: &[u8]) -> Option<Mark> {
    let (incarnation, number) = id.split_at_checked(16)?;
    Some(Mark {
        incarnation: Incarnation::parse(incarnation)?,
        number: parse_number(number.strip_prefix(b"-")?)?,
    })
}

/// Somebody who is sent the changes as events.
#[derive(Debug)]
struct Follower {
    id: ConnectionId,
    stream: Stream,
    /// It has been sent the changes up to this number.
    cursor: u64,
    /// It is told when it has been sent the changes up to this number: all that there were when it came.
    live_at: Option<u64>,
    /// It is told of erasures after this number: who begins with nothing need not be told of those before it came.
    erased_after: u64,
    /// When it was last told anything.
    told_at: Instant,
}

/// What carries events to followers: the reactor.
pub trait Wire {
    /// How many bytes a connection has yet to be sent; `None` if it is gone, or closes.
    fn pending(&self, id: ConnectionId) -> Option<usize>;

    /// Queues bytes for a connection.
    fn send(&mut self, id: ConnectionId, bytes: &[u8]);
}

/// All followers.
#[derive(Debug)]
pub struct Followers {
    /// Who is visited next is in front.
    ring: VecDeque<Follower>,
    composed: Composed,
    /// Visits, one after the other, that found nothing left to send, since the feed came to `settled_end`.
    settled: usize,
    settled_end: u64,
    /// One of those was behind, and had no room.
    is_blocked: bool,
    /// When the next visit is due, while there is something to send.
    visit_at: Instant,
    /// When the next lap for comments begins, ...
    comment_at: Instant,
    /// ... and how many visits are left of the present one.
    comment_visits: usize,
    /// Events sent so far.
    pub events_sent: u64,
}

impl Followers {
    /// None yet.
    pub fn new(now: Instant) -> Followers {
        Followers {
            ring: VecDeque::new(),
            composed: Composed::default(),
            settled: 0,
            settled_end: 0,
            is_blocked: false,
            visit_at: now,
            comment_at: now + COMMENT_LAP,
            comment_visits: 0,
            events_sent: 0,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Adds the connection `id`, which was sent the head of `stream`. Gives what it is to be sent first.
    pub fn add(
        &mut self,
        id: ConnectionId,
        stream: Stream,
        from: From,
        node: &Node,
        now: Now,
    ) -> Vec<u8> {
        let end = node.table().end();
        let (cursor, live_at, erased_after) = match from {
            From::Now => (Some(end), None, 0),
            From::Start => (Some(0), Some(end), end),
            From::Event { mark, from_start } => {
                match mark.and_then(|mark| node.resume_from(mark)) {
                    Some(cursor) => (Some(cursor), from_start.then_some(end), 0),
                    None => (None, Some(end), end),
                }
            }
        };
        let id_line = id_line(node.incarnation(), cursor.unwrap_or(0));
        let first = match cursor {
            // An id without data is no event, but the client resumes there.
            Some(_) => format!("retry: 1000\n{id_line}\n"),
            // Not so here: who is cut off before it has read all of this event must be sent it again.
            None => format!("retry: 1000\nevent: reset\n{id_line}data: {{}}\n\n"),
        };
        let mut out = Vec::new();
        stream.write(&mut out, first.as_bytes());
        if self.ring.is_empty() {
            self.visit_at = now.mono;
            self.comment_at = now.mono + COMMENT_LAP;
        }
        self.settled = 0;
        self.ring.push_front(Follower {
            id,
            stream,
            cursor: cursor.unwrap_or(0),
            live_at,
            erased_after,
            told_at: now.mono,
        });
        out
    }

    /// Ends all streams: gives the connections, each with what it is to be sent last.
    pub fn end(&mut self) -> Vec<(ConnectionId, Vec<u8>)> {
        self.composed = Composed::default();
        let ended = self.ring.drain(..).map(|follower| {
            let mut out = Vec::new();
            follower.stream.end(&mut out);
            (follower.id, out)
        });
        ended.collect()
    }

    /// When [`Followers::visit`] wants to be called though nothing happens; `end` is the feed's.
    pub fn timeout(&self, end: u64) -> Option<Instant> {
        if self.ring.is_empty() {
            return None;
        }
        let visit = match self.is_settled(end) {
            true if self.is_blocked => Some(self.visit_at + BLOCKED_RETRY),
            true => None,
            false => Some(self.visit_at),
        };
        visit.into_iter().chain([self.comment_at]).min()
    }

    /// Whether all were visited, and found to have been sent all they could be, since the feed came to `end`.
    fn is_settled(&self, end: u64) -> bool {
        self.settled_end == end && self.settled >= self.ring.len() && self.comment_visits == 0
    }

    /// Visits those whose turn it is.
    pub fn visit(&mut self, node: &mut Node, now: Now, wire: &mut impl Wire) {
        let end = node.table().end();
        if self.ring.is_empty() || !self.begin(end, now.mono) {
            return;
        }
        self.visit_at = self
            .visit_at
            .max(now.mono.checked_sub(BURST).unwrap_or(now.mono));
        let mut out = Vec::new();
        for _ in 0..self.ring.len() {
            if self.visit_at > now.mono || self.is_settled(end) {
                return;
            }
            let Some(mut follower) = self.ring.pop_front() else {
                return;
            };
            self.visit_at += VISIT_EVERY;
            let is_comment_due = self.comment_visits > 0;
            self.comment_visits = self.comment_visits.saturating_sub(1);
            let Some(pending) = wire.pending(follower.id) else {
                if self.ring.is_empty() {
                    self.composed = Composed::default();
                }
                continue; // it has gone
            };
            let room = VISIT_BYTES_MAX.saturating_sub(pending);
            let mut events = self.events_for(&mut follower, node, room, now);
            if follower.cursor == end || room == 0 {
                self.settled += 1;
                self.is_blocked |= follower.cursor != end;
            } else {
                self.settled = 0;
            }
            let is_silent = now.mono >= follower.told_at + COMMENT_AFTER;
            if events.is_empty() && is_comment_due && is_silent && pending == 0 {
                events.extend_from_slice(b":\n\n");
            }
            if !events.is_empty() {
                follower.told_at = now.mono;
                out.clear();
                follower.stream.write(&mut out, &events);
                wire.send(follower.id, &out);
                self.visit_at += BYTE_EVERY * u32::try_from(out.len()).unwrap_or(u32::MAX);
            }
            self.ring.push_back(follower);
        }
    }

    /// Begins what is due; `false` if nothing is.
    fn begin(&mut self, end: u64, now: Instant) -> bool {
        if now >= self.comment_at {
            self.comment_at = now + COMMENT_LAP;
            self.comment_visits = self.ring.len();
        }
        let is_retry = self.is_blocked && now >= self.visit_at + BLOCKED_RETRY;
        if self.settled_end != end || is_retry {
            (self.settled, self.settled_end, self.is_blocked) = (0, end, false);
        }
        !self.is_settled(end)
    }

    /// What a follower is sent next, in `room` bytes, but for one event that may go beyond.
    fn events_for(
        &mut self,
        follower: &mut Follower,
        node: &mut Node,
        room: usize,
        now: Now,
    ) -> Vec<u8> {
        let mut events = Vec::new();
        if room == 0 {
            return events;
        }
        let incarnation = node.incarnation();
        let (composed, sent) = (&mut self.composed, &mut self.events_sent);
        let erased_after = follower.erased_after;
        follower.cursor = node.follow(follower.cursor, now, |change| {
            if events.len() >= room {
                return false;
            }
            if change.number <= erased_after && is_erased(change.line) {
                return true;
            }
            composed.write(&mut events, incarnation, change.number, change.line);
            *sent += 1;
            true
        });
        if follower.live_at.is_some_and(|at| follower.cursor >= at) {
            follower.live_at = None;
            let id_line = id_line(incarnation, follower.cursor);
            let live = format!("event: live\n{id_line}data: {{}}\n\n");
            events.extend_from_slice(live.as_bytes());
        }
        events
    }
}

fn id_line(incarnation: Incarnation, number: u64) -> String {
    format!("id: {incarnation}-{number}\n")
}

/// The events of the latest changes, composed once for all who follow.
#[derive(Debug, Default)]
struct Composed {
    events: VecDeque<(u64, Box<[u8]>)>,
    bytes: usize,
}

impl Composed {
    /// Appends the event of the change `number`, of which `line` is the `AT` line.
    fn write(&mut self, out: &mut Vec<u8>, incarnation: Incarnation, number: u64, line: &[u8]) {
        let events = &mut self.events;
        if let Ok(at) = events.binary_search_by_key(&number, |(number, _)| *number) {
            return out.extend_from_slice(&events[at].1);
        }
        let start = out.len();
        compose(out, incarnation, number, line);
        if events.back().is_none_or(|(last, _)| *last < number) {
            events.push_back((number, out[start..].into()));
            self.bytes += out.len() - start;
            while (events.len() > COMPOSED_MAX || self.bytes > COMPOSED_BYTES_MAX)
                && let Some((_, oldest)) = events.pop_front()
            {
                self.bytes -= oldest.len();
            }
        }
    }
}

/// Appends the event of a change. What kind it is the line says: a location, or an erasure.
fn compose(out: &mut Vec<u8>, incarnation: Incarnation, number: u64, line: &[u8]) {
    let Some(update) = parse_update(line) else {
        return; // a snapshot had a line there that is none
    };
    let kind: &[u8] = match update {
        Update::Report(_) => b"event: location\n",
        Update::Erasure(_) => b"event: erased\n",
    };
    out.extend_from_slice(kind);
    out.extend_from_slice(id_line(incarnation, number).as_bytes());
    out.extend_from_slice(b"data: {");
    match update {
        Update::Report(location) => location::write_members(out, &location),
        Update::Erasure(erasure) => location::write_client(out, erasure.client),
    }
    out.extend_from_slice(b"}\n\n");
}
