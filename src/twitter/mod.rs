//! Twitter, asked by a few threads so that the loop never waits.
//!
//! `Server` owns the [`Pool`] and feeds it the node's questions; answers come home through the
//! mailbox. The queue lies on the loop's side: a worker is handed one question at a time, so a
//! question that is withdrawn is simply taken out, the queue is bounded by who may wait, and no
//! lock is ever taken on the loop.
//!
//! ```text
//!   loop    ask --> waiting --> idle worker's channel        mailbox --> answered
//!                                        |                      ^
//!   worker                               +---> ureq ---> one_line
//! ```

mod answer;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::Uri;

use crate::node::error_json;
use crate::node::protocol::TweetQuery;
use crate::node::questions::QuestionId;

/// How many requests may be under way at the same time.
const WORKERS: usize = 8;

/// A connection to Twitter must be made within this time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest answer taken in.
const BODY_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What Twitter asked its clients to say of themselves.
const USER_AGENT: &str = concat!("herd/", env!("CARGO_PKG_VERSION"));

/// Checks a search address before anybody asks it: `http` or `https`, and a host.
///
/// # Errors
/// Says what is wanted.
pub fn check_url(url: &str) -> Result<(), String> {
    let uri: Uri = url
        .parse()
        .map_err(|error| format!("it is no URL: {error}"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(()),
        _ => Err("http://HOST… or https://HOST… is wanted".to_owned()),
    }
}

/// An answer, or why there is none, as one line of JSON.
#[derive(Debug)]
pub struct Answer {
    /// To which question.
    pub question: QuestionId,
    /// The line, without LF.
    pub json: Arc<[u8]>,
    /// Which worker is free again.
    worker: usize,
}

/// The workers and what waits for them.
#[derive(Debug)]
pub struct Pool {
    waiting: VecDeque<Job>,
    idle: Vec<usize>,
    workers: Vec<Sender<Job>>,
}

#[derive(Debug)]
struct Job {
    question: QuestionId,
    query: TweetQuery,
    deadline: Instant,
}

impl Pool {
    /// Starts the workers. They ask `url` and leave their answers with `post`.
    ///
    /// # Errors
    /// The kernel's, if it gives no threads.
    pub fn new(url: &str, post: impl Fn(Answer) + Clone + Send + 'static) -> std::io::Result<Pool> {
        let agent = agent();
        let mut workers = Vec::new();
        for number in 0..WORKERS {
            let (sender, jobs) = channel();
            let worker = Worker {
                number,
                agent: agent.clone(),
                url: url.to_owned(),
            };
            let post = post.clone();
            thread::Builder::new()
                .name(format!("twitter-{number}"))
                .stack_size(512 * 1024)
                .spawn(move || worker.run(&jobs, &post))?;
            workers.push(sender);
        }
        Ok(Pool {
            waiting: VecDeque::new(),
            idle: (0..WORKERS).collect(),
            workers,
        })
    }

    /// Asks, as soon as a worker is free.
    pub fn ask(&mut self, question: QuestionId, query: TweetQuery, deadline: Instant) {
        self.waiting.push_back(Job {
            question,
            query,
            deadline,
        });
        self.dispatch();
    }

    /// Takes back a question that has not been asked yet; one that has runs its course.
    pub fn withdraw(&mut self, question: QuestionId) {
        self.waiting.retain(|job| job.question != question);
    }

    /// Notes that an answer has come home.
    pub fn answered(&mut self, answer: &Answer) {
        self.idle.push(answer.worker);
        self.dispatch();
    }

    fn dispatch(&mut self) {
        while let Some(worker) = self.idle.pop() {
            let Some(job) = self.waiting.pop_front() else {
                self.idle.push(worker);
                return;
            };
            self.workers[worker]
                .send(job)
                .expect("a worker lives as long as the pool holds its channel");
        }
    }
}

fn agent() -> Agent {
    Agent::config_builder()
        .user_agent(USER_AGENT)
        .http_status_as_error(false) // an error of Twitter's own has a body to pass on
        .proxy(None) // the address given is the one asked
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .build()
        .into()
}

struct Worker {
    number: usize,
    agent: Agent,
    url: String,
}

impl Worker {
    fn run(self, jobs: &Receiver<Job>, post: &impl Fn(Answer)) {
        while let Ok(job) = jobs.recv() {
            // A bug, ours or a library's, must cost one answer, not a worker.
            let answer = catch_unwind(AssertUnwindSafe(|| self.answer(&job)));
            let json = match answer.unwrap_or_else(|_| Err("asking it failed".to_owned())) {
                Ok(line) => line.into(),
                Err(why) => error_json(&format!("Twitter cannot be had: {why}")),
            };
            post(Answer {
                question: job.question,
                json,
                worker: self.number,
            });
        }
    }

    fn answer(&self, job: &Job) -> Result<Vec<u8>, String> {
        let left = job.deadline.saturating_duration_since(Instant::now());
        let mut response = self
            .agent
            .get(search_url(&self.url, &job.query))
            .config()
            .timeout_global(Some(left.max(Duration::from_millis(1))))
            .build()
            .call()
            .map_err(|error| in_words(&error))?;
        let status = response.status();
        let body = response
            .body_mut()
            .with_config()
            .limit(BODY_BYTES_MAX)
            .read_to_vec()
            .map_err(|error| in_words(&error))?;
        answer::one_line(&body, job.query.bound)
            .map_err(|why| format!("its answer (HTTP status {}) is {why}", status.as_u16()))
    }
}

fn in_words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => "it did not answer in time".to_owned(),
        ureq::Error::BodyExceedsLimit(_) => {
            format!("its answer is over {BODY_BYTES_MAX} bytes")
        }
        other => other.to_string(),
    }
}

/// The request of the Search API 1.0: `geocode` is `latitude,longitude,radius`, its commas
/// percent-encoded as in Twitter's own examples.
fn search_url(url: &str, query: &TweetQuery) -> String {
    let TweetQuery {
        latitude,
        longitude,
        radius_km,
        bound,
    } = query;
    let (url, _fragment) = url.split_once('#').unwrap_or((url, "")); // it is never sent
    let join = if url.contains('?') { '&' } else { '?' };
    format!("{url}{join}q=&geocode={latitude}%2C{longitude}%2C{radius_km}km&rpp={bound}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::location::Position;

    #[test]
    fn search_addresses() {
        for (url, good) in [
            ("http://127.0.0.1:12599/search.json", true),
            ("https://search.twitter.com/search.json?lang=en", true),
            ("http://[::1]:80", true),
            ("127.0.0.1:12599/search.json", false),
            ("ftp://127.0.0.1/search.json", false),
            ("http:///search.json", false),
            ("search.json", false),
            ("", false),
        ] {
            assert_eq!(check_url(url).is_ok(), good, "{url}");
        }
    }

    #[test]
    fn the_request_of_search_1_0() {
        let position = Position::parse(b"+27.5916-086.5640").expect("valid");
        let query = TweetQuery::new(position, b"0100.50", 2);
        for (url, start) in [
            (
                "http://127.0.0.1:12599/search.json",
                "http://127.0.0.1:12599/search.json?",
            ),
            ("http://h/s?lang=en", "http://h/s?lang=en&"),
            ("http://h/s#part", "http://h/s?"),
        ] {
            assert_eq!(
                search_url(url, &query),
                format!("{start}q=&geocode=27.5916%2C-86.564%2C100.5km&rpp=2")
            );
        }
    }
}
