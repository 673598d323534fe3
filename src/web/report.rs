//! A report of one client's location in JSON (`POST /v1/clients/ID`), as the `IAMAT` line that it becomes.
//!
//! Whatever a device says goes through [`compose`] and [`parse`]: so nothing that it writes can be more than one
//! report, nor another client's.

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;

use super::decimal::{DECIMAL, Decimal};
use super::members::{Members, string};
use super::moment;
use crate::node::command::{Command, IAmAt, LINE_BYTES_MAX};
use crate::node::fields::is_space;
use crate::node::invalid;
use crate::time::Timestamp;

/// Where a client was, as a device says it.
#[derive(Debug)]
pub enum Place<'a> {
    /// A text of ISO 6709.
    Text(Cow<'a, str>),
    /// Latitude and longitude.
    Degrees(Decimal<'a>, Decimal<'a>),
}

/// The `IAMAT` line, without LF, of a client that was at `place` at `time`, in seconds since 1970. It is one line about
/// that client, but whether it is a report is [`parse`]'s to say.
///
/// # Errors
/// What is wrong with it.
pub fn compose(client: &[u8], place: &Place<'_>, time: &Decimal<'_>) -> Result<Vec<u8>, String> {
    let mut line = Vec::with_capacity(96);
    line.extend_from_slice(b"IAMAT ");
    check("client-id", client)?;
    line.extend_from_slice(client);
    line.push(b' ');
    match place {
        Place::Text(text) => {
            check("location", text.as_bytes())?;
            line.extend_from_slice(text.as_bytes());
        }
        Place::Degrees(latitude, longitude) => {
            latitude.write_degrees(&mut line, 2);
            longitude.write_degrees(&mut line, 3);
        }
    }
    line.push(b' ');
    time.write_magnitude(&mut line, 1);
    match line.len() > LINE_BYTES_MAX {
        true => Err(format!("the report has more than {LINE_BYTES_MAX} bytes")),
        false => Ok(line),
    }
}

/// Whether `field` is one of a line: with white space in it the line would say something else.
fn check(what: &str, field: &[u8]) -> Result<(), String> {
    if field.is_empty() {
        return Err(format!("the {what} is empty"));
    }
    match field.iter().any(|&byte| is_space(byte)) {
        true => Err(format!("the {what} has white space in it")),
        false => Ok(()),
    }
}

/// The report that a line of [`compose`] is.
///
/// # Errors
/// Why it is none.
pub fn parse(line: &[u8]) -> Result<IAmAt<'_>, String> {
    match Command::parse(line) {
        Some(Command::IAmAt(report)) => Ok(report),
        _ => Err(invalid::reason(line).to_owned()),
    }
}

/// The line of a report about `client` whose body is `{"latitude":…,"longitude":…,"time":…}`, or has
/// `"position"` instead of the first two. Without `"time"` it is that of its receipt, `now`. See [`compose`].
///
/// # Errors
/// What is wrong with it.
pub fn read(client: &[u8], body: &[u8], now: Timestamp) -> Result<Vec<u8>, String> {
    let no_object = |error: &dyn fmt::Display| format!("the body is no JSON object: {error}");
    let body = std::str::from_utf8(body).map_err(|error| no_object(&error))?;
    let members: Members<'_> = serde_json::from_str(body).map_err(|error| no_object(&error))?;
    let places = ["position", "latitude", "longitude"].map(|name| members.get(name));
    let place = match places {
        [Some(position), None, None] => {
            let text = string(position).ok_or_else(|| "position is not a string".to_owned())?;
            Place::Text(text)
        }
        [None, Some(latitude), Some(longitude)] => {
            let degrees = |name, value| {
                number(value).ok_or_else(|| format!("{name} is not a plain {DECIMAL}"))
            };
            Place::Degrees(
                degrees("latitude", latitude)?,
                degrees("longitude", longitude)?,
            )
        }
        _ => return Err("wanted are latitude and longitude, or position alone".to_owned()),
    };
    let time = match members.get("time") {
        None => moment::of(now),
        Some(value) => time(value),
    };
    let time = time.ok_or_else(|| {
        "time is neither seconds nor milliseconds since 1970 nor a date and time of ISO 8601"
            .to_owned()
    })?;
    compose(client, &place, &time)
}

/// A number, or a string that is a plain decimal.
pub fn number(value: &RawValue) -> Option<Decimal<'_>> {
    match string(value) {
        Some(Cow::Borrowed(text)) => Decimal::plain(text),
        Some(Cow::Owned(text)) => Decimal::plain(&text).map(Decimal::into_owned),
        None => Decimal::parse(value.get()),
    }
}

/// A time: a number, or a string that is one or a date and time.
pub fn time(value: &RawValue) -> Option<Decimal<'_>> {
    match string(value) {
        Some(Cow::Borrowed(text)) => moment::of_text(text),
        Some(Cow::Owned(text)) => moment::of_text(&text).map(Decimal::into_owned),
        None => moment::of_number(Decimal::parse(value.get())?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::new(1_353_118_103, 5);

    fn said(client: &[u8], body: &str) -> Result<String, String> {
        let line = read(client, body.as_bytes(), NOW)?;
        parse(&line)?;
        Ok(String::from_utf8(line).expect("of text"))
    }

    #[test]
    fn bodies_and_their_lines() {
        for (body, want) in [
            (
                r#"{"latitude":27.5916,"longitude":86.5640,"time":1353118103.108893381}"#,
                "IAMAT kiwi +27.5916+086.5640 1353118103.108893381",
            ),
            (
                r#" {"time":"1353118103108","lo\u006egitude":"-118.5","latitude":1e-05, "x":[{}]} "#,
                "IAMAT kiwi +00.00001-118.5 1353118103.108",
            ),
            (
                r#"{"position":"+27.5916+086.5640/","time":null}"#,
                "IAMAT kiwi +27.5916+086.5640/ 1353118103.000000005",
            ),
            (
                r#"{"latitude":-0.0,"longitude":180,"time":"2012-11-17T02:08:23Z"}"#,
                "IAMAT kiwi -00.0+180 1353118103",
            ),
        ] {
            assert_eq!(said(b"kiwi", body).as_deref(), Ok(want), "{body}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (client, body, words) in [
            (
                "a b",
                r#"{"position":"+00+000"}"#,
                "client-id has white space",
            ),
            (
                "a\n",
                r#"{"position":"+00+000"}"#,
                "client-id has white space",
            ),
            (
                "a",
                r#"{"position":"+00+000 1\nIAMAT"}"#,
                "location has white space",
            ),
            ("a", r#"{"position":"+91+000"}"#, "latitude"),
            ("a", r#"{"position":7}"#, "position is not a string"),
            ("a", r#"{"position":"+00+000","latitude":1}"#, "wanted are"),
            ("a", r#"{"latitude":1}"#, "wanted are"),
            (
                "a",
                r#"{"latitude":"1,5","longitude":2}"#,
                "latitude is not",
            ),
            (
                "a",
                r#"{"latitude":1e-2000,"longitude":2}"#,
                "latitude is not a plain decimal number of at most 1100 digits",
            ),
            ("a", r#"{"latitude":1,"longitude":null}"#, "wanted are"),
            ("a", r#"{"latitude":91,"longitude":0}"#, "latitude"),
            ("a", r#"{"latitude":1,"longitude":1181}"#, "longitude"),
            (
                "a",
                r#"{"latitude":1,"longitude":1,"time":-5}"#,
                "time is neither",
            ),
            (
                "a",
                r#"{"latitude":1,"longitude":1,"time":"soon"}"#,
                "time is neither",
            ),
            (
                "a",
                r#"{"latitude":1,"longitude":1,"time":{}}"#,
                "time is neither",
            ),
            ("a", "[]", "no JSON object"),
            ("a", "", "no JSON object"),
            ("a", r#"{"latitude":1,"longitude":1}x"#, "no JSON object"),
        ] {
            let error = said(client.as_bytes(), body).expect_err(body);
            assert!(error.contains(words), "{body}: {error}");
        }
        let long = vec![b'x'; LINE_BYTES_MAX];
        assert!(said(&long, r#"{"position":"+00+000"}"#).is_err());
    }

    proptest! {
        #[test]
        fn a_line_is_one_report_about_that_client(
            client in proptest::collection::vec(any::<u8>(), 0..6),
            position in prop_oneof!["[-+ 0-9.\n/]{0,12}", "[-+][0-8][0-9][-+]0[0-9]{2}[ /]?"],
            time in "[0-9]{1,6}",
        ) {
            let time = Decimal::plain(&time).expect("digits");
            let place = Place::Text(position.as_str().into());
            if let Ok(line) = compose(&client, &place, &time) {
                prop_assert!(!line.contains(&b'\n'));
                if let Ok(report) = parse(&line) {
                    prop_assert_eq!(report.client, &client[..]);
                    prop_assert_eq!(report.position.text(), position.as_bytes());
                }
            }
        }
    }
}
