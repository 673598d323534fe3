//! The disk of a simulated server: the one file that knows how records are kept and lost.
//!
//! What the rest of the simulation knows of it: records are numbered in the order they were
//! written; those of a turn are committed together; after a crash so many of them are left; a
//! restart replays what is left into a node.

use herd::log::note;
use herd::log::record::{self, Direction, Label, Stamp};
use herd::node::Node;
use herd::node::link::SplitMix64;
use herd::time::Timestamp;

/// The most that a power failure takes: what the kernel had not written yet.
const UNWRITTEN_BYTES_MAX: u64 = 20_000;

/// How a server ends that was not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// `kill -9`: what was committed stays. Of a commit under way any part may have been written.
    Killed,
    /// The power failed: the end of what was committed may be gone too.
    PowerLoss,
    /// The power failed, and then somebody made room by cutting off the log's beginning.
    PowerLossAndCut,
}

/// What a crash left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// All records up to this number.
    UpTo(u64),
    /// Nobody can say.
    Some,
}

/// One server's log on its disk.
#[derive(Debug, Default)]
pub struct Disk {
    bytes: Vec<u8>,
    /// Where each record in `bytes` ends.
    ends: Vec<usize>,
    /// Records cut off at the beginning.
    cut: u64,
    /// The records of the turn, and where each ends.
    pending: Vec<u8>,
    pending_ends: Vec<usize>,
    stamp: Stamp,
}

impl Disk {
    /// Sets the time of the records that follow.
    pub fn set_time(&mut self, wall: Timestamp) {
        self.stamp.set(wall);
    }

    /// Adds a record to the turn's and gives its number.
    pub fn record(&mut self, direction: Direction, label: Label<'_>, line: &[u8]) -> u64 {
        record::write_head(&mut self.pending, &self.stamp, direction, label);
        record::write_text(&mut self.pending, line);
        self.pending_ends.push(self.pending.len());
        self.cut + (self.ends.len() + self.pending_ends.len()) as u64
    }

    /// Hands the turn's records to the kernel.
    pub fn commit(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        self.write(&pending);
        self.pending = pending;
        self.pending.clear();
    }

    /// Writes the beginning of the turn's records, up to all of them.
    fn write(&mut self, part: &[u8]) {
        if part.is_empty() {
            return;
        }
        if self.bytes.last().is_some_and(|&byte| byte != b'\n') {
            self.bytes.extend_from_slice(b"\\... torn\n"); // as a start of the real log does
        }
        let before = self.bytes.len();
        self.bytes.extend_from_slice(part);
        let whole = self.pending_ends.drain(..).filter(|&end| end <= part.len());
        self.ends.extend(whole.map(|end| before + end));
    }

    /// Ends the server.
    pub fn crash(&mut self, crash: Crash, dice: &mut SplitMix64) -> Left {
        let part = dice.below(1 + self.pending.len() as u64) as usize;
        let pending = std::mem::take(&mut self.pending);
        self.write(&pending[..part]);
        self.pending_ends.clear();
        if crash != Crash::Killed {
            let lost = dice.below(1 + (self.bytes.len() as u64).min(UNWRITTEN_BYTES_MAX));
            self.bytes.truncate(self.bytes.len() - lost as usize);
            let length = self.bytes.len();
            self.ends.retain(|&end| end <= length);
        }
        if crash == Crash::PowerLossAndCut {
            let at = dice.below(1 + self.ends.len() as u64) as usize;
            let start = at.checked_sub(1).map_or(0, |last| self.ends[last]);
            self.bytes.drain(..start);
            self.ends.drain(..at);
            self.ends.iter_mut().for_each(|end| *end -= start);
            self.cut += at as u64;
            return Left::Some;
        }
        Left::UpTo(self.cut + self.ends.len() as u64)
    }

    /// Starts the server: lets `node` recall what is left, and begins its life.
    pub fn replay(&mut self, node: &mut Node) {
        let mut line = Vec::new();
        let whole = self.ends.last().copied().unwrap_or_default();
        for record in self.bytes[..whole].split(|&byte| byte == b'\n') {
            if let Some(recalled) = record::recall(record, &mut line) {
                node.recall(recalled);
            }
        }
        let (incarnation, end) = node.begin_life();
        let started = note::started(incarnation, end, node.table().len());
        self.record(Direction::Note, Label::None, started.as_bytes());
        self.commit();
    }
}
