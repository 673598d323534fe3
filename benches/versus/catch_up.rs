//! How fast does a fresh neighbour catch up, and who suffers meanwhile?
//!
//! A has many records; B starts with none, and answers its first client when it has caught up. A's feed is in the
//! order in which it accepted them, so B has all when it knows the last. Meanwhile a client of A's moves every
//! millisecond; its replies are timed from when each message was due. Nobody is pinned to a core: there are three.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::chart::Chart;
use crate::figures::{Column, Figures, Quantity};
use crate::report::Section;
use crate::setup::Setup;
use crate::support::dialect::HERD_A;
use crate::support::generator::{Generator, Outcome, Pace, Until};
use crate::support::topology::{Program, Topology};
use crate::support::{Client, PATIENCE, Result, grouped, progress, size};

const CONNECTIONS: u32 = 50;
const PIPELINE: usize = 128;
const STEP: Duration = Duration::from_millis(1);
/// Of the client that moves meanwhile, a second.
const MOVES: f64 = 1_000.0;

const TO_LAST: Quantity = Quantity::new("B's start to the last record", "s", 2);
const RATE: Quantity = Quantity::new("records", "1/s", 0);
const A_CPU: Quantity = Quantity::new("CPU of A", "s", 2);
const B_CPU: Quantity = Quantity::new("CPU of B", "s", 2);
const P50: Quantity = Quantity::new("p50", "µs", 0);
const P99: Quantity = Quantity::new("p99", "µs", 0);
const MAX: Quantity = Quantity::new("max", "µs", 0);
const QUIET: &str = "A alone";

pub const SECTION: Section = Section {
    word: "catch-up",
    question: "How fast does a fresh neighbour catch up, and who suffers?",
    method: "A has the records, B starts with none. Meanwhile a client of A's moves every millisecond, and \
        its replies are timed from when each message was due. Nobody is pinned to a core.",
    run,
    table,
    charts,
};

fn run(setup: &Setup, figures: &mut Figures) -> Result<()> {
    let records = size(1_000_000, 10_000);
    for round in 1..=setup.rounds {
        let took = thread::scope(|scope| {
            let unpinned = scope.spawn(|| {
                if let Some(cores) = &setup.cores {
                    cores.unite()?;
                }
                catch_up(records, figures)
            });
            unpinned.join().map_err(|_| "a round panicked")?
        })?;
        progress(format!(
            "round {round} of {}: B has caught up after {took:.1?}",
            setup.rounds
        ));
    }
    Ok(())
}

fn catch_up(records: u32, figures: &mut Figures) -> Result<Duration> {
    let topology = Topology::new(&[("A", "B"), ("B", "")])?;
    let a = topology.start(&Program::herd(), "A", None)?;
    let connect = |connections, pipeline, clients| {
        Generator::connect(a.address, &HERD_A, connections, pipeline, clients)
    };
    let quota = Until::Messages((records / CONNECTIONS).into());
    connect(CONNECTIONS, PIPELINE, 0..records)?.run(Pace::Closed, quota)?;
    Client::connect(a.address)?.move_to("last", "+34.07-118.44")?;

    // It has been heard of before, and so moves to the end of the feed all the time.
    let mut client = connect(1, PIPELINE, 1..2)?;
    let time = Until::Elapsed(Duration::from_millis(size(2_000, 200)));
    let quiet = client.run(Pace::Open(MOVES), time)?;
    let stop = AtomicBool::new(false);
    let cpu_before = a.cpu()?;
    let (busy, caught_up) = thread::scope(|scope| {
        let mover = scope.spawn(|| client.run(Pace::Open(MOVES), Until::Told(&stop)));
        let caught_up = start_and_wait(&topology, records);
        stop.store(true, Ordering::Relaxed);
        let busy = mover.join().map_err(|_| "the client panicked")??;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((busy, caught_up?))
    })?;

    let setting = grouped(records.into());
    let (to_last, b_cpu) = caught_up;
    for (quantity, value) in [
        (TO_LAST, to_last.as_secs_f64()),
        (RATE, f64::from(records) / to_last.as_secs_f64()),
        (A_CPU, a.cpu()?.saturating_sub(cpu_before).as_secs_f64()),
        (B_CPU, b_cpu.as_secs_f64()),
    ] {
        figures.add("herd", &setting, quantity, value);
    }
    let busy_setting = format!("B takes {setting} records");
    for (setting, outcome) in [(QUIET, &quiet), (&busy_setting, &busy)] {
        add_times(setting, outcome, figures);
    }
    Ok(to_last)
}

fn add_times(setting: &str, outcome: &Outcome, figures: &mut Figures) {
    for (quantity, part) in [(P50, 0.5), (P99, 0.99), (MAX, 1.0)] {
        figures.add("herd", setting, quantity, outcome.micros(part));
    }
}

/// Starts B, and waits until it knows what A knows. Gives how long that took, and B's processor time.
fn start_and_wait(topology: &Topology, records: u32) -> Result<(Duration, Duration)> {
    let started = Instant::now();
    let b = topology.start(&Program::herd(), "B", None)?;
    let mut client = Client::connect(b.address)?;
    while !is_known(&mut client, "last")? {
        if started.elapsed() > 10 * PATIENCE {
            return Err("B still does not know the last".into());
        }
        thread::sleep(STEP);
    }
    let (took, b_cpu) = (started.elapsed(), b.cpu()?);
    for record in (0..records).step_by(records as usize / 100) {
        if !is_known(&mut client, &format!("client-{record:08}"))? {
            return Err(format!("B knows the last record, but not client-{record:08}").into());
        }
    }
    Ok((took, b_cpu))
}

fn is_known(client: &mut Client, name: &str) -> Result<bool> {
    let reply = client.ask(&format!("WHATSAT {name} 1 0"))?;
    let known = reply.starts_with("AT ");
    if known {
        client.receive()?; // Twitter's answer: that there is none
    }
    Ok(known)
}

fn table(figures: &Figures) -> String {
    let took = [TO_LAST, RATE, A_CPU, B_CPU].map(Column::Spread);
    let times = [P50, P99, MAX].map(Column::Spread);
    figures.table("records", &took)
        + "\nReplies to the client of A's meanwhile:\n\n"
        + &figures.table("while", &times)
}

fn charts(_: &Figures) -> Vec<Chart> {
    Vec::new()
}
