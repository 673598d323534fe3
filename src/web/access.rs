//! Who may ask what: everybody on this machine where there are no tokens, otherwise who has one.
//!
//! A browser asks for whoever wrote the page that it shows. So without tokens a request must be for this machine
//! by name (`Host`: a foreign name that leads here is DNS rebinding), and of a page that came from here
//! (`Origin`, and `Sec-Fetch-Site` where a browser says it: a picture in a page of another site is asked for without
//! `Origin`, and may be a report). Health is answered whatever the host.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::answer::Answer;
use crate::http::{Method, Request, percent};
use crate::private_file;

/// A shorter token is soon guessed.
const TOKEN_BYTES_MIN: usize = 8;

/// A longer token is none.
const TOKEN_BYTES_MAX: usize = 1024;

/// Who may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Who is on this machine.
    Loopback,
    /// Who has one of these.
    Tokens(Tokens),
}

/// Tokens and whose they are. Its `Debug` says nothing of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Tokens(Vec<(String, Vec<u8>)>);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}

impl Tokens {
    /// The tokens of a file that its owner alone may read.
    ///
    /// # Errors
    /// One line that says what is wrong with the file; never a token.
    pub fn read(path: &Path) -> Result<Tokens, String> {
        let shown = private_file::shown(path);
        let text = private_file::text(path).map_err(|error| format!("{shown} {error}"))?;
        Tokens::parse(&text).map_err(|error| format!("{shown}: {error}"))
    }

    /// Reads lines of the form `NAME TOKEN`; empty ones and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// What is wrong, with the line's number; never a token.
    pub fn parse(text: &str) -> Result<Tokens, String> {
        let mut tokens: Vec<(String, Vec<u8>)> = Vec::new();
        for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line)) {
            let fields: Vec<_> = line.split_ascii_whitespace().collect();
            let (name, token) = match fields[..] {
                [] => continue,
                [first, ..] if first.starts_with('#') => continue,
                [name, token] => (name, token),
                _ => return Err(format!("line {number} is not NAME TOKEN")),
            };
            let fits = (TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&token.len());
            if !fits || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(format!(
                    "the token of line {number} is not of {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} visible ASCII \
                     characters"
                ));
            }
            if tokens.iter().any(|(_, known)| known == token.as_bytes()) {
                return Err(format!("the token of line {number} is another's too"));
            }
            tokens.push((name.to_owned(), token.as_bytes().to_vec()));
        }
        match tokens.is_empty() {
            true => Err("has no token".to_owned()),
            false => Ok(Tokens(tokens)),
        }
    }

    /// The first token.
    pub fn first(&self) -> &[u8] {
        &self.0[0].1 // a file without one is refused
    }

    /// Whose `token` is. All are looked at, whole, so that the time it takes tells nothing.
    fn owner(&self, token: &[u8]) -> Option<&str> {
        let mut found = None;
        for (name, known) in &self.0 {
            let pairs = known.iter().zip(token.iter().cycle());
            let differing = pairs.fold(0, |bits, (a, b)| bits | (a ^ b));
            if known.len() == token.len() && differing == 0 {
                found = Some(name.as_str());
            }
        }
        found
    }
}

/// What a request may give its token by, beside a header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ways {
    /// Nothing.
    Header,
    /// The parameter `token` of its query: for clients that can send nothing else.
    HeaderOrQuery,
}

impl Access {
    /// Whether `request` may be answered.
    ///
    /// # Errors
    /// What it is answered instead.
    pub fn check(&self, request: &Request<'_>, ways: Ways) -> Result<(), Answer> {
        match self {
            Access::Loopback => {
                if !request
                    .host
                    .is_none_or(|host| is_loopback(without_port(host)))
                {
                    let why = "Without --http-tokens this server is asked by a loopback name or address only.";
                    return Err(Answer::error(403, why));
                }
                check_origin(request, ways)
            }
            Access::Tokens(tokens) => {
                let presented = presented(request, ways);
                let owner = presented
                    .as_ref()
                    .and_then(|(token, _)| tokens.owner(token));
                match (owner, presented) {
                    // A browser sends a password that it has once been given to whatever page asks.
                    (Some(_), Some((_, By::Basic))) => check_origin(request, ways),
                    (Some(_), _) => Ok(()),
                    (None, _) => {
                        let why = "A token is wanted: Authorization: Bearer TOKEN, or Basic with it as password.";
                        let challenge =
                            "Basic realm=\"herd\", charset=\"UTF-8\", Bearer realm=\"herd\"";
                        Err(Answer::error(401, why).with("WWW-Authenticate", challenge))
                    }
                }
            }
        }
    }
}

fn check_origin(request: &Request<'_>, ways: Ways) -> Result<(), Answer> {
    let host = request.host.unwrap_or_default();
    let is_own = |origin: &[u8]| {
        let own = ["http://", "https://"].map(|scheme| format!("{scheme}{host}"));
        own.iter()
            .any(|own| origin.eq_ignore_ascii_case(own.as_bytes()))
    };
    // W3C Fetch Metadata, section 2.3. Who follows a link, or types the address, navigates.
    let is_navigation = request.path == "/" && request.text("sec-fetch-mode") == Some("navigate");
    let is_of_another = |site: &[u8]| matches!(site, b"cross-site" | b"same-site");
    let is_asked_by_another = request.values("sec-fetch-site").any(is_of_another);
    // Browsers say nothing of the site to a host that is not loopback and has no TLS (section 2, "potentially
    // trustworthy"), nor to a GET the origin. Where a GET is a report, such a one is taken for another site's.
    let may_be_of_another = ways == Ways::HeaderOrQuery
        && request.method == Method::Get
        && request.values("sec-fetch-site").next().is_none()
        && request
            .text("user-agent")
            .is_some_and(|agent| agent.starts_with("Mozilla/"));
    let is_asked_by_another = is_asked_by_another || may_be_of_another;
    match request.values("origin").all(is_own) && (is_navigation || !is_asked_by_another) {
        true => Ok(()),
        false => Err(Answer::error(403, "The page that asks is another site's.")),
    }
}

/// How a token came.
enum By {
    Bearer,
    Basic,
    Query,
}

fn presented(request: &Request<'_>, ways: Ways) -> Option<(Vec<u8>, By)> {
    if let Some(token) = credentials(request, "bearer") {
        return Some((token.as_bytes().to_vec(), By::Bearer));
    }
    if let Some((_, password)) = basic(request) {
        return Some((password, By::Basic));
    }
    (ways == Ways::HeaderOrQuery).then_some(())?;
    let mut parameters = percent::parameters(request.query);
    let token = parameters.find(|(name, _)| **name == *b"token");
    token.map(|(_, token)| (token.into_owned(), By::Query))
}

/// What a request shows by a scheme of authorization.
fn credentials<'a>(request: &Request<'a>, scheme: &str) -> Option<&'a str> {
    let (name, rest) = request.text("authorization")?.split_once(' ')?;
    name.eq_ignore_ascii_case(scheme)
        .then(|| rest.trim_matches(' '))
}

/// The user of Basic authorization, if there is one.
pub fn basic_user(request: &Request<'_>) -> Option<Vec<u8>> {
    basic(request).map(|(user, _)| user)
}

/// The user and the password of Basic authorization.
fn basic(request: &Request<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    let pair = STANDARD.decode(credentials(request, "basic")?).ok()?;
    let colon = pair.iter().position(|&byte| byte == b':')?;
    Some((pair[..colon].to_vec(), pair[colon + 1..].to_vec()))
}

fn without_port(host: &str) -> &str {
    let colon = host.bytes().rposition(|byte| byte == b':');
    match colon.map(|at| (&host[..at], &host[at + 1..])) {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

const LOCALHOST: &[u8] = b"localhost";

/// Whether a host, without port, is this machine's name or address for itself.
fn is_loopback(host: &str) -> bool {
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if let Some(address) = address {
        return address
            .parse()
            .is_ok_and(|address: Ipv6Addr| address.is_loopback());
    }
    // RFC 6761 section 6.3: these names lead nowhere else.
    let name = host.strip_suffix('.').unwrap_or(host).as_bytes();
    let (before, last) = name.split_at(name.len().saturating_sub(LOCALHOST.len()));
    let is_name =
        last.eq_ignore_ascii_case(LOCALHOST) && (before.is_empty() || before.ends_with(b"."));
    is_name
        || host
            .parse()
            .is_ok_and(|address: Ipv4Addr| address.is_loopback())
}

/// Appends the target of a request as it may be logged: tokens in its query are masked.
pub fn write_target(out: &mut Vec<u8>, request: &Request<'_>) {
    out.extend_from_slice(request.path.as_bytes());
    let query = request.query.as_bytes();
    // Most have neither the k of `token` nor anything that is encoded, and are shown as they are.
    if memchr::memchr2(b'%', b'k', query).is_none() {
        if !query.is_empty() {
            out.push(b'?');
            out.extend_from_slice(query);
        }
        return;
    }
    let mut before = b'?';
    for (name, value) in percent::pairs(request.query) {
        let (name, value) = match percent::decode(name) {
            Some(decoded) if *decoded != *b"token" => (name, value),
            _ => (&b"token"[..], Some(&b"***"[..])),
        };
        out.push(std::mem::replace(&mut before, b'&'));
        out.extend_from_slice(name);
        if let Some(value) = value {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Manner, Method};

    fn request<'a>(
        host: Option<&'a str>,
        fields: &[(&'a str, &'a str)],
        query: &'a str,
    ) -> Request<'a> {
        let field = |&(name, value): &(&'a str, &'a str)| (name, value.as_bytes());
        Request {
            method: Method::Get,
            path: "/osmand",
            query,
            host,
            fields: fields.iter().map(field).collect(),
            body: (&[]).into(),
            manner: Manner::LAST,
        }
    }

    fn status(access: &Access, request: &Request<'_>, ways: Ways) -> u16 {
        access
            .check(request, ways)
            .map_or_else(|answer| answer.status, |()| 200)
    }

    #[test]
    fn without_tokens_this_machine_asks_for_itself() {
        for (host, origin, want) in [
            (Some("127.0.0.1:12790"), None, 200),
            (Some("127.8.9.1"), None, 200),
            (Some("localhost"), None, 200),
            (Some("LocalHost.:80"), None, 200),
            (Some("blake.localhost:1"), None, 200),
            (Some("[::1]:12790"), None, 200),
            (None, None, 200),
            (Some(""), None, 403),
            (Some("evil.example"), None, 403),
            (Some("127.0.0.1.evil.example:80"), None, 403),
            (Some("localhost.evil.example"), None, 403),
            (Some("128.0.0.1"), None, 403),
            (Some("[::2]"), None, 403),
            (Some("::1"), None, 403),
            (Some("localhost:1"), Some("http://localhost:1"), 200),
            (Some("localhost:1"), Some("http://localhost:2"), 403),
            (Some("localhost:1"), Some("http://localhost"), 403),
            (Some("localhost:1"), Some("http://127.0.0.1:1"), 403),
            (Some("localhost:1"), Some("null"), 403),
            (Some("localhost:1"), Some("http://evil.example"), 403),
            (None, Some("http://"), 200),
            (None, Some("http://evil.example"), 403),
        ] {
            let fields: Vec<_> = origin
                .map(|origin| ("Origin", origin))
                .into_iter()
                .collect();
            let request = request(host, &fields, "");
            let got = status(&Access::Loopback, &request, Ways::Header);
            assert_eq!(got, want, "{host:?} {origin:?}");
        }
    }

    #[test]
    fn a_picture_in_the_page_of_another_site_reports_nothing() {
        for (path, site, mode, want) in [
            ("/osmand", "cross-site", "no-cors", 403),
            ("/osmand", "same-site", "no-cors", 403),
            ("/osmand", "cross-site", "navigate", 403),
            ("/osmand", "same-origin", "cors", 200),
            ("/osmand", "none", "navigate", 200),
            ("/", "cross-site", "navigate", 200),
            ("/", "cross-site", "no-cors", 403),
        ] {
            let fields = [("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", mode)];
            let request = Request {
                path,
                ..request(Some("localhost"), &fields, "")
            };
            let got = status(&Access::Loopback, &request, Ways::Header);
            assert_eq!(got, want, "{path} {site} {mode}");
        }
    }

    #[test]
    fn a_browser_that_does_not_say_which_page_asks_reports_nothing_by_get() {
        let tokens = Tokens::parse("ann secret-1").expect("one");
        let access = Access::Tokens(tokens);
        let basic = format!("Basic {}", STANDARD.encode("ann:secret-1"));
        let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0";
        let (basic, bearer) = (&basic[..], "Bearer secret-1");
        for (authorization, agent, query, ways, want) in [
            (basic, firefox, "", Ways::HeaderOrQuery, 403),
            (basic, "okhttp/4.12.0", "", Ways::HeaderOrQuery, 200),
            (bearer, firefox, "", Ways::HeaderOrQuery, 200),
            ("", firefox, "token=secret-1", Ways::HeaderOrQuery, 200),
            (basic, firefox, "", Ways::Header, 200), // no report
        ] {
            let fields = [("Authorization", authorization), ("User-Agent", agent)];
            let request = request(Some("10.0.0.7:12790"), &fields, query);
            let got = status(&access, &request, ways);
            assert_eq!(got, want, "{authorization} {agent} {query} {ways:?}");
        }
    }

    #[test]
    fn with_tokens_one_is_wanted() {
        let tokens = Tokens::parse("# a comment\nann secret-1\n\nbob\tsecret-2 \n").expect("two");
        let access = Access::Tokens(tokens);
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        let (good, bad) = (basic("anybody:secret-2"), basic("secret-2:x"));
        for (credentials, query, ways, want) in [
            ("Bearer secret-1", "", Ways::Header, 200),
            ("bearer  secret-2", "", Ways::Header, 200),
            ("Bearer secret-3", "", Ways::Header, 401),
            ("Bearer secret-", "", Ways::Header, 401),
            ("Bearer secret-1secret-1", "", Ways::Header, 401),
            ("Bearer ", "", Ways::Header, 401),
            ("Bearer", "", Ways::Header, 401),
            ("secret-1", "", Ways::Header, 401),
            (&good, "", Ways::Header, 200),
            (&bad, "", Ways::Header, 401),
            ("Basic !", "", Ways::Header, 401),
            ("", "token=secret-1", Ways::Header, 401),
            ("", "id=1&token=secret-1", Ways::HeaderOrQuery, 200),
            ("", "token=secret%2D1", Ways::HeaderOrQuery, 200),
            ("", "token=", Ways::HeaderOrQuery, 401),
            ("", "Token=secret-1", Ways::HeaderOrQuery, 401),
        ] {
            let request = request(
                Some("herd.example"),
                &[("Authorization", credentials)],
                query,
            );
            let got = status(&access, &request, ways);
            assert_eq!(got, want, "{credentials} {query}");
        }
        let foreign = [
            ("Authorization", &good[..]),
            ("Origin", "http://evil.example"),
        ];
        let foreign = request(Some("herd.example"), &foreign, "");
        assert_eq!(status(&access, &foreign, Ways::Header), 403);
    }

    #[test]
    fn files_of_tokens() {
        for (text, words) in [
            ("", "no token"),
            ("ann", "line 1 is not"),
            ("ann secret-1\nbob secret-2 x", "line 2 is not"),
            ("ann secret", "line 1 is not of 8"),
            ("ann secr\u{e9}t-1", "line 1 is not of 8"),
            ("ann secret-1\nbob secret-1", "line 2 is another's"),
        ] {
            let error = Tokens::parse(text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
            assert!(!error.contains("secret-"), "{error}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        for (query, want) in [
            ("", "/osmand"),
            ("id=1&token=secret-1&lat=2", "/osmand?id=1&token=***&lat=2"),
            ("%74oken=secret-1", "/osmand?token=***"),
            ("token", "/osmand?token=***"),
            ("id=kiwi&&x=&y", "/osmand?id=kiwi&&x=&y"),
            ("%zz=1", "/osmand?token=***"), // whatever it is
        ] {
            let mut shown = Vec::new();
            write_target(&mut shown, &request(None, &[], query));
            assert_eq!(shown, want.as_bytes());
        }
    }
}
