//! How connections between servers end: lost, refused, or cut off, since the server is no neighbour any longer.
//!
//! `Node` says what has happened to a connection, and who is a neighbour from now on. The other files of
//! [`Links`] end connections here too. The link knows when to dial again.

use std::collections::BTreeSet;

use super::effects::{Effects, LinkId, LogPolicy, News};
use super::link::{Link, State};
use super::links::{Links, Stage, Turn};
use super::peers::Peer;
use super::protocol::LINK_LINE_BYTES_MAX;
use crate::connection_id::ConnectionId;
use crate::topology::ServerName;

/// Of a reason that comes over the wire this much is shown.
const REASON_BYTES_MAX: usize = 200;

impl Links {
    /// Makes these servers our neighbours, and no others. One that is no neighbour any longer is cut off, and
    /// its link parked.
    pub fn set_neighbours<'n>(
        &mut self,
        names: impl Iterator<Item = &'n ServerName>,
        turn: &mut Turn<impl Effects>,
    ) {
        let mut wanted = BTreeSet::new();
        for name in names {
            let id = match self.id_of(name) {
                Some(id) => id,
                None => self.add(Link::new(&self.own, name.clone(), turn.now)),
            };
            wanted.insert(id);
        }
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            match (wanted.contains(&id), self.links[&id].is_parked()) {
                (true, true) => self.link_mut(id).unpark(turn.now),
                (false, false) => self.cut_off(id, turn),
                (true, false) | (false, true) => {}
            }
        }
    }

    fn cut_off(&mut self, id: LinkId, turn: &mut Turn<impl Effects>) {
        let link = &self.links[&id];
        if let State::Dialling { .. } = link.state {
            turn.effects.cancel_dial(id);
        }
        if let Some(connection) = link.connection() {
            self.dismiss(connection, "this server is no longer a neighbour", turn);
        }
        self.link_mut(id).park();
    }

    /// Notes that a connection has gone.
    pub fn handle_lost(
        &mut self,
        connection: ConnectionId,
        reason: &str,
        turn: &mut Turn<impl Effects>,
    ) {
        self.give_up(connection, reason, turn);
        self.peers.remove(connection);
    }

    pub(super) fn handle_bye(
        &mut self,
        connection: ConnectionId,
        reason: &[u8],
        turn: &mut Turn<impl Effects>,
    ) {
        let reason = &reason[..reason.len().min(REASON_BYTES_MAX)];
        let reason = format!("the neighbour said BYE {}", reason.escape_ascii());
        self.give_up(connection, &reason, turn);
        turn.effects.lose(connection, &reason);
    }

    /// Ends a connection on which a line is longer than any may be.
    pub fn handle_overlong(&mut self, connection: ConnectionId, turn: &mut Turn<impl Effects>) {
        let reason = format!("a line over {LINK_LINE_BYTES_MAX} bytes");
        self.refuse(connection, None, &reason, turn);
    }

    /// Refuses a peer that says it is `name`, and may not be.
    pub fn handle_forbidden(
        &mut self,
        connection: ConnectionId,
        name: &ServerName,
        reason: &str,
        turn: &mut Turn<impl Effects>,
    ) {
        match self.stage(connection) {
            Stage::Closing => {}
            Stage::Dialled(link) => {
                self.link_mut(link).dial_answered();
                self.refuse(connection, Some(name), reason, turn);
            }
            Stage::Stranger | Stage::Up(_) => self.refuse(connection, Some(name), reason, turn),
        }
    }

    /// Is done with a connection, which may still be open.
    pub(super) fn give_up(
        &mut self,
        connection: ConnectionId,
        reason: &str,
        turn: &mut Turn<impl Effects>,
    ) {
        let (link, presented) = match self.stage(connection) {
            Stage::Closing => return,
            Stage::Stranger => (None, false),
            Stage::Dialled(link) => (Some(link), false),
            Stage::Up(link) => (Some(link), true),
        };
        let closing = Peer::Closing { link, presented };
        self.peers.set(connection, closing);
        let Some(id) = link else { return };
        let link = self.links.get_mut(&id).expect("a peer's link is there");
        if presented {
            link.session_lost(turn.now, &mut self.jitter);
            self.is_clock_told = true;
            turn.effects.tell(News::LinkDown(id, reason));
        } else {
            link.dial_failed(turn.now, &mut self.jitter);
            turn.effects.tell(News::Unreachable(id, reason));
        }
    }

    /// Is done with a connection, and has it closed at once.
    pub(super) fn abort(
        &mut self,
        connection: ConnectionId,
        reason: &str,
        turn: &mut Turn<impl Effects>,
    ) {
        self.give_up(connection, reason, turn);
        turn.effects.abort(connection, reason);
    }

    /// Says why, then closes. If the peer is a stranger, the operator is told, with the `name` that the peer
    /// has given.
    pub(super) fn refuse(
        &mut self,
        connection: ConnectionId,
        name: Option<&ServerName>,
        reason: &str,
        turn: &mut Turn<impl Effects>,
    ) {
        if self.stage(connection) == Stage::Stranger {
            turn.effects.tell(News::Refused {
                connection,
                name,
                reason,
            });
        }
        self.dismiss(connection, reason, turn);
    }

    /// Says why, then closes.
    pub(super) fn dismiss(
        &mut self,
        connection: ConnectionId,
        reason: &str,
        turn: &mut Turn<impl Effects>,
    ) {
        let bye = format!("BYE {reason}");
        let link = self.link_of(connection);
        turn.effects
            .send(connection, link, bye.as_bytes(), LogPolicy::Log);
        self.give_up(connection, reason, turn);
        turn.effects.lose(connection, &format!("refused: {reason}"));
    }
}
