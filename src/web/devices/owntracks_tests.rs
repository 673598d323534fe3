//! Requests as OwnTracks really makes them, and what becomes of them. The tests of all families, `tests`, have the helpers.

use super::Family;
use super::tests::{AT_RECEIPT, JSON, RECEIPT, basic, read, request};
use crate::http::Method;
use crate::web::answer::Answer;

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
        ("u=100%&d=b", &both, android, format!("100%/b {nepal}")),
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
    for (body, why) in [
        ("", "the body is empty"),
        (" \r\n", "the body is empty"),
        (
            r#"{"_type":"encrypted","data":"jpG8pF2mC3m8zKf7sU0WqK1Z"}"#,
            "it is encrypted: turn the encryption off in the app",
        ),
        (
            r#"{"_type":"transition","wtst":1425042603,"lat":12.34,"lon":44.5,"tst":1427634603,"event":"enter","tid":"JP"}"#,
            "_type is 'transition', not 'location'",
        ),
        (
            r#"{"_type":"waypoints","waypoints":[{"_type":"waypoint","lat":1,"lon":2,"tst":1}]}"#,
            "_type is 'waypoints', not 'location'",
        ),
        (
            r#"{"_type":"lwt","tst":1}"#,
            "_type is 'lwt', not 'location'",
        ),
        (
            r#"{"_type":"status","android":{"hib":0}}"#,
            "_type is 'status', not 'location'",
        ),
        (r#"{"lat":1,"lon":2}"#, "_type is missing or no text"),
        (r#"{"_type":7}"#, "_type is missing or no text"),
        ("[]", "the body is no JSON object"),
        ("null", "the body is no JSON object"),
    ] {
        let outcome = Family::OwnTracks.read(&request(Method::Post, "u=a", &[JSON], body), RECEIPT);
        assert_eq!(outcome.answer, Answer::json("[]"), "{body}");
        assert_eq!((outcome.reports.len(), outcome.rejected), (0, 0), "{body}");
        assert_eq!(outcome.ignored.as_deref(), Some(why), "{body}");
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
