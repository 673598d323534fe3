//! The thread that writes the log and rotates it, so that a disk that hangs holds up nobody.
//!
//! ```text
//!   NAME.log      the log
//!   NAME.log.1 …  rotated files, the newest first
//! ```
//!
//! `Log` starts it and hands it buffers, which come back when they are written. One that cannot be
//! written is tried again each second; those behind it wait.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::mem;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::thread;
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::options::Options;
use crate::cause;

/// What failed is tried again after this long.
const RETRY: Duration = Duration::from_secs(1);

/// New files and folders are their owner's only: a log says where people are.
const MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Ends a record of which only the beginning was written.
const TORN: &[u8] = b"\\... torn\n";

/// A buffer that has been written.
pub struct Written {
    /// The buffer.
    pub buffer: Vec<u8>,
    /// A file other than the first begins with it, or with a part of it.
    pub began_file: bool,
}

/// What the thread has.
pub struct Writer<P> {
    /// How the log is to be kept.
    pub options: Options,
    /// Tells the loop why the log cannot be written, once for each failure however long it lasts.
    pub post: P,
    /// Takes buffers back to the loop.
    pub done: Sender<Written>,
    /// The server ends, so nothing is tried again.
    pub is_ending: Arc<AtomicBool>,
    /// The open file with its device and inode.
    pub file: Option<(File, u64, u64)>,
    /// A file was opened before: what a log lacks at its beginning is in another.
    pub has_opened: bool,
    /// A file was begun since the last buffer came back.
    pub began_file: bool,
}

impl<P: Fn(String)> Writer<P> {
    /// Writes what comes until nobody is left to send anything.
    pub fn run(mut self, buffers: &Receiver<Vec<u8>>) {
        for buffer in buffers {
            if self.write(&buffer) {
                let began_file = mem::take(&mut self.began_file);
                let _ = self.done.send(Written { buffer, began_file }); // the loop may have gone home
            }
        }
    }

    /// `false` if that could not be done before the end.
    fn write(&mut self, records: &[u8]) -> bool {
        let (mut written, mut is_failing) = (0, false);
        while written < records.len() {
            match self.write_some(records, written) {
                Ok(count) => (written, is_failing) = (written + count, false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) if self.is_ending.load(Ordering::Acquire) => return false,
                Err(error) => {
                    if !mem::replace(&mut is_failing, true) {
                        (self.post)(why(&error));
                    }
                    thread::park_timeout(RETRY); // an end unparks us
                }
            }
        }
        true
    }

    /// Appends what is not written yet to the file that the log's path names now: another than before, if
    /// that was moved, deleted or replaced. It is rotated first if `records` would make it too long.
    fn write_some(&mut self, records: &[u8], written: usize) -> io::Result<usize> {
        let path = &self.options.path;
        if let Ok(there) = fs::symlink_metadata(path) {
            self.file
                .take_if(|(_, device, inode)| (there.dev(), there.ino()) != (*device, *inode));
            let is_long = there.len() + records.len() as u64 > self.options.max_bytes;
            if is_long && written == 0 && there.is_file() && there.len() > 0 {
                rotate(path, self.options.keep)?;
                self.file = None;
            }
        } else {
            self.file = None;
        }
        let (file, ..) = match &mut self.file {
            Some(file) => file,
            none => {
                let opened = none.insert(open(path)?);
                let is_another = mem::replace(&mut self.has_opened, true);
                let is_empty = opened.0.metadata().is_ok_and(|about| about.len() == 0);
                self.began_file |= is_another && is_empty;
                opened
            }
        };
        match file.write(&records[written..]) {
            Ok(0) => Err(ErrorKind::WriteZero.into()),
            result => result,
        }
    }
}

/// Opens the log, made with its directory if there is none. A record that broke off at its end is marked as
/// torn. A symbolic link is refused: it may lead anywhere.
fn open(path: &Path) -> io::Result<(File, u64, u64)> {
    if let Some(directory) = path.parent() {
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(FOLDER_MODE)
            .create(directory)?;
    }
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(MODE);
    let mut file = options.custom_flags(flags.bits() as i32).open(path)?;
    // A pipe that nobody reads had to fail; if somebody does, we wait for him.
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    let about = file.metadata()?;
    let mut last = *b"\n"; // also where it cannot be read
    if about.is_file() && about.len() > 0 {
        let mut options = OpenOptions::new();
        let again = options.read(true).custom_flags(flags.bits() as i32);
        let _ = again
            .open(path)
            .and_then(|file| file.read_at(&mut last, about.len() - 1));
    }
    if last != *b"\n" {
        let _ = file.write(TORN); // if that fails, what follows will too
    }
    Ok((file, about.dev(), about.ino()))
}

/// Renames the log to `NAME.log.1`, and those before it each to the next number; `keep` of them remain.
fn rotate(path: &Path, keep: u32) -> io::Result<()> {
    let rotated = |number: u32| {
        let mut name = OsString::from(path);
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    if keep == 0 {
        return fs::remove_file(path);
    }
    // Only as far as they are: `keep` may be any number.
    let free = (1..keep).find(|&number| !rotated(number).exists());
    for number in (1..free.unwrap_or(keep)).rev() {
        fs::rename(rotated(number), rotated(number + 1))?;
    }
    fs::rename(path, rotated(1))
}

/// The cause of a failure, for people.
fn why(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::StorageFull => "disk full".to_owned(),
        _ => cause::of(error),
    }
}
