//! What an operator says of a server: the options of `herd serve`.
//!
//! `main` fills it, `Server::start` reads it.

use std::path::PathBuf;
use std::time::Duration;

use super::security::KeyFiles;
use crate::journal::Fsync;
use crate::log;
use crate::twitter;

/// What `herd serve` was told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file of which SIGHUP applies what has changed.
    pub topology: PathBuf,
    /// Where the journal is: `<data_dir>/<name>/`.
    pub data_dir: PathBuf,
    /// When the journal is made to survive a power failure.
    pub fsync: Fsync,
    /// That the journal cannot be written is no reason not to start.
    pub allow_no_journal: bool,
    /// Where the log goes: `<log_dir>/<name>.log`.
    pub log_dir: PathBuf,
    /// What goes into the log.
    pub log: log::Filter,
    /// The log is rotated before it is longer than this, in bytes.
    pub log_max_bytes: u64,
    /// How many rotated logs are kept.
    pub log_keep: u32,
    /// The most clients that may be connected; without it, as many as there are descriptors for.
    pub max_connections: Option<usize>,
    /// About how many bytes the table of clients may take; without it, half of the memory there is.
    pub max_table_bytes: Option<usize>,
    /// Clients that are silent for longer are closed.
    pub idle_timeout: Option<Duration>,
    /// A client's line may take this long from its first byte to its end.
    pub line_timeout: Duration,
    /// A stop may take this long until replies have left and neighbours have been sent everything.
    pub drain: Duration,
    /// Records whose effective time is longer ago are forgotten.
    pub forget_after: Option<Duration>,
    /// The file of tokens of which an HTTP client shows one; without it only this machine is served.
    pub http_tokens: Option<PathBuf>,
    /// Clocks may be off by so much.
    pub clock_skew: Duration,
    /// The operator says that this server's clock is right.
    pub trust_clock: bool,
    /// The files of its key and of its certificate.
    pub keys: KeyFiles,
    /// How Twitter is asked.
    pub twitter: twitter::Options,
}
