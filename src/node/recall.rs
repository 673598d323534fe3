//! What a log recalls of the lives before: which of their numbers and marks still hold.
//!
//! `Node` is the caller, and lends what it fills. Whatever in the log puts the numbers in doubt ends
//! in `Recall::distrust`: then all is sent once more, and nothing is lost.

use std::time::Duration;

use super::expiry::Expiry;
use super::history::History;
use super::link::Link;
use super::location::Location;
use super::protocol::{Incarnation, LinkLine, Mark, parse_at};
use super::table::{Key, Source, Table};
use crate::time::Timestamp;

/// What a record of the log recalls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recalled<'a> {
    /// An `AT` line that the server itself or a neighbour vouched for.
    At {
        /// The line.
        line: &'a [u8],
        /// The record's time, as the log writes it: where reports expire, whether this one was
        /// taken in hangs on when it came.
        stamp: &'a [u8],
    },
    /// In the life that wrote the checkpoint before this, or goes on after a gap, reports expire after this time.
    Forgets(Duration),
    /// A checkpoint begins, of about so many locations.
    Expect(u64),
    /// A location of a checkpoint, which had this number in the feed.
    Held {
        /// Its number.
        number: u64,
        /// The `AT` line.
        line: &'a [u8],
    },
    /// An earlier life came to this number: said at the end of a checkpoint.
    Life {
        /// Its incarnation.
        incarnation: Incarnation,
        /// The last number it gave.
        end: u64,
    },
    /// A checkpoint ends: all that the life knew that wrote it stands before this record.
    Checkpoint {
        /// Its incarnation.
        incarnation: Incarnation,
        /// The number its feed had come to.
        end: u64,
        /// How many locations the checkpoint has.
        records: u64,
    },
    /// What a checkpoint knows of a neighbour.
    Known {
        /// Its name.
        name: &'a [u8],
        /// Which life of it was heard last.
        life: Option<Incarnation>,
        /// How much of its feed is known.
        known: Option<Mark>,
    },
    /// A `HELLO` or `MARK` of a neighbour.
    Neighbour {
        /// Whose.
        name: &'a [u8],
        /// The line.
        line: &'a [u8],
    },
    /// A life began: all that it knew then stands before this record.
    Started {
        /// Its incarnation.
        incarnation: Incarnation,
        /// The number its feed had come to.
        end: u64,
        /// After what time reports expire in it, if they do.
        forgets_after: Option<Duration>,
    },
    /// Some records are missing here, as the life knew that went on after them.
    Gap,
    /// Records that stood here are lost, or others were put before them. Whoever wrote what follows may have
    /// known other ones: a power failure takes what was not synced, wherever it is.
    Hole,
    /// All has been read; this is the time of the last record, as the log writes it.
    Last {
        /// The time.
        stamp: &'a [u8],
    },
}

impl<'a> Recalled<'a> {
    /// The location that it tells of, if it tells of one.
    fn location(&self) -> Option<Location<'a>> {
        match self {
            Recalled::At { line, .. } | Recalled::Held { line, .. } => parse_at(line),
            _ => None,
        }
    }
}

/// What a record recalls, with what it needs of the table brought near.
#[derive(Debug)]
pub struct Prepared<'a> {
    recalled: Recalled<'a>,
    /// The location that it tells of, and where the table has its client.
    location: Option<(Key, Location<'a>)>,
}

impl<'a> Prepared<'a> {
    /// Prepares records for `table`, [`PREFETCH_MAX`](super::table::PREFETCH_MAX) at most.
    pub fn all(records: &[Recalled<'a>], table: &Table) -> Vec<Prepared<'a>> {
        let prepared = records.iter().map(|&recalled| {
            let location = recalled.location();
            Prepared {
                recalled,
                location: location.map(|location| (table.key(location.client), location)),
            }
        });
        let mut all: Vec<_> = prepared.collect();
        let locations = all.iter_mut().filter_map(|each| each.location.as_mut());
        table.prefetch(locations.map(|(key, _)| key));
        all
    }

    /// Takes in the location that it tells of, if it does, and nothing else.
    pub fn take_in_location(&self, table: &mut Table) {
        if let Some((key, location)) = &self.location {
            table.accept(*key, location, Source::Own);
        }
    }
}

/// What records are taken into, in the log's order.
pub struct Recall<'a> {
    /// The latest locations.
    pub table: &'a mut Table,
    /// The lives of the feed.
    pub history: &'a mut History,
    /// How far each neighbour is known.
    pub links: &'a mut [Link],
    /// Present if this life forgets.
    pub expiry: Option<&'a Expiry>,
    /// After what time records expired in the life that is being recalled, if they did.
    pub recalled_expiry: &'a mut Option<Duration>,
    /// Set when what had expired before this life may be known again.
    pub knows_again: &'a mut bool,
}

impl Recall<'_> {
    /// Takes in a record.
    pub fn take_in(&mut self, prepared: &Prepared<'_>) {
        let recalled = prepared.recalled;
        match recalled {
            Recalled::At { stamp, .. } => {
                if let Some(after) = *self.recalled_expiry
                    && let Some(came) = Timestamp::parse_utc(stamp)
                {
                    self.table.expire_before(came.minus(after));
                }
            }
            Recalled::Expect(_) => {}
            Recalled::Held { number, .. } => {
                self.expire_nothing(); // it was known when the checkpoint was written
                // Where numbers go backwards, which no server writes, it gets a later one than it had: then
                // more is told than need be.
                self.table.advance(number.saturating_sub(1));
                prepared.take_in_location(self.table);
                return;
            }
            Recalled::Life { incarnation, end } => self.history.recall(incarnation, end),
            Recalled::Checkpoint {
                incarnation, end, ..
            } => {
                self.expire_nothing();
                match self.table.advance(end) {
                    true => {
                        self.history.see_beginning();
                        self.history.begin(incarnation, end);
                    }
                    false => self.distrust(),
                }
            }
            Recalled::Known { name, life, known } => {
                if let Some(link) = self.link(name) {
                    link.recall_known(life, known);
                }
            }
            Recalled::Forgets(after) => *self.recalled_expiry = Some(after),
            Recalled::Neighbour { name, line } => match (self.link(name), LinkLine::parse(line)) {
                (Some(link), Ok(LinkLine::Hello(hello))) => link.recall_life(hello.incarnation),
                (Some(link), Ok(LinkLine::Mark(number))) => drop(link.handle_mark(number)),
                _ => {}
            },
            Recalled::Started {
                incarnation,
                end,
                forgets_after,
            } => {
                self.expire_nothing();
                *self.recalled_expiry = forgets_after;
                if end == 0 && self.table.end() == 0 {
                    self.history.see_beginning(); // it knew nothing yet
                }
                if end != self.table.end() {
                    self.history.see_hole(); // or it was another log's life
                }
                match self.history.is_of_whole_log() {
                    true => self.history.begin(incarnation, end),
                    false => self.distrust(),
                }
            }
            Recalled::Gap => {
                self.expire_nothing(); // unless the log says so next
                self.distrust();
            }
            Recalled::Hole => {
                self.expire_nothing();
                self.history.see_hole();
                self.distrust();
            }
            Recalled::Last { stamp } => self.take_in_last_time(stamp),
        }
        prepared.take_in_location(self.table);
    }

    /// Begins the life `incarnation`: all that is known now has been recalled. Gives the number that
    /// the feed has come to.
    pub fn begin_life(&mut self, incarnation: Incarnation) -> u64 {
        let end = self.table.end();
        self.expire_nothing(); // what has expired is known with the first turn's time
        if let Some(expiry) = self.expiry {
            self.table.set_lost(expiry.oldest_at_start()); // a life before may have lost what is older
        }
        if !self.history.is_of_whole_log() {
            self.distrust();
        }
        self.history.begin(incarnation, end);
        end
    }

    /// What had expired in the life before was passed over when neighbours were told of changes, and
    /// not taken in from them, and marks were given all the same. If the clock was set back since,
    /// or records are kept for longer, some of it is known again: then no mark holds.
    fn take_in_last_time(&mut self, stamp: &[u8]) {
        let Some(after) = *self.recalled_expiry else {
            return;
        };
        let oldest = self.expiry.map(Expiry::oldest_at_start);
        let oldest = oldest.unwrap_or(Timestamp::MIN);
        if Timestamp::parse_utc(stamp).is_some_and(|last| oldest < last.minus(after)) {
            self.distrust();
            *self.knows_again = true;
        }
    }

    /// Numbers given from here on may be others than those the lives before gave.
    fn distrust(&mut self) {
        self.history.forget();
        self.links.iter_mut().for_each(Link::forget);
    }

    /// The link to a neighbour of whose feed the log tells, if the log can be relied on so far.
    fn link(&mut self, name: &[u8]) -> Option<&mut Link> {
        let from = |link: &&mut Link| link.neighbour.as_bytes() == name;
        let link = self.links.iter_mut().find(from);
        link.filter(|_| self.history.has_open_life())
    }

    fn expire_nothing(&mut self) {
        *self.recalled_expiry = None;
        self.table.expire_before(Timestamp::MIN);
    }
}
