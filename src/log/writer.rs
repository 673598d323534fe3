//! The thread that writes the log, so that a disk that hangs holds up nobody.
//!
//! `Log` starts it and hands it buffers, which come back empty. A buffer that cannot be written is tried
//! again each second; those behind it wait, and when too many wait `Log` drops records.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::buffer::{Buffer, RECORD_BYTES_MAX};
use super::file::{self, LogFile};
use super::notice::{Report, why};
use super::options::Options;

/// What failed is tried again after this long.
const RETRY: Duration = Duration::from_secs(1);

/// Before a write, but not more often than this, the thread looks whether the file is still there.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is to be done.
#[derive(Debug)]
pub enum Job {
    /// Write this.
    Write(Buffer),
    /// Open the file anew.
    Reopen,
}

/// What the loop tells beside the jobs.
#[derive(Debug, Default)]
pub struct Signs {
    /// Nothing is to be tried again: the server ends.
    pub is_ending: AtomicBool,
    /// There is a [`Job::Reopen`]: another would change nothing.
    pub is_reopening: AtomicBool,
}

/// Who writes the log.
pub struct Writer<P> {
    options: Options,
    /// Takes what happens to the loop.
    post: P,
    /// Takes home the buffers.
    done: Sender<Buffer>,
    signs: Arc<Signs>,
    file: Option<LogFile>,
    is_failing: bool,
    is_rotation_failing: bool,
    look_at: Instant,
    rotate_at: Instant,
}

impl<P: Fn(Report)> Writer<P> {
    /// A writer of the log that `options` tell of.
    pub fn new(options: Options, post: P, done: Sender<Buffer>, signs: Arc<Signs>) -> Writer<P> {
        let now = Instant::now();
        Writer {
            options,
            post,
            done,
            signs,
            file: None,
            is_failing: false,
            is_rotation_failing: false,
            look_at: now,
            rotate_at: now,
        }
    }

    /// Does what is to be done until nobody is left to say so.
    pub fn run(mut self, jobs: &Receiver<Job>) {
        let _ = self.open(); // so that the file is there; a failure is told with the first write
        for job in jobs {
            match job {
                Job::Write(buffer) => {
                    if self.write(buffer.records()) {
                        let _ = self.done.send(buffer); // the loop may have gone home
                    }
                }
                Job::Reopen => {
                    self.signs.is_reopening.store(false, Ordering::Release);
                    self.file = None;
                    let _ = self.open();
                }
            }
        }
    }

    /// `false` if that could not be done before the end.
    fn write(&mut self, mut records: &[u8]) -> bool {
        while !records.is_empty() {
            match self.write_some(records) {
                Ok(written) => {
                    records = &records[written..];
                    if std::mem::take(&mut self.is_failing) {
                        (self.post)(Report::Recovered);
                    }
                }
                Err((written, error)) => {
                    records = &records[resume_at(records, written)..];
                    self.handle_failure(&error);
                    if self.is_ending() {
                        return false;
                    }
                }
            }
        }
        true
    }

    fn is_ending(&self) -> bool {
        self.signs.is_ending.load(Ordering::Acquire)
    }

    /// Writes as many whole records as there is room for in the file, and gives their length.
    fn write_some(&mut self, records: &[u8]) -> Result<usize, (usize, io::Error)> {
        let room = self.make_room(records).map_err(|error| (0, error))?;
        let len = whole_records(records, room);
        let file = self.open().map_err(|error| (0, error))?;
        file.append(&records[..len])?;
        Ok(len)
    }

    /// Rotates the log if the next of `records` would make it too long. Gives the room there is.
    fn make_room(&mut self, records: &[u8]) -> io::Result<u64> {
        let now = Instant::now();
        if self.look_at <= now {
            self.look_at = now + LOOK_EVERY;
            self.file.take_if(|file| !file.is_at(&self.options.path));
        }
        let max_bytes = self.options.max_bytes;
        let file = self.open()?;
        let room = file.room(max_bytes);
        if file.len() == 0 || whole_records(records, room) as u64 <= room {
            return Ok(room);
        }
        match self.rotate_at <= now && self.rotate(now) {
            true => Ok(self.open()?.room(max_bytes)),
            false => Ok(u64::MAX),
        }
    }

    /// Whether that could be done. Otherwise the operator is told, once.
    fn rotate(&mut self, now: Instant) -> bool {
        let rotated = file::rotate(&self.options.path, self.options.keep);
        let failed_before = std::mem::replace(&mut self.is_rotation_failing, rotated.is_err());
        match rotated {
            Ok(()) => self.file = None,
            Err(error) => {
                self.rotate_at = now + RETRY;
                if !failed_before {
                    (self.post)(Report::NotRotated { why: why(&error) });
                }
            }
        }
        !self.is_rotation_failing
    }

    fn open(&mut self) -> io::Result<&mut LogFile> {
        let file = match self.file.take() {
            Some(file) => file,
            None => LogFile::open(&self.options.path)?,
        };
        Ok(self.file.insert(file))
    }

    /// Tells of a failure, if it is the first, and waits a little. The file is opened anew then.
    fn handle_failure(&mut self, error: &io::Error) {
        let file = self.file.take();
        // As long as a file may be (`ulimit -f`). If that is too short for a log, it is as any failure.
        let is_long = file.is_some_and(|file| file.len() > RECORD_BYTES_MAX as u64);
        if error.kind() == io::ErrorKind::FileTooLarge && is_long && self.rotate(Instant::now()) {
            return;
        }
        if !std::mem::replace(&mut self.is_failing, true) {
            (self.post)(Report::Failing { why: why(error) });
        }
        if !self.is_ending() {
            thread::park_timeout(RETRY); // an end unparks us
        }
    }
}

/// Where to go on after a write that took `written` bytes of `records` and then failed: at the
/// beginning of the record that broke off.
fn resume_at(records: &[u8], written: usize) -> usize {
    memchr::memrchr(b'\n', &records[..written]).map_or(0, |end| end + 1)
}

/// How much of `records` to write where there is `room`: whole records only, but one at least.
fn whole_records(records: &[u8], room: u64) -> usize {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if records.len() <= room {
        return records.len();
    }
    match resume_at(records, room) {
        0 => memchr::memchr(b'\n', records).map_or(records.len(), |end| end + 1),
        end => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_broke_off_is_written_again_from_the_beginning_of_its_record() {
        for (written, want) in [(0, 0), (2, 0), (3, 0), (4, 4), (6, 4), (8, 8), (10, 8)] {
            assert_eq!(resume_at(b"one\ntwo\nthree\n", written), want, "{written}");
        }
    }

    #[test]
    fn whole_records_are_written_and_one_at_least() {
        let records = b"one\ntwo\nthree\n";
        for (room, want) in [
            (0, 4),
            (3, 4),
            (4, 4),
            (7, 4),
            (8, 8),
            (13, 8),
            (14, 14),
            (u64::MAX, 14),
        ] {
            assert_eq!(whole_records(records, room), want, "{room}");
        }
    }
}
