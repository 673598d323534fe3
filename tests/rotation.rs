//! Logs that may run for years: the built program replaces them by size, loses nothing whenever it
//! is killed, and a restart from a replaced log still costs only what changed.

mod support;
#[path = "support/wire.rs"]
mod wire;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use support::{Herd, PATIENCE, Process, client_of, wait_until};
use wire::FakeNeighbour;

const ALONE: &[(&str, &[&str])] = &[("Ann", &[])];
const PAIR: &[(&str, &[&str])] = &[("Ann", &["Bob"]), ("Bob", &[])];

fn said(herd: &mut Herd, what: &str) -> usize {
    herd.process("Ann").said().matches(what).count()
}

/// The files of Ann's log that there are, besides the log itself.
fn others(herd: &Herd) -> Vec<String> {
    let directory = herd.directory.path().join("logs");
    let found = fs::read_dir(directory).expect("there are logs").flatten();
    let names = found.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("Ann.log.")).collect();
    names.sort();
    names
}

/// Reports `clients` clients at `time` to Ann, many at once, and gives what was acknowledged.
fn report(herd: &Herd, clients: std::ops::Range<usize>, time: u64) -> Vec<String> {
    let mut client = herd.client("Ann");
    let numbers: Vec<_> = clients.collect();
    let mut acknowledged = Vec::new();
    for some in numbers.chunks(200) {
        let line = |n: &usize| format!("IAMAT client{n} +27.5916+086.5640 {time}\n");
        client.send(some.iter().map(line).collect::<String>().as_bytes());
        acknowledged.extend(some.iter().map(|_| client.line()));
    }
    acknowledged
}

/// Asserts that `name` holds every one of these AT lines, which are of clients of their own.
fn held(herd: &Herd, name: &str, lines: &[String]) {
    let mut client = herd.client(name);
    for line in lines {
        let about = client_of(line);
        client.say(&format!("WHATSAT {about} 1 0"));
        assert_eq!(client.line(), *line, "{name}");
        client.line(); // the tweets
    }
}

#[test]
fn a_log_is_replaced_by_size_and_so_many_are_kept() {
    let mut herd = Herd::new(ALONE);
    let arguments = ["--log-max-bytes", "200K", "--log-keep", "2"];
    herd.start_arguing("Ann", &arguments);
    let mut last = Vec::new();
    let mut time = 0;
    wait_until("it was replaced five times", || {
        time += 1;
        last = report(&herd, 0..500, time);
        said(&mut herd, "the log was rotated") >= 5
    });
    // While it is replaced, which may wait for a disk, it grows; then it is small again.
    wait_until("it is no longer than it may be", || {
        time += 1;
        last[..1].clone_from_slice(&report(&herd, 0..1, time));
        let log = fs::metadata(herd.log_path("Ann")).expect("it is there");
        log.len() < 250_000
    });
    wait_until("no rotation is under way", || {
        others(&herd) == ["Ann.log.1", "Ann.log.2"]
    });
    // The log alone is enough.
    herd.kill("Ann");
    for other in others(&herd) {
        fs::remove_file(herd.directory.path().join("logs").join(other)).expect("it is there");
    }
    herd.start_arguing("Ann", &arguments);
    held(&herd, "Ann", &last);
}

#[test]
fn no_log_need_be_kept() {
    let mut herd = Herd::new(ALONE);
    herd.start_arguing("Ann", &["--log-max-bytes", "100K", "--log-keep", "0"]);
    let mut last = Vec::new();
    let mut time = 0;
    wait_until("it was replaced three times", || {
        time += 1;
        last = report(&herd, 0..200, time);
        said(&mut herd, "the log was rotated") >= 3
    });
    herd.kill("Ann");
    assert!(
        others(&herd).iter().all(|name| name == "Ann.log.new"),
        "{:?}",
        others(&herd)
    );
    herd.start("Ann");
    held(&herd, "Ann", &last);
}

#[test]
fn what_cannot_be_a_size_is_refused_in_a_word() {
    let herd = Herd::new(ALONE);
    for (arguments, wanted) in [
        (["--log-max-bytes", "much"], "not a number of bytes"),
        (["--log-max-bytes", "-1"], "not a number of bytes"),
        (["--log-max-bytes", "10t"], "not a number of bytes"),
        (["--log-max-bytes", "99999999999G"], "not a number of bytes"),
        (["--log-keep", "x"], "a whole number is wanted"),
        (["--twitter-cache", "5s"], "seconds are wanted"),
        (["--twitter-cache", "86401"], "up to 86400"),
        (["--fsync", "sometimes"], "always"),
    ] {
        let output = herd.command("Ann").args(arguments).output();
        let output = output.expect("the program can be started");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(arguments[1]), "{arguments:?}: {stderr}");
        assert!(stderr.contains(wanted), "{arguments:?}: {stderr}");
    }
}

/// Reports without end until `stop`; gives the last time that was acknowledged for each client.
fn report_until(stop: &AtomicBool, stream: TcpStream, writer: usize, from: u64) -> u64 {
    let mut lines = BufReader::new(stream.try_clone().expect("it is a socket"));
    let mut stream = stream;
    let mut time = from;
    while !stop.load(Ordering::Relaxed) {
        let line = |n| format!("IAMAT w{writer}c{n} +27.5916+086.5640 {}\n", time + 1);
        let batch: String = (0..50).map(line).collect();
        if stream.write_all(batch.as_bytes()).is_err() {
            break;
        }
        for _ in 0..50 {
            let mut reply = String::new();
            match lines.read_line(&mut reply) {
                Ok(n) if n > 0 && reply.ends_with('\n') => assert!(reply.starts_with("AT ")),
                _ => return time, // the batch was not acknowledged whole
            }
        }
        time += 1;
    }
    time
}

/// Whatever a rotation is just doing when `kill -9` comes.
#[test]
fn kill_9_at_random_moments_of_many_rotations_loses_nothing() {
    let mut herd = Herd::new(ALONE);
    let arguments = ["--log-max-bytes", "20K", "--log-keep", "2"];
    let mut acknowledged = [0_u64; 3];
    let mut rotations = 0;
    for round in 0..25_u64 {
        herd.start_arguing("Ann", &arguments);
        for (writer, time) in acknowledged
            .iter()
            .enumerate()
            .filter(|(_, time)| **time > 0)
        {
            for n in 0..50 {
                let at = herd.at("Ann", &format!("w{writer}c{n}"));
                let at = at.unwrap_or_else(|| panic!("round {round}: w{writer}c{n} is lost"));
                let known: u64 = at
                    .rsplit(' ')
                    .next()
                    .and_then(|t| t.parse().ok())
                    .expect("a time");
                assert!(
                    known >= *time,
                    "round {round}: {at}, but {time} was acknowledged"
                );
            }
        }
        let stop = AtomicBool::new(false);
        let address = herd.member("Ann").clients;
        thread::scope(|scope| {
            let writers: Vec<_> = acknowledged
                .iter()
                .enumerate()
                .map(|(writer, &from)| {
                    let stream = TcpStream::connect(address).expect("somebody listens there");
                    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
                    let stop = &stop;
                    scope.spawn(move || report_until(stop, stream, writer, from))
                })
                .collect();
            // At least one rotation, then a moment that is another each round.
            wait_until("the log is rotated", || {
                said(&mut herd, "the log was rotated") > 0
            });
            thread::sleep(Duration::from_micros(round * 937 % 9_000));
            rotations += said(&mut herd, "the log was rotated");
            herd.kill("Ann");
            stop.store(true, Ordering::Relaxed);
            for (writer, thread) in writers.into_iter().enumerate() {
                acknowledged[writer] = thread.join().expect("no reply was wrong");
            }
        });
    }
    println!("{rotations} rotations, acknowledged up to {acknowledged:?}");
}

#[test]
fn after_a_rename_a_kill_before_or_after_sighup_loses_nothing() {
    let mut herd = Herd::new(ALONE);
    let moved = herd.directory.path().join("logs/Ann.log.1");
    herd.start("Ann");
    let mut all = report(&herd, 0..2_000, 1);
    for (round, sighup) in [(1, false), (2, true), (3, false), (4, true)] {
        fs::rename(herd.log_path("Ann"), &moved).expect("it is there");
        all.extend(report(&herd, round * 10_000..round * 10_000 + 10, 1));
        if sighup {
            herd.process("Ann").signal(Signal::HUP);
        }
        all.extend(report(&herd, round * 10_000 + 10..round * 10_000 + 20, 1));
        herd.kill("Ann");
        herd.start("Ann");
        held(&herd, "Ann", &all);
        wait_until("the log is complete", || {
            herd.log("Ann").contains("checkpoint, incarnation")
        });
    }
}

/// Ann, who listens already and still reads a log of many clients; the line of the last of them.
fn reading_a_long_log(herd: &Herd) -> (Process, String) {
    let at = |n| format!("AT Ann +1.000000000 client{n} +27.5916+086.5640 1353118103");
    let record = |n| format!("2012-11-17T02:08:23.672266766Z > c7 {}\n", at(n));
    let path = herd.log_path("Ann");
    fs::create_dir_all(path.parent().expect("it is in logs/")).expect("the directory is ours");
    let log: String = (0..500_000).map(record).collect();
    fs::write(path, log).expect("the directory is ours");
    let mut process = Process::start(herd.command("Ann"), herd.directory.path().join("Ann.err"));
    wait_until("Ann listens", || {
        assert!(process.is_running(), "it ended: {}", process.said());
        TcpStream::connect(herd.member("Ann").clients).is_ok()
    });
    (process, at(499_999))
}

#[test]
fn sighup_while_the_log_is_read_ends_nobody() {
    let herd = Herd::new(ALONE);
    let (process, last) = reading_a_long_log(&herd);
    process.signal(Signal::HUP);
    assert!(!process.said().contains("clients on"), "it was too fast");
    assert_eq!(herd.at("Ann", "client499999"), Some(last));
}

#[test]
fn sigterm_while_the_log_is_read_ends_well_and_at_once() {
    let herd = Herd::new(ALONE);
    let (mut process, _) = reading_a_long_log(&herd);
    process.signal(Signal::TERM);
    let status = process.wait();
    assert!(status.success(), "{status}");
    assert!(!process.said().contains("clients on"), "{}", process.said());
}

/// Lines of a kind in a log's text that went to or came from Bob.
fn exchanged(log: &str, direction: &str) -> usize {
    let of = |line: &&str| line.contains(&format!(" {direction} s")) && line.contains(":Bob AT ");
    log.lines().filter(of).count()
}

#[test]
fn a_restart_after_a_rotation_costs_what_changed_in_both_directions() {
    let mut herd = Herd::new(PAIR);
    let arguments = ["--log-max-bytes", "150k"];
    herd.start_arguing("Ann", &arguments);
    herd.start("Bob");
    herd.wait_for_link("Ann", "Bob");
    let mut time = 0;
    while said(&mut herd, "the log was rotated") < 2 {
        time += 1;
        report(&herd, 0..500, time);
    }
    let last = herd.at("Ann", "client499").expect("it was reported");
    herd.wait_for_at("Bob", "client499", &last);
    let of_bob = herd.ask("Bob", "IAMAT of-bob +00+000 1");
    herd.wait_for_at("Ann", "of-bob", &of_bob);
    // Both sides say their marks within a second.
    wait_until("Ann has Bob's mark, and Bob Ann's", || {
        let at_rest = |log: &str, neighbour: &str| {
            let end = log.rfind(" AT ").unwrap_or(0);
            let mark = format!(":{neighbour} MARK ");
            let heard = |line: &str| line.contains(" < s") && line.contains(&mark);
            log[end..].lines().any(heard)
        };
        at_rest(&herd.log("Ann"), "Bob") && at_rest(&herd.log("Bob"), "Ann")
    });
    herd.kill("Ann");
    let missed = herd.ask("Bob", "IAMAT missed +00+000 1");
    let before = herd.log("Ann").len();
    herd.start_arguing("Ann", &arguments);
    herd.wait_for_link("Ann", "Bob");
    herd.wait_for_at("Ann", "missed", &missed);
    let own = herd.ask("Ann", "IAMAT own +00+000 1");
    herd.wait_for_at("Bob", "own", &own);
    let log = herd.log("Ann");
    let since = &log[before..];
    let (sent, heard) = (exchanged(since, ">"), exchanged(since, "<"));
    assert!(
        sent <= 3 && heard <= 3,
        "sent {sent}, heard {heard}:\n{since}"
    );
}

#[test]
fn each_way_to_sync_serves_and_survives() {
    for fsync in ["always", "second", "never"] {
        let mut herd = Herd::new(ALONE);
        let arguments = ["--fsync", fsync, "--log-max-bytes", "50K"];
        herd.start_arguing("Ann", &arguments);
        let mut time = 0;
        let mut last = Vec::new();
        while said(&mut herd, "the log was rotated") < 2 {
            time += 1;
            last = report(&herd, 0..100, time);
        }
        herd.process("Ann").signal(Signal::TERM);
        assert!(herd.process("Ann").wait().success(), "{fsync}");
        herd.start_arguing("Ann", &arguments);
        held(&herd, "Ann", &last);
        assert_eq!(said(&mut herd, "cannot"), 0, "{fsync}");
    }
}

/// A log that begins with a checkpoint, and goes on with a life that heard Bob's feed up to 9. Its
/// `= ` records give numbers, so in what is left of it the numbers are right.
const CHECKPOINT: &str = "\
2026-01-01T00:00:00.000000000Z * - checkpoint of 2 records begins
2026-01-01T00:00:00.000000000Z = #1 AT Ann +0.000000000 emu +00+000 1
2026-01-01T00:00:00.000000000Z = #2 AT Ann +0.000000000 kiwi +00+000 1
2026-01-01T00:00:00.000000000Z * - checkpoint, incarnation 00000000000000aa at 2, 2 records
2026-01-01T00:00:00.000000000Z * - neighbour Bob, incarnation 0000000000000b0b, known 0000000000000b0b 7
2026-01-01T00:00:00.000000000Z * - started, incarnation 00000000000000ab at 2, 2 clients known
2026-01-01T00:00:00.000000000Z < s1:Bob HELLO herd/1 Bob Ann 0000000000000b0b 1 - 0
2026-01-01T00:00:00.000000000Z < s1:Bob MARK 9
";

#[test]
fn what_is_left_of_a_checkpoint_vouches_for_no_mark() {
    for cut in 0..=CHECKPOINT.lines().count() {
        let herd = &mut Herd::new(PAIR);
        let left: String = CHECKPOINT.split_inclusive('\n').skip(cut).collect();
        let log = herd.log_path("Ann");
        fs::create_dir_all(log.parent().expect("it is in a directory")).expect("it is ours");
        fs::write(log, left).expect("it is ours");
        herd.start("Ann");
        let known = Some(("00000000000000ab", 2));
        let servers = herd.member("Ann").servers;
        let (mut bob, hello) =
            FakeNeighbour::introduced(servers, ("Bob", "Ann"), 0xb0b, 1_000, known);
        // Without the note that it begins, but all its records, it is whole.
        let (claim, first) = match cut {
            0 | 1 => ("0000000000000b0b 9", None),
            2 => ("- 0", Some("AT Ann +0.000000000 kiwi +00+000 1")),
            _ => ("- 0", None),
        };
        let line = &hello.line;
        assert!(
            line.ends_with(&format!(" {claim}")),
            "without {cut}: {line}"
        );
        herd.ask("Ann", "IAMAT moa +00+000 2");
        let news = bob.news();
        match first {
            Some(first) => assert_eq!(news, first, "without {cut}: Ann knows no mark of hers"),
            None => assert!(news.contains(" moa "), "without {cut}: {news}"),
        }
    }
}

/// Whoever is not the super-user, and owns nothing.
const NOBODY: u32 = 65_534;

/// Lets everybody do to the file what `mode` says.
fn permit(path: &Path, mode: u32) {
    let permissions = fs::Permissions::from_mode(mode);
    fs::set_permissions(path, permissions).expect("it is ours");
}

/// Ann's command, run by somebody who may do no more than the modes of files say.
fn unprivileged(herd: &Herd) -> Command {
    let home = herd.directory.path();
    permit(home, 0o755);
    permit(&herd.topology(), 0o444);
    let command = herd.command("Ann");
    if fs::metadata(home).expect("it is there").uid() != 0 {
        return command;
    }
    // For the super-user there is nothing that may only be read. Nobody may not be allowed to go
    // where the program is.
    let program = home.join("herd");
    // Not by us: what another test starts meanwhile would have the copy open for writing too, and a file
    // that is written to cannot be executed.
    let copied = Command::new("cp")
        .arg(command.get_program())
        .arg(&program)
        .status();
    assert!(copied.is_ok_and(|status| status.success()), "there is room");
    permit(&program, 0o755);
    let mut unprivileged = Command::new(program);
    unprivileged.args(command.get_args()).uid(NOBODY);
    unprivileged
}

#[test]
fn a_log_that_may_only_be_read_is_known_and_written_again_when_it_may_be() {
    let mut herd = Herd::started(ALONE);
    let mut acknowledged = report(&herd, 0..100, 1);
    herd.kill("Ann");
    let log = herd.log_path("Ann");
    let logs = log.parent().expect("it is in a directory").to_owned();
    permit(&logs, 0o555);
    permit(&log, 0o444);
    let command = unprivileged(&herd);
    herd.start_with("Ann", command);
    assert_eq!(said(&mut herd, "100 clients are known from it"), 1);
    held(&herd, "Ann", &acknowledged);
    acknowledged.extend(report(&herd, 100..110, 1));
    permit(&logs, 0o777);
    permit(&log, 0o666);
    wait_until("the log is complete", || {
        said(&mut herd, "the log holds all 110 clients") == 1
    });
    herd.kill("Ann");
    herd.start("Ann");
    held(&herd, "Ann", &acknowledged);
}

/// As after a logrotate that ran as the super-user, and whose `create` did too.
#[test]
fn of_a_log_that_was_moved_away_nothing_is_lost_whatever_may_be_written() {
    const READ: u32 = 0o444;
    const WRITE: u32 = 0o666;
    for (moved_away, empty) in [
        (READ, None),
        (READ, Some(READ)),
        (READ, Some(WRITE)),
        (WRITE, Some(READ)),
    ] {
        let mut herd = Herd::started(ALONE);
        let mut acknowledged = report(&herd, 0..100, 1);
        herd.kill("Ann");
        let log = herd.log_path("Ann");
        let moved = log.with_extension("log.1");
        fs::rename(&log, &moved).expect("it is there");
        permit(&moved, moved_away);
        if let Some(mode) = empty {
            fs::write(&log, "").expect("it is ours");
            permit(&log, mode);
        }
        permit(log.parent().expect("it is in a directory"), 0o777);
        let command = unprivileged(&herd);
        herd.start_with("Ann", command);
        held(&herd, "Ann", &acknowledged);
        let named = said(&mut herd, "logs/Ann.log.1: Permission denied");
        assert_eq!(named, usize::from(moved_away == READ), "{empty:?}");
        acknowledged.extend(report(&herd, 100..110, 1));
        wait_until("the log is complete", || {
            said(&mut herd, "the log holds all 1") == 1
        });
        herd.kill("Ann");
        let command = unprivileged(&herd);
        herd.start_with("Ann", command);
        held(&herd, "Ann", &acknowledged);
    }
}

/// It is told of, and left alone; what comes after it needs a log all the same.
#[test]
fn a_log_that_was_moved_away_and_cannot_be_read_keeps_nobody_from_having_another() {
    let mut herd = Herd::started(ALONE);
    report(&herd, 0..100, 1);
    herd.kill("Ann");
    let log = herd.log_path("Ann");
    let moved = log.with_extension("log.1");
    fs::rename(&log, &moved).expect("it is there");
    permit(&moved, 0);
    permit(log.parent().expect("it is in a directory"), 0o777);
    let command = unprivileged(&herd);
    herd.start_with("Ann", command);
    let words = "0 clients are known from it";
    assert_eq!(said(&mut herd, words), 1);
    assert_eq!(said(&mut herd, "logs/Ann.log.1: Permission denied"), 1);
    let acknowledged = report(&herd, 100..110, 1);
    wait_until("there is a log", || log.exists());
    herd.kill("Ann");
    let command = unprivileged(&herd);
    herd.start_with("Ann", command);
    held(&herd, "Ann", &acknowledged);
    assert!(moved.exists());
}
