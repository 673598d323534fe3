//! Who waits for which answer of Twitter, and for how long.
//!
//! `Node` is the only caller. A client may wait for several answers at a time, and be given them in
//! any order. Identical questions that are open at the same time are one; each asker has a deadline of
//! its own; a question that nobody waits for any longer is withdrawn.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::protocol::TweetQuery;
use crate::connection_id::{ConnectionId, ReplyId};
use crate::time::Now;

/// How long a client waits for Twitter, queueing included, before it is told that there is none.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A question that has been open for longer is not joined but asked anew: whoever joins shares the
/// time that is left of it, and should have at least half of its own.
const JOIN_MAX: Duration = Duration::from_secs(5);

const _: () = assert!(JOIN_MAX.as_secs() * 2 <= ANSWER_TIMEOUT.as_secs());

/// The most replies that may wait for Twitter at the same time.
pub const ASKERS_MAX: usize = 1024;

/// The most of them that one client may wait for: its next line is not handled before one has come.
pub const ASKERS_PER_CLIENT_MAX: usize = 16;

/// When there are so many deadlines, the stale ones are dropped: answers may come by the million.
const DEADLINES_MAX: usize = 2 * ASKERS_MAX;

/// Names a question. No other question ever has the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuestionId(pub u64);

/// Who waits: a client, for one of its replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asker {
    /// The client.
    pub client: ConnectionId,
    /// The reply.
    pub reply: ReplyId,
}

/// All open questions.
#[derive(Debug, Default)]
pub struct Questions {
    asked: u64,
    open: BTreeMap<QuestionId, Question>,
    by_query: BTreeMap<TweetQuery, QuestionId>,
    by_asker: BTreeMap<Asker, (QuestionId, Instant)>,
    /// Deadlines in the order of asking, which is their order in time. One whose asker has been
    /// answered is stale and passed over.
    deadlines: VecDeque<(Instant, Asker)>,
}

#[derive(Debug)]
struct Question {
    query: TweetQuery,
    asked_at: Instant,
    askers: Vec<Asker>,
}

/// What became of an attempt to ask.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is a new question: Twitter is to be asked.
    New(QuestionId),
    /// The same question is open: its answer will do for both.
    Joined,
    /// As many wait as may, and no client waits for more answers than this one would.
    Full,
}

impl Questions {
    /// The replies that `client` waits for, in the order it asked.
    pub fn asked_by(&self, client: ConnectionId) -> impl Iterator<Item = Asker> {
        let asker = |reply| Asker { client, reply };
        let all = asker(ReplyId(0))..=asker(ReplyId(u64::MAX));
        self.by_asker.range(all).map(|(asker, _)| *asker)
    }

    /// Whether `client` may wait for one more.
    #[inline]
    pub fn may_ask(&self, client: ConnectionId) -> bool {
        self.by_asker.len() < ASKERS_PER_CLIENT_MAX || self.may_ask_more(client)
    }

    #[cold]
    fn may_ask_more(&self, client: ConnectionId) -> bool {
        self.asked_by(client).count() < ASKERS_PER_CLIENT_MAX
    }

    /// When as many wait as may, which asker gives way to one more of `client`: the latest of the client that
    /// waits for the most answers. `None` if there is room, or if `client` would then wait for as many itself.
    /// So a client that asks much cannot keep others from asking.
    pub fn gives_way_to(&self, client: ConnectionId) -> Option<Asker> {
        if self.by_asker.len() < ASKERS_MAX {
            return None;
        }
        let mut most: Option<(usize, Asker)> = None;
        let (mut own, mut count, mut last) = (0, 0, None);
        for asker in self.by_asker.keys() {
            count = if last == Some(asker.client) {
                count + 1
            } else {
                1
            };
            last = Some(asker.client);
            own = if asker.client == client { count } else { own };
            if most.is_none_or(|(of, _)| of <= count) {
                most = Some((count, *asker));
            }
        }
        let most = most.filter(|(count, _)| *count > own + 1);
        most.map(|(_, asker)| asker)
    }

    /// Lets `asker`, who is not waiting yet, wait for the answer to `query`.
    pub fn ask(&mut self, asker: Asker, query: TweetQuery, now: Now) -> Asked {
        debug_assert!(self.may_ask(asker.client), "its next line is kept back");
        if self.by_asker.len() >= ASKERS_MAX {
            return Asked::Full;
        }
        let deadline = now.after(ANSWER_TIMEOUT);
        let known = self.by_query.get(&query).copied();
        let known = known.filter(|id| now.mono < self.open[id].asked_at + JOIN_MAX);
        let id = known.unwrap_or_else(|| {
            self.asked += 1;
            let id = QuestionId(self.asked);
            self.by_query.insert(query.clone(), id);
            let question = Question {
                query,
                asked_at: now.mono,
                askers: Vec::new(),
            };
            self.open.insert(id, question);
            id
        });
        let question = self.open.get_mut(&id).expect("by_query names open ones");
        question.askers.push(asker);
        if self.deadlines.len() >= DEADLINES_MAX {
            self.deadlines
                .retain(|(at, of)| self.by_asker.get(of).is_some_and(|(_, until)| until == at));
        }
        self.by_asker.insert(asker, (id, deadline));
        self.deadlines.push_back((deadline, asker));
        match known {
            Some(_) => Asked::Joined,
            None => Asked::New(id),
        }
    }

    /// Closes a question and gives those who wait for it, in the order they asked.
    pub fn close(&mut self, id: QuestionId) -> Vec<Asker> {
        let Some(question) = self.open.remove(&id) else {
            return Vec::new(); // everybody had given up
        };
        if self.by_query.get(&question.query) == Some(&id) {
            self.by_query.remove(&question.query);
        }
        for asker in &question.askers {
            self.by_asker.remove(asker);
        }
        question.askers
    }

    /// Forgets `asker`. Gives the question that nobody waits for any longer, if there is one now.
    pub fn leave(&mut self, asker: Asker) -> Option<QuestionId> {
        let (id, _) = self.by_asker.remove(&asker)?;
        let question = self.open.get_mut(&id).expect("by_asker names open ones");
        question.askers.retain(|&other| other != asker);
        if !question.askers.is_empty() {
            return None;
        }
        self.close(id);
        Some(id)
    }

    /// All who wait.
    pub fn askers(&self) -> Vec<Asker> {
        self.by_asker.keys().copied().collect()
    }

    /// An asker whose time is up; it still waits until [`Questions::leave`].
    pub fn overdue(&mut self, now: Now) -> Option<Asker> {
        self.drop_stale();
        let &(deadline, asker) = self.deadlines.front()?;
        (deadline <= now.mono).then_some(asker)
    }

    /// When the next asker's time is up.
    pub fn timeout(&self) -> Option<Instant> {
        // A stale deadline in front only means to be looked at a little early.
        self.deadlines.front().map(|&(deadline, _)| deadline)
    }

    /// What always holds.
    pub fn check_invariants(&self) {
        assert!(self.by_asker.len() <= ASKERS_MAX, "too many wait");
        for asker in self.by_asker.keys() {
            let own = self.asked_by(asker.client).count();
            assert!(own <= ASKERS_PER_CLIENT_MAX, "one waits for too many");
        }
        let askers: usize = self.open.values().map(|open| open.askers.len()).sum();
        assert_eq!(askers, self.by_asker.len(), "askers without question");
        for (id, question) in &self.open {
            assert!(!question.askers.is_empty(), "nobody waits for {id:?}");
            for asker in &question.askers {
                let waits = self.by_asker.get(asker).map(|(waits, _)| waits);
                assert_eq!(waits, Some(id), "an asker waits for something else");
            }
        }
        let known = |id: &QuestionId| self.open.contains_key(id);
        assert!(
            self.by_query.values().all(known),
            "a closed question is joined"
        );
    }

    fn drop_stale(&mut self) {
        while let Some((deadline, asker)) = self.deadlines.front() {
            if self
                .by_asker
                .get(asker)
                .is_some_and(|(_, at)| at == deadline)
            {
                break;
            }
            self.deadlines.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::location::Position;

    fn client(serial: u64) -> ConnectionId {
        ConnectionId { serial, slot: 0 }
    }

    /// A client that waits for one reply.
    fn asker(serial: u64) -> Asker {
        let (client, reply) = (client(serial), ReplyId(serial));
        Asker { client, reply }
    }

    fn query(radius: &[u8]) -> TweetQuery {
        let position = Position::parse(b"+27.5916+086.5640").expect("valid");
        TweetQuery::new(position, radius, 2)
    }

    fn later(now: Now, seconds: u64) -> Now {
        Now {
            mono: now.mono + Duration::from_secs(seconds),
            wall: now.wall,
        }
    }

    #[test]
    fn identical_questions_are_one() {
        let (mut questions, now) = (Questions::default(), Now::read());
        let Asked::New(first) = questions.ask(asker(1), query(b"100"), now) else {
            panic!("it is the first");
        };
        assert_eq!(
            questions.ask(asker(2), query(b"0100.0"), now),
            Asked::Joined
        );
        let Asked::New(second) = questions.ask(asker(3), query(b"99"), now) else {
            panic!("it is another");
        };
        assert_eq!(questions.close(first), [asker(1), asker(2)]);
        let waits = |serial| questions.asked_by(client(serial)).next().is_some();
        assert!(!waits(1) && waits(3));
        assert_eq!(questions.close(first), []);
        let again = questions.ask(asker(1), query(b"100"), now);
        assert!(matches!(again, Asked::New(id) if id != first && id != second));
    }

    #[test]
    fn a_question_that_has_waited_long_is_asked_anew() {
        let (mut questions, now) = (Questions::default(), Now::read());
        let Asked::New(old) = questions.ask(asker(1), query(b"1"), now) else {
            panic!("it is the first");
        };
        assert_eq!(
            questions.ask(asker(2), query(b"1"), later(now, 4)),
            Asked::Joined
        );
        let Asked::New(new) = questions.ask(asker(3), query(b"1"), later(now, 5)) else {
            panic!("the old one has little time left");
        };
        assert_eq!(questions.close(old), [asker(1), asker(2)]);
        assert_eq!(
            questions.ask(asker(4), query(b"1"), later(now, 6)),
            Asked::Joined
        );
        assert_eq!(questions.close(new), [asker(3), asker(4)]);
    }

    #[test]
    fn the_last_to_leave_takes_the_question_along() {
        let (mut questions, now) = (Questions::default(), Now::read());
        let Asked::New(id) = questions.ask(asker(1), query(b"1"), now) else {
            panic!("it is the first");
        };
        questions.ask(asker(2), query(b"1"), now);
        assert_eq!(questions.leave(asker(1)), None);
        assert_eq!(questions.leave(asker(1)), None);
        assert_eq!(questions.leave(asker(2)), Some(id));
        assert_eq!(questions.close(id), []);
    }

    #[test]
    fn each_asker_has_a_deadline_of_its_own() {
        let (mut questions, now) = (Questions::default(), Now::read());
        questions.ask(asker(1), query(b"1"), now);
        questions.ask(asker(2), query(b"1"), later(now, 4));
        assert_eq!(questions.overdue(later(now, 9)), None);
        assert_eq!(questions.overdue(later(now, 10)), Some(asker(1)));
        assert_eq!(questions.leave(asker(1)), None);
        assert_eq!(questions.overdue(later(now, 13)), None);
        // Who asks again waits anew; the old deadline is stale.
        questions.leave(asker(2));
        questions.ask(asker(2), query(b"1"), later(now, 8));
        assert_eq!(questions.overdue(later(now, 17)), None);
        assert_eq!(questions.overdue(later(now, 18)), Some(asker(2)));
        questions.leave(asker(2));
        assert_eq!(questions.overdue(later(now, 99)), None);
        assert_eq!(questions.timeout(), None);
    }

    #[test]
    fn only_so_many_may_wait() {
        let (mut questions, now) = (Questions::default(), Now::read());
        for serial in 0..ASKERS_MAX as u64 {
            assert_ne!(questions.ask(asker(serial), query(b"1"), now), Asked::Full);
        }
        let another = asker(ASKERS_MAX as u64);
        assert_eq!(questions.ask(another, query(b"1"), now), Asked::Full);
        questions.leave(asker(0));
        assert_eq!(questions.ask(another, query(b"1"), now), Asked::Joined);
    }

    #[test]
    fn who_waits_for_most_gives_way_to_who_waits_for_less() {
        let (mut questions, now) = (Questions::default(), Now::read());
        let of = |serial, reply| {
            let reply = ReplyId(reply);
            let client = client(serial);
            Asker { client, reply }
        };
        let greedy = ASKERS_MAX as u64 / 16;
        for serial in 1..=greedy {
            assert_eq!(questions.gives_way_to(client(99)), None, "there is room");
            for reply in 0..16 {
                let radius = format!("{serial}.{reply}");
                questions.ask(of(serial, reply), query(radius.as_bytes()), now);
            }
        }
        let mut victims = Vec::new();
        for reply in 0..15 {
            let victim = questions.gives_way_to(client(99)).expect("others have 16");
            assert_ne!(victim.client, client(99));
            assert!(
                questions.leave(victim).is_some(),
                "nobody else waits for it"
            );
            victims.push(victim);
            let asked = questions.ask(of(99, reply), query(b"7"), now);
            assert_ne!(asked, Asked::Full);
            questions.check_invariants();
        }
        let last: Vec<_> = (greedy - 14..=greedy)
            .rev()
            .map(|serial| of(serial, 15))
            .collect();
        assert_eq!(victims, last, "the latest of each");
        assert_eq!(
            questions.gives_way_to(client(99)),
            None,
            "it would have as many"
        );
        assert_eq!(questions.gives_way_to(client(greedy)), None, "so would it");
    }

    #[test]
    fn deadlines_of_those_who_were_answered_do_not_pile_up() {
        let (mut questions, now) = (Questions::default(), Now::read());
        questions.ask(asker(1), query(b"1"), now);
        for _ in 0..10 * DEADLINES_MAX {
            let Asked::New(id) = questions.ask(asker(2), query(b"2"), now) else {
                panic!("it was answered");
            };
            questions.close(id);
            assert!(questions.deadlines.len() <= DEADLINES_MAX);
        }
        let overdue = questions.overdue(later(now, 10));
        assert_eq!(overdue, Some(asker(1)), "who waits is not forgotten");
    }
}
