//! A log that cannot be written.

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::Signal;

use crate::support::{Herd, PATIENCE, Tmpfs, wait_until};
use crate::{ALONE, check_records, held_after_a_kill};

/// How many lines of Ann's standard error have `words` in them.
fn said(herd: &mut Herd, words: &str) -> usize {
    let said = herd.process("Ann").said();
    said.lines().filter(|line| line.contains(words)).count()
}

/// Reports clients until Ann says that she cannot write her log. Gives what was acknowledged.
fn report_until_failing(herd: &mut Herd, prefix: &str, times: usize) -> Vec<String> {
    let mut client = herd.client("Ann");
    let mut acknowledged = Vec::new();
    let until = Instant::now() + PATIENCE;
    while said(herd, "cannot write the log") < times {
        assert!(Instant::now() < until, "the log never fails");
        for _ in 0..10 {
            let number = acknowledged.len();
            client.say(&format!("IAMAT {prefix}{number} +27.5916+086.5640 1"));
            acknowledged.push(client.line());
        }
    }
    acknowledged
}

/// Reports clients for as long as three attempts at the log take, each of them promptly.
fn report_meanwhile(herd: &mut Herd, prefix: &str) -> Vec<String> {
    let mut client = herd.client("Ann");
    let mut acknowledged = Vec::new();
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(2_500) {
        let asked = Instant::now();
        let number = acknowledged.len() % 50;
        client.say(&format!("IAMAT {prefix}{number} +27.5916+086.5640 1"));
        let at = client.line();
        assert!(
            at.starts_with("AT Ann ") && asked.elapsed() < Duration::from_secs(2),
            "after {:?}: {at}",
            asked.elapsed()
        );
        acknowledged.push(at);
        thread::sleep(Duration::from_millis(2)); // a steady load, not all the machine has
    }
    acknowledged
}

/// Checks that Ann's log is written again, and what [`report_meanwhile`] has reported is known.
fn recovers(herd: &mut Herd) {
    wait_until("Ann says that the log is written again", || {
        said(herd, "written again") == 1
    });
    let at = herd.ask("Ann", "IAMAT afterwards +00+000 1");
    herd.wait_for_record("Ann", &format!(" {at}\n"));
    let meanwhile = (0..50).filter_map(|n| herd.at("Ann", &format!("meanwhile{n}")));
    let known: Vec<String> = meanwhile.chain([at]).collect();
    assert_eq!(known.len(), 51);
    herd.settled_log("Ann");
    check_records(&herd.log_path("Ann"), 0);
    held_after_a_kill(herd, &known);
}

#[test]
#[ignore = "needs root, to mount a tmpfs"]
fn a_full_disk_under_the_log_stops_nobody_and_is_said_once_each_time() {
    const DISK_BYTES: usize = 4 << 20;
    let mut herd = Herd::new(ALONE);
    let logs = herd.directory.path().join("logs");
    let _tmpfs = Tmpfs::mount(&logs, DISK_BYTES);
    let filler = logs.join("filler");
    herd.start("Ann");
    let mut known = Vec::new();
    for time in 1..=2 {
        let used = fs::metadata(herd.log_path("Ann")).map_or(0, |found| found.len());
        let left = DISK_BYTES - used as usize;
        fs::write(&filler, vec![0; left - (24 << 10)]).expect("there is room for it");
        known.extend(report_until_failing(
            &mut herd,
            &format!("before{time}-"),
            time,
        ));
        report_meanwhile(&mut herd, &format!("meanwhile{time}-"));
        let said_so = herd.process("Ann").said();
        assert_eq!(
            (
                said_so.matches("cannot write the log").count(),
                said_so.matches("written again").count()
            ),
            (time, time - 1),
            "each time once: {said_so}"
        );
        fs::remove_file(&filler).expect("it is there");
        wait_until("Ann says that the log is written again", || {
            said(&mut herd, "written again") == time
        });
        let at = herd.ask("Ann", &format!("IAMAT after{time} +00+000 1"));
        herd.wait_for_record("Ann", &format!(" {at}\n"));
        herd.settled_log("Ann");
        check_records(&herd.log_path("Ann"), time);
        known.push(at);
        let meanwhile = (0..50).map(|n| format!("meanwhile{time}-{n}"));
        known.extend(meanwhile.filter_map(|client| herd.at("Ann", &client)));
    }
    assert!(known.len() >= 120, "{} are known", known.len());
    held_after_a_kill(&mut herd, &known);
}

/// Clients are served meanwhile, and the operator is told once.
fn complains_once(herd: &mut Herd) {
    report_meanwhile(herd, "meanwhile");
    let said = herd.process("Ann").said();
    assert_eq!(said.matches("cannot").count(), 1, "once is enough: {said}");
}

#[test]
fn a_log_that_is_a_link_to_a_full_device_stops_nobody_and_a_better_one_is_taken() {
    let mut herd = Herd::new(ALONE);
    let logs = herd.directory.path().join("logs");
    fs::create_dir_all(&logs).expect("the directory is ours");
    symlink("/dev/full", herd.log_path("Ann")).expect("the directory is ours");
    herd.start("Ann");
    complains_once(&mut herd);
    fs::remove_file(herd.log_path("Ann")).expect("it is there");
    herd.process("Ann").signal(Signal::HUP);
    recovers(&mut herd);
}

#[test]
fn a_log_directory_that_cannot_be_had_at_the_start_is_used_when_it_can() {
    let mut herd = Herd::new(ALONE);
    let logs = herd.directory.path().join("logs");
    fs::write(&logs, "a file where a directory should be").expect("the directory is ours");
    herd.start("Ann");
    complains_once(&mut herd);
    fs::remove_file(&logs).expect("it is there");
    recovers(&mut herd);
}

#[test]
fn sighup_without_a_rename_changes_nothing() {
    let mut herd = Herd::started(ALONE);
    let at = herd.ask("Ann", "IAMAT kiwi +27.5916+086.5640 1");
    herd.wait_for_record("Ann", &format!(" {at}\n"));
    let before = herd.log("Ann");
    for round in 1..=3 {
        herd.process("Ann").signal(Signal::HUP);
        wait_until("the log says so", || {
            herd.log("Ann").matches("reopened").count() >= round
        });
        assert_eq!(herd.at("Ann", "kiwi").as_deref(), Some(at.as_str()));
    }
    let log = herd.log("Ann");
    assert!(log.starts_with(&before), "{before}\nbecame\n{log}");
    assert_eq!(
        log.matches(&format!(" > c1 {at}\n")).count(),
        1,
        "nothing is written again"
    );
    check_records(&herd.log_path("Ann"), 0);
    held_after_a_kill(&mut herd, &[at]);
}
