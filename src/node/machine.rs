//! [`Node`]: what one server of the herd owns, how it is set up, and what may be asked of it.
//!
//! Its inputs are in files of their own, each an `impl Node`: `clients`, `servers` and `timeouts`.

use std::time::Duration;

use super::clock::{Clock, Distrust};
use super::effects::{Effects, LinkId};
use super::expiry::Expiry;
use super::links::{Links, Turn};
use super::prefetched::{self, ClientLine, NeighbourLine};
use super::protocol::{self, Incarnation, Mark};
use super::questions::Questions;
use super::recovery::Recovery;
use super::table::{Change, HashKeys, Key, Table};
use crate::connection_id::ConnectionId;
use crate::time::{Difference, Now, Timestamp};
use crate::topology::{Member, ServerName, Topology};

/// What a node needs from outside: a node has no dice.
#[derive(Clone, Copy, Debug)]
pub struct Seeds {
    /// Names this incarnation of the server's changefeed; no other has the same name.
    pub incarnation: Incarnation,
    /// Keys the table's hash.
    pub hash_keys: HashKeys,
    /// Seeds the jitter of the dials.
    pub jitter: u64,
}

impl Seeds {
    /// Seeds of numbers that nobody can foresee.
    pub fn new(mut random: impl FnMut() -> u64) -> Seeds {
        Seeds {
            incarnation: Incarnation(random()),
            hash_keys: (random(), random()),
            jitter: random(),
        }
    }
}

/// What has been said to a node so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Reports of clients.
    pub reports: u64,
    /// Those of them that did not come as lines, ...
    pub foreign: u64,
    /// ... and those that changed nothing, since a later one stands.
    pub outdated: u64,
    /// Clients' questions for tweets.
    pub questions: u64,
    /// How often one was refused an answer of Twitter's, as too many waited, ...
    pub questions_refused: u64,
    /// ... and how often one that waited for more answers than another had to give way.
    pub questions_gave_way: u64,
    /// Lines of clients that were no valid command.
    pub invalid: u64,
    /// Reports that neighbours sent on.
    pub heard: u64,
}

/// One server of the herd.
#[derive(Debug)]
pub struct Node {
    pub(super) name: ServerName,
    incarnation: Incarnation,
    pub(super) table: Table,
    /// Whether our clock is to be trusted.
    pub(super) clock: Clock,
    /// What is too old, and when to give its memory back.
    pub(super) expiry: Expiry,
    pub(super) links: Links,
    pub(super) questions: Questions,
    /// How many replies had to wait for Twitter so far: it names the next.
    pub(super) replies: u64,
    pub(super) counters: Counters,
    /// Where our `AT` lines are composed, one after the other. The beginning is common to all of them and
    /// stays; the rest is that of the latest.
    pub(super) line: Vec<u8>,
    /// How long that beginning is.
    pub(super) prefix_bytes: usize,
    /// What the clock showed when the table was last told what is too old and what too far ahead.
    pub(super) looked_at: Timestamp,
}

impl Node {
    /// The server `member` of `topology`, its table still empty.
    pub fn new(member: &Member, topology: &Topology, seeds: Seeds, now: Now) -> Node {
        let line = protocol::at_prefix(&member.name);
        Node {
            name: member.name.clone(),
            incarnation: seeds.incarnation,
            table: Table::new(seeds.hash_keys),
            clock: Clock::new(now),
            expiry: Expiry::of_tombstones(now),
            links: Links::new(member, topology, seeds.incarnation, seeds.jitter, now),
            questions: Questions::default(),
            replies: 0,
            counters: Counters::default(),
            prefix_bytes: line.len(),
            line,
            looked_at: Timestamp::MIN,
        }
    }

    /// From now on reports expire `after` their effective time, by the clock of each turn. Without this call
    /// they never do.
    pub fn forget_after(&mut self, after: Duration, now: Now) {
        let expiry = Expiry::new(after, now);
        self.table.set_lost(expiry.oldest(now)); // what had expired before is not recovered
        self.expiry = expiry;
    }

    /// Limits the table of clients to about so many bytes. Beyond that, the locations that have not changed for
    /// longest make room.
    pub fn limit_table(&mut self, bytes: usize) {
        self.table.set_limit(bytes);
    }

    /// Lets clocks be off by `skew` before they count as wrong. `is_right`: the operator says that ours is
    /// right, whatever others show.
    pub fn allow_clock_skew(&mut self, skew: Duration, is_right: bool) {
        self.clock.allow(skew, is_right);
    }

    /// Why our clock is not trusted, if it is not: then this server is not ready.
    pub fn clock_distrust(&self) -> Option<Distrust> {
        self.clock.distrust()
    }

    /// How far the clock of each neighbour is ahead of ours, if it is linked and tells it.
    pub fn clock_offsets(
        &self,
        now: Now,
    ) -> impl Iterator<Item = (&ServerName, Option<Difference>)> {
        self.links.clock_offsets(now)
    }

    /// Whether each neighbour understands erasures; `None` while it is not linked.
    pub fn knows_erasures(&self) -> impl Iterator<Item = (&ServerName, Option<bool>)> {
        self.links.knows_erasures()
    }

    /// After what time reports expire, if ever.
    pub fn forgets_after(&self) -> Option<Duration> {
        self.expiry.of_reports()
    }

    /// Lends what a journal fills, before anything else happens. [`Recovery::begin`] ends it.
    pub fn recovery(&mut self, now: Now) -> Recovery<'_> {
        self.expire(now);
        // The clock has not been judged yet: nothing in the journal counts as too far ahead.
        self.table.doubt_after(Timestamp::MAX);
        // An expired tombstone counts, too: it may be read before or after what it erased.
        self.table.expire_tombstones_before(Timestamp::MIN);
        self.looked_at = Timestamp::MIN;
        Recovery {
            name: &self.name,
            incarnation: self.incarnation,
            oldest: self.expiry.oldest(now),
            table: &mut self.table,
            links: &mut self.links,
            clock: &mut self.clock,
        }
    }

    /// The incarnations of this feed, the oldest first, each with the number that the feed had come to
    /// when it began. The last is the present one.
    pub fn incarnations(&self) -> impl Iterator<Item = (Incarnation, u64)> {
        self.links.history.incarnations()
    }

    /// Whether the server has just begun and is still told what its neighbours have known for long.
    pub fn is_catching_up(&self, now: Now) -> bool {
        self.links.is_catching_up(now)
    }

    /// Which incarnation this is.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The number after which a follower goes on that has this feed up to `mark`. `None` if `mark` says nothing
    /// to us.
    pub fn resume_from(&self, mark: Mark) -> Option<u64> {
        self.links.history.follow(mark, self.table.end())
    }

    /// Hands `take` what changed after `cursor`, in that order, until it says `false`. Gives the number after
    /// which to go on. What [`Node::location`] does not show is passed over.
    pub fn follow(&mut self, cursor: u64, now: Now, take: impl FnMut(Change<'_>) -> bool) -> u64 {
        self.expire(now);
        self.table.take_shown_after(cursor, take)
    }

    /// What this server has of each neighbour's changefeed, and the highest mark that it has sent to it.
    pub fn neighbours_known(&self) -> impl Iterator<Item = (&ServerName, Option<Mark>, u64)> {
        self.links.known()
    }

    /// How far a neighbour has been sent our changefeed; while it is not linked, how far for certain.
    pub fn sent_over(&self, link: LinkId) -> Option<u64> {
        self.links.sent_over(link)
    }

    /// The connection that a link runs over while it is up.
    pub fn runs_over(&self, link: LinkId) -> Option<ConnectionId> {
        self.links.runs_over(link)
    }

    /// What has been said to us so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The latest locations.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The link to the neighbour of this name, or to one that was a neighbour.
    pub fn link_to(&self, name: &ServerName) -> Option<LinkId> {
        self.links.id_of(name)
    }

    /// The link that a connection between servers belongs to: once its peer has presented itself, or
    /// because we dialled it.
    pub fn link_of(&self, connection: ConnectionId) -> Option<LinkId> {
        self.links.link_of(connection)
    }

    /// The link whose neighbour says what comes in on a connection: known only once it has
    /// presented itself, whoever was dialled.
    pub fn speaker_of(&self, connection: ConnectionId) -> Option<LinkId> {
        self.links.speaker_of(connection)
    }

    /// All connections between servers that it knows of.
    pub fn peers(&self) -> impl Iterator<Item = ConnectionId> {
        self.links.connections()
    }

    /// Whether the next line of `client` may be handled: not while `client` waits for as many answers of
    /// Twitter as one client may.
    pub fn accepts(&self, client: ConnectionId) -> bool {
        self.questions.may_ask(client)
    }

    /// For how many answers of Twitter `client` waits.
    pub fn waits_for(&self, client: ConnectionId) -> usize {
        self.questions.asked_by(client).count()
    }

    /// Connections whose neighbours have not been sent everything yet.
    pub fn backlogs(&self) -> impl Iterator<Item = ConnectionId> {
        self.links.backlogs(self.table.end())
    }

    /// Reads a client's line, to be handled next or after others.
    pub fn read_client_line<'a>(&self, text: &'a [u8]) -> ClientLine<'a> {
        let key = self.client_line_key(text);
        ClientLine { text, key }
    }

    /// Where the table has the client that a client's line names, if it names one.
    pub fn client_line_key(&self, text: &[u8]) -> Option<Key> {
        prefetched::client_line_client(text).map(|client| self.table.key(client))
    }

    /// Reads a line between servers, to be handled next or after others.
    pub fn read_link_line<'a>(&self, text: &'a [u8]) -> NeighbourLine<'a> {
        NeighbourLine::read(text, self.link_line_key(text), &self.table)
    }

    /// The same, where `key` says where the table has the client, if that was looked for.
    pub fn read_link_line_at<'a>(&self, text: &'a [u8], key: Option<Key>) -> NeighbourLine<'a> {
        NeighbourLine::read(text, key, &self.table)
    }

    /// Where the table has the client that a line between servers names, if it names one.
    pub fn link_line_key(&self, text: &[u8]) -> Option<Key> {
        prefetched::link_line_client(text).map(|client| self.table.key(client))
    }

    /// Prefetches what handling some lines will need. It changes only how long that takes.
    pub fn prefetch<'k>(&self, keys: impl IntoIterator<Item = &'k mut Key>) {
        self.table.prefetch(keys);
    }

    /// The links, and what comes with an input.
    pub(super) fn turn<'a, E: Effects>(
        &'a mut self,
        now: Now,
        effects: &'a mut E,
    ) -> (&'a mut Links, Turn<'a, E>) {
        let turn = Turn {
            table: &mut self.table,
            clock: &mut self.clock,
            now,
            effects,
        };
        (&mut self.links, turn)
    }

    /// Tells the table, if the clock shows another time, what is too old now and what too far ahead. A clock
    /// that is not trusted lets nothing expire that had not.
    #[inline]
    pub(super) fn expire(&mut self, now: Now) {
        // Only for the first line of a turn: all of a turn happens at one time.
        if std::mem::replace(&mut self.looked_at, now.wall) != now.wall {
            self.expire_by(now);
        }
    }

    fn expire_by(&mut self, now: Now) {
        self.table.doubt_after(self.clock.newest(now));
        let is_trusted = self.clock.distrust().is_none();
        self.expiry.expire(&mut self.table, is_trusted, now);
    }

    /// What always holds after an input was handled; the simulation asks after every step.
    pub fn check_invariants(&self) {
        self.table.check_invariants();
        self.questions.check_invariants();
        self.links.check_invariants(self.table.end());
    }
}
