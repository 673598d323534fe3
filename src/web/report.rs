//! A report of one client's location in JSON (`POST /v1/clients/ID`), as the `IAMAT` line that it becomes.
//!
//! Whatever a device says goes through [`line()`]: so nothing that it writes can be more than one report, nor
//! another client's.

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;

use super::decimal::{self, Decimal};
use super::members::{Members, string};
use super::moment;
use crate::node::command::{Command, LINE_BYTES_MAX};
use crate::node::fields::is_space;
use crate::node::invalid;
use crate::time::Timestamp;

/// The `IAMAT` line, without LF, of a client that was at `position` at `time`.
///
/// # Errors
/// What is wrong with it.
pub fn line(client: &[u8], position: &str, time: &str) -> Result<Vec<u8>, String> {
    let fields = [client, position.as_bytes(), time.as_bytes()];
    let mut line = Vec::with_capacity(64);
    line.extend_from_slice(b"IAMAT");
    for field in fields {
        line.push(b' ');
        line.extend_from_slice(field);
    }
    match Command::parse(&line) {
        // As it was put there: with white space in a field the line would say something else.
        Some(Command::IAmAt(report))
            if fields == [report.client, report.position.text(), report.time_text]
                && line.len() <= LINE_BYTES_MAX =>
        {
            Ok(line)
        }
        _ => Err(why_not(fields, &line)),
    }
}

/// What is wrong with the fields of a line that is no report.
fn why_not(fields: [&[u8]; 3], line: &[u8]) -> String {
    for (what, field) in ["client-id", "location", "time"].into_iter().zip(fields) {
        if field.is_empty() {
            return format!("the {what} is empty");
        }
        if field.iter().any(|&byte| is_space(byte)) {
            return format!("the {what} has white space in it");
        }
    }
    match line.len() > LINE_BYTES_MAX {
        true => format!("the report has more than {LINE_BYTES_MAX} bytes"),
        false => invalid::reason(line).to_owned(),
    }
}

/// The line of a report about `client` whose body is `{"latitude":…,"longitude":…,"time":…}`, or has
/// `"position"` instead of the first two. Without `"time"` it is that of its receipt, `now`.
///
/// # Errors
/// What is wrong with it.
pub fn read(client: &[u8], body: &[u8], now: Timestamp) -> Result<Vec<u8>, String> {
    let no_object = |error: &dyn fmt::Display| format!("the body is no JSON object: {error}");
    let body = std::str::from_utf8(body).map_err(|error| no_object(&error))?;
    let members: Members<'_> = serde_json::from_str(body).map_err(|error| no_object(&error))?;
    let places = ["position", "latitude", "longitude"].map(|name| members.get(name));
    let position = match places {
        [Some(position), None, None] => {
            string(position).ok_or_else(|| "position is not a string".to_owned())?
        }
        [None, Some(latitude), Some(longitude)] => {
            let degrees = |name, value| {
                number(value).ok_or_else(|| format!("{name} is not a plain decimal number"))
            };
            let latitude = degrees("latitude", latitude)?;
            decimal::position(&latitude, &degrees("longitude", longitude)?).into()
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
    line(client, &position, &time)
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
pub fn time(value: &RawValue) -> Option<String> {
    match string(value) {
        Some(text) => moment::of_text(&text),
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
            position in "[-+ 0-9.\n/]{0,12}",
            time in "[0-9. \r]{0,6}",
        ) {
            if let Ok(line) = line(&client, &position, &time) {
                prop_assert!(!line.contains(&b'\n'));
                let command = Command::parse(&line).expect("it is one");
                prop_assert_eq!(command.client(), &client[..]);
            }
        }
    }
}
