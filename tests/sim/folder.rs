//! A simulated folder: what the journal asks of one, with full disks, errors, processes that die between
//! two calls or in one, and power failures that forget what was not synced.
//!
//! With names it is as kind as an ordered file system is (ext4, xfs): of those given and taken since the
//! last sync of the folder the latest may be lost. With what is in a file it is no kinder than the least
//! kind of them (ext4 with `data=writeback`, xfs): of the unsynced end any part may be lost, and of what is
//! left of it any block may never have been written, and reads as zeros.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::rc::Rc;

use herd::journal::disk::{Disk, Step, Ticket};
use herd::random::SplitMix64;

/// File systems write blocks of this size, each on its own. Simulated files are short and their unsynced
/// ends shorter, so most simulated blocks are smaller, for zeros to have something around them.
const BLOCK_BYTES_MAX: usize = 4_096;

/// Sizes of blocks, each half of the one before: down to 64 bytes, less than most batches have.
const BLOCK_SIZES: u64 = 7;

/// What was written last, and so may be all that tells of what is most recent.
const LATE_BYTES: usize = 2_000;

/// A file, whatever its names.
type Inode = u64;

/// What a folder has, by name.
pub type Contents = BTreeMap<String, Vec<u8>>;

/// What ails a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ailment {
    #[default]
    None,
    /// There is room for so many bytes in all.
    Full(usize),
    /// Of so many calls one fails.
    Errors(u64),
    /// Only syncs fail, each time.
    Unsynced,
}

/// What somebody does to a journal while its server is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A file is deleted.
    Deleted,
    /// Two files have each other's names.
    Swapped,
    /// A bit is another.
    Flipped,
    /// A file has lost its end.
    Cut,
    /// An older copy of a file is put back.
    OlderFile,
    /// Another server's file of the same name is put in.
    Foreign,
}

impl Damage {
    pub const ALL: [Damage; 6] = [
        Damage::Deleted,
        Damage::Swapped,
        Damage::Flipped,
        Damage::Cut,
        Damage::OlderFile,
        Damage::Foreign,
    ];
}

#[derive(Debug, Default)]
struct File {
    bytes: Vec<u8>,
    /// So many of them are on the disk.
    synced: usize,
    /// A sync has failed: later ones no longer help.
    is_lost: bool,
    /// What was cut off, and where, and may be there again after a power failure.
    cut_off: Option<(usize, Vec<u8>)>,
}

/// A name given, or with `None` taken.
type Renaming = Vec<(String, Option<Inode>)>;

/// What the disk's thread is told to do. Of files that it is to sync it knows how long they were then.
#[derive(Debug)]
struct Job {
    ticket: Ticket,
    steps: VecDeque<(Step<Inode>, usize)>,
    outcome: io::Result<()>,
}

#[derive(Debug)]
struct State {
    files: BTreeMap<Inode, File>,
    names: BTreeMap<String, Inode>,
    /// Names as they are on the disk, and what has been done to them since.
    names_on_disk: BTreeMap<String, Inode>,
    renames: VecDeque<Renaming>,
    jobs: VecDeque<Job>,
    ailment: Ailment,
    /// The process dies after so many more calls.
    dies_after: Option<u64>,
    /// Calls that have failed, and those that have tried to write, since a process last began.
    failures: u64,
    writes: u64,
    /// A snapshot was begun.
    takes_snapshot: bool,
    inodes: Inode,
    dice: SplitMix64,
}

/// A handle to a simulated folder, which outlives the processes that use it.
#[derive(Clone, Debug)]
pub struct Folder(Rc<RefCell<State>>);

fn dead() -> io::Error {
    io::Error::other("the process is dead")
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn apply(renaming: &Renaming, names: &mut BTreeMap<String, Inode>) {
    for (name, inode) in renaming {
        match inode {
            Some(inode) => names.insert(name.clone(), *inode),
            None => names.remove(name),
        };
    }
}

impl State {
    /// Every call passes here: the process may be dead, or the disk in no mood. A process that dies in a
    /// call has done it or not.
    fn call(&mut self) -> io::Result<()> {
        if let Some(left) = &mut self.dies_after {
            *left = left.checked_sub(1).ok_or_else(dead)?;
            if *left == 0 && self.dice.below(2) == 0 {
                return Err(dead());
            }
        }
        match self.ailment {
            Ailment::Errors(of) if self.dice.below(of) == 0 => {
                self.failures += 1;
                Err(io::Error::other("the disk failed"))
            }
            _ => Ok(()),
        }
    }

    fn is_dead(&self) -> bool {
        self.dies_after == Some(0)
    }

    fn rename(&mut self, renaming: Renaming) {
        apply(&renaming, &mut self.names);
        self.renames.push_back(renaming);
    }

    fn used(&self) -> usize {
        let named: BTreeSet<_> = self.names.values().collect();
        let bytes = named.into_iter().map(|inode| self.files[inode].bytes.len());
        bytes.sum()
    }

    fn add(&mut self, bytes: Vec<u8>, synced: usize) -> Inode {
        self.inodes += 1;
        let file = File {
            bytes,
            synced,
            ..File::default()
        };
        self.files.insert(self.inodes, file);
        self.inodes
    }

    /// A file is made safe as far as it was written when that was asked for.
    fn sync(&mut self, inode: Inode, len: usize) -> io::Result<()> {
        let fails = self.call().is_err() || self.ailment == Ailment::Unsynced;
        if self.is_dead() && fails {
            return Err(dead()); // it is not the disk that fails
        }
        let file = self.files.get_mut(&inode).ok_or_else(missing)?;
        if fails {
            // The kernel forgets that what it could not write was ever written.
            file.is_lost = true;
            self.failures += 1;
            return Err(io::Error::other("the disk failed to sync"));
        }
        if !file.is_lost {
            file.synced = file.synced.max(len);
            file.cut_off = None;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step<Inode>, len: usize) -> io::Result<()> {
        match step {
            Step::Sync(inode) => self.sync(*inode, len)?,
            Step::Rename(from, to) => {
                self.call()?;
                let inode = *self.names.get(from).ok_or_else(missing)?;
                self.rename(vec![(to.clone(), Some(inode)), (from.clone(), None)]);
            }
            Step::SyncNames => {
                self.call()?;
                self.names_on_disk.clone_from(&self.names);
                self.renames.clear();
            }
            Step::Remove(name) => {
                self.call()?;
                if self.names.contains_key(name) {
                    self.rename(vec![(name.clone(), None)]);
                }
            }
        }
        Ok(())
    }

    fn steps(&self, job: Vec<Step<Inode>>) -> VecDeque<(Step<Inode>, usize)> {
        let len = |step: &Step<Inode>| match step {
            Step::Sync(inode) => self.files.get(inode).map_or(0, |file| file.bytes.len()),
            Step::Rename(..) | Step::SyncNames | Step::Remove(_) => 0,
        };
        job.into_iter()
            .map(|step| (step.clone(), len(&step)))
            .collect()
    }

    /// Files that have no name any longer are gone.
    fn forget_nameless(&mut self) {
        let renames = self.renames.iter().flatten();
        let renamed = renames.filter_map(|(_, inode)| *inode);
        let named = self.names.values().chain(self.names_on_disk.values());
        let named: BTreeSet<_> = named.copied().chain(renamed).collect();
        self.files.retain(|inode, _| named.contains(inode));
    }
}

impl Folder {
    /// A folder in which nothing is.
    pub fn new(seed: u64) -> Folder {
        Folder(Rc::new(RefCell::new(State {
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            names_on_disk: BTreeMap::new(),
            renames: VecDeque::new(),
            jobs: VecDeque::new(),
            ailment: Ailment::None,
            dies_after: None,
            failures: 0,
            writes: 0,
            takes_snapshot: false,
            inodes: 0,
            dice: SplitMix64(seed),
        })))
    }

    /// Whether the process that uses the folder has died.
    pub fn is_dead(&self) -> bool {
        self.0.borrow().is_dead()
    }

    /// Whether a call has failed since the process began.
    pub fn has_failed(&self) -> bool {
        self.0.borrow().failures > 0
    }

    /// How many calls have tried to write since the process began.
    pub fn writes(&self) -> u64 {
        self.0.borrow().writes
    }

    /// Whether a snapshot was begun since this was last asked.
    pub fn takes_snapshot(&self) -> bool {
        std::mem::take(&mut self.0.borrow_mut().takes_snapshot)
    }

    /// Bytes of files that have names.
    pub fn used(&self) -> usize {
        self.0.borrow().used()
    }

    /// From now on the disk has this ailment, or none.
    pub fn ail(&self, ailment: Ailment) {
        self.0.borrow_mut().ailment = ailment;
    }

    /// The process that uses the folder dies in the call after so many more: of that, if it writes, any
    /// part is done.
    pub fn die_after(&self, calls: u64) {
        self.0.borrow_mut().dies_after = Some(calls + 1);
    }

    /// The process does not die soon.
    pub fn live_on(&self) {
        self.0.borrow_mut().dies_after = None;
    }

    /// The process ends: what it has begun and not waited for is not done.
    pub fn kill(&self) {
        let state = &mut *self.0.borrow_mut();
        state.dies_after = None;
        state.jobs.clear();
        (state.failures, state.writes) = (0, 0);
        state.forget_nameless();
    }

    /// The power fails, after [`Folder::kill`]: what was not synced may be gone. Says whether anything is.
    pub fn lose_power(&self) -> bool {
        let state = &mut *self.0.borrow_mut();
        let names = std::mem::take(&mut state.names);
        let kept = state.dice.below(1 + state.renames.len() as u64) as usize;
        for renaming in state.renames.drain(..).take(kept) {
            apply(&renaming, &mut state.names_on_disk);
        }
        state.names.clone_from(&state.names_on_disk);
        let mut is_lost = state.names != names;
        for file in state.files.values_mut() {
            is_lost |= file.lose_power(&mut state.dice);
        }
        state.forget_nameless();
        is_lost
    }

    /// Whether a sync of some file has failed, so that no later one makes it safe.
    pub fn has_lost_sync(&self) -> bool {
        let state = self.0.borrow();
        let mut named = state.names.values();
        named.any(|inode| state.files[inode].is_lost)
    }

    /// Whether the disk's thread has something to do, or to tell.
    pub fn is_busy(&self) -> bool {
        !self.0.borrow().jobs.is_empty()
    }

    /// The disk's thread goes on with its first job, by some steps or all. Gives the outcome once that is
    /// told, which may be later than all is done.
    pub fn go_on(&self) -> Option<(Ticket, io::Result<()>)> {
        let state = &mut *self.0.borrow_mut();
        let mut job = state.jobs.pop_front()?;
        let most = match state.dice.below(4) {
            0 => state.dice.below(3) as usize,
            _ => usize::MAX,
        };
        for _ in 0..most {
            let Some((step, len)) = job.steps.pop_front() else {
                return Some((job.ticket, job.outcome));
            };
            job.outcome = state.step(&step, len);
            if job.outcome.is_err() {
                job.steps.clear();
            }
        }
        state.jobs.push_front(job);
        None
    }

    // ---- what somebody does to the files while nobody uses them

    /// What is in it, by name.
    pub fn contents(&self) -> Contents {
        let state = self.0.borrow();
        let names = state.names.iter();
        let contents = names.map(|(name, inode)| (name.clone(), state.files[inode].bytes.clone()));
        contents.collect()
    }

    /// Puts this in the place of all that is in it, and on the disk.
    pub fn set_contents(&self, contents: &Contents) {
        let state = &mut *self.0.borrow_mut();
        state.names.clear();
        state.files.clear();
        state.renames.clear();
        for (name, bytes) in contents {
            let inode = state.add(bytes.clone(), bytes.len());
            state.names.insert(name.clone(), inode);
        }
        state.names_on_disk.clone_from(&state.names);
    }
}

impl File {
    /// Says whether anything is lost.
    fn lose_power(&mut self, dice: &mut SplitMix64) -> bool {
        let unsynced = self.bytes[self.synced..].to_vec();
        if let Some((at, tail)) = self.cut_off.take()
            && dice.below(2) == 0
        {
            self.bytes.truncate(at);
            self.bytes.extend(tail);
            self.synced = at;
            self.bytes
                .truncate(at + dice.below(1 + (self.bytes.len() - at) as u64) as usize);
            (self.synced, self.is_lost) = (self.bytes.len(), false);
            return true;
        }
        let lost = dice.below(1 + unsynced.len() as u64) as usize;
        let left = self.bytes.len() - lost;
        match dice.below(4) {
            0 => {}
            1 => self.bytes.truncate(left),
            2 => {
                self.bytes.truncate(left);
                let lost_of_8 = 1 + dice.below(7);
                self.lose_blocks(dice, |_, _, dice| dice.below(8) < lost_of_8);
            }
            _ => {
                // A few late ones that are next to each other, and no more.
                let from = self.bytes.len().saturating_sub(lost % LATE_BYTES);
                let to = from + dice.below(LATE_BYTES as u64 / 2) as usize;
                self.lose_blocks(dice, |start, end, _| start <= to && end > from);
            }
        }
        let is_lost = self.bytes[self.synced..] != unsynced;
        self.synced = self.bytes.len();
        self.is_lost = false;
        is_lost
    }

    /// The unsynced end has its length, but those of its blocks that `lost` picks were never written.
    fn lose_blocks(
        &mut self,
        dice: &mut SplitMix64,
        mut lost: impl FnMut(usize, usize, &mut SplitMix64) -> bool,
    ) {
        let bytes = BLOCK_BYTES_MAX >> dice.below(BLOCK_SIZES);
        let mut at = self.synced;
        while at < self.bytes.len() {
            let end = self.bytes.len().min((at / bytes + 1) * bytes);
            if lost(at, end, dice) {
                self.bytes[at..end].fill(0);
            }
            at = end;
        }
    }
}

impl Disk for Folder {
    type File = Inode;

    fn list(&mut self) -> io::Result<Vec<String>> {
        let state = &mut *self.0.borrow_mut();
        state.call()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn open(&mut self, name: &str) -> io::Result<(Inode, u64)> {
        let state = &mut *self.0.borrow_mut();
        state.call()?;
        let inode = *state.names.get(name).ok_or_else(missing)?;
        Ok((inode, state.files[&inode].bytes.len() as u64))
    }

    fn read_at(&self, file: &Inode, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let state = &mut *self.0.borrow_mut();
        state.call()?;
        let held = &state.files[file].bytes;
        let rest = held.get(at as usize..).unwrap_or(&[]);
        let read = rest.len().min(bytes.len());
        bytes[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn create(&mut self, name: &str) -> io::Result<Inode> {
        let state = &mut *self.0.borrow_mut();
        state.writes += 1;
        state.call()?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.takes_snapshot |= name.ends_with(".new");
        let inode = state.add(Vec::new(), 0);
        state.rename(vec![(name.to_owned(), Some(inode))]);
        Ok(inode)
    }

    fn reopen(&mut self, name: &str, bytes: u64) -> io::Result<Inode> {
        let state = &mut *self.0.borrow_mut();
        state.writes += 1;
        state.call()?;
        let inode = *state.names.get(name).ok_or_else(missing)?;
        let file = state.files.get_mut(&inode).ok_or_else(missing)?;
        let cut_off = file.bytes.split_off(bytes as usize);
        if !cut_off.is_empty() {
            file.synced = file.synced.min(file.bytes.len());
            file.cut_off = Some((file.bytes.len(), cut_off));
        }
        Ok(inode)
    }

    fn append(&mut self, file: &Inode, bytes: &[u8]) -> io::Result<()> {
        let state = &mut *self.0.borrow_mut();
        state.writes += 1;
        let mut outcome = state.call();
        let is_partial = outcome.is_err() || state.is_dead();
        let mut part = match is_partial {
            true => state.dice.below(1 + bytes.len() as u64) as usize,
            false => bytes.len(),
        };
        if let Ailment::Full(most) = state.ailment {
            let room = most.saturating_sub(state.used());
            if room < part {
                part = room;
                outcome = Err(io::ErrorKind::StorageFull.into());
            }
        }
        let file = state.files.get_mut(file).ok_or_else(missing)?;
        file.bytes.extend_from_slice(&bytes[..part]);
        outcome
    }

    fn begin(&mut self, job: Vec<Step<Inode>>, ticket: Ticket) {
        let state = &mut *self.0.borrow_mut();
        if !state.is_dead() {
            let steps = state.steps(job);
            let outcome = Ok(());
            state.jobs.push_back(Job {
                ticket,
                steps,
                outcome,
            });
        }
    }

    fn run(&mut self, job: Vec<Step<Inode>>) -> io::Result<()> {
        let state = &mut *self.0.borrow_mut();
        let steps = state.steps(job);
        steps
            .iter()
            .try_for_each(|(step, len)| state.step(step, *len))
    }
}

/// The name of some file. None that is quarantined: whoever gives that the journal's name puts an older copy back,
/// of which it is not known here what it holds.
pub fn some(contents: &Contents, dice: &mut SplitMix64) -> Option<String> {
    let is_in_use = |name: &&String| !name.ends_with(".quarantined");
    let names: Vec<_> = contents.keys().filter(is_in_use).collect();
    let at = dice.below(names.len().max(1) as u64) as usize;
    names.get(at).copied().cloned()
}

#[test]
fn a_power_failure_takes_what_was_not_synced_and_nothing_else() {
    let (mut whole, mut zeros, mut shorter, mut nameless) = (0, 0, 0, 0);
    for seed in 0..200 {
        let mut folder = Folder::new(seed);
        let file = folder.create("a").expect("there is room");
        let append = |folder: &mut Folder, bytes| {
            folder.append(&file, &vec![b'x'; bytes]).expect("there is");
        };
        append(&mut folder, 1_000);
        let job = vec![Step::Sync(file), Step::SyncNames];
        folder.run(job).expect("it can be synced");
        append(&mut folder, 9_000);
        folder.create("b").expect("there is room");
        folder.kill();
        let is_lost = folder.lose_power();
        let contents = folder.contents();
        let bytes = &contents["a"];
        assert!(bytes.len() >= 1_000, "seed {seed}: it has lost its length");
        assert!(bytes[..1_000].iter().all(|&byte| byte == b'x'), "{seed}");
        assert!(bytes.iter().all(|byte| [b'x', 0].contains(byte)), "{seed}");
        let is_whole = bytes.len() == 10_000 && !bytes.contains(&0) && contents.contains_key("b");
        assert_eq!(is_lost, !is_whole, "seed {seed}");
        whole += u32::from(is_whole);
        zeros += u32::from(bytes.contains(&0));
        shorter += u32::from(bytes.len() < 10_000);
        nameless += u32::from(!contents.contains_key("b"));
        // Nothing more is lost of it.
        folder.kill();
        assert!(!folder.lose_power(), "seed {seed}");
        assert_eq!(folder.contents(), contents, "seed {seed}");
    }
    assert!(
        whole > 5 && zeros > 60 && shorter > 60 && nameless > 60,
        "{whole} whole, {zeros} with zeros, {shorter} shorter, {nameless} without a name"
    );
}
