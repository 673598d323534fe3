//! The network between simulated servers: connections that carry bytes in order, late, chopped or
//! not at all, over ways that can be cut, slow, or dark in one direction.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use herd::connection_id::ConnectionId;
use herd::random::SplitMix64;

use crate::agenda::{Agenda, Event};
use crate::topology::{Pair, pair};

/// The longest that a parcel waits to be sent again once a way is no longer dark: TCP doubles its
/// patience while nothing is acknowledged.
pub const RESEND_MAX: Duration = Duration::from_secs(1);

/// A way whose parcels take no longer than this is near: what is promised in seconds is kept.
pub const NEAR: Duration = Duration::from_millis(10);

/// Over a way that is slower than this a dial may not be answered in time.
pub const FAR: Duration = Duration::from_millis(200);

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Which server.
    pub host: usize,
    /// In which of its incarnations: one that restarts has other connections.
    pub incarnation: u64,
    /// The server's name for the connection.
    pub id: ConnectionId,
}

/// What travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parcel {
    /// The dialler has connected.
    Open,
    /// A piece of the stream.
    Bytes(Vec<u8>),
    /// The sender has closed.
    End,
}

/// A connection. Direction 0 goes from the dialler.
#[derive(Debug)]
pub struct Wire {
    /// The servers, the dialler first.
    pub hosts: [usize; 2],
    /// The dialler's end, then the other's once it has accepted.
    pub ends: [Option<End>; 2],
    /// What is under way, by direction.
    queues: [VecDeque<Parcel>; 2],
    /// When the last of it arrives.
    arrivals: [Duration; 2],
    /// Bytes under way or not acknowledged, by direction.
    pub unacknowledged: [usize; 2],
    /// Whether a direction has been closed.
    pub closed: [bool; 2],
}

impl Wire {
    /// Whether it stands, and nothing is under way.
    pub fn is_quiet(&self) -> bool {
        self.closed == [false; 2] && self.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }
}

/// What lies between two servers that are linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Nobody can connect.
    pub cut: bool,
    /// Nothing passes from the smaller to the greater, and back: connections stand, but are silent.
    pub dark: [bool; 2],
    /// How long a parcel takes at least.
    pub delay: Duration,
}

impl Way {
    const CLEAR: Way = Way {
        cut: false,
        dark: [false; 2],
        delay: Duration::from_micros(50),
    };
}

/// All wires and ways.
#[derive(Debug)]
pub struct Network {
    pub wires: BTreeMap<u64, Wire>,
    pub ways: BTreeMap<Pair, Way>,
    /// Machines without power: what reaches them is not answered in any way.
    pub off: BTreeSet<usize>,
    made: u64,
}

impl Network {
    /// Clear ways between all that are linked.
    pub fn new(links: impl Iterator<Item = Pair>) -> Network {
        Network {
            wires: BTreeMap::new(),
            ways: links.map(|link| (link, Way::CLEAR)).collect(),
            off: BTreeSet::new(),
            made: 0,
        }
    }

    /// Whether nothing passes from `from` to `to`.
    pub fn is_dark(&self, from: usize, to: usize) -> bool {
        self.off.contains(&to) || self.ways[&pair(from, to)].dark[usize::from(from > to)]
    }

    /// How long a parcel takes from one to the other: a bit more or less each time, which lets
    /// those of different links overtake each other.
    pub fn delay(&self, a: usize, b: usize, dice: &mut SplitMix64) -> Duration {
        let delay = self.ways[&pair(a, b)].delay;
        let micros = delay.as_micros() as u64;
        delay + Duration::from_micros(dice.below(3_000.min(1 + micros * 4)))
    }

    /// A new connection, from its dialler's end to `to`.
    pub fn connect(&mut self, from: End, to: usize) -> u64 {
        self.made += 1;
        let wire = Wire {
            hosts: [from.host, to],
            ends: [Some(from), None],
            queues: Default::default(),
            arrivals: [Duration::ZERO; 2],
            unacknowledged: [0; 2],
            closed: [false; 2],
        };
        self.wires.insert(self.made, wire);
        self.made
    }

    /// Sends a stream's next bytes, chopped as TCP likes.
    pub fn send(
        &mut self,
        (id, direction): (u64, usize),
        bytes: &[u8],
        now: Duration,
        agenda: &mut Agenda,
        dice: &mut SplitMix64,
    ) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let most = if dice.below(8) == 0 { 7 } else { 4_000 };
            let (piece, tail) = rest.split_at(rest.len().min(1 + dice.below(most) as usize));
            let parcel = Parcel::Bytes(piece.to_vec());
            self.push((id, direction), parcel, now, agenda, dice);
            rest = tail;
        }
    }

    /// Closes a direction; with `abruptly`, what is under way may be lost.
    pub fn close(
        &mut self,
        (id, direction): (u64, usize),
        abruptly: bool,
        now: Duration,
        agenda: &mut Agenda,
        dice: &mut SplitMix64,
    ) {
        let Some(wire) = self.wires.get_mut(&id) else {
            return;
        };
        if wire.closed[direction] {
            return; // its end is under way already
        }
        if abruptly && dice.below(2) == 0 {
            wire.queues[direction].retain(|parcel| *parcel == Parcel::Open);
        }
        self.push((id, direction), Parcel::End, now, agenda, dice);
        if let Some(wire) = self.wires.get_mut(&id) {
            wire.closed[direction] = true;
        }
    }

    /// Puts a parcel on its way. Each arrives after those before it.
    pub fn push(
        &mut self,
        (id, direction): (u64, usize),
        parcel: Parcel,
        now: Duration,
        agenda: &mut Agenda,
        dice: &mut SplitMix64,
    ) {
        let Some(wire) = self.wires.get(&id) else {
            return;
        };
        let delay = self.delay(wire.hosts[0], wire.hosts[1], dice);
        let wire = self.wires.get_mut(&id).expect("it was there");
        if wire.closed[direction] {
            return;
        }
        if let Parcel::Bytes(bytes) = &parcel {
            wire.unacknowledged[direction] += bytes.len();
        }
        let at = wire.arrivals[direction].max(now + delay);
        wire.arrivals[direction] = at;
        wire.queues[direction].push_back(parcel);
        agenda.plan(at, Event::Arrival(id, direction));
    }

    /// Takes the parcel that has arrived, if nothing keeps it back.
    pub fn take(&mut self, id: u64, direction: usize) -> Option<(Parcel, Option<End>)> {
        let wire = self.wires.get(&id)?;
        let (from, to) = (wire.hosts[direction], wire.hosts[1 - direction]);
        if self.is_dark(from, to) {
            return None; // it is sent again when the way is clear
        }
        let unheard = self.is_dark(to, from);
        let wire = self.wires.get_mut(&id)?;
        let parcel = wire.queues[direction].pop_front()?;
        if let Parcel::Bytes(bytes) = &parcel
            && !unheard
        {
            wire.unacknowledged[direction] -= bytes.len();
        }
        let to = wire.ends[1 - direction];
        if wire.closed == [true; 2] && wire.is_empty() {
            self.wires.remove(&id);
        }
        Some((parcel, to))
    }

    /// Sends again what is under way on all wires of `hosts`, since it may pass now.
    pub fn resend(
        &mut self,
        hosts: impl Fn(&[usize; 2]) -> bool,
        now: Duration,
        agenda: &mut Agenda,
        dice: &mut SplitMix64,
    ) {
        for (&id, wire) in self.wires.iter_mut().filter(|(_, wire)| hosts(&wire.hosts)) {
            for direction in 0..2 {
                let queue = &wire.queues[direction];
                let under_way = queue.iter().map(|parcel| match parcel {
                    Parcel::Bytes(bytes) => bytes.len(),
                    _ => 0,
                });
                wire.unacknowledged[direction] = under_way.sum();
                let at = now + Duration::from_millis(dice.below(RESEND_MAX.as_millis() as u64));
                let at = wire.arrivals[direction].max(at);
                wire.arrivals[direction] = at;
                for _ in queue {
                    agenda.plan(at, Event::Arrival(id, direction));
                }
            }
        }
    }
}
