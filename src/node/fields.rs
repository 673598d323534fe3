//! White space and what stands between it. Pure.
//!
//! `command`, `protocol` and `invalid` cut lines with it. By hand, and some bytes at a time: it is on the
//! path of every message.

/// The white space of the protocol: space, tab, CR, LF, form feed, vertical tab.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// What stands between white space.
struct Fields<'a>(&'a [u8]);

/// The fields of a line.
pub fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    Fields(line)
}

/// A line with one space wherever it has white space between fields, and none around them.
pub fn plainly_spaced(line: &[u8]) -> Vec<u8> {
    fields(line).collect::<Vec<_>>().join(&b' ')
}

impl<'a> Iterator for Fields<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut rest = self.0;
        loop {
            match rest.split_first() {
                None => return None,
                Some((&first, after)) if is_space(first) => rest = after,
                Some(_) => break,
            }
        }
        let (field, rest) = rest.split_at(find_space(rest));
        self.0 = rest;
        Some(field)
    }
}

/// Where the first white space stands, or the length if there is none: eight bytes at a time.
#[inline(always)]
pub fn find_space(bytes: &[u8]) -> usize {
    for (at, word) in (0..).step_by(8).zip(bytes.as_chunks::<8>().0) {
        if let Some(first) = first_below(*word) {
            return find_space_from(bytes, at + first);
        }
    }
    // What is left is the end of the last eight bytes, before which there is no space.
    match bytes.last_chunk::<8>().map(|last| first_below(*last)) {
        None => find_space_from(bytes, 0),
        Some(None) => bytes.len(),
        Some(Some(first)) => find_space_from(bytes, bytes.len() - 8 + first),
    }
}

/// The same, one by one from `at` on, which most often is the place.
fn find_space_from(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && !is_space(bytes[at]) {
        at += 1;
    }
    at
}

/// The first byte below `!`, as all white space is ("has a byte less than n" in Anderson's Bit
/// Twiddling Hacks: the lowest byte that it marks is always a true one).
fn first_below(word: [u8; 8]) -> Option<usize> {
    const EACH: u64 = u64::MAX / 255;
    let word = u64::from_le_bytes(word);
    let below = word.wrapping_sub(EACH * u64::from(b'!')) & !word & (EACH * 0x80);
    (below != 0).then(|| below.trailing_zeros() as usize / 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fields_are_what_stands_between_white_space(line in "([ \t\r\x0b\x0c]{0,3}[!-~\u{80}\x00-\x08\x0e-\x1f]{1,20}){0,6} ?") {
            let fields: Vec<_> = fields(line.as_bytes()).collect();
            let split = line.as_bytes().split(|&byte| is_space(byte));
            let want: Vec<_> = split.filter(|field| !field.is_empty()).collect();
            prop_assert_eq!(fields, want);
        }
    }
}
