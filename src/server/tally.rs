//! What the server counts itself, beside what each room counts of its own, and how it was a little while ago.
//!
//! `gather` reads it. Counting costs an addition; the past costs a look at the clock of the turn.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::roles::Role;
use crate::web::histogram::Histogram;

/// Rates are those of so long a time.
const RATE_OVER: Duration = Duration::from_secs(10);

/// The past is noted this often, ...
const NOTED_EVERY: Duration = Duration::from_secs(1);

/// ... and known for an hour of a server that is never idle.
const NOTES_MAX: usize = 3_600;

/// How it was.
#[derive(Clone, Copy, Debug)]
struct Note {
    at: Instant,
    /// The number of the latest change.
    end: u64,
    /// Messages of clients so far.
    messages: u64,
}

/// What the server counts itself.
#[derive(Debug)]
pub struct Tally {
    /// When the server was started.
    pub started: Instant,
    /// The number of the latest change then.
    pub first_end: u64,
    /// Connections that were made, by what they are for.
    pub made: BTreeMap<Role, u64>,
    /// Responses over HTTP, by status.
    pub responses: BTreeMap<u16, u64>,
    /// Points of phones that were rejected.
    pub points_rejected: u64,
    /// How long turns took.
    pub turns: Histogram,
    notes: VecDeque<Note>,
}

impl Tally {
    /// Nothing yet, of a server whose latest change has the number `end`.
    pub fn new(end: u64, now: Instant) -> Tally {
        Tally {
            started: now,
            first_end: end,
            made: BTreeMap::new(),
            responses: BTreeMap::new(),
            points_rejected: 0,
            turns: Histogram::default(),
            notes: VecDeque::from([Note {
                at: now,
                end,
                messages: 0,
            }]),
        }
    }

    /// Counts a response over HTTP.
    pub fn count_response(&mut self, status: u16) {
        *self.responses.entry(status).or_default() += 1;
    }

    /// Notes how it is at the beginning of a turn, if it is time for that.
    pub fn note(&mut self, end: u64, messages: u64, now: Instant) {
        let latest = self.notes.back().map(|note| note.at);
        if latest.is_some_and(|at| now < at + NOTED_EVERY) {
            return;
        }
        if self.notes.len() == NOTES_MAX {
            self.notes.pop_front();
        }
        self.notes.push_back(Note {
            at: now,
            end,
            messages,
        });
    }

    /// Changes and messages a second of late.
    pub fn rates(&self, end: u64, messages: u64, now: Instant) -> (f64, f64) {
        let before = |note: &&Note| note.at + RATE_OVER <= now;
        let past = self.notes.iter().rev().find(before);
        let Some(past) = past.or(self.notes.front()) else {
            return (0.0, 0.0);
        };
        // In the first second any message would be many.
        let seconds = (now - past.at).max(NOTED_EVERY).as_secs_f64();
        let rate = |count: u64, past: u64| count.saturating_sub(past) as f64 / seconds;
        (rate(end, past.end), rate(messages, past.messages))
    }

    /// How long the oldest change after `number` has been there, to a second; as far back as is known.
    pub fn age_after(&self, number: u64, now: Instant) -> Duration {
        let newer = self.notes.partition_point(|note| note.end <= number);
        let note = self.notes.get(newer);
        note.map_or(Duration::ZERO, |note| now - note.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_ten_seconds() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut tally = Tally::new(1_000, start);
        assert_eq!(tally.rates(1_000, 0, start), (0.0, 0.0));
        assert_eq!(
            tally.rates(1_005, 7, start),
            (5.0, 7.0),
            "in the first second"
        );
        for second in 1..=30 {
            tally.note(1_000 + 100 * second, 10 * second, at(second));
            tally.note(0, 0, at(second)); // not twice a second
        }
        assert_eq!(tally.rates(4_000, 300, at(30)), (100.0, 10.0));
        assert_eq!(
            tally.rates(4_000, 300, at(35)),
            (50.0, 5.0),
            "five of ten were quiet"
        );
        assert_eq!(tally.rates(4_000, 300, at(60)), (0.0, 0.0));
        // An idle server makes no turns.
        tally.note(4_000, 300, at(3_630));
        assert_eq!(tally.rates(4_360, 336, at(3_630)), (0.1, 0.01));
    }

    #[test]
    fn the_age_of_a_change_is_known_to_a_second() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut tally = Tally::new(0, start);
        for second in 1..=2 * NOTES_MAX as u64 {
            tally.note(10 * second, 0, at(second));
        }
        let now = at(2 * NOTES_MAX as u64);
        assert_eq!(tally.notes.len(), NOTES_MAX);
        let age = |number| tally.age_after(number, now).as_secs();
        assert_eq!(age(20 * NOTES_MAX as u64), 0, "there is none");
        assert_eq!(age(20 * NOTES_MAX as u64 - 1), 0);
        assert_eq!(age(20 * NOTES_MAX as u64 - 100), 9);
        assert_eq!(age(0), NOTES_MAX as u64 - 1, "as far back as is known");
    }
}
