//! OsmAnd's format and what grew out of it: forms of OsmAnd, of Traccar Client before 9 and from 10.1 on, of GPSLogger;
//! JSON of Traccar Client 9 (traccar.org/osmand).
//!
//! A form is one point, and is refused with 400 if anything is wrong. JSON may be a batch, which Traccar Client sends
//! again until it is answered with 200: a point that is wrong is counted, and must not hold up the rest.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::outcome::{Batch, Outcome, POINTS_MAX, too_many};
use super::point::{Fault, Form, Point, Value, elements, name, object, quoted, value};
use crate::http::Request;
use crate::time::Timestamp;
use crate::web::answer::Answer;
use crate::web::members::Members;

/// What a request reports, and how it is answered. Its `Content-Type` tells JSON from a form; a body that has none is
/// a form.
pub fn read(request: &Request<'_>, receipt: Timestamp) -> Outcome {
    let media = request.text("content-type").unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    let is = |name: &str| media.eq_ignore_ascii_case(name);
    match std::str::from_utf8(&request.body) {
        Ok("") => form(request.query, receipt),
        Ok(body) if is("application/json") => json(body, receipt),
        Ok(body) if media.is_empty() || is("application/x-www-form-urlencoded") => {
            let body = body.trim_ascii();
            match request.query {
                "" => form(body, receipt),
                query => form(&format!("{query}&{body}"), receipt),
            }
        }
        Ok(_) => {
            let message = "The body is neither a form nor JSON: see its Content-Type.";
            Outcome::refused(Answer::error(415, message))
        }
        Err(_) => Outcome::refused(Answer::error(400, "The body is not UTF-8.")),
    }
}

fn form(form: &str, receipt: Timestamp) -> Outcome {
    let mut batch = Batch::default();
    let form = Form::read(form);
    // No fix, by its own word: there is nothing to take, and sending it again would not help.
    let valid = form.get("valid").unwrap_or_default();
    if valid != b"0" && !valid.eq_ignore_ascii_case(b"false") {
        batch.push(form_point(&form, receipt));
    }
    let refusal = batch.reason().map(|reason| Answer::error(400, reason));
    batch.answered(refusal.unwrap_or(Answer::empty()))
}

fn form_point(form: &Form<'_>, receipt: Timestamp) -> Result<Vec<u8>, Fault> {
    let text = |name| {
        let value = form.get(name)?;
        let text = std::str::from_utf8(value).map(Cow::Borrowed);
        Some(text.unwrap_or_else(|_| String::from_utf8_lossy(value)))
    };
    let client = form.get("id").or_else(|| form.get("deviceid"));
    let client = client.ok_or_else(|| Fault::anonymous("id is missing or empty"))?;
    let (latitude, longitude) = match (text("lat"), text("lon"), text("location")) {
        (None, None, Some(both)) => {
            // Exactly two: four would be two with decimal commas.
            let parts = both.split_once(',');
            let parts = parts.filter(|(_, longitude)| !longitude.contains(','));
            let (latitude, longitude) = parts.ok_or_else(|| {
                let both = quoted(&both);
                Fault::point(format!("location: {both} is not LATITUDE,LONGITUDE"))
            })?;
            (
                Some(latitude.to_owned().into()),
                Some(longitude.to_owned().into()),
            )
        }
        (latitude, longitude, _) => (latitude, longitude),
    };
    let point = Point {
        client,
        latitude: ("lat", latitude.map(Value::Form)),
        longitude: ("lon", longitude.map(Value::Form)),
        time: (
            "timestamp",
            text("timestamp").map(with_plus).map(Value::Form),
        ),
    };
    point.line(receipt)
}

/// A plus before a zone that came as it is stands for a space in a form: 2012-11-17T02:08:23 0100.
fn with_plus(time: Cow<'_, str>) -> Cow<'_, str> {
    match time.rsplit_once(' ') {
        Some((moment, zone)) if moment.len() > "2012-11-17".len() => {
            format!("{moment}+{zone}").into()
        }
        _ => time,
    }
}

fn json(body: &str, receipt: Timestamp) -> Outcome {
    let refused = |reason: &str| Outcome::refused(Answer::error(400, reason));
    let message: Members<'_> = match serde_json::from_str(body) {
        Ok(message) => message,
        Err(error) => return refused(&format!("the body is no JSON object: {error}")),
    };
    let Some(client) = name(&message, "device_id") else {
        return refused("device_id is missing or empty");
    };
    let locations = match message.get("location") {
        None => return refused("location is missing"),
        Some(one) => elements(one).unwrap_or_else(|| vec![one]),
    };
    if locations.len() > POINTS_MAX {
        return Outcome::refused(too_many());
    }
    let mut batch = Batch::default();
    for location in locations {
        batch.push(json_point(location, client.as_bytes(), receipt));
    }
    let answer = match batch.rejected() {
        _ if batch.is_anonymous() => Answer::error(400, batch.reason().unwrap_or_default()),
        0 => Answer::empty(),
        rejected => Answer::json(format!("{{\"rejected\":{rejected}}}")),
    };
    batch.answered(answer)
}

fn json_point(location: &RawValue, client: &[u8], receipt: Timestamp) -> Result<Vec<u8>, Fault> {
    let location: Members<'_> =
        serde_json::from_str(location.get()).map_err(|_| Fault::point("location is no object"))?;
    let coords = object(&location, "coords");
    let coords = coords.ok_or_else(|| Fault::point("location.coords is no object"))?;
    let point = Point {
        client,
        latitude: ("location.coords.latitude", value(&coords, "latitude")),
        longitude: ("location.coords.longitude", value(&coords, "longitude")),
        time: ("location.timestamp", value(&location, "timestamp")),
    };
    point.line(receipt)
}
