//! A socket, and what the kernel has said of it.
//!
//! `Transport` has one, and `Tls` reads and writes it. The kernel tells of edges, not of levels: what an edge
//! says is noted here until it is used up.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use mio::event::Event as Edge;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::net::sockopt;

/// A peer that has been silent for this long is asked by the kernel whether it is still there,
/// [`KEEPALIVE_PROBES`] times with [`KEEPALIVE_EVERY`] between.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(120);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(30);
const KEEPALIVE_PROBES: u32 = 4;

/// What a read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes, and perhaps more.
    Bytes(usize),
    /// Nothing for now: an edge will tell.
    Drained,
    /// The peer has closed its sending side, in good order.
    End,
}

/// A TCP connection.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    /// The kernel has, as far as we know, something to read.
    readable: bool,
    /// The kernel has said that the peer's end is in what is to be read.
    read_closed: bool,
    /// The peer has sent TCP urgent data.
    urgent: bool,
}

impl Socket {
    /// Begins to dial.
    ///
    /// # Errors
    /// The kernel's, if the dial cannot even begin.
    pub fn dial(address: SocketAddr) -> io::Result<Socket> {
        TcpStream::connect(address).map(Socket::new)
    }

    /// Over a socket that a listener gave.
    pub fn accepted(stream: TcpStream) -> Socket {
        let socket = Socket::new(stream);
        socket.set_made();
        let _ = socket.keep_alive(); // without it a vanished phone stays until we speak
        socket
    }

    fn new(stream: TcpStream) -> Socket {
        Socket {
            stream,
            readable: false,
            read_closed: false,
            urgent: false,
        }
    }

    /// Has the kernel tell of it under `token`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        registry.register(&mut self.stream, token, interest)
    }

    /// Has the kernel tell of it no longer.
    pub fn deregister(&mut self, registry: &Registry) {
        let _ = registry.deregister(&mut self.stream); // closing it does the same
    }

    /// Whether a dial has come through: the socket says so, not its being writable.
    ///
    /// # Errors
    /// Why it has not, and will not.
    pub fn finish_dial(&self) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        match self.stream.peer_addr() {
            Ok(peer) if self.stream.local_addr()? == peer => {
                // Nobody listens there, and the kernel has dialled from the very port that it dials
                // (RFC 9293, section 3.5: both ends of a connection may begin it). In TIME-WAIT it would be
                // in the way of who is to listen there, so it ends with a reset.
                sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO))?;
                Err(io::Error::other(
                    "nobody listens there, the dial came back to itself",
                ))
            }
            Ok(_) => {
                self.set_made();
                Ok(true)
            }
            Err(e) if e.kind() == ErrorKind::NotConnected => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn set_made(&self) {
        let _ = self.stream.set_nodelay(true); // replies are gathered here, not in the kernel
        // Whoever sends urgent data means it to be read, where it stands (RFC 6093).
        let _ = sockopt::set_socket_oobinline(&self.stream, true);
    }

    /// RFC 9293, section 3.8.4: a connection whose other end has vanished is found out at last.
    fn keep_alive(&self) -> rustix::io::Result<()> {
        sockopt::set_tcp_keepidle(&self.stream, KEEPALIVE_AFTER)?;
        sockopt::set_tcp_keepintvl(&self.stream, KEEPALIVE_EVERY)?;
        sockopt::set_tcp_keepcnt(&self.stream, KEEPALIVE_PROBES)?;
        sockopt::set_socket_keepalive(&self.stream, true)
    }

    /// Notes what an edge says of reading. Gives whether there is something to read.
    pub fn note(&mut self, edge: &Edge) -> bool {
        self.read_closed |= edge.is_read_closed();
        self.urgent |= edge.is_priority();
        let readable = edge.is_readable() || edge.is_read_closed();
        self.readable |= readable;
        readable
    }

    /// Whether there is, as far as we know, something to read.
    pub fn is_readable(&self) -> bool {
        self.readable
    }

    /// Sets whether there is something to read.
    #[cfg(test)]
    pub fn set_readable(&mut self, readable: bool) {
        self.readable = readable;
    }

    /// Why the kernel has given the connection up, where an edge says that it has.
    pub fn error(&self) -> io::Error {
        let error = self.stream.take_error().and_then(|e| e.map_or(Ok(()), Err));
        error.err().unwrap_or(ErrorKind::ConnectionReset.into())
    }

    /// The peer takes nothing any more: what the kernel still holds of its bytes is to be read to the end.
    pub fn set_gone(&mut self) {
        self.readable = true;
        self.read_closed = true;
    }

    /// Reads once into `room`.
    ///
    /// With edge-triggered readiness one must read until nothing is left. A read that does not
    /// fill the buffer shows just that, so we spare the call that would only say `WouldBlock`; but for two
    /// cases, of which the kernel has told with an edge, and then we go on. The end of the stream
    /// shares its edge with the data before it. And a read ends before TCP urgent data, though there
    /// is more (`tcp_recvmsg`). What comes later is a new edge.
    ///
    /// # Errors
    /// Those of the socket, but for `WouldBlock` and `Interrupted`.
    pub fn read(&mut self, room: &mut [u8]) -> io::Result<Received> {
        while self.readable {
            match self.stream.read(room) {
                Ok(0) => {
                    self.readable = false;
                    return Ok(Received::End);
                }
                Ok(n) => {
                    self.readable = n == room.len() || self.read_closed || self.urgent;
                    return Ok(Received::Bytes(n));
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(e) => return Err(e),
            }
        }
        Ok(Received::Drained)
    }

    /// Where to write.
    pub fn writer(&mut self) -> &mut impl Write {
        &mut self.stream
    }

    /// Has the kernel end the connection with a reset when it is closed, and forget what has not arrived.
    pub fn set_reset(&self) {
        let _ = sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
    }

    /// Tells the peer that no more will come.
    pub fn end_output(&self) {
        // It fails only if the connection has gone already, which the next read or event tells.
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}
