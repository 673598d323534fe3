//! What the command line offers beside servers.
//!
//! `main` is the caller. Nothing here runs while a server does.

pub mod check;
pub mod erase;
pub mod keygen;
mod record;
pub mod restore;
pub mod status;
mod tokens;
