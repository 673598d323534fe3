//! The log, which is the journal: what came in and went out, and so what a restart knows.
//!
//! `Server` is the caller. In each turn records are gathered here and handed to the kernel in one
//! write, before the replies they tell of may leave: then `kill -9` loses nothing that was
//! acknowledged. A log that cannot be written never stops the server; it says so once, counts what
//! it could not write, and tries again each second.

pub mod record;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use self::record::{Direction, ELLIPSIS, GAP, Label, RECORD_BYTES_MAX, Stamp};
use crate::line_buffer::{LineBuffer, Piece};
use crate::node::history::Recalled;
use crate::time::Now;

/// A log that could not be written is tried again after this long.
const RETRY: Duration = Duration::from_secs(1);

/// Records beyond this are written before the turn is over.
const BUFFER_BYTES_MAX: usize = 1024 * 1024;

/// The piece in which an old log is read.
const REPLAY_BYTES: usize = 256 * 1024;

/// What an operator should know of the log.
#[derive(Debug, PartialEq, Eq)]
pub enum Notice {
    /// It cannot be written any longer; the text says why.
    Failing(String),
    /// It is written again.
    Recovered {
        /// So many records are missing.
        missing: u64,
        /// It is a fresh one, which knows nothing of what an older one held.
        fresh: bool,
    },
}

/// Why a log could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process writes it.
    InUse,
    /// It cannot be had; the server goes on without.
    Io(io::Error),
    /// It is open, but what it held could not be read to the end.
    Unread(io::Error),
}

/// One server's log.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: Option<File>,
    stamp: Stamp,
    /// The turn's records.
    buffer: Vec<u8>,
    /// While it cannot be written: when to try again.
    retry_at: Option<Instant>,
    /// Records that could not be written since.
    missing: u64,
    /// The operator has been told.
    said: bool,
    /// The last write broke off within a record.
    torn: bool,
    /// It was fresh when it was opened at last, and has not been written since.
    fresh: bool,
    /// A write before the end of the turn failed.
    broken: Option<io::Error>,
}

impl Log {
    /// A log that will be at `path`; nothing is touched yet.
    pub fn new(path: PathBuf) -> Log {
        Log {
            path,
            file: None,
            stamp: Stamp::default(),
            buffer: Vec::new(),
            retry_at: None,
            missing: 0,
            said: false,
            torn: false,
            fresh: false,
            broken: None,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the log, makes it and its directory if need be, and hands what it recalls to `take`,
    /// in order. A record torn off at its end is marked as such and not believed.
    ///
    /// # Errors
    /// [`OpenError::InUse`] if another process has it. [`OpenError::Io`] is the kernel's; then the
    /// log is tried again each second, and what it holds is not replayed.
    pub fn open(&mut self, now: Now, take: impl FnMut(Recalled<'_>)) -> Result<(), OpenError> {
        self.retry_at = Some(now.mono); // until it is open
        self.said = true; // the caller tells of a failure itself
        let file = open_locked(&self.path)?;
        let replayed = replay(&file, take).map_err(OpenError::Unread);
        self.torn = ends_torn(&file).map_err(OpenError::Io)?;
        self.file = Some(file);
        self.retry_at = None;
        self.said = false;
        replayed
    }

    /// Opens the log anew, after it has been moved away. Whether it is a fresh one, which knows
    /// nothing of what the old one held.
    pub fn reopen(&mut self, now: Now) -> (bool, Option<Notice>) {
        let notice = self.commit(now);
        match open_locked(&self.path) {
            Ok(file) => {
                let fresh = is_fresh(&file);
                self.torn = ends_torn(&file).unwrap_or(false);
                self.file = Some(file);
                (fresh, notice)
            }
            Err(OpenError::InUse) => (false, notice), // by ourselves: it has not been moved
            Err(OpenError::Io(error) | OpenError::Unread(error)) => {
                self.file = None;
                (false, self.fail(&error, now).or(notice))
            }
        }
    }

    /// Sets the time of the records that follow.
    pub fn set_time(&mut self, now: Now) {
        self.stamp.set(now.wall);
    }

    /// Adds a record.
    pub fn record(&mut self, direction: Direction, label: Label<'_>, text: &[u8]) {
        record::write_head(&mut self.buffer, &self.stamp, direction, label);
        record::write_text(&mut self.buffer, text);
        if self.buffer.len() >= BUFFER_BYTES_MAX {
            self.write_early();
        }
    }

    /// Writes before the turn is over. From a failure on nothing more is tried until the commit
    /// has told of it: what follows a record that broke off must not run on from there.
    fn write_early(&mut self) {
        if self.retry_at.is_none() && self.broken.is_none() {
            self.broken = self.write_buffer().err();
        }
        self.drop_buffer();
    }

    /// Adds a record of a line that goes on beyond its `beginning`.
    pub fn record_beginning(&mut self, direction: Direction, label: Label<'_>, beginning: &[u8]) {
        record::write_head(&mut self.buffer, &self.stamp, direction, label);
        let shown = &beginning[..beginning.len().min(record::BEGINNING_BYTES)];
        record::write_escaped(&mut self.buffer, shown);
        self.buffer.extend_from_slice(ELLIPSIS);
        self.buffer.push(b'\n');
    }

    /// Adds the record of that line's end: it had `bytes` bytes in all.
    pub fn record_length(&mut self, direction: Direction, label: Label<'_>, bytes: u64) {
        record::write_head(&mut self.buffer, &self.stamp, direction, label);
        record::write_length(&mut self.buffer, bytes);
        self.buffer.push(b'\n');
    }

    /// Whether it cannot be written at present.
    pub fn is_failing(&self) -> bool {
        self.retry_at.is_some()
    }

    /// When [`Log::commit`] should be called next though nothing has been recorded.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Hands the turn's records to the kernel.
    pub fn commit(&mut self, now: Now) -> Option<Notice> {
        if let Some(error) = self.broken.take() {
            return self.fail(&error, now);
        }
        match self.retry_at {
            None if self.buffer.is_empty() => None,
            None => match self.write_buffer() {
                Ok(()) => None,
                Err(error) => self.fail(&error, now),
            },
            Some(at) if now.mono < at => {
                self.drop_buffer();
                None
            }
            Some(_) => self.try_again(now),
        }
    }

    fn try_again(&mut self, now: Now) -> Option<Notice> {
        if self.file.is_none() {
            match open_locked(&self.path) {
                Ok(file) => {
                    self.fresh = is_fresh(&file);
                    self.torn = ends_torn(&file).unwrap_or(false);
                    self.file = Some(file);
                }
                Err(OpenError::InUse) => {
                    let error = io::Error::other("another process writes it");
                    return self.fail(&error, now);
                }
                Err(OpenError::Io(error) | OpenError::Unread(error)) => {
                    return self.fail(&error, now);
                }
            }
        }
        // The gap is told of first, so that who reads the log knows where it is.
        let records = std::mem::take(&mut self.buffer);
        let missing = self.missing;
        let note = format!("{GAP}{missing} records could not be written before this one");
        self.stamp.set(now.wall);
        self.record(Direction::Note, Label::None, note.as_bytes());
        let told = self.write_buffer();
        self.buffer = records;
        if let Err(error) = told {
            return self.fail(&error, now);
        }
        self.retry_at = None;
        self.missing = 0;
        self.said = false;
        let fresh = std::mem::take(&mut self.fresh);
        match self.write_buffer() {
            Ok(()) => Some(Notice::Recovered { missing, fresh }),
            Err(error) => self.fail(&error, now),
        }
    }

    /// Notes a failure. Gives a notice if it is the first.
    fn fail(&mut self, error: &io::Error, now: Now) -> Option<Notice> {
        self.retry_at = Some(now.after(RETRY));
        self.drop_buffer();
        let first = !std::mem::replace(&mut self.said, true);
        first.then(|| Notice::Failing(format!("{}: {error}", self.path.display())))
    }

    fn drop_buffer(&mut self) {
        self.missing += memchr::memchr_iter(b'\n', &self.buffer).count() as u64;
        self.buffer.clear();
    }

    /// Writes the buffer; what could not be written stays in it.
    fn write_buffer(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Err(io::Error::other("it is not open"));
        };
        if self.torn {
            let mark = [ELLIPSIS, b" torn\n"].concat();
            file.write_all(&mark)?;
            self.torn = false;
        }
        let mut written = 0;
        let mut result = Ok(());
        while written < self.buffer.len() && result.is_ok() {
            match file.write(&self.buffer[written..]) {
                Ok(0) => result = Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => written += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => result = Err(e),
            }
        }
        if written > 0 {
            self.torn = self.buffer[written - 1] != b'\n';
            self.buffer.drain(..written);
        }
        if self.buffer.capacity() > 2 * BUFFER_BYTES_MAX {
            self.buffer.shrink_to(BUFFER_BYTES_MAX);
        }
        result
    }
}

fn open_locked(path: &Path) -> Result<File, OpenError> {
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
        return Ok(file); // whoever logs to a device may share it
    }
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse),
        Err(TryLockError::Error(error)) => Err(OpenError::Io(error)),
    }
}

fn is_fresh(file: &File) -> bool {
    file.metadata().is_ok_and(|found| found.len() == 0)
}

/// Whether the file breaks off within a record. Only regular files can tell.
fn ends_torn(mut file: &File) -> io::Result<bool> {
    let found = file.metadata()?;
    if !found.is_file() || found.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// Hands what the records of the log recall to `take`.
fn replay(mut file: &File, mut take: impl FnMut(Recalled<'_>)) -> io::Result<()> {
    if !file.metadata()?.is_file() {
        return Ok(()); // a device or a pipe has no past
    }
    let (mut lines, mut line) = (LineBuffer::default(), Vec::new());
    let mut bytes = vec![0; REPLAY_BYTES];
    loop {
        let n = match file.read(&mut bytes) {
            Ok(0) => return Ok(()), // a last line without LF is torn, and not believed
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        let mut chunk = &bytes[..n];
        while let Some(piece) = lines.next(&mut chunk, RECORD_BYTES_MAX) {
            if let Piece::Line(record) = piece
                && let Some(recalled) = record::recall(record, &mut line)
            {
                take(recalled);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replayed(path: &Path) -> Vec<String> {
        let mut lines = Vec::new();
        let mut log = Log::new(path.to_owned());
        log.open(Now::read(), |recalled| {
            if let Recalled::At(line) = recalled {
                lines.push(String::from_utf8_lossy(line).into_owned());
            }
        })
        .expect("the log can be opened");
        lines
    }

    const AT: &str = "AT Blake +0.000000000 kiwi +00+000 1";

    #[test]
    fn what_was_committed_is_replayed_and_a_torn_end_is_not() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("new/Blake.log");
        assert_eq!(replayed(&path), [""; 0]);
        let now = Now::read();
        let mut log = Log::new(path.clone());
        log.open(now, |_| {}).expect("the log can be opened");
        log.set_time(now);
        log.record(Direction::Out, Label::Client(1), AT.as_bytes());
        assert_eq!(log.commit(now), None);
        drop(log);
        let whole = fs::read(&path).expect("it was written");
        for cut in 0..whole.len() {
            // The machine stopped within the write: nothing of the record may be believed, not
            // even after a later start has written on.
            fs::write(&path, &whole[..cut]).expect("it can be written");
            assert_eq!(replayed(&path), [""; 0], "cut at {cut}");
            let mut log = Log::new(path.clone());
            log.open(now, |_| {}).expect("the log can be opened");
            log.set_time(now);
            log.record(Direction::Note, Label::None, b"started");
            log.record(Direction::Out, Label::Client(2), AT.as_bytes());
            log.commit(now);
            drop(log);
            assert_eq!(replayed(&path), [AT], "cut at {cut}");
        }
    }

    #[test]
    fn a_log_in_use_is_refused() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("Blake.log");
        let mut first = Log::new(path.clone());
        first.open(Now::read(), |_| {}).expect("nobody has it");
        let second = Log::new(path).open(Now::read(), |_| {});
        assert!(matches!(second, Err(OpenError::InUse)));
    }

    #[test]
    fn a_log_that_cannot_be_had_is_said_once_and_tried_again() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let blocked = directory.path().join("logs");
        fs::write(&blocked, "a file where a directory should be").expect("it can be written");
        let path = blocked.join("Blake.log");
        let mut log = Log::new(path.clone());
        let mut now = Now::read();
        assert!(matches!(log.open(now, |_| {}), Err(OpenError::Io(_))));
        let later = |now: Now, wait| Now {
            mono: now.mono + wait,
            wall: now.wall,
        };
        log.record(Direction::Note, Label::None, b"one");
        assert_eq!(log.commit(now), None, "whoever opened it has been told");
        log.record(Direction::Note, Label::None, b"two");
        assert_eq!(log.commit(now), None, "not yet, and not again");
        now = later(now, RETRY);
        assert_eq!(log.commit(now), None, "it fails again, and says nothing");
        fs::remove_file(&blocked).expect("it is there");
        log.record(Direction::Note, Label::None, b"three");
        now = later(now, RETRY);
        let (missing, fresh) = (2, true);
        assert_eq!(log.commit(now), Some(Notice::Recovered { missing, fresh }));
        assert_eq!(log.poll_timeout(), None);
        let text = fs::read_to_string(&path).expect("it was written");
        assert!(text.contains("2 records could not"), "{text}");
        assert!(
            text.contains("* - three\n") && !text.contains("* - two"),
            "{text}"
        );
    }

    #[test]
    fn a_full_device_is_survived() {
        let path = Path::new("/dev/full");
        if !path.exists() {
            return println!("skipped: this system has no /dev/full");
        }
        let mut log = Log::new(path.to_owned());
        let now = Now::read();
        let nothing = |_: Recalled<'_>| panic!("a device has no past");
        log.open(now, nothing).expect("it can be opened");
        log.record(Direction::Note, Label::None, b"one");
        assert!(matches!(log.commit(now), Some(Notice::Failing(_))));
        log.record(Direction::Note, Label::None, b"two");
        assert_eq!(log.commit(now), None);
    }

    #[test]
    fn a_turn_too_long_for_the_buffer_is_written_in_parts_or_given_up_whole() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("Blake.log");
        let now = Now::read();
        let line = vec![b'x'; 60_000];
        let mut log = Log::new(path.clone());
        log.open(now, |_| {}).expect("nobody has it");
        (0..40).for_each(|_| log.record(Direction::In, Label::Client(1), &line));
        assert!(log.buffer.len() < BUFFER_BYTES_MAX);
        assert_eq!(log.commit(now), None);
        let written = fs::read(&path).expect("it was written");
        assert_eq!(memchr::memchr_iter(b'\n', &written).count(), 40);
        if !Path::new("/dev/full").exists() {
            return println!("skipped in part: this system has no /dev/full");
        }
        let mut log = Log::new(PathBuf::from("/dev/full"));
        log.open(now, |_| {}).expect("it can be opened");
        (0..40).for_each(|_| log.record(Direction::In, Label::Client(1), &line));
        assert!(matches!(log.commit(now), Some(Notice::Failing(_))));
        assert_eq!(log.missing, 40);
    }

    #[test]
    fn a_log_that_was_moved_away_is_begun_anew() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("Blake.log");
        let now = Now::read();
        let mut log = Log::new(path.clone());
        log.open(now, |_| {}).expect("nobody has it");
        log.record(Direction::Note, Label::None, b"old");
        assert_eq!(log.reopen(now), (false, None), "it has not been moved");
        fs::rename(&path, directory.path().join("old")).expect("it is there");
        assert_eq!(log.reopen(now), (true, None));
        log.record(Direction::Note, Label::None, b"new");
        log.commit(now);
        let text = fs::read_to_string(&path).expect("it was written");
        assert!(
            text.ends_with("* - new\n") && !text.contains("old"),
            "{text}"
        );
    }
}
