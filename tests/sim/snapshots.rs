//! One snapshot, and a crash at every point of it.
//!
//! A journal is filled, and a snapshot begun while reports go on. The process dies in the first call to the
//! disk, in the second, and so on until the snapshot gets through; each time by `kill -9`, and by a power
//! failure, which with `--fsync always` must not matter either.

use std::time::Instant;

use herd::connection_id::ConnectionId;
use herd::journal::{Fsync, Journal, Options};
use herd::node::protocol::Incarnation;
use herd::node::{Node, Seeds};
use herd::time::{Now, Timestamp};
use herd::topology::Topology;

use crate::disk::SLICE_BYTES;
use crate::effects::{Effect, Recorder};
use crate::folder::Folder;

/// Reports before the snapshot is due.
const CLIENTS: u64 = 60;

/// So many turns are enough for anything.
const TURNS_MAX: u64 = 200;

struct Server {
    node: Node,
    journal: Journal<Folder>,
    is_sure: bool,
    now: Now,
    /// Replies that wait for the disk, and those that have left.
    waiting: Vec<String>,
    acknowledged: Vec<String>,
}

impl Server {
    fn start(folder: &Folder, fsync: Fsync, incarnation: u64) -> Server {
        let topology = Topology::parse(b"Ann h:1 h:2\n").expect("a topology");
        let seeds = Seeds {
            incarnation: Incarnation(incarnation),
            hash_keys: (1, 2),
            jitter: 3,
        };
        let now = Now {
            mono: Instant::now(),
            wall: Timestamp::new(1_353_118_103, 0),
        };
        let mut node = Node::new(&topology.members()[0], &topology, seeds, now);
        let may_fail = false;
        let options = Options { fsync, may_fail };
        let opened = Journal::open(folder.clone(), options, &mut node, now, |_, _| {});
        let (mut journal, recovered) = opened.expect("nothing ails the disk");
        journal.set_slice(SLICE_BYTES);
        Server {
            node,
            journal,
            is_sure: recovered.is_sure,
            now,
            waiting: Vec::new(),
            acknowledged: Vec::new(),
        }
    }

    /// A turn in which a client reports, unless clients are not read. What it is told leaves when the
    /// journal lets it.
    fn report(&mut self, folder: &Folder, client: u64) {
        if !self.journal.holds_replies() {
            let id = ConnectionId { serial: 1, slot: 0 };
            let line = format!("IAMAT client{client} +27.5916+086.5640 {client}");
            let line = self.node.read_client_line(line.as_bytes());
            let mut effects = Recorder::default();
            self.node
                .handle_client_line(id, line, self.now, &mut effects);
            for effect in effects.take() {
                match effect {
                    Effect::Changed(number, line) => self.journal.change(number, &line),
                    Effect::Reply(_, line) => {
                        let line = String::from_utf8_lossy(&line).into_owned();
                        self.waiting.push(line);
                    }
                    effect => panic!("unexpected: {effect:?}"),
                }
            }
        }
        self.journal.commit();
        if folder.is_dead() {
            return;
        }
        if !self.journal.holds_replies() {
            self.acknowledged.append(&mut self.waiting);
        }
        self.journal.work(&self.node);
        if let Some((ticket, outcome)) = folder.go_on()
            && !folder.is_dead()
        {
            self.journal.handle_done(ticket, outcome);
        }
    }

    /// Turns, each with a report, until there is a snapshot and what it replaces is gone, or the process
    /// has died. Says whether it lives.
    fn take_snapshot(&mut self, folder: &Folder) -> bool {
        self.journal.begin_anew();
        let before = self.journal.counters().snapshots;
        for turn in 0..TURNS_MAX {
            self.report(folder, CLIENTS + turn);
            if folder.is_dead() {
                return false;
            }
            if self.journal.counters().snapshots > before && !folder.is_busy() {
                return true;
            }
        }
        panic!("there is no snapshot")
    }

    fn holds(&self, reply: &str) -> bool {
        let client = reply.split(' ').nth(3).expect("a reply names its client");
        let held = self.node.table().location(client.as_bytes());
        held.is_some_and(|held| held.line == reply.as_bytes())
    }
}

/// A start after a crash knows all that was acknowledged.
fn check(
    folder: &Folder,
    fsync: Fsync,
    incarnation: u64,
    (power_fails, acknowledged): (bool, &[String]),
    point: &str,
) -> Server {
    folder.kill();
    let is_lost = power_fails && folder.lose_power();
    let again = Server::start(folder, fsync, incarnation);
    assert!(again.is_sure || is_lost, "{point}");
    for reply in acknowledged {
        assert!(again.holds(reply), "{point}: lost {reply}");
    }
    again
}

#[test]
fn a_crash_at_any_point_of_a_snapshot_loses_nothing() {
    for fsync in [Fsync::Never, Fsync::Second, Fsync::Always] {
        let powers = match fsync {
            Fsync::Always => &[[true, true], [false, true]][..],
            Fsync::Second | Fsync::Never => &[[false, false]],
        };
        for power_fails in powers {
            let mut points = 0;
            loop {
                let point = format!("{fsync:?}, {power_fails:?}, dead after {points} calls");
                let folder = Folder::new(points);
                let mut server = Server::start(&folder, fsync, 1);
                // Some have a snapshot already.
                for _ in 0..points % 3 {
                    (0..CLIENTS).for_each(|client| server.report(&folder, client));
                    assert!(server.take_snapshot(&folder));
                }
                (0..CLIENTS).for_each(|client| server.report(&folder, client));
                folder.die_after(points);
                let is_taken = server.take_snapshot(&folder);
                assert!(server.acknowledged.len() > 5, "hardly any reply has left");
                let left = (power_fails[0], &server.acknowledged[..]);
                let mut again = check(&folder, fsync, 2, left, &point);
                // The next goes on as if nothing had happened, until it crashes too.
                (0..CLIENTS).for_each(|client| again.report(&folder, client + 1_000));
                let left = (power_fails[1], &again.acknowledged[..]);
                let mut again = check(&folder, fsync, 3, left, &point);
                assert!(again.take_snapshot(&folder), "{point}");
                points += 1;
                if is_taken {
                    break;
                }
            }
            assert!(points > 8, "a snapshot has more calls than {points}");
        }
    }
}
