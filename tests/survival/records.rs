//! The records of the log: their form, and that nobody can forge one.

use std::net::TcpListener;

use crate::support::reference::{MEMORY, promised};
use crate::support::{Herd, wait_until};
use crate::wire::FakeNeighbour;
use crate::{PAIR, check_records};

/// What nobody must ever come to believe.
const FORGED: &str = "AT Evil +0.000000000 victim +00+000 999";

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
