//! The journal of a simulated server: the real one, over a simulated folder; and what a crash may take
//! of it.
//!
//! The rule is simple. `kill -9` leaves the last state that was committed while the journal was in order;
//! a power failure leaves, with `--fsync always`, all that a reply has acknowledged, with `--fsync second`
//! what is some seconds old, and in any case one of the states that there were. A start may be in doubt
//! only if something was lost or damaged, could not be read, or if the clock is behind the journal.

use std::collections::BTreeSet;
use std::time::Duration;

use herd::journal::disk::OpenError;
use herd::journal::{Fsync, Journal, Options, State};
use herd::node::Node;
use herd::random::SplitMix64;
use herd::time::Now;

use crate::folder::{Ailment, Contents, Damage, Folder, some};
use crate::states::States;

/// With `--fsync second`, what is older than this survives a power failure, ...
const SAFE_AFTER: Duration = Duration::from_secs(3);

/// ... if the disk has been well for so long.
const WELL_FOR: Duration = Duration::from_secs(5);

/// A slice of a snapshot: of so few bytes that small tables take several.
pub const SLICE_BYTES: u64 = 150;

/// The longest that the disk's thread takes for a step.
pub const HANG_MAX: Duration = Duration::from_secs(30);

/// A disk whose thread takes longer than this for a step is not well.
const SLOW: Duration = Duration::from_millis(50);

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// `kill -9`: what was committed stays. Of a commit under way any part may have been written.
    Killed,
    /// It was told to stop, and closed its journal.
    Stopped,
    /// The power failed: what was not synced may be gone too.
    PowerLoss,
}

/// What came of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The process has died in it, or the disk was in no state to serve.
    None,
    /// All is known that was known in one of the states.
    Sure {
        /// There had been later ones.
        is_older: bool,
        /// It is from before a start that was in doubt, of which nothing was left; what it holds is to be believed.
        is_before_doubt: bool,
    },
    /// Nothing is claimed. All that the feed had up to this number, if to any, must be held.
    Doubt(Option<u64>),
}

/// A copy of a journal that somebody has taken.
#[derive(Debug)]
struct Copy {
    contents: Contents,
    kept: usize,
    last: usize,
    may_doubt: bool,
    is_unsafe: bool,
    wall: i128,
    told_wall: i128,
}

/// One server's journal on its disk.
#[derive(Debug)]
pub struct Disk {
    folder: Folder,
    options: Options,
    journal: Option<Journal<Folder>>,
    pub states: States,
    /// A process that is killed leaves this state or a later one, and a power failure that one.
    kept: usize,
    safe: usize,
    /// What was held in earlier states nobody knows: a start found this one after another in doubt.
    told_from: usize,
    /// The journal is still that one: it may hold what made room before anybody was told.
    pub is_told: bool,
    /// The state from which on clients' replies wait for the disk.
    held_from: Option<usize>,
    /// A start may be in doubt.
    may_doubt: bool,
    /// Somebody has damaged the files.
    is_damaged: bool,
    /// An older copy was put back.
    is_older: bool,
    /// What was salvaged by a start that was in doubt is in no snapshot yet, and with that it may be that
    /// it was lost.
    is_unsafe: bool,
    is_unknown: bool,
    /// How many snapshots there have been in this process, and how many writes.
    snapshots: u64,
    writes: u64,
    /// The latest time that the clock showed at a write since the last snapshot was begun, and since the
    /// present one was.
    wall: i128,
    next_wall: i128,
    /// The latest that it showed at all since it was set back.
    latest_wall: i128,
    /// What that was when the clock was last set back so far that the journal was told, until a snapshot that was
    /// begun after that is complete; and the same of the present one.
    told_wall: i128,
    next_told_wall: i128,
    /// When something was last amiss.
    unwell: Duration,
    /// Other states that a start may find: those before a start that was in doubt, while perhaps nothing
    /// of it is on the disk; and that in which one was that did not come to its end.
    before: Vec<States>,
    /// Those that are in no file any longer but one that was removed: where that was not synced a power failure may
    /// bring it back, and somebody who damages the newer ones has a start find it.
    removed: Vec<States>,
    /// Files of other servers that were put into the folder: as long as they are there, or there again, starts are
    /// in doubt.
    foreign: BTreeSet<String>,
    copy: Option<Copy>,
    /// The disk's thread will go on in time.
    pub is_going_on: bool,
    /// Its faults are over, for good.
    is_healed: bool,
}

impl Disk {
    /// An empty disk, and how the journal on it is to be kept.
    pub fn new(dice: &mut SplitMix64) -> Disk {
        let fsync = [Fsync::Always, Fsync::Second, Fsync::Never];
        Disk {
            folder: Folder::new(dice.next_u64()),
            options: Options {
                fsync: fsync[dice.below(3) as usize],
                may_fail: dice.below(2) == 0,
            },
            journal: None,
            states: States::at_birth(),
            kept: 0,
            safe: 0,
            told_from: 0,
            is_told: false,
            held_from: None,
            may_doubt: false,
            is_damaged: false,
            is_older: false,
            is_unsafe: false,
            is_unknown: false,
            snapshots: 0,
            writes: 0,
            wall: i128::MIN,
            next_wall: i128::MIN,
            latest_wall: i128::MIN,
            told_wall: i128::MIN,
            next_told_wall: i128::MIN,
            unwell: Duration::ZERO,
            before: Vec::new(),
            removed: Vec::new(),
            foreign: BTreeSet::new(),
            copy: None,
            is_going_on: false,
            is_healed: false,
        }
    }

    /// The journal of a server that is up.
    pub fn journal(&mut self) -> &mut Journal<Folder> {
        self.journal.as_mut().expect("the server is up")
    }

    /// Whether clients' replies wait for the disk.
    pub fn holds_replies(&self) -> bool {
        let journal = self.journal.as_ref();
        journal.is_some_and(Journal::holds_replies)
    }

    /// Whether the process has died in a call.
    pub fn is_dead(&self) -> bool {
        self.folder.is_dead()
    }

    /// Bytes of the disk that are used.
    pub fn used(&self) -> usize {
        self.folder.used()
    }

    /// From now on the disk has this ailment, or none.
    pub fn ail(&mut self, ailment: Ailment, at: Duration) {
        self.folder.ail(ailment);
        self.unwell = self.unwell.max(at);
    }

    /// From now on nothing ails the disk.
    pub fn heal(&mut self, at: Duration) {
        self.ail(Ailment::None, at);
        self.folder.live_on();
        self.is_healed = true;
        self.is_going_on = false;
    }

    /// Has the process die after so many more calls to the disk.
    pub fn doom(&self, calls: u64) {
        self.folder.die_after(calls);
    }

    /// Whether a start would find everything, and not be in doubt unless the clock is behind.
    pub fn is_complete(&self) -> bool {
        !self.may_doubt && self.kept == self.states.last()
    }

    /// Whether a start would find everything, and could be sure of it, when the clock shows `wall`.
    pub fn is_in_order(&self, wall: i128, forgets: bool) -> bool {
        self.is_complete() && !self.is_behind(wall, self.states.last(), forgets)
    }

    /// Whether a clock that shows `wall` is behind what was written, from a state on.
    fn is_behind(&self, wall: i128, from: usize, forgets: bool) -> bool {
        let told = self.next_wall.max(self.told_wall);
        let latest = self.states.latest_wall(from).max(told);
        wall < latest || forgets && wall < self.wall
    }

    // ---- a start

    /// Starts the server: lets `node` recover what is left, and begins an incarnation of it.
    pub fn open(
        &mut self,
        node: &mut Node,
        incarnation: u64,
        now: Now,
        (at, wall): (Duration, i128),
    ) -> Start {
        let forgets = node.forgets_after().is_some();
        let opened = Journal::open(self.folder.clone(), self.options, node, now, |_, _| {});
        let (has_failed, is_written) = (self.folder.has_failed(), self.folder.writes() > 0);
        let is_behind = self.is_behind(wall, self.kept, forgets);
        let is_mixed = self
            .foreign
            .iter()
            .any(|name| self.folder.contents().contains_key(name));
        let may_doubt = self.may_doubt || self.is_damaged || is_mixed || has_failed || is_behind;
        let (mut journal, recovered) = match opened {
            Ok(opened) if !self.is_dead() => opened,
            refused => {
                let others = matches!(refused, Err(OpenError::Refused(_)));
                assert!(
                    self.is_dead() || has_failed || others && self.is_damaged,
                    "it did not start, for nothing: {:?}",
                    refused.err()
                );
                self.folder.kill();
                if others {
                    self.folder.set_contents(&Contents::new()); // its operator deletes them
                    self.foreign.clear();
                }
                if is_written {
                    // Perhaps it is noted that the incarnation has begun; or all is written anew.
                    self.states.refuse(incarnation);
                    for states in &mut self.before {
                        states.refuse(incarnation);
                    }
                    let mut anew = States::at_birth();
                    anew.begin_anew(node.table().end());
                    anew.begin(incarnation);
                    anew.end_turn(at, wall);
                    self.before.extend(may_doubt.then_some(anew));
                    self.may_doubt |= may_doubt;
                    self.next_wall = self.next_wall.max(wall);
                }
                return Start::None;
            }
        };
        journal.set_slice(SLICE_BYTES);
        let notices: Vec<_> = std::iter::from_fn(|| journal.poll_notice()).collect();
        let start = match recovered.is_sure {
            true => {
                let (is_older, is_before_doubt) = self.recover(node);
                self.states.begin(incarnation);
                self.states.check_incarnations(node);
                Start::Sure {
                    is_older,
                    is_before_doubt,
                }
            }
            false => {
                assert!(may_doubt, "a start is in doubt, for nothing: {notices:?}");
                let is_told = notices[0].starts_with("The journal");
                assert!(is_told, "nobody is told of the doubt: {notices:?}");
                let is_held = !self.is_damaged && !has_failed && !self.is_unknown;
                let must_hold = is_held.then(|| self.states.at(self.kept).end);
                let before = std::mem::replace(&mut self.states, States::at_birth());
                self.before.push(before);
                self.states.begin_anew(node.table().end());
                self.states.begin(incarnation);
                self.states.check_incarnations(node);
                (self.kept, self.safe, self.told_from) = (0, 0, 0);
                (self.copy, self.is_told, self.is_unsafe) = (None, false, true);
                Start::Doubt(must_hold)
            }
        };
        self.may_doubt = !recovered.is_sure;
        (self.is_damaged, self.is_older, self.is_unknown) = (false, false, false);
        (self.snapshots, self.writes) = (0, 0);
        self.is_going_on = false;
        self.unwell = self.unwell.max(at); // what was written before is synced now
        self.journal = Some(journal);
        self.latest_wall = wall;
        self.states.end_turn(at, wall);
        // Replies wait for what was written by now: what the first turn adds is no reply's.
        self.held_from = self.holds_replies().then_some(self.states.last());
        self.note(at, wall);
        start
    }

    /// Finds which state a start has found. Says whether there had been later ones, and whether it is from
    /// before a start that was in doubt.
    fn recover(&mut self, node: &Node) -> (bool, bool) {
        let has_lost = std::mem::take(&mut self.is_older);
        let (states, kept) = (&mut self.states, self.kept);
        let found = states.find(node, kept);
        if let Some(place) = found.or_else(|| states.find_amid_turn(node, kept)) {
            let is_older = has_lost || place < self.states.last();
            self.go_back(place);
            let is_untold = place < self.told_from;
            self.told_from = self.told_from.min(place);
            return (is_older, is_untold);
        }
        if self.is_damaged {
            self.before.insert(0, States::at_birth());
            self.before.splice(0..0, self.removed.drain(..));
        }
        let before = self.before.iter().enumerate().rev();
        let found = before.filter_map(|(at, states)| {
            let place = states.find(node, 0)?;
            states.has_begun(node, place).then_some((at, place))
        });
        let Some((at, place)) = found.take(1).next() else {
            panic!(
                "never was what it found, {}",
                self.states.beside(node, self.kept)
            );
        };
        let found = self.before.swap_remove(at);
        self.before.truncate(at);
        // A start that died may have begun anew: until that is synced, the power may bring this back.
        self.before
            .insert(0, std::mem::replace(&mut self.states, found));
        (self.kept, self.safe, self.copy) = (0, 0, None);
        self.is_unsafe = true;
        self.go_back(place);
        (self.told_from, self.is_told) = (place, true);
        (true, true)
    }

    /// A start has found this state, and nothing later.
    fn go_back(&mut self, place: usize) {
        self.states.go_back(place);
        self.kept = place;
        self.safe = self.safe.min(place);
        self.copy.take_if(|copy| copy.last > place);
    }

    // ---- a turn

    /// Hands what the turn has brought to the kernel.
    pub fn commit(&mut self, now: Now, at: Duration, wall: i128) {
        self.states.end_turn(at, wall);
        self.journal().set_now(now);
        self.journal().commit();
        if self.is_dead() {
            return;
        }
        self.note(at, wall);
        if self.options.fsync == Fsync::Always {
            let last = self.states.last();
            if self.holds_replies() {
                self.held_from.get_or_insert(last);
            } else {
                // What was told before replies had to wait is safe now.
                let acknowledged = self.held_from.take().unwrap_or(last);
                if self.journal().state() == State::Ok {
                    self.safe = self.safe.max(acknowledged);
                }
            }
        }
    }

    /// Does what there is to do beside the turns.
    pub fn work(&mut self, node: &Node, at: Duration, wall: i128) {
        self.journal().work(node);
        if !self.is_dead() {
            self.note(at, wall);
        }
    }

    /// When the disk's thread goes on, if it has something to do.
    pub fn goes_on_after(&mut self, dice: &mut SplitMix64, at: Duration) -> Option<Duration> {
        if self.is_going_on || !self.folder.is_busy() {
            return None;
        }
        self.is_going_on = true;
        let micros = match dice.below(16) {
            _ if self.is_healed => dice.below(2_000),
            0..12 => dice.below(2_000),
            12..15 => dice.below(300_000),
            _ if dice.below(8) > 0 => dice.below(10_000),
            _ => dice.below(HANG_MAX.as_micros() as u64),
        };
        let wait = Duration::from_micros(micros);
        if wait > SLOW {
            self.unwell = self.unwell.max(at + wait);
        }
        Some(wait)
    }

    /// The disk's thread goes on, and perhaps tells of a job that is done.
    pub fn go_on(&mut self, now: Now, at: Duration, wall: i128) {
        self.is_going_on = false;
        if let Some((ticket, outcome)) = self.folder.go_on()
            && !self.is_dead()
        {
            self.journal().set_now(now);
            self.journal().handle_done(ticket, outcome);
            self.note(at, wall);
        }
    }

    /// Takes note of how the journal is.
    fn note(&mut self, at: Duration, wall: i128) {
        let last = self.states.last();
        let journal = self.journal.as_mut().expect("the server is up");
        while journal.poll_notice().is_some() {}
        let (counters, is_ok) = (journal.counters(), journal.state() == State::Ok);
        self.latest_wall = self.latest_wall.max(wall);
        let writes = self.folder.writes();
        if std::mem::replace(&mut self.writes, writes) != writes {
            self.wall = self.wall.max(wall);
            self.next_wall = self.next_wall.max(wall);
        }
        if self.folder.takes_snapshot() {
            (self.next_wall, self.next_told_wall) = (wall, i128::MIN);
        }
        let has_snapshot =
            std::mem::replace(&mut self.snapshots, counters.snapshots) < counters.snapshots;
        if !is_ok {
            self.may_doubt = true;
            self.unwell = self.unwell.max(at);
            return;
        }
        self.kept = last;
        if has_snapshot {
            (self.may_doubt, self.is_told) = (false, false);
            self.wall = self.next_wall;
            self.told_wall = self.next_told_wall;
            self.removed.append(&mut self.before);
            self.is_unsafe = false;
        }
    }

    /// A snapshot is due.
    pub fn begin_anew(&mut self) {
        self.journal().begin_anew();
    }

    /// The clock was set back so far that what had expired may be news again.
    pub fn handle_set_back(&mut self, now: Now) {
        self.journal().set_now(now);
        self.journal().handle_set_back();
        let latest = std::mem::replace(&mut self.latest_wall, i128::MIN);
        self.told_wall = self.told_wall.max(latest);
        self.next_told_wall = self.next_told_wall.max(latest);
    }

    // ---- the end of a process, and what befalls its files then

    /// Ends the process.
    pub fn crash(&mut self, crash: Crash, at: Duration, wall: i128) {
        if self.options.fsync == Fsync::Second && at.saturating_sub(self.unwell) > WELL_FOR {
            let old = self.states.before(at - SAFE_AFTER);
            self.safe = self.safe.max(old.min(self.kept));
        }
        if crash == Crash::Stopped {
            self.states.end_turn(at, wall);
            let state = self.journal().close();
            if !self.is_dead() {
                self.note(at, wall);
                let is_synced = state == State::Ok && self.options.fsync != Fsync::Never;
                self.safe = if is_synced { self.kept } else { self.safe };
            }
        }
        self.journal = None;
        self.folder.kill();
        if crash == Crash::PowerLoss {
            self.lose_power();
        }
    }

    /// The power fails.
    pub fn lose_power(&mut self) {
        if self.folder.has_lost_sync() {
            // A process that was killed before it knew, or could write anew, left that to the next, which
            // cannot know of it either.
            (self.safe, self.is_unsafe) = (0, true);
        }
        if self.folder.lose_power() {
            self.is_unknown |= self.is_unsafe;
            self.kept = self.safe;
            self.may_doubt = true;
        }
        self.safe = self.kept;
    }

    /// Somebody copies the journal, while the server is up or down.
    pub fn take_copy(&mut self) {
        if !self.is_damaged && !self.is_unknown && self.before.is_empty() {
            self.copy = Some(Copy {
                contents: self.folder.contents(),
                kept: self.kept,
                last: self.states.last(),
                may_doubt: self.may_doubt,
                is_unsafe: self.is_unsafe,
                wall: self.wall.max(self.next_wall),
                told_wall: self.told_wall,
            });
        }
    }

    /// Nobody will put the copy back.
    pub fn lose_copy(&mut self) {
        self.copy = None;
    }

    /// Somebody puts the copy back, if there is one.
    pub fn put_copy_back(&mut self) {
        if let Some(copy) = &self.copy {
            self.folder.set_contents(&copy.contents);
            self.foreign.clear();
            self.states.go_back(copy.last);
            (self.kept, self.safe) = (copy.kept, copy.kept);
            self.may_doubt = copy.may_doubt;
            self.wall = self.wall.max(copy.wall);
            self.told_wall = self.told_wall.max(copy.told_wall);
            (self.is_damaged, self.is_unknown, self.is_older) = (false, false, true);
            self.is_unsafe = copy.is_unsafe;
        }
    }

    /// Somebody damages the journal, which has then lost nobody knows what.
    pub fn damage(&mut self, damage: Damage, foreign: &Contents, dice: &mut SplitMix64) {
        let mut contents = self.folder.contents();
        let Some((name, other)) = some(&contents, dice).zip(some(&contents, dice)) else {
            return; // there is none
        };
        let bytes = contents[&name].len() as u64;
        match damage {
            Damage::Deleted => drop(contents.remove(&name)),
            Damage::Swapped => {
                let swapped = (contents[&other].clone(), contents[&name].clone());
                contents.extend([(name, swapped.0), (other, swapped.1)]);
            }
            Damage::Flipped if bytes > 0 => {
                let bit = dice.below(8 * bytes) as usize;
                let file = contents.get_mut(&name).expect("it is there");
                file[bit / 8] ^= 1 << (bit % 8);
            }
            Damage::Cut => {
                let file = contents.get_mut(&name).expect("it is there");
                file.truncate(dice.below(1 + bytes) as usize);
            }
            Damage::OlderFile | Damage::Foreign => {
                let older = self.copy.as_ref().map(|copy| &copy.contents);
                let from = match damage {
                    Damage::Foreign => Some(foreign),
                    _ => older,
                };
                if let Some(from) = from
                    && let Some(name) = some(from, dice)
                {
                    contents.insert(name.clone(), from[&name].clone());
                    self.foreign
                        .extend((damage == Damage::Foreign).then_some(name));
                }
            }
            Damage::Flipped => {}
        }
        self.folder.set_contents(&contents);
        (self.is_damaged, self.kept, self.safe) = (true, 0, 0);
    }

    /// All files.
    pub fn contents(&self) -> Contents {
        self.folder.contents()
    }
}
