//! The two clocks of a turn.
//!
//! The loop reads them once a turn ([`Now::read`]) and hands the moment down, so nothing below it asks a clock.

use std::time::{Duration, Instant};

use super::timestamp::Timestamp;

/// The two clocks, read once a turn. All that happens in a turn happens at once, but for HTTP requests.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For timers: never goes back.
    pub mono: Instant,
    /// For what `AT` reports: the time of receipt. May jump when the clock is set.
    pub wall: Timestamp,
}

impl Now {
    /// Reads both clocks.
    pub fn read() -> Now {
        Now {
            mono: Instant::now(),
            wall: Timestamp::system(),
        }
    }

    /// The same moment by a clock that is never set back by `slack` or less, but stands still instead
    /// until the other has caught up. `before` is the moment before, by the same clock.
    pub fn without_small_steps_back(self, before: Now, slack: Duration) -> Now {
        let steps_back = self.wall < before.wall && self.wall >= before.wall.minus(slack);
        let wall = if steps_back { before.wall } else { self.wall };
        Now { wall, ..self }
    }

    /// The moment `duration` from now, for timers.
    pub fn after(self, duration: Duration) -> Instant {
        self.mono + duration
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_steps_back_a_little_stands_still_until_it_has_caught_up() {
        let (mono, slack) = (Instant::now(), Duration::from_secs(1));
        let at = |(seconds, nanos)| Now {
            mono,
            wall: Timestamp::new(seconds, nanos),
        };
        let mut now = at((10, 0));
        for (shown, taken) in [
            ((10, 5), (10, 5)),
            ((10, 4), (10, 5)), // a little back
            ((10, 3), (10, 5)),
            ((10, 6), (10, 6)),
            ((9, 6), (10, 6)), // just a little
            ((9, 900_000_000), (10, 6)),
            ((9, 5), (9, 5)), // so much that it is taken for what it is
            ((9, 4), (9, 5)),
            ((50, 0), (50, 0)),
            ((10, 0), (10, 0)),
        ] {
            let shown = at(shown);
            now = shown.without_small_steps_back(now, slack);
            assert_eq!(now.wall, at(taken).wall, "{:?}", shown.wall);
        }
        // However many little steps there are, it is never wrong by more than the slack.
        for step in 1..1_000 {
            let shown = at((10, 0)).wall.minus(step * Duration::from_millis(10));
            now = Now { mono, wall: shown }.without_small_steps_back(now, slack);
            assert!(now.wall >= shown && now.wall.minus(slack) <= shown);
        }
    }
}
