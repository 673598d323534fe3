//! Answers kept for a while, for those who ask the same again. Pure.
//!
//! `Pool` keeps what Twitter answered well, and looks here first. Off unless asked for: an answer
//! from here is up to its age late. Bounded by entries and by bytes; the oldest go first.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::node::protocol::TweetQuery;

/// The most answers kept.
const ENTRIES_MAX: usize = 1024;

/// The most bytes of answers and questions kept; an answer over this is not.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Answers by question.
#[derive(Debug)]
pub(super) struct Cache {
    lifetime: Duration,
    answers: BTreeMap<TweetQuery, (u64, Arc<[u8]>)>,
    /// Which go first: all live equally long. One whose number is not its answer's is stale.
    order: VecDeque<(Instant, u64, TweetQuery)>,
    numbers: u64,
    bytes: usize,
}

impl Cache {
    /// Keeps each answer for `lifetime`; none at all if that is zero.
    pub(super) fn new(lifetime: Duration) -> Cache {
        Cache {
            lifetime,
            answers: BTreeMap::new(),
            order: VecDeque::new(),
            numbers: 0,
            bytes: 0,
        }
    }

    /// The answer to `query`, if it is not too old.
    pub(super) fn find(&mut self, query: &TweetQuery, now: Instant) -> Option<Arc<[u8]>> {
        while self.order.front().is_some_and(|(until, ..)| *until <= now) {
            self.drop_oldest();
        }
        self.answers.get(query).map(|(_, json)| Arc::clone(json))
    }

    /// Keeps an answer in place of an earlier one.
    pub(super) fn insert(&mut self, query: TweetQuery, json: Arc<[u8]>, now: Instant) {
        let bytes = size(&query, &json);
        if self.lifetime.is_zero() || bytes > BYTES_MAX {
            return;
        }
        self.numbers += 1;
        self.bytes += bytes;
        let entry = (self.numbers, json);
        if let Some((_, old)) = self.answers.insert(query.clone(), entry) {
            self.bytes -= size(&query, &old);
        }
        self.order
            .push_back((now + self.lifetime, self.numbers, query));
        // Stale ones count as entries too, or they would be without bound.
        while self.order.len() > ENTRIES_MAX || self.bytes > BYTES_MAX {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((_, number, query)) = self.order.pop_front() else {
            return;
        };
        if self
            .answers
            .get(&query)
            .is_some_and(|(known, _)| *known == number)
            && let Some((_, json)) = self.answers.remove(&query)
        {
            self.bytes -= size(&query, &json);
        }
    }
}

fn size(query: &TweetQuery, json: &[u8]) -> usize {
    query.latitude.len() + query.longitude.len() + query.radius_km.len() + json.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::location::Position;
    use proptest::prelude::*;

    fn query(radius_km: usize) -> TweetQuery {
        let position = Position::parse(b"+27.5916+086.5640").expect("valid");
        TweetQuery::new(position, radius_km.to_string().as_bytes(), 2)
    }

    fn json(text: &str) -> Arc<[u8]> {
        text.as_bytes().into()
    }

    #[test]
    fn an_answer_lives_as_long_as_it_is_told() {
        let (mut cache, now) = (Cache::new(Duration::from_secs(3)), Instant::now());
        let after = |milliseconds| now + Duration::from_millis(milliseconds);
        cache.insert(query(1), json("one"), now);
        cache.insert(query(2), json("two"), after(1_000));
        assert_eq!(cache.find(&query(1), after(2_999)), Some(json("one")));
        assert_eq!(cache.find(&query(1), after(3_000)), None);
        assert_eq!(cache.find(&query(2), after(3_000)), Some(json("two")));
        cache.insert(query(2), json("new"), after(3_500));
        assert_eq!(cache.find(&query(2), after(4_500)), Some(json("new")));
        assert_eq!(cache.find(&query(2), after(6_500)), None);
        assert_eq!((cache.bytes, cache.order.len()), (0, 0));
    }

    #[test]
    fn without_a_lifetime_nothing_is_kept() {
        let (mut cache, now) = (Cache::new(Duration::ZERO), Instant::now());
        cache.insert(query(1), json("one"), now);
        assert_eq!(cache.find(&query(1), now), None);
        assert!(cache.order.is_empty());
    }

    #[test]
    fn the_oldest_go_first_when_there_are_too_many() {
        let (mut cache, now) = (Cache::new(Duration::from_secs(9)), Instant::now());
        for radius in 0..=ENTRIES_MAX {
            cache.insert(query(radius), json("x"), now);
        }
        assert_eq!(cache.find(&query(0), now), None);
        assert_eq!(cache.find(&query(1), now), Some(json("x")));
        let large: Arc<[u8]> = vec![b' '; BYTES_MAX / 2].into();
        for radius in 0..2 {
            cache.insert(query(radius), Arc::clone(&large), now);
        }
        assert_eq!(cache.find(&query(0), now), None);
        assert_eq!(cache.find(&query(1), now), Some(large));
        cache.insert(query(3), vec![b' '; BYTES_MAX].into(), now);
        assert_eq!(cache.find(&query(3), now), None, "it alone is too large");
    }

    proptest! {
        #[test]
        fn its_counts_are_right(inserts in proptest::collection::vec((0..9_usize, 0..99_usize, 0..4_u64), 0..60)) {
            let (mut cache, mut now) = (Cache::new(Duration::from_secs(3)), Instant::now());
            let mut last = BTreeMap::new();
            for (radius, length, seconds) in inserts {
                now += Duration::from_secs(seconds);
                let answer: Arc<[u8]> = vec![b'x'; length].into();
                cache.insert(query(radius), Arc::clone(&answer), now);
                last.insert(radius, (now, answer));
                for (radius, (at, answer)) in &last {
                    let live = *at + Duration::from_secs(3) > now;
                    prop_assert_eq!(cache.find(&query(*radius), now), live.then(|| Arc::clone(answer)));
                }
                let bytes: usize = cache.answers.iter().map(|(query, (_, json))| size(query, json)).sum();
                prop_assert_eq!(cache.bytes, bytes);
            }
        }
    }
}
