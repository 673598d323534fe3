//! A turn of one server: what `Server` does for a node, in virtual time.
//!
//! Lines are handled one by one, each followed by the node's effects. At the end of a turn the journal is
//! committed, and only then does anything leave: replies of clients when the journal lets them.

use std::sync::Arc;
use std::time::Duration;

use herd::connection_id::{ConnectionId, ReplyId};
use herd::lines::Piece;
use herd::node::effects::{LinkId, LogPolicy};
use herd::node::protocol::{LINK_LINE_BYTES_MAX, Mark};
use herd::node::questions::{ANSWER_TIMEOUT, QuestionId};

use crate::agenda::Event;
use crate::clients::tweets;
use crate::costs::{Hello, digest, read_mark};
use crate::disk::Crash;
use crate::effects::Effect;
use crate::herd::Herd;
use crate::host::{Doom, Host, Outgoing};
use crate::records;

/// The longest that Twitter takes, when it answers at all: longer than anybody waits.
const TWITTER_MAX_MS: u64 = 13_000;

/// A server whose journal has something to do has the next turn after this.
const BUSY_TURN_EVERY: Duration = Duration::from_micros(200);

impl Herd {
    /// A turn in which nothing happens but what is due.
    pub fn turn(&mut self, host: usize) {
        self.look_at_clock(host);
        let now = self.clock(host);
        let (node, effects) = self.hosts[host].up();
        node.handle_timeout(now, effects);
        self.end_turn(host);
    }

    /// Carries out the node's effects, floods as far as there is room, commits, lets go.
    pub fn end_turn(&mut self, index: usize) {
        if self.hosts[index].node.is_none() {
            return;
        }
        self.perform(index, None);
        self.flood(index);
        self.hosts[index].touched = true;
        self.hosts[index].turns += 1;
        let (now, wall) = (self.clock(index), self.wall(index));
        self.hosts[index].disk.commit(now, self.now, wall);
        let is_doomed = self.hosts[index].doom == Some(Doom::BeforeReplies);
        if is_doomed || self.hosts[index].disk.is_dead() {
            return self.crash(index, Crash::Killed);
        }
        self.let_go(index);
        let Host { disk, node, .. } = &mut self.hosts[index];
        disk.work(node.as_ref().expect("it is up"), self.now, wall);
        if disk.is_dead() {
            return self.crash(index, Crash::Killed);
        }
        self.plan_wake(index);
        self.plan_disk(index);
    }

    fn plan_wake(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        let journal = host.disk.journal();
        let busy = journal
            .is_busy()
            .then(|| self.start + self.now + BUSY_TURN_EVERY);
        let due = [journal.poll_timeout(), host.node().poll_timeout(), busy];
        let Some(at) = due.into_iter().flatten().min() else {
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

    /// The disk's thread takes its time.
    pub fn plan_disk(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        if let Some(wait) = host.disk.goes_on_after(&mut self.dice, self.now) {
            let moment = host.moment(index);
            self.agenda.plan(self.now + wait, Event::Disk(moment));
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
            match (before, speaker) {
                (None, Some(link)) => {
                    let hello = Hello::read(line).expect("who says this has presented itself");
                    self.check_is_later(host, link, &hello);
                    let neighbour = self.hosts[host].neighbour(link);
                    self.hosts[host].costs.begin_session(id, neighbour, hello);
                }
                (Some(link), _) => self.note_heard(host, id, link, line, policy),
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

    /// Checks what becomes of a line of a neighbour that has presented itself.
    fn note_heard(
        &mut self,
        index: usize,
        id: ConnectionId,
        link: LinkId,
        line: &[u8],
        policy: LogPolicy,
    ) {
        let window = self.window(index);
        let neighbour = self.hosts[index].neighbour(link);
        let neighbour = self.hosts[neighbour].name.clone();
        let host = &mut self.hosts[index];
        let shown = line.escape_ascii();
        if records::is_record(line) {
            assert!(
                self.made.contains_key(line),
                "no server has ever made {shown}"
            );
            let number = host.effects.0.iter().find_map(|effect| match effect {
                Effect::Changed(number, changed) if changed == line => Some(*number),
                _ => None,
            });
            match host.heard.hear(line, number, window) {
                Ok(heard) if heard.effective > window.newest => _ = host.refused.insert(id),
                Ok(heard) if heard.gave_way => host.note_gave_way(),
                Ok(_) => {}
                Err(wrong) => panic!("host {index}: {shown} {wrong}"),
            }
            // What loses where a clock is wrong, or is turned away, may win later, when others say it.
            let is_final = self.weather.clock_skew.is_none() && !self.weather.tables_are_small;
            if number.is_some() || is_final {
                host.costs.hear(line, Some(id));
            }
            self.note_evicted(index);
        } else if let Some(number) = read_mark(line) {
            let speaker = host.costs.speaker(id);
            let incarnation = speaker.expect("it has presented itself").incarnation;
            // Within one incarnation of the neighbour's only a higher one says anything new.
            let is_news = match host.disk.states.claim(neighbour.as_bytes()) {
                Some((known, at)) if known == incarnation => number > at,
                _ => number > 0,
            };
            // Who has refused something claims nothing.
            let is_news = is_news && !host.refused.contains(&id);
            let is_known = host.effects.0.iter().any(|effect| match effect {
                Effect::Known(_, Some(mark)) => {
                    (mark.incarnation.0, mark.number) == (incarnation, number)
                }
                _ => false,
            });
            let is_logged = policy == LogPolicy::Log;
            assert!(
                is_known == is_news && is_logged == is_news,
                "host {index}: whether {shown} is news: {is_known}, {is_logged}"
            );
        }
    }

    /// Carries out the node's effects after it has handled a line that came by `heard`.
    pub fn perform(&mut self, index: usize, heard: Option<ConnectionId>) {
        if self.hosts[index].effects.0.is_empty() {
            return;
        }
        let now = self.clock(index);
        self.hosts[index].disk.journal().set_now(now);
        self.hosts[index].changed = None;
        while let Some(effect) = self.hosts[index].effects.0.pop_front() {
            match effect {
                Effect::Reply(id, line) => self.reply(index, id, &line, None),
                Effect::Reserve(id, reply, line) => self.reply(index, id, &line, Some(reply)),
                Effect::Answer(id, reply, json) => {
                    self.client_is_answered(index, id, reply, json);
                    let moment = self.hosts[index].moment(index);
                    self.agenda.plan(self.now, Event::Resume(moment, id));
                }
                Effect::Send {
                    to,
                    link,
                    line,
                    policy: _,
                } => self.say(index, to, link, line),
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
                Effect::Changed(number, line) => {
                    let small = self.weather.tables_are_small;
                    // It may have made room before the server's last end.
                    let may_be_back = small && self.may_have_made_room(&line);
                    let host = &mut self.hosts[index];
                    let may_come_back = self.weather.clock_skew.is_some() || small;
                    if may_be_back || may_come_back && host.heard.is_back(&line, number) {
                        host.costs.forget([digest(&line)].into_iter());
                    }
                    host.disk.states.change(number);
                    host.disk.journal().change(number, &line);
                    host.changed = Some((number, line));
                }
                Effect::Known(neighbour, known) => {
                    let disk = &mut self.hosts[index].disk;
                    disk.journal().known(&neighbour, known);
                    let known = known.map(|mark: Mark| (mark.incarnation.0, mark.number));
                    disk.states.know(neighbour.as_bytes(), known);
                    if known.is_none() {
                        self.touch_ways_of(index); // it may connect anew
                    }
                }
                Effect::Marked(neighbour, number) => {
                    let disk = &mut self.hosts[index].disk;
                    disk.journal().marked(&neighbour, number);
                    disk.states.mark(neighbour.as_bytes(), number);
                }
                Effect::LinkUp(link) => {
                    let id = heard.expect("it is a hello that brings a link up");
                    self.hosts[index].up.insert(link, id);
                }
                Effect::LinkDown(link) => {
                    self.hosts[index].up.remove(&link);
                    let other = self.hosts[index].neighbour(link);
                    self.fences.link_down(index, other, self.now);
                    if self.weather.clock_skew.is_some() {
                        self.touch_ways_of(index); // it may ask for everything anew
                    }
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
            self.client_is_told(index, id, line, reserved);
        }
    }

    fn say(&mut self, index: usize, id: ConnectionId, link: Option<LinkId>, line: Vec<u8>) {
        self.trace(index, &line);
        if self.hosts[index]
            .peers
            .get(&id)
            .is_none_or(|peer| peer.closing)
        {
            return; // it has gone
        }
        if records::is_record(&line) {
            let expired = records::rank(&line).effective() < self.oldest(index);
            let shown = line.escape_ascii();
            assert!(!expired, "host {index} tells what has expired: {shown}");
        }
        if let (Some(hello), Some(link)) = (Hello::read(&line), link) {
            self.check_claim(index, link, &hello);
            if hello.claim.is_some() {
                self.hosts[index].claimed.insert(id);
            }
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
                Outgoing::Line(_, line) if records::is_record(line) => line.len() + 1,
                _ => 0,
            });
            let bytes: usize = bytes.sum();
            assert!(bytes <= room, "{bytes} bytes were said into {room}");
        }
    }

    /// What the turn has said leaves.
    fn let_go(&mut self, index: usize) {
        self.hosts[index].is_held = match self.hosts[index].disk.holds_replies() {
            true => true,
            false => {
                self.clients_take(index);
                if self.hosts[index].is_held {
                    self.resume_clients(index);
                }
                false
            }
        };
        for outgoing in std::mem::take(&mut self.hosts[index].outbox) {
            let host = &mut self.hosts[index];
            let (Outgoing::Line(id, _) | Outgoing::Close(id, _)) = outgoing;
            let Some(wire) = host.peers.get(&id).map(|peer| peer.wire) else {
                continue;
            };
            let (now, agenda) = (self.now, &mut self.agenda);
            match outgoing {
                Outgoing::Line(_, mut line) => {
                    if records::is_record(&line) {
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
