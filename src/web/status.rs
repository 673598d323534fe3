//! How a server is: a plain struct, and its JSON for `GET /v1/status`.
//!
//! `server/gather.rs` fills it from the counters that each room keeps beside what it does. `metrics` writes the same
//! struct for Prometheus: nothing is counted twice.

use std::time::Duration;

use serde_json::{Value, json};

use super::histogram::Histogram;
use crate::time::{Difference, Timestamp};

/// This program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How a server is.
#[derive(Clone, Debug)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Its incarnation, as HELLO says it.
    pub incarnation: String,
    /// Since it was started.
    pub uptime: Duration,
    /// Why clients should go elsewhere. It is ready if there are none.
    pub reasons: Vec<String>,
    /// Clients whose location is known.
    pub locations: u64,
    /// The memory that they take.
    pub table: Table,
    /// Open connections, by what they are for.
    pub connections: Vec<(&'static str, u64)>,
    /// Connections that were made, by what they are for.
    pub connections_made: Vec<(&'static str, u64)>,
    /// The clients' connections that say most, the busiest first.
    pub busiest: Vec<Busy>,
    /// Changes accepted, from clients and neighbours.
    pub updates: u64,
    /// Of late, a second.
    pub updates_per_second: f64,
    /// Lines and requests of clients, by what they are.
    pub messages: Vec<(&'static str, u64)>,
    /// Of late, a second.
    pub messages_per_second: f64,
    /// Reports that came from neighbours, news or not.
    pub heard: u64,
    /// Its links, in the order of the topology.
    pub links: Vec<Link>,
    /// Its memory on the disk.
    pub journal: Journal,
    /// Why the log cannot be written, if it cannot.
    pub log_failure: Option<String>,
    /// Records of the log that were dropped, since it could not be written, or not fast enough.
    pub log_dropped: u64,
    /// How Twitter does.
    pub twitter: Twitter,
    /// Responses, by status.
    pub responses: Vec<(u16, u64)>,
    /// Points of phones that were rejected.
    pub points_rejected: u64,
    /// Reports of clients that changed nothing, since a later one stands.
    pub reports_outdated: u64,
    /// How often a limit was reached, by its name.
    pub limited: Vec<(&'static str, u64)>,
    /// Reports of neighbours that were turned away, by what was wrong with them.
    pub turned_away: Vec<(&'static str, u64)>,
    /// Connections that ended before their TLS handshake did.
    pub failed_handshakes: u64,
    /// How long turns of the loop took.
    pub turns: Histogram,
    /// Memory in use, if the system says.
    pub memory_bytes: Option<u64>,
    /// Processor time used, if the system says.
    pub cpu: Option<Duration>,
}

/// A connection that says much.
#[derive(Clone, Debug)]
pub struct Busy {
    /// Its label in the log.
    pub connection: String,
    /// The address at the other end.
    pub peer: String,
    /// What it has said of late.
    pub bytes_per_second: u64,
}

/// The memory of clients' locations.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Bytes that they take, about.
    pub bytes: u64,
    /// Bytes that they may take.
    pub limit_bytes: u64,
    /// Locations that have made room for others.
    pub evictions: u64,
}

/// What a link does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Both have presented themselves.
    Up,
    /// There is no connection.
    Down,
    /// The neighbour does not accept this server, and has said so.
    Refused,
}

impl LinkState {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            LinkState::Up => "up",
            LinkState::Down => "down",
            LinkState::Refused => "refused",
        }
    }
}

/// How a link is.
#[derive(Clone, Debug)]
pub struct Link {
    /// The neighbour's name.
    pub neighbour: String,
    /// What it does.
    pub state: LinkState,
    /// Since when it is up, or is not.
    pub since: Timestamp,
    /// Why it is not up; empty if it is.
    pub reason: String,
    /// How often it has come up.
    pub sessions: u64,
    /// How often the neighbour has ended a connection with BYE.
    pub refusals: u64,
    /// Changes that the neighbour has not been sent, at most.
    pub lag_changes: u64,
    /// Since when the oldest of them waits.
    pub lag: Duration,
    /// How far the neighbour's clock is ahead, if that is known.
    pub clock_offset: Option<Difference>,
    /// Whether it speaks TLS.
    pub is_encrypted: bool,
}

/// How the journal is.
#[derive(Clone, Copy, Debug)]
pub struct Journal {
    /// A restart would know what is known now.
    pub is_ok: bool,
    /// Bytes written.
    pub bytes: u64,
    /// Batches written.
    pub batches: u64,
    /// Syncs begun.
    pub syncs: u64,
    /// Snapshots completed.
    pub snapshots: u64,
}

/// How Twitter does.
#[derive(Clone, Debug, Default)]
pub struct Twitter {
    /// Why it is not asked freely, or does not answer what is asked, if so.
    pub trouble: Option<String>,
    /// Requests sent.
    pub asked: u64,
    /// Questions answered by what was heard lately.
    pub cached: u64,
    /// Requests that brought no answer.
    pub failed: u64,
}

impl Status {
    /// Whether clients should come here.
    pub fn is_ready(&self) -> bool {
        self.reasons.is_empty()
    }

    /// Its JSON.
    pub fn json(&self) -> String {
        let counts = |counts: &[(&'static str, u64)]| -> Value {
            let members = counts
                .iter()
                .map(|(name, count)| ((*name).to_owned(), json!(count)));
            Value::Object(members.collect())
        };
        let total: u64 = self.connections.iter().map(|(_, count)| count).sum();
        let links: Vec<_> = self.links.iter().map(Link::json).collect();
        let Journal {
            bytes,
            batches,
            syncs,
            snapshots,
            ..
        } = self.journal;
        let busiest = self.busiest.iter().map(Busy::json);
        let busiest: Vec<_> = busiest.collect();
        let state = |is_ok| if is_ok { "ok" } else { "degraded" };
        let status = json!({
            "name": self.name,
            "version": VERSION,
            "incarnation": self.incarnation,
            "uptime_seconds": rounded(self.uptime.as_secs_f64()),
            "ready": self.is_ready(),
            "reasons": self.reasons,
            "locations": self.locations,
            "table": {
                "bytes": self.table.bytes,
                "limit_bytes": self.table.limit_bytes,
                "evictions": self.table.evictions,
            },
            "connections": total,
            "connections_by_role": counts(&self.connections),
            "busiest_connections": busiest,
            "updates": self.updates,
            "updates_per_second": rounded(self.updates_per_second),
            "messages": counts(&self.messages),
            "reports_outdated": self.reports_outdated,
            "messages_per_second": rounded(self.messages_per_second),
            "limits_reached": counts(&self.limited),
            "neighbour_reports_refused": counts(&self.turned_away),
            "tls_handshakes_failed": self.failed_handshakes,
            "links": links,
            "journal": {
                "state": state(self.journal.is_ok),
                "bytes": bytes,
                "batches": batches,
                "syncs": syncs,
                "snapshots": snapshots,
            },
            "log": {
                "state": state(self.log_failure.is_none()),
                "reason": self.log_failure,
                "dropped": self.log_dropped,
            },
            "twitter": {
                "state": if self.twitter.trouble.is_none() { "ok" } else { "failing" },
                "reason": self.twitter.trouble,
                "asked": self.twitter.asked,
                "cached": self.twitter.cached,
                "failed": self.twitter.failed,
            },
            "memory_bytes": self.memory_bytes,
            "cpu_seconds": self.cpu.map(|cpu| cpu.as_secs_f64()),
        });
        status.to_string()
    }
}

impl Busy {
    fn json(&self) -> Value {
        json!({
            "connection": self.connection,
            "peer": self.peer,
            "bytes_per_second": self.bytes_per_second,
        })
    }
}

impl Link {
    fn json(&self) -> Value {
        let since = self.since.seconds() as f64 + f64::from(self.since.nanos()) * 1e-9;
        let mut link = json!({
            "neighbour": self.neighbour,
            "state": self.state.as_str(),
            "since": rounded(since),
            "lag_changes": self.lag_changes,
            "lag_seconds": rounded(self.lag.as_secs_f64()),
            "clock_offset_seconds": self.clock_offset.map(Difference::as_secs_f64),
            "encrypted": self.is_encrypted,
        });
        if self.state != LinkState::Up {
            link["reason"] = Value::from(self.reason.as_str());
        }
        link
    }
}

/// To milliseconds: more says nothing.
fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}
