//! A whole herd on a virtual wire, in virtual time: what happens next, and to whom.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use herd::journal::State;
use herd::node::protocol::Incarnation;
use herd::node::{Node, Seeds};
use herd::random::SplitMix64;
use herd::time::{Now, Timestamp};
use herd::topology::Topology;

use crate::agenda::{Agenda, Event, Moment};
use crate::checks::Fences;
use crate::disk::{Crash, Disk, Start};
use crate::hash::Stirred;
use crate::host::{Doom, Host, random_room};
use crate::network::{Network, RESEND_MAX};
use crate::oracle::{NEVER, Window};
use crate::records;
use crate::script::Script;
use crate::topology::{self, pair};

/// When simulated time begins, in POSIX seconds.
const EPOCH_SECONDS: i64 = 1_353_118_103;

/// In nanoseconds.
const SECOND: i64 = records::SECOND as i64;

/// While time passes the links are looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A server that is to die in a call to its disk has at most so many before.
pub const CALLS_MAX: u64 = 24;

/// So much never happens at one instant: somebody wants to be woken again and again.
const AT_ONCE_MAX: u32 = 10_000;

/// What a seed's herd is like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Machines may lose power, and with it the end of their disks.
    pub power_fails: bool,
    /// Somebody damages the files of servers that are down.
    pub vandals: bool,
    /// Clients report in bursts, until the feed has to be swept.
    pub busy: bool,
    /// Neighbours are taken out of topology files and put back.
    pub reloads: bool,
    /// Reports are forgotten after so long, if ever.
    pub forget_after: Option<Duration>,
    /// Faults of a hundred steps.
    pub faults: u64,
    /// Tables have room for few clients.
    pub tables_are_small: bool,
    /// Clocks are off by days or decades for a while. Those that are off by more than this count as wrong;
    /// else by more than they ever are.
    pub clock_skew: Option<Duration>,
    /// Clients are erased.
    pub erases: bool,
}

/// After how long a seed's herd forgets, if it does: in days nothing would happen.
fn some_forget(seed: u64) -> Option<Duration> {
    let mut dice = SplitMix64(!seed); // its own: what else befalls the herd is not changed by it
    let seconds = [3, 10, 60, 3_600][dice.below(4) as usize];
    (dice.below(3) == 0).then(|| Duration::from_secs(seconds))
}

/// How far the clocks of a seed's herd may be off, if they ever are by more.
fn some_skew(seed: u64) -> Option<Duration> {
    let mut dice = SplitMix64(seed.rotate_left(32));
    (dice.below(3) == 0).then(|| Duration::from_secs(20))
}

/// In nanoseconds.
fn nanos(time: Timestamp) -> i128 {
    i128::from(time.seconds()) * records::SECOND + i128::from(time.nanos())
}

/// How many bytes tables may take where they are small: room for a few clients, for some, or for all.
const TABLE_LIMITS: [usize; 4] = [700, 1_200, 2_400, usize::MAX];

/// Longer than any clock is off where that is not the matter.
const NO_SKEW: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// When a line was made, and its effective time in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    pub at: Duration,
    pub effective: i128,
    /// That of [`costs::digest`](crate::costs::digest).
    pub digest: u64,
}

/// The herd and its network.
pub struct Herd {
    pub dice: SplitMix64,
    pub weather: Weather,
    pub topology: Topology,
    pub start: Instant,
    pub now: Duration,
    /// The clocks show no finer time than this, in nanoseconds: coarse ones make ties.
    clock_step: i64,
    pub hosts: Vec<Host>,
    pub network: Network,
    pub agenda: Agenda,
    pub script: Script,
    /// Since when each way and its ends have been left alone.
    pub fences: Fences,
    /// Every `AT` and `ERASED` line that a server has made.
    pub made: HashMap<Vec<u8>, Made, Stirred>,
    /// The latest effective time of what had to make room in some table.
    pub evicted: i128,
    /// Since when nothing has been amiss.
    pub healed: Duration,
    pub dials: u64,
    digest: DefaultHasher,
}

impl Herd {
    /// Any herd.
    pub fn random(seed: u64) -> Herd {
        let mut dice = SplitMix64(seed);
        let topology = topology::random(&mut dice);
        let small = topology.members().len() < 6;
        let weather = Weather {
            power_fails: dice.below(3) == 0,
            vandals: dice.below(4) == 0,
            busy: small && dice.below(8) == 0,
            reloads: SplitMix64(seed ^ 0x5eed).below(3) == 0, // what else befalls the herd is not changed by it
            tables_are_small: SplitMix64(seed ^ 0x7ab1e).below(4) == 0,
            faults: [10, 30, 60][dice.below(3) as usize],
            forget_after: some_forget(seed),
            clock_skew: some_skew(seed).filter(|_| some_forget(seed).is_none()),
            erases: SplitMix64(seed ^ 0xe5a5ed).below(2) == 0,
        };
        let clock_step = [SECOND, SECOND / 100, 1][dice.below(3) as usize];
        let in_step = dice.below(2) == 0;
        let mut herd = Herd::down(dice.next_u64(), topology);
        (herd.weather, herd.clock_step) = (weather, clock_step);
        if weather.tables_are_small {
            let mut dice = SplitMix64(seed ^ 0xb17e5);
            for host in &mut herd.hosts {
                host.table_limit = TABLE_LIMITS[dice.below(TABLE_LIMITS.len() as u64) as usize];
            }
        }
        herd.script.age_max = weather.forget_after.map(|span| span.as_secs() * 5 / 4);
        if !in_step {
            for host in 0..herd.hosts.len() {
                let skew_seconds = dice.below(120) as i64 - 60;
                herd.hosts[host].skew_seconds = match weather.clock_skew {
                    Some(_) => skew_seconds / 8, // all are near each other
                    None => herd.bearable(skew_seconds),
                };
            }
        }
        herd.boot_all();
        let count = herd.hosts.len();
        if count > 2 && dice.below(6) == 0 {
            let dead = dice.below(count as u64) as usize;
            herd.hosts[dead].dead = true;
            if dice.below(2) == 0 {
                herd.crash(dead, Crash::Killed);
            }
        }
        herd
    }

    /// A herd in fair weather: all up, near each other, with clocks that are exact.
    pub fn new(seed: u64, topology: Topology) -> Herd {
        let mut herd = Herd::down(seed, topology);
        for host in &mut herd.hosts {
            host.disk.heal(Duration::ZERO);
        }
        herd.boot_all();
        herd
    }

    /// A herd of which nobody is up yet.
    fn down(seed: u64, topology: Topology) -> Herd {
        let mut dice = SplitMix64(seed);
        let members = topology.members();
        let hosts: Vec<_> = members
            .iter()
            .map(|member| {
                let neighbours = member.neighbours.clone();
                Host::new(
                    member.name.to_string(),
                    neighbours,
                    random_room(&mut dice),
                    Disk::new(&mut dice),
                )
            })
            .collect();
        let links = hosts.iter().enumerate().flat_map(|(a, host)| {
            let pairs = host.neighbours.iter().map(move |&b| pair(a, b));
            pairs.collect::<Vec<_>>()
        });
        let mut network = Network::new(links);
        for way in network.ways.values_mut() {
            way.delay = Duration::from_micros(50 + dice.below(4_000));
        }
        Herd {
            weather: Weather::default(),
            start: Instant::now(),
            now: Duration::ZERO,
            clock_step: 1,
            hosts,
            fences: Fences::default(),
            script: Script::new(&mut dice),
            network,
            agenda: Agenda::default(),
            made: HashMap::default(),
            evicted: NEVER,
            healed: Duration::ZERO,
            dials: 0,
            digest: DefaultHasher::new(),
            topology,
            dice,
        }
    }

    fn boot_all(&mut self) {
        (0..self.hosts.len()).for_each(|host| self.boot(host));
    }

    /// A digest of all that was said.
    pub fn digest(&self) -> u64 {
        self.digest.finish()
    }

    /// Adds a line to the digest.
    pub fn trace(&mut self, host: usize, line: &[u8]) {
        (self.now, host, line).hash(&mut self.digest);
    }

    // ---- clocks

    /// What a host's clock shows, in nanoseconds.
    pub fn wall(&self, host: usize) -> i128 {
        self.wall_nanos(host).into()
    }

    fn wall_nanos(&self, host: usize) -> i64 {
        let seconds = EPOCH_SECONDS + self.now.as_secs() as i64 + self.hosts[host].skew_seconds;
        let nanos = seconds * SECOND + i64::from(self.now.subsec_nanos());
        match self.clock_step {
            1 => nanos,
            step => nanos - nanos.rem_euclid(step),
        }
    }

    /// Both clocks of a host.
    pub fn clock(&self, host: usize) -> Now {
        let wall = self.wall_nanos(host);
        let (seconds, nanos) = (wall / SECOND, wall % SECOND); // long after the epoch
        Now {
            mono: self.start + self.now,
            wall: Timestamp::new(seconds, nanos as u32),
        }
    }

    /// What has an effective time before this has expired by a host's clock.
    pub fn oldest(&self, host: usize) -> i128 {
        let span = self
            .weather
            .forget_after
            .map(|span| span.as_nanos() as i128);
        span.map_or(NEVER, |span| self.wall(host) - span)
    }

    /// What is too far ahead by a host's clock, if that is trusted.
    pub fn window(&self, host: usize) -> Window {
        let node = self.hosts[host].node.as_ref();
        let is_trusted = node.is_none_or(|node| node.clock_distrust().is_none());
        let skew = self.weather.clock_skew.filter(|_| is_trusted);
        let evicted = node.and_then(|node| node.table().evicted().until);
        let ahead = |skew: Duration| self.wall(host) + skew.as_nanos() as i128;
        Window {
            oldest: self.oldest(host),
            newest: skew.map_or(i128::MAX, ahead),
            evicted: evicted.map_or(NEVER, nanos),
        }
    }

    /// Whether what is held is judged by the time.
    pub fn judges_by_time(&self) -> bool {
        self.weather.forget_after.is_some() || self.weather.clock_skew.is_some()
    }

    /// Notes what has had to make room in a host's table.
    pub fn note_evicted(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        let Some(node) = &host.node else { return };
        if host.table_limit < usize::MAX {
            let mut held = node.table().stored_after(0);
            let first = held.find_map(|(_, stored)| stored.map(|stored| stored.number));
            let evicted = host.heard.evict(first.unwrap_or(u64::MAX));
            self.evicted = self.evicted.max(evicted);
        }
    }

    /// A host looks at its clock, as it does before anything else of a turn. Says whether what had expired
    /// may be news again.
    pub fn look_at_clock(&mut self, index: usize) -> bool {
        let now = self.clock(index);
        let (node, effects) = self.hosts[index].up();
        let is_anew = node.handle_clock(now, effects);
        self.perform(index, None);
        is_anew
    }

    /// Sets a host's clock. What had expired may be gone, so if it is set back a server that forgets asks
    /// for everything again, and writes its journal anew: as `Driver` does.
    pub fn set_clock(&mut self, index: usize, skew_seconds: i64) {
        let (before, oldest) = (self.wall(index), self.oldest(index));
        let host = &mut self.hosts[index];
        host.heard.expire(oldest);
        host.oldest_ever = host.oldest_ever.max(oldest);
        self.hosts[index].skew_seconds = skew_seconds;
        self.hosts[index].clock_set = self.now;
        self.hosts[index].turns += 1;
        if self.wall(index) > before && oldest != NEVER {
            self.hosts[index].disk.lose_copy(); // it may have what is passed over from here on
        }
        let is_back = self.wall(index) < before && oldest != NEVER;
        if is_back {
            let made = self.made.values();
            let expired = made.filter(|made| made.effective < oldest);
            let costs = &mut self.hosts[index].costs;
            costs.forget(expired.map(|made| made.digest));
        }
        if self.hosts[index].node.is_none() {
            return;
        }
        if self.look_at_clock(index) {
            let now = self.clock(index);
            self.hosts[index].disk.handle_set_back(now);
            self.hosts[index].heard.doubt(oldest);
        }
        self.turn(index);
    }

    /// When an instant of a node's is.
    pub fn when(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.start)
    }

    // ---- incarnations

    /// Starts a host, if its disk lets it: what it knows is what its journal vouches for.
    pub fn boot(&mut self, index: usize) {
        let (now, wall, oldest) = (self.clock(index), self.wall(index), self.oldest(index));
        let incarnation = self.dice.next_u64();
        let seeds = Seeds {
            incarnation: Incarnation(incarnation),
            hash_keys: (self.dice.next_u64(), self.dice.next_u64()),
            jitter: self.dice.next_u64(),
        };
        let member = self.hosts[index].member(index, &self.topology);
        let mut node = Node::new(&member, &self.topology, seeds, now);
        node.allow_clock_skew(self.weather.clock_skew.unwrap_or(NO_SKEW), false);
        node.limit_table(self.hosts[index].table_limit);
        if let Some(after) = self.weather.forget_after {
            node.forget_after(after, now);
        }
        let host = &mut self.hosts[index];
        host.heard.expire(oldest);
        if host.doom == Some(Doom::InCall) {
            host.disk.doom(self.dice.below(CALLS_MAX));
        }
        let start = host
            .disk
            .open(&mut node, incarnation, now, (self.now, wall));
        match start {
            Start::None => {
                host.doom = None;
                return;
            }
            Start::Sure { is_older, .. } => {
                host.heard.lose_after(node.table().end());
                if is_older {
                    host.costs.lose();
                }
            }
            Start::Doubt(_) => host.costs.lose(),
        }
        let made_room = node.table().evicted().until.map_or(NEVER, nanos);
        self.evicted = self.evicted.max(made_room);
        let recovered = node.table().changes_after(0).map(|change| change.line);
        host.costs.begin(incarnation, recovered);
        host.node = Some(node);
        host.note_links(&self.topology);
        host.incarnation += 1;
        host.clock_set = self.now;
        let may_hide = self.weather.tables_are_small || self.judges_by_time();
        match start {
            Start::Doubt(must_hold) => {
                if let Some(number) = must_hold {
                    self.check_holds_what_is_left(index, number, oldest);
                }
                self.take_at_its_word(index);
            }
            Start::Sure {
                is_before_doubt: true,
                ..
            } => self.take_at_its_word(index),
            // What was not to be seen then may be now: it had expired by another clock, or made room for what has.
            Start::Sure { .. } if may_hide && self.hosts[index].disk.is_told => {
                self.take_at_its_word(index);
            }
            Start::Sure { .. } | Start::None => {}
        }
        self.note_evicted(index);
        self.touch_ways_of(index);
        if self.network.off.remove(&index) {
            let (now, dice) = (self.now, &mut self.dice);
            let to_it = |hosts: &[usize; 2]| hosts.contains(&index);
            self.network.resend(to_it, now, &mut self.agenda, dice);
            // What waits there may be what shows the other end that its connection is gone.
            self.touch_ways_until(index, now + RESEND_MAX);
        }
        self.look_at_clock(index);
        self.end_turn(index);
    }

    /// Ends a host, as abruptly as that goes. Its kernel tells the others, unless the power is off.
    pub fn crash(&mut self, index: usize, crash: Crash) {
        let (oldest, wall) = (self.oldest(index), self.wall(index));
        let host = &mut self.hosts[index];
        if host.node.is_none() {
            return;
        }
        host.heard.expire(oldest);
        if crash == Crash::PowerLoss {
            self.network.off.insert(index);
        } else {
            for peer in host.peers.values() {
                let (now, agenda) = (self.now, &mut self.agenda);
                self.network
                    .close(peer.wire, true, now, agenda, &mut self.dice);
            }
        }
        if host.disk.journal().state() == State::Degraded {
            host.oldest_at_loss = host.oldest_ever.max(oldest);
        }
        host.crash(crash, self.now, wall);
        self.touch_ways_of(index);
    }

    // ---- time

    /// Lets time pass, and looks at the links meanwhile.
    pub fn elapse(&mut self, wait: Duration) {
        let until = self.now + wait;
        while self.now + LOOK_EVERY < until {
            self.elapse_until(self.now + LOOK_EVERY);
            self.check_links();
        }
        self.elapse_until(until);
    }

    fn elapse_until(&mut self, until: Duration) {
        let mut at_once = 0;
        while let Some((at, event)) = self.agenda.next(until) {
            at_once = if at > self.now { 0 } else { at_once + 1 };
            assert!(at_once < AT_ONCE_MAX, "it never rests: {event:?}");
            self.now = self.now.max(at);
            self.happen(event);
        }
        self.now = until;
    }

    fn is_now(&self, moment: Moment) -> bool {
        let host = &self.hosts[moment.host];
        host.node.is_some() && host.incarnation == moment.incarnation
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival(wire, direction) => return self.arrive(wire, direction),
            Event::Wake(moment)
            | Event::Room(moment)
            | Event::Dialled(moment, ..)
            | Event::Gone(moment, _)
            | Event::Tweets(moment, ..)
            | Event::Client(moment, ..)
            | Event::Resume(moment, _)
            | Event::Disk(moment)
                if !self.is_now(moment) =>
            {
                return;
            }
            _ => {}
        }
        self.look_at_clock(event.host());
        let host = match event {
            Event::Arrival(..) => unreachable!("it has arrived"),
            Event::Wake(Moment { host, .. }) => {
                if self.hosts[host].wake != Some(self.now) {
                    return; // one that was planned later has come before it
                }
                self.hosts[host].wake = None;
                let now = self.clock(host);
                let (node, effects) = self.hosts[host].up();
                if node.poll_timeout().is_some_and(|at| at <= now.mono) {
                    node.handle_timeout(now, effects);
                }
                host
            }
            Event::Room(Moment { host, .. }) => host,
            Event::Dialled(Moment { host, .. }, link, dial) => {
                self.finish_dial(host, link, dial);
                host
            }
            Event::Gone(Moment { host, .. }, id) => {
                if self.hosts[host].peers.contains_key(&id) {
                    self.lose(host, id);
                }
                host
            }
            Event::Tweets(Moment { host, .. }, question, json) => {
                self.answer(host, question, &json);
                host
            }
            Event::Client(Moment { host, .. }, id, said) => {
                self.hear_client(host, id, said);
                host
            }
            Event::Resume(Moment { host, .. }, id) => {
                self.serve_client(host, id, &[]);
                host
            }
            Event::Disk(Moment { host, .. }) => {
                let (now, wall) = (self.clock(host), self.wall(host));
                self.hosts[host].disk.go_on(now, self.now, wall);
                host
            }
        };
        self.end_turn(host);
    }
}
