//! The searches that Twitter has offered over the years: how each is asked, and where its tweets
//! lie in the answer. Pure.
//!
//! `twitter::mod` and its workers are the callers, and the stand-in, which is asked so. Sources:
//! Twitter's "GET search" (2012) for 1.0, "GET search/tweets" and "POST oauth2/token" for 1.1,
//! "GET /2/tweets/search/recent" and the operators of its query for 2.

use std::str::FromStr;

use crate::node::command::BOUND_MAX;
use crate::node::protocol::TweetQuery;

/// The international mile, in kilometres.
pub const KILOMETRES_PER_MILE: f64 = 1.609_344;

/// The radius from which on API 2 refuses a search, in miles.
pub const RADIUS_MILES_LIMIT_2: f64 = 25.0;

const RADIUS_KM_LIMIT_2: f64 = RADIUS_MILES_LIMIT_2 * KILOMETRES_PER_MILE;

/// The longest address that is asked: as long a one everybody should take (RFC 9110, section 4.1),
/// and many servers take none that is longer. A client's line has room for eight times as many
/// digits, and what waits for Twitter holds several copies of them.
pub const URL_BYTES_MAX: usize = 8_000;

/// The fewest results that API 2 lets itself be asked for.
const RESULTS_MIN_2: u8 = 10;

/// The fewest results that API 1.1 is documented to take.
const RESULTS_MIN_1_1: u8 = 1;

/// What API 2 is asked to tell beside id and text: who, when, where, in which language.
const FIELDS_2: &str = "&tweet.fields=author_id,created_at,geo,lang\
    &expansions=author_id,geo.place_id&user.fields=location,name,username\
    &place.fields=country_code,full_name,geo,place_type";

/// Which of Twitter's APIs is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// The Search API 1.0, which needed no account and was retired in 2013.
    V1_0,
    /// The REST API 1.1, with an app-only bearer token.
    V1_1,
    /// The API 2, recent search, with an app-only bearer token.
    V2,
}

impl Api {
    /// The names by which [`Api::from_str`] knows them.
    pub const NAMES: [&str; 3] = ["1.0", "1.1", "2"];

    /// Its name, as on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Api::V1_0 => "1.0",
            Api::V1_1 => "1.1",
            Api::V2 => "2",
        }
    }

    /// Where its search is, on Twitter's hosts and on the stand-in alike.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Api::V1_0 => "/search.json",
            Api::V1_1 => "/1.1/search/tweets.json",
            Api::V2 => "/2/tweets/search/recent",
        }
    }

    /// Whether it answers only who brings a token.
    pub(super) fn wants_token(self) -> bool {
        self != Api::V1_0
    }

    /// The member of an answer that holds the tweets.
    #[must_use]
    pub fn results(self) -> &'static str {
        match self {
            Api::V1_0 => "results",
            Api::V1_1 => "statuses",
            Api::V2 => "data",
        }
    }

    /// The address that asks `query` of the search at `url`.
    ///
    /// An API that cannot be asked for so few results as are wanted is asked for the fewest it
    /// gives; the surplus is dropped from its answer.
    ///
    /// # Errors
    /// Says what the API cannot be asked.
    pub fn search_url(self, url: &str, query: &TweetQuery) -> Result<String, String> {
        let TweetQuery {
            latitude,
            longitude,
            radius_km,
            bound,
        } = query;
        // Commas percent-encoded as in Twitter's own examples.
        let geocode = format!("q=&geocode={latitude}%2C{longitude}%2C{radius_km}km");
        let parameters = match self {
            Api::V1_0 => format!("{geocode}&rpp={bound}"),
            Api::V1_1 => format!("{geocode}&count={}", bound.max(&RESULTS_MIN_1_1)),
            Api::V2 => {
                let radius: f64 = radius_km.parse().expect("a number in plain decimal");
                if radius >= RADIUS_KM_LIMIT_2 {
                    return Err(format!(
                        "Twitter's API 2 takes a radius below {RADIUS_MILES_LIMIT_2} mi \
                         ({RADIUS_KM_LIMIT_2} km) only"
                    ));
                }
                let results = bound.clamp(&RESULTS_MIN_2, &BOUND_MAX);
                format!(
                    "query=point_radius%3A%5B{longitude}%20{latitude}%20{radius_km}km%5D\
                     &max_results={results}{FIELDS_2}"
                )
            }
        };
        let (url, _fragment) = url.split_once('#').unwrap_or((url, "")); // it is never sent
        let join = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{join}{parameters}");
        match url.len() {
            ..=URL_BYTES_MAX => Ok(url),
            bytes => Err(format!(
                "Twitter is asked by an address of at most {URL_BYTES_MAX} bytes; the digits of \
                 this location and radius make one of {bytes}"
            )),
        }
    }
}

impl FromStr for Api {
    type Err = String;

    fn from_str(name: &str) -> Result<Api, String> {
        let apis = [Api::V1_0, Api::V1_1, Api::V2];
        let known = apis.into_iter().find(|api| api.name() == name);
        known.ok_or_else(|| format!("only {} are known", Api::NAMES.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::location::Position;

    fn query(radius_km: &[u8], bound: u8) -> TweetQuery {
        let position = Position::parse(b"+27.5916-086.5640").expect("valid");
        TweetQuery::new(position, radius_km, bound)
    }

    #[test]
    fn names_lead_back_to_their_apis() {
        for name in Api::NAMES {
            assert_eq!(name.parse::<Api>().map(Api::name), Ok(name));
        }
        assert!("1".parse::<Api>().is_err());
    }

    #[test]
    fn the_request_of_search_1_0() {
        let query = query(b"0100.50", 2);
        for (url, start) in [
            (
                "http://127.0.0.1:12599/search.json",
                "http://127.0.0.1:12599/search.json?",
            ),
            ("http://h/s?lang=en", "http://h/s?lang=en&"),
            ("http://h/s#part", "http://h/s?"),
        ] {
            assert_eq!(
                Api::V1_0.search_url(url, &query),
                Ok(format!(
                    "{start}q=&geocode=27.5916%2C-86.564%2C100.5km&rpp=2"
                ))
            );
        }
    }

    #[test]
    fn as_many_results_as_each_api_can_be_asked_for() {
        for (api, bound, want) in [
            (Api::V1_0, 0, "rpp=0"),
            (Api::V1_0, 100, "rpp=100"),
            (Api::V1_1, 0, "count=1"),
            (Api::V1_1, 7, "count=7"),
            (Api::V1_1, 100, "count=100"),
            (Api::V2, 0, "max_results=10"),
            (Api::V2, 10, "max_results=10"),
            (Api::V2, 11, "max_results=11"),
            (Api::V2, 100, "max_results=100"),
        ] {
            let url = api.search_url("http://h/", &query(b"40", bound));
            let url = url.expect("40 km is asked by all");
            assert!(url.split(['?', '&']).any(|part| part == want), "{url}");
        }
    }

    #[test]
    fn the_request_of_api_2() {
        let url = Api::V2.search_url("https://h/2/tweets/search/recent", &query(b"05.0", 12));
        let want = "https://h/2/tweets/search/recent?query=point_radius%3A%5B-86.564%2027.5916%205km%5D\
            &max_results=12&tweet.fields=author_id,created_at,geo,lang\
            &expansions=author_id,geo.place_id&user.fields=location,name,username\
            &place.fields=country_code,full_name,geo,place_type";
        assert_eq!(url.as_deref(), Ok(want));
    }

    #[test]
    fn an_address_that_is_too_long_is_not_asked() {
        let at = |location: &str, radius: &[u8]| {
            let position = Position::parse(location.as_bytes()).expect("valid");
            TweetQuery::new(position, radius, 7)
        };
        for api in [Api::V1_0, Api::V1_1, Api::V2] {
            let url = |query: TweetQuery| api.search_url("http://h/s#part", &query);
            let short = url(at("+27.1+086.1", b"1.1"));
            let bytes = short.expect("it is short").len();
            let room = URL_BYTES_MAX - bytes + 1;
            for (length, good) in [(room, true), (room + 1, false), (65_480, false)] {
                let digits = "1".repeat(length);
                for query in [
                    at(&format!("+27.{digits}+086.1"), b"1.1"),
                    at(&format!("+27.1+086.{digits}"), b"1.1"),
                    at("+27.1+086.1", format!("1.{digits}").as_bytes()),
                ] {
                    match (url(query), good) {
                        (Ok(url), true) => assert_eq!(url.len(), URL_BYTES_MAX),
                        (Err(why), false) => assert!(why.contains("at most 8000 bytes"), "{why}"),
                        (got, _) => panic!("{}, {length} digits: {got:?}", api.name()),
                    }
                }
            }
            let zeros = [b"1.1", &[b'0'; 65_480][..]].concat(); // of which none is asked
            assert_eq!(
                url(at("+27.1+086.1", &zeros)).map(|url| url.len()),
                Ok(bytes)
            );
        }
    }

    #[test]
    fn a_radius_that_api_2_does_not_take() {
        let endless = [b"40.2335", &[b'9'; 400][..]].concat(); // rounds up to the limit
        for (radius, good) in [
            (&b"0"[..], true),
            (b"40", true),
            (b"40.2335", true),
            (b"40.2336", false),
            (b"40.23360000000000000001", false),
            (&endless, false),
            (&[b'9'; 400], false),
        ] {
            let url = Api::V2.search_url("http://h/", &query(radius, 1));
            assert_eq!(url.is_ok(), good, "{}", radius.escape_ascii());
            assert!(Api::V1_1.search_url("http://h/", &query(radius, 1)).is_ok());
        }
    }
}
