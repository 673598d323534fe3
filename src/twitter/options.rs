//! How Twitter is asked, checked before anybody asks it.
//!
//! `main` makes [`Options`] of the command line and the environment; `Pool` and its workers go by
//! them.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ureq::http::Uri;

use super::api::{Api, URL_BYTES_MAX};
use super::credentials::Credentials;
use crate::keys::roots::{self, Roots};
use crate::private_file;

/// Where `herd twitter` listens unless told otherwise.
pub const STAND_IN_ADDRESS: &str = "127.0.0.1:12599";

/// The longest search address: a query that is added to it should have as much room.
const SEARCH_BYTES_MAX: usize = URL_BYTES_MAX / 2;

/// The environment's name for a file of certificates to trust instead of the built-in ones, known
/// from OpenSSL and curl.
const ROOTS_VARIABLE: &str = "SSL_CERT_FILE";

/// How Twitter is asked.
#[derive(Clone, Debug)]
pub struct Options {
    pub(super) api: Api,
    /// The search address, to which the query is added.
    pub(super) url: String,
    /// Scheme, host and port of the search address.
    pub(super) origin: String,
    pub(super) is_loopback: bool,
    pub(super) credentials: Option<Credentials>,
    /// The certificates trusted; `None`: those that Mozilla trusts.
    pub(super) roots: Option<Roots>,
    /// How long an answer serves who asks the same; zero: not at all.
    pub(super) cached_for: Duration,
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

/// Reads a search address: `http` or `https`, a host, and a port that may be.
fn check_url(url: &str) -> Result<Uri, String> {
    let uri: Uri = url
        .parse()
        .map_err(|error| format!("it is no URL: {error}"))?;
    if url.len() > SEARCH_BYTES_MAX {
        return Err(format!("it is over {SEARCH_BYTES_MAX} bytes"));
    }
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => {}
        _ => return Err("http://HOST… or https://HOST… is wanted".to_owned()),
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit('@').next().unwrap_or_default();
    let has_port = !host.ends_with(']') && host.contains(':');
    match has_port && uri.port_u16().is_none_or(|port| port == 0) {
        true => Err("its port is none from 1 to 65535".to_owned()),
        false => Ok(uri),
    }
}

/// Whether what is sent to `host` stays on this machine. A resolver may know `localhost.` or `a.localhost` otherwise,
/// so these are not trusted with a token.
fn is_loopback(host: &str) -> bool {
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let address: Result<IpAddr, _> = address.unwrap_or(host).parse();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// The certificates of the file that the environment names, if it names one.
fn roots() -> Result<Option<Roots>, String> {
    let Some(path) = std::env::var_os(ROOTS_VARIABLE).filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let (path, name) = (Path::new(&path), ROOTS_VARIABLE);
    let roots = roots::read(path);
    roots
        .map(Some)
        .map_err(|why| format!("{name} {}: it {why}", private_file::shown(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_are_this_machine() {
        for (host, is_this) in [
            ("localhost", true),
            ("LOCALHOST", true),
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("[::1]", true),
            ("[::2]", false),
            ("localhost.", false),
            ("a.localhost", false),
            ("0.0.0.0", false),
            ("127.0.0.1.example.com", false),
            ("localhost.example.com", false),
            ("128.0.0.1", false),
            ("", false),
        ] {
            assert_eq!(is_loopback(host), is_this, "{host}");
        }
    }

    #[test]
    fn search_addresses() {
        let long = |bytes| format!("{:x<bytes$}", "http://127.0.0.1/");
        let (longest, too_long) = (long(SEARCH_BYTES_MAX), long(SEARCH_BYTES_MAX + 1));
        for (url, good) in [
            (longest.as_str(), true),
            (too_long.as_str(), false),
            ("http://127.0.0.1:12599/search.json", true),
            ("https://search.twitter.com/search.json?lang=en", true),
            ("http://[::1]:80", true),
            ("http://[::1]/search.json", true),
            ("http://name:word@127.0.0.1/search.json", true),
            ("http://127.0.0.1:65535/search.json", true),
            ("http://127.0.0.1:65536/search.json", false),
            ("http://127.0.0.1:99999", false),
            ("http://127.0.0.1:0", false),
            ("http://[::1]:99999/search.json", false),
            ("http://127.0.0.1:/search.json", false),
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
