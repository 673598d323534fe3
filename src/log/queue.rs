//! The way of buffers to the writer and back: the loop's end of it.
//!
//! `Log` is the only caller. The two threads share channels and two signs.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::buffer::Buffer;
use super::notice::Report;
use super::options::Options;
use super::writer::{Job, Signs, Writer};

/// So many bytes may wait for the writer. In memory they take up to five times as much, where each
/// buffer ends with a long record.
pub const QUEUE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// So many empty buffers are kept.
const SPARES_MAX: usize = 4;

/// Buffers on their way to the writer and back.
#[derive(Debug)]
pub struct Queue {
    jobs: Sender<Job>,
    returned: Receiver<Buffer>,
    spares: Vec<Buffer>,
    /// Bytes that wait.
    waiting: usize,
    /// Bytes that were written.
    written: u64,
    signs: Arc<Signs>,
    thread: Thread,
}

impl Queue {
    /// Starts the writer, which opens the log. `post` takes home what becomes of it.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(options: Options, post: impl Fn(Report) + Send + 'static) -> io::Result<Queue> {
        let (jobs, to_do) = channel();
        let (done, returned) = channel();
        let signs = Arc::new(Signs::default());
        let writer = Writer::new(options, post, done, Arc::clone(&signs));
        let thread = thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.run(&to_do))?;
        Ok(Queue {
            jobs,
            returned,
            spares: Vec::new(),
            waiting: 0,
            written: 0,
            signs,
            thread: thread.thread().clone(),
        })
    }

    /// Hands a buffer to the writer and puts an empty one in its place. `false`, and nothing is done, if
    /// too much waits already.
    pub fn hand_over(&mut self, buffer: &mut Buffer) -> bool {
        self.take_back();
        let has_room = self.waiting + buffer.len() <= QUEUE_BYTES_MAX;
        if has_room {
            self.waiting += buffer.len();
            let empty = self.spares.pop().unwrap_or_else(Buffer::new);
            self.send(Job::Write(std::mem::replace(buffer, empty)));
        }
        has_room
    }

    /// Has the file opened anew, after what waits has been written.
    pub fn reopen(&self) {
        if !self.signs.is_reopening.swap(true, Ordering::AcqRel) {
            self.send(Job::Reopen);
        }
    }

    fn send(&self, job: Job) {
        // The thread ends only with us.
        let _ = self.jobs.send(job);
    }

    /// Whether nothing waits.
    pub fn is_idle(&mut self) -> bool {
        self.take_back();
        self.waiting == 0
    }

    /// Bytes that were written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    fn take_back(&mut self) {
        while let Ok(buffer) = self.returned.try_recv() {
            self.put_back(buffer);
        }
    }

    fn put_back(&mut self, mut buffer: Buffer) {
        self.waiting -= buffer.len();
        self.written += buffer.len() as u64;
        buffer.clear();
        if self.spares.len() < SPARES_MAX {
            self.spares.push(buffer);
        }
    }

    /// Waits until all is written, for at most so long. Gives how many bytes are not.
    pub fn close(mut self, at_most: Duration) -> usize {
        let until = Instant::now() + at_most;
        self.signs.is_ending.store(true, Ordering::Release);
        self.thread.unpark();
        let (jobs, _) = channel();
        self.jobs = jobs; // the writer sees that nothing more will come
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.returned.recv_timeout(left) {
                Ok(buffer) => self.put_back(buffer),
                Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {
                    return self.waiting;
                }
            }
        }
    }
}
