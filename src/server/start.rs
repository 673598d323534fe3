//! What there is to do before a server serves: signals, tokens, and the journal that lies there.
//!
//! `Server::start` does each once.

use std::io;
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use super::mail::Mail;
use super::memory;
use super::operator::{Operator, Unwritten};
use super::options::Options;
use super::roles::Role;
use crate::journal::disk::OpenError;
use crate::journal::files::Files;
use crate::journal::{self, Journal};
use crate::log;
use crate::net::Reactor;
use crate::node::Node;
use crate::node::table::TABLE_BYTES_MIN;
use crate::private_file;
use crate::time::Now;
use crate::web::access::{Access, Tokens};

/// The reading of a journal is told of after this long, and each time as long has passed.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// The limit of the table where the system does not say how much memory there is: room for some six million
/// clients.
const TABLE_BYTES_UNKNOWN: usize = 1 << 30;

/// Who may ask over HTTP: whoever is on this machine, or has one of the tokens in `file`.
///
/// # Errors
/// One line that says what is wrong with the file.
pub fn read_tokens(file: Option<&Path>) -> Result<Access, String> {
    match file {
        None => Ok(Access::Loopback),
        Some(path) => Tokens::read(path).map(Access::Tokens),
    }
}

/// Limits the memory of the table of clients as the operator says, or to half of what there is. Gives what he is
/// to be told of it.
pub fn limit_table(options: &Options, node: &mut Node) -> String {
    let (limit, whose) = match (options.max_table_bytes, memory::available_bytes()) {
        (Some(limit), _) => (limit, "--max-table-bytes"),
        (None, Some(bytes)) => (
            usize::try_from(bytes / 2).unwrap_or(usize::MAX),
            "half of the memory there is",
        ),
        (None, None) => (
            TABLE_BYTES_UNKNOWN,
            "the system does not say how much memory there is",
        ),
    };
    let limit = limit.max(TABLE_BYTES_MIN);
    node.limit_table(limit);
    let shown = memory::bytes_text(limit as u64);
    format!("keeps clients' locations in {shown} at most ({whose})")
}

/// Opens the journal of a server and gives its node what it holds. A disk that is full is no reason not
/// to serve.
///
/// # Errors
/// One line that says why the journal cannot be used.
pub fn open_journal(
    options: &Options,
    log: &log::Options,
    reactor: &Reactor<Role, Mail>,
    node: &mut Node,
    now: Now,
    operator: &Operator,
) -> Result<Journal<Files>, String> {
    let name = operator.server();
    let folder = options.data_dir.join(name.as_str());
    let shown = private_file::shown(&folder);
    let mailbox = reactor.mailbox();
    let post = move |ticket, outcome| mailbox.post(Mail::Done(ticket, outcome));
    let journal_options = journal::Options {
        fsync: options.fsync,
        may_fail: options.allow_no_journal,
    };
    let (began, mut said) = (Instant::now(), 0);
    let progress = |read, of: u64| {
        let periods = began.elapsed().as_millis() / PROGRESS_EVERY.as_millis();
        if periods > said {
            said = periods;
            let percent = 100 * read / of.max(1);
            operator.say(&format!("reading the journal: {percent} % of {of} bytes"));
        }
    };
    let mut was_used = false;
    let opened = Files::new(folder, options.allow_no_journal, post).and_then(|files| {
        was_used = files.was_used;
        Journal::open(files, journal_options, node, now, progress)
    });
    let (journal, recovered) = opened.map_err(|error| {
        let hint = match error {
            OpenError::Io(_) => {
                " (--allow-no-journal starts without one: a restart then knows nothing)"
            }
            _ => "",
        };
        format!("{name} cannot use its journal {shown}: {error}{hint}")
    })?;
    if recovered.is_new && was_used {
        operator.say(&format!(
            "finds no journal in {shown}, though a server has used it: its files were removed, or never could be \
             written. Only neighbours can send what it had"
        ));
    }
    if recovered.is_new
        && log
            .path
            .metadata()
            .is_ok_and(|log| log.is_file() && log.len() > 0)
    {
        let data_dir = private_file::shown(&options.data_dir);
        let log = private_file::shown(&log.path);
        operator.say(&format!(
            "begins a new journal in {shown}. To begin with the locations of {log}: stop {name}, delete {shown}, \
             herd restore {log} --name {name} --data-dir {data_dir}"
        ));
    }
    Ok(journal)
}

/// Lets a thread wait for signals, so that a signal is mail like any other.
///
/// Until the flag that it gives is set, SIGTERM and SIGINT end the process at once: no reply is
/// under way, and a log may take long to read.
pub fn watch_signals(
    post: impl Fn(i32) + Send + 'static,
    unwritten: Unwritten,
) -> io::Result<Arc<AtomicBool>> {
    // SIGXFSZ would end us where a file may not grow further; caught, the write fails instead.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGXFSZ])?;
    let serving = Arc::new(AtomicBool::new(false));
    let is_serving = Arc::clone(&serving);
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                let to_end = matches!(signal, SIGTERM | SIGINT);
                if to_end && !is_serving.load(Ordering::Acquire) {
                    unwritten.wait();
                    process::exit(0);
                }
                post(signal);
            }
        })?;
    Ok(serving)
}
