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

use super::connection::Connection;
use super::dialect::Dialect;
use super::digits::{Clock, read_number};
use super::process::cpu;
use super::watcher::Watcher;
use super::{PATIENCE, Result};

/// Who waits for the next message to be due may oversleep by that much: from then on it watches
/// the clock.
const SLEEP_SLACK: Duration = Duration::from_millis(2);

/// How a load comes.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// As fast as it is answered.
    Closed,
    /// So many messages a second over all connections, the first at once.
    Open(f64),
}

/// When to stop sending; what is under way is still waited for.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    Elapsed(Duration),
    /// So many by each connection.
    Messages(u64),
}

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
    pub fn run(&mut self, pace: Pace, until: Until) -> Result<Outcome> {
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
            own_cpu: cpu(std::process::id())? - own_before,
        })
    }

    /// Tells each connection what is expected of it, and lets those begin that need not wait.
    fn begin(&mut self, pace: Pace, until: Until) -> Result<Schedule> {
        let count = self.connections.len();
        let started_ns = self.clock.elapsed_ns();
        let schedule = Schedule::new(pace, until, started_ns, count);
        for (key, connection) in self.connections.iter_mut().enumerate() {
            connection.due_ns = started_ns as f64 + key as f64 * schedule.step_ns;
            connection.step_ns = count as f64 * schedule.step_ns;
            connection.quota = match (pace, until) {
                (Pace::Open(_), _) => 0,
                (Pace::Closed, Until::Messages(quota)) => quota,
                (Pace::Closed, Until::Elapsed(_)) => u64::MAX,
            };
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

    fn wait(&mut self, timeout: Duration) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(error.into()),
            Ok(()) if self.events.is_empty() && timeout == PATIENCE => {
                Err("the server owes replies and is silent".into())
            }
            _ => Ok(()),
        }
    }
}

/// Which message is due when, and when no more are to be sent.
struct Schedule {
    started_ns: u64,
    /// From one message to the next; of a closed loop 0.
    step_ns: f64,
    /// Of an open loop: how many messages were due, and will have been due at the end.
    begun: usize,
    total: usize,
    /// Of a closed loop that has an end.
    end_ns: Option<u64>,
}

impl Schedule {
    fn new(pace: Pace, until: Until, started_ns: u64, connections: usize) -> Schedule {
        let (step_ns, total, end_ns) = match (pace, until) {
            (Pace::Closed, Until::Messages(_)) => (0.0, 0, None),
            (Pace::Closed, Until::Elapsed(time)) => {
                (0.0, 0, Some(started_ns + time.as_nanos() as u64))
            }
            (Pace::Open(rate), Until::Messages(count)) => {
                (1e9 / rate, count as usize * connections, None)
            }
            (Pace::Open(rate), Until::Elapsed(time)) => {
                (1e9 / rate, (rate * time.as_secs_f64()) as usize, None)
            }
        };
        Schedule {
            started_ns,
            step_ns,
            begun: 0,
            total,
            end_ns,
        }
    }

    /// The messages that have become due; each is the business of the next connection in turn.
    fn due_until(&mut self, now_ns: u64) -> Range<usize> {
        let begun = self.begun;
        if begun < self.total {
            let due = (now_ns - self.started_ns) as f64 / self.step_ns;
            self.begun = (due as usize + 1).clamp(begun, self.total); // the first is due at once
        }
        begun..self.begun
    }

    /// Nothing will be due any more, and nobody is to be cut off.
    fn is_over(&self, now_ns: u64) -> bool {
        self.begun == self.total && self.end_ns.is_none_or(|end_ns| now_ns >= end_ns)
    }

    /// Nobody is to begin another message.
    fn is_late(&self, now_ns: u64) -> bool {
        self.end_ns.is_some_and(|end_ns| now_ns >= end_ns)
    }

    /// How long to sleep if nothing is read.
    fn sleep(&self, now_ns: u64) -> Duration {
        if self.begun == self.total {
            return PATIENCE;
        }
        let due_ns = self.started_ns + (self.begun as f64 * self.step_ns) as u64;
        let wait = Duration::from_nanos(due_ns.saturating_sub(now_ns));
        wait.saturating_sub(SLEEP_SLACK)
    }
}
