//! What a start makes of a clock that was set, and of what has expired.

use std::time::Duration;

use herd::journal::Fsync;

use crate::assert_sure;
use crate::disk::Folder;
use crate::life::{Life, at};

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

#[test]
fn what_expired_by_a_clock_that_was_ahead_is_doubt_until_there_is_a_snapshot_without_it() {
    for has_snapshot in [false, true] {
        let folder = Folder::default();
        let life = |incarnation, seconds| {
            let span = Some(Duration::from_secs(20));
            let now = at(seconds);
            Life::of("Blake", &folder, incarnation, now, Fsync::Never, span)
                .expect("it can be used")
        };
        let mut first = life(1, 0);
        first.hear_client("kiwi", 5);
        first.commit();
        // Nothing is written while the clock is ahead. Nobody sees it, but kiwi is let go.
        first.pass(40);
        first.act(|node, now, effects| node.handle_timeout(now, effects));
        first.commit();
        first.pass(-39);
        assert!(first.known().lines.is_empty());
        first.commit();
        if has_snapshot {
            first.snapshot();
        }
        folder.kill();
        let second = life(2, 2);
        assert_eq!(
            second.recovered.is_sure, has_snapshot,
            "{:?}",
            second.notices
        );
        assert_eq!(second.known().lines.is_empty(), has_snapshot);
    }
}
