//! The real folder under the journal, and the thread that does for it what may take long.
//!
//! `Server` makes one; `Journal` is its only user. Appending is left on the loop: the kernel takes it
//! into memory. Syncs, and the deletion of large files, wait for the disk itself.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;

use rustix::fs::OFlags;

use super::disk::{Disk, OpenError, Step, Ticket, is_full};

/// The file that is locked.
const LOCK: &str = "lock";

/// Only the server itself reads what its clients said.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

type Job = Vec<Step<Arc<File>>>;

/// A folder of files.
#[derive(Debug)]
pub struct Files {
    folder: PathBuf,
    /// A server has used it before.
    pub was_used: bool,
    /// `None` while it cannot be made.
    lock: Option<File>,
    jobs: Sender<(Job, Ticket)>,
}

impl Files {
    /// Makes the folder, if it is not there, locks it and starts the thread. `post` takes home the
    /// outcome of each job.
    ///
    /// # Errors
    /// The folder cannot be used. That the disk is full is none, nor is any failure if it `may_fail`: then
    /// it is tried again with each file that is made.
    pub fn new(
        folder: PathBuf,
        may_fail: bool,
        post: impl Fn(Ticket, io::Result<()>) + Send + 'static,
    ) -> Result<Files, OpenError> {
        let was_used = folder.join(LOCK).exists();
        let lock = match lock(&folder) {
            Ok(lock) => Some(lock),
            Err(OpenError::Io(error)) if may_fail || is_full(&error) => None,
            Err(error) => return Err(error),
        };
        let (jobs, taken) = mpsc::channel::<(Job, Ticket)>();
        let at = folder.clone();
        thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || {
                taken
                    .iter()
                    .for_each(|(job, ticket)| post(ticket, run(&at, job)))
            })
            .map_err(OpenError::Io)?;
        Ok(Files {
            folder,
            was_used,
            lock,
            jobs,
        })
    }

    /// Has it locked before anything is written.
    fn lock(&mut self) -> io::Result<()> {
        if self.lock.is_none() {
            self.lock = Some(lock(&self.folder).map_err(|error| match error {
                OpenError::Io(error) => error,
                other => io::Error::other(other.to_string()),
            })?);
        }
        Ok(())
    }
}

fn lock(folder: &Path) -> Result<File, OpenError> {
    if folder.exists() && !folder.is_dir() {
        return Err(OpenError::Refused("it is no folder".to_owned()));
    }
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(FOLDER_MODE).create(folder);
    made.map_err(|error| match error.kind() {
        // One above it is a file.
        kind @ io::ErrorKind::NotADirectory => {
            OpenError::Io(io::Error::new(kind, "it is no folder"))
        }
        _ => OpenError::Io(error),
    })?;
    let lock = options().write(true).create(true).open(folder.join(LOCK));
    let lock = lock.map_err(OpenError::Io)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::Error(error)) => Err(OpenError::Io(error)),
        Err(TryLockError::WouldBlock) => {
            Err(OpenError::Refused("another process uses it".to_owned()))
        }
    }
}

/// A link must not lead elsewhere, nor may a pipe hold us up.
fn options() -> OpenOptions {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = File::options();
    options.mode(FILE_MODE).custom_flags(flags.bits() as i32);
    options
}

fn run(folder: &Path, job: Job) -> io::Result<()> {
    job.into_iter().try_for_each(|step| match step {
        Step::Sync(file) => file.sync_data(),
        Step::Rename(from, to) => fs::rename(folder.join(from), folder.join(to)),
        Step::SyncNames => sync_names(folder),
        Step::Remove(name) => match fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        },
    })
}

fn sync_names(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()?;
    // The folder may be as new as what is in it; but what it lies in may not be ours.
    let parent = folder
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let _ = File::open(parent.unwrap_or(Path::new("."))).map(|parent| parent.sync_all());
    Ok(())
}

impl Disk for Files {
    type File = Arc<File>;

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn list(&mut self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(_) if self.lock.is_none() => return Ok(Vec::new()),
            entries => entries?,
        };
        let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn open(&mut self, name: &str) -> io::Result<(Arc<File>, u64)> {
        let file = options().read(true).open(self.folder.join(name))?;
        let found = file.metadata()?;
        match found.is_file() {
            true => Ok((Arc::new(file), found.len())),
            false => Err(io::Error::other("it is no regular file")),
        }
    }

    fn read_at(&self, file: &Arc<File>, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        file.read_at(bytes, at)
    }

    fn create(&mut self, name: &str) -> io::Result<Arc<File>> {
        self.lock()?;
        let path = self.folder.join(name);
        let file = options().append(true).create_new(true).open(path)?;
        Ok(Arc::new(file))
    }

    fn reopen(&mut self, name: &str, bytes: u64) -> io::Result<Arc<File>> {
        self.lock()?;
        let file = options().append(true).open(self.folder.join(name))?;
        file.set_len(bytes)?;
        Ok(Arc::new(file))
    }

    fn append(&mut self, file: &Arc<File>, bytes: &[u8]) -> io::Result<()> {
        (&**file).write_all(bytes)
    }

    fn begin(&mut self, job: Job, ticket: Ticket) {
        let _ = self.jobs.send((job, ticket)); // the thread ends only with us
    }

    fn run(&mut self, job: Job) -> io::Result<()> {
        run(&self.folder, job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_that_fails_is_told_and_one_of_nothing_does_not_fail() {
        let folder = tempfile::tempdir().expect("a directory");
        let remove = |name: &str| run(folder.path(), vec![Step::Remove(name.to_owned())]);
        remove("journal-0000000000000001").expect("it is not there");
        let in_the_way = folder.path().join("journal-0000000000000002");
        fs::create_dir(&in_the_way).expect("the directory is ours");
        remove("journal-0000000000000002").expect_err("a folder is no file");
        assert!(in_the_way.exists());
    }
}
