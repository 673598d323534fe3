//! An application server herd: servers that tell each other where their clients are, with no
//! database in the way.
//!
//! The program is `herd`; this library is what it is made of, floor by floor. A module uses only
//! the floors below its own.
//!
//! ```text
//! 5  arguments   what the command line may say
//! 4  server      where the floors meet: the turn            standin   Twitter's stand-in
//!    cli         what is no server: restore, status, erase, check, keygen
//! 3  journal     the memory, on the disk                    log       the text for people
//!    net         the reactor: sockets, one turn after the other
//!    twitter     Twitter asked by worker threads           web       what HTTP offers
//!    survey      all servers asked how they are
//! 2  node        one server as a state machine: lines, table, changefeed, links
//! 1  lines       bytes to lines                             http      HTTP/1.1 messages
//!    keys        who speaks TLS, and with which key
//! 0  input, topology, time, connection_id, random, private_file
//! -1 cause       why the system failed, in words
//! ```
//!
//! A turn of a running server, all on one thread:
//!
//! ```text
//!  commit journal -> flush -> free, poll -> read lines -> mail -> timeouts -> flood
//!      ^                                        |            |         |         |
//!      +---- changes, replies, dials <----------+------------+---------+---------+   (Effects)
//! ```

pub mod arguments;
pub mod cause;
pub mod cli;
pub mod connection_id;
pub mod http;
pub mod input;
pub mod journal;
pub mod keys;
pub mod lines;
pub mod log;
pub mod net;
pub mod node;
pub mod private_file;
pub mod random;
pub mod server;
pub mod standin;
pub mod survey;
pub mod time;
pub mod topology;
pub mod twitter;
pub mod web;
