//! What does it cost to remember a client, and to keep a connection?
//!
//! Resident memory of the process, from /proc: what it has grown by, divided by what it has grown
//! for. Sockets are the kernel's memory and not in it. The `AT` line of a client has 80 bytes. Of Java's connections
//! it is what lives after a full collection that grows: the heap has room for them in what it was given before.

use std::thread;
use std::time::{Duration, Instant};

use crate::chart::{Chart, Marks, Panel};
use crate::figures::{Column, Figures, Quantity};
use crate::report::Section;
use crate::setup::Setup;
use crate::support::dialect::REDIS_SET_AT;
use crate::support::generator::{Generator, Pace, Until};
use crate::support::process::{Server, raise_descriptors};
use crate::support::{Result, grouped, progress, size};
use crate::systems::{System, TWISTED_OLD, TWISTED_PYPY};

/// The load's connections; every number of clients here is a multiple of it.
const CONNECTIONS: u32 = 50;
const PIPELINE: usize = 128;
/// What has not changed for so long has settled. What gives memory back does so within some seconds,
/// as Redis does with its buffers.
const QUIET: Duration = Duration::from_millis(1_500);
const QUIET_MAX: Duration = Duration::from_secs(8);
const POLL: Duration = Duration::from_millis(50);

const KEEPERS: [&str; 8] = [
    "herd",
    "redis GEOADD",
    "redis SET",
    "Java",
    "Node",
    "Twisted",
    TWISTED_OLD,
    TWISTED_PYPY,
];
const LISTENERS: [&str; 8] = [
    "herd",
    "bare echo",
    "redis SET",
    "Java",
    "Node",
    "Twisted",
    TWISTED_OLD,
    TWISTED_PYPY,
];

pub const PER_CLIENT: Quantity = Quantity::new("resident per client", "bytes", 0);
pub const PER_CONNECTION: Quantity = Quantity::new("resident per connection", "bytes", 0);
/// The settings of the connections.
pub const IDLE: &str = "idle";
const USED: &str = "after a message";

pub const SECTION: Section = Section {
    word: "memory",
    question: "What does it cost to remember a client, and to keep a connection?",
    method: "What the process has grown by, without sockets, which are the kernel's. herd and the reference implementations keep \
        lines of 80 bytes; so does Redis with `SET`, as values, while `GEOADD` keeps 8 bytes for a place \
        and no time. What Java and Node take for clients says as much of when they collect garbage as of what \
        they keep. Of Java's connections it is what lives after a full collection. Two rounds at most.",
    run,
    table,
    charts,
};

fn run(setup: &Setup, figures: &mut Figures) -> Result<()> {
    let [few, many] = numbers();
    let descriptors = raise_descriptors()?;
    let connections = size(10_000, 200).min(descriptors.saturating_sub(200)) as u32;
    for round in 1..=setup.few_rounds() {
        let say =
            |text: String| progress(format!("round {round} of {}, {text}", setup.few_rounds()));
        for system in setup.systems.named(&KEEPERS) {
            let mut system = system.clone();
            if system.name == "redis SET" {
                system.dialect = REDIS_SET_AT;
            }
            let server = system.start(setup.core())?;
            let at_start = server.resident_bytes()?;
            let collects =
                matches!(system.name, "Java" | "Node") || system.name.starts_with("Twisted");
            for (clients, moved) in [
                (0..few, ""),
                (few..many, ""),
                (0..many, ", all moved again"),
            ] {
                if collects && !moved.is_empty() {
                    continue; // that says more of the collector, and takes long
                }
                let count = clients.end;
                let quota = Until::Messages((clients.len() as u32 / CONNECTIONS).into());
                let (address, dialect) = (server.address, &system.dialect);
                Generator::connect(address, dialect, CONNECTIONS, PIPELINE, clients)?
                    .run(Pace::Closed, quota)?;
                let each = (server.resident_bytes()? - at_start) / f64::from(count);
                let setting = format!("{}{moved}", grouped(count.into()));
                say(format!(
                    "{}: {each:.0} bytes per client of {setting}",
                    system.name
                ));
                figures.add(system.name, &setting, PER_CLIENT, each);
            }
        }
        for system in setup.systems.named(&LISTENERS) {
            let server = system.start(setup.core())?;
            let [idle, used] = keep(system, &server, connections)?;
            say(format!(
                "{}: {idle:.0} bytes per connection, after a message {used:.0}",
                system.name
            ));
            figures.add(system.name, IDLE, PER_CONNECTION, idle);
            figures.add(system.name, USED, PER_CONNECTION, used);
        }
    }
    Ok(())
}

/// Of clients.
fn numbers() -> [u32; 2] {
    size([100_000, 1_000_000], [1_000, 10_000])
}

/// Opens so many connections, and then sends a message on each. Every connection has its client, of
/// which the server has heard often enough not to grow by it any more.
fn keep(system: &System, server: &Server, count: u32) -> Result<[f64; 2]> {
    let connect =
        |connections| Generator::connect(server.address, &system.dialect, connections, 1, 0..count);
    let share = u64::from(count / CONNECTIONS);
    connect(CONNECTIONS)?.run(Pace::Closed, Until::Messages(10 * share))?;
    let at_start = settled(system, server)?;
    let mut connections = connect(count)?;
    connect(1)?.run(Pace::Closed, Until::Messages(1))?; // so all before it have been accepted, too
    let idle = settled(system, server)? - at_start;
    connections.run(Pace::Closed, Until::Messages(1))?;
    let used = bytes_of(system, server)? - at_start;
    Ok([idle, used].map(|bytes| bytes / f64::from(count)))
}

/// What it has of memory.
fn bytes_of(system: &System, server: &Server) -> Result<f64> {
    match system.name {
        "Java" => server.live_bytes_of_java(),
        _ => server.resident_bytes(),
    }
}

/// What it has of memory when that no longer changes.
fn settled(system: &System, server: &Server) -> Result<f64> {
    let began_at = Instant::now();
    let (mut bytes, mut changed_at) = (bytes_of(system, server)?, began_at);
    while changed_at.elapsed() < size(QUIET, POLL) && began_at.elapsed() < QUIET_MAX {
        thread::sleep(POLL);
        let now = bytes_of(system, server)?;
        if now != bytes {
            (bytes, changed_at) = (now, Instant::now());
        }
    }
    Ok(bytes)
}

fn table(figures: &Figures) -> String {
    figures.table(
        "clients",
        &[
            Column::Spread(PER_CLIENT),
            Column::Ratio(PER_CLIENT, "herd"),
        ],
    ) + "\nOf 10,000 connections, idle for some seconds and then after a message each; the client of each \
           was known before.\n\n"
        + &figures.table(
            "connections",
            &[
                Column::Spread(PER_CONNECTION),
                Column::Ratio(PER_CONNECTION, "herd"),
            ],
        )
}

fn charts(figures: &Figures) -> Vec<Chart> {
    let many = grouped(numbers()[1].into());
    let bars = |title: &str, quantity, setting: &str| {
        let marks = Marks::bars(figures, quantity, setting);
        Panel::new(title, "bytes resident; less is better", marks)
    };
    vec![Chart {
        name: "memory",
        panels: vec![
            bars(
                &format!("Memory for a client, of {many}"),
                PER_CLIENT,
                &many,
            ),
            bars("Memory for an idle connection", PER_CONNECTION, IDLE),
        ],
    }]
}
