//! One server of a simulated herd: its node, its disk, its clock, its connections, and what the
//! simulation knows of it beside.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use herd::connection_id::ConnectionId;
use herd::input::Input;
use herd::lines::Lines;
use herd::node::Node;
use herd::node::effects::LinkId;
use herd::node::protocol::TweetQuery;
use herd::node::questions::QuestionId;
use herd::random::SplitMix64;

use crate::agenda::Moment;
use crate::clients::Client;
use crate::costs::{Claim, Costs, Life};
use crate::disk::{Crash, Disk, Left};
use crate::effects::Recorder;
use crate::oracle::{self, Heard, NEVER};

/// A wire takes at least this much: less than a socket, so that neighbours are often too slow.
const ROOM_BYTES_MIN: u64 = 500;

/// A random number of bytes that a server's wires take before they block: often few lines.
pub fn random_room(dice: &mut SplitMix64) -> usize {
    let more = [500, 20_000][dice.below(2) as usize];
    (ROOM_BYTES_MIN + dice.below(more)) as usize
}

/// When in its next turn a server dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doom {
    /// Before or while its records are committed.
    InCommit,
    /// Between the commit and the replies.
    BeforeReplies,
}

/// One server.
pub struct Host {
    pub name: String,
    /// The places of its neighbours, in the order of the node's links.
    pub neighbours: Vec<usize>,
    /// `None` while it is down.
    pub node: Option<Node>,
    /// What its node wants done and was not yet.
    pub effects: Recorder,
    /// Counts its lives.
    pub life: u64,
    /// It stays down when the herd is healed.
    pub dead: bool,
    pub disk: Disk,
    /// How far its clock is off.
    pub skew_seconds: i64,
    /// When it was last set, or the server started.
    pub clock_set: Duration,
    /// Bytes a wire from here takes before it blocks.
    pub room: usize,
    /// It dies in its next turn.
    pub doom: Option<Doom>,
    /// Counts its connections.
    serial: u64,
    pub peers: BTreeMap<ConnectionId, Peer>,
    /// The dial under way of each link, by its number.
    pub dials: BTreeMap<LinkId, u64>,
    pub clients: BTreeMap<ConnectionId, Client>,
    /// What Twitter has been asked, and until when somebody waits for it.
    pub questions: BTreeMap<QuestionId, (TweetQuery, Duration)>,
    /// What leaves when the turn's records have been committed.
    pub outbox: Vec<Outgoing>,
    /// The earliest wake-up that is planned.
    pub wake: Option<Duration>,

    // What the simulation knows of it.
    /// What it must hold.
    pub heard: Heard,
    /// The marks it must know, by neighbour: with the number of the record that tells of each.
    pub marks: BTreeMap<usize, Vec<(u64, Life, u64)>>,
    /// Numbers of records up to which no mark counts, since a life that began there, or whose clock was
    /// set back there, may know again what had expired: unless a power failure takes that away.
    void: Vec<u64>,
    /// What had an effective time before this had expired at some time of its life.
    expired_before: i128,
    /// What its last life knew to have expired and no record is left of: it is known again, though
    /// marks of that life cover it and tell nobody so. The README does not promise that it is told.
    untold_before: i128,
    /// The lines that it knew at its start of which that is so.
    untold: BTreeSet<Vec<u8>>,
    /// Nobody has cut its log's beginning off: what it knows is exactly what the disk has left.
    pub whole: bool,
    /// What its last crash has left on its disk.
    pub left: Left,
    /// The connection of each link that is up.
    pub up: BTreeMap<LinkId, ConnectionId>,
    pub costs: Costs,
    /// Something has happened to it since it was last checked.
    pub touched: bool,
    /// Counts its turns, and how often its clock was set: only then does it change.
    pub turns: u64,
}

/// A connection to another server.
#[derive(Debug)]
pub struct Peer {
    /// The wire, and the direction in which we send.
    pub wire: (u64, usize),
    pub lines: Lines,
    pub input: Input,
    pub made: Duration,
    /// We have closed it.
    pub closing: bool,
    /// When we did.
    pub closed_at: Duration,
}

impl Peer {
    /// Whether we had closed it before this moment.
    pub fn given_up_before(&self, now: Duration) -> bool {
        self.closing && self.closed_at < now
    }
}

/// What a turn lets out.
#[derive(Debug)]
pub enum Outgoing {
    Line(ConnectionId, Vec<u8>),
    /// Closed, abruptly or after what was said.
    Close(ConnectionId, bool),
}

impl Host {
    /// A server that has never run.
    pub fn new(name: String, neighbours: Vec<usize>, room: usize, disk: Disk) -> Host {
        Host {
            name,
            neighbours,
            node: None,
            effects: Recorder::default(),
            life: 0,
            dead: false,
            disk,
            left: Left::UpTo(0),
            skew_seconds: 0,
            clock_set: Duration::ZERO,
            room,
            doom: None,
            serial: 0,
            peers: BTreeMap::new(),
            dials: BTreeMap::new(),
            clients: BTreeMap::new(),
            questions: BTreeMap::new(),
            outbox: Vec::new(),
            wake: None,
            heard: Heard::default(),
            marks: BTreeMap::new(),
            void: Vec::new(),
            expired_before: NEVER,
            untold_before: NEVER,
            untold: BTreeSet::new(),
            whole: true,
            up: BTreeMap::new(),
            costs: Costs::default(),
            touched: false,
            turns: 0,
        }
    }

    /// A name for a connection. Slots return, as in a slab; serials do not.
    pub fn new_id(&mut self) -> ConnectionId {
        self.serial += 1;
        let (serial, slot) = (self.serial, (self.serial % 3) as usize);
        ConnectionId { serial, slot }
    }

    /// The node of a server that is up.
    pub fn node(&mut self) -> &mut Node {
        self.up().0
    }

    /// The node of a server that is up, and the sink of its effects.
    pub fn up(&mut self) -> (&mut Node, &mut Recorder) {
        let node = self.node.as_mut().expect("the host is up");
        (node, &mut self.effects)
    }

    /// The neighbour at the other end of a link.
    pub fn neighbour(&self, link: LinkId) -> usize {
        self.neighbours[link.index()]
    }

    /// This life of the server `host`, which this is.
    pub fn moment(&self, host: usize) -> Moment {
        let life = self.life;
        Moment { host, life }
    }

    /// Its process ends. What it must know is from then on what its disk has left.
    pub fn crash(&mut self, crash: Crash, dice: &mut SplitMix64) {
        self.node = None;
        self.effects.take();
        self.doom = None;
        self.wake = None;
        self.peers.clear();
        self.dials.clear();
        self.clients.clear();
        self.questions.clear();
        self.outbox.clear();
        self.up.clear();
        let has_gap = self.disk.has_gap();
        let last = self.disk.last();
        let left = self.disk.crash(crash, dice);
        self.left = left;
        let has_gap = has_gap || self.disk.has_gap(); // it may be another file now
        let is_exact = matches!(left, Left::UpTo(_)) && !has_gap;
        self.costs.crash(crash != Crash::Killed || !is_exact);
        self.whole &= is_exact;
        let number = match left {
            Left::UpTo(number) | Left::AtLeast(number) => number,
            Left::Some => 0,
        };
        let has_lost_said = match left {
            Left::UpTo(number) => crash != Crash::Killed && number < last,
            Left::AtLeast(_) | Left::Some => true,
        };
        let expired_before = std::mem::replace(&mut self.expired_before, NEVER);
        self.untold_before = match has_lost_said {
            true => expired_before,
            false => NEVER, // what has left has its record
        };
        match left {
            Left::Some => self.heard.clear(),
            _ => self.heard.lose_after(number),
        }
        for marks in self.marks.values_mut() {
            marks.retain(|(at, ..)| *at <= number && is_exact);
        }
        self.void.retain(|at| *at <= number);
        // Where nothing else is left of such a life nobody knows whether its note of a gap is.
        self.whole &= crash == Crash::Killed || self.void.last() != Some(&number);
    }

    /// What has an effective time before `oldest` has expired.
    pub fn expire(&mut self, oldest: i128) {
        self.expired_before = self.expired_before.max(oldest);
        self.heard.expire(oldest);
    }

    /// A life begins, and recalls these lines. If it `trusts` no mark of a life before it tells all.
    pub fn recall<'a>(&mut self, recalled: impl Iterator<Item = &'a [u8]>, trusts: bool) {
        let recalled: BTreeSet<_> = recalled.collect();
        self.untold.retain(|line| recalled.contains(&line[..]));
        let before = std::mem::replace(&mut self.untold_before, NEVER);
        let untold = |line: &&&[u8]| oracle::rank(line).effective() < before;
        self.untold
            .extend(recalled.iter().filter(untold).map(|line| line.to_vec()));
        if !trusts {
            self.untold.clear();
        }
    }

    /// Whether a neighbour may never be told this line.
    pub fn may_be_untold(&self, line: &[u8]) -> bool {
        self.untold.contains(line)
    }

    /// It knows again what had expired: no mark that its log tells of counts.
    pub fn know_again(&mut self) {
        self.costs.crash(true);
        self.doubt_marks();
    }

    /// No mark that it has heard so far counts.
    pub fn doubt_marks(&mut self) {
        self.void.push(self.disk.last());
    }

    /// The last mark of a neighbour's that counts.
    fn last_mark(&self, neighbour: usize) -> Option<(&Life, u64)> {
        let (record, life, number) = self.marks.get(&neighbour)?.last()?;
        let counts = self.void.last().is_none_or(|void| record > void);
        counts.then_some((life, *number))
    }

    /// Notes a mark of a neighbour's, whose record has this number. Whether it says anything new:
    /// within one life of the neighbour's only a higher one does.
    pub fn learn_mark(&mut self, neighbour: usize, life: Life, number: u64, record: u64) -> bool {
        let news = match self.last_mark(neighbour) {
            Some((known, at)) if *known == life => number > at,
            _ => number > 0,
        };
        if news {
            let marks = self.marks.entry(neighbour).or_default();
            marks.push((record, life, number));
        }
        news
    }

    /// What its hello must claim to have of a neighbour's feed.
    pub fn claim(&self, neighbour: usize) -> Claim {
        let (life, number) = self.last_mark(neighbour)?;
        Some((life.clone(), number))
    }
}
