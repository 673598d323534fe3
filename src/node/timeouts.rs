//! Inputs of time to a [`Node`]: what its clock shows, and what is due.
//!
//! The driver is the caller, in each turn. `due` does what is due on links.

use std::time::Instant;

use super::effects::Effects;
use super::machine::Node;
use super::questions::ANSWER_TIMEOUT;
use crate::time::Now;

impl Node {
    /// When [`Node::handle_timeout`] wants to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let sweep = self.expiry.timeout(&self.table);
        let (links, questions) = (self.links.timeout(), self.questions.timeout());
        let due = [links, sweep, questions, self.clock.timeout()];
        due.into_iter().flatten().min()
    }

    /// Takes in what the clock shows, before anything else of a turn. `true` if the clock was set back so far
    /// that what had expired may be news again. Reports were refused or forgotten meanwhile, and marked all the
    /// same. So no mark of a neighbour holds, and each is asked for everything.
    pub fn handle_clock(&mut self, now: Now, effects: &mut impl Effects) -> bool {
        let is_back = now.wall < self.looked_at;
        let is_set = self.clock.look(now);
        let (links, mut turn) = self.turn(now, effects);
        links.judge_clock(is_set, &mut turn);
        self.expire(now); // or the journal, which comes first in a turn, would forget what is valid again
        let oldest = self.table.oldest_erased();
        if !is_back || oldest > self.table.lost() {
            return false;
        }
        self.table.set_lost(oldest); // what is older than that stays lost
        let (links, mut turn) = self.turn(now, effects);
        links.ask_anew("the clock was set back", &mut turn);
        true
    }

    /// Does what is due: dials, marks, deadlines.
    pub fn handle_timeout(&mut self, now: Now, effects: &mut impl Effects) {
        while let Some(asker) = self.questions.overdue(now) {
            let seconds = ANSWER_TIMEOUT.as_secs();
            let why = format!("Twitter did not answer within {seconds} seconds");
            self.give_up_question(asker, &why, effects);
        }
        self.expire(now);
        self.expiry.sweep(&mut self.table, now);
        let (links, mut turn) = self.turn(now, effects);
        links.handle_timeout(&mut turn);
    }
}
