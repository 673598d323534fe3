//! What may happen to the file, and how it is rotated.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::tests::{Host, note};
use super::*;

// ---- what may happen to the file

#[test]
fn a_file_that_is_moved_deleted_or_replaced_is_made_anew() {
    let mut host = Host::new(|_| {});
    let other = host.directory.path().join("moved");
    host.note("one");
    host.turn_until_logged(&note("one"));
    fs::rename(&host.path, &other).expect("it is ours");
    host.note("two");
    host.turn_until_logged(&note("two"));
    assert_eq!(fs::read_to_string(&other).ok(), Some(note("one")));
    fs::remove_file(&host.path).expect("it is ours");
    host.note("three");
    host.turn_until_logged(&note("three"));
    fs::remove_dir_all(host.directory.path()).expect("it is ours");
    host.note("four");
    host.turn_until_logged(&note("four"));
    fs::write(&other, "edited\n").expect("there is room"); // as `sed -i` does
    fs::rename(&other, &host.path).expect("it is ours");
    host.note("five");
    host.turn_until_logged(&("edited\n".to_owned() + &note("five")));
    assert_eq!(host.log.poll_notice(), None);
}

#[test]
fn a_file_that_is_cut_is_written_on_at_its_new_end() {
    let mut host = Host::new(|_| {});
    host.note("one");
    host.turn_until_logged(&note("one"));
    fs::write(&host.path, "").expect("there is room"); // as `copytruncate` does
    host.note("two");
    host.turn_until_logged(&note("two"));
}

#[test]
fn a_file_is_made_when_the_log_is_reopened() {
    let mut host = Host::new(|_| {});
    let moved = host.directory.path().join("Ann.log.1");
    host.note("one");
    host.turn_until_logged(&note("one"));
    fs::rename(&host.path, &moved).expect("it is ours");
    host.log.reopen();
    host.turn_until_logged(&note("the log was reopened"));
    assert_eq!(fs::read_to_string(&moved).ok(), Some(note("one")));
}

#[test]
fn a_file_is_made_for_its_owner_only_with_its_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a/b/Ann.log");
    let mut host = Host::in_directory(directory, path, |_| {});
    host.note("one");
    host.turn_until_logged(&note("one"));
    let folder = host.path.parent().expect("it has one").to_owned();
    for (path, want) in [(&host.path, 0o600), (&folder, 0o700)] {
        let mode = fs::metadata(path).expect("it is there").permissions();
        assert_eq!(mode.mode() & 0o777, want, "{}", path.display());
    }
}

#[test]
fn what_broke_off_is_marked_before_anything_follows() {
    for (before, want) in [
        ("", String::new()),
        ("one\n", "one\n".to_owned()),
        ("one\ntw", "one\ntw\\... torn\n".to_owned()),
    ] {
        let mut host =
            Host::new(|options| fs::write(&options.path, before).expect("there is room"));
        host.note("three");
        host.turn_until_logged(&(want + &note("three")));
    }
}

#[test]
fn a_symbolic_link_is_refused_until_it_has_gone() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, other) = (directory.path().join("Ann.log"), directory.path().join("x"));
    symlink(&other, &path).expect("it is ours");
    let mut host = Host::in_directory(directory, path, |_| {});
    host.note("one");
    host.turn_until_told("cannot write the log ");
    assert!(!other.exists());
    fs::remove_file(&host.path).expect("it is ours");
    host.turn_until_logged(&note("one"));
}

#[test]
fn a_log_that_cannot_be_written_is_told_once_and_nothing_is_missing_when_it_can_be() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("Ann.log");
    fs::create_dir(&path).expect("it is ours");
    let mut host = Host::in_directory(directory, path, |_| {});
    host.note("one");
    host.turn_until_told("is a directory. Still serving;");
    assert!(host.log.failing().is_some());
    host.note("two");
    host.turn(GATHER);
    fs::remove_dir(&host.path).expect("it is ours");
    host.turn_until_told("is written again");
    assert_eq!(host.log.failing(), None);
    host.turn_until_logged(&(note("one") + &note("two")));
    assert_eq!(host.log.poll_notice(), None);
}

#[test]
fn a_full_disk_is_told_in_plain_words_and_the_end_does_not_wait_for_room() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut host = Host::in_directory(directory, PathBuf::from("/dev/full"), |_| {});
    host.note("one");
    host.turn_until_told("cannot write the log /dev/full: disk full. Still serving;");
    let began = Instant::now();
    host.note("two");
    host.log.close();
    assert!(began.elapsed() < CLOSE_MAX, "it tried on");
    let bytes = note("one").len() + note("two").len();
    host.turn_until_told(&format!("lacks what was recorded last: {bytes} bytes"));
}

// ---- rotation

fn all_text(path: &Path, rotated: u32) -> Vec<String> {
    let name = |number| format!("{}.{number}", path.display());
    let names = (1..=rotated)
        .rev()
        .map(name)
        .chain([path.display().to_string()]);
    names
        .filter_map(|name| fs::read_to_string(name).ok())
        .collect()
}

/// Hands over what was recorded, so that it is one write.
fn write(host: &mut Host, text: &str) {
    host.note(text);
    assert!(host.log.hand_over());
}

#[test]
fn a_log_is_rotated_before_a_write_that_makes_it_too_long() {
    const MOST: usize = 1_000;
    let mut host = Host::new(|options| (options.max_bytes, options.keep) = (MOST as u64, 1_000));
    let long = "a long one ".repeat(200);
    let mut want = String::new();
    for number in 0..500 {
        let text = match number % 100 {
            99 => &long,
            _ => "a short one",
        };
        write(&mut host, text);
        want += &note(text);
    }
    host.log.close();
    let files = all_text(&host.path, 1_000);
    assert_eq!(files.concat(), want);
    for pair in files.windows(2) {
        let [file, next] = pair else {
            unreachable!("there are two")
        };
        assert!(file.len() <= MOST || file.lines().count() == 1, "{file}");
        let first = next.lines().next().expect("none is empty");
        assert!(
            file.len() + first.len() + 1 > MOST,
            "it was rotated early: {file}"
        );
    }
}

#[test]
fn of_rotated_logs_the_newest_stay() {
    for (keep, want) in [
        (0, &["six"][..]),
        (1, &["five", "six"]),
        (3, &["three", "four", "five", "six"]),
        (u32::MAX, &["one", "two", "three", "four", "five", "six"]),
    ] {
        let mut host = Host::new(|options| (options.max_bytes, options.keep) = (1, keep));
        for text in ["one", "two", "three", "four", "five", "six"] {
            write(&mut host, text);
        }
        host.log.close();
        let want: Vec<_> = want.iter().map(|text| note(text)).collect();
        assert_eq!(all_text(&host.path, 9), want);
    }
}

#[test]
fn a_gap_among_rotated_logs_is_filled_and_what_is_behind_it_stays() {
    let mut host = Host::new(|options| {
        (options.max_bytes, options.keep) = (1, 4);
        for (name, text) in [
            ("log.1", "1"),
            ("log.3", "3"),
            ("log.9", "9"),
            ("log", "0\n"),
        ] {
            fs::write(options.path.with_extension(name), text).expect("there is room");
        }
    });
    write(&mut host, "one");
    host.log.close();
    let want = ["9", "3", "1", "0\n", &note("one")];
    assert_eq!(all_text(&host.path, 9), want);
}

#[test]
fn a_log_that_cannot_be_rotated_is_told_and_goes_on_when_it_can_be() {
    let mut host = Host::new(|options| (options.max_bytes, options.keep) = (60, 1));
    let in_the_way = host.directory.path().join("Ann.log.1");
    fs::create_dir(&in_the_way).expect("it is ours");
    write(&mut host, "one");
    write(&mut host, "two");
    host.turn_until_told("cannot write the log ");
    fs::remove_dir(&in_the_way).expect("it is ours");
    host.turn_until_logged(&note("two"));
    host.turn_until_told("is written again");
    assert_eq!(all_text(&host.path, 1), [note("one"), note("two")]);
    assert_eq!(host.log.records_dropped, 0);
}

#[test]
fn a_device_is_written_and_never_rotated() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = PathBuf::from("/dev/null");
    let mut host = Host::in_directory(directory, path, |options| options.max_bytes = 1);
    for _ in 0..1_000 {
        host.note("into the void");
    }
    host.log.close();
    assert_eq!(host.log.poll_notice(), None);
    assert!(!Path::new("/dev/null.1").exists());
}
