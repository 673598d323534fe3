//! What carries out the node's effects: the reactor, the journal, Twitter's workers, the log.
//!
//! `Driver` owns one beside the node and hands it over as the sink of all that the node handles. A
//! line goes straight from the node into the buffer from which it leaves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::herd_view::HerdView;
use super::in_force::InForce;
use super::mail::Mail;
use super::memory;
use super::neighbours::Neighbours;
use super::operator::{Matter, Operator};
use super::roles::Role;
use super::security::Security;
use super::tally::Tally;
use super::web::{self, To, Web};
use crate::connection_id::{ConnectionId, ReplyId};
use crate::journal::Journal;
use crate::journal::files::Files;
use crate::log::Log;
use crate::log::record::{Direction, Label};
use crate::net::Reactor;
use crate::node::Node;
use crate::node::clock;
use crate::node::effects::{Effects, LinkId, LogPolicy, News};
use crate::node::protocol::{Mark, TweetQuery};
use crate::node::questions::{ASKERS_MAX, QuestionId};
use crate::time::Now;
use crate::topology::ServerName;
use crate::twitter::Pool;
use crate::web::answer::{Answer, Rest};
use crate::web::tweets;

/// Whose replies wait for the journal's disk.
const CLIENTS: [Role; 2] = [Role::Client, Role::Http];

/// All that acts for a node.
pub struct Shell {
    /// The sockets.
    pub reactor: Reactor<Role, Mail>,
    /// The memory: what a reply acknowledges is handed to it before the reply leaves.
    pub journal: Journal<Files>,
    /// The text for people.
    pub log: Log,
    /// Those who ask Twitter.
    pub pool: Pool,
    /// Where neighbours are.
    pub neighbours: Neighbours,
    /// Whose keys links may have.
    pub security: Security,
    /// Who watches over the server.
    pub operator: Operator,
    /// What of the operator's files is in force.
    pub in_force: InForce,
    /// When the turn is.
    pub now: Now,
    /// The client's line that is handled is plain, as the log knows: so is a reply that is made of it, names
    /// and numbers.
    pub is_line_plain: bool,
    /// What is kept for HTTP connections.
    pub web: Web,
    /// How the whole herd is.
    pub herd_view: HerdView,
    /// What is counted beside what each of these counts.
    pub tally: Tally,
    /// Clients wait for the journal's disk.
    pub is_gated: bool,
    /// How many locations had made room when the operator was last told of it.
    pub evicted_told: u64,
    /// The links to dial once the node has handled what it is at.
    pub dials: Vec<LinkId>,
}

impl Effects for Shell {
    fn reply(&mut self, client: ConnectionId, line: &[u8]) {
        let label = Label::Client(client.serial);
        let text = line.split_last().map_or(line, |(_lf, text)| text);
        match self.is_line_plain {
            true => self.log.record_plain(Direction::Out, label, text),
            false => _ = self.log.record(Direction::Out, label, text),
        }
        self.reactor.send(client, &[line]);
    }

    fn reserve(&mut self, client: ConnectionId, reply: ReplyId, line: &[u8]) {
        if self.reactor.role(client) == Some(Role::Http) {
            self.web.wait(client, reply, line);
            return self.reactor.reserve(client, reply, &[]); // its status is not known yet
        }
        let label = Label::Client(client.serial);
        self.log.record(Direction::Out, label, line);
        self.reactor.reserve(client, reply, &[line, b"\n"]);
    }

    fn answer(&mut self, client: ConnectionId, reply: ReplyId, json: Arc<[u8]>) {
        if let Some(waiting) = self.web.waited(client, reply) {
            let answer = tweets::answer(&waiting.at, json);
            let (id, manner) = (client, waiting.manner);
            self.respond_late(To { id, manner }, reply, &answer);
            return self.reactor.resume(id);
        }
        let label = Label::Client(client.serial);
        self.log.record(Direction::Out, label, &json);
        self.reactor.fill(client, reply, b"", json, b"\n");
        self.reactor.resume(client);
    }

    fn send(
        &mut self,
        connection: ConnectionId,
        link: Option<LinkId>,
        line: &[u8],
        policy: LogPolicy,
    ) {
        let Some(role) = self.reactor.role(connection) else {
            return; // it has gone
        };
        if policy == LogPolicy::Log {
            let label = self.neighbours.label(connection, role, link);
            self.log.record(Direction::Out, label, line);
        }
        self.reactor.send(connection, &[line, b"\n"]);
    }

    fn dial(&mut self, link: LinkId) {
        self.dials.push(link);
    }

    fn cancel_dial(&mut self, link: LinkId) {
        if let Some(id) = self.neighbours.at(link).dial.take() {
            self.reactor.abort(id, "given up");
        }
    }

    fn lose(&mut self, connection: ConnectionId, reason: &str) {
        match self.reactor.role(connection) {
            // Who is no neighbour, or none any longer, is gone within a second, whether it reads or not.
            Some(Role::Accepted | Role::Dialled) => self.reactor.cut(connection, reason),
            Some(Role::Client | Role::Http) | None => self.reactor.lose(connection, reason),
        }
    }

    fn abort(&mut self, connection: ConnectionId, reason: &str) {
        self.reactor.abort(connection, reason);
    }

    fn ask(&mut self, question: QuestionId, query: TweetQuery, deadline: Instant) {
        self.pool.ask(question, query, deadline, self.now);
    }

    fn withdraw(&mut self, question: QuestionId) {
        self.pool.withdraw(question);
    }

    fn changed(&mut self, number: u64, line: &[u8]) {
        self.journal.change(number, line);
    }

    fn known(&mut self, neighbour: &ServerName, known: Option<Mark>) {
        self.journal.known(neighbour, known);
    }

    fn marked(&mut self, neighbour: &ServerName, number: u64) {
        self.journal.marked(neighbour, number);
    }

    fn tell(&mut self, news: News<'_>) {
        match news {
            News::LinkUp(link) => {
                self.neighbours.at(link).reached(self.now);
                self.say_changed(link, "up");
            }
            News::LinkDown(link, reason) => {
                self.neighbours
                    .at(link)
                    .condition
                    .set_down(reason, self.now);
                self.say_changed(link, &format!("down: {reason}"));
            }
            News::Unreachable(link, reason) => self.say_unreachable(link, reason),
            News::ClockOff(link, offset) => {
                let name = self.neighbours.at(link).name.clone();
                let (own, apart) = (self.operator.server(), clock::offset_text(offset));
                let text = format!(
                    "the clock of {name} is {apart} that of {own}. Set the one that is wrong: until then servers \
                     with the right time refuse reports from the one that is ahead"
                );
                self.say_now_and_then(Matter::ClockOff(link), &text);
            }
            News::ClockRight(link) => {
                let name = self.neighbours.at(link).name.clone();
                let text = format!(
                    "the clock of {name} is near enough again: this server asks for what it refused meanwhile"
                );
                self.say_now_and_then(Matter::ClockRight(link), &text);
            }
            News::OwnClock(Some(why)) => {
                let text = format!(
                    "not ready: {why}. Set the clock, or restart with --trust-clock if it is right; until then no \
                     report is refused as too far ahead, and none expires"
                );
                self.say(&text);
            }
            News::OwnClock(None) => {
                self.say(
                    "the clock is trusted again: it no longer keeps the server from being ready",
                );
            }
            News::Refused {
                connection,
                name,
                reason,
            } => self.say_refused(connection, name, reason),
            News::QuestionsFull => {
                let text = format!(
                    "questions are refused: {ASKERS_MAX} wait for Twitter, all that may. --twitter-cache lets one \
                     answer serve many"
                );
                self.say_now_and_then(Matter::Askers, &text);
            }
            News::Invalid { client, reason } => {
                let label = Label::Client(client.serial);
                if self.log.accepts(Direction::In, label) {
                    let text = format!("invalid: {reason}");
                    self.log.record(Direction::Note, label, text.as_bytes());
                }
            }
        }
    }
}

impl Shell {
    /// When the next request is: a nanosecond after the one before. So a report that follows an erasure in one turn
    /// is later than that, and of two without a time of their own the second is the more recent.
    pub fn next_moment(&mut self) -> Now {
        self.now.wall = self.now.wall.later(Duration::from_nanos(1));
        self.now
    }

    /// Hands what the turn has brought to the journal. While that is on its way to the disk, where each
    /// reply must wait for it, no client's reply leaves and no client is read; links go on.
    pub fn commit(&mut self) {
        self.journal.commit();
        let is_gated = self.journal.holds_replies();
        if is_gated != std::mem::replace(&mut self.is_gated, is_gated) {
            match is_gated {
                true => CLIENTS.map(|role| self.reactor.gate(role)),
                false => CLIENTS.map(|role| self.reactor.ungate(role)),
            };
        }
    }

    /// Whether the peer of a connection may be the neighbour of `link`, by the key that it has shown; if not, it
    /// is told why, and closed.
    pub fn may_be(&mut self, node: &mut Node, id: ConnectionId, link: LinkId) -> bool {
        let shown = self.reactor.peer_key(id);
        let neighbour = self.neighbours.at(link);
        let judged = self.security.judge(&neighbour.keys, shown);
        if let Err(reason) = &judged {
            let name = neighbour.name.clone();
            node.handle_forbidden(id, &name, reason, self.now, self);
        }
        judged.is_ok()
    }

    /// Goes over to other keys and certificates, after the neighbours have theirs. Who is linked with a key that
    /// is out is cut off; clients stay.
    pub fn set_security(&mut self, security: Security, node: &mut Node) {
        let (reactor, clients) = (&mut self.reactor, security.for_clients());
        reactor.set_offer(Role::Accepted, &security.for_servers());
        reactor.set_offer(Role::Client, &clients);
        reactor.set_offer(Role::Http, &clients);
        self.security = security;
        let linked = node
            .peers()
            .filter_map(|id| Some((id, node.speaker_of(id)?)));
        for (id, link) in linked.collect::<Vec<_>>() {
            self.may_be(node, id, link);
        }
    }

    // ---- HTTP

    /// Sends a response, and lets the client ask on, unless that is the last.
    pub fn respond(&mut self, to: To, answer: &Answer) {
        self.log_answer(to.id, answer);
        self.respond_unlogged(to, answer);
    }

    /// The same of a response of which the log has what it says.
    pub fn respond_unlogged(&mut self, to: To, answer: &Answer) {
        let To { id, manner } = to;
        self.tally.count_response(answer.status);
        let date = self.now.wall.seconds();
        let (response, rest) = self.web.response(answer, manner, date);
        match rest {
            None => self.reactor.send(id, &[response]),
            Some(rest) => self.reactor.send(id, &[response, &rest.shared, rest.end]),
        }
        self.after_response(to);
    }

    /// Lets the client ask on after a response, unless that was the last.
    pub fn after_response(&mut self, to: To) {
        match to.manner.keep_alive {
            true => self.idle_from_now(to.id),
            false => self.reactor.lose(to.id, "answered"),
        }
    }

    fn log_answer(&mut self, id: ConnectionId, answer: &Answer) {
        let label = Label::Http(id.serial);
        if self.log.accepts(Direction::Out, label) {
            let text = &mut self.web.record;
            text.clear();
            web::write_shown(text, answer);
            self.log.record(Direction::Out, label, text);
        }
    }

    /// Writes to the log that a response begins whose end is not in sight.
    pub fn log_stream(&mut self, id: ConnectionId) {
        self.tally.count_response(200);
        let label = Label::Http(id.serial);
        self.log
            .record(Direction::Out, label, b"200 OK, a stream of events");
    }

    /// Sends a response whose place was reserved.
    pub fn respond_late(&mut self, to: To, reply: ReplyId, answer: &Answer) {
        let To { id, manner } = to;
        self.log_answer(id, answer);
        self.tally.count_response(answer.status);
        let date = self.now.wall.seconds();
        let (response, rest) = self.web.response(answer, manner, date);
        let Rest { shared, end } = rest.unwrap_or_default();
        self.reactor.fill(id, reply, response, shared, end);
        self.after_response(to);
    }

    /// Lets an HTTP client begin its next request from now on.
    pub fn idle_from_now(&mut self, id: ConnectionId) {
        let now = self.now.mono;
        self.reactor.decode(id, |codec, _| {
            if let Some(codec) = codec.http() {
                codec.idle_from(now);
            }
        });
    }

    // ---- what the log and the operator are told

    /// Writes a note of the server's own to the log.
    pub fn note(&mut self, text: &str) {
        self.log
            .record(Direction::Note, Label::None, text.as_bytes());
    }

    /// Writes to the log that a connection was made.
    pub fn log_opened(&mut self, id: ConnectionId, link: Option<LinkId>) {
        let (Some(role), Some(peer)) = (self.reactor.role(id), self.reactor.peer(id)) else {
            return;
        };
        let label = self.neighbours.label(id, role, link);
        let peer = peer.to_string();
        self.log.record(Direction::Opened, label, peer.as_bytes());
    }

    /// Hands the log on to its writer, and tells the operator, and the log too, what has become of journal
    /// and log.
    pub fn tell_of_the_disk(&mut self) {
        self.log.work(self.now);
        while let Some(notice) = self.journal.poll_notice() {
            self.say(&notice);
        }
        while let Some(notice) = self.log.poll_notice() {
            self.say(&notice);
        }
        self.log.work(self.now); // also that is to be written soon
    }

    /// Tells the operator, now and then, that locations make room for others.
    pub fn tell_of_the_table(&mut self, node: &Node) {
        let (evicted, limit) = (node.table().evicted().count, node.table().limit());
        if evicted == self.evicted_told || !self.operator.is_due(Matter::Table, self.now.mono) {
            return;
        }
        self.evicted_told = evicted;
        let limit = memory::bytes_text(limit as u64);
        self.say(&format!(
            "clients' locations take {limit}, all that they may. Those that have not changed for longest make \
             room, and are unknown: {evicted} so far. Find out who reports so many clients, or allow more memory \
             (--max-table-bytes)"
        ));
    }

    /// Tells the operator, and the log.
    pub fn say(&mut self, text: &str) {
        self.operator.say(text);
        self.note(text);
    }

    /// Tells of what may happen often, now and then.
    pub fn say_now_and_then(&mut self, what: Matter, text: &str) {
        if self.operator.is_due(what, self.now.mono) {
            self.say(text);
        }
    }

    /// Tells that a neighbour cannot be reached, unless that was told already.
    pub fn say_unreachable(&mut self, link: LinkId, reason: &str) {
        let now = self.now.mono;
        let neighbour = self.neighbours.at(link);
        neighbour.condition.set_down(reason, self.now);
        if let Some(text) = neighbour.unreachable(reason, now) {
            self.say(&text);
        }
    }

    fn say_changed(&mut self, link: LinkId, state: &str) {
        let now = self.now.mono;
        if let Some(text) = self.neighbours.at(link).changed(state, now) {
            self.operator.say(&text);
        }
    }

    /// Tells the operator only: the log has each of them.
    fn say_refused(&mut self, id: ConnectionId, name: Option<&ServerName>, reason: &str) {
        if !self.operator.is_due(Matter::Refused, self.now.mono) {
            return;
        }
        let hint = name.and_then(|name| self.in_force.hint(name));
        let hint = hint.map_or(String::new(), |hint| format!(". {hint}"));
        let name = name.map_or("somebody", ServerName::as_str);
        let from = self.reactor.peer(id);
        let from = from.map_or(String::new(), |address| format!(" from {address}"));
        let text = format!("{name}{from} was refused at the server port: {reason}{hint}");
        self.operator.say(&text);
    }
}
