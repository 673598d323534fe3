//! What a server asks of Twitter, what it makes of the answer, and how little a Twitter that is
//! slow, broken or gone matters to everybody else; then the stand-in, asked by a server and by hand.
//!
//! Twitter is a stub on a real socket that does as the test says.

mod answers;
mod by_stand_in;
#[path = "../support/stand_in.rs"]
mod stand_in;
#[path = "../support/stub_twitter.rs"]
mod stub_twitter;
#[path = "../support/mod.rs"]
mod support;
mod waiting;

use serde_json::Value;

use stub_twitter::{Request, StubTwitter};
use support::{Client, Herd};

/// Blake, asking at `url`.
fn blake_asking_at(url: &str) -> Herd {
    let mut herd = Herd::new(&[("Blake", &[])]);
    herd.twitter_url = url.to_owned();
    herd.start_all();
    herd
}

fn blake_asking(twitter: &StubTwitter) -> Herd {
    blake_asking_at(&twitter.url())
}

/// A client whose location, `k` at +00+000, Blake knows.
fn located(herd: &Herd) -> Client {
    let mut client = herd.client("Blake");
    client.say("IAMAT k +00+000 1");
    let at = client.line();
    assert!(at.starts_with("AT Blake +"), "{at}");
    client
}

/// Asks for tweets round `k`; gives the line of JSON.
fn ask(client: &mut Client, radius_km: &str, bound: usize) -> String {
    client.say(&format!("WHATSAT k {radius_km} {bound}"));
    answer(client)
}

/// The radius that a request asks for, as a number: the tests number their questions by it.
fn radius(request: &Request) -> usize {
    let geocode = request.parameters("geocode").concat();
    let radius = geocode.rsplit(',').next().unwrap_or_default();
    let number = radius.strip_suffix("km").and_then(|km| km.parse().ok());
    number.unwrap_or_else(|| panic!("no radius: {}", request.line))
}

/// The text of an error that stands instead of an answer: one valid object, one member.
fn error_text(line: &str) -> String {
    let json: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let members = json.as_object().map(|object| object.len());
    let error = json["error"].as_str();
    let error = error.unwrap_or_else(|| panic!("no error: {line}"));
    assert_eq!(members, Some(1), "{line}");
    assert!(!error.is_empty(), "{line}");
    error.to_owned()
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(400) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}... ({} bytes)", &text[..at], text.len()),
    }
}

/// Reads both lines of an answer; gives the line of JSON.
fn answer(client: &mut Client) -> String {
    let at = client.line();
    assert!(at.starts_with("AT Blake +"), "{at}");
    client.line()
}
