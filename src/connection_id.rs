//! The names of connections, and of replies that come late: unlike a slab's key or a descriptor, they
//! never return.

/// Names one connection for as long as the process lives.
///
/// A reply that comes home late, addressed to a connection that has gone, must not reach the
/// stranger who got its slot: the slot says where to look, the serial who must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    /// Counts connections from 1, in the order they were made. Never reused.
    pub serial: u64,
    /// The place in its owner's slab. Reused.
    pub slot: usize,
}

/// Names a reply whose place among a connection's replies is kept until it comes, and never another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyId(pub u64);
