//! `--forget-after`, by a node alone with its journal, whose clock the test sets.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use herd::connection_id::ConnectionId;
use herd::journal::files::Files;
use herd::journal::{self, Journal, Recovered};
use herd::node::effects::LinkId;
use herd::node::protocol::Incarnation;
use herd::node::{Node, Seeds};
use herd::time::{Now, Timestamp};
use herd::topology::Topology;
use tempfile::TempDir;

use crate::effects::{Effect, Recorder};
use crate::support::wait_until;

const SPAN_S: u64 = 100;

const SOLO: &str = "Ann localhost:1 localhost:2\n";
const BESIDE_BOB: &str = "Ann localhost:1 localhost:2 Bob\nBob localhost:3 localhost:4\n";

/// A server as a node, with its journal in a folder of its own.
struct Solo {
    node: Node,
    effects: Recorder,
    journal: Journal<Files>,
    recovered: Recovered,
    now: Now,
    clients: u64,
}

/// A folder for a journal that no server has used.
fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

impl Solo {
    /// An incarnation that begins with what the journal in `folder` holds.
    fn start(incarnation: u64, folder: &TempDir, now: Now, forgets: bool) -> Solo {
        Solo::start_in(SOLO, incarnation, folder, now, forgets)
    }

    fn start_in(
        topology: &str,
        incarnation: u64,
        folder: &TempDir,
        now: Now,
        forgets: bool,
    ) -> Solo {
        let topology = Topology::parse(topology.as_bytes()).expect("it is one");
        let member = topology.member("Ann").expect("it is there");
        let seeds = Seeds {
            incarnation: Incarnation(incarnation),
            hash_keys: (1, 2),
            jitter: 3,
        };
        let mut node = Node::new(member, &topology, seeds, now);
        if forgets {
            node.forget_after(Duration::from_secs(SPAN_S), now);
        }
        // The thread of the one before may still have the lock.
        let mut files = None;
        wait_until("the journal is free", || {
            files = Files::new(folder.path().to_owned(), false, |_, _| ()).ok();
            files.is_some()
        });
        let files = files.expect("it is free");
        let options = journal::Options::default();
        let opened = Journal::open(files, options, &mut node, now, |_, _| ());
        let (journal, recovered) = opened.expect("it can be used");
        Solo {
            node,
            effects: Recorder::default(),
            journal,
            recovered,
            now,
            clients: 0,
        }
    }

    /// Ends a turn: the journal has what it has brought, and the effects are given.
    fn end_turn(&mut self) -> VecDeque<Effect> {
        self.journal.set_now(self.now);
        let effects = self.effects.take();
        for effect in &effects {
            match effect {
                Effect::Changed(number, line) => self.journal.change(*number, line),
                Effect::Known(neighbour, known) => self.journal.known(neighbour, *known),
                Effect::Marked(neighbour, number) => self.journal.marked(neighbour, *number),
                _ => {}
            }
        }
        self.journal.commit();
        effects
    }

    /// A client says a line; gives the reply.
    fn say(&mut self, line: &str) -> String {
        self.clients += 1;
        let serial = self.clients;
        let client = ConnectionId { serial, slot: 0 };
        let read = self.node.read_client_line(line.as_bytes());
        self.end_turn();
        self.node
            .handle_client_line(client, read, self.now, &mut self.effects);
        let mut reply = String::new();
        for effect in self.end_turn() {
            if let Effect::Reply(_, line) | Effect::Reserve(_, _, line) = effect {
                reply = String::from_utf8_lossy(&line).into_owned();
            }
        }
        reply
    }

    /// A line comes in from a neighbour.
    fn hear(&mut self, neighbour: ConnectionId, line: &str) {
        let read = self.node.read_link_line(line.as_bytes());
        self.node
            .handle_link_line(neighbour, read, self.now, &mut self.effects);
    }

    /// The locations that a neighbour is told now.
    fn tell(&mut self, neighbour: ConnectionId) -> Vec<String> {
        self.end_turn();
        self.node
            .handle_room(neighbour, 1_000, self.now, &mut self.effects);
        let mut told = Vec::new();
        for effect in self.end_turn() {
            if let Effect::Send { line, .. } = effect {
                told.push(String::from_utf8_lossy(&line).into_owned());
            }
        }
        told.retain(|line| line.starts_with("AT "));
        told
    }

    /// The clock has been set back; says whether what had expired may be news again.
    fn set_back(&mut self) -> bool {
        self.end_turn();
        self.node.handle_clock(self.now, &mut self.effects)
    }

    /// The connections that were aborted since.
    fn aborted(&mut self) -> Vec<ConnectionId> {
        let aborted = |effect| match effect {
            Effect::Abort(connection, _) => Some(connection),
            _ => None,
        };
        self.end_turn().into_iter().filter_map(aborted).collect()
    }

    /// Lets time pass, doing what is due.
    fn pass(&mut self, time: Duration) {
        let until = self.now.mono + time;
        while let Some(at) = self.node.poll_timeout().filter(|&at| at <= until) {
            self.step_to(at);
            self.node.handle_timeout(self.now, &mut self.effects);
        }
        self.step_to(until);
    }

    fn step_to(&mut self, at: Instant) {
        let step = at.saturating_duration_since(self.now.mono);
        let wall = self.now.wall;
        let nanos = u64::from(wall.nanos()) + u64::from(step.subsec_nanos());
        let seconds = step.as_secs() + nanos / 1_000_000_000;
        let seconds = wall.seconds() + i64::try_from(seconds).expect("a test is short");
        self.now.wall = Timestamp::new(seconds, (nanos % 1_000_000_000) as u32);
        self.now.mono += step;
    }

    fn seconds(&self) -> i64 {
        self.now.wall.seconds()
    }

    /// What it would send to a neighbour that knows nothing, with numbers.
    fn feed(&self) -> Vec<(u64, String)> {
        let changes = self.node.table().changes_after(0);
        let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
        changes
            .map(|change| (change.number, text(change.line)))
            .collect()
    }
}

fn start() -> Now {
    Now {
        mono: Instant::now(),
        wall: Timestamp::new(1_353_118_103, 0),
    }
}

#[test]
fn a_record_expires_to_the_nanosecond_and_its_memory_is_given_back_in_time() {
    let mut solo = Solo::start(1, &folder(), start(), true);
    let time = solo.seconds();
    for client in 0..30_000 {
        solo.say(&format!("IAMAT c{client} +00+000 {time}"));
    }
    solo.pass(Duration::from_secs(SPAN_S));
    assert!(solo.say("WHATSAT c7 1 0").starts_with("AT "), "just not");
    solo.step_to(solo.now.mono + Duration::from_nanos(1));
    assert_eq!(solo.say("WHATSAT c7 1 0"), "? WHATSAT c7 1 0");
    assert_eq!(
        solo.node.table().len(),
        30_000,
        "the sweep may take its time"
    );
    let (mut calls, since) = (0, solo.now.mono);
    while !solo.node.table().is_empty() {
        let before = solo.node.table().len();
        let at = solo.node.poll_timeout().expect("the sweep goes on");
        solo.step_to(at);
        solo.node.handle_timeout(solo.now, &mut solo.effects);
        assert!(before - solo.node.table().len() <= 1024, "a small piece");
        calls += 1;
        assert!(calls < 100, "it gets done");
    }
    let took = solo.now.mono - since;
    assert!(took <= Duration::from_secs(SPAN_S) / 16, "{took:?}");
    assert!(solo.feed().is_empty());
}

#[test]
fn what_a_neighbour_tells_and_is_told_is_judged_by_the_time_as_it_is_then() {
    let mut solo = Solo::start_in(BESIDE_BOB, 1, &folder(), start(), true);
    let bob = ConnectionId { serial: 0, slot: 0 };
    let nothing: [String; 0] = [];
    solo.node.handle_accepted(bob, solo.now);
    solo.hear(bob, "HELLO herd/1 Bob Ann 00000000000000b0 1 - 0");
    let at = solo.say(&format!("IAMAT kiwi +00+000 {}", solo.seconds()));
    assert_eq!(solo.tell(bob), [at]);
    solo.say(&format!("IAMAT emu +00+000 {}", solo.seconds()));
    solo.step_to(solo.now.mono + Duration::from_nanos(SPAN_S * 1_000_000_000 + 1));
    assert_eq!(solo.tell(bob), nothing, "it has just expired");
    solo.say(&format!("IAMAT moa +00+000 {}", solo.seconds()));
    let time = solo.seconds() - SPAN_S as i64 + 1;
    solo.step_to(solo.now.mono + Duration::from_secs(1));
    let end = solo.node.table().end();
    let at = format!("AT Bob +0.000000000 rhea +00+000 {time}");
    solo.hear(bob, &at);
    assert_eq!(
        solo.node.table().end(),
        end,
        "it comes a nanosecond too late"
    );
    solo.hear(bob, &format!("{at}.000000001"));
    assert_eq!(solo.node.table().end(), end + 1);
}

#[test]
fn a_restart_goes_on_with_the_numbers_of_the_time_before_whatever_has_expired_since() {
    let folder = folder();
    let mut solo = Solo::start(1, &folder, start(), true);
    for step in 0..400 {
        let (client, time) = (step * 7 % 40, solo.seconds());
        // Some are old when they come, some too old.
        let age = [0, 1, 30, 99, 101, 500][step % 6];
        solo.say(&format!("IAMAT c{client} +00+000 {}", time - age));
        solo.pass(Duration::from_millis(1_300 * (step as u64 % 5)));
    }
    solo.node.handle_timeout(solo.now, &mut solo.effects);
    let (end, feed, now) = (solo.node.table().end(), solo.feed(), solo.now);
    assert!((200..400).contains(&end), "some were news, some not: {end}");
    drop(solo);
    let mut next = Solo::start(2, &folder, now, true);
    assert!(next.recovered.is_sure);
    next.node.handle_timeout(next.now, &mut next.effects);
    assert_eq!((next.node.table().end(), next.feed()), (end, feed));
    next.say(&format!("IAMAT old +00+000 {}", next.seconds() - 200));
    let at = next.say(&format!("IAMAT c1 +00+000 {}", next.seconds()));
    let end = end + 1;
    assert_eq!(next.feed().last(), Some(&(end, at)));
    drop(next);
    // One that forgets nothing cannot be sure: what had expired was not told, and is known again.
    let mut keeps = Solo::start(3, &folder, now, false);
    assert!(!keeps.recovered.is_sure);
    assert_eq!(keeps.node.table().len(), 40, "all that the segments have");
    let at = keeps.say(&format!("IAMAT old +00+000 {}", keeps.seconds() - 200));
    assert_eq!(keeps.feed().last().map(|(_, line)| line), Some(&at));
}

#[test]
fn what_was_refused_as_expired_is_asked_for_again_when_the_clock_is_set_back() {
    let mut solo = Solo::start_in(BESIDE_BOB, 1, &folder(), start(), true);
    let right = solo.now.wall;
    let hour = Timestamp::new(right.seconds() + 3_600, 0);
    solo.now.wall = hour;
    let hello = "HELLO herd/1 Bob Ann 00000000000000b0";
    let bob = |serial| ConnectionId { serial, slot: 0 };
    solo.node.handle_accepted(bob(1), solo.now);
    solo.hear(bob(1), &format!("{hello} 1 - 0"));
    let at = format!("AT Bob +0.000000000 kiwi +00+000 {}", right.seconds());
    solo.hear(bob(1), &at);
    solo.hear(bob(1), "MARK 1");
    assert!(solo.node.table().is_empty(), "an hour ago is too long ago");
    let claim = |solo: &Solo| {
        let (_, known, _) = solo.node.neighbours_known().next().expect("Bob");
        known.map(|mark| mark.number)
    };
    assert_eq!(claim(&solo), Some(1));
    // A little back is no matter: nothing was refused that would not be now.
    solo.now.wall = Timestamp::new(hour.seconds() - 1, 0);
    assert!(!solo.set_back());
    assert_eq!((claim(&solo), solo.node.peers().count()), (Some(1), 1));
    solo.now.wall = right;
    assert!(solo.set_back());
    assert_eq!(claim(&solo), None);
    assert_eq!(solo.aborted(), [bob(1)]);
    solo.node
        .handle_peer_lost(bob(1), "given up", solo.now, &mut solo.effects);
    solo.node.handle_accepted(bob(2), solo.now);
    solo.hear(bob(2), &format!("{hello} 2 - 0"));
    solo.hear(bob(2), &at);
    assert_eq!(solo.feed(), [(1, at)]);
    // What may have been refused before this counts still if the clock is set back further.
    solo.now.wall = Timestamp::new(right.seconds() - 1, 0);
    assert!(solo.set_back());
}

#[test]
fn a_hello_that_was_said_before_the_clock_was_set_back_asks_for_too_little() {
    let mut solo = Solo::start_in(BESIDE_BOB, 1, &folder(), start(), true);
    let (right, link) = (solo.now.wall, LinkId::nth(0));
    let bob = |serial| ConnectionId { serial, slot: 0 };
    let hello = "HELLO herd/1 Bob Ann 00000000000000b0";
    // Her clock is an hour ahead: what she is told she refuses, and it is marked.
    solo.now.wall = Timestamp::new(right.seconds() + 3_600, 0);
    solo.node
        .handle_connected(link, bob(1), solo.now, &mut solo.effects);
    solo.hear(bob(1), &format!("{hello} 1 - 0"));
    let at = format!("AT Bob +0.000000000 kiwi +00+000 {}", right.seconds());
    solo.hear(bob(1), &at);
    solo.hear(bob(1), "MARK 1");
    solo.node
        .handle_peer_lost(bob(1), "gone", solo.now, &mut solo.effects);
    // She has said in a new hello that she has it, and Bob has not answered.
    solo.node
        .handle_connected(link, bob(2), solo.now, &mut solo.effects);
    solo.now.wall = right;
    assert!(solo.set_back());
    assert_eq!(solo.aborted(), [bob(2)]);
    solo.hear(bob(2), &format!("{hello} 2 - 0"));
    solo.hear(bob(2), "MARK 1");
    solo.node
        .handle_peer_lost(bob(2), "gone", solo.now, &mut solo.effects);
    let (_, known, _) = solo.node.neighbours_known().next().expect("Bob");
    assert_eq!(known, None, "he goes on from there: it counts for nothing");
    solo.pass(Duration::from_secs(1));
    solo.node
        .handle_connected(link, bob(3), solo.now, &mut solo.effects);
    solo.hear(bob(3), &format!("{hello} 3 - 0"));
    solo.hear(bob(3), &at);
    assert_eq!(solo.feed(), [(1, at)]);
}

#[test]
fn what_is_alive_when_the_clock_has_been_set_back_is_not_forgotten_by_the_time_before() {
    let mut solo = Solo::start_in(BESIDE_BOB, 1, &folder(), start(), true);
    let right = solo.now.wall;
    let at = solo.say(&format!("IAMAT kiwi +00+000 {}", right.seconds()));
    solo.now.wall = Timestamp::new(right.seconds() + 3_600, 0);
    solo.say("a turn at that time");
    solo.now.wall = Timestamp::new(right.seconds() + 1, 0);
    assert!(!solo.set_back(), "nothing is lost");
    let bob = ConnectionId { serial: 0, slot: 0 };
    solo.node.handle_accepted(bob, solo.now);
    solo.hear(bob, "HELLO herd/1 Bob Ann 00000000000000b0 1 - 0");
    assert_eq!(solo.tell(bob), [at]);
}

#[test]
fn what_had_expired_at_a_start_does_not_live_again_when_the_clock_is_set_back() {
    let (folder, start) = (folder(), start());
    let bob = ConnectionId { serial: 0, slot: 0 };
    let mut first = Solo::start(1, &folder, start, true);
    let at = first.say(&format!("IAMAT kiwi +00+000 {}", first.seconds()));
    drop(first);
    let later = |seconds: i64| Now {
        wall: Timestamp::new(start.wall.seconds() + seconds, 0),
        ..start
    };
    // The clock is an hour ahead, and the second incarnation's marks tell Bob that he has all there is.
    drop(Solo::start_in(BESIDE_BOB, 2, &folder, later(3_600), true));
    let mut third = Solo::start_in(BESIDE_BOB, 3, &folder, later(3_601), true);
    let emu = third.say(&format!("IAMAT emu +00+000 {}", third.seconds()));
    third.now = later(3_600 + 1 - SPAN_S as i64);
    third.set_back();
    third.now = later(10);
    third.set_back();
    assert_eq!(third.feed(), [(2, emu.clone())]);
    assert_eq!(third.say("WHATSAT kiwi 1 0"), "? WHATSAT kiwi 1 0");
    third.node.handle_accepted(bob, third.now);
    let hello = "HELLO herd/1 Bob Ann 00000000000000b0 1 0000000000000002 1";
    third.hear(bob, hello);
    assert_eq!(third.tell(bob), [emu]);
    // Whoever has it tells it anew, and from then on it is there like any other.
    third.hear(bob, &at);
    third.now = later(20);
    third.say("a turn");
    third.now = later(3_600);
    third.say("a turn");
    third.now = later(15);
    third.set_back();
    assert!(third.say("WHATSAT kiwi 1 0").starts_with(&at));
}

#[test]
fn a_neighbour_that_asks_for_everything_gets_also_what_it_has_told_itself() {
    let mut solo = Solo::start_in(BESIDE_BOB, 1, &folder(), start(), false);
    let bob = |serial| ConnectionId { serial, slot: 0 };
    let at = "AT Bob +0.000000000 kiwi +00+000 1";
    for (serial, claim, told) in [
        (1, "- 0", &[][..]),
        (2, "0000000000000001 1", &[]), // it has all of ours
        (3, "- 0", &[at]),              // it may have lost what was its own too
    ] {
        let hello = format!("HELLO herd/1 Bob Ann 00000000000000b0 {serial} {claim}");
        solo.node.handle_accepted(bob(serial), solo.now);
        solo.hear(bob(serial), &hello);
        solo.hear(bob(serial), at);
        assert_eq!(solo.tell(bob(serial)), told, "after {hello}");
        solo.node
            .handle_peer_lost(bob(serial), "gone", solo.now, &mut solo.effects);
    }
}
