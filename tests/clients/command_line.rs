//! What a start refuses, and what help says.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::Signal;

use crate::support::reference::{ONE_PROCESS, ServerCommand, promised};
use crate::support::{PATIENCE, free_addresses};
use crate::{KIWI, blake};

/// Runs the server under test; what is not about `serve` is herd's alone.
fn run(arguments: &[&str], directory: &Path) -> Output {
    let program = match arguments.first() {
        Some(&"serve") => ServerCommand::under_test(),
        _ => ServerCommand::herd(),
    };
    let mut child = program
        .command()
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    let until = Instant::now() + PATIENCE;
    while child.try_wait().expect("it is our child").is_none() {
        if Instant::now() > until {
            let _ = child.kill();
            let _ = child.wait();
            panic!("herd {arguments:?} does not end");
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("it has ended")
}

/// Expects one line on standard error with all `words`, nothing on standard output, status 2.
fn assert_refused(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "one line: {said}");
    assert!(said.ends_with('\n'), "{said:?}");
    for word in words {
        assert!(said.contains(word), "no {word:?} in {said:?}");
    }
    assert!(output.stdout.is_empty(), "{:?}", output.stdout);
}

#[test]
fn a_bad_topology_is_refused_with_file_and_line() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("herd.txt");
    for (text, line, words) in [
        ("Blake", 1, "Blake"),
        ("# herd\n\nBlake 127.0.0.1:1", 3, "Blake"),
        ("Blake 127.0.0.1:1 127.0.0.1:2 Howard", 1, "Howard"),
        ("Blake 127.0.0.1:1 127.0.0.1:2 Blake", 1, "neighbour"),
        (
            "Blake 127.0.0.1:1 127.0.0.1:2\nBlake 127.0.0.1:3 127.0.0.1:4",
            2,
            "Blake",
        ),
        (
            "Blake 127.0.0.1:1 127.0.0.1:2\nHoward 127.0.0.1:3 127.0.0.1:1",
            2,
            "127.0.0.1:1",
        ),
        ("Blake 127.0.0.1:1 127.0.0.1:1", 1, "127.0.0.1:1"),
        ("Blake 127.0.0.1 127.0.0.1:2", 1, "127.0.0.1"),
        ("Blake 127.0.0.1:0 127.0.0.1:2", 1, "127.0.0.1:0"),
        ("Blake 127.0.0.1:65536 127.0.0.1:2", 1, "65536"),
        ("Blake Bryant 127.0.0.1:1 127.0.0.1:2", 1, "Bryant"),
        ("Bl.ake 127.0.0.1:1 127.0.0.1:2", 1, "Bl.ake"),
    ] {
        fs::write(&file, text).expect("the directory is ours");
        let output = run(
            &["serve", "Blake", "--topology", "herd.txt"],
            directory.path(),
        );
        assert_refused(&output, &[&format!("herd.txt:{line}: "), words]);
    }
    fs::write(&file, "# nobody yet\n").expect("the directory is ours");
    let output = run(
        &["serve", "Blake", "--topology", "herd.txt"],
        directory.path(),
    );
    assert_refused(&output, &["herd.txt names no server"]);
    fs::write(&file, b"\n\xff\xfe\n").expect("the directory is ours");
    let output = run(
        &["serve", "Blake", "--topology", "herd.txt"],
        directory.path(),
    );
    assert_refused(&output, &["herd.txt:2: "]);
    assert!(
        !directory.path().join("logs").exists() && !directory.path().join("data").exists(),
        "a server that does not start leaves nothing behind"
    );
}

#[test]
fn a_missing_file_and_an_unknown_name_are_refused_in_one_line() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let [first, second] = free_addresses(2)[..] else {
        panic!("two were wanted");
    };
    let topology = directory.path().join("topology.txt");
    fs::write(&topology, format!("Blake {first} {second}\n")).expect("the directory is ours");
    for (arguments, words) in [
        (
            &["serve", "Blake", "--topology", "nowhere.txt"][..],
            "nowhere.txt",
        ),
        (&["serve", "Blake", "--topology", "."], "."),
        (&["serve", "Howard"], "Howard"),
        (&["serve", "blake"], "blake"),
        (&["serve", ""], "topology.txt"),
        (&["serve", "Bla\nke"], "topology.txt"),
    ] {
        assert_refused(&run(arguments, directory.path()), &[words]);
    }
}

#[test]
fn an_address_or_a_journal_in_use_is_refused_in_one_line() {
    let mut herd = blake();
    let clients = herd.member("Blake").clients.to_string();
    let directory = herd.directory.path().to_owned();
    // The whole server twice; then only its client address, its server address, its journal.
    let again = run(&["serve", "Blake"], &directory);
    assert_refused(&again, &[&clients]);
    let [free, other] = free_addresses(2)[..] else {
        panic!("two were wanted");
    };
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let taken = taken.local_addr().map(|address| (taken, address));
    let (_taken, taken) = taken.expect("it is bound");
    let files = (
        "Blake",
        format!("Blake {free} {other}\n"),
        "data/Blake: another process uses it".to_owned(),
    );
    let files = promised(&ONE_PROCESS).then_some(files);
    let addresses = [
        ("One", format!("One {taken} {free}\n"), taken.to_string()),
        ("One", format!("One {free} {taken}\n"), taken.to_string()),
    ];
    for (name, topology, word) in addresses.into_iter().chain(files) {
        fs::write(directory.join("other.txt"), topology).expect("the directory is ours");
        let output = run(&["serve", name, "--topology", "other.txt"], &directory);
        assert_refused(&output, &[&word]);
    }
    let output = run(&["twitter", "--listen", &taken.to_string()], &directory);
    assert_refused(&output, &[&taken.to_string()]);
    assert!(
        herd.process("Blake").is_running(),
        "the first one serves on"
    );
    assert!(herd.ask("Blake", KIWI).starts_with("AT Blake +"));
}

#[test]
fn an_address_is_free_again_as_soon_as_its_server_has_stopped() {
    let mut herd = blake();
    for signal in [Signal::TERM, Signal::KILL] {
        let mut client = herd.client("Blake");
        client.say(KIWI);
        client.line();
        herd.process("Blake").signal(signal);
        herd.process("Blake").wait();
        herd.start("Blake");
    }
    assert!(herd.ask("Blake", KIWI).starts_with("AT Blake +"));
}

#[test]
fn help_and_version_say_what_there_is() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let version = concat!("herd ", env!("CARGO_PKG_VERSION"), "\n");
    for (arguments, words) in [
        (&["--version"][..], &[version][..]),
        (&["--help"], &["serve", "twitter", "Usage: herd"]),
        (
            &["serve", "--help"],
            &[
                "--topology",
                "--data-dir",
                "--log-dir",
                "--twitter-url",
                "topology.txt",
            ],
        ),
        (&["twitter", "--help"], &["--listen", "127.0.0.1:12599"]),
    ] {
        let output = run(arguments, directory.path());
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}: {output:?}");
        for word in words {
            assert!(said.contains(word), "{arguments:?}, no {word:?}: {said}");
        }
    }
    for arguments in [&[][..], &["serve"], &["herd"], &["serve", "a", "--nope"]] {
        let output = run(arguments, directory.path());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}: it says why");
    }
}
