//! What `Pool` tells the operator: that Twitter is not asked for now, or refuses the credentials, and that it
//! answers again. Pure.
//!
//! One line each, not one a question; and a Twitter that comes and goes is told of once a minute.

use std::time::{Duration, Instant};

/// That Twitter answers again is told this often at most, and so is that it does not.
const RESUMED_EVERY: Duration = Duration::from_secs(60);

/// What the operator is told when it answers again.
const RESUMED: &str = "Twitter answers again";

/// What the operator knows.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Whether he was told that Twitter is not asked, and not yet that it answers again.
    is_stopped: bool,
    /// The same of credentials that it refuses.
    is_refused: bool,
    /// When it was last told that it answers again.
    resumed_at: Option<Instant>,
}

impl Told {
    /// What to tell when `trouble` keeps Twitter from being asked.
    pub(super) fn stopped(&mut self, trouble: &str) -> Option<String> {
        let was_stopped = std::mem::replace(&mut self.is_stopped, true);
        (!was_stopped).then(|| format!("Twitter is not asked for now: {trouble}"))
    }

    /// What to tell when Twitter refuses the credentials.
    pub(super) fn refused(&mut self, status: u16) -> Option<String> {
        let was_refused = std::mem::replace(&mut self.is_refused, true);
        (!was_refused).then(|| {
            format!(
                "Twitter refuses the credentials (HTTP status {status}): no tweets until you correct them \
                 (--twitter-credentials, or the environment) and restart"
            )
        })
    }

    /// What to tell when Twitter has answered, and may be asked on. One that comes and goes is told of
    /// once in a while, and then that it is not asked stays the last word.
    pub(super) fn resumed(&mut self, now: Instant) -> Option<String> {
        let lately = |at: Instant| now < at + RESUMED_EVERY;
        let is_missed = self.is_stopped || self.is_refused;
        if !is_missed || self.resumed_at.is_some_and(lately) {
            return None;
        }
        (self.is_stopped, self.is_refused) = (false, false);
        self.resumed_at = Some(now);
        Some(RESUMED.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twitter_that_comes_and_goes_is_told_of_once_a_minute() {
        let (mut told, start) = (Told::default(), Instant::now());
        let mut said = Vec::new();
        for second in 0..=150 {
            let now = start + Duration::from_secs(second);
            let notice = match second % 2 {
                0 => told.stopped(&second.to_string()),
                _ => told.resumed(now),
            };
            said.extend(notice.map(|notice| (second, notice)));
        }
        let stopped = |second| (second, format!("Twitter is not asked for now: {second}"));
        let resumed = |second| (second, RESUMED.to_owned());
        let want = [
            stopped(0),
            resumed(1),
            stopped(2),
            resumed(61),
            stopped(62),
            resumed(121),
            stopped(122),
        ];
        assert_eq!(said, want);
    }

    #[test]
    fn a_trouble_that_lasts_is_told_of_once() {
        let (mut told, now) = (Told::default(), Instant::now());
        assert_eq!(told.resumed(now), None, "nobody missed it");
        assert!(told.stopped("gone").is_some());
        assert_eq!(told.stopped("gone"), None);
        let refused = told.refused(401);
        assert!(refused.is_some_and(|text| text.contains("(HTTP status 401)")));
        assert_eq!(told.refused(401), None);
        assert_eq!(told.resumed(now).as_deref(), Some(RESUMED));
        assert_eq!(told.resumed(now), None);
    }
}
