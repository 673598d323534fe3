//! The hosts of a simulated herd: nodes, disks, clocks and clients, and what may befall them.
//!
//! It does for nodes what `Server` does, in virtual time: it cuts lines, writes journals before
//! replies leave, dials, and asks Twitter. The records on its disks are those of the real log.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use herd::connection_id::ConnectionId;
use herd::line_buffer::{LineBuffer, Piece};
use herd::log::note;
use herd::log::record::{self, Direction, Label, Stamp};
use herd::node::link::{SplitMix64, Spoken};
use herd::node::protocol::{Incarnation, LINK_LINE_BYTES_MAX, parse_at};
use herd::node::questions::QuestionId;
use herd::node::{Action, LinkIndex, Node, Seeds, error_json};
use herd::time::{Now, Timestamp};
use herd::topology::{ServerName, Topology};

use crate::wire::{End, Parcel, Wire};

/// A wire takes at least this much: less than a socket, so that neighbours are often too slow.
const ROOM_MIN: u64 = 400;

const CLIENT_NAMES: u64 = 12;

/// One machine.
struct Host {
    name: ServerName,
    /// `None` while it is down.
    node: Option<Node>,
    /// Counts its lives.
    life: u64,
    /// Its log: what a restart reads.
    disk: Vec<u8>,
    /// How far its clock is off, in seconds.
    skew: i64,
    /// Bytes a wire from here takes before it blocks.
    room: usize,
    /// Counts its connections.
    serial: u64,
    inputs: BTreeMap<ConnectionId, LineBuffer>,
    dials: BTreeMap<LinkIndex, Instant>,
    clients: BTreeMap<ConnectionId, Client>,
    questions: Vec<(Instant, QuestionId)>,
}

/// A client's connection, and what it is owed.
#[derive(Default)]
struct Client {
    /// Lines not handled yet: those behind a question wait.
    lines: VecDeque<Vec<u8>>,
    /// The commands whose replies have not come, oldest first.
    owed: VecDeque<Owed>,
}

enum Owed {
    /// `AT` about this client, as reply to an IAMAT.
    Report(String),
    /// `AT` about this client and then JSON, or a copy if it is unknown.
    Question { client: String, line: String },
    /// The JSON that follows.
    Tweets,
    /// A copy of this line.
    Copy(String),
}

/// The whole herd and its network.
pub struct Herd {
    dice: SplitMix64,
    topology: Topology,
    start: Instant,
    now: Instant,
    hosts: Vec<Host>,
    wires: Vec<Wire>,
    /// Pairs of hosts between which nothing passes: connections stand, but are silent.
    blackholes: BTreeSet<(usize, usize)>,
    /// Pairs of hosts that cannot connect.
    cuts: BTreeSet<(usize, usize)>,
    /// What clients have been told: the AT lines they have received.
    acknowledged: Vec<(usize, String)>,
    /// The latest each host has been seen to hold, across its lives.
    seen: BTreeMap<(usize, String), String>,
    locations_sent: u64,
    reports: u64,
    digest: DefaultHasher,
    /// Whether hosts may lose power, and with it the end of their disks.
    power_fails: bool,
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

const NAMES: [&str; 5] = ["Blake", "Bryant", "Gasol", "Howard", "Metta"];

impl Herd {
    /// The assignment's five, or any other connected herd.
    pub fn random(seed: u64) -> Herd {
        let mut dice = SplitMix64(seed);
        let power_fails = dice.below(3) == 0;
        if dice.below(2) == 0 {
            let herd = Herd::assignment(seed);
            return Herd {
                power_fails,
                ..herd
            };
        }
        let count = 2 + dice.below(6) as usize;
        let mut links: BTreeSet<(usize, usize)> = (1..count)
            .map(|host| pair(host, dice.below(host as u64) as usize))
            .collect();
        for _ in 0..dice.below(4) {
            let (a, b) = (dice.below(count as u64), dice.below(count as u64));
            if a != b {
                links.insert(pair(a as usize, b as usize));
            }
        }
        let herd = Herd::new(seed, count, &links);
        Herd {
            power_fails,
            ..herd
        }
    }

    /// The herd of the assignment.
    pub fn assignment(seed: u64) -> Herd {
        let links = [(0, 1), (0, 3), (1, 2), (2, 3), (1, 4)];
        Herd::new(seed, 5, &links.into_iter().collect())
    }

    fn new(seed: u64, count: usize, links: &BTreeSet<(usize, usize)>) -> Herd {
        let name = |host: usize| {
            NAMES
                .get(host)
                .map_or(format!("S{host}"), |n| n.to_string())
        };
        let mut text = String::new();
        for host in 0..count {
            let neighbours = links.iter().filter(|(a, _)| *a == host);
            let neighbours: Vec<_> = neighbours.map(|(_, b)| name(*b)).collect();
            let neighbours = neighbours.join(" ");
            text += &format!(
                "{} h:{} h:{} {neighbours}\n",
                name(host),
                host + 1,
                host + 100
            );
        }
        let topology = Topology::parse(text.as_bytes()).expect("the text is a topology");
        let mut dice = SplitMix64(seed ^ 0x5eed);
        let hosts = topology.members().iter().map(|member| Host {
            name: member.name.clone(),
            node: None,
            life: 0,
            disk: Vec::new(),
            skew: dice.below(120) as i64 - 60,
            room: (ROOM_MIN + dice.below(20_000)) as usize,
            serial: 0,
            inputs: BTreeMap::new(),
            dials: BTreeMap::new(),
            clients: BTreeMap::new(),
            questions: Vec::new(),
        });
        let hosts = hosts.collect();
        let start = Instant::now();
        let mut herd = Herd {
            dice,
            topology,
            start,
            now: start,
            hosts,
            wires: Vec::new(),
            blackholes: BTreeSet::new(),
            cuts: BTreeSet::new(),
            acknowledged: Vec::new(),
            seen: BTreeMap::new(),
            locations_sent: 0,
            reports: 0,
            digest: DefaultHasher::new(),
            power_fails: false,
        };
        (0..herd.hosts.len()).for_each(|host| herd.boot(host));
        herd
    }

    /// Changes of location that have been sent over links.
    pub fn locations_sent(&self) -> u64 {
        self.locations_sent
    }

    /// A digest of all that happened.
    pub fn digest(&self) -> u64 {
        self.digest.finish()
    }

    fn clock(&self, host: usize) -> Now {
        let since = self.now - self.start;
        let seconds = 1_353_118_103 + self.hosts[host].skew + since.as_secs() as i64;
        Now {
            mono: self.now,
            wall: Timestamp::new(seconds, since.subsec_nanos()),
        }
    }

    // ---- what befalls it

    /// Something happens, then some time passes.
    pub fn step(&mut self, step: usize) {
        let count = self.hosts.len() as u64;
        let (a, b) = (
            self.dice.below(count) as usize,
            self.dice.below(count) as usize,
        );
        match self.dice.below(100) {
            0..=44 => self.command(a),
            45..=49 => self.drop_client(a),
            50..=52 => self.crash(a),
            53 => self.lose_power(a),
            54..=59 if self.hosts[a].node.is_none() => self.boot(a),
            60..=63 => drop(self.cuts.insert(pair(a, b))),
            64..=68 => drop(self.cuts.remove(&pair(a, b))),
            69..=71 => drop(self.blackholes.insert(pair(a, b))),
            72..=77 => drop(self.blackholes.remove(&pair(a, b))),
            78..=81 => self.reset_wires(a, b),
            82..=83 => self.hosts[a].skew = self.dice.below(7200) as i64 - 3600,
            84..=85 => self.hosts[a].room = (ROOM_MIN + self.dice.below(20_000)) as usize,
            _ => {}
        }
        let wait = match self.dice.below(10) {
            0..=5 => Duration::from_micros(self.dice.below(2_000)),
            6..=8 => Duration::from_millis(self.dice.below(300)),
            _ => Duration::from_millis(self.dice.below(6_000)),
        };
        self.elapse(wait);
        self.check(step);
    }

    /// Ends all faults.
    pub fn heal(&mut self) {
        self.cuts.clear();
        self.blackholes.clear();
        for host in 0..self.hosts.len() {
            if self.hosts[host].node.is_none() {
                self.boot(host);
            }
        }
    }

    /// Lets time pass until every link is up and nothing is left to be said.
    ///
    /// Two seconds for links that are down, a silent one needs eight to be noticed, and who takes
    /// little at a time needs some more; then 11 for each question that a client has put.
    pub fn settle(&mut self) {
        self.elapse(Duration::from_secs(25));
        let clients = self.hosts.iter().flat_map(|host| host.clients.values());
        let questions = clients.map(|client| client.owed.len()).max();
        self.elapse(Duration::from_secs(11 * questions.unwrap_or(0) as u64));
        for host in &self.hosts {
            let node = host.node.as_ref().expect("healed");
            assert_eq!(
                node.backlogs().count(),
                0,
                "{} has a backlog left",
                host.name
            );
        }
    }

    /// Lets so many seconds pass.
    pub fn elapse_seconds(&mut self, seconds: u64) {
        self.elapse(Duration::from_secs(seconds));
    }

    /// Cuts two hosts off from each other, for both to see.
    pub fn cut_until_healed(&mut self, a: usize, b: usize) {
        self.cuts.insert(pair(a, b));
        self.reset_wires(a, b);
        self.elapse(Duration::from_secs(1));
    }

    /// A client reports at a random host.
    pub fn report_somewhere(&mut self) {
        let host = self.dice.below(self.hosts.len() as u64) as usize;
        self.report_at(host);
    }

    /// A client that has never been heard of reports at `host`.
    pub fn report_at(&mut self, host: usize) {
        self.reports += 1;
        let seconds = self.clock(host).wall.seconds();
        let line = format!("IAMAT new{} +10-010 {seconds}", self.reports);
        let client = format!("new{}", self.reports);
        self.say(host, line, Owed::Report(client));
        self.elapse(Duration::from_millis(1));
    }

    /// A client says something to `host`.
    fn command(&mut self, host: usize) {
        let client = format!("c{}", self.dice.below(CLIENT_NAMES));
        let seconds = self.clock(host).wall.seconds() - 5 + self.dice.below(10) as i64;
        let far = if self.dice.below(20) == 0 {
            1_000_000
        } else {
            0
        };
        let fraction = ["", ".5", ".50", ".000000001"][self.dice.below(4) as usize];
        let position = format!(
            "+{:02}-{:03}.{}",
            self.dice.below(91).min(89),
            self.dice.below(180),
            self.dice.below(99)
        );
        match self.dice.below(10) {
            0..=6 => {
                let padding = " ".repeat(self.dice.below(3) as usize);
                let line = format!(
                    "IAMAT {client}{padding} {position} {}{fraction}",
                    seconds + far
                );
                self.say(host, line, Owed::Report(client));
            }
            7..=8 => {
                let line = format!("WHATSAT {client} {} 5", self.dice.below(3));
                let owed = Owed::Question {
                    client,
                    line: line.clone(),
                };
                self.say(host, line, owed);
            }
            _ => {
                let line = format!("AT Blake +0.000000000 {client} {position} {seconds}");
                self.say(host, line.clone(), Owed::Copy(line));
            }
        }
    }

    fn say(&mut self, host: usize, line: String, owed: Owed) {
        if self.hosts[host].node.is_none() {
            return;
        }
        let ids: Vec<_> = self.hosts[host].clients.keys().copied().collect();
        let old = self.dice.below(1 + ids.len() as u64) as usize;
        let id = match ids.get(old) {
            Some(&id) => id,
            None => self.new_id(host),
        };
        let client = self.hosts[host].clients.entry(id).or_default();
        client.lines.push_back(line.into_bytes());
        client.owed.push_back(owed);
        self.serve_client(host, id);
        self.finish_turn(host);
    }

    fn drop_client(&mut self, host: usize) {
        let ids: Vec<_> = self.hosts[host].clients.keys().copied().collect();
        if ids.is_empty() || self.hosts[host].node.is_none() {
            return;
        }
        let id = ids[self.dice.below(ids.len() as u64) as usize];
        self.hosts[host].clients.remove(&id);
        self.node(host).handle_client_lost(id);
        self.finish_turn(host);
    }

    /// Kills a host (`kill -9`): its memory is gone, its disk is not, and the other ends learn it.
    fn crash(&mut self, host: usize) {
        self.hosts[host].node = None;
        self.hosts[host].inputs.clear();
        self.hosts[host].dials.clear();
        self.hosts[host].clients.clear();
        self.hosts[host].questions.clear();
        let (now, life) = (self.now, self.hosts[host].life);
        for wire in &mut self.wires {
            for direction in 0..2 {
                if wire.ends[direction].host == host && wire.ends[direction].life == life {
                    wire.close(direction, now, &mut self.dice);
                }
            }
        }
    }

    /// Kills a host by cutting its power: the end of its disk, which the kernel had not written
    /// yet, is gone too, most often in the middle of a record.
    fn lose_power(&mut self, host: usize) {
        self.crash(host);
        if self.power_fails {
            let disk = &mut self.hosts[host].disk;
            let lost = self.dice.below(1 + disk.len().min(20_000) as u64) as usize;
            disk.truncate(disk.len() - lost);
            if disk.last().is_some_and(|&byte| byte != b'\n') {
                disk.extend_from_slice(b"\\... torn\n"); // as a start of the real log does
            }
            if self.dice.below(3) == 0 {
                // Somebody makes room by cutting off the log's beginning.
                let cut = self.dice.below(1 + disk.len() as u64) as usize;
                let next = disk[cut..].iter().position(|&byte| byte == b'\n');
                disk.drain(..next.map_or(disk.len(), |next| cut + next + 1));
            }
            self.seen.retain(|(other, _), _| *other != host);
        }
    }

    /// Starts a host: what it knows is what its disk vouches for.
    fn boot(&mut self, host: usize) {
        let now = self.clock(host);
        let seeds = Seeds {
            incarnation: Incarnation(self.dice.next_u64()),
            hash_keys: (self.dice.next_u64(), self.dice.next_u64()),
            jitter: self.dice.next_u64(),
        };
        let member = &self.topology.members()[host];
        let mut node = Node::new(member, &self.topology, seeds, now);
        let mut line = Vec::new();
        for record in self.hosts[host].disk.split(|&byte| byte == b'\n') {
            if let Some(recalled) = record::recall(record, &mut line) {
                node.recall(recalled);
            }
        }
        let (incarnation, end) = node.begin_life();
        let mut stamp = Stamp::default();
        stamp.set(now.wall);
        let started = note::started(incarnation, end, node.table().len());
        let disk = &mut self.hosts[host].disk;
        record::write_head(disk, &stamp, Direction::Note, Label::None);
        record::write_text(disk, started.as_bytes());
        self.hosts[host].node = Some(node);
        self.hosts[host].life += 1;
    }

    fn reset_wires(&mut self, a: usize, b: usize) {
        let now = self.now;
        for wire in &mut self.wires {
            if pair(wire.ends[0].host, wire.ends[1].host) == pair(a, b) {
                wire.transit = Default::default();
                wire.bytes = [0; 2];
                wire.close(0, now, &mut self.dice);
                wire.close(1, now, &mut self.dice);
            }
        }
    }

    // ---- time

    fn elapse(&mut self, wait: Duration) {
        let until = self.now + wait;
        while let Some((at, what)) = self.next_due().filter(|(at, _)| *at <= until) {
            self.now = self.now.max(at);
            self.happen(what);
        }
        self.now = until;
    }

    fn next_due(&self) -> Option<(Instant, Due)> {
        let mut next: Option<(Instant, Due)> = None;
        let mut consider = |at: Instant, due: Due| {
            if next.as_ref().is_none_or(|(earliest, _)| at < *earliest) {
                next = Some((at, due));
            }
        };
        for (index, wire) in self.wires.iter().enumerate() {
            if self
                .blackholes
                .contains(&pair(wire.ends[0].host, wire.ends[1].host))
            {
                continue;
            }
            for direction in 0..2 {
                if let Some(at) = wire.next_arrival(direction) {
                    consider(at, Due::Arrival(index, direction));
                }
            }
        }
        for (index, host) in self.hosts.iter().enumerate() {
            let Some(node) = &host.node else { continue };
            if let Some(at) = node.poll_timeout() {
                consider(at, Due::Timeout(index));
            }
            for (&link, &at) in &host.dials {
                consider(at, Due::Dialled(index, link));
            }
            for &(at, question) in &host.questions {
                consider(at, Due::Tweets(index, question));
            }
        }
        next
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Timeout(host) => {
                let now = self.clock(host);
                self.node(host).handle_timeout(now);
                self.finish_turn(host);
            }
            Due::Tweets(host, question) => {
                self.hosts[host].questions.retain(|(_, id)| *id != question);
                let json: Arc<[u8]> = Arc::from(&b"{\"results\":[]}"[..]);
                self.node(host).handle_answer(question, &json);
                self.finish_turn(host);
            }
            Due::Dialled(host, link) => self.finish_dial(host, link),
            Due::Arrival(wire, direction) => self.arrive(wire, direction),
        }
    }

    fn finish_dial(&mut self, host: usize, link: LinkIndex) {
        self.hosts[host].dials.remove(&link);
        let other = self.topology.members()[host].neighbours[usize::from(link.0)];
        let refused = self.hosts[other].node.is_none() || self.cuts.contains(&pair(host, other));
        let now = self.clock(host);
        if refused {
            self.node(host).handle_dial_failed(link, now);
        } else {
            let ends = [host, other].map(|host| End {
                host,
                id: self.new_id(host),
                life: self.hosts[host].life,
            });
            self.wires.push(Wire::new(ends));
            for end in ends {
                self.hosts[end.host]
                    .inputs
                    .insert(end.id, LineBuffer::default());
            }
            self.node(host).handle_connected(link, ends[0].id, now);
            let now = self.clock(other);
            self.node(other).handle_accepted(ends[1].id, now);
            self.finish_turn(other);
        }
        self.finish_turn(host);
    }

    fn arrive(&mut self, wire: usize, direction: usize) {
        let to = self.wires[wire].ends[1 - direction];
        let parcel = self.wires[wire].take(direction).expect("it is due");
        let alive = self.hosts[to.host].node.is_some() && self.hosts[to.host].life == to.life;
        if alive && self.hosts[to.host].inputs.contains_key(&to.id) {
            match parcel {
                Parcel::Bytes(bytes) => self.receive(to, &bytes),
                Parcel::End => self.lose(to, "closed by the neighbour"),
            }
            self.finish_turn(to.host);
        } else {
            // Nobody is there: the sender is told so (a reset).
            let now = self.now;
            self.wires[wire].close(1 - direction, now, &mut self.dice);
        }
        let from = self.wires[wire].ends[direction].host;
        if self.hosts[from].node.is_some() {
            self.finish_turn(from); // there is room on the wire
        }
        self.wires
            .retain(|wire| wire.transit.iter().any(|t| !t.is_empty()) || wire.closed != [true; 2]);
    }

    /// A connection of a host ends here and now.
    fn lose(&mut self, end: End, reason: &str) {
        self.hosts[end.host].inputs.remove(&end.id);
        self.close_wire(end);
        let now = self.clock(end.host);
        self.node(end.host).handle_peer_lost(end.id, reason, now);
    }

    fn close_wire(&mut self, end: End) {
        let now = self.now;
        for wire in &mut self.wires {
            if let Some(direction) = wire.direction_from(end) {
                wire.close(direction, now, &mut self.dice);
            }
        }
    }

    // ---- a turn of one host

    fn node(&mut self, host: usize) -> &mut Node {
        self.hosts[host].node.as_mut().expect("the host is up")
    }

    fn new_id(&mut self, host: usize) -> ConnectionId {
        self.hosts[host].serial += 1;
        ConnectionId {
            serial: self.hosts[host].serial,
            slot: 0,
        }
    }

    fn receive(&mut self, end: End, bytes: &[u8]) {
        let mut input = self.hosts[end.host]
            .inputs
            .remove(&end.id)
            .expect("it is open");
        let mut chunk = bytes;
        let now = self.clock(end.host);
        while let Some(piece) = input.next(&mut chunk, LINK_LINE_BYTES_MAX) {
            let Piece::Line(line) = piece else {
                panic!("no node says a line that long")
            };
            let spoken = self.node(end.host).handle_link_line(end.id, line, now);
            if spoken == Spoken::News {
                let link = self.node(end.host).speaker_of(end.id);
                self.journal(end.host, Direction::In, end.id, link, line);
            }
        }
        self.hosts[end.host].inputs.insert(end.id, input);
    }

    fn serve_client(&mut self, host: usize, id: ConnectionId) {
        let now = self.clock(host);
        while !self.node(host).is_waiting(id)
            && let Some(client) = self.hosts[host].clients.get_mut(&id)
            && let Some(line) = client.lines.pop_front()
        {
            self.node(host).handle_client_line(id, &line, now);
            self.perform(host);
        }
    }

    fn journal(
        &mut self,
        host: usize,
        direction: Direction,
        id: ConnectionId,
        link: Option<LinkIndex>,
        line: &[u8],
    ) {
        let mut stamp = Stamp::default();
        stamp.set(self.clock(host).wall);
        let members = self.topology.members();
        let name = link.map(|link| &members[members[host].neighbours[usize::from(link.0)]].name);
        let label = match self.hosts[host].clients.contains_key(&id) {
            true => Label::Client(id.serial),
            false => Label::Server(id.serial, name),
        };
        let disk = &mut self.hosts[host].disk;
        record::write_head(disk, &stamp, direction, label);
        record::write_text(disk, line);
    }

    /// Carries out what the node wishes, then floods as far as there is room.
    fn finish_turn(&mut self, host: usize) {
        self.perform(host);
        let backlogs: Vec<_> = self.node(host).backlogs().collect();
        for id in backlogs {
            let end = End {
                host,
                id,
                life: self.hosts[host].life,
            };
            let under_way = |wire: &Wire| Some(wire.bytes[wire.direction_from(end)?]);
            let Some(under_way) = self.wires.iter().find_map(under_way) else {
                continue;
            };
            let room = self.hosts[host].room.saturating_sub(under_way);
            let now = self.clock(host);
            self.node(host).handle_room(id, room, now);
            self.perform(host);
        }
    }

    fn perform(&mut self, host: usize) {
        let life = self.hosts[host].life;
        while let Some(deed) = self.next_deed(host) {
            match deed {
                Deed::Say(id, link, line, spoken) => {
                    (host, &line).hash(&mut self.digest);
                    if spoken == Spoken::News {
                        self.journal(host, Direction::Out, id, link, &line);
                    }
                    if self.hosts[host].clients.contains_key(&id) {
                        self.client_hears(host, id, &line);
                    } else {
                        self.locations_sent += u64::from(line.starts_with(b"AT "));
                        self.send(End { host, id, life }, &[&line[..], b"\n"].concat());
                    }
                }
                Deed::Answer(id, json) => {
                    self.client_hears(host, id, &json);
                    self.serve_client(host, id);
                }
                Deed::Dial(link) => {
                    let other = self.topology.members()[host].neighbours[usize::from(link.0)];
                    // A dial into a black hole is never answered.
                    if !self.blackholes.contains(&pair(host, other)) {
                        let at = self.now + Duration::from_micros(100 + self.dice.below(2_000));
                        self.hosts[host].dials.insert(link, at);
                    }
                }
                Deed::Undial(link) => drop(self.hosts[host].dials.remove(&link)),
                Deed::Close(id, reason) => self.lose(End { host, id, life }, &reason),
                Deed::Ask(question) => {
                    // Sometimes late, sometimes never.
                    let after = Duration::from_millis(self.dice.below(13_000));
                    if self.dice.below(5) > 0 {
                        self.hosts[host]
                            .questions
                            .push((self.now + after, question));
                    }
                }
                Deed::Withdraw(question) => {
                    self.hosts[host].questions.retain(|(_, id)| *id != question);
                }
            }
        }
    }

    fn next_deed(&mut self, host: usize) -> Option<Deed> {
        loop {
            return Some(match self.node(host).poll_action()? {
                Action::Send {
                    to,
                    link,
                    line,
                    spoken,
                } => Deed::Say(to, link, line.to_vec(), spoken),
                Action::Answer { to, json } => Deed::Answer(to, json),
                Action::Dial(link) => Deed::Dial(link),
                Action::Undial(link) => Deed::Undial(link),
                Action::Lose { connection, reason } | Action::Abort { connection, reason } => {
                    Deed::Close(connection, reason)
                }
                Action::Ask { question, .. } => Deed::Ask(question),
                Action::Withdraw(question) => Deed::Withdraw(question),
                Action::LinkUp(_) | Action::LinkDown(..) => continue,
            });
        }
    }

    fn send(&mut self, from: End, bytes: &[u8]) {
        let now = self.now;
        for wire in &mut self.wires {
            if let Some(direction) = wire.direction_from(from) {
                wire.send(direction, bytes, now, &mut self.dice);
            }
        }
    }

    // ---- what must hold

    /// A reply reaches its client: it must be the one that is due.
    fn client_hears(&mut self, host: usize, id: ConnectionId, line: &[u8]) {
        let text = std::str::from_utf8(line).expect("this simulation says only text");
        let Some(client) = self.hosts[host].clients.get_mut(&id) else {
            return;
        };
        let due = client.owed.pop_front();
        match due.unwrap_or_else(|| panic!("nothing is owed, but came: {text}")) {
            Owed::Report(name) => {
                let location = parse_at(line).unwrap_or_else(|| panic!("AT {name}, not {text}"));
                assert_eq!(location.client, name.as_bytes(), "{text}");
                self.acknowledged.push((host, text.to_owned()));
            }
            Owed::Question {
                client: name,
                line: asked,
            } => {
                if text == format!("? {asked}") {
                    return; // nobody has heard of that client
                }
                let location = parse_at(line).unwrap_or_else(|| panic!("AT {name}, not {text}"));
                assert_eq!(location.client, name.as_bytes(), "{text}");
                client.owed.push_front(Owed::Tweets);
            }
            Owed::Tweets => {
                let error = String::from_utf8_lossy(&error_json("")).replace("\"\"}", "");
                assert!(
                    text.starts_with("{\"results\"") || text.starts_with(&error),
                    "{text}"
                );
            }
            Owed::Copy(line) => assert_eq!(text, format!("? {line}")),
        }
    }

    /// After every step: the nodes' own invariants, and no record has gone back in time.
    fn check(&mut self, step: usize) {
        for index in 0..self.hosts.len() {
            let Some(node) = &self.hosts[index].node else {
                continue;
            };
            node.check_invariants();
            let client = format!("c{}", step as u64 % CLIENT_NAMES);
            let held = node.table().location(client.as_bytes());
            let key = (index, client);
            match (self.seen.get(&key), held) {
                (None, None) => {}
                (Some(old), None) => panic!("step {step}: host {index} has forgotten {old}"),
                (old, Some(held)) => {
                    let line = String::from_utf8_lossy(held.line).into_owned();
                    if let Some(old) = old {
                        let before = parse_at(old.as_bytes()).expect("it was held");
                        let order = held.recency(&before);
                        assert_ne!(order, Ordering::Less, "step {step}: {old} became {line}");
                    }
                    self.seen.insert(key, line);
                }
            }
        }
    }

    fn table_of(&self, host: usize) -> BTreeMap<Vec<u8>, String> {
        let node = self.hosts[host].node.as_ref().expect("healed");
        let records = node.table().changes_after(0).map(|change| {
            let client = parse_at(change.line)
                .expect("a table holds AT lines")
                .client;
            (
                client.to_vec(),
                String::from_utf8_lossy(change.line).into_owned(),
            )
        });
        records.collect()
    }

    /// Every host holds the same record of every client.
    pub fn assert_one_table_everywhere(&self) {
        let first = self.table_of(0);
        for host in 1..self.hosts.len() {
            assert_eq!(
                first,
                self.table_of(host),
                "tables of host 0 and host {host}"
            );
        }
    }

    /// What a client was told, or a more recent report, is held; power failures are not survived
    /// that well.
    pub fn assert_nothing_acknowledged_is_lost(&self) {
        if self.power_fails {
            return;
        }
        let table = self.table_of(0);
        for (host, line) in &self.acknowledged {
            let told = parse_at(line.as_bytes()).expect("checked when it came");
            let held = table.get(told.client);
            let held = held.unwrap_or_else(|| panic!("host {host} told {line}, and it is lost"));
            let held = parse_at(held.as_bytes()).expect("a table holds AT lines");
            assert_ne!(
                held.recency(&told),
                Ordering::Less,
                "host {host} told {line}"
            );
        }
    }

    /// Every client that is still there has got all it was owed.
    pub fn assert_replies_complete(&self) {
        for host in &self.hosts {
            for (id, client) in &host.clients {
                let owed = client.owed.len();
                assert_eq!(
                    owed, 0,
                    "{} owes replies to client {}",
                    host.name, id.serial
                );
            }
        }
    }
}

/// What happens next.
enum Due {
    Timeout(usize),
    Arrival(usize, usize),
    Dialled(usize, LinkIndex),
    Tweets(usize, QuestionId),
}

/// An action, with nothing borrowed from its node.
enum Deed {
    Say(ConnectionId, Option<LinkIndex>, Vec<u8>, Spoken),
    Answer(ConnectionId, Arc<[u8]>),
    Dial(LinkIndex),
    Undial(LinkIndex),
    Close(ConnectionId, String),
    Ask(QuestionId),
    Withdraw(QuestionId),
}
