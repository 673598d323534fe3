//! The journal's folder from outside: who may use it, what a disk does that is full, fails or hangs, and
//! what is left after `kill -9`.

mod full_disk;
#[path = "../support/hanging_sync.rs"]
mod hanging_sync;
mod harm;
#[path = "../support/http.rs"]
mod http;
#[path = "../support/preload.rs"]
mod preload;
mod refusals;
#[path = "../support/mod.rs"]
mod support;
mod syncs;
#[path = "../support/wire.rs"]
mod wire;
#[path = "../support/wired.rs"]
mod wired;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use support::{Herd, client_of};

const ALONE: &[(&str, &[&str])] = &[("Ann", &[])];

const KIWI: &str = "IAMAT kiwi +27.5916+086.5640 1";

/// What is said when the journal cannot be written, ...
const FAILING: &str = "new reports are only in memory until it can be written";

/// ... and when it can again.
const RESTORED: &str = " is written again, and has all that is known.";

/// How many lines `name` has said with `words` in them.
fn said(herd: &mut Herd, name: &str, words: &str) -> usize {
    herd.process(name).said().matches(words).count()
}

/// All files under `path`, with what they hold; folders end with a slash.
fn tree(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let Ok(entries) = fs::read_dir(path) else {
        if let Ok(bytes) = fs::read(path) {
            found.insert(path.to_owned(), bytes);
        }
        return found;
    };
    found.insert(path.join(""), Vec::new());
    for entry in entries {
        found.append(&mut tree(&entry.expect("it can be read").path()));
    }
    found
}

/// Waits until each of these AT lines is what `name` holds of its client.
fn assert_known(herd: &Herd, name: &str, lines: &[String]) {
    let mut client = herd.client(name);
    for at in lines {
        client.say(&format!("WHATSAT {} 1 0", client_of(at)));
        assert_eq!(client.line(), *at, "{name}");
        client.line(); // Twitter's
    }
}

/// Reports `prefix0`, `prefix1` and so on to Ann, for as long as two attempts at the disk take. Each is
/// answered promptly.
fn report_meanwhile(herd: &Herd, prefix: &str) -> Vec<String> {
    let mut client = herd.client("Ann");
    let mut acknowledged = Vec::new();
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(2_200) {
        let asked = Instant::now();
        let number = acknowledged.len();
        client.say(&format!("IAMAT {prefix}{number} +27.5916+086.5640 1"));
        acknowledged.push(client.line());
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(2), "{prefix}{number}: {took:?}");
        thread::sleep(Duration::from_millis(5)); // a steady load, not all the machine has
    }
    acknowledged
}
