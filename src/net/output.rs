//! What a connection still owes its peer: bytes queued in a turn, written once before sleeping.
//!
//! Each connection has one. Short replies are gathered in one buffer; a long answer that several
//! clients wait for is shared by them, not copied. A reply that is not there yet has its place kept,
//! and what is said after it stays behind. When all is written no bytes are held. Pure.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;

use crate::connection_id::ReplyId;

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
    /// The place of bytes that are to come.
    Place(ReplyId),
}

impl Chunk {
    /// Its bytes, if they are there.
    fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Chunk::Own(bytes) => Some(bytes),
            Chunk::Shared(bytes) => Some(bytes),
            Chunk::Place(_) => None,
        }
    }
}

/// A queue of bytes to write.
#[derive(Debug, Default)]
pub struct Output {
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that have been written.
    written: usize,
    /// Bytes that are there and not yet written.
    owed: usize,
}

/// How far a flush came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing is owed any longer.
    All,
    /// What comes next is not there yet.
    Awaiting,
    /// The socket takes no more for now; the number is what it did take, in bytes.
    Blocked(usize),
}

impl Output {
    /// Bytes that are there and not yet written.
    pub fn len(&self) -> usize {
        self.owed
    }

    /// Whether everything is written, and no place is kept.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Whether a place is kept for bytes that are to come.
    pub fn awaits(&self) -> bool {
        let is_place = |chunk| matches!(chunk, &Chunk::Place(_));
        self.chunks.iter().any(is_place)
    }

    /// Queues `parts`, one after the other.
    pub fn push(&mut self, parts: &[&[u8]], spares: &mut Spares) {
        let fits = |chunk: &Chunk| matches!(chunk, Chunk::Own(own) if own.len() < CHUNK_BYTES);
        if !self.chunks.back().is_some_and(fits) {
            // Only the first is soon empty again: what is behind a place may stay, and a short line must
            // not stay in a large buffer.
            let spare = spares.pop_if(|_| self.chunks.is_empty());
            self.chunks.push_back(Chunk::Own(spare.unwrap_or_default()));
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

    /// Keeps a place for bytes that come later ([`Output::fill`]): what is queued from now on
    /// stays behind them.
    pub fn reserve(&mut self, reply: ReplyId) {
        self.chunks.push_back(Chunk::Place(reply));
    }

    /// Puts `bytes`, for which others may wait too, in the place that was kept for them, if one was.
    pub fn fill(&mut self, reply: ReplyId, bytes: Arc<[u8]>) {
        let is_its = |chunk: &&mut Chunk| matches!(chunk, Chunk::Place(id) if *id == reply);
        if let Some(place) = self.chunks.iter_mut().find(is_its) {
            self.owed += bytes.len();
            *place = Chunk::Shared(bytes);
        }
    }

    /// Writes until all is written, or the socket takes no more, or what comes next is awaited.
    ///
    /// # Errors
    /// Those of `to`, but for `WouldBlock` and `Interrupted`.
    pub fn flush(&mut self, to: &mut impl Write, spares: &mut Spares) -> io::Result<Flushed> {
        let before = self.owed;
        while let Some(chunk) = self.chunks.front() {
            let Some(bytes) = chunk.as_bytes() else {
                return Ok(Flushed::Awaiting);
            };
            let rest = &bytes[self.written..];
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
                .map(|chunk| chunk.as_bytes().map_or(0, <[u8]>::len))
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

    #[test]
    fn what_stays_behind_a_place_takes_no_large_buffer() {
        let mut spares = Spares::from_iter((0..3).map(|_| Vec::with_capacity(100)));
        let mut output = Output::default();
        output.push(&[b"AT"], &mut spares);
        for reply in 0..10 {
            output.reserve(ReplyId(reply));
            output.push(&[b"\n"], &mut spares);
        }
        assert_eq!(spares.len(), 2, "the first only takes one");
    }

    /// What was queued, in order: the bytes, and whose place it is where they are not there yet.
    #[derive(Default)]
    struct Model(Vec<(Option<ReplyId>, Vec<u8>)>);

    impl Model {
        /// The bytes that are there, in all.
        fn there(&self) -> usize {
            let there = self.0.iter().filter(|(awaited, _)| awaited.is_none());
            there.map(|(_, bytes)| bytes.len()).sum()
        }

        /// What may leave.
        fn sendable(&self) -> Vec<u8> {
            let ready = self.0.iter().take_while(|(awaited, _)| awaited.is_none());
            ready.flat_map(|(_, bytes)| bytes.clone()).collect()
        }

        /// Fills one of the places that are kept, if any is.
        fn fill(&mut self, which: usize, output: &mut Output) {
            let mut kept: Vec<_> = self.0.iter_mut().filter(|(id, _)| id.is_some()).collect();
            if let Some(which) = which.checked_rem(kept.len()) {
                let (place, bytes) = &mut kept[which];
                let reply = place.take().expect("it is kept");
                output.fill(reply, bytes.as_slice().into());
                output.fill(reply, b"once more".as_slice().into()); // nothing awaits that
            }
        }
    }

    proptest! {
        #[test]
        fn bytes_leave_in_order_however_narrow_the_socket_and_whichever_comes_first(
            steps in proptest::collection::vec((0..4_usize, proptest::collection::vec(any::<u8>(), 0..30)), 0..30),
            rooms in proptest::collection::vec(1..40_usize, 1..10),
        ) {
            let (mut output, mut spares) = (Output::default(), Spares::new());
            let mut narrow = Narrow { taken: Vec::new(), room: 0 };
            let mut model = Model::default();
            let mut rooms = rooms.into_iter().cycle();
            for (number, (step, bytes)) in steps.into_iter().enumerate() {
                match step {
                    0 => {
                        let reply = ReplyId(number as u64);
                        output.reserve(reply);
                        model.0.push((Some(reply), bytes));
                    }
                    1 => model.fill(bytes.len(), &mut output),
                    _ => {
                        output.push(&[&bytes[..], b""], &mut spares);
                        model.0.push((None, bytes));
                    }
                }
                narrow.room = rooms.next().expect("it is a cycle");
                output.flush(&mut narrow, &mut spares).expect("it only blocks");
                prop_assert!(model.sendable().starts_with(&narrow.taken));
                prop_assert_eq!(output.len(), model.there() - narrow.taken.len());
            }
            narrow.room = usize::MAX;
            while model.0.iter().any(|(awaited, _)| awaited.is_some()) {
                let flushed = output.flush(&mut narrow, &mut spares).expect("it has room");
                prop_assert!(flushed == Flushed::Awaiting && !output.is_empty());
                prop_assert_eq!(&narrow.taken, &model.sendable());
                model.fill(0, &mut output);
            }
            prop_assert_eq!(output.flush(&mut narrow, &mut spares).expect("it has room"), Flushed::All);
            prop_assert_eq!(narrow.taken, model.sendable());
            prop_assert!(output.is_empty() && output.chunks.is_empty());
            prop_assert!(output.chunks.capacity() <= CHUNKS_KEPT);
        }
    }
}
