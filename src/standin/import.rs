//! A user's own tweets for the stand-in: JSON Lines, a tweet each, with where it was sent. Pure.
//!
//! `main` reads the file and calls [`tweets`] at start. What each of Twitter's APIs calls a tweet is
//! taken, so that what was once fetched can be served again; so is a plain
//! `{"text":…,"latitude":…,"longitude":…}`.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDateTime};
use serde_json::Value;

use super::tweets::{NEWEST_MILLISECONDS, SNOWFLAKE_EPOCH_MILLISECONDS, Tweet, snowflake};

/// More tweets than anybody tries by hand, fewer than would fill a memory.
const TWEETS_MAX: usize = 1_000_000;

/// Who sent a tweet that does not say.
const NOBODY: &str = "nobody";

/// The tweets of a file, newest first. Empty lines say nothing.
///
/// Wanted are `text` and a position: `latitude` and `longitude`, or `coordinates` (GeoJSON, east
/// first), or `geo` (north first, but GeoJSON in API 2). A tweet without `id` gets one by its
/// `created_at`, or else by its line.
///
/// # Errors
/// Says which line is wrong, and what is wanted.
pub fn tweets(text: &[u8]) -> Result<Vec<Tweet>, String> {
    let mut tweets = Vec::new();
    let mut ids = BTreeSet::new();
    for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let tweet = tweet(line, number).map_err(|error| format!("line {number}: {error}"))?;
        if !ids.insert(tweet.id) {
            return Err(format!("line {number}: the id {} is given twice", tweet.id));
        }
        if tweets.len() == TWEETS_MAX {
            return Err(format!("line {number}: more than {TWEETS_MAX} tweets"));
        }
        tweets.push(tweet);
    }
    tweets.sort_unstable_by_key(|tweet: &Tweet| Reverse(tweet.id));
    Ok(tweets)
}

fn tweet(line: &[u8], number: u64) -> Result<Tweet, String> {
    let json: Value = serde_json::from_slice(line).map_err(|_| "it is not JSON".to_owned())?;
    let text = text(&json, &["text", "full_text"]).ok_or("it has no text")?;
    let (latitude, longitude) = position(&json).ok_or(
        "it has no position: wanted are latitude and longitude, or geo or coordinates as Twitter \
         gives them",
    )?;
    let user = json.get("user").unwrap_or(&Value::Null);
    let author = self::text(&json, &["from_user"]).or_else(|| self::text(user, &["screen_name"]));
    let to_user = self::text(&json, &["to_user", "in_reply_to_screen_name"]);
    let to_user_id = integer(&json, &["to_user_id", "in_reply_to_user_id"]);
    Ok(Tweet {
        id: id(&json, number)?,
        text,
        language: self::text(&json, &["lang", "iso_language_code"])
            .unwrap_or_else(|| "und".to_owned()) // undetermined, as Twitter says
            .into(),
        from_user: author.unwrap_or_else(|| NOBODY.to_owned()),
        from_user_id: integer(&json, &["from_user_id", "author_id"])
            .or_else(|| integer(user, &["id"]))
            .unwrap_or(0),
        to_user: to_user.zip(to_user_id),
        location: self::text(&json, &["location"])
            .or_else(|| self::text(user, &["location"]))
            .unwrap_or_default(),
        profile_image_url: self::text(&json, &["profile_image_url"])
            .or_else(|| self::text(user, &["profile_image_url"]))
            .unwrap_or_default(),
        source: self::text(&json, &["source"]).unwrap_or_default().into(),
        latitude,
        longitude,
        geotagged: true,
        recent_retweets: integer(&json, &["retweet_count"])
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(0),
    })
}

/// The first of these members that is a text.
fn text(json: &Value, names: &[&str]) -> Option<String> {
    let mut texts = names.iter().filter_map(|name| json.get(name)?.as_str());
    texts.next().map(str::to_owned)
}

/// The first of these members that is a whole number, or a text of one as in API 2.
fn integer(json: &Value, names: &[&str]) -> Option<u64> {
    names.iter().find_map(|name| match json.get(name)? {
        Value::String(digits) => digits.parse().ok(),
        number => number.as_u64(),
    })
}

/// Degrees north and east, if they are on Earth.
fn position(json: &Value) -> Option<(f64, f64)> {
    let number = |name: &str| json.get(name)?.as_f64();
    let pair = |list: &Value| Some((list.get(0)?.as_f64()?, list.get(1)?.as_f64()?));
    let swapped = |(east, north)| (north, east);
    let plain = number("latitude").zip(number("longitude"));
    let geojson = || pair(json.get("coordinates")?.get("coordinates")?).map(swapped);
    let api_2 = || pair(json.get("geo")?.get("coordinates")?.get("coordinates")?).map(swapped);
    let geo = || pair(json.get("geo")?.get("coordinates")?);
    let found = plain.or_else(geojson).or_else(api_2).or_else(geo)?;
    let (latitude, longitude) = found;
    let on_earth = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
    // ISO 6709: the 180th meridian is written as west.
    on_earth.then_some((
        latitude,
        if longitude == 180.0 {
            -180.0
        } else {
            longitude
        },
    ))
}

fn id(json: &Value, number: u64) -> Result<u64, String> {
    // Above this an id's time is beyond what the calendar here can write.
    const ID_MAX: u64 = i64::MAX as u64;
    if json.get("id").is_some() || json.get("id_str").is_some() {
        let id = integer(json, &["id", "id_str"]).filter(|id| (1..=ID_MAX).contains(id));
        return id.ok_or_else(|| "its id is no whole number from 1 to 2^63".to_owned());
    }
    let low_bits = number % (1 << 22);
    let Some(created) = text(json, &["created_at"]) else {
        let sent = NEWEST_MILLISECONDS.saturating_sub(1000 * number); // in the order of the file
        return Ok(snowflake(sent, low_bits));
    };
    let milliseconds = date(&created).ok_or("its created_at is no date as Twitter writes them")?;
    if !(SNOWFLAKE_EPOCH_MILLISECONDS..1 << 42).contains(&milliseconds) {
        return Err("its created_at is not between November 2010 and 2109".to_owned());
    }
    Ok(snowflake(milliseconds, low_bits))
}

/// Milliseconds since 1970 of a date as API 1.0, 1.1 or 2 writes it.
fn date(text: &str) -> Option<u64> {
    let rfc = DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc2822(text));
    let milliseconds = match rfc {
        Ok(date) => date.timestamp_millis(),
        Err(_) => {
            let date = NaiveDateTime::parse_from_str(text, "%a %b %d %H:%M:%S +0000 %Y").ok()?;
            date.and_utc().timestamp_millis()
        }
    };
    u64::try_from(milliseconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standin::tweets::posted_at_milliseconds;
    use proptest::prelude::*;

    #[test]
    fn what_each_api_calls_a_tweet() {
        for (line, id, from, place) in [
            (
                r#"{"text":"a","latitude":34.5,"longitude":180,"from_user":"kiwi"}"#,
                None,
                "kiwi",
                (34.5, -180.0),
            ),
            (
                r#"{"text":"a","id":269343687832502277,"from_user":"kiwi","geo":{"type":"Point","coordinates":[34.5,-118.25]}}"#,
                Some(269_343_687_832_502_277),
                "kiwi",
                (34.5, -118.25),
            ),
            (
                r#"{"full_text":"a","id_str":"7","user":{"screen_name":"kiwi","id":5},"geo":null,"coordinates":{"type":"Point","coordinates":[-118.25,34.5]}}"#,
                Some(7),
                "kiwi",
                (34.5, -118.25),
            ),
            (
                r#"{"text":"a","id":"1346889436626259968","author_id":"5","geo":{"coordinates":{"type":"Point","coordinates":[-118.25,34.5]}}}"#,
                Some(1_346_889_436_626_259_968),
                NOBODY,
                (34.5, -118.25),
            ),
        ] {
            let tweets = tweets(line.as_bytes()).expect(line);
            let [tweet] = &tweets[..] else {
                panic!("{tweets:?}");
            };
            assert_eq!((tweet.latitude, tweet.longitude), place, "{line}");
            assert_eq!((&*tweet.text, &*tweet.from_user), ("a", from), "{line}");
            if let Some(id) = id {
                assert_eq!(tweet.id, id, "{line}");
            }
        }
    }

    #[test]
    fn the_time_makes_the_id_or_else_the_line() {
        let at = r#""latitude":0,"longitude":0"#;
        for created in [
            "Fri, 16 Nov 2012 07:38:34 +0000",
            "Fri Nov 16 07:38:34 +0000 2012",
            "2012-11-16T07:38:34.000Z",
        ] {
            let line = format!("{{\"text\":\"a\",\"created_at\":\"{created}\",{at}}}");
            let tweets = tweets(line.as_bytes()).expect(created);
            let posted = posted_at_milliseconds(tweets[0].id);
            assert_eq!(posted, 1_353_051_514_000, "{created}");
        }
        let two = format!("{{\"text\":\"first\",{at}}}\r\n\n{{\"text\":\"second\",{at}}}\n");
        let texts: Vec<_> = tweets(two.as_bytes())
            .expect("two lines")
            .into_iter()
            .map(|tweet| tweet.text)
            .collect();
        assert_eq!(texts, ["first", "second"]);
    }

    #[test]
    fn which_line_is_wrong() {
        let at = r#""latitude":0,"longitude":0"#;
        for (line, want) in [
            ("x".to_owned(), "line 2: it is not JSON"),
            ("[]".to_owned(), "line 2: it has no text"),
            (format!("{{{at}}}"), "line 2: it has no text"),
            (
                r#"{"text":"a","geo":null}"#.to_owned(),
                "line 2: it has no position",
            ),
            (
                r#"{"text":"a","latitude":90.1,"longitude":0}"#.to_owned(),
                "line 2: it has no position",
            ),
            (
                format!("{{\"text\":\"a\",\"id\":1,{at}}}"),
                "line 2: the id 1 is given twice",
            ),
            (
                format!("{{\"text\":\"a\",\"id\":-1,{at}}}"),
                "line 2: its id",
            ),
            (
                format!("{{\"text\":\"a\",\"id\":18446744073709551615,{at}}}"),
                "line 2: its id",
            ),
            (
                format!("{{\"text\":\"a\",\"created_at\":\"now\",{at}}}"),
                "line 2: its created_at",
            ),
            (
                format!("{{\"text\":\"a\",\"created_at\":\"2010-01-01T00:00:00Z\",{at}}}"),
                "line 2: its created_at",
            ),
        ] {
            let text = format!("{{\"text\":\"a\",\"id\":1,{at}}}\n{line}\n");
            let error = tweets(text.as_bytes()).expect_err(&line);
            assert!(error.starts_with(want), "{line}: {error}");
        }
    }

    proptest! {
        #[test]
        fn noise_never_panics(text in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = tweets(&text);
        }
    }
}
