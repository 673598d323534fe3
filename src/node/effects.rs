//! The sink for a node's effects: what is done outside of the node.
//!
//! `Node` is handed a sink with each input, and tells it at once what follows. The server's driver carries the
//! effects out over real sockets, the simulation over virtual ones. The node never reads back what it has said,
//! so a sink costs it no purity.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use super::clock::Distrust;
use super::protocol::{Mark, TweetQuery};
use super::questions::QuestionId;
use crate::connection_id::{ConnectionId, ReplyId};
use crate::time::Difference;
use crate::topology::ServerName;

/// Names a link of this server to a neighbour. No other link ever has the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub NonZeroU32);

impl LinkId {
    /// The link that was made `count` links after the first.
    ///
    /// # Panics
    /// If there have been 2^32 links.
    pub fn nth(count: usize) -> LinkId {
        let number = u32::try_from(count).ok().and_then(|n| n.checked_add(1));
        let number = number.and_then(NonZeroU32::new);
        LinkId(number.expect("a server has few links"))
    }

    /// How many links were made before it.
    pub fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Whether a line on a link goes into the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogPolicy {
    /// It does: it says something new.
    Log,
    /// It does not: it is a heartbeat, which only shows that somebody is there.
    Skip,
}

/// What a server's operator may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News<'a> {
    /// A link is up.
    LinkUp(LinkId),
    /// A link that was up is down.
    LinkDown(LinkId, &'a str),
    /// A dial was not answered, or not as a neighbour answers.
    Unreachable(LinkId, &'a str),
    /// A neighbour's clock is too far from ours: one of them is wrong. The difference says how far it is ahead
    /// of ours.
    ClockOff(LinkId, Difference),
    /// A neighbour's clock was off, and is right again.
    ClockRight(LinkId),
    /// Our own clock is not trusted, or is again.
    OwnClock(Option<Distrust>),
    /// Somebody who is no neighbour came to the server port.
    Refused {
        /// Over which connection.
        connection: ConnectionId,
        /// The name under which they presented themselves, if they did.
        name: Option<&'a ServerName>,
        /// What is wrong with them.
        reason: &'a str,
    },
    /// A question was turned away, since too many wait for Twitter already.
    QuestionsFull,
    /// A client's line was no valid command.
    Invalid {
        /// Whose.
        client: ConnectionId,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Carries out what a node wants done. Lines are without their LF, but for [`Effects::reply`].
///
/// No method calls the node: what follows from an effect comes to it later, by a `handle_*`.
pub trait Effects {
    /// Says a line to a client. It ends with its LF, so that it may be copied at once.
    fn reply(&mut self, client: ConnectionId, line: &[u8]);

    /// Reserves a place among a client's replies for `line`, and for the answer that [`Effects::answer`] gives
    /// later. Both leave together. Replies that are made meanwhile leave after them.
    fn reserve(&mut self, client: ConnectionId, reply: ReplyId, line: &[u8]);

    /// Completes a reserved reply with a line of JSON, which all clients share that asked the same. If the
    /// client's next line had to wait, it may now be handled.
    fn answer(&mut self, client: ConnectionId, reply: ReplyId, json: Arc<[u8]>);

    /// Says a line on a connection between servers; `link` is `None` for a stranger's.
    fn send(
        &mut self,
        connection: ConnectionId,
        link: Option<LinkId>,
        line: &[u8],
        policy: LogPolicy,
    );

    /// Dials a neighbour; `Node::handle_connected` or `Node::handle_dial_failed` follows.
    fn dial(&mut self, link: LinkId);

    /// Gives up the dial under way.
    fn cancel_dial(&mut self, link: LinkId);

    /// Sends what is queued, then closes. The reason is for the log.
    fn lose(&mut self, connection: ConnectionId, reason: &str);

    /// Closes at once: nobody is there to read what is queued. The reason is for the log.
    fn abort(&mut self, connection: ConnectionId, reason: &str);

    /// Asks Twitter; `Node::handle_answer` follows, unless the question is withdrawn. Nobody will
    /// wait for the answer after `deadline`.
    fn ask(&mut self, question: QuestionId, query: TweetQuery, deadline: Instant);

    /// Nobody waits for this answer any longer.
    fn withdraw(&mut self, question: QuestionId);

    /// The table has taken in `line`, an `AT` or `ERASED` line, as the changefeed's change `number`. A journal
    /// must have it before a reply leaves that was made after it.
    fn changed(&mut self, number: u64, line: &[u8]);

    /// This server now has a neighbour's changefeed up to this mark, or, if that is `None`, nothing of it for
    /// certain. A journal should have it.
    fn known(&mut self, neighbour: &ServerName, known: Option<Mark>);

    /// A neighbour is about to be sent this mark of our changefeed, the highest so far. A journal should
    /// have it before the mark leaves.
    fn marked(&mut self, neighbour: &ServerName, number: u64);

    /// Tells the operator something.
    fn tell(&mut self, news: News<'_>);
}

/// For tests that look at the node only.
#[cfg(test)]
impl Effects for () {
    fn reply(&mut self, _: ConnectionId, _: &[u8]) {}
    fn reserve(&mut self, _: ConnectionId, _: ReplyId, _: &[u8]) {}
    fn answer(&mut self, _: ConnectionId, _: ReplyId, _: Arc<[u8]>) {}
    fn send(&mut self, _: ConnectionId, _: Option<LinkId>, _: &[u8], _: LogPolicy) {}
    fn dial(&mut self, _: LinkId) {}
    fn cancel_dial(&mut self, _: LinkId) {}
    fn lose(&mut self, _: ConnectionId, _: &str) {}
    fn abort(&mut self, _: ConnectionId, _: &str) {}
    fn ask(&mut self, _: QuestionId, _: TweetQuery, _: Instant) {}
    fn withdraw(&mut self, _: QuestionId) {}
    fn changed(&mut self, _: u64, _: &[u8]) {}
    fn known(&mut self, _: &ServerName, _: Option<Mark>) {}
    fn marked(&mut self, _: &ServerName, _: u64) {}
    fn tell(&mut self, _: News<'_>) {}
}
