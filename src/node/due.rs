//! What is due on links: dials, marks and deadlines. On the way out nobody is dialled.
//!
//! `Node` calls it when time has passed. Each link knows when something is due on it, and `peers` when a
//! stranger's time is up.

use std::time::Instant;

use super::effects::{Effects, LinkId, News};
use super::link::{HELLO_TIMEOUT, Link, State};
use super::links::{Links, Turn};

impl Links {
    /// When [`Links::handle_timeout`] is to be called next.
    pub fn timeout(&self) -> Option<Instant> {
        let links = self.links.values();
        let links = links.filter(|link| !self.is_leaving && !link.is_parked());
        let strangers = self.peers.timeout();
        links.filter_map(Link::timeout).chain(strangers).min()
    }

    /// Does what is due: dials, marks, deadlines.
    pub fn handle_timeout(&mut self, turn: &mut Turn<impl Effects>) {
        while let Some(connection) = self.peers.overdue(turn.now) {
            self.refuse(connection, None, &no_hello(), turn);
        }
        if self.is_leaving {
            return;
        }
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            self.handle_link_timeout(id, turn);
        }
    }

    fn handle_link_timeout(&mut self, id: LinkId, turn: &mut Turn<impl Effects>) {
        let link = self.links.get_mut(&id).expect("it is in the list");
        if link.is_parked() {
            return;
        }
        match &link.state {
            State::Up(session) => {
                let connection = session.connection;
                if let Some(reason) = session.silence(turn.now) {
                    self.abort(connection, &reason, turn);
                }
            }
            State::Dialling { until } if *until <= turn.now.mono => {
                turn.effects.cancel_dial(id);
                link.dial_unanswered(turn.now, &mut self.jitter);
                turn.effects
                    .tell(News::Unreachable(id, "the dial was not answered"));
            }
            State::Presented {
                connection, since, ..
            } if *since + HELLO_TIMEOUT <= turn.now.mono => {
                let connection = *connection;
                self.abort(connection, &no_hello(), turn);
            }
            State::Idle { .. } | State::Dialling { .. } | State::Presented { .. } => {}
        }
        let link = self.link_mut(id);
        if link.asks_again(turn.table.newest(), turn.now) {
            let connection = link.connection().expect("a link with a session has one");
            let reason = "what was too far ahead is to be told again";
            self.abort(connection, reason, turn);
        }
        if self.link_mut(id).begin_dial(turn.now) {
            turn.effects.dial(id);
        }
        self.say_due_mark(id, turn);
    }

    /// Dials nobody any longer. Links that are up go on until they are closed; each is sent its mark as soon as
    /// it has been sent everything.
    pub fn handle_leaving(&mut self, turn: &mut Turn<impl Effects>) {
        self.is_leaving = true;
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            let link = self.link_mut(id);
            if let State::Dialling { .. } = link.state {
                turn.effects.cancel_dial(id);
            }
            link.stop_dialling();
            self.say_due_mark(id, turn);
        }
    }
}

/// Why a connection ends on which nobody has said hello.
fn no_hello() -> String {
    format!("no HELLO within {} seconds", HELLO_TIMEOUT.as_secs())
}
