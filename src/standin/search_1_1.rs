//! Twitter's REST API 1.1, "GET search/tweets", over a set of tweets. Pure.
//!
//! `standin::mod` calls [`answer`]; the question is read by `query`, in which it differs from 1.0 by
//! the name of one parameter. The answer has the members of Twitter's documented example as far as
//! our tweets have something to say there.

use super::form::encode;
use super::json::{Object, date, html_escaped, json_string, normalised};
use super::query::{Page, Query, RESULTS_PER_PAGE, ResultType, Search};
use super::tweets::Tweet;

/// Answers a search: the HTTP status, and the body on one line.
#[must_use]
pub fn answer(search: &Search<'_>) -> (u16, String) {
    match search.query("count") {
        Ok(query) => (200, found(search, &query)),
        Err(refusal) if refusal.message.starts_with("You must") => {
            (400, error_body(25, "Query parameters are missing."))
        }
        Err(refusal) => (refusal.status, error_body(195, refusal.message)),
    }
}

/// An error in the shape that this API gave it.
#[must_use]
pub fn error_body(code: u16, message: &str) -> String {
    let message = json_string(message);
    format!("{{\"errors\":[{{\"code\":{code},\"message\":{message}}}]}}")
}

fn found(search: &Search<'_>, query: &Query) -> String {
    let Page {
        tweets,
        newest,
        has_next,
    } = query.page_of(search.tweets);
    let statuses: Vec<String> = tweets.iter().map(|tweet| status(tweet, query)).collect();
    let max_id = newest.unwrap_or(query.since_id());
    let text = encode(&query.text);

    let mut metadata = Object::default();
    metadata.member("completed_in", &search.completed_in());
    metadata.member("max_id", &max_id.to_string());
    metadata.string("max_id_str", &max_id.to_string());
    if let (true, Some(last)) = (has_next, tweets.last()) {
        let count = query.rpp.unwrap_or(RESULTS_PER_PAGE);
        let next = format!("?max_id={}&q={text}&count={count}", last.id - 1);
        metadata.string("next_results", &format!("{next}&include_entities=1"));
    }
    metadata.string("query", &text);
    let refresh = format!("?since_id={max_id}&q={text}&include_entities=1");
    metadata.string("refresh_url", &refresh);
    metadata.member("count", &query.results_per_page().to_string());
    metadata.member("since_id", &query.since_id().to_string());
    metadata.string("since_id_str", &query.since_id().to_string());

    let mut object = Object::default();
    object.member("statuses", &format!("[{}]", statuses.join(",")));
    object.member("search_metadata", &metadata.close());
    object.close()
}

fn status(tweet: &Tweet, query: &Query) -> String {
    let id = tweet.id.to_string();
    let to_user_id = tweet.to_user.as_ref().map(|(_, id)| id.to_string());
    let mut metadata = Object::default();
    metadata.string("iso_language_code", &tweet.language);
    metadata.string(
        "result_type",
        match query.result_type {
            Some(ResultType::Popular) => "popular",
            _ => "recent",
        },
    );
    let mut object = Object::default();
    object.string("created_at", &date(tweet.id, "%a %b %d %H:%M:%S +0000 %Y"));
    object.member("id", &id);
    object.string("id_str", &id);
    object.string("text", &html_escaped(&tweet.text));
    object.member("truncated", "false");
    object.member("metadata", &metadata.close());
    object.string("source", &tweet.source);
    let reply_to = to_user_id.as_deref();
    object.member("in_reply_to_user_id", reply_to.unwrap_or("null"));
    let reply_to = reply_to.map(json_string);
    object.member(
        "in_reply_to_user_id_str",
        reply_to.as_deref().unwrap_or("null"),
    );
    object.member("user", &user(tweet));
    let [latitude, longitude] = [tweet.latitude, tweet.longitude].map(normalised);
    let point = |first: &str, second: &str| match tweet.geotagged {
        true => format!("{{\"type\":\"Point\",\"coordinates\":[{first},{second}]}}"),
        false => "null".to_owned(),
    };
    object.member("geo", &point(&latitude, &longitude)); // as in 1.0
    object.member("coordinates", &point(&longitude, &latitude)); // as in GeoJSON
    object.member("place", "null");
    object.member("retweet_count", &tweet.recent_retweets.to_string());
    object.member("favorite_count", "0");
    object.member("favorited", "false");
    object.member("retweeted", "false");
    object.string("lang", &tweet.language);
    object.close()
}

fn user(tweet: &Tweet) -> String {
    let id = tweet.from_user_id.to_string();
    let mut object = Object::default();
    object.member("id", &id);
    object.string("id_str", &id);
    object.string("name", &tweet.from_user);
    object.string("screen_name", &tweet.from_user);
    object.string("location", &tweet.location);
    object.string("profile_image_url", &tweet.profile_image_url);
    object.close()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standin::tweets::synthetic;
    use serde_json::Value;
    use std::time::Duration;

    fn asked(query_string: &str) -> (u16, Value) {
        let (status, body) = answer(&Search {
            tweets: &synthetic(),
            query_string,
            took: &|| Duration::ZERO,
        });
        assert!(!body.contains(['\r', '\n']), "{body}");
        (status, serde_json::from_str(&body).expect("it is JSON"))
    }

    #[test]
    fn tweets_and_what_is_said_about_them() {
        let everest = "q=&geocode=27.5916%2C86.564%2C100km";
        let (status, answer) = asked(&format!("{everest}&count=2"));
        assert_eq!(status, 200);
        let statuses = answer["statuses"].as_array().expect("a list");
        assert_eq!(statuses.len(), 2);
        for status in statuses {
            assert_eq!(
                status["id"].to_string(),
                status["id_str"].as_str().expect("a text")
            );
            assert!(status["user"]["screen_name"].is_string(), "{status}");
            let places = [&status["geo"], &status["coordinates"]].map(|at| &at["coordinates"]);
            assert_eq!(places[0][0], places[1][1], "{status}");
        }
        let metadata = &answer["search_metadata"];
        assert_eq!(metadata["count"], 2);
        assert_eq!(metadata["max_id"], statuses[0]["id"]);
        let next = metadata["next_results"].as_str().expect("there are more");
        let next = next.strip_prefix('?').expect("a query string");
        let (_, more) = asked(&format!("{next}&geocode=27.5916,86.564,100km"));
        let first = &more["statuses"][0]["id"];
        assert!(first.as_u64() < statuses[1]["id"].as_u64(), "{first}");
        assert_eq!(
            asked("q=&geocode=0,-30,50km").1["statuses"],
            serde_json::json!([])
        );
        assert_eq!(asked(everest).1["search_metadata"]["count"], 15);
    }

    #[test]
    fn errors_have_a_code() {
        for (query_string, status, code) in [
            ("q=&count=5", 400, 25),
            ("geocode=1,2", 403, 195),
            ("q=a&count=x", 403, 195),
        ] {
            let (got, answer) = asked(query_string);
            assert_eq!(
                (got, &answer["errors"][0]["code"]),
                (status, &code.into()),
                "{answer}"
            );
        }
    }
}
