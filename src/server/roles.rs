//! What a server's connections are for, and what cuts their input into messages.
//!
//! `places` gives the listeners their roles and `driver` the dials; the reactor hands each back with
//! the connection. Everywhere all roles are named, so that a new one falls into no old one's arm.

use crate::http;
use crate::lines::Lines;
use crate::net::connection;
use crate::node::command::LINE_BYTES_MAX;
use crate::node::protocol::LINK_LINE_BYTES_MAX;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It came to the client port.
    Client,
    /// It came to the server port: a neighbour, or a stranger.
    Accepted,
    /// We dialled a neighbour.
    Dialled,
    /// It came to the HTTP port.
    Http,
}

/// What cuts a connection's input: a role has always the same kind.
#[derive(Debug)]
pub enum Codec {
    /// Into lines.
    Lines(Lines),
    /// Into requests. Apart, so that a client of lines pays nothing for it.
    Http(Box<http::Codec>),
}

impl Codec {
    /// That of a connection that speaks in lines.
    #[inline]
    pub fn lines(&mut self) -> Option<&mut Lines> {
        match self {
            Codec::Lines(lines) => Some(lines),
            Codec::Http(_) => None,
        }
    }

    /// That of a connection that speaks HTTP.
    pub fn http(&mut self) -> Option<&mut http::Codec> {
        match self {
            Codec::Lines(_) => None,
            Codec::Http(codec) => Some(codec),
        }
    }
}

impl connection::Role for Role {
    type Codec = Codec;

    fn codec(self) -> Codec {
        match self {
            Role::Client | Role::Accepted | Role::Dialled => Codec::Lines(Lines::default()),
            Role::Http => Codec::Http(Box::default()),
        }
    }
}

impl Role {
    /// All of them, clients first.
    pub const ALL: [Role; 4] = [Role::Client, Role::Accepted, Role::Dialled, Role::Http];

    /// What metrics call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Client => "client",
            Role::Accepted => "accepted",
            Role::Dialled => "dialled",
            Role::Http => "http",
        }
    }

    /// The longest line that may be said on a connection, LF not counted. HTTP has no lines of that kind:
    /// its codec has limits of its own.
    pub const fn line_bytes_max(self) -> usize {
        match self {
            Role::Client => LINE_BYTES_MAX,
            Role::Accepted | Role::Dialled => LINK_LINE_BYTES_MAX,
            Role::Http => 0,
        }
    }
}
