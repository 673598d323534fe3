//! How far the feed has been written: to a log that lacks something, or to the file that is to
//! replace it. `Log` and `Checkpoint` have one each and write slices of it between the turns.

use std::io;

use crate::node::Node;
use crate::node::table::{Change, Table};

/// So many bytes are written in one turn, more only to keep ahead of the feed.
const SLICE_BYTES: usize = 256 * 1024;

/// So many entries of the feed are passed over in one turn because they have changed again since, or
/// expired; more only to keep ahead of the feed. Each may wait for memory.
pub const PASSED_MAX: usize = 4096;

/// A place in the feed.
#[derive(Debug)]
pub struct Cursor {
    /// What changed up to this number is written.
    at: u64,
    /// Whether the last slice has come to the end.
    ended: bool,
    /// Where the feed had come to a turn ago.
    seen: Option<u64>,
}

impl Cursor {
    /// What changed up to `at` is written.
    pub fn new(at: u64) -> Cursor {
        Cursor {
            at,
            ended: false,
            seen: None,
        }
    }

    /// What changed up to this number is written.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Whether the last slice has come to the end of the feed: what came since is in the log anyway.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Has `write` write a slice, which tells how many bytes each change takes. What has expired is
    /// passed over, and forgotten. To be called once a turn, or [`Cursor::wait`] instead.
    ///
    /// # Errors
    /// Those of `write`; nothing can be said then of how much was written.
    pub fn slice(
        &mut self,
        node: &mut Node,
        mut write: impl FnMut(Change<'_>) -> io::Result<usize>,
    ) -> io::Result<()> {
        let (table, before) = (node.table(), self.at);
        let entries_min = self.entries_min(table);
        let (mut bytes, mut passed, mut entries) = (0, 0, 0);
        let mut is_cut_short = false;
        for (number, change) in table.entries_after(before) {
            let is_enough = bytes >= SLICE_BYTES || passed >= PASSED_MAX;
            if is_enough && entries >= entries_min {
                is_cut_short = true;
                break;
            }
            match change {
                Some(change) => bytes += write(change)?,
                None => passed += 1,
            }
            entries += 1;
            self.at = number;
        }
        self.ended = !is_cut_short;
        if self.ended {
            self.at = table.end();
        }
        node.forget_expired(before, self.at);
        Ok(())
    }

    /// Lets a turn pass without a slice.
    pub fn wait(&mut self, table: &Table) {
        self.entries_min(table);
    }

    /// A change appends one entry to the feed. If two are passed for each, the end comes nearer by
    /// one, however many changes come in a turn.
    fn entries_min(&mut self, table: &Table) -> u64 {
        let end = table.end();
        let before = self.seen.replace(end).unwrap_or(end);
        2 * (end - before)
    }
}
