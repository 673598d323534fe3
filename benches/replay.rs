//! How long is a start, with much to read?
//!
//! Two journals are made as a server writes them: a snapshot and nothing else, every location of another
//! client; and changes and no more than a snapshot of nothing, of clients that move. A start is timed from
//! the process's beginning until it answers a client.
//!
//! Beside it as many `AT` records as the journal has entries are counted, in a text log: as most programs
//! do (`BufRead::lines`, a `String` each); into one buffer (`read_until`); and as `wc -l` does, which does
//! not look at lines at all (64 KiB at once, LFs counted by SIMD). The files are in the page cache each
//! time, and a round before them all is not counted: the host of a virtual machine has to find the memory
//! first.

#[path = "../tests/support/effects.rs"]
mod effects;
mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use herd::connection_id::ConnectionId;
use herd::journal::files::Files;
use herd::journal::{Journal, Options};
use herd::node::protocol::Incarnation;
use herd::node::{Node, Seeds};
use herd::time::{Now, Timestamp};
use herd::topology::Topology as Herd;

use effects::{Effect, Recorder};
use support::topology::{Program, Topology};
use support::{Client, PATIENCE, Result, Spread, grouped, heading, progress, size, table};

/// How often everything is measured.
const ROUNDS: usize = 5;

/// When the first client reported.
const BEGAN: i64 = 1_353_118_103;

/// So many changes come in a turn.
const TURN: u32 = 16;

const CLIENT: ConnectionId = ConnectionId { serial: 0, slot: 0 };

fn main() -> Result<()> {
    heading("How long is a start, with much to read?");
    let entries = size(10_000_000, 2_000);
    let rows = vec![
        measure("a snapshot of all", entries, entries)?,
        measure("changes of a tenth as many clients", entries, entries / 10)?,
    ];
    table(
        "the journal | entries | MB | start, s (min..max) | its CPU, s | log, MB | counted by lines(), s | by read_until | as wc -l | start in lines() | in read_until | in wc -l",
        &rows,
    );
    Ok(())
}

/// Measures starts with so many entries of so many clients.
fn measure(what: &str, entries: u32, clients: u32) -> Result<Vec<String>> {
    let topology = Topology::new(&[("Blake", "Bryant"), ("Bryant", "")])?;
    let folder = topology.data_dir().join("Blake");
    let log = topology.log_dir("Blake").with_extension("text");
    progress(format!(
        "{what}: making {} entries",
        grouped(entries.into())
    ));
    Maker::new(&folder)?.make(entries, clients, &log)?;
    let mut bytes = 0;
    for file in fs::read_dir(&folder)? {
        bytes += file?.metadata()?.len();
    }

    let herd = Program::herd();
    let counters = [
        count_lines as fn(&Path) -> Result<u64>,
        count_ends,
        count_lfs,
    ];
    let mut counts: [Vec<f64>; 3] = Default::default();
    let (mut starts, mut starts_cpu) = (Vec::new(), Vec::new());
    for round in 0..=size(ROUNDS, 1) {
        if round == 1 {
            counts.iter_mut().for_each(Vec::clear);
            (starts, starts_cpu) = (Vec::new(), Vec::new());
        }
        for (count, times) in counters.iter().zip(&mut counts) {
            let began = Instant::now();
            let counted = count(&log)?;
            times.push(began.elapsed().as_secs_f64());
            if counted != u64::from(entries) {
                return Err(format!("{counted} of {entries} lines were counted").into());
            }
        }
        let began = Instant::now();
        let server = topology.start_with(&herd, "Blake", None, &[])?;
        let mut client = Client::connect_within(server.address, 15 * PATIENCE)?;
        client.ask("?")?;
        starts.push(began.elapsed().as_secs_f64());
        starts_cpu.push(server.cpu()?.as_secs_f64());
        progress(format!(
            "{what}, round {round}: {:.2} s",
            starts[starts.len() - 1]
        ));
        for client_number in [0, clients - 1] {
            let reply = client.ask(&format!("WHATSAT {} 1 0", name(client_number)))?;
            if !reply.starts_with("AT ") {
                return Err(format!("client {client_number} is not known").into());
            }
            client.receive()?; // Twitter's answer: that there is none
        }
    }
    let (start, used) = (Spread::of(starts), Spread::of(starts_cpu).median);
    let mut row = vec![
        what.to_owned(),
        grouped(entries.into()),
        grouped(bytes as f64 / 1e6),
        format!("{:.3} ({:.3}..{:.3})", start.median, start.min, start.max),
        format!("{used:.3}"),
        grouped(fs::metadata(&log)?.len() as f64 / 1e6),
    ];
    let counts = counts.map(|times| Spread::of(times).median);
    row.extend(counts.map(|count| format!("{count:.3}")));
    row.extend(counts.map(|count| format!("{:.1}", start.median / count)));
    Ok(row)
}

fn count_lines(path: &Path) -> Result<u64> {
    let mut lines = 0;
    for line in BufReader::new(File::open(path)?).lines() {
        line?;
        lines += 1;
    }
    Ok(lines)
}

fn count_ends(path: &Path) -> Result<u64> {
    let mut file = BufReader::new(File::open(path)?);
    let (mut line, mut lines) = (Vec::new(), 0);
    while file.read_until(b'\n', &mut line)? > 0 {
        lines += 1;
        line.clear();
    }
    Ok(lines)
}

fn count_lfs(path: &Path) -> Result<u64> {
    let mut file = File::open(path)?;
    let (mut bytes, mut lfs) = (vec![0; 64 * 1024], 0);
    loop {
        match file.read(&mut bytes)? {
            0 => return Ok(lfs),
            n => lfs += memchr::memchr_iter(b'\n', &bytes[..n]).count() as u64,
        }
    }
}

/// A server without sockets, which writes a journal.
struct Maker {
    node: Node,
    journal: Journal<Files>,
    done: Receiver<(herd::journal::disk::Ticket, std::io::Result<()>)>,
    now: Now,
}

impl Maker {
    fn new(folder: &Path) -> Result<Maker> {
        let herd = Herd::parse(b"Blake h:1 h:2 Bryant\nBryant h:3 h:4\n")
            .map_err(|error| error.message)?;
        let member = herd.member("Blake").ok_or("no Blake")?;
        let now = Now {
            mono: Instant::now(),
            wall: Timestamp::new(BEGAN, 0),
        };
        let seeds = Seeds {
            incarnation: Incarnation(1),
            hash_keys: (1, 2),
            jitter: 3,
        };
        let mut node = Node::new(member, &herd, seeds, now);
        let (post, done) = channel();
        let post = move |ticket, outcome| drop(post.send((ticket, outcome)));
        let files = Files::new(folder.to_owned(), false, post).map_err(|e| e.to_string())?;
        let opened = Journal::open(files, Options::default(), &mut node, now, |_, _| {});
        let (journal, _) = opened.map_err(|error| error.to_string())?;
        Ok(Maker {
            node,
            journal,
            done,
            now,
        })
    }

    /// Has clients report, one after the other, in an order that is not that of their names. Where each
    /// reports once all is put into a snapshot. The log gets a line for each change.
    fn make(mut self, entries: u32, clients: u32, log: &Path) -> Result<()> {
        let mut log = BufWriter::new(File::create(log)?);
        let mut effects = Recorder::default();
        for report in 0..entries {
            let line = moved(scattered(report % clients, clients), report);
            let line = self.node.read_client_line(line.as_bytes());
            self.node
                .handle_client_line(CLIENT, line, self.now, &mut effects);
            for effect in effects.take() {
                if let Effect::Changed(number, line) = effect {
                    self.journal.change(number, &line);
                    log.write_all(b"2012-11-17T02:08:23.672266766Z > c1 ")?;
                    log.write_all(&line)?;
                    log.write_all(b"\n")?;
                }
            }
            if report % TURN == TURN - 1 {
                self.journal.commit();
            }
        }
        self.journal.commit();
        if clients == entries {
            self.journal.begin_anew();
            while self.journal.counters().snapshots < 2 {
                self.journal.work(&self.node);
                self.journal.commit();
                while let Ok((ticket, outcome)) = self.done.try_recv() {
                    self.journal.handle_done(ticket, outcome);
                }
            }
        }
        Ok(log.flush()?)
    }
}

/// Each number below `count` once, far from the one before.
fn scattered(number: u32, count: u32) -> u32 {
    const STEP: u64 = 2_654_435_761; // a prime, near the golden section of 2^32
    (u64::from(number) * STEP % u64::from(count)) as u32
}

fn name(client: u32) -> String {
    format!("client-{client:08}.cs.ucla.edu")
}

/// What a client says, in the `report`th report of all.
fn moved(client: u32, report: u32) -> String {
    let (seconds, micros) = (BEGAN + i64::from(report / 1_000_000), report % 1_000_000);
    let client = name(client);
    format!("IAMAT {client} +34.{micros:06}-118.{micros:06} {seconds}.{micros:06}450")
}
