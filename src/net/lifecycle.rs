//! What becomes of connections, from their being made to their being freed.
//!
//! `Reactor` owns one, and is the only caller. It has the poll, tells of edges, and offers to others what is
//! wanted of connections; here is what follows from an edge, a flush or a deadline.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::event::Event as Edge;
use mio::{Registry, Token};

use super::connection::{Connection, Role, State};
use super::connections::Connections;
use super::flow::Flow;
use super::gate::Gate;
use super::idle::Idle;
use super::listeners::{Accepted, Listeners};
use super::output::{BufferPool, Flushed};
use super::pressure;
use super::timers::Timers;
use super::transport::{Received, Transport};
use crate::cause;
use crate::connection_id::ConnectionId;

/// The most bytes one connection may have read in one turn; then others are served.
pub const READ_BYTES_MAX: usize = 64 * 1024;

/// A connection with this much output pending is not read any further until its peer takes some. What
/// stays behind a reply that comes later is pending too.
pub const OUTPUT_BYTES_MAX: usize = 256 * 1024;

/// A peer that is sent something and takes not one byte for this long is given up.
pub(super) const STALL_MAX: Duration = Duration::from_secs(300);

/// A TLS handshake must be over by then, from when the connection was made or its first byte came.
pub(super) const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// How long to wait for the peer's end after our own.
const LINGER: Duration = Duration::from_millis(250);

/// How long a peer that is cut off has to take what is queued, and to end.
const CUT_MAX: Duration = Duration::from_secs(1);

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
    /// Connections had to be given up: over [`OUTPUT_ALL_BYTES_MAX`](super::OUTPUT_ALL_BYTES_MAX) were pending
    /// for all.
    OutputFull,
    /// Connections had to be given up: over [`INPUT_ALL_BYTES_MAX`](super::INPUT_ALL_BYTES_MAX) were buffered
    /// of all.
    InputFull,
}

/// All connections, where they come in, and which of them has something to be done.
#[derive(Debug)]
pub(super) struct Lifecycle<R: Role> {
    pub listeners: Listeners<R>,
    pub connections: Connections<R>,
    made: u64,
    pub events: VecDeque<Event<R>>,
    pub ready: VecDeque<ConnectionId>,
    dirty: Vec<ConnectionId>,
    gate: Gate<R>,
    doomed: Vec<ConnectionId>,
    pub timers: Timers,
    pub idle: Option<Idle<R>>,
    /// Connections that ended before their TLS handshake did.
    pub failed_handshakes: u64,
    /// The second of this turn, by which [`Flow`] counts.
    pub second: u32,
    /// Bytes of output that are pending for all connections.
    pub pending: usize,
    /// Bytes of input that are buffered for all connections.
    pub buffered: usize,
    pub pool: BufferPool,
}

impl<R: Role> Lifecycle<R> {
    pub fn new() -> Lifecycle<R> {
        Lifecycle {
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
            failed_handshakes: 0,
            second: 0,
            pending: 0,
            buffered: 0,
            pool: BufferPool::new(),
        }
    }

    /// Whether no connection is left but those about to be freed, and nothing is left to be told.
    pub fn is_over(&self) -> bool {
        self.events.is_empty() && self.connections.len() == self.doomed.len()
    }

    /// Has a place for a connection over `transport`, of which `registry` is to tell.
    ///
    /// # Errors
    /// The kernel's.
    pub fn insert(
        &mut self,
        registry: &Registry,
        mut transport: Transport,
        peer: SocketAddr,
        role: R,
        state: State,
    ) -> io::Result<ConnectionId> {
        let entry = self.connections.vacant_entry();
        let slot = entry.key();
        transport.register(registry, Token(slot))?;
        self.made += 1;
        let serial = self.made;
        let id = ConnectionId { serial, slot };
        let mut connection = Connection::new(id, role, peer, transport, state);
        connection.flow = Flow::new(self.second);
        entry.insert(connection);
        Ok(id)
    }

    /// Takes those that come in, as far as there is room.
    pub fn accept(&mut self, registry: &Registry, now: Instant) {
        self.listeners.begin_turn(now);
        while let Some(accepted) = self.listeners.accept(self.connections.len()) {
            match accepted {
                Accepted::Connection(transport, peer, role) => {
                    match self.insert(registry, transport, peer, role, State::Open) {
                        Ok(id) => {
                            self.events.push_back(Event::Made(id, role));
                            self.note_handshake(id);
                        }
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

    /// Notes what the kernel says of a connection. It cannot be of an earlier one in the same
    /// slot: connections are freed only before the poll.
    pub fn note(&mut self, slot: usize, edge: &Edge) {
        let Some(connection) = self.connections.at_mut(slot) else {
            return;
        };
        let (id, role) = (connection.id, connection.role);
        if connection.state == State::Dialling {
            match connection.transport.finish_dial() {
                Ok(false) => return, // a spurious edge: wait on
                Err(error) => return self.doom(id, cause::of(&error)),
                Ok(true) => {
                    connection.state = State::Open;
                    self.events.push_back(Event::Made(id, role));
                    self.note_handshake(id);
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
        if edge.is_writable() && connection.has_output() {
            self.mark_dirty(id);
        }
        if readable {
            self.mark_ready(id);
        }
    }

    /// Writes what has been queued, as far as the sockets take it.
    pub fn flush(&mut self) {
        let mut at = 0;
        while let Some(&id) = self.dirty.get(at) {
            self.flush_one(id); // which may mark it again: a handshake is over, its output can leave
            at += 1;
        }
        self.dirty.clear();
        self.relieve(Instant::now());
    }

    /// Closes connections if all output or all input is full.
    pub fn relieve(&mut self, now: Instant) {
        if self.pending > pressure::OUTPUT_ALL_BYTES_MAX {
            let stalled_at = now + STALL_MAX;
            let over =
                pressure::most_output(&self.connections, &self.timers, self.pending, stalled_at);
            over.into_iter()
                .for_each(|(id, reason)| self.doom(id, reason));
            self.events.push_back(Event::OutputFull);
        }
        if self.buffered > pressure::INPUT_ALL_BYTES_MAX {
            let over = pressure::most_input(&self.connections, self.buffered);
            over.into_iter()
                .for_each(|(id, reason)| self.doom(id, reason));
            self.events.push_back(Event::InputFull);
        }
    }

    pub fn flush_one(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.dirty = false;
        if matches!(connection.state, State::Dialling | State::Doomed(_)) {
            return;
        }
        if let State::Losing(reason) = &connection.state
            && connection.transport.is_handshaking()
            && connection.output.is_empty()
        {
            let reason = reason.clone(); // nothing has been said, so there is nothing to end in good order
            return self.doom(id, reason);
        }
        let before = connection.pending();
        let flushed = connection.flush(&mut self.pool);
        let left = connection.pending();
        self.pending = self.pending + left - before;
        if left < before {
            connection.flow.note_moved(self.second);
        }
        if connection.handshaking {
            return match flushed {
                Ok(_) => self.note_handshake(id),
                Err(error) => self.doom(id, cause::of(&error)),
            };
        }
        match flushed {
            Ok(Flushed::All) => {
                let (paused, losing) = (connection.paused, connection.state.clone());
                if connection.deadline.is_some() {
                    self.set_deadline(id, None);
                }
                match losing {
                    State::Losing(reason) => self.end_output(id, reason),
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
                self.peer_gone(id, &cause::of(&error), in_order);
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
        self.pending -= connection.pending();
        connection.output.clear();
        connection.transport.set_gone();
        self.mark_ready(id);
    }

    /// All output has left: tells the peer that no more will come, and waits for its end.
    fn end_output(&mut self, id: ConnectionId, reason: String) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let before = connection.pending();
        let has_left = connection.transport.end_output();
        self.pending = self.pending + connection.pending() - before;
        if !has_left {
            return self.set_deadline(id, Some(Instant::now() + STALL_MAX)); // an edge will tell
        }
        if connection.ended {
            return self.doom(id, reason);
        }
        connection.state = State::Lingering(reason);
        self.set_deadline(id, Some(Instant::now() + LINGER));
        self.mark_ready(id);
    }

    /// Throws away what a connection that is being closed still says.
    pub fn discard(&mut self, id: ConnectionId) {
        let mut bytes = [0; 4096];
        let mut budget = READ_BYTES_MAX / bytes.len();
        loop {
            let Some(connection) = self.connections.get_mut(id) else {
                return;
            };
            match connection.read(&mut bytes, &mut self.pending) {
                Ok(Received::Bytes(_) | Received::Drained)
                    if budget > 0 && connection.transport.is_readable() =>
                {
                    budget -= 1;
                }
                Ok(Received::Bytes(_) | Received::Drained) => return self.note_read(id),
                ended => {
                    // All has left: why it is closed counts, not how the peer takes it.
                    if let State::Lingering(reason) = &connection.state {
                        let reason = reason.clone();
                        return self.doom(id, reason);
                    }
                    return match ended {
                        Ok(_) => self.note_handshake(id), // it may have ended with the same read
                        Err(error) => self.doom(id, cause::of(&error)),
                    };
                }
            }
        }
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

    /// The same, but resets the connection if that has not come to its end soon: a peer must not stay by reading
    /// slowly, or not at all.
    pub fn cut(&mut self, id: ConnectionId, reason: &str) {
        self.lose(id, reason);
        if let Some(connection) = self.connections.get_mut(id)
            && matches!(connection.state, State::Losing(_))
        {
            let at = Instant::now() + CUT_MAX;
            let at = connection.deadline.map_or(at, |deadline| deadline.min(at));
            connection.cut_at = Some(at);
            self.set_deadline(id, Some(at));
        }
    }

    /// Closes those whose deadline has come.
    pub fn expire(&mut self, now: Instant) {
        while let Some(id) = self.timers.due(now) {
            let Some(connection) = self.connections.get_mut(id) else {
                continue;
            };
            connection.deadline = None;
            if connection.is_open() && self.gate.is_closed(connection.role) {
                self.set_deadline(id, Some(now + HANDSHAKE_MAX)); // it is we who let it wait
                continue;
            }
            if connection.cut_at.is_some() {
                connection.transport.set_reset();
            }
            let reason = match &connection.state {
                State::Lingering(reason) => reason.clone(),
                State::Losing(reason) if connection.cut_at.is_some() => reason.clone(),
                _ if connection.handshaking => {
                    format!(
                        "no TLS handshake within {} seconds",
                        HANDSHAKE_MAX.as_secs()
                    )
                }
                _ => format!("took no bytes for {} seconds", STALL_MAX.as_secs()),
            };
            self.doom(id, reason);
        }
    }

    /// Closes those of a slice of the connections that have been silent for too long.
    pub fn lose_idle(&mut self, now: Instant) {
        let Some(idle) = &mut self.idle else { return };
        let (role, slots) = (idle.role, idle.due(self.connections.capacity(), now));
        let mut over = Vec::new();
        for slot in slots {
            if let Some(connection) = self.connections.at(slot)
                && connection.role == role
                && connection.is_quiet()
                && idle.is_over(connection.flow.last_moved(), self.second)
            {
                over.push(connection.id);
            }
        }
        idle.closed += over.len() as u64;
        let reason = format!("silent for {} seconds", idle.limit.as_secs());
        for id in over {
            self.lose(id, &reason);
        }
    }

    /// The one place where a connection's end is settled; it is freed before the next poll.
    pub fn doom(&mut self, id: ConnectionId, reason: String) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.cut_at = None;
        }
        self.set_deadline(id, None);
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if matches!(connection.state, State::Doomed(_)) {
            return;
        }
        let made = connection.state != State::Dialling;
        let is_handshaking = made && connection.transport.is_handshaking();
        self.failed_handshakes += u64::from(is_handshaking);
        let role = connection.role;
        let open = connection.counts_as_open();
        self.pending -= connection.pending();
        connection.output.clear();
        connection.transport.forget_output();
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
    pub fn free(&mut self, registry: &Registry) {
        while let Some(id) = self.doomed.pop() {
            let mut connection = self.connections.remove(id);
            debug_assert!(connection.output.is_empty(), "it was settled before");
            debug_assert!(connection.input.is_empty(), "it was settled before");
            self.listeners.freed(connection.role);
            connection.transport.deregister(registry);
        }
        debug_assert!(self.pending + self.buffered == 0 || !self.connections.is_empty());
    }

    fn set_deadline(&mut self, id: ConnectionId, deadline: Option<Instant>) {
        if let Some(connection) = self.connections.get_mut(id) {
            let deadline = connection.cut_at.or(deadline);
            self.timers.set(id, connection.deadline, deadline);
            connection.deadline = deadline;
        }
    }

    /// Notes what a read has left: more to read, or something to write.
    pub fn note_read(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let wants_write = connection.transport.wants_write();
        if connection.transport.is_readable() {
            self.mark_ready(id);
        }
        if wants_write {
            self.mark_dirty(id);
        }
        self.note_handshake(id);
    }

    /// Sees to the deadline of a handshake, and to what had to wait for its end.
    pub fn note_handshake(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        match (
            connection.transport.is_handshaking(),
            connection.handshaking,
        ) {
            (true, false) => {
                connection.handshaking = true;
                self.set_deadline(id, Some(Instant::now() + HANDSHAKE_MAX));
                self.mark_dirty(id); // who has dialled begins
            }
            (false, true) => {
                connection.handshaking = false;
                self.set_deadline(id, None);
                self.mark_dirty(id);
            }
            (true, true) | (false, false) => {}
        }
    }

    // ---- who is to be served

    pub fn mark_ready(&mut self, id: ConnectionId) {
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

    pub fn mark_dirty(&mut self, id: ConnectionId) {
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

    /// Lets all connections of `role` wait: nothing is read from them, and nothing leaves that is queued for
    /// them, until [`Lifecycle::ungate`]. They may be lost meanwhile.
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
}
