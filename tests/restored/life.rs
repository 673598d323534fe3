//! A life of Blake, linked with Bryant now and then.

use std::collections::VecDeque;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use herd::connection_id::ConnectionId;
use herd::log::disk::Ticket;
use herd::log::record::{Direction, Label};
use herd::log::{Fsync, Log, Options};
use herd::node::effects::{LinkId, LogPolicy};
use herd::node::protocol::Incarnation;
use herd::node::{Node, Seeds};
use herd::time::{Now, Timestamp};
use herd::topology::{ServerName, Topology};

use crate::effects::{Effect, Recorder};
use crate::memory::Memory;
use crate::{World, pick};

/// Where the log is.
pub const LOG: &str = "Blake.log";

/// Where Blake keeps those it has replaced.
pub const KEPT: [&str; 2] = ["Blake.log.1", "Blake.log.2"];

const TOPOLOGY: &[u8] = b"Blake h:1 h:2 Bryant\nBryant h:3 h:4\n";

/// The length from which on a log is replaced.
const LOG_BYTES_MAX: usize = 4096;

/// After this time Blake forgets, if it does.
const SPAN_S: u64 = 30;

/// What a clock may be off by, in seconds.
const SKEWS_S: [i64; 4] = [0, 0, -40, 40];

/// The time after which a mark is due.
const TICK: Duration = Duration::from_millis(1_100);

/// Room for all that there is to be said.
const ROOM: usize = 1 << 20;

const CLIENT: ConnectionId = ConnectionId { serial: 0, slot: 0 };

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

/// The link, while it is up: what was said and not heard.
struct Wire {
    id: ConnectionId,
    to_blake: VecDeque<Vec<u8>>,
    to_bryant: VecDeque<Vec<u8>>,
}

/// A life of Blake.
pub struct Life<'a> {
    /// What outlives it.
    pub world: &'a mut World,
    /// Blake.
    pub node: Node,
    effects: Recorder,
    /// What Bryant wants done.
    bryants: Recorder,
    log: Log<&'a mut Memory>,
    tickets: &'a Receiver<Ticket>,
    /// What its clock is off by, in seconds.
    skew: i64,
    /// It is linked in this life.
    is_near: bool,
    wire: Option<Wire>,
    bryant: ServerName,
}

impl<'a> Life<'a> {
    /// Begins a life on what the disk has.
    pub fn begin(
        number: u64,
        world: &'a mut World,
        memory: &'a mut Memory,
        tickets: &'a Receiver<Ticket>,
    ) -> Life<'a> {
        let options = Options {
            path: LOG.into(),
            max_bytes: LOG_BYTES_MAX as u64,
            keep: KEPT.len() as u32,
            fsync: Fsync::Never,
        };
        let skew = pick(&mut world.dice, &SKEWS_S);
        let is_near = world.dice.below(3) > 0;
        let node = node("Blake", number, world.now);
        let mut life = Life {
            world,
            node,
            effects: Recorder::default(),
            bryants: Recorder::default(),
            log: Log::new(memory, options),
            tickets,
            skew,
            is_near,
            wire: None,
            bryant: ServerName::parse(b"Bryant").expect("a name"),
        };
        let now = life.now();
        if life.world.may_forget && life.world.dice.below(2) == 0 {
            life.node.forget_after(Duration::from_secs(SPAN_S), now);
        }
        let forgets = life.node.forgets_after();
        life.world
            .note(&format!("life {number}, forgets {forgets:?}, clock {skew}"));
        let opened = life.log.open(&mut life.node, now, |_, _| {});
        opened.expect("a log in memory can be read");
        life.commit();
        life
    }

    /// The time by Blake's clock.
    fn now(&self) -> Now {
        let Now { mono, wall } = self.world.now;
        let wall = Timestamp::new(wall.seconds() + self.skew, wall.nanos());
        Now { mono, wall }
    }

    /// What has an effective time before this has expired.
    pub fn oldest(&self) -> Timestamp {
        let after = self.node.forgets_after();
        after.map_or(Timestamp::MIN, |after| self.now().wall.minus(after))
    }

    fn commit(&mut self) {
        let now = self.now();
        self.log.commit(&self.node, now);
        while self.log.poll_notice().is_some() {}
        self.world.expired = self.world.expired.max(self.oldest());
    }

    /// Does what the log has to do beside the turns, `most` times at most.
    pub fn work(&mut self, most: u64) {
        let now = self.now();
        for _ in 0..most {
            if self.log.is_busy(now) {
                self.log.work(&mut self.node, now);
            } else if let Ok(ticket) = self.tickets.try_recv() {
                self.log.handle_synced(ticket, Ok(()), now);
            } else {
                return;
            }
            self.commit();
        }
    }

    /// Carries out what the two wish.
    fn perform(&mut self) {
        let mut is_lost = false;
        self.log.set_time(self.now());
        for effect in self.effects.take() {
            match effect {
                Effect::Reply(id, line) => {
                    self.log
                        .record(Direction::Out, Label::Client(id.serial), &line);
                }
                Effect::Send {
                    to,
                    link,
                    line,
                    policy,
                } => {
                    let label = match link {
                        Some(_) => Label::Server(to.serial, Some(&self.bryant)),
                        None => Label::Client(to.serial),
                    };
                    if policy == LogPolicy::Log {
                        self.log.record(Direction::Out, label, &line);
                    }
                    if let (Some(_), Some(wire)) = (link, &mut self.wire) {
                        wire.to_bryant.push_back(line);
                    }
                }
                Effect::Lose(..) | Effect::Abort(..) => is_lost = true,
                _ => {}
            }
        }
        for effect in self.bryants.take() {
            match effect {
                Effect::Send { link, line, .. } => {
                    if let (Some(_), Some(wire)) = (link, &mut self.wire) {
                        wire.to_blake.push_back(line);
                    }
                }
                Effect::Lose(..) | Effect::Abort(..) => is_lost = true,
                _ => {}
            }
        }
        self.commit();
        if is_lost {
            self.cut();
        }
    }

    fn connect(&mut self) {
        self.cut();
        self.world.note("linked");
        self.world.serial += 1;
        let serial = self.world.serial;
        let id = ConnectionId { serial, slot: 1 };
        self.wire = Some(Wire {
            id,
            to_blake: VecDeque::new(),
            to_bryant: VecDeque::new(),
        });
        self.node.handle_accepted(id, self.now());
        let now = self.world.now;
        self.world
            .bryant
            .handle_connected(LinkId::nth(0), id, now, &mut self.bryants);
        self.perform();
    }

    /// Cuts the link: what is under way is lost.
    pub fn cut(&mut self) {
        if let Some(Wire { id, .. }) = self.wire.take() {
            self.world.note("cut");
            let now = self.world.now;
            let own = self.now();
            self.node
                .handle_peer_lost(id, "cut", own, &mut self.effects);
            let bryant = &mut self.world.bryant;
            bryant.handle_peer_lost(id, "cut", now, &mut self.bryants);
            self.perform();
        }
    }

    /// Lets up to `most` lines pass each way, and says whether any was there.
    fn pass_lines(&mut self, most: u64) -> bool {
        let mut any = false;
        for _ in 0..most {
            if let Some(wire) = &mut self.wire
                && let Some(line) = wire.to_blake.pop_front()
            {
                let id = wire.id;
                self.hear(id, &line);
                any = true;
            }
            if let Some(wire) = &mut self.wire
                && let Some(line) = wire.to_bryant.pop_front()
            {
                let id = wire.id;
                self.have_bryant_hear(id, &line);
                any = true;
            }
        }
        any
    }

    fn hear(&mut self, id: ConnectionId, line: &[u8]) {
        let now = self.now();
        let read = self.node.read_link_line(line);
        let policy = self.node.log_policy(id, &read);
        if policy == LogPolicy::Log {
            self.log.set_time(now);
            let label = Label::Server(id.serial, Some(&self.bryant));
            self.log.record(Direction::In, label, line);
        }
        self.node.handle_link_line(id, read, now, &mut self.effects);
        let line = line.escape_ascii();
        self.world.note(&format!("Blake < {line}"));
        self.perform();
    }

    fn have_bryant_hear(&mut self, id: ConnectionId, line: &[u8]) {
        let World { bryant, now, .. } = &mut *self.world;
        let read = bryant.read_link_line(line);
        bryant.handle_link_line(id, read, *now, &mut self.bryants);
        let line = line.escape_ascii();
        self.world.note(&format!("Bryant < {line}"));
        self.perform();
    }

    /// Lets time pass, and both say what they have to say.
    fn pass(&mut self, time: Duration) {
        let nanos = u64::from(self.world.now.wall.nanos()) + time.as_nanos() as u64;
        let seconds = self.world.now.wall.seconds() + (nanos / 1_000_000_000) as i64;
        self.world.now.wall = Timestamp::new(seconds, (nanos % 1_000_000_000) as u32);
        self.world.now.mono += time;
        let (now, own) = (self.world.now, self.now());
        self.node.handle_timeout(own, &mut self.effects);
        let bryant = &mut self.world.bryant;
        bryant.handle_timeout(now, &mut self.bryants);
        self.perform();
        if let Some(Wire { id, .. }) = self.wire {
            self.node.handle_room(id, ROOM, own, &mut self.effects);
            let bryant = &mut self.world.bryant;
            bryant.handle_room(id, ROOM, now, &mut self.bryants);
            self.perform();
        }
    }

    fn report_to_blake(&mut self) {
        let line = self.world.report();
        self.world.note(&format!("to Blake: {line}"));
        let read = self.node.read_client_line(line.as_bytes());
        let now = self.now();
        self.node
            .handle_client_line(CLIENT, read, now, &mut self.effects);
        self.perform();
    }

    fn report_to_bryant(&mut self) {
        let line = self.world.report();
        self.world.note(&format!("to Bryant: {line}"));
        let World { bryant, now, .. } = &mut *self.world;
        let read = bryant.read_client_line(line.as_bytes());
        bryant.handle_client_line(CLIENT, read, *now, &mut self.bryants);
        self.perform();
    }

    /// A client says so much that the log is to be replaced, which may not come to its end.
    fn rotate(&mut self) {
        self.log.set_time(self.now());
        let nonsense = [b'?'; LOG_BYTES_MAX];
        self.log.record(Direction::In, Label::Client(0), &nonsense);
        self.commit();
        let most = pick(&mut self.world.dice, &[1, 2, 3, 4, 99, 99]);
        self.work(most);
        self.world.note("a rotation");
    }

    /// Something happens.
    pub fn step(&mut self) {
        match self.world.dice.below(16) {
            0..4 => self.report_to_blake(),
            4..6 => self.report_to_bryant(),
            6..9 if self.is_near && self.wire.is_none() => self.connect(),
            6 => self.cut(),
            7..10 => {
                let most = self.world.dice.below(6);
                self.pass(Duration::ZERO);
                self.pass_lines(most);
            }
            14.. if self.world.rotates => self.rotate(),
            _ => {
                self.pass(TICK);
                self.pass_lines(20);
            }
        }
    }

    /// Leaves the two alone until all is said.
    pub fn rest(&mut self) {
        for _ in 0..10 {
            if self.wire.is_none() {
                self.connect();
            }
            self.pass(TICK);
            while self.pass_lines(50) {}
            self.work(u64::MAX);
        }
    }
}
