//! What a server knows of its neighbours and its node need not: where they are, the dials under
//! way, and how the log names their connections.
//!
//! `Shell` has them; the rooms of `server` ask and tell. A host's name is looked up when its neighbour is to be
//! dialled, by `Resolver`, and not again before a pause is over: a neighbour that is down is dialled several
//! times a second.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::resolver::{Found, Resolver};
use super::roles::Role;
use crate::connection_id::ConnectionId;
use crate::log::record::Label;
use crate::node::effects::LinkId;
use crate::time::{Now, Timestamp};
use crate::topology::{Address, Fingerprint, Member, ServerName};
use crate::web::status::LinkState;

/// A neighbour may be unreachable for this long before it is worth a word.
const PATIENCE: Duration = Duration::from_secs(2);

/// So many changes of a link are told at once ...
const CHANGES_MAX: u32 = 60;

/// ... within so long a time. If there are more, what has become of it is told as often as this, until
/// it has been quiet for as long: a link that goes up and down all the time must not fill a disk.
const CHANGES_WHILE: Duration = Duration::from_secs(60);

/// A name is looked up again this long after a lookup that failed; each failure doubles the pause, ...
const LOOKUP_PAUSE_FIRST: Duration = Duration::from_secs(1);

/// ... up to this one, which also follows a lookup that found something.
const LOOKUP_PAUSE_MAX: Duration = Duration::from_secs(30);

/// All neighbours, by the node's links; also those that were neighbours.
pub struct Neighbours {
    all: BTreeMap<LinkId, Neighbour>,
    resolver: Resolver,
}

/// One neighbour.
pub struct Neighbour {
    /// Its name.
    pub name: ServerName,
    /// Where it listens for servers.
    pub address: Address,
    /// The keys of which it may show one.
    pub keys: Vec<Fingerprint>,
    /// How often it was dialled since it was last linked.
    pub tries: u32,
    /// The dial under way.
    pub dial: Option<ConnectionId>,
    /// Where the address leads; several for a name that has several.
    resolved: Vec<SocketAddr>,
    /// How many dials there have been.
    dials: usize,
    /// From when on a dial begins a lookup. `None`: one is under way, or the address has no name.
    lookup_at: Option<Instant>,
    /// The lookup under way is of an address where it is no longer.
    has_moved: bool,
    /// How long the pause is after the next lookup, if that fails.
    pause: Duration,
    /// How the link is.
    pub condition: Condition,
    /// Since when it cannot be reached, and whether that has been said.
    unreachable: Option<(Instant, bool)>,
    changes: Option<Changes>,
}

/// How a link is, for its status.
#[derive(Clone, Debug)]
pub struct Condition {
    /// What it does.
    pub state: LinkState,
    /// Since when it is up, or is not.
    pub since: Timestamp,
    /// Why it is not up.
    pub reason: String,
    /// How often it has come up.
    pub sessions: u64,
    /// How often the neighbour has ended a connection with BYE.
    pub refusals: u64,
}

impl Condition {
    fn set_up(&mut self, now: Now) {
        self.state = LinkState::Up;
        self.since = now.wall;
        self.reason.clear();
        self.sessions += 1;
    }

    /// Notes that it is not up. A neighbour says BYE to a server that it does not accept.
    pub fn set_down(&mut self, reason: &str, now: Now) {
        if self.state == LinkState::Up {
            self.since = now.wall;
        }
        self.state = match reason.starts_with("the neighbour said BYE") {
            true => LinkState::Refused,
            false => LinkState::Down,
        };
        self.refusals += u64::from(self.state == LinkState::Refused);
        reason.clone_into(&mut self.reason);
    }
}

/// What the operator has been told of a link of late.
struct Changes {
    /// Since when they are counted.
    since: Instant,
    /// How many there were; all that may be told at once, if there were too many just before.
    count: u32,
    /// The last, if it has not been told.
    untold: Option<String>,
}

impl Neighbours {
    /// None yet. `post` takes what a lookup has found to [`Neighbours::handle_lookup`].
    pub fn new(post: impl Fn(LinkId, Found) + Send + Sync + 'static) -> Neighbours {
        let lookup = |address: &Address| address.as_str().to_socket_addrs().map(Iterator::collect);
        Neighbours {
            all: BTreeMap::new(),
            resolver: Resolver::new(lookup, post),
        }
    }

    /// Has the addresses of these servers, the neighbours from now on. `link` says which link each has.
    pub fn update<'a>(
        &mut self,
        members: impl Iterator<Item = &'a Member>,
        link: impl Fn(&ServerName) -> Option<LinkId>,
        now: Instant,
    ) {
        for member in members {
            let link = link(&member.name).expect("each neighbour has one");
            let new = || Neighbour::new(member, now);
            let known = self.all.entry(link).or_insert_with(new);
            known.keys.clone_from(&member.keys);
            if known.address != member.server_address {
                known.move_to(&member.server_address, now);
            }
        }
    }

    /// How a link is.
    pub fn condition(&self, link: LinkId) -> Option<&Condition> {
        self.all.get(&link).map(|neighbour| &neighbour.condition)
    }

    /// The neighbour at the other end of `link`.
    pub fn at(&mut self, link: LinkId) -> &mut Neighbour {
        let neighbour = self.all.get_mut(&link);
        neighbour.expect("only links to neighbours are told of")
    }

    /// Where to dial next, taking turns where there are several addresses; `None` if none is known. Begins
    /// a lookup, if one is due.
    pub fn next_address(&mut self, link: LinkId, now: Instant) -> Option<SocketAddr> {
        let neighbour = self.all.get_mut(&link)?;
        if neighbour.lookup_at.take_if(|at| *at <= now).is_some() {
            self.resolver.look_up(link, neighbour.address.clone());
        }
        neighbour.next_address()
    }

    /// Takes in what a lookup has found. After a failure the addresses of an earlier one are still tried.
    ///
    /// # Errors
    /// The lookup's.
    pub fn handle_lookup(&mut self, link: LinkId, found: Found, now: Instant) -> io::Result<()> {
        self.resolver.handle_done();
        self.at(link).handle_lookup(found, now)
    }

    /// What to tell the operator of links that have changed too often.
    pub fn untold(&mut self, now: Instant) -> Option<String> {
        self.all
            .values_mut()
            .find_map(|neighbour| neighbour.untold(now))
    }

    /// The link for which the dial `id` is under way.
    pub fn dialled(&self, id: ConnectionId) -> Option<LinkId> {
        let mut all = self.all.iter();
        let dialled = all.find(|(_, neighbour)| neighbour.dial == Some(id));
        dialled.map(|(link, _)| *link)
    }

    /// How the log names a connection, which may belong to a link.
    pub fn label(&self, id: ConnectionId, role: Role, link: Option<LinkId>) -> Label<'_> {
        let name = link.and_then(|link| self.all.get(&link));
        let name = name.map(|neighbour| &neighbour.name);
        match role {
            Role::Client => Label::Client(id.serial),
            Role::Http => Label::Http(id.serial),
            Role::Accepted | Role::Dialled => Label::Server(id.serial, name),
        }
    }
}

impl Neighbour {
    fn new(member: &Member, now: Instant) -> Neighbour {
        let address = member.server_address.clone();
        let literal = address.as_str().parse().ok();
        Neighbour {
            name: member.name.clone(),
            address,
            keys: member.keys.clone(),
            tries: 0,
            dial: None,
            resolved: Vec::from_iter(literal),
            dials: 0,
            lookup_at: literal.is_none().then_some(now),
            has_moved: false,
            pause: LOOKUP_PAUSE_FIRST,
            condition: Condition {
                state: LinkState::Down,
                since: Timestamp::system(),
                reason: "it has not been reached yet".to_owned(),
                sessions: 0,
                refusals: 0,
            },
            unreachable: None,
            changes: None,
        }
    }

    /// It listens somewhere else from now on. A dial under way to where it was runs its course.
    fn move_to(&mut self, address: &Address, now: Instant) {
        let is_literal = |address: &Address| address.as_str().parse::<SocketAddr>().ok();
        let is_looked_up = self.lookup_at.is_none() && is_literal(&self.address).is_none();
        self.has_moved |= is_looked_up;
        let literal = is_literal(address);
        self.address = address.clone();
        self.resolved = Vec::from_iter(literal);
        self.lookup_at = (literal.is_none() && !self.has_moved).then_some(now);
        self.pause = LOOKUP_PAUSE_FIRST;
        self.unreachable = None;
    }

    fn next_address(&mut self) -> Option<SocketAddr> {
        self.dials += 1;
        let place = self.dials.checked_rem(self.resolved.len())?;
        Some(self.resolved[place])
    }

    fn handle_lookup(&mut self, found: Found, now: Instant) -> io::Result<()> {
        if std::mem::take(&mut self.has_moved) {
            let is_literal = self.address.as_str().parse::<SocketAddr>().is_ok();
            self.lookup_at = (!is_literal).then_some(now);
            return Ok(());
        }
        let (pause, next) = match found {
            Ok(_) => (LOOKUP_PAUSE_MAX, LOOKUP_PAUSE_FIRST),
            Err(_) => (self.pause, LOOKUP_PAUSE_MAX.min(2 * self.pause)),
        };
        self.lookup_at = Some(now + pause);
        self.pause = next;
        self.resolved = found?;
        Ok(())
    }

    /// What to tell the operator of a neighbour that cannot be reached: once, until it has been,
    /// and not at all if that lasts shorter than a herd takes to start.
    pub fn unreachable(&mut self, reason: &str, now: Instant) -> Option<String> {
        let Neighbour { name, address, .. } = self;
        let (since, said) = self.unreachable.get_or_insert((now, false));
        if *said || now < *since + PATIENCE {
            return None;
        }
        *said = true;
        Some(format!(
            "cannot reach {name} at {address}: {reason}. Still trying."
        ))
    }

    /// What to tell the operator when the link is `state` now; if nothing, [`Neighbours::untold`] will
    /// say it, unless it is something else by then.
    pub fn changed(&mut self, state: &str, now: Instant) -> Option<String> {
        let text = format!("link to {} is {state}", self.name);
        let changes = self.changes.get_or_insert(Changes {
            since: now,
            count: 0,
            untold: None,
        });
        if changes.untold.is_none() && changes.since + CHANGES_WHILE <= now {
            (changes.since, changes.count) = (now, 0);
        }
        changes.count = changes.count.saturating_add(1);
        if changes.count > CHANGES_MAX {
            changes.untold = Some(text);
            return None;
        }
        Some(text)
    }

    fn untold(&mut self, now: Instant) -> Option<String> {
        let changes = self.changes.as_mut()?;
        let is_due = changes.since + CHANGES_WHILE <= now;
        let text = changes.untold.take_if(|_| is_due)?;
        let untold = changes.count - CHANGES_MAX;
        (changes.since, changes.count) = (now, CHANGES_MAX);
        let seconds = CHANGES_WHILE.as_secs();
        Some(format!(
            "{text} (it went up and down: {untold} changes within {seconds} seconds were not told)"
        ))
    }

    /// Notes that it has been reached.
    pub fn reached(&mut self, now: Now) {
        self.unreachable = None;
        self.condition.set_up(now);
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Receiver, channel};

    use super::*;
    use crate::topology::Topology;

    /// Longer than any lookup of a test.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// Neighbours N0, N1 and so on at these addresses.
    fn neighbours(
        addresses: &[&str],
        now: Instant,
        post: impl Fn(LinkId, Found) + Send + Sync + 'static,
    ) -> Neighbours {
        let line = |(n, address)| format!("N{n} clients:{} {address}\n", n + 1);
        let text: String = addresses.iter().enumerate().map(line).collect();
        let topology = Topology::parse(text.as_bytes()).expect("it is one");
        let mut neighbours = Neighbours::new(post);
        let members = topology.members();
        let place = |name: &ServerName| members.iter().position(|member| member.name == *name);
        let link = |name: &ServerName| place(name).map(LinkId::nth);
        neighbours.update(members.iter(), link, now);
        neighbours
    }

    /// The same, with `lookup` in the place of DNS, and what is posted.
    fn looking_up(
        addresses: &[&str],
        now: Instant,
        lookup: impl Fn(&Address) -> Found + Send + Sync + 'static,
    ) -> (Neighbours, Receiver<(LinkId, Found)>) {
        let (post, posted) = channel();
        let mut made = neighbours(addresses, now, |_, _| {});
        let post = move |link, found| post.send((link, found)).expect("the test waits for it");
        made.resolver = Resolver::new(lookup, post);
        (made, posted)
    }

    fn socket(text: &str) -> SocketAddr {
        text.parse().expect("it is an address")
    }

    #[test]
    fn a_name_is_looked_up_now_and_then_however_often_it_is_dialled() {
        let start = Instant::now();
        let is_there = |lookup| (8..=10).contains(&lookup); // of all lookups these succeed
        let count = AtomicUsize::new(0);
        let lookup = move |_: &Address| match count.fetch_add(1, Ordering::Relaxed) {
            lookup if is_there(lookup) => Ok(vec![socket("192.0.2.1:2")]),
            _ => Err(io::Error::other("no such name")),
        };
        let (mut neighbours, posted) = looking_up(&["there:2"], start, lookup);
        let link = LinkId::nth(0);
        let mut looked_up = Vec::new();
        for tenths in 0..3_000 {
            let now = start + Duration::from_millis(100) * tenths;
            let address = neighbours.next_address(link, now);
            let was_found = looked_up.len() > 8;
            assert_eq!(
                address,
                was_found.then(|| socket("192.0.2.1:2")),
                "{tenths}"
            );
            if neighbours.at(link).lookup_at.is_none() {
                let (of, found) = posted.recv_timeout(PATIENCE).expect("a lookup ends");
                let outcome = neighbours.handle_lookup(of, found, now);
                assert_eq!(outcome.is_ok(), is_there(looked_up.len()), "{tenths}");
                looked_up.push(tenths / 10);
            }
        }
        let failing = [0, 1, 3, 7, 15, 31, 61, 91];
        let found = [121, 151, 181];
        let failing_again = [211, 212, 214, 218, 226, 242, 272];
        assert_eq!(looked_up, [&failing[..], &found, &failing_again].concat());
    }

    #[test]
    fn names_are_looked_up_one_at_a_time_and_dials_go_on() {
        let start = Instant::now();
        let (allow, allowed) = channel();
        let allowed = std::sync::Mutex::new(allowed);
        let (begin, begun) = channel();
        let lookup = move |address: &Address| {
            begin.send(address.clone()).expect("the test waits for it");
            let allowed = allowed.try_lock().expect("no two are looked up at once");
            allowed.recv_timeout(PATIENCE).expect("the test allows it")
        };
        let addresses = ["a:2", "192.0.2.9:2", "b:2", "c:2"];
        let (mut neighbours, posted) = looking_up(&addresses, start, lookup);
        let links = [0, 1, 2, 3].map(LinkId::nth);
        let two = ["192.0.2.1:2", "[2001:db8::1]:2"].map(socket);
        for (name, outcome) in [
            ("a:2", Ok(two.to_vec())),
            ("b:2", Err(io::Error::other("no such name"))),
            ("c:2", Ok(two.to_vec())),
        ] {
            for _ in 0..10 {
                let known = links.map(|link| neighbours.next_address(link, start));
                assert_eq!(known[1], Some(socket("192.0.2.9:2")), "it has no name");
                assert_eq!(known[0].is_some(), name != "a:2");
                assert_eq!(known[2], None);
            }
            let address = begun.recv_timeout(PATIENCE).expect("a lookup begins");
            assert_eq!(address.as_str(), name, "they are taken in turn");
            assert!(begun.try_recv().is_err(), "the others wait");
            allow.send(outcome).expect("the lookup waits for it");
            let (link, found) = posted.recv_timeout(PATIENCE).expect("a lookup ends");
            let _ = neighbours.handle_lookup(link, found, start);
        }
        let dialled = (0..2).filter_map(|_| neighbours.next_address(links[3], start));
        let dialled = BTreeSet::from_iter(dialled);
        assert_eq!(dialled, BTreeSet::from(two), "each has its turn");
        assert!(!neighbours.resolver.is_busy(), "all were looked up");
    }

    #[test]
    fn one_that_moves_is_found_where_it_is_now_whatever_is_looked_up() {
        let start = Instant::now();
        let lookup = |address: &Address| match address.as_str() {
            "old:2" => Ok(vec![socket("192.0.2.1:2")]),
            _ => Ok(vec![socket("192.0.2.2:2")]),
        };
        let (mut neighbours, posted) = looking_up(&["old:2", "old:3"], start, lookup);
        let link = LinkId::nth(0);
        let move_to = |neighbours: &mut Neighbours, address: &str| {
            let text = format!("N0 clients:1 {address}\nN2 clients:3 later:2\n");
            let topology = Topology::parse(text.as_bytes()).expect("it is one");
            let link = |name: &ServerName| match name.as_str() {
                "N0" => Some(LinkId::nth(0)),
                _ => Some(LinkId::nth(2)),
            };
            neighbours.update(topology.members().iter(), link, start);
        };
        assert_eq!(neighbours.next_address(link, start), None);
        move_to(&mut neighbours, "new:2"); // while the old name is looked up
        for _ in 0..2 {
            assert_eq!(
                neighbours.next_address(link, start),
                None,
                "not the old one"
            );
            let (of, found) = posted.recv_timeout(PATIENCE).expect("a lookup ends");
            neighbours
                .handle_lookup(of, found, start)
                .expect("it is found");
        }
        assert_eq!(
            neighbours.next_address(link, start),
            Some(socket("192.0.2.2:2"))
        );
        move_to(&mut neighbours, "192.0.2.3:2");
        assert_eq!(
            neighbours.next_address(link, start),
            Some(socket("192.0.2.3:2"))
        );
        move_to(&mut neighbours, "old:2");
        assert_eq!(neighbours.next_address(link, start), None);
        move_to(&mut neighbours, "192.0.2.4:2");
        let (of, found) = posted.recv_timeout(PATIENCE).expect("a lookup ends");
        neighbours
            .handle_lookup(of, found, start)
            .expect("it is found");
        assert_eq!(
            neighbours.next_address(link, start),
            Some(socket("192.0.2.4:2"))
        );
        assert_eq!(neighbours.at(LinkId::nth(2)).name.as_str(), "N2");
    }

    #[test]
    fn of_a_link_that_goes_up_and_down_all_the_time_the_first_and_the_last_is_told() {
        let start = Instant::now();
        let mut neighbours = neighbours(&["localhost:1"], start, |_, _| {});
        let link = LinkId::nth(0);
        let most = CHANGES_MAX as usize;
        for (minute, at_once) in [(0, most), (1, 0), (2, 0), (4, most)] {
            let now = start + minute * CHANGES_WHILE;
            let states = ["down: it stumbled", "up"].into_iter().cycle().take(1_000);
            let told = states.map(|state| (state, neighbours.at(link).changed(state, now)));
            let told = Vec::from_iter(told);
            for (state, told) in &told[..at_once] {
                let text = format!("link to N0 is {state}");
                assert_eq!(*told, Some(text), "at once");
            }
            assert!(told[at_once..].iter().all(|(_, told)| told.is_none()));
            let over = now + CHANGES_WHILE;
            assert_eq!(neighbours.untold(over - Duration::from_nanos(1)), None);
            let last = neighbours.untold(over).expect("it is due");
            assert!(last.starts_with("link to N0 is up ("), "{last}");
            let untold = format!(" {} changes ", 1_000 - at_once);
            assert!(last.contains(&untold), "{last}");
            assert_eq!(neighbours.untold(over), None, "it has been told");
        }
        for calm in 6..200 {
            let now = start + calm * CHANGES_WHILE;
            let told = neighbours.at(link).changed("up", now);
            assert!(told.is_some(), "once a minute");
        }
    }
}
