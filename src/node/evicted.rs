//! What was forgotten to make room for others: which record is next, and what is to be remembered of those.
//!
//! `Table` says when there is too much, and calls [`Evicted::evict`] until there is not. Records go in the order of
//! the feed, so what is held is always an end of it. How much is too much this room does not know.

use super::feed::Feed;
use super::index::Index;
use super::slots::Slots;
use crate::time::Timestamp;

/// For so many bytes that a change brings, one entry of the feed is looked at for a record that may make
/// room. So a change that has to pass many stale entries leaves some to the next, and none is long; what
/// the memory then is above the limit is less than the feed takes.
pub const BYTES_A_LOOK: usize = 8;

/// What was forgotten though it had not expired, to make room for others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evicted {
    /// How many records.
    pub count: u64,
    /// All numbers of the feed up to this one are stale, or were evicted.
    through: u64,
    /// No report with this effective time or an earlier one is taken in from a neighbour if its client is
    /// unknown: it may be one that was evicted. Else those whose tables have no room for each other's
    /// records would send them round in a ring for ever.
    pub until: Option<Timestamp>,
}

impl Evicted {
    /// Forgets the record that has not changed for longest, unless it is the latest, or so many looks at the
    /// feed do not find it. Says whether it has. What has an effective time after `newest` is too far ahead to be
    /// remembered as evicted.
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
