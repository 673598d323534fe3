//! The log from outside: it has what happens within a moment, and whatever is done to it, nothing waits
//! for it and nothing is lost by it.

mod support;
#[path = "support/wire.rs"]
mod wire;
#[path = "support/wired.rs"]
mod wired;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use support::{Herd, Tmpfs, text, wait_until};
use wired::{PAIR, link_records, report};

const ALONE: &[(&str, &[&str])] = &[("Ann", &[])];

const KIWI: &str = "IAMAT kiwi +27.5916+086.5640 1";

/// What is said when the log cannot be written, ...
const FAILING: &str = "cannot write the log ";

/// ... and when it can again.
const RECOVERED: &str = "is written again";

/// How many times Ann has said this.
fn said(herd: &mut Herd, words: &str) -> usize {
    herd.process("Ann").said().matches(words).count()
}

/// Ann alone, who is started with these arguments.
fn ann_with(arguments: &[&str]) -> Herd {
    let mut herd = Herd::new(ALONE);
    herd.start_arguing("Ann", arguments);
    herd
}

/// Reports a client to Ann, who must answer promptly. Gives the AT line.
fn ask_promptly(herd: &Herd, client: &str) -> String {
    let since = Instant::now();
    let at = herd.ask("Ann", &format!("IAMAT {client} +27.5916+086.5640 1"));
    let took = since.elapsed();
    assert!(at.starts_with("AT Ann "), "{client}: {at}");
    assert!(took < Duration::from_secs(2), "{client} waited {took:?}");
    at
}

/// The rotated file of this number.
fn rotated(herd: &Herd, number: u32) -> PathBuf {
    let log = herd.log_path("Ann");
    log.with_file_name(format!("Ann.log.{number}"))
}

// ---- when it is written

#[test]
fn what_has_happened_is_in_the_log_within_a_moment_though_nothing_more_happens() {
    let herd = ann_with(&[]);
    let mut client = herd.client("Ann");
    for number in 0..10 {
        client.say(&format!("IAMAT c{number} +00+000 1"));
        let at = client.line();
        let since = Instant::now();
        herd.wait_for_record("Ann", &format!(" > c1 {at}\n"));
        let took = since.elapsed();
        // A tenth of a second is promised on an idle machine.
        assert!(took < Duration::from_secs(3), "after {took:?}");
    }
}

#[test]
fn a_server_that_is_told_to_stop_leaves_a_whole_log() {
    let mut herd = ann_with(&[]);
    let line = |n| format!("IAMAT c{n} +00+000 1");
    let lines: Vec<_> = (0..2_000).map(line).collect();
    let replies = report(&herd, "Ann", &lines);
    herd.process("Ann").signal(Signal::TERM);
    assert!(herd.process("Ann").wait().success());
    let log = herd.log("Ann");
    for at in replies {
        assert!(log.contains(&format!(" {at}\n")), "no record of {at}");
    }
    assert!(log.ends_with(" * - stopped\n"), "{log:.2000}");
}

// ---- what is done to it

/// What may be done to a log at any time.
type Deed = (&'static str, fn(&Path));

const DEEDS: [Deed; 8] = [
    ("deleted", |log| {
        fs::remove_file(log).expect("it is there");
    }),
    ("moved", |log| {
        fs::rename(log, log.with_extension("moved")).expect("it is there");
    }),
    ("deleted with its directory", |log| {
        fs::remove_dir_all(log.parent().expect("a directory")).expect("it is there");
    }),
    ("emptied, as by copytruncate", |log| {
        File::options()
            .write(true)
            .truncate(true)
            .open(log)
            .expect("it is there");
    }),
    ("edited in place", |log| {
        let mut file = File::options().write(true).open(log).expect("it is there");
        file.write_all(b"AT Evil +0.000000000 kiwi +00+000 9\n\0\xff")
            .expect("it is ours");
    }),
    ("replaced by another, as by sed -i", |log| {
        let edited = text(log).replace("kiwi", "emu");
        let new = log.with_extension("new");
        fs::write(&new, edited).expect("the directory is ours");
        fs::rename(&new, log).expect("the directory is ours");
    }),
    ("joined with another", |log| {
        let twice = text(log).repeat(2);
        fs::write(log, twice).expect("it is ours");
    }),
    ("cut within a record", |log| {
        let file = File::options().write(true).open(log).expect("it is there");
        let bytes = file.metadata().expect("it is open").len();
        file.set_len(bytes - 7).expect("it is ours");
    }),
];

#[test]
fn whatever_is_done_to_the_log_it_goes_on_and_nothing_is_forgotten() {
    for (what, deed) in DEEDS {
        let mut herd = ann_with(&[]);
        let kiwi = ask_promptly(&herd, "kiwi");
        herd.wait_for_record("Ann", &format!(" {kiwi}\n"));
        deed(&herd.log_path("Ann"));
        // It may be some time before it is seen that another file is wanted.
        let mut number = 0;
        wait_until(&format!("it goes on, though {what}"), || {
            number += 1;
            let at = ask_promptly(&herd, &format!("c{number}"));
            thread::sleep(Duration::from_millis(150));
            herd.log("Ann").contains(&format!(" {at}\n"))
        });
        assert_eq!(said(&mut herd, "cannot"), 0, "{what}");
        herd.kill("Ann");
        deed(&herd.log_path("Ann"));
        herd.start("Ann");
        assert_eq!(herd.at("Ann", "kiwi").as_ref(), Some(&kiwi), "{what}");
        let last = format!("c{number}");
        assert!(herd.at("Ann", &last).is_some(), "{what}: {last}");
        let at = ask_promptly(&herd, "afterwards");
        herd.wait_for_record("Ann", &format!(" {at}\n"));
    }
}

#[test]
#[ignore = "needs root, to mount a tmpfs"]
fn a_log_that_may_not_be_written_is_said_once_and_written_when_it_may() {
    let mut herd = Herd::new(ALONE);
    let logs = herd.directory.path().join("logs");
    let tmpfs = Tmpfs::mount(&logs, 64 << 20);
    tmpfs.remount("ro");
    herd.start("Ann");
    let mut known = Vec::new();
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(2_200) {
        known.push(ask_promptly(&herd, &format!("c{}", known.len())));
        thread::sleep(Duration::from_millis(5)); // a steady load, not all the machine has
    }
    assert_eq!(said(&mut herd, FAILING), 1, "once is enough");
    tmpfs.remount("rw");
    wait_until("it is written", || said(&mut herd, RECOVERED) == 1);
    // What was logged meanwhile has waited in memory.
    herd.settled_log("Ann");
    let log = herd.log("Ann");
    for at in &known {
        assert!(log.contains(&format!(" {at}\n")), "no record of {at}");
    }
    herd.kill("Ann");
    herd.start("Ann");
    for (number, at) in known.iter().enumerate().step_by(50) {
        assert_eq!(herd.at("Ann", &format!("c{number}")).as_ref(), Some(at));
    }
}

#[test]
fn a_log_whose_writing_hangs_holds_up_nobody() {
    // More than wait in memory for the disk, which is 32 MiB.
    const RECORDS_BYTES: usize = 40 << 20;
    let mut herd = Herd::new(ALONE);
    let log = herd.log_path("Ann");
    fs::create_dir_all(log.parent().expect("a directory")).expect("the directory is ours");
    mknodat(CWD, &log, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    // Somebody has opened it, and reads nothing.
    let pipe = File::options().read(true).write(true).open(&log);
    let pipe = pipe.expect("it is ours");
    herd.start("Ann");
    let mut client = herd.client("Ann");
    let line = format!("WHERE {}", "x".repeat(4_000));
    for _ in 0..RECORDS_BYTES / (2 * line.len()) {
        let since = Instant::now();
        client.say(&line);
        assert_eq!(client.line().len(), line.len() + 2);
        let took = since.elapsed();
        assert!(took < Duration::from_secs(2), "a reply waited {took:?}");
    }
    let kiwi = ask_promptly(&herd, "kiwi");
    wait_until("it says so", || {
        said(&mut herd, ": the disk is too slow. Still serving") == 1
    });
    // It ends all the same.
    herd.process("Ann").signal(Signal::TERM);
    assert!(herd.process("Ann").wait().success());
    assert_eq!(said(&mut herd, "lacks what was recorded last"), 1);
    drop(pipe);
    fs::remove_file(&log).expect("it is ours");
    herd.start("Ann");
    assert_eq!(herd.at("Ann", "kiwi"), Some(kiwi));
}

// ---- what goes into it

#[test]
fn a_log_of_links_leaves_out_the_lines_of_clients_and_nothing_else() {
    let mut herd = Herd::new(PAIR);
    herd.arguments = ["--log", "links"].map(str::to_owned).to_vec();
    herd.start_all();
    let mut client = herd.client("Ann");
    client.say(KIWI);
    let at = client.line();
    client.say("no command");
    client.line();
    client.say(&"long".repeat(20_000));
    client.line();
    client.end();
    client.expect_end();
    herd.wait_for_at("Bob", "kiwi", &at);
    wait_until("Ann's log has all that Bob is told", || {
        link_records(&herd.log("Ann"), '>', "Bob").contains(&at.as_str())
    });
    herd.wait_for_record("Ann", " - c");
    herd.process("Ann").signal(Signal::TERM);
    assert!(herd.process("Ann").wait().success());
    let log = herd.log("Ann");
    for words in [" + c", " - c", ":Bob HELLO ", " + s", " * - stopped"] {
        assert!(log.contains(words), "no {words}: {log}");
    }
    for words in [" < c", " > c", KIWI, "longlong"] {
        assert!(!log.contains(words), "{words}: {log}");
    }
    wait_until("Bob heard it", || {
        link_records(&herd.log("Bob"), '<', "Ann").contains(&at.as_str())
    });
}

#[test]
fn a_log_that_is_off_is_not_there_and_nothing_is_forgotten() {
    let mut herd = ann_with(&["--log", "off"]);
    let at = ask_promptly(&herd, "kiwi");
    herd.process("Ann").signal(Signal::HUP);
    ask_promptly(&herd, "emu");
    herd.process("Ann").signal(Signal::TERM);
    assert!(herd.process("Ann").wait().success());
    let logs = herd.directory.path().join("logs");
    assert!(!logs.exists(), "no file, and no directory");
    herd.start_arguing("Ann", &["--log", "off"]);
    assert_eq!(herd.at("Ann", "kiwi"), Some(at));
}

// ---- rotation

#[test]
fn a_log_is_rotated_before_it_is_too_long_and_so_many_are_kept() {
    const MAX_BYTES: u64 = 20 << 10;
    let herd = ann_with(&["--log-max-bytes", "20K", "--log-keep", "2"]);
    let mut sent = 0;
    let mut client = herd.client("Ann");
    // As long as it takes for the first records to have gone.
    wait_until("five were rotated", || {
        for _ in 0..500 {
            sent += 1;
            client.say(&format!("IAMAT c{sent} +27.5916+086.5640 1"));
            client.line();
        }
        sent >= 2_500 && !text(&rotated(&herd, 2)).contains(" IAMAT c1 ")
    });
    herd.settled_log("Ann");
    let logs = herd.log_path("Ann");
    let directory = fs::read_dir(logs.parent().expect("a directory")).expect("it is there");
    let mut names: Vec<_> = directory
        .map(|entry| entry.expect("it can be read").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["Ann.log", "Ann.log.1", "Ann.log.2"]);
    let files = [rotated(&herd, 2), rotated(&herd, 1), logs].map(|path| text(&path));
    for log in &files {
        assert!(log.len() as u64 <= MAX_BYTES, "{} bytes", log.len());
        assert!(log.ends_with('\n'), "whole records");
    }
    // The newest have been kept, in order, and none is missing.
    let all = files.concat();
    let asked = all
        .lines()
        .filter_map(|line| line.split_once(" < c1 IAMAT c"));
    let numbers = asked.filter_map(|(_, rest)| rest.split(' ').next()?.parse::<u32>().ok());
    let numbers: Vec<_> = numbers.collect();
    let want: Vec<_> = (sent + 1 - numbers.len() as u32..=sent).collect();
    assert!(numbers.len() > 100, "{} are kept", numbers.len());
    assert_eq!(numbers, want);
}

#[test]
fn a_log_that_goes_on_in_another_file_begins_with_who_is_connected() {
    let herd = ann_with(&["--log-max-bytes", "64K"]);
    let mut clients: Vec<_> = (0..40).map(|_| herd.client("Ann")).collect();
    for client in &mut clients {
        client.say("IAMAT kiwi +00+000 1");
        client.line();
    }
    let connected = " connected from 127.0.0.1:";
    assert!(
        !herd.settled_log("Ann").contains(connected),
        "the first has it"
    );
    let busy = clients.last_mut().expect("there are forty");
    while !rotated(&herd, 1).exists() {
        busy.say("IAMAT lime +00+000 1");
        busy.line();
    }
    herd.wait_for_record("Ann", " more are connected\n");
    let log = herd.log("Ann");
    let named = log.lines().filter(|line| line.contains(connected));
    let named: Vec<_> = named.collect();
    // Some 32 have room in a sixteenth of the file, by how long their ports are. The one that floods us is named
    // first.
    assert!((30..36).contains(&named.len()), "{named:?}");
    let more = format!(" * - {} more are connected\n", 40 - named.len());
    assert!(log.contains(&more), "{named:?}");
    assert!(named[0].contains(" * c40 connected"), "{}", named[0]);
}

#[test]
fn none_may_be_kept() {
    let herd = ann_with(&["--log-max-bytes", "20K", "--log-keep", "0"]);
    let lines: Vec<_> = (0..1_000)
        .map(|n| format!("IAMAT c{n} +00+000 1"))
        .collect();
    report(&herd, "Ann", &lines);
    herd.settled_log("Ann");
    assert!(!rotated(&herd, 1).exists());
    assert!(herd.log("Ann").len() <= 20 << 10);
}

#[test]
fn after_a_rename_and_sighup_a_new_log_goes_on_where_the_old_one_ends() {
    let mut herd = ann_with(&[]);
    let mut client = herd.client("Ann");
    let log = herd.log_path("Ann");
    let mut all = Vec::new();
    for round in 1..=3 {
        client.say(&format!("IAMAT before{round} +00+000 1"));
        all.push(client.line());
        herd.wait_for_record("Ann", &format!(" {}\n", all[all.len() - 1]));
        let moved = log.with_extension(format!("moved{round}"));
        fs::rename(&log, &moved).expect("it is there");
        herd.process("Ann").signal(Signal::HUP);
        wait_until("there is another", || {
            text(&log).contains(" * - the log was reopened\n")
        });
        client.say(&format!("IAMAT after{round} +00+000 1"));
        all.push(client.line());
        herd.wait_for_record("Ann", &format!(" {}\n", all[all.len() - 1]));
    }
    let files = (1..=3).map(|round| text(&log.with_extension(format!("moved{round}"))));
    let files: String = files.chain([text(&log)]).collect();
    for at in &all {
        let records = files.matches(&format!(" > c1 {at}\n")).count();
        assert_eq!(records, 1, "{at}");
    }
}

#[test]
fn lines_on_standard_error_have_the_time_unless_systemd_notes_it() {
    let mut herd = Herd::new(ALONE);
    let stderr = herd.directory.path().join("Ann.err");
    for is_journal in [false, true] {
        let mut command = herd.command("Ann");
        // The file is made by whoever starts the process: its inode stays.
        fs::write(&stderr, "").expect("the directory is ours");
        let about = fs::metadata(&stderr).expect("it is there");
        let inode = about.ino() + u64::from(!is_journal);
        command.env("JOURNAL_STREAM", format!("{}:{inode}", about.dev()));
        herd.start_with("Ann", command);
        herd.ask("Ann", "IAMAT kiwi +00+000 1");
        herd.kill("Ann");
        let said = fs::read_to_string(&stderr).expect("it is text");
        assert!(!said.is_empty());
        for line in said.lines() {
            let (first, rest) = line.split_once(' ').expect("two words");
            match is_journal {
                true => assert_eq!(first, "Ann:", "{line}"),
                false => assert!(
                    support::is_time(first) && rest.starts_with("Ann: "),
                    "{line}"
                ),
            }
        }
    }
}
