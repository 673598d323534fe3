//! What does a report cost over HTTP?
//!
//! The same reports of the same clients to one server of herd, as `IAMAT` lines and over HTTP in the ways that
//! devices have. 50 connections that are kept, 10,000 clients, 16 messages under way on each connection. The ways
//! take turns on one server, so what disturbs the machine disturbs them alike.

use std::time::Duration;

use crate::chart::Chart;
use crate::cost::{CPU, Cost, GENERATOR_BUSY, RATE, SERVER_BUSY};
use crate::figures::{Column, Figures};
use crate::report::Section;
use crate::setup::Setup;
use crate::support::dialect::{self, Dialect};
use crate::support::generator::{Generator, Pace, Until};
use crate::support::process::SOLO;
use crate::support::topology::{Program, Topology};
use crate::support::{Result, grouped, progress, size};

const CONNECTIONS: u32 = 50;
const CLIENTS: u32 = 10_000;
const PIPELINE: usize = 16;

const LINES: &str = "IAMAT lines";
const WAYS: [(&str, Dialect); 4] = [
    (LINES, dialect::HERD),
    ("POST /v1/clients/ID", dialect::HTTP_JSON),
    ("GET /osmand", dialect::HTTP_QUERY),
    ("POST /osmand", dialect::HTTP_FORM),
];

pub const SECTION: Section = Section {
    word: "http",
    question: "What does a report cost over HTTP?",
    method: "50 connections that are kept, 10,000 clients that all move, 16 messages under way on each connection. \
        The same reports go to one server as `IAMAT` lines, as JSON, as OsmAnd's query and as Traccar Client's form; \
        requests have `Host`, `User-Agent` and what their body needs. Every reply is checked. Journal and log as \
        above: of a request the log has its target, the `IAMAT` line that it becomes and the `AT` line.",
    run,
    table,
    charts,
};

fn run(setup: &Setup, figures: &mut Figures) -> Result<()> {
    let topology = Topology::new(&[(SOLO, "")])?;
    let http = topology.serve_http(SOLO)?;
    let server = topology.start(&Program::herd(), SOLO, setup.core())?;
    let setting = format!("pipeline {PIPELINE}");
    for round in 1..=setup.rounds {
        for (way, dialect) in &WAYS {
            let address = if *way == LINES { server.address } else { http };
            let clients = 0..CLIENTS;
            let mut load = Generator::connect(address, dialect, CONNECTIONS, PIPELINE, clients)?;
            let warm_up = Duration::from_millis(size(300, 20));
            load.run(Pace::Closed, Until::Elapsed(warm_up))?;
            let time = Duration::from_millis(size(1_200, 50));
            let cost = Cost::of(&mut load, time, || server.cpu())?;
            for (quantity, value) in [
                (CPU, cost.cpu()),
                (RATE, cost.rate()),
                (SERVER_BUSY, cost.server_busy()),
                (GENERATOR_BUSY, cost.generator_busy()),
            ] {
                figures.add(way, &setting, quantity, value);
            }
            progress(format!(
                "round {round} of {}, {way}: {:.3} CPU s per million, {} messages/s",
                setup.rounds,
                cost.cpu(),
                grouped(cost.rate())
            ));
        }
    }
    Ok(())
}

fn table(figures: &Figures) -> String {
    let columns = [
        Column::Spread(CPU),
        Column::Ratio(CPU, LINES),
        Column::Spread(RATE),
        Column::Spread(SERVER_BUSY),
        Column::Spread(GENERATOR_BUSY),
    ];
    figures.table("on each connection", &columns)
}

fn charts(_: &Figures) -> Vec<Chart> {
    Vec::new()
}
