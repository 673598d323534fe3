//! The yardstick: a line echo server on mio, with nothing in it that an echo does not need.
//!
//! One thread, edge-triggered, in turns as herd has them: read what is there, hand the log to the
//! kernel in one write, let the replies out in one write each. It runs in a process of its own,
//! since only then can its CPU time be told from the generator's: the bench starts itself again
//! as `<bench> --echo <address> [<log file>]`. It does not bound the length of a line.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::{Result, wall_time};

/// Read at once, and about the most that one connection may have read in one turn.
const READ_BYTES: usize = 64 * 1024;
const LISTENER: Token = Token(usize::MAX);

/// Serves for ever if the command line says that this process is to be an echo.
pub fn serve_if_asked() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (address, log) = match arguments.as_slice() {
        [echo, address] if echo == "--echo" => (address, None),
        [echo, address, log] if echo == "--echo" => (address, Some(File::create(log)?)),
        _ => return Ok(()),
    };
    let mut echo = Echo::listen(address.parse()?, log)?;
    let mut events = Events::with_capacity(1024);
    loop {
        echo.turn(&mut events)?;
    }
}

struct Connection {
    stream: TcpStream,
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    /// What the socket did not take; while there is any, nothing is read.
    owed: Vec<u8>,
    /// An edge has come and the socket is not drained.
    readable: bool,
    ended: bool,
}

struct Echo {
    poll: Poll,
    listener: TcpListener,
    connections: Slab<Connection>,
    /// Connections with something to do.
    ready: Vec<usize>,
    scratch: Box<[u8]>,
    turn: Turn,
    log: Option<File>,
}

/// What one turn puts out.
#[derive(Default)]
struct Turn {
    replies: Vec<u8>,
    log: Vec<u8>,
    /// If there is a log.
    time: Option<String>,
    /// Time and connection: how the log's records begin.
    stamp: Vec<u8>,
}

impl Turn {
    fn begin_connection(&mut self, key: usize) {
        if let Some(time) = &self.time {
            self.stamp.clear();
            let _ = write!(self.stamp, "{time} {key}"); // a Vec takes everything
        }
    }

    fn answer(&mut self, line: &[u8]) {
        self.replies.extend_from_slice(line);
        self.replies.push(b'\n');
        if self.time.is_some() {
            for direction in [b" < ", b" > "] {
                self.log.extend_from_slice(&self.stamp);
                self.log.extend_from_slice(direction);
                self.log.extend_from_slice(line);
                self.log.push(b'\n');
            }
        }
    }
}

impl Echo {
    fn listen(address: SocketAddr, log: Option<File>) -> Result<Echo> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address)?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Echo {
            poll,
            listener,
            connections: Slab::new(),
            ready: Vec::new(),
            scratch: vec![0; READ_BYTES].into(),
            turn: Turn::default(),
            log,
        })
    }

    fn turn(&mut self, events: &mut Events) -> Result<()> {
        let unfinished = (!self.ready.is_empty()).then_some(Duration::ZERO);
        match self.poll.poll(events, unfinished) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in events.iter() {
            match event.token() {
                LISTENER => self.accept()?,
                Token(key) => {
                    self.connections[key].readable |= event.is_readable() || event.is_read_closed();
                    self.ready.push(key);
                }
            }
        }
        self.ready.sort_unstable();
        self.ready.dedup(); // of those that were still unfinished, some have a new edge
        self.serve()
    }

    fn serve(&mut self) -> Result<()> {
        let ready = std::mem::take(&mut self.ready);
        self.turn.time = self.log.is_some().then(wall_time);
        let replies: Vec<Range<usize>> = ready.iter().map(|&key| self.fill(key)).collect();
        if let Some(log) = &mut self.log {
            log.write_all(&self.turn.log)?;
            self.turn.log.clear();
        }
        for (key, replies) in ready.into_iter().zip(replies) {
            let connection = &mut self.connections[key];
            let flushed = connection.flush(&self.turn.replies[replies]);
            if flushed.is_err() || (connection.ended && connection.owed.is_empty()) {
                self.connections.remove(key); // which also closes it
            } else if connection.readable && connection.owed.is_empty() {
                self.ready.push(key);
            }
        }
        self.turn.replies.clear();
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error.into()),
            };
            stream.set_nodelay(true)?;
            let entry = self.connections.vacant_entry();
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut stream, Token(entry.key()), interest)?;
            let (partial, owed) = (Vec::new(), Vec::new());
            entry.insert(Connection {
                stream,
                partial,
                owed,
                readable: false,
                ended: false,
            });
        }
    }

    /// Reads what is there; says where in the turn's replies this connection's are.
    fn fill(&mut self, key: usize) -> Range<usize> {
        let connection = &mut self.connections[key];
        let start = self.turn.replies.len();
        self.turn.begin_connection(key);
        while connection.readable
            && connection.owed.is_empty()
            && self.turn.replies.len() - start < READ_BYTES
        {
            match connection.stream.read(&mut self.scratch) {
                Ok(0) => (connection.readable, connection.ended) = (false, true),
                Ok(n) => connection.take(&self.scratch[..n], &mut self.turn),
                Err(error) if error.kind() == ErrorKind::WouldBlock => connection.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => (connection.readable, connection.ended) = (false, true),
            }
        }
        start..self.turn.replies.len()
    }
}

impl Connection {
    fn take(&mut self, mut data: &[u8], turn: &mut Turn) {
        while let Some(end) = memchr::memchr(b'\n', data) {
            if self.partial.is_empty() {
                turn.answer(&data[..end]);
            } else {
                self.partial.extend_from_slice(&data[..end]);
                turn.answer(&std::mem::take(&mut self.partial));
            }
            data = &data[end + 1..];
        }
        self.partial.extend_from_slice(data);
    }

    /// Writes what is owed from before, or else `replies`; keeps what the socket does not take.
    fn flush(&mut self, replies: &[u8]) -> Result<()> {
        let before = std::mem::take(&mut self.owed); // then nothing was read: no replies
        let mut left = if before.is_empty() {
            replies
        } else {
            &before[..]
        };
        while !left.is_empty() {
            match self.stream.write(left) {
                Ok(n) => left = &left[n..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.owed = left.to_vec(); // of nothing: no allocation
        Ok(())
    }
}
