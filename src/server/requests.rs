//! What HTTP clients ask: read from a connection, cut into requests, answered one after the other.
//!
//! `serving` calls [`serve`] for connections to the HTTP port as it does the rest for lines, within the same
//! quota; `Server` calls [`close_slow`] and [`answer_late`] once a turn. A report becomes the `IAMAT` line that it would have been.

use serde_json::value::RawValue;

use super::driver::Driver;
use super::gather;
use super::herd_view::Asked;
use super::in_force::InForce;
use super::roles::Role;
use super::web::To;
use crate::connection_id::ConnectionId;
use crate::http::{CONTINUE, Manner, Refusal, Request, Response, Step, Timeout};
use crate::log::record::{Direction, Label};
use crate::net::transport::Received;
use crate::node::Acknowledged;
use crate::node::command::IAmAt;
use crate::node::protocol::parse_erased;
use crate::survey;
use crate::web::access::{self, Ways};
use crate::web::answer::Answer;
use crate::web::devices::Family;
use crate::web::erased::{self, Reach};
use crate::web::events::{self, From};
use crate::web::location;
use crate::web::metrics;
use crate::web::page::File;
use crate::web::report;
use crate::web::routes::{Route, route};
use crate::web::tweets;

/// Answers what is whole of a connection's input, then reads once, to `room`, and goes on with that.
pub fn serve(driver: &mut Driver, id: ConnectionId, room: &mut [u8]) {
    if serve_requests(driver, id, &[]) {
        let reactor = &mut driver.shell.reactor;
        match reactor.read(id, room) {
            Received::Bytes(read) => _ = serve_requests(driver, id, &room[..read]),
            Received::Drained => {}
            Received::End => reactor.lose(id, "closed by the client"),
        }
    }
}

/// Answers what is whole of what is buffered and `chunk`. `false` if the rest must wait, and is buffered, or is of
/// no interest.
fn serve_requests(driver: &mut Driver, id: ConnectionId, chunk: &[u8]) -> bool {
    let now = driver.shell.now.mono;
    let Some(mut input) = driver.shell.reactor.take_input(id, chunk) else {
        driver.shell.reactor.pause(id, &[]);
        return false;
    };
    let mut rest = input.as_bytes();
    let must_wait = loop {
        if !driver.may_process(id, Role::Http) {
            break true;
        }
        let reactor = &mut driver.shell.reactor;
        let step = reactor.decode(id, |codec, _| {
            codec.http().map(|codec| codec.next(&mut rest, now))
        });
        match step.flatten() {
            None | Some(Step::More) => break false,
            Some(Step::Continue) => reactor.send(id, &[CONTINUE]),
            Some(Step::Request(request)) => {
                if handle(driver, id, &request) {
                    break true; // the flush lets it go on, in the next turn
                }
            }
            Some(Step::Refuse(refusal)) => refuse(driver, id, refusal),
        }
    };
    let handled = input.len() - rest.len();
    input.consume(handled);
    driver.shell.reactor.put_back(id, input);
    if must_wait {
        driver.shell.reactor.pause(id, &[]);
    }
    !must_wait
}

/// Closes connections whose clients take too long.
pub fn close_slow(driver: &mut Driver) {
    let now = driver.shell.now.mono;
    while let Some(id) = driver.shell.web.deadlines.due(now) {
        if driver.shell.is_gated {
            driver.shell.web.deadlines.push(id, None, now); // it waits for us
            continue;
        }
        let looked = driver.shell.reactor.decode(id, |codec, _| {
            let codec = codec.http()?;
            Some((codec.time_out(now), codec.deadline()))
        });
        match looked.flatten() {
            None => {} // it has gone
            Some((None, deadline)) => driver.shell.web.deadlines.push(id, deadline, now),
            Some((Some(Timeout::Refuse(refusal)), _)) => refuse(driver, id, refusal),
            Some((Some(Timeout::Close), _)) => {
                driver.shell.reactor.lose(id, "asked nothing for long");
            }
        }
    }
}

fn refuse(driver: &mut Driver, id: ConnectionId, refusal: Refusal) {
    let manner = Manner::LAST;
    let answer = Answer::error(refusal.status, refusal.message);
    driver.shell.respond(To { id, manner }, &answer);
}

/// Says whether that was so much work that others shall have their turn.
fn handle(driver: &mut Driver, id: ConnectionId, request: &Request<'_>) -> bool {
    let shell = &mut driver.shell;
    let label = Label::Http(id.serial);
    if shell.log.accepts(Direction::In, label) {
        let text = &mut shell.web.record;
        text.clear();
        text.extend_from_slice(request.method.name().as_bytes());
        text.push(b' ');
        access::write_target(text, request);
        shell.log.record(Direction::In, label, text);
    }
    let manner = request.manner;
    let route = route(request);
    let is_costly = route.as_ref().is_ok_and(Route::is_costly);
    let is_report = matches!(route, Ok(Route::Report(_) | Route::Device(_)));
    let answer = answer(driver, id, request, route).unwrap_or_else(Some);
    if let Some(answer) = answer {
        let (shell, to) = (&mut driver.shell, To { id, manner });
        match is_report && answer.status == 200 {
            true => shell.respond_unlogged(to, &answer), // the log has the report's `AT` line
            false => shell.respond(to, &answer),
        }
    }
    is_costly
}

/// What a request is answered; `None` if that comes later, or has begun and goes on.
fn answer(
    driver: &mut Driver,
    id: ConnectionId,
    request: &Request<'_>,
    route: Result<Route<'_>, Answer>,
) -> Result<Option<Answer>, Answer> {
    if !route.as_ref().is_ok_and(Route::is_health) {
        let ways = match route {
            Ok(Route::Device(Family::OsmAnd)) => Ways::HeaderOrQuery,
            _ => Ways::Header,
        };
        driver.shell.web.access.check(request, ways)?;
        if driver.is_draining() {
            return Err(Answer::error(503, survey::DRAINING));
        }
        check_coding(request)?;
    }
    let now = driver.shell.next_moment();
    let answer = match route? {
        Route::Herd => return ask_herd(driver, id, request),
        Route::Live => Answer::json("{\"status\":\"ok\"}"),
        Route::Ready => ready(&driver.unready()),
        Route::Page(file) => page(request, file),
        Route::Location(client) => match driver.node.location(&client, now) {
            Some(location) => Answer::json(location::json(&location)),
            None => unknown(),
        },
        Route::Report(client) => {
            let line = report::read(&client, &request.body, now.wall);
            let line = line.map_err(|error| Answer::error(400, &error))?;
            let report = report::parse(&line).map_err(|error| Answer::error(400, &error))?;
            take_report(driver, id, &line, &report)
        }
        Route::Erase(client) => erase(driver, id, &client),
        Route::Device(family) => take_points(driver, id, family, request),
        Route::Status => Answer::json(gather::status(driver).json()),
        Route::Metrics => Answer {
            content_type: metrics::CONTENT_TYPE,
            ..Answer::json(metrics::text(&gather::status(driver)))
        },
        Route::Tweets(client) => return ask_for_tweets(driver, id, request, &client),
        Route::Events => return follow(driver, id, request),
    };
    Ok(Some(answer))
}

/// Asks for tweets in the words of a client's `WHATSAT`. The response has its place, and comes later.
fn ask_for_tweets(
    driver: &mut Driver,
    id: ConnectionId,
    request: &Request<'_>,
    client: &[u8],
) -> Result<Option<Answer>, Answer> {
    let line = tweets::line(client, request.query);
    let text = line.map_err(|error| Answer::error(400, &error))?;
    let Driver { node, shell, .. } = driver;
    if node.location(client, shell.now).is_none() {
        return Err(unknown());
    }
    shell.web.manner = request.manner;
    let line = node.read_client_line(&text);
    node.handle_client_line(id, line, shell.now, shell);
    if !request.manner.keep_alive {
        shell.reactor.lose(id, "asked its last");
    }
    Ok(None)
}

/// Begins to send each change as it comes. Nothing that the client says after that is heard.
fn follow(
    driver: &mut Driver,
    id: ConnectionId,
    request: &Request<'_>,
) -> Result<Option<Answer>, Answer> {
    let from = From::read(request).map_err(|error| Answer::error(400, &error))?;
    let manner = request.manner;
    let Driver { node, shell, .. } = driver;
    let head = Response {
        status: 200,
        content_type: events::CONTENT_TYPE,
        fields: &[("Cache-Control", "no-store".to_owned())],
        date: shell.web.date.at(shell.now.wall.seconds()),
    };
    let mut out = Vec::new();
    let stream = head.write_stream(&mut out, manner);
    shell.log_stream(id);
    if manner.head_only {
        shell.reactor.send(id, &[&out]);
        shell.after_response(To { id, manner });
        return Ok(None);
    }
    let first = shell.web.followers.add(id, stream, from, node, shell.now);
    shell.reactor.send(id, &[&out, &first]);
    shell.reactor.decode(id, |codec, _| {
        if let Some(codec) = codec.http() {
            codec.end();
        }
    });
    Ok(None)
}

fn unknown() -> Answer {
    Answer::error(404, "Nobody has reported a location of that client.")
}

/// Says how all servers are: this one at once, the others when they have been asked.
fn ask_herd(
    driver: &mut Driver,
    id: ConnectionId,
    request: &Request<'_>,
) -> Result<Option<Answer>, Answer> {
    let to = To {
        id,
        manner: request.manner,
    };
    let shell = &mut driver.shell;
    let in_force = &shell.in_force;
    let others = || {
        let mut targets = survey::targets(&in_force.topology);
        targets.retain(|target| target.name != in_force.member.name.as_str());
        // All servers of a herd offer HTTPS, or none does.
        let manner = survey::Manner {
            authorization: request.text("authorization").map(str::to_owned),
            certificates: in_force.keys.tls_cert.clone(),
        };
        (targets, manner)
    };
    let now = shell.now.mono;
    match shell.herd_view.ask(to, others, now) {
        Asked::Known => Ok(Some(herd_answer(driver))),
        Asked::Waits(reply) => {
            shell.reactor.reserve(id, reply, &[]);
            Ok(None)
        }
        Asked::Full => Err(Answer::error(503, "Too many ask how the herd is.")),
    }
}

/// Answers those who wait to know how all servers are, when the others have been asked.
pub fn answer_late(driver: &mut Driver) {
    let waiting = driver.shell.herd_view.take_due();
    if waiting.is_empty() {
        return;
    }
    let answer = herd_answer(driver);
    for (to, reply) in waiting {
        driver.shell.respond_late(to, reply, &answer);
    }
}

/// How this server is, as it would answer.
fn own_view(driver: &Driver) -> survey::Answer {
    let InForce {
        topology, member, ..
    } = &driver.shell.in_force;
    let mut targets = survey::targets(topology).into_iter();
    let status = RawValue::from_string(gather::status(driver).json());
    survey::Answer {
        target: targets
            .find(|target| target.name == member.name.as_str())
            .expect("a server is one of its topology"),
        status: status.map_err(|error| error.to_string()),
    }
}

/// All servers, in the order of the topology.
fn herd_answer(driver: &Driver) -> Answer {
    let (own, others) = (own_view(driver), driver.shell.herd_view.found());
    let place = others.partition_point(|other| other.target.place < own.target.place);
    let (before, after) = others.split_at(place);
    let all = before.iter().chain([&own]).chain(after);
    Answer::json(survey::json(all))
}

/// Bodies come as they are.
fn check_coding(request: &Request<'_>) -> Result<(), Answer> {
    let mut codings = request.values("content-encoding");
    match codings.all(|coding| coding.eq_ignore_ascii_case(b"identity")) {
        true => Ok(()),
        false => {
            let error = Answer::error(415, "A body with a Content-Encoding is not taken here.");
            Err(error.with("Accept-Encoding", "identity"))
        }
    }
}

/// A file of the live page, unless the browser has it already.
fn page(request: &Request<'_>, file: File) -> Answer {
    let fields = file.fields().to_vec();
    let is_known = request
        .values("if-none-match")
        .any(|etags| file.is_known(etags));
    match is_known {
        true => Answer {
            status: 304,
            fields,
            ..Answer::default()
        },
        false => Answer {
            status: 200,
            content_type: file.content_type,
            fields,
            body: file.body.to_vec(),
            ..Answer::default()
        },
    }
}

fn ready(reasons: &[String]) -> Answer {
    if reasons.is_empty() {
        return Answer::json("{\"status\":\"ok\"}");
    }
    let reasons = serde_json::Value::from(reasons);
    Answer {
        status: 503,
        ..Answer::json(format!(
            "{{\"status\":\"unavailable\",\"reasons\":{reasons}}}"
        ))
    }
}

/// Takes in what a phone reports, each point with the records in the log that a client's line has.
fn take_points(
    driver: &mut Driver,
    id: ConnectionId,
    family: Family,
    request: &Request<'_>,
) -> Answer {
    let outcome = family.read(request, driver.shell.now.wall);
    for line in &outcome.reports {
        let report = report::parse(line);
        debug_assert!(report.is_ok(), "a point is a report");
        if let Ok(report) = report {
            take(driver, id, line, &report);
        }
    }
    driver.shell.tally.points_rejected += outcome.rejected as u64;
    let rejected = outcome.reasons.iter().map(|why| ("rejected", why));
    let ignored = outcome.ignored.iter().map(|why| ("ignored", why));
    for (what, why) in rejected.chain(ignored) {
        let text = format!("{what}: {why}");
        let label = Label::Http(id.serial);
        let log = &mut driver.shell.log;
        log.record(Direction::Note, label, text.as_bytes());
    }
    outcome.answer
}

/// Takes in the report that an `IAMAT` line is, with the records in the log that a client's line has.
fn take<'a>(
    driver: &'a mut Driver,
    id: ConnectionId,
    line: &[u8],
    report: &IAmAt<'a>,
) -> Acknowledged<'a> {
    let Driver { node, shell, .. } = driver;
    let label = Label::Http(id.serial);
    shell.log.record(Direction::In, label, line);
    let taken = node.handle_foreign_report(report, shell.now, shell);
    shell.log.record(Direction::Out, label, taken.at);
    taken
}

/// Erases a client, and says what may still hold what was known. The log has the line as a reply.
fn erase(driver: &mut Driver, id: ConnectionId, client: &[u8]) -> Answer {
    let Driver { node, shell, .. } = driver;
    let line = node.handle_erase(client, shell.now, shell);
    let Some((line, erasure)) = line.as_deref().and_then(|l| Some((l, parse_erased(l)?))) else {
        return unknown();
    };
    shell
        .log
        .record(Direction::Out, Label::Http(id.serial), line);
    driver.flood(); // before the end of the turn, to see who has room for it
    let node = &driver.node;
    let end = node.table().end();
    let neighbours = node.knows_erasures().map(|(name, knows)| {
        let sent = node.link_to(name).and_then(|link| node.sent_over(link));
        let reach = match knows {
            Some(true) if sent < Some(end) => Reach::Behind,
            Some(true) => Reach::Told,
            Some(false) => Reach::Deaf,
            None => Reach::Away,
        };
        (name.as_str(), reach)
    });
    Answer::json(erased::json(&erasure, neighbours))
}

fn take_report(driver: &mut Driver, id: ConnectionId, line: &[u8], report: &IAmAt<'_>) -> Answer {
    let taken = take(driver, id, line, report);
    Answer::json(location::object(|out| {
        match &taken.standing {
            Some(standing) => location::write_members(out, standing),
            None => location::write_client(out, taken.client),
        }
        let accepted = taken.is_accepted();
        out.extend_from_slice(b",\"accepted\":");
        out.extend_from_slice(if accepted { b"true" } else { b"false" });
    }))
}
