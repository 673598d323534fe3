//! What is answered, to be written as a response.

use std::sync::Arc;

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
    /// The body, or its beginning.
    pub body: Vec<u8>,
    /// What follows that in the body, if anything does.
    pub rest: Option<Rest>,
}

/// The rest of a body which many are answered at the same time: they share it, since a copy for each could take
/// all memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// What they share.
    pub shared: Arc<[u8]>,
    /// What follows it.
    pub end: &'static [u8],
}

impl Answer {
    /// 200 with this JSON.
    pub fn json(body: impl Into<Vec<u8>>) -> Answer {
        Answer {
            status: 200,
            content_type: JSON,
            body: body.into(),
            ..Answer::empty()
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

    /// How many bytes its body has.
    pub fn body_len(&self) -> usize {
        let rest = self.rest.as_ref();
        self.body.len() + rest.map_or(0, |rest| rest.shared.len() + rest.end.len())
    }

    /// Appends it to `out` as a response with this `Date`, but for the rest of its body, which it gives if it is
    /// to follow.
    pub fn write(&self, out: &mut Vec<u8>, manner: Manner, date: &str) -> Option<Rest> {
        let response = Response {
            status: self.status,
            content_type: self.content_type,
            fields: &self.fields,
            date,
        };
        if !response.write_head(out, self.body_len(), manner) {
            return None;
        }
        out.extend_from_slice(&self.body);
        self.rest.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_body_is_shared_and_counted() {
        let rest = Rest {
            shared: b"shared".as_slice().into(),
            end: b"}",
        };
        let answer = Answer {
            rest: Some(rest.clone()),
            ..Answer::json("{")
        };
        for head_only in [false, true] {
            let manner = Manner {
                head_only,
                ..Manner::LAST
            };
            let mut out = Vec::new();
            let follows = answer.write(&mut out, manner, "");
            let text = String::from_utf8(out).expect("text");
            let (head, begun) = text.split_once("\r\n\r\n").expect("a head");
            assert!(head.contains("\r\nContent-Length: 8\r\n"), "{head}");
            if head_only {
                assert_eq!((begun, follows), ("", None));
            } else {
                let follows = follows.expect("it has a rest");
                assert_eq!((begun, follows.end), ("{", &b"}"[..]));
                assert!(Arc::ptr_eq(&follows.shared, &rest.shared), "it is no copy");
            }
        }
    }
}
