//! What do questions cost?
//!
//! 50 connections, 10,000 clients that move, and one message in 20 asks about a client: the server
//! answers with its line and what `herd twitter` says, which runs where the generator does. All
//! questions are different ones, since the clients move.

use std::time::Duration;

use crate::chart::Chart;
use crate::cost::{CPU, Cost, GENERATOR_BUSY, RATE};
use crate::figures::{Column, Figures, Quantity};
use crate::report::Section;
use crate::setup::Setup;
use crate::support::generator::{Generator, Pace, Until};
use crate::support::process::{SOLO, Server};
use crate::support::topology::Topology;
use crate::support::{Result, grouped, progress, size};
use crate::systems::Kind;

const CONNECTIONS: u32 = 50;
const CLIENTS: u32 = 10_000;
const PIPELINES: [usize; 2] = [1, 16];
const PERCENT: u32 = 5;

const SYSTEMS: [&str; 4] = ["herd", "Java", "Node", "Twisted"];

const P50: Quantity = Quantity::new("p50", "µs", 0);
const P99: Quantity = Quantity::new("p99", "µs", 0);

pub const SECTION: Section = Section {
    word: "mix",
    question: "What do questions cost?",
    method: "As the messages above, but one in 20 is a `WHATSAT` about a client that has moved; the server \
        asks `herd twitter`, which runs on the generator's core. Both lines of every answer are checked. \
        On one connection the next messages wait for the tweets, so the times of all include that.",
    run,
    table,
    charts,
};

fn run(setup: &Setup, figures: &mut Figures) -> Result<()> {
    let twitter = Server::twitter(setup.other_core())?;
    for round in 1..=setup.rounds {
        for system in setup.systems.named(&SYSTEMS) {
            let Kind::Herd(program) = &system.kind else {
                continue; // nobody else knows of tweets
            };
            let topology = Topology::new(&[(SOLO, "")])?.with_twitter(twitter.address);
            let server = topology.start(program, SOLO, setup.core())?;
            let mut warm_up = system.warm_up();
            for pipeline in PIPELINES {
                let (address, dialect) = (server.address, &system.dialect);
                let mut load =
                    Generator::connect(address, dialect, CONNECTIONS, pipeline, 0..CLIENTS)?;
                load.ask(PERCENT)?;
                load.run(Pace::Closed, Until::Elapsed(warm_up))?;
                let time = Duration::from_millis(size(1_200, 50));
                let cost = Cost::of(&mut load, time, || server.cpu())?;
                let setting = pipeline.to_string();
                for (quantity, value) in [
                    (CPU, cost.cpu()),
                    (RATE, cost.rate()),
                    (P50, cost.outcome.micros(0.5)),
                    (P99, cost.outcome.micros(0.99)),
                    (GENERATOR_BUSY, cost.generator_busy()),
                ] {
                    figures.add(system.name, &setting, quantity, value);
                }
                progress(format!(
                    "round {round} of {}, {}, pipeline {pipeline}: {:.3} CPU s per million, \
                     {} messages/s",
                    setup.rounds,
                    system.name,
                    cost.cpu(),
                    grouped(cost.rate())
                ));
                warm_up = Duration::from_millis(size(300, 20));
            }
        }
    }
    Ok(())
}

fn table(figures: &Figures) -> String {
    let columns = [
        Column::Spread(CPU),
        Column::Ratio(CPU, "herd"),
        Column::Spread(RATE),
        Column::Spread(P50),
        Column::Spread(P99),
        Column::Spread(GENERATOR_BUSY),
    ];
    figures.table("pipeline", &columns)
}

fn charts(_: &Figures) -> Vec<Chart> {
    Vec::new()
}
