//! What does a message cost?
//!
//! CPU time that a server uses for a million messages, and how many it answers in a second. 50
//! connections, 10,000 clients that all move; 1, 16 and 128 messages under way on each connection.
//! Every server is started anew for each round, and warmed up. What kernel threads do later, writing
//! the log to disk, is not in the figures.

use std::time::Duration;

use crate::chart::{Chart, Marks, Panel};
use crate::cost::{CPU, Cost, GENERATOR_BUSY, RATE, SERVER_BUSY};
use crate::figures::{Column, Figures};
use crate::report::Section;
use crate::setup::Setup;
use crate::support::generator::{Generator, Pace, Until};
use crate::support::process::Server;
use crate::support::{Result, grouped, progress, size};
use crate::systems::{LOG_LINKS, LOG_OFF, System, TWISTED_313, TWISTED_OLD, TWISTED_PYPY};

const CONNECTIONS: u32 = 50;
const CLIENTS: u32 = 10_000;
const PIPELINES: [usize; 3] = [1, 16, 128];

/// Who was that busy was what the other waited for.
const BUSY: f64 = 0.95;

const SYSTEMS: [&str; 13] = [
    "herd",
    LOG_LINKS,
    LOG_OFF,
    "bare echo",
    "logging echo",
    "redis GEOADD",
    "redis SET",
    "Java",
    "Node",
    "Twisted",
    TWISTED_OLD,
    TWISTED_313,
    TWISTED_PYPY,
];

pub const SECTION: Section = Section {
    word: "throughput",
    question: "What does a message cost?",
    method: "50 connections, 10,000 clients that all move, 1, 16 or 128 messages under way on each \
        connection. Every message carries the same points of the same clients, and every reply is \
        checked. herd writes each update to its journal before the reply leaves, and each message and its \
        reply to its log a little later. The reference implementations have no journal, and log both before \
        the reply leaves. Redis neither logs nor saves (`--save '' --appendonly no`), and `GEOADD` keeps no \
        time. The echoes keep nothing.",
    run,
    table,
    charts,
};

fn run(setup: &Setup, figures: &mut Figures) -> Result<()> {
    for round in 1..=setup.rounds {
        for system in setup.systems.named(&SYSTEMS) {
            let server = system.start(setup.core())?;
            warm_up(system, &server)?;
            for pipeline in PIPELINES {
                let setting = format!("pipeline {pipeline}");
                let cost = measure(system, &server, pipeline)?;
                for (quantity, value) in [
                    (CPU, cost.cpu()),
                    (RATE, cost.rate()),
                    (SERVER_BUSY, cost.server_busy()),
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
            }
        }
    }
    Ok(())
}

fn warm_up(system: &System, server: &Server) -> Result<()> {
    let clients = 0..CLIENTS;
    let mut load = Generator::connect(server.address, &system.dialect, CONNECTIONS, 16, clients)?;
    load.run(Pace::Closed, Until::Elapsed(system.warm_up()))?;
    Ok(())
}

fn measure(system: &System, server: &Server, pipeline: usize) -> Result<Cost> {
    let clients = 0..CLIENTS;
    let (address, dialect) = (server.address, &system.dialect);
    let mut load = Generator::connect(address, dialect, CONNECTIONS, pipeline, clients)?;
    let warm_up = Until::Elapsed(Duration::from_millis(size(300, 20)));
    load.run(Pace::Closed, warm_up)?;
    let time = Duration::from_millis(size(1_200, 50));
    Cost::of(&mut load, time, || server.cpu())
}

fn table(figures: &Figures) -> String {
    let columns = [
        Column::Spread(CPU),
        Column::Ratio(CPU, "herd"),
        Column::Ratio(CPU, "bare echo"),
        Column::Spread(RATE),
        Column::Text("% busy, server / generator", busy),
    ];
    figures.table("on each connection", &columns)
        + "\n(1) The server waited for the generator: it can answer more than that in a second.\n\
           (2) Each waited for the other, or somebody else was using the cores.\n"
}

fn busy(figures: &Figures, system: &str, setting: &str) -> String {
    let median = |quantity| figures.median(system, setting, quantity).unwrap_or(0.0);
    let (server, generator) = (median(SERVER_BUSY), median(GENERATOR_BUSY));
    let remark = match (server >= 100.0 * BUSY, generator >= 100.0 * BUSY) {
        (false, true) => " (1)",
        (false, false) => " (2)",
        _ => "",
    };
    format!("{server:.0} / {generator:.0}{remark}")
}

fn charts(figures: &Figures) -> Vec<Chart> {
    let settings = PIPELINES.map(|pipeline| format!("pipeline {pipeline}"));
    let settings = settings.each_ref().map(String::as_str);
    let chart = |name, title, axis, marks| Chart {
        name,
        panels: vec![Panel::new(title, axis, marks).log()],
    };
    vec![
        chart(
            "cpu",
            "CPU time of the server for a message",
            "µs of one core, logarithmic; less is better",
            Marks::dots(figures, CPU, &settings),
        ),
        chart(
            "throughput",
            "Messages that a server on one core answers",
            "messages per second, logarithmic; more is better",
            Marks::dots(figures, RATE, &settings).reversed(),
        ),
    ]
}
