//! What a server keeps for its HTTP connections, and how answers leave.
//!
//! `Shell` has one. `requests` reads what they ask; what is asked and answered is `crate::web`'s matter.

use crate::connection_id::ConnectionId;
use crate::http::{Deadlines, Manner};
use crate::web::access::Access;
use crate::web::answer::Answer;

/// What is kept for all HTTP connections.
#[derive(Debug)]
pub struct Web {
    /// Who may ask.
    pub access: Access,
    /// When to look which client takes too long.
    pub deadlines: Deadlines,
    /// Where responses are composed, one after the other.
    response: Vec<u8>,
}

impl Web {
    /// For connections of those who have `access`.
    pub fn new(access: Access) -> Web {
        Web {
            access,
            deadlines: Deadlines::default(),
            response: Vec::new(),
        }
    }

    /// The bytes of a response that is made `date` seconds after 1970-01-01 UTC.
    pub fn response(&mut self, answer: &Answer, manner: Manner, date: i64) -> &[u8] {
        self.response.clear();
        answer.write(&mut self.response, manner, date);
        &self.response
    }
}

/// What is answered to a connection for which there is no room.
pub fn no_room(server: &str, most: usize) -> Answer {
    let error =
        format!("{server} has {most} HTTP connections and takes no more, try another server");
    Answer::error(503, &error).with("Retry-After", "1")
}

/// How the log shows an answer: its status, and of an error what is wrong.
pub fn shown(answer: &Answer) -> Vec<u8> {
    let Answer { status, body, .. } = answer;
    let text = format!("{status} {}", crate::http::reason(*status));
    match status {
        400.. => [text.as_bytes(), b" ", body].concat(),
        _ => format!("{text}, {} bytes", body.len()).into_bytes(),
    }
}

/// Whom an answer is for.
#[derive(Clone, Copy, Debug)]
pub struct To {
    /// The connection.
    pub id: ConnectionId,
    /// What the response must keep to.
    pub manner: Manner,
}
