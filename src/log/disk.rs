//! What the log asks of a file system: few enough operations that a simulated disk can do them
//! too, with full disks, errors, and power failures that forget what was not synced.
//!
//! `Log` is the only caller. `Files` is the real one.

use std::io;
use std::path::{Path, PathBuf};

/// Why a log could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process writes it.
    InUse,
    /// It cannot be had; the server goes on without.
    Io(io::Error),
}

impl OpenError {
    /// The same, naming the file at `path`.
    pub fn of(self, path: &Path) -> OpenError {
        match self {
            OpenError::InUse => OpenError::InUse,
            OpenError::Io(error) => {
                let text = format!("{}: {error}", path.display());
                OpenError::Io(io::Error::new(error.kind(), text))
            }
        }
    }
}

impl From<OpenError> for io::Error {
    fn from(error: OpenError) -> io::Error {
        match error {
            OpenError::InUse => io::Error::other("another process writes it"),
            OpenError::Io(error) => error,
        }
    }
}

/// What is known of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its length in bytes.
    pub len: u64,
    /// How many names it has; 0 once it was deleted.
    pub links: u64,
    /// Whether it is a regular file, rather than a device or a pipe, which have no past.
    pub is_regular: bool,
}

/// Names a sync that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(pub u64);

/// A file system. Every error is the system's own.
pub trait Disk {
    /// An open file. Bytes are only ever appended.
    type File;

    /// Opens the file at `path`, made if it is not there, with its directory, and locks it against
    /// other processes.
    fn open(&mut self, path: &Path) -> Result<Self::File, OpenError>;

    /// The same of a file that is there, and that may not be written. A file system that knows no such
    /// thing need not do more than [`Disk::open`].
    fn open_to_read(&mut self, path: &Path) -> Result<Self::File, OpenError> {
        self.open(path)
    }

    /// The same as [`Disk::open`], but what the file held is gone.
    fn create(&mut self, path: &Path) -> Result<Self::File, OpenError>;

    /// Appends as many of `bytes` as it can, and says how many.
    fn append(&mut self, file: &mut Self::File, bytes: &[u8]) -> io::Result<usize>;

    /// Reads from the byte `at` on, and says how many bytes there were; 0 at the end.
    fn read_at(&self, file: &Self::File, at: u64, bytes: &mut [u8]) -> io::Result<usize>;

    /// What is known of a file.
    fn status(&self, file: &Self::File) -> io::Result<Status>;

    /// Waits until everything appended survives a power failure.
    fn sync(&mut self, file: &Self::File) -> io::Result<()>;

    /// The same without waiting: the outcome comes to [`Log::handle_synced`].
    ///
    /// [`Log::handle_synced`]: super::Log::handle_synced
    fn sync_later(&mut self, file: &Self::File, ticket: Ticket);

    /// Waits until the names in `path`'s directory survive a power failure.
    fn sync_directory(&mut self, path: &Path) -> io::Result<()>;

    /// The same without waiting, as [`Disk::sync_later`].
    fn sync_directory_later(&mut self, path: &Path, ticket: Ticket);

    /// Whether `path` names this very file.
    fn is_at(&self, file: &Self::File, path: &Path) -> bool;

    /// The length of the file at `path`; `None` if there is none.
    fn len_at(&self, path: &Path) -> Option<u64>;

    /// Whether `path` names something that is no regular file. A file system that knows no such thing
    /// need not say so.
    fn is_special_at(&self, _path: &Path) -> bool {
        false
    }

    /// Gives `file` the name `path`, at once and whether or not another has it.
    fn name_again(&mut self, file: &Self::File, path: &Path) -> io::Result<()>;

    /// Moves a file, at once and whether or not another has the name `to`.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;

    /// Deletes a file some time soon: a large one may take long.
    fn remove_later(&mut self, path: &Path);

    /// Closes a file some time soon: the last close of a deleted one may take long.
    fn close_later(&mut self, file: Self::File);

    /// The file that was moved away from `path` last, by its name and age: `path` with something
    /// after it.
    fn moved_away_last(&self, path: &Path) -> Option<PathBuf>;
}
