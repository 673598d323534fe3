//! A location as JSON: numbers are the text that the client wrote, as plain decimals, never floating point.

use crate::http::percent;
use crate::node::location::{Location, write_plain_decimal};

/// Appends the members of a location to `out`, without the braces around them.
pub fn write_members(out: &mut Vec<u8>, location: &Location<'_>) {
    write_client(out, location.client);
    let position = location.position;
    for (name, number) in [
        (&b",\"latitude\":"[..], position.latitude()),
        (b",\"longitude\":", position.longitude()),
    ] {
        out.extend_from_slice(name);
        write_plain_decimal(out, number);
    }
    for (name, text) in [
        // All of them printable ASCII without quotes: they have been read as what they are.
        (&b",\"position\":\""[..], position.text()),
        (b"\",\"time\":\"", location.time_text),
        (b"\",\"server\":\"", location.server),
    ] {
        out.extend_from_slice(name);
        out.extend_from_slice(text);
    }
    out.extend_from_slice(b"\",\"difference\":\"");
    // As it stands in the line, behind `AT` and the server: that costs less than to write it anew.
    let after_server = "AT ".len() + location.server.len() + " ".len();
    let mut difference = location.line[after_server..].split(|&byte| byte == b' ');
    out.extend_from_slice(difference.next().unwrap_or_default());
    out.push(b'"');
}

/// Appends the member or members that name a client: bytes that are not UTF-8 are shown as U+FFFD, and then
/// `client_encoded` has all of them, percent-encoded.
pub fn write_client(out: &mut Vec<u8>, client: &[u8]) {
    out.extend_from_slice(b"\"client\":");
    if client
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
    {
        for part in [b"\"", client, b"\""] {
            out.extend_from_slice(part);
        }
        return;
    }
    if let Ok(client) = std::str::from_utf8(client) {
        return write_string(out, client);
    }
    write_string(out, &String::from_utf8_lossy(client));
    let encoded = percent::encode(client);
    out.extend_from_slice(format!(",\"client_encoded\":\"{encoded}\"").as_bytes());
}

/// Appends a string of JSON.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a vector takes all that is written to it");
}

/// A location as an object.
pub fn json(location: &Location<'_>) -> Vec<u8> {
    object(|out| write_members(out, location))
}

/// The object with the members that `write` appends.
pub fn object(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.push(b'{');
    write(&mut out);
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::protocol::parse_at;
    use serde_json::Value;

    fn json_of(line: &[u8]) -> String {
        let location = parse_at(line).expect("it is one");
        String::from_utf8(json(&location)).expect("JSON is UTF-8")
    }

    #[test]
    fn the_example_of_the_documentation() {
        let json = json_of(b"AT Blake +0.563873386 kiwi +27.5916+086.5640 1353118103.108893381");
        let want = r#"{"client":"kiwi","latitude":27.5916,"longitude":86.564,"position":"+27.5916+086.5640","time":"1353118103.108893381","server":"Blake","difference":"+0.563873386"}"#;
        assert_eq!(json, want);
    }

    #[test]
    fn any_client_gives_json_and_can_be_asked_for_again() {
        for (client, shown, encoded) in [
            (&b"a\"b\\c"[..], "a\"b\\c", None),
            (b"\x01\x7f", "\u{1}\u{7f}", None),
            ("é\u{2028}".as_bytes(), "é\u{2028}", None),
            (b"a\xff/b", "a\u{fffd}/b", Some("a%FF%2Fb")),
        ] {
            let line = [b"AT Blake -1.000000000 ", client, b" -00.5-180/ 1"].concat();
            let json: Value = serde_json::from_str(&json_of(&line)).expect("it is JSON");
            assert_eq!(json["client"], shown);
            assert_eq!(json.get("client_encoded").and_then(Value::as_str), encoded);
            assert_eq!(json["latitude"], -0.5);
            assert_eq!(json["position"], "-00.5-180/");
        }
    }
}
