//! What is tweeted round a client (`GET /v1/clients/ID/tweets`): the `WHATSAT` line that it becomes, and the
//! answer.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::answer::{Answer, Rest};
use super::location;
use crate::http::percent;
use crate::node::command::Command;
use crate::node::fields::is_space;
use crate::node::invalid;
use crate::node::protocol::parse_at;

/// The radius, in kilometres, of a request that has none.
const RADIUS_KM: &[u8] = b"10";

/// The most tweets of a request that has no limit, as Twitter's search has it.
const LIMIT: &[u8] = b"15";

/// An answer that is longer is no error of Twitter's, so it need not be read.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// The `WHATSAT` line, without LF, of a request about `client` with this query.
///
/// # Errors
/// What is wrong with it.
pub fn line(client: &[u8], query: &str) -> Result<Vec<u8>, String> {
    let (mut radius, mut limit) = (Cow::Borrowed(RADIUS_KM), Cow::Borrowed(LIMIT));
    for (name, value) in percent::parameters(query) {
        match &*name {
            b"radius" => radius = value,
            b"limit" => limit = value,
            b"token" => {}
            _ => return Err("the query may have radius and limit".to_owned()),
        }
    }
    for (what, field) in [
        ("client-id", client),
        ("radius", &radius),
        ("limit", &limit),
    ] {
        if field.is_empty() || field.iter().any(|&byte| is_space(byte)) {
            return Err(format!("the {what} is empty or has white space in it"));
        }
    }
    let line = [b"WHATSAT", client, &radius, &limit].join(&b' ');
    match Command::parse(&line) {
        Some(_) => Ok(line),
        None => Err(invalid::reason(&line).replace("the bound", "the limit")), // its name here
    }
}

/// The answer, where `at` is the `AT` line of the client and `tweets` the JSON that came: Twitter's as it is, or
/// 502 with an error. Many may be answered the same JSON, so it is shared.
pub fn answer(at: &[u8], tweets: Arc<[u8]>) -> Answer {
    if let Some(error) = error_of(&tweets) {
        let body = [b"{\"error\":", error, b"}"].concat();
        return Answer {
            status: 502,
            ..Answer::json(body)
        };
    }
    let mut body = b"{\"location\":".to_vec();
    match parse_at(at) {
        Some(location) => body.extend(location::json(&location)),
        None => body.extend_from_slice(b"null"), // a journal of a later version
    }
    body.extend_from_slice(b",\"tweets\":");
    Answer {
        rest: Some(Rest {
            shared: tweets,
            end: b"}",
        }),
        ..Answer::json(body)
    }
}

/// The error that an answer is, if it is one: in the shape of any of Twitter's APIs. One that says nothing but
/// `"error"` is that text, any other is itself.
fn error_of(json: &[u8]) -> Option<&[u8]> {
    if json.len() > ERROR_BYTES_MAX {
        return None;
    }
    let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(json).ok()?;
    let has_any = |names: &[&str]| names.iter().any(|name| members.contains_key(*name));
    let is_result = has_any(&["results", "statuses", "data", "meta"]);
    let is_error = has_any(&["error", "errors", "title"]);
    (is_error && !is_result).then(|| match members.get("error") {
        Some(error) if members.len() == 1 => error.get().as_bytes(),
        _ => json,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions() {
        let said = |client: &[u8], query: &str| {
            let line = line(client, query)?;
            Ok(String::from_utf8(line).expect("text"))
        };
        for (query, want) in [
            ("", "WHATSAT kiwi 10 15"),
            ("radius=0.5", "WHATSAT kiwi 0.5 15"),
            ("limit=100&radius=7", "WHATSAT kiwi 7 100"),
        ] {
            assert_eq!(said(b"kiwi", query), Ok(want.to_owned()));
        }
        for query in [
            "limit=101",
            "limit=",
            "radius=-1",
            "radius=%zz",
            "limit=%",
            "%zz=1",
            "radius=1+2",
            "radius=1%0A2",
            "bound=1",
        ] {
            let _: String = said(b"kiwi", query).expect_err(query);
        }
        let _: String = said(b"ki wi", "").expect_err("white space");
        assert_eq!(
            said(b"kiwi", "limit=101"),
            Err("the limit is over 100".to_owned())
        );
        let not_whole = Err("the limit is not a whole number".to_owned());
        assert_eq!(said(b"kiwi", "limit=1.5"), not_whole);
    }

    #[test]
    fn tweets_are_passed_on_and_errors_are_502() {
        let at = b"AT Blake +0.563873386 kiwi +27.5916+086.5640 1";
        for (json, status, body) in [
            (
                r#"{"results":[ 1.50 ],"error":"x"}"#,
                200,
                r#"{"location":{"client":"kiwi","latitude":27.5916,"longitude":86.564,"position":"+27.5916+086.5640","time":"1","server":"Blake","difference":"+0.563873386"},"tweets":{"results":[ 1.50 ],"error":"x"}}"#,
            ),
            (
                r#"{"error":"not \"there\""}"#,
                502,
                r#"{"error":"not \"there\""}"#,
            ),
            (
                r#"{"error":"calm","request":"/x"}"#,
                502,
                r#"{"error":{"error":"calm","request":"/x"}}"#,
            ),
            (
                r#"{"errors":[{"code":88}]}"#,
                502,
                r#"{"error":{"errors":[{"code":88}]}}"#,
            ),
            (
                r#"{"title":"Unauthorized","status":401}"#,
                502,
                r#"{"error":{"title":"Unauthorized","status":401}}"#,
            ),
        ] {
            let json: Arc<[u8]> = json.as_bytes().into();
            let answer = answer(at, Arc::clone(&json));
            let rest = answer.rest.unwrap_or_default();
            let text = [&answer.body[..], &rest.shared, rest.end].concat();
            let text = String::from_utf8(text).expect("text");
            assert_eq!((answer.status, &text[..]), (status, body));
            let is_shared = Arc::ptr_eq(&rest.shared, &json);
            assert_eq!(is_shared, status == 200, "{body}");
        }
    }
}
