//! A sink that keeps a node's effects, one after the other, until a test looks at them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use herd::connection_id::{ConnectionId, ReplyId};
use herd::node::effects::{Effects, LinkId, LogPolicy, News};
use herd::node::protocol::{Mark, TweetQuery};
use herd::node::questions::QuestionId;
use herd::topology::ServerName;

/// One effect, with nothing borrowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    Reply(ConnectionId, Vec<u8>),
    Reserve(ConnectionId, ReplyId, Vec<u8>),
    Answer(ConnectionId, ReplyId, Arc<[u8]>),
    Send {
        to: ConnectionId,
        link: Option<LinkId>,
        line: Vec<u8>,
        policy: LogPolicy,
    },
    Dial(LinkId),
    CancelDial(LinkId),
    Lose(ConnectionId, String),
    Abort(ConnectionId, String),
    Ask(QuestionId, TweetQuery, Instant),
    Withdraw(QuestionId),
    Changed(u64, Vec<u8>),
    Known(ServerName, Option<Mark>),
    Marked(ServerName, u64),
    LinkUp(LinkId),
    LinkDown(LinkId),
    /// Only the operator is told.
    Tell(String),
}

/// Keeps effects.
#[derive(Clone, Debug, Default)]
pub struct Recorder(pub VecDeque<Effect>);

impl Recorder {
    /// All that have not been taken.
    pub fn take(&mut self) -> VecDeque<Effect> {
        std::mem::take(&mut self.0)
    }

    fn push(&mut self, effect: Effect) {
        self.0.push_back(effect);
    }
}

impl Effects for Recorder {
    fn reply(&mut self, client: ConnectionId, line: &[u8]) {
        let line = line.strip_suffix(b"\n").expect("a reply ends with its LF");
        self.push(Effect::Reply(client, line.to_vec()));
    }

    fn reserve(&mut self, client: ConnectionId, reply: ReplyId, line: &[u8]) {
        self.push(Effect::Reserve(client, reply, line.to_vec()));
    }

    fn answer(&mut self, client: ConnectionId, reply: ReplyId, json: Arc<[u8]>) {
        self.push(Effect::Answer(client, reply, json));
    }

    fn send(&mut self, to: ConnectionId, link: Option<LinkId>, line: &[u8], policy: LogPolicy) {
        let line = line.to_vec();
        self.push(Effect::Send {
            to,
            link,
            line,
            policy,
        });
    }

    fn dial(&mut self, link: LinkId) {
        self.push(Effect::Dial(link));
    }

    fn cancel_dial(&mut self, link: LinkId) {
        self.push(Effect::CancelDial(link));
    }

    fn lose(&mut self, connection: ConnectionId, reason: &str) {
        self.push(Effect::Lose(connection, reason.to_owned()));
    }

    fn abort(&mut self, connection: ConnectionId, reason: &str) {
        self.push(Effect::Abort(connection, reason.to_owned()));
    }

    fn ask(&mut self, question: QuestionId, query: TweetQuery, deadline: Instant) {
        self.push(Effect::Ask(question, query, deadline));
    }

    fn withdraw(&mut self, question: QuestionId) {
        self.push(Effect::Withdraw(question));
    }

    fn changed(&mut self, number: u64, line: &[u8]) {
        self.push(Effect::Changed(number, line.to_vec()));
    }

    fn known(&mut self, neighbour: &ServerName, known: Option<Mark>) {
        self.push(Effect::Known(neighbour.clone(), known));
    }

    fn marked(&mut self, neighbour: &ServerName, number: u64) {
        self.push(Effect::Marked(neighbour.clone(), number));
    }

    fn tell(&mut self, news: News<'_>) {
        self.push(match news {
            News::LinkUp(link) => Effect::LinkUp(link),
            News::LinkDown(link, _) => Effect::LinkDown(link),
            News::Unreachable(..)
            | News::ClockOff(..)
            | News::ClockRight(_)
            | News::OwnClock(_)
            | News::Refused { .. }
            | News::QuestionsFull
            | News::Invalid { .. } => Effect::Tell(format!("{news:?}")),
        });
    }
}
