//! How a log is to be kept: what an operator says of it.

use std::path::PathBuf;

/// What goes into the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// Everything.
    #[default]
    All,
    /// Everything but the lines of clients.
    Links,
    /// Nothing: there is no file.
    Off,
}

/// How a log is to be kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it is.
    pub path: PathBuf,
    /// What goes into it.
    pub filter: Filter,
    /// The file is rotated before it is longer than this, in bytes.
    pub max_bytes: u64,
    /// So many rotated files are kept.
    pub keep: u32,
}
