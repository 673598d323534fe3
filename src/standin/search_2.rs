//! Twitter's API 2, "GET /2/tweets/search/recent", over a set of tweets. Pure.
//!
//! `standin::mod` calls [`answer`]. As in Twitter's, a tweet has only its id and text unless more is
//! asked for by `tweet.fields`; authors and places stand aside, in `includes`, and only those that
//! `expansions` names; ids are texts; and where nothing is found there is no `data`.

use super::form::{decimal, number, parameters};
use super::json::{Object, date, html_escaped};
use super::query::{Geocode, Page, Query, RESULTS_PER_PAGE_MAX};
use super::tweets::Tweet;
use crate::twitter::api::{KILOMETRES_PER_MILE, RADIUS_MILES_LIMIT_2};

/// Results on a page unless `max_results` says otherwise; no fewer may be asked for.
const RESULTS_MIN: u64 = 10;

/// What a question asks for, beside tweets.
#[derive(Default)]
struct Wanted {
    tweet_fields: String,
    user_fields: String,
    place_fields: String,
    expansions: String,
}

/// Answers a question put as a query string: the HTTP status, and the body on one line.
#[must_use]
pub fn answer(tweets: &[Tweet], query_string: &str) -> (u16, String) {
    match parse(query_string) {
        Ok((query, wanted)) => (200, search(tweets, &query.over(tweets), &wanted)),
        Err((parameter, value, message)) => (400, invalid(parameter, &value, &message)),
    }
}

/// An error without particulars, in the shape that this API gives it (RFC 7807).
#[must_use]
pub fn problem(status: u16, title: &str) -> String {
    let mut object = Object::default();
    object.plain_string("title", title);
    object.plain_string("type", "about:blank");
    object.member("status", &status.to_string());
    object.plain_string("detail", title);
    object.close()
}

fn invalid(parameter: &str, value: &str, message: &str) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let mut error = Object::default();
    let parameters = format!("{{{}:[{}]}}", text(parameter), text(value));
    error.member("parameters", &parameters);
    error.plain_string("message", message);
    let mut object = Object::default();
    object.member("errors", &format!("[{}]", error.close()));
    object.plain_string("title", "Invalid Request");
    object.plain_string(
        "detail",
        "One or more parameters to your request was invalid.",
    );
    let kind = "https://api.twitter.com/2/problems/invalid-request";
    object.plain_string("type", kind);
    object.close()
}

/// Reads the question. An error names the parameter, its value and what is wrong with it.
fn parse(query_string: &str) -> Result<(Query, Wanted), (&'static str, String, String)> {
    let mut wanted = Wanted::default();
    let mut question = String::new();
    let mut results = RESULTS_MIN;
    let (mut since_id, mut max_id) = (0, None);
    for (name, value) in parameters(query_string) {
        let no_number = |name| (name, value.clone(), format!("[{value}] is no id"));
        match &*name {
            "query" => question = value,
            "max_results" => {
                results = number(&value)
                    .filter(|results| (RESULTS_MIN..=RESULTS_PER_PAGE_MAX).contains(results))
                    .ok_or_else(|| {
                        let message = format!(
                            "The `max_results` query parameter value [{value}] is not between 10 and 100"
                        );
                        ("max_results", value, message)
                    })?;
            }
            "since_id" => since_id = number(&value).ok_or_else(|| no_number("since_id"))?,
            // Ours is the id of the last tweet shown; both are exclusive.
            "until_id" | "next_token" => {
                let id = number(&value).ok_or_else(|| no_number("until_id"))?;
                max_id = Some(id.saturating_sub(1));
            }
            "tweet.fields" => wanted.tweet_fields = value,
            "user.fields" => wanted.user_fields = value,
            "place.fields" => wanted.place_fields = value,
            "expansions" => wanted.expansions = value,
            _ => {
                let message = format!("The query parameter [{name}] is not one of those known");
                return Err(("unknown", name, message));
            }
        }
    }
    let wrong = |message: &str| ("query", question.clone(), message.to_owned());
    let (words, place) = point_radius(&question).map_err(|message| wrong(&message))?;
    let query = Query::new(&words, place, (since_id, max_id), results);
    match query.is_empty() {
        true => Err(wrong("Rules must contain a keyword or an operator")),
        false => Ok((query, wanted)),
    }
}

/// Takes `point_radius:[longitude latitude radius]` out of a question: the words, and the circle.
fn point_radius(question: &str) -> Result<(String, Option<Geocode>), String> {
    const OPERATOR: &str = "point_radius:[";
    let Some((before, rest)) = question.split_once(OPERATOR) else {
        return Ok((question.trim().to_owned(), None));
    };
    let form = || "point_radius: wanted is [longitude latitude radius]".to_owned();
    let (inside, after) = rest.split_once(']').ok_or_else(form)?;
    let fields: Vec<&str> = inside.split_whitespace().collect();
    let [longitude, latitude, radius] = fields[..] else {
        return Err(form());
    };
    let (radius, unit, miles) = match (radius.strip_suffix("km"), radius.strip_suffix("mi")) {
        (Some(radius), _) => (radius, "km", 1.0 / KILOMETRES_PER_MILE),
        (_, Some(radius)) => (radius, "mi", 1.0),
        _ => return Err("point_radius: the radius must be in km or mi".to_owned()),
    };
    let area = Geocode {
        latitude: decimal(latitude).ok_or_else(form)?,
        longitude: decimal(longitude).ok_or_else(form)?,
        radius: decimal(radius).ok_or_else(form)?,
        unit,
    };
    if area.latitude.abs() > 90.0 || area.longitude.abs() > 180.0 {
        return Err("point_radius: the point is not on Earth".to_owned());
    }
    if !(0.0..RADIUS_MILES_LIMIT_2).contains(&(area.radius * miles)) {
        return Err(format!(
            "point_radius: the radius must be less than {RADIUS_MILES_LIMIT_2}mi"
        ));
    }
    Ok((format!("{before} {after}").trim().to_owned(), Some(area)))
}

fn search(tweets: &[Tweet], query: &Query, wanted: &Wanted) -> String {
    let Page {
        tweets, has_next, ..
    } = query.page_of(tweets);
    let mut object = Object::default();
    let mut meta = Object::default();
    if let (Some(newest), Some(oldest)) = (tweets.first(), tweets.last()) {
        let data: Vec<String> = tweets.iter().map(|tweet| datum(tweet, wanted)).collect();
        object.member("data", &format!("[{}]", data.join(",")));
        if let Some(includes) = includes(&tweets, wanted) {
            object.member("includes", &includes);
        }
        meta.plain_string("newest_id", &newest.id.to_string());
        meta.plain_string("oldest_id", &oldest.id.to_string());
    }
    meta.member("result_count", &tweets.len().to_string());
    if let (true, Some(oldest)) = (has_next, tweets.last()) {
        meta.plain_string("next_token", &oldest.id.to_string());
    }
    object.member("meta", &meta.close());
    object.close()
}

fn datum(tweet: &Tweet, wanted: &Wanted) -> String {
    let has = |field: &str| names(&wanted.tweet_fields, field);
    let mut object = Object::default();
    object.plain_string("id", &tweet.id.to_string());
    object.plain_string("text", &html_escaped(&tweet.text));
    if has("created_at") {
        object.plain_string("created_at", &date(tweet.id, "%Y-%m-%dT%H:%M:%S%.3fZ"));
    }
    if has("author_id") {
        object.plain_string("author_id", &tweet.from_user_id.to_string());
    }
    if has("lang") {
        object.plain_string("lang", &tweet.language);
    }
    if has("source") {
        object.plain_string("source", &tweet.source);
    }
    if has("geo") && tweet.geotagged {
        object.member(
            "geo",
            &format!(
                "{{\"place_id\":\"{}\",\"coordinates\":{{\"type\":\"Point\",\"coordinates\":[{},{}]}}}}",
                place_id(tweet),
                tweet.longitude,
                tweet.latitude
            ),
        );
    }
    object.close()
}

/// Authors and places, each once, in the order in which tweets name them.
fn includes(tweets: &[&Tweet], wanted: &Wanted) -> Option<String> {
    let mut object = Object::default();
    let mut is_empty = true;
    let mut list =
        |name: &str, expansion: &str, items: &mut dyn Iterator<Item = (String, String)>| {
            let mut seen: Vec<(String, String)> = Vec::new();
            for item in items {
                if !seen.contains(&item) {
                    seen.push(item);
                }
            }
            if names(&wanted.expansions, expansion) && !seen.is_empty() {
                is_empty = false;
                let texts: Vec<String> = seen.into_iter().map(|(_, text)| text).collect();
                object.member(name, &format!("[{}]", texts.join(",")));
            }
        };
    let users = tweets
        .iter()
        .map(|tweet| (tweet.from_user_id.to_string(), user(tweet, wanted)));
    list("users", "author_id", &mut { users });
    let places = tweets.iter().filter(|tweet| tweet.geotagged);
    let places = places.map(|tweet| (place_id(tweet), place(tweet, wanted)));
    list("places", "geo.place_id", &mut { places });
    (!is_empty).then(|| object.close())
}

fn user(tweet: &Tweet, wanted: &Wanted) -> String {
    let mut object = Object::default();
    object.plain_string("id", &tweet.from_user_id.to_string());
    object.plain_string("name", &tweet.from_user);
    object.plain_string("username", &tweet.from_user);
    if names(&wanted.user_fields, "location") {
        object.plain_string("location", &tweet.location);
    }
    object.close()
}

/// The author's home stands for the place that a real tweet is tagged with.
fn place(tweet: &Tweet, wanted: &Wanted) -> String {
    let mut object = Object::default();
    object.plain_string("id", &place_id(tweet));
    object.plain_string("full_name", &tweet.location);
    if names(&wanted.place_fields, "place_type") {
        object.plain_string("place_type", "city");
    }
    object.close()
}

/// Sixteen hexadecimal digits, as Twitter's are: FNV-1a of the place's name.
fn place_id(tweet: &Tweet) -> String {
    let hash = tweet
        .location
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("{hash:016x}")
}

fn names(list: &str, name: &str) -> bool {
    list.split(',').any(|field| field.trim() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standin::form::encode;
    use crate::standin::tweets::synthetic;
    use serde_json::{Value, json};

    fn asked(query: &str, rest: &str) -> (u16, Value) {
        let query_string = format!("query={}{rest}", encode(query));
        let (status, body) = answer(&synthetic(), &query_string);
        assert!(!body.contains(['\r', '\n']), "{body}");
        (status, serde_json::from_str(&body).expect("it is JSON"))
    }

    const UCLA: &str = "point_radius:[-118.4451 34.0689 5km]";

    #[test]
    fn only_what_is_asked_for_is_told() {
        let (status, answer) = asked(UCLA, "");
        assert_eq!(status, 200);
        let data = answer["data"].as_array().expect("a list");
        assert_eq!(data.len(), 10);
        assert_eq!(answer["meta"]["result_count"], 10);
        assert_eq!(answer["meta"]["newest_id"], data[0]["id"]);
        assert_eq!(answer["meta"]["oldest_id"], data[9]["id"]);
        assert_eq!(answer.get("includes"), None);
        let members: Vec<_> = data[0].as_object().expect("an object").keys().collect();
        assert_eq!(members, ["id", "text"]);

        let fields = "&max_results=100&tweet.fields=author_id,created_at,geo,lang,source\
            &expansions=author_id,geo.place_id&user.fields=location&place.fields=place_type";
        let (_, answer) = asked(UCLA, fields);
        let data = answer["data"].as_array().expect("a list");
        assert_eq!(data.len(), 100);
        let known = |list: &str, id: &Value| {
            let list = answer["includes"][list].as_array().expect("a list");
            list.iter().filter(|item| item["id"] == *id).count()
        };
        for tweet in data {
            assert_eq!(known("users", &tweet["author_id"]), 1, "{tweet}");
            if let Some(geo) = tweet.get("geo") {
                assert_eq!(known("places", &geo["place_id"]), 1, "{tweet}");
                let longitude = geo["coordinates"]["coordinates"][0].as_f64();
                assert!(longitude.is_some_and(|degrees| degrees < -118.0), "{tweet}");
            }
        }
    }

    #[test]
    fn pages_follow_each_other() {
        let (_, first) = asked(UCLA, "");
        let token = first["meta"]["next_token"]
            .as_str()
            .expect("there are more");
        let (_, second) = asked(UCLA, &format!("&next_token={token}"));
        assert!(second["data"][0]["id"].as_str() < first["data"][9]["id"].as_str());
        let (_, back) = asked(UCLA, &format!("&since_id={token}"));
        assert_eq!(back["data"].as_array().map(Vec::len), Some(9));
    }

    #[test]
    fn nothing_found_is_no_data() {
        let nowhere = asked("point_radius:[-30 0 40km]", "&max_results=10");
        assert_eq!(nowhere, (200, json!({"meta": {"result_count": 0}})));
    }

    #[test]
    fn words_go_with_a_place() {
        let (_, all) = asked("point_radius:[86.7140 27.8047 30km]", "&max_results=100");
        let (_, some) = asked(
            "Everest point_radius:[86.7140 27.8047 30km]",
            "&max_results=100",
        );
        let count = |answer: &Value| answer["meta"]["result_count"].as_u64();
        assert!(
            count(&some) < count(&all) && count(&some) > Some(0),
            "{some}"
        );
    }

    #[test]
    fn what_it_refuses() {
        for (query, rest, parameter) in [
            ("", "", "query"),
            ("point_radius:[0 0]", "", "query"),
            ("point_radius:[0 0 5km", "", "query"),
            ("point_radius:[0 0 5]", "", "query"),
            ("point_radius:[181 0 5km]", "", "query"),
            ("point_radius:[0 -91 5km]", "", "query"),
            ("point_radius:[0 0 -5km]", "", "query"),
            ("point_radius:[0 0 25mi]", "", "query"),
            ("point_radius:[0 0 40.2336km]", "", "query"),
            ("a", "&max_results=9", "max_results"),
            ("a", "&max_results=101", "max_results"),
            ("a", "&max_results=", "max_results"),
            ("a", "&since_id=x", "since_id"),
            ("a", "&rpp=10", "unknown"),
        ] {
            let (status, answer) = asked(query, rest);
            assert_eq!(status, 400, "{query} {rest}: {answer}");
            assert_eq!(answer["title"], "Invalid Request");
            let named = answer["errors"][0]["parameters"].get(parameter);
            assert!(named.is_some(), "{query} {rest}: {answer}");
        }
        assert_eq!(asked("point_radius:[0 0 24.9mi]", "").0, 200);
        assert_eq!(asked("point_radius:[0 0 40.2335km]", "").0, 200);
    }
}
