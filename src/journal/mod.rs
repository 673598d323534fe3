//! The journal: the memory of a server, on its disk.
//!
//! `Driver` tells it what the node accepts, as it happens, and when to commit; the simulation does
//! both. In each turn what was told is gathered here and handed to the kernel in one write, before the
//! replies that acknowledge it may leave: then `kill -9` loses nothing that was acknowledged.
//!
//! ```text
//!   journal-<number>   a snapshot, all that was known at some time, then batches, turn by turn
//!   *.new              one whose snapshot is being written
//!   *.quarantined      one that could not be read to its end, for the operator
//!   lock               locked by the process that writes here
//! ```
//!
//! There is one file, and while it is being replaced by another that begins with a new snapshot, two:
//! once that snapshot is complete both get the same batches, until the new file has its name. A start
//! reads the newest file, by the one rule in `recovery`, and goes on writing it. Whatever fails has one
//! remedy: a new file, tried each second.

pub mod disk;
pub mod files;

mod format;
mod reader;
mod recovery;
mod snapshot;
mod syncs;
mod writer;

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use self::disk::{Disk, OpenError, Step, Ticket, is_full};
use self::format::{BEGAN, Batch, CHANGE, KNOWN, MARKED, VERSION, name, parse_name};
pub use self::recovery::Recovered;
use self::recovery::{Position, QUARANTINED};
use self::snapshot::{NEW, SLICE_BYTES, Snapshot, began_numbers, began_text, known_numbers};
pub use self::syncs::Fsync;
use self::syncs::Syncs;
use self::writer::Writer;
use crate::cause;
use crate::node::Node;
use crate::node::protocol::{Incarnation, Mark, is_erased};
use crate::time::{Now, Timestamp};
use crate::topology::ServerName;

/// A new file is due when what the present one has beside its snapshot is longer than so many bytes, and
/// than the snapshot.
const CHANGES_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What has failed is tried again after this long, ...
const RETRY: Duration = Duration::from_secs(1);

/// ... or after so many times as long as the snapshot took that failed, if that is more: one that fills
/// the disk each time must not keep it busy.
const RETRY_SHARE: u32 = 4;

/// A new file is due so long after a client was erased, since the present one has what was erased, ...
const ERASED_WAIT: Duration = Duration::from_secs(1);

/// ... and not before so many times as long has passed since the last snapshot as that took, within the
/// limit: who erases one client after the other must not keep the disk busy.
const REST_SHARE: u32 = 4;
const REST_MAX: Duration = Duration::from_secs(30);

/// How a journal is to be kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// When what was written is made to survive a power failure.
    pub fsync: Fsync,
    /// That it cannot be written at the start is no reason not to serve, whatever the cause.
    pub may_fail: bool,
}

/// Whether a restart would know what is known now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It would.
    Ok,
    /// It would not: the disk is full or fails.
    Degraded,
}

/// What has been done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes handed to the kernel.
    pub bytes: u64,
    /// Batches of changes written.
    pub batches: u64,
    /// Syncs begun.
    pub syncs: u64,
    /// Snapshots completed.
    pub snapshots: u64,
}

/// One server's journal.
///
/// In each turn: [`Journal::set_now`], then what happens ([`Journal::change`] and its like), then
/// [`Journal::commit`], then replies leave, then [`Journal::work`].
#[derive(Debug)]
pub struct Journal<D: Disk> {
    disk: D,
    server: ServerName,
    /// When the present turn is, and the latest that the clock has shown since it was set back.
    now: Now,
    latest: Timestamp,
    /// What was told and is not written yet, and the number of the last change.
    batch: Batch,
    end: u64,
    /// The file that a start would read, if one can be written, then the one that is to replace it.
    files: Vec<Writer<D::File>>,
    /// Its name is on the disk: that of a file which a start goes on writing may not be, where the process
    /// before it died in between.
    is_named: bool,
    /// What gives that one its name, and its number.
    publishing: Option<(Ticket, u64)>,
    /// The snapshot that is being written, and how much had been written in all at its last slice.
    snapshot: Option<Snapshot<D::File>>,
    sliced_bytes: u64,
    slice_bytes: u64,
    /// A snapshot is due at once, but not before this.
    is_snapshot_wanted: bool,
    retry_at: Instant,
    /// When a client was erased first since the last snapshot began, and before when there is none for that.
    erased_at: Option<Instant>,
    rests_until: Instant,
    /// The number of the file that a start would read, what removes those before it, and when that is to be
    /// tried again, where it has failed: they may have what was erased.
    current: u64,
    cleaning: Option<Ticket>,
    clean_at: Option<Instant>,
    syncs: Syncs,
    /// The number of the last file that was begun.
    sequence: u64,
    /// Files that could not be read to their ends: kept when another replaces them.
    unread: Vec<u64>,
    /// A restart would not know everything.
    is_degraded: bool,
    /// The operator was told that there can be no snapshot.
    is_failure_said: bool,
    notices: VecDeque<String>,
    tickets: u64,
    counters: Counters,
}

/// What is to be done by the disk.
type Job<F> = Vec<Step<F>>;

impl<D: Disk> Journal<D> {
    // ---- a start

    /// Opens the journal, begun anew if there is none, gives `node` what it holds, and begins an
    /// incarnation of the node. `progress` is told now and then how many bytes have been read of how
    /// many.
    ///
    /// A disk that is full is no error: then the state is [`State::Degraded`].
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn open(
        mut disk: D,
        options: Options,
        node: &mut Node,
        now: Now,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<(Journal<D>, Recovered), OpenError> {
        let mut recovery = node.recovery(now);
        let (server, incarnation) = (recovery.name.clone(), recovery.incarnation);
        let mut notices = VecDeque::new();
        let (files, sequence) = recovery::survey(&mut disk, &server, &mut notices)?;
        let recovered = recovery::recover(&mut disk, &files, &mut recovery, now, &mut progress);
        let (is_sure, mut unread) = (recovered.is_ok(), Vec::new());
        let position = recovered.unwrap_or_else(|why| {
            unread = recovery::salvage(&mut disk, &files, &mut recovery);
            let known = recovery.locations();
            notices.push_back(recovery::doubt_text(&disk, &why, known, &unread));
            None
        });
        notices.extend(position.as_ref().and_then(|found| found.torn_text(&disk)));
        let locations = recovery.locations();
        let end = recovery.begin();
        let mut journal = Journal {
            disk,
            server,
            now,
            latest: now.wall,
            batch: Batch::new(end),
            end,
            files: Vec::new(),
            is_named: true,
            publishing: None,
            snapshot: None,
            sliced_bytes: 0,
            slice_bytes: SLICE_BYTES,
            is_snapshot_wanted: false,
            retry_at: now.mono,
            erased_at: None,
            rests_until: now.mono,
            current: 0,
            cleaning: None,
            clean_at: None,
            syncs: Syncs::new(options.fsync, now),
            sequence,
            unread,
            is_degraded: false,
            is_failure_said: false,
            notices,
            tickets: 0,
            counters: Counters::default(),
        };
        let begun = match position {
            Some(position) => journal.go_on(position, incarnation, node),
            None => journal.begin_file(node),
        };
        match begun {
            Ok(()) => {}
            Err(error) if is_full(&error) || options.may_fail => journal.fail(&error),
            Err(error) => return Err(OpenError::Io(error)),
        }
        let recovered = Recovered {
            locations,
            is_sure,
            is_new: files.is_empty(),
        };
        Ok((journal, recovered))
    }

    /// Goes on with the file that was read.
    fn go_on(&mut self, position: Position, own: Incarnation, node: &Node) -> io::Result<()> {
        let name = name(position.sequence);
        self.files.push(Writer {
            file: self.disk.reopen(&name, position.bytes)?,
            chain: position.chain,
            bytes: position.bytes,
            snapshot_bytes: position.snapshot_bytes,
        });
        self.is_named = false;
        self.clean_before(position.sequence);
        if position.speaks_anew() {
            for (neighbour, known, _) in node.neighbours_known() {
                self.known(neighbour, known);
            }
        }
        let numbers = began_numbers(own, self.end, node);
        self.add(BEGAN, numbers, began_text().as_bytes());
        if position.has_erased {
            self.note_erased();
        }
        self.commit();
        Ok(())
    }

    /// Begins a file, and waits until it is on the disk.
    fn begin_file(&mut self, node: &Node) -> io::Result<()> {
        loop {
            if let Some((sequence, job)) = self.write_slice(node)? {
                self.disk.run(job)?;
                self.handle_published(sequence);
                return Ok(());
            }
        }
    }

    // ---- a turn

    /// Says when all is that is told from here on: once in each turn, before anything else of it.
    pub fn set_now(&mut self, now: Now) {
        self.now = now;
        self.latest = self.latest.max(now.wall);
    }

    /// Notes that the node has accepted a change: each, as it happens, with its number in the feed.
    pub fn change(&mut self, number: u64, line: &[u8]) {
        debug_assert_eq!(number, self.end + 1, "a change was not told");
        self.end = number;
        self.add(CHANGE, [], line);
        if is_erased(line) {
            self.note_erased();
        }
    }

    /// The present file, and the snapshot that is being written, may tell what a client was erased of.
    fn note_erased(&mut self) {
        self.erased_at.get_or_insert(self.now.mono);
        // A program of its version would take a tombstone for a location.
        let is_older = |snapshot: &Snapshot<_>| snapshot.version < VERSION;
        if self.snapshot.as_ref().is_some_and(is_older) {
            self.begin_anew();
        }
    }

    /// When a snapshot is due since a client was erased.
    fn erased_due(&self) -> Option<Instant> {
        let due = self.erased_at? + ERASED_WAIT;
        Some(due.max(self.rests_until))
    }

    /// Notes what is known of a neighbour's feed, each time that it changes.
    pub fn known(&mut self, neighbour: &ServerName, known: Option<Mark>) {
        self.add(KNOWN, known_numbers(known), neighbour.as_bytes());
    }

    /// Notes that a neighbour is sent this mark, before it leaves.
    pub fn marked(&mut self, neighbour: &ServerName, number: u64) {
        self.add(MARKED, [number], neighbour.as_bytes());
    }

    #[inline]
    fn add<const N: usize>(&mut self, kind: u8, numbers: [u64; N], text: &[u8]) {
        self.batch.add(kind, numbers, text);
        if self.batch.is_full() {
            self.write(self.now.wall);
        }
    }

    /// Hands what the turn has brought to the kernel. Then replies may leave, unless
    /// [`Journal::holds_replies`] says otherwise.
    pub fn commit(&mut self) {
        if !self.batch.is_empty() {
            self.write(self.now.wall);
        }
        self.syncs.end_turn();
        if self.syncs.timeout().is_some_and(|at| at <= self.now.mono) {
            let job = self.sync();
            let ticket = self.begin(job);
            self.syncs.handle_begun(ticket, self.now);
            self.counters.syncs += 1;
        }
    }

    /// Whether, until the next commit, no client's reply may leave and no client may be read: what they
    /// were told is on its way to the disk. Links go on.
    pub fn holds_replies(&self) -> bool {
        self.syncs.holds_replies()
    }

    /// Writes what was told. Where no file is written it is dropped: a new snapshot will have it.
    fn write(&mut self, time: Timestamp) {
        let (disk, batch) = (&mut self.disk, &mut self.batch);
        let mut files = self.files.iter_mut();
        let outcome = files.try_for_each(|file| {
            self.counters.bytes += file.append(disk, batch, time)?;
            Ok(())
        });
        self.batch.clear(self.end);
        self.syncs.written += u64::from(!self.files.is_empty());
        if let Err(error) = outcome {
            self.fail(&error);
        }
    }

    fn sync(&self) -> Job<D::File> {
        let files = self.files.iter();
        let names = (!self.is_named).then_some(Step::SyncNames);
        let files = files.map(|file| Step::Sync(file.file.clone()));
        files.chain(names).collect()
    }

    /// The disk has failed: nothing more is written before a new snapshot is complete.
    fn fail(&mut self, error: &io::Error) {
        self.files.clear();
        self.publishing = None;
        self.syncs.give_up();
        self.begin_anew();
        self.retry_at = self.now.after(RETRY);
        if !std::mem::replace(&mut self.is_degraded, true) {
            let (folder, why) = (self.disk.path(""), cause::of(error));
            self.notices.push_back(format!(
                "Cannot write {folder}: {why}. Still serving; new reports are only in memory until it can be \
                 written, which is tried each second. Make room, or see to the disk."
            ));
        }
    }

    fn begin(&mut self, job: Job<D::File>) -> Ticket {
        self.tickets += 1;
        self.disk.begin(job, Ticket(self.tickets));
        Ticket(self.tickets)
    }

    /// Takes in what has come of a job of the disk's.
    pub fn handle_done(&mut self, ticket: Ticket, outcome: io::Result<()>) {
        let is_sync = self.syncs.handle_done(ticket);
        let published = self.publishing.take_if(|(ours, _)| *ours == ticket);
        let is_cleaning = self.cleaning.take_if(|ours| *ours == ticket).is_some();
        match (outcome, published) {
            (Ok(()), Some((_, sequence))) => self.handle_published(sequence),
            // After a sync that failed nobody knows what is on the disk, and the next may succeed all the
            // same (Rebello et al., "Can Applications Recover from fsync Failures?", 2020). And a new file
            // may have its name or not.
            (Err(error), Some(_)) => self.fail(&error),
            (Err(error), None) if is_sync => self.fail(&error),
            (Ok(()), None) if is_sync => self.is_named = true,
            (Err(_), None) if is_cleaning => self.clean_at = Some(self.now.after(RETRY)),
            (Ok(()), None) if is_cleaning && self.clean_at.is_none() => self.unread.clear(),
            (_, None) => {}
        }
    }

    // ---- snapshots

    /// Notes, at the beginning of a turn, that the clock was set back so far that what had expired may be news again.
    /// It is gone from the table, and the file has it: a start is in doubt until there is a new snapshot.
    pub fn handle_set_back(&mut self) {
        let latest = std::mem::replace(&mut self.latest, self.now.wall);
        self.write(latest);
        self.begin_anew();
    }

    /// Has a snapshot begun at once.
    pub fn begin_anew(&mut self) {
        self.is_snapshot_wanted = true;
        self.snapshot = None;
        self.clean(0);
    }

    /// Lets a slice of a snapshot have so many bytes: for tests, whose tables are small.
    pub fn set_slice(&mut self, bytes: u64) {
        self.slice_bytes = bytes;
    }

    fn may_begin_snapshot(&self) -> bool {
        let is_long = self.files.iter().any(|file| {
            file.bytes - file.snapshot_bytes > CHANGES_BYTES_MAX.max(file.snapshot_bytes)
        });
        let is_erased_due = self.erased_due().is_some_and(|at| at <= self.now.mono);
        let is_due = self.is_snapshot_wanted || is_long || is_erased_due;
        is_due && self.publishing.is_none() && self.retry_at <= self.now.mono
    }

    /// Does a slice of what there is to do beside the turns, after the commit.
    pub fn work(&mut self, node: &Node) {
        let may_clean = self.snapshot.is_none() && self.publishing.is_none();
        if may_clean && self.clean_at.is_some_and(|at| at <= self.now.mono) {
            self.clean_before(self.current);
        }
        if self.snapshot.is_none() && !self.may_begin_snapshot() {
            return;
        }
        let begun = self
            .snapshot
            .as_ref()
            .map_or(self.now, |snapshot| snapshot.begun);
        match self.write_slice(node) {
            Ok(None) => {}
            Ok(Some((sequence, job))) => self.publishing = Some((self.begin(job), sequence)),
            Err(error) => self.give_up_snapshot(&error, begun),
        }
    }

    fn give_up_snapshot(&mut self, error: &io::Error, begun: Now) {
        self.begin_anew();
        let took = self.now.mono.saturating_duration_since(begun.mono);
        self.retry_at = self.now.after(RETRY.max(RETRY_SHARE * took));
        if !self.is_degraded && !std::mem::replace(&mut self.is_failure_said, true) {
            let (folder, why) = (self.disk.path(""), cause::of(error));
            self.notices.push_back(format!(
                "Cannot write a snapshot to {folder}: {why}. The journal goes on, and grows, until there can be \
                 one, which is tried again and again. Make room, or see to the disk."
            ));
        }
    }

    /// Begins a snapshot or goes on with it. Once it is complete, gives the number of its file and what
    /// is to be done for a start to read that one.
    fn write_slice(&mut self, node: &Node) -> io::Result<Option<(u64, Job<D::File>)>> {
        debug_assert!(self.batch.is_empty(), "work comes after the commit");
        let (disk, now, bytes) = (&mut self.disk, self.now, self.counters.bytes);
        let mut snapshot = match self.snapshot.take() {
            Some(snapshot) => snapshot,
            None => {
                (self.is_snapshot_wanted, self.erased_at) = (false, None);
                self.sequence += 1;
                self.sliced_bytes = bytes;
                Snapshot::begin(disk, &self.server, self.sequence, node, now)?
            }
        };
        let sliced_bytes = std::mem::replace(&mut self.sliced_bytes, bytes);
        let slice = (self.slice_bytes, bytes - sliced_bytes);
        if !snapshot.work(disk, node, slice, now.wall)? {
            self.snapshot = Some(snapshot);
            return Ok(None);
        }
        let job = snapshot.end(disk, node, now.wall)?;
        let took = now.mono.saturating_duration_since(snapshot.begun.mono);
        self.rests_until = now.after(REST_MAX.min(REST_SHARE * took));
        self.files.push(snapshot.out);
        Ok(Some((snapshot.sequence, job)))
    }

    /// A new file has its name: what is older is not needed any longer.
    fn handle_published(&mut self, sequence: u64) {
        self.files = self.files.pop().into_iter().collect();
        let bytes = self.files.iter().map(|file| file.snapshot_bytes);
        self.counters.bytes += bytes.sum::<u64>();
        self.counters.snapshots += 1;
        self.clean_before(sequence);
        self.is_failure_said = false;
        if std::mem::take(&mut self.is_degraded) {
            let folder = self.disk.path("");
            self.notices.push_back(format!(
                "{folder} is written again, and has all that is known."
            ));
        }
    }

    /// Begins to remove what the file of this number replaces, and what has not become one. What was not
    /// read is kept, in the place of what was kept before. No snapshot is being written; one that waits for
    /// its name has it before it could be removed.
    fn clean(&mut self, sequence: u64) -> Ticket {
        let mut job = Vec::new();
        let names = self.disk.list().unwrap_or_else(|_| {
            self.clean_at = Some(self.now.after(RETRY));
            Vec::new()
        });
        for text in names {
            let Some((number, ending)) = parse_name(&text) else {
                continue;
            };
            let is_old = number < sequence;
            let is_kept = is_old && self.unread.contains(&number);
            if is_kept && ending.is_empty() {
                let kept = format!("{text}{QUARANTINED}");
                job.push(Step::Rename(text, kept));
            } else if ending == NEW
                || is_old && !is_kept && (ending.is_empty() || !self.unread.is_empty())
            {
                job.push(Step::Remove(text));
            }
        }
        self.begin(job)
    }

    /// The same of the file that a start would read from now on.
    fn clean_before(&mut self, sequence: u64) {
        (self.current, self.clean_at) = (sequence, None);
        self.cleaning = Some(self.clean(sequence));
    }

    // ---- what others want to know

    /// Whether there is something to do at once: to commit, to tell, or [`Journal::work`].
    pub fn is_busy(&self) -> bool {
        let works = self.snapshot.is_some() || self.may_begin_snapshot();
        works || !self.batch.is_empty() || !self.notices.is_empty()
    }

    /// When [`Journal::commit`] and [`Journal::work`] should be called next though nothing happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waits = self.snapshot.is_none() && self.publishing.is_none();
        let wanted = self.is_snapshot_wanted.then_some(self.retry_at);
        let erased = self.erased_due().map(|at| at.max(self.retry_at));
        let beside = wanted.or(erased).into_iter().chain(self.clean_at);
        let beside = beside.min().filter(|_| waits);
        self.syncs.timeout().into_iter().chain(beside).min()
    }

    /// What the operator should be told next.
    pub fn poll_notice(&mut self) -> Option<String> {
        self.notices.pop_front()
    }

    /// Whether a restart would know what is known now.
    pub fn state(&self) -> State {
        match self.is_degraded {
            true => State::Degraded,
            false => State::Ok,
        }
    }

    /// What has been done so far.
    pub fn counters(&self) -> Counters {
        let batches = self.syncs.written;
        Counters {
            batches,
            ..self.counters
        }
    }

    /// Whether what was written is on its way to the disk, and it is not known yet whether it comes there.
    pub fn is_syncing(&self) -> bool {
        self.syncs.is_under_way()
    }

    /// Commits, and waits for the disk if anything is synced: the server ends. What could not be written is
    /// lost, as the state says then.
    pub fn close(&mut self) -> State {
        self.commit();
        if self.syncs.syncs_at_all() {
            let job = self.sync();
            if let Err(error) = self.disk.run(job) {
                self.fail(&error);
            }
        }
        self.state()
    }
}
