//! What carries a connection's bytes: a socket, plain or with TLS over it.
//!
//! `Connection` has one. Nothing above knows which it is. What this holds back of a connection's bytes, either
//! way, it says: [`Transport::is_readable`] and [`Transport::held`].

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::event::Event as Edge;
use mio::net::TcpStream;
use mio::{Registry, Token};
use rustls::{ClientConfig, ServerConfig};

use super::output::{BufferPool, Flushed, Output};
pub use super::socket::Received;
use super::socket::Socket;
use super::tls::Tls;
use crate::topology::Fingerprint;

/// With this byte a TLS connection begins (RFC 8446, section 5.1: a handshake record), and no line does.
const HANDSHAKE_RECORD: u8 = 22;

/// What a listener offers those who come.
#[derive(Clone)]
pub enum Offer {
    /// A connection that is not encrypted.
    Plain,
    /// TLS, and nothing else.
    Tls(Arc<ServerConfig>),
    /// What the first byte asks for. Without a configuration who begins with TLS is told of in the reason
    /// for which he is closed.
    Either(Option<Arc<ServerConfig>>),
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Offer::Plain => "Plain",
            Offer::Tls(_) => "Tls",
            Offer::Either(_) => "Either",
        })
    }
}

impl Offer {
    /// Whether both are of one kind.
    pub fn is_like(&self, other: &Offer) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// What lies over a socket.
#[derive(Debug)]
enum Layer {
    Plain,
    /// The first byte is yet to come.
    Undecided(Offer),
    Tls(Box<Tls>),
}

/// A connection's bytes, in and out.
#[derive(Debug)]
pub struct Transport {
    socket: Socket,
    layer: Layer,
}

impl Transport {
    /// Begins to dial; with a configuration, TLS begins once the dial has come through.
    ///
    /// # Errors
    /// The kernel's, if the dial cannot even begin; those of the configuration.
    pub fn dial(address: SocketAddr, tls: Option<Arc<ClientConfig>>) -> io::Result<Transport> {
        let layer = match tls {
            None => Layer::Plain,
            Some(config) => Layer::Tls(Box::new(Tls::client(config)?)),
        };
        let socket = Socket::dial(address)?;
        Ok(Transport { socket, layer })
    }

    /// Over a socket that a listener gave, which offers this.
    ///
    /// # Errors
    /// Those of the configuration.
    pub fn accepted(stream: TcpStream, offer: &Offer) -> io::Result<Transport> {
        let layer = match offer {
            Offer::Plain => Layer::Plain,
            Offer::Tls(config) => Layer::Tls(Box::new(Tls::server(Arc::clone(config))?)),
            Offer::Either(_) => Layer::Undecided(offer.clone()),
        };
        let socket = Socket::accepted(stream);
        Ok(Transport { socket, layer })
    }

    /// Has the kernel tell of it under `token`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket.register(registry, token)
    }

    /// Has the kernel tell of it no longer.
    pub fn deregister(&mut self, registry: &Registry) {
        self.socket.deregister(registry);
    }

    /// Whether a dial has come through: the socket says so, not its being writable.
    ///
    /// # Errors
    /// Why it has not, and will not.
    pub fn finish_dial(&self) -> io::Result<bool> {
        self.socket.finish_dial()
    }

    /// Notes what an edge says of reading. Gives whether there is something to read.
    pub fn note(&mut self, edge: &Edge) -> bool {
        self.socket.note(edge)
    }

    /// Whether there is, as far as we know, something to read.
    pub fn is_readable(&self) -> bool {
        self.tls().is_some_and(Tls::has_plaintext) || self.socket.is_readable()
    }

    /// Sets whether the kernel has something to read.
    #[cfg(test)]
    pub fn set_readable(&mut self, readable: bool) {
        self.socket.set_readable(readable);
    }

    /// Why the kernel has given the connection up, where an edge says that it has.
    pub fn error(&self) -> io::Error {
        self.socket.error()
    }

    /// The peer takes nothing any more: what is still held of its bytes is to be read to the end.
    pub fn set_gone(&mut self) {
        self.forget_output();
        self.socket.set_gone();
    }

    /// Forgets what is held and has not left.
    pub fn forget_output(&mut self) {
        if let Layer::Tls(tls) = &mut self.layer {
            tls.forget_output();
        }
    }

    /// Reads once into `room`. That nothing was read does not say that nothing is left:
    /// [`Transport::is_readable`] does.
    ///
    /// # Errors
    /// Those of the socket, but for `WouldBlock` and `Interrupted`, and of TLS.
    pub fn read(&mut self, room: &mut [u8]) -> io::Result<Received> {
        match &mut self.layer {
            Layer::Plain => self.socket.read(room),
            Layer::Tls(tls) => tls.read(&mut self.socket, room),
            Layer::Undecided(_) => self.read_first(room),
        }
    }

    /// Reads for the first time, and decides what this is.
    fn read_first(&mut self, room: &mut [u8]) -> io::Result<Received> {
        let received = self.socket.read(room)?;
        let Received::Bytes(count) = received else {
            return Ok(received);
        };
        let layer = std::mem::replace(&mut self.layer, Layer::Plain);
        if room[0] != HANDSHAKE_RECORD {
            return Ok(received);
        }
        let Layer::Undecided(Offer::Tls(config) | Offer::Either(Some(config))) = layer else {
            return Err(io::Error::other(
                "it speaks TLS, and this server has no key for its links",
            ));
        };
        let mut tls = Box::new(Tls::server(config)?);
        let opened = tls.begin(&mut self.socket, room, count);
        self.layer = Layer::Tls(tls);
        opened
    }

    /// Whether a handshake must end before anything else can be said.
    pub fn is_handshaking(&self) -> bool {
        self.tls().is_some_and(Tls::is_handshaking)
    }

    /// Whether something is to be written that is not in the connection's output.
    pub fn wants_write(&self) -> bool {
        self.tls().is_some_and(Tls::wants_write)
    }

    /// How many bytes it holds that were taken from the connection's output and have not left.
    pub fn held(&self) -> usize {
        self.tls().map_or(0, Tls::held)
    }

    /// Writes what is queued, as far as the socket takes it.
    ///
    /// # Errors
    /// Those of the socket, but for `WouldBlock` and `Interrupted`.
    pub fn flush(&mut self, output: &mut Output, pool: &mut BufferPool) -> io::Result<Flushed> {
        match &mut self.layer {
            Layer::Plain | Layer::Undecided(_) => output.flush(self.socket.writer(), pool),
            Layer::Tls(tls) => tls.flush(&mut self.socket, output, pool),
        }
    }

    /// Tells the peer that no more will come. `false`: that has not left yet, and is to be tried again when
    /// the socket takes more.
    pub fn end_output(&mut self) -> bool {
        if let Layer::Tls(tls) = &mut self.layer
            && !tls.end_output(&mut self.socket)
        {
            return false;
        }
        self.socket.end_output();
        true
    }

    /// Has the kernel end the connection with a reset when it is closed, and forget what has not arrived.
    pub fn set_reset(&self) {
        self.socket.set_reset();
    }

    /// Whether what is said on it is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.tls().is_some()
    }

    /// The key that the peer has shown, and has proved to have.
    pub fn peer_key(&self) -> Option<Fingerprint> {
        self.tls()?.peer_key()
    }

    fn tls(&self) -> Option<&Tls> {
        match &self.layer {
            Layer::Plain | Layer::Undecided(_) => None,
            Layer::Tls(tls) => Some(tls),
        }
    }
}
