//! A disk whose syncs hang or fail as long as a test wishes: a library in C that is preloaded into the
//! server, as no safe Rust can stand in for the C library.

use std::fs;
use std::path::PathBuf;

use crate::preload;
use crate::support::Herd;

/// The disk under all servers of a herd.
pub struct SlowDisk(PathBuf);

impl SlowDisk {
    /// Puts it under the servers that are started from now on.
    pub fn under(herd: &mut Herd) -> SlowDisk {
        let directory = herd.directory.path();
        let library = preload::compiled("hanging_sync", directory);
        let disk = directory.join("disk");
        let environment = preload::environment(&library, "HERD_TEST_DISK", &disk);
        herd.environment.extend(environment);
        SlowDisk(disk)
    }

    fn sign(&self, ending: &str) -> PathBuf {
        self.0.with_extension(ending)
    }

    /// Lets syncs hang, or go on.
    pub fn hang(&self, hangs: bool) {
        self.set("hang", hangs);
    }

    /// Lets syncs fail, or succeed.
    pub fn fail(&self, fails: bool) {
        self.set("fail", fails);
    }

    fn set(&self, ending: &str, is_set: bool) {
        let sign = self.sign(ending);
        let done = match is_set {
            true => fs::write(sign, ""),
            false => fs::remove_file(sign),
        };
        done.expect("the directory is ours");
    }

    /// How many syncs have succeeded.
    pub fn synced(&self) -> u64 {
        fs::metadata(self.sign("synced")).map_or(0, |found| found.len())
    }
}
