//! A file of the journal, read batch by batch.
//!
//! `recovery` is the caller. Nothing here knows what a batch says, or what follows from one that is
//! damaged.

use std::io;

use super::disk::Disk;
use super::format::{self, BODY_BYTES_MAX, HEADER_BYTES, Header, PREAMBLE_BYTES};

/// So many bytes are read at a time, if there are.
const BUFFER_BYTES: usize = 2 * (HEADER_BYTES + BODY_BYTES_MAX);

/// What comes next in a file.
#[derive(Debug)]
pub enum Next<'a> {
    /// A batch: its header and its body.
    Batch(Header, &'a [u8]),
    /// The end, and all before it was whole.
    End,
    /// The end, in the middle of a header or of the body that a header tells of.
    Torn,
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
    /// Where the next batch begins; at 0 the preamble does.
    pub at: u64,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins.
    buffer_at: u64,
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
            buffer_at: 0,
        })
    }

    /// The version of the format, if the preamble tells one.
    ///
    /// # Errors
    /// The disk's.
    pub fn version(&mut self) -> io::Result<Option<u32>> {
        let preamble = self.view(0, PREAMBLE_BYTES)?.first_chunk();
        Ok(preamble.and_then(format::version))
    }

    /// Reads on, unless what comes is no whole batch.
    ///
    /// # Errors
    /// The disk's.
    pub fn next(&mut self) -> io::Result<Next<'_>> {
        if self.at == 0 && self.bytes > 0 {
            match self.version()? {
                Some(format::VERSION) => self.at = PREAMBLE_BYTES as u64,
                _ if self.bytes < PREAMBLE_BYTES as u64 => return Ok(Next::Torn),
                _ => return Ok(Next::Damaged),
            }
        }
        if self.at >= self.bytes {
            return Ok(Next::End);
        }
        let Some(header) = self.view(self.at, HEADER_BYTES)?.first_chunk() else {
            return Ok(Next::Torn);
        };
        let Some(header) = Header::parse(header) else {
            return Ok(Next::Damaged);
        };
        let whole = HEADER_BYTES + header.body_bytes;
        if self.bytes - self.at < whole as u64 {
            return Ok(Next::Torn);
        }
        let at = self.at;
        if !header.is_of(&self.view(at, whole)?[HEADER_BYTES..]) {
            return Ok(Next::Damaged);
        }
        self.at += whole as u64;
        Ok(Next::Batch(header, &self.view(at, whole)?[HEADER_BYTES..]))
    }

    /// The bytes from `at` on: `wanted` of them, or those that there are.
    fn view(&mut self, at: u64, wanted: usize) -> io::Result<&[u8]> {
        let wanted = wanted.min(usize::try_from(self.bytes - at).unwrap_or(usize::MAX));
        let end = self.buffer_at + self.buffer.len() as u64;
        if at < self.buffer_at || at + wanted as u64 > end {
            self.fill(at)?;
        }
        let start = (at - self.buffer_at) as usize;
        Ok(&self.buffer[start..start + wanted])
    }

    /// Fills the buffer from `at` on.
    fn fill(&mut self, at: u64) -> io::Result<()> {
        let passed = at.checked_sub(self.buffer_at).unwrap_or(u64::MAX);
        let passed = self
            .buffer
            .len()
            .min(usize::try_from(passed).unwrap_or(usize::MAX));
        self.buffer.drain(..passed);
        self.buffer_at = at;
        let left = usize::try_from(self.bytes - at).unwrap_or(usize::MAX);
        let mut have = self.buffer.len();
        self.buffer.resize(left.min(BUFFER_BYTES), 0);
        while have < self.buffer.len() {
            let rest = &mut self.buffer[have..];
            match self.disk.read_at(&self.file, at + have as u64, rest) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => have += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
