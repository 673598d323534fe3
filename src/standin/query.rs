//! A question to Twitter's search: read from a query string, and put to single tweets.
//!
//! `search` and the rooms of the later APIs are the callers, for `standin::mod`, the stand-in's event
//! loop. `terms` reads what `q` says, `form` how a URL has it. This room knows no socket and no clock, and
//! nothing of what an answer looks like.
//!
//! The API was withdrawn in 2013. What is known of its parameters, limits and errors comes from
//! its documentation ("GET search", 2012) and from answers that programs of the time kept.

use std::time::Duration;

use super::form::{decimal, number, parameters};
use super::terms::{Term, terms};
use super::tweets::{EARTH_RADIUS_KILOMETRES, OLDEST_ID, Tweet};
use crate::twitter::api::KILOMETRES_PER_MILE;

/// Results on a page unless `rpp` says otherwise.
pub const RESULTS_PER_PAGE: u64 = 15;

/// A greater `rpp` is taken as this one.
pub const RESULTS_PER_PAGE_MAX: u64 = 100;

/// How far back pages go: `page` times `rpp` at most.
pub const RESULTS_MAX: u64 = 1500;

/// A longer `q`, in bytes once decoded, is refused as too complex.
pub const QUERY_BYTES_MAX: usize = 1000;

/// What is searched for, and where: as APIs 1.0 and 1.1 are asked.
pub struct Search<'a> {
    /// Newest first.
    pub tweets: &'a [Tweet],
    /// The question, as it stands in the URL.
    pub query_string: &'a str,
    /// How long it has taken so far.
    pub took: &'a dyn Fn() -> Duration,
}

impl Search<'_> {
    /// Reads the question. How many results are wanted the parameter called `count` says.
    ///
    /// # Errors
    ///
    /// Those of [`Query::parse`].
    pub fn query(&self, count: &str) -> Result<Query, Refusal> {
        Query::parse(self.query_string, count).map(|query| query.over(self.tweets))
    }

    /// How long it has taken so far, in seconds, as answers say it.
    pub(super) fn completed_in(&self) -> String {
        let took = (self.took)();
        format!("{}.{:06}", took.as_secs(), took.subsec_micros())
    }
}

/// Why a question is not answered: an HTTP status, and what the body says as `{"error":…}`.
///
/// Twitter's own are `You must enter a query.`, `page parameter out of range` and
/// `Sorry, your query is too complex. …`; those that begin with `Invalid` are worded by us. All
/// have Twitter's status for a question it understands and will not answer, 403.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The text of the error.
    pub message: &'static str,
}

const fn refusal(message: &'static str) -> Refusal {
    Refusal {
        status: 403,
        message,
    }
}

/// Which tweets are wanted. Twitter's `mixed` put a few popular tweets before the recent ones,
/// and could return more than `rpp` for it; here it is the same as `recent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResultType {
    Mixed,
    Recent,
    /// Only those that were passed on lately, still newest first.
    Popular,
}

/// A circle on the globe.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Geocode {
    pub(super) latitude: f64,
    pub(super) longitude: f64,
    /// In `unit`s.
    pub(super) radius: f64,
    /// `km` or `mi`.
    pub(super) unit: &'static str,
}

/// A question, read from the query string of a request.
///
/// `q` holds words, `"phrases"`, `#tags`, `@mentions`, `from:user` and `to:user`, each of which
/// may follow a `-`; all must hold, and upper case is as lower case. `geocode` is
/// `latitude,longitude,radius`, the radius in `km` or `mi`. `rpp` is how many results a page has:
/// 15, at most 100; 0 gives no results, since a client that asks for at most none means it. `page`
/// counts from 1. `since_id` and `max_id` bound the ids, the first exclusive, the other inclusive.
/// `result_type` is `mixed`, `recent` or `popular`. A parameter that is unknown is ignored, one
/// that is empty is as one not given, and of one given twice the last counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// What `q` said, decoded.
    pub(super) text: String,
    terms: Vec<Term>,
    pub(super) geocode: Option<Geocode>,
    /// What `rpp` said; see [`Query::results_per_page`].
    pub(super) rpp: Option<u64>,
    /// At least 1.
    pub(super) page: u64,
    /// What `since_id` said; see [`Query::since_id`].
    pub(super) requested_since_id: u64,
    max_id: Option<u64>,
    pub(super) result_type: Option<ResultType>,
    /// A search by place finds nothing up to this id.
    oldest_id: u64,
}

/// What there is to answer a question with.
pub(super) struct Page<'a> {
    /// The tweets of this page, newest first.
    pub(super) tweets: Vec<&'a Tweet>,
    /// The id of the newest that meets the question, on whichever page.
    pub(super) newest: Option<u64>,
    /// Whether there is another page.
    pub(super) has_next: bool,
}

impl Query {
    /// A question for what `text` says, within `geocode` if there is one, ids above `since_id` and
    /// up to `max_id`, so many results.
    pub(super) fn new(
        text: &str,
        geocode: Option<Geocode>,
        ids: (u64, Option<u64>),
        results: u64,
    ) -> Query {
        Query {
            text: text.to_owned(),
            terms: terms(text),
            geocode,
            rpp: Some(results),
            page: 1,
            requested_since_id: ids.0,
            max_id: ids.1,
            result_type: None,
            oldest_id: OLDEST_ID,
        }
    }

    /// The same, reaching back as far as `tweets` do: they are newest first.
    pub(super) fn over(self, tweets: &[Tweet]) -> Query {
        let oldest = tweets
            .last()
            .map_or(OLDEST_ID, |tweet| tweet.id.saturating_sub(1));
        Query {
            oldest_id: self.oldest_id.min(oldest),
            ..self
        }
    }

    /// Whether it says neither words nor a place.
    pub(super) fn is_empty(&self) -> bool {
        self.terms.is_empty() && self.geocode.is_none()
    }

    /// What of `tweets`, newest first, its page shows.
    pub(super) fn page_of<'a>(&self, tweets: &'a [Tweet]) -> Page<'a> {
        let on_page = self.results_per_page();
        let skipped = (self.page - 1) * on_page;
        let mut matches = 0;
        let mut newest = None;
        let mut shown = Vec::new();
        for tweet in tweets.iter().filter(|tweet| self.is_met_by(tweet)) {
            newest.get_or_insert(tweet.id);
            if matches >= skipped + on_page {
                matches += 1;
                break; // one more is enough to know of a next page
            }
            if matches >= skipped {
                shown.push(tweet);
            }
            matches += 1;
        }
        let has_next =
            on_page > 0 && matches > skipped + on_page && (self.page + 1) * on_page <= RESULTS_MAX;
        Page {
            tweets: shown,
            newest,
            has_next,
        }
    }

    /// Reads the part of a URL after its `?`, in the form that HTML forms send. How many results
    /// are wanted the parameter called `count` says: `rpp` in API 1.0.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] if neither `q` nor `geocode` says what to look for, or a parameter is not of
    /// its form or out of its range.
    pub fn parse(query_string: &str, count: &str) -> Result<Query, Refusal> {
        let mut query = Query {
            rpp: None,
            ..Query::new("", None, (0, None), 0)
        };
        for (name, value) in parameters(query_string) {
            let value = value.trim();
            match &*name {
                "q" => query.text = value.to_owned(),
                _ if value.is_empty() => {}
                "geocode" => query.geocode = Some(geocode(value)?),
                name if name == count => {
                    let results = number(value).ok_or(match count {
                        "rpp" => refusal("Invalid rpp: not a number."),
                        _ => refusal("Invalid count: not a number."),
                    })?;
                    query.rpp = Some(results.min(RESULTS_PER_PAGE_MAX));
                }
                "page" => {
                    query.page = number(value).ok_or(refusal("Invalid page: not a number."))?;
                }
                "since_id" => {
                    query.requested_since_id =
                        number(value).ok_or(refusal("Invalid since_id: not a number."))?;
                }
                "max_id" => {
                    let id = number(value).ok_or(refusal("Invalid max_id: not a number."))?;
                    query.max_id = Some(id);
                }
                "result_type" => query.result_type = Some(result_type(value)?),
                _ => {}
            }
        }
        if query.text.len() > QUERY_BYTES_MAX {
            return Err(refusal(
                "Sorry, your query is too complex. Please reduce complexity and try again.",
            ));
        }
        query.terms = terms(&query.text);
        if query.is_empty() {
            return Err(refusal("You must enter a query."));
        }
        let last = query.page.saturating_mul(query.results_per_page());
        if query.page == 0 || last > RESULTS_MAX {
            return Err(refusal("page parameter out of range"));
        }
        Ok(query)
    }

    /// How many results a page has.
    pub(super) fn results_per_page(&self) -> u64 {
        self.rpp.unwrap_or(RESULTS_PER_PAGE)
    }

    /// The least id that is too old. A search by place reached a week back, and said so when asked
    /// for more; ours is the same, so that the assignment's `warning` is one we can give.
    pub(super) fn since_id(&self) -> u64 {
        match self.geocode {
            Some(_) => self.requested_since_id.max(self.oldest_id),
            None => self.requested_since_id,
        }
    }

    pub(super) fn is_met_by(&self, tweet: &Tweet) -> bool {
        tweet.id > self.since_id()
            && self.max_id.is_none_or(|max_id| tweet.id <= max_id)
            && (self.result_type != Some(ResultType::Popular) || tweet.recent_retweets > 0)
            && self.geocode.as_ref().is_none_or(|area| area.holds(tweet))
            && (self.terms.is_empty() || {
                let text = tweet.text.to_lowercase();
                self.terms.iter().all(|term| term.is_met_by(tweet, &text))
            })
    }
}

impl Geocode {
    fn holds(&self, tweet: &Tweet) -> bool {
        let radius_kilometres = match self.unit {
            "mi" => self.radius * KILOMETRES_PER_MILE,
            _ => self.radius,
        };
        // Nobody is nearer than his distance in latitude, which costs no trigonometry. The margin
        // covers rounding: the great circle alone decides who is on the edge.
        let north_kilometres =
            (tweet.latitude - self.latitude).abs().to_radians() * EARTH_RADIUS_KILOMETRES;
        north_kilometres <= radius_kilometres + 0.001
            && distance_kilometres(
                (self.latitude, self.longitude),
                (tweet.latitude, tweet.longitude),
            ) <= radius_kilometres
    }
}

/// The great-circle distance of two points, each latitude and longitude in degrees.
///
/// By the haversine formula, which is exact to rounding for near points and needs no care at the
/// date line or the poles. The Earth is taken as a sphere: up to 0.5 % off the ellipsoid.
#[must_use]
pub fn distance_kilometres(from: (f64, f64), to: (f64, f64)) -> f64 {
    let haversine = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
    let chord = haversine(to.0 - from.0)
        + from.0.to_radians().cos() * to.0.to_radians().cos() * haversine(to.1 - from.1);
    2.0 * EARTH_RADIUS_KILOMETRES * chord.sqrt().min(1.0).asin()
}

fn result_type(value: &str) -> Result<ResultType, Refusal> {
    match value {
        "mixed" => Ok(ResultType::Mixed),
        "recent" => Ok(ResultType::Recent),
        "popular" => Ok(ResultType::Popular),
        _ => Err(refusal(
            "Invalid result_type: must be mixed, recent or popular.",
        )),
    }
}

fn geocode(value: &str) -> Result<Geocode, Refusal> {
    const FORM: Refusal =
        refusal("Invalid geocode: must be latitude,longitude,radius with the radius in km or mi.");
    let mut parts = value.split(',').map(str::trim);
    let (Some(latitude), Some(longitude), Some(radius), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(FORM);
    };
    let (radius, unit) = match (radius.strip_suffix("km"), radius.strip_suffix("mi")) {
        (Some(radius), _) => (radius, "km"),
        (_, Some(radius)) => (radius, "mi"),
        _ => return Err(FORM),
    };
    let area = Geocode {
        latitude: decimal(latitude).ok_or(FORM)?,
        longitude: decimal(longitude).ok_or(FORM)?,
        radius: decimal(radius).ok_or(FORM)?,
        unit,
    };
    if area.latitude.abs() > 90.0 {
        return Err(refusal("Invalid geocode: latitude must be within ±90."));
    }
    if area.longitude.abs() > 180.0 {
        return Err(refusal("Invalid geocode: longitude must be within ±180."));
    }
    if area.radius < 0.0 {
        return Err(refusal("Invalid geocode: radius must not be negative."));
    }
    Ok(area)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standin::form::encode;
    use crate::standin::tweets::synthetic;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    static TWEETS: LazyLock<Vec<Tweet>> = LazyLock::new(synthetic);

    #[test]
    fn distances() {
        let quarter = EARTH_RADIUS_KILOMETRES * std::f64::consts::FRAC_PI_2;
        for (from, to, want, margin) in [
            ((34.0689, -118.4451), (34.0689, -118.4451), 0.0, 0.0),
            ((0.0, 0.0), (0.0, 1.0), 111.195, 0.001),
            (
                (52.2296756, 21.0122287),
                (52.406374, 16.9251681),
                278.459,
                0.01,
            ), // Warsaw, Poznan
            ((36.12, -86.67), (33.94, -118.40), 2886.45, 0.01), // Nashville, Los Angeles airports
            ((0.0, 179.5), (0.0, -179.5), 111.195, 0.001),      // over the date line
            ((-16.85, 180.0), (-16.85, -180.0), 0.0, 1e-9),
            ((90.0, 12.0), (90.0, -120.0), 0.0, 1e-9), // one pole, whatever the meridian
            ((89.0, 0.0), (89.0, 180.0), 222.390, 0.001), // over the pole
            ((-90.0, 5.0), (0.0, 77.0), quarter, 1e-9),
            ((0.0, 0.0), (0.0, 180.0), 2.0 * quarter, 1e-9),
        ] {
            for (from, to) in [(from, to), (to, from)] {
                let distance = distance_kilometres(from, to);
                assert!(
                    (distance - want).abs() <= margin,
                    "{from:?} to {to:?}: {distance}, not {want}"
                );
            }
        }
    }

    #[test]
    fn errors() {
        let long = format!("q={}", "a".repeat(QUERY_BYTES_MAX + 1));
        for (query_string, want) in [
            ("", "You must enter a query."),
            ("q=+&geocode=&rpp=5", "You must enter a query."),
            ("q=%22+%22", "You must enter a query."),
            ("lang=en", "You must enter a query."),
            ("q=a&page=0", "page parameter out of range"),
            ("q=a&rpp=100&page=16", "page parameter out of range"),
            (
                "q=a&page=99999999999999999999999",
                "page parameter out of range",
            ),
            ("q=a&page=-1", "Invalid page"),
            ("q=a&rpp=many", "Invalid rpp"),
            ("q=a&rpp=1.5", "Invalid rpp"),
            ("q=a&since_id=0x10", "Invalid since_id"),
            ("q=a&max_id=%2B1", "Invalid max_id"),
            ("q=a&result_type=Best", "Invalid result_type"),
            ("geocode=1,2", "Invalid geocode: must be"),
            ("geocode=1,2,3", "Invalid geocode: must be"),
            ("geocode=1,2,3km,4", "Invalid geocode: must be"),
            ("geocode=1,2,3KM", "Invalid geocode: must be"),
            ("geocode=1,,3km", "Invalid geocode: must be"),
            ("geocode=nan,2,3km", "Invalid geocode: must be"),
            ("geocode=1e1,2,3km", "Invalid geocode: must be"),
            ("geocode=90.0001,2,3km", "Invalid geocode: latitude"),
            ("geocode=-90,180.5,3mi", "Invalid geocode: longitude"),
            ("geocode=1,2,-3km", "Invalid geocode: radius"),
            (&long, "Sorry, your query is too complex."),
        ] {
            let refusal = Query::parse(query_string, "rpp").expect_err(query_string);
            assert!(
                refusal.message.starts_with(want) && refusal.status == 403,
                "{query_string}: {refusal:?}"
            );
        }
    }

    #[test]
    fn parameters() {
        let query = Query::parse(
            "q=%C3%A9t%c3%a9+%2B&&x=%&rpp=500&geocode=+27.5,%2b086,.5mi",
            "rpp",
        );
        let query = query.expect("all of its form");
        assert_eq!(query.text, "été +");
        assert_eq!(query.results_per_page(), RESULTS_PER_PAGE_MAX);
        let area = query.geocode.as_ref().expect("given");
        assert_eq!((area.latitude, area.longitude), (27.5, 86.0));
        assert_eq!((area.radius, area.unit), (0.5, "mi"));
    }

    #[test]
    fn words_users_and_operators() {
        let mut tweet = TWEETS[0].clone();
        tweet.text = "@Kiwi \"Fish & chips\" at the #Everest party, été 東京なう :-)".to_owned();
        tweet.from_user = "Dawa_Rai".to_owned();
        tweet.to_user = Some(("Kiwi".to_owned(), 7));
        for (text, want) in [
            ("FISH", true),
            ("chips fish", true),
            ("fish dumplings", false),
            ("art", false),
            ("party", true),
            ("everest", true),
            ("#everest", true),
            ("#ever", false),
            ("@kiwi", true),
            ("kiwi", true),
            ("@kiw", false),
            ("ÉTÉ", true),
            ("東京", true),
            ("\"fish & chips\" party", true),
            ("\"chips fish\"", false),
            ("\"at  the", true),
            ("-dumplings", true),
            ("fish -party", false),
            ("-\"fish & chips\"", false),
            ("from:dawa_rai", true),
            ("from:@Dawa_Rai to:KIWI", true),
            ("from:kiwi", false),
            ("-from:kiwi -to:dawa_rai", true),
            ("\"from:kiwi\"", false),
            (":-)", true),
        ] {
            let query = Query::parse(&format!("q={}", encode(text)), "rpp").expect(text);
            assert_eq!(query.is_met_by(&tweet), want, "{text}: {query:?}");
        }
    }

    proptest! {
        #[test]
        fn the_latitude_band_drops_nobody(
            latitude in -90.0..=90.0f64,
            longitude in -180.0..=180.0f64,
            radius in prop_oneof![0.0..50.0f64, 0.0..25_000.0f64],
        ) {
            let area = Geocode { latitude, longitude, radius, unit: "km" };
            for tweet in TWEETS.iter().step_by(7) {
                let to = (tweet.latitude, tweet.longitude);
                let distance = distance_kilometres((latitude, longitude), to);
                prop_assert_eq!(area.holds(tweet), distance <= radius, "{:?}", tweet);
            }
        }
    }
}
