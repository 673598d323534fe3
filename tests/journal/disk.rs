//! A simulated folder: what the journal asks of one, with full disks, errors, a process that dies at any
//! call, and power failures that forget what was not synced.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;

use herd::journal::disk::{Disk, Step, Ticket};
use herd::random::SplitMix64;

/// A file, whatever its name.
type Inode = u64;

/// What happens at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process dies; of an append the part is done.
    Dies(Part),
    /// The call fails; of an append the part is done.
    Fails(Part),
}

/// How much of an append is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Nothing.
    None,
    /// Half of it.
    Half,
    /// All.
    All,
}

impl Part {
    fn of(self, bytes: &[u8]) -> &[u8] {
        match self {
            Part::None => &[],
            Part::Half => &bytes[..bytes.len() / 2],
            Part::All => bytes,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct File {
    bytes: Vec<u8>,
    /// So many of them survive a power failure.
    synced: usize,
}

#[derive(Clone, Debug, Default)]
struct State {
    files: BTreeMap<Inode, File>,
    names: BTreeMap<String, Inode>,
    /// Names as they survive a power failure, and what has been done to them since, in order.
    names_on_disk: BTreeMap<String, Inode>,
    renames: Vec<Vec<(String, Option<Inode>)>>,
    inodes: Inode,
    jobs: VecDeque<(Vec<Step<Inode>>, Ticket)>,
    /// How many calls there were, and at which there is a fault.
    calls: u64,
    fault: Option<(u64, Fault)>,
    is_dead: bool,
    /// So many bytes are left.
    room: Option<usize>,
}

/// A handle to a folder, which outlives the processes that use it.
#[derive(Clone, Debug, Default)]
pub struct Folder(Rc<RefCell<State>>);

fn error() -> io::Error {
    io::Error::other("the disk failed")
}

impl State {
    /// Every call passes here. Gives what is done of it if that is not all.
    fn call(&mut self) -> Option<Part> {
        if self.is_dead {
            return Some(Part::None);
        }
        self.calls += 1;
        match self.fault.filter(|(at, _)| *at == self.calls)? {
            (_, Fault::Fails(part)) => Some(part),
            (_, Fault::Dies(part)) => {
                self.is_dead = true;
                Some(part)
            }
        }
    }

    fn whole_call(&mut self) -> io::Result<()> {
        self.call().map_or(Ok(()), |_| Err(error()))
    }

    fn name(&mut self, changes: Vec<(String, Option<Inode>)>) {
        apply(&changes, &mut self.names);
        self.renames.push(changes);
    }

    fn step(&mut self, step: &Step<Inode>) -> io::Result<()> {
        self.whole_call()?;
        match step {
            Step::Sync(inode) => {
                let file = self.files.get_mut(inode).ok_or_else(error)?;
                file.synced = file.bytes.len();
            }
            Step::Rename(from, to) => {
                let inode = *self.names.get(from).ok_or_else(error)?;
                self.name(vec![(from.clone(), None), (to.clone(), Some(inode))]);
            }
            Step::SyncNames => {
                self.names_on_disk = self.names.clone();
                self.renames.clear();
            }
            Step::Remove(name) if self.names.contains_key(name) => {
                self.name(vec![(name.clone(), None)]);
            }
            Step::Remove(_) => {}
        }
        Ok(())
    }
}

fn apply(changes: &[(String, Option<Inode>)], names: &mut BTreeMap<String, Inode>) {
    for (name, inode) in changes {
        match inode {
            Some(inode) => names.insert(name.clone(), *inode),
            None => names.remove(name),
        };
    }
}

impl Folder {
    /// What is in it, by name.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.0.borrow();
        let names = state.names.iter();
        let contents = names.map(|(name, inode)| (name.clone(), state.files[inode].bytes.clone()));
        contents.collect()
    }

    /// A folder with this in it, all of it on the disk.
    pub fn with(contents: &BTreeMap<String, Vec<u8>>) -> Folder {
        let mut state = State::default();
        for (name, bytes) in contents {
            state.inodes += 1;
            let synced = bytes.len();
            let bytes = bytes.clone();
            state.files.insert(state.inodes, File { bytes, synced });
            state.names.insert(name.clone(), state.inodes);
        }
        state.names_on_disk = state.names.clone();
        Folder(Rc::new(RefCell::new(state)))
    }

    /// From now on there is this fault at the call of this number, counted from now.
    pub fn fault(&self, at: u64, fault: Fault) {
        let state = &mut *self.0.borrow_mut();
        state.fault = Some((state.calls + at, fault));
    }

    /// Whether the fault has happened.
    pub fn has_failed(&self) -> bool {
        let state = self.0.borrow();
        state.fault.is_some_and(|(at, _)| state.calls >= at)
    }

    /// Whether the process that uses it has died.
    pub fn is_dead(&self) -> bool {
        self.0.borrow().is_dead
    }

    /// From now on there is room for so many bytes, or for all.
    pub fn limit(&self, room: Option<usize>) {
        self.0.borrow_mut().room = room;
    }

    /// The process ends, and what ails the disk goes on.
    pub fn kill_but_for_faults(&self) {
        self.0.borrow_mut().jobs.clear();
    }

    /// The process ends: what it has begun and not waited for is not done.
    pub fn kill(&self) {
        let state = &mut *self.0.borrow_mut();
        state.jobs.clear();
        state.is_dead = false;
        state.fault = None;
    }

    /// The power fails, after [`Folder::kill`]: of what was not synced any part may be lost, the later
    /// names first, and what is left of a file may read as zeros.
    pub fn lose_power(&self, dice: &mut SplitMix64) {
        let state = &mut *self.0.borrow_mut();
        let kept = dice.below(1 + state.renames.len() as u64) as usize;
        for changes in state.renames.drain(..).take(kept) {
            apply(&changes, &mut state.names_on_disk);
        }
        state.names = state.names_on_disk.clone();
        for file in state.files.values_mut() {
            let unsynced = file.bytes.len() - file.synced;
            let left = file.synced + dice.below(1 + unsynced as u64) as usize;
            let written = file.synced + dice.below(1 + (left - file.synced) as u64) as usize;
            file.bytes.truncate(left);
            if dice.below(2) == 0 {
                file.bytes[written..].fill(0);
            }
            file.synced = left;
        }
    }

    /// What is left of it when the power fails, at worst: of each file what was synced, under all names
    /// or those that were.
    pub fn after_power_failure(&self, keeps_names: bool) -> Folder {
        let state = self.0.borrow();
        let names = match keeps_names {
            true => &state.names,
            false => &state.names_on_disk,
        };
        let left = names.iter().map(|(name, inode)| {
            let file = &state.files[inode];
            (name.clone(), file.bytes[..file.synced].to_vec())
        });
        Folder::with(&left.collect())
    }

    /// Does the next job that was begun.
    pub fn finish_a_job(&self) -> Option<(Ticket, io::Result<()>)> {
        let state = &mut *self.0.borrow_mut();
        let (steps, ticket) = state.jobs.pop_front()?;
        let outcome = steps.iter().try_for_each(|step| state.step(step));
        Some((ticket, outcome))
    }
}

impl Disk for Folder {
    type File = Inode;

    fn list(&mut self) -> io::Result<Vec<String>> {
        let state = &mut *self.0.borrow_mut();
        state.whole_call()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn open(&mut self, name: &str) -> io::Result<(Inode, u64)> {
        let state = &mut *self.0.borrow_mut();
        state.whole_call()?;
        let inode = *state.names.get(name).ok_or_else(error)?;
        Ok((inode, state.files[&inode].bytes.len() as u64))
    }

    fn read_at(&self, file: &Inode, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let state = &mut *self.0.borrow_mut();
        state.whole_call()?;
        let held = &state.files[file].bytes;
        let rest = &held[held.len().min(at as usize)..];
        let read = rest.len().min(bytes.len());
        bytes[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn create(&mut self, name: &str) -> io::Result<Inode> {
        let state = &mut *self.0.borrow_mut();
        state.whole_call()?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.inodes += 1;
        let inode = state.inodes;
        state.files.insert(inode, File::default());
        state.name(vec![(name.to_owned(), Some(inode))]);
        Ok(inode)
    }

    fn reopen(&mut self, name: &str, bytes: u64) -> io::Result<Inode> {
        let state = &mut *self.0.borrow_mut();
        state.whole_call()?;
        let inode = *state.names.get(name).ok_or_else(error)?;
        let file = state.files.get_mut(&inode).ok_or_else(error)?;
        file.bytes.truncate(bytes as usize);
        file.synced = file.synced.min(file.bytes.len());
        Ok(inode)
    }

    fn append(&mut self, file: &Inode, bytes: &[u8]) -> io::Result<()> {
        let state = &mut *self.0.borrow_mut();
        let part = state.call();
        let mut written = part.map_or(bytes, |part| part.of(bytes));
        let mut outcome = part.map_or(Ok(()), |_| Err(error()));
        if let Some(room) = &mut state.room {
            if *room < written.len() {
                written = &written[..*room];
                outcome = Err(io::ErrorKind::StorageFull.into());
            }
            *room -= written.len();
        }
        let file = state.files.get_mut(file).ok_or_else(error)?;
        file.bytes.extend_from_slice(written);
        outcome
    }

    fn begin(&mut self, job: Vec<Step<Inode>>, ticket: Ticket) {
        let state = &mut *self.0.borrow_mut();
        if !state.is_dead {
            state.jobs.push_back((job, ticket));
        }
    }

    fn run(&mut self, job: Vec<Step<Inode>>) -> io::Result<()> {
        let state = &mut *self.0.borrow_mut();
        state.whole_call()?;
        job.iter().try_for_each(|step| state.step(step))
    }
}
