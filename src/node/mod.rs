//! One server of the herd as a state machine: no socket, clock, thread, file or dice of its own.
//!
//! Facts come in by `handle_*`, each with the turn's [`Now`]; wishes go out as [`Action`]s, taken
//! with [`Node::poll_action`] and carried out by whoever holds the node: `Driver` over real
//! sockets, the simulation over virtual ones. That is what lets one seed replay a herd.
//!
//! ```text
//!   client's line --> protocol --> table --accepted--> feed
//!                        |           |                  | one cursor a link
//!                        | WHATSAT   | AT               v
//!                    questions     reply            flood: the entries after the cursor,
//!                        |                          whenever the link's socket has room
//!                        v
//!                    Ask Twitter
//! ```

pub mod link;
pub mod location;
pub mod protocol;
pub mod questions;
pub mod recall;
pub mod recovery;
pub mod table;

mod expiry;
mod feed;
mod history;
mod index;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::expiry::Expiry;
use self::history::History;
use self::link::{Dial, HELLO_TIMEOUT, Link, Spoken};
use self::location::Location;
use self::protocol::{
    Command, Hello, Incarnation, LINK_LINE_BYTES_MAX, LinkLine, Mark, TweetQuery, error_json,
};
use self::questions::{ANSWER_TIMEOUT, Asked, Asker, QuestionId, Questions};
use self::recall::{Prepared, Recall, Recalled};
use self::recovery::Recovery;
use self::table::{HashKeys, Key, PREFETCH_MAX, Source, Table};
use crate::connection_id::{ConnectionId, ReplyId};
use crate::random::SplitMix64;
use crate::time::{Now, Timestamp};
use crate::topology::{Member, ServerName, Topology};

/// Names a neighbour: its place among our links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkIndex(pub u16);

/// What the node wants done. Lines are without their LF.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Say a line on a connection.
    Send {
        /// To whom.
        to: ConnectionId,
        /// The link it belongs to; `None` if the connection is a client's, or a stranger's.
        link: Option<LinkIndex>,
        /// The line.
        line: &'a [u8],
        /// Whether the log should have it.
        spoken: Spoken,
    },
    /// Keep the place of a line that comes later, by [`Action::Answer`]: what is said to this client
    /// from now on stays behind it.
    Owe {
        /// To whom.
        to: ConnectionId,
        /// Which reply it is.
        reply: ReplyId,
    },
    /// Say the line of JSON for which a place was kept. The client's next line may now be handled, if
    /// it had to wait.
    Answer {
        /// To whom.
        to: ConnectionId,
        /// Which reply it is.
        reply: ReplyId,
        /// The line, shared by all who asked the same.
        json: Arc<[u8]>,
    },
    /// Dial a neighbour; [`Node::handle_connected`] or [`Node::handle_dial_failed`] follows.
    Dial(LinkIndex),
    /// Give up the dial under way.
    Undial(LinkIndex),
    /// Send what is owed, then close.
    Lose {
        /// Which.
        connection: ConnectionId,
        /// Why, for the log.
        reason: String,
    },
    /// Close at once: nobody is there to read what is owed.
    Abort {
        /// Which.
        connection: ConnectionId,
        /// Why, for the log.
        reason: String,
    },
    /// Ask Twitter; [`Node::handle_answer`] follows, unless the question is withdrawn.
    Ask {
        /// Names the question.
        question: QuestionId,
        /// What to ask.
        query: TweetQuery,
        /// When nobody will wait for the answer any longer.
        deadline: Instant,
    },
    /// Nobody waits for this answer any longer.
    Withdraw(QuestionId),
    /// So many questions wait for Twitter that another was turned away.
    TooManyAsk,
    /// A link is up: worth a word to the operator.
    LinkUp(LinkIndex),
    /// A link that was up is down.
    LinkDown(LinkIndex, String),
    /// A dial was not answered, or not as a neighbour answers.
    Unreached(LinkIndex, String),
    /// Somebody came to the server port who is no neighbour, and is told so.
    Refused {
        /// Over which connection.
        connection: ConnectionId,
        /// As whom they presented themselves, if they did.
        name: Option<ServerName>,
        /// What is wrong with them.
        reason: String,
    },
}

/// A client's line that has been read, and is yet to be handled.
///
/// Reading changes nothing, so many lines may be read, and all that they speak of be brought near
/// ([`Node::prefetch`]), before the first of them is handled.
#[derive(Clone, Copy, Debug)]
pub struct ClientLine<'a> {
    text: &'a [u8],
    /// What it asks for, and where the table has the client that it names.
    command: Option<(Command<'a>, Key)>,
}

impl ClientLine<'_> {
    /// What [`Node::prefetch`] wants to know, if the line speaks of a client.
    pub fn key_mut(&mut self) -> Option<&mut Key> {
        self.command.as_mut().map(|(_, key)| key)
    }
}

/// The same of a line between servers.
#[derive(Clone, Debug)]
pub enum NeighbourLine<'a> {
    /// A location, and where the table has its client.
    At(Location<'a>, Key),
    /// Anything else.
    Other(Result<LinkLine<'a>, &'static str>),
}

impl NeighbourLine<'_> {
    /// What [`Node::prefetch`] wants to know, if the line speaks of a client.
    pub fn key_mut(&mut self) -> Option<&mut Key> {
        match self {
            NeighbourLine::At(_, key) => Some(key),
            NeighbourLine::Other(_) => None,
        }
    }
}

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

/// One server of the herd.
#[derive(Debug)]
pub struct Node {
    name: ServerName,
    incarnation: Incarnation,
    /// This life of our feed, and those before it.
    history: History,
    table: Table,
    /// Present if records that are too old are to be forgotten.
    expiry: Option<Expiry>,
    /// After what time records expired in the life that is being recalled, if they did.
    recalled_expiry: Option<Duration>,
    /// What had expired before this life may be known again.
    knows_again: bool,
    links: Vec<Link>,
    /// Connections between servers, by what they are.
    peers: BTreeMap<ConnectionId, Peer>,
    /// By when those that came must have presented themselves, which is in the order they came.
    hello_deadlines: VecDeque<(Instant, ConnectionId)>,
    questions: Questions,
    /// Counts the replies that had to come later.
    replies: u64,
    jitter: SplitMix64,
    hellos: u64,
    /// Set when the server is on its way out: nobody is dialled any longer.
    leaving: bool,
    wishes: Wishes,
}

/// A connection between servers.
#[derive(Clone, Copy, Debug)]
enum Peer {
    /// It came to our server port and has not said who it is.
    Stranger,
    /// We dialled it and await its hello.
    Dialled(LinkIndex),
    /// It carries a link.
    Link(LinkIndex),
    /// We are done with it, and wait for its end.
    Closing {
        link: Option<LinkIndex>,
        /// Whether it had presented itself as the neighbour of that link.
        presented: bool,
    },
}

impl Peer {
    fn link(self) -> Option<LinkIndex> {
        match self {
            Peer::Stranger => None,
            Peer::Dialled(link) | Peer::Link(link) => Some(link),
            Peer::Closing { link, .. } => link,
        }
    }

    fn has_presented_itself(self) -> bool {
        match self {
            Peer::Stranger | Peer::Dialled(_) => false,
            Peer::Link(_) => true,
            Peer::Closing { presented, .. } => presented,
        }
    }
}

/// Actions not yet taken. Their lines are composed one after the other in one buffer, which is
/// used again as soon as all are taken: a line that is sent costs no allocation.
#[derive(Debug, Default)]
struct Wishes {
    queue: VecDeque<Wish>,
    lines: Vec<u8>,
    /// Where the line that is being composed begins.
    line_at: usize,
}

#[derive(Debug)]
enum Wish {
    Send(ConnectionId, Option<LinkIndex>, Range<usize>, Spoken),
    Other(Action<'static>),
}

impl Wishes {
    /// What has been composed and not been said.
    fn line(&self) -> &[u8] {
        &self.lines[self.line_at..]
    }

    /// Says what has been composed.
    fn say(&mut self, to: ConnectionId, link: Option<LinkIndex>, spoken: Spoken) {
        let range = self.line_at..self.lines.len();
        self.line_at = range.end;
        self.queue.push_back(Wish::Send(to, link, range, spoken));
    }

    fn push(&mut self, action: Action<'static>) {
        self.queue.push_back(Wish::Other(action));
    }

    fn clear(&mut self) {
        debug_assert!(self.queue.is_empty() && self.line().is_empty());
        self.lines.clear();
        self.line_at = 0;
    }
}

impl Node {
    /// The server `member` of `topology`, its table still empty.
    pub fn new(member: &Member, topology: &Topology, seeds: Seeds, now: Now) -> Node {
        let links = topology
            .neighbours(member)
            .map(|neighbour| Link::new(&member.name, neighbour.name.clone(), now))
            .collect();
        Node {
            name: member.name.clone(),
            incarnation: seeds.incarnation,
            history: History::default(),
            table: Table::new(seeds.hash_keys),
            expiry: None,
            recalled_expiry: None,
            knows_again: false,
            links,
            peers: BTreeMap::new(),
            hello_deadlines: VecDeque::new(),
            questions: Questions::default(),
            replies: 0,
            jitter: SplitMix64(seeds.jitter),
            hellos: 0,
            leaving: false,
            wishes: Wishes::default(),
        }
    }

    /// Lets records be forgotten `after` their effective time, by the clock of each turn. Without
    /// it none ever is. A restart must recall it of this life ([`Recalled::Started`]).
    pub fn forget_after(&mut self, after: Duration, now: Now) {
        let expiry = Expiry::new(after, now);
        self.table.set_lost(expiry.oldest_at_start());
        self.expiry = Some(expiry);
    }

    /// After what time records are forgotten, if ever.
    pub fn forgets_after(&self) -> Option<Duration> {
        self.expiry.as_ref().map(Expiry::after)
    }

    /// Lends what a journal fills, before anything else happens. [`Recovery::begin`] ends it.
    pub fn recovery(&mut self, now: Now) -> Recovery<'_> {
        self.expire(now);
        let oldest = self.expiry.as_ref().map(|expiry| expiry.oldest(now));
        Recovery {
            name: &self.name,
            incarnation: self.incarnation,
            oldest: oldest.unwrap_or(Timestamp::MIN),
            table: &mut self.table,
            history: &mut self.history,
            links: &mut self.links,
        }
    }

    /// Takes in what the server's own log recalls, in the log's order, before anything else
    /// happens. [`Node::begin_life`] ends it.
    ///
    /// A report is judged by the time when it came, not by that of the replay: what was news then
    /// has a number, though it has expired since.
    pub fn recall(&mut self, records: &[Recalled<'_>]) {
        for batch in records.chunks(PREFETCH_MAX) {
            let prepared = Prepared::all(batch, &self.table);
            let mut recall = self.recalling();
            prepared.iter().for_each(|record| recall.take_in(record));
        }
    }

    fn recalling(&mut self) -> Recall<'_> {
        Recall {
            table: &mut self.table,
            history: &mut self.history,
            links: &mut self.links,
            expiry: self.expiry.as_ref(),
            recalled_expiry: &mut self.recalled_expiry,
            knows_again: &mut self.knows_again,
        }
    }

    /// The same for a log that can be read only now that the server runs: its locations are taken
    /// in like a client's, the rest says nothing any longer.
    pub fn recall_late(&mut self, records: &[Recalled<'_>]) {
        for batch in records.chunks(PREFETCH_MAX) {
            for record in Prepared::all(batch, &self.table) {
                record.take_in_location(&mut self.table);
            }
        }
    }

    /// Whether what was recalled goes back to the beginning, a life that knew nothing yet, or a
    /// checkpoint, whole, and has no hole. Otherwise somebody has cut the log, or the power has failed.
    pub fn recalls_whole_log(&self) -> bool {
        self.history.is_of_whole_log()
    }

    /// Whether records may be known that had expired in the life before. Then what the log says
    /// counts for as little in the lives that come as in this one.
    pub fn knows_again(&self) -> bool {
        self.knows_again
    }

    /// Begins this life: all that is known now has been recalled. Gives what is to be recalled
    /// of it: the incarnation, and the number the feed has come to.
    pub fn begin_life(&mut self) -> (Incarnation, u64) {
        let incarnation = self.incarnation;
        (incarnation, self.recalling().begin_life(incarnation))
    }

    /// The lives of this feed, the oldest first, each with the last number it gave; `None` for
    /// this one.
    pub fn lives(&self) -> impl Iterator<Item = (Incarnation, Option<u64>)> {
        self.history.lives()
    }

    /// What is known of each neighbour: which life of it was heard last, and how much of its feed.
    pub fn neighbours_known(
        &self,
    ) -> impl Iterator<Item = (&ServerName, Option<Incarnation>, Option<Mark>)> {
        let links = self.links.iter();
        links.map(|link| (&link.neighbour, link.life(), link.known()))
    }

    /// Forgets what has expired of the changes after `after` up to `until`: for a log that passes over
    /// it. Were it known again after the clock was set back, a restart would not know it.
    pub fn forget_expired(&mut self, after: u64, until: u64) {
        self.table.forget_expired(after, until);
    }

    /// The latest locations.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The link that a connection between servers belongs to: once it has presented itself, or
    /// because we dialled it.
    pub fn link_of(&self, connection: ConnectionId) -> Option<LinkIndex> {
        self.peers.get(&connection).and_then(|peer| peer.link())
    }

    /// The link whose neighbour says what comes in on a connection: known only once it has
    /// presented itself, whoever was dialled.
    pub fn speaker_of(&self, connection: ConnectionId) -> Option<LinkIndex> {
        let peer = self.peers.get(&connection)?;
        peer.link().filter(|_| peer.has_presented_itself())
    }

    /// The connections between servers that it knows of, by name: as many as there are.
    pub fn peers(&self) -> impl Iterator<Item = ConnectionId> {
        self.peers.keys().copied()
    }

    /// Whether the next line of `client` may be handled: not while it waits for as many answers of
    /// Twitter as one client may.
    pub fn hears(&self, client: ConnectionId) -> bool {
        self.questions.may_ask(client)
    }

    /// For how many answers of Twitter `client` waits.
    pub fn waits_for(&self, client: ConnectionId) -> usize {
        self.questions.asked_by(client).count()
    }

    /// Connections whose neighbours have not been sent everything yet.
    pub fn backlogs(&self) -> impl Iterator<Item = ConnectionId> {
        let end = self.table.end();
        let behind = self.links.iter().filter_map(|link| link.session.as_ref());
        behind
            .filter(move |session| session.cursor < end)
            .map(|session| session.connection)
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action<'_>> {
        match self.wishes.queue.pop_front() {
            None => {
                self.wishes.clear();
                None
            }
            Some(Wish::Other(action)) => Some(action),
            Some(Wish::Send(to, link, range, spoken)) => Some(Action::Send {
                to,
                link,
                line: &self.wishes.lines[range],
                spoken,
            }),
        }
    }

    /// When [`Node::handle_timeout`] wants to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let links = self.links.iter().filter_map(|link| match self.leaving {
            true => None,
            false => link.timeout(),
        });
        let strangers = self.hello_deadlines.front().map(|&(at, _)| at);
        let sweep = self.expiry.as_ref().map(Expiry::timeout);
        let own = strangers.into_iter().chain(sweep);
        links.chain(own).chain(self.questions.timeout()).min()
    }

    /// Reads a client's line, to be handled next or after others.
    pub fn read_client_line<'a>(&self, text: &'a [u8]) -> ClientLine<'a> {
        let command = Command::parse(text);
        let command = command.map(|command| (command, self.table.key(command.client())));
        ClientLine { text, command }
    }

    /// Reads a line between servers, to be handled next or after others.
    pub fn read_link_line<'a>(&self, text: &'a [u8]) -> NeighbourLine<'a> {
        match LinkLine::parse(text) {
            Ok(LinkLine::At(location)) => {
                NeighbourLine::At(location, self.table.key(location.client))
            }
            other => NeighbourLine::Other(other),
        }
    }

    /// Brings near what handling some lines will need; only how long that takes depends on it.
    pub fn prefetch<'k>(&self, keys: impl IntoIterator<Item = &'k mut Key>) {
        self.table.prefetch(keys);
    }

    /// Handles a line of a client that may be heard ([`Node::hears`]). If it may not afterwards, its
    /// next line must be kept back until an [`Action::Answer`].
    pub fn handle_client_line(&mut self, client: ConnectionId, line: ClientLine<'_>, now: Now) {
        self.expire(now);
        let handled = match line.command {
            Some((command, key)) => self.handle_command(client, command, key, now),
            None => false,
        };
        if !handled {
            self.wishes.lines.extend_from_slice(b"? ");
            self.wishes.lines.extend_from_slice(line.text);
            self.wishes.say(client, None, Spoken::News);
        }
    }

    fn handle_command(
        &mut self,
        client: ConnectionId,
        command: Command<'_>,
        key: Key,
        now: Now,
    ) -> bool {
        match command {
            Command::IAmAt {
                client: name,
                position,
                time,
                time_text,
            } => {
                let difference = now.wall.since(time);
                protocol::write_at(
                    &mut self.wishes.lines,
                    &self.name,
                    difference,
                    name,
                    position,
                    time_text,
                );
                let location = Location {
                    line: self.wishes.line(),
                    server: self.name.as_bytes(),
                    difference,
                    client: name,
                    position,
                    time,
                    time_text,
                };
                self.table.accept(key, &location, Source::Own);
                self.wishes.say(client, None, Spoken::News);
            }
            Command::WhatsAt {
                client: name,
                radius_km,
                bound,
            } => {
                let Some(location) = self.table.location_at(key, name) else {
                    return false;
                };
                let query = TweetQuery::new(location.position, radius_km, bound);
                self.wishes.lines.extend_from_slice(location.line);
                self.wishes.say(client, None, Spoken::News);
                self.ask(client, query, now);
            }
        }
        true
    }

    fn ask(&mut self, client: ConnectionId, query: TweetQuery, now: Now) {
        self.replies += 1;
        let reply = ReplyId(self.replies);
        let asker = Asker { client, reply };
        self.wishes.push(Action::Owe { to: client, reply });
        match self.questions.ask(asker, query.clone(), now) {
            Asked::New(question) => self.wishes.push(Action::Ask {
                question,
                query,
                deadline: now.after(ANSWER_TIMEOUT),
            }),
            Asked::Joined => {}
            Asked::Full => {
                let error = "too many questions are waiting for Twitter, ask again later";
                self.answer(asker, error_json(error));
                self.wishes.push(Action::TooManyAsk);
            }
        }
    }

    /// Tells all who wait for Twitter that it is for nothing, and why.
    pub fn give_up_questions(&mut self, why: &str) {
        for asker in self.questions.askers() {
            self.give_up_question(asker, why);
        }
    }

    fn give_up_question(&mut self, asker: Asker, why: &str) {
        self.leave_question(asker);
        self.answer(asker, error_json(why));
    }

    fn leave_question(&mut self, asker: Asker) {
        if let Some(question) = self.questions.leave(asker) {
            self.wishes.push(Action::Withdraw(question));
        }
    }

    fn answer(&mut self, asker: Asker, json: Arc<[u8]>) {
        let Asker { client: to, reply } = asker;
        self.wishes.push(Action::Answer { to, reply, json });
    }

    /// Gives the answer to a question to all who wait for it. `json` is one line.
    pub fn handle_answer(&mut self, question: QuestionId, json: &Arc<[u8]>) {
        for asker in self.questions.close(question) {
            self.answer(asker, Arc::clone(json));
        }
    }

    /// Forgets a client that has gone.
    pub fn handle_client_lost(&mut self, client: ConnectionId) {
        for asker in self.questions.asked_by(client).collect::<Vec<_>>() {
            self.leave_question(asker);
        }
    }

    /// Expects a hello from a connection that came to the server port.
    pub fn handle_accepted(&mut self, connection: ConnectionId, now: Now) {
        self.peers.insert(connection, Peer::Stranger);
        self.hello_deadlines
            .push_back((now.after(HELLO_TIMEOUT), connection));
    }

    /// Presents ourselves on a connection that was dialled.
    pub fn handle_connected(&mut self, index: LinkIndex, connection: ConnectionId, now: Now) {
        self.peers.insert(connection, Peer::Dialled(index));
        self.link_mut(index).dial_connected(connection, now);
        self.say_hello(index, connection);
    }

    /// Notes that a dial came to nothing.
    pub fn handle_dial_failed(&mut self, index: LinkIndex, now: Now) {
        let link = &mut self.links[usize::from(index.0)];
        link.dial_failed(now, &mut self.jitter);
    }

    /// Notes that something came on a connection between servers, before its lines are handled: who
    /// is in the middle of a long one is not dead.
    pub fn handle_link_bytes(&mut self, connection: ConnectionId, now: Now) {
        if let Some(Peer::Link(index)) = self.peers.get(&connection).copied()
            && let Some(session) = &mut self.link_mut(index).session
        {
            session.heard_bytes(now);
        }
    }

    /// Handles a line of a connection between servers, and says whether it was news.
    pub fn handle_link_line(
        &mut self,
        connection: ConnectionId,
        line: NeighbourLine<'_>,
        now: Now,
    ) -> Spoken {
        let peer = match self.peers.get(&connection) {
            None | Some(Peer::Closing { .. }) => return Spoken::News, // it counts for nothing
            Some(peer) => *peer,
        };
        self.expire(now);
        match peer {
            Peer::Link(index) => {
                if let Some(session) = &mut self.link_mut(index).session {
                    session.heard(now);
                }
            }
            Peer::Dialled(index) => self.link_mut(index).dial_answered(),
            Peer::Stranger | Peer::Closing { .. } => {}
        }
        let said = match (peer, line) {
            (Peer::Link(index), NeighbourLine::At(location, key)) => {
                self.table.accept(key, &location, Source::Link(index.0));
                return Spoken::News;
            }
            (_, NeighbourLine::At(location, _)) => Ok(LinkLine::At(location)),
            (_, NeighbourLine::Other(said)) => said,
        };
        match (peer, said) {
            (Peer::Link(index), Ok(LinkLine::Mark(number))) => {
                return self.link_mut(index).handle_mark(number);
            }
            (Peer::Stranger | Peer::Dialled(_), Ok(LinkLine::Hello(hello))) => {
                if let Err(reason) = self.handle_hello(connection, peer, &hello, now) {
                    self.refuse(connection, Some(hello.from), reason, now);
                }
            }
            (_, Ok(LinkLine::Bye(reason))) => {
                let reason = format!("the neighbour said BYE {}", reason.escape_ascii());
                self.drop_peer(connection, &reason, now);
                self.wishes.push(Action::Lose { connection, reason });
            }
            (Peer::Link(_), Ok(LinkLine::Hello(_))) => {
                self.refuse(connection, None, "a second HELLO", now);
            }
            (_, Ok(_)) => self.refuse(connection, None, "the first line must be HELLO", now),
            (_, Err(reason)) => self.refuse(connection, None, reason, now),
        }
        Spoken::News
    }

    /// Ends a connection between servers of which a line is too long to be any.
    pub fn handle_link_overlong(&mut self, connection: ConnectionId, now: Now) {
        let reason = format!("a line over {LINK_LINE_BYTES_MAX} bytes");
        self.refuse(connection, None, &reason, now);
    }

    fn handle_hello(
        &mut self,
        connection: ConnectionId,
        peer: Peer,
        hello: &Hello,
        now: Now,
    ) -> Result<(), &'static str> {
        if hello.to != self.name {
            return Err("a HELLO to somebody else");
        }
        let index = self.links.iter().position(|l| l.neighbour == hello.from);
        let index = match (index, peer) {
            (None, _) => return Err("a HELLO from no neighbour of ours"),
            (Some(index), Peer::Dialled(dialled)) if usize::from(dialled.0) != index => {
                return Err("a HELLO from another neighbour than was dialled");
            }
            (Some(index), _) => LinkIndex(index as u16),
        };
        if let Peer::Stranger = peer {
            if self.link(index).is_contested_by(hello) {
                return Err("another server of that name is linked");
            }
            if let Err(reason) = self.link(index).judge(hello, now) {
                self.dismiss(connection, reason, now); // as happens among neighbours
                return Ok(());
            }
            match self.link(index).dial {
                Dial::Dialling { .. } => self.wishes.push(Action::Undial(index)),
                Dial::Presented { connection, .. } => {
                    let (link, presented) = (Some(index), false);
                    self.peers
                        .insert(connection, Peer::Closing { link, presented });
                    let reason = "the neighbour's own dial was taken".to_owned();
                    self.wishes.push(Action::Abort { connection, reason });
                }
                Dial::Idle { .. } => {}
            }
            if let Some(session) = &self.link(index).session {
                let old = session.connection;
                let reason = self.link_mut(index).give_way(hello);
                self.drop_peer(old, reason, now);
                let reason = reason.to_owned();
                let connection = old;
                self.wishes.push(Action::Abort { connection, reason });
            }
            self.say_hello(index, connection);
        }
        self.peers.insert(connection, Peer::Link(index));
        let end = self.table.end();
        let cursor = self.history.resume(hello.known, end);
        self.link_mut(index)
            .begin_session(connection, hello, cursor, end, now);
        self.wishes.push(Action::LinkUp(index));
        Ok(())
    }

    fn say_hello(&mut self, index: LinkIndex, connection: ConnectionId) {
        self.hellos += 1;
        let link = self.link(index);
        let hello = Hello {
            from: self.name.clone(),
            to: link.neighbour.clone(),
            incarnation: self.incarnation,
            serial: self.hellos,
            known: link.known(),
        };
        hello.write(&mut self.wishes.lines);
        self.wishes.say(connection, Some(index), Spoken::News);
    }

    /// Says why, then closes. Of a stranger, who presented itself as `name`, the operator is to know.
    fn refuse(
        &mut self,
        connection: ConnectionId,
        name: Option<ServerName>,
        reason: &str,
        now: Now,
    ) {
        if let Some(Peer::Stranger) = self.peers.get(&connection) {
            self.wishes.push(Action::Refused {
                connection,
                name,
                reason: reason.to_owned(),
            });
        }
        self.dismiss(connection, reason, now);
    }

    /// Says why, then closes.
    fn dismiss(&mut self, connection: ConnectionId, reason: &str, now: Now) {
        self.wishes.lines.extend_from_slice(b"BYE ");
        self.wishes.lines.extend_from_slice(reason.as_bytes());
        let link = self.link_of(connection);
        self.wishes.say(connection, link, Spoken::News);
        self.drop_peer(connection, reason, now);
        let reason = format!("refused: {reason}");
        self.wishes.push(Action::Lose { connection, reason });
    }

    /// Notes that a connection between servers has gone.
    pub fn handle_peer_lost(&mut self, connection: ConnectionId, reason: &str, now: Now) {
        self.drop_peer(connection, reason, now);
        self.peers.remove(&connection);
    }

    /// Is done with a connection that may not have gone yet.
    fn drop_peer(&mut self, connection: ConnectionId, reason: &str, now: Now) {
        let Some(peer) = self.peers.get_mut(&connection) else {
            return;
        };
        let (link, presented) = (peer.link(), peer.has_presented_itself());
        match std::mem::replace(peer, Peer::Closing { link, presented }) {
            Peer::Stranger | Peer::Closing { .. } => {}
            Peer::Dialled(index) => {
                self.handle_dial_failed(index, now);
                let unreached = Action::Unreached(index, reason.to_owned());
                self.wishes.push(unreached);
            }
            Peer::Link(index) => {
                let link = &mut self.links[usize::from(index.0)];
                link.session_lost(now, &mut self.jitter);
                let down = Action::LinkDown(index, reason.to_owned());
                self.wishes.push(down);
            }
        }
    }

    /// Sends the neighbour at `connection` what it has not been sent yet, as far as `room` bytes
    /// go, and a mark when one is due.
    ///
    /// This is all of flooding, of catching up, and of what a slow neighbour costs: a cursor.
    pub fn handle_room(&mut self, connection: ConnectionId, mut room: usize, now: Now) {
        let Some(&Peer::Link(index)) = self.peers.get(&connection) else {
            return;
        };
        self.expire(now);
        let link = &mut self.links[usize::from(index.0)];
        let mut session = link.session.take().expect("a link's peer has a session");
        let reached = self.table.take_after(session.cursor, |change| {
            if change.source == Source::Link(index.0) && link.told_us(change.number) {
                return true;
            }
            let Some(left) = room.checked_sub(change.line.len() + 1) else {
                return false; // asked again once there is room
            };
            room = left;
            self.wishes.lines.extend_from_slice(change.line);
            self.wishes.say(connection, Some(index), Spoken::News);
            session.sent_change(change.number, now);
            true
        });
        session.skip_to(reached);
        link.session = Some(session);
        self.say_due_mark(index, now);
    }

    fn say_due_mark(&mut self, index: LinkIndex, now: Now) {
        let Some(session) = &mut self.link_mut(index).session else {
            return;
        };
        let connection = session.connection;
        if let Some((number, spoken)) = session.due_mark(now) {
            protocol::write_mark(&mut self.wishes.lines, number);
            self.wishes.say(connection, Some(index), spoken);
        }
    }

    /// Takes in, before anything else of a turn, that the clock shows less than it did. `true` if what
    /// had expired may be news again: what was told meanwhile was not taken in, or was given up, and
    /// marked all the same, so that no mark of a neighbour holds, and each is asked anew.
    pub fn handle_clock_set_back(&mut self, now: Now) -> bool {
        self.expire(now); // or the log, which comes first in a turn, would forget what lives again
        let oldest = self.expiry.as_ref().map(|expiry| expiry.oldest(now));
        let Some(oldest) = oldest.filter(|oldest| *oldest <= self.table.lost()) else {
            return false;
        };
        if let Some(expiry) = &mut self.expiry {
            expiry.forget_recalled(&mut self.table, now);
        }
        self.table.set_lost(oldest); // what is older than that stays lost
        let links = self.links.iter_mut();
        let connections: Vec<_> = links
            .filter_map(|link| {
                link.forget();
                // A hello that is on its way has asked for what comes after a mark that holds no longer.
                match link.dial {
                    Dial::Presented { connection, .. } => Some(connection),
                    _ => link.session.as_ref().map(|session| session.connection),
                }
            })
            .collect();
        for connection in connections {
            let reason = "the clock was set back";
            self.drop_peer(connection, reason, now);
            let reason = reason.to_owned();
            self.wishes.push(Action::Abort { connection, reason });
        }
        true
    }

    /// What is too old now is unknown from now on.
    fn expire(&mut self, now: Now) {
        if let Some(expiry) = &self.expiry {
            self.table.expire_before(expiry.oldest(now));
        }
    }

    /// Does what is due: dials, marks, deadlines.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(asker) = self.questions.overdue(now) {
            let seconds = ANSWER_TIMEOUT.as_secs();
            let why = format!("Twitter did not answer within {seconds} seconds");
            self.give_up_question(asker, &why);
        }
        while let Some(&(at, connection)) = self.hello_deadlines.front()
            && at <= now.mono
        {
            self.hello_deadlines.pop_front();
            if let Some(Peer::Stranger) = self.peers.get(&connection) {
                self.refuse(connection, None, &no_hello(), now);
            }
        }
        self.expire(now);
        if let Some(expiry) = &mut self.expiry {
            expiry.sweep(&mut self.table, now);
        }
        if !self.leaving {
            for index in 0..self.links.len() {
                self.handle_link_timeout(LinkIndex(index as u16), now);
            }
        }
    }

    fn handle_link_timeout(&mut self, index: LinkIndex, now: Now) {
        if let Some(session) = &self.link(index).session
            && let Some(reason) = session.silence(now)
        {
            let connection = session.connection;
            self.drop_peer(connection, &reason, now);
            self.wishes.push(Action::Abort { connection, reason });
        }
        match self.link(index).dial {
            Dial::Dialling { until } if until <= now.mono => {
                self.wishes.push(Action::Undial(index));
                self.links[usize::from(index.0)].dial_unanswered(now, &mut self.jitter);
                let reason = "the dial was not answered".to_owned();
                self.wishes.push(Action::Unreached(index, reason));
            }
            Dial::Presented {
                connection, since, ..
            } if since + HELLO_TIMEOUT <= now.mono => {
                let reason = no_hello();
                self.drop_peer(connection, &reason, now);
                self.wishes.push(Action::Abort { connection, reason });
            }
            _ => {}
        }
        if self.link_mut(index).begin_dial(now) {
            self.wishes.push(Action::Dial(index));
        }
        self.say_due_mark(index, now);
    }

    /// Dials nobody any longer; links that are up go on until they are closed.
    pub fn handle_leaving(&mut self) {
        self.leaving = true;
        for index in 0..self.links.len() {
            if let Dial::Dialling { .. } = self.links[index].dial {
                self.wishes.push(Action::Undial(LinkIndex(index as u16)));
            }
            self.links[index].dial = Dial::Idle { retry_at: None };
        }
    }

    fn link(&self, index: LinkIndex) -> &Link {
        &self.links[usize::from(index.0)]
    }

    fn link_mut(&mut self, index: LinkIndex) -> &mut Link {
        &mut self.links[usize::from(index.0)]
    }

    /// What always holds once all actions were taken; the simulation asks after every step.
    pub fn check_invariants(&self) {
        self.table.check_invariants();
        self.questions.check_invariants();
        let wishes = &self.wishes;
        assert!(
            wishes.queue.is_empty() && wishes.lines.is_empty(),
            "wishes are left"
        );
        let end = self.table.end();
        for (index, link) in self.links.iter().enumerate() {
            let index = LinkIndex(index as u16);
            if let Some(session) = &link.session {
                assert!(session.cursor <= end, "a cursor is ahead of the feed");
                let peer = self.peers.get(&session.connection);
                assert!(
                    matches!(peer, Some(Peer::Link(at)) if *at == index),
                    "a session without its connection"
                );
                assert!(
                    matches!(link.dial, Dial::Idle { retry_at: None }),
                    "a link that is up is dialled"
                );
            } else {
                let lost = matches!(link.dial, Dial::Idle { retry_at: None });
                assert!(!lost || self.leaving, "nobody will ever dial this link");
            }
        }
        for peer in self.peers.values() {
            if let Peer::Link(index) = peer {
                assert!(
                    self.link(*index).session.is_some(),
                    "a link without session"
                );
            }
        }
    }
}

/// Why a connection ends on which nobody has presented himself.
fn no_hello() -> String {
    format!("no HELLO within {} seconds", HELLO_TIMEOUT.as_secs())
}
