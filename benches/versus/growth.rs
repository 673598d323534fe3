//! Does a message cost more where many clients are known?
//!
//! One server is told of ever more clients; at each number, clients move in an order that is far from
//! that in which they came, so that neither their records nor their places in the index lie together.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::statvfs;

use crate::chart::{Chart, Marks, Panel};
use crate::cost::{CPU, Cost, GENERATOR_BUSY, RATE};
use crate::figures::{Column, Figures, Quantity};
use crate::report::Section;
use crate::setup::Setup;
use crate::support::generator::{Generator, Pace, Until};
use crate::support::process::Server;
use crate::support::{Result, grouped, progress, size};
use crate::systems::System;

const CONNECTIONS: u32 = 50;
const PIPELINE: usize = 16;
/// With which all are told of first.
const FILL_PIPELINE: usize = 128;

const SYSTEMS: [&str; 3] = ["herd", "redis GEOADD", "redis SET"];

/// What a client may take, at most, of memory and, in log and journal, of the disk.
const MEMORY_BYTES: u64 = 400;
const DISK_BYTES: u64 = 2_000;

/// Who uses next to nothing for so long has come to rest.
const LULL: Duration = Duration::from_millis(200);
const REST_MAX: Duration = Duration::from_secs(60);

const RATIO: Quantity = Quantity::new("CPU by that of the fewest", "times", 2);

pub const SECTION: Section = Section {
    word: "growth",
    question: "Does a message cost more where many clients are known?",
    method: "50 connections with 16 messages under way; the clients move in an order that is far from that \
        in which they came. Measured when the server has come to rest after hearing of them all. Two \
        rounds at most.",
    run,
    table,
    charts,
};

fn run(setup: &Setup, figures: &mut Figures) -> Result<()> {
    let numbers = size([10_000, 1_000_000, 10_000_000], [1_000, 5_000, 20_000]);
    for round in 1..=setup.few_rounds() {
        for system in setup.systems.named(&SYSTEMS) {
            let server = system.start(setup.core())?;
            let mut known = 0;
            let mut first = None;
            for clients in numbers {
                if let Some(lack) = lack(clients)? {
                    progress(format!(
                        "{} clients are left out: {lack}",
                        grouped(clients.into())
                    ));
                    break;
                }
                let fill = known..clients;
                let quota = Until::Messages((fill.len() as u32 / CONNECTIONS).into());
                let (address, dialect) = (server.address, &system.dialect);
                Generator::connect(address, dialect, CONNECTIONS, FILL_PIPELINE, fill)?
                    .run(Pace::Closed, quota)?;
                known = clients;
                come_to_rest(&server)?;
                let cost = measure(system, &server, clients)?;
                let cpu = cost.cpu();
                let times = cpu / *first.get_or_insert(cpu);
                let setting = grouped(clients.into());
                for (quantity, value) in [
                    (CPU, cpu),
                    (RATE, cost.rate()),
                    (GENERATOR_BUSY, cost.generator_busy()),
                    (RATIO, times),
                ] {
                    figures.add(system.name, &setting, quantity, value);
                }
                progress(format!(
                    "round {round} of {}, {}, {setting} clients: {cpu:.3} CPU s per million, {times:.2} \
                     times the first",
                    setup.few_rounds(),
                    system.name
                ));
            }
        }
    }
    Ok(())
}

fn measure(system: &System, server: &Server, clients: u32) -> Result<Cost> {
    let (address, dialect) = (server.address, &system.dialect);
    let mut load = Generator::connect(address, dialect, CONNECTIONS, PIPELINE, 0..clients)?;
    load.scatter();
    load.run(
        Pace::Closed,
        Until::Elapsed(Duration::from_millis(size(500, 20))),
    )?;
    let time = Duration::from_millis(size(2_000, 50));
    Cost::of(&mut load, time, || server.cpu())
}

/// Waits until it has nothing left to do: herd may be writing a snapshot, Redis be moving its index.
fn come_to_rest(server: &Server) -> Result<()> {
    let began_at = Instant::now();
    loop {
        let before = server.cpu()?;
        thread::sleep(LULL);
        let used = server.cpu()?.saturating_sub(before);
        if used < LULL / 20 || began_at.elapsed() > REST_MAX {
            return Ok(());
        }
    }
}

/// What this machine has too little of for so many clients.
fn lack(clients: u32) -> Result<Option<&'static str>> {
    let memory = fs::read_to_string("/proc/meminfo")?;
    let line = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    let available = kilobytes
        .ok_or("no MemAvailable in /proc")?
        .parse::<u64>()?
        * 1024;
    let disk = statvfs(std::env::temp_dir())?;
    let clients = u64::from(clients);
    Ok(if available < clients * MEMORY_BYTES {
        Some("there is too little memory")
    } else if disk.f_bavail * disk.f_frsize < clients * DISK_BYTES {
        Some("there is too little room for temporary files")
    } else {
        None
    })
}

fn table(figures: &Figures) -> String {
    let columns = [
        Column::Spread(CPU),
        Column::Spread(RATIO),
        Column::Spread(RATE),
        Column::Spread(GENERATOR_BUSY),
    ];
    figures.table("clients", &columns)
}

fn charts(figures: &Figures) -> Vec<Chart> {
    let settings = figures.settings();
    let marks = Marks::lines(figures, CPU, &settings, "clients");
    let title = "CPU time of the server for a message, by the number of clients";
    vec![Chart {
        name: "growth",
        panels: vec![Panel::new(title, "µs of one core", marks)],
    }]
}
