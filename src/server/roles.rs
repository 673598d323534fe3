//! What a server's connections are for.
//!
//! `start` gives the listeners their roles and `driver` the dials; the reactor hands each back with
//! the connection. Everywhere all roles are named, so that a new one falls into no old one's arm.

use crate::lines::Lines;
use crate::net::connection;
use crate::node::command::LINE_BYTES_MAX;
use crate::node::protocol::LINK_LINE_BYTES_MAX;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It came to the client port.
    Client,
    /// It came to the server port: a neighbour, or a stranger.
    Accepted,
    /// We dialled a neighbour.
    Dialled,
}

impl connection::Role for Role {
    type Codec = Lines;

    fn codec(self) -> Lines {
        Lines::default()
    }
}

impl Role {
    /// All of them, clients first.
    pub const ALL: [Role; 3] = [Role::Client, Role::Accepted, Role::Dialled];

    /// The longest line that may be said on a connection, LF not counted.
    pub const fn line_bytes_max(self) -> usize {
        match self {
            Role::Client => LINE_BYTES_MAX,
            Role::Accepted | Role::Dialled => LINK_LINE_BYTES_MAX,
        }
    }
}
