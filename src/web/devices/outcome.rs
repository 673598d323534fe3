//! What is done about a request: lines for the node, reasons for the log, an answer for the device.

use super::point::Fault;
use crate::web::answer::Answer;

/// A request has at most so many points: what Overland sends at most, and `current`.
pub const POINTS_MAX: usize = 1_001;

/// The log gets at most so many reasons of one request. All points that are rejected are counted.
pub const REASONS_MAX: usize = 10;

/// What is done about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// `IAMAT` lines for the node, without LF, in this order.
    pub reports: Vec<Vec<u8>>,
    /// How many points are rejected.
    pub rejected: usize,
    /// Why: of the first [`REASONS_MAX`].
    pub reasons: Vec<String>,
    /// Why the request is not about a point at all, if it is answered as if all were well.
    pub ignored: Option<String>,
    /// For the device, after the journal has the reports.
    pub answer: Answer,
}

impl Outcome {
    /// No point was looked at.
    pub fn refused(answer: Answer) -> Outcome {
        Batch::default().answered(answer)
    }

    /// There is no point, and asking again would bring none.
    pub fn ignored(reason: String, answer: Answer) -> Outcome {
        Outcome {
            ignored: Some(reason),
            ..Outcome::refused(answer)
        }
    }
}

/// Points, as they are read.
#[derive(Debug, Default)]
pub struct Batch {
    reports: Vec<Vec<u8>>,
    rejected: usize,
    reasons: Vec<String>,
    /// How many of the rejected name no client.
    anonymous: usize,
}

impl Batch {
    /// Adds a point: its line, or why there is none.
    pub fn push(&mut self, point: Result<Vec<u8>, Fault>) {
        let fault = match point {
            Ok(line) => return self.reports.push(line),
            Err(fault) => fault,
        };
        self.rejected += 1;
        self.anonymous += usize::from(fault.is_anonymous);
        if self.reasons.len() < REASONS_MAX {
            self.reasons.push(fault.reason);
        }
    }

    /// How many points are rejected.
    pub fn rejected(&self) -> usize {
        self.rejected
    }

    /// Why the first of them is.
    pub fn reason(&self) -> Option<&str> {
        self.reasons.first().map(String::as_str)
    }

    /// Whether there are points, and none names a client: the app is not set up, and its user is to be told.
    pub fn is_anonymous(&self) -> bool {
        self.anonymous > 0 && self.reports.is_empty() && self.anonymous == self.rejected
    }

    /// Ends the batch.
    pub fn answered(self, answer: Answer) -> Outcome {
        Outcome {
            answer,
            reports: self.reports,
            rejected: self.rejected,
            reasons: self.reasons,
            ignored: None,
        }
    }
}

/// The answer to a request that has more than [`POINTS_MAX`] points.
pub fn too_many() -> Answer {
    Answer::error(
        413,
        "There are more than 1,000 points: set a smaller batch in the app.",
    )
}
