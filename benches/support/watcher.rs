//! Somebody at the far end who sees what has flooded: a neighbour, or a subscriber of NATS's.
//!
//! What it sees ends with what was said of the client at the near end, which the generator compares
//! with what it has sent.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::dialect::NATS_CONNECT;
use super::{PATIENCE, Result};

/// The link protocol's heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// `client-00000000 +34.000000-118.000000 0000000000.000000000`
pub const UPDATE_BYTES: usize = 58;

const RETRY: Duration = Duration::from_millis(5);

const INPUT_BYTES: usize = 256 * 1024;

pub struct Watcher {
    pub stream: TcpStream,
    is_neighbour: bool,
    beaten_at: Instant,
    /// The first `filled` bytes are lines not yet looked at.
    input: Vec<u8>,
    filled: usize,
}

impl Watcher {
    /// A neighbour called `own`, which has nothing and is told everything, of the server `server`
    /// that takes links at that address.
    pub fn neighbour(own: &str, server: &str, address: SocketAddr) -> Result<Watcher> {
        let mut stream = connect(address)?;
        let hello = format!("HELLO herd/1 {own} {server} 00000000000000f1 1 - 0\n");
        stream.write_all(hello.as_bytes())?;
        Watcher::new(stream, true)
    }

    /// A subscriber to everything that is published as `flood`.
    pub fn subscriber(address: SocketAddr) -> Result<Watcher> {
        let mut stream = connect(address)?;
        stream.write_all(NATS_CONNECT)?;
        stream.write_all(b"SUB flood 1\r\nPING\r\n")?;
        let mut heard = BufReader::new(&stream);
        let mut line = String::new();
        while line != "PONG\r\n" {
            line.clear();
            if heard.read_line(&mut line)? == 0 || line.starts_with("-ERR") {
                return Err(format!("NATS wants no subscriber: {line}").into());
            }
        }
        Watcher::new(stream, false)
    }

    fn new(stream: std::net::TcpStream, is_neighbour: bool) -> Result<Watcher> {
        stream.set_nonblocking(true)?;
        Ok(Watcher {
            stream: TcpStream::from_std(stream),
            is_neighbour,
            beaten_at: Instant::now(),
            input: vec![0; INPUT_BYTES],
            filled: 0,
        })
    }

    /// Reads what is there and shows each update, without the end of its line.
    pub fn read(&mut self, mut on_update: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.beat()?;
        loop {
            match self.stream.read(&mut self.input[self.filled..]) {
                Ok(0) => return Err("who is watched has hung up, or sends an endless line".into()),
                Ok(n) => self.filled += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
            let mut seen = 0;
            while let Some(end) = memchr::memchr(b'\n', &self.input[seen..self.filled]) {
                let line = self.input[seen..seen + end].trim_ascii_end();
                seen += end + 1;
                if line.starts_with(b"BYE") || line.starts_with(b"-ERR") {
                    return Err(format!("who is watched says {}", line.escape_ascii()).into());
                }
                let is_update = match self.is_neighbour {
                    true => line.starts_with(b"AT "),
                    false => line.len() == UPDATE_BYTES, // the line before it says MSG
                };
                if is_update && line.len() >= UPDATE_BYTES {
                    on_update(&line[line.len() - UPDATE_BYTES..])?;
                }
            }
            self.input.copy_within(seen..self.filled, 0);
            self.filled -= seen;
        }
    }

    /// A neighbour that is silent for long is taken for dead.
    fn beat(&mut self) -> Result<()> {
        if self.is_neighbour && self.beaten_at.elapsed() >= HEARTBEAT {
            self.beaten_at = Instant::now();
            self.stream.write_all(b"MARK 0\n")?; // so little always has room
        }
        Ok(())
    }
}

/// Connects, also to one who has only begun to listen elsewhere.
fn connect(address: SocketAddr) -> Result<std::net::TcpStream> {
    let deadline = Instant::now() + PATIENCE;
    let stream = loop {
        match std::net::TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => thread::sleep(RETRY),
        }
    };
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}
