//! What is measured of one herd.

use std::hash::{DefaultHasher, Hash, Hasher};

use herd::random::SplitMix64;
use herd::topology::Topology;

use crate::costs::{Costs, Delay, Nanos};
use crate::herd::Herd;
use crate::support::{Spread, grouped, size};

/// So many updates are sent, one at a time.
const UPDATES: usize = 100;

/// So many clients report on each side of a cut, one each millisecond.
const CUT_UPDATES: u64 = 2_000;

const MILLISECOND: Nanos = 1_000_000;

/// What was measured, in which unit; with the least and the most, if it varies.
pub struct Figure {
    pub quantity: String,
    pub unit: &'static str,
    pub value: f64,
    pub range: Option<(f64, f64)>,
}

impl Figure {
    pub fn title(&self) -> String {
        match self.unit {
            "1" => self.quantity.clone(),
            unit => format!("{}, {unit}", self.quantity),
        }
    }

    /// With as many decimals as say something.
    pub fn shown(&self) -> String {
        match self.value {
            0.0..10.0 => format!("{:.2}", self.value),
            10.0..100.0 => format!("{:.1}", self.value),
            value => grouped(value),
        }
    }

    /// `quantity,unit,value,min,max`
    pub fn csv(&self) -> String {
        let range = self.range.map(|(min, max)| format!("{min},{max}"));
        let range = range.unwrap_or(",".to_owned());
        format!("{},{},{},{range}", self.quantity, self.unit, self.value)
    }
}

fn figure(quantity: &str, unit: &'static str, value: f64) -> Figure {
    Figure {
        quantity: quantity.to_owned(),
        unit,
        value,
        range: None,
    }
}

fn spread(quantity: &str, unit: &'static str, values: Vec<f64>) -> Figure {
    let Spread { median, min, max } = Spread::of(values);
    Figure {
        range: Some((min, max)),
        ..figure(quantity, unit, median)
    }
}

/// Sends updates to an idle herd, one at a time, to all servers in turn.
pub fn updates(topology: &Topology, delay: Delay, costs: Costs) -> Vec<Figure> {
    let mut herd = Herd::linked(topology, delay, costs);
    let (count, links) = (herd.servers.len(), herd.links());
    let mut dice = SplitMix64(2);
    let origins = shuffled(count, &mut dice);
    let updates = size(UPDATES, 10);
    let (mut lines, mut until_known) = (Vec::new(), Vec::new());
    for (number, &origin) in (1..=updates).zip(origins.iter().cycle()) {
        herd.run_for(dice.below(40 * MILLISECOND)); // at any time between heartbeats
        let (sent_before, began) = (herd.sent(), herd.now);
        let client = format!("client-{number}.example.org");
        herd.report(origin, &client);
        herd.run_until_quiet();
        let sent = herd.sent() - sent_before;
        // Each server tells all its neighbours but the one that told it: in a tree each link is crossed once.
        assert_eq!(sent, 2 * links - (count as u64 - 1));
        check_known_once(&herd, number as u64, client.as_bytes());
        lines.push(sent as f64);
        until_known.push(millis(herd.accepted_at() - began));
    }
    let mut figures = Vec::new();
    if delay == Delay::NEAR {
        let each = |sum: u64| sum as f64 / updates as f64;
        let servers = herd.servers.iter();
        let at_one = servers.clone().map(|at| each(at.heard + at.sent));
        // Clients come to all servers alike, not only to those that these updates came to.
        let client = costs.client as f64 / count as f64;
        let cpu = servers.map(|at| client + each(at.heard * costs.hear + at.sent * costs.send));
        let (at_one, cpu) = (at_one.fold(0.0, f64::max), cpu.fold(0.0, f64::max));
        figures.extend([
            figure("links", "1", links as f64),
            figure("neighbours at most", "1", herd.neighbours_max() as f64),
            spread("AT lines an update", "1", lines),
            figure("AT lines an update at the busiest server", "1", at_one),
            figure("CPU an update at the busiest server", "ns", cpu),
            figure("updates until its core is full", "1/s", 1e9 / cpu),
        ]);
    }
    let quantity = format!("until the last server knows ({})", delay.text());
    figures.push(spread(&quantity, "ms", until_known));
    figures
}

/// Cuts a herd in halves, lets clients report on both sides, and undoes the cut.
pub fn catch_up(topology: &Topology, sides: &[bool], delay: Delay, costs: Costs) -> Vec<Figure> {
    let mut herd = Herd::linked(topology, delay, costs);
    let mut dice = SplitMix64(3);
    herd.run_for(1_000 * MILLISECOND); // who loses a shorter session waits longer before each dial
    herd.cut(sides.to_vec());
    let on = |side| (0..sides.len()).filter(move |&at| sides[at] == side);
    let halves = [true, false].map(|side| on(side).collect::<Vec<_>>());
    let updates = size(CUT_UPDATES, 20);
    for number in 0..updates {
        for (side, half) in halves.iter().enumerate() {
            let at = half[dice.below(half.len() as u64) as usize];
            herd.report(at, &format!("client-{side}-{number}.example.org"));
        }
        herd.run_for(MILLISECOND);
    }
    herd.run_until_quiet();
    let held = herd.servers.iter().map(|server| server.accepted);
    let lacked = 2 * updates * sides.len() as u64 - held.sum::<u64>();
    let (sent_before, began) = (herd.sent(), herd.now);
    herd.restore();
    herd.run_until_linked();
    let lines = (herd.sent() - sent_before) as f64;
    check_one_table(&herd, 2 * updates);
    let (first, last) = herd.linked.expect("it was cut somewhere");
    let since = |at: Nanos| millis(at - began);
    let figures = [
        figure("AT lines", "1", lines),
        figure(
            "AT lines for one that was lacking",
            "1",
            lines / lacked as f64,
        ),
        figure("until the first link is up", "ms", since(first)),
        figure("until all links are up", "ms", since(last)),
        figure(
            "until all servers know all",
            "ms",
            since(herd.accepted_at()),
        ),
    ];
    let after_cut = |figure: Figure| Figure {
        quantity: format!("after a cut: {} ({})", figure.quantity, delay.text()),
        ..figure
    };
    figures.map(after_cut).into()
}

fn millis(span: Nanos) -> f64 {
    span as f64 / MILLISECOND as f64
}

/// The numbers below `count`, in any order (Fisher and Yates).
fn shuffled(count: usize, dice: &mut SplitMix64) -> Vec<usize> {
    let mut all: Vec<usize> = (0..count).collect();
    for at in (1..count).rev() {
        all.swap(at, dice.below(at as u64 + 1) as usize);
    }
    all
}

/// Each server has taken in so many updates, each once, and all hold the same of the last client.
fn check_known_once(herd: &Herd, updates: u64, client: &[u8]) {
    let line = |at: usize| {
        let location = herd.servers[at].node.table().location(client);
        location.map(|location| location.line)
    };
    for (at, server) in herd.servers.iter().enumerate() {
        assert_eq!(server.accepted, updates, "server {at}");
        assert!(line(at).is_some() && line(at) == line(0), "server {at}");
    }
}

/// Each server has taken in so many updates, each once, and all tables are the same.
fn check_one_table(herd: &Herd, updates: u64) {
    let digest = |at: usize| {
        let changes = herd.servers[at].node.table().changes_after(0);
        let lines = changes.map(|change| {
            let mut hasher = DefaultHasher::new();
            change.line.hash(&mut hasher);
            hasher.finish()
        });
        lines.fold(0, |all, line| all ^ line) // in whatever order they came
    };
    let first = digest(0);
    for (at, server) in herd.servers.iter().enumerate() {
        assert_eq!(server.accepted, updates, "server {at}");
        assert_eq!(digest(at), first, "server {at}");
    }
}
