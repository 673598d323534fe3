//! A file of the journal, read batch by batch.
//!
//! `recovery` is the caller. Nothing here knows what a batch says, or what follows from one that is
//! damaged.

use std::io;

use super::disk::Disk;
use super::format::{self, BODY_BYTES_MAX, HEADER_BYTES, Header, PREAMBLE_BYTES, VERSION};

/// So many bytes are read at a time, if there are: at least the longest batch.
const BUFFER_BYTES: usize = 2 * (HEADER_BYTES + BODY_BYTES_MAX);

/// What comes next in a file.
#[derive(Debug)]
pub enum Next<'a> {
    /// A batch: its header and its body.
    Batch(Header, &'a [u8]),
    /// No whole batch: the file ends here, before a batch or in the middle of one.
    End,
    /// No batch.
    Damaged,
}

/// A file that is being read.
#[derive(Debug)]
pub struct Reader<'d, D: Disk> {
    disk: &'d D,
    file: D::File,
    /// Its length.
    pub bytes: u64,
    /// How many bytes of it have been taken.
    pub at: u64,
    buffer: Vec<u8>,
    /// How many bytes of the buffer have been read, and how many of these have been taken.
    filled: usize,
    taken: usize,
}

impl<'d, D: Disk> Reader<'d, D> {
    /// Opens a file.
    ///
    /// # Errors
    /// The disk's.
    pub fn new(disk: &'d mut D, name: &str) -> io::Result<Reader<'d, D>> {
        let (file, bytes) = disk.open(name)?;
        Ok(Reader {
            disk,
            file,
            bytes,
            at: 0,
            buffer: Vec::new(),
            filled: 0,
            taken: 0,
        })
    }

    /// The version of the format, if the file begins with one.
    ///
    /// # Errors
    /// The disk's.
    pub fn version(&mut self) -> io::Result<Option<u32>> {
        let preamble = self.view(PREAMBLE_BYTES)?.first_chunk();
        Ok(preamble.and_then(format::version))
    }

    /// Takes the next batch, if there is one.
    ///
    /// # Errors
    /// The disk's.
    pub fn next(&mut self) -> io::Result<Next<'_>> {
        if self.at == 0 {
            match self.version()? {
                Some(1..=VERSION) => self.skip(PREAMBLE_BYTES),
                _ if self.bytes < PREAMBLE_BYTES as u64 => return Ok(Next::End),
                _ => return Ok(Next::Damaged),
            }
        }
        let Some(header) = self.view(HEADER_BYTES)?.first_chunk() else {
            return Ok(Next::End);
        };
        let Some(header) = Header::parse(header) else {
            return Ok(Next::Damaged);
        };
        let whole = HEADER_BYTES + header.body_bytes;
        let viewed = self.view(whole)?;
        if viewed.len() < whole {
            return Ok(Next::End);
        } else if !header.is_of(&viewed[HEADER_BYTES..]) {
            return Ok(Next::Damaged);
        }
        self.skip(whole);
        let body = self.taken - header.body_bytes..self.taken;
        Ok(Next::Batch(header, &self.buffer[body]))
    }

    /// Passes over bytes that were viewed.
    pub fn skip(&mut self, bytes: usize) {
        self.at += bytes as u64;
        self.taken += bytes;
    }

    /// The next bytes: `wanted` of them, or those that there are.
    fn view(&mut self, wanted: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.bytes - self.at).unwrap_or(usize::MAX);
        let wanted = wanted.min(left);
        if self.filled - self.taken < wanted {
            self.buffer
                .resize(left.min(BUFFER_BYTES).max(self.buffer.len()), 0);
            self.buffer.copy_within(self.taken..self.filled, 0);
            (self.filled, self.taken) = (self.filled - self.taken, 0);
            while self.filled < wanted {
                let at = self.at + self.filled as u64;
                let rest = &mut self.buffer[self.filled..];
                match self.disk.read_at(&self.file, at, rest)? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    read => self.filled += read,
                }
            }
        }
        Ok(&self.buffer[self.taken..self.taken + wanted])
    }
}
