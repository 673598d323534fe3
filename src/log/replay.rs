//! Reading a log again: what its records recall, in the order in which they were written.
//!
//! `Log` makes one and turns it, all at once at the start, or in slices while the server runs.

use std::io;

use super::disk::Disk;
use super::record::{self, RECORD_BYTES_MAX};
use crate::line_buffer::{LineBuffer, Piece};
use crate::node::history::Recalled;

/// So much of a log is read at once.
const SLICE_BYTES: usize = 256 * 1024;

/// No record of a location is shorter.
const RECORD_BYTES_MIN: u64 = 64;

/// How far the reading of one file has come.
#[derive(Debug)]
pub struct Replay {
    /// How long the file was when the reading began.
    len: u64,
    /// Bytes read.
    at: u64,
    lines: LineBuffer,
    /// Where a record is put that has to be unescaped.
    line: Vec<u8>,
    bytes: Vec<u8>,
    /// Numbered records of the checkpoint that have passed.
    held: u64,
    /// Where the checkpoint ended with which the file begins.
    checkpoint_bytes: u64,
}

impl Replay {
    /// The reading of a file of `len` bytes.
    pub fn new(len: u64) -> Replay {
        Replay {
            len,
            at: 0,
            lines: LineBuffer::default(),
            line: Vec::new(),
            bytes: Vec::new(),
            held: 0,
            checkpoint_bytes: 0,
        }
    }

    /// Bytes read so far.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// How long the checkpoint is with which the file begins, as far as it has been read.
    pub fn checkpoint_bytes(&self) -> u64 {
        self.checkpoint_bytes
    }

    /// Reads a slice and hands what it recalls to `take`. Says whether there may be more. A last
    /// line without LF is torn, and not believed.
    ///
    /// # Errors
    /// The disk's.
    pub fn step<D: Disk>(
        &mut self,
        disk: &D,
        file: &D::File,
        mut take: impl FnMut(Recalled<'_>),
    ) -> io::Result<bool> {
        // What is appended meanwhile we know.
        let slice = (self.len - self.at).min(SLICE_BYTES as u64) as usize;
        self.bytes.resize(slice, 0);
        let n = match disk.read_at(file, self.at, &mut self.bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            read => read?,
        };
        self.at += n as u64;
        let mut chunk = &self.bytes[..n];
        while let Some(piece) = self.lines.next(&mut chunk, RECORD_BYTES_MAX) {
            let Piece::Line(line) = piece else { continue };
            match record::recall(line, &mut self.line) {
                None => continue,
                // Whatever it says, there cannot be more than would fit.
                Some(Recalled::Expect(records)) => {
                    take(Recalled::Expect(records.min(self.len / RECORD_BYTES_MIN)));
                }
                // It is whole only if every record of it is there: somebody may have cut the log.
                Some(Recalled::Checkpoint { records, .. }) if records != self.held => {
                    take(Recalled::Gap);
                }
                Some(recalled) => {
                    match recalled {
                        Recalled::Held { .. } => self.held += 1,
                        Recalled::Checkpoint { .. } => {
                            self.checkpoint_bytes = self.at - chunk.len() as u64;
                        }
                        _ => {}
                    }
                    take(recalled);
                }
            }
        }
        Ok(n > 0)
    }
}
