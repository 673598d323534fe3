//! All neighbours: the connections between servers, what is said on them, and the changefeed as each
//! neighbour follows it.
//!
//! `Node` owns one, lends it the table, and hands on what concerns neighbours. Here the hello decides
//! who is at the other end of a connection; what comes before it is a stranger's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::clock::{Clock, ToldClock};
use super::effects::{Effects, LinkId, LogPolicy, News};
use super::history::History;
use super::link::{HELLO_TIMEOUT, Link, State};
use super::peers::{Peer, Peers};
use super::prefetched::NeighbourLine;
use super::protocol::{self, Hello, Incarnation, LINK_LINE_BYTES_MAX, LinkLine, Mark};
use super::session::{LIVE, Session};
use super::table::{Source, Table};
use crate::connection_id::ConnectionId;
use crate::random::SplitMix64;
use crate::time::{Difference, Now, Timestamp};
use crate::topology::{Member, ServerName, Topology};

/// So long after a start a server counts as catching up at most.
const CATCH_UP_MAX: Duration = Duration::from_secs(10);

/// What comes with an input: the table, the time, and the sink for what follows.
pub struct Turn<'a, E> {
    /// What is known of clients.
    pub table: &'a mut Table,
    /// Our own clock.
    pub clock: &'a mut Clock,
    /// When it is.
    pub now: Now,
    /// What is to be done.
    pub effects: &'a mut E,
}

/// What a connection between servers is at, by its peer and the state of the peer's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Stranger,
    Dialled(LinkId),
    Up(LinkId),
    Closing,
}

/// The neighbours, and all connections between servers.
#[derive(Debug)]
pub struct Links {
    own: ServerName,
    incarnation: Incarnation,
    /// The incarnations of our changefeed, which say what a neighbour's mark is worth.
    pub history: History,
    links: BTreeMap<LinkId, Link>,
    peers: Peers,
    jitter: SplitMix64,
    /// How many hellos we have said.
    hellos: u64,
    /// A neighbour has told its clock, or is not linked any longer: ours is to be judged.
    is_clock_told: bool,
    /// After this nobody is waited for who has much to tell.
    catch_up_until: Instant,
    /// The server is on its way out: nobody is dialled any longer.
    is_leaving: bool,
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

    // ---- what is known

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

    /// How far a neighbour has been sent our changefeed: certainly, while it is not linked.
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

    /// The link to the server of this name, of whose changefeed a journal tells: it need be no neighbour now.
    pub fn link_to(&mut self, name: &[u8]) -> Option<&mut Link> {
        let name = ServerName::parse(name).filter(|name| *name != self.own)?;
        let id = match self.id_of(&name) {
            Some(id) => id,
            None => self.add(Link::parked(&self.own, name)),
        };
        self.links.get_mut(&id)
    }

    fn add(&mut self, link: Link) -> LinkId {
        let id = LinkId::nth(self.links.len());
        self.links.insert(id, link);
        id
    }

    /// Has nothing of any neighbour's changefeed for certain, nor they of ours.
    pub fn forget_marks(&mut self) {
        self.links.values_mut().for_each(Link::forget_marks);
    }

    /// Has nothing of any neighbour's changefeed for certain.
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
    fn neighbour(&self, name: &ServerName) -> Option<LinkId> {
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

    /// The link of the neighbour that presents itself to us with a line, if it is a hello that does.
    pub fn presented_by(&self, line: &NeighbourLine<'_>) -> Option<LinkId> {
        let NeighbourLine::Other(Ok(LinkLine::Hello(hello))) = line else {
            return None;
        };
        let link = self.neighbour(&hello.from);
        link.filter(|_| hello.to == self.own)
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

    /// Whether a line that has just come goes into the log: heartbeats do not.
    pub fn policy(&self, connection: ConnectionId, line: &NeighbourLine<'_>) -> LogPolicy {
        match line {
            NeighbourLine::Other(Ok(LinkLine::Mark(number))) => match self.stage(connection) {
                Stage::Up(link) => self.links[&link].policy_of_mark(*number),
                Stage::Stranger | Stage::Dialled(_) | Stage::Closing => LogPolicy::Log,
            },
            NeighbourLine::Other(Ok(LinkLine::Clock(_))) => match self.stage(connection) {
                Stage::Up(_) => LogPolicy::Skip,
                Stage::Stranger | Stage::Dialled(_) | Stage::Closing => LogPolicy::Log,
            },
            NeighbourLine::At(..) | NeighbourLine::Other(_) => LogPolicy::Log,
        }
    }

    fn stage(&self, connection: ConnectionId) -> Stage {
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

    fn link_mut(&mut self, link: LinkId) -> &mut Link {
        self.links
            .get_mut(&link)
            .expect("a link that is named is there")
    }

    // ---- who is a neighbour

    /// Has these servers as neighbours from now on, and no others. One that is no neighbour any longer is cut
    /// off, and its link parked.
    pub fn set_neighbours<'n>(
        &mut self,
        names: impl Iterator<Item = &'n ServerName>,
        turn: &mut Turn<impl Effects>,
    ) {
        let mut wanted = BTreeSet::new();
        for name in names {
            let id = match self.id_of(name) {
                Some(id) => id,
                None => self.add(Link::new(&self.own, name.clone(), turn.now)),
            };
            wanted.insert(id);
        }
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            match (wanted.contains(&id), self.links[&id].is_parked()) {
                (true, true) => self.link_mut(id).unpark(turn.now),
                (false, false) => self.cut_off(id, turn),
                (true, false) | (false, true) => {}
            }
        }
    }

    fn cut_off(&mut self, id: LinkId, turn: &mut Turn<impl Effects>) {
        let link = &self.links[&id];
        if let State::Dialling { .. } = link.state {
            turn.effects.cancel_dial(id);
        }
        if let Some(connection) = link.connection() {
            self.dismiss(connection, "no neighbours any longer", turn);
        }
        self.link_mut(id).park();
    }

    // ---- connections

    /// Expects a hello from a connection that came to the server port.
    pub fn handle_accepted(&mut self, connection: ConnectionId, now: Now) {
        self.peers.add_stranger(connection, now);
    }

    /// Presents ourselves on a connection that was dialled.
    pub fn handle_connected(
        &mut self,
        link: LinkId,
        connection: ConnectionId,
        turn: &mut Turn<impl Effects>,
    ) {
        self.peers.set(connection, Peer::Neighbour(link));
        self.link_mut(link).dial_connected(connection, turn.now);
        self.say_hello(link, connection, turn);
    }

    /// Notes that a dial came to nothing.
    pub fn handle_dial_failed(&mut self, link: LinkId, now: Now) {
        if let Some(link) = self.links.get_mut(&link) {
            link.dial_failed(now, &mut self.jitter);
        }
    }

    /// Notes that a connection has gone.
    pub fn handle_lost(
        &mut self,
        connection: ConnectionId,
        reason: &str,
        turn: &mut Turn<impl Effects>,
    ) {
        self.give_up(connection, reason, turn);
        self.peers.remove(connection);
    }

    /// Is done with a connection that may not have gone yet.
    fn give_up(&mut self, connection: ConnectionId, reason: &str, turn: &mut Turn<impl Effects>) {
        let (link, presented) = match self.stage(connection) {
            Stage::Closing => return,
            Stage::Stranger => (None, false),
            Stage::Dialled(link) => (Some(link), false),
            Stage::Up(link) => (Some(link), true),
        };
        let closing = Peer::Closing { link, presented };
        self.peers.set(connection, closing);
        let Some(id) = link else { return };
        let link = self.links.get_mut(&id).expect("a peer's link is there");
        if presented {
            link.session_lost(turn.now, &mut self.jitter);
            self.is_clock_told = true;
            turn.effects.tell(News::LinkDown(id, reason));
        } else {
            link.dial_failed(turn.now, &mut self.jitter);
            turn.effects.tell(News::Unreachable(id, reason));
        }
    }

    /// Is done with a connection, and has it closed at once.
    fn abort(&mut self, connection: ConnectionId, reason: &str, turn: &mut Turn<impl Effects>) {
        self.give_up(connection, reason, turn);
        turn.effects.abort(connection, reason);
    }

    /// Says why, then closes. Of a stranger, who presented itself as `name`, the operator is to know.
    fn refuse(
        &mut self,
        connection: ConnectionId,
        name: Option<&ServerName>,
        reason: &str,
        turn: &mut Turn<impl Effects>,
    ) {
        if self.stage(connection) == Stage::Stranger {
            turn.effects.tell(News::Refused {
                connection,
                name,
                reason,
            });
        }
        self.dismiss(connection, reason, turn);
    }

    /// Says why, then closes.
    fn dismiss(&mut self, connection: ConnectionId, reason: &str, turn: &mut Turn<impl Effects>) {
        let bye = format!("BYE {reason}");
        let link = self.link_of(connection);
        turn.effects
            .send(connection, link, bye.as_bytes(), LogPolicy::Log);
        self.give_up(connection, reason, turn);
        turn.effects.lose(connection, &format!("refused: {reason}"));
    }

    // ---- lines

    /// Notes that something came on a connection, before its lines are handled: a neighbour in the
    /// middle of a long line is not dead.
    pub fn handle_bytes(&mut self, connection: ConnectionId, now: Now) {
        if let Stage::Up(link) = self.stage(connection)
            && let Some(session) = self.link_mut(link).session_mut()
        {
            session.heard_bytes(now);
        }
    }

    /// Handles a line of a connection between servers.
    pub fn handle_line(
        &mut self,
        connection: ConnectionId,
        line: NeighbourLine<'_>,
        turn: &mut Turn<impl Effects>,
    ) {
        match self.stage(connection) {
            Stage::Closing => {} // it counts for nothing
            Stage::Up(link) => {
                let session = self.link_mut(link).session_mut();
                session.expect("a link that is up has one").heard(turn.now);
                self.handle_neighbour(link, connection, line, turn);
            }
            stage @ (Stage::Stranger | Stage::Dialled(_)) => {
                if let Stage::Dialled(link) = stage {
                    self.link_mut(link).dial_answered();
                }
                self.handle_first(connection, stage, line, turn);
            }
        }
    }

    /// Handles a line of a neighbour that has presented itself.
    fn handle_neighbour(
        &mut self,
        link: LinkId,
        connection: ConnectionId,
        line: NeighbourLine<'_>,
        turn: &mut Turn<impl Effects>,
    ) {
        match line {
            NeighbourLine::At(location, key) => {
                let taken = turn.table.accept(key, &location, Source::Link(link));
                self.note_heard(link, taken, location.line, turn);
            }
            NeighbourLine::Other(Ok(LinkLine::Erased(erasure))) => {
                let session = self.link_mut(link).session();
                if !session.is_some_and(|session| session.knows_erasures) {
                    let reason = "an ERASED of one that has not announced it";
                    return self.refuse(connection, None, reason, turn);
                }
                let key = turn.table.key(erasure.client);
                let taken = turn.table.erase(key, &erasure, Source::Link(link));
                self.note_heard(link, taken, erasure.line, turn);
            }
            NeighbourLine::Other(Ok(LinkLine::Clock(time))) => {
                let session = self.link_mut(link).session_mut();
                let session = session.expect("a link that is up has one");
                if !session.knows_clocks {
                    let reason = "a CLOCK of one that has not announced it";
                    return self.refuse(connection, None, reason, turn);
                }
                session.clock = Some(ToldClock::new(time, turn.now));
                self.is_clock_told = true;
                self.judge_clock(false, turn);
            }
            NeighbourLine::Other(Ok(LinkLine::Mark(number))) => {
                let link = self.link_mut(link);
                if link.handle_mark(number) {
                    turn.effects.known(&link.neighbour, link.known());
                }
            }
            NeighbourLine::Other(Ok(LinkLine::Bye(reason))) => {
                self.handle_bye(connection, reason, turn);
            }
            NeighbourLine::Other(Ok(LinkLine::Hello(_) | LinkLine::At(_))) => {
                self.refuse(connection, None, "a second HELLO", turn);
            }
            NeighbourLine::Other(Err(reason)) => {
                self.refuse(connection, None, reason, turn);
            }
        }
    }

    /// Notes what has become of a change that a neighbour told: its number here, if it is one.
    #[inline]
    fn note_heard(
        &mut self,
        link: LinkId,
        taken: Option<u64>,
        line: &[u8],
        turn: &mut Turn<impl Effects>,
    ) {
        if let Some(number) = taken {
            turn.effects.changed(number, line);
            if let Some(effective) = turn.table.take_gave_way() {
                self.note_gave_way(effective, turn.effects);
            }
        } else if let Some(effective) = turn.table.take_refused() {
            let link = self.link_mut(link);
            if link.refuse(effective) {
                turn.effects.known(&link.neighbour, None);
            }
        }
    }

    /// Handles the first line of a connection.
    fn handle_first(
        &mut self,
        connection: ConnectionId,
        stage: Stage,
        line: NeighbourLine<'_>,
        turn: &mut Turn<impl Effects>,
    ) {
        match line {
            NeighbourLine::Other(Ok(LinkLine::Hello(hello))) => {
                let taken = self.handle_hello(connection, stage, &hello, turn);
                if let Err(reason) = taken {
                    self.refuse(connection, Some(&hello.from), reason, turn);
                }
            }
            NeighbourLine::Other(Ok(LinkLine::Bye(reason))) => {
                self.handle_bye(connection, reason, turn);
            }
            NeighbourLine::At(..)
            | NeighbourLine::Other(Ok(
                LinkLine::At(_) | LinkLine::Erased(_) | LinkLine::Mark(_) | LinkLine::Clock(_),
            )) => {
                let reason = "the first line must be HELLO";
                self.refuse(connection, None, reason, turn);
            }
            NeighbourLine::Other(Err(reason)) => {
                self.refuse(connection, None, reason, turn);
            }
        }
    }

    fn handle_bye(
        &mut self,
        connection: ConnectionId,
        reason: &[u8],
        turn: &mut Turn<impl Effects>,
    ) {
        let reason = &reason[..reason.len().min(REASON_BYTES_MAX)];
        let reason = format!("the neighbour said BYE {}", reason.escape_ascii());
        self.give_up(connection, &reason, turn);
        turn.effects.lose(connection, &reason);
    }

    /// Ends a connection of which a line is too long to be any.
    pub fn handle_overlong(&mut self, connection: ConnectionId, turn: &mut Turn<impl Effects>) {
        let reason = format!("a line over {LINK_LINE_BYTES_MAX} bytes");
        self.refuse(connection, None, &reason, turn);
    }

    /// Refuses a peer that says it is `name`, and may not be.
    pub fn handle_forbidden(
        &mut self,
        connection: ConnectionId,
        name: &ServerName,
        reason: &str,
        turn: &mut Turn<impl Effects>,
    ) {
        match self.stage(connection) {
            Stage::Closing => {}
            Stage::Dialled(link) => {
                self.link_mut(link).dial_answered();
                self.refuse(connection, Some(name), reason, turn);
            }
            Stage::Stranger | Stage::Up(_) => self.refuse(connection, Some(name), reason, turn),
        }
    }

    fn handle_hello(
        &mut self,
        connection: ConnectionId,
        stage: Stage,
        hello: &Hello,
        turn: &mut Turn<impl Effects>,
    ) -> Result<(), &'static str> {
        if hello.to != self.own {
            return Err("a HELLO to somebody else");
        }
        let Some(id) = self.neighbour(&hello.from) else {
            return Err("a HELLO from no neighbour of ours");
        };
        let link = &self.links[&id];
        match stage {
            Stage::Dialled(dialled) if dialled != id => {
                return Err("a HELLO from another neighbour than was dialled");
            }
            Stage::Dialled(_) => {}
            Stage::Stranger | Stage::Up(_) | Stage::Closing => {
                if let Err(reason) = link.judge(hello, turn.now) {
                    self.dismiss(connection, reason, turn); // as happens among neighbours
                    return Ok(());
                }
                if link
                    .session()
                    .is_some_and(|session| session.is_live(turn.now))
                {
                    // If its connection is gone at the other end, the kernel there answers with a reset.
                    self.say_mark(id, Session::mark, turn);
                    return Err(LINKED);
                }
                self.make_way(id, turn);
                self.say_hello(id, connection, turn);
            }
        }
        self.peers.set(connection, Peer::Neighbour(id));
        let end = turn.table.end();
        let marked = self.links[&id].marked();
        let cursor = self.history.resume(hello.known, end, marked);
        self.link_mut(id)
            .begin_session(connection, hello, cursor, end, turn.now);
        turn.effects.tell(News::LinkUp(id));
        self.say_clock(id, turn); // with the mark it comes again, where there is no backlog
        self.say_due_mark(id, turn);
        Ok(())
    }

    /// Ends whatever the link is at, for the session that a hello is about to begin.
    fn make_way(&mut self, id: LinkId, turn: &mut Turn<impl Effects>) {
        match self.links[&id].state {
            State::Idle { .. } => {}
            State::Dialling { .. } => turn.effects.cancel_dial(id),
            State::Presented { connection, .. } => {
                let (link, presented) = (Some(id), false);
                let closing = Peer::Closing { link, presented };
                self.peers.set(connection, closing);
                turn.effects
                    .abort(connection, "the neighbour's own dial was taken");
            }
            State::Up(ref session) => {
                self.abort(session.connection, "the neighbour has connected anew", turn);
            }
        }
    }

    fn say_hello(&mut self, id: LinkId, connection: ConnectionId, turn: &mut Turn<impl Effects>) {
        self.hellos += 1;
        let link = self.links.get_mut(&id).expect("a hello's link is there");
        let hello = Hello {
            from: self.own.clone(),
            to: link.neighbour.clone(),
            incarnation: self.incarnation,
            serial: Hello::serial(self.hellos),
            known: link.claim(),
        };
        let mut line = Vec::new();
        hello.write(&mut line);
        turn.effects
            .send(connection, Some(id), &line, LogPolicy::Log);
    }

    // ---- the changefeed

    /// Sends the neighbour at `connection` what it has not been sent yet, as far as `room` bytes
    /// go, and a mark when one is due.
    ///
    /// This is all of flooding, of catching up, and of what a slow neighbour costs: a cursor.
    pub fn handle_room(
        &mut self,
        connection: ConnectionId,
        mut room: usize,
        turn: &mut Turn<impl Effects>,
    ) {
        let Stage::Up(id) = self.stage(connection) else {
            return;
        };
        let link = self.link_mut(id);
        let session = link.session().expect("a link that is up has one");
        let (mut sent, mut sent_to) = (0, session.cursor);
        let knows_erasures = session.knows_erasures;
        let Turn {
            table,
            now,
            effects,
            clock: _,
        } = turn;
        let reached = table.take_after(session.cursor, |change| {
            if change.source == Source::Link(id) && link.told_us(change.number) {
                return true;
            }
            if !knows_erasures && protocol::is_erased(change.line) {
                return true;
            }
            let Some(left) = room.checked_sub(change.line.len() + 1) else {
                return false; // asked again once there is room
            };
            room = left;
            effects.send(connection, Some(id), change.line, LogPolicy::Log);
            (sent, sent_to) = (sent + 1, change.number);
            true
        });
        let session = link.session_mut().expect("a link that is up has one");
        session.sent_changes(sent, sent_to, *now);
        session.skip_to(reached);
        self.say_due_mark(id, turn);
    }

    fn say_due_mark(&mut self, id: LinkId, turn: &mut Turn<impl Effects>) {
        let (end, is_leaving) = (turn.table.end(), self.is_leaving);
        let due_mark = |session: &mut Session, now| session.due_mark(end, is_leaving, now);
        self.say_mark(id, due_mark, turn);
    }

    /// Says what `mark` gives, if the link is up.
    fn say_mark<M: Into<Option<(u64, LogPolicy)>>>(
        &mut self,
        id: LinkId,
        mark: impl FnOnce(&mut Session, Now) -> M,
        turn: &mut Turn<impl Effects>,
    ) {
        let link = self.link_mut(id);
        let Some(session) = link.session_mut() else {
            return;
        };
        let connection = session.connection;
        if let Some((number, policy)) = mark(session, turn.now).into() {
            // Though it is not higher, where this session has come to it only now: it may have passed over
            // what has expired, and a start whose clock is behind that must doubt what was marked.
            let is_news = policy == LogPolicy::Log;
            if link.set_marked(number) || is_news {
                turn.effects.marked(&link.neighbour, link.marked());
            }
            self.say_clock(id, turn);
            let mut line = Vec::new();
            protocol::write_mark(&mut line, number);
            turn.effects.send(connection, Some(id), &line, policy);
        }
    }

    /// Tells a neighbour that understands it what our clock shows.
    fn say_clock(&self, id: LinkId, turn: &mut Turn<impl Effects>) {
        let session = self.links[&id].session();
        if let Some(session) = session.filter(|session| session.knows_clocks) {
            let mut line = Vec::new();
            protocol::write_clock(&mut line, turn.now.wall);
            turn.effects
                .send(session.connection, Some(id), &line, LogPolicy::Skip);
        }
    }

    /// Judges our clock, if there is a reason to, by those of the neighbours. `is_set`: somebody has set it.
    pub fn judge_clock(&mut self, is_set: bool, turn: &mut Turn<impl Effects>) {
        if !(std::mem::take(&mut self.is_clock_told) || is_set) {
            return;
        }
        let now = turn.now;
        for (id, link) in &mut self.links {
            let Some(offset) = link.clock_offset(now) else {
                continue;
            };
            let is_off = turn.clock.is_off(offset);
            if is_off != std::mem::replace(&mut link.is_clock_off, is_off) {
                turn.effects.tell(match is_off {
                    true => News::ClockOff(*id, offset),
                    false => News::ClockRight(*id),
                });
            }
        }
        let offsets = self.links.values();
        if turn
            .clock
            .judge(offsets.filter_map(|link| link.clock_offset(now)))
        {
            turn.effects.tell(News::OwnClock(turn.clock.distrust()));
        }
        turn.table.doubt_after(turn.clock.newest(now));
        if turn.table.take_doubted() {
            self.ask_anew("some reports are too far ahead", turn);
        }
    }

    /// Something that was too far ahead gave way: each neighbour may have to tell it again.
    #[cold]
    pub fn note_gave_way(&mut self, effective: Timestamp, effects: &mut impl Effects) {
        for link in self.links.values_mut() {
            if link.refuse(effective) {
                effects.known(&link.neighbour, None);
            }
        }
    }

    /// What neighbours said may count as unsaid from now on: ends all sessions, so that each neighbour
    /// is asked for everything.
    pub fn ask_anew(&mut self, reason: &str, turn: &mut Turn<impl Effects>) {
        let mut connections = Vec::new();
        for link in self.links.values_mut() {
            link.set_known(None);
            turn.effects.known(&link.neighbour, None);
            // A hello that is on its way has asked for what comes after a mark that holds no longer.
            connections.extend(link.connection());
        }
        for connection in connections {
            self.abort(connection, reason, turn);
        }
    }

    // ---- time

    /// When [`Links::handle_timeout`] is to be called next.
    pub fn timeout(&self) -> Option<Instant> {
        let links = self.links.values();
        let links = links.filter(|link| !self.is_leaving && !link.is_parked());
        let strangers = self.peers.timeout();
        links.filter_map(Link::timeout).chain(strangers).min()
    }

    /// Does what is due: dials, marks, deadlines.
    pub fn handle_timeout(&mut self, turn: &mut Turn<impl Effects>) {
        while let Some(connection) = self.peers.overdue(turn.now) {
            self.refuse(connection, None, &no_hello(), turn);
        }
        if self.is_leaving {
            return;
        }
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            self.handle_link_timeout(id, turn);
        }
    }

    fn handle_link_timeout(&mut self, id: LinkId, turn: &mut Turn<impl Effects>) {
        let link = self.links.get_mut(&id).expect("it is in the list");
        if link.is_parked() {
            return;
        }
        match &link.state {
            State::Up(session) => {
                let connection = session.connection;
                if let Some(reason) = session.silence(turn.now) {
                    self.abort(connection, &reason, turn);
                }
            }
            State::Dialling { until } if *until <= turn.now.mono => {
                turn.effects.cancel_dial(id);
                link.dial_unanswered(turn.now, &mut self.jitter);
                turn.effects
                    .tell(News::Unreachable(id, "the dial was not answered"));
            }
            State::Presented {
                connection, since, ..
            } if *since + HELLO_TIMEOUT <= turn.now.mono => {
                let connection = *connection;
                self.abort(connection, &no_hello(), turn);
            }
            State::Idle { .. } | State::Dialling { .. } | State::Presented { .. } => {}
        }
        let link = self.link_mut(id);
        if link.asks_again(turn.table.newest(), turn.now) {
            let connection = link.connection().expect("a link with a session has one");
            let reason = "what was too far ahead is to be told again";
            self.abort(connection, reason, turn);
        }
        if self.link_mut(id).begin_dial(turn.now) {
            turn.effects.dial(id);
        }
        self.say_due_mark(id, turn);
    }

    /// Dials nobody any longer. Links that are up go on until they are closed; each is sent its mark as soon as
    /// it has been sent everything.
    pub fn handle_leaving(&mut self, turn: &mut Turn<impl Effects>) {
        self.is_leaving = true;
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            let link = self.link_mut(id);
            if let State::Dialling { .. } = link.state {
                turn.effects.cancel_dial(id);
            }
            link.stop_dialling();
            self.say_due_mark(id, turn);
        }
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

/// Why a hello is refused while the session that stands is heard from.
const LINKED: &str = "the link is up and was heard from within the last 3 seconds";
const _: () = assert!(LIVE.as_secs() == 3);

/// Of a reason that comes over the wire this much is shown.
const REASON_BYTES_MAX: usize = 200;

/// Why a connection ends on which nobody has presented himself.
fn no_hello() -> String {
    format!("no HELLO within {} seconds", HELLO_TIMEOUT.as_secs())
}
