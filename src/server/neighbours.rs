//! What a server knows of its neighbours and its node need not: where they are, the dials under
//! way, and how the log names their connections.
//!
//! `Driver` is the only caller. Looking a host's name up may take long, so a thread does it.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use super::roles::CLIENT;
use crate::connection_id::ConnectionId;
use crate::log::record::Label;
use crate::net::connection::Role;
use crate::node::LinkIndex;
use crate::topology::{Address, Member, ServerName};

/// A neighbour may be unreachable for this long before it is worth a word.
const PATIENCE: Duration = Duration::from_secs(2);

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

    /// The link for which the dial `id` is under way.
    pub fn dialled(&self, id: ConnectionId) -> Option<LinkIndex> {
        let index = self.0.iter().position(|n| n.dial == Some(id))?;
        Some(LinkIndex(index as u16))
    }

    /// How the log names a connection, which may belong to a link.
    pub fn label(&self, id: ConnectionId, role: Role, link: Option<LinkIndex>) -> Label<'_> {
        let name = link.map(|link| &self.0[usize::from(link.0)].name);
        match role {
            CLIENT => Label::Client(id.serial),
            _ => Label::Server(id.serial, name),
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
