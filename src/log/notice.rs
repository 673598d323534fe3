//! What becomes of the log, and how the operator is told.

use std::fmt;
use std::io;

/// What the writer tells the loop. `Log` makes a [`Notice`] of it.
#[derive(Debug)]
pub enum Report {
    /// The log cannot be written.
    Failing {
        /// The cause.
        why: String,
    },
    /// It is written again.
    Recovered,
    /// It cannot be rotated, so it grows on.
    NotRotated {
        /// The cause.
        why: String,
    },
}

/// What the operator should be told. The first field says where the log is.
#[derive(Debug, PartialEq, Eq)]
pub enum Notice {
    /// It cannot be written, and why.
    Failing(String, String),
    /// It is written again, and how many records are missing.
    Recovered(String, u64),
    /// It cannot be rotated, and why.
    NotRotated(String, String),
    /// Records are dropped, as the disk is too slow.
    Slow(String),
    /// The server ends, and so many bytes are not written.
    Unwritten(String, usize),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Failing(path, why) => write!(
                f,
                "cannot write the log {path}: {why}. Still serving; records wait in memory, and are \
                 dropped when 8 MiB wait. Trying again each second"
            ),
            Notice::Recovered(path, 0) => write!(f, "the log {path} is written again"),
            Notice::Recovered(path, dropped) => {
                write!(
                    f,
                    "the log {path} is written again; {dropped} records were dropped"
                )
            }
            Notice::NotRotated(path, why) => write!(
                f,
                "cannot rotate the log {path}: {why}. It grows on; trying again each second"
            ),
            Notice::Slow(path) => write!(
                f,
                "the log {path} is written slower than records come: some are dropped, and the log says \
                 how many. --log links leaves out the lines of clients"
            ),
            Notice::Unwritten(path, bytes) => {
                write!(f, "{bytes} bytes of the log {path} could not be written")
            }
        }
    }
}

/// The cause of a failure, for people.
pub fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => "disk full".to_owned(),
        _ => error.to_string(),
    }
}
