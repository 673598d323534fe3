//! One file to which records are appended, and which may break off within one.
//!
//! `Log` has one for the log, and one for the file that is to replace it.

use std::io;

use super::disk::{Disk, Status};
use super::record::TORN;

/// A file that is being written.
#[derive(Debug)]
pub struct Appender<F> {
    /// The file.
    pub file: F,
    /// How long it is, as far as we have written it.
    len: u64,
    /// Whether the last write broke off within a record.
    torn: bool,
    /// Whether it is a file on a disk: only then does its length mean anything.
    is_regular: bool,
}

impl<F> Appender<F> {
    /// Goes on where the file ends, which may be within a record.
    ///
    /// # Errors
    /// The disk's.
    pub fn new<D: Disk<File = F>>(disk: &D, file: F) -> io::Result<Appender<F>> {
        let Status {
            len, is_regular, ..
        } = disk.status(&file)?;
        let mut last = *b"\n";
        // Where it cannot be read it may be torn: to mark it as such harms nothing.
        let torn = is_regular
            && len > 0
            && (disk.read_at(&file, len - 1, &mut last).is_err() || last != *b"\n");
        Ok(Appender {
            file,
            len,
            torn,
            is_regular,
        })
    }

    /// How long the file is.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing has been written to it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it is a file on a disk, rather than a device or a pipe.
    pub fn is_regular(&self) -> bool {
        self.is_regular
    }

    /// Appends `records`. What could not be written stays in them, beginning perhaps within a
    /// record; the part before is marked as torn by the next write.
    ///
    /// # Errors
    /// The disk's.
    pub fn append<D: Disk<File = F>>(
        &mut self,
        disk: &mut D,
        records: &mut Vec<u8>,
    ) -> io::Result<()> {
        if self.torn {
            let mark = [TORN, b"\n"].concat();
            let (written, result) = append_all(disk, &mut self.file, &mark);
            self.len += written as u64;
            result?;
            self.torn = false;
        }
        let (written, result) = append_all(disk, &mut self.file, records);
        if written > 0 {
            self.len += written as u64;
            self.torn = records[written - 1] != b'\n';
        }
        records.drain(..written);
        result
    }

    /// Whether the file is no longer what we have written: cut short, or deleted.
    pub fn is_spoilt<D: Disk<File = F>>(&self, disk: &D) -> bool {
        let spoilt = |status: Status| status.links == 0 || status.len < self.len;
        self.is_regular && disk.status(&self.file).is_ok_and(spoilt)
    }
}

fn append_all<D: Disk>(disk: &mut D, file: &mut D::File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match disk.append(file, &bytes[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(n) => written += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}
