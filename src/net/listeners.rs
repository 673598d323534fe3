//! Where connections come in: the sockets that listen, and how many connections each role may have.
//!
//! `Lifecycle` owns one; `Reactor` is a caller too. A host name may have several addresses, so several sockets may
//! listen for one role; its limits are for all of them together. An edge that cannot be used yet is remembered here.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Interest, Registry, Token};

use super::connection::Role;
use super::transport::{Offer, Transport};
use crate::cause;

/// So many connections the kernel makes before we take them, if it lets us (`net.core.somaxconn`). Who
/// comes when there is no room for more tries again only after a second.
const BACKLOG: i32 = 4096;

/// The most connections accepted from one socket in one turn.
const ACCEPT_BUDGET: usize = 256;

/// When accepting failed for want of descriptors or memory it is tried again after this long, or
/// as soon as a connection closes.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);

/// The most addresses of a host name at which we listen.
const ADDRESSES_MAX: usize = 16;

/// The most sockets that listen: a reactor has few roles that come in.
pub const SOCKETS_MAX: usize = 8 * ADDRESSES_MAX;

/// With how many connections a role takes no more.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Those of all, whatever their role.
    pub all: usize,
    /// Those that came for this one.
    pub own: usize,
}

/// Where a host name has led, and what has come of listening there.
#[derive(Debug, Default)]
pub struct Listening {
    /// The addresses that listen, one at least.
    pub bound: Vec<SocketAddr>,
    /// Those of them that did not before.
    pub new: Vec<SocketAddr>,
    /// Those that do not, and why.
    pub failed: Vec<(SocketAddr, io::Error)>,
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound: Vec<_> = self.bound.iter().map(SocketAddr::to_string).collect();
        f.write_str(&bound.join(" and "))
    }
}

/// The addresses to which `address` leads, a host name or an IP address with a port; each once.
///
/// # Errors
/// The resolver's.
pub fn addresses(address: &str) -> io::Result<Vec<SocketAddr>> {
    let mut found = Vec::new();
    for address in address.to_socket_addrs()? {
        if !found.contains(&address) && found.len() < ADDRESSES_MAX {
            found.push(address);
        }
    }
    match found.is_empty() {
        true => Err(ErrorKind::AddrNotAvailable.into()),
        false => Ok(found),
    }
}

/// What came in.
#[derive(Debug)]
pub enum Accepted<R> {
    /// A connection.
    Connection(Transport, SocketAddr, R),
    /// None can come in for now; the text says why.
    Failed(String),
}

/// All sockets that listen.
#[derive(Debug)]
pub struct Listeners<R> {
    sockets: Vec<Socket<R>>,
    counts: Vec<Count<R>>,
    /// Accepting has failed; not to be tried again before then.
    accept_after: Option<Instant>,
}

#[derive(Debug)]
struct Socket<R> {
    socket: TcpListener,
    /// Its place among the tokens of listeners.
    index: usize,
    role: R,
    limits: Limits,
    offer: Offer,
    /// Its edge has come and has not been used up.
    has_edge: bool,
    /// How many connections may still be accepted from it in this turn.
    budget: usize,
    /// It has been told that it takes no more for now.
    full: bool,
}

/// The connections of a role that came in: those of a role never both come in and are dialled.
#[derive(Debug)]
struct Count<R> {
    role: R,
    /// All, those included that are about to close.
    all: usize,
    /// Those not included.
    open: usize,
}

impl<R> Socket<R> {
    fn is_at(&self, addresses: &[SocketAddr]) -> bool {
        let bound = self.socket.local_addr();
        bound.is_ok_and(|at| addresses.contains(&at))
    }
}

impl<R: Role> Listeners<R> {
    /// None yet.
    pub fn new() -> Listeners<R> {
        Listeners {
            sockets: Vec::new(),
            counts: Vec::new(),
            accept_after: None,
        }
    }

    /// Listens at `address` for `role`. `registry` is to tell of it under `first_token` and those behind
    /// it. Gives the address bound.
    ///
    /// # Errors
    /// The kernel's, `AddrInUse` above all.
    pub fn listen(
        &mut self,
        registry: &Registry,
        first_token: usize,
        address: SocketAddr,
        role: R,
        limits: Limits,
        offer: Offer,
    ) -> io::Result<SocketAddr> {
        let is_free = |index: &usize| self.sockets.iter().all(|socket| socket.index != *index);
        let index = (0..SOCKETS_MAX).find(is_free);
        let index = index.ok_or_else(|| io::Error::other("too many addresses"))?;
        let mut socket = TcpListener::bind(address)?;
        rustix::net::listen(&socket, BACKLOG)?; // once more, for mio asks for few
        let token = Token(first_token + index);
        registry.register(&mut socket, token, Interest::READABLE)?;
        let bound = socket.local_addr()?;
        self.sockets.push(Socket {
            socket,
            index,
            role,
            limits,
            offer,
            has_edge: false,
            budget: 0,
            full: false,
        });
        if self.count_mut(role).is_none() {
            let (all, open) = (0, 0);
            self.counts.push(Count { role, all, open });
        }
        Ok(bound)
    }

    /// Goes over to this offer where `role` has one of its kind, for those who come from now on.
    pub fn set_offer(&mut self, role: R, offer: &Offer) {
        let sockets = self.sockets.iter_mut();
        sockets
            .filter(|socket| socket.role == role && socket.offer.is_like(offer))
            .for_each(|socket| socket.offer = offer.clone());
    }

    /// The address of the socket that was the `index`th to listen.
    #[cfg(test)]
    pub fn bound(&self, index: usize) -> SocketAddr {
        let bound = self.sockets[index].socket.local_addr();
        bound.expect("it listens")
    }

    /// Closes the sockets of `role`. What came in before counts as before.
    pub fn close(&mut self, role: R) {
        self.sockets.retain(|socket| socket.role != role);
    }

    /// Whether connections for `role`, with an offer of this kind, come in at `address`.
    pub fn listens_at(&self, address: SocketAddr, role: R, offer: &Offer) -> bool {
        let mut sockets = self.sockets.iter();
        sockets.any(|socket| {
            socket.role == role && socket.offer.is_like(offer) && socket.is_at(&[address])
        })
    }

    /// Closes the sockets of `role`, with an offer like this, that listen elsewhere than at `addresses`.
    pub fn keep(&mut self, role: R, offer: &Offer, addresses: &[SocketAddr]) {
        self.sockets.retain(|socket| {
            let is_other = socket.role != role || !socket.offer.is_like(offer);
            is_other || socket.is_at(addresses)
        });
    }

    /// Closes the sockets of `role` that listen at `addresses`.
    pub fn close_at(&mut self, role: R, addresses: &[SocketAddr]) {
        self.sockets
            .retain(|socket| socket.role != role || !socket.is_at(addresses));
    }

    /// Has other limits for `role` from now on.
    pub fn set_limits(&mut self, role: R, limits: Limits) {
        let sockets = self.sockets.iter_mut().filter(|socket| socket.role == role);
        sockets.for_each(|socket| socket.limits = limits);
    }

    /// Notes an edge of the socket with the token of this index. One that has gone may still have had it.
    pub fn note_edge(&mut self, index: usize) {
        if let Some(socket) = self.sockets.iter_mut().find(|socket| socket.index == index) {
            socket.has_edge = true;
        }
    }

    /// Whether a connection may come in where there are `connections` in all.
    pub fn may_accept(&self, connections: usize) -> bool {
        let mut sockets = self.sockets.iter();
        sockets.any(|socket| self.may_accept_at(socket, connections))
    }

    fn may_accept_at(&self, socket: &Socket<R>, connections: usize) -> bool {
        socket.has_edge && self.has_room(socket, connections) && self.accept_after.is_none()
    }

    fn has_room(&self, socket: &Socket<R>, connections: usize) -> bool {
        let Limits { all, own } = socket.limits;
        connections < all && self.count(socket.role).is_none_or(|count| count.all < own)
    }

    /// When to try again what has failed.
    pub fn timeout(&self) -> Option<Instant> {
        self.accept_after
    }

    /// Begins a turn.
    pub fn begin_turn(&mut self, now: Instant) {
        if self.accept_after.is_some_and(|at| at <= now) {
            self.accept_after = None;
        }
        for socket in &mut self.sockets {
            socket.budget = ACCEPT_BUDGET;
        }
    }

    /// Accepts the next connection that may come in in this turn, where there are `connections` in all.
    pub fn accept(&mut self, connections: usize) -> Option<Accepted<R>> {
        for index in 0..self.sockets.len() {
            while self.sockets[index].budget > 0
                && self.may_accept_at(&self.sockets[index], connections)
            {
                self.sockets[index].budget -= 1;
                if let Some(accepted) = self.accept_one(index) {
                    return Some(accepted);
                }
            }
            let socket = &self.sockets[index];
            let is_closed = socket.limits.own == 0; // for now, and on purpose
            let full = socket.has_edge && !is_closed && !self.has_room(socket, connections);
            let was_full = std::mem::replace(&mut self.sockets[index].full, full);
            if full && !was_full {
                let Limits { all, own } = self.sockets[index].limits;
                let open = own.min(all);
                let text = format!("{open} are open, the most that the limit of files allows");
                return Some(Accepted::Failed(text));
            }
        }
        None
    }

    fn accept_one(&mut self, index: usize) -> Option<Accepted<R>> {
        let socket = &mut self.sockets[index];
        match socket.socket.accept() {
            Ok((stream, peer)) => {
                let role = socket.role;
                let transport = match Transport::accepted(stream, &socket.offer) {
                    Ok(transport) => transport,
                    Err(error) => return Some(Accepted::Failed(cause::of(&error))),
                };
                if let Some(count) = self.count_mut(role) {
                    count.all += 1;
                    count.open += 1;
                }
                Some(Accepted::Connection(transport, peer, role))
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => {
                    socket.has_edge = false;
                    None
                }
                // One peer's trouble, not ours: it has gone again before we came.
                ErrorKind::Interrupted | ErrorKind::ConnectionAborted => None,
                ErrorKind::ConnectionReset | ErrorKind::TimedOut => None,
                _ => Some(Accepted::Failed(self.failed(&error))),
            },
        }
    }

    /// Lets accepting rest for a while, since it has failed so. Gives the reason in words.
    fn failed(&mut self, error: &io::Error) -> String {
        self.accept_after = Some(Instant::now() + ACCEPT_RETRY);
        cause::of(error)
    }

    /// Notes that a connection of `role` that was accepted could not be kept, and lets accepting rest. Gives
    /// the reason in words.
    pub fn not_taken(&mut self, role: R, error: &io::Error) -> String {
        self.closed(role);
        self.freed(role);
        self.failed(error)
    }

    // ---- how many there are

    /// How many connections of `role` are open and not about to close.
    pub fn open_len(&self, role: R) -> usize {
        self.count(role).map_or(0, |count| count.open)
    }

    /// Notes that a connection of `role` is no longer open.
    pub fn closed(&mut self, role: R) {
        if let Some(count) = self.count_mut(role) {
            count.open -= 1;
        }
    }

    /// Notes that a connection of `role` has been freed, and with it a descriptor.
    pub fn freed(&mut self, role: R) {
        if let Some(count) = self.count_mut(role) {
            count.all -= 1;
        }
        self.accept_after = None;
    }

    fn count(&self, role: R) -> Option<&Count<R>> {
        self.counts.iter().find(|count| count.role == role)
    }

    fn count_mut(&mut self, role: R) -> Option<&mut Count<R>> {
        self.counts.iter_mut().find(|count| count.role == role)
    }
}
