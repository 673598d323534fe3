//! What a journal gives back to a node at its start, before anything else happens.
//!
//! `Node` lends what is filled, and the journal's recovery is the caller. It says what the journal
//! holds; whether the journal can be relied on is decided there. If it cannot, it starts over
//! ([`Recovery::start_over`]) and gives locations only ([`Recovery::salvage`]): then this incarnation
//! claims nothing of those before it, and knows no mark of a neighbour, so neighbours send everything
//! and are sent everything.

use super::clock::Clock;
use super::links::Links;
use super::location::Update;
use super::protocol::{Incarnation, Mark, parse_update};
use super::table::{Key, PREFETCH_MAX, Source, Stored, Table};
use crate::time::Timestamp;
use crate::topology::ServerName;

/// A node that knows nothing yet.
#[derive(Debug)]
pub struct Recovery<'a> {
    /// Whose it is.
    pub name: &'a ServerName,
    /// The incarnation that is about to begin.
    pub incarnation: Incarnation,
    /// What has an effective time before this has expired, and is not taken in.
    pub oldest: Timestamp,
    pub(super) table: &'a mut Table,
    pub(super) links: &'a mut Links,
    pub(super) clock: &'a mut Clock,
}

impl Recovery<'_> {
    /// Forgets all that was given so far.
    pub fn start_over(&mut self) {
        self.table.clear();
        self.table.expire_before(self.oldest);
        self.links.history.forget();
        self.links.forget_marks();
    }

    /// Makes room for so many locations.
    pub fn expect(&mut self, locations: usize) {
        self.table.expect(locations);
    }

    /// Takes in a location of a snapshot. `false` if it cannot be one: see [`Table::load`].
    pub fn load(&mut self, stored: &Stored<'_>) -> bool {
        self.table.load(stored)
    }

    /// Ends the loading of a snapshot.
    pub fn build_index(&mut self) {
        self.table.build_index();
    }

    /// How many locations there are.
    pub fn locations(&self) -> usize {
        self.table.locations()
    }

    /// The number of the last change.
    pub fn end(&self) -> u64 {
        self.table.end()
    }

    /// Lets the feed go on after `end`. `false`, and nothing is done, if it has gone beyond that, or can never
    /// come to it.
    pub fn advance(&mut self, end: u64) -> bool {
        self.table.advance(end)
    }

    /// Takes in the next changes of the feed, as `AT` and `ERASED` lines. `false` if one is none; those before it
    /// were taken in.
    pub fn replay(&mut self, lines: &[&[u8]]) -> bool {
        self.prepare(lines, |table, key, update| table.replay(key, update))
    }

    /// Takes in the locations and erasures that these lines tell of, in any order. What is neither is left
    /// out.
    pub fn salvage(&mut self, lines: &[&[u8]]) {
        let mut rest = lines;
        while !self.prepare(rest, |table, key, update| {
            let taken = match update {
                Update::Report(location) => table.accept(key, location, Source::Own),
                Update::Erasure(erasure) => table.erase(key, erasure, Source::Own),
            };
            if taken.is_none() {
                table.read_again(key, update);
            }
        }) {
            let bad = rest.iter().position(|line| parse_update(line).is_none());
            rest = bad.map_or(&[][..], |bad| &rest[bad + 1..]);
        }
    }

    /// Reads lines, some at a time, and prefetches what these need of the table before each is taken.
    fn prepare(
        &mut self,
        lines: &[&[u8]],
        mut take: impl FnMut(&mut Table, Key, &Update<'_>),
    ) -> bool {
        let mut read = Vec::with_capacity(PREFETCH_MAX.min(lines.len()));
        for some in lines.chunks(PREFETCH_MAX) {
            let updates = some.iter().map_while(|line| parse_update(line));
            read.clear();
            read.extend(updates.map(|update| (self.table.key(update.client()), update)));
            self.table.prefetch(read.iter_mut().map(|(key, _)| key));
            for (key, update) in &read {
                take(self.table, *key, update);
            }
            if read.len() < some.len() {
                return false;
            }
        }
        true
    }

    /// Notes that something of the journal was written when the clock showed this.
    pub fn written(&mut self, time: Timestamp) {
        self.clock.note_written(time);
    }

    /// Notes what is known of a neighbour's feed. Of a server that is no neighbour any longer it stays true, and
    /// counts when it is one again.
    pub fn know(&mut self, neighbour: &[u8], known: Option<Mark>) {
        if let Some(link) = self.links.link_to(neighbour) {
            link.set_known(known);
        }
    }

    /// Forgets what is known of each neighbour's feed, so that each sends everything.
    pub fn forget_known(&mut self) {
        self.links.forget_known();
    }

    /// Notes that a neighbour was sent this mark of our feed.
    pub fn marked(&mut self, neighbour: &[u8], number: u64) {
        if let Some(link) = self.links.link_to(neighbour) {
            link.set_marked(number);
        }
    }

    /// Notes that an incarnation began when the feed had come to `from`, after those that are known.
    pub fn began(&mut self, incarnation: Incarnation, from: u64) {
        self.links.history.begin(incarnation, from);
    }

    /// Begins the present incarnation: all has been taken in. Gives the number that the feed has come to.
    pub fn begin(self) -> u64 {
        self.table.build_index();
        if self.table.tombstones() > 0 {
            self.table.sweep_all(); // those that have expired have done what they were for
        }
        self.table.enforce_limit();
        let end = self.table.end();
        self.links.history.begin(self.incarnation, end);
        end
    }
}
