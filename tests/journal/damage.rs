//! What a start makes of files that are cut, damaged, missing or of another.

use std::collections::BTreeSet;

use herd::journal::Fsync;

use crate::disk::{Fault, Folder, Part};
use crate::life::{Known, Life, at};
use crate::{Contents, batches, check, sealed};

/// A journal with all that a journal can have. Gives the states that were acknowledged.
fn small_journal(folder: &Folder) -> Vec<Known> {
    let mut acknowledged = Vec::new();
    for incarnation in 1..=3_u64 {
        let mut life = Life::begin(folder, incarnation, at(incarnation as i64));
        life.hear_both(incarnation);
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
fn what_can_be_read_only_the_second_time_is_read() {
    let (moments, acknowledged) = replaced_journal("Blake", "kiwi", 1);
    let contents = moments.last().expect("there are some");
    let lines = &acknowledged.last().expect("there are some").lines;
    let mut sure = 0;
    for call in 1.. {
        let folder = Folder::with(contents);
        folder.fault(call, Fault::Fails(Part::None));
        let opened = Life::of("Blake", &folder, 99, at(99), Fsync::Never, None);
        if !folder.has_failed() {
            break;
        }
        let Ok(life) = opened else { continue };
        if life.recovered.is_sure {
            assert_eq!(&life.known().lines, lines, "call {call}");
            sure += 1;
        }
    }
    assert!(
        sure > 2,
        "{sure}: one to open, one to read, and those that write"
    );
}

#[test]
fn a_file_of_another_server_is_not_taken_for_ours_though_it_cannot_be_read_at_first() {
    let (moments, _) = replaced_journal("Blake", "kiwi", 1);
    let (strangers, _) = replaced_journal("Bryant", "moa", 3);
    let newest = |moments: &[Contents]| moments.last().cloned().expect("there are some");
    let strange = newest(&strangers).into_values().next_back();
    let mut contents = newest(&moments);
    contents.insert(
        "journal-0000000000000009".to_owned(),
        strange.expect("a file"),
    );
    let mut started = 0;
    for call in 1.. {
        let folder = Folder::with(&contents);
        folder.fault(call, Fault::Fails(Part::None));
        let opened = Life::of("Blake", &folder, 99, at(99), Fsync::Never, None);
        if !folder.has_failed() {
            break;
        }
        let Ok(life) = opened else { continue };
        started += 1;
        let lines = life.known().lines;
        assert!(!life.recovered.is_sure, "call {call}: {lines:?}");
        assert!(
            lines.values().all(|line| !line.contains("moa")),
            "call {call}: {lines:?}"
        );
    }
    assert!(started > 5, "{started}");
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
