//! The incarnations of one server's changefeed: what its journal knows of earlier ones, so that a
//! restart costs its neighbours only what changed meanwhile.
//!
//! `Links` owns it, and recovery fills it. Numbers are written in the journal, so a mark that a
//! neighbour has of an earlier incarnation still holds, up to where the journal says that incarnation
//! came. A journal in doubt gives none: then every neighbour is sent everything.

use std::collections::VecDeque;

use super::protocol::{Incarnation, Mark};

/// The most incarnations remembered; a neighbour that was away for longer is sent everything.
const INCARNATIONS_MAX: usize = 64;

/// Incarnations of this feed, the oldest first, each with the number that the feed had come to when it
/// began: the last of the one before.
#[derive(Debug, Default)]
pub struct History(VecDeque<(Incarnation, u64)>);

impl History {
    /// Notes that an incarnation begins when the feed has come to `from`.
    pub fn begin(&mut self, incarnation: Incarnation, from: u64) {
        if self.0.len() == INCARNATIONS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((incarnation, from));
    }

    /// The incarnations that are known, the oldest first, each with the number that the feed had come to
    /// when it began. The last is the present one.
    pub fn incarnations(&self) -> impl Iterator<Item = (Incarnation, u64)> + Clone {
        self.0.iter().copied()
    }

    /// Forgets all: numbers given from here on may be others than were given then.
    pub fn forget(&mut self) {
        self.0.clear();
    }

    /// The number after which a neighbour that has `known` is to be sent our feed, which has come to `end`. It
    /// is 0, so that everything is sent, if `known` says nothing to us, or is above `marked`, the highest mark
    /// that the neighbour was ever sent.
    pub fn resume(&self, known: Option<Mark>, end: u64, marked: u64) -> u64 {
        let known = known.filter(|mark| mark.number <= marked);
        known.and_then(|mark| self.follow(mark, end)).unwrap_or(0)
    }

    /// The number after which a reader goes on that has our feed up to `mark`. The feed has come to `end`.
    /// `None` if `mark` says nothing to us.
    pub fn follow(&self, mark: Mark, end: u64) -> Option<u64> {
        let begun = self.incarnations();
        let ends = begun.clone().skip(1).map(|(_, from)| from).chain([end]);
        let mut of = begun
            .zip(ends)
            .filter(|((of, _), _)| *of == mark.incarnation);
        let (_, last) = of.next()?;
        (mark.number <= last).then_some(mark.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_holds_as_far_as_its_incarnation_came_and_the_neighbour_was_told() {
        let mut history = History::default();
        history.begin(Incarnation(1), 0);
        history.begin(Incarnation(2), 50); // the first came to 50
        let mark = |incarnation, number| {
            let incarnation = Incarnation(incarnation);
            Some(Mark {
                incarnation,
                number,
            })
        };
        for (known, marked, from) in [
            (None, 100, 0),
            (mark(1, 40), 100, 40),
            (mark(1, 50), 100, 50),
            (mark(1, 51), 100, 0), // it had said more than its journal kept
            (mark(2, 60), 100, 60),
            (mark(2, 60), 60, 60),
            (mark(2, 60), 59, 0), // more than this neighbour was told
            (mark(2, 100), 100, 100),
            (mark(2, 101), 200, 0), // more than there is
            (mark(3, 1), 100, 0),
        ] {
            assert_eq!(history.resume(known, 100, marked), from, "{known:?}");
        }
        history.forget();
        assert_eq!(history.resume(mark(2, 60), 100, 100), 0);
        for incarnation in 0..2 * INCARNATIONS_MAX as u64 {
            history.begin(Incarnation(incarnation), incarnation);
        }
        assert_eq!(history.incarnations().count(), INCARNATIONS_MAX);
    }
}
