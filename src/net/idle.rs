//! Connections on which nothing moves: found by looking, not by a timer each.
//!
//! `Lifecycle` has one if `Reactor` was told to close them. A connection notes the second of its last byte
//! ([`Flow`](super::flow::Flow)); no timer is set or taken back. Instead the slab is
//! looked through again and again, a slice at a time, so that a hundred thousand connections cost
//! a look each now and then, and are never looked at all at once.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::connection::Role;

/// The most slots looked at in one turn.
const SLICE: usize = 1024;

/// A look at all connections takes this share of the time they may be silent...
const LOOK_SHARE: u32 = 8;

/// ... but not less than this, nor more: so much later than it might a connection is closed.
const LOOK_MIN: Duration = Duration::from_millis(250);
const LOOK_MAX: Duration = Duration::from_secs(60);

/// Who is closed after what time, and how far the looking has come.
#[derive(Debug)]
pub struct Idle<R> {
    /// Whose connections.
    pub role: R,
    /// How long they may be silent.
    pub limit: Duration,
    /// How many were closed for it.
    pub closed: u64,
    /// The next slot to look at.
    slot: usize,
    look_at: Instant,
}

impl<R: Role> Idle<R> {
    /// Connections of `role` may be silent for `limit`.
    pub fn new(role: R, limit: Duration, now: Instant) -> Idle<R> {
        Idle {
            role,
            limit,
            closed: 0,
            slot: 0,
            look_at: now,
        }
    }

    /// When the next slice is due.
    pub fn next(&self) -> Instant {
        self.look_at
    }

    /// The slots to look at now, of `slots`.
    pub fn due(&mut self, slots: usize, now: Instant) -> Range<usize> {
        if now < self.look_at {
            return 0..0;
        }
        let first = if self.slot < slots { self.slot } else { 0 };
        let end = slots.min(first + SLICE);
        self.slot = end;
        let slices = u32::try_from(slots.div_ceil(SLICE).max(1)).unwrap_or(u32::MAX);
        let whole = (self.limit / LOOK_SHARE).clamp(LOOK_MIN, LOOK_MAX);
        self.look_at = now + whole / slices;
        first..end
    }

    /// Whether a connection is silent too long in second `now` of which the last byte moved in
    /// second `moved`: both rounded down, so one more makes sure of it.
    pub fn is_over(&self, moved: u32, now: u32) -> bool {
        u64::from(now.saturating_sub(moved)) > self.limit.as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Role for () {
        type Codec = ();

        fn codec(self) {}
    }

    #[test]
    fn every_slot_is_looked_at_and_never_many_at_once() {
        let start = Instant::now();
        let limit = Duration::from_secs(80);
        let mut idle = Idle::new((), limit, start);
        for slots in [0, 1, SLICE, 100_000] {
            let mut looked = vec![0; slots];
            let (mut now, began) = (idle.next(), idle.next());
            while now < began + limit / LOOK_SHARE * 3 {
                assert_eq!(idle.due(slots, now - Duration::from_millis(1)), 0..0);
                let due = idle.due(slots, now);
                assert!(due.len() <= SLICE);
                looked[due].iter_mut().for_each(|times| *times += 1);
                now = idle.next();
            }
            assert!(looked.iter().all(|times| (2..=4).contains(times)));
        }
    }

    #[test]
    fn seconds_that_are_rounded_down_never_close_too_early() {
        let idle = Idle::new((), Duration::from_secs(5), Instant::now());
        for (moved, now, over) in [
            (10, 15, false),
            (10, 16, true),
            (10, 9, false),
            (0, 6, true),
        ] {
            assert_eq!(idle.is_over(moved, now), over, "{moved} {now}");
        }
    }
}
