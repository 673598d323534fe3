//! Who is compared, how each is started, and what to do about those that are not there.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::dialect::{self, Dialect};
use crate::support::ports::free_address;
use crate::support::process::{Server, on_core};
use crate::support::topology::Program;
use crate::support::{Result, size};

/// herd whose links are encrypted.
pub const WITH_KEYS: &str = "herd with keys";

/// One way to do the work.
#[derive(Clone, Debug)]
pub struct System {
    pub name: &'static str,
    pub dialect: Dialect,
    pub kind: Kind,
    /// What it reports as its version.
    pub version: String,
}

/// What a system is, and so how it is started.
#[derive(Clone, Debug)]
pub enum Kind {
    /// herd, or the same herd in another language.
    Herd(Program),
    Echo {
        log: bool,
    },
    Redis(PathBuf),
    Nats(PathBuf),
}

/// What this machine has, in the order in which it is shown, and for each that it has not: its name,
/// and how to get it.
pub struct Systems {
    pub found: Vec<System>,
    pub absent: Vec<(&'static str, String)>,
}

impl Systems {
    pub fn look() -> Systems {
        let mut systems = Systems {
            found: Vec::new(),
            absent: Vec::new(),
        };
        let herd = Program::herd();
        let (iamat, this) = (
            dialect::HERD,
            version("git", &["describe", "--always", "--dirty"]),
        );
        let version_of_herd = format!(
            "{}, commit {}",
            version(&herd.0[0], &["--version"]).unwrap_or_default(),
            this.unwrap_or_else(|| "unknown".into())
        );
        let with_keys = Kind::Herd(herd.clone());
        systems.add("herd", iamat, Kind::Herd(herd), version_of_herd.clone());
        systems.add(WITH_KEYS, iamat, with_keys, version_of_herd);
        systems.look_for_references();
        for (name, log) in [("bare echo", false), ("logging echo", true)] {
            systems.add(
                name,
                dialect::ECHO,
                Kind::Echo { log },
                "mio, of this bench".into(),
            );
        }
        match version("redis-server", &["--version"]) {
            Some(version) => {
                let redis = || Kind::Redis("redis-server".into());
                systems.add(
                    "redis GEOADD",
                    dialect::REDIS_GEOADD,
                    redis(),
                    version.clone(),
                );
                systems.add("redis SET", dialect::REDIS_SET, redis(), version);
            }
            None => systems.lacks("redis", "apt-get install redis-server"),
        }
        match version("nats-server", &["--version"]) {
            Some(version) => {
                let nats = Kind::Nats("nats-server".into());
                systems.add("NATS", dialect::NATS_PUB, nats, version);
            }
            None => systems.lacks("NATS", "apt-get install nats-server"),
        }
        systems
    }

    fn look_for_references(&mut self) {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference");
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("reference");
        let python = std::env::var_os("HERD_TWISTED")
            .unwrap_or_else(|| made.join("twisted/bin/python").into_os_string());
        let say = "import sys, twisted; print('Twisted %s, Python %s' \
                   % (twisted.__version__, sys.version.split()[0]))";
        match version(&python, &["-c", say]) {
            Some(version) => {
                let words = vec![python, sources.join("twisted/herd.py").into()];
                self.add(
                    "Twisted",
                    dialect::HERD,
                    Kind::Herd(Program(words)),
                    version,
                );
            }
            None => self.lacks(
                "Twisted",
                "tests/reference/twisted/venv.sh target/reference/twisted",
            ),
        }
        match version("node", &["--version"]) {
            Some(version) => {
                let words = vec!["node".into(), sources.join("node/herd.js").into()];
                self.add("Node", dialect::HERD, Kind::Herd(Program(words)), version);
            }
            None => self.lacks("Node", "apt-get install nodejs"),
        }
        match (version("java", &["-version"]), compile(&sources, &made)) {
            (Some(version), Some(classes)) => {
                let words: Vec<OsString> =
                    vec!["java".into(), "-cp".into(), classes.into(), "Herd".into()];
                self.add("Java", dialect::HERD, Kind::Herd(Program(words)), version);
            }
            _ => self.lacks("Java", "apt-get install default-jdk-headless"),
        }
    }

    fn add(&mut self, name: &'static str, dialect: Dialect, kind: Kind, version: String) {
        self.found.push(System {
            name,
            dialect,
            kind,
            version,
        });
    }

    fn lacks(&mut self, name: &'static str, how: &str) {
        self.absent.push((name, how.to_owned()));
    }

    /// Those of these names that are there.
    pub fn named(&self, names: &[&str]) -> Vec<&System> {
        let all = names.iter().filter_map(|name| self.get(name));
        all.collect()
    }

    pub fn get(&self, name: &str) -> Option<&System> {
        self.found.iter().find(|system| system.name == name)
    }
}

impl System {
    /// Starts one server of it, which knows nobody.
    pub fn start(&self, core: Option<&str>) -> Result<Server> {
        match &self.kind {
            Kind::Herd(program) => program.solo(core),
            Kind::Echo { log } => Server::echo(*log, core),
            Kind::Redis(program) => redis(program, core),
            Kind::Nats(program) => nats(program, core),
        }
    }

    /// How long it is driven before it is measured: what compiles while it runs takes its time.
    pub fn warm_up(&self) -> Duration {
        Duration::from_millis(match self.name {
            "Java" => size(3_000, 30),
            "Node" => size(1_000, 30),
            _ => size(300, 30),
        })
    }
}

/// Redis in memory only: it neither logs nor saves anything.
fn redis(program: &Path, core: Option<&str>) -> Result<Server> {
    let home = Arc::new(TempDir::new()?);
    let address = free_address();
    let mut command = on_core(core, program);
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
    command.args(["--save", "", "--appendonly", "no", "--maxclients", "100000"]);
    command.arg("--dir").arg(home.path());
    Server::start(command, address, home)
}

fn nats(program: &Path, core: Option<&str>) -> Result<Server> {
    let home = Arc::new(TempDir::new()?);
    let address = free_address();
    let mut command = on_core(core, program);
    command.args(["--addr", "127.0.0.1", "--port", &address.port().to_string()]);
    Server::start(command, address, home)
}

/// Compiles Java's herd if that has not been done; returns where it is.
fn compile(sources: &Path, made: &Path) -> Option<PathBuf> {
    let (source, classes) = (sources.join("java/Herd.java"), made.join("java"));
    let changed = |path: &Path| path.metadata().and_then(|data| data.modified()).ok();
    if changed(&classes.join("Herd.class")) < changed(&source) {
        let mut javac = Command::new("javac");
        javac.args(["-nowarn", "-d"]).arg(&classes).arg(&source);
        javac.stdout(Stdio::null()).stderr(Stdio::null());
        javac.status().ok().filter(|status| status.success())?;
    }
    Some(classes)
}

/// The first line that a program says of itself, if there is such a program.
pub fn version(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let said = [output.stdout, output.stderr].concat(); // java's goes to standard error
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().next().unwrap_or_default().trim().to_owned();
    output.status.success().then_some(line)
}
