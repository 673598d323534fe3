//! What the journal asks of a file system: few enough operations that a simulated disk can do them
//! too, with full disks, errors, deaths at every call, and power failures that forget what was not synced.
//!
//! `Journal` is the only caller. `Files` is the real one. All files lie in one folder, which is the
//! journal's own, so a file is called by its name in it.

use std::fmt;
use std::io;

use crate::cause;

/// Names a job that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(pub u64);

/// A part of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<F> {
    /// Waits until everything appended to a file survives a power failure.
    Sync(F),
    /// Gives a file another name, at once and whether or not another has it.
    Rename(String, String),
    /// Waits until the names in the folder survive a power failure.
    SyncNames,
    /// Deletes a file. That it is not there is no failure.
    Remove(String),
}

/// A folder with files. Every error is the system's own.
pub trait Disk {
    /// An open file.
    type File: Clone + fmt::Debug;

    /// What the operator finds a file by, or with no name the folder.
    fn path(&self, name: &str) -> String {
        name.to_owned()
    }

    /// The names that are there.
    fn list(&mut self) -> io::Result<Vec<String>>;

    /// Opens a file to be read, and gives its length.
    fn open(&mut self, name: &str) -> io::Result<(Self::File, u64)>;

    /// Reads from the byte `at` on, and says how many bytes there were; 0 at the end.
    fn read_at(&self, file: &Self::File, at: u64, bytes: &mut [u8]) -> io::Result<usize>;

    /// Makes a file to be appended to. It is an error if the name is taken.
    fn create(&mut self, name: &str) -> io::Result<Self::File>;

    /// Opens a file to be appended to, cut to so many bytes.
    fn reopen(&mut self, name: &str, bytes: u64) -> io::Result<Self::File>;

    /// Appends. After a failure any part of `bytes` may be in the file.
    fn append(&mut self, file: &Self::File, bytes: &[u8]) -> io::Result<()>;

    /// Begins a job, and does not wait for it. Jobs are done in the order in which they were begun, and
    /// the steps of each up to the first that fails. The outcome comes to [`Journal::handle_done`].
    ///
    /// [`Journal::handle_done`]: super::Journal::handle_done
    fn begin(&mut self, job: Vec<Step<Self::File>>, ticket: Ticket);

    /// Does a job at once, and waits for it.
    fn run(&mut self, job: Vec<Step<Self::File>>) -> io::Result<()>;
}

/// Why a journal could not be opened. Nothing was touched.
#[derive(Debug)]
pub enum OpenError {
    /// It must not be used: why, and what to do.
    Refused(String),
    /// The folder cannot be made, read or written.
    Io(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Refused(why) => f.write_str(why),
            OpenError::Io(error) => f.write_str(&cause::of(error)),
        }
    }
}

/// Whether a disk is full, or the share of it that one may use: that may be otherwise soon.
pub fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
