//! How long is a start, with a long log to read?
//!
//! Two logs are made as a server writes them, each with a neighbour: one that a rotation has just
//! begun, a checkpoint and nothing else, every record of another client; and one that has never
//! been rotated, of clients that move, most of them heard here, some by the neighbour. A start is
//! timed from the process's beginning until it answers a client.
//!
//! Beside it the lines of the same file are counted in three ways: as most programs do
//! (`BufRead::lines`, a `String` each); into one buffer (`read_until`); and as `wc -l` does, which does
//! not look at lines at all (64 KiB at once, LFs counted by SIMD). The file is in the page cache each
//! time, and a round before them all is not counted: the host of a virtual machine has to find the
//! memory first.

mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use herd::log::note;
use herd::log::record::{self, Direction, Label, Stamp};
use herd::node::protocol::Incarnation;
use herd::time::Timestamp;
use herd::topology::ServerName;

use support::topology::{Program, Topology};
use support::{Client, PATIENCE, Result, Spread, grouped, heading, progress, size, table};

/// How often everything is measured.
const ROUNDS: usize = 5;

/// One that has to read a long log may be silent for longer.
const PATIENCE_AT_START: Duration = PATIENCE.saturating_mul(15);

/// When the first record of a log was written.
const BEGAN: i64 = 1_353_118_103;

fn main() -> Result<()> {
    heading("How long is a start, with a long log to read?");
    let records = size(10_000_000, 2_000);
    let mut rows = Vec::new();
    for kind in [Kind::Checkpoint, Kind::Plain] {
        rows.push(measure(kind, records)?);
    }
    table(
        "the log | records | MB | start, s (min..max) | its CPU, s | counted by lines(), s | by read_until | as wc -l | start in lines() | in read_until | in wc -l",
        &rows,
    );
    Ok(())
}

#[derive(Clone, Copy)]
enum Kind {
    /// A checkpoint, every record of another client.
    Checkpoint,
    /// Clients that move, and no checkpoint.
    Plain,
}

fn measure(kind: Kind, records: u32) -> Result<Vec<String>> {
    let topology = Topology::new(&[("Blake", "Bryant"), ("Bryant", "")])?;
    let directory = topology.log_dir("Blake");
    fs::create_dir_all(&directory)?;
    let path = directory.join("Blake.log");
    let mut log = Log::create(&path)?;
    let (what, clients) = match kind {
        Kind::Checkpoint => ("a checkpoint", log.write_checkpoint(records)?),
        Kind::Plain => ("no checkpoint", log.write_moves(records)?),
    };
    let made = log.records;
    drop(log);
    let bytes = fs::metadata(&path)?.len();
    progress(format!("{what}: {} records", grouped(made.into())));

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
            let counted = count(&path)?;
            times.push(began.elapsed().as_secs_f64());
            if counted < made.into() {
                return Err(format!("{counted} of {made} lines were counted").into());
            }
        }
        let began = Instant::now();
        // It shall stay as it is, however long.
        let server = topology.start_with(&herd, "Blake", None, &["--log-max-bytes", "1000G"])?;
        let mut client = Client::connect_within(server.address, PATIENCE_AT_START)?;
        client.ask("?")?;
        starts.push(began.elapsed().as_secs_f64());
        starts_cpu.push(server.cpu()?.as_secs_f64());
        for name in &clients {
            let reply = client.ask(&format!("WHATSAT {name} 1 0"))?;
            if !reply.starts_with("AT ") {
                return Err(format!("{name} is not known").into());
            }
            client.receive()?; // Twitter's answer: that there is none
        }
    }
    let (start, used) = (Spread::of(starts), Spread::of(starts_cpu).median);
    let mut row = vec![
        what.to_owned(),
        grouped(made.into()),
        grouped(bytes as f64 / 1e6),
        format!("{:.3} ({:.3}..{:.3})", start.median, start.min, start.max),
        format!("{used:.3}"),
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

/// A log being made.
struct Log {
    out: BufWriter<File>,
    stamp: Stamp,
    record: Vec<u8>,
    records: u32,
    neighbour: ServerName,
}

impl Log {
    fn create(path: &Path) -> Result<Log> {
        let mut stamp = Stamp::default();
        stamp.set(Timestamp::new(BEGAN, 0));
        Ok(Log {
            out: BufWriter::new(File::create(path)?),
            stamp,
            record: Vec::new(),
            records: 0,
            neighbour: ServerName::parse(b"Bryant").ok_or("no name")?,
        })
    }

    /// Writes a checkpoint of so many clients. Gives the first and the last.
    fn write_checkpoint(&mut self, records: u32) -> Result<[String; 2]> {
        self.note(&note::begins(records as usize))?;
        for report in 0..records {
            // They come in the order in which they reported last: any.
            let client = scattered(report, records);
            let number = 2 * u64::from(report) + 1; // half of the changes have been superseded
            let at = format!("AT Blake +0.563873386{}", moved(client, report));
            self.add(Direction::Held, Label::Number(number), &at)?;
        }
        let end = 2 * u64::from(records);
        let incarnation = Incarnation(1);
        self.note(&note::checkpoint(incarnation, end, records.into()))?;
        self.out.flush()?;
        Ok([0, records - 1].map(|report| name(scattered(report, records))))
    }

    /// Writes what a herd does while its clients move, in so many records or a few more. Gives two
    /// of the clients.
    fn write_moves(&mut self, records: u32) -> Result<[String; 2]> {
        let clients = records / 10; // so that each moves four times
        self.note(&note::started(Incarnation(1), 0, 0, None))?;
        let neighbour = self.neighbour.clone();
        let link = Label::Server(1, Some(&neighbour));
        let mut report = 0;
        while self.records < records {
            let client = scattered(report % clients, clients);
            self.stamp.set(Timestamp::new(BEGAN, report));
            let moved = moved(client, report);
            if report % 4 == 0 {
                let at = format!("AT Howard +0.563873386{moved}");
                self.add(Direction::In, link, &at)?;
            } else {
                let phone = Label::Client(u64::from(client % 1000));
                let at = format!("AT Blake +0.563873386{moved}");
                self.add(Direction::In, phone, &format!("IAMAT{moved}"))?;
                self.add(Direction::Out, phone, &at)?;
                self.add(Direction::Out, link, &at)?;
            }
            report += 1;
        }
        self.out.flush()?;
        Ok([0, clients - 1].map(name))
    }

    fn note(&mut self, text: &str) -> Result<()> {
        self.add(Direction::Note, Label::None, text)
    }

    fn add(&mut self, direction: Direction, label: Label<'_>, text: &str) -> Result<()> {
        self.record.clear();
        self.stamp.write_head(&mut self.record, direction, label);
        record::write_text(&mut self.record, text.as_bytes());
        self.records += 1;
        Ok(self.out.write_all(&self.record)?)
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

/// What a client's report and its `AT` line share, of the `report`th of all.
fn moved(client: u32, report: u32) -> String {
    let (seconds, micros) = (BEGAN + i64::from(report / 1_000_000), report % 1_000_000);
    let client = name(client);
    format!(" {client} +34.{micros:06}-118.{micros:06} {seconds}.{micros:06}450")
}
