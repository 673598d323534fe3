//! What a server's connections are for.
//!
//! `start` gives the listeners their roles and `driver` the dials; the reactor hands each back with
//! the connection, and knows no meaning of them.

use crate::net::connection::Role;

/// A client's: it came to the client port.
pub const CLIENT: Role = 0;
/// It came to the server port: a neighbour's, or a stranger's.
pub const ACCEPTED: Role = 1;
/// We dialled a neighbour.
pub const DIALLED: Role = 2;
