//! What a start takes into the table: a snapshot, then the changes after it.
//!
//! `Recovery` is the caller, before anything else happens to a table. All was decided when it was written, so nothing
//! is decided again; what has expired is left out. Of files and their forms this room knows nothing.

use super::location::Update;
use super::protocol::is_erased;
use super::record::{RECORD_BYTES, Source, Stored};
use super::table::{ENTRY_BYTES, Key, Table};

impl Table {
    /// Makes room for so many records.
    pub fn expect(&mut self, records: usize) {
        let records = records.min(self.limit / (RECORD_BYTES + ENTRY_BYTES));
        self.slots.reserve(records);
        self.index.reserve(records);
    }

    /// Takes in what a snapshot kept, with its number, unless it has expired. `false`, and nothing is done,
    /// if the numbers do not rise, or the line does not reach to the end of the client's name.
    ///
    /// The client is not looked up: in a snapshot almost all records are of different clients, and among
    /// millions each look-up waits for memory. Records are only written, one after the other. Before anything
    /// is looked up, [`Table::build_index`] must be called.
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
        let slot = self.slots.free_slot();
        self.index.load(key, slot);
        self.put(slot, stored, Source::Own);
        true
    }

    /// Takes in a change that a journal recorded, as the next of the feed. That it is a change was decided when
    /// it was written. Only a report that has expired is left out, and its number is used up. A tombstone is
    /// never left out: what it erased was taken in before it.
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

    /// Lets records make room, if any have to, at once and however long it takes: for a start.
    pub fn enforce_limit(&mut self) {
        if self.is_too_large() {
            self.make_room(usize::MAX);
        }
    }

    /// Notes that a line was salvaged once more. If it is the record that is held, this moves to the end of the
    /// feed, so that it is the last to make room: nobody knows when it came.
    pub fn read_again(&mut self, key: Key, update: &Update<'_>) {
        if let Some(slot) = self.find(key, update.client())
            && self.slots.record(slot).line.as_bytes() == update.line()
        {
            self.append(slot);
        }
    }
}
