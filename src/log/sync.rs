//! What of the log survives a power failure: when it is synced, and what has come of that. Pure.
//!
//! `Log` is the only caller, and does what is due.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::disk::Ticket;
use super::notice::Notice;
use crate::time::Now;

/// How often a file that is being written is looked at, and synced with `Fsync::Second`.
pub const SYNC_EVERY: Duration = Duration::from_secs(1);

/// What has been made to survive a power failure.
#[derive(Debug, Default)]
pub struct Sync {
    /// Something was written since the file was last looked at.
    dirty: bool,
    /// Something was written since it was last synced.
    unsynced: bool,
    /// The sync that is under way.
    ticket: Option<Ticket>,
    /// When the file was last synced or looked at.
    at: Option<Instant>,
    /// The operator has been told that it fails.
    said: bool,
    /// The sync of the names in the directory that is under way.
    names_ticket: Option<Ticket>,
    /// They could not be synced, which was told: when to try again.
    names_retry_at: Option<Instant>,
}

impl Sync {
    /// Something was written.
    pub fn handle_written(&mut self) {
        self.dirty = true;
        self.unsynced = true;
    }

    /// Whether something was written that has not been synced: that is being done now.
    pub fn take_unsynced(&mut self) -> bool {
        std::mem::take(&mut self.unsynced)
    }

    /// Whether the file is to be looked at, and synced with `Fsync::Second`. That is so within
    /// [`SYNC_EVERY`] of what was written last, whatever happens then.
    pub fn is_due(&self, now: Now) -> bool {
        self.dirty && self.ticket.is_none() && self.due_at().is_none_or(|at| at <= now.mono)
    }

    fn due_at(&self) -> Option<Instant> {
        self.at.map(|at| at + SYNC_EVERY)
    }

    /// When something is due though nothing happens. `is_written` says whether the file can be
    /// written at present: otherwise it is neither looked at nor synced.
    pub fn poll_timeout(&self, is_written: bool) -> Option<Instant> {
        let waits = self.dirty && self.ticket.is_none() && is_written;
        let due_at = self.due_at().filter(|_| waits);
        let retry_at = self.names_retry_at.filter(|_| self.names_ticket.is_none());
        due_at.into_iter().chain(retry_at).min()
    }

    /// The file is being looked at, and synced if there is a ticket for that.
    pub fn begin(&mut self, ticket: Option<Ticket>, now: Now) {
        self.at = Some(now.mono);
        self.dirty = false;
        self.unsynced &= ticket.is_none();
        self.ticket = ticket;
    }

    /// Takes in that a sync has been done. `false` if it was not the file's.
    pub fn handle_synced(&mut self, ticket: Ticket) -> bool {
        self.ticket.take_if(|ours| *ours == ticket).is_some()
    }

    /// Takes in what has come of a sync of the log at `path`, and gives what is to be told of it.
    pub fn handle_outcome(&mut self, synced: &io::Result<()>, path: &Path) -> Option<Notice> {
        let said = std::mem::replace(&mut self.said, synced.is_err());
        let error = synced.as_ref().err().filter(|_| !said)?;
        Some(Notice::NotSynced(format!("{}: {error}", path.display())))
    }

    /// The log is another file now, which is on the disk: to its last byte, or else it is to be synced as if
    /// something had been written.
    pub fn handle_replaced(&mut self, to_its_end: bool, now: Now) {
        self.dirty = !to_its_end;
        self.unsynced = !to_its_end;
        self.ticket = None;
        self.at = Some(now.mono);
        self.said = false;
    }

    /// Whether the names are to be synced once more.
    pub fn is_names_retry_due(&self, now: Now) -> bool {
        self.names_ticket.is_none() && self.names_retry_at.is_some_and(|at| at <= now.mono)
    }

    /// Whether the names have not been synced so far.
    pub fn lacks_names(&self) -> bool {
        self.names_ticket.is_some() || self.names_retry_at.is_some()
    }

    /// Whether a sync is under way.
    #[cfg(test)]
    pub fn is_under_way(&self) -> bool {
        self.ticket.is_some() || self.names_ticket.is_some()
    }

    /// The names are being synced, as they are now.
    pub fn begin_names(&mut self, ticket: Ticket) {
        self.names_ticket = Some(ticket);
    }

    /// Takes in that a sync of the names has been done. `false` if it was not the last that was begun.
    pub fn handle_names_synced(&mut self, ticket: Ticket) -> bool {
        self.names_ticket.take_if(|ours| *ours == ticket).is_some()
    }

    /// Takes in what has come of a sync of the names, and gives what is to be told of it. One that
    /// failed is tried again at `retry_at`.
    pub fn handle_names(
        &mut self,
        synced: io::Result<()>,
        path: &Path,
        retry_at: Instant,
    ) -> Option<Notice> {
        let retry_at = synced.is_err().then_some(retry_at);
        let failed_before = std::mem::replace(&mut self.names_retry_at, retry_at).is_some();
        match synced {
            Err(_) if failed_before => None,
            Err(error) => {
                let why = format!("{}: {error}", path.display());
                Some(Notice::NamesNotSynced(why))
            }
            Ok(()) => failed_before.then_some(Notice::NamesSynced),
        }
    }
}
