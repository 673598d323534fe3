//! What a server's core pays for a line, and how long a wire takes.

use std::env;

use crate::support::Result;

/// A time or a span of it, in nanoseconds.
pub type Nanos = u64;

/// CPU of a server.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// To hear an `IAMAT`, and to reply.
    pub client: Nanos,
    /// To hear a line of a neighbour.
    pub hear: Nanos,
    /// To send a line to a neighbour.
    pub send: Nanos,
    /// What a system call for one line costs beyond the line's part in one for many lines. A turn makes one call
    /// for each connection that it reads from or writes to.
    pub call: Nanos,
}

/// From docs/benchmarks/2026-11-30/results.csv, medians:
///
/// - `throughput`, pipeline 16: an `IAMAT` with its reply costs 473 ns. That is `client`.
/// - `flood`, 50 x 16: an update costs 1,614 ns at three servers in a line. The first hears the client, the others a
///   neighbour, and each sends the line on, the last to a watcher: `client + 2 hear + 3 send`.
/// - To hear an `IAMAT` is taken to cost what it costs to hear an `AT`, and to reply what it costs to send one:
///   `client = hear + send`. So `send = 1,614 - 3 * 473 = 195`, and `hear = 473 - 195 = 278`.
/// - `throughput`, pipeline 1: an `IAMAT` that comes alone, in two calls of its own, costs 3,396 ns:
///   `call = (3,396 - 473) / 2`.
///
/// `send` is a small difference of large figures: with the least and the most of both it would be anything from 184 to 258.
/// The shares in instructions.md give 132: of 2,097 instructions for an `IAMAT` 140 for the way out, half of 555 for
/// copies and the turn, half of 332 for the log.
const MEASURED: Costs = Costs {
    client: 473,
    hear: 278,
    send: 195,
    call: 1_461,
};

impl Costs {
    /// Those of `HERD_COST_NS=client,hear,send` or `client,hear,send,call`, or else the measured ones.
    ///
    /// # Errors
    /// If the variable is neither.
    pub fn read() -> Result<Costs> {
        let Ok(text) = env::var("HERD_COST_NS") else {
            return Ok(MEASURED);
        };
        let mut numbers = Vec::new();
        for number in text.split(',') {
            numbers.push(number.parse()?);
        }
        let (client, hear, send, call) = match numbers[..] {
            [client, hear, send] => (client, hear, send, MEASURED.call),
            [client, hear, send, call] => (client, hear, send, call),
            _ => return Err("HERD_COST_NS is client,hear,send or client,hear,send,call".into()),
        };
        Ok(Costs {
            client,
            hear,
            send,
            call,
        })
    }
}

/// How long lines are under way between neighbours, in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay(pub Nanos);

impl Delay {
    /// Within a data centre.
    pub const NEAR: Delay = Delay(100_000);
    /// Between data centres.
    pub const FAR: Delay = Delay(10_000_000);

    pub fn text(self) -> String {
        format!("{} ms", self.0 as f64 / 1e6)
    }
}
