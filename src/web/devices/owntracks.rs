//! OwnTracks in HTTP mode (owntracks.org/booklet/tech/http): one JSON object a request.
//!
//! The app sends a request again for ever unless it is answered with 200 and a JSON array. So what will never be a
//! location is answered so too: other messages, encrypted ones, points that are wrong, also those that name no client.
//! The log says why.

use serde::de::IgnoredAny;

use super::outcome::{Batch, Outcome};
use super::point::{Fault, Point, parameter, quoted, string, value};
use crate::http::Request;
use crate::time::Timestamp;
use crate::web::access::basic_user;
use crate::web::answer::Answer;
use crate::web::members::Members;

/// What a request reports, and how it is answered.
pub fn read(request: &Request<'_>, receipt: Timestamp) -> Outcome {
    let body = request.body.trim_ascii();
    let taken = Answer::json("[]");
    let ignored = |reason: &str| Outcome::ignored(reason.to_owned(), taken.clone());
    let message: Members<'_> = match serde_json::from_slice(body) {
        Ok(message) => message,
        Err(_) if body.is_empty() => return ignored("the body is empty"), // a friend was deleted from the app
        Err(_) if serde_json::from_slice::<IgnoredAny>(body).is_ok() => {
            return ignored("the body is no JSON object");
        }
        Err(_) => return Outcome::refused(Answer::error(400, "The body is not JSON.")),
    };
    match string(&message, "_type").as_deref() {
        Some("location") => {
            let mut batch = Batch::default();
            batch.push(location(request, &message, receipt));
            batch.answered(taken)
        }
        Some("encrypted") => ignored("it is encrypted: turn the encryption off in the app"),
        Some(other) => ignored(&format!("_type is {}, not 'location'", quoted(other))),
        None => ignored("_type is missing or no text"),
    }
}

fn location(
    request: &Request<'_>,
    message: &Members<'_>,
    receipt: Timestamp,
) -> Result<Vec<u8>, Fault> {
    let client = client(request, message).ok_or_else(|| {
        let set = "set Username and Device ID in the app, or add ?u=USER&d=DEVICE to its URL";
        Fault::anonymous(format!("user and device are missing: {set}"))
    })?;
    let point = Point {
        client: &client,
        latitude: ("lat", value(message, "lat")),
        longitude: ("lon", value(message, "lon")),
        time: ("tst", value(message, "tst")),
    };
    point.line(receipt)
}

/// `user/device`, or what is known of both. Of several places the first counts: the URL, which its user wrote; the
/// fields that the app sends; the topic of MQTT mode, which iOS sends along.
fn client(request: &Request<'_>, message: &Members<'_>) -> Option<Vec<u8>> {
    let topic = string(message, "topic").unwrap_or_default();
    let topic: Vec<_> = topic.split('/').collect();
    let (topic_user, topic_device) = match topic[..] {
        [_, .., user, device] => (user, device),
        _ => ("", ""),
    };
    let field = |name| request.values(name).next().map(<[u8]>::to_vec);
    let user = [
        parameter(request.query, "u"),
        field("x-limit-u"),
        basic_user(request),
        Some(topic_user.into()),
    ];
    let device = [
        parameter(request.query, "d"),
        field("x-limit-d"),
        Some(topic_device.into()),
    ];
    let first =
        |names: Vec<Option<Vec<u8>>>| names.into_iter().flatten().find(|name| !name.is_empty());
    match (first(user.into()), first(device.into())) {
        (Some(user), Some(device)) => Some([user, device].join(&b'/')),
        (user, device) => user.or(device),
    }
}
