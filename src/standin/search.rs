//! Twitter's Search API 1.0 over a set of tweets: a query string in, a line of JSON out.
//!
//! `standin::mod`, the stand-in's event loop, calls [`answer`] for each search of this API that `http`
//! has read; what the question means and which tweets meet it is `query`'s affair. This room knows
//! no socket, no HTTP beyond the status code, and no clock: the search says how long it took.
//!
//! The answer has the members, their order and types of the example in the assignment, which is
//! the API as it was before November 2010: ids are numbers only, and `metadata` comes only with
//! popular tweets. Text outside ASCII stays UTF-8 (Twitter escaped it), which JSON allows and
//! which asks more of those who pass it on.

use super::form::encode;
use super::json::{Object, date, html_escaped, json_string, normalised};
use super::query::{Page, Query, ResultType, Search};
use super::tweets::Tweet;

/// Answers a search: the HTTP status, and the body on one line.
///
/// A question that cannot be answered gets the status and the error of its
/// [`Refusal`](super::query::Refusal).
#[must_use]
pub fn answer(search: &Search<'_>) -> (u16, String) {
    match search.query("rpp") {
        Ok(query) => (200, found(search, &query)),
        Err(refusal) => (refusal.status, error_body(refusal.message)),
    }
}

/// An error in the shape that this API gave it.
#[must_use]
pub fn error_body(message: &str) -> String {
    format!("{{\"error\":{}}}", json_string(message))
}

fn found(search: &Search<'_>, query: &Query) -> String {
    let results_per_page = query.results_per_page();
    let Page {
        tweets,
        newest,
        has_next: has_next_page,
    } = query.page_of(search.tweets);
    let results: Vec<String> = tweets.iter().map(|tweet| result(tweet, query)).collect();
    // With nothing found, a client that follows refresh_url must not begin from the first again.
    let max_id = newest.unwrap_or(query.since_id());
    let text = encode(&query.text);

    let mut object = Object::default();
    object.member("results", &format!("[{}]", results.join(",")));
    object.member("max_id", &max_id.to_string());
    object.member("since_id", &query.since_id().to_string());
    // Without the place, as in the assignment's example: whoever follows it has to add that.
    object.string("refresh_url", &format!("?since_id={max_id}&q={text}"));
    if has_next_page {
        object.string("next_page", &next_page(query, max_id, &text));
    }
    object.member("results_per_page", &results_per_page.to_string());
    object.member("page", &query.page.to_string());
    object.member("completed_in", &search.completed_in());
    if let Some(warning) = warning(query, has_next_page) {
        object.string("warning", &warning);
    }
    object.string("query", &text);
    object.close()
}

fn next_page(query: &Query, max_id: u64, text: &str) -> String {
    let mut url = format!("?page={}&max_id={max_id}", query.page + 1);
    if let Some(results_per_page) = query.rpp {
        url.push_str(&format!("&rpp={results_per_page}"));
    }
    if let Some(area) = &query.geocode {
        let numbers = [area.latitude, area.longitude, area.radius].map(normalised);
        url.push_str(&format!("&geocode={}{}", numbers.join("%2C"), area.unit));
    }
    if let Some(result_type) = query.result_type {
        url.push_str(match result_type {
            ResultType::Mixed => "&result_type=mixed",
            ResultType::Recent => "&result_type=recent",
            ResultType::Popular => "&result_type=popular",
        });
    }
    url + "&q=" + text
}

/// What Twitter did to `since_id` unasked: it moved it, or left it out of `next_page`.
fn warning(query: &Query, has_next_page: bool) -> Option<String> {
    const REMOVED: &str = "since_id removed for pagination.";
    let since_id = query.since_id();
    if since_id == query.requested_since_id {
        return (has_next_page && since_id > 0).then(|| REMOVED.to_owned());
    }
    let date = date(since_id, "%Y-%m-%d %H:%M:%S UTC");
    let adjusted = format!(
        "adjusted since_id to {since_id} ({date}), requested since_id was older than allowed"
    );
    Some(match has_next_page {
        true => format!("{adjusted} -- {REMOVED}"),
        false => adjusted,
    })
}

fn result(tweet: &Tweet, query: &Query) -> String {
    let mut object = Object::default();
    object.string("location", &tweet.location);
    object.string("profile_image_url", &tweet.profile_image_url);
    object.string("created_at", &date(tweet.id, "%a, %d %b %Y %H:%M:%S +0000"));
    object.string("from_user", &tweet.from_user);
    if query.result_type == Some(ResultType::Popular) {
        let retweets = tweet.recent_retweets;
        object.member(
            "metadata",
            &format!("{{\"result_type\":\"popular\",\"recent_retweets\":{retweets}}}"),
        );
    }
    let to_user_id = tweet.to_user.as_ref().map(|(_, id)| id.to_string());
    object.member("to_user_id", to_user_id.as_deref().unwrap_or("null"));
    object.string("text", &html_escaped(&tweet.text));
    object.member("id", &tweet.id.to_string());
    object.member("from_user_id", &tweet.from_user_id.to_string());
    if let Some((name, _)) = &tweet.to_user {
        object.string("to_user", name);
    }
    if tweet.geotagged {
        let (latitude, longitude) = (normalised(tweet.latitude), normalised(tweet.longitude));
        let point = format!("{{\"type\":\"Point\",\"coordinates\":[{latitude},{longitude}]}}");
        object.member("geo", &point);
    } else {
        object.member("geo", "null");
    }
    object.string("iso_language_code", &tweet.language);
    object.string(
        "source",
        &html_escaped(&tweet.source).replace('"', "&quot;"),
    );
    object.close()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standin::tweets::{OLDEST_ID, synthetic};
    use proptest::prelude::*;
    use serde_json::Value;
    use std::sync::LazyLock;
    use std::time::Duration;

    static TWEETS: LazyLock<Vec<Tweet>> = LazyLock::new(synthetic);

    const EVEREST: &str = "q=&geocode=27.5916%2C086.5640%2C100km";

    fn answer_after(took: Duration, tweets: &[Tweet], query_string: &str) -> (u16, String) {
        answer(&Search {
            tweets,
            query_string,
            took: &|| took,
        })
    }

    /// An answer that must be a status 200 on one line.
    fn found(query_string: &str) -> Value {
        let (status, body) = answer_after(Duration::ZERO, &TWEETS, query_string);
        assert_eq!(status, 200, "{query_string}: {body}");
        assert!(!body.contains(['\r', '\n']), "{query_string}: {body}");
        serde_json::from_str(&body).expect(query_string)
    }

    fn results(answer: &Value) -> &[Value] {
        answer["results"].as_array().expect("a list")
    }

    fn ids(answer: &Value) -> Vec<u64> {
        let id = |result: &Value| result["id"].as_u64().expect("a number");
        results(answer).iter().map(id).collect()
    }

    #[test]
    fn an_answer_to_the_letter() {
        let tweet = Tweet {
            id: (((1_353_051_514_000 - 1_288_834_974_657) << 22) | 5),
            text: "RT @kiwi: \"1 < 2\" & C:\\ http://t.co/a été".to_owned(),
            language: "en".into(),
            from_user: "C_86".to_owned(),
            from_user_id: 34_011_528,
            to_user: None,
            location: "Ever".to_owned(),
            profile_image_url: "http://a3.twimg.com/a.jpg".to_owned(),
            source: "<a href=\"http://twitter.com/\">web</a>".into(),
            latitude: 27.6,
            longitude: 86.5,
            geotagged: false,
            recent_retweets: 12,
        };
        let earlier = Tweet {
            id: tweet.id - (77_000 << 22),
            text: "@kiwi no".to_owned(),
            to_user: Some(("kiwi".to_owned(), 7)),
            geotagged: true,
            ..tweet.clone()
        };
        let tweets = [tweet, earlier];
        let took = Duration::from_nanos(90_181_999);
        let first = r#"{"results":[{"location":"Ever","profile_image_url":"http:\/\/a3.twimg.com\/a.jpg","created_at":"Fri, 16 Nov 2012 07:38:34 +0000","from_user":"C_86","to_user_id":null,"text":"RT @kiwi: \"1 &lt; 2\" &amp; C:\\ http:\/\/t.co\/a été","id":269343687832502277,"from_user_id":34011528,"geo":null,"iso_language_code":"en","source":"&lt;a href=&quot;http:\/\/twitter.com\/&quot;&gt;web&lt;\/a&gt;"}],"max_id":269343687832502277,"since_id":267086170813366272,"refresh_url":"?since_id=269343687832502277&q=","next_page":"?page=2&max_id=269343687832502277&rpp=1&geocode=27.5916%2C86.564%2C100.0km&q=","results_per_page":1,"page":1,"completed_in":0.090181,"warning":"adjusted since_id to 267086170813366272 (2012-11-10 02:08:00 UTC), requested since_id was older than allowed -- since_id removed for pagination.","query":""}"#;
        let answered = answer_after(took, &tweets, &format!("{EVEREST}&rpp=1"));
        assert_eq!(answered, (200, first.to_owned()));
        let popular = r#"{"results":[{"location":"Ever","profile_image_url":"http:\/\/a3.twimg.com\/a.jpg","created_at":"Fri, 16 Nov 2012 07:37:17 +0000","from_user":"C_86","metadata":{"result_type":"popular","recent_retweets":12},"to_user_id":7,"text":"@kiwi no","id":269343364871094277,"from_user_id":34011528,"to_user":"kiwi","geo":{"type":"Point","coordinates":[27.6,86.5]},"iso_language_code":"en","source":"&lt;a href=&quot;http:\/\/twitter.com\/&quot;&gt;web&lt;\/a&gt;"}],"max_id":269343364871094277,"since_id":0,"refresh_url":"?since_id=269343364871094277&q=to%3Akiwi+no","results_per_page":15,"page":1,"completed_in":61.000000,"query":"to%3Akiwi+no"}"#;
        let question = "q=to:kiwi%20no&result_type=popular";
        let answered = answer_after(Duration::from_secs(61), &tweets, question);
        assert_eq!(answered, (200, popular.to_owned()));
    }

    #[test]
    fn an_error_is_json_too() {
        let want = (403, "{\"error\":\"You must enter a query.\"}".to_owned());
        assert_eq!(answer_after(Duration::ZERO, &TWEETS, "q="), want);
    }

    #[test]
    fn there_are_tweets_round_the_example_and_at_ucla() {
        let count = |question: &str| results(&found(question)).len();
        assert_eq!(count(&format!("{EVEREST}&rpp=100&page=2")), 100);
        assert!((5..100).contains(&count("geocode=27.5916,86.5640,10km&rpp=100")));
        assert_eq!(count("geocode=34.0689,-118.4451,5mi&rpp=100"), 100);
        assert!(count("q=東京") > 3 && count("q=Everest") == 15);
        assert_eq!(count(&format!("{EVEREST}&rpp=0")), 0);
        assert_eq!(count("geocode=0,-30,500km"), 0, "in mid-Atlantic");
    }

    #[test]
    fn a_circle_reaches_over_the_date_line_and_the_poles() {
        for (place, limit) in [
            ("-16.85,180", 18),
            ("-16.85,-180", 18),
            ("-16.85,179.99", 18),
            ("89.99,-140", 6), // the camp is at 40 degrees east
            ("-90,123", 8),
        ] {
            let answer = found(&format!("geocode={place},30km&rpp=100"));
            assert_eq!(results(&answer).len(), limit, "{place}");
        }
        assert_eq!(found("geocode=1,1,20100km&rpp=1")["max_id"], TWEETS[0].id);
    }

    #[test]
    fn later_questions_find_only_what_is_newer() {
        let first = found(&format!("{EVEREST}&rpp=20"));
        let tenth = ids(&first)[9];
        let second = found(&format!("{EVEREST}&since_id={tenth}&rpp=20"));
        assert_eq!(ids(&second), ids(&first)[..9]);
        assert_eq!(second["since_id"], tenth);
        assert_eq!(second.get("warning"), None);
        let newest = &first["max_id"];
        let third = found(&format!("{EVEREST}&since_id={newest}"));
        assert_eq!((ids(&third), &third["max_id"]), (Vec::new(), newest));
        let warned = found(&format!("{EVEREST}&since_id={tenth}&rpp=5"));
        assert_eq!(warned["warning"], "since_id removed for pagination.");
        assert_eq!(found("geocode=0,0,1km")["max_id"], OLDEST_ID);
    }

    #[test]
    fn following_next_page_leads_through_all() {
        for question in ["q=the", EVEREST, "q=%C3%A9&result_type=popular"] {
            let mut page = found(&format!("{question}&rpp=33"));
            let mut all = ids(&page);
            while let Some(next) = page.get("next_page") {
                let next = next.as_str().expect("a string");
                page = found(next.strip_prefix('?').expect("a query string"));
                all.extend(ids(&page));
            }
            let query = Query::parse(question, "rpp").expect(question);
            let met = TWEETS.iter().filter(|tweet| query.is_met_by(tweet));
            let want: Vec<u64> = met.map(|tweet| tweet.id).take(45 * 33).collect();
            assert_eq!(all, want, "{question}");
        }
    }

    proptest! {
        #[test]
        fn pages_laid_end_to_end_are_the_one_big_page(
            place in 0..TWEETS.len(),
            radius_kilometres in 0..20_000u32,
            rpp in 1..=25usize,
        ) {
            let Tweet { latitude, longitude, .. } = TWEETS[place];
            let question = format!("geocode={latitude},{longitude},{radius_kilometres}km");
            let whole = ids(&found(&format!("{question}&rpp=100")));
            let pages = 100 / rpp;
            let mut joined = Vec::new();
            for page in 1..=pages {
                let answer = found(&format!("{question}&rpp={rpp}&page={page}"));
                prop_assert!(results(&answer).len() <= rpp);
                joined.extend(ids(&answer));
            }
            prop_assert!(!whole.is_empty(), "the tweet itself is there");
            prop_assert_eq!(&joined[..], &whole[..whole.len().min(pages * rpp)]);
        }

        #[test]
        fn any_query_string_is_answered_with_one_line_of_json(
            query_string in prop_oneof![
                ".*",
                "(q|geocode|rpp|page|since_id|max_id|result_type)=[-+%,.\"0-9a-fkm:#@]{0,12}(&(q|geocode|rpp|page)=[-+%,.\"0-9a-fkm:#@]{0,12}){0,3}",
            ],
        ) {
            let (status, body) = answer_after(Duration::ZERO, &TWEETS[..200], &query_string);
            prop_assert!(matches!(status, 200 | 403));
            prop_assert!(!body.contains(['\r', '\n']));
            let value: Value = serde_json::from_str(&body).expect("JSON");
            prop_assert_eq!(value.get("error").is_some(), status == 403);
        }
    }
}
