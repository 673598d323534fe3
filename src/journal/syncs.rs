//! What of the journal survives a power failure: when it is to be synced, and whose replies wait for
//! it. Pure; `Journal` is the caller.

use std::time::{Duration, Instant};

use super::disk::Ticket;
use crate::time::Now;

/// With [`Fsync::Second`], how often what was written is synced.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// When what was written is made to survive a power failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// Before the replies leave that acknowledge it.
    Always,
    /// Within a second or so.
    Second,
    /// When the kernel thinks fit.
    #[default]
    Never,
}

/// Counts batches: those that were written, and those that are on the disk.
#[derive(Debug)]
pub struct Syncs {
    fsync: Fsync,
    /// Batches written.
    pub written: u64,
    synced: u64,
    /// The sync that is under way, and how many batches will be on the disk once it is done.
    under_way: Option<(Ticket, u64)>,
    begun_at: Instant,
    /// Clients' replies wait until so many batches are synced.
    held_until: Option<u64>,
}

impl Syncs {
    /// Nothing has been written.
    pub fn new(fsync: Fsync, now: Now) -> Syncs {
        Syncs {
            fsync,
            written: 0,
            synced: 0,
            under_way: None,
            begun_at: now.mono,
            held_until: None,
        }
    }

    /// Whether anything is synced.
    pub fn syncs_at_all(&self) -> bool {
        self.fsync != Fsync::Never
    }

    /// Notes that the batches that were written may be lost, and what they tell will be written anew.
    pub fn give_up(&mut self) {
        self.synced = self.written;
        self.under_way = None;
        self.held_until = None;
    }

    /// Says at the end of a turn whether clients' replies wait from here on.
    ///
    /// In a turn that began while they waited no client was read: what was written in it links have told,
    /// and no reply acknowledges it. None waits for it: otherwise a busy link would hold them for ever.
    pub fn end_turn(&mut self) {
        if self.fsync == Fsync::Always {
            self.held_until.get_or_insert(self.written);
        }
        self.held_until.take_if(|until| self.synced >= *until);
    }

    /// Whether clients' replies wait.
    pub fn holds_replies(&self) -> bool {
        self.held_until.is_some()
    }

    /// When the next sync is to begin, if one is.
    pub fn timeout(&self) -> Option<Instant> {
        let due_at = match self.fsync {
            Fsync::Always => self.begun_at,
            Fsync::Second => self.begun_at + SYNC_EVERY,
            Fsync::Never => return None,
        };
        let is_needed = self.synced < self.written && self.under_way.is_none();
        is_needed.then_some(due_at)
    }

    /// Notes that a sync of all that was written has begun.
    pub fn handle_begun(&mut self, ticket: Ticket, now: Now) {
        self.under_way = Some((ticket, self.written));
        self.begun_at = now.mono;
    }

    /// Whether a sync has begun and is not done.
    pub fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Notes that it has been done. `false` if that was another job.
    pub fn handle_done(&mut self, ticket: Ticket) -> bool {
        let done = self.under_way.take_if(|(ours, _)| *ours == ticket);
        self.synced = done.map_or(self.synced, |(_, written)| written);
        done.is_some()
    }
}
