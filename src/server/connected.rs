//! Who is connected: the clients that say most, for `/v1/status`, and all of them at the beginning of a log.
//!
//! `gather` asks for the first, `Server` has the second noted. Links are left out: what they say is a
//! neighbour's share of everything, and the log names the neighbour in each record.

use std::cmp::Reverse;

use super::roles::Role;
use super::shell::Shell;
use crate::log::record::{Direction, Label};
use crate::net::connection::OpenConnection;
use crate::web::status::Busy;

/// So many of the busiest are named.
const BUSIEST: usize = 5;

/// So many are named at the beginning of a log ...
const NAMED_MAX: usize = 1_000;

/// ... but no more than it has room for, with so many bytes for each.
const NAMED_BYTES: u64 = 128;

/// The clients' connections that have said most of late; none that has said nothing.
pub fn busiest(shell: &Shell) -> Vec<Busy> {
    let mut all = by_rate(shell);
    all.retain(|one| one.bytes_per_second > 0);
    all.truncate(BUSIEST);
    let busy = all.iter().map(|one| Busy {
        connection: shell.neighbours.label(one.id, one.role, None).to_string(),
        peer: one.peer.to_string(),
        bytes_per_second: u64::from(one.bytes_per_second),
    });
    busy.collect()
}

/// Notes in a log that has been begun which clients are connected, so that it alone says whose lines it has.
pub fn note_in_new_log(shell: &mut Shell) {
    let Some(bytes) = shell.log.poll_begun() else {
        return;
    };
    let all = by_rate(shell);
    let most = usize::try_from(bytes / NAMED_BYTES).unwrap_or(usize::MAX);
    let named = &all[..all.len().min(most).min(NAMED_MAX)];
    for one in named {
        let label = shell.neighbours.label(one.id, one.role, None);
        let text = format!("connected from {}", one.peer);
        shell.log.record(Direction::Note, label, text.as_bytes());
    }
    if named.len() < all.len() {
        let text = format!("{} more are connected", all.len() - named.len());
        shell
            .log
            .record(Direction::Note, Label::None, text.as_bytes());
    }
    shell.log.work(shell.now); // it is to be written soon
}

/// All connections of clients, the busiest first.
fn by_rate(shell: &Shell) -> Vec<OpenConnection<Role>> {
    let open = shell.reactor.open();
    let mut clients: Vec<_> = open
        .filter(|one| matches!(one.role, Role::Client | Role::Http))
        .collect();
    clients.sort_by_key(|one| (Reverse(one.bytes_per_second), one.id.serial));
    clients
}
