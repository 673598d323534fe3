//! When the log is replaced, and how.
//!
//! `Log` is the only caller. It has the checkpoint written in slices; when that is complete, the new
//! file takes the log's place in one turn (`names`).

use std::io;
use std::time::{Duration, Instant};

use super::appender::Appender;
use super::checkpoint::{Checkpoint, Step};
use super::disk::{Disk, Ticket};
use super::names::{
    NEW, Place, beside, clear, is_to_be_kept, keep, look_at_place, make_room, put_aside,
};
use super::options::{Fsync, Options};
use super::record::Stamp;
use crate::node::Node;
use crate::time::Now;

/// A checkpoint that failed is tried again after this long; unless everything hangs on it that doubles up to
/// [`RETRY_MAX`], since one that fails for want of room may take the log's own.
pub const RETRY_FIRST: Duration = Duration::from_secs(5);

/// The longest wait before a checkpoint is tried again.
const RETRY_MAX: Duration = Duration::from_secs(3600);

/// A log shorter than this is not replaced for its length.
const MAX_BYTES_MIN: u64 = 4096;

/// Why a log is replaced; what stands further down weighs more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// It is too long.
    Length,
    /// It cannot be relied on: a restart cannot tell by it what neighbours know, a power failure may take
    /// some of it, or it can grow no longer.
    Doubt,
    /// Somebody has moved it away: it has another name already.
    Moved,
    /// A restart would not find in it what is acknowledged now.
    Lacking,
    /// It cannot be read to its end: nor would a restart here. It is kept whatever the options say.
    Unread,
}

/// What has become of a log that was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// Why it was.
    pub cause: Cause,
    /// What was in its place.
    pub place: Place,
}

/// When the log is to be replaced, and how far that has come.
#[derive(Debug)]
pub struct Rotation<F> {
    checkpoint: Option<Checkpoint<F>>,
    /// How long the checkpoint is with which the log begins.
    checkpoint_bytes: u64,
    /// Why it is to be replaced whatever its length, if it is.
    wanted: Option<Cause>,
    /// After a failure: when to try again.
    retry_at: Option<Instant>,
    /// How often it has failed.
    failures: u32,
}

/// What a rotation works with.
pub struct Hands<'a, D: Disk> {
    /// The file system.
    pub disk: &'a mut D,
    /// Where the log is, and how many are kept.
    pub options: &'a Options,
    /// The log.
    pub out: &'a mut Option<Appender<D::File>>,
    /// What a checkpoint holds.
    pub node: &'a mut Node,
    /// The time of its records.
    pub stamp: &'a mut Stamp,
}

impl<F> Default for Rotation<F> {
    fn default() -> Rotation<F> {
        Rotation {
            checkpoint: None,
            checkpoint_bytes: 0,
            wanted: None,
            retry_at: None,
            failures: 0,
        }
    }
}

impl<F> Rotation<F> {
    /// Notes that the log begins with a checkpoint of so many bytes.
    pub fn begins_with(&mut self, checkpoint_bytes: u64) {
        self.checkpoint_bytes = checkpoint_bytes;
    }

    /// Has the log replaced, whatever its length, from `at` on: however often that has failed for a lesser
    /// cause. Where it is wanted for this one already it is tried again as it was to be. Says whether
    /// this cause is new.
    pub fn want(&mut self, cause: Cause, at: Instant) -> bool {
        let is_new = self.wanted < Some(cause);
        if is_new {
            self.wanted = Some(cause);
            self.retry_at = Some(at);
            self.failures = 0;
        }
        is_new
    }

    /// Has it replaced at once, also where that has failed lately.
    pub fn want_now(&mut self, cause: Cause) {
        self.wanted = self.wanted.max(Some(cause));
        self.retry_at = None;
        self.failures = 0;
    }

    /// Why the log is to be replaced whatever its length, if it is.
    pub fn wanted(&self) -> Option<Cause> {
        self.wanted
    }

    /// Whether the log is being replaced, whatever its length, or could be now.
    pub fn takes_over(&self, out: Option<&Appender<F>>, options: &Options, now: Now) -> bool {
        self.wanted.is_some() && (self.is_under_way() || self.is_due(out, options, now))
    }

    /// Whether a checkpoint is being written.
    pub fn is_under_way(&self) -> bool {
        self.checkpoint.is_some()
    }

    /// Whether [`Rotation::step`] has something to do at once.
    pub fn is_busy(&self, out: Option<&Appender<F>>, options: &Options, now: Now) -> bool {
        match &self.checkpoint {
            Some(checkpoint) => checkpoint.is_busy(),
            None => self.is_due(out, options, now),
        }
    }

    /// When it has, though nothing happens.
    pub fn poll_timeout(&self, out: Option<&Appender<F>>, options: &Options) -> Option<Instant> {
        let waits = self.checkpoint.is_none() && self.is_called_for(out, options);
        self.retry_at.filter(|_| waits)
    }

    fn is_called_for(&self, out: Option<&Appender<F>>, options: &Options) -> bool {
        let max_bytes = options.max_bytes.max(MAX_BYTES_MIN);
        let max_bytes = max_bytes.max(2 * self.checkpoint_bytes);
        match out {
            Some(out) => out.is_regular() && (self.wanted.is_some() || out.len() >= max_bytes),
            None => self.wanted.is_some(),
        }
    }

    fn is_due(&self, out: Option<&Appender<F>>, options: &Options, now: Now) -> bool {
        self.retry_at.is_none_or(|at| at <= now.mono) && self.is_called_for(out, options)
    }

    /// Takes in that a sync has been done. `false` if it was not the checkpoint's.
    pub fn handle_synced(&mut self, ticket: Ticket) -> bool {
        let checkpoint = self.checkpoint.as_mut();
        checkpoint.is_some_and(|checkpoint| checkpoint.handle_synced(ticket))
    }

    /// Begins a checkpoint if one is due, writes a slice of it, and once it is complete lets it
    /// take the log's place: then it says so. `ticket` names a sync that this may begin.
    ///
    /// # Errors
    /// The disk's; [`Rotation::put_off`] is to follow.
    pub fn step<D: Disk<File = F>>(
        &mut self,
        hands: Hands<'_, D>,
        ticket: Ticket,
        now: Now,
    ) -> io::Result<Option<Replaced>> {
        let Hands {
            disk,
            options,
            out,
            node,
            stamp,
        } = hands;
        let mut checkpoint = match self.checkpoint.take() {
            Some(checkpoint) => checkpoint,
            None if self.is_due(out.as_ref(), options, now) => {
                look_at_place(disk, out.as_ref(), &options.path)?;
                let file = disk.create(&beside(&options.path, NEW))?;
                Checkpoint::new(Appender::new(disk, file)?)
            }
            None => return Ok(None),
        };
        if checkpoint.step(disk, node, stamp, ticket)? == Step::Unfinished {
            self.checkpoint = Some(checkpoint);
            return Ok(None);
        }
        let place = look_at_place(disk, out.as_ref(), &options.path)?;
        let new = checkpoint.finish(disk, node, stamp)?;
        if options.fsync == Fsync::Always {
            disk.sync(&new.file)?; // all but the last piece of it has been, without waiting
        }
        let cause = self.wanted.unwrap_or(Cause::Length);
        let links = |old: &Appender<F>| disk.status(&old.file).map_or(0, |status| status.links);
        let has_other_name =
            cause == Cause::Moved && out.as_ref().is_some_and(|old| links(old) > 1);
        let keep_max = options.keep.max(u32::from(cause == Cause::Unread));
        if let Some(old) = out
            && keep_max > 0
            && !has_other_name
            && is_to_be_kept(disk, old, &options.path)
        {
            make_room(disk, &options.path, keep_max)?;
            keep(disk, old, &options.path)?;
        }
        if place == Place::Taken {
            put_aside(disk, &options.path)?;
        }
        disk.rename(&beside(&options.path, NEW), &options.path)?;
        self.checkpoint_bytes = new.len();
        if let Some(old) = out.replace(new) {
            disk.close_later(old.file);
        }
        self.wanted = None;
        self.retry_at = None;
        self.failures = 0;
        Ok(Some(Replaced { cause, place }))
    }

    /// Gives up what has been written of a checkpoint: it may tell of what is known no longer.
    pub fn begin_anew<D: Disk<File = F>>(&mut self, disk: &mut D, options: &Options) {
        if let Some(checkpoint) = self.checkpoint.take() {
            disk.close_later(checkpoint.abandon());
            clear(disk, &options.path);
        }
    }

    /// Gives a checkpoint up; it is tried again, each time later unless everything hangs on it: until then
    /// a restart loses what is acknowledged. Says whether this is the first time in a row.
    pub fn put_off<D: Disk<File = F>>(
        &mut self,
        disk: &mut D,
        options: &Options,
        now: Now,
    ) -> bool {
        self.begin_anew(disk, options);
        clear(disk, &options.path); // the file may be there though its checkpoint never began
        let doublings = match self.wanted >= Some(Cause::Lacking) {
            true => 0,
            false => self.failures.min(16),
        };
        let wait = RETRY_FIRST.saturating_mul(1 << doublings);
        self.retry_at = Some(now.after(wait.min(RETRY_MAX)));
        self.failures = self.failures.saturating_add(1);
        self.failures == 1
    }
}
