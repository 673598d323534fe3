//! A disk in memory that never fails: enough of one for a log.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;

use herd::log::disk::{Disk, OpenError, Status, Ticket};

/// The files, and their names.
#[derive(Debug)]
pub struct Memory {
    files: Vec<Vec<u8>>,
    names: BTreeMap<PathBuf, usize>,
    /// Where syncs are told of that were to be done later.
    synced: Sender<Ticket>,
}

impl Memory {
    /// A disk with one file.
    pub fn new(path: &Path, bytes: &[u8], synced: Sender<Ticket>) -> Memory {
        Memory {
            files: vec![bytes.to_vec()],
            names: BTreeMap::from([(path.to_owned(), 0)]),
            synced,
        }
    }

    /// What the file at `path` holds, if there is one.
    pub fn bytes(&self, path: &Path) -> Option<&[u8]> {
        self.names.get(path).map(|&file| &self.files[file][..])
    }

    /// Moves a file.
    pub fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let file = self.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        self.names.insert(to.to_owned(), file);
        Ok(())
    }
}

impl Disk for &mut Memory {
    type File = usize;

    fn open(&mut self, path: &Path) -> Result<usize, OpenError> {
        let next = self.files.len();
        let file = *self.names.entry(path.to_owned()).or_insert(next);
        if file == next {
            self.files.push(Vec::new());
        }
        Ok(file)
    }

    fn create(&mut self, path: &Path) -> Result<usize, OpenError> {
        let file = self.open(path)?;
        self.files[file].clear();
        Ok(file)
    }

    fn append(&mut self, file: &mut usize, bytes: &[u8]) -> io::Result<usize> {
        self.files[*file].extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn read_at(&self, file: &usize, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let held = &self.files[*file];
        let rest = &held[held.len().min(at as usize)..];
        let n = rest.len().min(bytes.len());
        bytes[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn status(&self, file: &usize) -> io::Result<Status> {
        Ok(Status {
            len: self.files[*file].len() as u64,
            links: self.names.values().filter(|named| *named == file).count() as u64,
            is_regular: true,
        })
    }

    fn sync(&mut self, _: &usize) -> io::Result<()> {
        Ok(())
    }

    fn sync_later(&mut self, _: &usize, ticket: Ticket) {
        let _ = self.synced.send(ticket); // a log that has gone wants to know nothing
    }

    fn sync_directory(&mut self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_directory_later(&mut self, _: &Path, ticket: Ticket) {
        let _ = self.synced.send(ticket);
    }

    fn is_at(&self, file: &usize, path: &Path) -> bool {
        self.names.get(path) == Some(file)
    }

    fn len_at(&self, path: &Path) -> Option<u64> {
        self.bytes(path).map(|bytes| bytes.len() as u64)
    }

    fn name_again(&mut self, file: &usize, path: &Path) -> io::Result<()> {
        self.names.insert(path.to_owned(), *file);
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        Memory::rename(self, from, to)
    }

    fn remove_later(&mut self, path: &Path) {
        self.names.remove(path);
    }

    fn close_later(&mut self, _: usize) {}

    fn moved_away_last(&self, path: &Path) -> Option<PathBuf> {
        self.names.keys().find(|name| *name != path).cloned()
    }
}
