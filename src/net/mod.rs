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
//! [`Reactor::poll_ready`], and what is to be done is said by a method. Every connection has a name
//! that never returns, so a method that is given the name of one that has gone does nothing.

pub mod connection;
pub mod mailbox;
pub mod output;
mod socket;
mod tls;
pub mod transport;

mod connections;
mod flow;
mod gate;
mod idle;
mod lifecycle;
mod listeners;
mod pressure;
mod timers;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use rustls::ClientConfig;

use self::connection::{Connection, OpenConnection, Role, State};
use self::idle::Idle;
use self::lifecycle::Lifecycle;
pub use self::lifecycle::{Event, OUTPUT_BYTES_MAX, READ_BYTES_MAX};
use self::listeners::SOCKETS_MAX;
pub use self::listeners::{Limits, Listening};
use self::mailbox::Mailbox;
pub use self::pressure::{INPUT_ALL_BYTES_MAX, OUTPUT_ALL_BYTES_MAX};
use self::transport::{Offer, Received, Transport};
use crate::cause;
use crate::connection_id::{ConnectionId, ReplyId};
use crate::input::Input;
use crate::topology::Fingerprint;

/// What all connections together may have read in one turn, as far as each then has
/// [`READ_QUOTA_BYTES_MIN`]: a turn in which a thousand have much to say must not take seconds, or
/// their neighbours would take us for dead.
const TURN_BUDGET_BYTES: usize = 2 * 1024 * 1024;

/// The least that a connection may have read in one turn.
const READ_QUOTA_BYTES_MIN: usize = 256;

const EVENTS: usize = 1024;
const WAKER: Token = Token(usize::MAX);
const LISTENERS_FROM: usize = usize::MAX - SOCKETS_MAX;

/// The event loop's sockets and what is known of them. `R` says what connections are for, `M` is the
/// mail of other threads.
#[derive(Debug)]
pub struct Reactor<R: Role, M> {
    poll: Poll,
    edges: Events,
    lifecycle: Lifecycle<R>,
    /// When the reactor was made: the second 0 of [`Flow`](flow::Flow).
    started: Instant,
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
            lifecycle: Lifecycle::new(),
            started: Instant::now(),
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
        offer: Offer,
    ) -> io::Result<SocketAddr> {
        let registry = self.poll.registry();
        let first = LISTENERS_FROM;
        self.lifecycle
            .listeners
            .listen(registry, first, address, role, limits, offer)
    }

    /// Listens at each address to which `address` leads, a host name or an IP address with a port.
    ///
    /// # Errors
    /// Why nothing is bound: those of the resolver, or of the first address.
    pub fn listen_at(
        &mut self,
        address: &str,
        role: R,
        limits: Limits,
        offer: &Offer,
    ) -> io::Result<Listening> {
        let mut listening = Listening::default();
        for address in listeners::addresses(address)? {
            if self.lifecycle.listeners.listens_at(address, role, offer) {
                listening.bound.push(address);
                continue;
            }
            match self.listen(address, role, limits, offer.clone()) {
                Ok(bound) => {
                    listening.bound.push(bound);
                    listening.new.push(bound);
                }
                Err(error) => listening.failed.push((address, error)),
            }
        }
        match listening.bound.is_empty() {
            true => Err(listening.failed.remove(0).1),
            false => Ok(listening),
        }
    }

    /// Takes back what [`Reactor::listen_at`] has begun for `role`.
    pub fn unlisten(&mut self, role: R, listening: &Listening) {
        self.lifecycle.listeners.close_at(role, &listening.new);
    }

    /// Listens for `role`, with an offer of this kind, only where [`Reactor::listen_at`] has said that it does. Connections that came in
    /// elsewhere stay.
    pub fn listen_only(&mut self, role: R, offer: &Offer, listening: &Listening) {
        let listeners = &mut self.lifecycle.listeners;
        listeners.keep(role, offer, &listening.bound);
    }

    /// Closes the listeners of `role` that make an offer of this kind.
    pub fn stop_offering(&mut self, role: R, offer: &Offer) {
        self.lifecycle.listeners.keep(role, offer, &[]);
    }

    /// Has other limits for connections that come in for `role`.
    pub fn set_limits(&mut self, role: R, limits: Limits) {
        self.lifecycle.listeners.set_limits(role, limits);
    }

    /// Closes connections of `role` on which no byte has moved for `limit`, in whole seconds, if
    /// nothing is pending for them and they are not paused.
    pub fn close_idle(&mut self, role: R, limit: Duration) {
        self.lifecycle.idle = Some(Idle::new(role, limit, Instant::now()));
    }

    /// Closes the listeners of `role`.
    pub fn stop_listening(&mut self, role: R) {
        self.lifecycle.listeners.close(role);
    }

    /// Those who come from now on where `role` is offered this kind of connection are offered this one, with its
    /// configuration of TLS.
    pub fn set_offer(&mut self, role: R, offer: &Offer) {
        self.lifecycle.listeners.set_offer(role, offer);
    }

    /// Dials `address`; [`Event::Made`] or [`Event::Lost`] follows. With `tls`, what is sent leaves once the
    /// handshake is over.
    ///
    /// # Errors
    /// The kernel's, if the dial cannot even begin.
    pub fn connect(
        &mut self,
        address: SocketAddr,
        role: R,
        tls: Option<Arc<ClientConfig>>,
    ) -> io::Result<ConnectionId> {
        let transport = Transport::dial(address, tls)?;
        self.lifecycle.insert(
            self.poll.registry(),
            transport,
            address,
            role,
            State::Dialling,
        )
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
        self.get(id).map(|connection| connection.role)
    }

    /// The address at the other end.
    pub fn peer(&self, id: ConnectionId) -> Option<SocketAddr> {
        self.get(id).map(|connection| connection.peer)
    }

    /// Whether what is said on a connection is encrypted.
    pub fn is_encrypted(&self, id: ConnectionId) -> bool {
        self.get(id).is_some_and(|c| c.transport.is_encrypted())
    }

    /// The key that the peer of a connection has shown and proved to have, if it speaks TLS and has one.
    pub fn peer_key(&self, id: ConnectionId) -> Option<Fingerprint> {
        self.get(id)?.transport.peer_key()
    }

    fn get(&self, id: ConnectionId) -> Option<&Connection<R>> {
        self.lifecycle.connections.get(id)
    }

    /// Whether no connection is left but those about to be freed, and nothing is left to be told.
    pub fn is_empty(&self) -> bool {
        self.lifecycle.is_over()
    }

    /// How many connections of `role`, which a listener has, are open and not about to close: who has
    /// said its last and waits for an answer still counts.
    pub fn open_len(&self, role: R) -> usize {
        self.lifecycle.listeners.open_len(role)
    }

    /// How many connections ended before their TLS handshake did.
    pub fn failed_handshakes(&self) -> u64 {
        self.lifecycle.failed_handshakes
    }

    /// How many connections were closed since nothing moved on them.
    pub fn closed_idle(&self) -> u64 {
        self.lifecycle.idle.as_ref().map_or(0, |idle| idle.closed)
    }

    /// The names of all connections of `role`.
    pub fn ids(&self, role: R) -> Vec<ConnectionId> {
        let with_role = self.lifecycle.connections.iter().filter(|c| c.role == role);
        with_role.map(|connection| connection.id).collect()
    }

    /// All connections that are open, for people to look at.
    pub fn open(&self) -> impl Iterator<Item = OpenConnection<R>> + '_ {
        let second = self.lifecycle.second;
        let connections = self.lifecycle.connections.iter();
        let open = connections.filter(|connection| connection.is_open());
        open.map(move |connection| connection.seen(second))
    }

    // ---- the turn

    /// Writes what has been queued, as far as the sockets take it, and closes connections where all output
    /// or all input is full.
    pub fn flush(&mut self) {
        self.lifecycle.flush();
    }

    /// Frees what is done, then sleeps until an edge, a letter, or `wake_at`; not at all if
    /// something is ready.
    ///
    /// # Errors
    /// The poll's: nothing can go on then.
    pub fn turn(&mut self, wake_at: Option<Instant>) -> io::Result<()> {
        self.lifecycle.free(self.poll.registry());
        let may_accept = self
            .lifecycle
            .listeners
            .may_accept(self.lifecycle.connections.len());
        let busy =
            !self.lifecycle.ready.is_empty() || !self.lifecycle.events.is_empty() || may_accept;
        let timeout = if busy {
            Some(Duration::ZERO)
        } else {
            let own = self
                .lifecycle
                .timers
                .next()
                .into_iter()
                .chain(self.lifecycle.listeners.timeout());
            let idle = self.lifecycle.idle.as_ref().map(Idle::next);
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
                Token(at) if at >= LISTENERS_FROM => {
                    self.lifecycle.listeners.note_edge(at - LISTENERS_FROM)
                }
                Token(slot) => self.lifecycle.note(slot, edge),
            }
        }
        self.edges = edges;
        let now = Instant::now();
        self.lifecycle.second = u32::try_from((now - self.started).as_secs()).unwrap_or(u32::MAX);
        self.lifecycle.accept(self.poll.registry(), now);
        self.lifecycle.expire(now);
        if told < EVENTS {
            self.lifecycle.lose_idle(now); // otherwise the kernel may have more to tell of them
        }
        Ok(())
    }

    // ---- what happened

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event<R>> {
        self.lifecycle.events.pop_front()
    }

    /// How many connections have something to be served: serve so many, then let the others wait
    /// for the next turn.
    pub fn ready_len(&self) -> usize {
        self.lifecycle.ready.len()
    }

    /// How many bytes each of those that are ready now may have read in this turn, if all are
    /// alike; its owner may give some of them up to [`READ_BYTES_MAX`].
    pub fn read_quota(&self) -> usize {
        read_quota(self.lifecycle.ready.len())
    }

    /// Takes the next in the queue; `None` if it has nothing for its owner, so that one that is
    /// being closed and still talks has its turn like the others, and no more.
    pub fn poll_ready(&mut self) -> Option<(ConnectionId, R)> {
        let id = self.lifecycle.ready.pop_front()?;
        let connection = self.lifecycle.connections.get_mut(id)?;
        connection.ready = false;
        match connection.state {
            State::Open => return Some((id, connection.role)),
            State::Losing(_) | State::Lingering(_) => self.lifecycle.discard(id),
            State::Dialling | State::Doomed(_) => {}
        }
        None
    }

    /// Lets `decode` go on with a connection's input: its codec, and what is buffered. `None` if it has
    /// gone.
    pub fn decode<T>(
        &mut self,
        id: ConnectionId,
        decode: impl FnOnce(&mut R::Codec, &mut Input) -> T,
    ) -> Option<T> {
        let connection = self.lifecycle.connections.get_mut(id)?;
        let decoded = decode(&mut connection.codec, &mut connection.input);
        connection.count_buffered(&mut self.lifecycle.buffered);
        Some(decoded)
    }

    /// Takes out what is buffered of a connection's input, with `chunk` behind it, so that messages can borrow from
    /// it while they are handled. `None` if the connection has gone or is about to be closed.
    pub fn take_input(&mut self, id: ConnectionId, chunk: &[u8]) -> Option<Input> {
        let mut input = self
            .is_open(id)
            .then(|| self.decode(id, |_, input| std::mem::take(input)))??;
        input.push(chunk);
        Some(input)
    }

    /// Puts back what is left of it. If the connection is about to be closed by now, that is dropped.
    pub fn put_back(&mut self, id: ConnectionId, mut input: Input) {
        if self.is_open(id) {
            input.compact();
            self.decode(id, |_, buffered| *buffered = input);
        }
    }

    /// Whether a connection is there and not about to be closed.
    pub fn is_open(&self, id: ConnectionId) -> bool {
        self.get(id).is_some_and(Connection::is_open)
    }

    /// Whether a connection is open and its peer takes what it is sent: only then may that grow.
    pub fn takes_replies(&self, id: ConnectionId) -> bool {
        self.get(id)
            .is_some_and(|c| c.is_open() && c.pending() < OUTPUT_BYTES_MAX)
    }

    /// Pauses a connection: its input waits. `rest` is what has been read and not been handled; it is
    /// buffered. The connection is ready again when its output has drained, or when
    /// [`Reactor::resume`] says so. Of one that is about to close nothing is buffered; one whose peer
    /// takes nothing any more is closed.
    pub fn pause(&mut self, id: ConnectionId, rest: &[u8]) {
        let Some(connection) = self.lifecycle.connections.get_mut(id) else {
            return;
        };
        if connection.gone {
            // Nobody waits for what its lines are answered.
            return self
                .lifecycle
                .doom(id, "reset before its lines were handled".to_owned());
        }
        if connection.is_open() {
            connection.input.push(rest);
            connection.count_buffered(&mut self.lifecycle.buffered);
            connection.paused = true;
        }
    }

    /// Lets a connection be served again, now or next turn.
    pub fn resume(&mut self, id: ConnectionId) {
        if let Some(connection) = self.lifecycle.connections.get_mut(id) {
            connection.paused = false;
            self.lifecycle.mark_ready(id);
        }
    }

    /// Reads once, for a connection that was ready. If there may be more it is ready again, behind
    /// all others; if the read fails it is lost.
    pub fn read(&mut self, id: ConnectionId, room: &mut [u8]) -> Received {
        let connection = self.lifecycle.connections.get_mut(id);
        let Some(connection) = connection.filter(|connection| connection.is_open()) else {
            return Received::Drained;
        };
        connection.paused = false;
        match connection.read(room, &mut self.lifecycle.pending) {
            Ok(fill @ (Received::Bytes(_) | Received::Drained)) => {
                if let Received::Bytes(count) = fill {
                    let second = self.lifecycle.second;
                    connection.flow.note_received(count, second);
                }
                if connection.transport.is_encrypted() {
                    self.lifecycle.note_read(id);
                } else if connection.transport.is_readable() {
                    self.lifecycle.mark_ready(id);
                }
                fill
            }
            Ok(Received::End) if connection.reset => {
                let reason = match connection.input.len() {
                    0 => "reset".to_owned(),
                    begun => format!("reset, {begun} bytes that came before were discarded"),
                };
                self.lifecycle.doom(id, reason);
                Received::Drained
            }
            Ok(Received::End) => {
                self.lifecycle.note_handshake(id); // it may have ended with the same read
                Received::End
            }
            Err(error) => {
                self.lifecycle.doom(id, cause::of(&error));
                Received::Drained
            }
        }
    }

    // ---- what is wanted

    /// Queues bytes; they leave at the next flush.
    #[inline]
    pub fn send(&mut self, id: ConnectionId, parts: &[&[u8]]) {
        if let Some(connection) = self.lifecycle.connections.get_mut(id)
            && connection.takes_output()
        {
            let before = connection.output.len();
            connection.output.push(parts, &mut self.lifecycle.pool);
            self.lifecycle.pending += connection.output.len() - before;
            self.lifecycle.mark_dirty(id);
        }
    }

    /// Reserves the place of a reply that begins with the parts of `head`, and whose rest comes later:
    /// nothing of it leaves before, nor what is sent from now on.
    pub fn reserve(&mut self, id: ConnectionId, reply: ReplyId, head: &[&[u8]]) {
        if let Some(connection) = self.lifecycle.connections.get_mut(id)
            && connection.takes_output()
        {
            let before = connection.output.len();
            connection.output.reserve(reply, head);
            self.lifecycle.pending += connection.output.len() - before;
        }
    }

    /// Completes a reply whose place was reserved with `head`, `body`, which others may be sent too, and `tail`.
    pub fn fill(
        &mut self,
        id: ConnectionId,
        reply: ReplyId,
        head: &[u8],
        body: Arc<[u8]>,
        tail: &[u8],
    ) {
        if let Some(connection) = self.lifecycle.connections.get_mut(id) {
            let (before, open, role) = (
                connection.output.len(),
                connection.counts_as_open(),
                connection.role,
            );
            connection.output.fill(reply, head, body, tail);
            self.lifecycle.pending += connection.output.len() - before;
            if open && !connection.counts_as_open() {
                self.lifecycle.listeners.closed(role);
            }
            self.lifecycle.mark_dirty(id);
        }
    }

    /// How many bytes a connection would still take before it is over [`OUTPUT_BYTES_MAX`].
    pub fn room(&self, id: ConnectionId) -> usize {
        self.get(id)
            .map_or(0, |c| OUTPUT_BYTES_MAX.saturating_sub(c.pending()))
    }

    /// Lets all connections of `role` wait: nothing is read from them, and nothing leaves that is queued for
    /// them, until [`Reactor::ungate`]. They may be lost meanwhile.
    pub fn gate(&mut self, role: R) {
        self.lifecycle.gate(role);
    }

    /// Lets connections of `role` be served again.
    pub fn ungate(&mut self, role: R) {
        self.lifecycle.ungate(role);
    }

    /// Stops reading at once, writes what is pending, replies that come later included, then closes.
    pub fn lose(&mut self, id: ConnectionId, reason: &str) {
        self.lifecycle.lose(id, reason);
    }

    /// The same, but resets the connection if that takes more than a second.
    pub fn cut(&mut self, id: ConnectionId, reason: &str) {
        self.lifecycle.cut(id, reason);
    }

    /// Closes without waiting.
    pub fn abort(&mut self, id: ConnectionId, reason: &str) {
        self.lifecycle.doom(id, reason.to_owned());
    }
}

/// How many bytes each of `ready` connections may have read in a turn.
fn read_quota(ready: usize) -> usize {
    let quota = TURN_BUDGET_BYTES / ready.max(1);
    quota.clamp(READ_QUOTA_BYTES_MIN, READ_BYTES_MAX)
}
