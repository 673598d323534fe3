//! A server whose clock is off by as much as a test wishes: a library in C that is preloaded into it, as a
//! test cannot set the machine's clock.

use std::fs;
use std::path::PathBuf;

use crate::preload;
use crate::support::Herd;

/// The clock of a server.
pub struct Clock {
    preloaded: PathBuf,
    offset: PathBuf,
}

impl Clock {
    /// One that is right.
    pub fn new(herd: &Herd) -> Clock {
        let directory = herd.directory.path();
        let preloaded = preload::compiled("set_clock", directory);
        let offset = directory.join("clock");
        let clock = Clock { preloaded, offset };
        clock.set(0);
        clock
    }

    /// Sets it so many seconds ahead.
    pub fn set(&self, seconds: i64) {
        // At once: half a number would be another time.
        let new = self.offset.with_extension("new");
        fs::write(&new, seconds.to_string()).expect("the directory is ours");
        fs::rename(new, &self.offset).expect("the directory is ours");
    }

    /// Starts a server that goes by it.
    pub fn start(&self, herd: &mut Herd, name: &str, arguments: &[&str]) {
        let mut command = herd.command(name);
        let environment = preload::environment(&self.preloaded, "HERD_TEST_CLOCK", &self.offset);
        command.envs(environment);
        command.args(arguments);
        herd.start_with(name, command);
    }
}
