//! What holds for the requests of every family of apps, and what the tests of each make requests with.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;

use super::*;
use crate::http::Manner;
use crate::node::command::Command;

pub const RECEIPT: Timestamp = Timestamp::new(1_353_118_200, 5);

pub const AT_RECEIPT: &str = "1353118200.000000005";

pub fn request<'a>(
    method: Method,
    query: &'a str,
    fields: &[(&'a str, &'a str)],
    body: &'a str,
) -> Request<'a> {
    let field = |&(name, value): &(&'a str, &'a str)| (name, value.as_bytes());
    Request {
        method,
        path: "/",
        query,
        host: None,
        fields: fields.iter().map(field).collect(),
        body: body.as_bytes().into(),
        manner: Manner::LAST,
    }
}

/// Status, body and reports.
pub fn read(family: Family, request: &Request<'_>) -> (u16, String, Vec<String>) {
    let outcome = family.read(request, RECEIPT);
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    let reports = outcome.reports.iter().map(text).collect();
    (outcome.answer.status, text(&outcome.answer.body), reports)
}

pub const JSON: (&str, &str) = ("Content-Type", "application/json; charset=utf-8");
pub const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

pub fn basic(pair: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(pair))
}

#[test]
fn whoever_does_not_say_who_he_is_is_told() {
    let traccar =
        |id: &str| format!(r#"{{"location":{{"coords":{{"latitude":1,"longitude":2}}}}{id}}}"#);
    let overland = |id: &str| {
        let feature = format!(
            r#"{{"type":"Feature","geometry":{{"type":"Point","coordinates":[2,1]}},"properties":{{"timestamp":"2015-10-01T08:00:00-0700"{id}}}}}"#
        );
        format!(r#"{{"locations":[{feature},{feature}]}}"#)
    };
    for (family, query, body, words) in [
        (Family::OsmAnd, "", traccar(""), "device_id is missing"),
        (
            Family::OsmAnd,
            "",
            traccar(r#","device_id":"""#),
            "device_id is missing or empty",
        ),
        (
            Family::OsmAnd,
            "",
            traccar(r#","device_id":null"#),
            "device_id is missing or empty",
        ),
        (
            Family::OsmAnd,
            "",
            traccar(r#","device_id":"my phone""#),
            "white space",
        ),
        (Family::Overland, "", overland(""), "device_id is missing"),
        (
            Family::Overland,
            "",
            overland(r#","device_id":"""#),
            "device_id is missing or empty",
        ),
        (
            Family::Overland,
            "",
            overland(r#","device_id":"a b""#),
            "white space",
        ),
    ] {
        let (status, answer, reports) = read(family, &request(Method::Post, query, &[JSON], &body));
        assert_eq!(
            (status, reports.len()),
            (400, 0),
            "{query} {body}: {answer}"
        );
        assert!(answer.contains(words), "{query} {body}: {answer}");
    }
}

pub fn feature(coordinates: &str, time: &str, device: &str) -> String {
    format!(
        r#"{{"type":"Feature","geometry":{{"type":"Point","coordinates":[{coordinates}]}},"properties":{{"timestamp":"{time}",
        "altitude":0,"speed":-1,"horizontal_accuracy":30,"motion":["driving","stationary"],"battery_level":0.89,"device_id":"{device}","wifi":""}}}}"#
    )
}

#[test]
fn a_thousand_points_are_taken_and_more_are_refused() {
    let features = vec![feature("1,2", "2015-10-01T15:00:02Z", "kiwi"); POINTS_MAX];
    let body = |current: &str| format!("{{\"locations\":[{}]{current}}}", features.join(","));
    let got = Family::Overland.read(&request(Method::Post, "", &[JSON], &body("")), RECEIPT);
    assert_eq!((got.answer.status, got.reports.len()), (200, POINTS_MAX));
    let got = Family::Overland.read(
        &request(Method::Post, "", &[JSON], &body(",\"current\":{}")),
        RECEIPT,
    );
    assert_eq!((got.answer.status, got.reports.len()), (413, 0));

    let body = |count| {
        format!(
            "{{\"device_id\":\"a\",\"location\":[{}7]}}",
            "7,".repeat(count - 1)
        )
    };
    let got = Family::OsmAnd.read(
        &request(Method::Post, "", &[JSON], &body(POINTS_MAX)),
        RECEIPT,
    );
    assert_eq!(
        (got.answer.status, got.rejected, got.reasons.len()),
        (200, POINTS_MAX, REASONS_MAX)
    );
    let got = Family::OsmAnd.read(
        &request(Method::Post, "", &[JSON], &body(POINTS_MAX + 1)),
        RECEIPT,
    );
    assert_eq!((got.answer.status, got.rejected), (413, 0));
}

#[test]
fn what_is_neither_a_form_nor_json_is_refused() {
    for media in ["text/plain", "multipart/form-data; boundary=x"] {
        let field = [("Content-Type", media)];
        let request = request(Method::Post, "id=a&lat=1&lon=2", &field, "{}");
        let (status, answer, reports) = read(Family::OsmAnd, &request);
        assert_eq!((status, reports.len()), (415, 0), "{media}: {answer}");
    }
    let mut binary = request(Method::Post, "id=a&lat=1&lon=2", &[JSON], "");
    binary.body = b"\x1f\x8b\x08\xff"[..].into();
    for family in [Family::OwnTracks, Family::OsmAnd, Family::Overland] {
        assert_eq!(read(family, &binary).0, 400, "{family:?}");
    }
}

#[test]
fn paths_and_methods() {
    for (path, method, want) in [
        ("/owntracks", Method::Post, true),
        ("/owntracks", Method::Get, false),
        ("/osmand", Method::Post, true),
        ("/osmand", Method::Get, true),
        ("/osmand", Method::Put, false),
        ("/overland", Method::Post, true),
        ("/overland", Method::Head, false),
    ] {
        let family = Family::at(path).expect("it is one");
        assert_eq!(
            family.methods().contains(&method),
            want,
            "{path} {method:?}"
        );
    }
    assert_eq!(Family::at("/osmand/"), None);
}

/// All members and parameters that any of the families looks at, as fragments to make requests of.
const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "&",
    "=",
    "%",
    "+",
    " ",
    "7",
    "-1.5e3",
    "null",
    "\"_type\":\"location\"",
    "\"lat\":1",
    "\"lon\":2",
    "\"tst\":3",
    "\"topic\":\"a/b/c\"",
    "\"device_id\":\"k\"",
    "\"location\":",
    "\"coords\":",
    "\"latitude\":1",
    "\"longitude\":2",
    "\"timestamp\":\"2012-11-17T02:08:23Z\"",
    "\"locations\":",
    "\"current\":",
    "\"geometry\":",
    "\"type\":\"Point\"",
    "\"coordinates\":[1,2]",
    "\"properties\":",
    "id=k",
    "lat=1",
    "lon=2",
    "location=1,2",
    "timestamp=3",
    "é",
    "\n",
];

proptest! {
    /// Whatever comes, each report is one `IAMAT` line, and what is refused has an error.
    #[test]
    fn noise_never_panics_and_forges_nothing(words in proptest::collection::vec(0..WORDS.len(), 0..24), query in 0..3_usize, json: bool) {
        let body: String = words.iter().map(|&word| WORDS[word]).collect();
        let query = ["", "u=a&d=b", "id=k&device_id=k"][query];
        for family in [Family::OwnTracks, Family::OsmAnd, Family::Overland] {
            let field = if json { JSON } else { FORM };
            let outcome = family.read(&request(Method::Post, query, &[field], &body), RECEIPT);
            for line in &outcome.reports {
                prop_assert!(!line.contains(&b'\n') && matches!(Command::parse(line), Some(Command::IAmAt(_))), "{:?}", line);
            }
            prop_assert!(outcome.reasons.len() <= outcome.rejected);
            let is_error = outcome.answer.body.starts_with(b"{\"error\":");
            prop_assert_eq!(is_error, outcome.answer.status != 200);
            prop_assert!(!is_error || outcome.reports.is_empty());
        }
    }

    /// One point has the same line whichever app reports it.
    #[test]
    fn a_point_is_the_same_from_every_app(latitude in "-?([0-9]|[1-8][0-9])(\\.[0-9]{1,15})?", longitude in "-?([0-9]|[1-9][0-9]|1[0-7][0-9])(\\.[0-9]{1,15})?", seconds in 0..99_999_999_999_u64, name in "[!-~é]{1,12}") {
        let text = serde_json::Value::from(name.as_str());
        let quoted = crate::http::percent::encode(name.as_bytes());
        let requests = [
            (Family::OwnTracks, format!("u={quoted}"), format!(r#"{{"_type":"location","lat":{latitude},"lon":{longitude},"tst":{seconds}}}"#)),
            (Family::OsmAnd, String::new(), format!(r#"{{"device_id":{text},"location":{{"coords":{{"latitude":{latitude},"longitude":{longitude}}},"timestamp":{seconds}}}}}"#)),
            (Family::OsmAnd, format!("id={quoted}&lat={latitude}&lon={longitude}&timestamp={seconds}"), String::new()),
            (Family::Overland, String::new(), format!(r#"{{"locations":[{{"geometry":{{"type":"Point","coordinates":[{longitude},{latitude}]}},"properties":{{"device_id":{text},"timestamp":{seconds}}}}}]}}"#)),
        ];
        let pad = |number: &str, width: usize| {
            let (sign, digits) = match number.strip_prefix('-') {
                Some(digits) => ("-", digits),
                None => ("+", number),
            };
            let whole = digits.split('.').next().map_or(0, str::len);
            format!("{sign}{}{digits}", "0".repeat(width - whole))
        };
        let want = format!("IAMAT {name} {}{} {seconds}", pad(&latitude, 2), pad(&longitude, 3));
        for (family, query, body) in requests {
            let got = read(family, &request(Method::Post, &query, &[JSON], &body));
            prop_assert_eq!((got.0, got.2), (200, vec![want.clone()]), "{} {}", query, body);
        }
    }
}
