//! The way out: who is closed when, from the word to stop until nothing is left.
//!
//! `driver` knows in which phase the server is, and calls [`drain`] with each turn, [`close`] at the end. What
//! told it to stop this room does not know.

use std::time::{Duration, Instant};

use super::roles::Role;
use super::shell::Shell;
use crate::journal::State;
use crate::node::Node;

/// When the time for a stop (`--drain`) is over, those who are still there have this long to hear of it.
const LAST_WORD_MAX: Duration = Duration::from_millis(500);

/// Whether lines are handled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// They are.
    Serving,
    /// Told to stop: replies under way still leave, until then.
    Draining(Instant),
    /// Nobody is waited for any longer: what is queued still leaves, until then.
    Ending(Instant),
}

/// Told to stop, closes the clients once they have their replies; then the links, once neighbours have
/// been sent everything; or all when the time is over.
pub fn drain(phase: &mut Phase, node: &mut Node, shell: &mut Shell) {
    match *phase {
        Phase::Serving => return,
        Phase::Draining(until) if until <= shell.now.mono => {
            *phase = Phase::Ending(shell.now.after(LAST_WORD_MAX));
            node.give_up_questions("the server stops", shell);
        }
        Phase::Ending(until) if until <= shell.now.mono => {
            for id in Role::ALL.map(|role| shell.reactor.ids(role)).concat() {
                shell
                    .reactor
                    .abort(id, "the server stops, and it took nothing more");
            }
        }
        Phase::Draining(_) | Phase::Ending(_) => {}
    }
    let clients = shell.reactor.ids(Role::Client);
    for &id in &clients {
        shell.reactor.lose(id, "the server stops");
    }
    let asked = shell.reactor.ids(Role::Http);
    let is_asking = asked.iter().any(|&id| node.waits_for(id) > 0);
    let is_over = clients.is_empty() && !is_asking && node.has_told_all();
    let is_over = is_over || matches!(phase, Phase::Ending(_));
    if !is_over {
        return;
    }
    let mut links = [Role::Accepted, Role::Dialled].map(|role| shell.reactor.ids(role));
    for id in links.iter().flatten() {
        shell.reactor.lose(*id, "the server stops");
    }
    if links.iter_mut().all(|links| links.is_empty()) {
        shell.reactor.stop_listening(Role::Http);
        for (id, last) in shell.web.followers.end() {
            shell.reactor.send(id, &[&last]);
        }
        for id in asked {
            shell.reactor.lose(id, "the server stops");
        }
    }
}

/// Ends journal and log, and says whether a restart will know everything.
pub fn close(node: &Node, shell: &mut Shell) -> State {
    // A sync that does not come to its end may have failed: another would not say so.
    let state = match shell.journal.is_syncing() {
        true => {
            shell.journal.commit();
            State::Degraded
        }
        false => shell.journal.close(),
    };
    let state = match node.table().end() > shell.tally.first_end {
        true => state,
        false => State::Ok, // a restart will know as much as this start did
    };
    if state == State::Degraded {
        let text = "the journal could not be written to the end: a restart does not know the latest \
                    reports, unless a neighbour sends them";
        shell.say(text);
    }
    shell.note("stopped");
    shell.tell_of_the_disk();
    shell.log.close();
    shell.tell_of_the_disk();
    shell.operator.say("stopped");
    state
}
