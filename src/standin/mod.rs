//! The stand-in for Twitter: a real HTTP server with real geographic search over synthetic tweets,
//! so that a herd works with no network and no account.
//!
//! `main` makes one and runs it. It turns on the same reactor as the servers do, and speaks the same
//! HTTP.
//!
//! | File | What |
//! |---|---|
//! | `query`, `terms`, `form` | what is asked; its words; how a URL has it |
//! | `search`, `search_1_1`, `search_2` | what each API answers |
//! | `json` | how Twitter wrote JSON |
//! | `account` | who may ask |
//! | `tweets`, `places`, `words` | what is found: tweets, invented; where; in which words |
//! | `import` | tweets that are given instead |
//! | `faults` | what is to go wrong |

pub mod account;
pub mod faults;
mod form;
pub mod import;
mod json;
mod places;
pub mod query;
pub mod search;
pub mod search_1_1;
pub mod search_2;
mod terms;
pub mod tweets;
mod words;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use self::faults::{Allowance, Delivery, Faults};
use self::query::Search;
use self::tweets::Tweet;
use crate::cause;
use crate::connection_id::ConnectionId;
use crate::http::{
    CONTINUE, Codec, Date, Deadlines, Manner, Method, Refusal, Request, Response, Step, Timeout,
    reason,
};
use crate::net::connection::Role;
use crate::net::transport::{Offer, Received};
use crate::net::{Event, Limits, Listening, READ_BYTES_MAX, Reactor};
use crate::time::Timestamp;
use crate::twitter::api::Api;

/// Where a key and its secret are given for a token.
const TOKEN_PATH: &str = "/oauth2/token";

/// More connections than any herd makes.
const LIMITS: Limits = Limits {
    all: 4096,
    own: 4096,
};

/// Told to stop.
struct Stop;

/// What all connections are for: to be asked about tweets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asking;

impl Role for Asking {
    type Codec = Codec;

    fn codec(self) -> Codec {
        Codec::default()
    }
}

/// What is sent in answer to a request.
struct Answer {
    status: u16,
    fields: Vec<(&'static str, String)>,
    body: String,
}

/// A response of which something is still to leave, later.
struct Deferred {
    connection: ConnectionId,
    bytes: Vec<u8>,
    /// Those before this place have left.
    sent: usize,
    /// Where the body begins.
    body: usize,
    delivery: Delivery,
    keep_alive: bool,
}

/// When something deferred is due, and a number that tells apart what is due at once.
type Due = (Instant, u64);

/// The stand-in, listening.
pub struct StandIn {
    reactor: Reactor<Asking, Stop>,
    listening: Listening,
    tweets: Vec<Tweet>,
    faults: Faults,
    deadlines: Deadlines,
    deferred: BTreeMap<Due, Deferred>,
    /// The connections that something is deferred for: their next requests wait.
    busy: BTreeMap<ConnectionId, Due>,
    numbers: u64,
    date: Date,
    scratch: Vec<u8>,
}

impl StandIn {
    /// Listens at `address`, host and port, with these tweets, newest first.
    ///
    /// # Errors
    /// The kernel's, or the resolver's.
    pub fn start(address: &str, tweets: Vec<Tweet>, faults: Faults) -> io::Result<StandIn> {
        let mut reactor = Reactor::new()?;
        let listening = reactor.listen_at(address, Asking, LIMITS, &Offer::Plain)?;
        let mailbox = reactor.mailbox();
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || signals.forever().for_each(|_| mailbox.post(Stop)))?;
        Ok(StandIn {
            reactor,
            listening,
            tweets,
            faults,
            deadlines: Deadlines::default(),
            deferred: BTreeMap::new(),
            busy: BTreeMap::new(),
            numbers: 0,
            date: Date::default(),
            scratch: vec![0; READ_BYTES_MAX],
        })
    }

    /// Serves until told to stop.
    ///
    /// # Errors
    /// The poll's: nothing can go on then.
    pub fn run(mut self) -> io::Result<()> {
        let Listening { bound, failed, .. } = &self.listening;
        let mut told = String::new();
        for (address, error) in failed {
            let why = cause::of(error);
            told += &format!("twitter: cannot listen on {address}: {why}\n");
        }
        for address in bound {
            told += &format!("twitter: listening on {address}\n");
        }
        let _ = write!(io::stderr(), "{told}");
        loop {
            self.reactor.flush();
            let due = self.deferred.first_key_value();
            let due = due.map(|((at, _), _)| *at);
            let wake_at = due.into_iter().chain(self.deadlines.next()).min();
            self.reactor.turn(wake_at)?;
            while let Some(event) = self.reactor.poll_event() {
                match event {
                    Event::Made(id, Asking) => self.begin(id),
                    Event::Lost { id, .. } => self.forget(id),
                    Event::AcceptFailed(_) | Event::OutputFull | Event::InputFull => {}
                }
            }
            for _ in 0..self.reactor.ready_len() {
                if let Some((id, Asking)) = self.reactor.poll_ready() {
                    self.serve(id);
                }
            }
            let now = Instant::now();
            self.send_due(now);
            self.close_slow(now);
            if let Some(Stop) = self.reactor.poll_mail() {
                self.reactor.flush();
                return Ok(());
            }
        }
    }

    fn begin(&mut self, id: ConnectionId) {
        let now = Instant::now();
        self.idle_from(id, now);
        self.deadlines.push(id, None, now);
    }

    /// Lets the client say its next request from `now` on.
    fn idle_from(&mut self, id: ConnectionId, now: Instant) {
        self.reactor.decode(id, |codec, _| codec.idle_from(now));
    }

    fn forget(&mut self, id: ConnectionId) {
        if let Some(due) = self.busy.remove(&id) {
            self.deferred.remove(&due);
        }
    }

    fn serve(&mut self, id: ConnectionId) {
        let mut scratch = std::mem::take(&mut self.scratch);
        if self.serve_requests(id, &[]) {
            match self.reactor.read(id, &mut scratch) {
                Received::Bytes(n) => _ = self.serve_requests(id, &scratch[..n]),
                Received::Drained => {}
                Received::End => self.reactor.lose(id, "closed by the client"),
            }
        }
        self.scratch = scratch;
    }

    /// Answers what is whole. `false` if the rest must wait, and is buffered, or is of no interest.
    fn serve_requests(&mut self, id: ConnectionId, chunk: &[u8]) -> bool {
        let Some(mut input) = self.reactor.take_input(id, chunk) else {
            self.reactor.pause(id, &[]);
            return false;
        };
        let mut rest = input.as_bytes();
        let must_wait = loop {
            if !self.reactor.takes_replies(id) || self.busy.contains_key(&id) {
                break true;
            }
            let now = Instant::now();
            let step = self
                .reactor
                .decode(id, |codec, _| codec.next(&mut rest, now));
            match step {
                None | Some(Step::More) => break false,
                Some(Step::Continue) => self.reactor.send(id, &[CONTINUE]),
                Some(Step::Request(request)) => self.answer(id, &request),
                Some(Step::Refuse(refusal)) => self.refuse(id, refusal),
            }
        };
        let handled = input.len() - rest.len();
        input.consume(handled);
        self.reactor.put_back(id, input);
        if must_wait {
            self.reactor.pause(id, &[]);
        }
        !must_wait
    }

    /// Closes connections whose clients take too long.
    fn close_slow(&mut self, now: Instant) {
        while let Some(id) = self.deadlines.due(now) {
            let looked = self
                .reactor
                .decode(id, |codec, _| (codec.time_out(now), codec.deadline()));
            match looked {
                None => {} // it has gone
                Some((None, deadline)) => self.deadlines.push(id, deadline, now),
                Some((Some(Timeout::Refuse(refusal)), _)) => self.refuse(id, refusal),
                Some((Some(Timeout::Close), _)) => self.reactor.lose(id, "asked nothing for long"),
            }
        }
    }

    fn refuse(&mut self, id: ConnectionId, refusal: Refusal) {
        let answer = Answer {
            status: refusal.status,
            fields: Vec::new(),
            body: search::error_body(refusal.message),
        };
        self.respond(id, &answer, Manner::LAST);
    }

    fn answer(&mut self, id: ConnectionId, request: &Request<'_>) {
        let began = Instant::now();
        let api = api_at(request.path);
        let allowance = self.faults.count(began);
        let refused = match allowance {
            Some(allowance) if allowance.is_exceeded && api == Some(Api::V1_0) => Some(420),
            Some(allowance) if allowance.is_exceeded => Some(429),
            _ => self.faults.status(),
        };
        let (status, body) = match refused {
            Some(status) => (status, error_body(api, status)),
            None => content(&self.tweets, request, || began.elapsed()),
        };
        let mut fields = allowance.map_or(Vec::new(), |allowance| allowance_fields(api, allowance));
        if status == 405 {
            fields.push(("Allow", "GET, HEAD".to_owned())); // RFC 9110 section 15.5.6
        }
        let body = self.faults.body(body);
        let answer = Answer {
            status,
            fields,
            body,
        };
        // A client that POSTs where it must not has perhaps not understood the rest either.
        let keep_alive = request.manner.keep_alive && status != 405;
        let manner = Manner {
            keep_alive,
            ..request.manner
        };
        self.respond(id, &answer, manner);
    }

    fn respond(&mut self, id: ConnectionId, answer: &Answer, manner: Manner) {
        let response = Response {
            status: answer.status,
            content_type: "application/json;charset=utf-8",
            fields: &answer.fields,
            date: self.date.at(Timestamp::system().seconds()),
        };
        let mut bytes = Vec::new();
        response.write(&mut bytes, answer.body.as_bytes(), manner);
        let treatment = self.faults.treatment();
        let body = match manner.head_only {
            true => bytes.len(),
            false => bytes.len() - answer.body.len(),
        };
        let deferred = Deferred {
            connection: id,
            bytes,
            sent: 0,
            body,
            delivery: treatment.delivery,
            keep_alive: manner.keep_alive,
        };
        match treatment.delay.is_zero() {
            true => self.deliver(deferred),
            false => self.defer(deferred, Instant::now() + treatment.delay),
        }
    }

    fn defer(&mut self, deferred: Deferred, at: Instant) {
        self.numbers += 1;
        let due = (at, self.numbers);
        self.busy.insert(deferred.connection, due);
        self.deferred.insert(due, deferred);
    }

    /// Sends what was to wait until now.
    fn send_due(&mut self, now: Instant) {
        while let Some(entry) = self.deferred.first_entry()
            && entry.key().0 <= now
        {
            let deferred = entry.remove();
            self.busy.remove(&deferred.connection);
            self.deliver(deferred);
        }
    }

    /// Sends as much of a response as may leave now.
    fn deliver(&mut self, mut deferred: Deferred) {
        let id = deferred.connection;
        let (sent, body, end) = (deferred.sent, deferred.body, deferred.bytes.len());
        let (upto, every) = match deferred.delivery {
            Delivery::None => return self.reactor.abort(id, "a fault"),
            Delivery::Whole => (end, None),
            Delivery::Half => (body + (end - body) / 2, None),
            Delivery::Drip(_) if sent == 0 => (body, Some(Duration::ZERO)),
            Delivery::Drip(every) => (sent + 1, Some(every)),
        };
        self.reactor.send(id, &[&deferred.bytes[sent..upto]]);
        deferred.sent = upto;
        match every {
            Some(every) if upto < end => self.defer(deferred, Instant::now() + every),
            _ if deferred.keep_alive && deferred.delivery != Delivery::Half => {
                self.idle_from(id, Instant::now());
                self.reactor.resume(id); // its next request may have waited
            }
            _ => self.reactor.lose(id, "answered"),
        }
    }
}

/// What is found at the path of a request: status and body. `took` says
/// how long the search has taken so far.
#[must_use]
pub fn content(
    tweets: &[Tweet],
    request: &Request<'_>,
    took: impl Fn() -> Duration,
) -> (u16, String) {
    let api = api_at(request.path);
    let authorization = request.text("authorization");
    let search = Search {
        tweets,
        query_string: request.query,
        took: &took,
    };
    match (api, request.method) {
        (None, Method::Post) if request.path == TOKEN_PATH => {
            account::token(authorization, &request.body)
        }
        (_, method) if !matches!(method, Method::Get | Method::Head) => (405, error_body(api, 405)),
        (None, _) => (404, search::error_body("Not found")),
        (Some(Api::V1_0), _) => search::answer(&search),
        (Some(_), _) if !account::has_token(authorization) => (401, error_body(api, 401)),
        (Some(Api::V1_1), _) => search_1_1::answer(&search),
        (Some(Api::V2), _) => search_2::answer(tweets, request.query),
    }
}

/// The API whose search is at `path`.
fn api_at(path: &str) -> Option<Api> {
    let apis = [Api::V1_0, Api::V1_1, Api::V2];
    apis.into_iter().find(|api| api.path() == path)
}

/// An error of `status` in the shape of an API; of 1.0 where it is none's.
fn error_body(api: Option<Api>, status: u16) -> String {
    let message = match reason(status) {
        "" => "Something is technically wrong",
        reason => reason,
    };
    match api {
        None | Some(Api::V1_0) => search::error_body(match status {
            405 => "Only GET and HEAD are answered here.",
            420 => "You have been rate limited. Enhance your calm.",
            _ => message,
        }),
        Some(Api::V1_1) => match status {
            401 => search_1_1::error_body(89, "Invalid or expired token."),
            429 => search_1_1::error_body(88, "Rate limit exceeded"),
            503 => search_1_1::error_body(130, "Over capacity"),
            _ => search_1_1::error_body(131, message),
        },
        Some(Api::V2) => search_2::problem(status, message),
    }
}

/// What an API says of how many questions it still takes.
fn allowance_fields(api: Option<Api>, allowance: Allowance) -> Vec<(&'static str, String)> {
    let seconds = allowance.reset.as_secs() + u64::from(allowance.reset.subsec_nanos() > 0);
    if api == Some(Api::V1_0) {
        let retry = allowance
            .is_exceeded
            .then(|| ("Retry-After", seconds.to_string()));
        return retry.into_iter().collect();
    }
    let reset = Timestamp::system().seconds() + seconds as i64;
    vec![
        ("x-rate-limit-limit", allowance.limit.to_string()),
        ("x-rate-limit-remaining", allowance.remaining.to_string()),
        ("x-rate-limit-reset", reset.to_string()),
    ]
}
