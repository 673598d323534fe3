//! How a log is to be kept: what an operator says of it.

use std::path::PathBuf;

/// When records are made to survive a power failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// Before the replies they tell of leave.
    Always,
    /// Within a second or so.
    Second,
    /// When the kernel thinks fit.
    #[default]
    Never,
}

/// How a log is to be kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it is.
    pub path: PathBuf,
    /// From this length in bytes on it is replaced, or from twice the length of its checkpoint on
    /// if that is more.
    pub max_bytes: u64,
    /// How many of those it has replaced are kept.
    pub keep: u32,
    /// When records are made to survive a power failure.
    pub fsync: Fsync,
}
