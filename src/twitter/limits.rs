//! When Twitter is not to be asked: while it has said so, and while it is down. Pure.
//!
//! `Pool` asks before it gives a question to a worker, and tells what came of it. Two things stop
//! it. A *pause*: Twitter answers 420 or 429 and says when it will listen again. A *breaker*
//! (Nygard, "Release It!"): after several requests in a row that reached nobody, one question at a
//! time may try, and after each that fails nobody may for a while that grows. So a dead Twitter
//! costs one client a time-out now and then, and all others nothing.
//!
//! ```text
//!           FAILURES_MAX in a row          a question asks, and `until` is past
//!   closed ----------------------> open ----------------------------------------> probing
//!      ^                            ^                                               |  |
//!      |                            +------- it fails: `until` moves, farther ------+  |
//!      +-------------------------------- any answer -----------------------------------+
//! ```

use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDateTime};

use crate::time::{Now, Timestamp};

/// So many requests in a row that reach nobody open the breaker.
const FAILURES_MAX: u32 = 5;

/// The wait after the first probe that fails; it doubles with each further one.
const WAIT_FIRST: Duration = Duration::from_millis(500);

/// The longest wait between probes: so late it may be noticed that Twitter is back.
const WAIT_MAX: Duration = Duration::from_secs(16);

/// A request that ran out of time says something of Twitter only if it had this much.
pub(super) const FAIR_TIME: Duration = Duration::from_secs(5);

/// Twitter counts questions by windows of a quarter of an hour; it is not believed beyond one.
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);

/// What came of a request, as far as it says whether to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There was a response, whatever it says.
    Answered,
    /// The credentials do not let us ask, by a response of this status.
    Refused(u16),
    /// Too many questions. Not to be asked for so long, if it said.
    RateLimited(Option<Duration>),
    /// Nobody could be reached, or nobody responded in a fair time.
    Unreachable,
    /// It could not be asked, or there was too little time to tell.
    Inconclusive,
}

/// A question that may be asked, or nobody's until [`Limits::record`] takes it back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Permit {
    is_probe: bool,
}

/// What is known of Twitter's readiness.
#[derive(Debug, Default)]
pub(super) struct Limits {
    paused_until: Option<Instant>,
    breaker: Breaker,
    /// Twitter refused the credentials when it last judged them, with this status. It is asked all the same:
    /// each client gets its answer, and one that is no refusal ends this.
    refused: Option<u16>,
}

#[derive(Debug)]
enum Breaker {
    Closed {
        /// In a row.
        failures: u32,
    },
    Open {
        /// Failures in a row: those that opened it, and probes since.
        failures: u32,
        until: Instant,
        is_probing: bool,
    },
}

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker::Closed { failures: 0 }
    }
}

impl Limits {
    /// Whether a question that must be answered by `deadline` may be asked now.
    ///
    /// # Errors
    /// Says why not, and when it may be asked again.
    pub(super) fn admit(&mut self, deadline: Instant, now: Now) -> Result<Permit, String> {
        if let Some(why) = self.pause(now) {
            return Err(format!("Twitter {why}"));
        }
        self.paused_until = None;
        let (failures, until, is_probing) = match &mut self.breaker {
            Breaker::Closed { .. } => return Ok(Permit { is_probe: false }),
            Breaker::Open {
                failures,
                until,
                is_probing,
            } => (*failures, *until, is_probing),
        };
        let down = format!("Twitter {}", unreached(failures));
        if until > now.mono {
            let seconds = whole_seconds(until - now.mono);
            return Err(format!("{down}; it is asked again in {seconds} s"));
        }
        // A probe with little time left would prove nothing.
        if *is_probing || deadline < now.after(FAIR_TIME) {
            return Err(format!("{down}; another question is trying it"));
        }
        *is_probing = true;
        Ok(Permit { is_probe: true })
    }

    /// What keeps Twitter from being asked freely; an outcome that was recorded may change it.
    pub(super) fn trouble(&self, now: Now) -> Option<String> {
        let why = self.pause(now).or(match self.breaker {
            Breaker::Closed { .. } => None,
            Breaker::Open { failures, .. } => Some(unreached(failures)),
        });
        why.map(|why| format!("it {why}"))
    }

    /// The status by which Twitter refuses the credentials, if it does.
    pub(super) fn refused(&self) -> Option<u16> {
        self.refused
    }

    /// That Twitter has asked to be left alone, and until when.
    fn pause(&self, now: Now) -> Option<String> {
        let until = self.paused_until.filter(|until| *until > now.mono)?;
        let seconds = whole_seconds(until - now.mono);
        let again = utc(now.wall.seconds().saturating_add(seconds as i64));
        Some(format!(
            "takes no more questions until {again} (for {seconds} s)"
        ))
    }

    /// Notes what came of the question that `permit` was given for.
    pub(super) fn record(&mut self, permit: Permit, outcome: Outcome, now: Now) {
        match outcome {
            Outcome::Answered => (self.breaker, self.refused) = (Breaker::default(), None),
            Outcome::Refused(status) => {
                (self.breaker, self.refused) = (Breaker::default(), Some(status));
            }
            Outcome::RateLimited(Some(pause)) if !pause.is_zero() => {
                self.breaker = Breaker::default();
                let until = now.after(pause.min(PAUSE_MAX));
                self.paused_until = self.paused_until.max(Some(until));
            }
            // It did not say for how long: then as with one that is not there.
            Outcome::RateLimited(_) | Outcome::Unreachable => self.fail(permit, now),
            Outcome::Inconclusive => {
                if let (Breaker::Open { is_probing, .. }, true) =
                    (&mut self.breaker, permit.is_probe)
                {
                    *is_probing = false;
                }
            }
        }
    }

    fn fail(&mut self, permit: Permit, now: Now) {
        match &mut self.breaker {
            Breaker::Closed { failures } if *failures + 1 < FAILURES_MAX => *failures += 1,
            Breaker::Closed { failures } => {
                // The next question is the first probe.
                self.breaker = Breaker::Open {
                    failures: *failures + 1,
                    until: now.mono,
                    is_probing: false,
                };
            }
            Breaker::Open {
                failures,
                until,
                is_probing,
            } if permit.is_probe => {
                let doublings = failures.saturating_sub(FAILURES_MAX).min(16);
                *failures = failures.saturating_add(1);
                *until = now.after(WAIT_FIRST.saturating_mul(1 << doublings).min(WAIT_MAX));
                *is_probing = false;
            }
            Breaker::Open { .. } => {} // asked before it opened: nothing new
        }
    }
}

fn unreached(failures: u32) -> String {
    format!("could not be reached {failures} times in a row")
}

/// Seconds, rounded up: who asks after them is not too early.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

fn utc(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0).map_or_else(
        || format!("{seconds} s since 1970"),
        |date| date.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
}

/// How long Twitter asks to be left alone: `Retry-After` in seconds or as a date (RFC 9110, section
/// 10.2.3), or `x-rate-limit-reset` in seconds since 1970; `None` if neither is of its form.
///
/// Moments are seen from the response's own `date`, if it has one: our clock may be wrong.
pub(super) fn pause_told(
    retry_after: Option<&str>,
    reset: Option<&str>,
    date: Option<&str>,
    now: Timestamp,
) -> Option<Duration> {
    let sent = date.and_then(http_date).unwrap_or(now.seconds());
    let until = |moment: i64| Duration::from_secs(moment.saturating_sub(sent).max(0) as u64);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty();
    let retry_after = retry_after
        .map(str::trim)
        .and_then(|text| match digits(text) {
            true => Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX))),
            false => http_date(text).map(until),
        });
    let reset = reset.map(str::trim).filter(|text| digits(text));
    retry_after.or_else(|| reset.map(|text| until(text.parse().unwrap_or(i64::MAX))))
}

/// Seconds since 1970 of a date in any of the three forms of RFC 9110, section 5.6.7.
fn http_date(text: &str) -> Option<i64> {
    [
        "%a, %d %b %Y %H:%M:%S GMT",
        "%A, %d-%b-%y %H:%M:%S GMT",
        "%a %b %e %H:%M:%S %Y",
    ]
    .iter()
    .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
    .map(|date| date.and_utc().timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A clock to turn.
    fn clock() -> Now {
        Now {
            mono: Instant::now(),
            wall: Timestamp::new(1_353_118_103, 0),
        }
    }

    fn later(now: Now, milliseconds: u64) -> Now {
        Now {
            mono: now.mono + Duration::from_millis(milliseconds),
            wall: Timestamp::new(now.wall.seconds() + (milliseconds / 1000) as i64, 0),
        }
    }

    fn ask(limits: &mut Limits, now: Now) -> Result<Permit, String> {
        limits.admit(now.after(Duration::from_secs(10)), now)
    }

    /// What happens at which millisecond, and what is then said.
    enum Step {
        /// A question is asked, and this came of it at the same moment.
        Asked(Outcome),
        /// A question is answered at once, by these words.
        Refused(&'static str),
    }
    use Outcome::{Answered, Inconclusive, RateLimited, Unreachable};
    use Step::{Asked, Refused};

    fn play(name: &str, steps: &[(u64, Step)]) {
        let (mut limits, start) = (Limits::default(), clock());
        for (number, (at, step)) in steps.iter().enumerate() {
            let now = later(start, *at);
            match (ask(&mut limits, now), step) {
                (Ok(permit), Asked(outcome)) => limits.record(permit, *outcome, now),
                (Err(said), Refused(words)) => {
                    assert!(said.contains(words), "{name}, step {number}: {said}");
                }
                (got, _) => panic!("{name}, step {number}: {got:?}"),
            }
        }
    }

    #[test]
    fn a_pause_lasts_as_long_as_twitter_says() {
        let limited = |seconds| Asked(RateLimited(Some(Duration::from_secs(seconds))));
        play(
            "83 s",
            &[
                (0, limited(83)),
                (0, Refused("until 2012-11-17T02:09:46Z (for 83 s)")),
                (82_001, Refused("(for 1 s)")),
                (83_000, Asked(Answered)),
            ],
        );
        play(
            "not beyond a quarter of an hour",
            &[
                (0, limited(u64::MAX)),
                (0, Refused("(for 900 s)")),
                (900_000, Asked(Answered)),
            ],
        );
    }

    #[test]
    fn of_two_pauses_the_longer_counts() {
        let (mut limits, now) = (Limits::default(), clock());
        let permits = [ask(&mut limits, now), ask(&mut limits, now)];
        for (permit, seconds) in permits.into_iter().zip([60, 5]) {
            let pause = Some(Duration::from_secs(seconds));
            limits.record(
                permit.expect("nothing is known yet"),
                RateLimited(pause),
                now,
            );
        }
        assert!(ask(&mut limits, later(now, 59_000)).is_err());
        assert!(ask(&mut limits, later(now, 60_000)).is_ok());
    }

    #[test]
    fn the_breaker_opens_waits_longer_and_longer_and_closes() {
        let down = || Asked(Unreachable);
        play(
            "opens and grows",
            &[
                (0, down()),
                (0, down()),
                (0, down()),
                (0, down()),
                (0, down()),
                (0, down()), // the first probe
                (0, Refused("6 times in a row; it is asked again in 1 s")),
                (499, Refused("again in 1 s")),
                (500, down()),
                (501, Refused("7 times in a row; it is asked again in 1 s")),
                (1_500, down()),
                (1_501, Refused("again in 2 s")),
                (3_500, down()),
                (7_500, down()),
                (15_500, down()),
                (15_501, Refused("again in 16 s")),
                (31_500, down()),
                (31_501, Refused("again in 16 s")),
                (47_500, Asked(Answered)),
                (47_500, down()),
                (47_500, down()),
            ],
        );
        play(
            "an answer between starts the count anew",
            &[
                (0, down()),
                (0, down()),
                (0, down()),
                (0, down()),
                (0, Asked(Answered)),
                (0, down()),
                (0, down()),
                (0, down()),
                (0, down()),
                (0, Asked(Answered)),
            ],
        );
        play(
            "too little time says nothing",
            &[
                (0, Asked(Inconclusive)),
                (0, Asked(Inconclusive)),
                (0, Asked(Inconclusive)),
                (0, Asked(Inconclusive)),
                (0, Asked(Inconclusive)),
                (0, Asked(Inconclusive)),
                (0, Asked(Answered)),
            ],
        );
        play(
            "a rate limit that does not say for how long",
            &[
                (0, Asked(RateLimited(None))),
                (0, Asked(RateLimited(None))),
                (0, Asked(RateLimited(Some(Duration::ZERO)))),
                (0, Asked(RateLimited(None))),
                (0, Asked(RateLimited(None))),
                (0, Asked(RateLimited(None))),
                (0, Refused("asked again in 1 s")),
            ],
        );
    }

    #[test]
    fn one_probe_at_a_time_and_those_asked_before_say_nothing_new() {
        let (mut limits, now) = (Limits::default(), clock());
        let asked: Vec<Permit> = (0..8)
            .map(|_| ask(&mut limits, now).expect("nothing is known yet"))
            .collect();
        let now = later(now, 10_000);
        for permit in asked {
            limits.record(permit, Unreachable, now);
        }
        let hurried = limits.admit(now.after(FAIR_TIME - Duration::from_millis(1)), now);
        assert!(hurried.is_err(), "it has too little time to be a probe");
        let probe = ask(&mut limits, now).expect("the first probe may go at once");
        let another = ask(&mut limits, now).expect_err("one at a time");
        assert!(
            another.contains("another question is trying it"),
            "{another}"
        );
        limits.record(probe, Inconclusive, now);
        let probe = ask(&mut limits, now).expect("that one proved nothing");
        limits.record(probe, Answered, now);
        assert!((0..9).all(|_| ask(&mut limits, now).is_ok()));
    }

    #[test]
    fn how_long_twitter_wants_to_be_left_alone() {
        // 2012-11-17T02:08:23Z
        let now = Timestamp::new(1_353_118_103, 999_999_999);
        for (retry_after, reset, date, want) in [
            (None, None, None, None),
            (Some("83"), None, None, Some(83)),
            (Some(" 0 "), None, None, Some(0)),
            (Some("83"), Some("1353119003"), None, Some(83)),
            (Some("soon"), Some("1353119003"), None, Some(900)),
            (None, Some("1353118103"), None, Some(0)),
            (None, Some("1"), None, Some(0)),
            (None, Some("-1"), None, None),
            (None, Some("1353119003.5"), None, None),
            (Some("Sat, 17 Nov 2012 02:09:46 GMT"), None, None, Some(83)),
            (
                Some("Saturday, 17-Nov-12 02:09:46 GMT"),
                None,
                None,
                Some(83),
            ),
            (Some("Sat Nov 17 02:09:46 2012"), None, None, Some(83)),
            (Some("Sat, 17 Nov 2012 02:00:00 GMT"), None, None, Some(0)),
            // The server's own clock, an hour off ours.
            (
                None,
                Some("1353114509"),
                Some("Sat, 17 Nov 2012 01:08:23 GMT"),
                Some(6),
            ),
            (None, Some("1353118109"), Some("today"), Some(6)),
            (Some("99999999999999999999999"), None, None, Some(u64::MAX)),
            (
                None,
                Some("99999999999999999999999"),
                None,
                Some(i64::MAX as u64 - 1_353_118_103),
            ),
            (Some(""), Some(""), Some(""), None),
        ] {
            assert_eq!(
                pause_told(retry_after, reset, date, now),
                want.map(Duration::from_secs),
                "{retry_after:?} {reset:?} {date:?}"
            );
        }
    }

    proptest! {
        /// Whatever has happened, a while later one question may be asked, and its answer heals all.
        #[test]
        fn it_never_stays_shut(steps in proptest::collection::vec((0..4_u8, 0..20_000_u64), 0..60)) {
            let (mut limits, mut now) = (Limits::default(), clock());
            let mut asked = Vec::new();
            for (what, wait) in steps {
                now = later(now, wait);
                asked.extend(ask(&mut limits, now));
                let outcome = [Unreachable, Inconclusive, RateLimited(None), RateLimited(Some(Duration::MAX))];
                if wait % 3 > 0 && let Some(permit) = asked.pop() {
                    limits.record(permit, outcome[usize::from(what)], now);
                }
            }
            for permit in asked {
                limits.record(permit, Unreachable, now);
            }
            now = later(now, PAUSE_MAX.as_millis() as u64);
            let permit = ask(&mut limits, now).expect("a while later");
            limits.record(permit, Answered, now);
            prop_assert!((0..20).all(|_| ask(&mut limits, now).is_ok()));
        }

        #[test]
        fn noise_never_panics(one in ".{0,40}", two in ".{0,40}", three in ".{0,40}") {
            let _ = pause_told(Some(&one), Some(&two), Some(&three), clock().wall);
        }
    }
}
