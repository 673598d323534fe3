//! The clients: how they behave, and what they are owed.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use herd::connection_id::{ConnectionId, ReplyId};
use herd::input::Input;
use herd::lines::{Lines, Piece};
use herd::net::output::{BufferPool, Output};
use herd::node::command::LINE_BYTES_MAX;
use herd::node::protocol::TweetQuery;

use crate::agenda::Event;
use crate::herd::{Herd, Made};
use crate::oracle::{NEVER, Window};
use crate::records::{self, SECOND};
use crate::script::iamat;

/// How long a client waits for tweets at most: what is promised.
const TWEETS_WITHIN: Duration = Duration::from_secs(10);

/// What a client does next.
#[derive(Clone, Debug)]
pub enum Said {
    /// A piece of what it says.
    Bytes(Vec<u8>),
    /// It says no more, but reads on.
    End,
    /// It is gone.
    Vanish,
    /// It takes no replies, or takes them again.
    Stall(bool),
}

/// A client's connection, and what it is owed.
#[derive(Default)]
pub struct Client {
    lines: Lines,
    input: Input,
    /// The commands that have not been handled, oldest first.
    owed: VecDeque<Owed>,
    /// Those that Twitter is to answer.
    asked: BTreeMap<ReplyId, Question>,
    /// What it is to be sent, in this order.
    due: VecDeque<Due>,
    output: Output,
    /// Its end has arrived.
    ended: bool,
    /// Its end has been read: it is closed when it has all that it is owed.
    closing: bool,
    /// Its end is on its way: it will say nothing more.
    leaving: bool,
    pub stalled: bool,
    /// When the last of what it has said arrives.
    arrives: Duration,
}

/// What a command is answered.
#[derive(Debug)]
pub enum Owed {
    /// An IAMAT: the `AT` line with these.
    Report {
        client: Vec<u8>,
        location: String,
        digits: String,
    },
    /// A WHATSAT: what the server must hold of this client; a copy if that is nothing.
    Question {
        client: Vec<u8>,
        radius: String,
        bound: u64,
        line: Vec<u8>,
    },
    /// Anything else: a copy.
    Copy(Vec<u8>),
}

/// A question to Twitter, and when it was asked.
struct Question {
    /// Latitude, longitude, radius and bound.
    query: [f64; 4],
    since: Duration,
}

/// What a client is to be sent.
enum Due {
    Line(Vec<u8>),
    /// A line, and with it another that is not known yet.
    Reserved(ReplyId, Vec<u8>),
}

impl Client {
    /// How many replies it has not been sent.
    pub fn owed(&self) -> usize {
        self.owed.len() + self.due.len()
    }
}

/// Twitter's answer, from which can be seen what it answers.
pub fn tweets(query: &TweetQuery) -> Vec<u8> {
    let TweetQuery {
        latitude,
        longitude,
        radius_km,
        bound,
    } = query;
    format!("{{\"asked\":\"{latitude} {longitude} {radius_km} {bound}\"}}").into_bytes()
}

impl Herd {
    /// A client does something at a host.
    pub fn client_acts(&mut self, host: usize) {
        let Some(id) = self.some_client(host) else {
            return;
        };
        let bursts = self.weather.busy && self.dice.below(5) == 0;
        let asks = !bursts && self.dice.below(40) == 0; // often more than may be asked at a time
        let lines = match self.dice.below(8) {
            _ if bursts => 500 + self.dice.below(1_000),
            _ if asks => 10 + self.dice.below(30),
            0 => 1 + self.dice.below(12),
            _ => 1,
        };
        let seconds = (self.wall(host) / SECOND) - i128::from(self.hosts[host].skew_seconds);
        let mut bytes = Vec::new();
        for _ in 0..lines {
            let (line, owed) = if bursts {
                self.script.hasty_report(seconds as i64)
            } else if asks {
                self.script.question(&mut self.dice)
            } else {
                self.script.compose(seconds, &mut self.dice)
            };
            bytes.extend_from_slice(&line);
            bytes.push(b'\n');
            self.client(host, id).owed.push_back(owed);
        }
        self.client_says(host, id, &bytes);
        match self.dice.below(40) {
            0..3 => self.client_does(host, id, Said::End),
            3 => {
                self.client_says(host, id, b"IAMAT c1 +10-010 9999"); // no LF: it is no report
                self.client_does(host, id, Said::End);
            }
            4 => {
                self.client_says(host, id, b"IAMAT c1 +10-010 9999");
                self.client_does(host, id, Said::Vanish);
            }
            5..7 => self.client_does(host, id, Said::Vanish),
            7..9 => self.client_does(host, id, Said::Stall(true)),
            9..13 => self.client_does(host, id, Said::Stall(false)),
            _ => {}
        }
    }

    /// A client that has never been heard of reports at a host.
    pub fn report_fresh(&mut self, host: usize) {
        self.script.fresh += 1;
        let client = format!("fresh{}", self.script.fresh).into_bytes();
        self.report_now(host, client);
    }

    /// A client reports where it is now, at a host.
    pub fn report_now(&mut self, host: usize, client: Vec<u8>) {
        let id = self.hosts[host].new_id();
        self.hosts[host].clients.insert(id, Client::default());
        let digits = (self.wall(host) / SECOND).to_string();
        let location = "+10-010".to_owned();
        let (line, owed) = iamat(" ", client, location, digits);
        self.client(host, id).owed.push_back(owed);
        self.client_says(host, id, &[&line[..], b"\n"].concat());
        self.client_does(host, id, Said::End);
    }

    /// Somebody has a client erased at a host.
    pub fn erase_some(&mut self, index: usize) {
        if self.hosts[index].node.is_none() {
            return;
        }
        let names = &self.script.names;
        let client = match self.dice.below(8) {
            0 => b"hasty1".to_vec(),
            _ => names[self.dice.below(names.len() as u64) as usize].clone(),
        };
        self.look_at_clock(index);
        let (now, wall, window) = (self.clock(index), self.wall(index), self.window(index));
        let (node, effects) = self.hosts[index].up();
        let erased = node.handle_erase(&client, now, effects);
        self.perform(index, None);
        let host = &mut self.hosts[index];
        let Some(line) = erased else {
            let nothing = host.heard.see_nothing_to_erase(&client, window.oldest);
            nothing.unwrap_or_else(|held| panic!("host {index} does not erase {held}"));
            return self.end_turn(index);
        };
        let shown = line.escape_ascii();
        let times = host.heard.may_be_reported(&client);
        // Just before now, or as late as what it erases, unless that is too far ahead.
        let mut lines = times.into_iter().map(|time| {
            let least = if time > window.newest { NEVER } else { time };
            records::erased(&host.name, &client, least.max(wall - 1))
        });
        assert!(lines.any(|may_be| may_be == line), "host {index}: {shown}");
        let changed = host.changed.take();
        let number = changed.map(|(number, changed)| {
            assert_eq!(changed, line, "the journal is told something else");
            number
        });
        assert!(number.is_some(), "host {index}: {shown} is no change");
        let window = Window {
            evicted: NEVER, // its own operator says it
            ..window
        };
        let heard = host.heard.hear(&line, number, window);
        let heard = heard.unwrap_or_else(|wrong| panic!("host {index}: {shown} {wrong}"));
        if heard.gave_way {
            host.note_gave_way();
        }
        let digest = host.costs.hear(&line, None);
        let made = Made {
            at: self.now,
            effective: heard.effective,
            digest,
        };
        self.made.entry(line).or_insert(made);
        self.note_evicted(index);
        self.end_turn(index);
    }

    /// Lets all clients take their replies.
    pub fn unstall(&mut self) {
        for host in 0..self.hosts.len() {
            let ids: Vec<_> = self.hosts[host].clients.keys().copied().collect();
            for id in ids {
                self.client_does(host, id, Said::Stall(false));
            }
        }
    }

    /// A client that is there and goes on talking, or a new one.
    fn some_client(&mut self, index: usize) -> Option<ConnectionId> {
        let host = &mut self.hosts[index];
        host.node.as_ref()?;
        let talking = host.clients.iter().filter(|(_, client)| !client.leaving);
        let ids: Vec<_> = talking.map(|(id, _)| *id).collect();
        let old = self.dice.below(1 + ids.len() as u64) as usize;
        Some(ids.get(old).copied().unwrap_or_else(|| {
            let id = host.new_id();
            host.clients.insert(id, Client::default());
            id
        }))
    }

    fn client(&mut self, host: usize, id: ConnectionId) -> &mut Client {
        self.hosts[host].clients.get_mut(&id).expect("it is there")
    }

    /// What a client says is on its way, chopped as TCP likes.
    fn client_says(&mut self, host: usize, id: ConnectionId, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let most = if self.dice.below(4) == 0 { 9 } else { 60_000 };
            let piece = rest.len().min(1 + self.dice.below(most) as usize);
            let (piece, tail) = rest.split_at(piece);
            self.client_does(host, id, Said::Bytes(piece.to_vec()));
            rest = tail;
        }
    }

    fn client_does(&mut self, host: usize, id: ConnectionId, said: Said) {
        let moment = self.hosts[host].moment(host);
        let wait = Duration::from_micros(50 + self.dice.below(2_000));
        let now = self.now;
        let client = self.client(host, id);
        client.leaving |= matches!(said, Said::End | Said::Vanish);
        client.arrives = client.arrives.max(now + wait);
        let at = client.arrives;
        self.agenda.plan(at, Event::Client(moment, id, said));
    }

    /// What a client has said or done arrives.
    pub fn hear_client(&mut self, host: usize, id: ConnectionId, said: Said) {
        let Some(client) = self.hosts[host].clients.get_mut(&id) else {
            return;
        };
        match said {
            Said::Bytes(bytes) => return self.serve_client(host, id, &bytes),
            Said::End => client.ended = true,
            Said::Stall(stalled) => client.stalled = stalled,
            Said::Vanish => {
                self.hosts[host].clients.remove(&id);
                let (node, effects) = self.hosts[host].up();
                return node.handle_client_lost(id, effects);
            }
        }
        self.serve_client(host, id, &[]);
    }

    /// Handles what a client has said, as far as it is to be read.
    pub fn serve_client(&mut self, host: usize, id: ConnectionId, bytes: &[u8]) {
        let Some(client) = self.hosts[host].clients.get_mut(&id) else {
            return;
        };
        let mut lines = std::mem::take(&mut client.lines);
        let mut input = std::mem::take(&mut client.input);
        input.push(bytes);
        let is_read = |herd: &mut Herd| {
            let stalled = herd.client(host, id).stalled || herd.hosts[host].is_held;
            !stalled && herd.hosts[host].node().accepts(id)
        };
        let mut read = is_read(self);
        while read && let Some(piece) = lines.next(input.as_bytes(), LINE_BYTES_MAX) {
            let used = piece.input_len();
            let Piece::Line(line) = piece else {
                panic!("no client says a line that long")
            };
            let now = self.clock(host);
            let (node, effects) = self.hosts[host].up();
            node.handle_client_line(id, node.read_client_line(line), now, effects);
            input.consume(used);
            self.perform(host, None);
            read = is_read(self);
        }
        let client = self.client(host, id);
        (client.lines, client.input) = (lines, input);
        if read && client.ended {
            let owed = client.owed.len();
            assert_eq!(owed, 0, "host {host} closes a client that is owed replies");
            client.closing = true;
        }
    }

    /// A reply: it must be that to the command which was handled, to the byte. If the rest of it comes
    /// later, `reserved` names it.
    pub fn client_is_told(
        &mut self,
        index: usize,
        id: ConnectionId,
        line: &[u8],
        reserved: Option<ReplyId>,
    ) {
        let (wall, window) = (self.wall(index), self.window(index));
        let host = &mut self.hosts[index];
        let changed = host.changed.take();
        let Some(client) = host.clients.get_mut(&id) else {
            return; // it has vanished
        };
        let shown = line.escape_ascii();
        let whole = [line, b"\n"];
        match reserved {
            None => {
                client.due.push_back(Due::Line(line.to_vec()));
                client.output.push(&whole, &mut BufferPool::new());
            }
            Some(reply) => {
                client.due.push_back(Due::Reserved(reply, line.to_vec()));
                client.output.reserve(reply, &whole);
            }
        }
        let owed = client.owed.pop_front();
        let owed = owed.unwrap_or_else(|| panic!("nothing is owed, but came: {shown}"));
        let expect = |want: &[u8]| {
            let want_shown = want.escape_ascii();
            assert!(
                line == want,
                "host {index} owes {want_shown}, but came: {shown}"
            );
        };
        match owed {
            Owed::Report {
                client,
                location,
                digits,
            } => {
                expect(&records::reply(
                    &host.name, wall, &client, &location, &digits,
                ));
                let number = changed.map(|(number, changed)| {
                    assert_eq!(changed, line, "the journal is told something else");
                    number
                });
                let window = Window {
                    evicted: NEVER, // its own client says it
                    ..window
                };
                let heard = host.heard.hear(line, number, window);
                let heard = heard.unwrap_or_else(|wrong| panic!("host {index}: {shown} {wrong}"));
                if heard.gave_way {
                    host.note_gave_way();
                }
                let digest = host.costs.hear(line, None);
                let made = Made {
                    at: self.now,
                    effective: heard.effective,
                    digest,
                };
                self.made.entry(line.to_vec()).or_insert(made);
                self.note_evicted(index);
            }
            Owed::Question {
                client: name,
                radius,
                bound,
                line: asked,
            } => {
                let unknown = line == [b"? ", &asked[..]].concat();
                let held = (!unknown).then_some(line);
                if let Err(may_be) = host.heard.see(&name, held, window) {
                    panic!("host {index} says {shown}, holds {may_be}");
                }
                if let Some(held) = held {
                    let [latitude, longitude] = degrees(records::location(held));
                    let radius = radius.parse().expect("a number");
                    let query = [latitude, longitude, radius, bound as f64];
                    let since = self.now;
                    let reply = reserved.expect("a question is answered later");
                    client.asked.insert(reply, Question { query, since });
                }
            }
            Owed::Copy(line) => expect(&[b"? ", &line[..]].concat()),
        }
    }

    /// An answer of Twitter's, or that there is none: to a question that waits, and in time.
    pub fn client_is_answered(
        &mut self,
        index: usize,
        id: ConnectionId,
        reply: ReplyId,
        json: Arc<[u8]>,
    ) {
        let now = self.now;
        let Some(client) = self.hosts[index].clients.get_mut(&id) else {
            return; // it has vanished
        };
        let shown = json.escape_ascii();
        let question = client.asked.remove(&reply);
        let Question { query, since } = question.expect("nobody is answered twice");
        let waited = now - since;
        assert!(waited <= TWEETS_WITHIN, "tweets after {waited:?}: {shown}");
        let late = waited == TWEETS_WITHIN && json.starts_with(b"{\"error\":");
        assert!(
            late || asked(&json) == Some(query),
            "about {query:?}: {shown}"
        );
        let is_its = |due: &Due| matches!(due, Due::Reserved(id, _) if *id == reply);
        let at = client.due.iter().position(is_its);
        let at = at.expect("its place was reserved");
        client.due.insert(at + 1, Due::Line(json.to_vec()));
        let due = &mut client.due[at];
        if let Due::Reserved(_, line) = due {
            *due = Due::Line(mem::take(line));
        }
        client.output.fill(reply, b"", json, b"\n");
    }

    /// Clients were kept waiting by the disk, and are read again.
    pub fn resume_clients(&mut self, index: usize) {
        let host = &self.hosts[index];
        let waiting = host.clients.iter();
        let waiting = waiting.filter(|(_, client)| !client.input.is_empty() || client.ended);
        for id in waiting.map(|(id, _)| *id).collect::<Vec<_>>() {
            let moment = self.hosts[index].moment(index);
            self.agenda.plan(self.now, Event::Resume(moment, id));
        }
    }

    /// Clients take what has come for them: replies leave in the order of the commands, and none that
    /// is there stays behind.
    pub fn clients_take(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        for client in host.clients.values_mut().filter(|client| !client.stalled) {
            let mut taken = Vec::new();
            let flushed = client.output.flush(&mut taken, &mut BufferPool::new());
            flushed.expect("memory takes all");
            for line in taken.split_inclusive(|byte| *byte == b'\n') {
                let shown = line.escape_ascii();
                match client.due.pop_front() {
                    Some(Due::Line(due)) => {
                        let want = [&due[..], b"\n"].concat();
                        assert!(line == want, "came in place of another: {shown}");
                    }
                    _ => panic!("came before an answer: {shown}"),
                }
            }
            let next = client.due.front();
            assert!(
                matches!(next, None | Some(Due::Reserved(..))),
                "host {index} keeps a reply back"
            );
        }
        let done = |client: &Client| client.closing && client.output.is_empty();
        let done = host.clients.iter().filter(|(_, client)| done(client));
        for id in done.map(|(id, _)| *id).collect::<Vec<_>>() {
            host.clients.remove(&id);
            let (node, effects) = host.up();
            node.handle_client_lost(id, effects);
        }
    }
}

/// What an answer answers.
fn asked(json: &[u8]) -> Option<[f64; 4]> {
    let text = std::str::from_utf8(json).ok()?;
    let text = text.strip_prefix("{\"asked\":\"")?.strip_suffix("\"}")?;
    let numbers: Vec<f64> = text.split(' ').filter_map(|n| n.parse().ok()).collect();
    numbers.try_into().ok()
}

/// Latitude and longitude of a location.
fn degrees(location: &[u8]) -> [f64; 2] {
    let text = std::str::from_utf8(location).expect("it was checked");
    let text = text.trim_end_matches('/');
    let second = text[1..].find(['+', '-']).expect("it was checked") + 1;
    [&text[..second], &text[second..]].map(|number| number.parse().expect("a number"))
}
