//! How long does a reply take?
//!
//! Open loop: 50 connections, 10,000 clients that move, each message due at its time whatever became
//! of the others, and its reply timed from then. At half of what each system can do, which is measured
//! with one message under way on each connection, since in an open loop messages come singly; and at
//! one rate for all.

use std::time::Duration;

use crate::chart::{Chart, Marks, Panel};
use crate::figures::{Column, Figures, Quantity};
use crate::report::Section;
use crate::setup::Setup;
use crate::support::generator::{Generator, Pace, Until};
use crate::support::{Result, grouped, progress, size};
use crate::systems::{TWISTED_OLD, TWISTED_PYPY};

const CONNECTIONS: u32 = 50;
const CLIENTS: u32 = 10_000;
/// More than that many messages under way on a connection wait for their turn; timed all the same.
const PIPELINE: usize = 128;
/// What the slowest of them should do with ease.
const COMMON_RATE: f64 = 5_000.0;

const SYSTEMS: [&str; 9] = [
    "herd",
    "bare echo",
    "redis GEOADD",
    "redis SET",
    "Java",
    "Node",
    "Twisted",
    TWISTED_OLD,
    TWISTED_PYPY,
];

pub const HALF: &str = "half of capacity";
pub const COMMON: &str = "5,000/s";
/// At which they are due; not how many were answered.
const DUE: Quantity = Quantity::new("messages due", "1/s", 0);
/// With the part of all replies that came within it.
pub const TIMES: [(Quantity, f64); 5] = [
    (Quantity::new("p50", "µs", 0), 0.5),
    (Quantity::new("p90", "µs", 0), 0.9),
    (Quantity::new("p99", "µs", 0), 0.99),
    (Quantity::new("p99.9", "µs", 0), 0.999),
    (Quantity::new("max", "µs", 0), 1.0),
];

pub const SECTION: Section = Section {
    word: "latency",
    question: "How long does a reply take?",
    method: "Open loop, 50 connections, 10,000 clients that move: each message is due at its time, and its \
        reply timed from then, so that a stall counts for all that it delayed. At half of what the system \
        answers in a closed loop with one message under way on each connection, and at 5,000 a second.",
    run,
    table,
    charts,
};

fn run(setup: &Setup, figures: &mut Figures) -> Result<()> {
    for round in 1..=setup.rounds {
        for system in setup.systems.named(&SYSTEMS) {
            let server = system.start(setup.core())?;
            let connect = |pipeline| {
                let (address, dialect) = (server.address, &system.dialect);
                Generator::connect(address, dialect, CONNECTIONS, pipeline, 0..CLIENTS)
            };
            let closed = |load: &mut Generator, time| load.run(Pace::Closed, Until::Elapsed(time));
            closed(&mut connect(16)?, system.warm_up())?;
            let capacity = closed(&mut connect(1)?, Duration::from_millis(size(700, 30)))?.rate();
            for (setting, rate) in [(HALF, capacity / 2.0), (COMMON, COMMON_RATE)] {
                let time = Until::Elapsed(Duration::from_millis(size(2_000, 100)));
                let outcome = connect(PIPELINE)?.run(Pace::Open(rate), time)?;
                figures.add(system.name, setting, DUE, rate);
                for (quantity, part) in TIMES {
                    figures.add(system.name, setting, quantity, outcome.micros(part));
                }
                progress(format!(
                    "round {round} of {}, {}, {setting}: p50 {:.0} µs, p99 {:.0} µs at {}/s",
                    setup.rounds,
                    system.name,
                    outcome.micros(0.5),
                    outcome.micros(0.99),
                    grouped(rate)
                ));
            }
        }
    }
    Ok(())
}

fn table(figures: &Figures) -> String {
    let mut columns = vec![Column::Spread(DUE)];
    columns.extend(TIMES.map(|(quantity, _)| Column::Spread(quantity)));
    figures.table("rate", &columns)
}

fn charts(figures: &Figures) -> Vec<Chart> {
    let quantities = TIMES.map(|(quantity, _)| quantity);
    let panel = |title, setting| {
        let marks = Marks::profile(figures, &quantities, setting);
        Panel::new(title, "µs, logarithmic", marks).log()
    };
    vec![Chart {
        name: "latency",
        panels: vec![
            panel(
                "Time until the reply, at half of each system's capacity",
                HALF,
            ),
            panel("Time until the reply, at 5,000 messages a second", COMMON),
        ],
    }]
}
