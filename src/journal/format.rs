//! The format of the journal's files, byte by byte: names, preamble, batches, entries. Each is read and
//! written side by side; docs/JOURNAL.md describes it.
//!
//! Pure. Numbers are little endian. What is read may be anything: no length is believed before it is
//! checked, and what cannot be is `None`.

use crc32c::crc32c;

use crate::time::Timestamp;

/// The latest version of the format. All up to it are read.
pub const VERSION: u32 = 2;

/// The version of a file that has no tombstone when it is begun: a program of before there were any reads it.
pub const VERSION_WITHOUT_TOMBSTONES: u32 = 1;

const MAGIC: [u8; 8] = *b"herd-jnl";

/// Every file begins with the magic, the version and a checksum of both: so it is in all versions.
pub const PREAMBLE_BYTES: usize = 16;

/// The header of a batch: the checksum of the rest of it, the length and the checksum of the body, the
/// chain, the first number, the time.
pub const HEADER_BYTES: usize = 36;

/// A batch that has grown longer than this many bytes is written at once, ...
const BATCH_BYTES_MAX: usize = 256 * 1024;

/// ... so with a last entry of the longest line no body is longer than this.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The most numbers that an entry has.
const NUMBERS_MAX: usize = 5;

/// Begins each file: its sequence number, how many locations its snapshot will have, about; the server's
/// name.
pub const HEAD: u8 = b'h';
/// In a snapshot: the number of a location or tombstone less that before it, its effective time, where the
/// client's name begins in the line and how long it is; the line.
pub const LOCATION: u8 = b'l';
/// Ends a snapshot: the number that the feed has come to, how many locations and tombstones there were.
pub const END: u8 = b'e';
/// A change, the next of the feed: its line.
pub const CHANGE: u8 = b'c';
/// What this server has of a neighbour's changefeed: the mark's incarnation, 0 if there is none, and its
/// number; the neighbour's name.
pub const KNOWN: u8 = b'k';
/// The highest mark that a neighbour is sent: the number; its name.
pub const MARKED: u8 = b'm';
/// An incarnation begins: which, the number that the feed has come to, after how many nanoseconds records
/// expire, or 0; which minor version of the link protocol it speaks, in digits, if that has `ERASED`. In a
/// snapshot also those before, the oldest first.
pub const BEGAN: u8 = b'b';

/// How many numbers an entry of this kind has.
fn numbers_of(kind: u8) -> Option<usize> {
    Some(match kind {
        CHANGE => 0,
        MARKED => 1,
        HEAD | END | KNOWN => 2,
        BEGAN => 3,
        LOCATION => 5,
        _ => return None,
    })
}

/// The preamble of a version.
pub fn preamble(version: u32) -> [u8; PREAMBLE_BYTES] {
    let mut preamble = [0; PREAMBLE_BYTES];
    preamble[..8].copy_from_slice(&MAGIC);
    preamble[8..12].copy_from_slice(&version.to_le_bytes());
    let crc = crc32c(&preamble[..12]);
    preamble[12..].copy_from_slice(&crc.to_le_bytes());
    preamble
}

/// The version of the format that a preamble tells of, if it is one.
pub fn version(preamble: &[u8; PREAMBLE_BYTES]) -> Option<u32> {
    let is_whole = u32_at(preamble, 12) == crc32c(&preamble[..12]);
    (is_whole && preamble.starts_with(&MAGIC)).then(|| u32_at(preamble, 8))
}

/// The name of a file: `journal-000000000000002a`.
pub fn name(sequence: u64) -> String {
    format!("journal-{sequence:016x}")
}

/// Reads a name, and gives what follows it: a file that is in use has no such ending.
pub fn parse_name(text: &str) -> Option<(u64, &str)> {
    let (digits, ending) = text.strip_prefix("journal-")?.split_at_checked(16)?;
    let sequence = u64::from_str_radix(digits, 16).ok()?;
    let is_ours = sequence < u64::MAX / 2 && text.starts_with(&name(sequence));
    is_ours.then_some((sequence, ending))
}

/// The header of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The checksum of the rest of the header, and so of the body: what the next batch follows.
    pub crc: u32,
    /// The length of the body in bytes.
    pub body_bytes: usize,
    body_crc: u32,
    /// The checksum of the header before.
    pub chain: u32,
    /// The number after the last that was told before the batch.
    pub first: u64,
    /// When the turn was.
    pub time: Timestamp,
}

impl Header {
    /// Reads a header. `None` if it is damaged.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Option<Header> {
        let header = Header {
            crc: u32_at(bytes, 0),
            body_bytes: u32_at(bytes, 4) as usize,
            body_crc: u32_at(bytes, 8),
            chain: u32_at(bytes, 12),
            first: u64_at(bytes, 16),
            time: timestamp(u64_at(bytes, 24), u32_at(bytes, 32).into())?,
        };
        let is_whole = header.crc == crc32c(&bytes[4..]);
        (is_whole && header.body_bytes <= BODY_BYTES_MAX).then_some(header)
    }

    /// Whether this is the body.
    pub fn is_of(&self, body: &[u8]) -> bool {
        crc32c(body) == self.body_crc
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes[at..].first_chunk();
    u32::from_le_bytes(*bytes.expect("the places of fields are in the header"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// A time, if it is one that can be reckoned with. Seconds before 1970 are those of an `i64`.
pub fn timestamp(seconds: u64, nanos: u64) -> Option<Timestamp> {
    let seconds = seconds as i64;
    let is_one = nanos < 1_000_000_000 && seconds.unsigned_abs() < 1 << 60;
    is_one.then(|| Timestamp::new(seconds, nanos as u32))
}

/// A batch being composed: room for the header, then entries.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    /// The number after the last that was told before it.
    first: u64,
}

impl Batch {
    /// One that has no entry, where the feed has come to `end`.
    pub fn new(end: u64) -> Batch {
        let (bytes, first) = (vec![0; HEADER_BYTES], end + 1);
        Batch { bytes, first }
    }

    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == HEADER_BYTES
    }

    /// Whether it is to be written before any more is added.
    pub fn is_full(&self) -> bool {
        self.bytes.len() > BATCH_BYTES_MAX
    }

    /// How many bytes it has.
    pub fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Drops all entries, and the memory that they needed if that was much: the feed has come to `end`.
    pub fn clear(&mut self, end: u64) {
        self.bytes.truncate(HEADER_BYTES);
        self.bytes.shrink_to(2 * BATCH_BYTES_MAX);
        self.first = end + 1;
    }

    /// Adds an entry.
    #[inline]
    pub fn add<const N: usize>(&mut self, kind: u8, numbers: [u64; N], text: &[u8]) {
        debug_assert_eq!(numbers_of(kind), Some(N));
        self.bytes.push(kind);
        for number in numbers.into_iter().chain([text.len() as u64]) {
            self.add_varint(number);
        }
        self.bytes.extend_from_slice(text);
    }

    fn add_varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    /// Writes the header. Gives the batch as it is to be written, and its checksum, which the next
    /// batch follows.
    pub fn seal(&mut self, chain: u32, time: Timestamp) -> (&[u8], u32) {
        let (header, body) = self.bytes.split_at_mut(HEADER_BYTES);
        header[4..8].copy_from_slice(&(body.len() as u32).to_le_bytes());
        header[8..12].copy_from_slice(&crc32c(body).to_le_bytes());
        header[12..16].copy_from_slice(&chain.to_le_bytes());
        header[16..24].copy_from_slice(&self.first.to_le_bytes());
        header[24..32].copy_from_slice(&time.seconds().to_le_bytes());
        header[32..36].copy_from_slice(&time.nanos().to_le_bytes());
        let crc = crc32c(&header[4..]);
        header[..4].copy_from_slice(&crc.to_le_bytes());
        (&self.bytes, crc)
    }
}

/// An entry of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What it is.
    pub kind: u8,
    /// Its numbers, then zeros.
    pub numbers: [u64; NUMBERS_MAX],
    /// Its text.
    pub text: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Takes the next entry from the front of a body. `None` if there is none.
    #[inline]
    pub fn take(body: &mut &'a [u8]) -> Option<Entry<'a>> {
        let kind = *body.split_off_first()?;
        let mut numbers = [0; NUMBERS_MAX];
        for number in &mut numbers[..numbers_of(kind)?] {
            *number = take_varint(body)?;
        }
        let text_bytes = usize::try_from(take_varint(body)?).ok()?;
        let text = body.split_off(..text_bytes)?;
        Some(Entry {
            kind,
            numbers,
            text,
        })
    }
}

#[inline]
fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = *rest.split_off_first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (text, want) in [
            ("journal-000000000000002a", Some((42, ""))),
            ("journal-000000000000002a.new", Some((42, ".new"))),
            ("journal-000000000000002A", None),
            ("journal-00000000000002a", None),
            ("journal-+00000000000002a", None),
            ("journal-ffffffffffffffff", None), // there would be no next number
            ("lock", None),
        ] {
            assert_eq!(parse_name(text), want, "{text}");
        }
        assert_eq!(name(42), "journal-000000000000002a");
    }

    #[test]
    fn a_header_is_right_in_every_bit() {
        let mut batch = Batch::new(6);
        batch.add(MARKED, [7], b"Bryant");
        let time = Timestamp::new(-1, 999_999_999);
        let (bytes, crc) = batch.seal(0xabcd, time);
        let (header, body) = bytes
            .split_first_chunk::<HEADER_BYTES>()
            .expect("it is long");
        let read = Header::parse(header).expect("it is whole");
        assert_eq!(
            (read.crc, read.chain, read.first, read.time),
            (crc, 0xabcd, 7, time)
        );
        assert_eq!(read.body_bytes, body.len());
        assert!(read.is_of(body) && !read.is_of(&body[1..]));
        for bit in 0..8 * HEADER_BYTES {
            let mut flipped = *header;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::parse(&flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn what_is_no_entry_is_none() {
        for body in [
            &b""[..],
            b"?",
            b"c",
            b"c\x02a",
            b"m\x80",
            b"c\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"m\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00",
        ] {
            assert_eq!(Entry::take(&mut &body[..]), None, "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn entries_are_read_as_they_are_written(
            numbers in any::<[u64; 5]>(),
            shift in 0..64_u32,
            text in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let numbers = numbers.map(|number| number >> shift);
            let mut batch = Batch::new(0);
            batch.add(CHANGE, [], &text);
            batch.add(LOCATION, numbers, &text);
            let body = batch.seal(0, Timestamp::new(0, 0)).0[HEADER_BYTES..].to_vec();
            let mut rest = &body[..];
            for (kind, numbers) in [(CHANGE, [0; 5]), (LOCATION, numbers)] {
                let want = Entry { kind, numbers, text: &text };
                prop_assert_eq!(Entry::take(&mut rest), Some(want));
            }
            prop_assert!(rest.is_empty());
            for end in 0..body.len() {
                let mut rest = &body[..end];
                while let Some(entry) = Entry::take(&mut rest) {
                    prop_assert_eq!(entry.text, &text);
                }
            }
        }
    }
}
