//! A record of the table: the line of a client's latest location, or of its erasure, with what orders it.
//!
//! `Table` keeps one for each client, and shows others only two forms of it: [`Stored`] is a record as a
//! snapshot keeps it, [`Change`] one as a follower of the feed sees it. Integers almost always decide which of
//! two is the more recent, so that no line has to be read again.

use std::cmp::Ordering;

use super::effects::LinkId;
use super::location::{Erasure, Location};
use super::protocol::{is_erased, parse_at, parse_erased};
use crate::time::Timestamp;

/// Lines up to this length lie in the record itself; longer ones are allocated apiece.
///
/// An `AT` line of the assignment is 60 to 90 bytes. With 94 a record takes 128 bytes, two cache
/// lines or three, as memory comes, and a table of a million needs no allocation but its own.
const INLINE_BYTES: usize = 94;

const _: () = assert!(size_of::<Record>() == RECORD_BYTES);

/// What a record takes of the memory, whether it is held or its slot is free.
pub const RECORD_BYTES: usize = 128;

/// What the allocator adds to a line that is allocated apiece.
const ALLOCATION_BYTES: usize = 16;

/// Where a record came from: what need not be sent back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A client of ours, or our journal.
    Own,
    /// The neighbour of this link.
    Link(LinkId),
}

/// One entry of the feed with its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// Its number in the feed.
    pub number: u64,
    /// The record: an `AT` line without LF, or an `ERASED` line.
    pub line: &'a [u8],
    /// Where it came from.
    pub source: Source,
}

/// A record as a snapshot keeps it: with what a start would otherwise have to read out of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored<'a> {
    /// Its number in the feed.
    pub number: u64,
    /// Its effective time.
    pub effective: Timestamp,
    /// Where in the line the client's name begins.
    pub client_at: u8,
    /// How long the name is.
    pub client_bytes: u16,
    /// The `AT` or `ERASED` line without LF.
    pub line: &'a [u8],
}

impl<'a> Stored<'a> {
    /// That of a report, without a number yet.
    #[inline]
    pub fn of(location: &Location<'a>, effective: Timestamp) -> Stored<'a> {
        Stored::about(
            location.client,
            client_at(location),
            location.line,
            effective,
        )
    }

    /// That of an erasure.
    pub fn of_erasure(erasure: &Erasure<'a>) -> Stored<'a> {
        let client_at = b"ERASED ".len() + erasure.server.len() + 1;
        Stored::about(erasure.client, client_at, erasure.line, erasure.time)
    }

    #[inline]
    fn about(client: &[u8], client_at: usize, line: &'a [u8], effective: Timestamp) -> Stored<'a> {
        Stored {
            number: 0,
            effective,
            client_at: u8::try_from(client_at).expect("a server's name and a difference are short"),
            client_bytes: u16::try_from(client.len())
                .expect("a line, and so a name, is shorter than 64 KiB"),
            line,
        }
    }

    /// The client's name; `None` if there is none, or the line does not reach that far.
    pub fn client(&self) -> Option<&'a [u8]> {
        let start = usize::from(self.client_at);
        let end = start + usize::from(self.client_bytes);
        self.line.get(start..end).filter(|name| !name.is_empty())
    }
}

#[derive(Debug)]
pub struct Record {
    /// Its latest number in the feed; 0 in a slot that is free.
    pub number: u64,
    /// In a slot that is free, its place in the list of those.
    pub effective_seconds: i64,
    pub effective_nanos: u32,
    pub client_bytes: u16,
    /// Where in the line the client's name begins.
    pub client_at: u8,
    pub source: Source,
    pub line: Text,
}

/// A line, most often kept in place.
#[derive(Debug)]
pub enum Text {
    Short { len: u8, bytes: [u8; INLINE_BYTES] },
    Long(Box<[u8]>),
}

impl Text {
    const EMPTY: Text = Text::Short {
        len: 0,
        bytes: [0; INLINE_BYTES],
    };

    /// Becomes `line`, written over what was there.
    #[inline]
    pub fn set(&mut self, line: &[u8]) {
        if line.len() > INLINE_BYTES {
            *self = Text::Long(line.into());
            return;
        }
        if let Text::Long(_) = self {
            *self = Text::EMPTY;
        }
        if let Text::Short { len, bytes } = self {
            *len = line.len() as u8;
            bytes[..line.len()].copy_from_slice(line);
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Text::Short { len, bytes } => &bytes[..usize::from(*len)],
            Text::Long(line) => line,
        }
    }

    /// What is allocated for it.
    pub fn allocated_bytes(&self) -> usize {
        match self {
            Text::Short { .. } => 0,
            Text::Long(line) => line.len() + ALLOCATION_BYTES,
        }
    }
}

impl Record {
    /// That of a slot that is free.
    pub const fn empty() -> Record {
        Record {
            number: 0,
            effective_seconds: 0,
            effective_nanos: 0,
            client_bytes: 0,
            client_at: 0,
            source: Source::Own,
            line: Text::EMPTY,
        }
    }

    /// Becomes this record, but for its number.
    #[inline]
    pub fn set_stored(&mut self, stored: &Stored<'_>, source: Source) {
        self.effective_seconds = stored.effective.seconds();
        self.effective_nanos = stored.effective.nanos();
        self.client_bytes = stored.client_bytes;
        self.client_at = stored.client_at;
        self.source = source;
        self.line.set(stored.line);
    }

    /// Prefetches each of its cache lines: reads a little of the line's beginning, middle and end, and of what
    /// stands behind it, which may be in one more.
    pub fn prefetch(&self) -> u64 {
        let ends = match &self.line {
            Text::Short { bytes, .. } => {
                bytes[0] ^ bytes[INLINE_BYTES / 2] ^ bytes[INLINE_BYTES - 1]
            }
            Text::Long(line) => line[0],
        };
        self.number ^ u64::from(ends) ^ u64::from(self.client_bytes)
    }

    pub fn client(&self) -> &[u8] {
        let start = usize::from(self.client_at);
        &self.line.as_bytes()[start..start + usize::from(self.client_bytes)]
    }

    pub fn effective(&self) -> Timestamp {
        Timestamp::new(self.effective_seconds, self.effective_nanos)
    }

    pub fn has_expired(&self, oldest: Timestamp, oldest_erased: Timestamp) -> bool {
        let effective = self.effective();
        effective < oldest || effective < oldest_erased && self.is_tombstone()
    }

    /// Gives back what it holds. Its slot is free, at this place in the list of those.
    pub fn clear(&mut self, place: usize) {
        self.number = 0;
        self.effective_seconds = place as i64;
        self.client_bytes = 0;
        self.client_at = 0;
        self.line = Text::EMPTY;
    }

    /// `None` for a tombstone, and for a line of a snapshot that is no `AT` line.
    pub fn location(&self) -> Option<Location<'_>> {
        parse_at(self.line.as_bytes())
    }

    #[inline]
    pub fn is_tombstone(&self) -> bool {
        is_erased(self.line.as_bytes())
    }

    pub fn stored(&self) -> Stored<'_> {
        Stored {
            number: self.number,
            effective: self.effective(),
            client_at: self.client_at,
            client_bytes: self.client_bytes,
            line: self.line.as_bytes(),
        }
    }

    pub fn change(&self) -> Change<'_> {
        Change {
            number: self.number,
            line: self.line.as_bytes(),
            source: self.source,
        }
    }

    /// How `location`, whose effective time is given, stands to this record. The times decide almost always. At
    /// a tie it is most often the same report once more; if not, the record's line is read again.
    #[inline(always)]
    pub fn recency_of(&self, location: &Location<'_>, effective: Timestamp) -> Ordering {
        let by_time = effective.cmp(&self.effective());
        by_time.then_with(|| match location.line == self.line.as_bytes() {
            true => Ordering::Equal,
            false if self.is_tombstone() => Ordering::Less,
            false => {
                let held = self.location();
                held.map_or(Ordering::Greater, |held| location.recency(&held))
            }
        })
    }

    /// The same of an erasure: it wins over a report with its time.
    pub fn recency_of_erasure(&self, erasure: &Erasure<'_>) -> Ordering {
        let by_time = erasure.time.cmp(&self.effective());
        by_time.then_with(|| {
            let held = parse_erased(self.line.as_bytes());
            held.map_or(Ordering::Greater, |held| erasure.recency(&held))
        })
    }
}

/// The client's name stands after `AT`, the server's name and the difference.
pub fn client_at(location: &Location<'_>) -> usize {
    let after_client = 2 + location.position.text().len() + location.time_text.len();
    location.line.len() - after_client - location.client.len()
}
