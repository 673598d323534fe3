//! TLS over a socket, with the buffered API of rustls.
//!
//! `Transport` has one where bytes are encrypted. The socket tells of edges, and a record may hold more than
//! there is room for: so what is left here when a read ends is told by [`Tls::has_plaintext`], and nothing waits
//! for an edge that has been. Ciphertext that the socket does not take is held here, and nothing more is
//! encrypted until it has left: what has been taken from a connection's output counts as pending until then.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

use super::output::{BufferPool, Flushed, Output};
use super::socket::{Received, Socket};
use crate::keys;
use crate::topology::Fingerprint;

/// A handshake may take so many bytes from the peer: a certificate with the largest keys has 2 KiB, a chain
/// of them seldom 8. A stranger who begins a handshake costs no more than this, and what rustls needs for itself.
pub const HANDSHAKE_BYTES_MAX: usize = 32 * 1024;

/// The longest record on the wire is about so long (RFC 5246, section 6.2.3): one read may have to take in as
/// much until there is plaintext.
const RECORD_BYTES_MAX: usize = 18 * 1024;

/// A connection with TLS.
#[derive(Debug)]
pub struct Tls {
    session: Connection,
    /// Plaintext that was opened and not read yet, in bytes.
    plaintext: usize,
    /// The peer has ended in good order, which was not read yet.
    has_end: bool,
    /// What is wrong with what came behind plaintext that was read.
    failed: Option<io::Error>,
    /// Ciphertext that the socket did not take, ...
    unsent: Vec<u8>,
    /// ... of which so much has left since.
    sent: usize,
    /// What has come of the handshake, in bytes.
    handshake: usize,
}

impl Tls {
    /// Who dialled begins.
    ///
    /// # Errors
    /// Those of the configuration.
    pub fn client(config: Arc<ClientConfig>) -> io::Result<Tls> {
        // Keys have no names: the name is sent to nobody (`enable_sni`), nor looked at.
        let name = ServerName::try_from("herd").expect("it is a name");
        let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
        Ok(Tls::new(session.into()))
    }

    /// Who was dialled.
    ///
    /// # Errors
    /// Those of the configuration.
    pub fn server(config: Arc<ServerConfig>) -> io::Result<Tls> {
        let session = ServerConnection::new(config).map_err(io::Error::other)?;
        Ok(Tls::new(session.into()))
    }

    fn new(session: Connection) -> Tls {
        Tls {
            session,
            plaintext: 0,
            has_end: false,
            failed: None,
            unsent: Vec::new(),
            sent: 0,
            handshake: 0,
        }
    }

    /// Whether both have not yet shown who they are.
    pub fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    /// The key of the peer's certificate, once the handshake has proved that the peer has it.
    pub fn peer_key(&self) -> Option<Fingerprint> {
        let shown = self.session.peer_certificates()?.first()?;
        let proved = !self.is_handshaking();
        proved.then(|| keys::fingerprint(shown).ok()).flatten()
    }

    // ---- in

    /// Whether there is plaintext to be read, or the peer's end.
    pub fn has_plaintext(&self) -> bool {
        self.plaintext > 0 || self.has_end || self.failed.is_some()
    }

    /// Reads once into `room`: plaintext that is here, otherwise what the socket gives, until some plaintext
    /// comes of it or it has given enough.
    ///
    /// # Errors
    /// Those of the socket, but for `WouldBlock` and `Interrupted`; that the peer does not keep to TLS, or that
    /// its end is not its own (no `close_notify`): what it said last may have been cut off.
    pub fn read(&mut self, socket: &mut Socket, room: &mut [u8]) -> io::Result<Received> {
        let mut quota = room.len() + RECORD_BYTES_MAX;
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        loop {
            if let Some(received) = self.take(room)? {
                return Ok(received);
            }
            if quota == 0 || !socket.is_readable() {
                return Ok(Received::Drained);
            }
            match socket.read(room)? {
                Received::Drained => return Ok(Received::Drained),
                Received::Bytes(count) => {
                    quota = quota.saturating_sub(count);
                    match self.begin(socket, room, count)? {
                        Received::Drained => {}
                        received => return Ok(received),
                    }
                }
                Received::End => {
                    // With an end instead of ciphertext the session knows what to say of it.
                    self.session.read_tls(&mut io::empty())?;
                }
            }
        }
    }

    /// Opens the `count` bytes of ciphertext in `room`, and leaves the plaintext there. If that is none, more
    /// must come.
    ///
    /// # Errors
    /// That the peer does not keep to TLS.
    pub fn begin(
        &mut self,
        socket: &mut Socket,
        room: &mut [u8],
        count: usize,
    ) -> io::Result<Received> {
        let (opened, failed) = self.open(room, count);
        if failed.is_some() {
            let _ = self.push(socket); // the alert that says why, if it can leave
        }
        match (opened, failed) {
            (0, Some(error)) => Err(error),
            (0, None) => Ok(self.take(room)?.unwrap_or(Received::Drained)),
            (opened, failed) => {
                self.failed = failed; // what came before counts
                Ok(Received::Bytes(opened))
            }
        }
    }

    /// Takes plaintext that is here, or the peer's end.
    fn take(&mut self, room: &mut [u8]) -> io::Result<Option<Received>> {
        match self.session.reader().read(room) {
            Ok(0) => {
                self.has_end = false;
                Ok(Some(Received::End))
            }
            Ok(count) => {
                self.plaintext -= count;
                Ok(Some(Received::Bytes(count)))
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(_) if self.is_handshaking() => {
                Err(io::Error::other("it closed during the TLS handshake"))
            }
            Err(_) => Err(io::Error::other(
                "it closed without saying so in TLS (close_notify), what it said last may be cut off",
            )),
        }
    }

    /// Opens ciphertext in place: what has been taken in makes room for what comes out, which is never more, but
    /// for a record that had begun before. That one's rest stays here. Gives how much has come out, and what is
    /// wrong with what came behind it.
    fn open(&mut self, room: &mut [u8], count: usize) -> (usize, Option<io::Error>) {
        let mut opened = 0;
        let outcome = self.open_all(room, count, &mut opened);
        if outcome.is_err() {
            // What stands before it in the same read.
            opened += self.session.reader().read(&mut room[opened..]).unwrap_or(0);
        }
        (opened, outcome.err())
    }

    fn open_all(&mut self, room: &mut [u8], count: usize, opened: &mut usize) -> io::Result<()> {
        let mut taken_in = 0;
        while taken_in < count {
            let mut ciphertext = &room[taken_in..count];
            let more = self.session.read_tls(&mut ciphertext)?;
            if more == 0 {
                break; // the peer has ended: what follows counts for nothing
            }
            taken_in += more;
            let state = self.session.process_new_packets().map_err(as_error)?;
            self.plaintext = state.plaintext_bytes_to_read();
            self.has_end |= state.peer_has_closed();
            if self.plaintext > 0 && *opened < taken_in {
                let read = self.session.reader().read(&mut room[*opened..taken_in])?;
                self.plaintext -= read;
                *opened += read;
            }
            if self.is_handshaking() {
                self.handshake += more;
                if self.handshake > HANDSHAKE_BYTES_MAX {
                    let most = HANDSHAKE_BYTES_MAX >> 10;
                    let text = format!("a TLS handshake of over {most} KiB");
                    return Err(io::Error::other(text));
                }
            }
        }
        Ok(())
    }

    // ---- out

    /// How many bytes of ciphertext are held that the socket did not take.
    pub fn held(&self) -> usize {
        self.unsent.len() - self.sent
    }

    /// Whether there is ciphertext to be written.
    pub fn wants_write(&self) -> bool {
        self.held() > 0 || self.session.wants_write()
    }

    /// Forgets what is to be written: nobody will take it.
    pub fn forget_output(&mut self) {
        self.clear_unsent();
    }

    fn clear_unsent(&mut self) {
        (self.unsent, self.sent) = (Vec::new(), 0);
    }

    /// Writes what is queued in `output`, as far as the socket takes it; before the handshake is over, only what
    /// that needs.
    ///
    /// # Errors
    /// Those of the socket, but for `WouldBlock` and `Interrupted`.
    pub fn flush(
        &mut self,
        socket: &mut Socket,
        output: &mut Output,
        pool: &mut BufferPool,
    ) -> io::Result<Flushed> {
        let before = self.held();
        if !self.push(socket)? || self.is_handshaking() {
            return Ok(Flushed::Blocked(before - self.held().min(before)));
        }
        let queued = output.len();
        let flushed = output.flush(&mut Sealer { tls: self, socket }, pool)?;
        match self.wants_write() {
            true => Ok(Flushed::Blocked(before + queued - output.len())),
            false => Ok(flushed),
        }
    }

    /// Writes ciphertext. Says whether all of it has left.
    fn push(&mut self, socket: &mut Socket) -> io::Result<bool> {
        while self.held() > 0 {
            match socket.writer().write(&self.unsent[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        self.clear_unsent();
        while self.session.wants_write() {
            match self.session.write_tls(socket.writer()) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    while self.session.wants_write() {
                        self.session.write_tls(&mut self.unsent)?;
                    }
                    return Ok(false);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }

    /// Tells the peer that no more will come. Says whether that has left; a socket that fails takes no more.
    pub fn end_output(&mut self, socket: &mut Socket) -> bool {
        self.session.send_close_notify(); // once only: it does nothing the second time
        self.push(socket).unwrap_or(true)
    }
}

/// Encrypts what is written, and hands it to the socket.
struct Sealer<'a> {
    tls: &'a mut Tls,
    socket: &'a mut Socket,
}

impl Write for Sealer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.tls.wants_write() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let sealed = self.tls.session.writer().write_vectored(slices)?;
        self.tls.push(self.socket)?;
        Ok(sealed)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn as_error(error: rustls::Error) -> io::Error {
    io::Error::other(format!("TLS: {error}"))
}
