//! The log with its thread, on a real disk: what it writes, and what may happen to it.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use proptest::prelude::*;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use super::buffer::{GATHER_BYTES, RECORD_BYTES_MAX};
use super::record::{HEADER_BYTES_MAX, unescape};
use super::*;
use crate::node::protocol::LINK_LINE_BYTES_MAX;
use crate::time::Timestamp;
use crate::topology::ServerName;

const TIME: &str = "2012-11-17T02:08:23.672266766Z";
const PATIENCE: Duration = Duration::from_secs(20);

/// A log in a directory of its own, and the loop around it.
struct Host {
    log: Log,
    reports: Receiver<Report>,
    now: Now,
    path: PathBuf,
    directory: TempDir,
}

impl Host {
    fn new(change: impl FnOnce(&mut Options)) -> Host {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("Ann.log");
        Host::in_directory(directory, path, change)
    }

    fn in_directory(directory: TempDir, path: PathBuf, change: impl FnOnce(&mut Options)) -> Host {
        let mut options = Options {
            path: path.clone(),
            filter: Filter::All,
            max_bytes: u64::MAX,
            keep: 4,
        };
        change(&mut options);
        let (post, reports) = mpsc::channel();
        let log = Log::start(options, move |report| drop(post.send(report)));
        let now = Now {
            mono: Instant::now(),
            wall: Timestamp::new(1_353_118_103, 672_266_766),
        };
        let mut log = log.expect("there is a thread");
        log.set_time(now);
        Host {
            log,
            reports,
            now,
            path,
            directory,
        }
    }

    fn note(&mut self, text: &str) {
        self.log
            .record(Direction::Note, Label::None, text.as_bytes());
    }

    /// A turn, later by `later`.
    fn turn(&mut self, later: Duration) {
        self.now.mono += later;
        while let Ok(report) = self.reports.try_recv() {
            self.log.handle_report(report);
        }
        self.log.work(self.now);
    }

    /// Turns until it is so.
    fn turn_until(&mut self, what: &str, mut is_so: impl FnMut(&mut Host) -> bool) {
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

    fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap_or_default()
    }

    fn turn_until_logged(&mut self, want: &str) {
        self.turn_until(want, |host| host.text() == want);
    }

    fn turn_until_told(&mut self, want: &str) {
        self.turn_until(want, |host| match host.log.poll_notice() {
            None => false,
            Some(notice) => {
                let told = notice.to_string();
                assert!(told.contains(want), "{told}");
                true
            }
        });
    }
}

fn note(text: &str) -> String {
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
    assert!(host.log.buffer.len() > 0, "it still gathers");
    host.turn(Duration::from_nanos(1));
    assert_eq!(host.log.poll_timeout(), None);
    host.turn_until_logged(&(note("one") + &note("two")));
    let want = host.text().len() as u64;
    host.turn_until("what was written is counted", |host| {
        host.log.hand_over(); // which also takes back what was handed over before
        host.log.counters().bytes_written == want
    });
    assert_eq!(host.log.counters().records_dropped, 0);
}

#[test]
fn what_fills_a_buffer_is_written_at_once() {
    let mut host = Host::new(|_| {});
    while !host.log.buffer.is_full() {
        host.note("a record");
    }
    let len = host.log.buffer.len() as u64;
    host.turn(Duration::ZERO);
    let is_whole = |host: &mut Host| host.text().len() as u64 == len;
    // No time passes.
    let until = Instant::now() + PATIENCE;
    while !is_whole(&mut host) {
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
fn of_a_long_line_the_beginning_and_the_length_are_logged_and_an_at_line_whole() {
    let mut host = Host::new(|_| {});
    let long = [b"z".repeat(70_000), b"y".to_vec()].concat();
    let label = Label::Client(1);
    host.log.record(Direction::In, label, &long);
    host.log.record(Direction::In, label, &long[..64 * 1024]);
    host.log.record_beginning(Direction::In, label, &long);
    host.log.record_length(Direction::In, label, 123_456);
    let at = [b"AT ", &long[..LINK_LINE_BYTES_MAX - 3]].concat();
    host.log.record(Direction::Out, label, &at);
    host.log
        .record(Direction::Out, label, &[&at[..], b"z"].concat());
    let z = |count| "z".repeat(count);
    let want = format!(
        "{TIME} < c1 {}\\... 70001 bytes\n{TIME} < c1 {}\n{TIME} < c1 {}\\...\n{TIME} < c1 \\... 123456 bytes\n\
         {TIME} > c1 AT {}\n{TIME} > c1 AT {}\\... 65665 bytes\n",
        z(1024),
        z(64 * 1024),
        z(1024),
        z(LINK_LINE_BYTES_MAX - 3),
        z(1021),
    );
    host.turn_until_logged(&want);
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

// ---- what may happen to the file

#[test]
fn a_file_that_is_moved_deleted_or_replaced_is_made_anew() {
    let mut host = Host::new(|_| {});
    let other = host.directory.path().join("moved");
    let mut goes_on = |before: &str, change: &dyn Fn(&Host), text: &str| {
        host.turn_until("there is a file", |host| host.path.exists());
        change(&host);
        let want = before.to_owned() + &note(text);
        // What is written before the thread looks goes to the other file.
        host.turn_until(text, |host| {
            host.note(text);
            host.text().starts_with(&want)
        });
    };
    goes_on("", &|_| {}, "one");
    goes_on(
        "",
        &|host| fs::rename(&host.path, &other).expect("it is ours"),
        "two",
    );
    goes_on(
        "",
        &|host| fs::remove_file(&host.path).expect("it is ours"),
        "three",
    );
    let directory = |host: &Host| fs::remove_dir_all(host.directory.path()).expect("it is ours");
    goes_on("", &directory, "four");
    let sed = |host: &Host| {
        fs::write(&other, "edited\n").expect("there is room");
        fs::rename(&other, &host.path).expect("it is ours");
    };
    goes_on("edited\n", &sed, "five");
    assert_eq!(host.log.poll_notice(), None);
}

#[test]
fn a_file_that_is_cut_is_written_on_at_its_new_end() {
    let mut host = Host::new(|_| {});
    host.note("one");
    host.turn_until_logged(&note("one"));
    fs::write(&host.path, "").expect("there is room"); // as `copytruncate` does
    host.note("two");
    host.turn_until_logged(&note("two"));
}

#[test]
fn once_reopened_a_new_file_is_there_though_nothing_is_recorded() {
    let mut host = Host::new(|_| {});
    let moved = host.directory.path().join("Ann.log.1");
    host.note("one");
    host.turn_until_logged(&note("one"));
    host.note("two");
    fs::rename(&host.path, &moved).expect("it is ours");
    for _ in 0..1_000 {
        host.log.reopen();
    }
    host.turn_until("a new file", |host| host.path.exists());
    host.turn_until("both are written", |host| {
        let moved = fs::read_to_string(&moved).unwrap_or_default();
        moved + &host.text() == note("one") + &note("two")
    });
}

#[test]
fn a_log_that_cannot_be_written_is_told_once_and_nothing_is_missing_when_it_can_be() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("Ann.log");
    fs::create_dir(&path).expect("it is ours");
    let mut host = Host::in_directory(directory, path, |_| {});
    host.note("one");
    host.turn_until_told("Is a directory (os error 21). Still serving;");
    assert!(host.log.failing().is_some());
    host.note("two");
    host.turn(GATHER);
    fs::remove_dir(&host.path).expect("it is ours");
    host.turn_until_told("is written again");
    assert_eq!(host.log.failing(), None);
    host.turn_until_logged(&(note("one") + &note("two")));
    assert_eq!(host.log.poll_notice(), None);
}

#[test]
fn a_full_disk_is_told_in_plain_words_and_the_end_does_not_wait_for_room() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut host = Host::in_directory(directory, PathBuf::from("/dev/full"), |_| {});
    host.note("one");
    host.turn_until_told("cannot write the log /dev/full: disk full.");
    let began = Instant::now();
    host.note("two");
    host.log.close();
    assert!(began.elapsed() < CLOSE_MAX, "it tried on");
    let bytes = note("one").len() + note("two").len();
    let told = host.log.poll_notice().expect("it tells").to_string();
    assert_eq!(
        told,
        format!("{bytes} bytes of the log /dev/full could not be written")
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
    while host.log.counters().records_dropped < 1_234 {
        host.note(&line);
        recorded += 1;
    }
    let bytes = recorded as usize * note(&line).len();
    let most = QUEUE_BYTES_MAX + GATHER_BYTES + 1_234 * note(&line).len();
    assert!(bytes > QUEUE_BYTES_MAX && bytes <= most, "{bytes}");
    host.turn_until_told("is written slower than records come");
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
    assert_eq!(host.log.poll_notice(), None);
}

#[test]
fn the_end_waits_for_a_disk_that_hangs_but_not_for_ever() {
    let (mut host, _reader) = hanging();
    let line = "x".repeat(1_000);
    for _ in 0..200 {
        host.note(&line); // more than a pipe takes
    }
    host.log.close();
    let told = host.log.poll_notice().expect("it tells").to_string();
    assert!(told.contains("bytes of the log"), "{told}");
}

#[test]
fn small_buffers_do_not_queue_where_the_disk_hangs() {
    let (mut host, _reader) = hanging();
    let line = "x".repeat(1_000);
    while !host.log.buffer.is_full() {
        host.note(&line);
    }
    host.note(&line);
    host.turn(GATHER);
    for _ in 0..100 {
        host.note("a little");
        host.turn(GATHER);
    }
    assert!(host.log.buffer.len() > 100 * note("a little").len());
}

// ---- rotation

fn all_text(path: &Path, rotated: u32) -> Vec<String> {
    let name = |number| format!("{}.{number}", path.display());
    let names = (1..=rotated)
        .rev()
        .map(name)
        .chain([path.display().to_string()]);
    names
        .filter_map(|name| fs::read_to_string(name).ok())
        .collect()
}

#[test]
fn a_log_is_rotated_before_it_is_too_long() {
    const MOST: u64 = 1_000;
    let mut host = Host::new(|options| (options.max_bytes, options.keep) = (MOST, 1_000));
    let long = "a long one ".repeat(200);
    let mut want = String::new();
    for number in 0..2_000 {
        let text = match number % 100 {
            99 => &long,
            _ => "a short one",
        };
        host.note(text);
        want += &note(text);
        if number % 30 == 0 {
            host.turn(GATHER);
        }
    }
    host.log.close();
    let files = all_text(&host.path, 1_000);
    assert_eq!(files.concat(), want);
    assert!(files.len() as u64 > want.len() as u64 / MOST / 2);
    for (number, file) in files.iter().enumerate() {
        assert!(
            file.len() as u64 <= MOST || file.lines().count() == 1,
            "{file}"
        );
        assert!(file.ends_with('\n'));
        let next = files.get(number + 1).and_then(|next| next.lines().next());
        let fits = next.is_some_and(|next| file.len() + next.len() < MOST as usize);
        assert!(!fits, "it was rotated early: {file}");
    }
}

#[test]
fn of_rotated_logs_the_newest_stay() {
    let mut host = Host::new(|options| (options.max_bytes, options.keep) = (1, 2));
    for text in ["one", "two", "three", "four", "five"] {
        host.note(text);
    }
    host.log.close();
    assert_eq!(
        all_text(&host.path, 9),
        [note("three"), note("four"), note("five")]
    );
}

#[test]
fn a_log_that_cannot_be_rotated_is_told_once_and_grows_on() {
    let mut host = Host::new(|options| (options.max_bytes, options.keep) = (60, 1));
    let in_the_way = host.directory.path().join("Ann.log.1");
    fs::create_dir(&in_the_way).expect("it is ours");
    host.note("one");
    host.note("two");
    host.note("three");
    host.turn_until_told("cannot rotate the log");
    host.turn_until_logged(&["one", "two", "three"].map(note).concat());
    fs::remove_dir(&in_the_way).expect("it is ours");
    host.turn_until("it is rotated", |host| {
        host.note("four");
        in_the_way.exists()
    });
    assert_eq!(host.log.poll_notice(), None);
    assert_eq!(host.log.counters().records_dropped, 0);
}

#[test]
fn a_device_is_written_and_never_rotated() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = PathBuf::from("/dev/null");
    let mut host = Host::in_directory(directory, path, |options| options.max_bytes = 1);
    for _ in 0..1_000 {
        host.note("into the void");
    }
    host.log.close();
    assert_eq!(host.log.poll_notice(), None);
    assert!(!Path::new("/dev/null.1").exists());
}

// ---- hostile bytes

/// The records of a buffer to which a line was added.
fn recorded(line: &[u8], is_known_plain: bool) -> (Vec<u8>, bool) {
    let mut buffer = Buffer::new();
    buffer.begin(&[b'h'; HEADER_BYTES_MAX], 40);
    let is_plain = buffer.end(line, is_known_plain);
    (buffer.records().to_vec(), is_plain)
}

#[test]
fn the_longest_record_fits_where_a_buffer_is_nearly_full() {
    let line = [b"AT ", &[0xff; LINK_LINE_BYTES_MAX - 3][..]].concat();
    let mut buffer = Buffer::new();
    while buffer.len() + 1 < GATHER_BYTES {
        buffer.begin(&[b'h'; HEADER_BYTES_MAX], 0);
        buffer.end(b"", true);
    }
    assert!(!buffer.is_full());
    let before = buffer.len();
    buffer.begin(&[b'h'; HEADER_BYTES_MAX], HEADER_BYTES_MAX);
    buffer.end(&line, false);
    assert!(buffer.is_full() && buffer.len() - before <= RECORD_BYTES_MAX);
    assert_eq!(
        buffer.len() - before,
        HEADER_BYTES_MAX + 3 + 4 * (line.len() - 3) + 1
    );
}

#[test]
fn a_byte_that_is_not_plain_is_found_wherever_it_stands() {
    for len in 0..100 {
        let plain = vec![b'x'; len];
        let (records, is_plain) = recorded(&plain, false);
        assert!(
            is_plain && records[40..].strip_suffix(b"\n") == Some(&plain),
            "{len}"
        );
        assert_eq!(recorded(&plain, true), (records, true));
        for at in 0..len {
            for (byte, escaped) in [
                (b'\n', &b"\\x0a"[..]),
                (b'\\', b"\\\\"),
                (0x1f, b"\\x1f"),
                (0x7f, b"\\x7f"),
                (0x80, b"\\x80"),
            ] {
                let mut line = plain.clone();
                line[at] = byte;
                let want = [&plain[..at], escaped, &plain[at + 1..], b"\n"].concat();
                let (records, is_plain) = recorded(&line, false);
                assert!(
                    !is_plain && records[40..] == want,
                    "{byte} at {at} of {len}"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn no_line_forges_a_record_and_each_can_be_read_back(
        line in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let (mut records, is_plain) = recorded(&line, false);
        let text = records[40..].strip_suffix(b"\n").expect("a record ends so").to_vec();
        prop_assert!(text.iter().all(|byte| (b' '..=b'~').contains(byte)));
        prop_assert_eq!(is_plain, text == line);
        let end = records.len() - 1;
        prop_assert_eq!(unescape(&mut records[40..end]), Some(&line[..]));
    }
}
