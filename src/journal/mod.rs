//! The journal: the memory of a server, on its disk.
//!
//! `Driver` tells it what the node accepts, as it happens, and when to commit; the simulation does
//! both. In each turn what was told is gathered here and handed to the kernel in one write, before the
//! replies that acknowledge it may leave: then `kill -9` loses nothing that was acknowledged.
//!
//! ```text
//!   journal-<sequence>    a segment: batches, in the order of the turns
//!   snapshot-<sequence>   all that was known where the segment of the same number begins
//!   *.new                 a snapshot that is being written
//!   *.quarantined         a file that could not be read to its end
//!   lock                  locked by the process that writes here
//! ```
//!
//! A segment is begun at each start and with each snapshot, and never opened again to be written. A
//! batch names the one before it by its checksum, across segments, so a start sees whether anything is
//! missing; `recovery` has the one rule. Whatever fails has one remedy: a new snapshot, and a new
//! segment after it, tried each second.

pub mod disk;
pub mod files;

mod folder;
mod format;
mod reader;
mod recovery;
mod report;
mod segment;
mod snapshot;
mod syncs;

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use self::disk::{Disk, OpenError, Step, Ticket, is_full};
use self::folder::Folder;
use self::format::{BEGAN, Batch, FileName, KNOWN, Kind, MARKED};
use self::recovery::Position;
pub use self::report::{Counters, Notice, Recovered, State};
use self::segment::Writer;
use self::snapshot::{NEW, Snapshot, known_numbers};
pub use self::syncs::Fsync;
use self::syncs::Syncs;
use crate::node::Node;
use crate::node::protocol::Mark;
use crate::time::Now;
use crate::topology::ServerName;

/// A snapshot is due when the segments since the last are longer than so many bytes, and than it.
const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A snapshot is due when there are more segments than this: each start begins one.
const SEGMENTS_MAX: usize = 32;

/// What has failed is tried again after this long, ...
const RETRY: Duration = Duration::from_secs(1);

/// ... or after so many times as long as the snapshot took that failed, if that is more: one that fills
/// the disk each time must not keep it busy.
const RETRY_SHARE: u32 = 4;

/// How a journal is to be kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// When what was written is made to survive a power failure.
    pub fsync: Fsync,
    /// That it cannot be written at the start is no reason not to serve, whatever the cause.
    pub may_fail: bool,
}

/// One server's journal.
///
/// In each turn: [`Journal::set_now`], then what happens ([`Journal::change`] and its like), then
/// [`Journal::commit`], then replies leave, then [`Journal::work`].
#[derive(Debug)]
pub struct Journal<D: Disk> {
    disk: D,
    /// When the present turn is.
    now: Now,
    writer: Writer<D::File>,
    syncs: Syncs<D::File>,
    folder: Folder,
    /// The number of the last file that was begun.
    sequence: u64,
    /// The snapshot that is being written, and how much was told before its last slice.
    snapshot: Option<Snapshot<D::File>>,
    sliced_bytes: u64,
    /// The one that gets its name once it is on the disk.
    publishing: Option<(Ticket, Snapshot<D::File>)>,
    /// How long the last one is.
    snapshot_bytes: u64,
    /// One is due at once, but not before this.
    is_snapshot_wanted: bool,
    retry_at: Instant,
    /// A restart would not know everything.
    is_degraded: bool,
    /// The operator was told that there can be no snapshot.
    is_failure_said: bool,
    notices: VecDeque<Notice>,
    tickets: u64,
    counters: Counters,
}

impl<D: Disk> Journal<D> {
    // ---- a start

    /// Opens the journal, begun anew if there is none, gives `node` what it holds, and begins an
    /// incarnation of the node. `progress` is told now and then how many bytes have been read of how
    /// many.
    ///
    /// A disk that is full is no error: then the state is [`State::Degraded`].
    ///
    /// # Errors
    /// The folder cannot be used. Nothing was touched.
    pub fn open(
        mut disk: D,
        options: Options,
        node: &mut Node,
        now: Now,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<(Journal<D>, Recovered), OpenError> {
        let forgets_after = node.forgets_after();
        let mut recovery = node.recovery(now);
        let (server, incarnation) = (recovery.name.clone(), recovery.incarnation);
        let files = recovery::survey(&mut disk, &server)?;
        let recovered = recovery::recover(&mut disk, &files, &mut recovery, now, &mut progress);
        let (is_sure, mut damaged, mut notices) = (recovered.is_ok(), Vec::new(), VecDeque::new());
        let position = recovered.unwrap_or_else(|why| {
            damaged = recovery::salvage(&mut disk, &files, &mut recovery, &mut progress);
            let locations = recovery.len();
            notices.push_back(Notice::Doubt { why, locations });
            Position::at_birth()
        });
        let recovered = Recovered {
            locations: recovery.len(),
            is_sure,
            is_new: files.is_empty(),
        };
        let end = recovery.begin();
        let id = position.id.unwrap_or(incarnation.0);
        let mut writer = Writer::new(server, id, position.chain, end);
        (writer.segments, writer.segment_bytes) = (position.segments, position.segment_bytes);
        let mut journal = Journal {
            disk,
            now,
            writer,
            syncs: Syncs::new(options.fsync, now),
            folder: Folder::new(&files, damaged),
            sequence: files.last().map_or(0, |file| file.name.sequence),
            snapshot: None,
            sliced_bytes: 0,
            publishing: None,
            snapshot_bytes: position.snapshot_bytes,
            is_snapshot_wanted: !is_sure,
            retry_at: now.mono,
            is_degraded: false,
            is_failure_said: false,
            notices,
            tickets: 0,
            counters: Counters::default(),
        };
        let begun = journal.begin_segment(journal.sequence + 1, |head| {
            let after = forgets_after.unwrap_or_default();
            let after = [after.as_secs(), after.subsec_nanos().into()];
            head.add(BEGAN, [incarnation.0, end, after[0], after[1]], &[]);
        });
        // What was written last and read now may not be on the disk, whatever is acknowledged from here on.
        for file in files
            .iter()
            .filter(|file| file.ending.is_empty() && options.fsync != Fsync::Never)
        {
            let file = journal.disk.open(&file.text()).ok();
            journal.syncs.handle_segment(file.map(|(file, _)| file));
        }
        match begun {
            Ok(()) => journal.sync_if_due(),
            Err(error) if is_full(&error) || options.may_fail => journal.fail(&error),
            Err(error) => return Err(OpenError::Io(error)),
        }
        let unfinished = files.iter().filter(|file| file.ending == NEW);
        let mut leftovers: Vec<_> = unfinished.map(|file| Step::Remove(file.text())).collect();
        if position.snapshot > 0 {
            leftovers.extend(journal.folder.replace_before(position.snapshot).0);
        }
        journal.begin(leftovers);
        Ok((journal, recovered))
    }

    // ---- a turn

    /// Says when all is that is told from here on: once in each turn, before anything else of it.
    pub fn set_now(&mut self, now: Now) {
        self.now = now;
    }

    /// Notes that the node has accepted a change: each, as it happens, with its number in the feed.
    pub fn change(&mut self, number: u64, line: &[u8]) {
        self.writer.change(number, line);
        self.write_if_full();
    }

    /// Notes what is known of a neighbour's feed, each time that it changes.
    pub fn known(&mut self, neighbour: &ServerName, known: Option<Mark>) {
        self.writer
            .add(KNOWN, known_numbers(known), neighbour.as_bytes());
        self.write_if_full();
    }

    /// Notes that a neighbour is sent this mark, before it leaves.
    pub fn marked(&mut self, neighbour: &ServerName, number: u64) {
        self.writer.add(MARKED, [number], neighbour.as_bytes());
        self.write_if_full();
    }

    fn write_if_full(&mut self) {
        if self.writer.is_full() {
            self.write();
        }
    }

    /// Hands what the turn has brought to the kernel. Then replies may leave, unless
    /// [`Journal::holds_replies`] says otherwise.
    pub fn commit(&mut self) {
        if self.writer.is_waiting() {
            self.write();
        }
        self.syncs.end_turn(self.writer.batches);
        self.sync_if_due();
    }

    /// Whether, until the next commit, no client's reply may leave and no client may be read: what they
    /// were told is on its way to the disk. Links go on.
    pub fn holds_replies(&self) -> bool {
        self.syncs.holds_replies()
    }

    fn write(&mut self) {
        if let Err(error) = self.writer.write(&mut self.disk, self.now.wall) {
            self.fail(&error);
        }
    }

    fn begin_segment(&mut self, sequence: u64, fill: impl FnOnce(&mut Batch)) -> io::Result<()> {
        let kind = Kind::Segment;
        self.sequence = sequence;
        self.folder.add(FileName { kind, sequence });
        let begun = self
            .writer
            .begin_segment(&mut self.disk, sequence, self.now.wall, fill)?;
        self.syncs.handle_segment(begun);
        Ok(())
    }

    /// The disk has failed: what the turn has brought is dropped, and nothing more is written before a
    /// new snapshot is complete.
    fn fail(&mut self, error: &io::Error) {
        self.writer.break_off();
        self.syncs.give_up(self.writer.batches);
        self.begin_anew();
        self.retry_at = self.now.after(RETRY);
        if !std::mem::replace(&mut self.is_degraded, true) {
            self.notices.push_back(Notice::Failing(error.to_string()));
        }
    }

    fn sync_if_due(&mut self) {
        let due_at = self.syncs.timeout(self.writer.batches);
        if let Some(segment) = &self.writer.file
            && due_at.is_some_and(|at| at <= self.now.mono)
        {
            let job = self.syncs.job(segment);
            let ticket = self.begin(job);
            self.syncs
                .handle_begun(ticket, self.writer.batches, self.now);
            self.counters.syncs += 1;
        }
    }

    fn begin(&mut self, job: Vec<Step<D::File>>) -> Ticket {
        self.tickets += 1;
        self.disk.begin(job, Ticket(self.tickets));
        Ticket(self.tickets)
    }

    /// Takes in what has come of a job of the disk's.
    pub fn handle_done(&mut self, ticket: Ticket, outcome: io::Result<()>) {
        if self.syncs.handle_done(ticket) {
            // After a sync that failed nobody knows what is on the disk, and the next may succeed all the
            // same (Rebello et al., "Can Applications Recover from fsync Failures?", 2020).
            if let Err(error) = outcome {
                self.fail(&error);
            }
        } else if let Some((_, snapshot)) = self.publishing.take_if(|(ours, _)| *ours == ticket) {
            match outcome {
                Ok(()) => self.handle_published(&snapshot),
                Err(error) => self.give_up_snapshot(&error, &snapshot),
            }
        }
    }

    // ---- snapshots

    /// Notes that what a start would make of the journal is not right any longer, as after the clock was
    /// set back: a snapshot is due at once, and with that it is.
    pub fn begin_anew(&mut self) {
        self.is_snapshot_wanted = true;
        if let Some(snapshot) = self.snapshot.take() {
            self.remove_new(&snapshot);
        }
    }

    fn may_begin_snapshot(&self) -> bool {
        let is_long = self.writer.segment_bytes > SEGMENT_BYTES_MAX.max(self.snapshot_bytes);
        let is_due = self.is_snapshot_wanted || is_long || self.writer.segments > SEGMENTS_MAX;
        is_due && self.publishing.is_none() && self.retry_at <= self.now.mono
    }

    /// Does a slice of what there is to do beside the turns, after the commit.
    pub fn work(&mut self, node: &Node) {
        let mut snapshot = match self.snapshot.take() {
            Some(snapshot) => snapshot,
            None if self.may_begin_snapshot() => {
                self.is_snapshot_wanted = false;
                self.sequence += 1;
                Snapshot::new(
                    &self.writer.server,
                    self.writer.id,
                    self.sequence,
                    node,
                    self.now,
                )
            }
            None => return,
        };
        let told_before = std::mem::replace(&mut self.sliced_bytes, self.writer.told_bytes);
        let told_bytes = self.writer.told_bytes - told_before;
        match snapshot.work(&mut self.disk, node, told_bytes, self.now.wall) {
            Ok(false) => self.snapshot = Some(snapshot),
            Ok(true) => self.end_snapshot(snapshot, node),
            Err(error) => self.give_up_snapshot(&error, &snapshot),
        }
    }

    /// All that is known is in the snapshot, so a segment begins that follows it.
    fn end_snapshot(&mut self, mut snapshot: Snapshot<D::File>, node: &Node) {
        debug_assert!(!self.writer.is_waiting(), "work comes after the commit");
        self.writer.end = node.table().end();
        let chain = self.writer.chain;
        let ended = snapshot.end(&mut self.disk, node, chain, self.now.wall);
        let begun = ended.and_then(|file| {
            self.begin_segment(snapshot.name.sequence, |_| {})?;
            Ok(file)
        });
        let name = snapshot.name.to_string();
        match begun {
            Ok(file) => {
                (self.writer.segments, self.writer.segment_bytes) = (1, 0);
                let rename = Step::Rename(format!("{name}{NEW}"), name);
                let ticket = self.begin(vec![Step::Sync(file), rename, Step::SyncNames]);
                self.publishing = Some((ticket, snapshot));
            }
            Err(error) => {
                let (kind, sequence) = (Kind::Segment, self.sequence);
                let segment = FileName { kind, sequence }.to_string();
                self.begin(vec![Step::Remove(segment)]); // nothing is written to it
                self.give_up_snapshot(&error, &snapshot);
            }
        }
    }

    /// A snapshot has its name: what is older is not needed any longer.
    fn handle_published(&mut self, snapshot: &Snapshot<D::File>) {
        self.snapshot_bytes = snapshot.bytes;
        self.counters.snapshots += 1;
        self.counters.bytes += snapshot.bytes;
        self.folder.add(snapshot.name);
        let (job, kept) = self.folder.replace_before(snapshot.name.sequence);
        self.begin(job);
        if !kept.is_empty() {
            self.notices.push_back(Notice::Quarantined(kept));
        }
        self.is_failure_said = false;
        if self.writer.file.is_some() && std::mem::take(&mut self.is_degraded) {
            self.notices.push_back(Notice::Restored(snapshot.locations));
        }
    }

    fn give_up_snapshot(&mut self, error: &io::Error, snapshot: &Snapshot<D::File>) {
        self.remove_new(snapshot);
        self.is_snapshot_wanted = true;
        let took = self.now.mono.saturating_duration_since(snapshot.begun.mono);
        self.retry_at = self.now.after(RETRY.max(RETRY_SHARE * took));
        if !self.is_degraded && !std::mem::replace(&mut self.is_failure_said, true) {
            self.notices
                .push_back(Notice::NoSnapshot(error.to_string()));
        }
    }

    fn remove_new(&mut self, snapshot: &Snapshot<D::File>) {
        let new = format!("{}{NEW}", snapshot.name);
        self.begin(vec![Step::Remove(new)]);
    }

    // ---- what others want to know

    /// Whether there is something to do at once: to commit, to tell, or [`Journal::work`].
    pub fn is_busy(&self) -> bool {
        let works = self.snapshot.is_some() || self.may_begin_snapshot();
        works || self.writer.is_waiting() || !self.notices.is_empty()
    }

    /// When [`Journal::commit`] and [`Journal::work`] should be called next though nothing happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let sync = self
            .writer
            .file
            .as_ref()
            .and_then(|_| self.syncs.timeout(self.writer.batches));
        let waits = self.is_snapshot_wanted && self.snapshot.is_none() && self.publishing.is_none();
        let retry = waits.then_some(self.retry_at);
        sync.into_iter().chain(retry).min()
    }

    /// What the operator should be told next.
    pub fn poll_notice(&mut self) -> Option<Notice> {
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
        let (batches, bytes) = (self.writer.batches, self.writer.bytes + self.counters.bytes);
        Counters {
            batches,
            bytes,
            ..self.counters
        }
    }

    /// Commits, and waits for the disk if that is wished: the server ends. What could not be written is
    /// lost, as the state says then.
    pub fn close(&mut self) -> State {
        self.commit();
        if let Some(segment) = &self.writer.file
            && self.syncs.is_wished()
            && let Err(error) = self.disk.run(self.syncs.job(segment))
        {
            self.fail(&error);
        }
        self.state()
    }
}
