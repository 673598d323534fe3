//! A herd starts, or says what is in the way and leaves nothing behind.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal};

use crate::{Ended, Herd, NAMES, Running, STAND_IN, kill, nc_is_here, script};

#[test]
fn a_herd_starts_answers_and_stops() {
    let herd = Herd::started();
    let welcome = &herd.welcome;
    for name in NAMES {
        let address = herd.client_address(name);
        assert!(welcome.contains(&format!("{name} {address}")), "{welcome}");
    }
    let page = format!("The live page: http://{}/\n", herd.addresses[0].http);
    assert!(welcome.contains(&page), "{welcome}");
    herd.check_that_it_answers();

    let status = herd.run(&["status"]);
    assert_eq!(status.code, 0, "{status:?}");
    for name in NAMES {
        let row = status.row(name);
        let pid = herd.pid(name).to_string();
        assert_eq!(row[1], pid, "{status:?}");
        assert_eq!(row[2], herd.client_address(name), "{status:?}");
        assert_eq!(row[3], herd.server_address(name), "{status:?}");
    }
    for folder in [herd.log_dir(), herd.data_dir()] {
        for entry in fs::read_dir(&folder).expect("it is there") {
            let path = entry.expect("it can be read").path();
            let mode = fs::metadata(&path)
                .expect("it is there")
                .permissions()
                .mode();
            assert_eq!(mode & 0o077, 0, "{} is not private", path.display());
        }
        let mode = fs::metadata(&folder)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700, "{}", folder.display());
    }
    assert_eq!(status.row(STAND_IN)[2], herd.stand_in, "{status:?}");
    herd.wait_for_links("Bob", "Ada up; Cyd up");
    let status = herd.run(&["status", "Bob"]);
    assert_eq!(status.code, 0, "{status:?}");
    let of_bob = status.out.lines().filter(|line| line.starts_with("Bob "));
    assert_eq!(of_bob.count(), 2, "{status:?}");
    let of_ada = status.out.lines().find(|line| line.starts_with("Ada "));
    assert_eq!(of_ada, None, "{status:?}");

    let before = herd.processes();
    assert_eq!(before.len(), NAMES.len() + 1, "{before:?}");
    let again = herd.run(&["start"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.out.contains("already running"), "{again:?}");
    assert_eq!(herd.processes(), before, "a second start changes nothing");

    let stop = herd.run(&["stop"]);
    assert_eq!(stop.code, 0, "{stop:?}");
    assert_eq!(herd.processes(), [], "{stop:?}");
    assert!(!stop.err.contains("killed"), "SIGTERM suffices: {stop:?}");
    assert_eq!(herd.run(&["status"]).code, 1);
    let stop = herd.run(&["stop"]);
    assert_eq!(stop.code, 0, "{stop:?}");
    assert!(stop.out.contains("not running"), "{stop:?}");
}

#[test]
fn the_servers_outlive_the_terminal() {
    let herd = Herd::started();
    for (pid, line) in herd.processes() {
        let session = rustix::process::getsid(Pid::from_raw(pid)).expect("it runs");
        assert_eq!(session.as_raw_pid(), pid, "{line} is in another's session");
        let files = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
        for entry in files.flatten() {
            let number = entry.file_name();
            let file = fs::read_link(entry.path()).unwrap_or_default();
            let null = file == Path::new("/dev/null");
            assert!(number != "0" || null, "{line} reads {}", file.display());
            assert!(!file.ends_with(".lock"), "{line} holds the lock");
        }
    }
}

#[test]
#[ignore = "needs nc with -N (apt-get install netcat-openbsd)"]
fn the_lines_to_try_work_as_printed() {
    assert!(
        nc_is_here(),
        "this test needs nc with -N (apt-get install netcat-openbsd)"
    );
    let herd = Herd::started();
    let lines: Vec<&str> = herd
        .welcome
        .lines()
        .filter(|l| l.contains("| nc"))
        .collect();
    let [tell, ask] = lines[..] else {
        panic!("two lines to try: {}", herd.welcome)
    };
    let told = herd.run_program(Command::new("bash").args(["-c", tell]));
    assert!(told.out.starts_with("AT Ada +"), "{tell}: {told:?}");
    herd.wait_for("the location to reach the last server", || {
        let asked = herd.run_program(Command::new("bash").args(["-c", ask]));
        asked.out.starts_with(&told.out).then_some(())
    });
}

#[test]
fn a_taken_port_is_named_and_nothing_is_left() {
    for taken in ["clients", "servers", "HTTP", "twitter"] {
        let herd = Herd::new();
        let (who, address) = match taken {
            "clients" => ("Bob", herd.client_address("Bob")),
            "servers" => ("Cyd", herd.server_address("Cyd")),
            "HTTP" => ("Ada", herd.addresses[0].http.clone()),
            _ => ("twitter", herd.stand_in.clone()),
        };
        let _squatter = TcpListener::bind(&address).expect("the port was free a moment ago");
        let start = herd.run(&["start"]);
        assert_eq!(start.code, 1, "{taken}: {start:?}");
        assert!(!start.out.contains("is up"), "{taken}: {start:?}");
        let named = |line: &str| line.contains(who) && line.contains(&address);
        assert!(start.err.lines().any(named), "{taken}: {start:?}");
        assert_eq!(herd.processes(), [], "{taken}: {start:?}");
    }
}

#[test]
fn what_ran_before_a_failed_start_goes_on() {
    let herd = Herd::started();
    let before = herd.processes();
    kill(herd.pid("Cyd"), Signal::KILL);
    herd.wait_for("Cyd to be gone", || {
        (herd.processes().len() < before.len()).then_some(())
    });
    let address = herd.client_address("Cyd");
    let squatter = herd.wait_for("Cyd's port", || TcpListener::bind(&address).ok());
    let start = herd.run(&["start"]);
    assert_eq!(start.code, 1, "{start:?}");
    assert!(start.err.contains(&address), "{start:?}");
    let left = herd.processes();
    assert_eq!(left.len(), before.len() - 1, "{left:?}");
    assert!(left.iter().all(|p| before.contains(p)), "{left:?}");

    drop(squatter);
    let start = herd.run(&["start"]);
    assert_eq!(start.code, 0, "{start:?}");
    assert_eq!(herd.processes().len(), before.len());
}

#[test]
fn it_works_from_anywhere_and_through_a_symlink() {
    let mut herd = Herd::started();
    let link = herd.dir.path().join("a link to run it");
    std::os::unix::fs::symlink(script(), &link).expect("a symlink");
    herd.script = link;
    let status = herd.run_program(herd.command(&["status"]).current_dir("/"));
    assert_eq!(status.code, 0, "{status:?}");

    // Relative paths are relative to where the caller is.
    let mut command = herd.command(&["status"]);
    command.current_dir(herd.dir.path());
    command
        .env("TOPOLOGY", "topology.txt")
        .env("LOG_DIR", "logs of the herd");
    let status = herd.run_program(&mut command);
    assert_eq!(status.code, 0, "{status:?}");

    // With nothing in the environment, the topology is the one beside the script itself.
    let mut command = herd.command(&["status"]);
    command.current_dir("/").env_remove("TOPOLOGY");
    let status = herd.run_program(&mut command);
    assert_eq!(status.row("Howard")[2], "127.0.0.1:12593", "{status:?}");

    let before = herd.processes();
    let restart = herd.run_program(herd.command(&["restart"]).current_dir("/"));
    assert_eq!(restart.code, 0, "{restart:?}");
    let after = herd.processes();
    assert_eq!(after.len(), before.len());
    assert!(after.iter().all(|p| !before.contains(p)), "{restart:?}");
    let stop = herd.run_program(herd.command(&["stop"]).current_dir("/"));
    assert_eq!(stop.code, 0, "{stop:?}");
    assert_eq!(herd.processes(), []);
}

#[test]
fn two_at_once_start_one_herd() {
    let herd = Herd::new();
    let runs: Vec<Running> = (0..3).map(|_| herd.spawn(herd.command(&[]))).collect();
    let ended: Vec<Ended> = runs.into_iter().map(|run| run.wait()).collect();
    assert!(ended.iter().all(|run| run.code == 0), "{ended:?}");
    let started = ended.iter().filter(|run| run.out.contains("Starting: "));
    assert_eq!(started.count(), 1, "{ended:?}");
    assert_eq!(herd.processes().len(), NAMES.len() + 1, "{ended:?}");
}

#[test]
fn one_that_is_killed_before_it_is_up_is_told_in_our_words_only() {
    let herd = Herd::new();
    let deaf = "trap '' TERM; while sleep 0.1; do :; done";
    let mut command = herd.command_with_herd_that(deaf, &["start"]);
    let start = herd.run_program(command.env("START_SECONDS", "1"));
    assert_eq!(start.code, 1, "{start:?}");
    assert!(start.err.contains("so killed:"), "{start:?}");
    let foreign = |line: &&str| !line.starts_with("run_herd.sh: ") || line.contains("Killed");
    assert_eq!(start.err.lines().find(foreign), None, "{start:?}");
    assert_eq!(herd.processes(), []);
}

#[test]
fn one_that_ends_without_a_word_is_told_and_the_others_are_stopped() {
    let herd = Herd::new();
    let mut command = herd.command_with_herd_that("exit 1", &["start"]);
    let start = herd.run_program(&mut command);
    assert_eq!(start.code, 1, "{start:?}");
    let told = "run_herd.sh: Bob ended: it said nothing\n";
    assert!(start.err.contains(told), "{start:?}");
    assert_eq!(herd.processes(), []);
}

/// On a busy machine it may take long from the fork until the child executes herd.
#[test]
fn one_that_takes_long_to_begin_is_waited_for() {
    let herd = Herd::new();
    let tools = herd.dir.path().join("tools");
    fs::create_dir(&tools).expect("it is ours");
    // Bob begins when the script has looked 150 times, which here takes little time.
    let looks = herd.dir.path().join("looks");
    fs::write(&looks, "").expect("it is ours");
    let looks = looks.display();
    for (tool, lines) in [
        ("sleep", format!("echo >>'{looks}'")),
        (
            "setsid",
            format!(
                "[[ $3 != Bob ]] || until (($(wc -l <'{looks}') >= 150)); do PATH=/usr/bin:/bin sleep 0.01; done\n\
                 PATH=${{PATH#*:}}\nexec setsid \"$@\""
            ),
        ),
    ] {
        let file = tools.join(tool);
        fs::write(&file, format!("#!/bin/bash\n{lines}\n")).expect("it is ours");
        let mode = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&file, mode).expect("it is ours");
    }
    let path = std::env::var("PATH").expect("there is a path");
    let mut command = herd.command(&["start"]);
    command.env("PATH", format!("{}:{path}", tools.display()));
    let start = herd.run_program(&mut command);
    assert_eq!((start.code, start.err.as_str()), (0, ""), "{start:?}");
    herd.check_that_it_answers();
}

#[test]
fn servers_without_http_are_started_and_shown() {
    let herd = Herd::new();
    let text = fs::read_to_string(herd.topology()).expect("the topology file");
    let words = text.split_inclusive(' ');
    let text: String = words
        .map(|word| match word.starts_with("http=") {
            true => word.trim_start_matches(|letter: char| !letter.is_ascii_whitespace()),
            false => word,
        })
        .collect();
    fs::write(herd.topology(), text).expect("it is ours");
    let start = herd.run(&["start"]);
    assert_eq!(start.code, 0, "{start:?}");
    assert!(!start.out.contains("live page"), "{start:?}");
    herd.check_that_it_answers();
    let status = herd.run(&["status"]);
    assert_eq!(status.code, 0, "{status:?}");
    let said = status.state("Ada");
    assert!(said.contains("unknown: it has no http= "), "{status:?}");
}

#[test]
fn a_link_that_does_not_come_up_is_named() {
    let herd = Herd::started();
    kill(herd.pid("Cyd"), Signal::KILL);
    herd.wait_for("Cyd to end", || {
        let left = herd.processes(); // the stand-in is one of them
        (left.len() == NAMES.len()).then_some(())
    });
    kill(herd.pid("Bob"), Signal::STOP); // it lives, but takes part in nothing
    let mut command = herd.command(&["start"]);
    let start = herd.run_program(command.env("START_SECONDS", "3"));
    assert_eq!(start.code, 1, "{start:?}");
    assert!(start.err.contains("within 3 s: Cyd"), "{start:?}");

    // Nor does an impatient user leave anything behind.
    let running = herd.spawn(herd.command(&["start"]));
    herd.wait_for("the script to wait for the link", || {
        let waits = |line: &str| line.starts_with("Waiting for") && line.ends_with(" Bob-Cyd");
        running.said("out").lines().any(waits).then_some(())
    });
    kill(running.child.id().cast_signed(), Signal::TERM);
    let start = running.wait();
    assert_eq!(start.code, 1, "{start:?}");
    assert!(start.err.contains("interrupted"), "{start:?}");
    let left = herd.processes();
    assert_eq!(left.len(), NAMES.len(), "all but Cyd: {left:?}");

    kill(herd.pid("Bob"), Signal::CONT);
    let start = herd.run(&["start"]);
    assert_eq!(start.code, 0, "{start:?}");
}
