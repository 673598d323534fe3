//! Questions between the messages of a connection: `WHATSAT`, and what has to be answered.
//!
//! A question is filled up with spaces to the length of the other messages, since the ring that they
//! lie in wants them equally long; white space at the end of a line means nothing to a server. It is
//! about a client whose turn was half a round ago, so the answer begins with the tail of the last
//! `IAMAT` about that client that was answered before it; then comes a line of JSON with tweets.

use std::ops::Range;

use super::dialect::{Answer, IAMAT_TAIL, is_at};
use super::digits::{read_number, write_number};

const QUESTION: &[u8; 65] = b"WHATSAT client-00000000 10 1                                    \n";
const CLIENT: Range<usize> = 15..23;
/// Where an `IAMAT` names its client.
const IAMAT_CLIENT: Range<usize> = 13..21;
const TAIL_BYTES: usize = IAMAT_TAIL.end - IAMAT_TAIL.start;

pub struct Questions {
    percent: u32,
    /// Percent of a question that are due since the last one.
    due: u32,
    server: &'static str,
    question: [u8; QUESTION.len()],
    first_client: u32,
    /// The tail of what was last answered about each client; empty if nothing was.
    tails: Vec<Option<[u8; TAIL_BYTES]>>,
    /// The first line of the answer has come.
    awaits_tweets: bool,
}

/// What a line was.
#[derive(PartialEq, Eq)]
pub enum Verdict {
    /// The whole answer, or the end of it.
    Right,
    /// The right beginning: more lines follow.
    Begun,
    Wrong,
}

impl Questions {
    /// So many of a hundred messages will be questions. `None` to those who do not answer any.
    pub fn new(answer: Answer, percent: u32, clients: Range<u32>) -> Option<Questions> {
        let Answer::At(server) = answer else {
            return None;
        };
        Some(Questions {
            percent,
            due: 0,
            server,
            question: *QUESTION,
            first_client: clients.start,
            tails: vec![None; clients.len()],
            awaits_tweets: false,
        })
    }

    /// The question to be asked in place of the next message, which would be about that client.
    pub fn next(&mut self, client: u32) -> Option<&[u8]> {
        self.due += self.percent;
        if self.due < 100 {
            return None;
        }
        let turn = (client - self.first_client) as usize + self.tails.len() / 2;
        let about = turn % self.tails.len();
        self.tails[about]?; // of whom the server knows nothing yet
        self.due -= 100;
        let number = u64::from(self.first_client) + about as u64;
        write_number(&mut self.question[CLIENT], number);
        Some(&self.question)
    }

    /// Whether a line is right as the answer, or its next part, to what was sent.
    pub fn judge(&mut self, sent: &[u8], line: &[u8]) -> Verdict {
        if sent[0] != QUESTION[0] {
            let right = Answer::At(self.server).is_right(sent, line);
            if let Some(client) = self.place(&sent[IAMAT_CLIENT]) {
                self.tails[client] = sent[IAMAT_TAIL].try_into().ok();
            }
            return if right {
                Verdict::Right
            } else {
                Verdict::Wrong
            };
        }
        if std::mem::take(&mut self.awaits_tweets) {
            let is_error = line.starts_with(b"{\"error");
            let is_json = line.starts_with(b"{") && line.ends_with(b"}\n");
            return if is_json && !is_error {
                Verdict::Right
            } else {
                Verdict::Wrong
            };
        }
        let tail = self
            .place(&sent[CLIENT])
            .and_then(|client| self.tails[client]);
        match tail.is_some_and(|tail| is_at(self.server, line, &tail)) {
            true => {
                self.awaits_tweets = true;
                Verdict::Begun
            }
            false => Verdict::Wrong,
        }
    }

    fn place(&self, digits: &[u8]) -> Option<usize> {
        let client = read_number(digits)?.checked_sub(self.first_client.into())?;
        usize::try_from(client).ok()
    }
}
