//! Clients that do not read, and a standard error that nobody reads.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::Signal;

use crate::stub_twitter::{Answer, StubTwitter};
use crate::support::{Client, Herd, Process, wait_until};
use crate::wire::FakeNeighbour;
use crate::{ALONE, logged, narrow_client};

// ---- clients that do not read

#[test]
fn answers_that_nobody_reads_are_bounded_and_who_reads_gets_his() {
    // 4 MiB are owed to each, less what kernels take, which may be 2 MiB.
    const ANSWER_BYTES: usize = (4 << 20) - 2;
    const READERS_SLOW: usize = 500;
    let answer = format!("\"{}\"", "x".repeat(ANSWER_BYTES));
    let body = answer.clone();
    let twitter = StubTwitter::start(move |_| Answer::ok(body.clone()));
    let mut herd = Herd::new(ALONE);
    herd.twitter_url = twitter.url();
    herd.start("Ann");
    herd.ask("Ann", "IAMAT kiwi +00+000 1");
    let mut slow = Vec::new();
    while logged(&herd, "Ann", "256 MiB of output were pending for all") == 0 {
        assert!(slow.len() < READERS_SLOW, "{} owed answers", slow.len());
        let mut client = narrow_client(&herd);
        client.say("WHATSAT kiwi 1 1");
        assert!(client.line().starts_with("AT Ann "));
        client.stream.peek(&mut [0]).expect("its answer has come");
        slow.push(client);
    }
    assert!(slow.len() > 60, "{} were too many", slow.len());
    for _ in 0..10 {
        let mut reader = herd.client("Ann");
        reader.say("WHATSAT kiwi 1 1");
        assert!(reader.line().starts_with("AT Ann "));
        assert!(reader.line() == answer, "who reads gets it whole");
    }
    let many = slow.len();
    let answers = slow.iter_mut().filter_map(Client::line_bytes);
    let whole = answers.filter(|line| line == answer.as_bytes()).count();
    assert!(whole < many, "some are closed");
    assert!(whole >= many / 2, "{whole} of {many} are not");
    let said = herd.process("Ann").said();
    let told = "connections that do not read, or have the largest backlog, are closed";
    assert_eq!(said.matches(told).count(), 1, "{said}");
}

#[test]
fn for_who_was_reset_with_questions_left_nothing_is_asked() {
    let twitter = StubTwitter::start(|_| Answer::Never);
    let mut herd = Herd::new(ALONE);
    herd.twitter_url = twitter.url();
    herd.start("Ann");
    let mut client = herd.client("Ann");
    client.say("IAMAT kiwi +00+000 1");
    client.stream.peek(&mut [0]).expect("it is answered");
    // What it leaves unread resets the connection, behind a thousand questions that have arrived.
    herd.process("Ann").signal(Signal::STOP);
    let stat = format!("/proc/{}/stat", herd.process("Ann").pid());
    wait_until("it stands still", || {
        fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T "))
    });
    let lines = (0..1_000).map(|radius| format!("WHATSAT kiwi {radius} 1\n"));
    client.send(lines.collect::<String>().as_bytes()); // at once: what waits to be sent is not
    drop(client);
    herd.process("Ann").signal(Signal::CONT);
    wait_until("it is given up", || {
        logged(&herd, "Ann", "reset before its lines were handled") == 1
    });
    let asked = logged(&herd, "Ann", "WHATSAT kiwi");
    assert!(asked <= 16, "{asked} questions were taken up");
}

// ---- a standard error that is not read

/// A pipe at `path`, and its end that nobody reads.
fn unread_pipe(path: &Path) -> File {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    // Opened for both it waits for no writer, and never ends.
    let pipe = File::options().read(true).write(true).open(path);
    pipe.expect("it is ours")
}

#[test]
fn a_standard_error_that_nobody_reads_stops_nobody() {
    // So many neighbours that what is told of each is never too often.
    let names = Vec::from_iter((0..40).map(|number| format!("Bob{number}")));
    let names = Vec::from_iter(names.iter().map(String::as_str));
    let nobody: &[&str] = &[];
    let mut links = vec![("Ann", &names[..])];
    links.extend(names.iter().map(|name| (*name, nobody)));
    let mut herd = Herd::new(&links);
    let path = herd.directory.path().join("unread");
    let pipe = unread_pipe(&path);
    let process = Process::start(herd.command("Ann"), path);
    herd.member_mut("Ann").process = Some(process);
    let address = herd.member("Ann").clients;
    wait_until("Ann listens", || TcpStream::connect(address).is_ok());
    let mut hellos = 0;
    let mut come_and_go = |herd: &Herd, reason: &str| {
        hellos += 1;
        let address = herd.member("Ann").servers;
        let from_to = (names[hellos as usize % names.len()], "Ann");
        let (mut bob, _) = FakeNeighbour::introduced(address, from_to, 0xb0b, hellos, None);
        bob.say(&format!("BYE {reason}"));
        bob.rest();
    };
    // More than a pipe holds and than may wait.
    let long = "x".repeat(200);
    for _ in 0..20 * names.len() {
        come_and_go(&herd, &long);
    }
    assert_eq!(herd.ask("Ann", "WHERE"), "? WHERE");
    // Who reads at last is told that some is missing.
    let reading = thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = String::new();
        while !line.contains(" lines before this were lost") {
            line.clear();
            lines.read_line(&mut line).expect("it is text");
        }
        lines // an end of a pipe nobody reads
    });
    wait_until("the loss is told", || {
        come_and_go(&herd, "soon back");
        reading.is_finished()
    });
    let _unread = reading.join().expect("it does not panic");
    for _ in 0..20 * names.len() {
        come_and_go(&herd, &long);
    }
    let ann = herd.process("Ann");
    ann.signal(Signal::TERM);
    assert!(ann.wait().success());
}

#[test]
fn a_start_that_fails_ends_though_nobody_reads_why() {
    let herd = Herd::new(ALONE);
    let path = herd.directory.path().join("unread");
    let _pipe = unread_pipe(&path);
    let mut full = File::options();
    let full = full
        .write(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32);
    let mut full = full.open(&path).expect("it is ours");
    while full.write(b"x").is_ok() {}
    fs::remove_file(herd.topology()).expect("it is ours");
    let mut process = Process::start(herd.command("Ann"), path);
    assert_eq!(process.wait().code(), Some(2));
}
