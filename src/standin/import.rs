//! A user's own tweets for the stand-in: JSON Lines, a tweet each, with where it was sent. Pure.
//!
//! `main` reads the file and calls [`tweets`] at start. What each of Twitter's APIs calls a tweet is
//! taken, so that what was once fetched can be served again; so is a plain
//! `{"text":…,"latitude":…,"longitude":…}`. In files as people have them most tweets have no position,
//! and some lines are something else: those are skipped and counted.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, NaiveDateTime};
use serde_json::Value;

use super::tweets::{NEWEST_MILLISECONDS, SNOWFLAKE_EPOCH_MILLISECONDS, Tweet, snowflake};

/// More tweets than anybody tries by hand, fewer than would fill a memory.
const TWEETS_MAX: usize = 1_000_000;

/// Who sent a tweet that does not say.
const NOBODY: &str = "nobody";

/// What a file gave. Shown, it says how many lines were taken, and how many skipped for which reasons.
#[derive(Debug)]
pub struct Imported {
    /// Newest first.
    pub tweets: Vec<Tweet>,
    /// In the order of their first lines.
    skipped: Vec<Skipped>,
}

/// The lines that were skipped for one reason.
#[derive(Debug)]
struct Skipped {
    reason: &'static str,
    first: u64,
    count: u64,
}

impl Imported {
    fn skip(&mut self, number: u64, reason: &'static str) {
        match self.skipped.iter_mut().find(|other| other.reason == reason) {
            Some(skipped) => skipped.count += 1,
            None => self.skipped.push(Skipped {
                reason,
                first: number,
                count: 1,
            }),
        }
    }
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: u64 = self.skipped.iter().map(|skipped| skipped.count).sum();
        let taken = self.tweets.len();
        write!(f, "tweets taken: {taken}, lines skipped: {lines}")?;
        self.skipped.iter().try_for_each(|skipped| {
            let Skipped {
                reason,
                first,
                count,
            } = skipped;
            write!(f, "; {reason}: {count}, first line {first}")
        })
    }
}

/// The tweets of a file. Empty lines say nothing.
///
/// Wanted are `text` and a position: `latitude` and `longitude`, or `coordinates` (GeoJSON, east
/// first), or `geo` (north first, but GeoJSON in API 2). A tweet without `id` gets one by its
/// `created_at`, or else by its line. Of tweets with one id the first is taken.
///
/// # Errors
/// If no line can be taken: says why, and what is wanted.
pub fn tweets(text: &[u8]) -> Result<Imported, String> {
    first_tweets(text, TWEETS_MAX)
}

fn first_tweets(text: &[u8], most: usize) -> Result<Imported, String> {
    let mut imported = Imported {
        tweets: Vec::new(),
        skipped: Vec::new(),
    };
    let mut ids = BTreeSet::new();
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text); // some editors begin a file so
    for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        match tweet(line, number) {
            Err(reason) => imported.skip(number, reason),
            Ok(_) if imported.tweets.len() == most => imported.skip(number, "too many tweets"),
            Ok(tweet) if !ids.insert(tweet.id) => {
                imported.skip(number, "an id for the second time")
            }
            Ok(tweet) => imported.tweets.push(tweet),
        }
    }
    if imported.tweets.is_empty() {
        return Err(format!(
            "wanted are lines of JSON with text and a position (latitude and longitude, or geo or \
             coordinates as Twitter gives them), and there is none; {imported}"
        ));
    }
    imported
        .tweets
        .sort_unstable_by_key(|tweet: &Tweet| Reverse(tweet.id));
    Ok(imported)
}

/// A line's tweet, or why it has none.
fn tweet(line: &[u8], number: u64) -> Result<Tweet, &'static str> {
    let json = json(line).ok_or("no JSON")?;
    let text = text(&json, &["text", "full_text"]).ok_or("no text")?;
    let (latitude, longitude) = position(&json).ok_or("no position")?;
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

/// The JSON of a line. What in it is no Unicode becomes U+FFFD: bytes that are not UTF-8, and halves of
/// surrogate pairs.
fn json(line: &[u8]) -> Option<Value> {
    let json = serde_json::from_slice(line);
    let json = json.or_else(|_| serde_json::from_str(&String::from_utf8_lossy(&mended(line))));
    json.ok()
}

/// `line` without escapes of half a surrogate pair, which serde_json refuses. They are JSON (RFC 8259,
/// section 8.2): whoever cuts a text after so many UTF-16 units may cut through an emoji.
fn mended(line: &[u8]) -> Vec<u8> {
    let mut mended = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (before, escape) = rest.split_at(at);
        let next = escape.get(6..).unwrap_or_default();
        let (kept, used) = match (code_unit(escape), code_unit(next)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (&escape[..12], 12),
            (Some(0xd800..=0xdfff), _) => (&br"\ufffd"[..], 6),
            _ => {
                let used = escape.len().min(2); // of `\\u`, the second `\` begins no escape
                (&escape[..used], used)
            }
        };
        mended.extend_from_slice(before);
        mended.extend_from_slice(kept);
        rest = &escape[used..];
    }
    mended.extend_from_slice(rest);
    mended
}

/// The UTF-16 unit that `text` begins with as an escape of JSON: `\u`, then four hexadecimal digits.
fn code_unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(br"\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
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

fn id(json: &Value, number: u64) -> Result<u64, &'static str> {
    // Above this an id's time is beyond what the calendar here can write.
    const ID_MAX: u64 = i64::MAX as u64;
    if json.get("id").is_some() || json.get("id_str").is_some() {
        let id = integer(json, &["id", "id_str"]).filter(|id| (1..=ID_MAX).contains(id));
        return id.ok_or("no id from 1 to 2^63 - 1");
    }
    let low_bits = number % (1 << 22);
    let Some(created) = text(json, &["created_at"]) else {
        let sent = NEWEST_MILLISECONDS.saturating_sub(1000 * number); // in the order of the file
        return match sent {
            SNOWFLAKE_EPOCH_MILLISECONDS.. => Ok(snowflake(sent, low_bits)),
            _ => Err("no created_at, so far down in the file"), // before the first time that an id has
        };
    };
    let milliseconds = date(&created).ok_or("no date as Twitter writes it in created_at")?;
    if !(SNOWFLAKE_EPOCH_MILLISECONDS..1 << 42).contains(&milliseconds) {
        return Err("a created_at that is not between November 2010 and 2109");
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
    use proptest::sample::select;

    #[test]
    fn lines_too_far_down_for_a_time_of_their_own_are_skipped() {
        let json = json(b"{}").expect("JSON");
        let last = (NEWEST_MILLISECONDS - SNOWFLAKE_EPOCH_MILLISECONDS) / 1000;
        let sent = id(&json, last).map(posted_at_milliseconds);
        assert_eq!(sent, Ok(NEWEST_MILLISECONDS - 1000 * last));
        for number in [last + 1, u64::MAX / 1000] {
            id(&json, number).expect_err("there is no earlier time");
        }
    }

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
            let imported = tweets(line.as_bytes()).expect(line);
            let [tweet] = &imported.tweets[..] else {
                panic!("{imported}");
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
            let imported = tweets(line.as_bytes()).expect(created);
            let posted = posted_at_milliseconds(imported.tweets[0].id);
            assert_eq!(posted, 1_353_051_514_000, "{created}");
        }
        let two = format!("{{\"text\":\"first\",{at}}}\r\n\n{{\"text\":\"second\",{at}}}\n");
        let texts: Vec<_> = tweets(two.as_bytes())
            .expect("two lines")
            .tweets
            .into_iter()
            .map(|tweet| tweet.text)
            .collect();
        assert_eq!(texts, ["first", "second"]);
    }

    #[test]
    fn what_has_no_tweet_is_skipped_and_counted() {
        let at = r#""latitude":0,"longitude":0"#;
        for (line, want) in [
            ("x".to_owned(), "no JSON"),
            ("[]".to_owned(), "no text"),
            ("{\"delete\":{\"status\":{\"id\":5}}}".to_owned(), "no text"),
            (format!("{{{at}}}"), "no text"),
            (r#"{"text":"a","geo":null}"#.to_owned(), "no position"),
            (
                r#"{"text":"a","coordinates":null,"geo":null}"#.to_owned(),
                "no position",
            ),
            (
                r#"{"text":"a","latitude":90.1,"longitude":0}"#.to_owned(),
                "no position",
            ),
            (
                format!("{{\"text\":\"a\",\"id\":1,{at}}}"),
                "an id for the second time",
            ),
            (format!("{{\"text\":\"a\",\"id\":-1,{at}}}"), "no id from"),
            (
                format!("{{\"text\":\"a\",\"id\":9223372036854775808,{at}}}"),
                "no id from",
            ),
            (
                format!("{{\"text\":\"a\",\"created_at\":\"now\",{at}}}"),
                "no date",
            ),
            (
                format!("{{\"text\":\"a\",\"created_at\":\"2010-01-01T00:00:00Z\",{at}}}"),
                "a created_at",
            ),
        ] {
            let text = format!("{{\"text\":\"a\",\"id\":1,{at}}}\n{line}\n\n{line}\n");
            let imported = tweets(text.as_bytes()).expect(&line);
            assert_eq!(imported.tweets.len(), 1, "{line}");
            let said = imported.to_string();
            let begin = format!("tweets taken: 1, lines skipped: 2; {want}");
            let whole = said.starts_with(&begin) && said.ends_with(": 2, first line 2");
            assert!(whole, "{line}: {said}");
        }
    }

    #[test]
    fn most_tweets_have_no_position() {
        let mut text = "\u{feff}".to_owned();
        for number in 1..=60 {
            text += &match number {
                7 => "<html>\n".to_owned(),
                30 | 60 => format!(
                    "{{\"id\":{number},\"text\":\"here\",\"coordinates\":{{\"coordinates\":[86,27]}}}}\n"
                ),
                _ => format!("{{\"id\":{number},\"text\":\"there\",\"coordinates\":null}}\n"),
            };
        }
        let imported = tweets(text.as_bytes()).expect("two have one");
        let ids: Vec<_> = imported.tweets.iter().map(|tweet| tweet.id).collect();
        assert_eq!(ids, [60, 30]);
        assert_eq!(
            imported.to_string(),
            "tweets taken: 2, lines skipped: 58; no position: 57, first line 1; \
             no JSON: 1, first line 7"
        );
        let text = text.replace("here", "");
        let two = first_tweets(text.as_bytes(), 1).expect("one of two");
        let said = two.to_string();
        assert!(
            said.ends_with("; too many tweets: 1, first line 60"),
            "{said}"
        );
    }

    #[test]
    fn a_file_without_a_tweet_is_refused() {
        for (text, want) in [
            ("", "lines skipped: 0"),
            ("\n \n", "lines skipped: 0"),
            (
                "[\n{}\n]\n",
                "lines skipped: 3; no JSON: 2, first line 1; no text: 1, first line 2",
            ),
            (
                "{\"text\":\"a\"}\n{\"text\":\"b\"}",
                "lines skipped: 2; no position: 2, first line 1",
            ),
        ] {
            let error = tweets(text.as_bytes()).expect_err(text);
            assert!(error.starts_with("wanted are lines of JSON"), "{error}");
            assert!(error.ends_with(want), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_no_unicode_is_replaced() {
        for (text, want) in [
            (&br"\ud83d"[..], "\u{fffd}"),
            (br"\uD83D!", "\u{fffd}!"),
            (br"\ude00\ud83d", "\u{fffd}\u{fffd}"),
            (br"\ud83d\ud83d\ude00", "\u{fffd}\u{1f600}"),
            (br"\ud83d\ude00\ud83d", "\u{1f600}\u{fffd}"),
            (br"\ud83d\n\ude00", "\u{fffd}\n\u{fffd}"),
            (br"\\\ud83d\\ud83d", "\\\u{fffd}\\ud83d"),
            (b"caf\xe9 \\ud83d", "caf\u{fffd} \u{fffd}"),
        ] {
            let line = [
                br#"{"latitude":0,"longitude":0,"text":""#,
                text,
                br#"","location":"\u00e9"}"#,
            ];
            let imported = tweets(&line.concat()).expect("a tweet");
            let [tweet] = &imported.tweets[..] else {
                panic!("{imported}");
            };
            assert_eq!(tweet.text, want, "{}", text.escape_ascii());
            assert_eq!(tweet.location, "é");
        }
        for text in [&br"\ud83"[..], br"\ud8", br"\u", br"\", br"\x", br"\u+83d"] {
            let line = [br#"{"latitude":0,"longitude":0,"text":""#, text].concat();
            for end in [&br#""}"#[..], b""] {
                tweets(&[&line[..], end].concat()).expect_err("no JSON");
            }
        }
    }

    proptest! {
        #[test]
        fn noise_never_panics(text in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = tweets(&text);
        }

        #[test]
        fn json_is_what_it_was_and_halves_of_pairs_are_replaced(pieces in proptest::collection::vec(
            select(&[r"\ud83d", r"\uDE00", r"\\", r"\n", r"\u0041", "é", "u", "d83d"]), 0..12)) {
            let json = format!("\"{}\"", pieces.concat());
            let mended = mended(json.as_bytes());
            let got = serde_json::from_slice::<String>(&mended).expect("it is JSON");
            let units = pieces.iter().flat_map(|piece| match *piece {
                r"\ud83d" => vec![0xd83d],
                r"\uDE00" => vec![0xde00],
                r"\\" => vec![u16::from(b'\\')],
                r"\n" => vec![u16::from(b'\n')],
                r"\u0041" => vec![u16::from(b'A')],
                text => text.encode_utf16().collect(),
            });
            let units: Vec<_> = units.collect();
            prop_assert_eq!(got, String::from_utf16_lossy(&units), "{}", json);
        }
    }
}
