//! The servers that are measured, each a process of its own: started, read in /proc, ended.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tempfile::TempDir;

use super::ports::free_address;
use super::{PATIENCE, Result};

/// In which /proc counts a process's time: USER_HZ, which is 100 wherever Linux runs herd.
const TICKS_PER_SECOND: u64 = 100;

/// The name of the server in a herd of one.
pub const SOLO: &str = "Solo";

/// A process that is killed when this goes away.
pub struct Server {
    child: Child,
    /// Where clients connect.
    pub address: SocketAddr,
    complaints: PathBuf,
    _home: Arc<TempDir>,
}

impl Server {
    /// A bare echo server, which is this very program; with `log` it logs every line.
    pub fn echo(log: bool, core: Option<&str>) -> Result<Server> {
        let home = Arc::new(TempDir::new()?);
        let address = free_address();
        let mut command = on_core(core, &std::env::current_exe()?);
        command.args(["--echo", &address.to_string()]);
        if log {
            command.arg(home.path().join("log"));
        }
        Server::start(command, address, home)
    }

    /// The stand-in for Twitter.
    pub fn twitter(core: Option<&str>) -> Result<Server> {
        let address = free_address();
        let mut command = on_core(core, env!("CARGO_BIN_EXE_herd").as_ref());
        command.args(["twitter", "--listen", &address.to_string()]);
        Server::start(command, address, Arc::new(TempDir::new()?))
    }

    /// Starts it and waits until it accepts connections.
    pub fn start(mut command: Command, address: SocketAddr, home: Arc<TempDir>) -> Result<Server> {
        let complaints = home.path().join(format!("stderr-{}", address.port()));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(fs::File::create(&complaints)?).spawn()?;
        let mut server = Server {
            child,
            address,
            complaints,
            _home: home,
        };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            let exit = server.child.try_wait()?;
            if exit.is_some() || Instant::now() > deadline {
                let text = server.said();
                return Err(format!("{command:?} does not serve ({exit:?}): {text}").into());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(server)
    }

    /// The CPU time it has used so far.
    pub fn cpu(&self) -> Result<Duration> {
        cpu(self.child.id())
    }

    /// What it has said on standard error.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.complaints).unwrap_or_default()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let process = Pid::from_raw(self.child.id() as i32).ok_or("no process has id 0")?;
        Ok(kill_process(process, signal)?)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    /// Its resident memory in bytes.
    pub fn resident_bytes(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next());
        Ok(kilobytes.ok_or("no VmRSS in /proc")?.parse::<f64>()? * 1024.0)
    }

    /// What the objects of a program in Java take after a full collection, in bytes. Its resident memory says
    /// how large a heap it has been given.
    pub fn live_bytes_of_java(&self) -> Result<f64> {
        let process = self.child.id().to_string();
        let output = Command::new("jcmd")
            .args([&process, "GC.class_histogram"])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let total = text.lines().rev().find(|line| line.starts_with("Total"));
        let bytes = total.and_then(|line| line.split_whitespace().nth(2));
        Ok(bytes
            .ok_or_else(|| format!("jcmd gave no histogram: {text}"))?
            .parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
    }
}

/// The CPU time of a process. What its threads have used is told to the nanosecond, but not of those
/// that have ended, as a compiler's may; with these it is told in hundredths of a second.
pub fn cpu(process: u32) -> Result<Duration> {
    let mut living_ns = 0;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        match fs::read_to_string(task?.path().join("schedstat")) {
            Ok(text) => living_ns += text.split(' ').next().unwrap_or("").parse::<u64>()?,
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NOENT | Errno::SRCH) => {} // it has just ended
                _ => return Err(error.into()),
            },
        }
    }
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let after_name = stat.rsplit(')').next().unwrap_or("");
    let user_and_system = after_name.split_whitespace().skip(11).take(2);
    let mut ticks = 0;
    for text in user_and_system {
        ticks += text.parse::<u64>()?;
    }
    let all = Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND);
    Ok(all.max(Duration::from_nanos(living_ns)))
}

/// Who runs where, as taskset writes it.
#[derive(Clone, Debug)]
pub struct Cores {
    pub servers: String,
    pub generator: String,
    /// All that this process may use.
    pub all: String,
}

impl Cores {
    /// Moves this thread, and those it will start, to one core, and keeps another for the servers,
    /// so that the two do not disturb each other. `None` where that is not possible.
    pub fn part() -> Option<Cores> {
        let mut taskset = Command::new("taskset");
        taskset
            .args(["-c", "0", "true"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let all = sched_getaffinity(None).ok()?;
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU)
            .filter(|&core| all.is_set(core))
            .collect();
        let [servers, generator, ..] = cores[..] else {
            return None;
        };
        if !taskset.status().is_ok_and(|status| status.success()) {
            return None;
        }
        let mut own = CpuSet::new();
        own.set(generator);
        sched_setaffinity(None, &own).ok()?;
        let names: Vec<String> = cores.iter().map(usize::to_string).collect();
        Some(Cores {
            servers: servers.to_string(),
            generator: generator.to_string(),
            all: names.join(","),
        })
    }

    /// Lets this thread, and those it will start, run anywhere.
    pub fn unite(&self) -> Result<()> {
        let mut all = CpuSet::new();
        for core in self.all.split(',') {
            all.set(core.parse()?);
        }
        Ok(sched_setaffinity(None, &all)?)
    }
}

/// A command that will run on those cores only.
pub fn on_core(core: Option<&str>, program: &Path) -> Command {
    let Some(core) = core else {
        return Command::new(program);
    };
    let mut command = Command::new("taskset"); // which becomes the program: same process
    command.args(["-c", core]).arg(program);
    command
}

/// Allows this process and its servers as many descriptors as may be; returns how many.
pub fn raise_descriptors() -> Result<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Ok(limit.current.unwrap_or(u64::MAX))
}
