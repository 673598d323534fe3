//! What the black-box tests share: a herd of real processes in a temporary directory, clients that
//! never wait for ever, and conditions that are waited for.
//!
//! Every process is killed when its owner is dropped, also when a test panics.

#![allow(dead_code)] // each test binary uses its own part

mod client;
pub mod messages;
pub mod ports;
mod process;
pub mod reference;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

pub use client::Client;
pub use ports::free_addresses;
pub use process::Process;
use reference::ServerCommand;

/// How long a test waits for a condition before it fails: long, for busy machines.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A Twitter that is not there: nothing listens on port 9 (discard) of loopback.
pub const NO_TWITTER: &str = "http://127.0.0.1:9/search.json";

/// The herd of the assignment.
pub const FIVE: &[(&str, &[&str])] = &[
    ("Blake", &["Bryant", "Howard"]),
    ("Bryant", &["Gasol", "Metta"]),
    ("Gasol", &["Howard"]),
    ("Howard", &[]),
    ("Metta", &[]),
];

/// Waits until `condition` holds.
///
/// # Panics
/// If it does not within [`PATIENCE`]; `what` says what was waited for.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "waited in vain for: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A small file system of its own, while it lives.
pub struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Mounts one of so many bytes, which needs root: a test that does is `#[ignore]`d.
    pub fn mount(at: &Path, bytes: usize) -> Tmpfs {
        fs::create_dir_all(at).expect("the directory is ours");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "none"]);
        let output = mount.arg(at).output().expect("mount can be started");
        let said = String::from_utf8_lossy(&output.stderr);
        let is_mounted = output.status.success();
        assert!(
            is_mounted,
            "this test needs root, to mount a tmpfs: {}",
            said.trim()
        );
        Tmpfs(at.to_owned())
    }

    /// Mounts it again with these options.
    pub fn remount(&self, options: &str) {
        let mut mount = Command::new("mount");
        mount
            .args(["-o", &format!("remount,{options}")])
            .arg(&self.0);
        assert!(mount.status().is_ok_and(|status| status.success()));
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status(); // all we can do
    }
}

/// Lets this process open so many files.
pub fn raise_descriptors(wanted: u64) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    assert!(
        maximum.is_none_or(|most| most >= wanted),
        "this test needs {wanted} open files (ulimit -Hn): {maximum:?} are allowed"
    );
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("as much as one may");
}

/// Runs `command` under a limit of the shell's.
pub fn limited(command: &Command, limit: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{limit}; exec \"$@\""), "sh"]);
    shell.arg(command.get_program()).args(command.get_args());
    shell
}

/// Whether this is a time as a server's lines begin with: `2012-11-17T02:08:23.672Z`.
pub fn is_time(text: &str) -> bool {
    let shape: String = text
        .chars()
        .map(|char| if char.is_ascii_digit() { '0' } else { char })
        .collect();
    shape == "0000-00-00T00:00:00.000Z"
}

/// Whom an AT line is about.
pub fn client_of(at: &str) -> &str {
    at.split(' ').nth(3).expect("an AT line")
}

/// One server: where it is, and its process while it runs.
pub struct Member {
    /// Its name.
    pub name: String,
    /// Where clients connect.
    pub clients: SocketAddr,
    /// Where servers connect.
    pub servers: SocketAddr,
    /// Where it serves HTTP, if it does.
    pub http: Option<SocketAddr>,
    /// Those it is linked with.
    pub neighbours: Vec<String>,
    /// What else its line of the topology has.
    pub attributes: Vec<String>,
    /// More arguments for it alone.
    pub arguments: Vec<String>,
    /// What starts it.
    pub server: ServerCommand,
    /// Its process.
    pub process: Option<Process>,
}

/// A herd of real processes in a directory of its own.
pub struct Herd {
    /// The directory: `topology.txt`, `data/`, `logs/`, `NAME.err`.
    pub directory: TempDir,
    /// Its servers.
    pub members: Vec<Member>,
    /// Where the journals are.
    pub data_dir: PathBuf,
    /// What the servers ask for tweets.
    pub twitter_url: String,
    /// More arguments for every server.
    pub arguments: Vec<String>,
    /// What is set in every server's environment.
    pub environment: Vec<(String, String)>,
}

impl Herd {
    /// A herd with these servers and links, none of them started yet.
    pub fn new(links: &[(&str, &[&str])]) -> Herd {
        let addresses = free_addresses(2 * links.len());
        let member = |(index, (name, _)): (usize, &(&str, &[&str]))| Member {
            name: (*name).to_owned(),
            clients: addresses[2 * index],
            servers: addresses[2 * index + 1],
            http: None,
            neighbours: links
                .iter()
                .flat_map(|(one, others)| others.iter().map(move |other| (*one, *other)))
                .filter_map(|(one, other)| match (one == *name, other == *name) {
                    (true, _) => Some(other.to_owned()),
                    (_, true) => Some(one.to_owned()),
                    _ => None,
                })
                .collect(),
            attributes: Vec::new(),
            arguments: Vec::new(),
            server: ServerCommand::under_test(),
            process: None,
        };
        let directory = tempfile::tempdir().expect("a temporary directory");
        let herd = Herd {
            data_dir: directory.path().join("data"),
            directory,
            members: links.iter().enumerate().map(member).collect(),
            twitter_url: NO_TWITTER.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
        };
        fs::write(herd.topology(), herd.topology_text()).expect("the directory is ours");
        herd
    }

    /// The same, whose servers serve HTTP too.
    pub fn with_http(links: &[(&str, &[&str])]) -> Herd {
        let mut herd = Herd::new(links);
        for member in &mut herd.members {
            member.http = Some(ports::free_address());
        }
        fs::write(herd.topology(), herd.topology_text()).expect("the directory is ours");
        herd
    }

    /// The same, all started and every link up.
    pub fn started(links: &[(&str, &[&str])]) -> Herd {
        let mut herd = Herd::new(links);
        herd.start_all();
        herd
    }

    /// Writes its topology file anew, as its members are now.
    pub fn write_topology(&self) {
        fs::write(self.topology(), self.topology_text()).expect("the directory is ours");
    }

    /// The text of its topology file.
    pub fn topology_text(&self) -> String {
        let line = |member: &Member| {
            let Member {
                name,
                clients,
                servers,
                http,
                neighbours,
                attributes,
                ..
            } = member;
            let http = http.map_or(String::new(), |http| format!("http={http} "));
            let (neighbours, attributes) = (neighbours.join(" "), attributes.join(" "));
            let line = format!("{name} {clients} {servers} {http}{neighbours} {attributes}");
            format!("{}\n", line.trim_end())
        };
        self.members.iter().map(line).collect()
    }

    /// Where its topology file is.
    pub fn topology(&self) -> PathBuf {
        self.directory.path().join("topology.txt")
    }

    /// Where the log of `name` is.
    pub fn log_path(&self, name: &str) -> PathBuf {
        self.directory
            .path()
            .join("logs")
            .join(format!("{name}.log"))
    }

    /// Where the journal of `name` is.
    pub fn journal_path(&self, name: &str) -> PathBuf {
        self.data_dir.join(name)
    }

    /// What the log of `name` says so far. It is written behind: what has just happened may be missing.
    pub fn log(&self, name: &str) -> String {
        let bytes = fs::read(self.log_path(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What the log of `name` says of all that has happened by now. A client of our own says something,
    /// and its record is waited for; its records are left out.
    pub fn settled_log(&self, name: &str) -> String {
        const MARKER: &str = "settled-log";
        static MARKERS: AtomicUsize = AtomicUsize::new(0);
        let marker = format!("{MARKER} {}", MARKERS.fetch_add(1, Ordering::Relaxed));
        assert_eq!(self.ask(name, &marker), format!("? {marker}"));
        self.wait_for_record(name, &format!(" ? {marker}\n"));
        let log = self.log(name);
        let label = |line: &str| line.split(' ').nth(2).unwrap_or_default().to_owned();
        let markers = log.lines().filter(|line| line.contains(MARKER));
        let ours: Vec<_> = markers.map(label).collect();
        let others = log.lines().filter(|line| !ours.contains(&label(line)));
        others.map(|line| format!("{line}\n")).collect()
    }

    /// Waits until the log of `name` has these words.
    pub fn wait_for_record(&self, name: &str, words: &str) {
        wait_until(&format!("the log of {name} has: {words}"), || {
            self.log(name).contains(words)
        });
    }

    /// The server called `name`.
    pub fn member(&self, name: &str) -> &Member {
        let member = self.members.iter().find(|member| member.name == name);
        member.unwrap_or_else(|| panic!("there is no {name}"))
    }

    /// The same, to be changed.
    pub fn member_mut(&mut self, name: &str) -> &mut Member {
        let member = self.members.iter_mut().find(|member| member.name == name);
        member.unwrap_or_else(|| panic!("there is no {name}"))
    }

    /// The process of `name`.
    pub fn process(&mut self, name: &str) -> &mut Process {
        let process = self.member_mut(name).process.as_mut();
        process.unwrap_or_else(|| panic!("{name} does not run"))
    }

    /// The command that starts `name`.
    pub fn command(&self, name: &str) -> Command {
        self.command_with(name, &self.topology())
    }

    /// The command that starts `name` with another topology file.
    pub fn command_with(&self, name: &str, topology: &Path) -> Command {
        let server = &self.member(name).server;
        let mut command = server.command();
        command.args(["serve", name, "--topology"]).arg(topology);
        command
            .arg("--log-dir")
            .arg(self.directory.path().join("logs"));
        if server.has_data_dir {
            command.arg("--data-dir").arg(&self.data_dir);
        }
        command.args(["--twitter-url", &self.twitter_url]);
        command.args(&self.arguments);
        command.args(&self.member(name).arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts `name`, and waits until clients can connect.
    pub fn start(&mut self, name: &str) {
        let command = self.command(name);
        self.start_with(name, command);
    }

    /// Starts `name` with more on its command line.
    pub fn start_arguing(&mut self, name: &str, arguments: &[&str]) {
        let mut command = self.command(name);
        command.args(arguments);
        self.start_with(name, command);
    }

    /// Starts `name` by a command of the test's own.
    pub fn start_with(&mut self, name: &str, command: Command) {
        let stderr = self.directory.path().join(format!("{name}.err"));
        let process = Process::start(command, stderr);
        self.member_mut(name).process = Some(process);
        let process = self.process(name);
        wait_until(&format!("{name} serves"), || {
            assert!(process.is_running(), "it ended: {}", process.said());
            process.said().contains("clients on")
        });
    }

    /// Starts all that do not run, and waits until every link is up.
    pub fn start_all(&mut self) {
        let names: Vec<_> = self
            .members
            .iter()
            .map(|member| member.name.clone())
            .collect();
        for name in &names {
            if self.member(name).process.is_none() {
                self.start(name);
            }
        }
        for name in &names {
            for neighbour in self.member(name).neighbours.clone() {
                self.wait_for_link(name, &neighbour);
            }
        }
    }

    /// Kills `name` at once (`kill -9`).
    pub fn kill(&mut self, name: &str) {
        self.member_mut(name).process = None;
    }

    /// Whether `name` says that its link to `neighbour` is up.
    pub fn link_is_up(&self, name: &str, neighbour: &str) -> bool {
        let process = self.member(name).process.as_ref();
        let said = process.map(Process::said).unwrap_or_default();
        let about = format!("{name}: link to {neighbour} is ");
        let last = said.lines().rfind(|line| line.starts_with(&about));
        last.is_some_and(|line| line == format!("{about}up"))
    }

    /// Waits until `name` says that its link to `neighbour` is up.
    pub fn wait_for_link(&self, name: &str, neighbour: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.link_is_up(name, neighbour) {
            let told = |name| self.member(name).process.as_ref().map(Process::said);
            assert!(
                Instant::now() < until,
                "the link from {name} to {neighbour} is not up; they said\n{:?}\n{:?}\n{}\n{}",
                told(name),
                told(neighbour),
                self.log(name),
                self.log(neighbour)
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Where `name` serves HTTP.
    pub fn http(&self, name: &str) -> SocketAddr {
        let address = self.member(name).http;
        address.expect("the herd was made with HTTP")
    }

    /// A client of `name`.
    pub fn client(&self, name: &str) -> Client {
        Client::connect(self.member(name).clients)
    }

    /// Says one line to `name` and gives the reply, each without LF.
    pub fn ask(&self, name: &str, line: &str) -> String {
        let mut client = self.client(name);
        client.say(line);
        client.line()
    }

    /// What `name` holds of `client`: its AT line, `None` if it has never heard of it.
    pub fn at(&self, name: &str, client: &str) -> Option<String> {
        let reply = self.ask(name, &format!("WHATSAT {client} 1 0"));
        reply.starts_with("AT ").then_some(reply)
    }

    /// Waits until each of `names` holds every one of these AT lines.
    pub fn wait_for_all(&self, names: &[&str], lines: &[String]) {
        for at in lines {
            let client = client_of(at);
            names
                .iter()
                .for_each(|name| self.wait_for_at(name, client, at));
        }
    }

    /// Waits until `name` holds the AT line `at` of `client`.
    pub fn wait_for_at(&self, name: &str, client: &str, at: &str) {
        wait_until(&format!("{name} holds {at}"), || {
            self.at(name, client).as_deref() == Some(at)
        });
    }
}

/// A directory's file by name, as text; empty if it is not there.
pub fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
