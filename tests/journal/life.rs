//! An incarnation of the server Blake, which hears clients and its neighbour Bryant, and keeps its
//! journal in a simulated folder.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use herd::connection_id::ConnectionId;
use herd::journal::disk::OpenError;
use herd::journal::{Fsync, Journal, Options, Recovered};
use herd::node::protocol::{Incarnation, Mark};
use herd::node::{Node, Seeds};
use herd::time::{Now, Timestamp};
use herd::topology::Topology;

use crate::disk::Folder;
use crate::effects::{Effect, Recorder};

const TOPOLOGY: &[u8] = b"Blake h:1 h:2 Bryant\nBryant h:3 h:4\n";

const CLIENT: ConnectionId = ConnectionId { serial: 1, slot: 0 };

/// Room for all that there is to be said on a link.
pub const ROOM: usize = 1 << 20;

/// All that a start must know, and what it may claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The locations, by their numbers.
    pub lines: BTreeMap<u64, String>,
    /// The number that the feed has come to.
    pub end: u64,
    /// The incarnations of the feed, each with the number that it began after.
    pub incarnations: Vec<(Incarnation, u64)>,
    /// Up to where Bryant's feed is known.
    pub known: Option<Mark>,
    /// The highest mark that Bryant was sent.
    pub marked: u64,
}

impl Known {
    /// The same once another incarnation has begun.
    pub fn begun(&self, incarnation: u64) -> Known {
        let mut begun = self.clone();
        begun
            .incarnations
            .push((Incarnation(incarnation), self.end));
        begun
    }
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
    pub notices: Vec<String>,
    /// What it has said on connections, until somebody looks.
    pub said: Vec<Effect>,
    /// What was known at the end of each turn, the last one last.
    pub acknowledged: Vec<Known>,
    /// What was known at the end of the turn in which the process has died: perhaps it was written.
    pub attempted: Option<Known>,
    /// What clients have been told that they have said: all replies have left.
    pub safe: Option<Known>,
    /// When it is.
    pub now: Now,
    effects: Recorder,
    folder: Folder,
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
        mono: Instant::now() + Duration::from_secs((10_000 + seconds) as u64),
        wall: Timestamp::new(1_353_118_103 + seconds, 0),
    }
}

fn link_id(serial: u64) -> ConnectionId {
    let serial = 10 + serial;
    ConnectionId { serial, slot: 1 }
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
            return Err(OpenError::Refused("it is dead".to_owned())); // nobody is there to be told
        }
        let mut life = Life {
            node,
            journal,
            recovered,
            notices: Vec::new(),
            said: Vec::new(),
            acknowledged: Vec::new(),
            attempted: None,
            safe: None,
            now,
            effects: Recorder::default(),
            folder: folder.clone(),
        };
        life.acknowledged.push(life.known());
        life.take_notices();
        Ok(life)
    }

    /// The same of Blake, who never forgets.
    pub fn begin(folder: &Folder, incarnation: u64, now: Now) -> Life {
        let life = Life::of("Blake", folder, incarnation, now, Fsync::Never, None);
        life.expect("the folder can be used")
    }

    /// Where its journal is.
    pub fn folder(&self) -> Folder {
        self.folder.clone()
    }

    /// All that is known now.
    pub fn known(&self) -> Known {
        let changes = self.node.table().changes_after(0);
        let line = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
        let mut neighbours = self.node.neighbours_known();
        let (_, known, marked) = neighbours.next().expect("Bryant is one");
        Known {
            lines: changes
                .map(|change| (change.number, line(change.line)))
                .collect(),
            end: self.node.table().end(),
            incarnations: self.node.incarnations().collect(),
            known,
            marked,
        }
    }

    /// Has the node do something, and carries out what it wants done.
    pub fn act(&mut self, act: impl FnOnce(&mut Node, Now, &mut Recorder)) {
        act(&mut self.node, self.now, &mut self.effects);
        for effect in self.effects.take() {
            match effect {
                Effect::Changed(number, line) => self.journal.change(number, &line),
                Effect::Known(name, known) => self.journal.known(&name, known),
                Effect::Marked(name, number) => self.journal.marked(&name, number),
                effect => self.said.push(effect),
            }
        }
    }

    /// Sets the time, as the server does at the beginning of a turn.
    pub fn set_now(&mut self, now: Now) {
        self.now = now;
        self.journal.set_now(now);
        let mut is_back = false;
        self.act(|node, now, effects| is_back = node.handle_clock(now, effects));
        if is_back {
            self.journal.handle_set_back();
        }
    }

    /// Lets time pass.
    pub fn pass(&mut self, seconds: i64) {
        self.set_now(Now {
            mono: self.now.mono + Duration::from_secs(seconds.unsigned_abs()),
            wall: Timestamp::new(self.now.wall.seconds() + seconds, self.now.wall.nanos()),
        });
    }

    /// A client says a line.
    pub fn hear_client_line(&mut self, line: &str) {
        for turns in 0.. {
            if self.folder.is_dead() || !self.journal.holds_replies() {
                break;
            }
            assert!(turns < 10, "clients wait for nothing: {:?}", self.journal);
            self.finish_a_job();
            self.commit();
        }
        self.act(|node, now, effects| {
            let line = node.read_client_line(line.as_bytes());
            node.handle_client_line(CLIENT, line, now, effects);
        });
    }

    /// A client reports, a number of seconds ago.
    pub fn hear_client(&mut self, client: &str, ago: i64) {
        let time = self.now.wall.seconds() - ago;
        self.hear_client_line(&format!("IAMAT {client} +00+000 {time}"));
    }

    /// Somebody has a client erased.
    pub fn erase(&mut self, client: &str) {
        self.act(|node, now, effects| _ = node.handle_erase(client.as_bytes(), now, effects));
    }

    /// Bryant presents itself on a new connection.
    pub fn link(&mut self, serial: u64, incarnation: u64) {
        self.act(|node, now, _| node.handle_accepted(link_id(serial), now));
        let hello = format!("HELLO herd/1 Bryant Blake {incarnation:016x} {serial} - 0");
        self.hear_line(serial, &hello);
    }

    /// A client reports, Bryant presents itself on the connection of its own `serial`, tells of another client,
    /// and marks that. Two turns are committed.
    pub fn hear_both(&mut self, serial: u64) {
        self.hear_client("kiwi", 3);
        self.commit();
        self.link(serial, 0xb0);
        self.hear_line(
            serial,
            &format!("AT Bryant +0.000000000 moa +00+000 {serial}"),
        );
        self.hear_line(serial, &format!("MARK {serial}"));
        self.commit();
    }

    /// Bryant's connection is lost.
    pub fn cut(&mut self, serial: u64) {
        self.act(|node, now, effects| {
            node.handle_peer_lost(link_id(serial), "cut", now, effects);
        });
    }

    /// Bryant says a line on that connection.
    pub fn hear_line(&mut self, serial: u64, line: &str) {
        self.act(|node, now, effects| {
            let line = node.read_link_line(line.as_bytes());
            node.handle_link_line(link_id(serial), line, now, effects);
        });
    }

    /// Bryant is sent everything, and a mark.
    pub fn mark(&mut self, serial: u64) {
        self.act(|node, now, effects| {
            let later = Now {
                mono: now.mono + Duration::from_secs(2),
                ..now
            };
            node.handle_room(link_id(serial), ROOM, later, effects);
        });
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

    /// Does a piece of what the journal has to do beside the turns. Says whether there was any.
    pub fn work(&mut self) -> bool {
        self.commit();
        self.journal.work(&self.node);
        self.finish_a_job() || self.journal.is_busy()
    }

    /// Ends turns until there is nothing left to do.
    pub fn rest(&mut self) {
        for turn in 0.. {
            assert!(turn < 10_000, "the journal is never at rest");
            if !self.work() || self.folder.is_dead() {
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
