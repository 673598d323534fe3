//! The stand-in's tweets: five thousand invented ones, placed all over the real world.
//!
//! `main` calls [`synthetic`] once at start, unless it is given tweets, and `standin::mod`, the
//! stand-in's event loop, has the set searched with every question. Nothing here is random from run
//! to run: one seed gives every place, user, word and time, so a test may ask twice and compare.
//! This room knows no socket and no clock; its week ended on 17 November 2012, when the client of
//! the assignment's example reported its location.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashSet;
use std::f64::consts::TAU;

use super::places::{PLACES, Place};
use super::words::{EMOJI, ENGLISH, Language, SOURCES};
use crate::random::SplitMix64;

/// Mean radius of the Earth in kilometres (IUGG).
pub const EARTH_RADIUS_KILOMETRES: f64 = 6371.0088;

/// No tweet is newer: 2012-11-17 02:08:00 UTC, in milliseconds since 1970.
pub const NEWEST_MILLISECONDS: u64 = 1_353_118_080_000;

/// Every tweet's id is greater: the id of the moment one week before [`NEWEST_MILLISECONDS`].
pub const OLDEST_ID: u64 = snowflake(NEWEST_MILLISECONDS - WEEK_MILLISECONDS, 0);

const WEEK_MILLISECONDS: u64 = 7 * 24 * 60 * 60 * 1000;

/// Where Twitter's ids begin to count, in milliseconds since 1970 (from its Snowflake source).
pub(super) const SNOWFLAKE_EPOCH_MILLISECONDS: u64 = 1_288_834_974_657;

/// The bits of an id below its time: data centre, worker and sequence number.
const SNOWFLAKE_LOW_BITS: u32 = 22;

/// Twitter's limit for a text, in characters before escaping.
const TEXT_CHARACTERS_MAX: usize = 140;

/// Twitter's limit for a screen name.
const SCREEN_NAME_BYTES_MAX: usize = 15;

const SEED: u64 = 0x4845_5244_2012_1117;

/// The id of a tweet sent at `milliseconds` since 1970; 22 bits of it are its own.
pub(super) const fn snowflake(milliseconds: u64, low_bits: u64) -> u64 {
    ((milliseconds - SNOWFLAKE_EPOCH_MILLISECONDS) << SNOWFLAKE_LOW_BITS) | low_bits
}

/// When the tweet with this id was sent, in milliseconds since 1970: the id itself tells.
#[must_use]
pub const fn posted_at_milliseconds(id: u64) -> u64 {
    (id >> SNOWFLAKE_LOW_BITS) + SNOWFLAKE_EPOCH_MILLISECONDS
}

/// One tweet, as its author wrote it: nothing in it is escaped yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Tweet {
    /// Unique, and greater for a later tweet; see [`posted_at_milliseconds`].
    pub id: u64,
    /// At most 140 characters, one line.
    pub text: String,
    /// ISO 639-1 code of the text's language.
    pub language: Cow<'static, str>,
    /// The author's screen name, without the `@`.
    pub from_user: String,
    /// The author's number.
    pub from_user_id: u64,
    /// Screen name and number of the user the text begins by addressing, if it does.
    pub to_user: Option<(String, u64)>,
    /// What the author's profile gives as home, free text.
    pub location: String,
    /// The author's picture.
    pub profile_image_url: String,
    /// The HTML link that names the program the tweet was sent with.
    pub source: Cow<'static, str>,
    /// Degrees north, within ±90. Where the search finds the tweet.
    pub latitude: f64,
    /// Degrees east, from -180 up to but not including 180.
    pub longitude: f64,
    /// Whether the author let the position be shown; otherwise it is only searched by.
    pub geotagged: bool,
    /// How often it was passed on lately; 0 for all but a few, which count as popular.
    pub recent_retweets: u32,
}

/// The whole set, newest first; always the same.
#[must_use]
pub fn synthetic() -> Vec<Tweet> {
    let mut random = Dice(SplitMix64(SEED));
    let users = users(&mut random);
    let mut tweets = Vec::new();
    for (place, residents) in PLACES.iter().zip(&users) {
        for _ in 0..place.tweets {
            let author = random.choose(residents);
            let mentioned = if random.one_in(3) {
                let home = random.choose(&users);
                random.choose(home)
            } else {
                random.choose(residents)
            };
            tweets.push(tweet(place, author, mentioned, &mut random));
        }
    }
    tweets.sort_unstable_by_key(|tweet| Reverse(tweet.id));
    tweets
}

fn tweet(place: &Place, author: &User, mentioned: &User, random: &mut Dice) -> Tweet {
    // Much of the world also writes English, which then is what the tweet is tagged as.
    let language = match random.one_in(4) {
        true => &ENGLISH,
        false => place.language,
    };
    let sent_before = random.below(WEEK_MILLISECONDS);
    let low_bits = random.below(1 << SNOWFLAKE_LOW_BITS);
    let (text, is_reply) = text(language, place, &mentioned.screen_name, random);
    let (latitude, longitude) = position(place, random);
    Tweet {
        id: snowflake(NEWEST_MILLISECONDS - sent_before, low_bits),
        text,
        language: language.code.into(),
        from_user: author.screen_name.clone(),
        from_user_id: author.id,
        to_user: is_reply.then(|| (mentioned.screen_name.clone(), mentioned.id)),
        location: author.location.clone(),
        profile_image_url: author.profile_image_url.clone(),
        source: random.word(SOURCES).into(),
        latitude,
        longitude,
        geotagged: random.one_in(3),
        recent_retweets: match random.one_in(24) {
            true => 10 + u32::try_from(random.below(400)).expect("below 400"),
            false => 0,
        },
    }
}

/// A text, and whether it begins by addressing `mentioned`.
fn text(language: &Language, place: &Place, mentioned: &str, random: &mut Dice) -> (String, bool) {
    let body = random
        .word(language.templates)
        .replace("{place}", place.short_name())
        .replace("{thing}", random.word(language.things))
        .replace("{number}", &(2 + random.below(48)).to_string());
    let opening = random.below(10);
    let mut text = match opening {
        0 => format!("@{mentioned} {body}"),
        1 => format!("RT @{mentioned}: {body}"),
        _ => body,
    };
    let mut endings = Vec::new();
    if random.one_in(3) {
        endings.push(format!("#{}", random.word(language.tags)));
    }
    if random.one_in(5) {
        endings.push(random.word(EMOJI).to_owned());
    }
    if random.one_in(6) {
        endings.push(format!("http://t.co/{}", link(random)));
    }
    for ending in endings {
        if text.chars().count() + 1 + ending.chars().count() <= TEXT_CHARACTERS_MAX {
            text.push(' ');
            text.push_str(&ending);
        }
    }
    (text, opening == 0)
}

/// Eight letters and digits, as Twitter's link shortener gives.
fn link(random: &mut Dice) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    (0..8)
        .map(|_| char::from(*random.choose(ALPHABET)))
        .collect()
}

/// A point within the place's spread, evenly over its disc, to 0.0001° (some 11 m).
///
/// This is the direct problem on a sphere rather than an addition of degrees, which would fail at
/// the poles, where we have a few tweets on purpose.
fn position(place: &Place, random: &mut Dice) -> (f64, f64) {
    let bearing = random.fraction() * TAU;
    let arc = place.spread_kilometres * random.fraction().sqrt() / EARTH_RADIUS_KILOMETRES;
    let start = place.latitude.to_radians();
    let latitude = (start.sin() * arc.cos() + start.cos() * arc.sin() * bearing.cos()).asin();
    let east = (bearing.sin() * arc.sin() * start.cos())
        .atan2(arc.cos() - start.sin() * latitude.sin())
        .to_degrees();
    let rounded = |degrees: f64| (degrees * 1e4).round() / 1e4;
    // ISO 6709: the 180th meridian is written as west.
    let longitude = match rounded(place.longitude + east) {
        longitude if longitude >= 180.0 => rounded(longitude - 360.0),
        longitude if longitude < -180.0 => rounded(longitude + 360.0),
        longitude => longitude,
    };
    (rounded(latitude.to_degrees()), longitude)
}

struct User {
    id: u64,
    screen_name: String,
    location: String,
    profile_image_url: String,
}

/// The residents of every place, in the order of [`PLACES`]; no place is without any.
fn users(random: &mut Dice) -> Vec<Vec<User>> {
    let mut taken = HashSet::new(); // asked, never iterated: no order of its own gets out
    let mut number = 600_000;
    let mut residents = |place: &Place| {
        let count = place.tweets.div_ceil(12).max(2);
        (0..count)
            .map(|_| {
                // Strictly growing, so that no two users share a number.
                number += 1 + random.below(2_000_000);
                User {
                    id: number,
                    screen_name: screen_name(place.language, &mut taken, random),
                    location: home(place, random),
                    profile_image_url: format!(
                        "http://a{}.twimg.com/profile_images/{}/{}_normal.jpg",
                        random.below(4),
                        100_000_000 + random.below(2_700_000_000),
                        random.word(&["avatar", "image", "me", "photo", "profile", "DSC01842"]),
                    ),
                }
            })
            .collect()
    };
    PLACES.iter().map(&mut residents).collect()
}

fn screen_name(language: &Language, taken: &mut HashSet<String>, random: &mut Dice) -> String {
    loop {
        let given = random.word(language.given_names);
        let family = random.word(language.family_names);
        let name = match random.below(5) {
            0 => format!("{given}_{family}"),
            1 => format!("{given}{}", 60 + random.below(40)),
            2 => format!("{}{family}", &given[..1]),
            3 => format!("its{given}_{}", 1 + random.below(99)),
            _ => format!("{given}{family}{}", random.below(10)),
        };
        let folded = name.to_ascii_lowercase();
        if name.len() <= SCREEN_NAME_BYTES_MAX && taken.insert(folded) {
            return name;
        }
    }
}

/// What people write as their home: mostly it, sometimes coordinates that a telephone put there.
fn home(place: &Place, random: &mut Dice) -> String {
    match random.below(8) {
        0 => format!("ÜT: {},{}", place.latitude, place.longitude),
        1 => place.short_name().to_owned(),
        2 => format!("somewhere near {}", place.short_name()),
        _ => place.name.to_owned(),
    }
}

/// What the set is drawn with.
struct Dice(SplitMix64);

impl Dice {
    /// From 0 up to but not including `limit`, by the high half of a product (Lemire 2019).
    fn below(&mut self, limit: u64) -> u64 {
        let product = u128::from(self.0.next_u64()) * u128::from(limit);
        u64::try_from(product >> 64).expect("the high half of a 128-bit product has 64 bits")
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// From 0 up to but not including 1, with the 53 bits that an `f64` holds.
    fn fraction(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn choose<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        let limit = u64::try_from(among.len()).expect("a table fits into 64 bits");
        &among[usize::try_from(self.below(limit)).expect("below the length of a slice")]
    }

    fn word(&mut self, among: &[&'static str]) -> &'static str {
        self.choose::<&'static str>(among)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_set_every_time() {
        assert_eq!(synthetic(), synthetic());
    }

    #[test]
    fn some_five_thousand_newest_first_within_their_week() {
        let tweets = synthetic();
        assert!((4_900..=5_100).contains(&tweets.len()), "{}", tweets.len());
        assert!(tweets.windows(2).all(|pair| pair[0].id > pair[1].id));
        let newest = posted_at_milliseconds(tweets[0].id);
        let oldest = posted_at_milliseconds(tweets[tweets.len() - 1].id);
        assert!(newest <= NEWEST_MILLISECONDS);
        assert!(oldest > NEWEST_MILLISECONDS - WEEK_MILLISECONDS);
        assert!(tweets.iter().all(|tweet| tweet.id > OLDEST_ID));
    }

    #[test]
    fn positions_are_on_the_globe_and_on_both_sides_of_the_date_line() {
        let tweets = synthetic();
        for tweet in &tweets {
            assert!(tweet.latitude.abs() <= 90.0, "{tweet:?}");
            assert!((-180.0..180.0).contains(&tweet.longitude), "{tweet:?}");
        }
        let near_fiji = |tweet: &&Tweet| (tweet.latitude + 16.85).abs() < 0.5;
        let fijian: Vec<f64> = tweets
            .iter()
            .filter(near_fiji)
            .map(|t| t.longitude)
            .collect();
        assert!(fijian.iter().any(|longitude| *longitude > 179.0));
        assert!(fijian.iter().any(|longitude| *longitude < -179.0));
        assert!(tweets.iter().any(|tweet| tweet.latitude > 89.5));
        assert!(tweets.iter().any(|tweet| tweet.latitude < -89.9));
    }

    #[test]
    fn texts_are_filled_in_varied_and_within_the_limit() {
        let tweets = synthetic();
        for tweet in &tweets {
            assert!(
                tweet.text.chars().count() <= TEXT_CHARACTERS_MAX,
                "{tweet:?}"
            );
            assert!(!tweet.text.contains(['{', '}', '\r', '\n']), "{tweet:?}");
            let addressed = tweet
                .to_user
                .as_ref()
                .is_some_and(|(name, _)| tweet.text.starts_with(&format!("@{name} ")));
            assert_eq!(tweet.text.starts_with('@'), addressed, "{tweet:?}");
        }
        let distinct: HashSet<&str> = tweets.iter().map(|tweet| &*tweet.text).collect();
        assert!(distinct.len() * 4 > tweets.len() * 3, "{}", distinct.len());
        for wanted in ["\"", "\\", "&", "<", "#", "@", "東京", "/", "😂", "नेपाल"] {
            assert!(
                tweets.iter().any(|tweet| tweet.text.contains(wanted)),
                "{wanted}"
            );
        }
    }

    #[test]
    fn a_user_keeps_name_number_and_home() {
        let mut known = std::collections::HashMap::new();
        for tweet in synthetic() {
            let name = tweet.from_user.to_lowercase();
            assert!(
                tweet.from_user.len() <= SCREEN_NAME_BYTES_MAX,
                "{}",
                tweet.from_user
            );
            let user = (tweet.from_user_id, tweet.location);
            assert_eq!(known.entry(name).or_insert_with(|| user.clone()), &user);
        }
        let numbers: HashSet<u64> = known.values().map(|(number, _)| *number).collect();
        assert_eq!(numbers.len(), known.len(), "two users share a number");
        assert!((200..800).contains(&known.len()), "{}", known.len());
    }

    #[test]
    fn an_id_tells_its_time() {
        let id = snowflake(NEWEST_MILLISECONDS, 0x3f_ffff);
        assert_eq!(posted_at_milliseconds(id), NEWEST_MILLISECONDS);
        // Twitter's own: "Fri, 31 Aug 2012 22:06:23 +0000".
        let august = posted_at_milliseconds(241_658_217_820_741_632);
        assert_eq!(august / 1000, 1_346_450_783);
    }
}
