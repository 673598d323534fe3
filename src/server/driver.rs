//! The node among what carries out its wishes: the reactor, Twitter's workers, the log.
//!
//! What the reactor and other threads tell becomes facts for the node; what the node wishes as an
//! [`Action`] is done. `Server` has one and says when; `serving` brings it the lines.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGXFSZ};

use super::neighbours::Neighbours;
use super::operator::{Matter, Operator};
use super::roles::Role;
use crate::connection_id::ConnectionId;
use crate::input::Input;
use crate::lines::Lines;
use crate::log::Log;
use crate::log::disk::Ticket;
use crate::log::files::Files;
use crate::log::record::{Direction, Label};
use crate::net::{Event, READ_BYTES_MAX, Reactor};
use crate::node::link::Spoken;
use crate::node::protocol::{LINE_BYTES_MAX, LINK_LINE_BYTES_MAX, error_json};
use crate::node::questions::ASKERS_MAX;
use crate::node::table::Key;
use crate::node::{Action, ClientLine, LinkIndex, NeighbourLine, Node};
use crate::time::Now;
use crate::topology::ServerName;
use crate::twitter::{Answer, Pool};

/// How long replies under way may take once the server is told to stop.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// How long after that who is still there may take to hear that it is over.
const LAST_WORD_MAX: Duration = Duration::from_millis(500);

/// Where records expire, a clock that is set back by this much or less is taken to stand still until it
/// has caught up. There is always something that has just expired: so each such step, of which virtual
/// machines make many, would end all links and have everything sent again. The node, its log and its
/// replies go by one time still, which is what a replay relies on.
const STEP_BACK_MAX: Duration = Duration::from_secs(1);

/// What other threads tell the loop.
pub enum Mail {
    /// What a worker has heard from Twitter.
    Answer(Answer),
    /// The process was sent this signal.
    Signal(i32),
    /// Where a neighbour's address leads.
    Resolved(LinkIndex, io::Result<Vec<SocketAddr>>),
    /// What has become of a sync of the log.
    Synced(Ticket, io::Result<()>),
}

/// Whether lines are handled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// They are.
    Serving,
    /// Told to stop: replies under way still leave, until then.
    Draining(Instant),
    /// Nobody is waited for any longer: what is owed still leaves, until then.
    Ending(Instant),
}

/// A line that was read ahead of its being handled.
pub enum Ahead<'a> {
    /// A client's.
    Client(ClientLine<'a>),
    /// A neighbour's, or of one who may be one.
    Neighbour(NeighbourLine<'a>),
}

impl Ahead<'_> {
    /// Where the table has the client of whom it speaks.
    pub fn key_mut(&mut self) -> Option<&mut Key> {
        match self {
            Ahead::Client(line) => line.key_mut(),
            Ahead::Neighbour(line) => line.key_mut(),
        }
    }
}

/// A node, and all that acts for it.
pub struct Driver {
    /// What decides.
    pub node: Node,
    /// The sockets.
    pub reactor: Reactor<Role, Mail>,
    /// Where all is written before it is answered.
    pub log: Log<Files>,
    /// When the turn is.
    pub now: Now,
    operator: Operator,
    pool: Pool,
    neighbours: Neighbours,
    clients_max: usize,
    /// Clients that have come in this turn.
    arrived: Vec<ConnectionId>,
    /// Clients inside a line over the limit, and how many bytes of it have come.
    overlong: BTreeMap<ConnectionId, u64>,
    phase: Phase,
}

impl Driver {
    /// Puts together what acts for `node`, in its first turn, and who is told of it.
    pub fn new(
        operator: Operator,
        node: Node,
        reactor: Reactor<Role, Mail>,
        log: Log<Files>,
        pool: Pool,
        neighbours: Neighbours,
        now: Now,
    ) -> Driver {
        Driver {
            node,
            reactor,
            log,
            now,
            operator,
            pool,
            neighbours,
            clients_max: usize::MAX,
            arrived: Vec::new(),
            overlong: BTreeMap::new(),
            phase: Phase::Serving,
        }
    }

    /// Lets no more than `most` clients be connected. Without it, as many as there are descriptors
    /// for.
    pub fn limit_clients(&mut self, most: usize) {
        self.clients_max = most;
    }

    // ---- what the reactor tells

    /// A connection was made or lost, or there is no room for one.
    pub fn handle_event(&mut self, event: Event<Role>) {
        match event {
            Event::Made(id, role) => {
                self.handle_made(id, role);
            }
            Event::Lost {
                id,
                role,
                made,
                reason,
            } => self.handle_lost(id, role, made, &reason),
            Event::AcceptFailed(error) => {
                self.tell_now_and_then(
                    Matter::Descriptors,
                    &format!("connections have to wait: {error}"),
                );
            }
            Event::OutputFull(error) => {
                self.tell_now_and_then(
                    Matter::Output,
                    &format!("those who do not read, or are owed the most, are closed: {error}"),
                );
            }
            Event::InputFull(error) => {
                self.tell_now_and_then(
                    Matter::Input,
                    &format!("those with the most unhandled input are closed: {error}"),
                );
            }
        }
        self.perform();
    }

    fn handle_made(&mut self, id: ConnectionId, role: Role) {
        match role {
            Role::Client => {
                self.log_opened(id, None);
                self.arrived.push(id);
            }
            Role::Accepted => {
                self.log_opened(id, None);
                self.node.handle_accepted(id, self.now);
            }
            Role::Dialled => {
                let Some(link) = self.neighbours.dialled(id) else {
                    return self.reactor.abort(id, "given up"); // just before it was made
                };
                self.neighbours.at(link).dial = None;
                self.log_opened(id, Some(link));
                self.node.handle_connected(link, id, self.now);
            }
        }
    }

    fn handle_lost(&mut self, id: ConnectionId, role: Role, made: bool, reason: &str) {
        if let Some(bytes) = self.overlong.remove(&id) {
            let label = Label::Client(id.serial);
            self.log.record_length(Direction::In, label, bytes);
        }
        if !made {
            if let Some(link) = self.neighbours.dialled(id) {
                self.dial_failed(link, reason);
            }
            return;
        }
        let label = self.neighbours.label(id, role, self.node.link_of(id));
        self.log
            .record(Direction::Dropped, label, reason.as_bytes());
        match role {
            Role::Client => self.node.handle_client_lost(id),
            Role::Accepted | Role::Dialled => self.node.handle_peer_lost(id, reason, self.now),
        }
    }

    /// Tells clients for whom there is no room, the last to come first, so that they may try
    /// another server. Those who left in the same turn have made room.
    pub fn refuse_surplus(&mut self) {
        let arrived = std::mem::take(&mut self.arrived);
        for id in arrived.into_iter().rev() {
            if self.reactor.open_len(Role::Client) <= self.clients_max || !self.reactor.is_open(id)
            {
                continue;
            }
            let (name, most) = (self.operator.server(), self.clients_max);
            let error = format!("{name} has {most} clients and takes no more, try another server");
            let json = error_json(&error);
            let label = Label::Client(id.serial);
            self.log.record(Direction::Out, label, &json);
            self.reactor.send(id, &[&json, b"\n"]);
            self.reactor.lose(id, "refused: too many clients");
            let text = format!("clients are refused: {most} are connected, all that may be");
            self.tell_now_and_then(Matter::Clients, &format!("{text} (--max-connections)"));
        }
    }

    // ---- what a connection says

    /// Whether the next line of a connection may be handled now.
    pub fn may_process(&self, id: ConnectionId, role: Role) -> bool {
        // A neighbour is heard though it does not read: its lines have no replies, and its
        // backlog is a cursor.
        let may = match role {
            Role::Client => self.node.hears(id) && self.reactor.takes_replies(id),
            Role::Accepted | Role::Dialled => self.reactor.is_open(id),
        };
        may && self.phase == Phase::Serving
    }

    /// How many bytes a connection between servers may have read in this turn, where a client may
    /// have `quota`. A link speaks for all clients of the servers behind it, so it has as much as
    /// any connection ever has; who has not presented itself has what a client has.
    pub fn peer_quota(&self, id: ConnectionId, quota: usize) -> usize {
        match self.node.speaker_of(id) {
            Some(_) => READ_BYTES_MAX,
            None => quota,
        }
    }

    /// Reads a line, of which nothing is done yet.
    pub fn read_ahead<'a>(&self, role: Role, text: &'a [u8]) -> Ahead<'a> {
        match role {
            Role::Client => Ahead::Client(self.node.read_client_line(text)),
            Role::Accepted | Role::Dialled => Ahead::Neighbour(self.node.read_link_line(text)),
        }
    }

    /// A connection has said this line, which was read ahead.
    pub fn handle_line(&mut self, id: ConnectionId, role: Role, text: &[u8], ahead: Ahead<'_>) {
        match ahead {
            Ahead::Client(line) => {
                let label = Label::Client(id.serial);
                self.log.record(Direction::In, label, text);
                self.node.handle_client_line(id, line, self.now);
            }
            Ahead::Neighbour(line) => {
                let spoken = self.node.handle_link_line(id, line, self.now);
                if spoken == Spoken::News {
                    let label = self.neighbours.label(id, role, self.node.speaker_of(id));
                    self.log.record(Direction::In, label, text);
                }
            }
        }
        self.perform();
    }

    /// A connection has said this piece of a line that is longer than any may be.
    pub fn handle_overlong(
        &mut self,
        id: ConnectionId,
        role: Role,
        bytes: &[u8],
        first: bool,
        last: bool,
    ) {
        match role {
            Role::Client => return self.copy_overlong(id, bytes, first, last),
            Role::Accepted | Role::Dialled => {}
        }
        let label = self.neighbours.label(id, role, self.node.speaker_of(id));
        self.log.record_beginning(Direction::In, label, bytes);
        self.node.handle_link_overlong(id, self.now);
        self.perform();
    }

    /// Copies a client's line that is too long to be a command, as it comes.
    fn copy_overlong(&mut self, id: ConnectionId, bytes: &[u8], first: bool, last: bool) {
        let label = Label::Client(id.serial);
        let so_far = self.overlong.entry(id).or_default();
        *so_far += bytes.len() as u64;
        let total = *so_far;
        if first {
            self.log.record_beginning(Direction::In, label, bytes);
            let reply = [b"? ", &bytes[..bytes.len().min(LINE_BYTES_MAX)]].concat();
            self.log.record_beginning(Direction::Out, label, &reply);
            self.reactor.send(id, &[b"? "]);
        }
        self.reactor.send(id, &[bytes]);
        if last {
            self.overlong.remove(&id);
            self.log.record_length(Direction::In, label, total);
            self.log.record_length(Direction::Out, label, total + 2);
            self.reactor.send(id, &[b"\n"]);
        }
    }

    /// The peer will say no more. A client is still sent what it is owed.
    pub fn handle_end(&mut self, id: ConnectionId, role: Role) {
        let unfinished = |_: &mut Lines, input: &mut Input| input.len();
        let bytes = self.reactor.decode(id, unfinished).unwrap_or(0);
        if bytes > 0 {
            let label = self.neighbours.label(id, role, self.node.link_of(id));
            let text = format!("{bytes} bytes after the last LF were discarded");
            self.log.record(Direction::Note, label, text.as_bytes());
        }
        match role {
            Role::Client => self.reactor.lose(id, "closed by the client"),
            Role::Accepted | Role::Dialled => self.reactor.abort(id, "closed by the neighbour"),
        }
    }

    // ---- what other threads tell

    /// Another thread has told this.
    pub fn handle_mail(&mut self, mail: Mail) {
        match mail {
            Mail::Answer(answer) => {
                let (question, json) = self.pool.answered(answer, self.now);
                self.node.handle_answer(question, &json);
                while let Some(notice) = self.pool.poll_notice() {
                    self.tell(&notice.to_string());
                }
            }
            Mail::Signal(SIGHUP) => self.reopen_log(),
            Mail::Signal(SIGXFSZ) => {} // the write says so too
            Mail::Signal(_) => self.leave(),
            Mail::Synced(ticket, synced) => self.log.handle_synced(ticket, synced, self.now),
            Mail::Resolved(link, resolved) => {
                let neighbour = self.neighbours.at(link);
                match resolved {
                    Ok(found) => neighbour.handle_resolved(found),
                    Err(error) => {
                        neighbour.handle_unresolved();
                        self.say_unreachable(link, &error.to_string());
                    }
                }
            }
        }
        self.perform();
    }

    // ---- time

    /// When the next turn is due though nothing happens.
    pub fn wake_at(&self) -> Option<Instant> {
        let busy = self.flooding().next().is_some() || self.log.is_busy(self.now);
        let drained = match self.phase {
            Phase::Serving => None,
            Phase::Draining(until) | Phase::Ending(until) => Some(until),
        };
        let busy = busy.then_some(self.now.mono);
        let log = self.log.poll_timeout();
        let due = [self.node.poll_timeout(), log, drained, busy];
        due.into_iter().flatten().min()
    }

    /// Sets when all is that happens from here on.
    pub fn set_now(&mut self, now: Now) {
        let now = match self.node.forgets_after() {
            Some(_) => now.without_small_steps_back(self.now, STEP_BACK_MAX),
            None => now,
        };
        let before = std::mem::replace(&mut self.now, now);
        self.log.set_time(now);
        if now.wall < before.wall && self.node.handle_clock_set_back(now) {
            // What had expired and was swept counts as never known; a replay, which goes by the
            // times in the log, knows it still, and may judge a report that is older yet otherwise
            // than we do from here on.
            self.log.note_gap(&self.node, "the clock was set back");
            self.perform();
        }
    }

    /// Lets the node know that time has passed, if it asked for that. Each link makes for a turn every
    /// few seconds, be it up or down, so that nobody need be woken for what is said of it late.
    pub fn handle_timeout(&mut self) {
        while let Some(text) = self.neighbours.untold(self.now.mono) {
            self.operator.say(&text);
        }
        let due = self.node.poll_timeout();
        if due.is_some_and(|at| at <= self.now.mono) {
            self.node.handle_timeout(self.now);
            self.perform();
        }
    }

    // ---- what the node wishes

    /// Does what the node wishes. Every fact is followed by it.
    fn perform(&mut self) {
        let mut dials = Vec::new();
        while let Some(action) = self.node.poll_action() {
            match action {
                Action::Send {
                    to,
                    link,
                    line,
                    spoken,
                } => {
                    let Some(role) = self.reactor.role(to) else {
                        continue; // it has gone
                    };
                    if spoken == Spoken::News {
                        let label = self.neighbours.label(to, role, link);
                        self.log.record(Direction::Out, label, line);
                    }
                    self.reactor.send(to, &[line, b"\n"]);
                }
                Action::Owe { to, reply } => {
                    self.reactor.reserve(to, reply);
                    self.reactor.send(to, &[b"\n"]);
                }
                Action::Answer { to, reply, json } => {
                    let label = Label::Client(to.serial);
                    self.log.record(Direction::Out, label, &json);
                    self.reactor.fill(to, reply, json);
                    self.reactor.resume(to);
                }
                Action::Dial(link) => dials.push(link),
                Action::Undial(link) => {
                    if let Some(id) = self.neighbours.at(link).dial.take() {
                        self.reactor.abort(id, "given up");
                    }
                }
                Action::Lose { connection, reason } => self.reactor.lose(connection, &reason),
                Action::Abort { connection, reason } => self.reactor.abort(connection, &reason),
                Action::Ask {
                    question,
                    query,
                    deadline,
                } => self.pool.ask(question, query, deadline, self.now),
                Action::Withdraw(question) => self.pool.withdraw(question),
                Action::TooManyAsk => {
                    let text = format!(
                        "questions are refused: {ASKERS_MAX} wait for Twitter, all that may"
                    );
                    self.tell_now_and_then(Matter::Askers, &text);
                }
                Action::LinkUp(link) => {
                    self.neighbours.at(link).reached();
                    self.say_changed(link, "up");
                }
                Action::LinkDown(link, reason) => {
                    self.say_changed(link, &format!("down: {reason}"));
                }
                Action::Unreached(link, reason) => self.say_unreachable(link, &reason),
                Action::Refused {
                    connection,
                    name,
                    reason,
                } => self.say_refused(connection, name, &reason),
            }
        }
        for link in dials {
            self.dial(link);
        }
    }

    fn dial(&mut self, link: LinkIndex) {
        let mailbox = self.reactor.mailbox();
        let post = move |found| mailbox.post(Mail::Resolved(link, found));
        let neighbour = self.neighbours.at(link);
        let Some(address) = neighbour.next_address(post) else {
            return self.node.handle_dial_failed(link, self.now); // it is being looked up
        };
        match self.reactor.connect(address, Role::Dialled) {
            Ok(id) => neighbour.dial = Some(id),
            Err(error) => self.dial_failed(link, &error.to_string()),
        }
    }

    fn dial_failed(&mut self, link: LinkIndex, reason: &str) {
        self.neighbours.at(link).dial = None;
        self.say_unreachable(link, reason);
        self.node.handle_dial_failed(link, self.now);
    }

    fn say_changed(&mut self, link: LinkIndex, state: &str) {
        let now = self.now.mono;
        if let Some(text) = self.neighbours.at(link).changed(state, now) {
            self.operator.say(&text);
        }
    }

    fn say_unreachable(&mut self, link: LinkIndex, reason: &str) {
        let now = self.now.mono;
        if let Some(text) = self.neighbours.at(link).unreachable(reason, now) {
            self.tell(&text);
        }
    }

    /// Tells the operator only: the log has each of them.
    fn say_refused(&mut self, id: ConnectionId, name: Option<ServerName>, reason: &str) {
        if !self.operator.is_due(Matter::Refused, self.now.mono) {
            return;
        }
        let name = name.map_or("somebody".to_owned(), |name| name.to_string());
        let from = self.reactor.peer(id);
        let from = from.map_or(String::new(), |address| format!(" from {address}"));
        let text = format!("{name}{from} was refused at the server port: {reason}");
        self.operator.say(&text);
    }

    /// Links that have a backlog and room for at least one line of it.
    fn flooding(&self) -> impl Iterator<Item = ConnectionId> {
        let backlogs = self.node.backlogs();
        backlogs.filter(|&id| self.reactor.room(id) > LINK_LINE_BYTES_MAX)
    }

    /// Lets links with a backlog be told as much of it as they have room for.
    pub fn flood(&mut self) {
        if self.flooding().next().is_none() {
            return;
        }
        for id in self.flooding().collect::<Vec<_>>() {
            let room = self.reactor.room(id);
            self.node.handle_room(id, room, self.now);
            self.perform();
        }
    }

    // ---- what the log and the operator are told

    /// Tells the operator what has become of the log, and the log too.
    pub fn tell_of_the_log(&mut self) {
        while let Some(notice) = self.log.poll_notice() {
            self.tell(&notice.to_string());
        }
    }

    fn reopen_log(&mut self) {
        self.log.reopen(&self.node, self.now);
        self.note("the log was reopened");
    }

    fn log_opened(&mut self, id: ConnectionId, link: Option<LinkIndex>) {
        let (Some(role), Some(peer)) = (self.reactor.role(id), self.reactor.peer(id)) else {
            return;
        };
        let label = self.neighbours.label(id, role, link);
        self.log
            .record(Direction::Opened, label, peer.to_string().as_bytes());
    }

    /// Writes a note of the server's own to the log.
    fn note(&mut self, text: &str) {
        self.log
            .record(Direction::Note, Label::None, text.as_bytes());
    }

    /// Tells the operator, and the log.
    fn tell(&mut self, text: &str) {
        self.operator.say(text);
        self.note(text);
    }

    /// Tells of what may happen often, now and then.
    fn tell_now_and_then(&mut self, what: Matter, text: &str) {
        if self.operator.is_due(what, self.now.mono) {
            self.tell(text);
        }
    }

    // ---- the way out

    fn leave(&mut self) {
        if self.phase == Phase::Serving {
            self.phase = Phase::Draining(self.now.after(DRAIN_MAX));
            self.reactor.stop_listening();
            self.node.handle_leaving();
            self.note("told to stop");
        }
    }

    /// Told to stop, closes the clients once they have what they are owed, and at last, when no client
    /// is left or the time is over, the links.
    pub fn drain(&mut self) {
        match self.phase {
            Phase::Serving => return,
            Phase::Draining(until) if until <= self.now.mono => {
                self.phase = Phase::Ending(self.now.after(LAST_WORD_MAX));
                self.node.give_up_questions("the server stops");
                self.perform();
            }
            Phase::Ending(until) if until <= self.now.mono => {
                for id in Role::ALL.map(|role| self.reactor.ids(role)).concat() {
                    self.reactor
                        .abort(id, "the server stops, and it took nothing more");
                }
            }
            Phase::Draining(_) | Phase::Ending(_) => {}
        }
        let clients = self.reactor.ids(Role::Client);
        for &id in &clients {
            self.reactor.lose(id, "the server stops");
        }
        if clients.is_empty() || matches!(self.phase, Phase::Ending(_)) {
            for role in [Role::Accepted, Role::Dialled] {
                for id in self.reactor.ids(role) {
                    self.reactor.lose(id, "the server stops");
                }
            }
        }
    }

    /// Whether all has been done, or as much as there was time for.
    pub fn is_done(&self) -> bool {
        self.phase != Phase::Serving && self.reactor.is_empty()
    }

    /// The last word, to the log and to the operator.
    pub fn close(&mut self) {
        self.note("stopped");
        self.log.close(&self.node, self.now);
        self.tell_of_the_log();
        self.operator.say("stopped");
    }
}
