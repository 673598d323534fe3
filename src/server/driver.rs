//! The node, and the shell that acts for it: what the reactor and other threads tell becomes an
//! input of the node, which is handed the shell as the sink of its effects.
//!
//! `Server` has one and says when; `serving` brings it the lines.

use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGXFSZ};

use super::begun_lines::BegunLines;
use super::ending::{self, Phase};
use super::mail::Mail;
use super::operator::Matter;
use super::overlong::OverlongLines;
use super::places::places;
use super::reload::reload;
use super::roles::{Codec, Role};
use super::security::Dial;
use super::shell::Shell;
use super::supervisor::Supervisor;
use super::web::{To, no_room};
use crate::cause;
use crate::connection_id::ConnectionId;
use crate::http::Manner;
use crate::input::Input;
use crate::journal::State;
use crate::log::record::{Direction, Label};
use crate::net::{Event, INPUT_ALL_BYTES_MAX, Limits, OUTPUT_ALL_BYTES_MAX, READ_BYTES_MAX};
use crate::node::Node;
use crate::node::effects::{LinkId, LogPolicy};
use crate::node::fields::plainly_spaced;
use crate::node::prefetched::ClientLine;
use crate::node::protocol::{LINK_LINE_BYTES_MAX, error_json};
use crate::node::table::Key;
use crate::time::{Now, span_text};
use crate::twitter::Answer;

/// Where records expire, a clock that is set back by this much or less is taken to stand still until it
/// has caught up. There is always something that has just expired: so each such step, of which virtual
/// machines make many, would end all links and have everything sent again.
const STEP_BACK_MAX: Duration = Duration::from_secs(1);

/// A node, and all that acts for it.
pub struct Driver {
    /// What decides.
    pub node: Node,
    /// What acts.
    pub shell: Shell,
    clients_max: usize,
    /// Clients that have come in this turn.
    arrived: Vec<ConnectionId>,
    /// Clients inside a line over the limit.
    overlong: OverlongLines,
    /// Clients' lines without an end yet.
    pub begun_lines: BegunLines,
    /// How long a stop may take until replies have left and neighbours have been sent everything.
    drain_max: Duration,
    /// What supervises the process.
    supervisor: Supervisor,
    /// Clients are served: not before the server has caught up with its neighbours.
    is_open: bool,
    phase: Phase,
}

impl Driver {
    /// Puts a node together with what acts for it. A client's line may take `line_timeout`, a stop `drain_max`.
    pub fn new(node: Node, shell: Shell, line_timeout: Duration, drain_max: Duration) -> Driver {
        Driver {
            node,
            shell,
            clients_max: usize::MAX,
            arrived: Vec::new(),
            overlong: OverlongLines::default(),
            begun_lines: BegunLines::new(line_timeout),
            drain_max,
            supervisor: Supervisor::from_environment(),
            is_open: false,
            phase: Phase::Serving,
        }
    }

    /// Lets no more than `most` clients be connected. Without it, as many as there are descriptors
    /// for.
    pub fn limit_clients(&mut self, most: usize) {
        self.clients_max = most;
    }

    // ---- what the reactor tells

    /// A connection was made or lost, or there is no room for one.
    pub fn handle_event(&mut self, event: Event<Role>) {
        match event {
            Event::Made(id, role) => self.handle_made(id, role),
            Event::Lost {
                id,
                role,
                made,
                reason,
            } => self.handle_lost(id, role, made, &reason),
            Event::AcceptFailed(error) => {
                let text = format!(
                    "connections have to wait: {error}. Raise ulimit -n (LimitNOFILE= for systemd), or lower \
                     --max-connections"
                );
                self.shell.say_now_and_then(Matter::Descriptors, &text);
            }
            Event::OutputFull => {
                let most = OUTPUT_ALL_BYTES_MAX >> 20;
                let text = format!(
                    "connections that do not read, or have the largest backlog, are closed: over {most} MiB of \
                     replies wait to be read. The log names them; --max-connections allows fewer"
                );
                self.shell.say_now_and_then(Matter::Output, &text);
            }
            Event::InputFull => {
                let most = INPUT_ALL_BYTES_MAX >> 20;
                let text = format!(
                    "connections with the most unhandled input are closed: over {most} MiB of lines have no end \
                     or have to wait. The log names them; a shorter --line-timeout closes lines without an end \
                     earlier"
                );
                self.shell.say_now_and_then(Matter::Input, &text);
            }
        }
        self.dial_due();
    }

    fn handle_made(&mut self, id: ConnectionId, role: Role) {
        let Driver { node, shell, .. } = self;
        *shell.tally.made.entry(role).or_default() += 1;
        match role {
            Role::Client => {
                shell.log_opened(id, None);
                self.arrived.push(id);
            }
            Role::Http => {
                shell.log_opened(id, None);
                shell.idle_from_now(id);
                shell.web.deadlines.push(id, None, shell.now.mono);
                self.arrived.push(id);
            }
            Role::Accepted => {
                shell.log_opened(id, None);
                node.handle_accepted(id, shell.now);
            }
            Role::Dialled => {
                let Some(link) = shell.neighbours.dialled(id) else {
                    return shell.reactor.abort(id, "given up"); // just before it was made
                };
                shell.neighbours.at(link).dial = None;
                shell.log_opened(id, Some(link));
                node.handle_connected(link, id, shell.now, shell);
            }
        }
    }

    fn handle_lost(&mut self, id: ConnectionId, role: Role, made: bool, reason: &str) {
        let Driver { node, shell, .. } = self;
        self.begun_lines.end(id);
        self.overlong.forget(id, shell);
        if !made {
            if let Some(link) = shell.neighbours.dialled(id) {
                self.dial_failed(link, reason);
            }
            return;
        }
        let label = shell.neighbours.label(id, role, node.link_of(id));
        shell
            .log
            .record(Direction::Dropped, label, reason.as_bytes());
        match role {
            Role::Client => node.handle_client_lost(id, shell),
            Role::Http => {
                node.handle_client_lost(id, shell);
                shell.web.forget(id);
            }
            Role::Accepted | Role::Dialled => {
                node.handle_peer_lost(id, reason, shell.now, shell);
            }
        }
    }

    /// Tells clients for whom there is no room, the last to come first, so that they may try
    /// another server. Those who left in the same turn have made room.
    pub fn refuse_surplus(&mut self) {
        let (shell, most) = (&mut self.shell, self.clients_max);
        for id in self.arrived.drain(..).rev() {
            let role = shell.reactor.role(id);
            let is_over = role.is_some_and(|role| shell.reactor.open_len(role) > most);
            if !is_over || !shell.reactor.is_open(id) {
                continue;
            }
            let name = shell.operator.server();
            let text = if role == Some(Role::Http) {
                let manner = Manner::LAST;
                let answer = no_room(name.as_str(), most);
                shell.respond(To { id, manner }, &answer);
                format!(
                    "HTTP clients are refused: {most} are connected, all that may be. Raise --max-connections"
                )
            } else {
                let error =
                    format!("{name} has {most} clients and takes no more, try another server");
                let json = error_json(&error);
                let label = Label::Client(id.serial);
                shell.log.record(Direction::Out, label, &json);
                shell.reactor.send(id, &[&json, b"\n"]);
                shell.reactor.lose(id, "refused: too many clients");
                format!(
                    "clients are refused: {most} are connected, all that may be. Raise --max-connections, or have \
                     silent ones closed (--idle-timeout)"
                )
            };
            shell.say_now_and_then(Matter::Clients, &text);
        }
    }

    // ---- what a connection says

    /// Whether the next line of a connection may be handled now.
    pub fn may_process(&self, id: ConnectionId, role: Role) -> bool {
        // A neighbour is heard though it does not read: its lines have no replies, and its
        // backlog is a cursor.
        let reactor = &self.shell.reactor;
        let may = match role {
            Role::Client => self.node.accepts(id) && reactor.takes_replies(id),
            Role::Http => return self.node.accepts(id) && reactor.takes_replies(id),
            Role::Accepted | Role::Dialled => reactor.is_open(id),
        };
        may && self.phase == Phase::Serving
    }

    /// Whether the server was told to stop.
    pub fn is_draining(&self) -> bool {
        self.phase != Phase::Serving
    }

    /// Why clients should go elsewhere for now; empty if they need not.
    pub fn unready(&self) -> Vec<String> {
        let distrust = self.node.clock_distrust();
        let clock = distrust.map(|why| why.to_string());
        // Clients that were let in stay, though a neighbour comes then that has much to tell.
        let is_catching_up = !self.is_open || self.node.is_catching_up(self.shell.now);
        let reasons = [
            (self.is_draining(), "draining"),
            (is_catching_up, "catching up with the neighbours"),
            (
                self.shell.journal.state() == State::Degraded,
                "the journal cannot be written",
            ),
        ];
        let reasons = reasons.into_iter().filter(|(is_so, _)| *is_so);
        let reasons = reasons.map(|(_, reason)| reason.to_owned());
        reasons.chain(clock).collect()
    }

    /// How many bytes a connection between servers may have read in this turn, where a client may
    /// have `quota`. A link speaks for all clients of the servers behind it, so it has as much as
    /// any connection ever has; who has not presented itself has what a client has.
    pub fn peer_quota(&self, id: ConnectionId, quota: usize) -> usize {
        match self.node.speaker_of(id) {
            Some(_) => READ_BYTES_MAX,
            None => quota,
        }
    }

    /// Where the table has the client that a line speaks of, if it does.
    pub fn key(&self, role: Role, text: &[u8]) -> Option<Key> {
        match role {
            Role::Client => self.node.client_line_key(text),
            Role::Http => None,
            Role::Accepted | Role::Dialled => self.node.link_line_key(text),
        }
    }

    /// A connection has said this line. `key` is that of the client it speaks of, if it was looked for.
    pub fn handle_line(&mut self, id: ConnectionId, role: Role, text: &[u8], key: Option<Key>) {
        let Driver { node, shell, .. } = self;
        match role {
            Role::Client => {
                let label = Label::Client(id.serial);
                shell.is_line_plain = shell.log.record(Direction::In, label, text);
                node.handle_client_line(id, ClientLine { text, key }, shell.now, shell);
            }
            Role::Accepted | Role::Dialled => {
                let plain;
                let mut line = node.read_link_line_at(text, key);
                if line.is_malformed() {
                    plain = plainly_spaced(text); // white space is as free as on the client port
                    line = node.read_link_line_at(&plain, None);
                }
                if node.log_policy(id, &line) == LogPolicy::Log {
                    let speaker = node.speaker_of_line(id, &line);
                    let label = shell.neighbours.label(id, role, speaker);
                    shell.log.record(Direction::In, label, text);
                }
                match node.presents(id, &line) {
                    Some(link) if !shell.may_be(node, id, link) => {}
                    _ => node.handle_link_line(id, line, shell.now, shell),
                }
                self.dial_due();
            }
            Role::Http => unreachable!("requests are no lines"),
        }
    }

    /// A connection has said this piece of a line that is longer than any may be.
    pub fn handle_overlong(
        &mut self,
        id: ConnectionId,
        role: Role,
        bytes: &[u8],
        first: bool,
        last: bool,
    ) {
        match role {
            Role::Client => self.overlong.copy(id, bytes, first, last, &mut self.shell),
            Role::Accepted | Role::Dialled => {
                let Driver { node, shell, .. } = self;
                let label = shell.neighbours.label(id, role, node.speaker_of(id));
                shell.log.record_beginning(Direction::In, label, bytes);
                node.handle_link_overlong(id, shell.now, shell);
                self.dial_due();
            }
            Role::Http => unreachable!("requests are no lines"),
        }
    }

    /// The peer will say no more, and all that may be handled of what it has said was handled. A client is
    /// still sent its replies.
    pub fn handle_end(&mut self, id: ConnectionId, role: Role) {
        let Driver { node, shell, .. } = self;
        match role {
            Role::Client | Role::Http => shell.reactor.lose(id, "closed by the client"),
            Role::Accepted | Role::Dialled => {
                let unfinished = |_: &mut Codec, input: &mut Input| input.len();
                let bytes = shell.reactor.decode(id, unfinished).unwrap_or(0);
                if bytes > 0 {
                    let label = shell.neighbours.label(id, role, node.link_of(id));
                    let text = format!("{bytes} bytes after the last LF were discarded");
                    shell.log.record(Direction::Note, label, text.as_bytes());
                }
                shell.reactor.abort(id, "closed by the neighbour");
            }
        }
    }

    // ---- what other threads tell

    /// Another thread has told this.
    pub fn handle_mail(&mut self, mail: Mail) {
        let shell = &mut self.shell;
        match mail {
            Mail::Answer(answer) => self.handle_answer(answer),
            Mail::Signal(SIGHUP) => self.reload(),
            Mail::Signal(SIGXFSZ) => {} // the write says so too
            Mail::Signal(_) => self.leave(),
            Mail::Done(ticket, outcome) => shell.journal.handle_done(ticket, outcome),
            Mail::LogFailed(why) => shell.log.handle_failure(why),
            Mail::HerdView(found) => shell.herd_view.handle_found(found, shell.now.mono),
            Mail::Resolved(link, found) => {
                let now = shell.now.mono;
                if let Err(error) = shell.neighbours.handle_lookup(link, found, now) {
                    shell.say_unreachable(link, &cause::of(&error));
                }
            }
        }
    }

    /// Gives the answers that no worker was needed for to those who asked.
    pub fn handle_ready_answers(&mut self) {
        while let Some(answer) = self.shell.pool.poll_answer() {
            self.handle_answer(answer);
        }
    }

    fn handle_answer(&mut self, answer: Answer) {
        let Driver { node, shell, .. } = self;
        let (question, json) = shell.pool.answered(answer, shell.now);
        node.handle_answer(question, &json, shell);
        while let Some(notice) = shell.pool.poll_notice() {
            shell.say(&notice);
        }
    }

    // ---- time

    /// When the next turn is due though nothing happens.
    pub fn wake_at(&self) -> Option<Instant> {
        let Shell {
            journal, log, now, ..
        } = &self.shell;
        let is_busy = self.flooding().next().is_some() || journal.is_busy();
        let drained = match self.phase {
            Phase::Serving => None,
            Phase::Draining(until) | Phase::Ending(until) => Some(until),
        };
        let busy = is_busy.then_some(now.mono);
        let disk = [journal.poll_timeout(), log.poll_timeout()];
        let line = self.begun_lines.timeout().filter(|_| !self.shell.is_gated);
        let web = self.shell.web.timeout(self.node.table().end());
        let due = [self.node.poll_timeout(), line, drained, busy];
        due.into_iter().chain(web).chain(disk).flatten().min()
    }

    /// Sets when all is that happens from here on.
    pub fn set_now(&mut self, now: Now) {
        let Driver { node, shell, .. } = self;
        let now = match node.forgets_after() {
            Some(_) => now.without_small_steps_back(shell.now, STEP_BACK_MAX),
            None => now,
        };
        shell.now = now;
        shell.log.set_time(now);
        shell.journal.set_now(now);
        if node.handle_clock(now, shell) {
            shell.journal.handle_set_back();
        }
    }

    /// Lets the node know that time has passed, if it asked for that. Each link makes for a turn every
    /// few seconds, whether it is up or down, so that nobody need be woken for what is said of it late.
    pub fn handle_timeout(&mut self) {
        let Driver { node, shell, .. } = self;
        // While clients wait for the disk, it is we who let their lines wait.
        while !shell.is_gated
            && let Some(id) = self.begun_lines.overdue(shell.now.mono)
        {
            let limit = span_text(self.begun_lines.limit);
            let reason = format!("a line did not come to its end within {limit}");
            shell.reactor.lose(id, &reason);
        }
        while let Some(text) = shell.neighbours.untold(shell.now.mono) {
            shell.operator.say(&text);
        }
        let due = node.poll_timeout();
        if due.is_some_and(|at| at <= shell.now.mono) {
            node.handle_timeout(shell.now, shell);
            self.dial_due();
        }
    }

    // ---- links

    /// Dials the links that the node wants dialled.
    fn dial_due(&mut self) {
        while let Some(link) = self.shell.dials.pop() {
            self.dial(link);
        }
    }

    fn dial(&mut self, link: LinkId) {
        let shell = &mut self.shell;
        let Some(address) = shell.neighbours.next_address(link, shell.now.mono) else {
            return self.node.handle_dial_failed(link, shell.now); // no lookup has found one yet
        };
        let neighbour = shell.neighbours.at(link);
        let tls = match shell.security.dial(&neighbour.keys, neighbour.tries) {
            Dial::Tls(config) => Some(config),
            Dial::Plain => None,
            Dial::Never => {
                let why = "one side has a key, and the other none";
                neighbour.condition.set_down(why, shell.now);
                return self.node.handle_dial_failed(link, shell.now);
            }
        };
        neighbour.tries = neighbour.tries.wrapping_add(1);
        match shell.reactor.connect(address, Role::Dialled, tls) {
            Ok(id) => shell.neighbours.at(link).dial = Some(id),
            Err(error) => self.dial_failed(link, &cause::of(&error)),
        }
    }

    fn dial_failed(&mut self, link: LinkId, reason: &str) {
        let Driver { node, shell, .. } = self;
        shell.neighbours.at(link).dial = None;
        shell.say_unreachable(link, reason);
        node.handle_dial_failed(link, shell.now);
    }

    /// Links that have a backlog and room for at least one line of it.
    fn flooding(&self) -> impl Iterator<Item = ConnectionId> {
        let backlogs = self.node.backlogs();
        backlogs.filter(|&id| self.shell.reactor.room(id) > LINK_LINE_BYTES_MAX)
    }

    /// Lets links with a backlog be told as much of it as they have room for.
    pub fn flood(&mut self) {
        if self.flooding().next().is_none() {
            return;
        }
        for id in self.flooding().collect::<Vec<_>>() {
            let Driver { node, shell, .. } = self;
            let room = shell.reactor.room(id);
            node.handle_room(id, room, shell.now, shell);
        }
    }

    /// Lets followers over HTTP be told as much as it is their turn to be.
    pub fn tell_followers(&mut self) {
        let Driver { node, shell, .. } = self;
        let Shell { reactor, web, .. } = shell;
        web.followers.visit(node, shell.now, reactor);
    }

    // ---- other files

    fn reload(&mut self) {
        let Driver { node, shell, .. } = self;
        shell.log.reopen();
        if self.phase != Phase::Serving {
            return;
        }
        if self.is_open {
            self.supervisor.reloading();
        }
        let text = match reload(node, shell) {
            Ok(changes) => changes,
            Err(why) => format!("not reloaded, nothing has changed: {why}"),
        };
        shell.say(&text);
        if self.is_open {
            self.supervisor.ready(&text); // before, the start is not over
        }
        self.set_limits();
        self.dial_due();
    }

    // ---- the way in

    /// Lets clients in, who wait in the kernel's backlog, once what they are answered is as recent as what the
    /// neighbours know.
    pub fn open_for_clients(&mut self) {
        let now = self.shell.now;
        if !self.is_open && !self.node.is_catching_up(now) {
            self.is_open = true;
            self.set_limits();
            self.supervisor.ready("serving");
            self.shell.say("ready: clients are served");
        }
    }

    /// Sets with how many connections each place takes no more.
    pub fn set_limits(&mut self) {
        for place in places(&self.shell.in_force.member, &self.shell.security) {
            let limits = match place.role {
                Role::Client if !self.is_open => Limits {
                    own: 0,
                    ..place.limits
                },
                Role::Client | Role::Http | Role::Accepted | Role::Dialled => place.limits,
            };
            self.shell.reactor.set_limits(place.role, limits);
        }
    }

    // ---- the way out

    fn leave(&mut self) {
        if self.phase == Phase::Serving {
            let Driver { node, shell, .. } = self;
            self.phase = Phase::Draining(shell.now.after(self.drain_max));
            for role in [Role::Client, Role::Accepted] {
                shell.reactor.stop_listening(role); // HTTP stays, for health
            }
            node.handle_leaving(shell.now, shell);
            shell.note("told to stop");
            self.supervisor.stopping();
        }
    }

    /// Told to stop, closes what has had its due: see [`ending::drain`].
    pub fn drain(&mut self) {
        ending::drain(&mut self.phase, &mut self.node, &mut self.shell);
    }

    /// Whether all has been done, or as much as there was time for.
    pub fn is_done(&self) -> bool {
        let is_syncing = self.shell.journal.is_syncing();
        let waits_for_disk = match self.phase {
            Phase::Serving => return false,
            Phase::Draining(_) => is_syncing,
            Phase::Ending(until) => is_syncing && self.shell.now.mono < until,
        };
        self.shell.reactor.is_empty() && !waits_for_disk
    }

    /// Ends journal and log, and says whether a restart will know everything.
    pub fn close(&mut self) -> State {
        ending::close(&self.node, &mut self.shell)
    }
}
