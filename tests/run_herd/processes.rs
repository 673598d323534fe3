//! Which processes are the herd's own, and what becomes of those that end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rustix::process::Signal;

use crate::ports;
use crate::{Herd, NAMES, STAND_IN, kill};

#[test]
fn a_killed_server_is_missed_and_brought_back_alone() {
    let herd = Herd::started();
    herd.check_that_it_answers();
    let before = herd.processes();
    kill(herd.pid("Bob"), Signal::KILL);
    herd.wait_for("status to miss Bob", || {
        let status = herd.run(&["status"]);
        let missed = status.row("Bob").join(" ").ends_with("not running");
        let noticed = status.state("Ada").contains("Bob down");
        (status.code == 1 && missed && noticed).then_some(())
    });

    let start = herd.run(&[]);
    assert_eq!(start.code, 0, "{start:?}");
    assert!(start.out.contains("Starting: Bob\n"), "{start:?}");
    assert!(start.out.contains("Already running: "), "{start:?}");
    let after = herd.processes();
    assert_eq!(after.len(), before.len(), "{after:?}");
    let new: Vec<_> = after.iter().filter(|p| !before.contains(p)).collect();
    assert!(
        new.len() == 1 && new[0].1.contains(" serve Bob "),
        "{new:?}"
    );
    assert!(herd.log_dir().join("Bob.err.old").exists());
    assert_eq!(herd.run(&["status"]).code, 0);
    herd.check_that_it_answers();
}

#[test]
fn a_pid_file_left_behind_harms_nobody() {
    let herd = Herd::started();
    assert_eq!(herd.run(&["stop"]).code, 0);
    let mut stranger = Command::new("sleep").arg("600").spawn().expect("sleep");
    for name in NAMES.into_iter().chain([STAND_IN]) {
        let file = herd.log_dir().join(format!("{name}.pid"));
        fs::write(file, format!("{}\n", stranger.id())).expect("a pid file");
    }
    fs::write(herd.log_dir().join("Bob.pid"), "nonsense").expect("a pid file");
    assert_eq!(herd.run(&["status"]).code, 1);
    assert!(herd.run(&["stop"]).out.contains("not running"));
    let strange = stranger.try_wait().expect("our child");
    stranger.kill().expect("our child");
    stranger.wait().expect("our child");
    assert_eq!(strange, None, "a process that is no herd was stopped");
}

/// Whatever a pid file and a command line say.
#[test]
fn what_only_looks_like_ours_is_left_alone() {
    let herd = Herd::started();
    assert_eq!(herd.run(&["stop"]).code, 0);
    let err = |of: &Herd, name| fs::File::create(of.log_dir().join(name)).expect("it is ours");
    let others = Herd::started();
    // A program of another name that says what ours would, where ours would.
    let words = format!(
        "sleep 600 # serve Ada --topology x --log-dir {} ",
        herd.log_dir().display()
    );
    let mut shell = Command::new("bash");
    shell.args(["-c", &words]).stderr(err(&herd, "Ada.err"));
    let mut shell = shell.spawn().expect("bash");
    for (name, pid) in [
        ("Ada", shell.id().cast_signed()),
        ("Bob", others.pid("Bob")),
        (STAND_IN, others.pid(STAND_IN)),
    ] {
        let file = herd.log_dir().join(format!("{name}.pid"));
        fs::write(file, format!("{pid}\n")).expect("a pid file");
    }
    assert_eq!(herd.run(&["status"]).code, 1);
    let stop = herd.run(&["stop"]);
    assert!(stop.out.contains("not running"), "{stop:?}");
    let ended = shell.try_wait().expect("our child");
    shell.kill().expect("our child");
    shell.wait().expect("our child");
    assert_eq!(ended, None, "the shell was stopped");
    assert_eq!(others.run(&["status"]).code, 0, "another herd was stopped");
}

/// Nor is anything written where a link of theirs leads.
#[test]
fn nothing_is_written_in_a_folder_of_others() {
    let herd = Herd::new();
    let precious = herd.dir.path().join("precious");
    fs::write(&precious, "mine").expect("a file");
    fs::create_dir(herd.log_dir()).expect("it is ours");
    for name in ["Ada.err", "Ada.pid", "Bob.log", ".lock"] {
        std::os::unix::fs::symlink(&precious, herd.log_dir().join(name)).expect("a symlink");
    }
    let open_to_all = fs::Permissions::from_mode(0o1777);
    fs::set_permissions(herd.log_dir(), open_to_all).expect("it is ours");
    for command in ["start", "stop", "restart"] {
        let ended = herd.run(&[command]);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(
            ended.err.contains("others may write in LOG_DIR"),
            "{ended:?}"
        );
    }
    assert_eq!(fs::read_to_string(&precious).ok().as_deref(), Some("mine"));
    assert_eq!(herd.processes(), []);
}

#[test]
fn one_that_does_not_heed_sigterm_is_killed_with_a_word() {
    let herd = Herd::started();
    kill(herd.pid("Ada"), Signal::STOP);
    let stop = herd.run(&["stop"]);
    assert_eq!(stop.code, 0, "{stop:?}");
    assert!(stop.err.contains("killed: Ada\n"), "{stop:?}");
    assert_eq!(herd.processes(), []);
}

#[test]
fn a_server_whose_pid_file_was_lost_is_found() {
    let herd = Herd::started();
    let before = herd.processes();
    fs::remove_file(herd.log_dir().join("Bob.pid")).expect("it has one");
    for command in ["status", "start", "stop"] {
        let run = herd.run(&[command]);
        assert_eq!(run.code, 0, "{run:?}");
        if command != "stop" {
            assert_eq!(herd.processes(), before, "{run:?}");
        }
    }
    assert_eq!(herd.processes(), []);
    assert!(!herd.log_dir().join("Bob.err.old").exists(), "it wrote on");
}

#[test]
fn a_stand_in_of_somebody_else_is_left_alone() {
    let herd = Herd::started();
    let within = herd.log_dir().join("within");
    fs::create_dir(&within).expect("it is ours");
    let files = [
        herd.log_dir().join("my.twitter.err"),
        within.join("twitter.stand-in.err"),
    ];
    let strangers = files.map(|file| {
        let address = ports::free_addresses(1)[0].to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_herd"));
        command.args(["twitter", "--listen", &address]);
        let file = fs::File::create(file).expect("it is ours");
        command.stderr(file).spawn().expect("a stand-in")
    });
    // Nor is one taken for ours because ours is away.
    kill(herd.pid(STAND_IN), Signal::KILL);
    herd.wait_for("ours to end", || {
        (herd.processes().len() == NAMES.len()).then_some(())
    });
    let stop = herd.run(&["stop"]);
    assert_eq!(stop.code, 0, "{stop:?}");
    let left = strangers.map(|mut stranger| {
        let ended = stranger.try_wait().expect("our child");
        stranger.kill().expect("our child");
        stranger.wait().expect("our child");
        ended
    });
    assert_eq!(left, [None, None], "{stop:?}");
}

#[test]
fn a_herd_remembers_by_its_journals_wherever_it_is_started_from() {
    let herd = Herd::started();
    let told = herd.ask("Ada", "IAMAT kiwi +34.068930-118.445127 1\n");
    assert_eq!(herd.run(&["stop"]).code, 0);
    for name in NAMES {
        assert!(herd.data_dir().join(name).is_dir(), "{name} has a journal");
    }
    fs::remove_dir_all(herd.log_dir()).expect("no log is needed");
    let mut start = herd.command(&["start"]);
    start
        .current_dir(herd.dir.path())
        .env("DATA_DIR", "memory of the herd");
    let start = herd.run_program(&mut start);
    assert_eq!(start.code, 0, "{start:?}");
    let reply = herd.ask("Ada", "WHATSAT kiwi 1 0\n");
    assert!(reply.starts_with(&told), "{reply:?}, not {told:?}");
}

#[test]
fn a_herd_whose_logs_were_deleted_is_found() {
    let herd = Herd::started();
    for command in ["status", "stop"] {
        let _ = fs::remove_dir_all(herd.log_dir()); // a status does not make it again
        let ended = herd.run(&[command]);
        assert_eq!(ended.code, 0, "{ended:?}");
        if command == "status" {
            herd.wait_for_links("Bob", "Ada up; Cyd up");
        }
    }
    assert_eq!(herd.processes(), []);
}
