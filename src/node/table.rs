//! The latest location of every client, and the feed of what changed.
//!
//! `Node` owns it. A record is the finished `AT` line plus the few integers that order it, so a
//! reply and a flood are copies. In the place of the record of a client that was erased stands its
//! tombstone, an `ERASED` line: so it follows the feed as any record, and what was reported before loses. An update costs one look-up in the index, one write into a
//! record and one entry in the feed. Nothing is ever seen in the order of the hash.
//!
//! Where records are to be forgotten once they are too old, whoever reads is not shown what has
//! expired. The memory is given back later, a slice of the feed at a time ([`Table::sweep`]): a
//! freed slot has number 0, so what the feed still says of it is stale like any other.
//!
//! Where the memory has a limit ([`Table::limit`]), the records at the beginning of the feed make room
//! for those at its end. So what is held is always an end of the feed.

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;

use std::cmp::Ordering;

use super::feed::Feed;
use super::index::Index;
use super::location::{Erasure, Location, Update};
use super::protocol::{is_erased, parse_update};
use super::record::{RECORD_BYTES, Record};
use crate::time::Timestamp;

pub use super::feed::SEGMENT_ENTRIES_MAX as SLICE_ENTRIES_MAX;
pub use super::index::{HashKeys, Key};
pub use super::record::{Change, Source, Stored};

/// What one that is held takes of index and feed, about: 9 to 18 bytes and 8 to 18.
const ENTRY_BYTES: usize = 32;

/// A table of fewer bytes is not worth having: the longest line would leave little room for others.
pub const TABLE_BYTES_MIN: usize = 1024 * 1024;

/// For so many bytes that a change brings, one entry of the feed is looked at for a record that may make
/// room. So a change that has to pass many stale entries leaves some to the next, and none is long; what
/// the memory then is above the limit is less than the feed takes.
const BYTES_A_LOOK: usize = 8;

/// The most records that are brought near at a time: enough to keep as many loads under way as a
/// processor can, and few enough that all are still near when the last of them is asked for.
pub const PREFETCH_MAX: usize = 32;

/// The most entries of the feed that one look passes, those included that have changed again since, or
/// expired.
///
/// Where all have changed again it takes 2 ms. What has expired is forgotten on the way: where that is
/// all of them it takes 50 ms, but only once, since whoever looks next, another link or the sweep,
/// finds nothing left of it. So in the long run a turn forgets no more than comes in one, and that
/// costs less than to take it in.
///
/// Who looks once a turn gets ahead, as fewer come in a turn: one reads 2 MiB, or 256 bytes of each
/// connection that is ready, and no report is shorter than 18 bytes, nor one that has not expired
/// shorter than 27. So 27,000 connections would have to be at it at once.
pub const ENTRIES_MAX: usize = 256 * 1024;

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

/// How many reports were not taken in, though they are more recent than what is held.
#[derive(Clone, Copy, Debug, Default)]
pub struct TurnedAway {
    /// Of an unknown client, and no later than what had to make room.
    pub evicted: u64,
    /// Too far ahead to be true.
    pub too_far_ahead: u64,
}

/// Stands where a slot was given back of which the feed still has a stale entry.
static NOBODY: Record = Record::empty();

/// One record for each client.
#[derive(Debug)]
pub struct Table {
    records: Vec<Record>,
    /// Slots of records that were forgotten, to be used again. The record of each says where it is in here.
    free: Vec<u32>,
    /// How many bytes are allocated for lines that do not lie in their records.
    long_bytes: usize,
    /// The most bytes that long lines, index and feed have taken so far, up to half of the limit.
    heap_most: usize,
    /// How many bytes the table may take.
    limit: usize,
    /// The limit was once reached.
    is_limited: bool,
    /// So many slots have been written to since memory was last given back: the system counts them.
    slots_used: usize,
    evicted: Evicted,
    turned_away: TurnedAway,
    index: Index,
    feed: Feed,
    /// Records whose effective time is before this one have expired.
    oldest: Timestamp,
    /// Tombstones whose time is before this one have expired, also where records never do.
    oldest_erased: Timestamp,
    /// How many records are tombstones.
    tombstones: usize,
    /// The latest effective time of what was given up or not taken in, since it had expired.
    lost: Timestamp,
    /// What has an effective time after this one is too far ahead to be true: it is not taken in from a
    /// neighbour, and where it is held it is not shown, and loses to what is not too far ahead.
    newest: Timestamp,
    /// The latest that this was since it was last asked what is too far ahead by now.
    newest_before: Timestamp,
    /// The latest effective time of what was taken in.
    latest: Timestamp,
    /// The earliest effective time of what was refused since somebody asked, and of what was held and had
    /// to give way to what is not so far ahead.
    refused: Option<Timestamp>,
    gave_way: Option<Timestamp>,
    /// Records were loaded that the index does not know yet.
    is_loading: bool,
}

/// The earlier of two times, if there are two.
fn earliest(known: Option<Timestamp>, time: Timestamp) -> Option<Timestamp> {
    Some(known.map_or(time, |known| known.min(time)))
}

impl Table {
    /// An empty table.
    pub fn new(keys: HashKeys) -> Table {
        Table {
            records: Vec::new(),
            free: Vec::new(),
            long_bytes: 0,
            heap_most: 0,
            limit: usize::MAX,
            is_limited: false,
            slots_used: 0,
            evicted: Evicted::default(),
            turned_away: TurnedAway::default(),
            index: Index::new(keys),
            feed: Feed::default(),
            oldest: Timestamp::MIN,
            oldest_erased: Timestamp::MIN,
            tombstones: 0,
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
        self.records.len() - self.free.len()
    }

    /// How many of them are locations, not tombstones.
    pub fn locations(&self) -> usize {
        self.len() - self.tombstones
    }

    /// How many of them are tombstones.
    pub fn tombstones(&self) -> usize {
        self.tombstones
    }

    /// Whether no record is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// From now on the table takes about so many bytes at most. Where it would take more, the records make
    /// room that have not changed for longest, until the latest is the only one.
    pub fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes;
        self.heap_most = self.heap_most.min(bytes / 2);
    }

    /// How many bytes the table may take.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many bytes it takes, about, those included that the allocator keeps: of records it gives back what
    /// is free, since they are one allocation, and of many small ones hardly anything.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.records.len() * RECORD_BYTES + self.heap_bytes().max(self.heap_most)
    }

    /// Of these what is in use beside the records.
    #[inline]
    fn heap_bytes(&self) -> usize {
        self.len() * ENTRY_BYTES + self.long_bytes
    }

    /// Whether records have to make room. What is beside them may take half of the limit, or long names, which
    /// come and go, would leave no memory to short ones.
    #[inline]
    fn is_too_large(&self) -> bool {
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

    /// From now on, what has an effective time before `oldest` is neither shown nor taken in.
    pub fn expire_before(&mut self, oldest: Timestamp) {
        self.oldest = oldest;
    }

    /// From now on, a tombstone whose time is before `oldest` has expired, also where no report has.
    pub fn expire_tombstones_before(&mut self, oldest: Timestamp) {
        self.oldest_erased = oldest;
    }

    /// A tombstone whose time is before this one has expired.
    pub fn oldest_erased(&self) -> Timestamp {
        self.oldest_erased.max(self.oldest)
    }

    /// What has an effective time before this one has expired.
    pub fn oldest(&self) -> Timestamp {
        self.oldest
    }

    /// From now on, what has an effective time after `newest` is too far ahead to be true.
    pub fn doubt_after(&mut self, newest: Timestamp) {
        self.newest = newest;
        self.newest_before = self.newest_before.max(newest);
        if self.evicted.until > Some(newest) {
            self.evicted.until = None; // by a clock that was wrong: it would refuse all that is true
        }
    }

    /// What has an effective time after this one is too far ahead to be true.
    pub fn newest(&self) -> Timestamp {
        self.newest
    }

    /// Says once whether something is held that is too far ahead by now: then what lost against it is to
    /// be asked for again. All is looked at, but hardly ever: if something was taken in that is.
    pub fn take_doubted(&mut self) -> bool {
        let newest_before = std::mem::replace(&mut self.newest_before, self.newest);
        if self.newest >= newest_before || self.latest <= self.newest {
            return false;
        }
        let mut held = self.records.iter().filter(|record| record.number > 0);
        held.any(|record| record.effective() > self.newest)
    }

    /// The earliest effective time of what was refused as too far ahead since this was last asked.
    pub fn take_refused(&mut self) -> Option<Timestamp> {
        self.refused.take()
    }

    /// The same of what was held, and gave way to what is not so far ahead.
    pub fn take_gave_way(&mut self) -> Option<Timestamp> {
        self.gave_way.take()
    }

    /// Whether a record with this effective time is shown.
    fn shows(&self, effective: Timestamp) -> bool {
        effective >= self.oldest && effective <= self.newest
    }

    /// The latest effective time of what may have been given up or not taken in, since it had expired.
    pub fn lost(&self) -> Timestamp {
        self.lost
    }

    /// Notes that what has an effective time after `lost` has been neither given up nor refused, or has
    /// been asked for again.
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

    /// Makes room for so many records.
    pub fn expect(&mut self, records: usize) {
        let records = records.min(self.limit / (RECORD_BYTES + ENTRY_BYTES));
        self.records.reserve(records);
        self.index.reserve(records);
    }

    /// Takes in what a snapshot kept, with its number, unless it has expired. `false`, and nothing is done,
    /// if the numbers do not rise, or the line does not reach to the end of the client's name.
    ///
    /// It is not looked for: in a snapshot almost all records are of different clients, and of millions
    /// each look-up is memory to wait for. Here records are only written one after the other. Before
    /// anything is looked for, [`Table::build_index`] must be called.
    pub fn load(&mut self, stored: &Stored<'_>) -> bool {
        let Some(client) = stored.client() else {
            return false;
        };
        let before = stored.number.checked_sub(1);
        if !before.is_some_and(|before| self.feed.advance(before)) {
            return false;
        }
        // A tombstone is taken in though it has expired: what it erased may stand before it.
        let is_tombstone = is_erased(stored.line);
        if stored.effective < self.oldest && !is_tombstone {
            return self.feed.advance(stored.number);
        }
        let key = self.key(client);
        if self.is_limited {
            let slot = self.find(key, client).unwrap_or_else(|| self.new_slot(key));
            self.put(slot, stored, Source::Own);
            return true;
        }
        self.is_loading = true;
        let slot = self.free_slot();
        self.index.load(key, slot);
        self.put(slot, stored, Source::Own);
        true
    }

    /// Lets what was loaded be found. Of each client what was loaded last stays.
    pub fn build_index(&mut self) {
        if !std::mem::take(&mut self.is_loading) {
            return;
        }
        let records = &self.records;
        let client = |slot: u32| records[slot as usize].client();
        let superseded = self.index.build(|a, b| client(a) == client(b));
        if superseded.is_empty() {
            return;
        }
        for slot in superseded {
            self.tombstones -= usize::from(self.records[slot as usize].is_tombstone());
            release(
                &mut self.records,
                &mut self.free,
                &mut self.long_bytes,
                slot,
            );
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

    /// Takes in a change that a journal recorded, as the next of the feed. It was decided when it was
    /// written that it is one, so nothing is decided again: only what has expired is left out, and its
    /// number is used up. But a tombstone is not left out: what it erased was taken in before it.
    pub fn replay(&mut self, key: Key, update: &Update<'_>) {
        let stored = match update {
            Update::Report(location) => Stored::of(location, location.effective()),
            Update::Erasure(erasure) => Stored::of_erasure(erasure),
        };
        if stored.effective < self.oldest && !is_erased(stored.line) {
            let next = self.feed.end() + 1;
            self.feed.advance(next);
            return;
        }
        let found = self.find(key, update.client());
        let slot = found.unwrap_or_else(|| self.new_slot(key));
        self.put(slot, &stored, Source::Own);
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

    /// Brings near what a look-up of each of these clients will need, of the first
    /// [`PREFETCH_MAX`] at most. Only how long that takes depends on it.
    ///
    /// In a table of millions each step of a look-up - the index, then the record - waits for memory.
    /// Here each step is taken for all of them before the next, in loads that do not depend on each
    /// other, so that the processor waits for many at a time.
    pub fn prefetch<'k>(&self, keys: impl IntoIterator<Item = &'k mut Key>) {
        let mut near: [Option<&mut Key>; PREFETCH_MAX] = [const { None }; PREFETCH_MAX];
        let mut bits = 0;
        for (near, key) in near.iter_mut().zip(keys) {
            bits ^= u64::from(self.index.touch(*key));
            *near = Some(key);
        }
        for key in near.iter_mut().flatten() {
            key.likely = self.index.likely(**key);
        }
        for key in near.iter().flatten() {
            if let Some(record) = self.records.get(key.likely as usize) {
                bits ^= record.touch();
            }
        }
        std::hint::black_box(bits); // otherwise nothing of this need be done
    }

    /// What is held of `client`: its latest location, or that it is erased.
    pub fn update(&self, client: &[u8]) -> Option<Update<'_>> {
        let slot = self.find(self.key(client), client)?;
        let record = &self.records[slot as usize];
        self.shows(record.effective())
            .then(|| parse_update(record.line.as_bytes()))?
    }

    /// The latest location of `client`.
    pub fn location(&self, client: &[u8]) -> Option<Location<'_>> {
        self.location_at(self.key(client), client)
    }

    /// The same for who knows where to look.
    pub fn location_at(&self, key: Key, client: &[u8]) -> Option<Location<'_>> {
        let slot = self.find(key, client)?;
        let record = &self.records[slot as usize];
        self.shows(record.effective()).then(|| record.location())?
    }

    /// The effective time of the report that is held of `client`, be it too far ahead to be shown, unless it
    /// has expired.
    pub fn reported(&self, client: &[u8]) -> Option<Timestamp> {
        let slot = self.find(self.key(client), client)?;
        let record = &self.records[slot as usize];
        let is_there = record.effective() >= self.oldest && !record.is_tombstone();
        is_there.then(|| record.effective())
    }

    /// Takes a report in if it is more recent than what is held, has not expired, and is not too far
    /// ahead, unless that is our own. Gives the number of the change; `None` if it is none. `key` is that of the client.
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
                let held = &self.records[slot as usize];
                if recency(held) != Ordering::Greater {
                    let held = held.effective();
                    (held > self.newest).then_some(())?;
                    self.gave_way = earliest(self.gave_way, held);
                }
                slot
            }
            None => {
                if source != Source::Own && Some(effective) <= self.evicted.until {
                    self.turned_away.evicted += 1;
                    return None;
                }
                self.new_slot(key)
            }
        };
        Some(self.put(slot, stored, source))
    }

    /// Lets records make room, if any have to, whatever time that takes: at a start.
    pub fn settle(&mut self) {
        if self.is_too_large() {
            self.make_room(usize::MAX);
        }
    }

    /// Notes that a report was read once more of which nobody knows when it came: of the client's it is the
    /// latest to make room, if it is what is held.
    pub fn read_again(&mut self, key: Key, update: &Update<'_>) {
        if let Some(slot) = self.find(key, update.client())
            && self.records[slot as usize].line.as_bytes() == update.line()
        {
            self.append(slot);
        }
    }

    /// Writes a record to its slot, and gives the number of the change.
    #[inline]
    fn put(&mut self, slot: u32, stored: &Stored<'_>, source: Source) -> u64 {
        self.latest = self.latest.max(stored.effective);
        let record = &mut self.records[slot as usize];
        self.long_bytes -= record.line.allocated_bytes();
        self.tombstones += usize::from(is_erased(stored.line));
        self.tombstones -= usize::from(record.is_tombstone());
        record.set_stored(stored, source);
        let allocated = record.line.allocated_bytes();
        self.long_bytes += allocated;
        let number = self.append(slot);
        if self.is_too_large() {
            self.make_room(RECORD_BYTES + ENTRY_BYTES + allocated);
        }
        self.heap_most = self.heap_most.max(self.heap_bytes().min(self.limit / 2));
        number
    }

    /// Lets records make room for the latest change, which has brought so many bytes.
    #[cold]
    fn make_room(&mut self, bytes: usize) {
        self.is_limited = true;
        self.build_index(); // while a snapshot is loaded: once
        let mut looks = bytes / BYTES_A_LOOK;
        while self.is_too_large() && (self.give_slot_back() || self.evict(&mut looks)) {}
    }

    /// Forgets the record that has not changed for longest, unless it is the latest, or so many looks at the
    /// feed do not find it. Says whether it has.
    fn evict(&mut self, looks: &mut usize) -> bool {
        let mut through = self.evicted.through;
        let mut entries = self.feed.after(through);
        let oldest = loop {
            if *looks == 0 {
                break None;
            }
            *looks -= 1;
            match entries.next() {
                Some((number, slot)) if number < self.feed.end() => {
                    through = number;
                    if self.number_at(slot) == number {
                        break Some(slot);
                    }
                }
                Some(_) | None => break None,
            }
        };
        drop(entries);
        self.evicted.through = through;
        if let Some(slot) = oldest {
            let effective = self.records[slot as usize].effective();
            if effective <= self.newest {
                self.evicted.until = self.evicted.until.max(Some(effective));
            }
            self.forget(slot);
            self.evicted.count += 1;
        }
        self.feed.drop_through(through);
        // The feed is to shrink as the table does.
        if oldest.is_some() && Feed::is_sweep_due(self.evicted.count) {
            self.sweep_feed();
        }
        oldest.is_some()
    }

    /// Gives the memory of a free slot back, if there is one: the last record moves there. `false` if there
    /// is none.
    fn give_slot_back(&mut self) -> bool {
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
            let key = self.index.key(record.client());
            self.index.replace(key, last as u32, slot);
            self.feed.set_slot(record.number, slot);
            self.records[slot as usize] = record;
        }
        // Not each time, as it is a call to the system.
        let len = self.records.len();
        if len < self.slots_used - self.slots_used / 16 {
            self.records.shrink_to(len);
            self.slots_used = len;
        }
        true
    }

    /// The number of the record in a slot, 0 if there is none.
    fn number_at(&self, slot: u32) -> u64 {
        number_at(&self.records, slot)
    }

    fn forget(&mut self, slot: u32) {
        self.tombstones -= usize::from(self.records[slot as usize].is_tombstone());
        forget(
            &mut self.records,
            &mut self.index,
            &mut self.free,
            &mut self.long_bytes,
            slot,
        );
    }

    /// A slot for the client of this key.
    #[cold]
    fn new_slot(&mut self, key: Key) -> u32 {
        let slot = self.free_slot();
        self.index.insert(key, slot);
        slot
    }

    /// Appends to the feed that the record in `slot` has changed, and gives the change's number.
    #[inline]
    fn append(&mut self, slot: u32) -> u64 {
        let number = self.feed.append(slot);
        self.records[slot as usize].number = number;
        if Feed::is_sweep_due(number) {
            self.sweep_feed();
        }
        number
    }

    fn sweep_feed(&mut self) {
        let held = self.len();
        let records = &self.records;
        self.feed.sweep(held, |slot| number_at(records, slot));
    }

    /// What always holds, at the price of a look at everything.
    pub fn check_invariants(&self) {
        assert!(!self.is_loading, "what was loaded is not found");
        let latest = |slot: u32| self.number_at(slot);
        self.feed.check_invariants(self.len(), latest);
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
        let indexed = self.index.len();
        assert_eq!(indexed, self.len(), "a record is not in the index once");
        let tombstones = self.records.iter().filter(|record| record.is_tombstone());
        assert_eq!(
            tombstones.count(),
            self.tombstones,
            "tombstones are miscounted"
        );
        for (slot, record) in self.records.iter().enumerate() {
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
    fn find(&self, key: Key, client: &[u8]) -> Option<u32> {
        debug_assert!(!self.is_loading, "what was loaded is not found");
        let likely = self.records.get(key.likely as usize);
        if likely.is_some_and(|record| record.client() == client) {
            return Some(key.likely);
        }
        let is_right = |slot: u32| self.records[slot as usize].client() == client;
        self.index.find(key, is_right)
    }

    fn free_slot(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.records.push(Record::empty());
            let last = self.records.len() - 1;
            self.slots_used = self.slots_used.max(self.records.len());
            u32::try_from(last).expect("memory ends long before 2^32 records")
        })
    }

    /// The entries of the feed after `cursor`, each with its slot and the record that is there now:
    /// of records anywhere in memory some are always brought near ahead.
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
                let touched = near[..end]
                    .iter()
                    .map(|&(_, slot)| self.record_at(slot).touch());
                std::hint::black_box(touched.fold(0, |bits, more| bits ^ more));
            }
            let &(number, slot) = near[..end].get(at)?;
            at += 1;
            Some((number, slot, self.record_at(slot)))
        })
    }

    /// The record in a slot of which the feed tells.
    fn record_at(&self, slot: u32) -> &Record {
        self.records.get(slot as usize).unwrap_or(&NOBODY)
    }

    /// What changed after `cursor`, oldest change first, each record once, if it is shown: has not
    /// expired, nor is too far ahead.
    pub fn changes_after(&self, cursor: u64) -> impl Iterator<Item = Change<'_>> {
        self.entries_after(cursor).filter_map(|(_, change)| change)
    }

    /// The numbers of the feed after `cursor`, each with what changed then, unless that has changed
    /// again since or has expired: for who must not pass over too many of those at once.
    pub fn entries_after(&self, cursor: u64) -> impl Iterator<Item = (u64, Option<Change<'_>>)> {
        self.walk(cursor).map(|(number, _, record)| {
            let is_shown = record.number == number && self.shows(record.effective());
            (number, is_shown.then(|| record.change()))
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

    /// Gives `take` what changed after `cursor`, in that order, until it says that it wants no
    /// more. Gives the number up to which nothing need be looked at again.
    ///
    /// What has expired is passed over, and forgotten there and then: were a clock set back, a
    /// record that was held back from one neighbour must not come to life again for others. No
    /// call looks at more than [`ENTRIES_MAX`] entries.
    pub fn take_after(&mut self, cursor: u64, mut take: impl FnMut(Change<'_>) -> bool) -> u64 {
        let (mut reached, mut expired) = (cursor, Vec::new());
        let mut ended = true;
        for (entries, (number, slot, record)) in self.walk(cursor).enumerate() {
            if entries == ENTRIES_MAX {
                ended = false;
                break;
            }
            if record.number != number {
                // It has changed again since.
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
            let effective = self.records[slot as usize].effective();
            self.lost = self.lost.max(effective);
            self.forget(slot);
        }
    }

    /// How many slices a sweep takes.
    pub fn sweep_slices(&self) -> usize {
        self.feed.slices()
    }

    /// Gives back the memory of what has expired in a slice of the feed after `cursor`. Gives the
    /// cursor of the next slice, `None` at the end.
    pub fn sweep(&mut self, cursor: u64) -> Option<u64> {
        let (records, index, free) = (&mut self.records, &mut self.index, &mut self.free);
        let (oldest, oldest_erased) = (self.oldest, self.oldest_erased);
        let (lost, long_bytes) = (&mut self.lost, &mut self.long_bytes);
        let tombstones = &mut self.tombstones;
        self.feed.retain_slice(cursor, |number, slot| {
            let Some(record) = records.get(slot as usize) else {
                return false;
            };
            if record.number == number && record.has_expired(oldest, oldest_erased) {
                *lost = record.effective().max(*lost);
                *tombstones -= usize::from(record.is_tombstone());
                forget(records, index, free, long_bytes, slot);
            }
            records[slot as usize].number == number
        })
    }
}

/// The number of the record in a slot, 0 if there is none.
fn number_at(records: &[Record], slot: u32) -> u64 {
    records.get(slot as usize).map_or(0, |record| record.number)
}

/// Forgets the record in a slot.
fn forget(
    records: &mut [Record],
    index: &mut Index,
    free: &mut Vec<u32>,
    long_bytes: &mut usize,
    slot: u32,
) {
    let key = index.key(records[slot as usize].client());
    index.remove(key, slot);
    release(records, free, long_bytes, slot);
}

/// Gives back what a record holds that is in no index, and lets its slot be used again.
fn release(records: &mut [Record], free: &mut Vec<u32>, long_bytes: &mut usize, slot: u32) {
    let record = &mut records[slot as usize];
    *long_bytes -= record.line.allocated_bytes();
    record.clear(free.len());
    free.push(slot);
}
