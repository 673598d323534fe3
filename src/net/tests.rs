//! The reactor over real sockets.

use super::flow::Flow;
use super::lifecycle::STALL_MAX;
use super::*;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream as Peer};

/// What all connections are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OneRole;

impl Role for OneRole {
    type Codec = ();

    fn codec(self) {}
}

const TEN: Limits = Limits { all: 10, own: 10 };

/// A kernel that has no room for a connection drops its SYN, which is sent again after a second, two
/// more, four more.
const BURST_WITHIN: Duration = Duration::from_secs(5);

/// A reactor with one connection of [`OneRole`], and the peer's end of that.
fn one_connection() -> (Reactor<OneRole, ()>, ConnectionId, Peer) {
    let mut reactor = Reactor::new().expect("the kernel gives a poll");
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let bound = reactor
        .listen(any, OneRole, TEN, Offer::Plain)
        .expect("a port is free");
    let peer = Peer::connect(bound).expect("it listens");
    loop {
        reactor.turn(None).expect("the poll works");
        if let Some(Event::Made(id, OneRole)) = reactor.poll_event() {
            return (reactor, id, peer);
        }
    }
}

/// So many more connections to the same, and the peers' ends.
fn more_connections(
    reactor: &mut Reactor<OneRole, ()>,
    count: usize,
) -> (Vec<ConnectionId>, Vec<Peer>) {
    let bound = reactor.lifecycle.listeners.bound(0);
    let (mut ids, mut peers) = (Vec::new(), Vec::new());
    while ids.len() < count {
        peers.push(Peer::connect(bound).expect("it listens"));
        reactor.turn(None).expect("the poll works");
        while let Some(event) = reactor.poll_event() {
            match event {
                Event::Made(id, OneRole) => ids.push(id),
                event => panic!("unexpected: {event:?}"),
            }
        }
    }
    (ids, peers)
}

fn lost(reactor: &mut Reactor<OneRole, ()>) -> Option<String> {
    match reactor.poll_event() {
        Some(Event::Lost { reason, .. }) => Some(reason),
        Some(event) => panic!("unexpected: {event:?}"),
        None => None,
    }
}

#[test]
fn a_burst_of_connections_is_made_before_any_is_taken() {
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    let most: usize = most.map_or(128, |text| text.trim().parse().expect("a number"));
    let mut reactor = Reactor::<OneRole, ()>::new().expect("the kernel gives a poll");
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let bound = reactor
        .listen(any, OneRole, TEN, Offer::Plain)
        .expect("a port is free");
    let peers = (0..most.min(300)).map(|_| Peer::connect_timeout(&bound, BURST_WITHIN));
    let peers: Result<Vec<_>, _> = peers.collect();
    peers.expect("the kernel makes them all");
}

#[test]
fn a_turn_is_shared_among_those_who_are_ready() {
    for (ready, quota) in [
        (0, READ_BYTES_MAX),
        (8, READ_BYTES_MAX),
        (32, READ_BYTES_MAX),
        (64, READ_BYTES_MAX / 2),
        (1_024, 2_048),
        (1_000_000, READ_QUOTA_BYTES_MIN),
    ] {
        assert_eq!(read_quota(ready), quota, "{ready} are ready");
    }
}

#[test]
fn who_has_more_to_say_is_ready_again() {
    let (mut reactor, id, mut peer) = one_connection();
    peer.write_all(&[b'x'; 5_000]).expect("the kernel takes it");
    let mut read = 0;
    while read < 5_000 {
        reactor.turn(None).expect("the poll works");
        assert_eq!(reactor.ready_len(), 1, "after {read} bytes");
        assert_eq!(reactor.poll_ready(), Some((id, OneRole)));
        if let Received::Bytes(n) = reactor.read(id, &mut [0; 999]) {
            read += n;
        }
    }
    assert_eq!((read, reactor.ready_len()), (5_000, 0));
}

#[test]
fn who_takes_nothing_for_five_minutes_is_given_up() {
    let (mut reactor, id, mut peer) = one_connection();
    let long: Arc<[u8]> = vec![b'x'; 64 << 20].into(); // more than any kernel takes
    reactor.reserve(id, ReplyId(1), &[]);
    reactor.fill(id, ReplyId(1), b"", long, b"");
    reactor.flush();
    let first = Instant::now();
    reactor
        .lifecycle
        .expire(first + STALL_MAX - Duration::from_secs(10));
    assert_eq!(lost(&mut reactor), None);
    // It takes some, so its time begins anew.
    let pending = reactor.lifecycle.pending;
    let mut bytes = vec![0; 1 << 20];
    while reactor.lifecycle.pending == pending {
        let n = peer.read(&mut bytes).expect("there is more");
        assert!(n > 0, "it is open");
        reactor.turn(Some(Instant::now())).expect("the poll works");
        reactor.flush();
    }
    let later = Instant::now();
    reactor
        .lifecycle
        .expire(later + STALL_MAX - Duration::from_secs(10));
    assert_eq!(lost(&mut reactor), None);
    reactor.lifecycle.expire(later + STALL_MAX);
    let reason = lost(&mut reactor).expect("it is given up");
    assert_eq!(reason, "took no bytes for 300 seconds");
    reactor.turn(Some(Instant::now())).expect("the poll works");
    assert_eq!(
        (
            reactor.lifecycle.pending,
            reactor.lifecycle.connections.len()
        ),
        (0, 0)
    );
}

#[test]
fn what_is_buffered_of_all_is_bounded_and_who_has_the_most_is_closed() {
    let (mut reactor, little, _peer) = one_connection();
    let (ids, _peers) = more_connections(&mut reactor, 3);
    let mebibytes = |count: usize| vec![b'x'; count << 20];
    reactor.pause(little, &mebibytes(1));
    reactor.pause(ids[0], &mebibytes(80));
    let line = mebibytes(100); // without an end
    reactor.decode(ids[1], |_, input| input.push(&line));
    reactor.pause(ids[2], &mebibytes(75));
    assert_eq!(reactor.lifecycle.buffered, INPUT_ALL_BYTES_MAX);
    reactor.flush();
    assert_eq!(lost(&mut reactor), None, "there is just room enough");
    reactor.pause(little, b"x");
    reactor.flush();
    let reason = lost(&mut reactor).expect("one is given up");
    let want = "over 256 MiB of unhandled input were buffered, 104857600 bytes of it its own";
    assert_eq!(reason, want);
    assert!(matches!(reactor.poll_event(), Some(Event::InputFull)));
    assert_eq!(lost(&mut reactor), None);
    assert_eq!(reactor.lifecycle.buffered, (156 << 20) + 1);
    // What is handled counts no more, nor who has gone.
    reactor.decode(little, |_, input| input.consume(input.len()));
    assert_eq!(reactor.lifecycle.buffered, 155 << 20);
    reactor.lose(ids[0], "enough");
    reactor.pause(ids[0], &mebibytes(1));
    reactor.abort(ids[2], "enough");
    assert_eq!(reactor.lifecycle.buffered, 0);
}

#[test]
fn the_largest_backlog_is_given_up_before_a_client_that_reads() {
    let (mut reactor, little, _peer) = one_connection();
    let (ids, _peers) = more_connections(&mut reactor, 1);
    let (long, much) = (Arc::<[u8]>::from(vec![b'x'; 64 << 20]), ids[0]);
    for (id, answers) in [(little, 1), (much, 3)] {
        if id == much {
            reactor.reserve(id, ReplyId(0), &[]); // the other has just taken some
        }
        for answer in 1..=answers {
            reactor.reserve(id, ReplyId(answer), &[]);
            reactor.fill(id, ReplyId(answer), b"", Arc::clone(&long), b"");
        }
    }
    assert_eq!(reactor.lifecycle.pending, OUTPUT_ALL_BYTES_MAX);
    reactor.flush();
    assert_eq!(lost(&mut reactor), None, "there is just room enough");
    // The kernel may take more at each flush, until its buffers are full.
    let reason = loop {
        let taken = OUTPUT_ALL_BYTES_MAX - reactor.lifecycle.pending;
        reactor.send(little, &[&vec![b'x'; taken + 1]]);
        reactor.flush();
        if let Some(reason) = lost(&mut reactor) {
            break reason;
        }
    };
    let want = "over 256 MiB of output were pending for all, 201326592 bytes of it its own";
    assert_eq!(reason, want);
    assert!(matches!(reactor.poll_event(), Some(Event::OutputFull)));
    assert_eq!(
        (lost(&mut reactor), reactor.lifecycle.pending),
        (None, (64 << 20) + 1)
    );
    assert!(reactor.is_open(little));
}

#[test]
fn who_has_long_taken_nothing_is_given_up_before_a_larger_backlog() {
    let (mut reactor, slow, _peer) = one_connection();
    let (ids, _peers) = more_connections(&mut reactor, 1);
    let (long, much) = (Arc::<[u8]>::from(vec![b'x'; 64 << 20]), ids[0]);
    reactor.reserve(much, ReplyId(0), &[]);
    for (id, answers) in [(slow, 1), (much, 4)] {
        for answer in 1..=answers {
            reactor.reserve(id, ReplyId(answer), &[]);
            reactor.fill(id, ReplyId(answer), b"", Arc::clone(&long), b"");
        }
    }
    for id in [slow, much] {
        reactor.lifecycle.flush_one(id);
    }
    assert!(reactor.lifecycle.pending > OUTPUT_ALL_BYTES_MAX);
    reactor
        .lifecycle
        .relieve(Instant::now() + pressure::UNREAD_MAX);
    let reason = lost(&mut reactor).expect("one is given up");
    let want = "over 256 MiB of output were pending for all, and it had long taken none";
    assert_eq!(reason, want);
    assert!(matches!(reactor.poll_event(), Some(Event::OutputFull)));
    assert_eq!(
        (lost(&mut reactor), reactor.lifecycle.pending),
        (None, OUTPUT_ALL_BYTES_MAX)
    );
}

#[test]
fn only_who_is_quiet_is_closed_for_being_silent() {
    let (mut reactor, id, _peer) = one_connection();
    reactor.close_idle(OneRole, Duration::from_secs(60));
    let look = |reactor: &mut Reactor<OneRole, ()>, second| {
        reactor.lifecycle.second = second;
        let now = reactor
            .lifecycle
            .idle
            .as_ref()
            .map(Idle::next)
            .expect("it is set");
        reactor.lifecycle.lose_idle(now);
        reactor.is_open(id)
    };
    assert!(look(&mut reactor, 60), "not yet");
    reactor.pause(id, b"");
    assert!(look(&mut reactor, 1_000), "it is paused");
    let connection = reactor
        .lifecycle
        .connections
        .get_mut(id)
        .expect("it is there");
    connection.paused = false;
    connection.transport.set_readable(true);
    assert!(look(&mut reactor, 1_000), "it has said something");
    let connection = reactor
        .lifecycle
        .connections
        .get_mut(id)
        .expect("it is there");
    connection.transport.set_readable(false);
    connection.flow = Flow::new(940);
    assert!(look(&mut reactor, 1_000), "it was just so long ago");
    assert!(!look(&mut reactor, 1_001));
    assert_eq!(reactor.open_len(OneRole), 0);
}

/// Two things that connections may be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TwoRoles {
    Gated,
    Other,
}

impl Role for TwoRoles {
    type Codec = ();

    fn codec(self) {}
}

#[test]
fn a_role_that_waits_is_neither_read_from_nor_written_to_and_keeps_no_loop_awake() {
    use TwoRoles::{Gated, Other};
    let mut reactor = Reactor::<TwoRoles, ()>::new().expect("the kernel gives a poll");
    let [(gated, mut gated_peer), (other, mut other_peer)] = [Gated, Other].map(|role| {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let bound = reactor
            .listen(any, role, TEN, Offer::Plain)
            .expect("a port is free");
        let peer = Peer::connect(bound).expect("it listens");
        loop {
            reactor.turn(None).expect("the poll works");
            if let Some(Event::Made(id, of)) = reactor.poll_event() {
                assert_eq!(of, role);
                return (id, peer);
            }
        }
    });
    let nothing_has_come = |peer: &Peer| {
        peer.set_nonblocking(true).expect("it is a socket");
        let arrived = peer.peek(&mut [0]).map_err(|error| error.kind());
        peer.set_nonblocking(false).expect("it is a socket");
        arrived == Err(ErrorKind::WouldBlock)
    };
    // One is ready and has output before its role has to wait.
    for peer in [&mut gated_peer, &mut other_peer] {
        peer.write_all(b"x").expect("the kernel takes it");
    }
    while reactor.ready_len() < 2 {
        reactor.turn(None).expect("the poll works");
    }
    for id in [gated, other] {
        reactor.send(id, &[b"1"]);
    }
    reactor.gate(Gated);
    reactor.flush();
    assert_eq!(reactor.ready_len(), 1);
    assert_eq!(reactor.poll_ready(), Some((other, Other)));
    assert_eq!(reactor.read(other, &mut [0; 9]), Received::Bytes(1));
    other_peer.read_exact(&mut [0]).expect("it is sent its own");
    // More of both while it waits.
    reactor.send(gated, &[b"2"]);
    gated_peer.write_all(b"y").expect("the kernel takes it");
    let until = Instant::now() + Duration::from_millis(50);
    let mut turns = 0;
    while Instant::now() < until {
        reactor.flush();
        reactor.turn(Some(until)).expect("the poll works");
        assert_eq!(reactor.poll_ready(), None);
        turns += 1;
    }
    assert!(turns < 10, "{turns} turns for one edge");
    assert!(nothing_has_come(&gated_peer));
    assert!(!reactor.is_empty(), "it is not forgotten");
    reactor.ungate(Gated);
    reactor.flush();
    let mut got = [0; 2];
    gated_peer.read_exact(&mut got).expect("it is sent all");
    assert_eq!(&got, b"12");
    assert_eq!(reactor.poll_ready(), Some((gated, Gated)));
    assert_eq!(reactor.read(gated, &mut [0; 9]), Received::Bytes(2));
    // One that goes while its role waits is lost at once.
    reactor.gate(Gated);
    reactor.send(gated, &[b"3"]);
    reactor.abort(gated, "enough");
    reactor.turn(Some(Instant::now())).expect("the poll works");
    reactor.ungate(Gated);
    reactor.flush();
    assert_eq!(reactor.poll_ready(), None);
    assert_eq!(gated_peer.read(&mut [0; 9]).expect("it has ended"), 0);
}

#[test]
fn a_connection_costs_what_the_readme_says() {
    assert!(
        size_of::<Connection<OneRole>>() <= 320,
        "{}",
        size_of::<Connection<OneRole>>()
    );
}
