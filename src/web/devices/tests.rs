//! Bodies as the real apps send them, and what becomes of them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;

use super::*;
use crate::http::Manner;
use crate::node::command::Command;
use crate::web::answer::Answer;

const RECEIPT: Timestamp = Timestamp::new(1_353_118_200, 5);

const AT_RECEIPT: &str = "1353118200.000000005";

fn request<'a>(
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
fn read(family: Family, request: &Request<'_>) -> (u16, String, Vec<String>) {
    let outcome = family.read(request, RECEIPT);
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    let reports = outcome.reports.iter().map(text).collect();
    (outcome.answer.status, text(&outcome.answer.body), reports)
}

const JSON: (&str, &str) = ("Content-Type", "application/json; charset=utf-8");
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

fn basic(pair: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(pair))
}

#[test]
fn owntracks() {
    // Android sends user and device in header fields, iOS a topic too.
    let android = r#"{"_type":"location","BSSID":"02:00:00:00:00:00","SSID":"x","_id":"3f1","acc":11,"alt":35,"batt":86,
        "bs":1,"conn":"w","created_at":1756030130,"lat":27.5916,"lon":86.5640,"m":1,"tid":"ki","tst":1353118103,"vac":2,"vel":0}"#;
    let ios = r#"{"cog":271,"batt":41,"lon":-122.03027126,"acc":5,"vel":52,"_type":"location","lat":37.33018021,"tst":1353118103,
        "alt":13,"tid":"JJ","topic":"owntracks\/jane\/phone","t":"t","vac":4,"conn":"m"}"#;
    let both = [("X-Limit-U", "jane"), ("X-Limit-D", "phone"), JSON];
    let authorization = basic("jane:secret:1");
    let authorized = [("Authorization", &authorization[..])];
    let (nepal, cupertino) = (
        "+27.5916+086.5640 1353118103",
        "+37.33018021-122.03027126 1353118103",
    );
    for (query, fields, body, want) in [
        ("", &both[..], android, format!("jane/phone {nepal}")),
        ("", &both, ios, format!("jane/phone {cupertino}")),
        ("", &[], ios, format!("jane/phone {cupertino}")),
        ("u=a&d=b", &both, ios, format!("a/b {cupertino}")),
        ("u=%C3%A9", &[], android, format!("é {nepal}")),
        ("d=b", &[], android, format!("b {nepal}")),
        ("u=a", &both, android, format!("a/phone {nepal}")),
        ("u=&d=", &both, android, format!("jane/phone {nepal}")),
        ("", &authorized, android, format!("jane {nepal}")),
        ("d=b", &authorized, android, format!("jane/b {nepal}")),
        (
            "u=a",
            &[],
            r#"{"_type":"location","lat":1e-05,"lon":-0.5}"#,
            format!("a +00.00001-000.5 {AT_RECEIPT}"),
        ),
        (
            "u=a",
            &[],
            r#"{"_type":"location","lat":1,"lon":2,"tst":null}"#,
            format!("a +01+002 {AT_RECEIPT}"),
        ),
        (
            "u=a",
            &[],
            r#"{"_type":"location","lat":"1.50","lon":2,"tst":1353118103108}"#,
            "a +01.50+002 1353118103.108".into(),
        ),
        (
            "",
            &[],
            r#"{"_type":"location","topic":"jane@x.org/owntracks/jane/phone","lat":1,"lon":2,"tst":3}"#,
            "jane/phone +01+002 3".into(),
        ),
    ] {
        let got = read(
            Family::OwnTracks,
            &request(Method::Post, query, fields, body),
        );
        assert_eq!(
            got,
            (200, "[]".into(), vec![format!("IAMAT {want}")]),
            "{query} {fields:?} {body}"
        );
    }
}

#[test]
fn what_owntracks_sends_beside_locations_is_ignored() {
    for body in [
        "",
        " \r\n",
        r#"{"_type":"encrypted","data":"jpG8pF2mC3m8zKf7sU0WqK1Z"}"#,
        r#"{"_type":"transition","wtst":1425042603,"lat":12.34,"lon":44.5,"tst":1427634603,"event":"enter","tid":"JP"}"#,
        r#"{"_type":"waypoints","waypoints":[{"_type":"waypoint","lat":1,"lon":2,"tst":1}]}"#,
        r#"{"_type":"lwt","tst":1}"#,
        r#"{"_type":"status","android":{"hib":0}}"#,
        r#"{"lat":1,"lon":2}"#,
        r#"{"_type":7}"#,
        "[]",
        "null",
    ] {
        let outcome = Family::OwnTracks.read(&request(Method::Post, "u=a", &[JSON], body), RECEIPT);
        assert_eq!(outcome.answer, Answer::json("[]"), "{body}");
        assert_eq!((outcome.reports.len(), outcome.rejected), (0, 0), "{body}");
    }
}

#[test]
fn a_location_of_owntracks_that_is_none_holds_up_nothing() {
    for (body, words) in [
        (r#"{"_type":"location","lat":91,"lon":2}"#, "latitude"),
        (
            r#"{"_type":"location","lat":"1,5","lon":2}"#,
            "lat: '\"1,5\"' is no decimal number",
        ),
        (r#"{"_type":"location","lon":2}"#, "lat is missing"),
        (
            r#"{"_type":"location","lat":1,"lon":2,"tst":"soon"}"#,
            "tst: '\"soon\"' is no time",
        ),
        (
            r#"{"_type":"location","lat":1,"lon":2,"tst":-5}"#,
            "tst: '-5' is no time",
        ),
    ] {
        let outcome = Family::OwnTracks.read(&request(Method::Post, "u=a", &[JSON], body), RECEIPT);
        assert_eq!(outcome.answer, Answer::json("[]"), "{body}");
        assert_eq!((outcome.reports.len(), outcome.rejected), (0, 1), "{body}");
        assert!(
            outcome.reasons[0].contains(words),
            "{body}: {:?}",
            outcome.reasons
        );
    }
}

#[test]
fn a_location_of_owntracks_without_a_client_holds_up_nothing() {
    let body = r#"{"_type":"location","lat":1,"lon":2,"tid":"ki"}"#;
    for (query, words) in [
        ("", "user and device are missing"),
        ("u=my+name", "white space"),
        ("u=a%0ab", "'a\nb' is no name"),
    ] {
        let outcome = Family::OwnTracks.read(&request(Method::Post, query, &[JSON], body), RECEIPT);
        assert_eq!(outcome.answer, Answer::json("[]"), "{query}");
        assert_eq!((outcome.reports.len(), outcome.rejected), (0, 1), "{query}");
        assert!(
            outcome.reasons[0].contains(words),
            "{query}: {:?}",
            outcome.reasons
        );
    }
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

#[test]
fn forms() {
    for (query, want) in [
        // Traccar Client for Android and iOS before 9, and from 10.1 on.
        (
            "id=902064&timestamp=1353118103&lat=42.06288&lon=-88.23412&speed=-1.0&bearing=-1.0&altitude=224.0&accuracy=6.0&batt=81.0&charge=true",
            "902064 +42.06288-088.23412 1353118103",
        ),
        // OsmAnd, milliseconds.
        (
            "id=kiwi&lat=42.06288&lon=-88.23412&timestamp=1442068686579&hdop=6.0&altitude=224.0&speed=0.0",
            "kiwi +42.06288-088.23412 1442068686.579",
        ),
        // GPSLogger, %TIME encoded or not.
        (
            "lat=49.60688&lon=6.15788&timestamp=2012-11-17T02%3A08%3A23.672Z&id=8f2a",
            "8f2a +49.60688+006.15788 1353118103.672",
        ),
        (
            "id=a&lat=1&lon=2&timestamp=2012-11-17T03:08:23.5+01:00",
            "a +01+002 1353118103.5",
        ),
        (
            "id=a&lat=1&lon=2&timestamp=2012-11-17+03:08:23+0100",
            "a +01+002 1353118103",
        ),
        (
            "id=a&lat=1&lon=2&timestamp=2012-11-17T03%3A08%3A23%2B0100",
            "a +01+002 1353118103",
        ),
        (
            "lat=49.60688&lon=6.15788&timestamp=2012-11-17+02%3A08%3A23&altitude=384.7&id=a",
            "a +49.60688+006.15788 1353118103",
        ),
        (
            "lat=60.0&lon=30.0&speed=0.0&heading=0.0&vacc=0&hacc=0&altitude=0&deviceid=123456",
            "123456 +60.0+030.0 1353118200.000000005",
        ),
        (
            "id=123456&timestamp=1353118103&location=60.0,30.0",
            "123456 +60.0+030.0 1353118103",
        ),
        (
            "id=123456&timestamp=1353118103&location=60.0%2C-30.0",
            "123456 +60.0-030.0 1353118103",
        ),
        ("id=a&lat=1e-05&lon=-1.5E2&timestamp=3", "a +00.00001-150 3"),
        (
            "id=a%2Fb&lat=-0.0&lon=180&timestamp=3&valid=true",
            "a/b -00.0+180 3",
        ),
        ("id=%FF&lat=1&lon=2&timestamp=3", "\u{fffd} +01+002 3"), // the byte itself, shown lossy here
        (
            "id=a&lat=41.666667&lon=-0.883333&timestamp=99999999999",
            "a +41.666667-000.883333 99999999999",
        ),
        (
            "id=a&lat=1&lon=2&timestamp=",
            "a +01+002 1353118200.000000005",
        ),
    ] {
        let want = (200, String::new(), vec![format!("IAMAT {want}")]);
        assert_eq!(
            read(Family::OsmAnd, &request(Method::Get, query, &[], "")),
            want,
            "{query}"
        );
        assert_eq!(
            read(Family::OsmAnd, &request(Method::Post, query, &[JSON], "")),
            want,
            "{query}"
        );
        assert_eq!(
            read(
                Family::OsmAnd,
                &request(Method::Post, "token=secret-1", &[FORM], query)
            ),
            want,
            "{query}"
        );
        assert_eq!(
            read(Family::OsmAnd, &request(Method::Post, "", &[], query)),
            want,
            "{query}"
        );
    }
}

#[test]
fn forms_that_are_wrong_are_refused() {
    for (query, words) in [
        ("lat=1&lon=2", "id is missing"),
        ("id=&lat=1&lon=2", "id is missing or empty"),
        ("id=my+phone&lat=1&lon=2", "'my phone' is no name"),
        ("id=my%20phone&lat=1&lon=2", "'my phone' is no name"),
        ("id=a", "lat is missing"),
        ("id=a&lat=1", "lon is missing"),
        (
            "id=a&lat=27,5916&lon=86,5640",
            "lat: '27,5916' is no decimal number",
        ),
        (
            "id=a&lat=27%2C5916&lon=86",
            "lat: '27,5916' is no decimal number",
        ),
        (
            "id=a&location=27,5916,86,5640",
            "location: '27,5916,86,5640' is not",
        ),
        ("id=a&location=27", "location: '27' is not"),
        ("id=a&location=27,", "lon: '' is no decimal number"),
        ("id=a&lat=91&lon=0", "latitude"),
        ("id=a&lat=0&lon=-180.0001", "longitude"),
        ("id=a&lat=NaN&lon=0", "lat: 'NaN'"),
        ("id=a&lat={0}&lon={1}", "lat: '{0}'"),
        (
            "id=a&lat=1&lon=2&timestamp=%25TIME",
            "timestamp: '%TIME' is no time",
        ),
        (
            "id=a&lat=1&lon=2&timestamp=1353118103,5",
            "timestamp: '1353118103,5' is no time",
        ),
        (
            "id=a&timestamp=1353118103&cell=257,02,16,2224",
            "lat is missing",
        ),
    ] {
        for (method, query, body) in [(Method::Get, query, ""), (Method::Post, "", query)] {
            let (status, answer, reports) =
                read(Family::OsmAnd, &request(method, query, &[FORM], body));
            assert_eq!((status, reports.len()), (400, 0), "{query}{body}: {answer}");
            assert!(
                answer.starts_with("{\"error\":") && answer.contains(words),
                "{query}{body}: {answer}"
            );
        }
    }
    let no_fix = request(Method::Get, "id=a&lat=0&lon=0&valid=false", &[], "");
    assert_eq!(read(Family::OsmAnd, &no_fix), (200, String::new(), vec![]));
}

#[test]
fn traccar_client_9() {
    let android = r#"{"location":{"timestamp":"2025-06-15T13:45:12.862Z","coords":{"latitude":37.4219983,"longitude":-122.084,
        "accuracy":5,"speed":-1,"heading":-1,"altitude":5},"is_moving":false,"odometer":0,"event":"motionchange","battery":{"level":1,
        "is_charging":false},"activity":{"type":"still"},"extras":{},
        "_":"&id=48241179&lat=37.4219983&lon=-122.084&timestamp=2025-06-15T13:45:12.862Z&"},"device_id":"48241179"}"#;
    let ios = r#"{"location":{"extras":{},"mock":true,"coords":{"speed_accuracy":-1,"speed":-1,"longitude":-122.406417,
        "floor":null,"latitude":37.785834000000001,"accuracy":5},"battery":{"level":-1},"timestamp":"2025-05-09T04:11:30.579Z"},"device_id":"658765"}"#;
    for (body, want) in [
        (android, "48241179 +37.4219983-122.084 1749995112.862"),
        (ios, "658765 +37.785834000000001-122.406417 1746763890.579"),
    ] {
        let got = read(Family::OsmAnd, &request(Method::Post, "", &[JSON], body));
        assert_eq!(
            got,
            (200, String::new(), vec![format!("IAMAT {want}")]),
            "{body}"
        );
    }
    let point = |latitude: &str, time: &str| {
        format!(r#"{{"coords":{{"latitude":{latitude},"longitude":2}},"timestamp":{time}}}"#)
    };
    let batch = [
        point("1", "5"),
        point("91", "6"),
        point("\"1,5\"", "7"),
        point("3", "\"2012-11-17T02:08:23+0100\""),
        point("4", "4"), // out of order, as it comes
        "7".into(),
        "{}".into(),
    ];
    let body = format!(r#"{{"device_id":12345,"location":[{}]}}"#, batch.join(","));
    let outcome = Family::OsmAnd.read(&request(Method::Post, "", &[JSON], &body), RECEIPT);
    assert_eq!(outcome.answer, Answer::json("{\"rejected\":4}"));
    let want = ["+01+002 5", "+03+002 1353114503", "+04+002 4"];
    let want = want.map(|line| format!("IAMAT 12345 {line}").into_bytes());
    assert_eq!((outcome.reports, outcome.rejected), (want.to_vec(), 4));
    assert_eq!(outcome.reasons.len(), 4);
    assert!(
        outcome.reasons[1].contains("location.coords.latitude: '\"1,5\"'"),
        "{:?}",
        outcome.reasons
    );

    for (body, words) in [
        ("{\"device_id\":\"a\"}", "location is missing"),
        (
            "{\"device_id\":\"a\",\"location\":{\"coords\":{\"latitude\":1,5,\"longitude\":2}}}",
            "no JSON object",
        ),
        ("id=a&lat=1&lon=2", "no JSON object"),
    ] {
        let (status, answer, _) = read(Family::OsmAnd, &request(Method::Post, "", &[JSON], body));
        assert_eq!(status, 400, "{body}: {answer}");
        assert!(answer.contains(words), "{body}: {answer}");
    }
}

fn feature(coordinates: &str, time: &str, device: &str) -> String {
    format!(
        r#"{{"type":"Feature","geometry":{{"type":"Point","coordinates":[{coordinates}]}},"properties":{{"timestamp":"{time}",
        "altitude":0,"speed":-1,"horizontal_accuracy":30,"motion":["driving","stationary"],"battery_level":0.89,"device_id":"{device}","wifi":""}}}}"#
    )
}

#[test]
fn overland() {
    let first = feature("-122.030581, 37.331800", "2015-10-01T08:00:00-0700", "kiwi");
    let second = feature("-122.03,37.3318,12.5", "2015-10-01T15:00:01Z", "kiwi");
    let body = format!("{{\"locations\":[{first},{second}],\"trip\":{{\"mode\":\"driving\"}}}}");
    let want = [
        "+37.331800-122.030581 1443711600",
        "+37.3318-122.03 1443711601",
    ];
    let want = want.map(|line| format!("IAMAT kiwi {line}"));
    let got = read(Family::Overland, &request(Method::Post, "", &[JSON], &body));
    assert_eq!(got, (200, "{\"result\":\"ok\"}".into(), want.to_vec()));

    // Bad points among good ones; the newest is in `current` only.
    let bad = [
        feature("-122,5,37,33", "2015-10-01T15:00:02Z", "kiwi"),
        feature("0,91", "2015-10-01T15:00:02Z", "kiwi"),
        feature("1,2", "yesterday", "kiwi"),
        feature("1,2", "2015-10-01T15:00:02Z", ""),
        feature("1,2", "2015-10-01T15:00:02Z", "my phone"),
        feature("1,2", "2015-10-01T15:00:02Z", "kiwi").replace("Point", "LineString"),
        r#"{"type":"Feature","geometry":null,"properties":{}}"#.into(),
        "null".into(),
    ];
    let body = format!(
        "{{\"locations\":[{},{first}],\"current\":{second}}}",
        bad.join(",")
    );
    let got = read(Family::Overland, &request(Method::Post, "", &[JSON], &body));
    assert_eq!(
        got,
        (
            200,
            "{\"result\":\"ok\",\"rejected\":8}".into(),
            want.to_vec()
        )
    );

    // A batch is not refused for the points that name no client, if others are wrong for other reasons.
    let anonymous = feature("1,2", "2015-10-01T15:00:02Z", "");
    let outside = feature("1,91", "2015-10-01T15:00:02Z", "kiwi");
    let body = format!("{{\"locations\":[{anonymous},{outside}]}}");
    let got = read(Family::Overland, &request(Method::Post, "", &[JSON], &body));
    assert_eq!(
        got,
        (200, "{\"result\":\"ok\",\"rejected\":2}".into(), vec![])
    );

    let body = format!("{{\"locations\":[{anonymous}]}}");
    let got = read(
        Family::Overland,
        &request(Method::Post, "device_id=kiwi", &[], &body),
    );
    assert_eq!(
        got,
        (
            200,
            "{\"result\":\"ok\"}".into(),
            vec!["IAMAT kiwi +02+001 1443711602".into()]
        )
    );
    let got = read(
        Family::Overland,
        &request(Method::Post, "", &[], "{\"locations\":[]}"),
    );
    assert_eq!(got, (200, "{\"result\":\"ok\"}".into(), vec![]));
    for body in ["", "{}", "[]", "{\"locations\":7}", "{\"locations\":[}"] {
        assert_eq!(
            read(Family::Overland, &request(Method::Post, "", &[JSON], body)).0,
            400,
            "{body}"
        );
    }
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
        let quoted = crate::web::percent::encode(name.as_bytes());
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
