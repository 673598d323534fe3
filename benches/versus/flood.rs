//! What does it cost that servers tell each other, and how soon do they know?
//!
//! A, B, C in a line. 50 clients of A's send updates; a neighbour of C's that we play ourselves, or
//! a subscriber at C, sees them behind C, in the order in which each client sent them. First as fast
//! as they go through, then at half the rate that this gave; and at last one at a time.

use std::time::Duration;

use crate::chart::{Chart, Marks, Panel};
use crate::cost::{Cost, GENERATOR_BUSY};
use crate::figures::{Column, Figures, Quantity};
use crate::line::Line;
use crate::report::Section;
use crate::setup::Setup;
use crate::support::dialect::Answer;
use crate::support::generator::{Generator, Pace, Until};
use crate::support::watcher::Watcher;
use crate::support::{Result, grouped, progress, size};
use crate::systems::{TWISTED_OLD, TWISTED_PYPY, WITH_KEYS};

const CONNECTIONS: u32 = 50;
/// Each connection has 200, and never more updates than that under way: herd sends only the latest
/// of a client that has moved on.
const CLIENTS: u32 = 10_000;
const PIPELINES: [usize; 2] = [16, 1];
const OPEN_PIPELINE: usize = 128;
/// To come from one pace to another.
const SHORT: Duration = Duration::from_millis(200);

const SYSTEMS: [&str; 8] = [
    "herd",
    WITH_KEYS,
    "NATS",
    "Java",
    "Node",
    "Twisted",
    TWISTED_OLD,
    TWISTED_PYPY,
];

pub const CPU: Quantity = Quantity::new("CPU per million, all three", "s", 3);
const RATE: Quantity = Quantity::new("updates", "1/s", 0);
const P50_AT_HALF: Quantity = Quantity::new("p50 at half the rate", "µs", 0);
const P99_AT_HALF: Quantity = Quantity::new("p99 at half the rate", "µs", 0);
pub const IDLE: Quantity = Quantity::new("idle median", "µs", 0);
const IDLE_P99: Quantity = Quantity::new("idle p99", "µs", 0);
/// The settings of the idle ones.
pub const HOPS: [&str; 3] = ["0, at A", "1, behind B", "2, behind C"];

pub const SECTION: Section = Section {
    word: "flood",
    question: "What does it cost that servers tell each other?",
    method: "Three servers in a line, A - B - C, all on the one core. 50 clients of A's, with 16 updates \
        or 1 under way each until they are seen behind C; then at half the rate that this gave, timed \
        from when each update was due. herd and the reference implementations answer each update, log it at \
        every server and keep it, herd in a journal too; with keys, the links between the three are encrypted; who watches is one more neighbour. The three NATS servers (leaf nodes of the one in \
        the middle) answer, log and keep nothing; who watches is a subscriber, and the messages carry \
        the same client, place and time.",
    run,
    table,
    charts,
};

fn run(setup: &Setup, figures: &mut Figures) -> Result<()> {
    for round in 1..=setup.rounds {
        for system in setup.systems.named(&SYSTEMS) {
            let name = system.name;
            let say =
                |text: String| progress(format!("round {round} of {}, {name}{text}", setup.rounds));
            let line = Line::start(system, setup.core())?;
            let mut watcher = line.watcher()?;
            for (pipeline, warm_up) in PIPELINES.into_iter().zip([3 * system.warm_up(), SHORT]) {
                let setting = setting(pipeline);
                let mut load = Load {
                    line: &line,
                    setting: &setting,
                    name,
                    figures,
                };
                watcher = load.run(watcher, pipeline, warm_up)?;
                let last = |quantity| figures.last(name, &setting, quantity).unwrap_or(0.0);
                say(format!(
                    ", {setting}: {:.3} CPU s per million, {} updates/s; at half of it p99 {:.0} µs",
                    last(CPU),
                    grouped(last(RATE)),
                    last(P99_AT_HALF),
                ));
            }
            drop(watcher);
            idle(name, line, figures)?;
            let medians = HOPS.map(|hops| figures.last(name, hops, IDLE).unwrap_or(0.0));
            say(format!(", idle: {medians:.0?} µs by hops"));
        }
    }
    Ok(())
}

fn setting(pipeline: usize) -> String {
    format!("{CONNECTIONS} x {pipeline}")
}

/// One system under load in one setting.
struct Load<'a> {
    line: &'a Line,
    setting: &'a str,
    name: &'a str,
    figures: &'a mut Figures,
}

impl Load<'_> {
    /// In a closed loop, and at half the rate of it.
    fn run(&mut self, watcher: Watcher, pipeline: usize, warm_up: Duration) -> Result<Watcher> {
        let mut load = self.connect(watcher, pipeline)?;
        load.run(Pace::Closed, Until::Elapsed(warm_up))?;
        let time = Duration::from_millis(size(1_200, 50));
        let closed = Cost::of(&mut load, time, || self.line.cpu())?;

        let mut load = self.connect(load.into_watcher()?, OPEN_PIPELINE)?;
        let open = load.run(Pace::Open(closed.rate() / 2.0), Until::Elapsed(time))?;
        for (quantity, value) in [
            (CPU, closed.cpu()),
            (RATE, closed.rate()),
            (GENERATOR_BUSY, closed.generator_busy()),
            (P50_AT_HALF, open.micros(0.5)),
            (P99_AT_HALF, open.micros(0.99)),
        ] {
            self.figures.add(self.name, self.setting, quantity, value);
        }
        load.into_watcher()
    }

    fn connect(&self, watcher: Watcher, pipeline: usize) -> Result<Generator> {
        let (address, clients) = (self.line.address(), 0..CLIENTS);
        let dialect = &self.line.dialect;
        let mut load = Generator::connect(address, dialect, CONNECTIONS, pipeline, clients)?;
        load.watch(watcher)?;
        Ok(load)
    }
}

/// One update after the other, with a watcher behind the last server: C, and when C has gone, B, and
/// when that has gone, A. A server that is behind the watched one would run before the watcher does.
/// Of those that answer, nobody watches A.
fn idle(name: &str, mut line: Line, figures: &mut Figures) -> Result<()> {
    for (hops, setting) in HOPS.into_iter().enumerate().rev() {
        let client = CLIENTS + hops as u32; // of whom no watcher has heard
        let clients = client..client + 1;
        let mut load = Generator::connect(line.address(), &line.dialect, 1, 1, clients)?;
        if hops > 0 || line.dialect.answer == Answer::None {
            load.watch(line.watcher()?)?;
        }
        load.run(Pace::Closed, Until::Messages(size(100, 10)))?;
        let outcome = load.run(Pace::Closed, Until::Messages(size(1_000, 50)))?;
        figures.add(name, setting, IDLE, outcome.micros(0.5));
        figures.add(name, setting, IDLE_P99, outcome.micros(0.99));
        line.shorten();
    }
    Ok(())
}

fn table(figures: &Figures) -> String {
    let loaded = [
        Column::Spread(CPU),
        Column::Ratio(CPU, "NATS"),
        Column::Ratio(CPU, "herd"),
        Column::Spread(RATE),
        Column::Spread(P50_AT_HALF),
        Column::Spread(P99_AT_HALF),
        Column::Spread(GENERATOR_BUSY),
    ];
    let idle = [
        Column::Spread(IDLE),
        Column::Ratio(IDLE, "NATS"),
        Column::Spread(IDLE_P99),
    ];
    figures.table("under way", &loaded)
        + "\nOne update at a time on idle servers, until it is seen behind the last of three, two or one; \
           at A until it is answered, of NATS until a subscriber at A has it.\n\n"
        + &figures.table("hops", &idle)
}

fn charts(figures: &Figures) -> Vec<Chart> {
    let busiest = setting(PIPELINES[0]);
    let latency = Marks::lines(figures, IDLE, &HOPS, "links that it has crossed");
    let cpu = Marks::bars(figures, CPU, &busiest);
    vec![Chart {
        name: "flood",
        panels: vec![
            Panel::new("Time until an update is seen, idle, median", "µs", latency),
            Panel::new(
                "CPU time for an update, of three servers in a line together",
                "µs of one core; less is better",
                cpu,
            ),
        ],
    }]
}
