//! The feed of changes: which record changed when, as an append-only sequence that forgets what
//! has been superseded.
//!
//! `Table` is the only caller: it appends, and it says which entries are still the latest of their record.
//! Flooding, catching up and snapshots all read it, each from its own cursor, which is no more than a number.
//!
//! ```text
//!   number   1   2   3   4   5   6   7   8            cursor of a slow neighbour: 3
//!   slot     a   b   a   c   b   b   d   a            it still gets 4, 6, 7, 8
//!            ^superseded ^       ^                    (1, 2, 3, 5 have been superseded)
//! ```
//!
//! Entries lie in segments. While more than half of all entries are stale, a sweep goes through the segments, a
//! bounded piece at a time: it drops the stale entries and joins what remains. So no single append is ever
//! long, and the feed stays within about twice the number of records. The sweep that forgets expired records
//! goes through the feed in the same manner.

use std::collections::VecDeque;

/// The most entries of a segment: also the most that one append, or one slice, may have to sweep.
pub const SEGMENT_ENTRIES_MAX: usize = 1024;

/// The most entries of the feed that one look passes, stale ones and those of expired records included.
///
/// If all are stale, a look takes 2 ms. A look forgets the expired records that it passes. If all have expired,
/// it takes 50 ms, but only once: the next look, of another link or of the sweep, finds nothing left of them.
/// So in the long run a turn forgets no more than a turn brings, and to forget a record costs less than to take
/// it in.
///
/// A reader that looks once a turn gets ahead, since a turn brings fewer entries than this. A turn reads 2 MiB,
/// or 256 bytes of each connection that is ready. No report is shorter than 18 bytes, and none that has not
/// expired is shorter than 27. So only 27,000 connections that all report at once could keep a reader behind.
pub const ENTRIES_MAX: usize = 256 * 1024;

/// No feed comes to this number: at a thousand million changes a second that takes more than 200 years. A file
/// that has a greater one was forged. So there is always a next number.
const NUMBER_MAX: u64 = u64::MAX / 2;

/// While a sweep is under way, a segment is swept each time this many entries were appended.
/// A sweep of the whole feed is then done before the feed has grown by a sixteenth.
const SWEEP_EVERY: u64 = 64;

/// Below this many entries a sweep is not worth its bookkeeping.
const SWEEP_FROM: usize = 4 * SEGMENT_ENTRIES_MAX;

/// The sequence of changes.
#[derive(Debug, Default)]
pub struct Feed {
    segments: VecDeque<Segment>,
    /// The number of the latest change; numbers begin at 1.
    end: u64,
    /// Entries in all segments, stale ones included.
    entries: usize,
    /// The next segment to sweep, while a sweep is under way.
    sweep_at: Option<usize>,
}

/// A run of entries with rising numbers, all of them above those of the segment before.
#[derive(Debug)]
struct Segment {
    /// The entries' numbers are given relative to this one.
    base: u64,
    entries: Vec<Entry>,
}

/// Half the size of a `u64` and a `usize`: at a million records this is 8 MB instead of 16.
#[derive(Clone, Copy, Debug)]
struct Entry {
    above_base: u32,
    slot: u32,
}

impl Segment {
    fn number(&self, entry: &Entry) -> u64 {
        self.base + u64::from(entry.above_base)
    }
}

impl Feed {
    /// The number of the latest change, 0 before the first.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Lets the next entry come after `number`. `false`, and nothing is done, if the feed has gone
    /// beyond that, or can never come to it.
    pub fn advance(&mut self, number: u64) -> bool {
        let onward = (self.end..=NUMBER_MAX).contains(&number);
        if onward {
            self.end = number;
        }
        onward
    }

    /// Entries held, stale ones included.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries
    }

    /// What always holds, where `latest` says which number each of `records` records now has.
    pub fn check_invariants(&self, records: usize, latest: impl Fn(u32) -> u64) {
        let entries = self.after(0).map(|(number, _)| number);
        assert!(entries.is_sorted_by(|a, b| a < b), "numbers do not rise");
        let last = self.after(0).last().map_or(0, |(number, _)| number);
        assert!(last <= self.end, "an entry is ahead of the end");
        let held: usize = self.segments.iter().map(|s| s.entries.len()).sum();
        assert_eq!(held, self.entries, "entries are miscounted");
        let live = self.after(0);
        let live = live.filter(|&(number, slot)| latest(slot) == number);
        assert_eq!(live.count(), records, "a record has not exactly one entry");
        // A sweep begins above `limit`. Any two segments side by side are at least half full. So the sweep is
        // done after an eighth more was appended, or as many records were evicted. What came meanwhile is left
        // to the next sweep.
        let limit = SWEEP_FROM.max(2 * records);
        let most = limit + limit / 4 + 2 * SEGMENT_ENTRIES_MAX;
        assert!(held <= most, "{held} entries for {records} records");
    }

    /// Appends a change of the record in `slot` and gives it the next number. If [`Feed::is_sweep_due`] then,
    /// [`Feed::sweep`] must follow.
    #[inline]
    pub fn append(&mut self, slot: u32) -> u64 {
        self.end += 1;
        let number = self.end;
        match self.segments.back_mut() {
            Some(last)
                if last.entries.len() < SEGMENT_ENTRIES_MAX
                    && u32::try_from(number - last.base).is_ok() =>
            {
                let above_base = (number - last.base) as u32;
                last.entries.push(Entry { above_base, slot });
            }
            _ => self.begin_segment(slot),
        }
        self.entries += 1;
        number
    }

    #[cold]
    fn begin_segment(&mut self, slot: u32) {
        let mut entries = Vec::with_capacity(SEGMENT_ENTRIES_MAX);
        let above_base = 0;
        entries.push(Entry { above_base, slot });
        let base = self.end;
        self.segments.push_back(Segment { base, entries });
    }

    /// Whether it is time to go on with a sweep, or to begin one, after so many changes in all.
    #[inline]
    pub fn is_sweep_due(changes: u64) -> bool {
        changes.is_multiple_of(SWEEP_EVERY)
    }

    /// Notes that the record whose latest change is `number` has moved to `slot`.
    pub fn set_slot(&mut self, number: u64, slot: u32) {
        let at = self.segment_after(number - 1);
        let segment = &mut self.segments[at];
        let base = segment.base;
        let found = segment
            .entries
            .binary_search_by_key(&number, |entry| base + u64::from(entry.above_base));
        segment.entries[found.expect("a record has its entry")].slot = slot;
    }

    /// Drops segments of which no entry is numbered above `number`: all of them are stale.
    pub fn drop_through(&mut self, number: u64) {
        while let Some(first) = self.segments.front()
            && first
                .entries
                .last()
                .is_none_or(|last| first.number(last) <= number)
        {
            self.entries -= first.entries.len();
            self.segments.pop_front();
            self.sweep_at = self.sweep_at.map(|at| at.saturating_sub(1));
        }
    }

    /// Sweeps one segment, if a sweep is under way or must begin.
    ///
    /// `records` is how many records there are; `latest` says which number a slot's record now
    /// has, so that the stale entries can be told.
    pub fn sweep(&mut self, records: usize, latest: impl Fn(u32) -> u64) {
        if self.sweep_at.is_none() && self.entries > SWEEP_FROM.max(2 * records) {
            self.sweep_at = Some(0);
        }
        let Some(at) = self.sweep_at else { return };
        if at + 1 >= self.segments.len() {
            self.sweep_at = None; // the last segment is still being filled
            return;
        }
        if !self.compact(at, |number, slot| latest(slot) == number) {
            self.sweep_at = Some(at + 1); // otherwise the segment after it has come to `at`
        }
    }

    /// Drops the entries of segment `at` that `keep` (of number and slot) does not want, and joins
    /// what remains to the segment before. Says whether that has removed the segment.
    fn compact(&mut self, at: usize, mut keep: impl FnMut(u64, u32) -> bool) -> bool {
        let segment = &mut self.segments[at];
        let (base, before) = (segment.base, segment.entries.len());
        // Like `retain`, without a branch. Whether an entry is kept is read from a record anywhere in memory:
        // without a branch the processor waits for many of them at a time.
        let mut kept = 0;
        for from in 0..before {
            let entry = segment.entries[from];
            segment.entries[kept] = entry;
            kept += usize::from(keep(base + u64::from(entry.above_base), entry.slot));
        }
        segment.entries.truncate(kept);
        self.entries -= before - kept;
        // An empty segment must go even where numbers are too far apart to join: `after` finds its
        // place by the segments' last entries.
        if kept == 0 || (at > 0 && self.join(at)) {
            self.segments.remove(at);
            return true;
        }
        self.segments[at].entries.shrink_to_fit();
        false
    }

    /// In about how many slices [`Feed::retain_slice`] goes through the whole feed.
    pub fn slices(&self) -> usize {
        self.segments.len()
    }

    /// Drops what `keep` (of number and slot) does not want from the entries above `cursor`, but
    /// looks at no more of them than one segment has. Gives the number it has come to, `None` if
    /// there was nothing to look at.
    pub fn retain_slice(&mut self, cursor: u64, keep: impl FnMut(u64, u32) -> bool) -> Option<u64> {
        let at = self.segment_after(cursor);
        let segment = self.segments.get(at)?;
        let reached = segment.entries.last().map(|last| segment.number(last))?;
        if self.compact(at, keep)
            && let Some(sweep_at) = self.sweep_at.filter(|&sweep_at| sweep_at > at)
        {
            self.sweep_at = Some(sweep_at - 1);
        }
        Some(reached)
    }

    /// Moves the entries of segment `at` to the end of the one before it, if they fit there.
    fn join(&mut self, at: usize) -> bool {
        let entries = std::mem::take(&mut self.segments[at].entries);
        let base = self.segments[at].base;
        let before = &mut self.segments[at - 1];
        let last = entries.last().map_or(0, |entry| entry.above_base);
        let reach = base - before.base + u64::from(last);
        if before.entries.len() + entries.len() > SEGMENT_ENTRIES_MAX
            || u32::try_from(reach).is_err()
        {
            self.segments[at].entries = entries;
            return false;
        }
        let shift = (base - before.base) as u32;
        before.entries.extend(entries.iter().map(|entry| Entry {
            above_base: entry.above_base + shift,
            slot: entry.slot,
        }));
        true
    }

    /// The first segment that has an entry numbered above `cursor`.
    fn segment_after(&self, cursor: u64) -> usize {
        self.segments.partition_point(|segment| {
            let last = segment.entries.last();
            last.is_none_or(|entry| segment.number(entry) <= cursor)
        })
    }

    /// The entries numbered above `cursor`, oldest first: number and slot, stale ones included.
    pub fn after(&self, cursor: u64) -> impl Iterator<Item = (u64, u32)> {
        let first = self.segment_after(cursor);
        let mut skip = self.segments.get(first).map_or(0, |segment| {
            segment
                .entries
                .partition_point(|entry| segment.number(entry) <= cursor)
        });
        self.segments.range(first..).flat_map(move |segment| {
            let entries = &segment.entries[std::mem::take(&mut skip)..];
            entries
                .iter()
                .map(|entry| (segment.number(entry), entry.slot))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A feed beside the simplest thing that does the same.
    #[derive(Default)]
    struct Beside {
        feed: Feed,
        latest: Vec<u64>,
    }

    impl Beside {
        fn change(&mut self, slot: u32) {
            let slots = self.latest.len().max(slot as usize + 1);
            self.latest.resize(slots, 0);
            self.latest[slot as usize] = self.feed.append(slot);
            if Feed::is_sweep_due(self.feed.end()) {
                let latest = |slot: u32| self.latest[slot as usize];
                self.feed.sweep(slots, latest);
            }
        }

        fn live_after(&self, cursor: u64) -> Vec<(u64, u32)> {
            let live = |&(number, slot): &(u64, u32)| self.latest[slot as usize] == number;
            self.feed.after(cursor).filter(live).collect()
        }

        fn model_after(&self, cursor: u64) -> Vec<(u64, u32)> {
            let mut model: Vec<_> = self.latest.iter().copied().zip(0..).collect();
            model.retain(|&(number, _)| number > cursor);
            model.sort_unstable();
            model
        }
    }

    #[test]
    fn one_busy_client_among_quiet_ones_keeps_the_feed_short() {
        let mut beside = Beside::default();
        (0..3_000).for_each(|slot| beside.change(slot));
        for _ in 0..100_000 {
            beside.change(7);
            assert!(beside.feed.len() <= 10_000, "{}", beside.feed.len());
        }
        assert_eq!(beside.live_after(0), beside.model_after(0));
        assert_eq!(beside.feed.end(), 103_000);
    }

    #[test]
    fn quiet_clients_are_found_however_many_changes_later() {
        let mut beside = Beside::default();
        (0..1_000).for_each(|slot| beside.change(slot));
        for _ in 0..3 {
            let end = beside.feed.end();
            assert!(beside.feed.advance(end + (1 << 32))); // as many changes as an entry can count, at once
            (0..10_000).for_each(|_| beside.change(1_000));
            assert_eq!(beside.live_after(0), beside.model_after(0));
        }
    }

    #[test]
    fn there_is_always_a_next_number() {
        let mut beside = Beside::default();
        for (number, onward) in [
            (7, true),
            (6, false),
            (u64::MAX, false),
            (NUMBER_MAX + 1, false),
            (NUMBER_MAX, true),
        ] {
            assert_eq!(beside.feed.advance(number), onward, "{number}");
        }
        beside.change(0);
        assert_eq!(beside.live_after(0), [(NUMBER_MAX + 1, 0)]);
        assert!(!beside.feed.advance(NUMBER_MAX + 1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn every_cursor_sees_exactly_what_changed_after_it(
            runs in proptest::collection::vec((0..400_u32, 1..60_u32, 1..40_u32), 1..60),
            cursors in proptest::collection::vec(0.0..1.0_f64, 8),
        ) {
            let mut beside = Beside::default();
            for (first, width, repeat) in runs {
                for _ in 0..repeat {
                    (first..first + width).for_each(|slot| beside.change(slot));
                }
            }
            for share in cursors {
                let cursor = (share * beside.feed.end() as f64) as u64;
                let live: Vec<_> = beside.live_after(cursor);
                let model: Vec<_> = beside.model_after(cursor).into_iter().filter(|&(number, _)| number > 0).collect();
                prop_assert_eq!(live, model);
            }
        }
    }
}
