//! The real file system under the log, and the thread that does for it what may take long.
//!
//! `Server` makes one; `Log` is its only user. Appending to a file is left on the loop: the kernel
//! takes it into memory. Syncing, deleting and closing large files wait for the disk itself, so a
//! thread does them and posts the outcome.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use rustix::fs::{AtFlags, CWD, OFlags, linkat};

use super::disk::{Disk, OpenError, Status, Ticket};
use super::names::beside;

/// The ending of a name that is about to take another's place.
const LINK: &str = "link";

/// The file system.
#[derive(Debug)]
pub struct Files {
    jobs: Sender<Job>,
}

#[derive(Debug)]
enum Job {
    Sync(Arc<File>, Ticket),
    SyncDirectory(PathBuf, Ticket),
    Remove(PathBuf),
    Close(Arc<File>),
}

impl Files {
    /// Starts the thread. `post` takes home the outcome of each sync that was begun.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn new(post: impl Fn(Ticket, io::Result<()>) + Send + 'static) -> io::Result<Files> {
        let (jobs, taken) = mpsc::channel();
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || work(&taken, post))?;
        Ok(Files { jobs })
    }

    fn post(&self, job: Job) {
        // The thread ends only with us.
        let _ = self.jobs.send(job);
    }
}

fn work(jobs: &Receiver<Job>, post: impl Fn(Ticket, io::Result<()>)) {
    for job in jobs {
        match job {
            Job::Sync(file, ticket) => {
                let synced = sync(&file);
                drop(file); // who is told may look for it unlocked
                post(ticket, synced);
            }
            Job::SyncDirectory(path, ticket) => post(ticket, sync_directory(&path)),
            // It may have gone already; if it cannot go, the next rotation tries again.
            Job::Remove(path) => drop(fs::remove_file(path)),
            Job::Close(file) => drop(file),
        }
    }
}

/// `fdatasync`; what is no file on a disk, as a pipe, has nothing to sync.
fn sync(file: &File) -> io::Result<()> {
    match file.sync_data() {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let sync_names = |directory: &Path| {
        let here = directory.as_os_str().is_empty();
        sync(&File::open(if here { Path::new(".") } else { directory })?)
    };
    let mut directories = path.ancestors().skip(1);
    let synced = directories.next().map_or(Ok(()), sync_names);
    // It may be as new as what is in it; but what it lies in may not be ours.
    let _ = directories.next().map(sync_names);
    synced
}

fn open(path: &Path, truncate: bool) -> Result<Arc<File>, OpenError> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(OpenError::Io)?;
    }
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .append(true)
        .create(true)
        // Files do not mind; a pipe that nobody reads must fail rather than hold up the loop.
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(path)
        .map_err(OpenError::Io)?;
    if !file.metadata().map_err(OpenError::Io)?.is_file() {
        return Ok(Arc::new(file)); // whoever logs to a device may share it
    }
    lock(&file)?;
    if truncate {
        file.set_len(0).map_err(OpenError::Io)?; // only now that it is ours
    }
    Ok(Arc::new(file))
}

fn lock(file: &File) -> Result<(), OpenError> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => OpenError::InUse,
        TryLockError::Error(error) => OpenError::Io(error),
    })
}

impl Disk for Files {
    type File = Arc<File>;

    fn open(&mut self, path: &Path) -> Result<Arc<File>, OpenError> {
        open(path, false)
    }

    fn open_to_read(&mut self, path: &Path) -> Result<Arc<File>, OpenError> {
        let mut options = OpenOptions::new();
        let options = options
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits() as i32); // a pipe that nobody writes
        let file = options.open(path).map_err(OpenError::Io)?;
        lock(&file)?;
        Ok(Arc::new(file))
    }

    fn create(&mut self, path: &Path) -> Result<Arc<File>, OpenError> {
        open(path, true)
    }

    fn append(&mut self, file: &mut Arc<File>, bytes: &[u8]) -> io::Result<usize> {
        (&**file).write(bytes)
    }

    fn read_at(&self, file: &Arc<File>, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        file.read_at(bytes, at)
    }

    fn status(&self, file: &Arc<File>) -> io::Result<Status> {
        let found = file.metadata()?;
        Ok(Status {
            len: found.len(),
            links: found.nlink(),
            is_regular: found.is_file(),
        })
    }

    fn sync(&mut self, file: &Arc<File>) -> io::Result<()> {
        sync(file)
    }

    fn sync_later(&mut self, file: &Arc<File>, ticket: Ticket) {
        self.post(Job::Sync(Arc::clone(file), ticket));
    }

    fn sync_directory(&mut self, path: &Path) -> io::Result<()> {
        sync_directory(path)
    }

    fn sync_directory_later(&mut self, path: &Path, ticket: Ticket) {
        self.post(Job::SyncDirectory(path.to_owned(), ticket));
    }

    fn is_at(&self, file: &Arc<File>, path: &Path) -> bool {
        let (Ok(ours), Ok(there)) = (file.metadata(), fs::metadata(path)) else {
            return false;
        };
        (ours.dev(), ours.ino()) == (there.dev(), there.ino())
    }

    fn len_at(&self, path: &Path) -> Option<u64> {
        fs::metadata(path).ok().map(|found| found.len())
    }

    fn is_special_at(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|found| !found.is_file())
    }

    fn name_again(&mut self, file: &Arc<File>, path: &Path) -> io::Result<()> {
        // A link takes no other's place, but a rename does.
        let link = beside(path, LINK);
        let _ = fs::remove_file(&link); // of an earlier life that was killed just here
        let descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
        linkat(CWD, descriptor, CWD, &link, AtFlags::SYMLINK_FOLLOW)?;
        fs::rename(&link, path)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_later(&mut self, path: &Path) {
        self.post(Job::Remove(path.to_owned()));
    }

    fn close_later(&mut self, file: Arc<File>) {
        self.post(Job::Close(file));
    }

    fn moved_away_last(&self, path: &Path) -> Option<PathBuf> {
        let name = path.file_name()?.as_encoded_bytes();
        // `.1` and `-20121117`: what rotation makes, ours and others', and people hardly.
        let is_moved_away = |other: &OsStr| match other.as_encoded_bytes().strip_prefix(name) {
            Some([b'.' | b'-', rest @ ..]) => {
                let dated = |byte: &u8| byte.is_ascii_digit() || *byte == b'-';
                !rest.is_empty() && rest.iter().all(dated)
            }
            _ => false,
        };
        let found = fs::read_dir(path.parent()?).ok()?.flatten();
        let named = found.filter(|entry| is_moved_away(&entry.file_name()));
        let files = named.filter_map(|entry| {
            let about = entry.metadata().ok().filter(|about| about.is_file())?;
            (about.len() > 0).then(|| (about.modified().ok(), entry.path()))
        });
        files.max().map(|(_, path)| path)
    }
}
