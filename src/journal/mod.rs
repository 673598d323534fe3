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
//!   *.quarantined         a file that could not be read to its end, for the operator
//!   lock                  locked by the process that writes here
//! ```
//!
//! A segment is begun at each start and with each snapshot, and never opened again to be written. A
//! batch names the one before it by its checksum, across segments, so a start sees whether anything is
//! missing; `recovery` has the one rule. Whatever fails has one remedy: a new snapshot, and a new
//! segment after it, tried each second.

pub mod disk;
pub mod files;

mod format;
mod reader;
mod recovery;
mod report;
mod snapshot;
mod syncs;
mod writer;

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use self::disk::{Disk, OpenError, Step, Ticket, is_full};
use self::format::{BEGAN, Batch, FileName, KNOWN, Kind, MARKED};
pub use self::report::{Counters, Notice, Recovered, State};
use self::snapshot::{NEW, Snapshot, known_numbers};
pub use self::syncs::Fsync;
use self::syncs::Syncs;
use self::writer::{Owner, Writer};
use crate::node::Node;
use crate::node::protocol::Mark;
use crate::time::Now;
use crate::topology::ServerName;

/// A snapshot is due when the segments since the last are longer than so many bytes, and than it.
const SEGMENTS_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What a segment counts for beside its length: each start begins one, and there must not be too many.
const SEGMENT_BYTES: u64 = SEGMENTS_BYTES_MAX / 32;

/// What has failed is tried again after this long, ...
const RETRY: Duration = Duration::from_secs(1);

/// ... or after so many times as long as the snapshot took that failed, if that is more: one that fills
/// the disk each time must not keep it busy.
const RETRY_SHARE: u32 = 4;

/// The ending of a file that could not be read to its end.
const QUARANTINED: &str = ".quarantined";

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
    owner: Owner,
    /// When the present turn is.
    now: Now,
    segment: Writer<D::File>,
    syncs: Syncs<D::File>,
    /// The number of the last file that was begun.
    sequence: u64,
    /// The snapshot that is being written.
    snapshot: Option<Snapshot<D::File>>,
    /// The one that gets its name once it is on the disk.
    publishing: Option<(Ticket, Snapshot<D::File>)>,
    /// One is due when so many bytes were written to segments.
    snapshot_at: u64,
    /// One is due at once, but not before this.
    is_snapshot_wanted: bool,
    retry_at: Instant,
    /// Files that could not be read to their ends: kept when a snapshot replaces them.
    unread: Vec<FileName>,
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
        let after = node.forgets_after().unwrap_or_default();
        let mut recovery = node.recovery(now);
        let (server, incarnation) = (recovery.name.clone(), recovery.incarnation);
        let (files, sequence) = recovery::survey(&mut disk, &server)?;
        let recovered = recovery::recover(&mut disk, &files, &mut recovery, now, &mut progress);
        let (is_sure, mut unread, mut notices) = (recovered.is_ok(), Vec::new(), VecDeque::new());
        let position = recovered.unwrap_or_else(|why| {
            unread = recovery::salvage(&mut disk, &files, &mut recovery, &mut progress);
            let path = |name| disk.path(&format!("{name}{QUARANTINED}"));
            notices.push_back(Notice::Doubt {
                why,
                locations: recovery.locations(),
                quarantined: unread.iter().map(path).collect(),
            });
            recovery::Position::default()
        });
        let (locations, is_new) = (recovery.locations(), files.is_empty());
        let end = recovery.begin();
        let id = position.id.unwrap_or(incarnation.0);
        let in_use = recovery::in_use(&files);
        let snapshot = in_use
            .first()
            .filter(|file| is_sure && file.name.kind == Kind::Snapshot);
        let segments = in_use.iter().filter(|file| file.name.kind == Kind::Segment);
        let mut journal = Journal {
            disk,
            owner: Owner { server, id },
            now,
            segment: Writer::new(position.chain, end),
            syncs: Syncs::new(options.fsync, now),
            sequence,
            snapshot: None,
            publishing: None,
            snapshot_at: SEGMENTS_BYTES_MAX.max(snapshot.map_or(0, |file| file.bytes)),
            is_snapshot_wanted: !is_sure,
            retry_at: now.mono,
            unread,
            is_degraded: false,
            is_failure_said: false,
            notices,
            tickets: 0,
            counters: Counters::default(),
        };
        let segments_bytes = segments.map(|file| file.bytes + SEGMENT_BYTES).sum();
        journal.snapshot_at = journal.snapshot_at.saturating_sub(segments_bytes);
        // What was written last and read now may not be on the disk, whatever is acknowledged from here on.
        for file in in_use.iter().filter(|_| options.fsync != Fsync::Never) {
            let file = journal.disk.open(&file.name.to_string()).ok();
            journal.syncs.handle_replaced(file.map(|(file, _)| file));
        }
        let begun = journal.begin_segment(sequence + 1, |head| {
            let numbers = [
                incarnation.0,
                end,
                after.as_secs(),
                after.subsec_nanos().into(),
            ];
            head.add(BEGAN, numbers, &[]);
        });
        match begun {
            Ok(()) => journal.sync_if_due(),
            Err(error) if is_full(&error) || options.may_fail => journal.fail(&error),
            Err(error) => return Err(OpenError::Io(error)),
        }
        journal.clean(snapshot.map_or(0, |file| file.name.sequence));
        let recovered = Recovered {
            locations,
            is_sure,
            is_new,
        };
        Ok((journal, recovered))
    }

    // ---- a turn

    /// Says when all is that is told from here on: once in each turn, before anything else of it.
    pub fn set_now(&mut self, now: Now) {
        self.now = now;
    }

    /// Notes that the node has accepted a change: each, as it happens, with its number in the feed.
    pub fn change(&mut self, number: u64, line: &[u8]) {
        self.segment.change(number, line);
        self.write_if(self.segment.is_full());
    }

    /// Notes what is known of a neighbour's feed, each time that it changes.
    pub fn known(&mut self, neighbour: &ServerName, known: Option<Mark>) {
        self.segment
            .add(KNOWN, known_numbers(known), neighbour.as_bytes());
        self.write_if(self.segment.is_full());
    }

    /// Notes that a neighbour is sent this mark, before it leaves.
    pub fn marked(&mut self, neighbour: &ServerName, number: u64) {
        self.segment.add(MARKED, [number], neighbour.as_bytes());
        self.write_if(self.segment.is_full());
    }

    /// Hands what the turn has brought to the kernel. Then replies may leave, unless
    /// [`Journal::holds_replies`] says otherwise.
    pub fn commit(&mut self) {
        self.write_if(self.segment.is_waiting());
        self.syncs.end_turn();
        self.sync_if_due();
    }

    /// Whether, until the next commit, no client's reply may leave and no client may be read: what they
    /// were told is on its way to the disk. Links go on.
    pub fn holds_replies(&self) -> bool {
        self.syncs.holds_replies()
    }

    fn write_if(&mut self, is_due: bool) {
        if is_due {
            match self.segment.write(&mut self.disk, self.now.wall) {
                Ok(()) => self.syncs.written += 1,
                Err(error) => self.fail(&error),
            }
        }
    }

    fn begin_segment(&mut self, sequence: u64, fill: impl FnOnce(&mut Batch)) -> io::Result<()> {
        self.sequence = sequence;
        let kind = Kind::Segment;
        let name = (FileName { sequence, kind }, "");
        let before =
            self.segment
                .begin(&mut self.disk, &self.owner, name, 0, self.now.wall, fill)?;
        self.snapshot_at = self.snapshot_at.saturating_sub(SEGMENT_BYTES);
        self.syncs.written += 1;
        self.syncs.handle_replaced(before);
        Ok(())
    }

    /// The disk has failed: what the turn has brought is dropped, and nothing more is written before a
    /// new snapshot is complete.
    fn fail(&mut self, error: &io::Error) {
        self.segment.break_off();
        self.syncs.give_up();
        self.begin_anew();
        self.retry_at = self.now.after(RETRY);
        if !std::mem::replace(&mut self.is_degraded, true) {
            let notice = Notice::Failing(self.disk.path(""), error.to_string());
            self.notices.push_back(notice);
        }
    }

    fn sync_if_due(&mut self) {
        if let Some(segment) = &self.segment.file
            && self.syncs.timeout().is_some_and(|at| at <= self.now.mono)
        {
            let job = self.syncs.job(segment);
            let ticket = self.begin(job);
            self.syncs.handle_begun(ticket, self.now);
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
                Err(error) => self.give_up_snapshot(&error, snapshot.begun.mono),
            }
        }
    }

    // ---- snapshots

    /// Notes that what a start would make of the journal is not right any longer, as after the clock was
    /// set back: a snapshot is due at once, and with that it is.
    pub fn begin_anew(&mut self) {
        self.is_snapshot_wanted = true;
        if self.snapshot.take().is_some() {
            self.clean(0);
        }
    }

    fn may_begin_snapshot(&self) -> bool {
        let is_due = self.is_snapshot_wanted || self.segment.bytes > self.snapshot_at;
        is_due && self.publishing.is_none() && self.retry_at <= self.now.mono
    }

    /// Does a slice of what there is to do beside the turns, after the commit.
    pub fn work(&mut self, node: &Node) {
        let begun = self
            .snapshot
            .as_ref()
            .map_or(self.now.mono, |snapshot| snapshot.begun.mono);
        if (self.snapshot.is_some() || self.may_begin_snapshot())
            && let Err(error) = self.work_on_snapshot(node)
        {
            self.give_up_snapshot(&error, begun);
        }
    }

    fn work_on_snapshot(&mut self, node: &Node) -> io::Result<()> {
        let (disk, bytes, now) = (&mut self.disk, self.segment.bytes, self.now);
        let mut snapshot = match self.snapshot.take() {
            Some(snapshot) => snapshot,
            None => {
                self.is_snapshot_wanted = false;
                self.sequence += 1;
                let (sequence, kind) = (self.sequence, Kind::Snapshot);
                Snapshot::begin(
                    disk,
                    &self.owner,
                    FileName { sequence, kind },
                    node,
                    bytes,
                    now,
                )?
            }
        };
        if !snapshot.work(disk, node, bytes, now.wall)? {
            self.snapshot = Some(snapshot);
            return Ok(());
        }
        // All that is known is in the snapshot, so a segment begins that follows it.
        debug_assert!(!self.segment.is_waiting(), "work comes after the commit");
        let job = snapshot.end(disk, node, self.segment.chain, now.wall)?;
        self.snapshot_at = bytes + SEGMENTS_BYTES_MAX.max(snapshot.bytes());
        let begun = self.begin_segment(snapshot.name.sequence, |_| {});
        begun.inspect_err(|error| self.fail(error))?;
        self.publishing = Some((self.begin(job), snapshot));
        Ok(())
    }

    /// A snapshot has its name: what is older is not needed any longer.
    fn handle_published(&mut self, snapshot: &Snapshot<D::File>) {
        self.counters.snapshots += 1;
        self.counters.bytes += snapshot.bytes();
        self.clean(snapshot.name.sequence);
        self.unread.clear();
        self.is_failure_said = false;
        if self.segment.file.is_some() && std::mem::take(&mut self.is_degraded) {
            let notice = Notice::Restored(self.disk.path(""), snapshot.locations);
            self.notices.push_back(notice);
        }
    }

    fn give_up_snapshot(&mut self, error: &io::Error, begun: Instant) {
        self.snapshot = None;
        self.clean(0);
        self.is_snapshot_wanted = true;
        let took = self.now.mono.saturating_duration_since(begun);
        self.retry_at = self.now.after(RETRY.max(RETRY_SHARE * took));
        if !self.is_degraded && !std::mem::replace(&mut self.is_failure_said, true) {
            let notice = Notice::NoSnapshot(self.disk.path(""), error.to_string());
            self.notices.push_back(notice);
        }
    }

    /// Begins to remove what a snapshot of this number replaces, and what has not become one. What was
    /// not read is kept instead of what was kept before. No snapshot is being written.
    fn clean(&mut self, sequence: u64) {
        let mut job = Vec::new();
        for text in self.disk.list().unwrap_or_default() {
            let Some((name, ending)) = FileName::parse(&text) else {
                continue;
            };
            let is_old = name.sequence < sequence;
            if self.unread.contains(&name) && is_old && ending.is_empty() {
                let to = format!("{text}{QUARANTINED}");
                job.push(Step::Rename(text, to));
            } else if ending == NEW || is_old && (ending.is_empty() || !self.unread.is_empty()) {
                job.push(Step::Remove(text));
            }
        }
        self.begin(job);
    }

    // ---- what others want to know

    /// Whether there is something to do at once: to commit, to tell, or [`Journal::work`].
    pub fn is_busy(&self) -> bool {
        let works = self.snapshot.is_some() || self.may_begin_snapshot();
        works || self.segment.is_waiting() || !self.notices.is_empty()
    }

    /// When [`Journal::commit`] and [`Journal::work`] should be called next though nothing happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let is_written = self.segment.file.is_some();
        let sync = self.syncs.timeout().filter(|_| is_written);
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
        Counters {
            batches: self.syncs.written,
            bytes: self.segment.bytes + self.counters.bytes,
            ..self.counters
        }
    }

    /// Commits, and waits for the disk if that is wished: the server ends. What could not be written is
    /// lost, as the state says then.
    pub fn close(&mut self) -> State {
        self.commit();
        if let Some(segment) = &self.segment.file
            && self.syncs.is_wished()
            && let Err(error) = self.disk.run(self.syncs.job(segment))
        {
            self.fail(&error);
        }
        self.state()
    }
}
