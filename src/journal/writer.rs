//! A file of the journal that is being written: a snapshot, then batches of changes.
//!
//! `Journal` and `Snapshot` are the callers. After a failure nothing must be written to a file.

use std::io;

use super::disk::Disk;
use super::format::{Batch, PREAMBLE_BYTES, preamble};
use crate::time::Timestamp;

/// The end of a file.
#[derive(Debug)]
pub struct Writer<F> {
    /// The file.
    pub file: F,
    /// What the next batch follows.
    pub chain: u32,
    /// How long it is, and how much of that is the snapshot.
    pub bytes: u64,
    pub snapshot_bytes: u64,
}

impl<F> Writer<F> {
    /// Makes a file of this version of the format.
    ///
    /// # Errors
    /// The disk's.
    pub fn create<D: Disk<File = F>>(
        disk: &mut D,
        name: &str,
        version: u32,
    ) -> io::Result<Writer<F>> {
        let file = disk.create(name)?;
        disk.append(&file, &preamble(version))?;
        Ok(Writer {
            file,
            chain: 0,
            bytes: PREAMBLE_BYTES as u64,
            snapshot_bytes: 0,
        })
    }

    /// Appends a batch, and says how long it is.
    ///
    /// # Errors
    /// The disk's.
    pub fn append<D: Disk<File = F>>(
        &mut self,
        disk: &mut D,
        batch: &mut Batch,
        time: Timestamp,
    ) -> io::Result<u64> {
        let (bytes, chain) = batch.seal(self.chain, time);
        disk.append(&self.file, bytes)?;
        self.chain = chain;
        self.bytes += bytes.len() as u64;
        Ok(bytes.len() as u64)
    }
}
