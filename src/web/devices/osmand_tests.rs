//! Requests as OsmAnd, Traccar Client and others that fill in a URL really make them, and what becomes of them. The tests of all families, `tests`, have the helpers.

use super::Family;
use super::tests::{FORM, JSON, RECEIPT, read, request};
use crate::http::Method;
use crate::web::answer::Answer;

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
        (
            "id=a&lat=1e-2000&lon=0",
            "lat: '1e-2000' is no decimal number of at most 1100 digits",
        ),
        ("id=a&lat=91&lon=0", "latitude"),
        ("id=a&lat=0&lon=-180.0001", "longitude"),
        ("id=a&lat=NaN&lon=0", "lat: 'NaN'"),
        ("id=a&lat={0}&lon={1}", "lat: '{0}'"),
        (
            "id=a&lat=1&lon=2&timestamp=%25TIME",
            "timestamp: '%TIME' is no time",
        ),
        (
            "id=a&lat=1&lon=2&timestamp=%zz",
            "timestamp: '%zz' is no time",
        ),
        (
            "id=a&lat=%&lon=2&timestamp=3",
            "lat: '%' is no decimal number",
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
            "{\"device_id\":\"a\",\"location\":null}",
            "location is missing",
        ),
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
