//! Twitter, asked by a few threads so that the loop never waits.
//!
//! The server's `Shell` owns the [`Pool`] and feeds it the node's questions; the workers' answers come
//! home through the mailbox, those that need no worker by [`Pool::poll_answer`]. The queue lies on the loop's side: a worker is handed one question at a
//! time, so a question that is withdrawn is simply taken out, the queue is bounded by who may wait,
//! and no lock is ever taken on the loop.
//!
//! ```text
//!                     +---------------------+-- at once ----> poll_answer --------+
//!                     |                     |                                     v
//!   loop    ask --> cache --> waiting --> limits --> idle worker's channel     answered
//!                                                         |                       ^
//!   worker                                                +---> ureq ---> one_line --> mailbox
//! ```

pub mod answer;
pub mod api;
mod asker;
mod cache;
mod credentials;
mod limits;
mod notice;
mod options;
mod tokens;
mod worker;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Instant;

use self::asker::Asker;
use self::cache::Cache;
use self::limits::{Limits, Outcome, Permit};
use self::notice::Told;
pub use self::options::{Options, STAND_IN_ADDRESS};
use self::tokens::Tokens;
pub use self::worker::Answer;
use self::worker::{Job, Worker};
use crate::node::protocol::{TweetQuery, error_json};
use crate::node::questions::QuestionId;
use crate::time::Now;

/// How many requests may be under way at the same time.
const WORKERS: usize = 8;

/// What has become of questions so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests sent.
    pub asked: u64,
    /// Questions answered by what was heard lately.
    pub cached: u64,
    /// Requests that brought no answer.
    pub failed: u64,
}

/// The workers and what waits for them.
pub struct Pool {
    options: Options,
    limits: Limits,
    told: Told,
    notices: VecDeque<String>,
    cache: Cache,
    waiting: VecDeque<Job>,
    idle: Vec<usize>,
    workers: Vec<Sender<(Job, Permit)>>,
    /// Answers that no worker was needed for.
    ready: VecDeque<Answer>,
    counters: Counters,
}

impl Pool {
    /// Starts the workers. They ask as `options` say and leave their answers with `post`.
    ///
    /// # Errors
    /// The kernel's, if it gives no threads.
    pub fn new(
        options: &Options,
        post: impl Fn(Answer) + Clone + Send + 'static,
    ) -> std::io::Result<Pool> {
        let (asker, tokens) = (Arc::new(Asker::new(options)), Arc::<Tokens>::default());
        let mut workers = Vec::new();
        for number in 0..WORKERS {
            let (sender, jobs) = channel();
            let (asker, tokens) = (Arc::clone(&asker), Arc::clone(&tokens));
            let worker = Worker {
                number,
                asker,
                tokens,
            };
            let post = post.clone();
            thread::Builder::new()
                .name(format!("twitter-{number}"))
                .stack_size(512 * 1024)
                .spawn(move || worker.run(&jobs, &post))?;
            workers.push(sender);
        }
        Ok(Pool {
            options: options.clone(),
            limits: Limits::default(),
            told: Told::default(),
            notices: VecDeque::new(),
            cache: Cache::new(options.cached_for),
            waiting: VecDeque::new(),
            idle: (0..WORKERS).collect(),
            workers,
            ready: VecDeque::new(),
            counters: Counters::default(),
        })
    }

    /// Asks, as soon as a worker is free. What cannot be asked, may not be asked now, or has been
    /// answered lately is answered at once.
    pub fn ask(&mut self, question: QuestionId, query: TweetQuery, deadline: Instant, now: Now) {
        if let Some(json) = self.cache.find(&query, now.mono) {
            self.counters.cached += 1;
            return self.answer_at_once(question, json);
        }
        match self.options.api.search_url(&self.options.url, &query) {
            Ok(url) => self.waiting.push_back(Job {
                question,
                query,
                url,
                deadline,
            }),
            Err(why) => self.answer_at_once(question, error_json(&why)),
        }
        self.dispatch(now);
    }

    fn answer_at_once(&mut self, question: QuestionId, json: Arc<[u8]>) {
        self.ready.push_back(Answer {
            question,
            json,
            report: None,
        });
    }

    /// The next answer that no worker was needed for. To be asked in each turn: nothing wakes the loop
    /// for it.
    pub fn poll_answer(&mut self) -> Option<Answer> {
        self.ready.pop_front()
    }

    /// Takes back a question that has not been asked yet; one that has runs its course.
    pub fn withdraw(&mut self, question: QuestionId) {
        self.waiting.retain(|job| job.question != question);
    }

    /// Takes in an answer that has come home, with what it says of asking on.
    pub fn answered(&mut self, answer: Answer, now: Now) -> (QuestionId, Arc<[u8]>) {
        let Answer {
            question,
            json,
            report,
        } = answer;
        if let Some(report) = report {
            self.idle.push(report.worker);
            self.counters.failed += u64::from(report.outcome != Outcome::Answered);
            self.limits.record(report.permit, report.outcome, now);
            self.note(report.outcome, report.failure, now);
            if report.is_good {
                self.cache.insert(report.query, Arc::clone(&json), now.mono);
            }
            self.dispatch(now);
        }
        (question, json)
    }

    /// What keeps Twitter from being asked freely, or from answering what is asked, if anything does.
    pub fn trouble(&self, now: Now) -> Option<String> {
        let refused = |status| format!("it refuses the credentials (HTTP status {status})");
        let trouble = self.limits.trouble(now);
        trouble.or_else(|| self.limits.refused().map(refused))
    }

    /// What has become of questions so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What the operator should know, oldest first.
    pub fn poll_notice(&mut self) -> Option<String> {
        self.notices.pop_front()
    }

    /// Takes down for the operator what a request's outcome has changed.
    fn note(&mut self, outcome: Outcome, failure: Option<String>, now: Now) {
        let notice = match (self.limits.trouble(now), outcome) {
            (Some(trouble), _) => {
                let last = failure.map_or(String::new(), |why| format!(", the last time: {why}"));
                self.told.stopped(&format!("{trouble}{last}"))
            }
            (None, Outcome::Refused(status)) => self.told.refused(status),
            (None, Outcome::Answered) => self.told.resumed(now.mono),
            (None, _) => None, // it proves nothing yet
        };
        self.notices.extend(notice);
    }

    /// Gives idle workers what waits. While Twitter is not to be asked nothing waits for it: the
    /// answer that said so has freed a worker, which then takes out all that waits.
    fn dispatch(&mut self, now: Now) {
        while let Some(worker) = self.idle.pop() {
            let Some(job) = self.waiting.pop_front() else {
                self.idle.push(worker);
                return;
            };
            match self.limits.admit(job.deadline, now) {
                Ok(permit) => {
                    self.counters.asked += 1;
                    self.workers[worker]
                        .send((job, permit))
                        .expect("a worker lives as long as the pool holds its channel");
                }
                Err(why) => {
                    self.idle.push(worker);
                    self.answer_at_once(job.question, error_json(&why));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::location::Position;
    use crate::twitter::api::Api;
    use std::time::Duration;

    #[test]
    fn what_needs_no_worker_is_answered_without_mail() {
        let url = "x".repeat(api::URL_BYTES_MAX); // no query fits behind it
        let options = Options::new(Api::V1_0, None, None).expect("the default will do");
        let options = Options { url, ..options };
        let post = |answer| panic!("mail would wake the loop: {answer:?}");
        let mut pool = Pool::new(&options, post).expect("threads");
        let position = Position::parse(b"+00+000").expect("a position");
        let now = Now::read();
        for number in 1..=3 {
            let query = TweetQuery::new(position, b"1", 1);
            let deadline = now.after(Duration::from_secs(1));
            pool.ask(QuestionId(number), query, deadline, now);
        }
        for number in 1..=3 {
            let answer = pool.poll_answer().expect("it is there");
            let (question, json) = pool.answered(answer, now);
            assert_eq!(
                question,
                QuestionId(number),
                "in the order of the questions"
            );
            assert!(json.starts_with(b"{\"error\":"));
        }
        assert!(pool.poll_answer().is_none());
    }
}
