//! Reports that are too old: from when on they count as unknown, and how their memory is given
//! back.
//!
//! `Node` has one if it was told to forget. What is read is exact at any moment, since the table
//! shows nothing that has expired; giving the memory back may take its time. A sweep goes through
//! the table in slices, spread evenly over a while, so that no single pause is long and the cost
//! is the same whether ten records expire or ten million.

use std::time::{Duration, Instant};

use super::table::Table;
use crate::time::{Now, Timestamp};

/// A sweep of the whole table takes this share of the time that records are kept, so that
/// no more than about this share of the memory is held by what has expired...
const SWEEP_SHARE: u32 = 16;

/// ... but not less than this, which would be for nothing, nor more.
const SWEEP_MIN: Duration = Duration::from_millis(500);
const SWEEP_MAX: Duration = Duration::from_secs(60 * 60);

/// How long records are kept, and how far the sweep has come.
#[derive(Debug)]
pub struct Expiry {
    after: Duration,
    oldest_at_start: Timestamp,
    /// The sweep has seen the feed up to this number.
    cursor: u64,
    /// The most slices that the table has had since this sweep of it began. The fewer it has left the
    /// more it has given back: that must not slow the sweep down.
    slices: usize,
    /// When the next slice is due.
    sweep_at: Instant,
}

impl Expiry {
    /// Records expire `after` their effective time.
    pub fn new(after: Duration, now: Now) -> Expiry {
        Expiry {
            after,
            oldest_at_start: now.wall.minus(after),
            cursor: 0,
            slices: 0,
            sweep_at: now.mono,
        }
    }

    /// How long records are kept.
    pub fn after(&self) -> Duration {
        self.after
    }

    /// What has an effective time before this one has expired.
    pub fn oldest(&self, now: Now) -> Timestamp {
        now.wall.minus(self.after)
    }

    /// What had an effective time before this one had expired at the start.
    pub fn oldest_at_start(&self) -> Timestamp {
        self.oldest_at_start
    }

    /// When [`Expiry::sweep`] wants to be called next.
    pub fn timeout(&self) -> Instant {
        self.sweep_at
    }

    /// Sweeps a slice of the table, if one is due.
    pub fn sweep(&mut self, table: &mut Table, now: Now) {
        if now.mono < self.sweep_at {
            return;
        }
        self.slices = self.slices.max(table.sweep_slices());
        let reached = table.sweep(self.cursor);
        self.cursor = reached.unwrap_or(0);
        let whole = (self.after / SWEEP_SHARE).clamp(SWEEP_MIN, SWEEP_MAX);
        let slices = u32::try_from(self.slices).unwrap_or(u32::MAX);
        if reached.is_none() {
            self.slices = 0; // the next sweep begins
        }
        self.sweep_at = now.after(whole / slices.saturating_add(1));
    }
}
