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
use super::credentials::Secret;
use super::limits::{FAIR_TIME, Outcome, pause_told};
use super::options::Options;
use crate::node::error_json;
use crate::time::Timestamp;

/// A connection to Twitter must be made within this time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest answer taken in.
const BODY_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The longest head of an answer taken in.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// What a connection reads into. A head that is too long shows by its first byte too many.
const INPUT_BYTES: usize = HEAD_BYTES_MAX + 1;

/// What a connection writes from. A request's first line must fit in at once, and an address may
/// have 65,534 bytes (`http::Uri`): as many digits as a client's line has room for.
const OUTPUT_BYTES: usize = 66 * 1024;

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
    ) -> Result<Response<Body>, ureq::Error> {
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
    }

    /// Sends a form to an address of Twitter's, with credentials.
    pub(super) fn post(
        &self,
        path: &str,
        authorization: String,
        form: &str,
        deadline: Instant,
    ) -> Result<Response<Body>, ureq::Error> {
        let address = format!("{}{path}", self.options.origin);
        let request = self.agent.post(address);
        let request = request.header("authorization", authorization);
        let request = request.content_type("application/x-www-form-urlencoded;charset=UTF-8");
        let config = request.config().timeout_global(Some(left(deadline)));
        config.build().send(form)
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
            _ => Outcome::Answered,
        };
        let line = body(response, BODY_BYTES_MAX).and_then(|body| {
            let line = self.one_line(status, &body, bound);
            line.map_err(Failure::Other)
        });
        let line = match (line, outcome) {
            (Ok(line), _) => line,
            // Twitter wants to be left alone, in whatever words.
            (Err(failure), Outcome::RateLimited(_)) => failure.json().to_vec(),
            (Err(failure), _) => return Err(failure),
        };
        Ok(Reply {
            line,
            outcome,
            is_good: status == StatusCode::OK,
        })
    }

    /// A body as one line.
    fn one_line(&self, status: StatusCode, body: &[u8], bound: u8) -> Result<Vec<u8>, String> {
        answer::one_line(body, self.options.api.results(), bound).map_err(|why| {
            let redirect = match status.is_redirection() && self.options.credentials.is_some() {
                true => ", a redirect, which is not followed",
                false => "",
            };
            format!(
                "its answer (HTTP status {}{redirect}) is {why}",
                status.as_u16()
            )
        })
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

/// Why Twitter said nothing that can be passed on.
pub(super) enum Failure {
    TimedOut,
    /// Nobody is there, or went away before an answer; in words.
    Unreachable(String),
    /// Somebody is there, but does not speak as Twitter does; in words.
    Other(String),
}

impl Failure {
    /// The line that a client is given.
    pub(super) fn json(&self) -> Arc<[u8]> {
        error_json(&format!("Twitter cannot be had: {self}"))
    }

    /// What it says of asking on, when there were `had` for the answer.
    pub(super) fn outcome(&self, had: Duration) -> Outcome {
        match self {
            Failure::TimedOut if had < FAIR_TIME => Outcome::CutShort,
            Failure::TimedOut | Failure::Unreachable(_) => Outcome::Unreachable,
            Failure::Other(_) => Outcome::Answered,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::TimedOut => f.write_str("it did not answer in time"),
            Failure::Unreachable(why) | Failure::Other(why) => f.write_str(why),
        }
    }
}

impl From<ureq::Error> for Failure {
    fn from(error: ureq::Error) -> Failure {
        match error {
            ureq::Error::Timeout(_) => Failure::TimedOut,
            ureq::Error::BodyExceedsLimit(limit) => {
                Failure::Other(format!("its answer is over {limit} bytes"))
            }
            error if is_connection_lost(&error) => Failure::Unreachable(error.to_string()),
            other => Failure::Other(other.to_string()),
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
    let mut config = Agent::config_builder()
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
        .timeout_connect(Some(CONNECT_TIMEOUT));
    if options.credentials.is_some() {
        config = config.max_redirects(0); // a token goes to the address that was given, and no other
    }
    config.build().into()
}

pub(super) fn body(response: &mut Response<Body>, limit: u64) -> Result<Vec<u8>, Failure> {
    let body = response.body_mut().with_config().limit(limit);
    body.read_to_vec()
        .map_err(|error| match Failure::from(error) {
            // Somebody was there, and has answered.
            Failure::Unreachable(why) => Failure::Other(why),
            other => other,
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
        assert!(bytes <= 100 * 1024, "{bytes} bytes a connection");
    }
}
