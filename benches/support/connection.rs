//! One connection of the load: messages made, written, answered, each answer checked.
//!
//! It has to be cheaper than any server. All messages are equally long, so those under way live in
//! a ring that is written to the socket as it is; the next message is the last one with a few
//! digits counted up; a reply is compared with the message in the ring. Nothing is allocated.
//!
//! Where a flood is watched, a message is under way until it has been answered, if it is to be, and
//! has been seen at the far end; and it is timed until it is seen there.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::ops::Range;

use hdrhistogram::Histogram;
use memchr::memmem;
use mio::net::TcpStream;

use super::Result;
use super::dialect::{Answer, Dialect, Gaps};
use super::digits::{Clock, count_up, write_number};
use super::questions::{Questions, Verdict};

/// No line that says where a client is is longer: with the longest server name and a clock a century
/// wrong.
const REPLY_BYTES_MAX: usize = 160;
/// No line of tweets is longer.
const INPUT_BYTES_MAX: usize = 8 << 20;

pub struct Connection {
    pub stream: TcpStream,
    /// How many messages it may still begin.
    pub quota: u64,
    /// When the next message is due, and how long after it the one after that; with 0 each is due
    /// when there is room for it. In nanoseconds of the generator's clock.
    pub due_ns: f64,
    pub step_ns: f64,
    /// Whether each message has to be seen at the far end.
    pub is_watched: bool,
    answer: Answer,
    gaps: Gaps,
    /// What of a message is seen there.
    update: Option<Range<usize>>,
    /// The last message that was made, and the numbers of its clients.
    message: Vec<u8>,
    clients: Range<u32>,
    next_client: u32,
    /// From one client to the next, modulo their number.
    pub stride: u32,
    questions: Option<Questions>,
    /// The messages under way, and when each was due: of those `made`, counted in messages, all
    /// but the first `done()`.
    ring: Vec<u8>,
    due: Vec<u64>,
    made: usize,
    answered: usize,
    /// How many were seen at the far end.
    seen: usize,
    /// How much of all that was made is written, in bytes.
    written: usize,
    /// The first `filled` bytes are replies not yet looked at.
    input: Vec<u8>,
    filled: usize,
}

impl Connection {
    pub fn new(
        stream: TcpStream,
        dialect: &Dialect,
        pipeline: usize,
        clients: Range<u32>,
    ) -> Connection {
        Connection {
            stream,
            quota: 0,
            due_ns: 0.0,
            step_ns: 0.0,
            is_watched: false,
            answer: dialect.answer,
            update: dialect.update(),
            gaps: dialect.gaps(),
            message: dialect.message.to_vec(),
            next_client: clients.start,
            clients,
            stride: 1,
            questions: None,
            ring: vec![0; pipeline * dialect.message.len()],
            due: vec![0; pipeline],
            made: 0,
            answered: 0,
            seen: 0,
            written: 0,
            input: vec![0; pipeline.max(8) * REPLY_BYTES_MAX],
            filled: 0,
        }
    }

    /// So many of a hundred messages are to be questions. `None`: it is not spoken with that way.
    pub fn ask(&mut self, percent: u32) -> Option<()> {
        self.questions = Some(Questions::new(self.answer, percent, self.clients.clone())?);
        Some(())
    }

    /// Has nothing to say and waits for nothing.
    pub fn is_idle(&self) -> bool {
        self.made == self.done() && self.quota == 0
    }

    fn done(&self) -> usize {
        match (self.answer, self.is_watched) {
            (Answer::None, _) => self.seen,
            (_, true) => self.answered.min(self.seen),
            (_, false) => self.answered,
        }
    }

    /// Makes new messages for those that were answered.
    pub fn refill(&mut self, clock: &Clock) {
        let room = self.due.len() - (self.made - self.done());
        let count = self.quota.min(room as u64);
        if count == 0 {
            return;
        }
        let now_ns = clock.elapsed_ns();
        if let Some(time) = self.gaps.time.clone() {
            clock.write(now_ns, &mut self.message[time]);
        }
        if self.step_ns == 0.0 {
            self.due_ns = now_ns as f64;
        }
        let len = self.message.len();
        for _ in 0..count {
            let slot = self.made % self.due.len();
            let place = &mut self.ring[slot * len..(slot + 1) * len];
            let questions = self.questions.as_mut();
            match questions.and_then(|questions| questions.next(self.next_client)) {
                Some(question) => place.copy_from_slice(question),
                None => {
                    self.next_message();
                    self.ring[slot * len..(slot + 1) * len].copy_from_slice(&self.message);
                }
            }
            self.due[slot] = self.due_ns as u64;
            self.due_ns += self.step_ns;
            self.made += 1;
        }
        self.quota -= count;
    }

    fn next_message(&mut self) {
        let client = self.gaps.client.clone();
        if self.stride == 1 && self.next_client != self.clients.start {
            count_up(&mut self.message[client.clone()]);
        } else {
            write_number(&mut self.message[client.clone()], self.next_client.into());
        }
        self.next_client += self.stride;
        if self.next_client >= self.clients.end {
            self.next_client -= self.clients.len() as u32;
        }
        if let Some(again) = &self.gaps.client_again {
            self.message.copy_within(client, again.start);
        }
        count_up(&mut self.message[self.gaps.latitude.clone()]);
        count_up(&mut self.message[self.gaps.longitude.clone()]);
        if let Some(time) = self.gaps.time.clone() {
            count_up(&mut self.message[time]);
        }
    }

    /// Writes what is made and not written, in one go; what does not fit waits for the next edge.
    pub fn write(&mut self) -> Result<()> {
        let end = self.made * self.message.len();
        while self.written < end {
            let start = self.written % self.ring.len();
            let len = end - self.written;
            let to_end = len.min(self.ring.len() - start);
            let parts = [
                &self.ring[start..start + to_end],
                &self.ring[..len - to_end],
            ];
            match self.stream.write_vectored(&parts.map(IoSlice::new)) {
                Ok(n) => self.written += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads and checks replies until none is owed or none is there; returns how many they were,
    /// and records how long after each message was due.
    pub fn read(&mut self, clock: &Clock, times: &mut Histogram<u64>) -> Result<u64> {
        let before = self.answered;
        while self.answered < self.made || self.answer == Answer::None {
            match self.stream.read(&mut self.input[self.filled..]) {
                Ok(0) if self.filled == self.input.len() && self.filled < INPUT_BYTES_MAX => {
                    self.input.resize(2 * self.filled, 0);
                }
                Ok(0) => {
                    return Err("the server closed the connection, or a reply is endless".into());
                }
                Ok(n) => self.filled += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
            match self.answer {
                Answer::None => self.ignore()?,
                _ => self.check(clock.elapsed_ns(), times)?,
            }
        }
        Ok((self.answered - before) as u64)
    }

    /// Where nothing is answered: the server may still complain, or ask whether we are there.
    fn ignore(&mut self) -> Result<()> {
        let said = &self.input[..std::mem::take(&mut self.filled)];
        match memmem::find(said, b"-ERR") {
            Some(_) => Err(format!("the server says {}", said.escape_ascii()).into()),
            None => Ok(()),
        }
    }

    /// The next update has been seen at the far end.
    pub fn see(&mut self, update: &[u8], now_ns: u64, times: &mut Histogram<u64>) -> Result<()> {
        let slot = self.seen % self.due.len();
        let sent = &self.ring[slot * self.message.len()..(slot + 1) * self.message.len()];
        let expected = self.update.clone().map(|update| &sent[update]);
        if self.seen == self.made || expected != Some(update) {
            let (sent, update) = (sent.escape_ascii(), update.escape_ascii());
            return Err(format!("a wrong update:\n  sent {sent}\n  seen {update}").into());
        }
        times.record(now_ns.saturating_sub(self.due[slot]))?;
        self.seen += 1;
        Ok(())
    }

    fn check(&mut self, now_ns: u64, times: &mut Histogram<u64>) -> Result<()> {
        let len = self.message.len();
        let (mut due_ns, mut count) = (0, 0); // of those answered last: many are due together
        let is_watched = self.is_watched;
        let mut record = |due_ns: u64, count: u64| match count {
            0 => Ok(()),
            _ if is_watched => Ok(()), // it is timed when it is seen
            _ => times.record_n(now_ns.saturating_sub(due_ns), count),
        };
        let mut seen = 0;
        while let Some(reply_len) = self.answer.len(&self.input[seen..self.filled]) {
            let reply = &self.input[seen..seen + reply_len];
            let slot = self.answered % self.due.len();
            let sent = &self.ring[slot * len..(slot + 1) * len];
            let verdict = match &mut self.questions {
                Some(questions) => questions.judge(sent, reply),
                None if self.answer.is_right(sent, reply) => Verdict::Right,
                None => Verdict::Wrong,
            };
            if self.answered == self.made || verdict == Verdict::Wrong {
                let (sent, reply) = (sent.escape_ascii(), reply.escape_ascii());
                return Err(format!("a wrong reply:\n  sent {sent}\n  got  {reply}").into());
            }
            seen += reply_len;
            if verdict == Verdict::Begun {
                continue;
            }
            if self.due[slot] != due_ns {
                record(due_ns, count)?;
                (due_ns, count) = (self.due[slot], 0);
            }
            count += 1;
            self.answered += 1;
        }
        record(due_ns, count)?;
        self.input.copy_within(seen..self.filled, 0);
        self.filled -= seen;
        Ok(())
    }
}
