//! The journal over a simulated folder.

mod calls;
mod clocks;
mod damage;
mod disk;
#[path = "../support/effects.rs"]
mod effects;
mod erasures;
mod files;
mod life;
mod remedies;
#[path = "../support/seeds.rs"]
mod seeds;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use herd::node::protocol::Incarnation;

use disk::Folder;
use life::{Known, Life, at};

/// A start must know exactly this, and claim it: the state after some turn.
#[track_caller]
fn assert_sure(life: &Life, want: &Known, incarnation: u64) {
    assert!(life.recovered.is_sure, "{:?}", life.notices);
    let mut found = life.known();
    let own = found.incarnations.pop().expect("the present one");
    assert_eq!(own, (Incarnation(incarnation), want.end));
    assert_eq!(found, *want);
}

#[test]
fn what_was_committed_is_known_after_a_restart() {
    let folder = Folder::default();
    let mut life = Life::begin(&folder, 1, at(0));
    for incarnation in 2..12 {
        life.hear_client("kiwi", 3);
        life.hear_client("emu", 2);
        life.commit();
        life.link(incarnation, 0xb0);
        life.hear_line(
            incarnation,
            &format!("AT Bryant +0.000000000 moa{incarnation} +00+000 5"),
        );
        life.hear_line(incarnation, &format!("MARK {incarnation}"));
        life.mark(incarnation);
        life.commit();
        if incarnation % 3 == 0 {
            life.snapshot();
            life.pass(1);
            life.hear_client("kiwi", 0);
            life.commit();
        }
        let want = life.acknowledged.last().expect("there are turns").clone();
        folder.kill();
        life = Life::begin(&folder, incarnation, at(incarnation as i64));
        assert_sure(&life, &want, incarnation);
        life.node.check_invariants();
    }
    let names: Vec<_> = folder.contents().into_keys().collect();
    let want = ["journal-0000000000000004"];
    assert_eq!(names, want, "what the last snapshot replaced is gone");
}

/// What a start found in doubt: true locations, and no claim.
#[track_caller]
fn assert_doubt(life: &Life, true_lines: &BTreeSet<String>, incarnation: u64) {
    assert!(!life.recovered.is_sure, "it cannot be sure");
    let found = life.known();
    let lines: BTreeSet<_> = found.lines.into_values().collect();
    assert!(lines.is_subset(true_lines), "{lines:?}");
    let own = (Incarnation(incarnation), found.end);
    assert_eq!(found.incarnations, [own], "it has been there before");
    assert_eq!(found.known, None);
    assert_eq!(found.marked, 0);
}

/// What a folder holds.
type Contents = BTreeMap<String, Vec<u8>>;

/// Begins an incarnation on a folder that somebody has changed, and checks what it claims. Says whether
/// it was sure.
#[track_caller]
fn check(contents: &Contents, acknowledged: &[Known], what: &str) -> bool {
    let folder = Folder::with(contents);
    let mut life = Life::begin(&folder, 99, at(99));
    life.node.check_invariants();
    let true_lines = acknowledged.iter().flat_map(|known| known.lines.values());
    let true_lines: BTreeSet<_> = true_lines.cloned().collect();
    let is_sure = life.recovered.is_sure;
    if is_sure {
        let mut found = life.known();
        found.incarnations.pop();
        let birth = Known::default();
        let is_one = acknowledged
            .iter()
            .chain([&birth])
            .any(|known| *known == found);
        assert!(is_one, "{what}: never was what was found: {found:#?}");
    } else {
        assert_doubt(&life, &true_lines, 99);
    }
    // Whatever it was, the journal is in order again once all is at rest.
    life.hear_client("penguin", 0);
    life.rest();
    let want = life.known();
    folder.kill();
    let life = Life::begin(&folder, 100, at(100));
    assert_sure(&life, &want, 100);
    is_sure
}

/// A file of these batches, with its checksums made right.
fn sealed(preamble: &[u8], batches: &[Vec<u8>]) -> Vec<u8> {
    let (mut file, mut chain) = (preamble.to_vec(), [0; 4]);
    for batch in batches {
        let mut batch = batch.clone();
        batch[12..16].copy_from_slice(&chain);
        chain = crc32c::crc32c(&batch[4..36]).to_le_bytes();
        batch[..4].copy_from_slice(&chain);
        file.extend(batch);
    }
    file
}

/// The batches of a file.
fn batches(file: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, mut batches) = (&file[16..], Vec::new());
    while let Some(length) = rest.get(4..8) {
        let length = u32::from_le_bytes(length.try_into().expect("four bytes"));
        let (batch, behind) = rest.split_at(36 + length as usize);
        batches.push(batch.to_vec());
        rest = behind;
    }
    batches
}

#[test]
fn an_update_takes_at_most_130_bytes_of_the_disk() {
    let folder = Folder::default();
    let mut life = Life::begin(&folder, 1, at(0));
    for (updates, want) in [(1, 118.0), (128, 82.5)] {
        let before = life.journal.counters().bytes;
        let files_before: usize = folder.contents().values().map(Vec::len).sum();
        for client in 100..100 + updates {
            let time = life.now.wall.seconds();
            let client = format!("client-{client}.cs.ucla.edu");
            life.hear_client_line(&format!("IAMAT {client} +27.5916+086.5640 {time}.000000"));
        }
        life.commit();
        let known = life.known();
        let lines = known.lines.values();
        assert!(lines.map(String::len).all(|bytes| bytes == 80), "{known:?}");
        let bytes = life.journal.counters().bytes - before;
        let files: usize = folder.contents().values().map(Vec::len).sum();
        assert_eq!(bytes as usize, files - files_before, "it counts right");
        assert!(
            bytes as f64 / f64::from(updates) <= want,
            "{updates}: {bytes}"
        );
        life.pass(1); // the same clients move on
    }
}
