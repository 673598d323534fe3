//! Slots that records lie in, and which of them are free.
//!
//! `Table` owns them: it says which record is in which slot, by the index, and what is to be forgotten. `evicted`
//! forgets here too. A slot that is given back is used again before there is a new one; where memory is to go back
//! to the system, the last record moves to the free slot. What a record says, and which is newer, this room does
//! not know.

use super::feed::Feed;
use super::index::Index;
use super::protocol::is_erased;
use super::record::{RECORD_BYTES, Record, Source, Stored};
use crate::time::Timestamp;

/// Stands where a slot was given back of which the feed still has a stale entry.
static NOBODY: Record = Record::empty();

/// Records, each in its slot.
#[derive(Debug, Default)]
pub struct Slots {
    records: Vec<Record>,
    /// Slots of records that were forgotten, to be used again. The record of each says where it is in here.
    free: Vec<u32>,
    /// How many bytes are allocated for lines that do not lie in their records.
    long_bytes: usize,
    /// So many slots have been written to since memory was last given back: the system counts them as used.
    used: usize,
    /// How many records are tombstones.
    tombstones: usize,
    /// The latest time of a tombstone that is no longer there: forgotten, or superseded.
    erased_until: Option<Timestamp>,
}

impl Slots {
    /// How many records are held.
    #[inline]
    pub fn held(&self) -> usize {
        self.records.len() - self.free.len()
    }

    /// How many of them are tombstones.
    pub fn tombstones(&self) -> usize {
        self.tombstones
    }

    /// The latest time of a tombstone that was there, and is no longer.
    pub fn erased_until(&self) -> Option<Timestamp> {
        self.erased_until
    }

    /// How many bytes all slots take, but for lines that do not lie in their records.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.records.len() * RECORD_BYTES
    }

    /// How many bytes those lines take.
    #[inline]
    pub fn long_bytes(&self) -> usize {
        self.long_bytes
    }

    /// Makes room for so many records.
    pub fn reserve(&mut self, records: usize) {
        self.records.reserve(records);
    }

    /// All slots in their order, those included that are free.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.records.iter()
    }

    /// The record in a slot that there is.
    #[inline]
    pub fn record(&self, slot: u32) -> &Record {
        &self.records[slot as usize]
    }

    /// The record in a slot, if there is such a slot.
    #[inline]
    pub fn get(&self, slot: u32) -> Option<&Record> {
        self.records.get(slot as usize)
    }

    /// The record in a slot of which the feed tells.
    #[inline]
    pub fn record_or_nobody(&self, slot: u32) -> &Record {
        self.records.get(slot as usize).unwrap_or(&NOBODY)
    }

    /// The number of the record in a slot, 0 if there is none.
    #[inline]
    pub fn number_at(&self, slot: u32) -> u64 {
        self.get(slot).map_or(0, |record| record.number)
    }

    /// A slot that is free, a new one if there is none.
    pub fn free_slot(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.records.push(Record::empty());
            let last = self.records.len() - 1;
            self.used = self.used.max(self.records.len());
            u32::try_from(last).expect("memory ends long before 2^32 records")
        })
    }

    /// Writes a record to a slot, but for its number. Gives how many bytes were allocated for its line.
    #[inline]
    pub fn put(&mut self, slot: u32, stored: &Stored<'_>, source: Source) -> usize {
        let record = &mut self.records[slot as usize];
        self.long_bytes -= record.line.allocated_bytes();
        self.tombstones += usize::from(is_erased(stored.line));
        if record.is_tombstone() {
            self.tombstones -= 1;
            self.erased_until = self.erased_until.max(Some(record.effective()));
        }
        record.set_stored(stored, source);
        let allocated = record.line.allocated_bytes();
        self.long_bytes += allocated;
        allocated
    }

    /// Gives the record in a slot the number of its latest change.
    #[inline]
    pub fn set_number(&mut self, slot: u32, number: u64) {
        self.records[slot as usize].number = number;
    }

    /// Forgets the record in a slot.
    pub fn forget(&mut self, index: &mut Index, slot: u32) {
        let key = index.key(self.record(slot).client());
        index.remove(key, slot);
        self.release(slot);
    }

    /// Gives back what a record holds that is in no index, and lets its slot be used again.
    pub fn release(&mut self, slot: u32) {
        let record = &mut self.records[slot as usize];
        if record.is_tombstone() {
            self.tombstones -= 1;
            self.erased_until = self.erased_until.max(Some(record.effective()));
        }
        self.long_bytes -= record.line.allocated_bytes();
        record.clear(self.free.len());
        self.free.push(slot);
    }

    /// Gives the memory of a free slot back, if there is one: the last record moves there. `false` if there
    /// is none.
    pub fn give_back(&mut self, index: &mut Index, feed: &mut Feed) -> bool {
        let Some(&slot) = self.free.last() else {
            return false;
        };
        let last = self.records.len() - 1;
        let record = self.records.pop().expect("a free slot is one");
        if record.number == 0 {
            let place = record.effective_seconds as usize;
            self.free.swap_remove(place);
            if let Some(&moved) = self.free.get(place) {
                self.records[moved as usize].effective_seconds = place as i64;
            }
        } else {
            self.free.pop();
            let key = index.key(record.client());
            index.replace(key, last as u32, slot);
            feed.set_slot(record.number, slot);
            self.records[slot as usize] = record;
        }
        // Not each time, as it is a call to the system.
        let len = self.records.len();
        if len < self.used - self.used / 16 {
            self.records.shrink_to(len);
            self.used = len;
        }
        true
    }

    /// What always holds, at the price of a look at everything.
    pub fn check_invariants(&self) {
        let allocated = self
            .records
            .iter()
            .map(|record| record.line.allocated_bytes());
        let allocated: usize = allocated.sum();
        assert_eq!(allocated, self.long_bytes, "long lines are miscounted");
        for (place, &slot) in self.free.iter().enumerate() {
            let record = &self.records[slot as usize];
            let found = (record.number, record.effective_seconds);
            assert_eq!(found, (0, place as i64), "a free slot is not where it says");
        }
        let tombstones = self.records.iter().filter(|record| record.is_tombstone());
        assert_eq!(
            tombstones.count(),
            self.tombstones,
            "tombstones are miscounted"
        );
    }
}
