//! Where a server listens, for whom, and with how many connections each place takes no more.
//!
//! `Server::start` listens at all places of its line of the topology, `reload` at those that have changed.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::operator::Operator;
use super::roles::Role;
use super::security::Security;
use crate::cause;
use crate::net::transport::Offer;
use crate::net::{Limits, Listening, Reactor};
use crate::topology::{Address, Member};
use crate::web::access::Access;

/// Descriptors that are left to what is no connection of the loop's: log, journal, poll, signals, listeners, the
/// resolver, Twitter's workers, and whoever asks the other servers how they are. All of it at once takes some 48; who
/// has few has fewer for it, so that some clients are served.
const OWN_SHARE: usize = 16;
const OWN_MIN: usize = 32;
const OWN_MAX: usize = 64;

/// Connections that are left to whoever comes to the server port, beside two for each link.
const STRANGERS_RESERVED: usize = 8;

/// A place where connections come in.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where, as the topology has it.
    pub address: Address,
    /// For whom, in words.
    pub whom: &'static str,
    /// For what.
    pub role: Role,
    /// With how many connections it takes no more.
    pub limits: Limits,
    /// What is offered there, plain connections or TLS.
    pub offer: Offer,
}

/// The places where `member` is to be found.
pub fn places(member: &Member, security: &Security) -> Vec<Place> {
    let descriptors = descriptors();
    let own = (descriptors / OWN_SHARE).clamp(OWN_MIN, OWN_MAX);
    let connections = descriptors.saturating_sub(own);
    let for_servers = 2 * member.neighbours.len() + STRANGERS_RESERVED;
    let for_clients = Limits {
        all: connections.saturating_sub(for_servers).max(1),
        own: usize::MAX,
    };
    // Whoever comes there, neighbour or not, shall not keep the clients out.
    let for_servers = Limits {
        all: connections.max(1),
        own: for_servers.max(connections / 2),
    };
    // Nor shall HTTP and lines keep each other out.
    let for_http = Limits {
        own: for_servers.own.min(for_clients.all),
        ..for_clients
    };
    let over_tls = security.for_clients();
    let servers = match security.has_key() {
        true => "servers over TLS",
        false => "servers",
    };
    let place = |address: &Address, whom, role, limits, offer| Place {
        address: address.clone(),
        whom,
        role,
        limits,
        offer,
    };
    let tls = member.tls_address.iter();
    let tls = tls.map(|at| {
        let whom = "clients over TLS";
        place(at, whom, Role::Client, for_clients, over_tls.clone())
    });
    let http = member.http_address.iter();
    let http = http.map(|at| place(at, "HTTP", Role::Http, for_http, over_tls.clone()));
    let lines = [
        place(
            &member.client_address,
            "clients",
            Role::Client,
            for_clients,
            Offer::Plain,
        ),
        place(
            &member.server_address,
            servers,
            Role::Accepted,
            for_servers,
            security.for_servers(),
        ),
    ];
    lines.into_iter().chain(tls).chain(http).collect()
}

/// Tells where the limit of files does not allow as many clients as were wanted.
pub fn tell_of_few_descriptors(places: &[Place], wanted: Option<usize>, operator: &Operator) {
    let clients = places.iter().find(|place| place.role == Role::Client);
    let most = clients.map_or(0, |place| place.limits.all);
    if let Some(wanted) = wanted.filter(|&wanted| wanted > most) {
        operator.say(&format!(
            "{wanted} clients may connect, but the limit of files (ulimit -n) allows only {most} at once. \
             Raise it (LimitNOFILE= for systemd), or lower --max-connections"
        ));
    }
}

impl Place {
    /// Listens there, beside wherever its role listens already. Those who have `access` are served over HTTP.
    ///
    /// # Errors
    /// One line that says why that cannot be; then nothing new listens.
    pub fn listen<M>(
        &self,
        reactor: &mut Reactor<Role, M>,
        access: &Access,
        operator: &Operator,
    ) -> Result<Listening, String> {
        let Place {
            address,
            whom,
            role,
            limits,
            offer,
        } = self;
        let name = operator.server();
        let listening = reactor.listen_at(address.as_str(), *role, *limits, offer);
        let listening = listening.map_err(|e| {
            let why = cause::of(&e);
            format!("{name} cannot listen for {whom} on {address}: {why}")
        })?;
        if *role == Role::Http
            && let Some(open) = open_address(&listening, access)
        {
            reactor.unlisten(*role, &listening);
            return Err(format!(
                "{name} serves HTTP without tokens on loopback addresses only, and {open} is none: give \
                 --http-tokens FILE, or another http= in the topology"
            ));
        }
        for (failed, error) in &listening.failed {
            let error = cause::of(error);
            operator.say(&format!(
                "cannot listen for {whom} on {failed}, an address of {address}: {error}. \
                 Still serving on {listening}."
            ));
        }
        Ok(listening)
    }

    /// Who finds the server where, in words.
    pub fn words(&self, listening: &Listening) -> String {
        let Place { address, whom, .. } = self;
        let bound = listening.to_string();
        match bound == address.as_str() {
            true => format!("{whom} on {bound}"),
            false => format!("{whom} on {address} ({bound})"),
        }
    }
}

/// An address where others than this machine could ask over HTTP without a token.
fn open_address(listening: &Listening, access: &Access) -> Option<std::net::SocketAddr> {
    let mut bound = listening.bound.iter().copied();
    match access {
        Access::Loopback => bound.find(|address| !address.ip().is_loopback()),
        Access::Tokens(_) => None,
    }
}

/// How many descriptors we may have, after asking for as many as the system lets us.
fn descriptors() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let most = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(_) => current, // then we go by what we have
    };
    most.map_or(usize::MAX, |most| most as usize)
}
