//! A snapshot being written: a follower of the feed, in slices between the turns.
//!
//! `Journal` is the caller. A snapshot is written to a file with another name, `*.new`, and gets its own
//! once it is complete and on the disk. It ends in a turn in which the follower has come to the feed's
//! end: so it tells exactly what was known then. A client that changed meanwhile is in it twice, and the
//! later entry counts.

use std::io;

use super::disk::Disk;
use super::format::{
    BEGAN, Batch, CHAIN_AT_BIRTH, EARLIER, END, EXPECT, FileName, HEAD, KNOWN, Kind, LOCATION,
    MARKED, preamble, zigzag,
};
use crate::node::Node;
use crate::node::protocol::Mark;
use crate::node::table::ENTRIES_MAX;
use crate::time::{Now, Timestamp};
use crate::topology::ServerName;

/// The ending of a file that is not complete.
pub const NEW: &str = ".new";

/// A slice writes so many bytes, ...
const SLICE_BYTES: u64 = 512 * 1024;

/// ... or so many times as many as were told since the last slice if that is more: so it gets ahead.
const SLICE_SHARE: u64 = 3;

/// A snapshot being written.
#[derive(Debug)]
pub struct Snapshot<F> {
    /// The name that it will have.
    pub name: FileName,
    /// Its length so far, and how many locations it has.
    pub bytes: u64,
    pub locations: u64,
    /// When it was begun.
    pub begun: Now,
    /// Made when something is written to it first.
    file: Option<F>,
    batch: Batch,
    chain: u32,
    /// Everything up to this number is in it.
    cursor: u64,
    /// The number of the last location, and that from which those in the batch count.
    last: u64,
    first: u64,
}

impl<F: Clone> Snapshot<F> {
    /// One that has nothing yet.
    pub fn new(server: &ServerName, id: u64, sequence: u64, node: &Node, now: Now) -> Snapshot<F> {
        let kind = Kind::Snapshot;
        let mut batch = Batch::default();
        batch.add(HEAD, [kind as u64, id, sequence], server.as_bytes());
        batch.add(EXPECT, [node.table().len() as u64], &[]);
        Snapshot {
            name: FileName { kind, sequence },
            bytes: 0,
            locations: 0,
            begun: now,
            file: None,
            batch,
            chain: CHAIN_AT_BIRTH,
            cursor: 0,
            last: 0,
            first: 0,
        }
    }

    /// Writes a slice, where so many bytes were told since the last. Says whether it has come to the end
    /// of the feed.
    ///
    /// # Errors
    /// The disk's.
    pub fn work<D: Disk<File = F>>(
        &mut self,
        disk: &mut D,
        node: &Node,
        told_bytes: u64,
        time: Timestamp,
    ) -> io::Result<bool> {
        let until = self.bytes + SLICE_BYTES.max(SLICE_SHARE * told_bytes);
        let mut entries = node.table().stored_after(self.cursor);
        for (number, stored) in entries.by_ref().take(ENTRIES_MAX) {
            self.cursor = number;
            let Some(stored) = stored else { continue };
            let numbers = [
                number - self.last,
                zigzag(stored.effective.seconds()),
                stored.effective.nanos().into(),
                stored.client_at.into(),
                stored.client_bytes.into(),
            ];
            self.batch.add(LOCATION, numbers, stored.line);
            self.last = number;
            self.locations += 1;
            if self.batch.is_full() {
                self.write(disk, time)?;
                if self.bytes >= until {
                    break;
                }
            }
        }
        Ok(entries.next().is_none())
    }

    /// Writes what ends it: that it is all that was known when the journal had come to this place. Gives
    /// the file.
    ///
    /// # Errors
    /// The disk's.
    pub fn end<D: Disk<File = F>>(
        &mut self,
        disk: &mut D,
        node: &Node,
        chain: u32,
        time: Timestamp,
    ) -> io::Result<F> {
        let end = node.table().end();
        for (neighbour, known, marked) in node.neighbours_known() {
            let neighbour = neighbour.as_bytes();
            self.batch.add(KNOWN, known_numbers(known), neighbour);
            self.batch.add(MARKED, [marked], neighbour);
        }
        for (incarnation, ended) in node.incarnations() {
            match ended {
                Some(end) => self.batch.add(EARLIER, [incarnation.0, end], &[]),
                None => {
                    let after = node.forgets_after().unwrap_or_default();
                    let after = [after.as_secs(), after.subsec_nanos().into()];
                    self.batch
                        .add(BEGAN, [incarnation.0, end, after[0], after[1]], &[]);
                }
            }
        }
        self.batch
            .add(END, [chain.into(), end, self.locations], &[]);
        self.write(disk, time)
    }

    fn write<D: Disk<File = F>>(&mut self, disk: &mut D, time: Timestamp) -> io::Result<F> {
        let file = match &self.file {
            Some(file) => file.clone(),
            None => {
                let file = disk.create(&format!("{}{NEW}", self.name))?;
                disk.append(&file, &preamble())?;
                self.file.insert(file).clone()
            }
        };
        let (bytes, chain) = self.batch.seal(self.chain, self.first, time);
        disk.append(&file, bytes)?;
        self.bytes += bytes.len() as u64;
        (self.chain, self.first) = (chain, self.last);
        self.batch.clear();
        Ok(file)
    }
}

/// What is known of a neighbour, as numbers.
pub fn known_numbers(known: Option<Mark>) -> [u64; 2] {
    known.map_or([0, 0], |mark| [mark.incarnation.0, mark.number])
}
