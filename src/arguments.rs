//! What the command line may say: every command and option, its default, and its help.
//!
//! `main` reads it; `tests/documents.rs` makes the manual pages and completions of it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use crate::node::table::TABLE_BYTES_MIN;
use crate::standin::faults::Fault;
use crate::time::parse_span;
use crate::twitter::{STAND_IN_ADDRESS, api::Api};

/// Where to read on.
const MORE: &str = "Read on in docs/OPERATIONS.md: how to run a herd, and what to do at night.";

/// Servers that tell each other where their clients are.
#[derive(Parser)]
#[command(name = "herd", version, about, arg_required_else_help = true, after_help = MORE)]
pub struct Arguments {
    #[command(subcommand)]
    /// What to do.
    pub command: Command,
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Run one server of the herd, in the foreground.
    ///
    /// SIGTERM and SIGINT stop the server. It first sends the replies under way, and its neighbours everything. Exit
    /// status 1 says that acknowledged reports are in no journal. SIGHUP makes it read the topology, keys, certificates
    /// and tokens anew: it applies what has changed, or says what is wrong and changes nothing. It also reopens the
    /// log. Options change with a restart only.
    Serve(Box<Serve>),
    /// Ask all servers of the topology how they are, and show it as a table.
    ///
    /// Exit status 0 says that all are up and ready, 1 that one is not, 2 that a file is wrong. A server whose line has
    /// no http= cannot be asked; then the exit status is 1, too.
    Status {
        /// The file that says who is in the herd, and where each serves HTTP.
        #[arg(long, value_name = "FILE", default_value = "topology.txt")]
        topology: PathBuf,
        /// Show it again every 2 seconds, on the whole screen.
        #[arg(long)]
        watch: bool,
        /// Write JSON, as GET /v1/herd answers.
        #[arg(long)]
        json: bool,
        /// List the links instead, for scripts. A line has two servers and the state of their link: up, down,
        /// refused, or unknown if neither can be asked.
        #[arg(long, conflicts_with = "json")]
        links: bool,
        /// The file of tokens that the servers were started with. They are shown its first token.
        #[arg(long, value_name = "FILE")]
        http_tokens: Option<PathBuf>,
        /// Ask by HTTPS. The file has the servers' certificate, or that of its issuer, in PEM.
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
    },
    /// Erase a client: have all servers forget it, until it reports anew.
    ///
    /// Asks one server after the other until one knows the client; that one tells the others, also those that are
    /// away when they are back. Writes what may still hold what was known. Exit status 0 says that the client is
    /// erased, 1 that no server that answers knows it, 2 that a file is wrong or no server answers.
    Erase {
        /// The client's ID, as its reports have it.
        #[arg(value_name = "ID")]
        client: OsString,
        /// The file that says who is in the herd, and where each serves HTTP.
        #[arg(long, value_name = "FILE", default_value = "topology.txt")]
        topology: PathBuf,
        /// The file of tokens that the servers were started with. They are shown its first token.
        #[arg(long, value_name = "FILE")]
        http_tokens: Option<PathBuf>,
        /// Ask by HTTPS. The file has the servers' certificate, or that of its issuer, in PEM.
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
    },
    /// Make the journal of a server from text logs, when its own is lost and no neighbour has the locations.
    ///
    /// Takes the AT lines that the server sent or had from neighbours, also from logs of several servers, in
    /// any order; of each client the most recent location counts, unless an ERASED line is later. Lines that are no records are skipped,
    /// and it is said how many. For compressed logs: zcat LOG.gz | herd restore /dev/stdin --name NAME.
    Restore {
        /// The logs, rotated ones included.
        #[arg(value_name = "LOG", required = true)]
        logs: Vec<PathBuf>,
        /// Whose journal to make.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// The data directory. The journal goes to its folder NAME, which must be empty or not there.
        #[arg(long, value_name = "DIRECTORY", default_value = "data")]
        data_dir: PathBuf,
    },
    /// Make a key for a server, by which its neighbours know it, and print the key= for its topology line.
    ///
    /// With --topology it makes a key for each server that has none yet, and prints where the topology with these keys is.
    Keygen {
        /// Where the private key goes: a new file, that its owner alone can read. With --topology: a folder, for each
        /// server's NAME.key and for topology.txt.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Make keys for all servers of this topology. Keys that are in the folder stay. Its topology.txt is written
        /// anew: it says what this file says, with those keys in the place of any others.
        #[arg(long, value_name = "FILE")]
        topology: Option<PathBuf>,
    },
    /// Check a topology and keys. If something is wrong, say what, with exit status 2.
    Check {
        /// The file that says who is in the herd and who talks with whom.
        #[arg(long, value_name = "FILE", default_value = "topology.txt")]
        topology: PathBuf,
        /// A server's private key. May be given more than once.
        #[arg(long, value_name = "FILE")]
        key: Vec<PathBuf>,
        /// List the servers of the file, for scripts. A line is that of a topology: name, client address, server
        /// address, attributes (http= first), and all neighbours.
        #[arg(long)]
        list: bool,
    },
    /// Run the stand-in for Twitter, with synthetic tweets: the searches of its APIs 1.0, 1.1 and 2.
    ///
    /// 1.1 and 2 want a bearer token; any that begins with "stand-in" will do.
    Twitter {
        /// Where to listen.
        #[arg(long, value_name = "HOST:PORT", default_value = STAND_IN_ADDRESS)]
        listen: String,
        /// Tweets of your own, a line of JSON each, with text and latitude and longitude, or as Twitter
        /// gives them. Lines without text or position are skipped, and standard error says how many.
        #[arg(long, value_name = "FILE")]
        tweets: Option<PathBuf>,
        /// What goes wrong with every answer: delay=SECONDS, status=CODE, limit=COUNT/SECONDS,
        /// reset, garbage, truncated, huge, drip=SECONDS. May be given more than once.
        #[arg(long, value_name = "FAULT")]
        fault: Vec<Fault>,
    },
}

/// How a server is run.
#[derive(Args)]
pub struct Serve {
    /// Which server of the topology to run.
    pub name: String,
    /// The file that says who is in the herd and who talks with whom.
    #[arg(long, value_name = "FILE", default_value = "topology.txt")]
    pub topology: PathBuf,
    /// Where the journal is, in a folder NAME: all that a restart knows.
    #[arg(long, value_name = "DIRECTORY", default_value = "data")]
    pub data_dir: PathBuf,
    /// When the journal is synced, to survive a power failure: before each reply (always), each second, or when the
    /// system thinks fit (never).
    #[arg(long, value_name = "WHEN", default_value = "never")]
    pub fsync: Sync,
    /// Start even if the journal cannot be written. The server tries again each second.
    #[arg(long)]
    pub allow_no_journal: bool,
    /// Where the log goes, as NAME.log: text, for people.
    #[arg(long, value_name = "DIRECTORY", default_value = "logs")]
    pub log_dir: PathBuf,
    /// What goes into the log: every line (all), all but the lines of clients (links), or nothing (off).
    #[arg(long, value_name = "WHAT", default_value = "all")]
    pub log: LogFilter,
    /// Rotate the log before it is longer than this. K, M or G at the end means KiB, MiB or GiB.
    #[arg(long, allow_hyphen_values = true, value_name = "BYTES", default_value = "256M", value_parser = parse_bytes)]
    pub log_max_bytes: u64,
    /// How many rotated logs to keep: NAME.log.1 is the newest.
    #[arg(long, allow_hyphen_values = true, value_name = "COUNT", default_value_t = 4, value_parser = parse_log_keep)]
    pub log_keep: u32,
    /// The most clients to serve at once. Further ones are told so and closed [default: as many as
    /// the limit of open files allows].
    #[arg(long, allow_hyphen_values = true, value_name = "N", value_parser = parse_max_connections)]
    pub max_connections: Option<usize>,
    /// The most memory for clients' locations, such as 512M or 2G. When it is full, the server forgets those that
    /// have not changed for longest [default: half of the memory of the machine, or of its control group].
    #[arg(long, allow_hyphen_values = true, value_name = "BYTES", value_parser = parse_table_bytes)]
    pub max_table_bytes: Option<usize>,
    /// Close clients that say nothing for longer than this, such as 90s, 5m, 2h or 7d [default: never].
    #[arg(long, allow_hyphen_values = true, value_name = "SPAN", value_parser = parse_span)]
    pub idle_timeout: Option<Duration>,
    /// Close clients that take longer than this to send a line, from its first byte to its end.
    #[arg(long, allow_hyphen_values = true, value_name = "SPAN", default_value = "60s", value_parser = parse_span)]
    pub line_timeout: Duration,
    /// How long a stop may take to send the replies under way, and the neighbours everything.
    #[arg(long, allow_hyphen_values = true, value_name = "SPAN", default_value = "5s", value_parser = parse_span)]
    pub drain: Duration,
    /// Forget a location when its time, or that of its receipt if earlier, is longer ago than this. Give
    /// all servers the same [default: never].
    #[arg(long, allow_hyphen_values = true, value_name = "SPAN", value_parser = parse_span)]
    pub forget_after: Option<Duration>,
    /// Serve HTTP only to those who show a token of this file, which has a line NAME TOKEN for each and the mode 0600.
    /// Health needs no token. Without this option http= in the topology must be a loopback address.
    #[arg(long, value_name = "FILE")]
    pub http_tokens: Option<PathBuf>,
    /// How far clocks may differ. The server refuses a neighbour's report that is further ahead of its clock. If its
    /// clock is further from those of most neighbours, it is not ready, and refuses none.
    #[arg(long, allow_hyphen_values = true, value_name = "SPAN", default_value = "10m", value_parser = parse_span)]
    pub clock_skew: Duration,
    /// Trust this server's clock whatever its neighbours' clocks show. For a server without neighbours, or whose
    /// neighbours have wrong clocks.
    #[arg(long)]
    pub trust_clock: bool,
    /// The server's private key, as herd keygen makes it: its links are encrypted. Neighbours know it by the key= in
    /// its line of the topology.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Allow links without encryption where one side has no key yet. For the hour in which you introduce keys.
    #[arg(long)]
    pub allow_plain_links: bool,
    /// The certificate that clients are shown, or a chain of them, in PEM. HTTP becomes HTTPS, and the server's line
    /// may have tls=, for clients of lines over TLS.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The private key of that certificate, in PEM. Its owner alone may read the file.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// How Twitter is asked.
    #[command(flatten)]
    pub twitter: TwitterArguments,
}

/// When the journal is synced.
#[derive(Clone, Copy, clap::ValueEnum)]
#[allow(missing_docs)] // a text here would be in the help of each value
pub enum Sync {
    Always,
    Second,
    Never,
}

/// What goes into the log.
#[derive(Clone, Copy, clap::ValueEnum)]
#[allow(missing_docs)] // as above
pub enum LogFilter {
    All,
    Links,
    Off,
}

/// A number of bytes, with a unit or without.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['K', 'M', 'G', 'k', 'm', 'g']) {
        None => (text, 1),
        Some(digits) => match text.as_bytes()[digits.len()].to_ascii_uppercase() {
            b'K' => (digits, 1 << 10),
            b'M' => (digits, 1 << 20),
            _ => (digits, 1 << 30),
        },
    };
    let number = digits.parse::<u64>().ok();
    let bytes = number.and_then(|number| number.checked_mul(unit));
    bytes.ok_or_else(|| "not a number of bytes, such as 1000000 or 64M".to_owned())
}

fn parse_table_bytes(text: &str) -> Result<usize, String> {
    let bytes = usize::try_from(parse_bytes(text)?).unwrap_or(usize::MAX);
    match bytes {
        TABLE_BYTES_MIN.. => Ok(bytes),
        _ => Err(format!("{TABLE_BYTES_MIN} bytes are the least")),
    }
}

/// How Twitter is asked.
#[derive(Args)]
pub struct TwitterArguments {
    /// Twitter's search address, to which the query is added. Default: the stand-in's,
    /// http://127.0.0.1:12599/search.json for API 1.0.
    #[arg(long, value_name = "URL")]
    pub twitter_url: Option<String>,
    /// Which of Twitter's APIs is spoken there. 1.1 and 2 want credentials: TWITTER_BEARER_TOKEN,
    /// or TWITTER_KEY and TWITTER_SECRET, in the environment or in a file.
    #[arg(long, value_name = "API", default_value = Api::V1_0.name(), value_parser = api())]
    pub twitter_api: Api,
    /// A file of such credentials, NAME=VALUE on each line. Its owner alone may read it.
    #[arg(long, value_name = "FILE")]
    pub twitter_credentials: Option<PathBuf>,
    /// For how many seconds an answer of Twitter serves others who ask the same, up to a day. 0: not at all.
    #[arg(long, allow_hyphen_values = true, value_name = "SECONDS", default_value_t = 0, value_parser = parse_cache_seconds)]
    pub twitter_cache: u32,
}

fn parse_cache_seconds(text: &str) -> Result<u32, String> {
    let seconds = text.parse().ok();
    let seconds = seconds.filter(|seconds| *seconds <= 24 * 60 * 60);
    seconds.ok_or_else(|| "seconds are wanted, a whole number up to 86400".to_owned())
}

fn api() -> impl TypedValueParser<Value = Api> {
    PossibleValuesParser::new(Api::NAMES).try_map(|name| name.parse::<Api>())
}

fn parse_log_keep(text: &str) -> Result<u32, String> {
    let count = text.parse().ok();
    count.ok_or_else(|| "a whole number is wanted, 0 or more".to_owned())
}

fn parse_max_connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a number from 1 on is wanted".to_owned()),
        Ok(most) => Ok(most),
    }
}
