//! `herd restore` from outside: what it believes of which logs, what it refuses, and that servers know what
//! it has restored.

mod support;
#[path = "support/wire.rs"]
mod wire;
#[path = "support/wired.rs"]
mod wired;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use support::{Herd, Process, Tmpfs, limited, wait_until};
use wired::{PAIR, report};

/// A log of the time when the log was the memory.
const OLD: &str = r"2012-11-17T02:08:20.000000000Z * - checkpoint of 2 records begins
2012-11-17T02:08:20.000000000Z = #41 AT Ann +0.500000000 table +27.5916+086.5640 1353118000.5
2012-11-17T02:08:20.000000000Z = #42 AT Bob -0.500000000 ta\\b\xff\x01 +27.5916+086.5640/ 1353118001
2012-11-17T02:08:20.000000000Z * - checkpoint, incarnation 00000000000000ff at 42, 2 records
2012-11-17T02:08:21.000000000Z * - started, incarnation 00000000000000fe at 42, 2 clients known
2012-11-17T02:08:22.000000000Z + s1 127.0.0.1:12691
2012-11-17T02:08:22.000000000Z > s1:Bob HELLO herd/1 Ann Bob 00000000000000fe 1 - 0
2012-11-17T02:08:22.000000000Z < s1:Bob HELLO herd/1 Bob Ann 00000000000000fd 1 - 0
2012-11-17T02:08:22.000000000Z < s1:Bob AT Bob +0.000000001 heard +27.5916+086.5640 1353118002
2012-11-17T02:08:22.000000000Z > s1:Bob AT Cid +0.000000001 told +27.5916+086.5640 1353118002
2012-11-17T02:08:23.000000000Z < c1 IAMAT moving +11+011 1353118003
2012-11-17T02:08:23.000000000Z > c1 AT Ann +0.000000000 moving +11+011 1353118003
";

/// Later ones of today, which end in the middle of a record.
const NEW: &str = r"2012-11-17T02:09:00.000000000Z + c1 127.0.0.1:50000
2012-11-17T02:09:01.000000000Z < c1 IAMAT moving +33+033 1353118030
2012-11-17T02:09:01.000000000Z > c1 AT Ann +0.000000000 moving +33+033 1353118030
2012-11-17T02:09:02.000000000Z < c1 IAMAT\x09new  +27.5916+086.5640 1353118031\x0d
2012-11-17T02:09:02.000000000Z > c1 AT Ann +0.000000000 new +27.5916+086.5640 1353118031
2012-11-17T02:09:02.000000000Z < s2:Bob AT Bob +0.000000000 cr +27.5916+086.5640 1353118031\x0d
2012-11-17T02:09:03.000000000Z > c1 AT Ann +0.000000000 torn +27.5916+086.5640 13531180";
const MIDDLE: &str = r"2012-11-17T02:08:50.000000000Z > c9 AT Ann +0.000000000 moving +22+022 1353118020
";

/// What `OLD`, `MIDDLE` and `NEW` tell, as clients are asked for it.
const TOLD: [(&[u8], &[u8]); 7] = [
    (
        b"table",
        b"AT Ann +0.500000000 table +27.5916+086.5640 1353118000.5",
    ),
    (
        b"ta\\b\xff\x01",
        b"AT Bob -0.500000000 ta\\b\xff\x01 +27.5916+086.5640/ 1353118001",
    ),
    (
        b"heard",
        b"AT Bob +0.000000001 heard +27.5916+086.5640 1353118002",
    ),
    (
        b"told",
        b"AT Cid +0.000000001 told +27.5916+086.5640 1353118002",
    ),
    (b"moving", b"AT Ann +0.000000000 moving +33+033 1353118030"),
    (
        b"new",
        b"AT Ann +0.000000000 new +27.5916+086.5640 1353118031",
    ),
    (
        b"cr",
        b"AT Bob +0.000000000 cr +27.5916+086.5640 1353118031",
    ),
];

/// Lines of those who pretend, lines of other files, and what is broken.
const NOT_BELIEVED: &[u8] = b"\
2012-11-17T02:09:00.000000000Z < c1 AT Ann +0.000000000 evil +00+000 1353118030
2012-11-17T02:09:00.000000000Z > c1 ? AT Ann +0.000000000 evil +00+000 1353118030
2012-11-17T02:09:00.000000000Z < s1 AT Bob +0.000000000 evil +00+000 1353118030
2012-11-17T02:09:00.000000000Z * - AT Bob +0.000000000 evil +00+000 1353118030
2012-11-17T02:09:00.000000000Z - s1:Bob AT Bob +0.000000000 evil +00+000 1353118030
2012-11-17T02:09:00.000000000Z < c1 \\x0a2012-11-17T02:09:00.000000000Z > c1 AT Ann +0.000000000 evil +00+000 1
";
const NO_RECORDS: &[u8] = b"\
AT Ann +0.000000000 evil +00+000 1353118030
2012-11-17T02:09:00.000000000Z > c1 AT Ann +0.000000000 evil +00+000
2012-11-17T02:09:00.000000000Z > c1 AT Ann +0.000000000 evil +00+000 1353118030\\... torn
2012-11-17T02:09:00.000000000Z > c1 AT Ann +0.000000000 evil +00+000 1352012-11-17T02:09:00.000000000Z > c1 x
2012-13-17T02:09:00.000000000Z > c1 AT Ann +0.000000000 evil +00+000 1353118030
2012-11-17T02:09:00.000000000Z > c1 AT Ann +0.000000000 evil\xff +00+000 1353118030
\0\0\0\0\0\0\0\0\0

";

/// `herd restore` of `logs` for Ann.
fn command(herd: &Herd, logs: &[PathBuf]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herd"));
    command.arg("restore").args(logs);
    command.args(["--name", "Ann", "--data-dir"]);
    command.arg(&herd.data_dir);
    command
}

/// Runs it to its end.
fn run(mut command: Command) -> Output {
    command.output().expect("the program can be started")
}

/// Restores, which must succeed. Gives what was said at the end.
fn restored(herd: &Herd, logs: &[PathBuf]) -> String {
    let output = run(command(herd, logs));
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Writes a log.
fn log(herd: &Herd, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = herd.directory.path().join(name);
    fs::write(&path, text).expect("the directory is ours");
    path
}

/// That it has failed, with one line that has these words.
fn assert_refused(output: &Output, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    let last: Vec<_> = said.lines().collect();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert!(
        last.last().is_some_and(|line| line.contains(words)),
        "{said}"
    );
    assert_eq!(said.matches(words).count(), 1, "{said}");
}

/// All files of a folder, with what they hold.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("it is there");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let read = |path: PathBuf| (path.clone(), fs::read(path).expect("it is a file"));
    paths.map(read).collect()
}

/// What a server answers who is asked for a client.
fn ask(herd: &Herd, name: &str, client: &[u8]) -> Vec<u8> {
    let mut connection = herd.client(name);
    connection.send(&[b"WHATSAT ", client, b" 1 0\n"].concat());
    connection.line_bytes().expect("an answer")
}

/// Starts Ann, who must rely on her journal, and know all that the logs told.
fn assert_ann_knows_what_was_told(herd: &mut Herd) {
    herd.start("Ann");
    for (client, at) in TOLD {
        let answer = ask(herd, "Ann", client);
        assert_eq!(answer, at, "{}", answer.escape_ascii());
    }
    for client in [&b"evil"[..], b"evil\xff", b"torn"] {
        let answer = ask(herd, "Ann", client);
        assert!(answer.starts_with(b"? "), "{}", answer.escape_ascii());
    }
    let said = herd.process("Ann").said();
    assert!(!said.contains("doubt") && !said.contains("new"), "{said}");
}

#[test]
fn a_server_and_its_neighbours_know_what_its_logs_told_whatever_their_order() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let mut herd = Herd::new(PAIR);
        herd.start("Bob");
        let texts = [("old", OLD), ("middle", MIDDLE), ("new", NEW)];
        let logs = order.map(|at| log(&herd, texts[at].0, texts[at].1));
        let said = restored(&herd, &logs);
        let new = herd.directory.path().join("new");
        let want = format!(
            "herd: restored 7 clients to {}: read 20 lines, skipped 1, which are torn or no records, the \
             first at {}:7\n",
            herd.journal_path("Ann").display(),
            new.display()
        );
        assert_eq!(said, want);
        for _ in 0..2 {
            assert_ann_knows_what_was_told(&mut herd);
            for (client, at) in TOLD {
                wait_until("Bob knows all", || ask(&herd, "Bob", client) == at);
            }
            herd.kill("Ann");
        }
    }
}

#[test]
fn what_clients_and_strangers_sent_and_what_is_broken_is_not_believed() {
    let mut herd = Herd::new(PAIR);
    let all = [NOT_BELIEVED, NO_RECORDS, OLD.as_bytes(), NO_RECORDS];
    let all = [
        &all.concat(),
        MIDDLE.as_bytes(),
        NOT_BELIEVED,
        NEW.as_bytes(),
    ]
    .concat();
    let said = restored(&herd, &[log(&herd, "log", &all)]);
    let no_records = 2 * NO_RECORDS.iter().filter(|byte| **byte == b'\n').count() + 1;
    assert!(
        said.contains(" 7 clients to ") && said.contains(&format!(" skipped {no_records},")),
        "{said}"
    );
    assert!(said.ends_with("/log:7\n"), "{said}");
    assert_ann_knows_what_was_told(&mut herd);
}

#[test]
fn what_two_servers_have_logged_is_restored_from_either_of_them() {
    let mut herd = Herd::started(PAIR);
    let mut lines = Vec::new();
    for name in ["Ann", "Bob"] {
        let line = |n| format!("IAMAT {name}\\{n} +27.5916+086.5640 {n}.5");
        lines.extend(report(&herd, name, &(1..500).map(line).collect::<Vec<_>>()));
    }
    herd.wait_for_all(&["Ann", "Bob"], &lines[498..500]);
    herd.wait_for_all(&["Ann", "Bob"], &lines[997..]);
    let logs = ["Ann", "Bob"].map(|name| {
        herd.settled_log(name);
        herd.log_path(name)
    });
    for name in ["Ann", "Bob"] {
        herd.kill(name);
    }
    for logs in [&logs[..1], &logs[1..], &logs] {
        fs::remove_dir_all(&herd.data_dir).expect("it is there");
        let said = restored(&herd, logs);
        assert!(said.contains(" 998 clients "), "{said}");
        assert!(said.ends_with(" skipped 0\n"), "{said}");
        herd.start_arguing("Ann", &["--log", "off"]);
        herd.wait_for_all(&["Ann"], &lines);
        herd.kill("Ann");
    }
}

#[test]
fn logs_that_tell_nothing_make_no_journal() {
    for (text, want) in [
        (&b""[..], "read 0 lines, skipped 0. No journal was made"),
        (
            b"\x1f\x8b\x08\0 a compressed one",
            "read 1 lines, skipped 1, which are torn or no records, the first at ",
        ),
        (
            b"2012-11-17T02:09:00.000000000Z + c1 127.0.0.1:50000\n",
            "read 1 lines, skipped 0. No journal was made",
        ),
    ] {
        let herd = Herd::new(PAIR);
        let output = run(command(&herd, &[log(&herd, "log", text)]));
        let want = format!("herd: none of the logs has a location to restore: {want}");
        assert_refused(&output, &want);
        assert!(!herd.data_dir.exists(), "{want}");
        restored(&herd, &[log(&herd, "log", OLD)]);
    }
}

#[test]
fn an_erasure_alone_is_restored() {
    let herd = Herd::new(PAIR);
    let erased = format!("{} > s1:Bob ERASED Ann kiwi 1.000000000\n", &OLD[..30]);
    let said = restored(&herd, &[log(&herd, "log", erased)]);
    assert!(
        said.contains(" 0 clients to ") && said.ends_with(" skipped 0\n"),
        "{said}"
    );
}

#[test]
fn a_log_that_went_through_an_editor_of_windows_is_restored() {
    let mut herd = Herd::new(PAIR);
    let logs = [("old", OLD), ("middle", MIDDLE), ("new", NEW)].map(|(name, text)| {
        let text = format!("\u{feff}{text}").replace('\n', "\r\n");
        log(&herd, name, text)
    });
    let said = restored(&herd, &logs);
    assert!(
        said.contains(" 7 clients to ") && said.contains(" skipped 1,"),
        "{said}"
    );
    assert_ann_knows_what_was_told(&mut herd);
}

#[test]
fn a_folder_that_holds_a_journal_is_refused_and_not_touched() {
    let mut herd = Herd::new(PAIR);
    let logs = [log(&herd, "log", OLD)];
    herd.start("Ann");
    herd.ask("Ann", "IAMAT kiwi +27.5916+086.5640 1");
    let folder = herd.journal_path("Ann");
    let refused = "holds a journal or other files: move it away first";
    for is_running in [true, false] {
        if !is_running {
            herd.kill("Ann");
        }
        let before = files(&folder);
        let output = run(command(&herd, &logs));
        assert_refused(&output, refused);
        assert_eq!(
            output.stderr.iter().filter(|byte| **byte == b'\n').count(),
            1
        );
        assert_eq!(files(&folder), before, "running: {is_running}");
    }
    fs::remove_dir_all(&folder).expect("it is there");
    restored(&herd, &logs);
    let before = files(&folder);
    assert_refused(&run(command(&herd, &logs)), refused);
    assert_eq!(files(&folder), before, "it holds one that was restored");
    fs::remove_dir_all(&folder).expect("it is there");
    fs::write(&folder, "a file").expect("the directory is ours");
    assert_refused(&run(command(&herd, &logs)), "cannot use ");
}

#[test]
fn what_cannot_be_used_is_said_before_anything_is_made() {
    let herd = Herd::new(PAIR);
    let logs = [log(&herd, "log", OLD), herd.directory.path().join("none")];
    assert_refused(&run(command(&herd, &logs)), "cannot read the log ");
    let directory = [logs[0].clone(), herd.directory.path().to_owned()];
    assert_refused(&run(command(&herd, &directory)), "cannot read the log ");
    let mut strange = command(&herd, &logs[..1]);
    strange.args(["--name", "../Ann"]);
    assert!(!run(strange).status.success(), "two names");
    let mut strange = Command::new(env!("CARGO_BIN_EXE_herd"));
    strange
        .arg("restore")
        .arg(&logs[0])
        .args(["--name", "../Ann"]);
    strange.current_dir(herd.directory.path());
    assert_refused(&run(strange), "'../Ann' is no name of a server");
    assert!(!herd.data_dir.exists(), "nothing was made");
}

#[test]
#[ignore = "needs root, to mount a tmpfs"]
fn where_the_disk_is_full_that_is_said() {
    let mut herd = Herd::new(PAIR);
    let _mounted = Tmpfs::mount(&herd.data_dir, 64 * 1024);
    let record = |n| format!("{} > c1 AT Ann +0.000000000 c{n} +00+000 1\n", &OLD[..30]);
    let logs = [log(
        &herd,
        "log",
        (0..5_000).map(record).collect::<String>(),
    )];
    let output = run(command(&herd, &logs));
    assert_refused(&output, "Nothing was restored: delete ");
    assert_refused(&output, "no space left on device");
    fs::remove_dir_all(herd.journal_path("Ann")).expect("it is there");
    let few = [log(&herd, "few", (0..100).map(record).collect::<String>())];
    restored(&herd, &few);
    herd.start("Ann");
    assert_eq!(
        ask(&herd, "Ann", b"c99"),
        b"AT Ann +0.000000000 c99 +00+000 1"
    );
}

#[test]
fn a_line_without_end_is_skipped_in_bounded_memory() {
    let mut herd = Herd::new(PAIR);
    let path = log(&herd, "log", OLD);
    let mut file = File::options()
        .write(true)
        .open(&path)
        .expect("it is there");
    file.seek(SeekFrom::Start(1 << 30)).expect("it is a file");
    file.write_all(format!("\n{MIDDLE}{NEW}").as_bytes())
        .expect("it is ours");
    let kib = 256 * 1024;
    let limited = limited(&command(&herd, &[path]), &format!("ulimit -v {kib}"));
    let output = run(limited);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(" 7 clients "), "{said}");
    assert!(said.contains(" read 21 lines, skipped 2, "), "{said}");
    assert_ann_knows_what_was_told(&mut herd);
}

#[test]
fn a_pipe_is_read_too_and_it_is_said_how_far_that_is() {
    let mut herd = Herd::new(PAIR);
    let pipe = herd.directory.path().join("pipe");
    mknodat(
        CWD,
        &pipe,
        FileType::Fifo,
        Mode::from_bits_truncate(0o600),
        0,
    )
    .expect("a pipe");
    let stderr = herd.directory.path().join("restore.err");
    let mut process = Process::start(command(&herd, std::slice::from_ref(&pipe)), stderr);
    let mut input = File::options().write(true).open(&pipe).expect("it is read");
    let mut write = |text: &str| input.write_all(text.as_bytes()).expect("it is read");
    write(OLD);
    wait_until("it is said how far the reading is", || {
        write(MIDDLE);
        thread::sleep(Duration::from_millis(20));
        process.said().contains("reading the logs: 100 % of ")
    });
    write(NEW);
    drop(input);
    assert!(process.wait().success(), "{}", process.said());
    assert_ann_knows_what_was_told(&mut herd);
}
