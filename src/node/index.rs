//! From a client's name to the slot of its record, by the hash of the name.
//!
//! `Table` is the only caller; it has the names. Never iterated: no order that can be seen comes
//! from a hash.
//!
//! An entry is 32 bits of the hash beside the slot, so that a look-up that finds nothing, an
//! insertion and the growth of a shard read and write one place of memory each, and none of the
//! records. With millions of clients each such place is one to wait for.

use siphasher::sip::SipHasher13;

/// How many tables the index is split into. Each grows on its own, so that no single insertion
/// has to move millions of entries.
const SHARDS: usize = 256;

/// How finely the hash space is dealt out to the shards.
const SHARES: usize = 4096;

/// Keys of the hash, from outside: who does not know them cannot aim for collisions.
pub type HashKeys = (u64, u64);

/// Where to look for a client: the hash of its name, made once for all look-ups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u64);

impl Key {
    /// Of two names with the same tag in one shard most often one is meant.
    fn tag(self) -> u32 {
        self.0 as u32
    }
}

/// The index.
#[derive(Debug)]
pub struct Index {
    shards: Vec<Shard>,
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
    /// An empty one.
    pub fn new(keys: HashKeys) -> Index {
        let shard = |share: usize| {
            let place = (share as f64 + 0.5) / SHARES as f64;
            (SHARDS as f64 * (1.0 + place).log2()) as u8
        };
        Index {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            shard_of: (0..SHARES).map(shard).collect(),
            keys,
        }
    }

    /// The key of a name. SipHash-1-3 (Aumasson and Bernstein, 2012): keyed, made for tables that
    /// strangers fill.
    pub fn key(&self, client: &[u8]) -> Key {
        Key(SipHasher13::new_with_keys(self.keys.0, self.keys.1).hash(client))
    }

    /// The share is in the high bits: a shard uses the lowest.
    fn shard(&self, key: Key) -> usize {
        usize::from(self.shard_of[(key.0 >> 40) as usize % SHARES])
    }

    /// Makes room for so many more.
    pub fn reserve(&mut self, more: usize) {
        let mut shares = [0_usize; SHARDS];
        for &shard in &self.shard_of {
            shares[usize::from(shard)] += 1;
        }
        for (shard, shares) in self.shards.iter_mut().zip(shares) {
            shard.reserve(more * shares / SHARES);
        }
    }

    /// The slot under `key` that is the right one, as `is_right` says.
    pub fn find(&self, key: Key, is_right: impl Fn(u32) -> bool) -> Option<u32> {
        self.shards[self.shard(key)].find(key.tag(), is_right)
    }

    /// Reads what a look-up will read first, and gives something that depends on it.
    pub fn touch(&self, key: Key) -> u32 {
        self.shards[self.shard(key)].touch(key.tag())
    }

    /// The slot that a look-up will most likely ask about first.
    pub fn likely(&self, key: Key) -> Option<u32> {
        self.find(key, |_| true)
    }

    /// Puts a slot under `key`, which is not there.
    pub fn insert(&mut self, key: Key, slot: u32) {
        let shard = self.shard(key);
        self.shards[shard].insert(Entry {
            tag: key.tag(),
            slot,
        });
    }

    /// Takes a slot away that is under `key`.
    pub fn remove(&mut self, key: Key, slot: u32) {
        let shard = self.shard(key);
        self.shards[shard].remove(key.tag(), slot);
    }

    /// How many slots are in it.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len).sum()
    }

    /// How many there is room for.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.shards.iter().map(|shard| shard.entries.len()).sum()
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    tag: u32,
    slot: u32,
}

/// A shard that has any places has so many, of which one stays free.
const PLACES_MIN: usize = 8;

/// No slot has this number: memory ends long before.
const FREE: Entry = Entry {
    tag: 0,
    slot: u32::MAX,
};

/// A hash table with linear probing (Knuth, The Art of Computer Programming 3, 6.4, algorithms L and
/// R): an entry lies at the place that its tag names, or at the first after it that was free.
#[derive(Debug, Default)]
struct Shard {
    /// A power of two of them, or none.
    entries: Vec<Entry>,
    len: usize,
}

impl Shard {
    /// The most entries of so many places, of which there are [`PLACES_MIN`] at least.
    fn len_max(places: usize) -> usize {
        places - places / 8
    }

    fn mask(&self) -> usize {
        self.entries.len() - 1
    }

    fn touch(&self, tag: u32) -> u32 {
        let place = tag as usize & self.entries.len().wrapping_sub(1);
        self.entries.get(place).map_or(0, |entry| entry.slot)
    }

    fn find(&self, tag: u32, is_right: impl Fn(u32) -> bool) -> Option<u32> {
        if self.entries.is_empty() {
            return None;
        }
        let mut place = tag as usize & self.mask();
        loop {
            let entry = self.entries[place];
            if entry.slot == FREE.slot {
                return None;
            }
            if entry.tag == tag && is_right(entry.slot) {
                return Some(entry.slot);
            }
            place = (place + 1) & self.mask();
        }
    }

    fn reserve(&mut self, more: usize) {
        let wanted = self.len + more;
        let mut places = self.entries.len().max(PLACES_MIN);
        while Shard::len_max(places) < wanted {
            places *= 2;
        }
        if places > self.entries.len() {
            let before = std::mem::replace(&mut self.entries, vec![FREE; places]);
            let taken = before.into_iter().filter(|entry| entry.slot != FREE.slot);
            taken.for_each(|entry| self.put(entry));
        }
    }

    fn insert(&mut self, entry: Entry) {
        self.reserve(1);
        self.put(entry);
        self.len += 1;
    }

    fn put(&mut self, entry: Entry) {
        // There is always a free place, at which a look-up ends.
        debug_assert!(self.len < self.entries.len());
        let mut place = entry.tag as usize & self.mask();
        while self.entries[place].slot != FREE.slot {
            place = (place + 1) & self.mask();
        }
        self.entries[place] = entry;
    }

    fn remove(&mut self, tag: u32, slot: u32) {
        let mask = self.mask();
        let mut hole = tag as usize & mask;
        while self.entries[hole].slot != slot {
            assert_ne!(self.entries[hole].slot, FREE.slot, "it is not there");
            hole = (hole + 1) & mask;
        }
        // Whatever was displaced over the hole moves back, so that it is still found.
        let mut place = hole;
        loop {
            place = (place + 1) & mask;
            let entry = self.entries[place];
            if entry.slot == FREE.slot {
                break;
            }
            let displaced_by = place.wrapping_sub(entry.tag as usize) & mask;
            if displaced_by >= place.wrapping_sub(hole) & mask {
                self.entries[hole] = entry;
                hole = place;
            }
        }
        self.entries[hole] = FREE;
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shards_grow_one_after_the_other() {
        let mut index = Index::new((1, 2));
        let mut growths = Vec::new();
        for client in 0..60_000_u32 {
            let before = index.capacity();
            let key = index.key(&client.to_le_bytes());
            index.insert(key, client);
            let grown = index.capacity() > before;
            growths.extend((grown && client > 10_000).then_some(client));
        }
        // From 10,000 to 60,000 each shard doubles two or three times.
        assert!(growths.len() > 2 * SHARDS, "{}", growths.len());
        let busiest = (10..60_u32).map(|thousand| {
            let thousand = thousand * 1000..(thousand + 1) * 1000;
            growths
                .iter()
                .filter(|client| thousand.contains(client))
                .count()
        });
        assert!(busiest.max() < Some(SHARDS / 4), "they grow together");
    }

    proptest! {
        /// Few tags, so that runs are long, go round the end, and lie over each other.
        #[test]
        fn a_shard_is_like_a_list(steps in proptest::collection::vec((0..3_u32, 0..24_u32), 1..200)) {
            let tags = [0, 1, 2, 3, 7, 8, 15, 16, 31, u32::MAX - 1, u32::MAX];
            let tag = |slot: u32| tags[slot as usize % tags.len()];
            let (mut shard, mut model) = (Shard::default(), Vec::new());
            for (step, slot) in steps {
                match (step, model.iter().position(|held| *held == slot)) {
                    (0, Some(at)) => {
                        model.swap_remove(at);
                        shard.remove(tag(slot), slot);
                    }
                    (1 | 2, None) => {
                        model.push(slot);
                        shard.insert(Entry { tag: tag(slot), slot });
                    }
                    _ => {}
                }
                for slot in 0..24 {
                    let found = shard.find(tag(slot), |other| other == slot);
                    prop_assert_eq!(found.is_some(), model.contains(&slot));
                }
                prop_assert_eq!(shard.len, model.len());
            }
        }
    }
}
