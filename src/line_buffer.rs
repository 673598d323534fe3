//! Bytes to lines, bounded, whatever way TCP has chopped them.
//!
//! Each connection has one. What is read lies in a scratch buffer of the reader's; lines that are
//! whole there are given out from there and never copied. Only what has no end yet, or may not be
//! handled yet, is kept here, so a connection that owes no line holds no bytes. Pure.

/// What a line buffer gives out next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A line, without its LF.
    Line(&'a [u8]),
    /// A part of a line that is over the limit, given out as it comes.
    Overlong {
        /// The bytes, without the LF.
        bytes: &'a [u8],
        /// Whether the line begins with them.
        first: bool,
        /// Whether the line ends with them.
        last: bool,
    },
}

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
pub struct LineBuffer {
    /// Kept bytes, of which those before `start` have been given out.
    kept: Vec<u8>,
    start: usize,
    /// No LF lies before this place in `kept`: a line that drips in costs one pass.
    scanned: usize,
    /// Whether we are inside a line that is over the limit.
    overlong: bool,
}

impl LineBuffer {
    /// The next piece of what is kept and of `chunk`, which has just been read.
    ///
    /// Takes from the front of `chunk` what it uses. When it gives `None`, `chunk` is empty, and
    /// what it held is kept for later. `limit` is the most bytes a line may have, LF not counted.
    pub fn next<'a, 'c: 'a>(&'a mut self, chunk: &mut &'c [u8], limit: usize) -> Option<Piece<'a>> {
        if self.start == self.kept.len() {
            self.release();
            return self.next_of_chunk(chunk, limit);
        }
        let rest = &self.kept[self.scanned..];
        let (end, whole) = match memchr::memchr(b'\n', rest) {
            Some(at) => (self.scanned + at, true),
            None => match memchr::memchr(b'\n', chunk) {
                Some(at) => {
                    self.kept.extend_from_slice(&chunk[..=at]);
                    *chunk = &chunk[at + 1..];
                    (self.kept.len() - 1, true)
                }
                None => {
                    self.kept.extend_from_slice(chunk);
                    *chunk = &[];
                    (self.kept.len(), false)
                }
            },
        };
        self.scanned = end + usize::from(whole);
        if !whole && !self.overlong && end - self.start <= limit {
            self.compact();
            return None;
        }
        let bytes = &self.kept[self.start..end];
        self.start = self.scanned;
        Some(piece(&mut self.overlong, bytes, whole, limit))
    }

    /// The same where nothing is kept.
    fn next_of_chunk<'c>(&mut self, chunk: &mut &'c [u8], limit: usize) -> Option<Piece<'c>> {
        let all = *chunk;
        if let Some(at) = memchr::memchr(b'\n', all) {
            *chunk = &all[at + 1..];
            return Some(piece(&mut self.overlong, &all[..at], true, limit));
        }
        *chunk = &[];
        if all.is_empty() {
            return None;
        }
        if self.overlong || all.len() > limit {
            return Some(piece(&mut self.overlong, all, false, limit));
        }
        self.kept = all.to_vec();
        self.scanned = all.len();
        None
    }

    /// The next `count` bytes, whatever they are, of what is kept and of `chunk`, which is kept.
    /// `None` if there are not so many yet.
    pub fn next_bytes(&mut self, chunk: &mut &[u8], count: usize) -> Option<Vec<u8>> {
        self.keep(chunk);
        *chunk = &[];
        let end = self.start + count;
        let bytes = self.kept.get(self.start..end)?.to_vec();
        self.start = end;
        self.scanned = end; // what follows may hold an LF
        Some(bytes)
    }

    /// Keeps `chunk` for later: the next line must wait.
    pub fn keep(&mut self, chunk: &[u8]) {
        // Not each time: where many lines wait and each makes the next wait, a byte is copied
        // once or twice in all.
        if self.start >= self.len() {
            self.compact();
        }
        self.kept.extend_from_slice(chunk);
    }

    /// Frees what has been given out, so that who has said much and owes little holds little.
    fn compact(&mut self) {
        if self.start > 0 {
            self.kept = self.kept[self.start..].to_vec();
            self.scanned -= self.start;
            self.start = 0;
        }
    }

    /// Whether what comes next is the beginning of a line.
    pub fn is_between_lines(&self) -> bool {
        self.is_empty() && !self.overlong
    }

    /// Bytes that are kept.
    pub fn len(&self) -> usize {
        self.kept.len() - self.start
    }

    /// Bytes that are held, those included which have been given out and not freed yet.
    pub fn held(&self) -> usize {
        self.kept.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Frees the memory.
    pub fn release(&mut self) {
        self.kept = Vec::new();
        self.start = 0;
        self.scanned = 0;
    }
}

/// Makes a piece of bytes that end a line or not, and notes whether the line goes on.
fn piece<'a>(overlong: &mut bool, bytes: &'a [u8], whole: bool, limit: usize) -> Piece<'a> {
    let first = !*overlong;
    *overlong = !whole;
    if first && whole && bytes.len() <= limit {
        return Piece::Line(bytes);
    }
    Piece::Overlong {
        bytes,
        first,
        last: whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 8;

    #[test]
    fn bytes_are_counted_between_lines_however_they_come() {
        let text = b"one\na\nb\n\n\ntwo\nrest";
        for chop in 1..=text.len() {
            let (mut buffer, mut got, mut lines) = (LineBuffer::default(), None, Vec::new());
            for mut chunk in text.chunks(chop) {
                loop {
                    if lines.len() == 1 && got.is_none() {
                        got = buffer.next_bytes(&mut chunk, 6);
                        if got.is_none() {
                            break;
                        }
                    }
                    match buffer.next(&mut chunk, LIMIT) {
                        Some(Piece::Line(line)) => lines.push(line.to_vec()),
                        Some(other) => panic!("{other:?}"),
                        None => break,
                    }
                }
            }
            assert_eq!(got.as_deref(), Some(&b"a\nb\n\n\n"[..]), "chunks of {chop}");
            assert_eq!(lines, [&b"one"[..], b"two"], "chunks of {chop}");
            assert_eq!(buffer.len(), 4);
        }
    }

    #[test]
    fn what_was_given_out_is_not_held() {
        let mut buffer = LineBuffer::default();
        let lines = b"1234\n".repeat(1_000);
        buffer.keep(&lines);
        while buffer.len() > 5 {
            assert_eq!(buffer.next(&mut &[][..], LIMIT), Some(Piece::Line(b"1234")));
            buffer.keep(b"");
            assert!(buffer.held() <= 2 * buffer.len(), "{}", buffer.len());
        }
        buffer.keep(&lines);
        buffer.keep(b"56");
        for _ in 0..=1_000 {
            assert_eq!(buffer.next(&mut &[][..], LIMIT), Some(Piece::Line(b"1234")));
        }
        assert_eq!(buffer.next(&mut &b"7"[..], LIMIT), None);
        assert_eq!((buffer.len(), buffer.kept.capacity()), (3, 3));
    }

    /// What came out, overlong lines put together again and marked.
    fn feed(chunks: &[&[u8]], keep_every: usize) -> (Vec<(bool, Vec<u8>)>, usize) {
        let mut buffer = LineBuffer::default();
        let mut lines: Vec<(bool, Vec<u8>)> = Vec::new();
        let mut open = false;
        let mut turn = 0;
        let mut take = |buffer: &mut LineBuffer, mut chunk: &[u8], pause: usize| {
            loop {
                turn += 1;
                if pause > 0 && turn % pause == 0 {
                    buffer.keep(chunk);
                    return;
                }
                match buffer.next(&mut chunk, LIMIT) {
                    None => {
                        assert!(chunk.is_empty());
                        return;
                    }
                    Some(Piece::Line(line)) => {
                        assert!(!open && line.len() <= LIMIT);
                        lines.push((false, line.to_vec()));
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
            take(&mut buffer, chunk, keep_every);
        }
        take(&mut buffer, &[], 0);
        let kept = buffer.len();
        if kept == 0 {
            buffer.release();
            assert_eq!(
                buffer.kept.capacity(),
                0,
                "an idle connection holds no bytes"
            );
        }
        (lines, kept)
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
                    assert_eq!(feed(&chunks, pause), want, "cut at {i} and {j}, {pause}");
                }
            }
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(feed(&bytes, 0), want, "byte by byte");
    }

    #[test]
    fn the_limit_is_exact() {
        for (stream, overlong) in [(&b"12345678\n"[..], false), (b"123456789\n", true)] {
            assert_eq!(
                feed(&[stream], 0).0,
                [(overlong, stream[..stream.len() - 1].to_vec())]
            );
        }
        // The ninth byte settles it, before any LF has come.
        assert_eq!(
            feed(&[b"123456789"], 0),
            (vec![(true, b"123456789".to_vec())], 0)
        );
        assert_eq!(feed(&[b"12345678"], 0), (vec![], 8));
    }

    proptest! {
        #[test]
        fn any_stream_in_any_pieces(
            pieces in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>(), Just(b'a')], 0..20), 0..20),
            pause in 0..5_usize,
        ) {
            let chunks: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(feed(&chunks, if pause == 1 { 0 } else { pause }), model(&pieces.concat()));
        }
    }
}
