//! The names of the log and of the files beside it, and how one takes another's place.
//!
//! ```text
//!   NAME.log.1 -> NAME.log.2 …     those that are kept move up, the oldest goes
//!   NAME.log   =  NAME.log.1       the log gets a second name
//!   NAME.log.new -> NAME.log       the new one takes its first
//! ```
//!
//! After a crash between any two of these `NAME.log` is a file that knows everything. `Rotation` and
//! `Log` are the callers.

use std::cmp::Ordering;
use std::io;
use std::path::{Path, PathBuf};

use super::appender::Appender;
use super::disk::{Disk, OpenError};

/// The ending of the file that is to replace the log.
pub const NEW: &str = "new";

/// The ending of a file that is about to be deleted.
pub const OLD: &str = "old";

/// The ending of a file that somebody has put in the log's place.
pub const FOREIGN: &str = "foreign";

/// The log as it was found.
#[derive(Debug)]
pub struct Found<F> {
    /// The file that is the log.
    pub log: Appender<F>,
    /// Whether it was moved away. Then it is to be replaced soon, since it has another name too.
    pub is_moved: bool,
}

/// The file that is the log in place of the one at `path`, if none is there or an empty one: that which
/// was moved away last.
pub fn moved_away<D: Disk>(disk: &D, path: &Path) -> Option<PathBuf> {
    let is_vacant = disk.len_at(path).is_none_or(|len| len == 0) && !disk.is_special_at(path);
    is_vacant.then(|| disk.moved_away_last(path))?
}

/// Opens the log, which is made if there is none, nor one that was moved away. That gets its name
/// back, if it can.
///
/// # Errors
/// Another process writes it; or the disk's. Nothing was made then where a log can be read.
pub fn open<D: Disk>(disk: &mut D, path: &Path) -> Result<Found<D::File>, OpenError> {
    let Some(moved) = moved_away(disk, path) else {
        let file = disk.open(path)?;
        return found(disk, file, false);
    };
    // Whoever has just begun there has it, though it is empty. Whether we could write it is no matter.
    if disk.len_at(path).is_some()
        && let Err(OpenError::InUse) = disk.open(path)
    {
        return Err(OpenError::InUse);
    }
    let file = disk.open(&moved).map_err(|error| error.of(&moved))?;
    if disk.name_again(&file, path).is_err() {
        // Perhaps this file system knows no second names.
        let _ = disk.rename(&moved, path);
    }
    found(disk, file, true)
}

/// The same if it may not be written.
///
/// # Errors
/// Another process writes it; or the disk's.
pub fn open_to_read<D: Disk>(disk: &mut D, path: &Path) -> Result<Appender<D::File>, OpenError> {
    let moved = moved_away(disk, path);
    let file = disk.open_to_read(moved.as_deref().unwrap_or(path))?;
    Appender::new(disk, file).map_err(OpenError::Io)
}

fn found<D: Disk>(disk: &D, file: D::File, is_moved: bool) -> Result<Found<D::File>, OpenError> {
    let log = Appender::new(disk, file).map_err(OpenError::Io)?;
    Ok(Found { log, is_moved })
}

/// What is in the log's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The log, an empty file, or nothing.
    Ours,
    /// A file of somebody else's, for which the log has lost its only name, as editors do. It is to be put
    /// aside: a restart would know no more than it holds.
    Taken,
}

/// What is in the log's place.
///
/// # Errors
/// Somebody has put a file of their own there, which is left alone: the log has another name, or that file
/// cannot be put aside.
pub fn look_at_place<D: Disk>(
    disk: &D,
    log: Option<&Appender<D::File>>,
    path: &Path,
) -> io::Result<Place> {
    let is_log = log.is_some_and(|log| disk.is_at(&log.file, path));
    let is_special = disk.is_special_at(path);
    if is_log || disk.len_at(path).is_none_or(|len| len == 0 && !is_special) {
        return Ok(Place::Ours);
    }
    let status = log.and_then(|log| disk.status(&log.file).ok());
    let is_nameless = status.is_some_and(|status| status.links == 0);
    match is_nameless && !is_special && disk.len_at(&beside(path, FOREIGN)).is_none() {
        true => Ok(Place::Taken),
        false => Err(io::Error::other("another file has its name: move it away")),
    }
}

/// Gives the file in the log's place a second name beside it, so that it is not lost when the log takes
/// the first.
///
/// # Errors
/// The disk's; or another process writes it as its log.
pub fn put_aside<D: Disk>(disk: &mut D, path: &Path) -> io::Result<()> {
    let aside = beside(path, FOREIGN);
    match disk.open(path) {
        Err(OpenError::InUse) => return Err(OpenError::InUse.into()),
        Ok(foreign) if disk.name_again(&foreign, &aside).is_ok() => return Ok(()),
        // This file system knows no second names, or the file is not ours.
        Ok(_) | Err(OpenError::Io(_)) => {}
    }
    disk.rename(path, &aside)
}

/// Whether the log has its own name, and not that of the newest of those that are kept, which a rotation
/// that did not come to its end may have given it.
pub fn is_to_be_kept<D: Disk>(disk: &D, log: &Appender<D::File>, path: &Path) -> bool {
    disk.is_at(&log.file, path) && !disk.is_at(&log.file, &beside(path, "1"))
}

/// Makes room for one more of those that are kept, `keep` of them at most.
///
/// # Errors
/// The disk's.
pub fn make_room<D: Disk>(disk: &mut D, path: &Path, keep: u32) -> io::Result<()> {
    let kept = |number: u32| beside(path, &number.to_string());
    // Counted from below: of those that may be kept most may never have been.
    let there = (1..=u32::MAX).take_while(|number| disk.len_at(&kept(*number)).is_some());
    let there = there.last().unwrap_or(0);
    for number in (1..=there).rev() {
        match number.cmp(&keep) {
            // Fewer may be kept now than were. Nothing is in the way of these.
            Ordering::Greater => disk.remove_later(&kept(number)),
            Ordering::Equal => drop_file(disk, path, &kept(number)),
            Ordering::Less => disk.rename(&kept(number), &kept(number + 1))?,
        }
    }
    Ok(())
}

/// Gives the log its second name, that of the newest of those that are kept.
///
/// # Errors
/// The disk's.
pub fn keep<D: Disk>(disk: &mut D, log: &Appender<D::File>, path: &Path) -> io::Result<()> {
    let kept = beside(path, "1");
    if disk.name_again(&log.file, &kept).is_ok() {
        return Ok(());
    }
    // This file system knows no second names: for a moment there is no log, and a start then takes
    // this one back.
    disk.rename(path, &kept)
}

/// Deletes what a rotation that did not come to its end has left at the log's side.
pub fn clear<D: Disk>(disk: &mut D, path: &Path) {
    drop_file(disk, path, &beside(path, NEW));
}

/// Deletes a file, under another name so that it is not in the way until it is gone.
fn drop_file<D: Disk>(disk: &mut D, path: &Path, file: &Path) {
    let old = beside(path, OLD);
    if disk.rename(file, &old).is_ok() {
        disk.remove_later(&old);
    }
}

/// `path` with an ending after its name.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}
