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
    BEGAN, CHANGE, END, Entry, FileName, HEAD, Header, KNOWN, Kind, LOCATION, MARKED, VERSION,
    timestamp,
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

/// Is told how many bytes have been read of how many.
pub type Progress<'p> = &'p mut dyn FnMut(u64, u64);

/// A file of the journal, as it was found.
#[derive(Debug)]
pub struct Found {
    /// Its name.
    pub name: FileName,
    /// Its length.
    pub bytes: u64,
    /// Of which journal it is, whose that is, and how many locations it has, if it tells.
    head: Option<(u64, ServerName, u64)>,
}

/// Looks at the files that are in use, the oldest first. Gives the highest sequence number of all, too.
/// Nothing is touched.
///
/// # Errors
/// The folder is another server's or a later program's, or cannot be read.
pub fn survey<D: Disk>(disk: &mut D, own: &ServerName) -> Result<(Vec<Found>, u64), OpenError> {
    let (mut files, mut sequence) = (Vec::new(), 0);
    for text in disk.list().map_err(OpenError::Io)? {
        let Some((name, ending)) = FileName::parse(&text) else {
            continue;
        };
        sequence = sequence.max(name.sequence);
        if !ending.is_empty() {
            continue;
        }
        let found = look_at(disk, name);
        // What cannot be read now will be found again when it is to be.
        let (file, version) = found.unwrap_or((
            Found {
                name,
                bytes: 0,
                head: None,
            },
            None,
        ));
        if let Some(version) = version.filter(|version| *version > VERSION) {
            let file = disk.path(&text);
            let later = format!(
                "a later version of herd has written {file} (format {version}): start that one"
            );
            return Err(OpenError::Refused(later));
        }
        files.push(file);
    }
    files.sort_by_key(|file| file.name);
    let mut servers = files.iter().filter_map(|file| Some(&file.head.as_ref()?.1));
    match servers.clone().next() {
        Some(other) if servers.all(|server| server != own) => {
            Err(OpenError::Refused(format!("it is the journal of {other}")))
        }
        _ => Ok((files, sequence)),
    }
}

fn look_at<D: Disk>(disk: &mut D, name: FileName) -> io::Result<(Found, Option<u32>)> {
    let mut reader = Reader::new(disk, &name.to_string())?;
    let version = reader.version()?;
    let head = match reader.next()? {
        Next::Batch(_, mut body) => Entry::take(&mut body).filter(|entry| entry.kind == HEAD),
        Next::End | Next::Damaged => None,
    };
    let head = head.and_then(|head| {
        let [_, id, _, locations, ..] = head.numbers;
        Some((id, ServerName::parse(head.text)?, locations))
    });
    let bytes = reader.bytes;
    Ok((Found { name, bytes, head }, version))
}

/// Where the journal has come to.
#[derive(Debug, Default)]
pub struct Position {
    /// Names the journal; `None` if no file does.
    pub id: Option<u64>,
    /// What the next batch follows.
    pub chain: u32,
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

/// The newest snapshot and the segments after it, of the files in use.
pub fn in_use(files: &[Found]) -> &[Found] {
    let newest = files
        .iter()
        .rposition(|file| file.name.kind == Kind::Snapshot);
    &files[newest.unwrap_or(0)..]
}

/// Gives back what the files tell, if all that they say can be relied on.
///
/// # Errors
/// Why it cannot. What was given back until then is part of it.
pub fn recover<D: Disk>(
    disk: &mut D,
    files: &[Found],
    recovery: &mut Recovery<'_>,
    now: Now,
    progress: Progress<'_>,
) -> Result<Position, Doubt> {
    let mut position = Position::default();
    let heads = || {
        files
            .iter()
            .filter_map(|file| Some((file.name, file.head.as_ref()?)))
    };
    position.id = heads().next_back().map(|(_, (id, ..))| *id);
    let is_other =
        |head: &(u64, ServerName, u64)| Some(head.0) != position.id || head.1 != *recovery.name;
    if let Some((other, _)) = heads().find(|(_, head)| is_other(head)) {
        return Err(format!(
            "{} is of another journal",
            disk.path(&other.to_string())
        ));
    }
    let files = in_use(files);
    if let [
        Found {
            name:
                FileName {
                    sequence,
                    kind: Kind::Snapshot,
                },
            ..
        },
        rest @ ..,
    ] = files
        && rest
            .first()
            .is_none_or(|segment| segment.name.sequence != *sequence)
    {
        let (sequence, kind) = (*sequence, Kind::Segment);
        return Err(format!(
            "{} is missing",
            disk.path(&FileName { sequence, kind }.to_string())
        ));
    }
    let (mut read, of) = (0, files.iter().map(|file| file.bytes).sum());
    for file in files {
        let path = disk.path(&file.name.to_string());
        let is_snapshot = file.name.kind == Kind::Snapshot;
        if is_snapshot && let Some((.., locations)) = file.head {
            recovery.expect(locations.min(file.bytes / LOCATION_BYTES_MIN) as usize);
        }
        let mut reader = Reader::new(disk, &file.name.to_string())
            .map_err(|error| format!("{path} cannot be read: {error}"))?;
        loop {
            let at = reader.at;
            let is_next = match reader
                .next()
                .map_err(|error| format!("{path} cannot be read: {error}"))?
            {
                Next::Batch(header, body) => position
                    .take_in(is_snapshot, &header, body, recovery)
                    .is_some(),
                Next::End if !is_snapshot || position.is_ended && at == file.bytes => break,
                Next::End | Next::Damaged => false,
            };
            if !is_next {
                return Err(format!(
                    "{path} is corrupt at byte {at}, or does not follow what was written before"
                ));
            }
            progress(read + reader.at, of);
        }
        read += file.bytes;
        recovery.build_index();
    }
    if position
        .time
        .is_some_and(|last| now.wall < last.minus(CLOCK_SLACK))
    {
        return Err("the clock is behind the last time in it".to_owned());
    }
    // What had expired then and does not count as expired now, nobody would tell us or be told.
    if position.lost.is_some_and(|lost| recovery.oldest < lost) {
        return Err(
            "the clock was set back, or records are to be kept for longer than before".to_owned(),
        );
    }
    Ok(position)
}

impl Position {
    /// Takes in a batch. `None` if it cannot be the next.
    fn take_in(
        &mut self,
        is_snapshot: bool,
        header: &Header,
        mut body: &[u8],
        recovery: &mut Recovery<'_>,
    ) -> Option<()> {
        let is_next = header.chain == self.chain && header.first == recovery.end() + 1;
        (is_next && !(is_snapshot && self.is_ended)).then_some(())?;
        self.chain = header.crc;
        let mut changes = Vec::new();
        while !body.is_empty() {
            let Entry {
                kind,
                numbers,
                text,
            } = Entry::take(&mut body)?;
            match (kind, numbers) {
                (HEAD, _) => {}
                (CHANGE, _) if !is_snapshot => changes.push(text),
                (LOCATION, [above, seconds, nanos, client_at, client_bytes]) if is_snapshot => {
                    let stored = Stored {
                        number: recovery.end().checked_add(above)?,
                        effective: timestamp(seconds, nanos)?,
                        client_at: client_at.try_into().ok()?,
                        client_bytes: client_bytes.try_into().ok()?,
                        line: text,
                    };
                    recovery.load(&stored).then_some(())?;
                    self.locations += 1;
                }
                (KNOWN, [incarnation, number, ..]) => {
                    let incarnation = Incarnation(incarnation);
                    let mark = Mark {
                        incarnation,
                        number,
                    };
                    recovery.know(text, (incarnation.0 > 0).then_some(mark));
                }
                (MARKED, [number, ..]) => recovery.marked(text, number),
                (BEGAN, [incarnation, from, seconds, nanos, _]) => {
                    recovery.began(Incarnation(incarnation), from);
                    let nanos = nanos
                        .try_into()
                        .ok()
                        .filter(|nanos| *nanos < 1_000_000_000)?;
                    let after = Duration::new(seconds, nanos);
                    self.forgets_after = (!after.is_zero()).then_some(after);
                }
                (END, [chain, end, locations, ..]) if is_snapshot => {
                    self.chain = chain.try_into().ok()?;
                    self.is_ended = true;
                    (locations == self.locations && recovery.advance(end)).then_some(())?;
                }
                _ => return None,
            }
        }
        self.time = Some(header.time);
        let lost = self.forgets_after.map(|after| header.time.minus(after));
        self.lost = self.lost.max(lost);
        recovery.replay(&changes).then_some(())
    }
}

/// Gives back every location that stands in a whole batch of a file, whatever is wrong with the rest.
/// Gives the files that have something that was not read.
pub fn salvage<D: Disk>(
    disk: &mut D,
    files: &[Found],
    recovery: &mut Recovery<'_>,
    progress: Progress<'_>,
) -> Vec<FileName> {
    recovery.start_over();
    let (mut read, of) = (0, files.iter().map(|file| file.bytes).sum());
    let mut unread = Vec::new();
    for file in files {
        // Another server's locations may be another herd's.
        let is_own = file
            .head
            .as_ref()
            .is_none_or(|(_, server, _)| server == recovery.name);
        let mut told = |at| progress(read + at, of);
        if !is_own || !salvage_file(disk, file.name, recovery, &mut told).unwrap_or(false) {
            unread.push(file.name);
        }
        read += file.bytes;
    }
    unread
}

/// The same of a file. Says whether all of it was read.
fn salvage_file<D: Disk>(
    disk: &mut D,
    name: FileName,
    recovery: &mut Recovery<'_>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<bool> {
    let mut reader = Reader::new(disk, &name.to_string())?;
    let mut is_whole = true;
    loop {
        match reader.next()? {
            Next::Batch(_, mut body) => {
                let mut lines = Vec::new();
                while let Some(entry) = Entry::take(&mut body) {
                    lines.extend(matches!(entry.kind, CHANGE | LOCATION).then_some(entry.text));
                }
                recovery.salvage(&lines);
                is_whole &= body.is_empty();
                progress(reader.at);
            }
            Next::End => return Ok(is_whole),
            Next::Damaged => {
                is_whole = false;
                reader.skip(1); // there may be a batch anywhere behind it
            }
        }
    }
}
