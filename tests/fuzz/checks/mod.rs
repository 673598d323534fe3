//! What must hold whatever bytes come in: one check for each way by which bytes come in.
//!
//! Each is a function that takes any bytes and panics at what must not be. The fuzz targets call
//! them, and so does `tests/fuzzed.rs`, over the corpus that the targets have left.

pub mod client_line;
pub mod http_request;
pub mod journal;
pub mod json_line;
pub mod link_line;
pub mod topology;

#[path = "../../journal/disk.rs"]
#[allow(dead_code, reason = "faults are the journal's own tests' matter")]
mod disk;
#[path = "../../support/effects.rs"]
mod effects;
mod model;
