//! A snapshot being written: a follower of the feed, in slices between the turns.
//!
//! `Journal` is the caller. A snapshot is the beginning of a new file, which has another name, `*.new`,
//! until it is complete and on the disk. It ends in a turn in which the follower has come to the feed's
//! end: so it tells exactly what was known then. A client that changed meanwhile is in it twice, and the
//! later entry counts.

use std::io;

use super::disk::{Disk, Step};
use super::format::{
    BEGAN, Batch, END, HEAD, KNOWN, LOCATION, MARKED, VERSION, VERSION_WITHOUT_TOMBSTONES, name,
};
use super::writer::Writer;
use crate::node::Node;
use crate::node::protocol::{Incarnation, MINOR, Mark};
use crate::node::table::ENTRIES_MAX;
use crate::time::{Now, Timestamp};
use crate::topology::ServerName;

/// The ending of a file that is not complete.
pub const NEW: &str = ".new";

/// A slice writes so many bytes, ...
pub const SLICE_BYTES: u64 = 512 * 1024;

/// ... and so many times as many as were written of changes since the last slice: so it gets ahead.
const SLICE_SHARE: u64 = 3;

/// A snapshot being written.
#[derive(Debug)]
pub struct Snapshot<F> {
    /// The number of its file.
    pub sequence: u64,
    /// The version of its format.
    pub version: u32,
    /// When it was begun.
    pub begun: Now,
    /// How many locations it has, tombstones included.
    pub locations: u64,
    /// Its file.
    pub out: Writer<F>,
    batch: Batch,
    /// The number of the last location; everything up to the other is in it.
    last: u64,
    cursor: u64,
}

impl<F: Clone> Snapshot<F> {
    /// Begins one.
    ///
    /// # Errors
    /// The disk's.
    pub fn begin<D: Disk<File = F>>(
        disk: &mut D,
        server: &ServerName,
        sequence: u64,
        node: &Node,
        now: Now,
    ) -> io::Result<Snapshot<F>> {
        let mut batch = Batch::new(0);
        let expected = node.table().len() as u64;
        batch.add(HEAD, [sequence, expected], server.as_bytes());
        let version = match node.table().tombstones() {
            0 => VERSION_WITHOUT_TOMBSTONES,
            _ => VERSION,
        };
        Ok(Snapshot {
            sequence,
            version,
            begun: now,
            locations: 0,
            out: Writer::create(disk, &format!("{}{NEW}", name(sequence)), version)?,
            batch,
            last: 0,
            cursor: 0,
        })
    }

    /// Writes a slice of so many bytes, and so many more as the changes since the last make needful. Says
    /// whether it has come to the end of the feed.
    ///
    /// # Errors
    /// The disk's.
    pub fn work<D: Disk<File = F>>(
        &mut self,
        disk: &mut D,
        node: &Node,
        (slice_bytes, changes_bytes): (u64, u64),
        time: Timestamp,
    ) -> io::Result<bool> {
        let slice_bytes = slice_bytes + SLICE_SHARE * changes_bytes;
        let until = self.out.bytes + slice_bytes;
        let mut entries = node.table().stored_after(self.cursor);
        for (number, stored) in entries.by_ref().take(ENTRIES_MAX) {
            self.cursor = number;
            let Some(stored) = stored else { continue };
            let numbers = [
                number - self.last,
                stored.effective.seconds() as u64,
                stored.effective.nanos().into(),
                stored.client_at.into(),
                stored.client_bytes.into(),
            ];
            self.batch.add(LOCATION, numbers, stored.line);
            (self.last, self.locations) = (number, self.locations + 1);
            if self.batch.is_full() || self.batch.bytes() > slice_bytes {
                self.out.append(disk, &mut self.batch, time)?;
                self.batch.clear(self.last);
                if self.out.bytes >= until {
                    break;
                }
            }
        }
        Ok(entries.next().is_none())
    }

    /// Writes what ends it: that it is all that is known now. Gives what is to be done for a start to
    /// find it, and not before it is whole.
    ///
    /// # Errors
    /// The disk's.
    pub fn end<D: Disk<File = F>>(
        &mut self,
        disk: &mut D,
        node: &Node,
        time: Timestamp,
    ) -> io::Result<Vec<Step<F>>> {
        let batch = &mut self.batch;
        for (neighbour, known, marked) in node.neighbours_known() {
            batch.add(KNOWN, known_numbers(known), neighbour.as_bytes());
            batch.add(MARKED, [marked], neighbour.as_bytes());
        }
        for (incarnation, from) in node.incarnations() {
            let numbers = began_numbers(incarnation, from, node);
            batch.add(BEGAN, numbers, began_text().as_bytes());
        }
        batch.add(END, [node.table().end(), self.locations], &[]);
        self.out.append(disk, batch, time)?;
        self.out.snapshot_bytes = self.out.bytes;
        let name = name(self.sequence);
        let rename = Step::Rename(format!("{name}{NEW}"), name);
        Ok(vec![
            Step::Sync(self.out.file.clone()),
            rename,
            Step::SyncNames,
        ])
    }
}

/// What is known of a neighbour, as numbers.
pub fn known_numbers(known: Option<Mark>) -> [u64; 2] {
    known.map_or([0, 0], |mark| [mark.incarnation.0, mark.number])
}

/// Which minor version of the link protocol is spoken, as text.
pub fn began_text() -> String {
    MINOR.to_string()
}

/// That an incarnation began when the feed had come to `from`, as numbers.
pub fn began_numbers(incarnation: Incarnation, from: u64, node: &Node) -> [u64; 3] {
    let after = node.forgets_after().unwrap_or_default();
    let after = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
    [incarnation.0, from, after]
}
