//! What is recorded, when it is written, and what becomes of it where the disk hangs.

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use super::*;
use crate::time::Timestamp;
use crate::topology::ServerName;

const TIME: &str = "2012-11-17T02:08:23.672266766Z";
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A log in a directory of its own, and the loop around it.
pub struct Host {
    pub log: Log,
    failures: Receiver<String>,
    pub now: Now,
    pub path: PathBuf,
    pub directory: TempDir,
}

impl Host {
    pub fn new(change: impl FnOnce(&mut Options)) -> Host {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("Ann.log");
        Host::in_directory(directory, path, change)
    }

    pub fn in_directory(
        directory: TempDir,
        path: PathBuf,
        change: impl FnOnce(&mut Options),
    ) -> Host {
        let mut options = Options {
            path: path.clone(),
            filter: Filter::All,
            max_bytes: u64::MAX,
            keep: 4,
        };
        change(&mut options);
        let (post, failures) = mpsc::channel();
        let log = Log::start(options, move |why| drop(post.send(why)));
        let now = Now {
            mono: Instant::now(),
            wall: Timestamp::new(1_353_118_103, 672_266_766),
        };
        let mut log = log.expect("there is a thread");
        log.set_time(now);
        Host {
            log,
            failures,
            now,
            path,
            directory,
        }
    }

    pub fn note(&mut self, text: &str) {
        self.log
            .record(Direction::Note, Label::None, text.as_bytes());
    }

    /// A turn, later by `later`.
    pub fn turn(&mut self, later: Duration) {
        self.now.mono += later;
        while let Ok(why) = self.failures.try_recv() {
            self.log.handle_failure(why);
        }
        self.log.work(self.now);
    }

    /// Turns until it is so.
    pub fn turn_until(&mut self, what: &str, mut is_so: impl FnMut(&mut Host) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(
                Instant::now() < until,
                "{what}; the log is:\n{}",
                self.text()
            );
            self.turn(GATHER);
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap_or_default()
    }

    pub fn turn_until_logged(&mut self, want: &str) {
        self.turn_until(want, |host| host.text() == want);
    }

    pub fn turn_until_told(&mut self, want: &str) {
        self.turn_until(want, |host| match host.log.poll_notice() {
            None => false,
            Some(told) => {
                assert!(told.contains(want), "{told}");
                true
            }
        });
    }
}

/// A record of a note.
pub fn note(text: &str) -> String {
    format!("{TIME} * - {text}\n")
}

#[test]
fn a_record_is_written_when_it_is_old_enough_and_not_before() {
    let mut host = Host::new(|_| {});
    host.note("one");
    assert_eq!(host.log.poll_timeout(), None, "the turn is not over");
    host.turn(Duration::ZERO);
    let due_at = host.log.poll_timeout().expect("a record waits");
    assert_eq!(due_at, host.now.mono + GATHER);
    host.note("two");
    host.turn(GATHER - Duration::from_nanos(1));
    assert_eq!(
        host.log.poll_timeout(),
        Some(due_at),
        "the first one counts"
    );
    assert!(!host.log.buffer.is_empty(), "it still gathers");
    host.turn(Duration::from_nanos(1));
    let taken_back_at = host.now.mono + GATHER;
    assert_eq!(host.log.poll_timeout(), Some(taken_back_at));
    host.turn_until_logged(&(note("one") + &note("two")));
    host.turn_until("nothing is left to do", |host| {
        host.log.poll_timeout().is_none()
    });
    assert_eq!(host.log.bytes_written, host.text().len() as u64);
    assert_eq!(host.log.records_dropped, 0);
}

#[test]
fn what_fills_a_buffer_is_written_at_once() {
    let mut host = Host::new(|_| {});
    while host.log.buffer.len() < BUFFER_BYTES {
        host.note("a record");
    }
    let len = host.log.buffer.len();
    host.turn(Duration::ZERO);
    let until = Instant::now() + PATIENCE;
    while host.text().len() < len {
        assert!(Instant::now() < until);
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_record_says_when_which_way_where_and_what() {
    let bryant = ServerName::parse(b"Bryant").expect("a name");
    let mut host = Host::new(|_| {});
    let mut want = String::new();
    for (direction, label, line, record) in [
        (
            Direction::In,
            Label::Client(7),
            &b"IAMAT x"[..],
            "< c7 IAMAT x",
        ),
        (Direction::Out, Label::Client(7), b"? ", "> c7 ? "),
        (Direction::Out, Label::Server(2, None), b"BYE", "> s2 BYE"),
        (
            Direction::Opened,
            Label::Server(12, Some(&bryant)),
            b"127.0.0.1:1",
            "+ s12:Bryant 127.0.0.1:1",
        ),
        (Direction::Dropped, Label::Client(7), b"", "- c7 "),
        (Direction::Note, Label::None, b"started", "* - started"),
        (
            Direction::In,
            Label::Client(1),
            b"a\r\0\n\x7f\xff\\x41 \\",
            "< c1 a\\x0d\\x00\\x0a\\x7f\\xff\\\\x41 \\\\",
        ),
    ] {
        let is_plain = host.log.record(direction, label, line);
        assert_eq!(is_plain, !record.contains('\\'), "{record}");
        want += &format!("{TIME} {record}\n");
    }
    host.turn_until_logged(&want);
}

#[test]
fn a_line_that_comes_in_pieces_has_two_records() {
    let mut host = Host::new(|_| {});
    let label = Label::Client(1);
    let long = [b'z'; 70_000];
    host.log.record_beginning(Direction::In, label, &long);
    host.log.record_beginning(Direction::Out, label, b"? \n");
    host.log.record_length(Direction::In, label, 123_456);
    let z = "z".repeat(1024);
    host.turn_until_logged(&format!(
        "{TIME} < c1 {z}\\...\n{TIME} > c1 ? \\x0a\\...\n{TIME} < c1 \\... 123456 bytes\n"
    ));
}

#[test]
fn a_filter_says_what_is_logged() {
    let bryant = ServerName::parse(b"Bryant").expect("a name");
    let (client, stranger) = (Label::Client(1), Label::Server(2, None));
    let link = Label::Server(3, Some(&bryant));
    for filter in [Filter::All, Filter::Links, Filter::Off] {
        let mut host = Host::new(|options| options.filter = filter);
        let mut want = String::new();
        for (direction, label, shown, with_links) in [
            (Direction::In, client, "< c1", false),
            (Direction::Out, client, "> c1", false),
            (Direction::Opened, client, "+ c1", true),
            (Direction::Dropped, client, "- c1", true),
            (Direction::Note, client, "* c1", true),
            (Direction::In, stranger, "< s2", true),
            (Direction::In, link, "< s3:Bryant", true),
            (Direction::Out, link, "> s3:Bryant", true),
            (Direction::Opened, link, "+ s3:Bryant", true),
            (Direction::Note, Label::None, "* -", true),
        ] {
            let is_logged = match filter {
                Filter::All => true,
                Filter::Links => with_links,
                Filter::Off => false,
            };
            assert_eq!(host.log.accepts(direction, label), is_logged, "{shown}");
            assert_eq!(host.log.record(direction, label, b"x"), is_logged);
            host.log.record_plain(direction, label, b"x");
            host.log.record_beginning(direction, label, b"x");
            host.log.record_length(direction, label, 9);
            if is_logged {
                for text in ["x", "x", "x\\...", "\\... 9 bytes"] {
                    want += &format!("{TIME} {shown} {text}\n");
                }
            }
        }
        host.turn_until_logged(&want);
        host.log.reopen();
        host.log.close();
        assert_eq!(host.path.exists(), filter != Filter::Off);
        assert_eq!(
            host.text().ends_with("the log was reopened\n"),
            filter != Filter::Off
        );
        assert_eq!(host.log.poll_notice(), None);
    }
}

#[test]
fn after_the_end_nothing_is_logged_and_before_it_everything() {
    let mut host = Host::new(|_| {});
    let mut want = String::new();
    for number in 0..10_000 {
        host.note(&number.to_string());
        want += &note(&number.to_string());
    }
    host.log.close();
    assert_eq!(host.text(), want);
    host.note("late");
    host.turn(GATHER);
    host.turn(GATHER);
    host.log.close();
    assert_eq!(host.text(), want);
    assert_eq!(
        (host.log.poll_timeout(), host.log.poll_notice()),
        (None, None)
    );
}

/// A pipe in the log's place, which somebody has open but does not read: so a write hangs.
fn hanging() -> (Host, File) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("Ann.log");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("it is ours");
    let options = fs::OpenOptions::new().read(true).write(true).open(&path);
    let reader = options.expect("it is ours");
    (Host::in_directory(directory, path, |_| {}), reader)
}

/// Reads what the pipe holds until it says `last`.
fn read_until(mut reader: File, last: &'static str) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let (mut text, mut chunk) = (Vec::new(), [0; 64 * 1024]);
        while !text.ends_with(last.as_bytes()) {
            let count = reader.read(&mut chunk).expect("it is ours");
            text.extend_from_slice(&chunk[..count]);
        }
        String::from_utf8(text).expect("a log is ASCII")
    })
}

#[test]
fn a_disk_that_hangs_costs_bounded_memory_and_what_is_dropped_is_counted() {
    let (mut host, reader) = hanging();
    let line = "x".repeat(1_000);
    let mut recorded = 0_u64;
    while host.log.records_dropped < 1_234 {
        host.note(&line);
        recorded += 1;
    }
    let bytes = recorded as usize * note(&line).len();
    let most = QUEUE_BYTES_MAX + 2 * BUFFER_BYTES + 1_234 * note(&line).len();
    assert!(bytes > QUEUE_BYTES_MAX && bytes <= most, "{bytes}");
    host.turn_until_told(": the disk is too slow. Still serving");
    host.turn(GATHER);
    let due_at = host.log.poll_timeout().expect("it tries again");
    assert!(due_at > host.now.mono, "the loop may sleep meanwhile");
    let text = read_until(reader, " the end\n");
    host.turn_until("there is room again", |host| host.log.dropped == 0);
    host.note("the end");
    let until = Instant::now() + PATIENCE;
    while !text.is_finished() {
        assert!(Instant::now() < until);
        host.turn(GATHER);
    }
    let text = text.join().expect("it has been read");
    let written = text.matches(&line).count() as u64;
    assert_eq!(written + 1_234, recorded);
    let dropped = note("1234 records were dropped: the disk is too slow");
    assert!(
        text.ends_with(&(dropped + &note("the end"))),
        "{}",
        &text[text.len() - 300..]
    );
    host.turn_until_told("is written again");
    assert_eq!(host.log.poll_timeout(), None);
}

#[test]
fn the_end_waits_for_a_disk_that_hangs_but_not_for_ever() {
    let (mut host, _reader) = hanging();
    let line = "x".repeat(1_000);
    for _ in 0..200 {
        host.note(&line); // more than a pipe takes
    }
    host.log.close();
    host.turn_until_told("lacks what was recorded last: ");
}

#[test]
fn small_buffers_do_not_queue_where_the_disk_hangs() {
    let (mut host, _reader) = hanging();
    let line = "x".repeat(1_000);
    while host.log.buffer.len() < BUFFER_BYTES {
        host.note(&line);
    }
    host.turn(GATHER);
    for _ in 0..100 {
        host.note("a little");
        host.turn(GATHER);
    }
    assert_eq!(host.log.buffer.len(), 100 * note("a little").len());
}

#[test]
fn the_loop_sleeps_when_all_is_written_after_a_failure() {
    let mut host = Host::new(|_| {});
    host.note("one");
    host.turn(GATHER);
    host.turn(GATHER);
    host.log.handle_failure("a cable".to_owned());
    host.turn_until_logged(&note("one"));
    host.turn_until_told(": a cable. Still serving");
    host.turn_until_told("is written again");
    host.turn(GATHER);
    assert_eq!(host.log.poll_timeout(), None);
    host.log.handle_failure("told late".to_owned());
    host.turn_until_told(": told late. Still serving");
    host.turn_until_told("is written again");
    host.turn(GATHER);
    assert_eq!(host.log.poll_timeout(), None);
}
