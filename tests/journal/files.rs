//! The journal in a real folder.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use herd::journal::disk::{Disk, OpenError, Ticket};
use herd::journal::files::Files;
use herd::journal::{Journal, Options, Recovered, State};
use herd::node::Node;
use tempfile::TempDir;

use crate::life::{at, node};

/// The longest that the thread may take for a job.
const PATIENCE: Duration = Duration::from_secs(30);

type Done = Receiver<(Ticket, std::io::Result<()>)>;

struct Server {
    node: Node,
    journal: Journal<Files>,
    recovered: Recovered,
    done: Done,
}

fn files(folder: &Path, may_fail: bool) -> Result<(Files, Done), OpenError> {
    let (post, done) = channel();
    let post = move |ticket, outcome| drop(post.send((ticket, outcome)));
    Ok((Files::new(folder.to_owned(), may_fail, post)?, done))
}

impl Server {
    fn start(folder: &Path, may_fail: bool) -> Result<Server, OpenError> {
        let mut node = node("Blake", 1, at(0));
        let (files, done) = files(folder, may_fail)?;
        let options = Options {
            may_fail,
            ..Options::default()
        };
        let (journal, recovered) = Journal::open(files, options, &mut node, at(0), |_, _| {})?;
        Ok(Server {
            node,
            journal,
            recovered,
            done,
        })
    }

    /// A client reports at a time.
    fn report(&mut self, second: i64) {
        let line = format!("AT Blake +0.000000000 kiwi +00+000 {second}");
        let end = self.node.table().end();
        self.journal.change(end + 1, line.as_bytes());
        let mut recovery = self.node.recovery(at(0));
        assert!(recovery.replay(&[line.as_bytes()]));
        self.journal.commit();
    }

    /// Ends turns until a new file is there.
    fn work(&mut self) {
        let before = self.journal.counters().snapshots;
        while self.journal.counters().snapshots == before {
            self.journal.work(&self.node);
            self.journal.commit();
            while self.journal.poll_notice().is_some() {}
            if !self.journal.is_busy() {
                let (ticket, outcome) = self.done.recv_timeout(PATIENCE).expect("it is done");
                self.journal.handle_done(ticket, outcome);
            }
        }
    }
}

/// Waits until these files are in the folder: the thread may still be at it.
#[track_caller]
fn await_names(folder: &Path, want: &[&str]) {
    let began = Instant::now();
    while names(folder) != want {
        let found = names(folder);
        assert!(began.elapsed() < PATIENCE, "{found:?}, not {want:?}");
        thread::yield_now();
    }
}

fn names(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).expect("it is there");
    let name = |file: fs::DirEntry| file.file_name().into_string().expect("it is text");
    let mut names: Vec<_> = files.map(|file| name(file.expect("it is there"))).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    let metadata = fs::metadata(path).expect("it is there");
    metadata.permissions().mode() & 0o7777
}

#[test]
fn what_clients_said_is_for_the_server_only_and_replaced_files_go() {
    let home = TempDir::new().expect("a folder");
    let folder = home.path().join("data/Blake");
    let mut server = Server::start(&folder, false).expect("it can be used");
    assert!(server.recovered.is_new);
    server.report(1);
    drop(server);
    let mut server = Server::start(&folder, false).expect("it can be used");
    assert_eq!(
        (server.recovered.locations, server.recovered.is_new),
        (1, false)
    );
    server.report(2);
    server.journal.begin_anew();
    server.work();
    server.report(3);
    await_names(&folder, &["journal-0000000000000002", "lock"]);
    for name in names(&folder) {
        assert_eq!(mode(&folder.join(&name)), 0o600, "{name}");
    }
    assert_eq!(mode(&folder), 0o700);
    drop(server);
    let server = Server::start(&folder, false).expect("it can be used");
    assert!(server.recovered.is_sure);
    assert_eq!(server.node.table().end(), 3);
}

#[test]
fn one_process_uses_a_folder_at_a_time() {
    let home = TempDir::new().expect("a folder");
    let server = Server::start(home.path(), false).expect("it can be used");
    for may_fail in [false, true] {
        let error = Server::start(home.path(), may_fail)
            .err()
            .expect("it is in use");
        assert_eq!(error.to_string(), "another process uses it");
    }
    drop(server);
    assert!(Server::start(home.path(), false).is_ok());
}

#[test]
fn a_file_in_the_place_of_the_folder_is_refused() {
    let home = TempDir::new().expect("a folder");
    let path = home.path().join("Blake");
    fs::write(&path, "2012-11-17T02:08:23.672266766Z * - started\n").expect("it can be written");
    for may_fail in [false, true] {
        let error = Server::start(&path, may_fail)
            .err()
            .expect("it is no folder");
        assert_eq!(error.to_string(), "it is no folder");
    }
}

#[test]
fn a_text_log_or_a_link_in_the_place_of_a_file_is_doubt_and_is_kept() {
    let home = TempDir::new().expect("a folder");
    let (folder, elsewhere) = (home.path().join("Blake"), home.path().join("elsewhere"));
    fs::create_dir(&folder).expect("it can be made");
    fs::write(&elsewhere, "somebody's\n").expect("it can be written");
    let log = "2012-11-17T02:08:23.672266766Z * - started\n".repeat(9);
    fs::write(folder.join("journal-0000000000000001"), &log).expect("it can be written");
    symlink(&elsewhere, folder.join("journal-0000000000000002")).expect("it can be made");
    let mut server = Server::start(&folder, false).expect("it can be used");
    assert!(!server.recovered.is_sure && server.recovered.locations == 0);
    let notice = server.journal.poll_notice().expect("it is said");
    let path = folder
        .join("journal-0000000000000002")
        .display()
        .to_string();
    assert!(notice.contains(&path), "{notice}");
    server.report(1);
    let want = [
        "journal-0000000000000001.quarantined",
        "journal-0000000000000002.quarantined",
        "journal-0000000000000003",
        "lock",
    ];
    await_names(&folder, &want);
    let kept = fs::read_to_string(folder.join(want[0])).expect("it is kept");
    assert_eq!(kept, log);
    let untouched = fs::read_to_string(&elsewhere).expect("it is there");
    assert_eq!(untouched, "somebody's\n");
}

#[test]
fn a_name_that_is_taken_is_never_written_to() {
    let home = TempDir::new().expect("a folder");
    let (mut files, _done) = files(home.path(), false).expect("it can be used");
    files
        .create("journal-0000000000000001")
        .expect("it can be made");
    let taken = files
        .create("journal-0000000000000001")
        .expect_err("it is there");
    assert_eq!(taken.kind(), std::io::ErrorKind::AlreadyExists);
}

#[test]
fn with_leave_a_start_goes_on_without_a_folder_until_there_can_be_one() {
    let home = TempDir::new().expect("a folder");
    let obstacle = home.path().join("data");
    fs::write(&obstacle, "").expect("it can be written");
    let folder = obstacle.join("Blake");
    let error = Server::start(&folder, false)
        .err()
        .expect("there cannot be one");
    assert!(matches!(error, OpenError::Io(_)), "{error}");
    let mut server = Server::start(&folder, true).expect("it may fail");
    assert_eq!(server.journal.state(), State::Degraded);
    server.report(1);
    fs::remove_file(&obstacle).expect("it can be removed");
    server.journal.set_now(at(5));
    server.work();
    assert_eq!(server.journal.state(), State::Ok);
    server.report(2);
    drop(server);
    let server = Server::start(&folder, false).expect("it can be used");
    assert_eq!(server.node.table().end(), 2);
}

#[test]
fn with_leave_a_start_reads_what_it_cannot_write() {
    let home = TempDir::new().expect("a folder");
    let folder = home.path().join("Blake");
    let mut server = Server::start(&folder, false).expect("it can be used");
    server.report(1);
    drop(server);
    let lock = folder.join("lock");
    fs::remove_file(&lock).expect("it can be removed");
    fs::create_dir(&lock).expect("it can be made"); // whoever runs the tests, this cannot be opened
    let mut server = Server::start(&folder, true).expect("it may fail");
    assert_eq!(server.recovered.locations, 1);
    assert_eq!(server.journal.state(), State::Degraded, "it is not locked");
    fs::remove_dir(&lock).expect("it can be removed");
    server.journal.set_now(at(5));
    server.work();
    assert_eq!(server.journal.state(), State::Ok);
}
