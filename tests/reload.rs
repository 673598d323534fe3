//! SIGHUP: what the operator has changed in the topology is applied without a stop, all of it or nothing.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;

mod support;

use support::{Client, Herd, free_addresses, wait_until};

/// Has `name` reload, and gives what it says of that.
fn reload(herd: &mut Herd, name: &str) -> String {
    let process = herd.process(name);
    let told = |said: &str| {
        let lines = said.lines().map(str::to_owned);
        let about =
            lines.filter(|line| line.contains(": reloaded ") || line.contains(": not reloaded"));
        about.collect::<Vec<_>>()
    };
    let before = told(&process.said()).len();
    process.signal(Signal::HUP);
    let mut now = Vec::new();
    wait_until("it reloads", || {
        now = told(&process.said());
        now.len() > before
    });
    now.swap_remove(before)
}

/// The text of the herd's topology, with nothing at the ends of its lines.
fn topology_text(herd: &Herd) -> String {
    let text = herd.topology_text();
    text.lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("the directory is ours");
}

/// Whether nobody takes connections at an address.
fn is_closed(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err()
}

fn report(herd: &Herd, name: &str, client: &str) -> String {
    let at = herd.ask(name, &format!("IAMAT {client} +00+000 1"));
    assert!(at.starts_with("AT "), "{at}");
    at
}

/// How many AT lines of `client` have come to `name` over its link to `neighbour`.
fn came(herd: &Herd, name: &str, neighbour: &str, client: &str) -> usize {
    let log = herd.settled_log(name);
    let (link, client) = (format!(":{neighbour} AT "), format!(" {client} "));
    let is_it = |record: &&str| {
        record.contains(" < s") && record.contains(&link) && record.contains(&client)
    };
    log.lines().filter(is_it).count()
}

#[test]
fn a_server_is_added_and_nobody_else_notices() {
    let mut herd = Herd::new(&[("Ann", &["Bob"]), ("Bob", &[]), ("Zed", &["Ann"])]);
    let whole = topology_text(&herd);
    let without: String = whole
        .lines()
        .take(2)
        .map(|line| format!("{}\n", line.replace(" Zed", "")))
        .collect();
    write(&herd.topology(), &without);
    herd.start("Ann");
    herd.start("Bob");
    herd.wait_for_link("Ann", "Bob");
    let mut client = herd.client("Ann");
    client.say("IAMAT kiwi +00+000 1");
    let at = client.line();
    write(&herd.topology(), &whole);
    herd.start("Zed");
    let process = herd.process("Ann");
    wait_until("Ann says what to do", || {
        let said = process.said();
        said.contains("Zed from ") && said.contains("names it by now: reload Ann (SIGHUP)")
    });
    let said = reload(&mut herd, "Ann");
    assert!(said.ends_with(": Zed is a neighbour"), "{said}");
    herd.wait_for_link("Ann", "Zed");
    herd.wait_for_link("Zed", "Ann");
    herd.wait_for_at("Zed", "kiwi", &at);
    let emu = report(&herd, "Zed", "emu");
    herd.wait_for_all(&["Ann", "Bob", "Zed"], &[emu]);
    client.say("WHERE");
    assert_eq!(client.line(), "? WHERE", "it has stayed");
    assert!(!herd.process("Ann").said().contains("link to Bob is down"));
    let said = reload(&mut herd, "Ann");
    assert!(said.ends_with(": nothing has changed"), "{said}");
}

#[test]
fn who_is_no_neighbour_any_longer_is_cut_off_and_resumes_when_it_is_one_again() {
    let mut herd = Herd::started(&[("Ann", &["Bob", "Cid"]), ("Bob", &[]), ("Cid", &[])]);
    let whole = topology_text(&herd);
    let first = report(&herd, "Bob", "first");
    herd.wait_for_all(&["Ann", "Cid"], std::slice::from_ref(&first));
    let of_bob = |record: &str| record.contains(":Bob MARK 1") && record.contains(" < ");
    wait_until("Bob has marked it", || herd.log("Ann").lines().any(of_bob));
    let without = whole.replace("Bob Cid", "Cid").replace(" Ann\n", "\n");
    write(&herd.topology(), &without);
    let said = reload(&mut herd, "Ann");
    assert!(said.ends_with(": Bob is no neighbour any longer"), "{said}");
    let process = herd.process("Bob");
    wait_until("Bob is refused", || {
        process.said().contains("a HELLO from no neighbour of ours")
    });
    let lost = report(&herd, "Bob", "lost");
    let known = report(&herd, "Cid", "known");
    herd.wait_for_at("Ann", "known", &known);
    assert_eq!(herd.at("Ann", "lost"), None, "Bob is not believed");
    assert_eq!(herd.at("Bob", "known"), None, "nor told anything");
    write(&herd.topology(), &whole);
    reload(&mut herd, "Ann");
    herd.wait_for_all(&["Ann", "Bob", "Cid"], &[first, lost, known]);
    assert_eq!(
        came(&herd, "Ann", "Bob", "first"),
        1,
        "it is not told again"
    );
}

#[test]
fn a_file_with_a_mistake_changes_nothing() {
    let mut herd = Herd::started(&[("Ann", &["Bob"]), ("Bob", &[])]);
    let good = topology_text(&herd);
    let [elsewhere, other] = free_addresses(2)[..] else {
        panic!("two were asked for")
    };
    let ann = herd.member("Ann").clients;
    let moved = good.replacen(&ann.to_string(), &elsewhere.to_string(), 1);
    let servers = herd.member("Ann").servers;
    let half = moved.replacen(&servers.to_string(), "192.0.2.1:1", 1);
    let _held = TcpListener::bind(other).expect("it is free");
    let in_use = moved.replacen(&servers.to_string(), &other.to_string(), 1);
    let mut client = herd.client("Ann");
    for (text, why) in [
        (
            good.replace("\nBob 127", "\nBobby 127"),
            "topology.txt:1: Ann has a neighbour Bob, but",
        ),
        (
            good.replace("Ann 127", "Anna 127")
                .replace(" Ann\n", " Anna\n"),
            "has no server Ann any longer",
        ),
        (half, "Ann cannot listen for servers on 192.0.2.1:1"),
        (in_use, "address already in use"),
        (String::new(), "topology.txt names no server"),
    ] {
        write(&herd.topology(), &text);
        let said = reload(&mut herd, "Ann");
        assert!(
            said.contains("not reloaded, nothing has changed: "),
            "{said}"
        );
        assert!(said.contains(why), "{said}");
        assert!(is_closed(elsewhere), "it took half of: {text}");
        client.say("WHERE");
        assert_eq!(client.line(), "? WHERE");
        assert_eq!(herd.ask("Ann", "WHO"), "? WHO");
    }
    fs::remove_file(herd.topology()).expect("it is there");
    let said = reload(&mut herd, "Ann");
    assert!(said.contains("cannot read the topology"), "{said}");
    // A FIFO that nobody writes to.
    let private = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, herd.topology(), FileType::Fifo, private, 0).expect("the directory is ours");
    let said = reload(&mut herd, "Ann");
    assert!(said.contains("it is no regular file"), "{said}");
    assert!(!herd.process("Ann").said().contains("link to Bob is down"));
}

#[test]
fn own_addresses_move_and_connections_stay() {
    let mut herd = Herd::with_http(&[("Ann", &["Bob"]), ("Bob", &[])]);
    herd.start_all();
    let mut client = herd.client("Ann");
    let new = free_addresses(3);
    let old = [
        herd.member("Ann").clients,
        herd.member("Ann").servers,
        herd.http("Ann"),
    ];
    let member = herd.member_mut("Ann");
    (member.clients, member.servers, member.http) = (new[0], new[1], Some(new[2]));
    write(&herd.topology(), &herd.topology_text());
    let said = reload(&mut herd, "Ann");
    for words in [
        format!("clients on {}", new[0]),
        format!("servers on {}", new[1]),
        format!("HTTP on {}", new[2]),
    ] {
        assert!(said.contains(&words), "{said}");
    }
    client.say("WHERE");
    assert_eq!(client.line(), "? WHERE", "it has stayed");
    assert!(old.iter().all(|&address| is_closed(address)), "it has left");
    assert!(
        new.iter().all(|&address| !is_closed(address)),
        "it is there"
    );
    assert!(
        !herd.process("Ann").said().contains("link to Bob is down"),
        "so has the link"
    );
    assert_eq!(herd.ask("Ann", "WHO"), "? WHO");
    // Bob learns where Ann is, and finds her there when her old self has gone.
    let said = reload(&mut herd, "Bob");
    assert!(said.ends_with(&format!(": Ann is at {}", new[1])), "{said}");
    herd.kill("Ann");
    let process = herd.process("Bob");
    wait_until("Bob misses Ann", || {
        process.said().contains("link to Ann is down")
    });
    herd.start("Ann");
    herd.wait_for_link("Bob", "Ann");
    // And HTTP nowhere.
    herd.member_mut("Ann").http = None;
    write(&herd.topology(), &herd.topology_text());
    let said = reload(&mut herd, "Ann");
    assert!(said.ends_with(": no longer listens for HTTP"), "{said}");
    assert!(is_closed(new[2]));
    let mut client = Client::connect(new[0]);
    client.say("WHERE");
    assert_eq!(client.line(), "? WHERE");
}
