//! What a node wants done in a turn, until the turn lets it go.

use std::sync::Arc;
use std::time::Instant;

use herd::connection_id::{ConnectionId, ReplyId};
use herd::node::effects::{Effects, LinkId, LogPolicy, News};
use herd::node::protocol::{Mark, TweetQuery};
use herd::node::questions::QuestionId;
use herd::topology::ServerName;

/// Lines that leave together over one connection.
#[derive(Debug)]
pub struct Parcel {
    /// The connection's slot, which is the place of its wire.
    pub wire: usize,
    /// The lines, each with its LF.
    pub text: Vec<u8>,
    pub lines: u64,
    /// How many of them are `AT` lines.
    pub changes: u64,
}

/// What is to be done beside saying something.
#[derive(Debug)]
pub enum Deed {
    Dial(LinkId),
    CancelDial(LinkId),
    /// Closes a connection, by the place of its wire.
    Close(usize),
}

/// Keeps effects.
#[derive(Debug, Default)]
pub struct Sink {
    pub parcels: Vec<Parcel>,
    pub deeds: Vec<Deed>,
    /// How many changes the table has taken in.
    pub accepted: u64,
    /// How many ends of links have come up, less those that have gone down.
    pub ends_up: i64,
}

impl Sink {
    /// Whether this turn has given up the dial of a link. It does so at once, though the turn has not let it go.
    pub fn has_cancelled(&self, link: LinkId) -> bool {
        let mut deeds = self.deeds.iter();
        deeds.any(|deed| matches!(deed, Deed::CancelDial(cancelled) if *cancelled == link))
    }
}

impl Effects for Sink {
    fn send(&mut self, to: ConnectionId, _: Option<LinkId>, line: &[u8], _: LogPolicy) {
        if self.parcels.last().is_none_or(|last| last.wire != to.slot) {
            self.parcels.push(Parcel {
                wire: to.slot,
                text: Vec::new(),
                lines: 0,
                changes: 0,
            });
        }
        let parcel = self.parcels.last_mut().expect("there is one now");
        parcel.text.extend_from_slice(line);
        parcel.text.push(b'\n');
        parcel.lines += 1;
        parcel.changes += u64::from(line.starts_with(b"AT "));
    }

    fn dial(&mut self, link: LinkId) {
        self.deeds.push(Deed::Dial(link));
    }

    fn cancel_dial(&mut self, link: LinkId) {
        self.deeds.push(Deed::CancelDial(link));
    }

    fn lose(&mut self, connection: ConnectionId, _: &str) {
        self.deeds.push(Deed::Close(connection.slot));
    }

    fn abort(&mut self, connection: ConnectionId, _: &str) {
        self.deeds.push(Deed::Close(connection.slot));
    }

    fn changed(&mut self, _: u64, _: &[u8]) {
        self.accepted += 1;
    }

    fn tell(&mut self, news: News<'_>) {
        match news {
            News::LinkUp(_) => self.ends_up += 1,
            News::LinkDown(..) => self.ends_up -= 1,
            News::Unreachable(..) | News::Refused { .. } => {} // while the herd is cut; of dials that cross
            News::ClockOff(..) | News::ClockRight(_) | News::OwnClock(_) => {
                panic!("all clocks are the same: {news:?}")
            }
            News::QuestionsFull | News::Invalid { .. } => panic!("nobody has said so: {news:?}"),
        }
    }

    fn reply(&mut self, _: ConnectionId, line: &[u8]) {
        assert!(line.starts_with(b"AT "), "{}", line.escape_ascii());
    }

    // There is no journal, and nobody asks Twitter.
    fn known(&mut self, _: &ServerName, _: Option<Mark>) {}
    fn marked(&mut self, _: &ServerName, _: u64) {}
    fn reserve(&mut self, _: ConnectionId, _: ReplyId, _: &[u8]) {}
    fn answer(&mut self, _: ConnectionId, _: ReplyId, _: Arc<[u8]>) {}
    fn ask(&mut self, _: QuestionId, _: TweetQuery, _: Instant) {}
    fn withdraw(&mut self, _: QuestionId) {}
}
