//! `run_herd.sh` from outside: it starts, shows, repairs and stops a herd of real processes.
//!
//! Each test has a herd of its own, in a directory of its own, on ports of its own. Clients are `nc`
//! where it is installed, as the script tells people to use it.

mod changes;
#[path = "../support/ports.rs"]
mod ports;
mod processes;
mod refusals;
mod starting;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long anything may take before the test fails; generous, for machines that are busy.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often we look whether it has happened.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A chain, so that what the first server hears reaches the last over links only.
const NAMES: [&str; 3] = ["Ada", "Bob", "Cyd"];
const STAND_IN: &str = "twitter.stand-in";

/// A herd in a directory of its own. Dropping it stops it, whatever has happened.
struct Herd {
    dir: TempDir,
    script: PathBuf,
    /// Those of each of `NAMES`.
    addresses: Vec<Addresses>,
    stand_in: String,
    twitter_url: Option<String>,
    /// What the script printed when it started this herd.
    welcome: String,
}

/// Where a server listens.
struct Addresses {
    client: String,
    server: String,
    http: String,
}

impl Herd {
    /// A topology, and nothing that runs.
    fn new() -> Herd {
        let dir = TempDir::with_prefix("run_herd ").expect("a temporary directory");
        let free = ports::free_addresses(3 * NAMES.len() + 1);
        let mut free = free.iter().map(SocketAddr::to_string);
        let mut next = || free.next().expect("as many as were asked for");
        let addresses = NAMES.iter().map(|_| Addresses {
            client: next(),
            server: next(),
            http: next(),
        });
        let addresses: Vec<_> = addresses.collect();
        let herd = Herd {
            dir,
            script: script(),
            addresses,
            stand_in: next(),
            twitter_url: None,
            welcome: String::new(),
        };
        // White space is all that herd takes for it.
        let mut text = "# A chain; the link of Ada and Bob is named twice.\n".to_owned();
        for (name, neighbours) in NAMES.iter().zip(["Bob", "Ada Cyd", ""]) {
            let Addresses {
                client,
                server,
                http,
            } = herd.address(name);
            text += &format!("{name}\x0b{client}\t{server}\x0c{neighbours} http={http}\r\n");
        }
        fs::write(herd.topology(), text).expect("a topology file");
        herd
    }

    /// A herd that is up.
    fn started() -> Herd {
        let mut herd = Herd::new();
        let start = herd.run(&[]);
        assert_eq!(start.code, 0, "{start:?}");
        herd.welcome = start.out;
        herd
    }

    fn topology(&self) -> PathBuf {
        self.dir.path().join("topology.txt")
    }

    fn log_dir(&self) -> PathBuf {
        self.dir.path().join("logs of the herd")
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.path().join("memory of the herd")
    }

    fn address(&self, name: &str) -> &Addresses {
        let index = NAMES.iter().position(|&other| other == name);
        &self.addresses[index.expect("one of NAMES")]
    }

    fn client_address(&self, name: &str) -> String {
        self.address(name).client.clone()
    }

    fn server_address(&self, name: &str) -> String {
        self.address(name).server.clone()
    }

    fn pid(&self, name: &str) -> i32 {
        let file = self.log_dir().join(format!("{name}.pid"));
        let text = fs::read_to_string(file).expect("a pid file");
        text.trim().parse().expect("a pid")
    }

    /// All processes of this herd, by pid, told by their command lines.
    fn processes(&self) -> Vec<(i32, String)> {
        let directory = self.dir.path().to_str().expect("a path in UTF-8");
        let stand_in = format!(" twitter --listen {} ", self.stand_in);
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("Linux").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|s| s.parse().ok()) else {
                continue;
            };
            let bytes = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&bytes).replace('\0', " ");
            let serves = line.contains(" serve ") && line.contains(directory);
            if serves || line.contains(&stand_in) {
                found.push((pid, line));
            }
        }
        found.sort();
        found
    }

    /// The script, to be run for this herd.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.script);
        command.args(arguments);
        command.env("HERD_BIN", env!("CARGO_BIN_EXE_herd"));
        command.env("TOPOLOGY", self.topology());
        command.env("LOG_DIR", self.log_dir());
        command.env("DATA_DIR", self.data_dir());
        command.env("TWITTER_LISTEN", &self.stand_in);
        command.env("START_SECONDS", "60");
        match &self.twitter_url {
            Some(url) => command.env("TWITTER_URL", url),
            None => command.env_remove("TWITTER_URL"),
        };
        command
    }

    /// The same with a herd of which Bob does what these lines of bash say: a bash by the name of herd, which reads
    /// first what BASH_ENV names.
    fn command_with_herd_that(&self, lines: &str, arguments: &[&str]) -> Command {
        let herd = self.dir.path().join("herd-of-bash");
        fs::copy("/bin/bash", &herd).expect("bash is there");
        let all = format!(
            "case $(readlink /proc/$$/exe) in */herd-of-bash) ;; *) return ;; esac\n\
             mapfile -d '' -t words </proc/$$/cmdline\n\
             case ${{words[*]:1:2}} in 'serve Bob') {lines} ;; esac\n\
             exec '{}' \"${{words[@]:1}}\"\n",
            env!("CARGO_BIN_EXE_herd")
        );
        let file = self.dir.path().join("bash_env");
        fs::write(&file, all).expect("a file");
        let mut command = self.command(arguments);
        command.env("HERD_BIN", &herd).env("BASH_ENV", &file);
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        self.run_program(&mut self.command(arguments))
    }

    fn run_program(&self, command: &mut Command) -> Ended {
        Running::spawn(command, self.dir.path()).wait()
    }

    fn spawn(&self, mut command: Command) -> Running {
        Running::spawn(&mut command, self.dir.path())
    }

    /// Tells the first server something, and asks the last one, which has it over the links.
    fn check_that_it_answers(&self) {
        let told = self.ask(
            "Ada",
            "IAMAT kiwi +34.068930-118.445127 1353118103.108893381\n",
        );
        let ending = " kiwi +34.068930-118.445127 1353118103.108893381\n";
        assert!(
            told.starts_with("AT Ada +") && told.ends_with(ending),
            "{told:?}"
        );
        let reply = self.wait_for("the location to reach Cyd", || {
            let reply = self.ask("Cyd", "WHATSAT kiwi 100 2\n");
            reply.starts_with("AT ").then_some(reply)
        });
        let (at, json) = reply.split_once('\n').expect("two lines");
        assert!(at.starts_with("AT Ada +"), "{reply:?}");
        assert!(json.starts_with('{') && json.ends_with("}\n"), "{reply:?}");
        assert!(!json.contains("\"error\""), "{reply:?}");
    }

    /// Sends lines to a server, closes our side, and returns all it has to say.
    fn ask(&self, name: &str, lines: &str) -> String {
        let address = self.client_address(name);
        if !nc_is_here() {
            return ask_without_nc(&address, lines).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        let (host, port) = address.split_once(':').expect("host:port");
        let input = self.dir.path().join("input");
        fs::write(&input, lines).expect("a file");
        let mut nc = Command::new("nc");
        nc.args(["-N", host, port]);
        let mut running = Running::spawn_with(&mut nc, self.dir.path(), Some(&input));
        running.what = format!("nc to {name}");
        running.wait().out
    }

    /// Waits until the status says of a server's links what it is to end with.
    fn wait_for_links(&self, name: &str, links: &str) {
        self.wait_for(links, || {
            let status = self.run(&["status"]);
            status.state(name).ends_with(links).then_some(())
        });
    }

    /// Waits until `look` finds something.
    fn wait_for<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        if thread::panicking() {
            for entry in fs::read_dir(self.log_dir()).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.extension().is_some_and(|e| e == "err" || e == "old") {
                    let said = fs::read_to_string(&path).unwrap_or_default();
                    eprintln!("--- {}\n{said}", path.display());
                }
            }
        }
        // Not by the script, which may be what is broken.
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let left = self.processes();
            if left.is_empty() {
                break;
            }
            left.iter().for_each(|&(pid, _)| kill(pid, Signal::KILL));
            thread::sleep(LOOK_AGAIN);
        }
    }
}

/// A program under way, its output going to files: a server that kept a pipe open would hang us.
struct Running {
    child: Child,
    what: String,
    output: TempDir,
}

/// What a program left behind.
#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Running {
    fn spawn(command: &mut Command, dir: &Path) -> Running {
        Running::spawn_with(command, dir, None)
    }

    fn spawn_with(command: &mut Command, dir: &Path, input: Option<&Path>) -> Running {
        let output = TempDir::new_in(dir).expect("a temporary directory");
        let file = |name| fs::File::create(output.path().join(name)).expect("a file");
        command.stdout(file("out")).stderr(file("err"));
        command.stdin(match input {
            Some(path) => Stdio::from(fs::File::open(path).expect("the file just written")),
            None => Stdio::null(),
        });
        let what = format!("{command:?}");
        let child = command.spawn().unwrap_or_else(|e| panic!("{what}: {e}"));
        Running {
            child,
            what,
            output,
        }
    }

    fn wait(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                break status;
            }
            if Instant::now() >= deadline {
                self.child.kill().expect("our child");
                self.child.wait().expect("our child");
                panic!(
                    "no end to {}: {} {}",
                    self.what,
                    self.said("out"),
                    self.said("err")
                );
            }
            thread::sleep(LOOK_AGAIN);
        };
        Ended {
            code: status.code().unwrap_or(-1),
            out: self.said("out"),
            err: self.said("err"),
        }
    }

    fn said(&self, name: &str) -> String {
        let bytes = fs::read(self.output.path().join(name)).expect("the file we made");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Ended {
    /// What the server `name` says of itself, below the table of processes.
    fn state(&self, name: &str) -> &str {
        let rows = self.out.lines().skip_while(|line| !line.is_empty());
        let mut rows = rows.filter(|line| line.split(' ').next() == Some(name));
        rows.next().unwrap_or_else(|| panic!("{name}: {self:?}"))
    }

    /// The row about `name` in the table of processes, in words.
    fn row(&self, name: &str) -> Vec<String> {
        let rows = self.out.lines().map(|line| line.split_whitespace());
        let mut rows = rows.map(|words| words.map(str::to_owned).collect::<Vec<_>>());
        let row = rows.find(|words| words.first().is_some_and(|word| word == name));
        row.unwrap_or_else(|| panic!("no row for {name}: {self:?}"))
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("run_herd.sh")
}

/// Whether there is an `nc` that can half-close (`-N`, as OpenBSD's has); says so once if not.
fn nc_is_here() -> bool {
    static HERE: OnceLock<bool> = OnceLock::new();
    *HERE.get_or_init(|| {
        let help = Command::new("nc").arg("-h").stdin(Stdio::null()).output();
        let here = help.is_ok_and(|o| {
            let text = [o.stdout, o.stderr].concat();
            String::from_utf8_lossy(&text).contains("-N")
        });
        if !here {
            eprintln!("there is no nc with -N: talking over TcpStream instead");
        }
        here
    })
}

fn ask_without_nc(address: &str, lines: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(lines.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Ok(String::from_utf8_lossy(&reply).into_owned())
}

/// Signals a process; one that has gone meanwhile is no trouble.
fn kill(pid: i32, signal: Signal) {
    let pid = Pid::from_raw(pid).expect("a pid is not 0");
    let _ = kill_process(pid, signal);
}
