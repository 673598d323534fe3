//! What of the segments survives a power failure: what is to be synced when, and whose replies wait
//! for it. Pure; `Journal` is the caller.

use std::time::{Duration, Instant};

use super::disk::{Step, Ticket};
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
pub struct Syncs<F> {
    fsync: Fsync,
    synced: u64,
    /// The sync that is under way, and how many batches will be on the disk once it is done.
    under_way: Option<(Ticket, u64)>,
    begun_at: Instant,
    /// What a sync has to do beside that of the present segment: of the one before, and of names.
    pending: Vec<Step<F>>,
    /// The same of the sync that is under way.
    begun: Vec<Step<F>>,
    /// Clients' replies wait until so many batches are synced.
    held_until: Option<u64>,
}

impl<F: Clone> Syncs<F> {
    /// Nothing has been written.
    pub fn new(fsync: Fsync, now: Now) -> Syncs<F> {
        Syncs {
            fsync,
            synced: 0,
            under_way: None,
            begun_at: now.mono,
            pending: Vec::new(),
            begun: Vec::new(),
            held_until: None,
        }
    }

    /// Whether anything is synced.
    pub fn is_wished(&self) -> bool {
        self.fsync != Fsync::Never
    }

    /// Notes that a segment was begun, after this one if there was one.
    pub fn handle_segment(&mut self, before: Option<F>) {
        if self.is_wished() {
            self.pending.extend(before.map(Step::Sync));
            self.pending.push(Step::SyncNames);
        }
    }

    /// Notes that the batches that were written may be lost, and what they tell will be written anew.
    pub fn give_up(&mut self, written: u64) {
        self.synced = written;
        self.under_way = None;
        self.pending.clear();
        self.begun.clear();
        self.held_until = None;
    }

    /// Says at the end of a turn whether clients' replies wait from here on.
    ///
    /// In a turn that began while they waited no client was read: what was written in it links have told,
    /// and no reply acknowledges it. None waits for it: otherwise a busy link would hold them for ever.
    pub fn end_turn(&mut self, written: u64) {
        self.held_until = match self.held_until {
            Some(until) => Some(until),
            None if self.fsync == Fsync::Always => Some(written),
            None => None,
        };
        self.held_until.take_if(|until| self.synced >= *until);
    }

    /// Whether clients' replies wait.
    pub fn holds_replies(&self) -> bool {
        self.held_until.is_some()
    }

    /// When the next sync is to begin, if one is.
    pub fn timeout(&self, written: u64) -> Option<Instant> {
        let due_at = match self.fsync {
            Fsync::Always => self.begun_at,
            Fsync::Second => self.begun_at + SYNC_EVERY,
            Fsync::Never => return None,
        };
        let is_needed = self.synced < written && self.under_way.is_none();
        is_needed.then_some(due_at)
    }

    /// What makes the present segment survive a power failure, and all before it: also what a sync that is
    /// under way has to do, which nobody may wait for any longer.
    pub fn job(&mut self, segment: &F) -> Vec<Step<F>> {
        self.begun.append(&mut self.pending);
        let mut job = self.begun.clone();
        job.push(Step::Sync(segment.clone()));
        job
    }

    /// Notes that this has begun.
    pub fn handle_begun(&mut self, ticket: Ticket, written: u64, now: Now) {
        self.under_way = Some((ticket, written));
        self.begun_at = now.mono;
    }

    /// Notes that it has been done. `false` if that was another job.
    pub fn handle_done(&mut self, ticket: Ticket) -> bool {
        let done = self.under_way.take_if(|(ours, _)| *ours == ticket);
        if let Some((_, written)) = done {
            self.synced = written;
            self.begun.clear();
        }
        done.is_some()
    }
}
