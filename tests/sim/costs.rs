//! What an update may cost on the links, checked message by message.
//!
//! A server that takes a report in as news sends it over all its links but the one it came by. Of
//! S servers with L links between them each takes it in once, and all but the first have it from a
//! neighbour: so an update costs the sum of all degrees less one for each but the first, which is
//! 2·L - (S - 1). Fewer, if a later report about the same client overtakes it. More only through
//! reconnections, and there only what is not known to have arrived. Message by message:
//!
//! - **once**: within one session a line is said once;
//! - **no echo**: what was first heard from a neighbour is not said back to the incarnation that said it;
//! - **resumed**: what was marked, by a mark that the neighbour's hello names, is not said again.
//!
//! So all `AT` messages of a run are at most 2·L - (S - 1) a change, and for each session what its
//! link's earlier sessions said after the mark that it resumed from, and for each new incarnation of
//! either end what the neighbour had said after that mark. In quiet, when no session ends, it is
//! exactly 2·L - (S - 1) a change: the tests ask for equality then.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{Hash, Hasher};

use herd::connection_id::ConnectionId;

use crate::hash::{Stir, Stirred};

/// Somebody's claim to have everything up to a number that was given in an incarnation.
pub type Claim = Option<(u64, u64)>;

/// A `HELLO`, read from the words of docs/LINKS.md.
#[derive(Debug)]
pub struct Hello {
    /// The incarnation that says it.
    pub incarnation: u64,
    /// Counts its hellos.
    pub serial: u64,
    pub claim: Claim,
}

impl Hello {
    /// Reads `HELLO herd/1 <from> <to> <incarnation> <serial> <known> <number>`.
    pub fn read(line: &[u8]) -> Option<Hello> {
        if !line.starts_with(b"HELLO ") {
            return None; // as nearly all
        }
        let fields: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
        let [
            b"HELLO",
            b"herd/1",
            _,
            _,
            incarnation,
            serial,
            known,
            number,
        ] = fields[..]
        else {
            return None;
        };
        let claim = (known != b"-").then(|| (read_incarnation(known), read_number(number)));
        Some(Hello {
            incarnation: read_incarnation(incarnation),
            serial: read_number(serial),
            claim,
        })
    }
}

/// Reads the number of a mark.
pub fn read_mark(line: &[u8]) -> Option<u64> {
    line.strip_prefix(b"MARK ").map(read_number)
}

fn read_incarnation(digits: &[u8]) -> u64 {
    let digits = std::str::from_utf8(digits).expect("digits");
    u64::from_str_radix(digits, 16).expect("hexadecimal digits")
}

fn read_number(digits: &[u8]) -> u64 {
    let digits = std::str::from_utf8(digits).expect("digits");
    digits.parse().expect("digits")
}

/// By which a line is remembered here.
pub fn digest(line: &[u8]) -> u64 {
    let mut digest = Stir::default();
    line.hash(&mut digest);
    digest.finish()
}

/// One server's side of a link that is up.
#[derive(Debug)]
struct Session {
    neighbour: usize,
    /// Which of its incarnations speaks, as counted in `heads`.
    count: u64,
    /// The neighbour's hello.
    hello: Hello,
    said: HashSet<u64, Stirred>,
    unmarked: Vec<u64>,
}

/// The accounts of one server.
#[derive(Debug, Default)]
pub struct Costs {
    sessions: BTreeMap<ConnectionId, Session>,
    /// For each neighbour: the mark that covers what was said to it.
    marked: BTreeMap<usize, HashMap<u64, u64, Stirred>>,
    /// From which neighbour each line was heard first, and in which of the incarnations counted in
    /// `heads`; `None`: from a client or the journal.
    first: HashMap<u64, Option<(usize, u64)>, Stirred>,
    /// The incarnation in which each neighbour last presented itself, and how often that has changed.
    heads: BTreeMap<usize, (u64, u64)>,
    /// Own incarnations since something was last lost, so that what was marked in them is known.
    incarnations: BTreeSet<u64>,
    /// `AT` messages said.
    pub locations: u64,
}

impl Costs {
    /// An incarnation begins, and has recovered these lines: it does not know by which way they came.
    pub fn begin<'a>(&mut self, incarnation: u64, recovered: impl Iterator<Item = &'a [u8]>) {
        self.incarnations.insert(incarnation);
        self.first
            .extend(recovered.map(|line| (digest(line), None)));
    }

    /// An incarnation ends.
    pub fn end(&mut self) {
        self.sessions.clear();
        self.first.clear();
        self.heads.clear();
    }

    /// Something was lost of what the journal was told: what was marked may be told again.
    pub fn lose(&mut self) {
        self.incarnations.clear();
        self.marked.clear();
    }

    /// The lines with these digests may have been forgotten, and may come again as if for the first
    /// time.
    pub fn forget(&mut self, lines: impl Iterator<Item = u64>) {
        let mut forgotten = HashSet::<u64, Stirred>::default();
        forgotten.reserve(lines.size_hint().1.unwrap_or(0));
        forgotten.extend(lines);
        let lines = forgotten;
        for (_, from) in self
            .first
            .iter_mut()
            .filter(|(line, _)| lines.contains(line))
        {
            *from = None; // nobody knows by which way
        }
        for session in self.sessions.values_mut() {
            session.said.retain(|line| !lines.contains(line));
            session.unmarked.retain(|line| !lines.contains(line));
        }
        for marked in self.marked.values_mut() {
            marked.retain(|line, _| !lines.contains(line));
        }
    }

    /// The neighbour has presented itself.
    pub fn begin_session(&mut self, id: ConnectionId, neighbour: usize, hello: Hello) {
        let (incarnation, count) = self.heads.entry(neighbour).or_default();
        if *incarnation != hello.incarnation || hello.claim.is_none() {
            // Who asks for everything may have lost what it told us. A hello of an earlier incarnation may
            // come late: that counts as one more.
            (*incarnation, *count) = (hello.incarnation, *count + 1);
        }
        let session = Session {
            neighbour,
            count: *count,
            hello,
            said: HashSet::default(),
            unmarked: Vec::new(),
        };
        self.sessions.insert(id, session);
    }

    /// The hello of the neighbour that speaks on a connection.
    pub fn speaker(&self, id: ConnectionId) -> Option<&Hello> {
        self.sessions.get(&id).map(|session| &session.hello)
    }

    /// A report came in, over a link or from a client. Gives its digest.
    pub fn hear(&mut self, line: &[u8], by: Option<ConnectionId>) -> u64 {
        let session = by.and_then(|id| self.sessions.get(&id));
        let from = session.map(|session| (session.neighbour, session.count));
        let digest = digest(line);
        self.first.entry(digest).or_insert(from);
        digest
    }

    /// A report leaves on a link.
    pub fn say(&mut self, id: ConnectionId, line: &[u8]) {
        self.locations += 1;
        let digest = digest(line);
        let shown = line.escape_ascii();
        let Some(session) = self.sessions.get_mut(&id) else {
            panic!("said before the neighbour had presented itself: {shown}")
        };
        let neighbour = session.neighbour;
        assert!(
            session.said.insert(digest),
            "said twice in one session to host {neighbour}: {shown}"
        );
        let heard_from = self.first.get(&digest).and_then(Option::as_ref);
        assert!(
            heard_from != Some(&(neighbour, session.count)),
            "echoed to host {neighbour}: {shown}"
        );
        if let Some((incarnation, number)) = &session.hello.claim
            && self.incarnations.contains(incarnation)
            && let Some(mark) = self.marked.get(&neighbour).and_then(|m| m.get(&digest))
        {
            assert!(
                mark > number,
                "marked by {mark}, known up to {number}, said again to host {neighbour}: {shown}"
            );
        }
        session.unmarked.push(digest);
    }

    /// A mark leaves on a link.
    pub fn mark(&mut self, id: ConnectionId, number: u64) {
        let session = self.sessions.get_mut(&id);
        let session = session.expect("nothing is marked before the neighbour has come");
        let marked = self.marked.entry(session.neighbour).or_default();
        for line in session.unmarked.drain(..) {
            marked.entry(line).or_insert(number); // the first mark that covers it always will
        }
    }
}
