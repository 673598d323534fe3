//! `herd restore`: a journal made of text logs, for disasters.
//!
//! `main` is the caller. The logs may come in any order, and may be torn, joined or edited: of each client
//! the most recent location or erasure counts, by the rule by which servers agree. Only the table grows with
//! what is read.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::record::Record;
use crate::cause;
use crate::journal::files::Files;
use crate::journal::{Fsync, Journal, Options};
use crate::node::protocol::{LINK_LINE_BYTES_MAX, parse_update};
use crate::node::{Node, Seeds};
use crate::private_file;
use crate::random;
use crate::time::Now;
use crate::topology::{ServerName, Topology};

/// The longest record that can tell a location: of the longest `AT` line each byte takes four.
const RECORD_BYTES_MAX: usize = 4 * LINK_LINE_BYTES_MAX + 256;

/// So much is read from a log at once.
const READ_BYTES: usize = 256 * 1024;

/// What Windows' editors put before the first line of a file in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How far the reading has come is told as often as this.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// What has become of a restore.
#[derive(Debug)]
pub struct Restored {
    folder: String,
    clients: usize,
    read: Tally,
}

/// What was read.
#[derive(Debug, Default)]
struct Tally {
    bytes: u64,
    lines: u64,
    /// Lines that are no records of a log, or tell no location where they should.
    skipped: u64,
    /// Where the first of these is.
    first_skipped: Option<String>,
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Restored {
            folder,
            clients,
            read,
        } = self;
        write!(f, "restored {clients} clients to {folder}: {read}")
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { lines, skipped, .. } = self;
        write!(f, "read {lines} lines, skipped {skipped}")?;
        match &self.first_skipped {
            Some(first) => write!(f, ", which are torn or no records, the first at {first}"),
            None => Ok(()),
        }
    }
}

/// Makes a new journal of the server `name` in `data_dir`, with the locations that `logs` tell of.
/// `progress` is told each second how far it is.
///
/// # Errors
/// One line that says what is in the way. Where that is a log, logs that tell nothing, or a folder that is
/// not empty, nothing was touched.
pub fn restore(
    logs: &[PathBuf],
    name: &str,
    data_dir: &Path,
    mut progress: impl FnMut(&str),
) -> Result<Restored, String> {
    let name = ServerName::parse(name.as_bytes())
        .ok_or_else(|| format!("'{}' is no name of a server", name.escape_debug()))?;
    let folder = data_dir.join(name.as_str());
    refuse_unless_empty(&folder)?;
    let now = Now::read();
    let mut node = node(&name, now);
    let read = read_logs(logs, &mut node, now, &mut progress)?;
    if node.table().is_empty() {
        // Not even an erasure. An empty journal would only be in the way of the right logs.
        return Err(format!(
            "none of the logs has a location to restore: {read}. No journal was made"
        ));
    }
    let (folder_shown, clients) = (private_file::shown(&folder), node.table().locations());
    progress(&format!("writing {clients} clients to {folder_shown}"));
    write_journal(&mut node, &folder, now)?;
    Ok(Restored {
        folder: folder_shown,
        clients,
        read,
    })
}

/// A folder may be there, even locked before: but nobody's journal, and nothing else.
fn refuse_unless_empty(folder: &Path) -> Result<(), String> {
    let shown = private_file::shown(folder);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("cannot use {shown}: {}", cause::of(&error))),
        Ok(entries) => entries,
    };
    let mut names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
    match names.any(|name| name != "lock") {
        true => Err(format!(
            "{shown} holds a journal or other files: move it away first"
        )),
        false => Ok(()),
    }
}

/// A node that is alone: the table is what matters.
fn node(name: &ServerName, now: Now) -> Node {
    let topology = Topology::parse(format!("{name} clients:1 servers:1\n").as_bytes());
    let topology = topology.expect("it is one line, with a name that is valid");
    Node::new(
        &topology.members()[0],
        &topology,
        Seeds::new(random::unforeseen),
        now,
    )
}

fn read_logs(
    logs: &[PathBuf],
    node: &mut Node,
    now: Now,
    progress: &mut dyn FnMut(&str),
) -> Result<Tally, String> {
    let cannot = |log: &Path, error| {
        let (log, why) = (private_file::shown(log), cause::of(&error));
        format!("cannot read the log {log}: {why}")
    };
    let mut files = Vec::new();
    for log in logs {
        let file = File::open(log).map_err(|error| cannot(log, error))?;
        files.push((log, file));
    }
    let lengths = files.iter().filter_map(|(_, file)| file.metadata().ok());
    let of: u64 = lengths.map(|found| found.len()).sum();
    let (mut tally, mut told_at) = (Tally::default(), Instant::now());
    for (log, file) in files {
        let mut input = BufReader::with_capacity(READ_BYTES, file);
        let (mut line, mut number) = (Vec::new(), 0_u64);
        while tally
            .read_line(&mut input, &mut line)
            .map_err(|error| cannot(log, error))?
        {
            number += 1;
            let text = match number {
                1 => line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line),
                _ => &line,
            };
            if !take_in(text, node, now) {
                tally.skipped += 1;
                let first = || format!("{}:{number}", private_file::shown(log));
                tally.first_skipped.get_or_insert_with(first);
            }
            if told_at.elapsed() >= PROGRESS_EVERY {
                told_at = Instant::now();
                let (read, clients) = (tally.bytes, node.table().locations());
                let of = of.max(read); // a pipe does not say how much it has
                let percent = 100 * u128::from(read) / u128::from(of.max(1));
                progress(&format!(
                    "reading the logs: {percent} % of {of} bytes, {clients} clients"
                ));
            }
        }
    }
    Ok(tally)
}

impl Tally {
    /// Reads a line with its LF; only the beginning of one that is too long to be a record. `false`: there
    /// is none.
    fn read_line(&mut self, input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
        line.clear();
        let mut limited = input.by_ref().take(RECORD_BYTES_MAX as u64);
        let mut bytes = limited.read_until(b'\n', line)?;
        if bytes == RECORD_BYTES_MAX && !line.ends_with(b"\n") {
            bytes += input.skip_until(b'\n')?;
        }
        self.bytes += bytes as u64;
        self.lines += u64::from(bytes > 0);
        Ok(bytes > 0)
    }
}

/// Takes in a line of a log. `false` if it is torn, or no record, or tells no location where it should.
fn take_in(line: &[u8], node: &mut Node, now: Now) -> bool {
    let Some(line) = line.strip_suffix(b"\n") else {
        return false; // of what is torn off a time may be the last
    };
    // The log escapes a CR, so this one came with an editor or a copy.
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match Record::read(line) {
        Record::Update(line) => {
            let line = line.strip_suffix(b"\r").unwrap_or(&line); // a neighbour's line may end so
            node.recovery(now).salvage(&[line]);
            parse_update(line).is_some()
        }
        Record::Other => true,
        Record::Foreign => false,
    }
}

/// Writes a journal with all that the node knows, and waits until it is on the disk. A start does not
/// rely on one that was not completed.
fn write_journal(node: &mut Node, folder: &Path, now: Now) -> Result<(), String> {
    let (post, done) = mpsc::channel();
    let post = move |ticket, outcome| {
        let _ = post.send((ticket, outcome)); // nobody waits for the last
    };
    let options = Options {
        fsync: Fsync::Always,
        may_fail: false,
    };
    let shown = private_file::shown(folder);
    let files = Files::new(folder.to_owned(), false, post);
    let files = files.map_err(|error| format!("cannot use {shown}: {error}"))?;
    refuse_unless_empty(folder)?; // now that nobody else writes there
    let failed = |why: &str| format!("{why}. Nothing was restored: delete {shown}");
    let opened = Journal::open(files, options, node, now, |_, _| {});
    let (mut journal, _) =
        opened.map_err(|error| failed(&format!("cannot write {shown}: {error}")))?;
    if let Some(notice) = journal.poll_notice() {
        let notice = notice.to_string(); // why it cannot be written, then what a server does
        return Err(failed(notice.split(". ").next().unwrap_or_default()));
    }
    journal.close();
    drop(journal);
    done.iter().for_each(drop); // what the snapshot replaces is removed
    Ok(())
}
