//! All connections, each in a place of its own.
//!
//! `Lifecycle` owns them; `Reactor` is a caller too, and `pressure` reads them. A place is used again, but no id:
//! who is asked for by an id is never another that has taken the place.

use slab::{Slab, VacantEntry};

use super::connection::{Connection, Role};
use crate::connection_id::ConnectionId;

/// The connections of a reactor.
#[derive(Debug)]
pub(super) struct Connections<R: Role>(Slab<Connection<R>>);

impl<R: Role> Connections<R> {
    /// None yet.
    pub fn new() -> Connections<R> {
        Connections(Slab::new())
    }

    /// The place of the next one.
    pub fn vacant_entry(&mut self) -> VacantEntry<'_, Connection<R>> {
        self.0.vacant_entry()
    }

    /// Frees a place. Its connection must be there.
    pub fn remove(&mut self, id: ConnectionId) -> Connection<R> {
        let connection = self.0.remove(id.slot);
        debug_assert_eq!(connection.id, id, "a place is freed once");
        connection
    }

    /// The connection of this id, if it is still there.
    pub fn get(&self, id: ConnectionId) -> Option<&Connection<R>> {
        self.at(id.slot).filter(|connection| connection.id == id)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection<R>> {
        self.at_mut(id.slot)
            .filter(|connection| connection.id == id)
    }

    /// The connection in a place, whichever it is.
    pub fn at(&self, slot: usize) -> Option<&Connection<R>> {
        self.0.get(slot)
    }

    /// The same, to be changed.
    pub fn at_mut(&mut self, slot: usize) -> Option<&mut Connection<R>> {
        self.0.get_mut(slot)
    }

    /// All of them, in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = &Connection<R>> {
        self.0.iter().map(|(_, connection)| connection)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many places there are without new memory. No place's number is higher.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }
}
