//! A turn of one server: what `Server` does for a node, in virtual time.
//!
//! Lines are handled one by one, each followed by what the node wishes. At the end of a turn its
//! records are committed, and only then does anything leave.

use std::sync::Arc;
use std::time::Duration;

use herd::connection_id::{ConnectionId, ReplyId};
use herd::lines::Piece;
use herd::log::record::{Direction, Label};
use herd::node::effects::{LinkId, LogPolicy};
use herd::node::protocol::LINK_LINE_BYTES_MAX;
use herd::node::questions::{ANSWER_TIMEOUT, QuestionId};

use crate::agenda::Event;
use crate::clients::tweets;
use crate::costs::{Hello, read_mark};
use crate::disk::Crash;
use crate::effects::Effect;
use crate::herd::Herd;
use crate::host::{Doom, Host, Outgoing};
use crate::oracle;

/// The longest that Twitter takes, when it answers at all: longer than anybody waits.
const TWITTER_MAX_MS: u64 = 13_000;

impl Herd {
    /// A turn in which nothing happens but what is due.
    pub fn turn(&mut self, host: usize) {
        let now = self.clock(host);
        let (node, effects) = self.hosts[host].up();
        node.handle_timeout(now, effects);
        self.end_turn(host);
    }

    /// Carries out what the node wishes, floods as far as there is room, commits, lets go.
    pub fn end_turn(&mut self, host: usize) {
        if self.hosts[host].node.is_none() {
            return;
        }
        self.perform(host, None);
        self.flood(host);
        self.hosts[host].touched = true;
        self.hosts[host].turns += 1;
        let doom = self.hosts[host].doom;
        if doom == Some(Doom::InCommit) {
            self.hosts[host].disk.doom(&mut self.dice);
        }
        self.commit(host);
        if doom == Some(Doom::BeforeReplies) {
            return self.crash(host, Crash::Killed);
        }
        self.work(host);
        if doom.is_some() {
            return self.crash(host, Crash::Killed);
        }
        self.let_go(host);
        self.plan_wake(host);
    }

    fn commit(&mut self, index: usize) {
        let now = self.clock(index);
        let Host { disk, node, .. } = &mut self.hosts[index];
        disk.commit(node.as_ref().expect("it is up"), now);
    }

    fn work(&mut self, index: usize) {
        let now = self.clock(index);
        let Host { disk, node, .. } = &mut self.hosts[index];
        disk.work(node.as_mut().expect("it is up"), now, &mut self.dice);
    }

    fn plan_wake(&mut self, index: usize) {
        let Some(at) = self.hosts[index].node().poll_timeout() else {
            return;
        };
        let at = self.when(at).max(self.now);
        let host = &mut self.hosts[index];
        if host.wake.is_none_or(|wake| at < wake) {
            host.wake = Some(at);
            let moment = host.moment(index);
            self.agenda.plan(at, Event::Wake(moment));
        }
    }

    /// Handles what a neighbour has said, line by line.
    pub fn hear_peer(&mut self, host: usize, id: ConnectionId, bytes: &[u8]) {
        let Some(peer) = self.hosts[host].peers.get_mut(&id) else {
            return;
        };
        let mut lines = std::mem::take(&mut peer.lines);
        let mut input = std::mem::take(&mut peer.input);
        input.push(bytes);
        let now = self.clock(host);
        self.hosts[host].node().handle_link_bytes(id, now);
        let is_open = |herd: &Herd| {
            let peer = herd.hosts[host].peers.get(&id);
            peer.is_some_and(|peer| !peer.closing)
        };
        while is_open(self)
            && let Some(piece) = lines.next(input.as_bytes(), LINK_LINE_BYTES_MAX)
        {
            let used = piece.input_len();
            let Piece::Line(line) = piece else {
                panic!("no node says a line that long")
            };
            let now = self.clock(host);
            let before = self.hosts[host].node().speaker_of(id);
            let read = self.hosts[host].node().read_link_line(line);
            let (node, effects) = self.hosts[host].up();
            let policy = node.log_policy(id, &read);
            node.handle_link_line(id, read, now, effects);
            let speaker = self.hosts[host].node().speaker_of(id);
            let mut record = 0;
            if policy == LogPolicy::Log {
                record = self.record_peer(host, Direction::In, id, speaker, line);
            }
            match (before, speaker) {
                (None, Some(link)) => {
                    let hello = Hello::read(line).expect("who says this has presented itself");
                    self.check_is_later(host, link, &hello);
                    let neighbour = self.hosts[host].neighbour(link);
                    self.hosts[host].costs.begin(id, neighbour, hello);
                }
                (Some(link), _) => self.note_heard(host, id, link, line, policy, record),
                (None, None) => {}
            }
            self.perform(host, Some(id));
            self.check_crossing(host, id, line);
            input.consume(used);
        }
        if let Some(peer) = self.hosts[host].peers.get_mut(&id) {
            (peer.lines, peer.input) = (lines, input);
        }
    }

    /// Notes for the judges what a neighbour that has presented itself has said.
    fn note_heard(
        &mut self,
        index: usize,
        id: ConnectionId,
        link: LinkId,
        line: &[u8],
        policy: LogPolicy,
        record: u64,
    ) {
        let oldest = self.oldest(index);
        let host = &mut self.hosts[index];
        if line.starts_with(b"AT ") {
            let shown = line.escape_ascii();
            assert!(
                self.made.contains_key(line),
                "no server has ever made {shown}"
            );
            host.heard.hear(line, record, oldest);
            host.costs.hear(line, Some(id));
        } else if let Some(number) = read_mark(line) {
            let neighbour = host.neighbour(link);
            let hello = host.costs.speaker(id).expect("it has presented itself");
            let life = hello.life.clone();
            let news = host.learn_mark(neighbour, life, number, record);
            let is_news = policy == LogPolicy::Log;
            let known = host.whole; // of a log that was cut nobody else knows which marks are left
            assert!(
                !known || is_news == news,
                "host {index}: whether MARK {number} is news: {is_news}"
            );
        }
    }

    /// Adds a record of a line on a connection between servers, and gives its number.
    fn record_peer(
        &mut self,
        index: usize,
        direction: Direction,
        id: ConnectionId,
        link: Option<LinkId>,
        line: &[u8],
    ) -> u64 {
        let now = self.clock(index);
        let host = &mut self.hosts[index];
        let members = self.topology.members();
        let name = link.map(|link| &members[host.neighbour(link)].name);
        host.disk.set_time(now);
        let label = Label::Server(id.serial, name);
        host.disk.record(direction, label, line)
    }

    /// Adds a record of a line on a client's connection, and gives its number.
    pub fn record_client(
        &mut self,
        host: usize,
        direction: Direction,
        id: ConnectionId,
        line: &[u8],
    ) -> u64 {
        let now = self.clock(host);
        let disk = &mut self.hosts[host].disk;
        disk.set_time(now);
        disk.record(direction, Label::Client(id.serial), line)
    }

    /// Carries out what the node wishes after it has handled a line that came by `heard`.
    pub fn perform(&mut self, index: usize, heard: Option<ConnectionId>) {
        while let Some(effect) = self.hosts[index].effects.0.pop_front() {
            match effect {
                Effect::Reply(id, line) => self.reply(index, id, &line, None),
                Effect::Reserve(id, reply, line) => self.reply(index, id, &line, Some(reply)),
                Effect::Answer(id, reply, json) => {
                    self.record_client(index, Direction::Out, id, &json);
                    self.client_is_answered(index, id, reply, json);
                    let moment = self.hosts[index].moment(index);
                    self.agenda.plan(self.now, Event::Resume(moment, id));
                }
                Effect::Send {
                    to,
                    link,
                    line,
                    policy,
                } => self.say(index, to, link, line, policy),
                Effect::Dial(link) => self.dial(index, link),
                Effect::CancelDial(link) => drop(self.hosts[index].dials.remove(&link)),
                Effect::Lose(id, _) => self.close(index, id, false),
                Effect::Abort(id, _) => self.close(index, id, true),
                Effect::Ask(question, query, _) => {
                    let until = self.now + ANSWER_TIMEOUT;
                    let json = tweets(&query);
                    let host = &mut self.hosts[index];
                    host.questions.insert(question, (query, until));
                    // Sometimes late, sometimes never.
                    if self.dice.below(5) > 0 {
                        let most = [30, TWITTER_MAX_MS][self.dice.below(2) as usize];
                        let at = self.now + Duration::from_millis(self.dice.below(most));
                        let moment = host.moment(index);
                        self.agenda.plan(at, Event::Tweets(moment, question, json));
                    }
                }
                Effect::Withdraw(question) => drop(self.hosts[index].questions.remove(&question)),
                Effect::Changed(..) | Effect::Known(..) => {}
                Effect::LinkUp(link) => {
                    let id = heard.expect("it is a hello that brings a link up");
                    self.hosts[index].up.insert(link, id);
                }
                Effect::LinkDown(link) => {
                    self.hosts[index].up.remove(&link);
                    self.fences
                        .link_down(index, self.hosts[index].neighbour(link), self.now);
                }
                Effect::Tell(_) => {}
            }
        }
    }

    fn close(&mut self, index: usize, id: ConnectionId, abruptly: bool) {
        let host = &mut self.hosts[index];
        if let Some(peer) = host.peers.get_mut(&id) {
            peer.closing = true;
            peer.closed_at = self.now;
            host.outbox.push(Outgoing::Close(id, abruptly));
        }
    }

    fn reply(&mut self, index: usize, id: ConnectionId, line: &[u8], reserved: Option<ReplyId>) {
        self.trace(index, line);
        if self.hosts[index].clients.contains_key(&id) {
            let record = self.record_client(index, Direction::Out, id, line);
            self.client_is_told(index, id, line, reserved, record);
        }
    }

    fn say(
        &mut self,
        index: usize,
        id: ConnectionId,
        link: Option<LinkId>,
        line: Vec<u8>,
        policy: LogPolicy,
    ) {
        self.trace(index, &line);
        if self.hosts[index]
            .peers
            .get(&id)
            .is_none_or(|peer| peer.closing)
        {
            return; // it has gone
        }
        if line.starts_with(b"AT ") {
            let expired = oracle::rank(&line).effective() < self.oldest(index);
            let shown = line.escape_ascii();
            assert!(!expired, "host {index} tells what has expired: {shown}");
        }
        if policy == LogPolicy::Log {
            self.record_peer(index, Direction::Out, id, link, &line);
        }
        if let (Some(hello), Some(link)) = (Hello::read(&line), link) {
            self.check_claim(index, link, &hello);
        }
        self.hosts[index].outbox.push(Outgoing::Line(id, line));
    }

    /// Gives a late answer to the node even where nobody waits for it any longer: a worker that
    /// has it already cannot be stopped.
    pub fn answer(&mut self, host: usize, question: QuestionId, json: &[u8]) {
        self.hosts[host].questions.remove(&question);
        let json: Arc<[u8]> = Arc::from(json);
        let (node, effects) = self.hosts[host].up();
        node.handle_answer(question, &json, effects);
    }

    fn flood(&mut self, host: usize) {
        let backlogs: Vec<_> = self.hosts[host].node().backlogs().collect();
        for id in backlogs {
            let Some(peer) = self.hosts[host].peers.get(&id) else {
                continue;
            };
            let (wire, direction) = peer.wire;
            let wire = self.network.wires.get(&wire);
            let under_way = wire.map_or(0, |wire| wire.unacknowledged[direction]);
            let room = self.hosts[host].room.saturating_sub(under_way);
            let now = self.clock(host);
            let before = self.hosts[host].outbox.len();
            let (node, effects) = self.hosts[host].up();
            node.handle_room(id, room, now, effects);
            self.perform(host, None);
            let said = self.hosts[host].outbox[before..].iter();
            let bytes = said.map(|outgoing| match outgoing {
                Outgoing::Line(_, line) if line.starts_with(b"AT ") => line.len() + 1,
                _ => 0,
            });
            let bytes: usize = bytes.sum();
            assert!(bytes <= room, "{bytes} bytes were said into {room}");
        }
    }

    /// What the turn has said leaves.
    fn let_go(&mut self, index: usize) {
        self.clients_take(index);
        for outgoing in std::mem::take(&mut self.hosts[index].outbox) {
            let host = &mut self.hosts[index];
            let (Outgoing::Line(id, _) | Outgoing::Close(id, _)) = outgoing;
            let Some(wire) = host.peers.get(&id).map(|peer| peer.wire) else {
                continue;
            };
            let (now, agenda) = (self.now, &mut self.agenda);
            match outgoing {
                Outgoing::Line(_, mut line) => {
                    if line.starts_with(b"AT ") {
                        host.costs.say(id, &line);
                    } else if let Some(number) = read_mark(&line) {
                        host.costs.mark(id, number);
                    }
                    line.push(b'\n');
                    self.network.send(wire, &line, now, agenda, &mut self.dice);
                }
                Outgoing::Close(_, abruptly) => {
                    self.network
                        .close(wire, abruptly, now, agenda, &mut self.dice);
                    let wait = Duration::from_micros(self.dice.below(3_000));
                    let moment = host.moment(index);
                    let event = Event::Gone(moment, id);
                    self.agenda.plan(self.now + wait, event);
                }
            }
        }
    }
}
