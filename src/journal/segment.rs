//! The segment that is being written: what a turn brings, gathered and appended as a batch.
//!
//! `Journal` is the caller. Once something has failed nothing is gathered until another segment has
//! begun.

use std::io;

use super::disk::Disk;
use super::format::{Batch, CHANGE, FileName, HEAD, Kind, preamble};
use crate::time::Timestamp;
use crate::topology::ServerName;

/// The end of the journal.
#[derive(Debug)]
pub struct Writer<F> {
    /// Whose it is.
    pub server: ServerName,
    /// Names the journal.
    pub id: u64,
    /// What the next batch follows.
    pub chain: u32,
    /// The number of the last change that was told.
    pub end: u64,
    /// How many bytes of changes were told.
    pub told_bytes: u64,
    /// Segments since the last snapshot, and how many bytes were written to them.
    pub segments: usize,
    pub segment_bytes: u64,
    /// Batches and bytes written, for the counters.
    pub batches: u64,
    pub bytes: u64,
    /// The segment that is written; `None` if none can be.
    pub file: Option<F>,
    batch: Batch,
    /// The number of the first change in it.
    first: u64,
}

impl<F: Clone> Writer<F> {
    /// One that has come to this place, and has no segment yet.
    pub fn new(server: ServerName, id: u64, chain: u32, end: u64) -> Writer<F> {
        Writer {
            server,
            id,
            chain,
            end,
            told_bytes: 0,
            segments: 0,
            segment_bytes: 0,
            batches: 0,
            bytes: 0,
            file: None,
            batch: Batch::default(),
            first: 0,
        }
    }

    /// Whether something waits to be written.
    pub fn is_waiting(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Whether so much waits that it is to be written before more comes.
    pub fn is_full(&self) -> bool {
        self.batch.is_full()
    }

    /// Adds the next change.
    pub fn change(&mut self, number: u64, line: &[u8]) {
        debug_assert_eq!(number, self.end + 1, "a change was not told");
        self.add(CHANGE, [], line);
        self.told_bytes += line.len() as u64;
        self.end = number;
    }

    /// Adds an entry.
    pub fn add<const N: usize>(&mut self, kind: u8, numbers: [u64; N], text: &[u8]) {
        if self.file.is_none() {
            return;
        }
        if self.batch.is_empty() {
            self.first = self.end + 1;
        }
        self.batch.add(kind, numbers, text);
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// The disk's. Nothing must be written to the segment after it.
    pub fn write<D: Disk<File = F>>(&mut self, disk: &mut D, time: Timestamp) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let (bytes, chain) = self.batch.seal(self.chain, self.first, time);
        disk.append(file, bytes)?;
        self.chain = chain;
        self.segment_bytes += bytes.len() as u64;
        self.bytes += bytes.len() as u64;
        self.batches += 1;
        self.batch.clear();
        Ok(())
    }

    /// Begins a segment, which goes on where the present one ends, with what `fill` adds to its head.
    /// Gives the one before, if there is one.
    ///
    /// # Errors
    /// The disk's. The present one is still written then.
    pub fn begin_segment<D: Disk<File = F>>(
        &mut self,
        disk: &mut D,
        sequence: u64,
        time: Timestamp,
        fill: impl FnOnce(&mut Batch),
    ) -> io::Result<Option<F>> {
        debug_assert!(!self.is_waiting(), "a batch would come after the segment");
        let kind = Kind::Segment;
        let mut head = Batch::default();
        head.add(
            HEAD,
            [kind as u64, self.id, sequence],
            self.server.as_bytes(),
        );
        fill(&mut head);
        let (bytes, chain) = head.seal(self.chain, self.end + 1, time);
        let file = disk.create(&FileName { kind, sequence }.to_string())?;
        disk.append(&file, &[&preamble()[..], bytes].concat())?;
        self.chain = chain;
        self.segments += 1;
        self.batches += 1;
        Ok(self.file.replace(file))
    }

    /// Drops what waits, and the segment. What comes next must not seem to follow it.
    pub fn break_off(&mut self) {
        self.file = None;
        self.batch.clear();
        self.chain = !self.chain;
    }
}
