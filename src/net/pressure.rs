//! Who is closed when all output or all input is full.
//!
//! `Lifecycle` asks, and closes them. Somebody must pay, and it shall be neither a client that reads its few
//! replies nor one whose lines end. Pure.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::connection::{Connection, Role};
use super::connections::Connections;
use super::timers::Timers;
use crate::connection_id::ConnectionId;

/// The output that may be pending for all connections together; an answer that several are sent counts
/// for each. Over it, connections that have taken nothing for `UNREAD_MAX` are closed; if that is too
/// little, those with the largest backlog, whether they read slowly or much stays behind an answer, ...
pub const OUTPUT_ALL_BYTES_MAX: usize = 256 * 1024 * 1024;

/// ... until only so much is left: the largest backlog is found by looking at all.
const OUTPUT_ALL_BYTES_LEFT: usize = OUTPUT_ALL_BYTES_MAX / 8 * 7;

/// A peer that could have taken some for so long, and did not, does not read.
pub const UNREAD_MAX: Duration = Duration::from_secs(5);

/// What is buffered of the input of all connections together, since a line's end has not come or its
/// turn has not. In memory it may take twice as much, as buffers double. Over it, the connections with
/// the most are closed, ...
pub const INPUT_ALL_BYTES_MAX: usize = 256 * 1024 * 1024;

/// ... until only so much is left: which have the most is found by looking at all.
const INPUT_ALL_BYTES_LEFT: usize = INPUT_ALL_BYTES_MAX / 8 * 7;

/// Who is to be closed, and why.
type Over = Vec<(ConnectionId, String)>;

/// Who makes room where `pending` bytes of output are too many: those that do not read, the longest first,
/// then those with the largest backlog. A peer that takes nothing from now on has its deadline at
/// `stalled_at`.
pub fn most_output<R: Role>(
    connections: &Connections<R>,
    timers: &Timers,
    mut pending: usize,
    stalled_at: Instant,
) -> Over {
    let most = OUTPUT_ALL_BYTES_MAX >> 20;
    let mut over = Over::new();
    let unread = timers
        .iter()
        .filter(|(deadline, _)| *deadline + UNREAD_MAX <= stalled_at);
    let unread = unread.filter_map(|(_, id)| connections.get(id));
    let takes_none = |connection: &&Connection<R>| {
        // The deadlines of others are not those of a peer that does not read.
        connection.has_output() && !connection.handshaking && connection.cut_at.is_none()
    };
    for connection in unread.filter(takes_none) {
        if pending <= OUTPUT_ALL_BYTES_MAX {
            return over;
        }
        let why =
            format!("over {most} MiB of output were pending for all, and it had long taken none");
        pending -= connection.pending();
        over.push((connection.id, why));
    }
    if pending <= OUTPUT_ALL_BYTES_MAX {
        return over;
    }
    let closed: BTreeSet<_> = over.iter().map(|(id, _)| *id).collect();
    let left = connections.iter().filter(|c| !closed.contains(&c.id));
    for (bytes, id) in largest(left, |connection| connection.pending()) {
        if pending <= OUTPUT_ALL_BYTES_LEFT {
            break;
        }
        let why =
            format!("over {most} MiB of output were pending for all, {bytes} bytes of it its own");
        pending -= bytes;
        over.push((id, why));
    }
    over
}

/// Who makes room where `buffered` bytes of input are too many: those of whose input the most is buffered.
pub fn most_input<R: Role>(connections: &Connections<R>, mut buffered: usize) -> Over {
    let most = INPUT_ALL_BYTES_MAX >> 20;
    let mut over = Over::new();
    for (bytes, id) in largest(connections.iter(), |connection| connection.input.held()) {
        if buffered <= INPUT_ALL_BYTES_LEFT {
            break;
        }
        let why = format!(
            "over {most} MiB of unhandled input were buffered, {bytes} bytes of it its own"
        );
        buffered -= bytes;
        over.push((id, why));
    }
    over
}

/// Those of which `bytes` says more than none, the largest first; of equals the last to come first.
fn largest<'a, R: Role + 'a>(
    connections: impl Iterator<Item = &'a Connection<R>>,
    bytes: impl Fn(&Connection<R>) -> usize,
) -> Vec<(usize, ConnectionId)> {
    let counted = connections.map(|connection| (bytes(connection), connection.id));
    let mut counted: Vec<_> = counted.filter(|(bytes, _)| *bytes > 0).collect();
    counted.sort_unstable_by(|one, other| other.cmp(one));
    counted
}
