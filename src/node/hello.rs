//! How a link comes up: connections that are made, the first line of each, and the hello that each side says.
//!
//! `Node` says which connections are made, and `hearing` hands the first line on. The hello decides who is at
//! the other end of a connection; what comes before it is a stranger's. The link judges whether a hello is
//! taken.

use super::effects::{Effects, LinkId, LogPolicy, News};
use super::link::State;
use super::links::{Links, Stage, Turn};
use super::peers::Peer;
use super::prefetched::NeighbourLine;
use super::protocol::{Hello, LinkLine};
use super::session::{LIVE, Session};
use crate::connection_id::ConnectionId;
use crate::time::Now;

/// Why a hello is refused while the session that stands is heard from.
const LINKED: &str = "the link is up and was heard from within the last 3 seconds";
const _: () = assert!(LIVE.as_secs() == 3);

impl Links {
    /// The link of the neighbour that presents itself to us with a line, if it is a hello that does.
    pub fn presented_by(&self, line: &NeighbourLine<'_>) -> Option<LinkId> {
        let NeighbourLine::Other(Ok(LinkLine::Hello(hello))) = line else {
            return None;
        };
        let link = self.neighbour(&hello.from);
        link.filter(|_| hello.to == self.own)
    }

    /// Expects a hello from a connection that came to the server port.
    pub fn handle_accepted(&mut self, connection: ConnectionId, now: Now) {
        self.peers.add_stranger(connection, now);
    }

    /// Presents ourselves on a connection that was dialled.
    pub fn handle_connected(
        &mut self,
        link: LinkId,
        connection: ConnectionId,
        turn: &mut Turn<impl Effects>,
    ) {
        self.peers.set(connection, Peer::Neighbour(link));
        self.link_mut(link).dial_connected(connection, turn.now);
        self.say_hello(link, connection, turn);
    }

    /// Notes that a dial came to nothing.
    pub fn handle_dial_failed(&mut self, link: LinkId, now: Now) {
        if let Some(link) = self.links.get_mut(&link) {
            link.dial_failed(now, &mut self.jitter);
        }
    }

    /// Handles the first line of a connection.
    pub(super) fn handle_first(
        &mut self,
        connection: ConnectionId,
        stage: Stage,
        line: NeighbourLine<'_>,
        turn: &mut Turn<impl Effects>,
    ) {
        match line {
            NeighbourLine::Other(Ok(LinkLine::Hello(hello))) => {
                let taken = self.handle_hello(connection, stage, &hello, turn);
                if let Err(reason) = taken {
                    self.refuse(connection, Some(&hello.from), reason, turn);
                }
            }
            NeighbourLine::Other(Ok(LinkLine::Bye(reason))) => {
                self.handle_bye(connection, reason, turn);
            }
            NeighbourLine::At(..)
            | NeighbourLine::Other(Ok(
                LinkLine::At(_) | LinkLine::Erased(_) | LinkLine::Mark(_) | LinkLine::Clock(_),
            )) => {
                let reason = "the first line must be HELLO";
                self.refuse(connection, None, reason, turn);
            }
            NeighbourLine::Other(Err(reason)) => {
                self.refuse(connection, None, reason, turn);
            }
        }
    }

    fn handle_hello(
        &mut self,
        connection: ConnectionId,
        stage: Stage,
        hello: &Hello,
        turn: &mut Turn<impl Effects>,
    ) -> Result<(), &'static str> {
        if hello.to != self.own {
            return Err("a HELLO to somebody else");
        }
        let Some(id) = self.neighbour(&hello.from) else {
            return Err("a HELLO from no neighbour of ours");
        };
        let link = &self.links[&id];
        match stage {
            Stage::Dialled(dialled) if dialled != id => {
                return Err("a HELLO from another neighbour than was dialled");
            }
            Stage::Dialled(_) => {}
            Stage::Stranger | Stage::Up(_) | Stage::Closing => {
                if let Err(reason) = link.judge(hello, turn.now) {
                    self.dismiss(connection, reason, turn); // it happens among neighbours: no news for the operator
                    return Ok(());
                }
                if link
                    .session()
                    .is_some_and(|session| session.is_live(turn.now))
                {
                    // If the other end has lost the session's connection, its kernel answers the mark with a
                    // reset.
                    self.say_mark(id, Session::mark, turn);
                    return Err(LINKED);
                }
                self.make_way(id, turn);
                self.say_hello(id, connection, turn);
            }
        }
        self.peers.set(connection, Peer::Neighbour(id));
        let end = turn.table.end();
        let marked = self.links[&id].marked();
        let cursor = self.history.resume(hello.known, end, marked);
        self.link_mut(id)
            .begin_session(connection, hello, cursor, end, turn.now);
        turn.effects.tell(News::LinkUp(id));
        self.say_clock(id, turn); // and once more with the mark, if there is no backlog
        self.say_due_mark(id, turn);
        Ok(())
    }

    /// Ends whatever the link is doing, for the session that a hello is about to begin.
    fn make_way(&mut self, id: LinkId, turn: &mut Turn<impl Effects>) {
        match self.links[&id].state {
            State::Idle { .. } => {}
            State::Dialling { .. } => turn.effects.cancel_dial(id),
            State::Presented { connection, .. } => {
                let (link, presented) = (Some(id), false);
                let closing = Peer::Closing { link, presented };
                self.peers.set(connection, closing);
                turn.effects
                    .abort(connection, "the neighbour's own dial was taken");
            }
            State::Up(ref session) => {
                self.abort(session.connection, "the neighbour has connected anew", turn);
            }
        }
    }

    fn say_hello(&mut self, id: LinkId, connection: ConnectionId, turn: &mut Turn<impl Effects>) {
        self.hellos += 1;
        let link = self.links.get_mut(&id).expect("a hello's link is there");
        let hello = Hello {
            from: self.own.clone(),
            to: link.neighbour.clone(),
            incarnation: self.incarnation,
            serial: Hello::serial(self.hellos),
            known: link.claim(),
        };
        let mut line = Vec::new();
        hello.write(&mut line);
        turn.effects
            .send(connection, Some(id), &line, LogPolicy::Log);
    }
}
