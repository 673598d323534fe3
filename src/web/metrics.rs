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
    /// Begins the samples of a metric. What is counted up has a name that says so.
    fn metric(&mut self, name: &str, help: &str) {
        let kind = match name.ends_with("_total") {
            true => "counter",
            false => "gauge",
        };
        self.metric_of_kind(name, kind, help);
    }

    fn metric_of_kind(&mut self, name: &str, kind: &str, help: &str) {
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

    fn one(&mut self, name: &str, help: &str, value: impl Display) {
        self.metric(name, help);
        self.sample(name, &[], value);
    }

    /// A sample for each value of a label.
    fn each<V: Display>(
        &mut self,
        (name, label): (&str, &str),
        help: &str,
        values: impl IntoIterator<Item = (impl AsRef<str>, V)>,
    ) {
        self.metric(name, help);
        for (text, value) in values {
            self.sample(name, &[(label, text.as_ref())], value);
        }
    }

    /// A sample for each link of which `value` is known.
    fn links<V: Display>(
        &mut self,
        name: &str,
        help: &str,
        links: &[Link],
        value: impl Fn(&Link) -> Option<V>,
    ) {
        let values = links
            .iter()
            .filter_map(|link| Some((&link.neighbour, value(link)?)));
        self.each((name, "neighbour"), help, values);
    }
}

/// The metrics of a server.
pub fn text(status: &Status) -> String {
    let mut out = Text::default();
    of_server(status, &mut out);
    of_limits(status, &mut out);
    of_turns(status, &mut out);
    of_links(&status.links, &mut out);
    of_disk_and_twitter(status, &mut out);
    out.0
}

fn of_server(status: &Status, out: &mut Text) {
    out.metric("herd_info", "What runs here.");
    let labels = [
        ("server", status.name.as_str()),
        ("version", VERSION),
        ("incarnation", status.incarnation.as_str()),
    ];
    out.sample("herd_info", &labels, 1);
    let uptime = status.uptime.as_secs_f64();
    out.one("herd_uptime_seconds", "Time since the start.", uptime);
    let ready = u8::from(status.is_ready());
    out.one("herd_ready", "Whether clients should come here.", ready);
    let help = "Clients whose location is known.";
    out.one("herd_locations", help, status.locations);
    let help = "Open connections, by what they are for.";
    let open = status.connections.iter().copied();
    out.each(("herd_connections", "role"), help, open);
    let help = "Connections that were made, by what they are for.";
    let made = status.connections_made.iter().copied();
    out.each(("herd_connections_made_total", "role"), help, made);
    let help = "Changes accepted, from clients and neighbours.";
    out.one("herd_updates_total", help, status.updates);
    let help = "Lines and requests of clients, by what they are.";
    let messages = status.messages.iter().copied();
    out.each(("herd_messages_total", "kind"), help, messages);
    let help = "Reports that came from neighbours, news or not.";
    out.one("herd_neighbour_reports_total", help, status.heard);
    let help = "HTTP responses, by status.";
    let responses = status.responses.iter();
    let responses = responses.map(|(code, count)| (code.to_string(), *count));
    out.each(("herd_http_responses_total", "code"), help, responses);
    let help = "Reports of clients that changed nothing, since a later one stands.";
    out.one("herd_reports_outdated_total", help, status.reports_outdated);
    let help = "Points of phones that were rejected; the log says why.";
    out.one("herd_points_rejected_total", help, status.points_rejected);
    if let Some(bytes) = status.memory_bytes {
        out.one("herd_memory_bytes", "Memory in use.", bytes);
    }
    if let Some(cpu) = status.cpu {
        let help = "Processor time used.";
        out.one("herd_cpu_seconds_total", help, cpu.as_secs_f64());
    }
}

/// What keeps strangers from taking everything.
fn of_limits(status: &Status, out: &mut Text) {
    let table = &status.table;
    let help = "Memory that locations take, about.";
    out.one("herd_table_bytes", help, table.bytes);
    let help = "Memory that locations may take.";
    out.one("herd_table_limit_bytes", help, table.limit_bytes);
    let help = "Locations that have made room for others.";
    out.one("herd_evictions_total", help, table.evictions);
    let help = "How often a limit kept somebody out, by its name.";
    let limits = status.limited.iter().copied();
    out.each(("herd_limit_reached_total", "limit"), help, limits);
    let help = "Reports of neighbours that were turned away, by what was wrong with them.";
    let name = "herd_neighbour_reports_refused_total";
    out.each((name, "reason"), help, status.turned_away.iter().copied());
    let help = "Connections that ended before their TLS handshake did.";
    let failed = status.failed_handshakes;
    out.one("herd_tls_handshakes_failed_total", help, failed);
}

fn of_turns(status: &Status, out: &mut Text) {
    let turns = &status.turns;
    let help = "How long turns of the event loop took, without waiting.";
    out.metric_of_kind("herd_turn_duration_seconds", "histogram", help);
    let bucket = "herd_turn_duration_seconds_bucket";
    for (bound, count) in turns.classes() {
        out.sample(bucket, &[("le", &bound)], count);
    }
    out.sample(bucket, &[("le", "+Inf")], turns.count());
    let sum = turns.sum().as_secs_f64();
    out.sample("herd_turn_duration_seconds_sum", &[], sum);
    out.sample("herd_turn_duration_seconds_count", &[], turns.count());
}

fn of_links(links: &[Link], out: &mut Text) {
    let is = |state| move |link: &Link| Some(u8::from(link.state == state));
    let help = "Whether the link to a neighbour is up.";
    out.links("herd_link_up", help, links, is(LinkState::Up));
    let help = "Whether a link is down as the neighbour does not accept this server.";
    out.links("herd_link_refused", help, links, is(LinkState::Refused));
    let help = "How often a neighbour has ended a connection with BYE.";
    let refusals = |link: &Link| Some(link.refusals);
    out.links("herd_link_refusals_total", help, links, refusals);
    let help = "How often a link has come up.";
    let sessions = |link: &Link| Some(link.sessions);
    out.links("herd_link_sessions_total", help, links, sessions);
    let help = "Changes that the neighbour has not been sent, at most.";
    let lag = |link: &Link| Some(link.lag_changes);
    out.links("herd_link_lag_changes", help, links, lag);
    let help = "Since when the oldest of them waits.";
    let lag = |link: &Link| Some(link.lag.as_secs_f64());
    out.links("herd_link_lag_seconds", help, links, lag);
    let help = "Whether the link speaks TLS.";
    let encrypted = |link: &Link| Some(u8::from(link.is_encrypted));
    out.links("herd_link_encrypted", help, links, encrypted);
    let help = "How far the neighbour's clock is ahead, if it tells it.";
    let offset = |link: &Link| Some(link.clock_offset?.as_secs_f64());
    out.links("herd_link_clock_offset_seconds", help, links, offset);
}

fn of_disk_and_twitter(status: &Status, out: &mut Text) {
    let journal = &status.journal;
    let help = "Whether a restart would know what is known now.";
    out.one("herd_journal_ok", help, u8::from(journal.is_ok));
    let help = "Bytes written to the journal.";
    out.one("herd_journal_written_bytes_total", help, journal.bytes);
    let help = "Batches written to the journal.";
    out.one("herd_journal_batches_total", help, journal.batches);
    let help = "Syncs of the journal begun.";
    out.one("herd_journal_syncs_total", help, journal.syncs);
    let help = "Snapshots of the journal completed.";
    out.one("herd_journal_snapshots_total", help, journal.snapshots);
    let is_ok = u8::from(status.log_failure.is_none());
    out.one("herd_log_ok", "Whether the log can be written.", is_ok);
    let help = "Records of the log that were dropped: it could not be written, or not fast enough.";
    out.one("herd_log_records_dropped_total", help, status.log_dropped);
    let twitter = &status.twitter;
    let is_ok = u8::from(twitter.trouble.is_none());
    let help = "Whether Twitter is asked freely, and takes the credentials.";
    out.one("herd_twitter_ok", help, is_ok);
    let help = "Requests sent to Twitter.";
    out.one("herd_twitter_requests_total", help, twitter.asked);
    let help = "Questions answered by what Twitter said lately.";
    out.one("herd_twitter_cached_total", help, twitter.cached);
    let help = "Requests to Twitter that brought no answer.";
    out.one("herd_twitter_failures_total", help, twitter.failed);
}
