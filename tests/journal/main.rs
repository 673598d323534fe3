//! The journal over a simulated folder.

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
use std::time::Duration;

use disk::{Fault, Folder, Part};
use herd::journal::{Fsync, State};
use herd::node::location::Update;
use herd::node::protocol::{Incarnation, parse_update};
use herd::random::SplitMix64;
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

/// A journal with all that a journal can have. Gives the states that were acknowledged.
fn small_journal(folder: &Folder) -> Vec<Known> {
    let mut acknowledged = Vec::new();
    for incarnation in 1..=3_u64 {
        let mut life = Life::begin(folder, incarnation, at(incarnation as i64));
        life.hear_client("kiwi", 3);
        life.commit();
        life.link(incarnation, 0xb0);
        life.hear_line(
            incarnation,
            &format!("AT Bryant +0.000000000 moa +00+000 {incarnation}"),
        );
        life.hear_line(incarnation, &format!("MARK {incarnation}"));
        life.commit();
        life.mark(incarnation);
        if incarnation == 2 {
            life.hear_client("emu", 2);
            life.snapshot();
        }
        life.hear_client(&format!("rhea{incarnation}"), 1);
        if incarnation > 1 {
            life.erase("emu"); // the second time it is erased already
        }
        life.commit();
        acknowledged.append(&mut life.acknowledged);
        folder.kill();
    }
    acknowledged
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

#[test]
fn whatever_is_cut_off_a_start_is_right_or_in_doubt() {
    let folder = Folder::default();
    let acknowledged = small_journal(&folder);
    let contents = folder.contents();
    assert_eq!(contents.len(), 1, "one file");
    for (name, bytes) in &contents {
        let (mut sure, mut doubt) = (0, 0);
        for len in 0..bytes.len() {
            let mut contents = contents.clone();
            contents.insert(name.clone(), bytes[..len].to_vec());
            match check(&contents, &acknowledged, &format!("{name} cut to {len}")) {
                true => sure += 1,
                false => doubt += 1,
            }
        }
        assert!(sure > 200 && doubt > 200, "{sure}, {doubt}"); // behind its snapshot, and in it
    }
}

#[test]
fn whatever_bit_is_flipped_a_start_is_in_doubt() {
    let folder = Folder::default();
    let acknowledged = small_journal(&folder);
    let contents = folder.contents();
    for (name, bytes) in &contents {
        for at in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            let mut contents = contents.clone();
            contents.insert(name.clone(), flipped);
            let what = format!("{name}, bit {at}");
            assert!(!check(&contents, &acknowledged, &what), "{what}");
        }
    }
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
fn a_batch_that_is_not_the_next_is_doubt() {
    let folder = Folder::default();
    let acknowledged = small_journal(&folder);
    let (name, bytes) = folder.contents().pop_first().expect("one file");
    let (preamble, batches) = (&bytes[..16], batches(&bytes));
    assert_eq!(sealed(preamble, &batches), bytes);
    assert!(batches.len() > 4, "{}", batches.len());
    for at in 0..batches.len() {
        let is_sure = |file: Vec<u8>, what: &str| {
            let contents = Contents::from([(name.clone(), file)]);
            check(&contents, &acknowledged, &format!("batch {at} {what}"))
        };
        // The numbers fit where it has no change; and without the last it is an older state.
        let missing = [&batches[..at], &batches[at + 1..]].concat().concat();
        let missing = [preamble, &missing].concat();
        assert_eq!(is_sure(missing, "is missing"), at + 1 == batches.len());
        let mut numbered = batches.clone();
        numbered[at][16] += 1;
        assert!(!is_sure(sealed(preamble, &numbered), "has another number"));
    }
}

/// A journal that is replaced by another file: what the folder holds at each step of the disk's, and the
/// states that were acknowledged.
fn replaced_journal(name: &str, client: &str, incarnation: u64) -> (Vec<Contents>, Vec<Known>) {
    let folder = Folder::default();
    let life = Life::of(name, &folder, incarnation, at(0), Fsync::Never, None);
    let mut life = life.expect("the folder can be used");
    let mut moments = vec![folder.contents()];
    life.hear_client(client, 2);
    life.commit();
    life.journal.begin_anew();
    while life.work() {
        moments.push(folder.contents());
        life.hear_client(client, 1 - moments.len() as i64); // both files get it, while there are two
        life.commit();
        moments.push(folder.contents());
    }
    moments.push(folder.contents());
    (moments, life.acknowledged)
}

#[test]
fn whatever_file_is_missing_swapped_older_or_foreign_a_start_is_right_or_in_doubt() {
    let (moments, mut acknowledged) = replaced_journal("Blake", "kiwi", 1);
    let (others, states) = replaced_journal("Blake", "emu", 2); // another journal of Blake's
    let (strangers, _) = replaced_journal("Bryant", "moa", 3);
    acknowledged.extend(states);
    // Of each file that was ever in use: as it was at first, in the middle, and in the end.
    let versions = |moments: &[Contents], name: &str| {
        let versions: Vec<_> = moments.iter().filter_map(|files| files.get(name)).collect();
        let middle = versions[versions.len() / 2];
        [versions[0], middle, versions[versions.len() - 1]].map(Clone::clone)
    };
    let names = [1, 2, 3].map(|number| format!("journal-{number:016}"));
    let mut pool: BTreeSet<Option<Vec<u8>>> = [None].into();
    for name in &names[..2] {
        pool.extend(versions(&moments, name).map(Some));
    }
    pool.extend(versions(&others, &names[1]).map(Some));
    let strange = &versions(&strangers, &names[0])[2];
    pool.insert(Some(strange.clone()));
    let pool: Vec<_> = pool.into_iter().collect();
    assert!(pool.len() > 8, "{}", pool.len());
    let (mut sure, mut doubt, mut refused) = (0, 0, 0);
    for choice in 0..pool.len().pow(names.len() as u32) {
        let mut rest = choice;
        let mut contents = Contents::new();
        for name in &names {
            contents.extend(
                pool[rest % pool.len()]
                    .clone()
                    .map(|file| (name.clone(), file)),
            );
            rest /= pool.len();
        }
        let mut owners = contents.values().map(|file| file == strange);
        if owners.clone().next().is_some() && owners.all(|is_strange| is_strange) {
            let now = at(99);
            let opened = Life::of(
                "Blake",
                &Folder::with(&contents),
                99,
                now,
                Fsync::Never,
                None,
            );
            let error = opened.err().expect("it is another server's").to_string();
            assert_eq!(error, "it is the journal of Bryant");
            refused += 1;
            continue;
        }
        match check(&contents, &acknowledged, &format!("choice {choice}")) {
            true => sure += 1,
            false => doubt += 1,
        }
    }
    assert!(
        sure > 50 && doubt > 50 && refused > 0,
        "{sure}, {doubt}, {refused}"
    );
}

#[test]
fn a_start_refuses_a_later_version_and_leaves_everything_as_it_is() {
    let folder = Folder::default();
    Life::begin(&folder, 1, at(0));
    folder.kill();
    let mut contents = folder.contents();
    let newer = contents.first_entry().expect("there is one").into_mut();
    newer[8] = 3; // its version, 1 and 2 are read; then the checksum of that
    let crc = crc32c::crc32c(&newer[..12]);
    newer[12..16].copy_from_slice(&crc.to_le_bytes());
    contents.insert("journal-0000000000000000".to_owned(), b"damaged".to_vec());
    let folder = Folder::with(&contents);
    let opened = Life::of("Blake", &folder, 2, at(1), Fsync::Never, None);
    let error = opened.err().expect("it is later").to_string();
    assert!(
        error.contains("a later version of herd has written"),
        "{error}"
    );
    while folder.finish_a_job().is_some() {}
    assert_eq!(folder.contents(), contents);
}

#[test]
fn what_could_not_be_read_is_kept_until_it_happens_again() {
    let damage = |folder: &Folder| {
        let mut contents = folder.contents();
        let newest = contents.iter_mut().rfind(|(name, _)| !name.contains('.'));
        let (name, bytes) = newest.expect("there is one");
        bytes[20] ^= 1;
        (name.clone(), bytes.clone(), Folder::with(&contents))
    };
    let mut folder = Folder::default();
    Life::begin(&folder, 1, at(0));
    for incarnation in 2..4 {
        folder.kill();
        let (name, bytes, damaged) = damage(&folder);
        folder = damaged;
        for again in 0..2 {
            let mut life = Life::begin(&folder, 10 * incarnation + again, at(again as i64));
            assert_eq!(life.recovered.is_sure, again == 1, "{:?}", life.notices);
            life.snapshot();
            folder.kill();
        }
        let kept = format!("{name}.quarantined");
        let contents = folder.contents();
        assert_eq!(contents.len(), 2, "{:?}", contents.keys());
        assert_eq!(contents[&kept], bytes);
    }
}

/// A start after some time with that `--forget-after`, on a journal that was written with that other.
fn start_after(before: Option<u64>, seconds: i64, after: Option<u64>) -> Life {
    let of = |incarnation, now, span: Option<u64>| {
        let folder = Folder::default();
        (folder, incarnation, now, span.map(Duration::from_secs))
    };
    let (folder, incarnation, now, span) = of(1, at(0), before);
    let mut life = Life::of("Blake", &folder, incarnation, now, Fsync::Never, span);
    let life = life.as_mut().expect("the folder can be used");
    life.hear_client("kiwi", 15);
    life.hear_client("emu", 5);
    life.commit();
    folder.kill();
    let (_, incarnation, now, span) = of(2, at(seconds), after);
    let life = Life::of("Blake", &folder, incarnation, now, Fsync::Never, span);
    life.expect("the folder can be used")
}

#[test]
fn a_start_whose_clock_is_behind_says_by_how_much() {
    let folder = Folder::default();
    let life = |incarnation, seconds| {
        let now = at(seconds);
        Life::of("Blake", &folder, incarnation, now, Fsync::Never, None)
    };
    let first = life(1, 14 * 86_400);
    drop(first.expect("the folder can be used"));
    folder.kill();
    let second = life(2, 0).expect("the folder can be used");
    let said = format!("{:?}", second.notices);
    let want = "the clock is behind the last time in it by 14 days";
    assert!(!second.recovered.is_sure && said.contains(want), "{said}");
}

#[test]
fn what_has_expired_stays_expired_or_there_is_doubt() {
    for (before, seconds, after, is_sure, clients) in [
        (None, 1, None, true, &["kiwi", "emu"][..]),
        (None, -1, None, true, &["kiwi", "emu"]),
        (None, -2, None, false, &["kiwi", "emu"]), // the clock is behind
        (None, 1, Some(20), true, &["kiwi", "emu"]),
        (None, 6, Some(20), true, &["emu"]),
        (Some(20), 1, Some(20), true, &["kiwi", "emu"]),
        (Some(20), 6, Some(20), true, &["emu"]),
        (Some(20), 16, Some(20), true, &[]),
        (Some(20), -1, Some(20), false, &["kiwi", "emu"]), // what had expired may be known again
        (Some(20), 1, Some(10), true, &["emu"]),
        (Some(20), 1, Some(22), false, &["kiwi", "emu"]),
        (Some(20), 3, Some(22), true, &["kiwi", "emu"]),
        (Some(20), 1, None, false, &["kiwi", "emu"]),
        (Some(10), 1, None, false, &["emu"]), // the other was not taken in
    ] {
        let mut life = start_after(before, seconds, after);
        let what = format!("{before:?}, {seconds} s, {after:?}: {:?}", life.notices);
        assert_eq!(life.recovered.is_sure, is_sure, "{what}");
        let mut found = life.known();
        let known: Vec<_> = found.lines.values().collect();
        let names = known
            .iter()
            .map(|line| line.split(' ').nth(3).expect("a client"));
        assert_eq!(names.collect::<Vec<_>>(), clients, "{what}");
        if is_sure {
            assert_eq!(found.end, 2, "{what}: numbers are used up");
        }
        life.hear_client("rhea", 0);
        life.commit();
        found = life.known();
        let again = Life::of(
            "Blake",
            &life.folder(),
            3,
            life.now,
            Fsync::Never,
            after.map(Duration::from_secs),
        );
        assert_sure(&again.expect("the folder can be used"), &found, 3);
    }
}

#[test]
fn what_a_clock_ahead_has_passed_over_is_doubt() {
    let folder = Folder::default();
    let life = |incarnation, seconds| {
        let span = Some(Duration::from_secs(20));
        let now = at(seconds);
        Life::of("Blake", &folder, incarnation, now, Fsync::Never, span).expect("it can be used")
    };
    let mut first = life(1, 0);
    first.hear_client("kiwi", 5);
    first.commit();
    for (serial, seconds) in [(1, 0), (2, 40)] {
        first.pass(seconds);
        first.link(serial, 0xb0 + serial); // Bryant, who has lost everything
        first.mark(serial);
        first.cut(serial);
        first.commit();
    }
    folder.kill();
    // The clock is right again, so kiwi lives, and Bryant has the mark though it was never told.
    assert!(!life(2, 1).recovered.is_sure);
}

/// Some turns of an incarnation, with all that a journal does. Gives it as it was in the end, `None` if
/// it could not begin.
fn live(folder: &Folder, incarnation: u64, fsync: Fsync) -> Option<Life> {
    let now = at(10 * incarnation as i64);
    let mut life = Life::of("Blake", folder, incarnation, now, fsync, None).ok()?;
    life.hear_client("kiwi", 3);
    life.commit();
    life.link(incarnation, 0xb0);
    life.hear_line(
        incarnation,
        &format!("AT Bryant +0.000000000 moa +00+000 {incarnation}"),
    );
    life.hear_line(incarnation, &format!("MARK {incarnation}"));
    life.commit();
    life.finish_a_job();
    life.hear_client("emu", 2);
    life.snapshot();
    life.hear_client("kiwi", 1);
    life.commit();
    life.finish_a_job();
    life.hear_client("rhea", 1);
    life.erase("emu");
    life.commit();
    Some(life)
}

/// Calls the disk so often in two incarnations: where each call fails once.
const CALLS: u64 = 200;

#[test]
fn a_process_may_die_at_any_call() {
    for (fsync, part) in [Fsync::Never, Fsync::Always]
        .into_iter()
        .flat_map(|fsync| [Part::None, Part::Half, Part::All].map(|part| (fsync, part)))
    {
        let mut has_run_through = false;
        for call in 1..CALLS {
            let folder = Folder::default();
            folder.fault(call, Fault::Dies(part));
            let mut last: Vec<Known> = vec![Known::default()];
            for incarnation in 1..=2 {
                let before = last.last().expect("there is one").clone();
                // Whether the incarnation is known to have begun depends on the call.
                let begun = before.begun(incarnation);
                last = match live(&folder, incarnation, fsync) {
                    None => vec![begun, before],
                    Some(mut life) => {
                        let acknowledged = life.acknowledged.pop().expect("there is one");
                        [acknowledged].into_iter().chain(life.attempted).collect()
                    }
                };
                if folder.is_dead() {
                    break;
                }
                last.truncate(1);
                folder.kill_but_for_faults();
            }
            has_run_through |= !folder.has_failed();
            folder.kill();
            let life = Life::begin(&folder, 99, at(99));
            let mut found = life.known();
            found.incarnations.pop();
            let what = format!("call {call}, {part:?}, {fsync:?}: {:?}", life.notices);
            assert!(life.recovered.is_sure, "{what}");
            assert!(
                last.contains(&found),
                "{what}: {found:#?} is none of {last:#?}"
            );
        }
        assert!(has_run_through, "there are more calls");
    }
}

#[test]
fn any_call_may_fail_once() {
    for (fsync, part) in [Fsync::Never, Fsync::Always]
        .into_iter()
        .flat_map(|fsync| [Part::None, Part::Half, Part::All].map(|part| (fsync, part)))
    {
        let (mut degraded, mut has_run_through) = (0, false);
        for call in 1..CALLS {
            for heals in [false, true] {
                let folder = Folder::default();
                folder.fault(call, Fault::Fails(part));
                let mut acknowledged = vec![Known::default()];
                let mut last = None;
                for incarnation in 1..=2 {
                    let Some(mut life) = live(&folder, incarnation, fsync) else {
                        last = None;
                        continue;
                    };
                    if heals {
                        for _ in 0..2 {
                            life.pass(2); // the call may be one of these
                            life.rest();
                        }
                        assert_eq!(life.journal.state(), State::Ok, "call {call}");
                    }
                    let is_ok = life.journal.state() == State::Ok;
                    degraded += u32::from(!is_ok);
                    acknowledged.append(&mut life.acknowledged);
                    last = is_ok.then(|| life.known());
                    folder.kill_but_for_faults();
                }
                has_run_through |= !folder.has_failed();
                folder.kill();
                let what = format!("call {call}, {part:?}, {fsync:?}");
                match last {
                    Some(want) => assert_sure(&Life::begin(&folder, 99, at(99)), &want, 99),
                    None => drop(check(&folder.contents(), &acknowledged, &what)),
                }
            }
        }
        assert!(degraded > 0 && has_run_through, "there are more calls");
    }
}

#[test]
fn a_power_failure_costs_what_was_not_synced() {
    let (mut sure, mut doubt, mut lost) = (0, 0, 0);
    for seed in 0..600 {
        let mut dice = SplitMix64(seed);
        let fsync = [Fsync::Never, Fsync::Second, Fsync::Always][dice.below(3) as usize];
        let folder = Folder::default();
        let die_at = 1 + dice.below(CALLS / 4);
        folder.fault(die_at, Fault::Dies(Part::Half));
        let mut acknowledged = Vec::new();
        let mut safe = Known::default();
        for incarnation in 1..=2 {
            let before = acknowledged.last().cloned().unwrap_or_default();
            match live(&folder, incarnation, fsync) {
                Some(mut life) => {
                    safe = life.safe.take().unwrap_or(safe);
                    acknowledged.append(&mut life.acknowledged);
                    acknowledged.extend(life.attempted);
                }
                None => acknowledged.push(before.begun(incarnation)),
            }
            folder.kill_but_for_faults();
        }
        folder.kill();
        folder.lose_power(&mut dice);
        let what = format!("seed {seed}, {fsync:?}");
        let is_sure = check(&folder.contents(), &acknowledged, &what);
        (sure, doubt) = (sure + u32::from(is_sure), doubt + u32::from(!is_sure));
        let found = Life::begin(&folder, 98, at(99)).known();
        let rank = |line: &str| {
            let update = parse_update(line.as_bytes()).expect("it is one");
            let effective = match update {
                Update::Report(location) => location.effective(),
                Update::Erasure(erasure) => erasure.time,
            };
            (update.client().to_vec(), effective)
        };
        let ranks: Vec<_> = found.lines.values().map(|line| rank(line)).collect();
        let is_known = |line: &String| {
            let (client, effective) = rank(line);
            ranks
                .iter()
                .any(|(name, found)| *name == client && *found >= effective)
        };
        let is_lost = !safe.lines.values().all(is_known);
        assert!(
            !is_lost || fsync != Fsync::Always,
            "{what}: of {safe:#?} there is {found:#?}"
        );
        lost += u32::from(found.end < acknowledged.last().map_or(0, |known| known.end));
    }
    assert!(
        sure > 100 && doubt > 20 && lost > 100,
        "{sure} {doubt} {lost}"
    );
}

#[test]
fn a_full_disk_stops_nobody_and_all_is_written_once_there_is_room() {
    for room in 0..2_000 {
        let folder = Folder::default();
        folder.limit(Some(room));
        let mut life = live(&folder, 1, Fsync::Never).expect("a full disk is no error");
        let was_ok = life.journal.state() == State::Ok;
        assert_eq!(
            life.notices.is_empty(),
            was_ok,
            "{room}: {:?}",
            life.notices
        );
        folder.limit(None);
        for _ in 0..2 {
            life.pass(10);
            life.rest();
        }
        assert_eq!(life.journal.state(), State::Ok, "{room}");
        let last = life.notices.last();
        let is_told = last.is_some_and(|last| last.contains("is written again"));
        assert_eq!(is_told, !was_ok, "{room}: {:?}", life.notices);
        let want = life.known();
        folder.kill();
        assert_sure(&Life::begin(&folder, 99, at(99)), &want, 99);
        if was_ok {
            return assert!(room > 500, "it is never full");
        }
    }
    panic!("it is always full");
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
