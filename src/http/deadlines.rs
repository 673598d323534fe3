//! When to look at which connection, so that no client takes too long.
//!
//! No timer is taken back. Each connection is looked at once in [`REQUEST_MAX`] at least, which is the shortest
//! time a client has: whatever begins between two looks is not over before the second.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::codec::{KEEP_ALIVE_MAX, REQUEST_MAX};
use crate::connection_id::ConnectionId;

const LOOK_AFTER: Duration = REQUEST_MAX;

const _: () = assert!(REQUEST_MAX.as_secs() <= KEEP_ALIVE_MAX.as_secs());

/// Connections, by when they are looked at.
#[derive(Debug, Default)]
pub struct Deadlines(BTreeSet<(Instant, ConnectionId)>);

impl Deadlines {
    /// Has a connection looked at: when it is made, and again after each look at which it lives on.
    /// `deadline` is that of its codec.
    pub fn push(&mut self, id: ConnectionId, deadline: Option<Instant>, now: Instant) {
        let latest = now + LOOK_AFTER;
        let at = deadline.map_or(latest, |deadline| deadline.min(latest));
        self.0.insert((at, id));
    }

    /// When the next is to be looked at.
    pub fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Takes one that is to be looked at by `now`.
    pub fn due(&mut self, now: Instant) -> Option<ConnectionId> {
        let &(at, id) = self.0.first()?;
        (at <= now).then(|| {
            self.0.pop_first();
            id
        })
    }
}
