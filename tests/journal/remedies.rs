//! What the journal does about a disk that fails, and when it replaces its file.

use herd::journal::{Fsync, State};

use crate::disk::{Fault, Folder, Part};
use crate::life::{Life, at};

/// A life in which a sync is under way, of what a client has said.
fn syncing(folder: &Folder, fsync: Fsync) -> Life {
    let life = Life::of("Blake", folder, 1, at(0), fsync, None);
    let mut life = life.expect("the folder can be used");
    life.link(1, 0xb0);
    life.rest();
    life.pass(2);
    life.hear_client("kiwi", 0);
    life.commit();
    life
}

#[test]
fn a_sync_that_fails_is_a_failure_and_only_a_new_file_heals_it() {
    for fsync in [Fsync::Second, Fsync::Always] {
        let folder = Folder::default();
        let mut life = syncing(&folder, fsync);
        folder.fault(1, Fault::Fails(Part::None));
        life.finish_a_job();
        assert_eq!(life.journal.state(), State::Degraded, "{fsync:?}");
        life.rest();
        assert!(!life.journal.holds_replies(), "replies wait for nothing");
        assert_eq!(life.journal.state(), State::Degraded, "not before a second");
        assert_eq!(life.notices.len(), 1, "{:?}", life.notices);
        life.pass(2);
        life.rest();
        assert_eq!(life.journal.state(), State::Ok, "{fsync:?}");
        let names: Vec<_> = folder.contents().into_keys().collect();
        assert_eq!(names, ["journal-0000000000000002"], "{fsync:?}");
    }
}

#[test]
fn replies_do_not_wait_for_a_sync_once_the_disk_has_failed() {
    let folder = Folder::default();
    let mut life = syncing(&folder, Fsync::Always);
    assert!(life.journal.holds_replies());
    folder.fault(1, Fault::Fails(Part::Half));
    life.hear_line(1, "AT Bryant +0.000000000 moa +00+000 5");
    life.commit();
    assert_eq!(life.journal.state(), State::Degraded);
    life.commit();
    assert!(!life.journal.holds_replies(), "the sync is still under way");
}

#[test]
fn a_sync_that_fails_at_the_end_is_said() {
    let folder = Folder::default();
    let mut life =
        Life::of("Blake", &folder, 1, at(0), Fsync::Second, None).expect("the folder can be used");
    life.rest();
    life.hear_client("kiwi", 0);
    life.commit();
    folder.fault(2, Fault::Fails(Part::None));
    assert_eq!(life.journal.close(), State::Degraded);
}

/// A life whose snapshot takes several turns.
fn with_fifty_clients(folder: &Folder) -> Life {
    let mut life = Life::begin(folder, 1, at(0));
    for client in 0..50 {
        life.hear_client(&format!("kiwi{client}"), 1);
    }
    life.commit();
    life.journal.set_slice(100);
    life
}

#[test]
fn a_snapshot_begun_anew_while_one_is_written_is_no_failure() {
    let folder = Folder::default();
    let mut life = with_fifty_clients(&folder);
    for _ in 0..2 {
        life.journal.begin_anew();
        for _ in 0..3 {
            life.work();
        }
        let names: Vec<_> = folder.contents().into_keys().collect();
        assert_eq!(names.len(), 2, "one is being written: {names:?}");
    }
    life.rest();
    assert!(life.notices.is_empty(), "{:?}", life.notices);
    let names: Vec<_> = folder.contents().into_keys().collect();
    assert_eq!(names, ["journal-0000000000000003"]);
}

#[test]
fn a_snapshot_gets_ahead_of_however_many_changes() {
    let mut life = Life::begin(&Folder::default(), 1, at(0));
    life.journal.set_slice(1);
    life.journal.begin_anew();
    let before = life.journal.counters().snapshots;
    for turn in 0.. {
        assert!(turn < 100, "there is no end of it");
        for client in 0..20 {
            life.hear_client(&format!("kiwi{client}"), 200 - turn);
        }
        life.work();
        if life.journal.counters().snapshots > before {
            return;
        }
    }
}

#[test]
fn a_snapshot_that_fails_is_said_once_and_tried_less_often_the_longer_it_takes() {
    let folder = Folder::default();
    let mut life = with_fifty_clients(&folder);
    life.journal.begin_anew();
    life.work();
    for _ in 0..2 {
        life.pass(10);
        folder.fault(1, Fault::Fails(Part::None));
        life.work();
        life.commit();
        while life.finish_a_job() {}
        let files = || folder.contents().len();
        assert_eq!((files(), life.notices.len()), (1, 1), "{:?}", life.notices);
        life.pass(39);
        life.work();
        assert_eq!(files(), 1, "before it is time");
        life.pass(1);
        life.work();
        assert_eq!(files(), 2, "in time");
    }
    assert_eq!(life.journal.state(), State::Ok, "the other file goes on");
    life.rest();
    assert_eq!(life.journal.counters().snapshots, 2);
}

#[test]
fn a_file_is_replaced_when_its_changes_are_longer_than_64_mib() {
    let folder = Folder::default();
    let mut life = Life::begin(&folder, 1, at(0));
    let line = vec![b'x'; 60_000];
    let mut number = 0;
    while !life.journal.is_busy() {
        number += 1;
        life.journal.change(number, &line);
        life.journal.commit();
        assert!(number * 60_000 < 65 << 20, "it is long enough");
    }
    assert!(number * 60_000 > 63 << 20, "{number}: it is not long yet");
    life.rest();
    let contents = folder.contents();
    assert_eq!(contents.len(), 1, "{:?}", contents.keys());
    assert!(contents["journal-0000000000000002"].len() < 1_000);
}

fn begin(folder: &Folder, incarnation: u64) -> Life {
    let now = at(10 * incarnation as i64);
    let life = Life::of("Blake", folder, incarnation, now, Fsync::Always, None);
    life.expect("the folder can be used")
}

/// Replies leave.
fn let_go(life: &mut Life) {
    while life.journal.holds_replies() {
        assert!(life.finish_a_job(), "replies wait for nothing");
        life.commit();
    }
}

/// Whatever is left when the power fails, a start is sure, and knows the client.
fn assert_known(folder: &Folder, client: &str, what: &str) {
    for keeps_names in [false, true] {
        let what = format!("{what}, keeps names: {keeps_names}");
        let life = begin(&folder.after_power_failure(keeps_names), 99);
        assert!(life.recovered.is_sure, "{what}: {:?}", life.notices);
        let lines = life.known().lines;
        let is_known = lines.values().any(|line| line.contains(client));
        assert!(is_known, "{what}: {client} is none of {lines:?}");
    }
}

#[test]
fn a_file_is_on_the_disk_before_it_has_its_name_and_both_before_a_reply_leaves() {
    for call in 1.. {
        let folder = Folder::default();
        let mut first = begin(&folder, 1);
        first.hear_client("kiwi", 3);
        first.rest();
        folder.fault(call, Fault::Dies(Part::All));
        first.snapshot();
        let has_run_through = !folder.is_dead();
        folder.kill();
        assert_known(&folder, "kiwi", &format!("dead at call {call}"));
        let mut second = begin(&folder, 2);
        second.hear_client("emu", 1);
        second.commit();
        let_go(&mut second);
        assert_known(&folder, "emu", &format!("after a death at call {call}"));
        if has_run_through {
            return assert!(call > 5, "{call}");
        }
    }
}

#[test]
fn a_reply_that_leaves_while_a_file_is_replaced_is_in_the_new_one() {
    let folder = Folder::default();
    let mut life = begin(&folder, 1);
    life.rest();
    life.journal.begin_anew();
    life.journal.work(&life.node); // the new file is complete, and waits for its name
    life.hear_client("emu", 1);
    life.commit();
    let_go(&mut life);
    let names: Vec<_> = folder.contents().into_keys().collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_known(&folder, "emu", "while there are two files");
}

#[test]
fn what_was_not_read_is_kept_whichever_call_of_the_disk_fails() {
    let folder = Folder::default();
    let mut life = Life::begin(&folder, 1, at(0));
    life.hear_client("kiwi", 0);
    life.rest();
    folder.kill();
    let mut contents = folder.contents();
    let (name, mut damaged) = contents.pop_first().expect("there is a file");
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    contents.insert(name, damaged.clone());
    let mut failed = 0;
    for call in 1..40 {
        let folder = Folder::with(&contents);
        folder.fault(call, Fault::Fails(Part::None));
        let Ok(mut life) = Life::of("Blake", &folder, 2, at(1), Fsync::Never, None) else {
            assert_eq!(
                folder.contents(),
                contents,
                "call {call}: a start that is refused"
            );
            continue;
        };
        for _ in 0..4 {
            life.rest();
            life.pass(2);
        }
        failed += usize::from(folder.has_failed());
        let names: Vec<_> = folder.contents().into_keys().collect();
        let is_kept = folder.contents().values().any(|bytes| *bytes == damaged);
        assert!(is_kept, "call {call}: {names:?}");
        assert!(
            names.iter().any(|name| name.ends_with(".quarantined")),
            "call {call}: {names:?}"
        );
    }
    assert!((5..39).contains(&failed), "{failed} calls have failed");
}
