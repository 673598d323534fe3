//! Inputs from other servers to a [`Node`]: handed on to its `Links`, with what they need of the node.
//!
//! The driver is the caller. Nothing is decided here.

use super::effects::{Effects, LinkId, LogPolicy};
use super::machine::Node;
use super::prefetched::NeighbourLine;
use crate::connection_id::ConnectionId;
use crate::time::Now;
use crate::topology::ServerName;

impl Node {
    /// Makes these servers our neighbours, and no others. One that is no neighbour any longer is not believed
    /// from now on; what it has said before stays.
    pub fn handle_neighbours<'n>(
        &mut self,
        names: impl Iterator<Item = &'n ServerName>,
        now: Now,
        effects: &mut impl Effects,
    ) {
        let (links, mut turn) = self.turn(now, effects);
        links.set_neighbours(names, &mut turn);
    }

    /// Expects a hello from a connection that came to the server port.
    pub fn handle_accepted(&mut self, connection: ConnectionId, now: Now) {
        self.links.handle_accepted(connection, now);
    }

    /// Presents ourselves on a connection that was dialled.
    pub fn handle_connected(
        &mut self,
        link: LinkId,
        connection: ConnectionId,
        now: Now,
        effects: &mut impl Effects,
    ) {
        let (links, mut turn) = self.turn(now, effects);
        links.handle_connected(link, connection, &mut turn);
    }

    /// Notes that a dial came to nothing.
    pub fn handle_dial_failed(&mut self, link: LinkId, now: Now) {
        self.links.handle_dial_failed(link, now);
    }

    /// Notes that something came on a connection between servers, before its lines are handled: a
    /// neighbour in the middle of a long line is not dead.
    pub fn handle_link_bytes(&mut self, connection: ConnectionId, now: Now) {
        self.links.handle_bytes(connection, now);
    }

    /// The link whose neighbour says this line, yet to be handled: also that of the hello with which it
    /// presents itself.
    pub fn speaker_of_line(
        &self,
        connection: ConnectionId,
        line: &NeighbourLine<'_>,
    ) -> Option<LinkId> {
        let speaker = self.links.speaker_of(connection);
        speaker.or_else(|| self.links.presented_by(line))
    }

    /// Whether a line between servers, yet to be handled, goes into the log.
    pub fn log_policy(&self, connection: ConnectionId, line: &NeighbourLine<'_>) -> LogPolicy {
        self.links.policy(connection, line)
    }

    /// Handles a line of a connection between servers.
    pub fn handle_link_line(
        &mut self,
        connection: ConnectionId,
        line: NeighbourLine<'_>,
        now: Now,
        effects: &mut impl Effects,
    ) {
        self.expire(now);
        self.counters.heard += u64::from(matches!(line, NeighbourLine::At(..)));
        let (links, mut turn) = self.turn(now, effects);
        links.handle_line(connection, line, &mut turn);
    }

    /// Ends a connection between servers on which a line is longer than any may be.
    pub fn handle_link_overlong(
        &mut self,
        connection: ConnectionId,
        now: Now,
        effects: &mut impl Effects,
    ) {
        let (links, mut turn) = self.turn(now, effects);
        links.handle_overlong(connection, &mut turn);
    }

    /// Ends a connection between servers whose peer may not be the neighbour that it says it is, or is no
    /// longer one. `name` is what it says.
    pub fn handle_forbidden(
        &mut self,
        connection: ConnectionId,
        name: &ServerName,
        reason: &str,
        now: Now,
        effects: &mut impl Effects,
    ) {
        let (links, mut turn) = self.turn(now, effects);
        links.handle_forbidden(connection, name, reason, &mut turn);
    }

    /// The link of the neighbour that presents itself to us with a line, if the line does that and its
    /// connection is nobody's yet.
    pub fn presents(&self, connection: ConnectionId, line: &NeighbourLine<'_>) -> Option<LinkId> {
        let link = self.links.presented_by(line)?;
        let is_first = self.links.speaker_of(connection).is_none();
        is_first.then_some(link)
    }

    /// Notes that a connection between servers has gone.
    pub fn handle_peer_lost(
        &mut self,
        connection: ConnectionId,
        reason: &str,
        now: Now,
        effects: &mut impl Effects,
    ) {
        let (links, mut turn) = self.turn(now, effects);
        links.handle_lost(connection, reason, &mut turn);
    }

    /// Sends the neighbour at `connection` what it has not been sent yet, as far as `room` bytes go,
    /// and a mark when one is due.
    pub fn handle_room(
        &mut self,
        connection: ConnectionId,
        room: usize,
        now: Now,
        effects: &mut impl Effects,
    ) {
        self.expire(now);
        let (links, mut turn) = self.turn(now, effects);
        links.handle_room(connection, room, &mut turn);
    }

    /// Dials nobody any longer; links that are up go on until they are closed.
    pub fn handle_leaving(&mut self, now: Now, effects: &mut impl Effects) {
        let (links, mut turn) = self.turn(now, effects);
        links.handle_leaving(&mut turn);
    }

    /// Whether all neighbours that are linked have been sent everything, and the mark of it.
    pub fn has_told_all(&self) -> bool {
        self.links.has_told_all(self.table.end())
    }
}
