//! A request's body: where it ends, and what it says.
//!
//! `codec` is the only caller. Nothing is copied before the body is whole.

use std::borrow::Cow;
use std::ops::Range;

use httparse::EMPTY_HEADER;

use super::line::Scan;
use super::refusal::Refusal;

/// A longer body is refused with 413.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// A body in chunks is refused with 413 if what is around its chunks is longer than this.
const AROUND_BYTES_MAX: usize = BODY_BYTES_MAX;

/// The line before a chunk has its size and extensions, which mean nothing here. A longer one is refused.
const CHUNK_LINE_BYTES_MAX: usize = 256;

/// The fields behind the last chunk, which mean nothing here, are refused with 431 if they are longer...
const TRAILER_BYTES_MAX: usize = 8 * 1024;

/// ... or more than these.
const TRAILER_FIELDS_MAX: usize = 32;

const TOO_LARGE: Refusal = Refusal::new(413, "The body is too large.");
const BAD_CHUNK: Refusal = Refusal::new(400, "The body is not in chunks as it should be.");
const BAD_TRAILER: Refusal = Refusal::new(431, "The fields behind the body are too large.");

/// How a body comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes, at most [`BODY_BYTES_MAX`].
    Length(usize),
    /// In chunks, the last of which is empty (RFC 9112 section 7.1).
    Chunked,
}

/// How far a body has been looked through.
#[derive(Debug)]
pub enum Body {
    /// It has so many bytes.
    Length(usize),
    /// It comes in chunks.
    Chunked(Chunks),
}

impl Body {
    /// One of which nothing has come yet.
    pub fn new(framing: Framing) -> Body {
        match framing {
            Framing::Length(length) => Body::Length(length),
            Framing::Chunked => Body::Chunked(Chunks::default()),
        }
    }

    /// Looks on for the end of the body with which `bytes` begin. Gives its length, with all that is around it.
    pub fn find_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        match self {
            Body::Length(length) => Ok((*length <= bytes.len()).then_some(*length)),
            Body::Chunked(chunks) => chunks.find_end(bytes, |_| {}),
        }
    }

    /// What it says, when its end has been found in `bytes`.
    pub fn content<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        match self {
            Body::Length(length) => Cow::Borrowed(&bytes[..*length]),
            Body::Chunked(_) => {
                let mut data = Vec::new();
                let end = Chunks::default().find_end(bytes, |chunk| data.push(chunk));
                debug_assert!(end.is_ok_and(|end| end.is_some()), "it was found before");
                let parts = data.into_iter().map(|chunk| &bytes[chunk]);
                Cow::Owned(parts.collect::<Vec<_>>().concat())
            }
        }
    }
}

/// What comes next.
#[derive(Debug, Default)]
enum Next {
    /// The line with a chunk's size.
    #[default]
    Size,
    /// A chunk, whose end is here, and the CRLF behind it.
    Data(usize),
    /// The fields behind the last chunk, which begin here.
    Trailer(usize),
}

/// A body in chunks.
#[derive(Debug, Default)]
pub struct Chunks {
    scan: Scan,
    next: Next,
    /// How many bytes of data there are in all.
    length: usize,
}

impl Chunks {
    /// Tells `found` of each chunk as soon as its size has come.
    fn find_end(
        &mut self,
        bytes: &[u8],
        mut found: impl FnMut(Range<usize>),
    ) -> Result<Option<usize>, Refusal> {
        loop {
            match self.next {
                Next::Size => {
                    let line = self.scan.next(bytes, CHUNK_LINE_BYTES_MAX, BAD_CHUNK)?;
                    let Some(line) = line else { return Ok(None) };
                    let (size, start) = (chunk_size(line)?, self.scan.start);
                    let around = start - self.length;
                    self.length = self.length.saturating_add(size);
                    if self.length > BODY_BYTES_MAX || around > AROUND_BYTES_MAX {
                        return Err(TOO_LARGE);
                    }
                    self.next = match size {
                        0 => Next::Trailer(start),
                        _ => {
                            found(start..start + size);
                            Next::Data(start + size)
                        }
                    };
                }
                Next::Data(end) => match bytes.get(end..).unwrap_or_default() {
                    [b'\r', b'\n', ..] => {
                        self.scan = Scan::at(end + 2);
                        self.next = Next::Size;
                    }
                    [] | [b'\r'] => return Ok(None),
                    _ => return Err(BAD_CHUNK),
                },
                Next::Trailer(start) => {
                    let most = TRAILER_BYTES_MAX.saturating_sub(self.scan.start - start);
                    match self.scan.next(bytes, most, BAD_TRAILER)? {
                        None => return Ok(None),
                        Some(b"") => {
                            check_trailer(&bytes[start..self.scan.start])?;
                            return Ok(Some(self.scan.start));
                        }
                        Some(_) => {}
                    }
                }
            }
        }
    }
}

/// The size of a chunk, in hexadecimal digits and nothing else before the extensions. An extension has no
/// control bytes.
fn chunk_size(line: &[u8]) -> Result<usize, Refusal> {
    let end = line.iter().position(|byte| *byte == b';');
    let (digits, extensions) = line.split_at(end.unwrap_or(line.len()));
    let is_text = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
    if digits.is_empty()
        || !digits.iter().all(u8::is_ascii_hexdigit)
        || !extensions.iter().all(is_text)
    {
        return Err(BAD_CHUNK);
    }
    let number = std::str::from_utf8(digits).ok();
    let number = number.and_then(|digits| usize::from_str_radix(digits, 16).ok());
    number.ok_or(TOO_LARGE)
}

/// Fields behind the body are read as strictly as those of the head, then forgotten.
fn check_trailer(bytes: &[u8]) -> Result<(), Refusal> {
    let mut fields = [EMPTY_HEADER; TRAILER_FIELDS_MAX];
    match httparse::parse_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete((length, _))) if length == bytes.len() => Ok(()),
        Err(httparse::Error::TooManyHeaders) => Err(BAD_TRAILER),
        _ => Err(BAD_CHUNK),
    }
}
