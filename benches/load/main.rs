//! Load for a herd that runs, from the command line:
//!
//! `cargo bench --bench load -- 127.0.0.1:12590 --connections 50 --pipeline 16 --seconds 10`
//!
//! Closed loop; with `--rate` open loop, timed from when each message was due. `--whatsat` makes some
//! messages questions. Every reply is checked, and one that is wrong ends it. With more than one address
//! the load goes to the first, and meanwhile it is measured how long the others take to hear of a
//! client: see [`flood`]. Without any it starts a herd of its own and loads it for a moment. The clients
//! that it speaks of, `client-00000000` and so on, stay in the herd's tables.

mod flood;
#[path = "../support/mod.rs"]
mod support;

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Parser;

use flood::Flood;
use support::dialect::{Answer, Dialect, HERD};
use support::generator::{Generator, Outcome, Pace, Until};
use support::process::{Server, raise_descriptors};
use support::topology::{Program, Topology};
use support::{Client, Result, grouped, progress, size, wall_time};

/// Who is that busy cannot send faster.
const BUSY: f64 = 0.95;
/// Parts of all replies, and how they are called.
const PARTS: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("max", 1.0),
];

/// Loads a herd, checks every reply, and says how fast they came.
#[derive(Parser)]
#[command(name = "load")]
struct Arguments {
    /// Where the servers take clients: the first gets the load, of the others it is measured how soon
    /// they hear of a client. None: a herd of its own.
    #[arg(value_name = "HOST:PORT", value_parser = parse_address)]
    addresses: Vec<SocketAddr>,
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Messages under way on each connection, at most.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pipeline: u32,
    /// Messages a second over all connections, whatever becomes of them [default: as fast as they are
    /// answered].
    #[arg(long, value_name = "N", value_parser = parse_rate)]
    rate: Option<f64>,
    /// So many of a hundred messages ask for a client and tweets near it.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=90))]
    whatsat: u32,
    /// The clients that move, each connection's its own.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=99_000_000))]
    clients: u32,
    #[arg(long, default_value_t = 10.0, value_parser = parse_rate)]
    seconds: f64,
    /// What cargo bench says.
    #[arg(long, hide = true)]
    bench: bool,
}

fn parse_address(text: &str) -> std::result::Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| error.to_string())?;
    found.next().ok_or_else(|| "no such host".to_owned())
}

fn parse_rate(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && number < 1e9 => Ok(number),
        _ => Err("a number above 0 is wanted".to_owned()),
    }
}

fn main() -> Result<()> {
    let mut arguments = Arguments::parse();
    raise_descriptors()?;
    let _own = match arguments.addresses.is_empty() {
        true => Some(OwnHerd::start(&mut arguments)?),
        false => None,
    };
    run(&arguments)
}

/// Three servers in a line, and Twitter's stand-in.
struct OwnHerd {
    _servers: Vec<Server>,
}

impl OwnHerd {
    fn start(arguments: &mut Arguments) -> Result<OwnHerd> {
        progress("no address is given: for a moment, a herd of its own");
        arguments.seconds = arguments.seconds.min(size(1.0, 0.1));
        let twitter = Server::twitter(None)?;
        let topology = Topology::new(&[("A", "B"), ("B", "C"), ("C", "")])?;
        let topology = topology.with_twitter(twitter.address);
        let mut servers = vec![twitter];
        for name in ["A", "B", "C"] {
            let server = topology.start(&Program::herd(), name, None)?;
            arguments.addresses.push(server.address);
            servers.push(server);
        }
        Ok(OwnHerd { _servers: servers })
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let first = arguments.addresses[0];
    let server = name_of(first)?;
    let connections = arguments.connections.min(arguments.clients);
    let dialect = Dialect {
        answer: Answer::At(server),
        ..HERD
    };
    let clients = 0..arguments.clients;
    let pipeline = arguments.pipeline as usize;
    let mut load = Generator::connect(first, &dialect, connections, pipeline, clients)?;
    if arguments.whatsat > 0 {
        load.ask(arguments.whatsat)?;
    }
    println!(
        "{server} at {first}: {} connections, up to {pipeline} messages under way on each, {} clients",
        grouped(connections.into()),
        grouped(arguments.clients.into())
    );
    let pace = arguments.rate.map_or(Pace::Closed, Pace::Open);
    let until = Until::Elapsed(Duration::from_secs_f64(arguments.seconds));
    let stop = AtomicBool::new(false);
    let (outcome, floods) = thread::scope(|scope| {
        let stop = &stop;
        let flood = |&other| scope.spawn(move || Flood::measure(first, other, stop));
        let others: Vec<_> = arguments.addresses[1..].iter().map(flood).collect();
        let outcome = load.run(pace, until);
        stop.store(true, Ordering::Relaxed);
        let floods = others.into_iter().map(|other| other.join());
        (outcome, floods.collect::<Vec<_>>())
    });
    tell(&outcome?, arguments.rate);
    for flood in floods {
        println!("{}", flood.map_err(|_| "a flood's clock panicked")??);
    }
    Ok(())
}

/// What a server calls itself in its replies.
fn name_of(address: SocketAddr) -> Result<&'static str> {
    let mut client = Client::connect(address)?;
    let reply = client.ask(&format!("IAMAT load +34.07-118.44 {}", wall_time()))?;
    match reply.split(' ').collect::<Vec<_>>()[..] {
        ["AT", name, ..] => Ok(name.to_owned().leak()), // one name, for as long as this runs
        _ => Err(format!("{address} is no server of a herd: it answers {reply:?}").into()),
    }
}

fn tell(outcome: &Outcome, rate: Option<f64>) {
    println!(
        "{} messages in {:.2} s, {} a second, all answered rightly",
        grouped(outcome.messages as f64),
        outcome.elapsed.as_secs_f64(),
        grouped(outcome.rate())
    );
    let since = match rate {
        Some(_) => "since each was due",
        None => "since each was sent",
    };
    let times = PARTS.map(|(name, part)| format!("{name} {}", grouped(outcome.micros(part))));
    println!("replies, µs {since}: {}", times.join(", "));
    let percent = 100.0 * outcome.own_busy();
    println!("the generator's own CPU: {percent:.0} % of a core");
    match rate {
        // An open loop watches the clock, so it is always busy.
        Some(rate) if outcome.rate() < 0.99 * rate => println!(
            "warning: of {} a second due so many were not answered in time: the server, or this \
             generator, cannot keep up",
            grouped(rate)
        ),
        None if outcome.own_busy() >= BUSY => {
            println!("warning: the generator was the bottleneck: the server can answer more");
        }
        _ => {}
    }
}
