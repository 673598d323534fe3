//! A server's process, or another, that does not outlive its owner.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::{is_time, messages, wait_until};

/// A process that ends with its owner. What it says on standard error goes to a file.
pub struct Process {
    child: Child,
    /// What it has said on standard error.
    pub stderr: PathBuf,
}

impl Process {
    /// Starts `command` with its standard error in `stderr`.
    pub fn start(mut command: Command, stderr: PathBuf) -> Process {
        let file = fs::File::create(&stderr).expect("the directory is ours");
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("the program can be started");
        Process { child, stderr }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).expect("a pid is not 0");
        kill_process(pid, signal).expect("it runs");
    }

    /// Kills it at once (`kill -9`), and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill(); // it may have ended already
        let _ = self.child.wait();
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the process ends", || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        status.expect("waited for")
    }

    /// What it has said on standard error so far, without the times that a server's lines begin with.
    pub fn said(&self) -> String {
        let said = fs::read_to_string(&self.stderr).unwrap_or_default();
        let without_time = |line| match str::split_once(line, ' ') {
            Some((time, rest)) if is_time(time) => rest,
            _ => line,
        };
        said.split_inclusive('\n').map(without_time).collect()
    }

    /// What a server tells its operator is explained to him.
    fn check_messages(&self) {
        if !self.stderr.is_file() {
            return; // a pipe would have to be read by somebody else
        }
        let said = fs::read(&self.stderr).unwrap_or_default();
        for line in String::from_utf8_lossy(&said).lines() {
            let Some((time, message)) = line.split_once(' ').filter(|(time, _)| is_time(time))
            else {
                continue; // no server of ours says that
            };
            let (_, message) = message.split_once(": ").expect("a server says its name");
            assert!(
                messages::is_explained(message),
                "docs/MESSAGES.md does not explain this, of {time}: {message}"
            );
        }
    }

    /// Its resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("it runs, on Linux");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        1024 * kib
            .and_then(|kib| kib.parse::<u64>().ok())
            .expect("VmRSS has a number")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if !thread::panicking() {
            self.check_messages();
        }
    }
}
