//! JSON as Twitter wrote it: members in the order in which they come, numbers and dates in its forms.
//!
//! The rooms that answer for each API, `search`, `search_1_1` and `search_2`, are the callers.

use chrono::DateTime;

use super::tweets::posted_at_milliseconds;

/// A JSON object in the making; its members stay in the order in which they come.
#[derive(Default)]
pub(super) struct Object(String);

impl Object {
    /// `value` is JSON.
    pub(super) fn member(&mut self, name: &str, value: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(&json_string(name));
        self.0.push(':');
        self.0.push_str(value);
    }

    /// `value` is a text.
    pub(super) fn string(&mut self, name: &str, value: &str) {
        self.member(name, &json_string(value));
    }

    /// `value` is a text, its `/` left as they are.
    pub(super) fn plain_string(&mut self, name: &str, value: &str) {
        self.member(name, &serde_json::Value::from(value).to_string());
    }

    pub(super) fn close(self) -> String {
        self.0 + "}"
    }
}

/// A JSON string as Twitter wrote it: with `\/`, which keeps `</script>` out of a page.
pub(super) fn json_string(text: &str) -> String {
    serde_json::Value::from(text)
        .to_string()
        .replace('/', "\\/")
}

/// Twitter escaped texts for HTML, although in JSON they need it not.
pub(super) fn html_escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// When the tweet with this id was sent, in UTC.
pub(super) fn date(id: u64, format: &str) -> String {
    i64::try_from(posted_at_milliseconds(id))
        .ok()
        .and_then(DateTime::from_timestamp_millis)
        .expect("42 bits of milliseconds are a date before the year 2160")
        .format(format)
        .to_string()
}

/// A number as Twitter gave it back: no needless digits, but always one after the point.
pub(super) fn normalised(number: f64) -> String {
    let text = (number + 0.0).to_string(); // + 0.0 turns -0 into 0
    if text.contains('.') {
        text
    } else {
        text + ".0"
    }
}
