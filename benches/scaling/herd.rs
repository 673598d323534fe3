//! A herd of real nodes on ideal wires, in virtual time.
//!
//! A server is a node, an inbox and one core. It has a turn when something has come and its core is free, or when
//! something is due. In a turn it handles all that is in the inbox, then tells each neighbour what that has not been
//! told, as the server's own loop does. What it hears and says takes time of its core ([`Costs`]). A line leaves when
//! the core is done with all before it, and arrives a wire's delay later. Wires lose nothing, and carry any number of
//! bytes at once. While the herd is cut, dials across the cut are refused.

use std::collections::BTreeMap;
use std::mem;
use std::time::{Duration, Instant};

use herd::connection_id::ConnectionId;
use herd::net::READ_BYTES_MAX;
use herd::node::effects::LinkId;
use herd::node::{Node, Seeds};
use herd::random::SplitMix64;
use herd::time::{Now, Timestamp};
use herd::topology::{Member, Topology};

use crate::costs::{Costs, Delay, Nanos};
use crate::sink::{Deed, Parcel, Sink};

/// When virtual time begins, in POSIX seconds.
const EPOCH_SECONDS: i64 = 1_353_118_103;

const SECOND: Nanos = 1_000_000_000;

/// Whatever is waited for has happened after this virtual time.
const PATIENCE: Nanos = 120 * SECOND;

/// Over which connection clients report. A node asks no more of it than that it is none of its neighbours'.
const CLIENT: ConnectionId = ConnectionId { serial: 0, slot: 0 };

/// What comes to a server.
enum Input {
    /// A line of a client.
    Report(Vec<u8>),
    /// Lines of a neighbour.
    Lines(Parcel),
    /// The dial of this number has come to its end, with the place of its wire if it has got one.
    Dialled(LinkId, u64, Option<usize>),
    /// A wire has ended.
    Ended(usize),
}

/// What happens to a server.
enum What {
    Comes(Input),
    /// A turn, unless an earlier one has been planned since.
    Turn,
}

/// All that will happen, by time; at the same time what was planned first. With the place of its server.
#[derive(Default)]
struct Agenda {
    events: BTreeMap<(Nanos, u64), (usize, What)>,
    planned: u64,
}

impl Agenda {
    fn plan(&mut self, at: Nanos, place: usize, what: What) {
        self.planned += 1;
        self.events.insert((at, self.planned), (place, what));
    }
}

/// A connection.
struct Wire {
    /// The places of its servers, that of the dialler first.
    ends: [usize; 2],
    /// The other has heard of it.
    is_accepted: bool,
}

impl Wire {
    fn other(&self, place: usize) -> usize {
        self.ends[usize::from(self.ends[0] == place)]
    }
}

/// The name of the connection over a wire, at both ends. Serials begin at 1.
fn connection(wire: usize) -> ConnectionId {
    let serial = wire as u64 + 1;
    ConnectionId { serial, slot: wire }
}

/// One server.
pub struct Server {
    pub node: Node,
    /// The places of its neighbours, by link.
    neighbours: Vec<usize>,
    /// The number of the dial under way, by link; 0 if there is none.
    dials: Vec<u64>,
    inbox: Vec<Input>,
    busy_until: Nanos,
    next_turn: Option<Nanos>,
    has_backlog: bool,
    /// How many changes its table has taken in.
    pub accepted: u64,
    /// When its core was done with the last of them.
    pub accepted_at: Nanos,
    /// How many `AT` lines it has heard from neighbours.
    pub heard: u64,
    /// How many it has sent to them.
    pub sent: u64,
}

/// The herd.
pub struct Herd {
    pub servers: Vec<Server>,
    pub now: Nanos,
    start: Instant,
    costs: Costs,
    delay: Nanos,
    agenda: Agenda,
    wires: Vec<Wire>,
    sink: Sink,
    dials: u64,
    /// On which side each server is, while the herd is cut.
    sides: Option<Vec<bool>>,
    /// Reports and `AT` lines that are under way.
    under_way: u64,
    /// Servers that could not tell a neighbour everything in one turn.
    behind: usize,
    ends: i64,
    /// When the first link came up since the last [`Herd::restore`], and the last.
    pub linked: Option<(Nanos, Nanos)>,
}

impl Herd {
    /// A herd that has just started, and whose links are up.
    pub fn linked(topology: &Topology, delay: Delay, costs: Costs) -> Herd {
        let mut dice = SplitMix64(1);
        let start = Instant::now();
        let now = now_at(start, 0);
        let members = topology.members();
        let server = |member: &Member| {
            let seeds = Seeds::new(|| dice.next_u64());
            let mut node = Node::new(member, topology, seeds, now);
            node.recovery(now).begin();
            let neighbours = member.neighbours.clone();
            Server {
                node,
                dials: vec![0; neighbours.len()],
                neighbours,
                inbox: Vec::new(),
                busy_until: 0,
                next_turn: None,
                has_backlog: false,
                accepted: 0,
                accepted_at: 0,
                heard: 0,
                sent: 0,
            }
        };
        let servers: Vec<Server> = members.iter().map(server).collect();
        let ends = servers.iter().map(|server| server.neighbours.len() as i64);
        let mut herd = Herd {
            ends: ends.sum(),
            now: 0,
            start,
            costs,
            delay: delay.0,
            agenda: Agenda::default(),
            wires: Vec::new(),
            sink: Sink::default(),
            dials: 0,
            sides: None,
            under_way: 0,
            behind: 0,
            linked: None,
            servers,
        };
        (0..herd.servers.len()).for_each(|place| herd.plan_turn(place, 0));
        herd.run_until_linked();
        herd
    }

    /// How many links there are.
    pub fn links(&self) -> u64 {
        self.ends as u64 / 2
    }

    /// How many neighbours the server with the most has.
    pub fn neighbours_max(&self) -> usize {
        let neighbours = self.servers.iter().map(|server| server.neighbours.len());
        neighbours.max().unwrap_or(0)
    }

    /// How many `AT` lines were sent over links so far.
    pub fn sent(&self) -> u64 {
        self.servers.iter().map(|server| server.sent).sum()
    }

    /// When a server last took something in.
    pub fn accepted_at(&self) -> Nanos {
        let servers = self.servers.iter();
        let latest = servers.map(|server| server.accepted_at).max();
        latest.unwrap_or(0)
    }

    // ---- what befalls it

    /// Lets a client report to a server, now.
    pub fn report(&mut self, place: usize, client: &str) {
        let seconds = EPOCH_SECONDS as u64 + self.now / SECOND;
        let nanos = self.now % SECOND;
        let line = format!("IAMAT {client} +34.068930-118.445127 {seconds}.{nanos:09}");
        let input = Input::Report(line.into_bytes());
        self.under_way += 1;
        self.agenda.plan(self.now, place, What::Comes(input));
    }

    /// Cuts all links between two sides. Both ends of each hear of it at once.
    pub fn cut(&mut self, sides: Vec<bool>) {
        for (place, server) in self.servers.iter().enumerate() {
            for wire in server.node.peers().map(|connection| connection.slot) {
                if sides[place] != sides[self.wires[wire].other(place)] {
                    let input = Input::Ended(wire);
                    self.agenda.plan(self.now, place, What::Comes(input));
                }
            }
        }
        self.sides = Some(sides);
    }

    /// Undoes the cut. The next dial of each link will be answered.
    pub fn restore(&mut self) {
        self.sides = None;
        self.linked = None;
    }

    // ---- time

    /// Lets time pass.
    pub fn run_for(&mut self, span: Nanos) {
        let until = self.now + span;
        while self.happen(until) {}
        self.now = until;
    }

    /// Lets time pass until no change is under way.
    pub fn run_until_quiet(&mut self) {
        self.run_until(|herd| herd.under_way == 0 && herd.behind == 0);
    }

    /// Lets time pass until all links are up, and no change is under way.
    pub fn run_until_linked(&mut self) {
        self.run_until(|herd| {
            herd.sink.ends_up == herd.ends && herd.under_way == 0 && herd.behind == 0
        });
    }

    fn run_until(&mut self, is_done: impl Fn(&Herd) -> bool) {
        let until = self.now + PATIENCE;
        while !is_done(self) {
            assert!(self.happen(until), "it does not come to its end");
        }
    }

    /// What happens next, if that is not after `until`.
    fn happen(&mut self, until: Nanos) -> bool {
        let Some(first) = self.agenda.events.first_entry() else {
            return false;
        };
        let (at, _) = *first.key();
        if at > until {
            return false;
        }
        let (place, what) = first.remove();
        self.now = at;
        let server = &mut self.servers[place];
        match what {
            What::Comes(input) => server.inbox.push(input),
            What::Turn if server.next_turn == Some(at) => server.next_turn = None,
            What::Turn => return true,
        }
        match server.busy_until <= at {
            true => self.turn(place),
            false => self.plan_turn(place, self.servers[place].busy_until),
        }
        true
    }

    fn plan_turn(&mut self, place: usize, at: Nanos) {
        let server = &mut self.servers[place];
        if server.next_turn.is_none_or(|next| at < next) {
            server.next_turn = Some(at);
            self.agenda.plan(at, place, What::Turn);
        }
    }

    // ---- a turn

    fn turn(&mut self, place: usize) {
        let now = now_at(self.start, self.now);
        let up_before = self.sink.ends_up;
        let mut core = self.now;
        let (server, sink) = (&mut self.servers[place], &mut self.sink);
        server.node.handle_clock(now, sink);
        if server.node.poll_timeout().is_some_and(|at| at <= now.mono) {
            server.node.handle_timeout(now, sink);
        }
        for input in mem::take(&mut server.inbox) {
            match input {
                Input::Report(line) => {
                    self.under_way -= 1;
                    core += self.costs.client + 2 * self.costs.call;
                    let line = server.node.read_client_line(&line);
                    server.node.handle_client_line(CLIENT, line, now, sink);
                    server.note_accepted(sink, core);
                }
                Input::Lines(parcel) => {
                    self.under_way -= parcel.changes;
                    let wire = &mut self.wires[parcel.wire];
                    if place == wire.ends[1] && !mem::replace(&mut wire.is_accepted, true) {
                        server.node.handle_accepted(connection(parcel.wire), now);
                    }
                    core += self.costs.call;
                    server.hear(&parcel, now, self.costs.hear, &mut core, sink);
                }
                Input::Dialled(link, dial, wire)
                    if server.dials[link.index()] == dial && !sink.has_cancelled(link) =>
                {
                    let node = &mut server.node;
                    match wire.map(connection) {
                        Some(connection) => node.handle_connected(link, connection, now, sink),
                        None => node.handle_dial_failed(link, now),
                    }
                }
                Input::Dialled(..) => {} // given up: nobody has heard of its wire
                Input::Ended(wire) => {
                    let reason = "it has ended";
                    let node = &mut server.node;
                    node.handle_peer_lost(connection(wire), reason, now, sink);
                }
            }
        }
        for connection in server.node.backlogs().collect::<Vec<_>>() {
            let node = &mut server.node;
            node.handle_room(connection, READ_BYTES_MAX, now, sink);
        }
        let is_behind = server.node.backlogs().next().is_some();
        self.behind += usize::from(is_behind);
        self.behind -= usize::from(mem::replace(&mut server.has_backlog, is_behind));
        if self.sink.ends_up > up_before {
            let first = self.linked.map_or(self.now, |(first, _)| first);
            self.linked = Some((first, self.now));
        }
        self.let_go(place, core);
    }

    /// What a turn has said leaves, and what it wants done begins. The core is at it from `core` on.
    fn let_go(&mut self, place: usize, mut core: Nanos) {
        let (server, agenda) = (&mut self.servers[place], &mut self.agenda);
        for parcel in self.sink.parcels.drain(..) {
            core += self.costs.call + parcel.lines * self.costs.send;
            server.sent += parcel.changes;
            self.under_way += parcel.changes;
            let to = self.wires[parcel.wire].other(place);
            let input = Input::Lines(parcel);
            agenda.plan(core + self.delay, to, What::Comes(input));
        }
        for deed in self.sink.deeds.drain(..) {
            match deed {
                Deed::Dial(link) => {
                    let other = server.neighbours[link.index()];
                    let sides = self.sides.as_ref();
                    let is_cut = sides.is_some_and(|sides| sides[place] != sides[other]);
                    let wire = (!is_cut).then_some(self.wires.len());
                    self.wires.extend(wire.map(|_| Wire {
                        ends: [place, other],
                        is_accepted: false,
                    }));
                    self.dials += 1;
                    server.dials[link.index()] = self.dials;
                    let input = Input::Dialled(link, self.dials, wire);
                    agenda.plan(core + 2 * self.delay, place, What::Comes(input));
                }
                Deed::CancelDial(link) => server.dials[link.index()] = 0,
                Deed::Close(wire) => {
                    let other = self.wires[wire].other(place);
                    let at = core + self.delay;
                    agenda.plan(at, other, What::Comes(Input::Ended(wire)));
                    agenda.plan(core, place, What::Comes(Input::Ended(wire)));
                }
            }
        }
        server.busy_until = core;
        if server.has_backlog {
            self.plan_turn(place, core);
        }
        if let Some(due) = self.servers[place].node.poll_timeout() {
            let due = due.saturating_duration_since(self.start).as_nanos() as Nanos;
            self.plan_turn(place, due.max(core));
        }
    }
}

impl Server {
    /// Hears lines, each of which takes `cost` of the core.
    fn hear(&mut self, said: &Parcel, now: Now, cost: Nanos, core: &mut Nanos, sink: &mut Sink) {
        self.heard += said.changes;
        let connection = connection(said.wire);
        for line in said.text.split_inclusive(|&byte| byte == b'\n') {
            *core += cost;
            let line = self.node.read_link_line(&line[..line.len() - 1]);
            self.node.handle_link_line(connection, line, now, sink);
            self.note_accepted(sink, *core);
        }
    }

    /// Notes what the table has just taken in, with which the core was done at `core`.
    fn note_accepted(&mut self, sink: &mut Sink, core: Nanos) {
        let accepted = mem::take(&mut sink.accepted);
        if accepted > 0 {
            self.accepted += accepted;
            self.accepted_at = core;
        }
    }
}

/// What both clocks show so long after the start.
fn now_at(start: Instant, since: Nanos) -> Now {
    let since = Duration::from_nanos(since);
    let epoch = Timestamp::new(EPOCH_SECONDS, 0);
    Now {
        mono: start + since,
        wall: epoch.later(since),
    }
}
