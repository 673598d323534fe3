//! The lives of one server's feed: what its log remembers of earlier ones, so that a restart costs
//! its neighbours only what changed meanwhile.
//!
//! `Node` and `Recall` are the callers. A restart replays the log in the order in which it was written, so
//! it makes the same decisions and gives the same numbers as the lives before: a mark that a
//! neighbour has of an earlier life still holds, up to where that life is seen to have come. What
//! a life did after its log had a gap is not seen, so a gap ends what is remembered. A checkpoint gives
//! its records their numbers, so in what is left of one the numbers are right though records are
//! missing: nothing counts before the log is seen to have its beginning.
//! Nor does anything if it has a hole, which a power failure may have made when the lives that are told
//! of after it were over; or if a life says that it began at another number than the replay has come to,
//! for then somebody has cut the log, or put two together.

use std::collections::VecDeque;

use super::protocol::{Incarnation, Mark};

/// The most lives remembered; a neighbour that was away for longer is sent everything.
const LIVES_MAX: usize = 64;

/// Lives of this feed, the oldest first.
#[derive(Debug, Default)]
pub struct History {
    lives: VecDeque<Life>,
    /// The log has its beginning: a life that knew nothing yet, or a checkpoint, whole.
    has_beginning: bool,
    /// The log has a hole.
    has_hole: bool,
}

#[derive(Debug)]
struct Life {
    incarnation: Incarnation,
    /// The last number it gave, as far as is known; `None` while it lives.
    end: Option<u64>,
}

impl History {
    /// Notes that the log is seen to have its beginning: what was known at some time stands before
    /// this, all of it.
    pub fn see_beginning(&mut self) {
        self.has_beginning = true;
    }

    /// Notes that the log has a hole. A life told of after it may have known what stood there: that it
    /// began at the number that is come to says nothing, since other records may have taken the numbers.
    pub fn see_hole(&mut self) {
        self.has_hole = true;
    }

    /// Whether the log is seen to have its beginning, and no hole.
    pub fn is_of_whole_log(&self) -> bool {
        self.has_beginning && !self.has_hole
    }

    /// Notes that a life begins when the feed has come to `end`. No life before it can have come
    /// further: if one is said to have, nothing that was said counts.
    pub fn begin(&mut self, incarnation: Incarnation, end: u64) {
        let is_beyond = |life: &Life| life.end.is_some_and(|known| known > end);
        if self.lives.iter().any(is_beyond) {
            self.forget();
        }
        if let Some(last) = self.lives.back_mut() {
            last.end.get_or_insert(end);
        }
        self.push(incarnation, None);
    }

    /// Notes an earlier life, later than those that are known.
    pub fn recall(&mut self, incarnation: Incarnation, end: u64) {
        self.push(incarnation, Some(end));
    }

    /// The lives that are known, the oldest first, each with the last number it gave; `None` for
    /// the one that lives.
    pub fn lives(&self) -> impl Iterator<Item = (Incarnation, Option<u64>)> {
        self.lives.iter().map(|life| (life.incarnation, life.end))
    }

    fn push(&mut self, incarnation: Incarnation, end: Option<u64>) {
        if self.lives.len() == LIVES_MAX {
            self.lives.pop_front();
        }
        self.lives.push_back(Life { incarnation, end });
    }

    /// Whether a life has begun of which all that it knew is known.
    pub fn has_open_life(&self) -> bool {
        self.lives.back().is_some_and(|life| life.end.is_none())
    }

    /// Forgets all lives: numbers given from here on may be others than were given then.
    pub fn forget(&mut self) {
        self.lives.clear();
    }

    /// From which number on somebody who has `known` is to be sent our feed, which has come to
    /// `end`: from the beginning if that says nothing to us.
    pub fn resume(&self, known: Option<Mark>, end: u64) -> u64 {
        let Some(mark) = known else { return 0 };
        let of = |life: &&Life| life.incarnation == mark.incarnation;
        match self.lives.iter().find(of) {
            Some(life) if mark.number <= life.end.unwrap_or(end) => mark.number,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_holds_as_far_as_its_life_was_seen_to_come() {
        let mut history = History::default();
        assert!(!history.has_open_life());
        history.begin(Incarnation(1), 0);
        history.begin(Incarnation(2), 50); // the first came to 50
        let mark = |incarnation, number| {
            let incarnation = Incarnation(incarnation);
            Some(Mark {
                incarnation,
                number,
            })
        };
        for (known, from) in [
            (None, 0),
            (mark(1, 40), 40),
            (mark(1, 50), 50),
            (mark(1, 51), 0), // it had said more than its log kept
            (mark(2, 60), 60),
            (mark(2, 100), 100),
            (mark(2, 101), 0), // more than has been said
            (mark(3, 1), 0),
        ] {
            assert_eq!(history.resume(known, 100), from, "{known:?}");
        }
        assert!(history.has_open_life());
        history.recall(Incarnation(3), 100);
        assert!(!history.has_open_life(), "its checkpoint has not ended");
        history.begin(Incarnation(4), 99); // before the end of one that is over
        assert_eq!(history.lives().count(), 1);
        history.forget();
        assert_eq!(history.resume(mark(2, 60), 100), 0);
        for life in 0..2 * LIVES_MAX as u64 {
            history.begin(Incarnation(life), life);
        }
        assert_eq!(history.lives.len(), LIVES_MAX);
    }
}
