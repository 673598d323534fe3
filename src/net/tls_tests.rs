//! The reactor over TLS, and peers that do with it what they should not.

use super::lifecycle::HANDSHAKE_MAX;
use super::*;
use crate::keys::OwnKey;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::thread;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

/// Longer than any test takes.
const PATIENCE: Duration = Duration::from_secs(30);

const MANY: Limits = Limits {
    all: 5_000,
    own: 5_000,
};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Accepted,
    Dialled,
}

impl Role for Side {
    type Codec = ();

    fn codec(self) {}
}

/// A reactor, what has come on each side, and who has gone.
struct World {
    reactor: Reactor<Side, ()>,
    address: SocketAddr,
    key: OwnKey,
    /// Bytes read at once.
    room: usize,
    made: Vec<(ConnectionId, Side)>,
    come: Vec<(Side, Vec<u8>)>,
    ended: usize,
    lost: Vec<String>,
}

impl World {
    /// One that listens, and offers TLS; or whatever the first byte asks for.
    fn new(either: bool) -> World {
        let (key, _) = OwnKey::generate().expect("a key");
        let mut reactor = Reactor::new().expect("the kernel gives a poll");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config = Arc::clone(&key.server);
        let offer = match either {
            true => Offer::Either(Some(config)),
            false => Offer::Tls(config),
        };
        let address = reactor.listen(any, Side::Accepted, MANY, offer);
        let address = address.expect("a port is free");
        let (made, come, lost) = (Vec::new(), Vec::new(), Vec::new());
        World {
            reactor,
            address,
            key,
            room: READ_BYTES_MAX,
            made,
            come,
            ended: 0,
            lost,
        }
    }

    /// Has both sides there.
    fn pair() -> (World, ConnectionId, ConnectionId) {
        let mut world = World::new(false);
        let tls = Some(Arc::clone(&world.key.client));
        let dialled = world.reactor.connect(world.address, Side::Dialled, tls);
        let dialled = dialled.expect("it begins");
        world.turn_until(|world| world.made.len() == 2);
        let accepted = world.made.iter().find(|(_, side)| *side == Side::Accepted);
        let accepted = accepted.expect("both are there").0;
        (world, dialled, accepted)
    }

    fn turn_until(&mut self, done: impl Fn(&World) -> bool) {
        let until = Instant::now() + PATIENCE;
        let mut room = vec![0; self.room];
        while !done(self) {
            assert!(Instant::now() < until, "in vain: {:?}", self.lost);
            self.reactor.flush();
            let soon = Instant::now() + Duration::from_millis(20);
            self.reactor.turn(Some(soon)).expect("the poll goes on");
            while let Some(event) = self.reactor.poll_event() {
                match event {
                    Event::Made(id, side) => self.made.push((id, side)),
                    Event::Lost { reason, .. } => self.lost.push(reason),
                    other => panic!("{other:?}"),
                }
            }
            for _ in 0..self.reactor.ready_len() {
                let Some((id, side)) = self.reactor.poll_ready() else {
                    continue;
                };
                match self.reactor.read(id, &mut room) {
                    Received::Bytes(count) => self.come.push((side, room[..count].to_vec())),
                    Received::Drained => {}
                    Received::End => {
                        self.ended += 1;
                        self.reactor.lose(id, "it ended");
                    }
                }
            }
        }
    }

    fn come_to(&self, side: Side) -> Vec<u8> {
        let come = self.come.iter().filter(|(to, _)| *to == side);
        come.flat_map(|(_, bytes)| bytes.clone()).collect()
    }

    /// A peer that speaks TLS over what `wrap` makes of its socket.
    fn peer<S: Read + Write>(
        &self,
        wrap: impl FnOnce(TcpStream) -> S,
    ) -> StreamOwned<ClientConnection, S> {
        let socket = TcpStream::connect(self.address).expect("it listens");
        socket.set_nodelay(true).expect("it can");
        socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
        let name = ServerName::try_from("anybody").expect("a name");
        let session = ClientConnection::new(Arc::clone(&self.key.client), name);
        StreamOwned::new(session.expect("it is configured"), wrap(socket))
    }
}

/// Bytes that repeat themselves nowhere near.
fn bytes(count: usize) -> Vec<u8> {
    let mut dice = crate::random::SplitMix64(7);
    (0..count).map(|_| dice.below(256) as u8).collect()
}

#[test]
fn much_passes_both_ways_whatever_the_room() {
    for room in [1, 7, 256, 4096, READ_BYTES_MAX] {
        let (mut world, dialled, accepted) = World::pair();
        world.room = room;
        let much = bytes(if room < 256 { 20_000 } else { 3_000_000 });
        for id in [dialled, accepted] {
            world.reactor.send(id, &[&much[..5], &much[5..]]);
            assert!(world.reactor.is_encrypted(id));
        }
        let all = 2 * much.len();
        world.turn_until(|world| world.come.iter().map(|(_, b)| b.len()).sum::<usize>() == all);
        for (side, id) in [(Side::Accepted, accepted), (Side::Dialled, dialled)] {
            assert!(world.come_to(side) == much, "{side:?} {room}");
            let shown = world.reactor.peer_key(id);
            assert_eq!(shown, Some(world.key.fingerprint), "{side:?}");
            assert_eq!(world.reactor.room(id), OUTPUT_BYTES_MAX);
        }
        assert_eq!(world.reactor.lifecycle.pending, 0, "all has left");
    }
}

#[test]
fn what_the_transport_holds_is_pending() {
    let mut world = World::new(false);
    let mut peer = world.peer(|socket| socket);
    let much = bytes(8_000_000);
    let count = much.len();
    let (tell, told) = std::sync::mpsc::channel();
    let reader = thread::spawn(move || {
        let mut read = vec![0];
        peer.read_exact(&mut read).expect("the first comes");
        let _ = told.recv(); // then it reads nothing for a while
        read.resize(count, 0);
        peer.read_exact(&mut read[1..]).expect("all of it comes");
        read
    });
    world.turn_until(|world| !world.made.is_empty());
    let (id, _) = world.made[0];
    world.reactor.send(id, &[&much]);
    let mut left = usize::MAX;
    let until = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < until, "the socket never fills");
        world.turn_until(|_| true);
        let turned = Instant::now();
        world.turn_until(|_| turned.elapsed() > Duration::from_millis(100));
        let connection = world.reactor.lifecycle.connections.get(id);
        let connection = connection.expect("it is there");
        assert_eq!(connection.pending(), world.reactor.lifecycle.pending);
        assert!(!world.reactor.takes_replies(id) && world.reactor.room(id) == 0);
        if connection.pending() == left {
            assert!(connection.transport.held() > 0, "the socket is full");
            assert!(
                connection.transport.held() < 80 * 1024,
                "and no more is taken"
            );
            break;
        }
        left = connection.pending();
    }
    tell.send(()).expect("it waits");
    world.turn_until(|world| world.reactor.room(id) == OUTPUT_BYTES_MAX);
    assert!(reader.join().expect("it reads all") == much);
}

/// A socket on which each byte travels alone.
struct Dripping(TcpStream);

impl Read for Dripping {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let one = room.len().min(1);
        self.0.read(&mut room[..one])
    }
}

impl Write for Dripping {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&bytes[..bytes.len().min(1)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn records_of_a_byte_that_drip_are_a_stream_like_any() {
    let mut world = World::new(true);
    let mut peer = world.peer(Dripping);
    let said = bytes(300);
    let to_say = said.clone();
    let speaker = thread::spawn(move || {
        for byte in to_say {
            peer.write_all(&[byte]).expect("it is taken");
            peer.flush().expect("it leaves");
        }
        peer.conn.send_close_notify();
        peer.flush().expect("it leaves");
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).expect("it ends in good order");
        rest
    });
    world.turn_until(|world| world.ended == 1);
    world.turn_until(|world| world.lost.len() == 1);
    assert_eq!(world.come_to(Side::Accepted), said);
    assert_eq!(speaker.join().expect("it speaks"), b"");
}

/// A socket that keeps what came, too.
struct Keeping(TcpStream, Arc<std::sync::Mutex<Vec<u8>>>);

impl Read for Keeping {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(room)?;
        let mut kept = self.1.lock().expect("nobody panics with it");
        kept.extend_from_slice(&room[..count]);
        Ok(count)
    }
}

impl Write for Keeping {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn what_is_said_before_the_handshake_is_over_leaves_after_it_in_short_records() {
    let mut world = World::new(true);
    let kept = Arc::default();
    let mut peer = world.peer(|socket| Keeping(socket, Arc::clone(&kept)));
    peer.conn.write_tls(&mut peer.sock).expect("it is taken");
    world.turn_until(|world| {
        let mut all = world.reactor.lifecycle.connections.iter();
        all.any(|connection| connection.transport.is_handshaking())
    });
    let (id, _) = world.made[0];
    let much = bytes(100_000);
    world.reactor.send(id, &[&much]);
    world.reactor.lose(id, "that is all");
    let reader = thread::spawn(move || {
        let mut read = Vec::new();
        peer.read_to_end(&mut read).expect("it ends in good order");
        read
    });
    world.turn_until(|world| world.lost.len() == 1);
    assert!(reader.join().expect("it reads") == much);
    assert_eq!(world.lost, ["that is all"]);
    let kept = kept.lock().expect("nobody panics with it");
    let (mut at, mut longest) = (0, 0);
    while at < kept.len() {
        let length = usize::from(u16::from_be_bytes([kept[at + 3], kept[at + 4]]));
        longest = longest.max(length);
        at += 5 + length;
    }
    assert!((8_000..8_300).contains(&longest), "{longest}");
}

#[test]
fn an_end_that_is_not_said_in_tls_is_an_error() {
    for (sends, want) in [
        (Some(&b"the last line\n"[..]), "without saying so in TLS"),
        (None, "during the TLS handshake"),
    ] {
        let mut world = World::new(true);
        let mut peer = world.peer(|socket| socket);
        match sends {
            Some(bytes) => {
                let speaker = thread::spawn(move || {
                    peer.write_all(bytes).expect("it is taken");
                    peer.flush().expect("it leaves");
                    peer.sock.shutdown(Shutdown::Write).expect("it is open");
                    peer
                });
                world.turn_until(|world| world.lost.len() == 1);
                drop(speaker.join().expect("it spoke"));
                assert_eq!(world.come_to(Side::Accepted), bytes);
            }
            None => {
                peer.conn.write_tls(&mut peer.sock).expect("it is taken");
                peer.sock.shutdown(Shutdown::Write).expect("it is open");
                world.turn_until(|world| world.lost.len() == 1);
            }
        }
        assert!(world.lost[0].contains(want), "{:?}", world.lost);
        assert_eq!(world.ended, 0);
    }
}

#[test]
fn the_first_byte_says_what_it_is_where_both_are_offered() {
    let mut world = World::new(true);
    let mut plain = TcpStream::connect(world.address).expect("it listens");
    plain.write_all(b"HELLO").expect("it is taken");
    world.turn_until(|world| world.come_to(Side::Accepted).len() == 5);
    let (id, _) = world.made[0];
    assert!(!world.reactor.is_encrypted(id));
    world.reactor.send(id, &[b"BYE"]);
    world.reactor.lose(id, "that is all");
    world.turn_until(|world| world.reactor.lifecycle.pending == 0);
    let mut said = [0; 3];
    plain.read_exact(&mut said).expect("it is said");
    assert_eq!(&said, b"BYE");
}

#[test]
fn what_is_no_tls_is_refused_where_only_that_is_offered() {
    for nonsense in [
        b"IAMAT kiwi +00+000 1\n".to_vec(),
        b"\x16\x03\x01\xff\xff".repeat(20_000),
        [&b"\x16\x03\x01\x40\x00"[..], &bytes(0x4000)].concat(),
    ] {
        let mut world = World::new(false);
        let mut peer = TcpStream::connect(world.address).expect("it listens");
        let _ = peer.write_all(&nonsense); // it may be hung up on before
        world.turn_until(|world| world.lost.len() == 1);
        assert!(world.lost[0].starts_with("TLS: "), "{:?}", world.lost);
    }
}

#[test]
fn a_handshake_has_a_deadline() {
    let mut world = World::new(false);
    let mut begun = world.peer(|socket| socket);
    let _silent = TcpStream::connect(world.address).expect("it listens");
    let from = Instant::now();
    begun.conn.write_tls(&mut begun.sock).expect("it is taken");
    world.turn_until(|world| world.lost.len() == 2);
    let took = from.elapsed();
    assert!(
        took >= HANDSHAKE_MAX && took < 2 * HANDSHAKE_MAX,
        "{took:?}"
    );
    for reason in &world.lost {
        assert_eq!(reason, "no TLS handshake within 5 seconds");
    }
}

#[test]
fn a_handshake_has_more_time_while_its_role_waits() {
    let mut world = World::new(false);
    world.reactor.gate(Side::Accepted);
    let mut peer = world.peer(|socket| socket);
    let speaker = thread::spawn(move || {
        peer.write_all(b"late").expect("it is taken");
        peer
    });
    let from = Instant::now();
    world.turn_until(|_| from.elapsed() > HANDSHAKE_MAX + Duration::from_millis(100));
    assert!(world.lost.is_empty(), "{:?}", world.lost);
    world.reactor.ungate(Side::Accepted);
    world.turn_until(|world| world.come_to(Side::Accepted) == b"late");
    drop(speaker.join().expect("it spoke"));
}

/// A record that is none.
const GARBAGE: &[u8] = b"\x17\x03\x03\x00\x20 0123456789 0123456789 0123456789";

#[test]
fn what_tls_says_to_nonsense_is_no_longer_pending_when_the_connection_is_lost() {
    let mut world = World::new(false);
    let mut peer = world.peer(|socket| socket);
    let first = thread::spawn(move || {
        peer.read_exact(&mut [0]).expect("the first comes");
        peer
    });
    world.turn_until(|world| !world.made.is_empty());
    let (id, _) = world.made[0];
    world.reactor.send(id, &[&bytes(8_000_000)]);
    world.turn_until(|world| {
        let connection = world.reactor.lifecycle.connections.get(id);
        connection.is_some_and(|connection| connection.transport.held() > 0)
    });
    world.turn_until(|_| first.is_finished());
    let mut peer = first.join().expect("it has read");
    // The socket takes more, and has something to be read, before the next turn: that reads first.
    let mut taken = vec![0; 1 << 20];
    peer.sock.read_exact(&mut taken).expect("it was sent");
    peer.sock.write_all(GARBAGE).expect("it is taken");
    world.turn_until(|world| world.lost.len() == 1);
    assert!(world.lost[0].starts_with("TLS: "), "{:?}", world.lost);
    assert_eq!(world.reactor.lifecycle.pending, 0);
}

#[test]
fn what_was_said_before_nonsense_in_the_same_read_counts() {
    let mut world = World::new(true);
    let mut peer = world.peer(|socket| socket);
    let speaker = thread::spawn(move || {
        peer.conn.complete_io(&mut peer.sock).expect("they agree");
        let mut said = Vec::new();
        for line in [&b"one\n"[..], b"two\n"] {
            peer.conn.writer().write_all(line).expect("it has room");
            peer.conn.write_tls(&mut said).expect("it has room");
        }
        said.extend_from_slice(GARBAGE);
        peer.sock.write_all(&said).expect("it is taken");
        peer
    });
    world.turn_until(|world| world.lost.len() == 1);
    assert_eq!(world.come_to(Side::Accepted), b"one\ntwo\n");
    assert!(world.lost[0].starts_with("TLS: "), "{:?}", world.lost);
    assert_eq!(world.reactor.failed_handshakes(), 0);
    drop(speaker.join().expect("it spoke"));
}

#[test]
fn who_ends_the_handshake_and_the_connection_at_once_is_closed_in_good_order() {
    let mut world = World::new(false);
    let mut peer = world.peer(|socket| socket);
    let speaker = thread::spawn(move || {
        peer.conn.write_tls(&mut peer.sock).expect("it is taken");
        while peer.conn.is_handshaking() {
            peer.conn.read_tls(&mut peer.sock).expect("it is answered");
            peer.conn.process_new_packets().expect("it is TLS");
        }
        peer.conn.send_close_notify();
        let mut said = Vec::new();
        while peer.conn.wants_write() {
            peer.conn.write_tls(&mut said).expect("it has room");
        }
        peer.sock.write_all(&said).expect("it is taken");
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).map(|_| rest)
    });
    world.turn_until(|world| world.lost.len() == 1);
    assert_eq!(world.lost, ["it ended"]);
    assert_eq!(speaker.join().expect("it spoke").expect("an end"), b"");
    assert_eq!(world.reactor.failed_handshakes(), 0);
}

#[test]
fn a_handshake_that_fails_at_its_first_byte_has_failed() {
    for either in [false, true] {
        let mut world = World::new(either);
        let mut peer = TcpStream::connect(world.address).expect("it listens");
        let hello = [&b"\x16\x03\x01\x00\x20"[..], &bytes(0x20)].concat();
        peer.write_all(&hello).expect("it is taken");
        world.turn_until(|world| world.lost.len() == 1);
        assert_eq!(world.reactor.failed_handshakes(), 1, "{:?}", world.lost);
    }
}
