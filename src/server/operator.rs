//! What the operator is told, on standard error: one line each, with the server's name.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::topology::ServerName;

/// That something is full is said again after this long.
const FULL_SAID_EVERY: Duration = Duration::from_secs(60);

/// What there is no more room for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Full {
    /// For connections: no descriptor is left.
    Descriptors,
    /// For clients, by the limit on them.
    Clients,
    /// For what is still to be sent.
    Output,
}

/// Who watches over a server.
pub struct Operator {
    name: ServerName,
    /// When it was last said that this is full.
    full_said: BTreeMap<Full, Instant>,
}

impl Operator {
    /// The one of the server `name`.
    pub fn new(name: ServerName) -> Operator {
        Operator {
            name,
            full_said: BTreeMap::new(),
        }
    }

    /// Tells something. A standard error that nobody reads any longer is no reason to stop.
    pub fn say(&self, text: &str) {
        let _ = writeln!(io::stderr(), "{}: {text}", self.name);
    }

    /// Whether to tell, at `now`, that this is full: now and then, not each time.
    pub fn is_due(&mut self, what: Full, now: Instant) -> bool {
        let said = self.full_said.get(&what);
        let due = said.is_none_or(|&said| said + FULL_SAID_EVERY <= now);
        if due {
            self.full_said.insert(what, now);
        }
        due
    }
}
