//! How the server is, read from all its rooms: what `/v1/status` and `/metrics` are written from.
//!
//! `requests` asks for it, `Server` has the past noted in each turn. Nothing is counted here.

use std::fs;
use std::time::Duration;

use super::connected;
use super::driver::Driver;
use super::in_force::InForce;
use super::memory;
use super::roles::Role;
use super::shell::Shell;
use crate::journal::State;
use crate::node::Node;
use crate::topology::ServerName;
use crate::web::status::{Journal, Link, Status, Table, Twitter};

/// Clock ticks a second in `/proc`: Linux has had 100 on every machine since 2.6, for programs to rely on.
const TICKS_PER_SECOND: u64 = 100;

/// Notes how it is at the beginning of a turn.
pub fn note(driver: &mut Driver) {
    let Driver { node, shell, .. } = driver;
    let (end, messages) = (node.table().end(), messages(node, shell));
    shell.tally.note(end, messages, shell.now.mono);
}

/// Lines and requests of clients so far. A report of a phone is in a request.
fn messages(node: &Node, shell: &Shell) -> u64 {
    let said = node.counters();
    let responses = shell.tally.responses.values();
    said.reports - said.foreign + said.questions + said.invalid + responses.sum::<u64>()
}

/// How the server is.
pub fn status(driver: &Driver) -> Status {
    let Driver { node, shell, .. } = driver;
    let (now, tally) = (shell.now, &shell.tally);
    let end = node.table().end();
    let (updates_per_second, messages_per_second) =
        tally.rates(end, messages(node, shell), now.mono);
    let said = node.counters();
    let incarnation = node.incarnations().last();
    let mut open = Role::ALL.map(|role| (role.as_str(), 0));
    for connection in shell.reactor.open() {
        let place = Role::ALL.iter().position(|role| *role == connection.role);
        place.into_iter().for_each(|place| open[place].1 += 1);
    }
    let made = |role: Role| (role.as_str(), tally.made.get(&role).copied().unwrap_or(0));
    Status {
        name: shell.operator.server().to_string(),
        incarnation: incarnation.map_or(String::new(), |(incarnation, _)| incarnation.to_string()),
        uptime: now.mono - tally.started,
        reasons: driver.unready(),
        locations: node.table().locations() as u64,
        table: Table {
            bytes: node.table().bytes() as u64,
            limit_bytes: node.table().limit() as u64,
            evictions: node.table().evicted().count,
        },
        connections: open.to_vec(),
        connections_made: Role::ALL.map(made).to_vec(),
        busiest: connected::busiest(shell),
        updates: end - tally.first_end,
        updates_per_second,
        messages: vec![
            ("report", said.reports),
            ("question", said.questions),
            ("invalid", said.invalid),
            ("request", tally.responses.values().sum()),
        ],
        messages_per_second,
        heard: said.heard,
        links: links(driver),
        journal: journal(shell),
        log_failure: shell.log.failing().map(str::to_owned),
        log_dropped: shell.log.records_dropped,
        twitter: twitter(shell),
        responses: tally
            .responses
            .iter()
            .map(|(code, count)| (*code, *count))
            .collect(),
        reports_outdated: said.outdated,
        points_rejected: tally.points_rejected,
        limited: limited(driver),
        turned_away: vec![
            ("too_far_ahead", node.table().turned_away().too_far_ahead),
            ("made_room", node.table().turned_away().evicted),
        ],
        failed_handshakes: shell.reactor.failed_handshakes(),
        turns: tally.turns.clone(),
        memory_bytes: resident_bytes(),
        cpu: cpu(),
    }
}

/// How often each limit was reached, by its name.
fn limited(driver: &Driver) -> Vec<(&'static str, u64)> {
    let timed = [
        ("line_timeout", driver.begun_lines.timed_out),
        ("idle_timeout", driver.shell.reactor.closed_idle()),
        ("questions", driver.node.counters().questions_refused),
        (
            "questions_gave_way",
            driver.node.counters().questions_gave_way,
        ),
    ];
    driver.shell.operator.counts().chain(timed).collect()
}

/// All links of the topology in force, in its order.
fn links(driver: &Driver) -> Vec<Link> {
    let InForce {
        topology, member, ..
    } = &driver.shell.in_force;
    let neighbours = topology.neighbours(member);
    neighbours
        .filter_map(|neighbour| link(driver, &neighbour.name))
        .collect()
}

fn link(driver: &Driver, neighbour: &ServerName) -> Option<Link> {
    let Driver { node, shell, .. } = driver;
    let link = node.link_to(neighbour)?;
    let condition = shell.neighbours.condition(link)?;
    let (end, records) = (node.table().end(), node.table().len() as u64);
    let sent = node.sent_over(link)?;
    let lag = match sent < end {
        true => shell.tally.age_after(sent, shell.now.mono),
        false => Duration::ZERO,
    };
    let mut offsets = node.clock_offsets(shell.now);
    let clock_offset = offsets.find(|(name, _)| *name == neighbour);
    let clock_offset = clock_offset.and_then(|(_, offset)| offset);
    Some(Link {
        neighbour: neighbour.to_string(),
        state: condition.state,
        since: condition.since,
        reason: condition.reason.clone(),
        sessions: condition.sessions,
        refusals: condition.refusals,
        // A client that has moved ten times since is sent once.
        lag_changes: end.saturating_sub(sent).min(records),
        lag,
        clock_offset,
        is_encrypted: node
            .runs_over(link)
            .is_some_and(|id| shell.reactor.is_encrypted(id)),
    })
}

fn journal(shell: &Shell) -> Journal {
    let counters = shell.journal.counters();
    Journal {
        is_ok: shell.journal.state() == State::Ok,
        bytes: counters.bytes,
        batches: counters.batches,
        syncs: counters.syncs,
        snapshots: counters.snapshots,
    }
}

fn twitter(shell: &Shell) -> Twitter {
    let counters = shell.pool.counters();
    Twitter {
        trouble: shell.pool.trouble(shell.now),
        asked: counters.asked,
        cached: counters.cached,
        failed: counters.failed,
    }
}

/// Memory of the process that is in RAM (proc_pid_status(5)).
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    memory::bytes_of(&status, "VmRSS")
}

/// Processor time of the process (proc_pid_stat(5)): fields 14 and 15, the name, which may hold anything, left away.
fn cpu() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()? + ticks()?;
    Some(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_what_the_process_uses() {
        let bytes = resident_bytes().expect("Linux says it");
        assert!((1 << 20..1 << 40).contains(&bytes), "{bytes}");
        let before = cpu().expect("Linux says it");
        while cpu().expect("Linux says it") <= before {}
    }
}
