//! Inputs from clients to a [`Node`]: reports, questions and erasures; and the answers that clients wait for.
//!
//! The driver hands on each client's line, and what comes over HTTP. A report goes into the table, and is
//! answered at once. A question waits for Twitter in `questions`.

use std::sync::Arc;
use std::time::Duration;

use super::command::{Command, IAmAt, WhatsAt};
use super::effects::{Effects, News};
use super::invalid;
use super::location::Location;
use super::machine::Node;
use super::prefetched::ClientLine;
use super::protocol::{self, TweetQuery, error_json};
use super::questions::{ANSWER_TIMEOUT, Asked, Asker, QuestionId};
use super::table::{Key, Source};
use crate::connection_id::{ConnectionId, ReplyId};
use crate::time::{Difference, Now};

/// What has become of a report.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged<'a> {
    /// Whose it is.
    pub client: &'a [u8],
    /// The `AT` line that acknowledges it, without LF.
    pub at: &'a [u8],
    /// The latest location of its client: the report itself, or a later one. `None` if none is known, since the
    /// report had expired when it came, or the client was erased.
    pub standing: Option<Location<'a>>,
}

impl Acknowledged<'_> {
    /// Whether the report is the one that stands.
    pub fn is_accepted(&self) -> bool {
        self.standing
            .is_some_and(|standing| standing.line == self.at)
    }
}

impl Node {
    /// Handles a client's line, which the client may say now ([`Node::accepts`]). If it may say no other
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

    /// Handles a report that came in another way, as the client's line that it would have been. The caller
    /// acknowledges it.
    pub fn handle_foreign_report<'a>(
        &'a mut self,
        report: &IAmAt<'a>,
        now: Now,
        effects: &mut impl Effects,
    ) -> Acknowledged<'a> {
        self.expire(now);
        let client = report.client;
        let key = self.table.key(client);
        self.counters.foreign += 1;
        let accepted = self.take_report(report, Some(key), now, effects);
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
        Acknowledged {
            client,
            at,
            standing,
        }
    }

    /// Erases a client. This server and all that are told forget what they know of it, and do not take in again
    /// what it has reported so far, wherever that comes from. Gives the `ERASED` line; `None`, and nothing is
    /// done, if nothing is known of the client.
    ///
    /// The tombstone is a nanosecond older than this turn, so that a report which follows in the same turn is
    /// later. Only where the report that is held is of this very time, the tombstone is, too: it must win over
    /// that report everywhere. What is held and too far ahead gives way to any tombstone that is not, and every
    /// neighbour would refuse one that is.
    pub fn handle_erase(
        &mut self,
        client: &[u8],
        now: Now,
        effects: &mut impl Effects,
    ) -> Option<Vec<u8>> {
        self.expire(now);
        let reported = self.table.reported(client)?;
        let just_before = now.wall.minus(Duration::from_nanos(1));
        let time = match reported > self.table.newest() {
            true => just_before,
            false => just_before.max(reported), // of two with the same time the erasure wins
        };
        let line = protocol::erased_line(&self.name, client, time);
        let erasure = protocol::parse_erased(&line)?;
        let key = self.table.key(client);
        let number = self.table.erase(key, &erasure, Source::Own)?;
        effects.changed(number, &line);
        self.note_gave_way(effects);
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
        let Some(number) = self.table.accept(key, &location, Source::Own) else {
            self.counters.outdated += 1;
            return None;
        };
        effects.changed(number, line);
        self.note_gave_way(effects);
        Some(difference)
    }

    /// Tells the links if what was held gave way to the change that was just taken in.
    #[inline(always)]
    fn note_gave_way(&mut self, effects: &mut impl Effects) {
        if let Some(effective) = self.table.take_gave_way() {
            self.links.note_gave_way(effective, effects);
        }
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
            self.counters.questions_gave_way += 1;
            self.refuse_question(greedy, effects);
        }
        match self.questions.ask(asker, query.clone(), now) {
            Asked::New(question) => effects.ask(question, query, now.after(ANSWER_TIMEOUT)),
            Asked::Joined => {}
            Asked::Full => {
                self.counters.questions_refused += 1;
                self.refuse_question(asker, effects);
            }
        }
    }

    fn refuse_question(&mut self, asker: Asker, effects: &mut impl Effects) {
        let error = "too many questions are waiting for Twitter, ask again later";
        effects.answer(asker.client, asker.reply, error_json(error));
        effects.tell(News::QuestionsFull);
    }

    /// Tells all who wait for Twitter that no answer will come, and why.
    pub fn give_up_questions(&mut self, why: &str, effects: &mut impl Effects) {
        for asker in self.questions.askers() {
            self.give_up_question(asker, why, effects);
        }
    }

    pub(super) fn give_up_question(&mut self, asker: Asker, why: &str, effects: &mut impl Effects) {
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
}
