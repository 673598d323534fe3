//! One thread that asks Twitter: a question at a time, a line of JSON home for each.
//!
//! `Pool` starts them and hands each a question at a time. A worker obtains a token first where
//! only a key and its secret are known; all workers share it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use super::asker::{Asker, Failure, Reply};
use super::limits::{Outcome, Permit};
use super::tokens::{Token, Tokens};
use crate::node::protocol::TweetQuery;
use crate::node::questions::QuestionId;

/// What a worker is given to do.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) question: QuestionId,
    pub(super) query: TweetQuery,
    /// The address that asks it.
    pub(super) url: String,
    pub(super) deadline: Instant,
}

/// An answer, or why there is none, as one line of JSON.
#[derive(Debug)]
pub struct Answer {
    /// To which question.
    pub(super) question: QuestionId,
    /// The line, without LF.
    pub(super) json: Arc<[u8]>,
    /// What a worker that is free again makes known; `None` if none was given the question.
    pub(super) report: Option<Report>,
}

/// What a worker makes known besides the answer.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) worker: usize,
    pub(super) query: TweetQuery,
    pub(super) permit: Permit,
    pub(super) outcome: Outcome,
    /// Why there was no answer, in words, if there was none.
    pub(super) failure: Option<String>,
    /// Whether the answer may serve others.
    pub(super) is_good: bool,
}

/// One of those who ask.
pub(super) struct Worker {
    /// Its place among them.
    pub(super) number: usize,
    pub(super) asker: Arc<Asker>,
    pub(super) tokens: Arc<Tokens>,
}

impl Worker {
    /// Answers questions until the pool is gone.
    pub(super) fn run(self, jobs: &Receiver<(Job, Permit)>, post: &impl Fn(Answer)) {
        while let Ok((job, permit)) = jobs.recv() {
            let began = Instant::now();
            // A bug, ours or a library's, must cost one answer, not a worker.
            let reply = catch_unwind(AssertUnwindSafe(|| self.answer(&job)));
            let failed = Failure::NotAsked("asking it failed".to_owned());
            let (json, outcome, failure, is_good) = match reply.unwrap_or(Err(failed)) {
                Ok(reply) => (reply.line.into(), reply.outcome, None, reply.is_good),
                Err(failure) => {
                    let had = job.deadline.saturating_duration_since(began);
                    let (json, outcome) = (failure.json(), failure.outcome(had));
                    (json, outcome, Some(failure.to_string()), false)
                }
            };
            let report = Some(Report {
                worker: self.number,
                query: job.query,
                permit,
                outcome,
                failure,
                is_good,
            });
            post(Answer {
                question: job.question,
                json,
                report,
            });
        }
    }

    fn answer(&self, job: &Job) -> Result<Reply, Failure> {
        let (token, is_kept) = match self.tokens.token(&self.asker, job.deadline)? {
            Token::None => (None, false),
            Token::Held(token) => (Some(token), false),
            Token::Kept(token) => (Some(token), true),
            Token::Refused(reply) => return Ok(reply),
        };
        let mut response = self.asker.get(&job.url, token.as_ref(), job.deadline)?;
        let is_refused = response.status().as_u16() == 401;
        if let Some(token) = token.filter(|_| is_refused) {
            self.tokens.forget(&token);
        }
        let mut reply = self.asker.reply(&mut response, job.query.bound)?;
        if is_refused && is_kept {
            reply.outcome = Outcome::Inconclusive; // the next question's token will show it
        }
        Ok(reply)
    }
}
