//! A server that speaks one of Twitter's APIs, and a client that asks it.

#![allow(dead_code)] // each test binary uses its own part

use std::net::SocketAddr;

use serde_json::Value;

use crate::support::{Client, Herd};

/// What a server shows who it is with; it must be seen nowhere.
pub const TOKEN: &str = "AAAA%2Fhush%3D";

/// Where the search of each API is.
pub const PATHS: [(&str, &str); 3] = [
    ("1.0", "/search.json"),
    ("1.1", "/1.1/search/tweets.json"),
    ("2", "/2/tweets/search/recent"),
];

/// Blake, speaking `api` with Twitter at `origin`; not started yet.
pub fn blake(api: &str, origin: &str) -> Herd {
    let mut herd = Herd::new(&[("Blake", &[])]);
    let path = PATHS.iter().find(|(name, _)| *name == api);
    let (_, path) = path.unwrap_or_else(|| panic!("there is no API {api}"));
    herd.twitter_url = format!("{origin}{path}");
    herd.arguments = vec!["--twitter-api".to_owned(), api.to_owned()];
    herd
}

/// The same, with a token to show.
pub fn with_token(mut herd: Herd) -> Herd {
    set(&mut herd, "TWITTER_BEARER_TOKEN", TOKEN);
    herd
}

/// Sets a variable in the environment of every server.
pub fn set(herd: &mut Herd, name: &str, value: &str) {
    herd.environment.push((name.to_owned(), value.to_owned()));
}

/// Adds an argument with its value to the command of every server.
pub fn argue(herd: &mut Herd, name: &str, value: &str) {
    herd.arguments.extend([name.to_owned(), value.to_owned()]);
}

/// Where plain HTTP is spoken at `address`.
pub fn origin(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// A client whose location, `k`, Blake knows.
pub fn located(herd: &Herd, location: &str) -> Client {
    let mut client = herd.client("Blake");
    client.say(&format!("IAMAT k {location} 1"));
    let at = client.line();
    assert!(at.starts_with("AT Blake +"), "{at}");
    client
}

/// Asks for tweets round `k`; gives the line of JSON.
pub fn ask(client: &mut Client, radius_km: &str, bound: usize) -> String {
    begin(client, radius_km, bound);
    answer(client)
}

/// Asks, and waits for nothing.
pub fn begin(client: &mut Client, radius_km: &str, bound: usize) {
    client.say(&format!("WHATSAT k {radius_km} {bound}"));
}

/// The line of JSON that answers a question.
pub fn answer(client: &mut Client) -> String {
    let at = client.line();
    assert!(at.starts_with("AT Blake +"), "{at}");
    client.line()
}

/// The text of an error that stands instead of an answer: one valid object, one member.
pub fn error_text(line: &str) -> String {
    let json: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let members = json.as_object().map(serde_json::Map::len);
    let error = json["error"].as_str();
    let error = error.unwrap_or_else(|| panic!("no error: {line}"));
    assert_eq!(members, Some(1), "{line}");
    error.to_owned()
}
