//! What a start makes of the journal that it finds.
//!
//! [`recover`] decides: either the files tell exactly what was known after some batch, and then what they
//! say of numbers and marks is true; or there is doubt. It follows one rule: the newest snapshot, then
//! the segments after it, batch by batch, each of which names the one before. An end in the middle of a
//! batch is cut. *Anything else is doubt*, and all doubt has one consequence ([`salvage`]): every location
//! is kept that stands in a whole batch of any file, and nothing else.

use std::io;
use std::time::Duration;

use super::disk::{Disk, OpenError};
use super::format::{
    BEGAN, CHAIN_AT_BIRTH, CHANGE, EARLIER, END, EXPECT, Entry, FileName, HEAD, Header, KNOWN,
    Kind, LOCATION, MARKED, PREAMBLE_BYTES, VERSION, timestamp, unzigzag,
};
use super::reader::{Next, Reader};
use crate::node::protocol::{Incarnation, Mark};
use crate::node::recovery::Recovery;
use crate::node::table::Stored;
use crate::time::{Now, Timestamp};
use crate::topology::ServerName;

/// A clock may be behind the last time in the journal by so much.
const CLOCK_SLACK: Duration = Duration::from_secs(1);

/// No location takes less of a snapshot than so many bytes.
const LOCATION_BYTES_MIN: u64 = 40;

/// Why a journal cannot be relied on, for the operator.
pub type Doubt = String;

/// A file of the journal, as it was found.
#[derive(Debug)]
pub struct Found {
    /// Its name.
    pub name: FileName,
    /// What follows the name: the file is not in use if there is something.
    pub ending: String,
    bytes: u64,
    /// Of which journal it is, and whose that is, if it tells.
    head: Option<(u64, ServerName)>,
}

impl Found {
    /// Its whole name.
    pub fn text(&self) -> String {
        format!("{}{}", self.name, self.ending)
    }
}

/// Looks at the files that are there, the oldest first. Nothing is touched.
///
/// # Errors
/// The folder is another server's or a later program's, or cannot be read.
pub fn survey<D: Disk>(disk: &mut D, own: &ServerName) -> Result<Vec<Found>, OpenError> {
    let mut files = Vec::new();
    for text in disk.list().map_err(OpenError::Io)? {
        let Some((name, ending)) = FileName::parse(&text) else {
            continue;
        };
        let ending = ending.to_owned();
        // What cannot be read now will be found again when it is to be.
        let (bytes, version, head) = look_at(disk, &text).unwrap_or_default();
        if let Some(version) = version.filter(|version| *version > VERSION) {
            return Err(OpenError::Newer(text, version));
        }
        files.push(Found {
            name,
            ending,
            bytes,
            head,
        });
    }
    files.sort_by_key(|file| (file.name.sequence, file.name.kind));
    let mut servers = files.iter().filter_map(|file| file.head.as_ref());
    match servers.clone().next() {
        Some((_, other)) if servers.all(|(_, server)| server != own) => {
            Err(OpenError::OthersJournal(other.clone()))
        }
        _ => Ok(files),
    }
}

/// What is known of a file: its length, the version of its format, its head.
type Look = (u64, Option<u32>, Option<(u64, ServerName)>);

fn look_at<D: Disk>(disk: &mut D, name: &str) -> io::Result<Look> {
    let mut reader = Reader::new(disk, name)?;
    let version = reader.version()?;
    let head = match reader.next()? {
        Next::Batch(_, mut body) => Entry::take(&mut body).filter(|entry| entry.kind == HEAD),
        _ => None,
    };
    let head = head.and_then(|head| Some((head.numbers[1], ServerName::parse(head.text)?)));
    Ok((reader.bytes, version, head))
}

/// Where the journal has come to.
#[derive(Debug)]
pub struct Position {
    /// Names the journal; `None` if no file does.
    pub id: Option<u64>,
    /// What the next batch follows.
    pub chain: u32,
    /// The sequence number of the snapshot, 0 if there is none.
    pub snapshot: u64,
    /// How long it is.
    pub snapshot_bytes: u64,
    /// How many segments are after it, and how long they are.
    pub segments: usize,
    pub segment_bytes: u64,
    /// When the last batch was written.
    time: Option<Timestamp>,
    /// After what time records expired in the incarnation that wrote it.
    forgets_after: Option<Duration>,
    /// What has an effective time before this had expired at some time since the snapshot: it may have
    /// been passed over, and marked all the same, when neighbours told it or were told it.
    lost: Option<Timestamp>,
    /// How many locations the snapshot has, and whether its end was read.
    locations: u64,
    is_ended: bool,
}

impl Position {
    /// That of a journal that has no batch yet.
    pub fn at_birth() -> Position {
        Position {
            id: None,
            chain: CHAIN_AT_BIRTH,
            snapshot: 0,
            snapshot_bytes: 0,
            segments: 0,
            segment_bytes: 0,
            time: None,
            forgets_after: None,
            lost: None,
            locations: 0,
            is_ended: false,
        }
    }
}

/// Gives back what the files tell, if all that they say can be relied on. `progress` is told now and
/// then how many bytes have been read of how many.
///
/// # Errors
/// Why it cannot. What was given back until then is part of it.
pub fn recover<D: Disk>(
    disk: &mut D,
    files: &[Found],
    recovery: &mut Recovery<'_>,
    now: Now,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Position, Doubt> {
    let in_use = || files.iter().filter(|file| file.ending.is_empty());
    let (snapshots, segments): (Vec<_>, Vec<_>) =
        in_use().partition(|file| file.name.kind == Kind::Snapshot);
    let snapshot = snapshots.last();
    let from = snapshot.map_or(0, |file| file.name.sequence);
    let segments = segments
        .into_iter()
        .filter(|file| file.name.sequence >= from);
    let to_read: Vec<_> = snapshot.copied().into_iter().chain(segments).collect();
    let bytes = to_read.iter().map(|file| file.bytes).sum();
    let mut position = Position {
        snapshot: from,
        ..Position::at_birth()
    };
    let mut read = 0;
    for file in &to_read {
        let mut told = |at| progress(read + at, bytes);
        replay(disk, file, recovery, &mut position, &mut told)?;
        read += file.bytes;
    }
    if snapshot.is_some()
        && to_read
            .get(1)
            .is_none_or(|segment| segment.name.sequence != from)
    {
        let (kind, sequence) = (Kind::Segment, from);
        return Err(format!("{} is missing", FileName { kind, sequence }));
    }
    // Those before the snapshot are not needed, and may be of a journal that was in doubt.
    let is_other = |head: &(u64, ServerName)| head.1 != *recovery.name;
    if let Some(file) = in_use().find(|file| file.head.as_ref().is_some_and(is_other)) {
        return Err(format!("{} does not belong there", file.text()));
    }
    if position
        .time
        .is_some_and(|last| now.wall < last.minus(CLOCK_SLACK))
    {
        return Err("the clock is behind its last time".to_owned());
    }
    // What had expired then and does not count as expired now, nobody would tell us or be told.
    if position.lost.is_some_and(|lost| recovery.oldest < lost) {
        return Err("what had expired would be known again: the clock was set back, or records are kept for longer".to_owned());
    }
    Ok(position)
}

/// Takes in a file, which must be the next.
fn replay<D: Disk>(
    disk: &mut D,
    file: &Found,
    recovery: &mut Recovery<'_>,
    position: &mut Position,
    progress: &mut dyn FnMut(u64),
) -> Result<(), Doubt> {
    let unreadable = |error| format!("{} cannot be read: {error}", file.text());
    let mut reader = Reader::new(disk, &file.text()).map_err(unreadable)?;
    loop {
        let at = reader.at;
        let is_next = match reader.next().map_err(unreadable)? {
            Next::Batch(header, body) => take_in(file, &header, body, recovery, position).is_some(),
            Next::End | Next::Torn => break,
            Next::Damaged => false,
        };
        if !is_next && at <= PREAMBLE_BYTES as u64 {
            return Err(format!(
                "{} does not follow what was written before it",
                file.text()
            ));
        } else if !is_next {
            return Err(format!("{} is damaged at byte {at}", file.text()));
        }
        progress(reader.at);
    }
    match file.name.kind {
        Kind::Snapshot => {
            recovery.build_index();
            position.snapshot_bytes = file.bytes;
            let is_whole = position.is_ended && reader.at == file.bytes;
            is_whole
                .then_some(())
                .ok_or_else(|| format!("{} is not whole", file.text()))
        }
        Kind::Segment => {
            position.segments += 1;
            position.segment_bytes += file.bytes;
            Ok(())
        }
    }
}

/// Takes in a batch of a file. `None` if it cannot be the next.
fn take_in(
    file: &Found,
    header: &Header,
    mut body: &[u8],
    recovery: &mut Recovery<'_>,
    position: &mut Position,
) -> Option<()> {
    let is_snapshot = file.name.kind == Kind::Snapshot;
    let is_next = header.chain == position.chain
        && match is_snapshot {
            true => !position.is_ended,
            false => header.first == recovery.end() + 1,
        };
    is_next.then_some(())?;
    position.chain = header.crc;
    let mut number = header.first;
    let mut changes = Vec::new();
    while !body.is_empty() {
        let Entry {
            kind,
            numbers,
            text,
        } = Entry::take(&mut body)?;
        match (kind, numbers) {
            (CHANGE, _) if !is_snapshot => changes.push(text),
            (LOCATION, [above, seconds, nanos, client_at, client_bytes]) if is_snapshot => {
                number = number.checked_add(above)?;
                let stored = Stored {
                    number,
                    effective: timestamp(unzigzag(seconds), nanos)?,
                    client_at: client_at.try_into().ok()?,
                    client_bytes: client_bytes.try_into().ok()?,
                    line: text,
                };
                recovery.load(&stored).then_some(())?;
                position.locations += 1;
            }
            (HEAD, [kind, id, sequence, ..]) => {
                let is_own =
                    text == recovery.name.as_bytes() && id == *position.id.get_or_insert(id);
                let is_right = kind == file.name.kind as u64 && sequence == file.name.sequence;
                (is_own && is_right).then_some(())?;
            }
            (KNOWN, [incarnation, number, ..]) => {
                let incarnation = (incarnation > 0).then_some(Incarnation(incarnation));
                let mark = |incarnation| Mark {
                    incarnation,
                    number,
                };
                recovery.know(text, incarnation.map(mark));
            }
            (MARKED, [number, ..]) => recovery.marked(text, number),
            (BEGAN, [incarnation, end, seconds, nanos, _]) => {
                (is_snapshot || end == recovery.end()).then_some(())?;
                recovery.began(Incarnation(incarnation), end);
                let after = Duration::new(
                    seconds,
                    nanos
                        .try_into()
                        .ok()
                        .filter(|nanos| *nanos < 1_000_000_000)?,
                );
                position.forgets_after = (!after.is_zero()).then_some(after);
            }
            (EARLIER, [incarnation, end, ..]) if is_snapshot => {
                recovery.earlier(Incarnation(incarnation), end)
            }
            (EXPECT, [locations, ..]) if is_snapshot => {
                recovery.expect(locations.min(file.bytes / LOCATION_BYTES_MIN) as usize);
            }
            (END, [chain, end, locations, ..]) if is_snapshot => {
                position.chain = chain.try_into().ok()?;
                position.is_ended = true;
                (locations == position.locations && recovery.advance(end)).then_some(())?;
            }
            _ => return None,
        }
    }
    position.time = Some(header.time);
    let lost = position.forgets_after.map(|after| header.time.minus(after));
    position.lost = position.lost.max(lost);
    recovery.replay(&changes).then_some(())
}

/// Gives back every location that stands in a whole batch of a file, whatever is wrong with the rest.
/// Gives the files that have something that was not read.
pub fn salvage<D: Disk>(
    disk: &mut D,
    files: &[Found],
    recovery: &mut Recovery<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Vec<String> {
    recovery.start_over();
    let in_use = || files.iter().filter(|file| file.ending.is_empty());
    let bytes = in_use().map(|file| file.bytes).sum();
    let (mut read, mut unread) = (0, Vec::new());
    for file in in_use() {
        // Another server's locations may be another herd's.
        let is_own = file
            .head
            .as_ref()
            .is_none_or(|(_, server)| server == recovery.name);
        let mut told = |at| progress(read + at, bytes);
        let is_read = is_own && salvage_file(disk, file, recovery, &mut told).unwrap_or(false);
        unread.extend((!is_read).then(|| file.text()));
        read += file.bytes;
    }
    unread
}

/// The same of a file. Says whether all of it was read.
fn salvage_file<D: Disk>(
    disk: &mut D,
    file: &Found,
    recovery: &mut Recovery<'_>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<bool> {
    let mut reader = Reader::new(disk, &file.text())?;
    let (mut is_whole, mut is_torn) = (true, false);
    loop {
        match reader.next()? {
            Next::Batch(_, mut body) => {
                let mut lines = Vec::new();
                while let Some(entry) = Entry::take(&mut body) {
                    lines.extend(matches!(entry.kind, CHANGE | LOCATION).then_some(entry.text));
                }
                recovery.salvage(&lines);
                is_whole &= body.is_empty() && !is_torn;
                progress(reader.at);
            }
            Next::End => return Ok(is_whole),
            Next::Torn => {
                is_torn = true;
                reader.at += 1;
            }
            Next::Damaged => {
                is_whole &= is_torn;
                reader.at += 1; // there may be a batch anywhere behind it
            }
        }
    }
}
