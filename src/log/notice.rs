//! What `Log` tells the operator.

use std::fmt;
use std::path::PathBuf;

/// What an operator should know of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It cannot be written any longer; the text says why.
    Failing(String),
    /// It is written again; so many records are missing.
    Recovered(u64),
    /// It lacked something, and now holds all of so many clients.
    Complete(usize),
    /// It was replaced by one that holds all of so many clients.
    Rotated(usize),
    /// It cannot be replaced.
    NotRotated(String),
    /// It cannot be made to survive a power failure.
    NotSynced(String),
    /// Its name cannot.
    NamesNotSynced(String),
    /// Now its name can.
    NamesSynced,
    /// It is a device or a pipe, which keeps nothing.
    NoFile,
    /// So many lines of what was there at the start are no records.
    Holes(u64),
    /// Its beginning is missing, or it was put together of several.
    NotWhole,
    /// What it held could not be read to the end; the text says why.
    Unread(String),
    /// It was cut short or deleted by somebody else.
    Spoilt,
    /// Another file has taken its name.
    Foreign(PathBuf),
    /// That file now has this name, and the log its own.
    PutAside(PathBuf),
    /// It was moved away, and nobody has said so.
    MovedAway,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Failing(why) => {
                write!(f, "cannot write the log, serving on without: {why}")
            }
            Notice::Recovered(missing) => {
                write!(f, "the log is written again; {missing} records are missing")
            }
            Notice::Complete(clients) => write!(f, "the log holds all {clients} clients"),
            Notice::Rotated(clients) => {
                write!(
                    f,
                    "the log was rotated; the new one holds all {clients} clients"
                )
            }
            Notice::NotRotated(why) => {
                write!(f, "cannot begin a new log, staying with the old one: {why}")
            }
            Notice::NotSynced(why) => write!(
                f,
                "cannot sync the log, a power failure would lose what it holds: {why}"
            ),
            Notice::NamesNotSynced(why) => write!(
                f,
                "cannot sync the log's directory, a power failure would lose its name: {why}"
            ),
            Notice::NamesSynced => {
                f.write_str("the log's directory is synced, a power failure would keep its name")
            }
            Notice::NoFile => {
                f.write_str("the log is no regular file, and a restart will know nothing")
            }
            Notice::Holes(lines) => {
                let lines = match lines {
                    1 => "a line of the log is no record".to_owned(),
                    _ => format!("{lines} lines of the log are no records"),
                };
                write!(
                    f,
                    "{lines} and what stood there is lost, but for what neighbours know, who are asked \
                     for everything; the log is replaced"
                )
            }
            Notice::NotWhole => f.write_str(
                "the log's beginning is missing, or it was put together of several; neighbours are asked for \
                 everything, and it is replaced",
            ),
            Notice::Unread(why) => write!(
                f,
                "the log could not be read to its end, what else it tells is lost but for what neighbours \
                 know; it is kept when another has replaced it: {why}"
            ),
            Notice::Spoilt => f.write_str(
                "the log was cut short or deleted while it was written; writing it anew",
            ),
            Notice::Foreign(path) => write!(
                f,
                "{} is another file now, and not empty; writing on in the one that was moved away, which no \
                 restart reads: move this one away too, then send SIGHUP",
                path.display()
            ),
            Notice::PutAside(path) => write!(
                f,
                "another file had the log's name, and is {} now",
                path.display()
            ),
            Notice::MovedAway => f.write_str(
                "the log was moved away, where a restart may not find it: send SIGHUP, and a new one is begun",
            ),
        }
    }
}
