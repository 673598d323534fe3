//! Overland (github.com/aaronpk/Overland-iOS, "API"): batches of GeoJSON features.
//!
//! The app sends a batch again until it is answered with `"result":"ok"`: a point that is wrong is counted, and must
//! not hold up the rest. The newest point may be in `current` only.

use serde_json::value::RawValue;

use super::outcome::{Batch, Outcome, POINTS_MAX, too_many};
use super::point::{Fault, Point, Value, elements, name, object, parameter, string, value};
use crate::http::Request;
use crate::time::Timestamp;
use crate::web::answer::Answer;
use crate::web::members::Members;

/// What a request reports, and how it is answered.
pub fn read(request: &Request<'_>, receipt: Timestamp) -> Outcome {
    let refused = |reason: &str| Outcome::refused(Answer::error(400, reason));
    let message: Members<'_> = match serde_json::from_slice(&request.body) {
        Ok(message) => message,
        Err(error) => return refused(&format!("the body is no JSON object: {error}")),
    };
    let Some(mut features) = message.get("locations").and_then(elements) else {
        return refused("locations is missing or no array");
    };
    features.extend(message.get("current"));
    if features.len() > POINTS_MAX {
        return Outcome::refused(too_many());
    }
    // A way out for points that the app recorded before it was given a device ID.
    let default = parameter(request.query, "device_id");
    let mut batch = Batch::default();
    for feature in features {
        batch.push(point(feature, default.as_deref(), receipt));
    }
    let answer = match batch.rejected() {
        _ if batch.is_anonymous() => Answer::error(400, batch.reason().unwrap_or_default()),
        0 => Answer::json("{\"result\":\"ok\"}"),
        rejected => Answer::json(format!("{{\"result\":\"ok\",\"rejected\":{rejected}}}")),
    };
    batch.answered(answer)
}

fn point(feature: &RawValue, default: Option<&[u8]>, receipt: Timestamp) -> Result<Vec<u8>, Fault> {
    let feature: Members<'_> =
        serde_json::from_str(feature.get()).map_err(|_| Fault::point("a location is no object"))?;
    let geometry = object(&feature, "geometry");
    let geometry = geometry.filter(|one| string(one, "type").as_deref() == Some("Point"));
    let geometry = geometry.ok_or_else(|| Fault::point("geometry is no Point"))?;
    let coordinates = geometry.get("coordinates").and_then(elements);
    // A third would be the altitude. More are numbers with decimal commas.
    let (longitude, latitude) = match coordinates.as_deref() {
        Some([longitude, latitude] | [longitude, latitude, _]) => (*longitude, *latitude),
        _ => return Err(Fault::point("coordinates is not [LONGITUDE, LATITUDE]")),
    };
    let properties = object(&feature, "properties").unwrap_or_default();
    let client = name(&properties, "device_id");
    let client = client
        .as_deref()
        .map(str::as_bytes)
        .or(default)
        .ok_or_else(|| {
            let set = "set a Device ID in the app, or add ?device_id=NAME to its URL";
            Fault::anonymous(format!("device_id is missing or empty: {set}"))
        })?;
    let point = Point {
        client,
        latitude: ("latitude", Some(Value::Json(latitude))),
        longitude: ("longitude", Some(Value::Json(longitude))),
        time: ("timestamp", value(&properties, "timestamp")),
    };
    point.line(receipt)
}
