//! An application server herd: servers that tell each other where their clients are, with no
//! database in the way.
//!
//! The program is `herd`; this library is what it is made of, floor by floor. A module uses only
//! the floors below its own.
//!
//! ```text
//! 3  server      where the floors meet: events -> node -> actions   standin   Twitter's double
//! 2  net         the reactor: sockets, one turn after the other
//!    twitter     Twitter asked by worker threads       log, journal the memory
//! 1  node        one server as a state machine: lines, table, feed, links
//! 0  line_buffer, topology, time, connection_id, random
//! ```
//!
//! A turn of a running server, all on one thread:
//!
//! ```text
//!  commit log -> flush -> free, poll -> read lines -> mail -> timeouts -> flood
//!      ^                                   |            |         |         |
//!      +---- records, replies, dials <-----+------------+---------+---------+   (Action)
//! ```

pub mod connection_id;
pub mod journal;
pub mod line_buffer;
pub mod log;
pub mod net;
pub mod node;
pub mod random;
pub mod server;
pub mod standin;
pub mod time;
pub mod topology;
pub mod twitter;
