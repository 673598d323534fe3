//! A herd of pure nodes on virtual wires, turned by one seed: first faults, then healing, then one
//! table everywhere.
//!
//! `HERD_SEED=0x2a cargo test --test sim` replays one seed, `HERD_SEEDS=100000` runs so many. A
//! failure prints its seed and the step.

mod herd;
mod wire;

use herd::Herd;

/// Runs in every `cargo test`.
const SEEDS: u64 = 300;

/// Things that happen to a herd before it is healed.
const STEPS: usize = 400;

fn number(text: &str) -> u64 {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("'{text}' is no number"))
}

/// One herd's life. Gives a digest of all that happened.
fn run(seed: u64) -> u64 {
    let _seed = PrintOnPanic(seed);
    let mut herd = Herd::random(seed);
    for step in 0..STEPS {
        herd.step(step);
    }
    herd.heal();
    herd.settle();
    herd.assert_one_table_everywhere();
    herd.assert_nothing_acknowledged_is_lost();
    herd.assert_replies_complete();
    herd.digest()
}

/// Names the seed when a run fails, wherever it does.
struct PrintOnPanic(u64);

impl Drop for PrintOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with: HERD_SEED={:#x} cargo test --test sim", self.0);
        }
    }
}

#[test]
fn every_seed_ends_in_one_table_everywhere() {
    if let Ok(seed) = std::env::var("HERD_SEED") {
        run(number(&seed));
        return;
    }
    let seeds = std::env::var("HERD_SEEDS").map_or(SEEDS, |seeds| number(&seeds));
    for seed in 0..seeds {
        run(seed);
        if seeds > SEEDS && (seed + 1) % 1000 == 0 {
            println!("{} of {seeds} seeds", seed + 1);
        }
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [1, 2, 0xdead_beef] {
        assert_eq!(run(seed), run(seed), "seed {seed:#x}");
    }
}

#[test]
fn an_update_of_the_assignments_herd_costs_six_messages() {
    let mut herd = Herd::assignment(7);
    herd.settle();
    for update in 1..=50 {
        herd.report_somewhere();
        herd.settle();
        assert_eq!(herd.locations_sent(), 6 * update, "after {update} updates");
    }
    herd.assert_one_table_everywhere();
}

#[test]
fn what_is_sent_again_after_a_cut_is_what_changed_meanwhile() {
    let mut herd = Herd::assignment(8);
    for _ in 0..500 {
        herd.report_somewhere();
    }
    herd.settle();
    herd.elapse_seconds(3); // so that everything is marked
    let (metta, bryant) = (4, 1);
    herd.cut_until_healed(metta, bryant);
    let before = herd.locations_sent();
    for _ in 0..10 {
        herd.report_at(metta);
        herd.report_at(bryant);
    }
    herd.heal();
    herd.settle();
    herd.assert_one_table_everywhere();
    // Ten of Metta's and ten of Bryant's cross the link once, and flood the rest of the herd.
    assert_eq!(herd.locations_sent() - before, 20 * 6);
}
