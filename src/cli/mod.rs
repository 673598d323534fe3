//! What the command line offers beside servers.
//!
//! `main` is the caller. Nothing here runs in a server's process.

pub mod check;
pub mod erase;
pub mod keygen;
mod record;
pub mod restore;
pub mod status;
mod tokens;
