//! Who is connected: the clients that say most, for `/v1/status`, and all of them at the beginning of a log.
//!
//! `gather` asks for the first, `Server` has the second noted. Links are left out: what they say is a
//! neighbour's share of everything, and the log names the neighbour in each record.

use std::cmp::Reverse;

use super::roles::Role;
use super::shell::Shell;
use crate::log::record::Direction;
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
    let (all, _) = by_rate(shell, BUSIEST);
    let busy = all.iter().filter(|one| one.bytes_per_second > 0);
    let busy = busy.map(|one| Busy {
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
    let room = usize::try_from(bytes / NAMED_BYTES).unwrap_or(usize::MAX);
    let (named, count) = by_rate(shell, room.min(NAMED_MAX));
    for one in &named {
        let label = shell.neighbours.label(one.id, one.role, None);
        let text = format!("connected from {}", one.peer);
        shell.log.record(Direction::Note, label, text.as_bytes());
    }
    if named.len() < count {
        let text = format!("{} more are connected", count - named.len());
        shell.note(&text);
    }
    shell.log.work(shell.now); // it is to be written soon
}

/// So many connections of clients at most, the busiest first; and how many there are.
fn by_rate(shell: &Shell, most: usize) -> (Vec<OpenConnection<Role>>, usize) {
    let open = shell.reactor.open();
    let clients = open.filter(|one| matches!(one.role, Role::Client | Role::Http));
    let mut clients: Vec<_> = clients.collect();
    let count = clients.len();
    let key = |one: &OpenConnection<Role>| (Reverse(one.bytes_per_second), one.id.serial);
    if most < count {
        clients.select_nth_unstable_by_key(most, key); // all of them need not be in order
        clients.truncate(most);
    }
    clients.sort_unstable_by_key(key);
    (clients, count)
}
