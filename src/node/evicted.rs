//! Eviction: which record is the next to make room for others, and what is remembered of those that did.
//!
//! `Table` calls [`Evicted::evict`] while it holds too much. Records go in the order of the feed, so what is
//! held is always an end of it. Only `Table` knows how much is too much.

use super::feed::Feed;
use super::index::Index;
use super::slots::Slots;
use crate::time::Timestamp;

/// For each so many bytes that a change brings, it may look at one entry of the feed for a record that makes
/// room. So no change takes long: one that meets many stale entries leaves some to the next. Until then memory
/// is above its limit, by less than the feed takes.
pub const BYTES_A_LOOK: usize = 8;

/// What was evicted: forgotten to make room for others, though it had not expired.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evicted {
    /// How many records.
    pub count: u64,
    /// All entries of the feed up to this number are stale, or were evicted.
    through: u64,
    /// The latest effective time of an evicted record. A neighbour's report about an unknown client is taken in
    /// only if it is later: see `Table::may_have_evicted`.
    pub until: Option<Timestamp>,
}

impl Evicted {
    /// Forgets the record that has not changed for longest, and says whether it has. It forgets none if only
    /// the latest is left, or if `looks` entries of the feed are too few to find one. A record with an
    /// effective time after `newest` is too far ahead to be remembered as evicted.
    pub fn evict(
        &mut self,
        slots: &mut Slots,
        index: &mut Index,
        feed: &mut Feed,
        newest: Timestamp,
        looks: &mut usize,
    ) -> bool {
        let mut through = self.through;
        let mut entries = feed.after(through);
        let oldest = loop {
            if *looks == 0 {
                break None;
            }
            *looks -= 1;
            match entries.next() {
                Some((number, slot)) if number < feed.end() => {
                    through = number;
                    if slots.number_at(slot) == number {
                        break Some(slot);
                    }
                }
                Some(_) | None => break None,
            }
        };
        drop(entries);
        self.through = through;
        if let Some(slot) = oldest {
            let effective = slots.record(slot).effective();
            if effective <= newest {
                self.until = self.until.max(Some(effective));
            }
            slots.forget(index, slot);
            self.count += 1;
        }
        feed.drop_through(through);
        oldest.is_some()
    }
}
