//! An update arrives everywhere, once each way and verbatim.

use std::process::Command;
use std::thread;

use crate::NAMES;
use crate::support::reference::HERD;
use crate::support::{FIVE, Herd, Process, free_addresses, wait_until};
use crate::wired::{floods, link_records, report};

#[test]
fn an_update_at_any_server_arrives_at_all_others_verbatim() {
    let herd = Herd::started(FIVE);
    for (index, heard_by) in NAMES.iter().enumerate() {
        let client = format!("client{index}.cs.ucla.edu");
        let at = herd.ask(heard_by, &format!("IAMAT {client} +27.5916-086.5640/ 1.50"));
        assert!(at.starts_with(&format!("AT {heard_by} +")), "{at}");
        assert!(
            at.ends_with(&format!(" {client} +27.5916-086.5640/ 1.50")),
            "{at}"
        );
        for name in NAMES {
            herd.wait_for_at(name, &client, &at);
        }
    }
}

#[test]
fn an_update_costs_exactly_six_messages() {
    let herd = Herd::started(FIVE);
    for round in 1..=10 {
        let heard_by = NAMES[round % 5];
        herd.ask(
            heard_by,
            &format!("IAMAT kiwi +27.5916+086.5640 {}", 100 + round),
        );
        wait_until(
            &format!("round {round}: 6 messages each were sent and heard"),
            || floods(&herd, '>') >= 6 * round && floods(&herd, '<') >= 6 * round,
        );
        // One too many would at the latest be there in the next round.
        let (sent, heard) = (floods(&herd, '>'), floods(&herd, '<'));
        assert_eq!(
            (sent, heard),
            (6 * round, 6 * round),
            "sent and heard after {round} updates"
        );
    }
}

#[test]
fn updates_from_all_sides_in_any_order_end_in_one_record_everywhere() {
    let herd = Herd::started(FIVE);
    let clients: Vec<String> = (0..10).map(|n| format!("client{n}")).collect();
    thread::scope(|scope| {
        for (index, name) in NAMES.into_iter().enumerate() {
            let (herd, clients) = (&herd, &clients);
            scope.spawn(move || {
                let time = |turn: usize| match index % 2 {
                    0 => 1_000 + turn,
                    _ => 1_200 - turn,
                };
                let line = |turn| {
                    let client = &clients[turn % 10];
                    format!(
                        "IAMAT {client} +0{index}.{turn:03}+000.{turn:03} {}.{index}",
                        time(turn)
                    )
                };
                for turns in (0..200).collect::<Vec<usize>>().chunks(20) {
                    let lines: Vec<String> = turns.iter().copied().map(line).collect();
                    report(herd, name, &lines);
                }
            });
        }
    });
    for client in &clients {
        let mut held = Vec::new();
        wait_until(&format!("all hold one record of {client}"), || {
            held = NAMES.map(|name| herd.at(name, client)).to_vec();
            held.iter().all(|at| at.is_some() && *at == held[0])
        });
        // Odd servers began at 1200 with client0, even ones ended at 1199 with client9.
        let number: usize = client[6..].parse().expect("a digit");
        let rising = (0..200).filter(|turn| turn % 10 == number).max();
        let falling = (0..200).filter(|turn| turn % 10 == number).min();
        let latest = (
            format!("{}.4", 1_000 + rising.expect("some")),
            format!("{}.3", 1_200 - falling.expect("some")),
        );
        let latest = latest.0.max(latest.1);
        let at = held[0].as_deref().unwrap_or_default();
        assert!(
            at.ends_with(&format!(" {latest}")),
            "{client}: {at}, but the latest was at {latest}"
        );
    }
}

#[test]
fn tweets_never_cross_a_link() {
    let mut herd = Herd::new(FIVE);
    let address = free_addresses(1)[0];
    let mut command = Command::new(HERD);
    command.args(["twitter", "--listen", &address.to_string()]);
    let twitter = Process::start(command, herd.directory.path().join("twitter.err"));
    wait_until("the stand-in listens", || {
        twitter.said().contains("listening")
    });
    herd.twitter_url = format!("http://{address}/search.json");
    herd.start_all();
    let at = herd.ask("Blake", "IAMAT kiwi +34.0689-118.4452 1");
    for name in NAMES {
        herd.wait_for_at(name, "kiwi", &at);
        let mut client = herd.client(name);
        client.say("WHATSAT kiwi 100 10");
        assert_eq!(client.line(), at, "from {name}");
        let json = client.line();
        assert!(json.contains("\"results\""), "from {name}: {json}");
    }
    for member in &herd.members {
        let log = herd.settled_log(&member.name);
        assert!(
            log.contains("\"results\""),
            "{} logs its answers",
            member.name
        );
        for neighbour in &member.neighbours {
            for direction in ['<', '>'] {
                for record in link_records(&log, direction, neighbour) {
                    let word = record.split(' ').next().unwrap_or_default();
                    assert!(
                        ["HELLO", "AT", "MARK", "BYE"].contains(&word) && !record.contains('{'),
                        "{} {direction} {neighbour}: {record}",
                        member.name
                    );
                }
            }
        }
    }
}

#[test]
fn huge_lines_and_any_byte_cross_links_intact() {
    let herd = Herd::started(&[("Ann", &["Bob"]), ("Bob", &["Cid"]), ("Cid", &[])]);
    let longest = 65_536 - "IAMAT  +00+000 1".len();
    let some = |bytes: usize| -> Vec<u8> { (0x80..=0xff_u8).cycle().take(bytes).collect() };
    let odd: Vec<u8> = (0..=0x7f_u8)
        .filter(|byte| !b" \t\r\n\x0b\x0c".contains(byte))
        .collect();
    for client in [some(65_000), some(longest), some(128), odd, vec![0]] {
        let shown = client.len();
        let mut ann = herd.client("Ann");
        ann.send(&[b"IAMAT ", &client[..], b" +00+000 1\n"].concat());
        let at = ann.line_bytes().expect("a reply");
        let end = [b" ", &client[..], b" +00+000 1"].concat();
        assert!(
            at.starts_with(b"AT Ann +") && at.ends_with(&end),
            "{shown} bytes: {}",
            at[..at.len().min(200)].escape_ascii()
        );
        let whats = [b"WHATSAT ", &client[..], b" 1 0\n"].concat();
        for name in ["Bob", "Cid"] {
            wait_until(&format!("{name} holds a client of {shown} bytes"), || {
                let mut other = herd.client(name);
                other.send(&whats);
                other.line_bytes().expect("a reply") == at
            });
        }
    }
}
