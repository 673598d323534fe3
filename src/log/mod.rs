//! The log for people: what came in and went out, as text. It is written only, and nothing waits for it.
//!
//! `Driver` records what comes in and goes out, and calls [`Log::work`] once a turn. Records gather in a
//! buffer, which goes to a thread that writes it when it is full or 100 ms old:
//!
//! ```text
//!   record ---> buffer --- full, or 100 ms old ---> writer ---> NAME.log, NAME.log.1 ...
//!                 ^                                   |
//!                 +------------- empty ---------------+----> reports, in the loop's mailbox
//! ```
//!
//! When the disk does not keep up, [`QUEUE_BYTES_MAX`] bytes wait. Records beyond that are dropped, and
//! one that says how many stands where they are missing.

mod buffer;
mod file;
mod notice;
mod options;
mod queue;
pub mod record;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use self::buffer::Buffer;
use self::queue::Queue;
use self::record::{Direction, Header, Label};
use crate::time::Now;

pub use self::notice::{Notice, Report};
pub use self::options::{Filter, Options};
pub use self::queue::QUEUE_BYTES_MAX;

/// A buffer is handed to the writer when it has been gathered for so long.
const GATHER: Duration = Duration::from_millis(100);

/// An end waits for so long until all is written.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// The operator is told again after this long that the disk is too slow.
const SLOW_EVERY: Duration = Duration::from_secs(60);

/// What the log has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes that were written.
    pub bytes_written: u64,
    /// Records that were dropped.
    pub records_dropped: u64,
}

/// One server's log.
#[derive(Debug)]
pub struct Log {
    filter: Filter,
    header: Header,
    buffer: Buffer,
    /// `None` if nothing is logged, or after the end.
    queue: Option<Queue>,
    /// When the buffer goes to the writer, if there is anything in it.
    due_at: Option<Instant>,
    /// Where it is, for people.
    path: String,
    /// Records dropped since the last that was not, and why.
    dropped: u64,
    dropped_why: String,
    dropped_in_all: u64,
    /// Why it cannot be written at present.
    failing: Option<String>,
    slow_told_at: Option<Instant>,
    notices: VecDeque<Notice>,
}

impl Log {
    /// Starts the log, unless it is off. `post` takes what becomes of it to [`Log::handle_report`]. A
    /// file that cannot be written is no error: it is reported, and tried again each second.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(options: Options, post: impl Fn(Report) + Send + 'static) -> io::Result<Log> {
        let filter = options.filter;
        let path = options.path.display().to_string();
        let queue = match filter {
            Filter::Off => None,
            Filter::All | Filter::Links => Some(Queue::start(options, post)?),
        };
        Ok(Log {
            filter,
            header: Header::default(),
            buffer: Buffer::new(),
            queue,
            due_at: None,
            path,
            dropped: 0,
            dropped_why: String::new(),
            dropped_in_all: 0,
            failing: None,
            slow_told_at: None,
            notices: VecDeque::new(),
        })
    }

    // ---- records

    /// Sets the time of the records that follow.
    pub fn set_time(&mut self, now: Now) {
        self.header.set_time(now.wall);
    }

    /// Whether such a record is written. Whoever has to compose one asks first.
    #[inline]
    pub fn accepts(&self, direction: Direction, label: Label<'_>) -> bool {
        match self.filter {
            Filter::All => true,
            Filter::Links => {
                let is_line = matches!(direction, Direction::In | Direction::Out);
                !(is_line && matches!(label, Label::Client(_)))
            }
            Filter::Off => false,
        }
    }

    /// Adds a record of a whole line. Says whether the line is known to be plain now: printable ASCII
    /// without a backslash.
    #[inline]
    pub fn record(&mut self, direction: Direction, label: Label<'_>, line: &[u8]) -> bool {
        self.accepts(direction, label) && self.add(direction, label, line, false)
    }

    /// Adds a record of a line that the caller knows to be plain: it was made of numbers, names and a
    /// line of which [`Log::record`] has said so.
    #[inline]
    pub fn record_plain(&mut self, direction: Direction, label: Label<'_>, line: &[u8]) {
        if self.accepts(direction, label) {
            self.add(direction, label, line, true);
        }
    }

    /// Adds a record of a line that goes on beyond its `beginning`.
    pub fn record_beginning(&mut self, direction: Direction, label: Label<'_>, beginning: &[u8]) {
        if self.accepts(direction, label) && self.begin(direction, label) {
            self.buffer.end_with_beginning(beginning);
        }
    }

    /// Adds the record of that line's end: it had `bytes` bytes in all.
    pub fn record_length(&mut self, direction: Direction, label: Label<'_>, bytes: u64) {
        if self.accepts(direction, label) && self.begin(direction, label) {
            self.buffer.end_with_length(bytes);
        }
    }

    fn add(&mut self, direction: Direction, label: Label<'_>, line: &[u8], is_plain: bool) -> bool {
        self.begin(direction, label) && self.buffer.end(line, is_plain)
    }

    /// Begins a record; `false` if it has to be dropped.
    #[inline]
    fn begin(&mut self, direction: Direction, label: Label<'_>) -> bool {
        if self.buffer.is_full() && !self.make_room() {
            return false;
        }
        let (header, len) = self.header.of(direction, label);
        self.buffer.begin(header, len);
        true
    }

    /// Hands over the buffer, which is full. Otherwise the next record is dropped.
    #[cold]
    fn make_room(&mut self) -> bool {
        let has_room = self.hand_over();
        if !has_room {
            if self.dropped == 0 {
                let why = self.failing.as_deref().unwrap_or("the disk is too slow");
                self.dropped_why = why.to_owned();
            }
            self.dropped += 1;
            self.dropped_in_all += 1;
        }
        has_room
    }

    /// `false`, and nothing is done, if too much waits already.
    fn hand_over(&mut self) -> bool {
        let buffer = &mut self.buffer;
        let Some(queue) = &mut self.queue else {
            return false;
        };
        if !queue.hand_over(buffer) {
            return false;
        }
        self.due_at = None;
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            let note = format!("{dropped} records were dropped: {}", self.dropped_why);
            self.record(Direction::Note, Label::None, note.as_bytes());
        }
        true
    }

    // ---- once a turn

    /// Hands what has gathered to the writer: if it is full, or as old as it may be and nothing waits.
    pub fn work(&mut self, now: Now) {
        if self.buffer.len() == 0 {
            return;
        }
        let is_due = *self.due_at.get_or_insert(now.after(GATHER)) <= now.mono;
        // What is not full does not queue, so that there are no more buffers than there need be.
        let queue = self.queue.as_mut();
        let is_ready = self.buffer.is_full() || (is_due && queue.is_some_and(Queue::is_idle));
        if !(is_ready && self.hand_over()) && is_due {
            self.due_at = Some(now.after(GATHER));
        }
        if self.dropped > 0 {
            self.tell_of_dropped(now);
        }
    }

    /// When [`Log::work`] should be called next though nothing happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due_at
    }

    /// Opens the file anew: it may have been moved away.
    pub fn reopen(&mut self) {
        if self.buffer.len() > 0 {
            self.hand_over();
        }
        if let Some(queue) = &self.queue {
            queue.reopen();
        }
    }

    /// Writes what is left, within [`CLOSE_MAX`]: the last thing a server does. What is recorded later
    /// is dropped.
    pub fn close(&mut self) {
        self.hand_over();
        let Some(queue) = self.queue.take() else {
            return;
        };
        let unwritten = queue.close(CLOSE_MAX) + self.buffer.len();
        self.buffer.clear();
        if unwritten > 0 {
            let path = self.path.clone();
            self.notices.push_back(Notice::Unwritten(path, unwritten));
        }
        self.filter = Filter::Off;
    }

    // ---- what the operator is told

    /// Takes in what has become of the log.
    pub fn handle_report(&mut self, report: Report) {
        let path = self.path.clone();
        self.notices.push_back(match report {
            Report::Failing { why } => {
                self.failing = Some(why.clone());
                Notice::Failing(path, why)
            }
            Report::Recovered => {
                self.failing = None;
                Notice::Recovered(path, self.dropped)
            }
            Report::NotRotated { why } => Notice::NotRotated(path, why),
        });
    }

    fn tell_of_dropped(&mut self, now: Now) {
        let told_at = self.slow_told_at;
        if self.failing.is_none() && told_at.is_none_or(|at| at + SLOW_EVERY <= now.mono) {
            self.slow_told_at = Some(now.mono);
            self.notices.push_back(Notice::Slow(self.path.clone()));
        }
    }

    /// What the operator should be told next.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// Why it cannot be written at present, if that is so.
    pub fn failing(&self) -> Option<&str> {
        self.failing.as_deref()
    }

    /// What it has done so far.
    pub fn counters(&self) -> Counters {
        Counters {
            bytes_written: self.queue.as_ref().map_or(0, Queue::written),
            records_dropped: self.dropped_in_all,
        }
    }
}
