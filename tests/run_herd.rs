//! `run_herd.sh` from outside: it starts, shows, repairs and stops a herd of real processes.
//!
//! Each test has a herd of its own, in a directory of its own, on ports of its own. Clients are `nc`
//! where it is installed, as the script tells people to use it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

#[path = "support/ports.rs"]
mod ports;

/// How long anything may take before the test fails; generous, for machines that are busy.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often we look whether it has happened.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A chain, so that what the first server hears reaches the last over links only.
const NAMES: [&str; 3] = ["Ada", "Bob", "Cyd"];
const STAND_IN: &str = "twitter.stand-in";

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

#[test]
fn a_changed_topology_is_reloaded_and_a_mistake_is_told() {
    let herd = Herd::started();
    let text = fs::read_to_string(herd.topology()).expect("the topology file");
    let before = herd.processes();
    // Ada and Cyd become neighbours, named by one of them.
    fs::write(herd.topology(), text.replace("\x0cBob", "\x0cBob Cyd")).expect("it is ours");
    let reload = herd.run(&["reload"]);
    assert_eq!(reload.code, 0, "{reload:?}");
    for told in [
        "Ada: reloaded ",
        ": Cyd is a neighbour\n",
        ": Ada is a neighbour\n",
    ] {
        assert!(reload.out.contains(told), "{reload:?}");
    }
    assert!(
        reload.out.contains("nothing has changed"),
        "Bob: {reload:?}"
    );
    herd.wait_for_links("Ada", "Bob up; Cyd up");
    // A start applies a change, too, though there is nothing to start.
    fs::write(herd.topology(), &text).expect("it is ours");
    let start = herd.run(&["start"]);
    assert!(
        start.code == 0 && start.out.contains("already running"),
        "{start:?}"
    );
    herd.wait_for_links("Ada", " Bob up");
    // What only a server can know it says; what is wrong with the file itself is said before any is told.
    let squatter = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let taken = squatter.local_addr().expect("it is bound").to_string();
    let ada = herd.client_address("Ada");
    fs::write(herd.topology(), text.replace(&ada, &taken)).expect("it is ours");
    let reload = herd.run(&["reload"]);
    assert_eq!(reload.code, 1, "{reload:?}");
    assert!(
        reload
            .out
            .contains("Ada: not reloaded, nothing has changed: "),
        "{reload:?}"
    );
    fs::write(herd.topology(), text.replace("\x0cBob", "\x0cBob Bob=x")).expect("it is ours");
    let reload = herd.run(&["reload"]);
    assert_eq!((reload.code, reload.out.as_str()), (1, ""), "{reload:?}");
    assert!(reload.err.contains("an attribute 'Bob'"), "{reload:?}");
    assert_eq!(herd.processes(), before);
}

#[test]
fn one_server_is_stopped_started_and_given_options() {
    let herd = Herd::started();
    let before = herd.processes();
    let stop = herd.run(&["stop", "Bob"]);
    assert_eq!(
        (stop.code, stop.out.as_str()),
        (0, "Stopped: Bob\n"),
        "{stop:?}"
    );
    assert_eq!(herd.processes().len(), before.len() - 1);
    let start = herd.run(&["start", "Bob", "--", "--fsync", "second"]);
    assert_eq!(start.code, 0, "{start:?}");
    let bob = |processes: Vec<(i32, String)>| {
        let mut all = processes.into_iter();
        all.find(|(_, line)| line.contains(" serve Bob "))
            .expect("it runs")
    };
    let (pid, line) = bob(herd.processes());
    assert!(line.ends_with(" --fsync second "), "{line}");
    assert_eq!(
        herd.run(&["start"]).code,
        0,
        "more options are no other settings"
    );
    let restart = herd.run(&["restart", "Bob"]);
    assert_eq!(restart.code, 0, "{restart:?}");
    let (after, line) = bob(herd.processes());
    assert!(after != pid && !line.contains("--fsync"), "{line}");
    let others = herd.processes().into_iter().filter(|p| before.contains(p));
    assert_eq!(others.count(), before.len() - 1, "the others ran on");
    assert_eq!(herd.run(&["status"]).code, 0);
}

/// Five servers, a hundred clients that report and come back, and one server after the other replaced: what was
/// acknowledged is known everywhere, and no client waits long for its server.
#[test]
fn an_upgrade_under_load_loses_nothing_and_keeps_nobody_waiting() {
    const CLIENTS: usize = 100;
    const NAMES: [&str; 5] = ["Blake", "Bryant", "Gasol", "Howard", "Metta"];
    let herd = Herd::new();
    let free = ports::free_addresses(2 * NAMES.len());
    let links = ["Bryant Howard", "Gasol Metta", "Howard", "", ""];
    let lines = NAMES.iter().zip(links).enumerate();
    let lines = lines
        .map(|(n, (name, links))| format!("{name} {} {} {links}\n", free[2 * n], free[2 * n + 1]));
    fs::write(herd.topology(), lines.collect::<String>()).expect("it is ours");
    let start = herd.run(&["start", "--", "--log", "off"]);
    assert_eq!(start.code, 0, "{start:?}");
    let is_over = AtomicBool::new(false);
    let new = herd.dir.path().join("herd-new");
    fs::copy(env!("CARGO_BIN_EXE_herd"), &new).expect("there is room");
    let (upgrade, ended, late) = thread::scope(|scope| {
        let late = scope.spawn(|| latest_tick(&is_over));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (home, is_over) = (free[2 * (client % NAMES.len())], &is_over);
                scope.spawn(move || reports_until(is_over, home, client))
            })
            .collect();
        let mut command = herd.command(&["upgrade"]);
        let upgrade = herd.run_program(command.env("HERD_BIN", &new));
        is_over.store(true, Ordering::SeqCst);
        let ended = clients
            .into_iter()
            .map(|client| client.join().expect("it goes on"));
        (
            upgrade,
            ended.collect::<Vec<_>>(),
            late.join().expect("it ticks"),
        )
    });
    assert_eq!(upgrade.code, 0, "{upgrade:?}");
    let processes = herd.processes();
    let is_new = |p: &&(i32, String)| p.1.contains("herd-new ");
    assert_eq!(
        processes.iter().filter(is_new).count(),
        NAMES.len() + 1,
        "{processes:?}"
    );
    assert!(
        processes
            .iter()
            .filter(|p| p.1.contains(" --log off "))
            .count()
            == NAMES.len()
    );
    for (client, (last, waited)) in ended.iter().enumerate() {
        // Two seconds, and what the machine itself is late.
        assert!(
            *waited < Duration::from_secs(2) + 20 * late,
            "client {client} waited {waited:?}, {late:?}"
        );
        for home in free.iter().step_by(2) {
            herd.wait_for("the last report", || {
                let line = format!("WHATSAT client-{client} 1 0\n");
                let reply = ask_without_nc(&home.to_string(), &line).unwrap_or_default();
                let time = reply
                    .lines()
                    .next()?
                    .rsplit(' ')
                    .next()?
                    .parse::<u64>()
                    .ok();
                (time >= Some(*last)).then_some(())
            });
        }
    }
}

/// A client that reports to its server until it is told that it is over, and comes back when the server does.
/// Gives the time of the last report that was acknowledged, and the longest that it waited for one.
fn reports_until(is_over: &AtomicBool, home: SocketAddr, client: usize) -> (u64, Duration) {
    let (mut acknowledged, mut waited, mut since) = (0, Duration::ZERO, Instant::now());
    let mut stream: Option<BufReader<TcpStream>> = None;
    for time in 1.. {
        if is_over.load(Ordering::SeqCst) && acknowledged > 0 && stream.is_some() {
            break;
        }
        let Some(open) = &mut stream else {
            thread::sleep(LOOK_AGAIN);
            stream = TcpStream::connect(home).ok().map(BufReader::new);
            continue;
        };
        let line = format!("IAMAT client-{client} +34.0-118.4 {time}\n");
        let mut reply = String::new();
        let told = open.get_mut().write_all(line.as_bytes());
        let heard = told.and_then(|()| open.read_line(&mut reply));
        if heard.is_ok() && reply.ends_with(&format!(" {time}\n")) {
            (acknowledged, waited) = (time, waited.max(since.elapsed()));
            thread::sleep(LOOK_AGAIN);
            since = Instant::now();
        } else {
            stream = None;
        }
    }
    (acknowledged, waited)
}

/// How late a thread that sleeps for 10 ms at a time is at most.
fn latest_tick(is_over: &AtomicBool) -> Duration {
    let mut latest = Duration::ZERO;
    while !is_over.load(Ordering::SeqCst) {
        let (tick, since) = (Duration::from_millis(10), Instant::now());
        thread::sleep(tick);
        latest = latest.max(since.elapsed() - tick);
    }
    latest
}

#[test]
fn with_keys_links_are_encrypted() {
    let herd = Herd::new();
    let run = |word: &str| {
        let mut command = herd.command(&[word]);
        herd.run_program(command.env("KEYS", "yes"))
    };
    let started = run("start");
    assert_eq!(started.code, 0, "{started:?}");
    herd.check_that_it_answers();
    for name in NAMES {
        let said = fs::read_to_string(herd.log_dir().join(format!("{name}.err")));
        let said = said.expect("it has said something");
        assert!(said.contains("servers over TLS on "), "{said}");
        let key = herd.data_dir().join("keys").join(format!("{name}.key"));
        let mode = fs::metadata(key).expect("it was made").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    for word in ["reload", "start", "status", "stop"] {
        let ended = run(word);
        assert_eq!(ended.code, 0, "{word}: {ended:?}");
    }
    let again = run("start");
    assert_eq!(again.code, 0, "with the keys that are there: {again:?}");
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

#[test]
fn another_twitter_means_no_stand_in() {
    let mut herd = Herd::started();
    assert_eq!(herd.run(&["stop"]).code, 0);
    herd.twitter_url = Some(format!("http://{}/elsewhere.json", herd.stand_in));
    let start = herd.run(&[]);
    assert_eq!(start.code, 0, "{start:?}");
    let processes = herd.processes();
    assert_eq!(processes.len(), NAMES.len(), "{processes:?}");
    let told = |p: &(i32, String)| p.1.contains("/elsewhere.json");
    assert!(processes.iter().all(told), "{processes:?}");
    let status = herd.run(&["status"]);
    assert_eq!(status.code, 0, "{status:?}");
    assert!(!status.out.contains(STAND_IN), "{status:?}");

    // What is shown is what was started, whatever the environment says now.
    herd.twitter_url = None;
    let status = herd.run(&["status"]);
    assert_eq!(status.code, 0, "{status:?}");
    assert!(!status.out.contains(STAND_IN), "{status:?}");
    let start = herd.run(&[]);
    assert_eq!(start.code, 1, "{start:?}");
    assert!(start.err.contains("with other settings"), "{start:?}");
    assert!(start.err.contains("/elsewhere.json"), "{start:?}");
    assert_eq!(herd.processes(), processes, "it is left alone");
}

#[test]
fn another_api_is_spoken_with_the_stand_in() {
    let herd = Herd::new();
    let text = fs::read_to_string(herd.topology()).expect("the topology file");
    // As some editors save it, with a byte order mark.
    fs::write(herd.topology(), format!("\u{feff}{text}")).expect("a topology file");
    let credentials = herd.dir.path().join("of Twitter");
    fs::write(&credentials, "TWITTER_BEARER_TOKEN=stand-in-hush\n").expect("a file");
    fs::set_permissions(&credentials, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let mut command = herd.command(&["start"]);
    command.current_dir(herd.dir.path());
    command.env("TWITTER_API", "2");
    command.env("TWITTER_CREDENTIALS", "of Twitter");
    let start = herd.run_program(&mut command);
    assert_eq!(start.code, 0, "{start:?}");
    assert!(start.out.contains("WHATSAT kiwi 40 2 "), "{start:?}");
    let lines = "IAMAT kiwi +34.068930-118.445127 1\nWHATSAT kiwi 40 1\n";
    let reply = herd.ask("Bob", lines);
    assert!(
        reply
            .lines()
            .nth(2)
            .is_some_and(|line| line.starts_with("{\"data\":[{")),
        "{reply}"
    );
    for (_, command_line) in herd.processes() {
        assert!(!command_line.contains("hush"), "{command_line}");
    }

    let mut command = herd.command(&["start"]);
    let start = herd.run_program(command.env("TWITTER_API", "3"));
    assert_eq!(start.code, 2, "{start:?}");
    assert!(
        start.err.contains("TWITTER_API is none of 1.0, 1.1, 2"),
        "{start:?}"
    );
}

#[test]
fn a_bad_topology_is_refused_with_its_line() {
    for (text, line) in [
        ("# nobody\n", "names no server"),
        ("Ada 127.0.0.1:1 127.0.0.1:2\n\nBob 127.0.0.1:3\n", ":3: "),
        ("../Ada 127.0.0.1:1 127.0.0.1:2\n", ":1: "),
        ("Ada h:1 h:2\nAda h:3 h:4\n", ":2: "),
    ] {
        let herd = Herd::new();
        fs::write(herd.topology(), text).expect("a topology file");
        for command in ["start", "status", "restart"] {
            let ended = herd.run(&[command]);
            assert_eq!(ended.code, 1, "{text:?}: {ended:?}");
            let named = ended.err.contains("topology.txt") && ended.err.contains(line);
            assert!(named, "{text:?}: {ended:?}");
        }
        assert_eq!(herd.run(&["stop"]).code, 0, "{text:?}");
        assert_eq!(herd.processes(), [], "{text:?}");
    }
    let herd = Herd::new();
    let text = fs::read_to_string(herd.topology()).expect("the topology file");
    fs::write(herd.topology(), text.replace(" Cyd", " Nobody")).expect("a topology file");
    let start = herd.run(&["start"]);
    assert_eq!(start.code, 1, "{start:?}");
    assert!(start.err.contains("Nobody"), "{start:?}");
    assert!(!herd.log_dir().exists(), "nothing was started");
}

#[test]
fn the_command_line_is_checked() {
    let herd = Herd::new();
    for help in ["--help", "-h", "help"] {
        let ended = herd.run(&[help]);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.out.starts_with("Usage: "), "{ended:?}");
    }
    for wrong in [
        &["begin"][..],
        &["start", "Ada", "Bob"],
        &[""],
        &["stop", "--now", "x"],
    ] {
        let ended = herd.run(wrong);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
        assert!(ended.err.contains("--help shows how"), "{ended:?}");
    }
    let ended = herd.run(&["start", "Zoe"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.err.contains("names no server Zoe, only: Ada Bob Cyd"),
        "{ended:?}"
    );
    assert!(!herd.log_dir().exists(), "nothing was started");
}

#[test]
#[ignore = "needs shellcheck (apt-get install shellcheck)"]
fn shellcheck_has_nothing_to_say() {
    let output = Command::new("shellcheck").arg(script()).output();
    let output = output.expect("this test needs shellcheck (apt-get install shellcheck)");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}

/// A herd in a directory of its own. Dropping it stops it, whatever has happened.
struct Herd {
    dir: TempDir,
    script: PathBuf,
    /// Those of each of `NAMES`.
    addresses: Vec<Addresses>,
    stand_in: String,
    twitter_url: Option<String>,
    /// What the script printed when it started this herd.
    welcome: String,
}

/// Where a server listens.
struct Addresses {
    client: String,
    server: String,
    http: String,
}

impl Herd {
    /// A topology, and nothing that runs.
    fn new() -> Herd {
        let dir = TempDir::with_prefix("run_herd ").expect("a temporary directory");
        let free = ports::free_addresses(3 * NAMES.len() + 1);
        let mut free = free.iter().map(SocketAddr::to_string);
        let mut next = || free.next().expect("as many as were asked for");
        let addresses = NAMES.iter().map(|_| Addresses {
            client: next(),
            server: next(),
            http: next(),
        });
        let addresses: Vec<_> = addresses.collect();
        let herd = Herd {
            dir,
            script: script(),
            addresses,
            stand_in: next(),
            twitter_url: None,
            welcome: String::new(),
        };
        // White space is all that herd takes for it.
        let mut text = "# A chain; the link of Ada and Bob is named twice.\n".to_owned();
        for (name, neighbours) in NAMES.iter().zip(["Bob", "Ada Cyd", ""]) {
            let Addresses {
                client,
                server,
                http,
            } = herd.address(name);
            text += &format!("{name}\x0b{client}\t{server}\x0c{neighbours} http={http}\r\n");
        }
        fs::write(herd.topology(), text).expect("a topology file");
        herd
    }

    /// A herd that is up.
    fn started() -> Herd {
        let mut herd = Herd::new();
        let start = herd.run(&[]);
        assert_eq!(start.code, 0, "{start:?}");
        herd.welcome = start.out;
        herd
    }

    fn topology(&self) -> PathBuf {
        self.dir.path().join("topology.txt")
    }

    fn log_dir(&self) -> PathBuf {
        self.dir.path().join("logs of the herd")
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.path().join("memory of the herd")
    }

    fn address(&self, name: &str) -> &Addresses {
        let index = NAMES.iter().position(|&other| other == name);
        &self.addresses[index.expect("one of NAMES")]
    }

    fn client_address(&self, name: &str) -> String {
        self.address(name).client.clone()
    }

    fn server_address(&self, name: &str) -> String {
        self.address(name).server.clone()
    }

    fn pid(&self, name: &str) -> i32 {
        let file = self.log_dir().join(format!("{name}.pid"));
        let text = fs::read_to_string(file).expect("a pid file");
        text.trim().parse().expect("a pid")
    }

    /// All processes of this herd, by pid, told by their command lines.
    fn processes(&self) -> Vec<(i32, String)> {
        let directory = self.dir.path().to_str().expect("a path in UTF-8");
        let stand_in = format!(" twitter --listen {} ", self.stand_in);
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("Linux").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|s| s.parse().ok()) else {
                continue;
            };
            let bytes = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&bytes).replace('\0', " ");
            let serves = line.contains(" serve ") && line.contains(directory);
            if serves || line.contains(&stand_in) {
                found.push((pid, line));
            }
        }
        found.sort();
        found
    }

    /// The script, to be run for this herd.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.script);
        command.args(arguments);
        command.env("HERD_BIN", env!("CARGO_BIN_EXE_herd"));
        command.env("TOPOLOGY", self.topology());
        command.env("LOG_DIR", self.log_dir());
        command.env("DATA_DIR", self.data_dir());
        command.env("TWITTER_LISTEN", &self.stand_in);
        command.env("START_SECONDS", "60");
        match &self.twitter_url {
            Some(url) => command.env("TWITTER_URL", url),
            None => command.env_remove("TWITTER_URL"),
        };
        command
    }

    /// The same with a herd of which Bob does what these lines of bash say: a bash by the name of herd, which reads
    /// first what BASH_ENV names.
    fn command_with_herd_that(&self, lines: &str, arguments: &[&str]) -> Command {
        let herd = self.dir.path().join("herd-of-bash");
        fs::copy("/bin/bash", &herd).expect("bash is there");
        let all = format!(
            "case $(readlink /proc/$$/exe) in */herd-of-bash) ;; *) return ;; esac\n\
             mapfile -d '' -t words </proc/$$/cmdline\n\
             case ${{words[*]:1:2}} in 'serve Bob') {lines} ;; esac\n\
             exec '{}' \"${{words[@]:1}}\"\n",
            env!("CARGO_BIN_EXE_herd")
        );
        let file = self.dir.path().join("bash_env");
        fs::write(&file, all).expect("a file");
        let mut command = self.command(arguments);
        command.env("HERD_BIN", &herd).env("BASH_ENV", &file);
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        self.run_program(&mut self.command(arguments))
    }

    fn run_program(&self, command: &mut Command) -> Ended {
        Running::spawn(command, self.dir.path()).wait()
    }

    fn spawn(&self, mut command: Command) -> Running {
        Running::spawn(&mut command, self.dir.path())
    }

    /// Tells the first server something, and asks the last one, which has it over the links.
    fn check_that_it_answers(&self) {
        let told = self.ask(
            "Ada",
            "IAMAT kiwi +34.068930-118.445127 1353118103.108893381\n",
        );
        let ending = " kiwi +34.068930-118.445127 1353118103.108893381\n";
        assert!(
            told.starts_with("AT Ada +") && told.ends_with(ending),
            "{told:?}"
        );
        let reply = self.wait_for("the location to reach Cyd", || {
            let reply = self.ask("Cyd", "WHATSAT kiwi 100 2\n");
            reply.starts_with("AT ").then_some(reply)
        });
        let (at, json) = reply.split_once('\n').expect("two lines");
        assert!(at.starts_with("AT Ada +"), "{reply:?}");
        assert!(json.starts_with('{') && json.ends_with("}\n"), "{reply:?}");
        assert!(!json.contains("\"error\""), "{reply:?}");
    }

    /// Sends lines to a server, closes our side, and returns all it has to say.
    fn ask(&self, name: &str, lines: &str) -> String {
        let address = self.client_address(name);
        if !nc_is_here() {
            return ask_without_nc(&address, lines).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        let (host, port) = address.split_once(':').expect("host:port");
        let input = self.dir.path().join("input");
        fs::write(&input, lines).expect("a file");
        let mut nc = Command::new("nc");
        nc.args(["-N", host, port]);
        let mut running = Running::spawn_with(&mut nc, self.dir.path(), Some(&input));
        running.what = format!("nc to {name}");
        running.wait().out
    }

    /// Waits until the status says of a server's links what it is to end with.
    fn wait_for_links(&self, name: &str, links: &str) {
        self.wait_for(links, || {
            let status = self.run(&["status"]);
            status.state(name).ends_with(links).then_some(())
        });
    }

    /// Waits until `look` finds something.
    fn wait_for<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        if thread::panicking() {
            for entry in fs::read_dir(self.log_dir()).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.extension().is_some_and(|e| e == "err" || e == "old") {
                    let said = fs::read_to_string(&path).unwrap_or_default();
                    eprintln!("--- {}\n{said}", path.display());
                }
            }
        }
        // Not by the script, which may be what is broken.
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let left = self.processes();
            if left.is_empty() {
                break;
            }
            left.iter().for_each(|&(pid, _)| kill(pid, Signal::KILL));
            thread::sleep(LOOK_AGAIN);
        }
    }
}

/// A program under way, its output going to files: a server that kept a pipe open would hang us.
struct Running {
    child: Child,
    what: String,
    output: TempDir,
}

/// What a program left behind.
#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Running {
    fn spawn(command: &mut Command, dir: &Path) -> Running {
        Running::spawn_with(command, dir, None)
    }

    fn spawn_with(command: &mut Command, dir: &Path, input: Option<&Path>) -> Running {
        let output = TempDir::new_in(dir).expect("a temporary directory");
        let file = |name| fs::File::create(output.path().join(name)).expect("a file");
        command.stdout(file("out")).stderr(file("err"));
        command.stdin(match input {
            Some(path) => Stdio::from(fs::File::open(path).expect("the file just written")),
            None => Stdio::null(),
        });
        let what = format!("{command:?}");
        let child = command.spawn().unwrap_or_else(|e| panic!("{what}: {e}"));
        Running {
            child,
            what,
            output,
        }
    }

    fn wait(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                break status;
            }
            if Instant::now() >= deadline {
                self.child.kill().expect("our child");
                self.child.wait().expect("our child");
                panic!(
                    "no end to {}: {} {}",
                    self.what,
                    self.said("out"),
                    self.said("err")
                );
            }
            thread::sleep(LOOK_AGAIN);
        };
        Ended {
            code: status.code().unwrap_or(-1),
            out: self.said("out"),
            err: self.said("err"),
        }
    }

    fn said(&self, name: &str) -> String {
        let bytes = fs::read(self.output.path().join(name)).expect("the file we made");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Ended {
    /// What the server `name` says of itself, below the table of processes.
    fn state(&self, name: &str) -> &str {
        let rows = self.out.lines().skip_while(|line| !line.is_empty());
        let mut rows = rows.filter(|line| line.split(' ').next() == Some(name));
        rows.next().unwrap_or_else(|| panic!("{name}: {self:?}"))
    }

    /// The row about `name` in the table of processes, in words.
    fn row(&self, name: &str) -> Vec<String> {
        let rows = self.out.lines().map(|line| line.split_whitespace());
        let mut rows = rows.map(|words| words.map(str::to_owned).collect::<Vec<_>>());
        let row = rows.find(|words| words.first().is_some_and(|word| word == name));
        row.unwrap_or_else(|| panic!("no row for {name}: {self:?}"))
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("run_herd.sh")
}

/// Whether there is an `nc` that can half-close (`-N`, as OpenBSD's has); says so once if not.
fn nc_is_here() -> bool {
    static HERE: OnceLock<bool> = OnceLock::new();
    *HERE.get_or_init(|| {
        let help = Command::new("nc").arg("-h").stdin(Stdio::null()).output();
        let here = help.is_ok_and(|o| {
            let text = [o.stdout, o.stderr].concat();
            String::from_utf8_lossy(&text).contains("-N")
        });
        if !here {
            eprintln!("there is no nc with -N: talking over TcpStream instead");
        }
        here
    })
}

fn ask_without_nc(address: &str, lines: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(lines.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Ok(String::from_utf8_lossy(&reply).into_owned())
}

/// Signals a process; one that has gone meanwhile is no trouble.
fn kill(pid: i32, signal: Signal) {
    let pid = Pid::from_raw(pid).expect("a pid is not 0");
    let _ = kill_process(pid, signal);
}
