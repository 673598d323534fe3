//! What may befall a herd, and how it is healed.

use std::time::Duration;

use herd::node::ASK_AGAIN;
use herd::node::questions::ASKERS_PER_CLIENT_MAX;

use crate::checks::State;
use crate::clients::Client;
use crate::disk::{Crash, HANG_MAX};
use crate::folder::{Ailment, Damage};
use crate::herd::{CALLS_MAX, Herd};
use crate::host::{Doom, random_room};
use crate::topology::Pair;

/// The slowest way: a dial over it is never answered in time.
const SLOWEST_MS: u64 = 600;

/// What was erased is on no disk any longer after this, unless the disk fails.
const ERASED_FROM_DISKS_WITHIN: Duration = Duration::from_secs(60);

impl Herd {
    /// Something happens, then some time passes, then all is checked.
    pub fn step(&mut self) {
        let host = self.dice.below(self.hosts.len() as u64) as usize;
        if self.judges_by_time() && self.dice.below(12) == 0 {
            self.some_clock(host); // where reports are forgotten, what clocks show matters more
        }
        let fault = self.dice.below(100) < self.weather.faults;
        if self.weather.reloads && self.dice.below(8) == 0 {
            self.some_topology(host);
        }
        if self.weather.erases && self.dice.below(10) == 0 {
            self.erase_some(host);
        }
        if fault {
            self.fault(host);
        } else {
            self.client_acts(host);
        }
        let wait = match self.dice.below(20) {
            0..12 => Duration::from_micros(self.dice.below(2_000)),
            12..18 => Duration::from_millis(self.dice.below(300)),
            18 => Duration::from_millis(self.dice.below(2_500)),
            _ => Duration::from_millis(self.dice.below(10_000)),
        };
        self.elapse(wait);
        self.check();
    }

    fn fault(&mut self, host: usize) {
        let way = self.some_way();
        match self.dice.below(100) {
            0..6 => self.crash(host, Crash::Killed),
            6..8 => self.crash(host, Crash::Stopped),
            8..12 => self.doom(host),
            12..16 if self.weather.power_fails => self.lose_power(host),
            16..36 => self.boot_some(),
            36..40 => {
                self.alter(way, |way| way.cut = true);
                if self.dice.below(2) == 0 {
                    self.reset(way);
                }
            }
            40..50 => self.alter(way, |way| way.cut = false),
            50..56 => {
                let directions = 1 + self.dice.below(3);
                self.alter(way, |way| {
                    way.dark = [directions & 1 > 0, directions & 2 > 0]
                });
            }
            56..66 => self.alter(way, |way| way.dark = [false; 2]),
            66..71 => self.reset(way),
            71..75 => self.reset_one_end(way),
            75..80 => {
                let slow = Duration::from_millis(20 + self.dice.below(SLOWEST_MS));
                self.alter(way, |way| way.delay = slow);
            }
            80..87 => {
                let near = Duration::from_micros(50 + self.dice.below(5_000));
                self.alter(way, |way| way.delay = near);
            }
            87..94 => self.some_clock(host),
            94 => self.ail(host),
            95 => self.hosts[host].disk.ail(Ailment::None, self.now),
            96 => self.meddle(host),
            97 => self.hosts[host].room = random_room(&mut self.dice),
            _ => self.unstall(),
        }
    }

    /// Somebody takes a neighbour out of a server's topology file, or puts it back, and the server reloads, or
    /// starts with that. The other end has a file of its own.
    fn some_topology(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        let at = self.dice.below(host.neighbours.len() as u64) as usize;
        let other = host.neighbours[at];
        if !host.unnamed.remove(&other) {
            host.unnamed.insert(other);
        }
        self.reload(index);
    }

    /// A server that is up has the neighbours that its file names.
    fn reload(&mut self, index: usize) {
        self.touch_ways_of(index);
        if self.hosts[index].node.is_none() {
            return;
        }
        let now = self.clock(index);
        let member = self.hosts[index].member(index, &self.topology);
        let names = self.topology.neighbours(&member).map(|other| &other.name);
        let (node, effects) = self.hosts[index].up();
        node.handle_neighbours(names, now, effects);
        self.hosts[index].note_links(&self.topology);
        self.end_turn(index);
    }

    /// Somebody sets a clock, forward or back.
    fn some_clock(&mut self, host: usize) {
        if let Some(skew) = self.weather.clock_skew {
            let skew_seconds = self.some_wrong_clock(skew);
            return self.set_clock(host, skew_seconds);
        }
        let far = [4, 7_200][self.dice.below(2) as usize];
        let skew_seconds = self.dice.below(far) as i64 - far as i64 / 2;
        let skew_seconds = match self.weather.forget_after {
            None => skew_seconds,
            Some(span) => match self.dice.below(4) {
                // Right again; or so far ahead that nearly all has expired.
                0 => 0,
                1 => span.as_secs() as i64 + skew_seconds % 4,
                _ => self.bearable(skew_seconds),
            },
        };
        self.set_clock(host, skew_seconds);
    }

    /// A clock that is right, as near as it has to be, a little too far off, or by days or decades.
    fn some_wrong_clock(&mut self, skew: Duration) -> i64 {
        let skew = skew.as_secs();
        let dice = &mut self.dice;
        let seconds = match dice.below(8) {
            0..3 => 0,
            3 => dice.below(skew / 2),
            4 => skew + 1 + dice.below(2 * skew),
            // Where nothing is forgotten, tombstones are after 30 days: no two clocks are so far apart then.
            5.. if self.weather.erases => dice.below(14) * 86_400,
            5 | 6 => dice.below(30) * 86_400,
            _ => dice.below(40) * 31_557_600,
        };
        match dice.below(2) {
            0 => seconds as i64,
            _ => -(seconds as i64),
        }
    }

    /// Where reports are forgotten clocks are not so wrong that nothing else ever happens.
    pub fn bearable(&self, skew_seconds: i64) -> i64 {
        let most = self
            .weather
            .forget_after
            .map(|span| 2 * span.as_secs() as i64);
        most.map_or(skew_seconds, |most| skew_seconds % most)
    }

    /// A disk is full, or fails.
    fn ail(&mut self, host: usize) {
        let disk = &mut self.hosts[host].disk;
        let ailment = match self.dice.below(3) {
            0 => Ailment::Full(disk.used() + self.dice.below(4_000) as usize),
            1 => Ailment::Errors(1 + self.dice.below(8)),
            _ => Ailment::Unsynced,
        };
        disk.ail(ailment, self.now);
    }

    /// A server is to die in one of its next calls to its disk, perhaps at its start; or in its next turn.
    fn doom(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        host.doom = Some(match self.dice.below(4) {
            0 if host.node.is_some() => Doom::BeforeReplies,
            _ => Doom::InCall,
        });
        if host.node.is_some() && host.doom == Some(Doom::InCall) {
            host.disk.doom(self.dice.below(CALLS_MAX));
        }
    }

    /// A machine loses its power, whether its server is up or not.
    fn lose_power(&mut self, index: usize) {
        let oldest = self.oldest(index);
        let host = &mut self.hosts[index];
        host.oldest_ever = host.oldest_ever.max(oldest);
        host.oldest_at_loss = host.oldest_ever;
        match self.hosts[index].node {
            Some(_) => self.crash(index, Crash::PowerLoss),
            None => self.hosts[index].disk.lose_power(),
        }
    }

    /// A snapshot is due, or somebody copies a journal, or does it harm.
    fn meddle(&mut self, index: usize) {
        let foreign = self.dice.below(self.hosts.len() as u64) as usize;
        let foreign = self.hosts[foreign].disk.contents();
        let dice = &mut self.dice;
        let is_up = self.hosts[index].node.is_some();
        let disk = &mut self.hosts[index].disk;
        match (dice.below(4), is_up) {
            (0, _) => disk.take_copy(),
            (_, true) => {
                disk.begin_anew();
                self.turn(index);
            }
            (1, false) if self.weather.vandals => disk.put_copy_back(),
            (_, false) if self.weather.vandals => {
                let damage = Damage::ALL[dice.below(Damage::ALL.len() as u64) as usize];
                disk.damage(damage, &foreign, dice);
            }
            _ => {}
        }
    }

    fn some_way(&mut self) -> Pair {
        let ways = self.network.ways.len() as u64;
        let at = self.dice.below(ways) as usize;
        let way = self.network.ways.keys().nth(at);
        *way.expect("a herd has links")
    }

    /// Changes what lies between two hosts.
    pub fn alter(&mut self, pair: Pair, change: impl FnOnce(&mut crate::network::Way)) {
        let way = self.network.ways.get_mut(&pair).expect("they are linked");
        let before = *way;
        change(way);
        let after = *way;
        if before != after {
            // What is under way on a slow way still takes its time.
            self.fences
                .touch(pair, self.now + 2 * before.delay, State::of(&after));
        }
        if before.dark != after.dark {
            let between = |hosts: &[usize; 2]| crate::topology::pair(hosts[0], hosts[1]) == pair;
            let (now, agenda) = (self.now, &mut self.agenda);
            self.network.resend(between, now, agenda, &mut self.dice);
            for host in [pair.0, pair.1] {
                let moment = self.hosts[host].moment(host);
                self.agenda.plan(now, crate::agenda::Event::Room(moment));
            }
        }
    }

    /// Ends all connections between two hosts, for both to see.
    pub fn reset(&mut self, pair: Pair) {
        let between = |hosts: [usize; 2]| crate::topology::pair(hosts[0], hosts[1]) == pair;
        let wires = self.network.wires.iter();
        let wires: Vec<_> = wires
            .filter(|(_, wire)| between(wire.hosts))
            .map(|(&id, _)| id)
            .collect();
        for wire in wires {
            for direction in 0..2 {
                let (now, agenda) = (self.now, &mut self.agenda);
                let end = (wire, direction);
                self.network.close(end, true, now, agenda, &mut self.dice);
            }
        }
        let state = State::of(&self.network.ways[&pair]);
        self.fences.touch(pair, self.now, state);
    }

    /// Ends a connection for one side to see: the other finds out when it says something.
    fn reset_one_end(&mut self, pair: Pair) {
        let side = self.dice.below(2) as usize;
        let between = |hosts: [usize; 2]| crate::topology::pair(hosts[0], hosts[1]) == pair;
        let mut wires = self.network.wires.values();
        let wire = wires.find(|wire| between(wire.hosts) && wire.closed == [false; 2]);
        let Some(end) = wire.and_then(|wire| wire.ends[side]) else {
            return;
        };
        let host = &mut self.hosts[end.host];
        if host.node.is_none()
            || host.incarnation != end.incarnation
            || host.peers.remove(&end.id).is_none()
        {
            return;
        }
        let now = self.clock(end.host);
        let (node, effects) = self.hosts[end.host].up();
        node.handle_peer_lost(end.id, "it was reset", now, effects);
        self.end_turn(end.host);
        let state = State::of(&self.network.ways[&pair]);
        self.fences.touch(pair, self.now, state);
    }

    fn boot_some(&mut self) {
        let down = |index: &usize| self.hosts[*index].node.is_none() && !self.hosts[*index].dead;
        let down: Vec<_> = (0..self.hosts.len()).filter(down).collect();
        if !down.is_empty() {
            let host = down[self.dice.below(down.len() as u64) as usize];
            if self.judges_by_time() && self.dice.below(3) == 0 {
                self.some_clock(host);
            }
            self.boot(host);
        }
    }

    /// Ends all faults. A dead host stays down, or goes down now.
    pub fn heal(&mut self) {
        let ways: Vec<_> = self.network.ways.keys().copied().collect();
        for way in ways {
            let delay = Duration::from_micros(50 + self.dice.below(4_000));
            self.alter(way, |way| {
                (way.cut, way.dark, way.delay) = (false, [false; 2], delay);
            });
        }
        self.healed = self.now;
        for host in 0..self.hosts.len() {
            if !self.hosts[host].unnamed.is_empty() {
                self.hosts[host].unnamed.clear();
                self.reload(host);
            }
            if self.judges_by_time() {
                self.set_clock(host, 0);
            }
            self.hosts[host].doom = None;
            self.hosts[host].disk.heal(self.now);
            if self.hosts[host].node.is_some() {
                self.plan_disk(host);
            }
            if self.hosts[host].dead {
                self.crash(host, Crash::Killed);
            } else if self.hosts[host].node.is_none() {
                self.boot(host);
            }
        }
        self.unstall();
    }

    /// Lets time pass until every link is up and nothing is left to be said.
    pub fn settle(&mut self) {
        // A second for links that are known to be down, fifteen for those that are not, and some
        // for neighbours that take little at a time.
        for _ in 0..20 {
            self.elapse(Duration::from_secs(1));
            self.check();
        }
        // What was a little too far ahead is so no longer, and is asked for again.
        if let Some(skew) = self.weather.clock_skew {
            self.elapse(3 * skew + ASK_AGAIN + Duration::from_secs(5));
            self.check();
        }
        // A snapshot that has failed after a while is tried again after four times as long.
        for _ in 0..4 * HANG_MAX.as_secs() {
            if self
                .hosts
                .iter()
                .all(|host| host.node.is_none() || host.disk.is_complete())
            {
                break;
            }
            self.elapse(Duration::from_secs(1));
            self.check();
        }
        // And ten for each sixteen questions that a client has put behind others.
        let owed = |herd: &Herd| {
            let clients = herd.hosts.iter().flat_map(|host| host.clients.values());
            clients.map(Client::owed).max().unwrap_or(0)
        };
        for _ in 0..owed(self).div_ceil(ASKERS_PER_CLIENT_MAX) {
            self.elapse(Duration::from_secs(11));
            self.check();
        }
        if self.weather.erases {
            self.elapse(ERASED_FROM_DISKS_WITHIN);
            self.check();
            self.check_erased();
        }
        self.elapse(Duration::from_secs(2)); // what the last of them had to report spreads
        self.check();
        self.check_settled();
    }
}
