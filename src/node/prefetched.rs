//! Lines that have been read and are yet to be handled, and which client each names.
//!
//! The client can be found without reading the rest of the line. So the records of many lines are prefetched
//! (`Node::prefetch`) before `Node` or `Links` handles the first of them.

use super::fields::{fields, find_space};
use super::location::Location;
use super::protocol::LinkLine;
use super::table::{Key, Table};

/// A client's line.
#[derive(Clone, Copy, Debug)]
pub struct ClientLine<'a> {
    /// The line as it came.
    pub text: &'a [u8],
    /// Where the table has the client that it names, if that has been looked for.
    pub key: Option<Key>,
}

/// The client that a client's line names, if it is a command.
pub fn client_line_client(line: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = line.strip_prefix(b"IAMAT ") {
        let client = &rest[..find_space(rest)];
        if !client.is_empty() {
            return Some(client); // as good as always
        }
    }
    let mut fields = fields(line);
    let command = fields.next()?;
    let client = fields.next()?;
    matches!(command, b"IAMAT" | b"WHATSAT").then_some(client)
}

/// The client that a line between servers names, if it is an `AT` line.
pub fn link_line_client(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"AT ")?;
    fields(rest).nth(2)
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
    /// Whether it is no line of the protocol.
    pub fn is_malformed(&self) -> bool {
        matches!(self, NeighbourLine::Other(Err(_)))
    }

    /// Reads a line without its LF. `key` is that of its client, if that has been looked for.
    pub fn read(text: &'a [u8], key: Option<Key>, table: &Table) -> NeighbourLine<'a> {
        match LinkLine::parse(text) {
            Ok(LinkLine::At(location)) => {
                let key = key.unwrap_or_else(|| table.key(location.client));
                NeighbourLine::At(location, key)
            }
            other => NeighbourLine::Other(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::command::Command;
    use proptest::prelude::*;

    proptest! {
        /// Otherwise the line's key would be another client's.
        #[test]
        fn a_line_speaks_of_the_client_that_it_is_read_to_name(
            line in "[ \t]?(IAMAT|WHATSAT|AT Blake [+-]0.123456789|AT)[ \t]{1,2}[a-c]{1,12} {1,2}(\\+27.5[+-]086 1353118103[.0]?|10 5)[ \r]?",
        ) {
            let line = line.as_bytes();
            if let Some(command) = Command::parse(line) {
                prop_assert_eq!(client_line_client(line), Some(command.client()));
            }
            if let Ok(LinkLine::At(location)) = LinkLine::parse(line) {
                prop_assert_eq!(link_line_client(line), Some(location.client));
            }
        }
    }
}
