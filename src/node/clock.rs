//! Whether this server trusts its clock. Its neighbours' clocks decide, or, without neighbours, its journal.
//!
//! `Node` owns one and tells it what the neighbours' clocks show. Only a server that trusts its clock
//! judges which reports are too far ahead to be true: so a machine that boots in 1970 harms nothing.
//! docs/LINKS.md has the rule.

use std::fmt;
use std::time::{Duration, Instant};

use crate::time::{Difference, Now, Timestamp, rough_span};

/// A clock that is off by more than this is wrong, unless the operator says otherwise.
const CLOCK_SKEW: Duration = Duration::from_secs(10 * 60);

/// Somebody has set a wall clock that moved this much more, or less, than the monotonic one.
const STEP: Duration = Duration::from_secs(1);

/// Why a server does not trust its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// More than half of the neighbours that tell their clocks are too far from ours.
    Neighbours {
        /// How far our clock is from the nearest of these.
        by: Difference,
        /// How many are too far.
        far: usize,
        /// How many tell their clocks.
        of: usize,
    },
    /// Our clock is so far behind the last time in the journal.
    Journal(Difference),
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Distrust::Neighbours { by, far, of } => {
                let by = offset_text(*by);
                write!(f, "the clock is {by} those of {far} of {of} neighbours")
            }
            Distrust::Journal(by) => {
                let by = offset_text(*by);
                write!(f, "the clock is {by} the last time in the journal")
            }
        }
    }
}

/// How far a clock is from another, in words: `3 hours ahead of`, `3 hours behind`.
pub fn offset_text(offset: Difference) -> String {
    let span = rough_span(offset.magnitude());
    let side = match offset.whole_seconds() < 0 {
        true => "behind",
        false => "ahead of",
    };
    format!("{span} {side}")
}

/// A server's clock, as far as it can be judged.
#[derive(Debug)]
pub struct Clock {
    skew: Duration,
    /// The operator says that it is right.
    is_right_by_word: bool,
    /// The latest time that it has shown since neighbours last confirmed it, or since the journal was last
    /// written.
    latest: Timestamp,
    /// What it showed at the last look.
    seen: Now,
    distrust: Option<Distrust>,
    /// The neighbours have judged it, and it was not set since.
    is_judged: bool,
}

impl Clock {
    /// A clock that nobody has judged.
    pub fn new(now: Now) -> Clock {
        Clock {
            skew: CLOCK_SKEW,
            is_right_by_word: false,
            latest: now.wall,
            seen: now,
            distrust: None,
            is_judged: false,
        }
    }

    /// Lets clocks be off by `skew`. `is_right` is the operator's word that this one is right.
    pub fn allow(&mut self, skew: Duration, is_right: bool) {
        (self.skew, self.is_right_by_word) = (skew, is_right);
    }

    /// Notes that the journal was last written at this time.
    pub fn note_written(&mut self, time: Timestamp) {
        self.latest = time;
    }

    /// Why it is not trusted, if it is not.
    pub fn distrust(&self) -> Option<Distrust> {
        self.distrust
    }

    /// Whether two clocks are so far apart that one of them is wrong.
    pub fn is_off(&self, offset: Difference) -> bool {
        offset.magnitude() > self.skew
    }

    /// A record with a later effective time than this is too far ahead to be true.
    pub fn newest(&self, now: Now) -> Timestamp {
        match self.distrust {
            None => now.wall.later(self.skew),
            Some(_) => Timestamp::MAX,
        }
    }

    /// Looks at the clock: once a turn, before anything else. Says whether somebody has set it since the last
    /// look.
    pub fn look(&mut self, now: Now) -> bool {
        let expected = shown_at(self.seen, now.mono);
        let is_set = now.wall.since(expected).magnitude() >= STEP;
        self.is_judged &= !is_set;
        self.seen = now;
        self.latest = self.latest.max(now.wall);
        is_set
    }

    /// When it is to be judged again though nobody tells anything: while it is behind the journal, as soon as it
    /// no longer is.
    pub fn timeout(&self) -> Option<Instant> {
        match self.distrust {
            Some(Distrust::Journal(_)) => {
                let behind = self.latest.since(self.seen.wall).magnitude();
                let wait = behind.saturating_sub(self.skew);
                self.seen.mono.checked_add(wait)
            }
            Some(Distrust::Neighbours { .. }) | None => None,
        }
    }

    /// Judges the clock. `offsets` says of each neighbour that tells its clock how far that is ahead of ours.
    /// Says whether the clock is now trusted and was not, or the reverse.
    pub fn judge(&mut self, offsets: impl Iterator<Item = Difference>) -> bool {
        let wall = self.seen.wall;
        let (mut of, mut far, mut nearest) = (0, 0, None);
        for offset in offsets {
            of += 1;
            if self.is_off(offset) {
                far += 1;
                let by = wall.since(wall.plus(offset)); // seen from the other clock
                let is_nearer = |least: &Difference| by.magnitude() < least.magnitude();
                nearest = nearest.filter(|least| !is_nearer(least)).or(Some(by));
            }
        }
        let before = self.distrust.is_some();
        self.distrust = match (of, nearest) {
            _ if self.is_right_by_word => None,
            (0, _) if self.is_judged => self.distrust,
            (0, _) => {
                let by = wall.since(self.latest);
                (by.whole_seconds() < 0 && self.is_off(by)).then_some(Distrust::Journal(by))
            }
            (_, Some(by)) if 2 * far > of => Some(Distrust::Neighbours { by, far, of }),
            _ => None,
        };
        if of > 0 {
            self.is_judged = true;
            if self.distrust.is_none() {
                self.latest = wall; // whatever it has shown before
            }
        }
        self.distrust.is_some() != before
    }
}

/// What a clock shows at `mono`, if it once showed `seen` and nobody has set it since.
fn shown_at(seen: Now, mono: Instant) -> Timestamp {
    seen.wall.later(mono.saturating_duration_since(seen.mono))
}

/// A neighbour's clock, as the neighbour last told it.
#[derive(Clone, Copy, Debug)]
pub struct ToldClock(Now);

impl ToldClock {
    /// The neighbour has just told this time.
    pub fn new(time: Timestamp, now: Now) -> ToldClock {
        ToldClock(Now {
            mono: now.mono,
            wall: time,
        })
    }

    /// How far it is ahead of our clock now, unless it was set since.
    pub fn offset(&self, now: Now) -> Difference {
        shown_at(self.0, now.mono).since(now.wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_353_118_103;

    fn at(start: Now, mono_seconds: u64, wall_seconds: i64) -> Now {
        Now {
            mono: start.mono + Duration::from_secs(mono_seconds),
            wall: Timestamp::new(wall_seconds, 0),
        }
    }

    fn start() -> Now {
        Now {
            mono: Instant::now(),
            wall: Timestamp::new(START, 0),
        }
    }

    fn offsets(seconds: &[i64]) -> impl Iterator<Item = Difference> {
        let zero = Timestamp::new(0, 0);
        let ahead = move |seconds: &i64| Timestamp::new(*seconds, 0).since(zero);
        seconds.iter().map(ahead)
    }

    #[test]
    fn half_of_the_neighbours_are_enough() {
        for (told, trusted) in [
            (&[0][..], true),
            (&[600], true),
            (&[-600], true),
            (&[601], false),
            (&[-601], false),
            (&[0, 9_000], true),
            (&[0, 9_000, -9_000], false),
            (&[0, 1, 9_000, -9_000], true),
        ] {
            let mut clock = Clock::new(start());
            assert_eq!(clock.judge(offsets(told)), !trusted, "{told:?}");
            assert_eq!(clock.distrust().is_none(), trusted, "{told:?}");
        }
    }

    #[test]
    fn it_is_said_by_how_much() {
        let mut clock = Clock::new(start());
        clock.judge(offsets(&[-864_000, 0, -172_800]));
        let text = clock.distrust().map(|distrust| distrust.to_string());
        let want = "the clock is 2 days ahead of those of 2 of 3 neighbours";
        assert_eq!(text.as_deref(), Some(want));
        clock.judge(offsets(&[7_200]));
        let text = clock.distrust().map(|distrust| distrust.to_string());
        let want = "the clock is 2 hours behind those of 1 of 1 neighbours";
        assert_eq!(text.as_deref(), Some(want));
    }

    #[test]
    fn without_neighbours_the_journal_decides() {
        let start = start();
        let mut clock = Clock::new(start);
        clock.note_written(Timestamp::new(START + 601, 0));
        assert!(clock.judge(offsets(&[])) && clock.distrust().is_some());
        assert!(clock.look(at(start, 1, START + 10)), "it was set");
        assert!(clock.judge(offsets(&[])), "and is near enough now");
        assert!(clock.look(at(start, 2, 5)), "1970");
        assert!(clock.judge(offsets(&[])));
        assert_eq!(clock.newest(at(start, 2, 5)), Timestamp::MAX);
    }

    #[test]
    fn once_it_has_reached_the_journal_it_is_trusted_without_neighbours() {
        let start = start();
        let mut clock = Clock::new(start);
        clock.note_written(Timestamp::new(START + 607, 0));
        assert!(clock.judge(offsets(&[])) && clock.distrust().is_some());
        assert_eq!(clock.timeout(), Some(start.mono + Duration::from_secs(7)));
        assert!(!clock.look(at(start, 6, START + 6)), "nobody has set it");
        assert!(!clock.judge(offsets(&[])), "it is not there yet");
        assert_eq!(clock.timeout(), Some(start.mono + Duration::from_secs(7)));
        assert!(!clock.look(at(start, 7, START + 7)));
        assert!(clock.judge(offsets(&[])) && clock.distrust().is_none());
        assert_eq!(clock.timeout(), None);
    }

    #[test]
    fn the_verdict_of_neighbours_stands_until_the_clock_is_set() {
        let start = start();
        let mut clock = Clock::new(start);
        assert!(clock.judge(offsets(&[9_000])));
        assert!(!clock.look(at(start, 5, START + 5)));
        assert!(!clock.judge(offsets(&[])), "they have gone");
        assert!(clock.look(at(start, 6, START + 9_006)));
        assert!(clock.judge(offsets(&[])), "the operator has set it");
    }

    #[test]
    fn the_operators_word_counts_most() {
        let mut clock = Clock::new(start());
        clock.allow(Duration::from_secs(1), true);
        assert!(!clock.judge(offsets(&[9_000])) && clock.distrust().is_none());
    }

    #[test]
    fn a_told_clock_goes_on() {
        let start = start();
        let told = ToldClock::new(Timestamp::new(START + 7, 0), start);
        let offset = told.offset(at(start, 100, START + 100));
        assert_eq!(offset.whole_seconds(), 7);
        let offset = told.offset(at(start, 100, START + 207));
        assert_eq!(offset.whole_seconds(), -100);
    }
}
