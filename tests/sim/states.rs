//! What a server has told its journal, turn by turn: an oracle for what a start may find.
//!
//! What has been told by the end of a turn is a *state*: how far the changefeed has come, what is known of
//! each neighbour's, which mark each neighbour was sent, which incarnations there were. A start finds
//! exactly one of the states that there have been, and never a mixture; or it is in doubt, and then it
//! claims nothing. Locations are not here: each is known by its number in the feed, and
//! [`Heard`](crate::oracle::Heard) knows those.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::time::Duration;

use herd::node::Node;

use crate::costs::Claim;
use crate::hash::Stir;

/// A node remembers so many incarnations.
const INCARNATIONS_MAX: usize = 64;

/// That of a state which was never written: no incarnation has this number.
const NO_INCARNATION: u64 = u64::MAX;

/// The state at the end of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// When the turn was, by the true time and by the server's clock.
    pub at: Duration,
    pub wall: i128,
    /// How far the changefeed has come.
    pub end: u64,
    /// Of what is known of neighbours and was marked for them.
    neighbours: u64,
    /// The latest incarnation that has begun; 0 before the first.
    incarnation: u64,
}

/// What was told of a neighbour: each with the place of the state from which on it holds.
#[derive(Debug, Default)]
struct Told {
    known: Vec<(usize, Claim)>,
    marked: Vec<(usize, u64)>,
}

/// All states, the oldest first.
#[derive(Debug)]
pub struct States {
    all: Vec<State>,
    neighbours: BTreeMap<Vec<u8>, Told>,
    /// Each with the place of the state from which on it is known, and how far the feed had come.
    incarnations: Vec<(usize, u64, u64)>,
    /// Incarnations that ended before they had begun: perhaps a start finds them all the same.
    refused: BTreeSet<u64>,
    /// What was told since the last state.
    end: u64,
    is_changed: bool,
}

/// A digest of what is known of a neighbour, to be added to those of others.
fn digest(name: &[u8], known: Claim, marked: u64) -> u64 {
    if known.is_none() && marked == 0 {
        return 0; // as if there were no such neighbour
    }
    let mut digest = Stir::default();
    (name, known, marked).hash(&mut digest);
    digest.finish()
}

/// The latest of what was told.
fn last<T: Copy>(told: &[(usize, T)]) -> Option<T> {
    told.last().map(|(_, what)| *what)
}

/// Adds what was told in the state at this place.
fn tell<T>(told: &mut Vec<(usize, T)>, place: usize, what: T) {
    told.pop_if(|(before, _)| *before == place);
    told.push((place, what));
}

impl States {
    /// Nothing has ever been told.
    pub fn at_birth() -> States {
        States {
            all: vec![State {
                at: Duration::ZERO,
                wall: i128::MIN,
                end: 0,
                neighbours: 0,
                incarnation: 0,
            }],
            neighbours: BTreeMap::new(),
            incarnations: Vec::new(),
            refused: BTreeSet::new(),
            end: 0,
            is_changed: false,
        }
    }

    /// The place of the last state.
    pub fn last(&self) -> usize {
        self.all.len() - 1
    }

    /// The state at a place.
    pub fn at(&self, place: usize) -> &State {
        &self.all[place]
    }

    /// The place of the last state that is at least as old.
    pub fn before(&self, at: Duration) -> usize {
        let younger = self.all.partition_point(|state| state.at <= at);
        younger.saturating_sub(1)
    }

    /// The latest time that the server's clock showed in a turn from this place on.
    pub fn latest_wall(&self, from: usize) -> i128 {
        let walls = self.all[from..].iter().map(|state| state.wall);
        walls.max().expect("there is always one")
    }

    // ---- what is told

    /// The feed has a change with this number.
    pub fn change(&mut self, number: u64) {
        assert_eq!(number, self.end + 1, "a change that is not the next");
        self.end = number;
        self.is_changed = true;
    }

    /// This is known of a neighbour's feed.
    pub fn know(&mut self, neighbour: &[u8], known: Claim) {
        let place = self.all.len();
        tell(&mut self.told_mut(neighbour).known, place, known);
    }

    /// A neighbour is about to be sent this mark.
    pub fn mark(&mut self, neighbour: &[u8], number: u64) {
        let place = self.all.len();
        let marked = &mut self.told_mut(neighbour).marked;
        let is_highest = last(marked).is_none_or(|before| number >= before);
        assert!(is_highest, "a mark that is not the highest");
        tell(marked, place, number);
    }

    fn told_mut(&mut self, neighbour: &[u8]) -> &mut Told {
        self.is_changed = true;
        if !self.neighbours.contains_key(neighbour) {
            self.neighbours.insert(neighbour.to_vec(), Told::default());
        }
        self.neighbours.get_mut(neighbour).expect("it is there now")
    }

    /// An incarnation begins.
    pub fn begin(&mut self, incarnation: u64) {
        let begun = (self.all.len(), incarnation, self.end);
        self.incarnations.push(begun);
        self.is_changed = true;
    }

    /// An incarnation ended before it had begun.
    pub fn refuse(&mut self, incarnation: u64) {
        self.refused.insert(incarnation);
    }

    /// A turn ends: what was told is a state.
    pub fn end_turn(&mut self, at: Duration, wall: i128) {
        if std::mem::take(&mut self.is_changed) {
            let neighbours = self.neighbours.iter().map(|(name, told)| {
                let marked = last(&told.marked).unwrap_or(0);
                digest(name, last(&told.known).flatten(), marked)
            });
            self.all.push(State {
                at,
                wall,
                end: self.end,
                neighbours: neighbours.fold(0, u64::wrapping_add),
                incarnation: self.incarnations.last().map_or(0, |begun| begun.1),
            });
        }
    }

    // ---- what a start finds

    /// The place of the state that a node has which has just recovered, if it is one of those from `from`
    /// on: the latest, if there are several. The node's own incarnation is not among what it has.
    pub fn find(&self, node: &Node, from: usize) -> Option<usize> {
        let neighbours = node.neighbours_known().map(|(name, known, marked)| {
            let known = known.map(|mark| (mark.incarnation.0, mark.number));
            digest(name.as_bytes(), known, marked)
        });
        let neighbours = neighbours.fold(0, u64::wrapping_add);
        let incarnations = node.incarnations().map(|(name, _)| name.0);
        let mut earlier: Vec<_> = incarnations.collect();
        earlier.pop(); // the present one
        earlier.retain(|name| !self.refused.contains(name));
        let incarnation = earlier.last().copied().unwrap_or(0);
        let end = node.table().end();
        let is_its = |state: &State| {
            (state.end, state.neighbours, state.incarnation) == (end, neighbours, incarnation)
        };
        Some(from + self.all[from..].iter().rposition(is_its)?)
    }

    /// The same of a state amid a turn, in which so many changes were told that some were written before its end.
    /// From now on that is one of the states.
    pub fn find_amid_turn(&mut self, node: &Node, from: usize) -> Option<usize> {
        let end = node.table().end();
        let is_amid = |turn: &[State]| turn[0].end < end && end < turn[1].end;
        let before = from + self.all[from..].windows(2).position(is_amid)?;
        let place = before + 1;
        let State { at, wall, .. } = self.all[place];
        let amid = State {
            at,
            wall,
            end,
            ..self.all[before]
        };
        self.all.insert(place, amid);
        let later = |since: &mut usize| *since += usize::from(*since >= place);
        for told in self.neighbours.values_mut() {
            told.known.iter_mut().for_each(|(since, _)| later(since));
            told.marked.iter_mut().for_each(|(since, _)| later(since));
        }
        let begun = self.incarnations.iter_mut();
        begun.for_each(|(since, ..)| later(since));
        self.find(node, from)
    }

    /// What a node has that has just recovered, beside the latest states, in words.
    pub fn beside(&self, node: &Node, from: usize) -> String {
        let known: Vec<_> = node.neighbours_known().collect();
        let incarnations: Vec<_> = node.incarnations().collect();
        let (end, last) = (node.table().end(), self.last());
        let latest = &self.all[last.saturating_sub(4)..];
        let Self {
            neighbours,
            incarnations: begun,
            ..
        } = self;
        format!(
            "up to {end}, {known:?}, {incarnations:?}; the states {from} to {last}: {latest:#?}, {neighbours:?}, {begun:?}"
        )
    }

    /// All that was told after the state at this place was lost.
    pub fn go_back(&mut self, place: usize) {
        self.all.truncate(place + 1);
        self.end = self.all[place].end;
        self.is_changed = false;
        for told in self.neighbours.values_mut() {
            told.known.retain(|(since, _)| *since <= place);
            told.marked.retain(|(since, _)| *since <= place);
        }
        self.incarnations.retain(|(since, ..)| *since <= place);
    }

    /// A start in doubt: nothing of what was told holds, and the feed has come to `end` anew. That is no state that
    /// another start may find: it is written together with the incarnation that begins.
    pub fn begin_anew(&mut self, end: u64) {
        *self = States {
            end,
            ..States::at_birth()
        };
        self.all[0].end = end;
        self.all[0].incarnation = NO_INCARNATION;
    }

    /// What a hello must claim to have of a neighbour's feed.
    pub fn claim(&self, neighbour: &[u8]) -> Claim {
        last(&self.neighbours.get(neighbour)?.known).flatten()
    }

    /// The last number that an incarnation gave, if its numbers are still what they were.
    pub fn end_of(&self, incarnation: u64) -> Option<u64> {
        let mut spans = self.incarnations.iter().map(|(_, name, _)| *name);
        let at = spans.position(|name| name == incarnation)?;
        let next = self.incarnations.get(at + 1);
        Some(next.map_or(self.end, |(.., begun_at)| *begun_at))
    }

    /// Whether the incarnations that a node knows which has just recovered, but for its own, are those that had
    /// begun in the state at this place.
    pub fn has_begun(&self, node: &Node, place: usize) -> bool {
        let known = node.incarnations().map(|(name, _)| name.0);
        let mut known: Vec<_> = known.collect();
        known.pop(); // its own
        known.retain(|name| !self.refused.contains(name));
        let begun = self.incarnations.iter();
        let begun = begun.filter(|(since, ..)| *since <= place);
        let begun: Vec<_> = begun.map(|(_, name, _)| *name).collect();
        begun.ends_with(&known)
    }

    /// A node knows exactly the incarnations that there have been, its own included.
    pub fn check_incarnations(&self, node: &Node) {
        let found = node
            .incarnations()
            .map(|(name, begun_at)| (name.0, begun_at));
        let mut found: Vec<_> = found.collect();
        let is_all = found.len() < INCARNATIONS_MAX;
        found.retain(|(name, _)| !self.refused.contains(name));
        let begun = self.incarnations.iter();
        let want: Vec<_> = begun
            .map(|(_, name, begun_at)| (*name, *begun_at))
            .collect();
        let forgotten = match is_all {
            true => 0,
            false => want.len().saturating_sub(found.len()),
        };
        let want = &want[forgotten..];
        assert_eq!(found, want, "incarnations it knows, and those there were");
    }
}
