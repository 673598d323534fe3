//! The records of a turn, until they are written.
//!
//! `Log` is the only caller, and lends its stamp to a rotation.

use std::io;

use super::appender::Appender;
use super::disk::Disk;
use super::record::{self, Direction, ELLIPSIS, Label, Stamp};
use crate::time::Now;

/// Records beyond this are written before the turn is over.
pub const BUFFER_BYTES_MAX: usize = 1024 * 1024;

/// What a turn has recorded so far.
#[derive(Debug, Default)]
pub struct Turn {
    /// How its records begin.
    pub stamp: Stamp,
    buffer: Vec<u8>,
}

impl Turn {
    /// Sets the time of the records that follow.
    pub fn set_time(&mut self, now: Now) {
        self.stamp.set(now.wall);
    }

    /// Adds a record.
    pub fn record(&mut self, direction: Direction, label: Label<'_>, text: &[u8]) {
        self.stamp.write_head(&mut self.buffer, direction, label);
        record::write_text(&mut self.buffer, text);
    }

    /// Adds a record of a line that goes on beyond its `beginning`.
    pub fn record_beginning(&mut self, direction: Direction, label: Label<'_>, beginning: &[u8]) {
        self.stamp.write_head(&mut self.buffer, direction, label);
        let shown = &beginning[..beginning.len().min(record::BEGINNING_BYTES)];
        record::write_escaped(&mut self.buffer, shown);
        self.buffer.extend_from_slice(ELLIPSIS);
        self.buffer.push(b'\n');
    }

    /// Adds the record of that line's end: it had `bytes` bytes in all.
    pub fn record_length(&mut self, direction: Direction, label: Label<'_>, bytes: u64) {
        self.stamp.write_head(&mut self.buffer, direction, label);
        record::write_length(&mut self.buffer, bytes);
        self.buffer.push(b'\n');
    }

    /// Bytes that are not written yet.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Writes them; what could not be written stays.
    ///
    /// # Errors
    /// The disk's.
    pub fn write<D: Disk>(&mut self, disk: &mut D, out: &mut Appender<D::File>) -> io::Result<()> {
        let result = out.append(disk, &mut self.buffer);
        if self.buffer.capacity() > 2 * BUFFER_BYTES_MAX {
            self.buffer.shrink_to(BUFFER_BYTES_MAX);
        }
        result
    }

    /// Writes a note before them.
    ///
    /// # Errors
    /// The disk's.
    pub fn write_note_first<D: Disk>(
        &mut self,
        disk: &mut D,
        out: &mut Appender<D::File>,
        note: &str,
    ) -> io::Result<()> {
        let records = std::mem::take(&mut self.buffer);
        self.record(Direction::Note, Label::None, note.as_bytes());
        let written = self.write(disk, out);
        self.buffer = records;
        written
    }

    /// Drops them and gives how many there were.
    pub fn drop_records(&mut self) -> u64 {
        let records = memchr::memchr_iter(b'\n', &self.buffer).count();
        self.buffer.clear();
        records as u64
    }
}
