//! A log of any content: it is read without harm, and what a server then writes is there at the
//! next start, and at the one after a rotation, to the byte and the number.

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use herd::connection_id::ConnectionId;
use herd::log::disk::Ticket;
use herd::log::record::{self, Direction, Label, Stamp};
use herd::log::{Fsync, Log, Notice, Options, note};
use herd::node::Node;
use herd::node::protocol::{Incarnation, Mark};
use herd::node::recall::Recalled;
use herd::time::Now;
use herd::topology::ServerName;

use super::effects::{Effect, Recorder};
use super::memory::Memory;
use super::model::{CLIENT, bryant, start};

const LOG: &str = "Bryant.log";
const MOVED: &str = "Bryant.log.1";

/// Beyond it no feed comes by itself, and what a log says of such numbers is not believed.
const NUMBER_MAX: u64 = u64::MAX / 4;

/// Blake's connection.
const BLAKE: ConnectionId = ConnectionId { serial: 2, slot: 1 };

/// Starts a server on a log of `bytes`, then on what that has left, then on the log moved away.
pub fn check(bytes: &[u8]) {
    for line in bytes.split(|&byte| byte == b'\n') {
        check_records(line);
        check_note(line);
    }
    let (synced, tickets) = channel();
    let mut memory = Memory::new(Path::new(LOG), bytes, synced);
    let first = Life::begin(1, &mut memory, &tickets).live();
    // Nothing is cut from it, though a log that has lost its beginning is replaced at once.
    let kept = [LOG, MOVED].map(|name| memory.bytes(Path::new(name)));
    assert!(kept.iter().flatten().any(|log| log.starts_with(bytes)));
    let second = Life::begin(2, &mut memory, &tickets).know();
    first.assert_known_by(&second);
    memory
        .rename(Path::new(LOG), Path::new(MOVED))
        .expect("it is there");
    let third = Life::begin(3, &mut memory, &tickets).know();
    second.assert_known_by(&third);
    assert_ne!(memory.bytes(Path::new(LOG)), memory.bytes(Path::new(MOVED)));
    let fourth = Life::begin(4, &mut memory, &tickets).know(); // by the checkpoint
    third.assert_known_by(&fourth);
}

/// What a server knows that a restart must know.
struct Known {
    changes: Vec<(u64, String)>,
    end: u64,
    lives: Vec<(Incarnation, Option<u64>)>,
    neighbours: Vec<(ServerName, Option<Incarnation>, Option<Mark>)>,
}

impl Known {
    fn of(node: &Node) -> Known {
        let text = |line: &[u8]| line.escape_ascii().to_string();
        let changes = node.table().changes_after(0);
        Known {
            changes: changes.map(|c| (c.number, text(c.line))).collect(),
            end: node.table().end(),
            lives: node.lives().collect(),
            neighbours: node
                .neighbours_known()
                .map(|(name, life, known)| (name.clone(), life, known))
                .collect(),
        }
    }

    /// Asserts that the next life has all of it, and nothing beside.
    fn assert_known_by(&self, next: &Known) {
        if self.end > NUMBER_MAX {
            return;
        }
        assert_eq!(next.changes, self.changes);
        assert_eq!(next.end, self.end);
        assert_eq!(next.neighbours, self.neighbours);
        let (_, before) = next.lives.split_last().expect("it lives");
        let (&(own, end), older) = self.lives.split_last().expect("it lived");
        assert_eq!(end, None);
        let (&last, oldest) = before.split_last().expect("the life before is known");
        assert_eq!(last, (own, Some(self.end)));
        assert!(older.ends_with(oldest), "{older:?} became {oldest:?}");
    }
}

/// A server over a log.
struct Life<'a> {
    node: Node,
    effects: Recorder,
    log: Log<&'a mut Memory>,
    now: Now,
    tickets: &'a Receiver<Ticket>,
}

impl<'a> Life<'a> {
    fn begin(incarnation: u64, memory: &'a mut Memory, tickets: &'a Receiver<Ticket>) -> Life<'a> {
        let now = start();
        let options = Options {
            path: LOG.into(),
            max_bytes: u64::MAX,
            keep: 2,
            fsync: Fsync::Never,
        };
        let mut life = Life {
            node: bryant(incarnation, now),
            effects: Recorder::default(),
            log: Log::new(memory, options),
            now,
            tickets,
        };
        let opened = life.log.open(&mut life.node, now, |_, _| {});
        opened.expect("it can be read, whatever it holds");
        life.settle();
        life
    }

    /// What it knows without having heard anything.
    fn know(self) -> Known {
        Known::of(&self.node)
    }

    /// Hears a client and a neighbour, and tells what it knows then.
    fn live(mut self) -> Known {
        let (life, end) = self.node.lives().next().expect("it lives");
        let end = end.unwrap_or(self.node.table().end());
        self.node.handle_accepted(BLAKE, self.now);
        let hello = format!("HELLO herd/1 Blake Bryant 00000000000000b1 7 {life} {end}");
        self.hear_blake(hello.as_bytes());
        self.hear_blake(b"AT Blake +0.000000001 emu\x80\\ +00+000 1353118103");
        self.hear_blake(b"MARK 5");
        let report = b"IAMAT kiwi +34.068930-118.445127 1353118103.5";
        self.log.record(Direction::In, Label::Client(1), report);
        let read = self.node.read_client_line(report);
        self.node
            .handle_client_line(CLIENT, read, self.now, &mut self.effects);
        self.settle();
        self.now.mono += Duration::from_secs(1);
        self.node
            .handle_room(BLAKE, usize::MAX, self.now, &mut self.effects);
        assert_eq!(self.node.backlogs().count(), 0);
        self.settle();
        Known::of(&self.node)
    }

    fn hear_blake(&mut self, line: &[u8]) {
        let read = self.node.read_link_line(line);
        self.node
            .handle_link_line(BLAKE, read, self.now, &mut self.effects);
        assert!(self.node.speaker_of(BLAKE).is_some(), "Blake was refused");
        let blake = blake();
        let label = Label::Server(2, Some(&blake));
        self.log.record(Direction::In, label, line);
        self.settle();
    }

    /// Logs what is said, and turns until the log has nothing left to do.
    fn settle(&mut self) {
        let blake = blake();
        for effect in self.effects.take() {
            match effect {
                Effect::Send { line, .. } => {
                    let label = Label::Server(2, Some(&blake));
                    self.log.record(Direction::Out, label, &line);
                }
                Effect::Reply(_, line) => {
                    self.log.record(Direction::Out, Label::Client(1), &line);
                }
                _ => {}
            }
        }
        self.node.check_invariants();
        loop {
            self.log.commit(&self.node, self.now);
            while let Some(notice) = self.log.poll_notice() {
                assert!(
                    matches!(
                        notice,
                        Notice::Complete(_) | Notice::Holes(_) | Notice::NotWhole
                    ),
                    "{notice}"
                );
            }
            if self.log.is_busy(self.now) {
                self.log.work(&mut self.node, self.now);
            } else if let Ok(ticket) = self.tickets.try_recv() {
                self.log.handle_synced(ticket, Ok(()), self.now);
            } else {
                break;
            }
        }
    }
}

fn blake() -> ServerName {
    ServerName::parse(b"Blake").expect("a name")
}

/// A record of any text is one line that can be printed. A restart reads the text back from those
/// that vouch for it, and nothing from any other.
fn check_records(text: &[u8]) {
    let blake = blake();
    let is_at = text.starts_with(b"AT ");
    let is_link = text.starts_with(b"HELLO ") || text.starts_with(b"MARK ");
    let named = Label::Server(2, Some(&blake));
    for (direction, label, vouches) in [
        (Direction::In, Label::Client(7), false),
        (Direction::In, Label::Server(2, None), false),
        (Direction::In, named, is_at || is_link),
        (Direction::Out, Label::Client(7), is_at),
        (Direction::Out, Label::Server(2, None), false),
        (Direction::Out, named, is_at),
        (Direction::Opened, Label::Client(7), false),
        (Direction::Dropped, named, false),
        (Direction::Held, Label::None, is_at),
        (Direction::Held, Label::Number(u64::MAX), is_at),
    ] {
        let mut stamp = Stamp::default();
        stamp.set(start().wall);
        let mut bytes = Vec::new();
        stamp.write_head(&mut bytes, direction, label);
        record::write_text(&mut bytes, text);
        let (lf, rest) = bytes.split_last_mut().expect("it was written");
        assert!(*lf == b'\n' && rest.iter().all(|byte| matches!(byte, b' '..=b'~')));
        let read = match record::read(rest).recalled() {
            Some(
                Recalled::At { line, .. }
                | Recalled::Held { line, .. }
                | Recalled::Neighbour { line, .. },
            ) => Some(line),
            None => None,
            Some(other) => panic!("a record tells of {other:?}"),
        };
        let whole = is_at || text.len() <= record::WHOLE_BYTES_MAX;
        let whole = whole && !text.ends_with(record::TORN); // no line that vouches ends like that
        assert_eq!(
            read,
            (vouches && whole).then_some(text),
            "{direction:?} {label:?}"
        );
    }
}

/// A note that is read can be written again.
fn check_note(text: &[u8]) {
    let written = match note::parse(text) {
        Some(Recalled::Started {
            incarnation,
            end,
            forgets_after,
        }) => note::started(incarnation, end, 0, forgets_after),
        Some(Recalled::Forgets(after)) => note::forgets(after),
        Some(Recalled::Expect(records)) => note::begins(usize::try_from(records).expect("64 bits")),
        Some(Recalled::Life { incarnation, end }) => note::life(incarnation, end),
        Some(Recalled::Checkpoint {
            incarnation,
            end,
            records,
        }) => note::checkpoint(incarnation, end, records),
        Some(Recalled::Known { name, life, known }) => match ServerName::parse(name) {
            Some(name) => note::neighbour(&name, life, known),
            None => return,
        },
        Some(Recalled::Gap) => return assert!(text.starts_with(note::GAP.as_bytes())),
        None => return,
        Some(other) => panic!("a note tells of {other:?}"),
    };
    assert_eq!(
        note::parse(written.as_bytes()),
        note::parse(text),
        "{written}"
    );
}
