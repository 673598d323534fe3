//! How a server is, for Prometheus: text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).

use std::fmt::{Display, Write};

use super::status::{Link, LinkState, Status, VERSION};

/// The `Content-Type` without which newer servers refuse the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Labels with their values.
type Labels<'a> = &'a [(&'a str, &'a str)];

/// The text, as it grows.
#[derive(Debug, Default)]
struct Text(String);

impl Text {
    /// Begins the samples of a metric.
    fn metric(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n"); // a string takes it
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let text = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let before = if at == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{before}{label}=\"{text}\"");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.metric(name, kind, help);
        self.sample(name, &[], value);
    }

    fn each<V: Display>(
        &mut self,
        (name, kind, help): (&str, &str, &str),
        label: &str,
        values: impl IntoIterator<Item = (impl AsRef<str>, V)>,
    ) {
        self.metric(name, kind, help);
        for (text, value) in values {
            self.sample(name, &[(label, text.as_ref())], value);
        }
    }
}

/// The metrics of a server.
pub fn text(status: &Status) -> String {
    let mut out = Text::default();
    of_server(status, &mut out);
    of_links(status, &mut out);
    of_disk_and_twitter(status, &mut out);
    out.0
}

fn of_server(status: &Status, out: &mut Text) {
    out.metric("herd_info", "gauge", "What runs here.");
    let labels = [
        ("server", status.name.as_str()),
        ("version", VERSION),
        ("incarnation", status.incarnation.as_str()),
    ];
    out.sample("herd_info", &labels, 1);
    let uptime = status.uptime.as_secs_f64();
    out.one(
        "herd_uptime_seconds",
        "gauge",
        "Time since the start.",
        uptime,
    );
    let ready = u8::from(status.is_ready());
    out.one(
        "herd_ready",
        "gauge",
        "Whether clients should come here.",
        ready,
    );
    out.one(
        "herd_locations",
        "gauge",
        "Clients whose location is known.",
        status.locations,
    );
    let table = &status.table;
    let help = "Memory that their locations take, about.";
    out.one("herd_table_bytes", "gauge", help, table.bytes);
    let help = "Memory that their locations may take.";
    out.one("herd_table_limit_bytes", "gauge", help, table.limit_bytes);
    let help = "Locations that have made room for others.";
    out.one("herd_evictions_total", "counter", help, table.evictions);
    let open = (
        "herd_connections",
        "gauge",
        "Open connections, by what they are for.",
    );
    out.each(open, "role", status.connections.iter().copied());
    let made = (
        "herd_connections_made_total",
        "counter",
        "Connections that were made, by what they are for.",
    );
    out.each(made, "role", status.connections_made.iter().copied());
    let help = "Changes accepted, from clients and neighbours.";
    out.one("herd_updates_total", "counter", help, status.updates);
    let messages = (
        "herd_messages_total",
        "counter",
        "Lines and requests of clients, by what they are.",
    );
    out.each(messages, "kind", status.messages.iter().copied());
    let help = "Reports that came from neighbours, news or not.";
    out.one(
        "herd_neighbour_reports_total",
        "counter",
        help,
        status.heard,
    );
    let responses = status
        .responses
        .iter()
        .map(|(code, count)| (code.to_string(), *count));
    let metric = (
        "herd_http_responses_total",
        "counter",
        "HTTP responses, by status.",
    );
    out.each(metric, "code", responses);
    let help = "Points of phones that were rejected; the log says why.";
    out.one(
        "herd_points_rejected_total",
        "counter",
        help,
        status.points_rejected,
    );
    let limits = (
        "herd_limit_reached_total",
        "counter",
        "How often a limit kept somebody out, by its name.",
    );
    out.each(limits, "limit", status.limited.iter().copied());
    let name = "herd_turn_duration_seconds";
    out.metric(
        name,
        "histogram",
        "How long turns of the event loop took, without waiting.",
    );
    for (bound, count) in status.turns.classes() {
        out.sample(
            "herd_turn_duration_seconds_bucket",
            &[("le", &bound)],
            count,
        );
    }
    let count = status.turns.count();
    out.sample(
        "herd_turn_duration_seconds_bucket",
        &[("le", "+Inf")],
        count,
    );
    let sum = status.turns.sum().as_secs_f64();
    out.sample("herd_turn_duration_seconds_sum", &[], sum);
    out.sample("herd_turn_duration_seconds_count", &[], count);
    if let Some(bytes) = status.memory_bytes {
        out.one("herd_memory_bytes", "gauge", "Memory in use.", bytes);
    }
    if let Some(cpu) = status.cpu {
        let help = "Processor time used.";
        out.one("herd_cpu_seconds_total", "counter", help, cpu.as_secs_f64());
    }
}

fn of_links(status: &Status, out: &mut Text) {
    let links = || {
        status
            .links
            .iter()
            .map(|link| (link.neighbour.as_str(), link))
    };
    let up = (
        "herd_link_up",
        "gauge",
        "Whether the link to a neighbour is up.",
    );
    let is = |state| move |(name, link): (_, &Link)| (name, u8::from(link.state == state));
    out.each(up, "neighbour", links().map(is(LinkState::Up)));
    let refused = (
        "herd_link_refused",
        "gauge",
        "Whether a link is down as one side does not accept the other.",
    );
    out.each(refused, "neighbour", links().map(is(LinkState::Refused)));
    let sessions = (
        "herd_link_sessions_total",
        "counter",
        "How often a link has come up.",
    );
    out.each(
        sessions,
        "neighbour",
        links().map(|(name, link)| (name, link.sessions)),
    );
    let lag = (
        "herd_link_lag_changes",
        "gauge",
        "Changes that the neighbour has not been sent, at most.",
    );
    out.each(
        lag,
        "neighbour",
        links().map(|(name, link)| (name, link.lag_changes)),
    );
    let lag = (
        "herd_link_lag_seconds",
        "gauge",
        "Since when the oldest of them waits.",
    );
    out.each(
        lag,
        "neighbour",
        links().map(|(name, link)| (name, link.lag.as_secs_f64())),
    );
    let encrypted = (
        "herd_link_encrypted",
        "gauge",
        "Whether the link speaks TLS.",
    );
    out.each(
        encrypted,
        "neighbour",
        links().map(|(name, link)| (name, u8::from(link.is_encrypted))),
    );
    let offset = (
        "herd_link_clock_offset_seconds",
        "gauge",
        "How far the neighbour's clock is ahead, if it tells it.",
    );
    let offsets = links().filter_map(|(name, link)| Some((name, link.clock_offset?.as_secs_f64())));
    out.each(offset, "neighbour", offsets);
}

fn of_disk_and_twitter(status: &Status, out: &mut Text) {
    let journal = &status.journal;
    let help = "Whether a restart would know what is known now.";
    out.one("herd_journal_ok", "gauge", help, u8::from(journal.is_ok));
    let help = "Bytes written to the journal.";
    out.one(
        "herd_journal_written_bytes_total",
        "counter",
        help,
        journal.bytes,
    );
    let help = "Batches written to the journal.";
    out.one(
        "herd_journal_batches_total",
        "counter",
        help,
        journal.batches,
    );
    let help = "Syncs of the journal begun.";
    out.one("herd_journal_syncs_total", "counter", help, journal.syncs);
    let help = "Snapshots of the journal completed.";
    out.one(
        "herd_journal_snapshots_total",
        "counter",
        help,
        journal.snapshots,
    );
    let is_ok = u8::from(status.log_failure.is_none());
    out.one(
        "herd_log_ok",
        "gauge",
        "Whether the log can be written.",
        is_ok,
    );
    let twitter = &status.twitter;
    let is_ok = u8::from(twitter.trouble.is_none());
    out.one(
        "herd_twitter_ok",
        "gauge",
        "Whether Twitter is asked freely.",
        is_ok,
    );
    let help = "Requests sent to Twitter.";
    out.one(
        "herd_twitter_requests_total",
        "counter",
        help,
        twitter.asked,
    );
    let help = "Questions answered by what Twitter said lately.";
    out.one("herd_twitter_cached_total", "counter", help, twitter.cached);
    let help = "Requests to Twitter that brought no answer.";
    out.one(
        "herd_twitter_failures_total",
        "counter",
        help,
        twitter.failed,
    );
}
