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

struct Place {
    name: &'static str,
    latitude: f64,
    longitude: f64,
    spread_kilometres: f64,
    tweets: u64,
    language: &'static Language,
}

impl Place {
    /// The name up to its first comma: people do not write "Lukla, Nepal" into a sentence.
    fn short_name(&self) -> &'static str {
        self.name.split(',').next().expect("split gives one part")
    }
}

const fn place(
    name: &'static str,
    latitude: f64,
    longitude: f64,
    spread_kilometres: f64,
    tweets: u64,
    language: &'static Language,
) -> Place {
    Place {
        name,
        latitude,
        longitude,
        spread_kilometres,
        tweets,
        language,
    }
}

#[rustfmt::skip]
static PLACES: &[Place] = &[
    // Within 100 km of +27.5916+086.5640, the location in the assignment's example; the first
    // three within some 10 km of it. Kathmandu is just beyond the 100.
    place("Junbesi, Nepal", 27.5833, 86.5167, 3.0, 16, &NEPALI),
    place("Phaplu, Nepal", 27.5167, 86.5833, 3.0, 18, &NEPALI),
    place("Salleri, Nepal", 27.5040, 86.5870, 3.0, 16, &NEPALI),
    place("Lukla, Nepal", 27.6869, 86.7298, 5.0, 48, &NEPALI),
    place("Namche Bazaar, Nepal", 27.8047, 86.7140, 6.0, 60, &NEPALI),
    place("Everest Base Camp, Nepal", 28.0043, 86.8570, 4.0, 32, &ENGLISH),
    place("Jiri, Nepal", 27.6333, 86.2333, 8.0, 22, &NEPALI),
    place("Okhaldhunga, Nepal", 27.3167, 86.5000, 8.0, 22, &NEPALI),
    place("Kathmandu, Nepal", 27.7172, 85.3240, 12.0, 140, &NEPALI),
    // Cities.
    place("UCLA, Los Angeles", 34.0689, -118.4451, 2.0, 120, &ENGLISH),
    place("Los Angeles, CA", 34.0522, -118.2437, 35.0, 240, &ENGLISH),
    place("New York, NY", 40.7128, -74.0060, 20.0, 220, &ENGLISH),
    place("London, England", 51.5074, -0.1278, 22.0, 220, &ENGLISH),
    place("Paris, France", 48.8566, 2.3522, 15.0, 160, &FRENCH),
    place("Berlin, Deutschland", 52.5200, 13.4050, 18.0, 140, &GERMAN),
    place("Tokyo, Japan", 35.6762, 139.6503, 25.0, 224, &JAPANESE),
    place("São Paulo, Brasil", -23.5505, -46.6333, 25.0, 180, &PORTUGUESE),
    place("Ciudad de México, México", 19.4326, -99.1332, 22.0, 170, &SPANISH),
    place("İstanbul, Türkiye", 41.0082, 28.9784, 20.0, 160, &TURKISH),
    place("Москва, Россия", 55.7558, 37.6173, 22.0, 150, &RUSSIAN),
    place("Jakarta, Indonesia", -6.2088, 106.8456, 18.0, 190, &INDONESIAN),
    place("Lagos, Nigeria", 6.5244, 3.3792, 14.0, 130, &ENGLISH),
    place("Mumbai, India", 19.0760, 72.8777, 14.0, 130, &HINDI),
    place("Sydney, Australia", -33.8688, 151.2093, 18.0, 130, &ENGLISH),
    // The rest of the world.
    place("Reykjavík, Iceland", 64.1466, -21.9426, 12.0, 30, &ENGLISH),
    place("Dublin, Ireland", 53.3498, -6.2603, 18.0, 36, &ENGLISH),
    place("Lisboa, Portugal", 38.7223, -9.1393, 15.0, 34, &PORTUGUESE),
    place("Madrid, España", 40.4168, -3.7038, 30.0, 44, &SPANISH),
    place("Barcelona, España", 41.3874, 2.1686, 15.0, 36, &SPANISH),
    place("Lyon, France", 45.7640, 4.8357, 30.0, 30, &FRENCH),
    place("Roma, Italia", 41.9028, 12.4964, 20.0, 30, &ENGLISH),
    place("Wien, Österreich", 48.2082, 16.3738, 25.0, 30, &GERMAN),
    place("München, Deutschland", 48.1351, 11.5820, 30.0, 34, &GERMAN),
    place("Warszawa, Polska", 52.2297, 21.0122, 30.0, 28, &ENGLISH),
    place("Stockholm, Sverige", 59.3293, 18.0686, 25.0, 30, &ENGLISH),
    place("Санкт-Петербург, Россия", 59.9311, 30.3609, 20.0, 36, &RUSSIAN),
    place("Новосибирск, Россия", 55.0084, 82.9357, 40.0, 24, &RUSSIAN),
    place("Анадырь, Россия", 64.7337, 177.5089, 30.0, 12, &RUSSIAN),
    place("القاهرة, مصر", 30.0444, 31.2357, 22.0, 44, &ARABIC),
    place("الدار البيضاء, المغرب", 33.5731, -7.5898, 18.0, 30, &ARABIC),
    place("الرياض, السعودية", 24.7136, 46.6753, 30.0, 40, &ARABIC),
    place("Dubai, UAE", 25.2048, 55.2708, 20.0, 34, &ARABIC),
    place("Accra, Ghana", 5.6037, -0.1870, 15.0, 26, &ENGLISH),
    place("Kinshasa, RDC", -4.4419, 15.2663, 18.0, 22, &FRENCH),
    place("Nairobi, Kenya", -1.2921, 36.8219, 25.0, 36, &ENGLISH),
    place("Antananarivo, Madagascar", -18.8792, 47.5079, 25.0, 18, &FRENCH),
    place("Johannesburg, South Africa", -26.2041, 28.0473, 30.0, 38, &ENGLISH),
    place("Cape Town, South Africa", -33.9249, 18.4241, 15.0, 32, &ENGLISH),
    place("Karachi, Pakistan", 24.8607, 67.0011, 18.0, 30, &ENGLISH),
    place("नई दिल्ली, भारत", 28.6139, 77.2090, 25.0, 44, &HINDI),
    place("Colombo, Sri Lanka", 6.9271, 79.8612, 14.0, 22, &ENGLISH),
    place("Lhasa", 29.6520, 91.1721, 20.0, 18, &CHINESE),
    place("Bangkok, Thailand", 13.7563, 100.5018, 25.0, 38, &ENGLISH),
    place("Singapore", 1.3521, 103.8198, 12.0, 40, &ENGLISH),
    place("Surabaya, Indonesia", -7.2575, 112.7521, 20.0, 40, &INDONESIAN),
    place("Manila, Philippines", 14.5995, 120.9842, 15.0, 40, &ENGLISH),
    place("香港", 22.3193, 114.1694, 12.0, 38, &CHINESE),
    place("北京, 中国", 39.9042, 116.4074, 30.0, 36, &CHINESE),
    place("서울, 대한민국", 37.5665, 126.9780, 20.0, 50, &KOREAN),
    place("大阪, 日本", 34.6937, 135.5023, 18.0, 50, &JAPANESE),
    place("札幌, 日本", 43.0618, 141.3545, 20.0, 26, &JAPANESE),
    place("Perth, Australia", -31.9505, 115.8605, 25.0, 30, &ENGLISH),
    place("Alice Springs, Australia", -23.6980, 133.8807, 60.0, 14, &ENGLISH),
    place("Auckland, New Zealand", -36.8509, 174.7645, 18.0, 32, &ENGLISH),
    place("Honolulu, HI", 21.3069, -157.8583, 10.0, 28, &ENGLISH),
    place("Anchorage, AK", 61.2181, -149.9003, 30.0, 22, &ENGLISH),
    place("Vancouver, BC", 49.2827, -123.1207, 20.0, 34, &ENGLISH),
    place("San Francisco, CA", 37.7749, -122.4194, 15.0, 50, &ENGLISH),
    place("Denver, CO", 39.7392, -104.9903, 40.0, 32, &ENGLISH),
    place("Chicago, IL", 41.8781, -87.6298, 25.0, 46, &ENGLISH),
    place("Houston, TX", 29.7604, -95.3698, 40.0, 40, &ENGLISH),
    place("Miami, FL", 25.7617, -80.1918, 15.0, 36, &SPANISH),
    place("Toronto, Ontario", 43.6532, -79.3832, 20.0, 40, &ENGLISH),
    place("Montréal, Québec", 45.5017, -73.5673, 20.0, 32, &FRENCH),
    place("La Habana, Cuba", 23.1136, -82.3666, 12.0, 16, &SPANISH),
    place("Bogotá, Colombia", 4.7110, -74.0721, 20.0, 42, &SPANISH),
    place("Quito, Ecuador", -0.1807, -78.4678, 20.0, 26, &SPANISH),
    place("Lima, Perú", -12.0464, -77.0428, 15.0, 34, &SPANISH),
    place("Caracas, Venezuela", 10.4806, -66.9036, 14.0, 38, &SPANISH),
    place("Santiago, Chile", -33.4489, -70.6693, 25.0, 40, &SPANISH),
    place("Buenos Aires, Argentina", -34.6037, -58.3816, 25.0, 50, &SPANISH),
    place("Ushuaia, Argentina", -54.8019, -68.3030, 10.0, 12, &SPANISH),
    place("Salvador, Brasil", -12.9777, -38.5016, 15.0, 36, &PORTUGUESE),
    place("Manaus, Brasil", -3.1190, -60.0217, 30.0, 24, &PORTUGUESE),
    // On the date line, and at the ends of the Earth: where a search of boxes of degrees fails.
    place("Taveuni, Fiji", -16.8500, -179.9800, 12.0, 18, &ENGLISH),
    place("Suva, Fiji", -18.1416, 178.4419, 10.0, 16, &ENGLISH),
    place("Longyearbyen, Svalbard", 78.2232, 15.6267, 15.0, 14, &ENGLISH),
    place("Alert, Nunavut", 82.5018, -62.3481, 10.0, 8, &ENGLISH),
    place("North Pole", 89.9500, 40.0000, 20.0, 6, &ENGLISH),
    place("McMurdo Station, Antarctica", -77.8419, 166.6863, 5.0, 12, &ENGLISH),
    place("South Pole", -90.0000, 0.0000, 6.0, 8, &ENGLISH),
];

struct Language {
    /// ISO 639-1.
    code: &'static str,
    given_names: &'static [&'static str],
    family_names: &'static [&'static str],
    templates: &'static [&'static str],
    things: &'static [&'static str],
    tags: &'static [&'static str],
}

static SOURCES: &[&str] = &[
    r#"<a href="http://twitter.com/">web</a>"#,
    r#"<a href="http://twitter.com/">web</a>"#,
    r#"<a href="http://twitter.com/download/iphone" rel="nofollow">Twitter for iPhone</a>"#,
    r#"<a href="http://twitter.com/download/android" rel="nofollow">Twitter for Android</a>"#,
    r#"<a href="http://blackberry.com/twitter" rel="nofollow">Twitter for BlackBerry®</a>"#,
    r#"<a href="http://www.tweetdeck.com" rel="nofollow">TweetDeck</a>"#,
    r#"<a href="http://www.hootsuite.com" rel="nofollow">HootSuite</a>"#,
    r#"<a href="http://instagram.com" rel="nofollow">Instagram</a>"#,
    r#"<a href="http://foursquare.com" rel="nofollow">foursquare</a>"#,
    r#"<a href="http://levelupstudio.com/plume" rel="nofollow">Plume for Android</a>"#,
];

static EMOJI: &[&str] = &[
    "😂",
    "😍",
    "🙏",
    "🏔",
    "❤",
    "🎉",
    "☀",
    "👍🏽",
    "👨‍👩‍👧",
    "🇳🇵",
    ":)",
    ":-/",
    "♥",
];

static ENGLISH: Language = Language {
    code: "en",
    given_names: &[
        "Anna", "Ben", "Chloe", "Dave", "Ella", "Femi", "Grace", "Hank", "Isla", "Jack", "Kemi",
        "Liam", "Mia", "Noah", "Olu", "Priya", "Quinn", "Ruby", "Sam", "Tess",
    ],
    family_names: &[
        "Ade", "Brown", "Clark", "Evans", "Hill", "Jones", "Kelly", "Lee", "Moore", "Reid",
        "Smith", "Ward",
    ],
    templates: &[
        "finally {thing} in {place} after {number} hours of waiting",
        "anyone else in {place} awake? thinking about {thing} again",
        "{thing} in {place} >>> {thing} anywhere else",
        "I <3 {place}",
        "day {number}: still no {thing}. send help",
        "\"{thing}\" he said, \"how hard can it be?\"",
        "best {thing} of my life, {number}/10 would do again",
        "just saw {number} people queueing for {thing} in {place}, why",
        "{place} traffic is something else. {number} minutes and we moved one block",
        "note to self: {thing} & coffee do not mix",
        "my answer to everything today: ¯\\_(ツ)_/¯",
        "who put my {thing} in C:\\Users\\guest\\Desktop\\new folder ({number})",
        "good morning {place}! today: {thing}, then a nap",
        "the view from here. {place}, you win",
        "missing {place} already, {number} more sleeps",
        "lost my phone in {place}, found it {number} minutes later under {thing}",
        "if x < {number} && tired: sleep(); else: {thing}",
        "can somebody explain {thing} to me like I am five",
        "power cut in {place} again, {thing} by candlelight it is",
        "{number} degrees and sunny in {place}, perfect for {thing}",
        "today's plan: {thing}. actual day: none of that",
        "so proud of everyone at the {place} {thing} meetup last night",
    ],
    things: &[
        "football practice",
        "fish & chips",
        "the midterm",
        "live music",
        "the trek",
        "fresh momos",
        "my flight",
        "homework",
        "a night bus",
        "the election",
        "street food",
        "yoga",
        "the new phone",
        "breakfast",
        "open-source software",
        "the derby",
        "rooftop tea",
        "laundry",
        "the snow",
        "a good book",
    ],
    tags: &[
        "nowplaying",
        "travel",
        "Everest",
        "weekend",
        "fail",
        "win",
        "foodie",
        "news",
        "Skyfall",
        "TGIF",
        "weather",
    ],
};

static NEPALI: Language = Language {
    code: "ne",
    given_names: &[
        "Pasang", "Mingma", "Dawa", "Lhakpa", "Nima", "Pemba", "Tenzing", "Sita", "Bishnu",
        "Ramesh", "Anil", "Sunita", "Kamala", "Phurba", "Ang",
    ],
    family_names: &[
        "Sherpa", "Rai", "Limbu", "Tamang", "Gurung", "KC", "Thapa", "Magar",
    ],
    templates: &[
        "आज {place}मा {thing} राम्रो छ",
        "{place} बाट नमस्ते! {number} दिनको यात्रा सकियो",
        "{thing} अनि चिया, अरू के चाहियो",
        "{place}मा बिजुली गयो, फेरि {number} घण्टा",
        "\"{thing}\" कसैले देख्यो?",
        "दाइ, {place}को {thing} कस्तो छ?",
        "शुभ बिहानी {place}! आज {thing}",
        "{number} जना साथी {thing}का लागि आए",
    ],
    things: &[
        "मौसम",
        "हिमाल",
        "दालभात",
        "बाटो",
        "उडान",
        "हिउँ",
        "बजार",
        "मःम",
    ],
    tags: &["नेपाल", "Everest", "Khumbu", "Nepal", "सगरमाथा", "trekking"],
};

static SPANISH: Language = Language {
    code: "es",
    given_names: &[
        "Ana", "Carlos", "Diego", "Elena", "Lucia", "Javi", "Marta", "Pablo", "Rosa", "Sofi",
    ],
    family_names: &[
        "Diaz", "Garcia", "Lopez", "Luna", "Perez", "Rios", "Ruiz", "Vega",
    ],
    templates: &[
        "¿alguien más en {place} pensando en {thing}?",
        "qué bonita mañana en {place}, ideal para {thing}",
        "{number} horas esperando {thing}... ¡ya no puedo más!",
        "\"{thing}\", dijo, y se fue",
        "el tráfico en {place} está imposible, {number} minutos parados",
        "mañana será otro día, hoy {thing}",
        "feliz cumpleaños mamá, te extraño desde {place}",
        "jajaja {thing} & siesta: el plan perfecto",
    ],
    things: &[
        "el café",
        "fútbol",
        "la película",
        "tacos",
        "la tarea",
        "el concierto",
        "el niño",
    ],
    tags: &[
        "BuenFin",
        "buenosdías",
        "fútbol",
        "ViernesTotal",
        "música",
        "amor",
    ],
};

static PORTUGUESE: Language = Language {
    code: "pt",
    given_names: &[
        "Bia", "Caio", "Davi", "Julia", "Lara", "Luan", "Nanda", "Rafa", "Thiago",
    ],
    family_names: &["Alves", "Costa", "Lima", "Melo", "Rocha", "Silva", "Souza"],
    templates: &[
        "bom dia {place}! hoje tem {thing}",
        "não aguento mais {thing}, já são {number} dias",
        "saudade de {place} e de {thing}",
        "alguém me explica {thing}? rs",
        "{number} graus em {place}, só quero {thing}",
        "\"amanhã eu estudo\", eu, há {number} semanas",
        "meu coração é de {place} <3",
    ],
    things: &[
        "praia",
        "o jogo",
        "pão de queijo",
        "a prova",
        "show",
        "feijoada",
        "o ônibus",
    ],
    tags: &["partiu", "Brasileirão", "bomdia", "feriadão", "música"],
};

static FRENCH: Language = Language {
    code: "fr",
    given_names: &[
        "Camille", "Hugo", "Jules", "Lea", "Louis", "Manon", "Nico", "Zoe",
    ],
    family_names: &[
        "Blanc", "Dubois", "Fabre", "Leroy", "Martin", "Petit", "Roux",
    ],
    templates: &[
        "enfin {thing} à {place}, après {number} heures !",
        "il pleut sur {place}, parfait pour {thing}",
        "« {thing} », qu'il disait",
        "déjà {number} jours sans {thing}, ça va être long",
        "qui est à {place} ce soir ? {thing} & bonne compagnie",
        "la grève continue à {place}, {number} minutes d'attente",
        "joyeux anniversaire à ma sœur, rendez-vous à {place}",
    ],
    things: &[
        "un café crème",
        "le métro",
        "la leçon",
        "le marché",
        "une tarte",
        "le match",
    ],
    tags: &["Paris", "métro", "JeSuisFatigué", "météo", "musique"],
};

static GERMAN: Language = Language {
    code: "de",
    given_names: &[
        "Anja", "Felix", "Greta", "Jan", "Jonas", "Lena", "Max", "Uwe",
    ],
    family_names: &["Bauer", "Braun", "Koch", "Krause", "Meyer", "Vogt", "Wolf"],
    templates: &[
        "Guten Morgen {place}! Heute gibt's {thing}",
        "schon wieder {number} Minuten Verspätung in {place}, danke Bahn",
        "{thing} am Freitagabend – so muss das",
        "wer kommt heute mit nach {place}? {thing} für {number} Leute",
        "„{thing}“ ist auch keine Lösung",
        "übermorgen Prüfung, stattdessen {thing}",
    ],
    things: &[
        "Brötchen",
        "Fußball",
        "Kaffee & Kuchen",
        "Glühwein",
        "der Tatort",
        "Grünkohl",
    ],
    tags: &["Tatort", "Bundesliga", "Frühstück", "Deutschland", "wetter"],
};

static RUSSIAN: Language = Language {
    code: "ru",
    given_names: &[
        "Alexey", "Dasha", "Ivan", "Katya", "Masha", "Misha", "Olga", "Yura",
    ],
    family_names: &["Belov", "Frolov", "Ivanov", "Orlov", "Popov", "Titov"],
    templates: &[
        "доброе утро, {place}! сегодня {thing}",
        "в {place} опять пробки, стоим {number} минут",
        "«{thing}» — лучший план на вечер",
        "уже {number} дней думаю про {thing}",
        "кто сейчас в {place}? {thing} и чай",
    ],
    things: &["снег", "кино", "метро", "футбол", "экзамен", "блины"],
    tags: &["Россия", "пятница", "погода", "снег"],
};

static TURKISH: Language = Language {
    code: "tr",
    given_names: &["Ahmet", "Ayse", "Burak", "Elif", "Emre", "Merve", "Zeynep"],
    family_names: &["Aydin", "Celik", "Demir", "Kaya", "Sahin", "Yilmaz"],
    templates: &[
        "günaydın {place}! bugün {thing} var",
        "{place} trafiği yine kilit, {number} dakika oldu",
        "\"{thing}\" deyip geçmeyin",
        "{number} gündür {thing} bekliyorum, hâlâ yok",
        "çay, simit & {thing}: daha ne olsun",
    ],
    things: &["maç", "sınav", "kahvaltı", "yağmur", "dizi", "balık ekmek"],
    tags: &["günaydın", "Türkiye", "GalatasarayMaçı", "hayat"],
};

static ARABIC: Language = Language {
    code: "ar",
    given_names: &[
        "Ahmed", "Aisha", "Fahad", "Hala", "Layla", "Omar", "Salma", "Yousef",
    ],
    family_names: &["Ali", "Fathy", "Hassan", "Nasser", "Saleh", "Zaki"],
    templates: &[
        "صباح الخير يا {place}، اليوم {thing}",
        "الزحمة في {place} لا تنتهي، {number} دقيقة",
        "\"{thing}\" أجمل ما في اليوم",
        "منذ {number} يوم و أنا أفكر في {thing}",
        "من في {place} الآن؟ {thing} و قهوة",
    ],
    things: &["المباراة", "المطر", "القهوة", "الامتحان", "الكتاب", "السفر"],
    tags: &["صباح_الخير", "مصر", "الجمعة", "رياضة"],
};

static HINDI: Language = Language {
    code: "hi",
    given_names: &[
        "Aarav", "Anjali", "Deepak", "Kavya", "Neha", "Rahul", "Rohan", "Vikram",
    ],
    family_names: &["Gupta", "Iyer", "Joshi", "Mehta", "Patel", "Rao", "Singh"],
    templates: &[
        "सुप्रभात {place}! आज {thing}",
        "{place} में फिर जाम, {number} मिनट से खड़े हैं",
        "\"{thing}\" के बिना दिन अधूरा है",
        "{number} दिन से {thing} का इंतज़ार",
        "चाय & {thing}, बस यही ज़िंदगी है",
    ],
    things: &["क्रिकेट", "बारिश", "दिवाली", "परीक्षा", "समोसा", "लोकल ट्रेन"],
    tags: &["दिवाली", "INDvsENG", "क्रिकेट", "India"],
};

static JAPANESE: Language = Language {
    code: "ja",
    given_names: &[
        "aki", "haru", "hiro", "kana", "kenji", "mayu", "ren", "yuki",
    ],
    family_names: &["ito", "kato", "mori", "sato", "suzuki", "tanaka"],
    templates: &[
        "{place}なう。{thing}が最高すぎる",
        "おはよう{place}！今日は{thing}",
        "電車が{number}分遅れてる… {thing}に間に合わない",
        "「{thing}」って言われても困る",
        "{number}時間寝てない（笑）{thing}のせい",
        "{place}は雨。{thing}日和だなあ",
    ],
    things: &[
        "ラーメン",
        "紅葉",
        "テスト",
        "ライブ",
        "コーヒー",
        "残業",
        "猫",
    ],
    tags: &["東京", "紅葉", "おはよう", "nowplaying", "猫"],
};

static KOREAN: Language = Language {
    code: "ko",
    given_names: &["hana", "jihoon", "jimin", "minho", "sora", "yuna"],
    family_names: &["choi", "jung", "kim", "lee", "park"],
    templates: &[
        "좋은 아침 {place}! 오늘은 {thing}",
        "{place} 지하철에서 {number}분째 서 있는 중 ㅠㅠ",
        "\"{thing}\" 생각만 {number}일째",
        "오늘 저녁은 {thing} & 커피",
    ],
    things: &["김치찌개", "수능", "첫눈", "축구", "커피", "콘서트"],
    tags: &["서울", "수능", "첫눈", "일상"],
};

static CHINESE: Language = Language {
    code: "zh",
    given_names: &["fang", "hao", "jing", "lei", "mei", "ming", "wei", "xiu"],
    family_names: &["chan", "chen", "li", "lin", "wang", "zhao"],
    templates: &[
        "早安{place}！今天{thing}",
        "{place}又堵车了，{number}分钟没动",
        "「{thing}」真的好吃吗？",
        "想念{thing}的第{number}天",
    ],
    things: &["火锅", "考试", "爬山", "电影", "奶茶", "篮球"],
    tags: &["早安", "天气", "香港", "美食"],
};

static INDONESIAN: Language = Language {
    code: "id",
    given_names: &[
        "Adi", "Ayu", "Bayu", "Dewi", "Dimas", "Indah", "Putri", "Rizky",
    ],
    family_names: &["Hadi", "Putra", "Sari", "Utami", "Wati", "Yanto"],
    templates: &[
        "selamat pagi {place}! hari ini {thing} dulu yaa",
        "macet lagi di {place}, udah {number} menit gak gerak",
        "kangen {thing} di {place} :(",
        "\"{thing}\" katanya, padahal... wkwkwk",
        "{number} hari lagi liburan, {thing} menunggu",
        "yg lagi di {place} siapa aja? {thing} yuk & ngopi",
    ],
    things: &["nasi goreng", "futsal", "ujian", "hujan", "konser", "bakso"],
    tags: &["SelamatPagi", "macet", "Jakarta", "galau"],
};

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
