//! What a herd promises where it has keys: links are encrypted, a neighbour is its key and its name, and who is
//! neither costs little and harms nobody.

#[path = "support/keys.rs"]
mod keys;
mod support;
#[path = "support/wire.rs"]
mod wire;
#[path = "support/wired.rs"]
mod wired;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use herd::keys::OwnKey;
use rustix::net::sockopt;
use rustix::process::Signal;

use keys::{TlsPeer, give_key, key_file, keygen, with_keys};
use support::{Client, Herd, wait_until};
use wire::FakeNeighbour;
use wired::{report, start_with_topology};

const PAIR: &[(&str, &[&str])] = &[("Ann", &["Bob"]), ("Bob", &[])];

/// Ann runs, and Bob is for the test to be: his key.
fn ann_alone() -> (Herd, OwnKey) {
    let mut herd = with_keys(&[("Ann", &["Bob", "Cid"]), ("Bob", &[]), ("Cid", &[])]);
    herd.start("Ann");
    let bob = OwnKey::read(&key_file(&herd, "Bob")).expect("it is a key");
    (herd, bob)
}

fn new_key() -> OwnKey {
    OwnKey::generate().expect("a key").0
}

/// Says a hello to Ann's server port with a key, and gives what she answers.
fn answer(herd: &Herd, key: &OwnKey, name: &str) -> String {
    let mut peer = TlsPeer::connect(herd.member("Ann").servers, key);
    peer.hello(name, "Ann", 1);
    peer.line()
}

// ---- links

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

/// Has `name` read its files anew, and waits until it says that it has.
fn reload(herd: &mut Herd, name: &str) {
    let reloads = |herd: &mut Herd| herd.process(name).said().matches(": reloaded ").count();
    let before = reloads(herd);
    herd.process(name).signal(Signal::HUP);
    wait_until(&format!("{name} has reloaded"), || reloads(herd) > before);
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

// ---- what may be wrong with a connection

#[test]
fn what_was_cut_off_counts_for_nothing() {
    let (herd, bob) = ann_alone();
    for (serial, in_order) in [(1, false), (2, true)] {
        let mut peer = TlsPeer::connect(herd.member("Ann").servers, &bob);
        peer.hello("Bob", "Ann", serial);
        assert!(peer.line().starts_with("HELLO "));
        let whole = format!("AT Bob +0.000000000 whole{serial} +00+000 1");
        peer.send(format!("{whole}\nAT Bob +0.000000000 cut{serial} +00+000 12").as_bytes());
        match in_order {
            true => peer.end(),
            false => peer.socket().shutdown(Shutdown::Write).expect("it is open"),
        }
        herd.wait_for_at("Ann", &format!("whole{serial}"), &whole);
        let why = match in_order {
            true => "closed by the neighbour",
            false => "it closed without saying so in TLS (close_notify)",
        };
        herd.wait_for_record("Ann", why);
        assert_eq!(herd.at("Ann", &format!("cut{serial}")), None);
    }
}

#[test]
fn handshakes_that_stop_cost_little_and_are_ended() {
    const STRANGERS: usize = 1_000;
    const EACH_BYTES_MAX: u64 = 24 * 1024;
    let (mut herd, bob) = ann_alone();
    let address = herd.member("Ann").servers;
    // A whole ClientHello, after which the server has said all that it has to say.
    let begun = |stop: usize| {
        let name = rustls::pki_types::ServerName::try_from("anybody").expect("a name");
        let session = rustls::ClientConnection::new(std::sync::Arc::clone(&bob.client), name);
        let mut hello = Vec::new();
        let mut session = session.expect("it is configured");
        session.write_tls(&mut hello).expect("a buffer takes it");
        let mut socket = TcpStream::connect(address).expect("she listens");
        socket
            .write_all(&hello[..hello.len().min(stop)])
            .expect("she reads");
        socket
    };
    drop(begun(usize::MAX));
    let before = herd.process("Ann").resident_bytes();
    let from = Instant::now();
    let strangers: Vec<_> = (0..STRANGERS)
        .map(|n| begun([usize::MAX, 100][n % 2]))
        .collect();
    // They keep nobody out.
    let said = answer(&herd, &bob, "Bob");
    assert!(said.starts_with("HELLO "), "{said}");
    let each = (herd.process("Ann").resident_bytes() - before) / STRANGERS as u64;
    support::reference::say(&format!("a handshake that has begun takes {each} bytes"));
    assert!(each <= EACH_BYTES_MAX, "{each} bytes each");
    for mut socket in strangers {
        socket
            .set_read_timeout(Some(support::PATIENCE))
            .expect("not zero");
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest); // a reset is an end too
    }
    assert!(
        from.elapsed() >= Duration::from_secs(4),
        "they had their time"
    );
    herd.wait_for_record("Ann", "within 5 seconds");
}

#[test]
fn a_flood_of_handshakes_delays_nobody_for_long() {
    const THREADS: usize = 4;
    const EACH: usize = 250;
    const WAIT_MAX: Duration = Duration::from_secs(2);
    let mut herd = with_keys(PAIR);
    herd.start_all();
    let address = herd.member("Ann").servers;
    let stranger = new_key();
    let flood: Vec<_> = (0..THREADS)
        .map(|_| {
            let stranger = stranger.clone();
            thread::spawn(move || {
                for _ in 0..EACH {
                    let mut peer = TlsPeer::connect(address, &stranger);
                    peer.hello("Bob", "Ann", 1);
                    assert!(peer.rest().starts_with("BYE "), "it is refused");
                }
            })
        })
        .collect();
    let mut client = herd.client("Ann");
    let mut slowest = Duration::ZERO;
    for time in 0.. {
        let from = Instant::now();
        client.say(&format!("IAMAT kiwi +00+000 {time}"));
        let at = client.line();
        slowest = slowest.max(from.elapsed());
        if flood.iter().all(thread::JoinHandle::is_finished) {
            herd.wait_for_at("Bob", "kiwi", &at);
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    flood
        .into_iter()
        .for_each(|thread| thread.join().expect("all were refused"));
    assert!(slowest < WAIT_MAX, "{slowest:?}");
    let ups = herd
        .process("Bob")
        .said()
        .matches("link to Ann is up")
        .count();
    assert_eq!(ups, 1, "the link stood all the time");
}

/// Carries connections to `target`, in pieces of odd sizes.
fn chopper(target: SocketAddr) -> SocketAddr {
    const SIZES: [usize; 8] = [1, 7, 4_097, 16_408, 2, 65_000, 31, 5];
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = listener.local_addr().expect("it is bound");
    let carry = |mut from: TcpStream, mut to: TcpStream| {
        let mut bytes = vec![0; 65_536];
        for size in SIZES.into_iter().cycle() {
            match from.read(&mut bytes[..size]) {
                Ok(0) | Err(_) => break,
                Ok(n) if to.write_all(&bytes[..n]).is_err() => break,
                Ok(_) => {}
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    };
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = TcpStream::connect(target) else {
                continue;
            };
            near.set_nodelay(true).expect("it is connected");
            far.set_nodelay(true).expect("it is connected");
            let clones = (near.try_clone(), far.try_clone());
            let (Ok(near_too), Ok(far_too)) = clones else {
                continue;
            };
            thread::spawn(move || carry(near, far));
            thread::spawn(move || carry(far_too, near_too));
        }
    });
    address
}

#[test]
fn tens_of_thousands_of_locations_cross_in_odd_pieces() {
    const COUNT: usize = 30_000;
    let mut herd = with_keys(PAIR);
    // Ann cannot reach Bob, and Bob reaches Ann through the chopper only.
    let text = herd.topology_text();
    let [ann, bob] = ["Ann", "Bob"].map(|name| herd.member(name).servers);
    let nowhere = support::free_addresses(1)[0].to_string();
    let of_ann = text.replace(&bob.to_string(), &nowhere);
    let of_bob = text.replace(&ann.to_string(), &chopper(ann).to_string());
    start_with_topology(&mut herd, "Ann", &of_ann);
    let lines: Vec<_> = (0..COUNT)
        .map(|n| format!("IAMAT ann{n} +12.5-003.25 {n}"))
        .collect();
    let of_ann = report(&herd, "Ann", &lines);
    start_with_topology(&mut herd, "Bob", &of_bob);
    let lines: Vec<_> = (0..COUNT)
        .map(|n| format!("IAMAT bob{n} +12.5-003.25 {n}"))
        .collect();
    let of_bob = report(&herd, "Bob", &lines);
    herd.wait_for_at(
        "Bob",
        &format!("ann{}", COUNT - 1),
        of_ann.last().expect("some"),
    );
    herd.wait_for_at(
        "Ann",
        &format!("bob{}", COUNT - 1),
        of_bob.last().expect("some"),
    );
    for n in (0..COUNT).step_by(997) {
        assert_eq!(
            herd.at("Bob", &format!("ann{n}")).as_ref(),
            Some(&of_ann[n])
        );
        assert_eq!(
            herd.at("Ann", &format!("bob{n}")).as_ref(),
            Some(&of_bob[n])
        );
    }
}

// ---- keys in files

/// Runs openssl. Gives what it prints.
fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let child = command.stderr(Stdio::piped()).spawn();
    let mut child = child.expect("this test needs openssl (apt-get install openssl)");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    output.stdout
}

/// The attribute of a key, as openssl sees it.
fn attribute_by_openssl(key: &Path) -> String {
    let path = key.to_str().expect("its name is text");
    let public = openssl(&["pkey", "-in", path, "-pubout", "-outform", "DER"], b"");
    let sum = openssl(&["dgst", "-sha256", "-r"], &public);
    let sum = String::from_utf8(sum).expect("it is text");
    format!("key=sha256:{}", &sum[..64])
}

#[test]
#[ignore = "needs openssl (apt-get install openssl)"]
fn keygen_makes_what_openssl_reads_and_overwrites_nothing() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("key");
    assert_eq!(keygen(&path), attribute_by_openssl(&path));
    let mode = fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(&path).expect("it is text");
    assert!(text.starts_with("-----BEGIN PRIVATE KEY-----"), "PKCS#8");
    let mut again = Command::new(env!("CARGO_BIN_EXE_herd"));
    let again = again
        .args(["keygen", "--out"])
        .arg(&path)
        .output()
        .expect("it starts");
    assert_eq!(again.status.code(), Some(2));
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(
        said.ends_with("key is there already, and is not overwritten\n"),
        "{said}"
    );
    assert_eq!(fs::read_to_string(&path).ok(), Some(text));
}

/// The kinds of key that openssl makes and a herd takes.
const KINDS: [&[&str]; 4] = [
    &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    &["-algorithm", "ED25519"],
    &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
];

#[test]
#[ignore = "needs openssl (apt-get install openssl)"]
fn any_key_of_openssls_will_do() {
    let mut herd = with_keys(PAIR);
    herd.start("Ann");
    for kind in KINDS {
        let file = key_file(&herd, "Bob");
        fs::remove_file(&file).expect("it was there");
        let path = file.to_str().expect("text").to_owned();
        openssl(&[&["genpkey", "-out", &path], kind].concat(), b"");
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&file, mode).expect("it is ours");
        herd.member_mut("Bob").attributes = vec![attribute_by_openssl(&file)];
        herd.write_topology();
        herd.kill("Ann");
        herd.kill("Bob");
        herd.start_all();
        let at = herd.ask("Bob", "IAMAT kiwi +00+000 1");
        herd.wait_for_at("Ann", "kiwi", &at);
        herd.kill("Bob");
        // And any certificate of such a key, whatever it says of itself.
        let certificate = herd.directory.path().join("certificate");
        let certificate = certificate.to_str().expect("text");
        let subject = ["-subj", "/CN=somebody else", "-days", "1"];
        let request = ["req", "-new", "-x509", "-key", &path, "-out", certificate];
        openssl(&[&request[..], &subject].concat(), b"");
        let ann = herd.member("Ann").servers.to_string();
        let hello = b"HELLO herd/1 Bob Ann 0000000000000b0b 1 - 0\n";
        let connect = ["s_client", "-quiet", "-no_ign_eof", "-connect", &ann];
        let with = ["-cert", certificate, "-key", &path];
        let mut command = Command::new("openssl");
        command.args(connect).args(with).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command
            .spawn()
            .expect("this test needs openssl (apt-get install openssl)");
        let stdin = child.stdin.as_mut().expect("it is piped");
        stdin.write_all(hello).expect("it reads");
        let mut said = [0; 21];
        let stdout = child.stdout.as_mut().expect("it is piped");
        let heard = stdout.read_exact(&mut said);
        let _ = child.kill();
        let _ = child.wait();
        heard.expect("she answers");
        assert_eq!(String::from_utf8_lossy(&said), "HELLO herd/1 Ann Bob ");
    }
}

/// Starts `name`, which is to refuse, and gives what it says.
fn refused(herd: &Herd, name: &str) -> String {
    let mut command = herd.command(name);
    let output = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    said
}

#[test]
fn a_key_that_cannot_be_used_is_no_start() {
    let mut herd = with_keys(PAIR);
    let file = key_file(&herd, "Ann");
    let open = fs::Permissions::from_mode(0o640);
    fs::set_permissions(&file, open).expect("it is ours");
    assert!(refused(&herd, "Ann").contains("run chmod 600 on it"));
    let private = || fs::Permissions::from_mode(0o600);
    fs::set_permissions(&file, private()).expect("it is ours");
    fs::write(&file, "no key").expect("it is ours");
    assert!(refused(&herd, "Ann").contains("holds no private key in PEM"));
    fs::remove_file(&file).expect("it is there");
    assert!(refused(&herd, "Ann").contains("cannot be read"));
    let attribute = keygen(&file);
    let said = refused(&herd, "Ann");
    assert!(
        said.contains("is not a key of Ann: add key=") && said.contains(&attribute),
        "{said}"
    );
    herd.member_mut("Ann").arguments.clear();
    assert!(refused(&herd, "Ann").contains("say which file it is (--key FILE)"));
}

#[test]
fn check_says_what_is_wrong() {
    let herd = with_keys(PAIR);
    let check = |arguments: &[&Path]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_herd"));
        command.arg("check").arg("--topology").arg(herd.topology());
        arguments
            .iter()
            .for_each(|key| _ = command.arg("--key").arg(key));
        let output = command.output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let [ann, bob] = ["Ann", "Bob"].map(|name| key_file(&herd, name));
    assert_eq!(check(&[&ann, &bob]), (Some(0), String::new()));
    let other = herd.directory.path().join("other");
    let attribute = keygen(&other);
    let (code, said) = check(&[&ann, &other, Path::new("/nowhere")]);
    assert_eq!(code, Some(2));
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].ends_with(&format!(" has {attribute}")), "{said}");
    assert!(
        lines[1].starts_with("herd: /nowhere cannot be read: "),
        "{said}"
    );
    let text = herd.topology_text();
    let (first, _) = text.split_once(" key=").expect("there is one");
    let half = format!("{first}\n{}", text.lines().last().expect("two lines"));
    fs::write(herd.topology(), half).expect("it is ours");
    let (code, said) = check(&[]);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("no link between Bob and Ann: Bob has a key="),
        "{said}"
    );
    fs::write(herd.topology(), "Ann h:1 h:2\nBob\n").expect("it is ours");
    let (code, said) = check(&[]);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("topology.txt:2: Bob has no client address"),
        "{said}"
    );
}

// ---- clients

/// Makes a certificate for clients. Gives its file and that of its key.
fn certificate(herd: &Herd, file: &str) -> [String; 2] {
    let path = |end: &str| {
        let path = herd.directory.path().join(format!("{file}.{end}"));
        path.to_str().expect("text").to_owned()
    };
    let (certificate, key) = (path("crt"), path("key"));
    openssl(
        &[
            "req",
            "-new",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            &key,
            "-out",
            &certificate,
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-days",
            "2",
        ],
        b"",
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("it is ours");
    [certificate, key]
}

#[test]
#[ignore = "needs openssl and curl (apt-get install openssl curl)"]
fn clients_are_served_over_tls() {
    let mut herd = Herd::new(&[("Ann", &[])]);
    let [address, https] = support::free_addresses(2)[..] else {
        panic!("there are two")
    };
    let address = address.to_string();
    let attributes = [format!("tls={address}"), format!("http={https}")];
    herd.member_mut("Ann").attributes.extend(attributes);
    herd.write_topology();
    assert!(refused(&herd, "Ann").contains("give a certificate (--tls-cert FILE --tls-key FILE)"));
    let [certificate, key] = certificate(&herd, "clients");
    let arguments = ["--tls-cert", &certificate, "--tls-key", &key].map(str::to_owned);
    herd.member_mut("Ann").arguments.extend(arguments);
    herd.start("Ann");
    for version in ["-tls1_2", "-tls1_3"] {
        let mut command = Command::new("openssl");
        command.args([
            "s_client",
            "-quiet",
            "-verify_return_error",
            "-CAfile",
            &certificate,
        ]);
        command
            .args([version, "-connect", &address])
            .stderr(Stdio::null());
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("this test needs openssl (apt-get install openssl)");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin
            .write_all(b"IAMAT kiwi +00+000 1\nWHERE\n")
            .expect("it reads");
        let mut said = String::new();
        let stdout = child.stdout.as_mut().expect("it is piped");
        for _ in 0..2 {
            let mut byte = [0];
            while byte != *b"\n" {
                stdout.read_exact(&mut byte).expect("she answers");
                said.push(char::from(byte[0]));
            }
        }
        let _ = child.kill();
        let _ = child.wait();
        assert!(
            said.starts_with("AT Ann +") && said.ends_with("\n? WHERE\n"),
            "{said}"
        );
    }
    // HTTP is HTTPS then.
    let url = format!("https://localhost:{}/v1/clients/kiwi", https.port());
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "20"]);
    let got = curl.args(["--cacert", &certificate, &url]).output();
    let got = got.expect("this test needs curl (apt-get install curl)");
    let text = String::from_utf8_lossy(&got.stdout).into_owned();
    assert!(text.contains("\"client\":\"kiwi\""), "{text} {got:?}");
    // A certificate that is renewed is shown from the next reload on.
    let [renewed, renewed_key] = self::certificate(&herd, "renewed");
    fs::rename(&renewed, &certificate).expect("it is ours");
    fs::rename(&renewed_key, &key).expect("it is ours");
    reload(&mut herd, "Ann");
    assert!(herd.process("Ann").said().contains(": another certificate"));
    let check = ["-verify_return_error", "-CAfile", &certificate];
    openssl(
        &[&["s_client", "-connect", &address][..], &check].concat(),
        b"",
    );
    // The port without TLS is there as before, and each takes the other's language for nonsense.
    assert!(
        herd.ask("Ann", "IAMAT kiwi +00+000 2")
            .starts_with("AT Ann ")
    );
    let mut plain = Client::connect(address.parse().expect("an address"));
    plain.say("IAMAT kiwi +00+000 3");
    plain.rest();
    herd.wait_for_record("Ann", "TLS: ");
}
