//! A disk that is full.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::Instant;

use rustix::process::Signal;

use crate::support::{Herd, PATIENCE, Tmpfs, limited, wait_until};
use crate::wired::{PAIR, link_records, report};
use crate::{ALONE, FAILING, KIWI, RESTORED, assert_known, report_meanwhile, said};

/// Fills the disk until not a byte more can be written.
fn fill(filler: &Path) {
    let mut file = File::create(filler).expect("there is room for a name");
    let mut bytes = &[0; 65_536][..];
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                bytes = &bytes[..bytes.len() / 2]
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
#[ignore = "needs root, to mount a tmpfs"]
fn a_full_disk_stops_nobody_is_said_once_and_when_there_is_room_all_is_written() {
    let mut herd = Herd::new(ALONE);
    let data = herd.data_dir.clone();
    let _tmpfs = Tmpfs::mount(&data, 1 << 20);
    let filler = data.join("filler");
    herd.start("Ann");
    let mut known = vec![herd.ask("Ann", KIWI)];
    for time in 1..=2 {
        fill(&filler);
        let mut client = herd.client("Ann");
        let until = Instant::now() + PATIENCE;
        while said(&mut herd, "Ann", FAILING) < time {
            assert!(Instant::now() < until, "the journal never fails");
            client.say(&format!(
                "IAMAT before{time}-{} +27.5916+086.5640 1",
                known.len()
            ));
            known.push(client.line());
        }
        known.extend(report_meanwhile(&herd, &format!("meanwhile{time}-")));
        let counts = [FAILING, RESTORED].map(|words| said(&mut herd, "Ann", words));
        assert_eq!(counts, [time, time - 1], "each time once");
        fs::remove_file(&filler).expect("it is there");
        wait_until("it is written again", || {
            said(&mut herd, "Ann", RESTORED) == time
        });
        known.push(herd.ask("Ann", &format!("IAMAT after{time} +00+000 1")));
    }
    herd.kill("Ann");
    herd.start("Ann");
    let said = herd.process("Ann").said();
    let usual = ["clients on ", "keeps clients' locations in ", "ready: "];
    let is_usual = |line: &str| usual.iter().any(|words| line.contains(words));
    assert!(said.lines().all(is_usual), "nothing is wrong: {said}");
    assert_known(&herd, "Ann", &known);
}

#[test]
#[ignore = "needs root, to mount a tmpfs"]
fn a_stop_while_the_disk_is_full_says_what_is_lost_and_a_start_serves_what_is_not() {
    let mut herd = Herd::new(ALONE);
    let data = herd.data_dir.clone();
    let _tmpfs = Tmpfs::mount(&data, 1 << 20);
    let filler = data.join("filler");
    herd.start("Ann");
    let at = herd.ask("Ann", KIWI);
    fill(&filler);
    let mut count = 0;
    wait_until("it fails", || {
        count += 1;
        herd.ask("Ann", &format!("IAMAT lost{count} +00+000 1"));
        said(&mut herd, "Ann", FAILING) == 1
    });
    herd.process("Ann").signal(Signal::TERM);
    assert_eq!(herd.process("Ann").wait().code(), Some(1));
    assert_eq!(said(&mut herd, "Ann", "could not be written to the end"), 1);
    for signal in [Signal::KILL, Signal::TERM] {
        herd.start("Ann");
        assert_known(&herd, "Ann", std::slice::from_ref(&at));
        wait_until("it says so", || said(&mut herd, "Ann", FAILING) == 1);
        herd.ask("Ann", "IAMAT lost +00+000 1");
        herd.process("Ann").signal(signal);
        let status = herd.process("Ann").wait();
        assert_eq!(status.code(), (signal == Signal::TERM).then_some(1));
    }
    fs::remove_file(&filler).expect("it is there");
    herd.start("Ann");
    let late = herd.ask("Ann", "IAMAT late +00+000 1");
    herd.process("Ann").signal(Signal::TERM);
    assert_eq!(herd.process("Ann").wait().code(), Some(0));
    herd.start("Ann");
    assert_known(&herd, "Ann", &[at, late]);
}

#[test]
#[ignore = "needs root, to mount a tmpfs"]
fn what_a_full_disk_could_not_take_a_neighbour_gives_back() {
    let mut herd = Herd::new(PAIR);
    let folder = herd.journal_path("Ann");
    let _tmpfs = Tmpfs::mount(&folder, 1 << 20);
    let filler = folder.join("filler");
    herd.start_all();
    let mut known = vec![
        herd.ask("Ann", KIWI),
        herd.ask("Bob", "IAMAT emu +00+000 1"),
    ];
    fill(&filler);
    let mut client = herd.client("Ann");
    let until = Instant::now() + PATIENCE;
    while said(&mut herd, "Ann", FAILING) == 0 {
        assert!(Instant::now() < until, "the journal never fails");
        client.say(&format!("IAMAT c{} +27.5916+086.5640 1", known.len()));
        known.push(client.line());
    }
    known.push(herd.ask("Bob", "IAMAT moa +00+000 1"));
    herd.wait_for_all(&["Ann", "Bob"], &known);
    wait_until("Bob has marked it, and Ann heard that", || {
        let records = herd.log("Ann");
        let heard = link_records(&records, '<', "Bob").pop();
        heard.is_some_and(|line| line.starts_with("MARK "))
    });
    for has_room in [false, true] {
        herd.kill("Ann");
        if has_room {
            fs::remove_file(&filler).expect("it is there");
        }
        herd.start("Ann");
        herd.wait_for_all(&["Ann"], &known);
    }
}

#[test]
fn a_limit_on_the_size_of_files_stops_nobody_and_loses_nothing() {
    let mut herd = Herd::new(ALONE);
    // Blocks of 512 bytes, or of 1024: less than the updates take, more than the clients do.
    let command = limited(&herd.command("Ann"), "ulimit -f 64");
    herd.start_with("Ann", command);
    let mut known = Vec::new();
    let mut time = 0;
    let until = Instant::now() + PATIENCE;
    while said(&mut herd, "Ann", FAILING) < 2 {
        assert!(Instant::now() < until, "the journal never fails");
        time += 1;
        let lines = (0..50).map(|n| format!("IAMAT c{n} +27.5916+086.5640 {time}"));
        known = report(&herd, "Ann", &lines.collect::<Vec<_>>());
    }
    wait_until("it is written again", || {
        said(&mut herd, "Ann", RESTORED) == said(&mut herd, "Ann", FAILING)
    });
    herd.kill("Ann");
    herd.start("Ann");
    assert_known(&herd, "Ann", &known);
}
