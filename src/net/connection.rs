//! One connection: what it is for and what it is doing, what was said and is not handled, what it has yet
//! to be sent.
//!
//! `Lifecycle` owns them all, in `Connections`. `Reactor` is a caller too, and `pressure` reads them.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use super::flow::Flow;
use super::output::{BufferPool, Flushed, Output};
use super::transport::{Received, Transport};
use crate::connection_id::ConnectionId;
use crate::input::Input;

/// What a connection is for: an enum of its owner's own, of which the reactor knows no meaning.
pub trait Role: Copy + Eq + fmt::Debug {
    /// What cuts the input of connections: it lies beside each, and the reactor lends it
    /// ([`Reactor::decode`](super::Reactor::decode)).
    type Codec: fmt::Debug;

    /// That of a new connection.
    fn codec(self) -> Self::Codec;
}

/// What a connection is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Dialled, not connected yet.
    Dialling,
    /// Connected.
    Open,
    /// No longer read; closes when its output has left.
    Losing(String),
    /// Its output has left and the peer has been told so; what the peer still sends is thrown
    /// away, since closing a socket with unread bytes resets it, and a reset may overtake the
    /// last reply.
    Lingering(String),
    /// To be freed.
    Doomed(String),
}

/// An open connection, as people see it.
#[derive(Clone, Copy, Debug)]
pub struct OpenConnection<R> {
    /// Its name.
    pub id: ConnectionId,
    /// What it is for.
    pub role: R,
    /// The address at the other end.
    pub peer: SocketAddr,
    /// What it has said of late.
    pub bytes_per_second: u32,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection<R: Role> {
    pub id: ConnectionId,
    pub role: R,
    pub peer: SocketAddr,
    pub transport: Transport,
    pub state: State,
    pub codec: R::Codec,
    pub input: Input,
    pub output: Output,
    /// The end has been read.
    pub ended: bool,
    /// The peer takes nothing any more.
    pub gone: bool,
    /// It was reset before the peer had closed its sending side: what was said last may be a part only.
    pub reset: bool,
    /// Its owner handles none of its input for now.
    pub paused: bool,
    /// Its deadline is that of a handshake.
    pub handshaking: bool,
    /// It stands in the ready queue.
    pub ready: bool,
    /// It stands in the list of those to flush.
    pub dirty: bool,
    /// What moves on it.
    pub flow: Flow,
    /// Bytes of its input that the reactor has counted as buffered.
    pub buffered_counted: u32,
    /// When it will be closed unless something moves.
    pub deadline: Option<Instant>,
    /// It is reset by then, whatever moves.
    pub cut_at: Option<Instant>,
}

impl<R: Role> Connection<R> {
    pub fn new(
        id: ConnectionId,
        role: R,
        peer: SocketAddr,
        transport: Transport,
        state: State,
    ) -> Connection<R> {
        Connection {
            id,
            role,
            peer,
            transport,
            state,
            codec: role.codec(),
            input: Input::default(),
            output: Output::default(),
            ended: false,
            gone: false,
            reset: false,
            paused: false,
            handshaking: false,
            ready: false,
            dirty: false,
            flow: Flow::default(),
            buffered_counted: 0,
            deadline: None,
            cut_at: None,
        }
    }

    /// How people see it in this second of the reactor's.
    pub fn seen(&self, second: u32) -> OpenConnection<R> {
        OpenConnection {
            id: self.id,
            role: self.role,
            peer: self.peer,
            bytes_per_second: self.flow.bytes_per_second(second),
        }
    }

    /// Whether input is wanted from it.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether it takes the place of another: until it is closed, or has said its last and waits for no
    /// answer.
    pub fn counts_as_open(&self) -> bool {
        match self.state {
            State::Open => true,
            State::Losing(_) => self.output.has_reserved(),
            _ => false,
        }
    }

    /// Whether anything is queued for it, or has not left its transport.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty() || self.transport.wants_write()
    }

    /// How many bytes are queued for it, or have not left its transport.
    pub fn pending(&self) -> usize {
        self.output.len() + self.transport.held()
    }

    /// Whether nothing is under way on it: nothing to read that we know of, nothing queued.
    pub fn is_quiet(&self) -> bool {
        let busy = self.ready || self.dirty || self.transport.is_readable() || self.paused;
        self.is_open() && !busy && !self.has_output()
    }

    /// Whether what is queued for it may still reach its peer.
    pub fn takes_output(&self) -> bool {
        !self.gone && matches!(self.state, State::Open | State::Losing(_))
    }

    /// Counts in `all`, where those of all connections are, the bytes of input that it has buffered.
    pub fn count_buffered(&mut self, all: &mut usize) {
        let bytes = self.input.held();
        *all = *all + bytes - self.buffered_counted as usize;
        self.buffered_counted =
            u32::try_from(bytes).expect("a message and a read are buffered at most");
    }

    /// Reads once into `room`. What TLS has to say to that is counted in `pending`, where the bytes are counted
    /// that are pending for all connections.
    pub fn read(&mut self, room: &mut [u8], pending: &mut usize) -> io::Result<Received> {
        let before = self.transport.held();
        let received = self.transport.read(room);
        *pending = *pending + self.transport.held() - before;
        let received = received?;
        self.ended |= received == Received::End;
        Ok(received)
    }

    /// Writes what is queued, as far as the socket takes it.
    pub fn flush(&mut self, pool: &mut BufferPool) -> io::Result<Flushed> {
        self.transport.flush(&mut self.output, pool)
    }
}
