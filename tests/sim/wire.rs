//! The network between the hosts of a simulation: connections that carry bytes in order, late,
//! chopped, or not at all.

use std::collections::VecDeque;
use std::time::Instant;

use herd::connection_id::ConnectionId;
use herd::node::link::SplitMix64;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Which host.
    pub host: usize,
    /// The host's name for the connection.
    pub id: ConnectionId,
    /// The life of the host in which it was made: a host that restarts has other connections.
    pub life: u64,
}

/// What travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parcel {
    /// A piece of the stream.
    Bytes(Vec<u8>),
    /// The sender has closed.
    End,
}

/// A connection between two hosts. Direction 0 goes from the dialler.
#[derive(Debug)]
pub struct Wire {
    /// The dialler's end, then the other's.
    pub ends: [End; 2],
    /// What is under way, by direction, and when it arrives.
    pub transit: [VecDeque<(Instant, Parcel)>; 2],
    /// Bytes under way, by direction.
    pub bytes: [usize; 2],
    /// Whether a direction has carried its end already.
    pub closed: [bool; 2],
}

impl Wire {
    /// A connection that has just been made.
    pub fn new(ends: [End; 2]) -> Wire {
        Wire {
            ends,
            transit: Default::default(),
            bytes: [0; 2],
            closed: [false; 2],
        }
    }

    /// Sends a stream's next bytes, chopped as TCP likes. Each piece arrives after those before.
    pub fn send(&mut self, direction: usize, bytes: &[u8], now: Instant, dice: &mut SplitMix64) {
        if self.closed[direction] {
            return;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let most = if dice.below(4) == 0 { 7 } else { 2000 };
            let (piece, tail) = rest.split_at(rest.len().min(1 + dice.below(most) as usize));
            self.push(direction, Parcel::Bytes(piece.to_vec()), now, dice);
            self.bytes[direction] += piece.len();
            rest = tail;
        }
    }

    /// Closes a direction.
    pub fn close(&mut self, direction: usize, now: Instant, dice: &mut SplitMix64) {
        if !std::mem::replace(&mut self.closed[direction], true) {
            self.push(direction, Parcel::End, now, dice);
        }
    }

    fn push(&mut self, direction: usize, parcel: Parcel, now: Instant, dice: &mut SplitMix64) {
        let delay = std::time::Duration::from_micros(50 + dice.below(3_000));
        let after = self.transit[direction].back().map_or(now, |(at, _)| *at);
        self.transit[direction].push_back((after.max(now + delay), parcel));
    }

    /// When the next parcel of a direction arrives.
    pub fn next_arrival(&self, direction: usize) -> Option<Instant> {
        self.transit[direction].front().map(|(at, _)| *at)
    }

    /// Takes the parcel that has arrived.
    pub fn take(&mut self, direction: usize) -> Option<Parcel> {
        let (_, parcel) = self.transit[direction].pop_front()?;
        if let Parcel::Bytes(bytes) = &parcel {
            self.bytes[direction] -= bytes.len();
        }
        Some(parcel)
    }

    /// The end of `host`, if it has one, and the direction in which it sends.
    pub fn direction_from(&self, end: End) -> Option<usize> {
        self.ends.iter().position(|&other| other == end)
    }
}
