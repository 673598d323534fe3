//! The log of a simulated server: the real one, over a simulated disk, and what the simulation
//! knows of it beside.
//!
//! Records are numbered in the order they were written. After a crash this says which are left, by
//! looking at the files: so it knows exactly what a restart must know. And it judges by itself what
//! may not be lost, whatever the log was doing: nothing to `kill -9`, and with `--fsync always`
//! nothing to a power failure.
//!
//! Behind a hole that a power failure left in a file records have no numbers any longer. What a
//! restart must know then it finds by reading the lines that are whole: those in which the file
//! system says no byte was lost, whatever they look like. So it does where a place in the file cannot
//! be read any longer, up to which a restart must know everything: from then on it must have another
//! log soon, and once it says so nothing may be lost again.
//!
//! A sync that nobody waits for takes as many turns as the dice say: where little happens, easily the
//! twenty seconds within which all must be in order once a herd is healed. So from then on it is done by
//! the next turn.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::DateTime;
use herd::log::disk::Disk as _;
use herd::log::record::{Direction, Label};
use herd::log::{Fsync, Log, Notice, Options};
use herd::node::protocol::Incarnation;
use herd::node::{Node, Seeds};
use herd::random::SplitMix64;
use herd::time::{Now, Timestamp};
use herd::topology::Topology;
use memchr::{memchr, memchr_iter};

use crate::files::{Ailment, Files, Inode};

/// Most checkpoints are about this long.
const CHECKPOINT_BYTES: usize = 1_000;

/// How a server ends that was not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// `kill -9`: what was committed stays. Of a commit under way any part may have been written.
    Killed,
    /// The power failed: the end of what was committed may be gone too.
    PowerLoss,
    /// The power failed, and then somebody made room by cutting off the log's beginning.
    PowerLossAndCut,
    /// The power failed, and since then a place in the log cannot be read.
    PowerLossAndSpoilt,
}

/// What a crash left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// All records up to this number, and no others.
    UpTo(u64),
    /// All up to this number, and perhaps others.
    AtLeast(u64),
    /// Nobody can say.
    Some,
}

/// Up to this place in a file it tells of all records up to a number.
#[derive(Clone, Copy, Debug)]
struct Place {
    end: usize,
    number: u64,
    /// And of no others.
    exact: bool,
}

impl Place {
    /// From the beginning on: nobody knows what half a checkpoint tells.
    const VAGUE: Place = Place {
        end: 0,
        number: 0,
        exact: false,
    };

    /// Those of a file of which no more is known than that it is whole up to its `end`.
    fn whole(end: usize, number: u64) -> Vec<Place> {
        let exact = true;
        vec![Place::VAGUE, Place { end, number, exact }]
    }
}

/// One server's log on its disk.
#[derive(Debug)]
pub struct Disk {
    files: Files,
    options: Options,
    log: Option<Log<Files>>,
    /// What each file tells of that has been the log, or has been meant to be.
    told: BTreeMap<Inode, Vec<Place>>,
    /// The file that is the log.
    current: Inode,
    /// The last record that there was, and the last that was committed while the log was in order.
    last: u64,
    committed: u64,
    /// The log lacks something.
    lacking: bool,
    /// Files that have had a gap, or have lost their beginning: what lives before did is not known
    /// exactly.
    gaps: BTreeSet<Inode>,
    /// A sync has failed of which nobody can know what it lost.
    unsynced: bool,
    /// The names could not be synced.
    unnamed: bool,
    /// Its faults are over, for good.
    healed: bool,
    /// Lines of the log with holes in them, of which the operator is to be told.
    untold_holes: u64,
    /// The log cannot be read to its end, and the operator is to be told.
    untold_unread: bool,
    /// The time of the records that follow, if it has been set since the last commit.
    time: Option<(Instant, Timestamp)>,
}

impl Disk {
    /// An empty disk, and how the log on it is to be kept.
    pub fn new(dice: &mut SplitMix64) -> Disk {
        let fsync = [Fsync::Always, Fsync::Second, Fsync::Never];
        Disk {
            files: Files::new(dice.next_u64()),
            options: Options {
                path: PathBuf::from("server.log"),
                max_bytes: 4_096 + dice.below(30_000),
                keep: dice.below(4) as u32,
                fsync: fsync[dice.below(3) as usize],
            },
            log: None,
            told: BTreeMap::new(),
            current: 0,
            last: 0,
            committed: 0,
            lacking: false,
            gaps: BTreeSet::new(),
            unsynced: false,
            unnamed: false,
            healed: false,
            untold_holes: 0,
            untold_unread: false,
            time: None,
        }
    }

    fn path(&self) -> &Path {
        &self.options.path
    }

    fn log(&mut self) -> &mut Log<Files> {
        self.log.as_mut().expect("the server is up")
    }

    /// The number of the last record, be it written or not.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The last record that a restart is known to know.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// Whether the log has a gap: a restart then cannot tell what others know of it.
    pub fn has_gap(&self) -> bool {
        self.gaps.contains(&self.current)
    }

    /// Whether the log lacks something at present.
    pub fn is_lacking(&self) -> bool {
        self.lacking
    }

    /// Bytes of the disk that are used.
    pub fn used(&self) -> usize {
        self.files.used()
    }

    /// From now on the disk has this ailment, or none.
    pub fn ail(&self, ailment: Ailment) {
        self.files.ail(ailment);
    }

    /// From now on nothing ails the disk, nor does any sync keep the log waiting.
    pub fn heal(&mut self) {
        self.ail(Ailment::None);
        self.healed = true;
    }

    /// Sets the time of the records that follow.
    pub fn set_time(&mut self, now: Now) {
        let time = Some((now.mono, now.wall));
        if self.time != time {
            self.log().set_time(now);
            self.time = time;
        }
    }

    /// Adds a record to the turn's and gives its number.
    pub fn record(&mut self, direction: Direction, label: Label<'_>, line: &[u8]) -> u64 {
        self.log().record(direction, label, line);
        self.last += 1;
        self.last
    }

    /// Notes that replaying what stands before may come to other decisions than were made.
    pub fn note_gap(&mut self, node: &Node, now: Now) {
        self.set_time(now);
        self.log().note_gap(node, "the clock was set back");
        self.gaps.insert(self.current);
    }

    /// Hands the turn's records to the kernel.
    pub fn commit(&mut self, node: &Node, now: Now) {
        let before = self.files.len(self.current);
        self.time = None;
        self.log().commit(node, now);
        let was_lacking = self.lacking;
        if !self.files.is_dead() {
            self.take_notices();
        }
        let lacking = was_lacking || self.lacking;
        if self.files.len(self.current) != before || lacking {
            let written = self.files.bytes_from(self.current, before);
            self.note_written(&written, before, lacking);
        } else {
            self.told.entry(self.current).or_default();
        }
    }

    /// Notes where the records ended that were just written.
    fn note_written(&mut self, written: &[u8], before: usize, lacking: bool) {
        let places = self.told.entry(self.current).or_default();
        if lacking {
            self.gaps.insert(self.current);
            let (end, number) = (before + written.len(), self.committed);
            return places.push(Place {
                end,
                number,
                exact: false,
            });
        }
        let mut end = before;
        for lf in memchr_iter(b'\n', written) {
            let line = &written[end - before..lf];
            end = before + lf + 1;
            // Notes and what was written again are the log's own.
            let direction = memchr(b' ', line).map(|space| &line[space + 1..]);
            if matches!(direction, Some([b'<' | b'>', b' ', ..])) {
                self.committed += 1;
                places.push(Place {
                    end,
                    number: self.committed,
                    exact: true,
                });
            }
        }
    }

    /// Lets the log do what it does beside the turns.
    pub fn work(&mut self, node: &mut Node, now: Now, dice: &mut SplitMix64) {
        let mut finishes = dice.below(3) == 0 || self.healed;
        while finishes && let Some((ticket, synced)) = self.files.finish_a_sync() {
            self.log().handle_synced(ticket, synced, now);
            finishes = self.healed;
        }
        // At least once a turn, as `Server` does: what a turn has added the next one counts on.
        for _ in 0..dice.below(4).max(1) {
            self.log().work(node, now);
            if self.files.is_dead() {
                return;
            }
            self.take_notices();
            self.commit(node, now);
        }
    }

    /// Somebody moves the log away, and perhaps says so. If it is away already an empty file may have its
    /// name: to put that in its place would be to delete it.
    pub fn move_away(&mut self, node: &Node, now: Now, says_so: bool) {
        self.commit(node, now);
        if self.files.at(self.path()) == Some(self.current) {
            let moved = PathBuf::from(format!("{}.1", self.path().display()));
            self.files.move_away(self.path(), &moved);
        }
        if says_so {
            self.log().reopen(node, now);
            self.take_notices();
        }
    }

    fn take_notices(&mut self) {
        while let Some(notice) = self.log().poll_notice() {
            match notice {
                Notice::Failing(_) => self.lacking = true,
                Notice::Unread(_) => {
                    assert!(self.untold_unread, "everything can be read");
                    self.untold_unread = false;
                    self.lacking = true; // a start will read nothing that is written now
                }
                Notice::NotSynced(_) => self.unsynced = true,
                Notice::NamesNotSynced(_) => self.unnamed = true,
                Notice::NamesSynced => self.unnamed = false,
                Notice::Complete(_) | Notice::Rotated(_) => {
                    self.lacking = false;
                    self.follow();
                    self.become_whole();
                }
                Notice::Recovered(_)
                | Notice::NotRotated(_)
                | Notice::NotWhole
                | Notice::MovedAway => {}
                Notice::Holes(lines) => {
                    assert_eq!(lines, self.untold_holes, "lines with holes");
                    self.untold_holes = 0;
                }
                Notice::Spoilt | Notice::Foreign(_) | Notice::PutAside(_) | Notice::NoFile => {
                    panic!("nobody did that: {notice:?}")
                }
            }
        }
    }

    /// The log may be another file now.
    fn follow(&mut self) {
        // While it is moved away and nobody has said so, there is no other, or an empty one.
        if let Some(current) = self.files.at(self.path())
            && current != self.current
            && self.files.len(current) > 0
        {
            self.current = current;
            if self.lacking {
                self.gaps.insert(current);
            }
            self.unsynced = false;
            self.told.insert(current, vec![Place::VAGUE]);
        }
    }

    /// The log tells of everything again.
    fn become_whole(&mut self) {
        self.committed = self.last;
        let (end, number) = (self.files.len(self.current), self.last);
        let places = self.told.entry(self.current).or_default();
        places.push(Place {
            end,
            number,
            exact: true,
        });
    }

    /// Has the server die within its next commit, or in the work that follows.
    pub fn doom(&self, dice: &mut SplitMix64) {
        self.files.die_after(dice.below(12));
    }

    /// Ends the server.
    pub fn crash(&mut self, crash: Crash, dice: &mut SplitMix64) -> Left {
        let must_be_left = self.must_be_left(crash);
        self.log = None;
        self.files.kill();
        if crash != Crash::Killed {
            for (file, at) in self.files.lose_power() {
                self.lose_from(file, at);
            }
        }
        let log = self.log_after_crash();
        self.current = log.unwrap_or(self.current);
        let left = log.map_or(Left::UpTo(0), |log| self.left_in(log, crash));
        if let Left::UpTo(number) | Left::AtLeast(number) = left {
            let safe = number >= must_be_left;
            assert!(
                safe,
                "{crash:?}: {left:?} in {log:?}, must be {must_be_left}"
            );
        }
        if let Some(log) = log
            && crash == Crash::PowerLossAndCut
        {
            let bytes = self.files.bytes_from(log, 0);
            // Often within the checkpoint, if it has one.
            let most = [bytes.len(), bytes.len().min(CHECKPOINT_BYTES)][dice.below(2) as usize];
            let at = dice.below(1 + most as u64) as usize;
            let next = bytes[at..].iter().position(|&byte| byte == b'\n');
            let cut = next.map_or(bytes.len(), |next| at + next + 1);
            self.files.cut_beginning(log, cut);
            self.told.clear();
            self.gaps.insert(log);
            return Left::Some;
        }
        if let Some(log) = log
            && crash == Crash::PowerLossAndSpoilt
        {
            let at = dice.below(1 + self.files.len(log) as u64) as usize;
            self.files.spoil(log, at);
            self.gaps.insert(log);
        }
        match log.is_some_and(|log| !self.files.readable(log).1) {
            true => Left::Some,
            false => left,
        }
    }

    /// A file has new holes from this place on: what is behind has no numbers any longer.
    fn lose_from(&mut self, file: Inode, at: usize) {
        let (has_gap, end) = (self.lines_with_holes(file) > 0, self.files.len(file));
        if has_gap {
            self.gaps.insert(file);
        }
        if let Some(places) = self.told.get_mut(&file) {
            let lost = places.split_off(places.partition_point(|place| place.end <= at));
            let is_vague = has_gap || lost.first().is_some_and(|place| !place.exact);
            let number = places.last().map_or(0, |place| place.number);
            places.extend(is_vague.then_some(Place {
                end,
                number,
                exact: false,
            }));
        }
    }

    /// The file that a start will take for the log.
    fn log_after_crash(&self) -> Option<Inode> {
        let log = self.files.at(self.path());
        let log = log.filter(|log| self.files.len(*log) > 0);
        log.or_else(|| {
            let moved = self.files.moved_away_last(self.path())?;
            self.files.at(&moved)
        })
    }

    /// What the clock showed, in nanoseconds, when the last was written that a start will find in the log.
    pub fn last_time(&self) -> Option<i128> {
        let mut lines = self.whole_lines(self.log_after_crash()?);
        lines.reverse();
        lines.iter().find_map(|line| {
            let stamp = std::str::from_utf8(line.split(|&byte| byte == b' ').next()?).ok()?;
            let time = DateTime::parse_from_rfc3339(stamp).ok()?;
            time.timestamp_nanos_opt().map(i128::from)
        })
    }

    /// The lines that a file had before the power failed, in order, as far as they are whole and it can
    /// be read.
    fn whole_lines(&self, file: Inode) -> Vec<Vec<u8>> {
        let (bytes, _) = self.files.readable(file);
        let lines = self.lines(file, &bytes);
        let whole = lines.filter(|(_, has_hole)| !has_hole);
        whole.map(|(line, _)| line.to_vec()).collect()
    }

    /// How many lines of a file have a hole in them, as far as it can be read. What is behind the last
    /// LF is no line.
    fn lines_with_holes(&self, file: Inode) -> u64 {
        if self.files.holes(file).is_empty() {
            return 0;
        }
        let (bytes, is_all) = self.files.readable(file);
        let lines = self.lines(file, &bytes);
        let whole = lines.filter(|(_, has_hole)| *has_hole).count() as u64;
        // What stands behind the last LF is no line yet, and a life will make one of it.
        let end = bytes.iter().rposition(|&byte| byte == b'\n');
        let end = end.map_or(0, |lf| lf + 1)..bytes.len();
        let holes = self.files.holes(file);
        let is_torn = holes
            .iter()
            .all(|hole| hole.end <= end.start || hole.start >= end.end);
        whole + u64::from(is_all && !is_torn)
    }

    /// The lines of a file, without their LF, and whether they have a hole in them.
    fn lines<'a>(&self, file: Inode, bytes: &'a [u8]) -> impl Iterator<Item = (&'a [u8], bool)> {
        let holes = self.files.holes(file);
        let mut at = 0;
        bytes
            .split_inclusive(|&byte| byte == b'\n')
            .filter_map(move |line| {
                let begin = at;
                at += line.len();
                let has_hole = holes.iter().any(|hole| hole.start < at && hole.end > begin);
                Some((line.strip_suffix(b"\n")?, has_hole))
            })
    }

    /// The locations of which the log tells that a start will find: those of the lines that are whole.
    pub fn locations_left(&self) -> Vec<Vec<u8>> {
        let log = self.log_after_crash();
        let lines = log.map_or(Vec::new(), |log| self.whole_lines(log));
        lines
            .iter()
            .filter_map(|line| read_location(line))
            .collect()
    }

    /// Records that no crash of this kind may take.
    fn must_be_left(&self, crash: Crash) -> u64 {
        // A life that was killed just when a sync had failed could not say so, nor does the next know.
        let is_synced = || !self.unsynced && !self.files.is_lost(self.current);
        let safe = match crash {
            Crash::Killed => true,
            _ => self.options.fsync == Fsync::Always && is_synced() && !self.unnamed,
        };
        match safe && !self.lacking {
            true => self.committed,
            false => 0,
        }
    }

    /// What a file tells of, as far as it is left.
    fn left_in(&self, file: Inode, crash: Crash) -> Left {
        let bytes = self.files.len(file);
        let Some(places) = self.told.get(&file) else {
            // The server died just when this had taken the log's place, or before it wrote any.
            return match (bytes, crash) {
                (0, _) => Left::UpTo(0),
                (_, Crash::Killed) => Left::UpTo(self.last),
                _ => Left::Some,
            };
        };
        let at = places.partition_point(|place| place.end <= bytes);
        let next = places.get(at).is_none_or(|place| place.exact);
        match at.checked_sub(1).map(|last| places[last]) {
            None if next => Left::UpTo(0),
            None => Left::Some,
            Some(Place { end, number, exact }) => match exact && (next || end == bytes) {
                true => Left::UpTo(number),
                false => Left::AtLeast(number),
            },
        }
    }

    /// Starts the server: lets `node` recall what is left, and begins its life. `left` is what the
    /// crash before it has left.
    pub fn replay(&mut self, node: &mut Node, now: Now, left: Left) {
        let found = self.log_after_crash();
        self.untold_holes = found.map_or(0, |log| self.lines_with_holes(log));
        self.untold_unread = found.is_some_and(|log| !self.files.readable(log).1);
        let mut log = Log::new(self.files.clone(), self.options.clone());
        let opened = log.open(node, now, |_, _| {});
        opened.expect("a simulated disk can always be had");
        self.log = Some(log);
        let named = || self.files.at(self.path());
        self.current = found.or_else(named).expect("it was opened");
        self.lacking = false;
        self.unnamed = false;
        let end = self.files.len(self.current);
        let places = self.told.entry(self.current);
        match left {
            Left::UpTo(number) => {
                // One that took the log's place just before the crash tells of all that was left.
                let places = places.or_insert_with(|| Place::whole(end, number));
                // A file that has lost everything is told of by what is left, not by what was.
                places.retain(|place| place.end <= end && place.number <= number);
                self.committed = number;
            }
            Left::AtLeast(_) | Left::Some => {
                // The simulation takes the node at its word, and no longer knows what any other file
                // tells of: the power may fail and bring one back.
                self.committed = self.last;
                self.told
                    .values_mut()
                    .for_each(|places| *places = vec![Place::VAGUE]);
                let places = Place::whole(end, self.last);
                self.told.insert(self.current, places);
                if !node.recalls_whole_log() {
                    // It ends within its checkpoint, say, and until it is replaced no start will see
                    // where it began.
                    self.gaps.insert(self.current);
                }
            }
        }
        if !self.files.holes(self.current).is_empty() {
            // Also one behind the last LF, which this life makes a line of.
            self.gaps.insert(self.current);
        }
        self.last = self.committed;
        self.commit(node, now);
        let untold = self.untold_holes;
        assert_eq!(untold, 0, "lines with holes that nobody was told of");
        assert!(
            !self.untold_unread,
            "nobody was told that it cannot be read"
        );
    }
}

/// Reads a record from the words of the README: the location in it that is to be believed.
fn read_location(record: &[u8]) -> Option<Vec<u8>> {
    let mut fields = record.splitn(4, |&byte| byte == b' ').skip(1);
    let (direction, label, text) = (fields.next()?, fields.next()?, fields.next()?);
    let is_neighbours = label.starts_with(b"s") && label.contains(&b':');
    let is_believed = match direction {
        b">" => is_neighbours || label.starts_with(b"c"),
        b"<" => is_neighbours,
        b"=" => true,
        _ => false,
    };
    let is_location = is_believed && text.starts_with(b"AT ") && !text.ends_with(b"\\... torn");
    is_location.then(|| unescape(text))
}

fn unescape(mut text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    loop {
        let (byte, rest) = match text {
            [] => return bytes,
            [b'\\', b'x', high, low, rest @ ..] => {
                let digits = [char::from(*high), char::from(*low)];
                let [high, low] = digits.map(|digit| digit.to_digit(16).expect("a digit"));
                ((16 * high + low) as u8, rest)
            }
            [b'\\', byte, rest @ ..] | [byte, rest @ ..] => (*byte, rest),
        };
        bytes.push(byte);
        text = rest;
    }
}

#[test]
fn a_log_that_cannot_be_read_is_replaced_at_once_when_the_disk_is_healed() {
    /// What has failed is tried again within this.
    const RETRY: Duration = Duration::from_secs(5);
    /// One to begin a new file, one to find it on the disk.
    const TURNS: usize = 2;
    let topology = Topology::parse(b"Ann h:1 h:2\n").expect("a topology");
    let mut now = Now {
        mono: Instant::now(),
        wall: Timestamp::new(1_353_118_103, 0),
    };
    let start = |life: u64, now: Now| {
        let seeds = Seeds {
            incarnation: Incarnation(life),
            hash_keys: (1, 2),
            jitter: 3,
        };
        Node::new(&topology.members()[0], &topology, seeds, now)
    };
    let mut unread = 0;
    for seed in 0..100 {
        let mut dice = SplitMix64(seed);
        let mut disk = Disk::new(&mut dice);
        disk.replay(&mut start(1, now), now, Left::UpTo(0));
        let left = disk.crash(Crash::PowerLossAndSpoilt, &mut dice);
        let mut node = start(2, now);
        disk.replay(&mut node, now, left);
        if !disk.is_lacking() {
            continue; // nothing is left, or it can be read
        }
        unread += 1;
        disk.ail(Ailment::Unsynced);
        for _ in 0..dice.below(10) {
            now.mono += RETRY;
            disk.work(&mut node, now, &mut dice);
        }
        disk.heal();
        now.mono += RETRY;
        for _ in 0..TURNS {
            disk.work(&mut node, now, &mut dice);
        }
        assert!(!disk.is_lacking(), "seed {seed}");
    }
    assert!(unread > 20, "{unread} logs could not be read");
}
