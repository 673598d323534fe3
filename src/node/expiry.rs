//! Reports and tombstones that are too old: from when on they count as unknown, and how their memory is given
//! back.
//!
//! `Node` has one. Unless it was told to forget reports, only tombstones expire. Readers see expiry exactly,
//! since the table shows nothing that has expired; memory is given back later. A sweep goes through the table
//! in slices, spread evenly over a while. So no single pause is long, and the cost is the same whether ten
//! records expire or ten million. A turn that comes late sweeps all slices that are due, up to a limit. Else a
//! busy server, whose turns are long, would give back ever less.

use std::time::{Duration, Instant};

use super::table::{ENTRIES_MAX, SLICE_ENTRIES_MAX, Table};
use crate::time::{Now, Timestamp};

/// How long tombstones are kept where reports are kept for ever. If a server was away for less than this, what
/// it tells of an erased client loses.
const TOMBSTONES_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A sweep of the whole table takes a sixteenth of the time that records are kept. So expired records hold no
/// more than about a sixteenth of the memory.
const SWEEP_SHARE: u32 = 16;

/// The shortest time that a sweep takes: a shorter one would gain nothing.
const SWEEP_MIN: Duration = Duration::from_millis(500);

/// The longest time that a sweep takes.
const SWEEP_MAX: Duration = Duration::from_secs(60 * 60);

/// The most slices that one call sweeps, however late it comes: as many entries as any look into the feed
/// passes. That is more than a turn brings, so the sweep gets ahead.
const SLICES_MAX: usize = ENTRIES_MAX / SLICE_ENTRIES_MAX;

/// How long records are kept, and how far the sweep has come.
#[derive(Debug)]
pub struct Expiry {
    after: Duration,
    /// Reports expire, too.
    is_of_reports: bool,
    /// The sweep has seen the feed up to this number.
    cursor: u64,
    /// The most slices that the table has had since this sweep began. A sweep that gives much back has fewer
    /// left, and must not slow down by that.
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

    /// A report with an earlier effective time than this has expired, if reports ever do.
    pub fn oldest(&self, now: Now) -> Timestamp {
        match self.of_reports() {
            Some(after) => now.wall.minus(after),
            None => Timestamp::MIN,
        }
    }

    /// Tells the table what has expired. A clock that is not trusted lets nothing expire that had not.
    pub fn expire(&self, table: &mut Table, is_clock_trusted: bool, now: Now) {
        let time = now.wall.minus(self.after);
        let oldest = match is_clock_trusted {
            true => time,
            false => time.min(table.oldest_erased()),
        };
        match self.is_of_reports {
            true => table.expire_before(oldest),
            false => table.expire_tombstones_before(oldest),
        }
    }

    /// When [`Expiry::sweep`] wants to be called next.
    pub fn timeout(&self, table: &Table) -> Option<Instant> {
        let is_idle = !self.is_of_reports && table.tombstones() == 0;
        (!is_idle).then_some(self.sweep_at)
    }

    /// Sweeps all slices of the table that are due: several, if turns are long.
    pub fn sweep(&mut self, table: &mut Table, now: Now) {
        for _ in 0..SLICES_MAX {
            if self.timeout(table).is_none_or(|at| now.mono < at) {
                return;
            }
            let step = self.sweep_slice(table);
            self.sweep_at += step;
        }
        self.sweep_at = self.sweep_at.max(now.mono); // what is due beyond that is skipped
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
