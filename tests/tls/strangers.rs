//! What may be wrong with a connection.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::keys::{TlsPeer, with_keys};
use crate::support;
use crate::wired::{report, start_with_topology};
use crate::{PAIR, ann_alone, answer, new_key};

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
