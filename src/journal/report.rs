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
    },
    /// Files that could not be read to their ends have these names now.
    Quarantined(Vec<String>),
    /// It cannot be written; the text says why.
    Failing(String),
    /// It is written again: a new snapshot has so many locations, which are all.
    Restored(u64),
    /// It goes on, but a snapshot could not be written; the text says why.
    NoSnapshot(String),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Doubt { why, locations } => write!(
                f,
                "The journal is in doubt: {why}. {locations} locations could be read. Asking the neighbours for \
                 everything, and writing a new snapshot."
            ),
            Notice::Quarantined(files) => write!(
                f,
                "The journal is in order again. Files that could not be read to their ends were kept, to be looked \
                 at or deleted: {}.",
                files.join(", ")
            ),
            Notice::Failing(why) => write!(
                f,
                "Cannot write the journal: {why}. Still serving; new reports are only in memory until it can be \
                 written. Trying again each second."
            ),
            Notice::Restored(locations) => write!(
                f,
                "The journal is written again: a new snapshot has all {locations} locations."
            ),
            Notice::NoSnapshot(why) => write!(
                f,
                "Cannot write a snapshot of the journal: {why}. The journal goes on, and grows. Trying again."
            ),
        }
    }
}
