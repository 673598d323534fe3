//! Twitter, asked by a few threads so that the loop never waits.
//!
//! `Server` owns the [`Pool`] and feeds it the node's questions; answers come home through the
//! mailbox. The queue lies on the loop's side: a worker is handed one question at a time, so a
//! question that is withdrawn is simply taken out, the queue is bounded by who may wait, and no
//! lock is ever taken on the loop.
//!
//! ```text
//!   loop    ask --> cache --> waiting --> limits --> idle worker's channel     mailbox --> answered
//!                     |                     |             |                      ^  ^
//!                     +---------------------+-------------|-- at once -----------+  |
//!   worker                                                +---> ureq ---> one_line -+
//! ```

mod answer;
pub mod api;
mod cache;
mod credentials;
mod limits;
mod worker;

use std::collections::VecDeque;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::Uri;
use ureq::tls::{Certificate, PemItem, parse_pem};

use self::api::Api;
use self::cache::Cache;
use self::credentials::Credentials;
use self::limits::{Limits, Outcome, Permit};
use self::worker::Asker;
use crate::node::error_json;
use crate::node::protocol::TweetQuery;
use crate::node::questions::QuestionId;
use crate::time::Now;

/// How many requests may be under way at the same time.
const WORKERS: usize = 8;

/// Where `herd twitter` listens unless told otherwise.
pub const STAND_IN_ADDRESS: &str = "127.0.0.1:12599";

/// The environment's name for a file of certificates to trust instead of the built-in ones, known
/// from OpenSSL and curl.
const ROOTS_VARIABLE: &str = "SSL_CERT_FILE";

/// How Twitter is asked.
#[derive(Clone, Debug)]
pub struct Options {
    api: Api,
    /// The search address, to which the query is added.
    url: String,
    /// Scheme, host and port of the search address.
    origin: String,
    is_loopback: bool,
    credentials: Option<Credentials>,
    /// The certificates trusted; `None`: those that Mozilla trusts.
    roots: Option<Arc<Vec<Certificate<'static>>>>,
    /// How long an answer serves who asks the same; zero: not at all.
    cached_for: Duration,
}

impl Options {
    /// Asks `api` at `url`, or if none is given at the stand-in on this machine. What the API
    /// needs of credentials comes from `credentials_file`, or else from the environment.
    ///
    /// # Errors
    /// One line that says what is missing or wrong; never a credential.
    pub fn new(
        api: Api,
        url: Option<&str>,
        credentials_file: Option<&Path>,
    ) -> Result<Options, String> {
        let stand_in = format!("http://{STAND_IN_ADDRESS}{}", api.path());
        let url = url.unwrap_or(&stand_in);
        let refused = |why: &str| format!("--twitter-url '{}': {why}", url.escape_debug());
        let uri = check_url(url).map_err(|error| refused(&error))?;
        let host = uri.host().unwrap_or_default();
        let is_loopback = is_loopback(host);
        let is_https = uri.scheme_str() == Some("https");
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let credentials = match (api.wants_token(), credentials_file) {
            (false, None) => None,
            (false, Some(_)) => {
                return Err("--twitter-credentials: Twitter's API 1.0 takes none".to_owned());
            }
            (true, _) if authority.contains('@') => {
                return Err("--twitter-url: credentials do not belong into an address".to_owned());
            }
            (true, _) if !is_https && !is_loopback => {
                return Err(refused("a token is sent by https only, or to this machine"));
            }
            (true, file) => {
                let found = Credentials::read(file, |name| std::env::var(name).ok());
                let name = api.name();
                let found = found
                    .map_err(|error| format!("Twitter's API {name} wants credentials: {error}"))?;
                Some(found)
            }
        };
        Ok(Options {
            api,
            url: url.to_owned(),
            origin: format!("{}://{authority}", if is_https { "https" } else { "http" }),
            is_loopback,
            credentials,
            roots: if is_https { roots()? } else { None },
            cached_for: Duration::ZERO,
        })
    }

    /// Lets an answer serve whoever asks the same within `lifetime`.
    #[must_use]
    pub fn cached_for(self, lifetime: Duration) -> Options {
        Options {
            cached_for: lifetime,
            ..self
        }
    }
}

/// Reads a search address: `http` or `https`, and a host.
fn check_url(url: &str) -> Result<Uri, String> {
    let uri: Uri = url
        .parse()
        .map_err(|error| format!("it is no URL: {error}"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(uri),
        _ => Err("http://HOST… or https://HOST… is wanted".to_owned()),
    }
}

/// Whether what is sent to `host` stays on this machine.
fn is_loopback(host: &str) -> bool {
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let address: Result<IpAddr, _> = address.unwrap_or(host).parse();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// The certificates of the file that the environment names, if it names one.
fn roots() -> Result<Option<Arc<Vec<Certificate<'static>>>>, String> {
    let Some(path) = std::env::var_os(ROOTS_VARIABLE).filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let shown = Path::new(&path).display().to_string();
    let refused = |why: &str| format!("{ROOTS_VARIABLE} {}: {why}", shown.escape_debug());
    let pem = fs::read(&path).map_err(|error| refused(&error.to_string()))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(refused(&error.to_string())),
        }
    }
    match certificates.is_empty() {
        true => Err(refused("it holds no certificate")),
        false => Ok(Some(Arc::new(certificates))),
    }
}

/// An answer, or why there is none, as one line of JSON.
#[derive(Debug)]
pub struct Answer {
    /// To which question.
    question: QuestionId,
    /// The line, without LF.
    json: Arc<[u8]>,
    /// What a worker that is free again makes known; `None` if none was given the question.
    report: Option<Report>,
}

/// What a worker makes known besides the answer.
#[derive(Debug)]
struct Report {
    worker: usize,
    query: TweetQuery,
    permit: Permit,
    outcome: Outcome,
    /// Whether the answer may serve others.
    is_good: bool,
}

/// The workers and what waits for them.
pub struct Pool {
    options: Options,
    limits: Limits,
    cache: Cache,
    waiting: VecDeque<Job>,
    idle: Vec<usize>,
    workers: Vec<Sender<(Job, Permit)>>,
    post: Box<dyn Fn(Answer)>,
}

#[derive(Debug)]
struct Job {
    question: QuestionId,
    query: TweetQuery,
    /// The address that asks it.
    url: String,
    deadline: Instant,
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
        let asker = Arc::new(Asker::new(options));
        let mut workers = Vec::new();
        for number in 0..WORKERS {
            let (sender, jobs) = channel();
            let (asker, post) = (Arc::clone(&asker), post.clone());
            thread::Builder::new()
                .name(format!("twitter-{number}"))
                .stack_size(512 * 1024)
                .spawn(move || asker.run(number, &jobs, &post))?;
            workers.push(sender);
        }
        Ok(Pool {
            options: options.clone(),
            limits: Limits::default(),
            cache: Cache::new(options.cached_for),
            waiting: VecDeque::new(),
            idle: (0..WORKERS).collect(),
            workers,
            post: Box::new(post),
        })
    }

    /// Asks, as soon as a worker is free. What cannot be asked, may not be asked now, or has been
    /// answered lately is answered at once.
    pub fn ask(&mut self, question: QuestionId, query: TweetQuery, deadline: Instant, now: Now) {
        if let Some(json) = self.cache.find(&query, now.mono) {
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

    fn answer_at_once(&self, question: QuestionId, json: Arc<[u8]>) {
        (self.post)(Answer {
            question,
            json,
            report: None,
        });
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
            self.limits.record(report.permit, report.outcome, now);
            if report.is_good {
                self.cache.insert(report.query, Arc::clone(&json), now.mono);
            }
            self.dispatch(now);
        }
        (question, json)
    }

    /// Gives idle workers what waits. While Twitter is not to be asked nothing waits for it.
    fn dispatch(&mut self, now: Now) {
        while let Some(worker) = self.idle.pop() {
            let Some(job) = self.waiting.pop_front() else {
                self.idle.push(worker);
                return;
            };
            match self.limits.admit(job.deadline, now) {
                Ok(permit) => self.workers[worker]
                    .send((job, permit))
                    .expect("a worker lives as long as the pool holds its channel"),
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
}
