//! What phones report over HTTP, in the formats of the apps that people already have.
//!
//! One room reads the requests of one family of apps and makes of each point the `IAMAT` line that the device
//! would have sent. From there on it is one: the same rules, the same log, the same flood. The server's HTTP
//! role hands the lines to the node, and sends the answer after the journal has them. Pure: no socket, and the
//! time of receipt is an argument.
//!
//! | File | What |
//! |---|---|
//! | `owntracks`, `osmand`, `overland` | which point is where in a request |
//! | `outcome` | what is done about a request: lines, how many points are rejected and why, the answer |
//! | `point` | one point, as a line |

mod osmand;
mod outcome;
mod overland;
mod owntracks;
mod point;

#[cfg(test)]
mod osmand_tests;
#[cfg(test)]
mod overland_tests;
#[cfg(test)]
mod owntracks_tests;
#[cfg(test)]
mod tests;

use crate::http::{Method, Request};
use crate::time::Timestamp;

pub use self::outcome::{Outcome, POINTS_MAX, REASONS_MAX};

/// A family of apps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// OwnTracks in HTTP mode.
    OwnTracks,
    /// OsmAnd, Traccar Client, GPSLogger, and whatever else fills in a URL.
    OsmAnd,
    /// Overland.
    Overland,
}

impl Family {
    /// The one whose requests go to `path`.
    pub fn at(path: &str) -> Option<Family> {
        match path {
            "/owntracks" => Some(Family::OwnTracks),
            "/osmand" => Some(Family::OsmAnd),
            "/overland" => Some(Family::Overland),
            _ => None,
        }
    }

    /// The methods that its requests may have.
    pub fn methods(self) -> &'static [Method] {
        match self {
            Family::OsmAnd => &[Method::Get, Method::Post],
            Family::OwnTracks | Family::Overland => &[Method::Post],
        }
    }

    /// What a request reports, and how it is answered. `receipt` is the time of points that have none.
    pub fn read(self, request: &Request<'_>, receipt: Timestamp) -> Outcome {
        match self {
            Family::OwnTracks => owntracks::read(request, receipt),
            Family::OsmAnd => osmand::read(request, receipt),
            Family::Overland => overland::read(request, receipt),
        }
    }
}
