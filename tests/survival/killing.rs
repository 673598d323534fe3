//! `kill -9` of one server, or of all.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, thread};

use rustix::process::Signal;

use crate::support::reference::{MEMORY, ONE_PROCESS, promised};
use crate::support::{FIVE, Herd, PATIENCE, free_addresses, wait_until};
use crate::wired::{floods, link_records, report};
use crate::{ALONE, PAIR, held_after_a_kill};

const NAMES: [&str; 5] = ["Blake", "Bryant", "Gasol", "Howard", "Metta"];

/// The time of an `AT` line, if it is a whole number.
fn time_of(at: &str) -> u64 {
    let last = at.rsplit(' ').next().unwrap_or_default();
    last.parse().unwrap_or_else(|_| panic!("no time: {at}"))
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
