//! What does a message cost?
//!
//! CPU time that a server uses for a million `IAMAT` messages, and how many it answers in a
//! second, beside what the bare work costs: an echo of lines, and an echo that logs every line.
//! 50 connections, 10,000 clients that all move; 1, 16 and 128 messages under way on each
//! connection. Every server is started anew for each round, and warmed up. What kernel threads
//! do later, writing the log to disk, is not in the figures.
//!
//! `HERD_BENCH_ROUNDS` sets the number of rounds. The logs of a round take up to 2 GB in the
//! directory for temporary files, and are removed after it.

mod support;

use std::time::Duration;

use support::generator::{Answer, Generator, Until};
use support::process::{SOLO, Server, cpu, pin};
use support::{Result, Spread, grouped, heading, progress, size, table};

const CONNECTIONS: u32 = 50;
const CLIENTS: u32 = 10_000;
const PIPELINES: [usize; 3] = [1, 16, 128];

/// Who was that busy was what the other waited for.
const BUSY: f64 = 0.95;

/// A system's name, how it is started on a core, and what it answers.
type System = (&'static str, fn(Option<&str>) -> Result<Server>, Answer);

/// The first is what the others are compared with.
const SYSTEMS: [System; 3] = [
    ("bare echo", |core| Server::echo(false, core), Answer::Echo),
    (
        "logging echo",
        |core| Server::echo(true, core),
        Answer::Echo,
    ),
    ("herd", Server::solo, Answer::At(SOLO)),
];

/// What was measured in one round of one system with one pipeline.
struct Sample {
    cpu_s_per_million: f64,
    messages_per_s: f64,
    /// CPU time per time.
    server_busy: f64,
    generator_busy: f64,
}

fn main() -> Result<()> {
    support::echo::serve_if_asked()?;
    heading("What does a message cost?");
    let core = pin();
    match core {
        Some(core) => println!("\nServers on core {core}, the generator on core 1."),
        None => println!("\nNot pinned to cores: that takes two of them, and taskset."),
    }
    let rounds = std::env::var("HERD_BENCH_ROUNDS").map_or(Ok(size(5, 1)), |text| text.parse())?;
    let mut samples: Vec<Vec<Sample>> = Vec::new(); // of each system with each pipeline
    samples.resize_with(SYSTEMS.len() * PIPELINES.len(), Vec::new);
    for round in 1..=rounds {
        for (row, (name, start, answer)) in SYSTEMS.into_iter().enumerate() {
            let server = start(core)?;
            for (column, pipeline) in PIPELINES.into_iter().enumerate() {
                let sample = measure(&server, answer, pipeline)?;
                let rate = grouped(sample.messages_per_s);
                progress(format!(
                    "round {round} of {rounds}, {name}, pipeline {pipeline}: \
                     {:.3} CPU s per million, {rate} messages/s",
                    sample.cpu_s_per_million
                ));
                samples[row * PIPELINES.len() + column].push(sample);
            }
        }
    }
    report(&samples);
    Ok(())
}

fn measure(server: &Server, answer: Answer, pipeline: usize) -> Result<Sample> {
    let clients = 0..CLIENTS;
    let mut load = Generator::connect(server.address, answer, CONNECTIONS, pipeline, clients)?;
    load.run(Until::Elapsed(Duration::from_millis(size(300, 20))))?;
    let own = std::process::id();
    let (before, own_before) = (server.cpu()?, cpu(own)?);
    let (messages, time) = load.run(Until::Elapsed(Duration::from_millis(size(1_500, 50))))?;
    let (used, own_used) = (server.cpu()? - before, cpu(own)? - own_before);
    Ok(Sample {
        cpu_s_per_million: used.as_secs_f64() * 1e6 / messages as f64,
        messages_per_s: messages as f64 / time.as_secs_f64(),
        server_busy: used.as_secs_f64() / time.as_secs_f64(),
        generator_busy: own_used.as_secs_f64() / time.as_secs_f64(),
    })
}

fn report(samples: &[Vec<Sample>]) {
    let spread = |cell: usize, figure: fn(&Sample) -> f64| {
        Spread::of(samples[cell].iter().map(figure).collect())
    };
    let mut rows = Vec::new();
    for (column, pipeline) in PIPELINES.into_iter().enumerate() {
        let echo = spread(column, |sample| sample.cpu_s_per_million).median;
        for (row, (name, ..)) in SYSTEMS.into_iter().enumerate() {
            let cell = row * PIPELINES.len() + column;
            let cost = spread(cell, |sample| sample.cpu_s_per_million);
            let rate = spread(cell, |sample| sample.messages_per_s);
            let server = spread(cell, |sample| sample.server_busy).median;
            let generator = spread(cell, |sample| sample.generator_busy).median;
            let remark = match (server >= BUSY, generator >= BUSY) {
                (false, true) => " (1)",
                (false, false) => " (2)",
                _ => "",
            };
            rows.push(vec![
                format!("{name}, {pipeline}"),
                format!("{:.3} ({:.3}..{:.3})", cost.median, cost.min, cost.max),
                format!("{:.2}", cost.median / echo),
                [rate.median, rate.min, rate.max].map(grouped).join(" / "),
                format!("{:.0} / {:.0}{remark}", server * 100.0, generator * 100.0),
            ]);
        }
    }
    let header = "system, pipeline | CPU s per million (min..max) | in bare echoes \
         | messages/s, median / min / max | % busy, server / generator";
    table(header, &rows);
    println!(
        "\n(1) The server waited for the generator: it can answer more than that in a second."
    );
    println!("\n(2) Each waited for the other, or somebody else was using the cores.");
}
