//! What a herd promises to remember: everything it has acknowledged, after `kill -9` of any of
//! its servers or all; nothing that nobody vouched for; and to serve on when the log, the disk or
//! the descriptors give out.

mod support;
#[path = "support/wire.rs"]
mod wire;
#[path = "support/wired.rs"]
mod wired;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::reference::{MEMORY, ONE_PROCESS, PLACE_IN_THE_BACKLOG, promised};
use support::{Client, FIVE, Herd, PATIENCE, Tmpfs, free_addresses, limited, wait_until};
use wire::FakeNeighbour;
use wired::{floods, link_records, report};

const NAMES: [&str; 5] = ["Blake", "Bryant", "Gasol", "Howard", "Metta"];

const ALONE: &[(&str, &[&str])] = &[("Ann", &[])];

const PAIR: &[(&str, &[&str])] = &[("Ann", &["Bob"]), ("Bob", &[])];

/// What nobody must ever come to believe.
const FORGED: &str = "AT Evil +0.000000000 victim +00+000 999";

// ---- what the tests share

/// The time of an `AT` line, if it is a whole number.
fn time_of(at: &str) -> u64 {
    let last = at.rsplit(' ').next().unwrap_or_default();
    last.parse().unwrap_or_else(|_| panic!("no time: {at}"))
}

/// Starts Ann, alone, by a command made from her usual one.
fn ann_with(herd: &mut Herd, limit: &str) {
    let command = limited(&herd.command("Ann"), limit);
    herd.start_with("Ann", command);
}

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

/// Checks that `name` holds of each client one of the lines that were acknowledged.
fn held(herd: &Herd, name: &str, acknowledged: &[String]) {
    let mut client = herd.client(name);
    let mut reports: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for at in acknowledged {
        let fields: Vec<&str> = at.split(' ').collect();
        reports.entry(fields[3]).or_default().push(at);
    }
    for (who, reports) in reports {
        client.say(&format!("WHATSAT {who} 1 0"));
        let reply = client.line();
        assert!(
            reports.contains(&reply.as_str()),
            "{name} holds of {who}: {reply}\nacknowledged: {reports:#?}"
        );
        client.line(); // Twitter's
    }
}

/// Kills Ann, and checks that her next incarnation holds of each client one of these lines.
fn held_after_a_kill(herd: &mut Herd, acknowledged: &[String]) {
    if promised(&MEMORY) {
        herd.kill("Ann");
        herd.start("Ann");
        held(herd, "Ann", acknowledged);
    }
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

/// Checks that a line of the log is a record.
fn is_record(line: &str) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{what}: {line}"));
    if !line.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return fail("not printable ASCII");
    }
    let fields: Vec<&str> = line.splitn(4, ' ').collect();
    let [time, direction, connection, _text] = fields[..] else {
        return fail("not four fields");
    };
    let pattern = "dddd-dd-ddTdd:dd:dd.dddddddddZ";
    let fits = |(have, want): (char, char)| match want {
        'd' => have.is_ascii_digit(),
        _ => have == want,
    };
    if time.len() != pattern.len() || !time.chars().zip(pattern.chars()).all(fits) {
        return fail("not an RFC 3339 time with nine decimals");
    }
    if !["<", ">", "+", "-", "*"].contains(&direction) {
        return fail("no direction");
    }
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let name = |text: &str| {
        let byte = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        (1..=64).contains(&text.len()) && text.bytes().all(byte)
    };
    let known = match (connection.strip_prefix('c'), connection.strip_prefix('s')) {
        (Some(serial), _) => number(serial),
        (_, Some(rest)) => match rest.split_once(':') {
            Some((serial, neighbour)) => number(serial) && name(neighbour),
            None => number(rest),
        },
        _ => connection == "-",
    };
    if known { Ok(()) } else { fail("no connection") }
}

/// Checks every line of a log; `torn` says how many may have been broken off.
fn check_records(path: &Path, torn: usize) {
    let bytes = fs::read(path).expect("there is a log");
    assert_eq!(bytes.last(), Some(&b'\n'), "the log ends with a whole line");
    let log = String::from_utf8(bytes).expect("ASCII");
    let broken = |line: &&str| line.ends_with("\\... torn");
    let marked = log.lines().filter(broken).count();
    assert!(marked <= torn, "{marked} torn records:\n{log}");
    for line in log.lines().filter(|line| !broken(line)) {
        is_record(line).expect("every line is a record");
    }
}

// ---- kill -9

/// A client that puts up with a server that dies.
struct Mortal {
    reader: BufReader<TcpStream>,
}

impl Mortal {
    fn connect(address: SocketAddr) -> io::Result<Mortal> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let reader = BufReader::new(stream);
        Ok(Mortal { reader })
    }

    /// The reply, if it came whole.
    fn ask(&mut self, line: &str) -> io::Result<String> {
        let line = format!("{line}\n");
        self.reader.get_mut().write_all(line.as_bytes())?;
        let mut reply = String::new();
        self.reader.read_line(&mut reply)?;
        match reply.strip_suffix('\n') {
            Some(reply) => Ok(reply.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// By server and client: the latest reply that was read.
type Acknowledged = BTreeMap<(&'static str, String), String>;

/// Reports eight clients at all five servers in turn, until the servers die.
fn load(thread: usize, addresses: &[SocketAddr], from: usize, count: &AtomicUsize) -> Acknowledged {
    let mut acknowledged = Acknowledged::new();
    let clients: io::Result<Vec<Mortal>> = addresses.iter().copied().map(Mortal::connect).collect();
    let mut clients = clients.expect("all run");
    for turn in 0.. {
        let server = turn % 5;
        let client = format!("t{thread}c{}", turn % 8);
        let line = format!("IAMAT {client} +27.5916+086.5640 {}", from + turn);
        let Ok(reply) = clients[server].ask(&line) else {
            break;
        };
        acknowledged.insert((NAMES[server], client), reply);
        count.fetch_add(1, Ordering::SeqCst);
    }
    acknowledged
}

#[test]
fn after_kill_9_of_all_five_under_load_every_acknowledged_location_is_known() {
    if !promised(&MEMORY) {
        return;
    }
    let mut herd = Herd::started(FIVE);
    let addresses = NAMES.map(|name| herd.member(name).clients);
    let mut all = Acknowledged::new();
    for round in 1..=4 {
        let count = AtomicUsize::new(0);
        let from = round * 1_000_000;
        let acknowledged = thread::scope(|scope| {
            let (count, addresses) = (&count, &addresses);
            let load = |thread| scope.spawn(move || load(thread, addresses, from, count));
            let threads: Vec<_> = (0..3).map(load).collect();
            wait_until("1000 replies were read", || {
                count.load(Ordering::SeqCst) >= 1_000
            });
            for name in NAMES {
                herd.process(name).signal(Signal::KILL);
            }
            let ended = threads.into_iter().map(|thread| thread.join());
            ended
                .flat_map(|acknowledged| acknowledged.expect("it ends in peace"))
                .collect::<Acknowledged>()
        });
        all.extend(acknowledged);
        for name in NAMES {
            herd.kill(name);
        }
        // Each of them by itself, with nobody to learn from.
        for name in NAMES {
            herd.start(name);
            for ((server, client), acknowledged) in &all {
                if *server != name {
                    continue;
                }
                let at = herd.at(name, client).unwrap_or_default();
                assert!(
                    !at.is_empty() && time_of(&at) >= time_of(acknowledged),
                    "round {round}: {name} acknowledged {acknowledged}\nand holds '{at}'"
                );
                if time_of(&at) == time_of(acknowledged) {
                    assert_eq!(&at, acknowledged, "round {round}: {name}");
                }
            }
            herd.kill(name);
        }
        herd.start_all();
        let mut latest: BTreeMap<&str, &str> = BTreeMap::new();
        for ((_, client), at) in &all {
            let known = latest.entry(client).or_insert(at);
            if time_of(known) < time_of(at) {
                *known = at;
            }
        }
        for (client, acknowledged) in latest {
            let mut held = Vec::new();
            wait_until(
                &format!("round {round}: all five know {acknowledged}"),
                || {
                    held = NAMES.map(|name| herd.at(name, client)).to_vec();
                    held.iter().all(|at| {
                        let time = at.as_deref().map(time_of);
                        *at == held[0] && time >= Some(time_of(acknowledged))
                    })
                },
            );
        }
    }
}

#[test]
fn after_kill_9_of_all_five_neighbours_are_sent_only_what_changed() {
    if !promised(&MEMORY) {
        return;
    }
    const CLIENTS: usize = 200; // of each server
    let mut herd = Herd::started(FIVE);
    for name in NAMES {
        let line = |n| format!("IAMAT {name}{n} +00+000 1");
        report(&herd, name, &(0..CLIENTS).map(line).collect::<Vec<_>>());
    }
    wait_until("all is everywhere", || {
        floods(&herd, '>') >= 6 * 5 * CLIENTS && floods(&herd, '<') >= 6 * 5 * CLIENTS
    });
    for round in 2..=3 {
        wait_until("all of it is marked", || {
            herd.members.iter().all(|member| {
                let name = &member.name;
                member.neighbours.iter().all(|other| {
                    let (said, heard) = (herd.log(name), herd.log(other));
                    let said = link_records(&said, '>', other).pop();
                    let heard = link_records(&heard, '<', name).pop();
                    said.is_some_and(|line| line.starts_with("MARK ")) && said == heard
                })
            })
        });
        let before = floods(&herd, '>');
        for name in NAMES {
            herd.process(name).signal(Signal::KILL);
        }
        for name in NAMES {
            herd.kill(name);
        }
        herd.start_all();
        let mut moved = Vec::new();
        for name in NAMES {
            let lines = [0, 1].map(|n| format!("IAMAT {name}{n} +00+000 {round}"));
            moved.extend(report(&herd, name, &lines));
        }
        herd.wait_for_all(&NAMES, &moved);
        NAMES.iter().for_each(|name| drop(herd.settled_log(name)));
        let sent = floods(&herd, '>') - before;
        assert_eq!(
            sent,
            6 * moved.len(),
            "round {round}: of {} clients",
            5 * CLIENTS
        );
    }
}

#[test]
fn a_location_heard_over_a_link_survives_the_death_of_all_too() {
    if !promised(&MEMORY) {
        return;
    }
    let mut herd = Herd::started(PAIR);
    let at = herd.ask("Ann", "IAMAT kiwi +00+000 1");
    herd.wait_for_at("Bob", "kiwi", &at);
    for name in ["Ann", "Bob"] {
        herd.kill(name);
    }
    herd.start("Bob");
    assert_eq!(herd.at("Bob", "kiwi"), Some(at), "Bob, by himself");
}

// ---- what is believed

#[test]
fn nobody_can_forge_a_record() {
    let mut herd = Herd::new(PAIR);
    herd.start("Ann");
    let stamp = "2026-01-01T00:00:00.000000000Z";
    let record = format!("{stamp} > c1 {FORGED}");
    let pad = |bytes: usize| "x".repeat(bytes);
    let lines = [
        FORGED.to_owned(),
        format!("\r{FORGED}"),
        format!("x\\n{record}"),
        format!("x\\x0a{record}"),
        format!("x\r{record}\r"),
        format!("x\x0b\x0c\0\u{85}\u{2028}{record}"),
        record.clone(),
        format!("{stamp} = - {FORGED}"),
        format!("{stamp} < s1:Bob {FORGED}"),
        format!("= - {FORGED}"),
        format!("> c1 {FORGED}"),
        format!("{} {record}", pad(66_000)),
        format!("{FORGED} {}", pad(66_000)),
        format!("{FORGED}\\... {}", pad(65_500)),
        format!("{} > c1 {FORGED}", pad(65_536 - 5 - FORGED.len())),
        format!("{} > c1 {FORGED}", pad(65_536)),
        format!("IAMAT victim +00+000 1 \\x0a{record}"),
        "HELLO herd/1 Bob Ann 0000000000000b0b 1 - 0".to_owned(),
    ];
    for line in &lines {
        let mut client = herd.client("Ann");
        client.say(line);
        let reply = client.line();
        assert!(
            reply == format!("? {line}"),
            "to '{:.80}': '{:.80}'",
            line.escape_debug().to_string(),
            reply.escape_debug().to_string()
        );
    }
    // A line that the client's end ends.
    let mut client = herd.client("Ann");
    client.send(FORGED.as_bytes());
    client.end();
    assert_eq!(client.line(), format!("? {FORGED}"));
    client.expect_end();
    // Strangers at the server port.
    for (index, line) in [
        FORGED,
        &record,
        "HELLO herd/1 Eve Ann 00000000000000ee 1 - 0",
    ]
    .into_iter()
    .enumerate()
    {
        let mut stranger = FakeNeighbour::dial(herd.member("Ann").servers);
        stranger.try_send(format!("{line}\n{FORGED}\n{record}\n").as_bytes());
        let rest = stranger.rest();
        assert!(
            rest.iter().all(|line| line.starts_with("BYE ")),
            "stranger {index}: {rest:?}"
        );
    }
    // And clients that are allowed to be called what they like.
    let mut odd = Vec::new();
    for name in [
        b"x\\x0a2026-01-01T00:00:00.000000000Z".to_vec(),
        b"\\... torn"
            .iter()
            .copied()
            .filter(|&b| b != b' ')
            .collect(),
        (0..=255)
            .filter(|b| !b" \t\r\n\x0b\x0c".contains(b))
            .collect(),
        b"\\\\x41\\x".to_vec(),
        vec![0xff; 60_000],
    ] {
        let mut client = herd.client("Ann");
        client.send(&[b"IAMAT ", &name[..], b" +00+000 1\n"].concat());
        odd.push((name, client.line_bytes().expect("a reply")));
    }
    for incarnation in 1..=3 {
        assert_eq!(herd.at("Ann", "victim"), None, "in {incarnation}");
        if incarnation > 1 && !promised(&MEMORY) {
            break;
        }
        for (name, at) in &odd {
            let mut client = herd.client("Ann");
            client.send(&[b"WHATSAT ", &name[..], b" 1 0\n"].concat());
            let reply = client.line_bytes().expect("a reply");
            assert!(
                reply == *at,
                "in {incarnation}, {} for {}",
                reply[..reply.len().min(300)].escape_ascii(),
                at[..at.len().min(300)].escape_ascii()
            );
        }
        herd.settled_log("Ann");
        check_records(&herd.log_path("Ann"), 0);
        herd.kill("Ann");
        herd.start("Ann");
    }
}

#[test]
fn the_log_has_every_line_and_connection_in_the_documented_form() {
    let mut herd = Herd::new(PAIR);
    herd.start_all();
    let mut client = herd.client("Ann");
    let port = client.stream.local_addr().expect("it is connected");
    client.say("IAMAT kiwi +27.5916+086.5640 1");
    let at = client.line();
    client.say("  what?\t\\ \u{e9}");
    assert_eq!(client.line(), "?   what?\t\\ \u{e9}");
    client.say(&"y".repeat(70_000));
    assert_eq!(client.line().len(), 70_002);
    client.say("WHATSAT kiwi 1 0");
    assert_eq!(client.line(), at);
    let json = client.line();
    client.send(b"unfinished");
    client.end();
    assert_eq!(client.line(), "? unfinished");
    client.expect_end();
    herd.wait_for_at("Bob", "kiwi", &at);
    let mut stranger = FakeNeighbour::dial(herd.member("Ann").servers);
    stranger.try_send(b"\x01\x02\xff\n");
    stranger.rest();
    herd.settled_log("Bob"); // what it has not written yet dies with it
    herd.kill("Bob");
    wait_until("Ann logs the end of the link", || {
        let log = herd.log("Ann");
        log.lines()
            .any(|line| line.contains(":Bob") && line.contains(" - s"))
    });
    let log = herd.settled_log("Ann");
    let opened = format!(" {port}");
    let opened = log.lines().find(|line| line.ends_with(&opened));
    let opened = opened.unwrap_or_else(|| panic!("no record of {port}:\n{log}"));
    let label = opened.split(' ').nth(2).expect("it is a record").to_owned();
    let records: Vec<&str> = log
        .lines()
        .filter_map(|line| line.split_once(' ').map(|(_, rest)| rest))
        .collect();
    for wanted in [
        format!("+ {label} {port}"),
        format!("< {label} IAMAT kiwi +27.5916+086.5640 1"),
        format!("< {label}   what?\\x09\\\\ \\xc3\\xa9"),
        format!("> {label} ?   what?\\x09\\\\ \\xc3\\xa9"),
        format!("< {label} WHATSAT kiwi 1 0"),
        format!("> {label} {json}"),
    ] {
        let times = records.iter().filter(|record| **record == wanted).count();
        assert_eq!(times, 1, "wanted once: {wanted}\n{log:.20000}");
    }
    let reply = format!("> {label} {at}");
    let times = records.iter().filter(|record| **record == reply).count();
    assert_eq!(times, 2, "to IAMAT and to WHATSAT: {reply}\n{log:.20000}");
    let c = |direction: &str, text: &str| format!("{direction} {label} {text}");
    for (beginning, words) in [
        (c("<", "yyy"), "y\\..."),
        (c("<", "\\... "), "70000 bytes"),
        (c(">", "? yyy"), "y\\..."),
        (c(">", "\\... "), "70002 bytes"),
        (c("<", "unfinished"), ""),
        (c(">", "? unfinished"), ""),
        (c("-", ""), "closed"),
        ("+ s".to_owned(), " 127.0.0.1:"), // with his name, or before he gave it
        ("> s".to_owned(), ":Bob HELLO herd/1 Ann Bob "),
        ("< s".to_owned(), ":Bob HELLO herd/1 Bob Ann "),
        ("> s".to_owned(), &format!(":Bob {at}")),
        ("< s".to_owned(), " \\x01\\x02\\xff"),
        ("- s".to_owned(), ":Bob "),
    ] {
        let fits = |record: &&str| record.starts_with(&beginning) && record.contains(words);
        assert!(
            records.iter().any(fits),
            "wanted: {beginning}…{words}\n{log:.20000}"
        );
    }
    for name in ["Ann", "Bob"] {
        check_records(&herd.log_path(name), 0);
    }
}

// ---- a log that cannot be written

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

#[test]
fn a_log_that_is_a_link_to_a_full_device_stops_nobody_and_a_better_one_is_taken() {
    let mut herd = Herd::new(ALONE);
    let logs = herd.directory.path().join("logs");
    fs::create_dir_all(&logs).expect("the directory is ours");
    symlink("/dev/full", herd.log_path("Ann")).expect("the directory is ours");
    herd.start("Ann");
    report_meanwhile(&mut herd, "meanwhile");
    let said_so = herd.process("Ann").said();
    assert_eq!(
        said_so.matches("cannot").count(),
        1,
        "once is enough: {said_so}"
    );
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
    report_meanwhile(&mut herd, "meanwhile");
    let said_so = herd.process("Ann").said();
    assert_eq!(
        said_so.matches("cannot").count(),
        1,
        "once is enough: {said_so}"
    );
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

#[test]
fn a_second_server_on_the_same_journal_ends_with_status_2_and_one_line() {
    if !promised(&ONE_PROCESS) {
        return;
    }
    let mut herd = Herd::started(ALONE);
    let addresses = free_addresses(2);
    let elsewhere = herd.directory.path().join("elsewhere.txt");
    let topology = format!("Ann {} {}\n", addresses[0], addresses[1]);
    fs::write(&elsewhere, topology).expect("the directory is ours");
    let mut second = herd.command_with("Ann", &elsewhere);
    let output = second.output().expect("the program can be started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("data/Ann"), "it names the folder: {stderr}");
    let at = herd.ask("Ann", "IAMAT kiwi +00+000 1");
    assert_eq!(herd.at("Ann", "kiwi").as_ref(), Some(&at));
    held_after_a_kill(&mut herd, &[at]); // the first took no harm
}

// ---- descriptors

/// Opens `count` connections, each of which reports a client of its own.
fn crowd(herd: &Herd, count: usize) -> Vec<Client> {
    let connect = |n| {
        let mut client = Client::connect(herd.member("Ann").clients);
        client.say(&format!("IAMAT crowd{n} +00+000 1"));
        client
    };
    (0..count).map(connect).collect()
}

#[test]
fn without_descriptors_those_who_are_in_are_served_and_others_when_some_leave() {
    if !promised(&PLACE_IN_THE_BACKLOG) {
        return;
    }
    let mut herd = Herd::new(PAIR);
    ann_with(&mut herd, "ulimit -n 80");
    let mut early: Vec<Client> = (0..5).map(|_| herd.client("Ann")).collect();
    for (n, client) in early.iter_mut().enumerate() {
        client.say(&format!("IAMAT early{n} +00+000 1"));
        assert!(client.line().starts_with("AT Ann "));
    }
    let crowd = crowd(&herd, 120);
    for (n, client) in early.iter_mut().enumerate() {
        let since = Instant::now();
        client.say(&format!("IAMAT early{n} +00+000 2"));
        assert!(client.line().starts_with("AT Ann "));
        let took = since.elapsed();
        assert!(took < Duration::from_secs(2), "early{n} waited {took:?}");
    }
    herd.start("Bob");
    herd.wait_for_link("Ann", "Bob");
    herd.wait_for_link("Bob", "Ann");
    // They came in this order and are let in in this order, as others leave.
    for (n, mut client) in crowd.into_iter().enumerate() {
        let at = client.line();
        assert!(at.contains(&format!(" crowd{n} ")), "crowd{n} got: {at}");
    }
    for (n, client) in early.iter_mut().enumerate() {
        client.say(&format!("IAMAT early{n} +00+000 3"));
        assert!(client.line().starts_with("AT Ann "));
    }
    let last = herd.at("Ann", "crowd119").expect("it was acknowledged");
    herd.wait_for_at("Bob", "crowd119", &last);
    assert!(herd.process("Ann").is_running());
}

#[test]
fn a_server_that_lets_nobody_in_for_want_of_descriptors_says_so() {
    let mut herd = Herd::new(ALONE);
    ann_with(&mut herd, "ulimit -n 80");
    let before = herd.process("Ann").said();
    let _crowd = crowd(&herd, 120);
    let until = Instant::now() + Duration::from_secs(10);
    while herd.process("Ann").said() == before {
        assert!(
            Instant::now() < until,
            "120 clients want in, at most 80 descriptors: not a word but {before}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn with_few_descriptors_a_server_serves_clients_besides_its_link() {
    let mut herd = Herd::new(PAIR);
    ann_with(&mut herd, "ulimit -n 64");
    herd.start("Bob");
    herd.wait_for_link("Ann", "Bob");
    let mut client = herd.client("Ann");
    let patience = Some(Duration::from_secs(10));
    client.stream.set_read_timeout(patience).expect("not zero");
    client.say("IAMAT kiwi +00+000 1");
    assert!(client.line().starts_with("AT Ann "));
}

#[test]
fn who_was_dialled_and_did_not_present_itself_is_not_believed() {
    let mut herd = Herd::new(PAIR);
    let listener = TcpListener::bind(herd.member("Bob").servers).expect("it is free");
    herd.start("Ann");
    let forged = "AT Bob +0.000000000 victim +00+000 999";
    let mut stranger = FakeNeighbour::accept(&listener);
    stranger.say(forged);
    stranger.rest();
    wait_until("Ann has logged and refused it", || {
        let log = herd.log("Ann");
        log.contains(forged) && log.contains("the first line must be HELLO")
    });
    drop(listener);
    herd.kill("Ann");
    herd.start("Ann");
    assert_eq!(herd.at("Ann", "victim"), None, "{}", herd.log("Ann"));
}

#[test]
fn a_start_with_a_journal_or_without_has_nothing_to_say_about_it() {
    let mut herd = Herd::new(ALONE);
    for _ in 0..2 {
        herd.start("Ann");
        herd.ask("Ann", "IAMAT kiwi +00+000 1");
        let said = herd.process("Ann").said();
        let known = ["clients on ", "keeps clients' locations in ", "ready: "];
        let is_known = |line: &str| known.iter().any(|words| line[5..].starts_with(words));
        assert!(said.lines().all(is_known), "{said}");
        herd.kill("Ann");
    }
}
