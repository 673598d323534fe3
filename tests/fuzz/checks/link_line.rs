//! What comes in on links: lines as such, and a server that hears them from neighbours, from
//! strangers, and in any order with what else may happen.
//!
//! The first byte of a line says what happens: `1` and `2`: the rest is said on that connection;
//! `c`: a client says the rest; `e`: the client that the rest names is erased; `d1`, `d2`: the dial to the first or second neighbour comes
//! through, as connection 1 or 2; `f1`, `f2`: it fails; `x1`, `x2`: the connection is lost; `r` and
//! a number: the connections have room for so many bytes; `.`: a second passes. With any other the
//! whole line is said on connection 1. A connection that has gone is followed by one that comes in.

use std::sync::Arc;
use std::time::Duration;

use herd::connection_id::ConnectionId;
use herd::node::Node;
use herd::node::command::{Command, IAmAt, LINE_BYTES_MAX};
use herd::node::effects::LinkId;
use herd::node::protocol::{
    Hello, LINK_LINE_BYTES_MAX, LinkLine, at_prefix, erased_line, parse_number, write_at,
    write_clock, write_mark,
};
use herd::time::Now;
use herd::topology::ServerName;

use super::effects::{Effect, Recorder};
use super::model::{CLIENT, Model, bryant, start};

/// Has a server go through what `bytes` say.
pub fn check(bytes: &[u8]) {
    check_parsing(bytes);
    let mut server = Server::new();
    for line in bytes.split(|&byte| byte == b'\n') {
        server.step(line);
        server.settle();
    }
    server.model.assert_is(server.node.table());
}

/// What was read can be written again.
fn check_parsing(line: &[u8]) {
    let mut written = Vec::new();
    match LinkLine::parse(line) {
        Ok(LinkLine::Hello(hello)) => {
            hello.write(&mut written);
            assert_eq!(LinkLine::parse(&written), Ok(LinkLine::Hello(hello)));
        }
        Ok(LinkLine::At(location)) => {
            let server = ServerName::parse(location.server).expect("it was read");
            let (client, position) = (location.client, location.position);
            let (difference, time) = (location.difference, location.time_text);
            let report = IAmAt {
                client,
                position,
                time: location.time,
                time_text: time,
                joined: &[],
            };
            written = at_prefix(&server);
            write_at(&mut written, difference, &report);
            // One report has one text.
            assert_eq!(
                written.escape_ascii().to_string(),
                line.strip_suffix(b"\r")
                    .unwrap_or(line)
                    .escape_ascii()
                    .to_string()
            );
            let iamat = [b"IAMAT", client, position.text(), time].join(&b' ');
            assert!(iamat.len() <= LINE_BYTES_MAX);
            let command = Command::parse(&iamat);
            assert!(matches!(command, Some(Command::IAmAt(_))));
        }
        Ok(LinkLine::Erased(erasure)) => {
            let server = ServerName::parse(erasure.server).expect("it was read");
            let written = erased_line(&server, erasure.client, erasure.time);
            assert_eq!(written, line.strip_suffix(b"\r").unwrap_or(line));
        }
        Ok(LinkLine::Mark(number)) => {
            write_mark(&mut written, number);
            assert_eq!(LinkLine::parse(&written), Ok(LinkLine::Mark(number)));
        }
        Ok(LinkLine::Clock(time)) => {
            write_clock(&mut written, time);
            assert_eq!(LinkLine::parse(&written), Ok(LinkLine::Clock(time)));
        }
        Ok(LinkLine::Bye(reason)) => {
            assert!(line.strip_suffix(b"\r").unwrap_or(line).ends_with(reason));
        }
        Err(why) => assert!(!why.is_empty()),
    }
}

/// A server, and those it talks with.
struct Server {
    node: Node,
    effects: Recorder,
    now: Now,
    model: Model,
    connections: [Option<ConnectionId>; 2],
    /// Whether the neighbour is being dialled.
    dials: [bool; 2],
    serial: u64,
}

impl Server {
    fn new() -> Server {
        let now = start();
        Server {
            node: bryant(1, now),
            effects: Recorder::default(),
            now,
            model: Model::default(),
            connections: [None; 2],
            dials: [false; 2],
            serial: CLIENT.serial,
        }
    }

    fn step(&mut self, line: &[u8]) {
        let place = |rest: &[u8]| match rest {
            b"1" => Some(0),
            b"2" => Some(1),
            _ => None,
        };
        match line.split_first() {
            Some((b'2', said)) => self.hear(1, said),
            Some((b'1', said)) => self.hear(0, said),
            Some((b'c', said)) => self.hear_client(said),
            Some((b'e', client)) => {
                let erased = self.node.handle_erase(client, self.now, &mut self.effects);
                assert_eq!(erased.is_some(), self.model.is_known(client));
                if let Some(line) = erased {
                    self.model.hear_erased(&line, self.now.wall);
                }
            }
            Some((b'.', b"")) => {
                self.now.mono += Duration::from_secs(1);
                self.node.handle_timeout(self.now, &mut self.effects);
            }
            Some((b'r', room)) if let Some(room) = parse_number(room) => self.have_room(room),
            Some((b'x', rest)) if let Some(place) = place(rest) => self.lose(place),
            Some((b'd', rest)) if let Some(place) = place(rest) => self.connect(place),
            Some((b'f', rest)) if let Some(place) = place(rest) => {
                if std::mem::take(&mut self.dials[place]) {
                    self.node.handle_dial_failed(LinkId::nth(place), self.now);
                }
            }
            _ => self.hear(0, line),
        }
    }

    fn hear(&mut self, place: usize, line: &[u8]) {
        check_parsing(line);
        let connection = match self.connections[place] {
            Some(connection) => connection,
            None => {
                let connection = self.make_connection(place);
                self.node.handle_accepted(connection, self.now);
                connection
            }
        };
        if line.len() > LINK_LINE_BYTES_MAX {
            return self
                .node
                .handle_link_overlong(connection, self.now, &mut self.effects);
        }
        let speaker = self.node.speaker_of(connection);
        let read = self.node.read_link_line(line);
        self.node
            .handle_link_line(connection, read, self.now, &mut self.effects);
        let Some(link) = speaker else { return };
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        match LinkLine::parse(line) {
            Ok(LinkLine::At(_)) => self.model.hear(text),
            // Who has not announced it is refused.
            Ok(LinkLine::Erased(_)) if self.node.runs_over(link) == Some(connection) => {
                self.model.hear_erased(text, self.now.wall);
            }
            _ => {}
        }
    }

    fn hear_client(&mut self, line: &[u8]) {
        if line.len() <= LINE_BYTES_MAX {
            let read = self.node.read_client_line(line);
            self.node
                .handle_client_line(CLIENT, read, self.now, &mut self.effects);
        }
    }

    fn have_room(&mut self, room: u64) {
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        for connection in self.node.backlogs().collect::<Vec<_>>() {
            self.node
                .handle_room(connection, room, self.now, &mut self.effects);
        }
    }

    fn lose(&mut self, place: usize) {
        if let Some(connection) = self.connections[place].take() {
            self.node
                .handle_peer_lost(connection, "lost", self.now, &mut self.effects);
        }
    }

    fn connect(&mut self, place: usize) {
        if std::mem::take(&mut self.dials[place]) {
            self.lose(place);
            let connection = self.make_connection(place);
            self.node
                .handle_connected(LinkId::nth(place), connection, self.now, &mut self.effects);
        }
    }

    fn make_connection(&mut self, place: usize) -> ConnectionId {
        self.serial += 1;
        let (serial, slot) = (self.serial, 1 + place);
        let connection = ConnectionId { serial, slot };
        self.connections[place] = Some(connection);
        connection
    }

    /// Does what the server wants done.
    fn settle(&mut self) {
        loop {
            let (mut gone, mut asked) = (Vec::new(), Vec::new());
            for effect in self.effects.take() {
                match effect {
                    Effect::Reply(_, line) | Effect::Reserve(_, _, line) => {
                        if line.starts_with(b"AT ") {
                            self.model.hear(&line);
                        }
                    }
                    Effect::Send { line, .. } => check_said(&line),
                    Effect::Lose(CLIENT, _) => {} // it said what browsers say
                    Effect::Lose(connection, _) | Effect::Abort(connection, _) => {
                        gone.push(connection);
                    }
                    Effect::Dial(link) => self.dials[link.index()] = true,
                    Effect::CancelDial(link) => self.dials[link.index()] = false,
                    Effect::Ask(question, ..) => asked.push(question),
                    Effect::Answer(..) | Effect::Withdraw(_) => {}
                    Effect::Changed(..) | Effect::Known(..) | Effect::Marked(..) => {}
                    Effect::LinkUp(_) | Effect::LinkDown(_) | Effect::Tell(_) => {}
                }
            }
            self.node.check_invariants();
            if gone.is_empty() && asked.is_empty() {
                let peers = self.node.peers().count();
                assert_eq!(peers, self.connections.iter().flatten().count());
                return;
            }
            for connection in gone {
                let place = connection.slot - 1;
                if self.connections[place] == Some(connection) {
                    self.lose(place);
                }
            }
            for question in asked {
                let json = Arc::from(&b"{}"[..]);
                self.node.handle_answer(question, &json, &mut self.effects);
            }
        }
    }
}

/// What a server says to its neighbours they understand.
fn check_said(line: &[u8]) {
    assert!(line.len() <= LINK_LINE_BYTES_MAX && !line.contains(&b'\n'));
    match LinkLine::parse(line) {
        Ok(LinkLine::Hello(Hello { from, to, .. })) => {
            assert_eq!(from.as_str(), "Bryant");
            assert!(matches!(to.as_str(), "Blake" | "Gasol"), "{to}");
        }
        Ok(_) => {}
        Err(why) => panic!("{why}: {}", line.escape_ascii()),
    }
}
