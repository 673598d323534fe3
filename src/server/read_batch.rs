//! What was read from many connections in a turn, before any of it is handled.
//!
//! `serving` reads first and handles afterwards: so the kernel's code and ours do not push each
//! other out of the processor's caches with every message, and lines can be read ahead in groups
//! of whatever connections. The bytes lie one after the other in one buffer, and no line is copied.

use std::ops::Range;

use super::roles::Role;
use crate::connection_id::ConnectionId;
use crate::net::READ_BYTES_MAX;

/// Room for what is read before any of it is handled: reading goes on until there is too little for
/// one more read.
const BATCH_BYTES: usize = 2 * READ_BYTES_MAX;

/// What was read and is to be handled next.
pub struct ReadBatch {
    bytes: Vec<u8>,
    arrivals: Vec<Arrival>,
}

/// What one connection has said.
struct Arrival {
    id: ConnectionId,
    role: Role,
    range: Range<usize>,
}

/// A line, or what is left where no whole line is.
pub struct Item<'a> {
    /// Who said it.
    pub id: ConnectionId,
    /// What the connection is for.
    pub role: Role,
    /// The line, without LF. `None` for a rest that has no LF, or that begins with a line that is
    /// too long.
    pub line: Option<&'a [u8]>,
    /// What the connection has said from here on, this line included.
    pub rest: &'a [u8],
}

impl ReadBatch {
    /// An empty one.
    pub fn new() -> ReadBatch {
        ReadBatch {
            bytes: vec![0; BATCH_BYTES],
            arrivals: Vec::new(),
        }
    }

    /// Forgets what was read.
    pub fn clear(&mut self) {
        self.arrivals.clear();
    }

    fn used(&self) -> usize {
        self.arrivals.last().map_or(0, |last| last.range.end)
    }

    /// Whether there is room for one more read.
    pub fn has_room(&self) -> bool {
        self.bytes.len() - self.used() >= READ_BYTES_MAX
    }

    /// Where to read to.
    pub fn room(&mut self) -> &mut [u8] {
        let used = self.used();
        &mut self.bytes[used..]
    }

    /// The first `count` bytes of the room.
    pub fn read(&self, count: usize) -> &[u8] {
        &self.bytes[self.used()..][..count]
    }

    /// Takes in what has been read to the room, from `start` to `end` there.
    pub fn push(&mut self, id: ConnectionId, role: Role, start: usize, end: usize) {
        let used = self.used();
        let range = used + start..used + end;
        self.arrivals.push(Arrival { id, role, range });
    }

    /// All lines, in the order in which they came on each connection. `limit` says how long a line
    /// may be.
    pub fn lines(&self, limit: impl Fn(Role) -> usize) -> impl Iterator<Item = Item<'_>> {
        let mut arrivals = self.arrivals.iter();
        let mut present = None;
        let mut left: &[u8] = &[];
        std::iter::from_fn(move || {
            while left.is_empty() {
                let arrival = arrivals.next()?;
                left = &self.bytes[arrival.range.clone()];
                present = Some((arrival.id, arrival.role, limit(arrival.role)));
            }
            let (id, role, most) = present?;
            let rest = left;
            let end = find_lf(rest).filter(|&end| end <= most);
            left = end.map_or(&[], |end| &rest[end + 1..]);
            let line = end.map(|end| &rest[..end]);
            Some(Item {
                id,
                role,
                line,
                rest,
            })
        })
    }
}

/// Where the first LF stands. Most lines are so short that `memchr` costs more to call than to do its work.
#[inline]
fn find_lf(bytes: &[u8]) -> Option<usize> {
    const EACH: u128 = u128::MAX / 255;
    let (chunks, rest) = bytes.as_chunks::<16>();
    for (at, chunk) in (0..).step_by(16).zip(chunks) {
        // Compilers make one comparison of these sixteen.
        if chunk.iter().fold(false, |any, &byte| any | (byte == b'\n')) {
            // The lowest byte that is zero is the lowest that this marks (Anderson, Bit Twiddling Hacks).
            let word = u128::from_le_bytes(*chunk) ^ (EACH * u128::from(b'\n'));
            let zeros = word.wrapping_sub(EACH) & !word & (EACH * 0x80);
            return Some(at + zeros.trailing_zeros() as usize / 8);
        }
    }
    let place = rest.iter().position(|&byte| byte == b'\n');
    place.map(|place| bytes.len() - rest.len() + place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_lf_is_found(bytes in proptest::collection::vec(prop_oneof![8 => any::<u8>(), 1 => Just(b'\n'), 8 => Just(b'\x0b')], 0..80)) {
            prop_assert_eq!(find_lf(&bytes), memchr::memchr(b'\n', &bytes));
        }
    }

    fn limit(role: Role) -> usize {
        match role {
            Role::Client => 4,
            Role::Accepted | Role::Dialled | Role::Http => unreachable!("no such is read"),
        }
    }

    #[test]
    fn lines_come_as_they_were_said_and_what_is_none_comes_last() {
        let mut batch = ReadBatch::new();
        for (slot, said) in [
            (1, &b"one\n\ntwo\r\nta"[..]),
            (2, b"a\nlong!\nb\n"),
            (3, b""),
        ] {
            let serial = slot as u64;
            batch.room()[..said.len()].copy_from_slice(said);
            batch.push(ConnectionId { serial, slot }, Role::Client, 0, said.len());
        }
        let got: Vec<_> = batch
            .lines(limit)
            .map(|item| (item.id.slot, item.line, item.rest))
            .collect();
        let line = |slot, line: &'static str, rest: &'static str| {
            (slot, Some(line.as_bytes()), rest.as_bytes())
        };
        let want = [
            line(1, "one", "one\n\ntwo\r\nta"),
            line(1, "", "\ntwo\r\nta"),
            line(1, "two\r", "two\r\nta"),
            (1, None, &b"ta"[..]),
            line(2, "a", "a\nlong!\nb\n"),
            (2, None, b"long!\nb\n"),
        ];
        assert_eq!(got, want);
        batch.clear();
        assert_eq!(batch.lines(limit).count(), 0);
    }

    #[test]
    fn there_is_room_for_one_more_read_until_there_is_none() {
        let mut batch = ReadBatch::new();
        let id = ConnectionId { serial: 1, slot: 0 };
        for _ in 0..2 {
            assert!(batch.has_room() && batch.room().len() >= READ_BYTES_MAX);
            batch.push(id, Role::Client, 10, READ_BYTES_MAX);
        }
        assert!(!batch.has_room());
    }
}
