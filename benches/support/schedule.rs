//! When the generator is to begin messages, and when to stop. No I/O: times are arguments.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::PATIENCE;

/// Who sleeps until a message is due may oversleep by that much: from then on the generator watches
/// the clock.
const SLEEP_SLACK: Duration = Duration::from_micros(100);

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
pub enum Until<'a> {
    Elapsed(Duration),
    /// Of an open loop: until it is told to.
    Told(&'a AtomicBool),
    /// So many by each connection.
    Messages(u64),
}

/// Which message is due when, and when no more are to be sent.
pub struct Schedule<'a> {
    started_ns: u64,
    /// From one message to the next; of a closed loop 0.
    pub step_ns: f64,
    /// How many messages each connection may begin without being told.
    pub quota: u64,
    /// Of an open loop: how many messages were due, and will have been due at the end.
    begun: usize,
    total: usize,
    /// Before which it does not end.
    end_ns: u64,
    /// Of a closed loop that goes on until then.
    cuts_off: bool,
    told: Option<&'a AtomicBool>,
}

impl<'a> Schedule<'a> {
    pub fn new(pace: Pace, until: Until<'a>, started_ns: u64, connections: usize) -> Schedule<'a> {
        let mut schedule = Schedule {
            started_ns,
            step_ns: 0.0,
            quota: 0,
            begun: 0,
            total: 0,
            end_ns: started_ns,
            cuts_off: false,
            told: None,
        };
        if let Until::Elapsed(time) = until {
            schedule.end_ns += time.as_nanos() as u64;
        }
        match (pace, until) {
            (Pace::Closed, Until::Messages(count)) => schedule.quota = count,
            (Pace::Closed, Until::Elapsed(_)) => {
                schedule.quota = u64::MAX;
                schedule.cuts_off = true;
            }
            (Pace::Closed, Until::Told(_)) => unreachable!("only open loops are told to stop"),
            (Pace::Open(rate), until) => {
                schedule.step_ns = 1e9 / rate;
                schedule.total = match until {
                    Until::Messages(count) => count as usize * connections,
                    Until::Elapsed(time) => (rate * time.as_secs_f64()) as usize,
                    Until::Told(_) => usize::MAX,
                };
                if let Until::Told(told) = until {
                    schedule.told = Some(told);
                }
            }
        }
        schedule
    }

    /// The messages that have become due; each is the business of the next connection in turn.
    pub fn due_until(&mut self, now_ns: u64) -> Range<usize> {
        if self.told.is_some_and(|told| told.load(Ordering::Relaxed)) {
            self.total = self.begun;
        }
        let begun = self.begun;
        if begun < self.total {
            let due = (now_ns - self.started_ns) as f64 / self.step_ns;
            self.begun = (due as usize + 1).clamp(begun, self.total); // the first is due at once
        }
        begun..self.begun
    }

    /// Nothing will be due any more, and nobody is to be cut off.
    pub fn is_over(&self, now_ns: u64) -> bool {
        self.begun == self.total && now_ns >= self.end_ns
    }

    /// Nobody is to begin another message.
    pub fn is_late(&self, now_ns: u64) -> bool {
        self.cuts_off && now_ns >= self.end_ns
    }

    /// How long to sleep if nothing is read. In a closed loop something always is.
    pub fn sleep(&self, now_ns: u64) -> Duration {
        let next_ns = if self.begun < self.total {
            self.started_ns + (self.begun as f64 * self.step_ns) as u64
        } else if now_ns < self.end_ns && !self.cuts_off {
            self.end_ns
        } else {
            return PATIENCE;
        };
        let wait = Duration::from_nanos(next_ns.saturating_sub(now_ns));
        wait.saturating_sub(SLEEP_SLACK)
    }
}
