//! What others are told of the journal: its state, its counters, and lines for the operator.

use std::fmt;

/// Whether a restart would know what is known now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It would.
    Ok,
    /// It would not: the disk is full or fails.
    Degraded,
}

/// What a start has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// How many locations are known from the journal.
    pub locations: usize,
    /// The journal could be relied on.
    pub is_sure: bool,
    /// There was no journal.
    pub is_new: bool,
}

/// What has been done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes handed to the kernel.
    pub bytes: u64,
    /// Batches of changes written.
    pub batches: u64,
    /// Syncs begun.
    pub syncs: u64,
    /// Snapshots completed.
    pub snapshots: u64,
}

/// Something that the operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The journal cannot be relied on.
    Doubt {
        /// Why.
        why: String,
        /// How many locations could be read.
        locations: usize,
        /// Files that could not be read to their ends, as they will be called.
        quarantined: Vec<String>,
    },
    /// The journal in this folder cannot be written, and why.
    Failing(String, String),
    /// It is written again: a new snapshot has so many locations, which are all.
    Restored(String, u64),
    /// It goes on, but a snapshot could not be written, and why.
    NoSnapshot(String, String),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Doubt {
                why,
                locations,
                quarantined,
            } => {
                write!(
                    f,
                    "The journal cannot be relied on: {why}. Serving with the {locations} locations that could be \
                     read, asking the neighbours for everything, and writing a new snapshot."
                )?;
                match quarantined[..] {
                    [] => f.write_str(" There is nothing to do."),
                    _ => write!(
                        f,
                        " What could not be read is then kept as {}, until you delete it.",
                        quarantined.join(" ")
                    ),
                }
            }
            Notice::Failing(folder, why) => write!(
                f,
                "Cannot write {folder}: {why}. Still serving; new reports are only in memory until it can be \
                 written, which is tried each second. Make room, or see to the disk."
            ),
            Notice::Restored(folder, locations) => write!(
                f,
                "{folder} is written again: a new snapshot has all {locations} locations."
            ),
            Notice::NoSnapshot(folder, why) => write!(
                f,
                "Cannot write a snapshot to {folder}: {why}. The journal goes on, and grows, until there can be \
                 one, which is tried again and again. Make room, or see to the disk."
            ),
        }
    }
}
