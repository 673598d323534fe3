//! The log, which is the journal: what came in and went out, and so what a restart knows.
//!
//! `Driver` tells it what came in and goes out, and `Server` when to commit; the simulation does
//! both. In each turn records are gathered here and handed to the kernel in one write, before the
//! replies they tell of may leave: then `kill -9` loses nothing that was acknowledged.
//!
//! A log that cannot be written never stops the server; it says so once, counts what it could not
//! write, tries again each second, and then writes what is missing. A log that has grown too long
//! is replaced by one that begins with a checkpoint. Both are cursors in the feed of changes.
//!
//! ```text
//!   NAME.log          the log: a checkpoint, and everything since
//!   NAME.log.1 …      those it has replaced, the newest first
//!   NAME.log.new      the next one, while its checkpoint is being written
//!   NAME.log.foreign  a file that somebody had put in its place
//! ```

pub mod disk;
pub mod files;
pub mod note;
pub mod record;

mod appender;
mod checkpoint;
mod cursor;
mod names;
mod notice;
mod options;
mod replay;
mod rotation;
mod state;
mod sync;
#[cfg(test)]
mod tests;
mod turn;

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use self::appender::Appender;
use self::disk::{Disk, OpenError, Ticket};
use self::names::{Found, Place};
use self::note::GAP;
use self::record::{Direction, Label};
use self::replay::Replay;
use self::rotation::{Cause, Hands, Rotation};
use self::state::{Lack, Next, State};
use self::sync::Sync;
use self::turn::{BUFFER_BYTES_MAX, Turn};
use crate::node::Node;
use crate::node::recall::Recalled;
use crate::time::Now;

pub use self::notice::Notice;
pub use self::options::{Fsync, Options};

/// A log that could not be written is tried again after this long.
const RETRY: Duration = Duration::from_secs(1);

/// One server's log.
#[derive(Debug)]
pub struct Log<D: Disk> {
    disk: D,
    options: Options,
    turn: Turn,
    out: Option<Appender<D::File>>,
    state: State,
    rotation: Rotation<D::File>,
    sync: Sync,
    tickets: u64,
    /// It was seen to have been moved away by somebody who has not said so.
    is_away: bool,
    notices: VecDeque<Notice>,
}

impl<D: Disk> Log<D> {
    /// A log that will be where `options` say; nothing is touched yet.
    pub fn new(disk: D, options: Options) -> Log<D> {
        Log {
            disk,
            options,
            turn: Turn::default(),
            out: None,
            state: State::whole(0),
            rotation: Rotation::default(),
            sync: Sync::default(),
            tickets: 0,
            is_away: false,
            notices: VecDeque::new(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.options.path
    }

    // ---- a life begins

    /// Opens the log, made with its directory if need be, has `node` recall what it holds, and
    /// begins a life of the node. A record torn off at the end is marked as such and not believed.
    /// `progress` is told now and then how many bytes have been read of how many.
    ///
    /// A log that was moved away, by a rotation that did not come to its end, is taken back. One that
    /// cannot be read to its end is replaced at once, since no start would read what is appended to it.
    ///
    /// # Errors
    /// [`OpenError::InUse`] if another process has it. After [`OpenError::Io`], the disk's, what could
    /// be read of the log is recalled; it is tried again each second, and is read then.
    pub fn open(
        &mut self,
        node: &mut Node,
        now: Now,
        progress: impl FnMut(u64, u64),
    ) -> Result<(), OpenError> {
        self.set_time(now);
        let opened = self.open_and_replay(node, now, progress);
        let (incarnation, end) = node.begin_life();
        if node.knows_again() {
            self.note_gap(node, "what had expired may be known again");
        }
        let clients = node.table().len();
        let started = note::started(incarnation, end, clients, node.forgets_after());
        self.record(Direction::Note, Label::None, started.as_bytes());
        self.state = State::whole(end);
        if self.rotation.wanted() == Some(Cause::Unread) {
            // The numbers of this life are not those that a later replay will give.
            self.note_gap(node, "what stands before could not all be read");
        }
        match opened {
            Err(OpenError::Io(_)) => self.state = State::unavailable(now.mono), // the caller tells
            Ok(()) if self.options.fsync != Fsync::Never => {
                self.sync_names(now); // it may be a new one
            }
            Ok(()) | Err(OpenError::InUse) => {}
        }
        opened
    }

    fn open_and_replay(
        &mut self,
        node: &mut Node,
        now: Now,
        progress: impl FnMut(u64, u64),
    ) -> Result<(), OpenError> {
        let path = &self.options.path;
        let Found { log: out, is_moved } = match names::open(&mut self.disk, path) {
            Ok(found) => found,
            Err(OpenError::InUse) => return Err(OpenError::InUse),
            Err(OpenError::Io(error)) => {
                self.replay_unwritable(node, now, progress)?;
                return Err(OpenError::Io(error));
            }
        };
        names::clear(&mut self.disk, path);
        let status = self.disk.status(&out.file);
        if is_moved || status.is_ok_and(|status| status.links > 1) {
            // What has another name may be taken for an archive.
            self.rotation.want(Cause::Moved, now.mono);
        }
        let has_past = out.is_regular() && !out.is_empty();
        let replayed = self.replay(&out, node, progress);
        let is_regular = self.out.insert(out).is_regular();
        match replayed {
            Ok(checkpoint_bytes) => self.rotation.begins_with(checkpoint_bytes),
            Err(error) => self.handle_unread(&error, now),
        }
        if !is_regular {
            self.notices.push_back(Notice::NoFile);
            return Ok(());
        }
        if has_past && !node.recalls_whole_log() {
            let is_explained = !self.notices.is_empty();
            if !is_explained && node.table().end() > 0 {
                self.notices.push_back(Notice::NotWhole);
            }
            self.rotation.want(Cause::Doubt, now.mono);
        }
        Ok(())
    }

    /// Has the node recall what a log holds that cannot be written, if it can be read: it tells of what
    /// was acknowledged. If it was moved away its place is free. That is for a file that knows
    /// everything; until there is one this stays the log.
    fn replay_unwritable(
        &mut self,
        node: &mut Node,
        now: Now,
        progress: impl FnMut(u64, u64),
    ) -> Result<(), OpenError> {
        let path = &self.options.path;
        if names::moved_away(&self.disk, path).is_some() {
            self.rotation.want(Cause::Moved, now.mono);
        }
        match names::open_to_read(&mut self.disk, path) {
            Err(OpenError::InUse) => return Err(OpenError::InUse),
            Err(OpenError::Io(_)) => {} // the other error says more
            Ok(past) => {
                if let Err(error) = self.replay(&past, node, progress) {
                    self.tell_of_unread(&error);
                }
            }
        }
        Ok(())
    }

    /// Has the node recall what a file holds, as far as it can be read. Gives the length of the
    /// checkpoint with which it begins.
    fn replay(
        &mut self,
        out: &Appender<D::File>,
        node: &mut Node,
        mut progress: impl FnMut(u64, u64),
    ) -> io::Result<u64> {
        if !out.is_regular() {
            return Ok(0); // a device or a pipe has no past
        }
        let mut replay = Replay::new(out.len());
        let read = loop {
            match replay.step(&self.disk, &out.file, |batch| node.recall(batch)) {
                Ok(true) => progress(replay.at(), out.len()),
                Ok(false) => break Ok(replay.checkpoint_bytes()),
                Err(error) => break Err(error),
            }
        };
        if let Some(stamp) = replay.last_stamp() {
            node.recall(&[Recalled::Last { stamp }]);
        }
        if replay.holes() > 0 {
            self.notices.push_back(Notice::Holes(replay.holes()));
        }
        read
    }

    /// The log cannot be read to its end, and no start will read what is written behind that place. So
    /// it is replaced, and stays beside the new one, for whoever can read it after all.
    fn handle_unread(&mut self, error: &io::Error, now: Now) {
        self.rotation.want(Cause::Unread, now.mono);
        self.tell_of_unread(error);
    }

    fn tell_of_unread(&mut self, error: &io::Error) {
        let why = format!("{}: {error}", self.options.path.display());
        self.notices.push_back(Notice::Unread(why));
    }

    // ---- records

    /// Sets the time of the records that follow.
    pub fn set_time(&mut self, now: Now) {
        self.turn.set_time(now);
    }

    /// Adds a record.
    pub fn record(&mut self, direction: Direction, label: Label<'_>, text: &[u8]) {
        self.turn.record(direction, label, text);
        if self.turn.len() >= BUFFER_BYTES_MAX {
            self.write_early();
        }
    }

    /// Notes that what stands before does not tell of all that was decided, and why: so a restart
    /// cannot know what numbers were given. A checkpoint under way, which the note will not precede,
    /// is begun anew.
    pub fn note_gap(&mut self, node: &Node, why: &str) {
        let note = format!("{GAP}{why}");
        self.record(Direction::Note, Label::None, note.as_bytes());
        if let Some(after) = node.forgets_after() {
            // The beginning of the life may be missing in the gap.
            let forgets = note::forgets(after);
            self.record(Direction::Note, Label::None, forgets.as_bytes());
        }
        self.rotation.begin_anew(&mut self.disk, &self.options);
    }

    /// Writes before the turn is over. From a failure on nothing more is tried until the commit
    /// has told of it: what follows a record that broke off must not run on from there.
    fn write_early(&mut self) {
        if !self.is_failing() {
            match self.write() {
                Ok(()) => self.sync.handle_written(),
                Err(error) => drop(self.state.fail(Next::Tell(error))),
            }
        }
        self.drop_records();
    }

    /// Adds a record of a line that goes on beyond its `beginning`.
    pub fn record_beginning(&mut self, direction: Direction, label: Label<'_>, beginning: &[u8]) {
        self.turn.record_beginning(direction, label, beginning);
    }

    /// Adds the record of that line's end: it had `bytes` bytes in all.
    pub fn record_length(&mut self, direction: Direction, label: Label<'_>, bytes: u64) {
        self.turn.record_length(direction, label, bytes);
    }

    // ---- the end of a turn

    /// Whether it cannot be written at present.
    pub fn is_failing(&self) -> bool {
        self.state.is_failing()
    }

    /// Whether there is something to do at once: to commit, to tell, or for [`Log::work`].
    pub fn is_busy(&self, now: Now) -> bool {
        let untold = !self.turn.is_empty() || !self.notices.is_empty();
        let rotation = || (self.rotation).is_busy(self.out.as_ref(), &self.options, now);
        untold
            || match &self.state {
                State::Whole { .. } => rotation(),
                State::Lacking(Lack::Unread(_)) => true,
                State::Lacking(Lack::Changes { .. }) => !self.is_taken_over(now) || rotation(),
                State::Failing { lack, .. } => match lack {
                    Lack::Unread(_) => true,
                    Lack::Changes { .. } => self.is_taken_over(now) && rotation(),
                },
            }
    }

    /// When [`Log::commit`] or [`Log::work`] should be called next though nothing happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let is_written = !self.is_failing();
        let sync = self.sync.poll_timeout(is_written);
        let rotation = self.rotation.poll_timeout(self.out.as_ref(), &self.options);
        let rotation = rotation.filter(|_| is_written || self.rotation.wanted().is_some());
        let due = [self.state.retry_at(), sync, rotation];
        due.into_iter().flatten().min()
    }

    /// What the operator should be told next.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// Hands the turn's records to the kernel, and to the disk if that is wished. Then replies may
    /// leave.
    pub fn commit(&mut self, node: &Node, now: Now) {
        let end = node.table().end();
        if let Some(error) = self.state.take_untold(now.after(RETRY)) {
            self.drop_records();
            self.tell_of_failure(&error, now);
            self.shorten_after(&error, now);
        } else if let Some(at) = self.state.retry_at() {
            match now.mono < at {
                true => self.drop_records(),
                false => self.try_again(node, now),
            }
        } else if !self.turn.is_empty() {
            match self.write() {
                Ok(()) => self.sync.handle_written(),
                Err(error) => self.fail(&error, now),
            }
        }
        if !self.is_failing() {
            // Also what was written before the turn was over.
            if self.options.fsync == Fsync::Always && self.sync.take_unsynced() {
                self.sync_file(now);
            }
            self.state.commit(end);
            self.look_after(now);
        }
        if self.sync.is_names_retry_due(now) {
            self.sync_names(now);
        }
    }

    fn sync_file(&mut self, now: Now) {
        if let Some(out) = &self.out {
            let synced = self.disk.sync(&out.file);
            self.handle_outcome(synced, now);
        }
    }

    /// Once a second while it is written: is the file still what we have written, and on the disk?
    fn look_after(&mut self, now: Now) {
        if !self.sync.is_due(now) {
            return;
        }
        let ticket = (self.options.fsync == Fsync::Second).then(|| self.next_ticket());
        let Some(out) = &self.out else { return };
        let is_away = out.is_regular() && !self.disk.is_at(&out.file, &self.options.path);
        let was_away = std::mem::replace(&mut self.is_away, is_away);
        if out.is_spoilt(&self.disk) {
            if self.rotation.want(Cause::Lacking, now.mono) {
                self.notices.push_back(Notice::Spoilt);
            }
        } else if is_away && !was_away && self.rotation.wanted() < Some(Cause::Moved) {
            self.notices.push_back(Notice::MovedAway);
        }
        if let Some(ticket) = ticket {
            self.disk.sync_later(&out.file, ticket);
        }
        self.sync.begin(ticket, now);
    }

    /// Takes in the outcome of a sync that the disk was to do later.
    pub fn handle_synced(&mut self, ticket: Ticket, synced: io::Result<()>, now: Now) {
        if self.sync.handle_synced(ticket) {
            self.handle_outcome(synced, now);
        } else if self.sync.handle_names_synced(ticket) {
            self.handle_names(synced, now);
        } else if self.rotation.handle_synced(ticket)
            && let Err(error) = synced
        {
            self.put_rotation_off(&error, now);
        }
    }

    /// After a sync that failed nobody knows what is on the disk, and the next one may succeed all
    /// the same (Rebello et al., "Can Applications Recover from fsync Failures?", 2020): so
    /// everything is written anew.
    fn handle_outcome(&mut self, synced: io::Result<()>, now: Now) {
        if synced.is_err() {
            self.rotation.want(Cause::Doubt, now.after(RETRY));
        }
        let told = self.sync.handle_outcome(&synced, &self.options.path);
        self.notices.extend(told);
    }

    /// Only where replies wait for every sync does the loop wait for this one.
    fn sync_names(&mut self, now: Now) {
        if self.options.fsync == Fsync::Second {
            let ticket = self.next_ticket();
            self.disk.sync_directory_later(&self.options.path, ticket);
            self.sync.begin_names(ticket);
        } else {
            self.sync_names_now(now);
        }
    }

    fn sync_names_now(&mut self, now: Now) {
        let synced = self.disk.sync_directory(&self.options.path);
        self.handle_names(synced, now);
    }

    /// The names are another matter: a later sync of the directory makes up for one that failed.
    fn handle_names(&mut self, synced: io::Result<()>, now: Now) {
        let path = &self.options.path;
        let told = self.sync.handle_names(synced, path, now.after(RETRY));
        self.notices.extend(told);
    }

    fn next_ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// Does a slice of what is to be done beside the turns: reading an old log that has come back,
    /// writing what the log lacks, replacing it. To be called when nothing is left to commit.
    pub fn work(&mut self, node: &mut Node, now: Now) {
        let is_failing = self.is_failing();
        let is_taken_over = self.is_taken_over(now);
        match self.state.lack() {
            Some(Lack::Unread(replay)) => {
                let Some(out) = &self.out else { return };
                let step = replay.step(&self.disk, &out.file, |batch| node.recall_late(batch));
                if matches!(step, Ok(true)) {
                    return;
                }
                if replay.holes() > 0 {
                    self.notices.push_back(Notice::Holes(replay.holes()));
                    self.rotation.want(Cause::Doubt, now.mono);
                }
                self.state.open_anew(Lack::after(0));
                if let Err(error) = step {
                    self.handle_unread(&error, now);
                    self.state.leave_to_replacement();
                }
            }
            // It cannot be written, or that would be in vain, or all would have to be written twice.
            Some(Lack::Changes { .. }) if is_taken_over => self.rotate(node, now),
            Some(Lack::Changes { .. }) if is_failing => {}
            Some(Lack::Changes { committed, cursor }) if cursor.has_ended() => {
                self.state = State::whole(*committed);
                self.notices.push_back(Notice::Complete(node.table().len()));
            }
            Some(Lack::Changes { cursor, .. }) => {
                let written = cursor.slice(node, |change| {
                    self.turn.record(Direction::Held, Label::None, change.line);
                    Ok(change.line.len())
                });
                written.expect("nothing is written before the commit");
            }
            None => self.rotate(node, now),
        }
    }

    /// Whether the log is being replaced, or could be now, instead of being given what it lacks.
    fn is_taken_over(&self, now: Now) -> bool {
        let would_hold_little = match &self.state {
            State::Lacking(Lack::Changes { committed, .. }) => *committed == 0,
            state => state.is_failing(),
        };
        let is_vain = would_hold_little || self.rotation.wanted() >= Some(Cause::Lacking);
        is_vain && (self.rotation).takes_over(self.out.as_ref(), &self.options, now)
    }

    // ---- failure and recovery

    fn try_again(&mut self, node: &Node, now: Now) {
        if self.out.is_none() {
            match names::open(&mut self.disk, &self.options.path) {
                Err(error) => return self.fail(&error.into(), now),
                Ok(Found { log: out, is_moved }) => {
                    if is_moved {
                        self.rotation.want(Cause::Moved, now.mono);
                    }
                    if out.is_regular() && out.is_empty() {
                        self.rotation.want(Cause::Doubt, now.mono); // no life begins in it
                    }
                    // Whatever it holds, it is not what we have written so far.
                    self.state
                        .open_anew(match out.is_regular() && !out.is_empty() {
                            true => Lack::Unread(Replay::new(out.len())),
                            false => Lack::after(0),
                        });
                    self.out = Some(out);
                }
            }
        }
        // The gap is told of first, so that who reads the log knows where it is.
        let missing = self.state.missing();
        let gap = format!("{GAP}{missing} records could not be written before this one");
        let forgets = node.forgets_after().map(note::forgets);
        self.set_time(now);
        for note in [Some(gap), forgets].into_iter().flatten() {
            if let Err(error) = self.write_first(&note) {
                return self.fail(&error, now);
            }
        }
        self.state.recover();
        if self.rotation.wanted() == Some(Cause::Unread) {
            self.state.leave_to_replacement();
        }
        match self.write() {
            Ok(()) => {
                self.notices.push_back(Notice::Recovered(missing));
                self.sync.handle_written();
            }
            Err(error) => self.fail(&error, now),
        }
    }

    /// Notes a failure, and tells of it if it is the first.
    fn fail(&mut self, error: &io::Error, now: Now) {
        let is_first = self.state.fail(Next::Retry(now.after(RETRY)));
        self.drop_records();
        if is_first {
            self.tell_of_failure(error, now);
        }
        self.shorten_after(error, now);
    }

    /// A log that is longer than a file may be will not be written again, but a shorter one will.
    fn shorten_after(&mut self, error: &io::Error, now: Now) {
        if error.kind() == io::ErrorKind::FileTooLarge {
            self.rotation.want(Cause::Doubt, now.mono);
        }
    }

    fn tell_of_failure(&mut self, error: &io::Error, now: Now) {
        if self.rotation.is_under_way() && error.kind() != io::ErrorKind::FileTooLarge {
            self.put_rotation_off(error, now); // its file may be what fills the disk
        }
        let why = format!("{}: {error}", self.options.path.display());
        self.notices.push_back(Notice::Failing(why));
    }

    fn drop_records(&mut self) {
        let records = self.turn.drop_records();
        self.state.miss(records);
    }

    /// Writes the turn's records; those that could not be written stay.
    fn write(&mut self) -> io::Result<()> {
        let out = self.out.as_mut().ok_or_else(not_open)?;
        self.turn.write(&mut self.disk, out)
    }

    /// Writes a note before the turn's records.
    fn write_first(&mut self, note: &str) -> io::Result<()> {
        let out = self.out.as_mut().ok_or_else(not_open)?;
        self.turn.write_note_first(&mut self.disk, out, note)
    }

    // ---- rotation

    fn rotate(&mut self, node: &mut Node, now: Now) {
        let ticket = self.next_ticket();
        let hands = Hands {
            disk: &mut self.disk,
            options: &self.options,
            out: &mut self.out,
            node,
            stamp: &mut self.turn.stamp,
        };
        let step = self.rotation.step(hands, ticket, now);
        let clients = node.table().len();
        let replaced = match step {
            Ok(None) => return,
            Ok(Some(replaced)) => replaced,
            Err(error) => return self.put_rotation_off(&error, now),
        };
        if replaced.place == Place::Taken {
            let aside = names::beside(&self.options.path, names::FOREIGN);
            self.notices.push_back(Notice::PutAside(aside));
        }
        self.notices.push_back(match replaced.cause {
            Cause::Length => Notice::Rotated(clients),
            _ => Notice::Complete(clients),
        });
        if self.is_failing() {
            let missing = self.state.missing();
            self.notices.push_front(Notice::Recovered(missing));
        }
        self.state = State::whole(node.table().end());
        self.is_away = false;
        let is_synced = self.options.fsync != Fsync::Second; // or need not be
        self.sync.handle_replaced(is_synced, now);
        if self.options.fsync != Fsync::Never {
            self.sync_names(now);
        }
    }

    fn put_rotation_off(&mut self, error: &io::Error, now: Now) {
        let first = self.rotation.put_off(&mut self.disk, &self.options, now);
        if first {
            let why = format!("{}: {error}", self.options.path.display());
            self.notices.push_back(Notice::NotRotated(why));
        }
    }

    /// After SIGHUP: if the log has been moved away, one is begun that knows everything. Until it
    /// is complete the old one is the log, and has its name back, so that a restart finds it.
    pub fn reopen(&mut self, node: &Node, now: Now) {
        self.commit(node, now);
        let path = self.options.path.clone();
        match &self.out {
            Some(out) if out.is_regular() => {
                if self.disk.is_at(&out.file, &path) {
                    return; // it has not been moved
                }
                match names::look_at_place(&self.disk, Some(out), &path) {
                    Err(_) => return self.notices.push_back(Notice::Foreign(path)),
                    Ok(Place::Taken) => return self.rotation.want_now(Cause::Lacking),
                    Ok(Place::Ours) => self.rotation.want_now(Cause::Moved),
                }
                // If it cannot have it, because it was deleted or this file system knows no second
                // names, a start meanwhile looks for what was moved away.
                let _ = self.disk.name_again(&out.file, &path);
            }
            _ => {
                self.out = None; // whatever is at the log's path now may be better
                self.try_again(node, now);
            }
        }
    }

    /// Makes everything that has been committed survive a power failure, if that is wished: the
    /// last thing a server does.
    pub fn close(&mut self, node: &Node, now: Now) {
        self.commit(node, now);
        if self.options.fsync != Fsync::Never {
            self.sync_file(now);
        }
        if self.sync.lacks_names() {
            self.sync_names_now(now);
        }
    }
}

fn not_open() -> io::Error {
    io::Error::other("it is not open")
}
