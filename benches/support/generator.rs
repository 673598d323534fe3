//! The load: clients that move, over many connections, each message checked when answered.
//!
//! Closed loop: every connection has up to `pipeline` messages under way, and sends new ones as
//! replies come. Open loop: each message is due at a fixed time, whatever became of those before
//! it, and its reply is timed from then, so that a stall counts for all that it delayed. In both, a
//! [`Watcher`] may have to see each message at the far end of a line of servers.

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::connection::Connection;
use super::dialect::Dialect;
use super::digits::{Clock, read_number};
use super::process::cpu;
use super::schedule::Schedule;
pub use super::schedule::{Pace, Until};
use super::watcher::Watcher;
use super::{PATIENCE, Result};

/// What became of a load.
pub struct Outcome {
    /// All were answered, and rightly.
    pub messages: u64,
    pub elapsed: Duration,
    /// From when each message was due until its reply, in nanoseconds.
    pub times: Histogram<u64>,
    /// What this process has used meanwhile.
    pub own_cpu: Duration,
}

impl Outcome {
    /// Messages a second.
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.elapsed.as_secs_f64()
    }

    /// CPU time of this process per time.
    pub fn own_busy(&self) -> f64 {
        self.own_cpu.as_secs_f64() / self.elapsed.as_secs_f64()
    }

    /// The time within which that part of all was answered, in microseconds.
    pub fn micros(&self, quantile: f64) -> f64 {
        self.times.value_at_quantile(quantile) as f64 / 1e3
    }
}

pub struct Generator {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    /// The first client, and how many each connection speaks for.
    first: u32,
    share: u32,
    watcher: Option<Watcher>,
    clock: Clock,
}

/// The watcher's events.
const FAR_END: Token = Token(usize::MAX);

impl Generator {
    /// Connects; each connection speaks for an equal share of the clients.
    pub fn connect(
        address: SocketAddr,
        dialect: &Dialect,
        connections: u32,
        pipeline: usize,
        clients: Range<u32>,
    ) -> Result<Generator> {
        let poll = Poll::new()?;
        let share = clients.len() as u32 / connections;
        let connect = |key: u32| -> Result<Connection> {
            let mut stream = std::net::TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.write_all(dialect.greeting)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry()
                .register(&mut stream, Token(key as usize), interest)?;
            let first = clients.start + key * share;
            let clients = first..first + share;
            Ok(Connection::new(stream, dialect, pipeline, clients))
        };
        Ok(Generator {
            connections: (0..connections).map(connect).collect::<Result<_>>()?,
            poll,
            events: Events::with_capacity(1024),
            first: clients.start,
            share,
            watcher: None,
            clock: Clock::new(),
        })
    }

    /// From now on so many of a hundred messages are questions about clients that have moved.
    pub fn ask(&mut self, percent: u32) -> Result<()> {
        for connection in &mut self.connections {
            connection.ask(percent).ok_or("it answers no questions")?;
        }
        Ok(())
    }

    /// From now on the clients move in an order that is far from that in which they came.
    pub fn scatter(&mut self) {
        let share = self.share;
        let golden = (f64::from(share) * 0.618) as u32;
        let stride =
            (golden.max(1)..share).find(|&stride| greatest_common_divisor(stride, share) == 1);
        for connection in &mut self.connections {
            connection.stride = stride.unwrap_or(1);
        }
    }

    /// From now on every message has to be seen by that watcher.
    pub fn watch(&mut self, mut watcher: Watcher) -> Result<()> {
        let registry = self.poll.registry();
        registry.register(&mut watcher.stream, FAR_END, Interest::READABLE)?;
        self.watcher = Some(watcher);
        for connection in &mut self.connections {
            connection.is_watched = true;
        }
        Ok(())
    }

    /// Gives the watcher back, for the next generator.
    pub fn into_watcher(self) -> Result<Watcher> {
        let mut watcher = self.watcher.ok_or("nobody has watched")?;
        self.poll.registry().deregister(&mut watcher.stream)?;
        Ok(watcher)
    }

    /// Sends, and waits for all replies.
    pub fn run(&mut self, pace: Pace, until: Until<'_>) -> Result<Outcome> {
        let own_before = cpu(std::process::id())?;
        let count = self.connections.len();
        let (started, mut times) = (Instant::now(), Histogram::new(3)?);
        let mut schedule = self.begin(pace, until)?;
        let mut messages = 0;
        loop {
            let now_ns = self.clock.elapsed_ns();
            let due = schedule.due_until(now_ns);
            for message in due.clone() {
                self.connections[message % count].quota += 1;
            }
            for message in due.take(count) {
                self.connections[message % count].refill(&self.clock);
                self.connections[message % count].write()?;
            }
            if schedule.is_over(now_ns) && self.connections.iter().all(Connection::is_idle) {
                break;
            }
            self.wait(schedule.sleep(now_ns))?;
            let is_late = schedule.is_late(self.clock.elapsed_ns());
            for event in self.events.iter() {
                if event.token() == FAR_END {
                    continue; // it is read in any case
                }
                let connection = &mut self.connections[event.token().0];
                let answered = connection.read(&self.clock, &mut times)?;
                if self.watcher.is_none() {
                    messages += answered;
                }
                if is_late {
                    connection.quota = 0;
                }
                connection.refill(&self.clock);
                connection.write()?;
            }
            messages += self.look(is_late, &mut times)?;
        }
        Ok(Outcome {
            messages,
            elapsed: started.elapsed(),
            times,
            own_cpu: cpu(std::process::id())?.saturating_sub(own_before),
        })
    }

    /// Tells each connection what is expected of it, and lets those begin that need not wait.
    fn begin<'a>(&mut self, pace: Pace, until: Until<'a>) -> Result<Schedule<'a>> {
        let count = self.connections.len();
        let started_ns = self.clock.elapsed_ns();
        let schedule = Schedule::new(pace, until, started_ns, count);
        for (key, connection) in self.connections.iter_mut().enumerate() {
            connection.due_ns = started_ns as f64 + key as f64 * schedule.step_ns;
            connection.step_ns = count as f64 * schedule.step_ns;
            connection.quota = schedule.quota;
            connection.refill(&self.clock);
            connection.write()?;
        }
        Ok(schedule)
    }

    /// Takes what has been seen at the far end, and goes on with those who waited for it; returns
    /// how many updates they were.
    fn look(&mut self, is_late: bool, times: &mut Histogram<u64>) -> Result<u64> {
        let Some(watcher) = &mut self.watcher else {
            return Ok(0);
        };
        let now_ns = self.clock.elapsed_ns();
        let mut seen = 0;
        let connections = &mut self.connections;
        watcher.read(|update| {
            let client = read_number(&update[7..15]).ok_or("an update of no client")? as u32;
            let key = client.wrapping_sub(self.first) / self.share;
            let Some(connection) = connections.get_mut(key as usize) else {
                return Ok(()); // a client of whom others have spoken
            };
            seen += 1;
            connection.see(update, now_ns, times)
        })?;
        if seen > 0 {
            for connection in &mut self.connections {
                if is_late {
                    connection.quota = 0;
                }
                connection.refill(&self.clock);
                connection.write()?;
            }
        }
        Ok(seen)
    }

    /// Waits for events. `Poll` counts in milliseconds, which is too coarse for what is due soon.
    fn wait(&mut self, timeout: Duration) -> Result<()> {
        let mut timeout = timeout;
        if timeout < PATIENCE && !timeout.is_zero() {
            let span = Timespec::try_from(timeout)?;
            let mut ready = [PollFd::new(self.poll.registry(), PollFlags::IN)];
            match rustix::event::poll(&mut ready, Some(&span)) {
                Ok(_) | Err(Errno::INTR) => timeout = Duration::ZERO,
                Err(error) => return Err(error.into()),
            }
        }
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(error.into()),
            Ok(()) if self.events.is_empty() && timeout == PATIENCE => {
                Err("the server owes replies and is silent".into())
            }
            _ => Ok(()),
        }
    }
}

fn greatest_common_divisor(one: u32, other: u32) -> u32 {
    match other {
        0 => one,
        _ => greatest_common_divisor(other, one % other),
    }
}
