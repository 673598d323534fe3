//! `IAMAT`, and lines that are no command.

use std::io::{Read, Write};

use crate::stub_twitter::{Answer, StubTwitter};
use crate::support::wait_until;
use crate::{
    At, KIWI, LINE_BYTES_MAX, assert_bytes, assert_copied, blake, blake_asking, clock, shown,
    time_text,
};

#[test]
fn iamat_is_answered_with_the_time_of_receipt_less_the_clients_time_to_the_nanosecond() {
    let herd = blake();
    let mut client = herd.client("Blake");
    let now = time_text(clock());
    for (name, location, time) in [
        (
            "kiwi.cs.ucla.edu",
            "+27.5916+086.5640",
            "1353118103.108893381",
        ),
        ("kiwi.cs.ucla.edu", "+34.068930-118.445127", now.as_str()),
        ("a", "-90-180/", "0"),
        ("a", "+90.000+180.0", "0.000000001"),
        ("a", "-00.0-000.00", "000000000000000001.5"),
        ("a", "+00+000", "4102444800.25"),
        ("a", "+00+000", "9999999999.999999999"),
        ("a", "+00+000", "999999999999999999"),
        ("a", "+00+000", "999999999999999999.999999999"),
        ("a", "+00+000", "123456789012345678.000000001"),
        ("IAMAT", "+00+000", "1"),
    ] {
        let before = clock();
        client.say(&format!("IAMAT {name} {location} {time}"));
        let reply = client.line();
        let after = clock();
        let at = At::read(&reply);
        assert_eq!(
            (&*at.client, &*at.location, &*at.time),
            (name, location, time),
            "copied verbatim: {reply}"
        );
        let receipt = at.receipt();
        assert!(
            (before..=after).contains(&receipt),
            "{reply}: difference + time = {receipt}, received between {before} and {after}"
        );
    }
}

#[test]
fn fields_are_separated_by_any_white_space_of_the_six_kinds_but_lf() {
    let herd = blake();
    let mut client = herd.client("Blake");
    client.say(KIWI);
    client.line();
    for space in [
        " ",
        "\t",
        "\r",
        "\x0c",
        "\x0b",
        "  ",
        " \t\r\x0c\x0b",
        "\r\r\r",
    ] {
        for (before, after) in [("", ""), (space, ""), ("", space), (space, space)] {
            let fields = ["IAMAT", "c", "+00+000", "1"].join(space);
            let line = format!("{before}{fields}{after}");
            client.say(&line);
            let at = At::read(&client.line());
            let got = (&*at.client, &*at.location, &*at.time);
            assert_eq!(got, ("c", "+00+000", "1"), "line: {line:?}");
            let fields = ["WHATSAT", "c", "0.5", "007"].join(space);
            client.say(&format!("{before}{fields}{after}"));
            assert_eq!(client.line(), at.line, "line: {line:?}");
            let json = client.line();
            assert!(json.starts_with("{\"error\":"), "{json}");
        }
    }
    client.send(b"IAMAT crlf +00+000 1\r\nWHATSAT crlf 1 1\r\nnonsense\r\n");
    let at = At::read(&client.line());
    assert_eq!((&*at.client, &*at.time), ("crlf", "1"));
    assert_eq!(client.line(), at.line);
    client.line();
    assert_eq!(client.line(), "? nonsense\r", "copied with its CR");
}

#[test]
fn what_is_no_command_is_answered_with_a_question_mark_and_an_exact_copy() {
    let herd = blake();
    let mut client = herd.client("Blake");
    client.say("IAMAT k +00+000 1");
    let at = client.line();
    let long_time = format!("IAMAT k +00+000 {}", "1".repeat(19));
    for line in [
        "",
        " ",
        "\r",
        " \t\r\x0c\x0b ",
        "IAMAT",
        "WHATSAT",
        "IAMAT k",
        "IAMAT k +00+000",
        "IAMAT k +00+000 1 1",
        "IAMAT  k   +00+000 \t 1  1\r",
        "iamat k +00+000 1",
        "IAMAT\u{a0}k +00+000 1",
        "IAMATk +00+000 1",
        "\"IAMAT\" k +00+000 1",
        "AT Blake +0.563873386 k +27.5916+086.5640 1353118103.108893381",
        "HELLO herd/1 Bryant Blake 0123456789abcdef 1 - 0",
        "MARK 1",
        "BYE now",
        "? IAMAT k",
        "GET / HTTP/2",
        "GET / HTTP/1.",
        "GET / x HTTP/1.1",
        "GET /HTTP/1.1",
        "IAMAT k HTTP/1.1x",
        // locations
        "IAMAT k 00+000 1",
        "IAMAT k +00000 1",
        "IAMAT k +0+000 1",
        "IAMAT k +000+000 1",
        "IAMAT k +00+00 1",
        "IAMAT k +00+0000 1",
        "IAMAT k +00.+000 1",
        "IAMAT k +00+000. 1",
        "IAMAT k +.5+000.5 1",
        "IAMAT k +90.0000000000000000001+000 1",
        "IAMAT k -90.1+000 1",
        "IAMAT k +91+000 1",
        "IAMAT k +00+180.0000000000000000001 1",
        "IAMAT k +00-181 1",
        "IAMAT k +00+999 1",
        "IAMAT k +00+000// 1",
        "IAMAT k /+00+000 1",
        "IAMAT k +00+000+0 1",
        "IAMAT k +00+000+8848/ 1",
        "IAMAT k +00,0+000 1",
        "IAMAT k +00.0e1+000 1",
        "IAMAT k \u{2212}00+000 1",
        "IAMAT k +\u{0660}0+000 1",
        // times
        "IAMAT k +00+000 -1",
        "IAMAT k +00+000 +1",
        "IAMAT k +00+000 1.",
        "IAMAT k +00+000 .1",
        "IAMAT k +00+000 .",
        "IAMAT k +00+000 1.2.3",
        "IAMAT k +00+000 1e9",
        "IAMAT k +00+000 0x10",
        "IAMAT k +00+000 1,5",
        "IAMAT k +00+000 nan",
        "IAMAT k +00+000 1.0000000000",
        &long_time,
        "IAMAT k +00+000 \u{0661}",
        // questions
        "WHATSAT k",
        "WHATSAT k 1",
        "WHATSAT k 1 1 1",
        "WHATSAT k 1 101",
        "WHATSAT k 1 1000",
        "WHATSAT k 1 18446744073709551617",
        "WHATSAT k 1 -1",
        "WHATSAT k 1 +1",
        "WHATSAT k 1 1.0",
        "WHATSAT k 1 ten",
        "WHATSAT k -1 1",
        "WHATSAT k +1 1",
        "WHATSAT k 1. 1",
        "WHATSAT k .5 1",
        "WHATSAT k 1.2.3 1",
        "WHATSAT k 1e2 1",
        "WHATSAT k 1km 1",
        "WHATSAT k inf 1",
        "WHATSAT stranger 1 1",
        "WHATSAT K 1 1",
        "WHATSAT k. 1 1",
        "whatsat k 1 1",
    ] {
        client.say(line);
        let reply = client.line_bytes().expect("the server stays");
        assert_bytes(&reply, format!("? {line}").as_bytes(), "the copy");
    }
    client.say("WHATSAT k 1 1");
    assert_eq!(client.line(), at, "none of these has changed anything");
}

#[test]
fn every_byte_but_lf_may_stand_in_a_client_id_or_is_copied_back() {
    let herd = blake();
    let mut client = herd.client("Blake");
    let white = b" \t\r\x0b\x0c";
    for byte in (0..=u8::MAX).filter(|&byte| byte != b'\n') {
        let id = [b'x', byte, b'y'];
        let iamat = [b"IAMAT ", &id[..], b" +00+000 1"].concat();
        let invalid = [&[byte][..], b"no\x00command\xff", &id[..]].concat();
        let whatsat = [b"WHATSAT ", &id[..], b" 1 0"].concat();
        for line in [&iamat, &invalid, &whatsat] {
            client.send(line);
            client.send(b"\n");
        }
        let what = format!("byte {byte:#04x}");
        let mut reply = || client.line_bytes().expect("the server stays");
        let first = reply();
        let copy = |line: &[u8]| [b"? ", line].concat();
        if white.contains(&byte) {
            assert_bytes(&first, &copy(&iamat), &what);
        } else {
            let end = [b" ", &id[..], b" +00+000 1"].concat();
            let whole = first.starts_with(b"AT Blake +") && first.ends_with(&end);
            assert!(whole, "{what}: {}", shown(&first));
        }
        assert_bytes(&reply(), &copy(&invalid), &what);
        if white.contains(&byte) {
            assert_bytes(&reply(), &copy(&whatsat), &what);
        } else {
            assert_bytes(&reply(), &first, &what);
            assert!(reply().starts_with(b"{\"error\":"), "{what}");
        }
    }
}

#[test]
fn of_a_request_of_http_only_the_first_line_is_answered_and_nothing_is_obeyed() {
    let herd = blake();
    // As curl sends it, and a browser that somebody's page has made to; such a page chooses the target.
    for target in [1, 70_000, 200_000].map(|bytes| "/".repeat(bytes)) {
        for (version, line_end, reports) in [
            ("HTTP/1.1", "\r\n", 1),
            ("HTTP/1.1", "\r\n", 2_000),
            ("HTTP/1.0", "\n", 1),
        ] {
            let mut client = herd.client("Blake");
            let first = format!("POST {target} {version}{}", line_end.trim_end_matches('\n'));
            let body = "IAMAT evil +34.0689-118.4451 1\n".repeat(reports);
            let length = body.len();
            let text = format!(
                "{first}\nHost: 127.0.0.1{line_end}Content-Length: {length}{line_end}{line_end}{body}"
            );
            client.send(text.as_bytes());
            let reply = client.rest();
            assert_bytes(&reply, format!("? {first}\n").as_bytes(), "and the end");
        }
    }
    // The same in pieces: what is kept of a long line is its end, however it comes.
    let mut client = herd.client("Blake");
    let target = "/".repeat(2 * LINE_BYTES_MAX);
    client.send(format!("GET {target}").as_bytes());
    let mut copied = vec![0; 2 + LINE_BYTES_MAX];
    client.stream.read_exact(&mut copied).expect("a copy comes");
    for byte in b" HTTP/1.1\r\nIAMAT evil +00+000 1\n" {
        let _ = client.stream.write_all(&[*byte]); // it closes in the middle
    }
    let copy = client.line_bytes().expect("the copy");
    assert!(copy.ends_with(b"/ HTTP/1.1\r"), "{}", shown(&copy));
    assert_eq!(client.line_bytes(), None, "and the end");
    assert_eq!(herd.at("Blake", "evil"), None);
    wait_until("the log says why", || {
        let log = herd.log("Blake");
        let dropped = log.lines().filter(|line| line.contains(" - c"));
        dropped
            .filter(|line| line.contains("an HTTP request"))
            .count()
            == 10
    });
    // A long line that is none.
    let mut client = herd.client("Blake");
    for end in [" HTTP/2.0", "HTTP/1.1", " HTTP/1.1 x", " HTTP/1.12"] {
        let line = format!("GET {target}{end}");
        assert_copied(&mut client, &line);
    }
    client.say(KIWI);
    At::read(&client.line());
}

#[test]
fn a_request_of_http_waits_for_its_answer_behind_a_question() {
    let (twitter, gate) = StubTwitter::gated(|_| Answer::ok("{}"));
    let herd = blake_asking(&twitter);
    let mut client = herd.client("Blake");
    client.send(b"IAMAT a +00+000 1\nWHATSAT a 1 1\nGET / HTTP/1.1\r\nIAMAT evil +00+000 1\n");
    let at = client.line();
    twitter.wait_for_requests(1);
    gate.open();
    let want = format!("{at}\n{{}}\n? GET / HTTP/1.1\r\n");
    assert_bytes(&client.rest(), want.as_bytes(), "and the end");
    assert_eq!(herd.at("Blake", "evil"), None);
}
