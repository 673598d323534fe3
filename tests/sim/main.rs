//! A herd of pure nodes on virtual wires, turned by one seed: first faults, then healing, then one
//! table everywhere. The main proof that herd does what it promises.
//!
//! `HERD_SEED=0x2a cargo test --test sim` replays one seed, `HERD_SEEDS=100000` runs so many, and
//! `HERD_SEEDS=100000..200000` goes on from there. Each failure prints its seed, and at the end all
//! that failed are named. docs/MUTATIONS.md lists bugs that were planted to see them found.
//!
//! | File | What |
//! |---|---|
//! | `herd`, `dials` | the whole: starts and ends of servers, clocks, connections, what happens next |
//! | `turn` | a turn of one server: what `Server` does for a node |
//! | `host`, `clients`, `script` | one server, its clients, and what they say |
//! | `disk`, `folder` | its journal: the real one, over a simulated folder |
//! | `snapshots` | one journal, and a crash at every point of a snapshot |
//! | `network`, `agenda`, `topology` | wires, time, shapes |
//! | `hash` | a quick hash for what the checks remember |
//! | `faults` | what befalls a herd, and healing |
//! | `records`, `oracle`, `states` | what is the later report, what a server must hold, and what a start may find |
//! | `costs`, `checks`, `settled` | what may be said, what must hold at each step, and once all is healed |

mod agenda;
mod checks;
mod clients;
mod costs;
mod dials;
mod disk;
#[path = "../support/effects.rs"]
mod effects;
mod faults;
mod folder;
mod hash;
mod herd;
mod host;
mod network;
mod oracle;
mod records;
mod script;
#[path = "../support/seeds.rs"]
mod seeds;
mod settled;
mod snapshots;
mod states;
mod topology;
mod turn;

use std::panic;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::herd::Herd;

/// Runs in every `cargo test`.
const SEEDS: u64 = 240;

/// Things that happen to a small herd before it is healed; a large one has fewer.
const STEPS: usize = 300;

/// One herd, from its beginning to its end. Gives a digest of all that happened.
fn run(seed: u64) -> u64 {
    let _seed = PrintOnPanic(seed);
    let mut herd = Herd::random(seed);
    let steps = match herd.hosts.len() {
        ..8 => STEPS,
        8..15 => STEPS / 2,
        _ => STEPS / 4,
    };
    for _ in 0..steps {
        herd.step();
    }
    herd.heal();
    herd.settle();
    herd.check_cost_of_updates();
    herd.check_cost_of_a_restart();
    herd.check_settled();
    if herd.weather.clock_skew.is_some() && !herd.weather.tables_are_small {
        herd.check_next_reports();
    }
    if herd.weather.tables_are_small {
        herd.check_tables();
    }
    herd.digest()
}

/// Names the seed when a run fails, wherever it does.
struct PrintOnPanic(u64);

impl Drop for PrintOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("replay with: HERD_SEED={:#x} cargo test --test sim", self.0);
        }
    }
}

/// A seed that changes with the commit, so that every commit is another herd's test.
fn seed_of_the_commit() -> Option<u64> {
    let git = Command::new("git")
        .args(["rev-parse", "HEAD"])
        .output()
        .ok()?;
    let commit = String::from_utf8(git.stdout).ok()?;
    u64::from_str_radix(commit.get(..16)?, 16).ok()
}

#[test]
fn every_seed_ends_in_one_table_everywhere() {
    if let Some(seed) = seeds::one() {
        run(seed);
        return;
    }
    let seeds = seeds::many(SEEDS);
    let failed = Mutex::new(Vec::new());
    let try_seed = |seed| {
        if panic::catch_unwind(|| run(seed)).is_err() {
            failed.lock().expect("it is only pushed to").push(seed);
        }
    };
    seed_of_the_commit().into_iter().for_each(try_seed);
    let next = AtomicU64::new(seeds.start);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            try_seed(seed);
            if (seed + 1).is_multiple_of(1_000) {
                println!("{} of {seeds:?}", seed + 1);
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut failed = failed.into_inner().expect("it is only pushed to");
    failed.sort_unstable();
    assert!(failed.is_empty(), "seeds that failed: {failed:#x?}");
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [1, 2, 0xdead_beef] {
        assert_eq!(run(seed), run(seed), "seed {seed:#x}");
    }
}

#[test]
fn an_update_of_the_assignments_herd_costs_six_messages() {
    let mut herd = Herd::new(7, topology::assignment());
    herd.settle();
    for update in 1..=50 {
        herd.report_fresh(update % 5);
        herd.elapse(Duration::from_secs(1));
        assert_eq!(
            herd.locations_said(),
            6 * update as u64,
            "after {update} updates"
        );
    }
    herd.check_settled();
}

#[test]
fn what_is_sent_again_after_a_cut_is_what_changed_meanwhile() {
    let mut herd = Herd::new(8, topology::assignment());
    for update in 0..500 {
        herd.report_fresh(update % 5);
        herd.elapse(Duration::from_millis(1));
    }
    herd.settle();
    let (bryant, metta) = (1, 4);
    herd.alter((bryant, metta), |way| way.cut = true);
    herd.reset((bryant, metta));
    herd.elapse(Duration::from_secs(1));
    let before = herd.locations_said();
    for _ in 0..10 {
        herd.report_fresh(metta);
        herd.report_fresh(bryant);
    }
    herd.heal();
    herd.settle();
    // Ten of Metta's and ten of Bryant's cross the link once, and flood the rest of the herd.
    assert_eq!(herd.locations_said() - before, 20 * 6);
}
