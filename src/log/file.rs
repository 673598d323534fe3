//! The file that the log is now: opened, appended to, rotated by rename.
//!
//! ```text
//!   NAME.log      the log
//!   NAME.log.1 …  rotated files, the newest first
//! ```
//!
//! `Writer` is the only caller, on its own thread: any of this may wait for the disk.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::record::TORN;

/// New files are readable by their owner only: a log says where people are.
const MODE: u32 = 0o600;

/// An open log.
#[derive(Debug)]
pub struct LogFile {
    file: File,
    device: u64,
    inode: u64,
    is_regular: bool,
    /// How long it is; somebody else may have cut it since.
    len: u64,
}

impl LogFile {
    /// Opens the log at `path`, made with its directory if need be. A record that broke off at its end
    /// is marked as torn. A symbolic link is refused: it may lead anywhere.
    ///
    /// # Errors
    /// The file system's.
    pub fn open(path: &Path) -> io::Result<LogFile> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        // A pipe that nobody reads must fail now; later it may make the thread wait.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(MODE)
            .custom_flags(flags.bits() as i32)
            .open(path)?;
        fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
        let found = file.metadata()?;
        let mut log = LogFile {
            file,
            device: found.dev(),
            inode: found.ino(),
            is_regular: found.is_file(),
            len: found.len(),
        };
        if log.is_torn_at(path) {
            log.append(TORN).map_err(|(_, error)| error)?;
        }
        Ok(log)
    }

    /// Whether the file ends within a record. Where that cannot be read it is taken not to.
    fn is_torn_at(&self, path: &Path) -> bool {
        let mut last = *b"\n";
        if self.is_regular && self.len > 0 {
            let read = File::open(path).and_then(|file| file.read_at(&mut last, self.len - 1));
            return read.is_ok() && last != *b"\n";
        }
        false
    }

    /// Whether it is still what `path` names. Also looks how long it is.
    pub fn is_at(&mut self, path: &Path) -> bool {
        let Ok(found) = fs::symlink_metadata(path) else {
            return false;
        };
        self.len = found.len();
        (self.device, self.inode) == (found.dev(), found.ino())
    }

    /// How many bytes it may grow before it is `max_bytes` long. A device or a pipe never is.
    pub fn room(&self, max_bytes: u64) -> u64 {
        match self.is_regular {
            true => max_bytes.saturating_sub(self.len),
            false => u64::MAX,
        }
    }

    /// How long it is; 0 for a device or a pipe.
    pub fn len(&self) -> u64 {
        if self.is_regular { self.len } else { 0 }
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// The file system's, and how many bytes were written before it.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
                Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    written += count;
                    self.len += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((written, error)),
            }
        }
        Ok(())
    }
}

/// Renames the log at `path` to `NAME.log.1` and those before it each to the next number; of them
/// `keep` remain.
///
/// # Errors
/// The file system's.
pub fn rotate(path: &Path, keep: u32) -> io::Result<()> {
    if keep == 0 {
        return fs::remove_file(path);
    }
    // Only as far as they are: `keep` may be any number.
    let last = (1..keep).find(|&number| !rotated(path, number).exists());
    for number in (1..last.unwrap_or(keep)).rev() {
        fs::rename(rotated(path, number), rotated(path, number + 1))?;
    }
    fs::rename(path, rotated(path, 1))
}

fn rotated(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    #[test]
    fn a_file_is_made_with_its_directory_for_its_owner_only_and_appended_to() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a/b/Ann.log");
        for want in ["one\n", "one\ntwo\n"] {
            let mut log = LogFile::open(&path).expect("it can be made");
            let line = want.lines().last().expect("there is one");
            log.append(format!("{line}\n").as_bytes())
                .expect("there is room");
            assert_eq!(text(&path), want);
            assert_eq!(log.len(), want.len() as u64);
            assert_eq!(log.room(100), 100 - log.len());
            assert_eq!(log.room(1), 0);
        }
        let mode = fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_broke_off_is_marked_before_anything_follows() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("Ann.log");
        fs::write(&path, "one\ntw").expect("there is room");
        let mut log = LogFile::open(&path).expect("it is ours");
        log.append(b"three\n").expect("there is room");
        assert_eq!(text(&path), "one\ntw\\... torn\nthree\n");
    }

    #[test]
    fn a_symbolic_link_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, other) = (directory.path().join("Ann.log"), directory.path().join("x"));
        fs::write(&other, "").expect("there is room");
        std::os::unix::fs::symlink(&other, &path).expect("it is ours");
        assert!(LogFile::open(&path).is_err());
    }

    #[test]
    fn a_file_that_was_moved_deleted_or_replaced_is_no_longer_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, other) = (directory.path().join("Ann.log"), directory.path().join("x"));
        let mut log = LogFile::open(&path).expect("it can be made");
        log.append(b"one\n").expect("there is room");
        assert!(log.is_at(&path));
        fs::write(&path, "").expect("there is room"); // cut: it is the same file
        assert!(log.is_at(&path) && log.len() == 0);
        fs::rename(&path, &other).expect("it is ours");
        assert!(!log.is_at(&path));
        fs::write(&path, "another").expect("there is room");
        assert!(!log.is_at(&path));
    }

    #[test]
    fn rotated_files_move_on_and_the_oldest_goes() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("Ann.log");
        let all = |keep: u32| {
            for number in 1..=6 {
                fs::write(&path, number.to_string()).expect("there is room");
                rotate(&path, keep).expect("it is ours");
                assert!(!path.exists());
            }
            let names = (1..=6).map(|number| rotated(&path, number));
            let found: Vec<_> = names
                .filter(|name| name.exists())
                .map(|name| text(&name))
                .collect();
            for number in 1..=6 {
                let _ = fs::remove_file(rotated(&path, number));
            }
            found
        };
        assert_eq!(all(0), [""; 0]);
        assert_eq!(all(1), ["6"]);
        assert_eq!(all(3), ["6", "5", "4"]);
        assert_eq!(all(u32::MAX), ["6", "5", "4", "3", "2", "1"]);
    }

    #[test]
    fn a_gap_among_rotated_files_is_filled_and_what_is_behind_it_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("Ann.log");
        for number in [1, 3, 9] {
            fs::write(rotated(&path, number), number.to_string()).expect("there is room");
        }
        fs::write(&path, "0").expect("there is room");
        rotate(&path, 4).expect("it is ours");
        for (number, want) in [(1, "0"), (2, "1"), (3, "3"), (9, "9")] {
            assert_eq!(text(&rotated(&path, number)), want);
        }
    }
}
