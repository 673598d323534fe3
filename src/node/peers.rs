//! The connections between servers, and who is at the other end of each, as far as that is known.
//!
//! `Links` owns one. A peer says whose a connection is; only the link says what it is doing.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::effects::LinkId;
use super::link::HELLO_TIMEOUT;
use crate::connection_id::ConnectionId;
use crate::time::Now;

/// Who is at the other end of a connection between servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Somebody who came to our server port and has not said hello.
    Stranger,
    /// The neighbour of this link: we dialled it, or it has presented itself. The link's state says
    /// which.
    Neighbour(LinkId),
    /// We are done with it, and wait for its end.
    Closing {
        /// Whose it was.
        link: Option<LinkId>,
        /// Whether it had presented itself.
        presented: bool,
    },
}

/// All connections between servers.
#[derive(Debug, Default)]
pub struct Peers {
    by_connection: BTreeMap<ConnectionId, Peer>,
    /// By when strangers must have presented themselves, which is in the order they came.
    hello_deadlines: VecDeque<(Instant, ConnectionId)>,
}

impl Peers {
    /// Who is at the other end of a connection.
    pub fn get(&self, connection: ConnectionId) -> Option<Peer> {
        self.by_connection.get(&connection).copied()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (ConnectionId, Peer)> {
        let peers = self.by_connection.iter();
        peers.map(|(connection, peer)| (*connection, *peer))
    }

    /// The link that a connection belongs to: once its peer has presented itself, or because we
    /// dialled it.
    pub fn link_of(&self, connection: ConnectionId) -> Option<LinkId> {
        match self.get(connection)? {
            Peer::Stranger => None,
            Peer::Neighbour(link) => Some(link),
            Peer::Closing { link, .. } => link,
        }
    }

    /// Notes a connection that came to the server port.
    pub fn add_stranger(&mut self, connection: ConnectionId, now: Now) {
        self.set(connection, Peer::Stranger);
        let deadline = now.after(HELLO_TIMEOUT);
        self.hello_deadlines.push_back((deadline, connection));
    }

    /// Notes who is at the other end of a connection.
    pub fn set(&mut self, connection: ConnectionId, peer: Peer) {
        self.by_connection.insert(connection, peer);
    }

    /// Forgets a connection that has gone.
    pub fn remove(&mut self, connection: ConnectionId) {
        self.by_connection.remove(&connection);
    }

    /// When [`Peers::overdue`] may have one.
    pub fn timeout(&self) -> Option<Instant> {
        self.hello_deadlines.front().map(|&(at, _)| at)
    }

    /// Takes a connection that has been a stranger's for too long.
    pub fn overdue(&mut self, now: Now) -> Option<ConnectionId> {
        while self.timeout().is_some_and(|at| at <= now.mono) {
            let (_, connection) = self.hello_deadlines.pop_front()?;
            if self.get(connection) == Some(Peer::Stranger) {
                return Some(connection);
            }
        }
        None
    }
}
