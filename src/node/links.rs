//! All neighbours, and the connections between servers: what is known of each.
//!
//! `Node` owns one [`Links`], lends it the table, and hands on what concerns neighbours. What is done with them
//! is in files of its own, each an `impl Links`: `hello`, `hearing`, `telling`, `closing`, `doubt` and `due`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::clock::Clock;
use super::effects::LinkId;
use super::history::History;
use super::link::{Link, State};
use super::peers::{Peer, Peers};
use super::protocol::{Incarnation, Mark};
use super::table::Table;
use crate::connection_id::ConnectionId;
use crate::random::SplitMix64;
use crate::time::{Difference, Now};
use crate::topology::{Member, ServerName, Topology};

/// A server counts as catching up for no longer than this after its start.
const CATCH_UP_MAX: Duration = Duration::from_secs(10);

/// What comes with an input: the table, the time, and the sink for what follows.
pub struct Turn<'a, E> {
    /// What is known of clients.
    pub table: &'a mut Table,
    /// Our own clock.
    pub clock: &'a mut Clock,
    /// The turn's time.
    pub now: Now,
    /// The sink for what follows.
    pub effects: &'a mut E,
}

/// How far a connection between servers has come, by its peer and the state of the peer's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Stranger,
    Dialled(LinkId),
    Up(LinkId),
    Closing,
}

/// The neighbours, and all connections between servers.
#[derive(Debug)]
pub struct Links {
    pub(super) own: ServerName,
    pub(super) incarnation: Incarnation,
    /// The incarnations of our changefeed, which say what a neighbour's mark is worth.
    pub history: History,
    pub(super) links: BTreeMap<LinkId, Link>,
    pub(super) peers: Peers,
    pub(super) jitter: SplitMix64,
    /// How many hellos we have said.
    pub(super) hellos: u64,
    /// A neighbour has told its clock, or its link is down: our clock is to be judged.
    pub(super) is_clock_told: bool,
    /// Until then a server that starts waits for neighbours that have much to tell.
    catch_up_until: Instant,
    /// The server is on its way out: nobody is dialled any longer.
    pub(super) is_leaving: bool,
}

impl Links {
    /// The neighbours of `member`, none of them linked.
    pub fn new(
        member: &Member,
        topology: &Topology,
        incarnation: Incarnation,
        jitter: u64,
        now: Now,
    ) -> Links {
        let own = &member.name;
        let neighbours = topology.neighbours(member).enumerate();
        let links = neighbours.map(|(place, neighbour)| {
            let link = Link::new(own, neighbour.name.clone(), now);
            (LinkId::nth(place), link)
        });
        Links {
            own: own.clone(),
            incarnation,
            history: History::default(),
            links: links.collect(),
            peers: Peers::default(),
            jitter: SplitMix64(jitter),
            hellos: 0,
            is_clock_told: true,
            catch_up_until: now.after(CATCH_UP_MAX),
            is_leaving: false,
        }
    }

    /// What we have of each neighbour's changefeed, and the highest mark of ours that it was sent.
    pub fn known(&self) -> impl Iterator<Item = (&ServerName, Option<Mark>, u64)> {
        let links = self.links.values();
        links.map(|link| (&link.neighbour, link.known(), link.marked()))
    }

    /// How far the clock of each neighbour is ahead of ours, if it is linked and tells it.
    pub fn clock_offsets(
        &self,
        now: Now,
    ) -> impl Iterator<Item = (&ServerName, Option<Difference>)> {
        let links = self.links.values();
        links.map(move |link| (&link.neighbour, link.clock_offset(now)))
    }

    /// Whether each neighbour understands `ERASED`; `None` while it is not linked.
    pub fn knows_erasures(&self) -> impl Iterator<Item = (&ServerName, Option<bool>)> {
        let links = self.links.values().filter(|link| !link.is_parked());
        links.map(|link| {
            let session = link.session();
            (
                &link.neighbour,
                session.map(|session| session.knows_erasures),
            )
        })
    }

    /// Whether the server has just begun and is still told what its neighbours have known for long.
    pub fn is_catching_up(&self, now: Now) -> bool {
        now.mono < self.catch_up_until && self.links.values().any(Link::is_catching_up)
    }

    /// How far a neighbour has been sent our changefeed; while it is not linked, how far for certain.
    pub fn sent_over(&self, link: LinkId) -> Option<u64> {
        let link = self.links.get(&link)?;
        let cursor = link.session().map(|session| session.cursor);
        Some(cursor.unwrap_or(link.marked()))
    }

    /// The connection that a link runs over while it is up.
    pub fn runs_over(&self, link: LinkId) -> Option<ConnectionId> {
        let session = self.links.get(&link)?.session();
        session.map(|session| session.connection)
    }

    /// The link to the server of this name, of whose changefeed a journal tells. If it is no neighbour now, the
    /// link is parked.
    pub fn link_to(&mut self, name: &[u8]) -> Option<&mut Link> {
        let name = ServerName::parse(name).filter(|name| *name != self.own)?;
        let id = match self.id_of(&name) {
            Some(id) => id,
            None => self.add(Link::parked(&self.own, name)),
        };
        self.links.get_mut(&id)
    }

    pub(super) fn add(&mut self, link: Link) -> LinkId {
        let id = LinkId::nth(self.links.len());
        self.links.insert(id, link);
        id
    }

    /// Forgets all marks: we have nothing of any neighbour's changefeed for certain, nor has any of ours.
    pub fn forget_marks(&mut self) {
        self.links.values_mut().for_each(Link::forget_marks);
    }

    /// Forgets what we have of each neighbour's changefeed: nothing of it is certain.
    pub fn forget_known(&mut self) {
        let links = self.links.values_mut();
        links.for_each(|link| link.set_known(None));
    }

    /// The link to the neighbour of this name, or to one that was a neighbour.
    pub fn id_of(&self, name: &ServerName) -> Option<LinkId> {
        let mut links = self.links.iter();
        let link = links.find(|(_, link)| link.neighbour == *name);
        link.map(|(id, _)| *id)
    }

    /// The link of the neighbour of this name.
    pub(super) fn neighbour(&self, name: &ServerName) -> Option<LinkId> {
        self.id_of(name).filter(|id| !self.links[id].is_parked())
    }

    /// The link that a connection belongs to: once its peer has presented itself, or because we
    /// dialled it.
    pub fn link_of(&self, connection: ConnectionId) -> Option<LinkId> {
        self.peers.link_of(connection)
    }

    /// The link whose neighbour says what comes in on a connection: known only once it has
    /// presented itself, whoever was dialled.
    pub fn speaker_of(&self, connection: ConnectionId) -> Option<LinkId> {
        match self.peers.get(connection)? {
            Peer::Closing { link, presented } => link.filter(|_| presented),
            Peer::Stranger | Peer::Neighbour(_) => match self.stage(connection) {
                Stage::Up(link) => Some(link),
                Stage::Stranger | Stage::Dialled(_) | Stage::Closing => None,
            },
        }
    }

    /// All connections between servers.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionId> {
        self.peers.iter().map(|(connection, _)| connection)
    }

    /// Connections whose neighbours have not been sent the feed up to `end`.
    pub fn backlogs(&self, end: u64) -> impl Iterator<Item = ConnectionId> {
        let sessions = self.links.values().filter_map(Link::session);
        let behind = sessions.filter(move |session| session.cursor < end);
        behind.map(|session| session.connection)
    }

    /// Whether all neighbours that are linked have been sent our feed up to `end`, and the mark of it.
    pub fn has_told_all(&self, end: u64) -> bool {
        let mut sessions = self.links.values().filter_map(Link::session);
        sessions.all(|session| session.has_told_all(end))
    }

    pub(super) fn stage(&self, connection: ConnectionId) -> Stage {
        match self.peers.get(connection) {
            None | Some(Peer::Closing { .. }) => Stage::Closing,
            Some(Peer::Stranger) => Stage::Stranger,
            Some(Peer::Neighbour(link)) => match self.links[&link].state {
                State::Up(_) => Stage::Up(link),
                State::Idle { .. } | State::Dialling { .. } | State::Presented { .. } => {
                    Stage::Dialled(link)
                }
            },
        }
    }

    pub(super) fn link_mut(&mut self, link: LinkId) -> &mut Link {
        self.links
            .get_mut(&link)
            .expect("a link that is named is there")
    }

    /// What always holds, where the feed has come to `end`.
    pub fn check_invariants(&self, end: u64) {
        for (id, link) in &self.links {
            if let Some(session) = link.session() {
                assert!(session.cursor <= end, "a cursor is ahead of the feed");
                let peer = self.peers.get(session.connection);
                let own = Some(Peer::Neighbour(*id));
                assert_eq!(peer, own, "a session without its connection");
            }
            let is_given_up = matches!(link.state, State::Idle { retry_at: None });
            assert!(
                !link.is_parked() || is_given_up,
                "a link to no neighbour does something"
            );
            assert!(
                !is_given_up || self.is_leaving || link.is_parked(),
                "nobody will ever dial this link"
            );
        }
        for (connection, peer) in self.peers.iter() {
            if let Peer::Neighbour(link) = peer {
                let runs_over = self.links[&link].connection();
                assert_eq!(runs_over, Some(connection), "a peer that its link forgot");
            }
        }
    }
}
