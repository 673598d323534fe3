//! What a server keeps for its HTTP connections, and how answers leave.
//!
//! `Shell` has one. `requests` reads what they ask; what is asked and answered is `crate::web`'s matter.

use std::collections::BTreeMap;
use std::time::Instant;

use super::mail::Mail;
use super::roles::Role;
use crate::connection_id::{ConnectionId, ReplyId};
use crate::http::{Date, Deadlines, Manner};
use crate::net::{OUTPUT_BYTES_MAX, Reactor};
use crate::time::write_decimal;
use crate::web::access::Access;
use crate::web::answer::{Answer, Rest};
use crate::web::events::{Followers, Wire};

/// What is kept for all HTTP connections.
#[derive(Debug)]
pub struct Web {
    /// Who may ask.
    pub access: Access,
    /// When to look which client takes too long.
    pub deadlines: Deadlines,
    /// Who is sent the changes.
    pub followers: Followers,
    /// Responses that wait for Twitter.
    waiting: BTreeMap<(ConnectionId, ReplyId), Waiting>,
    /// How the request that is handled is to be answered, if it waits.
    pub manner: Manner,
    /// Where responses are composed, one after the other.
    response: Vec<u8>,
    /// When they are made.
    pub date: Date,
    /// Where the text of records of the log is composed.
    pub record: Vec<u8>,
}

impl Web {
    /// For connections of those who have `access`.
    pub fn new(access: Access, now: Instant) -> Web {
        Web {
            access,
            deadlines: Deadlines::default(),
            followers: Followers::new(now),
            waiting: BTreeMap::new(),
            manner: Manner::LAST,
            response: Vec::new(),
            date: Date::default(),
            record: Vec::new(),
        }
    }

    /// Lets the response to the request that is handled wait for tweets about the client of the line `at`.
    pub fn wait(&mut self, client: ConnectionId, reply: ReplyId, at: &[u8]) {
        let (at, manner) = (at.to_vec(), self.manner);
        self.waiting.insert((client, reply), Waiting { at, manner });
    }

    /// The response that waits for this reply, if one does.
    pub fn waited(&mut self, client: ConnectionId, reply: ReplyId) -> Option<Waiting> {
        self.waiting.remove(&(client, reply))
    }

    /// When there is something to do though nothing happens; `end` is that of the changefeed.
    pub fn timeout(&self, end: u64) -> impl Iterator<Item = Option<Instant>> {
        [self.deadlines.next(), self.followers.timeout(end)].into_iter()
    }

    /// Forgets a connection that has gone.
    pub fn forget(&mut self, client: ConnectionId) {
        let all = (client, ReplyId(0))..=(client, ReplyId(u64::MAX));
        let gone: Vec<_> = self.waiting.range(all).map(|(key, _)| *key).collect();
        gone.iter().for_each(|key| _ = self.waiting.remove(key));
    }

    /// The bytes of a response that is made `date` seconds after 1970-01-01 UTC, and what follows them.
    pub fn response(
        &mut self,
        answer: &Answer,
        manner: Manner,
        date: i64,
    ) -> (&[u8], Option<Rest>) {
        self.response.clear();
        let rest = answer.write(&mut self.response, manner, self.date.at(date));
        (&self.response, rest)
    }
}

/// A response that waits for Twitter.
#[derive(Debug)]
pub struct Waiting {
    /// The `AT` line of the client that is asked about.
    pub at: Vec<u8>,
    /// What the response must keep to.
    pub manner: Manner,
}

impl Wire for Reactor<Role, Mail> {
    fn pending(&self, id: ConnectionId) -> Option<usize> {
        self.is_open(id)
            .then(|| OUTPUT_BYTES_MAX.saturating_sub(self.room(id)))
    }

    fn send(&mut self, id: ConnectionId, bytes: &[u8]) {
        Reactor::send(self, id, &[bytes]);
    }
}

/// What is answered to a connection for which there is no room.
pub fn no_room(server: &str, most: usize) -> Answer {
    let error =
        format!("{server} has {most} HTTP connections and takes no more, try another server");
    Answer::error(503, &error).with("Retry-After", "1")
}

/// Appends what the log shows of an answer: its status, and of an error what is wrong.
pub fn write_shown(out: &mut Vec<u8>, answer: &Answer) {
    let Answer { status, body, .. } = answer;
    write_decimal(out, u64::from(*status));
    out.push(b' ');
    out.extend_from_slice(crate::http::reason(*status).as_bytes());
    match status {
        400.. => {
            out.push(b' ');
            out.extend_from_slice(body);
        }
        _ => {
            out.extend_from_slice(b", ");
            write_decimal(out, answer.body_len() as u64);
            out.extend_from_slice(b" bytes");
        }
    }
}

/// Whom an answer is for.
#[derive(Clone, Copy, Debug)]
pub struct To {
    /// The connection.
    pub id: ConnectionId,
    /// What the response must keep to.
    pub manner: Manner,
}
