//! A file that is being written, batch by batch: a segment or a snapshot.
//!
//! `Journal` and `Snapshot` are the callers. Once something has failed nothing is gathered until another
//! file has begun.

use std::io;

use super::disk::Disk;
use super::format::{Batch, CHANGE, FileName, HEAD, preamble};
use crate::time::Timestamp;
use crate::topology::ServerName;

/// Whose journal it is, and which: what every file tells.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The server.
    pub server: ServerName,
    /// Names the journal.
    pub id: u64,
}

/// The end of a file.
#[derive(Debug)]
pub struct Writer<F> {
    /// The file; `None` if none can be written.
    pub file: Option<F>,
    /// What the next batch follows.
    pub chain: u32,
    /// The last number that was told.
    pub end: u64,
    /// How many bytes were written, to this file and those before it.
    pub bytes: u64,
    batch: Batch,
    /// The number after the last that was told before the batch.
    first: u64,
}

impl<F> Writer<F> {
    /// One that has come to this place, and has no file yet.
    pub fn new(chain: u32, end: u64) -> Writer<F> {
        Writer {
            file: None,
            chain,
            end,
            bytes: 0,
            batch: Batch::default(),
            first: end + 1,
        }
    }

    /// Begins a file, which goes on where the present one ends, with what `fill` adds to its head. Gives
    /// the one before, if there is one.
    ///
    /// # Errors
    /// The disk's. The present one is still written then.
    pub fn begin<D: Disk<File = F>>(
        &mut self,
        disk: &mut D,
        owner: &Owner,
        (name, ending): (FileName, &str),
        locations: usize,
        time: Timestamp,
        fill: impl FnOnce(&mut Batch),
    ) -> io::Result<Option<F>> {
        debug_assert!(self.batch.is_empty(), "a batch would come after the file");
        let numbers = [name.kind as u64, owner.id, name.sequence, locations as u64];
        let mut head = Batch::default();
        head.add(HEAD, numbers, owner.server.as_bytes());
        fill(&mut head);
        let (bytes, chain) = head.seal(self.chain, self.end + 1, time);
        let bytes = [&preamble()[..], bytes].concat();
        let file = disk.create(&format!("{name}{ending}"))?;
        disk.append(&file, &bytes)?;
        (self.chain, self.first) = (chain, self.end + 1);
        self.bytes += bytes.len() as u64;
        Ok(self.file.replace(file))
    }

    /// Adds the next change.
    pub fn change(&mut self, number: u64, line: &[u8]) {
        debug_assert_eq!(number, self.end + 1, "a change was not told");
        self.end = number;
        self.add(CHANGE, [], line);
    }

    /// Adds an entry.
    pub fn add<const N: usize>(&mut self, kind: u8, numbers: [u64; N], text: &[u8]) {
        if self.file.is_some() {
            self.batch.add(kind, numbers, text);
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

    /// Writes what waits.
    ///
    /// # Errors
    /// The disk's. Nothing must be written to the file after it.
    pub fn write<D: Disk<File = F>>(&mut self, disk: &mut D, time: Timestamp) -> io::Result<()> {
        if let Some(file) = &self.file {
            let (bytes, chain) = self.batch.seal(self.chain, self.first, time);
            disk.append(file, bytes)?;
            self.bytes += bytes.len() as u64;
            (self.chain, self.first) = (chain, self.end + 1);
            self.batch.clear();
        }
        Ok(())
    }

    /// Drops what waits, and the file. What comes next must not seem to follow it.
    pub fn break_off(&mut self) {
        self.file = None;
        self.batch.clear();
        self.chain = !self.chain;
    }
}
