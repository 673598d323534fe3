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

use std::io;
use std::path::{Path, PathBuf};

use super::appender::Appender;
use super::disk::{Disk, OpenError};

/// The ending of the file that is to replace the log.
pub const NEW: &str = "new";

/// The ending of a file that is about to be deleted.
pub const OLD: &str = "old";

/// Opens the log as a start finds it. If there is none, or an empty one, the file that was moved away
/// last gets its name back, if it can, and is gone on in. Says whether that is so: it has another
/// name too, and is to be replaced soon.
///
/// # Errors
/// Another process writes it; or the disk's.
pub fn open<D: Disk>(disk: &mut D, path: &Path) -> Result<(Appender<D::File>, bool), OpenError> {
    let file = disk.open(path)?;
    clear(disk, path);
    let out = Appender::new(disk, file).map_err(OpenError::Io)?;
    let moved = match out.is_regular() && out.is_empty() {
        true => disk.moved_away_last(path),
        false => None,
    };
    let Some(moved) = moved else {
        return Ok((out, false));
    };
    let file = disk.open(&moved)?;
    if disk.name_again(&file, path).is_err() {
        // Perhaps this file system knows no second names.
        let _ = disk.rename(&moved, path);
    }
    let out = Appender::new(disk, file).map_err(OpenError::Io)?;
    Ok((out, true))
}

/// Fails if somebody has put a file of their own in the log's place.
///
/// # Errors
/// Says so.
pub fn check_place<D: Disk>(
    disk: &D,
    log: Option<&Appender<D::File>>,
    path: &Path,
) -> io::Result<()> {
    let is_log = log.is_some_and(|log| disk.is_at(&log.file, path));
    match disk.len_at(path) {
        Some(1..) if !is_log => Err(io::Error::other("another file has its name: move it away")),
        _ => Ok(()),
    }
}

/// Whether the log has its own name and no other. Otherwise somebody has moved it away.
///
/// # Errors
/// The disk's.
pub fn is_only_at<D: Disk>(disk: &D, log: &Appender<D::File>, path: &Path) -> io::Result<bool> {
    Ok(disk.status(&log.file)?.links == 1 && disk.is_at(&log.file, path))
}

/// Makes room for one more of those that are kept, `keep` of them at most.
///
/// # Errors
/// The disk's.
pub fn make_room<D: Disk>(disk: &mut D, path: &Path, keep: u32) -> io::Result<()> {
    let kept = |number: u32| beside(path, &number.to_string());
    let mut surplus = keep;
    while disk.len_at(&kept(surplus)).is_some() {
        drop_file(disk, path, &kept(surplus));
        surplus += 1; // fewer may be kept now than were
    }
    for number in (1..keep).rev() {
        if disk.len_at(&kept(number)).is_some() {
            disk.rename(&kept(number), &kept(number + 1))?;
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
