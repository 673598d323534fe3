//! A snapshot being written: a follower of the feed, in slices between the turns.
//!
//! `Journal` is the caller. A snapshot is written to a file with another name, `*.new`, and gets its own
//! once it is complete and on the disk. It ends in a turn in which the follower has come to the feed's
//! end: so it tells exactly what was known then. A client that changed meanwhile is in it twice, and the
//! later entry counts.

use std::io;

use super::disk::{Disk, Step};
use super::format::{BEGAN, CHAIN_AT_BIRTH, END, FileName, KNOWN, LOCATION, MARKED};
use super::writer::{Owner, Writer};
use crate::node::Node;
use crate::node::protocol::Mark;
use crate::node::table::ENTRIES_MAX;
use crate::time::{Now, Timestamp};

/// The ending of a file that is not complete.
pub const NEW: &str = ".new";

/// A slice writes so many bytes, ...
const SLICE_BYTES: u64 = 512 * 1024;

/// ... and so many times as many as were written of changes since the last slice: so it gets ahead.
const SLICE_SHARE: u64 = 3;

/// A snapshot being written.
#[derive(Debug)]
pub struct Snapshot<F> {
    /// The name that it will have.
    pub name: FileName,
    /// When it was begun.
    pub begun: Now,
    /// How many locations it has.
    pub locations: u64,
    out: Writer<F>,
    /// Everything up to this number is in it.
    cursor: u64,
    /// How much had been written of changes at the last slice.
    changes_bytes: u64,
}

impl<F: Clone> Snapshot<F> {
    /// Begins one, where so many bytes of changes have been written in all.
    ///
    /// # Errors
    /// The disk's.
    pub fn begin<D: Disk<File = F>>(
        disk: &mut D,
        owner: &Owner,
        name: FileName,
        node: &Node,
        changes_bytes: u64,
        now: Now,
    ) -> io::Result<Snapshot<F>> {
        let mut out = Writer::new(CHAIN_AT_BIRTH, 0);
        out.begin(
            disk,
            owner,
            (name, NEW),
            node.table().len(),
            now.wall,
            |_| {},
        )?;
        Ok(Snapshot {
            name,
            begun: now,
            locations: 0,
            out,
            cursor: 0,
            changes_bytes,
        })
    }

    /// How long it is.
    pub fn bytes(&self) -> u64 {
        self.out.bytes
    }

    /// Writes a slice. Says whether it has come to the end of the feed.
    ///
    /// # Errors
    /// The disk's.
    pub fn work<D: Disk<File = F>>(
        &mut self,
        disk: &mut D,
        node: &Node,
        changes_bytes: u64,
        time: Timestamp,
    ) -> io::Result<bool> {
        let before = std::mem::replace(&mut self.changes_bytes, changes_bytes);
        let until = self.out.bytes + SLICE_BYTES + SLICE_SHARE * (changes_bytes - before);
        let mut entries = node.table().stored_after(self.cursor);
        for (number, stored) in entries.by_ref().take(ENTRIES_MAX) {
            self.cursor = number;
            let Some(stored) = stored else { continue };
            let numbers = [
                number - self.out.end,
                stored.effective.seconds() as u64,
                stored.effective.nanos().into(),
                stored.client_at.into(),
                stored.client_bytes.into(),
            ];
            self.out.add(LOCATION, numbers, stored.line);
            self.out.end = number;
            self.locations += 1;
            if self.out.is_full() {
                self.out.write(disk, time)?;
                if self.out.bytes >= until {
                    break;
                }
            }
        }
        Ok(entries.next().is_none())
    }

    /// Writes what ends it: that it is all that was known when the journal had come to this place. Gives
    /// what is then to be done for it to be found by a start, and only if it is whole.
    ///
    /// # Errors
    /// The disk's.
    pub fn end<D: Disk<File = F>>(
        &mut self,
        disk: &mut D,
        node: &Node,
        chain: u32,
        time: Timestamp,
    ) -> io::Result<Vec<Step<F>>> {
        for (neighbour, known, marked) in node.neighbours_known() {
            let neighbour = neighbour.as_bytes();
            self.out.add(KNOWN, known_numbers(known), neighbour);
            self.out.add(MARKED, [marked], neighbour);
        }
        let after = node.forgets_after().unwrap_or_default();
        let after = [after.as_secs(), after.subsec_nanos().into()];
        for (incarnation, from) in node.incarnations() {
            let numbers = [incarnation.0, from, after[0], after[1]];
            self.out.add(BEGAN, numbers, &[]);
        }
        let end = [chain.into(), node.table().end(), self.locations];
        self.out.add(END, end, &[]);
        self.out.write(disk, time)?;
        let sync = self.out.file.clone().map(Step::Sync);
        let rename = Step::Rename(format!("{}{NEW}", self.name), self.name.to_string());
        Ok(sync.into_iter().chain([rename, Step::SyncNames]).collect())
    }
}

/// What is known of a neighbour, as numbers.
pub fn known_numbers(known: Option<Mark>) -> [u64; 2] {
    known.map_or([0, 0], |mark| [mark.incarnation.0, mark.number])
}
