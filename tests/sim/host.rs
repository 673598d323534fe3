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
use herd::topology::{Member, Topology};

use crate::agenda::Moment;
use crate::clients::Client;
use crate::costs::Costs;
use crate::disk::{Crash, Disk};
use crate::effects::Recorder;
use crate::oracle::{Heard, NEVER};

/// A wire takes at least this much: less than a socket, so that neighbours are often too slow.
const ROOM_BYTES_MIN: u64 = 500;

/// A random number of bytes that a server's wires take before they block: often few lines.
pub fn random_room(dice: &mut SplitMix64) -> usize {
    let more = [500, 20_000][dice.below(2) as usize];
    (ROOM_BYTES_MIN + dice.below(more)) as usize
}

/// When a server dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doom {
    /// In one of the next calls to its disk.
    InCall,
    /// Between the commit and the replies.
    BeforeReplies,
}

/// One server.
pub struct Host {
    pub name: String,
    /// The places of its neighbours, when its topology file is as it is in the end.
    pub neighbours: Vec<usize>,
    /// Those that its topology file does not name for now.
    pub unnamed: BTreeSet<usize>,
    /// Who is at the other end of each link.
    links: BTreeMap<LinkId, usize>,
    /// `None` while it is down.
    pub node: Option<Node>,
    /// What its node wants done and was not yet.
    pub effects: Recorder,
    /// Counts its incarnations.
    pub incarnation: u64,
    /// It stays down when the herd is healed.
    pub dead: bool,
    pub disk: Disk,
    /// How far its clock is off.
    pub skew_seconds: i64,
    /// When it was last set, or the server started.
    pub clock_set: Duration,
    /// Bytes a wire from here takes before it blocks.
    pub room: usize,
    /// How many bytes its table may take.
    pub table_limit: usize,
    /// It dies soon.
    pub doom: Option<Doom>,
    /// Counts its connections.
    serial: u64,
    pub peers: BTreeMap<ConnectionId, Peer>,
    /// The dial under way of each link, by its number.
    pub dials: BTreeMap<LinkId, u64>,
    pub clients: BTreeMap<ConnectionId, Client>,
    /// What Twitter has been asked, and until when somebody waits for it.
    pub questions: BTreeMap<QuestionId, (TweetQuery, Duration)>,
    /// What leaves when the turn has been committed.
    pub outbox: Vec<Outgoing>,
    /// The change that the node has just told of.
    pub changed: Option<(u64, Vec<u8>)>,
    /// Clients are not read, nor do their replies leave: they wait for the disk.
    pub is_held: bool,
    /// The earliest wake-up that is planned.
    pub wake: Option<Duration>,

    // What the simulation knows of it.
    /// What it must hold.
    pub heard: Heard,
    /// The connection of each link that is up.
    pub up: BTreeMap<LinkId, ConnectionId>,
    pub costs: Costs,
    /// Something has happened to it since it was last checked.
    pub touched: bool,
    /// Connections over which something came that was too far ahead, or may have to come again.
    pub refused: BTreeSet<ConnectionId>,
    /// Connections over which its hello has not asked for everything.
    pub claimed: BTreeSet<ConnectionId>,
    /// Counts its turns, and how often its clock was set: only then does it change.
    pub turns: u64,
    /// The latest bound by which reports have expired here; and what that was when its power last failed, or when it
    /// ended while its journal could not be written. What had expired by it may be held again, though neighbours
    /// were sent marks past it: perhaps the journal does not have what tells of that.
    pub oldest_ever: i128,
    pub oldest_at_loss: i128,
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
            unnamed: BTreeSet::new(),
            links: BTreeMap::new(),
            node: None,
            effects: Recorder::default(),
            incarnation: 0,
            dead: false,
            disk,
            skew_seconds: 0,
            clock_set: Duration::ZERO,
            room,
            table_limit: usize::MAX,
            doom: None,
            serial: 0,
            peers: BTreeMap::new(),
            dials: BTreeMap::new(),
            clients: BTreeMap::new(),
            questions: BTreeMap::new(),
            outbox: Vec::new(),
            changed: None,
            is_held: false,
            wake: None,
            heard: Heard::default(),
            up: BTreeMap::new(),
            costs: Costs::default(),
            touched: false,
            refused: BTreeSet::new(),
            claimed: BTreeSet::new(),
            turns: 0,
            oldest_ever: NEVER,
            oldest_at_loss: NEVER,
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

    /// Something that it held gave way, as it was too far ahead: each neighbour may have to tell it again.
    pub fn note_gave_way(&mut self) {
        self.refused.extend(self.claimed.iter().copied());
        self.refused.extend(self.up.values().copied());
    }

    /// The neighbour at the other end of a link.
    pub fn neighbour(&self, link: LinkId) -> usize {
        self.links[&link]
    }

    /// The link to a server, if there is one.
    pub fn link_to(&self, other: usize) -> Option<LinkId> {
        let mut links = self.links.iter();
        let link = links.find(|(_, neighbour)| **neighbour == other);
        link.map(|(link, _)| *link)
    }

    /// Notes the links that its node has.
    pub fn note_links(&mut self, topology: &Topology) {
        let node = self.node.as_ref().expect("the host is up");
        let name = |place: usize| &topology.members()[place].name;
        let link = |&place: &usize| Some((node.link_to(name(place))?, place));
        self.links = self.neighbours.iter().filter_map(link).collect();
    }

    /// Its topology file as it is now: this server, with the neighbours that are named.
    pub fn member(&self, place: usize, topology: &Topology) -> Member {
        let mut member = topology.members()[place].clone();
        member
            .neighbours
            .retain(|other| !self.unnamed.contains(other));
        member
    }

    /// This incarnation of the server `host`, which this is.
    pub fn moment(&self, host: usize) -> Moment {
        let incarnation = self.incarnation;
        Moment { host, incarnation }
    }

    /// Its process ends.
    pub fn crash(&mut self, crash: Crash, at: Duration, wall: i128) {
        self.node = None;
        self.effects.take();
        self.doom = None;
        self.wake = None;
        self.peers.clear();
        self.dials.clear();
        self.clients.clear();
        self.questions.clear();
        self.outbox.clear();
        self.changed = None;
        self.is_held = false;
        self.up.clear();
        self.refused.clear();
        self.claimed.clear();
        self.costs.end();
        self.disk.crash(crash, at, wall);
    }
}
