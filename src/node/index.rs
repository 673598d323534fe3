//! From a client's name to the slot of its record, by the hash of the name.
//!
//! `Table` is the only caller; it has the names. Never iterated: no order that can be seen comes
//! from a hash.
//!
//! An entry is 32 bits of the hash beside the slot, so that a look-up that finds nothing, an
//! insertion and the growth of a shard read and write the index only, and none of the records, each
//! of which, with millions of clients, is memory to wait for.

use std::sync::LazyLock;

use siphasher::sip::SipHasher13;

/// How many tables the index is split into. Each grows on its own, so that no single insertion
/// has to move millions of entries.
const SHARDS: usize = 256;

/// How finely the hash space is dealt out to the shards.
const SHARES: usize = 4096;

/// To which shard each share of the hash space belongs.
///
/// A shard grows by a tenth when it is full. Equal shards would all do so within a few thousand
/// insertions of each other, each leaving memory that none of the others has a use for. So they
/// are unequal: the last gets twice the share of the first, and those between rise evenly in the
/// logarithm, so that they grow one after the other, each into the size that another has left.
static SHARD_OF: LazyLock<[u8; SHARES]> = LazyLock::new(|| {
    std::array::from_fn(|share| {
        let place = (share as f64 + 0.5) / SHARES as f64;
        (SHARDS as f64 * (1.0 + place).log2()) as u8
    })
});

/// Keys of the hash, from outside: who does not know them cannot aim for collisions.
pub type HashKeys = (u64, u64);

/// Stands where there is no slot: memory ends long before there are so many.
const NO_SLOT: u32 = u32::MAX;

/// Where to look for a client: the hash of its name, made once for all look-ups.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    hash: u64,
    /// The slot in which the client almost always is, if it was prefetched. The slot may be another's, or have
    /// become another's since.
    pub(super) candidate: u32,
}

impl Key {
    /// Whether both are of one name, as good as certainly.
    pub fn is_same(self, other: Key) -> bool {
        self.hash == other.hash
    }

    /// Two keys of one shard that have the same tag are almost always of one name.
    fn tag(self) -> u32 {
        self.hash as u32
    }
}

/// The index.
#[derive(Debug)]
pub struct Index {
    shards: Box<[Shard; SHARDS]>,
    shard_of: &'static [u8; SHARES],
    keys: HashKeys,
}

impl Index {
    /// The keys of its hash.
    pub fn keys(&self) -> HashKeys {
        self.keys
    }

    /// An empty one.
    pub fn new(keys: HashKeys) -> Index {
        Index {
            shards: Box::new(std::array::from_fn(|_| Shard::default())),
            shard_of: &SHARD_OF,
            keys,
        }
    }

    /// The key of a name, by SipHash-1-3 (Aumasson and Bernstein, 2012): keyed, made for tables that
    /// strangers fill.
    pub fn key(&self, client: &[u8]) -> Key {
        let (low, high) = self.keys;
        Key {
            hash: SipHasher13::new_with_keys(low, high).hash(client),
            candidate: NO_SLOT,
        }
    }

    /// The share is in the high bits: a shard uses the lowest.
    fn shard(&self, key: Key) -> usize {
        usize::from(self.shard_of[(key.hash >> 40) as usize % SHARES])
    }

    /// Makes room for so many that are to be loaded.
    pub fn reserve(&mut self, entries: usize) {
        let mut shares = [0_usize; SHARDS];
        for &shard in self.shard_of.iter() {
            shares[usize::from(shard)] += 1;
        }
        for (shard, shares) in self.shards.iter_mut().zip(shares) {
            let part = entries * shares / SHARES;
            shard.loaded.reserve(part + part / 32); // by chance some get a few more
        }
    }

    /// The slot under `key` that is the right one, as `is_right` says.
    pub fn find(&self, key: Key, is_right: impl Fn(u32) -> bool) -> Option<u32> {
        self.shards[self.shard(key)].find(key.tag(), is_right)
    }

    /// Prefetches what a look-up will read first, and gives something that depends on it.
    pub fn prefetch(&self, key: Key) -> u32 {
        let run = self.shards[self.shard(key)].run_of(key.tag());
        run.first().map_or(NO_SLOT, |entry| entry.slot)
    }

    /// The slot that a look-up will ask about first, [`NO_SLOT`] if it will ask about none.
    pub fn candidate(&self, key: Key) -> u32 {
        self.find(key, |_| true).unwrap_or(NO_SLOT)
    }

    /// Puts a slot under `key`, which is not there.
    pub fn insert(&mut self, key: Key, slot: u32) {
        let shard = self.shard(key);
        self.shards[shard].insert(Entry {
            tag: key.tag(),
            slot,
        });
    }

    /// Puts a slot under `key`, to be found once [`Index::build`] has been called.
    pub fn load(&mut self, key: Key, slot: u32) {
        let shard = self.shard(key);
        self.shards[shard].loaded.push(Entry {
            tag: key.tag(),
            slot,
        });
    }

    /// Inserts what was loaded, in the order in which it will lie, one shard after the other: each is small
    /// enough for the processor's caches. Of several slots of one client, as `is_same` says, the highest stays.
    /// Gives the others.
    pub fn build(&mut self, is_same: impl Fn(u32, u32) -> bool) -> Vec<u32> {
        let mut superseded = Vec::new();
        for shard in self.shards.iter_mut() {
            let mut entries = std::mem::take(&mut shard.loaded);
            entries.extend(shard.entries.iter().filter(|&&entry| entry != FREE));
            let order = |entry: &Entry| u64::from(entry.tag) << u32::BITS | u64::from(entry.slot);
            entries.sort_unstable_by_key(order);
            let mut kept = 0;
            for at in 0..entries.len() {
                let entry = entries[at];
                let run = entries[..kept].iter_mut().rev();
                let mut run = run.take_while(|earlier| earlier.tag == entry.tag);
                match run.find(|earlier| is_same(earlier.slot, entry.slot)) {
                    Some(same) => superseded.push(std::mem::replace(&mut same.slot, entry.slot)),
                    None => {
                        entries[kept] = entry;
                        kept += 1;
                    }
                }
            }
            entries.truncate(kept);
            shard.len = kept;
            shard.lay_out(entries.into_iter(), Shard::homes_for(shard.homes, kept));
        }
        superseded
    }

    /// Takes a slot away that is under `key`.
    pub fn remove(&mut self, key: Key, slot: u32) {
        let shard = self.shard(key);
        self.shards[shard].remove(Entry {
            tag: key.tag(),
            slot,
        });
    }

    /// Notes that what is in a slot, under `key`, has moved to another.
    pub fn replace(&mut self, key: Key, slot: u32, by: u32) {
        let shard = self.shard(key);
        self.shards[shard].replace(key.tag(), slot, by);
    }

    /// How many slots are in it.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len).sum()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    tag: u32,
    slot: u32,
}

/// Stands where there is no entry. No tag is above its tag.
const FREE: Entry = Entry {
    tag: u32::MAX,
    slot: NO_SLOT,
};

/// A shard grows by so many homes, or by a tenth if that is more: through the same sizes as all.
const GROWTH_MIN: usize = 8;

/// A shard with fewer homes keeps them; one with more has half as many once two thirds are free.
const SHRINKS_FROM: usize = 64;

/// So many entries are compared at a time: a cache line of them.
const STRIDE: usize = 8;

/// Room for a run that reaches beyond the last home.
const TAIL: usize = 32;

/// A hash table with linear probing in which the entries lie in the order of their tags (Amble and
/// Knuth, Ordered hash tables, 1974): each at its home or after it, with nothing free between.
///
/// A home is to all homes as the tag is to all tags (Lemire, Fast random integer generation in an
/// interval, 2019), so homes are in that order too, whatever their number. Therefore a look-up of
/// what is not there ends at the first greater tag, a removal moves the rest of the run back, and
/// growth, by however little, is one pass.
#[derive(Debug, Default)]
struct Shard {
    /// The last [`STRIDE`] are free, if there are any.
    entries: Vec<Entry>,
    homes: usize,
    len: usize,
    /// What is still to be inserted.
    loaded: Vec<Entry>,
}

impl Shard {
    /// The most entries for so many homes. One that is looked for is then the fifth from its home,
    /// and a new one moves fifty, on average.
    fn len_max(homes: usize) -> usize {
        homes - homes / 10
    }

    /// The product cannot overflow: there are fewer homes than tags.
    fn home(tag: u32, homes: usize) -> usize {
        ((u64::from(tag) * homes as u64) >> u32::BITS) as usize
    }

    /// Where `tag` would be: the entries from its home on.
    fn run_of(&self, tag: u32) -> &[Entry] {
        let home = Shard::home(tag, self.homes);
        self.entries.get(home..).unwrap_or_default()
    }

    fn find(&self, tag: u32, is_right: impl Fn(u32) -> bool) -> Option<u32> {
        let run = self.run_of(tag);
        for entry in &run[count_below(run, tag)..] {
            if entry.tag != tag || *entry == FREE {
                return None;
            }
            if is_right(entry.slot) {
                return Some(entry.slot);
            }
        }
        None
    }

    /// Where the first entry is that has this tag, or would have to be.
    fn place(&self, tag: u32) -> usize {
        Shard::home(tag, self.homes) + count_below(self.run_of(tag), tag)
    }

    fn insert(&mut self, entry: Entry) {
        self.reserve(1);
        let place = self.place(entry.tag);
        let rest = self.entries[place..].iter();
        let free = place + rest.take_while(|&&entry| entry != FREE).count();
        self.entries.copy_within(place..free, place + 1);
        self.entries[place] = entry;
        self.len += 1;
        if free + STRIDE == self.entries.len() {
            self.entries.reserve_exact(STRIDE); // and not twice as much
            self.entries.push(FREE);
        }
    }

    /// Where exactly this entry is.
    fn place_of(&self, entry: Entry) -> usize {
        let first = self.place(entry.tag);
        let same = self.entries[first..]
            .iter()
            .position(|&other| other == entry);
        first + same.expect("who takes something away has put it there")
    }

    fn replace(&mut self, tag: u32, slot: u32, by: u32) {
        let place = self.place_of(Entry { tag, slot });
        self.entries[place].slot = by;
    }

    fn remove(&mut self, entry: Entry) {
        let place = self.place_of(entry);
        let after = place + 1;
        // Up to what is free or at home all are displaced.
        let displaced = (after..).zip(&self.entries[after..]);
        let displaced = displaced
            .take_while(|&(at, &entry)| entry != FREE && Shard::home(entry.tag, self.homes) < at);
        let end = after + displaced.count();
        self.entries.copy_within(after..end, place);
        self.entries[end - 1] = FREE;
        self.len -= 1;
        if self.homes >= SHRINKS_FROM && self.len < self.homes / 3 {
            self.lay_out_anew(self.homes / 2);
        }
    }

    fn reserve(&mut self, more: usize) {
        let wanted = self.len + more;
        if wanted <= Shard::len_max(self.homes) {
            return;
        }
        self.lay_out_anew(Shard::homes_for(self.homes, wanted));
    }

    fn lay_out_anew(&mut self, homes: usize) {
        let entries = std::mem::take(&mut self.entries).into_iter();
        self.lay_out(entries.filter(|&entry| entry != FREE), homes);
    }

    /// The number of homes for so many entries, if there are so many homes now.
    fn homes_for(mut homes: usize, entries: usize) -> usize {
        while Shard::len_max(homes) < entries {
            homes += GROWTH_MIN.max(homes / 10);
        }
        homes
    }

    /// Has these entries, in the order of their tags, and no others.
    fn lay_out(&mut self, sorted: impl Iterator<Item = Entry>, homes: usize) {
        let mut entries = Vec::with_capacity(homes + TAIL);
        for entry in sorted {
            let home = Shard::home(entry.tag, homes);
            entries.resize(entries.len().max(home), FREE);
            entries.push(entry);
        }
        entries.resize(entries.len().max(homes) + STRIDE, FREE);
        (self.entries, self.homes) = (entries, homes);
    }
}

/// How many entries of a run stand before a tag. Counted without a branch among [`STRIDE`]: where in
/// its run an entry is no processor can predict.
fn count_below(run: &[Entry], tag: u32) -> usize {
    let mut below = 0;
    while let Some(next) = run[below..].first_chunk::<STRIDE>() {
        let more: usize = next.iter().map(|entry| usize::from(entry.tag < tag)).sum();
        below += more;
        if more < STRIDE {
            break;
        }
    }
    below
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shards_grow_one_after_the_other() {
        let mut index = Index::new((1, 2));
        let mut random = 1_u64;
        let growths: Vec<_> = (0..100)
            .map(|_| {
                let before: Vec<_> = index.shards.iter().map(|shard| shard.homes).collect();
                // One for each share, so that chance does not scatter what were dealt out alike.
                for share in 0..SHARES as u64 {
                    random = random.wrapping_mul(6_364_136_223_846_793_005) + 1;
                    let hash = share << 40 | random >> u32::BITS;
                    let candidate = NO_SLOT;
                    index.insert(Key { hash, candidate }, share as u32);
                }
                let grown = index.shards.iter().zip(before);
                grown
                    .filter(|(shard, before)| shard.homes > *before)
                    .count()
            })
            .collect();
        // Twice as many entries are seven growths of each shard.
        let last = &growths[50..];
        assert!(last.iter().sum::<usize>() > 6 * SHARDS, "{growths:?}");
        assert!(last.iter().max() < Some(&(SHARDS / 2)), "{growths:?}");
    }

    impl Shard {
        fn check_invariants(&self) {
            let mut before = None;
            let mut held = 0;
            for (at, &entry) in self.entries.iter().enumerate() {
                if entry != FREE {
                    let home = Shard::home(entry.tag, self.homes);
                    assert!(home <= at, "{entry:?} is before its home");
                    assert!(
                        !self.entries[home..at].contains(&FREE),
                        "{entry:?} is not found"
                    );
                    assert!(before <= Some(entry.tag), "{entry:?} is out of order");
                    before = Some(entry.tag);
                    held += 1;
                }
            }
            assert_eq!(held, self.len, "entries are miscounted");
            assert!(self.len <= Shard::len_max(self.homes), "it is too full");
            if let Some(end) = self.entries.len().checked_sub(STRIDE) {
                assert!(self.entries[end..].iter().all(|&entry| entry == FREE));
            }
        }
    }

    proptest! {
        /// Few tags, so that runs are long, lie over each other, and reach beyond the last home. First it
        /// mostly grows, then it mostly shrinks.
        #[test]
        fn a_shard_is_like_a_list(
            few in any::<bool>(),
            grows in proptest::collection::vec((0..4_u32, 0..100_u32), 1..200),
            shrinks in proptest::collection::vec((0..2_u32, 0..100_u32), 1..200),
        ) {
            let tag = |slot: u32| match few {
                true => [0, 1, 1 << 31, u32::MAX - 1, u32::MAX][slot as usize % 5],
                false => slot.wrapping_mul(2_654_435_761),
            };
            let (mut shard, mut model) = (Shard::default(), Vec::new());
            // Where a client is now, from 100 on after it has moved.
            for (step, client) in grows.into_iter().chain(shrinks) {
                let held = model.iter().position(|slot| slot % 100 == client);
                let entry = |slot: u32| Entry { tag: tag(slot % 100), slot };
                match (step, held) {
                    (0, Some(at)) => shard.remove(entry(model.swap_remove(at))),
                    (1, Some(at)) => {
                        let moved = (model[at] + 100) % 200;
                        shard.replace(tag(client), model[at], moved);
                        model[at] = moved;
                    }
                    (1.., None) => {
                        model.push(client);
                        shard.insert(entry(client));
                    }
                    _ => {}
                }
                for slot in 0..200 {
                    let found = shard.find(tag(slot % 100), |other| other == slot);
                    prop_assert_eq!(found, model.contains(&slot).then_some(slot));
                }
                prop_assert_eq!(shard.len, model.len());
                shard.check_invariants();
            }
        }
    }
}
