//! Bytes that were read from a connection and are not handled yet.
//!
//! The reactor has one of each connection; a codec (`lines`) cuts what lies in it. Only what has no
//! end yet, or may not be handled yet, is buffered here, so that an idle connection holds no bytes.
//! Pure.

/// A buffer that is filled at its end and consumed from its front.
#[derive(Debug, Default)]
pub struct Input {
    /// Those before `start` are consumed.
    bytes: Vec<u8>,
    start: usize,
}

impl Input {
    /// What is buffered.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// How many bytes are buffered.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether nothing is buffered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes of memory are in use: consumed bytes count until they are freed.
    pub fn held(&self) -> usize {
        self.bytes.len()
    }

    /// Buffers `bytes` behind the others.
    pub fn push(&mut self, bytes: &[u8]) {
        self.compact();
        self.bytes.extend_from_slice(bytes);
    }

    /// Drops the first `count` bytes, which are handled.
    pub fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.bytes.len(), "they are there");
        if self.is_empty() {
            self.clear();
        }
    }

    /// Drops all, and frees the memory.
    pub fn clear(&mut self) {
        *self = Input::default();
    }

    /// Frees consumed bytes, so that a peer of whom little is buffered costs little. Not each time: where
    /// many lines wait and each makes the next one wait, a byte is copied once or twice in all.
    pub fn compact(&mut self) {
        if self.start > 0 && self.start >= self.len() {
            self.bytes = self.as_bytes().to_vec();
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumed_bytes_are_freed() {
        let mut input = Input::default();
        input.push(&b"1234\n".repeat(1_000));
        while input.len() > 5 {
            input.consume(5);
            input.compact();
            assert!(input.held() <= 2 * input.len() + 5, "{}", input.len());
            assert_eq!(&input.as_bytes()[..5], b"1234\n");
        }
        input.push(b"56");
        input.consume(5);
        input.push(b"7");
        assert_eq!((input.as_bytes(), input.held()), (&b"567"[..], 3));
        input.consume(3);
        assert_eq!(input.bytes.capacity(), 0);
    }
}
