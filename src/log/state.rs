//! In which state the log is: whether it can be written, and what it lacks.
//!
//! `Log` is the only caller. It writes and reads; what follows from that is here:
//!
//! ```text
//!   Whole ----------- a write fails -----------> Failing
//!     ^                                            |   ^
//!     |                                     is     |   | a write
//!     |                                   written  |   |  fails
//!     |                                    again   v   |
//!     +----- what it lacks has been written ----- Lacking
//! ```
//!
//! From everywhere a log that takes its place, and knows everything, leads to `Whole`.

use std::io;
use std::time::Instant;

use super::cursor::Cursor;
use super::replay::Replay;

/// In which state the log is.
#[derive(Debug)]
pub enum State {
    /// It has everything; or whatever is written to it is lost, and one is to replace it that has.
    Whole {
        /// Where the feed had come to at the last commit.
        end: u64,
    },
    /// It is written, but lacks something that the table has, or has something that the table lacks.
    Lacking(Lack),
    /// It cannot be written.
    Failing {
        /// What is to be done next about that.
        next: Next,
        /// Records that could not be written since.
        missing: u64,
        /// What it will lack once it is written again.
        lack: Lack,
    },
}

/// What is to be done about a log that cannot be written.
#[derive(Debug)]
pub enum Next {
    /// A write before the end of the turn failed. The commit is to tell of it.
    Tell(io::Error),
    /// It is to be tried again then.
    Retry(Instant),
}

/// What a log lacks.
#[derive(Debug)]
pub enum Lack {
    /// It could not be had at the start. What it holds is read first; of the rest nothing is in it.
    Unread(Replay),
    /// Changes of the feed, which are written again in slices.
    Changes {
        /// Those up to this number are in it.
        committed: u64,
        /// Those up to here are in it, or among the turn's records.
        cursor: Cursor,
    },
}

impl Lack {
    /// Everything after this number of the feed.
    pub fn after(committed: u64) -> Lack {
        Lack::Changes {
            committed,
            cursor: Cursor::new(committed),
        }
    }

    /// The same after a failure: what was not committed is not in it.
    fn after_failure(self) -> Lack {
        match self {
            Lack::Unread(replay) => Lack::Unread(replay),
            Lack::Changes { committed, .. } => Lack::after(committed),
        }
    }
}

impl State {
    /// Of a log that holds everything up to `end`.
    pub fn whole(end: u64) -> State {
        State::Whole { end }
    }

    /// Of a log that cannot be had before `retry_at`.
    pub fn unavailable(retry_at: Instant) -> State {
        State::Failing {
            next: Next::Retry(retry_at),
            missing: 0,
            lack: Lack::after(0),
        }
    }

    /// Whether it cannot be written at present.
    pub fn is_failing(&self) -> bool {
        matches!(self, State::Failing { .. })
    }

    /// When to try again to write it, if it cannot be written.
    pub fn retry_at(&self) -> Option<Instant> {
        match self {
            State::Failing {
                next: Next::Retry(at),
                ..
            } => Some(*at),
            _ => None,
        }
    }

    /// Records that could not be written so far.
    pub fn missing(&self) -> u64 {
        match self {
            State::Failing { missing, .. } => *missing,
            _ => 0,
        }
    }

    /// What is to be done beside the turns before it has everything.
    pub fn lack(&mut self) -> Option<&mut Lack> {
        match self {
            State::Whole { .. } => None,
            State::Lacking(lack) | State::Failing { lack, .. } => Some(lack),
        }
    }

    /// A write has failed. Says whether it is the first one that does.
    pub fn fail(&mut self, next: Next) -> bool {
        let before = std::mem::replace(self, State::whole(0));
        let is_first = !before.is_failing();
        let (missing, lack) = match before {
            State::Whole { end } => (0, Lack::after(end)),
            State::Lacking(lack) => (0, lack.after_failure()),
            State::Failing { missing, lack, .. } => (missing, lack),
        };
        *self = State::Failing {
            next,
            missing,
            lack,
        };
        is_first
    }

    /// What the commit is to tell of, which also says when to try again.
    pub fn take_untold(&mut self, retry_at: Instant) -> Option<io::Error> {
        let State::Failing { next, .. } = self else {
            return None;
        };
        match std::mem::replace(next, Next::Retry(retry_at)) {
            Next::Tell(error) => Some(error),
            retry => {
                *next = retry;
                None
            }
        }
    }

    /// So many more records could not be written.
    pub fn miss(&mut self, records: u64) {
        if let State::Failing { missing, .. } = self {
            *missing += records;
        }
    }

    /// The file was opened anew, and lacks this.
    pub fn open_anew(&mut self, lack: Lack) {
        match self.lack() {
            Some(before) => *before = lack,
            None => *self = State::Lacking(lack),
        }
    }

    /// It is written again. Gives how many records are missing.
    pub fn recover(&mut self) -> u64 {
        match std::mem::replace(self, State::whole(0)) {
            State::Failing { missing, lack, .. } => {
                *self = State::Lacking(lack);
                missing
            }
            other => {
                *self = other;
                0
            }
        }
    }

    /// If it is written, what it lacks is not to be written to it: no start would read it there. A file that
    /// has everything is to take its place.
    pub fn leave_to_replacement(&mut self) {
        if let State::Lacking(Lack::Changes { committed, .. }) = self {
            *self = State::whole(*committed);
        }
    }

    /// All records of the turn are in it; the feed has come to `end`.
    pub fn commit(&mut self, end: u64) {
        match self {
            State::Whole { end: before } => *before = end,
            State::Lacking(Lack::Changes { committed, cursor }) => *committed = cursor.at(),
            State::Lacking(Lack::Unread(_)) | State::Failing { .. } => {}
        }
    }
}
