//! What comes on connections between servers: bytes, and the lines of neighbours.
//!
//! `Node` hands on each line. The first line of a connection goes on to `hello`, one that ends it to `closing`.

use super::clock::ToldClock;
use super::effects::{Effects, LinkId, LogPolicy};
use super::links::{Links, Stage, Turn};
use super::prefetched::NeighbourLine;
use super::protocol::LinkLine;
use super::table::Source;
use crate::connection_id::ConnectionId;
use crate::time::Now;

impl Links {
    /// Whether a line that has just come goes into the log: heartbeats do not.
    pub fn policy(&self, connection: ConnectionId, line: &NeighbourLine<'_>) -> LogPolicy {
        match line {
            NeighbourLine::Other(Ok(LinkLine::Mark(number))) => match self.stage(connection) {
                Stage::Up(link) => self.links[&link].policy_of_mark(*number),
                Stage::Stranger | Stage::Dialled(_) | Stage::Closing => LogPolicy::Log,
            },
            NeighbourLine::Other(Ok(LinkLine::Clock(_))) => match self.stage(connection) {
                Stage::Up(_) => LogPolicy::Skip,
                Stage::Stranger | Stage::Dialled(_) | Stage::Closing => LogPolicy::Log,
            },
            NeighbourLine::At(..) | NeighbourLine::Other(_) => LogPolicy::Log,
        }
    }

    /// Notes that something came on a connection, before its lines are handled: a neighbour in the
    /// middle of a long line is not dead.
    pub fn handle_bytes(&mut self, connection: ConnectionId, now: Now) {
        if let Stage::Up(link) = self.stage(connection)
            && let Some(session) = self.link_mut(link).session_mut()
        {
            session.heard_bytes(now);
        }
    }

    /// Handles a line of a connection between servers.
    pub fn handle_line(
        &mut self,
        connection: ConnectionId,
        line: NeighbourLine<'_>,
        turn: &mut Turn<impl Effects>,
    ) {
        match self.stage(connection) {
            Stage::Closing => {} // it counts for nothing
            Stage::Up(link) => {
                let session = self.link_mut(link).session_mut();
                session.expect("a link that is up has one").heard(turn.now);
                self.handle_neighbour(link, connection, line, turn);
            }
            stage @ (Stage::Stranger | Stage::Dialled(_)) => {
                if let Stage::Dialled(link) = stage {
                    self.link_mut(link).dial_answered();
                }
                self.handle_first(connection, stage, line, turn);
            }
        }
    }

    /// Handles a line of a neighbour that has presented itself.
    fn handle_neighbour(
        &mut self,
        link: LinkId,
        connection: ConnectionId,
        line: NeighbourLine<'_>,
        turn: &mut Turn<impl Effects>,
    ) {
        match line {
            NeighbourLine::At(location, key) => {
                let taken = turn.table.accept(key, &location, Source::Link(link));
                self.note_heard(link, taken, location.line, turn);
            }
            NeighbourLine::Other(Ok(LinkLine::Erased(erasure))) => {
                let session = self.link_mut(link).session();
                if !session.is_some_and(|session| session.knows_erasures) {
                    let reason = "an ERASED of one that has not announced it";
                    return self.refuse(connection, None, reason, turn);
                }
                let key = turn.table.key(erasure.client);
                let taken = turn.table.erase(key, &erasure, Source::Link(link));
                self.note_heard(link, taken, erasure.line, turn);
            }
            NeighbourLine::Other(Ok(LinkLine::Clock(time))) => {
                let session = self.link_mut(link).session_mut();
                let session = session.expect("a link that is up has one");
                if !session.knows_clocks {
                    let reason = "a CLOCK of one that has not announced it";
                    return self.refuse(connection, None, reason, turn);
                }
                session.clock = Some(ToldClock::new(time, turn.now));
                self.is_clock_told = true;
                self.judge_clock(false, turn);
            }
            NeighbourLine::Other(Ok(LinkLine::Mark(number))) => {
                let link = self.link_mut(link);
                if link.handle_mark(number) {
                    turn.effects.known(&link.neighbour, link.known());
                }
            }
            NeighbourLine::Other(Ok(LinkLine::Bye(reason))) => {
                self.handle_bye(connection, reason, turn);
            }
            NeighbourLine::Other(Ok(LinkLine::Hello(_) | LinkLine::At(_))) => {
                self.refuse(connection, None, "a second HELLO", turn);
            }
            NeighbourLine::Other(Err(reason)) => {
                self.refuse(connection, None, reason, turn);
            }
        }
    }

    /// Notes what has become of a change that a neighbour told. `taken` is its number here, if the table has
    /// taken it in.
    #[inline]
    fn note_heard(
        &mut self,
        link: LinkId,
        taken: Option<u64>,
        line: &[u8],
        turn: &mut Turn<impl Effects>,
    ) {
        if let Some(number) = taken {
            turn.effects.changed(number, line);
            if let Some(effective) = turn.table.take_gave_way() {
                self.note_gave_way(effective, turn.effects);
            }
        } else if let Some(effective) = turn.table.take_refused() {
            let link = self.link_mut(link);
            if link.refuse(effective) {
                turn.effects.known(&link.neighbour, None);
            }
        }
    }
}
