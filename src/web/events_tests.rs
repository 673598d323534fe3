//! Followers of events over connections that hold what they were sent, until they read.

use std::collections::BTreeMap;

use super::*;
use crate::http::{Manner, Response};
use crate::node::Seeds;
use crate::time::Timestamp;
use crate::topology::Topology;
use crate::web::report;

/// Connections that hold what they were sent, until they read.
#[derive(Default)]
struct Readers {
    pending: BTreeMap<ConnectionId, Vec<u8>>,
    sends: usize,
}

impl Wire for Readers {
    fn pending(&self, id: ConnectionId) -> Option<usize> {
        self.pending.get(&id).map(Vec::len)
    }

    fn send(&mut self, id: ConnectionId, bytes: &[u8]) {
        self.sends += 1;
        let pending = self.pending.get_mut(&id).expect("it is there");
        pending.extend_from_slice(bytes);
    }
}

struct World {
    node: Node,
    followers: Followers,
    readers: Readers,
    now: Now,
}

fn id(serial: u64) -> ConnectionId {
    ConnectionId { serial, slot: 0 }
}

impl World {
    fn new(followers: u64) -> World {
        let now = Now {
            mono: Instant::now(),
            wall: Timestamp::new(1_000, 0),
        };
        let topology = Topology::parse(b"Blake h:1 h:2").expect("it is one");
        let seeds = Seeds::new(|| 1);
        let node = Node::new(&topology.members()[0], &topology, seeds, now);
        let mut world = World {
            node,
            followers: Followers::new(now.mono),
            readers: Readers::default(),
            now,
        };
        (0..followers).for_each(|serial| world.add(serial, From::Now));
        world
    }

    fn add(&mut self, serial: u64, from: From) {
        let head = Response {
            status: 200,
            content_type: CONTENT_TYPE,
            fields: &[],
            date: "",
        };
        let stream = head.write_stream(&mut Vec::new(), Manner::LAST); // no chunks
        let first = self
            .followers
            .add(id(serial), stream, from, &self.node, self.now);
        self.readers.pending.insert(id(serial), first);
    }

    fn report(&mut self, client: &str, time: u32) {
        let line = format!("IAMAT {client} +00+000 {time}");
        let report = report::parse(line.as_bytes()).expect(&line);
        let taken = self.node.handle_foreign_report(&report, self.now, &mut ());
        assert!(taken.is_accepted());
    }

    fn turn(&mut self) {
        self.followers
            .visit(&mut self.node, self.now, &mut self.readers);
    }

    fn pass(&mut self, time: Duration) {
        self.now.mono += time;
    }

    fn due(&self) -> Option<Duration> {
        let due = self.followers.timeout(self.node.table().end())?;
        Some(due.saturating_duration_since(self.now.mono))
    }

    fn read(&mut self, serial: u64) -> String {
        let pending = self.readers.pending.get_mut(&id(serial));
        let bytes = std::mem::take(pending.expect("it is there"));
        String::from_utf8(bytes).expect("text")
    }
}

#[test]
fn many_followers_take_a_bounded_share_of_the_loop_and_are_served_alike() {
    const FOLLOWERS: u64 = 1_000;
    let mut world = World::new(FOLLOWERS);
    (0..FOLLOWERS).for_each(|serial| _ = world.read(serial));
    for millisecond in 1..=1_000_u32 {
        world.report("a", millisecond);
        world.pass(Duration::from_millis(1));
        let before = world.readers.sends;
        world.turn();
        let visits = world.readers.sends - before;
        let most = (BURST + Duration::from_millis(1)).as_micros() / VISIT_EVERY.as_micros();
        assert!(visits as u128 <= most + 1, "{visits} visits in a turn");
    }
    let sends = world.readers.sends;
    assert!(
        (5_000..=10_020).contains(&sends),
        "{sends} sends in a second"
    );
    while world.due() == Some(Duration::ZERO) || world.due() < Some(Duration::from_millis(1)) {
        world.pass(Duration::from_millis(1));
        world.turn();
    }
    for serial in 0..FOLLOWERS {
        let text = world.read(serial);
        let events = text.matches("event: location").count();
        assert!((4..=11).contains(&events), "{events} events for {serial}");
        assert!(
            text.contains("\"time\":\"1000\""),
            "{serial} has not seen the latest"
        );
    }
}

#[test]
fn a_loop_with_nothing_to_tell_sleeps() {
    let mut world = World::new(2);
    let turn = |world: &mut World| {
        world.pass(BURST);
        world.turn();
    };
    let sleeps = |world: &World| world.due() > Some(COMMENT_LAP / 2);
    turn(&mut world);
    assert!(sleeps(&world));
    world.report("a", 1);
    assert_eq!(world.due(), Some(Duration::ZERO));
    turn(&mut world);
    assert!(sleeps(&world), "both have been told at once");
    // One that takes nothing more is looked at now and then.
    world.read(0);
    let stuck = vec![b'x'; VISIT_BYTES_MAX];
    world.readers.pending.insert(id(1), stuck);
    world.report("a", 2);
    turn(&mut world);
    let due = world.due().expect("it is behind");
    assert!(due > BLOCKED_RETRY / 2 && due <= BLOCKED_RETRY, "{due:?}");
    assert!(world.read(0).contains("\"time\":\"2\""));
    world.read(1);
    world.pass(BLOCKED_RETRY);
    turn(&mut world);
    assert!(world.read(1).contains("\"time\":\"2\""));
    assert!(sleeps(&world));
    // Those who have gone are forgotten.
    world.readers.pending.clear();
    world.report("a", 3);
    turn(&mut world);
    assert_eq!((world.followers.len(), world.due()), (0, None));
}

#[test]
fn who_is_told_nothing_has_a_comment_in_time() {
    let mut world = World::new(3);
    (0..3).for_each(|serial| _ = world.read(serial));
    let began = world.now.mono;
    let mut silent = 0;
    while silent < 3 {
        world.pass(Duration::from_millis(100));
        world.turn();
        silent = (0..3)
            .filter(|&serial| !world.read(serial).is_empty())
            .count();
    }
    let took = world.now.mono - began;
    assert!(
        took >= COMMENT_AFTER && took <= Duration::from_secs(15),
        "{took:?}"
    );
}

#[test]
fn what_stays_composed_has_a_limit_and_goes_with_the_last_follower() {
    let lengths = |world: &World| {
        let events = world.followers.composed.events.iter();
        events.map(|(_, event)| event.len()).collect::<Vec<_>>()
    };
    for (name_bytes, reports, most) in [(60_000, 20, 11), (1, 2 * COMPOSED_MAX, COMPOSED_MAX)] {
        let mut world = World::new(1);
        world.read(0);
        let name = "\u{1}".repeat(name_bytes); // six bytes each in JSON
        for number in 0..reports {
            world.report(&format!("{name}{number}"), 1);
            world.pass(Duration::from_secs(1));
            world.turn();
            assert!(world.read(0).len() > 6 * name_bytes, "{number} is sent");
            let lengths = lengths(&world);
            assert!(lengths.iter().sum::<usize>() <= COMPOSED_BYTES_MAX);
            assert_eq!(lengths.len(), most.min(number + 1));
        }
        world.readers.pending.clear();
        world.pass(COMMENT_LAP);
        world.turn();
        assert!(world.followers.is_empty() && lengths(&world).is_empty());
    }
}

#[test]
fn an_erasure_is_an_event_but_for_who_begins_after_it() {
    let mut world = World::new(1);
    world.node.recovery(world.now).begin();
    world.report("a", 1);
    world.report("b", 2);
    world.pass(BURST);
    world.turn();
    assert_eq!(world.read(0).matches("event: location").count(), 2);
    let erased = world.node.handle_erase(b"a", world.now, &mut ());
    assert!(erased.is_some());
    let incarnation = world.node.incarnation();
    let mark = |number| Mark {
        incarnation,
        number,
    };
    world.add(1, From::Start);
    let resumed = |from_start| From::Event {
        mark: Some(mark(1)), // which knows of a, and nothing else
        from_start,
    };
    world.add(2, resumed(false));
    world.add(4, resumed(true)); // it was cut off while everything came
    world.pass(BURST);
    world.turn();
    let event = format!("event: erased\nid: {incarnation}-3\ndata: {{\"client\":\"a\"}}\n\n");
    assert_eq!(world.read(0), event);
    let (from_start, resumed) = (world.read(1), world.read(2));
    assert!(
        !from_start.contains("erased") && !from_start.contains("\"a\""),
        "{from_start}"
    );
    assert!(from_start.contains(&format!("event: live\nid: {incarnation}-3\n")));
    assert!(
        resumed.ends_with(&event) && resumed.contains("\"client\":\"b\""),
        "{resumed}"
    );
    let live = format!("event: live\nid: {incarnation}-3\ndata: {{}}\n\n");
    assert_eq!(world.read(4), resumed + &live);
    // What is erased after it came, it is told, though it is still at the beginning.
    world.add(3, From::Start);
    assert!(world.node.handle_erase(b"b", world.now, &mut ()).is_some());
    assert!(
        world.node.handle_erase(b"b", world.now, &mut ()).is_none(),
        "it is gone"
    );
    world.pass(BURST);
    world.turn();
    assert!(world.read(3).contains("event: erased"));
}

#[test]
fn who_is_cut_off_before_it_knows_of_a_reset_is_told_again() {
    let mut world = World::new(0);
    world.report("a", 1);
    let incarnation = world.node.incarnation();
    let unknown = From::Event {
        mark: None,
        from_start: false,
    };
    world.add(0, unknown);
    let reset = format!("retry: 1000\nevent: reset\nid: {incarnation}-0\ndata: {{}}\n\n");
    assert_eq!(world.read(0), reset, "the id is in no block before it");
    world.pass(BURST);
    world.turn();
    let all = world.read(0);
    assert!(all.contains("\"client\":\"a\""), "{all}");
    assert!(all.contains("event: live\n"), "{all}");
}

#[test]
fn ids() {
    let mark = Mark {
        incarnation: Incarnation(0xab),
        number: 7,
    };
    for (id, want) in [
        (&b"00000000000000ab-7"[..], Some(mark)),
        (b"00000000000000AB-7", None),
        (b"00000000000000ab-", None),
        (b"00000000000000ab-7x", None),
        (b"00000000000000ab7", None),
        (b"ab-7", None),
        (b"-", None),
        (b"\xff", None),
    ] {
        assert_eq!(read_id(id), want, "{id:?}");
    }
}
