//! What phones report (contract, section 7), with the requests that their apps send, over real sockets.

#[path = "support/http.rs"]
mod http;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use http::{Http, Reply};
use support::{Herd, wait_until};

const JSON: &str = "Content-Type: application/json\r\n";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

const TWO: &[(&str, &[&str])] = &[("Blake", &["Bryant"]), ("Bryant", &[])];

fn one() -> Herd {
    let mut herd = Herd::with_http(&TWO[1..]);
    herd.start_all();
    herd
}

/// What `client` last reported, as the end of its `AT` line.
fn report(herd: &Herd, client: &str) -> Option<String> {
    let at = herd.at("Bryant", client)?;
    let report = at.split_once(&format!(" {client} "))?;
    Some(report.1.to_owned())
}

fn assert_is(herd: &Herd, client: &str, want: &str) {
    assert_eq!(report(herd, client).as_deref(), Some(want), "{client}");
}

fn answer(reply: &Reply) -> (u16, String) {
    (reply.status, reply.text())
}

fn ok(body: &str) -> (u16, String) {
    (200, body.to_owned())
}

#[test]
fn owntracks_reports_and_is_answered_with_an_empty_array() {
    let mut herd = Herd::with_http(TWO);
    herd.start_all();
    herd.wait_for_link("Blake", "Bryant");
    let mut phone = Http::connect(herd.http("Blake"));
    let fields = format!("{JSON}X-Limit-U: jane\r\nX-Limit-D: phone\r\n");
    let mut post = |body: &str| phone.ask("POST", "/owntracks", &fields, body.as_bytes());
    let location = r#"{"_type":"location","acc":11,"alt":35,"batt":86,"bs":1,"conn":"w","created_at":1756030130,"lat":27.5916,"lon":86.5640,"m":1,"tid":"ki","tst":1353118103,"vac":2,"vel":0}"#;
    for body in [
        location,
        "",
        r#"{"_type":"encrypted","data":"jpG8pF2mC3m8zKf7"}"#,
        r#"{"_type":"lwt","tst":1}"#,
        r#"{"_type":"location","lat":91,"lon":0,"tst":1353118200}"#,
        r#"{"_type":"location","lat":"27,5","lon":0,"tst":1353118200}"#,
    ] {
        let reply = post(body);
        assert_eq!(answer(&reply), ok("[]"), "{body}");
        assert_eq!(reply.field("content-type"), Some("application/json"));
    }
    // A report like any other: a client of lines may ask for it, and neighbours hear of it.
    let at = herd.at("Blake", "jane/phone").expect("it was reported");
    assert!(
        at.ends_with(" jane/phone +27.5916+086.5640 1353118103"),
        "{at}"
    );
    herd.wait_for_at("Bryant", "jane/phone", &at);
    let log = herd.settled_log("Blake");
    for words in [
        "IAMAT jane/phone +27.5916+086.5640 1353118103",
        &at,
        "rejected: the latitude is beyond 90 degrees",
        "rejected: lat: ",
        "ignored: it is encrypted: ",
        "ignored: _type is 'lwt', not 'location'",
    ] {
        assert!(log.contains(words), "no {words} in {log}");
    }
    assert_eq!(post("{").status, 400);
    // The app would send again for ever what is refused: the log alone says why it is not taken.
    let mut stranger = Http::connect(herd.http("Blake"));
    for (path, why) in [
        ("/owntracks", "rejected: user and device are missing"),
        (
            "/owntracks?u=my+name",
            "rejected: 'my name' is no name of a client",
        ),
    ] {
        let reply = stranger.ask("POST", path, JSON, location.as_bytes());
        assert_eq!(answer(&reply), ok("[]"), "{path}");
        assert!(herd.settled_log("Blake").contains(why), "{path}");
    }
    assert_eq!(herd.at("Blake", "my"), None);
    assert_eq!(stranger.get("/owntracks").status, 405);
}

#[test]
fn osmand_reports_by_query_by_form_and_in_json() {
    let herd = one();
    let mut http = Http::connect(herd.http("Bryant"));
    for (client, query, want) in [
        (
            "902064",
            "id=902064&timestamp=1353118103&lat=42.06288&lon=-88.23412&speed=-1.0&bearing=-1.0&altitude=224.0&accuracy=6.0&batt=81.0",
            "+42.06288-088.23412 1353118103",
        ),
        (
            "ms",
            "id=ms&lat=42.06288&lon=-88.23412&timestamp=1442068686579",
            "+42.06288-088.23412 1442068686.579",
        ),
        (
            "iso",
            "deviceid=iso&location=60.0,30.0&timestamp=2012-11-17T04%3A08%3A23%2B02%3A00",
            "+60.0+030.0 1353118103",
        ),
        (
            "iso2",
            "deviceid=iso2&location=60.0%2C30.0&timestamp=2012-11-17T04:08:23+0200",
            "+60.0+030.0 1353118103",
        ),
        (
            "space",
            "id=space&lat=1e-05&lon=-1.5e2&timestamp=2012-11-17+02:08:23",
            "+00.00001-150 1353118103",
        ),
    ] {
        let reply = http.get(&format!("/osmand?{query}"));
        assert_eq!(answer(&reply), ok(""), "{query}");
        assert_is(&herd, client, want);
        let again = query.replace(client, &format!("f{client}"));
        let reply = http.ask("POST", "/osmand", FORM, again.as_bytes());
        assert_eq!(answer(&reply), ok(""), "{query}");
        assert_is(&herd, &format!("f{client}"), want);
    }
    for (query, words) in [
        ("lat=1&lon=2", "id is missing"),
        ("id=my%20phone&lat=1&lon=2", "white space"),
        ("id=comma&lat=27,5916&lon=86,5640", "27,5916"),
        ("id=comma&location=27,5916,86,5640", "27,5916,86,5640"),
        ("id=comma&lat=91&lon=0", "latitude"),
        ("id=comma&lat=1", "lon is missing"),
    ] {
        let reply = http.get(&format!("/osmand?{query}"));
        assert_eq!(reply.status, 400, "{query}");
        let error = reply.json()["error"].as_str().map(str::to_owned);
        let error = error.expect("an error");
        assert!(error.contains(words), "{query}: {error}");
    }
    assert_eq!(report(&herd, "comma"), None);

    let point = |latitude: &str, time: &str| {
        format!(
            r#"{{"timestamp":"{time}","coords":{{"latitude":{latitude},"longitude":-122.084,"accuracy":5,"speed":-1,"heading":-1,"altitude":5}},"is_moving":false,"battery":{{"level":1,"is_charging":false}}}}"#
        )
    };
    let single = format!(
        r#"{{"location":{},"device_id":"9"}}"#,
        point("37.4219983", "2025-06-15T13:45:12.862Z")
    );
    assert_eq!(
        answer(&http.ask("POST", "/osmand", JSON, single.as_bytes())),
        ok("")
    );
    assert_is(&herd, "9", "+37.4219983-122.084 1749995112.862");
    // A batch, out of order, with points that are wrong; then sent again.
    let batch = [
        point("2", "2025-06-15T13:45:14Z"),
        point("91", "2025-06-15T13:45:15Z"),
        point("3", "2025-06-15T13:45:13Z"),
        point("\"4,5\"", "2025-06-15T13:45:16Z"),
    ];
    let batch = format!(
        r#"{{"location":[{}],"device_id":"batch"}}"#,
        batch.join(",")
    );
    for _ in 0..2 {
        let reply = http.ask("POST", "/osmand", JSON, batch.as_bytes());
        assert_eq!(answer(&reply), ok("{\"rejected\":2}"));
        assert_is(&herd, "batch", "+02-122.084 1749995114");
    }
    let anonymous = single.replace("\"9\"", "\"\"");
    let reply = http.ask("POST", "/osmand", JSON, anonymous.as_bytes());
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("device_id"), "{}", reply.text());
    let reply = http.ask("POST", "/osmand", "Content-Type: text/plain\r\n", b"id=a");
    assert_eq!(reply.status, 415);
    assert_eq!(http.ask("DELETE", "/osmand", "", b"").status, 405);
}

fn feature(place: &str, time: &str, device: &str) -> String {
    format!(
        r#"{{"type":"Feature","geometry":{{"type":"Point","coordinates":[{place}]}},"properties":{{"timestamp":"{time}","altitude":0,"speed":4,"horizontal_accuracy":30,"motion":["driving"],"battery_state":"charging","battery_level":0.89,"device_id":"{device}","wifi":""}}}}"#
    )
}

#[test]
fn overland_reports_a_thousand_points_at_once() {
    let herd = one();
    let mut http = Http::connect(herd.http("Bryant"));
    let point = |n: usize| {
        let time = format!("2015-10-01T08:{:02}:{:02}-0700", n / 60, n % 60);
        feature(&format!("-122.{n:03},37.3318"), &time, "kiwi")
    };
    let many: Vec<_> = (0..1_000).map(point).collect();
    let current = feature("-120.5,37.0", "2015-10-01T15:59:59Z", "kiwi");
    for current in ["", &format!(",\"current\":{current}")] {
        let body = format!(
            "{{\"locations\":[{}]{current},\"trip\":{{}}}}",
            many.join(",")
        );
        let reply = http.ask("POST", "/overland", JSON, body.as_bytes());
        assert_eq!(answer(&reply), ok("{\"result\":\"ok\"}"));
        let want = match current {
            "" => "+37.3318-122.999 1443712599",
            _ => "+37.0-120.5 1443715199",
        };
        assert_is(&herd, "kiwi", want);
    }
    let bad = ["-122,5,37,33", "0,91"].map(|place| feature(place, "2015-10-01T16:00:00Z", "kiwi"));
    let body = format!(
        "{{\"locations\":[{},{},{},{}]}}",
        bad[0],
        feature("1,2", "2015-10-01T16:00:01Z", "lime"),
        feature("1,2", "2015-10-01T16:00:01Z", "my phone"),
        bad[1]
    );
    let reply = http.ask("POST", "/overland", JSON, body.as_bytes());
    assert_eq!(answer(&reply), ok("{\"result\":\"ok\",\"rejected\":3}"));
    assert_is(&herd, "lime", "+02+001 1443715201");
    assert_is(&herd, "kiwi", "+37.0-120.5 1443715199");

    let anonymous = format!(
        "{{\"locations\":[{}]}}",
        feature("1,2", "2015-10-01T16:00:01Z", "")
    );
    let reply = http.ask("POST", "/overland", JSON, anonymous.as_bytes());
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("device_id is missing or empty"));
    let reply = http.ask(
        "POST",
        "/overland?device_id=late",
        JSON,
        anonymous.as_bytes(),
    );
    assert_eq!(answer(&reply), ok("{\"result\":\"ok\"}"));
    assert_is(&herd, "late", "+02+001 1443715201");
    let body = format!(
        "{{\"locations\":[{}{current},{current}]}}",
        format!("{current},").repeat(1_000)
    );
    let reply = http.ask("POST", "/overland", JSON, body.as_bytes());
    assert_eq!(reply.status, 413);
}

#[test]
fn bodies_come_in_chunks_after_a_hundred_and_plain() {
    let herd = one();
    let address = herd.http("Bryant");
    let body = r#"{"_type":"location","lat":1,"lon":2,"tst":3}"#;
    let (half, rest) = body.split_at(20);
    let chunks = format!("14\r\n{half}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n", rest.len());
    let mut http = Http::connect(address);
    let head = format!(
        "POST /owntracks?u=chunks HTTP/1.1\r\nHost: {address}\r\nTransfer-Encoding: chunked\r\n"
    );
    http.client.send(format!("{head}\r\n{chunks}").as_bytes());
    assert_eq!(answer(&http.reply()), ok("[]"));
    assert_is(&herd, "chunks", "+01+002 3");

    let head = head.replace("u=chunks", "u=waits");
    http.client
        .send(format!("{head}Expect: 100-continue\r\n\r\n").as_bytes());
    assert_eq!(http.head().status, 100);
    http.client.send(chunks.as_bytes());
    assert_eq!(answer(&http.reply()), ok("[]"));
    assert_is(&herd, "waits", "+01+002 3");

    for target in ["/owntracks?u=gzip", "/osmand", "/overland"] {
        let fields = format!("{JSON}Content-Encoding: gzip\r\n");
        let reply = http.ask("POST", target, &fields, b"\x1f\x8b\x08\0");
        assert_eq!(reply.status, 415, "{target}");
    }
}

#[test]
fn apps_that_can_send_no_field_have_the_token_in_their_url() {
    let mut herd = Herd::with_http(&TWO[1..]);
    let tokens = herd.topology().with_file_name("tokens");
    fs::write(&tokens, "phones secret-1\n").expect("the directory is ours");
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(&tokens, mode).expect("the file is ours");
    let tokens = tokens.to_str().expect("its name is UTF-8").to_owned();
    herd.start_arguing("Bryant", &["--http-tokens", &tokens]);
    let mut http = Http::connect(herd.http("Bryant"));
    let query = "/osmand?id=kiwi&lat=1&lon=2&timestamp=3";
    assert_eq!(http.get(query).status, 401);
    assert_eq!(http.get(&format!("{query}&token=secret-2")).status, 401);
    let reply = http.get(&format!("{query}&token=secret-1"));
    assert_eq!(answer(&reply), ok(""));
    assert_is(&herd, "kiwi", "+01+002 3");
    let body = r#"{"_type":"location","lat":1,"lon":2,"tst":3}"#;
    let target = "/owntracks?token=secret-1&u=jane";
    let reply = http.ask("POST", target, JSON, body.as_bytes());
    assert_eq!(reply.status, 401, "OwnTracks can do better");
    // jane:secret-1
    let basic = format!("{JSON}Authorization: Basic amFuZTpzZWNyZXQtMQ==\r\nX-Limit-D: phone\r\n");
    let reply = http.ask("POST", "/owntracks", &basic, body.as_bytes());
    assert_eq!(answer(&reply), ok("[]"));
    assert_is(&herd, "jane/phone", "+01+002 3");
    wait_until("the log has it", || {
        herd.log("Bryant").contains("token=***")
    });
    assert!(!herd.settled_log("Bryant").contains("secret-1"));
}
