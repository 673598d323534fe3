//! How long something took, counted in classes: Prometheus' histogram.

use std::time::Duration;

/// The longest of each class but the last, in microseconds. A turn of a busy server takes some 100; from 100,000 on
/// clients notice.
const BOUNDS_MICROS: [u64; 12] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 250_000, 1_000_000,
];

/// Durations that have been counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BOUNDS_MICROS.len() + 1],
    sum: Duration,
}

impl Histogram {
    /// Counts one.
    #[inline]
    pub fn add(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX);
        let class = BOUNDS_MICROS.iter().position(|bound| micros <= *bound);
        self.counts[class.unwrap_or(BOUNDS_MICROS.len())] += 1;
        self.sum += duration;
    }

    /// Of each class but the last: its bound in seconds as text, and how many were no longer.
    pub fn classes(&self) -> impl Iterator<Item = (String, u64)> {
        let bounds = BOUNDS_MICROS.iter().zip(&self.counts);
        bounds.scan(0, |below, (bound, count)| {
            *below += count;
            Some((
                Duration::from_micros(*bound).as_secs_f64().to_string(),
                *below,
            ))
        })
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How long they took together.
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_with_those_that_are_as_long_at_most() {
        let mut histogram = Histogram::default();
        for nanos in [
            0,
            50_000,
            50_001,
            1_000_000_000,
            1_000_000_001,
            9_000_000_000,
        ] {
            histogram.add(Duration::from_nanos(nanos));
        }
        let classes: Vec<_> = histogram.classes().collect();
        assert_eq!(classes[0], ("0.00005".to_owned(), 2));
        assert_eq!(classes[1], ("0.0001".to_owned(), 3));
        assert_eq!(classes[11], ("1".to_owned(), 4));
        assert_eq!((classes.len(), histogram.count()), (12, 6));
        assert_eq!(histogram.sum(), Duration::from_nanos(11_000_100_002));
    }
}
