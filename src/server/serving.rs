//! What connections say: read from all that are ready, cut into lines, and given to the node.
//!
//! `Server` calls [`serve_ready`] once a turn.

use super::driver::{Ahead, Driver};
use super::intake::Intake;
use super::roles::Role;
use crate::connection_id::ConnectionId;
use crate::line_buffer::Piece;
use crate::net::connection::Fill;
use crate::node::table::PREFETCH_MAX;

/// What became of the attempt to serve a piece of a connection's input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Served {
    /// It was handled.
    Piece,
    /// There is none.
    Nothing,
    /// It must wait, and is kept.
    Held,
}

/// Reads from all that are ready, once each, and handles what they have said.
pub fn serve_ready(driver: &mut Driver, intake: &mut Intake) {
    let share = driver.reactor.read_share();
    let mut left = driver.reactor.ready_len();
    while left > 0 {
        intake.clear();
        while left > 0 && intake.has_room() {
            left -= 1;
            if let Some(id) = driver.reactor.poll_ready() {
                take_in(driver, id, share, intake);
            }
        }
        handle_intake(driver, intake);
    }
}

/// Reads from a connection, once, when all it had said before has been handled.
fn take_in(driver: &mut Driver, id: ConnectionId, share: usize, intake: &mut Intake) {
    let Some(role) = driver.reactor.role(id) else {
        return;
    };
    if !serve_pieces(driver, id, role, &[]) {
        return;
    }
    let share = match role {
        Role::Client => share,
        Role::Accepted | Role::Dialled => driver.peer_share(id, share),
    };
    let read = match driver.reactor.read(id, &mut intake.room()[..share]) {
        Fill::Bytes(read) => read,
        Fill::Drained => return,
        Fill::End => return driver.handle_end(id, role),
    };
    match role {
        Role::Client => {}
        Role::Accepted | Role::Dialled => driver.node.handle_link_bytes(id, driver.now),
    }
    let mut chunk = intake.read(read);
    if !driver.reactor.is_between_lines(id) && !serve_kept_line(driver, id, role, &mut chunk) {
        return;
    }
    let start = read - chunk.len();
    intake.push(id, role, start, read);
}

/// Handles a line whose beginning was kept, as far as `chunk` goes on with it. `false` if all of
/// `chunk` has been taken, or the rest must wait and is kept.
fn serve_kept_line(driver: &mut Driver, id: ConnectionId, role: Role, chunk: &mut &[u8]) -> bool {
    while !driver.reactor.is_between_lines(id) {
        match serve_piece(driver, id, role, chunk) {
            Served::Piece => {}
            Served::Nothing | Served::Held => return false,
        }
    }
    // The line is no longer kept, and who has to wait after it is held, be there a rest or not.
    let wanted = serve_pieces(driver, id, role, &[]);
    if !wanted {
        driver.reactor.hold(id, chunk);
    }
    wanted
}

/// Handles what was read, in groups: first all lines of a group are read, and what they speak
/// of is brought near, then each is handled.
fn handle_intake(driver: &mut Driver, intake: &Intake) {
    let mut lines = intake.lines(Role::line_bytes_max);
    let mut group = Vec::with_capacity(PREFETCH_MAX);
    let mut held = None;
    loop {
        for item in lines.by_ref().take(PREFETCH_MAX) {
            let ahead = item.line.map(|text| driver.read_ahead(item.role, text));
            group.push((item, ahead));
        }
        if group.is_empty() {
            return;
        }
        let ahead = group.iter_mut().filter_map(|(_, ahead)| ahead.as_mut());
        driver.node.prefetch(ahead.filter_map(Ahead::key_mut));
        for (item, ahead) in group.drain(..) {
            if held == Some(item.id) {
                continue; // it is in what was kept
            }
            if !driver.wants(item.id, item.role) {
                driver.reactor.hold(item.id, item.rest);
                held = Some(item.id);
                continue;
            }
            let Some((text, ahead)) = item.line.zip(ahead) else {
                serve_pieces(driver, item.id, item.role, item.rest);
                continue;
            };
            driver.handle_line(item.id, item.role, text, ahead);
            let is_last = item.rest.len() == text.len() + 1;
            if is_last && !driver.wants(item.id, item.role) {
                driver.reactor.hold(item.id, &[]); // it waits for us, not we for it
            }
        }
    }
}

/// Handles what was kept before, then `chunk`. `false` if the rest must wait, and is kept.
fn serve_pieces(driver: &mut Driver, id: ConnectionId, role: Role, mut chunk: &[u8]) -> bool {
    loop {
        match serve_piece(driver, id, role, &mut chunk) {
            Served::Piece => {}
            Served::Nothing => return true,
            Served::Held => return false,
        }
    }
}

/// Handles one piece of what was kept before, or of `chunk`.
fn serve_piece(driver: &mut Driver, id: ConnectionId, role: Role, chunk: &mut &[u8]) -> Served {
    if !driver.wants(id, role) {
        driver.reactor.hold(id, chunk);
        return Served::Held;
    }
    let Some(piece) = driver.reactor.next_piece(id, chunk, role.line_bytes_max()) else {
        return Served::Nothing;
    };
    // What was kept is copied, so that its memory may change: this is for the few lines that
    // did not come whole.
    match piece {
        Piece::Line(text) => {
            let text = text.to_vec();
            let ahead = driver.read_ahead(role, &text);
            driver.handle_line(id, role, &text, ahead);
        }
        Piece::Overlong { bytes, first, last } => {
            let bytes = bytes.to_vec();
            driver.handle_overlong(id, role, &bytes, first, last);
        }
    }
    Served::Piece
}
