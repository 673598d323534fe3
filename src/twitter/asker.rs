//! A request of Twitter over HTTP: a deadline over all of it, and what is answered, or why nothing.
//!
//! `tokens` asks for a token and `worker` for tweets, by one [`Asker`] that all workers share. It
//! blocks, and knows neither questions nor who waits for them.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::http::{Response, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, Proxy};

use super::answer;
use super::api::URL_BYTES_MAX;
use super::credentials::{SECRET_BYTES_MAX, Secret};
use super::limits::{FAIR_TIME, Outcome, pause_told};
use super::options::Options;
use crate::cause;
use crate::node::protocol::error_json;
use crate::time::Timestamp;

/// A connection to Twitter must be made within this time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest answer taken in.
const BODY_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The longest head of an answer taken in.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// What a connection reads into. A head that is too long shows by its first byte too many.
const INPUT_BYTES: usize = HEAD_BYTES_MAX + 1;

/// What a connection writes from. A request's first line must fit in at once, and each of its fields. The
/// longest field is a key and its secret: each byte is three when encoded by percent, and three are four in
/// Base64.
const OUTPUT_BYTES: usize = 2 * 4 * SECRET_BYTES_MAX + 1024;

const _: () = assert!(OUTPUT_BYTES >= URL_BYTES_MAX + 1024);

/// What Twitter asked its clients to say of themselves.
const USER_AGENT: &str = concat!("herd/", env!("CARGO_PKG_VERSION"));

/// Who asks.
pub(super) struct Asker {
    agent: Agent,
    /// How.
    pub(super) options: Options,
}

impl Asker {
    pub(super) fn new(options: &Options) -> Asker {
        Asker {
            agent: agent(options),
            options: options.clone(),
        }
    }

    /// Asks, and where the connection was lost before any answer once more: a GET may be repeated
    /// (RFC 9110, section 9.2.2). One that took too long already is not.
    pub(super) fn get(
        &self,
        url: &str,
        token: Option<&Secret>,
        deadline: Instant,
    ) -> Result<Response<Body>, Failure> {
        let once = || {
            let mut request = self.agent.get(url);
            if let Some(token) = token {
                request = request.header("authorization", format!("Bearer {}", token.expose()));
            }
            let config = request.config().timeout_global(Some(left(deadline)));
            config.build().call()
        };
        match once() {
            Err(error) if is_connection_lost(&error) && deadline > Instant::now() => once(),
            result => result,
        }
        .map_err(Failure::from)
    }

    /// Sends a form to an address of Twitter's, with credentials.
    pub(super) fn post(
        &self,
        path: &str,
        authorization: String,
        form: &str,
        deadline: Instant,
    ) -> Result<Response<Body>, Failure> {
        let address = format!("{}{path}", self.options.origin);
        let request = self.agent.post(address);
        let request = request.header("authorization", authorization);
        let request = request.content_type("application/x-www-form-urlencoded;charset=UTF-8");
        let config = request.config().timeout_global(Some(left(deadline)));
        config.build().send(form).map_err(Failure::from)
    }

    /// What a response says, its body as one line. What is no JSON is an error.
    pub(super) fn reply(&self, response: &mut Response<Body>, bound: u8) -> Result<Reply, Failure> {
        let status = response.status();
        let field = |name: &str| response.headers().get(name)?.to_str().ok();
        let outcome = match status.as_u16() {
            420 | 429 => Outcome::RateLimited(pause_told(
                field("retry-after"),
                field("x-rate-limit-reset"),
                field("date"),
                Timestamp::system(),
            )),
            // Without credentials it is the question that is refused.
            status @ (401 | 403) if self.options.credentials.is_some() => Outcome::Refused(status),
            _ => Outcome::Answered,
        };
        let line = body(response, BODY_BYTES_MAX).and_then(|body| {
            let line = self.one_line(status, &body, bound);
            line.map_err(Failure::Nonsense)
        });
        let line = match (line, outcome) {
            (Ok(line), _) => line,
            // Twitter wants to be left alone, or does not let us in, in whatever words.
            (Err(failure), Outcome::RateLimited(_) | Outcome::Refused(_)) => {
                failure.json().to_vec()
            }
            (Err(failure), _) => return Err(failure),
        };
        Ok(Reply {
            line,
            outcome,
            is_good: status == StatusCode::OK,
        })
    }

    /// A body as one line. A redirect says nothing of tweets, whatever its body is.
    fn one_line(&self, status: StatusCode, body: &[u8], bound: u8) -> Result<Vec<u8>, String> {
        if status.is_redirection() {
            let status = status.as_u16();
            return Err(format!(
                "its answer is a redirect (HTTP status {status}), which is not followed"
            ));
        }
        answer::one_line(body, self.options.api.results(), bound)
            .map_err(|why| format!("its answer (HTTP status {}) is {why}", status.as_u16()))
    }
}

/// What Twitter said.
pub(super) struct Reply {
    /// One line of JSON.
    pub(super) line: Vec<u8>,
    pub(super) outcome: Outcome,
    /// Whether it may serve others who ask the same.
    pub(super) is_good: bool,
}

/// Why there is nothing of Twitter's to pass on.
#[derive(Debug)]
pub(super) enum Failure {
    /// The request did not come about, which says nothing of Twitter; in words.
    NotAsked(String),
    TimedOut,
    /// Nobody is there, or went away before an answer, or nobody who shows that it is Twitter, or
    /// who speaks HTTP; in words.
    Unreachable(String),
    /// Somebody has answered, but not as Twitter does; in words.
    Nonsense(String),
}

impl Failure {
    /// The line that a client is given.
    pub(super) fn json(&self) -> Arc<[u8]> {
        error_json(&format!("Twitter cannot be had: {self}"))
    }

    /// What it says of asking on, when there were `had` for the answer.
    pub(super) fn outcome(&self, had: Duration) -> Outcome {
        match self {
            Failure::NotAsked(_) => Outcome::Inconclusive,
            Failure::TimedOut if had < FAIR_TIME => Outcome::Inconclusive,
            Failure::TimedOut | Failure::Unreachable(_) => Outcome::Unreachable,
            Failure::Nonsense(_) => Outcome::Answered,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Failure::{Nonsense, NotAsked, TimedOut, Unreachable};
        f.write_str(match self {
            TimedOut => "it did not answer in time",
            NotAsked(why) | Unreachable(why) | Nonsense(why) => why,
        })
    }
}

/// Of a request that led to no response: never that somebody has answered.
impl From<ureq::Error> for Failure {
    fn from(error: ureq::Error) -> Failure {
        use ureq::Error::{
            ConnectProxyFailed, LargeResponseHeader, Protocol, Rustls, Timeout, Tls,
            TooManyRedirects,
        };
        let why = cause::of_request(&error);
        match error {
            Timeout(_) => Failure::TimedOut,
            error if is_connection_lost(&error) => Failure::Unreachable(why),
            ConnectProxyFailed(_) | Tls(_) | Rustls(_) => Failure::Unreachable(why),
            Protocol(_) | LargeResponseHeader(..) | TooManyRedirects => Failure::Unreachable(why),
            // What is known to be ours (`Http`, `BadUri`), and what is not known.
            _ => Failure::NotAsked(why),
        }
    }
}

fn is_connection_lost(error: &ureq::Error) -> bool {
    use ureq::Error::{ConnectionFailed, HostNotFound, Io};
    matches!(error, Io(_) | ConnectionFailed | HostNotFound)
}

fn agent(options: &Options) -> Agent {
    let tls = TlsConfig::builder().root_certs(match &options.roots {
        Some(roots) => RootCerts::Specific(Arc::clone(roots)),
        None => RootCerts::WebPki,
    });
    let config = Agent::config_builder()
        .user_agent(USER_AGENT)
        .http_status_as_error(false) // an error of Twitter's own has a body to pass on
        // No proxy lies between this machine and itself.
        .proxy(match options.is_loopback {
            true => None,
            false => Proxy::try_from_env(),
        })
        .tls_config(tls.build())
        // ureq fills both with zeros, so a connection costs all of it, 256 KiB unless it is told
        // otherwise; and each worker has a heap of its own, which keeps what a connection took.
        .max_response_header_size(HEAD_BYTES_MAX)
        .input_buffer_size(INPUT_BYTES)
        .output_buffer_size(OUTPUT_BYTES)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        // A request goes to the address that was given and no other: a redirect could have us ask what only
        // this machine may reach, and take a token elsewhere.
        .max_redirects(0);
    config.build().into()
}

pub(super) fn body(response: &mut Response<Body>, limit: u64) -> Result<Vec<u8>, Failure> {
    let body = response.body_mut().with_config().limit(limit);
    body.read_to_vec().map_err(|error| match error {
        ureq::Error::Timeout(_) => Failure::TimedOut,
        ureq::Error::BodyExceedsLimit(limit) => {
            Failure::Nonsense(format!("its answer is over {limit} bytes"))
        }
        other => Failure::Nonsense(cause::of_request(&other)),
    })
}

/// The time until `deadline`; ureq takes zero as no limit at all.
fn left(deadline: Instant) -> Duration {
    let left = deadline.saturating_duration_since(Instant::now());
    left.max(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twitter::api::Api;

    #[test]
    fn a_connection_to_twitter_costs_little() {
        let options = Options::new(Api::V1_0, None, None).expect("the stand-in wants nothing");
        let agent = agent(&options);
        let config = agent.config();
        let bytes = config.input_buffer_size() + config.output_buffer_size();
        assert!(bytes <= 75 * 1024, "{bytes} bytes a connection");
    }

    /// What `had` on hand says of a request that failed so.
    fn outcome(error: ureq::Error, had: Duration) -> Outcome {
        Failure::from(error).outcome(had)
    }

    #[test]
    fn an_address_that_http_does_not_know_as_one_says_nothing_of_twitter() {
        let options = Options::new(Api::V1_0, None, None).expect("the stand-in wants nothing");
        let asker = Asker::new(&options);
        let deadline = Instant::now() + FAIR_TIME;
        let long = format!("http://127.0.0.1:1/{}", "9".repeat(65_535));
        for url in [
            &long,
            "http://",
            "127.0.0.1:1",
            "ftp://127.0.0.1:1/",
            "http://h/ /",
        ] {
            let failed = asker.get(url, None, deadline).expect_err("nobody is asked");
            let shown = &url[..url.len().min(40)];
            assert!(
                matches!(failed, Failure::NotAsked(_)),
                "{shown}: {failed:?}"
            );
            assert_eq!(failed.outcome(FAIR_TIME), Outcome::Inconclusive, "{shown}");
        }
    }

    #[test]
    fn without_a_response_nobody_has_answered() {
        use Outcome::{Inconclusive, Unreachable};
        use ureq::Error;
        let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        for (error, want) in [
            (Error::Io(refused()), Unreachable),
            (Error::HostNotFound, Unreachable),
            (Error::ConnectionFailed, Unreachable),
            (Error::ConnectProxyFailed("502".to_owned()), Unreachable),
            (Error::Tls("no certificate"), Unreachable),
            (Error::LargeResponseHeader(40_000, 32_768), Unreachable),
            (Error::TooManyRedirects, Unreachable),
            (Error::Timeout(ureq::Timeout::Global), Unreachable),
            (Error::BadUri("it has no host".to_owned()), Inconclusive),
            (Error::InvalidProxyUrl, Inconclusive),
            (Error::Other("what nobody knows".into()), Inconclusive),
        ] {
            let shown = error.to_string();
            assert_eq!(outcome(error, FAIR_TIME), want, "{shown}");
        }
        let short = FAIR_TIME - Duration::from_millis(1);
        let late = Error::Timeout(ureq::Timeout::Global);
        assert_eq!(outcome(late, short), Inconclusive);
    }
}
