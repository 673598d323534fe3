//! Who is in the herd: names, addresses, and who talks with whom, read from `topology.txt`.
//!
//! `main` reads the file, `Node` learns its neighbours from it, `Server` its addresses. The room
//! knows no socket: an address stays text until somebody dials it.

mod fingerprint;
mod names;

use std::collections::BTreeSet;
use std::path::Path;
use std::{fmt, fs, io};

pub use self::fingerprint::Fingerprint;
pub use self::names::{Address, NAME_BYTES_MAX, ServerName};
use crate::cause;

/// One server of the herd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: ServerName,
    /// Where its clients connect.
    pub client_address: Address,
    /// Where its neighbours connect.
    pub server_address: Address,
    /// Where it serves HTTP: `http=`.
    pub http_address: Option<Address>,
    /// Where its clients connect with TLS: `tls=`.
    pub tls_address: Option<Address>,
    /// The keys of which it shows one on its links: `key=`. Without any its links are plain.
    pub keys: Vec<Fingerprint>,
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
    /// Reads a topology file.
    ///
    /// # Errors
    /// One line that names the file, and says what is wrong with it first and where.
    pub fn read(path: &Path) -> Result<Topology, String> {
        Topology::check(path).map_err(|mut wrong| wrong.swap_remove(0))
    }

    /// Reads a topology file.
    ///
    /// # Errors
    /// As those of [`Topology::read`], one for each line of the file that is wrong; at least one.
    pub fn check(path: &Path) -> Result<Topology, Vec<String>> {
        let shown = path.display().to_string();
        let shown = shown.escape_debug(); // one line, whatever the name
        let text = bytes(path, &shown).map_err(|why| vec![why])?;
        let topology = Topology::parse_all(&text).map_err(|wrong| {
            let wrong = wrong.into_iter();
            let wrong = wrong.map(|e| format!("{shown}:{}: {}", e.line, e.message));
            wrong.collect::<Vec<_>>()
        })?;
        match topology.members.is_empty() {
            true => Err(vec![format!("{shown} names no server")]),
            false => Ok(topology),
        }
    }

    /// Reads the text of a topology file.
    ///
    /// A line is `<name> <client host:port> <server host:port> [<neighbour> | <attribute>=<value>]…`, white
    /// space that of the protocol; `#` starts a comment. The attributes are the optional fields of [`Member`],
    /// each at most once. A link named on either side, or on both, is one link. A byte order mark at the start is
    /// passed over, as RFC 3629, section 6 allows.
    ///
    /// # Errors
    /// The first line with a missing field, a bad name, address or attribute, a duplicate, an unknown
    /// neighbour or attribute, or a server that is its own neighbour.
    pub fn parse(text: &[u8]) -> Result<Topology, TopologyError> {
        Topology::parse_all(text).map_err(|mut wrong| wrong.swap_remove(0))
    }

    /// As [`Topology::parse`], but its errors are those of all lines, in their order; at least one.
    fn parse_all(text: &[u8]) -> Result<Topology, Vec<TopologyError>> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut members: Vec<Member> = Vec::new();
        let mut wanted: Vec<(usize, usize, ServerName)> = Vec::new(); // line, member, neighbour
        let mut wrong = Vec::new();
        let mut wrong_names = BTreeSet::new();
        for (index, bytes) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = index + 1;
            let code = bytes.split(|&byte| byte == b'#').next().unwrap_or_default();
            let Ok(code) = std::str::from_utf8(code) else {
                let message = "the line is not UTF-8 text".to_owned();
                wrong.push(TopologyError { line, message });
                continue;
            };
            let fields = code.split([' ', '\t', '\r', '\x0c', '\x0b']);
            let mut fields = fields.filter(|field| !field.is_empty());
            let Some(name) = fields.next() else { continue };
            match Member::parse(name, fields, &members) {
                Ok((member, neighbours)) => {
                    let neighbours = neighbours.into_iter();
                    wanted.extend(neighbours.map(|name| (line, members.len(), name)));
                    members.push(member);
                }
                Err(message) => {
                    wrong.push(TopologyError { line, message });
                    wrong_names.insert(name);
                }
            }
        }
        let mut links: BTreeSet<(usize, usize)> = BTreeSet::new();
        for (line, member, neighbour) in wanted {
            if let Some(other) = members.iter().position(|other| other.name == neighbour) {
                links.extend([(member, other), (other, member)]);
            } else if !wrong_names.contains(neighbour.as_str()) {
                let name = &members[member].name;
                let message =
                    format!("{name} has a neighbour {neighbour}, but no line names {neighbour}");
                wrong.push(TopologyError { line, message });
            }
        }
        if !wrong.is_empty() {
            wrong.sort_by_key(|error| error.line);
            return Err(wrong);
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

    /// Gives each server the key that `key_of` has for it, in the place of those that it has.
    ///
    /// # Errors
    /// The first of `key_of`; some servers have their key by then.
    pub fn set_keys<E>(
        &mut self,
        mut key_of: impl FnMut(&ServerName) -> Result<Fingerprint, E>,
    ) -> Result<(), E> {
        for member in &mut self.members {
            member.keys = vec![key_of(&member.name)?];
        }
        Ok(())
    }
}

/// The text of a file that says the same: a line for each server, single spaces, attributes before neighbours, each
/// link at both ends.
impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for member in &self.members {
            let (client, server) = (&member.client_address, &member.server_address);
            write!(f, "{} {client} {server}", member.name)?;
            for (attribute, address) in
                [("http", &member.http_address), ("tls", &member.tls_address)]
            {
                if let Some(address) = address {
                    write!(f, " {attribute}={address}")?;
                }
            }
            for (place, key) in member.keys.iter().enumerate() {
                let before = if place == 0 { " key=" } else { "," };
                write!(f, "{before}{key}")?;
            }
            for neighbour in self.neighbours(member) {
                write!(f, " {}", neighbour.name)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl Member {
    /// All addresses on which it listens.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        let optional = [&self.http_address, &self.tls_address];
        let optional = optional.into_iter().flatten();
        [&self.client_address, &self.server_address]
            .into_iter()
            .chain(optional)
    }

    /// Reads the fields of a line that follows those of `others`. Gives whom it names as neighbours, too.
    fn parse<'a>(
        name: &str,
        mut fields: impl Iterator<Item = &'a str>,
        others: &[Member],
    ) -> Result<(Member, Vec<ServerName>), String> {
        let name = server_name(name)?;
        if others.iter().any(|other| other.name == name) {
            return Err(format!("the name {name} is used twice"));
        }
        let mut address = |what: &str| match fields.next() {
            None => Err(format!("{name} has no {what} address (host:port)")),
            Some(text) => Address::parse(text),
        };
        let client_address = address("client")?;
        let server_address = address("server")?;
        let mut member = Member {
            name,
            client_address,
            server_address,
            http_address: None,
            tls_address: None,
            keys: Vec::new(),
            neighbours: Vec::new(),
        };
        let mut neighbours = Vec::new();
        for field in fields {
            match field.split_once('=') {
                Some((attribute, value)) => member.set(attribute, value)?,
                None => {
                    let neighbour = server_name(field)?;
                    if neighbour == member.name {
                        return Err(format!("{neighbour} is its own neighbour"));
                    }
                    neighbours.push(neighbour);
                }
            }
        }
        let mut taken: BTreeSet<_> = others.iter().flat_map(Member::addresses).collect();
        if let Some(address) = member.addresses().find(|&address| !taken.insert(address)) {
            return Err(format!("the address {address} is used twice"));
        }
        Ok((member, neighbours))
    }

    fn set(&mut self, attribute: &str, value: &str) -> Result<(), String> {
        let name = &self.name;
        let fail = |why: String| format!("{attribute}= of {name}: {why}");
        let is_set = match attribute {
            "http" => &mut self.http_address,
            "tls" => &mut self.tls_address,
            "key" if self.keys.is_empty() => {
                let keys = value.split(',').map(Fingerprint::parse);
                self.keys = keys.collect::<Result<_, _>>().map_err(fail)?;
                return Ok(());
            }
            "key" => {
                return Err(fail(
                    "it is given twice; one key= may have several keys, with commas between"
                        .to_owned(),
                ));
            }
            _ => {
                let shown: String = attribute.escape_debug().take(80).collect();
                return Err(format!(
                    "{name} has an attribute '{shown}': http=, key= and tls= are known"
                ));
            }
        };
        let address = Address::parse(value).map_err(fail)?;
        match is_set.replace(address) {
            None => Ok(()),
            Some(_) => Err(fail("it is given twice".to_owned())),
        }
    }
}

/// What is in the file at `path`, which is `shown` so.
fn bytes(path: &Path, shown: impl fmt::Display) -> Result<Vec<u8>, String> {
    let cannot = |e: io::Error| format!("cannot read the topology {shown}: {}", cause::of(&e));
    // To open a FIFO waits for whoever writes to it, and a server that reloads must not stand still.
    let kind = fs::metadata(path).map_err(cannot)?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        return Err(cannot(io::Error::other("it is no regular file")));
    }
    fs::read(path).map_err(cannot)
}

fn server_name(text: &str) -> Result<ServerName, String> {
    ServerName::parse(text.as_bytes()).ok_or_else(|| {
        let shown: String = text.escape_debug().take(80).collect();
        format!(
            "'{shown}' is no name: a name has at most {NAME_BYTES_MAX} characters, each a letter from a to z or A \
             to Z, a digit, _ or -"
        )
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
        let topology = Topology::parse(include_bytes!("../../topology.txt")).expect("it is valid");
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
            let http = member.http_address.as_ref().map(Address::as_str);
            assert_eq!(http, Some(&*format!("127.0.0.1:{}", 12790 + index)));
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
    fn attributes_and_neighbours_come_in_any_order() {
        let key = |digit: &str| format!("sha256:{}", digit.repeat(64));
        let (one, two) = (key("1"), key("2"));
        let text = format!("a h:1 h:2 http=H:3 b key={one},{two} tls=h:4\nb h:5 h:6 c\nc h:7 h:8");
        let topology = Topology::parse(text.as_bytes()).expect("it is valid");
        let [a, b, _c] = topology.members() else {
            panic!("there are three")
        };
        let text = |address: &Option<Address>| address.as_ref().map(Address::to_string);
        assert_eq!(text(&a.http_address).as_deref(), Some("h:3"));
        assert_eq!(text(&a.tls_address).as_deref(), Some("h:4"));
        let keys: Vec<_> = a.keys.iter().map(Fingerprint::to_string).collect();
        assert_eq!(keys, [one, two]);
        assert_eq!((&b.http_address, &b.tls_address), (&None, &None));
        assert_eq!(a.neighbours, [1]);
        assert_eq!(b.neighbours, [0, 2]);
    }

    #[test]
    fn what_is_written_says_the_same() {
        let key = format!("sha256:{}", "1".repeat(64));
        let text = format!(
            "# a comment\n a\th:01 [::1]:2 b key={key},{key} tls=h:4 http=H:3 # more\r\nb h:5 h:6 c a\nc h:7 h:8"
        );
        let mut topology = Topology::parse(text.as_bytes()).expect("it is valid");
        let want = format!(
            "a h:1 [::1]:2 http=h:3 tls=h:4 key={key},{key} b\nb h:5 h:6 a c\nc h:7 h:8 b\n"
        );
        assert_eq!(topology.to_string(), want);
        assert_eq!(Topology::parse(want.as_bytes()), Ok(topology.clone()));
        let other = format!("sha256:{}", "2".repeat(64));
        let set = topology.set_keys(|name| match name.as_str() {
            "c" => Err("no key"),
            _ => Ok(Fingerprint::parse(&other).expect("it is one")),
        });
        assert_eq!(set, Err("no key"));
        assert!(topology.to_string().starts_with(&format!(
            "a h:1 [::1]:2 http=h:3 tls=h:4 key={other} b\nb h:5 h:6 key={other} a c\n"
        )));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let long = format!("{} h:1 h:2", "x".repeat(65));
        let key = format!("key=sha256:{}", "0".repeat(64));
        let two_keys = format!("a h:1 h:2 {key} {key}");
        for (text, line, words) in [
            ("a", 1, "no client address"),
            ("\na h:1", 2, "no server address"),
            ("a h:1 h:2\na h:3 h:4", 2, "name a is used twice"),
            ("a h:1 h:2\nb h:3 h:1", 2, "h:1 is used twice"),
            ("a h:1 H:01", 1, "h:1 is used twice"),
            ("a h:1 h:2 c", 1, "no line names c"),
            ("a h:1 h:2 a", 1, "its own neighbour"),
            ("a! h:1 h:2", 1, "'a!' is no name: a name has at most 64"),
            (&long, 1, "is no name"),
            ("a h h:2", 1, "'h' is no address"),
            ("a ::1:80 h:2", 1, "[brackets]"),
            ("a h:0 h:2", 1, "no port from 1 to 65535"),
            ("a h:+1 h:2", 1, "no port from 1 to 65535"),
            ("a h:65536 h:2", 1, "no port from 1 to 65535"),
            ("a h: h:2", 1, "no port from 1 to 65535"),
            ("a :1 h:2", 1, "':1' is no address"),
            ("a \x1b[2J h:2", 1, "'\\u{1b}[2J' is no address"),
            ("a \x1b[2J:1 h:2", 1, "'\\u{1b}[2J:1' is no address"),
            ("a h:\x1b[2J h:2", 1, "'h:\\u{1b}[2J' has no port"),
            ("a h:1 h:2 http=h", 1, "http= of a: 'h' is no address"),
            (
                "a h:1 h:2 http=h:3 http=h:4",
                1,
                "http= of a: it is given twice",
            ),
            ("a h:1 h:2 tls=", 1, "tls= of a: '' is no address"),
            (
                "a h:1 h:2 key=sha256:0",
                1,
                "key= of a: 'sha256:0' is no fingerprint",
            ),
            (&two_keys, 1, "key= of a: it is given twice"),
            ("a h:1 h:2 http=h:1", 1, "h:1 is used twice"),
            ("a h:1 h:2 tls=h:3 http=h:3", 1, "h:3 is used twice"),
            ("a h:1 h:2 http=h:3\nb h:3 h:4", 2, "h:3 is used twice"),
            ("a h:1 h:2 htpp=h:3", 1, "attribute 'htpp'"),
            ("a h:1 h:2\n\u{feff}b h:3 h:4", 2, "is no name"),
        ] {
            let error = Topology::parse(text.as_bytes()).expect_err(text);
            assert_eq!(error.line, line, "{text:?}: {}", error.message);
            assert!(error.message.contains(words), "{text:?}: {}", error.message);
        }
        let error = Topology::parse(b"a h:1 h:2\n\xff").expect_err("not UTF-8");
        assert_eq!(error.line, 2);
    }

    #[test]
    fn each_wrong_line_is_said_once_and_no_right_one() {
        let text =
            b"a h:1 h:2 b c d\n\nb h:3\na h:5 h:6\nc h:7 h:8 e b\nd h:9 h:1\n\xff\nf h:11 h:12";
        let wrong = Topology::parse_all(text).expect_err("five lines are wrong");
        let wrong: Vec<_> = wrong.iter().map(|e| (e.line, &*e.message)).collect();
        assert_eq!(
            wrong,
            [
                (3, "b has no server address (host:port)"),
                (4, "the name a is used twice"),
                (5, "c has a neighbour e, but no line names e"),
                (6, "the address h:1 is used twice"),
                (7, "the line is not UTF-8 text"),
            ]
        );
    }

    proptest! {
        #[test]
        fn noise_never_panics(text in "[ab #\n\t:1h\u{e9}-]{0,60}") {
            let _ = Topology::parse(text.as_bytes());
        }
    }
}
