//! Lines that have been read and are yet to be handled.
//!
//! Reading changes nothing. So many lines may be read, and all that they speak of be prefetched
//! (`Node::prefetch`), before the first of them is handled by `Node` or `Links`.

use super::command::Command;
use super::location::Location;
use super::protocol::LinkLine;
use super::table::{Key, Table};

/// A client's line.
#[derive(Clone, Copy, Debug)]
pub struct ClientLine<'a> {
    /// The line as it came.
    pub text: &'a [u8],
    /// What it asks for, and where the table has the client that it names.
    pub command: Option<(Command<'a>, Key)>,
}

impl<'a> ClientLine<'a> {
    /// Reads a line without its LF.
    pub fn read(text: &'a [u8], table: &Table) -> ClientLine<'a> {
        let command = Command::parse(text);
        let command = command.map(|command| (command, table.key(command.client())));
        ClientLine { text, command }
    }

    /// What `Node::prefetch` needs, if the line speaks of a client.
    pub fn key_mut(&mut self) -> Option<&mut Key> {
        self.command.as_mut().map(|(_, key)| key)
    }
}

/// A line between servers.
#[derive(Clone, Debug)]
pub enum NeighbourLine<'a> {
    /// A location, and where the table has its client.
    At(Location<'a>, Key),
    /// Anything else.
    Other(Result<LinkLine<'a>, &'static str>),
}

impl<'a> NeighbourLine<'a> {
    /// Reads a line without its LF.
    pub fn read(text: &'a [u8], table: &Table) -> NeighbourLine<'a> {
        match LinkLine::parse(text) {
            Ok(LinkLine::At(location)) => NeighbourLine::At(location, table.key(location.client)),
            other => NeighbourLine::Other(other),
        }
    }

    /// What `Node::prefetch` needs, if the line speaks of a client.
    pub fn key_mut(&mut self) -> Option<&mut Key> {
        match self {
            NeighbourLine::At(_, key) => Some(key),
            NeighbourLine::Other(_) => None,
        }
    }
}
