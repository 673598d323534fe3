//! Doubt: our clock is judged by those of the neighbours, and neighbours are asked again for what we may lack.
//!
//! `Node` calls it when its clock was set or a record gave way, `hearing` when a neighbour has told its clock.
//! The rule by which a clock is judged is in `clock`.

use super::effects::{Effects, News};
use super::links::{Links, Turn};
use crate::time::Timestamp;

impl Links {
    /// Judges our clock by those of the neighbours, if a neighbour has told its clock or left, if ours `is_set`,
    /// that is, somebody has set it, or if it may have reached the journal, which it was behind.
    pub fn judge_clock(&mut self, is_set: bool, turn: &mut Turn<impl Effects>) {
        let is_due = |at| at <= turn.now.mono;
        let is_due = turn.clock.timeout().is_some_and(is_due);
        if !(std::mem::take(&mut self.is_clock_told) || is_set || is_due) {
            return;
        }
        let now = turn.now;
        for (id, link) in &mut self.links {
            let Some(offset) = link.clock_offset(now) else {
                continue;
            };
            let is_off = turn.clock.is_off(offset);
            if is_off != std::mem::replace(&mut link.is_clock_off, is_off) {
                turn.effects.tell(match is_off {
                    true => News::ClockOff(*id, offset),
                    false => News::ClockRight(*id),
                });
            }
        }
        let offsets = self.links.values();
        if turn
            .clock
            .judge(offsets.filter_map(|link| link.clock_offset(now)))
        {
            turn.effects.tell(News::OwnClock(turn.clock.distrust()));
        }
        turn.table.doubt_after(turn.clock.newest(now));
        if turn.table.take_doubted() {
            self.ask_anew("some reports are too far ahead", turn);
        }
    }

    /// Notes that a record with this effective time, which was too far ahead, gave way to an older one: each
    /// neighbour may have to tell it again.
    #[cold]
    pub fn note_gave_way(&mut self, effective: Timestamp, effects: &mut impl Effects) {
        for link in self.links.values_mut() {
            if link.refuse(effective) {
                effects.known(&link.neighbour, None);
            }
        }
    }

    /// Asks each neighbour for everything, since we may lack what it said: ends all sessions, and claims
    /// nothing in the next.
    pub fn ask_anew(&mut self, reason: &str, turn: &mut Turn<impl Effects>) {
        let mut connections = Vec::new();
        for link in self.links.values_mut() {
            link.set_known(None);
            turn.effects.known(&link.neighbour, None);
            // A hello that is on its way has asked only for what comes after a mark, and that holds no longer.
            connections.extend(link.connection());
        }
        for connection in connections {
            self.abort(connection, reason, turn);
        }
    }
}
