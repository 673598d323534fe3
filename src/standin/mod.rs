//! The stand-in for Twitter's search: a real HTTP server with real geographic search over
//! synthetic tweets, so that a herd works with no network and no account.
//!
//! `main` makes one and runs it. HTTP heads are lines, so it turns on the same reactor as the
//! servers do; `http` reads heads and writes responses, `query` and `search` know what is asked
//! and what is answered, `tweets` what there is to be found.

pub mod http;
pub mod query;
pub mod search;
pub mod tweets;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::thread;
use std::time::Instant;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use self::http::{HEAD_BYTES_MAX, Head, Method, Request, Step, write_response};
use self::tweets::Tweet;
use crate::connection_id::ConnectionId;
use crate::line_buffer::Piece;
use crate::net::connection::Fill;
use crate::net::{Event, READ_BUDGET_BYTES, Reactor, SCRATCH_BYTES};
use crate::time::Timestamp;

/// The one resource there is.
const PATH: &str = "/search.json";

/// More connections than any herd makes.
const CONNECTIONS_MAX: usize = 4096;

/// Told to stop.
struct Stop;

/// The stand-in, listening.
pub struct StandIn {
    reactor: Reactor<Stop>,
    address: SocketAddr,
    tweets: Vec<Tweet>,
    /// The heads that are arriving.
    heads: BTreeMap<ConnectionId, Head>,
    scratch: Vec<u8>,
    response: Vec<u8>,
}

impl StandIn {
    /// Listens at `address`, host and port.
    ///
    /// # Errors
    /// The kernel's, or the resolver's.
    pub fn start(address: &str) -> io::Result<StandIn> {
        let mut reactor = Reactor::new()?;
        let first = address.to_socket_addrs()?.next();
        let first = first.ok_or(io::ErrorKind::AddrNotAvailable)?;
        let address = reactor.listen(first, 0, CONNECTIONS_MAX)?;
        let mailbox = reactor.mailbox();
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || signals.forever().for_each(|_| mailbox.post(Stop)))?;
        Ok(StandIn {
            reactor,
            address,
            tweets: tweets::synthetic(),
            heads: BTreeMap::new(),
            scratch: vec![0; SCRATCH_BYTES],
            response: Vec::new(),
        })
    }

    /// Serves until told to stop.
    ///
    /// # Errors
    /// The poll's: nothing can go on then.
    pub fn run(mut self) -> io::Result<()> {
        let _ = writeln!(io::stderr(), "twitter: listening on {}", self.address);
        loop {
            self.reactor.flush();
            self.reactor.turn(None)?;
            while let Some(event) = self.reactor.poll_event() {
                if let Event::Lost { id, .. } = event {
                    self.heads.remove(&id);
                }
            }
            for _ in 0..self.reactor.ready_len() {
                if let Some(id) = self.reactor.poll_ready() {
                    self.serve(id);
                }
            }
            if let Some(Stop) = self.reactor.poll_mail() {
                self.reactor.flush();
                return Ok(());
            }
        }
    }

    fn serve(&mut self, id: ConnectionId) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut budget = READ_BUDGET_BYTES;
        let mut chunk: &[u8] = &[];
        while self.serve_lines(id, &mut chunk) {
            match self.reactor.read(id, &mut scratch, &mut budget) {
                Fill::Bytes(n) => chunk = &scratch[..n],
                Fill::Drained => break,
                Fill::End => {
                    self.reactor.lose(id, "closed by the client");
                    break;
                }
            }
        }
        self.scratch = scratch;
    }

    /// Handles whole lines. `false` if the rest must wait, and is kept, or is of no interest.
    fn serve_lines(&mut self, id: ConnectionId, chunk: &mut &[u8]) -> bool {
        while self.reactor.takes_replies(id) {
            let Some(piece) = self.reactor.next_piece(id, chunk, HEAD_BYTES_MAX) else {
                return true;
            };
            let head = self.heads.entry(id).or_default();
            let step = match piece {
                Piece::Line(line) => head.push_line(line),
                Piece::Overlong { .. } => head.line_too_long(),
            };
            if head.is_empty() {
                self.heads.remove(&id); // an idle connection holds nothing
            }
            match step {
                Step::More => {}
                Step::Request(request) => self.answer(id, &request),
                Step::Refuse { status, message } => {
                    let body = search::error_body(message);
                    self.respond(id, status, &body, false, false);
                }
            }
        }
        self.reactor.hold(id, chunk);
        false
    }

    fn answer(&mut self, id: ConnectionId, request: &Request) {
        let began = Instant::now();
        let (status, body) = if request.path == PATH {
            search::answer(&self.tweets, &request.query, || began.elapsed())
        } else {
            (404, search::error_body("Not found"))
        };
        let head_only = request.method == Method::Head;
        self.respond(id, status, &body, request.keep_alive, head_only);
    }

    fn respond(
        &mut self,
        id: ConnectionId,
        status: u16,
        body: &str,
        keep_alive: bool,
        head_only: bool,
    ) {
        let date = Timestamp::system().seconds();
        self.response.clear();
        write_response(
            &mut self.response,
            status,
            body,
            keep_alive,
            head_only,
            date,
        );
        self.reactor.send(id, &[&self.response]);
        if !keep_alive {
            self.reactor.lose(id, "answered");
        }
    }
}
