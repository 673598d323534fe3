//! One server, running: where the floors meet. What the reactor tells becomes an input of the node;
//! the node's effects are carried out by the reactor, Twitter's workers and the log.
//!
//! `main` makes one and runs it. A turn:
//!
//! ```text
//!   commit the journal --> flush replies --> snapshot, log --> poll --> serve lines --> mail --> timeouts --> flood
//!        ^                                                               |                                    |
//!        +------------------------- changes gathered <-------------------+------------------------------------+
//! ```
//!
//! The order of the first two is the durability: a reply leaves after the journal has what it
//! acknowledges. The log is written behind, by a thread of its own.
//!
//! | File | What |
//! |---|---|
//! | `start`, `places` | what is done once, before; where it listens |
//! | `reload`, `in_force` | what the operator has changed meanwhile; what is in force |
//! | `serving`, `read_batch` | reading from connections, and cutting what they say into lines |
//! | `begun_lines` | by when a line that has begun must end |
//! | `overlong` | lines that are too long, copied as they come |
//! | `requests`, `web` | what HTTP clients ask, and what is kept for them |
//! | `herd_view` | how the other servers are |
//! | `memory` | how much there is for this process |
//! | `gather`, `tally` | how the server is: read from all rooms; what is counted here |
//! | `connected` | who is connected, and says most |
//! | `driver` | what happens becomes an input of the node |
//! | `ending` | who is closed when, once the server is told to stop |
//! | `shell` | the node's effects, carried out |
//! | `mail` | what other threads tell the loop |
//! | `neighbours`, `resolver` | where neighbours are; host names, looked up |
//! | `operator` | what the operator is told |
//! | `security` | whose keys links and clients may have |
//! | `supervisor` | what systemd is told |
//! | `options`, `roles` | what the operator says; what connections are for |

mod begun_lines;
mod connected;
mod driver;
mod ending;
mod gather;
mod herd_view;
mod in_force;
mod mail;
mod memory;
mod neighbours;
mod operator;
mod options;
mod overlong;
mod places;
mod read_batch;
mod reload;
mod requests;
mod resolver;
mod roles;
mod security;
mod serving;
mod shell;
mod start;
mod supervisor;
mod tally;
mod web;

use std::io;
use std::sync::atomic::Ordering;

use self::driver::Driver;
use self::herd_view::HerdView;
use self::in_force::InForce;
use self::mail::Mail;
use self::neighbours::Neighbours;
pub use self::operator::one_line;
use self::operator::{Operator, Stamps};
pub use self::options::Options;
use self::places::Place;
use self::read_batch::ReadBatch;
use self::roles::Role;
pub use self::security::KeyFiles;
use self::security::Security;
use self::shell::Shell;
use self::tally::Tally;
use self::web::Web;
use crate::cause;
use crate::journal::State;
use crate::log::{self, Log};
use crate::net::Reactor;
use crate::node::{Node, Seeds};
use crate::random;
use crate::time::{Now, span_text};
use crate::topology::{Member, ServerName, Topology};
use crate::twitter::Pool;

/// What to do if the system gives a start no threads, ...
const MORE_THREADS: &str = ". Raise ulimit -u (LimitNPROC= and TasksMax= for systemd)";

/// ... or no descriptor.
const MORE_FILES: &str = ". Raise ulimit -n (LimitNOFILE= for systemd)";

/// A server and all it owns.
pub struct Server {
    driver: Driver,
    read_batch: ReadBatch,
}

impl Server {
    /// Binds the addresses of `member`, then reads its journal. Clients that connect meanwhile, or before the
    /// server has caught up with its neighbours, wait in the kernel's backlog.
    ///
    /// # Errors
    /// One line that says which address or file is in the way.
    pub fn start(
        member: &Member,
        topology: &Topology,
        options: &Options,
    ) -> Result<Server, String> {
        let now = Now::read();
        let name = member.name.clone();
        let fail = |what: &str, error: io::Error, remedy: &str| {
            format!("{name} {what}: {}{remedy}", cause::of(&error))
        };
        let operator = Operator::new(name.clone(), Stamps::of_stderr(), io::stderr());
        let operator = operator.map_err(|e| fail("gets no threads", e, MORE_THREADS))?;
        let security = Security::read(&options.keys, member)?;
        let mut reactor = Reactor::new().map_err(|e| fail("gets no poll", e, MORE_FILES))?;
        // Before anybody can see that we are there: a SIGHUP that nobody watches for is deadly.
        let mailbox = reactor.mailbox();
        let post = move |signal| mailbox.post(Mail::Signal(signal));
        let serving = start::watch_signals(post, operator.unwritten());
        let serving = serving.map_err(|e| fail("cannot watch for signals", e, ""))?;
        let access = start::read_tokens(options.http_tokens.as_deref())?;
        let places = places::places(member, &security);
        places::tell_of_few_descriptors(&places, options.max_connections, &operator);
        let listen = |place: &Place| {
            let listening = place.listen(&mut reactor, &access, &operator)?;
            Ok(place.words(&listening))
        };
        let listens: Result<Vec<_>, String> = places.iter().map(listen).collect();
        let listens = listens?.join(", ");
        if let Some(limit) = options.idle_timeout {
            reactor.close_idle(Role::Client, limit);
        }
        let mut node = Node::new(member, topology, Seeds::new(random::unforeseen), now);
        // A start that fails says why, and nothing else.
        let mut told = vec![start::limit_table(options, &mut node)];
        node.allow_clock_skew(options.clock_skew, options.trust_clock);
        if let Some(after) = options.forget_after {
            node.forget_after(after, now);
            told.push(format!("forgets after {}", span_text(after)));
        }
        let log_options = log::Options {
            path: options.log_dir.join(format!("{name}.log")),
            filter: options.log,
            max_bytes: options.log_max_bytes,
            keep: options.log_keep,
        };
        let journal =
            start::open_journal(options, &log_options, &reactor, &mut node, now, &operator)?;
        let mailbox = reactor.mailbox();
        let post = move |why| mailbox.post(Mail::LogFailed(why));
        let log = Log::start(log_options, post);
        let log = log.map_err(|e| fail("gets no threads", e, MORE_THREADS))?;
        let mailbox = reactor.mailbox();
        let post = move |answer| mailbox.post(Mail::Answer(answer));
        let pool = Pool::new(&options.twitter, post);
        let pool = pool.map_err(|e| fail("gets no threads", e, MORE_THREADS))?;
        serving.store(true, Ordering::Release);
        let mailbox = reactor.mailbox();
        let post = move |link, found| mailbox.post(Mail::Resolved(link, found));
        let mut neighbours = Neighbours::new(post);
        let link = |name: &ServerName| node.link_to(name);
        neighbours.update(topology.neighbours(member), link, now.mono);
        let mailbox = reactor.mailbox();
        let post_view = move |found| mailbox.post(Mail::HerdView(found));
        told.insert(0, listens);
        told.extend(security.warnings(topology.neighbours(member)));
        for text in &told {
            operator.say(text);
        }
        let shell = Shell {
            reactor,
            journal,
            log,
            pool,
            neighbours,
            security,
            operator,
            now,
            is_line_plain: false,
            web: Web::new(access, now.mono),
            in_force: InForce {
                path: options.topology.clone(),
                http_tokens: options.http_tokens.clone(),
                keys: options.keys.clone(),
                topology: topology.clone(),
                member: member.clone(),
            },
            herd_view: HerdView::new(post_view),
            tally: Tally::new(node.table().end(), now.mono),
            is_gated: false,
            evicted_told: 0,
            dials: Vec::new(),
        };
        let (line_timeout, drain) = (options.line_timeout, options.drain);
        let mut driver = Driver::new(node, shell, line_timeout, drain);
        driver.set_limits();
        if let Some(most) = options.max_connections {
            driver.limit_clients(most);
        }
        Ok(Server {
            driver,
            read_batch: ReadBatch::new(),
        })
    }

    /// Serves until told to stop. Says whether a restart will know everything that was acknowledged.
    ///
    /// # Errors
    /// The poll's: nothing can go on then.
    pub fn run(mut self) -> io::Result<State> {
        while !self.driver.is_done() {
            self.turn()?;
        }
        Ok(self.driver.close())
    }

    fn turn(&mut self) -> io::Result<()> {
        let driver = &mut self.driver;
        let Driver { node, shell, .. } = driver;
        shell.commit();
        shell.reactor.flush();
        shell.journal.work(node);
        shell.tell_of_the_table(node);
        shell.tell_of_the_disk();
        connected::note_in_new_log(shell);
        let wake_at = driver.wake_at();
        let Shell { tally, now, .. } = &mut driver.shell;
        tally.turns.add(now.mono.elapsed());
        driver.shell.reactor.turn(wake_at)?;
        driver.set_now(Now::read());
        gather::note(driver);
        while let Some(event) = driver.shell.reactor.poll_event() {
            driver.handle_event(event);
        }
        serving::serve_ready(driver, &mut self.read_batch);
        driver.refuse_surplus();
        while let Some(mail) = driver.shell.reactor.poll_mail() {
            driver.handle_mail(mail);
        }
        driver.handle_ready_answers();
        driver.handle_timeout();
        requests::close_slow(driver);
        requests::answer_late(driver);
        driver.open_for_clients();
        driver.flood();
        driver.tell_followers();
        driver.drain();
        Ok(())
    }
}
