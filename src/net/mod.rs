//! The reactor: one thread, one poll, all sockets.
//!
//! It mirrors Twisted's in words and manners - listen, connect, connection made, connection lost
//! with a reason, lose or abort a connection, call from thread - and differs where mio does: the
//! kernel tells of edges, not of levels, so an edge that cannot be used yet is remembered here.
//!
//! The owner turns it. One turn:
//!
//! ```text
//!   flush ----> turn: free, poll ----> read ----> mail ----> timers
//!   what was    what is doomed goes,   owner      owner      owner
//!   queued      then sleep until       serves     takes      does what
//!   leaves      an edge comes          the ready  the mail   is due
//! ```
//!
//! Nothing calls back: what happened is taken with [`Reactor::poll_event`] and
//! [`Reactor::poll_ready`], and what is wanted is said by a method. Every connection has a name
//! that never returns, so a wish for one that has gone is simply void.

pub mod connection;
pub mod mailbox;
pub mod output;
pub mod transport;

mod connections;
mod gate;
mod idle;
mod listeners;
mod timers;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use mio::event::Event as Edge;
use mio::{Events, Poll, Token};

use self::connection::{Connection, Role, State};
use self::connections::Connections;
use self::gate::Gate;
use self::idle::Idle;
use self::listeners::{Accepted, Listeners, SOCKETS_MAX};
pub use self::listeners::{Limits, Listening};
use self::mailbox::Mailbox;
use self::output::{BufferPool, Flushed};
use self::timers::Timers;
use self::transport::{Received, Transport};
use crate::connection_id::{ConnectionId, ReplyId};
use crate::input::Input;

/// The most bytes one connection may have read in one turn; then others are served.
pub const READ_BYTES_MAX: usize = 64 * 1024;

/// What all connections together may have read in one turn, as far as each then has
/// [`READ_QUOTA_BYTES_MIN`]: a turn in which a thousand have much to say must not take seconds, or
/// their neighbours would take us for dead.
const TURN_BUDGET_BYTES: usize = 2 * 1024 * 1024;

/// The least that a connection may have read in one turn.
const READ_QUOTA_BYTES_MIN: usize = 256;

/// A connection with this much output pending is not read any further until its peer takes some. What
/// stays behind a reply that comes later is pending too.
pub const OUTPUT_BYTES_MAX: usize = 256 * 1024;

/// The output that may be pending for all connections together; an answer that several are sent counts
/// for each. Over it, connections that have taken nothing for `UNREAD_MAX` are closed; if that is too
/// little, those with the largest backlog, whether they read slowly or much stays behind an answer, ...
pub const OUTPUT_ALL_BYTES_MAX: usize = 256 * 1024 * 1024;

/// ... until only so much is left: the largest backlog is found by looking at all.
const OUTPUT_ALL_BYTES_LEFT: usize = OUTPUT_ALL_BYTES_MAX / 8 * 7;

/// A peer that could have taken some for so long, and did not, does not read.
const UNREAD_MAX: Duration = Duration::from_secs(5);

/// What is buffered of the input of all connections together, since a line's end has not come or its
/// turn has not. In memory it may take twice as much, as buffers double. Over it, the connections with
/// the most are closed, ...
pub const INPUT_ALL_BYTES_MAX: usize = 256 * 1024 * 1024;

/// ... until only so much is left: which have the most is found by looking at all.
const INPUT_ALL_BYTES_LEFT: usize = INPUT_ALL_BYTES_MAX / 8 * 7;

/// A peer that is sent something and takes not one byte for this long is given up.
const STALL_MAX: Duration = Duration::from_secs(300);

/// How long to wait for the peer's end after our own.
const LINGER: Duration = Duration::from_millis(250);

const EVENTS: usize = 1024;
const WAKER: Token = Token(usize::MAX);
const LISTENERS_FROM: usize = usize::MAX - SOCKETS_MAX;

/// What happened.
#[derive(Debug)]
pub enum Event<R> {
    /// A listener has a new connection, or a dial has come through.
    Made(ConnectionId, R),
    /// A connection has gone; whoever asks for it from now on gets nothing.
    Lost {
        /// Its name.
        id: ConnectionId,
        /// What it was for.
        role: R,
        /// Whether it had ever been made.
        made: bool,
        /// Why.
        reason: String,
    },
    /// No connection can be accepted for now; the text says why.
    AcceptFailed(String),
    /// A connection had to be given up for others; the text says why.
    OutputFull(String),
    /// Connections had to be given up for what they hold back; the text says why.
    InputFull(String),
}

/// The event loop's sockets and what is known of them. `R` says what connections are for, `M` is the
/// mail of other threads.
#[derive(Debug)]
pub struct Reactor<R: Role, M> {
    poll: Poll,
    edges: Events,
    listeners: Listeners<R>,
    connections: Connections<R>,
    made: u64,
    events: VecDeque<Event<R>>,
    ready: VecDeque<ConnectionId>,
    dirty: Vec<ConnectionId>,
    gate: Gate<R>,
    doomed: Vec<ConnectionId>,
    timers: Timers,
    idle: Option<Idle<R>>,
    /// When the reactor was made: the second 0 of [`Connection::moved`].
    started: Instant,
    /// The second of this turn.
    second: u32,
    /// Bytes of output that are pending for all connections.
    pending: usize,
    /// Bytes of input that are buffered for all connections.
    buffered: usize,
    pool: BufferPool,
    mailbox: Mailbox<M>,
    mail: Receiver<M>,
}

impl<R: Role, M> Reactor<R, M> {
    /// A reactor without sockets.
    ///
    /// # Errors
    /// The kernel's, if it gives no poll.
    pub fn new() -> io::Result<Reactor<R, M>> {
        let poll = Poll::new()?;
        let (mailbox, mail) = Mailbox::new(poll.registry(), WAKER)?;
        Ok(Reactor {
            poll,
            edges: Events::with_capacity(EVENTS),
            listeners: Listeners::new(),
            connections: Connections::new(),
            made: 0,
            events: VecDeque::new(),
            ready: VecDeque::new(),
            dirty: Vec::new(),
            gate: Gate::new(),
            doomed: Vec::new(),
            timers: Timers::default(),
            idle: None,
            started: Instant::now(),
            second: 0,
            pending: 0,
            buffered: 0,
            pool: BufferPool::new(),
            mailbox,
            mail,
        })
    }

    /// Listens at `address`; connections will come with `role`, and wait in the kernel's backlog
    /// while there are as many as `limits` say, or more. Gives the address bound.
    ///
    /// # Errors
    /// The kernel's, `AddrInUse` above all.
    pub fn listen(
        &mut self,
        address: SocketAddr,
        role: R,
        limits: Limits,
    ) -> io::Result<SocketAddr> {
        let registry = self.poll.registry();
        let first = LISTENERS_FROM;
        self.listeners
            .listen(registry, first, address, role, limits)
    }

    /// Listens at each address to which `address` leads, a host name or an IP address with a port.
    ///
    /// # Errors
    /// Why nothing is bound: those of the resolver, or of the first address.
    pub fn listen_at(&mut self, address: &str, role: R, limits: Limits) -> io::Result<Listening> {
        let mut listening = Listening::default();
        for address in listeners::addresses(address)? {
            match self.listen(address, role, limits) {
                Ok(bound) => listening.bound.push(bound),
                Err(error) => listening.failed.push((address, error)),
            }
        }
        match listening.bound.is_empty() {
            true => Err(listening.failed.remove(0).1),
            false => Ok(listening),
        }
    }

    /// Closes connections of `role` on which no byte has moved for `limit`, in whole seconds, if
    /// nothing is pending for them and they are not paused.
    pub fn close_idle(&mut self, role: R, limit: Duration) {
        self.idle = Some(Idle::new(role, limit, Instant::now()));
    }

    /// Closes all listeners.
    pub fn stop_listening(&mut self) {
        self.listeners.close();
    }

    /// Dials `address`; [`Event::Made`] or [`Event::Lost`] follows.
    ///
    /// # Errors
    /// The kernel's, if the dial cannot even begin.
    pub fn connect(&mut self, address: SocketAddr, role: R) -> io::Result<ConnectionId> {
        let transport = Transport::dial(address)?;
        self.insert(transport, address, role, State::Dialling)
    }

    fn insert(
        &mut self,
        mut transport: Transport,
        peer: SocketAddr,
        role: R,
        state: State,
    ) -> io::Result<ConnectionId> {
        let entry = self.connections.vacant_entry();
        let slot = entry.key();
        transport.register(self.poll.registry(), Token(slot))?;
        self.made += 1;
        let serial = self.made;
        let id = ConnectionId { serial, slot };
        let mut connection = Connection::new(id, role, peer, transport, state);
        connection.moved = self.second;
        entry.insert(connection);
        Ok(id)
    }

    /// Where other threads leave mail.
    pub fn mailbox(&self) -> Mailbox<M> {
        self.mailbox.clone()
    }

    /// The next letter.
    pub fn poll_mail(&mut self) -> Option<M> {
        self.mail.try_recv().ok()
    }

    /// What a connection is for, as long as it is there.
    pub fn role(&self, id: ConnectionId) -> Option<R> {
        self.connections.get(id).map(|connection| connection.role)
    }

    /// The address at the other end.
    pub fn peer(&self, id: ConnectionId) -> Option<SocketAddr> {
        self.connections.get(id).map(|connection| connection.peer)
    }

    /// Whether no connection is left but those about to be freed, and nothing is left to be told.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.connections.len() == self.doomed.len()
    }

    /// How many connections of `role`, which a listener has, are open and not about to close: who has
    /// said its last and waits for an answer still counts.
    pub fn open_len(&self, role: R) -> usize {
        self.listeners.open_len(role)
    }

    /// The names of all connections of `role`.
    pub fn ids(&self, role: R) -> Vec<ConnectionId> {
        let with_role = self.connections.iter().filter(|c| c.role == role);
        with_role.map(|connection| connection.id).collect()
    }

    // ---- the turn

    /// Writes what has been queued, as far as the sockets take it.
    pub fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            self.flush_one(id);
        }
        self.dirty = dirty; // its memory serves the next turn
        if self.pending > OUTPUT_ALL_BYTES_MAX {
            self.give_up_readers(Instant::now());
        }
        if self.buffered > INPUT_ALL_BYTES_MAX {
            self.give_up_fullest();
        }
    }

    /// Closes connections until there is room again: those that do not read, the longest first, then
    /// those with the largest backlog. Somebody must pay, and it shall not be a client that reads its few
    /// replies.
    fn give_up_readers(&mut self, now: Instant) {
        let most = OUTPUT_ALL_BYTES_MAX >> 20;
        let long_unread = |(deadline, id): (Instant, ConnectionId)| {
            let has_output = self.connections.get(id).is_some_and(Connection::has_output);
            (has_output && deadline + UNREAD_MAX <= now + STALL_MAX).then_some(id)
        };
        let unread: Vec<_> = self.timers.iter().filter_map(long_unread).collect();
        let why =
            format!("over {most} MiB of output were pending for all, and it had long taken none");
        for id in unread {
            if self.pending > OUTPUT_ALL_BYTES_MAX {
                self.doom(id, why.clone());
            }
        }
        if self.pending > OUTPUT_ALL_BYTES_MAX {
            let backlogs = self.connections.iter().filter(|c| c.has_output());
            let mut backlogs: Vec<_> = backlogs.map(|c| (c.output.len(), c.id)).collect();
            backlogs.sort_unstable_by(|one, other| other.cmp(one)); // of equals the last to come first
            for (bytes, id) in backlogs {
                if self.pending <= OUTPUT_ALL_BYTES_LEFT {
                    break;
                }
                let reason = format!(
                    "over {most} MiB of output were pending for all, {bytes} bytes of it its own"
                );
                self.doom(id, reason);
            }
        }
        let text = format!("over {most} MiB of replies wait to be read");
        self.events.push_back(Event::OutputFull(text));
    }

    /// Closes the connections of whose input the most is buffered, until there is room for a while.
    /// Somebody must pay for lines that do not end, and it shall not be those whose lines do.
    fn give_up_fullest(&mut self) {
        let buffering = self.connections.iter().filter(|c| !c.input.is_empty());
        let mut buffering: Vec<_> = buffering.map(|c| (c.input.held(), c.id)).collect();
        buffering.sort_unstable_by(|one, other| other.cmp(one)); // of equals the last to come first
        let most = INPUT_ALL_BYTES_MAX >> 20;
        for (bytes, id) in buffering {
            if self.buffered <= INPUT_ALL_BYTES_LEFT {
                break;
            }
            let reason = format!(
                "over {most} MiB of unhandled input were buffered, {bytes} bytes of it its own"
            );
            self.doom(id, reason);
        }
        let text = format!("over {most} MiB of lines have no end or have to wait");
        self.events.push_back(Event::InputFull(text));
    }

    /// Frees what is done, then sleeps until an edge, a letter, or `wake_at`; not at all if
    /// something is ready.
    ///
    /// # Errors
    /// The poll's: nothing can go on then.
    pub fn turn(&mut self, wake_at: Option<Instant>) -> io::Result<()> {
        self.free();
        let may_accept = self.listeners.may_accept(self.connections.len());
        let busy = !self.ready.is_empty() || !self.events.is_empty() || may_accept;
        let timeout = if busy {
            Some(Duration::ZERO)
        } else {
            let own = self
                .timers
                .next()
                .into_iter()
                .chain(self.listeners.timeout());
            let idle = self.idle.as_ref().map(Idle::next);
            let next = own.chain(idle).chain(wake_at).min();
            next.map(|at| at.saturating_duration_since(Instant::now()))
        };
        match self.poll.poll(&mut self.edges, timeout) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            other => other?,
        }
        // The list is taken out so that what it says can be noted in the connections.
        let edges = std::mem::replace(&mut self.edges, Events::with_capacity(0));
        let mut told = 0;
        for edge in &edges {
            told += 1;
            match edge.token() {
                WAKER => {} // the mail is looked at each turn
                Token(at) if at >= LISTENERS_FROM => self.listeners.note_edge(at - LISTENERS_FROM),
                Token(slot) => self.note(slot, edge),
            }
        }
        self.edges = edges;
        let now = Instant::now();
        self.second = u32::try_from((now - self.started).as_secs()).unwrap_or(u32::MAX);
        self.accept(now);
        self.expire(now);
        if told < EVENTS {
            self.lose_idle(now); // otherwise the kernel may have more to tell of them
        }
        Ok(())
    }

    /// Notes what the kernel says of a connection. It cannot be of an earlier one in the same
    /// slot: connections are freed only before the poll.
    fn note(&mut self, slot: usize, edge: &Edge) {
        let Some(connection) = self.connections.at_mut(slot) else {
            return;
        };
        let (id, role) = (connection.id, connection.role);
        if connection.state == State::Dialling {
            match connection.transport.finish_dial() {
                Ok(false) => return, // a spurious edge: wait on
                Err(error) => return self.doom(id, format!("the dial failed: {error}")),
                Ok(true) => {
                    connection.state = State::Open;
                    self.events.push_back(Event::Made(id, role));
                }
            }
        }
        let Some(connection) = self.connections.at_mut(slot) else {
            return;
        };
        if edge.is_error() {
            let in_order = connection.transport.error().kind() == ErrorKind::BrokenPipe;
            return self.peer_gone(id, "reset", in_order);
        }
        let readable = connection.transport.note(edge);
        if edge.is_writable() && !connection.output.is_empty() {
            self.mark_dirty(id);
        }
        if readable {
            self.mark_ready(id);
        }
    }

    fn accept(&mut self, now: Instant) {
        self.listeners.begin_turn(now);
        while let Some(accepted) = self.listeners.accept(self.connections.len()) {
            match accepted {
                Accepted::Connection(stream, peer, role) => {
                    match self.insert(Transport::accepted(stream), peer, role, State::Open) {
                        Ok(id) => self.events.push_back(Event::Made(id, role)),
                        Err(error) => {
                            let error = self.listeners.not_taken(role, &error);
                            self.events.push_back(Event::AcceptFailed(error));
                        }
                    }
                }
                Accepted::Failed(error) => self.events.push_back(Event::AcceptFailed(error)),
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some(id) = self.timers.due(now) {
            let Some(connection) = self.connections.get_mut(id) else {
                continue;
            };
            connection.deadline = None;
            let reason = match &connection.state {
                State::Lingering(reason) => reason.clone(),
                _ => format!("took no bytes for {} seconds", STALL_MAX.as_secs()),
            };
            self.doom(id, reason);
        }
    }

    /// Closes those of a slice of the connections that have been silent for too long.
    fn lose_idle(&mut self, now: Instant) {
        let Some(idle) = &mut self.idle else { return };
        let (role, slots) = (idle.role, idle.due(self.connections.capacity(), now));
        let mut over = Vec::new();
        for slot in slots {
            if let Some(connection) = self.connections.at(slot)
                && connection.role == role
                && connection.is_quiet()
                && idle.is_over(connection.moved, self.second)
            {
                over.push(connection.id);
            }
        }
        let reason = format!("silent for {} seconds", idle.limit.as_secs());
        for id in over {
            self.lose(id, &reason);
        }
    }

    fn set_deadline(&mut self, id: ConnectionId, deadline: Option<Instant>) {
        if let Some(connection) = self.connections.get_mut(id) {
            self.timers.set(id, connection.deadline, deadline);
            connection.deadline = deadline;
        }
    }

    fn mark_ready(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id)
            && !connection.ready
        {
            connection.ready = true;
            // One that is being closed is only read from to be rid of what it says.
            match connection.is_open() && self.gate.is_closed(connection.role) {
                true => self.gate.push_ready(id),
                false => self.ready.push_back(id),
            }
        }
    }

    fn mark_dirty(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id)
            && !connection.dirty
        {
            connection.dirty = true;
            match self.gate.is_closed(connection.role) {
                true => self.gate.push_dirty(id),
                false => self.dirty.push(id),
            }
        }
    }

    fn flush_one(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.dirty = false;
        if matches!(connection.state, State::Dialling | State::Doomed(_)) {
            return;
        }
        let before = connection.output.len();
        let flushed = connection.flush(&mut self.pool);
        let left = connection.output.len();
        self.pending -= before - left;
        if left < before {
            connection.moved = self.second;
        }
        match flushed {
            Ok(Flushed::All) => {
                let (paused, losing) = (connection.paused, connection.state.clone());
                if connection.deadline.is_some() {
                    self.set_deadline(id, None);
                }
                match losing {
                    State::Losing(reason) => self.linger(id, reason),
                    _ if paused => self.mark_ready(id),
                    _ => {}
                }
            }
            Ok(Flushed::Awaiting) => {
                let resume = connection.paused && left < OUTPUT_BYTES_MAX / 2;
                if connection.deadline.is_some() {
                    self.set_deadline(id, None); // its peer does take what it is sent
                }
                if resume {
                    self.mark_ready(id);
                }
            }
            Ok(Flushed::Blocked(taken)) => {
                let resume = connection.paused && left < OUTPUT_BYTES_MAX / 2;
                if taken > 0 || connection.deadline.is_none() {
                    self.set_deadline(id, Some(Instant::now() + STALL_MAX));
                }
                if resume {
                    self.mark_ready(id);
                }
            }
            Err(error) => {
                let in_order = error.kind() == ErrorKind::BrokenPipe;
                self.peer_gone(id, &error.to_string(), in_order);
            }
        }
    }

    /// The peer takes nothing any more. What it had said before, and the kernel still holds, is
    /// read to its end, which tells the rest; unless its owner does not want it for now. `in_order` says
    /// that the peer had closed its sending side before: then Linux tells of `EPIPE`, not of a reset.
    fn peer_gone(&mut self, id: ConnectionId, reason: &str, in_order: bool) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if !connection.is_open() || connection.paused || connection.ended {
            return self.doom(id, reason.to_owned());
        }
        connection.gone = true;
        connection.reset |= !in_order;
        self.pending -= connection.output.len();
        connection.output.clear();
        connection.transport.set_gone();
        self.mark_ready(id);
    }

    fn linger(&mut self, id: ConnectionId, reason: String) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.transport.end_output();
        if connection.ended {
            return self.doom(id, reason);
        }
        connection.state = State::Lingering(reason);
        self.set_deadline(id, Some(Instant::now() + LINGER));
        self.mark_ready(id);
    }

    /// The one place where a connection's end is settled; it is freed before the next poll.
    fn doom(&mut self, id: ConnectionId, reason: String) {
        self.set_deadline(id, None);
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if matches!(connection.state, State::Doomed(_)) {
            return;
        }
        let made = connection.state != State::Dialling;
        let role = connection.role;
        let open = connection.counts_as_open();
        self.pending -= connection.output.len();
        connection.output.clear();
        connection.input.clear();
        connection.count_buffered(&mut self.buffered);
        connection.state = State::Doomed(reason.clone());
        if open {
            self.listeners.closed(role);
        }
        self.doomed.push(id);
        self.events.push_back(Event::Lost {
            id,
            role,
            made,
            reason,
        });
    }

    /// The one place where a connection is freed.
    fn free(&mut self) {
        while let Some(id) = self.doomed.pop() {
            let mut connection = self.connections.remove(id);
            debug_assert!(connection.output.is_empty(), "it was settled before");
            debug_assert!(connection.input.is_empty(), "it was settled before");
            self.listeners.freed(connection.role);
            connection.transport.deregister(self.poll.registry());
        }
        debug_assert!(self.pending + self.buffered == 0 || !self.connections.is_empty());
    }

    // ---- what happened

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event<R>> {
        self.events.pop_front()
    }

    /// How many connections have something to be served: serve so many, then let the others wait
    /// for the next turn.
    pub fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// How many bytes each of those that are ready now may have read in this turn, if all are
    /// alike; its owner may give some of them up to [`READ_BYTES_MAX`].
    pub fn read_quota(&self) -> usize {
        read_quota(self.ready.len())
    }

    /// Takes the next in the queue; `None` if it has nothing for its owner, so that one that is
    /// being closed and still talks has its turn like the others, and no more.
    pub fn poll_ready(&mut self) -> Option<(ConnectionId, R)> {
        let id = self.ready.pop_front()?;
        let connection = self.connections.get_mut(id)?;
        connection.ready = false;
        match connection.state {
            State::Open => return Some((id, connection.role)),
            State::Losing(_) | State::Lingering(_) => self.discard(id),
            State::Dialling | State::Doomed(_) => {}
        }
        None
    }

    /// Throws away what a connection that is being closed still says.
    fn discard(&mut self, id: ConnectionId) {
        let mut bytes = [0; 4096];
        let mut budget = READ_BYTES_MAX / bytes.len();
        loop {
            let Some(connection) = self.connections.get_mut(id) else {
                return;
            };
            match connection.read(&mut bytes) {
                Ok(Received::Bytes(_)) if budget > 0 => budget -= 1,
                Ok(Received::Bytes(_)) => return self.mark_ready(id),
                Ok(Received::Drained) => return,
                Ok(Received::End) => {
                    if let State::Lingering(reason) = &connection.state {
                        let reason = reason.clone();
                        self.doom(id, reason);
                    }
                    return;
                }
                Err(error) => return self.doom(id, error.to_string()),
            }
        }
    }

    /// Lets `decode` go on with a connection's input: its codec, and what is buffered. `None` if it has
    /// gone.
    pub fn decode<T>(
        &mut self,
        id: ConnectionId,
        decode: impl FnOnce(&mut R::Codec, &mut Input) -> T,
    ) -> Option<T> {
        let connection = self.connections.get_mut(id)?;
        let decoded = decode(&mut connection.codec, &mut connection.input);
        connection.count_buffered(&mut self.buffered);
        Some(decoded)
    }

    /// Whether a connection is there and not about to be closed.
    pub fn is_open(&self, id: ConnectionId) -> bool {
        self.connections.get(id).is_some_and(Connection::is_open)
    }

    /// Whether a connection is open and its peer takes what it is sent: only then may that grow.
    pub fn takes_replies(&self, id: ConnectionId) -> bool {
        self.connections
            .get(id)
            .is_some_and(|c| c.is_open() && c.output.len() < OUTPUT_BYTES_MAX)
    }

    /// Pauses a connection: its input waits. `rest` is what has been read and not been handled; it is
    /// buffered. The connection is ready again when its output has drained, or when
    /// [`Reactor::resume`] says so. Of one that is about to close nothing is buffered; one whose peer
    /// takes nothing any more is closed.
    pub fn pause(&mut self, id: ConnectionId, rest: &[u8]) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if connection.gone {
            // Nobody waits for what its lines are answered.
            return self.doom(id, "reset before its lines were handled".to_owned());
        }
        if connection.is_open() {
            connection.input.push(rest);
            connection.count_buffered(&mut self.buffered);
            connection.paused = true;
        }
    }

    /// Lets a connection be served again, now or next turn.
    pub fn resume(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.paused = false;
            self.mark_ready(id);
        }
    }

    /// Reads once, for a connection that was ready. If there may be more it is ready again, behind
    /// all others; if the read fails it is lost.
    pub fn read(&mut self, id: ConnectionId, room: &mut [u8]) -> Received {
        let connection = self.connections.get_mut(id);
        let Some(connection) = connection.filter(|connection| connection.is_open()) else {
            return Received::Drained;
        };
        connection.paused = false;
        match connection.read(room) {
            Ok(Received::Bytes(n)) => {
                connection.moved = self.second;
                if connection.transport.is_readable() {
                    self.mark_ready(id);
                }
                Received::Bytes(n)
            }
            Ok(Received::End) if connection.reset => {
                self.doom(id, "reset".to_owned());
                Received::Drained
            }
            Ok(fill) => fill,
            Err(error) => {
                self.doom(id, error.to_string());
                Received::Drained
            }
        }
    }

    // ---- what is wanted

    /// Queues bytes; they leave at the next flush.
    pub fn send(&mut self, id: ConnectionId, parts: &[&[u8]]) {
        if let Some(connection) = self.connections.get_mut(id)
            && connection.takes_output()
        {
            let before = connection.output.len();
            connection.output.push(parts, &mut self.pool);
            self.pending += connection.output.len() - before;
            self.mark_dirty(id);
        }
    }

    /// Reserves the place of a reply that begins with the parts of `head`, and whose rest comes later:
    /// nothing of it leaves before, nor what is sent from now on.
    pub fn reserve(&mut self, id: ConnectionId, reply: ReplyId, head: &[&[u8]]) {
        if let Some(connection) = self.connections.get_mut(id)
            && connection.takes_output()
        {
            let before = connection.output.len();
            connection.output.reserve(reply, head);
            self.pending += connection.output.len() - before;
        }
    }

    /// Completes a reply whose place was reserved with `body`, which others may be sent too, and `tail`.
    pub fn fill(&mut self, id: ConnectionId, reply: ReplyId, body: Arc<[u8]>, tail: &[u8]) {
        if let Some(connection) = self.connections.get_mut(id) {
            let (before, open, role) = (
                connection.output.len(),
                connection.counts_as_open(),
                connection.role,
            );
            connection.output.fill(reply, body, tail);
            self.pending += connection.output.len() - before;
            if open && !connection.counts_as_open() {
                self.listeners.closed(role);
            }
            self.mark_dirty(id);
        }
    }

    /// Lets all connections of `role` wait: nothing is read from them, and nothing leaves that is queued for
    /// them, until [`Reactor::ungate`]. They may be lost meanwhile.
    pub fn gate(&mut self, role: R) {
        self.gate.close(role);
        for id in std::mem::take(&mut self.ready) {
            self.requeue_ready(id);
        }
        for id in std::mem::take(&mut self.dirty) {
            self.requeue_dirty(id);
        }
    }

    /// Lets connections of `role` be served again.
    pub fn ungate(&mut self, role: R) {
        let (ready, dirty) = self.gate.open(role);
        ready.into_iter().for_each(|id| self.requeue_ready(id));
        dirty.into_iter().for_each(|id| self.requeue_dirty(id));
    }

    fn requeue_ready(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.ready = false;
            self.mark_ready(id);
        }
    }

    fn requeue_dirty(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.dirty = false;
            self.mark_dirty(id);
        }
    }

    /// How many bytes a connection would still take before it is over [`OUTPUT_BYTES_MAX`].
    pub fn room(&self, id: ConnectionId) -> usize {
        self.connections
            .get(id)
            .map_or(0, |c| OUTPUT_BYTES_MAX.saturating_sub(c.output.len()))
    }

    /// Stops reading at once, writes what is pending, replies that come later included, then closes.
    pub fn lose(&mut self, id: ConnectionId, reason: &str) {
        if let Some(connection) = self.connections.get_mut(id)
            && connection.is_open()
        {
            connection.state = State::Losing(reason.to_owned());
            connection.input.clear();
            connection.count_buffered(&mut self.buffered);
            let (role, open) = (connection.role, connection.counts_as_open());
            if !open {
                self.listeners.closed(role);
            }
            self.mark_dirty(id); // with nothing pending the flush finds it done
        }
    }

    /// Closes without waiting.
    pub fn abort(&mut self, id: ConnectionId, reason: &str) {
        self.doom(id, reason.to_owned());
    }
}

/// How many bytes each of `ready` connections may have read in a turn.
fn read_quota(ready: usize) -> usize {
    let quota = TURN_BUDGET_BYTES / ready.max(1);
    quota.clamp(READ_QUOTA_BYTES_MIN, READ_BYTES_MAX)
}
