//! How does a herd of up to 1,000 servers behave?
//!
//! The nodes are the real ones. Wires, time and the cost of a line are not ([`herd`](crate::herd), [`costs`]), and
//! there is no journal, no disk and no fault. For each shape and size:
//!
//! - `AT` lines that an update takes, in the whole herd and at the server with the most. These are exact.
//! - The time until the last server knows it, on an idle herd: each line pays for system calls of its own.
//! - The updates a second until the busiest server's core is full. Lines share system calls then, and reports come
//!   to all servers alike.
//! - Catching up, of herds of up to 200 servers and 1,225 links. All links between two halves are taken away while
//!   clients report on each side, and come back. A dial is refused meanwhile, so up to 0.4 s of the time until all
//!   servers know all is the wait for the next dial, which is left to chance: this is done once.
//!
//! `target/scaling/scaling.csv` has all figures, and two charts lie beside it. `HERD_COST_NS` sets other costs.

mod cases;
mod chart;
mod costs;
mod herd;
mod shapes;
mod sink;
#[path = "../support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use cases::{Figure, catch_up, updates};
use chart::CHARTS;
use costs::{Costs, Delay};
use shapes::{Links, SHAPES, Shape, topology};
use support::{Result, heading, is_quick, progress, table};

const SIZES: [usize; 9] = [2, 5, 10, 20, 50, 100, 200, 500, 1_000];

/// No herd has more links: a mesh of 100 has so many.
const LINKS_MAX: usize = 4_950;

/// Catching up is measured of no larger herds, since that would take minutes. A mesh of 50 has so many links.
const CATCH_UP_SERVERS_MAX: usize = 200;
const CATCH_UP_LINKS_MAX: usize = 1_225;

fn main() -> Result<()> {
    heading("How does a herd of up to 1,000 servers behave?");
    let costs = Costs::read()?;
    progress(format!("in ns of CPU: {costs:?}"));
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("scaling");
    fs::create_dir_all(&directory)?;
    let path = directory.join("scaling.csv");
    let mut csv = File::create(&path)?;
    writeln!(csv, "shape,servers,quantity,unit,value,min,max")?;
    let (mut header, mut rows, mut found) = (None, Vec::new(), Vec::new());
    for (place, shape) in SHAPES.iter().enumerate() {
        for &servers in if is_quick() { &SIZES[..3] } else { &SIZES } {
            let links = (shape.links)(servers);
            if links.len() > LINKS_MAX {
                continue;
            }
            let figures = measure(shape, servers, &links, costs);
            let titles = figures.iter().map(Figure::title);
            header.get_or_insert(titles.collect::<Vec<_>>().join(" | "));
            let mut row = vec![shape.name.to_owned(), servers.to_string()];
            for figure in &figures {
                writeln!(csv, "{},{servers},{}", shape.name, figure.csv())?;
                row.push(figure.shown());
            }
            progress(row.join(" | "));
            rows.push(row);
            found.push((place, servers, figures));
        }
    }
    let header = header.unwrap_or_default(); // that of the first, which has all
    table(&format!("shape | servers | {header}"), &rows);
    for chart in &CHARTS {
        chart.draw(&directory, &found)?;
    }
    progress(format!("written to {}", directory.display()));
    Ok(())
}

fn measure(shape: &Shape, servers: usize, links: &Links, costs: Costs) -> Vec<Figure> {
    let topology = topology(servers, links);
    let delays = [Delay::NEAR, Delay::FAR];
    let figures = delays.map(|delay| updates(&topology, delay, costs));
    let mut figures: Vec<Figure> = figures.into_iter().flatten().collect();
    if servers <= CATCH_UP_SERVERS_MAX && links.len() <= CATCH_UP_LINKS_MAX {
        let sides: Vec<bool> = (0..servers).map(|at| (shape.side)(at, servers)).collect();
        let caught_up = delays.map(|delay| catch_up(&topology, &sides, delay, costs));
        figures.extend(caught_up.into_iter().flatten());
    }
    figures
}
