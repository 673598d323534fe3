//! What the command line offers beside servers: `restore` so far.
//!
//! `main` is the caller. Nothing here runs while a server does.

mod record;
pub mod restore;
