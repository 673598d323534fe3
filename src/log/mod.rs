//! The log for people: what came in and went out, as text. It is written only, and nothing waits for it.
//!
//! `Shell` has it. The server records what comes in and goes out, and calls [`Log::work`] two or three times a
//! turn. Records gather in a buffer, which goes to a thread that writes it when it is full or 100 ms old:
//!
//! ```text
//!   record ---> buffer --- full, or 100 ms old ---> writer ---> NAME.log, NAME.log.1 ...
//!                 ^                                   |
//!                 +------------- written -------------+----> failures, in the loop's mailbox
//! ```
//!
//! When the disk does not keep up, [`QUEUE_BYTES_MAX`] bytes wait. Records beyond that are dropped, and
//! one that says how many stands where they are missing.

mod options;
pub mod record;
#[cfg(test)]
mod tests;
mod writer;
#[cfg(test)]
mod writer_tests;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use self::record::{Direction, Header, Label};
use self::writer::{Writer, Written};
use crate::time::Now;

pub use self::options::{Filter, Options};

/// A buffer that holds so many bytes is full.
const BUFFER_BYTES: usize = 64 * 1024;

/// A buffer that is not full goes to the writer after this long.
const GATHER: Duration = Duration::from_millis(100);

/// So many bytes may wait for the writer: what a loop puts out in 50 ms at most, or a quiet herd in hours.
pub const QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How much of a file may say how things stood when it was begun, so that files do not fill with that alone.
const BEGINNING_SHARE: u64 = 16;

/// An end waits for so long until all is written.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// One server's log.
#[derive(Debug)]
pub struct Log {
    options: Options,
    /// From this length in bytes on the buffer is full: less than [`BUFFER_BYTES`] where a file may not
    /// have as many, since a file is rotated between two writes.
    full_bytes: usize,
    header: Header,
    buffer: Vec<u8>,
    /// When the buffer goes to the writer though it is not full.
    due_at: Option<Instant>,
    to_writer: Sender<Vec<u8>>,
    returned: Receiver<Written>,
    spare: Vec<u8>,
    is_ending: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    /// Bytes that have gone to the writer and are not written yet.
    waiting: usize,
    /// Records dropped since the last that was not.
    dropped: u64,
    /// Records dropped so far.
    pub records_dropped: u64,
    /// Bytes written so far.
    pub bytes_written: u64,
    /// Why it cannot be written at present, or not fast enough; until nothing waits.
    failing: Option<String>,
    /// A file that is not the first was begun.
    has_begun: bool,
    notices: VecDeque<String>,
}

impl Log {
    /// Starts the log; its file is made with the first record. `post` takes the cause of a failure to
    /// [`Log::handle_failure`].
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(options: Options, post: impl Fn(String) + Send + 'static) -> io::Result<Log> {
        let (to_writer, buffers) = channel();
        let (done, returned) = channel();
        let is_ending = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            options: options.clone(),
            post,
            done,
            is_ending: Arc::clone(&is_ending),
            file: None,
            has_opened: false,
            began_file: false,
        };
        let thread = thread::Builder::new().name("log".to_owned());
        let half = usize::try_from(options.max_bytes / 2).unwrap_or(usize::MAX);
        Ok(Log {
            full_bytes: half.clamp(1, BUFFER_BYTES),
            options,
            header: Header::default(),
            buffer: Vec::new(),
            due_at: None,
            to_writer,
            returned,
            spare: Vec::new(),
            is_ending,
            thread: thread.spawn(move || writer.run(&buffers))?,
            waiting: 0,
            dropped: 0,
            records_dropped: 0,
            bytes_written: 0,
            failing: None,
            has_begun: false,
            notices: VecDeque::new(),
        })
    }

    /// Sets the time of the records that follow.
    pub fn set_time(&mut self, now: Now) {
        self.header.set_time(now.wall);
    }

    /// Whether such a record is written. Whoever has to compose its text asks first.
    #[inline]
    pub fn accepts(&self, direction: Direction, label: Label<'_>) -> bool {
        let is_line = matches!(direction, Direction::In | Direction::Out);
        match self.options.filter {
            Filter::All => true,
            Filter::Links => !is_line || !matches!(label, Label::Client(_) | Label::Http(_)),
            Filter::Off => false,
        }
    }

    /// Adds a record of a line. Says whether it is known to be plain now: printable ASCII, no backslash.
    #[inline]
    pub fn record(&mut self, direction: Direction, label: Label<'_>, line: &[u8]) -> bool {
        self.accepts(direction, label) && self.add(direction, label, line, false)
    }

    /// The same of a line that the caller knows to be plain, since it was composed of numbers, names and a
    /// line of which [`Log::record`] has said so. It is not checked.
    #[inline]
    pub fn record_plain(&mut self, direction: Direction, label: Label<'_>, line: &[u8]) {
        debug_assert!(record::is_plain(line));
        if self.accepts(direction, label) {
            self.add(direction, label, line, true);
        }
    }

    fn add(&mut self, direction: Direction, label: Label<'_>, line: &[u8], is_plain: bool) -> bool {
        if !self.begin(direction, label) {
            return false;
        }
        let is_plain = is_plain || record::is_plain(line);
        record::write_line(&mut self.buffer, line, is_plain);
        is_plain
    }

    /// Adds a record of a line that goes on beyond its `beginning`.
    pub fn record_beginning(&mut self, direction: Direction, label: Label<'_>, beginning: &[u8]) {
        if self.accepts(direction, label) && self.begin(direction, label) {
            record::write_beginning(&mut self.buffer, beginning);
            self.buffer.push(b'\n');
        }
    }

    /// Adds the record of that line's end: it had `bytes` bytes in all.
    pub fn record_length(&mut self, direction: Direction, label: Label<'_>, bytes: u64) {
        if self.accepts(direction, label) && self.begin(direction, label) {
            record::write_beginning(&mut self.buffer, b"");
            record::write_length(&mut self.buffer, bytes);
        }
    }

    /// Begins a record; `false` if it has to be dropped.
    #[inline(always)]
    fn begin(&mut self, direction: Direction, label: Label<'_>) -> bool {
        if self.buffer.len() >= self.full_bytes && !self.make_room() {
            return false;
        }
        let header = self.header.of(direction, label);
        self.buffer.extend_from_slice(header);
        true
    }

    #[cold]
    fn make_room(&mut self) -> bool {
        let has_room = self.hand_over();
        if !has_room {
            self.dropped += 1;
            self.records_dropped += 1;
            if self.failing.is_none() {
                self.handle_failure("the disk is too slow".to_owned());
            }
        }
        has_room
    }

    /// Hands the buffer to the writer. `false`, and nothing is done, if too much waits already.
    fn hand_over(&mut self) -> bool {
        self.take_back();
        if self.waiting + self.buffer.len() > QUEUE_BYTES_MAX {
            return false;
        }
        self.waiting += self.buffer.len();
        let mut empty = std::mem::take(&mut self.spare);
        empty.reserve(2 * BUFFER_BYTES);
        let full = std::mem::replace(&mut self.buffer, empty);
        let _ = self.to_writer.send(full); // it ends only with us
        self.due_at = None;
        let dropped = std::mem::take(&mut self.dropped);
        if let (1.., Some(why)) = (dropped, &self.failing) {
            let note = format!("{dropped} records were dropped: {why}");
            self.record(Direction::Note, Label::None, note.as_bytes());
        }
        true
    }

    fn take_back(&mut self) {
        while let Ok(written) = self.returned.try_recv() {
            self.put_back(written);
        }
        if self.waiting == 0 && self.dropped == 0 && self.failing.take().is_some() {
            self.tell("is written again");
        }
    }

    fn put_back(&mut self, written: Written) {
        self.has_begun |= written.began_file;
        let mut buffer = written.buffer;
        self.waiting -= buffer.len();
        self.bytes_written += buffer.len() as u64;
        buffer.clear();
        buffer.shrink_to(2 * BUFFER_BYTES);
        self.spare = buffer;
    }

    /// Hands what has gathered to the writer, if it is time. To be called once a turn.
    pub fn work(&mut self, now: Now) {
        // What the writer has must be taken back though nothing more is said: it may have begun another file.
        let is_idle = self.buffer.is_empty() && self.waiting == 0;
        if is_idle && self.failing.is_none() {
            self.due_at = None;
            return;
        }
        let is_due = *self.due_at.get_or_insert(now.after(GATHER)) <= now.mono;
        self.take_back();
        // What is not full does not queue, so that there are no more buffers than there need be.
        let is_old = is_due && self.waiting == 0 && !self.buffer.is_empty();
        let is_ready = is_old || self.buffer.len() >= self.full_bytes;
        if is_ready && self.hand_over() || is_due {
            self.due_at = Some(now.after(GATHER));
        }
    }

    /// Whether another file was begun since this was asked last: then it should say who is connected, in no
    /// more than these bytes.
    pub fn poll_begun(&mut self) -> Option<u64> {
        std::mem::take(&mut self.has_begun).then_some(self.options.max_bytes / BEGINNING_SHARE)
    }

    /// When [`Log::work`] should be called next though nothing happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due_at
    }

    /// Notes that the log is reopened. Where the file was moved away another is made for that note: the
    /// writer looks before each write.
    pub fn reopen(&mut self) {
        self.record(Direction::Note, Label::None, b"the log was reopened");
    }

    /// Writes what is left, within a second, and ends the log.
    pub fn close(&mut self) {
        self.hand_over();
        self.is_ending.store(true, Ordering::Release);
        self.thread.thread().unpark();
        self.to_writer = channel().0; // so the writer sees that nothing more will come
        let until = Instant::now() + CLOSE_MAX;
        let left = || until.saturating_duration_since(Instant::now());
        while let Ok(written) = self.returned.recv_timeout(left()) {
            self.put_back(written);
        }
        if self.waiting > 0 {
            let lacks = format!("lacks what was recorded last: {} bytes", self.waiting);
            self.tell(&lacks);
        }
        self.options.filter = Filter::Off;
    }

    /// Takes in why it cannot be written.
    pub fn handle_failure(&mut self, why: String) {
        if self.failing.is_none() {
            let (path, most) = (self.options.path.display(), QUEUE_BYTES_MAX >> 20);
            self.notices.push_back(format!(
                "cannot write the log {path}: {why}. Still serving; records wait in memory, and beyond {most} \
                 MiB they are dropped. Trying again each second"
            ));
            self.failing = Some(why);
        }
    }

    fn tell(&mut self, what: &str) {
        let path = self.options.path.display();
        self.notices.push_back(format!("the log {path} {what}"));
    }

    /// What the operator should be told next.
    pub fn poll_notice(&mut self) -> Option<String> {
        self.notices.pop_front()
    }

    /// Why it cannot be written at present, if that is so.
    pub fn failing(&self) -> Option<&str> {
        self.failing.as_deref()
    }
}
