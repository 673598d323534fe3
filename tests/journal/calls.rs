//! The disk fails, or the process dies, at any call.

use herd::journal::{Fsync, State};
use herd::node::location::Update;
use herd::node::protocol::parse_update;
use herd::random::SplitMix64;

use crate::disk::{Fault, Folder, Part};
use crate::life::{Known, Life, at};
use crate::{assert_sure, check};

/// Some turns of an incarnation, with all that a journal does. Gives it as it was in the end, `None` if
/// it could not begin.
fn live(folder: &Folder, incarnation: u64, fsync: Fsync) -> Option<Life> {
    let now = at(10 * incarnation as i64);
    let mut life = Life::of("Blake", folder, incarnation, now, fsync, None).ok()?;
    life.hear_both(incarnation);
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
