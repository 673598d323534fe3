//! Clients' lines that have begun and not ended, and by when each must end.
//!
//! `serving` tells when a line begins and ends, `Driver` closes those that take too long: whoever sends a
//! byte now and then must not keep a connection for ever. Only a line that does not come whole is here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::connection_id::ConnectionId;

/// When each line that has no end yet began.
pub struct BegunLines {
    /// How long a line may take.
    pub limit: Duration,
    /// How many took longer.
    pub timed_out: u64,
    began: BTreeMap<ConnectionId, Instant>,
    in_order: BTreeSet<(Instant, ConnectionId)>,
}

impl BegunLines {
    /// None yet.
    pub fn new(limit: Duration) -> BegunLines {
        BegunLines {
            limit,
            timed_out: 0,
            began: BTreeMap::new(),
            in_order: BTreeSet::new(),
        }
    }

    /// Notes that a line of `id` has begun by `now`, unless it is known to have begun before.
    pub fn begin(&mut self, id: ConnectionId, now: Instant) {
        let began = *self.began.entry(id).or_insert(now);
        self.in_order.insert((began, id));
    }

    /// Notes that the line of `id` has ended, or waits for us.
    pub fn end(&mut self, id: ConnectionId) {
        if let Some(began) = self.began.remove(&id) {
            self.in_order.remove(&(began, id));
        }
    }

    /// When [`BegunLines::overdue`] may have one.
    pub fn timeout(&self) -> Option<Instant> {
        let first = self.in_order.first();
        first.map(|(began, _)| *began + self.limit)
    }

    /// Takes a connection whose line has taken too long.
    pub fn overdue(&mut self, now: Instant) -> Option<ConnectionId> {
        let &(began, id) = self.in_order.first()?;
        (began + self.limit <= now).then(|| {
            self.end(id);
            self.timed_out += 1;
            id
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_time_from_its_first_byte() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let id = |serial| ConnectionId { serial, slot: 0 };
        let mut lines = BegunLines::new(Duration::from_secs(10));
        assert_eq!(lines.timeout(), None);
        for second in 0..9 {
            lines.begin(id(1), at(second));
        }
        lines.begin(id(2), at(1));
        lines.begin(id(3), at(2));
        lines.end(id(2));
        lines.begin(id(2), at(3));
        assert_eq!(lines.overdue(at(9)), None);
        assert_eq!(lines.timeout(), Some(at(10)));
        let overdue = [10, 11, 12, 13, 14].map(|second| lines.overdue(at(second)));
        let want = [Some(id(1)), None, Some(id(3)), Some(id(2)), None];
        assert_eq!(overdue, want);
        assert_eq!((lines.timeout(), lines.timed_out), (None, 3));
        lines.end(id(1));
    }
}
