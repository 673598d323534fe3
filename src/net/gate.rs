//! Which roles wait: nothing is read from their connections, and nothing written to them.
//!
//! `Lifecycle` owns one. Connections that would be served while their role waits are set aside here, so
//! that the loop goes on with the others and sleeps when those are done.

use super::connection::Role;
use crate::connection_id::ConnectionId;

/// The roles that wait, and their connections that would be served otherwise.
#[derive(Debug)]
pub struct Gate<R> {
    closed: Vec<R>,
    ready: Vec<ConnectionId>,
    dirty: Vec<ConnectionId>,
}

impl<R: Role> Gate<R> {
    /// No role waits.
    pub fn new() -> Gate<R> {
        Gate {
            closed: Vec::new(),
            ready: Vec::new(),
            dirty: Vec::new(),
        }
    }

    /// Whether connections of `role` wait.
    pub fn is_closed(&self, role: R) -> bool {
        self.closed.contains(&role)
    }

    /// Lets those of `role` wait.
    pub fn close(&mut self, role: R) {
        if !self.is_closed(role) {
            self.closed.push(role);
        }
    }

    /// Lets those of `role` be served. Gives all that were set aside, first to be read, then to be written
    /// to: who still has to wait may come back.
    pub fn open(&mut self, role: R) -> (Vec<ConnectionId>, Vec<ConnectionId>) {
        self.closed.retain(|closed| *closed != role);
        (
            std::mem::take(&mut self.ready),
            std::mem::take(&mut self.dirty),
        )
    }

    /// Sets aside a connection that has something to be read.
    pub fn push_ready(&mut self, id: ConnectionId) {
        self.ready.push(id);
    }

    /// Sets aside a connection that has something to be written.
    pub fn push_dirty(&mut self, id: ConnectionId) {
        self.dirty.push(id);
    }
}
