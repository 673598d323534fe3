//! The herd of the assignment, with a cable for each link, and what becomes of its processes.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use herd::random::SplitMix64;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::cable::Cable;
use crate::figures::{Life, Tally, Usage};
use crate::phones::Place;
use crate::support::ports::free_address;
use crate::support::process::Server;
use crate::support::{Result, size};

const SERVERS: [&str; 5] = ["Blake", "Bryant", "Gasol", "Howard", "Metta"];

/// What each promises of power failures. None comes; but syncs take their time.
const FSYNC: [&str; 5] = ["never", "never", "always", "second", "never"];

/// The two servers of each link, by their places in [`SERVERS`].
const LINKS: [[usize; 2]; 5] = [[0, 1], [0, 3], [2, 1], [2, 3], [4, 1]];

/// A server must have ended so long after SIGTERM; it may take 5 s itself.
const ENDING: Duration = Duration::from_secs(8);

/// The program that the package builds.
const HERD: &str = env!("CARGO_BIN_EXE_herd");

/// One server, over all its lives.
pub struct Member {
    pub name: &'static str,
    place: Place,
    /// While it runs; it may be stopped.
    process: Option<Server>,
    is_stopped: bool,
    born_at: Instant,
    /// CPU time of this life, and of the lives before.
    cpu: [Duration; 2],
    pub tally: Tally,
    /// There is an older copy of its journal.
    pub has_a_copy: bool,
}

/// All of it.
pub struct Herd {
    home: Arc<TempDir>,
    pub members: Vec<Member>,
    pub cables: Vec<Arc<Cable>>,
    twitter: Option<Server>,
    twitter_place: Place,
}

impl Herd {
    /// Lays the cables and starts everything.
    pub fn start() -> Result<Herd> {
        let home = Arc::new(TempDir::new()?);
        let mut members = Vec::new();
        let mut listening = Vec::new();
        for name in SERVERS {
            listening.push(free_address());
            members.push(Member {
                name,
                place: (name.to_owned(), free_address()),
                process: None,
                is_stopped: false,
                born_at: Instant::now(),
                cpu: [Duration::ZERO; 2],
                tally: Tally::default(),
                has_a_copy: false,
            });
        }
        // Each server has a file of its own, in which its neighbours are at its cables' ends.
        let own = |it: usize| format!("{} {}", members[it].place.1, listening[it]);
        let mut files: Vec<String> = (0..SERVERS.len())
            .map(|it| format!("{} {}\n", SERVERS[it], own(it)))
            .collect();
        let mut cables = Vec::new();
        for [one, other] in LINKS {
            let ends = [free_address(), free_address()];
            for (it, that, end) in [(one, other, ends[0]), (other, one, ends[1])] {
                let clients = members[that].place.1;
                files[it] += &format!("{} {clients} {end} {}\n", SERVERS[that], SERVERS[it]);
            }
            cables.push(Cable::lay([listening[one], listening[other]], ends)?);
        }
        for (name, file) in SERVERS.iter().zip(files) {
            fs::write(home.path().join(format!("{name}.topology")), file)?;
        }
        let twitter_place = ("the stand-in".to_owned(), free_address());
        let mut herd = Herd {
            home,
            members,
            cables,
            twitter: None,
            twitter_place,
        };
        herd.start_missing()?;
        Ok(herd)
    }

    /// Where everything lies. It is kept from now on, whatever happens.
    pub fn keep(&self) -> PathBuf {
        std::mem::forget(Arc::clone(&self.home));
        self.home.path().to_owned()
    }

    pub fn places(&self) -> Vec<Place> {
        self.members
            .iter()
            .map(|member| member.place.clone())
            .collect()
    }

    /// Starts what does not run, and lets go on what is stopped.
    pub fn start_missing(&mut self) -> Result<()> {
        for it in 0..self.members.len() {
            self.bring_back(it)?;
        }
        if self.twitter.is_none() {
            let address = self.twitter_place.1;
            let mut command = Command::new(HERD);
            command.args(["twitter", "--listen", &address.to_string()]);
            self.twitter = Some(Server::start(command, address, Arc::clone(&self.home))?);
        }
        Ok(())
    }

    /// Starts a server that does not run, and lets go on one that is stopped.
    pub fn bring_back(&mut self, it: usize) -> Result<()> {
        let home = &self.home;
        let member = &mut self.members[it];
        if member.process.is_none() {
            let mut command = Command::new(HERD);
            command.args(["serve", member.name, "--log-keep", "2"]);
            command.args(["--log-max-bytes", size("1M", "200K")]);
            let topology = home.path().join(format!("{}.topology", member.name));
            command.arg("--topology").arg(topology);
            command.arg("--log-dir").arg(home.path().join("logs"));
            command.arg("--data-dir").arg(home.path().join("data"));
            command.args(["--fsync", FSYNC[it]]);
            let twitter = format!("http://{}/search.json", self.twitter_place.1);
            command.args(["--twitter-url", &twitter]);
            member.process = Some(Server::start(command, member.place.1, Arc::clone(home))?);
            member.born_at = Instant::now();
            member.tally.starts += 1;
        }
        if std::mem::take(&mut member.is_stopped) {
            member.signal(Signal::CONT)?;
        }
        Ok(())
    }

    pub fn is_running(&self, it: usize) -> bool {
        self.members[it].process.is_some() && !self.members[it].is_stopped
    }

    /// `kill -9`.
    pub fn kill(&mut self, it: usize) -> Result<()> {
        self.members[it].signal(Signal::KILL)?;
        self.members[it].bury()
    }

    /// SIGTERM to one that runs; it must end well.
    pub fn terminate(&mut self, it: usize) -> Result<()> {
        let member = &mut self.members[it];
        member.signal(Signal::TERM)?;
        let until = Instant::now() + ENDING;
        let process = member.process.as_mut().ok_or("it does not run")?;
        while process.ended()?.is_none() {
            if Instant::now() > until {
                return Err(format!("{} still runs {ENDING:?} after SIGTERM", member.name).into());
            }
            thread::sleep(Duration::from_millis(10));
        }
        let status = process.ended()?;
        if !status.is_some_and(|status| status.success()) {
            return Err(format!("{} ended with {status:?} after SIGTERM", member.name).into());
        }
        member.bury()
    }

    /// SIGSTOP.
    pub fn stop(&mut self, it: usize) -> Result<()> {
        self.members[it].is_stopped = true;
        self.members[it].signal(Signal::STOP)
    }

    /// Deletes a server's log, cuts it, or moves it away as logrotate would, whether it runs or not.
    pub fn harm_log(&self, it: usize, dice: &mut SplitMix64) -> Result<()> {
        let log = self.log(it);
        let done = match dice.below(4) {
            0 => fs::remove_file(&log),
            1 => File::options().write(true).open(&log).and_then(|file| {
                let bytes = file.metadata()?.len();
                file.set_len(dice.below(bytes + 1))
            }),
            _ => fs::rename(&log, log.with_extension("log-20261123")),
        };
        if self.is_running(it) && dice.below(2) == 0 {
            self.members[it].signal(Signal::HUP)?;
        }
        match done {
            // It has just been rotated, or was harmed a moment ago.
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Copies a server's journal while it runs.
    pub fn copy_journal(&mut self, it: usize) -> Result<()> {
        let (journal, copy) = (self.journal(it), self.copy(it));
        let _ = fs::remove_dir_all(&copy); // there may be none yet
        fs::create_dir_all(&copy)?;
        for (path, _) in files(&journal)? {
            match fs::copy(&path, copy.join(path.file_name().unwrap_or_default())) {
                // A snapshot has replaced it.
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        self.members[it].has_a_copy = true;
        Ok(())
    }

    /// Puts that in the place of the journal of a server that does not run.
    pub fn set_journal_back(&mut self, it: usize) -> Result<()> {
        fs::remove_dir_all(self.journal(it))?;
        fs::rename(self.copy(it), self.journal(it))?;
        self.members[it].has_a_copy = false;
        Ok(())
    }

    /// Deletes one file of the journal of a server that does not run.
    pub fn lose_a_file(&self, it: usize, dice: &mut SplitMix64) -> Result<()> {
        let mut files = files(&self.journal(it))?;
        files.retain(|(path, _)| !path.ends_with("lock"));
        files.sort();
        let (path, _) = &files[dice.below(files.len() as u64) as usize];
        Ok(fs::remove_file(path)?)
    }

    /// Ends the stand-in.
    pub fn kill_twitter(&mut self) {
        self.twitter = None;
    }

    fn journal(&self, it: usize) -> PathBuf {
        self.home.path().join("data").join(SERVERS[it])
    }

    fn copy(&self, it: usize) -> PathBuf {
        self.home.path().join("copies").join(SERVERS[it])
    }

    fn log(&self, it: usize) -> PathBuf {
        let logs = self.home.path().join("logs");
        logs.join(format!("{}.log", SERVERS[it]))
    }

    /// Looks at every process: that it has not ended by itself, and what it uses.
    pub fn look(&mut self) -> Result<()> {
        for it in 0..self.members.len() {
            let log_bytes = fs::metadata(self.log(it)).map_or(0, |about| about.len());
            let journal_bytes = files(&self.journal(it))?
                .iter()
                .map(|(_, bytes)| bytes)
                .sum();
            self.members[it].look(log_bytes, journal_bytes)?;
        }
        Ok(())
    }

    /// Ends everything, and takes up the last figures.
    pub fn finish(&mut self) -> Result<()> {
        self.look()?;
        (0..self.members.len()).try_for_each(|it| self.terminate(it))
    }

    /// The CPU time of all servers.
    pub fn cpu(&self) -> Duration {
        self.members.iter().flat_map(|member| member.cpu).sum()
    }
}

/// The files in a folder, and how long each is.
fn files(folder: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if let Ok(found) = fs::metadata(&path) {
            files.push((path, found.len())); // else it has just been replaced
        }
    }
    Ok(files)
}

impl Member {
    fn signal(&self, signal: Signal) -> Result<()> {
        let process = self.process.as_ref();
        let process = process.ok_or_else(|| format!("{} does not run", self.name))?;
        process.signal(signal)
    }

    fn look(&mut self, log_bytes: u64, journal_bytes: u64) -> Result<()> {
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        if let Some(status) = process.ended()? {
            let said = process.said();
            return Err(format!("{} ended by itself, {status}: {said}", self.name).into());
        }
        let usage = Usage {
            resident_bytes: process.resident_bytes()?,
            descriptors: process.descriptors()?,
            log_bytes,
            journal_bytes,
        };
        self.cpu[0] = process.cpu()?;
        self.tally.note(self.born_at.elapsed(), usage);
        Ok(())
    }

    /// What is left to do when it has ended.
    fn bury(&mut self) -> Result<()> {
        if let Some(process) = self.process.take() {
            let said = process.said();
            if said.contains("panicked") {
                return Err(format!("{} panicked: {said}", self.name).into());
            }
        }
        let [this_life, before] = &mut self.cpu;
        *before += std::mem::take(this_life);
        self.tally.this = Life::default();
        self.is_stopped = false;
        Ok(())
    }
}
