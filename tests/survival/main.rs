//! What a herd promises to remember: everything it has acknowledged, after `kill -9` of any of
//! its servers or all; nothing that nobody vouched for; and to serve on when the log, the disk or
//! the descriptors give out.

mod descriptors;
mod killing;
mod logging;
mod records;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/wire.rs"]
mod wire;
#[path = "../support/wired.rs"]
mod wired;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use support::Herd;
use support::reference::{MEMORY, promised};

const ALONE: &[(&str, &[&str])] = &[("Ann", &[])];

const PAIR: &[(&str, &[&str])] = &[("Ann", &["Bob"]), ("Bob", &[])];

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
