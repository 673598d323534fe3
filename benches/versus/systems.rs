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

/// herd that logs links only, and nothing: as who has much to log would run it.
pub const LOG_LINKS: &str = "herd, log links";
pub const LOG_OFF: &str = "herd, log off";

/// The same herd in Python on other versions than the current ones: on those of the assignment, ...
pub const TWISTED_OLD: &str = "Twisted 12.3.0";
/// ... on a newer CPython, ...
pub const TWISTED_313: &str = "Twisted, CPython 3.13";
/// ... and on the one that compiles while it runs.
pub const TWISTED_PYPY: &str = "Twisted, PyPy";

/// Makes a Python say who it is.
const SAY_VERSIONS: &str = "import platform, twisted; print('Twisted %s, %s %s' \
    % (twisted.__version__, platform.python_implementation(), platform.python_version()))";

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
            version(env!("CARGO_BIN_EXE_herd"), &["--version"]).unwrap_or_default(),
            this.unwrap_or_else(|| "unknown".into())
        );
        let with_keys = Kind::Herd(herd.clone());
        let logging = |what: &'static [&'static str]| Kind::Herd(herd.clone().with(what));
        let (links, off) = (logging(&["--log", "links"]), logging(&["--log", "off"]));
        systems.add("herd", iamat, Kind::Herd(herd), version_of_herd.clone());
        systems.add(WITH_KEYS, iamat, with_keys, version_of_herd.clone());
        systems.add(LOG_LINKS, iamat, links, version_of_herd.clone());
        systems.add(LOG_OFF, iamat, off, version_of_herd);
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
        let venv = "tests/reference/twisted/venv.sh target/reference/";
        for (name, variable, place, how) in [
            ("Twisted", "HERD_TWISTED", "twisted", ""),
            (TWISTED_OLD, "HERD_TWISTED_OLD", "old", " --old python2.7"),
            (
                TWISTED_313,
                "HERD_TWISTED_313",
                "py313",
                ", with PYTHON=python3.13",
            ),
            (
                TWISTED_PYPY,
                "HERD_TWISTED_PYPY",
                "pypy",
                ", with PYTHON=pypy3",
            ),
        ] {
            let python = std::env::var_os(variable);
            let python =
                python.unwrap_or_else(|| made.join(place).join("bin/python").into_os_string());
            match version(&python, &["-c", SAY_VERSIONS]) {
                Some(version) => {
                    let words = vec![python, sources.join("twisted/herd.py").into()];
                    let kind = Kind::Herd(Program::of(words));
                    self.add(name, dialect::HERD, kind, version);
                }
                None => self.lacks(name, &format!("{venv}{place}{how}, or {variable}")),
            }
        }
        match version("node", &["--version"]) {
            Some(version) => {
                let words = vec!["node".into(), sources.join("node/herd.js").into()];
                self.add(
                    "Node",
                    dialect::HERD,
                    Kind::Herd(Program::of(words)),
                    version,
                );
            }
            None => self.lacks("Node", "apt-get install nodejs"),
        }
        match (version("java", &["-version"]), compile(&sources, &made)) {
            (Some(version), Some(classes)) => {
                let words: Vec<OsString> =
                    vec!["java".into(), "-cp".into(), classes.into(), "Herd".into()];
                self.add(
                    "Java",
                    dialect::HERD,
                    Kind::Herd(Program::of(words)),
                    version,
                );
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
            TWISTED_PYPY => size(10_000, 30),
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
