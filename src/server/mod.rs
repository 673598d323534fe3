//! One server, running: where the floors meet. What the reactor tells becomes facts for the node;
//! what the node wishes is carried out by the reactor, Twitter's workers and the log.
//!
//! `main` makes one and runs it. A turn:
//!
//! ```text
//!   commit the log --> flush replies --> poll --> serve lines --> mail --> timeouts --> flood
//!        ^                                          |                                    |
//!        +------------- records gathered <----------+------------------------------------+
//! ```
//!
//! The order of the first two is the durability: a reply leaves after its record.

mod intake;
mod neighbours;
mod operator;
mod start;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGXFSZ};

use self::intake::Intake;
use self::neighbours::{ACCEPTED, CLIENT, DIALLED, Neighbours};
use self::operator::{Full, Operator};
pub use self::start::StartError;
use crate::connection_id::ConnectionId;
use crate::line_buffer::Piece;
use crate::log::disk::Ticket;
use crate::log::files::Files;
use crate::log::record::{Direction, Label};
use crate::log::{self, Fsync, Log};
use crate::net::connection::{Fill, Role};
use crate::net::{Event, Reactor};
use crate::node::link::Spoken;
use crate::node::protocol::{LINE_BYTES_MAX, LINK_LINE_BYTES_MAX};
use crate::node::table::{Key, PREFETCH_MAX};
use crate::node::{Action, ClientLine, LinkIndex, NeighbourLine, Node, error_json};
use crate::time::Now;
use crate::topology::{Member, ServerName, Topology};
use crate::twitter::{self, Answer, Pool};

/// How long replies under way may take once the server is told to stop.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// What `herd serve` was told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the log goes: `<log_dir>/<name>.log`.
    pub log_dir: PathBuf,
    /// From which length in bytes on the log is replaced.
    pub log_max_bytes: u64,
    /// How many logs are kept that have been replaced.
    pub log_keep: u32,
    /// When the log is made to survive a power failure.
    pub fsync: Fsync,
    /// The most clients that may be connected; without it, as many as there are descriptors for.
    pub max_connections: Option<usize>,
    /// Clients that are silent for longer are closed.
    pub idle_timeout: Option<Duration>,
    /// Records whose effective time is longer ago are forgotten.
    pub forget_after: Option<Duration>,
    /// How Twitter is asked.
    pub twitter: twitter::Options,
}

/// What other threads tell the loop.
enum Mail {
    Answer(Answer),
    Signal(i32),
    Resolved(LinkIndex, io::Result<Vec<SocketAddr>>),
    Synced(Ticket, io::Result<()>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Told to stop: replies under way still leave.
    Draining(Instant),
}

/// A server and all it owns.
pub struct Server {
    name: ServerName,
    operator: Operator,
    node: Node,
    reactor: Reactor<Mail>,
    log: Log<Files>,
    pool: Pool,
    neighbours: Neighbours,
    /// Connections inside a line over the limit, and how many bytes of it have come.
    overlong: BTreeMap<ConnectionId, u64>,
    phase: Phase,
    clients_max: usize,
    /// Clients that have come in this turn.
    arrived: Vec<ConnectionId>,
    /// Whether records expire: then a replay goes by the times in the log.
    forgets: bool,
    /// Taken out while it is used.
    intake: Option<Intake>,
    now: Now,
}

/// A line that was read ahead of its being handled.
enum Ahead<'a> {
    Client(ClientLine<'a>),
    Neighbour(NeighbourLine<'a>),
}

impl Ahead<'_> {
    fn key(&self) -> Option<Key> {
        match self {
            Ahead::Client(line) => line.key(),
            Ahead::Neighbour(line) => line.key(),
        }
    }
}

/// What became of the attempt to serve a piece of a connection's input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Served {
    /// It was handled.
    Piece,
    /// There is none.
    Nothing,
    /// It must wait, and is kept.
    Held,
}

impl Server {
    /// Binds the addresses of `member`, then replays its log. Clients that connect meanwhile wait
    /// in the kernel's backlog.
    ///
    /// # Errors
    /// One line that says which address or file is in the way.
    pub fn start(
        member: &Member,
        topology: &Topology,
        options: &Options,
    ) -> Result<Server, StartError> {
        let now = Now::read();
        let name = member.name.clone();
        let operator = Operator::new(name.clone());
        let fail = |what: &str, error: io::Error| StartError(format!("{name} {what}: {error}"));
        let mut reactor = Reactor::new().map_err(|e| fail("gets no poll", e))?;
        // Before anybody can see that we are there: a SIGHUP that nobody watches for is deadly.
        let mailbox = reactor.mailbox();
        let serving = start::watch_signals(move |signal| mailbox.post(Mail::Signal(signal)));
        let serving = serving.map_err(|e| fail("cannot watch for signals", e))?;
        start::listen(&mut reactor, member, options.max_connections, &operator)?;
        if let Some(limit) = options.idle_timeout {
            reactor.close_idle(CLIENT, limit);
        }
        let mut node = Node::new(member, topology, start::seeds(), now);
        if let Some(after) = options.forget_after {
            node.forget_after(after, now);
        }
        let mailbox = reactor.mailbox();
        let synced = move |ticket, synced| mailbox.post(Mail::Synced(ticket, synced));
        let files = Files::new(synced).map_err(|e| fail("gets no threads", e))?;
        let log_options = log::Options {
            path: options.log_dir.join(format!("{name}.log")),
            max_bytes: options.log_max_bytes,
            keep: options.log_keep,
            fsync: options.fsync,
        };
        let log = start::open_log(&name, log_options, files, &mut node, now, &operator)?;
        let mailbox = reactor.mailbox();
        let post = move |answer| mailbox.post(Mail::Answer(answer));
        let pool = Pool::new(&options.twitter, post).map_err(|e| fail("gets no threads", e))?;
        serving.store(true, Ordering::Release);
        let neighbours = Neighbours::new(topology.neighbours(member));
        operator.say(&format!(
            "clients on {}, servers on {}",
            member.client_address, member.server_address
        ));
        Ok(Server {
            name,
            operator,
            node,
            reactor,
            log,
            pool,
            neighbours,
            overlong: BTreeMap::new(),
            phase: Phase::Serving,
            clients_max: options.max_connections.unwrap_or(usize::MAX),
            arrived: Vec::new(),
            forgets: options.forget_after.is_some(),
            intake: Some(Intake::new()),
            now,
        })
    }

    /// Serves until told to stop.
    ///
    /// # Errors
    /// The poll's: nothing can go on then.
    pub fn run(mut self) -> io::Result<()> {
        while !self.is_done() {
            self.turn()?;
        }
        self.note("stopped");
        self.log.close(&self.node, self.now);
        self.tell_of_the_log();
        self.operator.say("stopped");
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        self.log.commit(&self.node, self.now);
        self.tell_of_the_log();
        self.reactor.flush();
        self.log.work(&mut self.node, self.now);
        self.reactor.turn(self.wake_at())?;
        let before = std::mem::replace(&mut self.now, Now::read());
        self.log.set_time(self.now);
        if self.forgets && self.now.wall < before.wall {
            // What had expired and was swept counts as never known; a replay knows it still, and
            // may judge a report that is older yet otherwise than we do from here on.
            self.log.note_gap("the clock was set back");
        }
        while let Some(event) = self.reactor.poll_event() {
            self.handle_event(event);
        }
        self.serve_ready();
        self.refuse_surplus();
        while let Some(mail) = self.reactor.poll_mail() {
            self.handle_mail(mail);
        }
        if self
            .node
            .poll_timeout()
            .is_some_and(|at| at <= self.now.mono)
        {
            self.node.handle_timeout(self.now);
            self.perform();
        }
        self.flood();
        if let Phase::Draining(_) = self.phase {
            self.drain();
        }
        Ok(())
    }

    /// When the next turn is due though nothing happens.
    fn wake_at(&self) -> Option<Instant> {
        let busy = self.flooding().next().is_some() || self.log.is_busy(self.now);
        let drained = match self.phase {
            Phase::Serving => None,
            Phase::Draining(until) => Some(until),
        };
        let busy = busy.then_some(self.now.mono);
        let log = self.log.poll_timeout();
        let due = [self.node.poll_timeout(), log, drained, busy];
        due.into_iter().flatten().min()
    }

    // ---- what the reactor tells

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Made(id, role) => {
                if role == DIALLED {
                    let Some(link) = self.neighbours.dialled(id) else {
                        return self.reactor.abort(id, "given up"); // just before it was made
                    };
                    self.neighbours.at(link).dial = None;
                    self.log_opened(id, Some(link));
                    self.node.handle_connected(link, id, self.now);
                } else {
                    self.log_opened(id, None);
                    match role {
                        ACCEPTED => self.node.handle_accepted(id, self.now),
                        _ => self.arrived.push(id),
                    }
                }
            }
            Event::Lost {
                id,
                role,
                made,
                reason,
            } => self.handle_lost(id, role, made, &reason),
            Event::AcceptFailed(error) => {
                self.tell_full(
                    Full::Descriptors,
                    &format!("connections have to wait: {error}"),
                );
            }
            Event::OutputFull(error) => {
                self.tell_full(
                    Full::Output,
                    &format!("the slowest readers are closed: {error}"),
                );
            }
        }
        self.perform();
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
            CLIENT => self.node.handle_client_lost(id),
            _ => self.node.handle_peer_lost(id, reason, self.now),
        }
    }

    /// Tells clients for whom there is no room, the last to come first, so that they may try
    /// another server. Those who left in the same turn have made room.
    fn refuse_surplus(&mut self) {
        let arrived = std::mem::take(&mut self.arrived);
        for id in arrived.into_iter().rev() {
            if self.reactor.open_len(CLIENT) <= self.clients_max || !self.reactor.is_open(id) {
                continue;
            }
            let (name, most) = (&self.name, self.clients_max);
            let error = format!("{name} has {most} clients and takes no more, try another server");
            let json = error_json(&error);
            let label = Label::Client(id.serial);
            self.log.record(Direction::Out, label, &json);
            self.reactor.send(id, &[&json, b"\n"]);
            self.reactor.lose(id, "refused: too many clients");
            let text = format!("clients are refused: {most} are connected, all that may be");
            self.tell_full(Full::Clients, &format!("{text} (--max-connections)"));
        }
    }

    /// Reads from all that are ready, once each, and handles what they have said.
    fn serve_ready(&mut self) {
        let share = self.reactor.read_share();
        let mut left = self.reactor.ready_len();
        let Some(mut intake) = self.intake.take() else {
            return;
        };
        while left > 0 {
            intake.clear();
            while left > 0 && intake.has_room() {
                left -= 1;
                if let Some(id) = self.reactor.poll_ready() {
                    self.take_in(id, share, &mut intake);
                }
            }
            self.handle_intake(&intake);
        }
        self.intake = Some(intake);
    }

    /// Reads from a connection, once, when all it had said before has been handled.
    fn take_in(&mut self, id: ConnectionId, share: usize, intake: &mut Intake) {
        let Some(role) = self.reactor.role(id) else {
            return;
        };
        if !self.serve_pieces(id, role, &[]) {
            return;
        }
        let read = match self.reactor.read(id, &mut intake.room()[..share]) {
            Fill::Bytes(read) => read,
            Fill::Drained => return,
            Fill::End => return self.handle_end(id, role),
        };
        let mut chunk = intake.read(read);
        if !self.reactor.is_between_lines(id) && !self.serve_kept_line(id, role, &mut chunk) {
            return;
        }
        let start = read - chunk.len();
        intake.push(id, role, start, read);
    }

    /// Handles a line whose beginning was kept, as far as `chunk` goes on with it. `false` if all of
    /// `chunk` has been taken, or the rest must wait and is kept.
    fn serve_kept_line(&mut self, id: ConnectionId, role: Role, chunk: &mut &[u8]) -> bool {
        while !self.reactor.is_between_lines(id) {
            match self.serve_piece(id, role, chunk) {
                Served::Piece => {}
                Served::Nothing | Served::Held => return false,
            }
        }
        // The line is no longer kept, and who has to wait after it is held, be there a rest or not.
        let wanted = self.serve_pieces(id, role, &[]);
        if !wanted {
            self.reactor.hold(id, chunk);
        }
        wanted
    }

    /// Handles what was read, in groups: first all lines of a group are read, and what they speak
    /// of is brought near, then each is handled.
    fn handle_intake(&mut self, intake: &Intake) {
        let mut lines = intake.lines(line_bytes_max);
        let mut group = Vec::with_capacity(PREFETCH_MAX);
        let mut keys = Vec::with_capacity(PREFETCH_MAX);
        let mut held = None;
        loop {
            keys.clear();
            for item in lines.by_ref().take(PREFETCH_MAX) {
                let ahead = item.line.map(|text| self.read_ahead(item.role, text));
                keys.extend(ahead.as_ref().and_then(Ahead::key));
                group.push((item, ahead));
            }
            if group.is_empty() {
                return;
            }
            self.node.prefetch(&keys);
            for (item, ahead) in group.drain(..) {
                if held == Some(item.id) {
                    continue; // it is in what was kept
                }
                if !self.wants(item.id, item.role) {
                    self.reactor.hold(item.id, item.rest);
                    held = Some(item.id);
                    continue;
                }
                let Some((text, ahead)) = item.line.zip(ahead) else {
                    self.serve_pieces(item.id, item.role, item.rest);
                    continue;
                };
                self.handle_line(item.id, item.role, text, ahead);
                let is_last = item.rest.len() == text.len() + 1;
                if is_last && !self.wants(item.id, item.role) {
                    self.reactor.hold(item.id, &[]); // it waits for us, not we for it
                }
            }
        }
    }

    /// Whether the next line of a connection may be handled now.
    fn wants(&self, id: ConnectionId, role: Role) -> bool {
        // A neighbour is heard though it does not read: its lines have no replies, and its
        // backlog is a cursor.
        let wanted = match role {
            CLIENT => !self.node.is_waiting(id) && self.reactor.takes_replies(id),
            _ => self.reactor.is_open(id),
        };
        wanted && self.phase == Phase::Serving
    }

    /// Handles what was kept before, then `chunk`. `false` if the rest must wait, and is kept.
    fn serve_pieces(&mut self, id: ConnectionId, role: Role, mut chunk: &[u8]) -> bool {
        loop {
            match self.serve_piece(id, role, &mut chunk) {
                Served::Piece => {}
                Served::Nothing => return true,
                Served::Held => return false,
            }
        }
    }

    /// Handles one piece of what was kept before, or of `chunk`.
    fn serve_piece(&mut self, id: ConnectionId, role: Role, chunk: &mut &[u8]) -> Served {
        if !self.wants(id, role) {
            self.reactor.hold(id, chunk);
            return Served::Held;
        }
        let Some(piece) = self.reactor.next_piece(id, chunk, line_bytes_max(role)) else {
            return Served::Nothing;
        };
        // What was kept is copied, so that its memory may change: this is for the few lines that
        // did not come whole.
        match piece {
            Piece::Line(text) => {
                let text = text.to_vec();
                let ahead = self.read_ahead(role, &text);
                self.handle_line(id, role, &text, ahead);
            }
            Piece::Overlong { bytes, first, last } => {
                let bytes = bytes.to_vec();
                self.handle_overlong(id, role, &bytes, first, last);
            }
        }
        Served::Piece
    }

    fn read_ahead<'a>(&self, role: Role, text: &'a [u8]) -> Ahead<'a> {
        match role {
            CLIENT => Ahead::Client(self.node.read_client_line(text)),
            _ => Ahead::Neighbour(self.node.read_link_line(text)),
        }
    }

    fn handle_line(&mut self, id: ConnectionId, role: Role, text: &[u8], ahead: Ahead<'_>) {
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

    fn handle_overlong(
        &mut self,
        id: ConnectionId,
        role: Role,
        bytes: &[u8],
        first: bool,
        last: bool,
    ) {
        if role == CLIENT {
            return self.copy_overlong(id, bytes, first, last);
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
    fn handle_end(&mut self, id: ConnectionId, role: Role) {
        let bytes = self.reactor.unfinished(id);
        if bytes > 0 {
            let label = self.neighbours.label(id, role, self.node.link_of(id));
            let text = format!("{bytes} bytes after the last LF were discarded");
            self.log.record(Direction::Note, label, text.as_bytes());
        }
        match role {
            CLIENT => self.reactor.lose(id, "closed by the client"),
            _ => self.reactor.abort(id, "closed by the neighbour"),
        }
    }

    fn handle_mail(&mut self, mail: Mail) {
        match mail {
            Mail::Answer(answer) => {
                let (question, json) = self.pool.answered(answer, self.now);
                self.node.handle_answer(question, &json);
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

    // ---- what the node wishes

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
                Action::Answer { to, json } => {
                    let label = Label::Client(to.serial);
                    self.log.record(Direction::Out, label, &json);
                    self.reactor.send_shared(to, json);
                    self.reactor.send(to, &[b"\n"]);
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
                Action::LinkUp(link) => {
                    let neighbour = self.neighbours.at(link);
                    neighbour.reached();
                    self.operator
                        .say(&format!("link to {} is up", neighbour.name));
                }
                Action::LinkDown(link, reason) => {
                    let neighbour = &self.neighbours.at(link).name;
                    self.operator
                        .say(&format!("link to {neighbour} is down: {reason}"));
                }
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
        match self.reactor.connect(address, DIALLED) {
            Ok(id) => neighbour.dial = Some(id),
            Err(error) => self.dial_failed(link, &error.to_string()),
        }
    }

    fn dial_failed(&mut self, link: LinkIndex, reason: &str) {
        self.neighbours.at(link).dial = None;
        self.say_unreachable(link, reason);
        self.node.handle_dial_failed(link, self.now);
    }

    fn say_unreachable(&mut self, link: LinkIndex, reason: &str) {
        let now = self.now.mono;
        if let Some(text) = self.neighbours.at(link).unreachable(reason, now) {
            self.tell(&text);
        }
    }

    /// Links that have a backlog and room for at least one line of it.
    fn flooding(&self) -> impl Iterator<Item = ConnectionId> {
        let backlogs = self.node.backlogs();
        backlogs.filter(|&id| self.reactor.room(id) > LINK_LINE_BYTES_MAX)
    }

    fn flood(&mut self) {
        if self.flooding().next().is_none() {
            return;
        }
        for id in self.flooding().collect::<Vec<_>>() {
            let room = self.reactor.room(id);
            self.node.handle_room(id, room, self.now);
            self.perform();
        }
    }

    // ---- the log

    /// Tells the operator what has become of the log, and the log too.
    fn tell_of_the_log(&mut self) {
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

    fn note(&mut self, text: &str) {
        self.log
            .record(Direction::Note, Label::None, text.as_bytes());
    }

    /// Tells the operator, and the log.
    fn tell(&mut self, text: &str) {
        self.operator.say(text);
        self.note(text);
    }

    /// Tells that something is full, now and then.
    fn tell_full(&mut self, what: Full, text: &str) {
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

    /// Closes clients that wait for nothing, and at last, when no client is left, the links.
    fn drain(&mut self) {
        let clients = self.reactor.ids(CLIENT);
        for &id in &clients {
            if !self.node.is_waiting(id) {
                self.reactor.lose(id, "the server stops");
            }
        }
        if clients.is_empty() {
            for role in [ACCEPTED, DIALLED] {
                for id in self.reactor.ids(role) {
                    self.reactor.lose(id, "the server stops");
                }
            }
        }
    }

    fn is_done(&self) -> bool {
        match self.phase {
            Phase::Serving => false,
            Phase::Draining(until) => self.reactor.is_empty() || until <= self.now.mono,
        }
    }
}

/// The longest line that may be said on a connection, LF not counted.
fn line_bytes_max(role: Role) -> usize {
    match role {
        CLIENT => LINE_BYTES_MAX,
        _ => LINK_LINE_BYTES_MAX,
    }
}
