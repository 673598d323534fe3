//! What is to go wrong with the stand-in's answers, so that others can be seen to bear it. Pure.
//!
//! `main` reads the faults from the command line; `standin::mod` asks what becomes of each answer.
//! Faults apply to every request, that for a token too, and go together: a delay with a drip.

use std::str::FromStr;
use std::time::{Duration, Instant};

/// A longer wait than anybody's patience.
const SECONDS_MAX: f64 = 3600.0;

/// A body this long is over every limit that a client of Twitter may have.
const HUGE_BYTES: usize = 8 * 1024 * 1024;

/// One thing that goes wrong, as `--fault` names it.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// `delay=SECONDS`: every answer comes so late.
    Delay(Duration),
    /// `status=CODE`: every answer is an error with this status.
    Status(u16),
    /// `limit=COUNT/SECONDS`: so many requests in so many seconds; the others are too many.
    Limit(u32, Duration),
    /// `reset`: the connection is closed without an answer.
    Reset,
    /// `garbage`: the body is no JSON.
    Garbage,
    /// `truncated`: the body ends in its middle, and the connection with it.
    Truncated,
    /// `huge`: the body is valid JSON of 8 MiB.
    Huge,
    /// `drip=SECONDS`: the body comes by a byte each so many seconds.
    Drip(Duration),
}

impl Fault {
    /// The forms that [`Fault::from_str`] reads.
    pub const FORMS: &str = "delay=SECONDS, status=CODE, limit=COUNT/SECONDS, reset, garbage, \
        truncated, huge, drip=SECONDS";
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Fault, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let fault = match (name, value) {
            ("delay", Some(value)) => seconds(value).map(Fault::Delay),
            ("drip", Some(value)) => seconds(value).map(Fault::Drip),
            ("status", Some(value)) => {
                let code = value.parse().ok();
                code.filter(|code| (200..600).contains(code))
                    .map(Fault::Status)
            }
            ("limit", Some(value)) => value.split_once('/').and_then(|(count, window)| {
                Some(Fault::Limit(count.parse().ok()?, seconds(window)?))
            }),
            ("reset", None) => Some(Fault::Reset),
            ("garbage", None) => Some(Fault::Garbage),
            ("truncated", None) => Some(Fault::Truncated),
            ("huge", None) => Some(Fault::Huge),
            _ => None,
        };
        fault.ok_or_else(|| {
            let forms = Fault::FORMS;
            format!("known are {forms}; SECONDS above 0 and up to {SECONDS_MAX}, CODE 200 to 599")
        })
    }
}

/// A time in plain decimal, above zero.
fn seconds(text: &str) -> Option<Duration> {
    let seconds = super::form::decimal(text)?;
    (seconds > 0.0 && seconds <= SECONDS_MAX).then(|| Duration::from_secs_f64(seconds))
}

/// How a body leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// At once and whole.
    Whole,
    /// Up to its middle; then the connection is closed.
    Half,
    /// A byte each so often.
    Drip(Duration),
    /// Not at all: the connection is closed.
    None,
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Treatment {
    /// How late it comes.
    pub delay: Duration,
    /// How its body leaves.
    pub delivery: Delivery,
}

/// How a request stands to the rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Requests in a window.
    pub limit: u32,
    /// How many are left in this one.
    pub remaining: u32,
    /// When the next begins.
    pub reset: Duration,
    /// Whether this request is one too many.
    pub is_exceeded: bool,
}

/// All that goes wrong, and how many requests there have been.
#[derive(Debug, Default)]
pub struct Faults {
    faults: Vec<Fault>,
    /// When the window began, and the requests in it.
    window: Option<(Instant, u32)>,
}

impl Faults {
    /// These go wrong. Of a kind given twice the last counts.
    pub fn new(faults: Vec<Fault>) -> Faults {
        Faults {
            faults,
            window: None,
        }
    }

    /// Counts a request; `None` if there is no limit.
    pub fn count(&mut self, now: Instant) -> Option<Allowance> {
        let (limit, length) = self.last(|fault| match fault {
            Fault::Limit(limit, window) => Some((*limit, *window)),
            _ => None,
        })?;
        let (began, before) = self
            .window
            .filter(|(began, _)| now < *began + length)
            .unwrap_or((now, 0));
        let is_exceeded = before >= limit;
        let count = before.saturating_add(1).min(limit);
        self.window = Some((began, count));
        Some(Allowance {
            limit,
            remaining: limit - count,
            reset: began + length - now,
            is_exceeded,
        })
    }

    /// The status that every answer is to have.
    pub fn status(&self) -> Option<u16> {
        self.last(|fault| match fault {
            Fault::Status(code) => Some(*code),
            _ => None,
        })
    }

    /// What is sent in place of the body `body`.
    pub fn body(&self, body: String) -> String {
        match self.last(|fault| match fault {
            Fault::Garbage | Fault::Huge => Some(fault.clone()),
            _ => None,
        }) {
            Some(Fault::Garbage) => "<html>Something is technically wrong.</html>\n".to_owned(),
            Some(_) => format!("\"{}\"", "x".repeat(HUGE_BYTES - 2)),
            None => body,
        }
    }

    /// What becomes of an answer.
    pub fn treatment(&self) -> Treatment {
        let delay = self.last(|fault| match fault {
            Fault::Delay(delay) => Some(*delay),
            _ => None,
        });
        let delivery = self.last(|fault| match fault {
            Fault::Reset => Some(Delivery::None),
            Fault::Truncated => Some(Delivery::Half),
            Fault::Drip(every) => Some(Delivery::Drip(*every)),
            _ => None,
        });
        Treatment {
            delay: delay.unwrap_or_default(),
            delivery: delivery.unwrap_or(Delivery::Whole),
        }
    }

    fn last<T>(&self, choose: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        self.faults.iter().rev().find_map(choose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_as_the_command_line_names_them() {
        let seconds = Duration::from_secs_f64;
        for (text, want) in [
            ("delay=1.5", Some(Fault::Delay(seconds(1.5)))),
            ("status=503", Some(Fault::Status(503))),
            ("limit=3/60", Some(Fault::Limit(3, seconds(60.0)))),
            ("limit=0/0.5", Some(Fault::Limit(0, seconds(0.5)))),
            ("reset", Some(Fault::Reset)),
            ("garbage", Some(Fault::Garbage)),
            ("truncated", Some(Fault::Truncated)),
            ("huge", Some(Fault::Huge)),
            ("drip=0.01", Some(Fault::Drip(seconds(0.01)))),
            ("delay", None),
            ("delay=", None),
            ("delay=0", None),
            ("delay=-1", None),
            ("delay=1e3", None),
            ("delay=3601", None),
            ("status=99", None),
            ("status=x", None),
            ("limit=3", None),
            ("limit=-3/1", None),
            ("reset=1", None),
            ("fire", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok(), want, "{text}");
        }
    }

    #[test]
    fn a_window_lets_in_so_many() {
        let mut faults = Faults::new(vec![Fault::Limit(2, Duration::from_secs(10))]);
        let start = Instant::now();
        for (at, remaining, reset, is_exceeded) in [
            (0, 1, 10, false),
            (3, 0, 7, false),
            (9, 0, 1, true),
            (10, 1, 10, false),
            (11, 0, 9, false),
            (11, 0, 9, true),
        ] {
            let now = start + Duration::from_secs(at);
            let want = Allowance {
                limit: 2,
                remaining,
                reset: Duration::from_secs(reset),
                is_exceeded,
            };
            assert_eq!(faults.count(now), Some(want), "after {at} s");
        }
        assert_eq!(Faults::default().count(start), None);
    }

    #[test]
    fn faults_go_together_and_the_last_of_a_kind_counts() {
        let faults = ["delay=1", "drip=2", "delay=3", "garbage", "status=500"];
        let faults = faults.map(|text| text.parse().expect(text));
        let faults = Faults::new(faults.into());
        let treatment = Treatment {
            delay: Duration::from_secs(3),
            delivery: Delivery::Drip(Duration::from_secs(2)),
        };
        assert_eq!(faults.treatment(), treatment);
        assert_eq!(faults.status(), Some(500));
        assert!(faults.body("{}".to_owned()).starts_with("<html>"));
        let none = Faults::default();
        assert_eq!(none.body("{}".to_owned()), "{}");
        assert_eq!(none.treatment().delivery, Delivery::Whole);
    }
}
