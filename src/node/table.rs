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

use std::cmp::Ordering;

use super::effects::LinkId;
use super::feed::Feed;
use super::index::Index;
use super::location::{Erasure, Location, Update};
use super::protocol::{is_erased, parse_at, parse_erased, parse_update};
use crate::time::Timestamp;

pub use super::feed::SEGMENT_ENTRIES_MAX as SLICE_ENTRIES_MAX;
pub use super::index::{HashKeys, Key};

/// Lines up to this length lie in the record itself; longer ones are allocated apiece.
///
/// An `AT` line of the assignment is 60 to 90 bytes. With 94 a record takes 128 bytes, two cache
/// lines or three, as memory comes, and a table of a million needs no allocation but its own.
const INLINE_BYTES: usize = 94;

const _: () = assert!(size_of::<Record>() == RECORD_BYTES);

/// What a record takes of the memory, whether it is held or its slot is free.
const RECORD_BYTES: usize = 128;

/// What one that is held takes of index and feed, about: 9 to 18 bytes and 8 to 18.
const ENTRY_BYTES: usize = 32;

/// A table of fewer bytes is not worth having: the longest line would leave little room for others.
pub const TABLE_BYTES_MIN: usize = 1024 * 1024;

/// What the allocator adds to a line that is allocated apiece.
const ALLOCATION_BYTES: usize = 16;

/// For so many bytes that a change brings, one entry of the feed is looked at for a record that may make
/// room. So a change that has to pass many stale entries leaves some to the next, and none is long; what
/// the memory then is above the limit is less than the feed takes.
const BYTES_A_LOOK: usize = 8;

/// The most records that are brought near at a time: enough to keep as many loads under way as a
/// processor can, and few enough that all are still near when the last of them is asked for.
pub const PREFETCH_MAX: usize = 32;

/// Where a record came from: what need not be sent back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A client of ours, or our own log.
    Own,
    /// The neighbour of this link.
    Link(LinkId),
}

/// One entry of the feed with its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// Its number in the feed.
    pub number: u64,
    /// The record: an `AT` line without LF, or an `ERASED` line.
    pub line: &'a [u8],
    /// Where it came from.
    pub source: Source,
}

/// A record as a snapshot keeps it: with what a start would otherwise have to read out of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored<'a> {
    /// Its number in the feed.
    pub number: u64,
    /// Its effective time.
    pub effective: Timestamp,
    /// Where in the line the client's name begins.
    pub client_at: u8,
    /// How long the name is.
    pub client_bytes: u16,
    /// The `AT` or `ERASED` line without LF.
    pub line: &'a [u8],
}

impl<'a> Stored<'a> {
    /// That of a report, yet without a number.
    #[inline]
    fn of(location: &Location<'a>, effective: Timestamp) -> Stored<'a> {
        Stored::about(
            location.client,
            client_at(location),
            location.line,
            effective,
        )
    }

    /// That of an erasure.
    fn of_erasure(erasure: &Erasure<'a>) -> Stored<'a> {
        let client_at = b"ERASED ".len() + erasure.server.len() + 1;
        Stored::about(erasure.client, client_at, erasure.line, erasure.time)
    }

    #[inline]
    fn about(client: &[u8], client_at: usize, line: &'a [u8], effective: Timestamp) -> Stored<'a> {
        Stored {
            number: 0,
            effective,
            client_at: u8::try_from(client_at).expect("a server's name and a difference are short"),
            client_bytes: u16::try_from(client.len())
                .expect("a line, and so a name, is shorter than 64 KiB"),
            line,
        }
    }

    /// The client's name; `None` if there is none, or the line does not reach that far.
    pub fn client(&self) -> Option<&'a [u8]> {
        let start = usize::from(self.client_at);
        let end = start + usize::from(self.client_bytes);
        self.line.get(start..end).filter(|name| !name.is_empty())
    }
}

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

#[derive(Debug)]
struct Record {
    /// Its latest number in the feed; 0 in a slot that is free.
    number: u64,
    /// In a slot that is free, its place in the list of those.
    effective_seconds: i64,
    effective_nanos: u32,
    client_bytes: u16,
    /// Where in the line the client's name begins.
    client_at: u8,
    source: Source,
    line: Text,
}

/// A line, most often kept in place.
#[derive(Debug)]
enum Text {
    Short { len: u8, bytes: [u8; INLINE_BYTES] },
    Long(Box<[u8]>),
}

impl Text {
    const EMPTY: Text = Text::Short {
        len: 0,
        bytes: [0; INLINE_BYTES],
    };

    /// Becomes `line`, written over what was there.
    fn set(&mut self, line: &[u8]) {
        if line.len() > INLINE_BYTES {
            *self = Text::Long(line.into());
            return;
        }
        if let Text::Long(_) = self {
            *self = Text::EMPTY;
        }
        if let Text::Short { len, bytes } = self {
            *len = line.len() as u8;
            bytes[..line.len()].copy_from_slice(line);
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Text::Short { len, bytes } => &bytes[..usize::from(*len)],
            Text::Long(line) => line,
        }
    }

    /// What is allocated for it.
    fn allocated_bytes(&self) -> usize {
        match self {
            Text::Short { .. } => 0,
            Text::Long(line) => line.len() + ALLOCATION_BYTES,
        }
    }
}

/// Stands where a slot was given back of which the feed still has a stale entry.
static NOBODY: Record = Record::empty();

impl Record {
    /// That of a slot that is free.
    const fn empty() -> Record {
        Record {
            number: 0,
            effective_seconds: 0,
            effective_nanos: 0,
            client_bytes: 0,
            client_at: 0,
            source: Source::Own,
            line: Text::EMPTY,
        }
    }

    /// Becomes this record, but for its number.
    #[inline]
    fn set_stored(&mut self, stored: &Stored<'_>, source: Source) {
        self.effective_seconds = stored.effective.seconds();
        self.effective_nanos = stored.effective.nanos();
        self.client_bytes = stored.client_bytes;
        self.client_at = stored.client_at;
        self.source = source;
        self.line.set(stored.line);
    }

    /// Reads a little of each of its cache lines: of the line's beginning, middle and end, and of what
    /// stands behind it, which may be in one more.
    fn touch(&self) -> u64 {
        let ends = match &self.line {
            Text::Short { bytes, .. } => {
                bytes[0] ^ bytes[INLINE_BYTES / 2] ^ bytes[INLINE_BYTES - 1]
            }
            Text::Long(line) => line[0],
        };
        self.number ^ u64::from(ends) ^ u64::from(self.client_bytes)
    }

    fn client(&self) -> &[u8] {
        let start = usize::from(self.client_at);
        &self.line.as_bytes()[start..start + usize::from(self.client_bytes)]
    }

    fn effective(&self) -> Timestamp {
        Timestamp::new(self.effective_seconds, self.effective_nanos)
    }

    fn has_expired(&self, oldest: Timestamp, oldest_erased: Timestamp) -> bool {
        let effective = self.effective();
        effective < oldest || effective < oldest_erased && self.is_tombstone()
    }

    /// Gives back what it holds. Its slot is free, at this place in the list of those.
    fn clear(&mut self, place: usize) {
        self.number = 0;
        self.effective_seconds = place as i64;
        self.client_bytes = 0;
        self.client_at = 0;
        self.line = Text::EMPTY;
    }

    /// `None` if a snapshot had a line there that is none.
    fn location(&self) -> Option<Location<'_>> {
        parse_at(self.line.as_bytes())
    }

    #[inline]
    fn is_tombstone(&self) -> bool {
        is_erased(self.line.as_bytes())
    }

    fn stored(&self) -> Stored<'_> {
        Stored {
            number: self.number,
            effective: self.effective(),
            client_at: self.client_at,
            client_bytes: self.client_bytes,
            line: self.line.as_bytes(),
        }
    }

    fn change(&self) -> Change<'_> {
        Change {
            number: self.number,
            line: self.line.as_bytes(),
            source: self.source,
        }
    }

    /// How `location`, whose effective time is given, stands to this record. The integers decide almost always, and at a tie that it
    /// is the same report once more; otherwise the record's line is read again.
    fn recency_of(&self, location: &Location<'_>, effective: Timestamp) -> Ordering {
        let by_time = effective.cmp(&self.effective());
        by_time.then_with(|| match location.line == self.line.as_bytes() {
            true => Ordering::Equal,
            false if self.is_tombstone() => Ordering::Less,
            false => {
                let held = self.location();
                held.map_or(Ordering::Greater, |held| location.recency(&held))
            }
        })
    }

    /// The same of an erasure: it wins over a report with its time.
    fn recency_of_erasure(&self, erasure: &Erasure<'_>) -> Ordering {
        let by_time = erasure.time.cmp(&self.effective());
        by_time.then_with(|| {
            let held = parse_erased(self.line.as_bytes());
            held.map_or(Ordering::Greater, |held| erasure.recency(&held))
        })
    }
}

/// The earlier of two times, if there are two.
fn earliest(known: Option<Timestamp>, time: Timestamp) -> Option<Timestamp> {
    Some(known.map_or(time, |known| known.min(time)))
}

/// The client's name stands after `AT`, the server's name and the difference.
fn client_at(location: &Location<'_>) -> usize {
    let after_client = 2 + location.position.text().len() + location.time_text.len();
    location.line.len() - after_client - location.client.len()
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accept(table: &mut Table, line: &str, source: Source) -> bool {
        let location = parse_at(line.as_bytes()).expect(line);
        table
            .accept(table.key(location.client), &location, source)
            .is_some()
    }

    fn table_with(lines: &[String]) -> Table {
        let mut table = Table::new((1, 2));
        for line in lines {
            accept(&mut table, line, Source::Own);
        }
        table
    }

    /// The table as text, in an order that does not depend on how it came about.
    fn contents(table: &Table) -> Vec<String> {
        let text = |change: Change<'_>| String::from_utf8_lossy(change.line).into_owned();
        let mut lines: Vec<_> = table.changes_after(0).map(text).collect();
        lines.sort();
        lines
    }

    #[test]
    fn the_latest_stays_and_moves_to_the_end_of_the_feed() {
        let mut table = Table::new((1, 2));
        let old = "AT A +0.000000000 kiwi +00+000 10";
        let new = "AT A +0.000000000 kiwi +01+000 11";
        let other = "AT A +0.000000000 emu +00+000 10";
        assert!(accept(&mut table, old, Source::Own));
        assert!(accept(&mut table, other, Source::Link(LinkId::nth(3))));
        assert!(!accept(&mut table, old, Source::Own), "no change: the same");
        assert!(accept(&mut table, new, Source::Link(LinkId::nth(1))));
        assert!(!accept(&mut table, old, Source::Own), "no change: older");
        assert_eq!((table.len(), table.end()), (2, 3));
        let feed: Vec<_> = table.changes_after(0).collect();
        let change = |number, line: &'static str, source| Change {
            number,
            line: line.as_bytes(),
            source,
        };
        assert_eq!(
            feed,
            [
                change(2, other, Source::Link(LinkId::nth(3))),
                change(3, new, Source::Link(LinkId::nth(1)))
            ]
        );
        assert_eq!(table.changes_after(2).count(), 1);
        assert_eq!(table.changes_after(3).count(), 0);
        let held = table.location(b"kiwi").expect("it was accepted");
        assert_eq!(held.line, new.as_bytes());
        assert_eq!(table.location(b"kiw"), None);
    }

    #[test]
    fn lines_of_any_length_are_kept_whole() {
        let mut table = Table::new((1, 2));
        for bytes in [
            1, 10, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 1_000, 65_000,
        ] {
            let client = "x".repeat(bytes);
            let line = format!("AT Blake +0.000000000 {client} +00+000 10");
            assert!(accept(&mut table, &line, Source::Own));
            let held = table.location(client.as_bytes()).expect("it was accepted");
            assert_eq!(held.line, line.as_bytes());
        }
    }

    /// A report of `client` in second `time`, heard at once.
    fn report(client: &str, time: i64) -> String {
        format!("AT Blake +0.000000000 {client} +00+000 {time}")
    }

    /// A report as a snapshot keeps it.
    fn stored(line: &str, number: u64) -> Stored<'_> {
        let location = parse_at(line.as_bytes()).expect("it is one");
        Stored {
            number,
            effective: location.effective(),
            client_at: client_at(&location) as u8,
            client_bytes: location.client.len() as u16,
            line: location.line,
        }
    }

    /// Sweeps the whole table.
    fn sweep_all(table: &mut Table) -> usize {
        let (mut cursor, mut slices) = (0, 0);
        while let Some(reached) = table.sweep(cursor) {
            assert!(reached > cursor, "a sweep goes on");
            (cursor, slices) = (reached, slices + 1);
        }
        slices
    }

    #[test]
    fn what_has_expired_is_unknown_at_once_and_not_taken_in_again() {
        let mut table = Table::new((1, 2));
        assert!(accept(&mut table, &report("kiwi", 10), Source::Own));
        assert!(accept(
            &mut table,
            &report("emu", 20),
            Source::Link(LinkId::nth(0))
        ));
        table.expire_before(Timestamp::new(10, 1));
        assert_eq!(table.location(b"kiwi"), None);
        assert_eq!(contents(&table), [report("emu", 20)]);
        assert!(!accept(&mut table, &report("kiwi", 10), Source::Own));
        assert!(!accept(&mut table, &report("moa", 9), Source::Own));
        assert_eq!(table.end(), 2, "nothing of it is a change");
        // A clock set in the future ages from the time of receipt: second 15 here.
        let future = "AT Blake -84.000000000 moa +00+000 99";
        assert!(accept(&mut table, future, Source::Own));
        table.expire_before(Timestamp::new(15, 1));
        assert_eq!(table.location(b"moa"), None);
        assert!(accept(&mut table, &report("kiwi", 30), Source::Own));
        assert_eq!(contents(&table), [report("emu", 20), report("kiwi", 30)]);
        assert_eq!(table.len(), 3);
        sweep_all(&mut table);
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn what_was_looked_up_ahead_may_be_gone_or_come_meanwhile() {
        let mut table = Table::new((1, 2));
        accept(&mut table, &report("kiwi", 10), Source::Own);
        let [mut kiwi, mut emu] = [&b"kiwi"[..], b"emu"].map(|client| table.key(client));
        table.prefetch([&mut kiwi, &mut emu]);
        table.expire_before(Timestamp::new(20, 0));
        sweep_all(&mut table);
        assert!(accept(&mut table, &report("emu", 20), Source::Own)); // where kiwi was
        assert_eq!(table.location_at(kiwi, b"kiwi"), None);
        for (client, key) in [("kiwi", kiwi), ("emu", emu)] {
            let line = report(client, 30);
            let location = parse_at(line.as_bytes()).expect("it is one");
            assert!(table.accept(key, &location, Source::Own).is_some());
            let held = table.location_at(key, client.as_bytes());
            assert_eq!(held, Some(location));
        }
        assert_eq!(contents(&table), [report("emu", 30), report("kiwi", 30)]);
        table.check_invariants();
    }

    #[test]
    fn memory_is_given_back_in_small_pieces_and_used_again() {
        const CLIENTS: i64 = 50_000;
        let mut table = Table::new((1, 2));
        for round in 0..4 {
            for client in 0..CLIENTS {
                let time = round * CLIENTS + client;
                let long = "x".repeat(if client % 100 == 0 { 500 } else { 10 });
                let line = report(&format!("client{time}{long}"), time);
                assert!(accept(&mut table, &line, Source::Own));
            }
            // Every tenth of them stays; a slice never frees more than it looks at.
            table.expire_before(Timestamp::new((round + 1) * CLIENTS - CLIENTS / 10, 0));
            let (mut cursor, mut before) = (0, table.len());
            while let Some(reached) = table.sweep(cursor) {
                assert!(
                    before - table.len() <= SLICE_ENTRIES_MAX,
                    "a slice is small"
                );
                (cursor, before) = (reached, table.len());
            }
            assert_eq!(table.len() as i64, CLIENTS / 10);
            assert_eq!(contents(&table).len() as i64, CLIENTS / 10);
            assert!(table.sweep_slices() < 20, "{}", table.sweep_slices());
        }
        let most = CLIENTS + CLIENTS / 10;
        assert!(table.records.len() as i64 <= most, "slots are used again");
        let long = table.records.iter();
        let long = long.filter(|record| matches!(record.line, Text::Long(_)));
        assert_eq!(long.count() as i64, CLIENTS / 10 / 100);
    }

    #[test]
    fn a_reader_comes_to_the_end_of_a_feed_whose_end_has_expired() {
        let mut table = Table::new((1, 2));
        for client in 0..ENTRIES_MAX + 1000 {
            accept(&mut table, &report(&format!("c{client}"), 1), Source::Own);
        }
        table.expire_before(Timestamp::new(2, 0));
        let (mut cursor, mut left) = (0, Vec::new());
        while cursor < table.end() {
            cursor = table.take_after(cursor, |_| panic!("it has expired"));
            left.push(table.len());
            assert!(left.len() < 10, "it comes to no end");
        }
        assert_eq!(left, [1000, 0], "a bounded piece a call");
        table.expire_before(Timestamp::MIN);
        assert_eq!(contents(&table), [""; 0], "what was passed over is gone");
    }

    #[test]
    fn a_reader_gets_ahead_of_what_expires_however_much_comes_in_a_turn() {
        let mut table = Table::new((1, 2));
        let (mut cursor, mut told) = (0, 0);
        for turn in 1..=20 {
            for client in 0..20_000 {
                let line = report(&format!("c{turn}x{client}"), turn);
                accept(&mut table, &line, Source::Own);
            }
            // Of what has come before nothing is alive, and the neighbour takes little.
            table.expire_before(Timestamp::new(turn, 0));
            let mut room = 100;
            cursor = table.take_after(cursor, |_| {
                let takes = room > 0;
                room -= usize::from(takes);
                told += usize::from(takes);
                takes
            });
        }
        assert_eq!(told, 20 * 100, "each turn it is told what is alive");
    }

    #[test]
    fn a_reader_passes_over_what_has_changed_again_since_in_bounded_pieces() {
        const CLIENTS: usize = ENTRIES_MAX + 1000;
        let mut table = Table::new((1, 2));
        for time in 1..=2 {
            for client in 0..CLIENTS {
                let line = report(&format!("c{client}"), time);
                accept(&mut table, &line, Source::Own);
            }
        }
        // Each is in the feed twice, which is not enough for a sweep: first all that is stale.
        let (mut cursor, mut taken) = (0, Vec::new());
        while cursor < table.end() {
            let mut count = 0;
            cursor = table.take_after(cursor, |_| {
                count += 1;
                true
            });
            taken.push(count);
        }
        assert_eq!(taken, [0, ENTRIES_MAX - 1000, 2000]);
    }

    #[test]
    fn of_few_clients_that_are_loaded_again_and_again_little_remains() {
        const LINES: usize = 20_000;
        const CLIENTS: usize = 10;
        let mut table = Table::new((1, 2));
        table.expect(LINES);
        for line in 0..LINES {
            let text = report(&format!("c{}", line % CLIENTS), line as i64);
            assert!(table.load(&stored(&text, 1 + line as u64)));
        }
        table.build_index();
        table.check_invariants();
        let latest = (LINES - CLIENTS..LINES).map(|line| line as i64);
        let latest = latest.map(|time| report(&format!("c{}", time % CLIENTS as i64), time));
        assert_eq!(contents(&table), latest.collect::<Vec<_>>());
        assert_eq!(table.len(), CLIENTS);
    }

    #[test]
    fn what_no_table_can_have_stored_is_not_loaded() {
        let line = report("kiwi", 10);
        let good = stored(&line, 5);
        let mut table = Table::new((1, 2));
        for (change, want) in [
            (Stored { number: 0, ..good }, false),
            (good, true),
            (good, false), // numbers rise
            (
                Stored {
                    number: 6,
                    client_bytes: 60,
                    ..good
                },
                false,
            ),
            (
                Stored {
                    number: 6,
                    client_at: 200,
                    ..good
                },
                false,
            ),
            (
                Stored {
                    number: 6,
                    client_bytes: 0,
                    ..good
                },
                false,
            ),
            (
                Stored {
                    number: u64::MAX,
                    ..good
                },
                false,
            ),
            (
                Stored {
                    number: 7,
                    client_at: 0,
                    line: b"kiwi",
                    ..good
                },
                true,
            ),
        ] {
            assert_eq!(table.load(&change), want, "{change:?}");
        }
        table.build_index();
        table.check_invariants();
        assert_eq!((table.len(), table.end()), (1, 7));
        // What is no AT line is unknown, and gives way to the first that is one.
        assert_eq!(table.location(b"kiwi"), None);
        assert!(accept(&mut table, &report("kiwi", 10), Source::Own));
        assert!(table.location(b"kiwi").is_some());
    }

    fn updates() -> impl Strategy<Value = Vec<String>> {
        // Few values for each field, so that ties of every depth occur.
        let update = (0..5, 0..3, -2..3_i32, 0..2, 0..4, 0..2).prop_map(
            |(client, server, difference, position, time, digits)| {
                let zeros = ["", ".0"][digits as usize];
                format!(
                    "AT S{server} {difference:+}.000000000 c{client} +0{position}+000 {time}{zeros}"
                )
            },
        );
        proptest::collection::vec(update, 1..60)
    }

    /// What may happen to a table whose records expire.
    #[derive(Clone, Debug)]
    enum Step {
        /// A report whose effective time is this many seconds before now.
        Report { client: u8, age: i64 },
        /// Time passes.
        Pass(i64),
        /// A slice of the sweep.
        Sweep,
        /// A neighbour takes so many changes.
        Take(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => (0..20_u8, 0..14_i64).prop_map(|(client, age)| Step::Report { client, age }),
            2 => (1..4_i64).prop_map(Step::Pass),
            2 => Just(Step::Sweep),
            2 => (0..9_usize).prop_map(Step::Take),
        ];
        proptest::collection::vec(step, 1..200)
    }

    proptest! {
        #[test]
        fn records_expire_as_in_a_simple_model(steps in steps()) {
            const SPAN: i64 = 10;
            let mut model = std::collections::BTreeMap::<String, i64>::new();
            // The second never sweeps: it is the same server, replaying its log.
            let (mut table, mut replay) = (Table::new((1, 2)), Table::new((3, 4)));
            let mut neighbour = Table::new((5, 6));
            let (mut now, mut cursor, mut sweep_at) = (1_000, 0, 0);
            let (first, last) = (Step::Pass(0), Step::Take(usize::MAX));
            for step in [first].into_iter().chain(steps).chain([last]) {
                match step {
                    Step::Report { client, age } => {
                        let (client, time) = (format!("c{client}"), now - age);
                        let line = report(&client, time);
                        let newer = model.get(&client).is_none_or(|&held| held < time);
                        let news = newer && age <= SPAN;
                        prop_assert_eq!(accept(&mut table, &line, Source::Own), news);
                        prop_assert_eq!(accept(&mut replay, &line, Source::Own), news);
                        if news {
                            model.insert(client, time);
                        }
                    }
                    Step::Pass(seconds) => {
                        now += seconds;
                        for table in [&mut table, &mut replay, &mut neighbour] {
                            table.expire_before(Timestamp::new(now - SPAN, 0));
                        }
                    }
                    Step::Sweep => sweep_at = table.sweep(sweep_at).unwrap_or(0),
                    Step::Take(mut room) => {
                        cursor = table.take_after(cursor, |change| {
                            let wanted = room > 0;
                            if wanted {
                                room -= 1;
                                let location = parse_at(change.line).expect("it was held");
                                neighbour.accept(neighbour.key(location.client), &location, Source::Link(LinkId::nth(0)));
                            }
                            wanted
                        });
                    }
                }
                model.retain(|_, time| *time >= now - SPAN);
                let want: Vec<_> = model.iter().map(|(client, time)| report(client, *time)).collect();
                prop_assert_eq!(contents(&table), want);
                for client in 0..20 {
                    let client = format!("c{client}");
                    let held = table.location(client.as_bytes()).map(|location| location.time.seconds());
                    prop_assert_eq!(held, model.get(&client).copied());
                }
                prop_assert_eq!(table.end(), replay.end());
                prop_assert!(table.changes_after(0).eq(replay.changes_after(0)), "the same numbers");
                prop_assert_eq!(table.index.len(), table.len());
            }
            prop_assert_eq!(cursor, table.end());
            prop_assert_eq!(contents(&neighbour), contents(&table));
            sweep_all(&mut table);
            prop_assert_eq!(table.len(), model.len());
        }

        #[test]
        fn any_order_and_any_repetition_give_the_same_table(
            (lines, shuffled) in updates().prop_flat_map(|lines| {
                let shuffled = Just(lines.clone()).prop_shuffle();
                (Just(lines), shuffled)
            }),
            repeated in proptest::collection::vec(any::<prop::sample::Index>(), 0..30),
        ) {
            let mut again = shuffled.clone();
            again.extend(repeated.iter().map(|index| index.get(&lines).clone()));
            prop_assert_eq!(contents(&table_with(&lines)), contents(&table_with(&shuffled)));
            prop_assert_eq!(contents(&table_with(&lines)), contents(&table_with(&again)));
        }

        /// As a checkpoint is, each with its number, though few clients are in it only once.
        #[test]
        fn what_is_stored_and_loaded_again_is_the_same(
            lines in updates(),
            split in 0..60_usize,
            oldest in 0..4_i64,
        ) {
            // Some changes come as a snapshot, the others as the journal after it.
            let (early, late) = lines.split_at(split.min(lines.len()));
            let mut table = table_with(early);
            let mut loaded = Table::new((3, 4));
            loaded.expire_before(Timestamp::new(oldest, 0));
            loaded.expect(table.len());
            for (_, stored) in table.stored_after(0) {
                prop_assert!(stored.is_none_or(|stored| loaded.load(&stored)));
            }
            loaded.build_index();
            prop_assert!(loaded.advance(table.end()));
            for line in late {
                if accept(&mut table, line, Source::Own) {
                    let location = parse_at(line.as_bytes()).expect(line);
                    loaded.replay(loaded.key(location.client), &Update::Report(location));
                }
            }
            table.expire_before(Timestamp::new(oldest, 0));
            loaded.check_invariants();
            prop_assert_eq!(loaded.end(), table.end());
            prop_assert!(loaded.changes_after(0).eq(table.changes_after(0)));
            for line in &lines {
                let client = parse_at(line.as_bytes()).expect(line).client;
                prop_assert_eq!(loaded.location(client), table.location(client));
            }
        }

        #[test]
        fn any_path_gives_the_same_table(lines in updates(), split in 0.0..1.0_f64) {
            // Half of the updates are heard by one server, half by the other, then each follows
            // the other's feed from somewhere in the middle on, as over a link.
            let (left, right) = lines.split_at((split * lines.len() as f64) as usize);
            let (mut a, mut b) = (table_with(left), table_with(right));
            for line in contents(&a) {
                accept(&mut b, &line, Source::Link(LinkId::nth(0)));
            }
            for line in contents(&b) {
                accept(&mut a, &line, Source::Link(LinkId::nth(0)));
            }
            prop_assert_eq!(contents(&a), contents(&b));
            prop_assert_eq!(contents(&a), contents(&table_with(&lines)));
        }
    }
}
