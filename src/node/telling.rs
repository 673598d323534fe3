//! What neighbours are told: the changefeed from each one's cursor on, marks, and our clock.
//!
//! `Node` says when a socket has room, and the other files of [`Links`] when a mark may be due. The session
//! knows whether one is, and the table what is in the feed.

use super::effects::{Effects, LinkId, LogPolicy};
use super::links::{Links, Stage, Turn};
use super::protocol;
use super::session::Session;
use super::table::Source;
use crate::connection_id::ConnectionId;
use crate::time::Now;

impl Links {
    /// Sends the neighbour at `connection` what it has not been sent yet, as far as `room` bytes
    /// go, and a mark when one is due.
    ///
    /// This is all of flooding and of catching up. A slow neighbour costs its cursor, and no more.
    pub fn handle_room(
        &mut self,
        connection: ConnectionId,
        mut room: usize,
        turn: &mut Turn<impl Effects>,
    ) {
        let Stage::Up(id) = self.stage(connection) else {
            return;
        };
        let link = self.link_mut(id);
        let session = link.session().expect("a link that is up has one");
        let (mut sent, mut sent_to) = (0, session.cursor);
        let knows_erasures = session.knows_erasures;
        let Turn {
            table,
            now,
            effects,
            clock: _,
        } = turn;
        let reached = table.take_after(session.cursor, |change| {
            if change.source == Source::Link(id) && link.told_us(change.number) {
                return true;
            }
            if !knows_erasures && protocol::is_erased(change.line) {
                return true;
            }
            let Some(left) = room.checked_sub(change.line.len() + 1) else {
                return false; // asked again once there is room
            };
            room = left;
            effects.send(connection, Some(id), change.line, LogPolicy::Log);
            (sent, sent_to) = (sent + 1, change.number);
            true
        });
        let session = link.session_mut().expect("a link that is up has one");
        session.sent_changes(sent, sent_to, *now);
        session.skip_to(reached);
        self.say_due_mark(id, turn);
    }

    pub(super) fn say_due_mark(&mut self, id: LinkId, turn: &mut Turn<impl Effects>) {
        let (end, is_leaving) = (turn.table.end(), self.is_leaving);
        let due_mark = |session: &mut Session, now| session.due_mark(end, is_leaving, now);
        self.say_mark(id, due_mark, turn);
    }

    /// Says the mark that `mark` gives, if it gives one and the link is up.
    pub(super) fn say_mark<M: Into<Option<(u64, LogPolicy)>>>(
        &mut self,
        id: LinkId,
        mark: impl FnOnce(&mut Session, Now) -> M,
        turn: &mut Turn<impl Effects>,
    ) {
        let link = self.link_mut(id);
        let Some(session) = link.session_mut() else {
            return;
        };
        let connection = session.connection;
        if let Some((number, policy)) = mark(session, turn.now).into() {
            // A mark that is news is noted even if this neighbour was once sent a higher one. On the way to it
            // this session may have passed over what has expired, and a start whose clock is behind that must
            // doubt the mark.
            let is_news = policy == LogPolicy::Log;
            if link.set_marked(number) || is_news {
                turn.effects.marked(&link.neighbour, link.marked());
            }
            self.say_clock(id, turn);
            let mut line = Vec::new();
            protocol::write_mark(&mut line, number);
            turn.effects.send(connection, Some(id), &line, policy);
        }
    }

    /// Tells a neighbour that understands it what our clock shows.
    pub(super) fn say_clock(&self, id: LinkId, turn: &mut Turn<impl Effects>) {
        let session = self.links[&id].session();
        if let Some(session) = session.filter(|session| session.knows_clocks) {
            let mut line = Vec::new();
            protocol::write_clock(&mut line, turn.now.wall);
            turn.effects
                .send(session.connection, Some(id), &line, LogPolicy::Skip);
        }
    }
}
