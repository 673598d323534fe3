//! Requests as Overland really makes them, and what becomes of them. The tests of all families, `tests`, have the helpers.

use super::Family;
use super::tests::{JSON, feature, read, request};
use crate::http::Method;

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
