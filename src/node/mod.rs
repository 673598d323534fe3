//! One server of the herd as a state machine: no socket, clock, thread, file or dice of its own.
//!
//! Inputs come in by `handle_*`, each with the turn's [`Now`]; effects go out to the sink that comes with
//! each ([`Effects`]): the server's driver carries them out over real sockets, the simulation over
//! virtual ones. That is what lets one seed replay a herd.
//!
//! ```text
//!   client's line --> protocol --> table --accepted--> changefeed
//!                        |           |                  | one cursor a link
//!                        | WHATSAT   | AT               v
//!                    questions     reply            links: the entries after the cursor,
//!                        |                          whenever the link's socket has room
//!                        v
//!                    ask Twitter
//! ```

pub mod clock;
pub mod command;
pub mod effects;
pub mod fields;
pub mod invalid;
pub mod location;
pub mod prefetched;
pub mod protocol;
pub mod questions;
pub mod recovery;
pub mod table;

mod closing;
mod doubt;
mod due;
#[cfg(test)]
mod erasure_tests;
mod evicted;
mod expiry;
mod feed;
mod following;
mod hearing;
mod hello;
mod history;
mod index;
mod link;
mod links;
mod loading;
mod peers;
mod record;
mod session;
mod slots;
mod telling;

#[cfg(test)]
mod eviction_tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::clock::{Clock, Distrust};
use self::command::{Command, IAmAt, WhatsAt};
use self::effects::{Effects, LinkId, LogPolicy, News};
use self::expiry::Expiry;
use self::links::{Links, Turn};
use self::location::Location;
use self::prefetched::{ClientLine, NeighbourLine};
use self::protocol::{Incarnation, Mark, TweetQuery, error_json};
use self::questions::{ANSWER_TIMEOUT, Asked, Asker, QuestionId, Questions};
use self::recovery::Recovery;
use self::table::{Change, HashKeys, Key, Source, Table};
use crate::connection_id::{ConnectionId, ReplyId};
use crate::time::{Difference, Now, Timestamp};
use crate::topology::{Member, ServerName, Topology};

pub use self::link::{ASK_AGAIN, DIAL_TIMEOUT, HELLO_TIMEOUT, RETRY_MAX};
pub use self::session::{HEARTBEAT, LINE_MAX, MARK_EVERY_CHANGES, SILENCE_MAX};

/// What a node needs from outside: a node has no dice.
#[derive(Clone, Copy, Debug)]
pub struct Seeds {
    /// Names this life of this server; no two lives share one.
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

/// What has become of a report.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged<'a> {
    /// Whose.
    pub client: &'a [u8],
    /// The `AT` line that acknowledges it, without LF.
    pub at: &'a [u8],
    /// The latest location of its client: the report itself, or a later one. `None` where the report had
    /// expired when it came, and none stands.
    pub standing: Option<Location<'a>>,
}

impl Acknowledged<'_> {
    /// Whether the report is the one that stands.
    pub fn is_accepted(&self) -> bool {
        self.standing
            .is_some_and(|standing| standing.line == self.at)
    }
}

/// What has been said to a node so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Reports of clients.
    pub reports: u64,
    /// Clients' questions for tweets.
    pub questions: u64,
    /// Lines of clients that were no valid command.
    pub invalid: u64,
    /// Reports that neighbours sent on.
    pub heard: u64,
}

/// One server of the herd.
#[derive(Debug)]
pub struct Node {
    name: ServerName,
    incarnation: Incarnation,
    table: Table,
    /// Whether our clock is to be trusted.
    clock: Clock,
    /// What is too old.
    expiry: Expiry,
    links: Links,
    questions: Questions,
    /// Counts the replies that had to come later.
    replies: u64,
    counters: Counters,
    /// Where `AT` lines are composed, one after the other: how all of ours begin, which stays, then the
    /// rest of the latest.
    line: Vec<u8>,
    /// How many bytes all begin with.
    prefix_bytes: usize,
    /// What the clock showed when the table was last told what is too old and what too far ahead.
    looked_at: Timestamp,
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

    /// Lets records be forgotten `after` their effective time, by the clock of each turn. Without
    /// it none ever is.
    pub fn forget_after(&mut self, after: Duration, now: Now) {
        let expiry = Expiry::new(after, now);
        self.table.set_lost(expiry.oldest(now)); // what had expired before is not recovered
        self.expiry = expiry;
    }

    /// Lets the table of clients take about so many bytes at most. Where it would take more, the locations make
    /// room that have not changed for longest.
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

    /// After what time records are forgotten, if ever.
    pub fn forgets_after(&self) -> Option<Duration> {
        self.expiry.of_reports()
    }

    /// Lends what a journal fills, before anything else happens. [`Recovery::begin`] ends it.
    pub fn recovery(&mut self, now: Now) -> Recovery<'_> {
        self.expire(now);
        // The clock has not been judged: what is in the journal is kept, be it too far ahead.
        self.table.doubt_after(Timestamp::MAX);
        // A tombstone that has expired may be read before or after what it erased.
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

    /// From which number on somebody who has this feed up to `mark` follows it. `None` if that says nothing
    /// to us.
    pub fn resume_from(&self, mark: Mark) -> Option<u64> {
        self.links.history.follow(mark, self.table.end())
    }

    /// Gives `take` what changed after `cursor`, in that order, until it says that it wants no more. Gives the
    /// number from which to go on.
    pub fn follow(&mut self, cursor: u64, now: Now, take: impl FnMut(Change<'_>) -> bool) -> u64 {
        self.expire(now);
        self.table.take_after(cursor, take)
    }

    /// What this server has of each neighbour's changefeed, and the highest mark that it has sent to it.
    pub fn neighbours_known(&self) -> impl Iterator<Item = (&ServerName, Option<Mark>, u64)> {
        self.links.known()
    }

    /// How far a neighbour has been sent our changefeed: certainly, while it is not linked.
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

    /// The connections between servers that it knows of, by name: as many as there are.
    pub fn peers(&self) -> impl Iterator<Item = ConnectionId> {
        self.links.connections()
    }

    /// Whether the next line of `client` may be handled: not while it waits for as many answers of
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

    /// When [`Node::handle_timeout`] wants to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let sweep = self.expiry.timeout(&self.table);
        let due = [self.links.timeout(), sweep, self.questions.timeout()];
        due.into_iter().flatten().min()
    }

    /// A client's line, to be handled next or after others.
    pub fn read_client_line<'a>(&self, text: &'a [u8]) -> ClientLine<'a> {
        let key = self.client_line_key(text);
        ClientLine { text, key }
    }

    /// Where the table has the client that a client's line speaks of, if it does.
    pub fn client_line_key(&self, text: &[u8]) -> Option<Key> {
        prefetched::client_line_client(text).map(|client| self.table.key(client))
    }

    /// Reads a line between servers, to be handled next or after others.
    pub fn read_link_line<'a>(&self, text: &'a [u8]) -> NeighbourLine<'a> {
        NeighbourLine::read(text, self.link_line_key(text), &self.table)
    }

    /// The same where it is known, or was not looked for, where the table has the client.
    pub fn read_link_line_at<'a>(&self, text: &'a [u8], key: Option<Key>) -> NeighbourLine<'a> {
        NeighbourLine::read(text, key, &self.table)
    }

    /// Where the table has the client that a line between servers speaks of, if it does.
    pub fn link_line_key(&self, text: &[u8]) -> Option<Key> {
        prefetched::link_line_client(text).map(|client| self.table.key(client))
    }

    /// Brings near what handling some lines will need; only how long that takes depends on it.
    pub fn prefetch<'k>(&self, keys: impl IntoIterator<Item = &'k mut Key>) {
        self.table.prefetch(keys);
    }

    // ---- clients

    /// Handles a line of a client of which one may be handled ([`Node::accepts`]). If none may
    /// afterwards, its next line must be kept back until an [`Effects::answer`].
    #[inline(always)]
    pub fn handle_client_line(
        &mut self,
        client: ConnectionId,
        line: ClientLine<'_>,
        now: Now,
        effects: &mut impl Effects,
    ) {
        self.expire(now);
        match Command::parse(line.text) {
            Some(Command::IAmAt(report)) => {
                self.handle_report(client, &report, line.key, now, effects);
            }
            Some(Command::WhatsAt(question)) => {
                let key = line.key.unwrap_or_else(|| self.table.key(question.client));
                match self.table.location_at(key, question.client) {
                    Some(location) => {
                        let WhatsAt {
                            radius_km, bound, ..
                        } = question;
                        let query = TweetQuery::new(location.position, radius_km, bound);
                        self.counters.questions += 1;
                        self.replies += 1;
                        let reply = ReplyId(self.replies);
                        effects.reserve(client, reply, location.line);
                        self.ask(Asker { client, reply }, query, now, effects);
                    }
                    None => {
                        let reason = "nobody has reported a location of that client";
                        self.refuse_line(client, line.text, reason, effects);
                    }
                }
            }
            None => {
                let reason = invalid::reason(line.text);
                self.refuse_line(client, line.text, reason, effects);
                if invalid::is_http_request(line.text) {
                    effects.lose(client, reason);
                }
            }
        }
    }

    /// Handles a report that came in another way than as a client's line, in the words of that line. The
    /// caller acknowledges it. `None`, and nothing is done, if the line is no report.
    pub fn handle_foreign_report<'a>(
        &'a mut self,
        line: &'a [u8],
        now: Now,
        effects: &mut impl Effects,
    ) -> Option<Acknowledged<'a>> {
        let Some(Command::IAmAt(report)) = Command::parse(line) else {
            return None;
        };
        self.expire(now);
        let client = report.client;
        let key = self.table.key(client);
        let accepted = self.take_report(&report, Some(key), now, effects);
        let at = &self.line[..self.line.len() - 1];
        let standing = match accepted {
            Some(difference) => Some(Location {
                line: at,
                server: self.name.as_bytes(),
                difference,
                client,
                position: report.position,
                time: report.time,
                time_text: report.time_text,
            }),
            None => self.table.location_at(key, client),
        };
        Some(Acknowledged {
            client,
            at,
            standing,
        })
    }

    /// Erases a client: what is known of it is forgotten, here and by all who are told, and what it has reported
    /// before, wherever that comes from, is not taken in again. Gives the `ERASED` line; `None`, and
    /// nothing is done, if nothing is known of the client.
    pub fn handle_erase(
        &mut self,
        client: &[u8],
        now: Now,
        effects: &mut impl Effects,
    ) -> Option<Vec<u8>> {
        self.expire(now);
        let reported = self.table.reported(client)?;
        let time = now.wall.max(reported); // of two with the same time the erasure wins
        let line = protocol::erased_line(&self.name, client, time);
        let erasure = protocol::parse_erased(&line)?;
        let key = self.table.key(client);
        let number = self.table.erase(key, &erasure, Source::Own)?;
        effects.changed(number, &line);
        Some(line)
    }

    /// The latest location of `client`, unless it has expired by `now`.
    pub fn location(&mut self, client: &[u8], now: Now) -> Option<Location<'_>> {
        self.expire(now);
        self.table.location(client)
    }

    #[inline(always)]
    fn handle_report(
        &mut self,
        client: ConnectionId,
        report: &IAmAt<'_>,
        key: Option<Key>,
        now: Now,
        effects: &mut impl Effects,
    ) {
        self.take_report(report, key, now, effects);
        effects.reply(client, &self.line);
    }

    /// Takes a report in if it is the most recent; gives its difference then. Leaves the `AT` line that acknowledges
    /// it, with its LF, in `self.line`.
    #[inline(always)]
    fn take_report(
        &mut self,
        report: &IAmAt<'_>,
        key: Option<Key>,
        now: Now,
        effects: &mut impl Effects,
    ) -> Option<Difference> {
        self.counters.reports += 1;
        let key = key.unwrap_or_else(|| self.table.key(report.client));
        let difference = now.wall.since(report.time);
        self.line.truncate(self.prefix_bytes);
        protocol::write_at(&mut self.line, difference, report);
        let end = self.line.len();
        self.line.push(b'\n');
        let line = &self.line[..end];
        let location = Location {
            line,
            server: self.name.as_bytes(),
            difference,
            client: report.client,
            position: report.position,
            time: report.time,
            time_text: report.time_text,
        };
        let number = self.table.accept(key, &location, Source::Own)?;
        effects.changed(number, line);
        if let Some(effective) = self.table.take_gave_way() {
            self.links.note_gave_way(effective, effects);
        }
        Some(difference)
    }

    /// Answers a line that is no valid command.
    fn refuse_line(
        &mut self,
        client: ConnectionId,
        line: &[u8],
        reason: &'static str,
        effects: &mut impl Effects,
    ) {
        self.counters.invalid += 1;
        effects.tell(News::Invalid { client, reason });
        effects.reply(client, &[b"? ", line, b"\n"].concat());
    }

    fn ask(&mut self, asker: Asker, query: TweetQuery, now: Now, effects: &mut impl Effects) {
        if let Some(greedy) = self.questions.gives_way_to(asker.client) {
            self.leave_question(greedy, effects);
            self.questions.count_gave_way();
            self.refuse_question(greedy, effects);
        }
        match self.questions.ask(asker, query.clone(), now) {
            Asked::New(question) => effects.ask(question, query, now.after(ANSWER_TIMEOUT)),
            Asked::Joined => {}
            Asked::Full => {
                self.questions.count_refused();
                self.refuse_question(asker, effects);
            }
        }
    }

    fn refuse_question(&mut self, asker: Asker, effects: &mut impl Effects) {
        let error = "too many questions are waiting for Twitter, ask again later";
        effects.answer(asker.client, asker.reply, error_json(error));
        effects.tell(News::QuestionsFull);
    }

    /// How often a client was refused an answer of Twitter's, as too many waited.
    pub fn questions_refused(&self) -> u64 {
        self.questions.refused()
    }

    /// How often a client that waited for more answers than another had to give way to it.
    pub fn questions_gave_way(&self) -> u64 {
        self.questions.gave_way()
    }

    /// Tells all who wait for Twitter that it is for nothing, and why.
    pub fn give_up_questions(&mut self, why: &str, effects: &mut impl Effects) {
        for asker in self.questions.askers() {
            self.give_up_question(asker, why, effects);
        }
    }

    fn give_up_question(&mut self, asker: Asker, why: &str, effects: &mut impl Effects) {
        self.leave_question(asker, effects);
        effects.answer(asker.client, asker.reply, error_json(why));
    }

    fn leave_question(&mut self, asker: Asker, effects: &mut impl Effects) {
        if let Some(question) = self.questions.leave(asker) {
            effects.withdraw(question);
        }
    }

    /// Gives the answer to a question to all who wait for it. `json` is one line.
    pub fn handle_answer(
        &mut self,
        question: QuestionId,
        json: &Arc<[u8]>,
        effects: &mut impl Effects,
    ) {
        for asker in self.questions.close(question) {
            effects.answer(asker.client, asker.reply, Arc::clone(json));
        }
    }

    /// Forgets a client that has gone.
    pub fn handle_client_lost(&mut self, client: ConnectionId, effects: &mut impl Effects) {
        for asker in self.questions.asked_by(client).collect::<Vec<_>>() {
            self.leave_question(asker, effects);
        }
    }

    // ---- servers

    /// Has these servers as neighbours from now on, and no others. Of one that is no neighbour any longer
    /// nothing is believed from now on; what it has said before stays.
    pub fn handle_neighbours<'n>(
        &mut self,
        names: impl Iterator<Item = &'n ServerName>,
        now: Now,
        effects: &mut impl Effects,
    ) {
        let (links, mut turn) = self.turn(now, effects);
        links.set_neighbours(names, &mut turn);
    }

    /// Expects a hello from a connection that came to the server port.
    pub fn handle_accepted(&mut self, connection: ConnectionId, now: Now) {
        self.links.handle_accepted(connection, now);
    }

    /// Presents ourselves on a connection that was dialled.
    pub fn handle_connected(
        &mut self,
        link: LinkId,
        connection: ConnectionId,
        now: Now,
        effects: &mut impl Effects,
    ) {
        let (links, mut turn) = self.turn(now, effects);
        links.handle_connected(link, connection, &mut turn);
    }

    /// Notes that a dial came to nothing.
    pub fn handle_dial_failed(&mut self, link: LinkId, now: Now) {
        self.links.handle_dial_failed(link, now);
    }

    /// Notes that something came on a connection between servers, before its lines are handled: a
    /// neighbour in the middle of a long line is not dead.
    pub fn handle_link_bytes(&mut self, connection: ConnectionId, now: Now) {
        self.links.handle_bytes(connection, now);
    }

    /// The link whose neighbour says this line, yet to be handled: also that of the hello with which it
    /// presents itself.
    pub fn speaker_of_line(
        &self,
        connection: ConnectionId,
        line: &NeighbourLine<'_>,
    ) -> Option<LinkId> {
        let speaker = self.links.speaker_of(connection);
        speaker.or_else(|| self.links.presented_by(line))
    }

    /// Whether a line between servers, yet to be handled, goes into the log.
    pub fn log_policy(&self, connection: ConnectionId, line: &NeighbourLine<'_>) -> LogPolicy {
        self.links.policy(connection, line)
    }

    /// Handles a line of a connection between servers.
    pub fn handle_link_line(
        &mut self,
        connection: ConnectionId,
        line: NeighbourLine<'_>,
        now: Now,
        effects: &mut impl Effects,
    ) {
        self.expire(now);
        self.counters.heard += u64::from(matches!(line, NeighbourLine::At(..)));
        let (links, mut turn) = self.turn(now, effects);
        links.handle_line(connection, line, &mut turn);
    }

    /// Ends a connection between servers of which a line is too long to be any.
    pub fn handle_link_overlong(
        &mut self,
        connection: ConnectionId,
        now: Now,
        effects: &mut impl Effects,
    ) {
        let (links, mut turn) = self.turn(now, effects);
        links.handle_overlong(connection, &mut turn);
    }

    /// Ends a connection between servers whose peer may not be the neighbour that it says it is, or is no
    /// longer one. `name` is what it says.
    pub fn handle_forbidden(
        &mut self,
        connection: ConnectionId,
        name: &ServerName,
        reason: &str,
        now: Now,
        effects: &mut impl Effects,
    ) {
        let (links, mut turn) = self.turn(now, effects);
        links.handle_forbidden(connection, name, reason, &mut turn);
    }

    /// The link of the neighbour that presents itself to us with a line, if it is a hello that does and its
    /// connection is nobody's yet.
    pub fn presents(&self, connection: ConnectionId, line: &NeighbourLine<'_>) -> Option<LinkId> {
        let link = self.links.presented_by(line)?;
        let is_first = self.links.speaker_of(connection).is_none();
        is_first.then_some(link)
    }

    /// Notes that a connection between servers has gone.
    pub fn handle_peer_lost(
        &mut self,
        connection: ConnectionId,
        reason: &str,
        now: Now,
        effects: &mut impl Effects,
    ) {
        let (links, mut turn) = self.turn(now, effects);
        links.handle_lost(connection, reason, &mut turn);
    }

    /// Sends the neighbour at `connection` what it has not been sent yet, as far as `room` bytes go,
    /// and a mark when one is due.
    pub fn handle_room(
        &mut self,
        connection: ConnectionId,
        room: usize,
        now: Now,
        effects: &mut impl Effects,
    ) {
        self.expire(now);
        let (links, mut turn) = self.turn(now, effects);
        links.handle_room(connection, room, &mut turn);
    }

    // ---- time

    /// Takes in, before anything else of a turn, what the clock shows. `true` if it shows less than it did,
    /// and what had expired may be news again: reports were refused or given up meanwhile, and marked all
    /// the same, so that no mark of a neighbour holds, and each is asked anew.
    pub fn handle_clock(&mut self, now: Now, effects: &mut impl Effects) -> bool {
        let is_back = now.wall < self.looked_at;
        let is_set = self.clock.look(now);
        let (links, mut turn) = self.turn(now, effects);
        links.judge_clock(is_set, &mut turn);
        self.expire(now); // or the journal, which comes first in a turn, would forget what lives again
        let oldest = self.table.oldest_erased();
        if !is_back || oldest > self.table.lost() {
            return false;
        }
        self.table.set_lost(oldest); // what is older than that stays lost
        let (links, mut turn) = self.turn(now, effects);
        links.ask_anew("the clock was set back", &mut turn);
        true
    }

    /// The links, and what comes with an input.
    fn turn<'a, E: Effects>(
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

    /// What is too old now is unknown from now on, and what is too far ahead. By a clock that is not
    /// trusted nothing expires that had not.
    #[inline]
    fn expire(&mut self, now: Now) {
        // As it is for all lines of a turn but the first.
        if std::mem::replace(&mut self.looked_at, now.wall) != now.wall {
            self.expire_by(now);
        }
    }

    fn expire_by(&mut self, now: Now) {
        self.table.doubt_after(self.clock.newest(now));
        let is_trusted = self.clock.distrust().is_none();
        self.expiry.expire(&mut self.table, is_trusted, now);
    }

    /// Does what is due: dials, marks, deadlines.
    pub fn handle_timeout(&mut self, now: Now, effects: &mut impl Effects) {
        while let Some(asker) = self.questions.overdue(now) {
            let seconds = ANSWER_TIMEOUT.as_secs();
            let why = format!("Twitter did not answer within {seconds} seconds");
            self.give_up_question(asker, &why, effects);
        }
        self.expire(now);
        self.expiry.sweep(&mut self.table, now);
        let (links, mut turn) = self.turn(now, effects);
        links.handle_timeout(&mut turn);
    }

    /// Dials nobody any longer; links that are up go on until they are closed.
    pub fn handle_leaving(&mut self, now: Now, effects: &mut impl Effects) {
        let (links, mut turn) = self.turn(now, effects);
        links.handle_leaving(&mut turn);
    }

    /// Whether all neighbours that are linked have been sent everything, and the mark of it.
    pub fn has_told_all(&self) -> bool {
        self.links.has_told_all(self.table.end())
    }

    /// What always holds after an input was handled; the simulation asks after every step.
    pub fn check_invariants(&self) {
        self.table.check_invariants();
        self.questions.check_invariants();
        self.links.check_invariants(self.table.end());
    }
}
