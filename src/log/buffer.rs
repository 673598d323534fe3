//! The memory in which records are composed and in which they go to the thread that writes them. Pure.
//!
//! `Log` fills one while `Writer` writes others; they are used again and again. Two records for each
//! message are made here, so a record costs no allocation and no call but one.

use super::record::{ELLIPSIS, HEADER_BYTES_MAX, is_plain, write_escaped};
use crate::node::protocol::LINK_LINE_BYTES_MAX;

/// Lines longer than this are not logged whole, but for `AT` lines: those can be restored.
const WHOLE_BYTES_MAX: usize = 64 * 1024;

/// So much of a longer line is logged.
const BEGINNING_BYTES: usize = 1024;

/// The longest record there can be: every byte of the longest `AT` line escaped.
pub const RECORD_BYTES_MAX: usize = HEADER_BYTES_MAX + 4 * LINK_LINE_BYTES_MAX + 64;
const _: () = assert!(WHOLE_BYTES_MAX <= LINK_LINE_BYTES_MAX);

/// A buffer that holds so much is handed to the writer.
pub const GATHER_BYTES: usize = 64 * 1024;

/// Text is copied in words of so many bytes, which is what the processor moves at once.
const WORD_BYTES: usize = 16;

/// Most headers are no longer than this.
const SHORT_HEADER_BYTES: usize = 48;

/// Records one after the other. Until it [`is_full`](Buffer::is_full) there is room for any record.
#[derive(Debug)]
pub struct Buffer {
    bytes: Box<[u8]>,
    used: usize,
}

impl Buffer {
    /// An empty one. The system gives it memory as it is filled.
    pub fn new() -> Buffer {
        Buffer {
            bytes: vec![0; GATHER_BYTES + RECORD_BYTES_MAX].into_boxed_slice(),
            used: 0,
        }
    }

    /// The records.
    pub fn records(&self) -> &[u8] {
        &self.bytes[..self.used]
    }

    /// How many bytes they have.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether it should be handed to the writer.
    pub fn is_full(&self) -> bool {
        self.used >= GATHER_BYTES
    }

    /// Forgets the records.
    pub fn clear(&mut self) {
        self.used = 0;
    }

    /// Begins a record with the first `len` bytes of `header`.
    #[inline]
    pub fn begin(&mut self, header: &[u8; HEADER_BYTES_MAX], len: usize) {
        let room = &mut self.bytes[self.used..][..HEADER_BYTES_MAX];
        // What is copied beyond `len` the text overwrites.
        if len <= SHORT_HEADER_BYTES {
            room[..SHORT_HEADER_BYTES].copy_from_slice(&header[..SHORT_HEADER_BYTES]);
        } else {
            room.copy_from_slice(header);
        }
        self.used += len;
    }

    /// Ends the record with `line`: whole, or its beginning and its length. Says whether the line is
    /// plain. One that the caller knows to be plain is not checked.
    #[inline]
    pub fn end(&mut self, line: &[u8], is_known_plain: bool) -> bool {
        if line.len() > WHOLE_BYTES_MAX {
            self.end_long(line);
            return false;
        }
        debug_assert!(!is_known_plain || line.iter().all(|&byte| is_plain(byte)));
        let room = &mut self.bytes[self.used..][..line.len() + 1];
        room[line.len()] = b'\n';
        let is_plain = copy(&mut room[..line.len()], line, is_known_plain);
        if is_plain {
            self.used += line.len() + 1;
        } else {
            self.push_escaped(line);
            self.push(b"\n");
        }
        is_plain
    }

    #[cold]
    fn end_long(&mut self, line: &[u8]) {
        if line.starts_with(b"AT ") && line.len() <= LINK_LINE_BYTES_MAX {
            self.push_escaped(line);
            self.push(b"\n");
        } else {
            self.push_beginning(line);
            self.end_with_length(line.len() as u64);
        }
    }

    /// Ends the record with the beginning of a line.
    pub fn end_with_beginning(&mut self, beginning: &[u8]) {
        self.push_beginning(beginning);
        self.push(ELLIPSIS);
        self.push(b"\n");
    }

    /// Ends the record with what stands for the rest of a line of `bytes` bytes.
    pub fn end_with_length(&mut self, bytes: u64) {
        self.push(ELLIPSIS);
        self.push(format!(" {bytes} bytes\n").as_bytes());
    }

    fn push_beginning(&mut self, line: &[u8]) {
        self.push_escaped(&line[..line.len().min(BEGINNING_BYTES)]);
    }

    #[cold]
    fn push_escaped(&mut self, bytes: &[u8]) {
        self.used += write_escaped(&mut self.bytes[self.used..], bytes);
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.used..][..bytes.len()].copy_from_slice(bytes);
        self.used += bytes.len();
    }
}

/// Copies `text` to `room`, which is as long, and says whether it is plain: in words and without an
/// early exit, so that the compiler does both with vectors; the last word overlaps with that before.
#[inline]
fn copy(room: &mut [u8], text: &[u8], is_known_plain: bool) -> bool {
    let Some(last) = text.last_chunk::<WORD_BYTES>() else {
        room.copy_from_slice(text);
        return is_known_plain || text.iter().all(|&byte| is_plain(byte));
    };
    if is_known_plain {
        room.copy_from_slice(text);
        return true;
    }
    let mut strange = [false; WORD_BYTES];
    let mut check = |word: &[u8; WORD_BYTES]| {
        for (strange, &byte) in strange.iter_mut().zip(word) {
            *strange |= !is_plain(byte);
        }
    };
    let (words, _) = text.as_chunks::<WORD_BYTES>();
    let (rooms, _) = room.as_chunks_mut::<WORD_BYTES>();
    for (room, word) in rooms.iter_mut().zip(words) {
        *room = *word;
        check(word);
    }
    check(last);
    if let Some(room) = room.last_chunk_mut() {
        *room = *last;
    }
    strange == [false; WORD_BYTES]
}
