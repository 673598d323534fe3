//! Who may use the folder, and what a start refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::support::{Herd, Tmpfs, limited, wait_until};
use crate::wired::PAIR;
use crate::{ALONE, FAILING, KIWI, RESTORED, assert_known, report_meanwhile, said, tree};

/// The permissions of a file.
fn mode(path: &Path) -> u32 {
    let found = fs::symlink_metadata(path).expect("it is there");
    found.permissions().mode() & 0o7777
}

#[test]
fn journal_and_log_are_their_owners_only_whatever_the_umask() {
    for umask in ["000", "022", "077"] {
        let mut herd = Herd::new(ALONE);
        let command = limited(&herd.command("Ann"), &format!("umask {umask}"));
        herd.start_with("Ann", command);
        herd.ask("Ann", KIWI);
        herd.wait_for_record("Ann", "IAMAT kiwi");
        assert_eq!(mode(&herd.log_path("Ann")), 0o600, "umask {umask}");
        let folder = herd.journal_path("Ann");
        assert_eq!(mode(&folder), 0o700, "umask {umask}");
        let files: Vec<_> = fs::read_dir(&folder).expect("it is there").collect();
        assert!(files.len() >= 2, "the journal and its lock: {files:?}");
        for file in files {
            let path = file.expect("it can be read").path();
            assert_eq!(mode(&path), 0o600, "umask {umask}: {}", path.display());
        }
    }
}

/// Starts Ann, who must be refused in one line that has all of `words`, and touch nothing.
fn assert_refused(herd: &Herd, words: &[&str]) {
    let before = tree(&herd.data_dir);
    let output = herd.command("Ann").output().expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{words:?}: {said}");
    for word in words {
        assert!(said.contains(word), "no {word:?}: {said}");
    }
    assert!(
        tree(&herd.data_dir) == before,
        "{words:?}: something was touched"
    );
    assert!(!herd.log_path("Ann").exists(), "{words:?}");
}

#[test]
fn a_data_dir_that_is_a_file_or_cannot_be_made_is_refused() {
    let mut herd = Herd::new(ALONE);
    let data = herd.data_dir.clone();
    fs::write(&data, "a file").expect("the directory is ours");
    assert_refused(&herd, &["data/Ann", "it is no folder"]);
    fs::remove_file(&data).expect("it is ours");
    fs::create_dir(&data).expect("the directory is ours");
    fs::write(herd.journal_path("Ann"), "a file").expect("it is ours");
    assert_refused(&herd, &["data/Ann", "it is no folder"]);
    fs::remove_file(herd.journal_path("Ann")).expect("it is ours");
    // Nobody can make a folder there, root included.
    herd.data_dir = "/proc/nowhere".into();
    assert_refused(&herd, &["/proc/nowhere/Ann", "--allow-no-journal"]);
}

#[test]
fn a_journal_of_another_server_is_refused() {
    let mut herd = Herd::new(PAIR);
    herd.start("Bob");
    herd.ask("Bob", KIWI);
    herd.kill("Bob");
    fs::rename(herd.journal_path("Bob"), herd.journal_path("Ann")).expect("it is there");
    assert_refused(&herd, &["data/Ann", "it is the journal of Bob"]);
    // Where it was it is as it was.
    fs::rename(herd.journal_path("Ann"), herd.journal_path("Bob")).expect("it is there");
    herd.start("Bob");
    assert!(herd.at("Bob", "kiwi").is_some());
}

#[test]
fn a_journal_of_a_newer_version_is_refused() {
    let mut herd = Herd::new(ALONE);
    herd.start("Ann");
    let at = herd.ask("Ann", KIWI);
    herd.kill("Ann");
    let _ = fs::remove_file(herd.log_path("Ann")); // it may not have been begun
    let is_journal = |path: &PathBuf| path.display().to_string().contains("/journal-");
    let files = tree(&herd.journal_path("Ann"));
    let (path, bytes) = files
        .iter()
        .find(|(path, _)| is_journal(path))
        .expect("one");
    let mut newer = bytes.clone();
    newer[8..12].copy_from_slice(&99_u32.to_le_bytes());
    let checksum = crc32c::crc32c(&newer[..12]);
    newer[12..16].copy_from_slice(&checksum.to_le_bytes());
    fs::write(path, newer).expect("it is ours");
    let words = ["data/Ann", "later version"];
    assert_refused(&herd, &words);
    fs::write(path, bytes).expect("it is ours");
    herd.start("Ann");
    assert_known(&herd, "Ann", &[at]);
}

#[test]
#[ignore = "needs root, to mount a tmpfs"]
fn a_disk_that_may_not_be_written_is_refused_unless_that_is_allowed() {
    let mut herd = Herd::new(ALONE);
    let data = herd.data_dir.clone();
    let tmpfs = Tmpfs::mount(&data, 1 << 20);
    herd.start("Ann");
    let at = herd.ask("Ann", KIWI);
    herd.process("Ann").signal(Signal::TERM);
    herd.process("Ann").wait();
    fs::remove_file(herd.log_path("Ann")).expect("it is there");
    tmpfs.remount("ro");
    assert_refused(&herd, &["data/Ann", "--allow-no-journal"]);
    herd.start_arguing("Ann", &["--allow-no-journal"]);
    let meanwhile = report_meanwhile(&herd, "meanwhile");
    assert_eq!(said(&mut herd, "Ann", FAILING), 1);
    assert_known(&herd, "Ann", &[at]);
    tmpfs.remount("rw");
    wait_until("it is written", || said(&mut herd, "Ann", RESTORED) == 1);
    herd.kill("Ann");
    herd.start("Ann");
    assert_known(&herd, "Ann", &meanwhile);
}

#[test]
fn a_data_dir_that_cannot_be_made_harms_nobody_if_that_is_allowed() {
    let mut herd = Herd::new(PAIR);
    herd.start("Bob");
    herd.data_dir = "/proc/nowhere".into();
    let arguments = ["--allow-no-journal"];
    herd.start_arguing("Ann", &arguments);
    herd.wait_for_link("Ann", "Bob");
    let at = herd.ask("Ann", KIWI);
    herd.wait_for_at("Bob", "kiwi", &at);
    assert_eq!(said(&mut herd, "Ann", FAILING), 1);
    herd.process("Ann").signal(Signal::TERM);
    assert_eq!(herd.process("Ann").wait().code(), Some(1));
    herd.start_arguing("Ann", &arguments);
    herd.wait_for_at("Ann", "kiwi", &at);
    // Who has acknowledged nothing has nothing to lose.
    let mut lone = Herd::new(ALONE);
    lone.data_dir = "/proc/nowhere".into();
    lone.start_arguing("Ann", &arguments);
    lone.process("Ann").signal(Signal::TERM);
    assert_eq!(lone.process("Ann").wait().code(), Some(0));
}

#[test]
fn a_start_beside_a_text_log_and_without_a_journal_says_how_to_restore_it() {
    let mut herd = Herd::new(ALONE);
    let log = herd.log_path("Ann");
    fs::create_dir_all(log.parent().expect("a directory")).expect("the directory is ours");
    let record = "2012-11-17T02:08:23.672266766Z > c1 AT Ann +0.1 kiwi +00+000 1\n";
    fs::write(&log, record).expect("the directory is ours");
    herd.start("Ann");
    assert_eq!(herd.at("Ann", "kiwi"), None, "no log is read");
    let command = format!("herd restore {} --name Ann", log.display());
    assert_eq!(said(&mut herd, "Ann", &command), 1);
    herd.settled_log("Ann");
    assert!(herd.log("Ann").starts_with(record), "it goes on");
    herd.kill("Ann");
    herd.start("Ann");
    assert_eq!(said(&mut herd, "Ann", "restore"), 0, "there is a journal");
}
