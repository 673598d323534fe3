//! How much a connection has said of late, and when a byte last moved on it: eight bytes a connection, and no
//! look at a clock.
//!
//! `Reactor` notes each read and write with the second of its turn.

/// What a connection has said of late.
///
/// A count of which each second takes away an eighth (an exponential average over some eight seconds): who says as
/// much in each second has eight times that at the end of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flow {
    second: u32,
    recent: u32,
}

/// The share of the count that a second takes away.
const SHARE: u32 = 8;

impl Flow {
    /// Nothing yet, of a connection that was made in this second of the reactor's.
    pub fn new(second: u32) -> Flow {
        Flow { second, recent: 0 }
    }

    /// A byte moved, in or out.
    #[inline]
    pub fn note_moved(&mut self, second: u32) {
        if self.second != second {
            self.recent = self.recent_at(second);
            self.second = second;
        }
    }

    /// So many bytes came in.
    #[inline]
    pub fn note_received(&mut self, bytes: usize, second: u32) {
        self.note_moved(second);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.recent = self.recent.saturating_add(bytes);
    }

    /// The second in which the last byte moved.
    pub fn last_moved(&self) -> u32 {
        self.second
    }

    /// What came in of late, in bytes a second.
    pub fn bytes_per_second(&self, now: u32) -> u32 {
        self.recent_at(now) / SHARE
    }

    #[cold]
    fn recent_at(&self, second: u32) -> u32 {
        let (mut left, mut recent) = (second.saturating_sub(self.second), self.recent);
        while left > 0 && recent > 0 {
            recent -= recent.div_ceil(SHARE);
            left -= 1;
        }
        recent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_the_same_each_second_has_that_rate_after_a_while_and_none_when_silent() {
        let mut flow = Flow::new(100);
        for second in 100..160 {
            for _ in 0..10 {
                flow.note_received(80, second);
                flow.note_moved(second);
            }
        }
        let rate = flow.bytes_per_second(159);
        assert!((780..=800).contains(&rate), "{rate}");
        let later = flow.bytes_per_second(165);
        assert!((300..400).contains(&later), "{later}");
        assert_eq!(flow.last_moved(), 159);
        assert_eq!(flow.bytes_per_second(u32::MAX), 0);
        assert_eq!(
            flow.bytes_per_second(0),
            rate,
            "a second is never taken back"
        );
        flow.note_moved(u32::MAX);
        assert_eq!(flow, Flow::new(u32::MAX));
    }

    #[test]
    fn more_than_can_be_counted_is_the_most() {
        let mut flow = Flow::new(0);
        flow.note_received(usize::MAX, 0);
        flow.note_received(1, 0);
        assert_eq!(flow.bytes_per_second(0), u32::MAX / SHARE);
    }
}
