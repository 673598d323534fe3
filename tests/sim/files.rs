//! A simulated file system: what the log asks of one, with full disks, errors, processes that die
//! between two calls, and power failures that forget what was not synced.
//!
//! With names it is as kind as an ordered journal is (ext4, xfs): of those given and taken since the
//! last sync of the directory the latest may be lost. With what is in a file it is no kinder than the
//! least kind of them (ext4 with `data=writeback`, xfs): of the unsynced end any part may be lost, and
//! of what is left of it any block may never have been written, and reads as zeros.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use herd::log::disk::{Disk, OpenError, Status, Ticket};
use herd::random::SplitMix64;

/// File systems write blocks of this size, each on its own. Simulated logs are short and their
/// unsynced ends shorter, so most simulated blocks are smaller, for holes to have something around them.
const BLOCK_BYTES_MAX: usize = 4_096;

/// Sizes of blocks, each half of the one before: down to 64 bytes, less than most records have.
const BLOCK_SIZES: u64 = 7;

/// What was written last, and so may be all that tells of what is most recent.
const LATE_BYTES: usize = 2_000;

/// A file, whatever its names.
pub type Inode = u64;

/// What ails a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ailment {
    #[default]
    None,
    /// So many bytes are left.
    Full(usize),
    /// Of so many calls one fails.
    Errors(u64),
    /// Only syncs fail, each time.
    Unsynced,
}

#[derive(Debug, Default)]
struct File {
    bytes: Vec<u8>,
    /// So many of them are on the disk.
    synced: usize,
    /// Those that a power failure has turned to zeros, in order.
    holes: Vec<Range<usize>>,
    /// A sync has failed: later ones no longer help.
    lost: bool,
    /// This byte cannot be read, nor any other together with it.
    spoilt: Option<usize>,
}

#[derive(Debug)]
struct State {
    files: BTreeMap<Inode, File>,
    names: BTreeMap<PathBuf, Inode>,
    /// Names as they are on the disk, and what has been done to them since.
    names_on_disk: BTreeMap<PathBuf, Inode>,
    renames: VecDeque<Renaming>,
    /// How many times a name has been given or taken.
    named: usize,
    /// Syncs under way.
    syncs: Vec<(Ticket, Syncing)>,
    ailment: Ailment,
    /// The process dies after so many more calls.
    dies_after: Option<u64>,
    created: u64,
    dice: SplitMix64,
}

/// What a sync will have made safe.
#[derive(Clone, Copy, Debug)]
enum Syncing {
    /// So many bytes of a file.
    File(Inode, usize),
    /// So many changes of names.
    Names(usize),
}

/// A name given, or with `None` taken.
#[derive(Clone, Debug)]
struct Renaming(Vec<(PathBuf, Option<Inode>)>);

/// A handle to a simulated disk, which outlives the processes that use it.
#[derive(Clone, Debug)]
pub struct Files(Rc<RefCell<State>>);

fn dead() -> io::Error {
    io::Error::other("the process is dead")
}

impl State {
    /// Every call passes here: the process may be dead, or the disk in no mood.
    fn call(&mut self) -> io::Result<()> {
        if let Some(left) = &mut self.dies_after {
            *left = left.checked_sub(1).ok_or_else(dead)?;
        }
        match self.ailment {
            Ailment::Errors(of) if self.dice.below(of) == 0 => {
                Err(io::Error::other("the disk failed"))
            }
            _ => Ok(()),
        }
    }

    fn is_dead(&self) -> bool {
        self.dies_after == Some(0)
    }

    fn name(&mut self, changes: Vec<(PathBuf, Option<Inode>)>) {
        for (path, inode) in &changes {
            match inode {
                Some(inode) => self.names.insert(path.clone(), *inode),
                None => self.names.remove(path),
            };
        }
        self.renames.push_back(Renaming(changes));
        self.named += 1;
    }

    fn used(&self) -> usize {
        let named: BTreeSet<_> = self.names.values().collect();
        let bytes = named.into_iter().map(|inode| self.files[inode].bytes.len());
        bytes.sum()
    }
}

impl Files {
    /// A disk on which nothing is.
    pub fn new(seed: u64) -> Files {
        Files(Rc::new(RefCell::new(State {
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            names_on_disk: BTreeMap::new(),
            renames: VecDeque::new(),
            named: 0,
            syncs: Vec::new(),
            ailment: Ailment::None,
            dies_after: None,
            created: 0,
            dice: SplitMix64(seed),
        })))
    }

    /// Whether the process that uses the disk has died.
    pub fn is_dead(&self) -> bool {
        self.0.borrow().is_dead()
    }

    /// Bytes of files that have names.
    pub fn used(&self) -> usize {
        self.0.borrow().used()
    }

    /// From now on the disk has this ailment, or none.
    pub fn ail(&self, ailment: Ailment) {
        self.0.borrow_mut().ailment = ailment;
    }

    /// The process that uses the disk dies after so many more calls: of the last, if it writes, any
    /// part is done.
    pub fn die_after(&self, calls: u64) {
        self.0.borrow_mut().dies_after = Some(calls);
    }

    /// The file that is called `path`.
    pub fn at(&self, path: &Path) -> Option<Inode> {
        self.0.borrow().names.get(path).copied()
    }

    /// How many bytes a file has.
    pub fn len(&self, inode: Inode) -> usize {
        self.0.borrow().files[&inode].bytes.len()
    }

    /// What a file holds from a place on.
    pub fn bytes_from(&self, inode: Inode, at: usize) -> Vec<u8> {
        self.0.borrow().files[&inode].bytes[at..].to_vec()
    }

    /// Where a file reads as zeros since a power failure.
    pub fn holes(&self, inode: Inode) -> Vec<Range<usize>> {
        self.0.borrow().files[&inode].holes.clone()
    }

    /// One byte of a file can be read no longer.
    pub fn spoil(&self, inode: Inode, at: usize) {
        let state = &mut *self.0.borrow_mut();
        let file = state.files.get_mut(&inode).expect("it is there");
        file.spoilt = Some(at);
    }

    /// Whether a sync of a file has failed, so that no later one makes it safe.
    pub fn is_lost(&self, inode: Inode) -> bool {
        self.0.borrow().files[&inode].lost
    }

    /// What a reader gets of a file who begins at its beginning, and whether that is all.
    pub fn readable(&self, inode: Inode) -> (Vec<u8>, bool) {
        let state = self.0.borrow();
        let File { bytes, spoilt, .. } = &state.files[&inode];
        let end = spoilt.map_or(bytes.len(), |at| at.min(bytes.len()));
        (bytes[..end].to_vec(), end == bytes.len())
    }

    /// Somebody moves a file, or puts an empty one in its place too.
    pub fn move_away(&self, from: &Path, to: &Path) {
        let state = &mut *self.0.borrow_mut();
        if let Some(&inode) = state.names.get(from) {
            state.name(vec![(to.to_owned(), Some(inode)), (from.to_owned(), None)]);
        }
    }

    /// Somebody cuts off a file's beginning.
    pub fn cut_beginning(&self, inode: Inode, bytes: usize) {
        let state = &mut *self.0.borrow_mut();
        let file = state.files.get_mut(&inode).expect("it is there");
        file.bytes.drain(..bytes);
        file.synced = file.synced.saturating_sub(bytes);
        for hole in &mut file.holes {
            *hole = hole.start.saturating_sub(bytes)..hole.end.saturating_sub(bytes);
        }
        file.holes.retain(|hole| !hole.is_empty());
    }

    /// The process ends: nobody awaits its syncs any longer.
    pub fn kill(&self) {
        let state = &mut *self.0.borrow_mut();
        state.dies_after = None;
        state.syncs.clear();
        // What was being deleted is gone, and what has no name.
        let named: Vec<_> = state.names.values().copied().collect();
        let on_disk: Vec<_> = state.names_on_disk.values().copied().collect();
        let later = state.renames.iter().flat_map(|renaming| &renaming.0);
        let later: Vec<_> = later.filter_map(|(_, inode)| *inode).collect();
        state.files.retain(|inode, _| {
            [&named, &on_disk, &later]
                .iter()
                .any(|of| of.contains(inode))
        });
    }

    /// The power fails, after [`Files::kill`]: what was not synced may be gone. Gives where each file
    /// that has new holes has the first.
    pub fn lose_power(&self) -> BTreeMap<Inode, usize> {
        let state = &mut *self.0.borrow_mut();
        let kept = state.dice.below(1 + state.renames.len() as u64) as usize;
        let mut names = std::mem::take(&mut state.names_on_disk);
        for renaming in state.renames.drain(..).take(kept) {
            renaming.apply(&mut names);
        }
        state.names = names.clone();
        state.names_on_disk = names;
        let mut holes = BTreeMap::new();
        for (&inode, file) in &mut state.files {
            let dice = &mut state.dice;
            let unsynced = file.bytes.len() - file.synced;
            let lost = dice.below(1 + unsynced as u64) as usize;
            let first = match dice.below(3) {
                0 => {
                    file.bytes.truncate(file.bytes.len() - lost);
                    None
                }
                1 => {
                    file.bytes.truncate(file.bytes.len() - lost);
                    let lost_of_8 = 1 + dice.below(7);
                    file.lose_blocks(dice, |_, dice| dice.below(8) < lost_of_8)
                }
                _ => {
                    // A few late ones that are next to each other, and no more.
                    let from = file.bytes.len().saturating_sub(lost % LATE_BYTES);
                    let to = from + dice.below(LATE_BYTES as u64 / 2) as usize;
                    file.lose_blocks(dice, |block, _| block.start <= to && block.end > from)
                }
            };
            holes.extend(first.map(|first| (inode, first)));
            file.synced = file.bytes.len();
            file.lost = false;
        }
        holes
    }

    /// One of the syncs under way comes to its end.
    pub fn finish_a_sync(&self) -> Option<(Ticket, io::Result<()>)> {
        let state = &mut *self.0.borrow_mut();
        let at = state.dice.below(state.syncs.len() as u64) as usize;
        let (ticket, what) = (at < state.syncs.len()).then(|| state.syncs.remove(at))?;
        Some(match what {
            Syncing::File(inode, len) => (ticket, state.sync(inode, len)),
            Syncing::Names(named) => (ticket, state.sync_names(named)),
        })
    }
}

impl File {
    /// The unsynced end has its length, but those of its blocks that `lost` picks were never written.
    /// Gives where the first of them begins.
    fn lose_blocks(
        &mut self,
        dice: &mut SplitMix64,
        mut lost: impl FnMut(&Range<usize>, &mut SplitMix64) -> bool,
    ) -> Option<usize> {
        let before = self.holes.len();
        let bytes = BLOCK_BYTES_MAX >> dice.below(BLOCK_SIZES);
        let mut at = self.synced;
        while at < self.bytes.len() {
            let block = at..self.bytes.len().min((at / bytes + 1) * bytes);
            at = block.end;
            if lost(&block, dice) {
                self.bytes[block.clone()].fill(0);
                match self.holes[before..].last_mut() {
                    Some(hole) if hole.end == block.start => hole.end = block.end,
                    _ => self.holes.push(block),
                }
            }
        }
        self.holes.get(before).map(|hole| hole.start)
    }
}

impl Renaming {
    fn apply(self, names: &mut BTreeMap<PathBuf, Inode>) {
        for (path, inode) in self.0 {
            match inode {
                Some(inode) => names.insert(path, inode),
                None => names.remove(&path),
            };
        }
    }
}

impl State {
    /// Makes the first `named` changes of names safe.
    fn sync_names(&mut self, named: usize) -> io::Result<()> {
        self.call()?;
        let safe = self.named - self.renames.len();
        for renaming in self.renames.drain(..named.saturating_sub(safe)) {
            renaming.apply(&mut self.names_on_disk);
        }
        Ok(())
    }

    fn sync(&mut self, inode: Inode, len: usize) -> io::Result<()> {
        if self.is_dead() {
            return Err(dead()); // it is not the disk that fails
        }
        let fails = self.call().is_err() || self.ailment == Ailment::Unsynced;
        let Some(file) = self.files.get_mut(&inode) else {
            return Ok(()); // it was deleted meanwhile
        };
        if fails {
            // The kernel forgets that what it could not write was ever written.
            file.lost = true;
            return Err(io::Error::other("the disk failed to sync"));
        }
        if !file.lost {
            file.synced = file.synced.max(len);
        }
        Ok(())
    }
}

impl Disk for Files {
    type File = Inode;

    fn open(&mut self, path: &Path) -> Result<Inode, OpenError> {
        let state = &mut *self.0.borrow_mut();
        if let Some(&inode) = state.names.get(path) {
            return Ok(inode);
        }
        state.created += 1;
        let inode = state.created;
        state.files.insert(inode, File::default());
        state.name(vec![(path.to_owned(), Some(inode))]);
        Ok(inode)
    }

    fn create(&mut self, path: &Path) -> Result<Inode, OpenError> {
        self.0.borrow_mut().call().map_err(OpenError::Io)?;
        let inode = self.open(path)?;
        let state = &mut *self.0.borrow_mut();
        state.files.insert(inode, File::default());
        Ok(inode)
    }

    fn append(&mut self, file: &mut Inode, bytes: &[u8]) -> io::Result<usize> {
        let state = &mut *self.0.borrow_mut();
        state.call()?;
        let mut written = match state.is_dead() || state.dice.below(4) == 0 {
            true => state.dice.below(1 + bytes.len() as u64) as usize,
            false => bytes.len(),
        };
        if !state.is_dead() {
            written = written.max(1);
        }
        if let Ailment::Full(bytes_max) = state.ailment {
            written = written.min(bytes_max.saturating_sub(state.used()));
            if written == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let file = state.files.get_mut(file).expect("an open file is there");
        file.bytes.extend_from_slice(&bytes[..written]);
        Ok(written)
    }

    fn read_at(&self, file: &Inode, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let state = self.0.borrow();
        let at = at as usize;
        let File {
            bytes: held,
            spoilt,
            ..
        } = &state.files[file];
        let end = match *spoilt {
            Some(spoilt) if spoilt < held.len() && spoilt == at => {
                return Err(io::Error::other("the disk failed to read"));
            }
            // What stands before it is read first.
            Some(spoilt) if at < spoilt => spoilt.min(held.len()),
            _ => held.len(),
        };
        let rest = held.get(at..end).unwrap_or(&[]);
        let n = rest.len().min(bytes.len());
        bytes[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn status(&self, file: &Inode) -> io::Result<Status> {
        let state = self.0.borrow();
        Ok(Status {
            len: state.files[file].bytes.len() as u64,
            links: state.names.values().filter(|named| *named == file).count() as u64,
            is_regular: true,
        })
    }

    fn sync(&mut self, file: &Inode) -> io::Result<()> {
        let state = &mut *self.0.borrow_mut();
        let len = state.files[file].bytes.len();
        state.sync(*file, len)
    }

    fn sync_later(&mut self, file: &Inode, ticket: Ticket) {
        let state = &mut *self.0.borrow_mut();
        let len = state.files[file].bytes.len();
        state.syncs.push((ticket, Syncing::File(*file, len)));
    }

    fn sync_directory(&mut self, _path: &Path) -> io::Result<()> {
        let state = &mut *self.0.borrow_mut();
        state.sync_names(state.named)
    }

    fn sync_directory_later(&mut self, _path: &Path, ticket: Ticket) {
        let state = &mut *self.0.borrow_mut();
        state.syncs.push((ticket, Syncing::Names(state.named)));
    }

    fn is_at(&self, file: &Inode, path: &Path) -> bool {
        self.at(path) == Some(*file)
    }

    fn len_at(&self, path: &Path) -> Option<u64> {
        let state = self.0.borrow();
        let inode = state.names.get(path)?;
        Some(state.files[inode].bytes.len() as u64)
    }

    fn name_again(&mut self, file: &Inode, path: &Path) -> io::Result<()> {
        let state = &mut *self.0.borrow_mut();
        state.call()?;
        if !state.names.values().any(|named| named == file) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.name(vec![(path.to_owned(), Some(*file))]);
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let state = &mut *self.0.borrow_mut();
        let inode = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.call()?;
        state.name(vec![(to.to_owned(), Some(inode)), (from.to_owned(), None)]);
        Ok(())
    }

    fn remove_later(&mut self, path: &Path) {
        let state = &mut *self.0.borrow_mut();
        if !state.is_dead() {
            state.name(vec![(path.to_owned(), None)]);
        }
    }

    fn close_later(&mut self, _file: Inode) {}

    fn moved_away_last(&self, path: &Path) -> Option<PathBuf> {
        let state = self.0.borrow();
        let beside = |number: u32| PathBuf::from(format!("{}.{number}", path.display()));
        let there = |path: &PathBuf| {
            let inode = state.names.get(path);
            inode.is_some_and(|inode| !state.files[inode].bytes.is_empty())
        };
        (1..10).map(beside).find(there)
    }
}

#[test]
fn a_power_failure_takes_what_was_not_synced_and_nothing_else() {
    let (mut around, mut at_the_end, mut shorter) = (0, 0, 0);
    for seed in 0..200 {
        let mut files = Files::new(seed);
        let file = files.open(Path::new("a")).expect("it can be opened");
        let append = |files: &mut Files, bytes: usize| {
            let end = files.len(file) + bytes;
            while files.len(file) < end {
                let rest = vec![b'x'; end - files.len(file)];
                files.append(&mut { file }, &rest).expect("there is room");
            }
        };
        append(&mut files, 1_000);
        files.sync(&file).expect("it can be synced");
        append(&mut files, 9_000);
        files.sync_directory(Path::new("a")).expect("it can");
        files.kill();
        files.lose_power();
        let bytes = files.bytes_from(file, 0);
        let holes = files.holes(file);
        for (at, &byte) in bytes.iter().enumerate() {
            let in_hole = holes.iter().any(|hole| hole.contains(&at));
            assert_eq!(byte, if in_hole { 0 } else { b'x' }, "seed {seed}, at {at}");
        }
        assert!(bytes.len() >= 1_000, "seed {seed}: it has lost its length");
        let is_synced = |hole: &Range<usize>| hole.start < 1_000;
        assert!(!holes.iter().any(is_synced), "seed {seed}: {holes:?}");
        let ends = holes.last().is_some_and(|hole| hole.end == bytes.len());
        around += u32::from(holes.len() > usize::from(ends));
        at_the_end += u32::from(ends);
        shorter += u32::from(bytes.len() < 10_000);
        // Nothing more is lost of it.
        files.kill();
        files.lose_power();
        assert_eq!(files.bytes_from(file, 0), bytes, "seed {seed}");
    }
    assert!(
        around > 40 && at_the_end > 40 && shorter > 100,
        "{around} have holes with something behind, {at_the_end} at the end, {shorter} are shorter"
    );
}
