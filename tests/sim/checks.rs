//! What must hold after every step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use herd::connection_id::ConnectionId;
use herd::node::effects::LinkId;
use herd::node::questions::ASKERS_PER_CLIENT_MAX;

use crate::costs::Hello;
use crate::herd::Herd;
use crate::host::Host;
use crate::network::{FAR, NEAR, Way};
use crate::oracle::{NEVER, Window};
use crate::records;
use crate::topology::{Pair, pair};

/// A link is up again this long after both ends are up and reachable, and one of them knows that
/// it is down.
const UP_WITHIN: Duration = Duration::from_secs(1);

/// So long the smaller name insists on its own dial.
const CROSSING: Duration = Duration::from_millis(250);

/// A link that only seems up is found out within this.
const HALF_OPEN_WITHIN: Duration = Duration::from_secs(15);

/// What has expired gives its memory back within a sixteenth of the time that it was kept, and this.
const SWEPT_IN_ANY_CASE: Duration = Duration::from_secs(2);

/// Where the table has a limit, so many changes pass what may be stale in a changefeed that is not swept yet.
const CHANGES_TO_PASS_STALE: usize = 400;

/// How a way is, as far as a link is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Whoever is up is reachable, and near.
    Clear,
    /// Reachable, but so far away that only the longer of the promises can be kept.
    Far,
    /// Nothing passes in one direction at least.
    Dark,
    /// Cut, or too far to be reached.
    Closed,
}

impl State {
    pub fn of(way: &Way) -> State {
        match way {
            way if way.dark != [false; 2] => State::Dark,
            way if way.cut || way.delay > FAR => State::Closed,
            way if way.delay > NEAR => State::Far,
            _ => State::Clear,
        }
    }
}

/// Since when links and what they need have been as they are.
#[derive(Debug, Default)]
pub struct Fences {
    /// When something was last done to a way or to who is at its ends.
    touched: BTreeMap<Pair, (Duration, Option<State>)>,
    /// When one end last gave the link up.
    down: BTreeMap<Pair, Duration>,
    /// The turns of both ends when they were last seen to agree.
    agreed: BTreeMap<Pair, [u64; 2]>,
}

impl Fences {
    /// Something was done to a way, or will be until `time`.
    pub fn touch(&mut self, pair: Pair, time: Duration, state: State) {
        let before = self.touched.get(&pair).map_or(time, |(before, _)| *before);
        self.touched.insert(pair, (time.max(before), Some(state)));
    }

    /// `host` has given up its link to `other`.
    pub fn link_down(&mut self, host: usize, other: usize, now: Duration) {
        self.down.insert(pair(host, other), now);
    }
}

impl Herd {
    /// A host was started or has ended.
    pub fn touch_ways_of(&mut self, host: usize) {
        self.touch_ways_until(host, self.now);
    }

    /// Something is done to a host's ways until `time`.
    pub fn touch_ways_until(&mut self, host: usize, time: Duration) {
        for index in 0..self.hosts[host].neighbours.len() {
            let pair = pair(host, self.hosts[host].neighbours[index]);
            let state = State::of(&self.network.ways[&pair]);
            self.fences.touch(pair, time, state);
        }
    }

    /// After every step.
    pub fn check(&mut self) {
        let judges_by_time = self.judges_by_time();
        for host in 0..self.hosts.len() {
            if self.hosts[host].touched && self.hosts[host].node.is_some() {
                if judges_by_time {
                    self.turn(host); // what is held is judged by the clock as it is now
                }
                self.hosts[host].touched = false;
                self.check_host(host);
            }
        }
        self.check_links();
        self.check_quiet_links();
    }

    fn check_host(&mut self, index: usize) {
        let window = self.window(index);
        let given_back = self.given_back(index);
        let host = &mut self.hosts[index];
        let Some(node) = &host.node else { return };
        node.check_invariants();
        let peers: Vec<_> = node.peers().collect();
        let connections: Vec<_> = host.peers.keys().copied().collect();
        assert_eq!(
            peers, connections,
            "host {index}: peers it knows, and those there are"
        );
        let waits: Vec<_> = host.clients.keys().map(|id| node.waits_for(*id)).collect();
        let most = waits.iter().max().copied().unwrap_or_default();
        assert!(
            most <= ASKERS_PER_CLIENT_MAX,
            "host {index}: one waits for {most} answers"
        );
        let (questions, waiting) = (host.questions.len(), waits.iter().sum::<usize>());
        assert!(
            questions <= waiting,
            "host {index}: {questions} questions for {waiting} replies"
        );
        // Exactly what the oracle says is held: so nothing acknowledged is lost, and no record
        // goes back in time.
        let (table, heard) = (node.table(), &mut host.heard);
        let held = |client: &[u8]| table.update(client).map(|held| held.line());
        let shown = heard
            .see_all(held, window)
            .unwrap_or_else(|(held, may_be)| {
                let held = held.map(|held| held.escape_ascii().to_string());
                panic!("host {index} holds {held:?}, must hold {may_be}");
            });
        assert_eq!(
            table.changes_after(0).count(),
            shown,
            "host {index}: clients it shows"
        );
        // What has expired gives its memory back.
        let (held, most) = (table.len(), heard.sweep(given_back));
        assert!(
            (shown..=most).contains(&held),
            "host {index} holds {held} records, shows {shown}, may hold {most}"
        );
    }

    /// What has an effective time before this has given its memory back.
    fn given_back(&self, index: usize) -> i128 {
        let Some(span) = self.weather.forget_after else {
            return NEVER;
        };
        let within = span / 16 + SWEPT_IN_ANY_CASE;
        match self.now - self.hosts[index].clock_set > within {
            true => self.oldest(index) - within.as_nanos() as i128,
            false => NEVER, // its clock may have been another when it expired
        }
    }

    /// What a hello claims to have of the other's feed is exactly what it has been told, and is had.
    pub fn check_claim(&self, index: usize, link: LinkId, hello: &Hello) {
        let host = &self.hosts[index];
        let neighbour = host.neighbour(link);
        let other = &self.hosts[neighbour];
        let want = host.disk.states.claim(other.name.as_bytes());
        let of = format!("host {neighbour}'s feed");
        assert_eq!(hello.claim, want, "host {index} claims of {of}");
        let oldest = self.oldest(index).max(self.oldest(neighbour));
        let (Some((incarnation, number)), Some(node)) = (&hello.claim, &other.node) else {
            return;
        };
        if other
            .disk
            .states
            .end_of(*incarnation)
            .is_none_or(|end| *number > end)
        {
            return; // the numbers mean something else now: everything is sent
        }
        let own = host.name.as_bytes();
        let mut known = node.neighbours_known();
        let marked = known.find(|(name, ..)| name.as_bytes() == own);
        if marked.is_none_or(|(.., marked)| *number > marked) {
            return; // it does not know of such a mark, as its journal lost its end: everything is sent
        }
        for change in node.table().changes_after(0) {
            let shown = change.line.escape_ascii();
            assert!(
                change.number > *number
                    || host.heard.has_heard(change.line, oldest)
                    || records::rank(change.line).effective() < other.oldest_at_loss
                    || self.may_have_made_room(change.line),
                "host {index} claims up to {number} of {of}, and lacks {shown}"
            );
        }
    }

    /// Where a link is up and all has been said and heard, both ends hold the same.
    ///
    /// Where neither has had a turn since, nor has its clock been set, they do as before: what they hold
    /// and were told is the same, less what has expired.
    fn check_quiet_links(&mut self) {
        for &(a, b) in self.network.ways.keys() {
            let turns = [a, b].map(|host| self.hosts[host].turns);
            if self.fences.agreed.get(&(a, b)) == Some(&turns) {
                continue;
            }
            let wire = self.session_wire(a, b);
            let same = wire.is_some() && wire == self.session_wire(b, a);
            let Some(wire) = wire.and_then(|wire| self.network.wires.get(&wire)) else {
                continue;
            };
            if !same || !wire.is_quiet() || self.is_behind(a, b) || self.is_behind(b, a) {
                continue;
            }
            if self.judges_by_time() {
                // One may have forgotten what the other has not yet: but it was told.
                self.check_was_told(a, b);
                self.check_was_told(b, a);
            } else {
                self.check_same(a, b);
            }
            self.fences.agreed.insert((a, b), turns);
        }
    }

    /// Two hosts hold the same.
    fn check_same(&self, a: usize, b: usize) {
        let (left, right) = (&self.hosts[a].heard, &self.hosts[b].heard);
        if left.must_be_held().eq(right.must_be_held()) {
            return;
        }
        for client in left.clients().chain(right.clients()) {
            let (left, right) = (left.must_hold(client), right.must_hold(client));
            let mut either = left.iter().chain(&right);
            if left != right && !either.any(|line| self.may_have_made_room(line)) {
                let shown = [left, right].map(|l| l.map(|l| l.escape_ascii().to_string()));
                panic!("hosts {a} and {b} have nothing to say, but hold {shown:?}");
            }
        }
        assert!(
            self.weather.tables_are_small,
            "what differs is about some client"
        );
    }

    /// What a host holds its neighbour has been told.
    fn check_was_told(&self, host: usize, other: usize) {
        let node = self.hosts[host].node.as_ref().expect("its link is up");
        let (heard, oldest) = (&self.hosts[other].heard, self.oldest(other));
        for change in node.table().changes_after(0) {
            let shown = change.line.escape_ascii();
            assert!(
                heard.has_heard(change.line, oldest)
                    || records::rank(change.line).effective() < self.hosts[host].oldest_at_loss
                    || self.may_have_made_room(change.line),
                "host {host} has nothing to say, but host {other} has not heard {shown}"
            );
        }
    }

    /// Whether a host that is up has not said everything to its neighbour yet.
    fn is_behind(&self, host: usize, other: usize) -> bool {
        let host = &self.hosts[host];
        let link = host.link_to(other);
        let id = link.and_then(|link| host.up.get(&link));
        let node = host.node.as_ref();
        node.is_none_or(|node| node.backlogs().any(|behind| Some(&behind) == id))
    }

    /// A session gives way only to a hello that was said after its own, if one incarnation said both.
    pub fn check_is_later(&self, index: usize, link: LinkId, hello: &Hello) {
        let host = &self.hosts[index];
        let old = host.up.get(&link).and_then(|id| host.costs.speaker(*id));
        if let Some(old) = old.filter(|old| old.incarnation == hello.incarnation) {
            let (serial, before) = (hello.serial, old.serial);
            assert!(
                serial > before,
                "host {index}: hello {serial} takes the place of {before}"
            );
        }
    }

    /// Of two dials that cross that of the smaller name stays: so that name alone refuses the
    /// other's, and does not take it while its own is fresh.
    pub fn check_crossing(&self, index: usize, id: ConnectionId, line: &[u8]) {
        let host = &self.hosts[index];
        let Some(peer) = host.peers.get(&id) else {
            return;
        };
        let wire = self.network.wires.get(&peer.wire.0);
        let Some(other) = wire.map(|wire| wire.hosts[1 - peer.wire.1]) else {
            return;
        };
        let is_first = host.name < self.hosts[other].name;
        let refused = line == b"BYE our dial crossed yours";
        assert!(
            !(refused && is_first),
            "host {index}, the smaller, is refused by {other}"
        );
        let up = host.up.values().any(|up| *up == id);
        if is_first && up && peer.wire.1 == 1 && Hello::read(line).is_some() {
            let fresh = host.peers.iter().any(|(own, dialled)| {
                let wire = self.network.wires.get(&dialled.wire.0);
                let same = wire.is_some_and(|wire| wire.hosts == [index, other]);
                let awaits = host.costs.speaker(*own).is_none() && dialled.wire.1 == 0;
                let given_up = dialled.given_up_before(self.now);
                same && awaits && !given_up && self.now - dialled.made < CROSSING
            });
            assert!(
                !fresh,
                "host {index}, the smaller, gives up its fresh dial of {other}"
            );
        }
    }

    /// Takes a host that was in doubt at its word, if that is genuine.
    pub fn take_at_its_word(&mut self, index: usize) {
        let oldest = self.oldest(index);
        let host = &mut self.hosts[index];
        let node = host.node.as_ref().expect("it is up");
        let is_shown = |client: &[u8]| node.table().location(client).is_some();
        host.heard.forget_but_expired(oldest, is_shown);
        for change in node.table().changes_after(0) {
            let shown = change.line.escape_ascii();
            assert!(
                self.made.contains_key(change.line),
                "no server has ever made {shown}"
            );
            let heard = host
                .heard
                .hear(change.line, Some(change.number), Window::ALL);
            heard.expect("there is one of each client");
        }
    }

    /// What a host in doubt holds is at least as recent as what its feed had up to a number.
    pub fn check_holds_what_is_left(&mut self, index: usize, number: u64, oldest: i128) {
        let host = &mut self.hosts[index];
        let node = host.node.as_ref().expect("it is up");
        // To what was taken in later something that was too far ahead may have had to give way.
        let lines = node.table().changes_after(0).map(|change| change.line);
        let is_later = |line: &&[u8]| host.heard.took_after(line, number);
        let later: BTreeSet<_> = lines.filter(is_later).collect();
        let gone = host.heard.may_have_gone_after(number, self.evicted);
        host.heard.lose_after(number);
        host.heard.expire(oldest);
        for client in host.heard.clients() {
            let Some(must) = host.heard.must_hold(client) else {
                continue; // it may have been forgotten
            };
            let held = node.table().update(client).map(|held| held.line());
            let is_recent = held.is_some_and(|held| {
                later.contains(held) || records::rank(held) >= records::rank(must)
            });
            let is_recent = is_recent || records::rank(must).effective() <= self.evicted;
            let is_recent = is_recent || held.is_none() && gone.contains(client);
            let shown = must.escape_ascii();
            assert!(is_recent, "host {index} has lost {shown}");
        }
    }

    /// Whether this may be unknown where another holds it: some table has made room for what is as recent.
    pub fn may_have_made_room(&self, line: &[u8]) -> bool {
        records::rank(line).effective() <= self.evicted
    }

    /// Tables take no more than they may, once changes have had them pass what is stale in the changefeed.
    pub fn check_tables(&mut self) {
        let is_over = |host: &Host| {
            let table = host.node.as_ref().map(|node| node.table());
            table.is_some_and(|table| table.len() > 1 && table.bytes() > host.table_limit)
        };
        for _ in 0..CHANGES_TO_PASS_STALE / 20 {
            let over = (0..self.hosts.len()).filter(|&host| is_over(&self.hosts[host]));
            let over: Vec<_> = over.collect();
            if over.is_empty() {
                return;
            }
            for host in over {
                (0..20).for_each(|_| self.report_fresh(host));
            }
            self.elapse(Duration::from_secs(1));
            self.check();
        }
        panic!("a table takes more than it may");
    }

    fn is_up(&self, a: usize, b: usize) -> [bool; 2] {
        [(a, b), (b, a)].map(|(host, other)| self.session_wire(host, other).is_some())
    }

    /// The wire over which a host believes its link to `other` to run.
    fn session_wire(&self, host: usize, other: usize) -> Option<u64> {
        let host = &self.hosts[host];
        let id = host.up.get(&host.link_to(other)?)?;
        host.peers.get(id).map(|peer| peer.wire.0)
    }

    /// Links are up in time where they can be, and known to be down in time where they cannot.
    pub fn check_links(&self) {
        for (&(a, b), way) in &self.network.ways {
            if self.hosts[a].node.is_none() || self.hosts[b].node.is_none() {
                continue;
            }
            for (host, other) in [(a, b), (b, a)] {
                let names = !self.hosts[host].unnamed.contains(&other);
                let is_up = self.session_wire(host, other).is_some();
                assert!(
                    names || !is_up,
                    "host {host} is linked with {other}, no neighbour"
                );
            }
            if self.hosts[a].unnamed.contains(&b) || self.hosts[b].unnamed.contains(&a) {
                continue;
            }
            let (since, _) = self
                .fences
                .touched
                .get(&(a, b))
                .copied()
                .unwrap_or_default();
            let down = self.fences.down.get(&(a, b)).copied().unwrap_or_default();
            let ends = self.is_up(a, b);
            let whole = ends == [true; 2] && self.session_wire(a, b) == self.session_wire(b, a);
            let left_alone = self.now.saturating_sub(since);
            match State::of(way) {
                State::Clear | State::Far if !whole => {
                    assert!(
                        left_alone <= HALF_OPEN_WITHIN,
                        "the link {a}-{b} is {ends:?} after {left_alone:?}"
                    );
                    let known_down = self.now.saturating_sub(since.max(down));
                    assert!(
                        ends == [true; 2] || known_down <= UP_WITHIN || way.delay > NEAR,
                        "the link {a}-{b} is {ends:?} after {known_down:?} though known to be down"
                    );
                }
                State::Dark => assert!(
                    ends == [false; 2] || left_alone <= HALF_OPEN_WITHIN,
                    "the link {a}-{b} is {ends:?} though dark for {left_alone:?}"
                ),
                State::Clear | State::Far | State::Closed => {}
            }
        }
    }
}
