//! Deadlines of connections: few, since most connections have none, and exact.
//!
//! `Lifecycle` owns them, `Reactor` sleeps until the next, and `pressure` reads them. A set in the order of time
//! serves both for the next deadline and for taking one back.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::connection_id::ConnectionId;

/// Who is to be looked at, and when.
#[derive(Debug, Default)]
pub struct Timers {
    deadlines: BTreeSet<(Instant, ConnectionId)>,
}

impl Timers {
    /// Replaces the deadline `old` of `id` by `new`.
    pub fn set(&mut self, id: ConnectionId, old: Option<Instant>, new: Option<Instant>) {
        if let Some(at) = old {
            self.deadlines.remove(&(at, id));
        }
        if let Some(at) = new {
            self.deadlines.insert((at, id));
        }
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(at, _)| at)
    }

    /// Those with a deadline, the earliest first.
    pub fn iter(&self) -> impl Iterator<Item = (Instant, ConnectionId)> {
        self.deadlines.iter().copied()
    }

    /// Takes one whose deadline has come.
    pub fn due(&mut self, now: Instant) -> Option<ConnectionId> {
        let &(at, id) = self.deadlines.first()?;
        (at <= now).then(|| {
            self.deadlines.pop_first();
            id
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_earliest_first_and_none_twice() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let id = |serial| ConnectionId { serial, slot: 0 };
        let mut timers = Timers::default();
        timers.set(id(1), None, Some(at(3)));
        timers.set(id(2), None, Some(at(2)));
        timers.set(id(3), None, Some(at(2)));
        timers.set(id(1), Some(at(3)), Some(at(1)));
        timers.set(id(3), Some(at(2)), None);
        assert_eq!(timers.next(), Some(at(1)));
        assert_eq!(timers.due(at(0)), None);
        assert_eq!(timers.due(at(2)), Some(id(1)));
        assert_eq!(timers.due(at(2)), Some(id(2)));
        assert_eq!(timers.due(at(9)), None);
    }
}
