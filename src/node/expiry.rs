//! Reports and tombstones that are too old: from when on they count as unknown, and how their memory is given
//! back.
//!
//! `Node` has one. If it was not told to forget, only tombstones expire. What is read is exact at any moment, since the table
//! shows nothing that has expired; giving the memory back may take its time. A sweep goes through
//! the table in slices, spread evenly over a while, so that no single pause is long and the cost
//! is the same whether ten records expire or ten million. A turn that comes late does all that is
//! due, within a limit: else turns that are long, as they bring much, would give back ever less.

use std::time::{Duration, Instant};

use super::table::{ENTRIES_MAX, SLICE_ENTRIES_MAX, Table};
use crate::time::{Now, Timestamp};

/// Where reports are kept for ever, tombstones are kept for so long: what a server that was away for less
/// tells of a client that was erased loses.
const TOMBSTONES_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A sweep of the whole table takes this share of the time that records are kept, so that
/// no more than about this share of the memory is held by what has expired...
const SWEEP_SHARE: u32 = 16;

/// ... but not less than this, which would be for nothing, nor more.
const SWEEP_MIN: Duration = Duration::from_millis(500);
const SWEEP_MAX: Duration = Duration::from_secs(60 * 60);

/// The most slices that are swept at once, however late it is: as much as any look into the feed, so
/// that who sweeps once a turn gets ahead of what comes in one.
const SLICES_MAX: usize = ENTRIES_MAX / SLICE_ENTRIES_MAX;

/// How long records are kept, and how far the sweep has come.
#[derive(Debug)]
pub struct Expiry {
    after: Duration,
    /// Reports expire, too.
    is_of_reports: bool,
    /// The sweep has seen the feed up to this number.
    cursor: u64,
    /// The most slices that the table has had since this sweep of it began. The fewer it has left the
    /// more it has given back: that must not slow the sweep down.
    slices: usize,
    /// When the next slice is due.
    sweep_at: Instant,
}

impl Expiry {
    /// Only tombstones expire.
    pub fn of_tombstones(now: Now) -> Expiry {
        Expiry {
            is_of_reports: false,
            ..Expiry::new(TOMBSTONES_KEPT, now)
        }
    }

    /// Records expire `after` their effective time.
    pub fn new(after: Duration, now: Now) -> Expiry {
        Expiry {
            after,
            is_of_reports: true,
            cursor: 0,
            slices: 0,
            sweep_at: now.mono,
        }
    }

    /// How long reports are kept, if not for ever.
    pub fn of_reports(&self) -> Option<Duration> {
        self.is_of_reports.then_some(self.after)
    }

    /// What has an effective time before this one has expired, if reports ever do.
    pub fn oldest(&self, now: Now) -> Timestamp {
        match self.of_reports() {
            Some(after) => now.wall.minus(after),
            None => Timestamp::MIN,
        }
    }

    /// Tells the table what has expired. By a clock that is not trusted nothing does that had not.
    pub fn expire(&self, table: &mut Table, is_clock_trusted: bool, now: Now) {
        let time = now.wall.minus(self.after);
        if self.is_of_reports {
            let limit = if is_clock_trusted {
                time
            } else {
                time.min(table.oldest())
            };
            table.expire_before(limit);
        } else {
            let limit = if is_clock_trusted {
                time
            } else {
                time.min(table.oldest_erased())
            };
            table.expire_tombstones_before(limit);
        }
    }

    /// When [`Expiry::sweep`] wants to be called next.
    pub fn timeout(&self, table: &Table) -> Option<Instant> {
        let is_idle = !self.is_of_reports && table.tombstones() == 0;
        (!is_idle).then_some(self.sweep_at)
    }

    /// Sweeps the slices of the table that are due, be it that several are, as where turns are long.
    pub fn sweep(&mut self, table: &mut Table, now: Now) {
        for _ in 0..SLICES_MAX {
            if self.timeout(table).is_none_or(|at| now.mono < at) {
                return;
            }
            let step = self.sweep_slice(table);
            self.sweep_at += step;
        }
        self.sweep_at = self.sweep_at.max(now.mono); // what is late beyond that is let go
    }

    /// Sweeps a slice, and says how long after it the next is due.
    fn sweep_slice(&mut self, table: &mut Table) -> Duration {
        self.slices = self.slices.max(table.sweep_slices());
        let reached = table.sweep(self.cursor);
        self.cursor = reached.unwrap_or(0);
        let whole = (self.after / SWEEP_SHARE).clamp(SWEEP_MIN, SWEEP_MAX);
        let slices = u32::try_from(self.slices).unwrap_or(u32::MAX);
        if reached.is_none() {
            self.slices = 0; // the next sweep begins
        }
        whole / slices.saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::protocol::parse_at;
    use crate::node::table::Source;

    /// A table that forgets, and what it is told.
    struct Told {
        table: Table,
        expiry: Expiry,
        now: Now,
        names: usize,
    }

    impl Told {
        fn new(after: Duration) -> Told {
            let now = Now {
                mono: Instant::now(),
                wall: Timestamp::new(1_000, 0),
            };
            Told {
                table: Table::new((1, 2)),
                expiry: Expiry::new(after, now),
                now,
                names: 0,
            }
        }

        /// So many clients report of whom nobody has heard.
        fn hear(&mut self, names: usize) {
            let time = self.now.wall.seconds();
            for name in self.names..self.names + names {
                let line = format!("AT Blake +0.000000000 c{name} +00+000 {time}");
                let location = parse_at(line.as_bytes()).expect("it is one");
                let key = self.table.key(location.client);
                assert!(self.table.accept(key, &location, Source::Own).is_some());
            }
            self.names += names;
        }

        /// Time passes, then comes the end of a turn.
        fn pass(&mut self, seconds: u32) {
            self.now.mono += Duration::from_secs(seconds.into());
            self.now.wall = Timestamp::new(self.now.wall.seconds() + i64::from(seconds), 0);
            self.table.expire_before(self.expiry.oldest(self.now));
            self.expiry.sweep(&mut self.table, self.now);
        }
    }

    #[test]
    fn what_is_held_is_bounded_by_what_is_alive_however_much_comes_in_a_turn() {
        const NAMES: usize = 10 * SLICE_ENTRIES_MAX;
        let mut told = Told::new(Duration::from_secs(4));
        for turn in 1..40 {
            told.hear(NAMES);
            told.pass(1);
            let alive = NAMES * turn.min(5);
            let held = told.table.len();
            assert!(held <= 2 * alive, "turn {turn}: {held} held, {alive} alive");
        }
        told.table.check_invariants();
    }

    #[test]
    fn a_sweep_that_is_very_late_takes_a_bounded_piece_and_is_not_late_any_longer() {
        let mut told = Told::new(Duration::from_secs(4));
        told.hear(ENTRIES_MAX + 10 * SLICE_ENTRIES_MAX);
        told.pass(3_600);
        assert_eq!(told.table.len(), 10 * SLICE_ENTRIES_MAX);
        assert_eq!(told.expiry.sweep_at, told.now.mono);
        told.pass(1);
        assert!(told.table.is_empty());
        assert!(told.expiry.sweep_at > told.now.mono, "it is done");
    }
}
