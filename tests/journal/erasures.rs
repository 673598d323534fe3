//! What is left on the disk of who was erased: nothing, soon.

use crate::disk::{Fault, Folder, Part};
use crate::life::{Life, at};
use crate::{assert_sure, batches, sealed};

/// What the folder has of kiwi's place.
fn places(folder: &Folder) -> usize {
    let contents = folder.contents();
    let has = |bytes: &Vec<u8>| bytes.windows(10).any(|some| some == b" kiwi +00+");
    contents.values().filter(|bytes| has(bytes)).count()
}

fn versions(folder: &Folder) -> Vec<u8> {
    folder.contents().values().map(|bytes| bytes[8]).collect()
}

/// Lets time pass, second by second, in which the journal does what there is to do.
fn wait(life: &mut Life, seconds: i64) {
    for _ in 0..seconds {
        life.pass(1);
        life.rest();
    }
}

#[test]
fn a_snapshot_follows_an_erasure_also_after_a_crash() {
    for is_killed in [false, true] {
        let folder = Folder::default();
        let mut life = Life::begin(&folder, 1, at(1));
        life.hear_client("kiwi", 3);
        life.hear_client("emu", 3);
        life.commit();
        life.rest();
        assert_eq!((places(&folder), versions(&folder)), (1, vec![1]));
        life.erase("kiwi");
        life.commit();
        let want = life.known();
        assert_eq!(want.lines.len(), 2, "emu, and a tombstone");
        if is_killed {
            assert_eq!(places(&folder), 1, "not yet");
            folder.kill();
            life = Life::begin(&folder, 2, at(2));
            assert_sure(&life, &want, 2);
        }
        wait(&mut life, 2);
        assert_eq!((places(&folder), versions(&folder)), (0, vec![2]));
        let snapshots = life.journal.counters().snapshots;
        wait(&mut life, 60);
        assert_eq!(
            life.journal.counters().snapshots,
            snapshots,
            "once is enough"
        );
        let want = life.known();
        folder.kill();
        assert_sure(&Life::begin(&folder, 3, at(100)), &want, 3);
    }
}

#[test]
fn who_is_erased_while_a_snapshot_is_written_is_in_none_in_the_end() {
    let folder = Folder::default();
    let mut life = Life::begin(&folder, 1, at(1));
    life.journal.set_slice(1);
    for client in ["kiwi", "emu", "moa", "rhea"] {
        life.hear_client(client, 3);
    }
    life.erase("emu"); // so that it is of the present version, and goes on
    life.commit();
    life.journal.begin_anew();
    life.journal.work(&life.node);
    life.erase("kiwi");
    life.rest();
    assert_eq!(places(&folder), 1, "its place was written before");
    wait(&mut life, 2);
    assert_eq!(places(&folder), 0);
}

#[test]
fn the_file_that_was_replaced_is_removed_though_that_fails_at_first() {
    for call in 1.. {
        let folder = Folder::default();
        let mut life = Life::begin(&folder, 1, at(1));
        life.hear_client("kiwi", 3);
        life.erase("kiwi");
        life.commit();
        folder.fault(call, Fault::Fails(Part::None));
        wait(&mut life, 10);
        assert_eq!(places(&folder), 0, "call {call} fails");
        if !folder.has_failed() {
            assert!(call > 4, "a snapshot takes more calls");
            return;
        }
    }
}

/// A journal that a program of before there were erasures has written: the last `b` has no text.
#[test]
fn a_start_on_an_older_programs_journal_asks_the_neighbours_for_everything_once() {
    let folder = Folder::default();
    let mut life = Life::begin(&folder, 1, at(1));
    life.link(1, 0xb0);
    life.hear_line(1, "AT Bryant +0.000000000 moa +00+000 1");
    life.hear_line(1, "MARK 1");
    life.commit();
    let mut want = life.known();
    assert!(want.known.is_some());
    folder.kill();
    assert_sure(&Life::begin(&folder, 2, at(2)), &want, 2);
    folder.kill();

    let (name, bytes) = folder.contents().pop_first().expect("one file");
    let (preamble, read) = (&bytes[..16], batches(&bytes));
    let older = read.iter().map(|batch| {
        let (header, body) = batch.split_at(36);
        let body = body.to_vec();
        // A `b`: incarnation, number and span, each of a byte here, then a text of one byte.
        let at = body
            .windows(6)
            .position(|b| b[0] == b'b' && b[3..] == [0, 1, b'2']);
        let body = match at {
            Some(at) => [&body[..at + 4], &[0], &body[at + 6..]].concat(),
            None => body,
        };
        let mut header = header.to_vec();
        header[4..8].copy_from_slice(&(body.len() as u32).to_le_bytes());
        header[8..12].copy_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        [header, body].concat()
    });
    let older: Vec<_> = older.collect();
    assert_ne!(older, read);
    let contents = [(name, sealed(preamble, &older))].into();
    let folder = Folder::with(&contents);
    want.known = None;
    let life = Life::begin(&folder, 3, at(3));
    assert_sure(&life, &want.begun(2), 3);
    folder.kill(); // before any neighbour has said a mark
    assert_sure(&Life::begin(&folder, 4, at(4)), &want.begun(2).begun(3), 4);
}
