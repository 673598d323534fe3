//! What an operator may do to a server's log while it is down: cut it, restore an older copy, put two
//! together, delete it, or let the power take blocks of it. Whatever it was, once the server is linked
//! again both ends hold the same.
//!
//! Blake has a log and many lives, and Bryant, who never forgets, one. `HERD_SEED=7 cargo test --test
//! restored` replays one seed, `HERD_SEEDS=30000` runs so many; each failure prints its seed and all
//! that happened. `life` has a life of Blake, beside Bryant.

#[path = "../support/effects.rs"]
mod effects;
mod life;
#[path = "../fuzz/checks/memory.rs"]
mod memory;
#[path = "../support/seeds.rs"]
mod seeds;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Instant;

use herd::node::Node;
use herd::node::protocol::parse_at;
use herd::random::SplitMix64;
use herd::time::{Now, Timestamp};
use memchr::{memchr_iter, memmem};

use life::{KEPT, LOG, Life, node};
use memory::Memory;

/// Run in every `cargo test`.
const SEEDS: u64 = 4_000;

/// What is done to a log while nobody writes it.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Keep,
    CutEnd,
    CutBeginning,
    Restore,
    Join,
    Delete,
    Zero,
    TakeLines,
}

/// Each as often as it is to be done: what puts the logs of two lives together asks most of a restart.
const DEEDS: [Deed; 14] = [
    Deed::Keep,
    Deed::Keep,
    Deed::CutEnd,
    Deed::CutBeginning,
    Deed::Restore,
    Deed::Join,
    Deed::Join,
    Deed::Join,
    Deed::Join,
    Deed::Delete,
    Deed::Delete,
    Deed::Zero,
    Deed::Zero,
    Deed::TakeLines,
];

fn pick<T: Copy>(dice: &mut SplitMix64, of: &[T]) -> T {
    of[dice.below(of.len() as u64) as usize]
}

/// A place in `bytes`, or its end.
fn place(dice: &mut SplitMix64, bytes: &[u8]) -> usize {
    dice.below(bytes.len() as u64 + 1) as usize
}

/// What outlives a life of Blake.
struct World {
    seed: u64,
    dice: SplitMix64,
    bryant: Node,
    /// The time by a clock that is right, which is Bryant's.
    now: Now,
    /// Counts connections.
    serial: u64,
    /// Blake is started with `--forget-after` now and then.
    may_forget: bool,
    /// How many clients there are. Where they are few most reports are late, and may take the numbers of
    /// records that are missing; where they are many what is lost is not soon made up for.
    clients: u64,
    /// How late a report may be, in seconds.
    late_s: u64,
    /// What the operator does. With few kinds of deeds each meets its like more often.
    deeds: [Deed; 3],
    /// The log grows too long now and then.
    rotates: bool,
    /// What had an effective time before this has expired in some life of Blake.
    expired: Timestamp,
    /// The same of a life of which the log may not tell all: it need not be known again.
    lost: Timestamp,
    /// Blake's logs, when lives ended.
    copies: Vec<Vec<u8>>,
    trace: String,
}

impl Drop for World {
    fn drop(&mut self) {
        if thread::panicking() {
            let World { seed, trace, .. } = self;
            eprintln!("{trace}replay with: HERD_SEED={seed} cargo test --test restored");
        }
    }
}

impl World {
    fn new(seed: u64) -> World {
        let now = Now {
            mono: Instant::now(),
            wall: Timestamp::new(1_353_118_103, 0),
        };
        let mut dice = SplitMix64(seed);
        World {
            seed,
            clients: pick(&mut dice, &[1, 2, 4, 16]),
            late_s: pick(&mut dice, &[10, 60]),
            deeds: [(); 3].map(|()| pick(&mut dice, &DEEDS)),
            rotates: dice.below(2) == 0,
            dice,
            bryant: node("Bryant", 0xb, now),
            now,
            serial: 0,
            may_forget: seed % 2 == 1,
            expired: Timestamp::MIN,
            lost: Timestamp::MIN,
            copies: Vec::new(),
            trace: String::new(),
        }
    }

    fn note(&mut self, what: &str) {
        self.trace.push_str(what);
        self.trace.push('\n');
    }

    /// A report of one of a few clients, from about now.
    fn report(&mut self) -> String {
        let client = self.dice.below(self.clients);
        let time = self.now.wall.seconds() + 5 - self.dice.below(self.late_s) as i64;
        format!("IAMAT k{client} +00+000 {time}")
    }

    /// A log as it was at some time: they only grow.
    fn copy(&mut self) -> Vec<u8> {
        let copy = self.dice.below(self.copies.len() as u64) as usize;
        let copy = &self.copies[copy];
        let ends: Vec<_> = memchr_iter(b'\n', copy).map(|lf| lf + 1).collect();
        let end = match self.dice.below(2) {
            1 if !ends.is_empty() => pick(&mut self.dice, &ends),
            _ => copy.len(),
        };
        copy[..end].to_vec()
    }

    /// Does something to the log that a life has left.
    fn tamper(&mut self, log: Vec<u8>) -> Vec<u8> {
        let deed = pick(&mut self.dice, &self.deeds);
        let at = place(&mut self.dice, &log);
        let log = match deed {
            Deed::Keep => log,
            Deed::CutEnd => log[..at].to_vec(),
            Deed::CutBeginning => log[at..].to_vec(),
            Deed::Restore => self.copy(),
            Deed::Join => [self.copy(), self.copy()].concat(),
            Deed::Delete => Vec::new(),
            Deed::Zero => zero(log, at, pick(&mut self.dice, &[1, 1, 2, 4])),
            Deed::TakeLines => take_lines(&mut self.dice, &log),
        };
        if !matches!(deed, Deed::Keep) {
            self.lost = self.expired;
        }
        self.note(&format!(
            "--- {deed:?}\n{}---",
            String::from_utf8_lossy(&log)
        ));
        log
    }
}

/// The log with some blocks of zeros, where a power failure has left them.
fn zero(mut log: Vec<u8>, at: usize, blocks: usize) -> Vec<u8> {
    let from = at / 64 * 64;
    let to = log.len().min(from + 64 * blocks);
    log[from..to].fill(0);
    log
}

/// The log without some lines of the checkpoint with which it begins. Of others nobody could tell that
/// they are missing: only those of a checkpoint are counted.
fn take_lines(dice: &mut SplitMix64, log: &[u8]) -> Vec<u8> {
    let mut lines: Vec<_> = log.split_inclusive(|&byte| byte == b'\n').collect();
    let has = |line: &&[u8], words: &str| memmem::find(line, words.as_bytes()).is_some();
    let begins = |line| has(line, " * - checkpoint of ");
    let ends = |line: &&[u8]| has(line, " * - checkpoint, ");
    let end = lines.iter().position(ends);
    if let Some(end) = end.filter(|_| lines.first().is_some_and(begins)) {
        let from = dice.below(end as u64 + 1) as usize;
        let to = lines.len().min(from + 1 + dice.below(3) as usize);
        lines.drain(from..to);
    }
    lines.concat()
}

/// What a node holds of each client, but for what has an effective time before `oldest`.
fn known(node: &Node, oldest: Timestamp) -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let changes = node.table().changes_after(0);
    let locations = changes.map(|change| parse_at(change.line).expect("it is one"));
    let alive = locations.filter(|location| location.effective() >= oldest);
    let known = alive.map(|location| (text(location.client), text(location.line)));
    known.collect()
}

/// Checks that the two hold the same once all is said, but for what Blake has forgotten.
fn check(mut life: Life<'_>) {
    life.rest();
    life.node.check_invariants();
    let oldest = life.oldest().max(life.world.lost);
    let [own, others] = [&life.node, &life.world.bryant].map(|node| known(node, oldest));
    assert_eq!(own, others, "Blake's and Bryant's");
}

/// Some lives of Blake, the last of which is left in peace.
fn run(seed: u64) {
    let mut world = World::new(seed);
    let mut log = Vec::new();
    let lives = 2 + world.dice.below(4);
    for number in 1..=lives {
        let (synced, tickets) = channel();
        let mut memory = Memory::new(Path::new(LOG), &log, synced);
        let mut life = Life::begin(number, &mut world, &mut memory, &tickets);
        if number == lives {
            return check(life);
        }
        if life.world.dice.below(2) == 0 {
            life.work(u64::MAX); // else it may be killed before it has replaced its log
        }
        for _ in 0..life.world.dice.below(20) {
            life.step();
        }
        life.cut();
        drop(life);
        let files = [LOG, KEPT[0], KEPT[1]].map(|name| memory.bytes(Path::new(name)));
        let files = files.into_iter().flatten().map(<[u8]>::to_vec);
        world.copies.extend(files);
        let left = memory.bytes(Path::new(LOG)).expect("it is there");
        log = world.tamper(left.to_vec());
    }
}

#[test]
fn whatever_is_done_to_a_log_both_ends_hold_the_same_in_the_end() {
    if let Some(seed) = seeds::one() {
        return run(seed);
    }
    let is_bad = |seed: &u64| catch_unwind(AssertUnwindSafe(|| run(*seed))).is_err();
    let failed: Vec<_> = seeds::many(SEEDS).filter(is_bad).collect();
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
}
