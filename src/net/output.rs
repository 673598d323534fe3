//! What a connection has yet to be sent: bytes queued in a turn, written once before sleeping.
//!
//! Each connection has one. Short replies are gathered in one buffer; a long answer that several
//! clients wait for is shared by them, not copied. A reply that comes later has its place reserved: none
//! of it leaves before all of it is there, and what is queued after it stays behind. When all is
//! written no bytes are held. Pure.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::mem;
use std::sync::Arc;

use crate::connection_id::ReplyId;

/// A buffer that holds this much is not added to: bytes are freed a buffer at a time, so one that
/// never empties, because its socket is slow, must not be the only one.
const CHUNK_BYTES: usize = 64 * 1024;

/// Room for so many chunks is kept when all is written: a quarter of what an idle connection
/// may cost, so that a short reply allocates nothing at all.
const CHUNKS_KEPT: usize = 4;

/// One call hands over so many chunks at most.
const SLICES_MAX: usize = 16;

/// An answer that is no longer than this is copied behind its head; a longer one is shared.
const COPIED_BYTES_MAX: usize = 4 * 1024;

/// The most emptied buffers that a pool holds.
const POOL_BUFFERS_MAX: usize = 64;

/// A buffer that has grown beyond this is freed rather than pooled. A buffer never shrinks, and any
/// of them may be whose turn it is when a neighbour is sent much: in the end all would be as large
/// as the largest backlog.
const POOL_BUFFER_BYTES_MAX: usize = 16 * 1024;

/// Emptied buffers for the connections that write next, so that a reply need not allocate.
pub type BufferPool = Vec<Vec<u8>>;

#[derive(Debug)]
enum Chunk {
    Buffer(Vec<u8>),
    Shared(Arc<[u8]>),
    Reserved(Box<Reserved>),
}

/// The place of a reply of which the rest is yet to come.
#[derive(Debug)]
struct Reserved {
    reply: ReplyId,
    head: Vec<u8>,
}

impl Chunk {
    /// Its bytes, if they may leave.
    fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Chunk::Buffer(bytes) => Some(bytes),
            Chunk::Shared(bytes) => Some(bytes),
            Chunk::Reserved(_) => None,
        }
    }
}

/// A queue of bytes to write.
#[derive(Debug, Default)]
pub struct Output {
    chunks: VecDeque<Chunk>,
    /// Bytes at the front that have been written and not been freed.
    written: usize,
    /// Bytes that are here and not yet written.
    pending: usize,
}

/// How far a flush came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// All is written.
    All,
    /// What comes next is not there yet.
    Awaiting,
    /// The socket takes no more for now; the number is what it did take, in bytes.
    Blocked(usize),
}

impl Output {
    /// Bytes that are here and not yet written.
    pub fn len(&self) -> usize {
        self.pending
    }

    /// Whether everything is written, and nothing reserved.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Whether a place is reserved for a reply that comes later.
    pub fn has_reserved(&self) -> bool {
        let is_reserved = |chunk| matches!(chunk, &Chunk::Reserved(_));
        self.chunks.iter().any(is_reserved)
    }

    /// Queues `parts`, one after the other.
    pub fn push(&mut self, parts: &[&[u8]], pool: &mut BufferPool) {
        let fits = |chunk: &Chunk| matches!(chunk, Chunk::Buffer(b) if b.len() < CHUNK_BYTES);
        if !self.chunks.back().is_some_and(fits) {
            // Only the first is soon empty again: what is behind a reserved place may stay, and a short
            // line must not stay in a large buffer.
            let pooled = pool.pop_if(|_| self.chunks.is_empty());
            self.chunks
                .push_back(Chunk::Buffer(pooled.unwrap_or_default()));
        }
        let Some(Chunk::Buffer(buffer)) = self.chunks.back_mut() else {
            unreachable!("one has just been pushed");
        };
        for part in parts {
            buffer.extend_from_slice(part);
            self.pending += part.len();
        }
    }

    /// Forgets all that is queued: nobody will take it.
    pub fn clear(&mut self) {
        *self = Output::default();
    }

    /// Reserves the place of a reply that begins with the parts of `head`; its rest comes later
    /// ([`Output::fill`]). What is queued from now on stays behind it.
    pub fn reserve(&mut self, reply: ReplyId, head: &[&[u8]]) {
        let head = head.concat();
        self.pending += head.len();
        let reserved = Box::new(Reserved { reply, head });
        self.chunks.push_back(Chunk::Reserved(reserved));
    }

    /// Completes the reply whose place was reserved, if one was: what it began with is followed by `head`, by
    /// `body`, which others may wait for too, and by `tail`.
    pub fn fill(&mut self, reply: ReplyId, head: &[u8], body: Arc<[u8]>, tail: &[u8]) {
        let is_its = |chunk: &Chunk| matches!(chunk, Chunk::Reserved(of) if of.reply == reply);
        let Some(at) = self.chunks.iter().position(is_its) else {
            return;
        };
        let Chunk::Reserved(reserved) = &mut self.chunks[at] else {
            unreachable!("it has just been found");
        };
        let mut start = mem::take(&mut reserved.head);
        start.extend_from_slice(head);
        self.pending += head.len() + body.len() + tail.len();
        if body.len() <= COPIED_BYTES_MAX {
            start.extend_from_slice(&body);
            start.extend_from_slice(tail);
            self.chunks[at] = Chunk::Buffer(start);
        } else {
            self.chunks[at] = Chunk::Buffer(start);
            self.chunks.insert(at + 1, Chunk::Shared(body));
            self.chunks.insert(at + 2, Chunk::Buffer(tail.to_vec()));
        }
    }

    /// Writes until all is written, or the socket takes no more, or what comes next is awaited.
    ///
    /// # Errors
    /// Those of `to`, but for `WouldBlock` and `Interrupted`.
    pub fn flush(&mut self, to: &mut impl Write, pool: &mut BufferPool) -> io::Result<Flushed> {
        let before = self.pending;
        loop {
            self.free_written(pool);
            match self.chunks.front() {
                None => break,
                Some(Chunk::Reserved(_)) => return Ok(Flushed::Awaiting),
                Some(Chunk::Buffer(_) | Chunk::Shared(_)) => {}
            }
            match self.write_once(to) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.written += n;
                    self.pending -= n;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    return Ok(Flushed::Blocked(before - self.pending));
                }
                Err(e) => return Err(e),
            }
        }
        if self.chunks.capacity() > CHUNKS_KEPT {
            self.chunks = VecDeque::new();
        }
        Ok(Flushed::All)
    }

    /// Frees the chunks of which all is written.
    fn free_written(&mut self, pool: &mut BufferPool) {
        while let Some(bytes) = self.chunks.front().and_then(Chunk::as_bytes)
            && bytes.len() <= self.written
        {
            self.written -= bytes.len();
            if let Some(Chunk::Buffer(mut buffer)) = self.chunks.pop_front()
                && buffer.capacity() <= POOL_BUFFER_BYTES_MAX
                && pool.len() < POOL_BUFFERS_MAX
            {
                buffer.clear();
                pool.push(buffer);
            }
        }
    }

    /// Hands over what may leave in one call: a reply that lies in several chunks is not torn.
    fn write_once(&self, to: &mut impl Write) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let ready = self.chunks.iter().map_while(Chunk::as_bytes);
        let mut count = 0;
        for (slice, bytes) in slices.iter_mut().zip(ready) {
            let from = if count == 0 { self.written } else { 0 };
            *slice = IoSlice::new(&bytes[from..]);
            count += 1;
        }
        match &slices[..count] {
            [one] => to.write(one),
            several => to.write_vectored(several),
        }
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

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let slices: Vec<&[u8]> = slices.iter().map(|slice| &**slice).collect();
            self.write(&slices.concat())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_socket_that_is_never_done_costs_no_more_than_what_is_pending() {
        let (mut output, mut pool) = (Output::default(), BufferPool::new());
        let line = [b'x'; 80];
        for _ in 0..1_000 {
            while output.len() < 256 * 1024 {
                output.push(&[&line], &mut pool);
            }
            let (taken, room) = (Vec::new(), 50_000);
            let mut narrow = Narrow { taken, room };
            output
                .flush(&mut narrow, &mut pool)
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
    fn buffers_that_have_held_much_are_not_pooled() {
        let mut pool = BufferPool::new();
        let mut outputs: Vec<Output> = (0..2 * POOL_BUFFERS_MAX)
            .map(|_| Output::default())
            .collect();
        let mut wide = io::sink();
        for much in 0..outputs.len() {
            for (number, output) in outputs.iter_mut().enumerate() {
                let lines = if number == much { 400 } else { 100 };
                (0..lines).for_each(|_| output.push(&[&[b'x'; 80]], &mut pool));
            }
            for output in &mut outputs {
                output.flush(&mut wide, &mut pool).expect("it has room");
            }
        }
        assert_eq!(pool.len(), POOL_BUFFERS_MAX, "small ones are pooled");
        let pooled: usize = pool.iter().map(Vec::capacity).sum();
        assert!(
            pooled <= POOL_BUFFERS_MAX * POOL_BUFFER_BYTES_MAX,
            "{pooled} bytes are pooled"
        );
    }

    #[test]
    fn what_stays_behind_a_reserved_place_takes_no_large_buffer() {
        let mut pool = BufferPool::from_iter((0..3).map(|_| Vec::with_capacity(100)));
        let mut output = Output::default();
        output.push(&[b"AT"], &mut pool);
        for reply in 0..10 {
            output.reserve(ReplyId(reply), &[]);
            output.push(&[b"\n"], &mut pool);
        }
        assert_eq!(pool.len(), 2, "the first only takes one");
    }

    /// A socket with room that counts how often it is written to.
    #[derive(Default)]
    struct Counting {
        taken: Vec<u8>,
        calls: usize,
    }

    impl Write for Counting {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.write_vectored(&[IoSlice::new(bytes)])
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let before = self.taken.len();
            slices
                .iter()
                .for_each(|slice| self.taken.extend_from_slice(slice));
            self.calls += 1;
            Ok(self.taken.len() - before)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reply_that_comes_later_leaves_in_one_call_and_not_before() {
        for body_bytes in [0, 1, COPIED_BYTES_MAX, COPIED_BYTES_MAX + 1, 4 << 20] {
            let (mut output, mut pool) = (Output::default(), BufferPool::new());
            let mut socket = Counting::default();
            output.push(&[b"earlier\n"], &mut pool);
            output.reserve(ReplyId(1), &[b"AT", b"\n"]);
            output.push(&[b"later\n"], &mut pool);
            let mut flush = |output: &mut Output| {
                let flushed = output.flush(&mut socket, &mut pool);
                let taken = mem::take(&mut socket.taken);
                let calls = mem::take(&mut socket.calls);
                (flushed.expect("it has room"), taken, calls)
            };
            let want = (Flushed::Awaiting, b"earlier\n".to_vec(), 1);
            assert_eq!(flush(&mut output), want);
            assert_eq!(flush(&mut output), (Flushed::Awaiting, Vec::new(), 0));
            let body: Arc<[u8]> = vec![b'x'; body_bytes].into();
            output.fill(ReplyId(1), b"head\n", Arc::clone(&body), b"\n");
            let want = [b"AT\nhead\n", &*body, b"\nlater\n"].concat();
            assert!(
                flush(&mut output) == (Flushed::All, want, 1),
                "{body_bytes}"
            );
        }
    }

    #[test]
    fn a_long_answer_is_shared() {
        let body: Arc<[u8]> = vec![b'x'; COPIED_BYTES_MAX + 1].into();
        let mut outputs = [(); 3].map(|()| Output::default());
        for output in &mut outputs {
            output.reserve(ReplyId(1), &[b"AT\n"]);
            output.fill(ReplyId(1), b"", Arc::clone(&body), b"\n");
        }
        assert_eq!(Arc::strong_count(&body), 4);
    }

    #[test]
    fn a_chunk_is_as_small_as_a_buffer() {
        assert_eq!(size_of::<Chunk>(), size_of::<Vec<u8>>());
    }

    /// A reply of the model: its bytes, and whose place it is while `body` is not there yet.
    struct Reply {
        awaited: Option<ReplyId>,
        head: Vec<u8>,
        body: Vec<u8>,
    }

    impl Reply {
        /// Its bytes that are there.
        fn bytes(&self) -> Vec<u8> {
            match self.awaited {
                Some(_) => self.head.clone(),
                None => [&self.head[..], &self.body].concat(),
            }
        }
    }

    /// What was queued, in order.
    #[derive(Default)]
    struct Model(Vec<Reply>);

    impl Model {
        /// The bytes that are there, in all.
        fn there(&self) -> usize {
            self.0.iter().map(|reply| reply.bytes().len()).sum()
        }

        /// What may leave.
        fn sendable(&self) -> Vec<u8> {
            let ready = self.0.iter().take_while(|reply| reply.awaited.is_none());
            ready.flat_map(Reply::bytes).collect()
        }

        /// Completes one of the replies that are awaited, if any is.
        fn fill(&mut self, which: usize, output: &mut Output) {
            let replies = self.0.iter_mut();
            let mut awaited: Vec<_> = replies.filter(|reply| reply.awaited.is_some()).collect();
            if let Some(which) = which.checked_rem(awaited.len()) {
                let Reply { awaited, body, .. } = &mut *awaited[which];
                let reply = awaited.take().expect("it is awaited");
                let (start, tail) = body.split_at(body.len() / 2);
                let (head, start) = start.split_at(start.len() / 2);
                output.fill(reply, head, start.into(), tail);
                output.fill(reply, b"", b"once more".as_slice().into(), b"\n"); // nothing awaits that
            }
        }
    }

    proptest! {
        #[test]
        fn bytes_leave_in_order_however_narrow_the_socket_and_whichever_comes_first(
            steps in proptest::collection::vec((0..4_usize, proptest::collection::vec(any::<u8>(), 0..30)), 0..30),
            long in 0..30_usize,
            rooms in proptest::collection::vec(1..40_usize, 1..10),
        ) {
            let (mut output, mut pool) = (Output::default(), BufferPool::new());
            let mut narrow = Narrow { taken: Vec::new(), room: 0 };
            let mut model = Model::default();
            let mut rooms = rooms.into_iter().cycle();
            for (number, (step, bytes)) in steps.into_iter().enumerate() {
                match step {
                    0 => {
                        let reply = ReplyId(number as u64);
                        let (head, body) = bytes.split_at(bytes.len() / 3);
                        let times = if number == long { 1_000 } else { 1 };
                        output.reserve(reply, &[head, b""]);
                        let (head, body) = (head.to_vec(), body.repeat(times));
                        model.0.push(Reply { awaited: Some(reply), head, body });
                    }
                    1 => model.fill(bytes.len(), &mut output),
                    _ => {
                        output.push(&[&bytes[..], b""], &mut pool);
                        model.0.push(Reply { awaited: None, head: bytes, body: Vec::new() });
                    }
                }
                narrow.room = rooms.next().expect("it is a cycle");
                output.flush(&mut narrow, &mut pool).expect("it only blocks");
                prop_assert!(model.sendable().starts_with(&narrow.taken));
                prop_assert_eq!(output.len(), model.there() - narrow.taken.len());
            }
            narrow.room = usize::MAX;
            while model.0.iter().any(|reply| reply.awaited.is_some()) {
                let flushed = output.flush(&mut narrow, &mut pool).expect("it has room");
                prop_assert!(flushed == Flushed::Awaiting && !output.is_empty());
                prop_assert_eq!(&narrow.taken, &model.sendable());
                model.fill(0, &mut output);
            }
            prop_assert_eq!(output.flush(&mut narrow, &mut pool).expect("it has room"), Flushed::All);
            prop_assert_eq!(narrow.taken, model.sendable());
            prop_assert!(output.is_empty() && output.chunks.is_empty());
            prop_assert!(output.chunks.capacity() <= CHUNKS_KEPT);
        }
    }
}
