//! What other threads tell the loop.

use std::io;
use std::net::SocketAddr;

use crate::journal::disk::Ticket;
use crate::node::effects::LinkId;
use crate::survey;
use crate::twitter::Answer;

/// A letter to the loop.
pub enum Mail {
    /// What a worker has heard from Twitter.
    Answer(Answer),
    /// The process was sent this signal.
    Signal(i32),
    /// Where a neighbour's address leads.
    Resolved(LinkId, io::Result<Vec<SocketAddr>>),
    /// What has come of a job of the journal's disk.
    Done(Ticket, io::Result<()>),
    /// How the other servers are.
    HerdView(Vec<survey::Answer>),
    /// Why the log cannot be written.
    LogFailed(String),
}
