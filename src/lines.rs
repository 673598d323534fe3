//! Bytes to lines, bounded, whatever way TCP has chopped them: the codec of clients and links.
//!
//! It holds no bytes, only how far it has looked. Lines that are whole where they were read are given
//! out from there and never copied; what has no end is buffered in an [`Input`]. Pure.

use std::mem;

use crate::input::Input;

/// A line, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<B> {
    /// A line, without its LF.
    Line(B),
    /// A part of a line that is over the limit, given out as it comes.
    Overlong {
        /// The bytes, without the LF.
        bytes: B,
        /// Whether the line begins with them.
        first: bool,
        /// Whether the line ends with them.
        last: bool,
    },
}

impl Piece<&[u8]> {
    /// How many bytes it was in the input, LF included.
    pub fn input_len(&self) -> usize {
        match self {
            Piece::Line(bytes) => bytes.len() + 1,
            Piece::Overlong { bytes, last, .. } => bytes.len() + usize::from(*last),
        }
    }

    /// The same with bytes of its own.
    pub fn to_owned(&self) -> Piece<Vec<u8>> {
        match *self {
            Piece::Line(bytes) => Piece::Line(bytes.to_vec()),
            Piece::Overlong { bytes, first, last } => Piece::Overlong {
                bytes: bytes.to_vec(),
                first,
                last,
            },
        }
    }
}

/// How far a stream of bytes has been cut into lines.
#[derive(Debug, Default)]
pub struct Lines {
    /// No LF lies before this place of the input: a line that drips in costs one pass.
    scanned: u32,
    /// The line that comes next is over the limit, and a part of it has been given out.
    overlong: bool,
}

impl Lines {
    /// The next piece of `input`, which begins where the last piece ended. `None` if there is no whole
    /// line yet: call again when there is more behind it. `limit` is the most bytes a line may
    /// have, LF not counted.
    pub fn next<'a>(&mut self, input: &'a [u8], limit: usize) -> Option<Piece<&'a [u8]>> {
        let scanned = self.scanned as usize;
        let end = memchr::memchr(b'\n', &input[scanned..]).map(|at| scanned + at);
        let bytes = &input[..end.unwrap_or(input.len())];
        let is_over = self.overlong || bytes.len() > limit;
        if end.is_none() && (!is_over || bytes.is_empty()) {
            self.scanned = u32::try_from(bytes.len()).expect("it is within the limit");
            return None;
        }
        self.scanned = 0;
        if !is_over {
            return Some(Piece::Line(bytes));
        }
        let (first, last) = (!self.overlong, end.is_some());
        self.overlong = !last;
        Some(Piece::Overlong { bytes, first, last })
    }

    /// The next piece of what is buffered and of `chunk`, which was read after it. Takes from the front
    /// of `chunk` what it uses; when it gives `None`, `chunk` is empty, and what it held is buffered.
    pub fn next_buffered(
        &mut self,
        input: &mut Input,
        chunk: &mut &[u8],
        limit: usize,
    ) -> Option<Piece<Vec<u8>>> {
        if input.is_empty()
            && let Some(piece) = self.next(chunk, limit)
        {
            *chunk = &chunk[piece.input_len()..];
            return Some(piece.to_owned());
        }
        // No more of it than the line needs: the next ones are cut from where they are.
        let end = memchr::memchr(b'\n', chunk).map_or(chunk.len(), |at| at + 1);
        let (rest_of_line, behind) = chunk.split_at(end);
        input.push(rest_of_line);
        *chunk = behind;
        let Some(piece) = self.next(input.as_bytes(), limit) else {
            input.compact();
            return None;
        };
        let (used, piece) = (piece.input_len(), piece.to_owned());
        input.consume(used);
        Some(piece)
    }

    /// The last piece of a stream that has ended without LF. To be asked when `next_buffered` has given
    /// `None`.
    pub fn end(&mut self, input: &mut Input) -> Option<Piece<Vec<u8>>> {
        let overlong = mem::take(self).overlong;
        let bytes = mem::take(input).as_bytes().to_vec();
        match overlong {
            true => Some(Piece::Overlong {
                bytes,
                first: false,
                last: true,
            }),
            false => (!bytes.is_empty()).then_some(Piece::Line(bytes)),
        }
    }

    /// Whether what comes next is the beginning of a line, where `input` is buffered.
    pub fn is_between_lines(&self, input: &Input) -> bool {
        input.is_empty() && !self.overlong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 8;

    /// What came out, overlong lines put together again and marked, and how much is buffered. Each
    /// `pause_every`th time all that has been read must wait.
    fn cut(chunks: &[&[u8]], pause_every: usize) -> (Vec<(bool, Vec<u8>)>, usize) {
        let (mut codec, mut input) = (Lines::default(), Input::default());
        let mut lines: Vec<(bool, Vec<u8>)> = Vec::new();
        let mut open = false;
        let mut turn = 0;
        let mut take = |input: &mut Input, mut chunk: &[u8], pause: usize| {
            loop {
                turn += 1;
                if pause > 0 && turn % pause == 0 {
                    input.push(chunk);
                    return;
                }
                match codec.next_buffered(input, &mut chunk, LIMIT) {
                    None => {
                        assert!(chunk.is_empty());
                        return;
                    }
                    Some(Piece::Line(line)) => {
                        assert!(!open && line.len() <= LIMIT);
                        lines.push((false, line));
                    }
                    Some(Piece::Overlong { bytes, first, last }) => {
                        assert_eq!(first, !open);
                        if first {
                            lines.push((true, Vec::new()));
                        }
                        lines.last_mut().expect("it began").1.extend(bytes);
                        open = !last;
                    }
                }
            }
        };
        for chunk in chunks {
            take(&mut input, chunk, pause_every);
        }
        take(&mut input, &[], 0);
        assert_eq!(codec.is_between_lines(&input), input.is_empty() && !open);
        assert!(input.held() <= 2 * input.len(), "an idle one holds nothing");
        (lines, input.len())
    }

    /// The same without any buffer: split at LF.
    fn model(stream: &[u8]) -> (Vec<(bool, Vec<u8>)>, usize) {
        let mut parts: Vec<&[u8]> = stream.split(|&byte| byte == b'\n').collect();
        let tail = parts.pop().expect("split gives at least one part");
        let mark = |line: &[u8]| (line.len() > LIMIT, line.to_vec());
        let mut lines: Vec<_> = parts.into_iter().map(mark).collect();
        if tail.len() <= LIMIT {
            return (lines, tail.len());
        }
        lines.push(mark(tail));
        (lines, 0)
    }

    #[test]
    fn every_chop_gives_the_same_lines() {
        let stream = b"one\n\n12345678\r\n12345678\n123456789\n\xff\x00\nabcdefghijkl\nx\ntail";
        let want = model(stream);
        for i in 0..=stream.len() {
            for j in i..=stream.len() {
                let chunks = [&stream[..i], &stream[i..j], &stream[j..]];
                for pause in [0, 2, 3] {
                    assert_eq!(cut(&chunks, pause), want, "cut at {i} and {j}, {pause}");
                }
            }
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(cut(&bytes, 0), want, "byte by byte");
    }

    #[test]
    fn the_limit_is_exact() {
        for (stream, overlong) in [(&b"12345678\n"[..], false), (b"123456789\n", true)] {
            assert_eq!(
                cut(&[stream], 0).0,
                [(overlong, stream[..stream.len() - 1].to_vec())]
            );
        }
        // The ninth byte settles it, before any LF has come.
        assert_eq!(
            cut(&[b"123456789"], 0),
            (vec![(true, b"123456789".to_vec())], 0)
        );
        assert_eq!(cut(&[b"12345678"], 0), (vec![], 8));
    }

    #[test]
    fn a_line_that_drips_in_is_looked_through_once() {
        let mut codec = Lines::default();
        let line = b"1234567\n";
        for end in 1..line.len() {
            assert_eq!(codec.next(&line[..end], LIMIT), None);
            assert_eq!(codec.scanned as usize, end);
        }
        let piece = codec.next(line, LIMIT).expect("it is whole");
        assert_eq!((piece, piece.input_len()), (Piece::Line(&line[..7]), 8));
        assert_eq!(codec.scanned, 0);
    }

    #[test]
    fn the_end_of_the_stream_ends_its_last_line() {
        for tail in [
            &b""[..],
            b"\r",
            b"12345678",
            b"123456789",
            b"1234567890123456789",
        ] {
            for cut in 0..=tail.len() {
                let (mut codec, mut input) = (Lines::default(), Input::default());
                let (mut said, mut ends) = (Vec::new(), 0);
                let mut take = |piece| match piece {
                    None => false,
                    Some(Piece::Line(bytes)) => {
                        said.extend(bytes);
                        ends += 1;
                        true
                    }
                    Some(Piece::Overlong { bytes, last, .. }) => {
                        said.extend(bytes);
                        ends += usize::from(last);
                        true
                    }
                };
                for mut chunk in [&tail[..cut], &tail[cut..]] {
                    while take(codec.next_buffered(&mut input, &mut chunk, LIMIT)) {}
                }
                take(codec.end(&mut input));
                assert!(!take(codec.end(&mut input)), "it has ended once");
                assert!(codec.is_between_lines(&input));
                let want = (tail.to_vec(), usize::from(!tail.is_empty()));
                assert_eq!((said, ends), want, "cut at {cut}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_stream_in_any_pieces(
            pieces in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>(), Just(b'a')], 0..20), 0..20),
            pause in 0..5_usize,
        ) {
            let chunks: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(cut(&chunks, if pause == 1 { 0 } else { pause }), model(&pieces.concat()));
        }
    }
}
