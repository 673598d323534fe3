//! What a connection still owes its peer: bytes queued in a turn, written once before sleeping.
//!
//! Each connection has one. Short replies are gathered in one buffer; a long answer that several
//! clients wait for is shared by them, not copied. When all is written no bytes are held.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;

/// A buffer that holds this much is not added to: bytes are freed a buffer at a time, so one that
/// never empties, because its socket is slow, must not be the only one.
const CHUNK_BYTES: usize = 64 * 1024;

/// Places for so many buffers are kept when all is written: a quarter of what an idle connection
/// may cost, so that a short reply allocates nothing at all.
const CHUNKS_KEPT: usize = 4;

/// The most emptied buffers kept for the next connections that write.
const SPARES_MAX: usize = 64;

/// A buffer that has grown beyond this is freed rather than kept. A buffer never shrinks, and any
/// of them may be whose turn it is when a neighbour is sent much: in the end all would be as large
/// as the largest backlog.
const SPARE_BYTES_MAX: usize = 16 * 1024;

/// Emptied buffers, kept so that a reply need not allocate.
pub type Spares = Vec<Vec<u8>>;

#[derive(Debug)]
enum Chunk {
    Own(Vec<u8>),
    Shared(Arc<[u8]>),
}

impl Chunk {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Chunk::Own(bytes) => bytes,
            Chunk::Shared(bytes) => bytes,
        }
    }
}

/// A queue of bytes to write.
#[derive(Debug, Default)]
pub struct Output {
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that have been written.
    written: usize,
    /// Bytes not yet written.
    owed: usize,
}

/// How far a flush came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing is owed any longer.
    All,
    /// The socket takes no more for now; the number is what it did take, in bytes.
    Blocked(usize),
}

impl Output {
    /// Bytes not yet written.
    pub fn len(&self) -> usize {
        self.owed
    }

    /// Whether everything is written.
    pub fn is_empty(&self) -> bool {
        self.owed == 0
    }

    /// Queues `parts`, one after the other.
    pub fn push(&mut self, parts: &[&[u8]], spares: &mut Spares) {
        let fits = |chunk: &Chunk| matches!(chunk, Chunk::Own(own) if own.len() < CHUNK_BYTES);
        if !self.chunks.back().is_some_and(fits) {
            let buffer = spares.pop().unwrap_or_default();
            self.chunks.push_back(Chunk::Own(buffer));
        }
        let Some(Chunk::Own(buffer)) = self.chunks.back_mut() else {
            unreachable!("one has just been pushed");
        };
        for part in parts {
            buffer.extend_from_slice(part);
            self.owed += part.len();
        }
    }

    /// Forgets what is owed: nobody will take it.
    pub fn clear(&mut self) {
        *self = Output::default();
    }

    /// Queues bytes that others wait for too.
    pub fn push_shared(&mut self, bytes: Arc<[u8]>) {
        self.owed += bytes.len();
        self.chunks.push_back(Chunk::Shared(bytes));
    }

    /// Writes until all is written or the socket takes no more.
    ///
    /// # Errors
    /// Those of `to`, but for `WouldBlock` and `Interrupted`.
    pub fn flush(&mut self, to: &mut impl Write, spares: &mut Spares) -> io::Result<Flushed> {
        let before = self.owed;
        while let Some(chunk) = self.chunks.front() {
            let rest = &chunk.as_bytes()[self.written..];
            if rest.is_empty() {
                self.written = 0;
                if let Some(Chunk::Own(mut buffer)) = self.chunks.pop_front()
                    && buffer.capacity() <= SPARE_BYTES_MAX
                    && spares.len() < SPARES_MAX
                {
                    buffer.clear();
                    spares.push(buffer);
                }
                continue;
            }
            match to.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.written += n;
                    self.owed -= n;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    return Ok(Flushed::Blocked(before - self.owed));
                }
                Err(e) => return Err(e),
            }
        }
        if self.chunks.capacity() > CHUNKS_KEPT {
            self.chunks = VecDeque::new();
        }
        Ok(Flushed::All)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A socket that takes `room` bytes before it blocks.
    struct Narrow {
        taken: Vec<u8>,
        room: usize,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(self.room);
            self.room -= n;
            self.taken.extend_from_slice(&bytes[..n]);
            match n {
                0 => Err(ErrorKind::WouldBlock.into()),
                n => Ok(n),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_socket_that_is_never_done_costs_no_more_than_what_is_owed() {
        let (mut output, mut spares) = (Output::default(), Spares::new());
        let line = [b'x'; 80];
        for _ in 0..1_000 {
            while output.len() < 256 * 1024 {
                output.push(&[&line], &mut spares);
            }
            let (taken, room) = (Vec::new(), 50_000);
            let mut narrow = Narrow { taken, room };
            output
                .flush(&mut narrow, &mut spares)
                .expect("it only blocks");
            let held: usize = output
                .chunks
                .iter()
                .map(|chunk| chunk.as_bytes().len())
                .sum();
            assert!(
                held <= output.len() + CHUNK_BYTES + line.len(),
                "{held} bytes are held"
            );
        }
    }

    #[test]
    fn buffers_that_have_held_much_are_not_kept() {
        let mut spares = Spares::new();
        let mut outputs: Vec<Output> = (0..2 * SPARES_MAX).map(|_| Output::default()).collect();
        let mut wide = io::sink();
        for much in 0..outputs.len() {
            for (number, output) in outputs.iter_mut().enumerate() {
                let lines = if number == much { 400 } else { 100 };
                (0..lines).for_each(|_| output.push(&[&[b'x'; 80]], &mut spares));
            }
            for output in &mut outputs {
                output.flush(&mut wide, &mut spares).expect("it has room");
            }
        }
        assert_eq!(spares.len(), SPARES_MAX, "what is small is kept");
        let kept: usize = spares.iter().map(Vec::capacity).sum();
        assert!(
            kept <= SPARES_MAX * SPARE_BYTES_MAX,
            "{kept} bytes are kept"
        );
    }

    proptest! {
        #[test]
        fn bytes_leave_in_order_however_narrow_the_socket(
            pushes in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..30)), 0..20),
            rooms in proptest::collection::vec(1..40_usize, 1..10),
        ) {
            let (mut output, mut spares) = (Output::default(), Spares::new());
            let mut narrow = Narrow { taken: Vec::new(), room: 0 };
            let mut want = Vec::new();
            let mut rooms = rooms.into_iter().cycle();
            for (shared, bytes) in &pushes {
                want.extend_from_slice(bytes);
                match shared {
                    true => output.push_shared(bytes.as_slice().into()),
                    false => output.push(&[&bytes[..], b""], &mut spares),
                }
                narrow.room = rooms.next().expect("it is a cycle");
                output.flush(&mut narrow, &mut spares).expect("it only blocks");
                prop_assert_eq!(output.len(), want.len() - narrow.taken.len());
            }
            narrow.room = usize::MAX;
            prop_assert_eq!(output.flush(&mut narrow, &mut spares).expect("it has room"), Flushed::All);
            prop_assert_eq!(narrow.taken, want);
            prop_assert!(output.is_empty() && output.chunks.is_empty());
            prop_assert!(output.chunks.capacity() <= CHUNKS_KEPT);
        }
    }
}
