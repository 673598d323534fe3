//! One neighbour: who dials and when, which hello is taken, what is known of its changefeed.
//!
//! `Links` owns a `Link` for each neighbour. A link knows no socket and says nothing by itself: it
//! answers what is due, and `Links` does it.
//!
//! ```text
//!              retry_at            connected              hello heard
//!   Idle ------------------> Dialling ------> Presented -------------> Up
//!     ^                          |                |                     |
//!     +----- backoff, jitter ----+---- refused ---+---- lost, silent ---+
//! ```
//!
//! Both ends may dial, since perhaps only one can reach the other. Of two dials that cross, the names
//! decide which stays; of two hellos, the serials: see [`Link::judge`].

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;

use std::time::{Duration, Instant};

use super::effects::LogPolicy;
use super::protocol::{Hello, Incarnation, Mark};
use super::session::{MARK_EVERY_CHANGES, Session};
use crate::connection_id::ConnectionId;
use crate::random::SplitMix64;
use crate::time::{Difference, Now, Timestamp};
use crate::topology::ServerName;

/// A dial that has not connected by then is given up: before the kernel's second SYN, since the kernel waits
/// twice as long before each further one, and a link is to be up one second after the network is.
pub const DIAL_TIMEOUT: Duration = Duration::from_millis(800);

/// A peer that connects must have said its hello by then, and one that we dialled must have answered ours.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// The first wait before a dial is repeated; it doubles up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(20);

/// The longest wait before a dial is repeated.
pub const RETRY_MAX: Duration = Duration::from_millis(400);

/// The longest wait after a refusal: the dial was answered, but not with the neighbour's hello. Dialling more
/// often does not mend what is wrong then.
const REFUSED_RETRY_MAX: Duration = Duration::from_secs(5);

/// A server that starts does not wait for a neighbour that has refused it so often.
const REFUSALS_SEEN: u32 = 3;

/// A session that ends before this was short: the wait before the next grows as after failed dials. Else a
/// neighbour that fails over what we say would be told it sixty times a second.
const SHORT_SESSION: Duration = Duration::from_secs(1);

/// A neighbour that told what was too far ahead is asked again for everything at most this often.
pub const ASK_AGAIN: Duration = Duration::from_secs(20);

/// The greater name leaves the smaller one this much time to dial first.
const YIELD: Duration = Duration::from_millis(150);

/// How long the smaller name insists on a dial of its own when the other's hello crosses it.
const CROSSING: Duration = Duration::from_millis(250);

const _: () = assert!(DIAL_TIMEOUT.as_millis() + RETRY_FIRST.as_millis() < 1_000);

/// The wait after `attempts` failed dials: doubled each time up to `most`, half of it left to chance.
fn retry_after(attempts: u32, most: Duration, jitter: &mut SplitMix64) -> Duration {
    let step = RETRY_FIRST.saturating_mul(1 << attempts.min(16));
    let half = step.min(most) / 2;
    half + Duration::from_millis(jitter.below(half.as_millis() as u64 + 1))
}

/// What a link is doing. There is no other place that says so.
#[derive(Clone, Debug)]
pub enum State {
    /// It is down, and waits to be dialled.
    Idle {
        /// When to dial; `None` while the link is parked, and once the server is on its way out.
        retry_at: Option<Instant>,
    },
    /// The owner was told to dial; it has not connected yet.
    Dialling {
        /// When to give up.
        until: Instant,
    },
    /// Connected, and our hello is on its way.
    Presented {
        /// The connection.
        connection: ConnectionId,
        /// Since when.
        since: Instant,
        /// Whether a line has come. If no session begins with it, it was a refusal.
        answered: bool,
    },
    /// Both have presented themselves.
    Up(Session),
}

/// One neighbour.
#[derive(Debug)]
pub struct Link {
    /// Its name.
    pub neighbour: ServerName,
    /// What the link is doing.
    pub state: State,
    /// What we have of its changefeed, kept over reconnections, its restarts and ours.
    known: Option<Mark>,
    /// The highest mark of our own feed that it was sent: it cannot have more of it.
    marked: u64,
    /// The incarnation that it last presented.
    incarnation: Option<Incarnation>,
    /// Our feed's end when that incarnation first spoke, or last asked for everything. The neighbour may have
    /// lost what came over this link up to there, so it is sent that again.
    resend_from: u64,
    /// The earliest effective time of its reports that were refused as too far ahead since it was last asked
    /// for everything. While there is one, none of its marks holds.
    refused: Option<Timestamp>,
    /// Our last hello has asked for everything.
    asked_for_all: bool,
    /// Its clock is known to be off.
    pub is_clock_off: bool,
    /// The number of its latest mark, or before its first in a session that of the mark which our hello claims.
    heard_to: u64,
    /// It has once come to the end of its changefeed.
    is_caught_up: bool,
    /// Dials that have failed since the last session.
    attempts: u32,
    /// Of the last dials, how many were refused one after the other.
    refusals: u32,
    /// Of the last sessions, how many were short one after the other.
    short_sessions: u32,
    /// Whether our name is the smaller one.
    dials_first: bool,
    /// The server is no neighbour any longer. What is known of its changefeed stays true, for when it is one
    /// again.
    is_parked: bool,
}

impl Link {
    /// A link that dials at once, or soon after if the neighbour is to dial first.
    pub fn new(own: &ServerName, neighbour: ServerName, now: Now) -> Link {
        let mut link = Link::parked(own, neighbour);
        link.unpark(now);
        link
    }

    /// A link to a server that is no neighbour, but of whose changefeed we have something.
    pub fn parked(own: &ServerName, neighbour: ServerName) -> Link {
        Link {
            dials_first: *own < neighbour,
            neighbour,
            state: State::Idle { retry_at: None },
            known: None,
            marked: 0,
            incarnation: None,
            resend_from: 0,
            refused: None,
            asked_for_all: false,
            is_clock_off: false,
            heard_to: 0,
            is_caught_up: false,
            attempts: 0,
            refusals: 0,
            short_sessions: 0,
            is_parked: true,
        }
    }

    /// Whether the server is no neighbour any longer.
    pub fn is_parked(&self) -> bool {
        self.is_parked
    }

    /// The server is no neighbour any longer: it is not dialled, and what comes from it is a stranger's.
    pub fn park(&mut self) {
        debug_assert!(self.connection().is_none(), "it was given up");
        self.is_parked = true;
        self.state = State::Idle { retry_at: None };
    }

    /// The server is a neighbour again, and is dialled as a new one is.
    pub fn unpark(&mut self, now: Now) {
        let wait = if self.dials_first {
            Duration::ZERO
        } else {
            YIELD
        };
        self.is_parked = false;
        (self.attempts, self.refusals, self.short_sessions) = (0, 0, 0);
        self.state = State::Idle {
            retry_at: Some(now.after(wait)),
        };
    }

    /// What we have of the neighbour's changefeed, as our hello says it.
    pub fn known(&self) -> Option<Mark> {
        self.known
    }

    /// Takes in what a journal says that we have of the neighbour's changefeed; or forgets it.
    pub fn set_known(&mut self, known: Option<Mark>) {
        self.known = known;
    }

    /// The highest mark of our feed that the neighbour was ever sent, in any incarnation that its
    /// numbers go back to.
    pub fn marked(&self) -> u64 {
        self.marked
    }

    /// Notes a mark that the neighbour is sent, or was sent according to a journal. Says whether it is the
    /// highest so far.
    pub fn set_marked(&mut self, number: u64) -> bool {
        let is_higher = number > self.marked;
        self.marked = self.marked.max(number);
        is_higher
    }

    /// Forgets what we have of its feed, and what it was sent of ours: nothing that a journal says of either is
    /// certain.
    pub fn forget_marks(&mut self) {
        (self.known, self.marked) = (None, 0);
    }

    /// The session, while the link is up.
    pub fn session(&self) -> Option<&Session> {
        match &self.state {
            State::Up(session) => Some(session),
            State::Idle { .. } | State::Dialling { .. } | State::Presented { .. } => None,
        }
    }

    /// The session, to be changed.
    pub fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            State::Up(session) => Some(session),
            State::Idle { .. } | State::Dialling { .. } | State::Presented { .. } => None,
        }
    }

    /// How far the neighbour's clock is ahead of ours, if it is linked and tells it.
    pub fn clock_offset(&self, now: Now) -> Option<Difference> {
        Some(self.session()?.clock?.offset(now))
    }

    /// The connection that the link runs over, or on which we have presented ourselves.
    pub fn connection(&self) -> Option<ConnectionId> {
        match &self.state {
            State::Idle { .. } | State::Dialling { .. } => None,
            State::Presented { connection, .. } => Some(*connection),
            State::Up(session) => Some(session.connection),
        }
    }

    // ---- dials

    /// Whether a dial is to begin now; if so it has begun.
    pub fn begin_dial(&mut self, now: Now) -> bool {
        let is_due = matches!(self.state, State::Idle { retry_at: Some(at) } if at <= now.mono);
        if is_due {
            let until = now.after(DIAL_TIMEOUT);
            self.state = State::Dialling { until };
        }
        is_due
    }

    /// Notes that we have connected, and present ourselves.
    pub fn dial_connected(&mut self, connection: ConnectionId, now: Now) {
        self.state = State::Presented {
            connection,
            since: now.mono,
            answered: false,
        };
    }

    /// Notes that a line came from whom we dialled.
    pub fn dial_answered(&mut self) {
        if let State::Presented { answered, .. } = &mut self.state {
            *answered = true;
        }
    }

    /// Notes that the dial came to nothing, and when to try again.
    ///
    /// A single refusal is a failure like others, since dials that cross end in one. Only refusals one after
    /// the other make the wait longer than that.
    pub fn dial_failed(&mut self, now: Now, jitter: &mut SplitMix64) {
        let answered = match self.state {
            State::Idle { .. } | State::Up(_) => return, // it was settled otherwise
            State::Dialling { .. } => false,
            State::Presented { answered, .. } => answered,
        };
        let mut wait = retry_after(self.attempts, RETRY_MAX, jitter);
        self.attempts = self.attempts.saturating_add(1);
        if answered {
            wait = wait.max(retry_after(self.refusals, REFUSED_RETRY_MAX, jitter));
            self.refusals = self.refusals.saturating_add(1);
        } else {
            self.refusals = 0;
        }
        self.state = State::Idle {
            retry_at: Some(now.after(wait)),
        };
    }

    /// Notes that the dial was never answered. That took long enough: the next begins almost at
    /// once, so that a way which has just opened is found within [`DIAL_TIMEOUT`].
    pub fn dial_unanswered(&mut self, now: Now, jitter: &mut SplitMix64) {
        let attempts = std::mem::take(&mut self.attempts);
        self.dial_failed(now, jitter);
        self.attempts = attempts.max(1); // a start waits for it no longer
    }

    /// Dials no longer. A session goes on.
    pub fn stop_dialling(&mut self) {
        match self.state {
            State::Up(_) => {}
            State::Idle { .. } | State::Dialling { .. } | State::Presented { .. } => {
                self.state = State::Idle { retry_at: None };
            }
        }
    }

    // ---- hellos

    /// Whether the neighbour's hello on a connection that *it* made is to be taken.
    ///
    /// While the link is up for us, a hello is taken only if it was said after the one we know: then the
    /// neighbour lost the connection before we did. While our own dial awaits its answer and our name is the
    /// smaller one, theirs gives way, so that of two dials that cross the same one remains on both sides. It
    /// does so only for [`CROSSING`], since ours may hang.
    ///
    /// # Errors
    /// Why it is not.
    pub fn judge(&self, hello: &Hello, now: Now) -> Result<(), &'static str> {
        match &self.state {
            State::Up(session) => {
                let is_same = hello.incarnation == session.incarnation;
                match is_same && hello.serial <= session.serial {
                    true => Err("a late hello"),
                    false => Ok(()),
                }
            }
            State::Presented { since, .. } if self.dials_first && now.mono < *since + CROSSING => {
                Err("our dial crossed yours")
            }
            State::Idle { .. } | State::Dialling { .. } | State::Presented { .. } => Ok(()),
        }
    }

    /// What our hello says that we have of the neighbour's feed.
    pub fn claim(&mut self) -> Option<Mark> {
        self.asked_for_all = self.known.is_none();
        self.heard_to = self.known.map_or(0, |known| known.number);
        self.known
    }

    // ---- sessions

    /// Begins a session: from now on the neighbour follows our feed from `cursor` on.
    ///
    /// `end` is our feed's latest number.
    pub fn begin_session(
        &mut self,
        connection: ConnectionId,
        hello: &Hello,
        cursor: u64,
        end: u64,
        now: Now,
    ) {
        // A neighbour that names no mark may have lost what it told us, though its incarnation is the same.
        if self.incarnation != Some(hello.incarnation) || hello.known.is_none() {
            self.incarnation = Some(hello.incarnation);
            self.resend_from = end;
        }
        self.attempts = 0;
        self.refusals = 0;
        self.refused = self.refused.filter(|_| !self.asked_for_all);
        self.is_clock_off &= hello.knows_clocks();
        self.state = State::Up(Session::new(connection, hello, cursor, now));
    }

    /// Ends the session, and says when to dial again.
    pub fn session_lost(&mut self, now: Now, jitter: &mut SplitMix64) {
        let begun_at = self.session().map(|session| session.begun_at);
        let is_short = begun_at.is_some_and(|at| now.mono < at + SHORT_SESSION);
        if !is_short {
            self.short_sessions = 0;
        }
        let wait = retry_after(self.short_sessions, RETRY_MAX, jitter);
        self.short_sessions = self.short_sessions.saturating_add(u32::from(is_short));
        let wait = if self.dials_first { wait } else { wait + YIELD };
        self.state = State::Idle {
            retry_at: Some(now.after(wait)),
        };
    }

    /// Whether a change numbered `number` that came over this very link need not go back: the
    /// incarnation that sent it still runs, and has not asked for everything since.
    pub fn told_us(&self, number: u64) -> bool {
        number > self.resend_from
    }

    /// Whether a mark says anything new. One that is not above what is known already is only a
    /// heartbeat: a neighbour that could not resume sends everything, and with it marks that came
    /// before.
    pub fn policy_of_mark(&self, number: u64) -> LogPolicy {
        let is_known =
            |known: Mark| Some(known.incarnation) == self.incarnation && number <= known.number;
        let says_nothing = number == 0 || self.refused.is_some() || self.incarnation.is_none();
        match says_nothing || self.known.is_some_and(is_known) {
            true => LogPolicy::Skip,
            false => LogPolicy::Log,
        }
    }

    /// Takes a mark in; says whether it was new.
    ///
    /// What we know of an earlier incarnation's feed stays true until the neighbour says its first mark
    /// in this one, which counts on: it has then resumed from there, or sent everything up to the mark.
    pub fn handle_mark(&mut self, number: u64) -> bool {
        // A neighbour that has much to send marks it in such steps. One that could not resume where our hello
        // said begins at 0.
        let before = std::mem::replace(&mut self.heard_to, number);
        let step = number.checked_sub(before).unwrap_or(number);
        self.is_caught_up |= step < u64::from(MARK_EVERY_CHANGES);
        let is_new = self.policy_of_mark(number) == LogPolicy::Log;
        if let Some(incarnation) = self.incarnation.filter(|_| is_new) {
            self.known = Some(Mark {
                incarnation,
                number,
            });
        }
        is_new
    }

    /// Notes that a report with this effective time was refused as too far ahead: we have nothing of the
    /// neighbour's feed for certain. Says whether we had.
    pub fn refuse(&mut self, effective: Timestamp) -> bool {
        let earliest = self.refused.map_or(effective, |least| least.min(effective));
        self.refused = Some(earliest);
        self.known.take().is_some()
    }

    /// Whether to ask the neighbour for everything again: the earliest report that was refused is no longer too
    /// far ahead, by `newest`, and the neighbour's clock is right. Not more often than every [`ASK_AGAIN`],
    /// since others of its reports may still be too far ahead.
    pub fn asks_again(&self, newest: Timestamp, now: Now) -> bool {
        let is_near = self.refused.is_some_and(|refused| refused <= newest);
        let may = |session: &Session| now.mono >= session.begun_at + ASK_AGAIN;
        is_near && !self.is_clock_off && self.session().is_some_and(may)
    }

    /// Whether we may lack what the neighbour has known for long: it is linked, or about to be for the first
    /// time, and has not yet come to the end of its changefeed.
    pub fn is_catching_up(&self) -> bool {
        let is_here = match &self.state {
            State::Up(_) | State::Presented { .. } => true,
            // A neighbour that runs may refuse us for a moment, since our dials cross.
            State::Idle { .. } | State::Dialling { .. } => {
                self.attempts == self.refusals && self.refusals < REFUSALS_SEEN
            }
        };
        is_here && !self.is_caught_up && !self.is_parked
    }

    /// When this link is to be looked at next.
    pub fn timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Idle { retry_at } => *retry_at,
            State::Dialling { until } => Some(*until),
            State::Presented { since, .. } => Some(*since + HELLO_TIMEOUT),
            State::Up(session) => Some(session.timeout()),
        }
    }
}
