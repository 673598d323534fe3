//! Who is in the herd: names, addresses, and who talks with whom, read from `topology.txt`.
//!
//! `main` reads the file, `Node` learns its neighbours from it, `Server` its addresses. The room
//! knows no socket: an address stays text until somebody dials it.

use std::collections::BTreeSet;
use std::fmt;

/// The longest name a server may have, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// A server's name: 1 to 64 bytes of `A-Z a-z 0-9 _ -`, so that it can stand anywhere in a line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerName(String);

impl ServerName {
    /// Checks a name; `None` if it is none.
    pub fn parse(text: &[u8]) -> Option<ServerName> {
        let text = std::str::from_utf8(text).ok()?;
        ServerName::is_valid(text.as_bytes()).then(|| ServerName(text.to_owned()))
    }

    /// Whether `text` may name a server.
    pub fn is_valid(text: &[u8]) -> bool {
        (1..=NAME_BYTES_MAX).contains(&text.len())
            && text
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as it stands in a line.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `host:port` as written: `127.0.0.1:12590`, `[::1]:12590` or `blake.example.org:12590`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(String);

impl Address {
    /// Checks the form; whether the host exists is found out when it is dialled.
    pub fn parse(text: &str) -> Result<Address, String> {
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| format!("'{text}' is no address: host:port is wanted"))?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || (host.contains(':') && !bracketed) {
            return Err(format!(
                "'{text}' is no address: host:port is wanted, an IPv6 host in [brackets]"
            ));
        }
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        match port.parse::<u16>() {
            Ok(port @ 1..) if digits => {
                Ok(Address(format!("{}:{port}", host.to_ascii_lowercase())))
            }
            _ => Err(format!(
                "'{text}' has no port from 1 to 65535 after the colon"
            )),
        }
    }

    /// The address as text, in one form: the host in lower case, the port without zeros in front.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One server of the herd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: ServerName,
    /// Where its clients connect.
    pub client_address: Address,
    /// Where its neighbours connect.
    pub server_address: Address,
    /// The places in [`Topology::members`] of those it talks with, ascending, each once.
    pub neighbours: Vec<usize>,
}

/// The whole herd, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    members: Vec<Member>,
}

/// What is wrong with a topology file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl Topology {
    /// Reads the text of a topology file.
    ///
    /// A line is `<name> <client host:port> <server host:port> <neighbour>…`, white space that of the
    /// protocol; `#` starts a comment.
    /// A link named on either side, or on both, is one link. A byte order mark at the start is
    /// passed over, as RFC 3629, section 6 allows.
    ///
    /// # Errors
    /// The first line with a missing field, a bad name or address, a duplicate, an unknown
    /// neighbour, or a server that is its own neighbour.
    pub fn parse(text: &[u8]) -> Result<Topology, TopologyError> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut members: Vec<Member> = Vec::new();
        let mut wanted: Vec<(usize, usize, ServerName)> = Vec::new(); // line, member, neighbour
        for (index, bytes) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = index + 1;
            let fail = |message| TopologyError { line, message };
            let code = bytes.split(|&byte| byte == b'#').next().unwrap_or_default();
            let code = std::str::from_utf8(code)
                .map_err(|_| fail("the line is not UTF-8 text".to_owned()))?;
            let fields = code.split([' ', '\t', '\r', '\x0c', '\x0b']);
            let mut fields = fields.filter(|field| !field.is_empty());
            let Some(name) = fields.next() else { continue };
            let name = server_name(name).map_err(fail)?;
            if members.iter().any(|member| member.name == name) {
                return Err(fail(format!("the name {name} is used twice")));
            }
            let mut address = |what: &str| match fields.next() {
                None => Err(fail(format!("{name} has no {what} address (host:port)"))),
                Some(text) => Address::parse(text).map_err(fail),
            };
            let client_address = address("client")?;
            let server_address = address("server")?;
            let twice = (client_address == server_address).then_some(&client_address);
            let taken = [&client_address, &server_address]
                .into_iter()
                .find(|&address| {
                    let mut others = members
                        .iter()
                        .flat_map(|member| [&member.client_address, &member.server_address]);
                    others.any(|other| other == address)
                });
            if let Some(address) = twice.or(taken) {
                return Err(fail(format!("the address {address} is used twice")));
            }
            for neighbour in fields {
                let neighbour = server_name(neighbour).map_err(fail)?;
                if neighbour == name {
                    return Err(fail(format!("{name} is its own neighbour")));
                }
                wanted.push((line, members.len(), neighbour));
            }
            members.push(Member {
                name,
                client_address,
                server_address,
                neighbours: Vec::new(),
            });
        }
        let mut links: BTreeSet<(usize, usize)> = BTreeSet::new();
        for (line, member, neighbour) in wanted {
            let Some(other) = members.iter().position(|other| other.name == neighbour) else {
                let name = &members[member].name;
                return Err(TopologyError {
                    line,
                    message: format!(
                        "{name} has a neighbour {neighbour}, but no line names {neighbour}"
                    ),
                });
            };
            links.extend([(member, other), (other, member)]);
        }
        for (member, other) in links {
            members[member].neighbours.push(other);
        }
        Ok(Topology { members })
    }

    /// All servers, in the order of the file.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The server called `name`.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members
            .iter()
            .find(|member| member.name.as_str() == name)
    }

    /// Those `member` talks with.
    pub fn neighbours<'a>(&'a self, member: &'a Member) -> impl Iterator<Item = &'a Member> {
        member.neighbours.iter().map(|&other| &self.members[other])
    }
}

fn server_name(text: &str) -> Result<ServerName, String> {
    ServerName::parse(text.as_bytes()).ok_or_else(|| {
        let shown: String = text.escape_debug().take(80).collect();
        format!("'{shown}' is no name: 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 _ - are wanted")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn links(topology: &Topology) -> Vec<(&str, Vec<&str>)> {
        topology
            .members()
            .iter()
            .map(|member| {
                let neighbours = topology.neighbours(member).map(|n| n.name.as_str());
                (member.name.as_str(), neighbours.collect())
            })
            .collect()
    }

    #[test]
    fn the_default_file_is_the_herd_of_the_assignment() {
        let topology = Topology::parse(include_bytes!("../topology.txt")).expect("it is valid");
        assert_eq!(
            links(&topology),
            [
                ("Blake", vec!["Bryant", "Howard"]),
                ("Bryant", vec!["Blake", "Gasol", "Metta"]),
                ("Gasol", vec!["Bryant", "Howard"]),
                ("Howard", vec!["Blake", "Gasol"]),
                ("Metta", vec!["Bryant"]),
            ]
        );
        for (index, member) in topology.members().iter().enumerate() {
            assert_eq!(
                member.client_address.as_str(),
                format!("127.0.0.1:{}", 12590 + index)
            );
            assert_eq!(
                member.server_address.as_str(),
                format!("127.0.0.1:{}", 12690 + index)
            );
        }
    }

    #[test]
    fn a_link_named_on_either_side_or_both_is_one_link() {
        let both = b"a h:1 h:2 b b\nb h:3 h:4 a\n";
        let left = b"# a comment\n\n  a\th:1\x0b\x0ch:2 b # and one more\r\nb h:3 [::1]:4";
        let marked = b"\xef\xbb\xbfa h:1 h:2 b\nb h:3 h:4";
        for text in [&both[..], &left[..], &marked[..]] {
            let topology = Topology::parse(text).expect("it is valid");
            assert_eq!(links(&topology), [("a", vec!["b"]), ("b", vec!["a"])]);
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let long = format!("{} h:1 h:2", "x".repeat(65));
        for (text, line, words) in [
            ("a", 1, "no client address"),
            ("\na h:1", 2, "no server address"),
            ("a h:1 h:2\na h:3 h:4", 2, "name a is used twice"),
            ("a h:1 h:2\nb h:3 h:1", 2, "h:1 is used twice"),
            ("a h:1 H:01", 1, "h:1 is used twice"),
            ("a h:1 h:2 c", 1, "no line names c"),
            ("a h:1 h:2 a", 1, "its own neighbour"),
            ("a! h:1 h:2", 1, "'a!' is no name"),
            (&long, 1, "is no name"),
            ("a h h:2", 1, "'h' is no address"),
            ("a ::1:80 h:2", 1, "[brackets]"),
            ("a h:0 h:2", 1, "no port from 1 to 65535"),
            ("a h:+1 h:2", 1, "no port from 1 to 65535"),
            ("a h:65536 h:2", 1, "no port from 1 to 65535"),
            ("a h: h:2", 1, "no port from 1 to 65535"),
            ("a :1 h:2", 1, "':1' is no address"),
            ("a h:1 h:2\n\u{feff}b h:3 h:4", 2, "is no name"),
        ] {
            let error = Topology::parse(text.as_bytes()).expect_err(text);
            assert_eq!(error.line, line, "{text:?}: {}", error.message);
            assert!(error.message.contains(words), "{text:?}: {}", error.message);
        }
        let error = Topology::parse(b"a h:1 h:2\n\xff").expect_err("not UTF-8");
        assert_eq!(error.line, 2);
    }

    proptest! {
        #[test]
        fn noise_never_panics(text in "[ab #\n\t:1h\u{e9}-]{0,60}") {
            let _ = Topology::parse(text.as_bytes());
        }
    }
}
