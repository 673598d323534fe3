//! What a server uses, over its lives.

use std::time::Duration;

/// After this long a server has met all its clients and neighbours.
const SETTLED: Duration = Duration::from_secs(60);

/// Figures of one server.
#[derive(Default)]
pub struct Tally {
    pub starts: u64,
    /// Of the whole run.
    pub max: Usage,
    /// Of the life that lasted longest.
    pub longest: Life,
    /// Of the life that it has now.
    pub this: Life,
}

/// What a process uses.
#[derive(Clone, Copy, Default)]
pub struct Usage {
    pub resident_bytes: f64,
    pub descriptors: usize,
    /// The length of its log.
    pub log_bytes: u64,
    /// The length of its journal's files together.
    pub journal_bytes: u64,
}

/// One life of a server.
#[derive(Clone, Copy, Default)]
pub struct Life {
    pub lasted: Duration,
    /// [`SETTLED`] after its start, or when it was last looked at before.
    pub begin: Usage,
    pub max: Usage,
    pub end: Usage,
}

impl Tally {
    /// What it used when last looked at.
    pub fn now(&self) -> Usage {
        self.this.end
    }

    /// Takes up what it uses, its life having lasted so long.
    pub fn note(&mut self, lasted: Duration, usage: Usage) {
        let this = &mut self.this;
        let is_first = this.lasted.is_zero();
        this.lasted = lasted;
        if is_first || lasted < SETTLED {
            this.begin = usage;
        }
        this.max = this.max.or_more(usage);
        this.end = usage;
        self.max = self.max.or_more(usage);
        if lasted > self.longest.lasted {
            self.longest = *this;
        }
    }
}

impl Usage {
    pub fn or_more(self, other: Usage) -> Usage {
        Usage {
            resident_bytes: self.resident_bytes.max(other.resident_bytes),
            descriptors: self.descriptors.max(other.descriptors),
            log_bytes: self.log_bytes.max(other.log_bytes),
            journal_bytes: self.journal_bytes.max(other.journal_bytes),
        }
    }
}
