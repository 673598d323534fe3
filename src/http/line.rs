//! Lines as HTTP has them: CRLF ends them, and neither CR nor LF is anything else.
//!
//! What a scan says depends on the bytes alone, never on how many of them have come: so TCP may chop them as it
//! likes.

use super::refusal::Refusal;

/// How far lines have been looked for: a line that drips in costs one pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scan {
    /// Where the line begins.
    pub start: usize,
    /// Neither CR nor LF lies between.
    scanned: usize,
}

impl Scan {
    /// Lines begin at `start`.
    pub fn at(start: usize) -> Scan {
        Scan {
            start,
            scanned: start,
        }
    }

    /// Whether anything has been looked at.
    pub fn has_begun(&self) -> bool {
        self.scanned > 0
    }

    /// The next line of `bytes`, without its CRLF; `None` if it has no end yet. `too_long` is said of one of
    /// more than `most` bytes.
    pub fn next<'a>(
        &mut self,
        bytes: &'a [u8],
        most: usize,
        too_long: Refusal,
    ) -> Result<Option<&'a [u8]>, Refusal> {
        const BARE: Refusal = Refusal::new(400, "A line ends with CR and LF, nothing else.");
        let end = bytes.len().min(self.start + most + 1);
        let unseen = bytes.get(self.scanned..end).unwrap_or_default();
        let Some(at) = memchr::memchr2(b'\r', b'\n', unseen) else {
            self.scanned = self.scanned.max(end);
            return match end - self.start > most {
                true => Err(too_long),
                false => Ok(None),
            };
        };
        self.scanned += at;
        match bytes[self.scanned..] {
            [b'\r', b'\n', ..] => {
                let line = &bytes[self.start..self.scanned];
                *self = Scan::at(self.scanned + 2);
                Ok(Some(line))
            }
            [b'\r'] => Ok(None),
            _ => Err(BARE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Refusal = Refusal::new(431, "long");

    /// The lines of `bytes`, of which one after the other comes, and how it ends.
    fn drip(bytes: &[u8]) -> (Vec<Vec<u8>>, Option<u16>) {
        let (mut scan, mut lines) = (Scan::default(), Vec::new());
        for end in 0..=bytes.len() {
            loop {
                match scan.next(&bytes[..end], 4, LONG) {
                    Ok(Some(line)) => lines.push(line.to_vec()),
                    Ok(None) => break,
                    Err(refusal) => return (lines, Some(refusal.status)),
                }
            }
        }
        (lines, None)
    }

    #[test]
    fn lines_and_what_is_none() {
        for (bytes, lines, refused) in [
            (&b""[..], vec![], None),
            (b"\r\n\r\nab\r\nc\r", vec![&b""[..], b"", b"ab"], None),
            (b"1234\r\n", vec![b"1234"], None),
            (b"1234\r\n12345", vec![b"1234"], Some(431)),
            (b"12345\n", vec![], Some(431)),
            (b"1234\n", vec![], Some(400)),
            (b"\n", vec![], Some(400)),
            (b"a\r\nb\rc\r\n", vec![b"a"], Some(400)),
            (b"a\r\r\n", vec![], Some(400)),
        ] {
            let (found, status) = drip(bytes);
            assert_eq!(found, lines, "{bytes:?}");
            assert_eq!(status, refused, "{bytes:?}");
        }
    }
}
