//! Clients' lines that are too long to be commands: their copies leave as they come.
//!
//! `Driver` has one.

use std::collections::BTreeMap;

use super::shell::Shell;
use crate::connection_id::ConnectionId;
use crate::log::record::{Direction, Label};
use crate::node::command::LINE_BYTES_MAX;
use crate::node::effects::{Effects, News};
use crate::node::invalid;

/// The clients that are inside such a line.
#[derive(Default)]
pub struct OverlongLines(BTreeMap<ConnectionId, Overlong>);

/// A client's line over the limit, as far as it has come.
#[derive(Default)]
struct Overlong {
    bytes: u64,
    /// The last [`invalid::END_BYTES`] of them.
    end: Vec<u8>,
}

impl Overlong {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let tail = bytes.len().saturating_sub(invalid::END_BYTES);
        self.end.extend_from_slice(&bytes[tail..]);
        let surplus = self.end.len().saturating_sub(invalid::END_BYTES);
        self.end.drain(..surplus);
    }
}

impl OverlongLines {
    /// Copies the next piece of a client's line.
    pub fn copy(
        &mut self,
        id: ConnectionId,
        bytes: &[u8],
        first: bool,
        last: bool,
        shell: &mut Shell,
    ) {
        let label = Label::Client(id.serial);
        self.0.entry(id).or_default().push(bytes);
        if first {
            shell.log.record_beginning(Direction::In, label, bytes);
            let reply = [b"? ", &bytes[..bytes.len().min(LINE_BYTES_MAX)]].concat();
            shell.log.record_beginning(Direction::Out, label, &reply);
            shell.reactor.send(id, &[b"? "]);
        }
        shell.reactor.send(id, &[bytes]);
        if last && let Some(line) = self.0.remove(&id) {
            shell.log.record_length(Direction::In, label, line.bytes);
            let is_http = invalid::ends_as_http_request(&line.end);
            let reason = match is_http {
                true => invalid::HTTP_REQUEST,
                false => invalid::OVERLONG,
            };
            shell.tell(News::Invalid { client: id, reason });
            shell
                .log
                .record_length(Direction::Out, label, line.bytes + 2);
            shell.reactor.send(id, &[b"\n"]);
            if is_http {
                shell.reactor.lose(id, reason); // with what follows it must not report
            }
        }
    }

    /// Forgets a client that has gone.
    pub fn forget(&mut self, id: ConnectionId, shell: &mut Shell) {
        if let Some(line) = self.0.remove(&id) {
            let label = Label::Client(id.serial);
            shell.log.record_length(Direction::In, label, line.bytes);
        }
    }
}
