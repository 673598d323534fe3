//! What connections say: read from all that are ready, cut into lines, and given to the node.
//!
//! `Server` calls [`serve_ready`] once a turn.

use super::driver::Driver;
use super::read_batch::{Item, ReadBatch};
use super::requests;
use super::roles::Role;
use crate::connection_id::ConnectionId;
use crate::lines::Piece;
use crate::net::transport::Received;
use crate::node::table::{Key, PREFETCH_MAX};

/// What became of the attempt to serve a piece of a connection's input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Served {
    /// It was handled.
    Piece,
    /// There is none.
    Nothing,
    /// It must wait: it is buffered, and the connection is paused.
    Paused,
}

/// Reads from all that are ready, once each, and handles what they have said.
pub fn serve_ready(driver: &mut Driver, batch: &mut ReadBatch) {
    let quota = driver.shell.reactor.read_quota();
    let mut left = driver.shell.reactor.ready_len();
    while left > 0 {
        batch.clear();
        while left > 0 && batch.has_room() {
            left -= 1;
            if let Some((id, role)) = driver.shell.reactor.poll_ready() {
                read_from(driver, id, role, quota, batch);
            }
        }
        handle_batch(driver, batch);
    }
}

/// Reads from a connection, once, when all it had said before has been handled.
fn read_from(
    driver: &mut Driver,
    id: ConnectionId,
    role: Role,
    quota: usize,
    batch: &mut ReadBatch,
) {
    let quota = match role {
        Role::Http => return requests::serve(driver, id, &mut batch.room()[..quota]),
        Role::Client => quota,
        Role::Accepted | Role::Dialled => driver.peer_quota(id, quota),
    };
    if !driver.may_process(id, role) {
        driver.begun_lines.end(id); // it is we who let it wait
        return driver.shell.reactor.pause(id, &[]);
    }
    let within_line = is_within_line(driver, id);
    if within_line && !serve_pieces(driver, id, role, &[]) {
        return;
    }
    let read = match driver.shell.reactor.read(id, &mut batch.room()[..quota]) {
        Received::Bytes(read) => read,
        Received::Drained => return,
        Received::End => return serve_end(driver, id, role),
    };
    match role {
        Role::Client | Role::Http => {}
        Role::Accepted | Role::Dialled => driver.node.handle_link_bytes(id, driver.shell.now),
    }
    let mut chunk = batch.read(read);
    if within_line && !serve_begun_line(driver, id, role, &mut chunk) {
        return;
    }
    let start = read - chunk.len();
    batch.push(id, role, start, read);
}

/// Whether a connection has buffered input, or given out the beginning of a line.
fn is_within_line(driver: &mut Driver, id: ConnectionId) -> bool {
    let between = driver.shell.reactor.decode(id, |codec, input| {
        Some(codec.lines()?.is_between_lines(input))
    });
    between.flatten() == Some(false)
}

/// Handles a line of which the beginning came before, as far as `chunk` goes on with it. `false` if
/// all of `chunk` has been taken, or the rest must wait and is buffered.
fn serve_begun_line(driver: &mut Driver, id: ConnectionId, role: Role, chunk: &mut &[u8]) -> bool {
    while is_within_line(driver, id) {
        match serve_piece(driver, id, role, chunk) {
            Served::Piece => {}
            Served::Nothing | Served::Paused => return false,
        }
    }
    // A connection that must wait after that line is paused, whether there is a rest or not.
    let may_process = driver.may_process(id, role);
    if !may_process {
        driver.shell.reactor.pause(id, chunk);
    }
    may_process
}

/// Handles what was read, in groups: what all lines of a group speak of is prefetched, then each is
/// handled.
fn handle_batch(driver: &mut Driver, batch: &ReadBatch) {
    let mut lines = batch.lines(Role::line_bytes_max);
    let mut paused = None;
    let mut group = Vec::with_capacity(PREFETCH_MAX);
    loop {
        for item in lines.by_ref().take(PREFETCH_MAX) {
            let key = item.line.and_then(|text| driver.key(item.role, text));
            group.push((item, key));
        }
        if group.is_empty() {
            return;
        }
        let keys = group.iter_mut().filter_map(|(_, key)| key.as_mut());
        driver.node.prefetch(keys);
        for (item, key) in group.drain(..) {
            handle_item(driver, &item, key, &mut paused);
        }
    }
}

/// Handles a line, or what is left where no whole line is. `paused` is the latest connection that had to
/// wait.
fn handle_item(
    driver: &mut Driver,
    item: &Item<'_>,
    key: Option<Key>,
    paused: &mut Option<ConnectionId>,
) {
    if *paused == Some(item.id) {
        return; // it has been buffered
    }
    if !driver.may_process(item.id, item.role) {
        driver.shell.reactor.pause(item.id, item.rest);
        *paused = Some(item.id);
        return;
    }
    let Some(text) = item.line else {
        serve_pieces(driver, item.id, item.role, item.rest);
        return;
    };
    driver.handle_line(item.id, item.role, text, key);
    let is_last = item.rest.len() == text.len() + 1;
    if is_last && !driver.may_process(item.id, item.role) {
        driver.shell.reactor.pause(item.id, &[]); // it waits for us, not we for it
    }
}

/// Handles what was buffered before, then `chunk`. `false` if the rest must wait, and is buffered.
fn serve_pieces(driver: &mut Driver, id: ConnectionId, role: Role, mut chunk: &[u8]) -> bool {
    loop {
        match serve_piece(driver, id, role, &mut chunk) {
            Served::Piece => {}
            Served::Nothing => return true,
            Served::Paused => return false,
        }
    }
}

/// Handles one piece of what was buffered before, or of `chunk`: this is for the few lines that did
/// not come whole, which are copied.
fn serve_piece(driver: &mut Driver, id: ConnectionId, role: Role, chunk: &mut &[u8]) -> Served {
    if !driver.may_process(id, role) {
        driver.begun_lines.end(id); // it is we who let it wait
        driver.shell.reactor.pause(id, chunk);
        return Served::Paused;
    }
    let limit = role.line_bytes_max();
    let piece = driver.shell.reactor.decode(id, |codec, input| {
        codec.lines()?.next_buffered(input, chunk, limit)
    });
    match piece.flatten() {
        None => {
            note_begun(driver, id, role);
            Served::Nothing
        }
        Some(piece) => {
            if is_end(&piece) {
                driver.begun_lines.end(id);
            }
            handle_piece(driver, id, role, &piece);
            Served::Piece
        }
    }
}

/// Notes where a client is in the middle of a line: from now on, unless it was before.
fn note_begun(driver: &mut Driver, id: ConnectionId, role: Role) {
    match role {
        Role::Client if is_within_line(driver, id) => {
            driver.begun_lines.begin(id, driver.shell.now.mono);
        }
        Role::Client | Role::Accepted | Role::Dialled => {} // a link's lines have a limit of the node's
        Role::Http => {}                                    // its codec has limits of its own
    }
}

/// Whether a line ends with a piece.
fn is_end(piece: &Piece<Vec<u8>>) -> bool {
    match piece {
        Piece::Line(_) => true,
        Piece::Overlong { last, .. } => *last,
    }
}

fn handle_piece(driver: &mut Driver, id: ConnectionId, role: Role, piece: &Piece<Vec<u8>>) {
    match piece {
        Piece::Line(text) => {
            driver.handle_line(id, role, text, None);
        }
        Piece::Overlong { bytes, first, last } => {
            driver.handle_overlong(id, role, bytes, *first, *last);
        }
    }
}

/// The peer will say no more. That ends a client's last line, if it has no LF; a neighbour's may have
/// been cut off anywhere.
fn serve_end(driver: &mut Driver, id: ConnectionId, role: Role) {
    match role {
        Role::Client => {
            driver.begun_lines.end(id);
            let piece = driver
                .shell
                .reactor
                .decode(id, |codec, input| codec.lines()?.end(input));
            if let Some(piece) = piece.flatten() {
                handle_piece(driver, id, role, &piece);
            }
        }
        Role::Accepted | Role::Dialled | Role::Http => {}
    }
    driver.handle_end(id, role);
}
