//! What the benches share: settings, a blocking client, and how results are shown.
//!
//! Results go to standard output as Markdown, progress to standard error. `cargo bench` runs
//! everything at full size; `HERD_BENCH_QUICK=1`, or running without `--bench` as `cargo test
//! --benches` does, runs a tiny version that only shows that the benches still work.

#![allow(dead_code, reason = "every bench uses its own part of this")]

pub mod connection;
pub mod dialect;
pub mod digits;
pub mod echo;
pub mod generator;
#[path = "../../tests/support/ports.rs"]
pub mod ports;
pub mod process;
pub mod questions;
pub mod schedule;
pub mod topology;
pub mod watcher;

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// No server may be silent for longer when it owes an answer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Whether to run the tiny version.
pub fn is_quick() -> bool {
    let asked = std::env::var_os("HERD_BENCH_QUICK").is_some_and(|value| value != "0");
    asked || !std::env::args().any(|argument| argument == "--bench")
}

/// `full`, or `tiny` in the tiny version.
pub fn size<T>(full: T, tiny: T) -> T {
    if is_quick() { tiny } else { full }
}

/// Says on standard error what is going on.
pub fn progress(text: impl AsRef<str>) {
    eprintln!("  {}", text.as_ref());
}

/// Prints a heading, and on what machine this is.
pub fn heading(question: &str) {
    println!("\n## {question}\n\n{}", machine());
    if is_quick() {
        println!("\n(The tiny version: it works, but the figures mean nothing.)");
    }
}

/// Its processor and its kernel.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown CPU", |model| {
        model.trim_start_matches([' ', '\t', ':'])
    });
    let cores = cpu
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{model}, {cores} cores, Linux {}", kernel.trim())
}

/// Prints a Markdown table; all columns but the first are aligned to the right.
pub fn table(header: &str, rows: &[Vec<String>]) {
    println!(
        "\n| {header} |\n|---{}|",
        "|--:".repeat(header.matches('|').count())
    );
    for row in rows {
        println!("| {} |", row.join(" | "));
    }
}

/// A number with its thousands apart: `1,234,567`.
pub fn grouped(value: f64) -> String {
    if value <= -0.5 {
        return format!("-{}", grouped(-value));
    }
    let digits = format!("{value:.0}");
    let parts = digits.as_bytes().rchunks(3).rev().map(<[u8]>::escape_ascii);
    parts
        .map(|part| part.to_string())
        .collect::<Vec<_>>()
        .join(",")
}

/// What one figure was over all rounds.
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(mut values: Vec<f64>) -> Spread {
        values.sort_by(f64::total_cmp);
        let last = values.len() - 1; // of no rounds nobody asks
        Spread {
            median: (values[last / 2] + values[last.div_ceil(2)]) / 2.0,
            min: values[0],
            max: values[last],
        }
    }
}

/// The time as a client writes it: `1353118103.108893381`.
pub fn wall_time() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default(); // a clock before 1970 says 0
    format!("{}.{:09}", now.as_secs(), now.subsec_nanos())
}

/// A connection that sends a line and waits for lines.
pub struct Client(BufReader<TcpStream>);

impl Client {
    pub fn connect(address: SocketAddr) -> Result<Client> {
        Client::connect_within(address, PATIENCE)
    }

    /// Connects, and will wait for so long for each line.
    pub fn connect_within(address: SocketAddr, patience: Duration) -> Result<Client> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        Ok(Client(BufReader::with_capacity(512, stream)))
    }

    pub fn send(&mut self, line: &str) -> Result<()> {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes())?;
        Ok(())
    }

    pub fn receive(&mut self) -> Result<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line)? {
            0 => Err("the server closed the connection".into()),
            _ => Ok(line),
        }
    }

    pub fn ask(&mut self, line: &str) -> Result<String> {
        self.send(line)?;
        self.receive()
    }

    /// Says where a client is, and checks the reply: an `AT` line, or from an echo the line itself.
    pub fn move_to(&mut self, client: &str, location: &str) -> Result<()> {
        let tail = format!(" {client} {location} {}", wall_time());
        let reply = self.ask(&format!("IAMAT{tail}"))?;
        if reply.trim_end().ends_with(&tail) {
            Ok(())
        } else {
            Err(format!("IAMAT{tail} was answered {reply:?}").into())
        }
    }
}
