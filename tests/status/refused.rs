//! A Twitter that refuses the credentials: what the status, the metrics and `herd status` say of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::command::herd_status;
use crate::http::get;
use crate::stub_twitter::{Answer, StubTwitter};
use crate::support::{Herd, wait_until};
use crate::{metric, status};

/// Blake, who asks a Twitter of `api` that answers with the status that is set.
fn asking(api: &str, path: &str) -> (Herd, StubTwitter, Arc<AtomicU16>) {
    let code = Arc::new(AtomicU16::new(200));
    let answered = Arc::clone(&code);
    let twitter = StubTwitter::start(move |_| {
        Answer::Full(answered.load(Ordering::Relaxed), b"{\"title\":1}".to_vec())
    });
    let mut herd = Herd::with_http(&[("Blake", &[])]);
    herd.twitter_url = format!("http://{}{path}", twitter.address);
    herd.arguments = vec!["--twitter-api".to_owned(), api.to_owned()];
    let token = ("TWITTER_BEARER_TOKEN".to_owned(), "hush".to_owned());
    herd.environment.extend((api != "1.0").then_some(token));
    herd.start_all();
    wait_until("it is ready", || {
        get(herd.http("Blake"), "/readyz").status == 200
    });
    herd.ask("Blake", "IAMAT k +00+000 1");
    (herd, twitter, code)
}

/// Asks a question, and gives the line of JSON that answers it.
fn ask(herd: &Herd) -> String {
    let mut client = herd.client("Blake");
    client.say("WHATSAT k 5 1");
    client.line();
    client.line()
}

#[test]
fn a_twitter_that_refuses_the_credentials_is_not_well() {
    let (mut herd, _twitter, code) = asking("2", "/2/tweets/search/recent");
    for refused in [401, 403] {
        code.store(refused, Ordering::Relaxed);
        assert_eq!(ask(&herd), "{\"title\":1}", "clients have its answer");
        let why = format!("it refuses the credentials (HTTP status {refused})");
        let twitter = &status(&herd, "Blake")["twitter"];
        assert_eq!(twitter["state"], "failing", "{twitter}");
        assert_eq!(twitter["reason"], why.as_str());
        assert_eq!(metric(&herd, "Blake", "herd_twitter_ok"), Some(0.0));
        let (exit, said, _) = herd_status(&herd.topology(), &[]);
        assert_eq!(exit, Some(0), "it serves: {said}");
        let note = format!("\nnote: Blake has trouble with Twitter: {why}\n");
        assert!(said.ends_with(&note), "{said}");

        code.store(200, Ordering::Relaxed);
        ask(&herd);
        assert_eq!(status(&herd, "Blake")["twitter"]["state"], "ok");
        assert_eq!(metric(&herd, "Blake", "herd_twitter_ok"), Some(1.0));
    }
    let process = herd.process("Blake");
    wait_until("the operator hears of it", || {
        let said = process.said();
        said.contains("Blake: Twitter refuses the credentials (HTTP status 401): ")
            && said.contains("Blake: Twitter answers again\n")
    });
}

#[test]
fn where_there_are_no_credentials_none_are_refused() {
    let (herd, _twitter, code) = asking("1.0", "/search.json");
    code.store(403, Ordering::Relaxed);
    ask(&herd);
    assert_eq!(status(&herd, "Blake")["twitter"]["state"], "ok");
}
