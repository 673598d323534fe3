//! `herd status`: how all servers of a topology are, as a table for people or as JSON for programs.
//!
//! `main` is the caller. It asks each server over HTTP, and has no other knowledge of it.

use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::tokens;
use crate::survey::{self, Answer, Manner, Target};
use crate::topology::Topology;

/// The table is made anew this often while it is watched.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// Moves the cursor to the upper left corner and clears the screen below it (ECMA-48: CUP, ED).
const TOP: &str = "\x1b[H\x1b[J";

/// A connection that says more than this is named under the table: some 120 reports a second, where a phone says
/// one.
const BUSY_BYTES_PER_SECOND: u64 = 10_000;

/// So many of them at most.
const BUSIEST: usize = 5;

const HEADS: [&str; 7] = [
    "SERVER",
    "STATE",
    "UP FOR",
    "CLIENTS",
    "LOCATIONS",
    "MESSAGES/S",
    "LINKS",
];

/// The columns of [`HEADS`] that hold numbers.
const NUMBERS: std::ops::Range<usize> = 2..6;

/// What the command line asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// JSON, as `/v1/herd` gives it.
    pub json: bool,
    /// A line for each link, for scripts.
    pub links: bool,
    /// Again and again, until the process is ended.
    pub watch: bool,
    /// A file of tokens, of which the first is shown to the servers.
    pub tokens: Option<&'a Path>,
    /// A file of certificates: the servers are asked by HTTPS, and trusted if one of these has issued theirs.
    pub ca: Option<&'a Path>,
}

/// Writes how the servers are to `out`. Says whether all are up and ready.
///
/// # Errors
/// One line that says what is wrong with the file of tokens or of certificates.
pub fn status(
    topology: &Topology,
    options: Options<'_>,
    out: &mut impl Write,
) -> Result<bool, String> {
    let manner = tokens::manner(options.tokens, options.ca)?;
    let targets = survey::targets(topology);
    loop {
        let (text, is_well) = round(topology, &targets, &manner, options);
        // Who has closed standard output wants no more of it.
        let is_written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        if !options.watch || is_written.is_err() {
            return Ok(is_well);
        }
        thread::sleep(WATCH_EVERY);
    }
}

fn round(
    topology: &Topology,
    targets: &[Target],
    manner: &Manner,
    options: Options<'_>,
) -> (String, bool) {
    let answers = survey::ask(targets, manner);
    let servers = parsed(&answers);
    let rows: Vec<_> = servers.iter().map(Row::of).collect();
    let is_well = rows.iter().all(|row| row.is_well);
    let text = match (options.json, options.links) {
        (true, _) => survey::json(&answers) + "\n",
        (false, true) => link_list(topology, &servers),
        (false, false) => table(&rows) + &notes(&servers) + &busiest(&servers),
    };
    let top = if options.watch && !options.json {
        TOP
    } else {
        ""
    };
    (format!("{top}{text}"), is_well)
}

/// A server's answer with its status parsed, which is null where there is none.
struct Server<'a> {
    answer: &'a Answer,
    status: Value,
}

fn parsed(answers: &[Answer]) -> Vec<Server<'_>> {
    let parsed = answers.iter().map(|answer| {
        let status = answer.status.as_ref().ok();
        let status = status.and_then(|status| serde_json::from_str(status.get()).ok());
        Server {
            answer,
            status: status.unwrap_or_default(),
        }
    });
    parsed.collect()
}

impl Server<'_> {
    /// What the server says of itself; `None` if it cannot be asked, or another answers in its place.
    fn own_status(&self) -> Option<&Value> {
        let is_it = self.status["name"] == self.answer.target.name.as_str();
        is_it.then_some(&self.status)
    }
}

/// A line of the table.
struct Row {
    cells: [String; HEADS.len()],
    is_well: bool,
}

impl Row {
    fn of(server: &Server<'_>) -> Row {
        let Server { answer, status } = server;
        let name = answer.target.name.clone();
        let empty = || "-".to_owned();
        if let Err(error) = &answer.status {
            let is_askable = answer.target.http.is_some();
            let word = if is_askable { "down" } else { "unknown" };
            let state = format!("{word}: {error}");
            let cells = [name, state, empty(), empty(), empty(), empty(), empty()];
            return Row {
                cells,
                is_well: false,
            };
        }
        // What answers may be another program, or another server.
        let is_it = server.own_status().is_some();
        let is_ready = status["ready"] == true;
        let state = match (is_it, is_ready) {
            (false, _) => format!("another server: {}", shown(&status["name"])),
            (true, true) => "ready".to_owned(),
            (true, false) => format!("not ready: {}", listed(&status["reasons"])),
        };
        let rate = status["messages_per_second"].as_f64();
        let cells = [
            name,
            state,
            status["uptime_seconds"].as_f64().map_or_else(empty, span),
            shown(&status["connections_by_role"]["client"]),
            shown(&status["locations"]),
            rate.map_or_else(empty, |rate| format!("{rate:.1}")),
            links(&status["links"]),
        ];
        Row {
            cells,
            is_well: is_it && is_ready,
        }
    }
}

fn table(rows: &[Row]) -> String {
    let heads = HEADS.map(str::to_owned);
    let lines: Vec<_> = [&heads]
        .into_iter()
        .chain(rows.iter().map(|row| &row.cells))
        .collect();
    let width = |column: usize| {
        lines
            .iter()
            .map(|cells| cells[column].chars().count())
            .max()
    };
    let widths: Vec<_> = (0..HEADS.len())
        .map(|column| width(column).unwrap_or(0))
        .collect();
    let mut text = String::new();
    for cells in lines {
        let mut line = String::new();
        for (column, (cell, &width)) in cells.iter().zip(&widths).enumerate() {
            line += &match NUMBERS.contains(&column) {
                true => format!("{cell:>width$}  "),
                false => format!("{cell:width$}  "),
            };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// What a server cannot do though it serves, a line each; nothing if all is well.
fn notes(servers: &[Server<'_>]) -> String {
    let mut text = String::new();
    for server in servers {
        let Some(status) = server.own_status() else {
            continue;
        };
        for (part, words) in [
            (
                "journal",
                "cannot write its journal: new reports are only in memory",
            ),
            ("log", "cannot write its log, and may drop records"),
            ("twitter", "has trouble with Twitter"),
        ] {
            let (state, reason) = (&status[part]["state"], &status[part]["reason"]);
            if state.is_null() || *state == "ok" {
                continue;
            }
            text += &format!("note: {} {words}", server.answer.target.name);
            if reason.is_string() {
                text += &format!(": {}", shown(reason));
            }
            text.push('\n');
        }
    }
    text
}

/// The connections that say most, of all servers: who floods us is among them.
fn busiest(servers: &[Server<'_>]) -> String {
    let mut all = Vec::new();
    for Server { answer, status } in servers {
        let busiest = status["busiest_connections"].as_array();
        for one in busiest.into_iter().flatten() {
            let rate = one["bytes_per_second"].as_u64().unwrap_or(0);
            let (connection, peer) = (shown(&one["connection"]), shown(&one["peer"]));
            let text = format!("{} {connection} from {peer}", answer.target.name);
            all.push((rate, text));
        }
    }
    all.sort_by(|one, other| other.cmp(one));
    all.retain(|(rate, _)| *rate > BUSY_BYTES_PER_SECOND);
    let mut text = String::new();
    for (rate, connection) in all.iter().take(BUSIEST) {
        text += &format!("busy: {connection}, {} KB/s\n", rate / 1_000);
    }
    text
}

fn links(links: &Value) -> String {
    let links = links.as_array().map_or(&[][..], Vec::as_slice);
    let links = links.iter().map(|link| {
        let (neighbour, state) = (shown(&link["neighbour"]), shown(&link["state"]));
        let (changes, seconds) = (&link["lag_changes"], link["lag_seconds"].as_f64());
        match changes.as_u64() {
            None | Some(0) => format!("{neighbour} {state}"),
            Some(changes) => {
                let seconds = seconds.unwrap_or(0.0);
                format!(
                    "{neighbour} {state}, {changes} behind for {}",
                    span(seconds)
                )
            }
        }
    });
    let links: Vec<_> = links.collect();
    match links.is_empty() {
        true => "-".to_owned(),
        false => links.join("; "),
    }
}

/// A line for each link of the topology: its two servers, and its state. `servers` are in the topology's order.
fn link_list(topology: &Topology, servers: &[Server<'_>]) -> String {
    let members = topology.members();
    let mut text = String::new();
    for (place, one) in members.iter().enumerate() {
        for &other in one.neighbours.iter().filter(|other| **other > place) {
            let ends = [(place, other), (other, place)];
            let states = ends.into_iter().filter_map(|(near, far)| {
                let status = servers[near].own_status()?;
                Some(link_state(status, members[far].name.as_str()))
            });
            // One end may not have noticed yet that the link is down, or may be unable to say so.
            let state = states.reduce(|one, other| if one == "up" { other } else { one });
            let (state, other) = (state.unwrap_or("unknown"), &members[other].name);
            text.push_str(&format!("{} {other} {state}\n", one.name));
        }
    }
    text
}

/// The state of a server's link to a neighbour. One that it does not know of, since its topology is older, is down.
fn link_state(status: &Value, neighbour: &str) -> &'static str {
    let links = status["links"].as_array().map_or(&[][..], Vec::as_slice);
    let link = links.iter().find(|link| link["neighbour"] == neighbour);
    match link.and_then(|link| link["state"].as_str()) {
        Some("up") => "up",
        Some("refused") => "refused",
        _ => "down",
    }
}

/// A span for people: two units at most.
fn span(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3_600 => format!("{} min", whole / 60),
        3_600..86_400 => format!("{} h {} min", whole / 3_600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86_400, whole / 3_600 % 24),
    }
}

/// A value without what could move the cursor: a server said it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.chars().filter(|letter| !letter.is_control()).collect(),
        other => other.to_string(),
    }
}

fn listed(reasons: &Value) -> String {
    let reasons = reasons.as_array().map_or(&[][..], Vec::as_slice);
    reasons.iter().map(shown).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json::value::RawValue;

    use super::*;

    fn answer(name: &str, status: Result<Value, &str>) -> Answer {
        Answer {
            target: Target {
                place: 0,
                name: name.to_owned(),
                http: (name != "G").then(|| "h:1".to_owned()),
            },
            status: match status {
                Ok(status) => Ok(RawValue::from_string(status.to_string()).expect("JSON")),
                Err(error) => Err(error.to_owned()),
            },
        }
    }

    #[test]
    fn a_table_is_aligned_for_names_of_any_length() {
        let long = "a".repeat(64);
        let well = |name: &str| {
            json!({
                "name": name, "ready": true, "reasons": [], "uptime_seconds": 3725.5, "locations": 1234567,
                "connections_by_role": {"client": 12}, "messages_per_second": 35.25,
                "links": [
                    {"neighbour": "B", "state": "up", "lag_changes": 0, "lag_seconds": 0.0},
                    {"neighbour": "C", "state": "down", "lag_changes": 7, "lag_seconds": 95.2},
                ],
            })
        };
        let unready = json!({"name": "B", "ready": false, "reasons": ["draining", "\u{1b}[2Jx"]});
        let answers = [
            answer(&long, Ok(well(&long))),
            answer("B", Ok(unready)),
            answer("C", Err("timeout")),
            answer("D", Ok(json!({"name": "E", "ready": true}))),
            answer("F", Ok(json!([]))),
            answer("G", Err("no http=")),
        ];
        let rows: Vec<_> = parsed(&answers).iter().map(Row::of).collect();
        let are_well: Vec<_> = rows.iter().map(|row| row.is_well).collect();
        assert_eq!(are_well, [true, false, false, false, false, false]);
        let text = table(&rows);
        let lines: Vec<_> = text.lines().collect();
        let space = " ".repeat(58);
        assert_eq!(
            lines[0],
            format!(
                "SERVER{space}  STATE                         UP FOR  CLIENTS  LOCATIONS  MESSAGES/S  LINKS"
            )
        );
        assert_eq!(
            lines[1],
            format!(
                "{long}  ready                      1 h 2 min       12    1234567        35.2  B up; C down, 7 behind for 1 min"
            )
        );
        assert!(lines[2].starts_with("B ") && lines[2].contains("not ready: draining; [2Jx "));
        assert!(lines[3].contains("  down: timeout  ") && lines[3].ends_with("  -"));
        assert!(lines[4].contains("  another server: E  "));
        assert!(lines[5].contains("  another server: -  "));
        assert!(lines[6].contains("  unknown: no http=  "));
        let state = lines[0].find("STATE");
        assert!(
            lines[1..]
                .iter()
                .all(|line| line.len() > state.expect("it is there"))
        );
    }

    #[test]
    fn what_a_server_cannot_do_stands_under_the_table() {
        let ok = json!({"state": "ok", "reason": null});
        let well = json!({"name": "A", "journal": {"state": "ok"}, "log": ok, "twitter": ok});
        let ill = json!({
            "name": "B",
            "journal": {"state": "degraded", "bytes": 7},
            "log": {"state": "degraded", "reason": "disk full\u{1b}[2J"},
            "twitter": {"state": "failing", "reason": "it is gone"},
        });
        let another = json!({"name": "E", "log": {"state": "degraded"}});
        let answers = [
            answer("A", Ok(well)),
            answer("B", Ok(ill)),
            answer("C", Err("timeout")),
            answer("D", Ok(another)),
            answer("F", Ok(json!({"name": "F"}))), // of a version that says less
        ];
        let want = "note: B cannot write its journal: new reports are only in memory\n\
            note: B cannot write its log, and may drop records: disk full[2J\n\
            note: B has trouble with Twitter: it is gone\n";
        assert_eq!(notes(&parsed(&answers)), want);
    }

    #[test]
    fn of_all_servers_the_busiest_connections_are_named() {
        let busy = |name: &str, rates: &[u64]| {
            let busiest = rates.iter().map(|rate| {
                json!({"connection": format!("c{rate}"), "peer": "192.0.2.1:5\u{7}", "bytes_per_second": rate})
            });
            let busiest: Vec<_> = busiest.collect();
            answer(
                name,
                Ok(json!({"name": name, "busiest_connections": busiest})),
            )
        };
        let all = [
            busy("A", &[2_000_000, 10_000, 9]),
            answer("B", Err("timeout")),
            busy("C", &[30_999]),
            answer("D", Ok(json!({"busiest_connections": 7}))),
        ];
        assert_eq!(
            busiest(&parsed(&all)),
            "busy: A c2000000 from 192.0.2.1:5, 2000 KB/s\nbusy: C c30999 from 192.0.2.1:5, 30 KB/s\n"
        );
        let one = [busy("A", &[20_000; 9])];
        assert_eq!(busiest(&parsed(&one)).lines().count(), BUSIEST);
    }

    #[test]
    fn a_link_is_what_the_end_says_that_knows_it_to_be_down() {
        let topology = Topology::parse(
            b"A h:1 h:2 B C D\nB h:3 h:4 C\nC h:5 h:6 D\nD h:7 h:8 E\nE h:9 h:10 F\nF h:11 h:12",
        )
        .expect("it is valid");
        let status = |name: &str, links: &[(&str, &str)]| {
            let links = links
                .iter()
                .map(|(neighbour, state)| json!({"neighbour": neighbour, "state": state}));
            Ok(json!({"name": name, "links": links.collect::<Vec<_>>()}))
        };
        let answers = [
            answer(
                "A",
                status("A", &[("B", "up"), ("C", "up"), ("D", "refused")]),
            ),
            answer("B", status("B", &[("A", "up"), ("C", "up")])),
            answer("C", status("C", &[("A", "down"), ("B", "up")])), // it has not been told of D
            answer("D", Err("timeout")),
            answer("E", status("another", &[("D", "up"), ("F", "up")])),
            answer("F", status("F", &[("E", "up")])),
        ];
        let want = "A B up\nA C down\nA D refused\nB C up\nC D down\nD E unknown\nE F up\n";
        assert_eq!(link_list(&topology, &parsed(&answers)), want);
    }

    #[test]
    fn spans_are_told_in_two_units_at_most() {
        for (seconds, want) in [
            (0.2, "0 s"),
            (59.9, "59 s"),
            (60.0, "1 min"),
            (3_725.0, "1 h 2 min"),
            (90_000.0, "1 d 1 h"),
            (-1.0, "0 s"),
        ] {
            assert_eq!(span(seconds), want);
        }
    }
}
