//! Who is a neighbour, and how keys change.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use herd::keys::OwnKey;
use rustix::net::sockopt;
use rustix::process::Signal;

use crate::keys::{TlsPeer, give_key, key_file, keygen, with_keys};
use crate::support::{Herd, wait_until};
use crate::wire::FakeNeighbour;
use crate::wired::{report, start_with_topology};
use crate::{PAIR, ann_alone, answer, new_key, reload};

#[test]
fn a_herd_with_keys_floods_as_any() {
    let mut herd = with_keys(&[("Ann", &["Bob"]), ("Bob", &["Cid"]), ("Cid", &[])]);
    herd.start_all();
    let at = herd.ask("Ann", "IAMAT kiwi +27.5916+086.5640 1353118103.108893381");
    herd.wait_for_at("Cid", "kiwi", &at);
    assert!(herd.process("Ann").said().contains("servers over TLS on "));
    // The log is readable though the wire is not.
    herd.wait_for_record("Cid", &format!(":Bob {at}"));
    herd.kill("Bob");
    let at = herd.ask("Ann", "IAMAT kiwi +00+000 1353118104");
    herd.start("Bob");
    herd.wait_for_at("Cid", "kiwi", &at);
}

#[test]
fn a_neighbour_is_its_key_and_its_name() {
    let (mut herd, bob) = ann_alone();
    let stranger = new_key();
    let wanted = bob.fingerprint.to_string();
    for (key, name) in [(&stranger, "Bob"), (&bob, "Cid")] {
        let said = answer(&herd, key, name);
        let shown = key.fingerprint.to_string();
        assert!(said.starts_with("BYE the key shown is "), "{said}");
        assert!(said.contains(&shown), "{said}");
        herd.wait_for_record(
            "Ann",
            &format!("the key shown is {shown}, the topology has "),
        );
        if name == "Bob" {
            assert!(said.contains(&wanted), "{said}");
        }
    }
    wait_until("the operator hears of it", || {
        let said = herd.process("Ann").said();
        said.contains("Bob from 127.0.0.1:")
            && said.contains("was refused at the server port: the key")
    });
    let said = herd.process("Ann").said();
    assert!(
        !said.contains("by now: reload"),
        "that would not help: {said}"
    );
    let said = answer(&herd, &bob, "Bob");
    assert!(said.starts_with("HELLO herd/1 Ann Bob "), "{said}");
    let said = answer(&herd, &bob, "Nobody");
    assert!(said.starts_with("BYE a HELLO from no neighbour"), "{said}");
}

#[test]
fn who_shows_a_key_that_waits_for_a_reload_is_told_of() {
    let (mut herd, _) = ann_alone();
    let new = new_key();
    herd.member_mut("Bob").attributes = vec![format!("key={}", new.fingerprint)];
    herd.write_topology();
    let said = answer(&herd, &new, "Bob");
    assert!(said.starts_with("BYE the key shown is "), "{said}");
    wait_until("Ann says what to do", || {
        let said = herd.process("Ann").said();
        said.contains("has other keys for it by now: reload Ann (SIGHUP)")
    });
    reload(&mut herd, "Ann");
    let said = answer(&herd, &new, "Bob");
    assert!(said.starts_with("HELLO herd/1 Ann Bob "), "{said}");
}

#[test]
fn who_is_dialled_must_show_its_key_too() {
    let mut herd = with_keys(PAIR);
    let wanted = OwnKey::read(&key_file(&herd, "Bob"))
        .expect("a key")
        .fingerprint;
    // Bob starts with another key than Ann's topology has for him, and a topology of his own.
    let before = herd.topology_text();
    let other = herd.directory.path().join("other.key");
    let attribute = keygen(&other);
    let bob = herd.member_mut("Bob");
    bob.attributes = vec![attribute.clone()];
    bob.arguments[1] = other.to_str().expect("text").to_owned();
    let after = herd.topology_text();
    start_with_topology(&mut herd, "Bob", &after);
    start_with_topology(&mut herd, "Ann", &before);
    let shown = attribute.strip_prefix("key=").expect("it is one");
    let both = format!("the key shown is {shown}, the topology has {wanted}");
    for name in ["Ann", "Bob"] {
        herd.wait_for_record(name, &both);
    }
    let at = herd.ask("Ann", "IAMAT kiwi +00+000 1");
    assert!(at.starts_with("AT Ann "), "{at}");
    assert!(!herd.log("Bob").contains("kiwi"), "Bob is told nothing");
}

#[test]
fn without_tls_nobody_is_a_neighbour_of_one_that_has_a_key() {
    let (herd, bob) = ann_alone();
    let mut plain = FakeNeighbour::dial(herd.member("Ann").servers);
    plain.hello(("Bob", "Ann"), 0xb0b, 1, None);
    let why = format!("BYE no key is shown, the topology has {}", bob.fingerprint);
    assert_eq!(plain.rest(), [why]);
}

#[test]
fn who_speaks_tls_to_a_server_without_a_key_is_told_of() {
    let mut herd = Herd::new(PAIR);
    herd.start("Ann");
    let mut socket = TcpStream::connect(herd.member("Ann").servers).expect("she listens");
    socket
        .write_all(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03")
        .expect("she reads");
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest); // a reset is an end too
    assert_eq!(rest, b"");
    herd.wait_for_record(
        "Ann",
        "it speaks TLS, and this server has no key for its links",
    );
}

#[test]
fn one_with_a_key_and_one_without_are_linked_only_if_both_are_told_to() {
    let mut herd = Herd::new(PAIR);
    give_key(&mut herd, "Ann");
    herd.start("Ann");
    herd.start("Bob");
    let told = "no link to Bob: Bob has no key= in the topology, this server has one.";
    assert!(herd.process("Ann").said().contains(told));
    let told = "no link to Ann: Ann has a key= in the topology, this server has none (--key).";
    assert!(herd.process("Bob").said().contains(told));
    for name in ["Ann", "Bob"] {
        assert!(
            !herd.settled_log(name).contains("HELLO"),
            "{name} dials nobody"
        );
        herd.kill(name);
        herd.member_mut(name)
            .arguments
            .push("--allow-plain-links".to_owned());
    }
    herd.start_all();
    let at = herd.ask("Ann", "IAMAT kiwi +00+000 1");
    herd.wait_for_at("Bob", "kiwi", &at);
    // Bob gets his key, and the two change over one after the other.
    give_key(&mut herd, "Bob");
    for name in ["Ann", "Bob"] {
        herd.kill(name);
        herd.start_all();
    }
    for name in ["Ann", "Bob"] {
        herd.member_mut(name)
            .arguments
            .retain(|word| word != "--allow-plain-links");
        herd.kill(name);
        herd.start_all();
    }
    let at = herd.ask("Ann", "IAMAT kiwi +00+000 2");
    herd.wait_for_at("Bob", "kiwi", &at);
}

#[test]
fn a_key_changes_without_a_stop() {
    let mut herd = with_keys(PAIR);
    herd.start_all();
    let old = OwnKey::read(&key_file(&herd, "Bob")).expect("it is a key");
    let next = herd.directory.path().join("next.key");
    let new = keygen(&next);
    let downs = |herd: &mut Herd| {
        herd.process("Ann")
            .said()
            .matches("link to Bob is down")
            .count()
    };
    // Both keys will do, ...
    let both = format!("key={},{}", old.fingerprint, &new["key=".len()..]);
    herd.member_mut("Bob").attributes = vec![both];
    herd.write_topology();
    reload(&mut herd, "Ann");
    reload(&mut herd, "Bob");
    // ... then Bob has the new one, ...
    fs::rename(&next, key_file(&herd, "Bob")).expect("it is ours");
    reload(&mut herd, "Bob");
    assert!(herd.process("Bob").said().contains(": its key is sha256:"));
    let at = herd.ask("Bob", "IAMAT kiwi +00+000 1");
    herd.wait_for_at("Ann", "kiwi", &at);
    assert_eq!(downs(&mut herd), 0, "{}", herd.process("Ann").said());
    // ... and at last the old one is out: what was begun with it ends, and is begun anew.
    herd.member_mut("Bob").attributes = vec![new.clone()];
    herd.write_topology();
    let from = Instant::now();
    reload(&mut herd, "Ann");
    wait_until("who has the old key is cut off", || downs(&mut herd) == 1);
    assert!(
        from.elapsed() < Duration::from_secs(5),
        "within a second, on a calm machine"
    );
    let why = format!("the key shown is {}, the topology has ", old.fingerprint);
    herd.wait_for_record("Ann", &why);
    reload(&mut herd, "Bob");
    herd.wait_for_link("Ann", "Bob");
    let at = herd.ask("Bob", "IAMAT kiwi +00+000 2");
    herd.wait_for_at("Ann", "kiwi", &at);
    assert!(answer(&herd, &old, "Bob").starts_with("BYE the key shown is "));
    // A file with a mistake changes nothing.
    herd.member_mut("Ann").attributes = vec![new];
    herd.write_topology();
    herd.process("Ann").signal(Signal::HUP);
    wait_until("Ann says that she has not", || {
        let said = herd.process("Ann").said();
        said.contains("not reloaded, nothing has changed: ") && said.contains("is not a key of Ann")
    });
    assert!(herd.link_is_up("Ann", "Bob"));
}

#[test]
fn who_has_an_old_key_is_cut_off_though_it_does_not_read() {
    let (mut herd, bob) = ann_alone();
    let name = "x".repeat(60_000);
    for n in 0..140 {
        report(&herd, "Ann", &[format!("IAMAT {name}{n} +00+000 1")]);
    }
    let mut peer = TlsPeer::connect(herd.member("Ann").servers, &bob);
    sockopt::set_socket_recv_buffer_size(peer.socket(), 4096).expect("it is a socket");
    peer.hello("Bob", "Ann", 1);
    herd.wait_for_link("Ann", "Bob");
    herd.member_mut("Bob").attributes = vec![format!("key={}", new_key().fingerprint)];
    herd.write_topology();
    reload(&mut herd, "Ann");
    // It is sent more than the kernel takes for it. That does not keep it.
    herd.wait_for_record("Ann", "refused: the key shown is ");
    let mut socket = peer.socket();
    let read = std::io::copy(&mut socket, &mut std::io::sink());
    let error = read.expect_err("what has not arrived by then never does");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}
