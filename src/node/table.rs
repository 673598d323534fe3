//! The latest location of every client, and the feed of what changed.
//!
//! `Node` owns it. A record is the finished `AT` line plus the few integers that order it, so a
//! reply and a flood are copies. An update costs one look-up in the index, one write into a
//! record and one entry in the feed. Nothing is ever seen in the order of the hash.

use std::cmp::Ordering;

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

use super::feed::Feed;
use super::location::Location;
use super::protocol::parse_at;
use crate::time::Timestamp;

/// Lines up to this length lie in the record itself; longer ones are allocated apiece.
///
/// An `AT` line of the assignment is 60 to 90 bytes. With 94 a record takes 128 bytes, two cache
/// lines, and a table of a million needs no allocation but its own.
const INLINE_BYTES: usize = 94;

const _: () = assert!(size_of::<Record>() == 128);

/// How many tables the index is split into. Each grows on its own, so that no single insertion
/// has to move millions of entries.
const SHARDS: usize = 256;

/// How finely the hash space is dealt out to the shards.
const SHARES: usize = 4096;

/// Keys of the index's hash, from outside: who does not know them cannot aim for collisions.
pub type HashKeys = (u64, u64);

/// Where a record came from: what need not be sent back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A client of ours, or our own log.
    Own,
    /// The neighbour whose link has this place among our links.
    Link(u16),
}

/// One entry of the feed with its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// Its number in the feed.
    pub number: u64,
    /// The record: an `AT` line without LF.
    pub line: &'a [u8],
    /// Where it came from.
    pub source: Source,
}

/// One record for each client.
#[derive(Debug)]
pub struct Table {
    records: Vec<Record>,
    index: Index,
    feed: Feed,
}

#[derive(Debug)]
struct Record {
    /// Its latest number in the feed.
    number: u64,
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
    fn new(line: &[u8]) -> Text {
        let mut bytes = [0; INLINE_BYTES];
        match bytes.get_mut(..line.len()) {
            None => Text::Long(line.into()),
            Some(start) => {
                start.copy_from_slice(line);
                let len = line.len() as u8;
                Text::Short { len, bytes }
            }
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Text::Short { len, bytes } => &bytes[..usize::from(*len)],
            Text::Long(line) => line,
        }
    }
}

impl Record {
    fn new(location: &Location<'_>, source: Source) -> Record {
        let effective = location.effective();
        let client_at = client_at(location);
        Record {
            number: 0,
            effective_seconds: effective.seconds(),
            effective_nanos: effective.nanos(),
            client_bytes: u16::try_from(location.client.len())
                .expect("a line, and so a name, is shorter than 64 KiB"),
            client_at: u8::try_from(client_at).expect("a server's name and a difference are short"),
            source,
            line: Text::new(location.line),
        }
    }

    fn client(&self) -> &[u8] {
        let start = usize::from(self.client_at);
        &self.line.as_bytes()[start..start + usize::from(self.client_bytes)]
    }

    fn location(&self) -> Location<'_> {
        parse_at(self.line.as_bytes()).expect("the table holds only lines that were read")
    }

    /// How `location` stands to this record. The integers decide almost always; only at a tie is
    /// the record's line read again.
    fn recency_of(&self, location: &Location<'_>) -> Ordering {
        let effective = Timestamp::new(self.effective_seconds, self.effective_nanos);
        location
            .effective()
            .cmp(&effective)
            .then_with(|| location.recency(&self.location()))
    }
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
            index: Index::new(keys),
            feed: Feed::default(),
        }
    }

    /// How many clients are known.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether no client is known.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The number of the latest change.
    pub fn end(&self) -> u64 {
        self.feed.end()
    }

    /// Lets the feed go on after `number`, which no entry need have. `false`, and nothing is done,
    /// if it has gone beyond that.
    pub fn advance(&mut self, number: u64) -> bool {
        self.feed.advance(number)
    }

    /// The latest location of `client`.
    pub fn location(&self, client: &[u8]) -> Option<Location<'_>> {
        let slot = self.index.find(&self.records, client)?;
        Some(self.records[slot as usize].location())
    }

    /// Takes a report in if it is more recent than what is held. Says whether it was: only then
    /// is it a change.
    pub fn accept(&mut self, location: &Location<'_>, source: Source) -> bool {
        let slot = match self.index.find(&self.records, location.client) {
            Some(slot) => {
                let record = &mut self.records[slot as usize];
                if record.recency_of(location) != Ordering::Greater {
                    return false;
                }
                *record = Record::new(location, source);
                slot
            }
            None => {
                let slot = u32::try_from(self.records.len())
                    .expect("memory ends long before 2^32 records");
                self.records.push(Record::new(location, source));
                self.index.insert(&self.records, slot);
                slot
            }
        };
        let records = &self.records;
        let latest = |slot: u32| records[slot as usize].number;
        let number = self.feed.append(slot, records.len(), latest);
        self.records[slot as usize].number = number;
        true
    }

    /// What always holds, at the price of a look at everything.
    pub fn check_invariants(&self) {
        let latest = |slot: u32| self.records[slot as usize].number;
        self.feed.check_invariants(self.records.len(), latest);
        for (slot, record) in self.records.iter().enumerate() {
            let found = self.index.find(&self.records, record.client());
            assert_eq!(
                found,
                Some(slot as u32),
                "a record is not found by its name"
            );
        }
    }

    /// What changed after `cursor`, oldest change first, each record once.
    pub fn changes_after(&self, cursor: u64) -> impl Iterator<Item = Change<'_>> {
        self.feed.after(cursor).filter_map(|(number, slot)| {
            let record = &self.records[slot as usize];
            (record.number == number).then(|| Change {
                number,
                line: record.line.as_bytes(),
                source: record.source,
            })
        })
    }
}

/// From a client's name to the slot of its record. Never iterated.
#[derive(Debug)]
struct Index {
    shards: Vec<HashTable<u32>>,
    /// To which shard each share of the hash space belongs.
    ///
    /// A hash table doubles when it is full. Equal shards would all do so within a few thousand
    /// insertions of each other, and hold up whoever waits for those. So they are unequal: the
    /// last gets twice the share of the first, and those between rise evenly in the logarithm,
    /// so that from one doubling of the whole to the next they double one after the other.
    shard_of: Vec<u8>,
    keys: HashKeys,
}

impl Index {
    fn new(keys: HashKeys) -> Index {
        let shard = |share: usize| {
            let place = (share as f64 + 0.5) / SHARES as f64;
            (SHARDS as f64 * (1.0 + place).log2()) as u8
        };
        Index {
            shards: (0..SHARDS).map(|_| HashTable::new()).collect(),
            shard_of: (0..SHARES).map(shard).collect(),
            keys,
        }
    }

    /// SipHash-1-3 (Aumasson and Bernstein, 2012): keyed, made for tables that strangers fill.
    fn hash(&self, client: &[u8]) -> u64 {
        SipHasher13::new_with_keys(self.keys.0, self.keys.1).hash(client)
    }

    /// The share is in the middle bits: a shard's own table uses the lowest and the highest.
    fn shard(&self, hash: u64) -> usize {
        usize::from(self.shard_of[(hash >> 40) as usize % SHARES])
    }

    fn find(&self, records: &[Record], client: &[u8]) -> Option<u32> {
        let hash = self.hash(client);
        let same = |&slot: &u32| records[slot as usize].client() == client;
        self.shards[self.shard(hash)].find(hash, same).copied()
    }

    fn insert(&mut self, records: &[Record], slot: u32) {
        let keys = self.keys;
        let hash_of = |&slot: &u32| {
            SipHasher13::new_with_keys(keys.0, keys.1).hash(records[slot as usize].client())
        };
        let hash = hash_of(&slot);
        let shard = self.shard(hash);
        self.shards[shard].insert_unique(hash, slot, hash_of);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accept(table: &mut Table, line: &str, source: Source) -> bool {
        table.accept(&parse_at(line.as_bytes()).expect(line), source)
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
        assert!(accept(&mut table, other, Source::Link(3)));
        assert!(!accept(&mut table, old, Source::Own), "no change: the same");
        assert!(accept(&mut table, new, Source::Link(1)));
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
                change(2, other, Source::Link(3)),
                change(3, new, Source::Link(1))
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

    #[test]
    fn shards_grow_one_after_the_other() {
        let mut table = Table::new((1, 2));
        let mut growths = Vec::new();
        for client in 0..60_000_usize {
            let before: usize = table.index.shards.iter().map(HashTable::capacity).sum();
            let line = format!("AT Blake +0.000000000 client{client} +00+000 10");
            accept(&mut table, &line, Source::Own);
            let after: usize = table.index.shards.iter().map(HashTable::capacity).sum();
            growths.extend((after > before && client > 10_000).then_some(client));
        }
        // From 10,000 to 60,000 each shard doubles two or three times.
        assert!(growths.len() > 2 * SHARDS, "{}", growths.len());
        let busiest = (10..60_usize).map(|thousand| {
            let thousand = thousand * 1000..(thousand + 1) * 1000;
            growths
                .iter()
                .filter(|client| thousand.contains(client))
                .count()
        });
        assert!(busiest.max() < Some(SHARDS / 4), "they grow together");
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

    proptest! {
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

        #[test]
        fn any_path_gives_the_same_table(lines in updates(), split in 0.0..1.0_f64) {
            // Half of the updates are heard by one server, half by the other, then each follows
            // the other's feed from somewhere in the middle on, as over a link.
            let (left, right) = lines.split_at((split * lines.len() as f64) as usize);
            let (mut a, mut b) = (table_with(left), table_with(right));
            for line in contents(&a) {
                accept(&mut b, &line, Source::Link(0));
            }
            for line in contents(&b) {
                accept(&mut a, &line, Source::Link(0));
            }
            prop_assert_eq!(contents(&a), contents(&b));
            prop_assert_eq!(contents(&a), contents(&table_with(&lines)));
        }
    }
}
