//! One rotation, and a crash at every point of it.
//!
//! The log is filled, and asked to rotate while reports go on. The process dies after the first
//! call to the disk, after the second, and so on until the rotation gets through; each time by
//! `kill -9`, and by a power failure, which with `--fsync always` must not matter either.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use herd::connection_id::ConnectionId;
use herd::log::record::{Direction, Label};
use herd::log::{Fsync, Log, Notice, Options};
use herd::node::protocol::Incarnation;
use herd::node::{Node, Seeds};
use herd::time::{Now, Timestamp};
use herd::topology::Topology;

use crate::effects::{Effect, Recorder};
use crate::files::Files;

/// Reports before the rotation is due.
const CLIENTS: u64 = 60;

struct Server {
    node: Node,
    log: Log<Files>,
    now: Now,
    /// Replies that have left.
    acknowledged: Vec<String>,
}

fn now() -> Now {
    Now {
        mono: Instant::now(),
        wall: Timestamp::new(1_353_118_103, 0),
    }
}

impl Server {
    fn start(files: &Files, keep: u32, fsync: Fsync, life: u64) -> Server {
        let topology = Topology::parse(b"Ann h:1 h:2\n").expect("a topology");
        let seeds = Seeds {
            incarnation: Incarnation(life),
            hash_keys: (1, 2),
            jitter: 3,
        };
        let mut node = Node::new(&topology.members()[0], &topology, seeds, now());
        let options = Options {
            path: PathBuf::from("Ann.log"),
            max_bytes: 5_000,
            keep,
            fsync,
        };
        let mut log = Log::new(files.clone(), options);
        let opened = log.open(&mut node, now(), |_, _| {});
        opened.expect("a simulated disk can always be read");
        Server {
            node,
            log,
            now: now(),
            acknowledged: Vec::new(),
        }
    }

    /// A turn in which a client reports. What it is told leaves if its record was committed.
    fn report(&mut self, files: &Files, client: u64) {
        let id = ConnectionId { serial: 1, slot: 0 };
        let line = format!("IAMAT client{client} +27.5916+086.5640 {client}");
        let line = self.node.read_client_line(line.as_bytes());
        let mut effects = Recorder::default();
        self.node
            .handle_client_line(id, line, self.now, &mut effects);
        let mut reply = None;
        for effect in effects.take() {
            match effect {
                Effect::Changed(..) => {}
                Effect::Reply(_, line) => {
                    self.log.record(Direction::Out, Label::Client(1), &line);
                    reply = Some(String::from_utf8_lossy(&line).into_owned());
                }
                effect => panic!("unexpected: {effect:?}"),
            }
        }
        self.log.commit(&self.node, self.now);
        if !files.is_dead() {
            self.acknowledged.extend(reply);
        }
    }

    /// Turns, each with a report, until the log has been replaced or the process has died.
    fn rotate(&mut self, files: &Files) -> bool {
        for turn in 0..50 {
            self.log.work(&mut self.node, self.now);
            if let Some((ticket, synced)) = files.finish_a_sync() {
                self.log.handle_synced(ticket, synced, self.now);
            }
            if files.is_dead() {
                return false;
            }
            while let Some(notice) = self.log.poll_notice() {
                // A log that has ended in zeros is replaced whatever its length.
                if let Notice::Rotated(_) | Notice::Complete(_) = notice {
                    return true;
                }
            }
            self.report(files, CLIENTS + turn);
        }
        panic!("it is not rotated")
    }

    fn holds(&self, reply: &str) -> bool {
        let client = reply.split(' ').nth(3).expect("a reply names its client");
        let held = self.node.table().location(client.as_bytes());
        held.is_some_and(|held| held.line == reply.as_bytes())
    }
}

#[test]
fn a_crash_at_any_point_of_a_rotation_loses_nothing() {
    for keep in [0, 1, 3] {
        for (power_fails, fsync) in [
            (false, Fsync::Never),
            (false, Fsync::Second),
            (true, Fsync::Always),
        ] {
            let mut points = 0;
            loop {
                let files = Files::new(points);
                let mut server = Server::start(&files, keep, fsync, 1);
                // Some logs are kept already.
                for life in 0..points % 3 {
                    (0..CLIENTS).for_each(|client| server.report(&files, client + life));
                    server.now.mono += Duration::from_secs(10);
                    assert!(server.rotate(&files));
                }
                (0..CLIENTS).for_each(|client| server.report(&files, client));
                files.die_after(points);
                let rotated = server.rotate(&files);
                let Server { acknowledged, .. } = server;
                files.kill();
                if power_fails {
                    files.lose_power();
                }
                let again = Server::start(&files, keep, fsync, 2);
                for reply in &acknowledged {
                    let client = reply.split(' ').nth(3);
                    let last = acknowledged
                        .iter()
                        .rfind(|other| other.split(' ').nth(3) == client);
                    assert!(
                        last != Some(reply) || again.holds(reply),
                        "dead after {points} calls, {keep} kept, {fsync:?}: lost {reply}"
                    );
                }
                // It goes on as if nothing had happened.
                let mut again = again;
                (0..CLIENTS).for_each(|client| again.report(&files, client + 1_000));
                assert!(again.rotate(&files));
                points += 1;
                if rotated {
                    break;
                }
            }
            println!("{points} points, {keep} kept, {fsync:?}");
            assert!(points > 8, "a rotation has more calls than {points}");
        }
    }
}
