//! One neighbour: who dials and when, hello, marks and heartbeats, how far it has read our feed.
//!
//! `Node` owns a `Link` for each neighbour, and lends it to `Recall`. A link knows no socket and
//! wishes nothing by itself: it answers what is due, and `Node` says it.
//!
//! ```text
//!              retry_at            connected              hello heard
//!   Idle ------------------> Dialling ------> Presented -------------> session
//!     ^                          |                |                       |
//!     +----- backoff, jitter ----+---- refused ---+------ lost, silent ---+
//! ```
//!
//! Both ends may dial, since perhaps only one can reach the other. Crossing dials are settled by
//! the names, late hellos by their serial: see [`Link::judge`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::protocol::{Hello, Incarnation, Mark};
use crate::connection_id::ConnectionId;
use crate::random::SplitMix64;
use crate::time::Now;
use crate::topology::ServerName;

/// A dial that has not connected by then is given up: before the kernel's second SYN, since that
/// and every later one waits twice as long, and a link shall be up a second after its way is.
pub const DIAL_TIMEOUT: Duration = Duration::from_millis(800);

/// Who connects must have presented itself by then, and who was connected to must have answered.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// The first wait before a dial is repeated; it doubles up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(20);

/// The longest wait before a dial is repeated.
pub const RETRY_MAX: Duration = Duration::from_millis(400);

/// The longest wait before a dial is repeated that was answered, but not with the neighbour's hello:
/// what is wrong then is not mended by trying.
const REFUSED_RETRY_MAX: Duration = Duration::from_secs(5);

/// A session that ends before this has not lasted: the wait before the next grows as after dials that
/// fail. Else a neighbour that stumbles over what we say would be told it sixty times a second.
const LASTED: Duration = Duration::from_secs(1);

/// So many of the lives that had to give way are remembered: enough for four servers of one name.
const GAVE_WAY_MAX: usize = 8;

/// The greater name leaves the smaller one this much time to dial first.
const YIELD: Duration = Duration::from_millis(150);

/// How long the smaller name insists on a dial of its own when the other's hello crosses it.
const CROSSING: Duration = Duration::from_millis(250);

/// A side that has said nothing for this long says its mark: the heartbeat.
pub const HEARTBEAT: Duration = Duration::from_secs(2);

/// A side that has heard nothing, not a byte, for this long takes the link for dead.
pub const SILENCE_MAX: Duration = Duration::from_secs(8);

/// So long may a line take to come, as long as its bytes do: one that drips holds no link for ever.
/// A link that needs longer for the longest line carries less than 1,100 bytes a second.
pub const LINE_MAX: Duration = Duration::from_secs(60);

/// While there is something to mark, it is marked this often.
const MARK_EVERY: Duration = Duration::from_secs(1);

/// In a long stream of changes a mark follows this many.
pub const MARK_EVERY_CHANGES: u32 = 4096;

const _: () = assert!(SILENCE_MAX.as_secs() >= 3 * HEARTBEAT.as_secs());
const _: () = assert!(SILENCE_MAX.as_secs() < 15); // what the herd promises
const _: () = assert!(DIAL_TIMEOUT.as_millis() + RETRY_FIRST.as_millis() < 1_000);

/// The wait after `attempts` failed dials: doubled each time up to `most`, half of it left to chance.
fn retry_after(attempts: u32, most: Duration, jitter: &mut SplitMix64) -> Duration {
    let step = RETRY_FIRST.saturating_mul(1 << attempts.min(16));
    let half = step.min(most) / 2;
    half + Duration::from_millis(jitter.below(half.as_millis() as u64 + 1))
}

/// What we are doing to reach a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dial {
    /// Nothing until then.
    Idle {
        /// When to dial; never while the link is up.
        retry_at: Option<Instant>,
    },
    /// The shell was told to dial; it has not connected yet.
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
        /// Whether a line has come. If no session comes of it, it was a refusal.
        answered: bool,
    },
}

/// What a link is while it is up.
#[derive(Clone, Debug)]
pub struct Session {
    /// The connection it runs over.
    pub connection: ConnectionId,
    /// The neighbour's incarnation and its hello's serial.
    peer: (Incarnation, u64),
    begun_at: Instant,
    /// Everything up to this number of our feed has been sent, or need not be.
    pub cursor: u64,
    /// The last number we marked.
    marked: u64,
    marked_at: Instant,
    unmarked: u32,
    said_at: Instant,
    /// When it last said a line.
    line_at: Instant,
    /// When it last said anything, be it the middle of a line.
    heard_at: Instant,
}

impl Session {
    /// Notes that a change was sent.
    pub fn sent_change(&mut self, number: u64, now: Now) {
        self.cursor = number;
        self.unmarked += 1;
        self.said_at = now.mono;
    }

    /// Notes that everything up to `number` was sent or need not be: the neighbour told us
    /// itself, or it has expired.
    pub fn skip_to(&mut self, number: u64) {
        self.cursor = number;
    }

    /// Notes that the neighbour said a line.
    pub fn heard(&mut self, now: Now) {
        self.line_at = now.mono;
        self.heard_at = now.mono;
    }

    /// Notes that the neighbour said something, perhaps not to its end.
    pub fn heard_bytes(&mut self, now: Now) {
        self.heard_at = now.mono;
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

    /// When it counts as dead if nothing more is heard.
    fn silent_at(&self) -> Instant {
        (self.heard_at + SILENCE_MAX).min(self.line_at + LINE_MAX)
    }

    fn has_unmarked(&self) -> bool {
        self.marked < self.cursor
    }

    /// The mark to say now, if one is due, and whether it is news or only a heartbeat.
    pub fn due_mark(&mut self, now: Now) -> Option<(u64, Spoken)> {
        let news = self.has_unmarked()
            && (self.unmarked >= MARK_EVERY_CHANGES || now.mono >= self.marked_at + MARK_EVERY);
        if !news && now.mono < self.said_at + HEARTBEAT {
            return None;
        }
        let spoken = if self.has_unmarked() {
            Spoken::News
        } else {
            Spoken::Heartbeat
        };
        self.marked = self.cursor;
        self.marked_at = now.mono;
        self.unmarked = 0;
        self.said_at = now.mono;
        Some((self.cursor, spoken))
    }

    /// When something is due next.
    fn timeout(&self) -> Instant {
        let heartbeat = self.said_at + HEARTBEAT;
        let mark = if self.has_unmarked() {
            self.marked_at + MARK_EVERY
        } else {
            heartbeat
        };
        self.silent_at().min(heartbeat).min(mark)
    }
}

/// Whether a line on a link says something new. Heartbeats are not logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// It does.
    News,
    /// It only shows that somebody is there.
    Heartbeat,
}

/// One neighbour.
#[derive(Debug)]
pub struct Link {
    /// Its name.
    pub neighbour: ServerName,
    /// How we reach for it.
    pub dial: Dial,
    /// Present while the link is up.
    pub session: Option<Session>,
    /// What we have of its feed, kept over reconnections, its restarts and ours.
    known: Option<Mark>,
    /// Its present incarnation, as far as we know.
    life: Option<Incarnation>,
    /// Our feed's end when its present incarnation first spoke, or last asked for everything. What we
    /// heard over this link up to there the neighbour may have lost since.
    floor: u64,
    /// Lives of it whose session gave way to another life's, the latest last.
    gave_way: VecDeque<Incarnation>,
    attempts: u32,
    /// Of the last dials, how many were refused one after the other.
    refusals: u32,
    /// Of the last sessions, how many have not lasted one after the other.
    cut_short: u32,
    /// Whether our name is the smaller one.
    first: bool,
}

impl Link {
    /// A link that dials at once, or soon after if the neighbour is to dial first.
    pub fn new(own: &ServerName, neighbour: ServerName, now: Now) -> Link {
        let first = *own < neighbour;
        let wait = if first { Duration::ZERO } else { YIELD };
        Link {
            neighbour,
            dial: Dial::Idle {
                retry_at: Some(now.after(wait)),
            },
            session: None,
            known: None,
            life: None,
            floor: 0,
            gave_way: VecDeque::new(),
            attempts: 0,
            refusals: 0,
            cut_short: 0,
            first,
        }
    }

    /// What we have of the neighbour's feed, as our hello gives it.
    pub fn known(&self) -> Option<Mark> {
        self.known
    }

    /// The life of the neighbour that we heard last.
    pub fn life(&self) -> Option<Incarnation> {
        self.life
    }

    /// Whether a dial is to begin now; if so it has begun.
    pub fn begin_dial(&mut self, now: Now) -> bool {
        let due = matches!(self.dial, Dial::Idle { retry_at: Some(at) } if at <= now.mono);
        if due {
            let until = now.after(DIAL_TIMEOUT);
            self.dial = Dial::Dialling { until };
        }
        due
    }

    /// Notes that we have connected, and present ourselves.
    pub fn dial_connected(&mut self, connection: ConnectionId, now: Now) {
        self.dial = Dial::Presented {
            connection,
            since: now.mono,
            answered: false,
        };
    }

    /// Notes that a line came from whom we dialled.
    pub fn dial_answered(&mut self) {
        if let Dial::Presented { answered, .. } = &mut self.dial {
            *answered = true;
        }
    }

    /// Notes that the dial came to nothing, and when to try again.
    ///
    /// A refusal now and then, as of dials that cross, is a failure like others: only one after the
    /// other makes the wait longer than those.
    pub fn dial_failed(&mut self, now: Now, jitter: &mut SplitMix64) {
        let mut wait = retry_after(self.attempts, RETRY_MAX, jitter);
        self.attempts = self.attempts.saturating_add(1);
        if let Dial::Presented { answered: true, .. } = self.dial {
            wait = wait.max(retry_after(self.refusals, REFUSED_RETRY_MAX, jitter));
            self.refusals = self.refusals.saturating_add(1);
        } else {
            self.refusals = 0;
        }
        let retry_at = self.session.is_none().then(|| now.after(wait));
        self.dial = Dial::Idle { retry_at };
    }

    /// Notes that the dial was never answered. That took long enough: the next begins almost at
    /// once, so that a way which has just opened is found within [`DIAL_TIMEOUT`].
    pub fn dial_unanswered(&mut self, now: Now, jitter: &mut SplitMix64) {
        let attempts = std::mem::take(&mut self.attempts);
        self.dial_failed(now, jitter);
        self.attempts = attempts;
    }

    /// Ends the session, and says when to dial again.
    pub fn session_lost(&mut self, now: Now, jitter: &mut SplitMix64) {
        let session = self.session.take();
        let lasted = session.is_none_or(|session| now.mono >= session.begun_at + LASTED);
        if lasted {
            self.cut_short = 0;
        }
        let wait = retry_after(self.cut_short, RETRY_MAX, jitter);
        self.cut_short = self.cut_short.saturating_add(u32::from(!lasted));
        let wait = if self.first { wait } else { wait + YIELD };
        self.dial = Dial::Idle {
            retry_at: Some(now.after(wait)),
        };
    }

    /// Whether the neighbour's hello on a connection that *it* made is to be taken.
    ///
    /// While we believe the link to be up, only a hello said after the one we know tells of a
    /// neighbour that lost the connection before we did. While our own dial awaits its answer and
    /// our name is the smaller one, theirs gives way, so that of two that cross the same one
    /// remains on both sides; but not for long, for ours may hang.
    ///
    /// # Errors
    /// Why it is not.
    pub fn judge(&self, hello: &Hello, now: Now) -> Result<(), &'static str> {
        if let Some(session) = &self.session {
            let (incarnation, serial) = session.peer;
            let late = hello.incarnation == incarnation && hello.serial <= serial;
            return if late { Err("a late hello") } else { Ok(()) };
        }
        match self.dial {
            Dial::Presented { since, .. } if self.first && now.mono < since + CROSSING => {
                Err("our dial crossed yours")
            }
            _ => Ok(()),
        }
    }

    /// Whether two servers of the neighbour's name are there, and this hello is of the one that is to
    /// stay away while the other is linked: else each would take the other's place for ever.
    ///
    /// A life of one server gives way once to the next, and never comes back; once more, if hellos of
    /// a life that has ended are very late. Only where two live does one have to give way twice.
    pub fn is_contested_by(&self, hello: &Hello) -> bool {
        let is_other = |session: &Session| session.peer.0 != hello.incarnation;
        let times = self.gave_way.iter();
        let times = times.filter(|life| **life == hello.incarnation).count();
        self.session.as_ref().is_some_and(is_other) && times > 1
    }

    /// Notes that the session gives way to the one that this hello begins, and says why.
    pub fn give_way(&mut self, hello: &Hello) -> &'static str {
        let life = self.session.as_ref().map(|session| session.peer.0);
        let Some(life) = life.filter(|life| *life != hello.incarnation) else {
            return "the neighbour has connected anew";
        };
        let is_back = self.gave_way.contains(&hello.incarnation);
        self.gave_way.push_back(life);
        if self.gave_way.len() > GAVE_WAY_MAX {
            self.gave_way.pop_front();
        }
        match is_back {
            true => "a life of the neighbour is back that gave way before: are there two?",
            false => "another life of the neighbour has connected",
        }
    }

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
        // One that knows no mark may have lost what it told us, though it is the same life still.
        if self.life != Some(hello.incarnation) || hello.known.is_none() {
            self.life = Some(hello.incarnation);
            self.floor = end;
        }
        self.dial = Dial::Idle { retry_at: None };
        self.attempts = 0;
        self.refusals = 0;
        self.session = Some(Session {
            connection,
            peer: (hello.incarnation, hello.serial),
            begun_at: now.mono,
            cursor,
            marked: cursor,
            marked_at: now.mono,
            unmarked: 0,
            said_at: now.mono,
            line_at: now.mono,
            heard_at: now.mono,
        });
    }

    /// Whether a change numbered `number` that was heard over this very link need not go back:
    /// the life that told us of it still lives, and has not asked for everything since.
    pub fn told_us(&self, number: u64) -> bool {
        number > self.floor
    }

    /// Takes a mark in. One that is not above what is known already is only a heartbeat: a
    /// neighbour that could not resume sends everything, and with it marks we have heard before.
    ///
    /// What we know of an earlier life of its feed stays true until it says its first mark in this
    /// one, which counts on: it has then resumed from there, or sent everything up to the mark.
    pub fn handle_mark(&mut self, number: u64) -> Spoken {
        let Some(incarnation) = self.life.filter(|_| number > 0) else {
            return Spoken::Heartbeat;
        };
        match self.known {
            Some(known) if known.incarnation == incarnation && number <= known.number => {
                Spoken::Heartbeat
            }
            _ => {
                self.known = Some(Mark {
                    incarnation,
                    number,
                });
                Spoken::News
            }
        }
    }

    /// Recalls from our own log that the neighbour presented itself with `incarnation`.
    pub fn recall_life(&mut self, incarnation: Incarnation) {
        self.life = Some(incarnation);
    }

    /// Recalls from a checkpoint which life of the neighbour we heard last, and what we have of its
    /// feed.
    pub fn recall_known(&mut self, life: Option<Incarnation>, known: Option<Mark>) {
        self.life = life;
        self.known = known;
    }

    /// Forgets what we have of its feed: our own log has a gap.
    pub fn forget(&mut self) {
        self.known = None;
    }

    /// When this link wants to be looked at next.
    pub fn timeout(&self) -> Option<Instant> {
        let dial = match self.dial {
            Dial::Idle { retry_at } => retry_at,
            Dial::Dialling { until } => Some(until),
            Dial::Presented { since, .. } => Some(since + HELLO_TIMEOUT),
        };
        let session = self.session.as_ref().map(Session::timeout);
        dial.into_iter().chain(session).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn name(text: &str) -> ServerName {
        ServerName::parse(text.as_bytes()).expect("a valid name")
    }

    fn later(now: Now, wait: Duration) -> Now {
        Now {
            mono: now.mono + wait,
            wall: now.wall,
        }
    }

    fn start() -> Now {
        Now {
            mono: Instant::now(),
            wall: Timestamp::new(0, 0),
        }
    }

    fn hello(incarnation: u64, serial: u64) -> Hello {
        Hello {
            from: name("B"),
            to: name("A"),
            incarnation: Incarnation(incarnation),
            serial,
            known: None,
        }
    }

    const CONNECTION: ConnectionId = ConnectionId { serial: 1, slot: 0 };

    #[test]
    fn waits_double_up_to_the_limit_and_vary() {
        let mut jitter = SplitMix64(1);
        for attempts in 0..40 {
            for _ in 0..50 {
                let step = RETRY_FIRST
                    .saturating_mul(1 << attempts.min(16))
                    .min(RETRY_MAX);
                let wait = retry_after(attempts, RETRY_MAX, &mut jitter);
                assert!(wait >= step / 2 && wait <= step, "{attempts}: {wait:?}");
            }
        }
        let waits: Vec<_> = (0..20)
            .map(|_| retry_after(9, RETRY_MAX, &mut jitter))
            .collect();
        assert!(waits.iter().any(|wait| *wait != waits[0]));
    }

    #[test]
    fn the_smaller_name_dials_first() {
        let now = start();
        let mut first = Link::new(&name("A"), name("B"), now);
        let mut second = Link::new(&name("B"), name("A"), now);
        assert!(first.begin_dial(now) && !second.begin_dial(now));
        assert!(second.begin_dial(later(now, YIELD)));
        assert!(!second.begin_dial(later(now, YIELD)), "it has begun");
    }

    #[test]
    fn crossing_dials_leave_the_one_of_the_smaller_name() {
        let now = start();
        for (own, other, kept) in [("A", "B", true), ("B", "A", false)] {
            let mut link = Link::new(&name(own), name(other), now);
            link.dial_connected(CONNECTION, now);
            assert_eq!(link.judge(&hello(1, 1), now).is_err(), kept);
            let hanging = later(now, CROSSING);
            assert_eq!(link.judge(&hello(1, 1), hanging), Ok(()));
        }
    }

    #[test]
    fn only_a_later_hello_replaces_a_session() {
        let now = start();
        let mut link = Link::new(&name("A"), name("B"), now);
        link.begin_session(CONNECTION, &hello(1, 5), 0, 0, now);
        for (incarnation, serial, taken) in
            [(1, 4, false), (1, 5, false), (1, 6, true), (2, 1, true)]
        {
            let judged = link.judge(&hello(incarnation, serial), now);
            assert_eq!(judged.is_ok(), taken, "{incarnation} {serial}");
        }
    }

    /// Dials until the link would not, and gives the wait before the next.
    fn wait_after_dial(link: &mut Link, answered: bool, now: Now) -> Duration {
        link.dial_connected(CONNECTION, now);
        if answered {
            link.dial_answered();
        }
        link.dial_failed(now, &mut SplitMix64(1));
        let Dial::Idle { retry_at: Some(at) } = link.dial else {
            panic!("it is not dialled again: {link:?}");
        };
        at - now.mono
    }

    #[test]
    fn who_refuses_is_dialled_less_and_less_until_something_changes() {
        let now = start();
        let mut link = Link::new(&name("A"), name("B"), now);
        let mut waits = |answered: bool, times: usize| {
            let waits = (0..times).map(|_| wait_after_dial(&mut link, answered, now));
            waits.last().expect("some")
        };
        assert!(waits(false, 20) <= RETRY_MAX, "it is away");
        assert!(waits(true, 1) <= RETRY_MAX, "once is nothing");
        let waited = waits(true, 20);
        assert!(waited > RETRY_MAX && waited <= REFUSED_RETRY_MAX);
        assert!(waits(false, 1) <= RETRY_MAX, "who refused has gone");
        assert!(waits(true, 1) <= RETRY_MAX);
        assert!(waits(true, 20) > RETRY_MAX);
        link.begin_session(CONNECTION, &hello(1, 1), 0, 0, now);
        link.session_lost(now, &mut SplitMix64(1));
        assert!(wait_after_dial(&mut link, true, now) <= RETRY_FIRST);
    }

    #[test]
    fn sessions_that_do_not_last_are_begun_less_and_less_often_until_one_does() {
        let now = start();
        for own in ["A", "C"] {
            let mut link = Link::new(&name(own), name("B"), now);
            let longest = |times: u32| match own {
                "A" => RETRY_FIRST * times,
                _ => RETRY_FIRST * times + YIELD,
            };
            let mut wait_after_session = |lasts: Duration| {
                let end = later(now, lasts);
                link.begin_session(CONNECTION, &hello(1, 1), 0, 0, now);
                link.session_lost(end, &mut SplitMix64(1));
                let Dial::Idle { retry_at: Some(at) } = link.dial else {
                    panic!("it is not dialled again: {link:?}");
                };
                at - end.mono
            };
            for _ in 0..3 {
                let short = LASTED - Duration::from_nanos(1);
                assert!(wait_after_session(short) <= longest(1), "once is nothing");
                let waits = (0..20).map(|_| wait_after_session(Duration::ZERO));
                let last = waits.last().expect("some");
                assert!(last >= RETRY_MAX / 2 && last <= longest(20), "{last:?}");
                assert!(wait_after_session(LASTED) <= longest(1));
            }
        }
    }

    #[test]
    fn of_two_servers_of_one_name_one_is_refused_in_the_end() {
        let now = start();
        let mut link = Link::new(&name("A"), name("B"), now);
        let comes = |link: &mut Link, incarnation, serial| {
            let hello = hello(incarnation, serial);
            if link.is_contested_by(&hello) {
                return false;
            }
            assert_eq!(link.judge(&hello, now), Ok(()));
            link.give_way(&hello);
            link.begin_session(CONNECTION, &hello, 0, 0, now);
            true
        };
        for restart in 1..100 {
            assert!(comes(&mut link, restart, 1), "a life after the other");
            assert!(comes(&mut link, restart, 2), "which connects anew");
        }
        assert!(
            comes(&mut link, 98, 9),
            "a late hello of one that has ended"
        );
        assert!(comes(&mut link, 99, 3), "and the one that lives");
        for (serial, taken) in (1..).zip([true, true, false, false, false]) {
            assert_eq!(comes(&mut link, 1000, serial), taken, "{serial}");
            assert!(comes(&mut link, 2000, serial), "{serial}");
        }
        link.session_lost(now, &mut SplitMix64(1));
        assert!(comes(&mut link, 1000, 6), "the other has gone");
    }

    #[test]
    fn a_new_life_of_the_neighbour_is_told_again_what_the_old_one_said() {
        let now = start();
        let mut link = Link::new(&name("A"), name("B"), now);
        link.begin_session(CONNECTION, &hello(1, 1), 0, 10, now);
        assert_eq!(link.handle_mark(5), Spoken::News);
        assert!(!link.told_us(10) && link.told_us(11));
        let knows = Hello {
            known: Some(Mark {
                incarnation: Incarnation(7),
                number: 1,
            }),
            ..hello(1, 2)
        };
        link.begin_session(CONNECTION, &knows, 0, 20, now);
        assert!(link.told_us(11), "the same life");
        link.begin_session(CONNECTION, &hello(1, 3), 0, 20, now);
        assert!(!link.told_us(20) && link.told_us(21), "it asks for all");
        assert_eq!(link.known().map(|mark| mark.number), Some(5));
        link.begin_session(CONNECTION, &hello(2, 1), 0, 30, now);
        assert!(!link.told_us(30) && link.told_us(31));
        let known = |link: &Link| link.known().map(|mark| (mark.incarnation.0, mark.number));
        assert_eq!(known(&link), Some((1, 5)), "we have it still");
        assert_eq!(link.handle_mark(3), Spoken::News);
        assert_eq!(known(&link), Some((2, 3)));
    }

    #[test]
    fn marks_follow_changes_and_heartbeats_follow_silence() {
        let now = start();
        let mut link = Link::new(&name("A"), name("B"), now);
        link.begin_session(CONNECTION, &hello(1, 1), 0, 0, now);
        let session = link.session.as_mut().expect("it has begun");
        assert_eq!(session.due_mark(now), None);
        session.sent_change(1, now);
        assert_eq!(session.due_mark(now), None, "not after each change");
        let now = later(now, MARK_EVERY);
        assert_eq!(session.due_mark(now), Some((1, Spoken::News)));
        assert_eq!(session.due_mark(now), None);
        let now = later(now, HEARTBEAT);
        assert_eq!(session.due_mark(now), Some((1, Spoken::Heartbeat)));
        for number in 2..2 + u64::from(MARK_EVERY_CHANGES) {
            assert_eq!(session.due_mark(now), None);
            session.sent_change(number, now);
        }
        assert_eq!(session.due_mark(now), Some((4097, Spoken::News)));
    }

    /// Else no record of the log would tell when it was passed over, and a start whose clock has been
    /// set back meanwhile would not see that it knows it again.
    #[test]
    fn a_mark_of_what_was_only_passed_over_is_news() {
        let now = start();
        let mut link = Link::new(&name("A"), name("B"), now);
        link.begin_session(CONNECTION, &hello(1, 1), 3, 5, now);
        let session = link.session.as_mut().expect("it has begun");
        session.skip_to(5);
        let now = later(now, MARK_EVERY);
        assert_eq!(session.due_mark(now), Some((5, Spoken::News)));
    }

    #[test]
    fn a_line_that_comes_slowly_is_no_silence_and_one_that_drips_is() {
        let now = start();
        let mut link = Link::new(&name("A"), name("B"), now);
        link.begin_session(CONNECTION, &hello(1, 1), 0, 0, now);
        let session = link.session.as_mut().expect("it has begun");
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

    #[test]
    fn marks_never_go_back() {
        let now = start();
        let mut link = Link::new(&name("A"), name("B"), now);
        link.begin_session(CONNECTION, &hello(1, 1), 0, 0, now);
        assert_eq!(link.handle_mark(3), Spoken::News);
        assert_eq!(link.handle_mark(3), Spoken::Heartbeat);
        assert_eq!(link.handle_mark(2), Spoken::Heartbeat);
        assert_eq!(link.known().map(|mark| mark.number), Some(3));
    }
}
