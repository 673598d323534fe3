//! Reading the changefeed from any number on, with the records that are there now.
//!
//! Links, followers and snapshots read through it. Each keeps the number that it has come to; nothing is kept
//! for it here. Only a snapshot gets what has expired, and only a snapshot and links what is too far ahead. How
//! a record came into the table this room does not know.

use super::feed::ENTRIES_MAX;
use super::record::{Change, Record, Stored};
use super::table::{PREFETCH_MAX, Table};
use crate::time::Timestamp;

impl Table {
    /// The records that changed after `cursor`, the oldest change first, each once. What has expired or is too
    /// far ahead is left out.
    pub fn changes_after(&self, cursor: u64) -> impl Iterator<Item = Change<'_>> {
        self.walk(cursor).filter_map(|(number, _, record)| {
            let is_shown = record.number == number && self.shows(record.effective());
            is_shown.then(|| record.change())
        })
    }

    /// The numbers of the feed after `cursor`, each with the record that changed then, unless it has
    /// changed again since: for a snapshot, which keeps all that is held, expired or not.
    pub fn stored_after(&self, cursor: u64) -> impl Iterator<Item = (u64, Option<Stored<'_>>)> {
        self.walk(cursor).map(|(number, _, record)| {
            let is_latest = record.number == number;
            (number, is_latest.then(|| record.stored()))
        })
    }

    /// Hands `take` what changed after `cursor`, in that order, until it says `false`. Gives the number up to
    /// which nothing need be looked at again. What is too far ahead is not left out: perhaps our clock is wrong,
    /// and not the neighbour's that is told.
    ///
    /// A record that has expired is passed over, and forgotten at once. Else, if a clock were set back, other
    /// neighbours would be told what one neighbour was not. No call looks at more than [`ENTRIES_MAX`] entries.
    pub fn take_after(&mut self, cursor: u64, take: impl FnMut(Change<'_>) -> bool) -> u64 {
        self.take_until(Timestamp::MAX, cursor, take)
    }

    /// The same of what is shown to clients: what is too far ahead is passed over.
    pub fn take_shown_after(&mut self, cursor: u64, take: impl FnMut(Change<'_>) -> bool) -> u64 {
        self.take_until(self.newest(), cursor, take)
    }

    fn take_until(
        &mut self,
        newest: Timestamp,
        cursor: u64,
        mut take: impl FnMut(Change<'_>) -> bool,
    ) -> u64 {
        let (mut reached, mut expired) = (cursor, Vec::new());
        let mut ended = true;
        for (entries, (number, slot, record)) in self.walk(cursor).enumerate() {
            if entries == ENTRIES_MAX {
                ended = false;
                break;
            }
            if record.number != number || record.effective() > newest {
                // It has changed again since, or is not for these eyes.
            } else if record.has_expired(self.oldest, self.oldest_erased) {
                expired.push(slot);
            } else if !take(record.change()) {
                ended = false;
                break;
            }
            reached = number;
        }
        self.forget_expired(expired);
        if ended { self.feed.end() } else { reached }
    }

    fn forget_expired(&mut self, expired: Vec<u32>) {
        for slot in expired {
            let effective = self.slots.record(slot).effective();
            self.lost = self.lost.max(effective);
            self.slots.forget(&mut self.index, slot);
        }
    }

    /// The entries of the feed after `cursor`, each with its slot and the record that is there now. Records may
    /// be anywhere in memory, so some are prefetched at a time.
    fn walk(&self, cursor: u64) -> impl Iterator<Item = (u64, u32, &Record)> {
        let mut entries = self.feed.after(cursor);
        let mut near = [(0, 0); PREFETCH_MAX];
        let (mut at, mut end) = (0, 0);
        std::iter::from_fn(move || {
            if at == end {
                (at, end) = (0, 0);
                for (place, entry) in near.iter_mut().zip(&mut entries) {
                    *place = entry;
                    end += 1;
                }
                let prefetched = near[..end]
                    .iter()
                    .map(|&(_, slot)| self.slots.record_or_nobody(slot).prefetch());
                std::hint::black_box(prefetched.fold(0, |bits, more| bits ^ more));
            }
            let &(number, slot) = near[..end].get(at)?;
            at += 1;
            Some((number, slot, self.slots.record_or_nobody(slot)))
        })
    }
}
