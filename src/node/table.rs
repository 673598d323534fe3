//! The latest location of every client, and the feed of what changed.
//!
//! `Node` owns it. A record is the finished `AT` line plus the few integers that order it, so a reply and a
//! flood are copies. An erased client has a tombstone in the place of its record, an `ERASED` line: it is in
//! the feed as any record, and earlier reports lose against it. An update costs one look-up in the index, one
//! write into a record and one entry in the feed. Nothing is ever seen in the order of the hash.
//!
//! Where records expire, no reader is shown one that has. Its memory is given back later, a slice of the feed
//! at a time ([`Table::sweep`]): a freed slot has number 0, so entries of the feed for it are stale like any
//! other.
//!
//! Where the memory has a limit ([`Table::limit`]), records at the beginning of the feed make room for those at
//! its end. So what is held is always an end of the feed.

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;

use std::cmp::Ordering;

use super::evicted::BYTES_A_LOOK;
use super::feed::Feed;
use super::index::Index;
use super::location::{Erasure, Location, Update};
use super::protocol::{is_erased, parse_update};
use super::record::{RECORD_BYTES, Record};
use super::slots::Slots;
use crate::time::Timestamp;

pub use super::evicted::Evicted;
pub use super::feed::{ENTRIES_MAX, SEGMENT_ENTRIES_MAX as SLICE_ENTRIES_MAX};
pub use super::index::{HashKeys, Key};
pub use super::record::{Change, Source, Stored};

/// What a record takes of the index and of the feed, about: 9 to 18 bytes and 8 to 18.
pub(super) const ENTRY_BYTES: usize = 32;

/// A table of fewer bytes is not worth having: the longest line would leave little room for others.
pub const TABLE_BYTES_MIN: usize = 1024 * 1024;

/// The most records that are prefetched at a time: enough to keep as many loads under way as a processor can,
/// and few enough that all are still in its caches when the last of them is used.
pub const PREFETCH_MAX: usize = 32;

/// How many reports were not taken in, though they are more recent than what is held.
#[derive(Clone, Copy, Debug, Default)]
pub struct TurnedAway {
    /// Of an unknown client, and no later than a record that was evicted.
    pub evicted: u64,
    /// Too far ahead to be true.
    pub too_far_ahead: u64,
}

/// One record for each client.
#[derive(Debug)]
pub struct Table {
    pub(super) slots: Slots,
    /// The most bytes that long lines, index and feed have taken so far, up to half of the limit.
    heap_most: usize,
    /// How many bytes the table may take.
    pub(super) limit: usize,
    /// The limit was once reached.
    pub(super) is_limited: bool,
    evicted: Evicted,
    turned_away: TurnedAway,
    pub(super) index: Index,
    pub(super) feed: Feed,
    /// Records whose effective time is before this one have expired.
    pub(super) oldest: Timestamp,
    /// Tombstones whose time is before this one have expired, also where reports never do.
    pub(super) oldest_erased: Timestamp,
    /// The latest effective time of what was forgotten, or not taken in, since it had expired.
    pub(super) lost: Timestamp,
    /// A record with a later effective time than this is too far ahead to be true. It is not taken in from a
    /// neighbour. If it is held already, it is not shown, and loses to any record that is not too far ahead.
    newest: Timestamp,
    /// The latest that this was since [`Table::take_doubted`] was last called.
    newest_before: Timestamp,
    /// The latest effective time of what was taken in.
    latest: Timestamp,
    /// The earliest effective time of what was refused as too far ahead since somebody asked, ...
    refused: Option<Timestamp>,
    /// ... and of what was held, was too far ahead, and gave way to what is not.
    gave_way: Option<Timestamp>,
    /// Records were loaded that the index does not know yet.
    pub(super) is_loading: bool,
}

/// The earlier of two times, if there are two.
fn earliest(known: Option<Timestamp>, time: Timestamp) -> Option<Timestamp> {
    Some(known.map_or(time, |known| known.min(time)))
}

impl Table {
    /// An empty table.
    pub fn new(keys: HashKeys) -> Table {
        Table {
            slots: Slots::default(),
            heap_most: 0,
            limit: usize::MAX,
            is_limited: false,
            evicted: Evicted::default(),
            turned_away: TurnedAway::default(),
            index: Index::new(keys),
            feed: Feed::default(),
            oldest: Timestamp::MIN,
            oldest_erased: Timestamp::MIN,
            lost: Timestamp::MIN,
            newest: Timestamp::MAX,
            newest_before: Timestamp::MAX,
            latest: Timestamp::MIN,
            refused: None,
            gave_way: None,
            is_loading: false,
        }
    }

    /// How many records are held, those included that have expired and were not swept yet.
    pub fn len(&self) -> usize {
        self.slots.held()
    }

    /// How many of them are locations, not tombstones.
    pub fn locations(&self) -> usize {
        self.len() - self.slots.tombstones()
    }

    /// How many of them are tombstones.
    pub fn tombstones(&self) -> usize {
        self.slots.tombstones()
    }

    /// Whether no record is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// From now on the table takes about so many bytes at most. Beyond that, the records that have not changed
    /// for longest make room, until only the latest is left.
    pub fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes;
        self.heap_most = self.heap_most.min(bytes / 2);
    }

    /// How many bytes the table may take.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many bytes the table takes, about, with those that the allocator keeps. Records are one allocation,
    /// of which the allocator gives back what is free. Of many small ones it gives back hardly anything.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.slots.bytes() + self.heap_bytes().max(self.heap_most)
    }

    /// How many of these are in use beside the records.
    #[inline]
    fn heap_bytes(&self) -> usize {
        self.len() * ENTRY_BYTES + self.slots.long_bytes()
    }

    /// Whether records have to make room. What is beside them may take half of the limit. Else long names,
    /// which come and go, would leave no memory to short ones.
    #[inline]
    pub(super) fn is_too_large(&self) -> bool {
        self.heap_bytes() > self.limit / 2 || self.bytes() > self.limit
    }

    /// What had to make room so far.
    pub fn evicted(&self) -> Evicted {
        self.evicted
    }

    /// What was not taken in so far.
    pub fn turned_away(&self) -> TurnedAway {
        self.turned_away
    }

    /// From now on, a record with an effective time before `oldest` has expired: it is neither shown nor taken
    /// in.
    pub fn expire_before(&mut self, oldest: Timestamp) {
        self.oldest = oldest;
    }

    /// From now on, a tombstone whose time is before `oldest` has expired, also where no report has.
    pub fn expire_tombstones_before(&mut self, oldest: Timestamp) {
        self.oldest_erased = oldest;
    }

    /// A tombstone whose time is before this one has expired, and where reports expire, they too.
    pub fn oldest_erased(&self) -> Timestamp {
        self.oldest_erased.max(self.oldest)
    }

    /// From now on, a record with an effective time after `newest` is too far ahead to be true.
    pub fn doubt_after(&mut self, newest: Timestamp) {
        self.newest = newest;
        self.newest_before = self.newest_before.max(newest);
        if self.evicted.until > Some(newest) {
            self.evicted.until = None; // it comes of a clock that was wrong, and would refuse all that is true
        }
    }

    /// A record with a later effective time than this is too far ahead to be true.
    pub fn newest(&self) -> Timestamp {
        self.newest
    }

    /// Says once whether a record is held that has come to be too far ahead: then neighbours are to be asked
    /// again for what lost against it. Nothing has lost against one that was too far ahead all the time. Looks at
    /// all records, but hardly ever: only if one was taken in that is later than `newest` is now.
    pub fn take_doubted(&mut self) -> bool {
        let newest_before = std::mem::replace(&mut self.newest_before, self.newest);
        if self.newest >= newest_before || self.latest <= self.newest {
            return false;
        }
        let mut held = self.slots.iter().filter(|record| record.number > 0);
        held.any(|record| {
            let effective = record.effective();
            effective > self.newest && effective <= newest_before
        })
    }

    /// The earliest effective time of what was refused as too far ahead since this was last called.
    pub fn take_refused(&mut self) -> Option<Timestamp> {
        self.refused.take()
    }

    /// The same of what was held, and gave way to a record that is not too far ahead.
    pub fn take_gave_way(&mut self) -> Option<Timestamp> {
        self.gave_way.take()
    }

    /// Whether a record with this effective time is shown.
    pub(super) fn shows(&self, effective: Timestamp) -> bool {
        effective >= self.oldest && effective <= self.newest
    }

    /// The latest effective time of what may have been forgotten, or not taken in, since it had expired.
    pub fn lost(&self) -> Timestamp {
        self.lost
    }

    /// Notes that nothing with an effective time after `lost` was forgotten or refused as expired, or that
    /// neighbours are asked for it again.
    pub fn set_lost(&mut self, lost: Timestamp) {
        self.lost = lost;
    }

    /// The number of the latest change.
    pub fn end(&self) -> u64 {
        self.feed.end()
    }

    /// Forgets everything, numbers included.
    pub fn clear(&mut self) {
        *self = Table {
            oldest: self.oldest,
            oldest_erased: self.oldest_erased,
            newest: self.newest,
            newest_before: self.newest_before,
            limit: self.limit,
            ..Table::new(self.index.keys())
        };
    }

    /// Lets what was loaded be found. Of each client what was loaded last stays.
    pub fn build_index(&mut self) {
        if !std::mem::take(&mut self.is_loading) {
            return;
        }
        let slots = &self.slots;
        let client = |slot: u32| slots.record(slot).client();
        let superseded = self.index.build(|a, b| client(a) == client(b));
        if superseded.is_empty() {
            return;
        }
        for slot in superseded {
            self.slots.release(slot);
        }
        self.sweep_all(); // more than half of the feed may be of them
    }

    /// Gives back the memory of all that has expired, at once.
    pub fn sweep_all(&mut self) {
        let mut cursor = 0;
        while let Some(reached) = self.sweep(cursor) {
            cursor = reached;
        }
    }

    /// Lets the feed go on after `number`, which no entry need have. `false`, and nothing is done,
    /// if it has gone beyond that, or can never come to it.
    pub fn advance(&mut self, number: u64) -> bool {
        self.feed.advance(number)
    }

    /// Where to look for `client`.
    pub fn key(&self, client: &[u8]) -> Key {
        self.index.key(client)
    }

    /// Prefetches what a look-up of each of these clients will need, of the first [`PREFETCH_MAX`] at most. It
    /// changes only how long that takes.
    ///
    /// In a table of millions each step of a look-up - the index, then the record - waits for memory. Here each
    /// step is taken for all clients before the next step, in loads that do not depend on each other, so that
    /// the processor waits for many at a time.
    pub fn prefetch<'k>(&self, keys: impl IntoIterator<Item = &'k mut Key>) {
        let mut near: [Option<&mut Key>; PREFETCH_MAX] = [const { None }; PREFETCH_MAX];
        let mut bits = 0;
        for (near, key) in near.iter_mut().zip(keys) {
            bits ^= u64::from(self.index.prefetch(*key));
            *near = Some(key);
        }
        for key in near.iter_mut().flatten() {
            key.candidate = self.index.candidate(**key);
        }
        for key in near.iter().flatten() {
            if let Some(record) = self.slots.get(key.candidate) {
                bits ^= record.prefetch();
            }
        }
        std::hint::black_box(bits); // otherwise nothing of this need be done
    }

    /// What is held of `client`: its latest location, or that it is erased.
    pub fn update(&self, client: &[u8]) -> Option<Update<'_>> {
        let slot = self.find(self.key(client), client)?;
        let record = self.slots.record(slot);
        self.shows(record.effective())
            .then(|| parse_update(record.line.as_bytes()))?
    }

    /// The latest location of `client`.
    pub fn location(&self, client: &[u8]) -> Option<Location<'_>> {
        self.location_at(self.key(client), client)
    }

    /// The same, where the client's key is known.
    pub fn location_at(&self, key: Key, client: &[u8]) -> Option<Location<'_>> {
        let slot = self.find(key, client)?;
        let record = self.slots.record(slot);
        self.shows(record.effective()).then(|| record.location())?
    }

    /// The effective time of the report that is held of `client`, unless it has expired. A report that is too
    /// far ahead to be shown counts.
    pub fn reported(&self, client: &[u8]) -> Option<Timestamp> {
        let slot = self.find(self.key(client), client)?;
        let record = self.slots.record(slot);
        let is_there = record.effective() >= self.oldest && !record.is_tombstone();
        is_there.then(|| record.effective())
    }

    /// Takes a report in if it is more recent than what is held, has not expired, and is not too far ahead; one
    /// of our own clients may be too far ahead. Gives the number of the change; `None` if it is none. `key` is
    /// that of the client.
    pub fn accept(&mut self, key: Key, location: &Location<'_>, source: Source) -> Option<u64> {
        debug_assert!(
            key.is_same(self.key(location.client)),
            "another client's key"
        );
        let stored = Stored::of(location, location.effective());
        let recency = |held: &Record| held.recency_of(location, stored.effective);
        self.take_in(key, location.client, &stored, self.oldest, source, recency)
    }

    /// Takes an erasure in by the same rules, as the tombstone of its client.
    pub fn erase(&mut self, key: Key, erasure: &Erasure<'_>, source: Source) -> Option<u64> {
        let stored = Stored::of_erasure(erasure);
        let (client, oldest) = (erasure.client, self.oldest_erased());
        let recency = |held: &Record| held.recency_of_erasure(erasure);
        self.take_in(key, client, &stored, oldest, source, recency)
    }

    /// The same of any record. `recency` says how it stands to the one that is held.
    #[inline(always)]
    fn take_in(
        &mut self,
        key: Key,
        client: &[u8],
        stored: &Stored<'_>,
        oldest: Timestamp,
        source: Source,
        recency: impl Fn(&Record) -> Ordering,
    ) -> Option<u64> {
        let effective = stored.effective;
        if effective < oldest {
            self.lost = self.lost.max(effective);
            return None;
        }
        if effective > self.newest && source != Source::Own {
            self.refused = earliest(self.refused, effective);
            self.turned_away.too_far_ahead += 1;
            return None;
        }
        let slot = match self.find(key, client) {
            Some(slot) => {
                let held = self.slots.record(slot);
                if recency(held) != Ordering::Greater {
                    let held = held.effective();
                    (held > self.newest).then_some(())?;
                    self.gave_way = earliest(self.gave_way, held);
                }
                slot
            }
            None => {
                if source != Source::Own && self.may_have_evicted(stored) {
                    self.turned_away.evicted += 1;
                    return None;
                }
                self.new_slot(key)
            }
        };
        Some(self.put(slot, stored, source))
    }

    /// Whether this record of an unknown client may have been evicted here: none is taken in twice, or servers
    /// without room would send it round in a ring for ever.
    ///
    /// A tombstone is to reach those behind this server though its client was evicted here. So for tombstones no
    /// report counts that was evicted, but a tombstone that was, or that a later report has superseded: such a
    /// report may be evicted next, and would then come back with the tombstone.
    fn may_have_evicted(&self, stored: &Stored<'_>) -> bool {
        let effective = Some(stored.effective);
        effective <= self.evicted.until
            && (effective <= self.slots.erased_until() || !is_erased(stored.line))
    }

    /// Writes a record to its slot, and gives the number of the change.
    #[inline(always)]
    pub(super) fn put(&mut self, slot: u32, stored: &Stored<'_>, source: Source) -> u64 {
        self.latest = self.latest.max(stored.effective);
        let allocated = self.slots.put(slot, stored, source);
        let number = self.append(slot);
        if self.is_too_large() {
            self.make_room(RECORD_BYTES + ENTRY_BYTES + allocated);
        }
        self.heap_most = self.heap_most.max(self.heap_bytes().min(self.limit / 2));
        number
    }

    /// Lets records make room for the latest change, which has brought so many bytes.
    #[cold]
    pub(super) fn make_room(&mut self, bytes: usize) {
        self.is_limited = true;
        self.build_index(); // while a snapshot is loaded: once
        let mut looks = bytes / BYTES_A_LOOK;
        while self.is_too_large() && (self.give_slot_back() || self.evict(&mut looks)) {}
    }

    /// Forgets the record that has not changed for longest: see [`Evicted::evict`].
    fn evict(&mut self, looks: &mut usize) -> bool {
        let has = self.evicted.evict(
            &mut self.slots,
            &mut self.index,
            &mut self.feed,
            self.newest,
            looks,
        );
        // The feed is to shrink as the table does.
        if has && Feed::is_sweep_due(self.evicted.count) {
            self.sweep_feed();
        }
        has
    }

    /// Gives the memory of a free slot back: see [`Slots::give_back`].
    fn give_slot_back(&mut self) -> bool {
        self.slots.give_back(&mut self.index, &mut self.feed)
    }

    /// A slot for the client of this key.
    #[cold]
    pub(super) fn new_slot(&mut self, key: Key) -> u32 {
        let slot = self.slots.free_slot();
        self.index.insert(key, slot);
        slot
    }

    /// Appends to the feed that the record in `slot` has changed, and gives the change's number.
    #[inline]
    pub(super) fn append(&mut self, slot: u32) -> u64 {
        let number = self.feed.append(slot);
        self.slots.set_number(slot, number);
        if Feed::is_sweep_due(number) {
            self.sweep_feed();
        }
        number
    }

    fn sweep_feed(&mut self) {
        let held = self.len();
        let slots = &self.slots;
        self.feed.sweep(held, |slot| slots.number_at(slot));
    }

    /// What always holds, at the price of a look at everything.
    pub fn check_invariants(&self) {
        assert!(!self.is_loading, "what was loaded is not found");
        let latest = |slot: u32| self.slots.number_at(slot);
        self.feed.check_invariants(self.len(), latest);
        self.slots.check_invariants();
        let indexed = self.index.len();
        assert_eq!(indexed, self.len(), "a record is not in the index once");
        for (slot, record) in self.slots.iter().enumerate() {
            if record.number == 0 {
                continue; // free
            }
            let key = self.key(record.client());
            let found = self.find(key, record.client());
            assert_eq!(
                found,
                Some(slot as u32),
                "a record is not found by its name"
            );
        }
    }

    #[inline(always)]
    pub(super) fn find(&self, key: Key, client: &[u8]) -> Option<u32> {
        debug_assert!(!self.is_loading, "what was loaded is not found");
        let candidate = self.slots.get(key.candidate);
        if candidate.is_some_and(|record| record.client() == client) {
            return Some(key.candidate);
        }
        let is_right = |slot: u32| self.slots.record(slot).client() == client;
        self.index.find(key, is_right)
    }

    /// How many slices a sweep takes.
    pub fn sweep_slices(&self) -> usize {
        self.feed.slices()
    }

    /// Gives back the memory of what has expired in a slice of the feed after `cursor`. Gives the
    /// cursor of the next slice, `None` at the end.
    pub fn sweep(&mut self, cursor: u64) -> Option<u64> {
        let (slots, index, lost) = (&mut self.slots, &mut self.index, &mut self.lost);
        let (oldest, oldest_erased) = (self.oldest, self.oldest_erased);
        self.feed.retain_slice(cursor, |number, slot| {
            let Some(record) = slots.get(slot) else {
                return false;
            };
            if record.number == number && record.has_expired(oldest, oldest_erased) {
                *lost = record.effective().max(*lost);
                slots.forget(index, slot);
            }
            slots.number_at(slot) == number
        })
    }
}
