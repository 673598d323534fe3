//! Asks all servers of a topology how they are: `GET /v1/status` of each, all at once. Or asks one to erase a client.
//!
//! `server::herd_view` does the first for `/v1/herd` on a thread of its own, `cli::status` for `herd status`; `cli::erase`
//! does the other. It blocks, within limits.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use ureq::http::StatusCode;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::typestate::WithoutBody;
use ureq::{Agent, RequestBuilder};

use crate::cause;
use crate::http::HEAD_BYTES_MAX;
use crate::keys::roots::{self, Roots};
use crate::private_file;
use crate::topology::Topology;

/// A server must have answered within this time.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// A server must have erased a client within this time: its disk may be slow.
const ERASED_MAX: Duration = Duration::from_secs(10);

/// A longer answer is none.
const BODY_BYTES_MAX: u64 = 1024 * 1024;

/// A longer path leaves no room for the rest of a request's head.
pub const PATH_BYTES_MAX: usize = HEAD_BYTES_MAX - 1024;

/// What a server that drains answers to every request but those for its health, with 503.
pub const DRAINING: &str = "The server stops.";

/// So many servers are asked at the same time.
const THREADS_MAX: usize = 16;

/// A server that can be asked, or cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which of the topology's it is.
    pub place: usize,
    /// Its name.
    pub name: String,
    /// Where it serves HTTP, if the topology says so.
    pub http: Option<String>,
}

/// How servers are asked. It has no `Debug`, since it holds a credential.
#[derive(Clone, Default)]
pub struct Manner {
    /// The value of the `Authorization` field, if they want tokens.
    pub authorization: Option<String>,
    /// They are asked by HTTPS, and must show a certificate of this file or one that a certificate of it has issued.
    pub certificates: Option<PathBuf>,
}

/// The certificates of a file in PEM.
///
/// # Errors
/// What is wrong with the file.
pub fn roots(path: &Path) -> Result<Roots, String> {
    roots::read(path).map_err(|why| format!("{} {why}", private_file::shown(path)))
}

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Whom it was asked.
    pub target: Target,
    /// Its status, JSON; or why there is none.
    pub status: Result<Box<RawValue>, String>,
}

/// All servers of a topology, in its order.
pub fn targets(topology: &Topology) -> Vec<Target> {
    let members = topology.members().iter().enumerate();
    let targets = members.map(|(place, member)| Target {
        place,
        name: member.name.to_string(),
        http: member
            .http_address
            .as_ref()
            .map(|address| address.as_str().to_owned()),
    });
    targets.collect()
}

/// Asks each of them. The answers are in the order of `targets`.
pub fn ask(targets: &[Target], manner: &Manner) -> Vec<Answer> {
    let agent = manner
        .certificates
        .as_deref()
        .map(roots)
        .transpose()
        .map(|roots| agent(roots, ANSWER_MAX));
    let left = Mutex::new(targets.iter());
    let found = Mutex::new(Vec::new());
    let ask_on = || {
        loop {
            let next = left.lock().expect("nobody panics with it").next();
            let Some(target) = next else { return };
            let answer = Answer {
                target: target.clone(),
                status: match &agent {
                    Ok(agent) => ask_one(agent, target, manner),
                    Err(why) => Err(why.clone()),
                },
            };
            let mut found = found.lock().expect("nobody panics with it");
            found.push(answer);
        }
    };
    thread::scope(|scope| {
        for _ in 1..targets.len().min(THREADS_MAX) {
            // Without a thread the others ask more.
            let _ = thread::Builder::new().spawn_scoped(scope, ask_on);
        }
        ask_on();
    });
    let mut found = found.into_inner().expect("nobody panics with it");
    found.sort_by_key(|answer: &Answer| answer.target.place);
    found
}

fn agent(roots: Option<Roots>, answer_max: Duration) -> Agent {
    let roots = roots.unwrap_or_default();
    let tls = TlsConfig::builder().root_certs(RootCerts::Specific(roots));
    let config = Agent::config_builder()
        .timeout_global(Some(answer_max))
        .http_status_as_error(false)
        .max_redirects(0) // a token goes to the address that was given, and no other
        .proxy(None)
        .tls_config(tls.build())
        .input_buffer_size(16 * 1024)
        .output_buffer_size(HEAD_BYTES_MAX); // the head of a request must fit into it
    config.build().into()
}

fn ask_one(agent: &Agent, target: &Target, manner: &Manner) -> Result<Box<RawValue>, String> {
    let request = agent.get(target.address("/v1/status", manner)?);
    let answer = answer::<Box<RawValue>>(request, manner)?;
    answer.ok_or_else(|| "it answers 404 Not Found".to_owned())
}

/// Asks a server to erase the client at `path`. Gives what it answers, `None` if it knows of no such client.
///
/// # Errors
/// Why it cannot be asked, or does not do it.
pub fn erase(target: &Target, path: &str, manner: &Manner) -> Result<Option<Value>, String> {
    let roots = manner.certificates.as_deref().map(roots).transpose()?;
    let agent = agent(roots, ERASED_MAX);
    answer(agent.delete(target.address(path, manner)?), manner)
}

impl Target {
    /// The address at which a path of it is asked for.
    fn address(&self, path: &str, manner: &Manner) -> Result<String, String> {
        let Some(http) = &self.http else {
            return Err("it has no http= in the topology".to_owned());
        };
        let scheme = if manner.certificates.is_some() {
            "https"
        } else {
            "http"
        };
        Ok(format!("{scheme}://{http}{path}"))
    }
}

/// What is answered, JSON; `None` if there is nothing of the kind.
fn answer<T: DeserializeOwned>(
    mut request: RequestBuilder<WithoutBody>,
    manner: &Manner,
) -> Result<Option<T>, String> {
    if let Some(authorization) = &manner.authorization {
        request = request.header("Authorization", authorization);
    }
    let is_plain = manner.certificates.is_none();
    let mut response = request.call().map_err(|error| match error {
        // A port that wants TLS answers plain HTTP with an alert.
        ureq::Error::Protocol(_) if is_plain => {
            "it speaks HTTPS (--ca FILE), or no HTTP".to_owned()
        }
        other => cause::of_request(&other),
    })?;
    let status = response.status();
    if status == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    if status == StatusCode::UNAUTHORIZED {
        return Err(match manner.authorization {
            None => "it wants a token (--http-tokens FILE)".to_owned(),
            Some(_) => "it does not know the token".to_owned(),
        });
    }
    let body = response.body_mut().with_config().limit(BODY_BYTES_MAX);
    let body = body.read_to_string();
    if !status.is_success() {
        let error = body.ok().and_then(|body| {
            let body: Value = serde_json::from_str(&body).ok()?;
            Some(body["error"] == DRAINING)
        });
        return Err(match (status, error) {
            (StatusCode::SERVICE_UNAVAILABLE, Some(true)) => "draining".to_owned(),
            _ => format!("it answers {status}"),
        });
    }
    let body = body.map_err(|error| cause::of_request(&error))?;
    let json = serde_json::from_str(&body);
    json.map(Some)
        .map_err(|_| "what it answers is not JSON".to_owned())
}

/// The answers as `/v1/herd` gives them.
pub fn json<'a>(answers: impl IntoIterator<Item = &'a Answer>) -> String {
    let answers = answers.into_iter().map(|Answer { target, status }| {
        let (name, http) = (
            Value::from(target.name.as_str()),
            Value::from(target.http.as_deref()),
        );
        let (status, error) = match status {
            Ok(status) => (status.get(), Value::Null),
            Err(error) => ("null", Value::from(error.as_str())),
        };
        format!("{{\"name\":{name},\"http\":{http},\"status\":{status},\"error\":{error}}}")
    });
    let answers: Vec<_> = answers.collect();
    format!("{{\"servers\":[{}]}}", answers.join(","))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    const DENIES: &str = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";

    /// A server that gives these bytes to whoever asks, and then ends the connection.
    fn answering(response: &str) -> String {
        let response = response.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("somebody connects");
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(response.as_bytes());
            }
        });
        address.to_string()
    }

    #[test]
    fn answers_come_in_the_order_of_the_servers_whatever_they_are() {
        let nobody = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let silent = nobody.local_addr().expect("it is bound").to_string();
        // The near end of a connection has an address, at which nobody listens.
        let near = TcpStream::connect(&silent).expect("the kernel accepts it");
        let gone = near.local_addr().expect("it is bound").to_string();
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n {\"name\":\"a\\u00e9\"}";
        let drains = format!("{{\"error\":\"{DRAINING}\"}}   ");
        let drains = format!(
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: {}\r\n\r\n{drains}",
            drains.len()
        );
        let mut place = 0;
        let mut target = |name: &str, http: Option<String>| {
            place += 1;
            Target {
                place,
                name: name.to_owned(),
                http,
            }
        };
        let targets = [
            target("silent", Some(silent)),
            target("gone", Some(gone)),
            target("well", Some(answering(ok))),
            target("none", None),
            target("denies", Some(answering(DENIES))),
            target("alerts", Some(answering("\x15\x03\x03\0\x02\x02\x46"))),
            target("drains", Some(answering(&drains))),
            target("full", Some(answering(&drains.replace("stops", "is full")))),
            target(
                "talks",
                Some(answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}}")),
            ),
            target(
                "leads",
                Some(answering(
                    "HTTP/1.1 302 Found\r\nLocation: http://a/\r\nContent-Length: 0\r\n\r\n",
                )),
            ),
        ];
        let answers = ask(&targets, &Manner::default());
        let text = json(&answers);
        let text: Value = serde_json::from_str(&text).expect("it is JSON");
        let servers = text["servers"].as_array().expect("an array");
        let names: Vec<_> = servers
            .iter()
            .filter_map(|one| one["name"].as_str())
            .collect();
        assert_eq!(
            names,
            [
                "silent", "gone", "well", "none", "denies", "alerts", "drains", "full", "talks",
                "leads"
            ]
        );
        let wanted = [
            "no answer in time",
            "connection refused",
            "",
            "no http=",
            "it wants a token (--http-tokens FILE)",
            "it speaks HTTPS (--ca FILE), or no HTTP",
            "draining",
            "it answers 503 Service Unavailable",
            "not JSON",
            "302",
        ];
        for (server, words) in servers.iter().zip(wanted) {
            match server["error"].as_str() {
                None => assert_eq!(server["status"]["name"], "a\u{e9}"),
                Some(error) => {
                    assert!(!words.is_empty() && error.contains(words), "{server}");
                    assert!(server["status"].is_null());
                }
            }
        }
        assert_eq!(json(&[]), "{\"servers\":[]}");
        let manner = Manner {
            authorization: Some("Bearer another".to_owned()),
            certificates: None,
        };
        let denied = ask(&[target("denies", Some(answering(DENIES)))], &manner);
        let error = denied[0].status.as_ref().map(|_| ()).unwrap_err();
        assert_eq!(error, "it does not know the token");
    }
}
