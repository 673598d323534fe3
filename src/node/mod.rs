//! One server of the herd as a state machine: no socket, clock, thread, file or dice of its own.
//!
//! Inputs come in by `handle_*`, each with the turn's `Now`; effects go out to the sink that comes with
//! each (`Effects`): the server's driver carries them out over real sockets, the simulation over
//! virtual ones. That is what lets one seed replay a herd.
//!
//! ```text
//!   client's line --> protocol --> table --accepted--> changefeed
//!                        |           |                  | one cursor a link
//!                        | WHATSAT   | AT               v
//!                    questions     reply            links: the entries after the cursor,
//!                        |                          whenever the link's socket has room
//!                        v
//!                    ask Twitter
//! ```
//!
//! | File | What |
//! |---|---|
//! | `machine` | `Node`: what it owns, how it is set up, what may be asked of it |
//! | `clients`, `servers`, `timeouts` | inputs: from clients, from other servers, of time |
//! | `effects` | the sink for what follows |
//! | `recovery` | what a journal gives back at a start |
//! | `prefetched` | lines that are read and not yet handled |
//! | `command`, `invalid` | what clients say, read; why a line is no command |
//! | `protocol` | what servers say, read and written |
//! | `fields` | white space, and what stands between it |
//! | `location` | a report and an erasure; which of two is the newer |
//! | `table` | the latest location of each client |
//! | `record`, `slots`, `index` | one of them; where each lies; where to find that of a client |
//! | `feed`, `following` | what changed in which order; reading that from any number on |
//! | `loading` | what a start takes into the table |
//! | `expiry`, `evicted` | what is too old; what makes room |
//! | `links`, `peers` | all neighbours; who is at the other end of a connection |
//! | `link`, `session` | one neighbour; a link while it is up |
//! | `hello` | how a link comes up |
//! | `hearing`, `telling` | what neighbours say; what they are told |
//! | `closing` | how connections end; who is a neighbour from now on |
//! | `doubt` | our clock is judged; neighbours are asked for everything again |
//! | `due` | dials, marks and deadlines of links |
//! | `history` | incarnations of the changefeed, and which marks hold |
//! | `clock` | whether our clock is to be trusted |
//! | `questions` | who waits for which answer of Twitter |

pub mod clock;
pub mod command;
pub mod effects;
pub mod fields;
pub mod invalid;
pub mod location;
pub mod prefetched;
pub mod protocol;
pub mod questions;
pub mod recovery;
pub mod table;

mod clients;
mod closing;
mod doubt;
mod due;
#[cfg(test)]
mod erasure_tests;
mod evicted;
#[cfg(test)]
mod eviction_tests;
mod expiry;
mod feed;
mod following;
mod hearing;
mod hello;
mod history;
mod index;
mod link;
mod links;
mod loading;
mod machine;
mod peers;
mod record;
mod servers;
mod session;
mod slots;
mod telling;
mod timeouts;

pub use self::clients::Acknowledged;
pub use self::link::{ASK_AGAIN, DIAL_TIMEOUT, HELLO_TIMEOUT, RETRY_MAX};
pub use self::machine::{Counters, Node, Seeds};
pub use self::session::{HEARTBEAT, LINE_MAX, MARK_EVERY_CHANGES, SILENCE_MAX};
