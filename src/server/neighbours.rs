//! What a server knows of its neighbours and its node need not: where they are, the dials under
//! way, and how the log names their connections.
//!
//! `Driver` is the only caller. Looking a host's name up may take long, so a thread does it.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use super::roles::Role;
use crate::connection_id::ConnectionId;
use crate::log::record::Label;
use crate::node::LinkIndex;
use crate::topology::{Address, Member, ServerName};

/// A neighbour may be unreachable for this long before it is worth a word.
const PATIENCE: Duration = Duration::from_secs(2);

/// So many changes of a link are told at once ...
const CHANGES_MAX: u32 = 60;

/// ... within so long a time. If there are more, what has become of it is told as often as this, until
/// it has been quiet for as long: a link that goes up and down all the time must not fill a disk.
const CHANGES_WHILE: Duration = Duration::from_secs(60);

/// All neighbours, in the order of the node's links.
pub struct Neighbours(Vec<Neighbour>);

/// One neighbour.
pub struct Neighbour {
    /// Its name.
    pub name: ServerName,
    /// Where it listens for servers.
    pub address: Address,
    /// The dial under way.
    pub dial: Option<ConnectionId>,
    /// Where the address leads; several for a name that has several.
    resolved: Vec<SocketAddr>,
    /// How many dials there have been.
    dials: usize,
    /// A thread is finding out where the address leads.
    resolving: bool,
    /// Since when it cannot be reached, and whether that has been said.
    unreachable: Option<(Instant, bool)>,
    changes: Option<Changes>,
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
    /// The neighbours as the topology names them.
    pub fn new<'a>(members: impl Iterator<Item = &'a Member>) -> Neighbours {
        Neighbours(members.map(Neighbour::new).collect())
    }

    /// The neighbour at the other end of `link`.
    pub fn at(&mut self, link: LinkIndex) -> &mut Neighbour {
        &mut self.0[usize::from(link.0)]
    }

    /// What to tell the operator of links that have changed too often.
    pub fn untold(&mut self, now: Instant) -> Option<String> {
        self.0
            .iter_mut()
            .find_map(|neighbour| neighbour.untold(now))
    }

    /// The link for which the dial `id` is under way.
    pub fn dialled(&self, id: ConnectionId) -> Option<LinkIndex> {
        let index = self.0.iter().position(|n| n.dial == Some(id))?;
        Some(LinkIndex(index as u16))
    }

    /// How the log names a connection, which may belong to a link.
    pub fn label(&self, id: ConnectionId, role: Role, link: Option<LinkIndex>) -> Label<'_> {
        let name = link.map(|link| &self.0[usize::from(link.0)].name);
        match role {
            Role::Client => Label::Client(id.serial),
            Role::Accepted | Role::Dialled => Label::Server(id.serial, name),
        }
    }
}

impl Neighbour {
    fn new(member: &Member) -> Neighbour {
        let address = member.server_address.clone();
        Neighbour {
            name: member.name.clone(),
            resolved: address.as_str().parse().into_iter().collect(),
            address,
            dial: None,
            dials: 0,
            resolving: false,
            unreachable: None,
            changes: None,
        }
    }

    /// Where to dial next, taking turns where there are several; `None` if that is not known.
    /// Also begins to look the name up, if it is one; `post` is given what was found.
    pub fn next_address(
        &mut self,
        post: impl FnOnce(io::Result<Vec<SocketAddr>>) + Clone + Send + 'static,
    ) -> Option<SocketAddr> {
        let is_literal = self.address.as_str().parse::<SocketAddr>().is_ok();
        if !is_literal && !self.resolving {
            self.resolving = true;
            resolve(self.address.clone(), post);
        }
        self.dials += 1;
        let place = self.dials.checked_rem(self.resolved.len())?;
        Some(self.resolved[place])
    }

    /// Takes in what a lookup found.
    pub fn handle_resolved(&mut self, found: Vec<SocketAddr>) {
        self.resolving = false;
        self.resolved = found;
    }

    /// Notes that a lookup failed; what an earlier one found is still tried.
    pub fn handle_unresolved(&mut self) {
        self.resolving = false;
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
            "{name} cannot be reached at {address}, trying on: {reason}"
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
    pub fn reached(&mut self) {
        self.unreachable = None;
    }
}

fn resolve(
    address: Address,
    post: impl FnOnce(io::Result<Vec<SocketAddr>>) + Clone + Send + 'static,
) {
    let lookup = {
        let post = post.clone();
        move || post(address.as_str().to_socket_addrs().map(Iterator::collect))
    };
    let thread = thread::Builder::new().name("resolver".to_owned());
    if let Err(error) = thread.spawn(lookup) {
        post(Err(error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Topology;

    #[test]
    fn of_a_link_that_goes_up_and_down_all_the_time_the_first_and_the_last_is_told() {
        let topology = Topology::parse(b"Ann localhost:1 localhost:2\n").expect("it is one");
        let mut neighbours = Neighbours::new(topology.members().iter());
        let (start, link) = (Instant::now(), LinkIndex(0));
        let most = CHANGES_MAX as usize;
        for (minute, at_once) in [(0, most), (1, 0), (2, 0), (4, most)] {
            let now = start + minute * CHANGES_WHILE;
            let states = ["down: it stumbled", "up"].into_iter().cycle().take(1_000);
            let told = states.map(|state| (state, neighbours.at(link).changed(state, now)));
            let told = Vec::from_iter(told);
            for (state, told) in &told[..at_once] {
                let text = format!("link to Ann is {state}");
                assert_eq!(*told, Some(text), "at once");
            }
            assert!(told[at_once..].iter().all(|(_, told)| told.is_none()));
            let over = now + CHANGES_WHILE;
            assert_eq!(neighbours.untold(over - Duration::from_nanos(1)), None);
            let last = neighbours.untold(over).expect("it is due");
            assert!(last.starts_with("link to Ann is up ("), "{last}");
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
