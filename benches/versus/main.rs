//! herd beside the reference implementations, a bare echo, Redis and NATS, on the same work in the same run.
//!
//! `cargo bench --bench versus` asks all questions, `cargo bench --bench versus -- throughput flood`
//! those that are named: throughput, http, latency, mix, memory, growth, catch-up, flood. All of them take
//! some 20 minutes and 10 GB in the directory for temporary files, which are removed again.
//! `HERD_BENCH_ROUNDS` sets the number of rounds (5).
//!
//! Progress goes to standard error, a table for each question to standard output. `target/versus/` then
//! has the same in `results.md`, all figures in `results.csv`, and charts. A run to keep is copied from
//! there to a folder of its own in `docs/benchmarks/`: `cp -r target/versus docs/benchmarks/2026-11-30`.
//! Systems that are not on the machine are left out, with a word on how to get them.

mod canvas;
mod catch_up;
mod chart;
mod cost;
mod draw;
mod figures;
mod flood;
mod growth;
mod http;
mod latency;
mod line;
mod memory;
mod mix;
mod report;
mod scale;
mod setup;
#[path = "../support/mod.rs"]
mod support;
mod systems;
mod throughput;

use figures::Figures;
use report::{Report, Section};
use setup::Setup;
use support::{Result, progress};

const SECTIONS: [&Section; 8] = [
    &throughput::SECTION,
    &http::SECTION,
    &latency::SECTION,
    &mix::SECTION,
    &memory::SECTION,
    &growth::SECTION,
    &catch_up::SECTION,
    &flood::SECTION,
];

fn main() -> Result<()> {
    support::echo::serve_if_asked()?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&String> = words
        .iter()
        .filter(|word| !word.starts_with("--"))
        .collect();
    if let Some(word) = words
        .iter()
        .find(|word| SECTIONS.iter().all(|it| it.word != ***word))
    {
        let known: Vec<&str> = SECTIONS.iter().map(|section| section.word).collect();
        return Err(format!("there is no section {word}, only: {}", known.join(" ")).into());
    }
    let setup = Setup::new()?;
    let mut report = Report::begin(&setup)?;
    for section in SECTIONS {
        if words.is_empty() || words.iter().any(|word| *word == section.word) {
            progress(section.question);
            let mut figures = Figures::default();
            (section.run)(&setup, &mut figures)?;
            report.add(section, &figures)?;
        }
    }
    report.end();
    Ok(())
}
