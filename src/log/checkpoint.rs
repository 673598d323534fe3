//! The file that is to replace the log: everything a restart must know, in the order of the feed.
//!
//! `Log` makes one when the log has grown too long or can no longer be relied on, and turns it in
//! slices while the old log is still written. It is a cursor in the feed like any other:
//!
//! ```text
//!   Writing ---reached the end---> Syncing ---synced---> Writing what came meanwhile ---> replace
//!      ^                                                     |
//!      +----------------------- too much -------------------+
//! ```
//!
//! Until it is complete and on the disk, the log is the old file; from then on it is this one. The
//! change is one rename, so at every moment there is one file that knows everything.

use std::io;

use super::appender::Appender;
use super::cursor::Cursor;
use super::disk::{Disk, Ticket};
use super::note;
use super::record::{self, Direction, Label, Stamp};
use crate::node::Node;

/// Records beyond this are written before the slice is over.
const BUFFER_BYTES_MAX: usize = 256 * 1024;

/// After so many syncs what came meanwhile is taken to be as little as it will be.
const SYNCS_MAX: u32 = 4;

/// A checkpoint being written.
#[derive(Debug)]
pub struct Checkpoint<F> {
    out: Appender<F>,
    buffer: Vec<u8>,
    cursor: Cursor,
    /// Locations in it.
    records: u64,
    /// Slices written since the last sync.
    slices: u32,
    syncs: u32,
    syncing: Option<Ticket>,
}

/// What a step has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is more to write, or a sync is awaited.
    Unfinished,
    /// Everything is in it, and nearly all of it on the disk: it is time for [`Checkpoint::finish`].
    Complete,
}

impl<F> Checkpoint<F> {
    /// Begins one in a file that is empty.
    pub fn new(out: Appender<F>) -> Checkpoint<F> {
        Checkpoint {
            out,
            buffer: Vec::new(),
            cursor: Cursor::new(0),
            records: 0,
            slices: 0,
            syncs: 0,
            syncing: None,
        }
    }

    /// Whether a step has something to do.
    pub fn is_busy(&self) -> bool {
        self.syncing.is_none()
    }

    /// Writes a slice of what is missing; once nothing is, has it synced, and then writes what has
    /// come meanwhile.
    ///
    /// # Errors
    /// The disk's: the file is then of no use.
    pub fn step<D: Disk<File = F>>(
        &mut self,
        disk: &mut D,
        node: &mut Node,
        stamp: &mut Stamp,
        ticket: Ticket,
    ) -> io::Result<Step> {
        if self.syncing.is_some() {
            self.cursor.wait(node.table());
            return Ok(Step::Unfinished);
        }
        self.slices += 1;
        self.write_slice(disk, node, stamp)?;
        if !self.cursor.has_ended() {
            return Ok(Step::Unfinished);
        }
        let is_little = self.syncs > 0 && self.slices == 1;
        if is_little || self.syncs == SYNCS_MAX {
            return Ok(Step::Complete);
        }
        disk.sync_later(&self.out.file, ticket);
        self.syncing = Some(ticket);
        self.slices = 0;
        Ok(Step::Unfinished)
    }

    /// Takes in that a sync has been done. `false` if it was not ours.
    pub fn handle_synced(&mut self, ticket: Ticket) -> bool {
        let ours = self.syncing == Some(ticket);
        if ours {
            self.syncing = None;
            self.syncs += 1;
        }
        ours
    }

    /// Writes what a restart must know beside the locations, once [`Step::Complete`] has been
    /// reached and before anything else happens. Gives the file, which may replace the log as soon
    /// as it is synced.
    ///
    /// # Errors
    /// The disk's: the file is then of no use.
    pub fn finish<D: Disk<File = F>>(
        mut self,
        disk: &mut D,
        node: &Node,
        stamp: &mut Stamp,
    ) -> io::Result<Appender<F>> {
        for (incarnation, end) in node.lives() {
            let note = match end {
                Some(end) => note::life(incarnation, end),
                None => note::checkpoint(incarnation, node.table().end(), self.records),
            };
            self.note(stamp, &note);
        }
        if let Some(after) = node.forgets_after() {
            self.note(stamp, &note::forgets(after));
        }
        for (name, life, known) in node.neighbours_known() {
            self.note(stamp, &note::neighbour(name, life, known));
        }
        self.out.append(disk, &mut self.buffer)?;
        Ok(self.out)
    }

    /// Gives the file up.
    pub fn abandon(self) -> F {
        self.out.file
    }

    fn note(&mut self, stamp: &mut Stamp, text: &str) {
        stamp.write_head(&mut self.buffer, Direction::Note, Label::None);
        record::write_text(&mut self.buffer, text.as_bytes());
    }

    fn write_slice<D: Disk<File = F>>(
        &mut self,
        disk: &mut D,
        node: &mut Node,
        stamp: &mut Stamp,
    ) -> io::Result<()> {
        if self.out.is_empty() {
            self.note(stamp, &note::begins(node.table().len()));
        }
        let (out, buffer) = (&mut self.out, &mut self.buffer);
        self.cursor.slice(node, |change| {
            if buffer.len() >= BUFFER_BYTES_MAX {
                out.append(disk, buffer)?;
            }
            let before = buffer.len();
            let label = Label::Number(change.number);
            stamp.write_head(buffer, Direction::Held, label);
            record::write_text(buffer, change.line);
            self.records += 1;
            Ok(buffer.len() - before)
        })?;
        out.append(disk, buffer)
    }
}
