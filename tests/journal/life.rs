//! An incarnation of the server Blake, which hears clients and its neighbour Bryant, and keeps its
//! journal in a simulated folder.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use herd::connection_id::ConnectionId;
use herd::journal::disk::OpenError;
use herd::journal::{Fsync, Journal, Notice, Options, Recovered};
use herd::node::protocol::{Incarnation, Mark};
use herd::node::{Action, Node, Seeds};
use herd::time::{Now, Timestamp};
use herd::topology::Topology;

use crate::disk::Folder;

const TOPOLOGY: &[u8] = b"Blake h:1 h:2 Bryant\nBryant h:3 h:4\n";

const CLIENT: ConnectionId = ConnectionId { serial: 1, slot: 0 };

/// All that a start must know, and what it may claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The locations, by their numbers.
    pub lines: BTreeMap<u64, String>,
    /// The number that the feed has come to.
    pub end: u64,
    /// The incarnations of the feed, each with the last number that it gave.
    pub incarnations: Vec<(Incarnation, u64)>,
    /// Up to where Bryant's feed is known.
    pub known: (Option<Incarnation>, Option<Mark>),
    /// The highest mark that Bryant was sent.
    pub marked: u64,
}

/// An incarnation of Blake.
pub struct Life {
    /// Blake.
    pub node: Node,
    /// Its journal.
    pub journal: Journal<Folder>,
    /// What it found.
    pub recovered: Recovered,
    /// What the operator was told.
    pub notices: Vec<Notice>,
    /// What was known at the end of each turn, the last one last.
    pub acknowledged: Vec<Known>,
    /// What was known at the end of the turn in which the process has died: perhaps it was written.
    pub attempted: Option<Known>,
    /// What clients have been told that they have said: all replies have left.
    pub safe: Option<Known>,
    /// When it is.
    pub now: Now,
    folder: Folder,
    told: Known,
}

/// A node that knows nothing.
pub fn node(name: &str, incarnation: u64, now: Now) -> Node {
    let topology = Topology::parse(TOPOLOGY).expect("it is one");
    let member = topology.member(name).expect("it is there");
    let seeds = Seeds {
        incarnation: Incarnation(incarnation),
        hash_keys: (1, 2),
        jitter: 3,
    };
    Node::new(member, &topology, seeds, now)
}

/// The moment `seconds` after the beginning of all.
pub fn at(seconds: i64) -> Now {
    Now {
        mono: Instant::now() + Duration::from_secs(10_000 + seconds as u64),
        wall: Timestamp::new(1_353_118_103 + seconds, 0),
    }
}

impl Life {
    /// Begins an incarnation of the server `name` on what is in the folder.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn of(
        name: &str,
        folder: &Folder,
        incarnation: u64,
        now: Now,
        fsync: Fsync,
        forget_after: Option<Duration>,
    ) -> Result<Life, OpenError> {
        let mut node = node(name, incarnation, now);
        if let Some(after) = forget_after {
            node.forget_after(after, now);
        }
        let may_fail = true;
        let options = Options { fsync, may_fail };
        let opened = Journal::open(folder.clone(), options, &mut node, now, |_, _| {});
        let (journal, recovered) = opened?;
        if folder.is_dead() {
            return Err(OpenError::InUse); // nobody is there to be told
        }
        let told = Known {
            marked: recovered.marked.get(&b"Bryant"[..]).copied().unwrap_or(0),
            ..Known::default()
        };
        let mut life = Life {
            node,
            journal,
            recovered,
            notices: Vec::new(),
            acknowledged: Vec::new(),
            attempted: None,
            safe: None,
            now,
            folder: folder.clone(),
            told,
        };
        life.told = life.known();
        life.acknowledged.push(life.known());
        life.take_notices();
        Ok(life)
    }

    /// The same of Blake, who never forgets.
    pub fn begin(folder: &Folder, incarnation: u64, now: Now) -> Life {
        let life = Life::of("Blake", folder, incarnation, now, Fsync::Never, None);
        life.expect("the folder can be used")
    }

    /// All that is known now.
    pub fn known(&self) -> Known {
        let end = self.node.table().end();
        let changes = self.node.table().changes_after(0);
        let line = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
        let mut known = (None, None);
        for (_, heard, mark) in self.node.neighbours_known() {
            known = (heard, mark);
        }
        Known {
            lines: changes
                .map(|change| (change.number, line(change.line)))
                .collect(),
            end,
            incarnations: self
                .node
                .lives()
                .map(|(life, ended)| (life, ended.unwrap_or(end)))
                .collect(),
            known,
            marked: self.told.marked,
        }
    }

    /// Tells the journal what has changed since it was told last: one change at most.
    fn tell(&mut self) {
        while self
            .node
            .poll_action()
            .is_some_and(|action| !matches!(action, Action::Withdraw(_)))
        {}
        let end = self.told.end;
        for change in self.node.table().changes_after(end) {
            self.journal.change(change.number, change.line);
            self.told.end = change.number;
        }
        assert_eq!(
            self.told.end,
            self.node.table().end(),
            "several changes at a time"
        );
        let known = self.node.neighbours_known();
        let known: Vec<_> = known
            .map(|(name, heard, mark)| (name.clone(), heard, mark))
            .collect();
        for (name, heard, mark) in known {
            if self.told.known != (heard, mark) {
                self.journal.known(&name, heard, mark);
                self.told.known = (heard, mark);
            }
        }
    }

    /// Sets the time.
    pub fn pass(&mut self, seconds: i64) {
        self.now = Now {
            mono: self.now.mono + Duration::from_secs(seconds.unsigned_abs()),
            wall: Timestamp::new(self.now.wall.seconds() + seconds, self.now.wall.nanos()),
        };
        self.journal.set_now(self.now);
    }

    /// A client reports, a number of seconds ago.
    pub fn hear_client(&mut self, client: &str, ago: i64) {
        for turns in 0.. {
            if self.folder.is_dead() || !self.journal.holds_replies() {
                break;
            }
            assert!(turns < 10, "clients wait for nothing: {:?}", self.journal);
            self.finish_a_job();
            self.commit();
        }
        let line = format!("IAMAT {client} +00+000 {}", self.now.wall.seconds() - ago);
        let line = self.node.read_client_line(line.as_bytes());
        self.node.handle_client_line(CLIENT, line, self.now);
        self.tell();
    }

    /// Bryant presents itself on a new connection.
    pub fn link(&mut self, serial: u64, incarnation: u64) {
        let id = ConnectionId {
            serial: 10 + serial,
            slot: 1,
        };
        self.node.handle_accepted(id, self.now);
        self.hear_line(
            serial,
            &format!("HELLO herd/1 Bryant Blake {incarnation:016x} {serial} - 0"),
        );
    }

    /// Bryant says a line on that connection.
    pub fn hear_line(&mut self, serial: u64, line: &str) {
        let id = ConnectionId {
            serial: 10 + serial,
            slot: 1,
        };
        let line = self.node.read_link_line(line.as_bytes());
        self.node.handle_link_line(id, line, self.now);
        self.tell();
    }

    /// Bryant is sent a mark.
    pub fn mark(&mut self, number: u64) {
        let names: Vec<_> = self
            .node
            .neighbours_known()
            .map(|(name, ..)| name.clone())
            .collect();
        self.journal.marked(&names[0], number);
        self.told.marked = self.told.marked.max(number);
    }

    /// Ends the turn.
    pub fn commit(&mut self) {
        self.journal.commit();
        let known = self.known();
        match self.folder.is_dead() {
            true => drop(self.attempted.get_or_insert(known)),
            false => self.acknowledged.push(known),
        }
        if !self.folder.is_dead() && !self.journal.holds_replies() {
            self.safe = self.acknowledged.last().cloned();
        }
        self.take_notices();
    }

    fn take_notices(&mut self) {
        while let Some(notice) = self.journal.poll_notice() {
            self.notices.push(notice);
        }
    }

    /// The disk does the next job that was begun, if there is one.
    pub fn finish_a_job(&mut self) -> bool {
        let done = self.folder.finish_a_job();
        let is_done = done.is_some();
        if let Some((ticket, outcome)) = done {
            self.journal.handle_done(ticket, outcome);
        }
        is_done
    }

    /// Ends turns until there is nothing left to do.
    pub fn rest(&mut self) {
        for turn in 0.. {
            assert!(turn < 10_000, "the journal is never at rest");
            self.commit();
            self.journal.work(&self.node);
            let is_done = self.finish_a_job();
            if self.folder.is_dead() || !is_done && !self.journal.is_busy() {
                return;
            }
        }
    }

    /// A snapshot is written.
    pub fn snapshot(&mut self) {
        self.commit();
        self.journal.begin_anew();
        self.rest();
    }
}
