//! The program: does what the command line says.

use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::Parser;
use herd::arguments::{Arguments, Command, LogFilter, Serve, Sync};
use herd::cause;
use herd::cli::{check, erase, keygen, restore, status};
use herd::journal::{Fsync, State};
use herd::log::Filter;
use herd::private_file;
use herd::server::{KeyFiles, Options, Server, one_line};
use herd::standin::faults::{Fault, Faults};
use herd::standin::{StandIn, import, tweets};
use herd::topology::Topology;
use herd::twitter;

/// An end waits for so long until it is written why. A machine that is busy may take seconds for that.
const LAST_WORD_MAX: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let failed = match Arguments::parse().command {
        Command::Serve(arguments) => serve(*arguments),
        Command::Status {
            topology,
            watch,
            json,
            links,
            http_tokens,
            ca,
        } => {
            let options = status::Options {
                json,
                links,
                watch,
                tokens: http_tokens.as_deref(),
                ca: ca.as_deref(),
            };
            let topology = Topology::read(&topology).map_err(Failure::Start);
            topology.and_then(|topology| status(&topology, options))
        }
        Command::Erase {
            client,
            topology,
            http_tokens,
            ca,
        } => {
            let (tokens, ca) = (http_tokens.as_deref(), ca.as_deref());
            let topology = Topology::read(&topology).map_err(Failure::Start);
            topology.and_then(|topology| erase(&topology, client.as_bytes(), tokens, ca))
        }
        Command::Restore {
            logs,
            name,
            data_dir,
        } => restore(&logs, &name, &data_dir),
        Command::Keygen { out, topology } => keygen(&out, topology.as_deref()),
        Command::Check {
            topology,
            key,
            list,
        } => check(&topology, &key, list),
        Command::Twitter {
            listen,
            tweets,
            fault,
        } => twitter(&listen, tweets.as_deref(), fault),
    };
    match failed {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Start(message)) => {
            say_at_last(&message);
            ExitCode::from(2)
        }
        Err(Failure::Said) => ExitCode::from(2),
        Err(Failure::NotWritten | Failure::NotWell | Failure::Unknown) => ExitCode::FAILURE,
        Err(Failure::Run(error)) => {
            say_at_last(&format!("the event loop failed: {}", cause::of(&error)));
            ExitCode::FAILURE
        }
    }
}

/// Says why the process ends, which it does also if nobody reads it, or standard error is closed.
fn say_at_last(text: &str) {
    let line = format!("herd: {}\n", one_line(text));
    let (said, is_said) = mpsc::channel();
    let say = move || {
        let _ = io::stderr().write_all(line.as_bytes());
        let _ = said.send(());
    };
    if thread::Builder::new().spawn(say).is_ok() {
        let _ = is_said.recv_timeout(LAST_WORD_MAX);
    }
}

enum Failure {
    /// It could not start: the message says what to mend.
    Start(String),
    /// What is to be mended has been said.
    Said,
    /// The kernel's poll failed: nothing could go on.
    Run(io::Error),
    /// Acknowledged reports are in no journal, as the operator was told.
    NotWritten,
    /// A server is not up or not ready, as the table says.
    NotWell,
    /// No server knows the client, as was said.
    Unknown,
}

fn status(topology: &Topology, options: status::Options<'_>) -> Result<(), Failure> {
    match status::status(topology, options, &mut io::stdout()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::NotWell),
        Err(message) => Err(Failure::Start(message)),
    }
}

fn erase(
    topology: &Topology,
    client: &[u8],
    tokens: Option<&Path>,
    ca: Option<&Path>,
) -> Result<(), Failure> {
    match erase::erase(topology, client, tokens, ca, &mut io::stdout()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::Unknown),
        Err(message) => Err(Failure::Start(message)),
    }
}

fn serve(arguments: Serve) -> Result<(), Failure> {
    let name = &arguments.name;
    let shown = private_file::shown(&arguments.topology);
    let topology = Topology::read(&arguments.topology).map_err(Failure::Start)?;
    let member = topology.member(name).ok_or_else(|| {
        let names: Vec<_> = topology.members().iter().map(|m| m.name.as_str()).collect();
        let names = names.join(", ");
        let name = name.escape_debug();
        Failure::Start(format!("{shown} has no server '{name}', only: {names}"))
    })?;
    let twitter = twitter::Options::new(
        arguments.twitter.twitter_api,
        arguments.twitter.twitter_url.as_deref(),
        arguments.twitter.twitter_credentials.as_deref(),
    )
    .map_err(Failure::Start)?
    .cached_for(Duration::from_secs(arguments.twitter.twitter_cache.into()));
    let options = Options {
        topology: arguments.topology,
        data_dir: arguments.data_dir,
        allow_no_journal: arguments.allow_no_journal,
        log_dir: arguments.log_dir,
        log: match arguments.log {
            LogFilter::All => Filter::All,
            LogFilter::Links => Filter::Links,
            LogFilter::Off => Filter::Off,
        },
        log_max_bytes: arguments.log_max_bytes,
        log_keep: arguments.log_keep,
        fsync: match arguments.fsync {
            Sync::Always => Fsync::Always,
            Sync::Second => Fsync::Second,
            Sync::Never => Fsync::Never,
        },
        max_connections: arguments.max_connections,
        max_table_bytes: arguments.max_table_bytes,
        idle_timeout: arguments.idle_timeout,
        line_timeout: arguments.line_timeout,
        drain: arguments.drain,
        forget_after: arguments.forget_after,
        http_tokens: arguments.http_tokens,
        clock_skew: arguments.clock_skew,
        trust_clock: arguments.trust_clock,
        keys: KeyFiles {
            key: arguments.key,
            allow_plain_links: arguments.allow_plain_links,
            tls_cert: arguments.tls_cert,
            tls_key: arguments.tls_key,
        },
        twitter,
    };
    let server = Server::start(member, &topology, &options).map_err(Failure::Start)?;
    match server.run().map_err(Failure::Run)? {
        State::Ok => Ok(()),
        State::Degraded => Err(Failure::NotWritten),
    }
}

fn restore(logs: &[PathBuf], name: &str, data_dir: &Path) -> Result<(), Failure> {
    let progress = |text: &str| {
        let _ = writeln!(io::stderr(), "herd: {text}");
    };
    let restored = restore::restore(logs, name, data_dir, progress).map_err(Failure::Start)?;
    let _ = writeln!(io::stdout(), "herd: {restored}");
    Ok(())
}

fn keygen(out: &Path, topology: Option<&Path>) -> Result<(), Failure> {
    let said = match topology {
        None => keygen::keygen(out).map(|fingerprint| format!("key={fingerprint}")),
        Some(topology) => keygen::keygen_all(topology, out).map(|file| private_file::shown(&file)),
    };
    let _ = writeln!(io::stdout(), "{}", said.map_err(Failure::Start)?);
    Ok(())
}

fn check(topology: &Path, keys: &[PathBuf], list: bool) -> Result<(), Failure> {
    let (topology, wrong) = check::check(topology, keys);
    if let Some(topology) = topology.filter(|_| list) {
        let _ = write!(io::stdout(), "{topology}");
    }
    wrong.iter().for_each(|line| say_at_last(line));
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Failure::Said),
    }
}

fn twitter(listen: &str, file: Option<&Path>, faults: Vec<Fault>) -> Result<(), Failure> {
    let tweets = match file {
        None => tweets::synthetic(),
        Some(path) => {
            let shown = private_file::shown(path);
            let text = fs::read(path).map_err(|error| {
                let why = cause::of(&error);
                Failure::Start(format!("cannot read the tweets {shown}: {why}"))
            })?;
            let imported = import::tweets(&text)
                .map_err(|error| Failure::Start(format!("{shown}: {error}")))?;
            let _ = writeln!(io::stderr(), "twitter: {shown}: {imported}");
            imported.tweets
        }
    };
    StandIn::start(listen, tweets, Faults::new(faults))
        .map_err(|error| {
            let listen = listen.escape_debug();
            Failure::Start(format!(
                "the stand-in for Twitter cannot listen on {listen}: {}",
                cause::of(&error)
            ))
        })?
        .run()
        .map_err(Failure::Run)
}
