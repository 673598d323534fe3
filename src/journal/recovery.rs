//! What a start makes of the journal that it finds.
//!
//! [`recover`] decides: either the newest file tells exactly what was known after some batch, and then
//! what it says of numbers and marks is true; or there is doubt. It follows one rule: its snapshot, then
//! the batches after it, each of which names the one before. An end in the middle of a batch is cut.
//! *Anything else is doubt*, and all doubt has one consequence ([`salvage`]): every location is kept that
//! stands in a whole batch of any file, and nothing else.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use super::disk::{Disk, OpenError};
use super::format::{
    BEGAN, CHANGE, END, Entry, HEAD, Header, KNOWN, LOCATION, MARKED, VERSION, name, parse_name,
    timestamp,
};
use super::reader::{Next, Reader};
use crate::cause;
use crate::node::protocol::{Incarnation, MINOR, Mark, is_erased, parse_number};
use crate::node::recovery::Recovery;
use crate::node::table::{PREFETCH_MAX, Stored};
use crate::time::{Now, Timestamp, rough_span};
use crate::topology::ServerName;

/// The ending of a file that could not be read to its end.
pub const QUARANTINED: &str = ".quarantined";

/// A clock may be behind the last time in the journal by so much.
const CLOCK_SLACK: Duration = Duration::from_secs(1);

/// No location takes less of a snapshot than so many bytes.
const LOCATION_BYTES_MIN: u64 = 40;

/// Is told how many bytes have been read of how many.
pub type Progress<'p> = &'p mut dyn FnMut(u64, u64);

/// What a start has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// How many locations are known from the journal.
    pub locations: usize,
    /// The journal could be relied on.
    pub is_sure: bool,
    /// There was no journal.
    pub is_new: bool,
}

/// A file of the journal, as it was found.
#[derive(Debug)]
pub struct Found {
    /// Its number.
    pub sequence: u64,
    /// Whose it is, if it tells.
    server: Option<ServerName>,
}

/// Looks at the files that are in use, the oldest first. Gives the highest number of all, too. Nothing is
/// touched. `notices` gets what the operator should know of others.
///
/// # Errors
/// The folder is another server's or a later program's, or cannot be read.
pub fn survey<D: Disk>(
    disk: &mut D,
    own: &ServerName,
    notices: &mut VecDeque<String>,
) -> Result<(Vec<Found>, u64), OpenError> {
    let (mut files, mut highest) = (Vec::new(), 0);
    for text in disk.list().map_err(OpenError::Io)? {
        let Some((sequence, ending)) = parse_name(&text) else {
            if text.starts_with("journal-") {
                let file = disk.path(&text);
                notices.push_back(format!("{file} is no file of the journal: it is not read."));
            }
            continue;
        };
        highest = highest.max(sequence);
        if ending.is_empty() {
            let mut found = Found {
                sequence,
                server: None,
            };
            // What cannot be read now will be found again when it is to be: also whose it is.
            let version = found.look(disk).unwrap_or_default();
            if version.is_some_and(|version| version > VERSION) {
                let file = disk.path(&text);
                let why = format!("a later version of herd has written {file}: start that one");
                return Err(OpenError::Refused(why));
            }
            files.push(found);
        }
    }
    files.sort_by_key(|file| file.sequence);
    let mut servers = files.iter().filter_map(|file| file.server.as_ref());
    match servers.next() {
        Some(other) if other != own && servers.all(|server| server != own) => {
            Err(OpenError::Refused(format!("it is the journal of {other}")))
        }
        _ => Ok((files, highest)),
    }
}

impl Found {
    /// Reads how the file begins. Gives the version of its format.
    fn look<D: Disk>(&mut self, disk: &mut D) -> io::Result<Option<u32>> {
        let mut reader = Reader::new(disk, &name(self.sequence))?;
        let version = reader.version()?;
        if let Next::Batch(_, mut body) = reader.next()? {
            let head = Entry::take(&mut body).filter(|entry| entry.kind == HEAD);
            self.server = head.and_then(|head| ServerName::parse(head.text));
        }
        Ok(version)
    }
}

/// Where the journal has come to.
#[derive(Debug, Default)]
pub struct Position {
    /// The number of the file.
    pub sequence: u64,
    /// How much of the file can be relied on, how long it was, and how long its snapshot is.
    pub bytes: u64,
    of: u64,
    pub snapshot_bytes: u64,
    /// What the next batch follows.
    pub chain: u32,
    /// How many locations the snapshot has had so far, and whether its end was read.
    locations: u64,
    is_ended: bool,
    /// When the last batch was written.
    time: Option<Timestamp>,
    /// After what time records expired in the incarnation that wrote it.
    forgets_after: Option<Duration>,
    /// The minor version of the link protocol that the incarnation spoke which wrote it.
    minor: u64,
    /// It tells of an erasure: what was erased may stand before that.
    pub has_erased: bool,
    /// What has an effective time before this had expired at some time since the snapshot: it may have
    /// been passed over, and marked all the same, when neighbours told it or were told it.
    lost: Option<Timestamp>,
}

/// Gives back what the journal tells, if all that it says can be relied on. Says where it has come to,
/// if there is one.
///
/// # Errors
/// Why it cannot. What was given back until then is part of it.
pub fn recover<D: Disk>(
    disk: &mut D,
    files: &[Found],
    recovery: &mut Recovery<'_>,
    now: Now,
    progress: Progress<'_>,
) -> Result<Option<Position>, String> {
    let is_other = |file: &&Found| file.server.as_ref().is_some_and(|s| s != recovery.name);
    if let Some(other) = files.iter().find(is_other) {
        let file = disk.path(&name(other.sequence));
        return Err(format!("{file} is another server's"));
    }
    let Some(newest) = files.last() else {
        return Ok(None);
    };
    let mut position = Position {
        sequence: newest.sequence,
        ..Position::default()
    };
    if let Err(error) = position.replay(disk, recovery, progress) {
        let file = disk.path(&name(newest.sequence));
        return Err(format!("{file}: {}", cause::of(&error)));
    }
    let is_behind = |last: &Timestamp| now.wall < last.minus(CLOCK_SLACK);
    if let Some(last) = position.time.filter(is_behind) {
        let by = rough_span(last.since(now.wall).magnitude());
        return Err(format!("the clock is behind the last time in it by {by}"));
    }
    // What had expired then and does not count as expired now, nobody would tell us or be told.
    if position.lost.is_some_and(|lost| recovery.oldest < lost) {
        let why = "the clock was set back, or records are to be kept for longer than before";
        return Err(why.to_owned());
    }
    if position.speaks_anew() {
        recovery.forget_known();
    }
    Ok(Some(position))
}

impl Position {
    /// Whether the file was written by a program of an older minor version of the link protocol. What its
    /// neighbours had to say beyond that it was not told, though it has their marks.
    pub fn speaks_anew(&self) -> bool {
        self.minor < MINOR
    }

    /// What the operator is told of an end in the middle of a batch.
    pub fn torn_text<D: Disk>(&self, disk: &D) -> Option<String> {
        let torn = self.of - self.bytes;
        (torn > 0).then(|| {
            let file = disk.path(&name(self.sequence));
            format!(
                "{file} ended in the middle of a batch, as a power failure or a crash leaves it: its last {torn} \
                 bytes were cut. All that was written before them is known."
            )
        })
    }

    fn replay<D: Disk>(
        &mut self,
        disk: &mut D,
        recovery: &mut Recovery<'_>,
        progress: Progress<'_>,
    ) -> io::Result<()> {
        let mut reader = Reader::new(disk, &name(self.sequence))?;
        let of = reader.bytes;
        self.of = of;
        loop {
            let is_next = match reader.next()? {
                Next::Batch(header, body) => self.take_in(of, &header, body, recovery).is_some(),
                Next::End if self.is_ended => return Ok(()),
                Next::End | Next::Damaged => false,
            };
            if !is_next {
                let why = format!("corrupt after byte {}", self.bytes);
                return Err(io::Error::other(why));
            }
            self.bytes = reader.at;
            progress(reader.at, of);
        }
    }

    /// Takes in a batch of a file of so many bytes. `None` if it cannot be the next.
    fn take_in(
        &mut self,
        of: u64,
        header: &Header,
        mut body: &[u8],
        recovery: &mut Recovery<'_>,
    ) -> Option<()> {
        let is_next = header.chain == self.chain && header.first == recovery.end() + 1;
        is_next.then_some(())?;
        let mut changes = Vec::with_capacity(PREFETCH_MAX);
        while !body.is_empty() {
            let entry = Entry::take(&mut body)?;
            match (entry.kind, entry.numbers, self.is_ended) {
                // Whose number it has does not matter: an older file is an older state.
                (HEAD, [_, locations, ..], false) if entry.text == recovery.name.as_bytes() => {
                    recovery.expect(locations.min(of / LOCATION_BYTES_MIN) as usize);
                }
                (LOCATION, [above, seconds, nanos, client_at, client_bytes], false) => {
                    let stored = Stored {
                        number: recovery.end().checked_add(above)?,
                        effective: timestamp(seconds, nanos)?,
                        client_at: client_at.try_into().ok()?,
                        client_bytes: client_bytes.try_into().ok()?,
                        line: entry.text,
                    };
                    recovery.load(&stored).then_some(())?;
                    self.has_erased |= is_erased(entry.text);
                    self.locations += 1;
                }
                (END, [end, locations, ..], false) => {
                    (locations == self.locations && recovery.advance(end)).then_some(())?;
                    recovery.build_index();
                    self.snapshot_bytes = self.bytes; // but for this batch
                    self.is_ended = true;
                }
                (CHANGE, _, true) => {
                    changes.push(entry.text);
                    self.has_erased |= is_erased(entry.text);
                }
                (KNOWN, [incarnation, number, ..], _) => {
                    let incarnation = Incarnation(incarnation);
                    let mark = Mark {
                        incarnation,
                        number,
                    };
                    recovery.know(entry.text, (incarnation.0 > 0).then_some(mark));
                }
                (MARKED, [number, ..], _) => recovery.marked(entry.text, number),
                (BEGAN, [incarnation, from, after, ..], _) => {
                    recovery.began(Incarnation(incarnation), from);
                    self.forgets_after = (after > 0).then(|| Duration::from_nanos(after));
                    self.minor = parse_number(entry.text).unwrap_or(0);
                }
                _ => return None,
            }
        }
        (self.chain, self.time) = (header.crc, Some(header.time));
        recovery.written(header.time);
        let lost = self.forgets_after.map(|after| header.time.minus(after));
        self.lost = self.lost.max(lost);
        recovery.replay(&changes).then_some(())
    }
}

/// Gives back every location that stands in a whole batch of a file, whatever is wrong with the rest.
/// Gives the files that have something that was not read.
pub fn salvage<D: Disk>(disk: &mut D, files: &[Found], recovery: &mut Recovery<'_>) -> Vec<u64> {
    recovery.start_over();
    let mut unread = Vec::new();
    for file in files {
        if !file.salvage(disk, recovery).unwrap_or(false) {
            unread.push(file.sequence);
        }
    }
    unread
}

impl Found {
    /// The same of a file. Says whether all of it was read.
    fn salvage<D: Disk>(&self, disk: &mut D, recovery: &mut Recovery<'_>) -> io::Result<bool> {
        let mut reader = Reader::new(disk, &name(self.sequence))?;
        let mut is_whole = true;
        loop {
            match reader.next()? {
                Next::Batch(header, mut body) => {
                    let mut lines = Vec::new();
                    while let Some(Entry { kind, text, .. }) = Entry::take(&mut body) {
                        if kind == HEAD && text != recovery.name.as_bytes() {
                            return Ok(false); // another server's locations may be another herd's
                        }
                        lines.extend(matches!(kind, CHANGE | LOCATION).then_some(text));
                    }
                    recovery.written(header.time);
                    recovery.salvage(&lines);
                    is_whole &= body.is_empty();
                }
                Next::End => return Ok(is_whole),
                Next::Damaged => {
                    is_whole = false;
                    reader.skip(1); // there may be a batch anywhere behind it
                }
            }
        }
    }
}

/// What the operator is told of a journal that is in doubt.
pub fn doubt_text<D: Disk>(disk: &D, why: &str, locations: usize, unread: &[u64]) -> String {
    let mut text = format!(
        "The journal {} cannot be relied on: {why}. The {locations} locations that could be read are served; the \
         neighbours send what they have beyond that.",
        disk.path("")
    );
    for sequence in unread {
        let kept = disk.path(&format!("{}{QUARANTINED}", name(*sequence)));
        text.push_str(&format!(
            " What could not be read is kept as {kept}: delete it when you have looked."
        ));
    }
    text
}
