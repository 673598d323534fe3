//! A link while it is up: how far the neighbour has been sent our changefeed, when a mark or a
//! heartbeat is due, and when silence means that the neighbour is gone.
//!
//! `Link` owns one. It knows no socket and says nothing by itself: `Links` asks what is due.

use std::time::{Duration, Instant};

use super::clock::ToldClock;
use super::effects::LogPolicy;
use super::protocol::{Hello, Incarnation};
use crate::connection_id::ConnectionId;
use crate::time::Now;

/// A side that has said nothing for this long says its mark: the heartbeat.
pub const HEARTBEAT: Duration = Duration::from_secs(2);

/// A side that has heard nothing, not a byte, for this long takes the link for dead.
pub const SILENCE_MAX: Duration = Duration::from_secs(8);

/// A session from which something was heard within this time gives its place to no other connection, whoever
/// says that it is the neighbour's: else any stranger could end a link with one line.
pub const LIVE: Duration = Duration::from_secs(3);

/// A line may take this long to arrive whole. One that comes a byte at a time holds no link for ever.
/// A link that needs longer for the longest line carries less than 1,100 bytes a second.
pub const LINE_MAX: Duration = Duration::from_secs(60);

/// While there is something to mark, it is marked this often.
const MARK_EVERY: Duration = Duration::from_secs(1);

/// In a long stream of changes a mark follows this many.
pub const MARK_EVERY_CHANGES: u32 = 4096;

const _: () = assert!(SILENCE_MAX.as_secs() >= 3 * HEARTBEAT.as_secs());
const _: () = assert!(HEARTBEAT.as_secs() < LIVE.as_secs());
const _: () = assert!(SILENCE_MAX.as_secs() < 15); // what the herd promises

/// What a link is while it is up.
#[derive(Clone, Debug)]
pub struct Session {
    /// The connection it runs over.
    pub connection: ConnectionId,
    /// The neighbour's incarnation.
    pub incarnation: Incarnation,
    /// The serial of the neighbour's hello.
    pub serial: u64,
    /// The neighbour understands `CLOCK`.
    pub knows_clocks: bool,
    /// The neighbour understands `ERASED`.
    pub knows_erasures: bool,
    /// What its clock was when it last told it.
    pub clock: Option<ToldClock>,
    /// When it began.
    pub begun_at: Instant,
    /// Everything up to this number of our changefeed has been sent, or need not be.
    pub cursor: u64,
    /// The last number we marked.
    marked: u64,
    marked_at: Instant,
    /// Changes sent since the last mark.
    unmarked: u32,
    /// The neighbour has been sent the mark that says that it has caught up with our feed.
    has_caught_up: bool,
    said_at: Instant,
    /// When the neighbour last completed a line.
    line_at: Instant,
    /// When the neighbour last sent a byte.
    heard_at: Instant,
}

impl Session {
    /// Begins with the neighbour's `hello`; the neighbour follows our changefeed from `cursor` on.
    pub fn new(connection: ConnectionId, hello: &Hello, cursor: u64, now: Now) -> Session {
        Session {
            connection,
            incarnation: hello.incarnation,
            serial: hello.serial,
            knows_clocks: hello.knows_clocks(),
            knows_erasures: hello.knows_erasures(),
            clock: None,
            begun_at: now.mono,
            cursor,
            marked: cursor,
            marked_at: now.mono,
            unmarked: 0,
            has_caught_up: false,
            said_at: now.mono,
            line_at: now.mono,
            heard_at: now.mono,
        }
    }

    /// Notes that `count` changes were sent, the last of them `number`.
    pub fn sent_changes(&mut self, count: u32, number: u64, now: Now) {
        if count > 0 {
            self.cursor = number;
            self.unmarked = self.unmarked.saturating_add(count);
            self.said_at = now.mono;
        }
    }

    /// Notes that everything up to `number` was sent or need not be: the neighbour told us
    /// itself, or it has expired.
    pub fn skip_to(&mut self, number: u64) {
        self.cursor = number;
    }

    /// Notes that the neighbour completed a line.
    pub fn heard(&mut self, now: Now) {
        self.line_at = now.mono;
        self.heard_at = now.mono;
    }

    /// Notes that the neighbour sent something, perhaps not a whole line.
    pub fn heard_bytes(&mut self, now: Now) {
        self.heard_at = now.mono;
    }

    /// Whether the neighbour has just been heard from.
    pub fn is_live(&self, now: Now) -> bool {
        now.mono < self.heard_at + LIVE
    }

    /// Why the neighbour counts as dead, if it does.
    pub fn silence(&self, now: Now) -> Option<String> {
        if now.mono >= self.heard_at + SILENCE_MAX {
            let seconds = SILENCE_MAX.as_secs();
            return Some(format!("nothing heard for {seconds} seconds"));
        }
        let seconds = LINE_MAX.as_secs();
        (now.mono >= self.line_at + LINE_MAX)
            .then(|| format!("a line has not come to its end for {seconds} seconds"))
    }

    /// When the neighbour counts as dead if nothing more is heard.
    fn silent_at(&self) -> Instant {
        (self.heard_at + SILENCE_MAX).min(self.line_at + LINE_MAX)
    }

    fn has_unmarked(&self) -> bool {
        self.marked < self.cursor
    }

    /// Whether the neighbour has been sent all of our feed, which has come to `end`, and the mark of that.
    pub fn has_told_all(&self, end: u64) -> bool {
        self.cursor >= end && !self.has_unmarked()
    }

    /// The mark to say now, if one is due, and whether it says anything new. The first is due as soon as the
    /// neighbour has been sent our feed up to `end`: a neighbour that starts waits for it. So is the last, if
    /// this server `is_leaving`.
    pub fn due_mark(&mut self, end: u64, is_leaving: bool, now: Now) -> Option<(u64, LogPolicy)> {
        let is_at_end = self.cursor >= end;
        let is_new = self.has_unmarked()
            && (self.unmarked >= MARK_EVERY_CHANGES
                || now.mono >= self.marked_at + MARK_EVERY
                || is_at_end && is_leaving);
        let is_first = is_at_end && !self.has_caught_up;
        self.has_caught_up |= is_at_end;
        let is_due = is_new || is_first || now.mono >= self.said_at + HEARTBEAT;
        is_due.then(|| self.mark(now))
    }

    /// The mark to say now, due or not, and whether it says anything new.
    pub fn mark(&mut self, now: Now) -> (u64, LogPolicy) {
        let policy = match self.has_unmarked() {
            true => LogPolicy::Log,
            false => LogPolicy::Skip,
        };
        self.marked = self.cursor;
        self.marked_at = now.mono;
        self.unmarked = 0;
        self.said_at = now.mono;
        (self.cursor, policy)
    }

    /// When something is due next.
    pub fn timeout(&self) -> Instant {
        let heartbeat = self.said_at + HEARTBEAT;
        let mark = match self.has_unmarked() {
            true => self.marked_at + MARK_EVERY,
            false => heartbeat,
        };
        self.silent_at().min(heartbeat).min(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use crate::topology::ServerName;

    fn later(now: Now, wait: Duration) -> Now {
        Now {
            mono: now.mono + wait,
            wall: now.wall,
        }
    }

    fn session(cursor: u64) -> (Session, Now) {
        let now = Now {
            mono: Instant::now(),
            wall: Timestamp::new(0, 0),
        };
        let name = |text: &[u8]| ServerName::parse(text).expect("a valid name");
        let hello = Hello {
            from: name(b"B"),
            to: name(b"A"),
            incarnation: Incarnation(1),
            serial: 1,
            known: None,
        };
        let connection = ConnectionId { serial: 1, slot: 0 };
        (Session::new(connection, &hello, cursor, now), now)
    }

    #[test]
    fn marks_follow_changes_and_heartbeats_follow_silence() {
        let (mut session, now) = session(0);
        let due_mark = |session: &mut Session, now| session.due_mark(0, false, now);
        assert_eq!(due_mark(&mut session, now), Some((0, LogPolicy::Skip)));
        assert_eq!(due_mark(&mut session, now), None, "it has caught up once");
        session.sent_changes(1, 1, now);
        assert_eq!(due_mark(&mut session, now), None, "not after each change");
        let now = later(now, MARK_EVERY);
        assert_eq!(due_mark(&mut session, now), Some((1, LogPolicy::Log)));
        assert_eq!(due_mark(&mut session, now), None);
        let now = later(now, HEARTBEAT);
        assert_eq!(due_mark(&mut session, now), Some((1, LogPolicy::Skip)));
        for number in 2..2 + u64::from(MARK_EVERY_CHANGES) {
            assert_eq!(due_mark(&mut session, now), None);
            session.sent_changes(1, number, now);
        }
        assert_eq!(due_mark(&mut session, now), Some((4097, LogPolicy::Log)));
    }

    #[test]
    fn the_end_is_marked_at_once_when_it_is_first_reached_and_at_the_last() {
        let (mut session, now) = session(0);
        assert_eq!(session.due_mark(2, false, now), None, "there is more");
        session.sent_changes(1, 1, now);
        assert_eq!(session.due_mark(2, true, now), None, "there is more");
        session.sent_changes(1, 2, now);
        assert!(!session.has_told_all(2));
        assert_eq!(session.due_mark(2, false, now), Some((2, LogPolicy::Log)));
        assert!(session.has_told_all(2));
        session.sent_changes(1, 3, now);
        assert_eq!(session.due_mark(3, false, now), None);
        assert!(!session.has_told_all(3));
        assert_eq!(session.due_mark(3, true, now), Some((3, LogPolicy::Log)));
        assert_eq!(session.due_mark(3, true, now), None);
        assert!(session.has_told_all(3) && !session.has_told_all(4));
    }

    #[test]
    fn a_session_lives_while_anything_is_heard() {
        let (mut session, now) = session(0);
        let quiet = later(now, LIVE);
        assert!(session.is_live(later(now, LIVE / 2)));
        assert!(!session.is_live(quiet));
        session.heard_bytes(quiet);
        assert!(session.is_live(quiet));
    }

    #[test]
    fn a_mark_of_what_was_only_passed_over_is_news() {
        let (mut session, now) = session(3);
        assert_eq!(session.due_mark(3, false, now), Some((3, LogPolicy::Skip)));
        session.skip_to(5);
        let now = later(now, MARK_EVERY);
        assert_eq!(session.due_mark(5, false, now), Some((5, LogPolicy::Log)));
    }

    #[test]
    fn a_line_that_comes_slowly_is_no_silence_and_one_that_drips_is() {
        let (mut session, now) = session(0);
        let second = Duration::from_secs(1);
        let silent = Some("nothing heard for 8 seconds".to_owned());
        assert_eq!(session.silence(later(now, SILENCE_MAX - second)), None);
        assert_eq!(session.silence(later(now, SILENCE_MAX)), silent);
        let endless = Some("a line has not come to its end for 60 seconds".to_owned());
        for wait in 1..60 {
            let now = later(now, wait * second);
            assert_eq!(session.silence(now), None, "after {wait} s");
            session.heard_bytes(now);
        }
        assert_eq!(session.silence(later(now, LINE_MAX)), endless);
        session.heard(later(now, LINE_MAX));
        assert_eq!(session.silence(later(now, LINE_MAX)), None);
        assert_eq!(session.silence(later(now, LINE_MAX + SILENCE_MAX)), silent);
    }
}
