//! The journal's folder from outside: who may use it, what a disk does that is full, fails or hangs, and
//! what is left after `kill -9`.

#[path = "support/hanging_sync.rs"]
mod hanging_sync;
#[path = "support/preload.rs"]
mod preload;
mod support;
#[path = "support/wire.rs"]
mod wire;
#[path = "support/wired.rs"]
mod wired;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use hanging_sync::SlowDisk;
use rustix::process::Signal;
use support::{Client, Herd, PATIENCE, Tmpfs, client_of, limited, wait_until};
use wired::{PAIR, link_records, report};

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

/// The permissions of a file.
fn mode(path: &Path) -> u32 {
    let found = fs::symlink_metadata(path).expect("it is there");
    found.permissions().mode() & 0o7777
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

// ---- who may use it

#[test]
fn journal_and_log_are_their_owners_only_whatever_the_umask() {
    for umask in ["000", "022", "077"] {
        let mut herd = Herd::new(ALONE);
        let command = limited(&herd.command("Ann"), &format!("umask {umask}"));
        herd.start_with("Ann", command);
        herd.ask("Ann", KIWI);
        herd.wait_for_record("Ann", "IAMAT kiwi");
        assert_eq!(mode(&herd.log_path("Ann")), 0o600, "umask {umask}");
        let folder = herd.journal_path("Ann");
        assert_eq!(mode(&folder), 0o700, "umask {umask}");
        let files: Vec<_> = fs::read_dir(&folder).expect("it is there").collect();
        assert!(files.len() >= 2, "the journal and its lock: {files:?}");
        for file in files {
            let path = file.expect("it can be read").path();
            assert_eq!(mode(&path), 0o600, "umask {umask}: {}", path.display());
        }
    }
}

/// Starts Ann, who must be refused in one line that has all of `words`, and touch nothing.
fn assert_refused(herd: &Herd, words: &[&str]) {
    let before = tree(&herd.data_dir);
    let output = herd.command("Ann").output().expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{words:?}: {said}");
    for word in words {
        assert!(said.contains(word), "no {word:?}: {said}");
    }
    assert!(
        tree(&herd.data_dir) == before,
        "{words:?}: something was touched"
    );
    assert!(!herd.log_path("Ann").exists(), "{words:?}");
}

#[test]
fn a_data_dir_that_is_a_file_or_cannot_be_made_is_refused() {
    let mut herd = Herd::new(ALONE);
    let data = herd.data_dir.clone();
    fs::write(&data, "a file").expect("the directory is ours");
    assert_refused(&herd, &["data/Ann", "it is no folder"]);
    fs::remove_file(&data).expect("it is ours");
    fs::create_dir(&data).expect("the directory is ours");
    fs::write(herd.journal_path("Ann"), "a file").expect("it is ours");
    assert_refused(&herd, &["data/Ann", "it is no folder"]);
    fs::remove_file(herd.journal_path("Ann")).expect("it is ours");
    // Nobody can make a folder there, root included.
    herd.data_dir = "/proc/nowhere".into();
    assert_refused(&herd, &["/proc/nowhere/Ann", "--allow-no-journal"]);
}

#[test]
fn a_journal_of_another_server_is_refused() {
    let mut herd = Herd::new(PAIR);
    herd.start("Bob");
    herd.ask("Bob", KIWI);
    herd.kill("Bob");
    fs::rename(herd.journal_path("Bob"), herd.journal_path("Ann")).expect("it is there");
    assert_refused(&herd, &["data/Ann", "it is the journal of Bob"]);
    // Where it was it is as it was.
    fs::rename(herd.journal_path("Ann"), herd.journal_path("Bob")).expect("it is there");
    herd.start("Bob");
    assert!(herd.at("Bob", "kiwi").is_some());
}

#[test]
fn a_journal_of_a_newer_version_is_refused() {
    let mut herd = Herd::new(ALONE);
    herd.start("Ann");
    let at = herd.ask("Ann", KIWI);
    herd.kill("Ann");
    let _ = fs::remove_file(herd.log_path("Ann")); // it may not have been begun
    let is_journal = |path: &PathBuf| path.display().to_string().contains("/journal-");
    let files = tree(&herd.journal_path("Ann"));
    let (path, bytes) = files
        .iter()
        .find(|(path, _)| is_journal(path))
        .expect("one");
    let mut newer = bytes.clone();
    newer[8..12].copy_from_slice(&99_u32.to_le_bytes());
    let checksum = crc32c::crc32c(&newer[..12]);
    newer[12..16].copy_from_slice(&checksum.to_le_bytes());
    fs::write(path, newer).expect("it is ours");
    let words = ["data/Ann", "later version"];
    assert_refused(&herd, &words);
    fs::write(path, bytes).expect("it is ours");
    herd.start("Ann");
    assert_known(&herd, "Ann", &[at]);
}

#[test]
#[ignore = "needs root, to mount a tmpfs"]
fn a_disk_that_may_not_be_written_is_refused_unless_that_is_allowed() {
    let mut herd = Herd::new(ALONE);
    let data = herd.data_dir.clone();
    let tmpfs = Tmpfs::mount(&data, 1 << 20);
    herd.start("Ann");
    let at = herd.ask("Ann", KIWI);
    herd.process("Ann").signal(Signal::TERM);
    herd.process("Ann").wait();
    fs::remove_file(herd.log_path("Ann")).expect("it is there");
    tmpfs.remount("ro");
    assert_refused(&herd, &["data/Ann", "--allow-no-journal"]);
    herd.start_arguing("Ann", &["--allow-no-journal"]);
    let meanwhile = report_meanwhile(&herd, "meanwhile");
    assert_eq!(said(&mut herd, "Ann", FAILING), 1);
    assert_known(&herd, "Ann", &[at]);
    tmpfs.remount("rw");
    wait_until("it is written", || said(&mut herd, "Ann", RESTORED) == 1);
    herd.kill("Ann");
    herd.start("Ann");
    assert_known(&herd, "Ann", &meanwhile);
}

#[test]
fn a_data_dir_that_cannot_be_made_harms_nobody_if_that_is_allowed() {
    let mut herd = Herd::new(PAIR);
    herd.start("Bob");
    herd.data_dir = "/proc/nowhere".into();
    let arguments = ["--allow-no-journal"];
    herd.start_arguing("Ann", &arguments);
    herd.wait_for_link("Ann", "Bob");
    let at = herd.ask("Ann", KIWI);
    herd.wait_for_at("Bob", "kiwi", &at);
    assert_eq!(said(&mut herd, "Ann", FAILING), 1);
    herd.process("Ann").signal(Signal::TERM);
    assert_eq!(herd.process("Ann").wait().code(), Some(1));
    herd.start_arguing("Ann", &arguments);
    herd.wait_for_at("Ann", "kiwi", &at);
}

#[test]
fn a_start_beside_a_text_log_and_without_a_journal_says_how_to_restore_it() {
    let mut herd = Herd::new(ALONE);
    let log = herd.log_path("Ann");
    fs::create_dir_all(log.parent().expect("a directory")).expect("the directory is ours");
    let record = "2012-11-17T02:08:23.672266766Z > c1 AT Ann +0.1 kiwi +00+000 1\n";
    fs::write(&log, record).expect("the directory is ours");
    herd.start("Ann");
    assert_eq!(herd.at("Ann", "kiwi"), None, "no log is read");
    let command = format!("herd restore {} --name Ann", log.display());
    assert_eq!(said(&mut herd, "Ann", &command), 1);
    herd.settled_log("Ann");
    assert!(herd.log("Ann").starts_with(record), "it goes on");
    herd.kill("Ann");
    herd.start("Ann");
    assert_eq!(said(&mut herd, "Ann", "restore"), 0, "there is a journal");
}

// ---- what it has lost, neighbours give back

/// What becomes of a journal while its server is down. Given are its files, the oldest first, and an older
/// copy of it.
type Harm = (&'static str, fn(&[PathBuf], &Path));

const HARMS: [Harm; 7] = [
    ("an older copy is put back", |files, copy| {
        files.iter().for_each(|file| remove(file));
        for (path, bytes) in tree(copy).iter().filter(|(_, bytes)| !bytes.is_empty()) {
            let name = path.file_name().expect("it is a file");
            fs::write(files[0].with_file_name(name), bytes).expect("the folder is ours");
        }
    }),
    ("the newest file is lost", |files, _| {
        remove(files.last().expect("there are some"));
    }),
    ("the oldest file is lost", |files, _| remove(&files[0])),
    ("all files are lost", |files, _| {
        files.iter().for_each(|file| remove(file));
    }),
    ("the folder is lost", |files, _| {
        let folder = files[0].parent().expect("a folder");
        fs::remove_dir_all(folder).expect("it is there");
    }),
    ("the end is lost", |files, _| {
        let newest = files.last().expect("there are some");
        let bytes = fs::read(newest).expect("it is there");
        fs::write(newest, &bytes[..bytes.len() / 2]).expect("it is ours");
    }),
    ("a bit is flipped", |files, _| {
        let mut bytes = fs::read(&files[0]).expect("it is there");
        let at = bytes.len() / 2;
        bytes[at] ^= 4;
        fs::write(&files[0], bytes).expect("it is ours");
    }),
];

fn remove(file: &Path) {
    fs::remove_file(file).expect("it is there");
}

/// The files of Ann's journal, the oldest first.
fn journal_files(herd: &Herd) -> Vec<PathBuf> {
    let files = tree(&herd.journal_path("Ann")).into_keys();
    files
        .filter(|path| path.display().to_string().contains("/journal-"))
        .collect()
}

/// Reports some clients to each, of which some move, and waits until each knows that the other has them.
fn report_and_settle(herd: &Herd, known: &mut BTreeMap<String, String>, time: u64) {
    for name in ["Ann", "Bob"] {
        let clients = (0..10).flat_map(|n| [format!("{name}{n}"), format!("{name}{n}at{time}")]);
        let lines = clients.map(|client| format!("IAMAT {client} +00+000 {time}"));
        for at in report(herd, name, &lines.collect::<Vec<_>>()) {
            known.insert(client_of(&at).to_owned(), at);
        }
    }
    for (one, other) in [("Ann", "Bob"), ("Bob", "Ann")] {
        herd.settled_log(one); // so that the last mark is not one of before
        wait_until("each knows that the other has all", || {
            let (said, heard) = (herd.log(one), herd.log(other));
            let said = link_records(&said, '>', other).pop();
            let heard = link_records(&heard, '<', one).pop();
            said.is_some_and(|line| line.starts_with("MARK ")) && said == heard
        });
    }
}

#[test]
fn what_a_journal_has_lost_a_neighbour_gives_back() {
    thread::scope(|scope| {
        for (what, harm) in HARMS {
            let named = thread::Builder::new().name(what.to_owned());
            let harmed = move || harm_and_check(harm);
            named
                .spawn_scoped(scope, harmed)
                .expect("there is room for it");
        }
    });
}

fn harm_and_check(harm: fn(&[PathBuf], &Path)) {
    let mut herd = Herd::started(PAIR);
    let mut known = BTreeMap::new();
    report_and_settle(&herd, &mut known, 1);
    herd.kill("Ann");
    herd.start_all();
    report_and_settle(&herd, &mut known, 2);
    let copy = herd.directory.path().join("copy");
    fs::create_dir(&copy).expect("the directory is ours");
    for file in journal_files(&herd) {
        let to = copy.join(file.file_name().expect("it is a file"));
        fs::copy(file, to).expect("it is there");
    }
    report_and_settle(&herd, &mut known, 3);
    for client in ["Ann0", "Bob0"] {
        let at = herd.ask("Bob", &format!("IAMAT {client} +01+001 4"));
        known.insert(client.to_owned(), at);
    }
    herd.kill("Ann");
    harm(&journal_files(&herd), &copy);
    herd.start("Ann");
    let lines: Vec<_> = known.values().cloned().collect();
    herd.wait_for_all(&["Ann"], &lines);
    assert_known(&herd, "Bob", &lines);
    // And all goes on: what Ann hears from now on is told, and remembered.
    report_and_settle(&herd, &mut known, 5);
    for name in ["Ann", "Bob"] {
        herd.kill(name);
    }
    for name in ["Ann", "Bob"] {
        herd.start(name);
        assert_known(&herd, name, &known.values().cloned().collect::<Vec<_>>());
        herd.kill(name);
    }
}

// ---- a disk that is full

/// Fills the disk until not a byte more can be written.
fn fill(filler: &Path) {
    let mut file = File::create(filler).expect("there is room for a name");
    let mut bytes = &[0; 65_536][..];
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                bytes = &bytes[..bytes.len() / 2]
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
#[ignore = "needs root, to mount a tmpfs"]
fn a_full_disk_stops_nobody_is_said_once_and_when_there_is_room_all_is_written() {
    let mut herd = Herd::new(ALONE);
    let data = herd.data_dir.clone();
    let _tmpfs = Tmpfs::mount(&data, 1 << 20);
    let filler = data.join("filler");
    herd.start("Ann");
    let mut known = vec![herd.ask("Ann", KIWI)];
    for time in 1..=2 {
        fill(&filler);
        let mut client = herd.client("Ann");
        let until = Instant::now() + PATIENCE;
        while said(&mut herd, "Ann", FAILING) < time {
            assert!(Instant::now() < until, "the journal never fails");
            client.say(&format!(
                "IAMAT before{time}-{} +27.5916+086.5640 1",
                known.len()
            ));
            known.push(client.line());
        }
        known.extend(report_meanwhile(&herd, &format!("meanwhile{time}-")));
        let counts = [FAILING, RESTORED].map(|words| said(&mut herd, "Ann", words));
        assert_eq!(counts, [time, time - 1], "each time once");
        fs::remove_file(&filler).expect("it is there");
        wait_until("it is written again", || {
            said(&mut herd, "Ann", RESTORED) == time
        });
        known.push(herd.ask("Ann", &format!("IAMAT after{time} +00+000 1")));
    }
    herd.kill("Ann");
    herd.start("Ann");
    let said = herd.process("Ann").said();
    let usual = ["clients on ", "keeps clients' locations in ", "ready: "];
    let is_usual = |line: &str| usual.iter().any(|words| line.contains(words));
    assert!(said.lines().all(is_usual), "nothing is wrong: {said}");
    assert_known(&herd, "Ann", &known);
}

#[test]
#[ignore = "needs root, to mount a tmpfs"]
fn a_stop_while_the_disk_is_full_says_what_is_lost_and_a_start_serves_what_is_not() {
    let mut herd = Herd::new(ALONE);
    let data = herd.data_dir.clone();
    let _tmpfs = Tmpfs::mount(&data, 1 << 20);
    let filler = data.join("filler");
    herd.start("Ann");
    let at = herd.ask("Ann", KIWI);
    fill(&filler);
    let mut count = 0;
    wait_until("it fails", || {
        count += 1;
        herd.ask("Ann", &format!("IAMAT lost{count} +00+000 1"));
        said(&mut herd, "Ann", FAILING) == 1
    });
    herd.process("Ann").signal(Signal::TERM);
    assert_eq!(herd.process("Ann").wait().code(), Some(1));
    assert_eq!(said(&mut herd, "Ann", "could not be written to the end"), 1);
    for signal in [Signal::KILL, Signal::TERM] {
        herd.start("Ann");
        assert_known(&herd, "Ann", std::slice::from_ref(&at));
        wait_until("it says so", || said(&mut herd, "Ann", FAILING) == 1);
        herd.ask("Ann", "IAMAT lost +00+000 1");
        herd.process("Ann").signal(signal);
        let status = herd.process("Ann").wait();
        assert_eq!(status.code(), (signal == Signal::TERM).then_some(1));
    }
    fs::remove_file(&filler).expect("it is there");
    herd.start("Ann");
    let late = herd.ask("Ann", "IAMAT late +00+000 1");
    herd.process("Ann").signal(Signal::TERM);
    assert_eq!(herd.process("Ann").wait().code(), Some(0));
    herd.start("Ann");
    assert_known(&herd, "Ann", &[at, late]);
}

#[test]
#[ignore = "needs root, to mount a tmpfs"]
fn what_a_full_disk_could_not_take_a_neighbour_gives_back() {
    let mut herd = Herd::new(PAIR);
    let folder = herd.journal_path("Ann");
    let _tmpfs = Tmpfs::mount(&folder, 1 << 20);
    let filler = folder.join("filler");
    herd.start_all();
    let mut known = vec![
        herd.ask("Ann", KIWI),
        herd.ask("Bob", "IAMAT emu +00+000 1"),
    ];
    fill(&filler);
    let mut client = herd.client("Ann");
    let until = Instant::now() + PATIENCE;
    while said(&mut herd, "Ann", FAILING) == 0 {
        assert!(Instant::now() < until, "the journal never fails");
        client.say(&format!("IAMAT c{} +27.5916+086.5640 1", known.len()));
        known.push(client.line());
    }
    known.push(herd.ask("Bob", "IAMAT moa +00+000 1"));
    herd.wait_for_all(&["Ann", "Bob"], &known);
    wait_until("Bob has marked it, and Ann heard that", || {
        let records = herd.log("Ann");
        let heard = link_records(&records, '<', "Bob").pop();
        heard.is_some_and(|line| line.starts_with("MARK "))
    });
    for has_room in [false, true] {
        herd.kill("Ann");
        if has_room {
            fs::remove_file(&filler).expect("it is there");
        }
        herd.start("Ann");
        herd.wait_for_all(&["Ann"], &known);
    }
}

#[test]
fn a_limit_on_the_size_of_files_stops_nobody_and_loses_nothing() {
    let mut herd = Herd::new(ALONE);
    // Blocks of 512 bytes, or of 1024: less than the updates take, more than the clients do.
    let command = limited(&herd.command("Ann"), "ulimit -f 64");
    herd.start_with("Ann", command);
    let mut known = Vec::new();
    let mut time = 0;
    let until = Instant::now() + PATIENCE;
    while said(&mut herd, "Ann", FAILING) < 2 {
        assert!(Instant::now() < until, "the journal never fails");
        time += 1;
        let lines = (0..50).map(|n| format!("IAMAT c{n} +27.5916+086.5640 {time}"));
        known = report(&herd, "Ann", &lines.collect::<Vec<_>>());
    }
    wait_until("it is written again", || {
        said(&mut herd, "Ann", RESTORED) == said(&mut herd, "Ann", FAILING)
    });
    herd.kill("Ann");
    herd.start("Ann");
    assert_known(&herd, "Ann", &known);
}

// ---- syncs

/// Checks that a client is sent nothing for a while.
fn assert_silence(client: &Client) {
    let patience = Some(Duration::from_millis(300));
    client.stream.set_read_timeout(patience).expect("not zero");
    let arrived = client.stream.peek(&mut [0]).map_err(|error| error.kind());
    assert_eq!(arrived, Err(ErrorKind::WouldBlock));
    let patience = Some(PATIENCE);
    client.stream.set_read_timeout(patience).expect("not zero");
}

#[test]
fn with_fsync_always_each_reply_waits_for_a_sync() {
    let mut herd = Herd::new(ALONE);
    let disk = SlowDisk::under(&mut herd);
    herd.start_arguing("Ann", &["--fsync", "always"]);
    let mut client = herd.client("Ann");
    let mut known = Vec::new();
    for number in 0..50 {
        let before = disk.synced();
        client.say(&format!("IAMAT c{number} +00+000 1"));
        known.push(client.line());
        assert!(disk.synced() > before, "reply {number} came without a sync");
    }
    herd.kill("Ann");
    herd.start_arguing("Ann", &["--fsync", "always"]);
    assert_known(&herd, "Ann", &known);
}

#[test]
fn with_fsync_always_a_sync_that_hangs_holds_replies_to_clients_and_no_link() {
    let mut herd = Herd::new(PAIR);
    let disk = SlowDisk::under(&mut herd);
    herd.start_arguing("Ann", &["--fsync", "always"]);
    herd.start("Bob");
    herd.wait_for_link("Ann", "Bob");
    let mut clients: Vec<_> = (0..3).map(|_| herd.client("Ann")).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.say(&format!("IAMAT early{number} +00+000 1"));
        assert!(client.line().starts_with("AT Ann "));
    }
    disk.hang(true);
    clients[0].say(KIWI);
    herd.wait_for_record("Bob", " kiwi "); // a neighbour may know it: it loses nothing by that
    assert_silence(&clients[0]);
    // Whoever comes then is not read, and waits too.
    clients[1].say("IAMAT emu +00+000 1");
    clients[2].say("no command");
    let mut late = herd.client("Ann");
    late.say("WHATSAT kiwi 1 0");
    assert_silence(&clients[1]);
    // What Bob tells meanwhile comes in, for longer than a link may be silent.
    let since = Instant::now();
    let mut count = 0;
    while since.elapsed() < Duration::from_secs(10) {
        count += 1;
        herd.ask("Bob", &format!("IAMAT bobs{count} +00+000 1"));
        herd.wait_for_record("Ann", &format!(" bobs{count} "));
        thread::sleep(Duration::from_millis(500));
    }
    assert!(herd.link_is_up("Ann", "Bob") && herd.link_is_up("Bob", "Ann"));
    assert_silence(&clients[0]);
    assert_silence(&clients[2]);
    disk.hang(false);
    assert!(clients[0].line().ends_with(" kiwi +27.5916+086.5640 1"));
    assert!(clients[1].line().ends_with(" emu +00+000 1"));
    assert_eq!(clients[2].line(), "? no command");
    assert!(late.line().ends_with(" kiwi +27.5916+086.5640 1"));
    for client in &mut clients {
        client.say("IAMAT afterwards +00+000 1");
        assert!(client.line().ends_with(" afterwards +00+000 1"));
    }
}

#[test]
fn a_sync_that_hangs_holds_nobody_up_where_none_is_waited_for() {
    for fsync in ["second", "never"] {
        let mut herd = Herd::new(ALONE);
        let disk = SlowDisk::under(&mut herd);
        herd.start_arguing("Ann", &["--fsync", fsync]);
        disk.hang(true);
        let known = report_meanwhile(&herd, "meanwhile");
        herd.kill("Ann");
        disk.hang(false);
        herd.start_arguing("Ann", &["--fsync", fsync]);
        assert_known(&herd, "Ann", &known);
        let synced = disk.synced(); // the file that a start begins is
        herd.ask("Ann", KIWI);
        if fsync == "second" {
            wait_until("it is synced by itself", || disk.synced() > synced);
        }
    }
}

#[test]
fn a_sync_that_fails_is_a_failure_of_the_disk() {
    for fsync in ["always", "second"] {
        let mut herd = Herd::new(ALONE);
        let disk = SlowDisk::under(&mut herd);
        herd.start_arguing("Ann", &["--fsync", fsync]);
        herd.ask("Ann", KIWI);
        disk.fail(true);
        herd.ask("Ann", "IAMAT emu +00+000 1");
        wait_until("it says so", || said(&mut herd, "Ann", FAILING) == 1);
        let known = report_meanwhile(&herd, "meanwhile");
        assert_eq!(said(&mut herd, "Ann", FAILING), 1, "once is enough");
        disk.fail(false);
        wait_until("it is written again", || {
            said(&mut herd, "Ann", RESTORED) == 1
        });
        herd.kill("Ann");
        herd.start_arguing("Ann", &["--fsync", fsync]);
        assert_known(&herd, "Ann", &known);
    }
}
