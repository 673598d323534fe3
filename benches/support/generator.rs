//! The load: clients that move, over many connections, each message checked when answered.
//!
//! Closed loop: every connection has up to `pipeline` messages under way, and sends new ones as
//! replies come. It has to be cheaper than any server. All lines are equally long, so those
//! under way live in a ring that is written to the socket as it is; the next line is the last
//! one with a few digits counted up; a reply is compared with the line in the ring.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::{PATIENCE, Result};

/// A message. An `AT` line of it from a server with a name of four letters has 80 bytes.
const LINE: &[u8; 65] = b"IAMAT client-00000000 +34.000000-118.000000 0000000000.000000000\n";
const CLIENT: Range<usize> = 13..21;
const LATITUDE: Range<usize> = 26..32;
const LONGITUDE: Range<usize> = 37..43;
const TIME: Range<usize> = 44..64;
/// ` <client-id> <location> <time>`: what an `AT` line repeats.
const TAIL: Range<usize> = 5..65;

/// No reply is longer: the `AT` of the longest server name and a clock a century wrong.
const REPLY_BYTES_MAX: usize = 160;

/// What the right answer is.
#[derive(Clone, Copy)]
pub enum Answer {
    /// The line itself.
    Echo,
    /// The `AT` line, heard by the server of that name.
    At(&'static str),
}

impl Answer {
    fn is_right(self, sent: &[u8], reply: &[u8]) -> bool {
        match self {
            Answer::Echo => reply == sent,
            Answer::At(server) => reply.strip_suffix(&sent[TAIL]).is_some_and(|start| {
                let difference = start.strip_prefix(b"AT ");
                let difference = difference.and_then(|rest| rest.strip_prefix(server.as_bytes()));
                let difference = difference.and_then(|rest| rest.strip_prefix(b" "));
                matches!(difference, Some([b'+' | b'-', digits @ ..]) if digits.len() >= 11)
            }),
        }
    }
}

/// When to stop sending; what is under way is still waited for.
#[derive(Clone, Copy)]
pub enum Until {
    Elapsed(Duration),
    /// So many by each connection.
    Messages(u64),
}

pub struct Generator {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    answer: Answer,
    clock: Clock,
}

impl Generator {
    /// Connects; each connection speaks for an equal share of the clients.
    pub fn connect(
        address: SocketAddr,
        answer: Answer,
        connections: u32,
        pipeline: usize,
        clients: Range<u32>,
    ) -> Result<Generator> {
        let poll = Poll::new()?;
        let share = clients.len() as u32 / connections;
        let connect = |key: u32| -> Result<Connection> {
            let stream = std::net::TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry()
                .register(&mut stream, Token(key as usize), interest)?;
            let first = clients.start + key * share;
            Ok(Connection::new(stream, pipeline, first..first + share))
        };
        let connections = (0..connections).map(connect).collect::<Result<_>>()?;
        let (events, clock) = (Events::with_capacity(1024), Clock::new());
        Ok(Generator {
            poll,
            events,
            connections,
            answer,
            clock,
        })
    }

    /// Sends, and returns how many messages were answered and how long that took.
    pub fn run(&mut self, until: Until) -> Result<(u64, Duration)> {
        let started = Instant::now();
        let (quota, deadline) = match until {
            Until::Elapsed(time) => (u64::MAX, Some(started + time)),
            Until::Messages(count) => (count, None),
        };
        let mut answered = 0;
        let mut busy = self.connections.len(); // those that still send or wait
        for connection in &mut self.connections {
            connection.quota = quota;
            connection.refill(&self.clock);
            connection.write()?;
        }
        while busy > 0 {
            self.wait()?;
            let over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            for event in self.events.iter() {
                let connection = &mut self.connections[event.token().0];
                let was_idle = connection.is_idle();
                answered += connection.read(self.answer)?;
                if !over {
                    connection.refill(&self.clock);
                }
                connection.write()?;
                if over {
                    connection.quota = 0;
                }
                busy -= usize::from(!was_idle && connection.is_idle());
            }
        }
        Ok((answered, started.elapsed()))
    }

    fn wait(&mut self) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(PATIENCE)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(error.into()),
            Ok(()) if self.events.is_empty() => Err("the server owes replies and is silent".into()),
            _ => Ok(()),
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// How many messages it may still begin.
    quota: u64,
    /// The last line that was made, and the numbers of its clients.
    line: [u8; LINE.len()],
    clients: Range<u32>,
    next_client: u32,
    /// The lines under way: of those `made`, counted in lines, all but the first `answered`.
    ring: Vec<u8>,
    made: usize,
    answered: usize,
    /// How much of all that was made is written, in bytes.
    written: usize,
    /// The first `filled` bytes are replies not yet looked at.
    input: Vec<u8>,
    filled: usize,
}

impl Connection {
    fn new(stream: TcpStream, pipeline: usize, clients: Range<u32>) -> Connection {
        Connection {
            stream,
            quota: 0,
            line: *LINE,
            next_client: clients.start,
            clients,
            ring: vec![0; pipeline * LINE.len()],
            made: 0,
            answered: 0,
            written: 0,
            input: vec![0; pipeline.max(8) * REPLY_BYTES_MAX],
            filled: 0,
        }
    }

    fn is_idle(&self) -> bool {
        self.made == self.answered && self.quota == 0
    }

    /// Makes new lines for those that were answered.
    fn refill(&mut self, clock: &Clock) {
        let room = self.ring.len() / LINE.len() - (self.made - self.answered);
        let count = self.quota.min(room as u64);
        if count > 0 {
            clock.write(&mut self.line[TIME]);
        }
        for _ in 0..count {
            if self.next_client == self.clients.end || self.next_client == self.clients.start {
                self.next_client = self.clients.start;
                write_number(&mut self.line[CLIENT], self.clients.start.into());
            } else {
                count_up(&mut self.line[CLIENT]);
            }
            self.next_client += 1;
            count_up(&mut self.line[LATITUDE]);
            count_up(&mut self.line[LONGITUDE]);
            count_up(&mut self.line[TIME]);
            let at = self.made * LINE.len() % self.ring.len();
            self.ring[at..at + LINE.len()].copy_from_slice(&self.line);
            self.made += 1;
        }
        self.quota -= count;
    }

    /// Writes what is made and not written, in one go; what does not fit waits for the next edge.
    fn write(&mut self) -> Result<()> {
        while self.written < self.made * LINE.len() {
            let start = self.written % self.ring.len();
            let len = self.made * LINE.len() - self.written;
            let to_end = len.min(self.ring.len() - start);
            let parts = [
                &self.ring[start..start + to_end],
                &self.ring[..len - to_end],
            ];
            match self.stream.write_vectored(&parts.map(IoSlice::new)) {
                Ok(n) => self.written += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads and checks replies until none is owed or none is there; returns how many they were.
    fn read(&mut self, answer: Answer) -> Result<u64> {
        let before = self.answered;
        while self.answered < self.made {
            match self.stream.read(&mut self.input[self.filled..]) {
                Ok(0) => {
                    return Err("the server closed the connection, or a reply is endless".into());
                }
                Ok(n) => self.filled += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
            self.check(answer)?;
        }
        Ok((self.answered - before) as u64)
    }

    fn check(&mut self, answer: Answer) -> Result<()> {
        let mut seen = 0;
        while let Some(end) = memchr::memchr(b'\n', &self.input[seen..self.filled]) {
            let reply = &self.input[seen..=seen + end];
            let at = self.answered * LINE.len() % self.ring.len();
            let sent = &self.ring[at..at + LINE.len()];
            if self.answered == self.made || !answer.is_right(sent, reply) {
                let (sent, reply) = (sent.escape_ascii(), reply.escape_ascii());
                return Err(format!("a wrong reply:\n  sent {sent}\n  got  {reply}").into());
            }
            self.answered += 1;
            seen += end + 1;
        }
        self.input.copy_within(seen..self.filled, 0);
        self.filled -= seen;
        Ok(())
    }
}

/// POSIX time that never steps back, so that every message is later than the one before.
struct Clock {
    wall: Duration,
    mono: Instant,
}

impl Clock {
    fn new() -> Clock {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Clock {
            wall,
            mono: Instant::now(),
        }
    }

    fn write(&self, text: &mut [u8]) {
        let now = self.wall + self.mono.elapsed();
        write_number(&mut text[..10], now.as_secs());
        write_number(&mut text[11..], now.subsec_nanos().into());
    }
}

/// Writes a number over digits, with zeros in front.
fn write_number(digits: &mut [u8], mut value: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Adds one to a number in text, also to the last place of a fraction.
fn count_up(text: &mut [u8]) {
    for byte in text.iter_mut().rev() {
        match *byte {
            b'.' => {}
            b'9' => *byte = b'0',
            _ => {
                *byte += 1;
                break;
            }
        }
    }
}
