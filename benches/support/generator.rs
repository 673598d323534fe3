//! The load: clients that move, over many connections, each message checked when answered.
//!
//! Closed loop: every connection has up to `pipeline` messages under way, and sends new ones as
//! replies come. Open loop: each message is due at a fixed time, whatever became of those before
//! it, and its reply is timed from then, so that a stall counts for all that it delayed.

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::connection::Connection;
use super::dialect::Dialect;
use super::digits::Clock;
use super::process::cpu;
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
}

pub struct Generator {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    clock: Clock,
}

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
            clock: Clock::new(),
        })
    }

    /// Sends, and waits for all replies.
    pub fn run(&mut self, pace: Pace, until: Until) -> Result<Outcome> {
        let own_before = cpu(std::process::id())?;
        let (started, mut times) = (Instant::now(), Histogram::new(3)?);
        let mut schedule = self.begin(pace, until)?;
        let mut messages = 0;
        loop {
            let now_ns = self.clock.elapsed_ns();
            for key in schedule.due_until(now_ns) {
                self.connections[key].quota += 1;
                self.connections[key].refill(&self.clock);
                self.connections[key].write()?;
            }
            if schedule.is_over(now_ns) && self.connections.iter().all(Connection::is_idle) {
                break;
            }
            self.wait(schedule.sleep(now_ns))?;
            let is_over = schedule.is_over(self.clock.elapsed_ns());
            for event in self.events.iter() {
                let connection = &mut self.connections[event.token().0];
                messages += connection.read(&self.clock, &mut times)?;
                if is_over && matches!(pace, Pace::Closed) {
                    connection.quota = 0;
                }
                connection.refill(&self.clock);
                connection.write()?;
            }
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

/// Which connection has to begin a message when, and until when.
struct Schedule {
    started_ns: u64,
    /// From one message to the next; of a closed loop 0.
    step_ns: f64,
    /// Of an open loop: how many messages were due, and will have been due at the end.
    begun: u64,
    total: u64,
    /// Of a closed loop.
    end_ns: u64,
    connections: usize,
}

impl Schedule {
    fn new(pace: Pace, until: Until, started_ns: u64, connections: usize) -> Schedule {
        let (step_ns, total, end_ns) = match (pace, until) {
            (Pace::Closed, Until::Messages(_)) => (0.0, 0, started_ns),
            (Pace::Closed, Until::Elapsed(time)) => (0.0, 0, started_ns + time.as_nanos() as u64),
            (Pace::Open(rate), Until::Messages(count)) => {
                (1e9 / rate, count * connections as u64, started_ns)
            }
            (Pace::Open(rate), Until::Elapsed(time)) => {
                (1e9 / rate, (rate * time.as_secs_f64()) as u64, started_ns)
            }
        };
        Schedule {
            started_ns,
            step_ns,
            begun: 0,
            total,
            end_ns,
            connections,
        }
    }

    /// The connections, in turn, whose messages are due by now.
    fn due_until(&mut self, now_ns: u64) -> impl Iterator<Item = usize> {
        std::iter::from_fn(move || {
            let is_due = self.begun < self.total && self.due_ns() <= now_ns;
            is_due.then(|| {
                self.begun += 1;
                (self.begun - 1) as usize % self.connections
            })
        })
    }

    fn due_ns(&self) -> u64 {
        self.started_ns + (self.begun as f64 * self.step_ns) as u64
    }

    fn is_over(&self, now_ns: u64) -> bool {
        self.begun == self.total && now_ns >= self.end_ns
    }

    /// How long to sleep if nothing is read.
    fn sleep(&self, now_ns: u64) -> Duration {
        if self.begun == self.total {
            return PATIENCE;
        }
        let wait = Duration::from_nanos(self.due_ns().saturating_sub(now_ns));
        wait.saturating_sub(SLEEP_SLACK)
    }
}
