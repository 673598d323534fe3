//! What the checks share: a server with two neighbours, and what a table must hold after what was
//! heard, found out in another way than the table's.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use herd::connection_id::ConnectionId;
use herd::node::protocol::Incarnation;
use herd::node::table::Table;
use herd::node::{Node, Seeds};
use herd::time::{Now, Timestamp};
use herd::topology::Topology;

/// Bryant dials Gasol, and leaves it to Blake to dial first.
const TOPOLOGY: &[u8] = b"Blake h:1 h:2\nBryant h:3 h:4 Blake Gasol\nGasol h:5 h:6\n";

/// What a node needs from outside.
pub const SEEDS: Seeds = Seeds {
    incarnation: Incarnation(0xb),
    hash_keys: (1, 2),
    jitter: 3,
};

/// A client's connection.
pub const CLIENT: ConnectionId = ConnectionId { serial: 1, slot: 0 };

/// When a check begins.
pub fn start() -> Now {
    Now {
        mono: Instant::now(),
        wall: Timestamp::new(1_353_118_103, 672_266_766),
    }
}

/// Bryant, in the life `incarnation`.
pub fn bryant(incarnation: u64, now: Now) -> Node {
    let topology = Topology::parse(TOPOLOGY).expect("a topology");
    let member = topology.member("Bryant").expect("it is a member");
    let seeds = Seeds {
        incarnation: Incarnation(incarnation),
        ..SEEDS
    };
    let mut node = Node::new(member, &topology, seeds, now);
    node.allow_clock_skew(Duration::MAX, true); // the model knows of no clocks
    node
}

/// What orders reports and erasures: effective time in nanoseconds, an erasure after a report, receipt, then
/// server, location, time.
type Recency = (i128, bool, i128, Vec<u8>, Vec<u8>, Vec<u8>);

/// An erasure that is older is not taken in.
const ERASURES_KEPT: i128 = 30 * 24 * 60 * 60 * 1_000_000_000;

/// The latest `AT` or `ERASED` line of each client.
#[derive(Debug, Default)]
pub struct Model {
    latest: BTreeMap<Vec<u8>, (Recency, Vec<u8>)>,
}

impl Model {
    /// Takes in an `AT` line that is known to be one.
    pub fn hear(&mut self, line: &[u8]) {
        let fields: Vec<_> = line.split(|&byte| byte == b' ').collect();
        let [_, server, difference, client, position, time] = fields[..] else {
            panic!("no AT line: {}", line.escape_ascii());
        };
        let sent = nanos(time);
        let received = sent + nanos(difference);
        let recency = (
            sent.min(received),
            false,
            received,
            server.to_vec(),
            position.to_vec(),
            time.to_vec(),
        );
        self.take_in(client, recency, line);
    }

    /// The same of an `ERASED` line, when it is `now`.
    pub fn hear_erased(&mut self, line: &[u8], now: Timestamp) {
        let fields: Vec<_> = line.split(|&byte| byte == b' ').collect();
        let [_, server, client, time] = fields[..] else {
            panic!("no ERASED line: {}", line.escape_ascii());
        };
        let time = nanos(time);
        let now = i128::from(now.seconds()) * 1_000_000_000 + i128::from(now.nanos());
        if time >= now - ERASURES_KEPT {
            let nothing = Vec::new;
            let recency = (time, true, time, server.to_vec(), nothing(), nothing());
            self.take_in(client, recency, line);
        }
    }

    fn take_in(&mut self, client: &[u8], recency: Recency, line: &[u8]) {
        match self.latest.get(client) {
            Some((latest, _)) if *latest >= recency => {}
            _ => {
                let entry = (recency, line.to_vec());
                self.latest.insert(client.to_vec(), entry);
            }
        }
    }

    /// The latest line about a client.
    pub fn line(&self, client: &[u8]) -> Option<&[u8]> {
        self.latest.get(client).map(|(_, line)| &line[..])
    }

    /// Whether anything is known of a client.
    pub fn is_known(&self, client: &[u8]) -> bool {
        self.line(client)
            .is_some_and(|line| line.starts_with(b"AT "))
    }

    /// Asserts that `table` holds this and nothing else.
    pub fn assert_is(&self, table: &Table) {
        let mut held: Vec<_> = table.changes_after(0).map(|change| change.line).collect();
        let mut wanted: Vec<_> = self.latest.values().map(|(_, line)| &line[..]).collect();
        held.sort_unstable();
        wanted.sort_unstable();
        let text = |lines: &[&[u8]]| lines.join(&b'\n').escape_ascii().to_string();
        assert_eq!(text(&held), text(&wanted));
    }
}

/// A decimal with up to nine decimals, and perhaps a sign, in units of the ninth.
pub fn nanos(text: &[u8]) -> i128 {
    let text = std::str::from_utf8(text).expect("a number is ASCII");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<9}")
        .parse()
        .expect("a number of at most 27 digits")
}
