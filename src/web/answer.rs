//! What is answered, to be written as a response.

use serde_json::Value;

use crate::http::{Manner, Response};

/// The `Content-Type` of JSON.
pub const JSON: &str = "application/json";

/// An answer: status, fields and body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status, from 200 on.
    pub status: u16,
    /// The `Content-Type` of the body; empty if there is none.
    pub content_type: &'static str,
    /// More fields.
    pub fields: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// 200 with this JSON.
    pub fn json(body: impl Into<Vec<u8>>) -> Answer {
        Answer {
            status: 200,
            content_type: JSON,
            fields: Vec::new(),
            body: body.into(),
        }
    }

    /// 200 with nothing.
    pub fn empty() -> Answer {
        Answer {
            status: 200,
            ..Answer::default()
        }
    }

    /// `{"error":message}` with this status.
    pub fn error(status: u16, message: &str) -> Answer {
        let message = Value::from(message);
        Answer {
            status,
            ..Answer::json(format!("{{\"error\":{message}}}"))
        }
    }

    /// The same with a further field.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.fields.push((name, value.into()));
        self
    }

    /// Appends it to `out` as a response with this `Date`.
    pub fn write(&self, out: &mut Vec<u8>, manner: Manner, date: &str) {
        let response = Response {
            status: self.status,
            content_type: self.content_type,
            fields: &self.fields,
            date,
        };
        response.write(out, &self.body, manner);
    }
}
